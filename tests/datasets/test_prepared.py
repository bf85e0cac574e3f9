"""Prepared segments: several records of one video, told apart by their names."""

import numpy as np
import pytest

from har_tf.datasets import ActionDataset, DatasetError, PreparedDataset, VideoRecord, prepare
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
    with pytest.raises(DatasetError, match="was not prepared"):
        whole.subset([VideoRecord(segments.records[0].path, 0)])
    assert len(PreparedDataset.open(whole.path)) == 3


def test_other_segments_are_other_data(segments, tmp_path):
    first = prepare(segments, tmp_path, **CLIP, workers=0)
    fewer = segments.subset([*segments.records[:2], VideoRecord(segments.records[0].path, 0, segment=(0.5, 2.0))])
    assert prepare(fewer, tmp_path, **CLIP, workers=0).path != first.path
