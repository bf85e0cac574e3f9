"""CNN-GRU: a CNN on every frame, one 3D convolution over the clip, two GRU layers over time."""

import keras
from keras import layers, ops

from har_tf.models import backbones
from har_tf.models.batch_norm import in_one_operation
from har_tf.models.building import classifier, clip_and_frames, with_weights


def cnn_gru(
    input_shape=(10, 128, 192, 3),
    num_classes=10,
    filters=(16, 32, 64),
    pool_sizes=(4, 4, 2),
    dropout=0.2,
    batch_norm_momentum=0.9,
    pool_before_norm=False,
    conv3d_filters=50,
    conv3d_kernel=3,
    normalize_sequence=False,
    temporal="gru",
    gru_units=(32, 50),
    gru_dropout=0.0,
    dense_units=100,
    encoder=None,
    encoder_weights=None,
    encoder_trainable=False,
    weights=None,
):
    """CNN-GRU classifier of video clips.

    Source: Hossain et al. 2025, "Interpretable Human Action Recognition: A CNN-GRU Approach with Grad-CAM Insights",
    section 3.1 and Figure 2. The paper fixes three Conv2D blocks (BatchNorm, max pooling, dropout) applied to each
    frame, Conv3D with 50 filters, GRU 32 and 50, Dense 100 ReLU, softmax. It leaves open, and this function takes:

    - `filters`, 3 x 3 kernels: doubling from 16 is what two CPU cores or a free GPU train in minutes.
    - `pool_sizes`: (2, 2, 2) would hand 19,200 numbers a frame to the first GRU, whose three gates then hold 1.8 M of
      the model's weights and leave chance only slowly; (4, 4, 2) hands over 1,200 and still keeps a 4 x 6 grid, so that
      the GRU knows where in the frame something happened.
    - BatchNorm: time is folded into the batch, so its statistics run over all frames of all clips and are updated once
      a step. Keras' momentum of 0.99 needs some 500 steps to forget its start; with 50 steps an epoch the validation
      accuracy would lag behind training for ten epochs, hence 0.9.
    - `pool_before_norm`: the paper lists BatchNorm before pooling. Where the learned scale is positive both orders are
      the same function at inference; pooling first leaves BatchNorm 4 to 16 times fewer values to go over, which is
      a large part of a training step on a CPU.
    - `normalize_sequence`: layer normalisation of what enters the GRU. Off in the paper's model. It keeps the gates out
      of saturation when the 3D convolution's output is large.

    Args:
        input_shape: (time, height, width, channels) of a clip; RGB in [0, 255], uint8 or float.
        num_classes: size of the last layer, which is called `predictions`.
        filters: filters of the Conv2D blocks; their number is free, the paper has three.
        pool_sizes: max pooling after each block, in pixels, one a block.
        dropout: rate after each Conv2D block, or after the encoder in their place.
        batch_norm_momentum: of the running statistics.
        pool_before_norm: the order conv, pool, BatchNorm, ReLU in place of conv, BatchNorm, ReLU, pool.
        conv3d_filters: filters of the 3D convolution.
        conv3d_kernel: its kernel over time, height and width.
        normalize_sequence: whether a LayerNormalization stands before the first GRU.
        temporal: "gru", or "average" for the ablation that is blind to the order of frames: the 3D convolution sees one
            frame at a time, and the dense layer's answers for the frames are averaged in place of the GRU layers.
        gru_units: units of the GRU layers; the last returns its final state.
        gru_dropout: rate on the input of the GRU layers.
        dense_units: size of the ReLU layer before the softmax.
        encoder: None for the paper's Conv2D blocks, or an ImageNet network (`har_tf.models.backbones`) in their place.
        encoder_weights: None, "imagenet" or the path of its published weights.
        encoder_trainable: False freezes the encoder.
        weights: None, or the path of a `.weights.h5` or `.keras` file of this architecture.

    Returns:
        A `keras.Model` from (B, T, H, W, 3) to (B, num_classes) probabilities.

    Raises:
        ValueError: shapes that leave no pixel after pooling, numbers of `filters` and `pool_sizes` that differ, or
            another `temporal`, or a file of another architecture.
        FileNotFoundError: there is no such weights file.

    Example:
        >>> model = cnn_gru(input_shape=(10, 64, 96, 3), num_classes=10, pool_sizes=(2, 4, 2))
        >>> model.predict(np.zeros((1, 10, 64, 96, 3), "uint8")).shape
        (1, 10)
    """
    if temporal not in ("gru", "average"):
        raise ValueError(f"Time is taken in by 'gru' or 'average'. Received: temporal={temporal!r}")
    clip, x = clip_and_frames(input_shape)  # (B·T, H, W, 3)
    time = clip.shape[1]
    if encoder is None:
        x = layers.Rescaling(1 / 255, name="rescale")(x)
        x = _frame_encoder(x, filters, pool_sizes, dropout, batch_norm_momentum, pool_before_norm)  # (B·T, h, w, C)
    else:
        x = backbones.encode(x, encoder, encoder_weights, encoder_trainable)
        x = layers.Dropout(dropout, name="dropout_encoder")(x)
    x = ops.reshape(x, (-1, time, *x.shape[1:]))  # (B, T, h, w, C)
    kernel = (conv3d_kernel if temporal == "gru" else 1, conv3d_kernel, conv3d_kernel)
    x = layers.Conv3D(conv3d_filters, kernel, padding="same", activation="relu", name="conv3d")(x)
    x = ops.reshape(x, (-1, time, x.shape[2] * x.shape[3] * x.shape[4]))  # (B, T, h·w·50)
    if normalize_sequence:
        x = layers.LayerNormalization(name="sequence_norm")(x)
    if temporal == "gru":
        for i, units in enumerate(gru_units, start=1):
            last = i == len(gru_units)
            x = layers.GRU(units, return_sequences=not last, dropout=gru_dropout, name=f"gru{i}")(x)
    x = layers.Dense(dense_units, activation="relu", name="dense")(x)  # (B, 100), or of an average (B, T, 100)
    if temporal == "average":
        x = layers.GlobalAveragePooling1D(name="temporal_pool")(x)
    model = keras.Model(clip, classifier(x, num_classes), name="cnn_gru")
    return with_weights(in_one_operation(model), weights)


def _frame_encoder(frames, filters, pool_sizes, dropout, batch_norm_momentum, pool_before_norm):
    """The paper's Conv2D blocks on (B·T, H, W, C) frames; returns the last feature map."""
    if len(filters) != len(pool_sizes):
        raise ValueError(f"Every block needs its pool size. Received: filters={filters}, pool_sizes={pool_sizes}")
    x = frames
    for i, (channels, pool) in enumerate(zip(filters, pool_sizes, strict=True), start=1):
        if min(x.shape[1:3]) < pool:
            raise ValueError(
                f"Frames of {frames.shape[1]} x {frames.shape[2]} pixels leave {x.shape[1]} x {x.shape[2]} before "
                f"block {i}, which pools {pool} x {pool}. Received: pool_sizes={pool_sizes}"
            )
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv2d_{i}")(x)
        pooling = layers.MaxPooling2D(pool, name=f"pool_{i}")
        x = pooling(x) if pool_before_norm else x
        x = layers.BatchNormalization(momentum=batch_norm_momentum, name=f"bn_{i}")(x)
        x = layers.ReLU(name=f"relu_{i}")(x)
        x = x if pool_before_norm else pooling(x)
        x = layers.Dropout(dropout, name=f"dropout_{i}")(x)
    return x
