"""How well saliency maps find what boxes mark, without having been trained on boxes.

    table = overlaps(maps, boxes)                          # (N, H, W) maps, N arrays (K, 4): the only slow step
    result = max_box_acc(table, Frames(videos, groups))    # accuracy at every IoU, three ways to set the threshold
    hit = accuracy(hit_point(maps, boxes), Frames(videos, groups))

Sources: Choe et al. 2020, "Evaluating weakly supervised object localization methods right" (BoxAcc, MaxBoxAcc and, with
all contours and several IoU, MaxBoxAccV2); Zhang et al. 2016, "Top-down neural attention by excitation backprop" (the
pointing game); 3DCAM, section 4. Maps and boxes are in the same pixels (`boxes.rescaled` moves boxes to a map's size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.boxes import checked_boxes, iou
from har_tf.evaluate.contours import contour_boxes, shares_of_maximum
from har_tf.evaluate.hits import UNITS, Accuracy, ClassHits, Frames, accuracy

THRESHOLDS = tuple(step / 100 for step in range(101))  # 0 to 1 step 0.01
ILSVRC_IOUS = (0.3, 0.5, 0.7)
UCF24_IOUS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


def hit_point(
    maps,
    boxes: Sequence,
    rule: str = "maximum",
    tolerance: float = 0.0,
    threshold: float = 0.0,
    names: Sequence[str] | None = None,
    outside: str = "raise",
) -> np.ndarray:
    """Whether the saliency of each frame hits a true box.

    "maximum" is the pointing game of Zhang et al. 2016, which is what the field means: the largest value of the map
    lies in a box, or within `tolerance` pixels of one (they took 15). Where n pixels share the largest value, each of
    them counts 1 / n, the chance of a pixel drawn among them; so a uniform map scores the share of the frame in boxes.

    "intersects" is what 3DCAM writes: "if the saliency intersects the bounding box, it is termed to be Hit". Read as: a
    pixel above `threshold` x maximum lies in a box. At 0 nearly every map hits, which a uniform one always does.

    Args:
        maps: (N, H, W), finite, not negative, of any scale. A map of zeros never hits.
        boxes: for every frame its true boxes (K, 4) in pixels of the map.
        rule: "maximum" or "intersects".
        tolerance: pixels, for "maximum".
        threshold: share of the maximum, for "intersects".
        names: what the frames are called in errors; None: their position.
        outside: boxes that reach beyond the frame "raise", or are "clip"ped.

    Returns:
        float64 (N,) in [0, 1], for `hits.accuracy`. Only shared maxima make values between 0 and 1. A pixel is in a
        box where its centre is.

    Raises:
        ValueError: an unknown rule, an argument of the other rule, or maps or boxes that cannot be used.
    """
    if rule not in ("maximum", "intersects"):
        raise ValueError(f"rule is 'maximum' or 'intersects'. Received: {rule=}")
    other, value = ("threshold", threshold) if rule == "maximum" else ("tolerance", tolerance)
    if value:
        raise ValueError(f"{other} is not used by rule={rule!r}. Received: {other}={value}")
    if not 0 <= tolerance < np.inf or not 0 <= threshold < 1:
        raise ValueError(
            f"tolerance is 0 or more and finite, threshold in [0, 1). Received: {tolerance=}, {threshold=}"
        )
    maps, boxes = _checked(maps, boxes, names, outside)
    hits = np.zeros(len(maps))
    for index, (score_map, true) in enumerate(zip(maps, boxes, strict=True)):
        top = score_map.max()
        if top <= 0:
            continue
        marked = score_map == top if rule == "maximum" else shares_of_maximum(score_map) > np.float32(threshold)
        if not tolerance:
            near = marked & inside(true, marked.shape)
            hits[index] = np.count_nonzero(near) / np.count_nonzero(marked) if rule == "maximum" else near.any()
            continue
        y, x = np.nonzero(marked)
        centres = np.stack([x, y], axis=1)[:, None] + 0.5  # (P, 1, 2)
        away = np.maximum(np.maximum(true[:, :2] - centres, centres - true[:, 2:]), 0)  # (P, K, 2)
        near = (np.hypot(*np.moveaxis(away, -1, 0)) <= tolerance).any(axis=1)
        hits[index] = near.mean()
    return hits


def inside(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool (H, W), the pixels whose centre is in a box or on its edge."""
    inside = np.zeros(shape, bool)
    low, high = np.ceil(boxes[:, :2] - 0.5).astype(int), np.floor(boxes[:, 2:] - 0.5).astype(int) + 1
    for (left, top), (right, bottom) in zip(np.maximum(low, 0).tolist(), np.maximum(high, 0).tolist(), strict=True):
        inside[top:bottom, left:right] = True
    return inside


