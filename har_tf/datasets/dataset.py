"""A data set of actions: records with the names of their classes, and its training and test parts."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from har_tf.datasets import splits
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import Tube, VideoRecord
from har_tf.datasets.splits import OverlapReport
from har_tf.names import check_names, closest, index_of


@dataclass(frozen=True, eq=False)
class ActionDataset:
    """Videos of actions with their class names.

    Args:
        name: short name, letters, digits and underscores.
        root: the folder that the data came from.
        records: the videos, in an order that is the same on every machine.
        class_names: names in the order of the labels.
        official: (training paths, test paths) of the official split, or None where there is none.
        notes: what a reader of the results should know, such as list entries that are not on disk.
        validation: those of the training paths of the official split that came as its validation part; None: none did.
        test_name: "val" where the validation part stands in for an official test part that is not there.
        test_videos: how many the test part of the official split has, on disk or not; None: not known.
    """

    name: str
    root: Path
    records: tuple[VideoRecord, ...] = field(repr=False)
    class_names: tuple[str, ...]
    official: tuple[frozenset[Path], frozenset[Path]] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    validation: frozenset[Path] | None = field(default=None, repr=False)
    test_name: str = "test"
    test_videos: int | None = None

    def __post_init__(self):
        try:
            check_names(self.class_names, str(self.root))
        except ValueError as error:
            raise DatasetError(str(error)) from None

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[VideoRecord]:
        return iter(self.records)

    @cached_property
    def labels(self) -> np.ndarray:
        """(records,) int32 labels."""
        return np.array([record.label for record in self.records], dtype=np.int32)

    @property
    def counts(self) -> dict[str, int]:
        """Number of videos of every class, in class order."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    @property
    def parts(self) -> dict[str, frozenset[Path]]:
        """train, val, test -> the videos of this part of the official split; without those that the data lack."""
        train, test = self.official or ((), ())
        held = self.validation or frozenset()
        named = {"train": frozenset(train) - held, "val": held} | {self.test_name: frozenset(test)}
        return {name: paths for name, paths in named.items() if paths}

    def part(self, name: str) -> ActionDataset:
        """The videos of one part of the official split, "train", "val" or "test".

        Raises:
            DatasetError: the data have no video of it.
        """
        parts = self.parts
        if name not in parts:
            there = ", ".join(f"{part} ({len(paths)} videos)" for part, paths in parts.items())
            raise DatasetError(f"{self.root}: has no video of part {name!r}. Parts that it has: {there or 'none'}")
        return self.subset(record for record in self if record.path in parts[name])

    def subset(self, records: Iterable[VideoRecord]) -> ActionDataset:
        """The same data set with these records only."""
        return replace(self, records=tuple(records))

    def only(self, classes: Sequence[str]) -> ActionDataset:
        """The data set of these classes, labelled in the given order.

        Raises:
            DatasetError: a name is unknown or given twice, or fewer than two classes are left.
        """
        classes = check_classes(classes, self.class_names, str(self.root))
        label = {self.class_names.index(name): position for position, name in enumerate(classes)}
        records = (
            replace(r, label=label[r.label], tubes=_relabelled(r.tubes, label))
            for r in self.records
            if r.label in label
        )
        return replace(self, records=tuple(records), class_names=tuple(classes))

    def sample(self, per_class: int, seed: int = 0) -> ActionDataset:
        """The same data set with so many records of every class, drawn from the seed, in their order.

        A class is drawn from alike whatever other classes take part.

        Raises:
            DatasetError: a class has fewer.
        """
        if few := [f"{count} of {name}" for name, count in self.counts.items() if count < per_class]:
            more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
            raise DatasetError(
                f"{self.root}: too few clips of a class. Expected {per_class} of each. "
                f"Received: {', '.join(few[:5])}{more}"
            )
        return self.subset(splits.sample(self.records, self.class_names, seed, per_class))

    def called(self, names: Mapping[str, str]) -> ActionDataset:
        """The same data set with other names for some of its classes, as a model that was made elsewhere calls them.

        Args:
            names: name of a class here, in any case -> the model's name for it.

        Raises:
            DatasetError: an unknown class, or two classes that would have one name.

        Example:
            >>> load("UCF-101").called({"Surfing": "surfing water"})
        """
        return replace(self, class_names=called(self.class_names, names, str(self.root)))

    def split(self, protocol: str, seed: int = 0, test_fraction: float = 0.2) -> tuple[ActionDataset, ActionDataset]:
        """(training part, test part), each in the order of the records.

        The training part of the official split contains its validation part, which `hold_out` takes from it.

        Args:
            protocol: "random" (stratified by class), "group" (no group in both parts) or "official".
            seed: what "random" and "group" draw from; "official" ignores it.
            test_fraction: share of the clips of every class in the test part, for "random" and "group".

        Raises:
            DatasetError: unknown protocol, no official split, records without a group, or an empty part.
        """
        if protocol not in splits.PROTOCOLS:
            raise DatasetError(
                f"unknown protocol. Expected one of {', '.join(splits.PROTOCOLS)}. Received: {protocol!r}"
            )
        if not 0 < test_fraction < 1:
            raise DatasetError(f"test_fraction must lie between 0 and 1. Received: {test_fraction}")
        if protocol == "official":
            if self.official is None:
                raise DatasetError(
                    f"{self.root}: has no official split. Expected train and test folders, or lists of it. "
                    f"Received: protocol='official'"
                )
            train, test = (self.subset(record for record in self if record.path in paths) for paths in self.official)
        else:
            if protocol == "group":
                self._check_grouped()
            choose = splits.by_group if protocol == "group" else splits.at_random
            chosen = {id(record) for record in choose(self.records, self.class_names, seed, test_fraction)}
            anew = replace(self, validation=None)  # which belongs to the official split
            train = anew.subset(record for record in self if id(record) not in chosen)
            test = anew.subset(record for record in self if id(record) in chosen)
        for part, other, name in ((train, test, "training"), (test, train, "test")):
            if not part.records:
                raise DatasetError(f"{self.root}: the {protocol} split leaves no clip for the {name} part")
            lacking = [c for c, n in part.counts.items() if n == 0 and other.counts[c]]
            if lacking and name == "training":
                raise DatasetError(f"{self.root}: the {protocol} split leaves no training clip of {', '.join(lacking)}")
            if lacking:
                warnings.warn(f"the {protocol} split has no test clip of {', '.join(lacking)}", stacklevel=2)
        return train, test

    def hold_out(
        self, fraction: float = 0.2, seed: int = 0, by_group: bool = True
    ) -> tuple[ActionDataset, ActionDataset]:
        """(rest, held out): a validation part of training data, on which the checkpoint is chosen.

        Where the data came with one, `validation`, it is that, whatever the arguments. Else it is drawn. Groups stay
        together where every record has one, unless `by_group` is off: then, as under the `random` protocol, validation
        measures what that protocol measures.

        Raises:
            DatasetError: `fraction` is not between 0 and 1, or a part would be empty.
        """
        if self.validation is not None:
            anew = replace(self, validation=None)
            rest, held = (anew.subset(r for r in self if (r.path in self.validation) is side) for side in (False, True))
            if not held.records:
                raise DatasetError(f"{self.root}: no clip of the validation part that came with the data is left")
            lacking = [name for name, count in rest.counts.items() if count == 0 and self.counts[name]]
            if lacking:
                raise DatasetError(f"{self.root}: only the validation part has training clips of {', '.join(lacking)}")
            return rest, held
        grouped = by_group and all(record.group is not None for record in self)
        try:
            return self.split("group" if grouped else "random", seed, fraction)
        except DatasetError as error:
            raise DatasetError(f"no validation part can be taken from the training clips: {error}") from error

    def overlap_report(self, protocol: str = "random", seed: int = 0, test_fraction: float = 0.2) -> OverlapReport:
        """How many test clips of this split have a sibling, a clip cut from the same source, in training.

        Arguments and errors are those of `split`. `har_tf.audit.overlap_report` also compares what the videos show.
        """
        return splits.overlap(*self.split(protocol, seed, test_fraction))

    def _check_grouped(self) -> None:
        without = [record for record in self if record.group is None]
        if without:
            raise DatasetError(
                f"{self.root}: {len(without)} of {len(self)} videos name no group, first {without[0].path.name}. "
                f"Expected a group of every video; in a folder of videos it is the _gNN_ of the file name. "
                f"Where nobody knows them, split at random (--protocol random). Received: protocol='group'"
            )


