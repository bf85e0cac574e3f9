"""The gradient of the logit at the pixels (Simonyan et al. 2014)."""

import keras
import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.pixel_gradients import over_colours, pixel_gradients


def gradient(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    normalize: str | None = "clip",
    batch_size: int = 8,
    colours: str = "max",
) -> Explanation:
    """Explains the class of each clip by how strongly its logit changes with each pixel, in whichever direction.

    The absolute value of ds/dx_c, of the colours the largest. It has no sign: a pixel that speaks against the class is
    as bright as one that speaks for it.

    Args:
        colours: "max", the largest absolute value of the colours, as in section 3 of the paper, or "sum" of them.
        model, clips, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Returns:
        An `Explanation`; its `maps` and `signed` are (B, T, H, W).

    Raises:
        ValueError: as in `gradcam`, or a model that answers otherwise where its pixels are floats.
    """
    check(colours=colours)
    found = pixel_gradients(model, clips, class_index, normalize, batch_size)
    return found.explanation(over_colours(found.gradient, colours), "Gradient", {"colours": colours}, normalize)
