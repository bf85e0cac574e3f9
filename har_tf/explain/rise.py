"""RISE: the mean score of randomly masked clips in which a pixel is shown, less that of all of them."""

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed, sums


def rise(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
    number: int = 1000,
    cells: Sequence[int] = (4, 7, 7),
    p: float = 0.5,
    shift: bool = True,
    seed: int = 0,
    fill: str | float | np.ndarray = "mean",
    score: str = "logit",
) -> Explanation:
    """Explains the class of each clip by RISE.

    Source: Petsiuk et al. 2018, section 3, with masks in space and time as in REVEX (Gaya-Morey et al. 2024). A grid of
    cells, of which each is shown with probability p, is enlarged to the clip by linear interpolation and moved by a
    random part of a cell along each axis. With masks M_1 to M_N, in [0, 1], and the scores f_i of the masked clips, the
    evidence of a pixel is

        sum_i (f_i - mean f) M_i / sum_i M_i,

    an estimate of E[f | the pixel is shown] - E[f]: of a linear model, and cells of one pixel, (1 - p) times weight
    times (pixel minus fill). The paper's equation (6) is sum_i f_i M_i / (N p), an estimate of the first term alone.
    Both put pixels into the same order as N grows; without the mean of f, which is the same everywhere, the map is
    signed, and a score far from 0, as a logit may be, adds no noise.

    Cost: `number` forward passes, and one for the whole clip. No gradient.

    Args:
        model, clips, class_index, counterfactual, normalize, batch_size, fill: as in `har_tf.explain.occlusion`. The
            paper's fill, zeros of a normalised picture, is about the "mean".
        number: of masks, N; the paper takes 4,000 to 8,000, REVEX 1,000.
        cells: (time, height, width), of the grid; no more than frames, rows and columns.
        p: the probability that a cell is shown.
        shift: whether masks are moved, without which the cells' borders show in the map.
        seed: of the masks, which are the same for every clip.
        score: "logit", or "probability" as in the paper.

    Returns:
        An `Explanation`; `signed` is (B, T, H, W), and settings["passes"] the forward passes of a clip.

    Raises:
        ValueError: as in `occlusion`; `number`, `cells` or `p` out of range.

    Example:
        >>> explanation = rise(model, clips, number=4000, score="probability")
    """
    check(normalize=normalize)
    if number < 1 or not 0 < p < 1:
        raise ValueError(f"number is at least 1, and p lies between 0 and 1. Received: {number=}, {p=}")
    asked = Perturbed(model, clips, class_index, fill, score, batch_size)
    cells = cells_within(asked.size, cells)
    rows = drawn(np.random.default_rng(seed), asked.size, number, cells, p, shift)
    hide = interpolated(cells, rows[0].shape[1:])
    signed = []
    with asked.progress("RISE", len(rows[0])) as advance:
        for index in range(len(asked)):
            scores = asked.scores(index, hide, rows, advance=advance)
            away = scores - scores.mean(dtype="float64")
            total, hidden = sums(hide, asked.size, away, rows, asked.batch_size)
            shown = len(scores) - hidden
            # Deviations sum to 0, so those of what is shown are minus those of what is hidden.
            signed.append(np.divide(-total, shown, out=np.zeros_like(total), where=shown > 1e-6))
    settings = {"number": len(rows[0]), "cells": [cells], "p": p, "shift": shift, "seed": seed, "fill": fill}
    return asked.explanation(signed, "RISE", normalize, settings | {"passes": len(rows[0]) + 1}, counterfactual)


def drawn(rng: np.random.Generator, size, number: int, cells, p: float, shift: bool) -> list[np.ndarray]:
    """Random masks: float32 (number, t, h, w), 1 where a cell is hidden; and float32 (number, 3), cells they are moved.

    A grid has one cell more than `cells` along each axis that it is moved along.
    """
    steps = [-(-long // count) if shift else 1 for long, count in zip(size, cells, strict=True)]
    grid = [count + (step > 1) for count, step in zip(cells, steps, strict=True)]
    hidden = (rng.random((number, *grid)) >= p).astype("float32")
    moved = rng.integers(0, steps, (number, 3)) * np.divide(cells, size)
    return [hidden, moved.astype("float32")]


@functools.cache  # compiled functions are kept by what hides
def interpolated(cells: tuple[int, int, int], grid: tuple[int, int, int]):
    """What hides by grids (M, *grid), of which `cells` span the clip, enlarged linearly and moved by (M, 3) cells."""

    def hide(size, shared, rows):
        hidden, moved = rows
        along = []
        for axis, (long, count, present) in enumerate(zip(size, cells, grid, strict=True)):
            places = tf.constant((np.arange(long) + 0.5) * count / long - 0.5, tf.float32) + moved[:, axis : axis + 1]
            places = tf.clip_by_value(places, 0, present - 1)
            distance = tf.abs(places[:, :, None] - tf.range(present, dtype=tf.float32))
            along.append(tf.nn.relu(1 - distance))  # (M, long, present)
        time, height, width = along
        t, h, w = grid
        enlarged = tf.reshape(time @ tf.reshape(hidden, (-1, t, h * w)), (-1, size[0], h, w))
        return height[:, None] @ (enlarged @ tf.transpose(width, (0, 2, 1))[:, None])

    return hide


def cells_within(size: tuple[int, int, int], cells: Sequence[int]) -> tuple[int, int, int]:
    """The cells of a grid (time, height, width), no more than frames, rows and columns.

    Raises:
        ValueError: less than one along an axis.
    """
    cells = tuple(cells)
    if len(cells) != 3 or not all(isinstance(count, int | np.integer) and count >= 1 for count in cells):
        raise ValueError(f"cells are (time, height, width), at least 1 along each. Received: {cells=}")
    return tuple(min(count, long) for count, long in zip(cells, size, strict=True))
