"""Convolutions behind a padding give in `predict` and in explanations what their layers say."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from har_tf import Classifier
from har_tf.explain import gradcam
from har_tf.models.flatten import flat
from har_tf.models.padded_conv import convolve
from har_tf.models.taps import taps

SIDES = [(0, 0), (0, 0), (3, 3), (0, 0), (0, 0)]
PADDINGS = {
    "ZeroPadding3D": lambda x: layers.ZeroPadding3D((0, 3, 0))(x),
    "keras.ops": lambda x: ops.pad(x, SIDES),
    "with dropout": lambda x: layers.Dropout(0.5)(layers.ZeroPadding3D((0, 3, 0))(x)),
    "reshaped": lambda x: layers.Reshape((4, 22, 12, 3))(layers.ZeroPadding3D((0, 3, 0))(x)),
    "Lambda": lambda x: layers.Lambda(lambda y: ops.pad(y, SIDES))(x),
}


def network(padding, strides=1, nested=False, open_sizes=False):
    keras.utils.set_random_seed(0)
    clip = keras.Input((4, None if open_sizes else 16, None if open_sizes else 12, 3))
    x = padding(layers.Rescaling(1 / 255)(clip))
    conv = layers.Conv3D(2, 3, strides, "same", activation="relu", name="conv")
    x = keras.Sequential([keras.Input(x.shape[1:]), conv], name="inner")(x) if nested else conv(x)
    return keras.Model(clip, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling3D()(x)))


CLIPS = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 12, 3)).astype("uint8")


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
def test_predictions_and_maps_are_those_of_the_layers(padding, strides):
    model = network(PADDINGS[padding], strides)
    plain = keras.Model(model.inputs, [model.get_layer("conv").output, model.outputs[0]])
    maps, expected = (x.numpy() for x in plain(CLIPS.astype("float32")))  # eager, where nothing is joined
    model.predict(CLIPS, verbose=0)  # without the padding, until the model is a classifier
    classifier = Classifier(model, ["a", "b"], clip={"scaling": "0..255"})
    np.testing.assert_allclose(classifier.predict(CLIPS).probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(CLIPS.astype("float32"), verbose=0), expected, atol=1e-5)
    found = gradcam(model, CLIPS.astype("float32"), "conv")
    assert found.signed.shape == maps.shape[:-1] == (2, *taps(model)[-1].shape[:3])
    np.testing.assert_allclose(found.probability, expected.max(axis=1), atol=1e-5)


@pytest.mark.parametrize("options", [{"nested": True}, {"open_sizes": True}, {"open_sizes": True, "strides": 2}])
def test_within_models_and_of_open_sizes(options):
    model = network(PADDINGS["ZeroPadding3D"], **options)
    clips = CLIPS.astype("float32")
    expected = model(clips).numpy()
    model.predict(clips, verbose=0)
    flat(model)
    np.testing.assert_allclose(model.predict(clips, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_it_is_keras_convolution(strides, dilation):
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 7, 3)).astype("float32")
    layer = layers.Conv3D(4, (3, 4, 1), strides, "same", dilation_rate=dilation, use_bias=False)
    expected = layer(x)
    found = convolve(x, ops.convert_to_tensor(layer.kernel), layer.strides, layer.dilation_rate)
    np.testing.assert_allclose(found, expected, atol=1e-5)
