"""Probabilities that say what they mean: a temperature (Guo et al. 2017), fitted on clips that were held out.

Every logit is divided by one number, so that the most probable class stays the same and only how sure the model is
changes. It is fitted where it makes the true classes most probable (the least negative log likelihood).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from har_tf.evaluate import abstention, conformal, reliability
from har_tf.evaluate.abstention import Abstention
from har_tf.evaluate.bootstrap import clusters_of
from har_tf.evaluate.conformal import PredictionSets

LEAST_CLIPS = 20
_RANGE = (0.01, 100.0)  # temperatures


class NotFitted(ValueError):
    """Clips that no temperature can be fitted on."""


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of a model's logits, and what may be said of them.

    Args:
        temperature: that logits are divided by; above 1 the model was too sure.
        clips: on which it was fitted.
        recordings: of how many recordings they are; None where no recording is known.
        sets: how sets of classes with a stated coverage are made; None: not asked for.
        abstention: from which probability on the most probable class is an answer; None: always.
        about: which clips, date and versions, as plain values.
    """

    temperature: float
    clips: int
    recordings: int | None = None
    sets: PredictionSets | None = None
    abstention: Abstention | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """float32 (N, C), of logits or log-probabilities (N, C)."""
        scaled = np.asarray(scores, np.float64) / self.temperature
        exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype("float32")

    def __str__(self) -> str:
        of = "" if self.recordings is None else f" of {self.recordings} recordings"
        return (
            f"probabilities are calibrated: temperature {self.temperature:.3g}, fitted on {self.clips} validation "
            f"clips{of}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, of which `of` makes it again."""
        return asdict(self) | {"about": dict(self.about)}

    @classmethod
    def of(cls, values: Any) -> Calibration:
        """What `as_dict` gave.

        Raises:
            ValueError: something else.
        """
        try:
            parts = {"sets": PredictionSets, "abstention": Abstention}
            made = {name: None if values[name] is None else kind(**values[name]) for name, kind in parts.items()}
            found = cls(**{**values, **made})
            numbers = [found.temperature, found.clips, found.recordings or 0]
            numbers += [x for part in made.values() if part is not None for x in vars(part).values()]
            good = all(isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < np.inf for x in numbers)
        except (TypeError, KeyError):
            good = False
        if not good or found.temperature == 0 or not isinstance(found.about, Mapping):
            raise ValueError(
                "a calibration has temperature, clips, recordings, sets, abstention and about. "
                f"Received: {f'{values!a}'[:300]}"
            )
        return found


def fit(
    scores: np.ndarray,
    labels: Sequence[int],
    groups: Sequence[str | None] | None = None,
    coverage: float | None = None,
    precision: float | None = None,
    about: Mapping[str, Any] | None = None,
) -> Calibration:
    """Fits a temperature, and on the probabilities that it gives what is asked for besides.

    Sets and threshold are found on the same clips as the temperature, one number, which the tests show to leave their
    promises true. They are no longer true of clips that chose more, such as the epoch that is kept.

    Args:
        scores: (N, C) logits, or log-probabilities, which are logits up to a constant for each clip.
        labels: int (N,), the true classes.
        groups: N names, the recording of each clip; None, or None for a clip: it stands alone.
        coverage: of sets, see `conformal.fit`; None: no sets.
        precision: of answers, see `abstention.choose`; None: every clip is answered.
        about: see `Calibration`.

    Raises:
        NotFitted: fewer than `LEAST_CLIPS` clips; all or too few are answered rightly, so that no temperature is best.
        ValueError: shapes that do not go together, numbers that are not finite, or as in `conformal.fit` and
            `abstention.choose`.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise ValueError(
            f"expected finite scores (N, C) and N labels. Received: {scores.shape} and {labels.shape}, "
            f"{int((~np.isfinite(scores)).sum())} not finite"
        )
    if labels.dtype.kind not in "iu" or (labels.size and not 0 <= labels.min() <= labels.max() < scores.shape[1]):
        raise ValueError(f"labels are whole numbers from 0 to {scores.shape[1] - 1}. Received: {labels}")
    groups = [None] * len(labels) if groups is None else list(groups)
    recordings = int(clusters_of(groups, len(labels)).max(initial=-1)) + 1 if any(groups) else None
    temperature = _temperature(scores, labels)
    found = Calibration(temperature, len(labels), recordings, about=dict(about or {}))
    probabilities = found.probabilities(scores)
    sets = None if coverage is None else conformal.fit(probabilities, labels, groups, coverage)
    threshold = None if precision is None else abstention.choose(probabilities, labels, precision, groups)
    return Calibration(temperature, len(labels), recordings, sets, threshold, found.about)


def effect(
    scores: np.ndarray,
    labels: Sequence[int],
    groups: Sequence[str | None] | None = None,
    fitted: Calibration | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """What a calibration does on other clips than it was fitted on, as `results.json` has it.

    Args:
        scores, labels, groups: of those clips, as in `fit`.
        fitted: the calibration; None: there is none, for this `reason`.

    Returns:
        "as_trained" and "corrected", as `reliability.Reliability.as_dict`, "temperature" and "fitted_on"; of no
        calibration "as_trained" and "not_fitted".
    """
    raw = reliability.measure(Calibration(1.0, 0).probabilities(scores), labels, groups).as_dict()
    if fitted is None:
        return {"as_trained": raw, "not_fitted": reason}
    corrected = reliability.measure(fitted.probabilities(scores), labels, groups).as_dict()
    told = {"temperature": fitted.temperature, "fitted_on": fitted.clips, "about": dict(fitted.about)}
    return {"as_trained": raw, "corrected": corrected, **told}


def _temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar  # half a second, which `predict` does not wait for
    from scipy.special import logsumexp

    if len(labels) < LEAST_CLIPS:
        raise NotFitted(f"a temperature is fitted on at least {LEAST_CLIPS} clips. Received: {len(labels)}")
    of_true = scores[np.arange(len(labels)), labels]
    if (of_true >= scores.max(axis=1)).all():
        raise NotFitted(
            f"all {len(labels)} clips are answered rightly, so that the lower a temperature is the better it fits"
        )
    if (of_true - scores.mean(axis=1)).mean() <= 0:
        raise NotFitted(
            f"on {len(labels)} clips the model is no better than chance, so that the higher a temperature is the "
            "better it fits"
        )

    def loss(logarithm: float) -> float:
        scaled = scores / np.exp(logarithm)
        return float((logsumexp(scaled, axis=1) - of_true / np.exp(logarithm)).mean())

    bounds = tuple(np.log(_RANGE))
    at = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    if min(at - bounds[0], bounds[1] - at) < 1e-3:
        raise NotFitted(f"no temperature between {_RANGE[0]:g} and {_RANGE[1]:g} fits {len(labels)} clips best")
    return float(np.exp(at))
