import json

import numpy as np
import pytest
from networks import frame, only

from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.coco_json import CocoDetections


def test_detections_in_coco_s_form(coco):
    detector = CocoDetections(coco[0], score=0.5)
    assert detector.names == ("person", "tennis racket")
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
