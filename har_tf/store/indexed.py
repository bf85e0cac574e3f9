"""Clips that lie in files with an index beside them: what prepared clips, features and flow have in common.

No byte that is used is one that nobody compared with a checksum. A JSON file describes the folder, and has a checksum
of itself, of `index.npz` and of the other small files; those are compared when the folder is opened. `index.npz` has a
checksum of every clip, which is compared whenever that clip is read.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from tqdm import tqdm

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.files.json_text import parse_json
from har_tf.files.workers import available_cores
from har_tf.store.buffers import empty
from har_tf.store.checksums import checksum, checksum_of_file, sealed, unsealed

COLUMNS = ("label", "group", "name", "path")  # what `index.npz` holds of every clip, beside its checksum
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
    remedy: ClassVar[str]  # what the error about a damaged folder ends with

    path: Path
    root: Path
    class_names: tuple[str, ...]
    _index: dict[str, np.ndarray] = field(repr=False)  # the columns of all clips in the files
    _rows: np.ndarray = field(repr=False)  # which of them these are
    _skipped_names: frozenset[str] = field(repr=False)  # of videos that were left out

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None, check: bool = False) -> Self:
        """Opens what was written before.

        Opening compares with their checksums: the JSON file, the index and all files but those that hold clips; of
        these only the sizes. A clip is compared with its checksum whenever `read` reads it, so also in training.

        Args:
            path: the folder, with the JSON file that describes it.
            root: where the videos lie now; None: where they lay when they were prepared.
            check: whether the files that hold clips are compared, byte for byte, now as well.

        Raises:
            DatasetError: not such a folder, or one with a missing or damaged file; or the system is Windows.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 - for a process that changes its folder; links stay
        try:
            about = cls._description(path)
            for name, (_, expected) in about["files"].items():
                _compare(path / name, expected)
            for name, (size, _) in about["data"].items():
                check_size(path / name, size)
            if check:
                _compare_all({path / name: size_and_sum for name, size_and_sum in about["data"].items()})
            index = _columns(path / "index.npz", ("checksum", *cls.more_columns, *COLUMNS))
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
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DatasetError(f"{path}: not {cls.what}, or a damaged one: {reason}; {cls.remedy}") from error

    def __reduce__(self):
        # Another process opens the folder for itself.
        return _opened, (type(self), self.path, self.root, self._rows)

    @classmethod
    def describe(cls, folder: Path, about: dict, data: Mapping[str, int]) -> None:
        """Writes the JSON file that describes a folder; everything else in it is written.

        Args:
            folder: the one that `open` opens.
            about: what the kind of clips tells of them.
            data: file name -> checksum of the files that hold clips.
        """
        files = {path.name: path for path in sorted(folder.iterdir()) if path.name != cls.about}
        about = {**about, "format": cls.format}
        about["data"] = {name: (files.pop(name).stat().st_size, expected) for name, expected in data.items()}
        about["files"] = {name: (path.stat().st_size, checksum_of_file(path)) for name, path in files.items()}
        (folder / cls.about).write_bytes(sealed(about))

    @classmethod
    def _description(cls, path: Path) -> dict:
        content = (path / cls.about).read_bytes()
        try:
            about = unsealed(content)
        except ValueError as error:
            about = parse_json(content)
            # Formats of before there were checksums.
            if isinstance(about, dict) and about.get("format") in range(cls.format):
                raise DatasetError(
                    f"{path}: {cls.what} of format {about['format']}, which has no checksums of its clips. Expected "
                    f"format {cls.format}; {cls.remedy}"
                ) from error
            raise ValueError(f"{cls.about} {error}") from error
        if about["format"] != cls.format:
            raise DatasetError(f"{path}: {cls.what} of format {about['format']}. Expected format {cls.format}")
        return about

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
            DatasetError: a clip is not what was written, or cannot be read; the message names it and its file.
        """
        rows = self._rows[np.asarray(positions, dtype=np.int64)]
        clips = empty((len(rows), *self.shape), self.dtype)
        for clip, row in zip(clips, rows.tolist(), strict=True):
            try:
                self._read_into(clip, row)
                if checksum(clip) != self._index["checksum"][row]:
                    raise ValueError("differs from what was written")
            except Exception as error:  # as in `open`
                reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
                raise self._damage(row, reason) from error
        return clips

    def raise_damage(self, position: int) -> NoReturn:
        """Raises the DatasetError of a clip that was read otherwise and was not what was written."""
        self.read([position])
        raise self._damage(int(self._rows[position]), "what stands around it differs from what was written")

    def _damage(self, row: int, reason: str) -> DatasetError:
        place = f"{self._file_of(row)}: damaged at the clip of {to_text(self._index['name'][row])}"
        return DatasetError(f"{place}: {reason}; {self.remedy}")

    def _file_of(self, row: int) -> Path:
        """The file that holds a clip."""
        raise NotImplementedError

    def _read_into(self, clip: np.ndarray, row: int) -> None:
        """Reads a clip; raises errors of any kind where that cannot be done."""
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

    def whole(self) -> Self:
        """All clips of the files, of which these may be some."""
        return replace(self, _rows=np.arange(len(self._index["label"])))

    def at(self, part: Indexed) -> Self:
        """The clips that stand where those of `part` do, of another store of the same clips."""
        return replace(self, _rows=part._rows)

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
        clip: sampling, short, fit and by, the arguments of `read_clip` that clips were read with.
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
        return {
            "name": about["name"],
            "num_frames": about["num_frames"],
            "size": tuple(about["size"]),
            "clip": about["clip"],
            "skipped": tuple(Skipped(root / name, reason) for name, reason in about["skipped"]),
            "_skipped_names": frozenset(name for name, _ in about["skipped"]),
        }


def _compare(file: Path, expected: int) -> None:
    """Raises ValueError unless a file has this checksum."""
    if checksum_of_file(file) != expected:
        raise ValueError(f"{file.name} differs from what was written")


def _compare_all(files: Mapping[Path, tuple[int, int]]) -> None:
    """Raises ValueError unless all files have their (size, checksum); reads them with all cores."""

    def sound(file: Path) -> bool:
        try:
            return checksum_of_file(file) == files[file][1]
        except OSError:
            return False

    total = sum(size for size, _ in files.values())
    with (
        ThreadPoolExecutor(available_cores()) as threads,
        tqdm(total=total, desc="checking", unit="B", unit_scale=True, delay=2, disable=None) as progress,
    ):
        damaged = []
        for file, is_sound in zip(files, threads.map(sound, files), strict=True):
            progress.update(files[file][0])
            if not is_sound:
                damaged.append(file.name)
    if damaged:
        raise ValueError(f"{', '.join(damaged)} differ{'s' * (len(damaged) == 1)} from what was written")


def _columns(file: Path, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of `index.npz`; ValueError where they are not these."""
    with np.load(file) as arrays:
        if sorted(arrays.files) != sorted(columns):
            raise ValueError(f"{file.name} holds {', '.join(arrays.files)}. Expected {', '.join(columns)}")
        return {key: arrays[key] for key in columns}


