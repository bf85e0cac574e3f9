"""YOLO's layouts as tiny ONNX networks that OpenCV runs, and what is refused."""

import numpy as np
import pytest
from networks import NAMES, SIZE, data, frame, number, only, value, write_onnx

from har_tf.concepts.detectors import yolo
from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.yolo import Yolo, YoloNetwork, decode, find_layout


def rows_of(count: int, classes: int, row: dict[int, list]) -> np.ndarray:
    rows = np.zeros((1, count, 5 + classes), np.float32)
    for place, values in row.items():
        rows[0, place] = values
    return rows


def test_v7_is_centre_size_objectness_classes(tmp_path):
    rows = rows_of(3 * 42, 2, {100: [20, 16, 8, 10, 0.9, 0.2, 0.8]})
    detector = YoloNetwork(write_onnx(tmp_path / "v7.onnx", [rows]), NAMES)
    assert detector.layout == "v7"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([16, 11, 24, 21], 1)
    assert score == pytest.approx(0.72)


def test_v7_of_one_class_has_its_objectness_as_score(tmp_path):
    rows = rows_of(3 * 42, 1, {7: [20, 16, 8, 10, 0.9, 0.5]})
    box, score, _ = only(YoloNetwork(write_onnx(tmp_path / "v7.onnx", [rows]), ("ball",))(frame()))
    assert box == [16, 11, 24, 21]
    assert score == pytest.approx(0.9)


def test_v7_with_its_raw_heads_beside_it(tmp_path):
    """--grid alone gives the decoded rows and three outputs (1, 3, h, w, 5 + C)."""
    rows = rows_of(3 * 42, 2, {0: [20, 16, 8, 10, 1, 1, 0]})
    detector = YoloNetwork(write_onnx(tmp_path / "v7.onnx", [rows, np.zeros((1, 3, 4, 8, 7))]), NAMES)
    assert only(detector(frame()))[0] == [16, 11, 24, 21]


def test_v7_exported_with_nms(tmp_path):
    rows = [[0, 4, 5, 20, 25, 1, 0.7]]
    detector = YoloNetwork(write_onnx(tmp_path / "nms.onnx", [rows]), NAMES)
    assert detector.layout == "v7-nms"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([4, 5, 20, 25], 1)
    assert score == pytest.approx(0.7)


def test_v8_is_transposed_and_has_no_objectness(tmp_path):
    columns = np.zeros((1, 6, 42), np.float32)
    columns[0, :, 30] = [20, 16, 8, 10, 0.2, 0.8]
    detector = YoloNetwork(write_onnx(tmp_path / "v8.onnx", [columns]), NAMES)
    assert detector.layout == "v8"
    box, score, label = only(detector(frame()))
    assert (box, label) == ([16, 11, 24, 21], 1)
    assert score == pytest.approx(0.8)


def test_v8_exported_with_nms(tmp_path):
    rows = np.zeros((1, 3, 6), np.float32)  # rows that hold nothing are zero
    rows[0, 0] = [4, 5, 20, 25, 0.7, 1]
    detector = YoloNetwork(write_onnx(tmp_path / "v10.onnx", [rows]), NAMES)
    assert detector.layout == "v8-nms"
    assert only(detector(frame()))[0] == [4, 5, 20, 25]


@pytest.mark.parametrize(
    ("place", "corner", "stride"),
    [(0, (0, 0), 8), (8 + 3, (3, 1), 8), (32 + 4 + 2, (2, 1), 16), (40 + 1, (1, 0), 32)],
)
def test_x_is_decoded_by_the_grid(tmp_path, place, corner, stride):
    """Cells are counted row by row on the grids of strides 8, 16 and 32; sides are exponentials."""
    rows = rows_of(42, 2, {place: [0.5, 0.25, np.log(0.5), np.log(0.25), 0.9, 1, 0]})
    detector = YoloNetwork(write_onnx(tmp_path / "x.onnx", [rows]), NAMES)
    assert detector.layout == "x"
    boxes, scores, _ = decode(rows, "x", SIZE)
    x, y = ((corner[0] + 0.5) * stride, (corner[1] + 0.25) * stride)
    expected = [x - stride / 4, y - stride / 8, x + stride / 4, y + stride / 8]
    np.testing.assert_allclose(boxes[place], expected, rtol=1e-6)
    assert scores[place] == pytest.approx(0.9)
    np.testing.assert_allclose(only(detector(frame()))[0], np.clip(expected, 0, [64, 32, 64, 32]), rtol=1e-6)


