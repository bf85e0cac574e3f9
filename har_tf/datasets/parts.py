"""Which folders are the parts of a split and which are classes, read from their names and from what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from har_tf.datasets.errors import DatasetError

_NAMES = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validate", "validation", "valset", "dev", "devel", "development"),
    "test": ("test", "testing", "testset", "eval", "evaluation"),
}
_PART = {name: part for part, names in _NAMES.items() for name in names}
# Words beside the name of a part that do not change what it is, as in "videos_train" or "test-set".
_BESIDE = frozenset(("set", "split", "data", "dataset", "videos", "video", "clips", "clip", "frames", "rgb", "files"))


def part_of(name: str) -> str:
    """ "train", "val" or "test", where a folder is called like this part of a split; else ""."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word and word not in _BESIDE]
    return _PART.get(words[0], "") if len(words) == 1 else ""


def parts_of(
    top: Path,
    inner: Mapping[str, Sequence[str]],
    loose: Callable[[str], int],
    classes: Sequence[str] | None = None,
) -> dict[str, str] | None:
    """{"train": name of a folder, ...} where the folders are the parts of a split; None where they are classes.

    Args:
        top: the folder that holds them.
        inner: name of each of them that holds a video -> names of the folders in it that do.
        loose: how many videos lie in one of them, in no folder.
        classes: the names of classes that are wanted; where these are the folders, they are no parts.

    Raises:
        DatasetError: both can be meant, or they are parts and their videos are in no class folder.
    """
    known = {name: part_of(name) for name in inner}
    called = [name for name in inner if known[name]]
    if classes is not None and set(classes) <= set(inner):
        return None
    shared = set.intersection(*map(set, inner.values())) if len(inner) > 1 else set()
    if len(called) == len(inner) > 1:
        _check_parts(top, inner, known, loose)
        return {known[name]: name for name in inner}
    mixed = any(len(inner[name]) > 1 for name in called)
    alike = len(shared) > 1 and all(set(inner[name]) == shared and not loose(name) for name in inner)
    if len(inner) > 1 and (mixed or alike):
        some = next(names for names in (*(inner[name] for name in called), *inner.values()) if len(names) > 1)
        raise DatasetError(
            f"{top}: two readings. Either {_listed(inner)} are parts of the data, and the classes are {_listed(some)} "
            f"in them: then call the parts train, val and test, or give the folder of one. Or they are the classes "
            f"themselves: then name them as the classes that are wanted"
        )
    return None


def _check_parts(top, inner, known, loose) -> None:
    without = [name for name in inner if not inner[name]]
    if without:
        lists = sorted(path.name for path in (*top.glob("*.csv"), *top.glob("*.txt"), *top.glob("*.json")))
        beside = f". What classes they have may stand in {_listed(lists)}, which is not read" if lists else ""
        raise DatasetError(
            f"{top}: {_listed(inner)} are called like the parts of a split, but {loose(without[0])} videos in "
            f"{without[0]} are in no class folder{beside}. Expected a folder of videos per class in each part"
        )
    if "train" not in known.values() or len(set(known.values())) < len(known):
        found = ", ".join(f"{name} ({part})" for name, part in known.items())
        raise DatasetError(
            f"{top}: its folders are called like parts of a split: {found}. Expected one train folder, and a val or a "
            "test folder, or both"
        )


def _listed(names) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
