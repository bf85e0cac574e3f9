import os
import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, ucf24
from har_tf.files.workers import Failed
from har_tf.video import frame_counts, probe

FILES = {
    "Surfing": ["v_Surfing_g01_c01.avi", "v_Surfing_g08_c01.avi", "v_Surfing_g09_c01.avi"],
    "BasketballDunk": ["v_BasketballDunk_g01_c01.avi", "v_BasketballDunk_g08_c01.avi"],
    "Archery": ["v_Archery_g01_c01.avi"],
    "HandstandPushups": ["v_HandStandPushups_g01_c01.avi"],
}
DUNK, SURFING = 1, 19


def tube(label, sf, ef, boxes, dtype=np.uint8):
    return {"label": label, "sf": sf, "ef": ef, "boxes": np.array(boxes, dtype).reshape(-1, 4)}


def annotations() -> dict:
    """As in the real file: NumPy text for keys, uint8 boxes where they fit, uint8 numf."""
    still = [[10, 20, 30, 40]] * 4
    return {
        np.str_("Surfing/v_Surfing_g08_c01"): {
            "numf": np.uint8(6),
            "label": SURFING,
            # 200 + 100 does not fit into uint8.
            "annotations": [tube(SURFING, 2, 4, [[200, 100, 100, 50], [1, 1, 2, 3]]), tube(SURFING, 0, 4, still)],
        },
        np.str_("Surfing/v_Surfing_g01_c01"): {
            "numf": np.uint8(4), "label": SURFING, "annotations": [tube(SURFING, 0, 4, still)],
        },
        np.str_("BasketballDunk/v_BasketballDunk_g01_c01"): {
            "numf": np.uint16(4), "label": DUNK, "annotations": [tube(DUNK, 0, 4, still)],
        },
        np.str_("BasketballDunk/v_BasketballDunk_g08_c01"): {
            "numf": np.uint8(4), "label": DUNK, "annotations": [tube(DUNK, 0, 4, still)],
        },
        np.str_("Biking/v_Biking_g01_c01"): {"numf": np.uint8(4), "label": 2, "annotations": [tube(2, 0, 4, still)]},
    }  # fmt: skip


def write_lists(
    folder: Path, content=None, test=("Surfing/v_Surfing_g01_c01", "BasketballDunk/v_BasketballDunk_g01_c01")
):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "pyannot.pkl").write_bytes(pickle.dumps(annotations() if content is None else content, 2))
    (folder / "testlist01.txt").write_text("\n".join(test) + "\n")
    return folder


def load(root, **options):
    """Without a look into the videos, which are empty files here."""
    return datasets.load("ucf24", root, count_frames=False, **options)


@pytest.fixture
def root(empty_videos, tmp_path):
    write_lists(tmp_path / "UCF-101" / "splitfiles")
    return empty_videos("UCF-101", FILES)


def test_tubes_labels_groups_and_split(root):
    dataset = load(root)
    assert dataset.name == "ucf24"
    assert dataset.class_names == ("BasketballDunk", "Surfing")
    assert [(r.path.name, r.label, r.group) for r in dataset.records] == [
        ("v_BasketballDunk_g01_c01.avi", 0, "BasketballDunk/g01"),
        ("v_BasketballDunk_g08_c01.avi", 0, "BasketballDunk/g08"),
        ("v_Surfing_g01_c01.avi", 1, "Surfing/g01"),
        ("v_Surfing_g08_c01.avi", 1, "Surfing/g08"),
    ]
    train, test = dataset.split("official")
    assert [record.group for record in train.records] == ["BasketballDunk/g08", "Surfing/g08"]
    assert [record.group for record in test.records] == ["BasketballDunk/g01", "Surfing/g01"]
    assert dataset.notes == (
        "22 of 24 classes are not on disk, first Basketball",
        "1 videos have no annotation and are left out, first v_Surfing_g09_c01.avi",
    )


def test_boxes_are_corners_of_frames_from_0_on(root):
    record = load(root).records[3]
    first, second = record.tubes
    assert (first.label, first.start, second.start) == (1, 2, 0)
    assert first.boxes.dtype == np.float32
    assert first.boxes.tolist() == [[200, 100, 300, 150], [1, 1, 3, 4]]
    assert record.boxes_at(1).tolist() == [[10, 20, 40, 60]]
    assert record.boxes_at(2).tolist() == [[200, 100, 300, 150], [10, 20, 40, 60]]
    assert record.boxes_at(4).shape == (0, 4)


