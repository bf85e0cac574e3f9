"""3DCAM: at every tap the gradient times the activation, enlarged to the clip and summed over the taps."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from har_tf.explain.backward import Rule, evidence
from har_tf.explain.explanation import NORMALIZATIONS, Explanation, saliency, scaled
from har_tf.explain.gradcam import POOLS
from har_tf.explain.upsampling import ALIGNMENTS, interpolation
from har_tf.models.taps import Tap, find_several, stages

CHANNELS = {
    "sum": lambda feature: tf.reduce_sum(feature, axis=-1),
    "max": lambda feature: tf.reduce_max(feature, axis=-1),
    "norm": lambda feature: tf.norm(feature, axis=-1),
}
JOINS = ("sum", "average")
_PIXELS_AT_ONCE = 2**21  # of clips whose maps are enlarged together: more take memory, and are no faster


@dataclass(frozen=True, eq=False)
class Factors:
    """What the maps of 3DCAM and Sum Grad-CAM are products and sums of, at the taps' own sizes.

    Attributes:
        parts: for each tap float32 (B, factors, t, h, w): beta and alpha, or the map of Grad-CAM alone.
        peaks: for each tap float32 (B, factors, 1, 1, 1), the largest value of each when enlarged; 0 where none is
            positive.
        size: (T, H, W) of the clips.
        align: as in `cam3d`.
        count: what the sum over the taps is divided by, 1 for `join="sum"`.
    """

    parts: tuple[np.ndarray, ...]
    peaks: tuple[np.ndarray, ...]
    size: tuple[int, int, int]
    align: str
    count: int

    def summed(self, peaks: Sequence[np.ndarray]) -> np.ndarray:
        """Equations (2) and (6) with other divisors: those of all windows for the maps of a video.

        Args:
            peaks: for each tap (1, factors, 1, 1, 1), or B of them.

        Returns:
            float32 (B, T, H, W).
        """
        total, _ = _multiplied(self.parts, self.size, self.align, peaks)
        return total / self.count

    def only(self, chosen) -> "Factors":
        """Those of some of the clips."""
        parts, peaks = (tuple(each[chosen] for each in arrays) for arrays in (self.parts, self.peaks))
        return replace(self, parts=parts, peaks=peaks)


@dataclass(frozen=True, eq=False)
class Layerwise:
    """What one forward and one backward pass found at every tap, at the taps' own sizes.

    The maps of any of the taps, of any method and of both signs are made of it without another pass.

    Attributes:
        taps: from the first to the last, as they were asked for.
        gradients: tap's name -> float32 (B, t, h, w), beta of equation (1): the gradient of the logit, summed over
            the channels.
        activations: tap's name -> float32 (B, t, h, w), alpha: the feature map, its channels made one.
        weighted: tap's name -> float32 (B, t, h, w), the evidence of Grad-CAM.
        class_index, score, probability: (B,), the explained class, its logit and its probability.
        size: (T, H, W) of the clips.
        channels, pool: as in `layerwise`.
        image: whether the model takes images, so that the maps are those of 2DCAM.
    """

    taps: tuple[Tap, ...]
    gradients: dict[str, np.ndarray]
    activations: dict[str, np.ndarray]
    weighted: dict[str, np.ndarray]
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    size: tuple[int, int, int]
    channels: str
    pool: str
    image: bool = False

    def cam3d(
        self,
        taps: Sequence[str | Tap] | None = None,
        counterfactual: bool = False,
        normalize: str | None = "clip",
        join: str = "sum",
        align: str = "corners",
    ) -> Explanation:
        """Equations (2) and (6) over some of the taps; None: all. Other arguments as in `cam3d`."""
        names = self._names(taps)
        sign = -1 if counterfactual else 1  # equation (7)
        pairs = [np.stack([sign * self.gradients[name], self.activations[name]], axis=1) for name in names]
        kind = "2DCAM" if self.image else "3DCAM"
        settings = {"taps": names, "channels": self.channels, "counterfactual": counterfactual}
        return self._joined(pairs, kind, settings, normalize, join, align)

    def sum_gradcam(
        self,
        taps: Sequence[str | Tap] | None = None,
        counterfactual: bool = False,
        normalize: str | None = "clip",
        join: str = "sum",
        align: str = "centres",
    ) -> Explanation:
        """The Grad-CAMs of some of the taps; None: all. Other arguments as in `har_tf.explain.cam3d.sum_gradcam`."""
        names = self._names(taps)
        sign = -1 if counterfactual else 1
        maps = [np.maximum(sign * self.weighted[name], 0)[:, None] for name in names]
        settings = {"taps": names, "pool": self.pool, "counterfactual": counterfactual}
        return self._joined(maps, "Grad-CAM", settings, normalize, join, align)

    def gradcam(
        self, tap: str | Tap | None = None, counterfactual: bool = False, normalize: str | None = "clip"
    ) -> Explanation:
        """Grad-CAM at one of the taps, as `har_tf.explain.gradcam` makes it; None: the last one."""
        (name,) = self._names([self.taps[-1] if tap is None else tap])
        signed = -self.weighted[name] if counterfactual else self.weighted[name]
        settings = {"tap": name, "pool": self.pool, "normalize": normalize, "counterfactual": counterfactual}
        return self._explanation(saliency(signed, self.size, normalize), signed, "Grad-CAM", settings)

    def _names(self, taps) -> tuple[str, ...]:
        known = tuple(tap.name for tap in self.taps)
        if taps is None:
            return known
        names = tuple(tap.name if isinstance(tap, Tap) else tap for tap in taps)
        if isinstance(taps, str) or not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise ValueError(f"taps are some of {', '.join(known)}, each once. Received: {taps=}")
        return names

    def _joined(self, parts, kind, settings, normalize, join, align) -> Explanation:
        if normalize not in NORMALIZATIONS:
            raise ValueError(f"normalize is one of {', '.join(map(repr, NORMALIZATIONS))}. Received: {normalize=}")
        if join not in JOINS:
            raise ValueError(f"join is one of {', '.join(map(repr, JOINS))}. Received: {join=}")
        signed, peaks = _multiplied(parts, self.size, align)
        count = len(parts) if join == "average" else 1
        signed /= count
        factors = Factors(tuple(parts), peaks, self.size, align, count)
        several = {"sum": "Sum ", "average": "Average "}[join] if len(parts) > 1 else ""
        settings = {**settings, "join": join, "align": align, "normalize": normalize}
        return self._explanation(scaled(signed, normalize), signed, several + kind, settings, factors)

    def _explanation(self, maps, signed, method, settings, factors=None) -> Explanation:
        return Explanation(maps, signed, self.class_index, self.score, self.probability, method, settings, factors)


def cam3d(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    channels: str = "sum",
    join: str = "sum",
    align: str = "corners",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by (Sum) 3DCAM, in one forward and one backward pass for all taps.

    Source: the 3DCAM paper (as `resnext3d`, `i3d` and `gated`), equations (1), (2), (6) and (7). At every tap k the
    gradient of the logit is summed over the channels, which gives beta_k; so is the activation, which gives alpha_k.
    Both are enlarged to the clip, divided by their largest value in the clip, and set to zero where they are negative;
    the map of the tap is their product. The maps are summed over the taps. Images are clips of one frame, for which
    this is 2DCAM with bilinear interpolation.

    As channels are summed before the product, an activation counts wherever the summed gradient is positive, also in a
    channel that speaks for another class; and where nothing but global average pooling and a dense layer follows a tap,
    its beta is the same number everywhere, so that its map is the activation or, where that number is negative, empty.

    What the paper leaves open:
        The channels of alpha: equation (2) has none left, but only beta's are said to be summed. `channels` is "sum",
        the same as the mean as the map is divided by its maximum; "max"; or "norm", the Euclidean one, for taps with
        activations of both signs.
        "Avg pool 3DCAM" of Tables 4 and 5: Figure 1 says that the maps of the layers are "pooled" to the final one, so
        it is read as their average in place of the sum, `join="average"`. It differs from the sum where a fixed
        threshold meets unscaled maps (`normalize=None`), which the average keeps in [0, 1]; scaled, both are the same
        map. Read as the layer that the network's average pool reads, it is `cam3d(..., taps=[the last tap])`; as
        gradients that are averaged over the map, it is Grad-CAM, `sum_gradcam`.
        A beta or alpha without any positive value: divided by its maximum it would turn its sign. The map of this tap
        is zero.

    Args:
        model: as in `gradcam`.
        clips: what the model takes, (B, T, H, W, C) or (B, H, W, C).
        taps: names of layers in `taps(model)`, or `Tap`s, each once; None: `stages(model)`, the output of each stage.
        class_index: None for the predicted class, an int for all clips, or ints (B,).
        counterfactual: negate the gradient (equation (7)): what speaks against the class.
        normalize: "clip" scales each clip by its maximum, "frame" each frame by its own, None leaves the sum of the
            taps' maps, each of which lies in [0, 1].
        channels: how the channels of the activation become one: "sum", "max" or "norm".
        join: how the taps' maps become one: "sum" (equation (6)) or "average".
        align: "corners" puts a map's first and last cells on the clip's first and last frames, rows and columns, as
            the corner points under equation (5) have it; "centres" gives every cell an equal share of the clip.
        batch_size: clips that are in memory at once.

    Returns:
        An `Explanation`; its `maps` are (B, T, H, W), its `signed` the same before scaling. Clips without positive
        evidence are named by `.empty`. For the map of each tap by itself from the same pass, see `layerwise`.

    Raises:
        ValueError: no such tap (the message lists them all), class or option; clips of another shape; a model without
            a graph; a gradient that is not finite.

    Example:
        >>> explanation = cam3d(model, clips, taps=["conv3d_1a_7x7", "layer1"])
        >>> frames = overlay(clips, explanation)
    """
    _check_align(align)
    found = _pass(model, clips, taps, class_index, None, channels, "spatiotemporal", ("beta", "alpha"), batch_size)
    return found.cam3d(None, counterfactual, normalize, join, align)


