"""Any folder of class folders of videos: UCF-101 as unpacked, its copies on Kaggle, one's own collection.

Understood layouts, where a class folder may hold its videos in folders of its own:

    DIR/<Class>/*.avi
    DIR/<one folder>/<Class>/*.avi        any number of lone folders around the classes
    DIR/{train,val,test}/<Class>/*.avi    an official split

Of the last, val counts as training data, because the checkpoint is chosen on a part held out of the training
data, and as test data where there is no test folder. Files beside the class folders and hidden files
are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from har_tf.datasets import archives
from har_tf.datasets.records import ActionDataset, DatasetError, VideoRecord, check_classes

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"),
    )
)
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MAX_DEPTH = 6  # of folders in folders; also what ends a loop of links
GROUP = re.compile(r"_(g\d+)(?=_|$)")


def load(path: str | Path, classes: Sequence[str] | None = None) -> ActionDataset:
    """Lists the videos of a folder of class folders, sorted by path.

    The group of a video is the `_gNN_` of its file name, qualified with its class, or None.

    Args:
        path: the folder.
        classes: keep these classes, labelled in this order; None: all, sorted by name.

    Raises:
        DatasetError: no such folder, no video in it, a class without a video, fewer than two classes, or an
            unknown name in `classes`.
    """
    path = check_folder(path)
    top = _class_root(path)
    parts = _parts(top)
    class_folders: dict[str, list[Path]] = {}
    for folder in (top,) if parts is None else parts.values():
        for sub in _folders(folder):
            if not _holds_lists(sub):
                class_folders.setdefault(sub.name, []).append(sub)
    names = sorted(class_folders)
    if classes is not None:
        check_classes(classes, names, str(path))
        names = list(classes)
    if len(names) < 2:
        raise DatasetError(f"{path}: at least two classes are needed. Received: {names[0] if names else 'none'}")

    records = []
    for label, name in enumerate(names):
        videos = sorted(video for folder in class_folders[name] for video in _videos(folder))
        if not videos:
            raise DatasetError(_no_video(name, class_folders[name][0]))
        records += [VideoRecord(video, label, _group(video, name)) for video in videos]
    return ActionDataset(
        name=data_set_name(path),
        root=top,
        records=tuple(records),
        class_names=tuple(names),
        official=None if parts is None else _official(parts, records),
    )


def check_folder(path: str | Path, expected: str = "a folder that holds a folder of videos per class") -> Path:
    """`path` as a Path, if it is a folder.

    Raises:
        DatasetError: no such folder, or a file; of an archive the message tells the command that unpacks it.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path}: no such folder. Expected {expected}")
    if path.is_file() and archives.kind(path):
        raise DatasetError(f"{path}: is an archive. Expected {expected}. Unpack it: {archives.how_to_unpack(path)}")
    if not path.is_dir():
        raise DatasetError(f"{path}: is a file. Expected {expected}")
    return path


def data_set_name(path: Path) -> str:
    """A name of letters, digits and underscores for the data in this folder."""
    name = re.sub(r"\W+", "_", path.resolve().name, flags=re.ASCII).strip("_").lower()
    return name if re.match(r"[a-z]", name) else f"videos_{name}".rstrip("_")


def _class_root(path: Path) -> Path:
    """Goes down through lone folders, as in UCF101/UCF-101/<Class>, to the folder that holds the classes."""
    top = path
    for _ in range(MAX_DEPTH):
        with_video = [folder for folder in _folders(top) if next(_videos(folder), None)]
        loose = sum(_is_video(file) for file in top.iterdir())
        if not with_video:
            found = f"{loose} videos that are in no class folder" if loose else "no video"
            raise DatasetError(f"{path}: {found}. Expected a folder of videos per class in it")
        if len(with_video) > 1 or any(_is_video(file) for file in with_video[0].iterdir()):
            return top
        top = with_video[0]
    raise DatasetError(f"{path}: more than {MAX_DEPTH} folders deep. Expected a folder of videos per class")


def _parts(top: Path) -> dict[str, Path] | None:
    """{"train": folder, ...} where the folders in `top` are the parts of a split, else None."""
    folders = [folder for folder in _folders(top) if next(_videos(folder), None)]
    parts = {PARTS.get(folder.name.lower(), ""): folder for folder in folders}
    return parts if "" not in parts and "train" in parts and len(parts) == len(folders) > 1 else None


def _official(parts: dict[str, Path], records: list[VideoRecord]) -> tuple[frozenset[Path], frozenset[Path]]:
    held_back = parts.get("test", parts.get("val"))
    test = frozenset(record.path for record in records if held_back in record.path.parents)
    return frozenset(record.path for record in records) - test, test


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith("."))
    except PermissionError as error:
        raise DatasetError(f"{folder}: cannot be listed: {error.strerror}") from error


def _videos(folder: Path, depth: int = 0) -> Iterator[Path]:
    folders = []
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.suffix.lower() in SUFFIXES and entry.is_file():
                yield entry
            elif entry.is_dir():
                folders.append(entry)
    except PermissionError as error:
        raise DatasetError(f"{folder}: cannot be listed: {error.strerror}") from error
    if depth < MAX_DEPTH:
        for sub in folders:
            yield from _videos(sub, depth + 1)


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _holds_lists(folder: Path) -> bool:
    lists = ("trainlist*.txt", "classInd.txt", "*_test_split?.txt")  # of UCF101 and of HMDB51
    return any(next(folder.glob(pattern), None) for pattern in lists)


def _group(video: Path, class_name: str) -> str | None:
    found = GROUP.search(video.stem)
    return f"{class_name}/{found.group(1)}" if found else None


def _no_video(name: str, folder: Path) -> str:
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    found = f"{len(files)} other files, first {files[0]}" if files else "an empty folder"
    return (
        f"{folder}: class {name!r} has no video ({found}). Video files end in {', '.join(sorted(SUFFIXES))}; "
        f"leave the class out by naming the others"
    )
