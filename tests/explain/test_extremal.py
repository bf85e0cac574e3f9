import keras
import numpy as np
import pytest
from keras import layers, ops
from known_models import Counting, linear, red, red_blob

from har_tf.explain.extremal import _smooth_maximum, extremal, extremal_frames

# Logit 3 + 4 for frame 2 + 8 for frame 6 - 2 for frame 0, of clips of ones.
WEIGHTS = np.zeros((8, 2, 2))
WEIGHTS[[2, 6, 0]] = np.reshape([1, 2, -0.5], (3, 1, 1))
CLIP = np.ones((1, 8, 2, 2, 1), "float32")


def test_the_frames_that_suffice():
    found = extremal_frames(linear(WEIGHTS, bias=3), CLIP, 1, fill=0)
    # 0.05 and 0.1 of 8 frames are one; 0.2 two; 0.4 three; 0.6 and 0.8 five and six.
    assert found.frames.tolist() == [1, 2, 3, 5, 6]
    assert np.flatnonzero(found.chosen[0, 0]).tolist() == [6]
    assert np.flatnonzero(found.chosen[0, 1]).tolist() == [2, 6]
    assert found.chosen.sum(axis=2).tolist() == [[1, 2, 3, 5, 6]]
    assert not found.chosen[0, :, 0].any()  # it speaks against the class
    np.testing.assert_allclose(found.scores, [[11, 15, 15, 15, 15]])
    assert (found.whole, found.filled) == (13, 3)
    assert found.share == 2 / 8  # of one frame 8 of the 10 are left, less than 0.9 of them
    assert extremal_frames(linear(WEIGHTS, bias=3), CLIP, 1, fill=0, enough=0.8).share == 1 / 8


def test_the_frames_without_which_it_is_gone():
    found = extremal_frames(linear(WEIGHTS, bias=3), CLIP, 1, fill=0, goal="delete")
    assert np.flatnonzero(found.chosen[0, 1]).tolist() == [2, 6]
    np.testing.assert_allclose(found.scores, [[5, 1, 1, 1, 1]])
    assert found.share == 2 / 8


def test_two_frames_of_which_either_suffices():
    """Deleting takes both, keeping one of them."""

    class Either(keras.Model):
        def call(self, x, training=False):
            logit = ops.maximum(x[:, 1, 0, 0], x[:, 5, 0, 0])
            return ops.softmax(ops.concatenate([0 * logit, logit], axis=1))

    clip = np.ones((1, 6, 1, 1, 1), "float32")
    clip[0, 5] = 1.01
    options = {"class_index": 1, "fill": 0, "areas": (1 / 6, 2 / 6), "steps": 50}
    assert extremal_frames(Either(), clip, **options).share == 1 / 6
    assert extremal_frames(Either(), clip, goal="delete", **options).share == 2 / 6


def test_nothing_to_preserve_where_the_fill_is_no_worse():
    assert np.isnan(extremal_frames(linear(-WEIGHTS), CLIP, 1, fill=0, steps=2).share)


def test_the_map_is_the_mean_of_the_masks_and_where_the_blob_is_in_time():
    (clip, _), model = red_blob(), red()
    found, frames = extremal(model, clip, normalize=None, steps=50), extremal_frames(model, clip, steps=50)
    np.testing.assert_allclose(found.maps[0, :, 5, 7], frames.masks[0].mean(axis=0))
    assert np.ptp(found.maps, axis=(2, 3)).max() == 0
    assert sorted(found.maps[0, :, 0, 0].argsort()[-2:]) == [2, 3]
    assert frames.share == 2 / 6
    np.testing.assert_array_equal(extremal(model, clip, normalize=None, steps=50).maps, found.maps)


def test_passes():
    model = Counting(WEIGHTS)
    options = {"class_index": 1, "fill": 0, "steps": 3, "batch_size": 40}
    extremal(model, CLIP, **options)
    model.seen.assign(0)
    found = extremal(model, CLIP, **options)
    assert found.settings["backward_passes"] == 3 * 5
    assert model.seen.numpy() == found.settings["passes"] == 3 * 5 + 5 + 2


def test_smooth_maximum_is_about_the_largest_value_under_the_kernel():
    kernel = np.array([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]], "float32")
    found = _smooth_maximum(np.array([[1, 0, 0]], "float32"), kernel).numpy()
    np.testing.assert_allclose(found, [[1, 0.5, 0]], atol=1e-3)


def test_a_model_that_no_gradient_passes_is_refused():
    clip = keras.Input((4, 2, 2, 1))
    model = keras.Model(clip, layers.Dense(2)(layers.Flatten()(ops.stop_gradient(clip))))
    with pytest.raises(ValueError, match="no gradient reaches the pixels"):
        extremal(model, np.ones((1, 4, 2, 2, 1)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"areas": (0.5, 1)}, "areas lie between 0 and 1"),
        ({"areas": ()}, "areas lie between"),
        ({"steps": 0}, "steps is at least 1"),
        ({"enough": 0}, "enough lies in"),
        ({"goal": "both"}, "goal is one of 'preserve', 'delete'"),
    ],
)
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        extremal(linear(WEIGHTS), CLIP, **options)
    with pytest.raises(ValueError, match="two frames or more"):
        extremal(linear(WEIGHTS[:1]), CLIP[:, :1])
