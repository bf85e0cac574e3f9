import zipfile

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, thumos
from har_tf.video import VideoError

# <Class>_<part>.txt: the lines in it, written as in the original, with two blanks.
VALIDATION = {
    "BaseballPitch": ["video_validation_0000266  1.0 2.0", "video_validation_0000266  0.2 0.4"],
    "Diving": ["video_validation_0000051  0.0 1.0", "video_validation_0000051  2.0 3.0"],
    "CliffDiving": ["video_validation_0000051  2.0 3.0"],
    "Ambiguous": ["video_validation_0000051  0.5 0.6", "video_validation_0000266  0.5 0.6"],
}
TEST = {"BaseballPitch": ["video_test_0000004  0.0 0.4"], "Diving": ["video_test_0000006  1.5 2.5"], "Ambiguous": []}
VIDEOS = (
    "TH14_validation_set_mp4/validation/video_validation_0000051.mp4",
    "TH14_validation_set_mp4/validation/video_validation_0000266.mp4",
    "TH14_validation_set_mp4/validation/video_validation_0000777.mp4",
    "TH14_test_set_mp4/video_test_0000004.mp4",
    "TH14_test_set_mp4/video_test_0000006.mp4",
)
FOLDERS = {
    "val": "TH14_Temporal_annotations_validation/annotation",
    "test": "TH14_Temporal_Annotations_Test/annotations/annotation",
}
MULTI = {"Run": ["video_validation_0000266 1.00 2.00"], "Fall": ["video_test_0000004 0.00 0.40"], "Dive": []}


def write(root, validation=VALIDATION, test=TEST, videos=VIDEOS):
    for part, lines in (("val", validation), ("test", test)):
        folder = root / FOLDERS[part]
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*thumos.CLASSES, thumos.AMBIGUOUS):
            if lines.get(name, ()) is not None:
                text = "".join(f"{line}\n" for line in lines.get(name, ()))
                (folder / f"{name}_{part}.txt").write_text(text)
        (folder / "detclasslist.txt").write_text("7 BaseballPitch\n")
    for video in videos:
        (root / video).parent.mkdir(parents=True, exist_ok=True)
        (root / video).touch()
    return root


def write_multi(root, lines=MULTI, index="1 Run\n2 Fall\n3 Dive\n"):
    (root / "multithumos" / "annotations").mkdir(parents=True)
    (root / "multithumos" / "class_list.txt").write_text(index)
    for name, segments in lines.items():
        (root / "multithumos" / "annotations" / f"{name}.txt").write_text("\n".join(segments))
    return root


def summary(dataset):
    names = dataset.class_names
    return [(names[record.label], record.group, record.segment) for record in dataset.records]


def test_one_record_a_segment(tmp_path):
    dataset = datasets.load("thumos", write(tmp_path))
    assert dataset.name == "thumos14"
    assert dataset.class_names == thumos.CLASSES
    assert summary(dataset) == [
        ("BaseballPitch", "video_test_0000004", (0.0, 0.4)),
        ("BaseballPitch", "video_validation_0000266", (0.2, 0.4)),
        ("BaseballPitch", "video_validation_0000266", (1.0, 2.0)),
        ("CliffDiving", "video_validation_0000051", (2.0, 3.0)),
        ("Diving", "video_test_0000006", (1.5, 2.5)),
        ("Diving", "video_validation_0000051", (0.0, 1.0)),
    ]
    assert dataset.notes == (
        "5 segments in 2 validation videos. Published: 3,007 in 200",
        "2 ambiguous validation segments left out",
        "2 segments in 2 test videos. Published: 3,358 in 212",
        "0 ambiguous test segments left out",
        "1 segments are of a rarer class as well, and count as that: Diving as CliffDiving (1)",
    )
    names = [record.name(dataset.root) for record in dataset.records]
    assert names[2] == "TH14_validation_set_mp4/validation/video_validation_0000266.mp4#t=1,2"
    assert len(set(names)) == len(names)


def test_a_segment_of_two_classes_may_be_two_records(tmp_path):
    dataset = datasets.load("thumos", write(tmp_path), one_label=False)
    assert [row for row in summary(dataset) if row[2] == (2.0, 3.0)] == [
        ("CliffDiving", "video_validation_0000051", (2.0, 3.0)),
        ("Diving", "video_validation_0000051", (2.0, 3.0)),
    ]
    assert len(dataset) == 7
    assert not any("rarer" in note for note in dataset.notes)


def test_the_published_counts_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(thumos, "PUBLISHED", {"validation": (5, 2), "test": (2, 2)})
    dataset = datasets.load("thumos", write(tmp_path))
    assert not any("Published" in note for note in dataset.notes)


def test_validation_trains_and_test_tests(tmp_path):
    dataset = datasets.load("thumos", write(tmp_path), classes=["Diving", "BaseballPitch"])
    train, test = dataset.split("official")
    assert [record.group for record in train.records] == ["video_validation_0000051"] * 2 + [
        "video_validation_0000266"
    ] * 2
    assert [record.group for record in test.records] == ["video_test_0000006", "video_test_0000004"]
    assert dataset.overlap_report("official").with_sibling == 0
    # Without CliffDiving among the classes, its segment is a Diving again.
    assert dataset.counts == {"Diving": 3, "BaseballPitch": 3}


