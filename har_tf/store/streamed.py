"""Clips that stay in their videos: decoded whenever they are read, which takes no disk and more processor time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord
from har_tf.pipeline import Videos
from har_tf.store.indexed import Skipped
from har_tf.store.prepare import fingerprint_of
from har_tf.store.shards import ClipSettings


@dataclass(frozen=True, eq=False)
class StreamedClips:
    """What a `PreparedDataset` of the same videos and settings is, without anything on disk.

    Videos are decoded in this process, see `har_tf.pipeline.clips`: those that nobody has checked go through `check`
    first.

    Args:
        dataset: the clips, and the names of all classes.
        settings: how they are taken.
        skipped: videos that are left out, and why.
        fingerprint: that of `prepare` for all clips of which these are some; None: these are all.
    """

    channels: ClassVar[int] = 3

    dataset: ActionDataset
    settings: ClipSettings
    skipped: tuple[Skipped, ...] = ()
    fingerprint: str | None = None

    @classmethod
    def of(cls, dataset: ActionDataset, settings: ClipSettings, skipped: Mapping[Path, str]) -> Self:
        """The clips of a data set without those of some videos, which cannot be read."""
        named = {r.name(dataset.root): skipped[r.path] for r in dataset.records if r.path in skipped}
        rest = dataset.subset(record for record in dataset.records if record.path not in skipped)
        left_out = tuple(Skipped(dataset.root / name, reason) for name, reason in named.items())
        return cls(rest, settings, left_out, fingerprint_of(dataset, settings, named))

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decodes the clips at these positions, uint8 (B, T, H, W, 3) RGB; VideoError where a video cannot be read."""
        return Videos(self.dataset.records, **asdict(self.settings)).read(positions)

    def subset(self, records: ActionDataset | Iterable[VideoRecord]) -> Self:
        """The clips of these records, in their order, without those that were left out."""
        absent = {video.path for video in self.skipped}
        kept = [record for record in records if self.root / record.name(self.root) not in absent]
        return replace(self, dataset=self.dataset.subset(kept))

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def path(self) -> Path:
        """A folder that is not there, of the name that the store would have."""
        return self.root / f"{self.dataset.name}_{self.fingerprint[:12]}"

    @property
    def root(self) -> Path:
        """The folder of the videos."""
        return self.dataset.root

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return self.dataset.class_names

    @property
    def num_frames(self) -> int:
        """Frames of a clip, T."""
        return self.settings.num_frames

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a clip."""
        return self.settings.size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, H, W, channels) of a clip."""
        return self.num_frames, *self.size, self.channels

    @property
    def clip(self) -> dict[str, str]:
        """sampling, short, fit and by, as in `read_clip`."""
        return {name: getattr(self.settings, name) for name in ("sampling", "short", "fit", "by")}

    @cached_property
    def labels(self) -> np.ndarray:
        """(clips,) int32 labels."""
        return np.array([record.label for record in self.dataset.records], np.int32)

    @cached_property
    def names(self) -> list[str]:
        """`VideoRecord.name` of every clip."""
        return [record.name(self.root) for record in self.dataset.records]

    @cached_property
    def groups(self) -> list[str | None]:
        """The recording of every clip; None of one that nobody named."""
        return [record.group for record in self.dataset.records]

    @cached_property
    def record_paths(self) -> list[Path]:
        """The video of every clip."""
        return [record.path for record in self.dataset.records]
