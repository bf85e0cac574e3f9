"""The boxes of a saliency map's contours, at all thresholds in one pass.

The obvious way thresholds the map and looks for contours once a threshold. Here the map is cut once, into the slopes
of its peaks: every pixel belongs to the peak that it reaches by always stepping to its highest neighbour. Above a
threshold the rest of a slope hangs together, since nobody goes down on the way to a peak, and two slopes hang
together where they touch above it. So the contours of all thresholds follow from the boxes of each slope and from the
heights at which slopes meet (the component tree, Salembier et al. 1998, with peaks for leaves).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ContourBoxes:
    """The boxes of the contours of one map at several thresholds, in no order.

    Args:
        boxes: int32 (M, 4), (x1, y1, x2, y2) in pixels, end-exclusive.
        threshold: (M,) the position of each box's threshold in the given ones.
        pixels: (M,) how many pixels lie above the threshold inside each contour.
    """

    boxes: np.ndarray
    threshold: np.ndarray
    pixels: np.ndarray

    def largest(self) -> "ContourBoxes":
        """Of every threshold the contour of the most pixels; all of those that share the first place."""
        most = np.zeros(self.threshold.max(initial=-1) + 1, np.int64)
        np.maximum.at(most, self.threshold, self.pixels)
        kept = self.pixels == most[self.threshold]
        return ContourBoxes(self.boxes[kept], self.threshold[kept], self.pixels[kept])


def contour_boxes(score_map: np.ndarray, thresholds: np.ndarray, pixels: bool = True) -> ContourBoxes:
    """The tightest boxes around the contours of a map.

    A pixel is in at a threshold t where map / max(map) > t, both as float32. Strictly above, as in the code of Choe
    et al. 2020: so nothing is in at t = 1, and a map of zeros has no box at any threshold, 0 included. The map is
    divided by its maximum only; its minimum is not subtracted. A contour is the outline of pixels that touch, also at
    corners (8-neighbours); the holes inside it are no contours of their own, which in Choe's code they are.

    Args:
        score_map: (H, W), finite and not negative, of any scale.
        thresholds: (T,) shares of the map's maximum, rising.
        pixels: whether pixels are counted, which takes a tenth of the time; else they are -1.

    Example:
        >>> found = contour_boxes(np.array([[9, 9, 0, 4]]), np.array([0.2, 0.5]))
        >>> found.threshold.tolist()
        [0, 1, 0]
        >>> found.boxes.tolist()
        [[0, 0, 2, 1], [0, 0, 2, 1], [3, 0, 4, 1]]
    """
    # A border of zeros, so that a neighbour is one step in the flat array: nothing beyond it is above a threshold.
    shares = np.zeros((score_map.shape[0] + 2, score_map.shape[1] + 2), np.float32)
    shares[1:-1, 1:-1] = shares_of_maximum(score_map)
    width, shares = shares.shape[1], shares.ravel()
    levels = _levels(shares, np.asarray(thresholds, np.float32))
    inside = np.flatnonzero(levels)
    if not len(inside):
        return ContourBoxes(np.zeros((0, 4), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    slope, peaks = _slopes(shares, inside, width)
    order, starts = _joined(_passes(slope, levels, width, len(peaks)), len(peaks))
    ends = levels[peaks][order]
    positions = int(ends.max())
    # Rows are the thresholds, the highest first; columns the slopes, in an order in which every contour is a run.
    place = np.empty(len(peaks), np.int64)
    place[order] = np.arange(len(peaks))
    cell = (positions - levels[inside]) * len(peaks) + place[slope[inside]]
    threshold = np.arange(positions - 1, -1, -1)
    begins = np.flatnonzero((threshold[:, None] >= starts) & (threshold[:, None] < ends))
    boxes = np.empty((len(begins), 4), np.int32)
    for side, reach in enumerate(_reach(cell, inside, width, (positions, len(peaks)))):
        boxes[:, side] = np.maximum.reduceat(reach, begins)
    boxes[:, :2] *= -1
    counts = np.full(len(begins), -1)
    if pixels:
        inner = np.bincount(cell, minlength=positions * len(peaks)).reshape(positions, -1)
        counts = np.add.reduceat(np.cumsum(inner, axis=0, out=inner).ravel(), begins)
    return ContourBoxes(boxes, threshold[begins // len(peaks)], counts)


def shares_of_maximum(score_map: np.ndarray) -> np.ndarray:
    """float32 (H, W), the map divided by its maximum, which makes it 1; a map of zeros as it is."""
    top = score_map.max()
    # Not in half precision, in which 3 / 10 is above 0.3.
    precision = np.result_type(score_map, np.float32)
    return np.float32(np.divide(score_map, top, dtype=precision) if top > 0 else score_map)


def _levels(shares, thresholds):
    """(N,) the number of thresholds that each share is above: it is in at the positions below that."""
    # A table first, of the thresholds below each of 4096 steps; where no step holds two, one look is left.
    below = np.searchsorted(thresholds, np.arange(4097, dtype=np.float32) / 4096)
    if (np.diff(below) > 1).any():
        return np.searchsorted(thresholds, shares)
    levels = below.take((shares * np.float32(4096)).astype(np.int32))
    return levels + (shares > np.append(thresholds, np.float32(np.inf)).take(levels))


def _slopes(shares, inside, width):
    """(N,) number of the slope of every pixel that is inside, 0 of others, and (P,) the pixels of the peaks."""
    # Bits of floats that are not negative (-0.0 made 0.0) rise as the floats do. The place of a pixel behind its value
    # makes an order without ties, so that a plateau has one way up as well.
    order = (shares + np.float32(0)).view(np.int32).astype(np.int64) << 32
    order |= np.arange(len(order))
    across = np.maximum(order[:-1], order[1:])
    across = np.maximum(across[:-1], across[1:])  # of every three in a row, from the second pixel on
    highest = np.maximum(across[:-width], across[width:])
    highest = np.maximum(highest[:-width], highest[width:])  # from the second pixel of the second row on
    step = np.arange(len(order))
    step[width + 1 : -width - 1] = highest & 0xFFFFFFFF
    peaks = inside[step[inside] == inside]
    while True:
        further = step.take(step)
        if np.array_equal(further, step):
            break
        step = further
    number = np.zeros(len(step), np.int64)
    number[peaks] = np.arange(len(peaks))
    return number.take(step), peaks


def _reach(cell, inside, width, shape):
    """Four (T P,), in one array after the other: -x1, -y1, x2 and y2 of the part of every slope above every threshold.

    Where a slope is not above a threshold they are the least numbers, which no other box takes over.
    """
    kind = np.int16 if max(inside[-1] // width, width) < 2**15 else np.int32
    y, x = (axis.astype(kind) - kind(1) for axis in np.divmod(inside.astype(np.int32), np.int32(width)))
    by_column = np.argsort(x, kind="stable")
    reach = np.empty(shape, kind)
    # Of pixels of one cell the last one written stays, so they are written in the order of what is looked for.
    for values, order in ((-x, by_column[::-1]), (-y, np.s_[::-1]), (x + kind(1), by_column), (y + kind(1), np.s_[:])):
        reach.fill(np.iinfo(kind).min)
        reach.ravel()[cell[order]] = values[order]
        # What is above a threshold is above the lower ones too.
        yield np.maximum.accumulate(reach, axis=0, out=reach).ravel()


def _passes(slope, levels, width, peaks):
    """[(slope, slope, level)]: the highest level at which two slopes touch, highest first."""
    # A pair and its level as one number; sorting takes half the time where that has 32 bits.
    apart = int(levels.max()) + 1
    kind = np.int32 if peaks * peaks * apart < 2**31 else np.int64
    slope, levels, found = slope.astype(kind), levels.astype(kind), []
    for step in (1, width - 1, width, width + 1):
        here = np.flatnonzero(slope[:-step] != slope[step:])
        level = np.minimum(levels.take(here), levels.take(here + step))
        one, other = slope.take(here), slope.take(here + step)
        packed = (np.minimum(one, other) * kind(peaks) + np.maximum(one, other)) * kind(apart) + level
        found.append(packed[level > 0])
    found = np.sort(np.concatenate(found))
    pair, level = np.divmod(found, kind(apart))
    last = np.append(pair[1:] != pair[:-1], True)[: len(pair)]  # of equal pairs the highest level
    pair, level = pair[last], level[last]
    highest_first = np.argsort(-level, kind="stable")
    one, other = np.divmod(pair[highest_first], peaks)
    return zip(one.tolist(), other.tolist(), level[highest_first].tolist(), strict=True)


def _joined(passes, peaks):
    """Joins slopes from the highest pass to the lowest.

    Returns (P,) an order of the slopes in which those of a contour stand together, at every threshold; and (P,) the
    level from which down each of them, in that order, belongs to the contour of the one before it, 0: never.
    """
    owner, following, last, starts = list(range(peaks)), [-1] * peaks, list(range(peaks)), [0] * peaks
    left = peaks - 1
    for one, other, level in passes:
        while owner[one] != one:
            owner[one] = one = owner[owner[one]]
        while owner[other] != other:
            owner[other] = other = owner[owner[other]]
        if one != other:
            owner[other], starts[other] = one, level
            following[last[one]], last[one] = other, last[other]
            left -= 1
            if not left:
                break
    order = []
    for slope in range(peaks):
        if owner[slope] == slope:
            while slope >= 0:
                order.append(slope)
                slope = following[slope]
    order = np.array(order)
    return order, np.array(starts)[order]
