"""Draws of whole sources."""

import numpy as np

from har_tf.concepts.study import redrawn


def test_sources_are_drawn_as_wholes():
    rows = redrawn(["a", "b", "a", "c"], np.random.default_rng(0))
    assert rows.count(0) == rows.count(2), "both clips of a come together"
