"""Index arithmetic, against numbers worked out by hand."""

import numpy as np
import pytest

from har_tf.video.sampling import check_by, frame_indices, frames_at, frames_needed, sliding_windows


def test_uniform_goes_from_the_first_to_the_last_frame():
    # Steps of 8/4 = 2, of 9/3 = 3, and of 179/9 = 19.88...
    assert frame_indices(9, 5).tolist() == [0, 2, 4, 6, 8]
    assert frame_indices(10, 4).tolist() == [0, 3, 6, 9]
    assert frame_indices(180, 10).tolist() == [0, 20, 40, 60, 80, 99, 119, 139, 159, 179]
    assert frame_indices(180, 10).dtype == np.int64


def test_uniform_rounds_halves_up():
    # Steps of 9/6 = 1.5: 0, 1.5, 3, 4.5, 6, 7.5, 9.
    assert frame_indices(10, 7).tolist() == [0, 2, 3, 5, 6, 8, 9]


def test_uniform_of_a_reversed_video_is_the_reversed_clip_where_the_step_is_whole():
    for available, num_frames in ((19, 10), (28, 10), (31, 16)):
        forward = frame_indices(available, num_frames)
        assert (available - 1 - forward == forward[::-1]).all()


def test_uniform_is_exact_for_long_videos():
    # 2**40 frames: the middle one of three is 2**39 - 1/2, rounded up.
    assert frame_indices(2**40, 3).tolist() == [0, 2**39, 2**40 - 1]


def test_uniform_of_one_frame_is_the_first():
    assert frame_indices(10, 1).tolist() == [0]


def test_a_range_is_counted_from_its_start():
    assert frame_indices(100, 3, start=10, stop=21).tolist() == [10, 15, 20]
    assert frame_indices(100, 3, "dense", start=10).tolist() == [10, 11, 12]
    assert frame_indices(100, 3, "strided", start=10, stride=4).tolist() == [10, 14, 18]


def test_no_number_of_frames_means_all():
    assert frame_indices(4, None).tolist() == [0, 1, 2, 3]
    assert frame_indices(9, None, start=2, stop=5).tolist() == [2, 3, 4]
    assert frame_indices(7, None, "strided", stride=3).tolist() == [0, 3, 6]


def test_a_rate_takes_the_frames_nearest_to_its_instants():
    tenths = np.arange(10) / 10
    # Instants 0, 0.04, 0.08, ..., 0.48 of half a second at 10 frames a second.
    assert frames_at(tenths[:5], "25fps").tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 4]
    assert frames_at(tenths, "5fps").tolist() == [0, 2, 4, 6, 8]
    assert frames_at(tenths, "10fps").tolist() == list(range(10))
    # 150 frames at 30000/1001 last 5.005 s; every sixth is left out.
    assert frames_at(np.arange(150) * 1001 / 30000, "25fps")[:12].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    assert len(frames_at(np.arange(150) * 1001 / 30000, "25fps")) == 125
    # 0, 1/4, 1/2, ... s of frames at uneven times, of which the last is shown 0.6 s, the mean.
    assert frames_at(np.array([0, 0.1, 1.2, 1.8]), "4fps").tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert frames_at(np.zeros(1), "25fps").tolist() == [0]


def test_every_sampling_is_of_the_video_at_its_rate():
    seconds = np.arange(12) / 10
    # At 5 a second 0, 2, 4, 6, 8, 10; of the range from 3 on 3, 5, 7, 9, 11.
    at = {"seconds": seconds, "by": "5fps"}
    assert frame_indices(12, 3, "dense", **at).tolist() == [0, 2, 4]
    assert frame_indices(12, 3, "uniform", **at).tolist() == [0, 6, 10]
    assert frame_indices(12, 3, "strided", **at).tolist() == [0, 4, 8]
    assert frame_indices(12, 3, "dense", start=3, **at).tolist() == [3, 5, 7]
    assert frame_indices(12, 7, "dense", short="wrap", **at).tolist() == [0, 2, 4, 6, 8, 10, 0]
    assert frame_indices(12, 7, "dense", **at).tolist() == [0, 2, 4, 6, 8, 10, 10]
    with pytest.raises(ValueError, match="5 frames at 5fps from frame 3 on, 6 needed. Received: short='error'."):
        frame_indices(12, 6, "dense", start=3, short="error", **at)
    assert frames_needed(64, "dense", by="25fps") == 1


@pytest.mark.parametrize("by", ["clock", "25", "0fps", "-25fps", "1e3fps", "25 fps", "fps", 25])
def test_what_is_no_rate_is_refused(by):
    with pytest.raises(ValueError, match=f"frame, time, or a rate such as 25fps. Received: by={by!r}"):
        check_by(by, "dense")


