"""Saliency maps that no model made. A method that does not beat them has not shown that it localises anything."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import cv2
import numpy as np

from har_tf.evaluate.bootstrap import clusters_of
from har_tf.evaluate.map_rows import Batch


def centred_gaussian(shape: tuple[int, ...], sigma: float = 0.25) -> np.ndarray:
    """Maps of a blob in the middle of the frame: people film what they mean to show (Choe et al. 2020, "Center").

    Args:
        shape: (..., H, W) of the maps.
        sigma: standard deviation as a share of the height and of the width. It settles which threshold gives which
            box, and hardly matters where the threshold is chosen.

    Returns:
        float32, 1 in the middle.
    """
    axes = [(np.arange(n) + 0.5) / n - 0.5 for n in shape[-2:]]
    y, x = (np.exp(-0.5 * np.square(axis / sigma)) for axis in axes)
    return np.broadcast_to(np.outer(y, x).astype(np.float32), shape).copy()


def uniform(shape: tuple[int, ...]) -> np.ndarray:
    """Maps that are 1 everywhere; at every threshold below 1 their box is the whole frame."""
    return np.ones(shape, np.float32)


def frame_difference(clip: np.ndarray) -> np.ndarray:
    """Where something moves: the energy of the differences between neighbouring frames.

    Args:
        clip: uint8 (T, H, W, 3).

    Returns:
        float32 (T, H, W): the squared difference to the frame before and to the frame after, summed over the colours,
        the mean of both where there are both. A clip of one frame, or without motion, has zeros.

    Raises:
        ValueError: `clip` is something else.
    """
    clip = np.asarray(clip)
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or not clip.size:
        raise ValueError(f"clip must be uint8 (T, H, W, 3). Received: {clip.dtype} {clip.shape}")
    energy = np.zeros(clip.shape[:3], np.float32)
    if len(clip) == 1:
        return energy
    # (T - 1, H, W) between neighbours; at most 3 x 255^2, which float32 holds exactly.
    change = np.square(np.diff(clip.astype(np.int32), axis=0)).sum(axis=-1)
    energy[:-1] += change
    energy[1:] += change
    energy[1:-1] /= 2
    return energy


def edges(clip: np.ndarray) -> np.ndarray:
    """Where brightness changes from pixel to pixel: the length of Sobel's gradient.

    Args:
        clip: uint8 (T, H, W, 3).

    Returns:
        float32 (T, H, W).
    """
    grey = clip.mean(axis=-1, dtype=np.float32)
    return np.stack([np.hypot(*(cv2.Sobel(frame, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))) for frame in grey])


def of_another_clip(
    maps: np.ndarray, groups: Sequence[Hashable | None] | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Each clip gets the map of another: what a method scores for what it shows in every clip.

    Args:
        maps: (N, ...), of any kind.
        groups: the recording of each clip, see `bootstrap.clusters_of`. No clip gets a map of its own recording where
            there is another; and every map is taken once, unless more than half of the clips are of one recording.
        seed: of the pairs.

    Returns:
        The maps (N, ...), and int (N,), whose they are.

    Raises:
        ValueError: fewer than two clips, or not N groups.
    """
    count = len(maps)
    if count < 2:
        raise ValueError(f"another clip's map takes two clips. Received: {count}")
    rng = np.random.default_rng(seed)
    clusters = clusters_of(groups, count)
    order = rng.permutation(count)
    order = order[np.argsort(rng.permutation(clusters.max() + 1)[clusters[order]], kind="stable")]
    most = int(np.bincount(clusters).max())  # moved by so many places, clips in order of recordings leave their own
    other = np.empty(count, int)
    other[order] = np.roll(order, -most if most < count else -1)
    for clip in np.flatnonzero(clusters[other] == clusters):
        others = np.flatnonzero(clusters != clusters[clip])
        other[clip] = rng.choice(others) if len(others) else other[clip]
    return np.asarray(maps)[other], other


def noise(clip: np.ndarray) -> np.ndarray:
    """Chance in every pixel, equal for equal clips: what scattered maps score where the best of all contours counts.

    Args:
        clip: uint8 (T, H, W, 3).

    Returns:
        float32 (T, H, W) in [0, 1).
    """
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(clip))).random(clip.shape[:3], np.float32)


@dataclass(frozen=True)
class ControlRow:
    """A row of a localisation table whose maps no model made.

    Args:
        name: in tables.
        maps: `Batch` -> (B, T, H, W).
        needs_motion: whether it says nothing of pictures.
        least_blur: the blur of its maps where none is asked for.
    """

    name: str
    maps: Callable[[Batch], np.ndarray]
    needs_motion: bool = False
    least_blur: float = 0.0
    kind: ClassVar[str] = "control"

    @property
    def described(self) -> dict:
        """What `results.json` says of the row."""
        return {"kind": self.kind}

    def one_sign(self, batch: Batch) -> None:
        """Says nothing of maps without a beta."""


def _of_clips(control: Callable[[np.ndarray], np.ndarray], batch: Batch) -> np.ndarray:
    return np.stack([control(clip) for clip in batch.clips.reshape(*batch.shape, 3)])


def _of_shape(control: Callable[[tuple[int, ...]], np.ndarray], batch: Batch) -> np.ndarray:
    return control(batch.shape)


# Partials, not lambdas: rows are sent to other processes.
CONTROLS = (
    ControlRow("Control: centred Gaussian", partial(_of_shape, centred_gaussian)),
    ControlRow("Control: uniform", partial(_of_shape, uniform)),
    # Without a blur every noisy pixel would be a contour.
    ControlRow(
        "Control: frame differences", partial(_of_clips, frame_difference), needs_motion=True, least_blur=1 / 32
    ),
    ControlRow("Control: edges", partial(_of_clips, edges)),
    ControlRow("Control: noise", partial(_of_clips, noise)),
)
