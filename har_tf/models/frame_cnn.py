"""Frame CNN: an image network on every frame, averaged over time. It cannot tell one order of frames from another."""

import keras
from keras import layers, ops

from har_tf.models import backbones
from har_tf.models.building import classifier, clip_and_frames


def frame_cnn(
    backbone="MobileNet",
    input_shape=(10, 128, 192, 3),
    num_classes=10,
    weights=None,
    backbone_trainable=True,
    alpha=None,
    dropout=0.0,
):
    """Image network on every frame, temporal average pooling, softmax.

    Source: the baselines of Hossain et al. 2025, Table 1 (ResNet50, InceptionV3, MobileNet, Xception, VGG16, VGG19,
    DenseNet121). The paper says neither how frames are combined nor which weights were used; averaging the pooled
    features over time is the usual reading of "static CNN".

    Args:
        backbone: a key of `har_tf.models.backbones.BACKBONES`.
        input_shape: (time, height, width, channels) of a clip; RGB in [0, 255], uint8 or float.
        num_classes: size of the last layer, which is called `predictions`.
        weights: None, "imagenet", or the path of the backbone's published weights.
        backbone_trainable: False trains the last layer only.
        alpha: width of a MobileNet; None: that of the weights file, or 1.
        dropout: rate before the last layer.

    Returns:
        A `keras.Model` from (B, T, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: unknown backbone, frames too small for it, or a weights file of another network.
        har_tf.models.backbones.WeightsUnavailable: "imagenet" could not be downloaded.
    """
    clip, x = clip_and_frames(input_shape)  # (B·T, H, W, 3)
    x = backbones.encode(x, backbone, weights, backbone_trainable, alpha)  # (B·T, h, w, C)
    x = layers.GlobalAveragePooling2D(name="frame_pool")(x)  # (B·T, C)
    x = ops.reshape(x, (-1, input_shape[0], x.shape[-1]))  # (B, T, C)
    x = layers.GlobalAveragePooling1D(name="temporal_pool")(x)  # (B, C)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(clip, classifier(x, num_classes), name=f"frame_{backbone.lower()}")
