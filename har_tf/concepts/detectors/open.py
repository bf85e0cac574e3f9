"""The detector in a file, chosen by the ending of its name, or the preset of keras-hub of this name."""

from __future__ import annotations

from pathlib import Path

from har_tf.concepts.detectors.base import NMS, SCORE, Detector, DetectorError, read_labels
from har_tf.concepts.detectors.coco_json import CocoDetections
from har_tf.concepts.detectors.keras_hub import KerasHubDetector
from har_tf.concepts.detectors.tflite import TFLiteDetector
from har_tf.concepts.detectors.yolo import Yolo


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
        return Yolo(path, names, layout, score=score, nms=nms)
    if suffix == ".tflite":
        return TFLiteDetector(path, names, score, nms)
    if suffix == ".json":
        return CocoDetections(path, score)
    raise DetectorError(f"{path}: detectors end in .onnx, .tflite or .json, or are presets of keras-hub")
