"""Clips that show what a classifier learned: frame strips and overlay videos of right and wrong answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from har_tf.evaluate.spread import spread
from har_tf.explain.methods import METHODS
from har_tf.names import file_name
from har_tf.report import page, plots

LONGEST = 1800  # frames of a video whose overlay is drawn on all of them
_EQUATION = "equation (1) of Hossain et al. 2025"
_AVERAGED = {
    "spatial": f", with gradients averaged over each frame by itself, {_EQUATION}",
    "spatiotemporal": f", with gradients averaged over the whole clip, unlike {_EQUATION}",
}


@dataclass(frozen=True, eq=False)
class ClipPredictions:
    """A classifier's answers on test clips.

    Args:
        model: the classifier.
        test: the `PreparedDataset` of the N test clips.
        probabilities: (N, C).
        taps: where Grad-CAM is taken, name in captions -> tap, such as one a stream; empty: where it is by itself.
        methods: of `har_tf.explain.methods.METHODS`; several stand beside each other.
        options: further ones of `har_tf.explain.by_method`, such as `pool`.
    """

    model: object
    test: object
    probabilities: np.ndarray
    taps: Mapping[str, str] = field(default_factory=dict)
    methods: Sequence[str] = ("gradcam",)
    options: Mapping[str, object] = field(default_factory=dict)

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

    def ranked_classes(self) -> list[tuple[int, int, int]]:
        """(label, correctly classified clips, clips) of the classes with test clips, best recognised first."""
        labels = np.asarray(self.test.labels)
        right = self.probabilities.argmax(axis=1) == labels
        counts = [(label, int(right[labels == label].sum()), int((labels == label).sum())) for label in set(labels)]
        names = self.test.class_names
        return sorted(counts, key=lambda row: (-row[1] / row[2], -row[2], names[row[0]]))

    def explanations(self, clips: np.ndarray, positions: Sequence[int]) -> dict:
        """What every method and tap shows of the clips (B, T, H, W, 3) at these positions, by name; "" for one that
        stands by itself. The probabilities are those of `probabilities`."""
        from har_tf.explain.elsewhere import by_method

        found, own = by_method(self.model, clips, self.methods, self.taps or None, **self.options), list(positions)
        return {n: replace(each, probability=self.probabilities[own, each.class_index]) for n, each in found.items()}

    def tested(self, count: int, seed: int = 0) -> dict | None:
        """What `har_tf.scrutiny.short` finds of these explanations on so many of the clips; None of fewer than two.

        Args:
            count: classes and recordings take turns.
            seed: of all that is drawn.
        """
        from har_tf.explain import by_method
        from har_tf.explain.elsewhere import by_tensorflow
        from har_tf.scrutiny import short

        test = self.test
        recordings = [group or str(path) for group, path in zip(test.groups, test.record_paths, strict=True)]
        places = spread(test.labels, recordings, count)
        if len(places) < 2:
            return None
        explained = partial(by_method, methods=tuple(self.methods), tap=self.taps or None, **self.options)
        groups = [recordings[place] for place in places]
        return by_tensorflow(short, self.model, test.read(places), groups, explained, seed=seed)

    def caption(self, position: int) -> str:
        """Such as "Bowling taken for CricketBowling, 0.61 (v_Bowling_g01_c02)"."""
        names, row = self.test.class_names, self.probabilities[position]
        true, predicted = names[self.test.labels[position]], names[row.argmax()]
        answer = true if true == predicted else f"{true} taken for {predicted}"
        return f"{answer}, {row.max():.2f} ({self.test.record_paths[position].stem})"


def frame_strip(answered: ClipPredictions, positions: list[int], path: Path) -> page.Figure:
    """Draws clips above their overlays, as in Figures 6 to 8 of Hossain et al. 2025."""
    from har_tf.explain import overlay

    clips = answered.test.read(positions)
    explanations = answered.explanations(clips, positions)
    painted = {name: overlay(clips, explanation) for name, explanation in explanations.items()}
    rows = []
    for k, position in enumerate(positions):
        rows.append((answered.caption(position), clips[k]))
        for name, frames in painted.items():
            nothing = "no positive evidence: the plain clip" if explanations[name].empty[k] else ""
            rows.append((f"{name} ({nothing})" if name and nothing else name or nothing, frames[k]))
    plots.frame_strip(rows, path)
    if tuple(answered.methods) == ("gradcam",):
        taps = " and ".join(explanation.settings["tap"] for explanation in explanations.values())
        made = _AVERAGED.get(answered.options.get("pool"), "")
        return page.Figure(path, f"Every clip above its Grad-CAM overlay, taken at {taps}{made}.")
    made = ", ".join(each.method + _where(each) for each in explanations.values())
    return page.Figure(path, f"Every clip above its overlays: {made}.")


def _where(explanation) -> str:
    names = [explanation.settings[name] for name in ("tap",) if name in explanation.settings]
    names = explanation.settings.get("taps", names)
    return f" at {' + '.join(names)}" if names else ""


def class_sheet(
    model,
    clip: np.ndarray,
    path: Path,
    class_names: Sequence[str],
    method: str = "3dcam",
    top: int = 3,
    title: str | None = None,
    frames: int = 8,
    probabilities: np.ndarray | None = None,
    **options,
) -> None:
    """Draws what speaks for the most probable classes of a clip, and against the first, as in Figure 6 of 3DCAM.

    What speaks against it is left out where the method does not tell. Each row has its own scale. A row whose map has
    no positive evidence says so.

    Args:
        model: the classifier.
        clip: (T, H, W, 3), as it takes them.
        path: where to write, ending in .png, .pdf or .svg.
        class_names: names of its classes.
        method: of `har_tf.explain.methods.METHODS`.
        top: classes, or all that there are.
        title: a line above the sheet.
        frames: frames to show of a longer clip.
        probabilities: (C,), of a classifier that is calibrated; None: the model's.
        **options: `tap`, `taps`, `pool`, `options` and `normalize` of `har_tf.explain.by_method`; one tap, or several
            that are summed.
    """
    from har_tf.explain import by_method, overlay

    top = min(top, len(class_names))
    given = clip if len(model.inputs[0].shape) == 4 else clip[None]  # a picture is a clip of one frame
    rows = [("the clip", clip)]
    for count, against in ((top, False), (1, True))[: 1 + METHODS[method].counterfactual]:
        explanations = by_method(model, given, [method], top=count, counterfactual=against, **options)
        if len(explanations) != 1:
            raise ValueError(f"A sheet shows one explanation a class. Received: {', '.join(explanations)}")
        (explanation,) = explanations.values()
        for rank in range(count):
            found = explanation.only(rank)
            name = class_names[found.class_index[0]]
            place = f"{('first', 'second', 'third')[rank]} class" if rank < 3 else f"class {rank + 1}"
            p = found.probability[0] if probabilities is None else probabilities[found.class_index[0]]
            text = f"{place}: {name}, p = {p:.4f}"
            if against:
                text = f"negation of the first: against {name}"
            text += " (no positive evidence)" if found.empty[0] else ""
            rows.append((text, overlay(clip[None], found, 0.5)[0]))
    plots.frame_strip(rows, path, f"{title}: {found.method}" if title else found.method, frames)


def class_strips(
    answered: ClipPredictions, figures: Path, first_number: int, count: int = 3, numbered: bool = True
) -> list[page.Section]:
    """Frames of a clip of each of the best and of the worst recognised classes, as in Figures 18 and 19 of Fusion-GRU.

    Of a best class the surest correct clip is drawn, of a worst one the surest wrong one; a class without any wrong
    clip is not among the worst.

    Args:
        answered: what was answered on the test clips; its model is not asked.
        figures: folder for `figure_<number>_best.png` and `figure_<number + 1>_worst.png`.
        first_number: number of the first figure.
        count: classes a figure, at most.
        numbered: whether headings have the number, as in the paper.
    """
    labels, names = answered.test.labels, answered.test.class_names
    ranked, correct, wrong = answered.ranked_classes(), answered.correct(), answered.misclassified()
    best = [(row, next(i for i in correct if labels[i] == row[0])) for row in ranked if row[1]]
    worst = [(row, next(i for i in wrong if labels[i] == row[0])) for row in reversed(ranked) if row[1] < row[2]]
    found = []
    for number, (what, chosen) in enumerate((("best", best[:count]), ("worst", worst[:count])), start=first_number):
        if not chosen:
            continue
        path = figures / f"figure_{number}_{what}.png"
        clips = answered.test.read([position for _, position in chosen])
        rows = [
            (f"{names[label]}, {right} of {all_clips} recognised; here: {answered.caption(position)}", frames)
            for ((label, right, all_clips), position), frames in zip(chosen, clips, strict=True)
        ]
        plots.frame_strip(rows, path)
        which = f"class {what} recognised" if len(chosen) == 1 else f"{len(chosen)} classes {what} recognised"
        caption = f"A clip of the {which}, of all test clips."
        title = page.headed(f"Figure {number}", f"{what} recognised", numbered)
        found.append(page.Section(title, figures=[page.Figure(path, caption)]))
    return found


def sections(
    answered: ClipPredictions, figures: Path, overlays: Path, first_number: int, videos: int = 4, numbered: bool = True
) -> list[page.Section]:
    """Frame strips across classes, of a right answer and of wrong ones, and overlay videos of both.

    Args:
        answered: what was answered on the test clips.
        figures: folder for the strips, `figure_<number>_<what>.png`.
        overlays: folder for the videos.
        first_number: number of the first figure.
        videos: videos of correct clips, and as many of misclassified ones.
        numbered: whether headings have the number, as in the paper.
    """
    right, wrong = answered.correct(), answered.misclassified()
    strips = (
        ("classes", "across classes", right[:6]),
        ("correct", "a correctly classified clip", right[:1]),
        ("misclassified", "misclassified clips", wrong[:3]),
    )
    found = []
    for number, (what, heading, chosen) in enumerate(strips, start=first_number):
        if chosen:
            figure = frame_strip(answered, chosen, figures / f"figure_{number}_{what}.png")
            title = page.headed(f"Figure {number}", f"Grad-CAM, {heading}", numbered)
            found.append(page.Section(title, figures=[figure]))
    return [*found, *overlay_sections(answered, overlays, videos)]


def overlay_sections(
    answered: ClipPredictions, folder: Path, count: int, title: str = "Overlay videos"
) -> list[page.Section]:
    """Overlay videos of correct clips, one a class, and of misclassified ones, at most `count` of each.

    Each shows the clip beside its overlay, or those of several taps and methods: on all frames of its video where that
    is at hand and not long, or else on the frames that the model saw.
    """
    from har_tf.explain import save_overlay

    test, found = answered.test, []
    for what, positions in (
        ("correct", answered.correct()[:count]),
        ("misclassified", answered.misclassified()[:count]),
    ):
        if not positions:
            continue
        clips = test.read(positions)
        explanations = answered.explanations(clips, positions)
        videos = []
        for k, position in enumerate(positions):
            video, label = test.record_paths[position].stem, test.class_names[test.labels[position]]
            path = folder / f"{what}_{k + 1}_{file_name(label)}_{file_name(video.removeprefix(f'v_{label}_'))}.mp4"
            truth = f"{video}, true class: {label}"
            shown, size = _on_video(test, position, clips[k])
            save_overlay(path, shown, explanations, k, class_names=test.class_names, title=truth, size=size)
            videos.append(page.Video(path, answered.caption(position)))
        found.append(page.Section(f"{title}: {what}", videos=videos))
    return found


def _on_video(test, position: int, clip: np.ndarray) -> tuple:
    """What `save_overlay` takes of a stored clip, and its size: where it stands in its video, or the clip itself.

    The clip itself is taken where the video is not at hand, does not give this clip again (as of a segment), or is so
    long that a report would wait for it. Pictures of a report are no larger than 360 pixels.
    """
    from har_tf.explain import Sampled
    from har_tf.explain.overlay import panel_of
    from har_tf.video import VideoError
    from har_tf.video.reader import read_sampled

    path = test.record_paths[position]
    if not path.is_file():
        return clip, None
    try:
        found, frames = read_sampled(path, len(clip), clip.shape[1:3], **test.clip)
        if frames[-1] > LONGEST or not np.array_equal(found, clip):
            return clip, None
        sampled = Sampled(path, frames, clip.shape[1:3], test.clip["fit"])
        return sampled, 360 if min(panel_of(sampled, 1)[0]) > 360 else None
    except VideoError:
        return clip, None
