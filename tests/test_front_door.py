"""`har.train`: one call from videos to a classifier, its report and the split it was measured on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import har_tf
from har_tf.classifier import Classifier
from har_tf.datasets import DatasetError
from har_tf.experiment import Training
from har_tf.front_door import load, train
from har_tf.models import saving
from har_tf.report import run_folder
from har_tf.report.publish import publish
from har_tf.report.run_folder import environment

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = {"filters": (4, 8, 8), "pool_sizes": (2, 2, 2)}


@pytest.fixture(scope="module")
def dataset(tiny_recipe):
    """The clips of the first experiment's small run."""
    return tiny_recipe.embedded.draw(tiny_recipe.output, size=tiny_recipe.size)


@pytest.fixture(scope="module")
def call(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    return lambda: train(
        "Frame-CNN", dataset, out, size=(32, 48), options=SMALL, recipe=Training(epochs=1, validation=0.25),
        overlays=1, trusted=2, workers=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(call):
    return call()


def test_clips_of_one_recording_stay_together_and_the_split_is_audited(trained):
    results = trained.results
    assert results["protocol"] == "group"
    assert results["overlap"]["with_sibling"] == 0
    assert results["overlap"]["near_identical"] is not None, "looked for"
    assert results["clips"]["test"] == len(trained.test) == 10
    assert sum(results["clips"].values()) == 60
    assert "at least 20 clips" in results["model"]["probabilities"]["not_fitted"]


def test_the_classifier_gives_the_measured_accuracy_on_the_files(trained):
    predictions = trained.classifier.predict([record.path for record in trained.test.records])
    labels = [record.label for record in trained.test.records]
    accuracy = (predictions.probabilities.argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(trained.results["model"]["accuracy"])
    assert trained.classifier.class_names == trained.test.class_names


def test_the_report_says_what_chance_is_and_is_made_again_from_the_folder(trained):
    assert trained.results["most_frequent_class"] == 0.1
    page = (trained.path / "report.html").read_text()
    assert "always the most frequent class: 0.1000" in page
    assert "best epoch by 25 % of the training part, drawn from the seed" in page
    assert "no temperature was fitted: a temperature is fitted on at least 20 clips. Received: 10." in page
    for name in (
        "model.keras",
        "model_card.md",
        "tables/probabilities.csv",
        "results.json",
        "skipped.csv",
        "history.csv",
        "tables/classification.md",
    ):
        assert (trained.path / name).is_file()
    assert list((trained.path / "overlays").glob("*.mp4")) and "Do these maps deserve trust?" in page
    (trained.path / "report.html").unlink()
    publish(trained.path)
    assert (trained.path / "report.html").read_text() == page
    assert np.sum(json.loads((trained.path / "results.json").read_text())["model"]["confusion"]) == 10


def test_the_same_call_trains_nothing_again(trained, call):
    state = trained.path / "training" / "state.npz"
    before = state.stat().st_mtime_ns
    assert call().results["model"]["accuracy"] == trained.results["model"]["accuracy"]
    assert state.stat().st_mtime_ns == before


def test_a_finished_run_that_was_moved_is_reused_and_keeps_its_date(miniature, tmp_path, monkeypatch, capsys):
    def call(data, out):
        return train(
            "Frame-CNN", data, out, size=(32, 48), options=SMALL, recipe=Training(epochs=1, validation=0.25),
            overlays=0, trusted=0, workers=0,
        )  # fmt: skip

    def dated():
        return json.loads((run / "environment.json").read_text())["date"], saving.provenance(run / "model.keras")

    monkeypatch.setattr(run_folder, "environment", lambda: environment() | {"date": next(dates)})
    dates = iter("abcdef")
    root = shutil.copytree(miniature, tmp_path / "a" / "videos")
    run = call(root, tmp_path / "a" / "runs" / "x").path
    before = dated()
    capsys.readouterr()

    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "runs").rename(tmp_path / "b" / "results")
    shutil.copytree(root, tmp_path / "c" / "videos", copy_function=shutil.copyfile)  # with new times
    (tmp_path / "link").symlink_to(tmp_path / "c" / "videos")
    shutil.rmtree(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "b")
    run = tmp_path / "b" / "results" / "x"
    monkeypatch.setattr("har_tf.store.prepare._write_here", lambda *_: pytest.fail("decoded again"))
    for data in ("../c/videos", tmp_path / "link"):
        call(data, "results/x")
        assert "already trained, reused" in capsys.readouterr().out
        assert dated() == before

    monkeypatch.undo()
    video = next((tmp_path / "c").rglob("*g01_c01.mp4"))
    video.write_bytes(video.with_name(video.name.replace("g01", "g02")).read_bytes())
    with pytest.raises(ValueError, match="holds a run with other settings .*training clips: "):
        call(tmp_path / "link", run)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": "CNN-GRUU"}, ValueError, "Unknown model.*CNN-GRU"),
        ({"data": "nowhere"}, DatasetError, "nowhere: no such folder"),
        ({"protocol": "official"}, DatasetError, "official"),
        ({"weights": "gone.h5", "model": "VGG16"}, FileNotFoundError, "gone.h5"),
        ({"options": {"filters": (0, 8, 8)}}, ValueError, "filters"),
        ({"recipe": Training(epochs=0)}, ValueError, "epochs=0"),
    ],
)
def test_what_is_wrong_shows_before_any_work(dataset, tmp_path, change, error, words):
    arguments = {"model": "Frame-CNN", "data": dataset, "out": tmp_path / "out", "size": (32, 48), **change}
    with pytest.raises(error, match=words):
        train(**arguments)
    assert not (tmp_path / "prepared").exists() and not (tmp_path / "out" / "results.json").exists()


def test_load_prints_what_a_reader_should_know(miniature, capsys):
    dataset = load(miniature)
    assert capsys.readouterr().out.startswith(f"{dataset.name}: 30 clips of 3 classes in {miniature}")


def test_the_front_door_imports_nothing_heavy_until_a_name_is_used():
    code = (
        "import sys, har_tf as har\n"
        "assert not {'numpy', 'tensorflow', 'keras', 'av'} & sys.modules.keys()\n"
        "assert {'load', 'train', 'Classifier', 'datasets'} <= set(dir(har))\n"
        "har.Classifier\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "what TensorFlow logs"
    assert (har_tf.load, har_tf.train, har_tf.Classifier) == (load, train, Classifier)
