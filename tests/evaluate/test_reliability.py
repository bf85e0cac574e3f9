"""Calibration error, Brier score and log loss, by hand, against scikit-learn, and where the truth is known."""

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from har_tf.evaluate.reliability import measure

# Confidences 0.6, 0.6, 0.9, 0.9, of which the first and the last two are right.
FOUR = np.array([[0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.05, 0.05, 0.9], [0.9, 0.1, 0.0]])
LABELS = [0, 2, 2, 0]


def test_numbers_that_are_worked_out_by_hand():
    found = measure(FOUR, LABELS, bins=2)  # all four in the upper half
    assert found.accuracy == 0.75
    assert found.confidence == pytest.approx(0.75)
    assert found.ece.value == pytest.approx(0)
    found = measure(FOUR, LABELS, bins=10)  # |0.6 - 0.5| and |0.9 - 1|, half of the clips each
    assert found.ece.value == pytest.approx(0.1)
    filled = [(bar.low, bar.high, bar.clips, bar.confidence, bar.accuracy) for bar in found.ece.bins if bar.clips]
    assert filled == [pytest.approx((0.5, 0.6, 2, 0.6, 0.5)), pytest.approx((0.8, 0.9, 2, 0.9, 1))]
    assert len(found.ece.bins) == 10
    # (0.16 + 0.09 + 0.01), (0.04 + 0.36 + 0.64), (0.0025 + 0.0025 + 0.01), (0.01 + 0.01 + 0)
    assert found.brier_by_clip == pytest.approx((0.26, 1.04, 0.015, 0.02))
    assert found.brier == pytest.approx(1.335 / 4)
    assert found.log_loss == pytest.approx(-np.log([0.6, 0.2, 0.9, 0.9]).mean())


def test_bins_of_equal_mass():
    confidence = np.array([0.55, 0.6, 0.7, 0.95])
    found = measure(np.stack([confidence, 1 - confidence], axis=1), [0, 1, 0, 0], bins=2)
    bars = [(bar.clips, bar.confidence, bar.accuracy) for bar in found.ece_equal_mass.bins]
    assert bars == [pytest.approx((2, 0.575, 0.5)), pytest.approx((2, 0.825, 1))]
    assert found.ece_equal_mass.value == pytest.approx((0.075 + 0.175) / 2)
    tied = measure(np.full((6, 2), 0.5), [0, 0, 0, 1, 1, 1], bins=3)
    assert [bar.clips for bar in tied.ece_equal_mass.bins] == [6]
    assert len(measure(FOUR, LABELS, bins=15).ece_equal_mass.bins) <= 4


def test_the_same_as_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1, 1], 300)
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    found = measure(probabilities, labels, bins=10)
    assert found.log_loss == pytest.approx(log_loss(labels, probabilities))
    each = [brier_score_loss(labels == i, probabilities[:, i]) for i in range(4)]
    assert found.brier == pytest.approx(sum(each))
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for error, strategy in ((found.ece, "uniform"), (found.ece_equal_mass, "quantile")):
        accuracies, confidences = calibration_curve(right, confidence, n_bins=10, strategy=strategy)
        own = [(bar.accuracy, bar.confidence) for bar in error.bins if bar.clips]
        np.testing.assert_allclose(own, np.stack([accuracies, confidences], axis=1), atol=0.02)


def answered(rng, clips, too_sure, each=1):
    """Two classes with confidences from 0.55 to 1, of which fewer are right; every clip comes `each` times."""
    confidence = rng.uniform(0.55, 1, clips // each)
    labels = (rng.random(clips // each) >= confidence - too_sure).astype(int)
    confidence, labels = np.repeat(confidence, each), np.repeat(labels, each)
    return np.stack([confidence, 1 - confidence], axis=1), labels, np.arange(clips) // each


@pytest.mark.parametrize(("too_sure", "each"), [(0, 1), (0, 5), (0.2, 1), (0.2, 5)])
def test_the_interval_holds_the_true_error(too_sure, each):
    rng, held, chance = np.random.default_rng(1), [], []
    for _ in range(40):
        probabilities, labels, groups = answered(rng, 300, too_sure, each)
        error = measure(probabilities, labels, [str(g) for g in groups]).ece
        held.append(error.interval[0] <= too_sure <= error.interval[1])
        chance.append((error.value, error.by_chance))
    assert np.mean(held) >= 0.8
    value, by_chance = np.mean(chance, axis=0)
    if not too_sure:
        assert value == pytest.approx(by_chance, rel=0.15)  # nothing but chance
    else:
        assert value > 1.3 * by_chance


def test_clips_of_one_recording_count_as_one():
    probabilities, labels, groups = answered(np.random.default_rng(2), 200, 0.1, each=10)
    alone, together = measure(probabilities, labels), measure(probabilities, labels, [str(g) for g in groups])
    assert (alone.recordings, together.recordings) == (200, 20)

    def width(interval):
        return interval[1] - interval[0]

    assert width(together.log_loss_interval) > 2 * width(alone.log_loss_interval)
    single = measure(probabilities, labels, ["a"] * 200)
    assert single.ece.interval is single.brier_interval is single.ece.by_chance is None
    found = json.loads(json.dumps(together.as_dict()))
    assert found["ece"]["bins"][-1]["clips"] > 0 and "brier_by_clip" not in found


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (FOUR, [0, 1], r"N labels.*\(4, 3\) and \(2,\)"),
        (FOUR, [0, 1, 2, 3], "0 to 2.*0 to 3"),
        (FOUR, [0.0, 1, 1, 1], "whole numbers"),
        (np.full((4, 3), 0.9), LABELS, "sum to 1.*sum of 2.7"),
        (np.full((4, 3), np.nan), LABELS, "sum to 1"),
        (np.zeros((0, 3)), [], "at least one clip"),
    ],
)
def test_what_is_no_distribution_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        measure(probabilities, labels)
