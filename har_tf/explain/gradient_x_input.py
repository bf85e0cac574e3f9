"""Gradient times input (Shrikumar et al. 2016): what each pixel adds to the logit, were the network linear."""

import keras
import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.explain.pixel_gradients import pixel_gradients


def gradient_x_input(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 8,
) -> Explanation:
    """Explains the class of each clip by the gradient of its logit times the pixels, summed over the colours.

    R = sum_c x_c · ds/dx_c, at every pixel of every frame. It has a sign: the maps show where it is positive. A pixel
    of value 0 (black, where the model takes pixels from 0 to 255) has none, whatever the network makes of it.

    Args:
        counterfactual: what speaks against the class, by negated gradients.
        model, clips, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Returns:
        An `Explanation`; its `maps` and `signed` are (B, T, H, W).

    Raises:
        ValueError: as in `gradcam`, or a model that answers otherwise where its pixels are floats.
    """
    found = pixel_gradients(model, clips, class_index, normalize, batch_size)
    signed = (found.gradient * found.clips).sum(axis=-1) * (-1 if counterfactual else 1)
    return found.explanation(signed, "Gradient x input", {"counterfactual": counterfactual}, normalize)
