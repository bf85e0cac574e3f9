"""HiResCAM (Draelos and Carin 2020): the feature map times its gradient, cell by cell."""

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.layerwise import at_one_tap
from har_tf.models.taps import Tap


def product(feature, gradient, **_):
    """The sum over the channels of gradient times feature map, before the ReLU."""
    return tf.reduce_sum(gradient * feature, axis=-1)


def hirescam(
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by HiResCAM.

    At every cell the sum over the channels of A_c · ds/dA_c. Behind a tap that only linear layers follow, the cells of
    the map sum up to the logit, but for the biases. Grad-CAM takes the mean of the gradient over the cells instead, so
    both are the same where only global average pooling and a dense layer follow.

    Args:
        counterfactual: what speaks against the class, by negated gradients.
        model, clips, tap, class_index, normalize, batch_size: as in `gradcam`.

    Returns:
        As `gradcam`.

    Raises:
        ValueError: as in `gradcam`.
    """
    return at_one_tap("hirescam", model, clips, tap, class_index, counterfactual, normalize, batch_size)
