"""The audit: pairs of clips that show the same, within a collection and across a split."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import FPS, scene

from har_tf.audit import overlap as audit
from har_tf.audit import overlap_report
from har_tf.audit.check import check
from har_tf.audit.manifest import Manifest
from har_tf.datasets import ActionDataset, DatasetError, VideoRecord
from har_tf.video import write_video


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    """A split with every kind of leak.

    a g01: one scene, c01 in training, c02 (mirrored) and a file of the same bytes in test. b: a clip in training, the
    end of it in test under another class and group. Black clips in both parts, and unrelated ones.
    """
    root = tmp_path_factory.mktemp("leaks")

    def write(name: str, frames: np.ndarray, crf: int = 20) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_video(path, frames, fps=FPS, crf=crf)

    first = write("train/a/v_a_g01_c01.mp4", scene(1))
    write("train/a/v_a_g02_c01.mp4", scene(2))
    write("train/b/v_b_g01_c01.mp4", scene(3))
    write("train/b/v_b_g02_c01.mp4", np.zeros((32, 72, 96, 3), np.uint8))
    write("test/a/v_a_g01_c02.mp4", scene(1)[:, :, ::-1], crf=35)
    shutil.copy(first, root / "test" / "a" / "v_a_g05_c01.mp4")
    write("test/a/v_a_g03_c01.mp4", scene(3)[8:], crf=35)
    write("test/b/v_b_g04_c01.mp4", scene(4))
    write("test/b/v_b_g05_c01.mp4", np.full((32, 72, 96, 3), 3, np.uint8))
    return root


@pytest.fixture(scope="module")
def manifest(collection) -> Manifest:
    return check(collection, workers=0, hashes=True)


def test_pairs_of_a_split(manifest):
    found = {(pair.first, pair.second): pair for pair in audit.pairs(manifest)}
    mirrored = found.pop(("train/a/v_a_g01_c01.mp4", "test/a/v_a_g01_c02.mp4"))
    assert (mirrored.mirrored, mirrored.same_source, mirrored.across, mirrored.offset) == (True, True, True, 0.0)
    cut = found.pop(("train/b/v_b_g01_c01.mp4", "test/a/v_a_g03_c01.mp4"))
    assert (cut.mirrored, cut.same_source, cut.across, cut.offset) == (False, False, True, 1.0)
    inner = found.pop(("test/a/v_a_g01_c02.mp4", "test/a/v_a_g05_c01.mp4"))
    assert (inner.mirrored, inner.same_source, inner.across) == (True, False, False)
    assert not found, "files of the same bytes are duplicates, and black ones show nothing"
    assert [[row.path for row in rows] for rows in manifest.duplicates] == [
        ["test/a/v_a_g05_c01.mp4", "train/a/v_a_g01_c01.mp4"]
    ]


def test_the_summary_has_what_is_across_the_split_and_strangers_first(manifest):
    lines = audit.summary(manifest, audit.pairs(manifest)).splitlines()
    assert lines[0] == "near-identical across the split: 2 pairs, 1 of them of the same source"
    assert "train/b/v_b_g01_c01.mp4 ~ test/a/v_a_g03_c01.mp4, begins at 1.00 s" in lines[1]
    assert "v_a_g01_c01.mp4 ~ test/a/v_a_g01_c02.mp4, mirrored, same source" in lines[2]
    assert lines[3:] == ["near-identical otherwise: 1 pairs, 0 of them of the same source"]
    assert audit.summary(Manifest(()), ()) == "near-identical: none"


def test_long_lists_are_cut(manifest):
    pairs = audit.pairs(manifest)[:1] * 50
    lines = audit.summary(Manifest(()), pairs).splitlines()
    assert len(lines) == 1 + audit.SHOWN + 1
    assert lines[-1] == "  and 30 more (--json prints all)"


@pytest.fixture(scope="module")
def dataset(collection) -> ActionDataset:
    from har_tf import datasets

    return datasets.load(collection)


PAIRS_OF_TEST = {
    "test/a/v_a_g01_c02.mp4": "train/a/v_a_g01_c01.mp4",
    "test/a/v_a_g03_c01.mp4": "train/b/v_b_g01_c01.mp4",
}


def test_overlap_report_finds_what_is_in_both_parts(dataset, manifest):
    report = overlap_report(dataset, "official", manifest=manifest)
    assert report.identical == (("test/a/v_a_g05_c01.mp4", "train/a/v_a_g01_c01.mp4", 0.0),)
    assert {a: b for a, b, _ in report.near_identical} == PAIRS_OF_TEST
    assert all(0 < distance <= 0.2 for _, _, distance in report.near_identical)
    assert (report.near_of_other_groups, report.unread, report.with_sibling) == (1, 0, 1)
    assert str(report) == (
        "1 of 5 test clips (20 %) have a sibling in training; 1 have the same content as a training clip; "
        "2 are near-identical to one, 1 of them to one that is no sibling"
    )


def test_overlap_report_reads_the_videos_where_there_is_no_manifest(dataset, manifest):
    assert overlap_report(dataset, "official", workers=0) == overlap_report(dataset, "official", manifest=manifest)
    plain = dataset.overlap_report("official")
    assert (plain.identical, plain.near_identical) == (None, None)


def test_a_video_that_cannot_be_read_is_counted(dataset, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    train, test = dataset.split("official")
    broken = test.subset([VideoRecord(tmp_path / "broken.mp4", 0), test.records[1]])
    report = audit.overlap(train, broken, workers=0)
    assert report.unread == 1
    assert str(report).endswith("; 1 videos could not be read")


def test_a_file_in_both_parts_is_no_pair_of_its_own(dataset):
    train, _ = dataset.split("official")
    report = audit.overlap(train, train, workers=0)
    assert report.same_file == len(train)
    assert (report.identical, report.near_identical) == ((), ())


def test_a_manifest_without_hashes_or_of_other_files_is_refused(dataset, collection, manifest):
    plain = check(collection, workers=0)
    with pytest.raises(DatasetError, match=r"no frame hashes of 9 of 9 videos, first .*--audit"):
        overlap_report(dataset, "official", manifest=plain)
    with pytest.raises(DatasetError, match="no frame hashes"):
        audit.pairs(plain)
    with pytest.raises(DatasetError, match="8 of 9 videos are not in the manifest of 1 files"):
        overlap_report(dataset, "official", manifest=Manifest(manifest.rows[:1]))


def test_known_leaks_of_ucf101_are_found(shared):
    """Official split 1 keeps groups apart, but two groups of these classes show the same scene at the same time."""
    from har_tf import datasets

    dataset = datasets.load(shared / "data" / "ucf10", lists=shared / "data" / "splits" / "ucf101")
    dataset = dataset.only(["TrampolineJumping", "BasketballDunk"])
    report = overlap_report(dataset, "official", workers=0)
    assert (report.with_sibling, report.identical) == (0, ())
    assert {(Path(a).stem, Path(b).stem) for a, b, _ in report.near_identical} == {
        ("v_TrampolineJumping_g04_c03", "v_TrampolineJumping_g13_c01"),
        ("v_BasketballDunk_g01_c01", "v_BasketballDunk_g10_c01"),
    }
    assert report.near_of_other_groups == 2


def test_groups_that_the_data_set_knows_are_sources(collection):
    """Two clips of one film and two of one name: the data set knows better than `_gNN_`."""
    from har_tf import datasets

    dataset = datasets.load(collection)
    films = {"v_b_g01_c01": "film", "v_a_g03_c01": "film", "v_a_g01_c02": "another"}
    records = tuple(replace(record, group=films.get(record.path.stem, record.path.stem)) for record in dataset.records)
    found = check(collection, workers=0, hashes=True, dataset=replace(dataset, records=records))
    assert {(Path(pair.first).stem, Path(pair.second).stem): pair.same_source for pair in audit.pairs(found)} == {
        ("v_a_g01_c01", "v_a_g01_c02"): False,
        ("v_b_g01_c01", "v_a_g03_c01"): True,
        ("v_a_g01_c02", "v_a_g05_c01"): False,
    }
