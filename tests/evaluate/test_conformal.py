"""The bound by hand, and the coverage where clips, also of one recording, are drawn."""

import numpy as np
import pytest

from har_tf.evaluate import conformal


def two(of_true):
    """Two classes, the true one with these probabilities, as class 0."""
    of_true = np.asarray(of_true, float)
    return np.stack([of_true, 1 - of_true], axis=1), np.zeros(len(of_true), int)


def test_the_bound_is_a_quantile_with_one_more_clip():
    # Nine clips: the ceil(10 * 0.9) = 9th best, the least probable of all.
    probabilities, labels = two([0.9, 0.8, 0.7, 0.95, 0.6, 0.85, 0.4, 0.75, 0.3])
    assert conformal.fit(probabilities, labels).least == 0.3
    assert conformal.fit(probabilities, labels, coverage=0.8).least == 0.4  # the 8th
    assert conformal.fit(probabilities, labels, coverage=0.5).least == 0.75  # the 5th
    with pytest.raises(ValueError, match="0.9 needs clips of at least 9 recordings. Received: 8"):
        conformal.fit(probabilities[1:], labels[1:])
    with pytest.raises(ValueError, match="Received: 3"):
        conformal.fit(probabilities, labels, [*"aaabbbccc"])


def test_clips_of_a_recording_share_its_weight():
    # Recordings a (four clips) and b weigh 1 / 3 each: half of the weight is reached with the second clip of a.
    probabilities, labels = two([0.9, 0.8, 0.7, 0.6, 0.95])
    assert conformal.fit(probabilities, labels, [*"aaaab"], 0.5).least == 0.8
    assert conformal.fit(probabilities, labels, None, 0.5).least == 0.8  # the 3rd of 5
    assert conformal.fit(probabilities, labels, [*"abbbb"], 0.5).least == 0.8
    assert conformal.fit(probabilities, labels, [*"aaaab"], 0.6).least == 0.6  # 1 / 3 and all of a


def test_sets_hold_the_most_probable_class():
    sets = conformal.PredictionSets(0.9, 0.4, 20, 20)
    probabilities = np.array([[0.5, 0.45, 0.05], [0.35, 0.33, 0.32], [0.4, 0.3, 0.3]])
    assert sets.of(probabilities).tolist() == [[True, True, False], [True, False, False], [True, False, False]]
    found = conformal.measure(sets, probabilities, [1, 1, 0], [*"aab"])
    assert (found.covered, found.size, found.sizes, found.recordings) == (pytest.approx(2 / 3), 4 / 3, (2, 1), 2)


def drawn(rng, recordings, clips, classes=5):
    """Answers of a model that is far too sure; what it takes a recording for, all of its clips have in common."""
    labels = rng.integers(classes, size=recordings)
    scores = rng.normal(size=(recordings, 1, classes)) * 2 + rng.normal(size=(recordings, clips, classes)) * 0.5
    scores += 3 * np.eye(classes)[labels][:, None]
    exponentials = np.exp(2 * scores.reshape(-1, classes))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities, np.repeat(labels, clips), [str(i) for i in np.repeat(np.arange(recordings), clips)]


@pytest.mark.parametrize(("recordings", "clips", "coverage"), [(30, 1, 0.9), (30, 6, 0.9), (19, 4, 0.8)])
def test_the_coverage_is_reached(recordings, clips, coverage):
    """The mean over many calibrations, each of a few recordings, whose sets are tried on new recordings."""
    rng, covered, by_clips = np.random.default_rng(0), [], []
    for _ in range(300):
        probabilities, labels, groups = drawn(rng, recordings, clips)
        tried, truth, _ = drawn(rng, 40, 1)
        for found, names in ((covered, groups), (by_clips, None)):
            inside = conformal.fit(probabilities, labels, names, coverage).of(tried)
            found.append(inside[np.arange(40), truth].mean())
    error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) >= coverage - 2 * error
    assert np.mean(covered) <= coverage + 1 / (recordings + 1) + 2 * error
    if clips > 1:  # taken one by one they promise too much
        assert np.mean(by_clips) < np.mean(covered)
