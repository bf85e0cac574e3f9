"""The localisation experiment: what it leaves behind, that its tables are its results, and what it refuses."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import keras
import numpy as np
import pytest
from PIL import Image

from experiments import cam3d_localization
from experiments.cam3d_localization import IOUS, PRESETS, TOLD
from har_tf.datasets import ucf24, ucf101
from har_tf.evaluate import localization_study
from har_tf.evaluate.controls import CONTROLS
from har_tf.evaluate.map_rows import PAPER_TABLE_6, ModelRow, layer, paper_tables
from har_tf.experiment import Embedded, changed, paper_settings, run_cli
from har_tf.models.resnext3d import resnext3d
from har_tf.models.saving import save_model
from har_tf.models.weights import import_weights as importers
from har_tf.models.weights.resnext3d import HARA
from har_tf.paper import as_in_paper
from har_tf.report.pages import cam3d_localization as page
from har_tf.report.publish import publish
from har_tf.video import probe

REPOSITORY = Path(__file__).resolve().parents[2]
GAUSSIAN, UNIFORM, DIFFERENCE, EDGES, NOISE = (row.name for row in CONTROLS)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return changed(
        PRESETS["figures"], network="ResNeXt3D", clips=60, epochs=1, size=(64, 64), num_frames=4, width=32,
        cardinality=2, validation=0.2, overlays=1, trusted=2, workers=0, frames_per_clip=2, blur=(1 / 128, 1 / 16),
        out=tmp_path_factory.mktemp("runs"), run="tiny",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(recipe):
    cam3d_localization.main(recipe)
    return recipe.output.out / "cam3d_localization" / "tiny"


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def rows(run, stem):
    with (run / "tables" / f"{stem}.csv").open(newline="") as file:
        return {row["Method"]: row for row in csv.DictReader(file)}


def test_the_run_folder_is_complete(run):
    expected = {
        "recipe.json", "environment.json", "results.json", "skipped.csv", "model.keras", "history.csv", "report.html",
        "model_card.md",
        "tables/hits.md", "tables/boxes_oracle.csv", "tables/boxes_chosen.tex", "tables/acc2_chosen.md",
        "tables/side_by_side.csv", "tables/evidence.csv", "figures/figure_7_saliency.png",
        "figures/figure_thresholds.png",
    }  # fmt: skip
    assert {name for name in expected if not (run / name).is_file()} == set()
    assert not [path for path in run.rglob(".*")], "nothing half-written"
    (video,) = (run / "overlays").glob("*.mp4")
    assert (probe(video).codec, probe(video).frames) == ("h264", 4)


def test_the_page_refers_only_to_files_beside_it(run):
    page = (run / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    links = re.findall(r'(?:src|poster)="([^"]+)"', page)
    assert len(set(links)) == 4, "two figures, a video and its poster"
    assert all((run / link).is_file() for link in links)
    for heading in (
        "What was found", "Hits", "Boxes", "Side by side", "Accuracy over the threshold", "Do these maps", "Figure 7"
    ):  # fmt: skip
        assert heading in page


def test_tables_print_the_results(run, results):
    for choice, stem in (("oracle", "boxes_oracle"), ("given", "boxes_chosen")):
        printed = rows(run, stem)
        assert set(printed) == set(results["methods"])
        for name, found in results["methods"].items():
            row = found["boxes"][choice]["frame"]
            shown = [float(printed[name][f"IoU {iou:g}"]) for iou in results["ious"]]
            assert shown == pytest.approx(row["accuracy"])
            assert float(printed[name]["Average"]) == pytest.approx(np.mean(row["accuracy"]))
    sides = {name.removesuffix(" *"): row for name, row in rows(run, "side_by_side").items()}
    for name, row in sides.items():
        assert float(row["Chosen"]) <= float(row["Best"]) + 1e-9 <= float(row["Oracle"]) + 2e-9, name
    assert not any("Paper" in column for column in sides[UNIFORM]), "figures of other data are not set beside these"


def test_the_report_is_made_again_from_results_alone(run):
    files = [run / "report.html", *run.glob("tables/*"), run / "figures" / "figure_thresholds.png"]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    publish(run)
    assert [file.read_bytes() for file in files] == before


def test_every_row_of_the_ablation_and_every_control_is_there(results):
    layers = list(results["model"]["taps"])
    assert layers == [layer(i) for i in range(5)] == ["conv", "layer 1", "layer 2", "layer 3", "layer 4"]
    assert list(results["model"]["taps"].values()) == ["conv3d_1a_7x7", "layer1", "layer2", "layer3", "layer4"]
    assert {ModelRow(*key).name for key in PAPER_TABLE_6} <= results["methods"].keys()
    assert {row.name for row in CONTROLS} == {n for n, row in results["methods"].items() if row["kind"] == "control"}
    assert {"Grad-CAM layer 4", "Sum 3DCAM (2, 3, 4)", "Average 3DCAM (conv, 1, 2, 3, 4)"} <= results["methods"].keys()


def test_behind_global_pooling_3dcam_has_evidence_everywhere_or_nowhere(run, results):
    """Layer 4 is followed by global average pooling and the classifier alone, so its beta is one number."""
    found = {name: row["evidence"] for name, row in results["methods"].items()}
    last, clips = found["3DCAM layer 4"], results["measured"]["test"]["clips"]
    assert last["one_sign"] == 1 and found["Grad-CAM layer 4"]["one_sign"] is None
    single = [found[f"3DCAM {layer(i)}"]["empty"] for i in range(5)]
    assert found["Sum 3DCAM (conv, 1, 2, 3, 4)"]["layers"] == pytest.approx(sum(single))
    assert max(single) * clips <= results["measured"]["test"]["partly"] <= sum(single) * clips
    assert found[UNIFORM]["empty"] == found[UNIFORM]["blank"] == 0
    printed = rows(run, "evidence")
    assert float(printed["3DCAM layer 4"]["Empty"]) == pytest.approx(last["empty"])
    assert "beta has one sign everywhere" in (run / "report.html").read_text()
    assert found[UNIFORM]["when"] is None, "every frame shows a person"


def test_the_sum_is_compared_with_its_best_layer_and_with_grad_cam_of_the_same_layers(run, results):
    methods, chosen = results["methods"], results["chosen"]["3DCAM"]
    best = max((name for name in methods if name.startswith("3DCAM")), key=lambda name: methods[name]["held_out"])
    others = [row["than"] for row in results["differences"] if row["choice"] == "given"]
    assert others[0] == best and chosen.replace("3DCAM", "Grad-CAM") in others
    printed = list(csv.DictReader((run / "tables" / "differences.csv").open(newline="")))
    assert [row["Minus"] for row in printed] == others
    for row in results["differences"]:
        average = [methods[name]["boxes"][row["choice"]]["frame"]["average"] for name in (chosen, row["than"])]
        assert row["value"] == pytest.approx(average[0] - average[1])
        assert 0 < row["p"] <= 1


def test_the_uniform_map_is_the_whole_frame(recipe, results):
    """Measured again without a map: the box of the frame against every true box."""
    from har_tf.evaluate.boxes import iou
    from har_tf.video.sampling import frame_indices

    dataset = recipe.embedded.draw(recipe.output, size=(64, 64), seed=0)
    _, test = dataset.split("group", 0)
    numbers = frame_indices(19, 4)[frame_indices(4, 2)]
    found = np.array([
        iou([[0, 0, 64, 64]], record.boxes_at(int(n)))[0, 0] for record in test.records for n in numbers
    ])  # fmt: skip
    measured = results["methods"][UNIFORM]["boxes"]
    assert results["measured"]["test"]["frames"] == len(found)
    for choice in ("oracle", "best", "given"):
        assert measured[choice]["frame"]["accuracy"] == pytest.approx(
            [(found >= least).mean() for least in (0.3, 0.5, 0.7)]
        )
    hits = results["methods"][UNIFORM]["hits"]
    assert hits["intersects"]["frame"]["value"] == 1


def test_the_average_of_the_layers_has_the_boxes_of_their_sum(results):
    average, total = (results["methods"][f"{name} 3DCAM (conv, 1, 2, 3, 4)"] for name in ("Average", "Sum"))
    assert average["boxes"]["best"] == total["boxes"]["best"]


def test_what_is_chosen_was_best_on_held_out_clips(results):
    """3DCAM's among its sums, which are the paper's method; Grad-CAM's among all."""
    sums = {"3DCAM": "Sum 3DCAM", "Grad-CAM": "Grad-CAM"}
    for kind, name in results["chosen"].items():
        others = [found["held_out"] for other, found in results["methods"].items() if sums[kind] in other]
        assert sums[kind] in name and results["methods"][name]["held_out"] == max(others)


