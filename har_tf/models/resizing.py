"""Resizing of frames that XLA can compile, in models that hold Keras' own Resizing layers.

For the operation that TensorFlow resizes with where edges are smoothed (`antialias`) XLA has no kernel, so that no TPU
has it, and neither has a GPU where Keras compiles the step. But resizing is two matrix products: every row of the new
picture is a mean of some rows of the old one, and then every column. On a CPU that takes several times as long. The
products are rounded as a device rounds them: on a TPU, as in the convolutions behind them, to bfloat16.
"""

import functools

import keras
import numpy as np
from keras import layers, ops

from har_tf.engine import only_cpus


def as_products(model: keras.Model) -> keras.Model:
    """Lets the Resizing layers of a model compute as `resized`, under TensorFlow with a GPU or a TPU.

    These are the layers that smooth edges and keep the whole picture; what others compute with XLA has kernels for.
    Layers, configuration and what is saved stay as they are, as in `grouped_conv.quicken`. A model from
    `keras.models.load_model` or `clone_model` needs it anew; `saving.load_model` does it.

    Returns:
        The model.
    """
    for layer in model._flatten_layers(include_self=False):
        if type(layer) is layers.Resizing:
            as_product(layer)
    return model


def as_product(layer: layers.Resizing) -> layers.Resizing:
    """The same for one layer."""
    how = layer.interpolation, layer.antialias, layer.data_format, layer.compute_dtype
    part = layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio
    lacking = how == ("bilinear", True, "channels_last", "float32") and not part
    if lacking and keras.backend.backend() == "tensorflow":
        if only_cpus():
            layer.supports_jit = False  # else Keras may have XLA compile the steps of a model with it
        else:
            layer.transform_images = functools.partial(resized, height=layer.height, width=layer.width)
    return layer


def resized(images, transformation=None, training=None, *, height: int, width: int):
    """What `Resizing(height, width, antialias=True)` makes of (B, H, W, c) frames of float32, up to rounding.

    The other arguments are those that Keras gives a layer that changes pictures; none of them matters here.
    """
    rows, columns = _matrix(images.shape[-3], height), _matrix(images.shape[-2], width)
    return ops.einsum("jw,biwc->bijc", columns, ops.einsum("ih,bhwc->biwc", rows, images))


@functools.cache
def _matrix(old: int, new: int) -> np.ndarray:
    """float32 (new, old): which share each old place has in each new one.

    The places of both lie evenly on one line. A share falls evenly to 0 with the distance, over one step of the places,
    old or new, that are further apart; shares of one place sum to 1.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    distance = np.abs(np.arange(old) - centres[:, None])
    shares = np.maximum(1 - distance / max(old / new, 1.0), 0)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