def check_size(file: Path, size: int) -> None:
    """Raises ValueError unless a file has so many bytes."""
    found = file.stat().st_size
    if found != size:
        raise ValueError(f"{file.name} has {found} bytes. Expected {size}")


def _opened(kind: type[Indexed], path: Path, root: Path, rows: np.ndarray) -> Indexed:
    return replace(kind.open(path, root), _rows=rows)


class OpenFiles:
    """Files that are read at any place, by any thread.

    They are not mapped into memory, where all that was read would stay.
    """

    def __init__(self, paths: Sequence[Path]):
        self._files: dict[int, int] = {}  # first: it is closed also where the system is refused
        check_system()
        self.paths = paths

    def open(self, number: int) -> int:
        """The descriptor of a file, which stays open if there is room for it; OSError."""
        file = self._files.get(number)
        if file is None:
            file = os.open(self.paths[number], os.O_RDONLY)
            if len(self._files) < MAX_OPEN:
                self._files.setdefault(number, file)  # of two threads that open it one keeps it
        return file

    def read_into(self, array: np.ndarray, number: int, offset: int) -> None:
        """Fills an array with the bytes of a file from `offset` on.

        Raises:
            OSError: the file ends before, or cannot be read.
        """
        file = self.open(number)
        try:
            missing = memoryview(array).cast("B")
            while missing:
                count = os.preadv(file, [missing], offset)
                if count == 0:
                    raise OSError(errno.EIO, "it ends before the clip does", str(self.paths[number]))
                missing, offset = missing[count:], offset + count
        finally:
            if file != self._files.get(number):
                os.close(file)

    def __del__(self, close=os.close):  # bound here: at exit the module may be gone first
        for file in self._files.values():
            close(file)
