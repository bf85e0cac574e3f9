"""When frames are shown, and what follows from it, against times written by hand."""

from fractions import Fraction

import numpy as np
import pytest

from har_tf.video import VideoError, probe, read_clip, write_video
from har_tf.video.clock import Clock
from har_tf.video.reader import frame_times, play, read_sampled
from har_tf.video.sampling import is_even

UNEVEN = [0, 10, 20, 500, 900, 910, 920, 3000, 3010, 3020, 3030, 3040, 3050, 3060, 3070, 3080, 3090, 4000, 5000, 9000]


def test_stamps_become_seconds_and_an_even_rate_stays_even():
    assert Clock(Fraction(25), Fraction(1, 1000)).seconds([7, 47, 87]).tolist() == [0, 0.04, 0.08]
    # 30 frames a second in whole milliseconds.
    assert Clock(Fraction(30), Fraction(1, 1000)).seconds([0, 33, 67, 100]).tolist() == [0, 1 / 30, 2 / 30, 3 / 30]
    assert Clock(Fraction(25), Fraction(1, 1000)).seconds([0, 500, 510]).tolist() == [0, 0.5, 0.51]
    # Lacking, not rising, a leap of a day, and no base at all.
    assert Clock(Fraction(10), Fraction(1, 10)).seconds([0, None, 1, 10**6]) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert Clock(None, None).seconds([None, None]).tolist() == [0, 0.1]


def test_the_rate_is_that_of_the_stamps_unless_the_one_of_the_container_fits():
    assert Clock(Fraction(30000, 1001), Fraction(1, 1000)).rate_of(np.arange(9) * 1001 / 30000) == 30000 / 1001
    assert Clock(Fraction(25), Fraction(1, 1000)).rate_of(np.array([0, 1, 4.0])) == 0.5
    unknown = Clock(None, Fraction(1, 1000))
    assert unknown.rate_of(unknown.seconds([None, None])) == 0, "nothing says it"
    unknown = Clock(None, Fraction(1, 1000))
    assert unknown.rate_of(unknown.seconds([0, 500])) == 2
    assert Clock(Fraction(25), None).rate_of(np.zeros(1)) == 25


def test_even_is_what_differs_by_the_rounding_of_a_container_only():
    assert is_even(np.round(np.arange(300) / 29.97, 3))
    assert is_even(np.array([0.0, 7.0])) and is_even(np.zeros(1))
    assert not is_even(np.array([0, 0.04, 0.09]))
    late = np.array([0, *np.arange(2, 12)]) / 25  # raw MPEG-1, as FFmpeg stamps it
    assert is_even(late) and Clock(Fraction(25), Fraction(1, 90000)).rate_of(late) == 25
    assert not is_even(np.array([0, *np.arange(4, 14)]) / 25), "a gap"


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.avi"])
def test_times_of_a_video_of_uneven_speed(tmp_path, make_video, numbered, name):
    even = name == "v.avi"  # which has one rate, and knows times by empty packets only
    times = [40 * k for k in range(20)] if even else UNEVEN
    path = make_video(tmp_path / name, numbered(20), "mpeg4" if even else "libx264", times=times)
    info, seconds = probe(path), np.array(times) / 1000
    assert info.fps == pytest.approx(19 / seconds[-1])
    assert info.duration == pytest.approx(20 / info.fps)
    for found in (frame_times(path), frame_times(path, 20), frame_times(path, 7), [second for _, second in play(path)]):
        assert found == pytest.approx(seconds, abs=1e-3)


def test_times_come_from_packets_without_decoding(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "v.mkv", numbered(20), times=UNEVEN)
    monkeypatch.setattr("har_tf.video.reader._decode", lambda *_: pytest.fail("decoded"))
    assert frame_times(path, 20)[-1] == 9


