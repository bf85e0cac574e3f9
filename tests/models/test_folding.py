import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_survives_saving
from keras import layers, ops

from har_tf.explain import backward, gradcam
from har_tf.explain.backward import evidence
from har_tf.explain.gradcam import weighted
from har_tf.models import folding
from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.folding import folded, pairs
from har_tf.models.taps import taps

spatial = functools.partial(weighted, pool="spatial")


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(3)


def trained(model, seed=0):
    """Gives all normalisation and biases numbers as training would, negative scales among them."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("variance"):
            weight.assign(rng.uniform(0.3, 3, weight.shape))
        elif len(weight.shape) == 1:
            weight.assign(weight + rng.normal(size=weight.shape))
    return model


def noise(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def folded_names(inputs, outputs):
    return [(a.name, b.name) for a, b in pairs(keras.Function(inputs, outputs))]


def assert_same_eager_and_compiled(model, outputs, clips):
    """The optimiser of compiled graphs rewrites them, so that one can be right and the other wrong."""
    probe = folded(model.inputs[0], outputs)
    clips = tf.cast(clips, model.inputs[0].dtype)
    expected = keras.Model(model.inputs[0], outputs)(clips, training=False)
    expected = expected if isinstance(expected, list) else [expected]
    for run in (probe, tf.function(probe)):
        for want, have in zip(expected, run(clips), strict=True):
            scale = np.abs(want).max()
            assert scale > 0
            # A processor with instructions for half precision rounds elsewhere than one without.
            np.testing.assert_allclose(have / scale, want / scale, atol=2e-3 if want.dtype == "float16" else 2e-6)


CONVOLUTIONS = {
    "2d": lambda: layers.Conv2D(6, 3, name="conv"),
    "2d without bias": lambda: layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv"),
    "2d strided": lambda: layers.Conv2D(6, (3, 2), strides=2, padding="same", name="conv"),
    "2d dilated": lambda: layers.Conv2D(6, 3, dilation_rate=2, name="conv"),
    "2d in groups": lambda: layers.Conv2D(6, 3, groups=2, name="conv"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="conv"),
    "depthwise, several": lambda: layers.DepthwiseConv2D(3, strides=2, depth_multiplier=3, name="conv"),
    "3d": lambda: layers.Conv3D(5, (3, 3, 2), padding="same", name="conv"),
    "3d without bias": lambda: layers.Conv3D(8, 2, strides=(1, 2, 2), use_bias=False, name="conv"),
}


@pytest.mark.parametrize(
    ("kind", "activation"),
    [*((kind, "relu") for kind in CONVOLUTIONS), ("2d", "tanh"), ("2d", None), ("depthwise", None), ("3d", None)],
)
def test_values_are_those_of_the_layers(kind, activation):
    shape = (4, 12, 14, 4) if kind.startswith("3d") else (12, 14, 4)
    clip = keras.Input(shape)
    x = CONVOLUTIONS[kind]()(clip)
    x = layers.BatchNormalization(scale=kind != "2d", center=kind != "2d dilated", name="bn")(x)
    x = layers.Activation(activation)(x)
    model = trained(keras.Model(clip, x))
    assert folded_names([clip], [x]) == [("conv", "bn")]
    for clips in (1, 5):
        assert_same_eager_and_compiled(model, [x], noise(clips, *shape))


def test_hand_computed():
    image = keras.Input((1, 1, 1))
    x = layers.BatchNormalization(epsilon=0.25, name="bn")(layers.Conv2D(1, 1, name="conv")(image))
    model = keras.Model(image, x)
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 2.0), np.array([1.0])])
    # gamma, beta, mean, variance
    model.get_layer("bn").set_weights([np.array([n]) for n in (3.0, 5.0, 4.0, 2.0)])
    run = tf.function(folded(image, [x]))
    # (2 · 7 + 1 - 4) · 3 / sqrt(2 + 0.25) + 5 = 27
    np.testing.assert_allclose(run(np.full((1, 1, 1, 1), 7.0, "float32"))[0], [[[[27.0]]]], rtol=1e-6)
    model.get_layer("bn").beta.assign([-1.0])
    model.get_layer("conv").bias.assign([0.0])
    np.testing.assert_allclose(run(np.full((1, 1, 1, 1), 7.0, "float32"))[0], [[[[19.0]]]], rtol=1e-6)


def test_what_somebody_reads_is_not_folded_away():
    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(4, 3, padding="same", name="asked")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn1")(first))
    second = layers.Conv2D(4, 3, padding="same", name="skipped")(x)
    x = layers.BatchNormalization(name="bn2")(second)
    x = layers.Add(name="sum")([x, second])
    third = layers.Conv2D(4, 3, name="free")(x)
    x = layers.BatchNormalization(name="bn3")(third)
    model = trained(keras.Model(image, x))
    assert folded_names([image], [x]) == [("free", "bn3"), ("asked", "bn1")]
    assert folded_names([image], [first, x]) == [("free", "bn3")]
    assert folded_names([image], [first, third, x]) == []
    clips = noise(2, 8, 8, 3)
    assert_same_eager_and_compiled(model, [first, x], clips)
    every = [layer.output for layer in model.layers[1:]]
    assert_same_eager_and_compiled(model, every, clips)


def not_foldable(kind):
    image = keras.Input((8, 8, 4), dtype="float16" if kind == "half input" else None)
    policy = "mixed_float16" if kind == "half precision" else None
    convolution = layers.Conv2D(
        4, 3, padding="same", activation="relu" if kind == "activation" else None, dtype=policy, name="conv"
    )
    norm = layers.BatchNormalization(axis=1 if kind == "axis" else -1, dtype=policy, name="bn")
    if kind == "subclass":

        class Doubling(layers.Conv2D):
            def call(self, inputs):
                return 2 * super().call(inputs)

        convolution = Doubling(4, 3, padding="same", name="conv")
    if kind == "dropout between":
        return image, norm(layers.Dropout(0.5)(convolution(image)))
    if kind == "shared convolution":
        return image, norm(convolution(convolution(image)))
    if kind == "shared norm":
        return image, norm(layers.Conv2D(4, 3, padding="same")(norm(convolution(image))))
    if kind == "transposed":
        return image, norm(layers.Conv2DTranspose(4, 3)(image))
    if kind == "nested":
        inner = keras.Input((8, 8, 4))
        return image, keras.Model(inner, norm(convolution(inner)))(image)
    return image, norm(convolution(image))


@pytest.mark.parametrize(
    "kind",
    [
        "activation",
        "axis",
        "half precision",
        "half input",
        "subclass",
        "dropout between",
        "shared convolution",
        "shared norm",
        "transposed",
        "nested",
    ],
)
def test_otherwise_the_layers_run_as_they_are(kind):
    image, x = not_foldable(kind)
    assert folded_names([image], [x]) == []
    model = trained(keras.Model(image, x))
    assert_same_eager_and_compiled(model, [x], noise(3, 8, 8, 4))


def test_as_in_prediction_whatever_the_graph_says():
    image = keras.Input((8, 8, 3))
    x = layers.Dropout(0.9)(layers.Conv2D(4, 3, name="conv")(image), training=True)
    x = layers.BatchNormalization(name="bn1")(x, training=True)
    x = layers.BatchNormalization(name="bn2")(layers.Conv2D(4, 3, name="conv2")(x), training=True)
    model = trained(keras.Model(image, x))
    moving = model.get_layer("bn2").moving_mean.numpy()
    assert folded_names([image], [x]) == [("conv2", "bn2")]
    assert_same_eager_and_compiled(model, [x], noise(3, 8, 8, 3))
    np.testing.assert_array_equal(model.get_layer("bn2").moving_mean, moving)


def frame_model(shape, pools, filters):
    return trained(cnn_gru((*shape, 3), num_classes=3, pool_sizes=pools, filters=filters, gru_units=(5,)))


@pytest.mark.parametrize(
    ("clips", "shape", "pools", "filters"),
    [(3, (3, 17, 30), (2, 2, 2), (5, 8, 3)), (1, (4, 64, 96), (4, 4, 2), (16, 32, 64))],
)
def test_maps_of_every_tap_equal_those_of_an_eager_tape(clips, shape, pools, filters):
    model = frame_model(shape, pools, filters)
    clip = np.random.default_rng(0).integers(0, 256, (clips, *shape, 3)).astype("uint8")
    head, every = model.get_layer("predictions"), taps(model)
    probe = keras.Model(model.inputs[0], [*(model.get_layer(tap.name).output for tap in every), head.input])
    with tf.GradientTape() as tape:
        *features, x = probe(clip, training=False)
        score = (x @ head.kernel + head.bias)[:, 1]
    gradients = tape.gradient(score, features)
    together = evidence(model, clip, every, spatial, 1)
    np.testing.assert_allclose(together.score, score, atol=1e-5)
    for i, (tap, *maps) in enumerate(zip(every, features, gradients, strict=True)):
        expected = spatial(*(tf.reshape(each, (clips, *tap.shape)) for each in maps)).numpy()
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(together.signed[i] / scale, expected / scale, atol=1e-5)
        if clips > 1 and tap.name in ("relu_1", "conv3d"):  # asked for alone, so that all the rest is folded
            alone = gradcam(model, clip, tap=tap.name, class_index=1, pool="spatial").signed
            np.testing.assert_allclose(alone / scale, expected / scale, atol=1e-5)


def test_folding_changes_no_map_of_a_loaded_baseline(tmp_path, monkeypatch):
    from har_tf.models.frame_cnn import frame_cnn

    model = frame_cnn("MobileNet", input_shape=(2, 64, 64, 3), num_classes=3, alpha=0.25)
    for layer in model.layers:  # gently, or 27 layers of noise saturate what comes after
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(0.5 * layer.moving_variance)
            layer.gamma.assign(layer.gamma * np.linspace(-1, 1.5, layer.gamma.shape[0]))
            layer.beta.assign(layer.beta + np.linspace(0, 0.5, layer.beta.shape[0]))
    clips = np.random.default_rng(0).integers(0, 256, (2, 2, 64, 64, 3)).astype("uint8")
    loaded = assert_survives_saving(model, clips, tmp_path)
    assert len(folded_names(loaded.inputs, loaded.outputs)) == 27
    norms = [tap for tap in taps(loaded) if tap.kind != "Conv2D" and tap.kind != "DepthwiseConv2D"][::6]
    found = evidence(loaded, clips, norms, spatial, 1)
    monkeypatch.setattr(folding, "pairs", lambda graph: [])
    monkeypatch.setattr(backward, "_compiled", type(backward._compiled)())
    expected = evidence(loaded, clips, norms, spatial, 1)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-4, atol=1e-5)
    for have, want in zip(found.signed, expected.signed, strict=True):
        np.testing.assert_allclose(have / np.abs(want).max(), want / np.abs(want).max(), atol=2e-5)


def test_present_weights_count_and_the_model_is_left_as_it_was():
    model = frame_model((2, 16, 24), (2, 2, 2), (4, 6, 8))
    clip = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 24, 3)).astype("uint8")
    before = gradcam(model, clip, class_index=0)
    config, weights = model.to_json(), model.get_weights()
    gradcam(model, clip, tap="relu_2", class_index=0)
    assert model.to_json() == config
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for layer in model.layers:
        assert len(layer._inbound_nodes) == 1
    trained(model, seed=5)
    after = gradcam(model, clip, class_index=0)
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    np.testing.assert_allclose(after.signed, gradcam(fresh, clip, class_index=0).signed, atol=1e-7)
    assert np.abs(after.signed - before.signed).max() > 1e-3 * np.abs(before.signed).max()


def test_nothing_stands_between_a_convolution_its_bias_and_its_relu():
    # This is the pattern that TensorFlow's optimiser computes in one step.
    model = frame_model((2, 16, 24), (2, 2, 2), (4, 6, 8))
    run = tf.function(folded(model.inputs[0], model.outputs))
    spec = run.get_concrete_function(tf.TensorSpec((None, 2, 16, 24, 3), "uint8"))
    kinds = [operation.type for operation in spec.graph.get_operations()]
    assert kinds.count("Conv2D") == 3
    for convolution in (op for op in spec.graph.get_operations() if op.type == "Conv2D"):
        (add,) = convolution.outputs[0].consumers()
        (activation,) = add.outputs[0].consumers()
        assert (add.type, activation.type) == ("BiasAdd", "Relu")


def test_several_taps_at_once():
    clip = keras.Input((3, 10, 12, 3))
    x = ops.reshape(clip, (-1, 10, 12, 3))
    x = layers.ReLU(name="a")(layers.BatchNormalization(name="n")(layers.Conv2D(4, 3, name="c")(x)))
    x = layers.MaxPooling2D(2, name="p")(x)
    x = ops.reshape(x, (-1, 3, *x.shape[1:]))
    x = layers.BatchNormalization(name="n3")(layers.Conv3D(4, 2, name="c3")(x))
    x = layers.GlobalAveragePooling3D()(ops.relu(x))
    model = trained(keras.Model(clip, layers.Dense(2, name="predictions")(x)))
    every = taps(model)
    clips = noise(2, 3, 10, 12, 3)
    together = evidence(model, clips, every, spatial, 0).signed
    for tap, signed in zip(every, together, strict=True):
        alone = evidence(model, clips, [tap], spatial, 0).signed[0]
        np.testing.assert_allclose(alone, signed, atol=1e-5 * np.abs(signed).max())