class _Table:
    """What is known of N frames at every threshold."""

    thresholds: np.ndarray

    def position(self, threshold: float) -> int:
        """Where a threshold stands in the table.

        Raises:
            ValueError: the table does not hold it.
        """
        found = np.flatnonzero(np.isclose(self.thresholds, threshold, rtol=0, atol=1e-9))
        if not len(found):
            low, high = self.thresholds[[0, -1]]
            raise ValueError(
                f"the overlaps were measured at {len(self.thresholds)} thresholds from {low:g} to {high:g}. "
                f"Received: {threshold=}"
            )
        return int(found[0])


@dataclass(frozen=True, eq=False)
class Overlaps(_Table):
    """How well the boxes of each map fit, at every threshold.

    Args:
        iou: float64 (N, T), the IoU of the best pair of a contour's box and a true box; 0 without a contour.
        thresholds: (T,) shares of each map's maximum, rising.
        contours: "all" or "largest".
    """

    iou: np.ndarray
    thresholds: np.ndarray
    contours: str

    def __len__(self) -> int:
        return len(self.iou)

    @property
    def best(self) -> np.ndarray:
        """(N,) the best IoU of each frame at any threshold."""
        return self.iou.max(axis=1)

    def localised(self, min_iou: float) -> np.ndarray:
        """bool (N, T), see `localised`."""
        return localised(self.iou, min_iou)

    def reached(self, ious: Sequence[float]) -> Reached:
        """How many of these IoU each is enough for, in a byte."""
        ious = tuple(sorted(ious))
        count = np.sum([localised(self.iou, iou) for iou in ious], axis=0, dtype=np.uint8)
        return Reached(count, self.thresholds, self.contours, ious)


@dataclass(frozen=True, eq=False)
class Reached(_Table):
    """What `Overlaps` are needed for when the IoU are settled, in an eighth of the memory.

    Args:
        count: uint8 (N, T), how many of the `ious` the best pair reaches.
        thresholds, contours: as in `Overlaps`.
        ious: rising.
    """

    count: np.ndarray
    thresholds: np.ndarray
    contours: str
    ious: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.count)

    def localised(self, min_iou: float) -> np.ndarray:
        """bool (N, T), whether an IoU of `min_iou`, one of the `ious`, is reached.

        Raises:
            ValueError: it is another.
        """
        if min_iou not in self.ious:
            raise ValueError(f"it was measured whether {self.ious} are reached. Received: {min_iou=}")
        return self.count > self.ious.index(min_iou)


def overlaps(
    maps,
    boxes: Sequence,
    thresholds: Sequence[float] = THRESHOLDS,
    contours: str = "all",
    names: Sequence[str] | None = None,
    outside: str = "raise",
    least: float = 0.0,
) -> Overlaps:
    """Compares the boxes of the maps' contours with the true ones; see `contours.contour_boxes` for what is a contour.

    Args:
        maps: (N, H, W), finite, not negative, of any scale.
        boxes: for every frame its true boxes (K, 4) in pixels of the map, at least one.
        thresholds: shares of each map's maximum, which a pixel must lie above, in [0, 1].
        contours: "all", of which the best counts (MaxBoxAccV2 and the paper's "multi-contour"); or "largest", the one
            of the most pixels (MaxBoxAcc; Choe's code takes the largest area within the outline, holes included). Of
            equally large ones the best counts.
        names: what the frames are called in errors; None: their position.
        outside: boxes that reach beyond the frame "raise", or are "clip"ped.
        least: the smallest IoU that is asked for. With all contours a smaller one may be 0 in the table, which saves
            most of the time of maps with many peaks.

    Raises:
        ValueError: a map with NaN, infinite or negative values; boxes as in `boxes.checked_boxes`; thresholds outside
            [0, 1] or not rising; an unknown `contours`.

    Example:
        >>> overlaps([[[0, 1, 1, 0]]], [[[1, 0, 4, 1]]], [0.0, 0.5]).iou.round(3).tolist()
        [[0.667, 0.667]]
    """
    if contours not in ("all", "largest"):
        raise ValueError(f"contours is 'all' or 'largest'. Received: {contours=}")
    thresholds = np.asarray(thresholds, np.float64)
    rising = thresholds.ndim == 1 and thresholds.size and (np.diff(np.float32(thresholds)) > 0).all()
    if not rising or not (thresholds[0] >= 0 and thresholds[-1] <= 1) or len(thresholds) > 0xFFFF:
        raise ValueError(f"thresholds must rise within [0, 1]. Received: {thresholds.tolist()}")
    maps, boxes = _checked(maps, boxes, names, outside)
    table = np.zeros((len(maps), len(thresholds)))
    # A map may be the same in every frame, that of a control or of a layer without time.
    again = [*(np.array_equal(one, other) for one, other in pairwise(maps)), False]
    for i, true in enumerate(boxes):
        if not (i and again[i - 1]):
            near = None if again[i] or contours == "largest" else true
            found = contour_boxes(maps[i], thresholds, contours == "largest", near, least)
            found = found.largest() if contours == "largest" else found
        np.maximum.at(table[i], found.threshold, iou(found.boxes, true).max(axis=1))
    return Overlaps(table, thresholds, contours)


