import unicodedata

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, ucf101
from har_tf.datasets.errors import IncompleteError

FILES = {
    "HandstandPushups": ["v_HandStandPushups_g01_c01.avi", "v_HandStandPushups_g08_c01.avi"],
    "Hammering": ["v_Hammering_g01_c01.avi", "v_Hammering_g08_c01.avi", "v_Hammering_g08_c02.avi"],
    "HammerThrow": ["v_HammerThrow_g01_c01.avi", "v_HammerThrow_g08_c01.avi"],
}
CLASS_INDEX = "1 Hammering\r\n2 HammerThrow\r\n3 HandstandPushups\r\n"
# The case differs from the files, as between two releases; the lists end lines as in the original.
TEST = [
    "Hammering/v_Hammering_g01_c01.avi",
    "HammerThrow/v_HammerThrow_g01_c01.avi",
    "HandstandPushups/v_HandstandPushups_g01_c01.avi",
]
TRAIN = [
    "Hammering/v_Hammering_g08_c01.avi 1",
    "Hammering/v_Hammering_g08_c02.avi 1",
    "HammerThrow/v_HammerThrow_g08_c01.avi 2",
    "HandstandPushups/v_HandStandPushups_g08_c01.avi 3",
]


def write_lists(folder, train=TRAIN, test=TEST, classes=CLASS_INDEX):
    folder.mkdir(exist_ok=True)
    (folder / "classInd.txt").write_text(classes, newline="")
    (folder / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n", newline="")
    (folder / "testlist01.txt").write_text("\r\n".join(test) + "\r\n\r\n", newline="")
    return folder


def test_classes_in_their_order_and_the_official_split(empty_videos, tmp_path):
    root = empty_videos("UCF-101", FILES)
    write_lists(tmp_path / "ucfTrainTestlist")
    dataset = datasets.load("ucf101", root)
    assert dataset.name == "ucf101"
    assert dataset.class_names == ("Hammering", "HammerThrow", "HandstandPushups")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert dataset.notes == ()
    train, test = dataset.split("official")
    assert [record.path.name for record in test.records] == [
        "v_Hammering_g01_c01.avi",
        "v_HammerThrow_g01_c01.avi",
        "v_HandStandPushups_g01_c01.avi",
    ]
    assert len(train) == 4


def test_a_part_of_it_as_a_folder_says_what_is_missing(empty_videos, tmp_path):
    root = empty_videos("UCF-101", {"Hammering": FILES["Hammering"][:2], "HammerThrow": FILES["HammerThrow"]})
    (root / "Hammering" / "v_Hammering_g99_c01.avi").touch()
    dataset = datasets.load(root, lists=write_lists(tmp_path / "lists"))
    train, test = dataset.split("official")
    assert (len(train), len(test)) == (2, 2)
    assert dataset.notes == (
        "official split 1: 1 of 3 training entries are not on disk, first Hammering/v_Hammering_g08_c02.avi",
        "official split 1: 1 videos are in no list, first v_Hammering_g99_c01.avi",
    )
    with pytest.raises(DatasetError, match="1 of 3 training entries are not on disk"):
        datasets.load("ucf101", root, lists=tmp_path / "lists")


def test_lists_are_found_beside_a_folder_and_in_a_copy_of_it(empty_videos, tmp_path):
    root = empty_videos("copy/UCF-101", FILES)
    write_lists(tmp_path / "copy" / "ucfTrainTestlist")
    assert datasets.load(root).official == datasets.load(tmp_path / "copy").official
    assert len(datasets.load(root).official[1]) == 3
    with pytest.raises(TypeError, match="positional"):  # the fourth was once `complete`, which is the reverse
        ucf101.with_lists(datasets.load(root), tmp_path / "copy" / "ucfTrainTestlist", 1, True)


def test_lists_beside_other_data_are_not_for_it(empty_videos, tmp_path):
    root = empty_videos("own", {"wave": ["a.mp4"], "jump": ["b.mp4"]})
    lists = write_lists(tmp_path / "ucfTrainTestlist")
    assert datasets.load(root).official is None
    with pytest.raises(
        DatasetError, match="Testlist: none of the training entries of split 1 is in .*own; they are of other"
    ):
        datasets.load(root, lists=lists)


def test_groups_in_both_parts_are_told(empty_videos, tmp_path):
    lists = write_lists(tmp_path / "lists", train=TRAIN[1:], test=[*TEST, TRAIN[0].split()[0]])
    dataset = datasets.load(empty_videos("ucf", FILES), lists=lists)
    assert dataset.notes == ("official split 1: 1 groups are in both parts: Hammering/g08",)
    assert dataset.overlap_report("official").with_sibling == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": [*TEST, TRAIN[2].split()[0]]}, "1 videos are in both .*: HammerThrow/.*_g08_c01.avi"),
        ({"train": [*TRAIN, TRAIN[0]]}, "trainlist01.txt, line 5: .*g08_c01.avi is in this list twice"),
        ({"train": ["v_Hammering_g08_c01.avi 1"]}, "line 1: expected '<Class>/<file> .label.'"),
        ({"train": ["Hammering/v_Hammering_g08_c01.avi 2"]}, "line 1: 2 is not the label of classInd.txt"),
        ({"test": [""]}, "testlist01.txt: an empty list"),
        (
            {"train": ["Biking/v_Biking_g08_c01.avi"]},
            "none of the training entries of split 1 is in .*; they are of other classes",
        ),
        ({"classes": "1 Hammering\n3 HammerThrow\n"}, "the numbers are not 1 to 2"),
        ({"classes": "Hammering\n"}, "classInd.txt, line 1"),
    ],
)
def test_wrong_lists_are_refused(empty_videos, tmp_path, change, message):
    lists = write_lists(tmp_path / "lists", **change)
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load(empty_videos("ucf", FILES), lists=lists)
    assert "\n" not in str(caught.value)


