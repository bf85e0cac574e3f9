"""Does an explanation depend on what the network has learned? Its weights are made random, layer by layer.

Adebayo et al. 2018, "Sanity checks for saliency maps", section 3: cascading, from the output to the input, and of each
part alone. A method whose maps stay as they are when nothing is left of the training shows the clip, not the network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np

from har_tf import devices
from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.map_similarity import MapComparison, Originals, Outcome, Similarity
from har_tf.models.flatten import check_answers, cloned, flat, own_graph, with_graph
from har_tf.models.logits import probabilities
from har_tf.models.saving import as_here
from har_tf.progress import progress

# (model, clips, class_index) -> {method's name: Explanation, or maps (N, T, H, W)}, as `explain.by_method` gives
Explain = Callable[[keras.Model, np.ndarray, np.ndarray], Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class Point:
    """How alike the maps are to those of the trained network, at one point of a curve.

    Attributes:
        layers: names of the layers that became random at this point, from the output to the input. In a cascade those
            of the points before it are random too; else all others are as trained.
        similarity: to the maps of the trained network.
    """

    layers: tuple[str, ...]
    similarity: Similarity


@dataclass(frozen=True, eq=False)
class MethodRandomization:
    """What random weights do to the maps of one method.

    Attributes:
        repeated: similarity of the maps of the trained network to themselves, made again: below 1 where a method draws.
        cascading: from the output to the input; at the last point all layers are random.
        independent: each part alone; empty where it was not asked for.
        random: the network of which all layers are random, against another clip's map, and what that says.
    """

    repeated: Similarity
    cascading: tuple[Point, ...]
    independent: tuple[Point, ...]
    random: MapComparison

    @property
    def outcome(self) -> Outcome:
        """UNCHANGED: the method does not depend on what the network has learned."""
        return self.random.outcome

    def as_dict(self) -> dict:
        """Everything as numbers, lists, dicts and text that `json.dump` takes."""

        def curve(points):
            return [{"layers": list(point.layers), **point.similarity.as_dict()} for point in points]

        return {
            "outcome": self.outcome.value,
            "repeated": self.repeated.as_dict(),
            "cascading": curve(self.cascading),
            "independent": curve(self.independent),
            "random": self.random.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class Randomization:
    """What random weights do to the maps of several methods.

    Attributes:
        methods: by name.
        class_index: int (N,), the classes that were explained throughout.
        layers: how many layers have weights.
        draws: how many random networks each point is the mean of.
    """

    methods: dict[str, MethodRandomization]
    class_index: np.ndarray
    layers: int
    draws: int

    def as_dict(self) -> dict:
        """Everything as numbers, lists, dicts and text that `json.dump` takes."""
        methods = {name: method.as_dict() for name, method in self.methods.items()}
        return {"layers": self.layers, "draws": self.draws, "methods": methods}


def measure(
    model: keras.Model,
    clips: np.ndarray,
    explain: Explain,
    class_index=None,
    original: Mapping[str, object] | None = None,
    groups: Sequence[str | None] | None = None,
    steps: int = 8,
    independent: bool = True,
    draws: int = 1,
    seed: int = 0,
    top: float = 0.1,
    bootstrap: Bootstrap | None = None,
) -> Randomization:
    """Explains clips again and again while layers become random, and compares the maps with the trained network's.

    The model is not touched: a copy of it gets random weights. It keeps its compiled graph, as only the values of its
    weights change. A layer's random weights are those that it would start its training with: drawn by its own
    initialisers, so that a BatchNormalization has a scale of 1 and the statistics 0 and 1. Where that would be one
    number for a whole matrix, which hands on nothing, or would change nothing, the trained numbers are shuffled. Layers
    that scale pixels (`Normalization`) have learned nothing and stay.

    Args:
        model: of one input.
        clips: uint8 (N, T, H, W, 3), two or more.
        explain: (model, clips, class_index) -> {method's name: `Explanation` or maps (N, T, H, W)}, of the model that
            it is given, such as `explain.by_method` gives. It is called once a point and once or twice before.
        class_index: int (N,), the classes to explain; None: those that the trained model answers.
        original: what `explain` gave for the trained model and these classes, where that is at hand.
        groups: the recording of each clip; None: every clip stands alone.
        steps: points of a curve at most; each point takes an equal number of the layers that have weights.
        independent: whether parts are made random alone as well, which takes as long again.
        draws: random networks that each point is the mean of. Intervals are over recordings, not over networks.
        seed: of the first network.
        top, bootstrap: as in `map_similarity.Originals`.

    Raises:
        ValueError: no layer has weights, fewer than two clips, `steps` or `draws` below 1, a model without a graph, or
            other methods for one network than for another.
    """
    if min(steps, draws) < 1:
        raise ValueError(f"steps and draws are 1 or more. Received: {steps=}, {draws=}")
    clips = np.asarray(clips)
    model = with_graph(model, clips)
    copy = _Copy(model, clips, steps)
    if class_index is None:
        answers = probabilities(model, devices.predict(model, clips))
        class_index = answers.argmax(axis=1)
    class_index = np.broadcast_to(np.asarray(class_index), len(clips))

    originals = {}

    def compared() -> dict[str, tuple]:
        made = explain(copy.model, clips, class_index)
        if made.keys() != originals.keys():
            raise ValueError(f"every network has the same methods. Received: {list(originals)}, then {list(made)}")
        return {name: originals[name].values(found) for name, found in made.items()}

    if original is None:
        original = explain(copy.model, clips, class_index)
    for name, found in original.items():
        originals[name] = Originals(found, groups, top, bootstrap)
    blocks = copy.blocks
    cascading, alone = [[] for _ in blocks], [[] for _ in blocks]
    with progress("randomising", 1 + draws * len(blocks) * (1 + independent), "explanations") as advance:
        repeated = compared()
        advance(1)
        for number in range(draws):
            copy.draw(seed + number)
            for block, at_point in zip(blocks, cascading, strict=True):
                copy.make_random(block)
                at_point.append(compared())
                advance(1)
            copy.restore()
            for block, at_point in zip(blocks, alone, strict=True) if independent else ():
                copy.make_random(block)
                at_point.append(compared())
                advance(1)
                copy.restore()

    def summary(name: str, found: Sequence[Mapping[str, tuple]]) -> Similarity:
        values, empty = zip(*(each[name] for each in found), strict=True)
        means = {measure: np.mean([each[measure] for each in values], axis=0) for measure in values[0]}
        return originals[name].summary(means, np.mean(empty, axis=0))

    def curve(name: str, points: Sequence) -> tuple[Point, ...]:
        names = [tuple(layer.name for layer in block) for block in blocks]
        return tuple(Point(*point) for point in zip(names, (summary(name, each) for each in points), strict=True))

    methods = {}
    for name, own in originals.items():
        down = curve(name, cascading)
        methods[name] = MethodRandomization(
            summary(name, [repeated]), down, curve(name, alone) if independent else (),
            own.comparison(down[-1].similarity),
        )  # fmt: skip
    return Randomization(methods, class_index, sum(map(len, blocks)), draws)


class _Copy:
    """A copy of a model, of which parts can be made random and be restored.

    Attributes:
        model: the copy, on one device.
        blocks: its layers with weights from the output to the input, in at most so many parts of equal length.
    """

    def __init__(self, model: keras.Model, clips: np.ndarray, parts: int):
        self._source, self._trained = model, flat(model).get_weights()
        self.model = self._clone()
        self.model.set_weights(self._trained)
        first = keras.tree.pack_sequence_as(own_graph(self.model)._inputs_struct, [clips[:1]])
        check_answers(flat(model), self.model, first)
        layers = [layer for layer in _layers(flat(self.model)) if self._own(layer)]
        if not layers:
            raise ValueError(f"model {model.name!r} has no layer with weights that could be made random")
        parts = np.array_split(np.arange(len(layers)), min(parts, len(layers)))
        self.blocks = [[layers[i] for i in part] for part in parts]

    def draw(self, seed: int) -> None:
        """Draws the weights of another random network."""
        with _seeded(seed):
            fresh = self._clone().get_weights()
        rng = np.random.default_rng(seed)
        values = (_random(new, old, rng) for new, old in zip(fresh, self._trained, strict=True))
        self._random = {id(weight): value for weight, value in zip(self.model.weights, values, strict=True)}

    def make_random(self, block) -> None:
        """Gives the layers of a block the weights that were drawn."""
        for layer in block:
            for weight in self._own(layer):
                weight.assign(self._random[id(weight)])

    def restore(self) -> None:
        """Gives all layers the weights of the trained model."""
        self.model.set_weights(self._trained)

    def _clone(self) -> keras.Model:
        with devices.by_itself():
            return as_here(cloned(self._source))

    def _own(self, layer) -> list:
        if isinstance(layer, keras.layers.Normalization):
            return []
        return [weight for weight in layer.weights if keras.backend.is_float_dtype(weight.dtype)]


def _layers(graph: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a flat graph from the output to the input, each once, where it stands nearest to the output."""
    seen = set()
    for depth in sorted(graph._nodes_by_depth):
        for node in reversed(graph._nodes_by_depth[depth]):
            if isinstance(node.operation, keras.Layer) and id(node.operation) not in seen:
                seen.add(id(node.operation))
                yield node.operation


def _random(fresh: np.ndarray, trained: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    dead = fresh.ndim > 1 and np.ptp(fresh) == 0
    if dead or (np.array_equal(fresh, trained) and np.ptp(trained) > 0):
        return rng.permutation(trained.ravel()).reshape(trained.shape)
    return fresh


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within it initialisers draw by this seed; they take theirs from Python's generator, which goes on as before."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
