"""Control maps against values worked out by hand."""

import numpy as np
import pytest

from har_tf.evaluate.controls import (
    CONTROLS,
    centred_gaussian,
    edges,
    frame_difference,
    noise,
    of_another_clip,
    uniform,
)
from har_tf.evaluate.map_rows import Batch


def test_gaussian_stands_in_the_middle_and_follows_the_sides():
    maps = centred_gaussian((2, 3, 5, 9), sigma=0.2)
    assert maps.shape == (2, 3, 5, 9)
    assert maps.dtype == np.float32
    assert maps[1, 2, 2, 4] == maps.max() == 1
    # Pixel centres of 5 lie 0.2 apart, which is one sigma.
    np.testing.assert_allclose(maps[0, 0, :, 4], np.exp([-2, -0.5, 0, -0.5, -2]), rtol=1e-6)
    np.testing.assert_allclose(maps[0, 0, 2, 6], np.exp(-0.5 * (2 / 9 / 0.2) ** 2), rtol=1e-6)
    np.testing.assert_array_equal(maps, maps[..., ::-1, ::-1])


def test_uniform():
    assert uniform((2, 3, 4)).tolist() == np.ones((2, 3, 4)).tolist()


def test_energy_of_a_pixel_that_flashes():
    clip = np.full((4, 2, 3, 3), 100, np.uint8)
    clip[2, 1, 0] = [110, 100, 80]  # changes by 10, 0 and -20: 500, there and back
    energy = frame_difference(clip)
    assert energy.dtype == np.float32
    # Frame 3 has no frame after it; frame 1 has one still neighbour.
    assert energy[:, 1, 0].tolist() == [0, 250, 500, 500]
    energy[:, 1, 0] = 0
    assert not energy.any()


def test_largest_difference_is_exact():
    clip = np.stack([np.zeros((1, 1, 3)), np.full((1, 1, 3), 255)]).astype(np.uint8)
    assert frame_difference(clip).tolist() == [[[3 * 255**2]], [[3 * 255**2]]]


def test_no_motion_has_no_energy():
    assert not frame_difference(np.full((3, 4, 4, 3), 9, np.uint8)).any()
    assert frame_difference(np.full((1, 4, 5, 3), 9, np.uint8)).shape == (1, 4, 5)


@pytest.mark.parametrize(
    "clip", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_what_is_no_clip(clip):
    with pytest.raises(ValueError, match="uint8"):
        frame_difference(clip)


def test_rows_are_made_of_the_clips_alone():
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), dtype=np.uint8)
    batch = Batch(clips)
    gaussian, flat, difference, edge, chance = (row.maps(batch) for row in CONTROLS)
    assert {row.kind for row in CONTROLS} == {"control"}
    assert [row.name for row in CONTROLS if row.needs_motion] == ["Control: frame differences"]
    np.testing.assert_allclose(gaussian, np.broadcast_to(centred_gaussian((8, 12)), (2, 3, 8, 12)))
    assert flat.shape == (2, 3, 8, 12) and np.ptp(flat) == 0
    np.testing.assert_allclose(difference[1], frame_difference(clips[1]))
    np.testing.assert_array_equal(chance[1], noise(clips[1]))
    pictures = Batch(clips[:, 0])
    assert {row.maps(pictures).shape for row in CONTROLS if not row.needs_motion} == {(2, 1, 8, 12)}
    np.testing.assert_array_equal(CONTROLS[3].maps(pictures)[:, 0], edge[:, 0])


def test_an_edge_is_where_the_brightness_steps():
    clip = np.zeros((1, 5, 6, 3), np.uint8)
    clip[:, :, 3:] = 10  # Sobel's weights of a column sum to 4
    assert edges(clip)[0].tolist() == [[0, 0, 40, 40, 0, 0]] * 5


def test_noise_is_that_of_the_clip():
    clip = np.zeros((2, 3, 4, 3), np.uint8)
    found = noise(clip)
    assert found.shape == (2, 3, 4) and 0 <= found.min() < found.max() < 1
    np.testing.assert_array_equal(noise(clip.copy()), found)
    assert (noise(clip + 1) != found).all()


@pytest.mark.parametrize(
    ("groups", "once"),
    [
        (None, True),
        (list("aabbcc"), True),
        (list("aaabbb"), True),
        (list("aaaabc"), False),
        (["a", None, "a", None], True),
    ],
)
def test_no_clip_gets_a_map_of_its_own_recording(groups, once):
    names = list(range(6)) if groups is None else [i if name is None else name for i, name in enumerate(groups)]
    for seed in range(20):
        maps, other = of_another_clip(np.arange(len(names)) * 10, groups, seed)
        assert (maps == other * 10).all()
        assert all(names[i] != names[j] for i, j in enumerate(other))
        assert (len(set(other)) == len(names)) == once


def test_another_clip_of_the_only_recording():
    other = of_another_clip(np.arange(5), ["a"] * 5)[1]
    assert sorted(other) == list(range(5)) and (other != np.arange(5)).all()
    with pytest.raises(ValueError, match="takes two clips. Received: 1"):
        of_another_clip(np.zeros((1, 2)))
