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
