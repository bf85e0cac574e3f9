"""Empty maps, and when a map sees evidence."""

import numpy as np

from har_tf.evaluate.evidence import Evidence


def test_empty_clips_and_frames_are_counted():
    maps = np.zeros((2, 3, 4, 4))
    maps[1, 2, 0, 0] = 0.5
    found = Evidence.of(maps, (np.array([0, 1, 1]), np.array([0, 0, 2])), np.ones((2, 3), bool))
    assert found.clips.tolist() == [False, True]
    assert found.frames.tolist() == [False, False, True]
    assert np.isnan(found.when).all(), "all frames have a box"


def test_when_counts_pairs_of_frames():
    """Frames 0 and 1 have a box. Of the pairs (0, 2), (0, 3), (1, 2), (1, 3) two have more, one ties."""
    maps = np.array([3.0, 1.0, 2.0, 1.0]).reshape(1, 4, 1, 1)
    boxed = np.array([[True, True, False, False]])
    at = (np.array([0]), np.array([0]))
    assert Evidence.of(maps, at, boxed).when.tolist() == [2.5 / 4]
    assert Evidence.of(maps * 0, at, boxed).when.tolist() == [0.5], "an empty map tells nothing apart"
