"""Boxes of contours on maps drawn by hand, and against a threshold at a time."""

import cv2
import numpy as np
import pytest

from har_tf.evaluate import contours
from har_tf.evaluate.boxes import iou
from har_tf.evaluate.contours import contour_boxes

HUNDRED = np.arange(101) / 100


def drawn(text, scale=1.0):
    """A map of one digit a pixel."""
    return np.array([[int(digit) for digit in row] for row in text.split()]) * scale


def boxes(score_map, thresholds):
    """{threshold: sorted boxes}"""
    found = contour_boxes(score_map, np.array(thresholds))
    return {t: sorted(found.boxes[found.threshold == k].tolist()) for k, t in enumerate(thresholds)}


def plain(score_map, thresholds):
    """The same, the obvious way: OpenCV's outer contours at every threshold."""
    found = {}
    for t in thresholds:
        mask = (score_map / max(score_map.max(), 1e-9) > np.float32(t)).astype(np.uint8)
        outlines, parents = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[-2:]
        outer = [outline for n, outline in enumerate(outlines) if parents[0, n, 3] < 0]
        found[t] = sorted([x, y, x + w, y + h] for x, y, w, h in map(cv2.boundingRect, outer))
    return found


def test_rectangle_has_its_own_box_at_every_threshold_but_one():
    score_map = np.zeros((6, 8))
    score_map[1:4, 2:7] = 3
    found = boxes(score_map, HUNDRED)
    assert all(found[t] == [[2, 1, 7, 4]] for t in HUNDRED[:-1])
    assert found[1] == []


def test_two_hills_part_above_the_saddle():
    score_map = drawn("0000000 0940360 0000000")  # a third part: the 4 hangs on the 9, 3 and 6 on each other
    assert boxes(score_map, [0, 0.4, 0.5, 0.7]) == {
        0: [[1, 1, 3, 2], [4, 1, 6, 2]],
        0.4: [[1, 1, 3, 2], [5, 1, 6, 2]],
        0.5: [[1, 1, 2, 2], [5, 1, 6, 2]],
        0.7: [[1, 1, 2, 2]],
    }
    joined = drawn("0000000 0942360 0000000")  # 2 / 9 = 0.22 is the saddle
    assert boxes(joined, [0.2, 0.25]) == {0.2: [[1, 1, 6, 2]], 0.25: [[1, 1, 3, 2], [4, 1, 6, 2]]}


def test_pixels_that_touch_at_corners_are_one_contour():
    assert boxes(drawn("100 010 001"), [0]) == {0: [[0, 0, 3, 3]]}
    assert boxes(drawn("001 010 100"), [0]) == {0: [[0, 0, 3, 3]]}


def test_what_lies_in_a_hole_is_a_contour_and_the_hole_is_none():
    assert boxes(drawn("11111 10001 10101 10001 11111"), [0]) == {0: [[0, 0, 5, 5], [2, 2, 3, 3]]}


def test_contours_end_at_the_border():
    assert boxes(drawn("5000 5000 0005"), [0, 0.99]) == {t: [[0, 0, 1, 2], [3, 2, 4, 3]] for t in (0, 0.99)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 0.1, 1, 7, 1e30])
def test_threshold_is_strict_whatever_the_scale(scale, dtype):
    # 3 of 10 is not above 0.3.
    score_map = np.array([[3, 10, 0, 7]], dtype) * dtype(scale)
    assert boxes(score_map, [0.29, 0.3, 0.31]) == {
        0.29: [[0, 0, 2, 1], [3, 0, 4, 1]],
        0.3: [[1, 0, 2, 1], [3, 0, 4, 1]],
        0.31: [[1, 0, 2, 1], [3, 0, 4, 1]],
    }


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64])
def test_threshold_is_strict_for_other_numbers(dtype):
    assert boxes(np.array([[3, 10]], dtype), [0.29, 0.3]) == {0.29: [[0, 0, 2, 1]], 0.3: [[1, 0, 2, 1]]}


def test_empty_map_has_no_box_even_at_zero():
    found = contour_boxes(np.zeros((4, 5)), HUNDRED)
    assert found.boxes.shape == (0, 4)
    assert found.largest().boxes.shape == (0, 4)
    assert len(contour_boxes(np.full((4, 5), -0.0), HUNDRED).boxes) == 0


