"""A classifier of clips measured on whole videos: the mean of a video's clips, and two networks fused late."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class VideoPredictions:
    """What a classifier answered on the N clips of V videos.

    Args:
        names: the videos, in the order in which their first clips come.
        labels: int (V,), of the videos.
        videos: int (N,), the video of each clip, as a place in `names`.
        clips: float64 (N, C), probabilities.
    """

    names: tuple[Hashable, ...]
    labels: np.ndarray
    videos: np.ndarray
    clips: np.ndarray

    @classmethod
    def of(cls, videos: Sequence[Hashable], labels, probabilities) -> VideoPredictions:
        """Puts the clips together that are of one video.

        Args:
            videos: name of the video of each clip.
            labels: int (N,), of the clips; those of one video have one label.
            probabilities: (N, C).
        """
        number: dict[Hashable, int] = {}
        places = np.array([number.setdefault(video, len(number)) for video in videos])
        of_videos = np.zeros(len(number), int)
        of_videos[places] = labels
        return cls(tuple(number), of_videos, places, np.asarray(probabilities, np.float64))

    def of_videos(self) -> np.ndarray:
        """(V, C): the mean of the probabilities of a video's clips."""
        total = np.zeros((len(self.labels), self.clips.shape[1]))
        np.add.at(total, self.videos, self.clips)
        return total / np.bincount(self.videos)[:, None]

    def answers(self) -> dict[str, tuple[int, int]]:
        """Video -> (label, class that was answered)."""
        answered = self.of_videos().argmax(axis=1).tolist()
        return dict(zip(map(str, self.names), zip(self.labels.tolist(), answered, strict=True), strict=True))

    def accuracies(self) -> dict[str, float]:
        """Of clips and of videos."""
        right = self.clips.argmax(axis=1) == self.labels[self.videos]
        return {
            "clip_accuracy": float(right.mean()),
            "video_accuracy": float((self.of_videos().argmax(axis=1) == self.labels).mean()),
        }

    def fused(self, other: VideoPredictions) -> VideoPredictions:
        """Late fusion: the mean of two networks' probabilities of the same clips.

        Raises:
            ValueError: other clips.
        """
        if not (np.array_equal(self.videos, other.videos) and np.array_equal(self.labels, other.labels)):
            raise ValueError(
                f"Answers on the same clips are fused. Received: {len(self.videos)} and {len(other.videos)} clips"
            )
        return replace(self, clips=(self.clips + other.clips) / 2)