def test_a_segment_reads_its_frames(tmp_path, numbered, numbers, make_video):
    root = write(tmp_path)
    for video in VIDEOS:
        make_video(root / video, numbered(75))  # 3 seconds at 25 frames/s
    dataset = datasets.load("thumos", root)
    read = {summary(dataset)[n][1:]: numbers(r.read(None, None)) for n, r in enumerate(dataset.records)}
    assert read == {
        ("video_test_0000004", (0.0, 0.4)): list(range(0, 10)),
        ("video_validation_0000266", (0.2, 0.4)): list(range(5, 10)),
        ("video_validation_0000266", (1.0, 2.0)): list(range(25, 50)),
        ("video_validation_0000051", (2.0, 3.0)): list(range(50, 75)),
        ("video_test_0000006", (1.5, 2.5)): list(range(38, 63)),  # 37.5 and 62.5, halves up
        ("video_validation_0000051", (0.0, 1.0)): list(range(0, 25)),
    }
    record = datasets.load("thumos", root).records[2]
    assert numbers(record.read(3, (48, 64))) == [25, 37, 49]
    make_video(root / VIDEOS[1], numbered(20))
    with pytest.raises(VideoError, match="segment from 1 to 2 s: .*20 decodable"):
        record.read(3, (48, 64))


def test_only_one_of_the_parts(tmp_path):
    root = write(tmp_path, videos=VIDEOS[:3])
    dataset = datasets.load("thumos", root, lists=root / "TH14_Temporal_annotations_validation")
    assert len(dataset) == 4
    assert dataset.official is None
    assert dataset.notes[-1] == "no official split, for there is no segment of the test videos"


def test_missing_videos_are_named(tmp_path):
    root = write(tmp_path, videos=VIDEOS[1:])
    with pytest.raises(DatasetError, match="1 of 4 annotated videos are not there: video_validation_0000051; partial"):
        datasets.load("thumos", root)
    dataset = datasets.load("thumos", root, partial=True)
    assert len(dataset) == 4
    assert "1 of 4 annotated videos are not there: video_validation_0000051" in dataset.notes
    for video in VIDEOS[1:]:
        (root / video).unlink()
    with pytest.raises(DatasetError, match="none of the 4 annotated videos is there"):
        datasets.load("thumos", root, partial=True)


def test_annotations_that_belong_to_other_videos(tmp_path):
    test = TEST | {"Shotput": ["video_test_0000270  1.0 2.0"]}
    root = write(tmp_path, test=test, videos=(*VIDEOS, "test/video_test_0000270.mp4"))
    dataset = datasets.load("thumos", root)
    assert dataset.counts["Shotput"] == 0
    assert "1 segments left out, whose annotation is known to be wrong: video_test_0000270" in dataset.notes
    assert datasets.load("thumos", root, drop_wrong=False).counts["Shotput"] == 1


def test_segments_listed_twice_and_empty_ones(tmp_path):
    lines = ["video_validation_0000266  1.0 2.0", "video_validation_0000266  1.0 2.0", "video_validation_0000266  3 3"]
    dataset = datasets.load("thumos", write(tmp_path, VALIDATION | {"BaseballPitch": lines}))
    assert dataset.counts["BaseballPitch"] == 2
    assert "1 segments are listed twice, and count once" in dataset.notes
    assert dataset.notes[0] == "BaseballPitch_val.txt: 1 segments end before they start, first in line 3: left out"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("video_validation_0000266  1.0", "_val.txt, line 1: expected '<video> <start> <end>'. Received: "),
        ("video_validation_0000266  1.0 2.0 3.0", "line 1: expected '<video>"),
        ("video_validation_0000266  one 2.0", "line 1: expected '<video>"),
        ("video_validation_0000266  nan 2.0", "line 1: expected '<video>"),
        ("video_validation_0000266  -1.0 2.0", "line 1: expected '<video>"),
        ("../video_validation_0000266  1.0 2.0", "line 1: expected '<video>"),
        ("video_test_0000004  1.0 2.0", "line 1: expected a validation video"),
    ],
)
def test_malformed_lines_are_refused(tmp_path, line, message):
    with pytest.raises(DatasetError, match=message) as caught:
        datasets.load("thumos", write(tmp_path, VALIDATION | {"HighJump": [line]}))
    assert "HighJump_val.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_there_twice(tmp_path):
    with pytest.raises(DatasetError, match="^thumos: root, the folder where it lies, is needed"):
        datasets.load("thumos")
    with pytest.raises(DatasetError, match="no such folder"):
        datasets.load("thumos", tmp_path / "none")
    with pytest.raises(DatasetError, match="no annotation. Expected files like BaseballPitch_val.txt"):
        datasets.load("thumos", tmp_path)
    root = write(tmp_path)
    with pytest.raises(DatasetError, match="one split. Received: split=2"):
        datasets.load("thumos", root, split=2)
    with pytest.raises(DatasetError, match="annotations must be one of thumos14, multithumos. Received: 'x'"):
        datasets.load("thumos", root, annotations="x")
    with pytest.raises(DatasetError, match="unknown class 'HighJmp'. Closest: HighJump"):
        datasets.load("thumos", root, classes=["HighJmp", "Diving"])
    (root / "video_test_0000004.avi").touch()
    with pytest.raises(DatasetError, match="video_test_0000004.* is there twice, see .*video_test_0000004"):
        datasets.load("thumos", root)
    (root / FOLDERS["test"] / "HighJump_test.txt").unlink()
    with pytest.raises(DatasetError, match="no test annotation of HighJump, but of other classes"):
        datasets.load("thumos", root)
    (root / FOLDERS["test"] / "HighJump_test.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="HighJump_test.txt: cannot be read as text"):
        datasets.load("thumos", root)


def test_linked_folders_are_followed_once(tmp_path):
    write(tmp_path / "disk")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "data").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "here")
    assert len(datasets.load("thumos", tmp_path / "here")) == 6
    (tmp_path / "here" / "again").symlink_to(tmp_path / "disk")
    assert len(datasets.load("thumos", tmp_path / "here")) == 6


