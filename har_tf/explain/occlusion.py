"""Occlusion: how much the score drops where a window in space and time is filled in."""

from collections.abc import Sequence
from itertools import product

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed, sums


def occlusion(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    batch_size: int = 32,
    window: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
    fill: str | float | np.ndarray = "mean",
    score: str = "logit",
) -> Explanation:
    """Explains the class of each clip by occlusion.

    Source: Zeiler and Fergus 2014, section 4.2, whose grey square is here a window over frames, rows and columns. It
    stands at every multiple of the stride, and is cut off where it leaves the clip. A pixel's evidence is the mean,
    over the windows that cover it, of the score of the whole clip minus that of the clip with the window filled in: of
    a linear model, and windows of one pixel, weight times (pixel minus fill).

    Cost: one forward pass for each window, ceil((size - window) / stride) + 1 of them along each axis (by default 7, so
    343 in all), and one for the whole clip. No gradient.

    Args:
        model: any Keras model of clips (B, T, H, W, C) or images (B, H, W, C, explained as clips of one frame) with one
            input and one output (B, classes). A subclassed one is called as it is where it has no graph.
        clips: what the model takes. Of a model of uint8 clips, filled clips are rounded.
        class_index: None for the predicted class, an int for all clips, or ints (B,).
        counterfactual: what speaks against the class, where the score rises.
        normalize: "clip" scales each clip by its maximum, "frame" each frame by its own, None not at all.
        batch_size: perturbed clips that are in memory at once, fewer of large ones.
        window: (frames, rows, columns); None: a quarter of the clip along each axis.
        stride: (frames, rows, columns) from one window to the next; None: half a window.
        fill: "mean", the mean colour of the clip; "blur"; a number; or an array; see `har_tf.explain.fills.filled`.
        score: "logit", or "probability", which hardly drops where the model is sure.

    Returns:
        An `Explanation`; `signed` is (B, T, H, W), and settings["passes"] the forward passes of a clip.

    Raises:
        ValueError: a model of several inputs; a window that is no part of the clip, or a stride that leaves out pixels;
            another class, fill, score or normalisation.

    Example:
        >>> explanation = occlusion(model, clips, window=(4, 32, 32), stride=(2, 16, 16))
    """
    check(normalize=normalize)
    asked = Perturbed(model, clips, class_index, fill, score, batch_size)
    window, stride = _window_and_stride(asked.size, window, stride)
    starts = np.array(list(product(*map(_starts, asked.size, window, stride))), "int32")
    rows = [starts, np.broadcast_to(np.array(window, "int32"), starts.shape)]
    signed = []
    with asked.progress("occlusion", len(starts)) as advance:
        for index in range(len(asked)):
            drops = asked.score[index] - asked.scores(index, within, rows, advance=advance)
            total, covered = sums(within, asked.size, drops, rows, asked.batch_size)
            signed.append(total / covered)
    cells = tuple(len(np.unique(starts[:, axis])) for axis in range(3))
    settings = {"window": window, "stride": stride, "fill": fill, "cells": [cells], "passes": len(starts) + 1}
    return asked.explanation(signed, "Occlusion", normalize, settings, counterfactual)


def within(size, shared, rows):
    """1 within boxes that start at rows[0] and are as long as rows[1], both (M, 3) along time, height and width."""
    starts, lengths = rows
    inside = 1.0
    for axis, long in enumerate(size):
        places = tf.range(long)
        start, length = starts[:, axis : axis + 1], lengths[:, axis : axis + 1]
        along = tf.cast((places >= start) & (places < start + length), tf.float32)  # (M, long)
        inside *= tf.reshape(along, (-1, *(long if other == axis else 1 for other in range(3))))
    return inside


def _window_and_stride(size, window, stride) -> tuple[tuple[int, ...], tuple[int, ...]]:
    window = tuple(max(1, long // 4) for long in size) if window is None else tuple(window)
    if len(window) != 3 or not all(1 <= part <= long for part, long in zip(window, size, strict=True)):
        raise ValueError(f"window is (frames, rows, columns), at least 1 and at most {size}. Received: {window=}")
    stride = tuple(max(1, part // 2) for part in window) if stride is None else tuple(stride)
    if len(stride) != 3 or not all(1 <= step <= part for step, part in zip(stride, window, strict=True)):
        raise ValueError(f"stride is (frames, rows, columns), at least 1 and at most {window=}. Received: {stride=}")
    return window, stride


def _starts(long: int, window: int, stride: int) -> range:
    return range(0, -(-(long - window) // stride) * stride + 1, stride)
