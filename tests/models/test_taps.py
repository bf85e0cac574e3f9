import keras
import pytest
from checks import assert_survives_saving, random_clip
from keras import layers, ops

from har_tf.models.taps import Tap, find, find_several, stages, taps


def folded_model():
    clip = keras.Input((4, 16, 24, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255, name="rescale")(clip)
    x = ops.reshape(x, (-1, 16, 24, 3))
    x = layers.Conv2D(5, 3, padding="same", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Dropout(0.5, name="drop1")(x)
    y = layers.Conv2D(5, 1, name="conv2")(x)
    x = ops.relu(x + y)
    x = ops.reshape(x, (-1, 4, 8, 12, 5))
    x = layers.Conv3D(6, 3, strides=(2, 1, 1), padding="same", name="conv3d")(x)
    x = layers.MaxPooling3D((1, 2, 2), name="pool3d")(x)
    x = ops.reshape(x, (-1, 2, 4 * 6 * 6))
    x = layers.GRU(3, name="gru")(x)
    return keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))


EXPECTED = {
    "conv1": (4, 16, 24, 5),
    "pool1": (4, 8, 12, 5),
    "conv2": (4, 8, 12, 5),
    "add": (4, 8, 12, 5),
    "relu": (4, 8, 12, 5),
    "conv3d": (2, 8, 12, 6),
    "pool3d": (2, 4, 6, 6),
}


def test_folded_graph_is_listed_frame_by_frame_also_after_loading(tmp_path):
    keras.utils.clear_session()
    model = folded_model()
    assert {t.name: t.shape for t in taps(model)} == EXPECTED
    assert [t.name for t in taps(model)] == list(EXPECTED)
    loaded = assert_survives_saving(model, random_clip(1, 4, 16, 24), tmp_path)
    assert taps(loaded) == taps(model)


def test_default_is_the_last_map_that_is_not_pooled():
    assert find(folded_model()).name == "conv3d"


def test_wrong_name_lists_the_taps():
    with pytest.raises(ValueError, match=r"tap 'conv9' is not in the model\. Taps, .*: conv1, pool1, .*tap='conv9'"):
        find(folded_model(), "conv9")
    with pytest.raises(
        ValueError, match=r"'drop1' is not in the model\. It is a Dropout with the output \(None, 8, 12, 5\)"
    ):
        find(folded_model(), Tap("drop1", (4, 8, 12, 5)))


def test_the_nearest_names_come_before_a_long_list():
    x = clip = keras.Input((4, 8, 8, 3), name="clip")
    for block in range(14):
        x = layers.Conv3D(2, 1, name=f"mixed_{block}")(x)
    with pytest.raises(ValueError, match=r"Closest: mixed_11, .*Taps, from input to output: mixed_0, mixed_1,"):
        find(keras.Model(clip, x), "mixd_11")


def test_a_map_of_one_place_is_told_from_a_name_that_is_not_there():
    clip = keras.Input((4, 8, 8, 3), name="clip")
    x = layers.Conv3D(2, 3, strides=(1, 2, 2), padding="same", name="layer1")(clip)
    x = layers.Conv3D(2, 3, strides=(2, 4, 4), padding="same", name="layer2")(x)
    model = keras.Model(clip, layers.Dense(2, name="predictions")(layers.Flatten()(x)))
    with pytest.raises(ValueError, match=r"Its map of \(None, 2, 1, 1, 2\) has a single place.*: layer1\. Received"):
        find(model, "layer2")


def test_image_model_is_a_clip_of_one_frame():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(2, 3, name="c"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    assert taps(model) == [Tap("c", (1, 6, 6, 2), "Conv2D")]


def test_conv3d_graph_with_open_sizes():
    clip = keras.Input((None, None, None, 3))
    x = layers.Conv3D(2, 3, name="c")(clip)
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert taps(model) == [Tap("c", (None, None, None, 2), "Conv3D")]


def test_tokens_keep_the_grid_they_were_cut_from():
    clip = keras.Input((4, 16, 16, 3))
    x = layers.Conv3D(8, (2, 4, 4), strides=(2, 4, 4), name="patches")(clip)  # (B, 2, 4, 4, 8)
    x = layers.Reshape((32, 8), name="tokens")(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Dense(5, name="mlp")(x)
    model = keras.Model(clip, layers.Dense(2, name="predictions")(layers.GlobalAveragePooling1D()(x)))
    assert [(t.name, t.shape) for t in taps(model)] == [
        ("patches", (2, 4, 4, 8)),
        ("norm", (2, 4, 4, 8)),
        ("mlp", (2, 4, 4, 5)),
    ]


def test_windows_in_the_batch_are_not_taken_for_frames():
    clip = keras.Input((1, 8, 8, 3))
    x = layers.Conv3D(4, 1, name="embed")(clip)
    x = ops.reshape(x, (-1, 1, 2, 4, 2, 4, 4))
    x = ops.transpose(x, (0, 1, 2, 4, 3, 5, 6))
    x = ops.reshape(x, (-1, 4, 4, 4))  # (B·4 windows, 4, 4, 4)
    x = layers.Conv2D(4, 1, name="in_window")(x)
    x = ops.reshape(x, (-1, 1, 2, 2, 4, 4, 4))
    x = ops.transpose(x, (0, 1, 2, 4, 3, 5, 6))
    x = ops.reshape(x, (-1, 1, 8, 8, 4))
    x = layers.LayerNormalization(name="after")(x)
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert [t.name for t in taps(model)] == ["embed", "after"]


def test_a_shared_layer_has_a_tap_for_each_call():
    clip = keras.Input((2, 6, 6, 3))
    conv = layers.Conv3D(3, 1, name="shared")
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(conv(conv(clip)))))
    assert [t.name for t in taps(model)] == ["shared", "shared:1"]


