"""UCF101: 13,320 videos of 101 actions, with three official splits (Soomro et al. 2012).

The lists (`trainlistNN.txt`, `testlistNN.txt`, `classInd.txt`) name videos as <Class>/v_<Class>_gNN_cMM.avi.
They also serve folders that hold only some of the classes or clips. Two traps: the folder is HandstandPushups
and its files v_HandStandPushups_* (not in every release), so names are compared without case; and copies are
re-encoded to other containers, so without the suffix.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import numbered_lines, some
from har_tf.datasets.published import clip_key, in_parts, paths_of

LISTS = "ucfTrainTestlist"
CLASSES, VIDEOS = 101, 13320
# In the order of classInd.txt, which is that of the outputs of networks that were trained on it.
CLASS_NAMES = (
    "ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching", "BaseballPitch",
    "Basketball", "BasketballDunk", "BenchPress", "Biking", "Billiards", "BlowDryHair", "BlowingCandles",
    "BodyWeightSquats", "Bowling", "BoxingPunchingBag", "BoxingSpeedBag", "BreastStroke", "BrushingTeeth",
    "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot", "CuttingInKitchen", "Diving", "Drumming", "Fencing",
    "FieldHockeyPenalty", "FloorGymnastics", "FrisbeeCatch", "FrontCrawl", "GolfSwing", "Haircut", "Hammering",
    "HammerThrow", "HandstandPushups", "HandstandWalking", "HeadMassage", "HighJump", "HorseRace", "HorseRiding",
    "HulaHoop", "IceDancing", "JavelinThrow", "JugglingBalls", "JumpingJack", "JumpRope", "Kayaking", "Knitting",
    "LongJump", "Lunges", "MilitaryParade", "Mixing", "MoppingFloor", "Nunchucks", "ParallelBars", "PizzaTossing",
    "PlayingCello", "PlayingDaf", "PlayingDhol", "PlayingFlute", "PlayingGuitar", "PlayingPiano", "PlayingSitar",
    "PlayingTabla", "PlayingViolin", "PoleVault", "PommelHorse", "PullUps", "Punch", "PushUps", "Rafting",
    "RockClimbingIndoor", "RopeClimbing", "Rowing", "SalsaSpin", "ShavingBeard", "Shotput", "SkateBoarding", "Skiing",
    "Skijet", "SkyDiving", "SoccerJuggling", "SoccerPenalty", "StillRings", "SumoWrestling", "Surfing", "Swing",
    "TableTennisShot", "TaiChi", "TennisSwing", "ThrowDiscus", "TrampolineJumping", "Typing", "UnevenBars",
    "VolleyballSpiking", "WalkingWithDog", "WallPushups", "WritingOnBoard", "YoYo",
)  # fmt: skip
SIZES = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # {split: (training, test) videos}


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
        classes, partial: see `har_tf.datasets.load`.
        lists: folder of the official lists; None: `ucfTrainTestlist` in, or beside, the folder of the videos.

    Raises:
        DatasetError: see `folder.load`, `read_lists` and `with_lists`; or the lists are not found.
    """
    root = folder.check_folder(root, "the folder of UCF-101 with its class folders")
    dataset = replace(folder.load(root, classes), name="ucf101")
    if len(dataset.class_names) == CLASSES and len(dataset) != VIDEOS:
        note = f"{len(dataset)} videos of all {CLASSES} classes. UCF101 has {VIDEOS}"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    found = find_lists(root, dataset.root) if lists is None else Path(lists)
    if found is None:
        raise DatasetError(f"{root}: no {LISTS} in it or beside it; name the folder of the official lists")
    dataset = with_lists(dataset, found, split, partial=partial)
    order = [name for name in _read_classes(found) if name in dataset.class_names]
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


