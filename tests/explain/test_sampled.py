import numpy as np
import pytest

from har_tf.explain.sampled import Sampled, laid


def test_frames_between_two_sampled_ones_take_a_share_of_both():
    clip = Sampled("v.mp4", np.array([2, 6, 10]), (8, 8))
    assert clip.between(2) == (0, 0, 0.0) and clip.between(10) == (2, 2, 0.0)
    assert clip.between(3) == (0, 1, 0.25) and clip.between(9) == (1, 2, 0.75)
    assert clip.between(1) is None and clip.between(11) is None, "before the first and after the last"
    windows = Sampled("v.mp4", np.array([0, 1, 2, 9, 10]), (8, 8), reach=1)
    assert windows.between(5) is None and windows.between(2) == (2, 2, 0.0), "between two windows"


def test_a_frame_that_comes_twice_has_the_mean_of_its_maps():
    clip = Sampled("v.mp4", np.array([0, 2, 1, 2]), (1, 1))
    maps = np.array([1, 2, 3, 4], "float32").reshape(4, 1, 1)
    assert clip.order.tolist() == [0, 1, 2]
    assert clip.in_order(maps).ravel().tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    ("size", "fit", "displayed", "rows", "columns"),
    [
        ((64, 96), "stretch", (240, 320), (0, 240), (0, 320)),
        ((112, 112), "crop", (240, 320), (0, 240), (40, 280)),
        ((224, 224), "inner", (240, 320), (15, 225), (54, 265)),  # scaled to 256 x 341, columns 58 to 282 are cut out
        ((64, 96), "crop", (568, 320), (178, 391), (0, 320)),  # scaled to 170 x 96, rows 53 to 117 are cut out
    ],
)
def test_the_place_of_a_clip_in_its_video(size, fit, displayed, rows, columns):
    clip = Sampled("v.mp4", np.arange(2), size, fit)
    found = clip.place(displayed, displayed)
    assert [(part.start, part.stop) for part in found] == [pytest.approx(rows, abs=1), pytest.approx(columns, abs=1)]
    whole = laid(np.ones(size, "float32"), found, displayed)
    assert whole.shape == displayed
    assert whole.sum() == pytest.approx((rows[1] - rows[0]) * (columns[1] - columns[0]), rel=0.01)


@pytest.mark.parametrize("fit", ["stretch", "crop", "inner"])
def test_the_place_is_where_read_clip_takes_the_clip(tmp_path, fit):
    from har_tf.video import read_clip, write_video

    frames = np.zeros((2, 96, 160, 3), np.uint8)
    frames[:, 40:56, 100:116] = 255
    path = write_video(tmp_path / "v.mp4", frames, qp=1)
    clip = read_clip(path, 2, (48, 48), fit=fit)[0].mean(axis=-1).astype("float32") / 255
    place = Sampled(path, np.arange(2), (48, 48), fit).place((96, 160), (96, 160))
    back = laid(clip, place, (96, 160))
    np.testing.assert_allclose(back, frames[0].mean(axis=-1) / 255, atol=0.9)
    assert np.abs(np.argwhere(back > 0.5).mean(axis=0) - [47.5, 107.5]).max() < 1
