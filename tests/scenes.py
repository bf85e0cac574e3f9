"""Moving views that a hash can tell apart: `from scenes import ...`."""

import cv2
import numpy as np

FPS = 8


def scene(seed: int, frames: int = 32, size=(72, 96)) -> np.ndarray:
    """(T, H, W, 3): a view that moves over a smooth random picture, which is 2.5 views wide."""
    rng = np.random.default_rng(seed)
    height, width = size
    picture = cv2.resize(
        rng.integers(0, 256, (9, 30, 3), np.uint8), (width * 5 // 2, height), interpolation=cv2.INTER_CUBIC
    )
    places = np.linspace(0, width * 3 // 2, frames).astype(int)
    return np.stack([picture[:, x : x + width] for x in places])
