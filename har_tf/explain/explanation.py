"""What an explanation is, and how a coarse map becomes a saliency of every pixel of a clip."""

from dataclasses import dataclass, field, replace

import numpy as np

NORMALIZATIONS = ("clip", "frame", None)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where and when a model saw evidence for a class, for a batch of clips.

    Attributes:
        maps: float32 (B, T, H, W), the positive evidence at the clip's size; in [0, 1] unless `normalize` was
            None.
        signed: float32 (B, t, h, w), the evidence at the tap's own size, before the ReLU and any scaling.
        class_index: int64 (B,), the explained class of each clip.
        score: float32 (B,), its logit.
        probability: float32 (B,), its probability.
        method: "Grad-CAM", ...
        settings: the arguments that made it, as tap, pool, normalize.
    """

    maps: np.ndarray
    signed: np.ndarray
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    method: str
    settings: dict = field(default_factory=dict)

    @property
    def empty(self) -> np.ndarray:
        """bool (B,): the clips without any positive evidence, whose maps are zero everywhere."""
        return ~(self.maps > 0).any(axis=(1, 2, 3))

    def __len__(self) -> int:
        return len(self.maps)

    def only(self, index: int) -> "Explanation":
        """The explanation of one clip, as a batch of one.

        Raises:
            ValueError: there is no such clip.
        """
        if not -len(self) <= index < len(self):
            raise ValueError(f"the explanation holds {len(self)} clips. Received: {index=}")
        chosen = [index % len(self)]
        arrays = ("maps", "signed", "class_index", "score", "probability")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


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
    maps = enlarge(np.maximum(signed, 0).astype("float32"), size)
    if normalize is None:
        return maps
    peak = maps.max(axis=(1, 2, 3) if normalize == "clip" else (2, 3), keepdims=True)
    # Not maps / peak with an epsilon: a quotient of two tiny numbers must come out right as well.
    return np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)


def enlarge(maps: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Stretches maps over time, height and width, linearly between the centres of their cells.

    A cell of a map covers an equal share of the clip (OpenCV's and TensorFlow's half-pixel convention).
    tf-keras-vis instead puts the corner cells' centres on the corners of the frame, which moves evidence
    outwards by up to half a cell.

    Args:
        maps: float32 (B, t, h, w).
        size: (T, H, W).

    Returns:
        float32 (B, T, H, W); no value leaves the range of its neighbours.
    """
    time, height, width = (interpolation(old, new) for old, new in zip(maps.shape[1:], size, strict=True))
    clips, _, h, w = maps.shape
    # Time first, while the maps are small; and many small products rather than one large one, since the threads of
    # NumPy's BLAS go on waiting for work for some 30 ms, which the next pass of TensorFlow would lack.
    maps = (time @ maps.reshape(clips, -1, h * w)).reshape(clips, -1, h, w)
    return height @ (maps @ width.T)


def interpolation(old: int, new: int) -> np.ndarray:
    """The matrix (new, old) that resamples `old` cells to `new`, linearly between the cells' centres."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    left = np.minimum(centres.astype(int), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    matrix = np.zeros((new, old), "float32")
    np.add.at(matrix, (np.arange(new), left), 1 - (centres - left))
    np.add.at(matrix, (np.arange(new), right), centres - left)
    return matrix
