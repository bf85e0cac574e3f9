"""Kinetics-400, -600, -700 and -700-2020: clips of YouTube videos, named by CSV lists (Kay et al. 2017).

A list (`train.csv`, `validate.csv` or `val.csv`, `test.csv`; a name may stand before it: `kinetics_train.csv`) has
the columns label, youtube_id, time_start, time_end, and others that are not needed. Videos are found by id and times,
<youtube_id>_<start>_<end>.<suffix> with times of six digits, wherever below the root they lie:

    ROOT/train/<label>/<id>_000010_000020.mp4           the ActivityNet crawler
    ROOT/train/<id>_000010_000020.mp4                   the CVDF's copy, with ROOT/annotations/train.csv
    ROOT/videos_train/<label>/<id>_000010_000020.mp4    MMAction2

The validation list is the official test part: the labels of the test list are not public in every version. With
`test="test"` the test list is, and the validation list the validation part. Videos that YouTube lost are missing from
every copy; they are told in `notes` and listed by `missing`. The group of a clip is its YouTube video: some gave
several clips.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import NamedTuple

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset, check_classes
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import counted, read_lines, some
from har_tf.datasets.parts import part_of
from har_tf.datasets.records import VideoRecord

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
LIST_NAME = re.compile(r"(?:.*[_\-.])?(train|validate|validation|val|test)\.csv", re.IGNORECASE)
VIDEO_NAME = re.compile(r"(.+)_(\d+)_(\d+)", re.DOTALL)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz")  # the last suffix of what copies of Kinetics come in
# The CVDF's second try at videos that were broken in its first; it has the same names.
REPLACEMENT = "replacement"


class Clip(NamedTuple):
    """A row of a list."""

    label: str
    youtube_id: str
    start: int
    end: int

    @property
    def stem(self) -> str:
        """The name of its video without suffix."""
        return f"{self.youtube_id}_{self.start:06d}_{self.end:06d}"


def load(
    root: str | Path | None,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    test: str = "val",
) -> ActionDataset:
    """Loads the clips of the lists that are on disk, classes sorted by label.

    That is the order of the published label maps, and classes without a video on disk keep their place in it, so that
    a label means the same as in a published model. The records are those of all parts; clips that are not on disk,
    videos in no list, and rows given twice are told in `notes`.

    Args:
        root: the folder that the videos lie below.
        classes: see `har_tf.datasets.load`.
        lists: folder of the lists, or None: anywhere below `root`, or beside it.
        test: the list of the test part: "val", or "test" where it has labels; then the validation list, if there is
            one, is the validation part.

    Raises:
        DatasetError: no such folder; no list, or several of one part; a wrong header, a row that is malformed; none
            of the clips is on disk, or one is there twice.
    """
    root = folder.check_folder(root, "a folder that holds the videos and lists of Kinetics")
    disk = _scan(root)
    parts, notes = _read_parts(root, disk, lists, test)
    labels = sorted({clip.label for clips in parts.values() for clip in clips})
    class_names = check_classes(classes, labels, str(root))
    label = {name: position for position, name in enumerate(class_names)}

    _refuse_twice(disk, (clip.stem for clips in parts.values() for clip in clips if clip.label in label))
    paths, records = {}, []
    for part, clips in parts.items():
        wanted = [clip for clip in clips if clip.label in label]
        there = [
            VideoRecord(disk.videos[stem], label[clip.label], clip.youtube_id)
            for clip in wanted
            if (stem := clip.stem) in disk.videos
        ]
        gone = [clip.stem for clip in wanted if clip.stem not in disk.videos]
        told = counted(gone, f"of {len(wanted)} {part} clips are not on disk")
        notes += [f"{note} (kinetics.missing lists them)" for note in told]
        records += there
        paths[part] = frozenset(record.path for record in there)
    if not records:
        raise DatasetError(_nothing_fits(root, disk))
    unlisted = sorted(disk.videos.keys() - {clip.stem for clips in parts.values() for clip in clips})
    notes += counted(unlisted, "videos on disk are in no list that was read")
    with_video = {record.label for record in records}
    without = [name for position, name in enumerate(class_names) if position not in with_video]
    notes += counted(without, f"of {len(class_names)} classes have no video on disk")
    records.sort(key=lambda record: (record.label, record.path))
    validation = paths.get("validation") or frozenset()
    return ActionDataset(
        name="kinetics",
        root=root,
        records=tuple(records),
        class_names=tuple(class_names),
        official=(paths["training"] | validation, paths["test"]),
        notes=tuple(notes),
        validation=validation or None,
        test_name=test,
    )


def missing(root: str | Path, lists: str | Path | None = None, test: str = "val") -> dict[str, tuple[Clip, ...]]:
    """The clips of the lists that are not on disk: part -> clips, in the order of the lists.

    The parts are "training" and "test", and with `test="test"` "validation", where there is a list of it.

    Args and errors are those of `load`.

    Example:
        >>> for part, clips in missing("k400").items():
        ...     print(part, *(clip.stem for clip in clips), sep="\\n")
    """
    root = folder.check_folder(root, "a folder that holds the videos and lists of Kinetics")
    disk = _scan(root)
    parts, _ = _read_parts(root, disk, lists, test)
    return {part: tuple(clip for clip in clips if clip.stem not in disk.videos) for part, clips in parts.items()}


def read_list(path: str | Path) -> list[Clip]:
    """The rows of a list, in its order.

    Raises:
        DatasetError: no such file, no UTF-8 text, a column is missing, or a row is malformed; with the line.
    """
    path = Path(path)
    rows = csv.reader(read_lines(path), strict=True)
    try:
        return list(_clips(path, rows))
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.line_num}: {error}") from error


def _clips(path: Path, rows: Iterator[list[str]]) -> Iterator[Clip]:
    header = [name.strip() for name in next(rows, [])]
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        hint = ". The labels of this list are not public" if lacking == ["label"] else ""
        raise DatasetError(
            f"{path}: no column {', '.join(lacking)}. Expected {','.join(COLUMNS)}{hint}. "
            f"Received: {','.join(header)[:80] or 'an empty file'}"
        )
    at_label, at_id, at_start, at_end = (header.index(name) for name in COLUMNS)
    for row in rows:
        if not row:
            continue
        try:
            clip = Clip(row[at_label].strip(), row[at_id].strip(), int(row[at_start]), int(row[at_end]))
        except (IndexError, ValueError):
            clip = None
        if clip is None or not clip.label or not clip.youtube_id or not 0 <= clip.start < clip.end:
            raise DatasetError(
                f"{path}, line {rows.line_num}: expected a label, an id and whole seconds, start before end. "
                f"Received: {','.join(row)[:120]!r}"
            )
        yield clip


def _read_parts(
    root: Path, disk: _Disk, lists: str | Path | None, test: str
) -> tuple[dict[str, tuple[Clip, ...]], list[str]]:
    """Part -> its clips, see `missing`, without rows given twice, and notes about these."""
    if test not in ("val", "test"):
        raise DatasetError(f"kinetics: the test part is 'val' or 'test'. Received: {test=}")
    if lists is not None:
        found = _lists(walk.files(folder.check_folder(lists, "the folder of train.csv and val.csv"), {".csv"}, depth=1))
        where = str(lists)
    else:
        where = f"{root}, or beside it"
        beside = (root.parent, root.parent / "annotations", root.parent / "lists")
        there = (walk.files(place, {".csv"}, depth=0) for place in beside if place.is_dir())
        found = _lists(disk.tables) or _lists(chain.from_iterable(there))
    validation = {"validation": found["val"]} if test == "test" and "val" in found else {}
    files = {"training": found.get("train", ()), **validation, "test": found.get(test, ())}
    if not any(files.values()):
        there = ", ".join(file.name for same in found.values() for file in same)
        raise DatasetError(
            f"{where}: no train.csv or {test}.csv; name the folder of the lists. Found: {there or 'none'}"
        )
    notes: list[str] = []
    parts: dict[str, dict[str, Clip]] = {}
    for part, same in files.items():
        if len(same) > 1:
            raise DatasetError(f"{where}: several lists of the {part} part; name the folder of one: {some(same)}")
        if not same:
            notes.append(f"no list of the {part} part")
        parts[part] = _once(part, read_list(same[0]), notes) if same else {}
    for part, later in combinations(parts, 2):
        if both := sorted(parts[part].keys() & parts[later].keys()):
            told = f"{len(both)} clips of the {part} list are in the {later} list too and taken for the {later}"
            notes.append(f"{told}: {some(both)}")
            parts[part] = {stem: clip for stem, clip in parts[part].items() if stem not in both}
    return {part: tuple(clips.values()) for part, clips in parts.items()}, notes


def _once(part: str, clips: Iterable[Clip], notes: list[str]) -> dict[str, Clip]:
    """{stem: clip}. A row given twice counts once; a clip with two labels has no place in a classification."""
    once: dict[str, Clip] = {}
    twice: set[str] = set()
    ambiguous: set[str] = set()
    for clip in clips:
        stem = clip.stem
        if (first := once.setdefault(stem, clip)) is not clip:
            (twice if first.label == clip.label else ambiguous).add(stem)
    if twice:
        notes.append(f"{len(twice)} {part} clips are listed more than once: {some(sorted(twice))}")
    if ambiguous:
        notes.append(f"{len(ambiguous)} {part} clips have two labels and are left out: {some(sorted(ambiguous))}")
    return {stem: clip for stem, clip in once.items() if stem not in ambiguous}


@dataclass
class _Disk:
    """What lies below a folder; `videos` by the stems of their clips."""

    videos: dict[str, Path] = field(default_factory=dict)
    twice: dict[str, tuple[Path, Path]] = field(default_factory=dict)  # two files of a clip
    others: list[Path] = field(default_factory=list)  # videos that are not called like a clip
    tables: list[Path] = field(default_factory=list)
    archives: list[Path] = field(default_factory=list)


def _scan(root: Path) -> _Disk:
    disk = _Disk()
    for file in walk.files(root, folder.SUFFIXES | {".csv", *ARCHIVES}, folder.MAX_DEPTH):
        suffix = file.suffix.lower()
        if suffix == ".csv":
            disk.tables.append(file)
        elif suffix in ARCHIVES:
            disk.archives += [file] if folder.how_to_unpack(file) else []
        elif (name := VIDEO_NAME.fullmatch(file.stem)) is None:
            disk.others.append(file)
        else:
            stem = Clip("", name[1], int(name[2]), int(name[3])).stem
            other = disk.videos.setdefault(stem, file)
            if other is file or _same(other, file):
                continue
            if _replaces(other, root) == _replaces(file, root):
                disk.twice[stem] = (other, file)
            elif _replaces(file, root):
                disk.videos[stem] = file
                disk.twice.pop(stem, None)
    return disk


def _same(one: Path, other: Path) -> bool:
    """Whether these are two names of one file, which links give it."""
    identity = walk.identity_of(one)
    return identity is not None and identity == walk.identity_of(other)


def _refuse_twice(disk: _Disk, wanted: Iterable[str]) -> None:
    """Raises where a clip is there twice: nothing tells which of the files is the good one."""
    twice = [disk.twice[stem] for stem in wanted if stem in disk.twice] if disk.twice else []
    if twice:
        first, second = min(twice)
        raise DatasetError(
            f"{first}: is the same clip as {second} ({len(twice)} clips are there twice). "
            f"Expected one file of a clip; move the other away"
        )


def _replaces(file: Path, root: Path) -> bool:
    return any(part.startswith(REPLACEMENT) for part in file.relative_to(root).parts[:-1])


def _nothing_fits(root: Path, disk: _Disk) -> str:
    text = (
        f"{root}: none of the clips in the lists is on disk. Expected videos <youtube_id>_<start>_<end>.mp4, times of "
        f"six digits. Found: {len(disk.videos)} such"
    )
    if disk.videos:
        text += f", first {min(disk.videos)}"
    if disk.others:
        text += f"; {len(disk.others)} other videos, first {disk.others[0].name}"
    if disk.archives:
        text += f"; {len(disk.archives)} archives. Unpack them: {folder.how_to_unpack(disk.archives[0])}"
    return text


def _lists(files: Iterable[Path]) -> dict[str, list[Path]]:
    """{"train" | "val" | "test": files that are called like a list of this part}."""
    found: dict[str, list[Path]] = {}
    for file in files:
        name = LIST_NAME.fullmatch(file.name)
        if name:
            found.setdefault(part_of(name[1]) or "val", []).append(file)
    return found
