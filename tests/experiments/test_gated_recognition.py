"""The experiment on gated heads: clips of videos, equal starts, what it leaves behind, and what it refuses."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from several_devices import assert_same, results_on

from experiments import gated_recognition
from experiments.gated_recognition import PRESETS, Recipe
from har_tf import training, trial
from har_tf.command import guarded
from har_tf.datasets import DatasetError
from har_tf.datasets.cut import clips_of, cut
from har_tf.evaluate import gated_rows
from har_tf.evaluate.gated_rows import STAGES, Networks, Row
from har_tf.evaluate.videos import VideoPredictions
from har_tf.experiment import changed
from har_tf.models import kinetics, resnext3d
from har_tf.models.saving import load_model
from har_tf.models.weights import import_weights as importers
from har_tf.report.pages.gated_recognition import table_of
from har_tf.store import store
from har_tf.video import probe, write_video

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = [
    "resnext3d",
    "resnext3d_gated",
    "i3d",
    "i3d_3",
    "i3d_2",
    "i3d_1+2+3",
    "i3d_2+3",
    "i3d_3_flow",
    "i3d_3_rgb+flow",
]
SMALL = Networks(weights="none", resnext_blocks=(1, 1, 1, 1), resnext_width=32)


def small_network(input_shape, num_classes, name: str, taps):
    """A layer for each of the taps: the real networks take a minute to compile."""
    clip = keras.Input(input_shape, dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 127.5, -1.0)(clip)
    for tap in taps:
        x = layers.Conv3D(4, 3, 2, "same", activation="relu", name=tap)(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(clip, layers.Dense(num_classes, activation="softmax", name="predictions")(x), name=name)


def small_i3d(input_shape, num_classes, modality, batch_norm_scale, width, dropout):
    return small_network(input_shape, num_classes, "i3d_rgb", ("mixed_3c", "mixed_4f", "mixed_5c"))


def small_resnext3d(input_shape, num_classes, blocks, width):
    taps = ("conv3d_1a_7x7", "layer1", "layer2", "layer3", "layer4")
    return small_network(input_shape, num_classes, "resnext3d", taps)


def run_small(recipe: Recipe) -> Path:
    """The folder of a run with small networks in place of the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinetics, "i3d", small_i3d)
        patch.setattr(kinetics, "resnext3d", small_resnext3d)
        gated_recognition.main(recipe)
    return recipe.output.out / "gated_recognition" / recipe.output.run


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    """Everything that the experiment does, on 40 embedded videos of 16 frames, two clips each."""
    return changed(
        PRESETS["figures"],
        clips=40,
        resnext_frames=8,
        i3d_frames=8,
        resnext_size=48,
        i3d_size=40,
        epochs=2,
        step_epochs=1,
        learning_rate=0.01,
        overlays=1,
        trusted=2,
        workers=0,
        out=tmp_path_factory.mktemp("runs"),
        run="tiny",
    )


