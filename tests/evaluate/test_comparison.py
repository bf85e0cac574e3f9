"""Paired tests against probabilities worked out by hand."""

import itertools
import json
import math

import numpy as np
import pytest

from har_tf.evaluate.comparison import Comparison, Verdict, over_clips, over_groups, over_seeds, probability


def test_five_seeds_of_which_all_gain():
    # Differences 1 to 5 points: mean 3, s = sqrt(2.5), t = 3 / (s / sqrt(5)) = 4.2426 = 3 sqrt(2) at 4 degrees.
    # Student's t with 4 degrees has P(|T| < t) = (3 x - x^3) / 2 with x = t / sqrt(t^2 + 4).
    result = over_seeds([0.81, 0.82, 0.83, 0.84, 0.85], [0.8] * 5)
    x = math.sqrt(18) / math.sqrt(18 + 4)
    assert result.difference == pytest.approx(0.03)
    assert result.deviation == pytest.approx(0.01 * math.sqrt(2.5))
    assert result.t_test == pytest.approx(1 - (3 * x - x**3) / 2)
    assert result.wilcoxon == result.wilcoxon_floor == 2 / 2**5 == 0.0625


def test_ranks_with_ties_and_zeros_are_exact():
    # Differences 1, 1, 0, 2, 2: the zero is left out; of the 16 signs of the rest only all + and all - are as uneven.
    result = over_seeds([0.6, 0.6, 0.5, 0.7, 0.7], [0.5] * 5)
    assert result.wilcoxon == pytest.approx(2 / 16)
    # One small loss, ranks -1 and 2 to 5: W- = 1; sums 0 and 1 have one sign pattern each: 4 of 32, both sides.
    assert over_seeds([0.49, 0.52, 0.53, 0.54, 0.55], [0.5] * 5).wilcoxon == pytest.approx(4 / 32)


