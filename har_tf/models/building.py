"""What the builders of models have in common, from the shape of a clip to published weights."""

import keras
from keras import layers, ops

from har_tf.models.weights.import_weights import import_weights


def check_input_shape(input_shape):
    """(time, height, width, channels) as four positive whole numbers, or a ValueError."""
    shape = tuple(input_shape)
    if len(shape) != 4 or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(f"A clip has the shape (time, height, width, channels). Received: input_shape={input_shape}")
    return shape


def clip_and_frames(input_shape):
    """The input, a uint8 clip, and its frames, with time folded into the batch: (B·T, H, W, C)."""
    _, *frame = check_input_shape(input_shape)
    clip = keras.Input(input_shape, dtype="uint8", name="clip")
    return clip, ops.reshape(clip, (-1, *frame))


def normalized_clip(input_shape, mean, std):
    """The input, a uint8 clip, and what the network gets of it: less the mean of each channel, over its deviation.

    Sizes other than the number of channels may be None.

    Raises:
        ValueError: another number of axes than four, or of channels than of means.
    """
    if len(input_shape) != 4 or input_shape[3] != len(mean):
        raise ValueError(
            f"A clip has the shape (time, height, width, {len(mean)}). Received: input_shape={tuple(input_shape)}"
        )
    clip = keras.Input(input_shape, dtype="uint8", name="clip")
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    return clip, layers.Rescaling([1 / s for s in std], offset, name="preprocess")(clip)


def averaged(x, dropout):
    """The mean of a map (B, t, h, w, C) over all places, (B, C), some of it left out in training."""
    x = layers.GlobalAveragePooling3D(name="avgpool")(x)
    return layers.Dropout(dropout, name="dropout")(x) if dropout else x


def classifier(x, num_classes, name="predictions", **options):
    """Probabilities (B, num_classes) of what stands in front, in float32 also under mixed precision."""
    return layers.Dense(num_classes, activation="softmax", dtype="float32", name=name, **options)(x)


def with_weights(model, weights):
    """The model, filled with the published weights of a file; None: as it is."""
    return model if weights is None else import_weights(model, weights)
