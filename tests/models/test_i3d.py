"""I3D: published counts and sizes, TensorFlow's padding and BatchNorm by hand, taps, saving."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import trainable

from har_tf.models.i3d import i3d
from har_tf.models.taps import taps

TABLE_2 = {
    "conv3d_1a_7x7": (32, 112, 112, 64),
    "maxpool3d_2a_3x3": (32, 56, 56, 64),
    "conv3d_2b_1x1": (32, 56, 56, 64),
    "conv3d_2c_3x3": (32, 56, 56, 192),
    "maxpool3d_3a_3x3": (32, 28, 28, 192),
    "mixed_3b": (32, 28, 28, 256),
    "mixed_3c": (32, 28, 28, 480),
    "maxpool3d_4a_3x3": (16, 14, 14, 480),
    "mixed_4b": (16, 14, 14, 512),
    "mixed_4c": (16, 14, 14, 512),
    "mixed_4d": (16, 14, 14, 512),
    "mixed_4e": (16, 14, 14, 528),
    "mixed_4f": (16, 14, 14, 832),
    "maxpool3d_5a_2x2": (8, 7, 7, 832),
    "mixed_5b": (8, 7, 7, 832),
    "mixed_5c": (8, 7, 7, 1024),
}


def small(shape=(8, 40, 48, 3), classes=4, **options):
    return i3d(shape, classes, width=1 / 16, **options)


@pytest.fixture(scope="module")
def published():
    """64 x 224 x 224 and 400 classes, as published by the port."""
    return i3d()


def test_parameters_are_the_published_ones(published):
    """With 101, 51, 24 and 21 classes 12,390,789, 12,339,539, 12,311,864 and 12,308,789."""
    assert trainable(published) == 12_287_264 + 400 * (1024 + 1) == 12_697_264
    assert published.get_layer("predictions").count_params() == 400 * (1024 + 1)
    assert published.count_params() == 12_697_264 + 14_560
    deepmind_s = i3d((8, 32, 32, 3), include_top=False, batch_norm_scale=False)
    assert trainable(deepmind_s) == 12_279_984
    assert deepmind_s.count_params() == 12_279_984 + 14_560


def test_multiplications_are_the_published_ones(published):
    """111.15 thousand millions for 64 x 224 x 224."""
    convolutions = [layer for layer in published.layers if isinstance(layer, keras.layers.Conv3D)]
    total = sum(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:4]) for layer in convolutions)
    assert round(total / 1e9, 2) == 111.15


def test_stages_are_taps_of_the_sizes_in_table_2(published):
    found = {tap.name: tap.shape for tap in taps(published)}
    assert {name: found[name] for name in TABLE_2} == TABLE_2
    assert [name for name in found if name in TABLE_2] == list(TABLE_2)
    assert list(found)[-1] == "mixed_5c"


@pytest.mark.parametrize(
    ("shape", "last"), [((16, 224, 224, 3), (2, 7, 7)), ((33, 65, 130, 3), (5, 3, 5)), ((8, 32, 32, 3), (1, 1, 1))]
)
def test_other_sizes_are_halved_and_rounded_up(shape, last):
    assert tuple(small(shape).get_layer("mixed_5c").output.shape[1:4]) == last


@pytest.fixture(scope="module")
def plain():
    return small()


# --- TensorFlow's "SAME" ---------------------------------------------------------------------------------------------


@functools.cache
def unscaled(shape):
    return small((*shape, 3), rescale=False)


def first_convolution(frames, kernel):
    """What conv3d_1a_7x7's convolution makes of (T, H, W), with its first filter `kernel` (7, 7, 7) on channel 0."""
    model = unscaled(frames.shape)
    layer = model.get_layer("conv3d_1a_7x7_conv")
    kernels = np.zeros(layer.kernel.shape, "float32")
    kernels[..., 0, 0] = kernel
    layer.set_weights([kernels])
    clip = np.zeros((1, *frames.shape, 3), "float32")
    clip[0, ..., 0] = frames
    return keras.Model(model.input, layer.output)(clip)[0, ..., 0].numpy()


def one_tap(place):
    kernel = np.zeros((7, 7, 7), "float32")
    kernel[place] = 1
    return kernel


def test_even_sizes_are_padded_by_two_before_and_three_behind():
    """Size 40, stride 2: 20 windows of 7 span 45, 5 more. Window i starts at row 2 i - 2, not at torch's 2 i - 3."""
    rows = np.broadcast_to(1 + np.arange(40.0)[None, :, None], (8, 40, 40))
    middle = first_convolution(rows, one_tap((2, 0, 2)))  # the first row that each window sees
    np.testing.assert_array_equal(middle[0, :, 0], [0, *(2 * i - 1 for i in range(1, 20))])
    last = first_convolution(rows, one_tap((2, 6, 2)))  # and the last: row 2 i + 4
    np.testing.assert_array_equal(last[0, :, 0], [*(2 * i + 5 for i in range(18)), 0, 0])
    # Time, 8 frames: as above.
    times = np.broadcast_to(1 + np.arange(8.0)[:, None, None], (8, 40, 40))
    np.testing.assert_array_equal(first_convolution(times, one_tap((0, 2, 2)))[:, 0, 0], [0, 1, 3, 5])


def test_odd_sizes_are_padded_by_three_on_both_sides():
    """Size 41: 21 windows of 7 span 47, 6 more than 41."""
    rows = np.broadcast_to(1 + np.arange(41.0)[None, :, None], (8, 41, 40))
    np.testing.assert_array_equal(
        first_convolution(rows, one_tap((2, 0, 2)))[0, :, 0], [0, 0, *(2 * i - 2 for i in range(2, 21))]
    )


