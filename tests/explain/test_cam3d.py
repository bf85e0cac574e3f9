import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_survives_saving
from keras import layers, ops

from har_tf.explain import Tap, cam3d, gradcam_at, layerwise, overlay, stages, sum_gradcam
from har_tf.explain.backward import _compiled
from har_tf.explain.explanation import products
from har_tf.explain.upsampling import enlarge
from har_tf.models.taps import taps


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(5)


def clips_of(shape, dtype="float32", seed=0):
    clips = np.random.default_rng(seed).integers(0, 256, shape)
    return clips.astype("uint8") if dtype == "uint8" else (clips / 255).astype(dtype)


def by_hand():
    """Two taps of known gradients: `first` = (x, 2x), `second` = first of `first`'s channels, three times.

    Logit 1 is the sum of `kernel` times `second`, so its gradient is `kernel` at `second`, and at `first` three times
    `kernel` in the first channel, 0 in the second.
    """
    clip = keras.Input((2, 2, 2, 1))
    first = layers.Conv3D(2, 1, use_bias=False, name="first")(clip)
    second = layers.Conv3D(1, 1, use_bias=False, name="second")(first)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(layers.Flatten()(second)))
    kernel = np.array([[[1.0, 2.0], [-1.0, 0.0]], [[0.0, 4.0], [0.0, -3.0]]])
    model.get_layer("first").set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 1, 2)])
    model.get_layer("second").set_weights([np.array([3.0, 0.0]).reshape(1, 1, 1, 2, 1)])
    model.get_layer("predictions").set_weights(
        [np.stack([np.full(8, -1.0), kernel.ravel()], axis=1), np.array([0.0, 0.5])]
    )
    return model, kernel


def test_maps_worked_out_by_hand():
    model, kernel = by_hand()
    x = np.array([[[1.0, 2.0], [5.0, 0.0]], [[4.0, -1.0], [3.0, 10.0]]])
    clips = x[None, ..., None]
    found = layerwise(model, clips, ["first", "second"], class_index=1)
    np.testing.assert_allclose(found.gradients["first"][0], 3 * kernel, atol=1e-6)
    np.testing.assert_allclose(found.gradients["second"][0], kernel, atol=1e-6)
    np.testing.assert_allclose(found.activations["first"][0], 3 * x, atol=1e-6)  # x + 2x
    np.testing.assert_allclose(found.activations["second"][0], 3 * x, atol=1e-6)
    assert found.score[0] == pytest.approx(3 * (1 + 4 - 5 + 0 - 4 - 30) + 0.5)
    # beta / 4 and alpha / 10 at both taps; only three cells have a positive gradient and activation, x at one is -1.
    one = np.array([[[0.25 * 0.1, 0.5 * 0.2], [0, 0]], [[0, 0], [0, 0]]])
    for name in ("first", "second"):
        np.testing.assert_allclose(found.cam3d([name], normalize=None).maps[0], one, atol=1e-7)
    summed = cam3d(model, clips, ["first", "second"], 1, normalize=None)
    np.testing.assert_allclose(summed.maps[0], 2 * one, atol=1e-7)
    np.testing.assert_allclose(cam3d(model, clips, ["first", "second"], 1).maps[0], one / one.max(), atol=1e-6)
    # Equation (7): -beta has its maximum, 3, where x is 10, and 1 where x is 5.
    other = cam3d(model, clips, ["second"], 1, counterfactual=True, normalize=None)
    np.testing.assert_allclose(other.maps[0], [[[0, 0], [1 / 3 * 0.5, 0]], [[0, 0], [0, 1]]], atol=1e-6)
    assert summed.settings == {
        "taps": ("first", "second"), "channels": "sum", "counterfactual": False, "join": "sum", "align": "corners",
        "normalize": None,
    }  # fmt: skip
    assert (summed.method, other.method) == ("Sum 3DCAM", "3DCAM")


def conv_model(dtype=None):
    """Taps of three sizes, one of them a single moment; batch normalisation, dropout and a softmax that is certain."""
    clip = keras.Input((4, 12, 10, 3), name="clip")
    x = layers.Conv3D(5, 3, strides=(1, 2, 2), padding="same", name="conv1", dtype=dtype)(clip)
    x = layers.BatchNormalization(name="bn1", dtype=dtype)(x)
    x = layers.ReLU(name="relu1", dtype=dtype)(x)
    x = layers.Conv3D(6, 3, strides=2, padding="same", activation="relu", name="conv2", dtype=dtype)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv3D(7, 3, strides=2, padding="same", activation="relu", name="conv3", dtype=dtype)(x)
    x = layers.GlobalAveragePooling3D(dtype=dtype)(x)
    return keras.Model(clip, layers.Dense(4, activation="softmax", name="predictions", dtype="float32")(x))


