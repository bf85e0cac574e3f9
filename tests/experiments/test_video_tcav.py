"""The Video-TCAV experiment: what it leaves behind, that it finds what a model reads, and what it refuses."""

import csv
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from experiments import video_tcav
from experiments.video_tcav import PRESETS
from har_tf import models, subject
from har_tf.concepts import mining
from har_tf.concepts.concept_split import divide
from har_tf.concepts.study import FURTHER
from har_tf.concepts.tracks import Track
from har_tf.experiment import changed
from har_tf.models.saving import load_model, save_model
from har_tf.models.weights import import_weights as importers
from har_tf.report.pages.video_tcav import findings
from har_tf.report.publish import publish
from har_tf.trial import Trainer
from har_tf.video import probe, write_video

REPOSITORY = Path(__file__).resolve().parents[2]
CONCEPTS = ("ball", "person", "limb")
READ = {"size": (32, 32), "num_frames": 8, "sampling": "uniform", "fit": "stretch"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return changed(
        PRESETS["figures"],
        clips=120,
        test=0.7,
        size=(32, 48),
        num_frames=4,
        network="CNN-GRU",  # which is traced in a third of a Swin's time; tests/concepts/test_options.py builds that
        epochs=1,
        validation=0.3,
        folds=2,
        level=0.3,
        class_clips=4,
        concept_clips=4,
        num_random=3,
        resamples=20,
        random_videos=9,
        reversal_clips=2,
        overlays=2,
        trusted=2,
        workers=0,
        out=tmp_path_factory.mktemp("runs"),
        run="tiny",
    )


@pytest.fixture(scope="module")
def run(recipe):
    video_tcav.main(recipe)
    return recipe.output.out / "video_tcav" / "tiny"


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def printed(run, stem):
    with (run / "tables" / f"{stem}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_folder_is_complete(run):
    expected = {
        "recipe.json",
        "environment.json",
        "results.json",
        "skipped.csv",
        "model.keras",
        "history.csv",
        "report.html",
        "concepts.html",
        "concepts/concepts.json",
        "figures/curves.png",
        "figures/figure_1_gradcam.png",
        "figures/figure_4_detections.png",
        "figures/figure_5_spatial.png",
        "figures/figure_6_spatiotemporal.png",
        "figures/figure_7_static.png",
        "figures/figure_8_dynamic.png",
        "figures/figure_9_ball.png",
        "figures/figure_10_static.png",
        "figures/figure_10_dynamic.png",
        "figures/reversal.png",
        "tables/figure_7.md",
        "tables/figure_8.csv",
        "tables/figure_9.tex",
        "tables/figure_10_dynamic.md",
        "tables/changes.csv",
        "tables/reversal_answers.md",
        "tables/reversal_gradcam.md",
        "tables/reversal_concepts.csv",
    }
    assert {name for name in expected if not (run / name).is_file()} == set()
    assert not [path for path in run.rglob(".*") if path.name != ".concepts.lock"], "nothing half-written"
    videos = list((run / "overlays").glob("*.mp4"))
    assert len(videos) >= 3, "Figure 1, and a clip forwards and backwards"
    assert all((probe(video).codec, probe(video).frames) == ("h264", 4) for video in videos)


def test_the_page_refers_only_to_files_beside_it(run):
    page = (run / "report.html").read_text()
    links = re.findall(r'(?:src|poster)="([^"]+)"', page)
    assert len(links) >= 12
    assert all((run / link).is_file() for link in links)
    headings = ["What was found", *(f"Figure {n}" for n in (1, 4, 5, 6, 7, 8, 9, 10)), "Section 2.2", "Do these maps"]
    assert [heading for heading in headings if heading not in page] == []


def test_a_report_is_made_again_from_results_alone(run):
    made = [run / "report.html", *(run / "tables").iterdir(), *(run / "figures").glob("figure_[789]*.png")]
    before = {path: path.read_bytes() for path in made}
    for path in made:
        path.unlink()
    publish(run)
    assert {path: path.read_bytes() for path in made} == before


def test_tables_print_the_results(run, results):
    for number in ("7", "8"):
        rows = printed(run, f"figure_{number}")
        assert [(row["Concept"], row["Layer"]) for row in rows] == [
            (name, tap) for name in (*CONCEPTS, "random") for tap in results["taps"]
        ]
        for row in rows:
            found = results["figures"][number][row["Layer"]][row["Concept"]]
            assert float(row["Score"]) == pytest.approx(found["score"])
            low, high = found["interval"]
            assert row["95 %"] == f"{low:.2f}\N{EN DASH}{high:.2f}"
    rows = printed(run, "figure_9")
    assert {row["Concept"] for row in rows if row["Shown together"] == "limb"} == {
        "limb, static",
        "limb, dynamic",
        "random",
    }
    for row in printed(run, "figure_10_dynamic"):
        found = results["tests"]["dynamic"][row["Layer"]][row["Concept"]]
        assert float(row["p, permutation"]) == pytest.approx(found["permutation_corrected"])
        assert row["By both tests"] == ("yes" if found["significant"] else "no")
        assert row["Significant by t-test"] == ("yes" if found["t_test_corrected"] < 0.3 else "no")
    assert {row["Concept"] for row in printed(run, "figure_10_static")} == {*CONCEPTS, FURTHER}
    answers = {row["Class"]: row for row in printed(run, "reversal_answers")}
    assert answers["throw"]["Backwards it is"] == "catch" and answers["wave"]["Backwards it is"] == "the same"
    assert {row["Class"] for row in printed(run, "reversal_concepts")} == {"throw", "catch"}


def test_shares_are_shares_of_the_clips_of_the_class(results):
    for by_tap in (results["figures"]["8"], *results["figures"]["9"].values()):
        for found in by_tap.values():
            for each in found.values():
                # A mean over three random sets of shares of four clips.
                assert (each["score"] * 12 * 2) == pytest.approx(round(each["score"] * 12 * 2))
    change = next(c for c in results["changes"] if (c["figure"], c["what"]) == (8, "ball"))
    first, last = (
        results["figures"]["8"][tap]["ball"]["score"] for tap in results["taps"][:: len(results["taps"]) - 1]
    )
    assert change["value"] == pytest.approx(last - first)


def test_nothing_is_used_twice(run, recipe):
    """Persons and scenes: those of training, of concepts, and of the explained clips."""
    dataset = recipe.embedded.draw(recipe.output, size=(32, 48), frames=7)
    halves = divide(dataset, dataset.class_names.index("throw"), "group", test=0.7, validation=0.3)
    parts = [[*halves.train, *halves.validation], halves.concept, halves.explained]
    groups = [{record.group for record in part} for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12
    found = mining.load(run / "concepts")
    mined = {source.path for source in found.sources}
    assert mined <= {record.name(dataset.root) for record in halves.concept}
    assert {clip.concept for clip in found.clips if clip.source.startswith("throw")} == {*CONCEPTS}
    explained = {row["video"] for row in json.loads((run / "results.json").read_text())["gradcam"]["clips"]}
    assert explained <= {record.path.stem for record in halves.explained if "throw" in record.path.stem}


# Data on disk, a model whose answer is known: its first class is motion.


def blob(moving, seed, frames=8):
    random = np.random.default_rng(seed)
    clip = np.full((frames, 32, 32, 3), 60, np.uint8)
    y, x = random.integers(4, 20, 2)
    for t in range(frames):
        left = (x + 3 * t * moving) % 24
        clip[t, y : y + 8, left : left + 8] = 200
    return clip


@pytest.fixture(scope="module")
def motion_model(tmp_path_factory):
    """The first logit is the mean of what changes between frames, the second the opposite."""
    clip = keras.Input((8, 32, 32, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(3, (2, 1, 1), activation="relu", use_bias=False, name="changes")(x)
    x = layers.AveragePooling3D((1, 2, 2), name="small")(x)
    x = layers.Conv3D(3, 1, use_bias=False, name="last")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, "softmax", use_bias=False, name="predictions")(x))
    kernel = np.zeros((2, 1, 1, 3, 3), "float32")
    kernel[0, ..., 0], kernel[1, ..., 0] = 1, -1  # brighter before
    kernel[0, ..., 1], kernel[1, ..., 1] = -1, 1  # brighter after
    kernel[..., 2] = 0.2  # brightness
    model.get_layer("changes").set_weights([kernel])
    model.get_layer("last").set_weights([np.eye(3, dtype="float32").reshape(1, 1, 1, 3, 3)])
    model.get_layer("predictions").set_weights([np.array([[30, -30], [30, -30], [0, 0]], "float32")])
    return save_model(model, tmp_path_factory.mktemp("model") / "motion.keras", ["playing tennis", "dining"])


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    """Videos of two classes in three parts; of one YouTube video the validation and the test part have a clip each."""
    root = tmp_path_factory.mktemp("k400")
    parts = [("train", "dining", 1), ("val", "dining", 6), ("val", "playing tennis", 12)]
    lists = {"train.csv": [], "val.csv": [], "test.csv": []}
    for part, label, count in (*parts, ("test", "dining", 4), ("test", "playing tennis", 7)):
        for i in range(count):
            name = f"{'val' if i == 6 else part}{label[0]}{i:06d}"
            start = 10 * (part == "test")
            lists[f"{part}.csv"].append(f"{label},{name},{start},{start + 10},{part},0")
            path = root / part / label / f"{name}_{start:06d}_{start + 10:06d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, blob(label != "dining", i))
    for name, rows in lists.items():
        (root / name).write_text("\n".join(["label,youtube_id,time_start,time_end,split,is_cc", *rows, ""]))
    return root


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """Concepts made by hand: things that move, and things that do not."""
    folder = tmp_path_factory.mktemp("concepts")
    for name in ("moving", "still"):
        (folder / name).mkdir()
        for i in range(8):
            write_video(folder / name / f"{i}.mp4", blob(name == "moving", 100 + i))
    return folder


@pytest.fixture(scope="module")
def tennis(kinetics, motion_model, by_hand, tmp_path_factory):
    return changed(
        PRESETS["paper"],
        part="val",
        criterion="both",
        data_dir=str(kinetics),
        model=motion_model,
        size=None,
        num_frames=None,
        sampling=None,
        fit=None,
        concepts=by_hand,
        folds=2,
        class_clips=8,
        concept_clips=6,
        num_random=3,
        resamples=20,
        reversal_clips=2,
        overlays=1,
        trusted=0,
        workers=0,
        level=0.3,
        out=tmp_path_factory.mktemp("kinetics"),
        run="tennis",
    )


def test_a_model_of_motion_reads_what_moves(tennis):
    video_tcav.main(tennis)
    run = tennis.output.out / "video_tcav" / "tennis"
    results = json.loads((run / "results.json").read_text())
    assert results["target"] == "playing tennis" and results["taps"][-1] == "last"
    found = results["figures"]["8"]["last"]
    assert (found["moving"]["score"], found["still"]["score"]) == (1, 0)
    assert found["moving"]["interval"] == [1, 1] and found["moving"]["accuracy"] > 0.7
    assert results["dataset"]["part"] == "val" and results["clips"]["class"] == 8
    differs = {entry["setting"]: entry["run"] for entry in results["paper"]["differs"]}
    assert differs["part"] == "val" and differs["criterion"] == "both" and differs["detector"] == "by hand"
    assert differs["concept_part"] == "other videos" and "num_random" in differs and "target" not in differs
    assert "What differs from the paper" in (run / "report.html").read_text()
    assert list(results["figures"]) == ["8"] and "has no spatial clip" in results["missing"]["static"]
    assert any(sentence.startswith("Not run, static concepts") for sentence in findings(results))
    assert "Not run" in (run / "report.html").read_text()
    # Nothing in it tells forwards from backwards, and its answers do not change.
    assert results["reversal"]["answers"]["playing tennis"]["answer_changed"] == 0
    assert results["model"]["accuracy"] is None and not (run / "model.keras").exists()


def test_videos_that_gave_concepts_are_not_explained(kinetics, tennis, tmp_path):
    sources = sorted((kinetics / "val" / "playing tennis").glob("*.mp4"))[:7]
    box = np.array([[0, 0, 32, 32]] * 8, np.float32)
    tracks = [Track(label, np.arange(8), box, np.ones(8, np.float32)) for label in ("person", "tennis racket")]
    mining.cut_tracks({path: tracks for path in sources}, sources, ["person", "tennis racket"], tmp_path / "mined")
    mined = changed(tennis, concepts=tmp_path / "mined")
    dataset = mined.data.listed()
    label = dataset.class_names.index("playing tennis")
    halves = divide(dataset, label, "official", given=mining.load(tmp_path / "mined"))
    assert {record.path for record in halves.concept} == set(sources)
    assert len(halves.explained) == 11 and not {record.path for record in halves.explained} & set(sources)
    # Five are left, of one class: too few for ten parts.
    with pytest.raises(ValueError, match="5 videos of playing tennis can be explained; at least 6 are needed"):
        video_tcav.main(changed(mined, folds=6))


def test_a_class_that_the_model_calls_otherwise_and_concepts_mined_from_all_videos(
    kinetics, motion_model, tennis, tmp_path
):
    """As a user does it: mine everything, review, explain. Half of the class's videos give concepts."""
    model, clip = load_model(motion_model)[0], tmp_path / "other.keras"
    save_model(model, clip, ["tennis match", "dining"])
    sources = sorted((kinetics / "val").rglob("*.mp4"))
    box = np.array([[0, 0, 32, 32]] * 8, np.float32)
    tracks = [Track(label, np.arange(8), box, np.ones(8, np.float32)) for label in ("person", "racket")]
    mining.cut_tracks({path: tracks for path in sources}, sources, ["person", "racket"], tmp_path / "mined")
    asked = changed(tennis, model=clip, concepts=tmp_path / "mined", run="other", target="tennis match")
    with pytest.raises(ValueError, match="no class 'tennis match'.* --videos-of is for"):
        video_tcav.main(asked)
    video_tcav.main(changed(asked, videos_of="Playing Tennis", short_concepts="wrap"))
    run = asked.output.out / "video_tcav" / "other"
    results = json.loads((run / "results.json").read_text())
    assert results["target"] == "tennis match" and "playing tennis" not in results["dataset"]["classes"]
    assert results["clips"]["class"] == 6 == results["clips"]["concepts"]["racket"]["dynamic"]
    explained = {row["video"] for row in results["gradcam"]["clips"]}
    reviewed = (run / "concepts.html").read_text()
    assert "valp000" in reviewed and not [name for name in explained if name in reviewed]
    assert results["same_gradient"] == results["taps"] and "0 or 1 by construction" in (run / "report.html").read_text()


def test_all_of_the_test_list_is_explained_where_concepts_come_from_the_validation_list(kinetics, tennis, tmp_path):
    """By the t-test alone, which measures what the permutation test would refuse, without cross-validation."""
    sources = sorted(path for part in ("val", "test") for path in (kinetics / part).rglob("*.mp4"))
    box = np.array([[0, 0, 32, 32]] * 8, np.float32)
    tracks = [Track(label, np.arange(8), box, np.ones(8, np.float32)) for label in ("person", "racket")]
    mining.cut_tracks({path: tracks for path in sources}, sources, ["person", "racket"], tmp_path / "mined")
    asked = changed(tennis, concepts=tmp_path / "mined", part="test", concept_part="val", class_clips=30, run="parts")
    asked = changed(asked, reversals=False, folds=0, level=1e-6)
    with pytest.raises(ValueError, match="permutation test of concept 'person' takes more clips"):
        video_tcav.main(asked)
    video_tcav.main(changed(asked, criterion="t-test", run="t-test"))
    run = asked.output.out / "video_tcav" / "t-test"
    results = json.loads((run / "results.json").read_text())
    explained = {row["video"] for row in results["gradcam"]["clips"]}
    assert explained == {path.stem for path in (kinetics / "test" / "playing tennis").iterdir()} and len(explained) == 7
    assert results["dataset"]["notes"][-1] == (
        "17 val videos may give concepts and all 11 test videos are explained; 1 val videos show the same as these and "
        "give none"
    )
    reviewed = (run / "concepts.html").read_text()
    assert "valp000005" in reviewed and "valp000006" not in reviewed and "testp" not in reviewed
    assert {row["by_both"] for found in results["tests"]["dynamic"].values() for row in found.values()} == {None}
    assert [row["By both tests"] for row in printed(run, "figure_10_dynamic")] == [""] * 3 * len(results["taps"])
    assert {e["setting"] for e in results["paper"]["differs"]} >= {"concept_part", "level"} - {"part", "criterion"}


def broken(folder):
    for path in (folder / "still").glob("*.mp4"):
        path.write_bytes(b"no video")


def emptied(folder):
    for path in (folder / "still").glob("*.mp4"):
        path.unlink()


def alone(folder):
    emptied(folder)
    (folder / "still").rmdir()


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (alone, {}, "at least two are needed. Received: moving"),
        (emptied, {}, "still: an empty concept folder"),
        (broken, {}, "concept 'still' .* 6 of 6 cannot be decoded, the first still/.*needs at least 2"),
        (None, {"target": "dinning"}, "has no class 'dinning'. Closest: dining"),
        (None, {"target": "dining", "part": "test", "folds": 6}, "4 videos of dining can be explained; at least 6"),
        (None, {"folds": 1}, "--folds must be at least 2, or 0"),
        (None, {"concept_names": "moving,racket"}, "no concept 'racket'. It has moving, still"),
        (None, {"folds": 9, "concept_clips": 9, "class_clips": 9}, "9-fold cross-validation needs at least 9"),
        (None, {"level": 0.0001}, "permutation test of concept 'moving' takes more clips"),
        (None, {"taps": "last,conv9"}, "conv9"),
        (None, {"num_frames": 16}, "The model takes 8 x 32 x 32 x 3"),
        (None, {"concepts": None}, "Concepts are needed"),
        (None, {"model": None}, "There is nothing to explain"),
        (None, {"model": None, "network": "VideoSwin"}, "--size None is as --model says"),
        (None, READ | {"model": None, "network": "VideoSwinn"}, "Unknown model"),
        (None, {"data_dir": None}, "--data-dir"),
        (None, {"pairs": "a-b"}, "FORWARD:BACKWARD"),
        (None, {"detector": "yolo.onnx"}, "give one of them"),
        (None, {"concepts": None, "detector": "gone.onnx", "labels": "person,ball"}, "gone.onnx: no such detector"),
        (None, {"concepts": None, "detector": "gone.onnx", "labels": "person"}, "At least two concepts"),
    ],
)
def test_wrong_input_is_named_before_any_long_work(tennis, by_hand, tmp_path, damage, options, message):
    if damage is not None:
        for path in by_hand.rglob("*.mp4"):
            copy = tmp_path / "concepts" / path.relative_to(by_hand)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        damage(tmp_path / "concepts")
        options = {"concepts": tmp_path / "concepts"}
    with pytest.raises((ValueError, OSError), match=message):
        video_tcav.main(changed(tennis, out=tmp_path / "out", **options))
    assert not list((tmp_path / "out").rglob("results.json"))


def test_a_trainer_takes_the_small_swin(recipe):
    """The small run trains another network."""
    wanted = changed(recipe, network="VideoSwin")
    found = wanted.model.subject(wanted.reading.shape, [CONCEPTS], wanted.swin, start_seed=recipe.seed)
    assert found.name == "VideoSwin"
    inspect.signature(Trainer.train).bind(None, found.network, None, None, recipe.seed, **found.options)


def test_names_of_published_weights_keep_their_spaces(motion_model, monkeypatch, tmp_path):
    model, _ = load_model(motion_model)
    monkeypatch.setattr(models, "video_swin", lambda **options: model)
    monkeypatch.setattr(importers, "video_swin_options", lambda path: {})
    (tmp_path / "names.txt").write_text("playing tennis\n2 dining\n\n")
    found = subject.published(tmp_path / "swin.pth", (8, 32, 32, 3), tmp_path / "names.txt", network="VideoSwin")
    assert (found.start, found.classifier.class_names) == ("swin.pth", ("playing tennis", "dining"))


def test_help_is_quick_and_unknown_options_are_refused():
    command = [sys.executable, "-m", "experiments.video_tcav"]
    shown = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert shown.returncode == 0 and "--concept-clips" in shown.stdout
    wrong = subprocess.run([*command, "--clipz", "3"], cwd=REPOSITORY, capture_output=True, text=True)
    assert wrong.returncode == 2