def test_what_is_not_there(empty_videos, tmp_path):
    root = empty_videos("ucf", FILES)
    with pytest.raises(DatasetError, match="no ucfTrainTestlist in it or beside it"):
        datasets.load("ucf101", root)
    with pytest.raises(DatasetError, match=r"trainlist04.txt: no such list. Found: .*trainlist01.txt"):
        datasets.load("ucf101", root, lists=write_lists(tmp_path / "lists"), split=4)
    with pytest.raises(DatasetError, match="^ucf101: root, the folder where it lies, is needed"):
        datasets.load("ucf101")


def test_the_real_lists(shared):
    sizes = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
    tested = {1: range(1, 8), 2: range(8, 15), 3: range(15, 22)}
    for split, (train, test) in sizes.items():
        parts, class_names = ucf101.read_lists(shared / "data" / "splits" / "ucf101", split)
        assert [len(part) for part in parts.values()] == [train, test]
        assert len(class_names) == 101
        groups = {int(entry.split("_g")[1][:2]) for entry in parts["test"].values()}
        assert groups == set(tested[split])


def test_the_real_clips(shared):
    dataset = datasets.load(shared / "data" / "ucf10", lists=shared / "data" / "splits" / "ucf101")
    assert (len(dataset), len(dataset.class_names)) == (260, 10)
    train, test = dataset.split("official")
    assert (len(train), len(test)) == (124, 136)
    assert {record.group.split("/")[1] for record in test.records} == {f"g{n:02d}" for n in range(1, 8)}
    assert dataset.overlap_report("official").with_sibling == 0
    assert dataset.overlap_report("random").with_sibling > 10
    assert dataset.overlap_report("group").with_sibling == 0


def test_missing_videos_are_notes_on_request(empty_videos, tmp_path):
    root = empty_videos("UCF-101", {"Hammering": FILES["Hammering"][:2], "HammerThrow": FILES["HammerThrow"]})
    lists = write_lists(tmp_path / "lists")
    with pytest.raises(DatasetError, match="1 of 3 training entries are not on disk, .*; partial=True does without"):
        datasets.load("ucf101", root, lists=lists)
    dataset = datasets.load("ucf101", root, lists=lists, partial=True)
    assert dataset.class_names == ("Hammering", "HammerThrow")
    assert [len(part) for part in dataset.official] == [2, 2]
    assert dataset.notes == (
        "official split 1: 1 of 3 training entries are not on disk, first Hammering/v_Hammering_g08_c02.avi",
    )


def test_without_a_whole_part_the_error_says_what_helps(empty_videos, tmp_path):
    root, lists = empty_videos("UCF-101", FILES), write_lists(tmp_path / "lists")
    for entry in TRAIN:
        (root / entry.split()[0].replace("HandstandPushups_", "HandStandPushups_")).unlink()
    with pytest.raises(IncompleteError, match="4 of 4 training entries are not on disk, .*; partial=True does without"):
        datasets.load("ucf101", root, lists=lists)
    with pytest.raises(DatasetError, match="none of the 4 training entries is on disk"):
        datasets.load("ucf101", root, lists=lists, partial=True)


def test_entries_may_begin_with_a_dot(empty_videos, tmp_path):
    root = empty_videos("UCF-101", FILES)
    expected = datasets.load("ucf101", root, lists=write_lists(tmp_path / "lists")).official
    lists = write_lists(tmp_path / "lists", [f"./{line}" for line in TRAIN], [f"./{line}" for line in TEST])
    assert datasets.load("ucf101", root, lists=lists).official == expected


