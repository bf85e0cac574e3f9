"""A classifier on videos of a data set that it was not trained on: how often the class that stands for theirs is named.

Intervals draw whole groups, of clips cut from one recording, again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap

KS = (1, 5)


def hits(probabilities: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether the wanted output is among the most probable ones, bool (N, 2): among 1, among 5.

    Args:
        probabilities: float (N, C).
        wanted: int (N,), the output that stands for each video's class. Of equally probable ones the first counts as
            more probable.
    """
    ranking = np.argsort(-probabilities, axis=1, kind="stable")
    return np.stack([(ranking[:, :k] == wanted[:, None]).any(axis=1) for k in KS], axis=1)


def measured(
    probabilities: np.ndarray,
    labels: np.ndarray,
    outputs: Mapping[int, int],
    groups: Sequence[str],
    class_names: Sequence[str],
    bootstrap: Bootstrap | None = None,
) -> dict:
    """Top-1 and top-5 of all videos and of each class, as plain values.

    Args:
        probabilities: float (N, C).
        labels: int (N,), the class of each video in the data set.
        outputs: label -> the output that stands for it; videos of other classes do not count.
        groups: N, the recording that each was cut from; those of two classes are two.
        class_names: of the outputs.
        bootstrap: how intervals are made; None: `Bootstrap()`.

    Returns:
        {"videos": how many count, "top1", "top1_interval", "top5", "top5_interval", "classes": [{"label", "videos",
        "top1", "top5", "answers": the most frequent answers, (name, how often)}, ...]}.
    """
    bootstrap = bootstrap or Bootstrap()
    counted = np.isin(labels, list(outputs))
    wanted = np.array([outputs.get(label, -1) for label in labels.tolist()])
    found = hits(probabilities, wanted).astype(float)
    _, clusters = np.unique(np.array(groups)[counted], return_inverse=True)
    means = bootstrap.means(found[counted], np.ones(counted.sum()), clusters)
    values = {"videos": int(counted.sum())}
    for k, value, bounds in zip(KS, found[counted].mean(axis=0), bootstrap.intervals(means, clusters), strict=True):
        values |= {f"top{k}": float(value), f"top{k}_interval": bounds}
    classes = []
    for label in np.unique(labels).tolist():
        of_class = labels == label
        answers = Counter(class_names[i] for i in probabilities[of_class].argmax(axis=1)).most_common(3)
        shares = found[of_class].mean(axis=0).tolist() if label in outputs else [None] * len(KS)
        shares = {f"top{k}": share for k, share in zip(KS, shares, strict=True)}
        classes.append({"label": label, "videos": int(of_class.sum()), **shares, "answers": answers})
    return values | {"classes": classes}