def slow(model, clips, names, classes, sign=1):
    """Equations (1), (2) and (6) in NumPy, on gradients of the logit from a tape that starts at the clip."""
    head = model.get_layer("predictions")
    probe = keras.Model(model.inputs[0], [*(model.get_layer(name).output for name in names), head.input])
    total = np.zeros(clips.shape[:4])
    with tf.GradientTape(persistent=True) as tape:
        clip = tf.Variable(clips)
        *features, last = probe(clip, training=False)
        logits = last @ head.kernel + head.bias
        score = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
    for feature in features:
        beta, alpha = sign * tape.gradient(score, feature).numpy().sum(axis=-1), feature.numpy().sum(axis=-1)
        for i in range(len(clips)):
            product = np.ones(clips.shape[1:4])
            for small in (beta[i], alpha[i]):
                large = enlarge(small[None], clips.shape[1:4], "corners")[0]
                product *= np.maximum(large / large.max(), 0) if large.max() > 0 else 0
            total[i] += product
    return np.maximum(total, 0)


@pytest.mark.parametrize("counterfactual", [False, True])
def test_equals_a_slow_direct_implementation(counterfactual):
    model, clips, classes = conv_model(), clips_of((3, 4, 12, 10, 3)), [2, 0, 3]
    names = ["relu1", "conv2", "conv3"]
    expected = slow(model, clips, names, classes, -1 if counterfactual else 1)
    assert (expected.max(axis=(1, 2, 3)) > 0.1).all()
    found = cam3d(model, clips, names, classes, counterfactual, normalize=None)
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    np.testing.assert_array_equal(found.class_index, classes)
    scaled = cam3d(model, clips, names, classes, counterfactual)
    np.testing.assert_allclose(scaled.maps, expected / expected.max(axis=(1, 2, 3), keepdims=True), atol=1e-5)
    np.testing.assert_allclose(scaled.signed, expected, atol=1e-5)
    frame = cam3d(model, clips, names, classes, counterfactual, normalize="frame")
    peaks = expected.max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(frame.maps, expected / np.where(peaks > 0, peaks, 1), atol=1e-4)


def test_one_pass_serves_every_tap_method_and_sign():
    model, clips = conv_model(), clips_of((2, 4, 12, 10, 3))
    names = ["relu1", "conv2", "conv3"]
    found = layerwise(model, clips, names)
    alone = [cam3d(model, clips, [name], normalize=None).maps for name in names]
    for name, maps in zip(names, alone, strict=True):
        np.testing.assert_allclose(found.cam3d([name], normalize=None).maps, maps, atol=1e-6)
    some = found.cam3d(["conv3", "relu1"], normalize=None)
    np.testing.assert_allclose(some.maps, alone[0] + alone[2], atol=1e-5)
    np.testing.assert_allclose(found.cam3d().maps, cam3d(model, clips, names).maps, atol=1e-6)
    negated = cam3d(model, clips, names, counterfactual=True)
    np.testing.assert_allclose(found.cam3d(counterfactual=True).maps, negated.maps, atol=1e-6)
    cams = gradcam_at(model, clips, names)
    for name, cam in cams.items():
        np.testing.assert_allclose(found.gradcam(name).maps, cam.maps, atol=1e-6)
    together = sum(cam.maps for cam in cams.values())
    np.testing.assert_allclose(found.sum_gradcam(normalize=None).maps, together, atol=1e-5)
    by_name = sum_gradcam(model, clips, names)
    np.testing.assert_allclose(by_name.maps, together / together.max(axis=(1, 2, 3), keepdims=True), atol=1e-5)
    assert (by_name.method, found.sum_gradcam(["conv2"]).method) == ("Sum Grad-CAM", "Grad-CAM")
    # What speaks for the class and what speaks against it is nowhere the same.
    against = found.gradcam("conv3", counterfactual=True)
    np.testing.assert_array_equal(against.signed, -found.gradcam("conv3").signed)