def test_archives_and_files_are_no_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "TH14_test_set_mp4.zip", "w") as archive:
        archive.writestr("video_test_0000004.mp4", "")
    with pytest.raises(DatasetError, match=r"TH14_test_set_mp4.zip: is an archive. .* Unpack it"):
        datasets.load("thumos", tmp_path / "TH14_test_set_mp4.zip")
    with pytest.raises(DatasetError, match=r"TH14_test_set_mp4.zip: is an archive. Expected the folder of the ann"):
        datasets.load("thumos", write(tmp_path), lists=tmp_path / "TH14_test_set_mp4.zip")


def test_a_dangling_link_named_like_a_video_is_for_its_reader_to_refuse(tmp_path):
    root = write(tmp_path)
    (root / VIDEOS[0]).unlink()
    (root / VIDEOS[0]).symlink_to(tmp_path / "gone.mp4")
    assert len(datasets.load("thumos", root)) == 6


def test_annotations_saved_as_utf_16_are_named(tmp_path):
    root = write(tmp_path)
    path = root / FOLDERS["val"] / "Diving_val.txt"
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(DatasetError, match=r"Diving_val.txt: cannot be read as text: it is UTF-16"):
        datasets.load("thumos", root)


def test_multithumos(tmp_path):
    root = write_multi(write(tmp_path))
    dataset = datasets.load("thumos", root, annotations="multithumos")
    assert dataset.name == "multithumos"
    assert dataset.class_names == ("Run", "Fall", "Dive")
    assert summary(dataset) == [
        ("Run", "video_validation_0000266", (1.0, 2.0)),
        ("Fall", "video_test_0000004", (0.0, 0.4)),
    ]
    assert dataset.notes == ("3 classes in class_list.txt. Published: 65",)
    assert [len(part) for part in (dataset.official or ())] == [1, 1]
    assert datasets.load("thumos", root, annotations="multithumos", classes=["Fall", "Run"]).labels.tolist() == [0, 1]


def test_multithumos_that_is_not_whole(tmp_path):
    with pytest.raises(DatasetError, match="expected one class_list.txt, .*Received: none"):
        datasets.load("thumos", write(tmp_path / "a"), annotations="multithumos")
    root = write_multi(write(tmp_path / "b"), {"Run": [], "Fall": []})
    with pytest.raises(DatasetError, match="annotations: no annotation of Dive"):
        datasets.load("thumos", root, annotations="multithumos")
    for index in ("Run\n", "1 Run\n1 Fall\n", "1 Run\n2 Run\n", "x Run\n"):
        (root / "multithumos" / "class_list.txt").write_text(index)
        with pytest.raises(DatasetError, match="class_list.txt, line .: expected '<number> <Class>', each once"):
            datasets.load("thumos", root, annotations="multithumos")
    (root / "multithumos" / "class_list.txt").write_text("1 Run\n")
    with pytest.raises(DatasetError, match="at least two classes are needed. Received: 1"):
        datasets.load("thumos", root, annotations="multithumos")


def test_random_splits_never_lose_a_segment(tmp_path):
    videos = [f"video_validation_{n:07d}" for n in range(1, 11)]
    lines = {name: [f"{v}  {k} {k + 1}" for v in videos for k in range(3)] for name in ("Diving",)}
    lines["Shotput"] = [f"{v}  {k + 0.5} {k + 1}" for v in videos for k in range(3)]
    root = write(tmp_path, lines, {}, [f"{video}.mp4" for video in videos])
    dataset = datasets.load("thumos", root, classes=["Diving", "Shotput"])
    for protocol in ("random", "group"):
        train, test = dataset.split(protocol)
        names = [record.name(root) for part in (train, test) for record in part.records]
        assert sorted(names) == sorted(record.name(root) for record in dataset.records)
    assert dataset.overlap_report("group").with_sibling == 0
    assert np.isclose(len(test) / len(dataset), 0.2)