def test_each_row_takes_the_blur_that_suits_held_out_clips(recipe, run, results):
    assert {found["blur"] for found in results["methods"].values()} <= {1 / 128, 1 / 16}
    flat = results["methods"][UNIFORM]
    assert flat["blur"] == 1 / 128, "of equally good ones the first: a uniform map stays what it is"
    with pytest.raises(ValueError, match="--blur must be between 0 and 0.5. Received: 0.1 0.6"):
        cam3d_localization.main(changed(recipe, blur=(0.1, 0.6)))


def test_the_same_command_finds_its_run_and_trains_nothing(run, recipe, capsys):
    state = run / "training" / "ResNeXt3D" / "state.npz"
    before, numbers = state.stat().st_mtime_ns, (run / "results.json").read_text()
    cam3d_localization.main(recipe)
    assert state.stat().st_mtime_ns == before
    assert (run / "results.json").read_text() == numbers
    assert "Sum 3DCAM" in capsys.readouterr().out


def test_a_saved_model_is_explained_as_it_was(run, recipe, results):
    """The same frames, so the same numbers; and the true class in place of the predicted one gives others."""
    saved = changed(recipe, network=None, model=run / "model.keras", trusted=0, run="saved")
    cam3d_localization.main(saved)
    again = json.loads((recipe.output.out / "cam3d_localization" / "saved" / "results.json").read_text())
    assert again["methods"]["3DCAM layer 1"]["boxes"] == results["methods"]["3DCAM layer 1"]["boxes"]
    cam3d_localization.main(changed(saved, explain="true", taps="conv3d_1a_7x7,layer2", blur=(0.1,), run="true"))
    true = json.loads((recipe.output.out / "cam3d_localization" / "true" / "results.json").read_text())
    assert list(true["model"]["taps"].values()) == ["conv3d_1a_7x7", "layer2"]
    assert true["measured"]["test"]["right"] == results["measured"]["test"]["right"]
    assert true["methods"]["3DCAM conv"]["boxes"] != results["methods"]["3DCAM conv"]["boxes"]


