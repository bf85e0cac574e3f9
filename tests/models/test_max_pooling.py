"""Max pooling in space and time: the outputs of Keras' layer, and a gradient that goes to the first of equal values."""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.explain import gradcam
from har_tf.models.flatten import flat, flatten
from har_tf.models.max_pooling import first_of_ties, max_pool3d
from har_tf.models.saving import load_model
from har_tf.models.taps import taps

SIZES = [(4, 6, 8), (5, 7, 9)]
WINDOWS = [((3, 3, 3), (2, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((1, 3, 3), (1, 2, 2)), ((2, 2, 2), (2, 2, 2)),
           ((3, 1, 1), (2, 1, 1)), ((1, 1, 1), (2, 2, 2)), ((2, 3, 4), (3, 2, 1))]  # fmt: skip
TIES = np.random.default_rng(0).integers(0, 2, (2, 5, 6, 7, 2)).astype("float32")


def gradients(model, x):
    """Eager and compiled, of the sum of the outputs, each with a weight of its own."""

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
            weights = tf.reshape(1 + tf.range(tf.size(y), dtype=tf.float32) / 8, tf.shape(y))
            total = tf.reduce_sum(weights * y)
        return tape.gradient(total, x)

    return [gradient(tf.constant(x)).numpy(), tf.function(gradient)(tf.constant(x)).numpy()]


def first_of_each_window(x, size, strides, padding):
    """The same by hand: every window hands its weight to the first of its largest values, in time, then row, column."""
    begins, counts = [], []
    for length, window, stride in zip(x.shape[1:4], size, strides, strict=True):
        count = (length - window) // stride + 1 if padding == "valid" else -(-length // stride)
        outside = max((count - 1) * stride + window - length, 0)
        counts.append(count)
        begins.append([i * stride - outside // 2 for i in range(count)])
    weights = 1 + np.arange(len(x) * np.prod(counts) * x.shape[-1]).reshape(len(x), *counts, x.shape[-1]) / 8
    found = np.zeros_like(x)
    for i, j, k in np.ndindex(*counts):
        t, h, w = (range(max(b[n], 0), min(b[n] + s, length))
                   for b, n, s, length in zip(begins, (i, j, k), size, x.shape[1:4], strict=True))  # fmt: skip
        for clip, channel in np.ndindex(len(x), x.shape[-1]):
            places = list(itertools.product(t, h, w))
            first = max(places, key=lambda place: x[(clip, *place, channel)])  # the first of equals
            found[(clip, *first, channel)] += weights[clip, i, j, k, channel]
    return found


def pooling(size, strides, padding, shape=TIES.shape[1:]):
    return keras.Model(clip := keras.Input(shape), max_pool3d(clip, size, strides, padding, "pool"))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("shape", SIZES)
def test_outputs_are_those_of_keras_layer(shape, padding):
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype("float32")
    for size, strides in WINDOWS:
        expected = layers.MaxPooling3D(size, strides, padding)(x)
        for given in ((*shape, 3), (None, None, None, 3)):
            model = pooling(size, strides, padding, given)
            np.testing.assert_array_equal(model(x), expected)
            assert model.get_layer("pool").output.shape[1:] == model.output_shape[1:]


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_first_of_a_tie_has_all_of_its_gradient(padding):
    for size, strides in WINDOWS:
        expected = first_of_each_window(TIES, size, strides, padding)
        for shape in (TIES.shape[1:], (None, None, None, 2)):
            for found in gradients(pooling(size, strides, padding, shape), TIES):
                np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{size} {strides}")


def pooled(clip):
    return layers.MaxPooling3D(2, name="pool")(clip)


class Subclassed(keras.Model):
    def call(self, x):
        return ops.max_pool(x, 2, 2, "valid")


def frames_of_frames():
    clip = keras.Input((3, 4, 4, 4, 1))
    return keras.Model(clip, layers.TimeDistributed(layers.MaxPooling3D(2))(clip))


def shared_pooling():
    pool, clip = layers.MaxPooling3D(2, name="pool"), keras.Input((4, 4, 4, 1))
    return keras.Model(clip, layers.Add()([pool(clip), pool(ops.negative(clip))]))


CLIP = (4, 4, 4, 1)
USERS = {
    "sequential": lambda: keras.Sequential([keras.Input(CLIP), layers.MaxPooling3D(2)]),
    "nested": lambda: keras.Sequential(
        [keras.Input(CLIP), keras.Sequential([keras.Input(CLIP), layers.MaxPooling3D(2)])]
    ),
    "an operation": lambda: keras.Model(clip := keras.Input(CLIP), ops.max_pool(clip, 2, 2)),
    "subclassed within": lambda: keras.Model(clip := keras.Input(CLIP), Subclassed()(clip)),
    "open sizes": lambda: keras.Model(
        clip := keras.Input((None, None, None, 1)), layers.MaxPooling3D(2, padding="same")(clip)
    ),
    "adaptive": lambda: keras.Model(
        clip := keras.Input((5, 4, 6, 1)), layers.AdaptiveMaxPooling3D((2, 2, 4), "channels_last")(clip)
    ),
    "channels first": lambda: keras.Model(
        clip := keras.Input((1, 4, 4, 4)), layers.MaxPooling3D(2, data_format="channels_first")(clip)
    ),
    "TimeDistributed": frames_of_frames,
    "two dimensions": lambda: keras.Model(
        clip := keras.Input(CLIP), layers.TimeDistributed(layers.MaxPooling2D(2))(clip)
    ),
}


@pytest.mark.parametrize("name", USERS)
def test_users_models_have_it_when_they_are_flat(name):
    model = USERS[name]()
    one = flat(model)
    assert flat(one) is one is not model
    shape = [4 if size is None else size for size in model.input_shape[1:]]
    zeros = np.zeros((2, *shape), "float32")
    x = np.random.default_rng(0).normal(size=zeros.shape).astype("float32")
    np.testing.assert_array_equal(one(x), model(x))
    windows = model(zeros).numpy().size
    weights = windows + windows * (windows - 1) / 16
    for found in gradients(one, zeros):
        np.testing.assert_allclose(found.sum(), weights, rtol=1e-6)


def test_a_pooling_that_is_called_twice():
    model = shared_pooling()
    x = np.random.default_rng(0).normal(size=(2, *CLIP)).astype("float32")
    np.testing.assert_array_equal(flatten(model)(x), model(x))


def small(pool=lambda x, **options: layers.MaxPooling3D(**options)(x)):
    """A user's network: padding, a pooling whose window the padding is part of, and strides."""
    clip = keras.Input((6, 16, 24, 3))
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="conv1")(clip)
    x = pool(layers.ZeroPadding3D(1)(x), pool_size=3, strides=2, name="pool1")
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.GlobalMaxPooling3D()(pool(x, pool_size=(1, 2, 2), strides=2, padding="same", name="pool2"))
    return keras.Model(clip, layers.Dense(3, activation="softmax")(x))


def test_taps_keep_their_names_sizes_and_places():
    shapes = {"conv1": (6, 16, 24, 4), "pool1": (3, 8, 12, 4), "conv2": (3, 8, 12, 4), "pool2": (2, 4, 6, 4)}
    for model in (small(), small(lambda x, **options: max_pool3d(x, **options))):
        found = taps(model)
        assert {tap.name: tap.shape for tap in found} == shapes
        assert [tap.kind for tap in found] == ["Conv3D", "MaxPooling3D", "Conv3D", "MaxPooling3D"]
        # A padded window of 3 by steps of 2: what it takes in begins where the clip begins.
        assert [tap.spans[0] for tap in found] == [(0, 1)] * 4
        assert gradcam(model, np.zeros((1, 6, 16, 24, 3), "float32"), "pool1").signed.shape == (1, 3, 8, 12)


def test_older_files_are_read_with_it(tmp_path):
    keras.utils.set_random_seed(0)
    model = small()
    model.save(tmp_path / "model.keras")
    loaded, _ = load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 6, 16, 24, 3)).astype("float32")
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)
    pool = loaded.get_layer("pool1")
    for found in gradients(lambda x: layers.MaxPooling3D.__call__(pool, x), np.zeros((1, 3, 3, 3, 4), "float32")):
        assert np.count_nonzero(found) == 4
    loaded.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    assert "call" not in vars(again.get_layer("pool1"))
    np.testing.assert_array_equal(first_of_ties(again)(x), loaded(x))


