"""When a classifier had better say "none of these": the least confidence for a wanted precision.

Of clips whose most probable class has at least so much probability, the wanted share is answered rightly. A threshold
that only reached the share on the clips at hand would mostly miss it on others, for it is the luckiest of many. So ten
thresholds are tried, which answer a tenth, two tenths, ... all of the clips, and one counts only if the lower bound of
its precision passes, at a level that is divided by ten (selection with guaranteed risk, Geifman and El-Yaniv 2017; the
bound is Clopper and Pearson's). Clips of one recording resemble each other, so the bound counts recordings in place of
clips (the effective sample size of Korn and Graubard 1998, at its smallest).

The promise is about clips of these classes. What is none of them gets a low probability often, not always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap, Interval, clusters_of
from har_tf.evaluate.reliability import checked

TRIED = 10  # thresholds


@dataclass(frozen=True)
class Abstention:
    """From which probability on the most probable class is an answer.

    Args:
        precision: the wanted share of right answers.
        confidence: how sure it is that the share is reached on other recordings.
        threshold: probability that the most probable class needs.
        clips: on which it was chosen.
        answered: of them.
        right: of the answered ones.
    """

    precision: float
    confidence: float
    threshold: float
    clips: int
    answered: int
    right: int

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """bool (N,): the clips that are answered; of the others it is "none of these".

        Args:
            probabilities: (N, C), calibrated as those that it was chosen on.
        """
        return np.asarray(probabilities).max(axis=1) >= self.threshold


@dataclass(frozen=True)
class Selected:
    """What a threshold is worth on other clips.

    Args:
        wanted: the precision that was asked for.
        precision: share of the answered clips that are answered rightly; None where none is answered.
        interval: (low, high), 95 %, whole recordings drawn again; None with fewer than two.
        answered: clips that are answered.
        clips: of so many.
    """

    wanted: float
    precision: float | None
    interval: Interval
    answered: int
    clips: int


def choose(
    probabilities: np.ndarray,
    labels: Sequence[int],
    precision: float,
    groups: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> Abstention:
    """The threshold that answers most clips with the wanted precision.

    Args:
        probabilities: (N, C), of clips that the model was not trained on.
        labels: int (N,).
        precision: wanted share of right answers, between 0 and 1.
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        confidence: with which the precision is reached on other recordings, between 0 and 1.

    Raises:
        ValueError: arguments that do not go together, too few recordings to show the precision, or no threshold that
            reaches it.
    """
    probabilities, labels = checked(probabilities, labels)
    if not (0 < precision < 1 and 0 < confidence < 1):
        raise ValueError(f"precision and confidence lie between 0 and 1. Received: {precision=}, {confidence=}")
    clusters, tail = clusters_of(groups, len(labels)), (1 - confidence) / TRIED
    need = math.ceil(math.log(tail) / math.log(precision))  # precision ** need <= tail
    if clusters.max() + 1 < need:
        raise ValueError(
            f"a precision of {precision:g} is shown by at least {need} recordings without a wrong answer. "
            f"Received: {clusters.max() + 1}; more validation clips are needed, or a lower precision"
        )
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    ordered, best = np.sort(sure)[::-1], (-1.0, 0, 0.0)
    for tenth in range(TRIED, 0, -1):  # the one that answers most clips comes first
        threshold = float(ordered[math.ceil(len(sure) * tenth / TRIED) - 1])
        kept = sure >= threshold
        bound = lower_bound(float(right[kept].mean()), len(set(clusters[kept].tolist())), tail)
        if bound >= precision:
            return Abstention(precision, confidence, threshold, len(sure), int(kept.sum()), int((kept & right).sum()))
        best = max(best, (bound, int(kept.sum()), float(right[kept].mean())))
    bound, kept, share = best
    raise ValueError(
        f"no threshold reaches a precision of {precision:g}: at best, {kept} of {len(sure)} clips are answered, "
        f"{share:.4g} of them rightly, and on other recordings at least {bound:.4g}"
    )


def lower_bound(share: float, count: int, tail: float) -> float:
    """Clopper and Pearson's: with a smaller true share, `share` of `count` or more are seen with at most `tail`."""
    from scipy.stats import beta  # half a second, which `predict` does not wait for

    hits = share * count
    return float(beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0


def measure(
    abstention: Abstention,
    probabilities: np.ndarray,
    labels: Sequence[int],
    groups: Sequence[str | None] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Selected:
    """The precision of a threshold on clips that it was not chosen on; arguments as in `choose`."""
    probabilities, labels = checked(probabilities, labels)
    clusters, bootstrap = clusters_of(groups, len(labels)), bootstrap or Bootstrap()
    kept = abstention.answers(probabilities)
    if not kept.any():
        return Selected(abstention.precision, None, None, 0, len(labels))
    right = (probabilities.argmax(axis=1) == labels)[kept].astype(float)
    of_kept = np.unique(clusters[kept], return_inverse=True)[1]
    (interval,) = bootstrap.intervals(bootstrap.means(right[:, None], np.ones(len(right)), of_kept), of_kept)
    return Selected(abstention.precision, float(right.mean()), interval, len(right), len(labels))
