import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from known_models import Counting, linear, red, red_blob
from small_models import small_model

from har_tf import devices
from har_tf.explain import changed
from har_tf.explain.perturbed import Perturbed, sums


def by_share(size, shared, rows):
    """All pixels alike, by rows[0] (M,), times what is shared (T, H, W)."""
    return rows[0][:, None, None, None] * shared[0]


SHARES, EVERYWHERE = np.array([0, 0.25, 1], "float32"), np.ones((1, 2, 2), "float32")


def test_pixels_are_mixed_with_the_fill_and_rounded_for_models_of_whole_numbers():
    weights = [[[1, 10], [100, 1000]]]
    clip = np.array([1, 2, 3, 4]).reshape(1, 1, 2, 2, 1)
    asked = Perturbed(linear(weights), clip, class_index=1, fill=0)
    np.testing.assert_allclose(asked.scores(0, by_share, [SHARES], [EVERYWHERE]), [4321, 0.75 * 4321, 0], rtol=1e-6)
    upper = np.array([[[1, 1], [0, 0]]], "float32")
    np.testing.assert_allclose(asked.scores(0, by_share, [SHARES], [upper])[2], 4300, rtol=1e-6)
    whole = keras.Input((1, 2, 2, 1), dtype="uint8")
    model = keras.Model(whole, linear(weights)(layers.Rescaling(1.0)(whole)))
    asked = Perturbed(model, clip, class_index=1, fill=0)
    # 0.75, 1.5, 2.25 and 3 become 1, 2, 2 and 3.
    np.testing.assert_allclose(asked.scores(0, by_share, [SHARES], [EVERYWHERE]), [4321, 3221, 0], rtol=1e-6)


def test_scores_are_logits_or_probabilities_of_the_explained_class():
    model, clip = linear([[[1.0, 1]]], softmax=True), np.array([1.0, -0.5]).reshape(1, 1, 1, 2, 1)
    rows = [np.array([0, 1], "float32")], [np.ones((1, 1, 2), "float32")]
    logit = Perturbed(model, clip, fill=2)
    assert (logit.class_index, logit.score_of) == (1, "logit")
    np.testing.assert_allclose(logit.scores(0, by_share, *rows), [0.5, 4], rtol=1e-6)
    probability = Perturbed(model, clip, 0, fill=2, score="probability")
    np.testing.assert_allclose(probability.scores(0, by_share, *rows), 1 / (1 + np.exp([0.5, 4])), rtol=1e-5)
    assert probability.score == probability.probability and probability.score_of == "probability"


def test_batches_have_one_size_and_count_what_is_done(monkeypatch):
    monkeypatch.setattr(changed, "_VALUES_AT_ONCE", 12)  # three clips of four values
    model, counts = Counting(np.ones(4)), []
    asked = Perturbed(model, np.ones((1, 1, 2, 2, 1), "float32"), batch_size=32)
    assert asked.batch_size == 3
    asked.scores(0, by_share, [np.zeros(8, "float32")], [EVERYWHERE], counts.append)
    model.seen.assign(0)
    asked.scores(0, by_share, [np.zeros(8, "float32")], [EVERYWHERE], counts.append)
    assert counts == [3, 3, 2] * 2 and model.seen.numpy() == 9  # one row again


def test_several_devices_give_the_same():
    clip, _ = red_blob(size=(6, 8, 8), corner=(1, 1), side=3)
    keras.utils.set_random_seed(0)
    alone = red(side=8)
    with devices.mirrored(2).scope():
        shared = red(side=8)
    shared.set_weights(alone.get_weights())
    scores = [
        Perturbed(model, clip).scores(
            0, by_share, [np.linspace(0, 1, 5, dtype="float32")], [np.ones(clip.shape[1:4], "float32")]
        )
        for model in (alone, shared)
    ]
    assert np.ptp(scores[0]) > 0.01
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-5)


def test_sums_with_and_without_weights():
    def by_frame(size, shared, rows):
        return tf.broadcast_to(rows[0][:, :, None, None], (tf.shape(rows[0])[0], *size))

    rows = [np.array([[1, 0], [0.5, 1], [0, 1]], "float32")]
    weighted, plain = sums(by_frame, (2, 1, 3), np.array([4.0, 2, -1]), rows, batch_size=2)
    np.testing.assert_allclose(weighted[:, 0], np.repeat([[5.0], [1.0]], 3, axis=1))
    np.testing.assert_allclose(plain[:, 0], np.repeat([[1.5], [2.0]], 3, axis=1))


@pytest.mark.parametrize("clips", [np.ones((1, 2, 2)), np.ones((0, 1, 2, 2, 1))])
def test_other_clips_are_refused(clips):
    with pytest.raises(ValueError, match="clip.*Received: clips of shape"):
        Perturbed(linear([[[1, 1], [1, 1]]]), clips)
    with pytest.raises(ValueError, match="clip.*Received: clips of shape"):
        Perturbed(Counting(np.ones(4)), clips)


def test_layers_that_have_to_know_the_size_do():
    model = small_model("video_swin")
    clips = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:]), np.uint8)
    asked = Perturbed(model, clips, fill=0, score="probability")
    found = asked.scores(0, by_share, [SHARES], [np.ones(asked.size, "float32")])
    made = np.rint(clips * (1 - SHARES[:, None, None, None, None])).astype("uint8")
    np.testing.assert_allclose(found, model.predict(made, verbose=0)[:, asked.class_index[0]], rtol=1e-4)
