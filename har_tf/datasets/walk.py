"""The one lister of the files below a folder, which every data set and `check` use.

It follows links to folders, because data sets are often put together from links, and ends link circles: a folder that
is, by its device and inode, one of those around it is not entered. What is named as wanted and is no folder is given,
also a dangling link or a pipe: that it cannot be read is for its reader to say, and a file that silently vanishes from
a data set is worse than one that fails. Hidden files and folders are left out, and folders that systems make.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from har_tf.datasets.errors import DatasetError

# What file managers, archivers and storage devices put beside the data of a folder.
_SYSTEM = frozenset(
    ("__macosx", "__pycache__", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "lost+found")
) | {"system volume information"}


def files(
    folder: str | Path,
    suffixes: Collection[str],
    depth: int | None = None,
    refused: Callable[[OSError], object] | None = None,
) -> Iterator[Path]:
    """The files in a folder and in the folders below it: those of a folder sorted by name, then those of its folders.

    A link to any folder around its own place ends, also to one above `folder`: else the files of a neighbour would be
    listed as if they lay here.

    Args:
        folder: where to begin; the paths given begin with it.
        suffixes: in lower case with their dot; names are compared without case.
        depth: how many folders deep below `folder` to look, 0 for its own files only; None: all.
        refused: is called with the error of a folder that cannot be listed, which is then left out; None: raise.

    Yields:
        Paths of what is no folder.

    Raises:
        DatasetError: a folder cannot be listed, and `refused` is None.
    """
    top = os.fspath(folder)
    waiting = [(top, 0, _around(top))]
    while waiting:
        place, level, above = waiting.pop()
        inner = []
        for entry in _entries(place, refused):
            if _is_folder(entry):
                inner.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in suffixes:  # noqa: PTH122
                yield Path(entry.path)
        if depth is None or level < depth:
            for path in reversed(inner):
                identity = identity_of(path)
                if identity not in above:
                    waiting.append((path, level + 1, above | {identity}))


def folders(folder: str | Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones and without links to it or to one around it.

    Raises:
        DatasetError: it cannot be listed.
    """
    top = os.fspath(folder)
    above = _around(top)
    return [Path(entry.path) for entry in _entries(top) if _is_folder(entry) and identity_of(entry.path) not in above]


def system_folders(folder: str | Path) -> list[str]:
    """The names of the folders in a folder that systems made, which are left out: also hidden ones, such as
    `.ipynb_checkpoints`."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _of_system(entry.name) and _is_folder(entry))


def names(folder: str | Path) -> list[str]:
    """The names of all files and folders in a folder, sorted, hidden ones too.

    Raises:
        DatasetError: it cannot be listed.
    """
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be listed: {error.strerror}") from error


def identity_of(path: str | Path) -> tuple[int, int] | None:
    """(device, inode), equal for all names of a file or a folder; None where there is nothing or access is refused."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # the latter: a null byte in a name
        return None
    return status.st_dev, status.st_ino


def _entries(place: str, refused: Callable[[OSError], object] | None = None) -> list[os.DirEntry]:
    try:
        with os.scandir(place) as entries:
            return sorted((e for e in entries if not _of_system(e.name)), key=lambda entry: entry.name)
    except OSError as error:
        if refused is None:
            raise DatasetError(f"{place}: cannot be listed: {error.strerror}") from error
        refused(error)
        return []


def _of_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _around(top: str) -> frozenset[tuple[int, int] | None]:
    """The identities of a folder and of all around it, by its name and, if links lead to it, by its real place."""
    # Not `Path.absolute`, which keeps "..".
    places = [Path(os.path.abspath(top)), Path(os.path.realpath(top))]  # noqa: PTH100
    return frozenset(identity_of(folder) for place in places for folder in (place, *place.parents)) - {None}


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle, or to where nobody may look
        return False
