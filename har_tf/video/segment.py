"""A stretch of an untrimmed video that is given in seconds, as annotations of segments are.

Frame i is shown from i / rate on, so second t is the boundary in front of frame round(t * rate), halves rounded
up. The rate is the mean one of the file: of a video with uneven distances between frames, boundaries may be off
by as much as the frames are.

Annotations run past the end of some videos. A segment that starts inside the video ends with it if what is lacking
is at most a second, and at most half of the segment; otherwise the annotation is of another video, or wrong, and
`VideoError` is raised. It is raised as well where the file is cut off: what is lacking was once there.
"""

import math
from fractions import Fraction
from os import PathLike

import numpy as np

from .errors import VideoError
from .guard import Guard
from .reader import probe, read_clip
from .sampling import frames_needed
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
    rate = frame_rate(path)
    first, stop = frame_range(start, end, rate)
    name = f"segment from {start:g} to {end:g} s"
    needed = frames_needed(num_frames, sampling)
    if short == "error" and stop - first < needed:
        raise VideoError(path, f"{name}: {stop - first} frames, {needed} needed")
    try:
        return read_clip(path, num_frames, size, sampling, first, stop, short, threads=threads, fit=fit, by=by)
    except VideoError as error:
        last = _end_inside(path, first, stop, rate, threads)
        if last is None or (short == "error" and last - first < needed):
            raise VideoError(path, f"{name}: {error.reason}") from error
    return read_clip(path, num_frames, size, sampling, first, last, short, threads=threads, fit=fit, by=by)


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