def published(path, classes):
    """A checkpoint of a small ResNeXt with the published names."""
    model = resnext3d((4, 64, 64, 3), classes, blocks=(1, 1, 1, 1), width=32, cardinality=2)
    rng = np.random.default_rng(0)
    np.savez(path, **{name: rng.random(slot.shape, np.float32) for name, slot in HARA.slots(model, ".npz").items()})
    return path


def test_published_weights_are_explained_without_training(recipe, tmp_path):
    """Ten outputs are taken for the ten classes, of which all count."""
    weights = published(tmp_path / "published.npz", 10)
    cam3d_localization.main(
        changed(recipe, network=None, weights=weights, run="published", contours="largest", blur=(0.1,), trusted=0)
    )
    run = recipe.output.out / "cam3d_localization" / "published"
    found = json.loads((run / "results.json").read_text())
    assert found["model"]["name"] == "resnext3d"
    assert found["model"]["start"] == "published.npz"
    assert [file.name for file in (run / "training").iterdir()] == ["boxes"], "nothing is trained"
    assert found["methods"]["3DCAM layer 1"]["acc2"] is not None
    assert "The box of the largest contour counts." in (run / "tables" / "side_by_side.md").read_text()
    (tmp_path / "names.txt").write_text("1 walk\n2 run\n")
    with pytest.raises(ValueError, match=r"names.txt: 2 names. Expected 10"):
        cam3d_localization.main(
            changed(recipe, network=None, weights=weights, class_names=tmp_path / "names.txt", run="names")
        )


