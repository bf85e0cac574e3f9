"""Any Keras model as one flat graph on the same weights, in which every inner feature map is found by name.

A backbone that stands in a model as one layer hides its maps, above all `TimeDistributed(MobileNetV2(...))` in front of
a recurrent layer. The flat graph holds the same layers in the same order with

- models within the model in the place where they are called;
- `TimeDistributed` as a reshape that folds time into the batch, the layer or model within it, and a reshape back, which
  computes all frames at once where Keras computes one after the other;
- subclassed models, and layers of one's own that hold layers, as the layers and `keras.ops` that their `call` uses,
  where Keras can trace it symbolically;
- max pooling in space and time as `max_pooling` computes it, whose gradient is the same on every machine.

All other layers stay as they are, `Bidirectional` and `ConvLSTM2D` among them; so do layers that are shared, those with
weights of their own and those that make or read masks.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops, tree

from har_tf.models.max_pooling import first_of_its_ties, has_ties, max_pool3d
from har_tf.models.padded_conv import keep_padding

SAME = 5e-3  # how far apart two answers are through rounding, in half precision too
# A flat graph -> where its tensors come from
_paths: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# subclassed model -> shapes of its inputs -> its flat graph
_graphs: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# model -> (its output tensor, its flat graph or None where it is flat itself)
_flat: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class NoGraph(ValueError):
    """A model has no graph that gives its answers."""


@dataclass(frozen=True)
class _Paths:
    """`makers`: id of a tensor -> path of the layer that made it; `ends`: path of a layer -> what it gave."""

    makers: dict[int, str] = field(default_factory=dict)
    ends: dict[str, keras.KerasTensor] = field(default_factory=dict)

    def add(self, path: str, made) -> None:
        for tensor in tree.flatten(made):
            self.makers.setdefault(id(tensor), path)
            self.ends.setdefault(path, tensor)


@keras.saving.register_keras_serializable("har_tf")
class FoldTime(keras.Layer):
    """(B, T, ...) -> (B·T, ...), of any number of frames."""

    def call(self, x):
        return ops.reshape(x, (-1, *ops.shape(x)[2:]))

    def compute_output_shape(self, x_shape):
        return (None, *x_shape[2:])


@keras.saving.register_keras_serializable("har_tf")
class UnfoldTime(keras.Layer):
    """(B·T, ...) and what was folded (B, T, ...) -> (B, T, ...)."""

    def call(self, x, unfolded):
        return ops.reshape(x, (*ops.shape(unfolded)[:2], *ops.shape(x)[1:]))

    def compute_output_shape(self, x_shape, unfolded_shape):
        return (*unfolded_shape[:2], *x_shape[1:])


def flatten(model: keras.Model, shapes: Sequence[tuple] | None = None) -> keras.Model:
    """One flat graph on the weights of a model; training either of the two trains both.

    Args:
        model: functional, sequential, with models inside, or subclassed with a `call` of layers and `keras.ops`.
        shapes: shape of each input, the batch's axis included, such as that of the clips at hand; None: those of the
            model, which a subclassed model does not have.

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
    own = own_graph(model)
    known = tree.flatten(getattr(model, "inputs", None) or [])  # a class with a `call` of its own may have them too
    if not known and shapes is None:
        raise ValueError(
            f"{type(model).__name__} {model.name!r} has no graph of its own, so the shape of its clips is needed: "
            "flatten(model, [clips.shape])"
        )
    if known:
        shapes = [tuple(x.shape) for x in known] if shapes is None else [tuple(shape) for shape in shapes]
        dtypes, names = [x.dtype for x in known], [x.name for x in known]
    else:
        dtypes, names = ["float32"] * len(shapes), [None] * len(shapes)
    inputs = [
        keras.Input(batch_shape=(None, *shape[1:]), dtype=dtype, name=name)
        for shape, dtype, name in zip(shapes, dtypes, names, strict=True)
    ]
    paths = _Paths()
    if own is None:
        own = _traced(model, [inputs[0] if len(inputs) == 1 else inputs])
    outputs = _run(own, inputs, "", paths)
    made = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)
    made.loss = getattr(model, "loss", None)  # which says what its answers are
    _paths[made] = paths
    return made