def sum_gradcam(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    counterfactual: bool = False,
    normalize: str | None = "clip",
    pool: str = "spatiotemporal",
    join: str = "sum",
    align: str = "centres",
    batch_size: int = 32,
) -> Explanation:
    """Explains the class of each clip by Sum Grad-CAM: the Grad-CAM of every tap, scaled by its maximum, summed.

    Source: Figures 7 and 8, Tables 6 and 7 of the 3DCAM paper. Each summand is the `maps` of
    `gradcam(model, clips, tap)`, so the enlargement is its by default; `align="corners"` is that of `cam3d`.

    Args:
        pool: as in `gradcam`.
        model, clips, taps, class_index, counterfactual, normalize, join, align, batch_size: as in `cam3d`.

    Returns:
        As `cam3d`.

    Raises:
        ValueError: as in `cam3d`.
    """
    _check_align(align)
    found = _pass(model, clips, taps, class_index, None, "sum", pool, ("gradcam",), batch_size)
    return found.sum_gradcam(None, counterfactual, normalize, join, align)


def layerwise(
    model: keras.Model,
    clips: np.ndarray,
    taps: Sequence[str | Tap] | None = None,
    class_index=None,
    top: int | None = None,
    channels: str = "sum",
    pool: str = "spatiotemporal",
    batch_size: int = 32,
) -> Layerwise:
    """All that 3DCAM and Grad-CAM need at every tap, from one forward and one backward pass: the rows of Table 6.

    Args:
        top: in place of `class_index`: the number of most probable classes to explain of each clip. Row `i * top + r`
            of the result is clip i and its class of rank r.
        model, clips, taps, class_index, channels, pool, batch_size: as in `cam3d` and `gradcam`.

    Returns:
        A `Layerwise`, of which every map is made.

    Raises:
        ValueError: as in `cam3d`; `top` is less than 1 or more than the model's classes, or given with a class.

    Example:
        >>> found = layerwise(model, clips)
        >>> alone = {tap.name: found.cam3d([tap]) for tap in found.taps}
        >>> both = found.cam3d(found.taps[:2]), found.sum_gradcam(found.taps[:2])
        >>> first, second, third = (layerwise(model, clips[:1], top=3).cam3d().only(r) for r in range(3))  # Figure 6
    """
    parts = ("beta", "alpha", "gradcam")
    return _pass(model, clips, taps, class_index, top, channels, pool, parts, batch_size)


