"""Where maps lie in the clip, whatever the model did to the clip before."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.explain import cam3d, gradcam
from har_tf.models.taps import find, taps

T, H, W = 4, 32, 48
PATCH = (slice(2, 4), slice(8, 16), slice(28, 36))  # frames, rows and columns that are bright


@pytest.fixture(scope="module")
def clip():
    clip = np.zeros((1, T, H, W, 3), np.uint8)
    clip[(0, *PATCH)] = 255
    return clip


def brightness(before, frames=False):
    """A model whose map shows what is bright, behind something that moves the clip about."""
    x = before(layers.Rescaling(1 / 255)(clip := keras.Input((T, H, W, 3))))
    conv = layers.Conv2D if frames else layers.Conv3D
    x = conv(1, 1, activation="relu", kernel_initializer="ones", name="bright")(x)
    pooled = (layers.GlobalMaxPooling2D if frames else layers.GlobalMaxPooling3D)()(x)
    if frames:
        pooled = ops.max(ops.reshape(pooled, (-1, pooled.shape[0] or T, 1)), axis=1)
    kernel = keras.initializers.Constant([[1.0, -1.0]])
    return keras.Model(clip, layers.Dense(2, kernel_initializer=kernel, name="predictions")(pooled))


class Own(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self._function = function

    def call(self, x):
        return self._function(x)


MOVED = {
    "as it is": lambda x: x,
    "Permute": layers.Permute((2, 3, 1, 4)),
    "transposed and back": lambda x: ops.transpose(ops.transpose(x, (0, 3, 2, 1, 4)), (0, 3, 2, 1, 4)),
    "time backwards": lambda x: ops.flip(x, axis=1),
    "mirrored": lambda x: x[:, :, :, ::-1],
    "CenterCrop": layers.TimeDistributed(layers.CenterCrop(20, 24)),
    "Cropping3D": layers.Cropping3D(((1, 0), (4, 6), (10, 2))),
    "a slice": lambda x: x[:, 1:, 6:20, 20:40],
    "ZeroPadding3D": layers.ZeroPadding3D((1, 4, 6)),
    "ops.pad": lambda x: ops.pad(x, ((0, 0), (0, 0), (5, 1), (0, 7), (0, 0))),
    "own layer that crops": Own(lambda x: x[:, :, 4:-4, 8:-8]),
    "own layer that mirrors": Own(lambda x: ops.flip(x, axis=2)),
    "Lambda": layers.Lambda(lambda x: ops.swapaxes(x, 2, 3)),
    "Lambda that scales and crops": layers.Lambda(lambda x: x[:, :, 2:, :-4] / 2 + 0.5 * x[:, :, 2:, :-4]),
    "Resizing that crops": layers.TimeDistributed(layers.Resizing(32, 32, crop_to_aspect_ratio=True)),
    "Resizing that pads": layers.TimeDistributed(layers.Resizing(48, 48, pad_to_aspect_ratio=True)),
    "channels gated": lambda x: x * ops.sigmoid(layers.GlobalAveragePooling3D(keepdims=True)(x) + 20),
    "standardised": layers.Lambda(
        lambda x: (x - ops.mean(x, (1, 2, 3, 4), keepdims=True)) / ops.std(x, (1, 2, 3, 4), keepdims=True)
    ),
}


@pytest.mark.parametrize("method", [gradcam, cam3d])
@pytest.mark.parametrize("name", MOVED)
def test_the_map_lies_on_the_patch(clip, name, method):
    model = brightness(MOVED[name])
    found = method(model, clip, **({"taps": ["bright"]} if method is cam3d else {}))
    inside = np.zeros(clip.shape[:4], bool)
    inside[(0, *(slice(max(part.start - 1, 0), part.stop + 1) for part in PATCH))] = True
    assert found.maps[0][PATCH].max() == pytest.approx(1, abs=1e-3)
    assert found.maps[~inside].max() < 0.05


FOLDED = {
    "ops.reshape": lambda x: ops.reshape(x, (-1, H, W, 3)),
    "own layer": Own(lambda x: ops.reshape(x, (-1, *x.shape[2:]))),
    "Lambda": layers.Lambda(lambda x: ops.reshape(x, (-1, H, W, 3))),
}


@pytest.mark.parametrize("name", FOLDED)
def test_frames_folded_by_any_layer_are_those_of_their_clip(clip, name):
    fold = FOLDED[name]
    x = fold(layers.Rescaling(1 / 255)(start := keras.Input((T, H, W, 3))))
    x = layers.Conv2D(1, 1, kernel_initializer="ones", name="bright")(x)
    x = ops.reshape(layers.GlobalMaxPooling2D()(x), (-1, T))
    model = keras.Model(start, layers.Dense(2, kernel_initializer="ones")(x))
    both = np.concatenate([clip, clip[:, ::-1]])
    maps = gradcam(model, both).maps
    assert maps.shape == both.shape[:4]
    assert maps[0].max(axis=(1, 2)).round(3).tolist() == [0, 0, 1, 1]
    assert maps[1].max(axis=(1, 2)).round(3).tolist() == [1, 1, 0, 0]


def test_frames_outside_of_clips_order():
    x = ops.transpose(layers.Rescaling(1 / 255)(start := keras.Input((T, H, W, 3))), (1, 0, 2, 3, 4))
    x = layers.Conv2D(1, 1, kernel_initializer="ones", name="bright")(ops.reshape(x, (-1, H, W, 3)))
    model = keras.Model(start, layers.GlobalMaxPooling2D()(x))  # its rows are frames: only the tap is looked at
    (tap,) = taps(model)
    assert (tap.shape, tap.axes) == ((T, H, W, 1), ("t", "b", "h", "w", "c"))


def test_steps_in_time_and_padding_for_a_kernel():
    model = brightness(lambda x: x[:, ::2])
    assert find(model).spans == ((-0.125, 0.875), (0, 1), (0, 1))  # frames 0 and 2, the second begins at 3/8
    start = keras.Input((T, H, W, 3))
    x = layers.Conv3D(2, (1, 5, 5), name="valid")(layers.ZeroPadding3D((0, 2, 2))(start))
    assert taps(keras.Model(start, layers.GlobalAveragePooling3D()(x)))[0].spans == ((0, 1), (0, 1), (0, 1))
    x = layers.Conv3D(2, (1, 5, 5), padding="same", name="same")(layers.ZeroPadding3D((0, 4, 0))(start))
    assert taps(keras.Model(start, layers.GlobalAveragePooling3D()(x)))[0].spans == ((0, 1), (-0.125, 1.125), (0, 1))


def test_frames_that_become_one_keep_their_extent():
    start = keras.Input((T, H, W, 3))
    spans = {
        "all as channels": ops.reshape(ops.transpose(start, (0, 2, 3, 1, 4)), (-1, H, W, T * 3)),
        "two as channels": ops.reshape(ops.transpose(start[:, 1:3], (0, 2, 3, 1, 4)), (-1, H, W, 2 * 3)),
        "the mean of two": ops.mean(start[:, 2:], axis=1),
        "one": layers.Lambda(lambda x: x[:, 1])(start),
    }
    found = {name: taps(keras.Model(start, layers.Conv2D(2, 3)(x)))[0].spans[0] for name, x in spans.items()}
    assert found == {
        "all as channels": (0, 1), "two as channels": (0.25, 0.75), "the mean of two": (0.5, 1), "one": (0.25, 0.5)
    }  # fmt: skip


def test_a_layer_that_only_moves_a_map_is_no_tap_of_its_own():
    x = layers.Conv3D(2, 3, name="conv")(start := keras.Input((T, H, W, 3)))
    x = layers.Conv2D(2, 3, name="middle")(layers.Lambda(lambda x: x[:, 1])(x))
    assert [tap.name for tap in taps(keras.Model(start, x))] == ["conv", "middle"]


def test_a_size_that_a_layer_says_and_does_not_give_is_refused_by_its_name():
    class Wrong(layers.Layer):
        def call(self, x):
            return x[:, :, 1:]

        def compute_output_shape(self, shape):
            return shape

    x = layers.Conv3D(2, 3)(Wrong(name="says_so")(start := keras.Input((T, H, W, 3))))
    with pytest.raises(ValueError, match="what 'says_so' does to places"):
        find(keras.Model(start, x))


def test_what_cannot_be_followed_is_refused_by_its_name(clip):
    shuffled = Own(lambda x: ops.take(x, [0, 2, 1, 3], axis=1), name="shuffled")
    model = brightness(shuffled)
    with pytest.raises(ValueError, match=r"no feature map whose place is known: what 'shuffled' does to places"):
        gradcam(model, clip)
    start = keras.Input((T, H, W, 3))
    x = shuffled(layers.Conv3D(2, 1, name="before")(start))
    model = keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling3D()(layers.Conv3D(2, 1, name="behind")(x))))
    with pytest.raises(ValueError, match=r"'shuffled' .* maps lie behind it. Name one of the taps before it: before"):
        gradcam(model, clip)
    assert gradcam(model, clip, tap="before").maps.shape == (1, T, H, W)


def test_a_layer_that_computes_is_followed_where_a_change_shows_at_its_place(clip):
    class Block(layers.Layer):
        def __init__(self):
            super().__init__(name="own_block")
            self.conv = layers.Conv3D(3, 3, strides=(1, 2, 2), padding="same")

        def call(self, x):
            return tf.nn.relu(self.conv(x))  # of which Keras cannot make a graph

    for seed in range(4):  # whatever its weights are
        keras.utils.set_random_seed(seed)
        found = [(tap.name, tap.shape) for tap in taps(brightness(Block()))]
        assert found == [("own_block", (T, 16, 24, 3)), ("bright", (T, 16, 24, 1))]


def test_one_channel_takes_no_room_in_a_shape_and_one_row_is_a_place():
    clip = keras.Input((T, H, W, 3))
    x = layers.Conv3D(1, 3, padding="same", name="first")(layers.Rescaling(1 / 255)(clip))
    x = layers.MaxPooling3D(2, name="pool")(x)
    x = layers.Conv3D(1, 3, padding="same", name="second")(x)
    folded = ops.reshape(x, (-1, H // 2, W // 2, 1))
    x = layers.Conv2D(1, 3, padding="same", name="third")(folded)
    rows = ops.reshape(
        ops.transpose(ops.reshape(x, (-1, 2, 1, 16, W // 2, 1)), (0, 1, 2, 4, 3, 5)), (-1, 2, 1, W // 2, 16)
    )
    x = layers.Conv3D(2, (1, 1, 3), padding="same", name="merged")(rows)  # all rows have become channels
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    found = {tap.name: (tap.shape, tap.spans) for tap in taps(model)}
    whole = ((0.0, 1.0),) * 3
    assert found["second"] == ((2, 16, 24, 1), whole) and found["third"] == ((2, 16, 24, 1), whole)
    assert found["merged"] == ((2, 1, 24, 2), whole) and found["pool"] == ((2, 16, 24, 1), whole)


def halves(x):
    return x[:, :, :, : W // 2], x[:, :, :, W // 2 :]


def around_motion(x):
    """The half of the width in which more moves."""
    moves = ops.sum(ops.abs(x[:, 1:] - x[:, :-1]), axis=(1, 2, 4))
    right = ops.sum(moves[:, W // 2 :], axis=1) > ops.sum(moves[:, : W // 2], axis=1)
    return ops.where(right[:, None, None, None, None], ops.flip(x, axis=3), x)


def over_time(x):
    """The mean of all frames until each."""
    share = np.tril(np.ones((T, T), "float32")) / np.arange(1, T + 1)[:, None]
    return ops.einsum("ts,bshwc->bthwc", ops.convert_to_tensor(share), x)


APART = {
    "both halves added": lambda x: layers.Add()(halves(x)),
    "the largest of both": lambda x: layers.Maximum()(halves(x)),
    "their difference": lambda x: layers.Subtract()(halves(x)),
    "both as channels": lambda x: layers.Concatenate()(halves(x)),
    "early and late frames": lambda x: ops.max(ops.reshape(x, (-1, 2, T // 2, H, W, 3)), axis=1),
    "mean of the stacked halves": lambda x: ops.mean(ops.stack(halves(x), axis=1), axis=1),
    "added to its mirror image": lambda x: x + 0.5 * ops.flip(x, axis=3),
    "the mean so far": Own(over_time),
    "mirrored by what moves": Own(around_motion),
    "the largest of it and its mirror image": Own(lambda x: ops.maximum(0.9 * x, ops.flip(x, axis=3))),
    "two columns swapped, which computes": lambda x: Own(lambda y: ops.relu(ops.flip(y, axis=3)))(
        layers.AveragePooling3D((1, 1, W // 2))(x)
    ),
    "the largest of it and its transpose": lambda x: Own(lambda y: ops.maximum(0.8 * y, ops.swapaxes(y, 2, 3)))(
        x[:, :, :, :H]
    ),
}


@pytest.mark.parametrize("name", APART)
def test_places_that_lie_apart_or_hang_on_the_clip_are_refused(clip, name):
    with pytest.raises(ValueError, match="no feature map whose place is known: what '.+' does to places and frames"):
        gradcam(brightness(APART[name]), clip)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((20, 30), {"antialias": True}),
        ((24, 32), {"interpolation": "nearest"}),
        ((22, 36), {"interpolation": "bicubic", "antialias": True}),
    ],
)
def test_resizing_that_samples_unevenly_keeps_the_whole(size, options):
    frames = layers.Resizing(*size, **options)
    x = ops.reshape(layers.Rescaling(1 / 255)(start := keras.Input((T, H, W, 3))), (-1, H, W, 3))
    x = layers.Conv2D(1, 1, name="bright")(frames(x))
    model = keras.Model(start, layers.Dense(2)(ops.reshape(layers.GlobalMaxPooling2D()(x), (-1, T))))
    assert find(model).spans == ((0, 1),) * 3


def test_cells_that_no_window_reaches_are_not_on_the_map(clip):
    model = brightness(layers.MaxPooling3D((3, 1, 20)))  # frames 0 to 2 of 4, columns 0 to 39 of 48
    tap = find(model)
    assert tap.shape == (1, H, 2, 1) and tap.spans == ((0, 0.75), (0, 1), (0, pytest.approx(40 / 48)))
    maps = gradcam(model, clip).maps[0]
    assert not maps[3].any() and not maps[:, :, 40:].any() and maps[2, 12, 30] == pytest.approx(1, abs=1e-3)
