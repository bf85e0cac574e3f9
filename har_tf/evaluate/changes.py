"""Changes of a clip in time and in place that a person would still answer, or could not: what a model uses shows there.

Changes in time are which frames of the clip are shown: int (T,) for a clip of T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from os import PathLike
from typing import Any

import cv2
import numpy as np

from har_tf.files.limits import MEMORY, TIMEOUT
from har_tf.files.workers import Failed, outcomes
from har_tf.video.reader import probe, read_frames, read_sampled

CENTRE = 0.5  # of the height and of the width that `centre` keeps


def one_frame(frames: int) -> np.ndarray:
    """The middle frame throughout; of an even number the later one of the two in the middle."""
    return np.full(frames, frames // 2)


def shuffled(frames: int, rng: np.random.Generator) -> np.ndarray:
    """All frames in an order drawn at random that is neither the clip's nor its reverse, if there is another."""
    forwards = np.arange(frames)
    while True:
        order = rng.permutation(frames)
        told = (order == forwards).all() or (order == forwards[::-1]).all()
        if not told or frames < 3:
            return order


def backwards(frames: int) -> np.ndarray:
    """The last frame first."""
    return np.arange(frames)[::-1]


def without_middle(frames: int) -> np.ndarray:
    """The middle half is gone: each frame of it is the nearest one that is left. Of 8: 0 1 1 1 6 6 6 7.

    A quarter of the frames, rounded down, is left on either side, one at least.
    """
    kept, order = max(frames // 4, 1), np.arange(frames)
    return np.where(order < frames / 2, np.minimum(order, kept - 1), np.maximum(order, frames - kept))


def at_speed(indices: np.ndarray, available: int, speed: float) -> np.ndarray:
    """Which frames a clip holds that is centred on the same moment and runs at another speed.

    Args:
        indices: int (T,), the frames of the video that make the clip; of a clip alone 0 to T - 1.
        available: frames of the video; of a clip alone T.
        speed: 2 for twice the speed. The clip then reaches twice as far; where the video has ended, or has not begun,
            its last or first frame stands. At half the speed it shows its middle half, with the frames in between
            where the video has them, and else each about twice.

    Returns:
        int64 (T,), in 0 to available - 1.

    Example:
        >>> at_speed(np.arange(6), 6, 2)
        array([0, 0, 2, 4, 5, 5])
    """
    count = len(indices)
    places = (count - 1) / 2 + (np.arange(count) - (count - 1) / 2) * speed
    step = (indices[-1] - indices[0]) / max(count - 1, 1)
    inside = np.interp(places, np.arange(count), indices)
    beyond = np.minimum(places, 0) + np.maximum(places - (count - 1), 0)
    return np.clip(np.floor(inside + beyond * step + 0.5), 0, available - 1).astype(np.int64)


def read_at_speed(path: str | PathLike, reading: Mapping[str, Any], speed: float) -> np.ndarray:
    """A clip of a video file at another speed, see `at_speed`.

    Args:
        path: the file.
        reading: arguments of `read_clip` by which the clip was read.
        speed: 2 for twice the speed.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        har_tf.video.VideoError: as `read_clip`.
    """
    _, indices = read_sampled(path, **{**reading, "size": (16, 16)})
    wanted = at_speed(indices, probe(path).frames, speed)
    return read_frames(path, wanted, reading["size"], fit=reading.get("fit", "stretch"))


@contextmanager
def from_videos(
    paths: Sequence[str | PathLike | None], reading: Mapping[str, Any], speeds: Sequence[float] = (0.5, 2), workers=2
) -> Iterator[Callable[[int, float], np.ndarray | None]]:
    """Reads clips at other speeds ahead, in processes that may take as much time and memory as `files.limits` says.

    Args:
        paths: the video of each clip; None: it has none.
        reading: as in `read_at_speed`.
        speeds: of each clip.
        workers: processes that decode; 0: none beside this one, and no limits.

    Yields:
        A function (row, speed) -> that clip at that speed, see `read_at_speed`; None of a clip without a video, or
        whose video cannot be read. Each is given once; asked for in the order of rows, few are in memory.
    """
    rows = [row for row, path in enumerate(paths) if path is not None]
    read = partial(_at_speeds, reading=dict(reading), speeds=tuple(speeds))
    waiting: dict[int, dict[float, np.ndarray]] = {}
    with closing(outcomes(read, [paths[row] for row in rows], workers, TIMEOUT, MEMORY)) as found:
        ahead = zip(rows, found, strict=True)

        def at_speed(row: int, speed: float) -> np.ndarray | None:
            while paths[row] is not None and row not in waiting:
                done, clips = next(ahead)
                waiting[done] = {} if isinstance(clips, Failed) else dict(zip(speeds, clips, strict=True))
            return waiting[row].pop(speed, None) if row in waiting else None

        yield at_speed


def _at_speeds(path: str | PathLike, reading: dict[str, Any], speeds: tuple[float, ...]) -> list[np.ndarray]:
    return [read_at_speed(path, reading, speed) for speed in speeds]


def mirrored(clip: np.ndarray) -> np.ndarray:
    """Left and right exchanged, (T, H, W, 3)."""
    return clip[:, :, ::-1]


def centre(clip: np.ndarray) -> np.ndarray:
    """The middle half of the height and of the width, enlarged to the clip's size, (T, H, W, 3)."""
    height, width = clip.shape[1:3]
    rows, columns = (max(round(side * CENTRE), 1) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = clip[:, top : top + rows, left : left + columns]
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in cut])
