"""How alike the maps of two networks are, clip by clip, and whether that says that they depend on the network.

Measures after Adebayo et al. 2018, "Sanity checks for saliency maps": structural similarity (SSIM), the rank
correlation of pixels, and the overlap of the largest ones. None of them means much alone: maps of one method resemble
each other in any case, as where all actors stand in the middle. So beside each stands what another clip's map reaches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from scipy.stats import rankdata

from har_tf.evaluate.bootstrap import Bootstrap, clusters_of
from har_tf.evaluate.comparison import Verdict
from har_tf.evaluate.controls import of_another_clip
from har_tf.evaluate.paired import Mean, difference, mean_of
from har_tf.explain.scaling import scaled

SSIM, RANK, TOP, SIGNED_RANK = "ssim", "rank", "top", "signed_rank"
SHOWN = (SSIM, RANK, TOP)  # the measures of the maps as they are shown, without signs
_RANKED = 2**14  # pixels whose ranks are compared: of 245,760 pixels of a clip, drawn once, 0.01 from all of them
_EQUAL = 1e-6
_ROOM = 0.8  # what another clip's map may reach


class Outcome(StrEnum):
    """What a comparison says of a method, by where the similarity lies between that of another clip's map and 1.

    UNCHANGED: above the middle of the two, so nearer to the same map, or the same map in every clip. PARTLY: below the
    middle, but above another clip's map. CHANGES: below the middle, and not shown to be above another clip's map.
    NOT_SHOWN: too few recordings, or clips too unlike each other, to tell on which side of the middle. ALL_ALIKE: on
    average below the middle, but another clip's map reaches more than 0.8 already, so that there is no room to tell.
    "Below" and "above" are verdicts of `paired.difference`; of the same maps it takes as many recordings.
    """

    UNCHANGED = "unchanged"
    PARTLY = "partly"
    CHANGES = "changes"
    NOT_SHOWN = "not shown"
    ALL_ALIKE = "all alike"


# A measure without room says something only where none has.
_WORST_FIRST = (Outcome.UNCHANGED, Outcome.NOT_SHOWN, Outcome.PARTLY, Outcome.CHANGES, Outcome.ALL_ALIKE)


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike N maps are to the original ones.

    Attributes:
        values: measure -> float64 (N,), 1 for the same map; NaN where the original is empty, 0 where only the other is.
            SIGNED_RANK is there where the maps have signs.
        means: measure -> its mean and interval; `left_out` counts the empty originals.
        empty: share of the maps that show nothing, of those whose original does.
    """

    values: dict[str, np.ndarray]
    means: dict[str, Mean]
    empty: float

    def as_dict(self) -> dict:
        """Everything as numbers, lists and dicts; without the values of the clips."""
        return {"empty": self.empty, **{name: mean.as_dict() for name, mean in self.means.items()}}


@dataclass(frozen=True, eq=False)
class MapComparison:
    """Maps of one method by two networks.

    Attributes:
        similarity: of the maps of one to those of the other.
        another: of the other's maps to those of other clips, see `controls.of_another_clip`.
        outcomes: measure -> what it says.
        other_recording: whether the other clips are of other recordings; else all clips are of one, whose maps resemble
            each other more than those of two recordings.
    """

    similarity: Similarity
    another: Similarity
    outcomes: dict[str, Outcome]
    other_recording: bool

    @property
    def outcome(self) -> Outcome:
        """What the method is called: the worst that a measure of `SHOWN` says."""
        return min((self.outcomes[name] for name in SHOWN), key=_WORST_FIRST.index)

    def as_dict(self) -> dict:
        """Everything as numbers, lists, dicts and text, with the values of the clips."""
        values = {name: [None if np.isnan(x) else float(x) for x in self.similarity.values[name]] for name in SHOWN}
        return {
            "similarity": self.similarity.as_dict() | {"clips": values},
            "another_clip": self.another.as_dict() | {"other_recording": self.other_recording},
            "outcomes": {name: outcome.value for name, outcome in self.outcomes.items()},
            "outcome": self.outcome.value,
        }


