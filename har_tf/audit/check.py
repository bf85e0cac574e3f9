"""Reads every video of a collection from end to end and writes down what is in it, see `manifest`.

    python -m har_tf check DIR --out manifest.parquet

A file is a problem if it cannot be decoded, or if its container claims frames that are not in it: it was cut off, or
its end is damaged. Two things are odd and no problem, and become a note. XviD's files, as in UCF101, may claim a few
frames more than can be decoded: these packets are there, whole, and say "as before" without being a frame. And a file
may be named like another container than it is, which decoders do not mind.

A second run with the same `out` reads only files of another size or modification time, and those that had a problem,
which may have been a passing one. So does a run after one that was interrupted: every row is written to a journal
beside `out` as soon as it is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path, PurePosixPath

import av
from tqdm import tqdm

from har_tf.audit import hashes as frame_hashes
from har_tf.audit import manifest
from har_tf.audit.manifest import Manifest, Row
from har_tf.datasets import walk
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.folder import GROUP, SUFFIXES
from har_tf.datasets.parts import part_of
from har_tf.datasets.records import relative, stamp_of
from har_tf.files.json_text import parse_json
from har_tf.files.limits import MEMORY, TIMEOUT
from har_tf.files.whole import resumable
from har_tf.files.workers import Failed, outcomes
from har_tf.names import shown
from har_tf.video import VideoError, VideoInfo, probe
from har_tf.video.guard import Guard
from har_tf.video.stream import open_stream

# The names that FFmpeg gives to the containers that belong to a file name's ending.
_FORMATS = {
    **dict.fromkeys(("3gp", "m4v", "mov", "mp4"), ("mov", "mp4")),
    **dict.fromkeys(("asf", "wmv"), ("asf",)),
    **dict.fromkeys(("m2ts", "mts", "ts"), ("mpegts",)),
    **dict.fromkeys(("mkv", "webm"), ("matroska", "webm")),
    **dict.fromkeys(("mpeg", "mpg"), ("mpeg", "mpegts", "mpegvideo")),
    "avi": ("avi",),
    "flv": ("flv",),
    "ogv": ("ogg",),
}
# What a journal begins with; one that begins otherwise is of another version, and its rows are not believed.
_JOURNAL = json.dumps({"format": 1, "fields": [field.name for field in fields(Row)]})
_NAMED = 3  # files that the summary names of each kind


@dataclass(frozen=True)
class Task:
    """A file to be read.

    Args:
        path: the file.
        name: what it is called in its row.
        hashes: whether frames are hashed.
        known: its row of an earlier run, in which only the hashes are missing.
    """

    path: str
    name: str
    hashes: bool
    known: Row | None = None


def check(
    root: str | Path,
    out: str | Path | None = None,
    workers: int | None = None,
    hashes: bool = False,
    dataset: ActionDataset | None = None,
    fresh: bool = False,
    timeout: float | None = TIMEOUT,
) -> Manifest:
    """Decodes every video below a folder, in processes that survive a crash of the decoder.

    All files that are named like a video are listed, also those that are empty, no regular files, or links that lead
    nowhere; hidden files and folders are not.

    Args:
        root: any folder. Class and part of a split follow from the folders in it as in `folder.load`: the first
            folder below those around all files is the class, or the part where all are called train, val or test. The
            group is the `_gNN_` of a file's name in its class.
        out: the manifest to write, .parquet or .csv. If it is there, its rows of unchanged files are kept.
        workers: number of processes; None: one a core; 0: this process does the work.
        hashes: whether frames are hashed as well, which `audit` needs and takes a second decode.
        dataset: takes class, group and part of the files from this data set, and its official split.
        fresh: reads everything again.
        timeout: seconds after which a file is given up, which is its problem then; None: never. With workers=0 only
            the limits of `har_tf.files.limits` hold.

    Raises:
        DatasetError: no such folder, no video in it, `out` is no manifest or cannot be written, or `dataset` has no
            official split or no file in `root`.
        ValueError: `workers` or `timeout` is out of its range.

    Example:
        >>> manifest = check("UCF-101", "ucf101.parquet")
        >>> len(manifest.problems)
        0
    """
    if workers is not None and workers < 0:
        raise ValueError(f"workers must be None or at least 0. Received: workers={workers}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a positive number of seconds, or None. Received: timeout={timeout}")
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: {'is a file' if root.exists() else 'no such folder'}. Expected a folder of videos")
    out = None if out is None else Path(out)
    earlier = {} if out is None else _earlier(out, fresh)
    listed = list(_listed(root))
    if not listed:
        raise DatasetError(f"{root}: no video in it. Video files end in {', '.join(sorted(SUFFIXES))}")
    places = _places(listed, root) if dataset is None else _places_of(dataset, root)

    rows, tasks = [], []
    for path, problem in listed:
        name = manifest.name_of(relative(path, root))
        row = earlier.get(name)
        if problem:
            rows.append(Row(name, problem=problem))
        elif row is None or row.problem or row.stamp != stamp_of(path):
            tasks.append(Task(os.fspath(path), name, hashes))
        elif hashes and not row.frame_hashes:
            tasks.append(Task(os.fspath(path), name, hashes, row))
        else:
            rows.append(row)
    with _journal(out) as note:
        for row in inspect(tasks, workers, timeout):
            note(row)
            rows.append(row)
        found = Manifest(tuple(_marked(replace(row, **places.get(row.path, _NOWHERE)) for row in rows)))
        if out is not None:
            found.write(out)
    return found


def inspect(tasks: Sequence[Task], workers: int | None = None, timeout: float | None = TIMEOUT) -> Iterator[Row]:
    """Yields the row of every file in order, without class, part and duplicates; the arguments are those of `check`."""
    if not tasks:
        return
    results = outcomes(_row, tasks, workers, timeout, MEMORY)
    for task, row in tqdm(
        zip(tasks, results, strict=True), total=len(tasks), desc="checking", unit="clip", disable=None
    ):
        if isinstance(row, Failed):
            size, time = stamp_of(Path(task.path))
            row = Row(task.name, bytes=size, mtime_ns=time, problem=row.reason)
        yield row


def _row(task: Task) -> Row:
    """Reads one file; what is wrong with it stands in the row."""
    path = Path(task.path)
    if task.known is not None:
        row, frames, fps = task.known, task.known.frames, task.known.fps
    else:
        size, time = stamp_of(path)
        row = Row(task.name, bytes=size, mtime_ns=time)
        if size < 0:
            return replace(row, problem="a link that leads nowhere" if path.is_symlink() else "no such file")
        try:
            # `probe` comes first: it refuses what would block, such as a named pipe.
            info = probe(path, threads=1)
        except VideoError as error:
            return replace(row, sha256=_sha256(path), problem=_one_line(error.reason))
        frames, fps = info.frames, info.fps
        problem, note = _judged(path, info)
        row = replace(
            row,
            sha256=_sha256(path),
            codec=info.codec,
            width=info.width,
            height=info.height,
            rotation=info.rotation,
            fps=fps,
            duration=info.duration,
            frames=frames,
            claimed_frames=info.claimed_frames,
            problem=problem,
            note=note,
        )
    if task.hashes and not row.problem:
        try:
            return replace(row, frame_hashes=frame_hashes.hashes_of(path, frames, fps))
        except VideoError as error:
            return replace(row, problem=_one_line(error.reason))
    return row


def _sha256(path: Path) -> str:
    """Empty where there is nothing to be read."""
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # `probe` says why


def _judged(path: Path, info: VideoInfo) -> tuple[str, str]:
    """(problem, note) of a video that can be decoded."""
    notes = []
    with open_stream(Guard(path), threads=1) as stream:
        names = stream.container.format.name
    expected = _FORMATS.get(path.suffix.lower().lstrip("."))
    if expected and set(names.split(",")).isdisjoint(expected):
        notes.append(f"named {path.suffix}, but of the format {names}")
    problem = ""
    if info.claimed_frames is not None and info.frames < info.claimed_frames:
        lacking = f"{info.claimed_frames} frames claimed, {info.frames} decodable"
        whole, damaged = _frames_and_packets(path)
        if damaged:
            problem = f"its end is damaged: {lacking}"
        elif whole < info.claimed_frames:
            problem = f"cut off: {lacking}"
        else:
            notes.append(f"{info.claimed_frames - info.frames} packets without a frame")
    elif info.claimed_frames is not None and info.frames > info.claimed_frames:
        notes.append(f"{info.frames - info.claimed_frames} frames more than claimed")
    return problem, "; ".join(notes)


def _frames_and_packets(path: Path) -> tuple[int, bool]:
    """(number of whole packets, whether a packet or a frame is damaged) of the first video stream."""
    count, damaged = 0, False
    guard = Guard(path)
    with open_stream(guard, threads=1) as stream:
        try:
            for packet in stream.container.demux(stream):
                guard.came_upon_packet()
                count += packet.size > 0 and not packet.is_corrupt
                damaged |= packet.is_corrupt or any(frame.is_corrupt for frame in packet.decode())
        except av.FFmpegError:
            damaged = True
    return count, damaged


def _listed(root: Path) -> Iterator[tuple[Path, str]]:
    """(path, "") of everything that is named like a video; (folder, problem) of what cannot be listed."""
    broken: list[OSError] = []
    yield from ((path, "") for path in walk.files(root, SUFFIXES, refused=broken.append))
    for error in broken:
        yield Path(os.fsdecode(error.filename)), f"a folder that cannot be listed ({error.strerror})"


_NOWHERE = {"class_name": "", "part": "", "group": ""}


def _places(listed: list[tuple[Path, str]], root: Path) -> dict[str, dict[str, str]]:
    """Class, part and group of the files by the names of their folders; the keys are those of the rows."""
    top = Path(os.path.commonpath([path.parent for path, _ in listed]))
    below = {path: PurePosixPath(relative(path, top)).parts[:-1] for path, problem in listed if not problem}
    tops = {parts[0] for parts in below.values() if parts}
    names = {part_of(name) for name in tops}
    split = "" not in names and "train" in names and len(names) == len(tops) > 1 and all(below.values())
    places = {}
    for path, parts in below.items():
        part = part_of(parts[0]) if split else ""
        inner = parts[1:] if split else parts
        name = manifest.name_of(relative(path, root))
        class_name = manifest.name_of(inner[0]) if inner else ""
        group = GROUP.search(path.stem)
        places[name] = {
            "class_name": class_name,
            "part": part,
            "group": f"{class_name}/{group.group(1)}" if group else "",
        }
    return places


def _places_of(dataset: ActionDataset, root: Path) -> dict[str, dict[str, str]]:
    if dataset.official is None:
        raise DatasetError(f"{dataset.root}: has no official split. Expected train and test folders, or lists of it")
    train, test = dataset.official
    parts = {"test": test, "val": dataset.validation or (), "train": train}
    places = {
        manifest.name_of(relative(record.path, root)): {
            "class_name": dataset.class_names[record.label],
            "part": next((part for part, paths in parts.items() if record.path in paths), ""),
            "group": manifest.text_of(record.group or ""),
        }
        for record in dataset.records
        if Path(os.path.abspath(record.path)).is_relative_to(os.path.abspath(root))  # noqa: PTH100
    }
    if not places:
        raise DatasetError(f"{dataset.root}: none of the {len(dataset)} videos lies in {root}")
    return places


def _marked(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, those that repeat the content of an earlier one named so."""
    first: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row.path):
        # Empty files are equal and say nothing; they are problems anyway.
        known = first.setdefault(row.sha256, row.path) if row.sha256 and row.bytes else row.path
        yield replace(row, duplicate_of="" if known == row.path else known)