@pytest.mark.parametrize(
    "codec", ["libx264", "libvpx-vp9"]
)  # one of which packets are left out, one of which all count
def test_clips_by_time_take_the_frames_nearest_to_even_instants(tmp_path, make_video, numbered, numbers, codec):
    path = make_video(tmp_path / "v.mkv", numbered(20), codec, times=UNEVEN)
    # 0, 3, 6 and 9 s: 6 is nearer to 5 than to 9.
    assert numbers(read_clip(path, 4, by="time")) == [0, 7, 18, 19]
    clip, frames = read_sampled(path, 4, by="time")
    assert numbers(clip) == frames.tolist() == [0, 7, 18, 19]
    assert numbers(read_clip(path, 4)) == [0, 6, 13, 19]
    # The mean distance is 9 / 19 s, so instants are 0.947 s apart: 0, 0.947, 1.895, 2.842.
    assert numbers(read_clip(path, 4, sampling="strided", by="time")) == [0, 6, 6, 7]
    # From frame 17 on, at 4, 5 and 9 s: 4, 4.947, 5.895, 6.842, 7.789.
    assert numbers(read_clip(path, 5, sampling="strided", by="time", start=17)) == [17, 18, 18, 18, 19]


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_clips_at_a_rate_take_the_frames_nearest_to_its_instants(tmp_path, make_video, numbered, numbers, codec):
    path = make_video(tmp_path / "v.mkv", numbered(20), codec, times=UNEVEN)
    # 0, 1, 2, ... s: 2 is nearer to 3 than to 0.92, 6 to 5 than to 9, and of 5 and 9, as near to 7, the later counts.
    at = {"sampling": "dense", "by": "1fps"}
    assert numbers(read_clip(path, 9, **at)) == [0, 6, 7, 7, 17, 18, 18, 19, 19]
    assert numbers(read_clip(path, 3, start=17, **at)) == [17, 18, 18]
    assert numbers(read_clip(path, 3, start=17, stop=19, **at)) == [17, 18, 18]
    with pytest.raises(VideoError, match="v.mkv: 9 frames at 1fps from frame 0 on, 12 needed"):
        read_clip(path, 12, short="error", **at)
    even = make_video(tmp_path / "even.mkv", numbered(20), codec)
    assert numbers(read_clip(even, 10, by="25fps", sampling="dense")) == list(range(10))
    clip, frames = read_sampled(even, 12, by="12.5fps", sampling="dense", short="wrap")
    assert numbers(clip) == frames.tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 0, 2]


def test_an_even_video_by_time_gives_the_clip_by_frame(tmp_path, numbered, make_video):
    for name, codec in (("v.mp4", "libx264"), ("v.avi", "mpeg4"), ("v.webm", "libvpx-vp9")):
        path = make_video(tmp_path / name, numbered(23), codec)
        for how in ({}, {"sampling": "strided"}, {"num_frames": 30, "short": "wrap"}, {"start": 3, "stop": 20}):
            how = {"num_frames": 7, "size": (48, 64), **how}
            np.testing.assert_array_equal(read_clip(path, by="time", **how), read_clip(path, **how))


def test_what_cannot_go_by_time_is_told(tmp_path, make_video, numbered):
    path = make_video(tmp_path / "v.mkv", numbered(20), times=UNEVEN)
    with pytest.raises(ValueError, match="or a rate such as 25fps. Received: by='clock'"):
        read_clip("missing.mp4", by="clock")
    with pytest.raises(ValueError, match="Received: sampling='dense'"):
        read_clip("missing.mp4", sampling="dense", by="time")
    with pytest.raises(VideoError, match=r"v.mkv: 9 s from the first frame to the last, 9.47\d* s needed"):
        read_clip(path, 11, sampling="strided", short="error", by="time")
    assert len(read_clip(path, 10, sampling="strided", short="error", by="time")) == 10


def test_what_is_written_at_seconds_is_read_at_them(tmp_path, numbered):
    path = write_video(tmp_path / "w.mp4", zip(numbered(5), [0, 0.01, 0.5, 3, 9.25], strict=True), fps=25)
    assert frame_times(path, 5) == pytest.approx([0, 0.01, 0.5, 3, 9.25], abs=1e-3)
