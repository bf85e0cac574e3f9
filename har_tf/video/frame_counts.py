"""How many frames of each of many videos can be decoded, for annotations that go by frame.

Videos are decoded in processes of their own, within limits, so that one that crashes the decoder, hangs it or makes it
eat memory is one that cannot be read. `Manifest.frame_counts` knows what `check` decoded, which spares that work.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from har_tf.files.limits import MEMORY, TIMEOUT
from har_tf.files.workers import Failed, outcomes
from har_tf.video.reader import probe


@dataclass(frozen=True)
class FrameCount:
    """What was decoded of a video.

    Args:
        frames: number of frames that can be decoded.
        height: in pixels, as displayed.
        width: in pixels, as displayed.
    """

    frames: int
    height: int
    width: int


def count_frames(
    paths: Sequence[Path],
    known: Mapping[Path, FrameCount | Failed] | None = None,
    workers: int | None = None,
    timeout: float | None = TIMEOUT,
) -> list[FrameCount | Failed]:
    """Counts the frames of every video, in the order of the paths, with a progress bar.

    Args:
        paths: the videos.
        known: videos that are counted already and are not decoded.
        workers: number of decoding processes; None: one a core; 0: this process does the work, without limits.
        timeout: seconds after which a video is given up; None: never.

    Returns:
        For every path a `FrameCount`, or `Failed` with the reason where no frame can be decoded.

    Raises:
        ValueError: `workers` or `timeout` is out of its range.
        RuntimeError: no process can be started.

    Example:
        >>> count_frames([Path("v_PullUps_g01_c01.avi")])
        [FrameCount(frames=150, height=240, width=320)]
    """
    counts: list[FrameCount | Failed | None] = [(known or {}).get(path) for path in paths]
    left = [position for position, count in enumerate(counts) if count is None]
    decoded = outcomes(_count, [os.fspath(paths[position]) for position in left], workers, timeout, MEMORY)
    for position, count in zip(tqdm(left, "counting frames", unit="clip", disable=None), decoded, strict=True):
        counts[position] = count
    return counts


def _count(path: str) -> FrameCount:
    info = probe(path, threads=1)
    return FrameCount(info.frames, info.height, info.width)
