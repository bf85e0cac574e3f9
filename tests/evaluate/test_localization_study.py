"""What is chosen on held-out clips, and which rows there are."""

import numpy as np
import pytest

from har_tf.evaluate.localization import Overlaps
from har_tf.evaluate.localization_study import Setting, Study, outputs_of
from har_tf.evaluate.map_rows import AVERAGE, CAM3D, CONTROLS, GRADCAM, Batch, ModelRow, blurred, paper_rows, runs


def test_thresholds_come_from_the_given_frames_and_one_holds_for_all():
    """Two frames, three thresholds: the oracle would have both right, one threshold has the second one alone."""
    table = Overlaps(np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.6]]), np.array([0.2, 0.5, 0.8]), "all", ("a", "b"))
    assert Study(ious=(0.5, 0.8)).best(table) == Setting(0.2, 0.5)
    assert Study(ious=(0.5, 0.95)).best(table, 0.1) == Setting(0.2, 0.25, 0.1)


def test_outputs_are_found_by_name():
    assert outputs_of(["Wave", "run"], ["run", "walk", "wave"]) == [2, 0]
    assert outputs_of(["n01440764", "n02012849"], ["n02012849 crane", "n01440764 tench"]) == [1, 0]
    assert outputs_of(["wave", "jump"], ["wave"]) == [0, -1]
    assert outputs_of(["jump"], ["wave"]) is None
    assert outputs_of(["jump"], None) is None
    with pytest.raises(ValueError, match="the model has none for jump. --class-names"):
        outputs_of(["wave", "jump"], ["wave"], needed=True)
    with pytest.raises(ValueError, match=r"none for a, b, c, d, e \.\.\."):
        outputs_of("abcdef", None, needed=True)


def test_rows_are_called_as_in_the_paper():
    assert [ModelRow(GRADCAM, 4, 4).name, ModelRow(CAM3D, 0, 0).name] == ["Grad-CAM layer 4", "3DCAM conv"]
    assert ModelRow(CAM3D, 0, 1).name == "Sum 3DCAM (conv, 1)"
    assert ModelRow(GRADCAM, 2, 4, pictures=True).name == "Sum Grad-CAM (2, 3, 4)"
    assert ModelRow(CAM3D, 2, 4, pictures=True).name == "Sum 2DCAM (2, 3, 4)"
    assert ModelRow(AVERAGE, 0, 2).name == "Average 3DCAM (conv, 1, 2)"


def test_a_model_has_the_rows_that_its_layers_allow():
    assert paper_rows(0) == runs(0) == []
    assert [row.name for row in paper_rows(1)] == ["Grad-CAM conv", "3DCAM conv"]
    assert {row.name for row in runs(1)} == {"Grad-CAM conv", "3DCAM conv"}
    assert {row.name for row in runs(2)} == {"Grad-CAM conv", "Grad-CAM layer 1", "Sum Grad-CAM (conv, 1)"} | {
        "Sum 3DCAM (conv, 1)"
    }
    assert len(paper_rows(5)) == len(set(paper_rows(5))) == 14
    assert len(runs(5)) == 10 + 15


def test_controls_need_no_model():
    clips = np.zeros((2, 3, 8, 8, 3), np.uint8)
    clips[1, 2, 4, 4] = 255
    batch = Batch(clips, (np.array([0, 1, 1]), np.array([0, 0, 1])))
    gaussian, uniform, differences = (row.maps(batch) for row in CONTROLS)
    assert gaussian.shape == uniform.shape == differences.shape == (3, 8, 8)
    assert (uniform == 1).all() and gaussian[0].argmax() in (27, 28, 35, 36)
    assert not differences[:2].any() and differences[2].argmax() == 8 * 4 + 4
    assert [row.needs_motion for row in CONTROLS] == [False, False, True]


def test_a_blur_is_measured_in_heights_of_the_frame():
    maps = np.zeros((1, 64, 96), np.float32)
    maps[0, 32, 48] = 1
    assert blurred(maps, 0) is maps
    smooth = blurred(maps, 1 / 16)[0]  # a standard deviation of 4 pixels
    assert smooth[32, 52] / smooth[32, 48] == pytest.approx(np.exp(-0.5), abs=0.01)
