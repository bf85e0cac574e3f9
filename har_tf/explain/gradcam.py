"""Grad-CAM: channels weighted by the mean gradient of the class's logit."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.layerwise import one_pass
from har_tf.explain.options import check
from har_tf.models.flatten import with_graph
from har_tf.models.taps import Tap, find, find_several


def weighted(feature, gradient, pool, **_):
    """Equations (1) and (2) before the ReLU: each frame has its own weights, or each channel one for the whole clip."""
    axes = {"spatial": (2, 3), "spatiotemporal": (1, 2, 3)}[pool]  # the mean runs over u x v, or t x u x v
    alpha = tf.reduce_mean(gradient, axis=axes, keepdims=True)  # (B, t or 1, 1, 1, c)
    return tf.reduce_sum(alpha * feature, axis=-1)


def gradcam(
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    pool: str = "spatiotemporal",
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by Grad-CAM.

    Source: Hossain et al. 2025, equations (1) and (2), after Selvaraju et al. 2017. The score y^c is
    the logit, not the probability, whose gradient vanishes where the model is sure.

    Args:
        model: functional, sequential or subclassed Keras model of clips (B, T, H, W, C) or images (B, H, W, C,
            explained as clips of one frame) with one output (B, classes). It is not changed.
        clips: what the model takes. A float clip for a model of uint8 clips holds values from 0 to 255, and
            is rounded.
        tap: name of a layer in `taps(model)`, or a `Tap`; None: the last one that is not a pooling layer.
        class_index: None for the predicted class, an int for all clips, or ints (B,).
        pool: "spatial" averages the gradient over height and width, for each frame by itself, as the paper's
            equation (1) does; "spatiotemporal" also over time, the usual choice where the tap is a 3D
            convolution, and steadier.
        normalize: "clip" scales each clip by its maximum, "frame" each frame by its own, None not at all.
        batch_size: clips that are in memory at once.

    Returns:
        An `Explanation`; its `maps` are (B, T, H, W). Clips without positive evidence are named by `.empty`.

    Raises:
        ValueError: no such tap (the message lists them all), class, pool or normalisation; clips of another
            shape; a model without a graph; a gradient that is not finite.

    Example:
        >>> explanation = gradcam(model, clips, tap="conv3d", pool="spatial")
        >>> frames = overlay(clips, explanation)
    """
    model = with_graph(model, clips)
    (explanation,) = gradcam_at(model, clips, [find(model, tap)], class_index, pool, normalize, batch_size).values()
    return explanation


def gradcam_at(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap],
    class_index=None,
    pool: str = "spatiotemporal",
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> dict[str, Explanation]:
    """Explains the class of each clip by Grad-CAM at several taps, in one forward and one backward pass for all.

    Args:
        taps: names of layers in `taps(model)`, or `Tap`s, each once.
        model, clips, class_index, pool, normalize, batch_size: as in `gradcam`.

    Returns:
        tap's name -> what `gradcam` gives for this tap, in the order of `taps`.

    Raises:
        ValueError: as in `gradcam`, no tap, or one that is named twice.

    Example:
        >>> explanations = gradcam_at(model, clips, ["conv2d_2", "conv3d"])
        >>> save_overlay("overlay.mp4", clips, explanations)  # the first clip, its overlays side by side
    """
    check(normalize=normalize)
    model = with_graph(model, clips)
    places = find_several(model, taps)
    found = one_pass(model, clips, ["gradcam"], places, class_index, batch_size=batch_size, pool=pool)
    return {tap.name: found.gradcam(tap, normalize=normalize) for tap in places}
