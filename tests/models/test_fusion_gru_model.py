"""Fusion-GRU: the paper's equations, its counts, two networks in one graph, and what can be explained on them."""

import keras
import numpy as np
import pytest
from tiny_networks import make_tiny

from har_tf.explain import gradcam
from har_tf.models.fusion_gru import (
    end_to_end,
    fine_taps,
    frame_encoder,
    fusion_gru,
    fusion_gru_head,
    stream_taps,
)
from har_tf.models.saving import load_model, save_model
from har_tf.models.taps import taps

NAMES = ("MobileNet", "MobileNetV2")
SHAPE, SIZES = (3, 64, 64, 3), {"MobileNet": 64, "MobileNetV2": 48}
LAST = {name: f"{name}_conv_3_relu" for name in NAMES}


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of tiny networks, which take the places of the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        folder = make_tiny(patch, tmp_path_factory.mktemp("weights"))
        yield {name: folder / f"{name.lower()}_notop.weights.h5" for name in NAMES}


@pytest.fixture(scope="module")
def small(weights):
    keras.utils.set_random_seed(2)
    return fusion_gru(SHAPE, 4, NAMES, weights, gru_units=(6, 5), frame_sizes=SIZES)


def head(count=3, units=(1,), frames=3, **options):
    """A head on features of one number."""
    return fusion_gru_head(frames, {"A": 1}, count, gru_units=units, **options)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_output(model, name, features):
    return keras.Model(model.input, model.get_layer(name).output).predict(features, verbose=0)


def test_one_unit_follows_equations_1_to_4():
    model = head()
    w_xz, w_xr, w_xo, w_oz, w_or, w_oo, b_z, b_r, b_o = 0.5, -0.7, 1.1, 0.9, 1.3, -2.0, 0.1, -0.2, 0.3
    # One bias a gate, as in the paper.
    model.get_layer("gru1").set_weights(
        [np.array([[w_xz, w_xr, w_xo]]), np.array([[w_oz, w_or, w_oo]]), np.array([b_z, b_r, b_o])]
    )
    x = [1.5, -0.4, 0.8]
    o = 0.0
    for value in x:
        r = sigmoid(w_xr * value + w_or * o + b_r)
        z = sigmoid(w_xz * value + w_oz * o + b_z)
        candidate = np.tanh(w_xo * value + w_oo * (r * o) + b_o)
        o = z * o + (1 - z) * candidate
    given = layer_output(model, "gru1", {"features_A": np.array(x, "float32").reshape(1, 3, 1)})
    assert given.item() == pytest.approx(o, abs=1e-6)