@pytest.fixture(scope="module")
def run(recipe) -> Path:
    return run_small(recipe)


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def test_of_frozen_networks_only_classifier_and_gates_are_trained_on_what_is_stored_once(recipe, tmp_path):
    published = tmp_path / "i3d.npz"
    published.write_bytes(b"weights")

    def import_weights(model, file):
        """Every build gets the same weights."""
        rng = np.random.default_rng(0)
        model.set_weights([rng.normal(0, 0.2, weight.shape) for weight in model.get_weights()])

    asked = changed(recipe, frozen=True, tables="10", flow=False, weights=f"i3d={published}", flip=0.0, run="frozen",
                    out=tmp_path, prepared=tmp_path / "prepared", overlays=0, seeds="0,1")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinetics, "import_weights", import_weights)
        patch.setattr(kinetics, "_has_scale", lambda file: False)
        patch.setattr(importers, "i3d_options", lambda file: {"num_classes": 400})
        run = run_small(asked)
    results = json.loads((run / "results.json").read_text())
    assert results["frozen"] and [row["status"] for row in results["rows"].values()] == ["run"] * 5
    (store,) = (tmp_path / "prepared" / "features").glob("[!.]*")
    described = json.loads((store / "features.json").read_text())
    assert described["weights"] == "i3d.npz, frozen"
    plain, gates = (
        keras.models.load_model(run / "training" / f"seed1_{row}" / "model.keras") for row in ("i3d", "i3d_2")
    )
    for layer in ("mixed_3c", "mixed_4f", "mixed_5c"):
        for ours, theirs in zip(
            plain.get_layer(layer).get_weights(), gates.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert np.abs(gates.get_layer("gate_mixed_4f").get_weights()[0]).max() > 0
    text = (run / "tables" / "table_10.md").read_text()
    assert "Only the classifier and the gates are trained" in text


def test_figures_are_those_of_one_device(recipe, tmp_path):
    asked = changed(recipe, clips=43, tables="9", validation=0.3, batch_size=8, overlays=0, out=tmp_path)
    assert_same(*(results_on(count, run_small, asked) for count in (2, 1)))


def test_frozen_networks_need_weights():
    with pytest.raises(ValueError, match="--frozen keeps published weights"):
        Networks(weights="none", frozen=True).check()


def test_the_run_folder_is_complete(run):
    expected = {
        "recipe.json",
        "environment.json",
        "results.json",
        "skipped.csv",
        "history.csv",
        "model.keras",
        "report.html",
        "model_card.md",
        "tables/table_9.md",
        "tables/table_10.csv",
        "tables/table_10.tex",
        "figures/table_9_accuracy.png",
        "figures/table_10_loss.png",
        "training/seed0_i3d_3_flow/model.keras",
        "training/seed0_resnext3d/state.npz",
    }
    assert {name for name in expected if not (run / name).is_file()} == set()
    assert not [path for path in run.rglob(".*")], "nothing half-written"
    videos = list((run / "overlays").glob("*.mp4"))
    assert videos and all(probe(video).frames >= 8 for video in videos)


def test_the_page_answers_the_question_and_refers_only_to_files_beside_it(run):
    page = (run / "report.html").read_text()
    links = re.findall(r'(?:src|poster|href)="([^"#]+)"', page)
    assert len(links) >= 4
    assert all((run / link.replace("%2B", "+")).is_file() for link in links)
    for text in ("Does gating help?", "3D ResNeXt: gating", "I3D (4 choices of layers): gating", "random weights"):
        assert text in page
    assert "McNemar" in page and "test videos of the first seed" in page
    assert "Paper:" not in page
    assert ("Do these maps deserve trust?" in page) == any((run / "overlays").glob("*.mp4"))


def test_tables_print_the_results(run, results):
    assert list(results["rows"]) == ROWS
    for number, count in ((9, 2), (10, 7)):
        with (run / "tables" / f"table_{number}.csv").open(newline="") as file:
            printed = list(csv.DictReader(file))
        rows = [row for row in results["rows"].values() if row["table"] == number]
        assert len(printed) == len(rows) == count
        for line, row in zip(printed, rows, strict=True):
            assert (line["Network"], line["Modality"]) == (row["label"], row["modality"])
            (trial,) = row["trials"]
            assert float(line["Video-wise"]) == row["video_accuracy"] == trial["video_accuracy"]
            assert float(line["Clip-wise"]) == row["clip_accuracy"] == trial["clip_accuracy"]
            low, high = row["video_interval"]
            assert low <= row["video_accuracy"] <= high
    labels = [row["label"] for row in results["rows"].values()]
    assert labels[:3] == ["3D ResNeXt", "3D ResNeXt (layer 4+3+2+1+conv)", "I3D"]


def test_baseline_and_gated_take_the_same_steps(results):
    rows = [row for row in results["rows"].values() if row["modality"] != "rgb + flow"]
    assert {len(row["trials"][0]["history"]["loss"]) for row in rows} == {2}
    assert {row["trials"][0]["training_clips"] for row in rows} == {results["training_videos"] * 2}
    assert {row["trials"][0]["best_epoch"] for row in rows} == {2}, "the last"
    np.testing.assert_allclose(rows[0]["trials"][0]["history"]["learning_rate"], [0.001, 0.0001])
    # Layer 3 of the small I3D is 1 x 5 x 5 x 4: one mean over frames of four channels, for ten classes.
    assert results["rows"]["i3d_3"]["parameters"] - results["rows"]["i3d"]["parameters"] == 4 * 10 + 10


def test_parts_share_no_video_and_no_group(results):
    assert results["protocol"] == "group"
    assert results["overlap"]["with_sibling"] == 0
    counts = {"num_frames": 8, "clips": 80, "skipped": 0, "test": 20}
    assert results["dataset"]["clips"] == dict.fromkeys(("resnext3d", "i3d", "i3d_flow"), counts)
    assert results["test_videos"] == 10
    assert results["training_videos"] == 30


def test_comparisons_are_of_videos(results):
    pairs = [compared["rows"] for compared in results["comparisons"]]
    assert pairs == [
        ["resnext3d_gated", "resnext3d"],
        *([f"i3d_{n}", "i3d"] for n in ("3", "2", "1+2+3", "2+3")),
        ["i3d_3_rgb+flow", "i3d_3"],
    ]
    for compared in results["comparisons"]:
        first, second = (results["rows"][name]["video_accuracy"] for name in compared["rows"])
        assert compared["clips"]["clips"] == 10
        assert compared["clips"]["only_first"] - compared["clips"]["only_second"] == pytest.approx(
            10 * (first - second)
        )


def test_the_saved_model_gives_the_measured_accuracy_without_har_tf(run, recipe, results, tmp_path):
    from har_tf import datasets

    dataset = recipe.embedded.draw(recipe.output, size=(64, 64), frames=16)
    clips = cut(dataset, 8)
    prepared = datasets.prepare(clips, recipe.output.out / "prepared", 8, (48, 48), "dense", fit="crop", workers=1)
    test = prepared.subset(clips_of(clips, dataset.split("group", 1)[1]))
    np.save(tmp_path / "clips.npy", test.read(range(len(test))))
    code = (
        "import sys; sys.modules['har_tf'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(run / 'model.keras')!r}, safe_mode=True)\n"
        "np.save('out.npy', model.predict(np.load('clips.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    probabilities = np.load(tmp_path / "out.npy")
    answered = VideoPredictions.of(test.record_paths, test.labels, probabilities).accuracies()
    row = results["rows"][results["shown"]]
    assert results["shown"] == "resnext3d_gated"
    assert answered == pytest.approx({name: row[name] for name in answered})
    assert load_model(run / "model.keras")[1] == dataset.class_names


def test_the_same_command_trains_nothing_again(run, recipe, capsys):
    trained = sorted((run / "training").rglob("state.npz"))
    assert len(trained) == 8
    before, found = [path.stat().st_mtime_ns for path in trained], (run / "results.json").read_text()
    run_small(recipe)
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert (run / "results.json").read_text() == found
    assert "| I3D (layer 1+2+3)" in capsys.readouterr().out


def test_seeds_are_averaged_and_validation_videos_held_out(recipe):
    run = run_small(
        changed(recipe, tables="9", seeds="0,1", validation=0.4, epochs=1, overlays=0, flow=False, run="seeds")
    )
    results = json.loads((run / "results.json").read_text())
    assert list(results["rows"]) == ROWS[:2]
    for row in results["rows"].values():
        first, second = (trial["video_accuracy"] for trial in row["trials"])
        assert row["video_accuracy"] == pytest.approx((first + second) / 2)
        assert row["deviation_over_seeds"] == pytest.approx(abs(first - second) / 2**0.5)
        assert {trial["training_clips"] + trial["validation_clips"] for trial in row["trials"]} == {60}
        assert all(trial["validation_clips"] == 20 for trial in row["trials"]), "one group of the three"
    (compared,) = results["comparisons"]
    assert compared["seeds"]["pairs"] == 2
    assert any("best on validation videos" in note for note in table_of(results, 9).notes)


def test_a_gated_network_starts_from_the_weights_and_the_answers_of_the_plain_one():
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 48, 48, 3), dtype=np.uint8)
    built = []
    for taps in ((), ("layer4", "layer1", "conv3d_1a_7x7")):
        training.seed_everything(3)
        built.append(Row("a", "A", "resnext3d", taps, SMALL).build((8, 48, 48, 3), 5))
    plain, gated = (model.predict(clips, verbose=0) for model in built)
    assert np.ptp(plain) > 0.01
    np.testing.assert_allclose(gated, plain, atol=1e-6)
    assert len(built[1].weights) == len(built[0].weights) + 6


