"""Detectors: YOLO's layouts as tiny ONNX networks that OpenCV runs, TFLite, JSON, and what they refuse.

No published YOLO weights are at hand here. The networks below have the inputs and outputs of the exporters: one
convolution over the whole picture, whose bias is the output to be decoded.
"""

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from har_tf.concepts.detectors import yolo
from har_tf.concepts.detectors.base import (
    COCO_IDS,
    COCO_NAMES,
    CocoDetections,
    DetectorError,
    KerasHubDetector,
    TFLiteDetector,
    check_concepts,
    class_names,
    kept,
    letterbox,
    naming,
    open_detector,
    read_labels,
)
from har_tf.concepts.detectors.yolo import Yolo, decode, find_layout

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


def rows_of(count: int, classes: int, row: dict[int, list]) -> np.ndarray:
    rows = np.zeros((1, count, 5 + classes), np.float32)
    for place, values in row.items():
        rows[0, place] = values
    return rows


def test_v7_is_centre_size_objectness_classes(tmp_path):
    rows = rows_of(3 * 42, 2, {100: [20, 16, 8, 10, 0.9, 0.2, 0.8]})
    detector = Yolo(write_onnx(tmp_path / "v7.onnx", [rows]), NAMES)
    assert detector.layout == "v7"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([16, 11, 24, 21], 1)
    assert score == pytest.approx(0.72)


def test_v7_of_one_class_has_its_objectness_as_score(tmp_path):
    rows = rows_of(3 * 42, 1, {7: [20, 16, 8, 10, 0.9, 0.5]})
    box, score, _ = only(Yolo(write_onnx(tmp_path / "v7.onnx", [rows]), ("ball",))(frame()))
    assert box == [16, 11, 24, 21]
    assert score == pytest.approx(0.9)


def test_v7_with_its_raw_heads_beside_it(tmp_path):
    """--grid alone gives the decoded rows and three outputs (1, 3, h, w, 5 + C)."""
    rows = rows_of(3 * 42, 2, {0: [20, 16, 8, 10, 1, 1, 0]})
    detector = Yolo(write_onnx(tmp_path / "v7.onnx", [rows, np.zeros((1, 3, 4, 8, 7))]), NAMES)
    assert only(detector(frame()))[0] == [16, 11, 24, 21]


def test_v7_exported_with_nms(tmp_path):
    rows = [[0, 4, 5, 20, 25, 1, 0.7]]
    detector = Yolo(write_onnx(tmp_path / "nms.onnx", [rows]), NAMES)
    assert detector.layout == "v7-nms"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([4, 5, 20, 25], 1)
    assert score == pytest.approx(0.7)


def test_v8_is_transposed_and_has_no_objectness(tmp_path):
    columns = np.zeros((1, 6, 42), np.float32)
    columns[0, :, 30] = [20, 16, 8, 10, 0.2, 0.8]
    detector = Yolo(write_onnx(tmp_path / "v8.onnx", [columns]), NAMES)
    assert detector.layout == "v8"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([16, 11, 24, 21], 1)
    assert score == pytest.approx(0.8)


def test_v8_exported_with_nms(tmp_path):
    rows = np.zeros((1, 3, 6), np.float32)  # rows that hold nothing are zero
    rows[0, 0] = [4, 5, 20, 25, 0.7, 1]
    detector = Yolo(write_onnx(tmp_path / "v10.onnx", [rows]), NAMES)
    assert detector.layout == "v8-nms"
    assert only(detector(frame()))[0] == [4, 5, 20, 25]


@pytest.mark.parametrize(
    ("place", "corner", "stride"),
    [(0, (0, 0), 8), (8 + 3, (3, 1), 8), (32 + 4 + 2, (2, 1), 16), (40 + 1, (1, 0), 32)],
)
def test_x_is_decoded_by_the_grid(tmp_path, place, corner, stride):
    """Cells are counted row by row on the grids of strides 8, 16 and 32; sides are exponentials."""
    rows = rows_of(42, 2, {place: [0.5, 0.25, np.log(0.5), np.log(0.25), 0.9, 1, 0]})
    detector = Yolo(write_onnx(tmp_path / "x.onnx", [rows]), NAMES)
    assert detector.layout == "x"
    boxes, scores, _ = decode(rows, "x", SIZE)
    x, y = ((corner[0] + 0.5) * stride, (corner[1] + 0.25) * stride)
    expected = [x - stride / 4, y - stride / 8, x + stride / 4, y + stride / 8]
    np.testing.assert_allclose(boxes[place], expected, rtol=1e-6)
    assert scores[place] == pytest.approx(0.9)
    np.testing.assert_allclose(only(detector(frame()))[0], np.clip(expected, 0, [64, 32, 64, 32]), rtol=1e-6)


