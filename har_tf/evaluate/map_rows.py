"""The rows of a localisation table: which maps are compared, those of a model's layers and those that no model made.

A row has a `name`, a `kind` ("model" or "control"), `needs_motion`, `least_blur` and `maps(batch)`; another control is
one more entry of `CONTROLS`, another choice of layers one more `ModelRow`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import cv2
import numpy as np

from har_tf.evaluate import controls

if TYPE_CHECKING:  # without TensorFlow, so that an experiment can list its options
    from har_tf.explain import Explanation, Layerwise

GRADCAM, CAM3D, AVERAGE = "Grad-CAM", "3DCAM", "Average 3DCAM"


@dataclass(frozen=True)
class Maps:
    """Which maps are made, and how boxes come of them."""

    explain: Literal["predicted", "true"] = "predicted"
    """Which class is explained: the predicted one, equation (1), or the annotated one."""
    channels: Literal["sum", "max", "norm"] = "sum"
    """How the activations' channels become one; see `har_tf.explain.cam3d`."""
    blur: tuple[float, ...] = (0.0,)
    """Standard deviations of a blur of the maps, of models and controls alike, in heights of the frame; of several each
    row takes the one that suits held-out training clips best. With 0 only frame differences have 1/32: every noisy
    pixel would be a contour."""
    contours: Literal["all", "largest"] = "all"
    """Which boxes count: the best of all contours (the paper), which favours scattered maps, or the largest one's."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips, and the N frames of them that are measured.

    Args:
        clips: uint8 (B, T, H, W, 3), or (B, H, W, 3) of pictures.
        at: (clip, position in it) of every measured frame, two ints (N,).
        found: what one pass of `layerwise` found in the clips; None without a model.
        taps: the names of its taps.
    """

    clips: np.ndarray
    at: tuple[np.ndarray, np.ndarray]
    found: Layerwise | None = None
    taps: Sequence[str] = ()


@dataclass(frozen=True)
class ModelRow:
    """The maps of a model at neighbouring layers.

    Args:
        method: GRADCAM, CAM3D or AVERAGE.
        first: position of the first layer among the taps.
        last: of the last.
        pictures: whether the model takes pictures, for which 3DCAM is called 2DCAM.
    """

    method: str
    first: int
    last: int
    pictures: bool = False
    kind: ClassVar[str] = "model"
    needs_motion: ClassVar[bool] = False
    least_blur: ClassVar[float] = 0.0

    @property
    def name(self) -> str:
        """Such as "3DCAM layer 1" or "Sum Grad-CAM (conv, 1)"."""
        called = self.method.replace(CAM3D, "2DCAM") if self.pictures else self.method
        if self.first == self.last:
            return f"{called} {layer(self.first)}"
        several = ", ".join(layer(i).removeprefix("layer ") for i in range(self.first, self.last + 1))
        return f"{called if self.method == AVERAGE else f'Sum {called}'} ({several})"

    @property
    def described(self) -> dict:
        """What `results.json` says of the row."""
        return {"kind": self.kind, "method": self.method, "layers": [self.first, self.last]}

    def explanation(self, found: Layerwise, taps: Sequence[str]) -> Explanation:
        """The maps, out of what one pass found."""
        chosen = list(taps[self.first : self.last + 1])
        if self.method == GRADCAM:
            return found.gradcam(chosen[0]) if len(chosen) == 1 else found.sum_gradcam(chosen)
        return found.cam3d(chosen, join="average" if self.method == AVERAGE else "sum")

    def maps(self, batch: Batch) -> np.ndarray:
        """(N, H, W) at the measured frames."""
        return self.explanation(batch.found, batch.taps).maps[batch.at]


@dataclass(frozen=True)
class ControlRow:
    """Maps that no model made.

    Args:
        name: in tables.
        maps: `Batch` -> (N, H, W) at the measured frames.
        needs_motion: whether it says nothing of pictures.
        least_blur: the blur of its maps where none is asked for.
    """

    name: str
    maps: Callable[[Batch], np.ndarray]
    needs_motion: bool = False
    least_blur: float = 0.0
    kind: ClassVar[str] = "control"

    @property
    def described(self) -> dict:
        """What `results.json` says of the row."""
        return {"kind": self.kind}


Row = ModelRow | ControlRow


def _frames(batch: Batch) -> tuple[int, int, int]:
    return (len(batch.at[0]), *batch.clips.shape[-3:-1])


def _differences(batch: Batch) -> np.ndarray:
    return np.stack([controls.frame_difference(clip) for clip in batch.clips])[batch.at]


CONTROLS = (
    ControlRow("Control: centred Gaussian", lambda batch: controls.centred_gaussian(_frames(batch))),
    ControlRow("Control: uniform", lambda batch: controls.uniform(_frames(batch))),
    # Without a blur every noisy pixel would be a contour.
    ControlRow("Control: frame differences", _differences, needs_motion=True, least_blur=1 / 32),
)


def layer(i: int) -> str:
    """What the paper calls its layers: conv, layer 1, layer 2, ... (Table 1)."""
    return f"layer {i}" if i else "conv"


def paper_rows(layers: int, pictures: bool = False) -> list[ModelRow]:
    """The 3DCAM paper's rows, of all its tables together, as far as a model of so many layers has them."""
    if not layers:
        return []
    last = layers - 1
    rows = [(GRADCAM, last, last), *((CAM3D, i, i) for i in range(layers))]
    wanted = [(CAM3D, 0, 1), (CAM3D, 0, 3), (CAM3D, 2, 4), (GRADCAM, 0, 1), (GRADCAM, 2, 4)]
    rows += [row for row in wanted if row[2] < layers]
    if layers > 1:
        rows += [(method, 0, last) for method in (CAM3D, AVERAGE, GRADCAM)]
    return [ModelRow(*row, pictures) for row in dict.fromkeys(rows)]


def runs(layers: int, pictures: bool = False) -> list[ModelRow]:
    """The runs of neighbouring layers among which 3DCAM's and Grad-CAM's are chosen.

    Of 3DCAM those of two layers and more: its method is the sum, and single layers have rows of their own.
    """
    pairs = [(first, last) for first in range(layers) for last in range(first, layers)]
    rows = [ModelRow(method, *pair, pictures) for method in (CAM3D, GRADCAM) for pair in pairs]
    return [row for row in rows if layers == 1 or row.method != CAM3D or row.first < row.last]


def blurred(maps: np.ndarray, blur: float) -> np.ndarray:
    """The maps (N, H, W) with a Gaussian blur of a standard deviation in heights of the frame; 0: none."""
    if not blur:
        return maps
    return np.stack([cv2.GaussianBlur(frame, (0, 0), blur * maps.shape[1]) for frame in maps])
