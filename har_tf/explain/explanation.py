"""What an explanation is, and how raw evidence becomes a saliency of every pixel of a clip."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from har_tf.explain.scaling import divided, scaled
from har_tf.explain.upsampling import WHOLE, enlarge, interpolation

_PIXELS_AT_ONCE = 2**21  # of clips whose maps are enlarged together: more take memory, and are no faster


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where and when a model saw evidence for a class, for a batch of clips.

    Attributes:
        maps: float32 (B, T, H, W), the positive evidence at the clip's size; in [0, 1] unless `normalize` was
            None.
        signed: float32 (B, t, h, w), the evidence at the tap's own size, before the ReLU and any scaling; of
            methods that join several taps, (B, T, H, W).
        class_index: int64 (B,), the explained class of each clip.
        score: float32 (B,), its logit, or what settings["score"] says, see `har_tf.explain.backward.Evidence`.
        probability: float32 (B,), its probability.
        method: "Grad-CAM", ...
        settings: the arguments that made it, as tap, pool, normalize.
        factors: of methods that join several taps, the taps' own maps, of which `explain_video` makes the map of a
            whole video; else None.
        grain: whether the maps differ from pixel to pixel, as gradients do, so that pictures of them are smoothed, see
            `har_tf.explain.overlay.shown`.
    """

    maps: np.ndarray
    signed: np.ndarray
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    method: str
    settings: dict = field(default_factory=dict)
    factors: Factors | None = None
    grain: bool = False

    @property
    def empty(self) -> np.ndarray:
        """bool (B,): the clips without any positive evidence, whose maps are zero everywhere."""
        return ~(self.maps > 0).any(axis=(1, 2, 3))

    @property
    def cells(self) -> list[tuple[int, int, int]]:
        """The (t, h, w) of the maps that it was made of, at the taps' own sizes; empty where not known."""
        if self.factors is not None:
            return [tuple(part.shape[2:]) for part in self.factors.parts]
        known = [tuple(self.signed.shape[1:])] if "tap" in self.settings else []
        return self.settings.get("cells", known)

    def __len__(self) -> int:
        return len(self.maps)

    def only(self, index: int) -> Explanation:
        """The explanation of one clip, as a batch of one.

        Raises:
            ValueError: there is no such clip.
        """
        if not -len(self) <= index < len(self):
            raise ValueError(f"the explanation holds {len(self)} clips. Received: {index=}")
        chosen = [index % len(self)]
        arrays = ("maps", "signed", "class_index", "score", "probability")
        factors = self.factors and self.factors.only(chosen)
        return replace(self, factors=factors, **{name: getattr(self, name)[chosen] for name in arrays})


@dataclass(frozen=True, eq=False)
class Factors:
    """What the maps of methods that join several taps are products and sums of, at the taps' own sizes.

    Attributes:
        parts: for each tap float32 (B, factors, t, h, w): beta and alpha of 3DCAM, or the map of Grad-CAM alone.
        peaks: for each tap float32 (B, factors, 1, 1, 1), the largest value of each when enlarged; 0 where none is
            positive.
        size: (T, H, W) of the clips.
        align: as in `cam3d`.
        count: what the sum over the taps is divided by, 1 for `join="sum"`.
        spans: for each tap the part of the clip that it shows, see `Tap.spans`.
    """

    parts: tuple[np.ndarray, ...]
    peaks: tuple[np.ndarray, ...]
    size: tuple[int, int, int]
    align: str
    count: int
    spans: tuple

    def summed(self, peaks: Sequence[np.ndarray]) -> np.ndarray:
        """Equations (2) and (6) with other divisors: those of all windows for the maps of a video.

        Args:
            peaks: for each tap (1, factors, 1, 1, 1), or B of them.

        Returns:
            float32 (B, T, H, W).
        """
        return products(self.parts, self.size, self.align, self.spans, peaks)[0] / self.count

    def only(self, chosen) -> Factors:
        """Those of some of the clips."""
        parts, peaks = (tuple(each[chosen] for each in arrays) for arrays in (self.parts, self.peaks))
        return replace(self, parts=parts, peaks=peaks)


