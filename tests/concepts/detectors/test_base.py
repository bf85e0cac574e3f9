"""What all detectors share: names of classes, boxes that are kept, the letterbox, errors that name the frames."""

import numpy as np
import pytest

from har_tf.concepts.detectors.base import (
    COCO_IDS,
    COCO_NAMES,
    DetectorError,
    check_concepts,
    class_names,
    kept,
    letterbox,
    naming,
    read_labels,
)


def test_letterbox_of_yolo():
    picture, place = letterbox(np.full((10, 40, 3), 200, np.uint8), (32, 64))
    assert (place.scale, place.left, place.top) == (1.6, 0, 8)
    assert (picture[8:24] == 200).all()
    assert (picture[:8] == 114).all()
    assert (picture[24:] == 114).all()
    np.testing.assert_allclose(place.undo(np.array([[16, 8, 32, 24]])), [[10, 0, 20, 10]])


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


def test_a_failing_detector_names_the_frames():
    class Broken:
        names, settings = ("person",), {"file": "a.onnx"}

    message = r"a.onnx: the detector failed on b.mp4, frames 16 to 31 \(KeyError: 'x'\)"
    with pytest.raises(DetectorError, match=message), naming(Broken(), "b.mp4", 16, 16):
        raise KeyError("x")
