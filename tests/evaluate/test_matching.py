"""The maps of rows against true boxes, in this process and in others, and what is taken up again."""

import subprocess
import sys

import numpy as np
import pytest

from har_tf.evaluate.controls import CONTROLS
from har_tf.evaluate.map_rows import CAM3D, Batch, ModelRow
from har_tf.evaluate.matching import Asked, Matched, Task, blurred, match
from har_tf.files.workers import outcomes

ROWS = {CONTROLS[1]: [0.0, 0.1], ModelRow(CAM3D, 0, 0): [0.0]}
ASKED = Asked(ROWS, (0.3, 0.5), "all")


def task(corner):
    """Two frames with a square of 4 x 4 pixels each, of which the true box holds the left half."""
    maps = np.zeros((1, 2, 8, 8), np.float32)
    maps[:, :, 2:6, corner : corner + 4] = 3
    batch = Batch(np.zeros((1, 2, 8, 8, 3), np.uint8), {(CAM3D, 0): maps}, {0: np.array([corner > 1])})
    box = np.array([[corner, 2.0, corner + 2, 6]])
    return Task(ASKED, batch, {0: box, 1: box}, np.array([True, True]))


def test_a_blur_is_measured_in_heights_of_the_frame():
    maps = np.zeros((1, 64, 96), np.float32)
    maps[0, 32, 48] = 1
    assert blurred(maps, 0) is maps
    smooth = blurred(maps, 1 / 16)[0]  # a standard deviation of 4 pixels
    assert smooth[32, 52] / smooth[32, 48] == pytest.approx(np.exp(-0.5), abs=0.01)


def test_a_square_and_the_whole_frame_are_compared_with_their_boxes():
    found = match(task(1))
    uniform, smooth, square = (found.table(k, ASKED) for k in range(3))
    assert square.count[:, :100].tolist() == [[2] * 100] * 2, "IoU 0.5, at every threshold"
    assert not uniform.count.any() and not smooth.count.any(), "8 of 64 pixels"
    np.testing.assert_array_equal(found.hits[:, 0, 0], [8 / 64, 8 / 64, 0.5])
    assert found.measured.tolist() == [2]
    assert found.evidence(1).one_sign.tolist() == [False] and found.evidence(0).one_sign is None
    assert square.localised(0.5)[0, 0] and square.position(0.29) == 29
    with pytest.raises(ValueError, match="Received: min_iou=0.7"):
        square.localised(0.7)


def test_other_processes_find_the_same():
    here, there = (list(outcomes(match, [task(0), task(3)], workers)) for workers in (0, 2))
    for own, other in zip(here, there, strict=True):
        for name, array in vars(own).items():
            np.testing.assert_array_equal(getattr(other, name), array)
    both = Matched.joined(here)
    assert both.reached.shape == (3, 4, 101) and both.evidence(1).one_sign.tolist() == [False, True]


def test_a_process_that_compares_needs_no_tensorflow():
    code = "import sys, har_tf.evaluate.matching; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
