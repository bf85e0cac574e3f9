"""Clips in memory: the same as `read_clip` gives, with boxes where they lie in the clip, spread over classes."""

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.evaluate.labelled_clips import LabelledClips, read
from har_tf.video import read_clip

READING = {
    "num_frames": 4,
    "size": (32, 48),
    "sampling": "uniform",
    "short": "repeat_last",
    "fit": "stretch",
    "by": "frame",
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return datasets.load("figures", tmp_path_factory.mktemp("figures"), clips=20, size=(64, 96), workers=0)


def test_clips_are_those_of_read_clip_and_boxes_are_scaled_with_them(figures):
    part = figures.subset(figures.records[:3])
    found = read(part, READING, workers=0)
    record = part.records[1]
    np.testing.assert_array_equal(found.clips[1], read_clip(record.path, 4, (32, 48)))
    last = len(record.boxes) - 1
    np.testing.assert_allclose(found.boxes[1][3], record.boxes_at(last) / 2, atol=1e-5)
    assert found.names[1] == record.name(part.root) and found.labels[1] == record.label
    assert len(found.acting[1][3]) == len(found.boxes[1][3]) + len(found.objects[1].get(3, ()))
    assert found.has_boxes.all() and not found.skipped


def test_what_cannot_be_read_is_named(figures, tmp_path):
    good, broken = tmp_path / "good.avi", tmp_path / "broken.avi"
    good.write_bytes(figures.records[0].path.read_bytes())
    broken.write_bytes(b"no video")
    videos = ActionDataset("videos", tmp_path, (VideoRecord(broken, 0), VideoRecord(good, 1)), ("a", "b"))
    found = read(videos, READING, workers=0)
    assert found.names == ("good.avi",)
    assert [path.name for path in found.skipped] == ["broken.avi"]
    assert not found.has_boxes.any()
    with pytest.raises(DatasetError, match=r"no clip can be read, first .*broken\.avi"):
        read(videos.subset(videos.records[:1]), READING, workers=0)


def test_few_clips_are_of_all_classes_and_of_several_recordings():
    names = tuple("abcdef")
    clips = LabelledClips(
        names,
        np.arange(6, dtype="uint8").reshape(6, 1, 1, 1, 1),
        np.array([0, 0, 0, 0, 1, 1]),
        ("r", "r", "s", None, "t", "t"),
    )
    few = clips.spread(4)
    # a (class 0, r), e (class 1, t), c (class 0; r has one already), f (class 1).
    assert few.names == ("a", "c", "e", "f")
    assert few.clips.ravel().tolist() == [0, 2, 4, 5]
    assert clips.spread(3).names == ("a", "c", "e")
    assert clips.spread(100).names == names
    assert clips.recordings == ("r", "r", "s", "d", "t", "t")


def test_classes_that_share_recordings_do_not_all_give_the_same_one():
    names = tuple("abcdef")
    clips = LabelledClips(names, np.zeros((6, 1, 1, 1, 3), "uint8"), np.array([0, 0, 0, 1, 1, 1]), tuple("rstrst"))
    assert set(clips.spread(3).recordings) == {"r", "s", "t"}


def test_labels_become_those_of_the_models_outputs():
    clips = LabelledClips(tuple("abc"), np.zeros((3, 1, 1, 1, 3), "uint8"), np.array([0, 1, 2]), (None,) * 3)
    found = clips.as_outputs([7, -1, 3])
    assert (found.names, found.labels.tolist()) == (("a", "c"), [7, 3])