def test_jhmdb_with_weights_of_hmdb51(make_video, tmp_path, monkeypatch):
    """Six videos with a mask each, and a checkpoint with 51 outputs, whose names are known: Tables 3, 4, 5 and 8."""
    from scipy.io import savemat

    root = tmp_path / "JHMDB"
    (root / "splits").mkdir(parents=True)
    mask = np.zeros((240, 320, 4), np.uint8)
    mask[60:180, 100:220] = 1
    rng = np.random.default_rng(0)
    for action in ("golf", "wave"):
        names = [f"{action}{i}_{action}_f_cm_np1_ri_med_0" for i in range(3)]
        for name in names:
            video = root / "ReCompress_Videos" / action / f"{name}.avi"
            video.parent.mkdir(parents=True, exist_ok=True)
            make_video(video, rng.integers(0, 256, (4, 240, 320, 3), dtype=np.uint8), codec="mpeg4")
            for folder, content in (("puppet_mask", {"part_mask": mask}), ("joint_positions", {})):
                (root / folder / action / name).mkdir(parents=True)
                content = content or {"pos_img": np.full((2, 15, 4), 120.0)}
                savemat(root / folder / action / name / f"{folder}.mat", content)
        lines = [f"{name}.avi {2 if i == 0 else 1}" for i, name in enumerate(names)]
        (root / "splits" / f"{action}_test_split1.txt").write_text("\n".join(lines))
    recipe = changed(
        PRESETS["jhmdb"], data_dir=root, weights=published(tmp_path / "hmdb51.npz", 51), size=(64, 64), num_frames=4,
        validation=0.5, explain="true", trusted=0, workers=0, out=tmp_path, run="r",
    )  # fmt: skip
    classes, layerwise = [], localization_study.layerwise
    monkeypatch.setattr(
        localization_study,
        "layerwise",
        lambda m, c, t, given=None, **how: classes.append(given) or layerwise(m, c, t, given, **how),
    )
    cam3d_localization.main(recipe)
    assert len(classes) == 3 and all(given is not None for given in classes), "the pictures too show the true class"
    run = tmp_path / "cam3d_localization" / "r"
    found = json.loads((run / "results.json").read_text())
    assert {name: each["blur"] for name, each in found["methods"].items() if each["blur"]} == {DIFFERENCE: 1 / 32}
    assert found["measured"]["test"] | {"right": 0, "partly": 0} == {
        "frames": 8, "clips": 2, "videos": 2, "groups": 2, "right": 0, "partly": 0
    }  # fmt: skip
    # The mask covers 32 x 32 pixels of the crop, a quarter of it.
    assert found["methods"][UNIFORM]["hits"]["maximum"]["frame"]["value"] == pytest.approx(0.25, abs=0.02)
    for stem in ("table_3", "table_4_oracle", "table_4_chosen", "table_5_oracle", "table_5_chosen"):
        assert "Sum 3DCAM (conv, 1, 2, 3, 4)" in rows(run, stem)
    assert "Settings that are not the paper" in (run / "report.html").read_text()
    # Clips of four frames in clips of sixteen: every frame is measured once.
    cam3d_localization.main(changed(recipe, num_frames=16, explain="predicted", align="centres", run="short"))
    short = json.loads((tmp_path / "cam3d_localization" / "short" / "results.json").read_text())
    assert (short["measured"]["test"]["frames"], short["measured"]["test"]["clips"]) == (8, 2)
    with pytest.raises(ValueError, match="2 of 2 videos are shorter than a clip of 16 frames"):
        cam3d_localization.main(changed(recipe, num_frames=16, short="error", run="refused"))


def as_if(results, name, ious):
    """The results as if they were of another data set, whole, with the paper's network."""
    dataset = results["dataset"] | {"name": name}
    methods = {}
    for method, found in results["methods"].items():
        methods[method] = dict(found)
        for kind in ("boxes", "acc2"):
            ways = {
                choice: {per: row | {"accuracy": [0.25] * len(ious)} for per, row in units.items()}
                for choice, units in found[kind].items()
            }
            methods[method][kind] = ways
    tables, settings = paper_tables(name, 5), {"differs": [], "readings": [], "open": []}
    return results | {"dataset": dataset, "ious": ious, "methods": methods, "tables": tables, "settings": settings}


def test_the_paper_s_figures_stand_beside_the_paper_s_data(results):
    jhmdb = page.tables(as_if(results, "jhmdb", [0.5, 0.6]))
    assert list(jhmdb) == [
        "table_3", "table_4_oracle", "table_4_chosen", "table_5_oracle", "table_5_chosen", "side_by_side",
        "differences", "evidence",
    ]  # fmt: skip
    paper = {row[0]: row[-1] for row in jhmdb["table_3"].rows}
    assert paper["Grad-CAM layer 4"] == 0.988
    assert paper["Sum 3DCAM (conv, 1, 2, 3, 4)"] == 0.991
    assert paper[UNIFORM] is None
    table = page.tables(as_if(results, "ucf24", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]))["table_6_oracle"]
    row = next(row for row in table.rows if row[0] == "Sum 3DCAM (conv, 1)")
    assert row[-6:] == (0.835, 0.676, 0.426, 0.238, 0.132, 0.063)
    names = [row[0] for row in table.rows]
    assert names[:5] == ["3DCAM conv", "3DCAM layer 1", "3DCAM layer 2", "3DCAM layer 3", "3DCAM layer 4"]
    assert names[-5:] == [GAUSSIAN, UNIFORM, DIFFERENCE, EDGES, NOISE]


