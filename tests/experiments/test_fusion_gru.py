"""The second experiment: what it leaves behind, that its tables are its results, and what it refuses."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_networks import make_tiny

from experiments import fusion_gru
from experiments.fusion_gru import FUSION, PRESETS, Recipe
from har_tf import trial
from har_tf.command import guarded
from har_tf.evaluate import fusion_rows
from har_tf.evaluate.fusion_rows import Networks
from har_tf.experiment import changed, strictest_protocol
from har_tf.models import backbones
from har_tf.models.saving import load_model
from har_tf.report.pages.fusion_gru import end_to_end_line, page, table_classes
from har_tf.report.publish import publish
from har_tf.store.features import FeatureStore
from har_tf.video import probe

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ["MobileNet", "MobileNetV2", FUSION]
REAL = dict(backbones.BACKBONES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with files of the tiny networks, which take the places of the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_tiny(patch, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def recipe(weights, tmp_path_factory) -> Recipe:
    """Everything that the experiment does, on 40 small embedded clips."""
    return changed(
        PRESETS["figures"],
        weights="imagenet",
        weights_dir=weights,
        clips=40,
        size=64,
        frame_size=64,
        gru_units=(6, 5),
        epochs=2,
        learning_rate=0.01,
        validation=0.3,
        splits="1",
        seeds="0,3",
        export_end_to_end=True,
        overlays=1,
        trusted=2,
        workers=0,
        num_frames=4,
        out=tmp_path_factory.mktemp("runs"),
        run="tiny",
    )


@pytest.fixture(scope="module")
def figures(recipe) -> Path:
    """The embedded data set, a folder of videos for each class."""
    return recipe.embedded.draw(recipe.output, size=(128, 128)).root


@pytest.fixture(scope="module")
def run(recipe) -> Path:
    fusion_gru.main(recipe)
    return recipe.output.out / "fusion_gru" / "tiny"


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


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
        "tables/table_1.md",
        "tables/table_2.csv",
        "tables/classes.md",
        "figures/figure_8_accuracy.png",
        "figures/figure_9_loss.png",
        "figures/figure_12_confusion_Fusion-GRU.png",
        "figures/figure_13_confusion_MobileNetV2.png",
        "figures/figure_14_confusion_MobileNet.png",
        "figures/figure_19_worst.png",
        "training/split1_seed0_MobileNet/history.csv",
        "training/split1_seed3_Fusion-GRU/state.npz",
    }
    assert {name for name in expected if not (run / name).is_file()} == set()
    assert not [path for path in run.rglob(".*")], "nothing half-written"
    assert json.loads((run / "recipe.json").read_text())["gru_units"] == [6, 5]
    videos = list((run / "overlays").glob("*.mp4"))
    assert videos
    for video in videos:  # all frames of the video and the overlays of two streams, and not the clip's 4
        assert probe(video).frames > 4 and probe(video).width % 3 == 2 * 4 % 3


def test_the_page_refers_only_to_files_beside_it(run):
    page = (run / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    links = re.findall(r'(?:src|poster|href)="([^"#]+)"', page)
    assert len(links) >= 8
    assert all((run / link).is_file() for link in links)
    for heading in ("Table I:", "Table II:", "Figure 8", "Figure 12", "Figure 19", "Overlay videos", "Do these maps"):
        assert heading in page
    assert f"{FUSION} against MobileNet" in page
    assert "it cannot be below 0.50" in page, "two seeds prove nothing, and the page says so"


def test_table_2_prints_the_means_of_the_trials(run, results):
    with (run / "tables" / "table_2.csv").open(newline="") as file:
        rows = {row["Network"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(results["networks"]) == NAMES
    for name, row in results["networks"].items():
        first, second = (t["accuracy"] for t in row["trials"])
        assert [(t["split"], t["seed"]) for t in row["trials"]] == [(1, 0), (1, 3)]
        assert float(rows[name]["Accuracy"]) == row["accuracy"] == pytest.approx((first + second) / 2)
        assert float(rows[name]["Deviation over seeds"]) == pytest.approx(abs(first - second) / 2**0.5)
        assert "Deviation over splits" not in rows[name], "there is one"
        low, high = row["accuracy_interval"]
        assert low <= row["accuracy"] <= high
        assert rows[name]["95 % interval"] == f"{low:.3f}–{high:.3f}"  # noqa: RUF001
        assert np.sum(row["confusion"]) == sum(s["test_clips"] for s in results["splits"].values())
        right = sum(t["accuracy"] * t["test_clips"] for t in row["trials"] if t["seed"] == 0)
        assert np.trace(row["confusion"]) == pytest.approx(right)
        assert all(len(t["history"]["val_loss"]) == 2 for t in row["trials"])
    assert not any(column.startswith("Paper") for column in rows[FUSION])
    single, other, fused = (results["networks"][name]["parameters"] for name in NAMES)
    # GRU 6 then 5 on C channels, one bias a gate: 3 (6 C + 36 + 6) + 3 (30 + 25 + 5) + 10 (5 + 1).
    assert [single, other, fused] == [3 * (6 * c + 42) + 180 + 60 for c in (16, 48, 64)]


def test_features_are_computed_once_for_all_splits_and_seeds(recipe, results):
    stores = [path for path in (recipe.output.out / "prepared" / "features").iterdir() if not path.name.startswith(".")]
    assert len(stores) == 2
    assert results["features"]["MobileNet"]["channels"] == 16
    assert {f["clips"] for f in results["features"].values()} == {40}


def test_siblings_are_counted(results):
    assert results["protocol"] == "group"
    assert {split["overlap"]["with_sibling"] for split in results["splits"].values()} == {0}


def test_the_exported_model_takes_raw_frames_and_gives_the_measured_accuracy(run, recipe, results, tmp_path):
    """In another process without har_tf, in safe mode; the clips of the first split's test part."""
    from har_tf import datasets

    dataset = recipe.embedded.draw(recipe.output, size=(128, 128))
    prepared = datasets.prepare(dataset, recipe.output.out / "prepared", 4, (64, 64), workers=1, fit="crop")
    test = prepared.subset(dataset.split("group", 1)[1])
    np.save(tmp_path / "clips.npy", test.read(range(len(test))))
    code = (
        "import sys; sys.modules['har_tf'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(run / 'model.keras')!r}, safe_mode=True)\n"
        "np.save('out.npy', model.predict(np.load('clips.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    (trial,) = (t for t in results["networks"][FUSION]["trials"] if (t["split"], t["seed"]) == (1, 0))
    accuracy = (np.load(tmp_path / "out.npy").argmax(axis=1) == test.labels).mean()
    assert accuracy == pytest.approx(trial["accuracy"])
    assert results["end_to_end"]["largest_difference"] < 1e-3
    assert load_model(run / "model.keras")[1] == dataset.class_names


def test_the_same_command_finds_its_run_and_repeats_nothing(run, recipe, capsys):
    trained = sorted((run / "training").rglob("state.npz"))
    assert len(trained) == 6
    before = [path.stat().st_mtime_ns for path in trained]
    results = (run / "results.json").read_text()
    fusion_gru.main(recipe)
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert (run / "results.json").read_text() == results
    assert "| Fusion-GRU" in capsys.readouterr().out


def test_of_three_networks_the_one_without_weights_is_first_trained_and_no_confusion_has_a_number(recipe, monkeypatch):
    """No validation clips, so the curves are those of the training clips."""
    make_tiny(monkeypatch, None, "GoogLeNet")
    fusion_gru.main(
        changed(
            recipe,
            backbones="GoogLeNet,MobileNet,MobileNetV2",
            validation=0.0,
            seeds="1",
            epochs=1,
            frame_epochs=1,
            weights="MobileNetV2=imagenet,GoogLeNet=none,MobileNet=none",
            overlays=0,
            export_end_to_end=False,
            trusted=0,
            run="three",
        )
    )
    run = recipe.output.out / "fusion_gru" / "three"
    results = json.loads((run / "results.json").read_text())
    assert list(results["networks"]) == ["GoogLeNet", "MobileNet", "MobileNetV2", FUSION], "as in --backbones"
    starts = [row["starts_from"] for row in results["networks"].values()]
    assert starts[:3] == [
        "googlenet_trained_on_frames.weights.h5, frozen",
        "mobilenet_trained_on_frames.weights.h5, frozen",
        "mobilenetv2_notop.weights.h5, frozen",
    ]
    assert starts[3].startswith("googlenet_trained_on_frames.weights.h5 and mobilenet_trained_on_frames.weights.h5 and")
    assert results["features"]["MobileNet"]["channels"] == 32, "half of its width"
    stores = [FeatureStore.open(path) for path in (recipe.output.out / "prepared" / "features").glob("figures_*")]
    (store,) = (store for store in stores if store.weights.startswith("mobilenet_trained"))
    assert store.read(range(40)).std() > 1e-3, "it was trained"
    assert not (run / "model.keras").exists()
    page = (run / "report.html").read_text()
    assert "training clips by epoch" in page
    assert "First trained here, on single frames" in page
    assert "in place of photographs: GoogLeNet, MobileNet. " in page
    numbers = re.findall(r"<h2[^>]*>Figure (\d+)", page)
    assert {"8", "9"} <= set(numbers) <= {"8", "9", "18", "19"}
    assert len(set(numbers)) == len(numbers)
    assert {path.name for path in run.glob("figures/*confusion*")} == {
        f"confusion_{name}.png" for name in results["networks"]
    }


def test_a_table_of_which_every_row_diverges_ends_in_a_message(recipe, monkeypatch, capsys):
    def diverges(*_, **options):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(trial.Trainer, "train", diverges)
    assert guarded(lambda: fusion_gru.main(changed(recipe, seeds="0", run="diverged"))) == 1
    assert "None of the networks could be trained" in capsys.readouterr().err


def some_rows(monkeypatch, count: int) -> None:
    """Only the last rows of Table II: the others take the same way."""
    rows = Networks.rows
    monkeypatch.setattr(Networks, "rows", lambda *arguments: rows(*arguments)[-count:])


def test_finetuning_trains_from_frames(recipe, monkeypatch):
    some_rows(monkeypatch, 1)
    fusion_gru.main(
        changed(
            recipe,
            finetune=True,
            splits="1",
            seeds="0",
            epochs=1,
            overlays=0,
            fusion="score_average",
            bidirectional=True,
            batch_size=8,
            validation=0.0,
            run="finetuned",
        )
    )
    run = recipe.output.out / "fusion_gru" / "finetuned"
    results = json.loads((run / "results.json").read_text())
    assert results["features"] == {}
    assert "finetuned" in results["networks"][FUSION]["starts_from"]
    model, _ = load_model(run / "model.keras")
    assert results["networks"][FUSION]["parameters"] == model.count_params()
    assert model.get_layer("MobileNetV2_conv_1").count_params() == 27 * 32, "the networks are in it"
    assert model.input_shape == (None, 4, 64, 64, 3)


def test_official_splits_of_a_folder_with_lists(recipe, figures, tmp_path, monkeypatch):
    """Two splits of part of UCF101: as many test clips as the lists name of it, and tables and strips of them all."""
    from har_tf.report.pages import explained

    some_rows(monkeypatch, 2)
    shown, draw = [], explained.class_strips
    monkeypatch.setattr(
        explained, "class_strips", lambda answered, *a, **k: shown.append(answered) or draw(answered, *a, **k)
    )
    lists = tmp_path / "lists"
    lists.mkdir()
    for action in ("wave", "clap"):
        shutil.copytree(figures / action, tmp_path / "videos" / action)
    names = sorted(
        f"{file.parent.name}/{file.stem}.avi" for file in (tmp_path / "videos").glob("*/*.mp4")
    )  # the lists say .avi, copies may have another ending
    for split, group in ((1, "g0001"), (2, "g0002")):
        for part, wanted in (("train", False), ("test", True)):
            chosen = [name for name in names if (group in name) is wanted]
            (lists / f"{part}list{split:02d}.txt").write_text("\n".join([*chosen, f"wave/v_wave_{part}_c01.avi"]))
    small = changed(
        recipe,
        dataset=str(tmp_path / "videos"),
        lists=lists,
        splits="1,2",
        epochs=1,
        overlays=0,
        seeds="0",
        validation=0.0,
        out=tmp_path,
        export_end_to_end=False,
        backbones="MobileNet,MobileNetV2",
        gru_units=(6, 5),
    )
    fusion_gru.main(small)
    results = json.loads((tmp_path / "fusion_gru" / "tiny" / "results.json").read_text())
    assert results["protocol"] == "official"
    assert [split["test_clips"] for split in results["splits"].values()] == [2, 2]
    assert any("are not on disk" in note for note in results["dataset"]["notes"])
    for row in results["networks"].values():
        first, second = (t["accuracy"] for t in row["trials"])
        assert row["accuracy"] == pytest.approx((first + second) / 2)
        assert row["deviation_over_splits"] == pytest.approx(abs(first - second) / 2**0.5)
        assert row["deviation_over_seeds"] is None
    assert results["networks"][FUSION]["trials"][0]["validation_clips"] == 0
    assert [np.sum(row["confusion"]) for row in results["networks"].values()] == [4, 4]
    (answered,) = shown
    assert sorted(name.split("_")[2] for name in answered.test.names) == ["g0001", "g0001", "g0002", "g0002"]
    ranked = [(answered.test.class_names[label], clips, right) for label, right, clips in answered.ranked_classes()]
    assert ranked == [row[:3] for row in table_classes(results).rows]
    assert [clips for _, clips, _ in ranked] == [2, 2], "one of each split"


def test_two_data_sets_stand_in_one_run(recipe, figures, tmp_path, monkeypatch):
    """Two small folders and a third that is not there: splits, features and networks of their own, one table."""
    some_rows(monkeypatch, 2)
    for name, actions in (("sports", ("wave", "clap")), ("gestures", ("throw", "catch", "clap"))):
        for action in actions:
            shutil.copytree(figures / action, tmp_path / name / action)
    folders = ",".join(str(tmp_path / name) for name in ("sports", "gestures", "absent"))
    several = changed(
        recipe, dataset=folders, backbones="MobileNet,MobileNetV2", seeds="0", epochs=1, splits=None, overlays=0,
        out=tmp_path / "runs",
    )  # fmt: skip
    run, measured = tmp_path / "runs" / "fusion_gru" / "tiny", fusion_gru.measured

    def watched(recipe, trainer, found, loaded, *more):
        if next(iter(loaded.values())).name == "gestures":  # what is there, were the run stopped here
            assert json.loads((run / "results.json").read_text())["missing"]["gestures"] == "not measured yet"
            assert not fusion_gru.is_finished(run / "results.json")
            publish(run)
            assert "gestures: not measured yet." in (run / "tables" / "table_2.md").read_text()
        return measured(recipe, trainer, found, loaded, *more)

    monkeypatch.setattr(fusion_gru, "measured", watched)
    fusion_gru.main(several)
    assert fusion_gru.is_finished(run / "results.json")
    results = json.loads((run / "results.json").read_text())
    parts = {"sports": results, **results["others"]}
    assert [(name, len(part["dataset"]["classes"])) for name, part in parts.items()] == [("sports", 2), ("gestures", 3)]
    assert results["missing"] == {"absent": f"{tmp_path / 'absent'}: no such folder"}
    for name, part in parts.items():
        accuracy = part["networks"][FUSION]["accuracy"]
        with (run / "tables" / "table_2.csv").open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
        assert float(row[f"{name}: accuracy"]) == pytest.approx(accuracy)
        assert row["absent: accuracy"] == "not run"
        model, classes = load_model(run / f"of_{name}" / "model.keras")
        assert list(classes) == part["dataset"]["classes"] and model.output_shape[-1] == len(classes)
        assert (run / "figures" / name / "figure_8_accuracy.png").is_file()
    assert results["features"].keys() == parts["gestures"]["features"].keys()
    assert results["features"]["MobileNet"]["clips"] < parts["gestures"]["features"]["MobileNet"]["clips"]
    shown = (run / "report.html").read_text()
    assert shown.count("<h2") == len(set(re.findall(r"<h2[^>]*>[^<]*", shown))), "every heading names its data set"
    assert all((run / link).is_file() for link in re.findall(r'src="([^"]+)"', shown))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "ucf101,hmdb51", "data_dir": "UCF-101"}, "--data-dir is one folder for each published data set"),
        ({"dataset": "figures,ucf101", "data_dir": "UCF-101"}, "published ones or folders"),
        ({"dataset": "a,b", "classes": "run,jump"}, "with all their classes"),
        ({"dataset": "a,b", "lists": Path("x,y,z")}, "--lists one for all data sets or one for each"),
        ({"dataset": "nowhere/a,nowhere/b"}, "None of the data sets is there: nowhere/a: no such folder, nowhere/b:"),
    ],
)
def test_what_several_data_sets_cannot_be(change, words):
    recipe = changed(PRESETS["paper"], **change)
    with pytest.raises(ValueError, match=re.escape(words)):
        fusion_gru.present(recipe)


