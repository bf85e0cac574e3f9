"""Models as people write them, small: flat graphs, taps, maps and probabilities against the models themselves.

After Keras' examples of video classification (a CNN and a recurrent network, a Transformer on frames, ViViT),
TensorFlow's tutorial of a (2+1)D ResNet, and what is asked for in forums.
"""

import einops
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from keras.src.applications.efficientnet import EfficientNet  # keras.applications has it in its own sizes only

from har_tf.concepts.tcav import activations
from har_tf.explain import cam3d, gradcam
from har_tf.models.flatten import flatten
from har_tf.models.taps import find, taps

T, H, W = 4, 32, 48
CLIP = (T, H, W, 3)
serializable = keras.saving.register_keras_serializable("written")


def cnn(*later, frame=(H, W, 3)):
    first = [layers.Conv2D(4, 3, activation="relu", name="conv_1"), layers.MaxPooling2D(name="pool_1")]
    return keras.Sequential(
        [keras.Input(frame), *first, layers.Conv2D(8, 3, activation="relu", name="conv_2"), *later], name="cnn"
    )


def average():
    return cnn(layers.GlobalAveragePooling2D())


def sequential(*members, clip=CLIP):
    return keras.Sequential([keras.Input(clip), *members, layers.Dense(3, activation="softmax", name="answer")])


def functional(body, clip=CLIP):
    x = keras.Input(clip)
    return keras.Model(x, layers.Dense(3, activation="softmax", name="answer")(body(x)))


@serializable
class Conv2Plus1D(layers.Layer):
    def __init__(self, filters, kernel, **options):
        super().__init__(**options)
        self.filters, self.kernel = filters, kernel
        self.seq = keras.Sequential(
            [
                layers.Conv3D(filters, (1, *kernel[1:]), padding="same"),
                layers.Conv3D(filters, (kernel[0], 1, 1), padding="same"),
            ]
        )

    def call(self, x):
        return self.seq(x)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel": self.kernel}


@serializable
class ResidualMain(layers.Layer):
    def __init__(self, filters, kernel, **options):
        super().__init__(**options)
        self.filters, self.kernel = filters, kernel
        first, second = (Conv2Plus1D(filters, kernel) for _ in range(2))
        self.seq = keras.Sequential(
            [first, layers.LayerNormalization(), layers.ReLU(), second, layers.LayerNormalization()]
        )

    def call(self, x):
        return self.seq(x)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "kernel": self.kernel}


@serializable
class ResizeVideo(layers.Layer):
    def __init__(self, height, width, **options):
        super().__init__(**options)
        self.height, self.width = height, width
        self.resizing = layers.Resizing(height, width)

    def call(self, video):
        time = einops.parse_shape(video, "b t h w c")["t"]
        images = self.resizing(einops.rearrange(video, "b t h w c -> (b t) h w c"))
        return einops.rearrange(images, "(b t) h w c -> b t h w c", t=time)

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}


def r2plus1d(x):
    x = layers.ReLU()(layers.BatchNormalization()(Conv2Plus1D(4, (3, 7, 7))(x)))
    x = ResizeVideo(H // 2, W // 2)(x)
    x = layers.Add(name="block_1")([x, ResidualMain(4, (3, 3, 3))(x)])
    x = ResizeVideo(H // 4, W // 4)(x)
    x = layers.Add(name="block_2")([layers.Dense(8)(x), ResidualMain(8, (3, 3, 3))(x)])
    return layers.Flatten()(layers.GlobalAveragePooling3D()(x))


@serializable
class TubeletEmbedding(layers.Layer):
    def __init__(self, dim, patch, **options):
        super().__init__(**options)
        self.dim, self.patch = dim, patch
        self.projection = layers.Conv3D(dim, patch, patch, padding="VALID", name="projection")
        self.flatten = layers.Reshape((-1, dim))

    def call(self, videos):
        return self.flatten(self.projection(videos))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "patch": self.patch}


@serializable
class PositionalEncoder(layers.Layer):
    def build(self, shape):
        self.embedding = layers.Embedding(shape[1], shape[2])
        self.positions = tf.range(shape[1])

    def call(self, tokens):
        return tokens + self.embedding(self.positions)


def vivit(x):
    x = PositionalEncoder(name="positions")(TubeletEmbedding(8, (2, 8, 8), name="tubelets")(x))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([layers.MultiHeadAttention(2, 4, dropout=0.1)(y, y), x])
        y = layers.LayerNormalization()(x)
        x = layers.Add()([keras.Sequential([layers.Dense(8, activation=tf.nn.gelu), layers.Dense(8)])(y), x])
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization(name="last")(x))


