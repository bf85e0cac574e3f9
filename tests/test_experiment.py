"""What experiments share: options by name, presets on the command line, the folder of a run."""

import json
import shutil
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from har_tf import experiment
from har_tf.audit import overlap
from har_tf.datasets import ActionDataset, DatasetError, VideoRecord
from har_tf.experiment import (
    Augmentation,
    Data,
    Devices,
    Embedded,
    Output,
    Split,
    Training,
    audited,
    changed,
    check_options,
    open_run,
    options,
    run_cli,
)
from har_tf.paper import Says, Silent
from har_tf.report.run_folder import RunFolder
from har_tf.store.prepare import prepare


@dataclass(frozen=True)
class Recipe:
    data: Data = Data()
    embedded: Embedded = Embedded()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    devices: Devices = Devices()
    output: Output = Output()
    width: int = 3
    """Width of the thing."""
    fast: bool = True
    """Be fast."""


PRESETS = {"figures": Recipe(Data("figures"), Embedded(clips=10), Training(epochs=2)), "paper": Recipe()}


def test_options_of_all_groups_have_names_of_their_own():
    groups = (Data, Embedded, Training, Augmentation, Devices, Output)
    names = [field.name for group in groups for field in fields(group)]
    assert len(set(names)) == len(names)
    assert list(options(Recipe())) == [*names, "width", "fast"]


def test_an_option_is_changed_where_it_stands():
    recipe = changed(PRESETS["figures"], epochs=5, width=7, out=Path("x"))
    assert (recipe.training.epochs, recipe.width, recipe.output.out) == (5, 7, Path("x"))
    assert recipe.embedded.clips == 10, "the others stay"
    with pytest.raises(TypeError, match="Recipe has no option epoch"):
        changed(recipe, epoch=3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"dataset": "figures", "clips": 10, "epochs": 2}),
        (["--epochs", "9"], {"dataset": "figures", "epochs": 9}),
        (["--data-dir", "V"], {"dataset": None, "data_dir": "V", "epochs": 20}),
        (["--dataset=V", "--width", "4"], {"dataset": "V", "epochs": 20, "width": 4}),
        (["--dataset", "figures"], {"epochs": 2}),
        (["--preset", "paper", "--clips", "7"], {"dataset": None, "clips": 7, "epochs": 20}),
        (["--preset=figures", "--data-dir", "V"], {"dataset": "figures", "data_dir": "V", "epochs": 2}),
        (["--no-fast"], {"fast": False}),
        (["--fast", "False", "--width", "5"], {"fast": False, "width": 5}),
    ],
)
def test_a_preset_is_chosen_by_name_or_by_the_data_and_every_option_overrides(monkeypatch, arguments, expected):
    monkeypatch.setattr(sys, "argv", ["x", *arguments])
    found = []
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda recipe: found.append(options(recipe)), PRESETS)
    assert ended.value.code == 0
    assert {name: found[0][name] for name in expected} == expected


def test_an_option_may_tell_what_others_begin_with(monkeypatch):
    found = []
    for arguments in (["--width", "9"], ["--width", "9", "--data-dir", "V"], ["--width", "9", "--epochs", "4"], []):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit):
            run_cli(lambda recipe: found.append(recipe.training.epochs), PRESETS, {"width": {"epochs": 77}})
    assert found == [77, 77, 4, 2]


def test_a_data_set_may_have_a_preset_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--dataset", "ucf101", "--data-dir", "V"])
    found = []
    with pytest.raises(SystemExit):
        run_cli(found.append, PRESETS | {"ucf101": changed(PRESETS["paper"], width=8)})
    assert (found[0].width, found[0].data.dataset) == (8, "ucf101")
    # Where there is one for videos of one's own, the paper's is for the paper's data.
    of_paper = changed(PRESETS["paper"], dataset="kinetics", width=5)
    for arguments in (["--dataset", "V"], ["--dataset", "kinetics", "--data-dir", "V"], ["--data-dir", "V"], []):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit):
            run_cli(found.append, PRESETS | {"paper": of_paper, "videos": changed(of_paper, width=6)})
    assert [recipe.width for recipe in found[1:]] == [6, 5, 5, 3]
    # The paper's data may be videos in folders, as one's own are.
    for arguments in (["--data-dir", "V"], ["--preset", "paper", "--data-dir", "V"]):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit):
            run_cli(found.append, PRESETS | {"videos": changed(PRESETS["paper"], width=6)})
    assert [recipe.width for recipe in found[5:]] == [6, PRESETS["paper"].width]