def pooled(model, before, pooling, axis):
    """What a pooling makes of a map in which every value is its own place along an axis."""
    start, end = model.get_layer(before).output, model.get_layer(pooling).output
    places = np.arange(start.shape[axis], dtype="float32").reshape([-1 if i == axis else 1 for i in range(5)])
    maps = keras.Model(start, end)(np.broadcast_to(places, (1, *start.shape[1:]))).numpy()
    return np.moveaxis(maps, axis, 0).reshape(maps.shape[axis], -1)[:, 0]


@pytest.mark.parametrize("rows", [32, 34])
def test_pooling_pads_as_tensorflow_does(rows):
    """Windows of 3 by steps of 2. Of 16 rows padding stands only behind: 0 1 2, ..., 14 15. Of 17 one stands on each
    side: 0 1, 1 2 3, ..., 15 16.
    """
    model = small((8, rows, 32, 3))
    found = pooled(model, "conv3d_1a_7x7", "maxpool3d_2a_3x3", 2)
    expected = [2, 4, 6, 8, 10, 12, 14, 15] if rows == 32 else [1, 3, 5, 7, 9, 11, 13, 15, 16]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(pooled(model, "conv3d_1a_7x7", "maxpool3d_2a_3x3", 1), range(4))  # not of time


def test_pooling_of_time_begins_at_the_fourth_stage():
    model = small((20, 32, 32, 3))
    np.testing.assert_array_equal(pooled(model, "mixed_3c", "maxpool3d_4a_3x3", 1), [2, 4, 6, 8, 9])
    np.testing.assert_array_equal(pooled(model, "mixed_4f", "maxpool3d_5a_2x2", 1), [1, 3, 4])  # two frames, not three


@pytest.mark.parametrize("scale", [False, True])
def test_batch_norm_has_epsilon_0_001(scale):
    """(2 - 1) / sqrt(0.003 + 0.001) = 15.811; with Keras' own 0.001 too, with torch's 1e-5 it would be 18.2."""
    layer = small(batch_norm_scale=scale).get_layer("conv3d_1a_7x7_bn")
    ones = np.ones(4, "float32")
    layer.set_weights([*([3 * ones] if scale else []), 0.25 * ones, ones, 0.003 * ones])
    answer = layer(np.full((1, 1, 1, 1, 4), 2, "float32"), training=False)
    np.testing.assert_allclose(answer, (3 if scale else 1) / 0.004**0.5 + 0.25, rtol=1e-5)


# --- what goes in and what comes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modality", "stored", "value"),
    [
        ("rgb", [0, 51, 255], [-1, -0.6, 1]),
        ("flow", [1, 128, 255], [-1, 0, 1]),  # -20, 0 and 20 pixels
    ],
)
def test_bytes_are_scaled_to_one(modality, stored, value):
    channels = {"rgb": 3, "flow": 2}[modality]
    model = small((8, 32, 32, channels), modality=modality)
    scaled = keras.Model(model.input, model.get_layer("rescale").output)
    for byte, expected in zip(stored, value, strict=True):
        clip = np.full((1, 8, 32, 32, channels), byte, np.uint8)
        np.testing.assert_allclose(scaled(clip), np.full(clip.shape, expected), atol=1e-6)


def test_head_is_the_mean_over_time_of_the_logits_of_pairs_of_frames():
    """Frames 0 to 3 weigh 1, 2, 2, 1 sixths in the three pairs."""
    model = small((32, 32, 64, 3), classes=3)
    weights = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    bias = np.array([0.5, -1, 0], "float32")
    model.get_layer("predictions").set_weights([weights, bias])
    head = keras.Model(model.get_layer("mixed_5c").output, model.output)
    maps = np.random.default_rng(1).uniform(0, 1, (2, 4, 1, 2, 64)).astype("float32")
    frames = maps.mean((2, 3))
    pairs = np.stack([(frames[:, i] + frames[:, i + 1]) / 2 for i in range(3)], 1)
    logits = (pairs @ weights + bias).mean(1)
    np.testing.assert_allclose(logits, (frames * [[[1], [2], [2], [1]]]).sum(1) / 6 @ weights + bias, rtol=1e-5)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(head(maps, training=False), expected, rtol=1e-5)


def test_one_pair_at_most(plain):
    """8 frames leave one: there is no pair to average over."""
    assert plain.get_layer("avg_pool").pool_size == (1, 2, 2)


def test_gradients_reach_every_weight():
    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 64, 64, 3), dtype=np.uint8)
    model = small(clips.shape[1:], dropout=0.0)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(model(clips, training=True)[:, 0]))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "depth"}, "of 'rgb' or of 'flow'. Received: modality='depth'"),
        ({"input_shape": (7, 224, 224, 3)}, r"8 frames of 32 x 32 pixels. Received: input_shape=\(7, 224, 224, 3\)"),
        ({"input_shape": (16, 31, 224, 3)}, r"Received: input_shape=\(16, 31, 224, 3\)"),
        ({"input_shape": (None, 224, 224, 3)}, r"Received: input_shape=\(None, 224, 224, 3\)"),
        ({"input_shape": (224, 224, 3)}, r"Received: input_shape=\(224, 224, 3\)"),
        ({"input_shape": (16, 64, 64, 3), "modality": "flow"}, r"flow needs clips of \(time, height, width, 2\)"),
        ({"width": 0}, "positive factor on the number of filters. Received: width=0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        i3d(**options)