@pytest.mark.parametrize("extra", ["v_Hammering_g01_c01.MP4", "v_Hammering_g99_c01.mkv"])
def test_a_clip_that_is_there_with_two_suffixes_is_refused(empty_videos, tmp_path, extra):
    """A random split would put one of them on each side; also where no list names it."""
    root = empty_videos("UCF-101", FILES | {"Hammering": [*FILES["Hammering"], "v_Hammering_g99_c01.avi", extra]})
    lists = write_lists(tmp_path / "lists")
    avi = root / "Hammering" / extra.replace(".MP4", ".avi").replace(".mkv", ".avi")
    for given in (("ucf101", root), (root,)):
        with pytest.raises(DatasetError) as caught:
            datasets.load(*given, lists=lists)
        assert str(caught.value) in {
            f"{a}: is the same clip as {b}. Expected one file of a clip; move the other away"
            for a, b in ((avi, root / "Hammering" / extra), (root / "Hammering" / extra, avi))
        }


def test_the_counts_of_a_whole_set_of_lists(empty_videos, tmp_path):
    """101 classes, of which the first has all videos but one of each other."""
    sizes = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
    names = [f"Class{n:03d}" for n in range(101)]

    def write(split, train, test, classes=names):
        for part, size in (("train", train), ("test", test)):
            rest = [f"{classes[0]}/v_{part}_{n}.avi" for n in range(size - len(classes) + 1)]
            lines = rest + [f"{name}/v_{part}_0.avi" for name in classes[1:]]
            (tmp_path / f"{part}list{split:02d}.txt").write_text("\n".join(lines), encoding="utf-8")

    for split, (train, test) in sizes.items():
        write(split, train, test)
        assert len(ucf101.read_lists(tmp_path, split)[0]["test"]) == test
        for short in ((train - 1, test), (train, test - 1)):
            write(split, *short)
            with pytest.raises(
                DatasetError,
                match=rf"{short[0]} training and {short[1]} test entries in split {split}. Expected {train} and {test}",
            ):
                ucf101.read_lists(tmp_path, split)
    write(1, 9000, 3000, names[:100])
    assert len(ucf101.read_lists(tmp_path, 1)[0]["training"]) == 9000


def test_a_whole_set_of_classes_has_a_known_number_of_videos(empty_videos, tmp_path, monkeypatch):
    """As if UCF101 had the three classes and seven videos of these lists."""
    for name, value in (("CLASSES", 3), ("VIDEOS", 7), ("SIZES", {1: (4, 3)})):
        monkeypatch.setattr(ucf101, name, value)
    root, lists = empty_videos("UCF-101", FILES), write_lists(tmp_path / "lists")
    assert datasets.load("ucf101", root, lists=lists).notes == ()
    (root / "Hammering" / "v_Hammering_g01_c99.avi").touch()
    assert datasets.load("ucf101", root, lists=lists).notes[0] == "8 videos of all 3 classes. UCF101 has 7"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_windows_saves_them(empty_videos, tmp_path, encoding):
    lists = write_lists(tmp_path / "lists")
    for name in ("classInd.txt", "trainlist01.txt", "testlist01.txt"):
        (lists / name).write_text((lists / name).read_text(), encoding=encoding)
    root = empty_videos("ucf", FILES)
    if encoding == "utf-16":
        with pytest.raises(DatasetError, match=r"classInd.txt: cannot be read as text: it is UTF-16"):
            datasets.load(root, lists=lists)
    else:
        assert [len(part) for part in datasets.load("ucf101", root, lists=lists).official] == [4, 3]


def test_lists_and_files_in_two_forms_of_unicode(empty_videos, tmp_path):
    def form(name, texts):
        return [unicodedata.normalize(name, text) for text in texts]

    files = {"café": ["a_é1.avi", "a_2.avi"], "bar": ["b_1.avi", "b_2.avi"]}
    root = empty_videos("mac", {form("NFD", [name])[0]: form("NFD", videos) for name, videos in files.items()})
    (tmp_path / "lists").mkdir()
    for part, entries in (("train", ["café/a_é1.avi", "bar/b_1.avi"]), ("test", ["café/a_2.avi", "bar/b_2.avi"])):
        (tmp_path / "lists" / f"{part}list01.txt").write_text("\n".join(form("NFC", entries)), encoding="utf-8")
    dataset = datasets.load("ucf101", root, lists=tmp_path / "lists")
    assert [len(part) for part in dataset.official] == [2, 2]
    assert dataset.notes == ()


def test_class_names_are_those_of_the_official_list(shared):
    listed = (shared / "data" / "splits" / "ucf101" / "classInd.txt").read_text().split()[1::2]
    assert list(ucf101.CLASS_NAMES) == listed and len(listed) == ucf101.CLASSES
