"""In which order a clip loses its pixels, and what takes their place.

Many pixels of a map may be equal: all of a uniform one, and all without evidence. Left in the order in which they lie
in memory, a uniform map would be a sweep from top to bottom. So equal ones follow each other at random, by a
seed and the clip's own pixels: in one order for equal clips, whatever lies beside them.
"""

import zlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from har_tf.evaluate.options import Axis, Fill
from har_tf.explain.backward import checked_clips
from har_tf.explain.fills import filled

MOST_STEPS = 255


def clips_of(model: keras.Model, clips: np.ndarray) -> tuple[np.ndarray, bool]:
    """Clips (N, T, H, W, C) of the type that a model takes, and whether it takes images, which are clips of one frame.

    Raises:
        ValueError: the model does not take them.
    """
    clips = np.asarray(clips)
    if len(getattr(model, "inputs", None) or ()) == 1:
        (clips,) = checked_clips(model, clips).values()
    images = clips.ndim == 4
    return clips[:, None] if images else clips, images


def checked_maps(maps: Mapping[str, np.ndarray], clips: np.ndarray, groups: Sequence | None) -> dict[str, np.ndarray]:
    """Name -> (N, T, H, W), as many and as large as the clips.

    Raises:
        ValueError: there are none, they have other sizes, or a value that is not finite; or a clip has no group.
    """
    if groups is not None and len(groups) != len(clips):
        raise ValueError(f"every clip has a group. Received: {len(clips)} clips, {len(groups)} groups")
    if not maps:
        raise ValueError("maps are {name: (N, T, H, W)}. Received: none")
    checked = {}
    for name, values in maps.items():
        values = np.asarray(values)
        values = values[:, None] if values.ndim == 3 and clips.shape[1] == 1 else values
        if values.shape != clips.shape[:4] or not np.isfinite(values).all():
            raise ValueError(
                f"maps of {name!r} are finite, {clips.shape[:4]} like the clips. Received: {values.shape}, "
                f"{np.count_nonzero(~np.isfinite(values))} values not finite"
            )
        checked[name] = values
    return checked


def shares(shape: tuple[int, int, int], axis: Axis, steps: int) -> np.ndarray:
    """The share of pixels (or frames) that is gone after each of S steps, (S + 1,) from 0 to 1.

    Args:
        shape: (T, H, W) of a map.
        axis: along which it is gone through.
        steps: how many of equal size are asked for, 1 to 255; S is at most the number of pixels.
    """
    count = _count(shape, axis)
    return _ends(count, steps) / count


def leaving(saliency: np.ndarray, axis: Axis, steps: int, rng: np.random.Generator) -> np.ndarray:
    """The step in which each pixel leaves, the most salient ones in step 0.

    Args:
        saliency: (T, H, W).
        axis, steps: as in `shares`.
        rng: draws the order of equal pixels.

    Returns:
        uint8 (T, H, W); of the axis "time" (T, 1, 1).
    """
    rows = {"space": saliency.reshape(len(saliency), -1), "both": saliency.reshape(1, -1)}.get(axis)
    if rows is None:
        rows = saliency.mean(axis=(1, 2), dtype=np.float64)[None]
    ends = _ends(_count(saliency.shape, axis), steps)
    parts = np.stack([_parts(row, ends, rng) for row in rows])
    return parts.reshape((-1, 1, 1) if axis == "time" else saliency.shape)


def _count(shape, axis: Axis) -> int:
    return {"space": shape[1] * shape[2], "time": shape[0], "both": shape[0] * shape[1] * shape[2]}[axis]


def _ends(count: int, steps: int) -> np.ndarray:
    """How many of so many are gone after each step, from 0 to all of them."""
    steps = min(steps, count)
    return np.rint(np.arange(steps + 1) * count / steps).astype(int)


def _parts(values: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The step in which each of the values leaves, uint8."""
    # Sorted as values, not by argsort, which takes ten times as long: of most pixels it is enough between which two
    # values of the ends they lie.
    ascending = np.sort(values)
    last = ascending[len(values) - ends[1:-1]]  # to leave in each step but the last
    parts = np.zeros(len(values), np.uint8)
    for value in last:
        parts += values < value
    for value in np.unique(last):
        first, end = (len(values) - np.searchsorted(ascending, value, side) for side in ("right", "left"))
        if end - first > 1:  # equal values have the places from first to end
            steps = (np.searchsorted(ends, np.arange(first, end), "right") - 1).astype(np.uint8)
            rng.shuffle(steps)
            parts[values == value] = steps
    return parts


def rng_of(clip: np.ndarray, seed: int) -> np.random.Generator:
    """Random numbers of a clip's own."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(clip))])


def clip_filled(clip: np.ndarray, fill: Fill | float, seed: int) -> np.ndarray:
    """The clip with nothing of its own left.

    Args:
        clip: (T, H, W, C).
        fill: what takes the place of its pixels; of "neighbour" the frame in the middle stays in place of all, and a
            number is that value.
        seed: of noise.

    Returns:
        (T, H, W, C) of the clip's type, whole numbers rounded.
    """
    if fill == "neighbour":
        return np.broadcast_to(clip[len(clip) // 2], clip.shape)
    if fill == "noise":
        mean, deviation = (reduce(clip, axis=(0, 1, 2), dtype=np.float64) for reduce in (np.mean, np.std))
        made = rng_of(clip, seed).normal(mean, deviation, clip.shape).clip(clip.min(), clip.max())
    else:
        made = filled(clip[None], fill)[0]
    return (np.rint(made) if clip.dtype.kind in "ui" else made).astype(clip.dtype)


def in_order(clip, filled, leaves, saliency, steps, insertion) -> tf.Tensor:
    """Clips after some steps of deletion or insertion, see `changed_answers`.

    Args:
        clip, filled: (T, H, W, C), whole and with nothing of its own.
        leaves: uint8 (maps, T, H, W) or (maps, T, 1, 1), see `leaving`.
        saliency: int32 (B,), which of the maps.
        steps: uint8 (B,), how many are done.
        insertion: bool (B,), whether what leaves first is put into the filled clip; else it leaves the clip.
    """
    gone = tf.gather(leaves, saliency) < tf.reshape(steps, (-1, 1, 1, 1))
    missing = tf.not_equal(gone, tf.reshape(insertion, (-1, 1, 1, 1)))
    return tf.where(missing[..., None], filled, clip)


def by_neighbours(clip, filled, leaves, saliency, steps, insertion) -> tf.Tensor:
    """The same along "time", where a missing frame is a repeat of the nearest that is there."""
    missing = tf.not_equal(tf.gather(leaves[..., 0, 0], saliency) < steps[:, None], insertion[:, None])  # (B, T)
    count = tf.shape(clip)[0]
    apart = tf.abs(tf.range(count)[:, None] - tf.range(count)[None])  # (T, T)
    nearest = tf.argmin(apart[None] + count * tf.cast(missing[:, None], tf.int32), axis=-1, output_type=tf.int32)
    return tf.gather(clip, nearest)
