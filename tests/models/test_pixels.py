import warnings
from typing import get_args, get_type_hints

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import random_clip
from keras import layers, ops
from keras.applications import imagenet_utils, mobilenet_v2, resnet

from har_tf.cli.reading import Foreign
from har_tf.models.pixels import Scaling, of_floats, of_pixels, scales_pixels
from har_tf.models.taps import taps

SHAPE = (4, 12, 16)


def network(before=lambda x: x, shape=(*SHAPE, 3), dtype="float32"):
    keras.utils.set_random_seed(0)
    clip = keras.Input(shape, dtype=dtype, name="clip")
    x = layers.Conv3D(4, 3, activation="relu", name="conv")(before(clip))
    return keras.Model(clip, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling3D()(x)))


@pytest.fixture(scope="module")
def clips():
    return np.stack([random_clip(*SHAPE, seed=seed) for seed in (0, 1)])


def by_keras(mode):
    return lambda pixels: imagenet_utils.preprocess_input(pixels.copy(), mode=mode)


@pytest.mark.parametrize(
    ("scaling", "scaled"),
    [
        ("0..255", lambda pixels: pixels),
        ("0..1", lambda pixels: pixels / 255),
        ("-1..1", by_keras("tf")),
        ("torch", by_keras("torch")),
        ("caffe", by_keras("caffe")),
    ],
)
def test_pixels_are_scaled_as_the_model_wants_them(clips, tmp_path, scaling, scaled):
    own = network()
    made = of_pixels(own, scaling)
    expected = own.predict(scaled(clips.astype("float32")), verbose=0)
    np.testing.assert_allclose(made.predict(clips, verbose=0), expected, atol=1e-5)
    assert made.inputs[0].dtype == "uint8" and scales_pixels(made)
    assert [tap.name for tap in taps(made)] == ["conv"]
    assert made.get_layer("conv") is own.get_layer("conv"), "on the same weights"
    made.save(tmp_path / "made.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "made.keras").predict(clips, verbose=0), expected, atol=1e-5
    )


def test_grey_models_take_colours(clips, tmp_path):
    own = network(shape=(*SHAPE, 1))
    made = of_pixels(own, "0..1")
    grey = (clips / 255 @ np.array([0.299, 0.587, 0.114]))[..., None].astype("float32")
    expected = own.predict(grey, verbose=0)
    np.testing.assert_allclose(made.predict(clips, verbose=0), expected, atol=1e-5)
    assert [tap.shape for tap in taps(made)] == [(2, 10, 14, 4)]
    made.save(tmp_path / "made.keras")
    assert keras.models.load_model(tmp_path / "made.keras").input_shape == (None, *SHAPE, 3)
    with pytest.raises(ValueError, match="does not show how it wants pixels scaled"):
        of_pixels(own)
    with pytest.raises(ValueError, match="'caffe' scales three colours; the model takes 1"):
        of_pixels(own, "caffe")
    assert of_pixels(network(layers.Rescaling(1 / 255), (*SHAPE, 1))).input_shape == (None, *SHAPE, 3)


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (layers.Rescaling(1 / 255), True),
        (layers.Rescaling(1 / 127.5, -1), True),
        (layers.TimeDistributed(layers.Rescaling(1 / 255)), True),
        (lambda x: layers.Rescaling(1 / 255)(layers.CenterCrop(8, 8)(x[:, 0]))[:, None], True),
        (layers.Normalization(mean=[120, 115, 105], variance=[3500.0, 3400, 3600]), True),
        (mobilenet_v2.preprocess_input, True),
        (resnet.preprocess_input, True),  # BGR minus the mean, which spans 255 still
        (lambda x: x, False),
        (layers.Rescaling(2.0, -1), False),  # of pixels from 0 to 1
        (layers.Rescaling(255.0), False),
        (layers.ZeroPadding3D(1), False),
        (layers.BatchNormalization(), False),  # untrained
        (lambda x: ops.minimum(x, 1), False),  # what keeps numbers small is no scaling
        (ops.tanh, False),
        (ops.log1p, False),
        (lambda x: ops.minimum(layers.Rescaling(1 / 255)(x), 1), True),
    ],
)
def test_what_a_model_shows_of_its_scaling(before, shown):
    shape = (1, 8, 8) if "CenterCrop" in getattr(getattr(before, "__code__", None), "co_names", ()) else SHAPE
    model = network(before, (*SHAPE, 3)) if shape == SHAPE else network_of_frames(before)
    assert scales_pixels(model) is shown


