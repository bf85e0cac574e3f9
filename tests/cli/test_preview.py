"""python -m har_tf preview."""

import cv2
from checks import run_command

from har_tf.cli.app import Preview
from har_tf.datasets.stick_figures import ACTIONS


def test_preview_is_a_sheet_of_all_actions(tmp_path):
    from har_tf.datasets.stick_figures import Figures, draw

    run_command(Preview("figures", tmp_path / "sheet.png", size=(96, 144)))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    assert sheet.shape == (2 * len(ACTIONS) * 96, 7 * 144, 3)
    first = draw(ACTIONS[0], 0, Figures(size=(96, 144))).frames[0]
    assert (sheet[:80, :144] == first[:80]).all(axis=-1).mean() > 0.9, "all but the boxes and the name"
