"""The threshold by hand, and how often it breaks its promise."""

import numpy as np
import pytest

from har_tf.evaluate import abstention


def answers(confidence, right):
    confidence = np.asarray(confidence, float)
    return np.stack([confidence, 1 - confidence], axis=1), np.where(right, 0, 1)


def test_the_bound_is_that_of_textbooks():
    assert abstention.lower_bound(1.0, 29, 0.05) == pytest.approx(0.05 ** (1 / 29))  # all right
    assert abstention.lower_bound(8 / 10, 10, 0.025) == pytest.approx(0.4439, abs=1e-4)  # Clopper and Pearson
    assert abstention.lower_bound(0.0, 10, 0.05) == 0


def test_the_threshold_answers_most_clips():
    # 200 clips, of which the surest half are right and of the others every second one is.
    confidence = np.linspace(0.99, 0.51, 200)
    probabilities, labels = answers(confidence, (np.arange(200) < 100) | (np.arange(200) % 2 == 0))
    found = abstention.choose(probabilities, labels, 0.9)
    assert (found.clips, found.answered, found.right) == (200, 100, 100)
    assert found.threshold == confidence[99]
    assert found.answers(probabilities).sum() == 100
    assert found.answers(np.array([[0.5, 0.5]])).tolist() == [False]
    measured = abstention.measure(found, probabilities[90:], labels[90:])
    assert (measured.answered, measured.clips, measured.precision) == (10, 110, 1)
    nothing = abstention.measure(found, probabilities[100:], labels[100:])
    assert (nothing.answered, nothing.precision, nothing.interval) == (0, None, None)
    with pytest.raises(ValueError, match="no threshold reaches a precision of 0.95: at best, 100 of 200"):
        abstention.choose(probabilities, labels, 0.95)


def test_few_recordings_show_nothing():
    probabilities, labels = answers(np.linspace(0.9, 0.6, 60), np.ones(60, bool))
    assert abstention.choose(probabilities, labels, 0.9).answered == 60  # ln 0.005 / ln 0.9 = 50.3
    with pytest.raises(ValueError, match="0.9 is shown by at least 51 recordings .* Received: 50"):
        abstention.choose(probabilities[:50], labels[:50], 0.9)
    with pytest.raises(ValueError, match="Received: 20; more validation clips"):
        abstention.choose(probabilities, labels, 0.9, [str(i // 3) for i in range(60)])
    with pytest.raises(ValueError, match="between 0 and 1"):
        abstention.choose(probabilities, labels, 1.0)


@pytest.mark.parametrize("clips", [1, 4])
def test_the_promise_is_broken_as_seldom_as_it_says(clips):
    """A clip with confidence p is right with probability p: above a threshold t in (1 + t) / 2 of the cases."""
    rng, kept, broken = np.random.default_rng(0), 0, 0
    for _ in range(200):
        confidence = np.repeat(rng.uniform(0.5, 1, 150), clips)
        right = np.repeat(rng.random(150) < confidence[::clips], clips)
        groups = [str(i) for i in np.repeat(np.arange(150), clips)]
        try:
            threshold = abstention.choose(*answers(confidence, right), 0.8, groups).threshold
        except ValueError:
            continue
        kept += 1
        broken += (1 + threshold) / 2 < 0.8
    assert kept > 100
    assert broken <= 0.05 * 200
