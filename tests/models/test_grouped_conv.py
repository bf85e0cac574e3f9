"""Grouped convolutions: the same numbers as Keras' own, on every way there is to run a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.models.folding import folded, pairs
from har_tf.models.grouped_conv import convolve, quicken
from har_tf.models.saving import load_model, save_model


def by_hand(x, kernel, groups, strides):
    """The sum over shifts and channels of each group, with no padding."""
    kt, kh, kw, channels, filters = kernel.shape
    sizes = [(n - k) // strides + 1 for n, k in zip(x.shape[1:4], (kt, kh, kw), strict=True)]
    out = np.zeros((x.shape[0], *sizes, filters))
    for f in range(filters):
        first = f // (filters // groups) * channels
        for t, i, j in np.ndindex(*sizes):
            window = x[
                :,
                t * strides : t * strides + kt,
                i * strides : i * strides + kh,
                j * strides : j * strides + kw,
                first : first + channels,
            ]
            out[:, t, i, j, f] = (window * kernel[..., f]).sum((1, 2, 3, 4))
    return out


@pytest.mark.parametrize(
    ("groups", "channels", "filters", "strides"),
    [
        (32, 1, 32, 1),  # two parts of sixteen groups
        (6, 4, 18, 2),  # two parts of three groups: four do not divide six
        (5, 4, 10, 1),  # apart: five groups are too many for a part
        (2, 24, 4, 2),  # apart: wider than sixteen channels
        (3, 2, 3, 1),  # all in one
        (1, 3, 4, 1),
    ],
)
def test_sums_of_each_group(groups, channels, filters, strides):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 5, 3, groups * channels)).astype("float32")
    kernel = rng.normal(size=(2, 3, 1, channels, filters)).astype("float32")
    np.testing.assert_allclose(
        convolve(x, kernel, groups, strides), by_hand(x, kernel, groups, strides), rtol=1e-4, atol=1e-4
    )


def gradients(function, x, kernel, weights):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = function(x, kernel)
    return (y, *tape.gradient(y, [x, kernel], weights))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"padding": "valid", "strides": 2},
        {"padding": "same", "strides": (1, 2, 2)},
        {"padding": "same", "dilation_rate": 2},
    ],
)
def test_outputs_and_gradients_are_those_of_keras(options, compiled):
    """Sizes even and odd, so that "same" pads one side more than the other."""
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(2, 5, 6, 7, 32)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 3, 3, 4, 64)), tf.float32)

    def native(x, kernel):
        return ops.conv(x, kernel, data_format="channels_last", **{"strides": 1, **options})

    def quick(x, kernel):
        return convolve(x, kernel, 8, **options)

    weights = tf.constant(rng.normal(size=native(x, kernel).shape), tf.float32)
    run = tf.function(gradients) if compiled else gradients
    for ours, theirs in zip(run(quick, x, kernel, weights), run(native, x, kernel, weights), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)


def grouped_model(dtype="float32", size=(4, 6, 6)):
    clip = keras.Input((*size, 16), dtype=dtype if dtype == "float32" else None)
    x = layers.Conv3D(32, 3, padding="same", groups=8, use_bias=False, name="first", dtype=dtype)(clip)
    x = layers.BatchNormalization(name="norm", dtype=dtype)(x)
    x = layers.Conv3D(32, 3, 2, groups=32, activation="relu", name="second", dtype=dtype)(x)
    x = layers.GlobalAveragePooling3D(name="pool", dtype=dtype)(x)
    return keras.Model(clip, layers.Dense(3, dtype="float32", name="predictions")(x), name="grouped")


def native_twin(model):
    """The same model as Keras alone runs it."""
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    assert not any("convolution_op" in vars(layer) for layer in twin.layers)
    return twin


def clips(count=4, size=(4, 6, 6)):
    return np.random.default_rng(3).normal(size=(count, *size, 16)).astype("float32")


@pytest.mark.parametrize("size", [(4, 6, 6), (None, None, None)])
def test_models_train_alike(size):
    keras.utils.set_random_seed(0)
    model = grouped_model(size=size)
    twin = native_twin(quicken(model))
    labels = np.array([0, 1, 2, 1])
    for m in (model, twin):
        m.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        m.fit(clips(), labels, batch_size=2, epochs=3, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.utils.set_random_seed(0)
    model = quicken(grouped_model(policy))
    seen = keras.Model(model.input, model.get_layer("first").output)(clips())
    assert seen.dtype == policy.removeprefix("mixed_")
    assert model.get_layer("first").kernel.dtype == "float32"
    exact = grouped_model()
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(model(clips()), exact(clips()), atol=0.03)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(clips(), np.array([0, 1, 2, 1]), verbose=0)


def test_batch_normalisation_is_folded_into_grouped_kernels():
    keras.utils.set_random_seed(0)
    model = quicken(grouped_model())
    norm = model.get_layer("norm")
    norm.set_weights([np.random.default_rng(i).uniform(0.5, 2, 32) for i in range(4)])
    outputs = [model.get_layer("second").output, model.output]
    graph = keras.Function([model.input], outputs)
    assert [tuple(layer.name for layer in pair) for pair in pairs(graph)] == [("first", "norm")]
    expected = graph([clips()])
    for ours, theirs in zip(tf.function(folded(model.input, outputs))(tf.constant(clips())), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_loaded_model_is_quick_too(tmp_path):
    keras.utils.set_random_seed(0)
    model = quicken(grouped_model())
    path = save_model(model, tmp_path / "grouped.keras", ["a", "b", "c"])
    loaded, _ = load_model(path)
    assert loaded.get_layer("first").convolution_op.func is convolve
    np.testing.assert_array_equal(loaded(clips()), model(clips()))


def test_other_layers_and_machines_with_a_gpu_keep_what_they_have(monkeypatch):
    clip = keras.Input((4, 6, 6, 4))
    x = layers.Conv3D(4, 3, name="dense")(clip)
    x = layers.Conv3D(4, 1, groups=2, name="grouped")(x)
    model = keras.Model(clip, x)
    with monkeypatch.context() as patch:
        patch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
        assert quicken(model) is model
        assert not any("convolution_op" in vars(layer) for layer in model.layers)
    quicken(quicken(model))
    assert [layer.name for layer in model.layers if "convolution_op" in vars(layer)] == ["grouped"]
    outer = keras.Input((4, 6, 6, 4))
    inner = keras.Model(outer, keras.models.clone_model(model)(outer))
    quicken(inner)
    assert "convolution_op" in vars(inner.layers[1].get_layer("grouped"))
