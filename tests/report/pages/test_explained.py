"""Which clips stand for a class, and what is drawn of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from har_tf.explain import Explanation
from har_tf.report import plots
from har_tf.report.pages import explained
from har_tf.report.pages.explained import ClipPredictions, class_strips

LABELS = [0, 0, 0, 1, 1, 2, 2, 2]
# class a: 3 of 3, b: 1 of 2, c: 0 of 3; class d has no test clip
SCORES = [
    [0.7, 0.1, 0.1, 0.1],
    [0.9, 0.1, 0.0, 0.0],
    [0.5, 0.2, 0.2, 0.1],
    [0.2, 0.6, 0.1, 0.1],
    [0.8, 0.1, 0.1, 0.0],
    [0.4, 0.2, 0.3, 0.1],
    [0.1, 0.6, 0.2, 0.1],
    [0.1, 0.0, 0.3, 0.6],
]


@pytest.fixture
def answered():
    clips = np.zeros((8, 3, 16, 24, 3), np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None, None]
    test = SimpleNamespace(
        labels=np.array(LABELS, np.int32), class_names=("a", "b", "c", "d"), read=lambda positions: clips[positions],
        record_paths=[Path(f"v_{i}.avi") for i in range(8)],
    )  # fmt: skip
    return ClipPredictions(None, test, np.array(SCORES))


def explanation(empty, method="Grad-CAM", **settings):
    """Of class 0, of clips that have evidence or not."""
    maps = np.where(empty, 0, 1)[:, None, None, None]
    return Explanation(maps, maps, np.zeros(len(empty), int), maps, maps, method, settings)


def test_classes_are_ranked_by_their_share(answered):
    assert answered.ranked_classes() == [(0, 3, 3), (1, 1, 2), (2, 0, 3)]


def test_best_and_worst_classes_are_shown_by_their_surest_clips(answered, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "frame_strip", lambda rows, path: drawn.setdefault(path.name, rows))
    found = class_strips(answered, tmp_path, first_number=18, count=2)
    assert [section.title for section in found] == ["Figure 18: best recognised", "Figure 19: worst recognised"]
    assert {name: [(text, int(frames[0, 0, 0, 0])) for text, frames in rows] for name, rows in drawn.items()} == {
        "figure_18_best.png": [
            ("a, 3 of 3 recognised; here: a, 0.90 (v_1)", 1),
            ("b, 1 of 2 recognised; here: b, 0.60 (v_3)", 3),
        ],
        "figure_19_worst.png": [
            ("c, 0 of 3 recognised; here: c taken for b, 0.60 (v_6)", 6),
            ("b, 1 of 2 recognised; here: b taken for a, 0.80 (v_4)", 4),
        ],
    }


def test_without_a_wrong_answer_there_is_no_figure_of_the_worst(answered, tmp_path):
    test = SimpleNamespace(**{**vars(answered.test), "labels": np.array(SCORES).argmax(axis=1)})
    found = class_strips(ClipPredictions(None, test, np.array(SCORES)), tmp_path, 18)
    assert [section.title for section in found] == ["Figure 18: best recognised"]
    assert (tmp_path / "figure_18_best.png").is_file()


def test_the_overlays_of_all_taps_stand_together(answered, tmp_path, monkeypatch):
    asked, saved = [], {}

    def by_method(model, clips, methods, taps, **options):
        asked.append((methods, taps, *options.items()))
        return {name: explanation([False] * len(clips), tap=tap) for name, tap in (taps or {"": "last"}).items()}

    monkeypatch.setattr("har_tf.explain.by_method", by_method)
    monkeypatch.setattr("har_tf.explain.overlay", lambda clips, explanation: clips)
    monkeypatch.setattr(
        "har_tf.explain.save_overlay",
        lambda path, clips, several, index, **options: saved.setdefault(path.name, (list(several), index)),
    )
    taps = {"GoogLeNet": "G_5b", "MobileNet": "M_13"}
    two = ClipPredictions(None, answered.test, answered.probabilities, taps)
    right, wrong = explained.overlay_sections(two, tmp_path, 1)
    assert asked == [(("gradcam",), taps)] * 2, "one pass for both"
    assert saved == {"correct_1_a_v_1.mp4": (list(taps), 0), "misclassified_1_b_v_4.mp4": (list(taps), 0)}
    assert [section.title for section in (right, wrong)] == ["Overlay videos: correct", "Overlay videos: misclassified"]
    assert [video.caption for video in (*right.videos, *wrong.videos)] == [
        "a, 0.90 (v_1)", "b taken for a, 0.80 (v_4)",
    ]  # fmt: skip
    rows = []
    monkeypatch.setattr(plots, "frame_strip", lambda drawn, path: rows.extend(text for text, _ in drawn))
    figure = explained.frame_strip(two, [1], tmp_path / "s.png")
    assert rows == ["a, 0.90 (v_1)", "GoogLeNet", "MobileNet"]
    assert figure.caption.endswith("taken at G_5b and M_13.")
    explained.frame_strip(answered, [1], tmp_path / "s.png")
    assert rows[3:] == ["a, 0.90 (v_1)", ""], "one overlay stands close under its clip"
    for pool, told in (("spatial", "each frame by itself, equation (1)"), ("spatiotemporal", "clip, unlike equation")):
        of_pool = replace(answered, options={"pool": pool})
        assert told in explained.frame_strip(of_pool, [1], tmp_path / "s.png").caption
        assert asked[-1] == (("gradcam",), None, ("pool", pool))


def test_methods_stand_together(answered, tmp_path, monkeypatch):
    made = {
        "Sum 3DCAM": explanation([False], "Sum 3DCAM", taps=("conv", "layer1")),
        "Grad-CAM M_13": explanation([False], tap="M_13"),
    }
    asked, saved = [], []
    monkeypatch.setattr("har_tf.explain.by_method", lambda *args: asked.append(args[2:]) or made)
    monkeypatch.setattr("har_tf.explain.overlay", lambda clips, explanation: clips)
    monkeypatch.setattr("har_tf.explain.save_overlay", lambda path, clips, several, *a, **o: saved.append(several))
    both = ClipPredictions(None, answered.test, answered.probabilities, {"M": "M_13"}, ("3dcam", "gradcam"))
    explained.overlay_sections(both, tmp_path, 1)
    assert asked == [(("3dcam", "gradcam"), {"M": "M_13"})] * 2
    shown = [(list(some), [each.probability.item() for each in some.values()]) for some in saved]
    assert shown == [(list(made), [0.9, 0.9]), (list(made), [0.8, 0.8])], "as in the captions"
    figure = explained.frame_strip(both, [1], tmp_path / "s.png")
    assert figure.caption == "Every clip above its overlays: Sum 3DCAM at conv + layer1, Grad-CAM at M_13."


def test_a_sheet_says_where_there_is_no_evidence(tmp_path, monkeypatch):
    import keras

    clip = keras.Input((3, 8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(clip)
    x = keras.layers.Conv3D(1, 1, use_bias=False, name="red")(x)
    x = keras.layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, keras.layers.Dense(2, activation="softmax", use_bias=False, name="predictions")(x))
    model.set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 1, 3, 1), np.array([[4.0, -4.0]])])
    drawn = []
    monkeypatch.setattr(plots, "frame_strip", lambda rows, path, title, frames: drawn.append((rows, title)))
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, :4] = [200, 0, 0]
    explained.class_sheet(model, frames, tmp_path / "s.png", ("red", "plain"), title="v.mp4")
    ((rows, title),) = drawn
    assert title == "v.mp4: 3DCAM"
    assert [text.split(", p")[0] for text, _ in rows] == [
        "the clip",
        "first class: red",
        "second class: plain",
        "negation of the first: against red (no positive evidence)",
    ]
    assert rows[2][0].endswith("(no positive evidence)")
    assert (rows[1][1][1, :4] != frames[1, :4]).any()
    np.testing.assert_array_equal(rows[2][1], frames)


def test_overlays_lie_on_the_video_where_it_gives_the_stored_clip_again(answered, tmp_path, monkeypatch):
    from har_tf.explain import Sampled
    from har_tf.video import read_clip, write_video

    path = write_video(tmp_path / "v_1.mp4", np.random.default_rng(0).integers(0, 256, (9, 32, 48, 3), np.uint8))
    how = {"sampling": "uniform", "short": "repeat_last", "fit": "stretch"}
    answered.test.record_paths[1], answered.test.clip = path, how
    clip = read_clip(path, 3, (16, 24), **how)
    shown, size = explained._on_video(answered.test, 1, clip)
    assert isinstance(shown, Sampled) and shown.frames.tolist() == [0, 4, 8] and size is None
    assert explained._on_video(answered.test, 1, clip[::-1])[0] is not shown, "another clip"
    assert explained._on_video(answered.test, 2, clip)[0] is clip, "no such file"
    monkeypatch.setattr(explained, "LONGEST", 7)
    assert explained._on_video(answered.test, 1, clip)[0] is clip, "long"


def test_a_strip_says_where_there_is_no_evidence(answered, tmp_path, monkeypatch):
    found = explanation([False, True], tap="last")
    monkeypatch.setattr("har_tf.explain.by_method", lambda *args: {"": found})
    monkeypatch.setattr("har_tf.explain.overlay", lambda clips, explanation: clips)
    rows = []
    monkeypatch.setattr(plots, "frame_strip", lambda drawn, path: rows.extend(text for text, _ in drawn))
    explained.frame_strip(answered, [1, 4], tmp_path / "s.png")
    assert rows[1::2] == ["", "no positive evidence: the plain clip"]
