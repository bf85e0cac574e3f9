"""Video Swin: a transformer whose attention stays within 3D windows, which move from layer to layer."""

import math

import keras
from keras import layers

from har_tf.models.building import averaged, classifier, normalized_clip, with_weights
from har_tf.models.weights.video_swin import SIZES
from har_tf.models.window_attention import WindowAttention

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def video_swin(
    size="tiny",
    input_shape=(32, 224, 224, 3),
    num_classes=400,
    weights=None,
    include_top=True,
    dropout=0.5,
    drop_path=None,
    embed_dim=None,
    depths=None,
    num_heads=None,
    window=(8, 7, 7),
    patch=(2, 4, 4),
):
    """Video Swin Transformer, a classifier of video clips, with its preprocessing in front.

    Source: Liu et al. 2022, "Video Swin Transformer", section 3 and Table 1, with the details of the authors' code
    (SwinTransformer/Video-Swin-Transformer) and of its configurations for Kinetics-400: channels are normalised by
    ImageNet's mean and deviation, clips are padded with zeros to whole patches, odd maps to even ones before patches
    are merged; every other block moves its windows; GELU is the exact one, LayerNorm has epsilon 1e-5, and the drop
    path rate grows from 0 at the first block to the last.

    Its maps are grids (B, T', H', W', C): `patch_embed` after the patches' LayerNorm, `layer1` to `layer4` after the
    blocks of each stage, and `norm`, the last LayerNorm, which the classifier averages. On 32 x 224 x 224 they are
    16 x 56 x 56, 16 x 56 x 56, 16 x 28 x 28, 16 x 14 x 14, 16 x 7 x 7 and 16 x 7 x 7. Grad-CAM's default is `norm`:
    from there on the network is an average and a dense layer. The channels of a LayerNorm have nearly the same sum
    everywhere, so 3DCAM's stages end with `layer4`. The other layers have the published names with "_" for "." and a
    number more for the stage, as `layer1_0_attn` for `layers.0.blocks.0.attn`.

    The attention is a layer of this project: see `WindowAttention` on loading a saved model.

    Args:
        size: "tiny", "small" or "base".
        input_shape: (time, height, width, channels) of a uint8 RGB clip, of any size; the number of parameters is the
            same for all.
        num_classes: size of the last layer, which is called `predictions`.
        weights: None, or the path of a file that `import_weights` reads; the file's top is left out where
            `include_top` is False.
        include_top: False ends at `norm`, (B, 16, 7, 7, 768) for tiny on 32 x 224 x 224.
        dropout: rate before the last layer.
        drop_path: rate at which a clip passes by the last block, None: the size's, 0.1, 0.1 and 0.3.
        embed_dim: channels of the first stage in place of the size's, 96, 96 and 128; they double with every stage.
        depths: blocks of the four stages in place of the size's, for small machines and tests.
        num_heads: attention heads of the four stages in place of the size's.
        window: (time, height, width) of a window, in patches.
        patch: (time, height, width) of a patch, in pixels.

    Returns:
        A `keras.Model` from (B, T, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: an unknown size, no four numbers of blocks or heads, heads that do not divide the channels, a window
            or a patch without places, open sizes, another number of channels than 3, or weights of another network.
        FileNotFoundError: there is no such weights file.

    Example:
        >>> model = video_swin("tiny", num_classes=400)
        >>> model.count_params()
        28158070
    """
    if size not in SIZES:
        raise ValueError(f"Video Swin is of size {', '.join(map(repr, SIZES))}. Received: size={size!r}")
    usual = SIZES[size]
    embed_dim = usual[0] if embed_dim is None else embed_dim
    depths = tuple(usual[1] if depths is None else depths)
    num_heads = tuple(usual[2] if num_heads is None else num_heads)
    drop_path = usual[3] if drop_path is None else drop_path
    _check(input_shape, embed_dim, depths, num_heads, window, patch)
    clip, x = normalized_clip(input_shape, IMAGENET_MEAN, IMAGENET_STD)  # (B, 32, 224, 224, 3)
    x = _pad(x, patch, "patch_embed_pad")
    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # torch's for convolutions
    x = layers.Conv3D(embed_dim, patch, patch, kernel_initializer=uniform, name="patch_embed_proj")(x)
    x = _norm(x, "patch_embed")  # (B, 16, 56, 56, 96)
    # layer1 (B, 16, 56, 56, 96), layer2 (B, 16, 28, 28, 192), layer3 (B, 16, 14, 14, 384), layer4 (B, 16, 7, 7, 768)
    done, last = 0, max(1, sum(depths) - 1)
    for stage, (count, heads) in enumerate(zip(depths, num_heads, strict=True)):
        name = f"layer{stage + 1}"
        if stage:
            x = _merge_patches(x, f"layer{stage}_downsample")
        for block in range(count):
            x = _block(
                x, heads, window,
                shifted=block % 2 == 1,
                drop_path=drop_path * done / last,
                name=f"{name}_{block}",
                output_name=name if block == count - 1 else f"{name}_{block}",
            )  # fmt: skip
            done += 1
    x = _norm(x, "norm")
    if include_top:
        x = averaged(x, dropout)  # (B, 768)
        x = classifier(x, num_classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01))
    return with_weights(keras.Model(clip, x, name="video_swin"), weights)


