"""Taps: the feature maps of a flat functional graph that can be explained, as (B, t, h, w, c)."""

import functools
import operator
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras

from har_tf.models.flatten import end_of, flat, in_order, path_of
from har_tf.models.layout import PLACES, WHOLE, Layout, Part, after, wrapped
from har_tf.models.logits import input_of
from har_tf.models.max_pooling import pooling_of
from har_tf.names import closest

# Layers whose output is their input moved about, padded or (outside training) unchanged: it shows nothing
# that the map before it does not show, or shows it at the wrong place.
# fmt: off
_REARRANGING = frozenset((
    "InputLayer", "Reshape", "Permute", "Flatten", "RepeatVector", "Identity", "Masking", "Rescaling",
    "Normalization", "Resizing", "CenterCrop", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D",
    "Cropping3D", "Dropout", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization",
))
# Of `keras.ops` only what joins or activates feature maps, as residual graphs write it (`x + y`,
# `ops.relu(x)`).
_JOINING_OPS = frozenset((
    "Add", "Subtract", "Multiply", "Maximum", "Concatenate", "Relu", "Relu6", "LeakyRelu", "Silu",
    "Gelu",
))
# fmt: on
# model -> (its output tensor, its taps with their tensors, what could not be followed)
_found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_RANKS = (4, 5)  # of images and clips
_UPRIGHT = (("b", *PLACES, "c"), ("b", "h", "w", "c"))  # orders in which a map can be read without moving its axes


@dataclass(frozen=True)
class Tap:
    """One explainable feature map of a model.

    Attributes:
        name: of the layer (or `keras.ops` operation) that makes the map; of a layer that is called several
            times the later maps are `name:1`, `name:2`, ...
        shape: (t, h, w, c) of one clip; None where the model leaves a size open.
        kind: class of that layer, as "Conv3D".
        input: name of the input whose clips the map shows, of a model that takes several, such as frames and flow.
        spans: ((begin, end) along time, height, width), the part of the clip that the map shows, as shares of it;
            (0, 1) is all of it.
        axes: what the axes of the tensor are, of "b", "t", "h", "w" and "c", where the model moved or joined them in
            another order than clips have; "-h" runs backwards.
    """

    name: str
    shape: tuple[int | None, int | None, int | None, int]
    kind: str = ""
    input: str = ""
    spans: tuple[tuple[float, float], ...] = field(default=(WHOLE, WHOLE, WHOLE), repr=False)
    axes: tuple[str, ...] = field(default=(), repr=False)


def taps(model: keras.Model) -> list[Tap]:
    """Lists the feature maps of a model that can be explained, from input to output.

    A tap is the output of a convolution, normalisation, activation, pooling, addition or concatenation that
    still has a place in the frame (h·w > 1). Maps are channels-last. They may be (B, t, h, w, c);
    (B·T, h, w, c) where the graph folded time into the batch with `keras.ops.reshape`; (B, h, w, c), which
    counts as t = 1; or tokens (B, t·h·w, c) that were reshaped from one of these. Not taps: preprocessing
    (all before the first layer with weights), reshapes, padding, and dropout, which outside training repeats
    the map before it.

    The list is read off the graph alone, so a model from `keras.models.load_model` has the same taps. Those of a model
    inside the model are named after both, as "mobilenetv2/block_13_expand_relu", see `har_tf.models.flatten`. Where a
    map lies in the clip is followed through whatever moves it, see `har_tf.models.layout`; behind a layer that cannot
    be followed there are no taps. A model may take several clips, such as frames and flow in two streams, and other
    inputs beside them: each map belongs to the first input that it shows, see `Tap.input`.

    Args:
        model: functional or sequential model of clips (B, T, H, W, C) or images (B, H, W, C).

    Returns:
        The taps in the order in which the graph computes them.

    Raises:
        ValueError: the model is no graph, takes neither clips nor images, or is channels-first.

    Example:
        >>> [tap.name for tap in taps(cnn_gru())][-2:]
        ['pool_3', 'conv3d']
    """
    return [tap for tap, _ in symbolic(model)]


