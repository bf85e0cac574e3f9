"""Whether maps show anything: clips and frames without any evidence, and whether the frames of the action have more."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.metrics import roc_auc_score


@dataclass(frozen=True, eq=False)
class Evidence:
    """Which maps of a row are empty, and when it sees evidence.

    Args:
        clips: bool (C,), whether the map of a clip has a positive value.
        frames: bool (N,), whether that of a measured frame has one.
        when: (C,), of all pairs of a frame with a true box and one without the share in which the first has more
            evidence, the mean of its map, ties half: the area under the ROC curve. NaN where a clip lacks either kind.
        one_sign: bool (C,), see `ModelRow.one_sign`; None of rows without.
    """

    clips: np.ndarray
    frames: np.ndarray
    when: np.ndarray
    one_sign: np.ndarray | None = None

    @classmethod
    def of(cls, maps: np.ndarray, at, boxed: np.ndarray, one_sign: np.ndarray | None = None) -> Self:
        """That of some clips.

        Args:
            maps: (C, T, H, W), not negative.
            at: (clip, position in it) of every measured frame, two ints (N,).
            boxed: bool (C, T), the frames with a true box.
            one_sign: as above.
        """
        some = (maps > 0).any(axis=(2, 3))
        strength = maps.mean(axis=(2, 3), dtype=np.float64)
        pairs = zip(boxed, strength, strict=True)
        when = [roc_auc_score(has, much) if 0 < has.sum() < len(has) else np.nan for has, much in pairs]
        return cls(some.any(axis=1), some[at], np.array(when), one_sign)
