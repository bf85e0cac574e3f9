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
        video, label = answered.test.record_paths[position].stem, names[answered.test.labels[position]]
        path = folder / f"{stem}_{k + 1}_{label}_{video.removeprefix(f'v_{label}_')}.mp4"
        truth = f"true class: {label}"
        save_overlay(path, clips, explanation, k, class_names=names, title=truth)
        videos.append(page.Video(path, answered.caption(position)))
    return videos


def sections(
    answered: Answered, figures: Path, overlays: Path, first_number: int, videos: int = 4
) -> list[page.Section]:
    """Frame strips across classes, of a right answer and of wrong ones, and overlay videos of both.

    Args:
        answered: what was answered on the test clips.
        figures: folder for the strips, `figure_<number>_<what>.png`.
        overlays: folder for the videos.
        first_number: number of the first figure.
        videos: videos of correct clips, and as many of misclassified ones.
    """
    right, wrong = answered.correct(), answered.misclassified()
    found = []
    for number, (what, heading, chosen) in enumerate(
        (
            ("classes", "across classes", right[:6]),
            ("correct", "a correctly classified clip", right[:1]),
            ("misclassified", "misclassified clips", wrong[:3]),
        ),
        start=first_number,
    ):
        if chosen:
            figure = frame_strip(answered, chosen, figures / f"figure_{number}_{what}.png")
            found.append(page.Section(f"Figure {number}: Grad-CAM, {heading}", figures=[figure]))
    for what, chosen in (("correct", right[:videos]), ("misclassified", wrong[:videos])):
        if chosen:
            found.append(
                page.Section(f"Overlay videos: {what}", videos=overlay_videos(answered, chosen, overlays, what))
            )
    return found
