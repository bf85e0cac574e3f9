"""GoogLeNet (Inception v1) in the two forms whose ImageNet weights are published: Caffe's and torchvision's."""

import keras
import numpy as np
from keras import layers, ops

from har_tf.models.building import classifier, with_weights

# Filters of each inception block: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection (Table 1 of the paper).
BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
MIN_SIZE = 32


def googlenet(
    input_shape=(224, 224, 3),
    num_classes=1000,
    variant="bvlc",
    include_top=True,
    weights=None,
    input_tensor=None,
):
    """GoogLeNet classifier of images, with its preprocessing in front.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", Table 1 and Figure 3. The authors published no
    weights. Two retrainings are in use, and they are different networks:

    - "bvlc": Caffe's `bvlc_googlenet`. Biases, local response normalisation after the stem's pooling and after conv2,
      no BatchNorm, max pools that round up; input BGR minus (104, 117, 123). 6,998,552 parameters.
    - "batchnorm": torchvision's `googlenet`, ported from TensorFlow. BatchNorm (epsilon 0.001) after every convolution,
      a 3x3 where the paper has a 5x5 (a known slip that the published weights keep), and a last max pool of 2x2.
      6,624,904 trainable parameters. Its published weights expect pixels in [-1, 1]: torchvision normalises with the
      ImageNet mean and deviation, and its `transform_input` then turns that back, which together is x / 127.5 - 1.

    Layers have their published names with "/" and "." written "_": `inception_3a_5x5_reduce`,
    `inception3a_branch3_0_conv`.

    Args:
        input_shape: (height, width, 3) of an image, RGB in [0, 255], uint8 or float; at least 32 x 32. Other sizes than
            224 have the same parameters.
        num_classes: size of the last layer, which is called `predictions`.
        variant: "bvlc" or "batchnorm".
        include_top: False ends at the last feature map, (B, 7, 7, 1024) for 224 x 224.
        weights: None, or the path of a file that `import_weights` reads; the file's auxiliary heads are left out, and
            its top where `include_top` is False.
        input_tensor: a symbolic (B, H, W, 3) to build on, in place of `input_shape`.

    Returns:
        A `keras.Model` from (B, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: an unknown variant, another number of channels than 3, a size below 32 or left open, or weights of
            another network.
        FileNotFoundError: there is no such weights file.

    Example:
        >>> model = googlenet(num_classes=1000)
        >>> model.count_params()
        6998552
    """
    if variant not in ("bvlc", "batchnorm"):
        raise ValueError(f"GoogLeNet is published as 'bvlc' and as 'batchnorm'. Received: variant={variant!r}")
    image = keras.Input(input_shape, dtype="uint8", name="image") if input_tensor is None else input_tensor
    shape = image.shape
    if len(shape) != 4 or shape[3] != 3 or None in shape[1:3] or min(shape[1:3]) < MIN_SIZE:
        raise ValueError(
            f"GoogLeNet needs images of (height, width, 3) with at least {MIN_SIZE} x {MIN_SIZE} pixels. "
            f"Received: {tuple(shape[1:])}"
        )
    x = (_bvlc if variant == "bvlc" else _batchnorm)(image)
    if include_top:
        pool, drop, rate = ("pool5_7x7_s1", "pool5_drop_7x7_s1", 0.4)
        if variant == "batchnorm":
            pool, drop, rate = ("avgpool", "dropout", 0.2)
        x = layers.GlobalAveragePooling2D(name=pool)(x)  # (B, 1024)
        x = classifier(layers.Dropout(rate, name=drop)(x), num_classes)
    # The model begins where the graph does that `image` belongs to.
    sources = keras.utils.get_source_inputs(image)
    return with_weights(keras.Model(sources[0] if len(sources) == 1 else sources, x, name="googlenet"), weights)


def _bvlc(image):
    """Caffe's layers up to the last feature map."""

    def conv(x, filters, size, name, stride=1):
        if stride > 1:  # Caffe pads both sides alike; "same" would put the odd pixel to the right
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "same" if stride == 1 else "valid"
        return layers.Conv2D(filters, size, stride, padding, activation="relu", name=name)(x)

    x = ops.flip(image, axis=-1)  # RGB to BGR
    x = layers.Rescaling(1.0, [-m for m in _CAFFE_MEAN_BGR], name="preprocess")(x)  # (B, 224, 224, 3)
    x = conv(x, 64, 7, "conv1_7x7_s2", stride=2)  # (B, 112, 112, 64)
    x = _pool_up(x, "pool1_3x3_s2")  # (B, 56, 56, 64)
    x = _local_response_norm(x, "pool1_norm1")
    x = conv(x, 64, 1, "conv2_3x3_reduce")
    x = conv(x, 192, 3, "conv2_3x3")  # (B, 56, 56, 192)
    x = _local_response_norm(x, "conv2_norm2")
    x = _pool_up(x, "pool2_3x3_s2")  # (B, 28, 28, 192)
    parts = ("_1x1", "_3x3_reduce", "_3x3", "_5x5_reduce", "_5x5", "_pool", "_pool_proj", "_output")
    pools = {"3b": lambda x: _pool_up(x, "pool3_3x3_s2"), "4e": lambda x: _pool_up(x, "pool4_3x3_s2")}
    return _inception(x, conv, "inception_", parts, 5, pools)