def test_options_of_several_data_sets_are_told_apart(tmp_path):
    (tmp_path / "a,b").mkdir()
    both = changed(PRESETS["paper"], dataset="ucf101,hmdb51", data_dir="U,H", lists=Path("x,y")).data.each
    assert [(data.dataset, data.data_dir, data.lists) for data in both] == [
        ("ucf101", "U", Path("x")), ("hmdb51", "H", Path("y")),
    ]  # fmt: skip
    mixed = changed(PRESETS["paper"], dataset=f"ucf101,{tmp_path}", data_dir="U", lists=Path("x")).data.each
    assert [(data.dataset, data.data_dir, data.lists) for data in mixed] == [
        ("ucf101", "U", Path("x")), (str(tmp_path), None, Path("x")),
    ]  # fmt: skip
    folders = changed(PRESETS["paper"], data_dir="U,V").data.each
    assert [(data.dataset, data.data_dir) for data in folders] == [(None, "U"), (None, "V")]
    (one,) = changed(PRESETS["paper"], dataset=str(tmp_path / "a,b")).data.each
    assert one.dataset == str(tmp_path / "a,b"), "a comma in the name of a folder"


@pytest.mark.parametrize(("broken", "name"), [("test", "test"), ("train", "training")])
def test_a_part_without_readable_clips_is_refused_before_features_are_computed(
    recipe, figures, tmp_path, capsys, broken, name
):
    for part in ("train", "test"):
        for action in ("wave", "clap"):
            shutil.copytree(figures / action, tmp_path / "videos" / part / action)
    videos = sorted((tmp_path / "videos" / broken).glob("*/*.mp4"))
    for video in videos:
        video.write_bytes(b"no video")
    wrong = changed(
        recipe,
        dataset=str(tmp_path / "videos"),
        backbones="MobileNet,MobileNetV2",
        validation=0.0,
        out=tmp_path / "runs",
    )
    assert guarded(lambda: fusion_gru.main(wrong)) == 1
    (error,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert f"no {name} clip of the official split 1 can be read; all {len(videos)} were left out, first " in error
    (skipped,) = (tmp_path / "runs").rglob("fusion_gru/*/skipped.csv")
    assert len(skipped.read_text().splitlines()) == 1 + len(videos)
    assert not (tmp_path / "runs" / "prepared" / "features").exists()


def test_a_model_with_other_answers_than_the_stored_features_costs_its_pictures_only(run, recipe, monkeypatch, capsys):
    """The results of hours are published all the same; who asked for the model is told by the exit code."""
    wanted, trained = changed(recipe, seeds="0", run="other-answers"), run / "training"
    run = recipe.output.out / "fusion_gru" / "other-answers"
    shutil.copytree(trained, run / "training")
    real, seen = fusion_rows.whole_model, []

    def end_to_end(*arguments):
        seen.append(json.loads((run / "results.json").read_text())["networks"].keys())
        return real(*arguments)

    monkeypatch.setattr(fusion_rows, "whole_model", end_to_end)
    monkeypatch.setattr(fusion_rows, "END_TO_END_TOLERANCE", -1.0)
    (run / "model.keras").write_bytes(b"of a run before")
    text = f"{FUSION}: from frames to classes the answers differ by "
    for export, code in ((True, 1), (False, 0)):
        assert guarded(lambda export=export: fusion_gru.main(changed(wanted, export_end_to_end=export))) == code
        out, error = capsys.readouterr()
        assert f"end to end: {text}" in out
        assert "| Fusion-GRU" in out
        assert error.count(f"error: {text}") == code
        results = json.loads((run / "results.json").read_text())
        assert end_to_end_line(results).endswith(
            "Expected at most -1.0; so there is neither a model.keras nor an overlay video"
        )
        assert results["networks"][FUSION]["accuracy"] >= 0
        page = (run / "report.html").read_text()
        assert text in page
        assert "Overlay videos" not in page
        assert not (run / "model.keras").exists()
    assert list(map(list, seen)) == [NAMES, NAMES], "the results were on the disk before"


def miniature(figures, folder, data):
    """Three videos of each of two classes as `data` is unpacked, each of them a test clip of one of three splits."""
    if data == "ucf101":
        root, lists, names = folder / "UCF-101", folder / "ucfTrainTestlist", "v_{0}_g{1:02d}_c01"
    else:
        root, lists, names = (
            folder / "hmdb51_org",
            folder / "testTrainMulti_7030_splits",
            "Film{1}_{0}_f_cm_np1_fr_med_0",
        )
    lists.mkdir(parents=True)
    stems = {}
    for action in ("wave", "clap"):
        (root / action).mkdir(parents=True)
        stems[action] = [names.format(action, number) for number in (1, 2, 3)]
        for source, stem in zip(sorted((figures / action).glob("*.mp4")), stems[action], strict=False):
            shutil.copy(source, root / action / f"{stem}.mp4")
    (lists / "classInd.txt").write_text("1 wave\n2 clap\n") if data == "ucf101" else None
    for split in (1, 2, 3):
        if data == "ucf101":
            for part, wanted in (("train", False), ("test", True)):
                lines = [f"{a}/{s}.avi" for a in stems for s in stems[a] if (s == stems[a][split - 1]) is wanted]
                (lists / f"{part}list{split:02d}.txt").write_text("\n".join(lines))
        else:
            for action, found in stems.items():
                lines = [f"{stem}.avi {2 if stem == found[split - 1] else 1} \n" for stem in found]
                (lists / f"{action}_test_split{split}.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize(("data", "classes"), [("ucf101", ("wave", "clap")), ("hmdb51", ("clap", "wave"))])
def test_the_official_splits_of_the_named_data_sets(figures, tmp_path, data, classes):
    root = miniature(figures, tmp_path, data)
    for lists in (None, next(path for path in tmp_path.iterdir() if path != root)):
        recipe = changed(PRESETS["paper"], dataset=data, data_dir=str(root), lists=lists)
        assert fusion_gru.split_numbers(recipe) == [1, 2, 3]
        loaded = {number: recipe.data.listed(number) for number in (1, 2, 3)}
        assert {(part.name, part.class_names, len(part)) for part in loaded.values()} == {(data, classes, 6)}
        tested = []
        for number, part in loaded.items():
            assert strictest_protocol(part) == "official"
            train, test = part.split("official", number)
            assert (len(train), len(test)) == (4, 2)
            assert {record.group for record in train.records}.isdisjoint(record.group for record in test.records)
            tested.append({record.path.stem for record in test.records})
        assert len(set.union(*tested)) == 6, "each clip is a test clip once"
        about = fusion_gru.described(loaded[1], "official", [1, 2, 3], 0, [])
        assert not about["whole"], "not of six clips"


def test_the_page_of_hmdb51_has_the_figures_of_its_own(results, tmp_path):
    splits = dict.fromkeys("123", results["splits"]["1"])
    of_hmdb51 = results["dataset"] | {"name": "hmdb51"}
    shown = page(results | {"dataset": of_hmdb51, "protocol": "official", "splits": splits}, tmp_path)
    names = {path.name for path in tmp_path.glob("*")}
    assert {"figure_10_accuracy.png", "figure_11_loss.png", "figure_15_confusion_Fusion-GRU.png"} <= names
    assert shown.tables["table_1"].rows[0][0] == "HMDB-51"
    assert "official splits 1, 2, 3" in shown.facts["accuracy"]
    assert "Deviation over splits" in shown.tables["table_2"].columns


@pytest.mark.parametrize(
    ("data", "advice", "followed"),
    [
        ("ucf101", "--dataset {root} --lists LISTS takes what is there of it", {"lists": "ucfTrainTestlist"}),
        ("hmdb51", "--classes takes those that are whole, --dataset {root} what is there, without the official", {}),
    ],
)
def test_a_part_of_a_named_data_set_is_answered_with_options_of_the_command(
    recipe, figures, tmp_path, capsys, data, advice, followed
):
    root = miniature(figures, tmp_path, data)
    sorted((root / "wave").iterdir())[1].unlink()
    named = changed(recipe, dataset=data, data_dir=str(root), splits=None, out=tmp_path / "runs")
    assert guarded(lambda: fusion_gru.main(named)) == 1
    error = capsys.readouterr().err
    assert "training entries are not on disk" in error
    assert advice.format(root=root) in error
    assert "partial" not in error
    followed = {option: tmp_path / value for option, value in followed.items()}
    part = changed(PRESETS["paper"], dataset=str(root), **followed).data.listed()
    assert len(part) == 5
    assert (part.official is not None) is (data == "ucf101")


def test_real_videos_with_real_weights(shared, tmp_path, monkeypatch):
    """Two classes of UCF101 with the official lists, real GoogLeNet and MobileNetV2, two small frames a clip."""
    monkeypatch.setitem(backbones.BACKBONES, "MobileNetV2", REAL["MobileNetV2"])
    some_rows(monkeypatch, 2)
    fusion_gru.main(
        changed(
            PRESETS["paper"],
            dataset=str(shared / "data" / "ucf10"),
            lists=shared / "data" / "splits" / "ucf101",
            splits="1",
            weights_dir=shared / "weights",
            classes="Surfing,Archery",
            backbones="GoogLeNet,MobileNetV2",
            num_frames=2,
            size=128,
            frame_size=128,
            gru_units=(32, 32),
            epochs=8,
            overlays=0,
            validation=0.0,
            export_end_to_end=True,
            out=tmp_path,
            run="real",
        )
    )
    results = json.loads((tmp_path / "fusion_gru" / "real" / "results.json").read_text())
    assert results["splits"]["1"]["overlap"]["with_sibling"] == 0
    assert results["splits"]["1"]["training_clips"] + results["splits"]["1"]["test_clips"] == 52
    starts = "googlenet_bvlc.npz and mobilenetv2_1.0_224_notop.weights.h5, frozen"
    assert results["networks"][FUSION]["starts_from"] == starts
    assert results["networks"][FUSION]["accuracy"] > 0.85, "the sea and a lawn are told apart on real features"
    assert results["end_to_end"]["largest_difference"] < 0.01


def test_googlenet_with_real_weights_reaches_its_accuracy_on_ten_classes(shared, tmp_path):
    """Official split 1, the features of one frame a clip; with ten frames and GRU layers five seeds gave 0.872."""
    from sklearn.linear_model import LogisticRegression

    from har_tf.store import features
    from har_tf.store.prepare import prepare

    recipe = changed(
        PRESETS["paper"], dataset=str(shared / "data" / "ucf10"), lists=shared / "data" / "splits" / "ucf101"
    )
    dataset = recipe.data.listed()
    prepared = prepare(dataset, tmp_path, 1, (224, 224), fit="crop")
    weights = shared / "weights" / "googlenet_bvlc.npz"
    store = features.extract(prepared, "GoogLeNet", weights, tmp_path / "features")
    (known, labels), (asked, truth) = (
        (part.read(range(len(part))).mean(axis=1), part.labels) for part in map(store.subset, dataset.split("official"))
    )
    assert len(truth) == 136
    assert LogisticRegression(max_iter=200).fit(known, labels).score(asked, truth) >= 0.85


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "missing"}, "missing"),
        ({"dataset": "ucf101"}, "--data-dir, the folder where ucf101 lies, is needed"),
        ({"dataset": "figures", "data_dir": "x"}, "--data-dir"),
        ({"backbones": "MobileNet"}, "two or more different networks"),
        ({"backbones": "MobileNet,MobileNet"}, "two or more different networks"),
        ({"backbones": "MobileNet,MobileNetV9"}, "MobileNetV9"),
        ({"classes": "wave,waive"}, "waive"),
        ({"splits": "0"}, "--splits must be whole numbers from 1 on"),
        ({"splits": "1,1"}, "--splits must be different"),
        ({"seeds": "a"}, "--seeds must be whole numbers"),
        ({"protocol": "official"}, "official"),
        ({"epochs": 0}, "epochs=0"),
        ({"gru_units": (0,)}, "--gru-units must be at least 1. Received: 0"),
        ({"validation": 1.0}, "--validation"),
        ({"size": 8}, "--size"),
        ({"run": "../x"}, "--run"),
        ({"weights": "none", "splits": "1,2"}, "--weights none"),
        ({"weights": "MobileNet=none,MobileNetV2=imagenet", "seeds": "0,1"}, "--weights none trains networks on"),
        ({"weights": "MobileNet"}, "NAME=FILE"),
        ({"weights": "VGG16=imagenet,MobileNet=none,MobileNetV2=none"}, "once for each of MobileNet, MobileNetV2"),
        ({"weights": "MobileNet=none,MobileNet=none,MobileNetV2=none"}, "once for each of MobileNet, MobileNetV2"),
        (
            {"weights": "MobileNet=imagenet"},
            "--weights names no weights for MobileNetV2; MobileNetV2=imagenet would be one choice. "
            "Received: 'MobileNet=imagenet'",
        ),
        ({"weights": "MobileNet=nowhere.h5,MobileNetV2=imagenet"}, "MobileNet: nowhere.h5: no such weights file"),
        ({"weights_dir": Path("nowhere")}, "nowhere: no such folder of weights"),
        (
            {"backbones": "GoogLeNet,MobileNet", "weights": "GoogLeNet=imagenet,MobileNet=none", "seeds": "0"}
            | {"weights_dir": None},
            "Weights are missing of GoogLeNet. GoogLeNet: Keras has no ImageNet weights of this network to download",
        ),
    ],
)
def test_wrong_options_end_in_one_line_before_any_work(recipe, tmp_path, capsys, change, words):
    assert guarded(lambda: fusion_gru.main(changed(recipe, **{"out": tmp_path, **change}))) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert words in error[0]
    assert not list(tmp_path.rglob("results.json"))
    assert change.keys() & {"classes", "protocol"} or not (tmp_path / "figures").exists(), "nothing was drawn"
    assert not (tmp_path / "prepared").exists(), "nothing was decoded"


