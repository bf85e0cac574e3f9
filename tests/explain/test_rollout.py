import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import small_model

from har_tf.explain.rollout import rollout


def of_tokens(shape=(1, 1, 2, 2), depth=1, class_token=False, heads=1, **attention):
    """A vision transformer whose tokens are the pixels of clips (T, H, W, C)."""
    clip = keras.Input(shape, name="clip")
    x = layers.Conv3D(shape[-1], 1, name="patches")(clip)
    x = layers.Reshape((-1, shape[-1]), name="tokens")(x)
    if class_token:
        x = layers.Concatenate(axis=1)([ops.ones_like(x[:, :1]), x])
    for number in range(depth):
        y = layers.MultiHeadAttention(heads, shape[-1], name=f"attention_{number}", **attention)(x, x)
        x = layers.Add()([x, y])
    x = x[:, 0] if class_token else layers.GlobalAveragePooling1D()(x)
    return keras.Model(clip, layers.Dense(2, "softmax", name="predictions")(x), name="vit")


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def by_hand(weights, tokens):
    """The mean over the heads of softmax(q k' / sqrt(d)) of one layer, and what the layer adds."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    q, k, v = (np.einsum("nc,chd->nhd", tokens, w) + b for w, b in ((wq, bq), (wk, bk), (wv, bv)))
    attention = softmax(np.einsum("nhd,mhd->hnm", q, k) / np.sqrt(wq.shape[-1]))
    return attention.mean(axis=0), np.einsum("hnm,mhd,hdc->nc", attention, v, wo) + bo


def test_two_tokens_worked_out_by_hand():
    model = of_tokens()
    model.get_layer("patches").set_weights([np.eye(2).reshape(1, 1, 1, 2, 2), np.zeros(2)])
    eye = np.eye(2)[:, None]
    attention = model.get_layer("attention_0")
    none = np.zeros((1, 2))
    shapes = (np.log(3) * 2**0.5 * eye, none, eye, none, eye, none, eye.transpose(1, 0, 2), np.zeros(2))
    attention.set_weights(list(shapes))
    # Tokens (1, 0) and (0, 0). The first attends to itself by softmax(log 3, 0) = (3/4, 1/4), the second evenly. With
    # the shortcut (7/8, 1/8) and (1/4, 3/4); over both tokens (9/16, 7/16).
    clip = np.array([[[[[1.0, 0.0], [0.0, 0.0]]]]])
    found = rollout(model, clip, normalize=None)
    np.testing.assert_allclose(found.signed, [[[[9 / 16, 7 / 16]]]], rtol=1e-5)
    np.testing.assert_allclose(rollout(model, clip).maps, [[[[1, 7 / 9]]]], rtol=1e-5)
    assert found.settings["cells"] == [(1, 1, 2)] and found.settings["layers"] == ["attention_0"]


@pytest.mark.parametrize("class_token", [False, True])
def test_layers_are_multiplied_the_last_one_leftmost_and_heads_averaged(class_token):
    keras.utils.set_random_seed(0)
    model = of_tokens((2, 3, 4, 6), depth=3, heads=2, class_token=class_token)
    clip = np.random.default_rng(0).normal(size=(1, 2, 3, 4, 6)).astype("float32") * 3
    kernel, bias = model.get_layer("patches").get_weights()
    tokens = (clip @ kernel[0, 0, 0] + bias).reshape(24, 6)
    tokens = np.concatenate([np.ones((1, 6)), tokens]) if class_token else tokens
    product = np.eye(len(tokens))
    for number in range(3):
        attention, added = by_hand(model.get_layer(f"attention_{number}").get_weights(), tokens)
        product = (attention + np.eye(len(tokens))) / 2 @ product
        tokens = tokens + added
    expected = product[0, 1:] if class_token else product.mean(axis=0)
    found = rollout(model, clip, normalize=None)
    np.testing.assert_allclose(found.signed.ravel(), expected, rtol=1e-4)
    np.testing.assert_allclose(found.probability, model.predict(clip, verbose=0).max(axis=1), rtol=1e-5)


def test_maps_are_enlarged_to_the_clip():
    clip = keras.Input((4, 8, 8, 3), dtype="uint8")
    x = layers.Conv3D(4, (2, 4, 4), (2, 4, 4), name="patches")(ops.cast(clip, "float32"))
    x = layers.Reshape((-1, 4))(x)
    x = layers.MultiHeadAttention(2, 2)(x, x)
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)
    found = rollout(model, clips, batch_size=2)
    assert found.maps.shape == (3, 4, 8, 8) and found.settings["cells"] == [(2, 2, 2)]
    np.testing.assert_allclose(found.maps.max(axis=(1, 2, 3)), 1)
    np.testing.assert_allclose(rollout(model, clips[2:], grid=(2, 2, 2)).maps, found.maps[2:], atol=1e-6)


def test_video_swin_is_refused_with_the_reason():
    model = small_model("video_swin")
    with pytest.raises(
        ValueError,
        match="not defined for model '.*swin.*': layer .* attends within windows.*Use rise",
    ):
        rollout(model, np.zeros((1, *model.input_shape[1:]), "uint8"))


def divided():
    clip = keras.Input((2, 2, 2, 4))
    x = layers.Reshape((2, 4, 4))(layers.Conv3D(4, 1)(clip))
    x = layers.MultiHeadAttention(1, 4, attention_axes=(1,), name="in_time")(x, x)
    return keras.Model(clip, layers.Dense(2)(layers.Flatten()(x)))


def side_by_side():
    clip = keras.Input((2, 2, 2, 4))
    x = layers.Reshape((8, 4))(layers.Conv3D(4, 1)(clip))
    both = [layers.MultiHeadAttention(1, 4, name=name)(x, x) for name in ("left", "right")]
    return keras.Model(clip, layers.Dense(2)(layers.Flatten()(layers.Add()(both))))


def of_other_tokens():
    clip = keras.Input((2, 2, 2, 4))
    x = layers.Reshape((8, 4))(layers.Conv3D(4, 1)(clip))
    x = layers.MultiHeadAttention(1, 4, name="first")(x, x[:, :4])
    return keras.Model(clip, layers.Dense(2)(layers.Flatten()(x)))


def without():
    clip = keras.Input((2, 2, 2, 4))
    return keras.Model(clip, layers.Dense(2)(layers.Flatten()(layers.Conv3D(4, 1)(clip))))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (divided, "layer 'in_time' is no attention of all tokens"),
        (side_by_side, "layer 'right' does not see the tokens of the layer of attention before it"),
        (of_other_tokens, r"layer 'first' is no attention of all tokens .* Received: \(None, 8, 4\), \(None, 4, 4\)"),
        (without, "it has no layer of self-attention"),
    ],
)
def test_other_models_are_refused(made, says):
    with pytest.raises(ValueError, match=says):
        rollout(made(), np.zeros((1, 2, 2, 2, 4), "float32"))


def test_a_grid_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match=r"grid is \(time, height, width\) of 2 tokens, or of one fewer. Received: grid="
    ):
        rollout(of_tokens(), np.zeros((1, 1, 1, 2, 2)), grid=(1, 2, 2))
