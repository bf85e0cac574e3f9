"""A network trained several times, on several splits and with several seeds: means, deviations, comparison.

A trial is a dict with "split", "seed", its accuracy under a name of its own, and under "answers" what was answered on
the test clips: name of the clip -> (label, class that was answered). Every row has the same splits and seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap, wilson
from har_tf.evaluate.comparison import Comparison, over_clips, over_seeds

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """A score of several trials.

    Args:
        mean: over splits and seeds.
        interval: (low, high), the 95 % Wilson interval of the mean as a share of the test clips; None of several
            splits, which measure on other clips.
        over_splits: sample standard deviation of the splits' means over seeds; None of one split.
        over_seeds: sample standard deviation of the seeds' means over splits; None of one seed.
    """

    mean: float
    interval: tuple[float, float] | None
    over_splits: float | None
    over_seeds: float | None


def spread(trials: Sequence[Trial], score: str, clips: int) -> Spread:
    """The spread of a score over splits and seeds.

    Args:
        trials: one for every split and seed.
        score: name of the score in a trial, a share of the test clips.
        clips: how many it is a share of.
    """
    splits = dict.fromkeys(trial["split"] for trial in trials)
    scores = np.array([[trial[score] for trial in trials if trial["split"] == split] for split in splits])
    mean = float(scores.mean())
    return Spread(
        mean,
        wilson(round(mean * clips), clips) if len(splits) == 1 else None,
        _deviation(scores.mean(axis=1)),
        _deviation(scores.mean(axis=0)),
    )


def interval_over_groups(trials: Sequence[Trial], groups: Mapping[str, str | None]) -> tuple[float, float] | None:
    """The 95 % interval of the share of right answers, the mean over seeds: whole groups are drawn again.

    Args:
        trials: with their "answers".
        groups: clip -> the recording that it was cut from, as `VideoRecord.group`; one of none stands alone.

    Returns:
        (low, high); None with fewer than two groups, or where no recording is known.
    """
    if not any(groups.values()):
        return None
    right: dict[str, list[bool]] = {}
    clusters: dict[str | tuple[str], int] = {}
    for trial in trials:
        for clip, (label, answer) in trial["answers"].items():
            right.setdefault(clip, []).append(label == answer)
    of = [clusters.setdefault(groups.get(clip) or (clip,), len(clusters)) for clip in right]
    shares = np.array([np.mean(hits) for hits in right.values()])
    bootstrap, of = Bootstrap(), np.array(of)
    (interval,) = bootstrap.intervals(bootstrap.means(shares[:, None], np.ones(len(shares)), of), of)
    return interval


def cost(trials: Sequence[Trial]) -> dict[str, Any]:
    """Parameters and mean seconds of training of a row, and its trials without their answers, for `results.json`."""
    seconds = sum(trial["seconds"] for trial in trials) / len(trials)
    kept = [{name: value for name, value in trial.items() if name != "answers"} for trial in trials]
    return {"parameters": trials[0]["parameters"], "training_seconds": seconds, "trials": kept}


def confusion(trials: Sequence[Trial], classes: int) -> list[list[int]]:
    """Answers of the first seed on the test clips of all splits: rows the true class, columns the answered one."""
    matrix = np.zeros((classes, classes), int)
    for trial in _of_first_seed(trials):
        np.add.at(matrix, tuple(np.array(list(trial["answers"].values())).T), 1)
    return matrix.tolist()


def compare(
    first: str, second: str, ours: Sequence[Trial], theirs: Sequence[Trial], score: str, unit: str = "clip"
) -> Comparison:
    """One row against another: over seeds, each the mean of its splits, and over the test clips of the first seed.

    A clip that is a test clip of several splits counts in the first of them.

    Args:
        first: name of the row that is hoped to be better.
        second: name of the other.
        ours: trials of the first.
        theirs: trials of the second, on the same splits and with the same seeds.
        score: name of the accuracy in a trial.
        unit: what is answered, "clip" or "video".
    """
    labels, answered = zip(*_answers(ours), strict=True)
    return Comparison(
        first,
        second,
        over_seeds(_by_seed(ours, score), _by_seed(theirs, score)),
        over_clips(labels, answered, [answer for _, answer in _answers(theirs)]),
        unit,
    )


def _by_seed(trials: Sequence[Trial], score: str) -> list[float]:
    seeds = dict.fromkeys(trial["seed"] for trial in trials)
    scores = [[trial[score] for trial in trials if trial["seed"] == seed] for seed in seeds]
    return [sum(of_splits) / len(of_splits) for of_splits in scores]


def _answers(trials: Sequence[Trial]) -> list[tuple[int, int]]:
    answers = {}
    for trial in reversed(_of_first_seed(trials)):
        answers |= trial["answers"]
    return [answers[clip] for clip in sorted(answers)]


def _of_first_seed(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial["seed"] == trials[0]["seed"]]


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
