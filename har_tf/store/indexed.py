"""Clips that lie in files with an index beside them: what prepared clips, features and flow have in common."""

from __future__ import annotations

import io
import json
import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord

COLUMNS = ("label", "group", "name", "path")  # what `index.npz` holds of every clip
MAX_OPEN = 512  # files that stay open; a process may often have 1024. The others are opened for each clip


def to_text(name: bytes) -> str:
    """A stored name; one that was not UTF-8 on disk is as Python reads it from there."""
    return name.decode("utf-8", "surrogateescape")


def check_system() -> None:
    """Raises DatasetError where the system lacks what prepared data need; Windows does."""
    if not hasattr(os, "preadv"):
        raise DatasetError(f"Prepared data need Linux or macOS (on Windows: WSL). Received: {sys.platform}")


@dataclass(frozen=True)
class Skipped:
    """A video that was left out, and why; of a segment, `path` ends as `VideoRecord.name` does."""

    path: Path
    reason: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Indexed:
    """Clips on disk, or some of them.

    Args:
        path: the folder.
        root: the folder that the videos came from, as the records call it.
        class_names: names in the order of the labels.
    """

    what: ClassVar[str]  # as in "a prepared data set"
    format: ClassVar[int]  # changes whenever the same input would give other bytes or other files
    about: ClassVar[str]  # the JSON file that describes the folder
    more_columns: ClassVar[tuple[str, ...]] = ()  # of `index.npz`
    remedy: ClassVar[str] = ""  # what the error about a damaged folder ends with

    path: Path
    root: Path
    class_names: tuple[str, ...]
    _index: dict[str, np.ndarray] = field(repr=False)  # the columns of all clips in the files
    _rows: np.ndarray = field(repr=False)  # which of them these are
    _skipped_names: frozenset[str] = field(repr=False)  # of videos that were left out

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None) -> Self:
        """Opens what was written before.

        Args:
            path: the folder, with the JSON file that describes it.
            root: where the videos lie now; None: where they lay when they were prepared.

        Raises:
            DatasetError: not such a folder, or one with a missing or damaged file; or the system is Windows.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 - for a process that changes its folder; links stay
        try:
            about = json.loads((path / cls.about).read_bytes())
            if not isinstance(about, dict):
                raise ValueError(f"{cls.about} does not describe one")
            if about["format"] != cls.format:
                raise DatasetError(f"{path}: {cls.what} of format {about['format']}. Expected format {cls.format}")
            index = _columns(path / "index.npz", (*cls.more_columns, *COLUMNS), about.get("index_checksum"))
            root = Path(about["root"]) if root is None else root
            return cls(
                path=path,
                root=root,
                class_names=tuple(about["class_names"]),
                _index=index,
                _rows=np.arange(len(index["label"])),
                **cls._fields(path, root, about, len(index["label"])),
            )
        except DatasetError:
            raise
        except Exception as error:  # damaged files make json, zipfile and NumPy raise errors of all kinds
            reason = str(error) or type(error).__name__
            raise DatasetError(f"{path}: not {cls.what}, or a damaged one: {reason}{cls.remedy}") from error

    @classmethod
    def _fields(cls, path: Path, root: Path, about: dict, clips: int) -> dict[str, Any]:
        """The members that differ from kind to kind, of a folder with so many clips."""
        raise NotImplementedError

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads the clips at these positions of `labels` and `record_paths`.

        Args:
            positions: B positions in [0, len).

        Returns:
            uint8 (B, T, H, W, 3) RGB; of flow uint8 (B, T, H, W, 2), as `har_tf.video.flow.encode` stores it; of
            features float32 (B, T, C).

        Raises:
            DatasetError: a file is damaged.
        """
        rows = self._rows[np.asarray(positions, dtype=np.int64)]
        clips = np.empty((len(rows), *self.shape), self.dtype)
        for clip, row in zip(clips, rows.tolist(), strict=True):
            self._read_into(clip, row)
        return clips

    def _read_into(self, clip: np.ndarray, row: int) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """label, group, name and path of every clip, as `index.npz` holds them."""
        return {key: self._index[key][self._rows] for key in COLUMNS}

    @property
    def labels(self) -> np.ndarray:
        """(clips,) int32 labels."""
        return self.columns["label"]

    @cached_property
    def groups(self) -> list[str | None]:
        """The group of every clip, None where it is not known."""
        return [to_text(group) or None for group in self.columns["group"].tolist()]

    @cached_property
    def names(self) -> list[str]:
        """`VideoRecord.name` of every clip."""
        return [to_text(name) for name in self.columns["name"].tolist()]

    @cached_property
    def record_paths(self) -> list[Path]:
        """The video of every clip."""
        return [self.root / to_text(path) for path in self.columns["path"].tolist()]

    def subset(self, records: ActionDataset | Iterable[VideoRecord]) -> Self:
        """The clips of these records, in their order, over the same files; videos that were skipped are left out.

        Raises:
            DatasetError: a record was not part of what was prepared, or has another label or other classes.
        """
        if isinstance(records, ActionDataset):
            if records.class_names != self.class_names:
                raise DatasetError(
                    f"{self.path}: made for other classes: {', '.join(self.class_names)}. "
                    f"Received: {', '.join(records.class_names)}"
                )
            records = records.records
        rows = []
        for record in records:
            name = record.name(self.root)
            found = self._rows_of.get(name)
            if found is not None:
                # One segment may be listed once for each of its classes.
                labels = {int(self._index["label"][row]): row for row in reversed(found)}
                if record.label not in labels:
                    raise DatasetError(
                        f"{self.path}: {record.path} was prepared with label {', '.join(map(str, sorted(labels)))}. "
                        f"Received: label {record.label}. Labels are places in {', '.join(self.class_names)}"
                    )
                rows.append(labels[record.label])
            elif name not in self._skipped_names:
                raise DatasetError(f"{self.path}: {record.path} is not among the videos that this was made of")
        return replace(self, _rows=np.array(rows, dtype=np.int64))

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self._index["name"].tolist()):
            rows.setdefault(to_text(name), []).append(row)
        return rows


