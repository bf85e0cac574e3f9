"""Is a TCAV score more than chance? The papers' t-test against random sets, and a permutation test beside it.

The t-test compares the R scores of a concept, one for each random set, with those of random sets against one another.
It takes the R scores for independent. They are not: all share the concept's clips, and where these happen to lean a
little one way, all R scores lean with them. Drawn from the same source as the random sets, so that there was nothing to
find, a "concept" passed it at p < 0.05 in 35 to 37 % of 200 draws (R = 10; 12 or 30 clips a set; 16 or 64 features),
and a true concept that the class does not read in 46 to 49 % (`python -m benchmarks.tcav_errors`).

The permutation test looks at the clips in place of the scores: do the concept's lie further along the gradient of the
class's logit than random clips do, or less far, than so many clips dealt at random would? It holds its level whatever
the scores share: of the same draws 5 to 7 % passed it, and 6 to 7 %. The criterion "both" asks for both, the papers'
test and one that holds, and that they agree on the direction: 5 to 6 %, and 2 to 3 %. Of concepts that the class does
read, all were significant. The criterion "t-test" is the papers'. `Significance` has both verdicts, whichever decides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats

from har_tf.concepts.cav import CavFit
from har_tf.concepts.scores import Scores, derivatives, prepared, scores, sign_count

_TOGETHER = 1000  # permutations a matrix product

Tests = Literal["both", "t-test"]


@dataclass(frozen=True)
class Criterion:
    """How scores are tested.

    Args:
        level: what p, corrected, must be below.
        hypotheses: how many are tested together, by which p is multiplied (Bonferroni): all concepts and taps of a
            figure; None: the concepts of one call.
        permutations: how often the clips are dealt anew; p is never below 1 / (permutations + 1).
        seed: of the permutations.
        tests: which decide: "both", or "t-test", the papers' alone.

    Raises:
        ValueError: a level outside (0, 1), no hypothesis, no permutation, or other tests.
    """

    level: float = 0.05
    hypotheses: int | None = None
    permutations: int = 1999
    seed: int = 0
    tests: Tests = "both"

    def __post_init__(self):
        if self.tests not in get_args(Tests):
            raise ValueError(f"tests are {' or '.join(map(repr, get_args(Tests)))}. Received: {self.tests!r}")
        if not 0 < self.level < 1 or self.permutations < 1 or (self.hypotheses is not None and self.hypotheses < 1):
            raise ValueError(f"level lies between 0 and 1; permutations and hypotheses are 1 or more. Received: {self}")

    def check(self, hypotheses: int) -> None:
        """Raises ValueError where the permutation test decides, and none of so many could pass it."""
        if self.tests == "both" and self.permutations + 1 <= hypotheses / self.level:
            raise ValueError(
                f"for {hypotheses} hypotheses at {self.level} a permutation test takes at least "
                f"{math.ceil(hypotheses / self.level)} permutations. Received: permutations={self.permutations}"
            )


@dataclass(frozen=True, eq=False)
class Significance:
    """A concept's scores against the random sets, and what the tests say of them.

    Attributes:
        scores: of the concept against each random set.
        random_sign_counts: float64 (R·(R - 1),), of each random set against each other, both ways; their mean is 0.5.
        random_accuracy: mean accuracy of the CAVs between random sets, which should be at chance; None without folds.
        t_test: p of the two-sided t-test of the sign counts against the random ones.
        permutation: p of the two-sided permutation test.
        least: what p of the permutation test cannot be below, with so many clips and permutations.
        difference: what it tests: by how many logits the concept's clips lead the random ones, as far as the class's
            mean gradient tells.
        hypotheses: by which both p are multiplied.
        level: what they must be below.
        criterion: which tests decide, see `Criterion.tests`.
    """

    scores: Scores
    random_sign_counts: np.ndarray
    random_accuracy: float | None
    t_test: float
    permutation: float
    least: float
    difference: float
    hypotheses: int
    level: float
    criterion: Tests = "both"

    @property
    def t_test_corrected(self) -> float:
        """Bonferroni's: p times the number of hypotheses, at most 1."""
        return min(1.0, self.t_test * self.hypotheses)

    @property
    def permutation_corrected(self) -> float:
        """As `t_test_corrected`."""
        return min(1.0, self.permutation * self.hypotheses)

    @property
    def by_t_test(self) -> bool:
        """The papers' verdict: whether p of the t-test is below the level, corrected."""
        return self.t_test_corrected < self.level

    @property
    def by_both(self) -> bool | None:
        """Whether both tests are below the level, corrected, and score and difference agree on the direction.

        None: the permutation test could not be, whatever the clips show, as they are too few.
        """
        if self.least * self.hypotheses >= self.level:
            return None
        agree = (self.scores.mean - 0.5) * self.difference > 0
        return self.by_t_test and self.permutation_corrected < self.level and agree

    @property
    def significant(self) -> bool:
        """The verdict by the criterion."""
        return self.by_t_test if self.criterion == "t-test" else bool(self.by_both)

    def tests(self) -> dict:
        """The random sets and the tests, as text and numbers that `json.dump` takes."""
        counts = self.random_sign_counts
        return {name: value for name, value in vars(self).items() if name not in ("scores", "random_sign_counts")} | {
            "random_mean": float(counts.mean()),
            "random_deviation": float(counts.std(ddof=1)),
            "t_test_corrected": self.t_test_corrected,
            "permutation_corrected": self.permutation_corrected,
            "by_t_test": self.by_t_test,
            "by_both": self.by_both,
            "significant": self.significant,
        }