@pytest.mark.parametrize(
    "change",
    [
        {"contours": "largest"}, {"explain": "true"}, {"blur": (0.06,)}, {"size": (160, 160)}, {"align": "centres"},
        {"clips_per_video": 1}, {"frames_per_clip": 1}, {"taps": "layer1,layer2"}, {"num_frames": 32},
        {"sampling": "uniform"}, {"by": "25fps"},
    ],
)  # fmt: skip
def test_what_differs_from_the_paper_is_said(change, tmp_path, monkeypatch):
    """Both sizes are the paper's; another network, part of the data, and every option of which it says something."""

    told = {"blocks": (3, 4, 23, 3), "width": 128, "cardinality": 32, "num_classes": 101}
    monkeypatch.setattr(importers, "resnext3d_options", lambda path: told)
    (tmp_path / "w.pth").touch()
    recipe = changed(PRESETS["ucf24"], **TOLD["weights"] | {"weights": tmp_path / "w.pth"})
    dataset, subject = (
        SimpleNamespace(name="ucf24", class_names=ucf24.CLASSES, test_videos=None),
        SimpleNamespace(name="r", start="w.pth"),
    )

    def settings(recipe, videos=ucf24.TEST_VIDEOS):
        shape = recipe.clips.shape
        found = cam3d_localization.taken(recipe, shape, dataset, range(videos), subject)
        return paper_settings(recipe, cam3d_localization.PAPER["ucf24"], **found)

    for size in ((112, 112), (224, 224)):
        assert as_in_paper(settings(changed(recipe, size=size)))
        assert page._paper(
            {"settings": settings(changed(recipe, size=size))}, {"rows": [{"paper": 1}]}, {"0.5": "p"}
        ) == {"Paper: 0.5": "p"}
    (entry,) = settings(changed(recipe, **change))["differs"]
    assert entry["setting"] == next(iter(change)) and entry["counts"]
    assert [entry["setting"] for entry in settings(recipe, ucf24.TEST_VIDEOS - 1)["differs"]] == ["test part"]
    for other in ({"blocks": (3, 4, 6, 3)}, {"num_classes": 400}, {"num_classes": 51}, {"width": 64}):
        known = told | other
        monkeypatch.setattr(importers, "resnext3d_options", lambda path, known=known: known)
        assert [entry["setting"] for entry in settings(recipe)["differs"]] == ["network"], other


def test_the_whole_test_part_is_all_that_the_split_lists(tmp_path, monkeypatch):
    """Of JHMDB by its split; of ILSVRC all pictures but those that choose thresholds, which is said and counts not."""
    hmdb51 = {"blocks": (3, 4, 23, 3), "width": 128, "cardinality": 32, "num_classes": 51}
    monkeypatch.setattr(importers, "resnext3d_options", lambda path: hmdb51)
    (tmp_path / "w.pth").touch()
    subject = SimpleNamespace(name="r", start="w.pth")

    def differs(preset, test, pictures=0, **known):
        recipe = changed(PRESETS[preset], **TOLD["weights"] | {"weights": tmp_path / "w.pth"})
        dataset = MagicMock(class_names=range(21 if preset == "jhmdb" else 1000), **known)
        dataset.name, dataset.__len__.return_value = preset, pictures
        found = cam3d_localization.taken(recipe, recipe.clips.shape, dataset, range(test), subject)
        settings = paper_settings(recipe, cam3d_localization.PAPER[preset], **found)
        return [(entry["setting"], entry["run"], entry["counts"]) for entry in settings["differs"]]

    assert differs("jhmdb", 268, test_videos=268) == []
    assert differs("jhmdb", 260, test_videos=268) == [("test part", "260 videos", True)]
    held_out = ("test part", "45000 of 50000 pictures", False)
    assert differs("ilsvrc", 45_000, 50_000) == [held_out]
    less = [("pictures of the data", 49_000, True), ("test part", "44100 of 49000 pictures", False)]
    assert sorted(differs("ilsvrc", 44_100, 49_000)) == less


