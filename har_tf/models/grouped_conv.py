"""Grouped 3D convolutions that are quick on a CPU, in models that hold Keras' own Conv3D layers.

TensorFlow has no grouped 3D convolution for CPUs. Keras therefore compiles one with XLA, as JAX does, whose code for it
takes ten and more times as long as a convolution without groups, with all its arithmetic. Here a few groups at a time
are made one convolution without groups, whose kernel is zero between them.
"""

from functools import partial

import keras
from keras import layers, ops

from har_tf.engine import only_cpus

# A CPU computes 16 channels at once, so narrower groups gain nothing; wider ones would be multiplied by more zeros.
_CHANNELS = 16


def quicken(model: keras.Model) -> keras.Model:
    """Lets the grouped Conv3D layers of a model compute as `convolve` does, unless there is a GPU or a TPU.

    Layers, weights, configuration and what is saved stay as they are: only the layers' `convolution_op` is another. A
    model from `keras.models.load_model` or `clone_model` needs it anew; `saving.load_model` does it.

    Args:
        model: any model, models within it included.

    Returns:
        The model.
    """
    if only_cpus():
        for layer in model._flatten_layers(include_self=False):
            if type(layer) is layers.Conv3D and layer.groups > 1 and layer.data_format == "channels_last":
                layer.convolution_op = partial(
                    convolve,
                    groups=layer.groups,
                    strides=layer.strides,
                    padding=layer.padding,
                    dilation_rate=layer.dilation_rate,
                )
    return model


def convolve(inputs, kernel, groups, strides=1, padding="valid", dilation_rate=1):
    """A grouped convolution as several without groups, each of the groups that have 16 channels together.

    Args:
        inputs: (B, T, H, W, groups * c).
        kernel: (t, h, w, c, filters), as a grouped Conv3D has it: its first filters / groups filters see the first c
            channels, and so on.
        groups: number of groups.
        strides, padding, dilation_rate: as of Conv3D.

    Returns:
        (B, T', H', W', filters), up to rounding what `keras.ops.conv` gives, and so for its gradients.
    """
    # A variable read by a layer in mixed precision is of the layer's compute type.
    kernel = ops.convert_to_tensor(kernel)
    together = max(n for n in range(1, groups + 1) if groups % n == 0 and (n == 1 or n * kernel.shape[3] <= _CHANNELS))
    parts = groups // together
    outputs = [
        ops.conv(x, k, strides, padding, "channels_last", dilation_rate)
        for x, k in zip(
            ops.split(inputs, parts, axis=-1), ops.split(_joined(kernel, groups, together), parts, axis=-1), strict=True
        )
    ]
    return ops.concatenate(outputs, axis=-1)


def _joined(kernel, groups, together):
    """The kernel (t, h, w, c, filters) as (t, h, w, together * c, filters), zero where filter and channel are apart."""
    *size, channels, filters = kernel.shape
    if together == 1:
        return kernel
    # Filters in order are (part, group in the part, filter of the group); input channels (group in the part, channel).
    kernel = ops.reshape(kernel, (-1, 1, channels, groups // together, together, filters // groups))
    own = ops.reshape(ops.eye(together, dtype=kernel.dtype), (1, together, 1, 1, together, 1))
    return ops.reshape(kernel * own, (*size, together * channels, filters))