def _check(input_shape, embed_dim, depths, num_heads, window, patch):
    if len(depths) != 4 or min(depths) < 1 or len(num_heads) != 4 or min(num_heads) < 1:
        raise ValueError(
            "Each of the four stages has a number of blocks and one of heads. "
            f"Received: depths={depths}, num_heads={num_heads}"
        )
    if embed_dim < 1 or any(embed_dim * 2**stage % heads for stage, heads in enumerate(num_heads)):
        raise ValueError(
            "The heads of a stage divide its channels, which are embed_dim doubled at each stage. "
            f"Received: embed_dim={embed_dim}, num_heads={num_heads}"
        )
    for name, value in (("window", window), ("patch", patch)):
        if len(value) != 3 or min(value) < 1:
            raise ValueError(
                f"A {name} is at least 1 long along time, height and width. Received: {name}={tuple(value)}"
            )
    if None in input_shape or min(input_shape) < 1:
        raise ValueError(
            "Windows are cut for clips of one size; build a model for each size, with the same weights. "
            f"Received: input_shape={tuple(input_shape)}"
        )


def _block(x, heads, window, shifted, drop_path, name, output_name):
    """Attention and a perceptron of two layers, each behind a LayerNorm and added; the last sum is `output_name`."""
    y = _norm(x, f"{name}_norm1")
    y = WindowAttention(heads, window, shifted, name=f"{name}_attn")(y)
    y = _drop_path(y, drop_path, f"{name}_drop_path1")
    x = layers.Add(name=f"{name}_add")([x, y])
    y = _norm(x, f"{name}_norm2")
    y = _dense(y, 4 * x.shape[-1], f"{name}_fc1", activation="gelu")
    y = _dense(y, x.shape[-1], f"{name}_fc2")
    y = _drop_path(y, drop_path, f"{name}_drop_path2")
    return layers.Add(name=output_name)([x, y])


def _merge_patches(x, name):
    """Four places of the picture become one: (B, T, H, W, C) to (B, T, H / 2, W / 2, 2 C)."""
    x = _pad(x, (1, 2, 2), f"{name}_pad")
    _, time, height, width, channels = x.shape
    x = layers.Reshape((time, height // 2, 2, width // 2, 2, channels), name=f"{name}_split")(x)
    # The published weights take the four places column by column: (h, w) = (0, 0), (1, 0), (0, 1), (1, 1).
    x = layers.Permute((1, 2, 4, 5, 3, 6), name=f"{name}_permute")(x)
    x = layers.Reshape((time, height // 2, width // 2, 4 * channels), name=f"{name}_merge")(x)
    x = _norm(x, f"{name}_norm")
    return _dense(x, 2 * channels, f"{name}_reduction", use_bias=False)


def _pad(x, multiple, name):
    """Zeros at the end, to a multiple of these sizes of (T, H, W)."""
    missing = [math.ceil(n / m) * m - n for n, m in zip(x.shape[1:4], multiple, strict=True)]
    return layers.ZeroPadding3D([(0, n) for n in missing], name=name)(x) if any(missing) else x


def _drop_path(x, rate, name):
    # One draw a clip: dropped as a whole, or kept and enlarged.
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1, 1), name=name)(x) if rate else x


def _dense(x, units, name, **options):
    normal = keras.initializers.RandomNormal(stddev=0.02)
    return layers.Dense(units, kernel_initializer=normal, name=name, **options)(x)


def _norm(x, name):
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)
