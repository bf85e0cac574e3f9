"""Flat graphs on the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from har_tf.concepts import tcav
from har_tf.explain import by_method, cam3d, gradcam, layerwise, sum_gradcam
from har_tf.models.flatten import cloned, flat, flatten, own_graph, with_graph
from har_tf.models.taps import find, stages, taps

CLIP = (4, 16, 24, 3)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(3)


def encoder(pooling="avg"):
    inner = keras.Sequential(
        [keras.Input((16, 24, 3)), layers.Conv2D(4, 3, activation="relu", name="deep")], name="block"
    )
    x = inner(frame := keras.Input((16, 24, 3)))
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(frame, layers.GlobalAveragePooling2D()(x) if pooling else x, name="encoder")


def frames_then(*later):
    return keras.Sequential([keras.Input(CLIP), layers.Rescaling(1 / 255), layers.TimeDistributed(encoder()), *later])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.conv, self.top = layers.Conv3D(4, 3, activation="relu", name="conv"), layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.top(ops.mean(self.conv(x), axis=(1, 2, 3)))


def two_streams():
    clip, shared = keras.Input(CLIP), encoder()
    both = [layers.TimeDistributed(shared, name=f"frames_{i}")(clip) for i in range(2)]
    return keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Add()(both))))


MODELS = {
    "TimeDistributed and GRU": lambda: frames_then(layers.GRU(5), layers.Dense(2, activation="softmax")),
    "Bidirectional": lambda: frames_then(layers.Bidirectional(layers.LSTM(3)), layers.Dense(2)),
    "ConvLSTM2D": lambda: keras.Sequential(
        [keras.Input(CLIP), layers.ConvLSTM2D(3, 3, name="lstm"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    ),
    "a shared encoder": two_streams,
    "TimeDistributed layers": lambda: keras.Sequential(
        [
            keras.Input(CLIP), layers.TimeDistributed(layers.Conv2D(3, 3), name="conv"),
            layers.TimeDistributed(layers.Flatten()), layers.LSTM(4), layers.Dense(2),
        ]
    ),
    "an EfficientNet-like model inside": lambda: keras.Sequential(
        [keras.Input((16, 24, 3)), encoder(), layers.Dense(2, activation="softmax")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_weights_are_those_of_the_model(name):
    model = MODELS[name]()
    one = flatten(model)
    clips = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")
    expected = model.predict(clips, verbose=0)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(one.predict(clips, verbose=0), expected, atol=1e-5)
    assert {id(weight) for weight in one.weights} == {id(weight) for weight in model.weights}
    assert not any(isinstance(layer, keras.Model | layers.TimeDistributed) for layer in one.layers)


@pytest.mark.parametrize("name", [*MODELS, "layers of layers", "subclassed", "a list of one"])
def test_a_clone_has_the_names_and_with_the_weights_the_answers(name):
    shape = (2, *CLIP)
    if name == "layers of layers":
        x = layers.Conv3D(4, 1, name="stem")(start := keras.Input(CLIP))
        model = keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling3D()(Block(name="block")(x))))
    elif name == "a list of one":  # as a file of `save_model` has it
        plain = flatten(MODELS["a shared encoder"]())
        model = keras.Model(plain.inputs, plain.outputs)
    elif name == "subclassed":
        model = with_graph(Subclassed(), np.zeros(shape, "float32"))
    else:
        model = MODELS[name]()
        shape = (2, *model.input_shape[1:])
    clips = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    copy, kept = cloned(model), model.get_weights()
    assert [tap.name for tap in taps(copy)] == [tap.name for tap in taps(model)]
    assert [tap.name for tap in stages(copy)] == [tap.name for tap in stages(model)]
    copy.set_weights(flat(model).get_weights())
    np.testing.assert_allclose(copy.predict(clips, verbose=0), model.predict(clips, verbose=0), atol=1e-5)
    assert type(own_graph(copy)._inputs_struct) is type(own_graph(flat(model))._inputs_struct)
    copy.set_weights([0 * weight for weight in copy.get_weights()])
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), kept, strict=True))


def test_inner_maps_are_taps_of_the_model_itself():
    model = MODELS["TimeDistributed and GRU"]()
    assert [tap.name for tap in taps(model)] == ["encoder/block/deep", "encoder/norm"]
    clips = np.random.default_rng(0).uniform(0, 255, (2, *CLIP)).astype("float32")
    found = gradcam(model, clips, tap="deep")
    np.testing.assert_allclose(found.probability, model.predict(clips, verbose=0).max(axis=1), atol=1e-5)
    assert found.maps.shape == (2, 4, 16, 24)


@pytest.mark.parametrize("size", [(None, 16, 24, 3), (None, None, None, 3)])
def test_any_number_of_frames(size):
    cnn = keras.Sequential([keras.Input(size[1:]), layers.ZeroPadding2D(1), layers.Conv2D(4, 3, name="deep")])
    cnn.add(layers.GlobalMaxPooling2D())
    model = keras.Sequential(
        [keras.Input(size), layers.Rescaling(1 / 255), layers.TimeDistributed(cnn), layers.GRU(3), layers.Dense(2)]
    )
    if None in size[1:]:  # where padding lies depends on the size
        with pytest.raises(ValueError, match="what 'zero_padding2d.*' does to places"):
            gradcam(model, np.zeros((1, 2, 16, 24, 3)))
        model = keras.Sequential(
            [keras.Input(size), layers.TimeDistributed(cnn.layers[1]), layers.GlobalMaxPooling3D(), layers.Dense(2)]
        )
    else:
        assert [(tap.name, tap.shape) for tap in taps(model)] == [(f"{cnn.name}/deep", (None, 16, 24, 4))]
    for frames in (2, 5):
        clips = np.random.default_rng(0).uniform(0, 255, (3, frames, 16, 24, 3)).astype("float32")
        np.testing.assert_allclose(flatten(model)(clips), model(clips), atol=1e-5)
        found = gradcam(model, clips)
        assert found.maps.shape == (3, frames, 16, 24)
        alone = [gradcam(model, clip[None]).maps[0] for clip in clips]
        np.testing.assert_allclose(found.maps, alone, atol=1e-4)


class Block(layers.Layer):
    """A layer of one's own, made of layers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seq = keras.Sequential([layers.Conv3D(4, 3, padding="same", name="conv"), layers.LayerNormalization()])
        self.drop = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.drop(ops.relu(self.seq(x)) + x, training=training)


