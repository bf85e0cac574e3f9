import importlib.util
import sys
import types

import numpy as np
import pytest
from networks import only

from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.keras_hub import KerasHubDetector
from har_tf.concepts.detectors.open import open_detector


@pytest.mark.skipif(importlib.util.find_spec("keras_hub") is not None, reason="keras-hub is installed")
def test_a_preset_without_keras_hub_says_what_to_install():
    with pytest.raises(DetectorError, match=r"dfine_small_coco: is no file.*pip install har_tf\[detectors\]"):
        open_detector("dfine_small_coco")


def test_a_preset_is_fed_evenly_scaled_frames_and_its_boxes_are_undone(monkeypatch):
    """With a stand-in of keras-hub's interface: boxes (y1, x1, y2, x2) of the padded input, labels from 0 or -1."""

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
