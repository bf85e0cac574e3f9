"""What lies on disk, as values: a video with its label and its source, and a data set of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from har_tf.datasets.splits import OverlapReport


class DatasetError(ValueError):
    """A data folder, a list file or a data set that cannot be used; one line that names the thing."""


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """One video and what is known about it.

    Args:
        path: the video file (for a TFDS example, a name that is unique in its data set).
        label: index into `ActionDataset.class_names`.
        group: the source the video was cut from, or None where it is not known. Two records of a data set are
            siblings, and show the same scene, exactly when their groups are equal. A name that is only unique
            within its class is therefore qualified with the class: UCF101's g01 of Archery is "Archery/g01".
        boxes: (frames, 4) person box (x1, y1, x2, y2) of every frame in pixels, end-exclusive.
        object_boxes: (frames, 4) box of the object that is handled.
        joints: (frames, J, 2) joint positions (x, y) in pixels.
    """

    path: Path
    label: int
    group: str | None = None
    boxes: np.ndarray | None = field(default=None, repr=False)
    object_boxes: np.ndarray | None = field(default=None, repr=False)
    joints: np.ndarray | None = field(default=None, repr=False)

    def read(
        self,
        num_frames: int | None = 10,
        size: tuple[int, int] | None = (128, 192),
        sampling: str = "uniform",
        short: str = "repeat_last",
        threads: int | None = None,
    ) -> np.ndarray:
        """The clip of this record, uint8 (T, H, W, 3) RGB; arguments and errors are those of `read_clip`."""
        from har_tf.video import read_clip

        return read_clip(self.path, num_frames, size, sampling, short=short, threads=threads)

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
        check_classes(classes, self.class_names, str(self.root))
        label = {self.class_names.index(name): position for position, name in enumerate(classes)}
        records = (replace(r, label=label[r.label]) for r in self.records if r.label in label)
        return replace(self, records=tuple(records), class_names=tuple(classes))

    def split(self, protocol: str, seed: int = 0, test_fraction: float = 0.2) -> tuple[ActionDataset, ActionDataset]:
        """(training part, test part) under "random", "official" or "group"; see `har_tf.datasets.splits`."""
        from har_tf.datasets import splits

        return splits.split(self, protocol, seed, test_fraction)

    def overlap_report(self, protocol: str = "random", seed: int = 0, test_fraction: float = 0.2) -> OverlapReport:
        """How many test clips of this split have a sibling, a clip cut from the same source, in training."""
        from har_tf.datasets import splits

        return splits.overlap(*self.split(protocol, seed, test_fraction))


def check_classes(classes: Sequence[str], known: Sequence[str], where: str) -> None:
    """Raises DatasetError unless `classes` are two or more different names out of `known`."""
    import difflib

    for name in classes:
        if name not in known:
            lower = {k.lower(): k for k in known}
            close = [lower[c] for c in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
            hint = f"Closest: {', '.join(close)}. " if close else ""
            raise DatasetError(f"{where}: unknown class {name!r}. {hint}Classes: {', '.join(known)}")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: classes given twice: {', '.join(twice)}")
    if len(classes) < 2:
        raise DatasetError(f"{where}: at least two classes are needed. Received: classes={list(classes)}")
