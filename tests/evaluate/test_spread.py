"""Which clips stand for many."""

import numpy as np

from har_tf.evaluate.spread import spread


def test_classes_take_turns_and_recordings_within_them():
    labels, recordings = np.array([0, 0, 0, 0, 1, 1, 2]), ["a", "a", "a", "b", "c", "c", "a"]
    assert spread(labels, recordings, 0) == []
    assert spread(labels, recordings, 3) == [0, 4, 6]
    assert spread(labels, recordings, 4) == [0, 3, 4, 6]  # of class 0 now recording b
    assert spread(labels, recordings, 99) == list(range(7))
