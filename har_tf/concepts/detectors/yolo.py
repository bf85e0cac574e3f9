"""YOLO networks in ONNX, run by OpenCV: their layouts, and from their numbers to boxes.

Sources: WongKinYiu/yolov7 export.py and models/experimental.py (End2End), ultralytics' exporter, and
Megvii-BaseDetection/YOLOX demo/ONNXRuntime with yolox/utils/demo_utils.py.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from har_tf.concepts.detectors.base import NMS, SCORE, Detections, DetectorError, class_names, kept, letterbox
from har_tf.concepts.detectors.hosted import HostedDetector
from har_tf.files import protobuf

LAYOUTS = {
    "v7": "(1, N, 5 + C) rows of cx, cy, w, h, objectness, classes: YOLOv5, v6 and v7 exported with --grid",
    "v7-nms": "(M, 7) rows of picture, x1, y1, x2, y2, class, score: YOLOv7 exported with --grid --end2end --max-wh",
    "v8": "(1, 4 + C, N) columns of cx, cy, w, h, classes: YOLOv8, v9, v11 and v12 of ultralytics",
    "v8-nms": "(1, M, 6) rows of x1, y1, x2, y2, score, class: YOLOv10, and ultralytics' exports with nms=True",
    "x": "(1, N, 5 + C) rows that are not decoded: YOLOX",
    "x-decoded": "(1, N, 5 + C) rows of cx, cy, w, h, objectness, classes: YOLOX with --decode_in_inference",
}
_STRIDES = (8, 16, 32, 64)  # the last in networks called P6 only


class Yolo(HostedDetector):
    """A YOLO network exported to ONNX with a batch of one.

    A frame is scaled evenly into the network's input and padded with grey 114: in the middle, as RGB in [0, 1]; of
    YOLOX in the upper left corner, as BGR in [0, 255]. The layout follows from the shape of the output: N is three
    times the number of grid cells in v7 and that number in v8 and X. Two cannot be told from it and need `layout`:
    YOLOX decoded in the network, and YOLOv6, whose rows are like v7's but as many as X's.

    Args:
        path: the .onnx file.
        names: names of its classes; None: those in the file, as ultralytics writes them, else COCO's.
        layout: "auto" or one of `LAYOUTS`.
        size: (height, width) of the input; None: that of the file, 640 x 640 where it is free.
        score: the least score of a detection; class probability times objectness where there is one.
        nms: the most IoU of two boxes of one class.

    Raises:
        DetectorError: OpenCV cannot load or run the file, or its output has no known layout.
        FileNotFoundError: no such file.

    Example:
        >>> Yolo("yolov7-tiny.onnx")(frames)[0].boxes
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str] | None = None,
        layout: str = "auto",
        size: tuple[int, int] | None = None,
        score: float = SCORE,
        nms: float = NMS,
    ) -> None:
        if layout != "auto" and layout not in LAYOUTS:
            raise ValueError(f"layout is auto, {', '.join(LAYOUTS)}. Received: layout={layout!r}")
        super().__init__(YoloNetwork, "a YOLO exported to ONNX", path, names, layout, size, score, nms)
        self.layout: str = self.settings["layout"]


class YoloNetwork:
    """What `Yolo` runs in its process; arguments as there."""

    def __init__(
        self,
        path: Path,
        names: Sequence[str] | None = None,
        layout: str = "auto",
        size: tuple[int, int] | None = None,
        score: float = SCORE,
        nms: float = NMS,
    ) -> None:
        self._path, self._score, self._nms = Path(path), score, nms
        found, metadata = _read_header(self._path)
        self._size = size or found or (640, 640)
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
            self._outputs = self._net.getUnconnectedOutLayersNames()
            blank = self._forward(np.zeros((1, 3, *self._size), np.float32))
        except cv2.error as error:
            raise DetectorError(
                f"{path}: OpenCV {cv2.__version__} cannot load or run it with input {self._size} ({_reason(error)}). "
                f"Expected a YOLO exported to ONNX with a batch of one and, best, a fixed size"
            ) from error
        self.layout, self._which = find_layout([each.shape for each in blank], self._size, layout, str(path))
        shape, names = blank[self._which].shape, _names_in(metadata) if names is None else names
        if self.layout.endswith("-nms"):  # the boxes say the number of the class only
            classes = len(names) if names else 80
        else:
            classes = shape[1] - 4 if self.layout == "v8" else shape[2] - 5
        self.names = class_names(classes, names, str(path))
        self.settings = {
            "file": self._path.name,
            "bytes": self._path.stat().st_size,
            "layout": self.layout,
            "size": list(self._size),
            "score": score,
            "nms": nms,
        }

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: np.ndarray) -> Detections:
        of_x = self.layout.startswith("x")
        picture, place = letterbox(frame, self._size, centred=not of_x)
        values = picture[..., ::-1].astype(np.float32) if of_x else picture.astype(np.float32) / 255
        output = self._forward(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))[self._which]
        boxes, scores, labels = decode(output, self.layout, self._size)
        if len(labels) and labels.max() >= len(self.names):
            raise DetectorError(
                f"{self._path}: found class {labels.max()}, but {len(self.names)} names are known. "
                f"Expected the names of all its classes, one a line of a file"
            )
        return kept(place.undo(boxes), scores, labels, frame.shape[:2], self._score, self._nms)

    def _forward(self, blob: np.ndarray) -> list[np.ndarray]:
        self._net.setInput(blob)
        return [np.asarray(each, np.float32) for each in self._net.forward(self._outputs)]


