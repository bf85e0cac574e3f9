"""Does a map foretell what the model loses, and does it stay where the clip hardly changes? (Yeh et al. 2019)

infidelity       boxes in space and time are filled in; the sum of a map within a box, times one number for the clip,
                 should be what the score loses
max-sensitivity  how far a map moves under noise that is hardly seen, the most of several draws
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.options import Fill
from har_tf.evaluate.paired import mean_of
from har_tf.evaluate.perturbation import checked_maps, clip_filled, clips_of, rng_of
from har_tf.explain.answers import answers_of, classes_to_explain
from har_tf.explain.changed import changed_answers, fitting
from har_tf.progress import progress

_SIDES = 0.25, 0.75  # of a box, as shares of the clip's
# What boxes have to change in the score, as the root of the mean square, and of logits as a share of their deviation
# over the classes: below it a map has nothing to foretell.
_LEAST_CHANGE = 0.01


@dataclass(frozen=True, eq=False)
class Infidelity:
    """What maps leave unexplained of what a model loses with parts of a clip.

    Attributes:
        class_index: (N,), the explained class.
        score: "probability" or "logit".
        infidelity: name of the maps -> float64 (N,), the mean squared difference of what the score loses with a box and
            what the map foretells, at the best scale that is not negative.
        change: (N,), the mean square of what the score loses.
        least: (N,), how much that has to be for `unexplained`.
        fill, samples: what boxes are filled with, and how many there were of each clip.
        groups: the recording of each clip; None: each stands alone.
    """

    class_index: np.ndarray
    score: str
    infidelity: dict[str, np.ndarray]
    change: np.ndarray
    least: np.ndarray
    fill: Fill
    samples: int
    groups: Sequence[str | None] | None

    @property
    def unexplained(self) -> dict[str, np.ndarray]:
        """float64 (N,), infidelity as a share of `change`: 0 foretells all, 1 nothing; NaN where little changes."""
        change = np.where(self.change >= self.least, self.change, np.nan)
        return {name: values / change for name, values in self.infidelity.items()}

    def as_dict(self, bootstrap: Bootstrap | None = None) -> dict:
        """Plain values for `results.json`."""
        maps = {}
        for name, values in self.unexplained.items():
            each = [None if np.isnan(value) else value for value in values.tolist()]
            maps[name] = mean_of(values, self.groups, bootstrap).as_dict() | {"unexplained": each}
            maps[name]["infidelity"] = self.infidelity[name].tolist()
        how = {"score": self.score, "fill": self.fill, "samples": self.samples}
        return how | {"class_index": self.class_index.tolist(), "change": self.change.tolist(), "maps": maps}


def infidelity(
    model: keras.Model,
    clips: np.ndarray,
    maps: Mapping[str, np.ndarray],
    class_index=None,
    score: str = "logit",
    fill: Fill = "blur",
    samples: int = 100,
    groups: Sequence[str | None] | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Infidelity:
    """Fills boxes of clips in, in 1 + `samples` forward passes a clip for all maps together.

    Args:
        score: "logit" or "probability".
        samples: boxes of a clip, of a quarter to three quarters of its length, height and width.
        model, clips, maps, class_index, groups, batch_size, seed: as in `evaluate.faithfulness`; maps may be negative.
        fill: as there, but "neighbour".

    Raises:
        ValueError: maps, classes or options that do not fit.
    """
    if score not in ("logit", "probability") or fill == "neighbour" or samples < 2:
        raise ValueError(
            "score is logit or probability, the fill is not neighbour, and there are 2 samples or more. "
            f"Received: {score=}, {fill=}, {samples=}"
        )
    clips, images = clips_of(model, clips)
    maps = checked_maps(maps, clips, groups)
    answers, batch_size = answers_of(model, clips[:, 0] if images else clips), fitting(batch_size, clips)
    which = 0 if score == "logit" else 1
    whole = changed_answers(answers, None, (), (clips,), batch_size, images)
    class_index = classes_to_explain(class_index, whole[1], answers.single)
    found = {name: np.empty(len(clips)) for name in maps}
    change = np.empty(len(clips))
    with progress("infidelity", samples * len(clips), "passes") as advance:
        for n, clip in enumerate(clips):
            boxes = _boxes(clip.shape[:3], samples, rng_of(clip, seed))
            left = changed_answers(
                answers, _boxed, (clip, clip_filled(clip, fill, seed)), (boxes,), batch_size, images, advance
            )[which][:, class_index[n]]
            lost = whole[which][n, class_index[n]].astype(np.float64) - left
            change[n] = np.square(lost).mean()
            for name, values in maps.items():
                within = _sums(values[n], boxes)
                power = within @ within
                # Less than 0: a map of what speaks against the class would be as good as one of what speaks for it.
                scale = max(within @ lost, 0) / power if power else 0
                found[name][n] = np.square(scale * within - lost).mean()
    least = np.square(_LEAST_CHANGE * (whole[0].std(axis=1) if which == 0 else np.ones(len(clips))))
    return Infidelity(class_index, score, found, change, least, fill, samples, groups)


def _boxes(size: tuple[int, int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """int32 (count, 2, 3): first and end along time, height, width."""
    sides = np.maximum(np.rint(rng.uniform(*_SIDES, (count, 3)) * size), 1).astype(int)
    first = rng.integers(0, np.array(size) - sides + 1)
    return np.stack([first, first + sides], axis=1).astype(np.int32)


def _boxed(clip: tf.Tensor, filled: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    missing = True
    for axis, shape in enumerate(((1, -1, 1, 1, 1), (1, 1, -1, 1, 1), (1, 1, 1, -1, 1))):
        place = tf.reshape(tf.range(tf.shape(clip)[axis]), shape)
        first, end = (tf.reshape(boxes[:, side, axis], (-1, 1, 1, 1, 1)) for side in (0, 1))
        missing &= (place >= first) & (place < end)
    return tf.where(missing, filled, clip)


def _sums(saliency: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """float64 (B,), the sum of a map (T, H, W) within each box, from its sums up to every place."""
    upto = np.pad(saliency.astype(np.float64), ((1, 0), (1, 0), (1, 0))).cumsum(0).cumsum(1).cumsum(2)
    total = 0
    for corner in np.ndindex(2, 2, 2):
        t, y, x = (boxes[:, side, axis] for axis, side in enumerate(corner))
        total = total + (-1) ** (3 - sum(corner)) * upto[t, y, x]
    return total


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How far maps move under small noise.

    Attributes:
        values: float64 (N,), the largest distance of a noisy clip's map from the clip's own, as a share of its length
            (the root of the sum of squares); NaN of a map that is zero everywhere.
        radius, samples: of the noise, and how often it was drawn.
        groups: the recording of each clip; None: each stands alone.
    """

    values: np.ndarray
    radius: float
    samples: int
    groups: Sequence[str | None] | None

    def as_dict(self, bootstrap: Bootstrap | None = None) -> dict:
        """Plain values for `results.json`."""
        values = [None if np.isnan(value) else value for value in self.values.tolist()]
        how = {"radius": self.radius, "samples": self.samples, "values": values}
        return how | mean_of(self.values, self.groups, bootstrap).as_dict()


