import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, folder, hmdb51, ucf101
from har_tf.video import VideoError

TWO = {"Archery": ["v_Archery_g01_c01.avi", "v_Archery_g02_c01.avi"], "Surfing": ["v_Surfing_g01_c01.AVI"]}


def names(dataset):
    return [(record.path.name, record.label, record.group) for record in dataset.records]


def test_class_folders_in_order_of_their_names(empty_videos):
    root = empty_videos("UCF-101", TWO | {".hidden": ["x.avi"]})
    (root / "readme.txt").touch()
    (root / "Archery" / ".v_Archery_g03_c01.avi").touch()
    (root / "Archery" / "notes.csv").touch()
    dataset = datasets.load(root)
    assert dataset.name == "ucf_101"
    assert dataset.class_names == ("Archery", "Surfing")
    assert names(dataset) == [
        ("v_Archery_g01_c01.avi", 0, "Archery/g01"),
        ("v_Archery_g02_c01.avi", 0, "Archery/g02"),
        ("v_Surfing_g01_c01.AVI", 1, "Surfing/g01"),
    ]
    assert dataset.counts == {"Archery": 2, "Surfing": 1}
    assert dataset.official is None
    np.testing.assert_array_equal(dataset.labels, [0, 0, 1])


def test_folders_around_the_classes_and_within_them(empty_videos):
    root = empty_videos("UCF101", {f"UCF-101/deeper/{name}/part1": files for name, files in TWO.items()})
    (root / "train.csv").touch()
    assert names(datasets.load(root)) == names(datasets.load(root / "UCF-101"))
    assert datasets.load(root).counts == {"Archery": 2, "Surfing": 1}


def test_train_val_and_test_folders_are_the_official_split(empty_videos):
    layout = {
        "train/Archery": ["a.mp4"], "train/Surfing": ["b.mp4"],
        "val/Archery": ["c.mp4"], "val/Surfing": [],
        "test/Archery": ["d.mp4"], "test/Surfing": ["e.mp4"],
    }  # fmt: skip
    dataset = datasets.load(empty_videos("kaggle", layout))
    train, test = dataset.split("official")
    assert train.class_names == ("Archery", "Surfing")
    assert [record.path.name for record in train.records] == ["a.mp4", "c.mp4", "b.mp4"]
    assert [record.path.name for record in test.records] == ["d.mp4", "e.mp4"]
    assert dataset.notes == ("val is the validation part of the official split: 1 clips",)


@pytest.mark.parametrize("name", ["val", "validation", "valid", "dev", "videos_val"])
def test_a_given_validation_part_is_held_out_under_the_official_split_alone(empty_videos, name):
    layout = {f"{part}/{c}": [f"{c}{i}.mp4" for i in range(4)] for part in ("train", name, "test") for c in ("a", "b")}
    dataset = datasets.load(empty_videos("own", layout))
    for asked in (dataset, dataset.only(["b", "a"]), dataset.subset(r for r in dataset if "0" not in r.path.name)):
        train, _ = asked.split("official")
        for seed in range(3):
            rest, held = train.hold_out(0.2, seed)
            parts = [{record.path.parts[-3] for record in part} for part in (rest, held)]
            assert parts == [{"train"}, {name}] and len(rest) + len(held) == len(train)
    train, _ = dataset.split("random")
    drawn = train.hold_out(0.2)[1]
    assert {record.path.parts[-3] for record in drawn} != {name} and len(drawn) == round(0.2 * len(train) / 2) * 2
    train, _ = dataset.subset(r for r in dataset if r.path.parts[-3] != name).split("official")
    with pytest.raises(DatasetError, match="no clip of the validation part that came with the data is left"):
        train.hold_out()
    train, _ = dataset.subset(r for r in dataset if r.path.parts[-3] != "train" or r.label).split("official")
    with pytest.raises(DatasetError, match="only the validation part has training clips of a"):
        train.hold_out()


def test_without_a_test_folder_the_validation_folder_is_the_test_part(empty_videos):
    layout = {f"{part}/{c}": [f"{c}{i}.mp4" for i in range(5)] for part in ("train", "dev") for c in ("a", "b")}
    dataset = datasets.load(empty_videos("own", layout))
    train, test = dataset.split("official")
    assert {record.path.parts[-3] for record in test} == {"dev"} and dataset.validation is None
    assert len(train.hold_out(0.2)[1]) == 2
    assert dataset.notes == ("dev is the test part, for no folder is called so: 10 clips",)


def test_classes_keep_the_given_order(empty_videos):
    dataset = datasets.load(empty_videos("ucf", TWO | {"Biking": ["x.mp4"]}), classes=["Surfing", "Archery"])
    assert dataset.class_names == ("Surfing", "Archery")
    assert [label for _, label, _ in names(dataset)] == [0, 1, 1]


