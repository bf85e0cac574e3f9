"""TCAV scores: how often, and how strongly, a class's logit grows in the direction of a concept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from har_tf.concepts.cav import CavFit, cavs, checked, in_span, sources_of

RANDOM = "random"  # how relative scores call the random set


def derivatives(gradients: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How fast the class's logit grows along each direction, for each clip: one matrix product for all CAVs.

    Args:
        gradients: (N, D) of the logit, as `har_tf.concepts.tcav.gradients` gives them.
        directions: (K, D), of length 1.

    Returns:
        float64 (K, N): equation (1) of Kim et al. 2018.
    """
    return np.asarray(directions, np.float64) @ np.asarray(gradients, np.float64).T


def sign_count(along: np.ndarray) -> np.ndarray:
    """Share of the clips with a positive derivative, the TCAV score of both papers; in [0, 1].

    A derivative of exactly zero counts half. Counted as not positive, as tensorflow/tcav does, a class that a tap has
    no influence on would score 0 for every concept, as if it shunned them all.
    """
    along = np.asarray(along)
    return ((along > 0).mean(axis=-1) + (along >= 0).mean(axis=-1)) / 2


def magnitude(along: np.ndarray) -> np.ndarray:
    """Share of the positive derivatives in the sum of all sizes, in [0, 1]: what raises the logit much counts more.

    sum(max(S, 0)) / sum(|S|); 0.5 where every derivative is zero. So Captum's documentation defines its magnitude
    score; its code returns another number, the mean of S.
    """
    along = np.asarray(along)
    total = np.abs(along).sum(axis=-1)
    positive = np.maximum(along, 0).sum(axis=-1)
    return np.divide(positive, total, out=np.full_like(total, 0.5), where=total > 0)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one concept at one tap, one for each random set that its CAV was made against.

    Attributes:
        concept: its name.
        sign_counts: float64 (R,), as `sign_count`: the TCAV scores.
        magnitudes: float64 (R,), as `magnitude`.
        derivatives: float64 (R,), mean derivative of the logit along the CAV, in logits for a step of length 1.
        accuracies: float64 (R,), cross-validated, of the CAVs, chance 0.5; None without folds.
        clips: number of clips of the concept.
        class_clips: number of clips of the class, each of which has a derivative.
    """

    concept: str
    sign_counts: np.ndarray
    magnitudes: np.ndarray
    derivatives: np.ndarray
    accuracies: np.ndarray | None
    clips: int
    class_clips: int

    @property
    def mean(self) -> float:
        """Of the sign counts."""
        return float(self.sign_counts.mean())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the sign counts; None with one random set."""
        return float(self.sign_counts.std(ddof=1)) if len(self.sign_counts) > 1 else None

    @property
    def accuracy(self) -> float | None:
        """Mean of the accuracies."""
        return None if self.accuracies is None else float(self.accuracies.mean())

    def as_dict(self) -> dict:
        """What `results.json` keeps: numbers, means over the random sets."""
        return {
            "score": self.mean,
            "deviation": self.deviation,
            "accuracy": self.accuracy,
            "magnitude": float(self.magnitudes.mean()),
            "derivative": float(self.derivatives.mean()),
            "clips": self.clips,
        }


def scores(
    concept: str, directions: np.ndarray, accuracies: Sequence[float | None], gradients: np.ndarray, clips: int
) -> Scores:
    """The scores of several CAVs of one concept, (R, D)."""
    along = derivatives(gradients, directions)
    found = None if None in accuracies else np.array(accuracies)
    return Scores(concept, sign_count(along), magnitude(along), along.mean(axis=1), found, clips, len(gradients))


def relative_tcav(
    concepts: Mapping[str, np.ndarray],
    gradients: np.ndarray,
    random_sets: Sequence[np.ndarray] = (),
    classifier: CavFit | None = None,
    groups: Mapping[str, Sequence] | None = None,
    random_groups: Sequence[Sequence] | None = None,
) -> dict[str, Scores]:
    """Scores of concepts that are shown together, each against the rest (Figures 7 to 9 of the Video-TCAV paper).

    Of two concepts that resemble each other, such as a moving and a frozen ball, each CAV points to what the other does
    not have. The random set is one of the group; with several, the group is scored with each of them in turn, whose
    spread the figures can show.

    Args:
        concepts: name -> activations (N, D) at one tap.
        gradients: (M, D) of the class's logit at that tap, for clips of the class.
        random_sets: activations (N, D) of random clips; may be empty.
        classifier: how to fit; None: `CavFit()`.
        groups, random_groups: source of each clip, as in `har_tf.concepts.cav.cavs`, for concepts and random sets.

    Returns:
        name -> `Scores`, in the order given, and last "random" where there are random sets.

    Raises:
        ValueError: fewer than two concepts, an empty one, one that is called "random", other shapes, or too few clips
            for the folds.

    Example:
        >>> found = relative_tcav({"moving": moving, "frozen": frozen}, gradients, random_sets)
        >>> found["moving"].mean, found["random"].mean
        (0.97, 0.11)
    """
    if len(concepts) < 2:
        raise ValueError(
            "relative TCAV shows concepts together: at least two are needed, beside random sets. One alone takes "
            f"significance(). Received: {', '.join(concepts) or 'none'}"
        )
    sets, sources, gradients = prepared(concepts, random_sets, gradients, groups, random_groups)
    grouped = groups is not None or random_groups is not None
    randoms = list(sets)[len(concepts) :]
    runs = []
    for random in randoms or [None]:
        together = {name: sets[name] for name in concepts} | ({RANDOM: sets[random]} if random else {})
        of_clips = {name: sources[random if name == RANDOM else name] for name in together} if grouped else None
        runs.append(cavs(together, classifier, of_clips))
    return {
        name: scores(
            name,
            [run[name].direction for run in runs],
            [run[name].accuracy for run in runs],
            gradients,
            len(sets[randoms[0] if name == RANDOM else name]),
        )
        for name in runs[0]
    }


def random_names(concepts: Iterable[str], count: int) -> list[str]:
    """What so many random sets are called, "random 1", "random 2", ...; ValueError where a concept has such a name."""
    names = [f"{RANDOM} {i}" for i in range(1, count + 1)]
    if taken := {RANDOM, *names} & set(concepts):
        raise ValueError(f"this name is kept for random sets. Received: a concept called {sorted(taken)[0]!r}")
    return names


def prepared(
    concepts: Mapping[str, np.ndarray],
    random_sets: Sequence[np.ndarray],
    gradients: np.ndarray,
    groups: Mapping[str, Sequence] | None,
    random_groups: Sequence[Sequence] | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Concepts and random sets by name, the sources of their clips, and gradients: checked, in the span."""
    names = random_names(concepts, len(random_sets))
    if random_groups is not None and len(random_groups) != len(random_sets):
        raise ValueError(
            f"random_groups are one sequence a random set, {len(random_sets)}. Received: {len(random_groups)}"
        )
    sets = checked({**concepts, **dict(zip(names, random_sets, strict=True))})
    sources = sources_of(sets, {**(groups or {}), **dict(zip(names, random_groups or (), strict=False))})
    (width,) = {each.shape[1] for each in sets.values()}
    gradients = np.asarray(gradients)
    if gradients.ndim != 2 or not len(gradients) or gradients.shape[1] != width or not np.isfinite(gradients).all():
        raise ValueError(
            f"gradients are (M, {width}) of one clip of the class or more, from the tap of the activations, finite. "
            f"Received: {gradients.shape}"
        )
    arrays, gradients = in_span(list(sets.values()), gradients)
    return dict(zip(sets, arrays, strict=True)), sources, gradients
