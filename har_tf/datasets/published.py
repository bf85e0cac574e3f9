"""What the loaders of published data sets share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from har_tf.datasets import folder
from har_tf.datasets.dataset import ActionDataset, check_classes, composed
from har_tf.datasets.errors import DatasetError, IncompleteError
from har_tf.datasets.lists import counted
from har_tf.datasets.records import VideoRecord
from har_tf.files import safe_pickle


def clip_key(class_name: str, stem: str) -> str:
    """What is equal for all names of a clip: copies are re-encoded to other containers, and releases differ in case."""
    return composed(f"{class_name}/{stem}").casefold()


def by_clip(dataset: ActionDataset) -> dict[str, VideoRecord]:
    """{`clip_key`: record}.

    Raises:
        DatasetError: two files are the same clip, as a.avi and a.mp4; a random split would put it on both sides.
    """
    found: dict[str, VideoRecord] = {}
    for record in dataset.records:
        other = found.setdefault(clip_key(dataset.class_names[record.label], record.path.stem), record)
        if other is not record:
            raise DatasetError(
                f"{other.path}: is the same clip as {record.path}. Expected one file of a clip; move the other away"
            )
    return found


def lacking(notes: list[str], where: object, partial: bool) -> list[str]:
    """`notes`, which tell what a copy lacks.

    Raises:
        IncompleteError: there are some, and the copy is not taken in part.
    """
    if notes and not partial:
        raise IncompleteError(f"{where}: {notes[0]}")
    return notes


def in_parts(
    dataset: ActionDataset,
    lists: Mapping[str, Mapping[str, str]],
    source: object,
    split: int,
    partial: bool,
    both: bool = True,
) -> tuple[list[list[VideoRecord]], list[str]]:
    """(the clips of each part of an official split that are on disk, notes on the others).

    Args:
        dataset: what is on disk; other classes in the lists do not count.
        lists: {part: {`clip_key`: name}} of "training", "test" and, where clips are in neither, "unused".
        source: where the lists stand.
        split: the number of the split.
        partial: whether videos that the lists name may be missing.
        both: whether a training and a test part with entries both need a video; False: one of them does.

    Raises:
        DatasetError: a part that is needed is missing; or see `by_clip`.
        IncompleteError: a video is missing, unless `partial`.
    """
    clips = by_clip(dataset)
    present = {clip_key(name, "") for name in dataset.class_names}
    where = f"{dataset.root} (lists: {source}, split {split})"
    parts, notes = [], []
    if not both and all(clips.keys().isdisjoint(listed) for listed in lists.values()):
        raise DatasetError(f"{where}: none of the {sum(map(len, lists.values()))} entries is on disk")
    for part, listed in lists.items():
        entries = {key: name for key, name in listed.items() if key[: key.index("/") + 1] in present}
        missing = [name for key, name in entries.items() if key not in clips]
        if both and partial and 0 < len(missing) == len(entries) and part != "unused":
            raise DatasetError(f"{where}: none of the {len(entries)} {part} entries is on disk")
        notes += lacking(counted(missing, f"of {len(entries)} {part} entries are not on disk"), where, partial)
        parts.append([clips[key] for key in entries if key in clips])
    others = [clip.path.name for key, clip in clips.items() if not any(key in listed for listed in lists.values())]
    notes += counted(others, "videos are in no list")
    return parts, [f"official split {split}: {note}" for note in notes]


def paths_of(*parts: Iterable[VideoRecord]) -> tuple[frozenset[Path], ...]:
    """The files of each part, as `ActionDataset.official` has them."""
    return tuple(frozenset(record.path for record in part) for part in parts)


def of_classes(top: Path, known: Sequence[str], classes: Sequence[str] | None) -> tuple[ActionDataset, list[str]]:
    """The videos in the class folders of a data set whose classes are `known`, and what is to be told.

    Args:
        top: the folder of the class folders; others in it are left out.
        known: all classes, in the order of the labels where `classes` is None.
        classes: keep these classes, labelled in this order; None: those that are on disk.

    Raises:
        DatasetError: see `folder.load`; or an unknown class, or there is no folder of one of `classes`.
    """
    wanted = check_classes(classes, known, str(top))
    present = [name for name in wanted if (top / name).is_dir()]
    absent = [name for name in wanted if name not in present]
    if classes is not None and absent:
        raise DatasetError(f"{top}: no folder of class {absent[0]}")
    return folder.load(top, present), counted(absent, f"of {len(wanted)} classes are not on disk")


def in_or_below(place: Path, pattern: str, depth: int = 2) -> Iterator[Path]:
    """What fits the pattern in a folder, then one folder deeper, and so on; sorted at each depth."""
    for inner in range(depth + 1):
        yield from sorted(place.glob("*/" * inner + pattern))


def read_pickle(path: Path) -> Any:
    """What `safe_pickle.load` reads.

    Raises:
        DatasetError: it cannot be read, or is refused.
    """
    try:
        return safe_pickle.load(path)
    except safe_pickle.PickleFileError as error:
        raise DatasetError(str(error)) from error
