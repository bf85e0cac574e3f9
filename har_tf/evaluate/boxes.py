"""Boxes (x1, y1, x2, y2) in pixels, end-exclusive: whether they can be used, and how much they overlap.

A box covers the pixels x1 to x2 - 1 and y1 to y2 - 1, so (0, 0, width, height) is the whole frame and no 1 is added to
a width. Coordinates need not be whole numbers.
"""

from collections.abc import Sequence

import numpy as np


def iou(first, second) -> np.ndarray:
    """Intersection over union of every box with every other.

    Args:
        first: (A, 4) boxes, none of them empty.
        second: (B, 4) boxes, none of them empty.

    Returns:
        float64 (A, B) in [0, 1].

    Example:
        >>> iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [2, 0, 4, 2]]).tolist()
        [[0.3333333333333333, 0.0]]
    """
    common, first, second = overlap(first, second)
    return common / (first[:, None] + second - common)


def overlap(first, second) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that every box shares with every other, float64 (A, B), and the areas (A,) and (B,); boxes as in `iou`."""
    first, second = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    width, height = np.moveaxis(np.maximum(high - low, 0), -1, 0)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (first, second)]
    return width * height, *areas


def rescaled(boxes, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Boxes in a frame of the size `old` as they lie after it was stretched to the size `new`.

    Args:
        boxes: (K, 4).
        old: (height, width).
        new: (height, width).

    Returns:
        float64 (K, 4).
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return boxes * np.tile([new[1] / old[1], new[0] / old[0]], 2)


class CheckedBoxes(list):
    """What `checked_boxes` returns for frames of a `size`; given to it again, they are as they are."""

    size: tuple[int, int] | None = None


def checked_boxes(boxes: Sequence, size: tuple[int, int], names: Sequence[str], outside: str = "raise") -> CheckedBoxes:
    """The true boxes of frames, as arrays that can be measured with.

    Args:
        boxes: for every frame (K, 4), at least one.
        size: (height, width) of all frames.
        names: what the frames are called in errors.
        outside: "raise" where a box reaches beyond the frame, or "clip" it at the frame's edge.

    Returns:
        float64 (K, 4) a frame.

    Raises:
        ValueError: a frame without a box, a box that is not finite, empty, or not at all in the frame; with "raise"
            one that is partly outside.
    """
    if outside not in ("raise", "clip"):
        raise ValueError(f"outside is 'raise' or 'clip'. Received: {outside=}")
    if isinstance(boxes, CheckedBoxes) and boxes.size == tuple(size):
        return boxes
    checked = CheckedBoxes(_checked(found, size, name, outside) for name, found in zip(names, boxes, strict=True))
    checked.size = tuple(size)
    return checked


def _checked(given, size, name, outside):
    try:
        boxes = np.asarray(given, np.float64)
    except (TypeError, ValueError):  # ragged, or text
        boxes = None
    if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise ValueError(
            f"{name}: its true boxes must be one or more (x1, y1, x2, y2); leave out frames that nobody annotated. "
            f"Received: {given if boxes is None else f'shape {boxes.shape}'}"
        )
    height, width = size
    frame = np.array([width, height, width, height])
    inside = np.clip(boxes, 0, frame)
    for problem, wrong in (
        ("is not finite", ~np.isfinite(boxes).all(axis=1)),
        ("is empty, x1 < x2 and y1 < y2 expected", ~(boxes[:, :2] < boxes[:, 2:]).all(axis=1)),
        (f"lies outside the frame of {width} x {height} pixels", ~(inside[:, :2] < inside[:, 2:]).all(axis=1)),
        (
            f"reaches beyond the frame of {width} x {height} pixels; outside='clip' would cut it",
            (inside != boxes).any(axis=1) & (outside == "raise"),
        ),
    ):
        if wrong.any():
            which = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{name}: true box {which} {problem}. Received: {boxes[which].tolist()}")
    return inside