def max_sensitivity(
    explain: Callable[[np.ndarray], np.ndarray],
    clips: np.ndarray,
    radius: float = 0.02,
    samples: int = 10,
    groups: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Sensitivity:
    """Explains clips 1 + `samples` times.

    Args:
        explain: function of clips to maps (N, T, H, W), always of the same classes: with `class_index`, as noise may
            change what the model predicts.
        clips: (N, ...).
        radius: largest change of a pixel, as a share of 255 where clips are whole numbers, else of each clip's range.
        samples: draws of uniform noise.
        groups: the recording of each clip.
        seed: of the noise.

    Raises:
        ValueError: `radius` or `samples` is not positive.

    Example:
        >>> max_sensitivity(lambda noisy: gradcam(model, noisy, class_index=labels).maps, clips).values.mean()
    """
    if not radius > 0 or samples < 1:
        raise ValueError(f"radius and samples are positive. Received: {radius=}, {samples=}")
    clips = np.asarray(clips)
    whole = clips.dtype.kind in "ui"
    flat = tuple(range(1, clips.ndim))
    spans = np.full(len(clips), 255.0) if whole else clips.max(axis=flat) - clips.min(axis=flat)
    draws = [rng_of(clip, seed) for clip in clips]
    maps = np.asarray(explain(clips), np.float64)
    lengths, moved = _lengths(maps), np.zeros(len(clips))
    for _ in range(samples):
        noisy = np.stack(
            [
                clip + rng.uniform(-radius, radius, clip.shape) * span
                for clip, rng, span in zip(clips, draws, spans, strict=True)
            ]
        )
        noisy = np.rint(noisy).clip(0, 255) if whole else noisy
        moved = np.maximum(moved, _lengths(np.asarray(explain(noisy.astype(clips.dtype)), np.float64) - maps))
    return Sensitivity(moved / np.where(lengths > 0, lengths, np.nan), radius, samples, groups)


def _lengths(maps: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(maps).sum(axis=tuple(range(1, maps.ndim))))
