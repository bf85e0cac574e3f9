"""Which frames come back, how they look, and what is said of files that cannot be read."""

import contextlib
import gc
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from har_tf.video import VideoError, probe, read_clip, read_frames, reader, sliding_windows, write_video
from har_tf.video.reader import play, read_sampled, read_windows


@pytest.fixture(scope="module")
def clip40(tmp_path_factory, make_video, numbered):
    """40 numbered frames, with noise so that they fill some bytes; index in front, B frames, three GOPs."""
    noise = np.random.default_rng(0).integers(0, 40, (40, 48, 64, 3), np.uint8)
    folder = tmp_path_factory.mktemp("videos")
    settings = {"options": {"g": "15"}, "container": {"movflags": "+faststart"}}
    return make_video(folder / "clip.mp4", numbered(40) // 4 * 3 + noise, **settings)


def test_probe(clip40):
    info = probe(clip40)
    assert info.path == clip40
    assert (info.frames, info.claimed_frames, info.fps, info.duration) == (40, 40, 25.0, 1.6)
    assert (info.height, info.width, info.rotation, info.codec) == (48, 64, 0, "h264")


def test_indices_are_frames(clip40, numbers):
    # uniform: 39 / 4 = 9.75 apart.
    assert numbers(read_clip(clip40, 5)) == [0, 10, 20, 29, 39]
    assert numbers(read_clip(str(clip40), 4, start=10, stop=20)) == [10, 13, 16, 19]
    assert numbers(read_clip(clip40, 4, sampling="dense", start=17)) == [17, 18, 19, 20]
    assert numbers(read_clip(clip40, 4, sampling="strided", start=3, stride=5)) == [3, 8, 13, 18]
    assert numbers(read_clip(clip40, None, start=33)) == [33, 34, 35, 36, 37, 38, 39]
    assert numbers(read_clip(clip40, None)) == list(range(40))
    assert numbers(read_clip(clip40, 1)) == [0]


def test_the_clip_has_the_size_asked_for(clip40):
    clip = read_clip(clip40, 3, (30, 50))
    assert (clip.shape, clip.dtype, clip.flags.c_contiguous) == ((3, 30, 50, 3), np.uint8, True)
    assert read_clip(clip40).shape == (10, 128, 192, 3)
    assert read_clip(clip40, 2, None).shape == (2, 48, 64, 3)


def test_short_videos(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "short.mp4", numbered(3))
    assert numbers(read_clip(path, 5)) == [0, 1, 2, 2, 2]
    assert numbers(read_clip(path, 5, short="wrap")) == [0, 1, 2, 0, 1]
    assert numbers(read_clip(path, 3, short="error")) == [0, 1, 2]
    assert numbers(read_clip(path, 4, sampling="dense", start=1)) == [1, 2, 2, 2]
    with pytest.raises(VideoError, match=r"short\.mp4: 3 frames claimed, 3 decodable, 5 needed from frame 0 on"):
        read_clip(path, 5, short="error")
    with pytest.raises(VideoError, match="3 decodable, 5 needed from frame 3 on"):
        read_clip(path, 5, start=3)
    # A stop names a frame, so it is never made up.
    with pytest.raises(VideoError, match="3 decodable, 4 needed from frame 0 on"):
        read_clip(path, 2, stop=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, "num_frames=0"),
        ({"size": (128,)}, r"size=\(128,\)"),
        ({"size": (0, 10)}, r"size=\(0, 10\)"),
        ({"size": (12.5, 10)}, r"size=\(12.5, 10\)"),
        ({"sampling": "random"}, "sampling='random'"),
        ({"short": "loop"}, "short='loop'"),
        ({"start": -1}, "start=-1"),
        ({"start": 5, "stop": 5}, "start=5, stop=5"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_wrong_arguments_are_named_before_the_file_is_looked_at(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_clip("missing.mp4", **arguments)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "height", "width"),
    [
        ("odd.avi", "mpeg4", "yuv420p", 47, 63),
        ("odd.mkv", "ffv1", "yuv420p", 49, 65),
        ("grey.mp4", "libx264", "gray", 48, 64),
        ("grey.mkv", "ffv1", "gray", 48, 64),
        ("ten_bit.mp4", "libx264", "yuv420p10le", 48, 64),
        ("rgb.avi", "png", "rgb24", 48, 64),
        ("motion.avi", "mjpeg", "yuvj422p", 48, 64),
        ("four_four_four.mp4", "libx264", "yuv444p", 48, 64),
    ],
)
def test_every_pixel_format(tmp_path, make_video, numbered, numbers, name, codec, pix_fmt, height, width):
    path = make_video(tmp_path / name, numbered(12, height, width), codec, pix_fmt)
    clip = read_clip(path, 4, None)
    assert clip.shape == (4, height, width, 3)
    # 11 / 3 = 3.67 apart.
    assert numbers(clip) == numbers(read_clip(path, 4)) == [0, 4, 7, 11]
    # The two grey levels of `numbered`, whatever the depth and the range of the stored ones.
    bars = clip[0, :, 2 : width // 8 - 2].mean(), clip[1, :, width // 4 + 2 : width * 3 // 8 - 2].mean()
    assert bars == pytest.approx((30, 220), abs=6)


def test_grey_is_the_same_at_every_size(tmp_path, make_video):
    for level in (0, 77, 128, 255):
        path = make_video(tmp_path / "grey.mp4", np.full((2, 48, 64, 3), level, np.uint8), options={"qp": "1"})
        for size in (None, (48, 64), (24, 32), (96, 100)):
            assert np.abs(read_clip(path, 2, size).astype(int) - level).max() <= 2


def test_shrinking_does_not_alias(tmp_path, make_video):
    # Columns in turn black and white: at a quarter of the width each pixel is the mean of two of both.
    stripes = np.zeros((2, 32, 128, 3), np.uint8)
    stripes[:, :, ::2] = 255
    path = make_video(tmp_path / "stripes.mkv", stripes, "ffv1", "yuv444p")
    assert np.abs(read_clip(path, 2, (8, 32)).astype(int) - 127).max() <= 3


def test_variable_frame_rate(tmp_path, make_video, numbered, numbers):
    times = [0, 10, 20, 500, 510, 2000, 2001, 2002, 5000, 9000]
    for name in ("vfr.mp4", "vfr.mkv"):
        path = make_video(tmp_path / name, numbered(10), times=times)
        assert numbers(read_clip(path, 4)) == [0, 3, 6, 9]
        assert probe(path).frames == 10


@pytest.mark.parametrize(
    ("pixel_shape", "shape"),
    [
        (Fraction(3, 2), (48, 96)),
        (Fraction(2, 3), (72, 64)),
        (Fraction(64, 51), (48, 80)),
        (Fraction(1), (48, 64)),
    ],
)
def test_pixels_that_are_not_square(tmp_path, make_video, numbered, numbers, pixel_shape, shape):
    path = make_video(tmp_path / "clip.mp4", numbered(6), pixel_shape=pixel_shape)
    clip = read_clip(path, None, None)
    assert clip.shape[1:3] == (probe(path).height, probe(path).width) == shape
    assert numbers(clip) == [0, 1, 2, 3, 4, 5]
    assert read_clip(path, 2, (30, 50)).shape[1:3] == (30, 50)


ONE = 1 << 16
# The display matrix (a, b, u, c, d, v, x, y, w) and what numpy does to a frame to show it so.
MATRICES = {
    "none": ([ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30], lambda frame: frame, 0),
    "90": ([0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30], lambda frame: np.rot90(frame, -1), 90),
    "180": ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30], lambda frame: np.rot90(frame, 2), 180),
    "270": ([0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30], lambda frame: np.rot90(frame, 1), 270),
    "mirrored": ([-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30], lambda frame: frame[:, ::-1], 0),
    "upside down": ([ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30], lambda frame: frame[::-1], 0),
    "transposed": ([0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30], lambda frame: frame.swapaxes(0, 1), 90),
    "by 80 degrees": (
        [11380, 64540, 0, -64540, 11380, 0, 0, 0, 1 << 30],
        lambda frame: np.rot90(frame, -1),
        90,
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_rotation(tmp_path, make_video, name):
    matrix, shown, rotation = MATRICES[name]
    # Four quarters, four levels of grey: no two of the eight views are alike.
    frame = np.kron([[40, 90], [150, 210]], np.ones((24, 32)))[..., None].repeat(3, 2).astype(np.uint8)
    path = make_video(tmp_path / "clip.mp4", np.stack([frame] * 3), options={"qp": "1"}, matrix=matrix)
    expected = shown(frame)
    clip = read_clip(path, 2, None)
    assert clip.shape[1:] == expected.shape
    assert np.abs(clip.astype(int) - expected).max() <= 4
    info = probe(path)
    assert (info.height, info.width, info.rotation) == (*expected.shape[:2], rotation)
    half = read_clip(path, 2, (expected.shape[0] // 2, expected.shape[1] // 2))
    assert np.abs(half.astype(int) - expected[::2, ::2]).mean() <= 2


def test_rotation_and_pixel_shape_together(tmp_path, make_video, numbered):
    matrix = MATRICES["90"][0]
    path = make_video(tmp_path / "clip.mp4", numbered(3), matrix=matrix, pixel_shape=Fraction(3, 2))
    # 64 stored columns are 96 wide, and stand upright after the turn.
    assert read_clip(path, 2, None).shape == (2, 96, 48, 3)


def test_real_rotated_videos_show_the_same_scene(shared):
    upright = read_clip(shared / "data" / "clips" / "video_0.mov", 2, (64, 64)).astype(int)
    for degrees in (90, 180, 270):
        path = shared / "data" / "clips" / f"video_{degrees}.mov"
        assert probe(path).rotation == degrees
        assert read_clip(path, 2, None).shape == ((2, 320, 568, 3) if degrees == 180 else (2, 568, 320, 3))
        stored = next(av.open(str(path)).decode(video=0)).to_ndarray(format="rgb24")
        assert np.array_equal(read_clip(path, 1, None)[0], np.rot90(stored, -degrees // 90))
    assert upright.std() > 10


def test_real_odd_files(shared):
    clips = shared / "data" / "clips"
    found = {name: probe(clips / name) for name in ("demo.mp4", "unordered.mov", "v_biking_01_01.mpg")}
    # 340 x 256 pixels of 64 : 51.
    assert (found["demo.mp4"].frames, found["demo.mp4"].width, found["demo.mp4"].height) == (280, 427, 256)
    assert (found["unordered.mov"].frames, found["v_biking_01_01.mpg"].frames) == (4, 151)
    assert probe(clips / "flipping_a_pancake.mkv").frames == 310
    with pytest.raises(VideoError, match=r"corrupted\.mp4: corrupt: "):
        read_clip(clips / "corrupted.mp4")
    with pytest.raises(VideoError, match=r"corrupted\.mp4: corrupt: "):
        probe(clips / "corrupted.mp4")


def test_packets_without_a_picture_are_not_frames(shared):
    path = shared / "data" / "ucf10" / "TrampolineJumping" / "v_TrampolineJumping_g06_c04.avi"
    info = probe(path)
    assert (info.claimed_frames, info.frames) == (330, 327)
    last = read_clip(path, None, None, start=326)
    assert np.array_equal(read_clip(path, 10, None)[-1:], last)
    # Nothing is lost, so the file counts as short, not as damaged.
    assert len(read_clip(path, 330, (8, 8), "dense")) == 330


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_video_cut_off_ends_with_its_last_sound_frame(tmp_path, clip40, numbers):
    data = clip40.read_bytes()
    path = write_bytes(tmp_path / "cut.mp4", data[: len(data) * 6 // 10])
    info = probe(path)
    assert info.claimed_frames == 40 and 10 < info.frames < 35
    with av.open(str(path)) as container:
        sound = []
        with pytest.raises(av.FFmpegError):
            sound.extend(numbers(frame.to_ndarray(format="rgb24")[None])[0] for frame in container.decode(video=0))
    everything = numbers(read_clip(path, None))
    assert len(everything) == info.frames and everything[:10] == list(range(10))
    assert numbers(read_clip(path, 2)) == [everything[0], everything[-1]]
    expected = f"cut.mp4: 40 frames claimed, {info.frames} decodable, 36 needed from frame 0 on"
    for short in ("repeat_last", "wrap", "error"):
        with pytest.raises(VideoError, match=re.escape(expected)):
            read_clip(path, 36, short=short)
    # More than was ever claimed: short either way.
    assert len(read_clip(path, 50, (8, 8))) == 50
    # At half the speed 20 frames are 39 of the 40 that are claimed, 30 are more than all.
    at = {"size": (8, 8), "sampling": "dense", "by": "12.5fps", "short": "wrap"}
    with pytest.raises(VideoError, match=re.escape(expected.replace("36 needed", "39 needed"))):
        read_clip(path, 20, **at)
    assert len(read_clip(path, 30, **at)) == 30
    assert np.array_equal(read_clip(path, 4, **at), read_clip(path, 8, (8, 8), "dense")[::2])


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_containers_cut_off(tmp_path, make_video, numbered, numbers, suffix):
    whole = make_video(tmp_path / f"whole{suffix}", numbered(40), "mpeg4")
    with av.open(str(whole)) as container:
        position = [packet.pos for packet in container.demux(video=0)][25]
    # 25 whole packets, and a piece of the next.
    cut = write_bytes(tmp_path / f"cut{suffix}", whole.read_bytes()[: position + 20])
    info = probe(cut)
    assert (info.frames, info.claimed_frames) == (25, 40)
    assert numbers(read_clip(cut, 3)) == [0, 12, 24]
    assert numbers(read_clip(cut, 3, sampling="dense", start=22)) == [22, 23, 24]
    with pytest.raises(VideoError, match="40 frames claimed, 25 decodable, 38 needed from frame 0 on"):
        read_clip(cut, 38)


def test_damage_in_the_middle_is_an_error(tmp_path, clip40):
    data = bytearray(clip40.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 400] = bytes(400)
    path = write_bytes(tmp_path / "damaged.mp4", data)
    for read in (probe, lambda path: read_clip(path, None)):
        with pytest.raises(VideoError, match=r"damaged\.mp4: corrupt: .*frames"):
            read(path)


def wrong_files(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "folder").mkdir()
    with av.open(str(folder / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
    image.save(str(folder / "image.png"))
    shutil.copy(folder / "image.png", folder / "image.mp4")
    text = b"a line of text\n" * 200
    return {
        "missing": (folder / "missing.mp4", "no such file"),
        "below a file": (folder / "image.mp4" / "clip.mp4", "no such file"),
        "name too long": (folder / ("a" * 300), "cannot be opened .File name too long"),
        "empty": (write_bytes(folder / "empty.mp4", b""), "empty file"),
        "folder": (folder / "folder", "a folder"),
        "device": (Path(os.devnull), "not a regular file"),
        "text": (write_bytes(folder / "text.avi", text), "not a video"),
        "text by name": (write_bytes(folder / "text.txt", text), "not a video"),
        "noise": (write_bytes(folder / "noise.mp4", bytes(range(256)) * 40), "not a video"),
        "sound": (folder / "sound.mp4", "no video stream, only audio"),
        "image": (folder / "image.mp4", "not a video"),
        "list": (write_bytes(folder / "list.mp4", b"ffconcat version 1.0\nfile image.mp4\n"), "not a video"),
    }


def test_files_that_are_no_videos(tmp_path, capfd):
    for path, reason in wrong_files(tmp_path).values():
        for read in (probe, read_clip):
            with pytest.raises(VideoError, match=reason) as caught:
                read(path)
            assert caught.value.path == path
            assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_index_lost(tmp_path, make_video, numbered):
    whole = make_video(tmp_path / "whole.mp4", numbered(10)).read_bytes()
    with pytest.raises(VideoError, match="not a video, or its beginning or index is lost"):
        read_clip(write_bytes(tmp_path / "cut.mp4", whole[: len(whole) // 2]))


def test_no_frame_can_be_decoded(tmp_path, clip40):
    data = clip40.read_bytes()
    path = write_bytes(tmp_path / "none.mp4", data[: data.index(b"mdat") + 8])
    with pytest.raises(VideoError, match="40 frames claimed, 0 decodable, 10 needed from frame 0 on"):
        read_clip(path)
    with pytest.raises(VideoError, match="40 frames claimed, 0 decodable, at least 1 needed"):
        probe(path)


def test_names_are_taken_literally(tmp_path, clip40, numbers, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.mp4", "%03d.mp4", "with space é.mp4", "-y.mp4"):
        shutil.copy(clip40, tmp_path / name)
        assert numbers(read_clip(Path(name), 2)) == [0, 39]


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=44100, layout="mono")
        cover = file.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        file.mux(sound.encode(frame))
        file.mux(sound.encode())
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        file.mux(cover.encode(picture.reformat(format="yuvj420p")))
        file.mux(cover.encode())
    with pytest.raises(VideoError, match="no video stream"):
        read_clip(path)


def test_no_file_stays_open(tmp_path, clip40):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc")
    cut = write_bytes(tmp_path / "cut.mp4", clip40.read_bytes()[:2000])
    gc.collect()  # what tests before this one dropped
    before = len(list(folder.iterdir()))
    for path in (clip40, cut, tmp_path / "missing.mp4"):
        for _ in range(5):
            with contextlib.suppress(VideoError):
                read_clip(path, 30)
    assert len(list(folder.iterdir())) == before


def test_large_files_are_read_without_keeping_their_packets(clip40, numbers, monkeypatch):
    monkeypatch.setattr("har_tf.video.stream._KEEP_BYTES", 0)
    assert numbers(read_clip(clip40, 5)) == [0, 10, 20, 29, 39]
    assert numbers(read_clip(clip40, 3, sampling="dense", start=20)) == [20, 21, 22]


def test_the_package_needs_no_tensorflow():
    code = "import sys, har_tf.video; sys.exit(any(m in sys.modules for m in ('tensorflow', 'keras', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.webm"])
def test_frames_come_by_their_indices_in_any_order(tmp_path, make_video, numbered, numbers, name):
    codec = {"clip.mp4": "libx264", "clip.avi": "mpeg4", "clip.webm": "libvpx-vp9"}[name]
    path = make_video(tmp_path / name, numbered(30), codec, options={"g": "7"})
    assert numbers(read_frames(path, [29, 3, 3, 0], size=None)) == [29, 3, 3, 0]
    windows = sliding_windows(30, 8, hop=5)
    clips = read_frames(path, windows, size=(24, 32))
    assert clips.shape == (6, 8, 24, 32, 3)
    assert np.array_equal(clips[1], read_clip(path, 8, (24, 32), "dense", start=5))
    with pytest.raises(VideoError, match="30 decodable, 31 needed from frame 0 on"):
        read_frames(path, [30])
    for wrong in ([], [-1], [0.5]):
        with pytest.raises(ValueError, match="indices must be whole numbers of at least 0"):
            read_frames(path, wrong)


def test_a_file_that_changes_between_two_passes_is_told(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "clip.webm", numbered(12), "libvpx-vp9")
    passes = iter([(None, np.arange(12.0)), (None, np.arange(9.0))])
    monkeypatch.setattr("har_tf.video.reader._read_in_order", lambda *_: next(passes))
    with pytest.raises(VideoError, match="changed while it was read: first 12 frames, then 9"):
        read_clip(path, 4)


def test_windows_lie_side_by_side_and_end_with_the_video(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "v.mp4", numbered(20))

    def read(windows, frames=4, **how):
        return [numbers(clip) for clip in read_windows(path, windows, frames, (48, 64), **how)]

    assert read(9, 6) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11], [12, 13, 14, 15, 16, 17], [14, 15, 16, 17, 18, 19]]
    assert [clip[0] for clip in read(3)] == [0, 8, 16]  # of 0, 4, 8, 12 and 16
    assert read(1) == [[0, 1, 2, 3]]
    assert read(9, sampling="strided") == [[0, 2, 4, 6], [7, 9, 11, 13], [13, 15, 17, 19]]
    assert read(9, by="12.5fps") == [[0, 2, 4, 6], [8, 10, 12, 14], [12, 14, 16, 18]]
    assert [len(clip) for clip in read(9, 30, short="wrap")] == [30]
    with pytest.raises(VideoError, match=r"v.mp4: 20 frames from frame 0 on, 30 needed"):
        read(9, 30, short="error")
    for windows, how in ((0, {}), (2, {"sampling": "uniform"})):
        with pytest.raises(ValueError, match="windows are at least 1"):
            read(windows, **how)


@pytest.mark.parametrize("rotated", [False, True])
def test_a_crop_is_the_centre_of_the_evenly_scaled_frame(tmp_path, make_video, rotated):
    # Six bars of 16 columns; half as large they are 8 wide, and the middle four make the square of 32.
    frames = np.zeros((3, 64, 96, 3), np.uint8)
    levels = [10, 60, 110, 160, 210, 250]
    for bar, level in enumerate(levels):
        frames[:, :, 16 * bar : 16 * bar + 16] = level
    matrix = [0, 65536, 0, -65536, 0, 0, 0, 0, 1073741824] if rotated else None
    path = make_video(tmp_path / "bars.mp4", frames, options={"qp": "0"}, matrix=matrix)
    clip = read_clip(path, 2, (32, 32), fit="crop")
    assert clip.shape == (2, 32, 32, 3)
    line = clip[0, :, 16] if rotated else clip[0, 16]
    line = line[::-1] if rotated and int(line[0, 0]) > int(line[-1, 0]) else line
    assert np.abs(line[4::8, 0].astype(int) - levels[1:5]).max() <= 2
    # Where the shapes agree, nothing is cut.
    size = (48, 32) if rotated else (32, 48)
    assert np.array_equal(read_clip(path, 2, size, fit="crop"), read_clip(path, 2, size))
    with pytest.raises(ValueError, match="fit must be one of stretch, crop, inner. Received: fit='pad'"):
        read_clip(path, 2, size, fit="pad")


def test_an_inner_crop_is_seven_eighths_of_a_crop(tmp_path, make_video):
    """A white square of 56 of 64 x 96 pixels is all of it; of a crop the black around it is the outer sixteenth."""
    frames = np.zeros((2, 64, 96, 3), np.uint8)
    frames[:, 4:60, 20:76] = 255
    path = make_video(tmp_path / "square.mp4", frames, options={"qp": "0"})
    for size in (56, 112):
        inner = read_clip(path, 1, (size, size), fit="inner")
        assert inner.shape == (1, size, size, 3)
        # One line of what is scaled may have a share of the black outside.
        assert inner[:, 1:-1, 1:-1].min() > 250
    crop = read_clip(path, 1, (64, 64), fit="crop")[0, :, :, 0]
    assert (crop > 127).sum() == 56 * 56 and crop[4:60, 4:60].min() > 250


def test_a_crop_takes_the_shape_of_the_pixels_into_account(tmp_path, make_video):
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[:, :, 16:48] = 200
    path = make_video(tmp_path / "wide.mp4", frames, options={"qp": "0"}, pixel_shape=Fraction(2, 1))
    # Displayed 64 x 128: the middle 64 columns are the white ones.
    assert read_clip(path, 1, (32, 32), fit="crop").min() > 190
    assert read_clip(path, 1, (32, 32)).min() < 10


def test_a_file_that_disappears_while_it_is_read_is_told(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "clip.avi", numbered(12), "mpeg4")

    def gone(*_, **__):
        raise FileNotFoundError(2, "No such file")

    monkeypatch.setattr(Path, "open", gone)
    with pytest.raises(VideoError, match="clip.avi: cannot be read .No such file"):
        read_clip(path, 4)


def test_a_title_in_another_encoding_does_no_harm(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "clip.avi", numbered(12), "mpeg4")
    data = path.read_bytes()
    title = data.index(b"ISFT") + 8
    path.write_bytes(data[:title] + b"\xc9t\xe9" + data[title + 3 :])  # Latin-1, as many cameras write it
    assert probe(path).frames == 12
    assert numbers(read_clip(path, 3, size=None)) == numbers(read_clip(path, 3)) == [0, 6, 11]


def test_a_sampled_clip_knows_its_frames(tmp_path, make_video, numbered, numbers):
    for name, codec in (("a.avi", "mpeg4"), ("b.mp4", "libx264")):
        path = make_video(tmp_path / name, numbered(12), codec)
        for how in ({}, {"sampling": "strided"}, {"short": "wrap", "num_frames": 15}):
            how = {"num_frames": 4, "size": None, **how}
            clip, frames = read_sampled(path, **how)
            assert numbers(clip) == frames.tolist()
            np.testing.assert_array_equal(clip, read_clip(path, **how))


def test_a_video_is_played_frame_by_frame_at_its_times(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "v.mp4", numbered(12))
    frames, seconds = zip(*play(path), strict=True)
    assert numbers(np.stack(frames)) == list(range(12))
    assert seconds == pytest.approx(np.arange(12) / probe(path).fps)
    assert next(play(path, (20, 30)))[0].shape == (20, 30, 3)
    rounded = write_video(tmp_path / "r.mp4", zip(numbered(6), [0, 0.0334, 0.0666, 0.5, 0.6, 0.7], strict=True), fps=30)
    assert [second for _, second in play(rounded)][3:] == pytest.approx([0.5, 0.6, 0.7], abs=2e-3)
    with pytest.raises(VideoError, match="no such file"):
        next(play(tmp_path / "gone.mp4"))


def test_damaged_time_stamps_do_not_stop_the_clock(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "v.mp4", numbered(4))
    real = reader._decode

    def damaged(*arguments):
        for number, frame in enumerate(real(*arguments)):
            frame.pts = [0, 10**12, None, 0][number]
            yield frame

    monkeypatch.setattr(reader, "_decode", damaged)
    step = 1 / probe(path).fps
    assert [second for _, second in play(path)] == pytest.approx([0, step, 2 * step, 3 * step])


def test_a_stamp_that_comes_twice_is_one_step_later(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "v.mp4", numbered(6))
    real = reader._decode

    def twice(*arguments):
        before = None
        for number, frame in enumerate(real(*arguments)):
            frame.pts = before if number == 3 else 3 * frame.pts
            before = frame.pts
            yield frame

    monkeypatch.setattr(reader, "_decode", twice)
    step = 1 / 25
    assert [second for _, second in play(path)] == pytest.approx(
        [0, 3 * step, 6 * step, 7 * step, 12 * step, 15 * step]
    )