def test_every_preset_says_all_of_the_paper():
    for preset in PRESETS.values():
        found = {name: None for name in ("network", "data", "size", "num_frames", "test part", "classes of the data")}
        found["pictures of the data"] = None
        paper_settings(preset, cam3d_localization.PAPER[preset.data.dataset], **found)
    sizes = {name: preset.clips.size for name, preset in PRESETS.items() if name.startswith(("jhmdb", "ucf24"))}
    assert sizes == {"jhmdb": (112, 112), "jhmdb-224": (224, 224), "ucf24": (112, 112), "ucf24-224": (224, 224)}


def test_classes_of_ucf24_are_found_among_ucf101_s_outputs():
    found = localization_study.outputs_of(ucf24.CLASSES, ucf101.CLASS_NAMES, needed=True)
    assert len(set(found)) == 24 and [ucf101.CLASS_NAMES[i] for i in found] == list(ucf24.CLASSES)


def test_a_uniform_map_scores_what_the_best_row_of_table_6_scores(shared):
    """Its box is the whole frame, of which the true box covers the share that is the IoU; in a crop of 240 x 240."""
    annotations, _ = ucf24.read_annotations(shared / "data" / "ucf24" / "pyannot.pkl")
    overlaps = []
    for name in (shared / "data" / "ucf24" / "testlist01.txt").read_text().split():
        annotation = annotations[name]
        largest = np.zeros(annotation.frames)
        for tube in annotation.tubes:
            left, top, right, bottom = tube.boxes.T
            inside = np.clip(right, 40, 280) - np.clip(left, 40, 280)
            there = slice(tube.start, tube.start + len(tube.boxes))
            largest[there] = np.fmax(largest[there], inside * (bottom - top) / 240**2)
        overlaps.append(largest[largest > 0])
    found = [(np.concatenate(overlaps) >= iou).mean() for iou in IOUS["ucf24"]]
    assert np.round(found, 2).tolist() == [0.84, 0.68, 0.43, 0.25, 0.13, 0.07]
    best = max(PAPER_TABLE_6.values(), key=np.mean)
    assert np.mean(found) >= np.mean(best) == pytest.approx(0.395)


def test_real_videos_without_weights_give_the_controls(shared, tmp_path):
    """Part of UCF24, no model: its rows are not run and say what they need."""
    recipe = changed(
        PRESETS["ucf24"], data_dir=shared / "data" / "ucf10", lists=shared / "data" / "ucf24", partial=True, workers=0,
        classes="Surfing,BasketballDunk", size=(48, 48), clips_per_video=1, frames_per_clip=1, out=tmp_path, run="real",
    )  # fmt: skip
    cam3d_localization.main(recipe)
    run = tmp_path / "cam3d_localization" / "real"
    printed = rows(run, "table_6_oracle")
    assert printed["Sum 3DCAM (conv, 1)"]["IoU 0.05"] == "not run"
    assert 0 < float(printed[UNIFORM]["Average"]) < 1
    found = json.loads((run / "results.json").read_text())
    assert "resnext-101-kinetics-ucf101_split1.pth" in found["model"]["missing"]
    assert any("are not on disk" in note for note in found["dataset"]["notes"])
    assert "resnext-101-kinetics-ucf101_split1.pth" in (run / "report.html").read_text()


def test_ucf24_with_weights_of_ucf101_measures_accuracy(shared, tmp_path):
    """101 outputs, among which the classes of the data are found by name: both tables of accuracy are there."""
    recipe = changed(
        PRESETS["ucf24"], weights=published(tmp_path / "ucf101.npz", 101), data_dir=shared / "data" / "ucf10",
        lists=shared / "data" / "ucf24", partial=True, classes="Surfing,BasketballDunk", size=(64, 64), num_frames=4,
        clips_per_video=1, frames_per_clip=1, overlays=0, trusted=0, taps="layer1,layer2", workers=0,
        out=tmp_path, run="r",
    )  # fmt: skip
    cam3d_localization.main(recipe)
    found = json.loads((tmp_path / "cam3d_localization" / "r" / "results.json").read_text())
    assert 0 <= found["measured"]["test"]["right"] <= 1
    assert found["methods"]["3DCAM conv"]["acc2"] is not None
    assert {entry["setting"] for entry in found["settings"]["differs"]} >= {"network", "test part", "size", "taps"}


