"""Clips with their labels, recordings and true boxes, in memory: what a model's trust is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.evaluate.boxed_clips import in_clip
from har_tf.evaluate.localization_study import outputs_of
from har_tf.evaluate.spread import spread
from har_tf.files.limits import MEMORY, TIMEOUT
from har_tf.files.workers import Failed, outcomes
from har_tf.progress import progress
from har_tf.video.reader import probe, read_sampled
from har_tf.video.still import is_still

Boxes = Mapping[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Clips as a model takes them, one a video.

    Args:
        names: of the N videos.
        clips: uint8 (N, T, H, W, 3).
        labels: int (N,), the true classes.
        groups: the recording of each clip, see `VideoRecord.group`; None of one that nobody named, which stands alone.
        boxes: of each clip position -> (K, 4) true boxes of persons, in pixels of the clip; empty where there are none.
        objects: likewise, of what they handle.
        paths: of each clip its video file; None where it is no whole video.
        skipped: path -> why it could not be read.
    """

    names: tuple[str, ...]
    clips: np.ndarray
    labels: np.ndarray
    groups: tuple[str | None, ...]
    boxes: tuple[Boxes, ...] = ()
    objects: tuple[Boxes, ...] = ()
    paths: tuple[Path | None, ...] = ()
    skipped: Mapping[Path, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def recordings(self) -> tuple[str, ...]:
        """The recording of each clip; of one that nobody named its own name."""
        return tuple(group or name for group, name in zip(self.groups, self.names, strict=True))

    @property
    def has_boxes(self) -> np.ndarray:
        """bool (N,): the clips with a true box."""
        return np.array([bool(boxes) for boxes in self.boxes], bool)

    @property
    def acting(self) -> tuple[Boxes, ...]:
        """The boxes of persons and of what they handle, together."""
        both = zip(self.boxes, self.objects or ({},) * len(self), strict=True)
        return tuple(
            {t: np.concatenate([each[t] for each in pair if t in each]) for t in sorted({*pair[0], *pair[1]})}
            for pair in both
        )

    def only(self, places: Sequence[int]) -> LabelledClips:
        """Those at these places, in this order."""

        def some(values):
            return tuple(values[place] for place in places) if values else ()

        return LabelledClips(
            some(self.names), self.clips[list(places)], self.labels[list(places)], some(self.groups),
            some(self.boxes), some(self.objects), some(self.paths), self.skipped,
        )  # fmt: skip

    def as_outputs(self, outputs: Sequence[int]) -> LabelledClips:
        """Those whose class has an output of the model, with labels as its outputs count them.

        Args:
            outputs: of each class its output, -1 for none.
        """
        mapped = np.asarray(outputs)[self.labels]
        return replace(self.only(np.flatnonzero(mapped >= 0).tolist()), labels=mapped[mapped >= 0])

    def spread(self, count: int) -> LabelledClips:
        """So many of them, or all: classes and recordings take turns, see `har_tf.evaluate.spread`."""
        return self.only(spread(self.labels, self.recordings, count))


def outputs_in(
    class_names: Sequence[str], part: ActionDataset, called: Mapping[str, str] | None = None
) -> Sequence[int]:
    """Of each class of the data its output of a model, -1 for none.

    Args:
        class_names: of the model.
        part: the test videos.
        called: class of the data -> what the model calls it, where the names differ.

    Raises:
        ValueError: the model has no class of these videos, or `called` has one that the data or the model have not.
    """
    outputs = outputs_of(part.class_names, class_names, called=called)
    if outputs is None or not len(known(part, outputs)):
        there = {record.label for record in part.records}
        ours = [name for label, name in enumerate(part.class_names) if label in there or not there]
        listed, theirs = (", ".join(names[:5]) + ", ..." * (len(names) > 5) for names in (ours, class_names))
        raise ValueError(f"{part.root}: the model has none of its classes ({listed}). It has {theirs}")
    return outputs


def known(part: ActionDataset, outputs: Sequence[int]) -> ActionDataset:
    """The videos whose class has an output of the model, see `outputs_in`."""
    return part.subset(record for record in part.records if outputs[record.label] >= 0)


def read_known(
    part: ActionDataset | None,
    class_names: Sequence[str],
    reading: Mapping[str, Any],
    workers: int | None = None,
    called: Mapping[str, str] | None = None,
) -> LabelledClips | None:
    """The clips of `known`, with labels as the model's outputs count them; None where there is none.

    Raises:
        DatasetError: there are some, and none can be read.
    """
    outputs = outputs_of(part.class_names, class_names, called=called) if part else None
    left = known(part, outputs) if outputs else None
    return read(left, reading, workers).as_outputs(outputs) if left else None


def read(part: ActionDataset, reading: Mapping[str, Any], workers: int | None = None) -> LabelledClips:
    """Reads the clip of every video of a part, as a model takes it.

    Args:
        part: the videos.
        reading: arguments of `VideoRecord.read`: num_frames, size, sampling, short, fit, by.
        workers: processes that decode; None: one a core; 0: none beside this one.

    Returns:
        The clips of the readable videos, in the order of the part; the others are in `skipped`.

    Raises:
        DatasetError: no video can be read.
    """
    found, skipped = [], {}
    decode = partial(_clip, reading=dict(reading))
    clips = outcomes(decode, part.records, min(len(part), 2) if workers is None else workers, TIMEOUT, MEMORY)
    with progress("reading clips", len(part), "videos") as advance:
        for record, outcome in zip(part.records, clips, strict=True):
            if isinstance(outcome, Failed):
                skipped[record.path] = outcome.reason
            else:
                found.append((record, *outcome))
            advance(1)
    if not found:
        first = next(iter(skipped.items()), (part.root, "holds no video"))
        raise DatasetError(f"{part.root}: no clip can be read, first {first[0]}: {first[1]}")
    records, clips, boxes, objects = zip(*found, strict=True)
    return LabelledClips(
        tuple(record.name(part.root) for record in records),
        np.stack(clips),
        np.array([record.label for record in records]),
        tuple(record.group for record in records),
        boxes,
        objects,
        tuple(None if record.segment or is_still(record.path) else record.path for record in records),
        skipped,
    )


def _clip(record: VideoRecord, reading: dict[str, Any]) -> tuple[np.ndarray, Boxes, Boxes]:
    """The clip of a record, and the boxes of persons and of what they handle as they lie in it."""
    annotated = record.boxes is not None or record.tubes
    if not annotated or record.segment is not None or is_still(record.path):
        return record.read(**reading), {}, {}
    clip, frames = read_sampled(record.path, **reading)
    info, size, fit = probe(record.path), reading["size"], reading["fit"]
    handled = replace(record, boxes=record.object_boxes, tubes=())

    def in_clips(of: VideoRecord) -> Boxes:
        there = ((t, of.boxes_at(int(frame))) for t, frame in enumerate(frames))
        boxes = {t: in_clip(found, (info.height, info.width), size, fit) for t, found in there}
        return {t: found for t, found in boxes.items() if len(found)}

    return clip, in_clips(record), in_clips(handled)
