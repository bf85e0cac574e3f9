"""The manifest of a collection: one row a file, as `python -m har_tf check` found it; Parquet or CSV.

It serves three ends: people look up what is broken, `prepare` leaves out what is known to be broken without decoding
it first, and a second `check` reads only what changed. A row describes a file as long as the file's size and
modification time are those of the row. Paths are relative to the folder that was checked, and the folder itself is not
named, so that the collection may be moved with its manifest.

The columns, in this order, are the fields of `Row`; `class_name` is called `class`. In CSV an empty `claimed_frames` is
None. Both formats give the same rows when they are read again. Manifests of before there were groups lack that column,
and are read all the same.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path, PurePath

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord, stamp_of
from har_tf.files.whole import whole_file
from har_tf.files.workers import Failed
from har_tf.names import csv_cell, from_csv_cell
from har_tf.video.frame_counts import FrameCount

SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Row:
    """What `check` found in one file.

    Args:
        path: the file below the folder that was checked, with slashes; see `name_of` for names that are not UTF-8.
        class_name: the folder that stands for its class; empty: not known.
        part: "train", "val" or "test"; empty: not known.
        group: the source it was cut from, see `VideoRecord.group`; empty: not known.
        bytes: its size; -1 where it has none (a broken link).
        mtime_ns: its modification time in ns since 1970; -1 where it has none.
        sha256: of its bytes, in hexadecimal; empty where they cannot be read.
        codec: FFmpeg's name of the codec; empty, like all that follows, where the video cannot be decoded.
        width: in pixels, as displayed.
        height: in pixels, as displayed.
        rotation: degrees clockwise by which the stored frames are turned for display.
        fps: mean frames per second, 0 where the file does not say.
        duration: seconds: `frames / fps`, 0 where `fps` is unknown.
        frames: number of frames that can be decoded.
        claimed_frames: the number that the container claims, None where it claims none.
        problem: why the video cannot be used as it is, one line; empty: it is sound.
        note: what is odd about it and does no harm; empty: nothing.
        duplicate_of: path of the first file, by name, of the same content; empty: there is none.
        frame_hashes: perceptual hashes of frames, see `audit.frame_hashes`; empty: not computed.
    """

    path: str
    class_name: str = ""
    part: str = ""
    group: str = ""
    bytes: int = -1
    mtime_ns: int = -1
    sha256: str = ""
    codec: str = ""
    width: int = 0
    height: int = 0
    rotation: int = 0
    fps: float = 0.0
    duration: float = 0.0
    frames: int = 0
    claimed_frames: int | None = None
    problem: str = ""
    note: str = ""
    duplicate_of: str = ""
    frame_hashes: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """(bytes, modification time in ns), to be compared with `VideoRecord.stamp()`."""
        return self.bytes, self.mtime_ns

    def holds_for(self, path: Path) -> bool:
        """Whether a file has the bytes of this one, which its time does not tell where it was copied."""
        if stamp_of(path)[0] != self.bytes or not self.sha256:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


# The annotations are text; a column that may be None says so in it.
_KINDS = {("class" if f.name == "class_name" else f.name): str(f.type).split(" ")[0] for f in fields(Row)}
_OPTIONAL = {f.name for f in fields(Row) if str(f.type).endswith("None")}
_TYPES = {"str": (str,), "int": (int,), "float": (float, int)}
_LATER = ("group",)  # columns that older manifests lack


@dataclass(frozen=True)
class Manifest:
    """The rows of a collection, sorted by path.

    Example:
        >>> manifest = Manifest.read("ucf101.parquet")
        >>> [row.path for row in manifest.problems]
        []
    """

    rows: tuple[Row, ...]

    def __post_init__(self):
        object.__setattr__(self, "rows", tuple(sorted(self.rows, key=lambda row: row.path)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def problems(self) -> tuple[Row, ...]:
        """The rows of the files that cannot be used as they are. Duplicates are not among them."""
        return tuple(row for row in self.rows if row.problem)

    @property
    def duplicates(self) -> tuple[tuple[Row, ...], ...]:
        """The rows of equal content, together, each at least two, in the order of the first; empty files are none."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.sha256 and row.bytes:
                groups.setdefault(row.sha256, []).append(row)
        return tuple(tuple(rows) for rows in groups.values() if len(rows) > 1)

    @cached_property
    def _by_path(self) -> dict[str, Row]:
        return {row.path: row for row in self.rows}

    def find(self, path: str | os.PathLike) -> Row | None:
        """The row of a file, given by its path in the manifest or by any path on disk that ends in it."""
        parts = PurePath(name_of(path)).parts
        for start in range(len(parts)):  # the longest ending first
            row = self._by_path.get(PurePath(*parts[start:]).as_posix())
            if row is not None:
                return row
        return None

    def frame_counts(self, root: str | os.PathLike) -> dict[Path, FrameCount | Failed]:
        """How many frames of each video can be decoded, or why none can; files that changed since are left out.

        Args:
            root: the folder that was checked; the paths begin with it, as those of a data set that is loaded from it.
        """
        rows = {Path(root, row.path): row for row in self.rows}
        # A video that is cut off has a problem, and frames.
        return {
            path: FrameCount(row.frames, row.height, row.width) if row.frames else Failed(row.problem)
            for path, row in rows.items()
            if row.stamp == stamp_of(path)
        }

    def problems_of(self, records: Iterable[VideoRecord]) -> dict[Path, str]:
        """The videos of these records that cannot be read, and why; raises what `rows_of` raises."""
        records = list(records)
        rows = zip(records, self.rows_of(records), strict=True)
        return {record.path: row.problem for record, row in rows if row.problem}

    def rows_of(self, records: Iterable[VideoRecord]) -> tuple[Row, ...]:
        """The row of every record, in their order.

        Raises:
            DatasetError: the manifest is not one of these files: some are not in it, or have changed since.
        """
        records = list(records)
        rows = [self.find(record.path) for record in records]
        absent = [record.path for record, row in zip(records, rows, strict=True) if row is None]
        if absent:
            raise DatasetError(
                f"{len(absent)} of {len(records)} videos are not in the manifest of {len(self)} files, first "
                f"{absent[0]}. Expected the manifest of this folder, made by `python -m har_tf check`"
            )
        changed = [
            r.path for r, row in zip(records, rows, strict=True) if r.stamp() != row.stamp and not row.holds_for(r.path)
        ]
        if changed:
            raise DatasetError(
                f"{len(changed)} of {len(records)} videos have another size or content than in the "
                f"manifest, first {changed[0]}. Run `python -m har_tf check` again, which reads what changed"
            )
        return tuple(rows)

    def write(self, path: str | os.PathLike) -> None:
        """Writes Parquet or CSV, by the ending; the file is there whole or not at all.

        In CSV a name that a spreadsheet would take for a formula has an apostrophe in front, which `read` takes away.

        Raises:
            DatasetError: the ending is neither .parquet nor .csv.
            OSError: the file cannot be written.
        """
        path = Path(path)
        suffix = suffix_of(path)
        with whole_file(path) as temporary:
            if suffix == ".csv":
                with temporary.open("w", newline="", encoding="utf-8") as file:
                    table = csv.writer(file)
                    table.writerow(_KINDS)
                    table.writerows(map(csv_cell, astuple(row)) for row in self.rows)
            else:
                _write_parquet(temporary, self.rows)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Manifest:
        """Reads what `write` wrote.

        Raises:
            DatasetError: no such file, or it is not a manifest.
        """
        path = Path(path)
        suffix = suffix_of(path)
        if not path.is_file():
            raise DatasetError(f"{path}: no such manifest. `python -m har_tf check DIR --out {path.name}` writes one")
        columns = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
        rows = tuple(Row(*values) for values in zip(*columns, strict=True))
        if len({row.path for row in rows}) < len(rows):
            raise DatasetError(f"{path}: names a file twice, so it is not a manifest")
        return cls(rows)


