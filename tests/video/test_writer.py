"""What `write_video` writes must be what was given, complete, and never half there."""

import errno
import itertools
import os
import socket
import subprocess
import sys

import av
import numpy as np
import pytest

from har_tf.video import VideoError, probe, read_clip, write_video, writer
from har_tf.video.animation import write_any


def test_a_browser_plays_it(tmp_path, numbered, numbers):
    path = write_video(tmp_path / "clip.mp4", numbered(30), fps=12.5)
    info = probe(path)
    assert (info.frames, info.height, info.width, info.fps, info.codec) == (30, 48, 64, 12.5, "h264")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert numbers(read_clip(path, None, None)) == list(range(30))
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


def test_colours_survive(tmp_path):
    colours = [(255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 60), (20, 180, 220)]
    for colour in colours:
        frames = np.full((2, 32, 48, 3), colour, np.uint8)
        path = write_video(tmp_path / "colour.mp4", frames, qp=4)
        for size in (None, (16, 24)):
            assert np.abs(read_clip(path, None, size).astype(int) - colour).max() <= 4


@pytest.mark.parametrize(("height", "width"), [(33, 47), (32, 47), (33, 48), (1, 1)])
def test_an_odd_size_is_padded_with_its_edge(tmp_path, height, width):
    frames = np.full((3, height, width, 3), 40, np.uint8)
    frames[:, -1] = frames[:, :, -1] = 200
    clip = read_clip(write_video(tmp_path / "odd.mp4", frames, qp=4), None, None)
    assert clip.shape == (3, height + height % 2, width + width % 2, 3)
    assert np.abs(clip[:, -1].astype(int) - 200).max() <= 8
    assert np.abs(clip[:, :, -1].astype(int) - 200).max() <= 8


@pytest.mark.parametrize("preset", ["ultrafast", "veryfast"])
def test_intra_video_reverses_exactly(tmp_path, preset):
    noise = np.random.default_rng(0).integers(0, 256, (9, 48, 64, 3), dtype=np.uint8)
    frames = noise // 4 + np.linspace(0, 190, 9).astype(np.uint8)[:, None, None, None]
    settings = {"qp": 24, "keyint": 1, "preset": preset, "threads": 1}
    forward = read_clip(write_video(tmp_path / "forward.mp4", frames, **settings), None, None)
    backward = read_clip(write_video(tmp_path / "backward.mp4", frames[::-1], **settings), None, None)
    assert np.array_equal(backward, forward[::-1])
    with av.open(str(tmp_path / "forward.mp4")) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_keyint_bounds_the_distance_of_key_frames(tmp_path, numbered):
    write_video(tmp_path / "clip.mp4", numbered(20), keyint=5)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys[0] and all(any(keys[start : start + 5]) for start in range(16))