def joined(parts: Sequence[Overlaps]) -> Overlaps:
    """The overlaps of several batches as one table.

    Raises:
        ValueError: no parts, or they were measured differently.
    """
    if not parts:
        raise ValueError("there must be at least one part. Received: none")
    first = parts[0]
    if any(p.contours != first.contours or not np.array_equal(p.thresholds, first.thresholds) for p in parts):
        raise ValueError("only overlaps at the same thresholds and of the same contours can be joined")
    return replace(first, iou=np.concatenate([part.iou for part in parts]))


def localised(found: np.ndarray, min_iou: float) -> np.ndarray:
    """Where an IoU is enough. Without any overlap it never is, so that a `min_iou` of 0 asks for a touch."""
    return (found >= min_iou) & (found > 0)


def box_accuracy(
    table: Overlaps | Reached,
    threshold: float,
    min_iou: float,
    frames: Frames,
    per: str = "video",
    acc2: bool = False,
    bootstrap: Bootstrap | None = None,
) -> Accuracy:
    """BoxAcc(threshold, IoU) of Choe et al. 2020: the share of frames of which a contour's box fits a true box.

    Args:
        table: what `overlaps` found.
        threshold: share of each map's maximum; one of the table's.
        min_iou: the IoU that a box needs; 0: any overlap.
        frames: what belongs together.
        per: "frame" or "video".
        acc2: count only frames of which the class was right (Tables 5 and 8 of 3DCAM).
        bootstrap: how the interval is made; None: `Bootstrap()`.

    Raises:
        ValueError: `min_iou` outside [0, 1], or as `Overlaps.position` and `hits.accuracy`.
    """
    if not 0 <= min_iou <= 1:
        raise ValueError(f"min_iou must lie in [0, 1]. Received: {min_iou=}")
    return accuracy(table.localised(min_iou)[:, table.position(threshold)], frames, per, acc2, bootstrap)


@dataclass(frozen=True)
class BoxAccuracyRow:
    """Box accuracies under one way to set the threshold.

    Args:
        choice: "oracle": every frame has the threshold that suits it best, which takes the true boxes to know and so is
            optimistic; "best": one threshold for all frames, the best on these very data, for each IoU its own
            (MaxBoxAcc); "given": one threshold that was settled before.
        per: "frame" or "video", as in `hits.Accuracy`.
        accuracy: one share an IoU.
        intervals: (low, high) of each at these thresholds; that the best one was chosen on the same data is not in it.
            None with a single group.
        average: mean of `accuracy`.
        average_interval: of the mean.
        thresholds: the threshold of each IoU, the lowest of equally good ones; None for "oracle".
        per_class: one row a class where there are labels, at the thresholds of the whole.
    """

    choice: str
    per: str
    accuracy: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    average: float
    average_interval: tuple[float, float] | None
    thresholds: tuple[float | None, ...]
    per_class: tuple[ClassHits, ...] = ()


@dataclass(frozen=True)
class MaxBoxAcc:
    """What `max_box_acc` measured.

    Args:
        ious: the IoU that a box needs, one a column.
        contours: "all" or "largest".
        acc2: whether hits count only where the class was right.
        rows: every choice of the threshold, by frame and by video.
        frames: number of frames.
        videos: number of videos.
        groups: number of groups, which is what the intervals draw.
    """

    ious: tuple[float, ...]
    contours: str
    acc2: bool
    rows: tuple[BoxAccuracyRow, ...]
    frames: int
    videos: int
    groups: int

    def row(self, choice: str, per: str) -> BoxAccuracyRow:
        """The row of this choice and unit.

        Raises:
            ValueError: there is none; "given" is there only where a threshold was.
        """
        for row in self.rows:
            if (row.choice, row.per) == (choice, per):
                return row
        known = [(row.choice, row.per) for row in self.rows]
        raise ValueError(f"the rows are {known}. Received: {choice=}, {per=}")


