"""Write clips as files that a browser plays: H.264 videos; and what goes with it, as animations do."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from har_tf.files.whole import FULL, whole_file

from .errors import VideoError
from .reader import probe
from .stream import check_threads

# Average the colours that share a chroma sample, without swscale's shortcuts.
_CONVERSION = Interpolation.AREA | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND

Timed = tuple[np.ndarray, float]  # a frame and the second at which it is shown

_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)


def write_video(
    path: str | PathLike,
    frames: np.ndarray | Iterable[np.ndarray | Timed],
    fps: float = 10,
    crf: float = 18,
    qp: int | None = None,
    keyint: int | None = None,
    preset: str = "veryfast",
    threads: int | None = None,
) -> Path:
    """Write frames as an H.264 mp4 file (yuv420p, index in front) and read it back.

    The file appears under its name only when it is complete and has been read back: decoded from end to end,
    with as many frames as were given and of their size. An odd height or width, which yuv420p cannot store,
    is made even by repeating the last row or column.

    With `keyint=1` and a `qp` every frame is coded by itself with the same quantiser, whatever stands beside
    it: the decoded frames of a reversed list are the reversed decoded frames, bit for bit.

    Args:
        path: file to write, ending in .mp4; its folder must exist. An existing file is replaced.
        frames: (T, H, W, 3) uint8 RGB, or an iterable of T frames (H, W, 3), T at least 1; or of pairs of a frame and
            the second at which it is shown, rising, for a video whose frames lie unevenly.
        fps: frames per second; of pairs their mean, near enough.
        crf: x264's quality, 0 (lossless) to 51; 18 looks like the original.
        qp: constant quantiser, 0 to 51, in place of `crf`.
        keyint: most frames from one key frame to the next; 1 makes every frame a key frame, None leaves it to
            x264.
        preset: x264's preset, from "ultrafast" to "placebo".
        threads: encoding threads; None lets x264 choose. Processes that share a machine want 1.

    Returns:
        The path.

    Raises:
        VideoError: the path cannot be written, or what was written does not read back as it should.
        ValueError: frames of another type or shape, or an argument out of its range.

    Example:
        >>> write_video("black.mp4", np.zeros((20, 96, 128, 3), np.uint8), fps=10)
        PosixPath('black.mp4')
    """
    rate, options = _settings(fps, crf, qp, keyint, preset)
    check_threads(threads)
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise VideoError(path, "cannot be written: the name must end in .mp4")
    with whole_video(path, frames) as (part, checked, shape):
        written = _encode(path, part, checked, rate, options, threads or 0)
        _read_back(path, part, written, shape, threads)
    return path


@contextmanager
def whole_video(path: Path, frames) -> Iterator[tuple[Path, Iterator[tuple[np.ndarray, float | None]], tuple]]:
    """Gives (a file beside `path` to write to, checked frames with their seconds or None, the shape of one).

    The file is moved to `path` if the block ends well, and else removed, as `whole_file` does.

    Raises:
        VideoError: the path cannot be written, or the disk is full.
    """
    if path.is_dir():
        raise VideoError(path, "cannot be written: it is a folder")
    checked = _checked(frames)
    first = next(checked)
    try:
        os.scandir(path.parent).close()  # `whole_file` would make a folder that is missing
        with whole_file(path) as part:
            part.touch()  # what cannot be written is told before the work
            yield part, chain([first], checked), first[0].shape
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) not in (path, path.parent):
            raise  # of where the frames come from
        raise VideoError(path, f"cannot be written: {error.strerror}") from error


def _settings(
    fps: float, crf: float, qp: int | None, keyint: int | None, preset: str
) -> tuple[Fraction, dict[str, str]]:
    """The frame rate and x264's options, checked."""
    if not isinstance(fps, int | float | Fraction | np.number) or not 0 < fps <= 1000:
        raise ValueError(f"fps must be a number in (0, 1000]. Received: fps={fps!r}.")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf must lie in [0, 51]. Received: crf={crf!r}.")
    if qp is not None and not 0 <= qp <= 51:
        raise ValueError(f"qp must be None or lie in [0, 51]. Received: qp={qp!r}.")
    if keyint is not None and keyint < 1:
        raise ValueError(f"keyint must be None or at least 1. Received: keyint={keyint!r}.")
    if preset not in _PRESETS:
        raise ValueError(f"preset must be one of {', '.join(_PRESETS)}. Received: preset={preset!r}.")
    options = {"preset": preset, "crf": str(crf)} if qp is None else {"preset": preset, "qp": str(qp)}
    if keyint is not None:
        options["g"] = str(keyint)
    if keyint == 1:
        # Nothing to look ahead for, and nothing that would make a frame depend on its neighbours.
        options |= {
            "bf": "0",
            "rc-lookahead": "0",
            "aq-mode": "0",
            "x264-params": "sync-lookahead=0:mbtree=0",
        }
    return Fraction(fps).limit_denominator(1001), options