def read_lists(path: str | Path, split: int = 1) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Reads `trainlist<split>.txt`, `testlist<split>.txt` and, where it is there, `classInd.txt`.

    Returns:
        {"training", "test": {`clip_key`: "<Class>/<file>"}} and the class names in the order of classInd.txt.

    Raises:
        DatasetError: see `read_list`; or a video is in both parts, or the lists name all 101 classes, but not as many
            videos as the official split.
    """
    path = folder.check_folder(path, f"the folder of trainlist{split:02d}.txt and testlist{split:02d}.txt")
    class_names = _read_classes(path)
    train, test = (read_list(path / f"{part}list{split:02d}.txt", class_names) for part in ("train", "test"))
    both = [name for key, name in test.items() if key in train]
    if both:
        raise DatasetError(
            f"{path}: {len(both)} videos are in both trainlist{split:02d}.txt and testlist{split:02d}.txt: {some(both)}"
        )
    found = (len(train), len(test))
    listed = {key.split("/")[0] for key in (*train, *test)}
    if len(listed) == CLASSES and found != SIZES.get(split, found):
        raise DatasetError(
            f"{path}: {found[0]} training and {found[1]} test entries in split {split}. "
            f"Expected {SIZES[split][0]} and {SIZES[split][1]}"
        )
    return {"training": train, "test": test}, class_names


def fits(dataset: ActionDataset, lists: str | Path, split: int = 1) -> bool:
    """Whether these lists name any video of `dataset`; lists beside a folder may be of other data."""
    parts, _ = read_lists(lists, split)
    keys = {clip_key(dataset.class_names[record.label], record.path.stem) for record in dataset.records}
    return not all(keys.isdisjoint(entries) for entries in parts.values())


def with_lists(dataset: ActionDataset, lists: str | Path, split: int = 1, *, partial: bool = True) -> ActionDataset:
    """Gives `dataset` the official split of these lists, restricted to the videos that it has.

    Entries without a video, videos without an entry, and groups in both parts are told in `notes`.

    Raises:
        DatasetError: see `read_lists` and `published.in_parts`; or a list names no video of these classes.
    """
    (train, test), notes = in_parts(dataset, read_lists(lists, split)[0], lists, split, partial)
    for part, clips in (("training", train), ("test", test)):
        if not clips:
            raise DatasetError(
                f"{lists}: none of the {part} entries of split {split} is in {dataset.root}; they are of other classes"
            )
    shared = sorted({r.group for r in train if r.group} & {r.group for r in test})
    if shared:
        notes.append(f"official split {split}: {len(shared)} groups are in both parts: {some(shared)}")
    return replace(
        dataset, official=paths_of(train, test), notes=dataset.notes + tuple(notes), validation=None, test_name="test"
    )


def read_list(path: Path, class_names: Sequence[str] = (), strict: bool = True) -> dict[str, str]:
    """{`clip_key`: "<Class>/<file>"} of a list of videos.

    Raises:
        DatasetError: no such list, a malformed line, a video that is named twice, another label than that of the class
            in `class_names`, or no line. Unless `strict`, only the first word of a line counts, as often as it comes.
    """
    names = walk.names(path.parent)
    if path.name not in names:
        there = fnmatch.filter(names, "t*list*.txt")
        raise DatasetError(f"{path}: no such list. Found: {', '.join(there) or 'no lists'}")
    entries: dict[str, str] = {}
    for number, line in numbered_lines(path):
        name, label = (*line.split(" " if strict else None, 1), "")[:2]
        parts = PurePosixPath(name).parts
        if len(parts) != 2 or (strict and label and not label.isdigit()):
            raise DatasetError(f"{path}, line {number}: expected '<Class>/<file> [label]'. Received: {line!r}")
        class_name, file = parts
        name = f"{class_name}/{file}"
        if label and class_names and class_names[int(label) - 1 : int(label)] != (class_name,):
            raise DatasetError(f"{path}, line {number}: {label} is not the label of classInd.txt. Received: {line!r}")
        if entries.setdefault(clip_key(class_name, PurePosixPath(file).stem), name) is not name and strict:
            raise DatasetError(f"{path}, line {number}: {name} is in this list twice")
    if not entries:
        raise DatasetError(f"{path}: an empty list")
    return entries


def _read_classes(lists: Path) -> tuple[str, ...]:
    """The names in classInd.txt, where there is one."""
    path = lists / "classInd.txt"
    if path.name not in walk.names(lists):
        return ()
    classes = {}
    for number, line in numbered_lines(path):
        label, _, name = line.partition(" ")
        if not label.isdigit() or not name:
            raise DatasetError(f"{path}, line {number}: expected '<number> <Class>'. Received: {line!r}")
        classes[int(label)] = name
    if sorted(classes) != list(range(1, len(classes) + 1)):
        raise DatasetError(f"{path}: the numbers are not 1 to {len(classes)}")
    return tuple(classes[label] for label in sorted(classes))
