"""`python -m har_tf trust`: refusals that come before TensorFlow, and one small run."""

import json

import pytest

from har_tf import datasets
from har_tf.cli.trust import Measured, Trust


def test_what_is_wrong_is_said_before_a_model_is_loaded(tmp_path):
    for given, message in (
        ({"measured": Measured(methods="magic")}, "methods are some of"),
        ({"measured": Measured(explained=-1)}, "--explained must be at least 0"),
        ({"validation": 1.0}, "--validation must be between"),
        ({"called": "x"}, "--called takes CLASS OF THE DATA=CLASS OF THE MODEL"),
        ({}, "nowhere: no such folder"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            Trust(tmp_path / "m.keras", str(tmp_path / "nowhere"), out=tmp_path / "out", **given).run()


def test_a_saved_model_is_measured_on_a_folder_of_videos(tmp_path, capsys):
    from har_tf.classifier import Classifier
    from har_tf.models.zoo import named

    drawn = datasets.load("figures", tmp_path / "figures", clips=20, size=(32, 48), frames=8, workers=0)
    model = named("Frame-CNN").build((4, 32, 48, 3), 10, pool_sizes=(2, 2, 2), filters=(2, 2, 2))
    file = Classifier(model, drawn.class_names).save(tmp_path / "tiny.keras")
    few = Measured(methods="gradient", explained=0, sensitive=0, randomized=0, relied=4, corrupted=0)
    Trust(file, str(drawn.root), out=tmp_path / "out", workers=0, measured=few).run()
    found = json.loads((tmp_path / "out" / "results.json").read_text())["models"]["tiny"]
    assert found["clips"] == 20
    assert found["reliance"]["verdicts"]["order_blind"] is True
    assert "there are no validation clips" in capsys.readouterr().out
