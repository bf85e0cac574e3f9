"""The first experiment: what it leaves behind, that its tables are its results, and what it refuses."""

import copy
import csv
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

from experiments import ucf10_cnn_gru
from experiments.ucf10_cnn_gru import PRESETS
from har_tf import trial
from har_tf.command import guarded
from har_tf.experiment import changed
from har_tf.models import saving
from har_tf.models.saving import load_model
from har_tf.report.pages.ucf10_cnn_gru import table_1
from har_tf.video import probe

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tiny_run):
    return json.loads((tiny_run / "results.json").read_text())


def test_the_run_folder_is_complete(tiny_run):
    expected = {
        "recipe.json", "environment.json", "results.json", "skipped.csv", "model.keras", "report.html", "model_card.md",
        "tables/table_1.md", "tables/table_1.csv", "tables/table_1.tex",
        "figures/figure_4_curves.png", "figures/figure_5_confusion.png", "figures/figure_8_misclassified.png",
        "history.csv", "training/group_CNN-GRU/history.csv", "training/random_Frame-CNN/state.npz",
    }  # fmt: skip
    assert {name for name in expected if not (tiny_run / name).is_file()} == set()
    assert not [path for path in tiny_run.rglob(".*")], "nothing half-written"
    assert json.loads((tiny_run / "recipe.json").read_text())["epochs"] == 2
    about = saving.provenance(tiny_run / "model.keras")
    assert (about["weights"], about["seed"]) == ("random weights", 0)
    assert about["training clips"].startswith("40 clips")
    assert json.loads((tiny_run / "environment.json").read_text())["packages"]["keras"] == keras.__version__


def test_overlays_are_videos_that_browsers_play(tiny_run):
    videos = list((tiny_run / "overlays").glob("*.mp4"))
    assert videos
    for video in videos:
        assert probe(video).codec == "h264" and probe(video).frames > 10, "all frames of the clip's video"


