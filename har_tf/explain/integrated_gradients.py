"""Integrated Gradients (Sundararajan et al. 2017): what each pixel adds to the logit on the way from a baseline."""

import keras
import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.explain.fills import filled
from har_tf.explain.pixel_gradients import pixel_gradients


def integrated_gradients(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 8,
    steps: int = 32,
    fill: str = "black",
) -> Explanation:
    """Explains the class of each clip by Integrated Gradients.

    On the straight line from a baseline x' to the clip x (equation (1)),

        R = sum_c (x_c - x'_c) · integral from 0 to 1 of ds/dx_c at x' + a (x - x') da,

    the integral as the mean at the middles of equal `steps`. All pixels of `signed` sum up to s(x) - s(x'), better the
    more steps. The map has a sign, and is 0 where clip and baseline are alike: under "black" at every black pixel.

    Args:
        counterfactual: what speaks against the class, by negated gradients.
        steps: forward and backward passes; the authors find 20 to 300 to be enough.
        fill: the baseline, "black", "mean" or "blur", see `har_tf.explain.fills.filled`.
        model, clips, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Returns:
        An `Explanation`; its `maps` and `signed` are (B, T, H, W).

    Raises:
        ValueError: as in `gradient_x_input`; another fill, or less than one step.
    """
    if steps < 1:
        raise ValueError(f"steps are at least 1. Received: {steps=}")
    found = pixel_gradients(model, clips, class_index, normalize, batch_size)
    baseline = filled(found.clips, fill)
    away = found.clips - baseline

    def on_the_way(row: int, number: int) -> np.ndarray:
        return baseline[row] + np.float32((number + 0.5) / steps) * away[row]

    signed = (away * found.mean(on_the_way, steps, "integrated gradients")).sum(axis=-1)
    settings = {"steps": steps, "fill": fill, "counterfactual": counterfactual}
    return found.explanation(-signed if counterfactual else signed, "Integrated Gradients", settings, normalize)