def test_weights_are_of_kinetics_where_their_files_have_its_400_classes(tmp_path, monkeypatch):
    classes = {"resnext3d": {"num_classes": 400}, "i3d": {"num_classes": 400}}
    monkeypatch.setattr(importers, "resnext3d_options", lambda file: classes["resnext3d"])
    monkeypatch.setattr(importers, "i3d_options", lambda file: classes["i3d"])
    networks = Networks(weights="resnext3d=a.pth,i3d=b.pt")
    assert networks.pretraining == "Kinetics"
    classes["resnext3d"] = {"num_classes": 101}
    assert networks.pretraining == "a.pth, 101 classes"
    classes["i3d"] = {}
    assert networks.pretraining == "a.pth, 101 classes; b.pt, unknown classes"
    assert Networks(weights="i3d=b.weights.h5").pretraining == "b.weights.h5, unknown classes"
    assert Networks(weights="resnext3d=a.pth,i3d=none").pretraining == "random"


def test_rows_without_weights_are_not_run_and_say_why():
    rows = changed(PRESETS["paper"], weights="i3d=none").networks.rows()
    reasons = {row.name: row.missing for row in rows}
    assert [name for name, reason in reasons.items() if reason is None] == ROWS[2:7]
    assert "--weights resnext3d=FILE, resnext-101-kinetics.pth" in reasons["resnext3d_gated"]
    assert "or i3d_flow=none" in reasons["i3d_3_flow"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resnext_taps": "layer4,layer9"}, "layer1.*layer9"),
        ({"i3d_taps": "mixed_3c,mixed_4f,mixed_9z", "tables": "10"}, "mixed_3c.*mixed_9z"),
        ({"i3d_taps": "mixed_3c"}, "three layers"),
        ({"resnext_taps": "nope"}, "--resnext-taps names layers, which begin with conv3d.*layer4. Received: 'nope'"),
        ({"i3d_taps": "mixed_3c,mixed_4f,nope"}, "--i3d-taps names layers, .*mixed_5c, maxpool3d. Received: 'nope'"),
        ({"resnext_taps": "layer4,layer1_9_x"}, "layer1_9_x.*layer1"),
        ({"i3d_frames": 4}, "--i3d-frames must be at least 8. Received: 4"),
        ({"weights": "resnext=none"}, "resnext3d, i3d, i3d_flow"),
        ({"weights": "i3d=gone.pt"}, "gone.pt: no such weights file"),
        ({"tables": "8"}, "--tables must be 9, 10"),
        ({"seeds": "1,1"}, "--seeds must be different"),
        ({"dataset": "ucf101"}, "--data-dir, the folder where ucf101 lies"),
        ({"dataset": "ucf101", "data_dir": "gone"}, "gone"),
        ({"dataset": "no_such_folder", "weights": "none"}, "no_such_folder"),
    ],
)
def test_what_is_wrong_shows_before_any_work(recipe, tmp_path, capsys, options, words):
    wrong = changed(recipe, **{"out": tmp_path, "i3d_width": 0.02, **options})
    assert guarded(lambda: gated_recognition.main(wrong)) == 1
    assert re.search(words, capsys.readouterr().err.strip().splitlines()[-1])
    assert not list(tmp_path.rglob("*.mp4")) and not (tmp_path / "gated_recognition").exists()


