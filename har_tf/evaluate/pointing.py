"""Whether maps point at the action where boxes say where and when it is: the pointing game and the energy in boxes.

Pointing game: Zhang et al. 2016, "Top-down neural attention by excitation backprop". Energy: Wang et al. 2020,
"Score-CAM", section 4.3. Each in space (frame by frame), in time (which frames), and in both. A uniform map gets the
share of pixels or frames that are true, so a table needs `controls.uniform` and a centred Gaussian beside the methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.localization import hit_point, inside
from har_tf.evaluate.options import AXES
from har_tf.evaluate.paired import Mean, mean_of


@dataclass(frozen=True, eq=False)
class Pointing:
    """How well the maps of N clips point at true boxes.

    Attributes:
        pointing: axis -> float64 (N,), the share of hits. "space": of the frames with a box, those whose largest value
            is in one. "time": whether the frame with the largest mean has a box. "both": whether the largest value of
            the clip is in a box. What shares the largest value counts by its share, as in `localization.hit_point`.
        energy: axis -> float64 (N,), the share of the map's sum. "space": in boxes, of each frame that has one, their
            mean. "time": in frames that have a box. "both": in boxes, of the whole clip.
        means: "pointing" and "energy" -> axis -> mean and interval.
        empty: clips with a box whose map shows nothing; they count 0.
    """

    pointing: dict[str, np.ndarray]
    energy: dict[str, np.ndarray]
    means: dict[str, dict[str, Mean]]
    empty: int

    def as_dict(self) -> dict:
        """Everything as numbers, lists and dicts that `json.dump` takes, with the values of the clips."""
        found: dict = {"empty": self.empty}
        for name in ("pointing", "energy"):
            values = getattr(self, name)
            found[name] = {
                axis: self.means[name][axis].as_dict()
                | {"values": [None if np.isnan(x) else float(x) for x in values[axis]]}
                for axis in AXES
            }
        return found


def pointing(
    maps: np.ndarray,
    boxes: Sequence[Mapping[int, np.ndarray]],
    groups: Sequence[str | None] | None = None,
    bootstrap: Bootstrap | None = None,
) -> Pointing:
    """Compares maps with true boxes.

    Args:
        maps: (N, T, H, W), finite, not negative, of any scale.
        boxes: of every clip position -> (K, 4) boxes in pixels of the maps. In a frame without a box there is no
            action. A clip without any box has no value (NaN), nor one with boxes in all frames a value for "time".
        groups, bootstrap: as in `paired.mean_of`.

    Raises:
        ValueError: maps or boxes that cannot be used, or not boxes for each clip.
    """
    maps = np.asarray(maps)
    if maps.ndim != 4 or not np.isfinite(maps).all() or (maps < 0).any():
        raise ValueError(f"maps are finite and not negative, (N, T, H, W). Received: {maps.dtype} {maps.shape}")
    if len(boxes) != len(maps):
        raise ValueError(f"every clip has boxes, maybe none. Received: {len(maps)} maps, {len(boxes)} times boxes")
    found = np.array([_of_clip(*clip) for clip in zip(maps, boxes, strict=True)]).reshape(-1, 2, len(AXES))
    values = {name: dict(zip(AXES, found[:, i].T, strict=True)) for i, name in enumerate(("pointing", "energy"))}
    means = {
        name: {axis: mean_of(each, groups, bootstrap) for axis, each in by_axis.items()}
        for name, by_axis in values.items()
    }
    boxed = np.array([any(map(len, clip.values())) for clip in boxes], bool)
    return Pointing(**values, means=means, empty=int((boxed & ~maps.any(axis=(1, 2, 3))).sum()))


def _of_clip(score_map: np.ndarray, boxes: Mapping[int, np.ndarray]) -> np.ndarray:
    """float64 (2, 3): pointing and energy, each in space, in time and in both."""
    boxes = {t: np.asarray(boxes[t], np.float64) for t in sorted(boxes) if len(boxes[t])}
    if not boxes:
        return np.full((2, 3), np.nan)
    frames, score_map = list(boxes), score_map.astype(np.float64)
    if not 0 <= frames[0] <= frames[-1] < len(score_map):
        raise ValueError(f"boxes stand at positions 0 to {len(score_map) - 1} of the clip. Received: {frames}")
    hits = hit_point(score_map[frames], list(boxes.values()), outside="clip")
    true = np.zeros(score_map.shape, bool)
    for t, of_frame in boxes.items():
        true[t] = inside(of_frame, true.shape[1:])
    within = (score_map * true).sum(axis=(1, 2))  # (T,)
    total = score_map.sum(axis=(1, 2))
    in_space = np.divide(within, total, out=np.zeros_like(total), where=total > 0)[frames]
    timely = np.isin(np.arange(len(total)), frames)
    in_time = [_share(total == total.max(), timely), _share(total, timely)]
    if timely.all():
        in_time = [np.nan, np.nan]
    elif not total.any():
        in_time = [0, 0]
    largest = (score_map == score_map.max()) & (score_map > 0)
    return np.array(
        [[hits.mean(), in_time[0], _share(largest, true)], [in_space.mean(), in_time[1], _share(score_map, true)]]
    )


def _share(amounts: np.ndarray, true: np.ndarray) -> float:
    """The share of the amounts that lies where it is true; 0 of nothing."""
    total = amounts.sum()
    return float(amounts[true].sum() / total) if total > 0 else 0.0
