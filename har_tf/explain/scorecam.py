"""Score-CAM (Wang et al. 2020): channels weighted by what the model says of the clip seen through each of them."""

import functools
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.backward import features
from har_tf.explain.explanation import Explanation, enlarged, saliency
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed
from har_tf.models.flatten import with_graph
from har_tf.models.taps import Tap, find


def scorecam(
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    normalize: str | None = "clip",
    batch_size: int = 32,
    strongest: int = 64,
    weights: str = "probability",
    fill: str | float | np.ndarray = "black",
) -> Explanation:
    """Explains the class of each clip by Score-CAM, without gradients.

    Every channel A_k of the feature map is enlarged to the clip in time and space, scaled to H_k in [0, 1] by its
    smallest and largest value, and laid over the clip x as a mask: x H_k + x' (1 - H_k), x' the fill. The map is the
    ReLU of sum_k w_k A_k. A channel that is the same everywhere has no weight.

    The paper says two things of w_k: the class's probability for the masked clip (section 3.3, equation (7); the
    authors' code, tf-keras-vis), `weights="probability"`; and the softmax over all channels of its scores (Algorithm 1;
    pytorch-grad-cam with logits), `weights="softmax"`, in which often one channel takes all.

    Cost: a forward pass for every channel, of which I3D has 1024 at its last tap. By default the 64 whose values differ
    most within the clip (standard deviation, as Faster Score-CAM by Tabayashi): the others would not show where.

    Args:
        strongest: channels that are taken, or 0 for all.
        weights: "probability", or "softmax" of logits.
        fill: as in `har_tf.explain.occlusion`; the paper's is black.
        model, clips, tap, class_index, normalize, batch_size: as in `gradcam`; the model has one input.

    Returns:
        As `gradcam`; settings["passes"] are the forward passes of a clip.

    Raises:
        ValueError: as in `gradcam`; a model of several inputs, negative `strongest`, another weight or fill.
    """
    check(normalize=normalize, weights=weights)
    if strongest < 0:
        raise ValueError(f"strongest is a number of channels, or 0 for all. Received: {strongest=}")
    model = with_graph(model, clips)
    place = find(model, tap)
    asked = Perturbed(
        model, clips, class_index, fill, "probability" if weights == "probability" else "logit", batch_size
    )
    (maps,) = features(model, clips, [place], _itself, asked.batch_size)  # (B, t, h, w, c)
    maps = np.moveaxis(maps, -1, 1)
    count = min(strongest or maps.shape[1], maps.shape[1])
    signed = np.zeros((len(maps), *maps.shape[2:]), "float32")
    with asked.progress("Score-CAM", count) as advance:
        for index, channels in enumerate(maps):
            spread = channels.std(axis=(1, 2, 3))
            chosen = channels[np.argsort(-spread, kind="stable")[:count]]
            scores = asked.scores(index, _through(maps.shape[2:], place.spans), [chosen], advance=advance).astype(
                "float64"
            )
            if weights == "softmax":
                scores = np.exp(scores - scores.max())
                scores /= scores.sum()
            scores[np.ptp(chosen, axis=(1, 2, 3)) == 0] = 0
            signed[index] = np.einsum("k,kthw->thw", scores, chosen)
    settings = {"tap": place.name, "strongest": strongest, "weights": weights, "fill": fill, "passes": count + 1}
    found = asked.explanation(signed, "Score-CAM", normalize, settings)
    return replace(found, maps=saliency(signed, asked.size, normalize, place.spans))


def _itself(feature):
    return feature


@functools.cache  # compiled functions are kept by what hides
def _through(cells, spans):
    """What hides by feature maps (M, *cells): the less, the larger they are."""

    def hide(size, shared, rows):
        masks = enlarged(tf.reshape(rows[0], (-1, 1, *cells)), size, "centres", spans)[:, 0]
        axes = (1, 2, 3)
        low, high = (reduce(masks, axis=axes, keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
        return 1 - tf.math.divide_no_nan(masks - low, high - low)

    return hide