def _earlier(out: Path, fresh: bool) -> dict[str, Row]:
    """The rows that an earlier run left in `out` and its journal; raises if `out` cannot become a manifest."""
    manifest.suffix_of(out)
    if out.is_dir():
        raise DatasetError(f"{out}: is a folder. Expected the name of a file to write")
    place = next(parent for parent in (out.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise DatasetError(f"{out}: cannot be written: {place} is not a folder that may be written to")
    journal = _journal_of(out)
    if fresh:
        journal.unlink(missing_ok=True)
        return {}
    rows = {row.path: row for row in Manifest.read(out).rows} if out.exists() else {}
    if journal.exists():
        header, *lines = journal.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        if header != _JOURNAL:
            journal.unlink()
            return rows
        for line in lines:
            try:
                row = manifest.row_of(parse_json(line))
            except ValueError:  # half a line of a killed run, or an empty one
                continue
            if row is not None:
                rows[row.path] = row
    return rows


def _journal_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.journal")


@contextmanager
def _journal(out: Path | None) -> Iterator[Callable[[Row], None]]:
    """Gives a function that writes down a row; the journal goes when all went well."""
    if out is None:
        yield lambda row: None
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    journal = _journal_of(out)
    with journal.open("a", encoding="utf-8") as file:
        if not file.tell():
            file.write(_JOURNAL)

        def note(row: Row) -> None:
            # The line break comes first, so that it ends a half line of a killed run.
            file.write("\n" + json.dumps(astuple(row)))
            file.flush()

        with resumable("the same command goes on from the files that were read"):
            yield note
    journal.unlink(missing_ok=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def duplicates(found: Manifest) -> dict[str, list[tuple[Row, ...]]]:
    """The files of equal content by kind, the worst kind first: in two parts, in two classes, in one class."""
    kinds: dict[str, list[tuple[Row, ...]]] = {
        kind: [] for kind in ("in two parts of the split", "in two classes", "in one class")
    }
    for rows in found.duplicates:
        across_parts = len({row.part for row in rows if row.part}) > 1
        across_classes = len({row.class_name for row in rows}) > 1
        worst = "in two parts of the split" if across_parts else "in two classes" if across_classes else "in one class"
        kinds[worst].append(rows)
    return {kind: groups for kind, groups in kinds.items() if groups}


def summary(found: Manifest) -> str:
    """What a person wants to know of a manifest, in a few lines."""
    sound = [row for row in found.rows if not row.problem]
    hours = sum(row.duration for row in found.rows) / 3600
    size = sum(max(row.bytes, 0) for row in found.rows)
    claims = [row.claimed_frames for row in found.rows if row.claimed_frames is not None]
    lines = [
        f"files       {len(found)}, {len(sound)} of them sound",
        f"frames      {sum(row.frames for row in found.rows)} decoded; {sum(claims)} claimed by {len(claims)} files",
        f"duration    {hours:.2f} h",
        f"bytes       {size / 1e6:.1f} MB",
        f"codecs      {_counted(row.codec for row in found.rows)}",
        f"sizes       {_counted(f'{row.width}x{row.height}' for row in sound)}",
        f"frame rates {_counted(f'{row.fps:.4g}' for row in sound)}",
    ]
    parts = _counted(row.part for row in found.rows)
    classes = {row.class_name for row in found.rows if row.class_name}
    lines += [f"classes     {len(classes)}"] if classes else []
    lines += [f"parts       {parts}"] if parts else []
    lines.append(f"problems    {len(found.problems) or 'none'}")
    lines += _grouped((row.path, row.problem) for row in found.problems)
    lines.append(f"duplicates  {sum(len(rows) - 1 for rows in found.duplicates) or 'none'}")
    for kind, groups in duplicates(found).items():
        named = "; ".join(" = ".join(row.path for row in rows[:_NAMED]) + _more(rows) for rows in groups[:_NAMED])
        lines.append(f"  {sum(len(rows) - 1 for rows in groups):6d}  {kind}: {named}{_more(groups)}")
    notes = [(row.path, row.note) for row in sound if row.note]
    if notes:
        lines += [f"notes       {len(notes)}", *_grouped(notes)]
    return "\n".join(map(shown, lines))


def _counted(values: Iterable[str]) -> str:
    counts = Counter(value for value in values if value).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:5])
    return shown + (f", {len(counts) - 5} more" if len(counts) > 5 else "")


def _grouped(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """A line for every kind of reason: how often, and the first files."""
    kinds: dict[str, list[str]] = {}
    for path, reason in reasons:
        kind = re.split(r" \(|[:,;]", reason)[0]
        kinds.setdefault(re.sub(r"\d+", "N", kind), []).append(path)
    ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
    return [f"  {len(paths):6d}  {kind}: {', '.join(paths[:_NAMED])}{_more(paths)}" for kind, paths in ordered]


def _more(items: Sequence) -> str:
    return f", and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
