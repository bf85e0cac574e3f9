"""Batch normalisation that trains quickly on a CPU, in models that hold Keras' own layers.

Keras computes the statistics and the normalisation of a training step by operations of their own, some fifteen passes
over the map with the gradient. TensorFlow has one operation for each direction, of two or three passes.
"""

from functools import partial

import keras

from har_tf.engine import only_cpus


def in_one_operation(model: keras.Model) -> keras.Model:
    """Lets the BatchNormalization layers of a model train by TensorFlow's own operation, on a machine with CPUs alone.

    Layers, weights, configuration and what is saved stay as they are, and so do outputs, gradients and moving
    statistics but for rounding: only what the layers' `call` does in this process is another. What is not in training,
    has another axis than the last, renormalises, is masked or synchronised over devices stays Keras'. A model from
    `keras.models.load_model` or `clone_model` needs it anew; `saving.load_model` does it.

    Args:
        model: any model, models within it included.

    Returns:
        The model.
    """
    if keras.backend.backend() == "tensorflow" and only_cpus():
        for layer in model._flatten_layers(include_self=False):
            if type(layer) is keras.layers.BatchNormalization and not layer.renorm:
                layer.call = partial(_called, layer)
    return model


def _called(layer, inputs, training=None, mask=None):
    last = layer.axis in (-1, len(inputs.shape) - 1)
    alone = not layer.synchronized and mask is None  # asked at each call: `har_tf.replicated` synchronises for a while
    if not (training and layer.trainable and alone and last and layer.variable_dtype == "float32"):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    channels = inputs.shape[-1]
    x = tf.reshape(tf.cast(inputs, "float32"), (-1, 1, 1, channels))
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=layer.gamma if layer.scale else tf.ones(channels),
        offset=layer.beta if layer.center else tf.zeros(channels),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    count = tf.cast(tf.shape(x)[0], "float32")
    variance *= tf.maximum(count - 1.0, 1.0) / count  # it comes as an estimate from a sample, which Keras does not keep
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
    return tf.cast(tf.reshape(outputs, tf.shape(inputs)), layer.compute_dtype)
