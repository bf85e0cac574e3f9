"""Flat graphs on the same weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from har_tf.explain import gradcam
from har_tf.models.flatten import flat, flatten
from har_tf.models.taps import taps

CLIP = (4, 16, 24, 3)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(3)


def encoder(pooling="avg"):
    inner = keras.Sequential(
        [keras.Input((16, 24, 3)), layers.Conv2D(4, 3, activation="relu", name="deep")], name="block"
    )
    x = inner(frame := keras.Input((16, 24, 3)))
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(frame, layers.GlobalAveragePooling2D()(x) if pooling else x, name="encoder")


def frames_then(*later):
    return keras.Sequential([keras.Input(CLIP), layers.Rescaling(1 / 255), layers.TimeDistributed(encoder()), *later])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.conv, self.top = layers.Conv3D(4, 3, activation="relu", name="conv"), layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.top(ops.mean(self.conv(x), axis=(1, 2, 3)))


def two_streams():
    clip, shared = keras.Input(CLIP), encoder()
    both = [layers.TimeDistributed(shared, name=f"frames_{i}")(clip) for i in range(2)]
    return keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Add()(both))))


MODELS = {
    "TimeDistributed and GRU": lambda: frames_then(layers.GRU(5), layers.Dense(2, activation="softmax")),
    "Bidirectional": lambda: frames_then(layers.Bidirectional(layers.LSTM(3)), layers.Dense(2)),
    "ConvLSTM2D": lambda: keras.Sequential(
        [keras.Input(CLIP), layers.ConvLSTM2D(3, 3, name="lstm"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    ),
    "a shared encoder": two_streams,
    "TimeDistributed layers": lambda: keras.Sequential(
        [
            keras.Input(CLIP), layers.TimeDistributed(layers.Conv2D(3, 3), name="conv"),
            layers.TimeDistributed(layers.Flatten()), layers.LSTM(4), layers.Dense(2),
        ]
    ),
    "an EfficientNet-like model inside": lambda: keras.Sequential(
        [keras.Input((16, 24, 3)), encoder(), layers.Dense(2, activation="softmax")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_weights_are_those_of_the_model(name):
    model = MODELS[name]()
    one = flatten(model)
    clips = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
    expected = model.predict(clips, verbose=0)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(one.predict(clips, verbose=0), expected, atol=1e-5)
    assert {id(weight) for weight in one.weights} == {id(weight) for weight in model.weights}
    assert not any(isinstance(layer, keras.Model | layers.TimeDistributed) for layer in one.layers)


def test_inner_maps_are_taps_of_the_model_itself():
    model = MODELS["TimeDistributed and GRU"]()
    assert [tap.name for tap in taps(model)] == ["encoder/block/deep", "encoder/norm"]
    clips = np.random.default_rng(0).uniform(0, 255, (2, *CLIP)).astype("float32")
    found = gradcam(model, clips, tap="deep")
    np.testing.assert_allclose(found.probability, model.predict(clips, verbose=0).max(axis=1), atol=1e-5)
    assert found.maps.shape == (2, 4, 16, 24)


def test_what_is_flat_stays_as_it_is():
    model = MODELS["ConvLSTM2D"]()
    assert flat(model) is model


def test_a_subclassed_model_is_traced_on_clips_of_a_shape():
    model = Subclassed()
    clips = np.random.default_rng(0).uniform(0, 1, (2, *CLIP)).astype("float32")
    expected = model(clips)
    with pytest.raises(ValueError, match=r"Subclassed 'subclassed' has no graph .* flatten\(model, \[clips.shape\]\)"):
        flatten(model)
    one = flatten(model, [clips.shape])
    np.testing.assert_allclose(one(clips), expected, atol=1e-6)
    assert [tap.name for tap in taps(one)] == ["conv"]


def test_a_call_that_cannot_be_traced_says_what_to_do():
    class Untraceable(Subclassed):
        def call(self, x):
            return self.top(self.conv(np.asarray(x)))

    with pytest.raises(ValueError, match=r"the call of Untraceable .* cannot be traced .*`keras.ops`"):
        flatten(Untraceable(), [(None, *CLIP)])
