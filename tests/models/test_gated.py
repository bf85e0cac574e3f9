"""Gated heads: the gate by hand, on every kind of tap and model, sharing weights with the model they are added to."""

import keras
import numpy as np
import pytest
from checks import assert_survives_saving
from keras import layers, ops
from tiny_networks import make_tiny

from har_tf.explain import gradcam
from har_tf.models import cnn_gru, frame_cnn
from har_tf.models.fusion_gru import fusion_gru
from har_tf.models.gated import gated
from har_tf.models.i3d import i3d
from har_tf.models.taps import find, taps

CLIP = (5, 12, 10, 3)


def plain(end="dense", frames=5):
    """One 3D convolution that gives both signs, and a classifier of three."""
    clip = keras.Input((frames, *CLIP[1:]), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255, -0.5, name="rescale")(clip)
    x = layers.Conv3D(4, (1, 3, 3), name="layer1")(x)
    x = layers.Conv3D(2, (1, 3, 3), strides=(2, 1, 1), name="layer2")(x)
    x = layers.GlobalAveragePooling3D(name="pool")(x)
    if end == "dense":
        x = layers.Dense(3, activation="softmax", name="predictions")(x)
    elif end == "softmax":
        x = layers.Softmax(name="predictions")(layers.Dense(3, name="scores")(x))
    elif end == "activation":
        x = layers.Activation("softmax", name="predictions")(layers.Dense(3, name="scores")(x))
    elif end == "sigmoid":
        x = layers.Dense(3, activation="sigmoid", name="predictions")(x)
    return keras.Model(clip, x, name="plain")