def _relabelled(tubes: Iterable[Tube], label: dict[int, int]) -> tuple[Tube, ...]:
    return tuple(replace(tube, label=label[tube.label]) for tube in tubes if tube.label in label)


def called(class_names: Sequence[str], names: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The names of classes, with other ones for some of them; see `ActionDataset.called`."""
    try:
        other = {index_of(name, class_names, where): model for name, model in names.items()}
    except ValueError as error:
        raise DatasetError(str(error)) from None
    new = tuple(other.get(label, name) for label, name in enumerate(class_names))
    for name in other.values():
        if sum(each.casefold() == name.casefold() for each in new) > 1:
            raise DatasetError(f"{where}: two classes cannot have one name. Received: {name!r} for both")
    return new


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC): macOS writes é as e and an accent, others as one character."""
    return unicodedata.normalize("NFC", name)


def check_classes(classes: Sequence[str] | None, known: Sequence[str], where: str) -> list[str]:
    """`classes` as `known` spells them, which may be another form of Unicode, see `composed`; all where it is None.

    Raises:
        DatasetError: they are not two or more different names out of `known`.
    """
    if classes is None:
        return list(known)
    spelt = {composed(name): name for name in known}
    for name in classes:
        if composed(name) not in spelt:
            raise DatasetError(f"{where}: unknown class {name!r}.{closest(name, known)} Classes: {', '.join(known)}")
    classes = [spelt[composed(name)] for name in classes]
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise DatasetError(f"{where}: classes given twice: {', '.join(twice)}")
    if len(classes) < 2:
        raise DatasetError(f"{where}: at least two classes are needed. Received: {classes=}")
    return classes