def test_a_preset_of_another_data_set_is_refused(monkeypatch, capsys):
    presets = PRESETS | {name: changed(PRESETS["paper"], dataset=name) for name in ("ucf101", "jhmdb")}
    for arguments in (["--dataset", "jhmdb", "--preset", "ucf101"], ["--preset=ucf101", "--dataset=jhmdb"]):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_cli(lambda recipe: pytest.fail("run"), presets)
        assert ended.value.code == 2
        assert "--preset ucf101 is for ucf101. Expected for --dataset jhmdb: jhmdb\n" in capsys.readouterr().err
    for given in (["--preset", "paper", "--dataset", "jhmdb"], ["--preset", "jhmdb", "--dataset", "jhmdb"]):
        monkeypatch.setattr(sys, "argv", ["x", *given])
        with pytest.raises(SystemExit) as ended:
            run_cli(lambda recipe: None, presets)
        assert not ended.value.code


def test_wrong_usage_exits_with_2(monkeypatch, capsys):
    for arguments in (["--preset", "papper"], ["--width", "wide"], ["--widht", "3"]):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_cli(lambda recipe: None, PRESETS)
        assert ended.value.code == 2
    assert "--preset is one of figures, paper. Received: papper" in capsys.readouterr().err


def test_help_groups_options_and_names_the_presets(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit):
        run_cli(lambda recipe: None, PRESETS)
    shown = capsys.readouterr().out
    for group in ("data", "embedded", "training", "augmentation", "devices", "output"):
        assert f"{group} options" in shown
    assert "--preset {figures,paper}" in shown and "What experiments share" in shown


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Data(), "--data-dir, the folder of the videos, is needed"),
        (Data("ucf101"), "the folder where ucf101 lies"),
        (Data("figures", "V"), "needs neither --data-dir nor --lists"),
        (Data("V", "W"), "--data-dir is where a published data set lies"),
    ],
)
def test_data_options_that_do_not_go_together(data, words):
    with pytest.raises(ValueError, match=words):
        data.listed()


def test_data_are_listed_as_their_loaders_find_them(miniature, tmp_path):
    assert Data("figures").listed() is None
    for data in (Data(str(miniature)), Data(data_dir=str(miniature), classes="Surfing,Archery")):
        dataset = data.listed()
        assert len(dataset) == 10 * len(dataset.class_names)
    assert dataset.class_names == ("Surfing", "Archery")
    with pytest.raises(DatasetError, match="nowhere"):
        Data(str(tmp_path / "nowhere")).listed()


def test_the_embedded_data_are_drawn_by_their_options(tmp_path):
    output = Output(out=tmp_path, workers=0)
    drawn = Embedded(clips=20, noise=0.0).draw(output, ["wave", "clap"], size=(32, 48), frames=4)
    assert (len(drawn), drawn.class_names) == (4, ("wave", "clap"))
    assert drawn.root.is_relative_to(tmp_path / "figures")


def test_ranges_are_checked_by_the_names_of_options():
    check_options(Recipe(), width=(1, 5))
    for change, words in (({"batch_size": 0}, "--batch-size must be at least 1"), ({"run": "a/b"}, "--run must be")):
        with pytest.raises(ValueError, match=words):
            check_options(changed(Recipe(), **change))
    with pytest.raises(ValueError, match="--width must be between 1 and 2. Received: 3"):
        check_options(Recipe(), width=(1, 2))
    with pytest.raises(ValueError, match="knows no options --runer=x|Apache Beam is not installed"):
        check_options(changed(Recipe(), beam="--runer=x"))


