"""Windows of a video of which everything is known: a red square, then a green one, then nothing."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from har_tf.evaluate import untrimmed
from har_tf.evaluate.untrimmed import (
    ACROSS,
    AGAINST,
    CAM3D,
    GRADCAM,
    INSIDE,
    MOTION,
    OUTSIDE,
    Stream,
    Windows,
    example,
    measure,
    paint,
    streams_of,
    summary,
    timeline,
)
from har_tf.explain import explain_video, layerwise
from har_tf.video import probe, read_frames

HOW = Windows((16, 16), num_frames=4, stride=1, hop=2, fit="stretch", batch_size=4)
BOX = np.array([[2.0, 4, 10, 12]])


@pytest.fixture(scope="module")
def stream(make_video, tmp_path_factory):
    frames = np.zeros((24, 16, 16, 3), np.uint8)
    frames[:8, 4:12, 2:10, 0] = 200
    frames[8:16, 4:12, 2:10, 1] = 200
    path = make_video(tmp_path_factory.mktemp("video") / "a.avi", frames, codec="ffv1", pix_fmt="bgr0")
    return Stream(path, [(0, 0.0, 0.32), (1, 0.32, 0.64)], np.repeat(BOX, 24, axis=0))


@pytest.fixture(scope="module")
def model():
    """Red speaks for the first class, green against it, and the other way round; a channel's map is that colour."""
    clip = keras.Input((4, 16, 16, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(3, 1, activation="relu", use_bias=False, name="colours")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, "softmax", use_bias=False, name="predictions")(x))
    model.get_layer("colours").set_weights([np.eye(3).reshape(1, 1, 1, 3, 3)])
    model.get_layer("predictions").set_weights([np.array([[8.0, -4], [-4, 8.1], [0, 0]])])
    return model


@pytest.fixture(scope="module")
def windows(model, stream):
    return measure(model, ["colours"], stream, 0, [0, 1], HOW)[0]


def test_windows_are_inside_across_or_outside_an_action(windows):
    assert [window.kind for window in windows] == [INSIDE] * 3 + [ACROSS] + [INSIDE] * 3 + [ACROSS] + [OUTSIDE] * 3
    assert [window.right for window in windows] == [True] * 8 + [None] * 3
    assert [window.answer for window in windows[:8]] == [0] * 3 + [1] * 5, "half red and half green: green is stronger"
    assert windows[0].done == (0,) and windows[3].done == ()


def test_maps_are_empty_where_they_must_be(windows):
    """Behind global pooling beta is one number, 4 for either class: negated it is nowhere positive."""
    inner, outer = windows[0].maps, windows[9].maps
    assert [inner[CAM3D, rank]["empty"] for rank in ("first", "second", AGAINST)] == [0, 0, 1]
    assert [outer[CAM3D, rank]["empty"] for rank in ("first", "second", AGAINST)] == [1, 1, 1], "a black window"
    assert inner[CAM3D, "second"]["cosine"] == pytest.approx(1), "the same activation for every class"
    assert inner[GRADCAM, "second"]["empty"] == 1, "nothing but red, which speaks against green"
    assert inner[GRADCAM, AGAINST]["empty"] == 1 and inner[GRADCAM, "first"]["cosine"] == pytest.approx(1)
    assert inner[CAM3D, "first"]["in_box"] == pytest.approx(1, abs=0.01)
    assert windows[0].in_box == 64 / 256
    assert inner[CAM3D, AGAINST]["in_box"] is inner[CAM3D, AGAINST]["cosine"] is None
    # Half red, half green, green answered: red speaks against it.
    assert windows[3].maps[GRADCAM, AGAINST]["empty"] == 0


def test_evidence_on_the_right_side_of_a_cut(windows):
    """3DCAM does not tell the colours apart, Grad-CAM does."""
    frames, evidence = windows[3].sides[CAM3D]
    assert frames == 0.5 and evidence == pytest.approx(0.5, abs=0.02)
    assert windows[3].sides[GRADCAM] == (0.5, pytest.approx(1))
    assert windows[7].sides[CAM3D] == (0.5, pytest.approx(1)), "then nothing is there"
    assert windows[0].sides == {}