def _checked(frames: np.ndarray | Iterable[np.ndarray | Timed]) -> Iterator[tuple[np.ndarray, float | None]]:
    """The frames with their seconds one by one, each checked to be uint8 RGB of the size of the first; at least one."""
    if isinstance(frames, np.ndarray) and frames.ndim != 4:
        raise ValueError(f"frames must be (T, H, W, 3). Received: shape {frames.shape}.")
    shape, before = None, -math.inf
    for number, frame in enumerate(frames):
        frame, second = frame if isinstance(frame, tuple) else (frame, None)
        if second is not None and not before < second < math.inf:
            raise ValueError(f"seconds must rise. Received: {second} for frame {number}, {before} before it.")
        before = before if second is None else second
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
            found = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
            raise ValueError(f"frames must be uint8 arrays. Received: {found} for frame {number}.")
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
            raise ValueError(f"a frame must be (H, W, 3). Received: shape {frame.shape} for frame {number}.")
        if shape is not None and frame.shape != shape:
            raise ValueError(
                f"frames must all have the shape of the first, {shape}. "
                f"Received: shape {frame.shape} for frame {number}."
            )
        shape = frame.shape
        yield frame, second
    if shape is None:
        raise ValueError("frames must hold at least one frame. Received: none.")


def _encode(
    path: Path,
    part: Path,
    frames: Iterator[tuple[np.ndarray, float | None]],
    rate: Fraction,
    options: dict[str, str],
    threads: int,
) -> int:
    """Encode all frames into `part`; returns their number."""
    count, latest, stream, begin = 0, -1, None, None
    # Ticks that even frames of this rate fall on, fine enough for uneven ones.
    base = Fraction(1, rate.numerator * -(-60_000 // rate.numerator))
    try:
        with av.open(f"file:{part}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            for pixels, second in frames:
                height, width = pixels.shape[:2]
                if height % 2 or width % 2:
                    pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.height, stream.width = pixels.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    context = stream.codec_context
                    context.thread_count = threads
                    context.time_base = 1 / rate if second is None else base
                    # swscale's matrix, BT.601; said in the file, because players guess by the size otherwise.
                    context.colorspace, context.color_range = 6, 1
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                frame = frame.reformat(format="yuv420p", interpolation=_CONVERSION, threads=1)
                begin = second if begin is None else begin
                latest = count if second is None else max(latest + 1, round((second - begin) / base))
                frame.pts = latest
                frame.time_base = 1 / rate if second is None else base
                container.mux(stream.encode(frame))
                count += 1
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise unwritten(path, error) from error
    return count


def unwritten(path: Path, error: av.FFmpegError) -> VideoError | OSError:
    """An error of FFmpeg as the caller meets it; of a full disk `whole_file` says how much was written."""
    if error.errno in FULL:
        return OSError(error.errno, os.strerror(error.errno))
    return VideoError(path, f"cannot be written: {error.strerror or error}")


def _read_back(path: Path, part: Path, count: int, shape: tuple[int, ...], threads: int | None) -> None:
    try:
        info = probe(part, threads)
    except VideoError as error:
        raise VideoError(path, f"written, but does not read back: {error.reason}") from error
    expected = (count, shape[0] + shape[0] % 2, shape[1] + shape[1] % 2)
    found = (info.frames, info.height, info.width)
    if found != expected:
        described = "{} frames of {}x{}".format
        raise VideoError(path, f"written, but reads back as {described(*found)}, expected {described(*expected)}")