def _batchnorm(image):
    """torchvision's layers up to the last feature map."""

    def conv(x, filters, size, name, stride=1):
        padding = "same" if stride == 1 else "valid"
        x = layers.Conv2D(filters, size, stride, padding, use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=0.001, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    x = layers.Rescaling(1 / 127.5, -1.0, name="preprocess")(image)  # (B, 224, 224, 3)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = conv(x, 64, 7, "conv1", stride=2)  # (B, 112, 112, 64)
    x = _pool_up(x, "maxpool1")  # (B, 56, 56, 64)
    x = conv(x, 64, 1, "conv2")
    x = conv(x, 192, 3, "conv3")  # (B, 56, 56, 192)
    x = _pool_up(x, "maxpool2")  # (B, 28, 28, 192)
    parts = ("_branch1", "_branch2_0", "_branch2_1", "_branch3_0", "_branch3_1", "_branch4_0", "_branch4_1", "")
    pools = {"3b": lambda x: _pool_up(x, "maxpool3"), "4e": layers.MaxPooling2D(2, 2, "same", name="maxpool4")}
    return _inception(x, conv, "inception", parts, 3, pools)


def _inception(x, conv, prefix, parts, largest, pools):
    """The inception blocks, from 3a to 5b: of the stem's map (B, 28, 28, 192) the last feature map.

    Names of layers are `prefix`, the block and each of `parts`; `largest` is the size of the convolution that the paper
    has as 5 x 5, and `pools` what follows 3b and 4e.
    """
    for block, (f1, f3r, f3, f5r, f5, fp) in BLOCKS.items():
        names = [f"{prefix}{block}{part}" for part in parts]
        one = conv(x, f1, 1, names[0])
        three = conv(conv(x, f3r, 1, names[1]), f3, 3, names[2])
        five = conv(conv(x, f5r, 1, names[3]), f5, largest, names[4])
        pool = conv(layers.MaxPooling2D(3, 1, "same", name=names[5])(x), fp, 1, names[6])
        x = layers.Concatenate(name=names[7])([one, three, five, pool])
        if block in pools:
            x = pools[block](x)  # (B, 14, 14, 480), (B, 7, 7, 832)
    return x  # (B, 7, 7, 1024)


def _pool_up(x, name):
    """Max pooling 3 x 3, stride 2, whose output size is rounded up, as in Caffe and with torch's `ceil_mode`.

    A last window may hang over the right or lower edge by one pixel, which happens on even sizes. "same" does that
    there, but on odd sizes it pads the left edge as well. The inputs are not negative, so zeros pad as well as -inf.
    """
    over = [size % 2 == 0 for size in x.shape[1:3]]
    if any(over) and not all(over):
        x = layers.ZeroPadding2D(((0, int(over[0])), (0, int(over[1]))), name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, 2, "same" if all(over) else "valid", name=name)(x)


def _local_response_norm(x, name):
    """x / (1 + 1e-4 / 5 * sum of x² over the 5 channels around) ** 0.75, Krizhevsky et al. 2012, section 3.3.

    The sum over channels is a 1 x 1 convolution with a matrix of ones along the diagonal, which on a CPU is quicker
    than shifted slices, pooling over channels or `tf.nn.local_response_normalization`. Scaling comes before squaring,
    so that float16 does not overflow at 256.
    """
    channels = np.arange(x.shape[-1])
    band = np.abs(channels[:, None] - channels) <= 2  # symmetric; channels beyond the border count as 0
    scaled = layers.Rescaling((1e-4 / 5) ** 0.5, name=f"{name}_scale")(x)
    kernel = ops.convert_to_tensor(band[None, None].astype("float32"), scaled.dtype)
    total = ops.conv(ops.square(scaled), kernel)
    root = ops.rsqrt(layers.Rescaling(1.0, 1.0, name=f"{name}_denominator")(total))
    return layers.Multiply(name=name)([x, root, ops.sqrt(root)])  # d ** -0.75 is d ** -0.5 * sqrt(d ** -0.5)
