"""Any data set of TensorFlow Datasets that has videos and class labels, such as `tfds:ucf101`.

TFDS keeps no file names and no groups, so only the `random` and the `official` protocol apply; the official
split is the data set's own train and test. Its videos are lists of encoded pictures inside record files,
which can only be read one after the other: prepare such a data set, then train from it.
"""

from __future__ import annotations

import functools
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.video import VideoError, frame_indices
from har_tf.video.display import Target
from har_tf.video.sampling import check_by

_SPLITS = ("train", "validation", "test")
NEAR = 64  # records that are passed over rather than looking for the place anew


@dataclass(frozen=True, eq=False)
class TfdsRecord(VideoRecord):
    """A video of a TFDS data set; its path is a name only, <folder of the data set>/<split>/<position>."""

    folder: Path = Path()
    split: str = "train"
    position: int = 0
    split_bytes: int = 0

    def read(
        self,
        num_frames: int | None = 10,
        size: tuple[int, int] | None = (128, 192),
        sampling: str = "uniform",
        short: str = "repeat_last",
        threads: int | None = None,
        fit: str = "stretch",
        by: str = "frame",
    ) -> np.ndarray:
        """As `VideoRecord.read`; only the frames of the clip are decoded, with TensorFlow's threads.

        Nothing says when these frames were shown, so by time is as by frame.
        """
        import cv2
        import tensorflow as tf

        check_by(by, sampling)
        target = Target(size, fit)
        pictures = _examples(self.folder, self.split).video(self.position)
        try:
            indices = frame_indices(len(pictures), num_frames, sampling, short=short)
            frames = {i: tf.io.decode_image(pictures[i], channels=3).numpy() for i in set(indices.tolist())}
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise VideoError(self.path, str(error).partition("\n")[0]) from error
        for i, frame in frames.items():
            # Averages areas where it shrinks, as the reader of video files does.
            height, width = target.scaled(frame.shape[:2])
            frames[i] = target.cut(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))
        return np.stack([frames[i] for i in indices.tolist()])

    def stamp(self) -> tuple[int, int]:
        """(bytes of the split, position): TFDS versions its data, so a change shows in the folder's name."""
        return self.split_bytes, self.position

    def content(self) -> str:
        """As `stamp`, in words."""
        return f"{self.split_bytes} bytes, {self.position}"


def load(name: str, data_dir: str | Path | None = None) -> ActionDataset:
    """Lists the videos of a TFDS data set, downloading it with TFDS where it has not been.

    Args:
        name: as for `tfds.builder`: "ucf101", "ucf101/ucf101_2", or the name of one's own under `data_dir`.
        data_dir: TFDS's folder of data sets; None: TFDS's own default.

    Raises:
        DatasetError: no such data set, it cannot be downloaded, or has not one video and one class label.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
        if not builder.is_prepared():
            builder.download_and_prepare()
    except Exception as error:  # a network, a disk, a missing unpacker, TFDS itself: always the same answer
        reason = next((line for line in str(error).split("\n") if line.strip()), "")
        raise DatasetError(f"tfds:{name}: not available: {type(error).__name__}: {reason}") from error
    _, label = _features(builder, name)
    folder = Path(builder.data_dir)
    records: list[TfdsRecord] = []
    for split in builder.info.splits:
        labels = builder.as_dataset(
            split=split,
            decoders=tfds.decode.PartialDecoding({label: True}),
            read_config=_in_order(tfds),
        )
        size = int(builder.info.splits[split].num_bytes)
        for position, example in enumerate(labels.as_numpy_iterator()):
            path = folder / split / f"{position:06d}"
            place = {"folder": folder, "split": split, "position": position, "split_bytes": size}
            records.append(TfdsRecord(path, int(example[label]), **place))
    return ActionDataset(
        name=re.sub(r"\W+", "_", name.partition(":")[0], flags=re.ASCII),
        root=folder,
        records=tuple(records),
        class_names=tuple(builder.info.features[label].names),
        **_official(records),
    )


def _features(builder: Any, name: str) -> tuple[str, str]:
    """Names of the video and of the label."""
    import tensorflow_datasets as tfds

    kinds = {key: type(feature) for key, feature in builder.info.features.items()}
    videos = [key for key, kind in kinds.items() if issubclass(kind, tfds.features.Video)]
    labels = [key for key, kind in kinds.items() if issubclass(kind, tfds.features.ClassLabel)]
    if len(videos) != 1 or len(labels) != 1:
        found = ", ".join(f"{key} ({kind.__name__})" for key, kind in kinds.items())
        raise DatasetError(f"tfds:{name}: expected one Video and one ClassLabel. Received: {found}")
    return videos[0], labels[0]


def _official(records: list[TfdsRecord]) -> dict[str, Any]:
    """`official` and `validation` of the data set."""
    paths = {split: frozenset(record.path for record in records if record.split == split) for split in _SPLITS}
    held_back = paths["test"] or paths["validation"]
    if not paths["train"] or not held_back:
        return {}
    return {
        "official": (frozenset(record.path for record in records) - held_back, held_back),
        "validation": paths["validation"] if paths["test"] and paths["validation"] else None,
        "test_name": "test" if paths["test"] else "val",
    }


def _in_order(tfds: Any) -> Any:
    """Reads the files of a split one after the other; TFDS would mix them."""
    return tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)


@functools.lru_cache(maxsize=8)
def _examples(folder: Path, split: str) -> _Examples:
    return _Examples(folder, split)


class _Examples:
    """The encoded videos of a split by position, quick for positions that rise."""

    def __init__(self, folder: Path, split: str):
        import tensorflow_datasets as tfds

        self._builder = tfds.builder_from_directory(str(folder))
        self._video = _features(self._builder, str(folder))[0]
        self._split = split
        self._iterator = None
        self._next = 0
        self._lock = threading.Lock()

    def video(self, position: int) -> list[bytes]:
        """The encoded frames of a video."""
        import tensorflow_datasets as tfds

        with self._lock:
            if self._iterator is None or not 0 <= position - self._next < NEAR:
                dataset = self._builder.as_dataset(
                    split=tfds.core.ReadInstruction(self._split, from_=position, unit="abs"),
                    decoders={self._video: tfds.decode.SkipDecoding()},
                    read_config=_in_order(tfds),
                )
                self._iterator, self._next = dataset.as_numpy_iterator(), position
            for _ in range(self._next, position):
                next(self._iterator)
            self._next = position + 1
            return list(next(self._iterator)[self._video])