def test_classes_in_the_order_asked_for(root):
    dataset = load(root, classes=["Surfing", "BasketballDunk"])
    assert dataset.class_names == ("Surfing", "BasketballDunk")
    assert {(r.label, t.label) for r in dataset.records for t in r.tubes} == {(0, 0), (1, 1)}
    assert dataset.notes == ("1 videos have no annotation and are left out, first v_Surfing_g09_c01.avi",)


def test_the_lists_may_lie_beside_around_or_elsewhere(empty_videos, tmp_path):
    root = empty_videos("copy/UCF-101", FILES)
    with pytest.raises(DatasetError, match="no pyannot.pkl in it or beside it"):
        load(root)
    lists = write_lists(tmp_path / "copy" / "annotations")
    official = load(root).official
    assert len(official[1]) == 2
    assert load(tmp_path / "copy").official == official
    moved = lists.rename(tmp_path / "moved")
    assert load(root, lists=moved).official == official


def test_a_part_says_what_is_missing(empty_videos, tmp_path):
    files = {"Surfing": FILES["Surfing"][:1], "BasketballDunk": FILES["BasketballDunk"], "Biking": ["other.avi"]}
    test = ("Surfing/v_Surfing_g01_c01", "BasketballDunk/v_BasketballDunk_g01_c01", "Biking/v_Biking_g01_c01")
    root, lists = empty_videos("ucf", files), write_lists(tmp_path / "lists", test=test)
    with pytest.raises(DatasetError, match=r"ucf: 2 of 5 annotated .* first Biking/v_Biking_g01_c01; partial=True"):
        load(root, lists=lists)
    dataset = load(root, lists=lists, partial=True)
    assert len(dataset) == 3
    assert dataset.notes == (
        "21 of 24 classes are not on disk, first Basketball",
        "2 of 5 annotated videos are not on disk, first Biking/v_Biking_g01_c01",
        "1 videos have no annotation and are left out, first other.avi",
    )


def test_the_lists_of_ucf101_serve_as_well(empty_videos, tmp_path):
    root = empty_videos("ucf", FILES)
    lists = write_lists(tmp_path / "lists")
    (lists / "testlist01.txt").write_text(
        "Archery/v_Archery_g01_c01.avi\nSurfing/v_Surfing_g01_c01.avi\nSurfing/v_Surfing_g02_c07.avi\n"
        "BasketballDunk/v_BasketballDunk_g01_c01.avi\n"
    )
    (lists / "trainlist01.txt").write_text("BasketballDunk/v_BasketballDunk_g08_c01.avi 10\n")
    dataset = load(root, lists=lists)
    train, test = (sorted(path.name for path in part) for part in dataset.official)
    assert test == ["v_BasketballDunk_g01_c01.avi", "v_Surfing_g01_c01.avi"]
    assert train == ["v_BasketballDunk_g08_c01.avi"]
    assert dataset.notes[2:] == (
        "1 videos of testlist01.txt have no annotation, first Surfing/v_Surfing_g02_c07.avi",
        "1 videos are neither in trainlist01.txt nor in testlist01.txt, and in no part, first v_Surfing_g08_c01.avi",
    )
    (lists / "trainlist01.txt").write_text("Surfing/v_Surfing_g01_c01.mp4 10\n")
    with pytest.raises(DatasetError, match="1 videos are in testlist01.txt as well: surfing/v_surfing_g01_c01"):
        load(root, lists=lists)


def test_the_train_list_of_ucf101_counts_wherever_its_test_list_is(root):
    """The annotations lie elsewhere, without lists."""
    lists = root.parent / "ucfTrainTestlist"
    lists.mkdir()
    (root / "splitfiles" / "testlist01.txt").rename(lists / "testlist01.txt")
    (lists / "trainlist01.txt").write_text("BasketballDunk/v_BasketballDunk_g08_c01.avi 10\n")
    assert [path.name for path in load(root).official[0]] == ["v_BasketballDunk_g08_c01.avi"]


def test_a_test_list_of_other_suffixes_tests_the_same(root):
    expected = load(root).official
    write_lists(
        root / "splitfiles", test=("Surfing/v_Surfing_g01_c01.mp4", "BasketballDunk/v_BasketballDunk_g01_c01.webm")
    )
    assert load(root).official == expected


