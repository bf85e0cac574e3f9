"""Corruptions: each does what it says, no strength leaves a clip better than the one before, and seeds settle all."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from har_tf.datasets.stick_figures.drawing import Figures, draw
from har_tf.evaluate.corruptions import CORRUPTIONS, STRENGTHS, corrupt

OF_FRAMES = ("dropped frames", "repeated frames", "frame-rate jitter")


@pytest.fixture(scope="module")
def clip():
    return draw("walk_forward", 0, Figures(size=(96, 128), frames=16, clutter=0.6, noise=0)).frames


def error(first, second) -> float:
    """Mean squared error, of which PSNR is the logarithm."""
    return float(np.square(first.astype(float) - second).mean())


def flat(*values, size=(16, 24), frames=2):
    return np.broadcast_to(np.array(values, np.uint8), (frames, *size, 3)).copy()


def numbered(frames):
    """Frame n is n throughout."""
    return np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 2, 2, 3))


def test_there_are_fifteen_of_five_strengths():
    assert len(CORRUPTIONS) == 15
    assert {len(corruption.values) for corruption in CORRUPTIONS.values()} == {len(STRENGTHS)} == {5}


def test_the_table_of_the_documentation_is_theirs():
    text = (Path(__file__).parents[2] / "docs" / "reliance.md").read_text()
    for corruption in CORRUPTIONS.values():
        values = (
            " / ".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in corruption.values
        )
        cells = (corruption.name, ", ".join(values), corruption.unit, corruption.source or "chosen here")
        assert f"| {' | '.join(cells)} |" in text


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_strength_is_worse_than_the_one_before(name, clip):
    seeds = range(8 if name in OF_FRAMES else 2)
    errors = [np.mean([error(corrupt(clip, name, strength, seed), clip) for seed in seeds]) for strength in range(6)]
    assert errors[0] == 0
    assert (np.diff(errors) > 0).all(), errors


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_size_the_same_again_and_the_clip_is_left_alone(name):
    clip = np.random.default_rng(0).integers(0, 256, (7, 33, 47, 3), dtype=np.uint8)
    before = clip.copy()
    first, again = (corrupt(clip, name, 3, seed=(4, 2)) for _ in range(2))
    assert (first.dtype, first.shape) == (np.uint8, clip.shape)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(clip, before)
    drawn = name in (*OF_FRAMES, "noise", "motion blur", "fog", "camera shake")
    assert (corrupt(clip, name, 3, seed=(4, 3)) != first).any() == drawn or name == "rotation"
    one = corrupt(clip[:1], name, 5)
    assert one.shape == (1, 33, 47, 3)


def test_noise_has_its_deviation():
    noisy = corrupt(flat(128, 128, 128, size=(100, 100)), "noise", 2).astype(float)
    assert noisy.std() == pytest.approx(0.12 * 255, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.5)


def test_light():
    # A stop is half the light: 200 * (1 / 2) ** (1 / 2.2) = 145.95; four stops leave a sixteenth: 56.7.
    assert corrupt(flat(200, 200, 200), "dark", 1)[0, 0, 0].tolist() == [146] * 3
    assert corrupt(flat(200, 200, 200), "dark", 4)[0, 0, 0].tolist() == [57] * 3
    # 0.1 of full scale on the largest, 200: 225.5; the others keep their ratio to it.
    assert corrupt(flat(200, 100, 40), "bright", 1)[0, 0, 0].tolist() == pytest.approx([225.5, 112.75, 45.1], abs=0.6)
    assert corrupt(flat(250, 125, 0), "bright", 5)[0, 0, 0].tolist() == pytest.approx([255, 127.5, 0], abs=0.6)


def test_contrast_is_lost_about_the_mean_of_the_clip():
    halves = flat(0, 0, 0)
    halves[:, :, 12:] = 200
    assert np.unique(corrupt(halves, "contrast", 1)).tolist() == [60, 140]  # 0.4 of 100 to either side of 100


def test_blurs_spread_a_point_as_far_as_they_say():
    point = np.zeros((1, 224, 224, 3), np.uint8)
    point[0, 112, 112] = 255
    rows, columns = (np.arange(224) - 112 for _ in range(2))

    def spread(name, strength, seed=0):
        light = corrupt(point, name, strength, seed)[0, ..., 0].astype(float)
        return light.max(), (light.sum(axis=0) > 0).sum(), (light.sum(axis=1) > 0).sum(), light

    top, *_ = spread("blur", 1)  # 1 / (2 pi) of it
    assert top == pytest.approx(255 / (2 * np.pi), abs=1.5)
    top, wide, high, light = spread("defocus", 1)  # a disc of radius 3 holds 28.3 pixels
    assert (top, wide, high) == (9, 7, 7)
    assert light[112, 112 - 3] > 0
    assert light[112 - 3, 112 - 3] == 0
    for seed in range(4):
        _, wide, high, light = spread("motion blur", 1, seed)
        assert wide > high  # at most 45 degrees from level
        assert wide <= 2 * 10 + 3
        assert abs((light.sum(axis=0) * columns).sum() / light.sum()) < 1  # to both sides
        assert abs((light.sum(axis=1) * rows).sum() / light.sum()) < 1
    half = np.zeros((1, 112, 112, 3), np.uint8)
    half[0, 56, 56] = 255
    blurred = corrupt(half, "defocus", 3)[0, ..., 0]  # 6 pixels of 224 are 3 of 112
    assert (blurred.max(), (blurred.sum(axis=0) > 0).sum()) == (9, 7)


@pytest.mark.parametrize("name", ["jpeg", "h264"])
def test_coding_keeps_colours_in_their_channels(name):
    coded = corrupt(flat(200, 60, 20, size=(32, 48), frames=4), name, 1)
    assert np.abs(coded.astype(int) - [200, 60, 20]).max() <= 8


def test_frames_that_are_lost():
    # Of 10 frames 5 are lost: each shows the frame before, or what that shows.
    shown = corrupt(numbered(10), "repeated frames", 4)[:, 0, 0, 0].astype(int)
    assert shown[0] == 0
    assert (shown == np.arange(10)).sum() == 5
    assert all(shown[t] in (t, shown[t - 1]) for t in range(1, 10))
    # The 5 that are left stand for 2 each, from the first of them to the last.
    shown = corrupt(numbered(10), "dropped frames", 4)[:, 0, 0, 0].astype(int)
    assert shown[0] == 0
    left, times = np.unique(shown, return_counts=True)
    assert (len(left), set(times)) == (5, {2})
    assert (np.diff(shown) >= 0).all()
    # A stronger corruption loses the same frames and others.
    lost = [
        set(np.flatnonzero(corrupt(numbered(10), "repeated frames", s)[:, 0, 0, 0] != np.arange(10))) for s in STRENGTHS
    ]
    assert [len(frames) for frames in lost] == [1, 2, 4, 5, 7]
    assert all(few < more for few, more in pairwise(lost))


def test_jitter_keeps_the_order_and_moves_frames_as_far_as_it_says():
    shown = corrupt(numbered(200), "frame-rate jitter", 5)[:, 0, 0, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert len(np.unique(shown)) < 200
    assert np.abs(shown - np.arange(200)).max() <= 4 * 3


def test_rotation_is_about_the_middle_and_the_same_in_all_frames():
    clip = np.zeros((3, 101, 101, 3), np.uint8)
    clip[:, 48:53, 68:73] = 255  # 20 to the right of the middle
    for seed in range(4):
        turned = corrupt(clip, "rotation", 4, seed)
        np.testing.assert_array_equal(turned[0], turned[2])
        y, x = (np.average(axis, weights=turned[0, ..., 0]) - 50 for axis in np.mgrid[:101, :101])
        assert (x, abs(y)) == pytest.approx((20 * np.cos(np.pi / 6), 10), abs=0.3)


def test_shake_moves_every_frame_otherwise():
    clip = np.zeros((40, 100, 100, 3), np.uint8)
    clip[:, 48:53, 48:53] = 255
    shaken = corrupt(clip, "camera shake", 3)[..., 0].astype(float)
    axes = np.mgrid[:100, :100]
    y, x = ([np.average(axis, weights=frame) - 50 for frame in shaken] for axis in axes)
    for path in (x, y):
        assert np.std(path) == pytest.approx(3, rel=0.5)  # 0.03 of 100 pixels
        assert np.std(np.diff(path)) < 1.3 * np.std(path)  # of white noise 1.41


def test_fog_is_a_cloud_that_stands_still():
    fogged = corrupt(flat(200, 200, 200, size=(64, 64)), "fog", 3)
    np.testing.assert_array_equal(fogged[0], fogged[1])
    # (c + 2.5 layer) c / (c + 2.5) with c = 200 / 255: 47.8 of 255 where the layer is 0, and c where it is 1.
    assert (fogged.min(), fogged.max()) == (48, 200)
    assert 80 < fogged.mean() < 170


@pytest.mark.parametrize(
    ("clip", "name", "strength", "words"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "noise", 1, "uint8"),
        (np.zeros((4, 4, 3), np.uint8), "noise", 1, "T, H, W"),
        (np.zeros((2, 4, 4, 3), np.uint8), "snow", 1, "'snow'"),
        (np.zeros((2, 4, 4, 3), np.uint8), "noise", 6, "0 to 5"),
    ],
)
def test_what_cannot_be_corrupted(clip, name, strength, words):
    with pytest.raises(ValueError, match=words):
        corrupt(clip, name, strength)
