"""Whether probabilities are what they say: of the clips answered with 0.8, are eight in ten right?

The expected calibration error (ECE; Naeini et al. 2015, Guo et al. 2017) is the mean distance between confidence, the
probability of the answer, and accuracy, over bins of clips of like confidence. It is not debiased: it is too large
where bins hold few clips, for chance alone parts the two, and too small where over- and underconfidence share a bin
(Nixon et al. 2019, Roelofs et al. 2022). So what chance alone would show stands beside it, and bins of equal width
beside bins of equal mass. The Brier score and the log loss have no bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap, Interval, clusters_of

BINS = 15  # as Guo et al. 2017
_LEAST = float(np.finfo(np.float32).tiny)  # probability whose logarithm is taken


@dataclass(frozen=True)
class Bin:
    """A bar of the reliability diagram: the clips whose confidence lies in (low, high].

    Args:
        low, high: its edges.
        clips: how many there are.
        confidence, accuracy: their means; None without clips.
    """

    low: float
    high: float
    clips: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class CalibrationError:
    """An ECE.

    Args:
        value: in [0, 1].
        interval: (low, high), 95 %, from whole recordings drawn again, with the bias of a resample taken off; low is 0
            where the value is within what chance shows. Of clips that stand alone it held the true ECE in 83 to 95 % of
            simulations with 60 to 1000 clips. None with fewer than two recordings.
        by_chance: the mean ECE of chance alone, as if confidence and accuracy agreed in every bin; None likewise.
        bins: from the least confidence to the highest.
    """

    value: float
    interval: Interval
    by_chance: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Reliability:
    """What `measure` found on N clips.

    Args:
        clips, recordings: how many.
        accuracy: share of clips whose most probable class is the true one.
        confidence: mean probability of the most probable class.
        ece: with bins of equal width.
        ece_equal_mass: with bins of as many clips each.
        brier: mean over the clips of the sum over all classes of (p - y)^2, y 1 for the true class and else 0 (Brier
            1950): 0 is best, 2 worst; of two classes twice what `sklearn.metrics.brier_score_loss` gives.
        log_loss: mean of -ln of the true class's probability, taken as 1.2e-38 where it is less.
        brier_interval, log_loss_interval: (low, high), 95 %, whole recordings drawn again; None with fewer than two.
        brier_by_clip, log_loss_by_clip: N numbers, for paired differences.
    """

    clips: int
    recordings: int
    accuracy: float
    confidence: float
    ece: CalibrationError
    ece_equal_mass: CalibrationError
    brier: float
    brier_interval: Interval
    log_loss: float
    log_loss_interval: Interval
    brier_by_clip: tuple[float, ...]
    log_loss_by_clip: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the numbers of single clips, as numbers, lists and dicts that `json.dump` takes."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("_by_clip")}


def measure(
    probabilities: np.ndarray,
    labels: Sequence[int],
    groups: Sequence[str | None] | None = None,
    bins: int = BINS,
    bootstrap: Bootstrap | None = None,
) -> Reliability:
    """Compares confidence with accuracy.

    Args:
        probabilities: (N, C), one distribution a clip.
        labels: int (N,), the true classes.
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        bins: of the diagram; of equal mass there are at most N.
        bootstrap: how intervals are made; None: `Bootstrap()`.

    Raises:
        ValueError: no clips, shapes that do not go together, rows that are no distributions, or fewer than one bin.

    Example:
        >>> measure([[0.8, 0.2], [0.6, 0.4]], [0, 1]).brier
        0.4
    """
    probabilities, labels = checked(probabilities, labels)
    if bins < 1:
        raise ValueError(f"a diagram has at least one bin. Received: {bins=}")
    clusters, bootstrap = clusters_of(groups, len(labels)), bootstrap or Bootstrap()
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    truth = np.eye(probabilities.shape[1])[labels]
    losses = np.stack([np.square(probabilities - truth).sum(axis=1), -np.log(_of(probabilities, labels))], axis=1)
    means = bootstrap.means(losses, np.ones(len(labels)), clusters)
    brier_interval, log_loss_interval = bootstrap.intervals(means, clusters)
    brier, log_loss = losses.mean(axis=0).tolist()
    edges = np.linspace(0, 1, bins + 1)
    return Reliability(
        len(labels), int(clusters.max()) + 1, float(right.mean()), float(confidence.mean()),
        _error(confidence, right, edges, clusters, bootstrap),
        _error(confidence, right, _equal_mass(confidence, bins), clusters, bootstrap),
        brier, brier_interval, log_loss, log_loss_interval, *map(tuple, losses.T.tolist()),
    )  # fmt: skip


def checked(probabilities, labels) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N, C) and int64 (N,), that go together.

    Raises:
        ValueError: they do not; or a row is no distribution, as of a model that answers every class by itself.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        raise ValueError(
            "expected probabilities (N, C) and N labels, of at least one clip. "
            f"Received: {probabilities.shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"labels are whole numbers from 0 to {probabilities.shape[1] - 1}. "
            f"Received: {labels.dtype}, {labels.min()} to {labels.max()}"
        )
    sums = probabilities.sum(axis=1)
    if not (np.abs(sums - 1) <= 1e-2).all() or probabilities.min() < 0:  # wide enough for half precision
        row = int(np.argmax(~(np.abs(sums - 1) <= 1e-2) | (probabilities < 0).any(axis=1)))
        raise ValueError(
            "probabilities of a clip are 0 or more and sum to 1. "
            f"Received: clip {row} with a least one of {probabilities[row].min():.4g} and a sum of {sums[row]:.4g}"
        )
    return probabilities, labels.astype(np.int64)


def _of(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST)


def _equal_mass(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Edges between which as many clips lie, as far as there are no ties; those of a tie are one bin."""
    count, most = len(confidence), confidence.max()
    inner = np.sort(confidence)[[count * i // bins - 1 for i in range(1, bins) if count * i >= bins]]
    return np.unique(np.concatenate([[0], inner[inner < most], [max(1, most)]]))


def _error(confidence, right, edges, clusters, bootstrap: Bootstrap) -> CalibrationError:
    count = len(edges) - 1
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, count - 1)
    gaps = np.where(places[:, None] == np.arange(count), (confidence - right)[:, None], 0)  # (N, bins)
    value, interval, by_chance = float(np.abs(gaps.mean(axis=0)).sum()), None, None
    if clusters.max():
        means = bootstrap.means(gaps, np.ones(len(gaps)), clusters)  # (resamples, bins)
        ((low, high),) = bootstrap.intervals(np.abs(means).sum(axis=1, keepdims=True), clusters)
        chance = np.abs(means - gaps.mean(axis=0)).sum(axis=1)
        within = value <= np.quantile(chance, bootstrap.level)
        # A resample has the bias once more: the distance to it is laid off on the other side (basic bootstrap).
        interval = (0.0 if within else max(0.0, 2 * value - high), min(1.0, max(0.0, 2 * value - low)))
        by_chance = float(chance.mean())
    found = []
    for place in range(count):
        here = places == place
        some = bool(here.any())
        found.append(
            Bin(
                float(edges[place]),
                float(edges[place + 1]),
                int(here.sum()),
                float(confidence[here].mean()) if some else None,
                float(right[here].mean()) if some else None,
            )
        )
    return CalibrationError(value, interval, by_chance, tuple(found))
