import keras
import numpy as np
import pytest
from keras import layers

from har_tf.evaluate.perturbation import (
    by_neighbours,
    checked_maps,
    clip_filled,
    clips_of,
    in_order,
    leaving,
    rng_of,
    shares,
)


def rng():
    return np.random.default_rng(0)


def test_shares_are_as_even_as_whole_pixels_allow():
    assert shares((2, 2, 2), "both", 4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (shares((1, 2, 5), "space", 4) * 10).tolist() == [0, 2, 5, 8, 10]  # 2.5 and 7.5 to the even number
    assert shares((3, 9, 9), "time", 20).tolist() == [0, 1 / 3, 2 / 3, 1], "no more steps than frames"


def test_the_most_salient_leave_first():
    saliency = np.array([[[8, 1], [2, 7]], [[4, 3], [6, 5.0]]])
    assert leaving(saliency, "both", 4, rng()).tolist() == [[[0, 3], [3, 0]], [[2, 2], [1, 1]]]
    assert leaving(saliency, "space", 4, rng()).tolist() == [[[0, 3], [2, 1]], [[2, 3], [0, 1]]]
    assert leaving(saliency, "space", 2, rng()).tolist() == [[[0, 1], [1, 0]], [[1, 1], [0, 0]]]
    # Means are 4.5, and 4.5 of the second frame, of which one is enlarged.
    assert leaving(saliency + np.array([[[0]], [[1]]]), "time", 20, rng()).tolist() == [[[1]], [[0]]]


def test_every_step_takes_as_many_as_it_should_and_the_order_is_that_of_argsort():
    saliency = rng().normal(size=(3, 7, 5)).astype(np.float32)
    for axis, pixels in (("both", 105), ("space", 35)):
        steps = leaving(saliency, axis, 8, rng()).reshape(-1, pixels)
        ends = np.rint(np.arange(9) * pixels / 8)
        for values, found in zip(saliency.reshape(-1, pixels), steps, strict=True):
            ranks = (-values).argsort().argsort()
            np.testing.assert_array_equal(found, np.searchsorted(ends, ranks, "right") - 1)


@pytest.mark.parametrize("axis", ["both", "space"])
def test_equal_pixels_leave_in_a_drawn_order(axis):
    """A uniform map is no sweep from top to bottom, and those without evidence come after all others."""
    uniform = leaving(np.ones((4, 20, 20), np.float32), axis, 10, rng())
    assert (np.bincount(uniform.ravel()) == 160).all()
    for half in (uniform[:, :10], uniform[:, 10:], uniform[:, :, :10]):
        assert half.mean() == pytest.approx(4.5, abs=0.5)
    sparse = np.zeros((4, 20, 20), np.float32)
    sparse[:, 3, 4:9] = np.arange(5, 0, -1)  # 20 of 1,600
    found = leaving(sparse, axis, 10, rng())
    assert (found[:, 3, 4:9] == 0).all()
    assert (np.bincount(found.ravel()) == 160).all() and found[:, 10:].mean() == pytest.approx(4.5, abs=0.5)
    assert (leaving(sparse, axis, 10, rng()) == found).all()
    assert (leaving(sparse, axis, 10, np.random.default_rng(1)) != found).any()


def test_equal_frames_leave_in_a_drawn_order():
    orders = [
        leaving(np.full((6, 4, 4), 0.3, "float32"), "time", 6, np.random.default_rng(i)).ravel() for i in range(9)
    ]
    assert all(sorted(order) == [0, 1, 2, 3, 4, 5] for order in orders)
    assert len({tuple(order) for order in orders}) > 5


def test_random_numbers_are_of_the_clip_and_the_seed():
    clip, other = np.zeros((2, 4, 4, 3), "uint8"), np.ones((2, 4, 4, 3), "uint8")
    draws = [rng_of(each, seed).random() for each, seed in ((clip, 0), (clip.copy(), 0), (clip, 1), (other, 0))]
    assert draws[0] == draws[1] and len(set(draws)) == 3


def test_fills_leave_nothing_but_what_they_say():
    clip = rng().integers(0, 256, (5, 20, 30, 3), np.uint8)
    clip[..., 2] = 7
    mean = clip_filled(clip, "mean", 0)
    assert mean.dtype == np.uint8 and (mean == np.rint(clip.mean(axis=(0, 1, 2)))).all()
    noise = clip_filled(clip, "noise", 0)
    assert noise.dtype == np.uint8 and (noise[..., 2] == 7).all()
    assert noise[..., 0].mean() == pytest.approx(clip[..., 0].mean(), abs=3)
    assert (noise == clip_filled(clip.copy(), "noise", 0)).all() and (noise != clip_filled(clip, "noise", 1)).any()
    blur = clip_filled(clip, "blur", 0)
    assert blur.dtype == np.uint8 and blur.shape == clip.shape and blur[..., 0].std() < clip[..., 0].std() / 4
    assert (clip_filled(clip, "neighbour", 0) == clip[2]).all()
    assert clip_filled(clip / np.float32(255), "noise", 0).dtype == np.float32


def test_what_is_missing_is_filled_and_the_rest_untouched():
    clip, filled = np.arange(8).reshape(2, 2, 2, 1), np.full((2, 2, 2, 1), 9)
    leaves = np.array([[[[0, 1], [2, 3]], [[3, 2], [1, 0]]]], np.uint8)
    rows = np.zeros(3, int), np.array([1, 3, 1], np.uint8), np.array([False, False, True])
    found = in_order(clip, filled, leaves, *rows).numpy()[..., 0]
    assert found[0].tolist() == [[[9, 1], [2, 3]], [[4, 5], [6, 9]]]
    assert found[1].tolist() == [[[9, 9], [9, 3]], [[4, 9], [9, 9]]]
    assert found[2].tolist() == [[[0, 9], [9, 9]], [[9, 9], [9, 7]]]
    frames = in_order(clip, filled, np.array([[[[1]], [[0]]]], np.uint8), *(row[:1] for row in rows)).numpy()
    assert frames[0, ..., 0].tolist() == [[[0, 1], [2, 3]], [[9, 9], [9, 9]]]


def test_a_missing_frame_is_the_nearest_that_is_there_of_two_the_earlier():
    clip = np.arange(5).reshape(5, 1, 1, 1)
    leaves = np.array([[2, 4, 0, 1, 3]], np.uint8)[..., None, None]
    rows = np.zeros(4, int), np.array([1, 2, 3, 2], np.uint8), np.array([False, False, False, True])
    found = by_neighbours(clip, clip, leaves, *rows).numpy().reshape(4, 5)
    assert found.tolist() == [[0, 1, 1, 3, 4], [0, 1, 1, 4, 4], [1, 1, 1, 4, 4], [2, 2, 2, 3, 3]]


def test_maps_that_do_not_fit_are_refused():
    clips = np.zeros((2, 3, 4, 5, 3), "uint8")
    bad = np.zeros((2, 3, 4, 5))
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^maps of 'a' are finite, \(2, 3, 4, 5\).*Received: .*, 1 values not finite"):
        checked_maps({"a": bad}, clips, None)
    with pytest.raises(ValueError, match=r"Received: \(2, 3, 5, 4\), 0"):
        checked_maps({"a": np.zeros((2, 3, 5, 4))}, clips, None)
    with pytest.raises(ValueError, match="Received: none"):
        checked_maps({}, clips, None)
    assert checked_maps({"a": np.zeros((2, 4, 5))}, clips[:, :1], None)["a"].shape == (2, 1, 4, 5)


def test_images_are_clips_of_one_frame():
    image = keras.Input((4, 5, 3), dtype="uint8")
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Rescaling(1.0)(image))))
    clips, images = clips_of(model, np.zeros((2, 4, 5, 3)))
    assert clips.shape == (2, 1, 4, 5, 3) and clips.dtype == np.uint8 and images
    with pytest.raises(ValueError, match="takes clips of shape"):
        clips_of(model, np.zeros((2, 4, 6, 3)))