def test_augmentation_is_none_where_nothing_is_changed():
    assert Augmentation().augment() is None
    augment = Augmentation(flip=0.5, colour=0.2).augment()
    assert (augment.flip, augment.brightness, augment.contrast) == (0.5, 0.1, 0.2)
    assert Training(epochs=3, schedule="step").recipe(step_epochs=2).step_epochs == 2


def test_a_run_finds_its_folder_again_and_other_options_or_videos_another(tmp_path):
    def folder(recipe, records=()):
        with open_run("x", recipe, "data", ActionDataset("data", tmp_path, tuple(records), ("a", "b"))) as run:
            return run.path

    recipe = changed(Recipe(), out=tmp_path)
    first = folder(recipe)
    assert first.parent == tmp_path / "x" and first.name.startswith("data-")
    elsewhere = {"workers": 3, "prepared": tmp_path / "p", "strategy": "mirrored", "deterministic": False}
    assert folder(changed(recipe, **elsewhere)) == first, "where it runs does not matter"
    assert folder(changed(recipe, epochs=3)) != first
    video = VideoRecord(tmp_path / "a.mp4", 0)
    assert folder(recipe, [video]) != first
    asked = {folder(changed(recipe, **data), [video]) for data in ({"data_dir": "v"}, {"data_dir": "w"})}
    assert asked == {folder(changed(recipe, dataset="./v"), [video])}, "where the data lie does not matter"
    assert folder(changed(recipe, dataset="ucf101"), [video]) not in asked
    drawn = changed(recipe, dataset="figures")
    assert folder(drawn, [video]) == folder(drawn), "what is drawn follows from the options"
    assert folder(changed(recipe, run="named")) == tmp_path / "x" / "named"
    asked = json.loads((first / "recipe.json").read_text())
    assert (asked["epochs"], asked["width"]) == (20, 3)
    assert json.loads((first / "environment.json").read_text())["packages"]["har_tf"]


def test_readable_leaves_out_what_prepare_did_and_refuses_an_empty_part(miniature):
    dataset = Data(str(miniature)).listed()
    skipped = [SimpleNamespace(path=record.path) for record in dataset.records[:3]]
    assert len(experiment.readable(dataset, skipped, "video")) == 27
    part = dataset.subset(dataset.records[:3])
    with pytest.raises(DatasetError, match="no test clip can be read; all 3 were left out, first .*Archery"):
        experiment.readable(part, skipped, "test clip")


def test_a_split_holds_out_with_every_seed_and_says_what_its_parts_share(miniature, capsys):
    dataset = Data(str(miniature)).listed()
    split = Split.of(dataset, "group", 1, 0.3, [0, 3])
    train, validation, test = split.parts(3)
    assert {*train.records, *validation.records} == {*split.train.records} and test is split.test
    assert {r.group for r in train.records}.isdisjoint(r.group for r in validation.records)
    assert [len(part) for part in Split.of(dataset, "group", 1, 0.0, [0]).parts(0)] == [len(split.train), 0, len(test)]
    measured = split.measured("video")
    assert (measured["training_videos"], measured["test_videos"]) == (len(split.train), len(test))
    assert f"group split 1: {len(split.train)} training videos; 0 of {len(test)} test videos" in capsys.readouterr().out
    assert measured["most_frequent_class"] == pytest.approx(1 / 3) and measured["overlap"]["identical"] is None
    uneven = [*split.train.records, *(record for record in dataset.records if record.label == 2)]
    assert (
        replace(split, train=dataset.subset(uneven), test=dataset.subset(dataset.records[:25])).most_frequent_class
        == 0.2
    )
    skipped = [SimpleNamespace(path=record.path) for record in dataset.records[:3]]
    left = split.readable(skipped)
    assert len(left.train) + len(left.test) == 27
    skipped = [SimpleNamespace(path=record.path) for record in split.test.records]
    with pytest.raises(DatasetError, match="no test clip of the group split 1 can be read"):
        split.readable(skipped)
    with pytest.raises(DatasetError, match="no validation part"):
        replace(split, train=dataset.subset(dataset.records[:1]))


