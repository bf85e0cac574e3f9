"""Random weights: what known methods come out as, that a copy gets them, and that its graph is compiled once."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from small_models import small_model

from har_tf.evaluate import randomization
from har_tf.evaluate.controls import edges, frame_difference
from har_tf.evaluate.map_similarity import RANK, SSIM, Outcome
from har_tf.evaluate.randomization import measure
from har_tf.explain import by_method
from har_tf.explain.gradcam import gradcam


@pytest.fixture(scope="module")
def trained():
    """(model, clips, labels): a bright square moves on the left or on the right, in noise."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    clips = rng.integers(0, 60, (64, 4, 16, 24, 3), dtype=np.uint8)
    for clip, label in zip(clips, labels, strict=True):
        top, left = rng.integers(0, 10), rng.integers(0, 5) + 14 * label
        for t, frame in enumerate(clip):
            frame[top + t : top + t + 3, left : left + 4] = 220
    clip = keras.Input((4, 16, 24, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(clip)
    for number in (1, 2):
        x = layers.Conv3D(8, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"bn{number}")(x)
        x = layers.Activation("relu")(x)
    x = layers.Flatten()(layers.AveragePooling3D((1, 4, 4))(x))
    model = keras.Model(clip, layers.Dense(2, "softmax", name="predictions")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(clips, labels, batch_size=16, epochs=6, verbose=0).history
    assert history["accuracy"][-1] > 0.95
    return model, clips[:10], labels[:10]


def methods(model, clips, class_index):
    return {
        "Grad-CAM": gradcam(model, clips, "conv2", class_index),
        "edges": np.stack([edges(clip) for clip in clips]),
        "frame differences": np.stack([frame_difference(clip) for clip in clips]),
    }


@pytest.fixture(scope="module")
def found(trained):
    model, clips, _ = trained
    return measure(model, clips, methods, steps=3)


def test_what_does_not_read_the_weights_is_named_so(found):
    for name in ("edges", "frame differences"):
        method = found.methods[name]
        assert method.outcome is Outcome.UNCHANGED
        assert all(point.similarity.means[RANK].mean == 1 for point in (*method.cascading, *method.independent))


def test_the_explanation_of_a_trained_network_changes(found):
    method = found.methods["Grad-CAM"]
    assert method.outcome in (Outcome.CHANGES, Outcome.PARTLY)
    assert method.repeated.means[SSIM].mean == pytest.approx(1, abs=1e-5)
    curve = [point.similarity.means[RANK].mean for point in method.cascading]
    assert curve[-1] < 0.6 and curve[-1] < method.repeated.means[RANK].mean


def test_layers_go_from_the_output_to_the_input(found):
    names = ("predictions", "bn2", "conv2", "bn1", "conv1")
    for curve in (found.methods["edges"].cascading, found.methods["edges"].independent):
        assert [point.layers for point in curve] == [names[:2], names[2:4], names[4:]]
    assert found.layers == 5


def test_results_are_plain(found):
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["methods"]["edges"]["outcome"] == "unchanged"
    assert plain["methods"]["Grad-CAM"]["independent"][1]["layers"] == ["conv2", "bn1"]
    assert plain["methods"]["Grad-CAM"]["random"]["similarity"]["rank"]["clips"] == 10


def test_classes_stay_those_of_the_trained_network(trained, found):
    model, clips, _ = trained
    asked = []

    def explain(model, clips, class_index):
        asked.append(class_index.tolist())
        return {"edges": np.stack([edges(clip) for clip in clips])}

    measure(model, clips, explain, steps=2, independent=False)
    answers = model.predict(clips, verbose=0).argmax(axis=1).tolist()
    assert asked == [answers] * 4, "the trained network twice, and two points"
    original = explain(model, clips, np.array(answers))
    asked.clear()
    measure(model, clips, explain, 1, original, steps=1, independent=False)
    assert asked == [[1] * 10] * 2, "its maps were at hand"


def test_the_graph_is_compiled_once_and_the_model_is_not_touched(trained, monkeypatch):
    model, clips, _ = trained
    before, calls = model.get_weights(), []
    call = layers.Conv3D.call
    monkeypatch.setattr(layers.Conv3D, "call", lambda self, x: calls.append(self) or call(self, x))
    numbers = []

    def explain(model, clips, class_index):
        found = by_method(model, clips, ["gradcam"], class_index=class_index)
        numbers.append(len(calls))
        return found

    measure(model, clips, explain, steps=4)
    assert len(numbers) == 10 and numbers[1] == numbers[-1], "no layer is traced after the first point"
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_an_interrupted_measurement_leaves_the_model_as_it_was(trained):
    model, clips, _ = trained
    before, seen = model.get_weights(), []

    def explain(other, clips, class_index):
        seen.append(other.get_weights()[0])
        if len(seen) == 4:
            raise KeyboardInterrupt
        return methods(other, clips, class_index)

    with pytest.raises(KeyboardInterrupt):
        measure(model, clips, explain, steps=2)
    assert not np.array_equal(seen[-1], seen[0]), "a network that had become random was explained"
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_random_weights_are_those_that_a_training_starts_with(trained):
    model, clips, _ = trained
    copy = randomization._Copy(model, clips, 5)
    copy.draw(0)
    head, _, conv2, bn1, _ = copy.blocks
    for block in (head, conv2, bn1):
        copy.make_random(block)
    named = {layer.name: layer for layer in copy.model.layers}
    assert [w.tolist() for w in named["bn1"].get_weights()] == [[1.0] * 8, [0.0] * 8, [0.0] * 8, [1.0] * 8]
    assert not np.array_equal(named["conv2"].get_weights()[0], model.get_layer("conv2").get_weights()[0])
    limit = np.sqrt(6 / (27 * 16))  # of Glorot's uniform numbers
    assert 0.9 * limit < np.abs(named["conv2"].get_weights()[0]).max() <= limit
    assert not named["predictions"].get_weights()[1].any()
    for name in ("bn2", "conv1"):
        np.testing.assert_array_equal(named[name].get_weights(), model.get_layer(name).get_weights())
    copy.restore()
    assert all(np.array_equal(a, b) for a, b in zip(copy.model.get_weights(), model.get_weights(), strict=True))


def test_networks_are_drawn_by_the_seed_alone(trained):
    import random

    model, clips, _ = trained
    state, drawn = random.getstate(), []
    for seed in (0, 0, 1):
        copy = randomization._Copy(model, clips, 1)
        copy.draw(seed)
        copy.make_random(copy.blocks[0])
        drawn.append(copy.model.get_weights()[0])
        random.random()
    random.setstate(state)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_kernels_that_start_from_one_number_are_shuffled():
    rng = np.random.default_rng(0)
    old = np.arange(6.0).reshape(2, 3)
    for fresh in (np.zeros((2, 3)), old):  # zeros hand on nothing; the same numbers change nothing
        made = randomization._random(fresh, old, rng)
        assert sorted(made.ravel()) == sorted(old.ravel()) and not np.array_equal(made, old)
    assert not randomization._random(np.zeros(3), np.arange(3.0), rng).any(), "a bias starts from 0"


def test_several_networks_are_averaged(trained):
    model, clips, _ = trained

    def explain(model, clips, class_index):
        kernel = np.abs(model.get_layer("conv1").get_weights()[0]).reshape(1, 3, 27, 8)
        return {"a": kernel * clips[:, :3, :1, :1, 0]}

    one = [measure(model, clips, explain, steps=1, independent=False, seed=seed) for seed in (3, 4)]
    both = measure(model, clips, explain, steps=1, independent=False, seed=3, draws=2)
    curves = [run.methods["a"].cascading[0].similarity.values[RANK] for run in (*one, both)]
    np.testing.assert_allclose(curves[2], (curves[0] + curves[1]) / 2, atol=1e-6)
    assert not np.allclose(curves[0], curves[1])


# Of recurrent layers, depthwise and grouped convolutions, a bias table and a gate that starts from zero.
@pytest.mark.parametrize("name", ["cnn_gru", "frame_cnn", "resnext3d, B", "video_swin", "gated"])
def test_every_architecture_is_copied_and_made_random(name):
    model = small_model(name)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (1, *model.input_shape[1:])).astype(model.inputs[0].dtype)
    copy = randomization._Copy(model, clips, 10**6)  # which compares its answers with the model's
    covered = {id(weight) for block in copy.blocks for layer in block for weight in copy._own(layer)}
    assert covered == {id(weight) for weight in copy.model.weights}, "statistics, tables and recurrent kernels too"
    copy.draw(0)
    for block in copy.blocks:
        copy.make_random(block)
    for old, new in zip(model.get_weights(), copy.model.get_weights(), strict=True):
        assert old.ndim == 1 or np.ptp(old) == 0 or not np.array_equal(old, new)
    assert np.isfinite(copy.model(clips).numpy()).all()


def test_what_is_refused(trained):
    model, clips, _ = trained
    with pytest.raises(ValueError, match="steps=0"):
        measure(model, clips, methods, steps=0)
    with pytest.raises(ValueError, match="takes two clips"):
        measure(model, clips[:1], methods)
    with pytest.raises(ValueError, match=r"\['other'\], then \['Grad-CAM', 'edges', 'frame differences'\]"):
        measure(model, clips, methods, original={"other": np.ones((10, 4, 16, 24))}, steps=1)
    clip = keras.Input((4, 16, 24, 3), dtype="uint8")
    bare = keras.Model(clip, layers.Softmax()(layers.GlobalAveragePooling3D()(layers.Rescaling(1.0)(clip))))
    with pytest.raises(ValueError, match="no layer with weights"):
        measure(bare, clips, methods)
