"""Convolutions behind a padding, which TensorFlow 2.21 would compute without it.

With oneDNN, TensorFlow makes one operation of a padding and the Conv3D behind it, and where that convolution pads by
itself ("same") it forgets the padding: `predict` gives smaller maps than the layers do, without a word. Here such a
convolution is computed as a padding of its own and a "valid" convolution, which TensorFlow joins rightly.
"""

from functools import partial

import keras
from keras import layers, ops


def keep_padding(graph: keras.Function) -> bool:
    """Lets the "same" Conv3D layers of a flat graph that stand behind a padding compute as `convolve` does.

    Layers, weights, configuration and what is saved stay as they are, as in `grouped_conv.quicken`.

    Returns:
        Whether there was any.
    """
    found = [
        node.operation
        for nodes in graph._nodes_by_depth.values()
        for node in nodes
        if isinstance(node.operation, layers.Conv3D)
        and type(node.operation).convolution_op is layers.Conv3D.convolution_op
        and (node.operation.padding, node.operation.data_format, node.operation.groups) == ("same", "channels_last", 1)
        and _padded(node.input_tensors[0])
    ]
    for layer in found:
        layer.convolution_op = partial(convolve, strides=layer.strides, dilation_rate=layer.dilation_rate)
    return bool(found)


def convolve(inputs, kernel, strides, dilation_rate):
    """A convolution with padding "same", (B, T, H, W, c) -> (B, T', H', W', filters)."""
    sides = []
    for size, width, stride, step in zip(ops.shape(inputs)[1:4], kernel.shape, strides, dilation_rate, strict=False):
        beyond = (width - 1) * step  # of the last window, whose first cell is the last of its row where stride is 1
        if stride > 1:
            left = (size - 1) % stride
            beyond = max(beyond - left, 0) if isinstance(size, int) else ops.maximum(beyond - left, 0)
        sides.append((beyond // 2, beyond - beyond // 2))
    padded = ops.pad(inputs, ((0, 0), *sides, (0, 0)))
    return ops.conv(padded, kernel, strides, "valid", "channels_last", dilation_rate)


def _padded(tensor) -> bool:
    """Whether a tensor of a graph was padded since the last layer with weights, or may have been by unknown layers."""
    while True:
        operation, node, _ = tensor._keras_history
        inputs = operation._inbound_nodes[node].input_tensors
        known = type(operation).__module__.startswith("keras.") and not isinstance(operation, layers.Lambda)
        if not known or type(operation).__name__ in ("ZeroPadding3D", "Pad"):
            return True
        if len(inputs) != 1 or getattr(operation, "weights", None):
            return False
        (tensor,) = inputs
