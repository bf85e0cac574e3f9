"""Which part of the clip a tensor of a graph shows: what each axis is, where it begins, and in which direction it runs.

What layers with weights, pooling and activations do to places is known by their kind: a map covers what the map before
it covered. Everything else, such as `Permute`, a slice, a crop, a `Lambda` or a layer of one's own, is tried: the
coordinates of the clip are sent through it. Where it only moves values about (or averages neighbours, as resizing
does), what comes out says where each value came from; where it computes, a change at one place must show at that place.
What passes neither test is not followed any further, and the layer is named. A class of layers that mixes places and
still gives each its own can say so: `keeps_places = True`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from keras import tree

from har_tf.models.flatten import FoldTime, UnfoldTime

PLACES = ("t", "h", "w")
WHOLE = (0.0, 1.0)
CLIPS = 2  # that operations are tried on
_ASSUMED = {"t": 5, "h": 20, "w": 28}  # sizes to try operations on where the model leaves them open
_TOLERANCE = 0.51  # of a cell: resizing clamps at the edges

# Layers of Keras whose map covers what the map before it covered, in the same order. A place is not moved by
# convolution or pooling: as everywhere in this field, the cells of a map share the whole of the frame evenly.
# fmt: off
_KEEPING = frozenset((
    "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Conv3DTranspose",
    "MaxPooling2D", "MaxPooling3D", "AveragePooling2D", "AveragePooling3D", "MaxPool", "AveragePool",
    "UpSampling2D", "UpSampling3D",
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization",
    "SpectralNormalization", "Normalization", "Rescaling", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax",
    "Dense", "EinsumDense", "Identity", "Masking", "ActivityRegularization",
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "MultiHeadAttention", "GroupedQueryAttention",
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
    "Divide", "TrueDivide", "Power", "Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu", "Elu", "Swish", "HardSwish",
    "HardSigmoid", "LeakyRelu", "Cast", "Exp", "Sqrt", "Square", "Negative", "Absolute", "Clip", "Softplus",
))
_REDUCING = frozenset((
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "Mean", "Max",
    "Sum", "Amax", "Min", "Amin", "Var", "Std", "Logsumexp",
))
# fmt: on


@dataclass(frozen=True)
class Part:
    """What runs along an axis of a tensor, or a part of it where a reshape joined several.

    Attributes:
        name: "b" (clips), "t", "h", "w" or "c" (channels).
        size: cells; None where the model leaves it open, and of clips and channels.
        extent: what they cover from first to last, as a share of the clip's length, height or width; negative where the
            axis runs backwards.
    """

    name: str
    size: int | None = None
    extent: float = 1.0


Axis = tuple[Part, ...]  # the outermost part first; empty where nothing of the clip runs along the axis


@dataclass(frozen=True)
class Layout:
    """How a tensor of a graph holds its clips.

    Attributes:
        axes: what runs along each axis of the tensor; None where that could not be followed.
        begins: "t", "h" and "w" -> where the first cell begins, as a share of the clip's length, height or width.
        padding: of each of them the cells of zeros that were put in front and behind and that no convolution took yet.
        learned: whether a layer with weights came before; what did not is preprocessing.
        moved: whether it is one other tensor whose values were only moved about or all scaled alike.
        lost: name of the operation that could not be followed, where `axes` is None for that and not because there is
            no place left.
    """

    axes: tuple[Axis, ...] | None
    begins: Mapping[str, float] = field(default_factory=dict)
    padding: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    learned: bool = False
    moved: bool = False
    lost: str = ""

    @classmethod
    def of_input(cls, shape: Sequence[int | None]) -> Layout:
        """Of clips (B, T, H, W, C) or images (B, H, W, C)."""
        places = PLACES[5 - len(shape) :]
        parts = (Part("b"), *map(Part, places, shape[1:-1]), Part("c"))
        return cls(tuple((part,) for part in parts), dict.fromkeys(places, 0.0))

    @property
    def parts(self) -> list[Part]:
        """All parts, in the order in which they lie in the tensor."""
        return [part for axis in self.axes or () for part in axis]

    def span(self, part: Part) -> tuple[float, float]:
        """Where the cells of a part that is all there is of its name begin and end, as shares of the clip."""
        begin = self.begins.get(part.name, 0.0)
        return begin, round(begin + part.extent, 6)

    def unknown(self, operation) -> Layout:
        """That of what an operation makes that could not be followed."""
        return Layout(None, learned=self.learned, lost=self.lost or operation.name)


def after(operation, node, layouts: Mapping[int, Layout]) -> list[Layout]:
    """The layouts of an operation's outputs.

    Args:
        operation: a layer or an operation of `keras.ops`.
        node: its call in a graph.
        layouts: id of a tensor -> layout, of those that come from the clip.
    """
    before = [(x, layouts[id(x)]) for x in node.input_tensors if id(x) in layouts]
    outputs = node.output_tensors
    if not before:  # a constant
        return [Layout(None)] * len(outputs)
    source, layout = max(before, key=lambda pair: (len(pair[0].shape), len(pair[1].parts)))
    weights = isinstance(operation, keras.Layer) and operation.weights and not _preprocessing(operation)
    layout = replace(layout, learned=bool(weights) or any(each.learned for _, each in before), moved=False)
    lost = next((each.lost for _, each in before if each.lost), "")
    if lost:
        return [replace(layout.unknown(operation), lost=lost)] * len(outputs)
    if isinstance(operation, FoldTime | UnfoldTime):
        layout = replace(layouts[id(node.input_tensors[0])], learned=layout.learned)
        return [_folded(layout) if isinstance(operation, FoldTime) else _unfolded(layout)]
    if not {"h", "w"} <= {part.name for part in layout.parts}:
        return [replace(layout, axes=None)] * len(outputs)  # behind the last map there is no place to follow
    if len(outputs) == 1:
        shape = tuple(outputs[0].shape)
        if tuple(source.shape) == shape and type(operation).__name__ in ("Reshape", "Cast"):
            return [layout]
        known = _rearranged(operation, node, source, layout, shape)
        known = known or _by_kind(operation, before, source, layout, shape)
        if known is not None:
            return [known]
    return _tried(operation, node, layouts, layout)


def _folded(layout: Layout) -> Layout:
    """The layout where an open number of frames is folded into the batch."""
    if layout.axes is None:
        return layout
    clips, time, *others = layout.axes
    return replace(layout, axes=((*clips, *time), *others))


def _unfolded(layout: Layout) -> Layout:
    if layout.axes is None:
        return layout
    (clips, *time), *others = layout.axes
    return replace(layout, axes=((clips,), tuple(time), *others))


def _preprocessing(operation) -> bool:
    return isinstance(operation, keras.layers.Rescaling | keras.layers.Normalization)


def wrapped(operation):
    """The layer that one of Keras, such as `TimeDistributed`, is wrapped around; else the operation itself."""
    return operation.layer if isinstance(operation, keras.layers.Wrapper) and of_keras(operation) else operation


def of_keras(operation) -> bool:
    return type(operation).__module__.startswith("keras.")


def _by_kind(operation, before, source, layout: Layout, shape: tuple) -> Layout | None:
    """The layout by what kind of operation it is; None where that does not say."""
    kind, inner = type(wrapped(operation)).__name__, type(getattr(operation, "forward_layer", None)).__name__
    keeps = getattr(type(operation), "keeps_places", False)
    if not (keeps or of_keras(wrapped(operation))) or Part("b") not in layout.axes[0]:
        return None
    if kind in _REDUCING:
        return _reduced(operation, layout, shape)
    recurrent = "ConvLSTM2D" in (kind, inner)
    if recurrent and len(shape) == 4 and len(layout.axes) == 5:
        layout = _without(layout, 1)  # the last state has seen all frames
    elif kind == "ConvLSTM2D" and operation.go_backwards:
        (time,) = layout.axes[1]
        axes = (layout.axes[0], (replace(time, extent=-time.extent),), *layout.axes[2:])
        layout = replace(layout, axes=axes, begins={**layout.begins, time.name: layout.span(time)[1]})
    if len(shape) != len(layout.axes) or not (recurrent or keeps or kind in _KEEPING or kind == "Concatenate"):
        return None
    if kind == "Concatenate" and operation.axis not in (-1, len(shape) - 1):
        return None
    layout = _joined(layout, [each for x, each in before if x is not source and len(x.shape) == len(shape)])
    if layout is None:
        return None
    weights = isinstance(operation, keras.Layer) and bool(operation.weights)
    if layout.axes[-1] != (Part("c"),) and not weights:
        return None
    mixed = _in_one_cell(layout, layout.axes[-1])
    axes = [*mixed.axes[:-1], (Part("c"),)]  # what ran along the last axis is a channel from here on
    for i, size in enumerate(shape[:-1]):
        if source.shape[i] == size:
            continue
        if len(axes[i]) != 1 or axes[i][0].name not in PLACES:
            return None
        axes[i] = (replace(axes[i][0], size=size),)
    return _taken_by_kernel(operation, _seen(operation, replace(mixed, axes=tuple(axes)), source.shape), layout)


def _rearranged(operation, node, source, layout: Layout, shape: tuple) -> Layout | None:
    """The layout behind what moves values about, where that is worked out quicker than tried; else None."""
    kind = type(operation).__name__
    if not of_keras(operation) or layout.axes[0][:1] != (Part("b"),):
        return None
    if kind == "Reshape":
        return _regrouped(layout, source.shape[-1], shape)
    if kind == "Permute" or (kind == "Transpose" and operation.axes):
        order = (0, *operation.dims) if kind == "Permute" else operation.axes
        return replace(layout, axes=tuple(layout.axes[i] for i in order), moved=True)
    if kind.startswith(("ZeroPadding", "Cropping")):
        sides = operation.padding if kind.startswith("Zero") else [(-a, -b) for a, b in operation.cropping]
        return _padded(layout, [(0, 0), *sides, (0, 0)]) if len(sides) == len(shape) - 2 else None
    if kind == "GetItem" and len(node.input_tensors) == 1:
        _, key = node.arguments.args
        return _sliced(layout, key) if isinstance(key, tuple) else None
    return None


def _regrouped(layout: Layout, channels: int, shape: tuple) -> Layout | None:
    """The layout behind a reshape that joins or cuts parts, as a fold of time into the batch."""
    waiting, axes = list(layout.parts), []
    if shape[0] is not None or None in shape[1:]:
        return None
    alone = channels == 1 and waiting[-1] == Part("c")  # one channel takes no room in a shape
    if alone:
        waiting.pop()
    for i, size in enumerate(reversed(shape[1:])):
        axis: Axis = (Part("c"),) if alone and i == 0 else ()
        while size > 1 and len(waiting) > 1:
            part = waiting.pop()
            cells = (channels if part == Part("c") else part.size) or 0
            if cells > size and cells % size == 0 and part.name in PLACES:
                waiting.append(replace(part, size=cells // size))
                part, cells = replace(part, size=size, extent=round(_step(part) * size, 6)), size
            if not cells or size % cells:
                return None
            size //= cells
            axis = (replace(part, size=part.size * axis[0].size), *axis[1:]) if _cut(part, axis[:1]) else (part, *axis)
        if size > 1:
            return None
        axes.append(axis)
    *axes, last = (tuple(waiting), *reversed(axes))
    if Part("c") not in last:
        return replace(layout, axes=(*axes, last), moved=True)
    kept = [part for axis in axes for part in axis]
    for part in last:  # neighbours become channels, or all frames do
        outer = [each for each in kept if each.name == part.name]
        if outer and not (len(outer) == 1 and _cut(outer[0], (part,))):
            return None
        single = next((i for i, axis in enumerate(axes) if i and not axis), None)
        if part.name in ("h", "w") and not outer and single is not None:  # all rows in one, where one is left
            axes[single] = (Part(part.name, 1, part.extent),)
            continue
        layout = layout if outer else _in_one_cell(replace(layout, axes=(*axes, last)), (part,))
        axes = axes if outer else list(layout.axes[:-1])
    return replace(layout, axes=(*axes, (Part("c"),)), moved=True)


def _cut(outer: Part, inner: Axis) -> bool:
    """Whether two parts are neighbouring cells that were one part before."""
    return bool(inner) and outer.name == inner[0].name in PLACES and abs(_step(outer) - inner[0].extent) < 1e-5


def _sliced(layout: Layout, key: tuple) -> Layout | None:
    """The layout of some cells along each axis, `x[key]`."""
    if not all(each is Ellipsis or isinstance(each, slice) for each in key) or key.count(Ellipsis) > 1:
        return None
    if Ellipsis in key:
        i = key.index(Ellipsis)
        key = (*key[:i], *[slice(None)] * (len(layout.axes) - len(key) + 1), *key[i + 1 :])
    axes, begins, padding = list(layout.axes), dict(layout.begins), dict(layout.padding)
    for i, cells in enumerate(key):
        if cells == slice(None) or axes[i] == (Part("c"),):
            continue
        if len(axes[i]) != 1 or axes[i][0].name not in PLACES or axes[i][0].size is None:
            return None
        (part,) = axes[i]
        chosen = range(part.size)[cells]
        if not chosen:
            return None
        step = _step(part) * chosen.step
        begins[part.name] = round(begins[part.name] + _step(part) * (chosen.start + 0.5) - step / 2, 6) + 0.0
        padding.pop(part.name, None)
        axes[i] = (Part(part.name, len(chosen), round(step * len(chosen), 6)),)
    return replace(layout, axes=tuple(axes), begins=begins, padding=padding, moved=True)


def _padded(layout: Layout, sides: Sequence[tuple[int, int]]) -> Layout | None:
    """The layout with so many cells of zeros in front of and behind each axis, or fewer cells."""
    axes, begins, padding = [], dict(layout.begins), dict(layout.padding)
    for axis, (front, behind) in zip(layout.axes, sides, strict=True):
        if front or behind:
            if len(axis) != 1 or axis[0].name not in PLACES or axis[0].size is None:
                return None
            (part,) = axis
            size, old = part.size + front + behind, padding.get(part.name, (0, 0))
            begins[part.name] = round(begins[part.name] - front * _step(part), 6)
            padding[part.name] = max(0, old[0] + front), max(0, old[1] + behind)
            axis = (replace(part, size=size, extent=round(_step(part) * size, 6)),)
        axes.append(axis)
    return replace(layout, axes=tuple(axes), begins=begins, padding=padding, moved=True)


def _joined(layout: Layout, others: Sequence[Layout]) -> Layout | None:
    """The layout of maps that lie on each other, or are broadcast over one; None where they show different places.

    Less than a cell apart, as the four neighbours that Swin merges, they lie where they lie on average.
    """
    begins = {name: [begin] for name, begin in layout.begins.items()}
    for other in others:
        if other.axes is None:
            continue  # a gate of what was seen everywhere
        if any(b not in (a, ()) for a, b in zip(layout.axes, other.axes, strict=True)):
            return None
        for part in other.parts:
            if part.name in PLACES:
                begins[part.name].append(other.begins[part.name])
    cells = {part.name: abs(_step(part)) if part.size else 0 for part in layout.parts if part.name in PLACES}
    if any(max(values) - min(values) > 1.01 * cells.get(name, 0) for name, values in begins.items() if len(values) > 1):
        return None
    return replace(layout, begins={name: round(sum(v) / len(v), 6) for name, v in begins.items()})


def _reduced(operation, layout: Layout, shape: tuple) -> Layout | None:
    """Of a mean or a maximum over whole axes."""
    rank = len(layout.axes)
    gone = operation.axis if hasattr(operation, "axis") else tuple(range(1, rank - 1))
    gone = range(rank) if gone is None else [gone] if isinstance(gone, int) else gone
    gone = sorted((i % rank for i in gone), reverse=True)
    if 0 in gone:
        return None
    kept = len(shape) == rank
    for i in gone:
        if any(abs(_step(left)) < abs(_step(part)) for part in layout.axes[i] for left in _others(layout, i, part)):
            return None  # a mean of places that lie apart
        if not (kept and layout.axes[i] == (Part("c"),)):
            layout = _without(layout, i, kept)
    return layout if len(layout.axes) == len(shape) else None


def _others(layout: Layout, i: int, part: Part) -> list[Part]:
    """What else of a name runs along other axes; nothing where sizes are open."""
    others = [each for k, axis in enumerate(layout.axes) if k != i for each in axis]
    return [each for each in others if each.name == part.name in PLACES and each.size and part.size]


def _without(layout: Layout, i: int, kept: bool = False) -> Layout:
    """The layout without an axis, over which was averaged; `kept`: it is still there, of size 1."""
    layout = _in_one_cell(layout, [part for part in layout.axes[i] if not _others(layout, i, part)])
    return replace(layout, axes=(*layout.axes[:i], *(((),) if kept else ()), *layout.axes[i + 1 :]))


def _in_one_cell(layout: Layout, parts: Sequence[Part]) -> Layout:
    """The layout where frames that are a part of the clip became one: their extent is kept."""
    for part in parts:
        span = sorted(layout.span(part))
        if part.name == "t" and tuple(span) != WHOLE and part.size is not None:
            cell = Part("t", 1, round(span[1] - span[0], 6))
            axes = ((*layout.axes[0], cell), *layout.axes[1:])
            layout = replace(layout, axes=axes, begins={**layout.begins, "t": span[0]})
    return layout


def _seen(operation, layout: Layout, before: Sequence[int | None]) -> Layout:
    """The layout without the last cells of a map of these sizes, where windows end in front of them."""
    operation = wrapped(operation)
    kernel = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    if kernel is None or operation.padding != "valid" or not hasattr(operation, "strides"):
        return layout
    kernel, strides, dilation = (
        (each,) * (len(before) - 2) if isinstance(each, int) else each
        for each in (kernel, operation.strides, getattr(operation, "dilation_rate", 1))
    )
    axes, padding = list(layout.axes), dict(layout.padding)
    for i, width, stride, step in zip(range(-1 - len(kernel), -1), kernel, strides, dilation, strict=True):
        size = before[i]
        if size is None or len(axes[i]) != 1 or axes[i][0].size is None or stride == 1:
            continue
        (part,) = axes[i]
        unseen = size - (part.size - 1) * stride - (width - 1) * step - 1
        if 0 < unseen < size:
            axes[i] = (replace(part, extent=round(part.extent * (size - unseen) / size, 6)),)
            front, behind = padding.get(part.name, (0, 0))
            padding[part.name] = front, max(0, behind - unseen)
    return replace(layout, axes=tuple(axes), padding={name: zeros for name, zeros in padding.items() if any(zeros)})


def _taken_by_kernel(operation, layout: Layout, before: Layout) -> Layout:
    """The layout behind a convolution or pooling: a "valid" one takes away the zeros that were put around its map."""
    operation = wrapped(operation)
    kernel = getattr(operation, "kernel_size", None) or getattr(operation, "pool_size", None)
    if kernel is None or not layout.padding:
        return layout
    kernel = (kernel,) if isinstance(kernel, int) else kernel
    dilation = getattr(operation, "dilation_rate", 1)
    dilation = (dilation,) * len(kernel) if isinstance(dilation, int) else dilation
    axes, begins, padding = list(layout.axes), dict(layout.begins), dict(layout.padding)
    for i, width, step in zip(range(len(axes) - 1 - len(kernel), len(axes) - 1), kernel, dilation, strict=True):
        if len(axes[i]) != 1 or (width == 1 and axes[i] == before.axes[i]) or axes[i][0].name not in padding:
            continue
        (part,) = axes[i]
        del padding[part.name]
        if operation.padding != "valid":
            continue
        zeros_in_front, zeros_behind = layout.padding[part.name]
        reach = (width - 1) * step
        behind = min(zeros_behind, reach - min(zeros_in_front, (reach + 1) // 2))
        front = min(zeros_in_front, reach - behind)
        cell = _step(before.axes[i][0])
        begins[part.name] = round(begins[part.name] + front * cell, 5) + 0.0
        axes[i] = (replace(part, extent=round(part.extent - (front + behind) * cell, 5)),)
    return replace(layout, axes=tuple(axes), begins=begins, padding=padding)


# --- operations that are tried -----------------------------------------------------------------------------------


def _tried(operation, node, layouts: Mapping[int, Layout], layout: Layout) -> list[Layout]:
    """The layouts of the outputs of an operation by what it does to coordinates, or to a change at a place."""
    lost = [layout.unknown(operation)] * len(node.output_tensors)
    if any(None not in x.shape for x in (*node.input_tensors, *node.output_tensors)):
        return lost  # it counts the clips
    layouts = {id(x): _with_sizes(layouts[id(x)]) for x in node.input_tensors if id(x) in layouts}
    call, sized = _Call(operation, node, layouts), _with_sizes(layout)
    try:
        with np.errstate(all="ignore"):
            found = call.moved(sized)
            if found is None:
                found = call.local(sized)
    except Exception:  # whatever a layer that nobody knows does with numbers that it does not expect
        return lost
    open_sizes = {part.name for part in layout.parts if part.size is None}
    return [_opened(each, open_sizes) or layout.unknown(operation) for each in found or lost]


def _with_sizes(layout: Layout) -> Layout:
    """The layout with sizes, to be tried, where the model leaves them open."""

    def sized(part: Part) -> Part:
        return replace(part, size=_ASSUMED[part.name]) if part.size is None and part.name in _ASSUMED else part

    return replace(layout, axes=layout.axes and tuple(tuple(map(sized, axis)) for axis in layout.axes))


def _opened(layout: Layout, open_sizes: set[str]) -> Layout | None:
    """The layout without assumed sizes; None where what it shows depends on them."""
    for part in layout.parts:
        if part.name in open_sizes & set(PLACES):
            if part.size != _ASSUMED[part.name] or tuple(sorted(layout.span(part))) != WHOLE:
                return None
            opened = replace(part, size=None)
            axes = (tuple(opened if each == part else each for each in axis) for axis in layout.axes)
            layout = replace(layout, axes=tuple(axes))
    return layout


class _Call:
    """A call of an operation in a graph that can be made on other tensors, two clips at a time."""

    def __init__(self, operation, node, layouts: Mapping[int, Layout]):
        self._operation, self._node = operation, node
        self._inputs = [(x, layouts.get(id(x))) for x in node.input_tensors]
        self._predicting = {}
        if isinstance(operation, keras.Layer) and operation._call_has_training_arg:
            self._predicting = {"training": False}

    def _run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = {
            id(x): keras.ops.convert_to_tensor(array.astype(_precise(x.dtype)))
            for (x, _), array in zip(self._inputs, arrays, strict=True)
        }
        args, kwargs = self._node.arguments.fill_in(tensors)
        # Not the layer's __call__, which may round coordinates to half precision.
        made = tree.flatten(self._operation.call(*args, **{**kwargs, **self._predicting}))
        for y, expected in zip(made, self._node.output_tensors, strict=True):
            if any(want not in (None, have) for want, have in zip(expected.shape, y.shape, strict=True)):
                raise ValueError(f"{self._operation.name} says that it gives {expected.shape}, but gives {y.shape}")
        return [np.asarray(keras.ops.convert_to_numpy(y), "float64") for y in made]

    def _filled(self, value, rng: np.random.Generator | None = None) -> list[np.ndarray]:
        """An array for each input, made of its layout; what is no clip is 0, or with `rng` small numbers."""
        return [
            (np.zeros(shape) if rng is None else rng.uniform(0, 3, shape)) if layout is None else value(layout, shape)
            for layout, shape in self._shaped()
        ]

    def _shaped(self) -> list[tuple[Layout | None, tuple[int, ...]]]:
        """The layout and the shape of an array for each input."""
        return [(layout, (1, *x.shape[1:]) if layout is None else _shape_of(x, layout)) for x, layout in self._inputs]

    def moved(self, layout: Layout) -> list[Layout] | None:
        """The layouts where the operation moves values about, averages neighbours, or scales all by the same numbers.

        None where it computes anything else. Values at the edge of zeros, which resizing mixes with them, count as
        outside.
        """
        fixed = bool(getattr(self._operation, "weights", None))
        zeros = self._run(self._filled(lambda _, shape: np.zeros(shape)))
        ones = self._run(self._filled(lambda _, shape: np.ones(shape)))
        if fixed and any(np.abs(zero).max() > 1e-4 for zero in zeros):
            return None
        scales = [_scale(one - zero, fixed) for one, zero in zip(ones, zeros, strict=True)]

        def moving(arrays):
            return [(y - zero) / scale for y, zero, scale in zip(self._run(arrays), zeros, scales, strict=True)]

        shares = [(one - zero) / scale for one, zero, scale in zip(ones, zeros, scales, strict=True)]
        if not all((y > -1e-4).all() and (y < 1 + 1e-4).all() and (y > 1 - 1e-4).any() for y in shares):
            return None
        coordinates: dict[str, list[np.ndarray]] = {}
        for name in dict.fromkeys(part.name for part in layout.parts if part.name != "c"):
            marked = self._filled(lambda each, shape, name=name: _coordinates(each, shape, name))
            coordinates[name] = moving(marked)
            back = moving([-array for array in marked])
            if any(np.abs(x + y).max() > 1e-3 for x, y in zip(coordinates[name], back, strict=True)):
                return None  # a maximum, say
            squared = moving([array**2 for array in marked])
            spread = [y - x**2 for x, y in zip(coordinates[name], squared, strict=True)]
            if any(each[share > 1 - 1e-4].min() < -1e-3 for each, share in zip(spread, shares, strict=True)):
                return None  # a difference of neighbours, say
            coordinates[f"{name} spread"] = spread
        if not self._moves_alike(layout, scales, coordinates):
            return None  # places that hang on the clip, as a crop around what moves
        found = []
        for i, share in enumerate(shares):
            own = {name: each[i] for name, each in coordinates.items()}
            averaged = len(self._inputs) > 1 or any(own[name].max() > 1e-6 for name in own if name.endswith("spread"))
            shown = _read_off(layout, own, share)
            found.append(replace(shown, moved=not averaged) if shown else layout.unknown(self._operation))
        return found

    def _moves_alike(self, layout: Layout, scales: Sequence[np.ndarray], coordinates: Mapping) -> bool:
        """Whether values come from the places that were found in clips of noise too, each in another part of them."""
        rng = np.random.default_rng(0)
        names = [part for part in dict.fromkeys(part.name for part in layout.parts) if part != "c"]
        ramps = [sum(_coordinates(each, shape, name) for name in names) for each, shape in self._shaped()]
        expected = [sum(coordinates[name][i] for name in names) for i in range(len(scales))]
        for _ in range(2):
            noise = self._filled(lambda each, shape: 3 * rng.uniform(0, 1, shape) * _halves(each, shape), rng)
            with_ramp = self._run([x + y for x, y in zip(noise, ramps, strict=True)])
            without = self._run(noise)
            for x, y, scale, want in zip(with_ramp, without, scales, expected, strict=True):
                if np.abs((x - y) / scale - want).max() > 1e-3:
                    return False
        return True

    def local(self, layout: Layout) -> list[Layout] | None:
        """The input's own layout, at the sizes of the output, where a change at a place shows at that place."""
        outputs = self._node.output_tensors
        shape = tuple(outputs[0].shape)
        if Part("b") not in layout.axes[0]:
            return None
        if len(outputs) > 1 or len(shape) != len(layout.axes) or layout.axes[-1] != (Part("c"),):
            return None
        beside = [each for x, each in self._inputs if each is not None and len(x.shape) == len(shape)]
        if _joined(layout, beside) is None:
            return None
        rng = np.random.default_rng(0)
        usual = self._filled(lambda each, shape: rng.uniform(0, 1, shape) * (1 + _halves(each, shape)), rng)
        (before,) = self._run(usual)
        if before.shape[0] != CLIPS * _rows(layout):
            return None
        axes = list(layout.axes)
        sizes = [max(array.shape[i] for array in usual if array.ndim == len(shape)) for i in range(len(shape) - 1)]
        for axis, size in enumerate(sizes):
            if before.shape[axis] != size:
                if len(axes[axis]) != 1 or axes[axis][0].name not in PLACES:
                    return None
                axes[axis] = (replace(axes[axis][0], size=before.shape[axis]),)
            for place in sorted({0, size // 3, size // 2, size - 1}):
                changed = [array.copy() for array in usual]
                for array in changed:
                    if array.ndim == len(shape) and array.shape[axis] == size:
                        view = np.moveaxis(array, axis, 0)
                        view[place] = rng.uniform(0, 1, view[place].shape)
                (now,) = self._run(changed)
                change = np.abs(now - before).sum(axis=tuple(k for k in range(now.ndim) if k != axis))
                if not np.isfinite(change).all() or not _shows(change, (place,), (size,)):
                    return None
                if axis == 0 and np.delete(change, _of_clip(place, len(change))).max(initial=0) > 1e-6 * change.max():
                    return None  # what one clip shows depends on another
        for share in (1 / 4, 2 / 3):  # single places, away from the diagonal of the frame
            point = tuple(int(size * (share if i % 2 else 1 - share)) for i, size in enumerate(sizes))
            change = 0.0
            for _ in range(8):  # random weights and activations may hide a single one
                changed = [array.copy() for array in usual]
                for array in changed:
                    if array.shape[:-1] == tuple(sizes):
                        array[point] = rng.uniform(0, 3, array.shape[-1])
                (now,) = self._run(changed)
                change = change + np.abs(now - before).sum(axis=-1)
            if not _shows(change, point, sizes):
                return None
        return [replace(layout, axes=tuple(axes))]


def _shows(change: np.ndarray, place: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether a change at a place of so many shows there, and nowhere far from there as much."""
    near, far = np.ones(change.shape, bool), np.zeros(change.shape, bool)
    for i, (at, size) in enumerate(zip(place, sizes, strict=True)):
        expected = (at + 0.5) * change.shape[i] / size - 0.5
        away = np.abs(np.arange(change.shape[i]) - np.clip(expected, 0, change.shape[i] - 1))
        away = away.reshape([-1 if k == i else 1 for k in range(change.ndim)])
        # The middle of a random kernel may weigh little; of few cells a neighbour is half of the axis.
        near = near & (away < (2 if change.shape[i] > 3 else 1))
        far = far | (away > max(2, change.shape[i] / 8))  # wide kernels reach far
    most = change.max()
    return bool(most > 0 and change[near].max() >= most / 4 and change[far].max(initial=0) <= most / 2)


def _scale(weight: np.ndarray, fixed: bool) -> np.ndarray:
    """What all values are multiplied by, which may be another number for each channel."""
    if fixed:
        return np.ones(1)
    channels = weight.reshape(-1, weight.shape[-1])
    largest = channels[np.abs(channels).argmax(axis=0), np.arange(channels.shape[1])]
    return np.where(np.abs(largest) > 1e-6, largest, 1)


def _precise(dtype: str) -> str:
    return "float32" if dtype in ("float16", "bfloat16") or not dtype.startswith("float") else dtype


def _of_clip(row: int, rows: int) -> np.ndarray:
    each = rows // CLIPS
    return np.arange(each) + row // each * each


def _size(part: Part) -> int:
    return CLIPS if part.name == "b" else part.size


def _rows(layout: Layout) -> int:
    """Rows of the first axis for each clip."""
    return math.prod(part.size for part in layout.axes[0] if part.name != "b")


def _shape_of(tensor: keras.KerasTensor, layout: Layout) -> tuple[int, ...]:
    if layout.axes is None:
        return tuple(CLIPS if size is None else size for size in tensor.shape)
    sizes = (math.prod(map(_size, axis)) if axis != (Part("c"),) else None for axis in layout.axes)
    return tuple(own if size is None else size for own, size in zip(sizes, tensor.shape, strict=True))


def _step(part: Part) -> float:
    return 1.0 if part.name == "b" else part.extent / part.size


def _finest(layout: Layout, name: str) -> float:
    """Step from a cell to the next."""
    return min((_step(part) for part in layout.parts if part.name == name), key=abs)


def _halves(layout: Layout, shape: tuple[int, ...]) -> np.ndarray:
    """1 in the first half of all axes of the first clip and in the last of those of the second, else 0."""
    first = np.ones(shape, bool)
    last = np.ones(shape, bool)
    for name in {part.name for part in (layout.parts if layout.axes else ())} & set(PLACES):
        places = _coordinates(layout, shape, name)
        middle = (places.min() + places.max()) / 2
        first, last = first & (places <= middle), last & (places >= middle)
    clips = _coordinates(layout, shape, "b")
    return np.where(clips < 0.5, first, last).astype("float64")


def _coordinates(layout: Layout, shape: tuple[int, ...], name: str) -> np.ndarray:
    """An array in which every value is its own coordinate along one of the axes of the clip."""
    if layout.axes is None or name not in {part.name for part in layout.parts}:
        return np.zeros(shape)
    first = 0.0 if name == "b" else layout.begins[name] + _finest(layout, name) / 2
    array = np.full(shape, first)
    for i, axis in enumerate(layout.axes):
        line = np.zeros([_size(part) for part in axis if part.name != "c"])
        for k, part in enumerate(axis):
            if part.name == name:
                line += (_step(part) * np.arange(_size(part))).reshape([-1 if j == k else 1 for j in range(line.ndim)])
        if axis and axis != (Part("c"),):
            array += line.reshape([-1 if k == i else 1 for k in range(len(shape))])
    return array


def _read_off(layout: Layout, coordinates: dict[str, np.ndarray], share: np.ndarray) -> Layout | None:
    """The layout of a tensor by the coordinates of its values, and how much of each is one; None: they lie on no grid.

    Zeros around the map have no coordinates: the map is a box within the tensor.
    """
    shown = share > 1 - 1e-4
    every = range(shown.ndim)
    ranges = [np.flatnonzero(shown.any(axis=tuple(k for k in every if k != i))) for i in every]
    box = tuple(slice(places[0], places[-1] + 1) for places in ranges)
    if not shown[box].all():
        return None
    inner = {name: each[box] for name, each in coordinates.items()}
    names = [name for name in inner if not name.endswith(" spread")]
    for name in names:
        along = [np.ptp(inner[name], axis=i).max() > 1e-6 for i in every]
        cells = sum(part.size for part in layout.parts if part.name == name) if name != "b" else CLIPS
        if along[-1] and (sum(along) > 1 or shown.shape[-1] > cells):
            # Neighbours that became channels: their cell lies around their mean.
            squares = (inner[f"{name} spread"] + inner[name] ** 2).mean(axis=-1, keepdims=True)
            mean = inner[name].mean(axis=-1, keepdims=True)
            inner[name] = np.broadcast_to(mean, inner[name].shape)
            inner[f"{name} spread"] = squares - mean**2
    for name in names:
        if name != "b" and not _close(inner[name], inner[f"{name} spread"], layout, name):
            return None
    corner = (0,) * shown.ndim
    lines = [{} for _ in every]  # axis -> name -> how the coordinate grows along it
    for name in names:
        total = np.full(inner[name].shape, inner[name][corner])
        for i in every:
            line = inner[name][(*corner[:i], slice(None), *corner[i + 1 :])] - inner[name][corner]
            total += line.reshape([-1 if k == i else 1 for k in every])
            if np.abs(line).max() > 1e-6:
                lines[i][name] = line
        if np.abs(total - inner[name]).max() > 1e-3 * abs(_finest(layout, name)):
            return None
    axes: list[Axis] = []
    padding, before = {}, {}
    for i in every:
        axis = _fit(lines[i], {name: _finest(layout, name) for name in lines[i]})
        outside = int(ranges[i][0]), int(shown.shape[i] - 1 - ranges[i][-1])
        if axis == () and shown.ndim == len(layout.axes) and [part.size for part in layout.axes[i]] == [1]:
            axis = layout.axes[i]  # along a single cell nothing changes
        if i == shown.ndim - 1 and not axis:
            outside = 0, 0  # channels of zeros
        if axis is None or (any(outside) and (len(axis) != 1 or axis[0].name == "b")):
            return None
        if any(outside):
            (part,) = axis
            zeros = np.flatnonzero((share > 1e-4).any(axis=tuple(k for k in every if k != i)))
            padding[part.name] = int(zeros[0]), int(shown.shape[i] - 1 - zeros[-1])
            before[part.name] = outside[0]
            size = part.size + sum(outside)
            axis = (Part(part.name, size, round(_step(part) * size, 6)),)
        axes.append(axis)
    if [part.name for axis in axes for part in axis].count("b") != 1:
        return None
    if not axes[-1]:
        axes[-1] = (Part("c"),)
    if any(not axis and shown.shape[i] != 1 for i, axis in enumerate(axes)):
        return None  # channels along an axis of places
    parts, now = _single(layout.parts), _single([part for axis in axes for part in axis])
    kept = {name for name, part in now.items() if _alike(part, parts.get(name))}
    padding = {name: zeros for name, zeros in layout.padding.items() if name in kept} | padding
    new = replace(layout, axes=tuple(axes), padding=padding)
    begins = {}
    for name in names:
        if name == "b":
            continue
        here = [part for part in new.parts if part.name == name]
        if here:
            step = _finest(new, name)
            alone = any(axis == tuple(here) for axis in new.axes)
            first = _first(inner[name], lines, name) if alone else float(inner[name][corner])
            begins[name] = round(first - step * (0.5 + before.get(name, 0)), 6) + 0.0
            if name in kept and abs(begins[name] - layout.begins[name]) < 1e-2 * abs(step):  # but for rounding
                begins[name] = layout.begins[name]
        else:  # one cell was picked, or some were averaged, of which the spread tells how many
            step = abs(_finest(layout, name))
            extent = round(step * math.sqrt(max(0.0, 12 * float(inner[f"{name} spread"].max()) / step**2) + 1), 6)
            begin = round(float(inner[name][corner]) - extent / 2, 6) + 0.0
            if begin < -0.01 or begin + extent > 1.01:
                return None  # no stretch of the clip: places that lie apart
            if begin > 1e-4 or extent < 1 - 1e-4:
                axes[0], begins[name] = (*axes[0], Part(name, 1, extent)), begin
    for name in now.keys() & begins.keys() & parts.keys() - kept:  # sampled unevenly, as in resizing
        old = sorted(layout.span(parts[name]))
        found = sorted((begins[name], begins[name] + now[name].extent))
        if max(abs(a - b) for a, b in zip(old, found, strict=True)) <= _TOLERANCE * abs(_finest(layout, name)):
            extent = math.copysign(old[1] - old[0], now[name].extent)
            begins[name] = old[0] if extent > 0 else old[1]
            kept, parts = kept | {name}, parts | {name: replace(now[name], extent=extent)}
    axes = [tuple(parts[part.name] if part.name in kept else part for part in axis) for axis in axes]
    return replace(new, axes=tuple(axes), begins=begins)


def _close(places: np.ndarray, spread: np.ndarray, layout: Layout, name: str) -> bool:
    """Whether values that lie along the clip are each made of places at most about a cell of theirs apart."""
    finest = abs(_finest(layout, name))
    different = np.unique(np.round(places / finest, 2))
    if len(different) < 2:  # all the same: of all of them, or of one
        return True
    cell = max(np.ptp(different) / (len(different) - 1), 1) * finest
    return bool(np.sqrt(max(0.0, float(spread.max()))) <= 1.01 * cell)


def _single(parts: Sequence[Part]) -> dict[str, Part]:
    """The parts that are all there is of their name, by their names."""
    return {part.name: part for part in parts if [each.name for each in parts].count(part.name) == 1}


def _alike(part: Part, other: Part | None) -> bool:
    """Whether two parts are the same but for rounding."""
    return (
        other is not None
        and part.name in PLACES
        and (part.name, part.size) == (other.name, other.size)
        and abs(part.extent - other.extent) < 1e-2 * abs(_step(other))
    )


def _first(coordinates: np.ndarray, lines: Sequence[Mapping[str, np.ndarray]], name: str) -> float:
    """The coordinate of the first cell; resizing clamps it at the edge, so that those between tell."""
    first = float(coordinates.flat[0])
    (line,) = [line[name] for line in lines if name in line] or [np.zeros(1)]  # a single cell
    if len(line) < 4:
        return first
    return first + float(np.median(line - _slope(line) * np.arange(len(line))))


def _slope(line: np.ndarray) -> float:
    """How much a line grows from one value to the next, which need not be even, in its middle half."""
    middle = line[len(line) // 4 : len(line) - len(line) // 4]
    if len(middle) < 3:
        return float(np.median(np.diff(line)))
    return float(np.polyfit(np.arange(len(middle)), middle, 1)[0])


def _fit(lines: dict[str, np.ndarray], finest: Mapping[str, float]) -> Axis | None:
    """What lies along an axis, the outermost first."""
    parts: list[Part] = []
    left, every = dict(lines), len(next(iter(lines.values()), ()))
    inside = 1  # values of the axis that lie within one step of the next part
    while left:
        moving = [name for name, line in left.items() if inside < every and abs(line[inside] - line[0]) > 1e-6]
        if len(moving) != 1:
            return None
        (name,) = moving
        whole = left.pop(name)
        line = whole[::inside]
        # With other parts outside of it, it begins again after as many cells as it has.
        again = np.flatnonzero(np.diff(line) * (line[1] - line[0]) < 0)
        size = int(again[0]) + 1 if left and len(again) else len(line)
        if every % (inside * size):
            return None
        step = _slope(line[:size])
        expected = np.tile(np.repeat(step * np.arange(size), inside), every // (inside * size))
        away = whole - expected
        if np.ptp(away) > 2 * _TOLERANCE * max(abs(step), abs(finest[name])):
            return None
        if name == "b":
            if (round(step, 6), size) != (1, CLIPS):
                return None
            parts.append(Part("b"))
        else:
            parts.append(Part(name, size, round(step * size, 6)))
        inside *= size
    return tuple(reversed(parts)) if inside == every or not lines else None
