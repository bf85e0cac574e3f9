"""Maps divided by their largest value, without TensorFlow."""

import numpy as np

from har_tf.explain.options import check


def scaled(maps: np.ndarray, normalize: str | None) -> np.ndarray:
    """Maps (B, T, H, W) without negative values, divided by the largest of each clip or frame; zero stays zero."""
    check(normalize=normalize)
    if normalize is None:
        return maps
    peak = maps.max(axis=(1, 2, 3) if normalize == "clip" else (2, 3), keepdims=True)
    return divided(maps, peak)


def divided(maps: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The maps by something that broadcasts with them; zero where that is not positive."""
    # Not maps / by with an epsilon: a quotient of two tiny numbers must come out right as well.
    return np.divide(maps, by, out=np.zeros_like(maps), where=by > 0)
