"""Is what a map shows what the model uses? Deletion and insertion along a saliency (Petsiuk et al. 2018), for clips.

    deletion    the most salient part leaves first: a map is good if the score falls at once
    insertion   it comes first into a clip of which nothing is left: a map is good if the score rises at once

In space, in time and in both; of the probability and of the logit; with several things in the place of what is missing,
which decide much: a curve is of a map, a model and a fill. Controls (`evaluate.controls`) are maps like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, get_args

import keras
import numpy as np

from har_tf.ahead import ahead
from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.options import AXES, FILLS, Axis, Fill
from har_tf.evaluate.paired import mean_of
from har_tf.evaluate.perturbation import (
    MOST_STEPS,
    by_neighbours,
    checked_maps,
    clip_filled,
    clips_of,
    in_order,
    leaving,
    rng_of,
    shares,
)
from har_tf.explain.answers import answers_of, classes_to_explain
from har_tf.explain.changed import changed_answers, fitting
from har_tf.progress import progress

Direction = Literal["deletion", "insertion"]
Score = Literal["probability", "logit"]
DIRECTIONS, SCORES = get_args(Direction), get_args(Score)
# What the score has to lose from the whole clip to the filled one: less is not the clip's evidence, and dividing by it
# makes numbers of any size. Of logits it is a share of their own deviation over the classes.
LEAST_LOSS = 0.05


@dataclass(frozen=True, eq=False)
class Curve:
    """What a model says of clips while they lose, or get back, what a map marks.

    Attributes:
        name: of the maps.
        axis, fill, direction, score: see `faithfulness`.
        shares: (S + 1,) of the pixels (or frames) that were deleted or inserted, from 0 to 1.
        values: float32 (N, S + 1), the score of each clip's explained class.
        least: (N,), how much it has to lose in all for `auc`.
    """

    name: str
    axis: Axis
    fill: Fill
    direction: Direction
    score: Score
    shares: np.ndarray
    values: np.ndarray
    least: np.ndarray

    @cached_property
    def normalized(self) -> np.ndarray:
        """float64 (N, S + 1): 1 is the score of the untouched clip, 0 that of the wholly filled one.

        A row is NaN where the first is not larger than the second by `least`: as the fill takes no evidence away
        there, no order of deletion is better than another. Values may lie outside of 0 and 1.
        """
        whole, filled = self.values[:, [0, -1] if self.direction == "deletion" else [-1, 0]].T.astype(np.float64)
        loss = np.where(whole - filled >= self.least, whole - filled, np.nan)
        return (self.values - filled[:, None]) / loss[:, None]

    @cached_property
    def auc(self) -> np.ndarray:
        """float64 (N,): the area under `normalized`. Of deletion less is better, of insertion more."""
        return np.trapezoid(self.normalized, self.shares, axis=1)

    @cached_property
    def area(self) -> np.ndarray:
        """float64 (N,): the area under `values` as they are, of every clip."""
        return np.trapezoid(self.values.astype(np.float64), self.shares, axis=1)

    @property
    def mean(self) -> np.ndarray | None:
        """(S + 1,): the mean of `normalized` over the clips that have it; None without one."""
        counted = ~np.isnan(self.auc)
        return self.normalized[counted].mean(axis=0) if counted.any() else None


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Deletion and insertion of several maps of the same clips.

    Attributes:
        class_index, probability, logit: (N,), the explained class, and what the model says of it for the whole clip.
        score_of: what `logit` is, see `har_tf.explain.answers.Answers`.
        curves: of every map, axis, fill, direction and score.
        groups: the recording of each clip; None: each stands alone.
        passes: forward passes of a clip that it took.
    """

    class_index: np.ndarray
    probability: np.ndarray
    logit: np.ndarray
    score_of: str
    curves: tuple[Curve, ...]
    groups: Sequence[str | None] | None
    passes: int

    def of(
        self, axis: Axis = "both", fill: Fill = "blur", direction: Direction = "deletion", score: Score = "probability"
    ) -> dict[str, Curve]:
        """Name of the maps -> their curve, for `evaluate.paired`: `difference(of(...)["a"].auc, of(...)["b"].auc)`.

        Raises:
            ValueError: this was not measured.
        """
        asked = axis, fill, direction, score
        found = {c.name: c for c in self.curves if (c.axis, c.fill, c.direction, c.score) == asked}
        if not found:
            known = dict.fromkeys(f"{c.axis} {c.fill} {c.direction} {c.score}" for c in self.curves)
            raise ValueError(f"measured were {', '.join(known)}. Received: {' '.join(asked)}")
        return found

    def as_dict(self, bootstrap: Bootstrap | None = None) -> dict:
        """Plain values for `results.json`: per clip the AUCs (None: left out), mean, interval and mean curve."""
        rows = []
        for curve in self.curves:
            row = {name: getattr(curve, name) for name in ("name", "axis", "fill", "direction", "score")}
            row |= mean_of(curve.auc, self.groups, bootstrap).as_dict()
            row |= {"left_out_clips": np.flatnonzero(np.isnan(curve.auc)).tolist()}
            row |= {"area": float(curve.area.mean()), "shares": curve.shares.tolist()}
            row |= {"curve": None if curve.mean is None else curve.mean.tolist()}
            rows.append(row | {"auc": [None if np.isnan(auc) else auc for auc in curve.auc.tolist()]})
        explained = {name: getattr(self, name).tolist() for name in ("class_index", "probability", "logit")}
        return explained | {"score_of": self.score_of, "passes": self.passes, "curves": rows}