def test_weights_of_another_network_are_refused_before_any_work(recipe, tmp_path, capsys):
    resnext3d((8, 48, 48, 3), include_top=False, blocks=(1, 2, 1, 1), width=32).save_weights(tmp_path / "a.weights.h5")
    wrong = changed(recipe, out=tmp_path / "out", tables="9", weights=f"resnext3d={tmp_path / 'a.weights.h5'}")
    assert guarded(lambda: gated_recognition.main(wrong)) == 1
    assert "a.weights.h5: not the weights of resnext3d" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.mp4"))


def test_without_weights_the_rows_are_listed_as_not_run_and_nothing_is_decoded(recipe, monkeypatch):
    monkeypatch.setattr("har_tf.store.prepare.prepare", lambda *_, **options: pytest.fail("decoded"))
    gated_recognition.main(changed(recipe, weights=None, run="none"))
    run = recipe.output.out / "gated_recognition" / "none"
    results = json.loads((run / "results.json").read_text())
    assert list(results["rows"]) == ROWS and {row["status"] for row in results["rows"].values()} == {"not run"}
    assert "--weights i3d=FILE, the RGB checkpoint of kinetics-i3d" in (run / "tables" / "table_10.md").read_text()
    assert "resnext-101-kinetics.pth" in (run / "report.html").read_text()