def cloned(model: keras.Model) -> keras.Model:
    """A flat graph of the same layers anew, with weights that their initialisers draw, in the order of the flat ones.

    It has no optimiser. Its feature maps have the names of the model's.
    """
    graph = own_graph(flat(model))
    copy = keras.models.clone_model(keras.Model(graph._inputs_struct, graph._outputs_struct))
    inputs = tree.pack_sequence_as(graph._inputs_struct, copy.inputs)  # a list of one would have become the one
    copy = keras.Model(inputs, copy.outputs[0] if len(copy.outputs) == 1 else copy.outputs, name=model.name)
    copy.loss = getattr(model, "loss", None)  # which says what its answers are
    paths = _paths.get(flat(model))
    if paths is not None:
        nodes = [[x for depth in sorted(g._nodes_by_depth) for x in g._nodes_by_depth[depth]] for g in (graph, copy)]
        pairs = (zip(*(node.outputs for node in twins), strict=True) for twins in zip(*nodes, strict=True))
        twin = {id(own): other for pair in pairs for own, other in pair}
        _paths[copy] = _Paths(
            {id(other): paths.makers[own] for own, other in twin.items() if own in paths.makers},
            {path: twin[id(own)] for path, own in paths.ends.items() if id(own) in twin},
        )
    return copy


def with_graph(model: keras.Model, clips) -> keras.Model:
    """The model itself, or of a subclassed one the flat graph on clips of this size, which is made once.

    Args:
        model: any Keras model.
        clips: an array; of several inputs a list of arrays.

    Raises:
        NoGraph: the model's call cannot be traced, or its graph gives other answers than the model itself.
    """
    if type(model).__module__.startswith("keras."):
        return model
    first = tree.map_structure(lambda each: np.asarray(each)[:1], clips)
    shapes = tuple((None, *each.shape[1:]) for each in tree.flatten(first))
    graphs = _graphs.setdefault(model, {})
    if shapes not in graphs:
        try:
            graph = model if own_graph(model) is not None else flatten(model, shapes)
        except ValueError as error:
            raise NoGraph(str(error)) from error
        check_answers(model, graph, first)
        graphs[shapes] = None if graph is model else graph
    return graphs[shapes] or model


def traced(model: keras.Model, shapes: Sequence[tuple] | None = None) -> keras.Model:
    """What `flatten` makes of a model with a `call` of its own, compared with the model on random pixels.

    Raises:
        ValueError: as of `with_graph`.
    """
    graph = flatten(model, shapes)
    check_answers(model, graph, some_pixels(graph))
    return graph


def some_pixels(model: keras.Model):
    """Random pixels from 0 to 255, one clip, as a functional model takes them; where sizes are open, of 32."""
    rng = np.random.default_rng(0)
    shapes = [(1, *(size or 32 for size in x.shape[1:])) for x in model.inputs]
    found = [rng.integers(0, 256, shape).astype(x.dtype) for shape, x in zip(shapes, model.inputs, strict=True)]
    return found if len(found) > 1 else found[0]


def check_answers(model: keras.Model, graph: keras.Model, clips) -> None:
    """Raises NoGraph where a graph that was made of a model gives other answers than the model in prediction."""
    away = apart(model, graph, clips)
    if away > SAME:
        raise NoGraph(
            f"{type(model).__name__} {model.name!r} answers otherwise than the graph of its layers, by {away:.2g} of "
            "its largest answer: its call, its predict_step or one of its layers does in prediction what is not seen "
            "when they are traced. Build the same layers as a functional model that gives the model's answers"
        )


