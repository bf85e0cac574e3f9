import numpy as np
import pytest

from har_tf.explain.explanation import Explanation, enlarge, saliency


def test_enlarging_interpolates_between_cell_centres():
    # Two cells over four pixels have their centres at 0.5 and 2.5: pixel 1 is a quarter of the way.
    maps = np.array([[[[0.0, 4.0]]]], "float32")
    np.testing.assert_allclose(enlarge(maps, (1, 1, 4)), [[[[0, 1, 3, 4]]]])
    np.testing.assert_allclose(enlarge(maps.reshape(1, 2, 1, 1), (4, 1, 1)).ravel(), [0, 1, 3, 4])
    np.testing.assert_allclose(enlarge(maps.reshape(1, 1, 2, 1), (2, 4, 1))[0, 1].ravel(), [0, 1, 3, 4])


def test_enlarging_agrees_with_opencv():
    import cv2

    small = np.random.default_rng(0).random((1, 1, 4, 6)).astype("float32")
    large = cv2.resize(small[0, 0], (50, 33), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(enlarge(small, (1, 33, 50))[0, 0], large, atol=1e-5)


def test_a_map_of_one_moment_holds_for_all_frames_and_size_one_stays():
    maps = np.array([[[[1.0, 2.0]]]], "float32")
    np.testing.assert_array_equal(enlarge(maps, (3, 1, 2)), np.repeat(maps, 3, axis=1))


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
