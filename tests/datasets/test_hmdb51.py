import itertools
import os
import shutil
import unicodedata

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, hmdb51

# Two classes of which one name begins with the other, a title with a class in it, and odd characters.
KICK = [
    "#1_(A&B)!;+[x]_kick_f_cm_np1_fr_med_0.avi",
    "#1_(A&B)!;+[x]_kick_f_cm_np1_fr_med_1.avi",
    "Kick_ball_2_kick_l_nm_np2_ba_bad_0.avi",
    "strange-name.avi",
]
KICK_BALL = [
    "FILM_kick_ball_u_cm_np11_ri_goo_12.avi",
    "#1_(A&B)!;+[x]_kick_ball_h_nm_np1_le_med_0.avi",
    "Other_kick_ball_f_nm_np1_le_med_0.avi",
]
LISTS = {
    "kick_test_split1.txt": [(KICK[0], 1), (KICK[1], 1), (KICK[2], 2), (KICK[3], 0)],
    "kick_ball_test_split1.txt": [(KICK_BALL[0], 1), (KICK_BALL[1], 2), (KICK_BALL[2], 0)],
}


@pytest.fixture
def root(empty_videos):
    return empty_videos("data/hmdb51_org", {"kick": KICK, "kick_ball": KICK_BALL})


def write_lists(folder, lists=LISTS):
    folder.mkdir(exist_ok=True)
    for name, lines in lists.items():
        (folder / name).write_text("".join(f"{video} {flag} \n" for video, flag in lines))
    return folder


def test_the_official_split_and_all_clips_on_disk(root, tmp_path):
    write_lists(tmp_path / "data" / "testTrainMulti_7030_splits")
    dataset = datasets.load("hmdb51", root)
    assert (dataset.name, dataset.root) == ("hmdb51", root)
    assert dataset.class_names == ("kick", "kick_ball")
    assert dataset.counts == {"kick": 4, "kick_ball": 3}
    train, test = dataset.split("official")
    assert [record.path.name for record in train.records] == [KICK[0], KICK[1], KICK_BALL[0]]
    assert [record.path.name for record in test.records] == [KICK[2], KICK_BALL[1]]
    assert test.labels.tolist() == [0, 1]
    assert dataset.notes == (
        "official split 1: 2 clips are in neither part",
        "official split 1: 1 of 2 test clips come from a film that has training clips, 0 of them from one that has "
        "training clips of the same class",
    )


def test_the_group_is_the_film_whatever_the_class(root, tmp_path):
    dataset = datasets.load("hmdb51", root, lists=write_lists(tmp_path / "lists"))
    groups = {record.path.name: record.group for record in dataset.records}
    assert groups == {
        KICK[0]: "#1_(A&B)!;+[x]",
        KICK[1]: "#1_(A&B)!;+[x]",
        KICK[2]: "Kick_ball_2",
        KICK[3]: None,
        KICK_BALL[0]: "FILM",
        KICK_BALL[1]: "#1_(A&B)!;+[x]",
        KICK_BALL[2]: "Other",
    }
    assert dataset.overlap_report("official").with_sibling == 1


@pytest.mark.parametrize(
    ("stem", "class_name", "title"),
    [
        ("50_FIRST_DATES_wave_f_cm_np1_fr_med_0", "wave", "50_FIRST_DATES"),
        ("A_wave_B_wave_h_nm_np12_ri_goo_123", "wave", "A_wave_B"),
        ("A_kick_ball_f_cm_np1_fr_med_0", "kick", None),
        ("A_wave_x_cm_np1_fr_med_0", "wave", None),
        ("_wave_f_cm_np1_fr_med_0", "wave", None),
        ("A_wave_f_cm_np1_fr_med_0.copy", "wave", None),
    ],
)
def test_the_title_in_a_name(stem, class_name, title):
    assert hmdb51.source(stem, class_name) == title


def test_lists_are_found_in_and_beside_the_folder(root, tmp_path):
    for place in (tmp_path / "data", root / "splits", root, root.parent / "test_train_splits"):
        write_lists(place)
        for given in (root, root.parent):
            dataset = datasets.load("hmdb51", given)
            assert (dataset.root, len(dataset.official[0])) == (root, 3), place
        for name in LISTS:
            (place / name).unlink()
        if place.name.endswith("splits"):
            place.rmdir()


