"""The boxes of a saliency map's contours, at all thresholds in one pass.

The obvious way thresholds the map and looks for contours once a threshold. Here the map is cut once, into the slopes
of its peaks: every block of 2 x 2 pixels, which all touch each other, belongs to the peak that it reaches by always
stepping up to a neighbour. Above a threshold the rest of a slope hangs together, since nobody goes down on the way to
a peak, and two slopes hang together where they touch above it. So the contours of all thresholds follow from the boxes
of each slope and from the heights at which slopes meet (the component tree, Salembier et al. 1998, with peaks for
leaves). Slopes that cannot have a box that anybody asks for are joined to others before the tree is made.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FEW = 48  # peaks that are all kept: to tell which matter takes longer


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


_NONE = ContourBoxes(np.zeros((0, 4), np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def contour_boxes(
    score_map: np.ndarray,
    thresholds: np.ndarray,
    pixels: bool = True,
    near: np.ndarray | None = None,
    least: float = 0.0,
) -> ContourBoxes:
    """The tightest boxes around the contours of a map.

    A pixel is in at a threshold t where map / max(map) > t, both as float32. Strictly above, as in the code of Choe
    et al. 2020: so nothing is in at t = 1, and a map of zeros has no box at any threshold, 0 included. The map is
    divided by its maximum only; its minimum is not subtracted. A contour is the outline of pixels that touch, also at
    corners (8-neighbours); the holes inside it are no contours of their own, which in Choe's code they are.

    Args:
        score_map: (H, W), finite and not negative, of any scale.
        thresholds: (T,) shares of the map's maximum, rising.
        pixels: whether pixels are counted, which takes a tenth of the time; else they are -1.
        near: (K, 4) boxes; None: every contour is wanted.
        least: contours whose box has a smaller IoU than this with each of `near` may be left out, which saves most of
            the time where there are many peaks.

    Example:
        >>> found = contour_boxes(np.array([[9, 9, 0, 4]]), np.array([0.2, 0.5]))
        >>> found.threshold.tolist()
        [0, 1, 0]
        >>> found.boxes.tolist()
        [[0, 0, 2, 1], [0, 0, 2, 1], [3, 0, 4, 1]]
    """
    levels = _levels(score_map, np.asarray(thresholds, np.float32))
    if not levels.any():
        return _NONE
    highest, links = _blocks(levels)
    width = levels.shape[1] // 2
    slope, peaks = _slopes(highest, links)
    passes, ends, cap = _passes(slope, links), highest[peaks].astype(np.int64), None
    # Of the two pixels of a block with the same x, and of those with the same y, the higher one is in first.
    higher = [np.maximum(levels[::2], levels[1::2]).T, np.maximum(levels[:, ::2], levels[:, 1::2])]
    if near is not None and least > 0 and len(peaks) > FEW:
        blocks = slope.reshape(-1, width)
        cell = np.where(highest.reshape(blocks.shape) > 0, blocks, len(peaks))
        reach = 2 * (_reach(cell.T, cell, len(peaks), 1) + np.array([[1], [1], [0], [0]]))
        kept, column, cap, passes = _folded(passes, reach, near, least)
        if not len(kept):
            return _NONE
        cap, slope, ends = cap.take(blocks), column.take(slope), ends[kept]
        higher = [np.minimum(own, limit.repeat(2, axis=0)) for own, limit in zip(higher, (cap.T, cap), strict=True)]
    order, starts = _joined(_highest(*passes, len(ends)), len(ends))
    ends, place = ends[order], np.empty(len(ends), np.int64)
    place[order] = np.arange(len(ends))
    place = place.take(slope).reshape(-1, width)
    # Rows are the thresholds, the highest first; columns the slopes, in an order in which every contour is a run.
    columns, rows = len(ends), int(ends.max())
    threshold = np.arange(rows - 1, -1, -1)
    begins = np.flatnonzero((threshold[:, None] >= starts) & (threshold[:, None] < ends))
    cells = [
        (blocks + rows * columns).repeat(2, axis=0) - np.multiply(own, columns, dtype=np.int64)
        for own, blocks in zip(higher, (place.T, place), strict=True)
    ]
    reach = _reach(*cells, rows * columns, columns)
    step = columns
    while step < rows * columns:  # what is above a threshold is above the lower ones too
        reach[:, step:] = np.maximum(reach[:, step:], reach[:, :-step])
        step *= 2
    boxes = np.empty((len(begins), 4), np.int32)
    for side in range(4):
        boxes[:, side] = np.maximum.reduceat(reach[side], begins)
    # The border is two pixels wide, and ends are exclusive.
    boxes[:, :2] = -boxes[:, :2] - 2
    boxes[:, 2:] -= 1
    counts = np.full(len(begins), -1)
    if pixels:
        levels = levels.astype(np.int64) if cap is None else np.minimum(levels, _by_pixel(cap))
        cell = (rows - levels) * columns + _by_pixel(place)
        inner = np.bincount(cell.ravel(), minlength=(rows + 1) * columns)[:-columns].reshape(rows, columns)
        counts = np.add.reduceat(np.cumsum(inner, axis=0, out=inner).ravel(), begins)
    return ContourBoxes(boxes, threshold[begins // columns], counts)


def shares_of_maximum(score_map: np.ndarray) -> np.ndarray:
    """float32 (H, W), the map divided by its maximum, which makes it 1; a map of zeros as it is."""
    top = score_map.max()
    # Not in half precision, in which 3 / 10 is above 0.3.
    precision = np.result_type(score_map, np.float32)
    return np.float32(np.divide(score_map, top, dtype=precision) if top > 0 else score_map)


def _levels(score_map, thresholds):
    """The number of thresholds that each pixel is above: it is in at the positions below that.

    Around the map stand two pixels of zeros, which are above none, and one more where its sides are odd.
    """
    shares = shares_of_maximum(score_map)
    (height, width), kind = shares.shape, np.uint8 if len(thresholds) < 2**8 else np.int32
    levels = np.zeros((height + 4 + height % 2, width + 4 + width % 2), kind)
    inner = levels[2 : height + 2, 2 : width + 2]
    below, last = _below(thresholds.tobytes())
    if below is None:
        inner[:] = np.searchsorted(thresholds, shares)
    else:
        found = below.take((shares * np.float32(4096)).astype(np.intp))
        inner[:] = found + (shares > last.take(found))
    return levels


@lru_cache(8)
def _below(thresholds):
    """How many thresholds are below each of 4096 steps, and the thresholds: where no step holds two of these, one look
    is left. None where one does.
    """
    thresholds = np.frombuffer(thresholds, np.float32)
    below = np.searchsorted(thresholds, np.arange(4097, dtype=np.float32) / 4096)
    kind = np.uint8 if len(thresholds) < 2**8 else np.int32
    return None if (np.diff(below) > 1).any() else below.astype(kind), np.append(thresholds, np.float32(np.inf))


def _blocks(levels):
    """The map in blocks of 2 x 2 pixels, which all touch each other, so that a block hangs together at every threshold.

    Returns (N,) the highest level in each block, and {step: (N - step,) the highest level at which each block touches
    the one that stands a step further}, of blocks in one row, in one column and at corners.
    """
    width = levels.shape[1] // 2
    a, b, c, d = (np.ascontiguousarray(levels[y::2, x::2]).ravel() for y in (0, 1) for x in (0, 1))
    left, right, top, bottom = np.maximum(a, c), np.maximum(b, d), np.maximum(a, b), np.maximum(c, d)
    ends = {1: (right, left), width: (bottom, top), width + 1: (d, a), width - 1: (c, b)}
    return np.maximum(left, right), {step: np.minimum(x[:-step], y[step:]) for step, (x, y) in ends.items()}


def _slopes(highest, links):
    """(N,) number of the slope of every block that is inside, 0 of others, and (P,) the blocks of the peaks."""
    # Up is where the level is higher, or as high in a later block, so that a plateau has a way up as well; and where a
    # block touches the other at its own highest level.
    way, steps = np.zeros(len(highest), np.uint8), [0]
    for step, level in links.items():
        one, other = highest[:-step], highest[step:]
        for part, up, number in (
            (way[:-step], (level == one) & (other >= one), len(steps)),
            (way[step:], (level == other) & (one > other), len(steps) + 1),
        ):
            np.maximum(part, up.view(np.uint8) * np.uint8(number), out=part)
        steps += [step, -step]
    step = np.arange(len(highest)) + np.array(steps).take(way)
    peaks = np.flatnonzero((way == 0) & (highest > 0))
    further = step.take(step)
    while not np.array_equal(further, step):
        step = further.take(further)
        further = step.take(step)
    number = np.zeros(len(step), np.int64)
    number[peaks] = np.arange(len(peaks))
    return number.take(step), peaks


def _by_pixel(of_blocks):
    return of_blocks.repeat(2, axis=0).repeat(2, axis=1)


def _reach(by_column, by_row, cells, spare):
    """(4, cells): minus the first column and row, and the last column and row of every cell, counted from 0.

    Where a cell is nowhere they are the least numbers, which no other takes over.

    Args:
        by_column: (W, n), the cells in each column.
        by_row: (H, n), those in each row.
        cells: how many there are.
        spare: how many numbers behind them stand for none.
    """
    kind = np.int16 if max(len(by_column), len(by_row)) < 2**15 else np.int32
    reach = np.full((4, cells + spare), np.iinfo(kind).min, kind)
    # Of places in one cell the last one written stays, so they are written in the order of what is looked for.
    for side, cell in enumerate((by_column, by_row)):
        place = np.repeat(np.arange(len(cell), dtype=kind), cell.shape[1])
        reach[side][cell[::-1].ravel()] = -place[::-1]
        reach[side + 2][cell.ravel()] = place
    return np.ascontiguousarray(reach[:, :cells])


def _passes(slope, links):
    """(E,) slope, slope, level: where two slopes touch."""
    found = []
    for step, level in links.items():
        here = np.flatnonzero((level > 0) & (slope[:-step] != slope[step:]))
        found.append((slope.take(here), slope.take(here + step), level.take(here)))
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _folded(passes, reach, near, least):
    """Puts slopes that are no box of interest on their own into the contours that they belong to further down.

    Alone a slope stands down to its highest pass; below that it belongs to the contour of the slope behind the pass.
    Its box holds its boxes at all thresholds, so its overlap with a box of interest bounds theirs.

    Args:
        passes: see `_passes`.
        reach: (4, P), see `_reach`, of the slopes.
        near, least: see `contour_boxes`.

    Returns:
        The slopes that are left; (P,) the number among them of the one that each slope is put into; (P,) the level that
        its pixels are cut down to, 0 where it is left out; and the passes that are left, between new numbers.
    """
    one, other, level = passes
    slopes, never = np.arange(reach.shape[1]), np.iinfo(np.int32).max
    into, cap = slopes, np.full(len(slopes), never)
    near, reach = np.asarray(near, np.float64), reach.astype(np.float64)
    low, high = near[:, :2].T[:, :, None], near[:, 2:].T[:, :, None]  # (2, K, 1)
    wanted = least * (1 - 1e-9) * np.prod(high - low, axis=0)
    left = np.ones(len(slopes), bool)
    while True:
        width, height = np.minimum(reach[2:, None], high) - np.maximum(-reach[:2, None], low)  # (K, P)
        small = left & ((width <= 0) | (height <= 0) | (width * height < wanted)).all(axis=0)
        if np.count_nonzero(small) <= FEW:
            break
        # The highest pass of each slope; of equal ones the last, so that no more than two point at each other.
        rank = np.arange(len(level)) | level.astype(np.int64) << 32
        best = np.full(len(slopes), -1)
        np.maximum.at(best, one, rank)
        np.maximum.at(best, other, rank)
        joins = np.flatnonzero(best >= 0)
        at, to = best[joins] & 0xFFFFFFFF, slopes.copy()
        to[joins] = one[at] + other[at] - joins
        fold = small & (to != slopes)
        fold &= ~(fold.take(to) & (to.take(to) == slopes) & (to < slopes))
        gone = small & (best < 0)
        limit = np.where(fold, best >> 32, np.where(gone, 0, never))
        cap = np.minimum(cap, limit.take(into))
        to, left = np.where(fold, to, slopes), left & ~fold & ~gone
        while not np.array_equal(further := to.take(to), to):
            to = further
        into, moved = to.take(into), np.flatnonzero(fold)
        for side in reach:
            np.maximum.at(side, to[moved], side[moved])
        one, other = to.take(one), to.take(other)
        apart = np.flatnonzero(one != other)
        one, other, level = one[apart], other[apart], level[apart]
    number = np.cumsum(left) - 1
    return np.flatnonzero(left), np.maximum(number, 0).take(into), cap, (number.take(one), number.take(other), level)


def _highest(one, other, level, slopes):
    """[(slope, slope, level)]: the highest passes of each two slopes, highest first."""
    # A pair and its level as one number; sorting takes half the time where that has 32 bits.
    low, high = int(level.max(initial=0)).bit_length(), slopes.bit_length()
    kind = np.int32 if 2 * high + low < 32 else np.int64
    one, other = one.astype(kind), other.astype(kind)
    packed = np.sort(np.minimum(one, other) << (high + low) | np.maximum(one, other) << low | level)
    pair = packed >> low
    packed = packed[np.append(pair[1:] != pair[:-1], True)[: len(pair)]]
    level = packed & ((1 << low) - 1)
    highest_first = np.argsort(-level, kind="stable")
    pair = packed[highest_first] >> low
    one, other = pair >> high, pair & ((1 << high) - 1)
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