def test_the_page_refers_only_to_files_beside_it(tiny_run):
    page = (tiny_run / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    links = re.findall(r'(?:src|poster)="([^"]+)"', page)
    assert len(links) >= 4
    assert all((tiny_run / link).is_file() for link in links)
    for heading in ("Table 1", "Figure 4", "Figure 5", "Do these maps deserve trust?", "Overlay videos"):
        assert heading in page


def test_table_1_prints_the_results(tiny_run, results):
    with (tiny_run / "tables" / "table_1.csv").open(newline="") as file:
        rows = {row["Model"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["CNN-GRU", "Frame-CNN"], "the paper's other rows have no place beside other data"
    for name in ("CNN-GRU", "Frame-CNN"):
        measured = results["protocols"]["group"]["models"][name]
        for column, key in (("Accuracy", "accuracy"), ("Precision", "precision"), ("Recall", "recall"), ("F1", "f1")):
            assert float(rows[name][column]) == pytest.approx(measured[key])
        other = results["protocols"]["random"]["models"][name]["accuracy"]
        assert float(rows[name]["Accuracy, random split"]) == pytest.approx(other)
    assert "Paper: accuracy" not in rows["CNN-GRU"], "figures from other data are never set beside these"


def test_what_differs_from_the_paper_is_a_value_and_on_the_page(tiny_run, results):
    differs = {entry["setting"]: entry["run"] for entry in results["settings"]["differs"]}
    assert differs == {
        "data set": "figures", "clips a class": 6, "protocol": "group", "size": [32, 48], "epochs": 2,
        "models": "CNN-GRU,Frame-CNN", "normalize_sequence": True, "pool_before_norm": True,
    }  # fmt: skip
    page = (tiny_run / "report.html").read_text()
    assert "What differs from the paper" in page and "<td>20 (section 4.2)</td><td>2</td>" in page
    assert "averaged over each frame by itself, equation (1)" in page


def test_every_clip_is_told_to_be_in_its_part(results):
    for protocol, measured in results["protocols"].items():
        parts = Counter(parts[protocol] for parts in results["clips"].values())
        assert parts == {part: measured[f"{part}_clips"] for part in ("training", "validation", "test")}


def test_of_several_seeds_the_table_has_the_mean_and_an_interval_over_recordings(results):
    row = {"a": (0, 0), "b": (0, 1), "c": (1, 1), "d": (1, 1)}
    trials = [
        {"split": "group", "seed": seed, "accuracy": accuracy, "best_epoch": 1, "seconds": 60.0, "answers": row}
        for seed, accuracy in ((0, 0.75), (1, 0.85))
    ]
    found = ucf10_cnn_gru.over_seeds(trials, {"a": "g1", "b": "g2", "c": "g1", "d": None})
    assert (found["accuracy"], len(found["trials"])) == (pytest.approx(0.8), 2)
    assert found["deviation_over_seeds"] == pytest.approx(0.1 / 2**0.5)
    low, high = found["group_interval"]
    assert 0 <= low < 0.75 < high <= 1
    several = copy.deepcopy(results)
    for part in several["protocols"].values():
        part["models"]["CNN-GRU"] |= found
    table = table_1(several)
    assert {"Deviation over seeds", "95 % interval, random"} <= set(table.columns)
    assert "Accuracy: mean of 2 seeds; the other columns and the figures: the first seed." in table.notes


def test_accuracy_is_that_of_the_saved_model(tiny_run, tiny_recipe, results):
    """Measured again from the files: the saved model on the test clips of the split."""
    from har_tf import datasets, pipeline

    dataset = tiny_recipe.embedded.draw(tiny_recipe.output, size=tiny_recipe.size)
    prepared = datasets.prepare(dataset, tiny_recipe.output.cache, 10, tiny_recipe.size)
    test = prepared.subset(dataset.split("group", 0)[1])
    model, names = load_model(tiny_run / "model.keras")
    predicted = model.predict(pipeline.clips(test, 4), verbose=0).argmax(axis=1)
    row = results["protocols"]["group"]["models"]["CNN-GRU"]
    assert names == dataset.class_names
    assert (predicted == test.labels).mean() == pytest.approx(row["accuracy"])
    assert np.trace(row["confusion"]) == (predicted == test.labels).sum()


def test_siblings_are_counted(results):
    """Every group of the embedded data spans all classes: none across a group split, all across a random one."""
    assert results["protocols"]["group"]["overlap"]["with_sibling"] == 0
    random = results["protocols"]["random"]
    assert random["overlap"]["with_sibling"] == random["test_clips"] == 10


def test_the_same_command_finds_its_run_and_repeats_nothing(tiny_run, tiny_recipe, capsys):
    files = ("state.npz", "best.npz", "history.csv")
    trained = [tiny_run / "training" / "group_CNN-GRU" / name for name in files]
    before = [path.stat().st_mtime_ns for path in trained]
    results = (tiny_run / "results.json").read_text()
    ucf10_cnn_gru.main(tiny_recipe)
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert (tiny_run / "results.json").read_text() == results
    assert "| CNN-GRU" in capsys.readouterr().out


@pytest.mark.parametrize("diverging", [("group",), ("group", "random")])
def test_a_protocol_of_which_every_model_diverges_leaves_the_results_of_the_other(tiny_recipe, monkeypatch, diverging):
    train = trial.Trainer.train

    def diverges(trainer, model, parts, folder, *arguments, **options):
        if folder.name.startswith(diverging):
            raise FloatingPointError("the loss is nan")
        return train(trainer, model, parts, folder, *arguments, **options)

    monkeypatch.setattr(trial.Trainer, "train", diverges)
    recipe = changed(
        tiny_recipe, models="Frame-CNN", epochs=1, overlays=0, trusted=0, run="+".join(("diverged", *diverging))
    )
    run = recipe.output.out / "ucf10_cnn_gru" / recipe.output.run
    if len(diverging) == 2:
        with pytest.raises(ValueError, match="None of the models could be trained"):
            ucf10_cnn_gru.main(recipe)
        assert not (run / "results.json").exists()
        return
    ucf10_cnn_gru.main(recipe)
    results = json.loads((run / "results.json").read_text())
    assert results["shown"] == {"model": "Frame-CNN", "protocol": "random"}
    status = {name: part["models"]["Frame-CNN"]["status"] for name, part in results["protocols"].items()}
    assert status == {"group": "diverged", "random": "run"}
    assert (run / "report.html").is_file()


def test_other_videos_are_another_run(tiny_recipe, tmp_path, monkeypatch):
    """The same command after a video was added must not find the weights of before."""
    from har_tf.video import write_video

    def diverges(*_, **options):
        raise FloatingPointError("the loss is nan")

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        for i in range(4):
            write_video(tmp_path / "videos" / name / f"{i}.mp4", rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8))
    recipe = changed(
        tiny_recipe, dataset=None, data_dir=str(tmp_path / "videos"), protocol="random", models="Frame-CNN",
        epochs=1, size=(16, 24), out=tmp_path / "runs", run=None, overlays=0, trusted=0, workers=0,
    )  # fmt: skip
    for videos in (8, 9):
        with monkeypatch.context() as patch, pytest.raises(ValueError, match="None of the models could be trained"):
            patch.setattr(trial.Trainer, "train", diverges)
            ucf10_cnn_gru.main(recipe)
        runs = sorted((tmp_path / "runs" / "ucf10_cnn_gru").iterdir())
        assert len(runs) == videos - 7
        write_video(tmp_path / "videos" / "a" / "9.mp4", rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8))


def test_a_named_run_of_other_settings_is_refused_and_stays(tiny_run, tiny_recipe):
    before = (tiny_run / "results.json").read_bytes()
    with pytest.raises(ValueError, match="holds a run with other settings .*seed: 0 there, 1 now"):
        ucf10_cnn_gru.main(changed(tiny_recipe, seed=1))
    assert (tiny_run / "results.json").read_bytes() == before


def test_an_unreadable_video_is_listed_and_the_rest_goes_on(tiny_recipe, tmp_path):
    import shutil

    figures = next((tiny_recipe.output.out / "figures").glob("*"))
    for action in ("wave", "clap"):
        shutil.copytree(figures / action, tmp_path / "videos" / action)
    (tmp_path / "videos" / "wave" / "v_wave_g0009_c01.mp4").write_text("no video")
    recipe = changed(
        tiny_recipe, dataset=None, data_dir=str(tmp_path / "videos"), protocol="group", models="Frame-CNN",
        epochs=1, overlays=0, trusted=0, size=(32, 48), out=tmp_path / "runs", run="r", precision="mixed_bfloat16",
    )  # fmt: skip
    ucf10_cnn_gru.main(recipe)
    run = tmp_path / "runs" / "ucf10_cnn_gru" / "r"
    assert "v_wave_g0009_c01.mp4" in (run / "skipped.csv").read_text()
    results = json.loads((run / "results.json").read_text())
    assert (results["dataset"]["clips"], results["dataset"]["skipped"]) == (12, 1)
    page = (run / "report.html").read_text()
    assert "always answering the most frequent class reaches 0.5" in page and ">Table 1" not in page
    assert results["protocols"]["group"]["overlap"]["near_identical"] is not None, "looked for"
    part = results["protocols"]["group"]
    assert sum(part[f"{name}_clips"] for name in ("training", "validation", "test")) == 12
    assert load_model(run / "model.keras")[0].get_layer("conv3d").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")


def test_the_model_loads_where_har_tf_cannot_be_imported(tiny_run, tmp_path):
    """Another process, another folder, safe mode, identical outputs."""
    clips = np.random.default_rng(0).integers(0, 256, (2, 10, 32, 48, 3), dtype=np.uint8)
    np.save(tmp_path / "clips.npy", clips)
    code = (
        "import sys; sys.modules['har_tf'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(tiny_run / 'model.keras')!r}, safe_mode=True)\n"
        "np.save('out.npy', model.predict(np.load('clips.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = load_model(tiny_run / "model.keras")[0].predict(clips, verbose=0)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_real_videos_under_both_protocols(shared, tmp_path):
    """Real UCF101 clips with the official lists and real MobileNet weights, two classes, one epoch."""
    recipe = changed(
        PRESETS["paper"], data_dir=str(shared / "data" / "ucf10"), lists=shared / "data" / "splits" / "ucf101",
        weights_dir=shared / "weights", classes="Surfing,Archery", protocol="official", per_class=20,
        models="MobileNet,ResNet50", size=(64, 96), num_frames=4, epochs=1, overlays=1, trusted=0, out=tmp_path,
        run="real",
    )  # fmt: skip
    ucf10_cnn_gru.main(recipe)
    results = json.loads((tmp_path / "ucf10_cnn_gru" / "real" / "results.json").read_text())
    assert results["dataset"]["classes"] == ["Surfing", "Archery"]
    official = results["protocols"]["official"]
    assert official["overlap"]["with_sibling"] == 0
    assert sum(official[f"{part}_clips"] for part in ("training", "validation", "test")) == 40
    parts = Counter(parts["official"] for parts in results["clips"].values())
    assert (parts["left out"], parts["test"], len(results["clips"])) == (12, official["test_clips"], 52)
    differs = {entry["setting"]: entry["run"] for entry in results["settings"]["differs"]}
    assert (differs["classes"], differs["clips a class"], differs["protocol"]) == (2, 20, "official")
    assert "data set" not in differs, "they are of UCF101"
    by_protocol = ucf10_cnn_gru.split_up(changed(recipe, protocol="official,random"), recipe.data.listed())
    assert [split.measured()["overlap"]["with_sibling"] > 0 for split in by_protocol.values()] == [False, True]
    assert official["models"]["ResNet50"]["status"] == "not run"
    assert "holds no weights file" in official["models"]["ResNet50"]["reason"]
    assert official["models"]["MobileNet"]["parameters"] == 1_832_976 + 2 * 769


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_dir": "missing"}, "missing"),
        ({"models": "CNN-GRU,ResNet51"}, "ResNet51"),
        ({"models": "ResNet50/VGG16"}, "Only CNN-GRU takes a frame encoder"),
        ({"classes": "wave,waive"}, "waive"),
        ({"classes": "wave"}, "two classes"),
        ({"protocol": "rondom"}, "rondom"),
        ({"epochs": 0}, "epochs=0"),
        ({"flip": 2.0}, "flip"),
        ({"validation": 1.0}, "--validation"),
        ({"seed": -1}, "--seed"),
        ({"gru_dropout": 5.0}, "--gru-dropout"),
        ({"warmup_epochs": -2.0}, "warmup_epochs=-2.0"),
        ({"size": (1, 1)}, "--size"),
        ({"filters": (0, 8, 8)}, "filters"),
        ({"run": "../x"}, "--run"),
        ({"models": "CNN-GRU,InceptionV3", "weights": "none"}, "InceptionV3 needs frames of at least 75 x 75"),
        ({"figure_height": 3.0}, "figure_height"),
        ({"weights": "nowhere.h5", "models": "VGG16"}, "nowhere.h5: no such weights file"),
        ({"weights_dir": Path("nowhere"), "models": "VGG16"}, "nowhere"),
        ({"per_class": 7}, "--clips 60 draws 6 of each class. Received: --per-class 7"),
    ],
)
def test_wrong_options_end_in_one_line_before_any_work(tiny_recipe, tmp_path, capsys, change, words):
    preset = changed(tiny_recipe, dataset=None) if "data_dir" in change else tiny_recipe
    recipe = changed(preset, **{"out": tmp_path, **change})
    assert guarded(lambda: ucf10_cnn_gru.main(recipe)) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert words in error[0]
    assert not list(tmp_path.rglob("results.json"))
    assert change.keys() & {"classes"} or not (tmp_path / "figures").exists(), "nothing was drawn"


