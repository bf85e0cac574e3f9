"""Clips that lie in files with an index beside them: which there are, and views of some of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord

COLUMNS = ("label", "group", "name", "path")  # what `index.npz` holds of every clip


def to_text(name: bytes) -> str:
    """A stored name; one that was not UTF-8 on disk is as Python reads it from there."""
    return name.decode("utf-8", "surrogateescape")


class Indexed:
    """What prepared clips and stored features have in common: dataclasses with the fields below.

    Attributes:
        path: the folder.
        root: the folder that the videos came from, as the records call it.
        class_names: names in the order of the labels.
    """

    path: Path
    root: Path
    class_names: tuple[str, ...]
    _index: dict[str, np.ndarray]  # label, group, name and path of all clips in the files
    _rows: np.ndarray  # which of them these are
    _skipped_names: frozenset[str]  # of videos that were left out

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """(clips,) int32 labels."""
        return self._index["label"][self._rows]

    @cached_property
    def groups(self) -> list[str | None]:
        """The group of every clip, None where it is not known."""
        return [to_text(group) or None for group in self._index["group"][self._rows].tolist()]

    @cached_property
    def names(self) -> list[str]:
        """`VideoRecord.name` of every clip."""
        return [to_text(name) for name in self._index["name"][self._rows].tolist()]

    @cached_property
    def record_paths(self) -> list[Path]:
        """The video of every clip."""
        return [self.root / to_text(path) for path in self._index["path"][self._rows].tolist()]

    def subset(self, records: ActionDataset | Iterable[VideoRecord]) -> Self:
        """The clips of these records, in their order, over the same files; videos that were skipped are left out.

        Raises:
            DatasetError: a record was not part of what was prepared, or has another label or other classes.
        """
        if isinstance(records, ActionDataset):
            if records.class_names != self.class_names:
                raise DatasetError(
                    f"{self.path}: made for other classes: {', '.join(self.class_names)}. "
                    f"Received: {', '.join(records.class_names)}"
                )
            records = records.records
        rows = []
        for record in records:
            name = record.name(self.root)
            found = self._rows_of.get(name)
            if found is not None:
                # One segment may be listed once for each of its classes.
                labels = {int(self._index["label"][row]): row for row in reversed(found)}
                if record.label not in labels:
                    raise DatasetError(
                        f"{self.path}: {record.path} was prepared with label {', '.join(map(str, sorted(labels)))}. "
                        f"Received: label {record.label}. Labels are places in {', '.join(self.class_names)}"
                    )
                rows.append(labels[record.label])
            elif name not in self._skipped_names:
                raise DatasetError(f"{self.path}: {record.path} is not among the videos that this was made of")
        return replace(self, _rows=np.array(rows, dtype=np.int64))

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self._index["name"].tolist()):
            rows.setdefault(to_text(name), []).append(row)
        return rows
