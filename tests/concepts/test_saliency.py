"""How alike maps are."""

import numpy as np
import pytest

from har_tf.concepts.saliency import alike


def test_maps_that_only_mirror_correlate_perfectly():
    maps = np.random.default_rng(0).random((3, 4, 5, 6)).astype("float32")
    assert alike(maps, maps) == {"mean": pytest.approx(1), "clips": 3}
    assert abs(alike(maps, maps[:, ::-1])["mean"]) < 0.4
    maps[0] = 0
    assert alike(maps, maps) == {"mean": pytest.approx(1), "clips": 2}, "an empty map does not count"