def test_x_that_is_decoded_in_the_network_needs_to_be_named(tmp_path):
    rows = rows_of(42, 2, {3: [20, 16, 8, 10, 0.9, 1, 0]})
    detector = Yolo(write_onnx(tmp_path / "x.onnx", [rows]), NAMES, layout="x-decoded")
    assert only(detector(frame()))[0] == [16, 11, 24, 21]


def test_rgb_in_0_to_1_in_the_middle(tmp_path):
    """The score is the red value at (16, 32); the frame is 64 x 32, so it is halved and lies in columns 24 to 39."""
    columns = np.zeros((1, 6, 42), np.float32)
    columns[0, :4, 0] = [32, 16, 8, 16]
    red = np.zeros((3, *SIZE), np.float32)
    red[0, 16, 32] = 1
    path = write_onnx(tmp_path / "v8.onnx", [columns], {4 * 42: red})
    tall = np.zeros((1, 64, 32, 3), np.uint8)
    tall[..., 0] = 204
    box, score, _ = only(Yolo(path, NAMES)(tall))
    assert score == pytest.approx(0.8)
    assert box == [8, 16, 24, 48]  # (x - 24) / 0.5 and y / 0.5


def test_x_gets_bgr_in_0_to_255_in_the_corner(tmp_path):
    rows = rows_of(42, 2, {0: [1, 1, 0, 0, 1, 0, 0]})
    red = np.zeros((3, *SIZE), np.float32)
    red[2, 16, 8] = 1 / 255
    path = write_onnx(tmp_path / "x.onnx", [rows], {5: red})
    tall = np.zeros((1, 64, 32, 3), np.uint8)
    tall[..., 0] = 204
    box, score, _ = only(Yolo(path, NAMES)(tall))
    assert score == pytest.approx(0.8)
    assert box == [8, 8, 24, 24]  # 4 to 12 in the input, over 0.5


def test_letterbox_of_yolo():
    picture, place = letterbox(np.full((10, 40, 3), 200, np.uint8), (32, 64))
    assert (place.scale, place.left, place.top) == (1.6, 0, 8)
    assert (picture[8:24] == 200).all()
    assert (picture[:8] == 114).all()
    assert (picture[24:] == 114).all()
    np.testing.assert_allclose(place.undo(np.array([[16, 8, 32, 24]])), [[10, 0, 20, 10]])


def test_names_come_from_the_file_where_ultralytics_wrote_them(tmp_path):
    columns = np.zeros((1, 6, 42), np.float32)
    path = write_onnx(tmp_path / "v8.onnx", [columns], names="{0: 'person', 1: 'tennis racket'}")
    assert Yolo(path).names == ("person", "tennis racket")
    assert Yolo(path, NAMES).names == NAMES
    with pytest.raises(DetectorError, match=r"has 2 classes. Expected as many names.*Received: 3 names"):
        Yolo(path, ("a", "b", "c"))
    with pytest.raises(DetectorError, match=r"has 2 classes.*Received: no names"):
        Yolo(write_onnx(tmp_path / "unnamed.onnx", [columns]))


@pytest.mark.parametrize(
    ("shapes", "size", "layout"),
    [
        ([(1, 25200, 85)], (640, 640), "v7"),
        ([(1, 25200, 85), (1, 3, 80, 80, 85), (1, 3, 40, 40, 85), (1, 3, 20, 20, 85)], (640, 640), "v7"),
        ([(1, 102000, 85)], (1280, 1280), "v7"),  # yolov7-w6, with a fourth grid
        ([(13, 7)], (640, 640), "v7-nms"),
        ([(1, 84, 8400)], (640, 640), "v8"),
        ([(1, 84, 8400), (1, 144, 80, 80)], (640, 640), "v8"),
        ([(1, 300, 6)], (640, 640), "v8-nms"),
        ([(1, 8400, 85)], (640, 640), "x"),
        ([(1, 3549, 85)], (416, 416), "x"),
        ([(1, 25200, 6)], (640, 640), "v7"),  # of one class
        ([(1, 5, 8400)], (640, 640), "v8"),
    ],
)
def test_published_shapes_are_known(shapes, size, layout):
    assert find_layout(shapes, size, "auto")[0] == layout


def test_shapes_that_are_not_known_are_told_with_what_is():
    with pytest.raises(DetectorError, match=r"a.onnx: outputs \(1, 3, 80, 80, 85\).*with --grid.*v7 exported"):
        find_layout([(1, 3, 80, 80, 85)], (640, 640), "auto", "a.onnx")
    with pytest.raises(DetectorError, match=r"outputs \(1, 1000\).*8400 grid cells"):
        find_layout([(1, 1000)], (640, 640), "auto", "a.onnx")
    with pytest.raises(DetectorError, match=r"Expected \(M, 7\)"):
        find_layout([(1, 84, 8400)], (640, 640), "v7-nms", "a.onnx")
    with pytest.raises(ValueError, match="layout='v9'"):
        Yolo("a.onnx", layout="v9")


