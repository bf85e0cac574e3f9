"""LIME: a linear model of which segments in space and time are shown, fitted to the scores."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import Ridge

from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed
from har_tf.explain.rise import cells_within

_TIME = 0.2  # how far a frame is from the next for superpixels, in pixels; as in REVEX


def lime(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
    segments: str | np.ndarray = "grid",
    cells: Sequence[int] = (4, 7, 7),
    compactness: float = 20.0,
    number: int = 1000,
    p: float = 0.5,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    seed: int = 0,
    fill: str | float | np.ndarray = "segment",
    score: str = "logit",
) -> Explanation:
    """Explains the class of each clip by LIME over segments in space and time.

    Source: Ribeiro et al. 2016, section 3.4, with segments that go through time as in REVEX (Gaya-Morey et al. 2024).
    Of every perturbed clip each segment is shown with probability p; z in {0, 1}^K says which. The first shows all.
    Scores are fitted by ridge regression on z with intercept, each perturbed clip weighted by

        exp(-d^2 / (2 kernel_width^2)),  d = 1 - sqrt(sum z / K),

    the cosine distance from the whole clip, as in the authors' code. A pixel's evidence is the coefficient of its
    segment: of a linear model, and a small `ridge`, what the segment adds to the score.

    Cost: `number` forward passes, and one for the whole clip. No gradient.

    Args:
        model, clips, class_index, counterfactual, normalize, batch_size: as in `har_tf.explain.occlusion`.
        segments: "grid", tubes of equal size; "slic", superpixels in space and time, about as many as the grid has
            cells (SLIC of scikit-image); or whole numbers, (T, H, W), or (B, T, H, W) for each clip its own.
        cells: (time, height, width), of the grid; no more than frames, rows and columns.
        compactness: of superpixels, how much their place counts beside their colour.
        number: of perturbed clips, the whole one among them.
        p: the probability that a segment is shown.
        kernel_width: of the weights.
        ridge: strength of the regularisation, above 0; the authors take 1.
        seed: of what is hidden; the same of every clip with as many segments.
        fill: "segment", the mean colour of each segment, as in the authors' code; or as in `occlusion`.
        score: "logit", or "probability" as in the paper.

    Returns:
        An `Explanation`; `signed` is (B, T, H, W), and settings["passes"] the forward passes of a clip.

    Raises:
        ValueError: as in `occlusion`; segments or numbers out of range; superpixels without scikit-image.

    Example:
        >>> explanation = lime(model, clips, segments="slic", number=2000)
    """
    check(normalize=normalize)
    if number < 2 or not 0 < p < 1 or not kernel_width > 0 or not ridge > 0:
        raise ValueError(
            "number is at least 2, p lies between 0 and 1, and kernel_width and ridge are above 0. "
            f"Received: {number=}, {p=}, {kernel_width=}, {ridge=}"
        )
    own_colour = isinstance(fill, str) and fill == "segment"
    asked = Perturbed(model, clips, class_index, "mean" if own_colour else fill, score, batch_size)
    cells = cells_within(asked.size, cells)
    kinds = _segments(asked.clips, segments, cells, compactness)
    if own_colour:
        asked.fill = np.stack([_own_colour(clip, of) for clip, of in zip(asked.clips, kinds, strict=True)])
    signed = []
    with asked.progress("LIME", number) as advance:
        for index, of in enumerate(kinds):
            shown = drawn(np.random.default_rng(seed), number, int(of.max()) + 1, p)
            scores = asked.scores(index, by_segment, [1 - shown], [of], advance)
            signed.append(_coefficients(shown, scores, kernel_width, ridge)[of])
    settings = {"segments": segments if isinstance(segments, str) else "given", "number": number}
    settings |= {"cells": [cells]} if settings["segments"] == "grid" else {}
    settings |= {"p": p, "kernel_width": kernel_width, "ridge": ridge, "seed": seed, "fill": fill}
    return asked.explanation(signed, "LIME", normalize, settings | {"passes": number + 1}, counterfactual)


def drawn(rng: np.random.Generator, number: int, segments: int, p: float) -> np.ndarray:
    """float32 (number, segments), 1 where a segment is shown; in the first row all are."""
    shown = (rng.random((number, segments)) < p).astype("float32")
    shown[0] = 1
    return shown


def by_segment(size, shared, rows):
    """Whole segments: rows[0] (M, segments) says which are hidden, shared[0] (T, H, W) where they are."""
    return tf.gather(rows[0], shared[0], axis=1)


def _coefficients(shown: np.ndarray, scores: np.ndarray, kernel_width: float, ridge: float) -> np.ndarray:
    distance = 1 - np.sqrt(shown.mean(axis=1, dtype="float64"))
    weights = np.exp(-(distance**2) / (2 * kernel_width**2))
    return Ridge(ridge).fit(shown.astype("float64"), scores.astype("float64"), weights).coef_


def _segments(clips: np.ndarray, segments, cells, compactness) -> list[np.ndarray]:
    """For each clip int32 (T, H, W), the number of every pixel's segment, counted from 0 without a gap."""
    count, *size, _ = clips.shape
    if isinstance(segments, str) and segments == "grid":
        along = (np.arange(long) * parts // long for long, parts in zip(size, cells, strict=True))
        grid = np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), cells).astype("int32")
        return [grid] * count
    if isinstance(segments, str) and segments == "slic":
        return [_superpixels(clip, int(np.prod(cells)), compactness) for clip in clips]
    given = np.asarray(segments)
    if isinstance(segments, str) or given.dtype.kind not in "iu" or given.shape not in ((*size,), (count, *size)):
        raise ValueError(
            f"segments are 'grid', 'slic', or whole numbers of shape {(*size,)} or {(count, *size)}. "
            f"Received: {segments if isinstance(segments, str) else given.dtype.name + ' of ' + str(given.shape)}"
        )
    numbered = [np.unique(of, return_inverse=True)[1] for of in (given[None] if given.ndim == 3 else given)]
    numbered = [of.reshape(size).astype("int32") for of in numbered]
    return numbered if len(numbered) == count else numbered * count


def _superpixels(clip: np.ndarray, number: int, compactness: float) -> np.ndarray:
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise ValueError("segments='slic' needs scikit-image: pip install 'har_tf[segments]'") from error
    found = slic(clip, number, compactness, spacing=(_TIME, 1, 1), start_label=0, channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(found.shape).astype("int32")


def _own_colour(clip: np.ndarray, of: np.ndarray) -> np.ndarray:
    """float32 (T, H, W, C), every segment in its mean colour."""
    pixels = np.bincount(of.ravel())
    channels = [np.bincount(of.ravel(), clip[..., channel].ravel()) / pixels for channel in range(clip.shape[-1])]
    return np.stack(channels, axis=-1).astype("float32")[of]
