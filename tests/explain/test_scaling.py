"""Maps divided by their largest value."""

import numpy as np

from har_tf.explain.scaling import divided, scaled

MAPS = np.array([[[[0, 2], [4, 0]], [[1, 0], [0, 0]]], np.zeros((2, 2, 2))], np.float32)  # (2, 2, 2, 2)


def test_by_the_maximum_of_a_clip_or_a_frame():
    assert scaled(MAPS, "clip")[0].tolist() == [[[0, 0.5], [1, 0]], [[0.25, 0], [0, 0]]]
    assert scaled(MAPS, "frame")[0].tolist() == [[[0, 0.5], [1, 0]], [[1, 0], [0, 0]]]
    assert scaled(MAPS, None) is MAPS
    assert not scaled(MAPS, "clip")[1].any() and not scaled(MAPS, "frame")[1].any(), "nothing stays nothing"


def test_tiny_numbers_are_divided_rightly_and_nothing_is_divided_by_what_is_not_positive():
    tiny = np.full((1, 2), 1e-40, np.float32)
    assert divided(tiny, tiny).tolist() == [[1, 1]]
    assert not divided(np.ones(2, np.float32), np.array([0.0, -1.0], np.float32)).any()