def test_pictures_are_explained_by_2dcam(tmp_path):
    """Twelve pictures with a bright square each, in ILSVRC's layout, and a network that is made of brightness."""
    rng = np.random.default_rng(0)
    wnids = ("n01440764", "n02012849")
    for i in range(12):
        wnid, x, y = wnids[i % 2], *rng.integers(5, 30, 2).tolist()
        pixels = np.full((60, 60, 3), 10, np.uint8)
        pixels[y : y + 20, x : x + 20] = 250
        path = tmp_path / "data" / "ILSVRC/Data/CLS-LOC/val" / f"ILSVRC2012_val_{i:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95)
        box = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + 19}</xmax><ymax>{y + 19}</ymax>"
        (tmp_path / "data" / "ILSVRC/Annotations/CLS-LOC/val").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "ILSVRC/Annotations/CLS-LOC/val" / f"{path.stem}.xml").write_text(
            f"<annotation><size><width>60</width><height>60</height><depth>3</depth></size>"
            f"<object><name>{wnid}</name><bndbox>{box}</bndbox></object></annotation>"
        )
    picture = keras.Input((60, 60, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(picture)
    for i in range(2):
        x = keras.layers.Conv2D(1, 2, 2, kernel_initializer="ones", activation="relu", name=f"conv{i}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(2, "softmax", kernel_initializer=keras.initializers.Constant(1), name="predictions")(x)
    save_model(keras.Model(picture, x), tmp_path / "bright.keras", wnids)
    recipe = changed(
        PRESETS["ilsvrc"], **TOLD["model"] | {"model": tmp_path / "bright.keras"}, data_dir=tmp_path / "data",
        validation=0.34, trusted=2, workers=0, out=tmp_path, run="r",
    )  # fmt: skip
    cam3d_localization.main(recipe)
    run = tmp_path / "cam3d_localization" / "r"
    found = json.loads((run / "results.json").read_text())
    assert DIFFERENCE not in found["methods"], "a picture does not move"
    tested = [row["name"] for row in found["tested_maps"]["rows"]]
    assert tested[0].startswith("Grad-CAM") and "Control: noise" in tested
    assert "Control: frame differences" not in tested and "not_randomized" not in found["tested_maps"]
    assert {"2DCAM conv", "2DCAM layer 1", "Grad-CAM layer 1"} <= found["methods"].keys()
    assert found["methods"]["2DCAM conv"]["boxes"]["given"]["frame"]["average"] == 1
    assert found["methods"][UNIFORM]["boxes"]["oracle"]["frame"]["average"] == 0, "9 % of the picture"
    assert found["measured"]["test"]["frames"] + found["measured"]["held_out"]["frames"] == 12
    assert (run / "figures" / "figure_8_saliency.png").is_file()
    with pytest.raises(ValueError, match="figures has clips.*a model that takes pictures"):
        figures = changed(PRESETS["figures"], **TOLD["model"] | {"model": tmp_path / "bright.keras"})
        cam3d_localization.main(changed(figures, out=tmp_path, workers=0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"taps": "conv3d_1a_7x7,layer9"}, "tap 'layer9' is not in the model.*layer1"),
        ({"network": "ResNet51"}, "ResNet51"),
        ({"dataset": "ucf24"}, "--data-dir, the folder where ucf24 lies, is needed"),
        ({"data_dir": "somewhere"}, "needs neither --data-dir"),
        ({"model": Path("nowhere.keras")}, "nowhere.keras: no such file for --model"),
        ({"weights": Path("nowhere.pth")}, "nowhere.pth: no such file for --weights"),
        ({"dataset": "ilsvrc", "data_dir": "x", "network": "MobileNet"}, "ilsvrc is explained with"),
        ({"num_frames": 40}, "10 of 10 videos are shorter than a clip of 40 frames.*19 frames.*repeat_last"),
        ({"validation": 0.0}, "--validation"),
        ({"classes": "wave,waive"}, "waive"),
        ({"width": 33}, "width"),
        ({"size": None}, "--size None is as --model says. Received: no --model"),
        ({"run": "../x"}, "--run"),
        ({"called": "wave"}, "--called takes CLASS OF THE DATA=CLASS OF THE MODEL.*Received: 'wave'"),
        ({"called": "wave=a,wave=b"}, "once a class"),
        ({"called": "wave=waving"}, "--called names classes of --model or --weights. Received: neither"),
    ],
)
def test_wrong_input_is_refused_before_any_work(recipe, change, words, monkeypatch):
    from har_tf import trial

    monkeypatch.setattr(trial.Trainer, "train", lambda *a, **k: pytest.fail("training began"))
    with pytest.raises((ValueError, OSError), match=words):
        given = {"network": None} if {"model", "weights"} & change.keys() else {}
        cam3d_localization.main(changed(recipe, **({"run": "wrong"} | given | change)))


def test_boxes_outside_their_frame_are_named(recipe, monkeypatch):
    draw = Embedded.draw

    def moved(*args, **settings):
        dataset = draw(*args, **settings)
        return dataset.subset(
            dataclasses.replace(record, boxes=record.boxes + np.array([40, 0, 40, 0])) for record in dataset.records
        )

    monkeypatch.setattr(Embedded, "draw", moved)
    with pytest.raises(ValueError, match=r"v_\w+_g\d+_c01.mp4, frame \d+: true box 0 .* the frame of 64 x 64 pixels"):
        cam3d_localization.main(changed(recipe, run="outside"))


def test_a_class_that_the_model_does_not_have(run, recipe, tmp_path):
    """Nine outputs for ten classes: its true class cannot be explained."""
    from har_tf.models.saving import load_model

    model, names = load_model(run / "model.keras")
    head = model.get_layer("predictions")
    answers = keras.layers.Dense(9, "softmax", name="predictions")(head.input)
    save_model(keras.Model(model.inputs, answers), tmp_path / "nine.keras", names[:9])
    with pytest.raises(ValueError, match=f"has none for {names[9]}"):
        cam3d_localization.main(
            changed(recipe, network=None, model=tmp_path / "nine.keras", explain="true", run="nine")
        )


def test_annotated_videos_that_are_absent_are_an_error(shared, tmp_path):
    recipe = changed(
        PRESETS["ucf24"], data_dir=shared / "data" / "ucf10", lists=shared / "data" / "ucf24", out=tmp_path, workers=0
    )
    with pytest.raises(ValueError, match="annotated videos are not on disk"):
        cam3d_localization.main(recipe)


def test_presets_are_chosen_by_the_data_and_changed_by_options(monkeypatch):
    def parsed(arguments):
        found = []
        monkeypatch.setattr(sys, "argv", ["experiment", *arguments.split()])
        with pytest.raises(SystemExit) as end:
            run_cli(found.append, PRESETS, TOLD)
        assert not end.value.code
        return found[0]

    figures, paper = PRESETS["figures"], PRESETS["jhmdb"]
    assert parsed("") == figures
    assert parsed("--dataset jhmdb --data-dir J --workers 0") == changed(paper, data_dir="J", workers=0)
    assert parsed("--preset jhmdb --augment True --blur 0 0.1") == changed(paper, augment=True, blur=(0.0, 0.1))
    # What a file tells is left to it, unless it is given.
    w, m = Path("w.pth"), Path("m.keras")
    assert parsed("--weights w.pth --size 64 64") == changed(figures, weights=w, network=None, size=(64, 64))
    saved = changed(paper, model=m, size=None, num_frames=None, sampling="uniform", fit=None, by=None)
    assert parsed("--dataset jhmdb --model m.keras --sampling uniform") == saved
    told = {"model": m, "network": None, "size": None, "num_frames": None, "sampling": None, "fit": None, "by": None}
    assert parsed("--model m.keras --traffic 0 --blur 0.1 --num-frames 8 --run r") == changed(
        figures, **told | {"traffic": 0, "blur": (0.1,), "num_frames": 8, "run": "r"}
    )


def test_help_is_quick_and_unknown_options_are_refused():
    command = [sys.executable, "-m", "experiments.cam3d_localization"]
    shown = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert shown.returncode == 0
    assert "--clips-per-video" in shown.stdout
    wrong = subprocess.run([*command, "--dataset", "imagenet"], cwd=REPOSITORY, capture_output=True, text=True)
    assert wrong.returncode == 2
