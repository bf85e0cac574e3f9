"""The gradient of max pooling in space and time within layers that cannot be looked into.

Those that stand in a graph are computed by `models.max_pooling`. A pooling within a layer of one's own or a `Lambda` is
TensorFlow's MaxPool3D, whose gradient hangs on the kernel where values are equal. In a graph that is traced within
`one_of_ties` it goes to the first of them as well.
"""

from contextlib import AbstractContextManager
from types import SimpleNamespace

import tensorflow as tf

from har_tf.models.max_pooling import pooled

_NAME, _SIZES = "HarTfMaxPool3DFirstOfTies", ("ksize", "strides")


def one_of_ties() -> AbstractContextManager:
    """While it lasts, what is traced has this gradient."""
    return tf.compat.v1.get_default_graph().gradient_override_map({"MaxPool3D": _NAME})


@tf.RegisterGradient(_NAME)
def _gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    first = operation.get_attr("data_format") == b"NCDHW"
    size, strides = (operation.get_attr(name)[2:] if first else operation.get_attr(name)[1:4] for name in _SIZES)
    padding, order = operation.get_attr("padding").decode().lower(), "channels_first" if first else "channels_last"
    layer = SimpleNamespace(pool_size=size, strides=strides, padding=padding, data_format=order)
    (x,) = operation.inputs
    return tf.gradients(pooled(x, layer), x, gradient)[0]