def _pass(model, clips, taps, class_index, top, channels, pool, parts, batch_size) -> Layerwise:
    if channels not in CHANNELS:
        raise ValueError(f"channels is one of {', '.join(map(repr, CHANNELS))}. Received: {channels=}")
    if pool not in POOLS:
        raise ValueError(f"pool is one of {', '.join(map(repr, POOLS))}. Received: {pool=}")
    chosen = stages(model) if taps is None else find_several(model, taps)
    clips = np.asarray(clips)
    found = evidence(model, clips, chosen, _rule(parts, channels, pool), class_index, batch_size, top)
    maps = {
        part: {tap.name: each[:, i] for tap, each in zip(chosen, found.signed, strict=True)}
        for i, part in enumerate(parts)
    }
    return Layerwise(
        taps=tuple(chosen),
        gradients=maps.get("beta", {}),
        activations=maps.get("alpha", {}),
        weighted=maps.get("gradcam", {}),
        class_index=found.class_index,
        score=found.score,
        probability=found.probability,
        size=clips.shape[1:4] if clips.ndim == 5 else (1, *clips.shape[1:3]),
        channels=channels,
        pool=pool,
        image=clips.ndim == 4,
    )


@functools.cache  # compiled functions are kept by their rule
def _rule(parts: tuple[str, ...], channels: str, pool: str) -> Rule:
    """What is computed at a tap, (B, parts, t, h, w)."""
    rules = {
        "beta": lambda feature, gradient: tf.reduce_sum(gradient, axis=-1),  # equation (1)
        "alpha": lambda feature, gradient: CHANNELS[channels](feature),
        "gradcam": POOLS[pool],
    }

    def rule(feature, gradient):
        return tf.stack([rules[part](feature, gradient) for part in parts], axis=1)

    return rule


