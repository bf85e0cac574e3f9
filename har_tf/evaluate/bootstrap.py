"""How far a number would move with other videos: percentile bootstrap over whole videos, or whole groups of them.

The frames of a video, and the videos cut from one source, resemble each other; drawn one by one they would make an
interval that is several times too narrow. So they are drawn together, as clusters (Davison and Hinkley 1997, 3.8).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Interval = tuple[float, float] | None  # (low, high)
_TOGETHER = 50  # resamples a matrix product: so many counts of 50,000 clusters take 20 MB


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Args:
        resamples: how often the clusters are drawn again.
        level: share of the resamples that lies within an interval.
        seed: of the drawing; equal seeds and clusters draw the same.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self):
        if self.resamples < 1 or not 0 < self.level < 1:
            raise ValueError(f"resamples is 1 or more and level between 0 and 1. Received: {self}")

    def means(self, values: np.ndarray, weights: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """Weighted means of the resamples.

        Args:
            values: (N, S), one row an observation.
            weights: (N,) weight of each observation.
            clusters: int (N,), the cluster of each observation, 0 to C - 1, each of them taken.

        Returns:
            float64 (resamples, S).
        """
        sums = np.stack([np.bincount(clusters, weights * column) for column in values.T], axis=1)  # (C, S)
        totals = np.bincount(clusters, weights)
        random = np.random.default_rng(self.seed)
        found = []
        for done in range(0, self.resamples, _TOGETHER):
            draws = random.integers(len(totals), size=(min(_TOGETHER, self.resamples - done), len(totals)))
            times = np.stack([np.bincount(drawn, minlength=len(totals)) for drawn in draws]).astype(np.float64)
            found.append(times @ sums / (times @ totals)[:, None])
        return np.concatenate(found)

    def intervals(self, means: np.ndarray, clusters: np.ndarray) -> list[tuple[float, float] | None]:
        """(low, high) of every column of `means`, (resamples, S); None with fewer than two clusters."""
        if clusters.max() < 1:
            return [None] * means.shape[1]
        tail = (1 - self.level) / 2
        low, high = np.quantile(means, [tail, 1 - tail], axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))


def clusters_of(groups: Sequence[str | None] | None, count: int) -> np.ndarray:
    """int (N,), the cluster of each of N clips, 0 to C - 1, by the recording it was cut from.

    Args:
        groups: N names; None, or None for a clip: it stands alone.
        count: N.

    Raises:
        ValueError: not as many groups as clips.
    """
    names = [None] * count if groups is None else list(groups)
    if len(names) != count:
        raise ValueError(f"every clip has a recording, or None. Received: {count} clips and {len(names)} recordings")
    number: dict[Hashable, int] = {}
    own = [(place,) if name is None else str(name) for place, name in enumerate(names)]
    return np.array([number.setdefault(name, len(number)) for name in own], int)


def redrawn(clusters: Sequence[Hashable], rng: np.random.Generator) -> list[int]:
    """The rows of as many clusters as there are, drawn with replacement: of numbers that are no means of rows.

    Args:
        clusters: the cluster of each row.
        rng: draws once.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(row)
    members = list(rows.values())
    return [row for k in rng.integers(len(members), size=len(members)) for row in members[k]]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of `hits` out of `count` that are independent."""
    from scipy.stats import binomtest  # half a second, which a command's help does not wait for

    interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
