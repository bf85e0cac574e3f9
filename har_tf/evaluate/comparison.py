"""Is one classifier better than another? Paired tests over seeds and over test clips.

Two questions, two tests. Over seeds: would another run, with other starting weights, on the same test clips tell the
same? Over clips: would other test clips tell the same of these two trained models? A difference that is meant to last
has to pass both.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class OverSeeds:
    """Paired tests of the accuracies of equal seeds, all two-sided.

    Args:
        pairs: number of seeds.
        difference: mean of first minus second.
        deviation: sample standard deviation of the differences; None with one seed.
        t_test: p of the paired t-test; None with one seed, or where the differences are all the same, for then there
            is no spread that the test could compare with.
        wilcoxon: p of Wilcoxon's signed-rank test, exact, equal pairs left out; None with one seed.
        wilcoxon_floor: the smallest p it can have with so many seeds, 2 / 2^n: 0.0625 with five.
    """

    pairs: int
    difference: float
    deviation: float | None
    t_test: float | None
    wilcoxon: float | None
    wilcoxon_floor: float


@dataclass(frozen=True)
class OverClips:
    """McNemar's exact test on clips that both classifiers answered, two-sided.

    Args:
        clips: number of clips.
        only_first: clips that the first got right and the second wrong.
        only_second: clips that the second got right and the first wrong.
        p: probability of a division at least as uneven if both erred equally often.
    """

    clips: int
    only_first: int
    only_second: int
    p: float

    @property
    def difference(self) -> float:
        """Accuracy of the first minus accuracy of the second."""
        return (self.only_first - self.only_second) / self.clips


def over_seeds(first: Sequence[float], second: Sequence[float]) -> OverSeeds:
    """Compares accuracies that belong together pair by pair.

    Args:
        first: accuracy of one classifier for every seed.
        second: accuracy of the other for the same seeds.

    Raises:
        ValueError: none, or another number of values.

    Example:
        >>> over_seeds([0.9, 0.8, 0.85], [0.8, 0.8, 0.75]).wilcoxon
        0.5
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"Pairs have two values each. Received: shapes {first.shape} and {second.shape}")
    differences = first - second
    pairs, mean = len(differences), float(differences.mean())
    if pairs == 1:
        return OverSeeds(1, mean, None, None, None, 1.0)
    alike = np.ptp(differences) < 1e-12
    return OverSeeds(
        pairs,
        mean,
        0.0 if alike else float(differences.std(ddof=1)),
        None if alike else float(stats.ttest_1samp(differences, 0).pvalue),
        _wilcoxon(differences),
        2.0 ** (1 - pairs),
    )


def _wilcoxon(differences: np.ndarray) -> float:
    # Accuracies are shares: differences that are equal on paper must be equal here, to share a rank.
    differences = np.round(differences, 12)
    if not differences.any():
        return 1.0
    few = len(differences) <= 13
    # All signs are tried out where they are few: SciPy's own exact test knows no ties.
    method = stats.PermutationMethod(n_resamples=2**13) if few else "auto"
    return float(stats.wilcoxon(differences, method=method).pvalue)


def over_clips(y_true, first, second) -> OverClips:
    """Compares two classifiers' answers on the same clips (McNemar 1947, exact).

    Args:
        y_true: int (N,) labels.
        first: int (N,) labels that one classifier answered.
        second: int (N,) labels that the other answered.

    Raises:
        ValueError: no clips, or arrays of another length.
    """
    y_true, first, second = (np.asarray(labels) for labels in (y_true, first, second))
    if not (y_true.shape == first.shape == second.shape and y_true.ndim == 1 and y_true.size):
        raise ValueError(
            f"Every clip has a label and two answers. Received: shapes {y_true.shape}, {first.shape}, {second.shape}"
        )
    only_first = int(((first == y_true) & (second != y_true)).sum())
    only_second = int(((first != y_true) & (second == y_true)).sum())
    disagree = only_first + only_second
    p = float(stats.binomtest(only_first, disagree, 0.5).pvalue) if disagree else 1.0
    return OverClips(len(y_true), only_first, only_second, p)


@dataclass(frozen=True)
class Comparison:
    """One classifier against another, by both tests.

    Args:
        first: name of the one that is hoped to be better.
        second: name of the other.
        seeds: over seeds; the clips of the tests are the same in all pairs.
        clips: over clips, for one seed.
    """

    first: str
    second: str
    seeds: OverSeeds
    clips: OverClips

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "not better", with the probability that decides it.

        "better" takes a p below 0.05 in every test that can be made: the t-test over seeds and McNemar's over clips,
        of which the larger p is told. Where only one of them is passed, that is said.
        """
        tests = [("over seeds", self.seeds.difference, self.seeds.t_test)] if self.seeds.t_test is not None else []
        tests.append(("over clips", self.clips.difference, self.clips.p))
        for word, sign in (("better", 1), ("worse", -1)):
            passed = [name for name, difference, p in tests if sign * difference > 0 and p < LEVEL]
            if sign * self.seeds.difference > 0 and len(passed) == len(tests):
                return f"{word} (p = {probability(max(p for _, _, p in tests))})"
            if sign * self.seeds.difference > 0 and passed and sign > 0:
                name, _, p = next(test for test in tests if test[0] not in passed)
                return f"better {passed[0]}, but not shown {name} (p = {probability(p)})"
        name, _, p = max(tests, key=lambda test: test[2])
        return f"not better ({name}: p = {probability(p)})"

    def sentences(self) -> list[str]:
        """What was compared, how, and what came out, in plain words."""
        seeds, clips = self.seeds, self.clips
        found = [f"{self.first} against {self.second}: {self.verdict}; {100 * seeds.difference:+.2f} points."]
        if seeds.pairs == 1:
            found.append("One seed: no test over seeds.")
        else:
            t_test = "the same for all, so there is no t-test"
            if seeds.t_test is not None:
                t_test = (
                    f"standard deviation {100 * seeds.deviation:.2f}; paired t-test p = {probability(seeds.t_test)}"
                )
            found.append(
                f"Over {seeds.pairs} seeds: mean difference {100 * seeds.difference:+.2f} points, {t_test}; Wilcoxon's "
                f"signed-rank test p = {probability(seeds.wilcoxon)} (with {seeds.pairs} seeds it cannot be below "
                f"{probability(seeds.wilcoxon_floor)})."
            )
        found.append(
            f"Over the {clips.clips} test clips of the first seed: {clips.only_first} only {self.first} got right, "
            f"{clips.only_second} only {self.second}; McNemar's exact test p = {probability(clips.p)}."
        )
        return found

    def as_dict(self) -> dict:
        """Everything as dicts, text and numbers that `json.dump` takes."""
        return {**asdict(self), "verdict": self.verdict, "sentences": self.sentences()}


def probability(p: float) -> str:
    """Two digits after the point, below a tenth three that count; what is below a thousandth is said in words."""
    if p < 0.001:
        return "below 0.001"
    return f"{p:.{2 if p >= 0.1 else 2 - math.floor(math.log10(p))}f}"
