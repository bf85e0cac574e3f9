"""Videos cut into clips of neighbouring frames."""

import numpy as np
import pytest

from har_tf.datasets import ActionDataset, VideoRecord
from har_tf.datasets.cut import clips_of, cut
from har_tf.video import read_clip


@pytest.fixture(scope="module")
def dataset(numbered, make_video, tmp_path_factory) -> ActionDataset:
    """A video of 16 frames, 25 a second, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "broken.mp4").write_bytes(b"no video")
    records = (
        VideoRecord(make_video(folder / "a.mp4", numbered(16)), 1, group="g"),
        VideoRecord(folder / "broken.mp4", 0),
    )
    return ActionDataset("two", folder, records, ("x", "y"))


def test_clips_are_neighbouring_frames_that_do_not_overlap(dataset):
    first, second, broken = cut(dataset, 8, workers=0).records
    assert (first.path, first.label, first.group) == (second.path, 1, "g")
    for clip, start in ((first, 0), (second, 8)):
        expected = read_clip(clip.path, 8, (32, 32), "dense", start)
        np.testing.assert_array_equal(clip.read(8, (32, 32), "dense"), expected)
    assert broken == dataset.records[1], "as it was; prepare says why"


def test_what_is_left_over_is_left_out_and_a_short_video_is_one_clip(dataset):
    one = dataset.subset(dataset.records[:1])
    assert len(cut(one, 5, workers=0).records) == 3, "the last frame is left out"
    (whole,) = cut(one, 20, workers=0).records
    np.testing.assert_array_equal(whole.read(20, (32, 32), "dense")[15:], read_clip(whole.path, 16, (32, 32))[[15] * 5])


def test_some_clips_of_a_video_are_evenly_spread(dataset):
    one = dataset.subset(dataset.records[:1])
    starts = [record.segment[0] for record in cut(one, 4, 2, workers=0).records]
    assert starts == pytest.approx([0, 12 / 25]), "the first and the last of four"


def test_the_clips_of_some_videos_are_found_again(dataset):
    clips = cut(dataset, 8, workers=0)
    assert clips_of(clips, dataset.subset(dataset.records[:1])) == list(clips.records[:2])


def test_clips_of_a_video_of_uneven_speed_are_the_same_frames(tmp_path, numbered, make_video):
    path = make_video(tmp_path / "v.mkv", numbered(8), times=[0, 10, 20, 500, 900, 3000, 3010, 9000])
    clips = cut(ActionDataset("one", tmp_path, (VideoRecord(path, 0),), ("x",)), 4, workers=0).records
    assert len(clips) == 2
    for clip, start in zip(clips, (0, 4), strict=True):
        np.testing.assert_array_equal(clip.read(4, (32, 32), "dense"), read_clip(path, 4, (32, 32), "dense", start))
