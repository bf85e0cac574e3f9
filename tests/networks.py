"""Tiny ONNX networks with the inputs and outputs of YOLO's exporters, and what the tests of detectors share.

No published YOLO weights are at hand here. A network is one convolution over the whole picture, whose bias is the
output to be decoded.
"""

from pathlib import Path

import numpy as np

SIZE = (32, 64)  # (height, width) of the networks' input: grids of 4 x 8, 2 x 4 and 1 x 2, so 42 cells
NAMES = ("person", "racket")


def varint(number: int) -> bytes:
    out = b""
    while True:
        out += bytes([number & 127 | (128 if number > 127 else 0)])
        number >>= 7
        if not number:
            return out


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name: str, array: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[str(array.dtype)]
    return (
        b"".join(number(1, side) for side in array.shape) + number(2, kind) + data(8, name) + data(9, array.tobytes())
    )


def value(name: str, shape) -> bytes:
    sides = b"".join(data(1, number(1, side) if side else data(2, "free")) for side in shape)
    return data(1, name) + data(2, data(1, number(1, 1) + data(2, sides)))


def node(kind: str, inputs, outputs, attributes=()) -> bytes:
    text = b"".join(data(1, each) for each in inputs) + b"".join(data(2, each) for each in outputs) + data(4, kind)
    return text + b"".join(data(5, each) for each in attributes)


def write_onnx(path: Path, outputs, kernels=None, size=SIZE, names: str | None = None, channels: int = 3) -> Path:
    """A network (1, 3, *size) -> `outputs`, plus `kernels` (values of an output, 3, *size) times the picture."""
    nodes, weights, told = [], [], []
    for i, output in enumerate(np.asarray(each, np.float32) for each in outputs):
        kernel = np.zeros((output.size, channels, *size), np.float32)
        for place, weight in (kernels or {}).items() if i == 0 else ():
            kernel[place] = weight
        shape = np.array(output.shape, np.int64)
        weights += [tensor(f"k{i}", kernel), tensor(f"b{i}", output.ravel()), tensor(f"s{i}", shape)]
        sides = data(1, "kernel_shape") + b"".join(number(8, side) for side in size) + number(20, 7)
        nodes += [node("Conv", ("images", f"k{i}", f"b{i}"), (f"c{i}",), (sides,))]
        nodes += [node("Reshape", (f"c{i}", f"s{i}"), (f"output{i}",))]
        told.append(value(f"output{i}", output.shape))
    graph = b"".join(data(1, each) for each in nodes) + data(2, "tiny") + b"".join(data(5, each) for each in weights)
    graph += data(11, value("images", (1, channels, *size))) + b"".join(data(12, each) for each in told)
    model = number(1, 8) + data(8, data(1, "") + number(2, 13)) + data(7, graph)
    if names is not None:
        model += data(14, data(1, "names") + data(2, names))
    path.write_bytes(model)
    return path


def frame(height=32, width=64) -> np.ndarray:
    return np.zeros((1, height, width, 3), np.uint8)


def only(detections):
    """Box, score and label of the one detection in the one frame."""
    (found,) = detections
    assert len(found) == 1
    return found.boxes[0].tolist(), float(found.scores[0]), int(found.labels[0])
