"""Is one classifier better than another, or one map? Paired tests over seeds, over test clips and over groups.

Two questions, two tests. Over seeds: would another run, with other starting weights, on the same test clips tell the
same? Over clips: would other test clips tell the same of these two trained models? A difference that is meant to last
has to pass both.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

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
    """Two-sided p under all signs of the ranks, which SciPy's exact test does not count where differences tie."""
    # Accuracies are shares: differences that are equal on paper must be equal here, to share a rank.
    differences = np.round(differences, 12)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # twice, as ties share half ranks
    chance = np.ones(1)  # of every sum of the ranks with a plus, as if each sign were tossed
    for rank in ranks:
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    positive = ranks[differences > 0].sum()
    return float(min(1.0, 2 * min(chance[: positive + 1].sum(), chance[positive:].sum())))


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


def over_groups(differences: np.ndarray, groups: np.ndarray, draws: int = 9999, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test: were the differences of whole groups as likely to point the other way?

    Args:
        differences: (N,) first minus second, of each frame, clip or video.
        groups: int (N,), the number of each one's group, 0 to G - 1. The signs of a group are flipped together.
        draws: random flips; p is never below 1 / (draws + 1), nor, with few groups, below 2 / 2^G.
        seed: of the draws.
    """
    sums = np.bincount(groups, differences)
    flips = (_kept if draws * len(sums) < 4e6 else _signs)(draws, len(sums), seed)
    least = abs(sums.sum()) - 1e-9  # equal on paper must be equal here
    as_far = sum(np.count_nonzero(np.abs(some @ sums) >= least) for some in flips)
    return float((1 + as_far) / (draws + 1))


def _signs(draws: int, groups: int, seed: int) -> Iterator[np.ndarray]:
    """(draws, groups) of -1 and 1, a part after the other, as they take much memory."""
    rng, together = np.random.default_rng(seed), max(1, 10**6 // groups)
    for start in range(0, draws, together):
        yield rng.choice([-1.0, 1.0], (min(together, draws - start), groups))


@functools.lru_cache(maxsize=1)
def _kept(*arguments) -> list[np.ndarray]:
    """The same for the many differences of one table."""
    return list(_signs(*arguments))


class Verdict(StrEnum):
    """What a comparison shows of its first classifier; p below `LEVEL` in every test that can be made, or NOT_SHOWN."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Comparison:
    """One classifier against another, by both tests.

    Args:
        first: name of the one that is hoped to be better.
        second: name of the other.
        seeds: over seeds; the clips of the tests are the same in all pairs.
        clips: over clips, for one seed.
        unit: what was answered once each in `clips`: "clip" or "video".
    """

    first: str
    second: str
    seeds: OverSeeds
    clips: OverClips
    unit: str = "clip"

    @property
    def verdict(self) -> Verdict:
        """BETTER or WORSE takes the t-test over seeds, where it can be made, and McNemar's over clips."""
        tests = self._tests()
        for verdict, sign in ((Verdict.BETTER, 1), (Verdict.WORSE, -1)):
            if sign * self.seeds.difference > 0 and all(_passed(test, sign) for test in tests):
                return verdict
        return Verdict.NOT_SHOWN

    def as_dict(self) -> dict:
        """Everything as dicts, text and numbers that `json.dump` takes."""
        return {**asdict(self), "verdict": self.verdict.value, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """What was compared, how, and what came out, in plain words."""
        seeds, clips = self.seeds, self.clips
        sentences = [f"{self.first} against {self.second}: {self._words()}; {100 * seeds.difference:+.2f} points."]
        if seeds.pairs == 1:
            sentences.append("One seed: no test over seeds.")
        else:
            t_test = "the same for all, so there is no t-test"
            if seeds.t_test is not None:
                t_test = (
                    f"standard deviation {100 * seeds.deviation:.2f}; paired t-test p = {probability(seeds.t_test)}"
                )
            sentences.append(
                f"Over {seeds.pairs} seeds: mean difference {100 * seeds.difference:+.2f} points, {t_test}; Wilcoxon's "
                f"signed-rank test p = {probability(seeds.wilcoxon)} (with {seeds.pairs} seeds it cannot be below "
                f"{probability(seeds.wilcoxon_floor)})."
            )
        sentences.append(
            f"Over the {clips.clips} test {self.unit}s of the first seed: {clips.only_first} only {self.first} got "
            f"right, {clips.only_second} only {self.second}; McNemar's exact test p = {probability(clips.p)}."
        )
        return sentences

    def _tests(self) -> list[tuple[str, float, float]]:
        """(unit, difference, p) of the tests that can be made."""
        over_seeds = [("seed", self.seeds.difference, self.seeds.t_test)] if self.seeds.t_test is not None else []
        return [*over_seeds, (self.unit, self.clips.difference, self.clips.p)]

    def _words(self) -> str:
        """The verdict with the probability that decides it, which is the larger one; where one test of two shows that
        the first is better, that is said."""
        tests = self._tests()
        unit, _, p = max(tests, key=lambda test: test[2])
        if self.verdict is not Verdict.NOT_SHOWN:
            return f"{self.verdict} (p = {probability(p)})"
        passed = [test[0] for test in tests if _passed(test, 1)]
        if passed and self.seeds.difference > 0:
            unit, _, p = next(test for test in tests if test[0] not in passed)
            return f"better over {passed[0]}s, but not shown over {unit}s (p = {probability(p)})"
        return f"not better (over {unit}s: p = {probability(p)})"


def _passed(test: tuple[str, float, float], sign: int) -> bool:
    _, difference, p = test
    return sign * difference > 0 and p < LEVEL


def probability(p: float) -> str:
    """Two digits after the point, below a tenth three that count; what is below a thousandth is said in words."""
    if p < 0.001:
        return "below 0.001"
    return f"{p:.{2 if p >= 0.1 else 2 - math.floor(math.log10(p))}f}"
