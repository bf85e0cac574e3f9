"""Networks of which everything can be worked out by hand: `from hand_networks import weighing`."""

import keras
import numpy as np
from keras import layers, ops


def weighing(weights, dtype="uint8", bent=None, scale=1.0):
    """A model with the logits (0, sum of weights · pixels).

    Args:
        weights: (T, H, W, C) of clips, (H, W, C) of images.
        dtype: of its input.
        bent: function of the sum, such as `ops.square`, that gives the logit.
        scale: pixels are multiplied by it first.
    """
    weights = np.asarray(weights, "float32")
    clip = keras.Input(weights.shape, dtype=dtype, name="clip")
    x = layers.Flatten()(layers.Rescaling(scale, name="rescale")(clip))
    x = layers.Dense(1, use_bias=False, name="sum")(x)
    x = x if bent is None else bent(x)
    logits = layers.Dense(2, use_bias=False, name="logits")(x)
    model = keras.Model(clip, ops.softmax(logits))
    model.get_layer("sum").set_weights([weights.reshape(-1, 1)])
    model.get_layer("logits").set_weights([np.array([[0.0, 1.0]])])
    return model


def with_gradient(gradient, channels):
    """A model of grey clips whose feature map "conv" holds the pixels times each of `channels`.

    Args:
        gradient: (t, h, w, c) of clips, (h, w, c) of images, that of the logit of class 1; the other logit is 0.
        channels: c numbers.
    """
    gradient = np.asarray(gradient, "float32")
    clip = keras.Input((*gradient.shape[:-1], 1), name="clip")
    convolution = layers.Conv3D if gradient.ndim == 4 else layers.Conv2D
    x = convolution(len(channels), 1, use_bias=False, name="conv")(clip)
    model = keras.Model(clip, layers.Dense(2, use_bias=False, name="logits")(layers.Flatten()(x)))
    model.get_layer("conv").set_weights([np.reshape(channels, model.get_layer("conv").kernel.shape)])
    model.get_layer("logits").set_weights([np.stack([0 * gradient.ravel(), gradient.ravel()], axis=1)])
    return model


# Pixels and a gradient of which maps are worked out in the tests: channel 1 is X, channel 2 three times X.
X = np.array([[[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [2.0, 0.0]]], "float32")
GRADIENT = np.zeros((2, 2, 2, 2), "float32")
GRADIENT[0, ..., 0], GRADIENT[1, ..., 0], GRADIENT[1, 0, 0, 1] = 1, -1, 4
CHANNELS = (1.0, 3.0)


def two_convolutions(of_clips):
    """A model with waves as weights, (3, 5, 4, 2) or (5, 4, 2) floats to three logits; and a clip (1, ...).

    What Captum and pytorch-grad-cam gave for the same network in PyTorch is recorded in the tests.
    """
    shape = (3, 5, 4, 2) if of_clips else (5, 4, 2)
    convolution = layers.Conv3D if of_clips else layers.Conv2D
    clip = keras.Input(shape, name="clip")
    x = convolution(3, 3, padding="same", activation="relu", name="first")(clip)
    x = layers.Flatten()(convolution(2, 2, activation="relu", name="second")(x))
    model = keras.Model(clip, layers.Dense(3, name="logits")(x))
    for layer in model.layers:
        layer.set_weights([wave(weight.shape) for weight in layer.get_weights()])
    return model, 5 + 5 * wave((1, *shape), 0.7)


def wave(shape, step=1.3):
    return np.sin(1 + step * np.arange(np.prod(shape))).reshape(shape).astype("float32")