def test_an_unknown_class_is_answered_with_the_closest_and_all(empty_videos):
    with pytest.raises(DatasetError, match=r"unknown class 'archry'.*Closest: Archery\b.*Archery, Surfing"):
        datasets.load(empty_videos("ucf", TWO), classes=["archry", "Surfing"])


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"Archery": ["a.avi"], "Surfing": []}, "class 'Surfing' has no video .an empty folder"),
        ({"Archery": ["a.avi"], "Surfing": ["a.txt"], "Box": ["b.avi"]}, "1 other files, first a.txt"),
        ({"Archery": ["a.avi"]}, "at least two classes are needed. Received: Archery"),
        ({"": ["a.avi"]}, "1 videos that are in no class folder"),
        ({"Archery": ["a.txt"]}, "no video. Expected a folder of videos per class"),
        ({"": []}, "no video"),
    ],
)
def test_what_is_wrong_with_a_folder(empty_videos, layout, message):
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load(empty_videos("ucf", layout))
    assert "\n" not in str(caught.value)


def test_a_class_without_a_video_does_not_matter_when_others_are_wanted(empty_videos):
    root = empty_videos("ucf", TWO | {"Biking": []})
    assert len(datasets.load(root, classes=["Archery", "Surfing"])) == 3


def test_a_missing_folder_and_a_file(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere: no such folder"):
        datasets.load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is a file"):
        datasets.load(str(tmp_path / "file"))


def test_only_one_class_or_one_twice_is_refused(empty_videos):
    dataset = folder.load(empty_videos("ucf", TWO))
    with pytest.raises(DatasetError, match="at least two classes"):
        dataset.only(["Archery"])
    with pytest.raises(DatasetError, match="given twice: Archery"):
        dataset.only(["Archery", "Archery"])


@pytest.mark.parametrize("link", ["Archery/up", "Archery/part/up", "loop"])
def test_links_to_a_folder_around_them_list_no_video_twice(empty_videos, link):
    """The videos of the neighbours would be labelled with the class of the link."""
    root = empty_videos("ucf", TWO | {"Archery/part": ["v_Archery_g03_c01.avi"]})
    before = names(datasets.load(root))
    (root / link).symlink_to(root, target_is_directory=True)
    assert names(datasets.load(root)) == before
    assert len(before) == 4


def test_what_is_named_like_a_video_and_cannot_be_read_is_kept(empty_videos):
    root = empty_videos("ucf", TWO)
    (root / "Surfing" / "v_Surfing_g02_c01.avi").symlink_to("nowhere")
    os.mkfifo(root / "Surfing" / "v_Surfing_g03_c01.avi")
    dataset = datasets.load(root)
    assert dataset.counts == {"Archery": 2, "Surfing": 3}
    with pytest.raises(VideoError, match="v_Surfing_g03_c01.avi: not a regular file"):
        dataset.records[-1].read()


@pytest.mark.parametrize("on_disk, given", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_of_macos_are_the_names_of_others(empty_videos, on_disk, given):
    """A Mac's tools write é as e with an accent behind it."""
    root = empty_videos("ucf", {unicodedata.normalize(on_disk, "café"): ["a_g01.avi"], "bar": ["b.avi"]})
    dataset = datasets.load(root, classes=[unicodedata.normalize(given, "café"), "bar"])
    assert dataset.class_names == ("caf\u00e9", "bar")
    assert dataset.records[0].group == "caf\u00e9/g01"
    assert dataset.records[0].path.exists()
    assert dataset.only(["bar", unicodedata.normalize(given, "café")]).class_names == ("bar", "caf\u00e9")


@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_closed_folder_is_named(tmp_path, monkeypatch, call):
    real = getattr(os, call)

    def closed(path, *args, **options):
        if os.fspath(path).endswith("closed/data"):  # not by permissions: the tests may run as root
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path, *args, **options)

    (tmp_path / "closed" / "data").mkdir(parents=True)
    if call == "stat":  # as where the folder around it is closed
        monkeypatch.setattr(os, "scandir", closed)
    monkeypatch.setattr(os, call, closed)
    for load in (folder.check_folder, datasets.load, hmdb51.read_lists, ucf101.read_lists):
        with pytest.raises(DatasetError, match="closed/data: cannot be listed: Permission denied"):
            load(tmp_path / "closed" / "data")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.tar.gz", "tar xf {0} -C DIR"),
        ("a.TGZ", "tar xf {0} -C DIR"),
        ("a b.zip", "unzip '{0}' -d DIR"),
        ("a.7z", "7z x {0} -oDIR"),
        ("a.rar", "unrar x {0} DIR/"),
    ],
)
def test_an_archive_is_answered_with_the_command_that_unpacks_it(tmp_path, name, command):
    archive = tmp_path / name
    archive.touch()
    with pytest.raises(DatasetError) as error:
        datasets.load(archive)
    assert str(error.value) == (
        f"{archive}: is an archive. Expected a folder that holds a folder of videos per class. "
        f"Unpack it into a new folder DIR: `{command.format(archive)}`"
    )


def test_an_archive_that_is_called_like_an_option_is_none(tmp_path):
    assert folder.how_to_unpack(Path("-x.tar"), tmp_path) == f"`tar xf ./-x.tar -C {tmp_path}`"
    assert folder.how_to_unpack(Path("a.gz")) is None
