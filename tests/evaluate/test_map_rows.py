"""Rows of localisation tables: their names, and maps that no model made."""

import numpy as np
import pytest

from har_tf.evaluate import controls
from har_tf.evaluate.map_rows import AVERAGE, CAM3D, CONTROLS, GRADCAM, Batch, ModelRow


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (ModelRow(CAM3D, 0, 0), "3DCAM conv"),
        (ModelRow(CAM3D, 0, 2), "Sum 3DCAM (conv, 1, 2)"),
        (ModelRow(CAM3D, 2, 4, pictures=True), "Sum 2DCAM (2, 3, 4)"),
        (ModelRow(GRADCAM, 4, 4), "Grad-CAM layer 4"),
        (ModelRow(AVERAGE, 1, 2), "Average 3DCAM (1, 2)"),
    ],
)
def test_a_row_is_named_by_its_method_and_layers(row, name):
    assert row.name == name
    assert row.described == {"kind": "model", "method": row.method, "layers": [row.first, row.last]}


def test_controls_are_made_of_the_clips_alone():
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 12, 3), dtype=np.uint8)
    batch = Batch(clips, (np.array([1, 0, 1]), np.array([2, 0, 1])))
    gaussian, uniform, difference = (row.maps(batch) for row in CONTROLS)
    assert {row.kind for row in CONTROLS} == {"control"}
    np.testing.assert_allclose(gaussian, np.broadcast_to(controls.centred_gaussian((8, 12)), (3, 8, 12)))
    assert uniform.shape == (3, 8, 12) and np.ptp(uniform) == 0
    expected = controls.frame_difference(clips[1])
    np.testing.assert_allclose(difference[[0, 2]], expected[[2, 1]])