def find(model: keras.Model, tap: str | Tap | None = None) -> Tap:
    """The tap of a given name, or the one to explain by default.

    The default is the last tap that is not a pooling layer: the last map before the recurrent or pooling
    head, which is what Grad-CAM explains in the paper (section 3.2), at its full resolution; of a model of several
    inputs, that of the first one.

    Args:
        model: as in `taps`.
        tap: a name, a `Tap` of this model, the name of one of several inputs for the default of that one, or None for
            the default.

    Raises:
        ValueError: the model has no such tap; the message lists those it has.
    """
    if tap is not None:
        return find_several(model, [tap])[0]
    return _last(_of_input(model, _checked(model)))


def _last(found: Sequence[Tap]) -> Tap:
    return ([tap for tap in found if "Pooling" not in tap.kind] or found)[-1]


def _of_input(model: keras.Model, found: Sequence[Tap], name: str | None = None) -> list[Tap]:
    """The taps that show the input of this name; None: the first input that has any."""
    known = {tap.input for tap in found}
    name = next(x.name for x in model.inputs if x.name in known or "" in known) if name is None else name
    return [tap for tap in found if tap.input in ("", name)]


def find_several(model: keras.Model, names: Sequence[str | Tap] | None) -> list[Tap]:
    """The taps of the given names, in their order; the graph is walked once.

    Args:
        model: as in `taps`.
        names: names as in `find`, or taps of this model, each once; None: `stages(model)`.

    Raises:
        ValueError: the model has no such tap (the message lists those it has), one is named twice, or none is.
    """
    if names is None:
        return stages(model)
    if isinstance(names, str | Tap):
        raise ValueError(f"taps are a list of names. Received: taps={names!r}")
    given = [name.name if isinstance(name, Tap) else name for name in names]
    if not given:
        raise ValueError("at least one tap is needed. Received: taps=[]")
    found = {tap.name: tap for tap in _all(model)}
    inputs = {tap.input for tap in found.values()}
    for i, name in enumerate(given):  # a layer's own name will do where it is the only one
        inner = [each for each in found if each.rpartition("/")[2] == name]
        if name not in found and name in inputs:
            given[i] = _last(_of_input(model, _checked(model), name)).name
        elif name not in found and len(inner) == 1:
            given[i] = inner[0]
        elif name not in found:
            given[i] = _given_by(model, name) or name
    for name, tap in zip(given, names, strict=True):
        if name not in found:
            # A network may have 190 taps: what is likely meant comes before a long list.
            hint = _why_no_tap(model, name) + (closest(str(name), found) if len(found) > 12 else "")
            raise ValueError(
                f"tap {name!r} is not in the model.{hint} Taps, from input to output: {', '.join(found)}. "
                f"Received: {tap=}"
            )
    if len(set(given)) < len(given):
        raise ValueError(f"each tap is named once. Received: taps={given}")
    return [found[name] for name in given]


def _given_by(model: keras.Model, name: str) -> str | None:
    """The tap that a model or layer gives whose inner maps are taps; None: it gives none, or is a layer itself."""
    if any(layer.name == name for layer in flat(model).layers):
        return None
    names, end = {id(tensor): tap.name for tap, tensor in symbolic(model)}, end_of(flat(model), name)
    while end is not None and id(end) not in names:
        rearranged = type(end._keras_history.operation).__name__ in _REARRANGING - {"InputLayer"}
        end = input_of(end) if rearranged else None
    return None if end is None else names[id(end)]


