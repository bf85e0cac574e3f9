"""3D ResNeXt: a residual network whose 3 x 3 x 3 convolutions work on groups of channels apart."""

import keras
from keras import layers, ops

from har_tf.models.batch_norm import in_one_operation
from har_tf.models.building import averaged, classifier, normalized_clip, with_weights
from har_tf.models.grouped_conv import quicken
from har_tf.models.max_pooling import max_pool3d

# Residual blocks of the four stages.
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
ACTIVITYNET_MEAN = (114.7748, 107.7354, 99.4750)


def resnext3d(
    input_shape=(16, 112, 112, 3),
    num_classes=400,
    depth=101,
    cardinality=32,
    shortcut="B",
    weights=None,
    include_top=True,
    dropout=0.0,
    blocks=None,
    width=128,
):
    """3D ResNeXt classifier of video clips, with its preprocessing in front.

    Source: Hara et al. 2018, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", section 3.2 and
    Table 2, with the details of the authors' code (kenshohara/3D-ResNets-PyTorch): ActivityNet's mean is subtracted,
    every convolution and pooling pads both sides alike, none has a bias, BatchNorm has epsilon 1e-5, and a block's
    stride is in its 3 x 3 x 3 convolution.

    Table 1 of the 3DCAM paper calls its rows by these layers, each the output of a ReLU:

        conv, Conv3d 1a 7x7: `conv3d_1a_7x7`; MaxPool3d 2a 3x3: `maxpool3d_2a_3x3`
        layer 1 to 4, Mixed 2 to 5: `layer1` to `layer4`

    On 16 x 112 x 112 they are 16 x 56 x 56, 8 x 28 x 28, 8 x 28 x 28, 4 x 14 x 14, 2 x 7 x 7 and 1 x 4 x 4, with 9.57
    billion multiplications. The sizes in Table 1, 8 x 56 x 56 to 1 x 7 x 7, are those of a clip of 16 x 224 x 224. The
    other layers have the published names with "_" for ".", as `layer1_0_conv2`.

    On a machine without an accelerator the grouped convolutions are computed as `grouped_conv.quicken` says, and
    BatchNorm trains as `batch_norm.in_one_operation` says, with the same weights and answers. A saved model holds
    Keras' own layers only.

    Args:
        input_shape: (time, height, width, channels) of a uint8 RGB clip; the number of parameters is the same for all
            sizes, and time, height and width may be None.
        num_classes: size of the last layer, which is called `predictions`.
        depth: 50, 101 or 152.
        cardinality: groups of the 3 x 3 x 3 convolutions; a block with p planes has cardinality * (p // 32) channels in
            it and 2 p after it.
        shortcut: "B" projects where the shape changes, as the published weights do; "A" takes every second place and
            adds channels of zeros.
        weights: None, or the path of a file that `import_weights` reads; the file's top is left out where
            `include_top` is False.
        include_top: False ends at `layer4`, (B, 1, 4, 4, 2048) for 16 x 112 x 112.
        dropout: rate before the last layer.
        blocks: residual blocks of the four stages in place of those of `depth`, for small machines and tests.
        width: planes of the first stage, which double with every stage; half as many filters has the first convolution.

    Returns:
        A `keras.Model` from (B, T, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: an unknown depth or shortcut, no four numbers of blocks, a width that is no multiple of 32, another
            number of channels than 3, or weights of another network.
        FileNotFoundError: there is no such weights file.

    Example:
        >>> model = resnext3d(num_classes=101)
        >>> sum(weight.shape.num_elements() for weight in model.trainable_weights)
        47728165
    """
    if depth not in _BLOCKS and blocks is None:
        raise ValueError(f"3D ResNeXt has depth {', '.join(map(str, _BLOCKS))}. Received: depth={depth}")
    blocks = tuple(_BLOCKS[depth] if blocks is None else blocks)
    if shortcut not in ("A", "B"):
        raise ValueError(f"Shortcuts are of type 'A' or 'B'. Received: shortcut={shortcut!r}")
    if len(blocks) != 4 or min(blocks) < 1:
        raise ValueError(f"Each of the four stages has a number of blocks. Received: blocks={blocks}")
    if width < 32 or width % 32 or cardinality < 1:
        raise ValueError(
            "width is a multiple of 32, cardinality a number of groups. "
            f"Received: width={width}, cardinality={cardinality}"
        )
    clip, x = normalized_clip(input_shape, ACTIVITYNET_MEAN, (1.0, 1.0, 1.0))  # (B, 16, 112, 112, 3)
    x = layers.ZeroPadding3D(3, name="conv3d_1a_7x7_pad")(x)
    x = _conv(x, width // 2, 7, (1, 2, 2), "valid", name="conv3d_1a_7x7_conv")
    x = _norm(x, "conv3d_1a_7x7_bn")
    x = layers.ReLU(name="conv3d_1a_7x7")(x)  # (B, 16, 56, 56, 64)
    x = layers.ZeroPadding3D(1, name="maxpool3d_2a_3x3_pad")(x)  # no input is negative: zeros pad as well as -inf
    x = max_pool3d(x, 3, 2, name="maxpool3d_2a_3x3")  # (B, 8, 28, 28, 64)
    # layer1 (B, 8, 28, 28, 256), layer2 (B, 4, 14, 14, 512), layer3 (B, 2, 7, 7, 1024), layer4 (B, 1, 4, 4, 2048)
    for stage, count in enumerate(blocks):
        for block in range(count):
            name = f"layer{stage + 1}"
            stride = 2 if stage > 0 and block == 0 else 1
            last = name if block == count - 1 else f"{name}_{block}_relu"
            x = _block(x, width * 2**stage, cardinality, stride, shortcut, f"{name}_{block}", last)
    if include_top:
        x = classifier(averaged(x, dropout), num_classes)  # of (B, 2048)
    return with_weights(in_one_operation(quicken(keras.Model(clip, x, name="resnext3d"))), weights)


def _block(x, planes, cardinality, stride, shortcut, name, output_name):
    """conv 1, grouped conv 3, conv 1 and the shortcut, summed; its last ReLU is called `output_name`."""
    inner = cardinality * (planes // 32)
    y = _conv(x, inner, 1, name=f"{name}_conv1")
    y = layers.ReLU(name=f"{name}_relu1")(_norm(y, f"{name}_bn1"))
    if stride > 1:  # torch pads both sides alike; "same" would leave out the front on even sizes
        y = layers.ZeroPadding3D(1, name=f"{name}_pad")(y)
    y = _conv(y, inner, 3, stride, "same" if stride == 1 else "valid", cardinality, f"{name}_conv2")
    y = layers.ReLU(name=f"{name}_relu2")(_norm(y, f"{name}_bn2"))
    y = _norm(_conv(y, 2 * planes, 1, name=f"{name}_conv3"), f"{name}_bn3")
    if stride > 1 or x.shape[-1] != 2 * planes:
        x = (_project if shortcut == "B" else _subsample)(x, 2 * planes, stride, name)
    x = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=output_name)(x)


def _project(x, filters, stride, name):
    x = _conv(x, filters, 1, stride, name=f"{name}_downsample_0")
    return _norm(x, f"{name}_downsample_1")


def _subsample(x, filters, stride, name):
    if stride > 1:
        x = max_pool3d(x, 1, stride, name=f"{name}_downsample")  # of one place each: every second place
    return ops.pad(x, [(0, 0)] * 4 + [(0, filters - x.shape[-1])])


def _conv(x, filters, size, stride=1, padding="valid", groups=1, name=None):
    he = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    conv = layers.Conv3D(
        filters, size, stride, padding, groups=groups, use_bias=False, kernel_initializer=he, name=name
    )
    return conv(x)


def _norm(x, name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