def test_fifteen_seeds_with_ties_are_exact_too():
    steps = np.array([1, -1, 2, -2, 2, 3, -3, 1, -1, 1, 4, -5, 0, 2, -3])
    # Every way to give the ranks of the 14 that are not zero a sign, counted: no formula, no library.
    sizes = np.abs(steps[steps != 0])
    ranks = np.array([(sizes < size).sum() + ((sizes == size).sum() + 1) / 2 for size in sizes])
    sums = np.array(list(itertools.product((0, 1), repeat=len(ranks)))) @ ranks
    seen = ranks[steps[steps != 0] > 0].sum()
    expected = min(1, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
    assert over_seeds(0.5 + steps / 100, [0.5] * 15).wilcoxon == pytest.approx(expected, abs=1e-12)
    assert over_seeds(0.5 - steps / 100, [0.5] * 15).wilcoxon == pytest.approx(expected, abs=1e-12)


def test_where_there_is_no_spread_there_is_no_t_test():
    same = over_seeds([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])
    assert (same.t_test, same.deviation, same.wilcoxon) == (None, 0.0, 2 / 2**3)
    equal = over_seeds([0.5, 0.6], [0.5, 0.6])
    assert (equal.difference, equal.t_test, equal.wilcoxon) == (0, None, 1)
    single = over_seeds([0.7], [0.5])
    assert (single.pairs, single.deviation, single.t_test, single.wilcoxon) == (1, None, None, None)


def test_mcnemar_of_eight_against_one():
    # 9 clips on which only one is right, 8 : 1. Two-sided: 2 (1 + 9) / 2^9.
    y_true = [0] * 12
    first = [0] * 8 + [1] + [0] * 2 + [1]
    second = [1] * 8 + [0] + [0] * 2 + [1]
    result = over_clips(y_true, first, second)
    assert (result.clips, result.only_first, result.only_second) == (12, 8, 1)
    assert result.p == pytest.approx(20 / 512)
    assert result.difference == pytest.approx(7 / 12)
    assert over_clips([0, 1], [0, 0], [0, 0]).p == 1


def compared(first, second, only_first, only_second, clips=100, unit="clip"):
    y_true = [0] * clips
    answers = [0] * only_first + [1] * only_second + [0] * (clips - only_first - only_second)
    others = [1] * only_first + [0] * only_second + [0] * (clips - only_first - only_second)
    tests = over_seeds(first, second), over_clips(y_true, answers, others)
    return Comparison("Fusion", "GoogLeNet", *tests, unit)


GAIN = ([0.81, 0.82, 0.83, 0.84, 0.85], [0.8] * 5)  # p = 0.0132


@pytest.mark.parametrize(
    ("case", "verdict", "words"),
    [
        (compared(*GAIN, 12, 1), "better", "better (p = 0.0132)"),  # McNemar: 2 (1 + 13) / 2^13 = 0.0034
        # 2 (1 + 7 + 21) / 2^7
        (compared(*GAIN, 5, 2), "not shown", "better over seeds, but not shown over clips (p = 0.45)"),
        (compared(*GAIN, 5, 2, unit="video"), "not shown", "better over seeds, but not shown over videos (p = 0.45)"),
        (compared(*reversed(GAIN), 1, 12), "worse", "worse (p = 0.0132)"),
        (compared(*reversed(GAIN), 12, 1), "not shown", "not better (over seeds: p = 0.0132)"),
        (compared([0.8, 0.7, 0.9], [0.8, 0.9, 0.7], 3, 3), "not shown", "not better (over seeds: p = 1.00)"),
        (compared([0.9], [0.8], 12, 1), "better", "better (p = 0.00342)"),
        (compared([0.9], [0.8], 5, 2, unit="video"), "not shown", "not better (over videos: p = 0.45)"),
    ],
)
def test_verdicts(case, verdict, words):
    assert case.verdict is Verdict(verdict)
    assert case.sentences()[0].startswith(f"Fusion against GoogLeNet: {words}; ")
    stored = json.loads(json.dumps(case.as_dict()))
    assert (stored["verdict"], stored["unit"], stored["sentences"]) == (verdict, case.unit, case.sentences())
    assert stored["seeds"]["difference"] == case.seeds.difference


def test_sentences_tell_the_floor_of_five_seeds():
    text = " ".join(compared(*GAIN, 5, 2).sentences())
    assert text.startswith(
        "Fusion against GoogLeNet: better over seeds, but not shown over clips (p = 0.45); +3.00 points."
    )
    assert "paired t-test p = 0.0132; Wilcoxon's signed-rank test p = 0.0625" in text
    assert "with 5 seeds it cannot be below 0.0625" in text
    assert "Over the 100 test clips of the first seed: 5 only Fusion got right, 2 only GoogLeNet" in text
    assert "Over the 100 test videos of the first seed" in compared(*GAIN, 5, 2, unit="video").sentences()[-1]
    same = " ".join(compared([0.9, 0.8], [0.8, 0.7], 5, 2).sentences())
    assert "+10.00 points, the same for all, so there is no t-test; Wilcoxon's signed-rank test p = 0.50" in same
    assert "no test over seeds" in " ".join(compared([0.9], [0.8], 5, 2).sentences())


def test_probabilities_are_printed_with_the_digits_that_count():
    assert [probability(p) for p in (1, 0.45, 0.0132, 0.0034, 0.00005)] == [
        "1.00", "0.45", "0.0132", "0.00340", "below 0.001",
    ]  # fmt: skip


@pytest.mark.parametrize("pair", [([], []), ([0.5], [0.5, 0.6])])
def test_wrong_pairs_are_refused(pair):
    with pytest.raises(ValueError, match="Received: shapes"):
        over_seeds(*pair)


def test_wrong_answers_are_refused():
    with pytest.raises(ValueError, match="Received: shapes"):
        over_clips([0, 1], [0, 1], [0])


def test_groups_are_flipped_together():
    """Three groups that all point one way: of the 8 ways to sign them two are as far; drawn 9999 times."""
    differences, groups = np.array([1.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 2])
    assert over_groups(differences, groups) == pytest.approx(2 / 8, abs=0.02)
    assert over_groups(differences * [1, -1, 0, 0], groups) == 1
    assert over_groups(np.ones(40), np.arange(40)) == pytest.approx(1 / 10000)