def test_maps_inside_layers_of_layers_are_taps():
    x = layers.Conv3D(4, 1, name="stem")(start := keras.Input(CLIP))
    model = keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling3D()(Block(name="block")(x))))
    found = [tap.name for tap in taps(model)]
    assert [name.rpartition("/")[2].rstrip("_0123456789") for name in found] == [
        "stem", "conv", "layer_normalization", "relu", "add"
    ]  # fmt: skip
    assert all(name.startswith("block/") for name in found[1:])
    assert find(model, "block").name == found[-1]  # what the block gives


class ClassToken(layers.Layer):
    def __init__(self):
        super().__init__()
        self.norm = layers.LayerNormalization()

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, 4), initializer="ones")
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x + self.token)


class Positions(layers.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(4, 4)

    def call(self, x):
        return x + self.embedding(tf.range(4))


class Masks(layers.Layer):
    supports_masking = True

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x, mask=None):
        return self.dense(x) if mask is None else self.dense(x) * ops.cast(mask, x.dtype)[..., None]


@pytest.mark.parametrize("layer", [ClassToken, Positions, Masks])
def test_layers_with_weights_of_their_own_constants_or_masks_stay_whole(layer):
    x = layers.TimeDistributed(encoder())(start := keras.Input(CLIP))
    x = layers.Masking()(x) if layer is Masks else x
    model = keras.Model(start, layers.Dense(2)(layers.GRU(3)(layer()(x))))
    clips = np.random.default_rng(0).uniform(0, 1, (2, *CLIP)).astype("float32")
    one = flatten(model)
    assert any(isinstance(each, layer) for each in one.layers)
    for weight in model.weights:
        weight.assign_add(0.1 * np.ones(weight.shape))
    np.testing.assert_allclose(one(clips), model(clips), atol=1e-5)
    assert {id(weight) for weight in one.weights} == {id(weight) for weight in model.weights}


