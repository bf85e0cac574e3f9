"""What an explanation is, and how raw evidence becomes a saliency of every pixel of a clip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from har_tf.explain.upsampling import enlarge

if TYPE_CHECKING:
    from har_tf.explain.cam3d import Factors

NORMALIZATIONS = ("clip", "frame", None)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where and when a model saw evidence for a class, for a batch of clips.

    Attributes:
        maps: float32 (B, T, H, W), the positive evidence at the clip's size; in [0, 1] unless `normalize` was
            None.
        signed: float32 (B, t, h, w), the evidence at the tap's own size, before the ReLU and any scaling; of
            methods that join several taps, (B, T, H, W).
        class_index: int64 (B,), the explained class of each clip.
        score: float32 (B,), its logit.
        probability: float32 (B,), its probability.
        method: "Grad-CAM", ...
        settings: the arguments that made it, as tap, pool, normalize.
        factors: of methods that join several taps, the taps' own maps, of which `explain_video` makes the map of a
            whole video; else None.
    """

    maps: np.ndarray
    signed: np.ndarray
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    method: str
    settings: dict = field(default_factory=dict)
    factors: Factors | None = None

    @property
    def empty(self) -> np.ndarray:
        """bool (B,): the clips without any positive evidence, whose maps are zero everywhere."""
        return ~(self.maps > 0).any(axis=(1, 2, 3))

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


def saliency(signed: np.ndarray, size: tuple[int, int, int], normalize: str | None = "clip") -> np.ndarray:
    """ReLU, enlargement to the clip's size, and scaling of a raw map.

    Args:
        signed: (B, t, h, w), raw evidence.
        size: (T, H, W) of the clip.
        normalize: "clip" divides by the largest value of each clip, so that its frames can be compared;
            "frame" by that of each frame, which shows where in the frame the evidence lies however weak it
            is; None leaves the values.

    Returns:
        float32 (B, T, H, W). What holds no positive value is zero.

    Raises:
        ValueError: unknown `normalize`.
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"normalize is one of {', '.join(map(repr, NORMALIZATIONS))}. Received: {normalize=}")
    return scaled(enlarge(np.maximum(signed, 0).astype("float32"), size), normalize)


def scaled(maps: np.ndarray, normalize: str | None) -> np.ndarray:
    """Maps (B, T, H, W) without negative values, divided by the largest of each clip or frame; zero stays zero."""
    if normalize is None:
        return maps
    peak = maps.max(axis=(1, 2, 3) if normalize == "clip" else (2, 3), keepdims=True)
    # Not maps / peak with an epsilon: a quotient of two tiny numbers must come out right as well.
    return np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)
