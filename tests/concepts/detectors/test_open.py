import numpy as np
import pytest
from networks import write_onnx

from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.coco_json import CocoDetections
from har_tf.concepts.detectors.open import open_detector
from har_tf.concepts.detectors.yolo import Yolo


def test_open_detector_chooses_by_the_ending(tmp_path, coco):
    labels = tmp_path / "names.txt"
    labels.write_text("person\nracket\n")
    path = write_onnx(tmp_path / "v8.onnx", [np.zeros((1, 6, 42))])
    assert isinstance(open_detector(path, labels), Yolo)
    assert isinstance(open_detector(coco[0]), CocoDetections)
    with pytest.raises(FileNotFoundError, match="missing.onnx: no such detector"):
        open_detector(tmp_path / "missing.onnx")
    with pytest.raises(DetectorError, match="detectors end in .onnx, .tflite or .json"):
        open_detector(labels)
    with pytest.raises(ValueError, match="score lies in"):
        open_detector(path, score=2)
