"""A number of clips with its interval, and the paired difference of two: whether a method beats a control.

Clips cut from one recording resemble each other, so intervals draw whole recordings again (`bootstrap`). An interval of
few recordings is too narrow: of two it leaves out 0 in half of all cases where there is no difference. So a verdict
takes the sign-flip test over recordings as well, which six recordings that agree are the fewest to pass.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap, clusters_of
from har_tf.evaluate.comparison import Verdict, over_groups

_EQUAL = 1e-6  # of the largest number: what is equal on paper must be equal here, also as float32


@dataclass(frozen=True)
class Mean:
    """The mean of clips.

    Attributes:
        mean: of the clips that count, all alike; None without one.
        interval: (low, high) from whole recordings drawn again; None with fewer than two.
        clips: how many count.
        groups: of how many recordings they are.
        left_out: clips without a value.
    """

    mean: float | None
    interval: tuple[float, float] | None
    clips: int
    groups: int
    left_out: int

    def as_dict(self) -> dict:
        """Everything as numbers, lists and text that `json.dump` takes."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Difference(Mean):
    """The mean of first minus second, clip by clip.

    Attributes:
        p: of the sign-flip test over recordings, two-sided; None with fewer than two.
        verdict: BETTER or WORSE is the first, where the interval leaves out 0 and p is below 1 minus its level.
    """

    p: float | None
    verdict: Verdict


def mean_of(values, groups: Sequence[str | None] | None = None, bootstrap: Bootstrap | None = None) -> Mean:
    """The mean of the clips that have a value.

    Args:
        values: (N,) numbers, one a clip; NaN or None where a clip has none.
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        bootstrap: how the interval is made; None: `Bootstrap()`.

    Raises:
        ValueError: values of another shape, an infinite one, or not a group for each.

    Example:
        >>> mean_of([1, 3, None], ["a", "a", "b"])
        Mean(mean=2.0, interval=None, clips=2, groups=1, left_out=1)
    """
    return _mean(*_counted(_numbers(values, "values"), groups), bootstrap or Bootstrap())


def difference(
    first,
    second,
    groups: Sequence[str | None] | None = None,
    less_is_better: bool = False,
    bootstrap: Bootstrap | None = None,
) -> Difference:
    """First minus second, in the clips that have a value of both.

    Args:
        first, second: (N,) numbers of the same N clips; NaN or None where a clip has none.
        groups, bootstrap: as in `mean_of`.
        less_is_better: whether the smaller number is the better one, as in deletion; it turns the verdict, not the
            difference.

    Raises:
        ValueError: as `mean_of`, or not as many of the first as of the second.
    """
    first, second = _numbers(first, "first"), _numbers(second, "second")
    if first.shape != second.shape:
        raise ValueError(f"pairs have two values each. Received: {len(first)} and {len(second)}")
    values, clusters, left_out = _counted(first - second, groups)
    bootstrap = bootstrap or Bootstrap()
    found, p, verdict = _mean(values, clusters, left_out, bootstrap), None, Verdict.NOT_SHOWN
    if found.interval is not None:
        p = over_groups(values, clusters)
        (low, high), least = found.interval, _EQUAL * np.nanmax(np.abs([first, second]))
        if (low > least or high < -least) and p < 1 - bootstrap.level:
            verdict = Verdict.BETTER if (low > 0) != less_is_better else Verdict.WORSE
    return Difference(**vars(found), p=p, verdict=verdict)


def _mean(values, clusters, left_out, bootstrap) -> Mean:
    if not len(values):
        return Mean(None, None, 0, 0, left_out)
    means = bootstrap.means(values[:, None], np.ones(len(values)), clusters)
    (interval,) = bootstrap.intervals(means, clusters)
    return Mean(float(values.mean()), interval, len(values), int(clusters.max()) + 1, left_out)


def _numbers(values, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)  # None becomes NaN
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(
            f"{name} must be one finite number a clip, or NaN where it has none. "
            f"Received: shape {values.shape}, {int(np.isinf(values).sum())} infinite"
        )
    return values


def _counted(values, groups) -> tuple[np.ndarray, np.ndarray, int]:
    """The values that count, the clusters of them, and how many are left out."""
    clusters, counts = clusters_of(groups, len(values)), ~np.isnan(values)
    own = np.unique(clusters[counts], return_inverse=True)[1]
    return values[counts], own, int((~counts).sum())
