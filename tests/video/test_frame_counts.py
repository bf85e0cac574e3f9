"""Frames are counted in other processes, or taken from a manifest."""

import os

import numpy as np
import pytest
from tasks import die_or_count

from har_tf.audit.check import check
from har_tf.files.workers import Failed
from har_tf.video import frame_counts, write_video
from har_tf.video.frame_counts import FrameCount, count_frames


@pytest.fixture
def videos(tmp_path):
    """Videos of 3 and 5 frames and, between them, a file that is none."""
    paths = [tmp_path / f"{name}.mp4" for name in ("a", "b", "c")]
    for path, frames in ((paths[0], 3), (paths[2], 5)):
        write_video(path, np.zeros((frames, 32, 48, 3), np.uint8))
    paths[1].write_text("no video")
    return paths


def test_every_video_has_its_count_or_its_reason(videos):
    first, second, third = count_frames(videos, workers=0)
    assert (first, third) == (FrameCount(3, 32, 48), FrameCount(5, 32, 48))
    assert isinstance(second, Failed)
    assert "b.mp4" not in second.reason, "whoever asks knows the path"
    assert count_frames([]) == []


def test_a_crash_of_the_decoder_costs_one_video(videos, monkeypatch):
    monkeypatch.setattr(frame_counts, "_count", die_or_count)
    found = count_frames(videos, workers=1)
    assert found[0] == Failed("the process at work on it died of SIGSEGV (a crash, or out of memory)")
    assert found[1:] == [FrameCount(7, 1, 1)] * 2


def test_the_limits_are_those_of_check(videos, monkeypatch):
    asked = []
    monkeypatch.setattr(frame_counts, "outcomes", lambda *options: asked.append(options[2:]) or [1, 2, 3])
    assert count_frames(videos) == [1, 2, 3]
    assert count_frames(videos, workers=3, timeout=9) == [1, 2, 3]
    assert asked == [(None, 600, 2 * 2**30), (3, 9, 2 * 2**30)]


def test_what_a_manifest_knows_is_not_decoded(videos, tmp_path, monkeypatch):
    expected = count_frames(videos, workers=0)
    manifest = check(tmp_path, workers=0)
    decoded = []
    monkeypatch.setattr(frame_counts, "_count", lambda path: decoded.append(path) or FrameCount(7, 1, 1))
    assert count_frames(videos, manifest.frame_counts(tmp_path), workers=0) == expected
    assert decoded == []
    os.utime(videos[2], (1, 1))
    other = tmp_path / "d.mp4"
    counts = count_frames([*videos, other], manifest.frame_counts(str(tmp_path)), workers=0)
    assert counts == [*expected[:2], FrameCount(7, 1, 1), FrameCount(7, 1, 1)]
    assert decoded == [str(videos[2]), str(other)]