def test_a_damaged_onnx_is_one_line(tmp_path):
    whole = write_onnx(tmp_path / "v8.onnx", [np.zeros((1, 6, 42))])
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(DetectorError, match=r"damaged.onnx: not an ONNX file, or a damaged one"):
        Yolo(damaged)
    grey = write_onnx(tmp_path / "grey.onnx", [np.zeros((1, 6, 42))], channels=1)
    with pytest.raises(DetectorError, match=r"inputs \[\[1, 1, 32, 64\]\]. Expected one, of pictures"):
        Yolo(grey)
    with pytest.raises(DetectorError, match=r"OpenCV .* cannot load or run it with input \(64, 64\)"):
        Yolo(whole, NAMES, size=(64, 64))


def test_a_free_size_in_the_file_is_640(tmp_path, monkeypatch):
    path = tmp_path / "free.onnx"
    path.write_bytes(data(7, data(11, value("images", (None, 3, None, None)))))
    assert yolo._read_header(path) == (None, {})


def test_kept_is_in_the_frame_sure_and_one_for_each_thing():
    boxes = [(-5, 0, 10, 10), (0, 0, 10, 10), (30, 0, 40, 10), (60, 0, 70, 10), (10, 20, 40, 60), (15, 21, 25, 59)]
    scores = [0.9, 0.8, 0.3, 0.9, 0.7, 0.9]
    found = kept(boxes, scores, [0, 0, 0, 0, 0, 0], (60, 50), score=0.5, nms=0.5)
    # The second repeats the first, the third is not sure, the fourth is outside, the last lies in the one before.
    assert found.boxes.tolist() == [[0, 0, 10, 10], [15, 21, 25, 59]]
    assert len(kept(boxes, scores, [0, 1, 0, 0, 0, 1], (60, 50), score=0.5, nms=0.5)) == 4  # two classes are two things
    assert kept([], [], [], (60, 50), 0.5, 0.5).boxes.shape == (0, 4)


def test_coco_names_are_spread_over_its_ids():
    assert (len(COCO_NAMES), len(COCO_IDS), COCO_IDS[-1]) == (80, 80, 90)
    assert class_names(80, None, "") == COCO_NAMES
    ninety = class_names(90, None, "")
    # Ids of instances_val2017.json, from 1 on: 13 is the stop sign, 37 the sports ball, 43 the tennis racket.
    assert (ninety[0], ninety[12], ninety[36], ninety[42], ninety[89]) == (
        "person", "stop sign", "sports ball", "tennis racket", "toothbrush",
    )  # fmt: skip
    assert class_names(91, None, "")[1:] == ninety
    assert class_names(2, ("???", "a", "b"), "") == ("a", "b")


def test_labels_are_lines_that_may_be_numbered(tmp_path):
    plain, numbered, empty = tmp_path / "plain.txt", tmp_path / "numbered.txt", tmp_path / "empty.txt"
    plain.write_text("person\ntennis racket\n")
    numbered.write_text("0  person\n2: ball\n")
    empty.write_text("\n")
    assert read_labels(plain) == ("person", "tennis racket")
    assert read_labels(numbered) == ("person", "unused 1", "ball")
    with pytest.raises(DetectorError, match="empty.txt: empty. Expected the names"):
        read_labels(empty)
    with pytest.raises(DetectorError, match="missing.txt: cannot be read"):
        read_labels(tmp_path / "missing.txt")


def test_concepts_are_classes_of_the_detector():
    with pytest.raises(DetectorError, match="does not know 'tenis racket'. Closest: tennis racket"):
        check_concepts(["person", "tenis racket"], COCO_NAMES, "The detector")
    with pytest.raises(DetectorError, match="once each. Received: person, person"):
        check_concepts(["person", "person"], COCO_NAMES, "The detector")
    with pytest.raises(DetectorError, match="At least one class"):
        check_concepts([], COCO_NAMES, "The detector")


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / "found.json"
    content = {
        "images": [
            {"id": 5, "file_name": "Archery/a.avi/000002.jpg"},
            {"id": 6, "video": "b.mp4", "frame": 0},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 43, "name": "tennis racket"}],
        "annotations": [
            {"image_id": 5, "category_id": 43, "bbox": [10, 20, 5, 6], "score": 0.8},
            {"image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.4},
            {"image_id": 6, "category_id": 1, "bbox": [1, 2, 30, 40]},
        ],
    }
    path.write_text(json.dumps(content))
    return path, content


