"""Training and test parts of a data set, and the audit of what they share.

`random` is the papers' protocol: 80:20, stratified by class. It puts clips of one source video on both sides,
so a model may recognise the scene instead of the action. `group` keeps the clips of a source together.
`official` is the split that the data set came with. Every split depends on the seed and the names only.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from har_tf.datasets.records import ActionDataset, DatasetError, VideoRecord

PROTOCOLS = ("random", "official", "group")


@dataclass(frozen=True)
class OverlapReport:
    """What the training and the test part of a split share.

    Args:
        test_clips: number of test clips.
        with_group: number of test clips whose source is known.
        with_sibling: number of test clips with a clip of the same source (`VideoRecord.group`) in training.
        same_file: number of test clips that are in training themselves, also by another name that a link gives them.
        groups: the sources on both sides, sorted.
        identical: (test path, training path, 0.0) of other files of the same content; None: not looked for.
        near_identical: (test path, training path, distance) of clips that look the same frame after frame, nearest
            first, see `frame_hashes`; None: not looked for.
        near_of_other_groups: number of test clips that are near-identical to a training clip that is no sibling.
        unread: number of videos that could not be read and so are not compared.
    """

    test_clips: int
    with_group: int
    with_sibling: int
    same_file: int
    groups: tuple[str, ...]
    identical: tuple[tuple[str, str, float], ...] | None = None
    near_identical: tuple[tuple[str, str, float], ...] | None = None
    near_of_other_groups: int = 0
    unread: int = 0

    def __str__(self) -> str:
        return self.sentence()

    def sentence(self, unit: str = "clip") -> str:
        """What was counted, in words; `unit` is what the test part is made of, "clip" or "video"."""
        share = 100 * self.with_sibling / max(self.test_clips, 1)
        text = f"{self.with_sibling} of {self.test_clips} test {unit}s ({share:.0f} %) have a sibling in training"
        if self.with_group == 0:
            text = f"siblings of the {self.test_clips} test {unit}s in training: unknown, no {unit} names its group"
        elif self.with_group < self.test_clips:
            text += f"; of {self.test_clips - self.with_group} the group is unknown"
        if self.same_file and self.with_group:
            text += f"; {self.same_file} are in training themselves"
        if self.identical is not None:
            text += f"; {len({pair[0] for pair in self.identical})} have the same content as a training {unit}"
        if self.near_identical is not None:
            text += f"; {len({pair[0] for pair in self.near_identical})} are near-identical to one"
            text += f", {self.near_of_other_groups} of them to one that is no sibling" if self.near_identical else ""
        return text + (f"; {self.unread} videos could not be read" if self.unread else "")


def split(
    dataset: ActionDataset, protocol: str, seed: int = 0, test_fraction: float = 0.2
) -> tuple[ActionDataset, ActionDataset]:
    """Splits into a training and a test part, each in the order of `dataset`.

    Args:
        protocol: "random" (stratified by class), "group" (no group in both parts) or "official".
        seed: what "random" and "group" draw from; "official" ignores it.
        test_fraction: share of the clips of every class in the test part, for "random" and "group".

    Raises:
        DatasetError: unknown protocol, no official split, records without a group, or an empty part.
    """
    if protocol not in PROTOCOLS:
        raise DatasetError(f"unknown protocol. Expected one of {', '.join(PROTOCOLS)}. Received: {protocol!r}")
    if not 0 < test_fraction < 1:
        raise DatasetError(f"test_fraction must lie between 0 and 1. Received: {test_fraction}")
    if protocol == "official":
        train, test = _official(dataset)
    elif protocol == "group":
        train, test = _apart(dataset, _by_group(dataset, seed, test_fraction))
    else:
        train, test = _apart(dataset, _at_random(dataset, seed, test_fraction))
    for part, other, name in ((train, test, "training"), (test, train, "test")):
        if not part.records:
            raise DatasetError(f"{dataset.root}: the {protocol} split leaves no clip for the {name} part")
        lacking = [c for c, n in part.counts.items() if n == 0 and other.counts[c]]
        if lacking and name == "training":
            raise DatasetError(f"{dataset.root}: the {protocol} split leaves no training clip of {', '.join(lacking)}")
        if lacking:
            warnings.warn(f"the {protocol} split has no test clip of {', '.join(lacking)}", stacklevel=3)
    return train, test


def hold_out(
    dataset: ActionDataset, fraction: float = 0.2, seed: int = 0, by_group: bool = True
) -> tuple[ActionDataset, ActionDataset]:
    """(rest, held out): a validation part of the training data, on which the checkpoint is chosen.

    Groups stay together where every record has one, unless `by_group` is off: then, as under the `random`
    protocol, validation measures what that protocol measures.

    Raises:
        DatasetError: `fraction` is not between 0 and 1, or a part would be empty.
    """
    grouped = by_group and all(record.group is not None for record in dataset.records)
    try:
        return split(dataset, "group" if grouped else "random", seed, fraction)
    except DatasetError as error:
        raise DatasetError(f"no validation part can be taken from the training clips: {error}") from error


def overlap(train: ActionDataset, test: ActionDataset) -> OverlapReport:
    """Counts the test clips that have a sibling in training: a clip whose `VideoRecord.group` is equal."""
    groups = {record.group for record in train.records if record.group is not None}
    real = _RealPaths()
    seen = {(real(record.path), record.segment) for record in train.records}
    siblings = [record for record in test.records if record.group in groups]
    return OverlapReport(
        test_clips=len(test.records),
        with_group=sum(record.group is not None for record in test.records),
        with_sibling=len(siblings),
        same_file=sum((real(record.path), record.segment) in seen for record in test.records),
        groups=tuple(sorted({record.group for record in siblings})),
    )


class _RealPaths:
    """Paths without links. Folders are resolved once: to resolve every path costs a call for each folder around it."""

    def __init__(self):
        self._folders: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        if path.is_symlink():
            return os.path.realpath(path)
        if path.parent not in self._folders:
            self._folders[path.parent] = os.path.realpath(path.parent)
        return os.path.join(self._folders[path.parent], path.name)  # noqa: PTH118


def _official(dataset: ActionDataset) -> tuple[ActionDataset, ActionDataset]:
    if dataset.official is None:
        raise DatasetError(
            f"{dataset.root}: has no official split. Expected train and test folders, or lists of it. "
            f"Received: protocol='official'"
        )
    train, test = dataset.official
    return (
        dataset.subset(record for record in dataset.records if record.path in train),
        dataset.subset(record for record in dataset.records if record.path in test),
    )


def _apart(dataset: ActionDataset, chosen: Iterable[VideoRecord]) -> tuple[ActionDataset, ActionDataset]:
    chosen = {id(record) for record in chosen}
    return (
        dataset.subset(record for record in dataset.records if id(record) not in chosen),
        dataset.subset(record for record in dataset.records if id(record) in chosen),
    )


def _at_random(dataset: ActionDataset, seed: int, fraction: float) -> Iterable[VideoRecord]:
    for label, name in enumerate(dataset.class_names):
        records = [record for record in dataset.records if record.label == label]
        count = min(max(round(fraction * len(records)), 1), len(records) - 1)
        # Drawn per class, so that a class is split the same way whatever other classes take part.
        order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(records))
        yield from (records[position] for position in order[: max(count, 0)])


def _by_group(dataset: ActionDataset, seed: int, fraction: float) -> Iterable[VideoRecord]:
    """Takes groups in random order as long as that brings the class counts nearer to the wanted ones.

    A group may span classes. No class loses its last training clip; a class that got no test clip then takes
    its smallest group that leaves training clips of all classes, if there is one.
    """
    without = [record for record in dataset.records if record.group is None]
    if without:
        raise DatasetError(
            f"{dataset.root}: {len(without)} of {len(dataset.records)} videos name no group, first "
            f"{without[0].path.name}. Expected a group of every video; in a folder of videos it is the _gNN_ of the "
            f"file name. Received: protocol='group'"
        )
    members: dict[str, list[VideoRecord]] = {}
    for record in dataset.records:
        members.setdefault(record.group, []).append(record)
    classes = len(dataset.class_names)
    sizes = {
        group: np.bincount([record.label for record in records], minlength=classes)
        for group, records in members.items()
    }
    total = np.bincount(dataset.labels, minlength=classes)
    taken, chosen = np.zeros(classes, int), set()

    def take(group: str) -> None:
        nonlocal taken
        taken = taken + sizes[group]
        chosen.add(group)

    def leaves_training(group: str) -> bool:
        return not np.any((taken + sizes[group] == total) & (sizes[group] > 0))

    # A group's place in the order comes from its own name, not from the groups beside it.
    order = sorted(members, key=lambda group: np.random.default_rng([seed, zlib.crc32(group.encode())]).random())
    for group in order:
        missing = fraction * total - taken
        nearer = np.sum((missing - sizes[group]) ** 2) < np.sum(missing**2)
        if nearer and leaves_training(group):
            take(group)
    for label in range(classes):
        if total[label] and not taken[label]:
            candidates = [group for group in order if sizes[group][label] and leaves_training(group)]
            if candidates:
                take(min(candidates, key=lambda group: sizes[group].sum()))
    for group in chosen:
        yield from members[group]
