"""The person of a clip and what is behind: a clip without the person, and the person in front of something else.

A hole in the shape of the person would tell what the person does. So the person is hidden by rectangles that stay where
they are through the clip and cover all boxes of all frames; what such a hole still tells, its place and size, is the
same in the controls: an equal hole elsewhere, and the same hole in another clip. The person alone is what lies within
the boxes (or the masks) of each frame, as in SCUBA (Li et al., arXiv 2211.12883), which takes boxes for UCF101.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

FILLS = ("blur", "mean", "inpaint")
_SHIFTS = 8  # places that a hole may move to along each side


def masks_of(boxes: Mapping[int, np.ndarray], shape: tuple[int, int, int]) -> np.ndarray | None:
    """Where the person is: every pixel that a box touches.

    Args:
        boxes: position in the clip -> (K, 4) boxes in pixels of the clip; a frame without one takes those of the
            nearest frame that has one, of two the earlier.
        shape: (T, H, W).

    Returns:
        bool (T, H, W); None where no frame has a box.
    """
    boxed = {t: np.reshape(found, (-1, 4)) for t, found in boxes.items() if len(found)}
    if not boxed:
        return None
    masks = np.zeros(shape, bool)
    for t, mask in enumerate(masks):
        nearest = min(boxed, key=lambda place: (abs(place - t), place))
        low, high = np.floor(boxed[nearest][:, :2]).astype(int), np.ceil(boxed[nearest][:, 2:]).astype(int)
        for (x1, y1), (x2, y2) in zip(np.maximum(low, 0), high, strict=True):
            mask[y1:y2, x1:x2] = True
    return masks


def hole_of(masks: np.ndarray) -> np.ndarray:
    """bool (H, W): the rectangles around all that masks (T, H, W) cover in any frame, one where they touch."""
    hole = masks.any(axis=0)
    while True:
        _, _, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8))
        grown = np.zeros_like(hole)
        for x, y, width, height, _ in stats[1:]:
            grown[y : y + height, x : x + width] = True
        if (grown == hole).all():
            return hole
        hole = grown


def elsewhere(hole: np.ndarray) -> np.ndarray:
    """The hole (H, W) moved to where it covers least of what it covered, whole rather than parted by the edge.

    It moves by eighths of the frame's sides; what leaves the frame comes in on the other side, so that as many pixels
    are covered.
    """
    best = None
    for i in range(_SHIFTS):
        for j in range(_SHIFTS):
            down, right = (round(k * side / _SHIFTS) for k, side in zip((i, j), hole.shape, strict=True))
            moved = np.roll(hole, (down, right), axis=(0, 1))
            parted = any(_parted(hole.any(axis=1 - axis), by) for axis, by in enumerate((down, right)))
            key = (int((moved & hole).sum()), parted, i, j)
            if best is None or key < best[0]:
                best = key, moved
    return best[1]


def _parted(line: np.ndarray, by: int) -> bool:
    """Whether a part of a line that is set would leave its end and come in at its beginning, and a part not."""
    left = line[len(line) - by :].any()
    return bool(left and line[: len(line) - by].any())


def filled(clip: np.ndarray, hole: np.ndarray, fill: str = "blur") -> np.ndarray:
    """A clip without what is in the hole, made of what is around it.

    Args:
        clip: uint8 (T, H, W, 3).
        hole: bool (H, W).
        fill: "blur", a smooth mixture of the pixels around, the nearer the more; "mean", their mean colour through the
            clip; or "inpaint", Telea's method, which goes on with lines.

    Returns:
        uint8 (T, H, W, 3); mid-grey where the hole is the whole frame.
    """
    if not hole.any():
        return clip.copy()
    if hole.all():
        return np.full_like(clip, 128)
    if fill == "inpaint":
        return np.stack([cv2.inpaint(frame, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA) for frame in clip])
    result, mean = clip.copy(), clip[:, ~hole].mean(axis=(0, 1), dtype=np.float64)
    if fill == "mean":
        result[:, hole] = np.rint(mean)
        return result
    for filling in result:
        filling[hole] = np.rint(_grown(filling, hole, mean))[hole]
    return result


def _grown(frame: np.ndarray, hole: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """A frame with smooth colours in its hole, by pulling and pushing (Gortler et al. 1996, section 3.4).

    The pixels around are averaged to ever coarser frames, until no hole is left; going back, each level keeps what it
    knows and takes the rest from the coarser one.
    """
    known = (~hole).astype(np.float32)[..., None]
    levels = [(frame * known, known)]
    while min(hole.shape) >> len(levels) > 0:
        colours, known = (np.atleast_3d(cv2.pyrDown(of)) for of in levels[-1])
        surer = np.minimum(1, 4 * known) / np.maximum(known, 1e-6)  # a quarter of the pixels tells the colour
        levels.append((colours * surer, known * surer))
    colours = np.broadcast_to(mean.astype(np.float32), levels[-1][0].shape)
    for known_colours, known in reversed(levels):
        height, width = known.shape[:2]
        if colours.shape[:2] != (height, width):
            colours = cv2.pyrUp(colours, dstsize=(width, height))
        colours = known_colours + (1 - known) * colours
    return colours


def on_background(clip: np.ndarray, masks: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The person of a clip (T, H, W, 3), masks (T, H, W), in front of a picture (H, W, 3) that does not move."""
    return np.where(masks[..., None], clip, background)


def stripes(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A picture of wavy stripes in a colour drawn at random and its complement, turned at random, as SCUBA has them.

    Args:
        size: (height, width).
        rng: draws colour, width, distance and wave of the stripes.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = size
    unit = max(size) / 256  # for which the lengths are given
    colour = rng.random(3)
    half = rng.uniform(5, 20) * unit
    distance = rng.uniform(3, 5) * half
    wave, amplitude = 2 * np.pi / (rng.uniform(4, 1004) * unit), rng.uniform(10, 110) * unit
    phase, angle = rng.uniform(0, 2 * np.pi, 2)
    y, x = np.mgrid[:height, :width]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    striped = (across - amplitude * np.sin(wave * along + phase)) % distance < 2 * half
    return np.rint(255 * np.where(striped[..., None], 1 - colour, colour)).astype(np.uint8)