def test_what_is_flat_stays_as_it_is():
    model = MODELS["ConvLSTM2D"]()
    assert flat(model) is model


def test_a_subclassed_model_is_traced_on_clips_of_a_shape():
    model = Subclassed()
    clips = np.random.default_rng(0).uniform(0, 1, (2, *CLIP)).astype("float32")
    expected = model(clips)
    with pytest.raises(ValueError, match=r"Subclassed 'subclassed' has no graph .* flatten\(model, \[clips.shape\]\)"):
        flatten(model)
    one = flatten(model, [clips.shape])
    np.testing.assert_allclose(one(clips), expected, atol=1e-6)
    assert [tap.name for tap in taps(one)] == ["conv"]


def test_a_subclassed_model_is_explained_on_the_clips_at_hand():
    model = Subclassed()
    clips = np.random.default_rng(0).uniform(0, 1, (2, *CLIP)).astype("float32")
    answers, one = model(clips).numpy(), flatten(model, [clips.shape])
    for explain in (gradcam, cam3d, sum_gradcam, lambda *given: by_method(*given, ["3dcam"])[""]):
        own, traced = explain(model, clips), explain(one, clips)
        np.testing.assert_allclose(own.maps, traced.maps, atol=1e-6)
        np.testing.assert_allclose(own.probability, answers.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(layerwise(model, clips).gradients["conv"], layerwise(one, clips).gradients["conv"])
    (found,) = tcav.activations(model, clips, ["conv"]).values()
    np.testing.assert_allclose(found, model.conv(clips).numpy().mean(axis=(1, 2, 3)), atol=1e-6)
    model.conv.kernel.assign(2 * model.conv.kernel)
    np.testing.assert_allclose(gradcam(model, clips).probability, model(clips).numpy().max(axis=1), atol=1e-6)


def test_a_call_that_cannot_be_traced_says_what_to_do():
    class Untraceable(Subclassed):
        def call(self, x):
            return self.top(self.conv(np.asarray(x)))

    with pytest.raises(ValueError, match=r"the call of Untraceable .* cannot be traced .*`keras.ops`"):
        flatten(Untraceable(), [(None, *CLIP)])


class TrainingUnlessTold(Subclassed):
    def call(self, x, training=True):
        return super().call(0 * x if training else x)


class OfWholeNumbers(Subclassed):
    def call(self, x):
        return super().call(x / 255 if x.dtype == "uint8" else x)


class Overridden(keras.Model):
    def call(self, x, training=None):
        return super().call(x[:, ::-1] / 255, training=training)


class Backwards(keras.Model):
    def predict_step(self, data):
        return super().predict_step(data)[:, ::-1]


def functional(kind):
    clip = keras.Input(CLIP)
    x = layers.Flatten()(layers.Conv3D(2, 3, name="conv")(clip))
    return kind(clip, layers.Dense(2, activation="softmax")(x))


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, *CLIP)).astype("uint8")


@pytest.mark.parametrize("make", [TrainingUnlessTold, lambda: functional(Overridden)])
def test_a_call_of_ones_own_is_explained_as_the_model_predicts(make, pixels):
    model = make()
    own = model.predict(pixels.astype("float32"), verbose=0)
    np.testing.assert_allclose(gradcam(model, pixels, class_index=0).probability, own[:, 0], atol=1e-5)


@pytest.mark.parametrize("make", [OfWholeNumbers, lambda: functional(Backwards)])
def test_a_model_that_answers_otherwise_than_its_graph_is_refused(make, pixels):
    with pytest.raises(ValueError, match="answers otherwise than the graph of its layers"):
        gradcam(make(), pixels)
