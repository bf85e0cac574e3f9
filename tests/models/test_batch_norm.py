"""BatchNorm in one operation: outputs, gradients and moving statistics of Keras', and only where it may be."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from har_tf.models.batch_norm import in_one_operation
from har_tf.models.saving import load_model, save_model


def normed(shape, **options):
    clip = keras.Input(shape, name="clip")
    return keras.Model(clip, layers.BatchNormalization(momentum=0.9, name="norm", **options)(clip))


def trained(model, x, weights):
    """Output of a training step, its gradients by input, scale and offset, and the statistics after it."""

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
        return (y, *tape.gradient(y, [x, *model.trainable_variables], weights))

    return [part.numpy() for part in run(x)] + [np.asarray(weight) for weight in model.non_trainable_weights]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 5, 6, 7), {"epsilon": 1e-5}),
        ((None, None, None, 7), {}),
        ((3, 6, 7), {"scale": False}),
        ((7,), {"center": False}),
    ],
)
def test_the_numbers_of_keras(shape, options):
    rng = np.random.default_rng(0)
    size = (3, *(n or 4 for n in shape))
    x, weights = (tf.constant(rng.normal(2, 3, size), tf.float32) for _ in range(2))
    stock, ours = normed(shape, **options), in_one_operation(normed(shape, **options))
    start = [rng.uniform(0.5, 2, weight.shape) for weight in stock.get_weights()]
    for model in (stock, ours):
        model.set_weights(start)
    for found, expected in zip(trained(ours, x, weights), trained(stock, x, weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    ours.set_weights(stock.get_weights())
    assert (ours(x).numpy() == stock(x).numpy()).all()  # prediction is Keras'
    ours.get_layer("norm").trainable = False
    assert (ours(x, training=True).numpy() == ours(x).numpy()).all()


def test_statistics_worked_out_by_hand():
    """Of 1, 2, 3 and 6: mean 3, variance 3.5, not 14 / 3."""
    model = in_one_operation(normed((1,), epsilon=0.5))
    y = model(np.array([[1.0], [2.0], [3.0], [6.0]], "float32"), training=True)
    np.testing.assert_allclose(y[:, 0], [-1, -0.5, 0, 1.5], rtol=1e-5)
    np.testing.assert_allclose(model.get_layer("norm").moving_mean, [0.3], rtol=1e-5)
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, [0.9 + 0.35], rtol=1e-5)


def test_one_value_a_channel_has_no_variance():
    model = in_one_operation(normed((2,)))
    assert (model(np.array([[5.0, -1.0]], "float32"), training=True).numpy() == 0).all()
    np.testing.assert_allclose(model.get_layer("norm").moving_variance, [0.9, 0.9], rtol=1e-6)


def test_half_precision_and_what_is_left_to_keras():
    x = np.random.default_rng(0).normal(2, 3, (4, 3, 5)).astype("float32")
    for options in ({"dtype": "mixed_bfloat16"}, {"axis": 1}, {"renorm": True}):
        stock, ours = normed(x.shape[1:], **options), in_one_operation(normed(x.shape[1:], **options))
        found, expected = ours(x, training=True), stock(x, training=True)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(tf.cast(found, "float32"), tf.cast(expected, "float32"), rtol=1e-2, atol=1e-2)


def test_what_is_synchronized_later_is_left_to_keras(monkeypatch):
    model = in_one_operation(normed((2,)))
    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", lambda **_: pytest.fail("of one replica's values alone"))
    model.get_layer("norm").synchronized = True
    y = model(np.array([[1.0, 0.0], [3.0, 4.0]], "float32"), training=True)
    np.testing.assert_allclose(y, [[-1, -1], [1, 1]], atol=1e-3)


def test_a_saved_model_holds_keras_layers_and_a_loaded_one_is_quick(tmp_path):
    body = normed((4, 4, 4, 3))
    x = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling3D()(body.output))
    save_model(in_one_operation(keras.Model(body.input, x)), tmp_path / "model.keras", ["a", "b"])
    assert "call" not in vars(keras.models.load_model(tmp_path / "model.keras").get_layer("norm"))
    loaded, _ = load_model(tmp_path / "model.keras", scaling="0..1")
    assert "call" in vars(loaded.get_layer("norm"))
