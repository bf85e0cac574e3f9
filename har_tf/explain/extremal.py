"""Extremal perturbation in time: the fewest frames that suffice for a class, or without which it is gone."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.answers import answers_of
from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed
from har_tf.explain.pixel_gradients import model_of_floats
from har_tf.models.flatten import with_graph

AREAS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # as in the paper's figure 1 and its evaluation
_RATE = 0.05  # how far the mask of the frame with the largest gradient moves in a step
_FIRST, _LAST = 0.3, 300.0  # weight of the constraint in the first step and in the last
_SHARPNESS = 20.0  # of the smooth maximum


@dataclass(frozen=True, eq=False)
class ExtremalFrames:
    """For each of A numbers of frames the mask of that many which shows, or takes away, most of the evidence.

    Attributes:
        frames: int64 (A,), how many frames a mask chooses, rising.
        masks: float32 (B, A, T), in [0, 1], what was optimised.
        chosen: bool (B, A, T), the frames with the largest values of each mask.
        scores: float32 (B, A), the score of the clip when these frames alone are shown ("preserve"), or hidden
            ("delete").
        whole, filled: float32 (B,), the score of the whole clip, and of the fill alone.
        share: float64 (B,), the smallest share of frames that suffices ("preserve": the score keeps `enough` of its
            distance from the fill's) or destroys ("delete": it loses `enough` of it); NaN where no number does.
    """

    frames: np.ndarray
    masks: np.ndarray
    chosen: np.ndarray
    scores: np.ndarray
    whole: np.ndarray
    filled: np.ndarray
    share: np.ndarray


def extremal(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    normalize: str | None = "clip",
    batch_size: int = 32,
    goal: str = "preserve",
    areas: Sequence[float] = AREAS,
    smooth: float = 1 / 16,
    steps: int = 100,
    enough: float = 0.9,
    fill: str | float | np.ndarray = "blur",
    score: str = "logit",
) -> Explanation:
    """Explains the class of each clip by extremal perturbation of whole frames.

    Source: Fong et al. 2019, sections 3.1 and 3.2, with a mask over frames in place of pixels: for an area a, of
    k = a T frames, the mask m that maximises

        S(m) - lambda mean (sort(m) - r_a)^2,

    where r_a holds T - k zeros and k ones, and S is the score of the clip in which a frame keeps the share m_t and
    takes the rest from the fill ("delete": the other way round, and minus the score), as a share of the distance from
    the whole clip's score to the fill's. m is a smooth maximum of what is optimised, times a Gaussian in time, so that
    frames do not stand out by chance. Gradient ascent from 1/2 everywhere, with growing lambda.

    A frame's evidence is the mean of its masks over the areas, the same in the whole frame: 1 for one that is in the
    smallest set. It is never negative: what speaks against the class is not shown. `extremal_frames` gives the masks,
    and which share of the frames suffices.

    Cost: `steps` forward and backward passes for each area (by default 6, fewer of short clips), and a forward pass for
    each and two more. Needs a gradient, which must reach the pixels.

    Args:
        model, clips, class_index, normalize, batch_size, score: as in `har_tf.explain.occlusion`; an eighth of the
            batch is in memory at once.
        goal: "preserve", the frames that suffice; "delete", those without which the class is gone.
        areas: shares of the frames, between 0 and 1.
        smooth: standard deviation of the Gaussian as a share of the frames; 0: none.
        steps: of gradient ascent.
        enough: as of `ExtremalFrames.share`.
        fill: as in `occlusion`; "blur" as in the paper.

    Returns:
        An `Explanation`; settings["passes"] and settings["backward_passes"] say what a clip took.

    Raises:
        ValueError: as in `occlusion`; images; no gradient reaches the pixels; areas or numbers out of range.

    Example:
        >>> explanation = extremal(model, clips, goal="delete")
        >>> extremal_frames(model, clips).share  # of the frames suffices
    """
    check(normalize=normalize)
    asked = _asked(model, clips, class_index, fill, score, batch_size)
    found = _optimised(asked, goal, areas, smooth, steps, enough)
    signed = np.broadcast_to(found.masks.mean(axis=1)[:, :, None, None], asked.clips.shape[:4])
    settings = {"goal": goal, "areas": tuple(areas), "smooth": smooth, "steps": steps, "enough": enough, "fill": fill}
    passes = steps * len(found.frames), len(found.frames) + 2
    settings |= {"passes": sum(passes), "backward_passes": passes[0]}
    return asked.explanation(signed, "Extremal frames", normalize, settings)


def extremal_frames(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    batch_size: int = 32,
    goal: str = "preserve",
    areas: Sequence[float] = AREAS,
    smooth: float = 1 / 16,
    steps: int = 100,
    enough: float = 0.9,
    fill: str | float | np.ndarray = "blur",
    score: str = "logit",
) -> ExtremalFrames:
    """The masks of which `extremal` makes its maps, what the model says of their frames, and which share suffices.

    Args, raises: as of `extremal`.
    """
    return _optimised(_asked(model, clips, class_index, fill, score, batch_size), goal, areas, smooth, steps, enough)


def _asked(model: keras.Model, clips, class_index, fill, score, batch_size) -> Perturbed:
    """The model from float32 pixels on, which a gradient reaches."""
    answers_of(model, clips)  # refuses what cannot be perturbed
    clips = np.asarray(clips)
    try:
        model = model_of_floats(with_graph(model, clips))
    except ValueError:  # without a graph it is called as it is
        if getattr(model, "inputs", None):
            raise
    return Perturbed(model, clips.astype("float32"), class_index, fill, score, batch_size)


def _optimised(asked: Perturbed, goal, areas, smooth, steps, enough) -> ExtremalFrames:
    check(goal=goal)
    long = asked.size[0]
    areas = tuple(areas)
    if long < 2:
        raise ValueError("extremal perturbation in time takes clips of two frames or more. Received: images, or one")
    if not areas or not all(0 < area < 1 for area in areas) or steps < 1 or not 0 < enough <= 1 or smooth < 0:
        raise ValueError(
            "areas lie between 0 and 1, steps is at least 1, enough lies in (0, 1], and smooth is not negative. "
            f"Received: {areas=}, {steps=}, {enough=}, {smooth=}"
        )
    frames = np.unique(np.clip(np.rint(np.multiply(areas, long)), 1, long - 1).astype(int))
    target = (np.arange(long) >= long - frames[:, None]).astype("float32")  # (A, T), rising
    apart = np.subtract.outer(np.arange(long), np.arange(long))
    kernel = (np.exp(-((apart / (smooth * long)) ** 2) / 2) if smooth > 0 else apart == 0).astype("float32")
    found = []
    with asked.progress("extremal frames", steps * len(frames)) as advance:
        for index in range(len(asked)):
            whole, filled = asked.score[index], asked.scores(index, by_frame, [np.ones((1, long), "float32")])[0]
            masks = _ascended(asked, index, goal, target, kernel, steps, filled - whole, advance)
            order = np.argsort(-masks, axis=1, kind="stable")
            chosen = np.zeros(masks.shape, bool)
            np.put_along_axis(chosen, order, np.arange(long) < frames[:, None], axis=1)
            scores = asked.scores(index, by_frame, [_hidden(chosen.astype("float32"), goal)])
            left = (scores - filled) / (whole - filled) if whole > filled else np.full(len(scores), np.nan)
            reached = left >= enough if goal == "preserve" else left <= 1 - enough
            share = frames[reached.argmax()] / long if reached.any() else np.nan
            found.append((masks, chosen, scores, whole, filled, share))
    return ExtremalFrames(frames, *(np.array(each) for each in zip(*found, strict=True)))


def _ascended(asked: Perturbed, index, goal, target, kernel, steps, distance, advance) -> np.ndarray:
    """The masks (A, T) of one clip; `distance` is from the whole clip's score to the fill's."""
    raw, scale = tf.fill(target.shape, 0.5), max(abs(float(distance)), 1e-6)
    masks = _smooth_maximum(raw, kernel)
    for weight in np.geomspace(_FIRST, _LAST, steps, dtype="float32"):
        slopes = asked.slopes(index, by_frame, _hidden(masks.numpy(), goal), advance)
        raw, masks = _step(raw, slopes / np.float32(scale), weight, target, kernel)
    return masks.numpy()


@tf.function(reduce_retracing=True, autograph=False)
def _step(raw, slopes, weight, target, kernel):
    """One step against the slopes to what is hidden: for a higher score where that is 1 - m, a lower where it is m."""
    masks = _smooth_maximum(raw, kernel)
    apart = tf.reduce_mean((tf.sort(masks, axis=1) - target) ** 2, axis=1)
    (slope,) = tf.gradients(-tf.reduce_sum(masks * slopes, axis=1) - weight * apart, raw)
    raw += _RATE * slope / (tf.reduce_max(tf.abs(slope), axis=1, keepdims=True) + 1e-12)
    raw = tf.clip_by_value(raw, 0, 1)
    return raw, _smooth_maximum(raw, kernel)


def _hidden(masks, goal: str):
    return 1 - masks if goal == "preserve" else masks


def _smooth_maximum(raw: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    """At each frame about the largest of the values around it times a kernel (T, T)."""
    values = raw[:, None, :] * kernel  # (A, T, T)
    return tf.reduce_sum(values * tf.nn.softmax(_SHARPNESS * values, axis=2), axis=2)


def by_frame(size, shared, rows):
    """Whole frames: rows[0] (M, T) is how far each is hidden."""
    return tf.broadcast_to(rows[0][:, :, None, None], (tf.shape(rows[0])[0], *size))
