"""A temperature that is known is found again, and promises hold on the probabilities that it makes."""

import json

import numpy as np
import pytest

from har_tf.evaluate.calibration import Calibration, NotFitted, fit
from har_tf.evaluate.reliability import measure


def drawn(rng, clips, temperature, classes=5):
    """Logits and labels of a model whose logits have to be divided by `temperature`."""
    logits = rng.normal(size=(clips, classes)) * 2
    exponentials = np.exp(logits)
    labels = (rng.random((clips, 1)) > np.cumsum(exponentials / exponentials.sum(axis=1, keepdims=True), axis=1)).sum(1)
    return logits * temperature, labels


def test_the_best_temperature_of_two_classes_is_a_logarithm():
    # Logits (1, 0) for all, right in three of four: the best odds are e^(1 / T) = 3.
    scores, labels = np.tile([1.0, 0.0], (40, 1)), np.arange(40) % 4 // 3
    found = fit(scores, labels)
    assert found.temperature == pytest.approx(1 / np.log(3), rel=1e-4)
    np.testing.assert_allclose(found.probabilities(scores[:1]), [[0.75, 0.25]], atol=1e-4)
    assert found.probabilities(scores).dtype == np.float32


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature):
    rng = np.random.default_rng(0)
    scores, labels = drawn(rng, 4000, temperature)
    found = fit(scores, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert fit(log_probabilities, labels).temperature == pytest.approx(found.temperature, rel=1e-5)
    others, truth = drawn(rng, 800, temperature)
    calibrated = found.probabilities(others)
    error = measure(calibrated, truth).ece
    assert error.interval[0] == 0  # nothing but chance
    assert (calibrated.argmax(axis=1) == others.argmax(axis=1)).all()
    if temperature != 1:
        raw = measure(Calibration(1.0, 1).probabilities(others), truth)
        assert raw.ece.interval[0] > 0.02


def test_sets_and_threshold_hold_behind_a_temperature_of_the_same_clips():
    rng, covered, broken = np.random.default_rng(1), [], 0
    for _ in range(100):
        scores, labels = drawn(rng, 80, 3.0)
        found = fit(scores, labels, coverage=0.9)
        others, truth = drawn(rng, 100, 3.0)
        covered.append(found.sets.of(found.probabilities(others))[np.arange(100), truth].mean())
    assert np.mean(covered) >= 0.9 - 2 * np.std(covered) / 10
    for _ in range(40):
        scores, labels = drawn(rng, 150, 3.0)
        try:
            found = fit(scores, labels, precision=0.85)
        except ValueError:
            continue
        others, truth = drawn(rng, 2000, 3.0)
        answers = found.probabilities(others)
        kept = found.abstention.answers(answers)
        broken += (answers.argmax(axis=1) == truth)[kept].mean() < 0.85
    assert broken <= 4


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.eye(2)[[0, 1] * 6], [0, 1] * 6, "at least 20 clips. Received: 12"),
        (np.eye(2)[[0, 1] * 20], [0, 1] * 20, "all 40 clips are answered rightly"),
        (np.eye(2)[[0, 1] * 20], [1, 0] * 20, "no better than chance"),
    ],
)
def test_where_no_temperature_is_best_none_is_fitted(scores, labels, message):
    with pytest.raises(NotFitted, match=message):
        fit(scores, labels)


@pytest.mark.parametrize("scores", [np.full((30, 2), -np.inf), np.zeros((30, 2, 2)), np.zeros((29, 2))])
def test_wrong_scores_are_refused(scores):
    with pytest.raises(ValueError, match="finite scores") as raised:
        fit(scores, np.zeros(30, int))
    assert not isinstance(raised.value, NotFitted)


def test_a_calibration_comes_back_from_json():
    scores, labels = drawn(np.random.default_rng(2), 400, 2.0)
    groups = [str(i // 2) for i in range(400)]
    found = fit(scores, labels, groups, coverage=0.9, precision=0.7, about={"date": "2026-11-26"})
    assert found.recordings == 200
    assert Calibration.of(json.loads(json.dumps(found.as_dict()))) == found
    text = f"temperature {found.temperature:.3g}, fitted on 400 validation clips of 200 recordings"
    assert str(found) == f"probabilities are calibrated: {text}"
    assert str(Calibration(1.7, 120)).endswith("temperature 1.7, fitted on 120 validation clips")


@pytest.mark.parametrize(
    "changed",
    [{"temperature": 0}, {"temperature": "2"}, {"temperature": float("nan")}, {"clips": True}, {"more": 1},
     {"sets": {"coverage": 0.9}}, {"sets": 3}, {"about": 3}, {"temperature": -1}],
)  # fmt: skip
def test_what_is_no_calibration_is_refused(changed):
    with pytest.raises(ValueError, match="a calibration has temperature"):
        Calibration.of(Calibration(1.5, 30).as_dict() | changed)
    with pytest.raises(ValueError, match="a calibration has"):
        Calibration.of([1])
