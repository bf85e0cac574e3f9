"""UCF24 (UCF101-24): action tubes, the box of every actor in every frame, for 24 classes of UCF101.

The annotations are the corrected ones of Singh et al. 2017 (github.com/gurkirt/corrected-UCF101-Annots): 3,194 videos
and 4,458 tubes in `pyannot.pkl`, and a test list of 910 videos, `testlist01.txt`; the other 2,284 are for training.
There is only this split; UCF101's first one is the same, so its lists serve as well. The videos are those of UCF101
(`ucf101`), in a folder that may hold the other 77 classes as well. What stands in the pickle, which is read by
`safe_pickle`:

    {"<Class>/v_<Class>_gNN_cMM": {"numf": frames, "label": 0-23,
        "annotations": [{"label": 0-23, "sf": first frame, "ef": frame after the last, "boxes": (ef - sf, 4)}, ...]}}

Frames count from 0. A box is x, y, width, height in pixels of the 320 x 240 picture, and x + width is taken for the
end-exclusive x2, as others do. The authors clipped x and y to 1 at least, so no box touches the left or upper edge.
`numf` is a count of extracted frames. In some videos the last one to three of them cannot be decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from har_tf.datasets import folder, ucf101, walk
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import counted, some
from har_tf.datasets.published import by_clip, clip_key, in_or_below, lacking, of_classes, paths_of, read_pickle
from har_tf.datasets.records import Tube, VideoRecord
from har_tf.files.workers import Failed

if TYPE_CHECKING:
    from har_tf.video.frame_counts import FrameCount

CLASSES = (
    *("Basketball", "BasketballDunk", "Biking", "CliffDiving", "CricketBowling", "Diving", "Fencing"),
    *("FloorGymnastics", "GolfSwing", "HorseRiding", "IceDancing", "LongJump", "PoleVault", "RopeClimbing"),
    *("SalsaSpin", "SkateBoarding", "Skiing", "Skijet", "SoccerJuggling", "Surfing", "TennisSwing"),
    *("TrampolineJumping", "VolleyballSpiking", "WalkingWithDog"),
)
VIDEOS, TEST_VIDEOS = 3194, 910  # of the published files
UCF101_TEST_VIDEOS = 914  # of these classes in UCF101's list; four of them are not annotated
SIZE = (240, 320)  # (height, width) of every video of UCF101
ANNOTATIONS, TEST_LIST, TRAIN_LIST = "pyannot.pkl", "testlist01.txt", "trainlist01.txt"


@dataclass(frozen=True, eq=False)
class Annotation:
    """The tubes of one video as `pyannot.pkl` gives them.

    Args:
        frames: number of frames that the video is said to have.
        label: index into `CLASSES`.
        tubes: the tubes, with labels into `CLASSES`; frames without a usable box have a row of NaN.
    """

    frames: int
    label: int
    tubes: tuple[Tube, ...] = field(repr=False)


def load(
    root: str | Path | None,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    count_frames: bool = True,
    partial: bool = False,
    counts: Mapping[Path, FrameCount | Failed] | None = None,
    workers: int | None = None,
) -> ActionDataset:
    """Loads the annotated videos of UCF101 that are on disk, with their tubes and the split of the annotations.

    Tubes are cut at the end of the video and boxes at the edge of the picture. What was cut, classes that are not on
    disk and videos without an annotation are counted in `notes`. With UCF101's own lists, videos in neither of them are
    in neither part.

    Args:
        root: folder of UCF101's class folders, or one around it; other classes are left out.
        classes, partial: see `har_tf.datasets.load`.
        lists: folder of `pyannot.pkl` and `testlist01.txt`; None: in or beside `root`, or one folder deeper.
        count_frames: decode every video, with a progress bar, to count its frames (20 ms each on one core), and end
            tubes there. False: the count of the annotations holds, which in some videos is one to three too many.
        counts: videos whose frames are counted already, as `Manifest.frame_counts` gives them.
        workers: processes that count frames; None: one a core; 0: this process.

    Raises:
        DatasetError: no folder, class or annotated video of UCF24 in it; no annotations or test list, damaged ones, or
            a test list that is not whole; annotated videos are missing, or there with two suffixes; an unknown class.
    """
    root = folder.check_folder(root, "UCF-101, a folder that holds a folder of videos per class")
    top = _class_root(root)
    file = _annotation_file(root, top, lists)
    dataset, notes = of_classes(top, CLASSES, classes)
    annotations, told = read_annotations(file)
    notes += told
    by_key = {clip_key(*name.partition("/")[::2]): annotation for name, annotation in annotations.items()}

    records = by_clip(dataset)
    found = {key: record for key, record in records.items() if key in by_key}
    if not found:
        raise DatasetError(f"{dataset.root}: none of the {len(annotations)} videos of {file} is in it")
    wanted = [name for name in annotations if name.split("/")[0] in dataset.class_names]
    missing = sorted(name for name in wanted if clip_key(*name.partition("/")[::2]) not in found)
    notes += lacking(counted(missing, f"of {len(wanted)} annotated videos are not on disk"), dataset.root, partial)
    without = [record.path.name for key, record in sorted(records.items()) if key not in found]
    notes += counted(without, "videos have no annotation and are left out")
    (train, test), told = _parts(found, by_key, dataset.class_names, _test_list(file, root, top))
    notes += told

    frames = {}
    if count_frames:
        frames, told = _count(found, by_key, counts, workers)
        notes += told
    kept, cut = [], Counter()
    for key, record in found.items():
        annotation = by_key[key]
        tubes = [_end(tube, frames.get(key, annotation.frames), record.label, cut) for tube in annotation.tubes]
        kept.append(replace(record, tubes=tuple(tube for tube in tubes if tube is not None)))
    notes += [f"{count} {what}" for what, count in cut.items()]
    official = paths_of(*([found[key] for key in part] for part in (train, test)))
    return ActionDataset("ucf24", top, tuple(kept), dataset.class_names, official, tuple(notes))


def with_tubes(dataset: ActionDataset, path: str | Path) -> ActionDataset:
    """Videos of UCF101, with the tubes of those that UCF24 annotates; the others stay as they are.

    Args:
        dataset: such as a folder of some of UCF101's classes.
        path: `pyannot.pkl`.

    Raises:
        DatasetError: as in `read_annotations`; none of the videos is annotated.
    """
    annotations, told = read_annotations(path)
    by_key = {clip_key(*name.partition("/")[::2]): annotation for name, annotation in annotations.items()}
    key_of = {record: key for key, record in by_clip(dataset).items()}
    records = tuple(
        replace(record, tubes=tuple(replace(tube, label=record.label) for tube in by_key[key].tubes))
        if (key := key_of[record]) in by_key
        else record
        for record in dataset.records
    )
    count = sum(bool(record.tubes) for record in records)
    if not count:
        raise DatasetError(f"{dataset.root}: none of the {len(annotations)} videos of {path} is in it")
    notes = (*dataset.notes, *told, f"{count} of {len(records)} videos have true boxes, of {Path(path).name}")
    return replace(dataset, records=records, notes=notes)


def read_annotations(path: str | Path) -> tuple[dict[str, Annotation], tuple[str, ...]]:
    """Reads `pyannot.pkl`.

    Returns:
        {"<Class>/<video>": its annotation} and what was repaired, in words: tubes that ran past the end and were cut,
        boxes that were cut at the edge of the 320 x 240 picture, boxes that are empty or not finite and became NaN.

    Raises:
        DatasetError: see `safe_pickle.load`; or a part is missing or contradicts another, such as a number of boxes
            that is not ef - sf, or a label that is not that of the class.
    """
    path = Path(path)
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DatasetError(f"{path}: expected a dict of videos. Received: {type(content).__name__}")
    cut: Counter[str] = Counter()
    annotations = {}
    for name, entry in content.items():
        class_name, _, video = str(name).partition("/")
        if not isinstance(name, str) or class_name not in CLASSES or not video:
            raise DatasetError(f"{path}: expected videos as <Class>/<video>, of the 24 classes. Received: {name!r}")
        where = f"{path}, {name}"
        _need(entry, ("numf", "label", "annotations"), where)
        frames = _number(entry["numf"], f"{where}: numf")
        label = CLASSES.index(class_name)
        if _number(entry["label"], f"{where}: label") != label or not isinstance(entry["annotations"], list | tuple):
            raise DatasetError(f"{where}: expected label {label} and a list. Received: {entry['label']!r}")
        tubes = [_tube(tube, label, f"{where}, tube {n}", cut) for n, tube in enumerate(entry["annotations"])]
        tubes = [_end(tube, frames, label, cut) for tube in tubes]
        annotations[str(name)] = Annotation(frames, label, tuple(tube for tube in tubes if tube is not None))
    notes = [f"{ANNOTATIONS}: {count} {what}" for what, count in cut.items()]
    if len(annotations) != VIDEOS and len({name.split("/")[0] for name in annotations}) == len(CLASSES):
        notes.append(f"{ANNOTATIONS}: annotates {len(annotations):,} videos, the published file {VIDEOS:,}")
    return annotations, tuple(notes)


def _tube(entry: Any, label: int, where: str, cut: Counter[str]) -> Tube:
    _need(entry, ("sf", "ef", "label", "boxes"), where)
    start, stop = _number(entry["sf"], f"{where}: sf"), _number(entry["ef"], f"{where}: ef")
    boxes = entry["boxes"]
    if _number(entry["label"], f"{where}: label") != label:
        raise DatasetError(f"{where}: expected label {label}. Received: {entry['label']!r}")
    if not isinstance(boxes, np.ndarray) or boxes.dtype.kind not in "iuf" or boxes.shape != (stop - start, 4):
        found = f"{boxes.dtype} {boxes.shape}" if isinstance(boxes, np.ndarray) else type(boxes).__name__
        raise DatasetError(f"{where}: expected {stop - start} boxes of 4 numbers, sf={start}, ef={stop}. Got: {found}")
    # Before adding: the file keeps small numbers as uint8, where 200 + 100 is 44.
    corners = boxes.astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    height, width = SIZE
    inside = np.clip(corners, 0, [width, height, width, height])
    useless = ~(np.isfinite(corners).all(1) & (inside[:, 2:] > inside[:, :2]).all(1))
    clipped = (inside != corners).any(1) & ~useless
    inside[useless] = np.nan
    if useless.any():
        cut["boxes are empty, outside the picture or not finite, and became NaN"] += int(useless.sum())
    if clipped.any():
        cut["boxes reached over the edge of the picture and were cut there"] += int(clipped.sum())
    return Tube(label, start, inside.astype(np.float32))


def _end(tube: Tube, frames: int, label: int, cut: Counter[str]) -> Tube | None:
    """The tube with this label, up to the last of `frames` frames; None where nothing is left."""
    left = max(frames - tube.start, 0)
    if left < len(tube.boxes):
        cut["tubes ran past the end of their video and were cut there"] += 1
    boxes = tube.boxes[:left]
    return Tube(label, tube.start, boxes) if np.isfinite(boxes).any() else None


def _parts(
    found: dict[str, VideoRecord], annotations: dict[str, Annotation], class_names: Sequence[str], test_list: Path
) -> tuple[tuple[set[str], set[str]], list[str]]:
    """((training keys, test keys), notes). Training is what is not in the test list, which so has to be whole."""
    test = ucf101.read_list(test_list, strict=False)
    of_classes = {key: name for key, name in test.items() if name.split("/")[0] in CLASSES}
    if len({annotation.label for annotation in annotations.values()}) == len(CLASSES):
        count = len(test.keys() & annotations.keys())
        if count not in (TEST_VIDEOS, UCF101_TEST_VIDEOS):
            raise DatasetError(
                f"{test_list}: {count} annotated videos, but of all {len(CLASSES)} classes there are {TEST_VIDEOS}. "
                f"The rest would be taken for training"
            )
    tested = {name.split("/")[0].casefold() for name in of_classes.values()}
    untested = [name for name in class_names if name.casefold() not in tested]
    if untested:
        raise DatasetError(f"{test_list}: no video of {some(untested)}. Expected some of every class")
    unannotated = [name for key, name in of_classes.items() if key not in annotations]
    notes = counted(unannotated, f"videos of {TEST_LIST} have no annotation")
    training = found.keys() - test.keys()
    train_list = test_list.with_name(TRAIN_LIST)
    if train_list.is_file():
        listed = ucf101.read_list(train_list, strict=False)
        both = sorted(listed.keys() & test.keys())
        if both:
            raise DatasetError(f"{train_list}: {len(both)} videos are in {TEST_LIST} as well: {some(both)}")
        unlisted = [found[key].path.name for key in sorted(training - listed.keys())]
        notes += counted(unlisted, f"videos are neither in {TRAIN_LIST} nor in {TEST_LIST}, and in no part")
        training &= listed.keys()
    return (training, found.keys() & test.keys()), notes


def _count(
    found: dict[str, VideoRecord],
    annotations: dict[str, Annotation],
    known: Mapping[Path, FrameCount | Failed] | None,
    workers: int | None,
) -> tuple[dict[str, int], list[str]]:
    """The number of frames that can be decoded, of every readable video, and what was noticed."""
    from har_tf.video.frame_counts import count_frames

    counts = count_frames([record.path for record in found.values()], known, workers)
    outcomes = dict(zip(found, counts, strict=True))
    good = {key: count for key, count in outcomes.items() if not isinstance(count, Failed)}
    broken = [f"{found[key].path}: {outcomes[key].reason}" for key in outcomes if key not in good]
    other = [
        f"{found[key].path.name}: {count.frames} for {annotations[key].frames}"
        for key, count in good.items()
        if count.frames != annotations[key].frames
    ]
    sized = [found[key].path.name for key, count in good.items() if (count.height, count.width) != SIZE]
    notes = [
        *counted(broken, "videos cannot be read"),
        *counted(other, f"videos have another number of frames than {ANNOTATIONS} says"),
        *counted(sized, "videos are not 320 x 240, as the boxes are"),
    ]
    return {key: count.frames for key, count in good.items()}, notes


def _class_root(root: Path) -> Path:
    """The folder in, or up to two folders below, `root` that holds most of the 24 class folders."""
    places = Counter(place.parent for name in CLASSES for place in in_or_below(root, name))
    if not places:
        list(walk.files(root, (), depth=2))  # says which folder cannot be listed, which `glob` passes over
        raise DatasetError(f"{root}: no folder of a class of UCF24 ({', '.join(CLASSES[:3])}, ...) in it")
    return max(sorted(places), key=places.__getitem__)


def _annotation_file(root: Path, top: Path, lists: str | Path | None) -> Path:
    if lists is not None:
        return folder.check_folder(lists, f"a folder that holds {ANNOTATIONS} and {TEST_LIST}") / ANNOTATIONS
    for place in (root, top, root.resolve().parent, top.resolve().parent):
        for file in in_or_below(place, ANNOTATIONS, depth=1):
            return file
    raise DatasetError(f"{root}: no {ANNOTATIONS} in it or beside it; name its folder with lists")


def _test_list(annotations: Path, root: Path, top: Path) -> Path:
    """The list beside the annotations, or else among UCF101's own lists."""
    beside = annotations.with_name(TEST_LIST)
    others = None if beside.is_file() else ucf101.find_lists(root, top)
    path = beside if others is None else others / TEST_LIST
    if not path.is_file():
        raise DatasetError(f"{path}: no such list. Expected it beside {ANNOTATIONS}, or the lists of UCF101")
    return path


def _need(entry: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(entry, dict) or not set(keys) <= set(entry):
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DatasetError(f"{where}: expected a dict with {', '.join(keys)}. Received: {found}")


def _number(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise DatasetError(f"{where}: expected a number, 0 or more. Received: {value!r}")
    return int(value)
