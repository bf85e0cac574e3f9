import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_survives_saving
from keras import layers, ops

from har_tf.explain import gradcam, gradcam_at, layerwise
from har_tf.explain.backward import _compiled
from har_tf.models.taps import taps


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(7)


def clips_of(shape, dtype="float32", seed=0):
    clips = np.random.default_rng(seed).integers(0, 256, shape)
    return clips.astype("uint8") if dtype == "uint8" else (clips / 255).astype(dtype)


def small_model(head="fused", classes=3, dtype=None):
    """Conv3D, average, dense; the softmax stands in the last layer, behind it, or nowhere."""
    clip = keras.Input((3, 8, 10, 3), name="clip")
    x = layers.Conv3D(6, 3, padding="same", activation="relu", name="conv3d", dtype=dtype)(clip)
    x = layers.BatchNormalization(name="bn", dtype=dtype)(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.GlobalAveragePooling3D(name="pool", dtype=dtype)(x)
    activation = "softmax" if head == "fused" else None
    x = layers.Dense(classes, activation=activation, name="predictions", dtype="float32")(x)
    if head == "layer":
        x = layers.Softmax(name="softmax")(x)
    if head == "activation":
        x = layers.Activation("softmax", name="softmax")(x)
    if head == "op":
        x = ops.softmax(x)
    return keras.Model(clip, x)


def test_map_worked_out_by_hand():
    # Two channels, A1 = x and A2 = 3x. Gradient of class 1: A1 has 1 in frame 0 and -1 in frame 1 everywhere;
    # A2 has 0 in frame 0, and 4 in one corner of frame 1.
    clip = keras.Input((2, 2, 2, 1))
    feature = layers.Conv3D(2, 1, use_bias=False, name="conv")(clip)
    model = keras.Model(clip, layers.Dense(2, name="predictions")(layers.Flatten()(feature)))
    model.get_layer("conv").set_weights([np.array([1.0, 3.0]).reshape(1, 1, 1, 1, 2)])
    gradient = np.zeros((2, 2, 2, 2))  # (t, h, w, channel)
    gradient[0, ..., 0], gradient[1, ..., 0], gradient[1, 0, 0, 1] = 1, -1, 4
    kernel = np.stack([np.full(16, 0.25), gradient.ravel()], axis=1)
    model.get_layer("predictions").set_weights([kernel, np.array([0.5, 0.0])])
    x = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, -1.0], [2.0, 0.0]]])

    # Equation (1), per frame: alpha = (1, 0) in frame 0, (-1, 4/4) in frame 1, so frame 1 is -x + 3x.
    by_frame = gradcam(model, x[None, ..., None], class_index=1, pool="spatial", normalize=None)
    np.testing.assert_allclose(by_frame.signed[0], [x[0], 2 * x[1]], atol=1e-6)
    np.testing.assert_allclose(by_frame.maps[0], [[[1, 2], [3, 4]], [[0, 0], [4, 0]]], atol=1e-6)
    # Over time as well: alpha = (0, 4/8), so the map is 1.5x.
    whole = gradcam(model, x[None, ..., None], class_index=1, pool="spatiotemporal")
    np.testing.assert_allclose(whole.signed[0], 1.5 * x, atol=1e-6)
    np.testing.assert_allclose(whole.maps[0], [[[0.25, 0.5], [0.75, 1]], [[0, 0], [0.5, 0]]], atol=1e-6)
    # The score is the sum of gradient times feature: 1+2+3+4 - (0-1+2+0) + 4·3·0 = 9.
    assert whole.score[0] == pytest.approx(9)
    assert whole.settings == {"tap": "conv", "pool": "spatiotemporal", "normalize": "clip", "counterfactual": False}


def blob_clip(visible, corner=(4, 18), frames=5):
    clip = np.full((1, frames, 32, 32, 3), 20, "uint8")
    clip[0, visible, corner[0] : corner[0] + 8, corner[1] : corner[1] + 8, 0] = 250
    return clip