def test_maps_inside_a_nested_model_are_named_after_it():
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="deep")], name="encoder")
    clip = keras.Input((2, 8, 8, 3))
    x = layers.TimeDistributed(inner, name="frames")(clip)
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert [(t.name, t.shape) for t in taps(model)] == [("encoder/deep", (2, 6, 6, 4))]
    assert find(model, "deep") == find(model, "encoder/deep") == find(model)


def test_what_is_no_graph_is_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(
        ValueError, match=r"functional or sequential model.*flatten\(model, \[clips.shape\]\).*Received: Subclassed"
    ):
        taps(Subclassed())
    flat = keras.Input((7,))
    with pytest.raises(ValueError, match=r"Received: inputs .*\(None, 7\)"):
        taps(keras.Model(flat, layers.Dense(2)(flat)))


def test_cnn_gru():
    from har_tf.models.cnn_gru import cnn_gru

    model = cnn_gru(input_shape=(3, 64, 96, 3), num_classes=4)
    assert taps(model)[0].name == "conv2d_1"
    assert find(model) == Tap("conv3d", (3, 2, 3, 50), "Conv3D")


def two_streams(joined=False):
    """Frames and their flow, each through a convolution; `joined`: they meet as maps."""
    frames, flow = keras.Input((6, 16, 24, 3), name="frames"), keras.Input((5, 16, 24, 2), name="flow")
    x = layers.Conv3D(4, (2, 3, 3), activation="relu", name="see")(frames)
    y = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"), name="move")(flow)
    if joined:
        x = layers.Add(name="meet")([x, y])
        x = layers.GlobalAveragePooling3D()(x)
    else:
        x = layers.Concatenate()([layers.GlobalAveragePooling3D()(x), layers.GlobalAveragePooling3D()(y)])
    return keras.Model([frames, flow], layers.Dense(3, activation="softmax")(x))


def test_each_of_several_inputs_has_its_own_taps():
    model = two_streams()
    assert {tap.name: (tap.input, tap.shape) for tap in taps(model)} == {
        "see": ("frames", (5, 14, 22, 4)),
        "move": ("flow", (5, 14, 22, 4)),
    }
    assert (find(model).name, find(model, "flow").name) == ("see", "move")
    assert [tap.name for tap in stages(model)] == ["see"]
    assert [tap.name for tap in stages(model, "flow")] == ["move"]
    assert [tap.name for tap in find_several(model, ["flow", "see"])] == ["move", "see"]
    with pytest.raises(ValueError, match=r"no feature map of an input 'sound'. It takes frames .*, flow"):
        stages(model, "sound")


def test_where_streams_meet_the_map_shows_the_first_of_them():
    model = two_streams(joined=True)
    assert {tap.name: tap.input for tap in taps(model)} == {"see": "frames", "move": "flow", "meet": "frames"}
    assert find(model).name == "meet" and [tap.name for tap in stages(model)] == ["meet"]


def test_other_inputs_beside_the_clip_are_no_clips():
    clip, mask = keras.Input((4, 8, 8, 3), name="clip"), keras.Input((4,), name="mask")
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(2, 3, name="conv")(clip))
    model = keras.Model([clip, mask], layers.Dense(2)(layers.Concatenate()([x, mask])))
    assert [(tap.name, tap.input) for tap in taps(model)] == [("conv", "clip")]
    features = keras.Input((4, 7))
    with pytest.raises(ValueError, match=r"taps need a model of clips .*Received: inputs .*\(None, 4, 7\)"):
        taps(keras.Model(features, layers.LSTM(2)(features)))