@serializable
class FramePositions(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.embedding = layers.Embedding(T, 8)

    def call(self, x):
        return x + self.embedding(ops.arange(ops.shape(x)[1]))


@serializable
class TransformerEncoder(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(1, 8, dropout=0.3)
        self.dense = keras.Sequential([layers.Dense(4, activation="gelu"), layers.Dense(8)])
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]

    def call(self, x, mask=None):
        mask = mask if mask is None else mask[:, None, :]
        x = self.norms[0](x + self.attention(x, x, attention_mask=mask))
        return self.norms[1](x + self.dense(x))


def frame_transformer(x):
    x = layers.TimeDistributed(average())(layers.Rescaling(1 / 255)(x))
    return layers.GlobalMaxPooling1D()(TransformerEncoder()(FramePositions()(x)))


def mobilenet(x):
    backbone = keras.applications.MobileNetV2(
        input_shape=(H, W, 3), include_top=False, weights=None, pooling="avg", alpha=0.35, name="mobilenetv2"
    )
    x = layers.TimeDistributed(backbone)(keras.applications.mobilenet_v2.preprocess_input(x))
    return layers.Dropout(0.3)(layers.GRU(8)(x))


def efficientnet():
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    # EfficientNetB0 with one block of each kind, and narrower.
    network = EfficientNet(0.25, 0.1, 224, name="efficientnet", include_top=False, weights=None, input_shape=(H, W, 3))
    return sequential(augment, network, layers.GlobalAveragePooling2D(), layers.Dropout(0.2), clip=(H, W, 3))


@serializable
def centred(x):
    return x - ops.mean(x, axis=(1, 2, 3, 4), keepdims=True)


@serializable
def mean_frame(x):
    return tf.reduce_mean(x, axis=1)


def lambdas(x):
    x = layers.Lambda(centred)(layers.Lambda(lambda x: x / 127.5 - 1.0)(x))
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="early")(x)
    x = layers.Lambda(lambda x: x[:, 2])(x)
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="middle_frame")(x))


def mean_over_time(x):
    x = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"), name="frames")(x)
    x = layers.Lambda(mean_frame)(x)
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="fused")(x))


def attended_frames(x):
    x = layers.TimeDistributed(average())(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    return ops.sum(x * weights, axis=1)


def squeeze_and_excite(x):
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    gate = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling3D()(x))
    gate = layers.Reshape((1, 1, 1, 8))(layers.Dense(8, activation="sigmoid")(gate))
    return layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3, name="last")(layers.Multiply()([x, gate])))


def stacked_frames(x):
    x = layers.Reshape((H, W, T * 3))(layers.Permute((2, 3, 1, 4))(x))
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="early_fusion")(x))


def first_and_last(x):
    shared = average()
    return layers.Concatenate()([shared(x[:, 0]), shared(x[:, -1])])


def mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        x = layers.Rescaling(1 / 255)(clip := keras.Input(CLIP))
        x = layers.Dense(3)(layers.GRU(8)(layers.TimeDistributed(average())(x)))
        return keras.Model(clip, layers.Activation("softmax", dtype="float32", name="answer")(x))
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def time_distributed(*inner):
    return [layers.TimeDistributed(each) for each in inner]


# name -> how it is made, and the path of the layer whose map is explained by default
MODELS = {
    "TimeDistributed(MobileNetV2) and GRU": (lambda: functional(mobilenet), "mobilenetv2/out_relu"),
    "TimeDistributed(CNN) and LSTM": (
        lambda: sequential(layers.Rescaling(1 / 255), layers.TimeDistributed(cnn(layers.Flatten())), layers.LSTM(8)),
        "cnn/conv_2",
    ),
    "TimeDistributed layers and Bidirectional": (
        lambda: sequential(
            layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"), name="map"),
            *time_distributed(layers.MaxPooling2D(), layers.GlobalAveragePooling2D()),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.LSTM(4),
        ),
        "map",
    ),
    "any number of frames": (
        lambda: sequential(layers.TimeDistributed(average()), layers.GRU(4), clip=(None, H, W, 3)), "cnn/conv_2"
    ),
    "ConvLSTM2D": (
        lambda: sequential(
            layers.ConvLSTM2D(4, 3, recurrent_dropout=0.2, return_sequences=True),
            layers.MaxPooling3D((1, 2, 2), padding="same"),
            layers.TimeDistributed(layers.Dropout(0.2)),
            layers.ConvLSTM2D(4, 3, return_sequences=True, name="last"),
            layers.Flatten(),
        ),
        "last",
    ),
    "Conv3D": (
        lambda: sequential(
            layers.Conv3D(4, 3, padding="same"),
            layers.LeakyReLU(),
            layers.AveragePooling3D((1, 2, 2)),
            layers.BatchNormalization(),
            layers.Conv3D(8, 3, activation="relu", name="last"),
            layers.GlobalMaxPooling3D(),
            layers.Dropout(0.5),
        ),
        "last",
    ),
    "feature extractor of Keras' example": (
        lambda: sequential(layers.Rescaling(1 / 127.5, -1), average(), clip=(H, W, 3)), "cnn/conv_2"
    ),
    "(2+1)D ResNet": (lambda: functional(r2plus1d), "block_2"),
    "ViViT": (lambda: functional(vivit), "last"),
    "Transformer on frames": (lambda: functional(frame_transformer), "cnn/conv_2"),
    "EfficientNet in a Sequential": (efficientnet, "efficientnet/top_activation"),
    "Lambda layers": (lambda: functional(lambdas), "middle_frame"),
    "mean over time": (lambda: functional(mean_over_time), "fused"),
    "attention over frames": (lambda: functional(attended_frames), "cnn/conv_2"),
    "squeeze and excite": (lambda: functional(squeeze_and_excite), "last"),
    "frames as channels": (lambda: functional(stacked_frames), "early_fusion"),
    "mixed precision": (mixed_precision, "cnn/conv_2"),
}  # fmt: skip


