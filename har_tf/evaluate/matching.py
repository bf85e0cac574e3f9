"""The maps of all rows of one clip against its true boxes: what takes long in a localisation study.

Nothing here imports TensorFlow, so that processes of their own can do it. What they find is small, and is
kept on disk by `har_tf.evaluate.part`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import cv2
import numpy as np

from har_tf.evaluate.boxes import checked_boxes
from har_tf.evaluate.controls import ControlRow
from har_tf.evaluate.evidence import Evidence
from har_tf.evaluate.localization import THRESHOLDS, Reached, hit_point, overlaps
from har_tf.evaluate.map_rows import Batch, ModelRow

Row = ModelRow | ControlRow
RULES = ("maximum", "intersects")


@dataclass(frozen=True, eq=False)
class Asked:
    """What every clip is compared by.

    Args:
        blurs: row -> the blurs of its maps, each once.
        ious: see `localization.Reached`.
        contours: "all" or "largest".
    """

    blurs: Mapping[Row, Sequence[float]]
    ious: tuple[float, ...]
    contours: str

    @property
    def keys(self) -> list[tuple[Row, float]]:
        """(row, blur), in the order in which `Matched` has them."""
        return [(row, blur) for row, blurs in self.blurs.items() for blur in blurs]


@dataclass(frozen=True, eq=False)
class Task:
    """One clip to compare.

    Args:
        asked: by what.
        batch: the clip alone, with the maps of the layers that the rows take.
        boxes: position in the clip -> its true boxes, of the measured frames.
        shown: bool (T,), the frames with a true box.
    """

    asked: Asked
    batch: Batch
    boxes: Mapping[int, np.ndarray]
    shown: np.ndarray


@dataclass(frozen=True, eq=False)
class Matched:
    """What was found in C clips, N measured frames, for K (row, blur) and R rows.

    Args:
        reached: uint8 (K, N, thresholds), how many of the IoU the best box of each frame reaches.
        hits: float64 (K, rules, N).
        some: bool (R, C), whether a clip's map has a positive value.
        frames: bool (R, N), whether a measured frame's map has one.
        when: float64 (R, C), see `Evidence`.
        one_sign: int8 (R, C), see `ModelRow.one_sign`; -1 where that says nothing.
        measured: int (C,), the measured frames of each clip.
    """

    reached: np.ndarray
    hits: np.ndarray
    some: np.ndarray
    frames: np.ndarray
    when: np.ndarray
    one_sign: np.ndarray
    measured: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """That of several, one after the other."""
        axes = {"reached": 1, "hits": 2, "measured": 0}
        whole = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{name: np.concatenate(arrays, axis=axes.get(name, 1)) for name, arrays in whole.items()})

    def table(self, k: int, asked: Asked) -> Reached:
        """The overlaps of the k-th (row, blur)."""
        return Reached(self.reached[k], np.asarray(THRESHOLDS), asked.contours, tuple(sorted(asked.ious)))

    def evidence(self, r: int) -> Evidence:
        """That of the r-th row."""
        sign = self.one_sign[r]
        return Evidence(self.some[r], self.frames[r], self.when[r], None if (sign < 0).any() else sign.astype(bool))


def match(task: Task) -> Matched:
    """Compares the maps of all rows of a clip with its true boxes."""
    at = list(task.boxes)
    boxes = checked_boxes(task.boxes.values(), task.batch.shape[2:], [f"frame {t}" for t in at])
    clips, where = np.zeros(len(at), int), np.array(at)
    found: dict[str, list] = {field.name: [] for field in fields(Matched)}
    for row, blurs in task.asked.blurs.items():
        maps = row.maps(task.batch)
        evidence = Evidence.of(maps, (clips, where), task.shown[None])
        found["some"].append(evidence.clips)
        found["frames"].append(evidence.frames)
        found["when"].append(evidence.when)
        sign = row.one_sign(task.batch)
        found["one_sign"].append(np.full(1, -1, np.int8) if sign is None else sign.astype(np.int8))
        for blur in blurs:
            smooth = blurred(maps[0, where], blur)
            table = overlaps(smooth, boxes, contours=task.asked.contours, least=min(task.asked.ious))
            found["reached"].append(table.reached(task.asked.ious).count)
            found["hits"].append([hit_point(smooth, boxes, rule) for rule in RULES])
    found["measured"] = np.array([len(at)])
    return Matched(**{name: np.asarray(arrays) for name, arrays in found.items()})


def blurred(maps: np.ndarray, blur: float) -> np.ndarray:
    """The maps (N, H, W) with a Gaussian blur of a standard deviation in heights of the frame; 0: none."""
    if not blur:
        return maps
    return np.stack([cv2.GaussianBlur(frame, (0, 0), blur * maps.shape[1]) for frame in maps])
