"""The gradient of max pooling in space and time within layers that cannot be looked into.

Those that stand in a graph are computed by `models.max_pooling`. A pooling within a layer of one's own or a `Lambda` is
TensorFlow's MaxPool3D, whose gradient hangs on the kernel where values are equal. In a graph that is traced within
`first_of_ties` it goes to the first of them as well.
"""

from contextlib import AbstractContextManager

import tensorflow as tf

_NAME = "HarTfMaxPool3DFirstOfTies"


def first_of_ties() -> AbstractContextManager:
    """While it lasts, what is traced has this gradient."""
    return tf.compat.v1.get_default_graph().gradient_override_map({"MaxPool3D": _NAME})


@tf.RegisterGradient(_NAME)
def _gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    (x,) = operation.inputs
    size, strides = operation.get_attr("ksize"), operation.get_attr("strides")
    padding = operation.get_attr("padding").decode()
    first = operation.get_attr("data_format") == b"NCDHW"
    if first:
        x, gradient = (tf.transpose(each, (0, 2, 3, 4, 1)) for each in (x, gradient))
        size, strides = ([*each[:1], *each[2:], each[1]] for each in (size, strides))
    _, time, height, width, channels = tf.unstack(tf.shape(x))
    # The largest of a box is the largest over time of the largest of each frame, and MaxPool2D's gradient goes to one.
    frames = tf.reshape(x, tf.stack([-1, height, width, channels]))
    frames = tf.nn.max_pool2d(frames, size[2:4], strides[2:4], padding)
    lines = tf.reshape(frames, tf.stack([-1, time, tf.shape(frames)[1] * tf.shape(frames)[2], channels]))
    pooled = tf.reshape(tf.nn.max_pool2d(lines, (size[1], 1), (strides[1], 1), padding), tf.shape(gradient))
    (found,) = tf.gradients(pooled, x, gradient)
    return tf.transpose(found, (0, 4, 1, 2, 3)) if first else found