def row_of(values: object) -> Row | None:
    """The row of these values, which JSON may have given; None where they are not those of a row."""
    if not isinstance(values, list) or len(values) != len(_KINDS):
        return None
    if not all(_is_of(name, value) for name, value in zip(_KINDS, values, strict=True)):
        return None
    return Row(*values)


def suffix_of(path: Path) -> str:
    """ ".parquet" or ".csv".

    Raises:
        DatasetError: another ending.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DatasetError(f"Manifests end in {' or '.join(SUFFIXES)}. Received: {path}")
    return path.suffix.lower()


def name_of(path: str | os.PathLike) -> str:
    r"""A path as it stands in a manifest: with slashes; bytes that are not UTF-8 become text like `\xff`."""
    return text_of(PurePath(path).as_posix())


def text_of(text: str) -> str:
    """A text as it stands in a manifest, see `name_of`; a group may be made of names."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _is_of(name: str, value: object) -> bool:
    """Whether a value is one of this column."""
    if value is None:
        return name in _OPTIONAL
    return isinstance(value, _TYPES[_KINDS[name]]) and not isinstance(value, bool)


def _write_parquet(path: Path, rows: tuple[Row, ...]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {"str": pyarrow.string(), "int": pyarrow.int64(), "float": pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in _KINDS.items()])
    columns = zip(*map(astuple, rows), strict=True) if rows else [()] * len(_KINDS)
    arrays = [pyarrow.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), path)


def _read_parquet(path: Path) -> list[list]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            there = _check_columns(path, file.schema_arrow.names)
            table = file.read(columns=there)
        columns = [table.column(name).to_pylist() if name in there else [""] * len(table) for name in _KINDS]
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: of a column's name or text
        first_line = str(error).partition("\n")[0]
        raise DatasetError(f"{path}: cannot be read as Parquet: {first_line}") from error
    for (name, kind), column in zip(_KINDS.items(), columns, strict=True):
        for value in column:
            if not _is_of(name, value):
                raise DatasetError(f"{path}: column {name} holds no {kind}. Received: {value!r}")
    return columns


def _read_csv(path: Path) -> list[list]:
    casts = {"str": str, "int": int, "float": float}
    columns: dict[str, list] = {name: [] for name in _KINDS}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet writes a byte order mark
            table = csv.DictReader(file)
            there = _check_columns(path, table.fieldnames or [])
            for line in table:
                for name, kind in _KINDS.items():
                    text = line[name] if name in there else ""
                    if text is None:
                        raise DatasetError(f"{path}, line {table.line_num}: has too few columns")
                    text = from_csv_cell(text)
                    try:
                        value = None if name in _OPTIONAL and not text else casts[kind](text)
                    except ValueError as error:
                        raise DatasetError(
                            f"{path}, line {table.line_num}: column {name} holds no {kind}. Received: {text!r}"
                        ) from error
                    columns[name].append(value)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as CSV: {error}") from error
    return list(columns.values())


def _check_columns(path: Path, found: Iterable[str]) -> list[str]:
    """The columns of a manifest that are there."""
    missing = [name for name in _KINDS if name not in found and name not in _LATER]
    if missing:
        raise DatasetError(f"{path}: is not a manifest, it lacks the columns {', '.join(missing)}")
    return [name for name in _KINDS if name in found]