def clips(shape=CLIP, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def fill(model, rng):
    """Random weights in all gates, whose kernels may start from zero; returns them by tap."""
    filled = {}
    for layer in model.layers:
        if layer.name.startswith("gate_") and layer.weights:
            layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
            filled[layer.name.removeprefix("gate_")] = layer.get_weights()
    return filled


def gate_by_hand(maps, weights, windows):
    """ReLU, mean over places, mean over each window of frames, windows beside each other, kernel and bias."""
    frames = np.maximum(maps, 0).mean((2, 3))
    pooled = np.concatenate([frames[:, window].mean(1) for window in windows], 1)
    return pooled @ weights[0] + weights[1]


@pytest.mark.parametrize(
    ("t", "windows"),
    [
        (1, [[0], [1], [2], [3], [4]]),
        (2, [[0, 1], [2, 3], [4]]),
        (4, [[0, 1, 2], [3, 4]]),  # 3 frames short of 8: one of them before
        (5, [[0, 1, 2, 3, 4]]),
        (16, [[0, 1, 2, 3, 4]]),
    ],
)
def test_a_gate_by_hand(t, windows):
    keras.utils.set_random_seed(0)
    base = plain()
    model = gated(base, ["layer1"], t=t, classifier=False)
    weights = fill(model, np.random.default_rng(1))
    maps = keras.Model(base.input, base.get_layer("layer1").output)(clips()).numpy()
    assert (maps < 0).any()
    assert (maps > 0).any()
    expected = softmax(gate_by_hand(maps, weights["layer1"], windows))
    np.testing.assert_allclose(model(clips()), expected, rtol=1e-5)
    assert "layer2" not in [layer.name for layer in model.layers]  # only the classifier needed it


def test_channels_can_be_pooled_too():
    keras.utils.set_random_seed(0)
    base = plain()
    model = gated(base, ["layer1"], classifier=False, pool_channels=True)
    kernel, bias = fill(model, np.random.default_rng(1))["layer1"]
    assert kernel.shape == (3, 3)  # T/t numbers to three classes
    maps = np.maximum(keras.Model(base.input, base.get_layer("layer1").output)(clips()), 0).mean((2, 3, 4))
    pooled = np.stack([maps[:, :2].mean(1), maps[:, 2:4].mean(1), maps[:, 4]], 1)
    np.testing.assert_allclose(model(clips()), softmax(pooled @ kernel + bias), rtol=1e-5)


@pytest.mark.parametrize("end", ["dense", "softmax", "activation"])
def test_gates_and_classifier_are_added_up(end):
    keras.utils.set_random_seed(0)
    base = plain(end)
    model = gated(base, ["layer1", "layer2"])
    before = base(clips()).numpy()
    np.testing.assert_allclose(model(clips()), before, rtol=1e-5)  # the gates start from zero
    weights = fill(model, np.random.default_rng(1))
    both = [keras.Model(base.input, base.get_layer(name).output)(clips()).numpy() for name in ("layer1", "layer2")]
    gates = gate_by_hand(both[0], weights["layer1"], [[0, 1], [2, 3], [4]])
    gates += gate_by_hand(both[1], weights["layer2"], [[0, 1], [2]])
    np.testing.assert_allclose(model(clips()), softmax(np.log(before) + gates), rtol=1e-4)
    np.testing.assert_array_equal(base(clips()), before)


def test_weights_are_those_of_the_model():
    base = plain()
    model = gated(base, ["layer1"])
    own = [layer for layer in model.layers if layer.weights and not layer.name.startswith("gate_")]
    kept = [base.get_layer(name.replace("model_logits", "predictions")) for name in (layer.name for layer in own)]
    assert [layer.name for layer in own] == ["layer1", "layer2", "model_logits"]
    for layer, original in zip(own, kept, strict=True):
        assert all(a is b for a, b in zip(layer.weights, original.weights, strict=True))
    before = base(clips()).numpy()
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    model.train_on_batch(clips(), np.array([0, 1]))
    assert np.abs(base(clips()).numpy() - before).max() > 1e-4
    assert model.count_params() == base.count_params() + 3 * (3 * 4) + 3


def tokens():
    """A convolution whose map is kept as tokens."""
    clip = keras.Input(CLIP, name="clip")
    x = layers.Conv3D(4, (1, 4, 5), strides=(1, 4, 5), name="patches")(
        layers.Rescaling(1 / 255, name="rescale")(clip)
    )  # (B, 5, 3, 2, 4)
    x = layers.Dense(4, name="mix")(layers.LayerNormalization(name="norm")(ops.reshape(x, (-1, 30, 4))))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(x), name="tokens")


def image():
    picture = keras.Input((12, 10, 3), name="image")
    x = layers.Conv2D(4, 3, name="layer1")(layers.Rescaling(1 / 255, name="rescale")(picture))
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return keras.Model(picture, layers.Dense(3, activation="softmax", name="predictions")(x), name="picture")


