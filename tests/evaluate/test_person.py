"""Holes, fills and backgrounds, worked out by hand."""

from itertools import pairwise

import numpy as np
import pytest

from har_tf.evaluate import person


def test_boxes_cover_what_they_touch_and_stand_for_frames_without():
    masks = person.masks_of(
        {1: np.array([[1.5, 0, 3, 1.2]]), 3: np.array([[-2, 2, 1, 9]]), 4: np.empty((0, 4))}, (5, 4, 6)
    )
    first = np.zeros((4, 6), bool)
    first[0:2, 1:3] = True
    second = np.zeros((4, 6), bool)
    second[2:4, 0:1] = True
    # Frame 2 is as near to 1 as to 3: the earlier one.
    np.testing.assert_array_equal(masks, [first, first, first, second, second])
    assert person.masks_of({}, (5, 4, 6)) is None
    assert person.masks_of({0: np.empty((0, 4))}, (5, 4, 6)) is None


def test_a_hole_does_not_tell_how_the_person_moved():
    masks = np.zeros((3, 8, 12), bool)
    masks[0, 4:8, 0:2] = masks[1, 3:7, 1:3] = masks[2, 2:6, 2:4] = True  # steps
    masks[:, 0, 11] = True  # somebody else, far away
    hole = np.zeros((8, 12), bool)
    hole[2:8, 0:4] = hole[0, 11] = True
    np.testing.assert_array_equal(person.hole_of(masks), hole)


def test_rectangles_that_grow_into_each_other_become_one():
    masks = np.zeros((1, 6, 6), bool)
    masks[0, 0, 0:5] = masks[0, 0:5, 0] = True  # its rectangle covers what was apart
    masks[0, 4, 4] = True
    masks[0, 4, 5] = True
    hole = np.zeros((6, 6), bool)
    hole[:5, :6] = True
    np.testing.assert_array_equal(person.hole_of(masks), hole)


def test_the_hole_elsewhere_is_as_large_and_covers_something_else():
    hole = np.zeros((16, 16), bool)
    hole[4:12, 0:4] = True
    moved = person.elsewhere(hole)
    assert moved.sum() == hole.sum()
    assert not (moved & hole).any()
    assert moved[4:12, 4:8].all()  # the nearest to where it was, in whole
    large = np.zeros((16, 16), bool)
    large[:, 2:14] = True  # three quarters: half of the frame cannot but be covered again
    assert (person.elsewhere(large) & large).sum() == 16 * 8
    assert person.elsewhere(np.ones((4, 4), bool)).all()


@pytest.mark.parametrize("fill", person.FILLS)
def test_what_was_in_the_hole_is_gone(fill):
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    hole = np.zeros((24, 32), bool)
    hole[4:20, 6:20] = True
    other = clip.copy()
    other[:, hole] = rng.integers(0, 256, (2, hole.sum(), 3))
    done = person.filled(clip, hole, fill)
    np.testing.assert_array_equal(done, person.filled(other, hole, fill))
    np.testing.assert_array_equal(done[:, ~hole], clip[:, ~hole])
    plain = np.full((1, 24, 32, 3), [10, 90, 200], np.uint8)
    plain[:, hole] = 0
    least = 4 if fill == "inpaint" else 0  # OpenCV's rounds on the way
    assert np.abs(person.filled(plain, hole, fill).astype(int) - [10, 90, 200]).max() <= least
    np.testing.assert_array_equal(person.filled(clip, np.zeros_like(hole), fill), clip)
    assert (person.filled(clip, np.ones_like(hole), fill) == 128).all()


def test_the_mean_is_of_the_clip_and_blur_of_what_is_near():
    clip = np.zeros((2, 16, 64, 3), np.uint8)
    clip[0, :, 32:] = 200
    hole = np.zeros((16, 64), bool)
    hole[:, 30:34] = True
    assert (person.filled(clip, hole, "mean")[:, hole] == 50).all()  # 200 in half of one of two frames
    blurred = person.filled(clip, hole, "blur")[0, 8, 28:36, 0]
    assert blurred[2] < 60
    assert blurred[5] > 140
    assert (np.diff(blurred.astype(int)) >= 0).all()


def test_person_in_front_of_a_picture():
    clip = np.full((2, 2, 3, 3), 7, np.uint8)
    masks = np.zeros((2, 2, 3), bool)
    masks[0, 0, 0] = masks[1, 1, 2] = True
    background = np.full((2, 3, 3), 99, np.uint8)
    shown = person.on_background(clip, masks, background)[..., 0]
    assert shown.tolist() == [[[7, 99, 99], [99, 99, 99]], [[99, 99, 99], [99, 99, 7]]]


def test_stripes_are_a_colour_and_its_complement():
    pictures = [person.stripes((96, 128), np.random.default_rng(seed)) for seed in range(6)]
    for picture in pictures:
        colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        assert len(colours) == 2
        assert np.abs(colours.astype(int).sum(axis=0) - 255).max() <= 1
        assert counts.min() / counts.sum() > 0.2
    assert any((a != b).any() for a, b in pairwise(pictures))
