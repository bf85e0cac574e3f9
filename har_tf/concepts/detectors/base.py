"""What detectors of things in frames have in common: their interface, names of classes, boxes that are kept, letterbox.

Each kind has a file beside this one; `open.open_detector` chooses by the ending of a file's name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from har_tf.evaluate.boxes import overlap
from har_tf.names import closest

SCORE, NMS = 0.5, 0.45
_INSIDE = 0.9  # share of a box that lies in another of its class, from which on both are taken for one thing

# The 80 classes of COCO's detection task, in the order of their ids, and those ids, which leave out ten numbers.
_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO_NAMES = tuple(_NAMES.split(","))
COCO_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


class DetectorError(ValueError):
    """A detector cannot be used, or fails; names its file, what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one frame.

    Args:
        boxes: float32 (K, 4), (x1, y1, x2, y2) in pixels of the frame, end-exclusive.
        scores: float32 (K,) in [0, 1].
        labels: int64 (K,), indices into the detector's `names`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """Something that finds things in frames.

    Attributes:
        names: the classes that it knows.
        settings: what its answers depend on, for the manifest: values that JSON holds.
    """

    names: tuple[str, ...]
    settings: dict[str, Any]

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        """What is in each frame.

        Args:
            frames: uint8 (T, H, W, 3) RGB, consecutive frames of a video.
            video: the video's path below the folder that is mined; only detections read from a file need it.
            start: number of the first frame.
        """


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Names of classes, one a line; lines may be numbered, as in "0 person", and numbers that are left out are gaps.

    Raises:
        DetectorError: the file cannot be read, or holds no name.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DetectorError(f"{path}: cannot be read as a list of names, one a line ({error})") from error
    if not lines:
        raise DetectorError(f"{path}: empty. Expected the names of the detector's classes, one a line")
    numbered = [re.fullmatch(r"(\d+)[\s:]+(.+)", line) for line in lines]
    if not all(numbered):
        return tuple(lines)
    by_number = {int(found[1]): found[2] for found in numbered}
    return tuple(by_number.get(number, f"unused {number}") for number in range(max(by_number) + 1))


def class_names(count: int, given: Sequence[str] | None, file: str) -> tuple[str, ...]:
    """The names of `count` classes.

    COCO's ids go to 90, though only 80 are used: networks have 80 classes, or 90 with gaps, or 91 with a background
    before them. The 80 names are spread accordingly.

    Raises:
        DetectorError: the names are not that many, or there are none and the classes are not COCO's.
    """
    if given is not None and len(given) == count:
        return tuple(given)
    if given is not None and len(given) == count + 1 and given[0].lower() in ("???", "background", "__background__"):
        return tuple(given[1:])
    eighty = COCO_NAMES if given is None else given
    if len(eighty) == 80 and count in (80, 90, 91):
        if count == 80:
            return tuple(eighty)
        places = dict(zip(COCO_IDS, eighty, strict=True))
        first = 1 if count == 90 else 0
        return tuple(places.get(number, f"unused {number}") for number in range(first, first + count))
    found = "no names" if given is None else f"{len(given)} names"
    raise DetectorError(f"{file}: has {count} classes. Expected as many names, one a line of a file. Received: {found}")


def check_concepts(concepts: Sequence[str], names: Sequence[str], what: str) -> None:
    """Raises DetectorError unless the concepts are different names out of those that `what` knows."""
    if not concepts:
        raise DetectorError(f"At least one class is needed as a concept. {what} knows: {', '.join(names)}")
    for concept in concepts:
        if concept not in names:
            hint = closest(concept, names)
            raise DetectorError(f"{what} does not know {concept!r}.{hint} It knows: {', '.join(names)}")
    if len(set(concepts)) < len(concepts):
        raise DetectorError(f"Concepts are given once each. Received: {', '.join(concepts)}")


def kept(boxes, scores, labels, size: tuple[int, int], score: float, nms: float, inside: float = _INSIDE) -> Detections:
    """The detections that count: in the frame of (height, width) pixels, sure enough, and one for each thing.

    A person with outstretched arms is often found twice, with the arms and without: boxes whose IoU is small, because
    one lies in the other. Left in, each would be the other's rival and end its track.

    Args:
        boxes: (K, 4) in pixels; what reaches beyond the frame is cut off, and what is empty then is left out.
        scores: (K,).
        labels: (K,).
        size: (height, width) of the frame.
        score: the least score.
        nms: the most IoU of two boxes of one class, of which the one of the higher score stays.
        inside: the most share of a box in another of its class, likewise.
    """
    boxes, scores = np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32).reshape(-1)
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    boxes = np.clip(boxes, 0, np.array([size[1], size[0]] * 2, np.float32))
    good = (scores >= score) & (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    boxes, scores, labels = boxes[good], scores[good], labels[good]
    chosen = _unrivalled(boxes, scores, labels, nms, inside)
    return Detections(boxes[chosen], scores[chosen], labels[chosen])


def _unrivalled(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, nms: float, inside: float) -> list[int]:
    """Places of the boxes that are left when each, from the highest score on, has removed those too close to it."""
    chosen, waiting = [], np.argsort(-scores, kind="stable")
    while len(waiting):
        first, waiting = waiting[0], waiting[1:]
        chosen.append(int(first))
        (common,), own, areas = overlap(boxes[first], boxes[waiting])
        close = (common > nms * (own + areas - common)) | (common > inside * np.minimum(own, areas))
        waiting = waiting[~(close & (labels[waiting] == labels[first]))]
    return sorted(chosen)


@dataclass(frozen=True)
class Letterbox:
    """Where a frame lies in the picture that it was scaled evenly into.

    Args:
        scale: pixels of the picture for one of the frame.
        left: column of the frame's first pixel.
        top: its row.
    """

    scale: float
    left: int
    top: int

    def undo(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (K, 4) of the picture as boxes of the frame."""
        return (np.asarray(boxes, np.float32) - np.array([self.left, self.top] * 2, np.float32)) / self.scale


def letterbox(
    frame: np.ndarray, size: tuple[int, int], fill: int = 114, centred: bool = True, smaller: int = cv2.INTER_LINEAR
) -> tuple[np.ndarray, Letterbox]:
    """A frame scaled evenly into `size`, the rest filled, as YOLO networks are fed.

    Args:
        frame: uint8 (H, W, 3).
        size: (height, width) of the result.
        fill: grey value of the rest; 114 is YOLO's.
        centred: in the middle, or else in the upper left corner.
        smaller: OpenCV's interpolation where the frame is scaled down; up, it is linear.

    Returns:
        uint8 (*size, 3), and where the frame lies in it.
    """
    scale = min(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(1, min(limit, round(side * scale))) for side, limit in zip(frame.shape, size, strict=False))
    inner = cv2.resize(frame, (width, height), interpolation=smaller if scale <= 1 else cv2.INTER_LINEAR)
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    picture = np.full((*size, 3), fill, np.uint8)
    picture[top : top + height, left : left + width] = inner
    return picture, Letterbox(scale, left, top)


@contextlib.contextmanager
def naming(detector: Detector, video: str, start: int, count: int):
    """Turns whatever a detector raises into a DetectorError that says at which frames of which video."""
    try:
        yield
    except DetectorError:
        raise
    except Exception as error:
        name = detector.settings.get("file") or detector.settings.get("preset") or type(detector).__name__
        reason = " ".join(str(error).split())
        raise DetectorError(
            f"{name}: the detector failed on {video}, frames {start} to {start + count - 1} "
            f"({type(error).__name__}: {reason})"
        ) from error
