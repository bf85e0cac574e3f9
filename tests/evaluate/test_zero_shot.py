"""Answers of a model on classes of others, counted by hand."""

import numpy as np
import pytest

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.zero_shot import hits, measured

NAMES = [f"class {i}" for i in range(7)]


def ranked(*orders):
    """Probabilities (N, 7) of which the first of each order is largest; those that are not in it share the rest."""
    rows = np.full((len(orders), 7), 0.01)
    for row, order in zip(rows, orders, strict=True):
        row[list(order)] = np.linspace(0.5, 0.1, len(order))
    return rows


def test_hits_are_counted_among_the_first_and_the_first_five():
    probabilities = ranked((3, 1, 0, 2, 4), (3, 1, 0, 2, 4), (3, 1, 0, 2, 4))
    # 3 is first, 4 is fifth, and of 5 and 6, as probable, the first is sixth.
    assert hits(probabilities, np.array([3, 4, 5])).tolist() == [[True, True], [False, True], [False, False]]


def test_only_classes_that_an_output_stands_for_count():
    """Of labels 0, 0, 1, 1, 2 the outputs are 3, 3, 5, 5 and none."""
    probabilities = ranked((3,), (1, 3), (0, 5), (0, 1, 2, 3, 4), (6,))
    found = measured(probabilities, np.array([0, 0, 1, 1, 2]), {0: 3, 1: 5}, ["a", "a", "a", "b", "c"], NAMES)
    assert (found["videos"], found["top1"], found["top5"]) == (4, 0.25, 0.75)
    assert found["classes"] == [
        {"label": 0, "videos": 2, "top1": 0.5, "top5": 1.0, "answers": [("class 3", 1), ("class 1", 1)]},
        {"label": 1, "videos": 2, "top1": 0.0, "top5": 0.5, "answers": [("class 0", 2)]},
        {"label": 2, "videos": 1, "top1": None, "top5": None, "answers": [("class 6", 1)]},
    ]


def test_recordings_are_drawn_whole_whatever_their_classes():
    """Four videos of two recordings, right and wrong: resamples have none, half or all of them."""
    probabilities, groups = ranked((0,), (0,), (0,), (0,)), ["g1", "g1", "g2", "g2"]
    found = measured(probabilities, np.array([0, 0, 1, 1]), {0: 0, 1: 6}, groups, NAMES, Bootstrap(200))
    assert found["top1"] == 0.5
    assert found["top1_interval"] == pytest.approx((0, 1))
    alone = measured(probabilities, np.array([0, 0, 1, 1]), {0: 0, 1: 6}, ["g1"] * 4, NAMES)
    assert alone["top1_interval"] is None
