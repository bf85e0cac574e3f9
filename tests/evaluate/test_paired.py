"""Means and paired differences against those worked out by hand, and how often chance passes for a difference."""

import json

import numpy as np
import pytest

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.comparison import Verdict
from har_tf.evaluate.paired import difference, mean_of


def test_a_mean_counts_what_it_leaves_out():
    found = mean_of([1, None, 3, np.nan, 5], ["a", "b", "a", "c", "d"])
    assert found.as_dict() == {"mean": 3.0, "interval": [2.0, 5.0], "clips": 3, "groups": 2, "left_out": 2}


def test_recordings_are_drawn_as_wholes():
    # Of two recordings with the means 2 and 5, a resample is one of them twice, or (1 + 3 + 5) / 3.
    assert mean_of([1, 3, 5], ["a", "a", "b"], Bootstrap(level=0.2)).interval == (3.0, 3.0)


def test_clips_without_a_group_stand_alone():
    assert mean_of([0, 1]).groups == 2
    assert mean_of([0, 1, 2], [None, None, "1"]).groups == 3


@pytest.mark.parametrize(("values", "mean"), [([2, 4], 3), ([None, None], None), ([], None)])
def test_without_two_recordings_there_is_no_interval(values, mean):
    found = difference(values, [0] * len(values), ["a"] * len(values))
    assert (found.mean, found.interval, found.p, found.verdict) == (mean, None, None, Verdict.NOT_SHOWN)


def test_pairs_count_where_both_have_a_value():
    found = difference([3, None, 5, 7], [1, 1, np.nan, 1])
    assert (found.mean, found.clips, found.left_out) == (4, 2, 2)


@pytest.mark.parametrize(("less", "verdicts"), [(False, ("better", "worse")), (True, ("worse", "better"))])
def test_what_is_larger_in_every_recording(less, verdicts):
    large, small = np.arange(8) + 1.0, np.zeros(8)
    found = [difference(*pair, less_is_better=less) for pair in ((large, small), (small, large))]
    assert tuple(each.verdict for each in found) == verdicts
    assert [each.mean for each in found] == [4.5, -4.5]
    assert found[0].p == pytest.approx(2 / 2**8, abs=0.003)
    assert json.loads(json.dumps(found[0].as_dict()))["verdict"] == verdicts[0]


def test_clips_of_one_recording_are_no_further_evidence():
    # Three recordings that agree show nothing: chance agrees in one case of four.
    found = difference(np.ones(300) + np.arange(300) % 2, np.zeros(300), np.arange(300) // 100)
    assert found.interval[0] > 0 and found.p == pytest.approx(0.25, abs=0.02)
    assert found.verdict is Verdict.NOT_SHOWN


def test_what_is_equal_on_paper_shows_nothing():
    assert difference(np.full(50, 0.1 + 0.2), np.full(50, 0.3)).verdict is Verdict.NOT_SHOWN
    assert difference(np.full(50, 3e5, np.float32) + np.float32(0.05), np.full(50, 3e5)).verdict is Verdict.NOT_SHOWN


@pytest.mark.parametrize("recordings", [2, 6, 12])
def test_chance_passes_for_a_difference_in_five_of_a_hundred_cases_at_most(recordings):
    rng = np.random.default_rng(0)
    quick = Bootstrap(resamples=200)
    found = [difference(rng.normal(size=recordings), np.zeros(recordings), bootstrap=quick) for _ in range(300)]
    alone = np.mean([d.interval[0] > 0 or d.interval[1] < 0 for d in found])
    shown = np.mean([d.verdict is not Verdict.NOT_SHOWN for d in found])
    assert shown <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300), "two standard errors above the level"
    assert recordings > 2 or (alone > 0.4 and shown == 0), "the interval of two recordings is chance"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1]), "Received: 2 and 1"),
        (([1, np.inf], [1, 2]), "first must be one finite number a clip.*1 infinite"),
        (([[1]], [[2]]), r"shape \(1, 1\)"),
        (([1, 2], [1, 2], ["a"]), "2 clips and 1 recordings"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        difference(*arguments)
