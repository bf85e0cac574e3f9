"""TCAV: is a class recognised by a concept? From clips to tested scores, with one pass over every clip.

    scores = tcav.score(model, tennis, class_index=4, concepts={"racket": ..., "ball": ...}, random_sets=[...])

A concept is a set of clips that show it. Its CAV is the direction, among the activations of a tap, that leads from
other clips to these (`cavs`). The score of a class is the share of its clips whose logit grows in that direction
(`relative_tcav`, Saha et al. 2024, section 3), and `significance` says whether that is more than chance.
"""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import keras
import numpy as np
import tensorflow as tf

from har_tf.concepts.cav import CavFit
from har_tf.concepts.scores import Scores, random_names, relative_tcav
from har_tf.concepts.significance import Criterion, Significance, significance
from har_tf.explain.backward import checked_clips, evidence, features
from har_tf.models.flatten import with_graph
from har_tf.models.logits import classes_of
from har_tf.models.taps import Tap, find_several

# What is left of a map (t, h, w, c): the axes that are pooled.
POOLS = {"mean": (1, 2, 3), "space": (2, 3), "full": ()}


def activations(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap],
    pool: str = "mean",
    batch_size: int = 32,
    max_gib: float = 4.0,
) -> dict[str, np.ndarray]:
    """The activations of clips at every tap, from one forward pass that ends at the last of them.

    Args:
        model: as in `har_tf.models.taps.taps`.
        clips: (B, T, H, W, C) or (B, H, W, C), as the model takes them; of several inputs as in `evidence`.
        taps: names of taps, or taps of this model.
        pool: "mean" over time and space, D = c; "space", D = t·c, which keeps when; "full" keeps all, D = t·h·w·c.
        batch_size: clips that are in memory at once.
        max_gib: refuse what would take more memory than this, in GiB.

    Returns:
        tap's name -> float32 (B, D).

    Raises:
        ValueError: no such tap, an unknown pool, clips that do not fit the model, too much for `max_gib`, or
            activations that are not finite.
    """
    model = with_graph(model, clips)
    chosen = _chosen(model, taps, pool)
    _check_size(chosen, _count(model, clips), pool, max_gib)
    found = features(model, clips, chosen, _feature_rule(pool), batch_size)
    return {tap.name: each for tap, each in zip(chosen, found, strict=True)}


def gradients(
    model: keras.Model,
    clips: np.ndarray,
    class_index: int,
    taps: Sequence[str | Tap],
    pool: str = "mean",
    batch_size: int = 32,
    max_gib: float = 4.0,
) -> dict[str, np.ndarray]:
    """The gradients of a class's logit at every tap, from one forward and one backward pass for all of them.

    Of pooled activations a the gradient is the *sum* over the pooled positions p, since a step v of the mean is a step
    v at every position: d/de logit(x + e·v everywhere) = sum over p of (d logit / d x_p) · v. Where the model itself
    averages the map, that is its gradient with respect to the average.

    Args:
        class_index: the class.
        model, clips, taps, pool, batch_size, max_gib: as in `activations`; `clips` are of the class.

    Returns:
        tap's name -> float32 (B, D), in logits for an activation.

    Raises:
        ValueError: as in `activations`, a class that the model does not have, or a model without a logit.
    """
    model = with_graph(model, clips)
    chosen = _chosen(model, taps, pool)
    _check_class(model, class_index)
    _check_size(chosen, _count(model, clips), pool, max_gib)
    found = evidence(model, clips, chosen, _gradient_rule(pool), int(class_index), batch_size)
    return {tap.name: each for tap, each in zip(chosen, found.signed, strict=True)}


@functools.cache  # compiled functions are kept by their rule
def _feature_rule(pool):
    return lambda feature: _flat(tf.reduce_mean(feature, axis=POOLS[pool]) if POOLS[pool] else feature)


@functools.cache
def _gradient_rule(pool):
    return lambda _, gradient: _flat(tf.reduce_sum(gradient, axis=POOLS[pool]) if POOLS[pool] else gradient)


