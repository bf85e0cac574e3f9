"""Detectors of things in frames, behind one interface: SSDs in TFLite, presets of keras-hub, detections read from JSON.

YOLO networks in ONNX are in `yolo`. `open_detector` chooses by the ending of a file's name.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np

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


def open_detector(
    which: str | Path, labels: str | Path | None = None, score: float = SCORE, nms: float = NMS, layout: str = "auto"
) -> Detector:
    """The detector in a file (.onnx, .tflite, or .json of detections), or the preset of keras-hub of this name.

    Args:
        which: the file or the preset, such as "dfine_small_coco".
        labels: a text file with the names of the classes, one a line; None: those in the file, or COCO's.
        score: detections below this are left out.
        nms: of boxes of one class that overlap by more than this IoU the one of the highest score stays.
        layout: of a YOLO, see `yolo.LAYOUTS`.

    Raises:
        FileNotFoundError: no such file.
        DetectorError: it cannot be used.
        ValueError: a number out of its range.
    """
    for name, value in (("score", score), ("nms", nms)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} lies in [0, 1]. Received: {name}={value}")
    path, names = Path(which), None if labels is None else read_labels(labels)
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".tflite", ".json") and not path.is_file():
        return KerasHubDetector(str(which), names, score, nms)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such detector")
    if suffix == ".onnx":
        from har_tf.concepts.detectors.yolo import Yolo

        return Yolo(path, names, layout, score=score, nms=nms)
    if suffix == ".tflite":
        return TFLiteDetector(path, names, score, nms)
    if suffix == ".json":
        return CocoDetections(path, score)
    raise DetectorError(f"{path}: detectors end in .onnx, .tflite or .json, or are presets of keras-hub")


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
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    while len(waiting):
        first, waiting = waiting[0], waiting[1:]
        chosen.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[waiting, :2]), np.minimum(boxes[first, 2:], boxes[waiting, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        close = common > nms * (areas[first] + areas[waiting] - common)
        close |= common > inside * np.minimum(areas[first], areas[waiting])
        waiting = waiting[~(close & (labels[waiting] == labels[first]))]
    return sorted(chosen)


class TFLiteDetector:
    """An SSD in TFLite that ends in the operator TFLite_Detection_PostProcess, as those of TensorFlow's model zoo do.

    Frames are stretched to its input. An input of type uint8 gets them as they are, float32 scaled to [-1, 1].

    Args:
        path: the .tflite file.
        names: names of its classes without the background; None: COCO's.
        score: the least score of a detection.
        nms: the most IoU of two boxes of one class; the network's own is often looser.

    Raises:
        DetectorError: the file is not such a network.
    """

    def __init__(
        self, path: str | Path, names: Sequence[str] | None = None, score: float = SCORE, nms: float = NMS
    ) -> None:
        self._path, self._score, self._nms = Path(path), score, nms
        self._interpreter = _interpreter(self._path)
        inputs, operators = self._interpreter.get_input_details(), self._interpreter._get_ops_details()
        # Not simply the last one: delegates are listed behind all operators.
        ends = [operator for operator in operators if operator["op_name"] == "TFLite_Detection_PostProcess"]
        if len(ends) != 1 or len(inputs) != 1:
            shapes = [detail["shape"].tolist() for detail in self._interpreter.get_output_details()]
            raise DetectorError(
                f"{path}: inputs {[detail['shape'].tolist() for detail in inputs]}, outputs {shapes}. "
                f"Expected an SSD that ends in TFLite_Detection_PostProcess"
            )
        self._input = inputs[0]
        # The operator's own order; that of the network's outputs is another in some exports.
        self._boxes, self._labels, self._scores, self._count = (int(i) for i in ends[0]["outputs"][:4])
        tensors = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        classes = int(tensors[int(ends[0]["inputs"][1])]["shape"][-1]) - 1  # without the background
        self.names = class_names(classes, names, str(path))
        self.settings = {"file": self._path.name, "bytes": self._path.stat().st_size, "score": score, "nms": nms}

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: np.ndarray) -> Detections:
        height, width = (int(side) for side in self._input["shape"][1:3])
        picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        if self._input["dtype"] == np.float32:
            picture = picture.astype(np.float32) / 127.5 - 1
        elif self._input["dtype"] == np.int8:
            picture = (picture.astype(np.int16) - 128).astype(np.int8)
        self._interpreter.set_tensor(self._input["index"], picture[None])
        self._interpreter.invoke()
        count = int(self._interpreter.get_tensor(self._count).reshape(-1)[0])
        boxes, labels, scores = (
            self._interpreter.get_tensor(index)[0][:count] for index in (self._boxes, self._labels, self._scores)
        )
        boxes = boxes[:, [1, 0, 3, 2]] * np.array([frame.shape[1], frame.shape[0]] * 2)  # (y1, x1, y2, x2) in [0, 1]
        return kept(boxes, scores, labels, frame.shape[:2], self._score, self._nms)


def _interpreter(path: Path):
    """LiteRT's interpreter where it is installed, else TensorFlow's, without the notice that it will move."""
    from har_tf import quiet
    from har_tf.files.workers import available_cores

    options = {"model_path": str(path), "num_threads": available_cores()}
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        Interpreter = quiet.import_tensorflow().lite.Interpreter
    try:
        with warnings.catch_warnings(), quiet.stderr_kept():  # a line about the delegate, which makes it twice as fast
            warnings.simplefilter("ignore")
            interpreter = Interpreter(**options)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DetectorError(f"{path}: TFLite cannot load it ({reason}). Expected a .tflite network") from error
    return interpreter


class KerasHubDetector:
    """A detector of keras-hub, such as "retinanet_resnet50_fpn_coco" or "dfine_small_coco".

    keras-hub is an extra (`pip install har_tf[detectors]`) and downloads the weights. Frames are scaled evenly into the
    network's input and padded here, because what its own preprocessor does differs between presets.

    Args:
        preset: its name, or a folder that `save_to_preset` wrote.
        names: names of its classes; None: COCO's.
        score: the least score of a detection.
        nms: the most IoU of two boxes of one class.
        size: (height, width) of the network's input; None: that of the preset.
        batch_size: frames at a time.

    Raises:
        DetectorError: keras-hub is missing, or the preset is not known, or not a detector.
    """

    def __init__(
        self,
        preset: str,
        names: Sequence[str] | None = None,
        score: float = SCORE,
        nms: float = NMS,
        size: tuple[int, int] | None = None,
        batch_size: int = 4,
    ) -> None:
        from har_tf import quiet

        if not importlib.util.find_spec("keras_hub"):
            raise DetectorError(
                f"{preset}: is no file, and as a preset of keras-hub it needs the package, which is missing. "
                f"Install it: pip install har_tf[detectors]. Files end in .onnx, .tflite or .json"
            )
        quiet.import_tensorflow()
        import keras_hub

        try:
            self._model = keras_hub.models.ObjectDetector.from_preset(preset)
        except Exception as error:  # of keras, kagglehub, or the network
            reason = str(error).partition("\n")[0]
            raise DetectorError(f"{preset}: keras-hub cannot load this preset of an object detector: {reason}") from (
                error
            )
        converter = self._model.preprocessor.image_converter
        self._size = size or converter.image_size
        if self._size is None:
            raise DetectorError(f"{preset}: the preset does not say the size of its input. Expected size=(H, W)")
        converter.image_size = self._size
        if hasattr(self._model.prediction_decoder, "confidence_threshold"):
            self._model.prediction_decoder.confidence_threshold = score
        self._preset, self._score, self._nms, self._batch_size = preset, score, nms, batch_size
        self.names = class_names(self._model.num_classes, names, preset)
        self.settings = {"preset": preset, "size": list(self._size), "score": score, "nms": nms}

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        import keras

        fitted = [letterbox(frame, self._size) for frame in frames]
        pictures = np.stack([picture for picture, _ in fitted])
        found = self._model.predict(pictures, batch_size=self._batch_size, verbose=0)
        boxes = keras.utils.bounding_boxes.convert_format(
            np.asarray(found["boxes"], np.float32),
            source=self._model.bounding_box_format,
            target="xyxy",
            height=self._size[0],
            width=self._size[1],
        )
        boxes, result = np.asarray(boxes), []
        for i, (_, place) in enumerate(fitted):
            count = int(found["num_detections"][i])
            result.append(
                kept(
                    place.undo(boxes[i, :count]), found["confidence"][i, :count], found["labels"][i, :count],
                    frames.shape[1:3], self._score, self._nms,
                )
            )  # fmt: skip
        return result


class CocoDetections:
    """Detections that were made elsewhere, in a JSON file as COCO's: `images`, `annotations` and `categories`.

    An image is a frame. Its `file_name` is the video's path below the folder that is mined, a slash, and the number of
    the frame from 0 on, such as "Archery/v_Archery_g01_c01.avi/000012.jpg"; or it has the fields `video` (that path)
    and `frame`. Of an annotation `image_id`, `category_id`, `bbox` (x, y, width, height in pixels) and, if it is there,
    `score` are read. Frames that the file does not name hold nothing.

    Args:
        path: the file.
        score: the least score of a detection.

    Raises:
        DetectorError: the file is not of this form.
    """

    def __init__(self, path: str | Path, score: float = SCORE) -> None:
        self._path = Path(path)
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            images, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
            self.names = tuple(str(category["name"]) for category in categories)
            label = {category["id"]: place for place, category in enumerate(categories)}
            places = {image["id"]: _video_and_frame(image) for image in images}
            found: dict[str, dict[int, list]] = {video: {} for video, _ in places.values()}
            for row in annotations:
                video, frame = places[row["image_id"]]
                x, y, width, height = (float(value) for value in row["bbox"])
                box = (x, y, x + width, y + height)
                found[video].setdefault(frame, []).append(
                    (box, float(row.get("score", 1.0)), label[row["category_id"]])
                )
        except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise DetectorError(
                f"{path}: not detections in COCO's form ({type(error).__name__}: {error}). Expected images with "
                f"file_name VIDEO/FRAME.jpg or video and frame, annotations and categories"
            ) from error
        self._found, self._score = found, score
        self.settings = {"file": self._path.name, "bytes": self._path.stat().st_size, "score": score}

    @property
    def videos(self) -> tuple[str, ...]:
        """The videos that the file knows."""
        return tuple(self._found)

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        if video not in self._found:
            raise DetectorError(f"{self._path}: has no image of {video}. It has {len(self._found)} other videos")
        of_video, result = self._found[video], []
        for number in range(start, start + len(frames)):
            rows = of_video.get(number, [])
            boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
            # What was written down was already suppressed, or not, as its maker wanted.
            result.append(kept(boxes, scores, labels, frames.shape[1:3], self._score, nms=1.0, inside=1.0))
        return result


def _video_and_frame(image: dict) -> tuple[str, int]:
    if "video" in image:
        return str(image["video"]), int(image["frame"])
    path = PurePosixPath(image["file_name"])
    number = re.search(r"(\d+)$", path.stem)
    if number is None or len(path.parts) < 2:
        raise ValueError(f"file_name {image['file_name']!r} does not end in VIDEO/FRAME.jpg")
    return path.parent.as_posix(), int(number[1])


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
    frame: np.ndarray, size: tuple[int, int], fill: int = 114, centred: bool = True
) -> tuple[np.ndarray, Letterbox]:
    """A frame scaled evenly into `size`, the rest filled, as YOLO networks are fed.

    Args:
        frame: uint8 (H, W, 3).
        size: (height, width) of the result.
        fill: grey value of the rest; 114 is YOLO's.
        centred: in the middle, or else in the upper left corner.

    Returns:
        uint8 (*size, 3), and where the frame lies in it.
    """
    scale = min(size[0] / frame.shape[0], size[1] / frame.shape[1])
    height, width = (max(1, min(limit, round(side * scale))) for side, limit in zip(frame.shape, size, strict=False))
    smaller = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if centred else (0, 0)
    picture = np.full((*size, 3), fill, np.uint8)
    picture[top : top + height, left : left + width] = smaller
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
