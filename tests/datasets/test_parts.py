import re

import pytest

from har_tf import datasets
from har_tf.datasets.parts import part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "train") for name in ("train", "Training", "train_set", "videos_train", "TRAIN-data", "trainset")),
        *((name, "val") for name in ("val", "valid", "validate", "validation_set", "dev", "clips.val")),
        *((name, "test") for name in ("test", "testing", "test_videos", "eval", "evaluation")),
        *((name, "") for name in ("trainer", "train_ride", "testify", "fold1", "demo", "set", "")),
    ],
)
def test_names_of_parts(name, part):
    assert part_of(name) == part


def layout(parts, classes=("run", "walk")):
    return {f"{part}/{name}": [f"{part}_{name}.mp4"] for part in parts for name in classes}


@pytest.mark.parametrize("parts", [("train", "test"), ("train_set", "test_set"), ("videos_train", "videos_val")])
def test_parts_under_other_names_are_a_split(empty_videos, parts):
    found = datasets.load(empty_videos("own", layout(parts)))
    assert found.class_names == ("run", "walk")
    assert [len(paths) for paths in found.official] == [2, 2]
    assert all(parts[1] in str(path) for path in found.official[1])


@pytest.mark.parametrize(
    "parts", [("train", "test", "demo"), ("fold1", "fold2"), ("train", "extra"), ("a", "b"), ("cam1", "cam2", "cam3")]
)
def test_where_both_can_be_meant_both_readings_are_shown(empty_videos, parts):
    root = empty_videos("own", layout(parts))
    words = f"two readings. Either {', '.join(sorted(parts))} are parts of the data, and the classes are run, walk in"
    with pytest.raises(datasets.DatasetError, match=words):
        datasets.load(root)
    assert datasets.load(root, classes=sorted(parts)).class_names == tuple(sorted(parts)), "who names them decides"


@pytest.mark.parametrize("parts", [("dev", "eval"), ("train", "training", "test")])
def test_parts_without_one_train_folder_are_refused(empty_videos, parts):
    with pytest.raises(datasets.DatasetError, match=r"called like parts of a split: .*Expected one train folder"):
        datasets.load(empty_videos("own", layout(parts)))


def test_loose_videos_in_parts_are_told_as_such(empty_videos):
    root = empty_videos("own", {"train": ["a.mp4", "b.mp4"], "test": ["c.mp4"]})
    (root / "train.csv").write_text("video_name,tag\n")
    words = "test, train are called like the parts of a split, but 1 videos in test are in no class folder"
    with pytest.raises(datasets.DatasetError, match=f"{words}.*train.csv, which is not read"):
        datasets.load(root)
    beside = empty_videos("other", {"train/run": ["a.mp4"], "train/walk": ["b.mp4"], "validate": ["c.mp4", "d.mp4"]})
    with pytest.raises(datasets.DatasetError, match="2 videos in validate are in no class folder"):
        datasets.load(beside)


def test_a_class_may_be_called_train_and_hold_folders(empty_videos):
    vehicles = datasets.load(empty_videos("vehicles", {"bus": ["a.mp4"], "car": ["b.mp4"], "train": ["c.mp4"]}))
    assert vehicles.class_names == ("bus", "car", "train") and vehicles.official is None
    shots = {"run/g01": ["a.mp4"], "run/g02": ["b.mp4"], "walk/g03": ["c.mp4"], "walk/g01": ["d.mp4"]}
    assert datasets.load(empty_videos("shots", shots)).class_names == ("run", "walk")
    one = datasets.load(empty_videos("one", {"run/videos": ["a.mp4"], "walk/videos": ["b.mp4"]}))
    assert one.class_names == ("run", "walk")


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "$RECYCLE.BIN", "lost+found"])
def test_folders_of_systems_are_left_out_with_a_note(empty_videos, name):
    root = empty_videos("own", {"run": ["a.mp4"], "walk": ["b.mp4"], f"{name}/run": ["._a.mp4", "b.mp4"]})
    (root / "walk" / name).mkdir()
    found = datasets.load(root)
    assert found.class_names == ("run", "walk") and len(found) == 2
    (note,) = found.notes
    assert re.fullmatch(rf"folders of the system are left out: .*{re.escape(name)} and 1 more", note)


def test_videos_beside_class_folders_are_left_out_with_a_note(empty_videos):
    root = empty_videos("own", {"run": ["a.mp4"], "walk": ["b.mp4"], "": ["c.mp4", "d.mp4"]})
    found = datasets.load(root)
    assert len(found) == 2
    assert found.notes == (f"2 videos in {root} are in no class folder, and are left out: c.mp4",)


@pytest.mark.parametrize("ending", ["gif", "vob", "m2v", "mts"])
def test_endings_that_hold_videos_are_taken(empty_videos, ending):
    assert len(datasets.load(empty_videos("own", {"run": [f"a.{ending}"], "walk": [f"B.{ending.upper()}"]}))) == 2
