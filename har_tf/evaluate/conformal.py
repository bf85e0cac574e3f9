"""Sets of classes that hold the true one with a stated probability: split conformal prediction.

A class is in the set where its probability is at least a bound, found on clips that nothing was trained on (the score
1 - p of Sadinle et al. 2019, "LAC": no sets with this coverage are smaller on average). The promise holds for any
model, but for clips that are exchangeable with those, which clips of one recording are not. So recordings are: each has
the weight of one, shared by its clips, and one more, the unseen, has the worst score (HCP of Lee, Barber and Willett
2023; without recordings the usual quantile (n + 1)(1 - alpha) / n). It is a promise over clips of new recordings like
these, not for each class, nor for other cameras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap, Interval, clusters_of
from har_tf.evaluate.reliability import checked

_ROUNDING = 1e-12  # of a sum of weights


@dataclass(frozen=True)
class PredictionSets:
    """How sets are made.

    Args:
        coverage: share of clips of new recordings whose set holds their class, at least.
        least: probability that a class needs to be in the set.
        clips, recordings: what it was found on; a clip of no known recording is one by itself.
    """

    coverage: float
    least: float
    clips: int
    recordings: int

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """bool (N, C), the classes in the set of each clip; the most probable one always is.

        Args:
            probabilities: (N, C), calibrated as those that it was found on.
        """
        probabilities = np.asarray(probabilities)
        return (probabilities >= self.least) | (
            np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
        )


@dataclass(frozen=True)
class Coverage:
    """What sets are worth on other clips.

    Args:
        wanted: the coverage that was asked for.
        covered: share of clips whose set holds their class.
        interval: (low, high), 95 %, whole recordings drawn again; None with fewer than two.
        size: mean number of classes in a set.
        sizes: how many clips have a set of 1, 2, ... classes.
        clips, recordings: how many were measured.
    """

    wanted: float
    covered: float
    interval: Interval
    size: float
    sizes: tuple[int, ...]
    clips: int
    recordings: int


def fit(
    probabilities: np.ndarray, labels: Sequence[int], groups: Sequence[str | None] | None = None, coverage: float = 0.9
) -> PredictionSets:
    """Finds the bound for a coverage.

    Args:
        probabilities: (N, C), of clips that the model was not trained on.
        labels: int (N,).
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        coverage: between 0 and 1.

    Raises:
        ValueError: arguments that do not go together, or too few recordings: of 9 the worst is the bound for 0.9.

    Example:
        >>> fit([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]], [0, 1, 1], coverage=0.5).least
        0.7
    """
    probabilities, labels = checked(probabilities, labels)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage lies between 0 and 1. Received: {coverage=}")
    clusters = clusters_of(groups, len(labels))
    recordings = int(clusters.max()) + 1
    if recordings / (recordings + 1) < coverage - _ROUNDING:
        need = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(
            f"a coverage of {coverage:g} needs clips of at least {need} recordings. Received: {recordings}"
        )
    of_true = probabilities[np.arange(len(labels)), labels]
    weights = 1 / (np.bincount(clusters)[clusters] * (recordings + 1))
    order = np.argsort(-of_true, kind="stable")
    place = int(np.searchsorted(np.cumsum(weights[order]), coverage - _ROUNDING))
    return PredictionSets(coverage, float(of_true[order[place]]), len(labels), recordings)


def measure(
    sets: PredictionSets,
    probabilities: np.ndarray,
    labels: Sequence[int],
    groups: Sequence[str | None] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Coverage:
    """The coverage and the size of sets on clips that the bound was not found on; arguments as in `fit`."""
    probabilities, labels = checked(probabilities, labels)
    clusters, bootstrap = clusters_of(groups, len(labels)), bootstrap or Bootstrap()
    inside = sets.of(probabilities)
    hits, sizes = inside[np.arange(len(labels)), labels].astype(float), inside.sum(axis=1)
    (interval,) = bootstrap.intervals(bootstrap.means(hits[:, None], np.ones(len(hits)), clusters), clusters)
    counts = np.bincount(sizes, minlength=2)[1:]
    return Coverage(
        sets.coverage, float(hits.mean()), interval, float(sizes.mean()), tuple(counts.tolist()), len(labels),
        int(clusters.max()) + 1,
    )  # fmt: skip
