"""Every step of every model compiles under XLA at a fixed shape, as a TPU needs it, and gives what it gives without.

There is no TPU here. That an operation has an XLA kernel shows where a step is lowered to HLO; that nothing hangs on
sizes that are not known, and that the numbers are the same, in the compiled step itself, on the CPU. Deep networks take
XLA a minute: they are compiled up to where every kind of their layers has been seen, some are lowered as a whole.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config
from tiny_networks import make_tiny

from har_tf import devices
from har_tf.concepts.tcav import _feature_rule, _gradient_rule
from har_tf.explain import backward
from har_tf.explain.layerwise import _rule
from har_tf.explain.methods import METHODS
from har_tf.explain.pixel_gradients import _gradient
from har_tf.models import cnn_gru, frame_cnn, gated, googlenet, i3d, resnext3d, video_swin
from har_tf.models.building import classifier
from har_tf.models.fusion_gru import fusion_gru, fusion_gru_head
from har_tf.models.pixels import of_floats
from har_tf.models.taps import taps
from har_tf.training import TrainingRecipe, _optimizer

CLASSES = 3
TINY_SWIN = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window": (2, 3, 3)}
STREAMS, SIDES = ("MobileNet", "MobileNetV2"), {"MobileNet": 64, "MobileNetV2": 48}
WHOLE = {
    "i3d": lambda: i3d((9, 34, 34, 3), CLASSES, width=1 / 16),
    "googlenet": lambda: googlenet((32, 32, 3), CLASSES, "bvlc"),
    "resnext3d": lambda: resnext3d((8, 32, 32, 3), CLASSES, blocks=(1, 1, 1, 1), width=32, cardinality=4, dropout=0.5),
    "video_swin": lambda: video_swin("tiny", (4, 40, 44, 3), CLASSES, **TINY_SWIN),
    "CNN-GRU/MobileNetV2": lambda: cnn_gru((2, 32, 32, 3), CLASSES, encoder="MobileNetV2", gru_dropout=0.2),
}


def up_to(model, name):
    """The network as far as a map, and a classifier."""
    x = model.get_layer(name).output
    pool = keras.layers.GlobalAveragePooling3D if len(x.shape) == 5 else keras.layers.GlobalAveragePooling2D
    return keras.Model(model.input, classifier(pool()(x), CLASSES))


MODELS = {
    "cnn_gru": lambda: cnn_gru((3, 16, 24, 3), CLASSES, (4, 6), (2, 2), gru_units=(5,), dense_units=6),
    "frame_cnn": lambda: frame_cnn("MobileNet", (2, 64, 64, 3), CLASSES, alpha=0.25),
    "googlenet": lambda: up_to(WHOLE["googlenet"](), "inception_3a_output"),
    "i3d": lambda: up_to(WHOLE["i3d"](), "mixed_3b"),
    "gated": lambda: gated(up_to(WHOLE["i3d"](), "conv3d_2c_3x3"), ["conv3d_1a_7x7", "conv3d_2c_3x3"]),
    "resnext3d": lambda: up_to(WHOLE["resnext3d"](), "layer2"),
    "video_swin": lambda: up_to(WHOLE["video_swin"](), "layer2"),
    "fusion_gru": lambda: fusion_gru((2, 64, 64, 3), CLASSES, STREAMS, None, gru_units=(3,), frame_sizes=SIDES),
    "fusion_gru_head": lambda: fusion_gru_head(3, dict.fromkeys(STREAMS, 6), CLASSES, gru_units=(4,)),
}


@pytest.fixture(autouse=True)
def as_on_a_tpu():
    """Without op determinism, under which XLA refuses the gradient of max pooling; other tests may have left it on."""
    before = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield
    if before:
        config.enable_op_determinism()


@pytest.fixture
def made(monkeypatch):
    """made(build) -> a model as it is built for a TPU, and a batch of two for it, as a list.

    A CPU has layers that compute in ways of their own.
    """
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["tpu:0"])

    def make(build):
        keras.utils.set_random_seed(0)
        model, rng = build(), np.random.default_rng(0)
        shapes = [(2, *x.shape[1:]) for x in model.inputs]
        values = [
            rng.integers(0, 256, shape) if x.dtype == "uint8" else rng.normal(size=shape)
            for x, shape in zip(model.inputs, shapes, strict=True)
        ]
        return model, [tf.constant(value, x.dtype) for x, value in zip(model.inputs, values, strict=True)]

    return make


@pytest.fixture
def one_size(monkeypatch):
    """What explains is compiled for the size of its batches, as where several devices share them."""
    monkeypatch.setattr(devices, "shared", lambda function, *_: tf.function(function, autograph=False))


def without_dropout(model):
    """What is drawn under XLA is something else."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def steps(model, **recipe):
    """The step of `training.fit`, a function of labels and inputs, and that of `predict`, a function of inputs."""
    recipe = TrainingRecipe(10, 0.1, label_smoothing=0.1, clipnorm=1.0, **recipe)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(_optimizer(recipe, 4), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)

    def train(labels, *inputs):
        return model.train_step((keras.tree.pack_sequence_as(model.input, inputs), labels))

    def predict(*inputs):
        return model(keras.tree.pack_sequence_as(model.input, inputs), training=False)

    return train, predict


LABELS = tf.one_hot([2, 0], CLASSES)