def made(name):
    keras.utils.set_random_seed(0)
    build, tap = MODELS[name]
    model = build()
    shape = [size or T for size in model.input_shape[1:]]
    clips = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    clips[0, ..., 4:20, 10:30, :] *= 0.1
    return model, clips, tap


def by_tape(model, clips, name, classes):
    """Grad-CAM at a layer of the model as it is: what the layer gives, frame by frame if so, and a tape."""
    every = {layer.name: layer for layer in model._flatten_layers()}
    layer, last = every[name], every["answer"]
    layer = getattr(layer, "layer", layer)
    call, activation, given = layer.call, last.activation, []

    def watched(*args, **kwargs):
        given.append(call(*args, **kwargs))
        return given[-1]

    try:
        layer.call, last.activation = watched, keras.activations.linear
        with tf.GradientTape() as tape:
            score = tf.gather(model(clips, training=False), classes, batch_dims=1)
        gradients = tape.gradient(score, given)
    finally:
        layer.call, last.activation = call, activation
    maps, gradients = (np.stack([each.numpy().astype("float32") for each in x], axis=1) for x in (given, gradients))
    if len(given) == 1:
        maps, gradients = maps[:, 0], gradients[:, 0]
    places = tuple(range(1, maps.ndim - 1))
    return (gradients.mean(axis=places, keepdims=True) * maps).sum(axis=-1)


@pytest.mark.parametrize("name", MODELS)
def test_maps_and_answers_are_those_of_the_model(name, tmp_path):
    model, clips, tap = made(name)
    half = name == "mixed precision"
    answers = model(clips, training=False).numpy()
    np.testing.assert_allclose(flatten(model)(clips, training=False), answers, atol=1e-2 if half else 1e-5)

    assert find(model).name == tap
    found = gradcam(model, clips, normalize=None)
    assert found.maps.shape == (clips.shape[:4] if clips.ndim == 5 else (2, 1, H, W))
    np.testing.assert_allclose(found.probability, answers.max(axis=1), atol=1e-2 if half else 1e-5)
    expected = by_tape(model, clips, tap.rpartition("/")[2], found.class_index)
    scale = np.abs(expected).max()
    assert scale > 0 and np.abs(expected[0] - expected[1]).max() > 1e-3 * scale  # a map for each clip
    np.testing.assert_allclose(
        found.signed.reshape(expected.shape) / scale, expected / scale, atol=2e-2 if half else 1e-3
    )

    several = [each.name for each in taps(model)][-3:]
    assert np.isfinite(cam3d(model, clips, taps=several).maps).all()
    assert all(len(each) == 2 for each in activations(model, clips, several).values())

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
    assert [each.shape for each in taps(loaded)] == [each.shape for each in taps(model)]
    np.testing.assert_allclose(gradcam(loaded, clips, normalize=None).maps, found.maps, atol=1e-5 * max(1, scale))


def test_frames_of_a_shared_backbone_have_their_own_place():
    keras.utils.set_random_seed(0)
    model = functional(first_and_last)
    found = {tap.name: tap.spans[0] for tap in taps(model)}
    assert found["cnn/conv_2"] == (0, 0.25)
    assert found["cnn/conv_2:1"] == (0.75, 1)


def test_the_sequence_model_of_keras_example_has_no_frames():
    features, mask = keras.Input((T, 8)), keras.Input((T,), dtype="bool")
    x = layers.GRU(8)(layers.GRU(16, return_sequences=True)(features, mask=mask))
    with pytest.raises(ValueError, match="taps need a model of clips .* or images"):
        gradcam(keras.Model([features, mask], layers.Dense(3, activation="softmax")(x)), [np.zeros((1, T, 8))] * 2)
