"""3DCAM: at every tap the gradient times the activation, enlarged to the clip and summed over the taps."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.layerwise import one_pass
from har_tf.explain.options import check
from har_tf.models.flatten import with_graph
from har_tf.models.taps import Tap, find_several


def beta(feature, gradient, **_):
    """Equation (1): the gradient, summed over the channels."""
    return tf.reduce_sum(gradient, axis=-1)


def alpha(feature, gradient, channels, **_):
    """The activation, its channels made one."""
    return {"sum": tf.reduce_sum, "max": tf.reduce_max, "norm": tf.norm}[channels](feature, axis=-1)


def cam3d(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    channels: str = "sum",
    join: str = "sum",
    align: str = "corners",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by (Sum) 3DCAM, in one forward and one backward pass for all taps.

    Source: the 3DCAM paper (as `resnext3d`, `i3d` and `gated`), equations (1), (2), (6) and (7). At every tap k the
    gradient of the logit is summed over the channels, which gives beta_k; so is the activation, which gives alpha_k.
    Both are enlarged to the clip, divided by their largest value in the clip, and set to zero where they are negative;
    the map of the tap is their product. The maps are summed over the taps. Images are clips of one frame, for which
    this is 2DCAM with bilinear interpolation.

    As channels are summed before the product, an activation counts wherever the summed gradient is positive, also in a
    channel that speaks for another class; and where nothing but global average pooling and a dense layer follows a tap,
    its beta is the same number everywhere, so that its map is the activation or, where that number is negative, empty.

    What the paper leaves open:
        The channels of alpha: equation (2) has none left, but only beta's are said to be summed. `channels` is "sum",
        the same as the mean as the map is divided by its maximum; "max"; or "norm", the Euclidean one, for taps with
        activations of both signs.
        "Avg pool 3DCAM" of Tables 4 and 5: Figure 1 says that the maps of the layers are "pooled" to the final one, so
        it is read as their average in place of the sum, `join="average"`. It differs from the sum where a fixed
        threshold meets unscaled maps (`normalize=None`), which the average keeps in [0, 1]; scaled, both are the same
        map. Read as the layer that the network's average pool reads, it is `cam3d(..., taps=[the last tap])`; as
        gradients that are averaged over the map, it is Grad-CAM, `sum_gradcam`.
        A beta or alpha without any positive value: divided by its maximum it would turn its sign. The map of this tap
        is zero.

    Args:
        model: as in `gradcam`.
        clips: what the model takes, (B, T, H, W, C) or (B, H, W, C).
        taps: names of layers in `taps(model)`, or `Tap`s, each once; None: `stages(model)`, the output of each stage.
        class_index: None for the predicted class, an int for all clips, or ints (B,).
        counterfactual: negate the gradient (equation (7)): what speaks against the class.
        normalize: "clip" scales each clip by its maximum, "frame" each frame by its own, None leaves the sum of the
            taps' maps, each of which lies in [0, 1].
        channels: how the channels of the activation become one: "sum", "max" or "norm".
        join: how the taps' maps become one: "sum" (equation (6)) or "average".
        align: "corners" puts a map's first and last cells on the clip's first and last frames, rows and columns, as
            the corner points under equation (5) have it; "centres" gives every cell an equal share of the clip.
        batch_size: clips that are in memory at once.

    Returns:
        An `Explanation`; its `maps` are (B, T, H, W), its `signed` the same before scaling. Clips without positive
        evidence are named by `.empty`. For the map of each tap by itself from the same pass, see `layerwise`.

    Raises:
        ValueError: no such tap (the message lists them all), class or option; clips of another shape; a model without
            a graph; a gradient that is not finite.

    Example:
        >>> explanation = cam3d(model, clips, taps=["conv3d_1a_7x7", "layer1"])
        >>> frames = overlay(clips, explanation)
    """
    check(normalize=normalize, join=join, align=align)
    model = with_graph(model, clips)
    places = find_several(model, taps)
    found = one_pass(model, clips, ["3dcam"], places, class_index, batch_size=batch_size, channels=channels)
    return found.cam3d(None, counterfactual, normalize, join, align)


def sum_gradcam(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    pool: str = "spatiotemporal",
    join: str = "sum",
    align: str = "centres",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by Sum Grad-CAM: the Grad-CAM of every tap, scaled by its maximum, summed.

    Source: Figures 7 and 8, Tables 6 and 7 of the 3DCAM paper. Each summand is the `maps` of
    `gradcam(model, clips, tap)`, so the enlargement is its by default; `align="corners"` is that of `cam3d`.

    Args:
        pool: as in `gradcam`.
        model, clips, taps, class_index, counterfactual, normalize, join, align, batch_size: as in `cam3d`.

    Returns:
        As `cam3d`.

    Raises:
        ValueError: as in `cam3d`.
    """
    check(normalize=normalize, join=join, align=align)
    model = with_graph(model, clips)
    places = find_several(model, taps)
    found = one_pass(model, clips, ["sum-gradcam"], places, class_index, batch_size=batch_size, pool=pool)
    return found.sum_gradcam(None, counterfactual, normalize, join, align)