def test_the_average_keeps_a_fixed_threshold_s_meaning_and_scaled_is_the_sum():
    model, clips = conv_model(), clips_of((2, 4, 12, 10, 3))
    names = ["relu1", "conv2", "conv3"]
    summed, average = (cam3d(model, clips, names, normalize=None, join=join) for join in ("sum", "average"))
    np.testing.assert_allclose(average.maps, summed.maps / 3, rtol=1e-6)
    assert average.maps.max() <= 1 < 1.01 < summed.maps.max()
    assert average.method == "Average 3DCAM"
    scaled = cam3d(model, clips, names, join="average").maps
    np.testing.assert_allclose(scaled, cam3d(model, clips, names).maps, atol=1e-6)


def test_channels_and_alignment():
    model, clips = conv_model(), clips_of((1, 4, 12, 10, 3))
    feature = keras.Model(model.inputs[0], model.get_layer("bn1").output)(clips).numpy()
    expected = {"sum": feature.sum(-1), "max": feature.max(-1), "norm": np.sqrt((feature**2).sum(-1))}
    for channels, alpha in expected.items():
        found = layerwise(model, clips, ["bn1"], channels=channels)
        np.testing.assert_allclose(found.activations["bn1"], alpha, atol=1e-5)
    found = layerwise(model, clips, ["conv2"])
    parts = [enlarge(m["conv2"], (4, 12, 10), "centres") for m in (found.gradients, found.activations)]
    product = np.maximum(parts[0], 0) / parts[0].max() * parts[1] / parts[1].max()
    np.testing.assert_allclose(found.cam3d(align="centres", normalize=None).maps, product, atol=1e-5)


def test_no_positive_evidence_is_zero_and_never_nan():
    model, _ = by_hand()
    x = np.array([[[0.0, 0.0], [5.0, 1.0]], [[0.0, 0.0], [3.0, 10.0]]])
    clips = np.stack([x, np.zeros_like(x), -np.abs(x) - 1, np.ones_like(x)])[..., None]
    explanation = cam3d(model, clips, ["first", "second"], 1)
    assert explanation.empty.tolist() == [True, True, True, False]
    assert (explanation.maps[:3] == 0).all()
    assert np.isfinite(explanation.maps).all()
    painted = overlay(np.zeros((4, 2, 2, 2, 3)), explanation)
    assert painted[:3].max() == 0, "and no frame is all red"


def test_tiny_gradients_are_scaled_not_lost():
    model, _ = by_hand()
    clips = clips_of((1, 2, 2, 2, 1))
    expected = cam3d(model, clips, ["first", "second"], 1).maps
    for layer, factor in (("predictions", 1e-30), ("first", 1e-12)):
        model.get_layer(layer).set_weights([w * factor for w in model.get_layer(layer).get_weights()])
    np.testing.assert_allclose(cam3d(model, clips, ["first", "second"], 1).maps, expected, atol=1e-5)


def test_maps_that_miss_their_peak_when_they_shrink_are_zero():
    maps = np.full((1, 2, 1, 1, 3), -1.0, "float32")
    maps[..., 0] = 1  # a single new cell reads the middle one
    assert (products([maps], (1, 1, 1))[0] == 0).all()


def test_the_top_classes_and_the_negation_of_the_first():
    model, clips = conv_model(), clips_of((2, 4, 12, 10, 3))
    order = np.argsort(-model(clips).numpy(), axis=1)[:, :3]
    found = layerwise(model, clips, top=3)
    np.testing.assert_array_equal(found.class_index, order.ravel())
    np.testing.assert_allclose(found.probability, np.take_along_axis(model(clips).numpy(), order, 1).ravel(), atol=1e-6)
    for rank in range(3):
        alone = cam3d(model, clips, class_index=order[:, rank])
        for i in range(2):
            np.testing.assert_allclose(found.cam3d().only(3 * i + rank).maps[0], alone.maps[i], atol=1e-5)
    np.testing.assert_allclose(
        found.cam3d(counterfactual=True).maps[[0, 3]], cam3d(model, clips, counterfactual=True).maps, atol=1e-5
    )
    for wrong in ({"top": 5}, {"top": 0}, {"top": 2, "class_index": 1}):
        with pytest.raises(ValueError, match="top is the number of classes to explain, 1 to 4 here"):
            layerwise(model, clips, **wrong)


