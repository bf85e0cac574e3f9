"""Trials of several splits and seeds: means, deviations and comparisons worked out by hand."""

import pytest

from har_tf.evaluate.bootstrap import wilson
from har_tf.evaluate.repeats import compare, confusion, interval_over_groups, spread

RIGHT, WRONG = (0, 0), (0, 1)


def trial(split, seed, accuracy, **answers):
    return {"split": split, "seed": seed, "accuracy": accuracy, "answers": answers}


# Clips x and y are test clips of both splits; of them the first split counts.
OURS = [
    trial(1, 0, 0.9, x=RIGHT, y=RIGHT), trial(2, 0, 1.0, y=WRONG, z=RIGHT),
    trial(1, 1, 0.9), trial(2, 1, 0.9), trial(1, 2, 0.8), trial(2, 2, 0.9),
]  # fmt: skip
THEIRS = [
    trial(1, 0, 0.8, x=WRONG, y=RIGHT), trial(2, 0, 0.9, y=RIGHT, z=WRONG),
    trial(1, 1, 0.9), trial(2, 1, 0.8), trial(1, 2, 0.9), trial(2, 2, 0.9),
]  # fmt: skip


def test_means_and_deviations_over_splits_and_seeds():
    found = spread(OURS, "accuracy", 10)
    assert found.mean == pytest.approx(0.9)
    assert found.over_splits == pytest.approx((2.8 - 2.6) / 3 / 2**0.5)  # 2.6 / 3 and 2.8 / 3
    assert found.over_seeds == pytest.approx(0.05)  # 0.95, 0.9 and 0.85
    assert found.interval is None, "the splits measure on other clips"


def test_one_split_has_an_interval_and_one_seed_no_deviation():
    found = spread(OURS[:1], "accuracy", 10)
    assert (found.mean, found.over_splits, found.over_seeds) == (0.9, None, None)
    assert found.interval == wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)


def test_rows_are_compared_over_seeds_and_over_the_clips_of_the_first_seed():
    compared = compare("ours", "theirs", OURS, THEIRS, "accuracy")
    # Means over splits 0.95, 0.9, 0.85 against 0.85, 0.85, 0.9: differences 0.1, 0.05, -0.05.
    assert compared.seeds.difference == pytest.approx(0.1 / 3)
    assert compared.seeds.wilcoxon == pytest.approx(6 / 8)  # ranks 3, 1.5 and -1.5
    assert (compared.clips.clips, compared.clips.only_first, compared.clips.only_second) == (3, 2, 0)
    assert compared.clips.p == 0.5
    assert (compared.first, compared.second, compared.unit) == ("ours", "theirs", "clip")
    assert compare("a", "b", OURS, THEIRS, "accuracy", "video").unit == "video"


def test_the_confusion_is_of_the_first_seed_on_all_splits():
    assert confusion(OURS, 2) == [[3, 1], [0, 0]]


def test_intervals_draw_whole_recordings_again():
    # Clips a and b were cut from one recording and are wrong; c, of the other, is right with one of two seeds.
    trials = [
        trial(1, 0, 1 / 3, a=WRONG, b=WRONG, c=RIGHT),
        trial(1, 1, 0.0, a=WRONG, b=WRONG, c=WRONG),
    ]  # fmt: skip
    assert interval_over_groups(trials, {"a": "g1", "b": "g1", "c": "g2"}) == (0, 0.5)
    assert interval_over_groups(trials[:1], {"a": "g1", "b": "g1", "c": "g2"}) == (0, 1)
    assert interval_over_groups(trials, dict.fromkeys("abc", "g1")) is None
    # A recording may hold clips of several classes; a clip of none stands alone, and without any there is no interval.
    label = RIGHT[0]
    other = trial(1, 0, 0.5, a=RIGHT, b=(1 - label, label))
    assert interval_over_groups([other], {"a": "g1", "b": "g1"}) is None
    assert interval_over_groups([other], {"a": "g1", "b": None}) == (0, 1)
    assert interval_over_groups([other], {"a": None, "b": None}) is None