def test_each_network_takes_clips_of_its_own_length(recipe, monkeypatch):
    monkeypatch.setattr(gated_rows, "GATED_I3D", ("3",))  # the other rows take the same way
    run = run_small(changed(recipe, i3d_frames=16, flow=False, epochs=1, overlays=0, run="lengths", clips=20))
    results = json.loads((run / "results.json").read_text())
    clips = {name: (of["num_frames"], of["clips"]) for name, of in results["dataset"]["clips"].items()}
    assert clips == {"resnext3d": (8, 4 * 20), "i3d": (16, 2 * 20)}, "videos are twice the longest clip"
    assert load_model(run / "training" / "seed0_i3d" / "model.keras")[0].input_shape[1] == 16
    assert "I3D" in (run / "tables" / "table_10.md").read_text()


def test_streamed_clips_give_the_same_results_and_take_no_disk(recipe, tmp_path):
    asked = changed(recipe, tables="9", flow=False, epochs=1, overlays=0, clips=20)
    scores, losses = [], []
    for stream in (False, True):
        run = run_small(changed(asked, stream=stream, run=f"stream{stream}", prepared=tmp_path / str(stream)))
        rows = json.loads((run / "results.json").read_text())["rows"]
        scores.append({name: row["clip_accuracy"] for name, row in rows.items()})
        histories = [(run / "training" / f"seed0_{name}" / "history.csv").read_text().splitlines() for name in rows]
        losses.append([[line.rpartition(",")[0] for line in history] for history in histories])  # without seconds
    assert scores[0] == scores[1] and losses[0] == losses[1]
    assert list((tmp_path / "False").iterdir()) and not (tmp_path / "True").exists()


def test_what_does_not_fit_on_the_disk_is_refused_before_the_first_clip(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    refused = changed(recipe, flow=True, run="refused", prepared=tmp_path)
    text = r"clips of 8 x 40 x 40 3\.1 MB.*flow 2\.0 MB.*1\.0 MB are free.*--stream --no-flow"
    with pytest.raises(DatasetError, match=text):
        run_small(refused)
    assert not list(tmp_path.iterdir())


def test_names_of_stages_are_what_the_networks_begin_with():
    from har_tf.models import i3d
    from har_tf.models.taps import taps

    networks = {
        "resnext_taps": resnext3d((8, 32, 32, 3), 2, blocks=(1, 1, 1, 1), width=32),
        "i3d_taps": i3d((8, 32, 32, 3), 2, width=0.05),
    }
    for option, model in networks.items():
        names = [tap.name for tap in taps(model)]
        assert names and all(name.startswith(STAGES[option]) for name in names)


@pytest.mark.parametrize("broken", ["train", "test"])
def test_a_part_without_readable_videos_is_told_before_validation_videos_are_held_out(recipe, tmp_path, capsys, broken):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("wave", "clap"):
            folder = tmp_path / "videos" / part / name
            folder.mkdir(parents=True)
            for i in range(2):
                write_video(folder / f"{i}.mp4", rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
                if part == broken:
                    (folder / f"{i}.mp4").write_bytes(b"no video")
    wrong = changed(recipe, dataset=str(tmp_path / "videos"), tables="9", validation=0.5, out=tmp_path / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinetics, "resnext3d", small_resnext3d)
        assert guarded(lambda: gated_recognition.main(wrong)) == 1
    (error,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert error.endswith("no video of one part of the official split can be read")


def test_a_table_of_which_every_row_diverges_ends_in_a_message(recipe, monkeypatch, capsys):
    def diverges(*_, **options):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(trial.Trainer, "train", diverges)
    monkeypatch.setattr(kinetics, "resnext3d", small_resnext3d)
    assert guarded(lambda: gated_recognition.main(changed(recipe, tables="9", run="diverged"))) == 1
    assert "None of the networks could be trained" in capsys.readouterr().err


def test_options_are_listed_without_tensorflow_and_scipy():
    code = (
        "import sys, experiments.gated_recognition; print({'tensorflow', 'matplotlib', 'scipy'} & sys.modules.keys())"
    )
    listed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "set()"