def teach_red(conv):
    """A 3x3 (or 3x3x3) convolution with the channels 'red here' and 'no red here'."""
    kernel = np.zeros((*conv.kernel_size, 3, 2), "float32")
    centre = tuple(n // 2 for n in conv.kernel_size)
    kernel[centre][0] = [1, -1]
    kernel[centre][1] = [-1, 0]
    conv.set_weights([kernel, np.array([-0.2, 0.5])])


def folded_blob_model():
    clip = keras.Input((5, 32, 32, 3), dtype="uint8", name="clip")
    x = ops.reshape(layers.Rescaling(1 / 255)(clip), (-1, 32, 32, 3))
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="detector")(x)
    x = layers.MaxPooling2D(2, name="halved")(x)
    x = ops.reshape(x, (-1, 5, 16, 16, 2))
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))
    teach_red(model.get_layer("detector"))
    model.get_layer("predictions").set_weights([np.array([[-60.0, 60.0], [1.0, 0.0]]), np.zeros(2)])
    return model


def conv3d_blob_model():
    clip = keras.Input((5, 32, 32, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(2, 3, padding="same", activation="relu", name="detector")(x)
    x = layers.MaxPooling3D((1, 2, 2), name="halved")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))
    teach_red(model.get_layer("detector"))
    model.get_layer("predictions").set_weights([np.array([[-60.0, 60.0], [1.0, 0.0]]), np.zeros(2)])
    return model


def gru_blob_model():
    clip = keras.Input((5, 32, 32, 3), dtype="uint8", name="clip")
    x = ops.reshape(layers.Rescaling(1 / 255)(clip), (-1, 32, 32, 3))
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="detector")(x)
    x = layers.MaxPooling2D(2, name="halved")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.GRU(1, name="gru")(ops.reshape(x, (-1, 5, 2)))
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))
    teach_red(model.get_layer("detector"))
    # The update gate is half open (no weights, no bias), the candidate is tanh(4·red): the state remembers
    # red.
    kernel = np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    model.get_layer("gru").set_weights([kernel, np.zeros((1, 3)), np.zeros((2, 3))])
    model.get_layer("predictions").set_weights([np.array([[-30.0, 30.0]]), np.zeros(2)])
    return model


@pytest.mark.parametrize("build", [folded_blob_model, conv3d_blob_model, gru_blob_model])
@pytest.mark.parametrize("pool", ["spatial", "spatiotemporal"])
def test_map_follows_a_blob_in_time_and_place(build, pool, tmp_path):
    clip = blob_clip(visible=[1, 3])
    model = assert_survives_saving(build(), clip, tmp_path)
    for tap in ("detector", "halved"):
        explanation = gradcam(model, clip, tap=tap, pool=pool, normalize="frame")
        assert explanation.class_index.tolist() == [1]
        maps = explanation.maps[0]
        assert (maps[[0, 2, 4]] == 0).all()
        inside = np.zeros((32, 32), bool)
        inside[4:12, 18:26] = True
        blurred = np.zeros_like(inside)  # a pooled cell is two pixels, bilinear enlargement reaches one further
        blurred[3:13, 17:27] = True
        for frame in maps[[1, 3]]:
            assert frame[inside].min() > 0.5
            assert frame[~blurred].max() == 0


def test_the_other_class_lights_up_where_the_blob_is_not():
    maps = gradcam(folded_blob_model(), blob_clip([2]), tap="detector", class_index=0).maps[0]
    assert maps[2, 6, 20] == 0
    assert maps[[0, 1, 3, 4]].min() == 1


def test_no_positive_evidence_is_zero_and_says_so():
    clips = np.concatenate([blob_clip([]), blob_clip([2])])
    explanation = gradcam(folded_blob_model(), clips, tap="detector", class_index=1)
    assert explanation.empty.tolist() == [True, False]
    assert (explanation.maps[0] == 0).all()
    assert np.isfinite(explanation.maps).all()


