"""How good the predictions are: accuracy with its interval, macro scores, top-5 and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn import metrics

from har_tf.evaluate.bootstrap import wilson


@dataclass(frozen=True)
class ClassRow:
    """The scores of one class.

    Args:
        name: the class.
        support: test clips of this class.
        predicted: test clips that were given this class, rightly or not.
        precision: share of the predicted clips that are of this class; 0 where none was predicted, None where
            the class has no test clip.
        recall: share of the clips of this class that were found; None where the class has no test clip.
        f1: harmonic mean of the two; 0 where both are 0, None where the class has no test clip.
    """

    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """What `report` measured.

    Args:
        class_names: the classes in the order of the labels.
        clips: number of test clips.
        accuracy: share of clips whose most probable class is the true one.
        accuracy_interval: (low, high), the 95 % Wilson interval of `accuracy`.
        precision: mean precision of the classes that have test clips (macro average).
        recall: their mean recall.
        f1: the mean of their F1, not the F1 of the means.
        top5: share of clips whose true class is among the `top_k` most probable ones.
        top_k: 5, or the number of classes where there are fewer.
        per_class: one row a class, in the order of `class_names`.
        confusion: int64 (C, C), rows the true class, columns the predicted one.
        absent: classes without a test clip; they enter no macro average.
    """

    class_names: tuple[str, ...]
    clips: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    precision: float
    recall: float
    f1: float
    top5: float
    top_k: int
    per_class: tuple[ClassRow, ...]
    confusion: np.ndarray
    absent: tuple[str, ...]

    def as_dict(self) -> dict:
        """Returns everything as lists, dicts, text and numbers that `json.dump` takes."""
        plain = {**vars(self), "per_class": [asdict(row) for row in self.per_class]}
        plain["confusion"] = self.confusion.tolist()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def report(y_true, probabilities, class_names: Sequence[str]) -> ClassificationReport:
    """Compares true labels with predicted probabilities.

    These are the columns of Table 1 and the matrix of Figure 5 of the CNN-GRU paper. A class without a test
    clip has no recall; it is left out of the macro averages and listed in `absent`, and clips wrongly given
    to it still count against their true class. Of equally probable classes the first counts as more probable,
    as in `argmax`.

    Args:
        y_true: int (N,), labels from 0 to C - 1.
        probabilities: float (N, C), one distribution a clip (softmax output, not logits).
        class_names: the C names, label 0 first.

    Returns:
        A `ClassificationReport`.

    Raises:
        ValueError: shapes, labels or names do not fit together, or a row is not a probability distribution.

    Example:
        >>> result = report([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["clap", "wave"])
        >>> result.confusion.tolist()
        [[1, 0], [1, 1]]
    """
    class_names = _checked_names(class_names)
    classes = len(class_names)
    y_true = _checked_labels(y_true, class_names)
    probabilities = _checked_probabilities(probabilities, len(y_true), classes)

    ranking = np.argsort(-probabilities, axis=1, kind="stable")  # (N, C)
    y_pred = ranking[:, 0]
    top_k = min(5, classes)
    hits = int((y_pred == y_true).sum())

    labels = np.arange(classes)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        y_true, y_pred, labels=labels, zero_division=0
    )
    present = support > 0
    predicted = np.bincount(y_pred, minlength=classes)
    rows = (
        ClassRow(name, int(n), int(given), *((float(p), float(r), float(f)) if n else (None, None, None)))
        for name, n, given, p, r, f in zip(class_names, support, predicted, precision, recall, f1, strict=True)
    )
    return ClassificationReport(
        class_names=class_names,
        clips=len(y_true),
        accuracy=hits / len(y_true),
        accuracy_interval=wilson(hits, len(y_true)),
        precision=float(precision[present].mean()),
        recall=float(recall[present].mean()),
        f1=float(f1[present].mean()),
        top5=float((ranking[:, :top_k] == y_true[:, None]).any(axis=1).mean()),
        top_k=top_k,
        per_class=tuple(rows),
        confusion=metrics.confusion_matrix(y_true, y_pred, labels=labels),
        absent=tuple(name for name, n in zip(class_names, support, strict=True) if not n),
    )


def _checked_names(class_names) -> tuple[str, ...]:
    if isinstance(class_names, str):
        raise ValueError(f"class_names must be a sequence of names. Received: {class_names!r}.")
    names = tuple(str(name) for name in class_names)
    if len(names) < 2:
        raise ValueError(f"class_names must hold at least two classes. Received: {list(names)}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"class_names must be different from each other. Received twice: {twice}.")
    return names


def _checked_labels(y_true, class_names) -> np.ndarray:
    labels = np.asarray(y_true)
    if labels.ndim != 1 or not labels.size:
        raise ValueError(f"y_true must be one label a clip, shape (N,) with N > 0. Received: shape {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"y_true must be integer labels. Received: dtype {labels.dtype}.")
    outside = np.unique(labels[(labels < 0) | (labels >= len(class_names))])
    if outside.size:
        raise ValueError(
            f"y_true must lie in 0 to {len(class_names) - 1} for {len(class_names)} classes. "
            f"Received: {outside[:5].tolist()}."
        )
    return labels.astype(np.int64)


def _checked_probabilities(probabilities, clips, classes) -> np.ndarray:
    values = np.asarray(probabilities, dtype=np.float64)
    if values.shape != (clips, classes):
        raise ValueError(
            f"probabilities must have shape ({clips}, {classes}): clips, classes. Received: {values.shape}."
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"probabilities must be finite. Received: row {row} is {values[row].tolist()}.")
    # Wide enough for a softmax in half precision, far too narrow for logits.
    wrong = (np.abs(values.sum(axis=1) - 1) > 1e-2) | (values < 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            "probabilities must be non-negative and sum to 1 in each row (softmax output, not logits). "
            f"Received: row {row} has minimum {values[row].min():.4g} and sum {values[row].sum():.4g}."
        )
    return values
