"""Saliency maps that no model made. A method that does not beat them has not shown that it localises anything."""

import cv2
import numpy as np


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


def frame_difference(clip: np.ndarray, sigma: float = 0.0) -> np.ndarray:
    """Where something moves: the energy of the differences between neighbouring frames.

    Args:
        clip: uint8 (T, H, W, 3).
        sigma: standard deviation in pixels of a blur of the maps; 0: none. Single pixels of noise are contours too.

    Returns:
        float32 (T, H, W): the squared difference to the frame before and to the frame after, summed over the colours,
        the mean of both where there are both. A clip of one frame, or without motion, has zeros.

    Raises:
        ValueError: `clip` is something else, or `sigma` is negative.
    """
    clip = np.asarray(clip)
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or not clip.size:
        raise ValueError(f"clip must be uint8 (T, H, W, 3). Received: {clip.dtype} {clip.shape}")
    if sigma < 0:
        raise ValueError(f"sigma must not be negative. Received: {sigma=}")
    energy = np.zeros(clip.shape[:3], np.float32)
    if len(clip) == 1:
        return energy
    # (T - 1, H, W) between neighbours; at most 3 x 255^2, which float32 holds exactly.
    change = np.square(np.diff(clip.astype(np.int32), axis=0)).sum(axis=-1)
    energy[:-1] += change
    energy[1:] += change
    energy[1:-1] /= 2
    if sigma:
        energy = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in energy])
    return energy
