"""The rows of a localisation table that a model makes: which of its layers' maps are compared.

A row has a `name`, a `kind` ("model" or "control"), `least_blur` and `maps(batch)`; those that no model made are
`controls.CONTROLS`. Another choice of layers is one more `ModelRow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:  # without TensorFlow, so that an experiment can list its options
    import numpy as np

    from har_tf.explain import Explanation, Layerwise

GRADCAM, CAM3D, AVERAGE = "Grad-CAM", "3DCAM", "Average 3DCAM"


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


def layer(i: int) -> str:
    """What the paper calls its layers: conv, layer 1, layer 2, ... (Table 1)."""
    return f"layer {i}" if i else "conv"


def paper_rows(layers: int, pictures: bool = False) -> list[ModelRow]:
    """The 3DCAM paper's rows, of all its tables together, as far as a model of so many layers has them."""
    last = layers - 1
    rows = [(GRADCAM, last, last), *((CAM3D, i, i) for i in range(layers))] if layers else []
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


def table_rows(paper: Mapping[tuple[str, int, int], object] | None, layers: int, pictures: bool = False) -> list[dict]:
    """The rows of a table as `results.json` has them, each with the paper's figures.

    Args:
        paper: (method, first layer, last layer) -> the paper's figures; None: of every row that a model has, without.
        layers: of the model; rows of further ones are left out. 0, without a model: all rows are there.
        pictures: as in `ModelRow`.
    """
    paper = paper or {(row.method, row.first, row.last): None for row in paper_rows(layers)}
    rows = {ModelRow(*key, pictures): figures for key, figures in paper.items() if not layers or key[2] < layers}
    return [{"name": row.name, "paper": figures, **row.described} for row, figures in rows.items()]
