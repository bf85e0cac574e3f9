"""HMDB51: 6,766 clips of 51 actions, from films and the web, with three official splits (Kuehne et al. 2011).

The videos lie as <class>/<video>.avi. A list per class and split, `<class>_test_split<N>.txt`, gives every video of the
class a line "<video> <1|2|0>": training, test, or unused in this split. A split takes 70 and 30 clips of every class
and leaves 1,666 out. Names are compared without case and suffix, because copies are re-encoded to other containers.

The group of a clip is the film it was cut from. Its name says so: title, class, visible body parts, camera motion,
number of people, view, quality, number, as in "50_FIRST_DATES_wave_f_cm_np1_fr_med_0.avi". The group is not qualified
with the class: one film gave clips of several classes, with the same actors in the same rooms. The official splits
keep films apart within every class only. Of the 1,530 test clips of split 1 (2, 3), 457 (527, 529) come from a film
that has training clips of other classes; none has one of its own class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset, composed
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import counted, numbered_lines
from har_tf.datasets.published import clip_key, in_parts, paths_of
from har_tf.datasets.records import VideoRecord

CLASSES, TRAIN, TEST, UNUSED = 51, 70, 30, 1666  # of every split: classes, clips a class and part, clips in no part
CLASS_NAMES = (
    *("brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword", "dribble"),
    *("drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug", "jump", "kick"),
    *("kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse"),
    *("run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault"),
    *("stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave"),
)
LIST_NAME = re.compile(r"(?P<class_name>.+)_test_split(?P<split>\d+)\.txt")
PARTS = {"1": "training", "2": "test", "0": "unused"}


def load(
    root: str | Path | None,
    split: int = 1,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    partial: bool = False,
) -> ActionDataset:
    """Loads HMDB51 with an official split, classes sorted by name.

    The records are all clips on disk, also those that the split leaves out. Classes that are not on disk, clips in
    neither part, and sources on both sides are told in `notes`.

    Args:
        root: the folder that holds the class folders, or one around it.
        split: 1, 2 or 3.
        classes, partial: see `har_tf.datasets.load`.
        lists: folder of the official lists; None: `testTrainMulti_7030_splits`, or another folder that holds them, in
            or beside the folder of the videos.

    Raises:
        DatasetError: see `folder.load`, `read_lists` and `published.in_parts`; or the classes are still packed, the
            lists are not found or lack a class that is on disk.
    """
    root = folder.check_folder(root, "the folder of HMDB51 with its class folders")
    rars = sorted([*root.glob("*.rar"), *root.glob("*/*.rar")])
    packed = {composed(file.stem): file for file in rars if not file.with_suffix("").is_dir()}
    try:
        dataset = folder.load(root, classes)
    except DatasetError as error:
        _refuse_packed(packed, packed if classes is None else map(composed, classes), error)
        raise
    found = find_lists(root, dataset.root) if lists is None else Path(lists)
    if found is None:
        _refuse_packed(packed, [name for name in packed if "split" in name])
        raise DatasetError(f"{root}: no <class>_test_split{split}.txt in it or beside it; name the folder of the lists")
    parts = read_lists(found, split)
    names = dataset.class_names
    listed = {name.split("/")[0] for entries in parts.values() for name in entries.values()}
    absent = sorted(listed - set(names)) if classes is None else []
    _refuse_packed(packed, absent)
    for name in names:
        if name not in listed:
            raise DatasetError(
                f"{found}: no {name}_test_split{split}.txt for the folder {name} of {dataset.root}. "
                f"Leave the class out by naming the others"
            )
    dataset = dataset.subset(replace(r, group=source(r.path.stem, names[r.label])) for r in dataset.records)
    (train, test, unused), notes = in_parts(dataset, parts, found, split, partial)
    if unused:
        notes.append(f"official split {split}: {len(unused)} clips are in neither part")
    notes = [*counted(absent, f"of {len(listed)} classes are not on disk"), *notes, *_shared(train, test, split)]
    return replace(dataset, name="hmdb51", official=paths_of(train, test), notes=tuple(notes), validation=None)


def find_lists(*roots: Path) -> Path | None:
    """The folder of official lists in, beside, or up to two folders below one of `roots`, or None.

    Beside means in the folder around a root or in one more folder there, whatever it is called: the lists unpack to
    `testTrainMulti_7030_splits`, and copies call it `test_train_splits` or `splits`.
    """
    for root in roots:
        root = root.resolve()
        for place, depth in ((root, 2), (root.parent, 1)):
            found = [file.parent for n in range(depth + 1) for file in place.glob("*/" * n + "*_test_split?.txt")]
            if found:  # JHMDB's lists are called alike, and are fewer
                return max(sorted(set(found)), key=found.count)
    return None


def read_lists(path: str | Path, split: int = 1) -> dict[str, dict[str, str]]:
    """{"training", "test", "unused": {`clip_key`: "<class>/<video>"}} of every `<class>_test_split<split>.txt`.

    Raises:
        DatasetError: no list of this split, a malformed line, a video twice in a list; or there are lists of all 51
            classes, and one of them does not hold 70 training and 30 test clips, or they leave out other than 1,666.
    """
    path = folder.check_folder(path, f"the folder of the lists <class>_test_split{split}.txt")
    files = [found for found in map(LIST_NAME.fullmatch, walk.names(path)) if found]
    of_split = {composed(found["class_name"]): path / found[0] for found in files if found["split"] == str(split)}
    if not of_split:
        there = ", ".join(sorted({found["split"] for found in files}))
        found = f"lists of split {there}" if there else "no lists"
        raise DatasetError(f"{path}: no <class>_test_split{split}.txt. Found: {found}")
    parts: dict[str, dict[str, str]] = {part: {} for part in PARTS.values()}
    for name, file in sorted(of_split.items()):
        flags = _read_list(file)
        for video, flag in flags.items():
            parts[PARTS[flag]][clip_key(name, Path(video).stem)] = f"{name}/{video}"
        train, test = (list(flags.values()).count(flag) for flag in "12")
        if len(of_split) == CLASSES and (train, test) != (TRAIN, TEST):
            raise DatasetError(f"{file}: {train} training and {test} test clips. Expected {TRAIN} and {TEST}")
    if len(of_split) == CLASSES and len(parts["unused"]) != UNUSED:
        raise DatasetError(f"{path}: {len(parts['unused'])} clips unused in split {split}. Expected {UNUSED}")
    return parts


def source(stem: str, class_name: str) -> str | None:
    """The title of the film that a clip was cut from, by its file name without suffix; None where it has another form.

    Example:
        >>> source("50_FIRST_DATES_wave_f_cm_np1_fr_med_0", "wave")
        '50_FIRST_DATES'
    """
    attributes = r"[hufl]_(?:cm|nm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+"
    found = re.fullmatch(rf"(.+)_{re.escape(class_name)}_{attributes}", stem, re.IGNORECASE | re.DOTALL)
    return found[1] if found else None


def _shared(train: Sequence[VideoRecord], test: Sequence[VideoRecord], split: int) -> list[str]:
    sources = {record.group for record in train if record.group is not None}
    with_class = {(record.group, record.label) for record in train}
    shared = [record for record in test if record.group in sources]
    if not shared:
        return []
    same = sum((record.group, record.label) in with_class for record in shared)
    return [
        f"official split {split}: {len(shared)} of {len(test)} test clips come from a film that has training clips, "
        f"{same} of them from one that has training clips of the same class"
    ]


def _read_list(path: Path) -> dict[str, str]:
    """{video: flag} in the order of the file."""
    flags: dict[str, str] = {}
    seen: dict[str, int] = {}
    # Old systems wrote names of files in other encodings; the list then has them as the disk has.
    for number, line in numbered_lines(path, errors="surrogateescape"):
        # From the right: a name may hold spaces.
        name, _, flag = line.rpartition(" ")
        name = name.rstrip()
        if not name or "/" in name or flag not in PARTS:
            raise DatasetError(f"{path}, line {number}: expected '<video> <0, 1 or 2>'. Received: {line!r}")
        first = seen.setdefault(composed(Path(name).stem).casefold(), number)
        if first != number:
            raise DatasetError(f"{path}, line {number}: {name} is in this list already, in line {first}")
        flags[name] = flag
    if not flags:
        raise DatasetError(f"{path}: an empty list")
    return flags


def _refuse_packed(packed: dict[str, Path], names: Iterable[str], error: Exception | None = None) -> None:
    """Raises if there are .rar files of these names: HMDB51 is an archive of one archive per class."""
    names = [name for name in names if name in packed]
    if names:
        first = packed[names[0]]
        raise DatasetError(
            f"{first.parent}: {len(names)} .rar files are not unpacked, first {first.name}. Unpack each of them there: "
            f"{folder.how_to_unpack(first, first.parent)}" + (f". Without them: {error}" if error else "")
        ) from error