def test_detections_in_coco_s_form(coco):
    detector = CocoDetections(coco[0], score=0.5)
    assert detector.names == ("person", "tennis racket")
    assert detector.videos == ("Archery/a.avi", "b.mp4")
    before, there = detector(np.zeros((2, 60, 60, 3), np.uint8), "Archery/a.avi", 1)
    assert len(before) == 0
    assert only([there])[0] == [10, 20, 15, 26]
    assert only([there])[2] == 1
    assert only(detector(np.zeros((1, 60, 60, 3), np.uint8), "b.mp4"))[:2] == ([1, 2, 31, 42], 1.0)
    with pytest.raises(DetectorError, match="has no image of c.mp4. It has 2 other videos"):
        detector(frame(), "c.mp4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 5, "file_name": "a.jpg"}]}, "'a.jpg' does not end in VIDEO/FRAME.jpg"),
        ({"categories": []}, "KeyError"),
        ({"annotations": [{"image_id": 5, "category_id": 1, "bbox": [1, 2]}]}, "ValueError"),
    ],
)
def test_json_of_another_form_is_told_what_is_expected(coco, change, message):
    path, content = coco
    path.write_text(json.dumps(content | change))
    with pytest.raises(DetectorError, match=message) as error:
        CocoDetections(path)
    assert "Expected images with" in str(error.value)


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


@pytest.mark.skipif(importlib.util.find_spec("keras_hub") is not None, reason="keras-hub is installed")
def test_a_preset_without_keras_hub_says_what_to_install():
    with pytest.raises(DetectorError, match=r"dfine_small_coco: is no file.*pip install har_tf\[detectors\]"):
        open_detector("dfine_small_coco")


def test_a_preset_is_fed_evenly_scaled_frames_and_its_boxes_are_undone(monkeypatch):
    """With a stand-in of keras-hub's interface: boxes (y1, x1, y2, x2) of the padded input, labels from 0 or -1."""
    import sys
    import types

    class Model:
        bounding_box_format, num_classes = "yxyx", 80
        preprocessor = types.SimpleNamespace(image_converter=types.SimpleNamespace(image_size=(32, 64)))
        prediction_decoder = types.SimpleNamespace(confidence_threshold=0.5)

        def predict(self, pictures, batch_size, verbose):
            assert pictures.shape == (1, 32, 64, 3)
            assert (pictures[0, :, 24:40] == 200).all()
            return {
                "boxes": np.array([[[8, 26, 24, 38], [-1, -1, -1, -1]]], np.float32),
                "confidence": np.array([[0.7, -1]], np.float32),
                "labels": np.array([[0, -1]]),
                "num_detections": np.array([1]),
            }

    hub = types.ModuleType("keras_hub")
    hub.__spec__ = importlib.util.spec_from_loader("keras_hub", None)
    hub.models = types.SimpleNamespace(ObjectDetector=types.SimpleNamespace(from_preset=lambda preset: Model()))
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    detector = KerasHubDetector("dfine_small_coco", score=0.3)
    assert Model.prediction_decoder.confidence_threshold == 0.3
    box, score, label = only(detector(np.full((1, 64, 32, 3), 200, np.uint8)))
    assert (box, label) == ([4, 16, 28, 48], 0)
    assert score == pytest.approx(0.7)


def test_a_failing_detector_names_the_frames():
    class Broken:
        names, settings = ("person",), {"file": "a.onnx"}

    message = r"a.onnx: the detector failed on b.mp4, frames 16 to 31 \(KeyError: 'x'\)"
    with pytest.raises(DetectorError, match=message), naming(Broken(), "b.mp4", 16, 16):
        raise KeyError("x")


def test_the_real_ssd_finds_the_person_in_a_real_frame(shared, capfd):
    from har_tf.video import read_clip

    weights = shared / "weights" / "ssd_mobilenet_v1_coco_detect.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = open_detector(weights, shared / "weights" / "coco_labels.txt")
    assert isinstance(detector, TFLiteDetector)
    assert len(detector.names) == 90
    assert detector.names[0] == "person"
    assert detector.names[36] == "sports ball"
    path = shared / "data" / "ucf10" / "JumpingJack" / "v_JumpingJack_g18_c01.avi"
    box, score, label = only(detector(read_clip(path, None, None, start=18, stop=19)))
    assert label == 0
    assert score > 0.7
    np.testing.assert_allclose(box, [109, 35, 181, 239], atol=3)
    assert capfd.readouterr().err == ""


def test_a_tflite_network_that_is_no_ssd_is_told_so(tmp_path):
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(model).get_concrete_function(tf.TensorSpec((1, 4)))], model
    )
    path = tmp_path / "dense.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(DetectorError, match=r"dense.tflite: .*Expected an SSD that ends in TFLite_Detection_PostProc"):
        open_detector(path)
    path.write_bytes(b"no network")
    with pytest.raises(DetectorError, match=r"dense.tflite: TFLite cannot load it"):
        open_detector(path)