class Counted(layers.Layer):
    """Passes features on, and counts the passes through it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.forward = self.backward = 0

    def call(self, x):
        @tf.custom_gradient
        def counted(x):
            def forward(x):
                self.forward += 1
                return x

            def backward(dy):
                self.backward += 1
                return dy

            y = tf.py_function(forward, [x], x.dtype)
            y.set_shape(x.shape)
            return y, lambda dy: tf.ensure_shape(tf.py_function(backward, [dy], dy.dtype), dy.shape)

        return counted(x)


def test_all_taps_of_all_clips_take_one_forward_and_one_backward_pass():
    clip = keras.Input((4, 8, 8, 3))
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="a")(clip)
    x = layers.Conv3D(4, 3, strides=2, padding="same", activation="relu", name="b")(x)
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="c")(x)
    x = Counted(name="counted")(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(clip, layers.Dense(3, name="predictions")(x))
    counted, clips = model.get_layer("counted"), clips_of((5, 4, 8, 8, 3))
    cam3d(model, clips, ["a", "b", "c"])
    assert (counted.forward, counted.backward) == (1, 1)
    sum_gradcam(model, clips, ["a", "b", "c"])
    layerwise(model, clips, ["a", "b", "c"], top=2).cam3d()
    assert (counted.forward, counted.backward) == (3, 3)
    for size in (2, 1):
        cam3d(model, clips[:size], ["a", "b", "c"], class_index=1)
    assert len(_compiled[model][1]) == 3, "one function for each method, whatever the clips and classes"


def test_image_models_have_2dcams():
    image = keras.Input((16, 20, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="conv1")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="predictions")(x))
    clip = keras.Input((1, 16, 20, 3))
    y = layers.Conv3D(6, (1, 3, 3), strides=(1, 2, 2), padding="same", activation="relu", name="conv1")(clip)
    y = layers.Conv3D(8, (1, 3, 3), strides=(1, 2, 2), padding="same", activation="relu", name="conv2")(y)
    y = layers.GlobalAveragePooling3D()(y)
    same = keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(y))
    same.set_weights([w[None] if w.ndim == 4 else w for w in model.get_weights()])
    images = clips_of((3, 16, 20, 3))
    flat, deep = cam3d(model, images), cam3d(same, images[:, None])
    assert flat.maps.shape == (3, 1, 16, 20)
    assert flat.maps.max() == 1
    np.testing.assert_allclose(flat.maps, deep.maps, atol=1e-5)
    assert (flat.method, deep.method) == ("Sum 2DCAM", "Sum 3DCAM")
    assert flat.settings["taps"] == ("conv1", "conv2")


def test_mixed_precision_gives_float32_maps_close_to_full_precision():
    full, half = conv_model(), conv_model("mixed_float16")
    half.set_weights(full.get_weights())
    clips = clips_of((2, 4, 12, 10, 3))
    expected, found = (cam3d(model, clips, class_index=1) for model in (full, half))
    assert found.maps.dtype == found.signed.dtype == found.score.dtype == np.float32
    np.testing.assert_allclose(found.maps, expected.maps, atol=0.03)


def blob_model(frames=6):
    """Class 1 is a red patch, wherever it is."""
    clip = keras.Input((frames, 32, 32, 3), dtype="uint8", name="clip")
    x = ops.reshape(layers.Rescaling(1 / 255)(clip), (-1, 32, 32, 3))
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="detector")(x)
    x = layers.MaxPooling2D(2, name="halved")(x)
    x = ops.reshape(x, (-1, frames, 16, 16, 2))
    x = layers.Conv3D(2, 1, use_bias=False, activation="relu", name="again")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))
    kernel = np.zeros((3, 3, 3, 2))
    kernel[1, 1, 0] = [1, -1]
    kernel[1, 1, 1] = [-1, 0]
    model.get_layer("detector").set_weights([kernel, np.array([-0.2, 0.0])])  # the second is never active
    model.get_layer("again").set_weights([np.eye(2).reshape(1, 1, 1, 2, 2)])
    model.get_layer("predictions").set_weights([np.array([[-60.0, 60.0], [1.0, 0.0]]), np.zeros(2)])
    return model


def blob_clip(visible, frames=6):
    clip = np.full((1, frames, 32, 32, 3), 20, "uint8")
    clip[0, visible, 4:12, 18:26, 0] = 250
    return clip


def test_maps_follow_a_blob_in_time_and_place(tmp_path):
    clip = blob_clip(visible=[1, 3])
    model = assert_survives_saving(blob_model(), clip, tmp_path)
    assert [tap.name for tap in stages(model)] == ["detector", "again"]
    explanation = cam3d(model, clip)
    assert explanation.class_index.tolist() == [1]
    maps = explanation.maps[0]
    assert (maps[[0, 2, 4, 5]] == 0).all()
    inside = np.zeros((32, 32), bool)
    inside[4:12, 18:26] = True
    near = np.zeros_like(inside)  # corners: a cell of `again` covers 31/15 pixels, of which a neighbour sees one half
    near[1:15, 15:29] = True
    for frame in maps[[1, 3]]:
        assert frame[inside].min() > 0.2
        assert frame[~near].max() == 0
        assert inside[np.unravel_index(frame.argmax(), frame.shape)]


def test_default_taps_are_the_outputs_of_the_stages():
    clip = keras.Input((8, 16, 16, 3))
    x = layers.Conv3D(4, 3, padding="same", name="stem")(clip)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling3D(2, name="pool")(x)
    gates = []
    for stage, strides in (("s1", 1), ("s2", 2)):
        shortcut = layers.Conv3D(6, 1, strides=strides, name=f"{stage}_shortcut")(x)
        y = layers.Conv3D(6, 1, activation="relu", name=f"{stage}_a")(x)  # of s2: as large as s1, but within a branch
        y = layers.Conv3D(6, 3, strides=strides, padding="same", name=f"{stage}_b")(y)
        x = layers.ReLU(name=stage)(layers.Add(name=f"{stage}_add")([shortcut, y]))
        gates.append(layers.Dense(3)(layers.GlobalAveragePooling3D()(layers.ReLU(name=f"{stage}_gate")(x))))
    main = layers.Dense(3)(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(clip, layers.Add(name="predictions")([*gates, main]))
    assert {"s1_gate", "s2_gate"} < {tap.name for tap in taps(model)}
    found = stages(model)
    assert [tap.name for tap in found] == ["stem_relu", "s1", "s2"]
    assert cam3d(model, clips_of((1, 8, 16, 16, 3))).settings["taps"] == tuple(tap.name for tap in found)


def test_stages_of_streams_that_meet_at_the_end_are_those_of_each():
    clip = keras.Input((2, 8, 8, 3))
    ends = []
    for name in ("rgb", "flow"):
        x = layers.Conv3D(3, 3, padding="same", name=f"{name}_1")(clip)
        x = layers.Conv3D(3, 3, strides=2, padding="same", name=f"{name}_2")(x)
        ends.append(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(clip, layers.Dense(2, name="predictions")(layers.Concatenate()(ends)))
    assert sorted(tap.name for tap in stages(model)) == ["flow_1", "flow_2", "rgb_1", "rgb_2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"taps": ["conv2", "conv9"]},
            r"tap 'conv9' is not in the model\. Taps, from input to output: conv1, bn1, relu1, conv2, conv3\. Received",
        ),
        ({"taps": "conv2"}, "taps are a list of names"),
        ({"taps": []}, "at least one tap is needed"),
        ({"taps": ["conv2", Tap("conv2", (2, 3, 3, 6))]}, "each tap is named once"),
        ({"class_index": 4}, r"class_index lies from 0 to 3 in this model. Received: 4"),
        ({"channels": "mean"}, "channels is one of 'sum', 'max', 'norm'. Received: channels='mean'"),
        ({"join": "product"}, "join is one of 'sum', 'average'. Received: join='product'"),
        ({"align": "edges"}, "align is one of 'centres', 'corners'. Received: align='edges'"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1. Received: batch_size=0"),
        ({"batch_size": 2.5}, "at least 1. Received: batch_size=2.5"),
        ({"normalize": "video"}, "normalize is one of 'clip', 'frame', None. Received: normalize='video'"),
        ({"clips": np.zeros((2, 3, 12, 10, 3))}, r"takes clips of shape \(None, 4, 12, 10, 3\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cam3d(**{"model": conv_model(), "clips": clips_of((1, 4, 12, 10, 3)), **arguments})


def test_clips_that_do_not_fit_together_are_enlarged_one_after_the_other(monkeypatch):
    maps = [np.random.default_rng(0).random((5, 2, 2, 3, 3), dtype="float32")]
    expected, _ = products(maps, (4, 6, 6))
    monkeypatch.setattr("har_tf.explain.explanation._PIXELS_AT_ONCE", 2 * 4 * 6 * 6)
    np.testing.assert_allclose(products(maps, (4, 6, 6))[0], expected, atol=1e-6)


def test_wrong_taps_of_what_was_found():
    found = layerwise(conv_model(), clips_of((1, 4, 12, 10, 3)), ["conv2", "conv3"])
    for wrong in (["conv1"], ["conv2", "conv2"], [], "conv2"):
        with pytest.raises(ValueError, match="taps are some of conv2, conv3, each once"):
            found.cam3d(wrong)
