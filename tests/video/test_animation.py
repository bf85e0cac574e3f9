import numpy as np
import pytest
from PIL import Image

from har_tf.video import VideoError
from har_tf.video.animation import write_animation, write_any


def durations(path):
    with Image.open(path) as picture:
        found = []
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            found.append(picture.info["duration"])
        return found


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_an_animation_has_the_frames_their_times_and_no_end(tmp_path, numbered, ending):
    path = write_animation(tmp_path / f"a{ending}", zip(numbered(4), [0, 0.1, 0.5, 0.6], strict=True))
    assert durations(path)[:3] == [100, 400, 100]
    with Image.open(path) as picture:
        assert picture.info["loop"] == 0
        picture.seek(3)
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - numbered(4)[3]).mean() < 6
    assert durations(write_animation(tmp_path / f"b{ending}", numbered(3), fps=4))[:2] == [250, 250]


def test_frames_that_browsers_would_slow_down_are_left_out(tmp_path, numbered):
    assert len(durations(write_animation(tmp_path / "a.gif", numbered(20), fps=100))) == 10


def test_the_ending_decides_and_others_are_refused(tmp_path, numbered):
    assert write_any(tmp_path / "a.mp4", numbered(3)).read_bytes()[4:8] == b"ftyp"
    assert write_any(tmp_path / "a.GIF", numbered(3)).read_bytes()[:4] == b"GIF8"
    with pytest.raises(VideoError, match=r"a.avi: cannot be written: the name must end in .mp4, .gif, .webp"):
        write_any(tmp_path / "a.avi", numbered(3))
    with pytest.raises(VideoError, match="No such file"):
        write_any(tmp_path / "none" / "a.gif", numbered(3))
    assert len(list(tmp_path.iterdir())) == 2
