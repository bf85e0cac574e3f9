"""SSDs in TFLite."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from har_tf import quiet
from har_tf.concepts.detectors.base import NMS, SCORE, Detections, DetectorError, class_names, kept
from har_tf.concepts.detectors.hosted import HostedDetector
from har_tf.files.workers import available_cores


class TFLiteDetector(HostedDetector):
    """An SSD in TFLite that ends in the operator TFLite_Detection_PostProcess, as those of TensorFlow's model zoo do.

    Frames are stretched to its input. An input of type uint8 gets them as they are, float32 scaled to [-1, 1].

    Args:
        path: the .tflite file.
        names: names of its classes without the background; None: COCO's.
        score: the least score of a detection.
        nms: the most IoU of two boxes of one class; the network's own is often looser.

    Raises:
        DetectorError: the file is not such a network.
        FileNotFoundError: no such file.
    """

    def __init__(
        self, path: str | Path, names: Sequence[str] | None = None, score: float = SCORE, nms: float = NMS
    ) -> None:
        super().__init__(TFLiteNetwork, "an SSD in TFLite", path, names, score, nms)


class TFLiteNetwork:
    """What `TFLiteDetector` runs in its process; arguments as there."""

    def __init__(self, path: Path, names: Sequence[str] | None = None, score: float = SCORE, nms: float = NMS) -> None:
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
        reason = " ".join(str(error).split())[:200]
        raise DetectorError(f"{path}: TFLite cannot load it ({reason}). Expected a .tflite network") from error
    return interpreter
