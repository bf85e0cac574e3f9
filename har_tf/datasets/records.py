"""What lies on disk, as values: a video with its label and its source, and a data set of them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from har_tf.names import closest

if TYPE_CHECKING:
    from har_tf.audit.manifest import Manifest
    from har_tf.datasets.splits import OverlapReport


class DatasetError(ValueError):
    """A data folder, a list file or a data set that cannot be used; one line that names the thing."""


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
            return read_still(self.path, num_frames, size, sampling, short, fit)
        if self.segment is not None:
            return read_segment(self.path, *self.segment, num_frames, size, sampling, short, threads, fit)
        return read_clip(self.path, num_frames, size, sampling, short=short, threads=threads, fit=fit)

    def stamp(self) -> tuple[int, int]:
        """(bytes, modification time in ns), which change with the source; (-1, -1) where there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return -1, -1
        return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, eq=False)
class ActionDataset:
    """Videos of actions with their class names.

    Args:
        name: short name, letters, digits and underscores.
        root: the folder that the data came from.
        records: the videos, in an order that is the same on every machine.
        class_names: names in the order of the labels.
        official: (training paths, test paths) of the official split, or None where there is none.
        notes: what a reader of the results should know, such as list entries that are not on disk.
    """

    name: str
    root: Path
    records: tuple[VideoRecord, ...] = field(repr=False)
    class_names: tuple[str, ...]
    official: tuple[frozenset[Path], frozenset[Path]] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def labels(self) -> np.ndarray:
        """(records,) int32 labels."""
        return np.array([record.label for record in self.records], dtype=np.int32)

    @property
    def counts(self) -> dict[str, int]:
        """Number of videos of every class, in class order."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    def subset(self, records: Iterable[VideoRecord]) -> ActionDataset:
        """The same data set with these records only."""
        return replace(self, records=tuple(records))

    def only(self, classes: Sequence[str]) -> ActionDataset:
        """The data set of these classes, labelled in the given order.

        Raises:
            DatasetError: a name is unknown or given twice, or fewer than two classes are left.
        """
        classes = check_classes(classes, self.class_names, str(self.root))
        label = {self.class_names.index(name): position for position, name in enumerate(classes)}
        records = (
            replace(r, label=label[r.label], tubes=_relabelled(r.tubes, label))
            for r in self.records
            if r.label in label
        )
        return replace(self, records=tuple(records), class_names=tuple(classes))

    def split(self, protocol: str, seed: int = 0, test_fraction: float = 0.2) -> tuple[ActionDataset, ActionDataset]:
        """(training part, test part) under "random", "official" or "group"; see `har_tf.datasets.splits`."""
        from har_tf.datasets import splits

        return splits.split(self, protocol, seed, test_fraction)

    def overlap_report(
        self,
        protocol: str = "random",
        seed: int = 0,
        test_fraction: float = 0.2,
        content: bool = False,
        manifest: Manifest | None = None,
        workers: int | None = None,
    ) -> OverlapReport:
        """How many test clips of this split have a sibling, a clip cut from the same source, in training.

        Args:
            protocol: see `split`.
            seed: see `split`.
            test_fraction: see `split`.
            content: also looks for identical and near-identical clips, for which every video is decoded.
            manifest: does the same from this manifest, made by `check` with hashes, without reading a video.
            workers: processes for decoding.

        Raises:
            DatasetError: see `split`; or the manifest is one of other files, or has no hashes.
        """
        from har_tf.datasets import splits

        train, test = self.split(protocol, seed, test_fraction)
        if content or manifest is not None:
            from har_tf.audit import overlap as audit

            return audit.overlap(train, test, manifest, workers)
        return splits.overlap(train, test)


def _relabelled(tubes: Iterable[Tube], label: dict[int, int]) -> tuple[Tube, ...]:
    return tuple(replace(tube, label=label[tube.label]) for tube in tubes if tube.label in label)


def relative(path: Path, root: Path) -> str:
    """A file's path below `root`, with slashes; its full path where it lies elsewhere."""
    # Not `resolve`: a link is named as it is called here, wherever it leads.
    full, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))  # noqa: PTH100
    return (full.relative_to(root) if full.is_relative_to(root) else full).as_posix()


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS writes é as e and an accent, others as one character."""
    return unicodedata.normalize("NFC", name)


def check_classes(classes: Sequence[str], known: Sequence[str], where: str) -> list[str]:
    """`classes` as `known` spells them, which may be another form of Unicode; see `composed`.

    Raises:
        DatasetError: they are not two or more different names out of `known`.
    """
    spelt = {composed(name): name for name in known}
    for name in classes:
        if composed(name) not in spelt:
            raise DatasetError(f"{where}: unknown class {name!r}.{closest(name, known)} Classes: {', '.join(known)}")
    classes = [spelt[composed(name)] for name in classes]
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: classes given twice: {', '.join(twice)}")
    if len(classes) < 2:
        raise DatasetError(f"{where}: at least two classes are needed. Received: {classes=}")
    return classes


def by_clip(records: Iterable[VideoRecord], key: Callable[[VideoRecord], str]) -> dict[str, VideoRecord]:
    """{key: record}, where equal keys mean the same clip.

    Raises:
        DatasetError: two files are the same clip, as a.avi and a.mp4; a random split would put it on both sides.
    """
    found: dict[str, VideoRecord] = {}
    for record in records:
        other = found.setdefault(key(record), record)
        if other is not record:
            raise DatasetError(
                f"{other.path}: is the same clip as {record.path}. Expected one file of a clip; move the other away"
            )
    return found
