"""Clips that lie in files with an index beside them: what reading prepared clips, features and flow has in common."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord

COLUMNS = ("label", "group", "name", "path")  # what `index.npz` holds of every clip
MAX_OPEN = 512  # files that stay open; a process may often have 1024. The others are opened for each clip


def to_text(name: bytes) -> str:
    """A stored name; one that was not UTF-8 on disk is as Python reads it from there."""
    return name.decode("utf-8", "surrogateescape")


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

    path: Path
    root: Path
    class_names: tuple[str, ...]
    _index: dict[str, np.ndarray] = field(repr=False)  # the columns of all clips in the files
    _rows: np.ndarray = field(repr=False)  # which of them these are
    _skipped_names: frozenset[str] = field(repr=False)  # of videos that were left out

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
    """What `PreparedDataset` and `FlowClips` have in common; the former says what it is."""

    name: str
    num_frames: int
    size: tuple[int, int]
    clip: dict[str, str]
    skipped: tuple[Skipped, ...]


@contextmanager
def opening(path: str | Path, what: str, remedy: str = "") -> Iterator[Path]:
    """Gives the full path of a folder, and says of any error that it is not `what`, or a damaged one."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - for a process that changes its folder; links stay
    try:
        yield path
    except DatasetError:
        raise
    except Exception as error:  # damaged files make json, zipfile and NumPy raise errors of all kinds
        reason = str(error) or type(error).__name__
        raise DatasetError(f"{path}: not {what}, or a damaged one: {reason}{remedy}") from error


def read_about(file: Path, what: str, number: int) -> dict:
    """The JSON file that describes a store of this format.

    Raises:
        DatasetError: it is of another format.
    """
    about = json.loads(file.read_bytes())
    if not isinstance(about, dict):
        raise ValueError(f"{file.name} does not describe one")
    if about["format"] != number:
        raise DatasetError(f"{file.parent}: {what} of format {about['format']}. Expected format {number}")
    return about


def read_index(file: Path, columns: Sequence[str] = COLUMNS, checksum: int | None = None) -> dict[str, np.ndarray]:
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


def check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    """Raises an error unless the files of these names have as many bytes."""
    for name, size in sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise ValueError(f"{name} has {found} bytes. Expected {size}")


class OpenFiles:
    """Files that are read at any place, by any thread.

    They are not mapped into memory, where all that was read would stay.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths
        self._files: dict[int, int] = {}

    def read_into(self, array: np.ndarray, number: int, offset: int) -> None:
        """Fills an array with the bytes of a file from `offset` on.

        Raises:
            DatasetError: the file ends before.
        """
        file = self._files.get(number)
        if file is None:
            # Two threads may both open it; one of the two is kept, the other closed at once.
            opened = os.open(self._paths[number], os.O_RDONLY)
            file = self._files.setdefault(number, opened) if len(self._files) < MAX_OPEN else opened
            try:
                self._read(array, number, file, offset)
            finally:
                if self._files.get(number) != opened:
                    os.close(opened)
        else:
            self._read(array, number, file, offset)

    def _read(self, array: np.ndarray, number: int, file: int, offset: int) -> None:
        missing = memoryview(array).cast("B")
        while missing:
            count = os.preadv(file, [missing], offset)
            if count == 0:
                raise DatasetError(f"{self._paths[number]}: ends within a clip, at byte {offset}")
            missing, offset = missing[count:], offset + count

    def __del__(self, close=os.close):  # bound here: at exit the module may be gone first
        for file in self._files.values():
            close(file)
