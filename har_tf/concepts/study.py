"""Which concepts a model uses for a class, layer by layer: Figures 7 to 10 of the Video-TCAV paper.

    study = Study(Bank(model, taps), CavFit(), level=0.05, resamples=100)
    study.figures(sets, tennis, class_index=4)

Everything comes back as dicts, text and numbers, as `results.json` has them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from har_tf.concepts.cav import CavFit, in_span
from har_tf.concepts.clip_sets import DYNAMIC, STATIC, ClipSet, ConceptSets
from har_tf.concepts.scores import RANDOM, relative_tcav
from har_tf.concepts.significance import Criterion, Tests, significance
from har_tf.concepts.tcav import Bank
from har_tf.evaluate.bootstrap import redrawn
from har_tf.progress import progress

FURTHER = "a further random set"  # tested as if it were a concept
_LEAST = 20  # draws that an interval takes


@dataclass(frozen=True)
class Study:
    """How concepts are measured.

    Args:
        bank: activations and gradients of the model.
        fit: how CAVs are fitted; its seed is also that of the draws.
        level: of significance, after Bonferroni's correction.
        resamples: draws behind an interval; below 20 there is none.
        criterion: which tests decide, see `Criterion.tests`.
    """

    bank: Bank
    fit: CavFit
    level: float = 0.05
    resamples: int = 100
    criterion: Tests = "both"

    def figures(self, sets: ConceptSets, clips: ClipSet, class_index: int) -> dict:
        """Figures 7 to 10, and what changes with depth, for clips of the class, the output `class_index` of the model.

        Returns:
            "figures": "7", "8": tap -> name -> scores (see `relative`), of static and of dynamic concepts; "9": concept
            -> the same, of both kinds of it; "tests": kind -> what `tests` gives; "changes": those of `relative`, each
            with the number of its figure, and in Figure 9 its concept; "same_gradient": taps where all clips of the
            class have one gradient, so that against each random set a score is 0 or 1.

        Raises:
            ValueError: sets too small for the cross-validation or for the tests.
        """
        slopes = self.bank.gradients(clips.clips, class_index)
        found: dict = {"figures": {}, "tests": {}, "changes": []}
        found["same_gradient"] = [tap for tap in self.bank.taps if _same(slopes[tap])]
        each = [each for kind in sets.concepts for each in (*sets.concepts[kind].values(), *sets.randoms[kind])]
        with progress("activations of concepts", sum(map(len, each)), "clips") as advance:
            for one in each:
                self.bank.activations(one.clips)
                advance(len(one))
        for number, kind in ((7, STATIC), (8, DYNAMIC)):
            if kind in sets.concepts:
                shown, randoms = sets.concepts[kind], sets.randoms[kind]
                scores, changes = self.relative(shown, randoms[:-1], clips, slopes)
                found["figures"][str(number)] = scores
                found["changes"] += [{"figure": number, **change} for change in changes]
                found["tests"][kind] = self.tests(shown, randoms, slopes)
        if not sets.missing:
            found["figures"]["9"], mixed = {}, sets.mixed()
            for name in sets.names:
                shown = {f"{name}, {kind}": sets.concepts[kind][name] for kind in (STATIC, DYNAMIC)}
                pair = (f"{name}, {DYNAMIC}", f"{name}, {STATIC}")
                found["figures"]["9"][name], changes = self.relative(shown, mixed[:-1], clips, slopes, pair)
                found["changes"] += [{"figure": 9, "concept": name, **change} for change in changes]
        return found

    def relative(
        self,
        shown: Mapping[str, ClipSet],
        randoms: Sequence[ClipSet],
        clips: ClipSet,
        slopes: Mapping[str, np.ndarray],
        pair: tuple[str, str] | None = None,
    ) -> tuple[dict, list[dict]]:
        """Relative scores of sets that are shown together, with intervals.

        An interval draws the clips of every set, of one random set and of the class again, by recording, and fits all
        CAVs anew. Scores of several random sets share the concept's clips: their deviation is not how sure a score is.

        Args:
            shown, randoms: clips by name, and random sets.
            clips, slopes: of the class, and tap -> gradients of its logit for them.
            pair: names of two sets whose difference at the last tap is wanted.

        Returns:
            tap -> name -> {"score", "deviation", "accuracy", "magnitude", "derivative", "clips", "interval"}, and what
            changes: {"what", "minus", "between", "value", "interval"}, from the first to the last tap for every name
            ("minus" is the same name), and at the last tap between the pair. The last is that of those where clips of
            the class have different gradients, if there is one.
        """
        groups = {name: each.groups for name, each in shown.items()}
        random_groups = [each.groups for each in randoms]
        activations = [self.bank.activations(each.clips) for each in (*shown.values(), *randoms)]
        found, spanned = {}, {}
        for tap in self.bank.taps:
            arrays, slope = in_span([each[tap] for each in activations], slopes[tap])
            concepts, others = dict(zip(shown, arrays, strict=False)), arrays[len(shown) :]
            scores = relative_tcav(concepts, slope, others, self.fit, groups, random_groups)
            spanned[tap] = concepts, others, slope
            found[tap] = {name: score.as_dict() for name, score in scores.items()}
        drawn = self._drawn(shown, randoms, clips, spanned)
        for tap, by_name in found.items():
            for name in by_name:
                by_name[name]["interval"] = _interval(drawn[tap][name])

        def difference(name, tap, other, other_tap):
            return {
                "what": name,
                "minus": other,
                "between": [other_tap, tap],
                "value": found[tap][name]["score"] - found[other_tap][other]["score"],
                "interval": _interval(drawn[tap][name] - drawn[other_tap][other]),
            }

        first, *deeper = self.bank.taps
        last = next((tap for tap in reversed(deeper) if not _same(slopes[tap])), self.bank.taps[-1])
        changes = [difference(name, last, name, first) for name in found[last]]
        if pair is not None:
            changes.append(difference(pair[0], last, pair[1], last))
        return found, changes

    def _drawn(self, shown, randoms, clips, spanned) -> dict[str, dict[str, np.ndarray]]:
        """tap -> name -> score of every draw: CAVs are fitted to its rows, so counts of clusters are not enough."""
        drawn = {tap: {name: np.zeros(self.resamples) for name in (*shown, RANDOM)} for tap in spanned}
        quick, rng = replace(self.fit, folds=None), np.random.default_rng([self.fit.seed, 3])
        with progress("intervals", self.resamples, "draws") as advance:
            for draw in range(self.resamples):
                number = int(rng.integers(len(randoms)))
                rows = {name: redrawn(each.groups, rng) for name, each in shown.items()}
                random_rows, class_rows = (redrawn(each.groups, rng) for each in (randoms[number], clips))
                for tap, (concepts, others, slope) in spanned.items():
                    again = {name: concepts[name][rows[name]] for name in shown}
                    scores = relative_tcav(again, slope[class_rows], [others[number][random_rows]], quick)
                    for name, score in scores.items():
                        drawn[tap][name][draw] = score.mean
                advance(1)
        return drawn

    def tests(
        self, shown: Mapping[str, ClipSet], randoms: Sequence[ClipSet], slopes: Mapping[str, np.ndarray]
    ) -> dict[str, dict[str, dict]]:
        """Tests of every concept by itself, and of the last random set as if it were one, against the other sets.

        Every concept at every tap is a hypothesis.

        Returns:
            tap -> name -> scores and "random_mean", "by_t_test", "significant" and so on, see `Significance`; "random":
            whether it is the random set.
        """
        concepts = {**shown, FURTHER: randoms[-1]}
        hypotheses = len(concepts) * len(self.bank.taps)
        permutations = max(1999, 2 * math.ceil(hypotheses / self.level))
        if self.criterion == "t-test":  # a small level does not make the verdict that is not asked for take hours
            permutations = min(permutations, 19999)
        criterion = Criterion(self.level, hypotheses, permutations, self.fit.seed, self.criterion)
        activations = {name: self.bank.activations(each.clips) for name, each in concepts.items()}
        others = [self.bank.activations(each.clips) for each in randoms[:-1]]
        groups = {name: each.groups for name, each in concepts.items()}
        random_groups = [each.groups for each in randoms[:-1]]
        found = {}
        for tap in self.bank.taps:
            sets, drawn = {name: each[tap] for name, each in activations.items()}, [each[tap] for each in others]
            tested = significance(sets, slopes[tap], drawn, self.fit, criterion, groups, random_groups)
            found[tap] = {
                name: each.scores.as_dict() | each.tests() | {"random": name == FURTHER}
                for name, each in tested.items()
            }
        return found


def check_sizes(
    sets: ConceptSets, clips: ClipSet, taps: Sequence[str], fit: CavFit, level: float, criterion: Tests = "both"
) -> None:
    """Raises ValueError where a test or a cross-validation will take more clips; there need be no model yet."""
    Study(_Blank(taps), fit, level, 0, criterion).figures(sets, clips, 0)


class _Blank:
    """In place of a `Bank`: numbers that mean nothing, for sets of the right sizes."""

    def __init__(self, taps: Sequence[str]) -> None:
        self.taps = tuple(taps)

    def activations(self, clips: np.ndarray) -> dict[str, np.ndarray]:
        keys = [int(clip.astype(np.uint64).sum()) for clip in clips]
        return dict.fromkeys(self.taps, np.array([np.random.default_rng(key).normal(size=2) for key in keys]))

    def gradients(self, clips: np.ndarray, class_index: int) -> dict[str, np.ndarray]:
        return dict.fromkeys(self.taps, np.random.default_rng(class_index).normal(size=(len(clips), 2)))


def _same(slopes: np.ndarray) -> bool:
    """Whether the gradients (M, D) of all clips are one, but for rounding."""
    return bool(np.ptp(slopes, axis=0).max() <= 1e-4 * np.abs(slopes).max())


def _interval(values: np.ndarray) -> list[float] | None:
    return None if len(values) < _LEAST else np.quantile(values, [0.025, 0.975]).tolist()