def test_missing_weights_are_all_named_before_any_work(recipe, weights, tmp_path, capsys):
    backbones = "GoogLeNet,MobileNet,InceptionResNetV2,VGG16"
    given = "GoogLeNet=imagenet,MobileNet=imagenet,InceptionResNetV2=imagenet,VGG16=nowhere.h5"
    wrong = changed(recipe, backbones=backbones, weights=given, size=96, frame_size=96, out=tmp_path)
    assert guarded(lambda: fusion_gru.main(wrong)) == 1
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error: Weights are missing of GoogLeNet and InceptionResNetV2 and VGG16. ")
    for name, file in (("GoogLeNet", "bvlc_googlenet.caffemodel"), ("InceptionResNetV2", "tf_kernels_notop.h5")):
        assert f"{name}: {weights} holds no weights file of this network. Published as http" in error
        assert f"{file}. " in error
    assert "VGG16: nowhere.h5: no such weights file. " in error
    assert "as --weights-dir, give each as --weights NAME=FILE, or leave the network out of --backbones" in error
    assert error.endswith(f"Received: --backbones {backbones}")
    assert not list(tmp_path.iterdir()), "nothing was drawn, decoded or trained"


def test_a_typo_in_weights_is_found_before_data_are_listed():
    with pytest.raises(ValueError, match="once for each of MobileNet, MobileNetV2"):
        fusion_gru.check(changed(PRESETS["figures"], weights="MobilNet=none,MobileNetV2=none"))


