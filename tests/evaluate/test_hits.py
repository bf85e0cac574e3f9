"""Accuracies by frame, video and class, counted by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from har_tf.evaluate.hits import Frames, accuracy

VIDEOS = ["a", "a", "a", "b", "c", "c"]
HITS = np.array([1, 1, 0, 0, 1, 1])


def test_frames_alike_or_videos_alike():
    assert accuracy(HITS, Frames(VIDEOS), "frame").value == pytest.approx(4 / 6)
    by_video = accuracy(HITS, Frames(VIDEOS), "video")
    assert by_video.value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert (by_video.frames, by_video.videos, by_video.groups) == (6, 3, 3)


def test_acc2_counts_where_the_class_was_right():
    frames = Frames(VIDEOS, correct=np.array([1, 1, 1, 1, 0, 0], bool))
    assert accuracy(HITS, frames, "frame", acc2=True).value == pytest.approx(2 / 6)
    assert accuracy(HITS, frames, "video", acc2=True).value == pytest.approx((2 / 3) / 3)
    assert accuracy(HITS, frames, "frame").value == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match="Frames without `correct`"):
        accuracy(HITS, Frames(VIDEOS), acc2=True)


def test_classes():
    frames = Frames(VIDEOS, labels=[0, 0, 0, 0, 2, 2], class_names=("run", "sit", "walk"))
    rows = accuracy(HITS, frames, "video").per_class
    assert [(row.name, row.frames, row.videos) for row in rows] == [("run", 4, 2), ("sit", 0, 0), ("walk", 2, 1)]
    assert [row.accuracy for row in rows] == [pytest.approx(((2 / 3 + 0) / 2,)), (None,), pytest.approx((1,))]
    assert accuracy(HITS, frames, "frame").per_class[0].accuracy == pytest.approx((2 / 4,))
    assert accuracy(HITS, Frames(VIDEOS)).per_class == ()


def test_groups_are_what_is_drawn():
    wide = accuracy(HITS, Frames(VIDEOS, groups=["g", "g", "g", "h", "h", "h"]), "frame")
    # Two groups of three frames, of 2 / 3 each: every resample has 2 / 3.
    assert wide.interval == pytest.approx((2 / 3, 2 / 3))
    assert wide.groups == 2
    assert accuracy(HITS, Frames(VIDEOS), "frame").interval[0] < 0.5
    assert accuracy(HITS, Frames(["a"] * 6)).interval is None


def test_shares_of_a_hit_count_as_shares():
    assert accuracy([0.25, 0.75], Frames(["a", "b"])).value == 0.5


def test_everything_can_be_written_as_json():
    frames = Frames(VIDEOS, labels=np.zeros(6, int), class_names=("run",))
    assert json.loads(json.dumps(asdict(accuracy(HITS, frames))))["per_class"][0]["frames"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"videos": []}, "at least one frame"),
        ({"videos": ["a", "b"], "groups": ["g"]}, r"groups must be one for each of 2 frames. Received: \(1,\)"),
        ({"videos": ["a", "a"], "groups": ["g", "h"]}, "a: is in two groups, g and h"),
        ({"videos": ["a"], "labels": [1], "class_names": ("run",)}, "labels must be integers from 0 to 0"),
        ({"videos": ["a"], "labels": [0.5], "class_names": ("run",)}, "labels must be integers"),
        ({"videos": ["a"], "correct": [1]}, "correct must be bool"),
    ],
)
def test_frames_that_do_not_fit_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        Frames(**arguments)


def test_hits_that_do_not_fit():
    with pytest.raises(ValueError, match=r"one for each of 6 frames. Received: shape \(5,\)"):
        accuracy(HITS[:5], Frames(VIDEOS))
    with pytest.raises(ValueError, match=r"hits must lie in \[0, 1\]. Received: 5 for frame 0"):
        accuracy([5, 1, 0, 1], Frames(["a", "b", "c", "d"]))
    for wrong in (np.nan, -0.1):
        with pytest.raises(ValueError, match=f"Received: {wrong} for frame 1"):
            accuracy([1, wrong], Frames(["a", "b"]))
    with pytest.raises(ValueError, match="per='clip'"):
        accuracy(HITS, Frames(VIDEOS), per="clip")