def test_lists_of_another_data_set_beside_are_not_taken(root):
    write_lists(root.parent / "jhmdb_splits", {"kick_ball_test_split1.txt": [("a.avi", 1)]})
    lists = write_lists(root.parent / "splits")
    assert hmdb51.find_lists(root) == lists.resolve()


def test_copies_in_another_container_and_case(empty_videos, tmp_path):
    videos = [video.removesuffix(".avi").lower() + ".mp4" for video in KICK]
    root = empty_videos("copy", {"Kick": videos, "kick_ball": KICK_BALL})
    with pytest.raises(DatasetError, match="no Kick_test_split1.txt for the folder Kick .* Leave the class out"):
        datasets.load("hmdb51", root, lists=write_lists(tmp_path / "lists"))
    (root / "Kick").rename(root / "kick2")
    (root / "kick2").rename(root / "kick")
    assert len(datasets.load("hmdb51", root, lists=tmp_path / "lists").official[0]) == 3


def test_some_classes_only(root, empty_videos, tmp_path):
    lists = write_lists(tmp_path / "lists", LISTS | {"wave_test_split1.txt": [("a_wave.avi", 1), ("b_wave.avi", 2)]})
    dataset = datasets.load("hmdb51", root, lists=lists)
    assert dataset.notes[0] == "1 of 3 classes are not on disk, first wave"
    empty_videos("data/hmdb51_org", {"wave": ["a_wave.avi", "b_wave.avi", "c_wave.avi"]})
    dataset = datasets.load("hmdb51", root, lists=lists, classes=["wave", "kick"])
    assert dataset.class_names == ("wave", "kick")
    assert dataset.split("official")[1].labels.tolist() == [0, 1]
    assert dataset.notes == (
        "official split 1: 1 videos are in no list, first c_wave.avi",
        "official split 1: 1 clips are in neither part",
    )


def test_missing_videos_are_counted_and_the_first_is_named(root, tmp_path):
    lists = write_lists(tmp_path / "lists")
    for video, match in (
        (KICK[3], r"1 of 2 unused entries are not on disk, first kick/strange-name.avi"),
        (KICK[2], r"1 of 2 test entries are not on disk, first kick/Kick_ball_2"),
        (KICK[0], r"split 1.: 1 of 3 training entries are not on disk, first kick/#1_\(A&B\)!;\+\[x\]_kick_f_"),
    ):
        (root / "kick" / video).unlink()
        with pytest.raises(DatasetError, match=match):
            datasets.load("hmdb51", root, lists=lists)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.avi 1", "b.avi 3"], r"kick_test_split1.txt, line 2: expected '<video> <0, 1 or 2>'. Received: 'b.avi 3'"),
        (["a.avi"], "line 1: expected"),
        (["a.avi 1", "", "kick/b.avi 2"], "line 3: expected"),
        (["1"], "line 1: expected"),
        (["a.avi 1", "b.avi 2", "A.avi 2"], "line 3: A.avi is in this list already, in line 1"),
        ([""], "kick_test_split1.txt: an empty list"),
    ],
)
def test_wrong_lists_are_refused(root, tmp_path, lines, message):
    lists = write_lists(tmp_path / "lists")
    (lists / "kick_test_split1.txt").write_text("\r\n".join(lines), newline="")
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load("hmdb51", root, lists=lists)
    assert "\n" not in str(caught.value)


def test_a_name_with_spaces_is_kept(tmp_path):
    lists = write_lists(tmp_path / "lists", {"kick_test_split2.txt": [("a b .avi", 1), ("c.avi", 2)]})
    assert hmdb51.read_lists(lists, 2)["training"] == {"kick/a b ": "kick/a b .avi"}


def test_what_is_not_there(root, tmp_path):
    with pytest.raises(DatasetError, match="^hmdb51: root, the folder where it lies, is needed"):
        datasets.load("hmdb51")
    with pytest.raises(DatasetError, match="no_such: no such folder"):
        datasets.load("hmdb51", tmp_path / "no_such")
    with pytest.raises(DatasetError, match="no <class>_test_split1.txt in it or beside it; name the folder"):
        datasets.load("hmdb51", root)
    with pytest.raises(DatasetError, match="lists: no such folder. Expected the folder of the lists"):
        datasets.load("hmdb51", root, lists=tmp_path / "lists")
    lists = write_lists(tmp_path / "lists")
    with pytest.raises(DatasetError, match=r"no <class>_test_split4.txt. Found: lists of split 1"):
        datasets.load("hmdb51", root, lists=lists, split=4)
    with pytest.raises(DatasetError, match="Found: no lists"):
        datasets.load("hmdb51", root, lists=root)
    with pytest.raises(DatasetError, match="unknown class 'kik'.*Closest: kick"):
        datasets.load("hmdb51", root, lists=lists, classes=["kik", "kick_ball"])