@pytest.mark.parametrize(
    ("sampling", "short", "expected"),
    [
        ("uniform", "repeat_last", [0, 1, 2, 2, 2, 2, 2]),
        ("dense", "repeat_last", [0, 1, 2, 2, 2, 2, 2]),
        ("strided", "repeat_last", [0, 2, 2, 2, 2, 2, 2]),
        ("uniform", "wrap", [0, 1, 2, 0, 1, 2, 0]),
        ("dense", "wrap", [0, 1, 2, 0, 1, 2, 0]),
        ("strided", "wrap", [0, 2, 0, 2, 0, 2, 0]),
    ],
)
def test_a_short_video(sampling, short, expected):
    assert frame_indices(3, 7, sampling, short=short).tolist() == expected
    # The same behind a start.
    assert frame_indices(8, 7, sampling, start=5, short=short).tolist() == [5 + index for index in expected]


def test_a_short_video_is_an_error_where_that_is_asked():
    with pytest.raises(ValueError, match="3 frames from frame 2 on, 4 needed"):
        frame_indices(5, 4, start=2, short="error")
    # Two frames five apart need six.
    with pytest.raises(ValueError, match="6 needed"):
        frame_indices(5, 2, "strided", short="error", stride=5)
    assert frame_indices(6, 2, "strided", short="error", stride=5).tolist() == [0, 5]


def test_frames_needed():
    assert frames_needed(10) == 10
    assert frames_needed(10, "dense") == 10
    assert frames_needed(10, "strided", stride=3) == 28


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, "num_frames=0"),
        ({"num_frames": 2.5}, "num_frames=2.5"),
        ({"sampling": "random"}, "uniform, strided, dense.*sampling='random'"),
        ({"short": "loop"}, "repeat_last, wrap, error.*short='loop'"),
        ({"start": -1}, "start=-1"),
        ({"start": 9}, "start=9"),
        ({"start": 3, "stop": 3}, "start=3, stop=3"),
        ({"stop": 10}, "stop=10"),
        ({"stop": "end"}, "stop='end'"),
        ({"num_frames": None, "sampling": "strided", "stride": 0}, "stride=0"),
        ({"sampling": "strided", "stride": 0}, "stride=0"),
        ({"available": 0}, "stop=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        frame_indices(**({"available": 9, "num_frames": 3} | arguments))


def test_windows_reach_the_last_frame():
    assert sliding_windows(10, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert sliding_windows(10, 4, tail="drop").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert sliding_windows(8, 4, hop=2).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]


def test_windows_with_a_stride_and_a_range():
    # A window spans 5 frames; the range 10..19 has room for shifts 0 to 5.
    windows = sliding_windows(30, 3, hop=4, stride=2, start=10, stop=20)
    assert windows.tolist() == [[10, 12, 14], [14, 16, 18], [15, 17, 19]]


def test_a_video_shorter_than_a_window_is_one_window():
    assert sliding_windows(2, 4).tolist() == [[0, 1, 1, 1]]
    assert sliding_windows(2, 4, short="wrap").tolist() == [[0, 1, 0, 1]]
    with pytest.raises(ValueError, match="2 frames from frame 0 on, 4 needed"):
        sliding_windows(2, 4, short="error")


def test_wrong_window_arguments_are_named():
    with pytest.raises(ValueError, match="hop=0"):
        sliding_windows(9, 3, hop=0)
    with pytest.raises(ValueError, match=r"align, drop.*tail='pad'"):
        sliding_windows(9, 3, tail="pad")


@pytest.mark.parametrize("sampling", ["uniform", "strided"])
@pytest.mark.parametrize("short", ["repeat_last", "wrap"])
def test_by_time_is_by_frame_where_frames_are_evenly_far_apart(sampling, short):
    for available in (1, 2, 3, 10, 37):
        seconds = np.arange(available) * 0.04
        for num_frames in (None, 1, 2, 5, 16):
            for start in {0, available // 3}:
                how = {"sampling": sampling, "start": start, "short": short, "stride": 3}
                by_time = frame_indices(available, num_frames, seconds=seconds, **how)
                assert by_time.tolist() == frame_indices(available, num_frames, **how).tolist()


def test_by_time_a_frame_that_is_shown_long_comes_several_times():
    seconds = [0, 1, 2, 3, 10]
    assert frame_indices(5, 5, seconds=seconds).tolist() == [0, 3, 3, 4, 4]  # 0, 2.5 (later of two), 5, 7.5, 10
    assert frame_indices(5, 3, "strided", seconds=seconds, stride=1).tolist() == [0, 3, 3]  # 0, 2.5, 5
    assert frame_indices(5, None, "strided", seconds=seconds, stride=1).tolist() == [0, 3, 3, 4, 4]
    with pytest.raises(ValueError, match="10 s from the first frame to the last, 12.5 s needed"):
        frame_indices(5, 6, "strided", seconds=seconds, stride=1, short="error")
    with pytest.raises(ValueError, match="sampling='dense'"):
        frame_indices(5, 3, "dense", seconds=seconds)