def products(parts: Sequence[np.ndarray], size: tuple[int, int, int], align: str = "corners") -> np.ndarray:
    """Equations (2) and (6): enlarged, divided by their maximum, ReLU, multiplied, and summed over the taps.

    Args:
        parts: for each tap the maps to multiply, float32 (B, factors, t, h, w).
        size: (T, H, W) of the clip.
        align: as in `cam3d`.

    Returns:
        float32 (B, T, H, W). Factors without any positive value make the summand of their tap zero.
    """
    return _multiplied(parts, size, align)[0]


def _multiplied(parts, size, align, peaks=None) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The sum of the products of factors that are divided by `peaks`, or else by their own, and their own peaks."""
    _check_align(align)
    run = _products(tuple(each.shape[1:] for each in parts), tuple(size), align, peaks is None)
    # Divided before they are multiplied: the product of the two maxima of tiny numbers would be zero.
    divisors = [each.max(axis=(2, 3, 4), keepdims=True) for each in parts] if peaks is None else peaks
    parts = [_divided(each, by) for each, by in zip(parts, divisors, strict=True)]
    at_once = max(1, _PIXELS_AT_ONCE // math.prod(size))
    starts = range(0, len(parts[0]), at_once)
    found = [run(*(each[i : i + at_once] for each in parts)) for i in starts]
    own = (np.concatenate([some.numpy() for some in tap]) for tap in zip(*(tops for _, tops in found), strict=True))
    own = tuple(np.maximum(top, 0) * np.maximum(by, 0) for top, by in zip(own, divisors, strict=True))
    return np.concatenate([total.numpy() for total, _ in found]), own


def _divided(maps: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(maps, by, out=np.zeros_like(maps), where=by > 0)


@functools.lru_cache(maxsize=64)
def _products(shapes, size, align, by_own_peaks):
    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32) for shape in shapes])
    def run(*parts):
        total, peaks = 0.0, []
        for maps in parts:
            factors = _enlarged(maps, size, align)
            peaks.append(tf.reduce_max(factors, axis=(2, 3, 4), keepdims=True))
            product = functools.reduce(tf.multiply, tf.unstack(tf.nn.relu(factors), axis=1))
            # Where no value of a factor is positive the product is zero already, whatever it is divided by.
            total += product * tf.math.reciprocal_no_nan(tf.reduce_prod(peaks[-1], axis=1)) if by_own_peaks else product
        return total, peaks

    return run


def _enlarged(maps: tf.Tensor, size: tuple[int, int, int], align: str) -> tf.Tensor:
    """Equation (5), as three products with small matrices; maps are (B, factors, t, h, w)."""
    factors, t, h, w = maps.shape[1:]
    time, height, width = size
    rows = tf.shape(maps)[0] * factors
    if t != time:
        matrix = tf.broadcast_to(interpolation(t, time, align), (rows, time, t))
        maps = matrix @ tf.reshape(maps, (rows, t, h * w))
    if w != width:
        maps = tf.reshape(maps, (-1, w)) @ interpolation(w, width, align).T
    if h != height:
        matrix = tf.broadcast_to(interpolation(h, height, align), (rows * time, height, h))
        maps = matrix @ tf.reshape(maps, (rows * time, h, width))
    return tf.reshape(maps, (-1, factors, *size))


def _check_align(align: str) -> None:
    if align not in ALIGNMENTS:
        raise ValueError(f"align is one of {', '.join(map(repr, ALIGNMENTS))}. Received: {align=}")
