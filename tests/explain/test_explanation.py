import numpy as np
import pytest

from har_tf.explain.explanation import Explanation, saliency


def test_normalisations():
    signed = np.array([[[[2.0, -4.0]], [[0.5, 1.0]], [[-1.0, -2.0]]]])  # (1, 3, 1, 2)
    raw = [[[[2, 0]], [[0.5, 1]], [[0, 0]]]]
    np.testing.assert_array_equal(saliency(signed, (3, 1, 2), None), raw)
    np.testing.assert_array_equal(saliency(signed, (3, 1, 2), "clip"), np.array(raw) / 2)
    np.testing.assert_array_equal(saliency(signed, (3, 1, 2), "frame"), [[[[1, 0]], [[0.5, 1]], [[0, 0]]]])
    with pytest.raises(ValueError, match=r"normalize is one of 'clip', 'frame', None. Received: normalize='video'"):
        saliency(signed, (3, 1, 2), "video")


def test_tiny_evidence_is_scaled_like_any_other():
    signed = np.array([[[[1e-30, 5e-31]]]], "float32")
    np.testing.assert_allclose(saliency(signed, (1, 1, 2)), [[[[1, 0.5]]]], rtol=1e-6)


def test_empty_and_only():
    maps = np.zeros((3, 2, 1, 1), "float32")
    maps[1, 0] = 1
    numbers = np.arange(3)
    explanation = Explanation(maps, maps, numbers, numbers / 2, numbers / 10, "Grad-CAM", {"tap": "c"})
    assert explanation.empty.tolist() == [True, False, True]
    last = explanation.only(-1)
    assert len(last) == 1
    assert (last.class_index[0], last.score[0], last.settings) == (2, 1.0, {"tap": "c"})
    with pytest.raises(ValueError, match=r"holds 3 clips. Received: index=3"):
        explanation.only(3)
