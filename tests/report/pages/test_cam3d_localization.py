"""What is drawn where, in pixels, and the curves over the threshold."""

import numpy as np

from har_tf.report.pages.cam3d_localization import FOUND, TRUE, beside, boxed, enlarged, findings


def test_frames_are_enlarged_by_whole_numbers_until_the_shorter_side_is_long_enough():
    clip = np.zeros((2, 10, 15, 3), np.uint8)
    assert enlarged(clip, 25).shape == (2, 30, 45, 3)
    assert enlarged(clip, 10).shape == enlarged(clip, 3).shape == (2, 10, 15, 3)


def test_boxes_are_drawn_at_the_size_of_the_frame_and_only_where_they_are():
    frames = np.full((3, 80, 120, 3), 100, np.uint8)
    drawn = boxed(frames, [[(5, 10, 15, 30)], [], [(5, 10, 15, 30), (20, 0, 30, 40)]], size=(40, 60))
    assert (frames == 100).all()  # the frames that were given stay as they are
    assert (drawn[1] == 100).all()
    # The box ends before x2 and y2: its lines lie on columns 10 and 29, rows 20 and 59.
    for y, x in ((20, 10), (20, 29), (59, 10), (59, 29), (40, 10), (20, 20)):
        assert tuple(drawn[0, y, x]) == TRUE
    assert tuple(drawn[0, 40, 20]) == (100, 100, 100)
    assert tuple(drawn[2, 40, 40]) == TRUE
    assert tuple(boxed(frames, [[(5, 10, 15, 30)]] * 3, (40, 60), FOUND)[0, 20, 10]) == FOUND


def test_a_true_box_stays_visible_on_white():
    drawn = boxed(np.full((1, 64, 64, 3), 255, np.uint8), [[(16, 16, 48, 48)]], size=(64, 64))
    assert (drawn[0] == 0).all(axis=-1).any()


def test_panels_stand_side_by_side_under_their_names():
    left, right = np.full((2, 41, 61, 3), 50, np.uint8), np.full((2, 41, 61, 3), 200, np.uint8)
    sheet = beside({"clip": left, "3DCAM": right}, "walk; explained walk, 0.93")
    time, height, width, _ = sheet.shape
    assert time == 2 and height % 2 == 0 and width % 2 == 0  # as H.264 wants it
    top = 52
    assert (sheet[:, top : top + 41, :61] == 50).all()
    assert (sheet[:, top : top + 41, 67:128] == 200).all()
    assert (sheet[:, top : top + 41, 61:67] == 255).all()
    assert (sheet[:, :26] < 128).any() and (sheet[:, 26:top, :61] < 128).any() and (sheet[:, 26:top, 67:] < 128).any()


def test_a_long_name_is_written_smaller_and_stays_within_its_panel():
    names = {"Sum 3DCAM (conv, 1, 2, 3)": np.zeros((1, 40, 160, 3), np.uint8), "": np.zeros((1, 40, 160, 3), np.uint8)}
    sheet = beside(names, "t")
    written = (sheet[0, 26:52] < 128).any(axis=(0, 2))
    assert written[:160].any() and not written[160:].any()


def test_what_beats_what_takes_the_interval_and_the_test():
    def said(p, interval=(0.1, 0.3)):
        difference = {"choice": "given", "than": "Grad-CAM conv", "value": 0.2, "interval": interval, "p": p}
        methods = {"Sum 3DCAM (conv, 1)": {"threshold": 0.1}}
        results = {"chosen": {"3DCAM": "Sum 3DCAM (conv, 1)"}, "methods": methods, "differences": [difference]}
        return findings(results | {"measured": {"test": {}}})[1]

    assert "Sum 3DCAM (conv, 1) beats Grad-CAM conv (+0.200; +0.100 to +0.300; p = 0.0200)" in said(0.02)
    assert "does not differ clearly from Grad-CAM conv" in said(0.06)
    assert "does not differ clearly from Grad-CAM conv" in said(0.02, (-0.1, 0.3))
    assert "is worse than Grad-CAM conv" in said(0.0001, (-0.3, -0.1))
