"""Clips that show what a classifier learned: frame strips and overlay videos of right and wrong answers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from har_tf.report import page, plots


@dataclass(frozen=True, eq=False)
class Answered:
    """A classifier's answers on test clips.

    Args:
        model: the classifier.
        test: the `PreparedDataset` of the N test clips.
        probabilities: (N, C).
    """

    model: object
    test: object
    probabilities: np.ndarray

    def correct(self) -> list[int]:
        """Positions of correctly classified clips, one a class, the surest first."""
        sure, predicted = self.probabilities.max(axis=1), self.probabilities.argmax(axis=1)
        best = {}
        for i in np.argsort(-sure, kind="stable"):
            if predicted[i] == self.test.labels[i]:
                best.setdefault(int(predicted[i]), int(i))
        return list(best.values())

    def misclassified(self) -> list[int]:
        """Positions of misclassified clips, the surest first."""
        wrong = self.probabilities.argmax(axis=1) != self.test.labels
        order = np.argsort(-self.probabilities.max(axis=1), kind="stable")
        return [int(i) for i in order if wrong[i]]

    def caption(self, position: int) -> str:
        """Such as "Bowling taken for CricketBowling, 0.61"."""
        names, row = self.test.class_names, self.probabilities[position]
        true, predicted = names[self.test.labels[position]], names[row.argmax()]
        answer = true if true == predicted else f"{true} taken for {predicted}"
        return f"{answer}, {row.max():.2f}"


def frame_strip(answered: Answered, positions: list[int], path: Path) -> page.Figure:
    """Draws clips above their Grad-CAM overlays, as in Figures 6 to 8 of Hossain et al. 2025."""
    from har_tf.explain import gradcam, overlay

    clips = answered.test.read(positions)
    explanation = gradcam(answered.model, clips)
    painted = overlay(clips, explanation)
    rows = []
    for k, position in enumerate(positions):
        rows += [(answered.caption(position), clips[k]), ("", painted[k])]
    plots.frame_strip(rows, path)
    return page.Figure(path, f"Every clip above its Grad-CAM overlay, taken at {explanation.settings['tap']}.")


def overlay_videos(answered: Answered, positions: list[int], folder: Path, stem: str) -> list[page.Video]:
    """Writes an H.264 video for each clip, the clip beside its Grad-CAM overlay."""
    from har_tf.explain import gradcam, save_overlay

    clips = answered.test.read(positions)
    explanation = gradcam(answered.model, clips)
    names = answered.test.class_names
    videos = []
    for k, position in enumerate(positions):
        path = folder / f"{stem}_{k + 1}_{answered.test.record_paths[position].stem}.mp4"
        truth = f"true class: {names[answered.test.labels[position]]}"
        save_overlay(path, clips, explanation, k, class_names=names, title=truth)
        videos.append(page.Video(path, answered.caption(position)))
    return videos
