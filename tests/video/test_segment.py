from fractions import Fraction

import numpy as np
import pytest

from har_tf.video import VideoError
from har_tf.video.segment import frame_range, frame_rate, read_segment


@pytest.fixture(scope="module")
def video(tmp_path_factory, numbered, make_video):
    """100 frames at 25 frames/s: 4 seconds."""
    return make_video(tmp_path_factory.mktemp("segment") / "a.mp4", numbered(100))


def read(path, start, end, **arguments):
    return read_segment(path, start, end, **{"num_frames": None, "size": None, **arguments})


def test_seconds_to_frames():
    assert frame_range(0, 1, Fraction(25)) == (0, 25)
    assert frame_range(72.8, 76.4, Fraction(30000, 1001)) == (2182, 2290)  # 2181.8..., 2289.7...
    # 7.5 and 12.5 frames: halves go up, though 0.3 in binary is less than 3 tenths.
    assert frame_range(0.3, 0.5, Fraction(25)) == (8, 13)
    assert frame_range(0.1, 0.101, Fraction(25)) == (3, 4)  # at least one frame
    for start, end in ((1, 1), (2, 1), (-1, 1), (0, float("nan")), (0, float("inf"))):
        with pytest.raises(ValueError, match="0 <= start < end"):
            frame_range(start, end, Fraction(25))


def test_rate_without_decoding(video, tmp_path):
    assert frame_rate(video) == 25
    with pytest.raises(VideoError, match="no such file"):
        frame_rate(tmp_path / "b.mp4")
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(VideoError, match="not a video"):
        frame_rate(tmp_path / "text.mp4")


def test_the_frames_of_a_segment(video, numbers):
    assert numbers(read(video, 1.0, 1.4)) == list(range(25, 35))
    assert numbers(read(video, 1.0, 2.0, num_frames=3)) == [25, 37, 49]
    assert numbers(read(video, 1.0, 1.04, num_frames=3)) == [25, 25, 25]
    assert numbers(read(video, 3.6, 4.0)) == list(range(90, 100))


def test_a_segment_that_runs_a_little_past_the_end_ends_with_the_video(video, numbers):
    assert numbers(read(video, 3.6, 4.2)) == list(range(90, 100))
    assert numbers(read(video, 2.0, 5.0)) == list(range(50, 100))
    assert numbers(read(video, 2.0, 5.0, num_frames=3)) == [50, 75, 99]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (2.0, 5.04),  # more than a second
        (3.6, 4.44),  # more than half of it
        (4.0, 4.5),  # starts behind the end
        (80, 90),
    ],
)
def test_a_segment_of_another_video_is_refused(video, start, end):
    with pytest.raises(VideoError, match=f"segment from {start:g} to {end:g} s: .*100 decodable"):
        read(video, start, end)


def test_a_file_that_is_cut_off_does_not_shorten_its_segments(tmp_path, numbered, make_video):
    whole = make_video(tmp_path / "a.mkv", numbered(100), options={"g": "10"})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.93)])
    assert read(cut, 0, 3).shape[0] == 75
    with pytest.raises(VideoError, match="segment from 3 to 4 s: 100 frames claimed"):
        read(cut, 3, 4)


def test_short_segments(video, numbers):
    assert numbers(read(video, 1.0, 1.12, num_frames=5, short="wrap")) == [25, 26, 27, 25, 26]
    for start in (1.0, 3.92):  # the second one reaches past the end
        with pytest.raises(VideoError, match="3 frames, 5 needed"):
            read(video, start, start + 0.12, num_frames=5, short="error")
    with pytest.raises(VideoError, match="segment from 3.8 to 4.08 s"):
        read(video, 3.8, 4.08, num_frames=6, short="error")


def test_size_and_sampling_are_handed_on(video, numbers):
    clip = read(video, 1.0, 2.0, num_frames=4, size=(24, 32), sampling="strided")
    assert clip.shape == (4, 24, 32, 3)
    assert clip.dtype == np.uint8
    assert numbers(clip) == [25, 27, 29, 31]


def test_a_segment_of_a_video_of_uneven_speed_goes_by_its_time_stamps(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "v.mkv", numbered(7), times=[0, 100, 200, 300, 1300, 1400, 3000])
    for start, end, expected in (
        (0.25, 1.35, [2, 3, 4]),  # the frame that is shown at the start, and no more of one that begins at the end
        (1.0, 1.2, [3]),
        (1.4, 3.0, [5]),
        (2.9, 3.3, [5, 6]),
        (2.0, 4.2, [5, 6]),  # the last frame is shown until 3.5 s, half a second in the mean
    ):
        assert numbers(read(path, start, end)) == expected
    for start, end in ((5, 6), (3.2, 6)):
        with pytest.raises(VideoError, match=f"segment from {start} to {end} s: .*7 decodable"):
            read(path, start, end)
