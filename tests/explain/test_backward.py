"""Heads of all kinds: the probability is what the model itself answers, and the map shows where that comes from."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.explain import cam3d, gradcam
from har_tf.models.logits import probabilities

T, H, W = 4, 16, 24
KERNEL = keras.initializers.Constant([[4.0, -4.0, 1.0]])
MAX3D, MAX2D = layers.GlobalMaxPooling3D, layers.GlobalMaxPooling2D


@pytest.fixture(scope="module")
def clips():
    clips = np.zeros((2, T, H, W, 3), np.uint8)
    clips[:, :, 4:8, 15:19] = np.array([255, 40])[:, None, None, None, None]
    return clips


class Smoothed(layers.Layer):
    def call(self, p):
        return 0.9 * p + 0.1 / 3


class Temperature(layers.Layer):
    def build(self, shape):
        self.temperature = self.add_weight(shape=(), initializer=keras.initializers.Constant(2.0))

    def call(self, x):
        return x / self.temperature


def dense(x, activation=None):
    return layers.Dense(3, activation, kernel_initializer=KERNEL)(x)


def weak(x, activation=None):
    return layers.Dense(3, activation)(layers.GlobalAveragePooling3D()(x))


def of_frames(x, activation=None):
    return dense(layers.TimeDistributed(MAX2D())(x), activation)


def nested(x):
    return keras.Sequential([keras.Input((1,)), layers.Dense(3, kernel_initializer=KERNEL), layers.Softmax()])(
        MAX3D()(x)
    )


LOGITS = {
    "softmax": lambda x: dense(MAX3D()(x), "softmax"),
    "tf.nn.softmax": lambda x: dense(MAX3D()(x), tf.nn.softmax),
    "Lambda": lambda x: layers.Lambda(lambda v: tf.nn.softmax(v))(dense(MAX3D()(x))),
    "nested": nested,
    "temperature": lambda x: layers.Softmax()(dense(MAX3D()(x)) / 2.5),
    "learned temperature": lambda x: layers.Softmax()(Temperature()(dense(MAX3D()(x)))),
    "softmax of a sum": lambda x: layers.Softmax()(dense(MAX3D()(x)) + weak(x)),
    "log_softmax": lambda x: dense(MAX3D()(x), "log_softmax"),
    "Dense behind a softmax": lambda x: dense(dense(MAX3D()(x), "softmax")[:, :1], "softmax"),
    "Dropout and Reshape": lambda x: layers.Reshape((3,))(layers.Dropout(0.5)(dense(MAX3D()(x), "softmax"))),
    "classes in another order": lambda x: ops.take(dense(MAX3D()(x), "softmax"), [2, 0, 1], axis=1),
    "the last frame": lambda x: of_frames(x, "softmax")[:, -1],
    "EinsumDense": lambda x: layers.EinsumDense("bc,cd->bd", 3, "softmax", kernel_initializer=KERNEL)(MAX3D()(x)),
    "Conv3D": lambda x: layers.Flatten()(layers.Conv3D(3, (T, H, W), activation="softmax")(x)),
    "half precision": lambda x: layers.Dense(3, "softmax", kernel_initializer=KERNEL, dtype="float16")(MAX3D()(x)),
    "sigmoids": lambda x: dense(MAX3D()(x), "sigmoid"),
    "sigmoids of heads": lambda x: layers.Concatenate()([dense(MAX3D()(x), "sigmoid"), weak(x, "sigmoid")]),
    "from_logits": lambda x: dense(MAX3D()(x)),
    "scaled logits": lambda x: 10 * dense(MAX3D()(x)),
    "mean of logits over frames": lambda x: layers.GlobalAveragePooling1D()(of_frames(x)),
}
MEANS = {
    "Average": lambda x: layers.Average()([dense(MAX3D()(x), "softmax"), weak(x, "softmax")]),
    "weighted": lambda x: 0.7 * dense(MAX3D()(x), "softmax") + 0.3 * weak(x, "softmax"),
    "over frames": lambda x: ops.mean(of_frames(x, "softmax"), axis=1),
}
PROBABILITIES = {
    "sparsemax": lambda x: dense(MAX3D()(x), "sparsemax"),
    "label smoothing": lambda x: Smoothed()(dense(MAX3D()(x), "softmax")),
    "product of experts": lambda x: layers.Multiply()([dense(MAX3D()(x), "softmax"), weak(x, "softmax")]),
    "softmaxes of two heads": lambda x: layers.Concatenate()([dense(MAX3D()(x), "softmax"), weak(x, "softmax")]),
    "without the background": lambda x: dense(MAX3D()(x), "softmax")[:, :2],
    "largest over frames": lambda x: layers.GlobalMaxPooling1D()(of_frames(x, "softmax")),
    "softmax over frames": lambda x: ops.mean(layers.Softmax(axis=1)(of_frames(x)), axis=1),
    "shares of evidence": lambda x: (e := dense(MAX3D()(x), "softplus")) / ops.sum(e, axis=-1, keepdims=True),
    "one minus": lambda x: 1 - layers.Dense(1, "sigmoid", kernel_initializer="ones")(MAX3D()(x)),
}
REFUSED = {
    "tanh": lambda x: dense(MAX3D()(x), "tanh"),
    "one hinge": lambda x: layers.Dense(1, "tanh", kernel_initializer="ones")(MAX3D()(x)),
    "GRU": lambda x: layers.GRU(3)(layers.TimeDistributed(MAX2D())(x)),
    "cosines": lambda x: layers.UnitNormalization()(dense(MAX3D()(x))),
}
SAYS = {name: "logit" for name in LOGITS} | {name: "mean of logits" for name in MEANS}
HEADS = LOGITS | MEANS | PROBABILITIES


def model_of(head):
    keras.utils.set_random_seed(0)
    x = layers.Rescaling(1 / 255)(clip := keras.Input((T, H, W, 3)))
    x = layers.Conv3D(1, 1, activation="relu", kernel_initializer="ones", name="bright")(x)
    return keras.Model(clip, head(x))


@pytest.mark.parametrize("name", HEADS)
def test_the_probability_is_the_models_own_answer(name, clips):
    model = model_of(HEADS[name])
    answers = probabilities(model, model.predict(clips, verbose=0))
    found = gradcam(model, clips)
    assert found.settings.get("score", "logit") == SAYS.get(name, "log-probability")
    np.testing.assert_allclose(found.probability, answers[range(2), found.class_index], atol=1e-5)
    if answers.shape[1] > 2:
        np.testing.assert_allclose(found.probability, answers.max(axis=1), atol=1e-5)
    if name in LOGITS | MEANS and name != "Conv3D" and found.class_index[0] == 0:
        assert found.maps[0, :, 4:8, 15:19].min() > 0.9  # also where the probability is 1.0 in float32
        assert found.maps[0].sum() == pytest.approx(found.maps[0, :, 4:8, 15:19].sum())


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_are_no_probabilities_are_refused(name, clips):
    with pytest.raises(ValueError, match="makes of the logits is not understood. If these are logits, say so"):
        gradcam(model_of(REFUSED[name]), clips)


def test_a_head_that_agrees_on_some_clips_is_found_out_on_others(clips):
    model = model_of(lambda x: dense(MAX3D()(x), lambda v: ops.sparsemax(v)))
    assert gradcam(model, clips[:1]).settings.get("score", "logit") == "logit"  # both say 1.0
    found = gradcam(model, clips[1:] // 4)
    assert found.settings["score"] == "log-probability"
    np.testing.assert_allclose(found.probability, model.predict(clips[1:] // 4, verbose=0).max(axis=1), atol=1e-6)


def test_a_flat_graph_that_gives_other_answers_is_refused(clips):
    class Halved(layers.Layer):
        def call(self, x):
            return x[:, 8:]

        def compute_output_shape(self, shape):
            return shape

    x = layers.TimeDistributed(Halved())(layers.Conv3D(2, 1, name="before")(start := keras.Input((T, H, W, 3))))
    model = keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling3D()(layers.Conv3D(2, 1)(x))))
    with pytest.raises(
        ValueError, match="other answers than its layers, one after the other: .*another size than it says"
    ):
        gradcam(model, clips, tap="before")


def test_many_taps_print_no_warning(monkeypatch, caplog):
    """TensorFlow warns of the fifth function in ten calls that is traced when it is called."""
    from tensorflow.python.eager.polymorphic_function import polymorphic_function as counts

    monkeypatch.setattr(counts, "_frequent_tracing_detector_manager", counts._FrequentTracingDetectorManager())
    model, clips = eight_taps(), np.zeros((5, 4, 8, 8, 3), "float32")
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for i in range(8):
            gradcam(model, clips, f"conv{i}")
            cam3d(model, clips[: 1 + i % 5], [f"conv{i}", f"conv{(i + 1) % 8}"], class_index=i % 2)
    assert not caplog.records


def test_functions_are_compiled_in_eager_mode_too():
    model, clips = eight_taps(), np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    expected = gradcam(model, clips, "conv3").signed
    tf.config.run_functions_eagerly(True)
    try:
        found = gradcam(keras.models.clone_model(model), clips, "conv3")
        again = gradcam(model, clips, "conv3").signed
    finally:
        tf.config.run_functions_eagerly(False)
    assert found.signed.shape == again.shape
    np.testing.assert_array_equal(again, expected)


def eight_taps():
    x = clip = keras.Input((4, 8, 8, 3))
    for i in range(8):
        x = keras.layers.Conv3D(2, 3, padding="same", name=f"conv{i}", activation="relu")(x)
        x = x if i % 2 else keras.layers.AveragePooling3D((1, 1, 1))(x)
    return keras.Model(clip, keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling3D()(x)))


@pytest.mark.parametrize("wrapped", [layers.Lambda, layers.Activation])
def test_means_of_what_is_no_softmax_of_the_logits_are_not_taken_for_it(wrapped, clips):
    clip = keras.Input((T, H, W, 3))
    x = layers.TimeDistributed(layers.Conv2D(1, 1, kernel_initializer="ones", name="bright"))(
        layers.Rescaling(1 / 255)(clip)
    )
    x = layers.Dense(2, kernel_initializer=keras.initializers.Constant([[-1.0, 1.0]]))(
        layers.TimeDistributed(MAX2D())(x)
    )
    model = keras.Model(clip, layers.GlobalAveragePooling1D()(wrapped(lambda x: tf.nn.softmax(-x))(x)))
    found = gradcam(model, clips[:1], class_index=0)  # bright patches speak for class 0
    assert found.settings["score"] == "log-probability" and found.maps[0, 0, 5, 16] == pytest.approx(1, abs=1e-3)
    assert found.probability[0] == pytest.approx(model.predict_on_batch(clips[:1])[0, 0], abs=1e-5)


def test_a_gradient_that_is_stopped_is_told(clips):
    clip = keras.Input((T, H, W, 3))
    x = ops.stop_gradient(layers.Conv3D(1, 1, name="bright")(clip))
    with pytest.raises(ValueError, match="no gradient reaches tap 'bright'"):
        gradcam(keras.Model(clip, layers.Dense(2)(MAX3D()(x))), clips)