# Explains and trains a narrow I3D by TensorFlow's kernels with oneDNN or without. The head's gradient is taken op by op
# as well. BatchNorm is frozen: over the few values of so small a network it makes rounding large, on every kernel.
EVERY_KERNEL = """
import sys
import keras, numpy as np, tensorflow as tf
from har_tf.explain import cam3d, gradcam_at
from har_tf.models.i3d import i3d
TAPS = ["maxpool3d_2a_3x3", "mixed_3c"]
keras.utils.set_random_seed(0)
model = i3d((8, 32, 32, 3), 3, width=1 / 16, dropout=0.0)
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.trainable = False
        layer.gamma.assign(2 * layer.gamma)  # maps do not fade from layer to layer
clips = np.zeros((2, 8, 32, 32, 3), "uint8")  # black but for a square: ties everywhere
clips[0, 2:6, 6:20, 6:20], clips[1, :, 16:, 8:24] = 255, 128
classes = np.array([0, 1])
maps = {tap: found.signed for tap, found in gradcam_at(model, clips, TAPS, classes).items()}
maps["3dcam"] = cam3d(model, clips, TAPS, classes, normalize=None).maps
feature = tf.constant(keras.Model(model.input, model.get_layer(TAPS[1]).output)(clips))
tail, top = keras.Model(model.get_layer(TAPS[1]).output, model.get_layer("temporal_pool").output), model.layers[-1]
with tf.GradientTape() as tape:
    tape.watch(feature)
    score = tf.gather(tail(feature) @ top.kernel + top.bias, classes, batch_dims=1)
weights = tf.reduce_mean(tape.gradient(score, feature), axis=(1, 2, 3), keepdims=True)
maps["mixed_3c, op by op"] = tf.reduce_sum(weights * feature, axis=-1)
model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=sys.argv[2] == "eager")
before = model.get_weights()
model.train_on_batch(clips, classes)
steps = {f"step {i}": new - old for i, (new, old) in enumerate(zip(model.get_weights(), before))}
np.savez(sys.argv[1], **maps, **steps)
"""


def test_maps_and_training_are_equal_on_every_kernel(tmp_path):
    kinds = {"onednn": "1", "plain": "0", "eager": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", EVERY_KERNEL, tmp_path / f"{kind}.npz", kind],
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn},
        )
        for kind, onednn in kinds.items()
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    found = {kind: np.load(tmp_path / f"{kind}.npz") for kind in kinds}
    moved = 0
    for name, expected in found["onednn"].items():
        name = name.removesuffix(", op by op")
        most = np.abs(expected).max()
        moved += most > 1e-3
        for kind in kinds:
            away = np.abs(found[kind][name] - expected).max()
            assert away <= (1e-5 if name.startswith("step") else 1e-4 * most), (kind, name, away, most)
    assert moved > 20


def test_a_global_maximum_shares_a_tie_evenly_on_every_kernel():
    zeros = np.zeros((1, 4, 4, 4, 1), "float32")
    for found in gradients(layers.GlobalMaxPooling3D(), zeros):
        np.testing.assert_array_equal(found, np.full_like(zeros, 1 / 64))