def faithfulness(
    model: keras.Model,
    clips: np.ndarray,
    maps: Mapping[str, np.ndarray],
    class_index=None,
    axes: Sequence[Axis] = AXES,
    fills: Sequence[Fill] = FILLS,
    directions: Sequence[Direction] = DIRECTIONS,
    steps: int = 20,
    groups: Sequence[str | None] | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Faithfulness:
    """Deletes and inserts, step by step, what maps mark in clips, and asks the model.

    A clip takes steps - 1 forward passes for each map, axis, fill and direction: the whole clip and the filled one are
    asked about once. Clips are changed on the device, in the graph that answers.

    Args:
        model: any Keras model of clips or images that `har_tf.explain` explains, of one input.
        clips: (N, T, H, W, C) as the model takes them, or images (N, H, W, C).
        maps: name -> (N, T, H, W), finite; of images (N, H, W) is taken as well. The larger a value, the earlier its
            pixel goes; equal ones go in an order drawn at random, see `evaluate.perturbation`.
        class_index: the explained classes, an int or (N,); None: those that the model predicts.
        axes: "space": every frame loses the same share of its own most salient pixels; "time": whole frames, by their
            mean saliency; "both": all pixels of the clip together.
        fills: what takes the place, see `evaluate.perturbation.Fill`; "neighbour" along "time" only.
        directions: "deletion", "insertion".
        steps: of equal size, 1 to 255; at most as many as there are frames or pixels.
        groups: the recording of each clip, for intervals.
        batch_size: changed clips that are in memory at once.
        seed: of noise and of the order of equal pixels.

    Raises:
        ValueError: maps, classes, groups or options that do not fit.

    Example:
        >>> found = faithfulness(model, clips, {"Grad-CAM": gradcam(model, clips).maps, "Uniform": uniform(shape)})
        >>> found.of("space", "blur", "insertion")["Grad-CAM"].auc
    """
    for name, given, known in (
        ("axes", axes, AXES),
        ("fills", fills, FILLS),
        ("directions", directions, DIRECTIONS),
    ):
        if isinstance(given, str) or not given or len(set(given)) < len(given) or not set(given) <= set(known):
            raise ValueError(f"{name} are some of {', '.join(known)}, each once. Received: {name}={given!r}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps is a whole number from 1 to {MOST_STEPS}. Received: {steps=}")
    clips, images = clips_of(model, clips)
    maps = checked_maps(maps, clips, groups)
    measured = [(axis, fill) for axis in axes for fill in fills if fill != "neighbour" or axis == "time"]
    if not measured:
        raise ValueError(f'the fill "neighbour" is for whole frames, along "time". Received: {axes=}')
    answers, batch_size = answers_of(model, clips[:, 0] if images else clips), fitting(batch_size, clips)
    ask = partial(changed_answers, answers, batch_size=batch_size, images=images)
    logits, probabilities = ask(None, (), (clips,))
    class_index = classes_to_explain(class_index, probabilities, answers.single)
    every = np.arange(len(clips))
    whole = np.stack([probabilities, logits])[:, every, class_index]
    least = np.stack([np.ones(len(clips)), logits.std(axis=1)]) * LEAST_LOSS
    at = {axis: shares(clips.shape[1:4], axis, steps) for axis in axes}
    insertion = np.array([direction == "insertion" for direction in directions])
    found = {
        (axis, fill): np.empty((len(SCORES), len(maps), len(directions), len(clips), len(at[axis])), np.float32)
        for axis, fill in measured
    }
    passes = sum(len(maps) * len(directions) * (len(at[axis]) - 2) for axis, _ in measured)
    with (
        progress("deletion and insertion", passes * len(clips), "passes") as advance,
        closing(ahead(_prepared(clips, maps, measured, steps, seed))) as prepared,
    ):
        for n, (filled, leaves) in enumerate(prepared):
            ends = _scores(ask(None, (), (np.stack(list(filled.values())),)), class_index[n])
            ends = dict(zip(filled, ends.T, strict=True))
            for (axis, fill), values in found.items():
                _set_ends(values[..., n, :], whole[:, n], ends[fill], insertion)
                inner = values[..., n, 1:-1]
                if inner.size:
                    change = by_neighbours if fill == "neighbour" else in_order
                    saliency, way, step = (places.ravel() for places in np.indices(inner.shape[1:]))
                    rows = saliency.astype(np.int32), (step + 1).astype(np.uint8), insertion[way]
                    asked = ask(change, (clips[n], filled[fill], leaves[axis]), rows, advance=advance)
                    inner[:] = _scores(asked, class_index[n]).reshape(inner.shape)
    curves = [
        Curve(name, axis, fill, direction, score, at[axis], values[s, m, d], least[s])
        for (axis, fill), values in found.items()
        for m, name in enumerate(maps)
        for d, direction in enumerate(directions)
        for s, score in enumerate(SCORES)
    ]
    fills = {fill for _, fill in measured}
    return Faithfulness(class_index, *whole, answers.score, tuple(curves), groups, passes + len(fills) + 1)


def _prepared(clips, maps, measured, steps: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """Of each clip fill -> the filled clip, and axis -> the step in which each pixel of each map leaves."""
    for n, clip in enumerate(clips):
        filled = {fill: clip_filled(clip, fill, seed) for fill in dict.fromkeys(fill for _, fill in measured)}
        # Of all maps equal pixels are drawn alike, so that the luck of a draw is not what tells them apart.
        leaves = {
            axis: np.stack([leaving(values[n], axis, steps, rng_of(clip, seed)) for values in maps.values()])
            for axis in dict.fromkeys(axis for axis, _ in measured)
        }
        yield filled, leaves


def _scores(asked: tuple[np.ndarray, np.ndarray], class_index: int) -> np.ndarray:
    """(2, R), in the order of `SCORES`, of logits and probabilities (R, classes)."""
    logits, probabilities = asked
    return np.stack([probabilities, logits])[..., class_index]


def _set_ends(values: np.ndarray, whole: np.ndarray, filled: np.ndarray, insertion: np.ndarray) -> None:
    """Of values (2, maps, directions, S + 1) the first and the last, from the scores (2,) of both clips."""
    whole, filled = whole[:, None, None], filled[:, None, None]
    values[..., 0] = np.where(insertion, filled, whole)
    values[..., -1] = np.where(insertion, whole, filled)
