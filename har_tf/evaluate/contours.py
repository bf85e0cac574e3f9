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


def contour_boxes(score_map: np.ndarray, thresholds: np.ndarray) -> ContourBoxes:
    """The tightest boxes around the contours of a map.

    A pixel is in at a threshold t where map / max(map) > t, both as float32. Strictly above, as in the code of Choe
    et al. 2020: so nothing is in at t = 1, and a map of zeros has no box at any threshold, 0 included. The map is
    divided by its maximum only; its minimum is not subtracted. A contour is the outline of pixels that touch, also at
    corners (8-neighbours); the holes inside it are no contours of their own, which in Choe's code they are.

    Args:
        score_map: (H, W), finite and not negative, of any scale.
        thresholds: (T,) shares of the map's maximum, rising.

    Example:
        >>> found = contour_boxes(np.array([[9, 9, 0, 4]]), np.array([0.2, 0.5]))
        >>> found.threshold.tolist()
        [0, 1, 0]
        >>> found.boxes.tolist()
        [[0, 0, 2, 1], [0, 0, 2, 1], [3, 0, 4, 1]]
    """
    height, width = score_map.shape
    shares = shares_of_maximum(score_map)
    # A pixel's level is the number of thresholds that it is above: it is in at the positions below its level.
    levels = np.searchsorted(np.float32(thresholds), shares.ravel())
    if not levels.any():
        return ContourBoxes(np.zeros((0, 4), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    slope, peaks = _slopes(shares, levels)
    reach, pixels = _reach(slope, levels, len(peaks), (height, width))
    ends = levels[peaks]
    starts = _merge(reach, pixels, _passes(slope.reshape(height, width), levels.reshape(height, width), len(peaks)))
    # Slope p counts alone at the positions starts[p] to ends[p] - 1.
    counts = ends - starts
    which = np.repeat(np.arange(len(peaks)), counts)
    threshold = np.arange(len(which)) - np.repeat(np.cumsum(counts) - ends, counts)
    column = reach.shape[1] - 1 - threshold
    boxes = reach[which, column] * np.array([-1, -1, 1, 1], np.int32)
    return ContourBoxes(boxes, threshold, pixels[which, column])


def shares_of_maximum(score_map: np.ndarray) -> np.ndarray:
    """float32 (H, W), the map divided by its maximum, which makes it 1; a map of zeros as it is."""
    top = score_map.max()
    # Not in half precision, in which 3 / 10 is above 0.3.
    precision = np.result_type(score_map, np.float32)
    return np.float32(np.divide(score_map, top, dtype=precision) if top > 0 else score_map)


def _slopes(shares, levels):
    """(H W,) number of the slope of every pixel, and (P,) the pixels of the peaks; pixels of level 0 are in none."""
    height, width = shares.shape
    # Bits of floats that are not negative (-0.0 made 0.0) rise as the floats do. The place of a pixel behind its value
    # makes an order without ties, so that a plateau has one way up as well.
    order = (shares + np.float32(0)).view(np.int32).astype(np.int64) << 32
    order |= np.arange(height * width).reshape(height, width)
    wide = np.full((height + 2, width + 2), -1)
    wide[1:-1, 1:-1] = order
    highest = np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    highest = np.maximum(np.maximum(highest[:-2], highest[1:-1]), highest[2:])
    step = (highest & 0xFFFFFFFF).ravel()
    peaks = np.flatnonzero((step == np.arange(len(step))) & (levels > 0))
    while True:
        further = step[step]
        if np.array_equal(further, step):
            break
        step = further
    number = np.zeros(len(step), np.int64)
    number[peaks] = np.arange(len(peaks))
    return number[step], peaks


def _reach(slope, levels, peaks, size):
    """int32 (P, T, 4), (-x1, -y1, x2, y2) of the part of every slope above every threshold, and (P, T) its pixels.

    The highest threshold stands first, so that "at this one and all lower ones" is the end of a row.
    """
    positions = int(levels.max())
    inside = np.flatnonzero(levels)
    cell = slope[inside] * positions + positions - levels[inside]
    y, x = (axis.astype(np.int32) for axis in np.divmod(inside, size[1]))
    reach = np.full((4, peaks * positions), np.iinfo(np.int32).min + 1, np.int32)
    for found, values in zip(reach, (-x, -y, x + 1, y + 1), strict=True):
        np.maximum.at(found, cell, values)
    reach = np.ascontiguousarray(reach.T).reshape(peaks, positions, 4)
    pixels = np.bincount(cell, minlength=peaks * positions).reshape(peaks, positions)
    # What is above a threshold is above the lower ones too.
    return np.maximum.accumulate(reach, axis=1, out=reach), np.cumsum(pixels, axis=1, out=pixels)


def _passes(slope, levels, peaks):
    """[(slope, slope, level)]: the highest level at which two slopes touch, highest first."""
    found = []
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        rows, columns = np.nonzero(slope[here] != slope[there])
        one, other = slope[here][rows, columns], slope[there][rows, columns]
        level = np.minimum(levels[here][rows, columns], levels[there][rows, columns])
        pair = np.minimum(one, other) * peaks + np.maximum(one, other)
        found.append((pair << 16 | level)[level > 0])
    found = np.sort(np.concatenate(found))
    pair, level = found >> 16, found & 0xFFFF
    last = np.append(pair[1:] != pair[:-1], True)[: len(pair)]  # of equal pairs the highest level
    pair, level = pair[last], level[last]
    highest_first = np.argsort(-level, kind="stable")
    one, other = np.divmod(pair[highest_first], peaks)
    return zip(one.tolist(), other.tolist(), level[highest_first].tolist(), strict=True)


def _merge(reach, pixels, passes):
    """Joins the slopes in place, at each pass one to the other from its level down.

    Returns (P,) the level down to which each slope is a contour with a name of its own, 0 for those never joined to
    another.
    """
    owner = list(range(len(reach)))

    def top(slope):
        while owner[slope] != slope:
            owner[slope] = slope = owner[owner[slope]]
        return slope

    starts = np.zeros(len(reach), np.int64)
    positions = reach.shape[1]
    for one, other, level in passes:
        one, other = top(one), top(other)
        if one != other:
            owner[other], starts[other] = one, level
            below = np.s_[one, positions - level :]
            reach[below] = np.maximum(reach[below], reach[other, positions - level :])
            pixels[below] += pixels[other, positions - level :]
    return starts
