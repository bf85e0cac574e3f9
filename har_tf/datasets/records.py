"""What lies on disk, as values: a video with its label, its source and what is annotated in it."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from har_tf.datasets.errors import DatasetError

SAMPLE = 2**15  # bytes of a file's beginning, middle and end that tell it from others of its size


@dataclass(frozen=True, eq=False)
class Tube:
    """An action tube: the box of one person, doing one action, over consecutive frames.

    Args:
        label: index into `ActionDataset.class_names`.
        start: the frame of the first box.
        boxes: (frames, 4) boxes (x1, y1, x2, y2) in pixels, end-exclusive.
    """

    label: int
    start: int
    boxes: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """One video, or one segment of an untrimmed video, and what is known about it.

    Args:
        path: the video file (for a TFDS example, a name that is unique in its data set). A still picture is a
            video of one frame.
        label: index into `ActionDataset.class_names`.
        group: the source the video was cut from, or None where it is not known. Two records of a data set are
            siblings, and show the same scene, exactly when their groups are equal. A name that is only unique
            within its class is therefore qualified with the class: UCF101's g01 of Archery is "Archery/g01".
        boxes: (frames, 4) person box (x1, y1, x2, y2) of every frame in pixels, end-exclusive.
        object_boxes: (frames, 4) box of the object that is handled.
        joints: (frames, J, 2) joint positions (x, y) in pixels.
        tubes: the annotated instances of the action, where they do not cover all frames or are several.
        segment: (start, end) in seconds of the part of an untrimmed video that this record is; None: all of it.
    """

    path: Path
    label: int
    group: str | None = None
    boxes: np.ndarray | None = field(default=None, repr=False)
    object_boxes: np.ndarray | None = field(default=None, repr=False)
    joints: np.ndarray | None = field(default=None, repr=False)
    tubes: tuple[Tube, ...] = field(default=(), repr=False)
    segment: tuple[float, float] | None = None

    def boxes_at(self, frame: int) -> np.ndarray:
        """(N, 4) boxes of the persons in this frame, whether they come from `boxes` or from `tubes`.

        A box that is not finite says that nobody is annotated in this frame, and is left out.
        """
        found = [tube.boxes[frame - tube.start] for tube in self.tubes if 0 <= frame - tube.start < len(tube.boxes)]
        if self.boxes is not None and 0 <= frame < len(self.boxes):
            found.append(self.boxes[frame])
        boxes = np.array(found, np.float32).reshape(-1, 4)
        return boxes[np.isfinite(boxes).all(axis=1)]

    def name(self, root: Path) -> str:
        """What the record is called in its data set: its path below `root`, so that the whole may be moved.

        A segment is named as a media fragment (W3C): "a.mp4#t=1.5,3".
        """
        path = relative(self.path, root)
        return path if self.segment is None else f"{path}#t={self.segment[0]:.10g},{self.segment[1]:.10g}"

    def read(
        self,
        num_frames: int | None = 10,
        size: tuple[int, int] | None = (128, 192),
        sampling: str = "uniform",
        short: str = "repeat_last",
        threads: int | None = None,
        fit: str = "stretch",
        by: str = "frame",
    ) -> np.ndarray:
        """The clip of this record, uint8 (T, H, W, 3) RGB.

        Arguments and errors are those of `read_clip`; for a segment also those of `har_tf.video.segment`, for a
        still picture those of `read_still`.
        """
        from har_tf.video import read_clip, read_still
        from har_tf.video.segment import read_segment
        from har_tf.video.still import is_still

        if is_still(self.path):
            if self.segment is not None:
                raise DatasetError(f"{self.path}: a picture has no segment. Received: segment={self.segment}")
            return read_still(self.path, num_frames, size, sampling, short, fit, by)
        if self.segment is not None:
            return read_segment(self.path, *self.segment, num_frames, size, sampling, short, threads, fit, by)
        return read_clip(self.path, num_frames, size, sampling, short=short, threads=threads, fit=fit, by=by)

    def stamp(self) -> tuple[int, int]:
        """(bytes, modification time in ns), which change with the source; (-1, -1) where there is no file."""
        return stamp_of(self.path)

    def content(self) -> str:
        """What changes with the source, and stays where it is moved or copied, see `content_of`."""
        return content_of(self.path)


def stamp_of(path: Path) -> tuple[int, int]:
    """(bytes, modification time in ns) of a file; (-1, -1) where it cannot be asked."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def content_of(path: Path) -> str:
    """The size of a file and a digest of its beginning, middle and end; "" where it cannot be read.

    It is the same wherever the file is moved or copied, which the time of a file is not. Files of up to 96 KiB are
    digested whole; of a longer one an edit that keeps the size and spares all three places does not show.
    """
    return _content(path, stamp_of(path))


@functools.lru_cache(2**17)  # a video has a record for every clip that is cut from it
def _content(path: Path, stamp: tuple[int, int]) -> str:
    try:
        if not path.is_file():  # a named pipe would block
            return ""
        with path.open("rb", buffering=0) as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.sha256()
            for start in (0, max(size - SAMPLE, 0) // 2, max(size - SAMPLE, 0)):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    except OSError:
        return ""
    return f"{size} bytes, {digest.hexdigest()[:16]}"


def relative(path: Path, root: Path) -> str:
    """A file's path below `root`, with slashes; its full path where it lies elsewhere."""
    # Not `resolve`: a link is named as it is called here, wherever it leads.
    full, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))  # noqa: PTH100
    return (full.relative_to(root) if full.is_relative_to(root) else full).as_posix()
