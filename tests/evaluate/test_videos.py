"""Videos as means of their clips, and late fusion, on probabilities that add up by hand."""

from dataclasses import replace

import numpy as np
import pytest

from har_tf.evaluate.videos import VideoPredictions

VIDEOS, LABELS = ["a", "a", "b", "a", "b"], [0, 0, 1, 0, 1]


def test_a_video_is_the_mean_of_its_clips():
    answered = VideoPredictions.of(VIDEOS, LABELS, [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    np.testing.assert_allclose(answered.of_videos(), [[0.6, 0.4], [0.45, 0.55]])
    assert answered.accuracies() == {"clip_accuracy": 3 / 5, "video_accuracy": 1.0}
    assert answered.answers() == {"a": (0, 0), "b": (1, 1)}


def test_late_fusion_is_the_mean_of_the_probabilities():
    rgb = VideoPredictions.of(VIDEOS, LABELS, [[0.9, 0.1]] * 5)
    flow = VideoPredictions.of(VIDEOS, LABELS, [[0.2, 0.8]] * 2 + [[0.0, 1.0]] * 3)
    fused = rgb.fused(flow)
    np.testing.assert_allclose(fused.clips, [[0.55, 0.45]] * 2 + [[0.45, 0.55]] * 3)
    assert fused.accuracies()["clip_accuracy"] == 4 / 5
    with pytest.raises(ValueError, match="Received: 5 and 4 clips"):
        rgb.fused(replace(flow, videos=flow.videos[:4]))
