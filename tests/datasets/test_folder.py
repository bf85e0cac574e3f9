import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, folder

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
    train, test = datasets.load(empty_videos("kaggle", layout)).split("official")
    assert train.class_names == ("Archery", "Surfing")
    assert [record.path.name for record in train.records] == ["a.mp4", "c.mp4", "b.mp4"]
    assert [record.path.name for record in test.records] == ["d.mp4", "e.mp4"]


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
