"""Models whose explanation is known: `from known_models import ...`."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def linear(weights, bias=0.0, softmax=False) -> keras.Model:
    """Of clips (B, T, H, W, 1): the logit of class 1 is the sum of weights (T, H, W) times pixels plus the bias."""
    weights = np.asarray(weights, "float32")
    clip = keras.Input((*weights.shape, 1), name="clip")
    head = layers.Dense(2, "softmax" if softmax else None, name="predictions")
    model = keras.Model(clip, head(layers.Flatten(name="flatten")(clip)), name="linear")
    head.set_weights([np.stack([0 * weights.ravel(), weights.ravel()], axis=1), np.array([0, bias])])
    return model


def red(frames=6, side=24) -> keras.Model:
    """Of uint8 clips: class 1 is how much of the clip is red."""
    clip = keras.Input((frames, side, side, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255, name="rescale")(clip)
    conv = layers.Conv3D(1, 1, activation="relu", name="conv")
    x = layers.GlobalAveragePooling3D(name="pool")(conv(x))
    head = layers.Dense(2, "softmax", name="predictions")
    model = keras.Model(clip, head(x), name="red")
    conv.set_weights([np.reshape([1.0, -0.5, -0.5], (1, 1, 1, 3, 1)), np.array([-0.2])])
    head.set_weights([np.array([[0.0, 60.0]]), np.zeros(2)])
    return model


def red_blob(frames=(2, 3), corner=(4, 14), side=6, size=(6, 24, 24)) -> tuple[np.ndarray, np.ndarray]:
    """A grey uint8 clip (1, T, H, W, 3) with a red square in some frames, and where it is, bool (T, H, W)."""
    clip = np.full((1, *size, 3), 90, "uint8")
    place = np.zeros(size, bool)
    place[list(frames), corner[0] : corner[0] + side, corner[1] : corner[1] + side] = True
    clip[0, place] = 250, 20, 20
    return clip, place


class Counting(keras.Model):
    """A linear model without a graph that can be traced; it counts the clips that it answers."""

    def __init__(self, weights):
        super().__init__()
        self.kernel = tf.constant(np.reshape(weights, (-1, 1)), tf.float32)
        self.seen = tf.Variable(0, trainable=False)

    def call(self, x, training=False):
        self.seen.assign_add(tf.shape(x)[0])
        logit = tf.reshape(tf.cast(x, tf.float32), (tf.shape(x)[0], -1)) @ self.kernel
        return tf.concat([0 * logit, logit], axis=1)


class Squares(Counting):
    """Of clips of 24 values: the logit of class 1 is the sum of cos(i) x_i^2, plus 2 x_5 x_23."""

    def __init__(self):
        super().__init__(np.cos(np.arange(24)))

    def call(self, x, training=False):
        flat = tf.reshape(x, (-1, 24))
        return super().call(flat**2) + 2 * (flat[:, 5] * flat[:, 23])[:, None] * [[0.0, 1.0]]