@pytest.mark.parametrize("label", ["  20", " 20 x", " -1", "\t20", "\n./Surfing/v_Surfing_g01_c01"])
def test_only_the_first_word_of_a_line_counts(root, label):
    expected = load(root).official
    write_lists(
        root / "splitfiles", test=(f"Surfing/v_Surfing_g01_c01{label}", "BasketballDunk/v_BasketballDunk_g01_c01")
    )
    assert load(root).official == expected


def test_a_test_list_that_is_not_whole_would_move_test_videos_into_training(root):
    write_lists(root / "splitfiles", test=("Surfing/v_Surfing_g01_c01",))
    with pytest.raises(DatasetError, match="testlist01.txt: no video of BasketballDunk. Expected some of every class"):
        load(root)
    everything = annotations() | {
        f"{name}/a": {"numf": 1, "label": label, "annotations": []} for label, name in enumerate(ucf24.CLASSES)
    }
    write_lists(root / "splitfiles", everything)
    with pytest.raises(DatasetError, match="2 annotated videos, but of all 24 classes there are 910. The rest would"):
        load(root, partial=True)


def test_the_published_number_of_test_videos_is_whole(root, monkeypatch):
    everything = annotations() | {
        f"{name}/a": {"numf": 1, "label": label, "annotations": []} for label, name in enumerate(ucf24.CLASSES)
    }
    write_lists(root / "splitfiles", everything)
    monkeypatch.setattr(ucf24, "TEST_VIDEOS", 2)
    assert len(load(root, partial=True).official[1]) == 2


def test_lists_as_windows_saves_them(root):
    expected = load(root).official
    path = root / "splitfiles" / "testlist01.txt"
    path.write_text(path.read_text().replace("\n", "\r\n"), encoding="utf-8-sig")
    assert load(root).official == expected


def test_a_clip_in_two_containers_is_refused(root):
    (root / "Surfing" / "v_Surfing_g01_c01.mp4").touch()
    with pytest.raises(DatasetError, match=r"v_Surfing_g01_c01.avi: is the same clip as .*v_Surfing_g01_c01.mp4"):
        load(root)


def test_what_reaches_over_the_end_or_the_edge_is_cut_and_counted(tmp_path):
    boxes = [[300, 200, 40, 50], [-10, -5, 30, 30], [400, 10, 20, 20], [5, 5, 0, 9], [np.nan] * 4, [5, 6, 7, 8]]
    content = {
        "Surfing/a": {
            "numf": 8,
            "label": SURFING,
            "annotations": [tube(SURFING, 4, 10, boxes, float), tube(SURFING, 8, 10, [[1, 1, 5, 5]] * 2)],
        }
    }
    read, notes = ucf24.read_annotations(write_lists(tmp_path, content) / "pyannot.pkl")
    (only,) = read["Surfing/a"].tubes
    assert (read["Surfing/a"].frames, only.start) == (8, 4)
    np.testing.assert_array_equal(only.boxes, [[300, 200, 320, 240], [0, 0, 20, 25], [np.nan] * 4, [np.nan] * 4])
    assert notes == (
        "pyannot.pkl: 3 boxes are empty, outside the picture or not finite, and became NaN",
        "pyannot.pkl: 2 boxes reached over the edge of the picture and were cut there",
        "pyannot.pkl: 2 tubes ran past the end of their video and were cut there",
    )


def make_avi(path: Path, frames: int, size=ucf24.SIZE):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*size, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())


def test_tubes_end_with_the_frames_that_can_be_decoded(root):
    make_avi(root / "Surfing" / "v_Surfing_g01_c01.avi", 3)
    make_avi(root / "Surfing" / "v_Surfing_g08_c01.avi", 6)
    make_avi(root / "BasketballDunk" / "v_BasketballDunk_g01_c01.avi", 4, (48, 64))
    dataset = datasets.load("ucf24", root, workers=0)
    lengths = {record.path.stem: [len(tube.boxes) for tube in record.tubes] for record in dataset.records}
    assert lengths == {
        "v_Surfing_g01_c01": [3],
        "v_Surfing_g08_c01": [2, 4],
        "v_BasketballDunk_g01_c01": [4],
        "v_BasketballDunk_g08_c01": [4],
    }
    broken, other, sized, cut = dataset.notes[2:]
    assert broken.startswith("1 videos cannot be read, first ")
    assert "v_BasketballDunk_g08_c01.avi" in broken
    assert other == (
        "1 videos have another number of frames than pyannot.pkl says, first v_Surfing_g01_c01.avi: 3 for 4"
    )
    assert sized == "1 videos are not 320 x 240, as the boxes are, first v_BasketballDunk_g01_c01.avi"
    assert cut == "1 tubes ran past the end of their video and were cut there"


