"""`experiments.trust` on embedded data, at a tiny size, and `har_tf trust` on a model that it trained."""

import json
import re
from pathlib import Path

import pytest

from experiments import trust
from har_tf.experiment import changed
from har_tf.report.publish import publish

SMALL = {
    "methods": "gradcam,gradient", "method_options": None, "explained": 6, "steps": 3, "axes": "both", "fills": "mean",
    "sensitive": 0, "randomized": 6, "randomizations": 2, "relied": 12, "corrupted": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trust")
    recipe = changed(
        trust.PRESETS["figures"], clips=80, size=(32, 48), num_frames=4, networks="Frame-CNN",
        epochs_of="Frame-CNN=1", batch_size=8,
        validation=0.4, random_labels=True, workers=0, out=out, run="tiny", **SMALL,
    )  # fmt: skip
    trust.main(recipe)
    return out / "trust" / "tiny"


def test_the_run_has_methods_beside_controls_and_what_the_model_uses(run):
    found = json.loads((run / "results.json").read_text())["models"]["Frame-CNN"]
    rows = found["explanations"]["rows"]
    assert [row["kind"] for row in rows] == ["method"] * 2 + ["control"] * 5
    assert found["reliance"]["verdicts"]["order_blind"] is True
    assert found["random_labels"]["methods"].keys() == found["explanations"]["randomization"]["methods"].keys()
    assert found["explanations"]["boxed"] == 6
    results = json.loads((run / "results.json").read_text())
    assert (found["trained_here"], found["left_out"], results["dataset"]["skipped"]) == (True, 0, 0)
    assert "may_have_trained_on_these" not in found
    assert re.search(r"best epoch by .*: \d+ choose it, [1-9]\d* of other rec", results["split"]["validation_text"])


def test_the_page_can_be_written_again_and_shows_every_part(run):
    page = publish(run).read_text()
    for heading in ("Which method for which model", "Frame-CNN: what it uses", "Frame-CNN: probabilities"):
        assert heading in page
    assert "Trained on labels that were dealt out anew" in page
    assert (run / "tables" / "Frame-CNN_gains.csv").is_file()
    assert (run / "figures" / "methods_by_model.png").is_file()


def test_of_saved_models_it_is_said_that_their_training_clips_are_not_known(run):
    saved_file = next((run / "training").glob("Frame-CNN/**/model.keras"))
    recipe = changed(
        trust.PRESETS["figures"], clips=80, size=(32, 48), out=run.parents[1], run="saved", model=str(saved_file),
        protocol="group", validation=0.4, workers=0, **SMALL | {"explained": 0, "relied": 0},
    )  # fmt: skip
    trust.main(recipe)
    results = json.loads((run.parent / "saved" / "results.json").read_text())
    found = results["models"]["model"]
    assert (found["trained_here"], found["may_have_trained_on_these"], found["clips"]) == (False, True, 20)
    assert results["split"]["validation_text"].startswith("probabilities calibrated on 40 %")
    assert found["probabilities"].keys() & {"fitted_on", "not_fitted"}
    page = (run.parent / "saved" / "report.html").read_text()
    assert "may have been trained on some of these clips" in page and "best epoch by" not in page


def test_options_that_do_not_go_together_are_refused_before_anything_is_drawn(run, tmp_path):
    saved_file = str(next((run / "training").rglob("model.keras")))
    recipe = changed(trust.PRESETS["figures"], out=tmp_path / "runs")
    for options, message in (
        ({"model": __file__}, "not a .keras model file"),
        ({"called": "a=b"}, "--called names classes of --model"),
        ({"boxes": tmp_path}, "--boxes is for videos of UCF101"),
        ({"methods": "magic"}, "methods are some of"),
        ({"networks": "Magic"}, "Magic"),
        ({"epochs_of": "MobileNetV2=3"}, "--epochs-of is of --networks CNN-GRU.*Received: MobileNetV2"),
        ({"model": saved_file, "called": "a"}, "--called takes CLASS OF THE DATA"),
        ({"model": saved_file, "strategy": "multiworker"}, "nothing to train"),
        ({"randomizations": 0}, "--randomizations must be at least 1"),
        ({"epochs_of": "CNN-GRU"}, "--epochs-of takes NETWORK=EPOCHS.*Received: CNN-GRU"),
        ({"model": "nothing.keras"}, "nothing.keras: no such file"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            trust.main(changed(recipe, **options))
    assert not (tmp_path / "runs").exists()