def max_box_acc(
    table: Overlaps | Reached,
    frames: Frames,
    ious: Sequence[float] = ILSVRC_IOUS,
    threshold: float | None = None,
    acc2: bool = False,
    bootstrap: Bootstrap | None = None,
) -> MaxBoxAcc:
    """Box accuracies at several IoU with the threshold set in three ways, by frame and by video.

    MaxBoxAcc of Choe et al. is the largest share over one threshold for all frames: "best". 3DCAM names it so, but
    takes for UCF24 the "contour generated from tau which produces maximum IoU", and for ILSVRC the contours of all
    thresholds together. With all contours either is the frame's best IoU at any threshold: "oracle", whose table must
    not be set beside one of "best".

    Args:
        table: what `overlaps` found.
        frames: what belongs together.
        ious: the IoU that a box needs; `ILSVRC_IOUS`, `UCF24_IOUS` or others; 0 asks for any overlap.
        threshold: one settled before, such as the best of the training part; adds the rows "given".
        acc2: count only frames of which the class was right.
        bootstrap: how the intervals are made; None: `Bootstrap()`.

    Raises:
        ValueError: another number of frames, an IoU outside [0, 1], a threshold that the table lacks, or Acc2 without
            `frames.correct`.
    """
    ious = tuple(float(value) for value in ious)
    if not ious or not all(0 <= value <= 1 for value in ious):
        raise ValueError(f"ious must lie in [0, 1]. Received: {ious}")
    if len(frames) != len(table):
        raise ValueError(f"the overlaps are those of {len(table)} frames. Received: {len(frames)} frames")
    bootstrap = bootstrap or Bootstrap()
    given = None if threshold is None else table.position(threshold)
    fixed = np.stack([table.localised(min_iou) for min_iou in ious], axis=-1)  # (N, T, S)
    oracle = fixed.any(axis=1)  # (N, S)
    if acc2:
        fixed, oracle = frames.counted(fixed), frames.counted(oracle)

    clusters = frames.clusters
    rows = []
    for per in UNITS:
        weights = frames.weights(per)
        shares = np.einsum("n,nts->ts", weights, fixed) / weights.sum()  # unlike a product, copies no hits as float64
        best = shares.argmax(axis=0)
        ways = {
            "oracle": (oracle, [None] * len(ious)),
            "best": (fixed[:, best, np.arange(len(ious))], table.thresholds[best].tolist()),
        }
        if given is not None:
            ways["given"] = (fixed[:, given], [float(table.thresholds[given])] * len(ious))
        for choice, (hits, taken) in ways.items():
            found = weights @ hits / weights.sum()
            means = bootstrap.means(hits, weights, clusters)  # (resamples, S)
            *intervals, average = bootstrap.intervals(np.column_stack([means, means.mean(axis=1)]), clusters)
            rows.append(
                BoxAccuracyRow(
                    choice, per, tuple(found.tolist()), tuple(intervals), float(found.mean()), average, tuple(taken),
                    frames.by_class(hits, per),
                )
            )  # fmt: skip
    return MaxBoxAcc(ious, table.contours, acc2, tuple(rows), **frames.counts)


def _checked(maps, boxes, names, outside):
    """Maps and boxes that fit together and can be measured with."""
    maps = np.asarray(maps)
    if maps.ndim != 3 or not maps.size or maps.dtype.kind not in "fiub":
        raise ValueError(f"maps must be numbers (N, H, W). Received: {maps.dtype} {maps.shape}")
    names = tuple(f"frame {index}" for index in range(len(maps))) if names is None else tuple(map(str, names))
    if not len(maps) == len(boxes) == len(names):
        raise ValueError(
            f"every map has true boxes and a name. Received: {len(maps)} maps, {len(boxes)} times boxes, "
            f"{len(names)} names"
        )
    for name, score_map in zip(names, maps, strict=True):
        if not np.isfinite(score_map).all() or score_map.min() < 0:
            wrong, below = int((~np.isfinite(score_map)).sum()), int((score_map < 0).sum())
            raise ValueError(
                f"{name}: a map must be finite and not negative. "
                f"Received: {wrong} values that are not finite, {below} below 0"
            )
    return maps, checked_boxes(boxes, maps.shape[1:], names, outside)
