"""From hits in single frames to an accuracy: by frame, by video and by class, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap

UNITS = ("frame", "video")


@dataclass(frozen=True, eq=False)
class Frames:
    """What belongs together among N measured frames. A picture is a video of one frame.

    Args:
        videos: N names, the video of each frame.
        groups: N names, the source that each frame's video was cut from, which is what is drawn again for intervals;
            None: every video is its own.
        labels: int (N,), the true class, for results by class.
        class_names: the classes in the order of the labels.
        correct: bool (N,), whether the model answered the true class, for Acc2.

    Raises:
        ValueError: not N of each, a label without a name, or a video in two groups.
    """

    videos: Sequence[str]
    groups: Sequence[str] | None = None
    labels: Sequence[int] | None = None
    class_names: tuple[str, ...] = ()
    correct: Sequence[bool] | None = None

    def __post_init__(self):
        if not len(self):
            raise ValueError("there must be at least one frame. Received: none")
        for name in ("groups", "labels", "correct"):
            given = getattr(self, name)
            if given is not None and np.shape(given) != (len(self),):
                raise ValueError(f"{name} must be one for each of {len(self)} frames. Received: {np.shape(given)}")
        if self.correct is not None and np.asarray(self.correct).dtype != bool:
            raise ValueError(f"correct must be bool. Received: {np.asarray(self.correct).dtype}")
        if self.labels is not None:
            labels = np.asarray(self.labels)
            if not np.issubdtype(labels.dtype, np.integer) or not (
                labels.min() >= 0 and labels.max() < len(self.class_names)
            ):
                raise ValueError(
                    f"labels must be integers from 0 to {len(self.class_names) - 1}, one of class_names each. "
                    f"Received: {labels.dtype} from {labels.min()} to {labels.max()}"
                )
        group_of = {}
        for video, group in zip(self.videos, self.groups if self.groups is not None else (), strict=False):
            if group_of.setdefault(video, group) != group:
                raise ValueError(f"{video}: is in two groups, {group_of[video]} and {group}")

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def clusters(self) -> np.ndarray:
        """int (N,), the number of the group of each frame, 0 to C - 1."""
        return _numbers(self.videos if self.groups is None else self.groups)

    @property
    def counts(self) -> dict[str, int]:
        """How many frames there are, of how many videos, from how many groups."""
        return {"frames": len(self), "videos": len(set(self.videos)), "groups": int(self.clusters.max()) + 1}

    def weights(self, per: str) -> np.ndarray:
        """(N,) how much each frame counts.

        "frame": all alike. "video": 1 / n in a video of n frames, so that the weighted mean is the mean over videos of
        the mean over the annotated frames of each.
        """
        if per not in UNITS:
            raise ValueError(f"per is one of {', '.join(map(repr, UNITS))}. Received: {per=}")
        if per == "frame":
            return np.ones(len(self))
        video = _numbers(self.videos)
        return 1 / np.bincount(video)[video]

    def counted(self, hits: np.ndarray) -> np.ndarray:
        """The hits (N, ...) of Acc2: those of frames of which the class was right.

        Raises:
            ValueError: it is not known where the class was right.
        """
        if self.correct is None:
            raise ValueError("Acc2 counts hits where the class was right. Received: Frames without `correct`")
        right = np.asarray(self.correct).reshape(-1, *[1] * (np.ndim(hits) - 1))
        return np.where(right, hits, np.zeros((), np.asarray(hits).dtype))

    def by_class(self, hits: np.ndarray, per: str) -> tuple["ClassHits", ...]:
        """The accuracy within each class; hits (N, S). Nothing without labels."""
        if self.labels is None:
            return ()
        labels, weights, video = np.asarray(self.labels), self.weights(per), _numbers(self.videos)
        rows = []
        for label, name in enumerate(self.class_names):
            own = labels == label
            shares = (weights[own] @ hits[own] / weights[own].sum()).tolist() if own.any() else [None] * hits.shape[1]
            rows.append(ClassHits(name, int(own.sum()), len(np.unique(video[own])), tuple(shares)))
        return tuple(rows)


@dataclass(frozen=True)
class ClassHits:
    """The accuracy within one class.

    Args:
        name: the class.
        frames: its measured frames.
        videos: its measured videos.
        accuracy: one share for every column of the table it stands in; None where the class has no frame.
    """

    name: str
    frames: int
    videos: int
    accuracy: tuple[float | None, ...]


@dataclass(frozen=True)
class Accuracy:
    """The share of hits.

    Args:
        per: "frame", all frames alike, or "video", the mean over videos of the share of their frames.
        acc2: whether hits count only where the class was right.
        value: the share.
        interval: (low, high) from whole groups drawn again; None with a single group.
        frames: how many frames were measured.
        videos: of how many videos.
        groups: from how many groups.
        per_class: one row a class where there are labels.
    """

    per: str
    acc2: bool
    value: float
    interval: tuple[float, float] | None
    frames: int
    videos: int
    groups: int
    per_class: tuple[ClassHits, ...] = ()


def accuracy(
    hits: np.ndarray, frames: Frames, per: str = "video", acc2: bool = False, bootstrap: Bootstrap | None = None
) -> Accuracy:
    """#Hits / (#Hits + #Misses), and with `acc2` the paper's Acc2 = c #Hits / (#Hits + #Misses), c = 1 where the class
    was right and 0 otherwise (3DCAM, section 4, "Hit point").

    Args:
        hits: (N,) bool, or shares of a hit in [0, 1] as `hit_point` gives.
        frames: what belongs together; as many.
        per: "frame" or "video".
        acc2: count only hits where the class was right.
        bootstrap: how the interval is made; None: `Bootstrap()`.

    Raises:
        ValueError: another number of hits than of frames, one outside [0, 1], an unknown `per`, or Acc2 without
            `frames.correct`.
    """
    hits = np.asarray(hits, np.float64)
    if hits.shape != (len(frames),):
        raise ValueError(f"hits must be one for each of {len(frames)} frames. Received: shape {hits.shape}")
    wrong = np.flatnonzero(~((hits >= 0) & (hits <= 1)))  # NaN is neither
    if len(wrong):
        raise ValueError(f"hits must lie in [0, 1]. Received: {hits[wrong[0]]:g} for frame {wrong[0]}")
    if acc2:
        hits = frames.counted(hits)
    bootstrap = bootstrap or Bootstrap()
    weights, clusters = frames.weights(per), frames.clusters
    (interval,) = bootstrap.intervals(bootstrap.means(hits[:, None], weights, clusters), clusters)
    value, per_class = float(weights @ hits / weights.sum()), frames.by_class(hits[:, None], per)
    return Accuracy(per, acc2, value, interval, per_class=per_class, **frames.counts)


def _numbers(names) -> np.ndarray:
    order = {}
    return np.array([order.setdefault(name, len(order)) for name in names])