class Originals:
    """Maps of one method that others are compared with.

    Args:
        found: an `Explanation`, or an array (N, T, H, W); of one with negative values the sizes are compared, and with
            their signs the ranks.
        groups: the recording of each clip, as in `paired.mean_of`.
        top: share of a clip's pixels whose overlap is TOP. Fewer count where fewer are positive.
        bootstrap: how intervals are made; None: `Bootstrap()`.

    Raises:
        ValueError: maps of another shape or that are not finite, fewer than two, or `top` not in (0, 1].
    """

    def __init__(self, found, groups: Sequence[str | None] | None = None, top: float = 0.1, bootstrap=None):
        if not 0 < top <= 1:
            raise ValueError(f"top is a share of the pixels, above 0 and at most 1. Received: {top=}")
        self.groups, self.top, self.bootstrap = groups, top, bootstrap or Bootstrap()
        self.parts = _Parts(found, top)
        self.pairs = of_another_clip(np.arange(len(self.parts)), groups)[1]
        self.other_recording = bool(clusters_of(groups, len(self.parts)).max() > 0)

    def values(self, found) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """`Similarity.values` of maps of the same clips, and bool (N,), where they alone are empty."""
        return self._values(_Parts(found, self.top))

    def summary(self, values: Mapping[str, np.ndarray], empty: np.ndarray) -> Similarity:
        """With means and intervals; empty is bool or a share (N,)."""
        means = {name: mean_of(each, self.groups, self.bootstrap) for name, each in values.items()}
        shown = self.parts.shown
        return Similarity(dict(values), means, float(empty[shown].mean()) if shown.any() else 0.0)

    @functools.cached_property
    def another(self) -> Similarity:
        """What the maps of other clips reach."""
        return self.summary(*self._values(self.parts.of(self.pairs)))

    def comparison(self, similarity: Similarity) -> MapComparison:
        """With what it says."""
        outcomes = {
            name: _outcome(each, self.another.values[name], self.groups, self.bootstrap)
            for name, each in similarity.values.items()
        }
        return MapComparison(similarity, self.another, outcomes, self.other_recording)

    def _values(self, other: _Parts) -> tuple[dict[str, np.ndarray], np.ndarray]:
        own = self.parts
        if own.maps.shape != other.maps.shape:
            raise ValueError(f"maps to compare are of one shape. Received: {own.maps.shape} and {other.maps.shape}")
        same = (own.maps == other.maps).all(axis=(1, 2, 3))  # has no ranks where it is constant
        empty = own.shown & ~other.shown
        found = {
            SSIM: ssim(own.maps, other.maps),
            RANK: np.where(same, 1, (own.ranks * other.ranks).sum(axis=1)),
            TOP: (own.top & other.top).sum(axis=1)
            / np.maximum(np.maximum(own.top.sum(axis=1), other.top.sum(axis=1)), 1),
        }
        values = {name: np.where(own.shown, np.where(empty, 0, each), np.nan) for name, each in found.items()}
        if own.signed is not None:
            signed = other.ranks if other.signed is None else other.signed
            values[SIGNED_RANK] = np.where(own.signed.any(axis=1), (own.signed * signed).sum(axis=1), np.nan)
        return values, empty


class _Parts:
    """What is compared of the maps of a method."""

    def __init__(self, found, top: float):
        maps, signed = np.asarray(getattr(found, "maps", found), np.float32), getattr(found, "signed", None)
        if maps.ndim != 4 or not maps.size or not np.isfinite(maps).all():
            raise ValueError(
                f"maps are finite numbers (N, T, H, W). Received: shape {maps.shape}, "
                f"{int((~np.isfinite(maps)).sum())} not finite"
            )
        if (maps < 0).any():
            maps, signed = np.abs(maps), maps
        self.maps = scaled(maps, "clip")
        self.shown = self.maps.any(axis=(1, 2, 3))
        flat = self.maps.reshape(len(maps), -1)
        count = max(1, round(top * flat.shape[1]))
        self.top = np.stack([_largest(clip, count) for clip in flat])
        self.ranks = _ranks(flat)
        self.signed = None if signed is None else _ranks(np.reshape(signed, (len(maps), -1)))

    def __len__(self) -> int:
        return len(self.maps)

    def of(self, places: np.ndarray) -> _Parts:
        """Those of other clips."""
        other = object.__new__(_Parts)
        vars(other).update({name: None if each is None else each[places] for name, each in vars(self).items()})
        return other


