"""Clips that were prepared for training: a TFDS data set on disk, and random access to its clips.

The shards are TFRecord files that `tfds.builder_from_directory` reads. A clip lies in them as one run of
bytes, so `index.npz` beside them says where every clip starts, and reading a clip is one `pread`: any order,
any part, and no more memory than the clips that were asked for.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import relative
from har_tf.store.indexed import Indexed

FORMAT = 3  # changes whenever the same videos would be prepared into other bytes or other files
COLUMNS = ("shard", "offset", "label", "index", "group", "name", "path")  # of `index.npz`
SAME_CONTENT = "the same content as "  # what the reason begins with of a video that is there twice
MAX_OPEN = 512  # shards that stay open; a process may often have 1024 files. The others are opened for each clip


@dataclass(frozen=True)
class Skipped:
    """A video that was left out, and why; of a segment, `path` ends as `VideoRecord.name` does."""

    path: Path
    reason: str


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


@dataclass(frozen=True, eq=False)
class PreparedDataset(Indexed):
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
    """

    channels: ClassVar[int] = 3
    path: Path
    name: str
    root: Path
    class_names: tuple[str, ...]
    num_frames: int
    size: tuple[int, int]
    clip: dict[str, str]
    skipped: tuple[Skipped, ...]
    _shards: _Shards = field(repr=False)
    _index: dict[str, np.ndarray] = field(repr=False)
    _rows: np.ndarray = field(repr=False)

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
        path = Path(os.path.abspath(path))  # noqa: PTH100 - for a process that changes its folder; links stay
        try:
            about = json.loads((path / "prepared.json").read_text())
            if about["format"] != FORMAT:
                raise DatasetError(f"{path}: prepared in format {about['format']}. Expected format {FORMAT}")
            with np.load(path / "index.npz") as arrays:
                index = {key: arrays[key] for key in arrays.files}
            if sorted(index) != sorted(COLUMNS):  # a zip file has no checksum of its own directory
                raise ValueError(f"index.npz holds {', '.join(index)}. Expected {', '.join(COLUMNS)}")
            for name, size in about["shards"].items():
                found = (path / name).stat().st_size
                if found != size:
                    raise DatasetError(f"{path / name}: damaged: {found} bytes. Expected {size}")
            root = Path(about["root"]) if root is None else root
            with (path / "skipped.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                skipped = tuple(Skipped(root / row["path"], row["reason"]) for row in csv.DictReader(file))
            return cls(
                path=path,
                name=about["name"],
                root=root,
                class_names=tuple(about["class_names"]),
                num_frames=about["num_frames"],
                size=tuple(about["size"]),
                clip={name: about[name] for name in ("sampling", "short", "fit")},
                skipped=skipped,
                _shards=_Shards([path / name for name in about["shards"]]),
                _index=index,
                _rows=np.arange(len(index["label"])),
            )
        except DatasetError:
            raise
        except Exception as error:  # damaged files make zipfile and NumPy raise errors of all kinds
            reason = str(error) or type(error).__name__
            raise DatasetError(f"{path}: not a prepared data set, or a damaged one: {reason}") from error

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

    @cached_property
    def _skipped_names(self) -> frozenset[str]:
        return frozenset(relative(skipped.path, self.root) for skipped in self.skipped)


class _Shards:
    """The open shard files."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths
        self._files: dict[int, int] = {}

    def read_into(self, clip: np.ndarray, shard: int, offset: int) -> None:
        file = self._files.get(shard)
        if file is None:
            # Two threads may both open it; one of the two is kept, the other closed at once.
            opened = os.open(self._paths[shard], os.O_RDONLY)
            file = self._files.setdefault(shard, opened) if len(self._files) < MAX_OPEN else opened
            try:
                self._read(clip, shard, file, offset)
            finally:
                if self._files.get(shard) != opened:
                    os.close(opened)
        else:
            self._read(clip, shard, file, offset)

    def _read(self, clip: np.ndarray, shard: int, file: int, offset: int) -> None:
        missing = memoryview(clip).cast("B")
        while missing:
            count = os.preadv(file, [missing], offset)
            if count == 0:
                raise DatasetError(f"{self._paths[shard]}: ends within a clip, at byte {offset}")
            missing, offset = missing[count:], offset + count

    def __del__(self, close=os.close):  # bound here: at exit the module may be gone first
        for file in self._files.values():
            close(file)