def network_of_frames(before):
    clip = keras.Input((*SHAPE, 3))
    x = layers.Conv2D(4, 3, name="conv")(before(clip)[:, 0])
    return keras.Model(clip, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def test_a_model_of_pixels_is_itself():
    model = network(layers.Rescaling(1 / 255), dtype="uint8")
    assert of_pixels(model) is model and of_pixels(model, "0..255") is model and scales_pixels(model)
    with pytest.raises(ValueError, match="takes uint8 pixels and scales them itself. Received: scaling='0..1'"):
        of_pixels(model, "0..1")
    with pytest.raises(ValueError, match="scaling is one of 0..255, .*Received: '0-1'"):
        of_pixels(network(), "0-1")


def test_open_sizes_are_those_that_are_said(clips):
    model = network(shape=(None, None, None, 3))
    made = of_pixels(model, "0..1", num_frames=4, size=(12, 16))
    assert made.input_shape == (None, *SHAPE, 3)
    np.testing.assert_allclose(
        made.predict(clips, verbose=0), model.predict((clips / 255).astype("float32"), verbose=0), atol=1e-5
    )
    assert of_pixels(made, num_frames=4) is made
    with pytest.raises(ValueError, match="takes 4 x 12 x 16. Received: num_frames=5"):
        of_pixels(made, num_frames=5)


def test_an_output_is_chosen_by_its_name(clips):
    clip = keras.Input((*SHAPE, 3), dtype="uint8")
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(2, 3)(layers.Rescaling(1 / 255)(clip)))
    outputs = {name: layers.Dense(n, "softmax", name=name)(x) for name, n in (("scene", 2), ("action", 3))}
    keys = {"what": outputs["scene"], "action": outputs["action"]}
    several = ((outputs, "action"), (list(outputs.values()), 1), (keys, "action"))
    for model, part in ((keras.Model(clip, given), part) for given, part in several):
        chosen = of_pixels(model, output="action")
        np.testing.assert_allclose(chosen.predict(clips, verbose=0), model.predict(clips, verbose=0)[part], atol=1e-6)
        with pytest.raises(ValueError, match="outputs .*action.*: choose one by output="):
            of_pixels(model)
        with pytest.raises(ValueError, match="has the outputs .*Received: output='who'"):
            of_pixels(model, output="who")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rescale, self.conv = layers.Rescaling(1 / 255), layers.Conv3D(3, 3, name="conv")
        self.pool, self.dense = layers.GlobalAveragePooling3D(), layers.Dense(2, activation="softmax")

    def call(self, clips):
        return self.dense(self.pool(self.conv(self.rescale(clips))))


def test_a_subclassed_model_is_traced_on_clips_of_the_size_that_is_said(clips):
    model = Subclassed()
    with pytest.raises(ValueError, match="Subclassed .* has no graph of its own.*num_frames and size"):
        of_pixels(model)
    made = of_pixels(model, num_frames=4, size=(12, 16))
    np.testing.assert_allclose(made.predict(clips, verbose=0), model(clips.astype("float32")).numpy(), atol=1e-6)
    assert [tap.name for tap in taps(made)] == ["conv"]


def test_floats_have_a_gradient(clips):
    import tensorflow as tf

    model = of_pixels(network(), "0..1")
    made = of_floats(model)
    given = tf.constant(clips, "float32")
    with tf.GradientTape() as tape:
        tape.watch(given)
        answers = made(given)
        first = answers[:, 0]
    np.testing.assert_allclose(answers, model.predict(clips, verbose=0), atol=1e-5)
    assert np.abs(tape.gradient(first, given)).max() > 0


def test_the_command_line_knows_the_same_scalings():
    assert set(get_args(Scaling)) <= set(get_args(get_args(get_type_hints(Foreign)["scaling"])[0]))


def test_pixels_are_not_scaled_twice_and_half_floats_are_no_whole_numbers():
    with pytest.raises(ValueError, match="shows by its first layers that it scales pixels from 0 to 255 itself"):
        of_pixels(network(layers.Rescaling(1 / 255)), scaling="0..1")
    assert not scales_pixels(network(dtype="bfloat16"))


def test_floats_that_are_scaled_otherwise_are_refused():
    model = network(
        layers.Lambda(lambda x: tf.image.convert_image_dtype(x, "float32"), lambda shape: shape), dtype="uint8"
    )
    with pytest.raises(ValueError, match="answers otherwise where its pixels are float32 in place of uint8"):
        of_floats(model)


def test_a_structure_of_one_output_and_batches_of_a_fixed_size():
    model = network()
    named = keras.Model(model.input, {"class": model.output})
    assert isinstance(of_pixels(named).output, keras.KerasTensor)
    fixed = keras.Input(batch_shape=(4, *SHAPE, 3))
    with pytest.raises(ValueError, match="takes 4 clips at once, no more and no fewer"):
        of_pixels(keras.Model(fixed, model(fixed)))


def test_sequential_models_of_whole_numbers_become_ones_of_floats(clips):
    ends = [layers.Rescaling(1 / 255), layers.GlobalAveragePooling3D(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((*SHAPE, 3), dtype="uint8"), *ends])
    floats = of_floats(model)
    np.testing.assert_allclose(floats(clips.astype("float32")), model(clips), atol=1e-6)


def test_a_layer_that_gives_several_outputs_names_each():
    class Two(layers.Layer):
        def call(self, x):
            return ops.softmax(x), ops.softmax(-x)

    model = network()
    both = keras.Model(model.input, Two(name="two")(model.output))
    with pytest.raises(ValueError, match="has the outputs two_0, two_1"):
        of_pixels(both, output="two")


def test_of_floats_keeps_an_input_in_its_list():
    clip = keras.Input((2, 4, 4, 3), dtype="uint8", name="clip")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(clip))
    model = keras.Model([clip], layers.Dense(2)(x))
    with warnings.catch_warnings(action="error"):
        floats = of_floats(model)
        floats([np.zeros((1, 2, 4, 4, 3), "float32")])
