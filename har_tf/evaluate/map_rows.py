"""The rows of a localisation table that a model makes: which of its layers' maps are compared.

A row has a `name`, a `kind` ("model" or "control"), `least_blur`, `maps(batch)` and `one_sign(batch)`; those that no
model made are `controls.CONTROLS`. Another choice of layers is one more `ModelRow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from har_tf.explain.scaling import scaled

if TYPE_CHECKING:  # without TensorFlow, so that an experiment can list its options, and processes start quickly
    from har_tf.explain import Explanation, Layerwise

GRADCAM, CAM3D, AVERAGE = "Grad-CAM", "3DCAM", "Average 3DCAM"
SUMMAND = "summand of Grad-CAM"
# (method, first layer, last layer): figures of the paper
LAST, ALL = (4, 4), (0, 4)
PAPER_TABLE_3 = {
    (GRADCAM, *LAST): 0.988, (CAM3D, 0, 0): 0.821, (CAM3D, 1, 1): 0.956, (CAM3D, 2, 2): 0.951, (CAM3D, 3, 3): 0.825,
    (CAM3D, 4, 4): 0.976, (CAM3D, *ALL): 0.991,
}  # fmt: skip
PAPER_TABLE_4 = {(GRADCAM, *LAST): (0.08, 0.013), (AVERAGE, *ALL): (0.089, 0.008), (CAM3D, *ALL): (0.127, 0.05)}
PAPER_TABLE_5 = {(GRADCAM, *LAST): (0.052, 0.003), (AVERAGE, *ALL): (0.052, 0.052), (CAM3D, *ALL): (0.076, 0.03)}
PAPER_TABLE_6 = {
    (CAM3D, 0, 0): (0.225, 0.211, 0.173, 0.133, 0.118, 0.090),
    (CAM3D, 1, 1): (0.827, 0.651, 0.38, 0.196, 0.099, 0.044),
    (CAM3D, 2, 2): (0.826, 0.651, 0.375, 0.19, 0.09, 0.044),
    (CAM3D, 3, 3): (0.828, 0.651, 0.373, 0.19, 0.090, 0.038),
    (CAM3D, 4, 4): (0.826, 0.651, 0.373, 0.191, 0.090, 0.038),
    (CAM3D, 0, 1): (0.835, 0.676, 0.426, 0.238, 0.132, 0.063),
    (CAM3D, 0, 3): (0.826, 0.651, 0.378, 0.215, 0.099, 0.051),
    (GRADCAM, 0, 1): (0.826, 0.651, 0.373, 0.191, 0.090, 0.038),
}
PAPER_TABLE_7 = {
    (GRADCAM, *LAST): (0.803, 0.589, 0.317),
    (GRADCAM, 2, 4): (0.79, 0.622, 0.335),
    (CAM3D, 2, 4): (0.819, 0.622, 0.354),
}
# data set: (file name, title, what it holds, the paper's figures); of the embedded one every row that a model has
TABLES = {
    "jhmdb": (
        ("table_3", "Table 3", "hits", PAPER_TABLE_3),
        ("table_4", "Table 4", "boxes", PAPER_TABLE_4),
        ("table_5", "Tables 5 and 8", "acc2", PAPER_TABLE_5),
    ),
    "ucf24": (("table_6", "Table 6", "boxes", PAPER_TABLE_6),),
    "ilsvrc": (("table_7", "Table 7", "boxes", PAPER_TABLE_7),),
    "figures": (
        ("hits", "Hits", "hits", None),
        ("boxes", "Boxes", "boxes", None),
        ("acc2", "Boxes and classes (Acc2)", "acc2", None),
    ),
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips that are explained together.

    Args:
        clips: uint8 (B, T, H, W, 3), or (B, H, W, 3) of pictures.
        layers: row of one layer, or SUMMAND of Grad-CAM at one -> float32 (B, T, H, W), its map; those of 3DCAM and of
            summands before they are scaled. Empty without a model.
        signs: position of a layer -> bool (B,), see `ModelRow.one_sign`.
    """

    clips: np.ndarray
    layers: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    signs: Mapping[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, clips: np.ndarray, found: Layerwise, taps: Sequence[str], rows: Iterable, align: str) -> Self:
        """With what the rows need of what one pass found.

        Args:
            clips: as above.
            found: what `layerwise` found in them.
            taps: the names of the layers.
            rows: all rows; those that are no `ModelRow` need nothing.
            align: how maps are enlarged, see `options.Maps`.
        """
        model_rows = [row for row in rows if isinstance(row, ModelRow)]
        needed = dict.fromkeys(need for row in model_rows for need in row.needs)
        own, layers = None if align == "methods" else align, {}
        for kind, i in needed:
            if kind == CAM3D:
                layers[kind, i] = found.cam3d([taps[i]], normalize=None, align=own).maps
            elif kind == SUMMAND:
                layers[kind, i] = found.sum_gradcam([taps[i]], normalize=None, align=own).maps
            else:
                layers[kind, i] = ModelRow(GRADCAM, i, i).explanation(found, taps, align).maps
        signs = {}
        for i in dict.fromkeys(row.first for row in model_rows if row.single_3dcam):
            beta = found.gradients[taps[i]].reshape(len(clips), -1)
            signs[i] = (beta >= 0).all(axis=1) | (beta <= 0).all(axis=1)
        return cls(clips, layers, signs)

    def only(self, i: int) -> Self:
        """The i-th clip alone."""
        keep = np.s_[i : i + 1]
        layers = {key: maps[keep] for key, maps in self.layers.items()}
        return replace(self, clips=self.clips[keep], layers=layers, signs={k: v[keep] for k, v in self.signs.items()})

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, T, H, W) of the maps; of pictures T is 1."""
        *time, height, width, _ = self.clips.shape[1:]
        return (len(self.clips), *(time or [1]), height, width)


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

    def explanation(self, found: Layerwise, taps: Sequence[str], align: str = "methods") -> Explanation:
        """The maps, out of what one pass found; see `options.Maps` for `align`."""
        chosen = list(taps[self.first : self.last + 1])
        own = None if align == "methods" else align
        if self.method == GRADCAM:
            if len(chosen) == 1 and own != "corners":
                return found.gradcam(chosen[0])
            return found.sum_gradcam(chosen, align=own)
        return found.cam3d(chosen, join="average" if self.method == AVERAGE else "sum", align=own)

    @property
    def singles(self) -> list[ModelRow]:
        """The rows of its layers alone."""
        method = GRADCAM if self.method == GRADCAM else CAM3D
        return [replace(self, method=method, first=i, last=i) for i in range(self.first, self.last + 1)]

    @property
    def needs(self) -> list[tuple[str, int]]:
        """Of which layers it takes which maps, as `Batch` has them."""
        kind = CAM3D if self.method != GRADCAM else GRADCAM if self.first == self.last else SUMMAND
        return [(kind, i) for i in range(self.first, self.last + 1)]

    def maps(self, batch: Batch) -> np.ndarray:
        """(B, T, H, W), those of `explanation`, made of the maps of its layers."""
        first, *others = (batch.layers[need] for need in self.needs)
        if self.method == GRADCAM and not others:
            return first
        total = first.copy()
        for maps in others:
            total += maps
        if self.method == AVERAGE:
            total /= len(self.needs)
        return scaled(total, "clip")

    @property
    def single_3dcam(self) -> bool:
        """Whether it is 3DCAM of one layer."""
        return self.method == CAM3D and self.first == self.last

    def one_sign(self, batch: Batch) -> np.ndarray | None:
        """bool (B,): whether 3DCAM's beta at the layer is nowhere positive, or nowhere negative; None of other rows.

        Then beta selects no place: the map is the activation, weighted, or it is empty.
        """
        if not self.single_3dcam:
            return None
        return batch.signs[self.first]


def layer(i: int) -> str:
    """What the paper calls its layers: conv, layer 1, layer 2, ... (Table 1)."""
    return f"layer {i}" if i else "conv"


def paper_rows(layers: int, pictures: bool = False) -> list[ModelRow]:
    """The 3DCAM paper's rows, of all its tables together, as far as a model of so many layers has them, and Grad-CAM
    at every layer."""
    last = layers - 1
    rows = [(GRADCAM, last, last)] if layers else []
    rows += [(method, i, i) for method in (CAM3D, GRADCAM) for i in range(layers)]
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


def paper_tables(dataset: str, layers: int, pictures: bool = False) -> list[dict]:
    """The tables of a data set, a key of `TABLES`, as `results.json` has them; for the rest see `table_rows`."""
    return [
        {"stem": stem, "title": title, "measure": measure, "rows": table_rows(paper, layers, pictures)}
        for stem, title, measure, paper in TABLES[dataset]
    ]
