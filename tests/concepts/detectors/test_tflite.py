import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import only

from har_tf.concepts.detectors.base import DetectorError
from har_tf.concepts.detectors.open import open_detector
from har_tf.concepts.detectors.tflite import TFLiteDetector, TFLiteNetwork
from har_tf.video import read_clip


def test_the_real_ssd_finds_the_person_in_a_real_frame(shared, capfd):
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
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(model).get_concrete_function(tf.TensorSpec((1, 4)))], model
    )
    path = tmp_path / "dense.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(DetectorError, match=r"dense.tflite: .*Expected an SSD that ends in TFLite_Detection_PostProc"):
        TFLiteNetwork(path)
    path.write_bytes(b"no network")
    with pytest.raises(DetectorError, match=r"dense.tflite: TFLite cannot load it"):
        TFLiteNetwork(path)


def test_a_file_that_crashes_tflite_is_an_error(shared, tmp_path, capfd):
    """Cut off before its last tables, which say how long they are: the interpreter reads beyond the file's end."""
    path = tmp_path / "cut.tflite"
    path.write_bytes((shared / "weights" / "ssd_mobilenet_v1_coco_detect.tflite").read_bytes()[:2_000_000])
    # What lies there decides whether it dies of that or says what it misses.
    why = r"cut.tflite: (cannot be used: .*died of SIG|TFLite cannot load it).*Expected a"
    with pytest.raises(DetectorError, match=why):
        open_detector(path)
    assert capfd.readouterr().err == ""
