"""Max pooling in space and time whose gradient goes to the first of equal values, whatever TensorFlow's kernel.

Behind a ReLU a window of zeros is one big tie. The gradient of TensorFlow's MaxPool3D goes to every element of a tie,
under XLA and in oneDNN's kernel to one, so that explanations and training depend on the machine. That of MaxPool2D goes
to one everywhere. The largest value of a box is the largest over time of the largest of each frame, and both can be
pooled in two dimensions.
"""

from functools import partial

import keras
from keras import layers, ops


def max_pool3d(x, pool_size, strides=None, padding="valid", name=None, dtype=None):
    """Max pooling of a map, with the outputs of Keras' MaxPooling3D, in a graph of Keras' own layers and operations.

    Args:
        x: symbolic (B, T, H, W, C).
        pool_size, strides, padding: as of `MaxPooling3D`.
        name: of the layer that gives the pooled map, a `Reshape`. In graphs whose sizes are open it is a `MaxPooling3D`
            that computes as said above in this process; a loaded one does so behind `first_of_ties`.
        dtype: policy of that layer.

    Returns:
        (B, T', H', W', C).
    """
    own = layers.MaxPooling3D(pool_size, strides, padding, data_format="channels_last", name=name, dtype=dtype)
    if None in x.shape[1:]:
        return first_of_its_ties(own)(x)
    pooled = _over_time(_over_space(x, own), x.shape[1], own)
    return layers.Reshape(own.compute_output_shape(x.shape)[1:], name=own.name, dtype=own.dtype_policy)(pooled)


def first_of_ties(model: keras.Model) -> keras.Model:
    """Lets the layers of a model that pool in space and time compute as `max_pool3d`, as in older files of ours.

    Layers, configuration and what is saved stay as they are: only what the layers' `call` does in this process is
    another. A model from `keras.models.load_model` or `clone_model` needs it anew; `saving.load_model` does it.
    """
    for layer in model._flatten_layers(include_self=False):
        if _kind(layer):
            first_of_its_ties(layer)
    return model


def first_of_its_ties(layer: keras.Layer) -> keras.Layer:
    """The same for one layer, a MaxPooling3D or AdaptiveMaxPooling3D."""
    layer.call = partial(pooled, layer=layer)
    return layer


def with_tuples(model: keras.Model) -> keras.Model:
    """Gives the operations of a loaded model tuples of numbers where its file, which is JSON, has lists.

    Keras' max pooling under JAX takes no lists. Nothing else changes.
    """
    for graph in [model, *model._flatten_layers(include_self=False)]:
        for operation in getattr(graph, "operations", ()):
            if not isinstance(operation, keras.Layer):
                for name, value in vars(operation).items():
                    if isinstance(value, list) and value and all(isinstance(number, int) for number in value):
                        setattr(operation, name, tuple(value))
    return model


def has_ties(operation) -> bool:
    """Whether an operation of a graph pools in space and time with TensorFlow's own gradient."""
    if _kind(operation):
        return "call" not in vars(operation)
    return type(operation).__name__ == "MaxPool" and len(operation._inbound_nodes[0].input_tensors[0].shape) == 5


def _kind(operation) -> bool:
    kinds = ("MaxPooling3D", "AdaptiveMaxPooling3D")
    here = tuple(getattr(layers, kind) for kind in kinds if hasattr(layers, kind))
    return isinstance(operation, here) and type(operation).call.__module__.startswith("keras.")


def pooling_of(tensor) -> bool:
    """Whether a tensor of a graph is a map that `max_pool3d` made."""
    if type(tensor._keras_history.operation) is not layers.Reshape or len(tensor.shape) != 5:
        return False
    while type(tensor._keras_history.operation).__name__ == "Reshape":
        operation, node, _ = tensor._keras_history
        tensor = operation._inbound_nodes[node].input_tensors[0]
    return type(tensor._keras_history.operation).__name__ == "MaxPool"


def pooled(x, layer):
    """What a layer of this `pool_size`, `strides`, `padding` and `data_format` makes of a map of any sizes."""
    if layer.data_format == "channels_first":
        return ops.moveaxis(_pooled_last(ops.moveaxis(x, 1, -1), layer), -1, 1)
    return _pooled_last(x, layer)


def _pooled_last(x, layer):
    frames = _over_space(x, layer)
    height, width, channels = ops.shape(frames)[1:]
    x = _over_time(frames, ops.shape(x)[1], layer)
    return ops.reshape(x, (-1, ops.shape(x)[1], height, width, channels))


def _over_space(x, layer):
    """(B, T, H, W, C) -> (B·T, H', W', C)."""
    x = ops.reshape(x, (-1, *ops.shape(x)[2:]))
    if hasattr(layer, "output_size"):
        return ops.adaptive_max_pool(x, layer.output_size[1:], "channels_last")
    return ops.max_pool(x, layer.pool_size[1:], layer.strides[1:], layer.padding, "channels_last")


def _over_time(x, time, layer):
    """(B·T, H', W', C) -> (B, T', H'·W', C)."""
    _, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (-1, time, height * width, channels))
    if hasattr(layer, "output_size"):
        return ops.adaptive_max_pool(x, (layer.output_size[0], height * width), "channels_last")
    if layer.pool_size[0] == layer.strides[0] == 1:
        return x
    return ops.max_pool(x, (layer.pool_size[0], 1), (layer.strides[0], 1), layer.padding, "channels_last")
