import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import config

from har_tf.models.resizing import _matrix, as_product, as_products


@pytest.fixture
def a_gpu(monkeypatch):
    """As far as it is asked for."""
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])


def test_shares_by_hand():
    # Two places become one: the mean. One becomes two: both the one. Of four to two each new place takes half of what
    # stands next to it: distances 0.5, 0.5 and 1.5 of a step of 2 are shares of 3/4, 3/4 and 1/4.
    np.testing.assert_allclose(_matrix(2, 1), [[0.5, 0.5]])
    np.testing.assert_allclose(_matrix(1, 2), [[1], [1]])
    np.testing.assert_allclose(_matrix(4, 2), np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7, rtol=1e-6)
    np.testing.assert_array_equal(_matrix(5, 5), np.eye(5))


@pytest.mark.parametrize("size", [(7, 9), (20, 31), (16, 24), (5, 40)])
def test_gives_what_keras_gives(size, a_gpu):
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3)).astype(np.float32)
    x = keras.Input((16, 24, 3))
    model = keras.Model(x, layers.Resizing(*size, antialias=True, dtype="float32")(x))
    expected = model(frames).numpy()
    as_products(model)
    np.testing.assert_allclose(model(frames), expected, atol=0.02)
    compiled = tf.function(lambda x: model(x), jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(frames)), expected, atol=0.02)
    assert type(model.layers[-1]) is layers.Resizing, "what is saved stays as it is"
    restored = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(restored(frames), expected)


@pytest.mark.parametrize("how", [{"antialias": False}, {"crop_to_aspect_ratio": True}, {"interpolation": "nearest"}])
def test_other_ways_of_resizing_stay_keras_own(how, a_gpu):
    x = keras.Input((16, 24, 3))
    model = as_products(keras.Model(x, layers.Resizing(7, 9, **{"antialias": True, **how})(x)))
    assert "transform_images" not in vars(model.layers[-1])


def test_a_cpu_resizes_as_keras_does_and_trains_without_xla(monkeypatch):
    x = keras.Input((16, 24, 3))
    resized = as_product(layers.Resizing(7, 9, antialias=True, dtype="float32"))(x)
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(resized)))
    assert "transform_images" not in vars(model.layers[1])
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: False)
    model.compile("sgd", "mse")
    assert not model.jit_compile
    model.fit(np.ones((2, 16, 24, 3), np.float32), np.ones((2, 2)), verbose=0)