def significance(
    concepts: Mapping[str, np.ndarray],
    gradients: np.ndarray,
    random_sets: Sequence[np.ndarray],
    classifier: CavFit | None = None,
    criterion: Criterion | None = None,
    groups: Mapping[str, Sequence] | None = None,
    random_groups: Sequence[Sequence] | None = None,
) -> dict[str, Significance]:
    """Tests each concept against random sets (Figure 10 of the Video-TCAV paper, which takes ten).

    The t-test is that of the papers: the concept's sign counts against each random set, and those of the random sets
    against each other. The permutation test compares how far the concept's clips and all random clips lie along the
    class's mean gradient with what comes of dealing the same clips at random to concept and rest. A clip that was drawn
    into several random sets counts once, and one that is the concept's own is no random one. Sources of clips
    (`groups`) are dealt as wholes.

    Where every score is 0 or 1, as in a class whose gradient hardly differs between clips, ten random sets cannot bring
    Student's t-test below p = 0.0023: from 22 hypotheses on it takes more sets.

    Args:
        concepts: name -> activations (N, D) at one tap; one is enough.
        gradients: (M, D) of the class's logit at that tap, for clips of the class.
        random_sets: two or more sets (N, D) of random clips, best of the concepts' size.
        classifier: how to fit; None: `CavFit()`.
        criterion: how to test; None: `Criterion()`.
        groups, random_groups: as in `relative_tcav`.

    Returns:
        name -> `Significance`, in the order given. One concept's result does not depend on which others are given, but
        for the number of hypotheses.

    Raises:
        ValueError: no concept, or fewer than two random sets; sets with fewer than two clips, or fewer than the folds
            take; where the permutation test decides, too few permutations or clips for its p to be below the level
            after the correction; shapes that do not fit.

    Example:
        >>> found = significance({"ball": ball}, gradients, random_sets)
        >>> found["ball"].significant, found["ball"].permutation_corrected
        (True, 0.0005)
    """
    classifier, criterion = classifier or CavFit(), criterion or Criterion()
    if not concepts or len(random_sets) < 2:
        raise ValueError(
            "a t-test compares a concept or more with two random sets or more (the paper has ten). "
            f"Received: {len(concepts)} concepts, {len(random_sets)} random sets"
        )
    hypotheses = criterion.hypotheses or len(concepts)
    criterion.check(hypotheses)
    fresh = _fresh(concepts, random_sets)
    sets, sources, gradients = prepared(concepts, random_sets, gradients, groups, random_groups)
    for name, each in sets.items():
        if len(each) < 2:
            raise ValueError(f"a test takes sets of two clips or more. Received: {len(each)} in {name!r}")
    randoms = list(sets)[len(concepts) :]
    grouped = groups is not None or random_groups is not None

    def between(one, other):
        x = np.concatenate([sets[one], sets[other]])
        inside = np.arange(len(x)) < len(sets[one])
        of_clips = np.concatenate([sources[one], sources[other]]) if grouped else None
        try:
            accuracy = classifier.accuracy(x, inside, of_clips)
        except ValueError as error:
            raise ValueError(f"{one!r} against {other!r}: {error}") from None
        return classifier.plane(x, inside)[0], accuracy

    pairs = [between(one, other) for i, one in enumerate(randoms) for other in randoms[:i]]
    one_way = sign_count(derivatives(gradients, [direction for direction, _ in pairs]))
    both_ways = np.concatenate([one_way, 1 - one_way])
    random_accuracy = None if classifier.folds is None else float(np.mean([accuracy for _, accuracy in pairs]))
    pool = np.concatenate([sets[name] for name in randoms])
    pool_sources = np.concatenate([sources[name] for name in randoms])
    found = {}
    for name in concepts:
        directions, accuracies = zip(*(between(name, random) for random in randoms), strict=True)
        scored = scores(name, directions, accuracies, gradients, len(sets[name]))
        along = np.concatenate([sets[name], pool[fresh[name]]]) @ gradients.T
        inside = np.arange(len(along)) < len(sets[name])
        units = _units(inside, np.concatenate([sources[name], pool_sources[fresh[name]]]))
        ways = math.comb(int(units.max()) + 1, len(set(units[inside])))
        if criterion.tests == "both" and ways <= hypotheses / criterion.level:
            raise ValueError(
                f"a permutation test of concept {name!r} takes more clips, or sources of clips: {inside.sum()} of the "
                f"concept and {(~inside).sum()} random ones can be dealt in {ways} ways, and {hypotheses} hypotheses "
                f"at {criterion.level} take more than {math.floor(hypotheses / criterion.level)}"
            )
        found[name] = Significance(
            scored,
            both_ways,
            random_accuracy,
            _t_test(scored.sign_counts, both_ways),
            _permutation(along, inside, units, criterion),
            1 / min(ways, criterion.permutations + 1),
            float(along[inside].mean() - along[~inside].mean()),
            hypotheses,
            criterion.level,
            criterion.tests,
        )
    return found