def test_when_a_class_is_done(model, stream):
    _, (red, green) = measure(model, ["colours"], stream, 0, [0, 1], HOW)
    assert (red.label, green.label, red.done.sum(), len(red.seconds)) == (0, 1, 8, 24)
    assert red.when(GRADCAM) == green.when(GRADCAM) == 1
    assert 0.5 < red.when(CAM3D) < 1, "green frames have as much"
    assert red.strength[MOTION][8] == red.strength[MOTION].max(), "the cut"
    assert [course.label for course in measure(model, ["colours"], stream, 0, [-1, 1], HOW)[1]] == [1]
    shown = timeline(stream, [red], ["red", "green"], "a", points=5)["rows"][0]
    assert (shown["class"], shown["spans"], len(shown["seconds"])) == ("red", [[0.0, 0.32]], 5)
    assert shown["curves"][GRADCAM][0] == 1


def test_the_summary_counts_every_window_once(windows, model, stream):
    _, found = measure(model, ["colours"], stream, 0, [0, 1], HOW)
    results = json.loads(json.dumps(summary(windows, found, ["red", "green"])))
    assert {kind: row["windows"] for kind, row in results["windows"].items()} == {INSIDE: 6, ACROSS: 2, OUTSIDE: 3}
    assert results["windows"][INSIDE]["right"] == {"value": 1.0, "interval": None, "count": 6}
    assert results["windows"][OUTSIDE]["right"] is None
    assert results["most_frequent"] == 0.5
    first, *_ = results["ranks"]
    assert (first["method"], first["rank"], first["empty"][OUTSIDE]["value"]) == (CAM3D, "first", 1)
    assert results["box"]["value"] == 0.25
    sides = {row["method"]: row["more"] for row in results["sides"]}
    assert sides[GRADCAM]["value"] == pytest.approx(0.5) and sides[CAM3D]["value"] == pytest.approx(0.25, abs=0.02)
    when = {row["name"]: row for row in results["when"]}
    assert when[GRADCAM]["value"] == 1 and when[GRADCAM]["count"] == 2
    assert results["classes"][0]["answered"] == 3


def test_windows_to_show_and_their_panels(windows, model, stream, tmp_path):
    shown = untrimmed.shown(windows)
    assert shown["cut"].kind == ACROSS and shown["classes"].right
    found = example(model, ["colours"], stream, windows[7], (["red", "green"], ["rot", "gruen"]), HOW)
    assert found.done == [["green"]] * 2 + [[]] * 2
    assert len(found.panels) == 4 and "first class: gruen" in next(iter(found.panels))
    paint(model, ["colours"], stream, tmp_path / "o.mp4", ["rot", "gruen"], HOW)
    assert probe(tmp_path / "o.mp4").frames == 24


def test_segments_of_a_file_are_one_stream(stream):
    from har_tf.datasets import ActionDataset, VideoRecord

    records = [
        VideoRecord(stream.path, label, "a", segment=(start, end)) for label, start, end in stream.segments[::-1]
    ]
    (found,) = streams_of(ActionDataset("x", stream.path.parent, tuple(records), ("red", "green")))
    assert found.segments == stream.segments and found.boxes is None
    assert found.truth(np.array([0.0, 0.31, 0.32, 2]), 2).tolist() == [[True, False]] * 2 + [
        [False, True],
        [False, False],
    ]


def test_what_was_found_survives_being_written(windows, model, stream):
    _, found = measure(model, ["colours"], stream, 0, [0, 1], HOW)
    plain = json.loads(json.dumps(untrimmed.as_plain(windows, found)))
    again, kept = untrimmed.from_plain(plain)
    assert summary(again, kept, ["red", "green"]) == summary(windows, found, ["red", "green"])
    assert again[3].frames.tolist() == windows[3].frames.tolist() and again[3].sides == windows[3].sides


