"""Clips that were prepared for training: a TFDS data set on disk, and random access to its clips.

The shards are TFRecord files that `tfds.builder_from_directory` reads. A clip lies in them as one run of
bytes, so `index.npz` beside them says where every clip starts, and reading a clip is one `pread`: any order,
any part, and no more memory than the clips that were asked for. Each is compared with its checksum, see `Indexed`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from har_tf.names import from_csv_cell
from har_tf.store.indexed import IndexedClips, OpenFiles, Skipped

SAME_CONTENT = "the same content as "  # what the reason begins with of a video that is there twice


def left_out(skipped: Sequence[Skipped]) -> str:
    """How many videos were left out for which kind of reason: "3 left out: 2 with a problem, 1 of the same ..."."""
    twice = sum(video.reason.startswith(SAME_CONTENT) for video in skipped)
    kinds = {"with a problem": len(skipped) - twice, "of the same content as another": twice}
    named = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return f"{len(skipped)} left out: {named}" if skipped else "none left out"


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedDataset(IndexedClips):
    """Clips of one size on disk, or some of them, as `prepare` writes them; see `IndexedClips`.

    Args:
        fingerprint: SHA-256 of what all of them were made of, see `prepare`.
    """

    what: ClassVar[str] = "a prepared data set"
    format: ClassVar[int] = 4
    about: ClassVar[str] = "prepared.json"
    more_columns: ClassVar[tuple[str, ...]] = ("shard", "offset", "index")
    remedy: ClassVar[str] = "`prepare` with the same settings mends it: it decodes again what is damaged"
    channels: ClassVar[int] = 3

    fingerprint: str
    _shards: OpenFiles = field(repr=False)
    _fingerprints: dict[int, np.ndarray] = field(default_factory=dict, repr=False)  # of rows; all subsets share it

    @classmethod
    def _fields(cls, path: Path, root: Path, about: dict, clips: int) -> dict[str, Any]:
        with (path / "skipped.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            skipped = [(from_csv_cell(row["path"]), from_csv_cell(row["reason"])) for row in csv.DictReader(file)]
        clip = {"by": "frame"} | {name: about[name] for name in ("sampling", "short", "fit", "by") if name in about}
        about |= {"skipped": skipped, "clip": clip}
        return {
            **super()._fields(path, root, about, clips),
            "fingerprint": about["fingerprint"],
            "_shards": OpenFiles([path / name for name in about["data"]]),
        }

    @cached_property
    def in_graph(self):
        """The `ClipsInGraph`; each clip is read and compared with its checksum once, whichever subset it is in."""
        from har_tf.store.in_graph import ClipsInGraph  # and TensorFlow

        return ClipsInGraph(self)

    def _file_of(self, row: int) -> Path:
        return self._shards.paths[self._index["shard"][row]]

    def _read_into(self, clip: np.ndarray, row: int) -> None:
        self._shards.read_into(clip, int(self._index["shard"][row]), int(self._index["offset"][row]))
