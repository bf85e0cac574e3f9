"""Any folder of class folders of videos: UCF-101 as unpacked, its copies on Kaggle, one's own collection.

Understood layouts, where a class folder may hold its videos in folders of its own:

    DIR/<Class>/*.avi
    DIR/<one folder>/<Class>/*.avi        any number of lone folders around the classes
    DIR/{train,val,test}/<Class>/*.avi    an official split, also under names such as train_set or videos_test

Of the last, val is the part on which the best epoch is chosen, or, where there is no test folder, the test part; a note
says which. Where folders may be parts of a split or classes, both readings are shown, see `parts`. Videos beside the
class folders, and the folders of systems, are left out with a note; hidden files are ignored. Links to folders are
followed, but in no circle; see `walk`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from har_tf.datasets import walk
from har_tf.datasets.dataset import ActionDataset, check_classes, composed
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.parts import parts_of
from har_tf.datasets.records import VideoRecord

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gif", "m2ts", "m2v", "m4v", "mjpeg", "mkv"),
        *("mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "ogm", "ogv", "rm", "rmvb", "ts", "vob", "webm", "wmv"),
    )
)
# Archives by the ending of their name, and what unpacks them.
UNPACK = {
    **dict.fromkeys((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"), "tar xf {archive} -C {folder}"),
    ".zip": "unzip {archive} -d {folder}",
    ".7z": "7z x {archive} -o{folder}",
    ".rar": "unrar x {archive} {folder}/",
}
MAX_DEPTH = 6  # of folders in folders
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
    inner = {folder.name: [sub.name for sub in _with_video(folder)] for folder in _with_video(top)}
    found = parts_of(top, inner, lambda name: len(_loose(top / name)), classes)
    parts = found and {part: top / name for part, name in found.items()}
    class_folders: dict[str, list[Path]] = {}
    around = (top,) if parts is None else tuple(parts.values())
    for folder in around:
        for sub in walk.folders(folder):
            if not _holds_lists(sub):
                class_folders.setdefault(composed(sub.name), []).append(sub)
    names = check_classes(classes, sorted(class_folders), str(path))
    if len(names) < 2:
        raise DatasetError(f"{path}: at least two classes are needed. Received: {names[0] if names else 'none'}")

    records = []
    for label, name in enumerate(names):
        videos = sorted(video for folder in class_folders[name] for video in _videos(folder))
        if not videos:
            raise DatasetError(_no_video(name, class_folders[name][0]))
        records += [VideoRecord(video, label, _group(video, name)) for video in videos]
    train, validation, test = ([r.path for r in records if place in r.path.parents] for place in _places(parts or {}))
    notes = _left_out(path, top, around, class_folders)
    if parts and "val" in parts:
        part = "validation part of the official split" if validation else "test part, for no folder is called so"
        notes += (f"{found['val']} is the {part}: {len(validation or test)} clips",)
    return ActionDataset(
        name=data_set_name(path),
        root=top,
        records=tuple(records),
        class_names=tuple(names),
        official=None if parts is None else (frozenset(train + validation), frozenset(test)),
        notes=notes,
        validation=frozenset(validation) if validation else None,
        test_name="test" if "test" in (parts or ("test",)) else "val",
    )


def _left_out(path: Path, top: Path, around: Sequence[Path], class_folders: dict[str, list[Path]]) -> tuple[str, ...]:
    """What lies there and is not read."""
    notes = []
    for folder in around:
        loose = _loose(folder)
        if loose:
            notes.append(f"{len(loose)} videos in {folder} are in no class folder, and are left out: {loose[0].name}")
    looked_in = {path, top, *around, *(folder for folders in class_folders.values() for folder in folders)}
    system = sorted({place / name for place in looked_in for name in walk.system_folders(place)})
    if system:
        more = f" and {len(system) - 1} more" if len(system) > 1 else ""
        notes.append(f"folders of the system are left out: {system[0]}{more}")
    return tuple(notes)


def check_folder(path: str | Path | None, expected: str = "a folder that holds a folder of videos per class") -> Path:
    """`path` as a Path, if it is a folder.

    Raises:
        DatasetError: none is given, no such folder, a file, or a folder that cannot be listed; of an archive the
            message tells the command that unpacks it.
    """
    if path is None:
        raise DatasetError(f"root, {expected}, is needed")
    path = Path(path)
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such folder. Expected {expected}") from error
    except NotADirectoryError as error:
        command = how_to_unpack(path)
        found = "is an archive" if command else "is a file"
        unpack = f". Unpack it into a new folder DIR: {command}" if command else ""
        raise DatasetError(f"{path}: {found}. Expected {expected}{unpack}") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be listed: {error.strerror}. Expected {expected}") from error
    return path


def how_to_unpack(archive: Path, folder: str | Path = "DIR") -> str | None:
    """The command that unpacks a file into an existing folder, by the ending of its name; None: it is no archive."""
    for ending, command in UNPACK.items():
        if archive.name.lower().endswith(ending):
            # A name that begins like an option is not to be taken for one.
            name = f"./{archive}" if str(archive).startswith("-") else str(archive)
            return f"`{command.format(archive=shlex.quote(name), folder=shlex.quote(str(folder)))}`"
    return None


def data_set_name(path: Path) -> str:
    """A name of letters, digits and underscores for the data in this folder."""
    name = re.sub(r"\W+", "_", path.resolve().name, flags=re.ASCII).strip("_").lower()
    return name if re.match(r"[a-z]", name) else f"videos_{name}".rstrip("_")


def _class_root(path: Path) -> Path:
    """Goes down through lone folders, as in UCF101/UCF-101/<Class>, to the folder that holds the classes."""
    top = path
    for _ in range(MAX_DEPTH):
        with_video, loose = _with_video(top), len(_loose(top))
        if not with_video:
            found = f"{loose} videos that are in no class folder" if loose else "no video"
            raise DatasetError(f"{path}: {found}. Expected a folder of videos per class in it")
        if len(with_video) > 1 or _loose(with_video[0]):
            return top
        top = with_video[0]
    raise DatasetError(f"{path}: more than {MAX_DEPTH} folders deep. Expected a folder of videos per class")


def _with_video(folder: Path) -> list[Path]:
    """The folders in a folder that hold a video, at any depth."""
    return [sub for sub in walk.folders(folder) if next(_videos(sub), None)]


def _loose(folder: Path) -> list[Path]:
    """The videos in a folder, in no folder of it."""
    return list(walk.files(folder, SUFFIXES, depth=0))


def _places(parts: dict[str, Path]) -> tuple[Path | None, Path | None, Path | None]:
    """The folders of the training, the validation and the test part; without a test folder, val is that."""
    held_back = [parts.get("val"), parts.get("test")]
    return parts.get("train"), *(held_back if held_back[1] else held_back[::-1])


def _videos(folder: Path) -> Iterator[Path]:
    return walk.files(folder, SUFFIXES, MAX_DEPTH)


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