def reference_maps(model, clips, tap, classes):
    """tf-keras-vis on the logits, at the tap's own size, not normalised."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    explainer = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    return np.asarray(
        explainer(
            CategoricalScore(classes),
            clips,
            penultimate_layer=tap,
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
        )
    )


def test_equals_tf_keras_vis_on_a_3d_model():
    model, clips, classes = small_model(), clips_of((4, 3, 8, 10, 3)), [0, 1, 2, 0]
    reference = reference_maps(model, clips, "conv3d", classes)
    ours = gradcam(model, clips, tap="conv3d", class_index=np.array(classes), normalize=None)
    assert reference.max() > 1e-3
    np.testing.assert_allclose(ours.maps, reference, atol=1e-4 * reference.max())
    scaled = gradcam(model, clips, tap="conv3d", class_index=np.array(classes)).maps
    peaks = np.maximum(reference.max(axis=(1, 2, 3), keepdims=True), 1e-30)
    np.testing.assert_allclose(scaled, reference / peaks, atol=1e-4)


@pytest.mark.parametrize("pool", ["spatial", "spatiotemporal"])
def test_equals_tf_keras_vis_on_a_2d_model(pool):
    image = keras.Input((16, 20, 3))
    x = layers.Conv2D(6, 3, strides=2, activation="relu", name="conv1")(image)
    x = layers.Conv2D(8, 3, activation="relu", name="conv2")(x)
    x = layers.Dense(5, activation="relu")(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax", name="predictions")(x))
    images, classes = clips_of((3, 16, 20, 3)), [3, 1, 0]
    for tap in ("conv1", "conv2"):
        reference = reference_maps(model, images, tap, classes)
        ours = gradcam(model, images, tap=tap, class_index=classes, pool=pool, normalize=None)
        assert ours.maps.shape == (3, 1, 16, 20)
        scale = np.abs(reference).max()
        assert scale > 0
        np.testing.assert_allclose(np.maximum(ours.signed[:, 0], 0) / scale, reference / scale, atol=1e-4)


@pytest.mark.parametrize("head", ["layer", "activation", "op", "linear"])
def test_the_logit_is_found_wherever_the_softmax_stands(head):
    model, other = small_model("fused"), small_model(head)
    other.set_weights(model.get_weights())
    clips = clips_of((2, 3, 8, 10, 3))
    ours, theirs = gradcam(model, clips), gradcam(other, clips)
    np.testing.assert_allclose(ours.signed, theirs.signed, atol=1e-7)
    np.testing.assert_allclose(ours.score, theirs.score, atol=1e-6)
    np.testing.assert_allclose(ours.probability, model(clips).numpy().max(axis=1), atol=1e-6)
    np.testing.assert_allclose(theirs.probability, ours.probability, atol=1e-6)


def test_a_saturated_softmax_still_has_a_map():
    model, clips = small_model(), clips_of((2, 3, 8, 10, 3))
    before = gradcam(model, clips, class_index=0)
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([kernel, bias + np.array([60.0, 0, 0])])
    after = gradcam(model, clips)
    assert (after.probability == 1).all()
    np.testing.assert_array_equal(after.signed, before.signed)
    np.testing.assert_allclose(after.score, before.score + 60, rtol=1e-6)


def test_the_model_is_left_as_it_was_and_its_present_weights_count():
    model, clips = small_model(), clips_of((2, 3, 8, 10, 3))
    outputs, config = model(clips).numpy(), model.to_json()
    first = gradcam(model, clips, class_index=0)
    np.testing.assert_array_equal(model(clips), outputs)
    assert model.to_json() == config
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([2 * kernel, bias])
    np.testing.assert_allclose(gradcam(model, clips, class_index=0).signed, 2 * first.signed, rtol=1e-5)


def test_a_batch_gives_each_clip_its_own_map():
    from har_tf.models.cnn_gru import cnn_gru

    model = cnn_gru(input_shape=(3, 32, 48, 3), num_classes=4)
    clips = clips_of((5, 3, 32, 48, 3), "uint8")
    together = gradcam(model, clips, tap="relu_3", pool="spatial")
    for batch_size in (1, 2):
        alone = gradcam(model, clips, tap="relu_3", pool="spatial", batch_size=batch_size)
        np.testing.assert_allclose(alone.maps, together.maps, atol=1e-4)
        np.testing.assert_array_equal(alone.class_index, together.class_index)


def test_uint8_and_float_clips_agree_and_floats_from_0_to_1_are_refused():
    model, clips = folded_blob_model(), blob_clip([1])
    expected = gradcam(model, clips)
    np.testing.assert_array_equal(gradcam(model, clips.astype("float32")).maps, expected.maps)
    with pytest.raises(ValueError, match=r"pixels from 0 to 255 .* Received: float32 clips from 0.0784"):
        gradcam(model, (clips / 255).astype("float32"))
    with pytest.raises(ValueError, match="pixels from 0 to 255"):
        gradcam(model, np.full(clips.shape, np.nan, "float32"))


def test_class_index_forms():
    model, clips = small_model(), clips_of((3, 3, 8, 10, 3))
    each = [gradcam(model, clips, class_index=c) for c in range(3)]
    mixed = gradcam(model, clips, class_index=np.array([2, 0, 1]))
    for i, c in enumerate((2, 0, 1)):
        np.testing.assert_allclose(mixed.signed[i], each[c].signed[i], atol=1e-7)
    predicted = model(clips).numpy().argmax(axis=1)
    np.testing.assert_array_equal(gradcam(model, clips).class_index, predicted)
    for wrong in (3, -1, [0, 1], 0.5, [[0, 1, 2]]):
        with pytest.raises(ValueError, match="class_index"):
            gradcam(model, clips, class_index=wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tap": "conv9"}, r"'conv9' is not in the model\. Taps, from input to output: conv3d, bn\."),
        ({"pool": "time"}, "pool is one of 'spatial', 'spatiotemporal'. Received: pool='time'"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1. Received: batch_size=0"),
        ({"batch_size": 2.5}, "at least 1. Received: batch_size=2.5"),
        ({"normalize": "video"}, "normalize is one of"),
        (
            {"clips": np.zeros((2, 3, 8, 8, 3))},
            r"takes clips of shape \(None, 3, 8, 10, 3\). .*\(2, 3, 8, 8, 3\)",
        ),
        ({"clips": np.zeros((0, 3, 8, 10, 3))}, "no clip to explain"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gradcam(**{"model": small_model(), "clips": clips_of((1, 3, 8, 10, 3)), **arguments})


def test_weights_that_are_not_finite_are_named_not_painted():
    model = small_model()
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([kernel * np.nan, bias])
    with pytest.raises(ValueError, match=r"no finite gradient at tap 'bn' for clips \[0, 1\]"):
        gradcam(model, clips_of((2, 3, 8, 10, 3)))


def test_mixed_precision_gives_float32_maps_close_to_full_precision():
    full, half = small_model(), small_model(dtype="mixed_float16")
    half.set_weights(full.get_weights())
    clips = clips_of((2, 3, 8, 10, 3))
    expected, found = gradcam(full, clips, class_index=1), gradcam(half, clips, class_index=1)
    assert found.maps.dtype == found.signed.dtype == found.score.dtype == np.float32
    np.testing.assert_allclose(found.signed, expected.signed, atol=0.01 * np.abs(expected.signed).max())


def test_a_shorter_tap_is_stretched_to_the_clip():
    clip = keras.Input((6, 8, 8, 3))
    x = layers.Conv3D(4, (3, 3, 3), strides=(2, 2, 2), padding="same", name="conv")(clip)
    model = keras.Model(clip, layers.Dense(2, name="predictions")(layers.GlobalAveragePooling3D()(x)))
    explanation = gradcam(model, clips_of((2, 6, 8, 8, 3)))
    assert explanation.signed.shape == (2, 3, 4, 4)
    assert explanation.maps.shape == (2, 6, 8, 8)


class Counted(layers.Layer):
    """Hands on its input, and counts how often, and how often the gradient comes back."""

    forward = backward = 0

    def call(self, x):
        @tf.custom_gradient
        def counted(x):
            return self._counting("forward", x), lambda gradient: self._counting("backward", gradient)

        return counted(x)

    def _counting(self, direction, x):
        def count(values):
            setattr(self, direction, getattr(self, direction) + 1)
            return values

        return tf.ensure_shape(tf.numpy_function(count, [x], x.dtype), x.shape)


def counted_model():
    """Three taps: two in a row on one branch, one on another; what is counted stands behind all of them."""
    clip = keras.Input((4, 8, 8, 3), name="clip")
    x = layers.Conv3D(4, 3, padding="same", activation="tanh", name="first")(clip)
    x = layers.Conv3D(5, 3, strides=2, padding="same", name="second")(x)
    y = layers.Conv3D(3, 3, padding="same", name="other")(clip)
    x = layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(y)])
    model = keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(Counted(name="counted")(x)))
    counted = model.get_layer("counted")
    taps(model)  # tries layers that it does not know, once for a model
    counted.forward = counted.backward = 0
    return model, counted


@pytest.mark.parametrize("pool", ["spatial", "spatiotemporal"])
def test_several_taps_in_one_pass_are_each_as_if_alone(pool):
    model, counted = counted_model()
    clips, classes = clips_of((3, 4, 8, 8, 3)), [2, 0, 1]
    names = ["other", "first", "second"]
    together = gradcam_at(model, clips, names, classes, pool, normalize="frame")
    assert list(together) == names
    assert (counted.forward, counted.backward) == (1, 1)
    for name in names:
        alone = gradcam(model, clips, name, classes, pool, normalize="frame")
        assert together[name].settings == alone.settings
        assert alone.settings == {"tap": name, "pool": pool, "normalize": "frame", "counterfactual": False}
        assert np.abs(alone.signed).max() > 1e-3
        for array in ("maps", "signed", "score", "probability"):
            np.testing.assert_allclose(getattr(together[name], array), getattr(alone, array), atol=1e-6)
        np.testing.assert_array_equal(together[name].class_index, classes)
    assert (counted.forward, counted.backward) == (4, 4)

    gradcam_at(model, clips, names, pool=pool, batch_size=2)
    assert (counted.forward, counted.backward) == (6, 6), "two batches"
    (run,) = (run for (taps, *_), run in _compiled[model][1].items() if len(taps) == 3)
    assert isinstance(run, tf.types.experimental.ConcreteFunction), "one trace, whatever the number of clips"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["second", "conv9"],
            r"'conv9' is not in the model\. Taps, from input to output: .*first.*Received: tap='conv9'",
        ),
        (["first", "second", "first"], r"each tap is named once\. Received: taps=\['first', 'second', 'first'\]"),
        ([], r"at least one tap is needed\. Received: taps=\[\]"),
        ("first", "a list of names. Received: taps='first'"),
    ],
)
def test_wrong_names_among_several_are_refused_before_the_pass(names, message):
    model, counted = counted_model()
    with pytest.raises(ValueError, match=message):
        gradcam_at(model, clips_of((1, 4, 8, 8, 3)), names)
    assert counted.forward == 0


def test_every_tap_of_a_loaded_baseline_in_one_pass(tmp_path):
    from har_tf.models.frame_cnn import frame_cnn

    model = frame_cnn("MobileNet", input_shape=(2, 64, 64, 3), num_classes=3, alpha=0.25)
    model.get_layer("predictions").bias.assign([0, 1, 2])  # without training hardly anything comes through
    clips = clips_of((1, 2, 64, 64, 3), "uint8")
    loaded = assert_survives_saving(model, clips, tmp_path)
    every = taps(loaded)
    together = gradcam_at(loaded, clips, every, pool="spatial")
    assert [each.signed.shape for each in together.values()] == [(1, *tap.shape[:3]) for tap in every]
    for name, found in list(together.items())[:: len(every) // 3]:
        alone = gradcam(loaded, clips, tap=name, pool="spatial").signed
        np.testing.assert_allclose(alone, found.signed, atol=1e-5 * max(1, np.abs(found.signed).max()))


def test_an_end_that_is_not_understood_is_explained_by_its_probability():
    def least(x):
        return keras.ops.softmax(-x)

    clip = keras.Input((2, 6, 6, 3))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(2, 3, padding="same", name="c")(clip))
    model = keras.Model(clip, layers.Dense(3, activation=least, bias_initializer="ones")(x))
    clips = clips_of((3, 2, 6, 6, 3))
    answers = model.predict(clips, verbose=0)
    for _ in range(2):  # also once that is known
        found = gradcam(model, clips)
        assert found.settings["score"] == "log-probability"
        np.testing.assert_array_equal(found.class_index, answers.argmax(axis=1))
        np.testing.assert_allclose(found.probability, answers.max(axis=1), atol=1e-5)


def test_open_sizes():
    clip = keras.Input((None, None, None, 3))
    x = layers.Conv3D(2, 3, padding="same", name="c")(clip)
    model = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert gradcam(model, clips_of((2, 3, 6, 8, 3))).signed.shape == (2, 3, 6, 8)
    assert gradcam(model, clips_of((1, 5, 4, 4, 3))).signed.shape == (1, 5, 4, 4)


def test_compiled_once_and_forgotten_with_the_model():
    model = small_model()
    for size in (1, 3, 2):
        gradcam(model, clips_of((size, 3, 8, 10, 3)), tap="conv3d")
    gradcam(model, clips_of((2, 3, 8, 10, 3)), tap="conv3d", class_index=1)
    _, functions = _compiled[model]
    (run,) = functions.values()
    assert isinstance(run, tf.types.experimental.ConcreteFunction), "one trace, whatever the number of clips"
    gone = weakref.ref(model)
    del model, functions, run
    gc.collect()
    assert gone() is None


def test_a_sequential_model_that_grew_is_compiled_anew():
    model = keras.Sequential(
        [keras.Input((2, 4, 4, 3)), layers.Conv3D(2, 1, name="c"), layers.GlobalAveragePooling3D()]
    )
    clips = clips_of((1, 2, 4, 4, 3))
    short = gradcam(model, clips, class_index=0).score
    model.add(layers.Dense(2, kernel_initializer="ones", bias_initializer="ones"))
    grown = gradcam(model, clips, class_index=0).score
    np.testing.assert_allclose(grown, model(clips).numpy()[:, 0], atol=1e-6)
    assert not np.allclose(short, grown)


def two_streams():
    frames, flow = keras.Input((6, 16, 24, 3), name="frames"), keras.Input((4, 12, 12, 2), name="flow")
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3, activation="relu", name="see")(frames))
    y = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"), name="move")(flow)
    x = layers.Concatenate()([x, layers.GlobalAveragePooling3D()(y)])
    return keras.Model([frames, flow], layers.Dense(3, activation="softmax")(x))


def test_each_of_two_inputs_is_explained_on_its_own_clips():
    model = two_streams()
    rng = np.random.default_rng(0)
    frames, flow = rng.random((2, 6, 16, 24, 3), "float32"), rng.normal(size=(2, 4, 12, 12, 2)).astype("float32")
    seen, moved = (
        gradcam(model, [frames, flow]),
        gradcam(model, {"flow": flow, "frames": frames}, "flow", class_index=1),
    )
    assert (seen.maps.shape, moved.maps.shape) == ((2, 6, 16, 24), (2, 4, 12, 12))
    answers = model.predict([frames, flow], verbose=0)
    np.testing.assert_allclose(seen.probability, answers.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(moved.probability, answers[:, 1], atol=1e-6)
    # Behind a mean over 4 x 10 x 10 places the gradient is the dense layer's weight over their number.
    maps = keras.Model(model.inputs, model.get_layer("move").output).predict([frames, flow], verbose=0)
    weights = model.layers[-1].get_weights()[0][4:, 1]
    np.testing.assert_allclose(moved.signed, maps @ weights / 400, atol=1e-6)
    several = layerwise(model, [frames, flow], ["see", "move"])
    with pytest.raises(
        ValueError, match="taps of several inputs lie on different clips. Received: taps of frames, flow"
    ):
        several.cam3d()
    assert several.cam3d(["move"]).maps.shape == (2, 4, 12, 12)


def test_clips_for_several_inputs_are_checked_by_name():
    model = two_streams()
    frames, flow = np.zeros((2, 6, 16, 24, 3)), np.zeros((2, 4, 12, 12, 2))
    for given, words in (
        (frames, "list of arrays for frames, flow, or a dict by these names. Received: ndarray of 2"),
        ([frames], "Received: list of 1"),
        ({"frames": frames}, "Received: frames$"),
        ([frames, flow[:1]], "every input is given as many clips. Received: 1, 2"),
        ([flow, frames], r"takes clips of shape \(None, 6, 16, 24, 3\) as 'frames'"),
    ):
        with pytest.raises(ValueError, match=words):
            gradcam(model, given)


def test_of_one_output_class_1_is_its_presence_and_0_its_absence():
    model = small_model(head="none", classes=1)
    clips = clips_of((3, 3, 8, 10, 3))
    present, absent, unsaid = (gradcam(model, clips, class_index=c, normalize=None) for c in (1, 0, None))
    logits = model.predict(clips, verbose=0)[:, 0]
    np.testing.assert_allclose(present.score, logits, atol=1e-6)
    np.testing.assert_allclose(present.probability, 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_allclose(absent.probability, 1 - present.probability, atol=1e-6)
    np.testing.assert_allclose(absent.signed, -present.signed, atol=1e-7)
    np.testing.assert_array_equal(unsaid.signed, present.signed)
    with pytest.raises(ValueError, match="class_index lies from 0 to 1"):
        gradcam(model, clips, class_index=2)
