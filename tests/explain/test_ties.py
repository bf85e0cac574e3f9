"""Max pooling in space and time within layers that are not looked into."""

import numpy as np
import pytest
import tensorflow as tf

from har_tf.explain.ties import one_of_ties


@pytest.mark.parametrize(
    ("size", "strides", "padding"), [(2, 2, "VALID"), ((2, 3, 3), (2, 1, 2), "SAME"), ((1, 2, 2), (1, 2, 2), "SAME")]
)
def test_the_gradient_goes_to_one_of_equal_values(size, strides, padding):
    @tf.function(autograph=False)
    def gradient(x):
        with one_of_ties():
            y = tf.nn.max_pool3d(x, size, strides, padding)
        return y, tf.gradients(y, x)[0]

    pooled, ties = gradient(tf.zeros((1, 4, 6, 6, 2)))
    assert ties.numpy().sum() == pooled.numpy().size  # each window gives its 1 to one value
    x = tf.constant(np.random.default_rng(0).permutation(4 * 6 * 6 * 2).reshape(1, 4, 6, 6, 2), "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.max_pool3d(x, size, strides, padding)
    np.testing.assert_allclose(gradient(x)[1], tape.gradient(y, x), atol=1e-6)  # without ties as TensorFlow's
