"""3DCAM in untrimmed video: on streams of embedded figures, on files as THUMOS'14 has them, and what is refused."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers

from experiments import cam3d_untrimmed
from experiments.cam3d_untrimmed import PAPER, PRESETS, TOLD
from har_tf.evaluate import untrimmed
from har_tf.experiment import changed, paper_settings
from har_tf.models.saving import save_model
from har_tf.paper import as_in_paper
from har_tf.report.publish import publish
from har_tf.subject import RESNEXT_101
from har_tf.video import probe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return changed(
        PRESETS["figures"], clips=30, epochs=1, size=(64, 64), num_frames=4, stride=4, hop=8, streams=2, actions=2,
        repeats=2, validation=0.2, overlays=1, trusted=2, workers=0,
        out=tmp_path_factory.mktemp("runs"), run="tiny",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(recipe):
    cam3d_untrimmed.main(recipe)
    return recipe.output.out / "cam3d_untrimmed" / "tiny"


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def test_every_window_of_every_stream_is_counted(run, results):
    assert (results["dataset"]["videos"], results["dataset"]["segments"]) == (2, 4)
    assert results["clip"] == {"shape": [4, 64, 64, 3], "stride": 4, "hop": 8, "fit": "crop", "align": "corners"}
    counted = sum(row["windows"] for row in results["windows"].values())
    kept = [json.loads(str(np.load(file)["found"])) for file in (run / "training" / "videos").iterdir()]
    assert counted == sum(len(video["windows"]) for video in kept) > 10
    assert [row["count"] for row in results["when"]] == [4] * 4, "two classes of two videos, maps and controls"
    assert len(results["ranks"]) == 8 and results["box"]["count"] == counted
    settings = results["settings"]
    assert {"data", "network", "stride"} <= {entry["setting"] for entry in settings["differs"]}
    assert "hop" in {entry["setting"] for entry in settings["open"]}


def test_the_run_folder_is_complete_and_the_page_refers_to_it(run):
    page = (run / "report.html").read_text()
    links = re.findall(r'(?:src|poster)="([^"]+)"', page)
    assert len(links) >= 3 and all((run / link).is_file() for link in links)
    for heading in (
        "What was found",
        "Answers by window",
        "right side of a cut",
        "Evidence over time",
        "Do these maps",
    ):
        assert heading in page
    (video,) = (run / "overlays").glob("*.mp4")
    assert probe(video).frames > 10


def test_the_report_is_made_again_from_results_alone(run):
    files = [run / "report.html", *run.glob("tables/*"), run / "figures" / "figure_course_1.png"]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    publish(run)
    assert [file.read_bytes() for file in files] == before


def test_a_run_that_was_stopped_goes_on_from_its_videos(run, recipe, monkeypatch):
    before = (run / "results.json").read_text()
    (run / "results.json").unlink()
    (damaged,) = (
        file
        for file in (run / "training" / "videos").iterdir()
        if json.loads(str(np.load(file)["found"]))["windows"][0]["video"] == 1
    )
    damaged.write_bytes(damaged.read_bytes()[:-30])
    measured, measure = [], untrimmed.measure
    monkeypatch.setattr(
        untrimmed,
        "measure",
        lambda m, taps, stream, *more: measured.append(stream.path.stem) or measure(m, taps, stream, *more),
    )
    cam3d_untrimmed.main(recipe)
    assert measured == ["stream_0002"], "what is not whole is measured again, and nothing else"
    assert (run / "results.json").read_text() == before


def thumos(root, make_video, multi):
    """A test video of 40 frames, dark and then bright, and a validation video; annotated as published."""
    dark, bright = np.full((20, 48, 64, 3), 40, np.uint8), np.full((20, 48, 64, 3), 210, np.uint8)
    root.mkdir()
    for name in ("video_test_0000004", "video_validation_0000051"):
        make_video(root / f"{name}.mp4", np.concatenate([dark, bright]))  # 25 frames a second
    lines = {"Diving": "0.0 0.8", "JavelinThrow": "0.8 1.6"}
    if multi:
        (root / "annotations").mkdir()
        (root / "class_list.txt").write_text("1 Diving\n2 JavelinThrow\n3 Run\n")
        lines["Run"] = "0.8 1.6"
    for name in [*lines] if multi else cam3d_untrimmed_classes():
        for part, video in (("test", "video_test_0000004"), ("val", "video_validation_0000051")):
            text = f"{video} {lines[name]}\n" if name in lines else ""
            file = root / "annotations" / f"{name}.txt" if multi else root / f"{name}_{part}.txt"
            file.write_text((file.read_text() if multi and file.exists() else "") + text)
    return root


def cam3d_untrimmed_classes():
    from har_tf.datasets.thumos import CLASSES

    return CLASSES


@pytest.fixture(scope="module")
def brightness(tmp_path_factory):
    """A saved model of clips of 4 frames: dark ones are diving, bright ones javelin throw."""
    clip = keras.Input((4, 32, 32, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    for name in ("first", "second"):
        x = layers.Conv3D(1, (1, 2, 2), (1, 2, 2), activation="relu", name=name)(x)
    x = layers.Dense(2, "softmax", name="predictions")(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(clip, x)
    for name, channels in (("first", 3), ("second", 1)):
        model.get_layer(name).set_weights([np.full((1, 2, 2, channels, 1), 1 / (4 * channels)), np.zeros(1)])
    model.get_layer("predictions").set_weights([np.array([[-20.0, 20]]), np.array([10.0, -10])])
    return save_model(model, tmp_path_factory.mktemp("model") / "m.keras", ["diving", "javelin throw"])


@pytest.mark.parametrize("annotations", ["thumos14", "multithumos"])
def test_files_of_thumos(annotations, brightness, make_video, tmp_path):
    recipe = changed(
        PRESETS["paper"], **TOLD["model"] | {"model": brightness}, data_dir=tmp_path / "TH14", annotations=annotations,
        called="JavelinThrow=javelin throw", out=tmp_path, run="r", hop=4, trusted=0, workers=0,
    )  # fmt: skip
    thumos(tmp_path / "TH14", make_video, annotations == "multithumos")
    cam3d_untrimmed.main(recipe)
    found = json.loads((tmp_path / "cam3d_untrimmed" / "r" / "results.json").read_text())
    inside = found["windows"]["inside"]
    assert (found["dataset"]["videos"], found["dataset"]["name"]) == (1, annotations), "the test part"
    assert (inside["windows"], inside["right"]["value"]) == (10, 1.0), "by the classes that the model calls otherwise"
    assert found["windows"]["outside"]["windows"] == 0 and found["box"] is None
    assert {row["name"]: row["value"] for row in found["when"]}["Control: probability"] == 1
    assert found["dataset"]["known"] == 2, "of which the model has an output"
    with pytest.raises(ValueError, match="none of 2 outputs, diving and so on, is called as a class of the data"):
        other = "Run" if annotations == "multithumos" else "Billiards"
        cam3d_untrimmed.main(changed(recipe, called=None, classes=f"{other},JavelinThrow", run="no"))
    if annotations == "thumos14":
        (tmp_path / "TH14" / "video_validation_0000051.mp4").unlink()
        with pytest.raises(ValueError, match="no annotated validation video. --part names the other part"):
            cam3d_untrimmed.main(changed(recipe, part="validation", partial=True, run="part"))


def test_every_preset_says_all_of_the_paper():
    facts = {"data": "MultiTHUMOS", "network": RESNEXT_101["UCF101"], "size": (224, 224), "num_frames": 16, "hop": 8}
    assert as_in_paper(paper_settings(PRESETS["paper"], PAPER, **facts))
    assert as_in_paper(paper_settings(PRESETS["paper"], PAPER, **facts | {"size": (112, 112)}))
    assert not as_in_paper(paper_settings(changed(PRESETS["paper"], stride=2), PAPER, **facts))
    paper_settings(PRESETS["figures"], PAPER, **facts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": "thumos"}, "Received: --network CNN-GRU --dataset thumos"),
        ({"classes": "wave"}, "Streams are of all actions. Received: --classes wave"),
        ({"actions": 11}, "--actions"), ({"pause": 1.5}, "--pause"), ({"hop": 0}, "--hop"),
        ({"streams": 0}, "--streams"),
        ({"size": (8, 64)}, "--size must be at least 16"), ({"fit": None}, "--fit None is as --model says"),
        ({"network": None}, "nothing to explain: needs --model, --weights"),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_long(change, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        cam3d_untrimmed.main(changed(PRESETS["figures"], out=tmp_path, **change))
