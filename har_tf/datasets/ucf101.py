"""UCF101: 13,320 videos of 101 actions, with three official splits (Soomro et al. 2012).

The lists (`trainlistNN.txt`, `testlistNN.txt`, `classInd.txt`) name videos as <Class>/v_<Class>_gNN_cMM.avi.
They also serve folders that hold only some of the classes or clips. Two traps: the folder is HandstandPushups
and its files v_HandStandPushups_* (not in every release), so names are compared without case; and copies are
re-encoded to other containers, so without the suffix.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset, composed
from har_tf.datasets.errors import DatasetError, IncompleteError
from har_tf.datasets.lists import numbered_lines, some
from har_tf.datasets.published import by_clip, clips_on_disk, paths_of, unlisted
from har_tf.datasets.records import VideoRecord

LISTS = "ucfTrainTestlist"
CLASSES, VIDEOS = 101, 13320
SIZES = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # {split: (training, test) videos}


@dataclass(frozen=True)
class Lists:
    """The entries, <Class>/<file>, of an official split and the class names in the order of classInd.txt."""

    folder: Path
    train: tuple[str, ...]
    test: tuple[str, ...]
    class_names: tuple[str, ...]


def load(
    root: str | Path | None,
    split: int = 1,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    partial: bool = False,
) -> ActionDataset:
    """Loads UCF101 with an official split, classes in the order of classInd.txt.

    Args:
        root: the folder that holds the class folders, or one around it.
        split: 1, 2 or 3.
        classes: keep these classes, labelled in this order.
        lists: folder of the official lists; None: `ucfTrainTestlist` in, or beside, the folder of the videos.
        partial: do without videos that the lists name and that are not on disk; they are told in `notes`.

    Raises:
        DatasetError: see `folder.load`, `read_lists` and `with_lists`; or the lists are not found, or, unless
            `partial`, name videos of the classes present that are not on disk.
    """
    if root is None:
        raise DatasetError("ucf101: root, the folder of UCF-101 with its class folders, is needed")
    dataset = replace(folder.load(root, classes), name="ucf101")
    if len(dataset.class_names) == CLASSES and len(dataset) != VIDEOS:
        note = f"{len(dataset)} videos of all {CLASSES} classes. UCF101 has {VIDEOS}"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    found = find_lists(Path(root), dataset.root) if lists is None else Path(lists)
    if found is None:
        raise DatasetError(f"{root}: no {LISTS} in it or beside it; name the folder of the official lists")
    dataset = with_lists(dataset, found, split, complete=not partial)
    order = [name for name in read_lists(found, split).class_names if name in dataset.class_names]
    if classes is None and len(order) == len(dataset.class_names):
        dataset = dataset.only(order)
        dataset = dataset.subset(sorted(dataset.records, key=lambda record: (record.label, record.path)))
    return dataset


def find_lists(*roots: Path) -> Path | None:
    """The folder of official lists in, beside, or up to two folders below one of `roots`, or None."""
    for root in roots:
        root = root.resolve()
        places = [root, root / LISTS, root.parent / LISTS]
        places += sorted(file.parent for depth in ("*", "*/*") for file in root.glob(f"{depth}/trainlist*.txt"))
        for place in places:
            if any(place.glob("trainlist*.txt")):
                return place
    return None


def read_lists(path: str | Path, split: int = 1) -> Lists:
    """Reads `trainlist<split>.txt`, `testlist<split>.txt` and, where it is there, `classInd.txt`.

    Raises:
        DatasetError: a list is missing or malformed, names a video twice or in both parts, or gives another
            label than classInd.txt; or the lists name all 101 classes, but not as many videos as the official split.
    """
    path = folder.check_folder(path, f"the folder of trainlist{split:02d}.txt and testlist{split:02d}.txt")
    class_names = _read_classes(path / "classInd.txt") if "classInd.txt" in walk.names(path) else ()
    train = _read_entries(path / f"trainlist{split:02d}.txt", class_names)
    test = _read_entries(path / f"testlist{split:02d}.txt", class_names)
    both = {_key(entry) for entry in train} & {_key(entry) for entry in test}
    if both:
        names = [entry for entry in test if _key(entry) in both]
        raise DatasetError(
            f"{path}: {len(names)} videos are in both trainlist{split:02d}.txt and testlist{split:02d}.txt: "
            f"{some(names)}"
        )
    found = (len(train), len(test))
    listed = {_key(entry).split("/")[0] for entry in train + test}
    if len(listed) == CLASSES and found != SIZES.get(split, found):
        raise DatasetError(
            f"{path}: {found[0]} training and {found[1]} test entries in split {split}. "
            f"Expected {SIZES[split][0]} and {SIZES[split][1]}"
        )
    return Lists(path, train, test, class_names)


def fits(dataset: ActionDataset, lists: str | Path, split: int = 1) -> bool:
    """Whether these lists name any video of `dataset`; lists beside a folder may be of other data."""
    entries = read_lists(lists, split)
    names = dataset.class_names
    return not {_entry(record, names) for record in dataset.records}.isdisjoint(map(_key, entries.train + entries.test))


def with_lists(dataset: ActionDataset, lists: str | Path, split: int = 1, complete: bool = False) -> ActionDataset:
    """Gives `dataset` the official split of these lists, restricted to the videos that it has.

    Entries without a video, videos without an entry, and groups in both parts are told in `notes`.

    Raises:
        DatasetError: see `read_lists`; or no entry fits; or a clip is there twice, with two suffixes; or, with
            `complete`, a class that is present lacks a video that the lists name.
    """
    named = read_lists(lists, split)
    on_disk = by_clip(dataset.records, lambda record: _entry(record, dataset.class_names))
    present = {composed(name).casefold() for name in dataset.class_names}
    parts, notes = [], []
    for part, wanted in (("training", named.train), ("test", named.test)):
        entries = {key: entry for entry in wanted if (key := _key(entry)).split("/")[0] in present}
        clips, text = clips_on_disk(entries, on_disk, part)
        if not clips:
            raise DatasetError(f"{lists}: none of the {part} entries of split {split} is in {dataset.root}")
        if text and complete:
            raise IncompleteError(f"{dataset.root}: {text} (lists: {lists}, split {split})")
        notes += [f"official split {split}: {text}"] if text else []
        parts.append(clips)
    train, test = parts
    notes += unlisted(dataset, train + test, split)
    shared = sorted({r.group for r in train if r.group} & {r.group for r in test})
    if shared:
        notes.append(f"official split {split}: {len(shared)} groups are in both parts: {some(shared)}")
    return replace(dataset, official=paths_of(train, test), notes=dataset.notes + tuple(notes))


def _entry(record: VideoRecord, class_names: Sequence[str]) -> str:
    return composed(f"{class_names[record.label]}/{record.path.stem}").casefold()


def _read_classes(path: Path) -> tuple[str, ...]:
    classes = {}
    for number, line in numbered_lines(path):
        label, _, name = line.partition(" ")
        if not label.isdigit() or not name:
            raise DatasetError(f"{path}, line {number}: expected '<number> <Class>'. Received: {line!r}")
        classes[int(label)] = name
    if sorted(classes) != list(range(1, len(classes) + 1)):
        raise DatasetError(f"{path}: the numbers are not 1 to {len(classes)}")
    return tuple(classes[label] for label in sorted(classes))


def _read_entries(path: Path, class_names: tuple[str, ...]) -> tuple[str, ...]:
    names = walk.names(path.parent)
    if path.name not in names:
        there = fnmatch.filter(names, "t*list*.txt")
        raise DatasetError(f"{path}: no such list. Found: {', '.join(there) or 'no lists'}")
    entries: dict[str, str] = {}
    for number, line in numbered_lines(path):
        name, _, label = line.partition(" ")
        if len(PurePosixPath(name).parts) != 2 or (label and not label.isdigit()):
            raise DatasetError(f"{path}, line {number}: expected '<Class>/<file> [label]'. Received: {line!r}")
        if label and class_names and class_names[int(label) - 1 : int(label)] != (name.split("/")[0],):
            raise DatasetError(f"{path}, line {number}: {label} is not the label of classInd.txt. Received: {line!r}")
        if _key(name) in entries:
            raise DatasetError(f"{path}, line {number}: {name} is in this list twice")
        entries[_key(name)] = name
    if not entries:
        raise DatasetError(f"{path}: an empty list")
    return tuple(entries.values())


def _key(entry: str) -> str:
    return composed(str(PurePosixPath(entry).with_suffix(""))).casefold()