def stages(model: keras.Model, input: str | None = None) -> list[Tap]:
    """The output of each stage of a model: at every resolution (t, h, w) the last map that all others go through.

    Of the maps of one resolution it is the last that lies on every path from the input to the last map, so the output
    of a residual or inception block and never a branch within one. Pooling layers do not count, and neither does a
    LayerNormalization, as at the end of a transformer: the sum of its channels, which 3DCAM takes, is nearly the same
    everywhere. A model of several streams that meet behind their last maps has the stages of each. These are the layers
    whose attributions the 3DCAM paper sums ("conv, layer 1, ..., layer 4").

    Args:
        model: as in `taps`; maps of sizes that it leaves open count as one stage.
        input: of a model of several inputs the name of the one whose stages are meant; None: the first.

    Returns:
        The taps, from input to output.

    Raises:
        ValueError: as in `taps`, or the model has no tap, or none of this input.
    """
    every = _of_input(model, _checked(model), input)
    if not every:
        raise ValueError(f"model {model.name!r} has no feature map of an input {input!r}. It takes {_inputs(model)}")
    counting = {tap.name for tap in every if "Pooling" not in tap.kind and tap.kind != "LayerNormalization"}
    counting = counting or {tap.name for tap in every}
    found = [(tap, tensor) for tap, tensor in symbolic(model) if tap.name in counting]
    places = {id(tensor): i for i, (_, tensor) in enumerate(found)}
    graph = _graph(model)
    # Sets of taps as bits of an int: those on some path to a tensor, and those on every path.
    some = {id(clip): 0 for clip in graph.inputs if every[0].input in ("", clip.name)}
    every_path = dict(some)
    for node in _nodes(graph):
        before = [id(x) for x in node.input_tensors if id(x) in some]
        if not before:
            continue
        for output in node.output_tensors:
            own = 1 << places[id(output)] if id(output) in places else 0
            some[id(output)] = functools.reduce(operator.or_, (some[x] for x in before)) | own
            every_path[id(output)] = functools.reduce(operator.and_, (every_path[x] for x in before)) | own
    always = [every_path[id(tensor)] for _, tensor in found]
    leading = functools.reduce(operator.or_, (some[id(tensor)] & ~(1 << i) for i, (_, tensor) in enumerate(found)))
    # The map of most steps first: what only follows a stage at its own size, such as a gate of a head, is no stage.
    ends = sorted((i for i in range(len(found)) if not leading >> i & 1), key=lambda i: always[i].bit_count())
    chosen: list[int] = []
    for end in reversed(ends):
        passed = always[end] & ~(1 << end) if _repeats(found[end][1], places) else always[end]
        by_size = {found[i][0].shape[:3]: i for i in range(len(found)) if passed >> i & 1}
        for size, i in by_size.items():
            if not any(found[j][0].shape[:3] == size and some[id(found[i][1])] >> j & 1 for j in chosen):
                chosen.append(i)
    return [found[i][0] for i in sorted(chosen)]


def _repeats(tensor: keras.KerasTensor, places: dict[int, int]) -> bool:
    """Whether a map is a feature map activated once more, for a head beside others that read that map too."""
    operation = tensor._keras_history.operation
    if type(operation).__name__ not in ("ReLU", "Relu", "Activation"):
        return False
    before = input_of(tensor)
    readers = before._keras_history.operation._outbound_nodes
    return id(before) in places and len(readers) > 1


def _checked(model: keras.Model) -> list[Tap]:
    """All taps; ValueError where those to explain by default would be others than one expects."""
    found = _all(model)
    lost = _found[model][2]
    if lost:
        names = ", ".join(tap.name for tap in found)
        raise ValueError(f"{_not_followed(lost)}, and maps lie behind it. Name one of the taps before it: {names}")
    return found


def _not_followed(lost: str) -> str:
    return f"what {lost!r} does to places and frames cannot be followed"


def _all(model: keras.Model) -> list[Tap]:
    found, lost = taps(model), _found[model][2]
    if not found and lost:
        raise ValueError(f"model {model.name!r} has no feature map whose place is known: {_not_followed(lost)}")
    if not found:
        raise ValueError(f"model {model.name!r} has no feature map with a place in the frame, so nothing to explain.")
    return found


def _why_no_tap(model: keras.Model, name: str) -> str:
    """A sentence on a layer of this name that is there, but is no tap."""
    layer = next((layer for layer in flat(model).layers if layer.name == name), None)
    if layer is None:
        return ""
    shape = tuple(getattr(layer.output, "shape", ()))
    if len(shape) in (4, 5) and shape[-3:-1] == (1, 1):
        return f" Its map of {shape} has a single place, so it cannot show where."
    return f" It is a {type(layer).__name__} with the output {shape}, which is no feature map of its own."


def symbolic(model: keras.Model) -> list[tuple[Tap, keras.KerasTensor]]:
    """The taps of a model with the symbolic tensors that hold them, from input to output.

    Each tensor reshaped to (-1, t, h, w, c) is its map: folding keeps the frames of a clip together.
    """
    graph = _graph(model)
    known = _found.get(model)
    if known is None or known[0] is not model.outputs[0]:  # a sequential model may have grown
        known = _found[model] = (model.outputs[0], *_followed(flat(model), graph))
    return known[1]