@dataclass(frozen=True, eq=False, kw_only=True)
class IndexedClips(Indexed):
    """Clips of one size in eight bits; beside what `Indexed` has:

    Args:
        name: name of the data set.
        num_frames: frames of a clip, T.
        size: (height, width) of a clip.
        clip: sampling, short and fit, the arguments of `read_clip` that clips were read with.
        skipped: the videos that were left out.
    """

    channels: ClassVar[int]
    dtype: ClassVar[str] = "uint8"

    name: str
    num_frames: int
    size: tuple[int, int]
    clip: dict[str, str]
    skipped: tuple[Skipped, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, channels) of a clip."""
        return self.num_frames, *self.size, self.channels

    @classmethod
    def _fields(cls, path: Path, root: Path, about: dict, clips: int) -> dict[str, Any]:
        for name, size in about["files"].items():
            check_size(path / name, size)
        return {
            "name": about["name"],
            "num_frames": about["num_frames"],
            "size": tuple(about["size"]),
            "clip": about["clip"],
            "skipped": tuple(Skipped(root / name, reason) for name, reason in about["skipped"]),
            "_skipped_names": frozenset(name for name, _ in about["skipped"]),
        }


def _columns(file: Path, columns: Sequence[str], checksum: int | None) -> dict[str, np.ndarray]:
    """The columns of `index.npz`.

    Its bytes are compared with the checksum, where there is one, before they are read, and the names of the columns in
    any case: a zip file has no checksum of its own directory.
    """
    content = file.read_bytes()
    if checksum is not None and zlib.crc32(content) != checksum:
        raise ValueError(f"{file.name} differs from what was written")
    with np.load(io.BytesIO(content)) as arrays:
        if sorted(arrays.files) != sorted(columns):
            raise ValueError(f"{file.name} holds {', '.join(arrays.files)}. Expected {', '.join(columns)}")
        return {key: arrays[key] for key in columns}


def check_size(file: Path, size: int) -> None:
    """Raises ValueError unless a file has so many bytes."""
    found = file.stat().st_size
    if found != size:
        raise ValueError(f"{file.name} has {found} bytes. Expected {size}")


class OpenFiles:
    """Files that are read at any place, by any thread.

    They are not mapped into memory, where all that was read would stay.
    """

    def __init__(self, paths: Sequence[Path]):
        check_system()
        self._paths = paths
        self._files: dict[int, int] = {}

    def read_into(self, array: np.ndarray, number: int, offset: int) -> None:
        """Fills an array with the bytes of a file from `offset` on.

        Raises:
            DatasetError: the file ends before.
        """
        kept = self._files.get(number)
        file = os.open(self._paths[number], os.O_RDONLY) if kept is None else kept
        if kept is None and len(self._files) < MAX_OPEN:
            kept = self._files.setdefault(number, file)  # of two threads that open it one keeps it
        try:
            missing = memoryview(array).cast("B")
            while missing:
                count = os.preadv(file, [missing], offset)
                if count == 0:
                    raise DatasetError(f"{self._paths[number]}: ends within a clip, at byte {offset}")
                missing, offset = missing[count:], offset + count
        finally:
            if file != kept:
                os.close(file)

    def __del__(self, close=os.close):  # bound here: at exit the module may be gone first
        for file in self._files.values():
            close(file)