def test_what_speaks_against_a_class_is_made_of_the_first_alone(model, stream, windows, monkeypatch):
    made, explained = [], untrimmed.explained

    def watched(found, taps, align, counterfactual):
        maps = explained(found, taps, align, counterfactual)
        made.append((counterfactual, len(maps[CAM3D]), len(maps[GRADCAM])))
        return maps

    monkeypatch.setattr(untrimmed, "explained", watched)
    again, _ = measure(model, ["colours"], stream, 0, [0, 1], HOW)
    rows = [min(HOW.batch_size, len(windows) - first) for first in range(0, len(windows), HOW.batch_size)]
    assert made == [call for n in rows for call in ((False, 2 * n, 2 * n), (True, n, n))]
    assert [window.maps for window in again] == [window.maps for window in windows]


def test_evidence_over_time_is_that_of_the_joined_maps(model, stream):
    """Those that `explain_video` makes of all windows at once, which takes the memory of the whole video."""
    inner = keras.layers.ReLU(name="again")(model.get_layer("colours").output)
    two = keras.Model(model.input, model.get_layer("predictions")(layers.GlobalAveragePooling3D()(inner)))
    taps = ["colours", "again"]
    _, (red, _) = measure(two, taps, stream, 0, [0, 1], HOW)

    def explain(clips):
        found = layerwise(two, clips, taps, 0)
        return {CAM3D: found.cam3d(normalize=None), GRADCAM: found.gradcam("again", normalize=None)}

    joined = explain_video(two, stream.path, explain, HOW.hop, HOW.stride, fit=HOW.fit, normalize=None)
    for name, one in joined.explanations.items():
        np.testing.assert_allclose(red.strength[name], one.maps[0].mean(axis=(1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(red.strength[untrimmed.ANSWER], joined.probability[joined.nearest], rtol=1e-6)


def test_a_window_is_decoded_once_and_each_of_its_classes_explained_once(model, stream, monkeypatch):
    """Of four classes the first three are explained of every window, and the fourth where it is done."""
    weights = np.array([[8.0, -4, 1, -9], [-4, 8.1, 1, -9], [0, 0, 1, -9]])
    x = layers.Dense(4, "softmax", use_bias=False, name="predictions")(model.layers[-2].output)
    four = keras.Model(model.input, x)
    four.get_layer("predictions").set_weights([weights])
    decoded, passes = [], []

    def read(path, indices, *more, **options):
        decoded.extend(np.unique(indices).tolist())
        return read_frames(path, indices, *more, **options)

    def explain(model, clips, taps, class_index=None, top=None, **options):
        found = layerwise(model, clips, taps, class_index, top, **options)
        passes.append(len(found.class_index))
        return found

    monkeypatch.setattr(untrimmed, "read_frames", read)
    monkeypatch.setattr(untrimmed, "layerwise", explain)
    how = replace(HOW, hop=4)  # no two windows share a frame
    windows, courses = measure(
        four, ["colours"], replace(stream, segments=[(0, 0.0, 0.32), (3, 0.32, 0.64)]), 0, range(4), how
    )
    assert decoded == list(range(24))
    assert len(windows) == 6 and sum(passes) == 6 * 4 and [course.label for course in courses] == [0, 3]
    expected = layerwise(four, read_frames(stream.path, np.arange(8, 12)[None], HOW.size, fit=HOW.fit), ["colours"], 3)
    np.testing.assert_allclose(courses[1].strength[untrimmed.ANSWER][8:12], expected.probability[0], rtol=1e-5)
    motion = courses[0].strength[MOTION]
    shown = read_frames(stream.path, np.arange(24), HOW.size, fit=HOW.fit).astype(np.float32)
    np.testing.assert_allclose(motion[1:], np.square(np.diff(shown, axis=0)).mean(axis=(1, 2, 3)), rtol=1e-5)
    assert motion[0] == motion[1]