def saliency(signed: np.ndarray, size: tuple[int, int, int], normalize: str | None = "clip", spans=WHOLE) -> np.ndarray:
    """ReLU, enlargement to the clip's size, and scaling of a raw map.

    Args:
        signed: (B, t, h, w), raw evidence.
        size: (T, H, W) of the clip.
        normalize: "clip" divides by the largest value of each clip, so that its frames can be compared;
            "frame" by that of each frame, which shows where in the frame the evidence lies however weak it
            is; None leaves the values.
        spans: the part of the clip that the map shows, see `Tap.spans`; outside of it the result is 0.

    Returns:
        float32 (B, T, H, W). What holds no positive value is zero.

    Raises:
        ValueError: unknown `normalize`.
    """
    return scaled(enlarge(np.maximum(signed, 0).astype("float32"), size, spans=spans), normalize)


def products(
    parts: Sequence[np.ndarray],
    size: tuple[int, int, int],
    align: str = "corners",
    spans: Sequence | None = None,
    peaks: Sequence[np.ndarray] | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Equations (2) and (6): enlarged, divided by their maximum, ReLU, multiplied, and summed over the taps.

    Args:
        parts: for each tap the maps to multiply, float32 (B, factors, t, h, w).
        size: (T, H, W) of the clip.
        align: as in `cam3d`.
        spans: for each tap the part of the clip that it shows, see `Tap.spans`; None: all of it.
        peaks: for each tap what its factors are divided by, (B or 1, factors, 1, 1, 1); None: their own maxima.

    Returns:
        The sum, float32 (B, T, H, W), in which the summand of a tap with a factor without any positive value is zero;
        and these maxima, as in `Factors.peaks`.
    """
    spans = (WHOLE,) * len(parts) if spans is None else tuple(spans)
    run = _products(tuple(each.shape[1:] for each in parts), tuple(size), align, spans, peaks is None)
    # Divided before they are multiplied: the product of the two maxima of tiny numbers would be zero.
    divisors = [each.max(axis=(2, 3, 4), keepdims=True) for each in parts] if peaks is None else peaks
    parts = [divided(each, by) for each, by in zip(parts, divisors, strict=True)]
    at_once = max(1, _PIXELS_AT_ONCE // math.prod(size))
    starts = range(0, len(parts[0]), at_once)
    found = [run(*(tf.constant(each[i : i + at_once]) for each in parts)) for i in starts]
    own = (np.concatenate([some.numpy() for some in tap]) for tap in zip(*(tops for _, tops in found), strict=True))
    own = tuple(np.maximum(top, 0) * np.maximum(by, 0) for top, by in zip(own, divisors, strict=True))
    return np.concatenate([total.numpy() for total, _ in found]), own


@functools.lru_cache(maxsize=64)
def _products(shapes, size, align, spans, by_own_peaks):
    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32) for shape in shapes])
    def run(*parts):
        total, peaks = 0.0, []
        for maps, span in zip(parts, spans, strict=True):
            factors = enlarged(maps, size, align, span)
            peaks.append(tf.reduce_max(factors, axis=(2, 3, 4), keepdims=True))
            product = functools.reduce(tf.multiply, tf.unstack(tf.nn.relu(factors), axis=1))
            # Where no value of a factor is positive the product is zero already, whatever it is divided by.
            total += product * tf.math.reciprocal_no_nan(tf.reduce_prod(peaks[-1], axis=1)) if by_own_peaks else product
        return total, peaks

    return run.get_concrete_function()


def enlarged(maps: tf.Tensor, size: tuple[int, int, int], align: str, spans) -> tf.Tensor:
    """Equation (5), as three products with small matrices; maps are (B, factors, t, h, w)."""
    factors, t, h, w = maps.shape[1:]
    time, height, width = size
    rows = tf.shape(maps)[0] * factors
    if t != time or spans[0] != WHOLE[0]:
        matrix = tf.broadcast_to(interpolation(t, time, align, spans[0]), (rows, time, t))
        maps = matrix @ tf.reshape(maps, (rows, t, h * w))
    if w != width or spans[2] != WHOLE[2]:
        maps = tf.reshape(maps, (-1, w)) @ interpolation(w, width, align, spans[2]).T
    if h != height or spans[1] != WHOLE[1]:
        matrix = tf.broadcast_to(interpolation(h, height, align, spans[1]), (rows * time, height, h))
        maps = matrix @ tf.reshape(maps, (rows * time, h, width))
    return tf.reshape(maps, (-1, factors, *size))