def _flat(x):
    return tf.reshape(x, [tf.shape(x)[0], -1])


class Bank:
    """The activations of all clips that were asked for; equal clips, also in several sets, pass the model once.

    Args:
        model, taps, pool, batch_size, max_gib: as in `activations`.
    """

    def __init__(
        self, model, taps: Sequence[str | Tap], pool: str = "mean", batch_size: int = 32, max_gib: float = 4.0
    ):
        chosen = _chosen(model, taps, pool)
        self.model, self.taps = model, tuple(tap.name for tap in chosen)
        self._how = {"taps": chosen, "pool": pool, "batch_size": batch_size, "max_gib": max_gib}
        self._row: dict[bytes, int] = {}
        self._found: dict[str, list[np.ndarray]] = {tap: [] for tap in self.taps}

    def activations(self, clips: np.ndarray | Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """tap -> (B, D) of these clips."""
        keys = [hashlib.blake2b(np.ascontiguousarray(clip)).digest() for clip in clips]
        new = {key: i for i, key in enumerate(keys) if key not in self._row}
        if new:
            for tap, found in activations(self.model, np.stack([clips[i] for i in new.values()]), **self._how).items():
                self._found[tap].extend(found)
            self._row |= {key: len(self._row) + i for i, key in enumerate(new)}
        return {tap: np.stack([found[self._row[key]] for key in keys]) for tap, found in self._found.items()}

    def gradients(self, clips: np.ndarray, class_index: int) -> dict[str, np.ndarray]:
        """As `gradients`, at these taps."""
        return gradients(self.model, clips, class_index, **self._how)


@dataclass(frozen=True, eq=False)
class Tcav:
    """What `score` found.

    Attributes:
        class_index: the class.
        taps: names, in the order given.
        relative: tap -> concept, and "random" -> `Scores` of the concepts shown together (Figures 7 to 9).
        tests: tap -> concept -> `Significance` of each concept by itself (Figure 10).
    """

    class_index: int
    taps: tuple[str, ...]
    relative: dict[str, dict[str, Scores]]
    tests: dict[str, dict[str, Significance]]


def score(
    model: keras.Model,
    clips: np.ndarray,
    class_index: int,
    concepts: Mapping[str, np.ndarray],
    random_sets: Sequence[np.ndarray],
    taps: Sequence[str | Tap] | None = None,
    pool: str = "mean",
    classifier: CavFit | None = None,
    criterion: Criterion | None = None,
    groups: Mapping[str, Sequence] | None = None,
    random_groups: Sequence[Sequence] | None = None,
    batch_size: int = 32,
    max_gib: float = 4.0,
) -> Tcav:
    """Scores concepts for a class at every tap, relative to each other, and tests each of them.

    Every clip passes the model once for all taps, also if it was drawn into several sets; the clips of the class pass
    once forward and backward. All CAVs and scores are matrix products of what that gave, and equal numbers come of
    equal arguments.

    Args:
        model: functional Keras model with one output (B, classes). It is not changed.
        clips: clips of the class, as the model takes them; with M of them a score has steps of 1 / M. Best none that is
            among the concepts.
        class_index: the class.
        concepts: two or more, name -> clips that show it, 25 or more of them in the paper.
        random_sets: two or more sets of random clips, as large as a concept; the paper has ten.
        taps: names or taps; None: the stages of the model.
        classifier: how CAVs are fitted; None: `CavFit()`.
        criterion: how scores are tested; None: `Criterion()`, with a hypothesis for every concept at every tap.
        groups, random_groups: source of each clip, such as its video: name -> one a clip, and a sequence a random set.
            Clips of one source are neither divided by cross-validation nor by the permutation test.
        pool, batch_size, max_gib: as in `activations`.

    Raises:
        ValueError: fewer than two concepts or random sets, an empty one, clips that do not fit the model, a class or
            tap that it does not have, too few clips for cross-validation or tests, or activations too large to hold.

    Example:
        >>> found = score(model, tennis, 4, {"racket": rackets, "ball": balls}, random_sets)
        >>> found.relative["layer4"]["racket"].mean, found.tests["layer4"]["racket"].significant
        (0.97, True)
    """
    classifier, criterion = classifier or CavFit(), criterion or Criterion()
    model = with_graph(model, clips)
    chosen = _chosen(model, taps, pool)
    _check_class(model, class_index)
    if len(model.inputs) > 1:
        raise ValueError(
            f"model {model.name!r} takes several inputs, and concepts are sets of clips for one. Take `activations` "
            "and `gradients`, which are given a clip for each input, with `relative_tcav` and `significance`"
        )
    if len(concepts) < 2 or len(random_sets) < 2:
        raise ValueError(
            "scores and their tests take two or more concepts and two or more random sets (the paper has ten). "
            f"Received: {len(concepts)} concepts, {len(random_sets)} random sets"
        )
    randoms = random_names(concepts, len(random_sets))
    criterion = replace(criterion, hypotheses=criterion.hypotheses or len(concepts) * len(chosen))
    criterion.check(criterion.hypotheses)
    checked = {}
    for name, each in {**concepts, **dict(zip(randoms, random_sets, strict=True))}.items():
        try:
            (checked[name],) = checked_clips(model, each).values()
        except ValueError as error:
            raise ValueError(f"set {name!r}: {error}") from None
        smallest = max(2, classifier.folds or 2)
        if len(each) < smallest:
            why = "a test" if classifier.folds is None else f"{classifier.folds}-fold cross-validation"
            raise ValueError(f"set {name!r}: {why} takes {smallest} clips or more in each set. Received: {len(each)}")
    _check_size(chosen, sum(map(len, checked.values())) + len(clips), pool, max_gib)
    bank = Bank(model, chosen, pool, batch_size, max_gib)
    slopes = bank.gradients(clips, class_index)
    seen = {name: bank.activations(each) for name, each in checked.items()}
    relative, tests = {}, {}
    for tap in bank.taps:
        shown, others = {name: seen[name][tap] for name in concepts}, [seen[name][tap] for name in randoms]
        relative[tap] = relative_tcav(shown, slopes[tap], others, classifier, groups, random_groups)
        tests[tap] = significance(shown, slopes[tap], others, classifier, criterion, groups, random_groups)
    return Tcav(int(class_index), bank.taps, relative, tests)


def _chosen(model, taps, pool) -> list[Tap]:
    if pool not in POOLS:
        raise ValueError(f"pool is one of {', '.join(map(repr, POOLS))}. Received: {pool=}")
    return find_several(model, taps)


def _check_class(model, class_index) -> None:
    number = classes_of(model)
    if isinstance(class_index, bool) or not isinstance(class_index, Integral) or not 0 <= class_index < number:
        raise ValueError(f"class_index is one class of the model, 0 to {number - 1}. Received: {class_index!r}")


def _count(model, clips) -> int:
    """How many clips there are, of which a model of several inputs is given a list or a dict."""
    if len(model.inputs) > 1:
        clips = next(iter(clips.values() if isinstance(clips, Mapping) else clips), ())
    return len(clips)


def _check_size(taps, count, pool, max_gib) -> None:
    """Refuses what would not fit; sizes that the model leaves open are not counted."""
    numbers = {
        tap.name: math.prod(n or 1 for axis, n in enumerate(tap.shape, start=1) if axis not in POOLS[pool])
        for tap in taps
    }
    gib = 4 * count * sum(numbers.values()) / 2**30
    if gib > max_gib:
        largest = max(numbers, key=numbers.get)
        raise ValueError(
            f"the activations of {count} clips at these taps take {gib:.1f} GiB, of which tap {largest!r} has "
            f"{numbers[largest]:,} numbers a clip; pool='mean' keeps one for each channel. Take it, later taps, fewer "
            f"clips, or a larger max_gib. Received: {pool=}, {max_gib=}"
        )