def test_weights_of_another_network_are_refused_before_any_work(recipe, weights, tmp_path, capsys):
    wrong = weights / "mobilenetv2_notop.weights.h5"
    given = f"MobileNet={weights / 'mobilenet_notop.weights.h5'},MobileNetV2={wrong}"
    swapped = given.replace("MobileNetV2=", "X=").replace("MobileNet=", "MobileNetV2=").replace("X=", "MobileNet=")
    assert guarded(lambda: fusion_gru.main(changed(recipe, weights=swapped, weights_dir=None, out=tmp_path))) == 1
    assert str(wrong) in capsys.readouterr().err
    assert not (tmp_path / "prepared").exists()


def test_a_folder_has_one_official_split(recipe, figures, tmp_path, capsys):
    for part in ("train", "test"):
        for action in ("wave", "clap"):
            shutil.copytree(figures / action, tmp_path / "videos" / part / action)
    again = changed(
        recipe, dataset=str(tmp_path / "videos"), splits="1,2", backbones="MobileNet,MobileNetV2", out=tmp_path / "runs"
    )
    assert guarded(lambda: fusion_gru.main(again)) == 1
    assert "has one official split. Received: --splits 1,2" in capsys.readouterr().err


def test_help_comes_before_tensorflow_and_wrong_usage_exits_with_2():
    def run(*arguments):
        code = (
            "import atexit, runpy, sys\n"
            f"sys.argv = ['fusion_gru', *{arguments!r}]\n"
            "heavy = {'tensorflow', 'matplotlib', 'sklearn', 'scipy'}\n"
            "atexit.register(lambda: print('heavy:', heavy & sys.modules.keys()))\n"
            "runpy.run_module('experiments.fusion_gru', run_name='__main__')\n"
        )
        return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)

    shown = run("--help")
    assert shown.returncode == 0
    assert "--export-end-to-end" in shown.stdout
    assert "heavy: set()" in shown.stdout
    assert run("--epochs", "many").returncode == 2
    assert run("--epoch", "3").returncode == 2
