"""Boxes against areas counted by hand."""

import numpy as np
import pytest

from har_tf.evaluate.boxes import checked_boxes, iou, rescaled


def test_iou_counts_pixels():
    first = [[0, 0, 4, 2], [1, 1, 2, 2]]  # 8 pixels, 1 pixel
    second = [[0, 0, 4, 2], [2, 0, 6, 2], [4, 0, 5, 2]]  # the same, half moved out, touching from outside
    # 4 common of 8 + 8 - 4; the pixel lies in the first only.
    np.testing.assert_allclose(iou(first, second), [[1, 4 / 12, 0], [1 / 8, 0, 0]])
    assert iou(np.zeros((0, 4)), second).shape == (0, 3)


def test_boxes_follow_their_frame():
    # 320 x 240 to 112 x 112: x by 0.35, y by 112 / 240.
    found = rescaled([[0, 0, 320, 240], [160, 120, 320, 240]], (240, 320), (112, 112))
    np.testing.assert_allclose(found, [[0, 0, 112, 112], [56, 56, 112, 112]])


def test_clipping_is_a_choice():
    boxes = [[[-2, 1, 3, 9]], [[0, 0, 8, 6]]]
    assert [found.tolist() for found in checked_boxes(boxes, (6, 8), ["a", "b"], "clip")] == [
        [[0, 1, 3, 6]],
        [[0, 0, 8, 6]],
    ]
    with pytest.raises(ValueError, match=r"a: true box 0 reaches beyond the frame of 8 x 6 pixels.*\[-2.0, 1.0, 3.0"):
        checked_boxes(boxes, (6, 8), ["a", "b"])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 1, 1], [8, 0, 9, 2]], "f: true box 1 lies outside the frame of 8 x 6"),
        ([[0, 0, np.nan, 2]], "f: true box 0 is not finite"),
        ([[3, 0, 3, 2]], "f: true box 0 is empty"),
        ([[3, 2, 5, 1]], "f: true box 0 is empty"),
        (np.zeros((0, 4)), "f: its true boxes must be one or more"),
        ([[0, 0, 1, 1], [0, 0, 1]], r"f: its true boxes must be .* Received: \[\[0, 0, 1, 1\], \[0, 0, 1\]\]"),
        ([["left", 0, 1, 1]], r"f: its true boxes must be .* Received: \[\['left', 0, 1, 1\]\]"),
        (None, r"f: its true boxes must be .* Received: shape \(\)"),
        ([1, 2, 3, 4], "f: its true boxes must be one or more"),
    ],
)
@pytest.mark.parametrize("outside", ["raise", "clip"])
def test_boxes_that_mean_nothing(boxes, message, outside):
    with pytest.raises(ValueError, match=message):
        checked_boxes([boxes], (6, 8), ["f"], outside)


def test_unknown_choice():
    with pytest.raises(ValueError, match="outside='cut'"):
        checked_boxes([[[0, 0, 1, 1]]], (6, 8), ["f"], "cut")


def test_checked_boxes_are_not_checked_again_for_frames_of_their_size():
    once = checked_boxes([[[0, 0, 8, 6]]], (6, 8), ["a"])
    assert checked_boxes(once, (6, 8), ["a"]) is once
    with pytest.raises(ValueError, match="^a: true box 0 reaches beyond the frame of 8 x 5 pixels"):
        checked_boxes(once, (5, 8), ["a"])
