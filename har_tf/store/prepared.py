"""Clips that were prepared for training: a TFDS data set on disk, and random access to its clips.

The shards are TFRecord files that `tfds.builder_from_directory` reads. A clip lies in them as one run of
bytes, so `index.npz` beside them says where every clip starts, and reading a clip is one `pread`: any order,
any part, and no more memory than the clips that were asked for.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from har_tf.datasets.errors import DatasetError
from har_tf.store import indexed
from har_tf.store.indexed import IndexedClips, OpenFiles, Skipped

FORMAT = 3  # changes whenever the same videos would be prepared into other bytes or other files
COLUMNS = ("shard", "offset", "label", "index", "group", "name", "path")  # of `index.npz`
SAME_CONTENT = "the same content as "  # what the reason begins with of a video that is there twice
WHAT = "a prepared data set"


def left_out(skipped: Sequence[Skipped]) -> str:
    """How many videos were left out for which kind of reason: "3 left out: 2 with a problem, 1 of the same ..."."""
    twice = sum(video.reason.startswith(SAME_CONTENT) for video in skipped)
    kinds = {"with a problem": len(skipped) - twice, "of the same content as another": twice}
    named = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{len(skipped)} left out: {named}" if skipped else "none left out"


def check_system() -> None:
    """Raises DatasetError where the system lacks what prepared data need; Windows does."""
    if not hasattr(os, "preadv"):
        raise DatasetError(f"Prepared data need Linux or macOS (on Windows: WSL). Received: {sys.platform}")


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDataset(IndexedClips):
    """Clips of one size on disk, or some of them.

    Args:
        path: the folder of the TFDS data set.
        name: name of the data set.
        root: the folder that the videos came from, as the records call it.
        class_names: names in the order of the labels.
        num_frames: frames of a clip, T.
        size: (height, width) of a clip.
        clip: sampling, short and fit, the arguments of `read_clip` that clips were read with.
        skipped: the videos that were left out.
        fingerprint: SHA-256 of what all of them were made of, see `prepare`.
    """

    channels: ClassVar[int] = 3
    fingerprint: str
    _shards: OpenFiles = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None) -> PreparedDataset:
        """Opens what `prepare` wrote.

        Args:
            path: the folder with `prepared.json`.
            root: where the videos lie now; None: where they lay when they were prepared.

        Raises:
            DatasetError: not a prepared data set, or one with a missing or damaged file; or the system is Windows.
        """
        check_system()
        with indexed.opening(path, WHAT) as path:
            about = indexed.read_about(path / "prepared.json", WHAT, FORMAT)
            index = indexed.read_index(path / "index.npz", COLUMNS)
            indexed.check_sizes(path, about["shards"])
            root = Path(about["root"]) if root is None else root
            with (path / "skipped.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                skipped = [(row["path"], row["reason"]) for row in csv.DictReader(file)]
            return cls(
                path=path,
                name=about["name"],
                root=root,
                class_names=tuple(about["class_names"]),
                num_frames=about["num_frames"],
                size=tuple(about["size"]),
                clip={name: about[name] for name in ("sampling", "short", "fit")},
                skipped=tuple(Skipped(root / name, reason) for name, reason in skipped),
                fingerprint=about["fingerprint"],
                _shards=OpenFiles([path / name for name in about["shards"]]),
                _index=index,
                _rows=np.arange(len(index["label"])),
                _skipped_names=frozenset(name for name, _ in skipped),
            )

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads the clips at these positions of `labels` and `record_paths`.

        Args:
            positions: B positions in [0, len).

        Returns:
            (B, T, H, W, 3) uint8 RGB.
        """
        rows = self._rows[np.asarray(positions, dtype=np.int64)]
        clips = np.empty((len(rows), self.num_frames, *self.size, 3), np.uint8)
        shards, offsets = self._index["shard"][rows].tolist(), self._index["offset"][rows].tolist()
        for clip, shard, offset in zip(clips, shards, offsets, strict=True):
            self._shards.read_into(clip, shard, offset)
        return clips