def test_uniform_map_is_the_frame_and_one_pixel_a_pixel():
    assert boxes(np.full((4, 5), 0.2), [0, 0.5, 0.99, 1]) == {
        0: [[0, 0, 5, 4]],
        0.5: [[0, 0, 5, 4]],
        0.99: [[0, 0, 5, 4]],
        1: [],
    }
    one = np.zeros((4, 5))
    one[3, 4] = 1e-3
    assert boxes(one, [0, 0.99]) == {t: [[4, 3, 5, 4]] for t in (0, 0.99)}
    assert boxes(np.ones((1, 1)), [0]) == {0: [[0, 0, 1, 1]]}


def test_nothing_is_above_a_threshold_of_one():
    assert boxes(drawn("123"), [1]) == {1: []}


def test_largest_counts_pixels_not_its_box():
    score_map = drawn("100022 010022 001000")  # three on a diagonal, whose box is 3 x 3, and four in a square
    found = contour_boxes(score_map, np.array([0, 0.5])).largest()
    assert found.boxes.tolist() == [[4, 0, 6, 2], [4, 0, 6, 2]]
    assert found.pixels.tolist() == [4, 4]
    assert sorted(found.threshold.tolist()) == [0, 1]


def test_equally_large_contours_are_all_the_largest():
    found = contour_boxes(drawn("22022 00000 00010"), np.array([0])).largest()
    assert sorted(found.boxes.tolist()) == [[0, 0, 2, 1], [3, 0, 5, 1]]


def test_pixels_are_those_of_the_masks():
    score_map = np.random.default_rng(0).random((20, 30))
    found = contour_boxes(score_map, HUNDRED)
    for k in (0, 37, 80):
        above = (np.float32(score_map / score_map.max()) > np.float32(HUNDRED[k])).sum()
        assert found.pixels[found.threshold == k].sum() == above


@pytest.mark.parametrize("kind", ["noise", "steps", "smooth", "ridges"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (17, 13), (40, 64)])
def test_equals_a_threshold_at_a_time(kind, size):
    random = np.random.default_rng(size)
    for _ in range(5):
        if kind == "noise":
            score_map = random.random(size, np.float32)
        elif kind == "steps":  # plateaus
            score_map = random.integers(0, 5, size).astype(np.float32)
        elif kind == "ridges":
            score_map = np.float32(random.random((size[0], 1)) * random.random((1, size[1])))
        else:
            coarse = np.maximum(random.normal(size=(7, 7)), 0).astype(np.float32)
            score_map = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)
        assert boxes(score_map, HUNDRED) == plain(score_map, HUNDRED)


def test_a_view_of_another_array_is_read_alike():
    score_map = np.random.default_rng(1).random((8, 12)).astype(np.float32)
    assert boxes(np.asfortranarray(score_map), HUNDRED) == boxes(score_map, HUNDRED)
    assert boxes(score_map[::-1, ::2], HUNDRED) == boxes(score_map[::-1, ::2].copy(), HUNDRED)


@pytest.mark.parametrize("least", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("kind", ["noise", "steps", "smooth", "islands"])
def test_of_boxes_that_are_asked_for_none_is_left_out(kind, least, monkeypatch):
    """The best IoU at every threshold, where it is large enough; what is left out saves most of the contours."""
    monkeypatch.setattr(contours, "FEW", 0)
    random = np.random.default_rng(3)
    left = whole = 0
    for size in [(1, 1), (9, 1), (17, 14), (33, 40), (33, 40), (40, 64)]:
        score_map = random.random(size, np.float32)
        if kind == "steps":
            score_map = np.round(score_map * 4)
        elif kind == "islands":
            score_map *= score_map > 0.7
        elif kind == "smooth":
            score_map = cv2.resize(np.maximum(random.normal(size=(9, 9)), 0).astype(np.float32), size[::-1])
        corners = np.sort(random.random((2, 2, 2)) * size[::-1], axis=1).reshape(2, 4)
        wanted = np.vstack([corners, [[0, 0, 1, 1]]])
        every, some = contour_boxes(score_map, HUNDRED), contour_boxes(score_map, HUNDRED, near=wanted, least=least)
        best = [np.zeros(101), np.zeros(101)]
        for found, at in zip((every, some), best, strict=True):
            np.maximum.at(at, found.threshold, iou(found.boxes, wanted).max(axis=1, initial=0))
            at[at < least] = 0
        np.testing.assert_array_equal(*best)
        rows = [set(map(tuple, np.column_stack([f.threshold, f.boxes, f.pixels]).tolist())) for f in (every, some)]
        assert rows[1] <= rows[0]
        left, whole = left + len(some.boxes), whole + len(every.boxes)
    assert left < whole
