"""Concept activation vectors (CAVs): the direction in which the activations of a concept differ from others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

KINDS = ("ridge", "logistic", "svm")
_COLUMNS = 2**16  # of activations that are made float64 at a time


@dataclass(frozen=True)
class CavFit:
    """How CAVs are fitted and how well they tell concepts apart.

    Both sides weigh the same, however many clips they have. Activations are centred and divided by one number, their
    root mean square, so that `l2` means the same at every tap. They are not divided feature by feature: a CAV is a
    direction among the activations as the model has them, and a channel that hardly moves would be blown up.

    Args:
        kind: "ridge", least squares to +1 and -1, which has one solution and needs no iteration; "logistic", or "svm"
            by stochastic gradient descent, the two that tensorflow/tcav has (it prefers the latter).
        l2: weight of the squared norm beside the mean loss. A large one gives the difference of the two means; a small
            one also turns away from directions in which the clips of one side differ among themselves.
        folds: parts of the cross-validation; None leaves it out, and with it the accuracy.
        seed: of the shuffling into parts, and of "svm".

    Raises:
        ValueError: another kind, an `l2` that is not positive, or fewer than 2 folds.
    """

    kind: str = "ridge"
    l2: float = 0.01
    folds: int | None = 5
    seed: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(map(repr, KINDS))}. Received: {self.kind!r}")
        if not self.l2 > 0:
            raise ValueError(f"l2 is a positive number. Received: {self.l2!r}")
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"folds is None, or 2 or more. Received: {self.folds!r}")

    def plane(self, activations: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, float]:
        """The plane between two sides.

        Args:
            activations: (N, D).
            inside: bool (N,), the clips of the concept; both sides have some.

        Returns:
            The unit normal (D,), which points to the concept, and the threshold: what has a larger product with the
            normal is held for the concept. The normal is zero where nothing tells the sides apart.
        """
        x = np.asarray(activations, np.float64)
        inside = np.asarray(inside, bool)
        weights = np.where(inside, 0.5 / inside.sum(), 0.5 / (~inside).sum())
        centre = weights @ x
        x = x - centre
        variance = float(weights @ (x * x).sum(axis=1))
        if variance == 0:
            return np.zeros(x.shape[1]), 0.0
        normal, bias = self._fitted(x / np.sqrt(variance), np.where(inside, 1.0, -1.0), weights)
        norm = np.linalg.norm(normal)
        if norm < 1e-9:  # the same clips on both sides: all that is left is rounding
            return np.zeros_like(normal), 0.0
        normal = normal / norm
        return normal, float(centre @ normal - bias / norm * np.sqrt(variance))

    def _fitted(self, x, sign, weights) -> tuple[np.ndarray, float]:
        """Normal and bias for activations of mean zero and mean square one."""
        if self.kind == "ridge":
            root = np.sqrt(weights)
            rows, target = root[:, None] * x, root * sign  # the weighted mean of the targets is zero: no bias
            if len(rows) < rows.shape[1]:
                return rows.T @ _solved(rows @ rows.T, self.l2, target), 0.0
            return _solved(rows.T @ rows, self.l2, rows.T @ target), 0.0
        from sklearn.linear_model import LogisticRegression, SGDClassifier

        if self.kind == "logistic":
            model = LogisticRegression(C=1 / (len(x) * self.l2), max_iter=2000, tol=1e-6)
        else:
            model = SGDClassifier(alpha=self.l2, max_iter=2000, tol=1e-4, random_state=self.seed)
        model.fit(x, sign, sample_weight=weights * len(x))
        return model.coef_[0], float(model.intercept_[0])

    def accuracy(self, activations: np.ndarray, inside: np.ndarray, groups: np.ndarray | None = None) -> float | None:
        """Cross-validated accuracy: the mean of the shares of both sides that are told right. Chance is 0.5.

        Args:
            activations, inside: as in `plane`.
            groups: (N,) source of each clip, such as its video; clips of one source are never on both sides of a
                division, which would let the plane know a test clip's twin.

        Returns:
            A share; None without folds.

        Raises:
            ValueError: a side has fewer clips, or fewer groups, than there are folds.
        """
        if self.folds is None:
            return None
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        x, inside = np.asarray(activations, np.float64), np.asarray(inside, bool)
        for side in (inside, ~inside):
            count = int(side.sum()) if groups is None else len(np.unique(np.asarray(groups)[side]))
            if count < self.folds:
                what = "clips" if groups is None else "sources of clips"
                raise ValueError(
                    f"{self.folds}-fold cross-validation takes at least {self.folds} {what} on each side; give more, "
                    f"or fewer folds, or folds=None for no accuracy. Received: {count} {what}"
                )
        splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
        parts = splitter(self.folds, shuffle=True, random_state=self.seed).split(x, inside, groups)
        told = np.zeros(len(x))  # 1 right, 0 wrong, 1/2 on the plane or no plane
        for train, test in parts:
            if inside[train].all() or not inside[train].any():
                told[test] = 0.5
                continue
            normal, threshold = self.plane(x[train], inside[train])
            along = x[test] @ normal - threshold
            told[test] = np.where(along == 0, 0.5, (along > 0) == inside[test])
        return float((told[inside].mean() + told[~inside].mean()) / 2)


def _solved(matrix, l2, target):
    return linalg.solve(matrix + l2 * np.eye(len(matrix)), target, assume_a="pos")


@dataclass(frozen=True, eq=False)
class Cav:
    """One concept's direction among the activations of a tap.

    Attributes:
        direction: float64 (D,), of length 1, pointing to the concept; zero where nothing tells it from the rest.
        threshold: activations whose product with `direction` is larger are held for the concept.
        accuracy: cross-validated, between the concept and the rest, chance 0.5; None without folds. A CAV whose
            accuracy is not above chance points nowhere in particular, whatever its score.
    """

    direction: np.ndarray = field(repr=False)
    threshold: float
    accuracy: float | None


def cavs(
    concepts: Mapping[str, np.ndarray],
    classifier: CavFit | None = None,
    groups: Mapping[str, Sequence] | None = None,
) -> dict[str, Cav]:
    """The CAV of each concept against all the others given: one against the rest.

    With two sets, a concept and a random one, these are the CAVs of TCAV (Kim et al. 2018); with more, those of its
    relative variant, in which concepts that share something are told apart by what they do not share.

    Args:
        concepts: name -> activations (N, D) at one tap, as `har_tf.concepts.tcav.activations` gives them. Each side
            of a plane weighs the same, so sets may differ in size.
        classifier: how to fit and to cross-validate; None: `CavFit()`.
        groups: name -> source of each clip, as in `CavFit.accuracy`; sets that are not named have a source a clip.

    Returns:
        name -> `Cav`, in the order given.

    Raises:
        ValueError: fewer than two sets, an empty one, sets of different width, numbers that are not finite, or too
            few clips for the folds.

    Example:
        >>> found = cavs({"ball": ball["layer3"], "random": random["layer3"]})
        >>> found["ball"].accuracy
        0.93
    """
    classifier = classifier or CavFit()
    sets = checked(concepts)
    if len(sets) < 2:
        raise ValueError(
            "a CAV lies between a concept and others: at least two sets are needed, a second concept or a random set. "
            f"Received: {', '.join(sets) or 'none'}"
        )
    sources = sources_of(sets, groups)
    x = np.concatenate(list(sets.values()))
    owner = np.repeat(np.arange(len(sets)), [len(each) for each in sets.values()])
    together = None if groups is None else np.concatenate(list(sources.values()))
    found = {}
    for i, name in enumerate(sets):
        direction, threshold = classifier.plane(x, owner == i)
        try:
            accuracy = classifier.accuracy(x, owner == i, together)
        except ValueError as error:
            raise ValueError(f"concept {name!r} against the rest: {error}") from None
        found[name] = Cav(direction, threshold, accuracy)
    return found


def in_span(sets: Sequence[np.ndarray], gradients: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Activations and gradients in coordinates of the space that the activations span, where they are wider than many.

    Every CAV lies in that space, so planes and derivatives are the same in N coordinates as in D: of whole feature maps
    D is millions, and each would be gone through again for every CAV.

    Args:
        sets: activations (N_i, D).
        gradients: (M, D).

    Returns:
        The sets and the gradients, float64, of width D or less; what the gradients have outside the space is left out.
    """
    count, width = sum(map(len, sets)), gradients.shape[1]
    if width <= count:
        return [np.asarray(each, np.float64) for each in sets], np.asarray(gradients, np.float64)
    gram, cross = np.zeros((count, count)), np.zeros((len(gradients), count))
    for start in range(0, width, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        x = np.concatenate([each[:, columns] for each in sets]).astype(np.float64)
        x -= x.mean(axis=0)
        gram += x @ x.T
        cross += gradients[:, columns].astype(np.float64) @ x.T
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-12 * max(values[-1], 0)
    roots = np.sqrt(values[kept])
    x = vectors[:, kept] * roots
    ends = np.cumsum([len(each) for each in sets])[:-1]
    return np.split(x, ends), cross @ vectors[:, kept] / roots


def checked(sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sets of activations (N, D) that can be compared, or a ValueError that names the one that cannot."""
    found = {name: np.asarray(each) for name, each in sets.items()}
    for name, each in found.items():
        if each.ndim != 2 or not each.size:
            raise ValueError(f"set {name!r} must hold activations (N, D) of one clip or more. Received: {each.shape}")
        if not np.isfinite(each).all():
            raise ValueError(f"set {name!r} holds activations that are not finite")
    widths = {name: each.shape[1] for name, each in found.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"all sets come from one tap and have one width. Received: {widths}")
    return found


def sources_of(sets: Mapping[str, np.ndarray], groups: Mapping[str, Sequence] | None) -> dict[str, np.ndarray]:
    """Set -> source of each clip; a set without named sources has one of its own for every clip."""
    groups = groups or {}
    if unknown := set(groups) - set(sets):
        raise ValueError(f"groups are of the sets {', '.join(sets)}. Received: groups of {', '.join(sorted(unknown))}")
    found = {}
    for name, each in sets.items():
        own = [str(source) for source in groups.get(name, (f"\0{name}\0{i}" for i in range(len(each))))]
        if len(own) != len(each):
            raise ValueError(f"set {name!r} has {len(each)} clips and needs as many groups. Received: {len(own)}")
        found[name] = np.array(own)
    return found
