"""A model's forward pass with batch normalisation folded into the convolutions before it.

Outside training a BatchNormalization multiplies each channel by a number and adds another, which the convolution
before it can do in its own kernel and bias. Keras computes it as passes of its own over the feature map, which for
small convolutions on large frames take longer than the convolution, and which keep TensorFlow from computing
convolution, bias and ReLU in one step.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

Tensor = Any  # of Keras' backend
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.DepthwiseConv2D)


def folded(
    inputs: keras.KerasTensor | Sequence[keras.KerasTensor], outputs: Sequence[keras.KerasTensor]
) -> Callable[..., list[Tensor]]:
    """The function from a batch of clips, or one for each input, to tensors of the graph, as in prediction.

    It reads the layers' present weights at every call and changes no layer. Every tensor has the value that the layers
    give it, up to rounding: a convolution and a BatchNormalization are only made one where nothing else, the outputs
    included, reads what lies between them. Where that or another condition fails, the layers run as they are.

    Args:
        inputs: the input of a functional model, or all of them.
        outputs: tensors that are computed from them.

    Returns:
        A function, meant to be compiled: eagerly it would prepare the kernels anew at every call.
    """
    graph = keras.Function(keras.tree.flatten(inputs), list(outputs))
    stand_ins = {}
    for convolution, norm in pairs(graph):
        stand_ins[convolution] = partial(_convolve_and_normalize, convolution, norm)
        stand_ins[norm] = _unchanged

    def run(*clips):
        return graph._run_through_graph(
            list(clips), lambda operation: stand_ins.get(operation) or predicting(operation)
        )

    return run


def without_activation(
    inputs: Sequence[keras.KerasTensor], output: keras.KerasTensor, layers: Sequence
) -> Callable[[list[Tensor]], Tensor]:
    """The function from tensors of a graph to a later one, with the activation of some layers left out.

    Args:
        inputs: tensors of a functional model.
        output: a tensor that is computed from them.
        layers: of these the activation is left out; one that is nothing else gives what it is given.
    """
    if not layers:
        return lambda tensors: tensors[0]
    graph = keras.Function(list(inputs), output)

    def plain(layer):
        def call(x, *args, **kwargs):
            if getattr(layer, "kernel", None) is None:  # nothing but an activation
                return x
            return variant(layer, ops.cast(x, layer.variable_dtype), activation=keras.activations.linear)

        return call

    stand_ins = {layer: plain(layer) for layer in layers}
    return lambda tensors: graph._run_through_graph(
        tensors, lambda operation: stand_ins.get(operation) or predicting(operation)
    )


def variant(layer: keras.Layer, x: Tensor, **attributes) -> Tensor:
    """What the layer would make of `x` if these attributes of it, such as its kernel or activation, were others."""

    class Variant:
        def __getattr__(self, name):
            return attributes[name] if name in attributes else getattr(layer, name)

    return type(layer).call(Variant(), x)


def pairs(graph: keras.Function) -> list[tuple[keras.Layer, keras.Layer]]:
    """The convolutions that can be made one with the BatchNormalization behind them, and these."""
    nodes = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    maker = {id(x): node for node in nodes for x in node.output_tensors}
    calls = Counter(node.operation for node in nodes)
    readers = Counter(id(x) for x in [*graph.outputs, *(x for node in nodes for x in node.input_tensors)])
    found = []
    for node in nodes:
        norm = node.operation
        if type(norm) is not keras.layers.BatchNormalization or len(node.input_tensors) != 1:  # 2: with a mask
            continue
        (between,) = node.input_tensors
        convolution = maker[id(between)].operation
        if (
            type(convolution) in _CONVOLUTIONS
            and convolution.activation is keras.activations.linear
            and convolution.data_format == "channels_last"
            and norm.axis in (-1, len(between.shape) - 1)
            and calls[convolution] == calls[norm] == readers[id(between)] == 1
            # Half precision would round the folded kernel, not the number it is made of.
            and convolution.dtype_policy.name == norm.dtype_policy.name == "float32"
            and maker[id(between)].input_tensors[0].dtype == "float32"
        ):
            found.append((convolution, norm))
    return found


def _convolve_and_normalize(convolution: keras.Layer, norm: keras.Layer, x: Tensor) -> Tensor:
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale *= norm.gamma
    mean = norm.moving_mean - convolution.bias if convolution.use_bias else norm.moving_mean
    bias = (norm.beta if norm.center else 0.0) - mean * scale
    # A depthwise kernel is (h, w, c, m) and makes the channels c·m; other kernels end with the channels they make.
    last = 2 if isinstance(convolution, keras.layers.DepthwiseConv2D) else 1
    kernel = convolution.kernel * ops.reshape(scale, convolution.kernel.shape[-last:])
    return variant(convolution, x, kernel=kernel, bias=bias, use_bias=True)


def _unchanged(x: Tensor, mask=None, training=None) -> Tensor:
    return x


def predicting(operation):
    """The operation with dropout and the like off, also where the graph was built with `training=True`."""
    if not isinstance(operation, keras.Layer) or "training" not in inspect.signature(operation.call).parameters:
        return operation
    return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": False})