def apart(model: keras.Model, graph: keras.Model, clips) -> float:
    """How far two models' answers are apart, as a share of the largest; 0 of a model whose answers are random.

    It is infinite where the second cannot answer what the first does, or answers in another size.

    Args:
        model: the model.
        graph: one on its weights.
        clips: a few, as the model takes them; of several inputs a list of arrays.
    """

    def called(each: keras.Model) -> list[np.ndarray]:
        # The one input of a saved model is a list of one, and Keras warns of anything else.
        inner = own_graph(each)
        alone = inner is not None and len(inner.inputs) == 1 and not tree.is_nested(clips)
        given = tree.pack_sequence_as(inner._inputs_struct, [clips]) if alone else clips
        return list(map(ops.convert_to_numpy, tree.flatten(each(given, training=False))))

    def predicted() -> list[np.ndarray]:
        # A class of someone's own may predict otherwise than it is called.
        of_keras = type(model).__module__.startswith("keras.")
        return called(model) if of_keras else tree.flatten(model.predict_on_batch(clips))

    def away(made: list[np.ndarray]) -> float:
        pairs = list(zip(own, made, strict=True))
        fits = all(x.shape == y.shape and np.isfinite(y).all() for x, y in pairs)
        return max(np.abs(x - y).max() / max(1, np.abs(x).max()) for x, y in pairs) if fits else np.inf

    try:
        own = predicted()
    except Exception:  # of one that takes floats alone
        clips = tree.map_structure(lambda each: np.asarray(each, "float32"), clips)
        own = predicted()
    try:
        found = away(called(graph))
    except Exception:  # whatever layers end in that hand on another size than they say
        return np.inf
    return found if found <= SAME or away(predicted()) <= SAME else 0.0


def own_graph(model: keras.Layer) -> keras.Function | None:
    """The graph that a model holds, unless its class has a `call` of its own."""
    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph if isinstance(graph, keras.Function) and type(model).call.__module__.startswith("keras.") else None


def flat(model: keras.Model) -> keras.Model:
    """A functional or sequential model itself where `flatten` would change nothing, else what it makes of it, once.

    It also sees to it that both compute what their layers say, see `padded_conv`.
    """
    known = _flat.get(model)
    if known is None or known[0] is not model.outputs[0]:  # a sequential model may have grown
        graph = own_graph(model)
        changes = graph is None or any(_nested(operation) or has_ties(operation) for operation in graph.operations)
        known = _flat[model] = (model.outputs[0], flatten(model) if changes else None)
        if keep_padding(known[1] or graph):
            model.predict_function = model.test_function = None  # those at hand may be without the padding
    return model if known[1] is None else known[1]


def _nested(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Model) or type(layer) is keras.layers.TimeDistributed or _of_layers(layer)


def _of_layers(operation) -> bool:
    """Whether an operation is a layer of someone's own, made of layers."""
    return (
        isinstance(operation, keras.Layer)
        and not type(operation).__module__.startswith("keras.")
        and bool(operation._layers)
        and not operation._trainable_variables
        and not operation._non_trainable_variables
        and type(operation).compute_mask is keras.Layer.compute_mask
        and not getattr(type(operation), "keeps_places", False)
    )


def path_of(model: keras.Model, tensor: keras.KerasTensor, name: str) -> str:
    """What made a tensor of a flat graph: the layer's name behind those of the models that it stands in.

    Args:
        model: a model, flat or not.
        tensor: of its graph.
        name: of the layer, which is the answer where nothing was flattened.
    """
    return _paths[model].makers.get(id(tensor), name) if model in _paths else name


def end_of(model: keras.Model, path: str) -> keras.KerasTensor | None:
    """What a layer or model gives that a flat graph holds in parts; None: there is none of this path."""
    return _paths[model].ends.get(path) if model in _paths else None


def _run(function: keras.Function, inputs, prefix: str, paths: _Paths):
    """The outputs of a graph on other inputs, with everything in it flat."""

    def flat(operation):
        def call(*args, **kwargs):
            made = _flat_call(operation, prefix, paths, args, kwargs)
            paths.add(prefix + operation.name, made)
            return made

        return call

    graph = keras.Function(function._inputs_struct, function._outputs_struct)
    graph._nodes_by_depth = {depth: in_order(nodes) for depth, nodes in graph._nodes_by_depth.items()}
    return graph._run_through_graph(inputs, flat)


def in_order(nodes: Sequence) -> list:
    """The nodes of a graph, those of a layer that is called several times in the order of its calls."""
    return sorted(nodes, key=lambda node: node.operation._inbound_nodes.index(node))