MODELS = {
    "frames folded into the batch": (lambda: cnn_gru((5, 16, 24, 3), 3, (4, 4, 4), (2, 2, 2)), ["relu_2", "conv3d"]),
    "frame CNN": (lambda: frame_cnn("MobileNet", (3, 32, 32, 3), 3, alpha=0.25), ["conv_1_relu", "conv_2_relu"]),
    "two streams": (
        lambda: fusion_gru((2, 64, 64, 3), 3, ("MobileNet", "GoogLeNet"), gru_units=(4,), frame_sizes={
            "MobileNet": 32, "GoogLeNet": 32}),
        ["MobileNet_conv_2_relu", "GoogLeNet_conv_2_relu"],
    ),
    "I3D": (lambda: i3d((16, 40, 40, 3), 3, width=1 / 16, dropout=0), ["mixed_3c", "mixed_4f", "mixed_5c"]),
    "tokens": (tokens, ["norm"]),
    "images": (image, ["layer1"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_can_be_gated(kind, tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    if kind in ("frame CNN", "two streams"):
        make_tiny(monkeypatch, None, "MobileNet", "GoogLeNet")
    build, names = MODELS[kind]
    base = build()
    batch = clips(base.input_shape[1:]).astype(base.input.dtype)
    model = gated(base, names)
    before = base(batch).numpy()
    np.testing.assert_allclose(model(batch), before, atol=1e-5)
    weights = fill(model, np.random.default_rng(1))
    expected = np.log(before)
    for tap in (find(base, name) for name in names):
        tensor = keras.Model(base.input, base.get_layer(tap.name).output)(batch).numpy()
        frames = range(tap.shape[0])
        windows = [list(frames[i : i + 2]) for i in range(0, len(frames), 2)]
        expected = expected + gate_by_hand(tensor.reshape(2, *tap.shape), weights[tap.name], windows)
    np.testing.assert_allclose(model(batch), softmax(expected), atol=1e-4)
    loaded = assert_survives_saving(model, batch, tmp_path)
    # What is explained by default, and what there is to be explained, stays as it was.
    kept = [tap for tap in taps(base) if any(layer.name == tap.name for layer in model.layers)]
    assert taps(model) == taps(loaded) == kept
    assert find(loaded) == find(base)
    explained = gradcam(loaded, batch, tap=names[0])
    assert np.isfinite(explained.maps).all()
    assert np.abs(explained.signed).max() > 0


def test_gates_alone_can_have_other_classes():
    backbone = i3d((16, 40, 40, 3), width=1 / 16, include_top=False)
    model = gated(backbone, ["mixed_5c"], num_classes=7, classifier=False)
    assert model.output_shape == (None, 7)
    assert model.layers[-1].name == "predictions"
    assert [layer.name for layer in model.layers if layer.name.startswith("gate_")] == [
        "gate_mixed_5c_temporal_pool", "gate_mixed_5c_flatten", "gate_mixed_5c",
    ]  # fmt: skip


def two_outputs():
    base = plain()
    return keras.Model(base.input, [base.output, base.get_layer("pool").output])


def open_time():
    clip = keras.Input((None, 12, 10, 3))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 1, name="layer1")(clip))
    return keras.Model(clip, layers.Dense(3, activation="softmax")(x))


@pytest.mark.parametrize(
    ("build", "names", "options", "message"),
    [
        (plain, ["layer9"], {}, "Taps, from input to output: layer1, layer2. Received: tap='layer9'"),
        (plain, ["layer1", "layer1"], {}, "each tap is named once"),
        (plain, [], {}, "at least one tap is needed"),
        (plain, ["layer1"], {"t": 0}, "pooled into one. Received: t=0"),
        (plain, ["layer1"], {"t": 1.5}, "A whole number of frames, .* Received: t=1.5"),
        (
            lambda: gated(plain(), ["layer1"]),
            ["layer2"],
            {},
            "gated_plain has gates already; gate the model that it was made of.*Received: a model with gate_sum",
        ),
        (lambda: gated(plain(), ["layer1"], classifier=False), ["layer1"], {}, "gates already.*with gate_layer1"),
        (plain, ["layer1"], {"num_classes": 5}, "classifier=False leaves it out. Received: num_classes=5"),
        (lambda: plain("sigmoid"), ["layer1"], {}, "does not end with a softmax.*'predictions', a Dense"),
        (lambda: plain("none"), ["layer1"], {}, "does not end with a softmax.*'pool', a GlobalAveragePooling3D"),
        (two_outputs, ["layer1"], {}, "a model with one output. Received: 2 outputs"),
        (open_time, ["layer1"], {}, "a fixed number of frames. Received: tap 'layer1' of .* = \\(None, 12, 10, 4\\)"),
        (
            lambda: i3d((8, 40, 40, 3), width=1 / 16, include_top=False),
            ["mixed_3c"],
            {},
            "no classes of its own. Received: num_classes=None",
        ),
    ],
)
def test_wrong_arguments(build, names, options, message):
    with pytest.raises(ValueError, match=message):
        gated(build(), names, **options)