def alike(plain, compiled, rounding=2e-4, least=1e-4):
    """Up to rounding, of the largest number of each tensor; numbers below `least` may be nothing but rounding."""
    for one, other in zip(tf.nest.flatten(plain), tf.nest.flatten(compiled), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(other, one, rtol=0, atol=rounding * max(np.abs(one).max(), least))


def lowered(step, *inputs):
    """The step as XLA compiles it when it is called, and its HLO; an error where an operation has no kernel there."""
    compiled = tf.function(step, jit_compile=True)
    hlo = compiled.experimental_get_compiler_ir(*inputs)(stage="hlo")
    assert "ENTRY" in hlo
    return compiled, hlo


@pytest.mark.parametrize("name", ["video_swin", "CNN-GRU/MobileNetV2"])
def test_every_operation_of_a_training_step_has_an_xla_kernel(name, made):
    """Dropout is among them."""
    model, inputs = made(WHOLE[name])
    recipe = {"optimizer": "adam", "weight_decay": 0.01, "schedule": "step"} if "GRU" in name else {"optimizer": "sgd"}
    train, _ = steps(model, **recipe)
    _, hlo = lowered(train, LABELS, *inputs)
    assert "convolution(" in hlo


@pytest.mark.parametrize("name", MODELS)
def test_train_and_predict_steps(name, made, monkeypatch):
    make_tiny(monkeypatch, None)
    model, inputs = made(MODELS[name])
    without_dropout(model)
    train, predict = steps(model, optimizer="sgd", schedule="cosine", warmup_epochs=1)
    model.optimizer.iterations.assign(20)  # the rate is above zero
    variables = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in variables]

    def changes():
        found = [variable.numpy() - old for variable, old in zip(variables, before, strict=True)]
        for variable, old in zip(variables, before, strict=True):
            variable.assign(old)
        model.reset_metrics()
        return found

    measured, plain = train(LABELS, *inputs), changes()  # not traced, which takes longer
    alike(measured, lowered(train, LABELS, *inputs)[0](LABELS, *inputs))
    alike(plain, changes())
    assert sum(np.abs(change).max() > 0 for change in plain) > len(model.trainable_variables)
    alike(predict(*inputs), lowered(predict, *inputs)[0](*inputs))


@pytest.mark.parametrize("name", ["cnn_gru", "googlenet", "i3d", "resnext3d", "video_swin", "fusion_gru"])
def test_explain_step(name, made, one_size, monkeypatch):
    """Of every method, from one pass for all of them, at every third tap, the first one above all."""
    make_tiny(monkeypatch, None)
    model, inputs = made(MODELS[name])
    needs = dict.fromkeys(need for method in METHODS.values() for need in method.needs)
    rule = _rule(tuple(needs), channels="sum", pool="spatiotemporal")
    step = backward._function(model, taps(model)[::3], rule, backward._build)
    classes = tf.constant([backward._PREDICTED, 1], tf.int64)
    compiled, _ = lowered(lambda *inputs: step(*inputs), *inputs, classes)
    *plain, off = step(*inputs, classes)
    *found, off_compiled = compiled(*inputs, classes)
    alike(plain, found, rounding=1e-3, least=1e-2)  # before a LayerNorm maps times gradients sum up to 0
    assert max(*off, *off_compiled) < 1e-5, "from the model's own answers"


@pytest.mark.parametrize("name", ["cnn_gru", "googlenet", "i3d", "video_swin"])
def test_gradient_at_pixels(name, made, one_size, monkeypatch):
    make_tiny(monkeypatch, None)
    model, inputs = made(MODELS[name])
    floats = of_floats(model)
    step = backward._function(floats, [backward.pixels(floats)], _gradient, backward._build)
    inputs, classes = [tf.cast(each, tf.float32) for each in inputs], tf.constant([backward._PREDICTED, 1], tf.int64)
    compiled, _ = lowered(lambda *inputs: step(*inputs), *inputs, classes)
    *plain, _ = step(*inputs, classes)
    *found, _ = compiled(*inputs, classes)
    alike(plain, found, rounding=1e-3)


def test_steps_of_tcav(made, one_size):
    model, inputs = made(MODELS["cnn_gru"])
    slopes = backward._function(model, taps(model), _gradient_rule("mean"), backward._build)
    forward = backward._function(model, taps(model), _feature_rule("mean"), backward._build_forward)
    classes = tf.constant([1, 1], tf.int64)
    # Both are traced for XLA, before they run without.
    compiled = lowered(lambda *given: slopes(*given), *inputs, classes)[0](*inputs, classes)
    alike(slopes(*inputs, classes), compiled)
    compiled = lowered(lambda *given: forward(*given), *inputs)[0](*inputs)
    alike(forward(*inputs), compiled)


@pytest.mark.parametrize("name", ["cnn_gru", "resnext3d"])
def test_bfloat16(name, made):
    """A TPU's own numbers: the steps compute in them, and the answers are those of float32 to two digits."""
    model, inputs = made(MODELS[name])
    expected = steps(model)[1](*inputs).numpy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half, _ = made(MODELS[name])
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(model.get_weights())
    train, predict = steps(half)
    found, hlo = tf.function(predict)(*inputs), lowered(train, LABELS, *inputs)[1]
    assert found.dtype == tf.float32 and "bf16[" in hlo
    assert {variable.dtype for variable in half.trainable_variables} == {"float32"}
    np.testing.assert_allclose(found, expected, atol=0.03)