def compare_maps(
    first: Mapping[str, object],
    second: Mapping[str, object],
    groups: Sequence[str | None] | None = None,
    top: float = 0.1,
    bootstrap: Bootstrap | None = None,
) -> dict[str, MapComparison]:
    """The maps of two networks of the same clips and classes, such as of one that was trained on shuffled labels.

    Args:
        first: method's name -> `Explanation`, or maps (N, T, H, W).
        second: the same methods by the other network.
        groups, top, bootstrap: as in `Originals`.

    Raises:
        ValueError: other methods, or as `Originals`.
    """
    if first.keys() != second.keys():
        raise ValueError(f"both networks have the same methods. Received: {list(first)} and {list(second)}")
    compared = {}
    for name, found in first.items():
        originals = Originals(found, groups, top, bootstrap)
        compared[name] = originals.comparison(originals.summary(*originals.values(second[name])))
    return compared


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of Wang et al. 2004, the mean over all pixels of a clip's frames.

    Args:
        first, second: float32 (N, T, H, W) in [0, 1].

    Returns:
        float64 (N,). Windows are Gaussian, sigma 1.5, 11 pixels wide, and reflected at the border.
    """
    return np.array(
        [np.mean([_ssim(*frames) for frames in zip(*clips, strict=True)]) for clips in zip(first, second, strict=True)]
    )


def _ssim(x: np.ndarray, y: np.ndarray) -> float:
    def blurred(frame):
        return cv2.GaussianBlur(frame, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    x_mean, y_mean = blurred(x), blurred(y)
    product = x_mean * y_mean
    squares = x_mean * x_mean + y_mean * y_mean
    variances = blurred(x * x + y * y) - squares
    covariance = blurred(x * y) - product
    alike = (2 * product + 0.01**2) * (2 * covariance + 0.03**2)
    return float((alike / ((squares + 0.01**2) * (variances + 0.03**2))).mean(dtype=np.float64))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """bool (P,): the largest values, all that are as large as the last of so many; 0 is none of them."""
    positive = values[values > 0]  # to select among many equal values, such as zeros, takes 20 times as long
    least = np.partition(positive, -count)[-count] if len(positive) > count else np.float32(0)
    return (values >= least) & (values > 0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each row, of mean 0 and length 1, so that the sum of products is Spearman's; 0 of equal values."""
    if values.shape[1] > _RANKED:
        values = values[:, np.random.default_rng(0).choice(values.shape[1], _RANKED, replace=False)]
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(ranks).sum(axis=1, keepdims=True))
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


def _outcome(values: np.ndarray, another: np.ndarray, groups, bootstrap: Bootstrap) -> Outcome:
    from_middle = difference(values, (1 + another) / 2, groups, bootstrap=bootstrap)
    if from_middle.mean is None:
        return Outcome.NOT_SHOWN
    same = np.nanmin(values) >= 1 - _EQUAL and 2.0 ** (1 - from_middle.groups) < 1 - bootstrap.level
    if same or from_middle.verdict is Verdict.BETTER:
        return Outcome.UNCHANGED
    if from_middle.mean >= -_EQUAL:
        return Outcome.NOT_SHOWN
    if np.nanmean(another) > _ROOM:
        return Outcome.ALL_ALIKE
    if from_middle.verdict is not Verdict.WORSE:
        return Outcome.NOT_SHOWN
    above = difference(values, another, groups, bootstrap=bootstrap).verdict is Verdict.BETTER
    return Outcome.PARTLY if above else Outcome.CHANGES
