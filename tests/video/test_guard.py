"""No video costs more than its limits, and none makes FFmpeg open another file."""

import ctypes
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from har_tf.files import limits
from har_tf.video import VideoError, probe, read_clip, read_frames, read_still
from har_tf.video.reader import play
from har_tf.video.segment import frame_rate

READERS = {
    "probe": probe,
    "read_clip": read_clip,
    "read_frames": lambda path: read_frames(path, [0]),
    "play": lambda path: list(play(path)),
    "crop": lambda path: read_clip(path, fit="crop"),
}


@pytest.fixture(params=["v.mp4", "v.avi", "v.mkv", "png.avi", "raw.mkv"])
def video(request, tmp_path, make_video, numbered):
    codec = {"v.avi": "mpeg4", "png.avi": "png", "raw.mkv": "ffv1"}.get(request.param, "libx264")
    kind = "rgb24" if codec == "png" else "yuv420p"
    return make_video(tmp_path / request.param, numbered(12), codec, kind)


@pytest.mark.parametrize("reader", READERS)
def test_too_many_pixels_are_an_error_that_says_what_raises_the_limit(video, monkeypatch, reader):
    monkeypatch.setenv(limits.PIXELS, "3071")  # of 64 x 48
    with pytest.raises(VideoError, match=rf"{video.name}: .*3,071 pixels.*{limits.PIXELS}"):
        READERS[reader](video)
    monkeypatch.setenv(limits.PIXELS, str(144 * 192))
    READERS[reader](video)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("name", "codec"), [("v.avi", "png"), ("v.mkv", "libvpx-vp9")])