def test_frames_are_counted_in_other_processes_or_known_already(root, monkeypatch):
    asked = []
    counts = [frame_counts.FrameCount(4, 240, 320), Failed("died"), *[frame_counts.FrameCount(3, 240, 320)] * 2]
    monkeypatch.setattr(frame_counts, "count_frames", lambda paths, *options: asked.append(options) or counts)
    dataset = datasets.load("ucf24", root, counts={root: "known"}, workers=3)
    assert asked == [({root: "known"}, 3)]
    assert dataset.notes[2] == f"1 videos cannot be read, first {dataset.records[1].path}: died"
    assert [len(tube.boxes) for tube in dataset.records[2].tubes] == [3]


GOOD = tube(SURFING, 0, 1, [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected a dict of videos. Received: list"),
        ({}, "expected a dict of videos"),
        ({"Archery/a": {}}, "of the 24 classes. Received: 'Archery/a'"),
        ({7: {}}, "of the 24 classes. Received: 7"),
        ({"Surfing/a": []}, "Surfing/a: expected a dict with numf, label, annotations. Received: list"),
        ({"Surfing/a": {"numf": 4, "label": 19}}, "Received: numf, label"),
        ({"Surfing/a": {"numf": -1, "label": 19, "annotations": []}}, "numf: expected a number, 0 or more"),
        ({"Surfing/a": {"numf": 4, "label": 2, "annotations": []}}, "expected label 19 and a list. Received: 2"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": {}}}, "expected label 19 and a list"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [{}]}}, "tube 0: expected a dict with sf, ef"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [{**GOOD, "label": 3}]}}, "expected label 19"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [GOOD, {**GOOD, "ef": 3}]}}, "tube 1: expected 3 boxes"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [{**GOOD, "sf": 2}]}}, "expected -1 boxes"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [{**GOOD, "boxes": [1]}]}}, "Got: list"),
        ({"Surfing/a": {"numf": 4, "label": 19, "annotations": [{**GOOD, "boxes": np.array("a")}]}}, "Got: <U1 "),
    ],
)
def test_wrong_annotations_are_refused(root, tmp_path, content, message):
    lists = write_lists(tmp_path / "wrong", content)
    with pytest.raises(DatasetError, match=r"wrong/pyannot.pkl") as caught:
        load(root, lists=lists)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_annotations_that_run_code_are_refused(root, tmp_path):
    lists = write_lists(tmp_path / "evil")
    (lists / "pyannot.pkl").write_bytes(b"cos\nsystem\n(S'echo hacked'\ntR.")
    with pytest.raises(DatasetError, match=r"pyannot.pkl, byte 0: refuses to import os.system"):
        load(root, lists=lists)


def test_what_is_not_there(root, empty_videos, tmp_path):
    with pytest.raises(DatasetError, match="^ucf24: root, the folder where it lies, is needed"):
        load(None)
    with pytest.raises(DatasetError, match="no such folder"):
        load(tmp_path / "none")
    with pytest.raises(DatasetError, match="ucf24 has one split. Received: split=2"):
        load(root, split=2)
    with pytest.raises(DatasetError, match="unknown class 'Archery'"):
        load(root, classes=["Archery", "Surfing"])
    with pytest.raises(DatasetError, match="no folder of class Biking"):
        load(root, classes=["Biking", "Surfing"])
    with pytest.raises(DatasetError, match="no folder of a class of UCF24"):
        load(empty_videos("other", {"wave": ["a.avi"], "jump": ["a.avi"]}))
    others = empty_videos("others", {"Surfing": ["a.avi"], "Biking": ["b.avi"]})
    with pytest.raises(DatasetError, match="none of the 5 videos of .*pyannot.pkl is in it"):
        load(others, lists=root / "splitfiles")
    (root / "splitfiles" / "testlist01.txt").unlink()
    with pytest.raises(DatasetError, match="testlist01.txt: no such list"):
        load(root)
    with pytest.raises(DatasetError, match="pyannot.pkl: cannot be read"):
        load(root, lists=tmp_path)
    with pytest.raises(DatasetError, match="nowhere: no such folder. Expected a folder that holds pyannot.pkl"):
        load(root, lists=tmp_path / "nowhere")


@pytest.mark.parametrize(("text", "message"), [("\n", "an empty list"), ("v_Surfing_g01_c01\n", "line 1: expected")])
def test_a_wrong_test_list_is_refused(root, text, message):
    (root / "splitfiles" / "testlist01.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load(root)


def test_the_real_annotations(shared):
    read, notes = ucf24.read_annotations(shared / "data" / "ucf24" / "pyannot.pkl")
    assert notes == ()
    assert len(read) == ucf24.VIDEOS == 3194
    assert {annotation.label for annotation in read.values()} == set(range(24))
    tubes = [tube for annotation in read.values() for tube in annotation.tubes]
    assert len(tubes) == 4458
    boxes = np.concatenate([tube.boxes for tube in tubes])
    assert boxes.shape == (573862, 4)
    assert np.isfinite(boxes).all()
    assert boxes.min(0).tolist()[:2] == [1, 1]
    assert boxes.max(0).tolist()[2:] == [320, 240]
    test = (shared / "data" / "ucf24" / "testlist01.txt").read_text().split()
    assert len(test) == ucf24.TEST_VIDEOS == 910
    assert set(test) < set(read)


def test_the_real_clips(shared):
    data = shared / "data"
    dataset = datasets.load("ucf24", data / "ucf10", lists=data / "ucf24", partial=True, workers=0)
    assert dataset.counts == {"BasketballDunk": 26, "Surfing": 26, "TrampolineJumping": 24}
    train, test = dataset.split("official")
    assert (len(train), len(test)) == (36, 40)
    assert dataset.overlap_report("official").with_sibling == 0
    assert dataset.notes == (
        "21 of 24 classes are not on disk, first Basketball",
        "296 of 372 annotated videos are not on disk, first BasketballDunk/v_BasketballDunk_g01_c03",
        "2 videos have no annotation and are left out, first v_TrampolineJumping_g06_c03.avi",
        "5 videos have another number of frames than pyannot.pkl says, first v_Surfing_g03_c01.avi: 125 for 126",
        "4 tubes ran past the end of their video and were cut there",
    )
    for record in dataset.records[::10]:
        frames = probe(record.path).frames
        assert all(tube.start >= 0 and tube.start + len(tube.boxes) <= frames for tube in record.tubes)
    assert sum(len(record.tubes) for record in dataset.records) == 113


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_in_the_root_is_named(tmp_path):
    closed = tmp_path / "UCF-101"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(DatasetError, match="UCF-101: cannot be listed: Permission denied"):
            load(tmp_path)
    finally:
        closed.chmod(0o755)


def test_a_folder_of_some_classes_gets_the_boxes_of_what_is_annotated(root, empty_videos, tmp_path):
    """With labels of its own, and with what nobody annotated."""
    folder = empty_videos("mine", {name: FILES[name] for name in ("Archery", "Surfing")})
    boxed = ucf24.with_tubes(datasets.load(folder), root / "splitfiles" / "pyannot.pkl")
    by_name = {record.path.stem: record for record in boxed.records}
    assert [len(by_name[name].tubes) for name in ("v_Archery_g01_c01", "v_Surfing_g08_c01", "v_Surfing_g09_c01")] == [
        0,
        2,
        0,
    ]
    assert {tube.label for tube in by_name["v_Surfing_g08_c01"].tubes} == {boxed.class_names.index("Surfing")}
    assert boxed.notes[-1] == "2 of 4 videos have true boxes, of pyannot.pkl"
    others = empty_videos("others", {"Archery": FILES["Archery"], "Fencing": ["v_Fencing_g01_c01.avi"]})
    with pytest.raises(DatasetError, match=r"others: none of the 5 videos of .*pyannot.pkl is in it"):
        ucf24.with_tubes(datasets.load(others), root / "splitfiles" / "pyannot.pkl")
