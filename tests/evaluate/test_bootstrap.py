"""Intervals against those of textbooks."""

import numpy as np
import pytest
from scipy.stats import binom

from har_tf.evaluate.bootstrap import Bootstrap, clusters_of, redrawn


def interval(values, clusters, weights=None, **settings):
    values, clusters = np.asarray(values, float), np.asarray(clusters)
    bootstrap = Bootstrap(**settings)
    means = bootstrap.means(values[:, None], np.ones(len(values)) if weights is None else weights, clusters)
    return bootstrap.intervals(means, clusters)[0]


@pytest.mark.parametrize("constant", [0, 1, 0.3])
def test_constant_data_give_a_point(constant):
    assert interval([constant] * 30, np.arange(30) // 3) == pytest.approx((constant, constant))


def test_bernoulli_data_give_the_binomial_interval():
    # The mean of a resample of 400 with 120 ones is binomial(400, 0.3) / 400.
    found = interval([1] * 120 + [0] * 280, np.arange(400), resamples=20_000)
    assert found == pytest.approx(tuple(binom(400, 0.3).ppf([0.025, 0.975]) / 400), abs=0.0026)  # one hit in 400
    narrow = interval([1] * 120 + [0] * 280, np.arange(400), resamples=20_000, level=0.5)
    assert narrow == pytest.approx(tuple(binom(400, 0.3).ppf([0.25, 0.75]) / 400), abs=0.0026)


def test_frames_of_a_video_are_no_evidence_of_their_own():
    # 25 videos of 16 equal frames say as much as 25 frames.
    hits = np.arange(25) < 10
    videos = interval(np.repeat(hits, 16), np.repeat(np.arange(25), 16))
    assert videos == interval(hits, np.arange(25))
    single = interval(np.repeat(hits, 16), np.arange(400))
    assert videos[1] - videos[0] == pytest.approx(4 * (single[1] - single[0]), rel=0.15)


def test_weights_are_drawn_with_their_observations():
    # Two clusters, of 3 and of 1: a resample is (a, a), (a, b) or (b, b) with means 1, 3 / 4 and 0.
    bootstrap = Bootstrap(resamples=200)
    means = bootstrap.means(np.array([[1.0], [0.0]]), np.array([3.0, 1.0]), np.array([0, 1]))
    assert set(means[:, 0]) == {0, 0.75, 1}


def test_equal_seeds_draw_alike_and_others_do_not():
    values = np.random.default_rng(0).random(40)
    assert interval(values, np.arange(40), seed=3) == interval(values, np.arange(40), seed=3)
    assert interval(values, np.arange(40), seed=3) != interval(values, np.arange(40), seed=4)


def test_a_single_cluster_tells_nothing():
    assert interval([1, 0, 1], [0, 0, 0]) is None


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"level": 0}, {"level": 1}])
def test_wrong_settings(settings):
    with pytest.raises(ValueError, match="resamples is 1 or more"):
        Bootstrap(**settings)


def test_sources_are_drawn_as_wholes():
    rows = redrawn(["a", "b", "a", "c"], np.random.default_rng(0))
    assert rows.count(0) == rows.count(2), "both clips of a come together"


def test_clips_without_a_recording_stand_alone():
    assert clusters_of(["b", None, "a", "b", None], 5).tolist() == [0, 1, 2, 0, 3]
    assert clusters_of(None, 3).tolist() == [0, 1, 2]
    assert clusters_of([1, None, 1], 3).tolist() == [0, 1, 0]