def _fresh(concepts, random_sets) -> dict[str, np.ndarray]:
    """Concept -> which rows of all random sets to count: each clip once, and none of the concept's own."""
    pool = [np.asarray(row).tobytes() for each in random_sets for row in np.asarray(each)]
    first = {}
    for i, row in enumerate(pool):
        first.setdefault(row, i)
    return {
        name: np.array(sorted(first[row] for row in first.keys() - {row.tobytes() for row in np.asarray(own)}), int)
        for name, own in concepts.items()
    }


def _units(inside, sources) -> np.ndarray:
    """Numbers from 0 of what is dealt as a whole: the clips of one source on one side."""
    names = np.char.add(np.where(inside, "+", "-"), sources)
    return np.unique(names, return_inverse=True)[1]


def _t_test(concept, random) -> float:
    """p of Student's t-test, as tensorflow/tcav's; Welch's trusts the seeming precision of a concept's scores more."""
    if np.ptp(concept) == 0 and np.ptp(random) == 0:  # no spread to compare with
        return 1.0 if concept[0] == random[0] else 0.0
    sides = [part for side in (concept, random) for part in (side.mean(), side.std(ddof=1), len(side))]
    return float(stats.ttest_ind_from_stats(*sides).pvalue)


def _permutation(along, inside, units, criterion) -> float:
    """Share of the dealings, the true one among them, that part the two sides at least as far as the true one.

    How far is told by a t: the difference of the sides' means over its standard error. That has the spread of both
    sides, so that the test holds its level also where a concept's clips differ less among themselves, or more, than
    random ones do (Janssen 1997), and that of the class's clips: where these disagree about a concept, their mean
    gradient leans to one side only because so few clips were taken.

    Args:
        along: (N, M), how far each clip lies along the gradient of each clip of the class.
        inside: bool (N,), the concept's clips.
        units: int (N,), as `_units`.
    """
    along = along - along.mean(axis=0)
    mean = along.mean(axis=1)
    values = np.column_stack([np.ones_like(mean), mean**2, along])

    def parted(dealt):  # bool (P, N)
        sums = dealt.astype(float) @ values
        variance, sides = 0.0, []
        for number, squares, *totals in (sums.T, (values.sum(axis=0) - sums).T):
            sides.append(np.stack(totals, axis=1) / number[:, None])  # (P, M)
            spread = squares / number - sides[-1].mean(axis=1) ** 2
            variance = variance + np.maximum(spread, 0) / np.maximum(number - 1, 1)
        differences = sides[0] - sides[1]
        if differences.shape[1] > 1:
            variance = variance + differences.var(axis=1, ddof=1) / differences.shape[1]
        difference = np.abs(differences.mean(axis=1))
        infinite = np.where(difference > 0, np.inf, 0.0)
        return np.divide(difference, np.sqrt(variance), out=infinite, where=variance > 0)

    labels = np.zeros(units.max() + 1, bool)
    labels[units[inside]] = True
    true = parted(inside[None])[0] * (1 - 1e-9)  # the same dealing again is as far, but for rounding
    random = np.random.default_rng(criterion.seed)
    as_far = 1
    for done in range(0, criterion.permutations, _TOGETHER):
        count = min(_TOGETHER, criterion.permutations - done)
        dealt = random.permuted(np.tile(labels, (count, 1)), axis=1)[:, units]
        as_far += int((parted(dealt) >= true).sum())
    return as_far / (criterion.permutations + 1)