def test_x_that_is_decoded_in_the_network_needs_to_be_named(tmp_path):
    rows = rows_of(42, 2, {3: [20, 16, 8, 10, 0.9, 1, 0]})
    detector = YoloNetwork(write_onnx(tmp_path / "x.onnx", [rows]), NAMES, layout="x-decoded")
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
    box, score, _ = only(YoloNetwork(path, NAMES)(tall))
    assert score == pytest.approx(0.8)
    assert box == [8, 16, 24, 48]  # (x - 24) / 0.5 and y / 0.5


def test_x_gets_bgr_in_0_to_255_in_the_corner(tmp_path):
    rows = rows_of(42, 2, {0: [1, 1, 0, 0, 1, 0, 0]})
    red = np.zeros((3, *SIZE), np.float32)
    red[2, 16, 8] = 1 / 255
    path = write_onnx(tmp_path / "x.onnx", [rows], {5: red})
    tall = np.zeros((1, 64, 32, 3), np.uint8)
    tall[..., 0] = 204
    box, score, _ = only(YoloNetwork(path, NAMES)(tall))
    assert score == pytest.approx(0.8)
    assert box == [8, 8, 24, 24]  # 4 to 12 in the input, over 0.5


def test_names_come_from_the_file_where_ultralytics_wrote_them(tmp_path):
    columns = np.zeros((1, 6, 42), np.float32)
    path = write_onnx(tmp_path / "v8.onnx", [columns], names="{0: 'person', 1: 'tennis racket'}")
    assert YoloNetwork(path).names == ("person", "tennis racket")
    assert YoloNetwork(path, NAMES).names == NAMES
    with pytest.raises(DetectorError, match=r"has 2 classes. Expected as many names.*Received: 3 names"):
        YoloNetwork(path, ("a", "b", "c"))
    with pytest.raises(DetectorError, match=r"has 2 classes.*Received: no names"):
        YoloNetwork(write_onnx(tmp_path / "unnamed.onnx", [columns]))


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
        YoloNetwork(damaged)
    grey = write_onnx(tmp_path / "grey.onnx", [np.zeros((1, 6, 42))], channels=1)
    with pytest.raises(DetectorError, match=r"inputs \[\[1, 1, 32, 64\]\]. Expected one, of pictures"):
        YoloNetwork(grey)
    with pytest.raises(DetectorError, match=r"OpenCV .* cannot load or run it with input \(64, 64\)"):
        YoloNetwork(whole, NAMES, size=(64, 64))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (number(14, 2**50), "a number where a message should be"),
        (data(14, number(1, 2**40)), "a number where a name should be"),  # of which `bytes` would make a terabyte
        (data(14, data(1, b"\xff")), "can't decode byte"),
        (data(14, data(1, "names") + data(2, "(" * 100_000)), "has 2 classes.*Received: no names"),
        (data(14, data(1, "names") + data(2, "-" * 100_000 + "1")), "has 2 classes.*Received: no names"),
    ],
)
def test_damaged_metadata_are_one_line(tmp_path, more, message):
    path = write_onnx(tmp_path / "v8.onnx", [np.zeros((1, 6, 42))])
    with path.open("ab") as file:
        file.write(more)
    with pytest.raises(DetectorError, match=f"v8.onnx: .*{message}"):
        YoloNetwork(path)


def test_a_free_size_in_the_file_is_640(tmp_path, monkeypatch):
    path = tmp_path / "free.onnx"
    path.write_bytes(data(7, data(11, value("images", (None, 3, None, None)))))
    assert yolo._read_header(path) == (None, {})