def write_rar(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"Rar!\x1a\x07\x00")


def test_what_is_still_packed_is_named_with_the_command(root, tmp_path):
    write_rar(tmp_path / "hmdb51_org.rar")
    with pytest.raises(DatasetError, match="hmdb51_org.rar: is an archive. .*`unrar x .*hmdb51_org.rar DIR/`"):
        datasets.load("hmdb51", tmp_path / "hmdb51_org.rar")
    for name in ("kick", "kick_ball"):
        write_rar(tmp_path / "packed" / "org" / f"{name}.rar")
    with pytest.raises(
        DatasetError, match=r"org: 2 .rar files are not unpacked, first kick.rar. Unpack each .*`unrar x"
    ):
        datasets.load("hmdb51", tmp_path / "packed")
    # Some are unpacked; those that are may stay.
    write_lists(tmp_path / "data" / "splits", LISTS | {"wave_test_split1.txt": [("a_wave.avi", 1)]})
    write_rar(root / "kick.rar")
    write_rar(root / "wave.rar")
    with pytest.raises(DatasetError, match=r"1 .rar files are not unpacked, first wave.rar"):
        datasets.load("hmdb51", root)
    with pytest.raises(DatasetError, match=r"1 .rar files are not unpacked, first wave.rar"):
        datasets.load("hmdb51", root, classes=["wave", "kick"])
    assert len(datasets.load("hmdb51", root, classes=["kick", "kick_ball"])) == 7
    shutil.rmtree(tmp_path / "data" / "splits")
    write_rar(root / "test_train_splits.rar")
    with pytest.raises(DatasetError, match=r"1 .rar files are not unpacked, first test_train_splits.rar"):
        datasets.load("hmdb51", root)


def test_the_counts_of_a_whole_set_of_lists(tmp_path):
    """51 lists of 70, 30 and, in the first, all that no part uses."""
    counts = {f"class{n:02d}": (70, 30, 1666 if n == 0 else 0) for n in range(51)}

    def lists(**change):
        shutil.rmtree(tmp_path / "lists", ignore_errors=True)
        return write_lists(
            tmp_path / "lists",
            {
                f"{name}_test_split1.txt": [
                    (f"{flag}_{n}.avi", flag) for flag in (1, 2, 0) for n in range(size[flag - 1])
                ]
                for name, size in (counts | change).items()
            },
        )

    whole = hmdb51.read_lists(lists())
    assert [len(part) for part in whole.values()] == [3570, 1530, 1666]
    with pytest.raises(
        DatasetError, match=r"class07_test_split1.txt: 69 training and 30 test clips. Expected 70 and 30"
    ):
        hmdb51.read_lists(lists(class07=(69, 30, 0)))
    with pytest.raises(DatasetError, match="lists: 1665 clips unused in split 1. Expected 1666"):
        hmdb51.read_lists(lists(class00=(70, 30, 1665)))


def test_missing_videos_are_notes_on_request(root, tmp_path):
    lists = write_lists(tmp_path / "lists")
    (root / "kick" / KICK[0]).unlink()
    (root / "kick" / KICK[3]).unlink()
    with pytest.raises(DatasetError, match="1 of 3 training entries are not on disk, .*; partial=True does without"):
        datasets.load("hmdb51", root, lists=lists)
    dataset = datasets.load("hmdb51", root, lists=lists, partial=True)
    assert [len(part) for part in dataset.official] == [2, 2]
    assert dataset.notes[:3] == (
        f"official split 1: 1 of 3 training entries are not on disk, first kick/{KICK[0]}",
        "official split 1: 1 of 2 unused entries are not on disk, first kick/strange-name.avi",
        "official split 1: 1 clips are in neither part",
    )


def test_without_any_training_video_partial_is_no_way_out(root, tmp_path):
    lists = write_lists(tmp_path / "lists")
    for folder, videos in (("kick", KICK[:2]), ("kick_ball", KICK_BALL[:1])):
        for video in videos:
            (root / folder / video).unlink()
    with pytest.raises(DatasetError, match="none of the 3 training entries is on disk"):
        datasets.load("hmdb51", root, lists=lists, partial=True)