def _followed(model: keras.Model, graph: keras.Function) -> tuple[list[tuple[Tap, keras.KerasTensor]], str]:
    """The taps of a flat graph, and the operation behind which maps could not be followed; "" if there is none."""
    several = len(graph.inputs) > 1
    followed = [
        (clip.name if several else "", {id(clip): Layout.of_input(clip.shape)})
        for clip in graph.inputs
        if len(clip.shape) in _RANKS
    ]
    calls: dict[str, int] = {}
    found, held, lost = [], set(), ""
    for node in _nodes(graph):
        operation = node.operation
        if getattr(operation, "data_format", None) == "channels_first":
            raise ValueError(
                f"taps need channels-last maps. Received: layer {operation.name!r} of data_format='channels_first'"
            )
        path = path_of(model, node.output_tensors[0], operation.name)
        call = calls[path] = calls.get(path, -1) + 1
        for name, layouts in followed:
            if not any(id(x) in layouts for x in node.input_tensors):
                continue
            for output, layout in zip(node.output_tensors, after(operation, node, layouts), strict=True):
                layouts[id(output)] = layout
                pooling = pooling_of(output)
                moved = not pooling and (layout.moved or not _makes_maps(operation))
                if not layout.learned or moved or id(output) in held:
                    continue
                kind = "MaxPooling3D" if pooling else _kind(operation)
                tap = _tap(f"{path}:{call}" if call else path, layout, output.shape, kind, name)
                if tap is not None:
                    found.append((tap, output))
                    held.add(id(output))
                lost = lost or (layout.lost if _has_places(output.shape) else "")
    return found, lost


def _has_places(shape: tuple) -> bool:
    return len(shape) in (4, 5) and any(size is None or size > 1 for size in shape[-3:-1])


def _nodes(graph: keras.Function):
    """The steps of the graph but its input, in the order in which it computes them."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in in_order(graph._nodes_by_depth[depth]) if not node.is_input)


def _graph(model: keras.Model) -> keras.Function:
    if not isinstance(model, (keras.Sequential, keras.Function)) or not getattr(model, "inputs", None):
        raise ValueError(
            "taps need a built functional or sequential model, whose graph shows its feature maps; "
            "`har_tf.models.flatten.flatten(model, [clips.shape])` makes one of a subclassed model, as gradcam and the "
            "others do by themselves. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}"
        )
    if not any(len(x.shape) in _RANKS for x in model.inputs):
        raise ValueError(
            f"taps need a model of clips (B, T, H, W, C) or images (B, H, W, C). Received: inputs {_inputs(model)}"
        )
    model = flat(model)
    return keras.Function(model.inputs, model.outputs)


def _inputs(model: keras.Model) -> str:
    return ", ".join(f"{x.name} {tuple(x.shape)}" for x in model.inputs)


def _tap(name: str, layout: Layout, shape: tuple, kind: str, clip: str) -> Tap | None:
    """The map that a tensor holds; None where it is none."""
    order = tuple(part.name for part in layout.parts)
    if layout.axes is None or layout.axes[-1] != (Part("c"),) or shape[-1] is None:
        return None
    if len(set(order)) < len(order) or not {"h", "w"} <= set(order) <= {"b", *PLACES, "c"}:
        return None
    parts = {part.name: part for part in layout.parts}
    t, h, w = (parts[place].size if place in parts else 1 for place in PLACES)
    if None not in (h, w) and h * w == 1:
        return None
    spans = [layout.span(parts[place]) if place in parts else WHOLE for place in PLACES]
    backwards = {place for place, (begin, end) in zip(PLACES, spans, strict=True) if begin > end}
    axes = () if order in _UPRIGHT and not backwards else tuple("-" * (part in backwards) + part for part in order)
    return Tap(name, (t, h, w, shape[-1]), kind, clip, tuple((min(span), max(span)) for span in spans), axes)


def _kind(operation) -> str:
    return type(wrapped(operation)).__name__


def _makes_maps(operation) -> bool:
    kind = _kind(operation)
    return kind not in _REARRANGING if isinstance(operation, keras.Layer) else kind in _JOINING_OPS
