"""What stands in place of a part of a clip that is taken away."""

import cv2
import numpy as np

FILLS = ("black", "mean", "blur")
_BLUR = 0.1  # standard deviation as a share of the shorter side; of 224 pixels 22, where Fong et al. 2019 take 21


def filled(clips: np.ndarray, fill: str | float | np.ndarray) -> np.ndarray:
    """Clips with nothing of theirs left, of which perturbed clips take the part that is hidden.

    Args:
        clips: (B, T, H, W, C).
        fill: "black" is the number 0; "mean" the mean colour of each clip; "blur" each of its frames, blurred by a
            Gaussian with a standard deviation of a tenth of the shorter side; a number is that value in every pixel and
            channel, in the clips' own units; an array is what broadcasts to the clips, such as a colour (C,) or another
            clip.

    Returns:
        float32 (B, T, H, W, C).

    Raises:
        ValueError: another word, or an array of another size.

    Example:
        >>> white = filled(clips, 255)
    """
    if isinstance(fill, str):
        if fill not in FILLS:
            raise ValueError(f"fill is one of {', '.join(FILLS)}, a number or an array. Received: {fill=}")
        if fill == "black":
            return np.zeros(clips.shape, "float32")
        if fill == "mean":
            means = clips.mean(axis=(1, 2, 3), keepdims=True, dtype="float64").astype("float32")
            return np.broadcast_to(means, clips.shape)
        deviation = _BLUR * min(clips.shape[2:4])
        frames = clips.reshape(-1, *clips.shape[2:]).astype("float32")
        return np.reshape([blurred(frame, deviation) for frame in frames], clips.shape)
    value = np.asarray(fill, "float32")
    try:
        return np.broadcast_to(value, clips.shape)
    except ValueError:
        raise ValueError(f"fill broadcasts to clips {clips.shape}. Received: an array {value.shape}") from None


def blurred(frame: np.ndarray, deviation: float) -> np.ndarray:
    """A float32 picture (H, W) or (H, W, C) under a Gaussian blur of so many pixels, its edges repeated outside."""
    return cv2.GaussianBlur(frame, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE).reshape(frame.shape)