@pytest.mark.parametrize(("flag", "sizes"), [(1, [7, 0]), (2, [0, 7])])
def test_lists_may_have_clips_of_one_part_only(root, tmp_path, flag, sizes):
    one_part = {name: [(video, flag) for video, _ in lines] for name, lines in LISTS.items()}
    dataset = datasets.load("hmdb51", root, lists=write_lists(tmp_path / "lists", one_part))
    assert [len(part) for part in dataset.official] == sizes


def test_a_clip_that_is_there_with_two_suffixes_is_refused(root, tmp_path):
    (root / "kick" / "STRANGE-NAME.mp4").touch()
    with pytest.raises(DatasetError, match=r"kick/STRANGE-NAME.mp4: is the same clip as \S*kick/strange-name.avi"):
        datasets.load("hmdb51", root, lists=write_lists(tmp_path / "lists"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_as_windows_saves_them(root, tmp_path, encoding):
    lists = write_lists(tmp_path / "lists")
    for name in LISTS:
        (lists / name).write_text((lists / name).read_text(), encoding=encoding)
    if encoding == "utf-16":
        with pytest.raises(DatasetError, match=r"_test_split1.txt: cannot be read as text: it is UTF-16"):
            datasets.load("hmdb51", root, lists=lists)
    else:
        assert len(datasets.load("hmdb51", root, lists=lists).official[0]) == 3


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_lists_and_files_in_two_forms_of_unicode(empty_videos, tmp_path, forms):
    disk, listed = (lambda text, form=form: unicodedata.normalize(form, text) for form in forms)
    root = empty_videos("mac", {disk("café"): [disk("é1.avi"), "2.avi"], "bar": ["3.avi", "4.avi"]})
    (tmp_path / "lists").mkdir()
    for name, text in (("café", listed("é1.avi 1\n2.avi 2\n")), ("bar", "3.avi 1\n4.avi 2\n")):
        (tmp_path / "lists" / f"{listed(name)}_test_split1.txt").write_text(text, encoding="utf-8")
    dataset = datasets.load("hmdb51", root, lists=tmp_path / "lists")
    assert dataset.class_names == ("bar", "caf\u00e9")
    assert [len(part) for part in dataset.official] == [2, 2]


def test_names_that_are_no_utf_8(empty_videos, tmp_path):
    name = os.fsdecode(b"a\xe9.avi")
    root = empty_videos("old", {"one": [name, "b.avi"], "two": ["c.avi", "d.avi"]})
    lists = write_lists(tmp_path / "lists", {"two_test_split1.txt": [("c.avi", 1), ("d.avi", 2)]})
    (lists / "one_test_split1.txt").write_bytes(b"a\xe9.avi 1\nb.avi 2\n")
    assert root / "one" / name in datasets.load("hmdb51", root, lists=lists).official[0]


@pytest.fixture(scope="module")
def all_videos(shared, tmp_path_factory):
    """An empty file for each of the 6,766 videos, which are the same in all splits."""
    root = tmp_path_factory.mktemp("hmdb51")
    lists = hmdb51.read_lists(shared / "data" / "splits" / "hmdb51", 1)
    for name in itertools.chain.from_iterable(part.values() for part in lists.values()):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(("split", "siblings"), [(1, 457), (2, 527), (3, 529)])
def test_the_real_lists(shared, all_videos, split, siblings):
    folder = shared / "data" / "splits" / "hmdb51"
    lists = hmdb51.read_lists(folder, split)
    assert {part: len(entries) for part, entries in lists.items()} == {"training": 3570, "test": 1530, "unused": 1666}
    dataset = datasets.load("hmdb51", all_videos, split=split, lists=folder)
    assert len(dataset) == 6766
    assert all(record.group for record in dataset.records)
    assert dataset.notes == (
        f"official split {split}: 1666 clips are in neither part",
        f"official split {split}: {siblings} of 1530 test clips come from a film that has training clips, 0 of them "
        f"from one that has training clips of the same class",
    )
    report = dataset.overlap_report("official")
    assert (report.test_clips, report.with_group, report.with_sibling, report.same_file) == (1530, 1530, siblings, 0)
    assert dataset.overlap_report("group").with_sibling == 0
