"""Trust of a model whose way of answering is known: it compares the left half of every frame with the right one."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from har_tf import explain, scrutiny
from har_tf.evaluate.labelled_clips import LabelledClips
from har_tf.evaluate.options import Trust
from har_tf.files.json_text import parse_json

CLIPS, FRAMES, SIDE = 24, 3, 16


def left_or_right() -> keras.Model:
    """Class 0: the left half is brighter; class 1: the right one. It averages over frames, so it is blind to order."""
    clip = keras.Input((FRAMES, SIDE, SIDE, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(1, (1, 4, 4), (1, 4, 4), use_bias=False, kernel_initializer="ones", name="cells")(x)
    x = layers.AveragePooling3D((FRAMES, 4, 2), name="halves")(x)
    x = layers.Flatten()(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", use_bias=False, name="predictions")(x))
    model.get_layer("predictions").set_weights([np.array([[0.5, -0.5], [-0.5, 0.5]])])
    return model


def very_bright_left_or_right() -> keras.Model:
    """The same of what is brighter than 0.8, which nothing is in a blurred clip."""
    clip = keras.Input((FRAMES, SIDE, SIDE, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(1, 1, activation="relu", name="bright")(x)
    x = layers.AveragePooling3D((FRAMES, SIDE, SIDE // 2), name="halves")(x)
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(layers.Flatten()(x)))
    model.get_layer("bright").set_weights([np.full((1, 1, 1, 3, 1), 1 / 3), np.array([-0.8])])
    model.get_layer("predictions").set_weights([np.array([[100, -100], [-100, 100]]), np.zeros(2)])
    return model


def spots(seed: int) -> LabelledClips:
    """A bright spot on grey, on the left or the right, at a random height; every clip is its own recording."""
    rng = np.random.default_rng(seed)
    clips = rng.integers(100, 110, (CLIPS, FRAMES, SIDE, SIDE, 3)).astype("uint8")
    labels, boxes = np.arange(CLIPS) % 2, []
    for clip, label in zip(clips, labels, strict=True):
        top, left = 4 * rng.integers(0, 4), 8 * label + 4 * rng.integers(0, 2)
        clip[:, top : top + 4, left : left + 4] = 255
        boxes.append({t: np.array([[left, top, left + 4, top + 4]], float) for t in range(FRAMES)})
    names = tuple(f"r{seed}_{i}" for i in range(CLIPS))
    return LabelledClips(names, clips, labels, names, tuple(boxes), ({},) * CLIPS)


@pytest.fixture(scope="module")
def found():
    options = Trust(
        methods="gradcam,gradient-x-input", method_options="pool=spatial", explained=16, steps=16,
        axes="space,both", fills="mean", sensitive=2, randomized=8, randomizations=2, relied=16, corrupted=0,
    )  # fmt: skip
    return scrutiny.measure(left_or_right(), spots(1), spots(2), options)


def test_what_the_model_uses_is_found_out(found):
    results = found.results
    assert (results["clips"], results["recordings"], results["accuracy"]["mean"]) == (CLIPS, CLIPS, 1.0)
    verdicts = results["reliance"]["verdicts"]
    assert (verdicts["order_blind"], verdicts["order"], verdicts["motion"]) == (True, "no", "no")
    assert verdicts["sides"] == "yes"
    assert results["reliance"]["effects"]["mirrored"]["accuracy"]["mean"] == 0
    assert verdicts["worst"] == []  # not asked for


def test_a_map_of_what_it_reads_is_better_than_every_control(found):
    rows = {row["name"]: row for row in found.results["explanations"]["rows"]}
    assert [name for name, row in rows.items() if row["kind"] == "control"] == [
        "Control: centred Gaussian",
        "Control: uniform",
        "Control: frame differences",
        "Control: noise",
        "Control: another clip's Grad-CAM",
    ]
    assert [row["method"] for row in rows.values()][:3] == ["Grad-CAM", "Gradient x input", "centred Gaussian"]
    own = rows["Gradient x input"]
    assert own["beats_controls"] == {"space": True, "both": True}
    assert own["gain"]["both"]["mean"] > rows["Control: noise"]["gain"]["both"]["mean"] + 0.3
    assert own["boxes"]["pointing"]["space"]["mean"] == 1
    assert own["boxes"]["energy"]["space"]["mean"] > 16 / 256
    assert own["sensitivity"]["clips"] == 2
    randomized = found.results["explanations"]["randomization"]
    assert (randomized["clips"], randomized["draws"]) == (8, 1)
    assert randomized["methods"]["Gradient x input"]["independent"] == [], "nothing shows it"


def test_probabilities_of_a_model_that_is_always_right_are_left_as_they_are(found):
    probabilities = found.results["probabilities"]
    assert "answered rightly" in probabilities["not_fitted"]
    assert found.calibration is None
    assert probabilities["as_trained"]["accuracy"] == 1


def test_everything_is_kept_as_plain_values_and_some_clips_for_pictures(found):
    assert parse_json(json.dumps(found.results).encode())["clips"] == CLIPS
    assert len(found.shown) == 2
    assert {len(each) for each in found.explanations.values()} == {2}


def test_maps_of_the_same_weights_are_called_unchanged_by_random_labels():
    model, few = left_or_right(), Trust(methods="gradient-x-input", randomized=8)
    compared = scrutiny.beside_random_labels(model, model, spots(1), few)
    assert compared["methods"]["Gradient x input"]["outcome"] == "unchanged"
    assert compared["accuracy"]["mean"] == 1


def test_of_maps_that_a_report_shows_little_is_measured_beside_the_controls():
    """Gradient x input marks the bright spot; the maps of "edges" are made of the clip alone, whatever the weights."""
    model, few = very_bright_left_or_right(), spots(3).spread(8)

    def explained(model, clips, class_index=None):
        (own,) = explain.by_method(model, clips, ["gradient-x-input"], class_index=class_index).values()
        edges = np.abs(np.diff(clips.mean(axis=-1), axis=3, prepend=0)).astype("float32")
        return {"": own, "Edges": replace(own, maps=edges / edges.max(), method="Edges")}

    found = scrutiny.short(model, few.clips, few.groups, explained)
    rows = {row["name"]: row for row in found["rows"]}
    assert (found["clips"], found["recordings"], list(rows)[:2]) == (8, 8, ["Gradient x input", "Edges"])
    own = rows["Gradient x input"]
    assert own["gain"]["both"]["clips"] == 8 and own["beats_controls"] == {"both": True}
    # 16 of 256 pixels go in the first of 8 steps: deletion 1/16, insertion 15/16.
    assert own["gain"]["both"]["mean"] == pytest.approx(14 / 16, abs=0.02)
    outcomes = {name: each["outcome"] for name, each in found["randomization"]["methods"].items()}
    assert outcomes["Edges"] == "unchanged"
    assert len(found["randomization"]["methods"]["Edges"]["cascading"]) == 2  # its two layers that have weights
    assert parse_json(json.dumps(found).encode())["steps"] == 8
    asked = scrutiny.short(model, few.clips, few.groups, explained, class_index=1)
    assert (
        asked["rows"][0]["gain"]["both"]["left_out"] == 4
    )  # of the clips of class 0, class 1 gains when all is blurred


def test_options_are_checked_before_anything_is_computed():
    with pytest.raises(ValueError, match="methods are some of gradcam"):
        Trust(methods="gradcam,magic").check()
    with pytest.raises(ValueError, match=r"--axes are some of space, time, both.*Received: sideways"):
        Trust(axes="sideways").check()
    with pytest.raises(ValueError, match="--fills neighbour is for whole frames"):
        Trust(fills="neighbour").check()
    with pytest.raises(ValueError, match="options of these methods are"):
        Trust(methods="gradcam", method_options="masks=3").check()
    for given, message in (
        ({"explained": 1}, "--explained compares clips .* Received: 1"),
        ({"randomized": 1}, "--randomized compares clips .* Received: 1"),
        ({"randomizations": 0}, "--randomizations must be at least 1.* Received: 0"),
        ({"draws": 0}, "--draws must be at least 1"),
        ({"steps": 1}, "--steps must be between 2 and 255"),
    ):
        with pytest.raises(ValueError, match=message):
            scrutiny.measure(left_or_right(), spots(1), None, Trust(**given))
    with pytest.raises(ValueError, match=r"2 clips at least. Received: 1 \(r1_0\)"):
        scrutiny.measure(left_or_right(), spots(1).only([0]))


def test_what_cannot_be_computed_for_a_model_leaves_the_rest(monkeypatch):
    """Two methods at taps and random weights fail, as of a network without feature maps or without a graph."""
    few = Trust(
        methods="gradcam,gradient,rise", method_options="gradcam.pool=spatial,rise.number=4", explained=2, steps=2,
        axes="both", fills="mean", sensitive=0, randomized=2, relied=0,
    )  # fmt: skip

    def failing(model, clips, methods, **options):
        if methods == ["gradcam"]:
            raise ValueError("no feature map")
        return by_method(model, clips, methods, **options)

    def no_graph(*_, **__):
        raise ValueError("no graph")

    by_method = explain.by_method
    monkeypatch.setattr(explain, "by_method", failing)
    monkeypatch.setattr(scrutiny.randomization, "measure", no_graph)
    found = scrutiny.measure(left_or_right(), spots(1), None, few).results
    assert found["explanations"]["not_defined"] == {"Grad-CAM": "no feature map"}
    assert [row["method"] for row in found["explanations"]["rows"]][:3] == ["Gradient", "RISE", "centred Gaussian"]
    assert found["explanations"]["randomization_not_measured"] == "no graph"
    nothing = scrutiny.measure(left_or_right(), spots(1), None, replace(few, methods="gradcam", method_options=None))
    assert nothing.results["explanations_not_measured"] == {"Grad-CAM": "no feature map"}
    assert nothing.results["probabilities"]["as_trained"]["accuracy"] == 1


def test_controls_that_order_nothing_along_an_axis_count_once():
    few = Trust(
        methods="gradient-x-input", explained=4, steps=2, axes="space,time,both", fills="mean", sensitive=0,
        randomized=0, relied=0,
    )  # fmt: skip
    rows = scrutiny.measure(left_or_right(), spots(1), None, few).results["explanations"]["rows"]
    against = {axis: [name.removeprefix("Control: ") for name in found] for axis, found in rows[0]["beside"].items()}
    every = ["centred Gaussian", "uniform", "frame differences", "noise", "another clip's Gradient x input"]
    assert against == {"space": every, "time": [name for name in every if name != "uniform"], "both": every}


def test_test_clips_are_answered_once(monkeypatch):
    asked = []
    predict = scrutiny.devices.predict
    monkeypatch.setattr(scrutiny.devices, "predict", lambda *given: asked.append(len(given[1])) or predict(*given))
    scrutiny.measure(left_or_right(), spots(1), spots(2).only(range(4)), Trust(explained=0, relied=0))
    assert asked == [CLIPS, 4]