def test_a_validation_part_that_came_with_the_data_is_used_and_told(empty_videos, capsys):
    names = {"train": ("g01", "g02"), "val": ("g02",), "test": ("g03",)}
    layout = {f"{part}/{c}": [f"v_{c}_{g}_c01.mp4" for g in names[part]] for part in names for c in ("a", "b")}
    dataset = Data(str(empty_videos("own", layout))).listed()
    for asked in (0.0, 0.1):
        split = Split.of(dataset, "official", 1, asked, [0, 1])
        assert [len(part) for part in split.parts(1)] == [4, 2, 2]
        assert split.validation == pytest.approx(1 / 3)
        text = "best epoch by the data's own validation part, 2 (2 with a sibling in training)"
        assert split.measured()["validation_text"] == text and text in capsys.readouterr().out
    drawn = Split.of(dataset, "random", 1, 0.25, [0])
    assert drawn.validation_text == "best epoch by 25 % of the training part, drawn from the seed"
    assert replace(drawn, validation=0).validation_text == "last epoch, without validation"


def test_what_is_on_both_sides_is_read_once_a_run(miniature, tmp_path, monkeypatch):
    shutil.copytree(miniature, tmp_path / "videos")
    copied = tmp_path / "videos" / "Archery" / "v_Archery_g01_c01.mp4"
    shutil.copy(copied, copied.with_name("v_Archery_g09_c01.mp4"))
    dataset, run = Data(str(tmp_path / "videos")).listed(), RunFolder(tmp_path / "run", "any")
    copies = {Path("v_Archery_g01_c01.mp4"), Path("v_Archery_g09_c01.mp4")}
    test = dataset.subset(record for record in dataset if record.path.name.startswith("v_Archery_g09"))
    train = dataset.subset(record for record in dataset if record not in test.records)
    split = Split("group", "group split 0", train, test, 0, [0])
    found = audited(dataset, run, 0)
    (pair,) = split.measured(found=found)["overlap"]["identical"]
    assert {Path(name).name for name in pair[:2]} == {path.name for path in copies} and pair[2] == 0
    monkeypatch.setattr(overlap, "inspected", lambda *_: pytest.fail("read again"))
    assert audited(dataset, run, 0) == found
    shutil.copytree(tmp_path / "videos", tmp_path / "copy", copy_function=shutil.copyfile)  # with new times
    assert audited(Data(str(tmp_path / "copy")).listed(), run, 0) == found
    copied.write_bytes(b"another video")
    monkeypatch.setattr(overlap, "inspected", lambda *_: found)
    assert audited(dataset, run, 0) is found, "read anew"


def test_unreadable_segments_are_left_out_one_by_one(make_video, numbered, tmp_path):
    """Segments of one video: one has no frames, the other is there."""
    (tmp_path / "videos").mkdir()
    video = make_video(tmp_path / "videos" / "long.mp4", numbered(20))
    records = (
        VideoRecord(video, 0, segment=(0.0, 0.2)),
        VideoRecord(video, 1, segment=(900.0, 901.0)),
        VideoRecord(video, 1, segment=(0.1, 0.3)),
    )
    dataset = ActionDataset("long", tmp_path / "videos", records, ("wave", "clap"))
    prepared = prepare(dataset, tmp_path / "prepared", 2, (32, 32), workers=0)
    assert len(prepared.skipped) == 1
    parts = dataset.subset(records[:2]), dataset.subset(records[2:])
    train, test = (experiment.readable(part, prepared.skipped, "clip") for part in parts)
    assert (train.records, test.records) == (records[:1], records[2:])
    assert len(prepared.subset(train)) == len(train)


def test_every_option_that_may_change_a_figure_is_compared_with_the_paper():
    paper = {field.name: Silent("-") for field in fields(Training) + fields(Augmentation)}
    paper |= {"width": Says(3, "section 1"), "fast": None, "clips a class": Says(100, "section 2")}
    found = experiment.paper_settings(changed(PRESETS["paper"], width=4), paper, **{"clips a class": 99})
    assert [(entry["setting"], entry["run"]) for entry in found["differs"]] == [("width", 4), ("clips a class", 99)]
    del paper["fast"]
    with pytest.raises(TypeError, match="not declared of: fast$"):
        experiment.paper_settings(PRESETS["paper"], paper, **{"clips a class": 99})
