"""Which clips are explained, and where the true boxes lie in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from har_tf.datasets import ActionDataset, VideoRecord
from har_tf.evaluate.boxed_clips import Clips, in_clip, survey


@pytest.fixture(scope="module")
def part(make_video, numbered, tmp_path_factory):
    """Three videos of 11, 3 and 5 frames of 48 x 64 pixels; with boxes in frames 2 to 10, in all, in none."""
    root = tmp_path_factory.mktemp("videos")
    records = []
    for name, count, boxed in (("a", 11, range(2, 11)), ("b", 3, range(3)), ("c", 5, ())):
        make_video(root / f"{name}.mp4", numbered(count))
        boxes = np.full((count, 4), np.nan, np.float32)
        boxes[list(boxed)] = [8, 12, 40, 36]
        records.append(VideoRecord(root / f"{name}.mp4", 0, f"group {name}", boxes=boxes))
    return ActionDataset("three", root, tuple(records), ("wave",))


def test_every_frame_with_a_box_is_measured_once(part, numbers):
    """Clips of 4 of 11 frames begin at 0, 4 and 7: frame 7 is in two of them."""
    videos = survey(part, (4, 48, 64, 3), Clips(short="repeat_last"), workers=0)
    clips = list(videos.clips())
    assert [numbers(clip.frames) for clip in clips] == [[0, 1, 2, 3], [4, 5, 6, 7], [7, 8, 9, 10], [0, 1, 2, 2]]
    assert [list(clip.boxes) for clip in clips] == [[2, 3], [0, 1, 2, 3], [1, 2, 3], [0, 1, 2]]
    assert [list(clip.shown) for clip in clips] == [[2, 3], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert (clips[0].video, clips[0].group, clips[0].label) == ("a.mp4", "group a", 0)
    np.testing.assert_allclose(clips[0].boxes[2], [[8, 12, 40, 36]])
    assert videos.notes[0] == "1 videos have no true box and are not measured, first c.mp4"
    assert videos.notes[1] == "1 videos are shorter than a clip, first b.mp4: 3 frames"


def test_fewer_clips_and_frames_are_drawn_evenly(part, numbers):
    taken = Clips(short="repeat_last", clips_per_video=2, frames_per_clip=1)
    clips = list(survey(part, (4, 48, 64, 3), taken, workers=0).clips())
    assert [numbers(clip.frames)[0] for clip in clips] == [0, 7, 0]
    assert [len(clip.boxes) for clip in clips] == [1, 1, 1]
    (whole, short) = survey(part, (6, 48, 64, 3), Clips(sampling="uniform", short="repeat_last"), workers=0).clips()
    assert numbers(whole.frames) == [0, 2, 4, 6, 8, 10]
    assert list(whole.boxes) == [1, 2, 3, 4, 5]
    assert short.video == "b.mp4"


def test_clips_at_a_rate_have_the_boxes_of_their_frames(part, numbers):
    """At 12.5 a second of 25 frames 0, 2, 4, 6, 8, 10 and of the other video 0, 2."""
    taken = Clips(short="repeat_last", by="12.5fps")
    clips = list(survey(part, (4, 48, 64, 3), taken, workers=0).clips())
    assert [numbers(clip.frames) for clip in clips] == [[0, 2, 4, 6], [4, 6, 8, 10], [0, 2, 2, 2]]
    assert [list(clip.boxes) for clip in clips] == [[1, 2, 3], [2, 3], [0, 1]]
    (whole, _) = survey(part, (3, 48, 64, 3), replace(taken, sampling="uniform"), workers=0).clips()
    assert numbers(whole.frames) == [0, 6, 10] and list(whole.boxes) == [1, 2]


def test_examples_are_first_clips_of_videos_evenly_drawn(part):
    videos = survey(part, (3, 48, 64, 3), Clips(), workers=0)
    assert [clip.video for clip in videos.examples(1)] == ["a.mp4"]
    assert [clip.video for clip in videos.examples(3)] == ["a.mp4", "b.mp4"]
    assert [clip.video for clip in videos.spread(9)] == ["a.mp4", "b.mp4"] and videos.spread(0) == []


def test_what_cannot_be_measured_is_said(part):
    with pytest.raises(ValueError, match="1 of 3 videos are shorter than a clip of 4 frames, first b.mp4: 3 frames"):
        survey(part, (4, 48, 64, 3), Clips(), workers=0)
    with pytest.raises(ValueError, match="none of 1 videos has a true box and can be read"):
        survey(part.subset(part.records[2:]), (4, 48, 64, 3), Clips(), workers=0)
    broken = part.root / "broken.mp4"
    broken.write_bytes(b"no video")
    boxes = np.array([[0, 0, 9, 9]], np.float32)
    videos = survey(part.subset([*part.records[:1], VideoRecord(broken, 0, boxes=boxes)]), (4, 48, 64, 3), Clips(), 0)
    assert [path for path, _ in videos.skipped] == [Path(broken)]
    assert len(videos) == 1 and videos.notes[0].startswith(f"1 videos cannot be read, first {broken}")


def test_boxes_follow_the_crop():
    """320 x 240 to 112 x 112: scaled to 149 x 112, and 18 columns are cut off on the left."""
    boxes = [[0, 0, 320, 240], [160, 120, 320, 240], [0, 0, 30, 240]]
    found = in_clip(np.array(boxes, float), (240, 320), (112, 112), "crop")
    np.testing.assert_allclose(found, [[0, 0, 112, 112], [56.5, 56, 112, 112]])
    # Scaled to 341 x 256, and 58 columns and 16 rows are cut off.
    found = in_clip(np.array(boxes[1:2], float), (240, 320), (224, 224), "inner")
    np.testing.assert_allclose(found, [[112.5, 112, 224, 224]])
    stretched = in_clip(np.array(boxes[1:2], float), (240, 320), (112, 112), "stretch")
    np.testing.assert_allclose(stretched, [[56, 56, 112, 112]])
