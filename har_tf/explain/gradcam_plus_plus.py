"""Grad-CAM++ (Chattopadhay et al. 2018): channels weighted by positive gradients, each cell with its own weight."""

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.layerwise import at_one_tap
from har_tf.models.taps import Tap


def weighted(feature, gradient, pool, **_):
    """Equations (5) and (19), of the exponential of the logit, before the ReLU; see `gradcam_plus_plus`."""
    axes = {"spatial": (2, 3), "spatiotemporal": (1, 2, 3)}[pool]
    total = tf.reduce_sum(feature, axis=axes, keepdims=True)  # (B, t or 1, 1, 1, c)
    alpha = tf.math.reciprocal_no_nan(2 + total * gradient)
    weights = tf.reduce_sum(alpha * tf.nn.relu(gradient), axis=axes, keepdims=True)
    return tf.reduce_sum(weights * feature, axis=-1)


def gradcam_plus_plus(
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    counterfactual: bool = False,
    pool: str = "spatiotemporal",
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by Grad-CAM++.

    With the exponential of the logit as the score, as in the paper, its second and third derivatives by a cell are
    those of a network that is linear from the feature map on: exp(s) g^2 and exp(s) g^3, g = ds/dA. The weight of the
    gradient of channel c at a cell i is (equation (19))

        alpha_ci = g_ci^2 / (2 g_ci^2 + sum_j A_cj g_ci^3) = 1 / (2 + g_ci · sum_j A_cj),

    the sum over all cells j of the clip (t, h and w), of `pool="spatial"` over those of the frame. The map is, at every
    cell, the sum over the channels of A_c · sum_i alpha_ci ReLU(g_ci), without the factor exp(s), which is one number
    for a whole clip. Where feature maps are negative as well, alpha has a pole and may change its sign.

    The authors' code divides alpha_c by its sum over the cells, as tf-keras-vis does; the paper and pytorch-grad-cam
    do not, nor does this.

    Args:
        counterfactual: what speaks against the class, by negated gradients.
        pool: cells that are summed over: "spatiotemporal", all of the clip, or "spatial", those of each frame.
        model, clips, tap, class_index, normalize, batch_size: as in `gradcam`.

    Returns:
        As `gradcam`.

    Raises:
        ValueError: as in `gradcam`.
    """
    given = model, clips, tap, class_index, counterfactual, normalize, batch_size
    return at_one_tap("gradcam++", *given, pool=pool)
