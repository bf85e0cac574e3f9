"""A network with BatchNormalization and dropout, trained on clips of random numbers, by whichever engine Keras has."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from har_tf import devices, pipeline, training

CLIPS, BATCH, EPOCHS = 52, 16, 3


class Killed(BaseException):
    """Raised in the middle of an epoch, where a kill would leave only what is on disk."""


def network(dropout: float) -> keras.Model:
    clip = keras.Input((4, 8, 8, 3), dtype="uint8", name="clip")
    x = layers.Conv3D(4, 3, padding="same", use_bias=False)(layers.Rescaling(1 / 255)(clip))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling3D()(x))
    return keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(x))


def batches(**options):
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (CLIPS, 4, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(CLIPS) % 3
    clips[labels == 1] //= 2  # something to learn

    def read(order):
        return tf.gather(tf.constant(clips), order), tf.gather(tf.constant(labels, tf.int32), order)

    options = {"training": False, "seed": 5, "epochs": None, "skip": 0} | options
    return pipeline.passes(CLIPS, read, BATCH, **options)


def trained(
    folder: Path, kind: str = "one", start: Path | None = None, dropout: float = 0.0, killed_in: int | None = None
) -> tuple[keras.Model, training.History]:
    """A model that starts from the weights of a file, else from those of a seed, and what was measured.

    With `killed_in` it ends with `Killed` in the middle of that epoch, counted from 0.
    """
    devices.begin(kind)
    devices.seed_everything(1, None)
    model = network(dropout)
    if start is not None:
        model.load_weights(start)
    on_batch = training._State.on_train_batch_end

    def killing(state, batch, logs=None):
        on_batch(state, batch, logs)
        if len(state.history.epochs.get("loss", ())) == killed_in and batch == 1:
            raise Killed

    training._State.on_train_batch_end = killing
    try:
        recipe = training.TrainingRecipe(EPOCHS, 0.01, schedule="cosine", warmup_epochs=1, weight_decay=0.01)
        history = training.fit(
            model, lambda epochs: batches(training=True, epochs=epochs), batches(), recipe, folder, verbose=0
        )
    finally:
        training._State.on_train_batch_end = on_batch
    return model, history