def find_layout(
    shapes: Sequence[tuple[int, ...]], size: tuple[int, int], layout: str, file: str = ""
) -> tuple[str, int]:
    """Which of `LAYOUTS` the outputs of a network have, and which of the outputs it is.

    Args:
        shapes: of all outputs.
        size: (height, width) of the input.
        layout: "auto", or the one that it has, which its shape must allow.
        file: for the error.

    Raises:
        DetectorError: none of them.
    """
    cells = {_cells(size, 3), _cells(size, 4)}
    for number, shape in enumerate(shapes):
        allowed = []
        if len(shape) == 2 and shape[1] == 7:
            allowed.append("v7-nms")
        if len(shape) == 3 and shape[0] == 1:
            rows, columns = shape[1:]
            if columns >= 6 and rows in {3 * count for count in cells}:
                allowed.append("v7")
            if columns >= 6 and rows in cells:
                allowed += ["x", "x-decoded", "v7"]
            if columns in cells and rows >= 5:
                allowed.append("v8")
            if columns == 6 and not allowed:
                allowed.append("v8-nms")
        if allowed and layout in ("auto", *allowed):
            return allowed[0] if layout == "auto" else layout, number
    text = ", ".join(str(tuple(shape)) for shape in shapes)
    hint = " Export YOLOv5 and v7 with --grid." if any(len(shape) == 5 for shape in shapes) else ""
    wanted = LAYOUTS.values() if layout == "auto" else [LAYOUTS[layout]]
    raise DetectorError(
        f"{file}: outputs {text} at input {size[0]} x {size[1]}, which has {_cells(size, 3)} grid cells.{hint} "
        f"Expected {'; or '.join(wanted)}"
    )


def decode(output: np.ndarray, layout: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (K, 4) in pixels of the network's input, scores (K,) and labels (K,), before any is left out.

    Args:
        output: as described in `LAYOUTS`, of one picture.
        layout: one of `LAYOUTS`.
        size: (height, width) of the input.
    """
    if layout == "v7-nms":
        return output[:, 1:5], output[:, 6], output[:, 5].astype(np.int64)
    rows = output[0].T if layout == "v8" else output[0]
    if layout == "v8-nms":
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    centres, sides = rows[:, :2], rows[:, 2:4]
    if layout == "x":
        grid, strides = _grid(size, len(rows))
        centres, sides = (centres + grid) * strides, np.exp(sides) * strides
    if layout == "v8":
        classes = rows[:, 4:]
    elif layout == "v7" and rows.shape[1] == 6:
        classes = rows[:, 4:5]  # of one class, v7 does not learn its probability, which stays at 0.5
    else:
        classes = rows[:, 4:5] * rows[:, 5:]
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    labels = classes.argmax(axis=1)
    return boxes, classes[np.arange(len(rows)), labels], labels


def _cells(size: tuple[int, int], strides: int) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in _STRIDES[:strides])


def _grid(size: tuple[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (N, 2) of every grid cell, and its size (N, 1) in pixels, finest grid first, row by row."""
    cells, strides = [], []
    for stride in _STRIDES[: 3 if count == _cells(size, 3) else 4]:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((len(cells[-1]), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _read_header(path: Path) -> tuple[tuple[int, int] | None, dict[str, str]]:
    """(height, width) of the input where the file fixes them, and the file's metadata.

    OpenCV tells neither. Field numbers are those of onnx.proto: the graph is 7 and the metadata 14 of a model, inputs
    are 11 and weights 5 of a graph; of a weight the name is 8.
    """
    inputs, weights, metadata = {}, set(), {}
    try:
        for number, value in protobuf.fields(memoryview(path.read_bytes())):
            if number == 14:
                pair = dict(protobuf.fields(value))
                metadata[_text(pair[1])] = _text(pair.get(2, b""))
            if number == 7:
                for field, part in protobuf.fields(value):
                    if field == 5:
                        weights |= {_text(name) for key, name in protobuf.fields(part) if key == 8}
                    if field == 11:
                        name, shape = _input_shape(part)
                        inputs[name] = shape
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DetectorError(f"{path}: not an ONNX file, or a damaged one ({error})") from error
    shapes = [shape for name, shape in inputs.items() if name not in weights]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (3, None):
        raise DetectorError(f"{path}: inputs {shapes}. Expected one, of pictures (1, 3, height, width)")
    height, width = shapes[0][2:]
    return (height, width) if height and width else None, metadata


def _input_shape(message) -> tuple[str, list[int | None]]:
    """Name and shape of a ValueInfoProto; a side that is not fixed is None."""
    about = dict(protobuf.fields(message))
    shape = dict(protobuf.fields(dict(protobuf.fields(about[2]))[1]))[2]  # type, tensor_type, shape
    sides = [dict(protobuf.fields(side)).get(1) for _, side in protobuf.fields(shape)]
    return _text(about[1]), [side if isinstance(side, int) and side > 0 else None for side in sides]


def _text(value) -> str:
    if isinstance(value, int):  # of which `bytes` would make so many
        raise ValueError(f"a number where a name should be: {value}")
    return bytes(value).decode()


def _names_in(metadata: dict[str, str]) -> tuple[str, ...] | None:
    """Names of the classes as ultralytics writes them: "{0: 'person', 1: 'bicycle'}"."""
    try:
        names: Any = ast.literal_eval(metadata.get("names", ""))
        return tuple(str(names[number]) for number in range(len(names)))
    except Exception:  # of Python's parser, which has many for a text that is none of these
        return None


def _reason(error: cv2.error) -> str:
    return " ".join((getattr(error, "err", "") or str(error)).split())[:200]
