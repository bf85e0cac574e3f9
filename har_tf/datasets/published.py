"""What the loaders of published data sets share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from har_tf.datasets import folder
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.files import safe_pickle


def by_clip(records: Iterable[VideoRecord], key: Callable[[VideoRecord], str]) -> dict[str, VideoRecord]:
    """{key: record}, where equal keys mean the same clip.

    Raises:
        DatasetError: two files are the same clip, as a.avi and a.mp4; a random split would put it on both sides.
    """
    found: dict[str, VideoRecord] = {}
    for record in records:
        other = found.setdefault(key(record), record)
        if other is not record:
            raise DatasetError(
                f"{other.path}: is the same clip as {record.path}. Expected one file of a clip; move the other away"
            )
    return found


def clips_on_disk(
    entries: Mapping[str, str], clips: Mapping[str, VideoRecord], part: str
) -> tuple[list[VideoRecord], str]:
    """(the clips that a list names and that are on disk, what is to be told of the others; "" where all are there).

    Args:
        entries: {key: name} in the order of the list.
        clips: {key: record} of what is on disk.
        part: what the list is of, "training" or "test".
    """
    missing = [name for key, name in entries.items() if key not in clips]
    text = f"{len(missing)} of {len(entries)} {part} entries are not on disk, first {missing[0]}" if missing else ""
    return [clips[key] for key in entries if key in clips], text


def unlisted(records: Iterable[VideoRecord], listed: Iterable[VideoRecord], split: int) -> list[str]:
    """A note on the records that no list of this split names; none where there are none."""
    known = {record.path for record in listed}
    names = [record.path.name for record in records if record.path not in known]
    return [f"official split {split}: {len(names)} videos are in no list, first {names[0]}"] if names else []


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
        DatasetError: see `folder.load`; or there is no folder of one of `classes`.
    """
    wanted = known if classes is None else classes
    present = [name for name in wanted if (top / name).is_dir()]
    absent = [name for name in wanted if name not in present]
    if classes is not None and absent:
        raise DatasetError(f"{top}: no folder of class {absent[0]}")
    notes = [f"{len(absent)} of {len(wanted)} classes are not on disk, first {absent[0]}"] if absent else []
    return folder.load(top, present), notes


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