def _flat_call(operation, prefix: str, paths: _Paths, args, kwargs):
    """What an operation makes of symbolic tensors, as a part of the flat graph."""
    inner = _graph_of(operation, args, kwargs)
    if inner is not None:
        given = [
            x if x.dtype == want.dtype else ops.cast(x, want.dtype)
            for x, want in zip(tree.flatten(args), tree.flatten(inner.inputs), strict=True)
        ]
        return _run(inner, given, f"{prefix}{operation.name}/", paths)
    if type(operation) is keras.layers.TimeDistributed and len(args) == 1:
        return _all_frames(operation, prefix, paths, args[0], kwargs)
    if has_ties(operation):
        return _pooled(operation, paths, args[0])
    return operation(*args, **kwargs)


def _pooled(operation, paths: _Paths, x):
    """What a max pooling in space and time makes of a map, under its own name where it is called once."""
    called = any(path.rpartition("/")[2] == operation.name for path in paths.ends)
    name = operation.name if isinstance(operation, keras.Layer) and not called else None
    if not hasattr(operation, "pool_size"):  # to a given size
        return first_of_its_ties(type(operation).from_config(operation.get_config() | {"name": name}))(x)
    first = (operation.data_format or keras.config.image_data_format()) == "channels_first"
    x = ops.moveaxis(x, 1, -1) if first else x
    dtype = operation.dtype_policy if isinstance(operation, keras.Layer) else x.dtype
    x = max_pool3d(x, operation.pool_size, operation.strides, operation.padding, name, dtype)
    return ops.moveaxis(x, -1, 1) if first else x


def _all_frames(wrapper: keras.layers.TimeDistributed, prefix: str, paths: _Paths, x, kwargs):
    """`TimeDistributed` over frames that lie in the batch, (B, T, ...) -> (B·T, ...) -> (B, T, ...)."""
    open_sizes = None in x.shape[1:]
    frames = FoldTime(autocast=False)(x) if open_sizes else ops.reshape(x, (-1, *x.shape[2:]))
    takes_training = wrapper.layer._call_has_training_arg and kwargs.get("training") is not None
    made = _flat_call(
        wrapper.layer, prefix, paths, (frames,), {"training": kwargs["training"]} if takes_training else {}
    )
    paths.add(prefix + wrapper.name, made)

    def by_clip(y):
        return UnfoldTime(autocast=False)(y, x) if open_sizes else ops.reshape(y, (-1, x.shape[1], *y.shape[1:]))

    return tree.map_structure(by_clip, made)


def _graph_of(operation, args, kwargs) -> keras.Function | None:
    """The graph of a model, or of a layer of layers, that stands in another; None of what cannot be traced."""
    graph = own_graph(operation)
    if graph is not None:
        return graph
    tensors = tree.flatten(args)
    if (
        not (isinstance(operation, keras.Model) or _of_layers(operation))
        or not all(isinstance(x, keras.KerasTensor) for x in tensors)
        or any(getattr(x, "_keras_mask", None) is not None for x in tensors)
        or any(value is not None for name, value in kwargs.items() if name != "training")
    ):
        return None
    cast = operation.compute_dtype if operation.autocast else None
    inputs = tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=cast if cast and x.dtype.startswith("float") else x.dtype),
        args,
    )
    try:
        graph = _traced(operation, inputs)
    except ValueError:
        return None
    seen = {id(weight) for each in graph.operations for weight in getattr(each, "weights", ())}
    return graph if all(id(weight) in seen for weight in operation.weights) else None


def _traced(operation: keras.Layer, args: Sequence) -> keras.Function:
    """The graph of what the `call` of a subclassed model or layer does in prediction."""
    try:
        with keras.StatelessScope():
            predicting = {"training": False} if operation._call_has_training_arg else {}
            return keras.Function(tree.flatten(args), operation.call(*args, **predicting))
    except Exception as error:  # whatever a call that was not written for symbolic tensors ends in
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ValueError(
            f"the call of {type(operation).__name__} {operation.name!r} cannot be traced ({reason}). Write it with "
            "layers and `keras.ops` in place of `tf` functions, or build the same layers as a functional model"
        ) from error
