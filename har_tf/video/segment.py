"""A stretch of an untrimmed video that is given in seconds, as annotations of segments are.

Frame i is shown from i / rate on, so second t is the boundary in front of frame round(t * rate), halves rounded
up. Of a video whose frames lie unevenly, a segment goes by their time stamps: from the frame that is shown at its start
to the last one that is shown before its end.

Annotations run past the end of some videos. A segment that starts inside the video ends with it if what is lacking
is at most a second, and at most half of the segment; otherwise the annotation is of another video, or wrong, and
`VideoError` is raised. It is raised as well where the file is cut off: what is lacking was once there.
"""

import math
from fractions import Fraction
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np

from .errors import VideoError
from .guard import Guard, regular_file
from .reader import probe, read_clip, seconds_of
from .sampling import frames_needed, is_even
from .stream import open_stream, scan_packets

TOLERANCE = 1  # seconds that a segment may run past the end


def frame_rate(path: str | PathLike) -> Fraction:
    """Mean frames per second, as the file says, without decoding it.

    Raises:
        VideoError: the file cannot be opened as a video, or does not say its rate.
    """
    guard = Guard(path)
    with open_stream(guard) as stream:
        rate = stream.average_rate or stream.guessed_rate
    if not rate or rate < 0:
        raise VideoError(path, "does not say its frame rate, which a segment in seconds needs")
    return Fraction(rate)


def frame_range(start: float, end: float, rate: Fraction) -> tuple[int, int]:
    """(first frame, frame after the last) of the segment from `start` to `end` seconds; at least one frame.

    Raises:
        ValueError: not 0 <= start < end, or a number is not finite.
    """
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise ValueError(f"a segment must have 0 <= start < end, in seconds. Received: {start=}, {end=}.")
    # From the decimal that was written, so that 0.3 s at 25 frames/s is 7.5 frames and not a hair less.
    first, stop = (math.floor(Fraction(str(float(second))) * rate + Fraction(1, 2)) for second in (start, end))
    return first, max(stop, first + 1)


def read_segment(
    path: str | PathLike,
    start: float,
    end: float,
    num_frames: int | None = 10,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    threads: int | None = None,
    fit: str = "stretch",
    by: str = "frame",
) -> np.ndarray:
    """Reads a clip of the segment from `start` to `end` seconds; the other arguments are those of `read_clip`.

    Returns:
        (T, height, width, 3) uint8 RGB.

    Raises:
        VideoError: see `read_clip`; or the segment does not lie in the video, see above.
        ValueError: an argument is out of its range.
    """
    rate, seconds = _pace(path)
    first, stop = frame_range(start, end, rate) if seconds is None else _shown(start, end, seconds)
    name = f"segment from {start:g} to {end:g} s"
    needed = frames_needed(num_frames, sampling, by=by)
    if short == "error" and stop - first < needed:
        raise VideoError(path, f"{name}: {stop - first} frames, {needed} needed")
    try:
        return read_clip(path, num_frames, size, sampling, first, stop, short, threads=threads, fit=fit, by=by)
    except VideoError as error:
        last = _end_inside(path, first, stop, rate, threads)
        if last is None or (short == "error" and last - first < needed):
            raise VideoError(path, f"{name}: {error.reason}") from error
    return read_clip(path, num_frames, size, sampling, first, last, short, threads=threads, fit=fit, by=by)


def _pace(path: str | PathLike) -> tuple[Fraction, np.ndarray | None]:
    """Mean frames per second of a video, and the seconds of its frames where they lie unevenly; None: evenly."""
    path = regular_file(path)
    status = path.stat()
    return _pace_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _pace_of(path: Path, size: int, modified: int) -> tuple[Fraction, np.ndarray | None]:
    # The segments of a video are read one after the other, and this takes a pass over its packets.
    rate, guard = frame_rate(path), Guard(path)
    with open_stream(guard) as stream:
        if stream.container.format.name == "avi":  # which has one rate
            return rate, None
        seconds = seconds_of(stream, scan_packets(guard, stream, keep=False))
    if seconds is None or is_even(seconds):
        return rate, None
    return Fraction(len(seconds) - 1) / Fraction(float(seconds[-1])), seconds


def _shown(start: float, end: float, seconds: np.ndarray) -> tuple[int, int]:
    """(first frame, frame after the last) that is shown between two times; behind the end in frames of mean length."""
    frame_range(start, end, Fraction(1))  # which checks them
    count, step = len(seconds), seconds[-1] / (len(seconds) - 1)
    behind = [max(0, math.floor((time - seconds[-1]) / step + 0.5) - 1) for time in (start, end)]
    first = int(np.searchsorted(seconds, start + 1e-6, side="right")) - 1
    stop = int(np.searchsorted(seconds, end - 1e-6, side="left"))
    if start >= seconds[-1] + step:
        first = count + behind[0]
    return first, max(stop + behind[1] * (stop == count), first + 1)


def _end_inside(path: str | PathLike, first: int, stop: int, rate: Fraction, threads: int | None) -> int | None:
    """The number of frames of a whole video that ends a little before `stop`, else None."""
    tolerance = min(TOLERANCE * rate, Fraction(stop - first, 2))
    guard = Guard(path)
    with open_stream(guard) as stream:
        packets = scan_packets(guard, stream, keep=False).count
    if not stop - tolerance <= packets <= stop or packets <= first:
        return None
    info = probe(path, threads)  # a packet is not in every file a frame
    whole = info.claimed_frames is None or info.claimed_frames <= info.frames
    return info.frames if whole and first < info.frames and stop - tolerance <= info.frames < stop else None
