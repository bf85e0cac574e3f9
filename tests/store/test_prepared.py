"""Prepared segments: several records of one video, told apart by their names."""

import os
import pickle
import re

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import ActionDataset, DatasetError, VideoRecord
from har_tf.store.indexed import OpenFiles
from har_tf.store.prepare import prepare
from har_tf.store.prepared import PreparedDataset, Skipped, left_out
from har_tf.video import write_video

CLIP = {"num_frames": 2, "size": (32, 48)}


@pytest.fixture
def segments(tmp_path):
    """A video of 10 dark frames and 10 bright ones, 1 s each, in three records, and one of what cannot be read."""
    path = tmp_path / "videos" / "long.mp4"
    path.parent.mkdir()
    frames = np.repeat(np.array([40, 200], np.uint8), 10)[:, None, None, None] * np.ones((32, 48, 3), np.uint8)
    write_video(path, frames, fps=10)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    records = (
        VideoRecord(path, 0, segment=(0.0, 1.0)),
        VideoRecord(path, 1, segment=(1.0, 2.0)),
        VideoRecord(path, 0, segment=(1.0, 2.0)),  # the same time, another class
        VideoRecord(tmp_path / "videos" / "bad.mp4", 1, segment=(1.0, 2.0)),
    )
    return ActionDataset("long", tmp_path / "videos", records, ("dive", "jump"))


def test_segments_of_one_video_are_told_apart(segments, tmp_path):
    whole = prepare(segments, tmp_path / "out", **CLIP, workers=0)
    assert [round(clip.mean() / 10) for clip in whole.read([0, 1, 2])] == [4, 20, 20]
    assert whole.record_paths == [record.path for record in segments.records[:3]]
    assert [skip.path.name for skip in whole.skipped] == ["bad.mp4#t=1,2"]
    for position in (0, 1, 2):
        one = whole.subset([segments.records[position]])
        assert one.labels.tolist() == [segments.records[position].label]
        np.testing.assert_array_equal(one.read([0]), whole.read([position]))
    assert len(whole.subset([segments.records[3]])) == 0
    with pytest.raises(DatasetError, match="is not among the videos"):
        whole.subset([VideoRecord(segments.records[0].path, 0)])
    assert len(PreparedDataset.open(whole.path)) == 3


def test_another_process_opens_the_same_clips(segments, tmp_path):
    some = prepare(segments, tmp_path / "out", **CLIP, workers=0).subset(segments.records[1:3])
    sent = pickle.dumps(some)
    there = pickle.loads(sent)
    assert (there.path, there.root, there.names) == (some.path, some.root, some.names)
    np.testing.assert_array_equal(there.read([1, 0]), some.read([1, 0]))
    (tmp_path / "out").rename(tmp_path / "of another machine")
    with pytest.raises(DatasetError, match=rf"^{re.escape(str(some.path))}: "):
        pickle.loads(sent)


def test_other_segments_are_other_data(segments, tmp_path):
    first = prepare(segments, tmp_path, **CLIP, workers=0)
    fewer = segments.subset([*segments.records[:2], VideoRecord(segments.records[0].path, 0, segment=(0.5, 2.0))])
    assert prepare(fewer, tmp_path, **CLIP, workers=0).path != first.path


def test_a_record_of_another_label_is_refused(miniature, tmp_path):
    """The same videos with the classes in another order: the stored labels mean other classes."""
    prepared = prepare(datasets.load(miniature), tmp_path, **CLIP, workers=0)
    turned = datasets.load(miniature, classes=["Surfing", "Biking", "Archery"])
    same = [record for record in turned.records if record.label == 1]
    assert prepared.subset(same).labels.tolist() == [1] * 10
    with pytest.raises(DatasetError, match=r"v_Surfing_g01_c01.mp4 was prepared with label 2. Received: label 0"):
        prepared.subset(turned.records)


def test_data_reached_through_a_link(miniature, tmp_path):
    (tmp_path / "link").symlink_to(miniature)
    dataset = datasets.load(tmp_path / "link")
    prepared = PreparedDataset.open(prepare(dataset, tmp_path / "out", **CLIP, workers=0).path)
    assert prepared.record_paths == [record.path for record in dataset.records]
    assert len(prepared.subset(dataset.records)) == 30


def test_another_current_folder_changes_nothing(miniature, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    dataset = datasets.load(os.path.relpath(miniature))
    prepared = prepare(dataset, "out", **CLIP, workers=0)
    assert prepared.record_paths == [record.path for record in dataset.records], "as the caller calls them"
    monkeypatch.chdir(tmp_path)
    assert prepared.read([0]).shape == (1, 2, 32, 48, 3)
    assert prepared.path.is_absolute()
    assert len(PreparedDataset.open(prepared.path).subset(datasets.load(miniature))) == 30


def damaged(content):
    """The bytes with one bit flipped in every fifth byte in turn, and cut off at different lengths."""
    for place in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        yield flipped
    yield from (content[:length] for length in range(0, len(content), 50))


@pytest.mark.parametrize("name", ["index.npz", "prepared.json", "skipped.csv", "dataset_info.json", "label.labels.txt"])
def test_damage_to_any_byte_beside_the_clips_is_found_on_opening(segments, tmp_path, name):
    sound = prepare(segments, tmp_path / "out", **CLIP, workers=0)
    content = (sound.path / name).read_bytes()
    for change in damaged(content):
        (sound.path / name).write_bytes(change)
        with pytest.raises(DatasetError, match=rf"{sound.path}: .*; `prepare` with the same settings mends it"):
            PreparedDataset.open(sound.path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format": 5}', '{"format": 4, "data": []}'])
def test_other_json_is_no_prepared_data(segments, tmp_path, text):
    prepared = prepare(segments, tmp_path / "out", **CLIP, workers=0)
    (prepared.path / "prepared.json").write_text(text)
    with pytest.raises(DatasetError, match="not a prepared data set, or a damaged one: ."):
        PreparedDataset.open(prepared.path)
    assert len(prepare(segments, tmp_path / "out", **CLIP, workers=0)) == 3, "it is prepared anew"


@pytest.mark.parametrize("name", ["index.npz", "prepared.json"])
def test_an_empty_file_is_prepared_anew(segments, tmp_path, name):
    prepared = prepare(segments, tmp_path / "out", **CLIP, workers=0)
    content = (prepared.path / name).read_bytes()
    (prepared.path / name).write_bytes(b"")
    again = prepare(segments, tmp_path / "out", **CLIP, workers=0)
    assert (again.path / name).read_bytes() == content


def test_what_was_left_out_is_counted_by_its_reason():
    problem, twice = Skipped("a", "empty file"), Skipped("b", "the same content as c/d.mp4")
    assert left_out([]) == "none left out"
    assert left_out([problem]) == "1 left out: 1 with a problem"
    assert left_out([problem, twice, twice]) == "3 left out: 1 with a problem, 2 of the same content as another"


@pytest.mark.filterwarnings("error")  # of `OpenFiles` that never opened any
def test_a_system_without_pread_is_told(miniature, tmp_path, monkeypatch):
    dataset = datasets.load(miniature)
    path = prepare(dataset, tmp_path / "out", **CLIP, workers=0).path
    monkeypatch.delattr(os, "preadv")
    for use in (lambda: prepare(dataset, tmp_path / "new", **CLIP, workers=0), lambda: PreparedDataset.open(path)):
        with pytest.raises(DatasetError, match="need Linux or macOS"):
            use()
    with pytest.raises(DatasetError, match="need Linux or macOS"):
        OpenFiles([])
    assert not (tmp_path / "new").exists()