def test_the_reset_gate_acts_before_the_matrix():
    """W (r * o) and r * (W o) are different as soon as there are two units: the paper has the first."""
    model = fusion_gru_head(2, {"A": 1}, 2, gru_units=(2,))
    gates = np.zeros((1, 6), "float32")
    gates[0] = [0, 0, 0, 0, 1, 2]  # Keras' order: update, reset, candidate; two units each
    recurrent = np.zeros((2, 6), "float32")
    recurrent[:, 2:4] = [[3, 0], [0, -3]]  # reset gates that differ
    recurrent[:, 4:] = [[0, 1], [1, 0]]  # each candidate sees the other unit
    model.get_layer("gru1").set_weights([gates, recurrent, np.zeros(6)])
    first = 0.5 * np.tanh([1.0, 2.0])
    r = sigmoid(np.array([3 * first[0], -3 * first[1]]))
    candidate = np.tanh([1 + (r * first)[1], 2 + (r * first)[0]])
    expected = 0.5 * first + 0.5 * candidate
    given = layer_output(model, "gru1", {"features_A": np.ones((1, 2, 1), "float32")})
    np.testing.assert_allclose(given[0], expected, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_answer_and_learn_as_keras_own_loop_does(tmp_path, bidirectional):
    """A saved model comes back with Keras' GRU; answers and gradients are the same but for rounding."""
    import tensorflow as tf

    ours = head(4, units=(6, 5), frames=4, bidirectional=bidirectional)
    ours.save(tmp_path / "model.keras")
    theirs = keras.models.load_model(tmp_path / "model.keras")
    for model, own in ((ours, True), (theirs, False)):
        gru = model.get_layer("gru1")
        for layer in [gru.forward_layer, gru.backward_layer] if bidirectional else [gru]:
            assert type(layer) is keras.layers.GRU
            assert ("inner_loop" in vars(layer)) == own
    rng = np.random.default_rng(0)
    features = {"features_A": rng.normal(size=(7, 4, 1)).astype("float32")}
    wanted = rng.normal(size=(7, 4)).astype("float32")
    given = []
    for model in (ours, theirs):
        with tf.GradientTape() as tape:
            answers = model(features, training=True)
            loss = tf.reduce_sum(answers * wanted)
        given.append([answers, *tape.gradient(loss, [weight.value for weight in model.trainable_weights])])
    for one, other in zip(*given, strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_layers_compute_in_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = head(4, units=(6, 5))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("gru1").output.dtype == "bfloat16"
    assert model.predict({"features_A": np.ones((1, 3, 1), "float32")}, verbose=0).dtype == np.float32


def test_parameters_of_the_paper_s_head_counted_by_hand():
    model = fusion_gru_head(10, {"GoogLeNet": 1024, "InceptionResNetV2": 1536}, 101)
    gru1 = 3 * 1000 * (2560 + 1000 + 1)
    gru2 = 3 * 1000 * (1000 + 1000 + 1)
    assert model.count_params() == gru1 + gru2 + 1000 * 101 + 101
    assert {name: x.shape for name, x in model.input.items()} == {
        "features_GoogLeNet": (None, 10, 1024),
        "features_InceptionResNetV2": (None, 10, 1536),
    }
    assert model.get_layer("gru1").output.shape == (None, 10, 1000)
    assert model.get_layer("gru2").output.shape == (None, 1000)
    gru = model.get_layer("gru2")
    assert (gru.activation.__name__, gru.recurrent_activation.__name__) == ("tanh", "sigmoid")


def test_both_directions_are_read():
    model = head(units=(4, 5), bidirectional=True)
    assert model.get_layer("gru1").output.shape == (None, 3, 8)
    assert model.get_layer("gru2").output.shape == (None, 10)
    x = np.zeros((1, 3, 1), "float32")
    late = x.copy()
    late[0, 2] = 1
    difference = layer_output(model, "gru1", {"features_A": late}) - layer_output(model, "gru1", {"features_A": x})
    assert np.abs(difference[0, 0, :4]).max() == 0  # forward has not seen it yet
    assert np.abs(difference[0, 0, 4:]).max() > 1e-3


def test_sum_projects_the_wider_streams_only():
    model = fusion_gru_head(1, {"A": 2, "B": 3}, 2, fusion="sum", gru_units=(2,))
    model.get_layer("project_B").set_weights([np.array([[1.0, 0], [0, 1], [10, 10]])])
    assert [layer.name for layer in model.layers if layer.name.startswith("project")] == ["project_B"]
    features = {"features_A": np.array([[[1.0, 2]]]), "features_B": np.array([[[3.0, 4, 5]]])}
    np.testing.assert_allclose(layer_output(model, "sum", features)[0, 0], [1 + 3 + 50, 2 + 4 + 50])
    equal = fusion_gru_head(1, {"A": 2, "B": 2}, 2, fusion="sum", gru_units=(2,))
    assert not [layer for layer in equal.layers if layer.name.startswith("project")]


def test_score_average_is_the_mean_of_the_streams_probabilities():
    model = fusion_gru_head(1, {"A": 1, "B": 1}, 3, fusion="score_average", gru_units=(1,))
    logits = {"A": [200.0, 0, 0], "B": [0.0, 1, -1]}  # float32 has no word for the probability that A gives to 1
    for name, bias in logits.items():
        model.get_layer(f"logits_{name}").set_weights([np.zeros((1, 3)), np.array(bias)])
    given = model.predict({"features_A": np.ones((1, 1, 1)), "features_B": np.ones((1, 1, 1))}, verbose=0)
    of_b = np.exp(logits["B"]) / np.exp(logits["B"]).sum()
    np.testing.assert_allclose(given[0], (np.array([1.0, 0, 0]) + of_b) / 2, atol=1e-6)


def test_streams_are_the_networks_at_their_sizes(small, clips, weights):
    for name in NAMES:
        encoder = frame_encoder(name, 64, weights[name], frame_size=SIZES[name])
        expected = encoder.predict(clips.reshape(-1, 64, 64, 3), verbose=0)
        given = layer_output(small, f"features_{name}", clips)
        assert expected.std() > 0.01
        np.testing.assert_allclose(given.reshape(expected.shape), expected, atol=1e-4 * expected.max())
    assert small.get_layer("MobileNetV2_resize").output.shape[1:3] == (48, 48)
    assert "MobileNet_resize" not in [layer.name for layer in small.layers]


def test_compiled_and_eager_outputs_agree(small, clips):
    """Resized frames were rounded in one and not in the other."""
    for name in NAMES:
        features = small.get_layer(f"features_{name}").output
        eager = keras.Model(small.input, features)(clips, training=False)
        compiled = layer_output(small, f"features_{name}", clips)
        np.testing.assert_allclose(compiled, eager, atol=1e-4 * compiled.max())


def test_networks_are_frozen_unless_asked(small):
    assert {weight.path.split("/")[0] for weight in small.trainable_weights} == {"gru1", "gru2", "predictions"}
    tuned = fusion_gru(SHAPE, 4, NAMES, backbone_trainable=True, gru_units=(6, 5), frame_sizes=SIZES)
    assert len(tuned.trainable_weights) == 2 * 3 * 3 + 3 + 3 + 2, (
        "three convolutions with BatchNorm a network, and the head"
    )


def test_end_to_end_answers_as_the_head_on_features(small, clips, weights):
    keras.utils.set_random_seed(5)
    sizes = {"MobileNetV2": 48, "MobileNet": 16}  # not in the order of the model
    trained = fusion_gru_head(3, sizes, 4, gru_units=(6, 5), dropout=0.3)
    before = [w.numpy() for w in trained.weights]
    model = end_to_end(trained, SHAPE, weights, frame_sizes=SIZES)
    features = {f"features_{name}": layer_output(small, f"features_{name}", clips) for name in NAMES}
    expected = trained.predict(features, verbose=0)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(model.predict(clips, verbose=0), expected, atol=1e-5)
    assert {layer.name for layer in model.layers} - {"dropout"} == {layer.name for layer in small.layers}
    assert trained.get_layer("gru1").output.shape == (None, 3, 6)  # it is still in one graph only
    model.get_layer("gru1").set_weights([0 * w for w in model.get_layer("gru1").get_weights()])
    for weight, old in zip(trained.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_both_streams_can_be_explained_after_loading(small, clips, tmp_path):
    """A stream that the head does not listen to has an empty map; the other one has not."""
    kernel, recurrent, bias = small.get_layer("gru1").get_weights()
    deaf = kernel.copy()
    deaf[:16] = 0  # the features of MobileNet come first
    small.get_layer("gru1").set_weights([deaf, recurrent, bias])
    save_model(small, tmp_path / "model.keras", list("abcd"))
    small.get_layer("gru1").set_weights([kernel, recurrent, bias])
    model, _ = load_model(tmp_path / "model.keras")
    assert stream_taps(model) == LAST
    assert set(LAST.values()) <= {tap.name for tap in taps(model)}
    unheard, heard = (gradcam(model, clips, tap=LAST[name]) for name in NAMES)
    assert unheard.signed.shape == (2, 3, 2, 2)
    assert (unheard.signed == 0).all() and unheard.empty.all()
    assert np.abs(heard.signed).max() > 0
    np.testing.assert_allclose(heard.probability, model.predict(clips, verbose=0).max(axis=1), atol=1e-5)


def test_grad_cam_of_a_stream_is_the_gradient_times_the_map(small, clips):
    """Against a tape on the layers behind the map, where explanations fold the networks' BatchNorm."""
    import tensorflow as tf

    tap = small.get_layer(LAST["MobileNetV2"]).output
    others = small.get_layer("features_MobileNet").output
    below = keras.Model(small.input, [tap, others])
    feature, other = below(clips, training=False)
    with tf.GradientTape() as tape:
        tape.watch(feature)
        pooled = tf.reshape(tf.reduce_mean(feature, axis=(1, 2)), (2, 3, -1))
        x = tf.concat([other, pooled], axis=-1)
        x = small.get_layer("gru2")(small.get_layer("gru1")(x))
        kernel, bias = small.get_layer("predictions").weights
        logits = x @ kernel + bias
        score = logits[:, 1]
    gradient = tf.reduce_mean(tape.gradient(score, feature), axis=(1, 2), keepdims=True)
    expected = tf.reshape(tf.reduce_sum(gradient * feature, axis=-1), (2, 3, 2, 2)).numpy()
    given = gradcam(small, clips, LAST["MobileNetV2"], class_index=1, pool="spatial", normalize=None)
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(given.signed / scale, expected / scale, atol=1e-3)
    np.testing.assert_allclose(given.score, score, atol=1e-4)


def test_one_backbone_is_the_single_stream_row(clips):
    model = fusion_gru(SHAPE, 4, ("MobileNet",), gru_units=(6,), frame_sizes={"MobileNet": 64})
    assert not {"concatenate", "sum"} & {layer.name for layer in model.layers}
    averaged = fusion_gru_head(3, {"A": 2}, 4, fusion="score_average", gru_units=(6,))
    assert [layer.name for layer in averaged.layers] == ["features_A", "gru1", "predictions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (10, 128, 192, 3)}, r"square frames.* Received: input_shape=\(10, 128, 192, 3\)"),
        ({"backbones": ("MobilNet",)}, "Closest: MobileNet"),
        ({"backbones": ("MobileNet", "MobileNet")}, "each of them once"),
        ({"backbones": ()}, "At least one backbone"),
        ({"fusion": "mean"}, "'concatenate', 'sum', 'score_average'. Received: fusion='mean'"),
        ({"gru_units": ()}, "At least one GRU layer"),
        ({"backbone_weights": "googlenet.npz"}, "MobileNet, MobileNetV2, by name. Received: 'googlenet.npz'"),
        (
            {"backbone_weights": {"MobileNet": None}},
            "Weights are needed of MobileNet, MobileNetV2, by name. Received: weights of MobileNet",
        ),
        ({"frame_sizes": {"VGG16": 64}}, "The networks are MobileNet, MobileNetV2. Received: frame_sizes="),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        fusion_gru(**{"input_shape": SHAPE, "backbones": NAMES, **arguments})


def test_a_missing_file_is_named_before_any_network_is_built(monkeypatch):
    monkeypatch.setattr("har_tf.models.backbones.encode", None)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz: no such weights file \(of MobileNetV2\)"):
        fusion_gru(SHAPE, 4, NAMES, {"MobileNet": None, "MobileNetV2": "nowhere.npz"})


def test_a_head_for_other_features_is_refused(weights):
    with pytest.raises(ValueError, match=r"features \(time, channels\) of MobileNet of \(3, 7\).* give \(3, 64\)"):
        end_to_end(fusion_gru_head(3, {"MobileNet": 7}, 2, gru_units=(2,)), SHAPE, None, frame_sizes={"MobileNet": 32})
    with pytest.raises(ValueError, match=r"called features_<backbone>. Received: inputs \['clip'\]"):
        end_to_end(keras.Sequential([keras.Input((3, 7), name="clip"), keras.layers.Flatten()]), SHAPE, None)
    with pytest.raises(ValueError, match="at least one backbone. Received: features={}"):
        fusion_gru_head(3, {}, 2)


def test_overlays_of_small_frames_are_made_where_there_are_enough_cells():
    names = ("MobileNet", "MobileNetV2")
    for side, cells in ((64, 4), (128, 4), (160, 5)):
        model = fusion_gru((2, side, side, 3), 3, names, frame_sizes=dict.fromkeys(names, side), gru_units=(4,))
        shapes = {tap.name: tap.shape[1:3] for tap in taps(model)}
        chosen = fine_taps(model)
        assert {name: shapes[tap] for name, tap in chosen.items()} == dict.fromkeys(names, (cells, cells))
        assert (chosen == stream_taps(model)) == (side >= 128)
