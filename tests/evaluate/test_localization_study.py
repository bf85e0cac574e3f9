"""What is chosen on held-out clips, and which rows there are."""

import keras
import numpy as np
import pytest

from har_tf import devices
from har_tf.evaluate.boxed_clips import BoxedClip, BoxedVideos
from har_tf.evaluate.controls import CONTROLS
from har_tf.evaluate.localization import Overlaps
from har_tf.evaluate.localization_study import Setting, Study, outputs_of
from har_tf.evaluate.map_rows import layer, paper_rows, runs
from har_tf.evaluate.matching import Asked
from har_tf.evaluate.options import Clips


def test_thresholds_come_from_the_given_frames_and_one_holds_for_all():
    """Two frames, three thresholds: the oracle would have both right, one threshold has the second one alone."""
    table = Overlaps(np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.6]]), np.array([0.2, 0.5, 0.8]), "all")
    assert Study(ious=(0.5, 0.8)).best(table) == Setting(0.2, 0.5)
    assert Study(ious=(0.5, 0.95)).best(table, 0.1) == Setting(0.2, 0.25, 0.1)


def test_outputs_are_found_by_name():
    assert outputs_of(["Wave", "run"], ["run", "walk", "wave"]) == [2, 0]
    assert outputs_of(["n01440764", "n02012849"], ["n02012849 crane", "n01440764 tench"]) == [1, 0]
    assert outputs_of(["wave", "jump"], ["wave"]) == [0, -1]
    assert outputs_of(["jump"], ["wave"]) is None
    assert outputs_of(["jump"], None) is None
    with pytest.raises(ValueError, match="the model has none for jump. --class-names"):
        outputs_of(["wave", "jump"], ["wave"], needed=True)
    with pytest.raises(ValueError, match=r"none for a, b, c, d, e \.\.\."):
        outputs_of("abcdef", None, needed=True)


def test_the_model_may_call_a_class_otherwise():
    outputs = ["surfing water", "run", "Surfing"]
    assert outputs_of(["Surfing", "run"], outputs, called={"surfing": "Surfing Water"}) == [0, 1]
    with pytest.raises(ValueError, match="the model has no class 'surfing wave'. Closest: surfing water"):
        outputs_of(["Surfing"], outputs, called={"Surfing": "surfing wave"})
    with pytest.raises(ValueError, match="the data has no class 'Surfin'"):
        outputs_of(["Surfing"], outputs, called={"Surfin": "run"})


def test_a_model_has_the_rows_that_its_layers_allow():
    assert paper_rows(0) == runs(0) == []
    assert [row.name for row in paper_rows(1)] == ["Grad-CAM conv", "3DCAM conv"]
    assert {f"Grad-CAM {layer(i)}" for i in range(5)} <= {row.name for row in paper_rows(5)}
    assert {row.name for row in runs(1)} == {"Grad-CAM conv", "3DCAM conv"}
    assert {row.name for row in runs(2)} == {"Grad-CAM conv", "Grad-CAM layer 1", "Sum Grad-CAM (conv, 1)"} | {
        "Sum 3DCAM (conv, 1)"
    }
    assert len(paper_rows(5)) == len(set(paper_rows(5))) == 18
    assert len(runs(5)) == 10 + 15


class Drawn(BoxedVideos):
    """Videos of one clip of two frames each, of noise, of which the one named `broken` cannot be read."""

    broken = None

    def clips(self, records=None):
        for name in records:
            if name == self.broken:
                raise KeyboardInterrupt
            frames = np.random.default_rng(int(name)).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
            boxes = {1: np.array([[2.0, 2, 10, 10]])}
            yield BoxedClip(name, name, 0, frames, boxes, boxes)

    def about(self, records):
        return list(records)


def test_a_run_that_was_killed_goes_on_from_the_parts_that_are_done(tmp_path, monkeypatch):
    names = [str(i) for i in range(40)]
    videos = Drawn(tmp_path, (2, 16, 16, 3), Clips(), dict.fromkeys(names), [], [])
    blurs = {row: [0.0, 0.1] for row in CONTROLS}
    whole = Study(ious=(0.3, 0.5), workers=2).measure(videos, blurs)
    kept = Study(ious=(0.3, 0.5), folder=tmp_path / "boxes")
    monkeypatch.setattr(Drawn, "broken", "35")
    with pytest.raises(KeyboardInterrupt):
        kept.measure(videos, blurs)
    assert len(list((tmp_path / "boxes").iterdir())) == 2, "of 16 videos each"
    monkeypatch.setattr(Drawn, "broken", "7")  # which nobody asks for again
    again = kept.measure(videos, blurs)
    assert again.units.videos == whole.units.videos == names
    for key, table in whole.tables.items():
        np.testing.assert_array_equal(again.tables[key].count, table.count)
        np.testing.assert_array_equal(again.hits[key], whole.hits[key])
    assert any(table.count.any() for table in whole.tables.values())
    with pytest.raises(KeyboardInterrupt):  # another question is asked of all videos
        Study(ious=(0.3, 0.6), folder=tmp_path / "boxes").measure(videos, blurs)


def test_parts_of_other_layers_or_another_precision_are_not_taken_up():
    clip = keras.Input((2, 8, 8, 3))
    models = [keras.Model(clip, keras.layers.Activation(name)(clip)) for name in ("relu", "relu", "tanh")]
    asked = Asked({}, (0.5,), "largest")
    first, same, other = (Study(model)._about(asked)["model"] for model in models)
    devices.set_precision("mixed_bfloat16")
    try:
        half = Study(models[0])._about(asked)["model"]
    finally:
        devices.set_precision("float32")
    assert first == same and len({first, other, half}) == 3