def test_quality_follows_crf_and_qp(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    sizes = [
        write_video(tmp_path / "clip.mp4", frames, **settings).stat().st_size
        for settings in ({"crf": 10}, {"crf": 40}, {"qp": 10}, {"qp": 40})
    ]
    assert sizes[0] > 2 * sizes[1] and sizes[2] > 2 * sizes[3]


def test_frames_may_come_one_by_one(tmp_path, numbered, numbers):
    path = write_video(tmp_path / "clip.mp4", (frame for frame in numbered(7)))
    assert numbers(read_clip(path, None, None)) == list(range(7))


def test_an_existing_file_is_replaced_only_when_the_new_one_is_complete(tmp_path, numbered, numbers):
    path = write_video(tmp_path / "clip.mp4", numbered(3))
    before = path.read_bytes()
    good = numbered(5)
    with pytest.raises(ValueError, match="for frame 5"):
        write_video(path, itertools.chain(good, [np.zeros((8, 8, 3), np.uint8)]))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
    write_video(path, good)
    assert numbers(read_clip(path, None, None)) == list(range(5))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "uint8 arrays. Received: float32"),
        (np.zeros((8, 8, 3), np.uint8), r"\(T, H, W, 3\). Received: shape \(8, 8, 3\)"),
        (np.zeros((2, 8, 8), np.uint8), r"shape \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"shape \(8, 8, 4\) for frame 0"),
        (np.zeros((2, 0, 8, 3), np.uint8), r"shape \(0, 8, 3\) for frame 0"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one frame"),
        (iter([]), "at least one frame"),
        (["frame.png"], "uint8 arrays. Received: str for frame 0"),
    ],
)
def test_wrong_frames_leave_no_file(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "clip.mp4", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [{"fps": 0}, {"crf": 52}, {"qp": -1}, {"keyint": 0}, {"preset": "quick"}, {"threads": 0}]
)
def test_wrong_settings_are_named(tmp_path, numbered, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
        write_video(tmp_path / "clip.mp4", numbered(2), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_paths_raise_before_any_frame_is_encoded(tmp_path, numbered, monkeypatch):
    monkeypatch.setattr(writer, "_encode", lambda *_: pytest.fail("encoding began"))
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    for name, reason in (
        ("missing/clip.mp4", "No such file or directory"),
        ("file/clip.mp4", "Not a directory"),
        ("folder.mp4", "it is a folder"),
        ("clip.avi", r"must end in \.mp4"),
    ):
        with pytest.raises(VideoError, match=rf"{name}: cannot be written: .*{reason}"):
            write_video(tmp_path / name, numbered(2))


def test_a_file_that_does_not_read_back_is_not_kept(tmp_path, numbered, monkeypatch):
    encode = writer._encode

    def encode_then_lose_half(path, part, *arguments):
        count = encode(path, part, *arguments)
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
        return count

    monkeypatch.setattr(writer, "_encode", encode_then_lose_half)
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    with pytest.raises(VideoError, match=r"clip\.mp4: written, but reads back as \d frames of 64x64, expected 20"):
        write_video(tmp_path / "clip.mp4", noise)
    assert list(tmp_path.iterdir()) == []


def test_frames_lie_at_their_seconds(tmp_path, numbered):
    from har_tf.video.reader import play

    seconds = [0.0, 0.01, 0.5, 3.0, 9.25]
    path = write_video(tmp_path / "v.mp4", zip(numbered(5), seconds, strict=True), fps=25)
    assert [second for _, second in play(path)] == pytest.approx(seconds, abs=1e-3)
    even = write_video(
        tmp_path / "e.mp4", ((f, k * 1001 / 30000) for k, f in enumerate(numbered(40))), fps=30000 / 1001
    )
    assert probe(even).fps == 30000 / 1001
    close = write_video(tmp_path / "c.mp4", zip(numbered(3), [0, 1e-12, 1], strict=True))
    assert probe(close).frames == 3, "closer than the file can say"
    with pytest.raises(ValueError, match="seconds must rise. Received: 1 for frame 2, 2 before it"):
        write_video(tmp_path / "w.mp4", zip(numbered(3), [0, 2, 1], strict=True))
    assert not (tmp_path / "w.mp4").exists()


@pytest.mark.parametrize("name", ["v.mp4", "v.gif", "v.webp"])
def test_what_a_killed_writer_left_is_removed_by_the_next_and_what_is_written_is_on_the_disk(
    tmp_path, numbered, monkeypatch, name
):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".{socket.gethostname()}.{ended.pid}.part.{name}").write_bytes(b"half a video")
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    write_any(tmp_path / name, numbered(3))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(synced) == 2, "the file and the folder"


def test_a_writer_that_is_killed_leaves_nothing_behind_the_next(tmp_path, numbered):
    code = (
        "import os, signal, sys, numpy as np\n"
        "from har_tf.video import write_video\n"
        "def frames():\n"
        "    yield np.zeros((48, 64, 3), np.uint8)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_video(sys.argv[1], frames())\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "v.mp4"], check=False).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1, "what it left"
    write_video(tmp_path / "v.mp4", numbered(3))
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_a_full_disk_is_told_with_the_file_and_what_was_written(tmp_path, numbered, monkeypatch):
    def full(*_, **__):
        raise av.FFmpegError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(av, "open", full)
    with pytest.raises(VideoError, match=r"v.mp4: cannot be written: No space left on device \(.*B are free\)"):
        write_video(tmp_path / "v.mp4", numbered(3))
    assert not list(tmp_path.iterdir())


def test_an_error_of_where_frames_come_from_stays_what_it_is(tmp_path, numbered):
    def frames():
        yield numbered(1)[0]
        raise FileNotFoundError(2, "No such file", "source.png")

    with pytest.raises(FileNotFoundError, match=r"source.png"):
        write_video(tmp_path / "v.mp4", frames())
