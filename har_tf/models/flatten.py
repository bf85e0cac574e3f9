"""Any Keras model as one flat graph on the same weights, in which every inner feature map is found by name.

A backbone that stands in a model as one layer hides its maps, above all `TimeDistributed(MobileNetV2(...))` in front of
a recurrent layer. The flat graph holds the same layers in the same order with

- models within the model in the place where they are called;
- `TimeDistributed` as a reshape that folds time into the batch, the layer or model within it, and a reshape back, which
  computes all frames at once where Keras computes one after the other;
- subclassed models as the layers and `keras.ops` that their `call` uses, where Keras can trace it symbolically.

All other layers stay as they are, `Bidirectional` and `ConvLSTM2D` among them; so do layers that are shared.
"""

import weakref
from collections.abc import Sequence

import keras
from keras import ops, tree

# What tracing a `call` may end in that was not written for symbolic tensors.
_UNTRACEABLE = (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError, KeyError)

# A flat graph -> {id of a tensor: path of the layer that made it}
_paths: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# model -> (its output tensor, its flat graph or None where it is flat itself)
_flat: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def flatten(model: keras.Model, shapes: Sequence[tuple] | None = None) -> keras.Model:
    """One flat graph on the weights of a model; training either of the two trains both.

    Args:
        model: functional, sequential, with models inside, or subclassed with a `call` of layers and `keras.ops`.
        shapes: shape of each input, the batch's axis included, such as that of the clips at hand; None: those of the
            model, which a subclassed model does not have and a `TimeDistributed` over any number of frames needs.

    Returns:
        A functional model. As in prediction its outputs equal the model's own up to rounding; masks that layers hand on
        beside their output are lost at a `TimeDistributed`.

    Raises:
        ValueError: a subclassed model whose shapes are not known, or whose call Keras cannot trace.

    Example:
        >>> cnn = keras.applications.MobileNetV2(include_top=False, pooling="avg", input_shape=(96, 96, 3))
        >>> model = keras.Sequential([keras.Input((8, 96, 96, 3)), layers.TimeDistributed(cnn), layers.GRU(16)])
        >>> flatten(model).get_layer("block_13_expand_relu").output.shape
        (None, 6, 6, 576)
    """
    graph = model._functional if isinstance(model, keras.Sequential) else model
    own = graph if isinstance(graph, keras.Function) else None
    if own is None and shapes is None:
        raise ValueError(
            f"{type(model).__name__} {model.name!r} has no graph of its own, so the shape of its clips is needed: "
            "flatten(model, [clips.shape])"
        )
    if own is not None:
        known = tree.flatten(own.inputs)
        shapes = [tuple(x.shape) for x in known] if shapes is None else [tuple(shape) for shape in shapes]
        dtypes, names = [x.dtype for x in known], [x.name for x in known]
    else:
        dtypes, names = ["float32"] * len(shapes), [None] * len(shapes)
    inputs = [
        keras.Input(batch_shape=(None, *shape[1:]), dtype=dtype, name=name)
        for shape, dtype, name in zip(shapes, dtypes, names, strict=True)
    ]
    paths: dict[int, str] = {}
    if own is None:
        own = _traced(model, inputs)
    outputs = _run(own, inputs, "", paths)
    made = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)
    _paths[made] = paths
    return made


def flat(model: keras.Model) -> keras.Model:
    """A functional or sequential model itself where nothing is nested in it, else what `flatten` makes of it, once."""
    known = _flat.get(model)
    if known is None or known[0] is not model.outputs[0]:  # a sequential model may have grown
        nested = any(_nested(layer) for layer in model._flatten_layers(include_self=False, recursive=False))
        known = _flat[model] = (model.outputs[0], flatten(model) if nested else None)
    return model if known[1] is None else known[1]


def _nested(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Model) or type(layer) is keras.layers.TimeDistributed


def path_of(model: keras.Model, tensor: keras.KerasTensor, name: str) -> str:
    """What made a tensor of a flat graph: the layer's name behind those of the models that it stands in.

    Args:
        model: a model, flat or not.
        tensor: of its graph.
        name: of the layer, which is the answer where nothing was flattened.
    """
    return _paths.get(model, {}).get(id(tensor), name)


def _run(function: keras.Function, inputs, prefix: str, paths: dict[int, str]):
    """The outputs of a graph on other inputs, with everything in it flat."""

    def flat(operation):
        def call(*args, **kwargs):
            made = _flat_call(operation, prefix, paths, args, kwargs)
            for tensor in tree.flatten(made):
                paths.setdefault(id(tensor), prefix + operation.name)
            return made

        return call

    return function._run_through_graph(inputs, flat)


def _flat_call(operation, prefix: str, paths: dict[int, str], args, kwargs):
    """What an operation makes of symbolic tensors, as a part of the flat graph."""
    inner = _graph_of(operation, args)
    if inner is not None:
        given = [
            x if x.dtype == want.dtype else ops.cast(x, want.dtype)
            for x, want in zip(tree.flatten(args[0]), tree.flatten(inner.inputs), strict=True)
        ]
        return _run(inner, given, f"{prefix}{operation.name}/", paths)
    if type(operation) is keras.layers.TimeDistributed and None not in args[0].shape[1:] and len(args) == 1:
        return _all_frames(operation, prefix, paths, args[0], kwargs)
    return operation(*args, **kwargs)


def _all_frames(wrapper: keras.layers.TimeDistributed, prefix: str, paths: dict[int, str], x, kwargs):
    """`TimeDistributed` over frames that lie in the batch, (B, T, ...) -> (B·T, ...) -> (B, T, ...)."""
    time = x.shape[1]
    frames = ops.reshape(x, (-1, *x.shape[2:]))
    takes_training = wrapper.layer._call_has_training_arg and kwargs.get("training") is not None
    made = _flat_call(
        wrapper.layer, prefix, paths, (frames,), {"training": kwargs["training"]} if takes_training else {}
    )
    for tensor in tree.flatten(made):
        paths.setdefault(id(tensor), prefix + wrapper.name)
    return tree.map_structure(lambda y: ops.reshape(y, (-1, time, *y.shape[1:])), made)


def _graph_of(operation, args) -> keras.Function | None:
    """The graph of a model that stands in another; None of a layer, or of a call that cannot be traced."""
    if not isinstance(operation, keras.Model) or len(args) != 1:
        return None
    if isinstance(operation, keras.Sequential):
        return operation._functional
    if isinstance(operation, keras.Function):
        return operation
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in tree.flatten(args[0])]
    try:
        return _traced(operation, inputs)
    except ValueError:
        return None


def _traced(model: keras.Model, inputs: list[keras.KerasTensor]) -> keras.Function:
    """The graph of what a subclassed model's `call` does in prediction."""
    predicting = {"training": False} if model._call_has_training_arg else {}
    given = inputs if len(inputs) > 1 else inputs[0]
    try:
        return keras.Function(given, model.call(given, **predicting))
    except _UNTRACEABLE as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ValueError(
            f"the call of {type(model).__name__} {model.name!r} cannot be traced ({reason}). Write it with layers and "
            "`keras.ops` in place of `tf` functions, or build the same layers as a functional model"
        ) from error
