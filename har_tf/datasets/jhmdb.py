"""JHMDB: 928 clips of 21 actions out of HMDB51, with joints and a puppet mask on the frames (Jhuang et al. 2013).

Understood are the official archives, unpacked into one folder, and the ground truth of ACT-detector and MMAction2:

    ReCompress_Videos/<class>/<video>.avi                     the videos
    Rename_Images/<class>/<video>/00001.png                   the same as pictures; `videos_from_frames` reads them
    joint_positions/<class>/<video>/joint_positions.mat       pos_img (2, 15, frames)
    puppet_mask/<class>/<video>/puppet_mask.mat               part_mask (240, 320, frames), 0 is background
    splits/<class>_test_split<1, 2, 3>.txt                    lines "<video>.avi 1" (training) or "2" (test)
    Frames/<class>/<video>/00001.png, JHMDB-GT.pkl            what ACT-detector and MMAction2 give

All pictures are 320 x 240. MATLAB counts pixels from 1, so `pos_img` is made smaller by 1: a joint at (0, 0) lies in
the middle of the first pixel. The corners in JHMDB-GT.pkl count from 0 and are part of the box (ACT-detector takes
the area to be (x2 - x1 + 1) (y2 - y1 + 1)), so 1 is added to x2 and y2. Its frames count from 1. The group of a video
is the film that it was cut from, as in `hmdb51`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.contrib.concurrent import thread_map

from har_tf.datasets import folder, hmdb51, walk
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.published import clip_key, in_or_below, in_parts, of_classes, paths_of, read_pickle
from har_tf.files.workers import Failed, available_cores

if TYPE_CHECKING:
    from har_tf.video.frame_counts import FrameCount

CLASSES = (
    *("brush_hair", "catch", "clap", "climb_stairs", "golf", "jump", "kick_ball", "pick", "pour", "pullup", "push"),
    *("run", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "stand", "swing_baseball", "throw", "walk", "wave"),
)
JOINTS = (
    *("neck", "belly", "face", "shoulder_right", "shoulder_left", "hip_right", "hip_left", "elbow_right"),
    *("elbow_left", "knee_right", "knee_left", "wrist_right", "wrist_left", "ankle_right", "ankle_left"),
)
VIDEOS = 928
SIZE = (240, 320)  # (height, width) of every video
MAX_FRAMES = 10_000  # of a clip that JHMDB-GT.pkl may claim; the longest has 40
BOXES = ("mask", "joints", "pickle")
VIDEO_FOLDERS = ("ReCompress_Videos", "Lossless_Videos")
FRAME_FOLDERS = ("Rename_Images", "Frames")
GROUND_TRUTH = "JHMDB-GT.pkl"


@dataclass(frozen=True, eq=False)
class _Annotation:
    """What is known of one video, as long as the video: rows of NaN stand for frames without."""

    boxes: np.ndarray | None
    joints: np.ndarray | None
    told: dict[str, Any] = field(default_factory=dict)


def load(
    root: str | Path | None,
    split: int = 1,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    boxes: str = "mask",
    margin: float = 0.0,
    partial: bool = False,
    counts: Mapping[Path, FrameCount | Failed] | None = None,
    workers: int | None = None,
) -> ActionDataset:
    """Loads JHMDB with joints, person boxes and an official split, classes sorted by name.

    Every video is decoded to count its frames and every mask is read, with a progress bar. `boxes` and `joints` of a
    record are as long as its video: frames that are not annotated have NaN, and annotations of frames that are not
    there are cut off. How many is told in `notes`.

    Args:
        root: the folder that holds `ReCompress_Videos` and the annotations, or one around it.
        split: 1, 2 or 3.
        classes, partial: see `har_tf.datasets.load`.
        lists: folder of the lists, and of JHMDB-GT.pkl; None: `splits`, or another folder in or beside `root`.
        boxes: "mask": the tight box of the puppet mask, NaN where no pixel is set, and that of the joints where a
            video has no mask; "joints": the tight box of the joints that lie in the picture; "pickle": JHMDB-GT.pkl,
            which also gives the split where there are no lists.
        margin: by which share of their width and height boxes of joints are enlarged on every side. Joints lie within
            the body, so their box cuts off hair, hands and feet.
        counts: videos whose frames are counted already, as `Manifest.frame_counts` gives them.
        workers: processes that count frames; None: one a core; 0: this process.

    Raises:
        DatasetError: a folder, list, .mat file or entry is missing, damaged or has another shape; only pictures are
            there and no videos; listed videos are missing, or there with two suffixes; an unknown class.
        ValueError: `boxes` or `margin` is wrong.
    """
    from har_tf.video.frame_counts import count_frames

    if boxes not in BOXES:
        raise ValueError(f"expected boxes to be one of {', '.join(BOXES)}. Received: boxes={boxes!r}")
    if not 0 <= margin <= 1:
        raise ValueError(f"expected a margin from 0 to 1. Received: margin={margin}")
    root = folder.check_folder(root, "JHMDB, with ReCompress_Videos, joint_positions and puppet_mask in it")
    if lists is not None:
        lists = folder.check_folder(lists, f"the folder of <class>_test_split{split}.txt, or of {GROUND_TRUTH}")
    top, videos = _video_folder(root)
    dataset, notes = of_classes(videos, CLASSES, classes)
    ground_truth = _ground_truth(root, top, lists) if boxes == "pickle" else None
    parts, where = _split(root, top, lists, split, ground_truth)
    annotate = _reader(top, boxes, margin) if ground_truth is None else _pickle_reader(top, *ground_truth)
    named = sum(map(len, parts.values()))
    if {key.split("/")[0] for entries in parts.values() for key in entries} == set(CLASSES) and named != VIDEOS:
        notes.append(f"official split {split}: names {named} videos, JHMDB has {VIDEOS}")
    (train, test, *_), told = in_parts(dataset, parts, where, split, partial, both=False)
    notes += told

    names = [f"{dataset.class_names[record.label]}/{record.path.stem}" for record in dataset.records]
    counted = count_frames([record.path for record in dataset.records], counts, workers)
    annotations = _read_all(dict(zip(names, counted, strict=True)), annotate)
    records = tuple(
        replace(
            record,
            group=hmdb51.source(record.path.stem, dataset.class_names[record.label]),
            boxes=annotations[name].boxes,
            joints=annotations[name].joints,
        )
        for name, record in zip(names, dataset.records, strict=True)
    )
    notes += _told(annotations)
    test_videos = VIDEOS - len(parts["training"])  # those that no list names are not there either
    return ActionDataset(
        "jhmdb", videos, records, dataset.class_names, paths_of(train, test), tuple(notes), test_videos=test_videos
    )


def videos_from_frames(root: str | Path, fps: int = 25) -> Path:
    """Makes a lossless video (FFV1) of every folder of pictures, for a copy of JHMDB that has no videos.

    Args:
        root: the folder that holds `Rename_Images` or `Frames`, or one around it.
        fps: frames per second to write; HMDB51 has 30, the pictures do not say.

    Returns:
        `Lossless_Videos` beside the pictures, which `load` reads. Videos that are there already stay.

    Raises:
        DatasetError: no such folder, or pictures that cannot be read, are not of one size, or are not numbered from
            1 without a gap.
    """
    from tqdm import tqdm

    root = folder.check_folder(root, "JHMDB, with Rename_Images or Frames in it")
    source = _first(root, FRAME_FOLDERS)
    if source is None:
        raise DatasetError(f"{root}: neither {' nor '.join(FRAME_FOLDERS)} is in it")
    out = source.with_name("Lossless_Videos")
    folders = [video for name in CLASSES for video in sorted(source.glob(f"{name}/*/"))]
    if not folders:
        raise DatasetError(f"{source}: no pictures. Expected <class>/<video>/00001.png")
    for video in tqdm(folders, "writing videos", disable=None):
        target = out / video.parent.name / f"{video.name}.avi"
        if not target.exists():
            _encode(video, target, fps)
    return out


def _encode(pictures: Path, target: Path, fps: int) -> None:
    import av

    from har_tf.files.whole import whole_file
    from har_tf.video import VideoError, read_still

    files = sorted(pictures.glob("*.png"))
    names = [f"{number:05d}.png" for number in range(1, len(files) + 1)]
    if not files or [file.name for file in files] != names:
        raise DatasetError(f"{pictures}: expected 00001.png and on without a gap. Found: {len(files)} pictures")
    try:
        frames = [read_still(file, 1, None)[0] for file in files]
    except VideoError as error:
        raise DatasetError(f"{pictures}: a picture cannot be read: {error}") from error
    if len({frame.shape for frame in frames}) > 1:
        raise DatasetError(f"{pictures}: the pictures are not of one size")
    with whole_file(target) as part, av.open(str(part), "w") as file:
        stream = file.add_stream("ffv1", rate=Fraction(fps))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        file.mux(stream.encode())


def _video_folder(root: Path) -> tuple[Path, Path]:
    """(the folder of the data set, the folder of its videos)."""
    videos = _first(root, VIDEO_FOLDERS)
    if videos is not None:
        return videos.parent, videos
    frames = _first(root, FRAME_FOLDERS)
    if frames is not None:
        raise DatasetError(
            f"{frames}: pictures, but no {VIDEO_FOLDERS[0]} beside them. Get JHMDB_video.zip, or make videos of the "
            f"pictures with har_tf.datasets.jhmdb.videos_from_frames({str(root)!r})"
        )
    list(walk.files(root, (), depth=2))  # says which folder cannot be listed, which `glob` passes over
    raise DatasetError(f"{root}: no {VIDEO_FOLDERS[0]} in it. Expected {VIDEO_FOLDERS[0]}/<class>/<video>.avi")


def _first(root: Path, names: Sequence[str]) -> Path | None:
    return next((place for name in names for place in in_or_below(root, name) if place.is_dir()), None)


def _split(
    root: Path, top: Path, lists: Path | None, split: int, ground_truth: tuple[Path, dict] | None
) -> tuple[dict[str, dict[str, str]], Path]:
    """(the parts as `hmdb51.read_lists` gives them, where they stand)."""
    found = _find_lists(root, top) if lists is None else lists
    if ground_truth is not None and (found is None or not any(found.glob("*_test_split*.txt"))):
        path, content = ground_truth
        parts = {part: content[f"{key}_videos"] for part, key in (("training", "train"), ("test", "test"))}
        if not all(isinstance(part, list | tuple) and 0 < split <= len(part) for part in parts.values()):
            raise DatasetError(f"{path}: has no split {split}; the lists <class>_test_split{split}.txt have")
        return {
            part: {clip_key(*str(name).partition("/")[::2]): str(name) for name in splits[split - 1]}
            for part, splits in parts.items()
        }, path
    if found is None:
        raise DatasetError(f"{root}: no <class>_test_split{split}.txt in it or beside it; name the folder of the lists")
    return hmdb51.read_lists(found, split), found


def _find_lists(root: Path, top: Path) -> Path | None:
    for place in (top, root, top.resolve().parent):
        for file in in_or_below(place, "*_test_split?.txt"):
            # HMDB51's lists are called alike and may lie beside it; they have other classes as well.
            of_hmdb51 = (file.parent / "cartwheel_test_split1.txt").exists()
            if file.name.rpartition("_test_split")[0] in CLASSES and not of_hmdb51:
                return file.parent
    return None


def _reader(top: Path, boxes: str, margin: float) -> Callable[[str, int | None], _Annotation]:
    """A function that reads the joints and masks of a video."""
    joints_at, masks_at = top / "joint_positions", top / "puppet_mask"
    with_joints, with_masks = joints_at.is_dir(), masks_at.is_dir()
    if not with_joints and (boxes == "joints" or not with_masks):
        needed = joints_at.name if boxes == "joints" else f"{masks_at.name} and no {joints_at.name}"
        raise DatasetError(f"{top}: no {needed}. Expected {joints_at.name}/<class>/<video>/joint_positions.mat")

    def annotate(name: str, frames: int | None) -> _Annotation:
        told = {}
        joints = _joints(joints_at / name / "joint_positions.mat") if with_joints else None
        mask = masks_at / name / "puppet_mask.mat"
        if boxes == "mask" and (joints is None or mask.is_file()):
            found = _mask_boxes(mask)
            told["frames have no pixel in their puppet mask, and no box"] = int(np.isnan(found[:, 0]).sum())
        else:
            found = _joint_boxes(joints, margin)
            told["videos have no puppet mask, their boxes are those of the joints"] = int(boxes == "mask")
            told["frames have no joint in the picture, and no box"] = int(np.isnan(found[:, 0]).sum())
        lengths = {len(array) for array in (found, joints) if array is not None}
        told["videos have another number of frames than their annotations"] = int(
            frames is not None and lengths != {frames}
        )
        frames = max(lengths) if frames is None else frames
        return _Annotation(_as_long(found, frames), None if joints is None else _as_long(joints, frames), told)

    return annotate


def _pickle_reader(top: Path, path: Path, content: dict) -> Callable[[str, int | None], _Annotation]:
    """A function that takes the boxes of a video out of JHMDB-GT.pkl."""
    joints_at = top / "joint_positions"
    with_joints = joints_at.is_dir()

    def annotate(name: str, frames: int | None) -> _Annotation:
        if name not in content["gttubes"]:
            return _Annotation(None, None, {f"videos are not in {GROUND_TRUTH} and have no box": 1})
        joints = _joints(joints_at / name / "joint_positions.mat") if with_joints else None
        tube = _only_tube(content, name, f"{path}, {name}")
        length = int(tube[-1, 0]) if frames is None else frames
        inside = tube[(tube[:, 0] >= 1) & (tube[:, 0] <= length)]
        boxes = np.full((length, 4), np.nan, np.float32)
        boxes[inside[:, 0].astype(int) - 1] = _clip(inside[:, 1:] + [0, 0, 1, 1])
        differs = int(tube[-1, 0]) != length or (joints is not None and len(joints) != length)
        told = {
            "videos have another number of frames than their annotations": int(differs),
            "frames have no box": int(np.isnan(boxes[:, 0]).sum()),
        }
        return _Annotation(boxes, None if joints is None else _as_long(joints, length), told)

    return annotate


def _ground_truth(root: Path, top: Path, lists: str | Path | None) -> tuple[Path, dict]:
    places = (top, root, top.resolve().parent) if lists is None else (Path(lists), top, root)
    path = next((place / GROUND_TRUTH for place in places if (place / GROUND_TRUTH).is_file()), None)
    if path is None:
        raise DatasetError(f"{places[0]}: no {GROUND_TRUTH} in it or beside it; name its folder with lists")
    content = read_pickle(path)
    keys = {"labels": list, "gttubes": dict, "train_videos": list, "test_videos": list}
    for key, kind in keys.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            raise DatasetError(f"{path}: expected a dict with {', '.join(keys)}, where {key} is a {kind.__name__}")
    unknown = [str(name) for name in content["labels"] if name not in CLASSES]
    if unknown or not content["labels"]:
        raise DatasetError(f"{path}: expected the labels of JHMDB. Received: {', '.join(unknown[:3]) or 'none'}")
    return path, content


def _only_tube(content: dict, name: str, where: str) -> np.ndarray:
    """(frames, 5) float64 frame number and corners of the one actor of a video, sorted by frame."""
    labelled = content["gttubes"][name]
    label = content["labels"].index(name.split("/")[0]) if name.split("/")[0] in content["labels"] else None
    if not isinstance(labelled, dict) or list(labelled) != [label]:
        found = ", ".join(map(str, labelled)) if isinstance(labelled, dict) else type(labelled).__name__
        raise DatasetError(f"{where}: expected tubes of label {label}. Received: {found}")
    tubes = labelled[label]
    if not isinstance(tubes, list | tuple) or len(tubes) != 1:
        raise DatasetError(f"{where}: expected a list of one tube, JHMDB annotates one actor")
    tube = tubes[0]
    if not isinstance(tube, np.ndarray) or tube.dtype.kind not in "iuf" or tube.ndim != 2 or tube.shape[1] != 5:
        found = f"{tube.dtype} {tube.shape}" if isinstance(tube, np.ndarray) else type(tube).__name__
        raise DatasetError(f"{where}: expected a tube of (frames, 5) numbers. Received: {found}")
    tube = tube.astype(np.float64)
    tube = tube[np.argsort(tube[:, 0], kind="stable")]
    numbers = tube[:, 0]
    sound = len(tube) and np.isfinite(tube).all() and (numbers == numbers.round()).all()
    if not sound or numbers[0] < 1 or numbers[-1] > MAX_FRAMES:
        raise DatasetError(f"{where}: expected finite boxes of frames from 1 to {MAX_FRAMES} at most")
    if (np.diff(numbers) < 1).any():
        raise DatasetError(f"{where}: a frame has two boxes")
    return tube


def _read_all(
    counts: dict[str, FrameCount | Failed], annotate: Callable[[str, int | None], _Annotation]
) -> dict[str, _Annotation]:
    def read(item: tuple[str, FrameCount | Failed]) -> _Annotation:
        name, count = item
        broken = isinstance(count, Failed)
        annotation = annotate(name, None if broken else count.frames)
        sized = not broken and (count.height, count.width) != SIZE
        annotation.told["videos are not 320 x 240, as the annotations are"] = int(sized)
        annotation.told["videos cannot be read"] = int(broken)
        return annotation

    # At the first error the rest is not read: there are 928 of them.
    results = thread_map(read, counts.items(), max_workers=available_cores(), desc="reading annotations", disable=None)
    return dict(zip(counts, results, strict=True))


def _joints(path: Path) -> np.ndarray:
    """(frames, 15, 2) float32 x, y of the joints, counted from 0."""
    positions = _mat(path, "pos_img")
    if positions.ndim == 2 and positions.shape == (2, len(JOINTS)):
        positions = positions[..., None]  # MATLAB drops the last axis of a video of one frame
    if positions.ndim != 3 or positions.shape[:2] != (2, len(JOINTS)) or positions.dtype.kind not in "iuf":
        raise DatasetError(
            f"{path}: expected pos_img of (2, {len(JOINTS)}, frames) numbers. Received: {positions.dtype} "
            f"{positions.shape}"
        )
    with np.errstate(over="ignore"):  # of a damaged file: infinite, and so outside the picture
        return np.ascontiguousarray(positions.transpose(2, 1, 0).astype(np.float32) - 1)


def _mask_boxes(path: Path) -> np.ndarray:
    """(frames, 4) float32 tight boxes of the pixels that are not 0; NaN in frames without one."""
    mask = _mat(path, "part_mask")
    if mask.ndim == 2:
        mask = mask[..., None]
    if mask.ndim != 3 or mask.shape[:2] != SIZE or mask.dtype.kind not in "biuf":
        raise DatasetError(
            f"{path}: expected part_mask of ({SIZE[0]}, {SIZE[1]}, frames) numbers. Received: {mask.dtype} {mask.shape}"
        )
    body = mask > 0
    columns, rows = body.any(0), body.any(1)  # (320, frames), (240, frames)
    boxes = np.stack(
        [columns.argmax(0), rows.argmax(0), SIZE[1] - columns[::-1].argmax(0), SIZE[0] - rows[::-1].argmax(0)], axis=1
    ).astype(np.float32)
    boxes[~columns.any(0)] = np.nan
    return boxes


def _joint_boxes(joints: np.ndarray, margin: float) -> np.ndarray:
    """(frames, 4) float32 boxes of the pixels that hold a joint, of the joints in the picture; NaN where none is."""
    height, width = SIZE
    pixels = np.rint(joints)
    inside = ((pixels >= 0) & (pixels < [width, height])).all(-1, keepdims=True)
    low = np.where(inside, pixels, np.inf).min(1)
    high = np.where(inside, pixels, -np.inf).max(1) + 1
    grown = margin * (high - low) if margin else 0.0
    boxes = np.concatenate([low - grown, high + grown], axis=1)
    return _clip(np.where(inside.any(1), boxes, np.nan))


def _clip(boxes: np.ndarray) -> np.ndarray:
    height, width = SIZE
    return np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)


def _as_long(values: np.ndarray, frames: int) -> np.ndarray:
    """The first `frames` rows; rows of NaN behind where there are fewer."""
    missing = np.full((max(frames - len(values), 0), *values.shape[1:]), np.nan, np.float32)
    return np.concatenate([values[:frames], missing])


def _mat(path: Path, key: str) -> np.ndarray:
    """The array `key` of a MATLAB file."""
    from scipy.io import loadmat

    if not path.is_file():
        raise DatasetError(f"{path}: no such file. Expected a MATLAB file with {key}")
    try:
        content = loadmat(path, variable_names=[key])
    except NotImplementedError as error:
        raise DatasetError(f"{path}: a MATLAB 7.3 (HDF5) file. Expected version 5 to 7: save it with -v7") from error
    # SciPy says of a damaged file what went wrong in its own code: of any kind, up to UnboundLocalError.
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise DatasetError(
            f"{path}: not a MATLAB file with {key}, or a damaged one ({type(error).__name__}: {reason})"
        ) from error
    if not isinstance(content.get(key), np.ndarray):
        there = ", ".join(name for name in content if not name.startswith("__"))
        raise DatasetError(f"{path}: has no {key}." + (f" Found: {there}" if there else ""))
    return content[key]


def _told(annotations: dict[str, _Annotation]) -> list[str]:
    """What the annotations of the videos tell, added up, each with the first video that has it."""
    counts, first = Counter(), {}
    for name, annotation in annotations.items():
        for what, count in annotation.told.items():
            if count:
                counts[what] += count
                first.setdefault(what, name)
    return [f"{count} {what}, first in {first[what]}" for what, count in counts.items()]
