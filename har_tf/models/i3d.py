"""I3D: GoogLeNet with its filters inflated into time, for RGB clips and for clips of optical flow."""

import keras
from keras import layers

from har_tf.models.batch_norm import in_one_operation
from har_tf.models.building import classifier, with_weights
from har_tf.models.googlenet import BLOCKS
from har_tf.models.max_pooling import max_pool3d

_BLOCKS = dict(zip(("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"), BLOCKS.values(), strict=True))
CHANNELS = {"rgb": 3, "flow": 2}
# uint8 into [-1, 1], as arguments of Rescaling. Flow is stored with 128 for no motion, see `har_tf.video.flow.encode`.
_RESCALE = {"rgb": (1 / 127.5, -1.0), "flow": (1 / 127, -128 / 127)}
MIN_FRAMES, MIN_SIZE = 8, 32  # three halvings of time, five of the frame


def i3d(
    input_shape=None,
    num_classes=400,
    modality="rgb",
    weights=None,
    include_top=True,
    dropout=0.5,
    width=1.0,
    batch_norm_scale=True,
    batch_norm_momentum=0.9,
    rescale=True,
):
    """I3D classifier of video clips, with its preprocessing in front.

    Source: Carreira and Zisserman 2017, "Quo Vadis, Action Recognition?", Figure 3, with the layers of DeepMind's
    published network; the stages are those of Table 2 of the 3DCAM paper. Every convolution and pooling pads as
    TensorFlow's "SAME" does, the odd pixel behind. Stages are called as published, in lower case (`conv3d_1a_7x7`,
    `mixed_3b`), and a stage is what comes out of its ReLU or concatenation. For 64 x 224 x 224 they give

        conv3d_1a_7x7 32 x 112 x 112, maxpool3d_2a_3x3 to conv3d_2c_3x3 32 x 56 x 56, maxpool3d_3a_3x3 to mixed_3c
        32 x 28 x 28, maxpool3d_4a_3x3 to mixed_4f 16 x 14 x 14, maxpool3d_5a_2x2 to mixed_5c 8 x 7 x 7.

    The published head averages over two frames and 7 x 7 places, classifies each of these averages, and takes the mean
    of the logits over time. A classifier is linear, so it may as well come after that mean, as it does here: the
    answers are equal, and the last layer is one softmax. Frames of other sizes than 224 are averaged over all places.

    Two sets of weights are published, and their BatchNorm differs: DeepMind's has an offset and no scale (12,689,984
    trainable parameters with 400 classes), that of the PyTorch port has both (12,697,264). Both have epsilon 0.001.

    Args:
        input_shape: (time, height, width, channels) of a clip, at least 8 frames of 32 x 32; None: 64 x 224 x 224. The
            number of parameters is the same for all.
        num_classes: size of the last layer, which is called `predictions`.
        modality: "rgb" takes uint8 RGB (T, H, W, 3); "flow" takes uint8 (T, H, W, 2), the horizontal and vertical
            motion as `har_tf.video.flow.encode` stores it.
        weights: None, or the path of a file that `import_weights` reads; the file's top is left out where
            `include_top` is False.
        include_top: False ends at `mixed_5c`, (B, 8, 7, 7, 1024) for 64 x 224 x 224.
        dropout: rate before the classifier, on the averages over two frames.
        width: factor on the number of filters; below 1 for small machines and tests.
        batch_norm_scale: whether BatchNorm has a scale: False for DeepMind's weights, True for those of the port.
        batch_norm_momentum: of the running statistics. The port's 0.99 and DeepMind's 0.999 need thousands of steps.
        rescale: False takes float32 clips that lie in [-1, 1] already, as the samples that DeepMind published do.

    Returns:
        A `keras.Model` from (B, T, H, W, 3 or 2) to (B, num_classes) probabilities.

    Raises:
        ValueError: an unknown modality, another number of channels than it has, a clip that is too small or of open
            size, a width that is not positive, or weights of another network.
        FileNotFoundError: there is no such weights file.

    Example:
        >>> model = i3d(input_shape=(16, 224, 224, 3), num_classes=101)
        >>> sum(weight.shape.num_elements() for weight in model.trainable_weights)
        12390789
    """
    if modality not in CHANNELS:
        raise ValueError(f"I3D takes clips of 'rgb' or of 'flow'. Received: modality={modality!r}")
    if not width > 0:
        raise ValueError(f"The width is a positive factor on the number of filters. Received: width={width}")
    input_shape = (64, 224, 224, CHANNELS[modality]) if input_shape is None else tuple(input_shape)
    channels = CHANNELS[modality]
    open_size = len(input_shape) != 4 or None in input_shape
    if open_size or input_shape[0] < MIN_FRAMES or min(input_shape[1:3]) < MIN_SIZE or input_shape[3] != channels:
        raise ValueError(
            f"I3D of {modality} needs clips of (time, height, width, {channels}) with at least {MIN_FRAMES} frames of "
            f"{MIN_SIZE} x {MIN_SIZE} pixels. Received: input_shape={input_shape}"
        )

    def unit(x, published, size, name, stride=1):
        """Convolution, BatchNorm, ReLU: Unit3D of the published code."""
        filters = max(1, round(width * published))
        x = layers.Conv3D(filters, size, stride, "same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(
            momentum=batch_norm_momentum, epsilon=0.001, scale=batch_norm_scale, name=f"{name}_bn"
        )(x)
        return layers.ReLU(name=name)(x)

    def mixed(x, block):
        name = f"mixed_{block}"
        f0, f1a, f1b, f2a, f2b, f3 = _BLOCKS[block]
        zero = unit(x, f0, 1, f"{name}_branch_0_conv3d_0a_1x1")
        one = unit(x, f1a, 1, f"{name}_branch_1_conv3d_0a_1x1")
        one = unit(one, f1b, 3, f"{name}_branch_1_conv3d_0b_3x3")
        two = unit(x, f2a, 1, f"{name}_branch_2_conv3d_0a_1x1")
        two = unit(two, f2b, 3, f"{name}_branch_2_conv3d_0b_3x3")
        three = max_pool3d(x, 3, 1, "same", f"{name}_branch_3_maxpool3d_0a_3x3")
        three = unit(three, f3, 1, f"{name}_branch_3_conv3d_0b_1x1")
        return layers.Concatenate(name=name)([zero, one, two, three])

    clip = keras.Input(input_shape, dtype="uint8" if rescale else "float32", name="clip")
    x = clip
    if rescale:
        x = layers.Rescaling(*_RESCALE[modality], name="rescale")(x)  # (B, 64, 224, 224, 3)
    x = unit(x, 64, 7, "conv3d_1a_7x7", stride=2)  # (B, 32, 112, 112, 64)
    x = max_pool3d(x, (1, 3, 3), (1, 2, 2), "same", "maxpool3d_2a_3x3")  # (B, 32, 56, 56, 64)
    x = unit(x, 64, 1, "conv3d_2b_1x1")
    x = unit(x, 192, 3, "conv3d_2c_3x3")  # (B, 32, 56, 56, 192)
    x = max_pool3d(x, (1, 3, 3), (1, 2, 2), "same", "maxpool3d_3a_3x3")  # (B, 32, 28, 28, 192)
    for block in ("3b", "3c"):
        x = mixed(x, block)  # (B, 32, 28, 28, 480)
    x = max_pool3d(x, 3, 2, "same", "maxpool3d_4a_3x3")  # (B, 16, 14, 14, 480)
    for block in ("4b", "4c", "4d", "4e", "4f"):
        x = mixed(x, block)  # (B, 16, 14, 14, 832)
    x = max_pool3d(x, 2, 2, "same", "maxpool3d_5a_2x2")  # (B, 8, 7, 7, 832)
    for block in ("5b", "5c"):
        x = mixed(x, block)  # (B, 8, 7, 7, 1024)
    if include_top:
        time, *frame = x.shape[1:4]
        x = layers.AveragePooling3D((min(2, time), *frame), 1, name="avg_pool")(x)  # (B, 7, 1, 1, 1024)
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.GlobalAveragePooling3D(name="temporal_pool")(x)  # (B, 1024)
        x = classifier(x, num_classes)
    return with_weights(in_one_operation(keras.Model(clip, x, name=f"i3d_{modality}")), weights)
