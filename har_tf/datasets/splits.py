"""Which records become the test part, and what the two parts share.

`random` is the papers' protocol: 80:20, stratified by class. It puts clips of one source video on both sides,
so a model may recognise the scene instead of the action. `group` keeps the clips of a source together.
`official` is the split that the data set came with. Every split depends on the seed and the names only.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from har_tf.datasets.records import VideoRecord

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
            if self.near_identical and self.with_group:
                text += f", {self.near_of_other_groups} of them to one that is no sibling"
        return text + (f"; {self.unread} videos could not be read" if self.unread else "")


def at_random(
    records: Iterable[VideoRecord], class_names: Sequence[str], seed: int, fraction: float
) -> Iterator[VideoRecord]:
    """The test part, `fraction` of every class; classes are split alike whatever other classes take part."""
    members: list[list[VideoRecord]] = [[] for _ in class_names]
    for record in records:
        members[record.label].append(record)
    for name, of_class in zip(class_names, members, strict=True):
        count = min(max(round(fraction * len(of_class)), 1), len(of_class) - 1)
        order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(of_class))
        yield from (of_class[position] for position in order[: max(count, 0)])


def sample(
    records: Sequence[VideoRecord], class_names: Sequence[str], seed: int, per_class: int
) -> Iterator[VideoRecord]:
    """So many records of every class, in the order of the records."""
    labels, chosen = np.array([record.label for record in records]), set()
    for label, name in enumerate(class_names):
        # Not the numbers that `at_random` draws the test part of this class by.
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
        chosen.update(rng.permutation(np.flatnonzero(labels == label))[:per_class].tolist())
    yield from (record for position, record in enumerate(records) if position in chosen)


def by_group(
    records: Iterable[VideoRecord], class_names: Sequence[str], seed: int, fraction: float
) -> Iterator[VideoRecord]:
    """The test part of records that all have a group: about `fraction` of every class, in whole groups.

    Takes groups in random order as long as that brings the class counts nearer to the wanted ones. A group may span
    classes. No class loses its last training clip; a class that got no test clip then takes its smallest group that
    leaves training clips of all classes, if there is one.
    """
    members: dict[str, list[VideoRecord]] = {}
    for record in records:
        members.setdefault(record.group, []).append(record)
    classes = len(class_names)
    sizes = {
        group: np.bincount([record.label for record in of_group], minlength=classes)
        for group, of_group in members.items()
    }
    total = sum(sizes.values(), np.zeros(classes, int))
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


def overlap(train: Collection[VideoRecord], test: Collection[VideoRecord]) -> OverlapReport:
    """Counts the test clips that have a sibling in training: a clip whose `VideoRecord.group` is equal."""
    groups = {record.group for record in train if record.group is not None}
    real = _RealPaths()
    seen = {(real(record.path), record.segment) for record in train}
    siblings = [record for record in test if record.group in groups]
    return OverlapReport(
        test_clips=len(test),
        with_group=sum(record.group is not None for record in test),
        with_sibling=len(siblings),
        same_file=sum((real(record.path), record.segment) in seen for record in test),
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
