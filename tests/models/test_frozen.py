"""Where the frozen part of a model ends, and that what is behind it is the same model on stored numbers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from har_tf.models.frozen import front_of, head_of

CLIP = (4, 6, 6, 3)


def clips(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *CLIP), dtype=np.uint8)


def network(frozen=("conv", "norm"), between=None):
    """Frames folded into the batch, a convolution, BatchNorm, the mean over places, `between`, a classifier."""
    keras.utils.set_random_seed(0)
    clip = keras.Input(CLIP, dtype="uint8", name="clip")
    x = ops.reshape(layers.Rescaling(1 / 255)(clip), (-1, *CLIP[1:]))
    x = layers.Conv2D(5, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = ops.reshape(x, (-1, CLIP[0], 5))
    x = between(x) if between else x
    x = layers.GlobalAveragePooling1D(name="time")(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x), name="network")
    for layer in model.layers:
        layer.trainable = layer.name not in frozen
    return model


@pytest.mark.parametrize(
    ("frozen", "between", "places"),
    [
        (("conv", "norm"), None, {"time": (0, 5)}),
        (("conv", "norm"), layers.Dropout(0.5), {"reshape": (0, 20)}),
        (("conv", "norm"), layers.GRU(3, return_sequences=True), {"reshape": (0, 20)}),
        # Its statistics would change; the frames of a clip lie in the batch.
        (("conv",), None, {"conv": (0, 4 * 4 * 4 * 5)}),
        (("norm",), None, None),  # in front of it everything is trained
        ((), None, None),
        (("conv", "norm", "predictions"), None, None),  # nothing is
    ],
)
def test_the_front_ends_where_training_begins(frozen, between, places):
    model = network(frozen, between)
    front = front_of(model)
    if places is None:
        assert front is None
        return
    assert front.places == places
    head = head_of(front, front, "features_network")
    stored = front.network(clips()).numpy()
    assert stored.shape == (3, places[list(places)[-1]][1]) and stored.dtype == np.float32
    np.testing.assert_allclose(head({"features_network": stored[:, None]}), model(clips()), atol=1e-6)
    assert [id(w) for w in head.trainable_weights] == [id(w) for w in model.trainable_weights]


def test_of_several_ends_a_model_takes_those_it_reads():
    def ended(*names):
        """Two branches behind a frozen convolution, of which a model may read one."""
        keras.utils.set_random_seed(0)
        clip = keras.Input(CLIP, dtype="uint8", name="clip")
        frozen = layers.Conv3D(2, 3, name="conv", trainable=False)(layers.Rescaling(1 / 255)(clip))
        ends = {
            "maximum": layers.GlobalMaxPooling3D(name="maximum")(frozen),
            "mean": layers.GlobalAveragePooling3D(name="mean")(frozen),
        }
        read = [layers.Dense(2, name=f"of_{name}")(ends[name]) for name in names]
        x = layers.Add()(read) if len(read) > 1 else read[0]
        return keras.Model(clip, layers.Softmax(name="predictions")(x))

    wide, narrow = ended("maximum", "mean"), ended("mean")
    stored, front = front_of(wide), front_of(narrow)
    assert sorted(stored.places) == ["maximum", "mean"] and list(front.places) == ["mean"]
    head = head_of(front, stored, "features_wide")
    numbers = stored.network(clips()).numpy()[:, None]
    np.testing.assert_allclose(head({"features_wide": numbers}), narrow(clips()), atol=1e-6)
    with pytest.raises(ValueError, match="reads maximum. Received: what is stored has mean"):
        head_of(stored, front, "features_narrow")


def test_how_a_front_is_joined_is_told_wherever_it_is_made():
    def pooled(pool):
        clip = keras.Input(CLIP, dtype="uint8")
        x = layers.Conv3D(2, 3, name="conv", trainable=False)(layers.Rescaling(1 / 255)(clip))
        x = pool(x, axis=(1, 2, 3))
        return front_of(keras.Model(clip, layers.Dense(2)(x))).wiring

    assert pooled(ops.mean) == pooled(ops.mean) != pooled(ops.max)
