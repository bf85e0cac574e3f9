"""LayerCAM (Jiang et al. 2021): the feature map times what is positive of its gradient, cell by cell."""

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.layerwise import at_one_tap
from har_tf.models.taps import Tap


def positive(feature, gradient, **_):
    """Equations (5) and (6): the sum over the channels of ReLU(gradient) times feature map, before the ReLU."""
    return tf.reduce_sum(tf.nn.relu(gradient) * feature, axis=-1)


def layercam(
    model: keras.Model,
    clips: np.ndarray,
    tap: str | Tap | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by LayerCAM.

    At every cell the sum over the channels of A_c · ReLU(ds/dA_c). It is meant for early layers as well, where a mean
    of gradients over the cells says little. The paper joins several layers by their maximum, after tanh(2 M / max M) of
    early ones; this is the map of one tap.

    Args:
        counterfactual: what speaks against the class, by negated gradients.
        model, clips, tap, class_index, normalize, batch_size: as in `gradcam`.

    Returns:
        As `gradcam`.

    Raises:
        ValueError: as in `gradcam`.
    """
    return at_one_tap("layercam", model, clips, tap, class_index, counterfactual, normalize, batch_size)
