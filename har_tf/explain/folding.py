"""A model's forward pass with batch normalisation folded into the convolutions before it.

Outside training a BatchNormalization multiplies each channel by a number and adds another, which a convolution can do
in its own kernel and bias. Keras computes it as two more passes over the feature map; for small convolutions on large
frames they take as long as the convolution.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import keras
import tensorflow as tf

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.DepthwiseConv2D)


def folded(clip: keras.KerasTensor, outputs: Sequence[keras.KerasTensor]) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """The function from a batch of clips to tensors of the graph, as in prediction.

    It reads the layers' present weights at every call and changes no layer. The outputs are those of the layers up to
    rounding: only a feature map that is not asked for, and that nothing but its BatchNormalization reads, is skipped.
    Where a layer is shared, has an activation of its own or another precision than float32, it runs as it is.

    Args:
        clip: the input of a functional model.
        outputs: tensors that are computed from it.

    Returns:
        A function to call inside `tf.function`.
    """
    graph = keras.Function([clip], list(outputs))
    stand_ins = {}
    for convolution, norm in _pairs(graph):
        stand_ins[convolution] = partial(_convolved_and_normalized, convolution, norm)
        stand_ins[norm] = _unchanged

    def run(clips):
        return graph._run_through_graph([clips], lambda operation: stand_ins.get(operation) or _predicting(operation))

    return run


def variant(layer: keras.Layer, x: tf.Tensor, **attributes) -> tf.Tensor:
    """What the layer would make of `x` if it had other attributes, as a kernel or an activation."""

    class Variant:
        def __getattr__(self, name):
            return attributes[name] if name in attributes else getattr(layer, name)

    return type(layer).call(Variant(), x)


def _pairs(graph: keras.Function) -> list[tuple[keras.Layer, keras.Layer]]:
    """Each convolution whose output only a BatchNormalization reads, with that layer."""
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    calls = Counter(node.operation for node in nodes)
    readers = Counter(id(x) for x in [*graph.outputs, *(x for node in nodes for x in node.input_tensors)])
    pairs = []
    for node in nodes:
        norm = node.operation
        if type(norm) is not keras.layers.BatchNormalization or len(node.input_tensors) != 1:
            continue
        between = node.input_tensors[0]
        convolution = between._keras_history.operation
        if (
            type(convolution) in _CONVOLUTIONS
            and convolution.activation is keras.activations.linear
            and convolution.data_format == "channels_last"
            and norm.axis in (-1, len(between.shape) - 1)
            and convolution.dtype_policy.name == norm.dtype_policy.name == convolution.input.dtype == "float32"
            and calls[convolution] == calls[norm] == readers[id(between)] == 1
        ):
            pairs.append((convolution, norm))
    return pairs


def _convolved_and_normalized(convolution: keras.Layer, norm: keras.Layer, x: tf.Tensor) -> tf.Tensor:
    scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale *= norm.gamma
    mean = norm.moving_mean - convolution.bias if convolution.use_bias else norm.moving_mean
    bias = (norm.beta if norm.center else 0.0) - mean * scale
    kernel = convolution.kernel
    # A depthwise kernel is (h, w, c, m) for channels c·m; the others end with their output channels.
    channels = kernel.shape[2:] if isinstance(convolution, keras.layers.DepthwiseConv2D) else kernel.shape[-1:]
    return variant(convolution, x, kernel=kernel * tf.reshape(scale, channels), bias=bias, use_bias=True)


def _unchanged(x: tf.Tensor, mask=None, training=None) -> tf.Tensor:
    return x


def _predicting(operation):
    """The operation with dropout and the like off, even where the graph was built with `training=True`."""
    if not isinstance(operation, keras.Layer) or "training" not in inspect.signature(operation.call).parameters:
        return operation
    return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": False})