def test_frames_larger_than_the_file_says_are_refused(tmp_path, make_video, monkeypatch, reader, name, codec):
    path = make_video(
        tmp_path / name, np.zeros((1, 1200, 1600, 3), np.uint8), codec, "rgb24" if codec == "png" else "yuv420p"
    )
    sides = (
        (struct.pack("<2I", 1600, 1200), struct.pack("<2I", 64, 48))
        if name == "v.avi"
        else (b"\xb0\x82\x06\x40\xba\x82\x04\xb0", b"\xb0\x82\x00\x40\xba\x82\x00\x30")
    )
    data = path.read_bytes()
    assert sides[0] in data
    path.write_bytes(data.replace(*sides))
    monkeypatch.setenv(limits.PIXELS, "30000")
    with pytest.raises(VideoError, match=rf"30,000 pixels.*{limits.PIXELS}"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_time_is_limited_for_every_reader(video, monkeypatch, reader):
    monkeypatch.setenv(limits.SECONDS, "1e-6")
    with pytest.raises(VideoError, match=rf"took longer than 1e-06 s; .*{limits.SECONDS} raises this limit"):
        READERS[reader](video)


def test_time_that_is_spent_on_the_frames_does_not_count(tmp_path, make_video, numbered, monkeypatch):
    monkeypatch.setenv(limits.SECONDS, "1")
    frames = play(make_video(tmp_path / "v.mp4", numbered(4)))
    for _ in frames:
        time.sleep(0.4)


@pytest.mark.parametrize("read", [probe, read_clip, frame_rate])
@pytest.mark.parametrize("start", [b"RIFF\xff\xff\xff\xffAVI ", b"RIFF" + struct.pack("<I", 40_000_000 - 8) + b"AVI "])
def test_a_head_with_nothing_behind_it_is_given_up_early(tmp_path, monkeypatch, read, start):
    monkeypatch.setenv(limits.BYTES, str(2**20))
    path = tmp_path / "x.avi"
    with path.open("wb") as file:
        file.write(start)
        file.truncate(40_000_000)
    begin = time.monotonic()
    with pytest.raises(VideoError, match=rf"1 MiB without a frame of video, at most 1 expected; .*{limits.BYTES}"):
        read(path)
    assert time.monotonic() - begin < 2


def test_a_packet_that_claims_to_be_huge_is_given_up(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "v.mkv", numbered(3), "mpeg4")
    data = bytearray(path.read_bytes())
    cluster = data.index(b"\x1f\x43\xb6\x75")
    block = data.index(b"\xa3", cluster + 12)
    path.write_bytes(data[:block] + b"\xa3\x01" + (60_000_000).to_bytes(7, "big") + b"\x81\0\0\x80")
    with path.open("r+b") as file:
        file.truncate(80_000_000)
    monkeypatch.setenv(limits.BYTES, str(8 * 2**20))
    with pytest.raises(VideoError, match=limits.BYTES):
        probe(path)


def test_more_packets_than_there_is_memory_for_are_refused(tmp_path, make_video, numbered, monkeypatch):
    monkeypatch.setattr("har_tf.video.stream._MOST_PACKETS", 5)
    path = make_video(tmp_path / "v.mkv", numbered(6))
    for read in (probe, read_clip):
        with pytest.raises(VideoError, match=r"v.mkv: more than 5 packets of video"):
            read(path)


def test_a_thin_picture_is_not_made_a_huge_one_by_a_crop(tmp_path, make_video):
    path = make_video(tmp_path / "thin.mkv", np.zeros((2, 2, 4096, 3), np.uint8), "ffv1", "yuv420p")
    Image.new("RGB", (40_000, 2)).save(tmp_path / "thin.png")
    for read, name in ((read_clip, path), (read_still, tmp_path / "thin.png")):
        with pytest.raises(VideoError, match=limits.PIXELS):
            read(name, 2, (224, 224), fit="crop")
        assert read(name, 1, (224, 224)).shape == (1, 224, 224, 3)


def test_a_limit_that_is_no_number_is_told(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "v.mp4", numbered(2))
    for wrong in ("", "many", "0", "-1", "nan"):
        monkeypatch.setenv(limits.PIXELS, wrong)
        with pytest.raises(ValueError, match=rf"{limits.PIXELS} must be a number above 0. Received: '{wrong}'"):
            probe(path)


IN_OPEN = 0x20
LISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile other.mp4\n",
    "list.mp4": "ffconcat version 1.0\nfile other.mp4\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0" '
    'bandwidth="9"><BaseURL>other.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "list.idx": "# VobSub index file, v7 (do not modify this line!)\n",
    "list.avs": 'FFMpegSource2("other.mp4")\n',
    "movie=other.mp4": "movie=other.mp4",
}
NAMES = (
    "img%03d.png",
    "img*.png",
    "v%02d.mp4",
    "concat:other.mp4|v.mp4",
    "subfile,,start,0,,:other.mp4",
    "-",
    "a:b.mp4",
)


def opened(folder: Path, read, *arguments) -> set[str]:
    """The names of the files in a folder that were opened meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    try:
        assert libc.inotify_add_watch(watch, os.fsencode(folder), IN_OPEN) >= 0
        read(*arguments)
        events, names = os.read(watch, 2**20), set()
        while events:
            size = struct.unpack_from("iIII", events)[3]
            names.add(events[16 : 16 + size].rstrip(b"\0").decode())
            events = events[16 + size :]
        return names - {""}
    finally:
        os.close(watch)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "inotify_init1"), reason="needs inotify")
def test_no_name_and_no_list_makes_ffmpeg_open_another_file(tmp_path, make_video, numbered, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = make_video(tmp_path / "other.mp4", numbered(3)).read_bytes()
    for name in ("img001.png", "img002.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    picture = (tmp_path / "img001.png").read_bytes()
    for name in NAMES:
        (tmp_path / name).write_bytes(picture if name.endswith("png") else whole)
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)

    def attempt(name):
        for read in (probe, read_clip):
            try:
                read(name)
            except VideoError as error:
                assert name in LISTS or name.endswith("png"), error

    for name in (*NAMES, *LISTS):
        assert opened(tmp_path, attempt, name) == {name}
    for name in ("http://127.0.0.1:9/v.mp4", "concat:v.mp4", "file:other.mp4", "pipe:0"):
        with pytest.raises(VideoError, match="no such file"):
            probe(name)
