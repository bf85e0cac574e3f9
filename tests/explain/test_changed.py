import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from har_tf import devices
from har_tf.explain.answers import answers_of
from har_tf.explain.changed import changed_answers

CLIP = np.arange(8, dtype="uint8").reshape(2, 2, 2, 1)


def adding(dtype="uint8", shape=(2, 2, 2, 1)):
    """The logit of class 1 is the sum of all pixels."""
    clip = keras.Input(shape, dtype=dtype)
    x = layers.Flatten()(layers.Rescaling(1.0)(clip))
    model = keras.Model(clip, layers.Dense(2, name="predictions")(x))
    model.get_layer("predictions").set_weights([np.tile([0, 1], (x.shape[1], 1)), np.zeros(2)])
    return model


def times(clip, factor):
    return tf.cast(clip, tf.float32) * factor[:, None, None, None, None]


def logits(model, factors, clip=CLIP, batch_size=32, advance=None):
    rows = (np.array(factors, np.float32),)
    found, _ = changed_answers(answers_of(model, clip[None]), times, (clip,), rows, batch_size, advance=advance)
    return found[:, 1].tolist()


def test_a_row_an_answer_in_batches_of_one_size():
    sizes = []
    found = logits(adding("float32"), [0, 1, 0.5, 2, 1], CLIP.astype("float32"), 2, advance=sizes.append)
    assert found == [0, 28, 14, 56, 28]
    assert sizes == [2, 2, 1]


def test_whole_numbers_are_rounded_and_cut():
    assert logits(adding(), [0.4]) == [0 + 0 + 1 + 1 + 2 + 2 + 2 + 3]
    assert logits(adding(), [100, -1]) == [0 + 100 + 200 + 5 * 255, 0]


def test_images_are_clips_of_one_frame():
    model = adding(shape=(2, 2, 1))
    answers = answers_of(model, CLIP)
    found = changed_answers(answers, times, (CLIP[:1],), (np.array([1, 2], "float32"),), images=True)
    assert found[0][:, 1].tolist() == [6, 12]


def test_without_a_change_rows_are_clips():
    answers = answers_of(adding(), CLIP[None])
    scores, probabilities = changed_answers(answers, None, (), (np.stack([CLIP, 0 * CLIP]),))
    assert scores[:, 1].tolist() == [28, 0] and probabilities[1].tolist() == [0.5, 0.5]


class OfKnownSizes(layers.Layer):
    """As Video Swin's windows, which are laid out when the graph is traced."""

    def call(self, x):
        assert None not in x.shape[1:]
        return x


def test_the_model_knows_the_sizes_of_changed_clips():
    clip = keras.Input((2, 2, 2, 1))
    model = keras.Model(clip, layers.Dense(2, kernel_initializer="ones")(layers.Flatten()(OfKnownSizes()(clip))))
    assert logits(model, [1, 0.5], CLIP.astype("float32")) == [28, 14]


def test_is_traced_once_for_other_clips_and_any_number_of_rows():
    traces, answers = [], answers_of(adding("float32"), CLIP[None].astype("float32"))

    def change(clip, factor):
        traces.append(factor.shape)
        return times(clip, factor)

    for scale, count in ((1, 1), (2, 5), (3, 2)):
        rows = (np.ones(count, "float32"),)
        found, _ = changed_answers(answers, change, (scale * CLIP.astype("float32"),), rows, batch_size=2)
        assert found[:, 1].tolist() == [28 * scale] * count
    assert len(traces) == 1


def test_two_devices_share_the_rows_and_each_has_the_whole():
    with devices.mirrored(2).scope():
        model = adding("float32")
    assert devices.of(model).num_replicas_in_sync == 2
    assert logits(model, [0, 1, 0.5, 2, 1], CLIP.astype("float32"), 3) == [0, 28, 14, 56, 28]


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size is a whole number"):
        logits(adding(), [1], batch_size=0)