def test_names_without_groups_are_told_before_models_are_built(tiny_recipe, empty_videos, monkeypatch, capsys):
    monkeypatch.setattr(ucf10_cnn_gru, "begin", lambda recipe: pytest.fail("TensorFlow, then downloads"))
    root = empty_videos("videos", {name: [f"{name}{i}.mp4" for i in range(4)] for name in ("a", "b")})
    recipe = changed(tiny_recipe, dataset=None, data_dir=str(root), protocol="group")
    assert guarded(lambda: ucf10_cnn_gru.main(recipe)) == 1
    error = capsys.readouterr().err
    assert "8 of 8 videos name no group, first a0.mp4" in error and "--protocol random" in error


def test_fewer_clips_than_asked_for_are_told_before_models_are_built(tiny_recipe, empty_videos, monkeypatch, capsys):
    monkeypatch.setattr(ucf10_cnn_gru, "begin", lambda recipe: pytest.fail("TensorFlow, then downloads"))
    root = empty_videos("videos", {name: [f"{name}{i}.mp4" for i in range(n)] for name, n in (("a", 4), ("b", 2))})
    recipe = changed(tiny_recipe, dataset=None, data_dir=str(root), protocol="random", per_class=3)
    assert guarded(lambda: ucf10_cnn_gru.main(recipe)) == 1
    assert "too few clips of a class. Expected 3 of each. Received: 2 of b" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_named(tiny_recipe, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert guarded(lambda: ucf10_cnn_gru.main(changed(tiny_recipe, out=tmp_path / "file"))) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_help_comes_before_tensorflow_and_wrong_usage_exits_with_2():
    def run(*arguments):
        code = (
            "import atexit, runpy, sys\n"
            f"sys.argv = ['ucf10_cnn_gru', *{arguments!r}]\n"
            "heavy = {'tensorflow', 'matplotlib', 'sklearn', 'scipy'}\n"
            "atexit.register(lambda: print('heavy:', heavy & sys.modules.keys()))\n"
            "runpy.run_module('experiments.ucf10_cnn_gru', run_name='__main__')\n"
        )
        return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)

    shown = run("--help")
    assert shown.returncode == 0
    assert "--weights-dir" in shown.stdout
    assert "heavy: set()" in shown.stdout
    assert run("--epochs", "many").returncode == 2
    assert run("--epoch", "3").returncode == 2
