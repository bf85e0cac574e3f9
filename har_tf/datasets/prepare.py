"""Records → a TFDS data set of uint8 clips: decode every video once, train from it many times.

What is written is sharded TFRecord with TFDS's metadata, so that it serves without this project too:

    tfds.builder_from_directory(prepared.path).as_dataset(split="clips")

It holds every clip once, in the order of the records; the parts of a split are views of it (`subset`). The
folder is named by a fingerprint of the videos and the settings, and appears only when everything in it is
complete.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from har_tf.atomic import whole_folder
from har_tf.datasets.prepared import FORMAT, PreparedDataset, Skipped
from har_tf.datasets.records import ActionDataset, DatasetError, VideoRecord, relative
from har_tf.datasets.workers import Failed, outcomes
from har_tf.video import frame_indices

VERSION = "1.0.0"  # TFDS wants the files in <name>/<version>
SPLIT = "clips"
SHARD_BYTES = 2**28
MAX_SHARDS = 256  # all are open at once while training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSettings:
    """How a video becomes a clip; the arguments of `VideoRecord.read`."""

    num_frames: int
    size: tuple[int, int]
    sampling: str
    short: str

    @property
    def clip_bytes(self) -> int:
        return self.num_frames * self.size[0] * self.size[1] * 3


def prepare(
    dataset: ActionDataset,
    out_dir: str | Path,
    num_frames: int = 10,
    size: tuple[int, int] = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    workers: int | None = None,
) -> PreparedDataset:
    """Decodes the clips of a data set and writes them as a TFDS data set, or opens what was written before.

    Videos that cannot be read are listed, with the reason, in `skipped.csv` and in `PreparedDataset.skipped`.
    A changed video (by size or modification time), list of videos, or setting is prepared anew, into a folder
    of its own. An interrupted run leaves nothing behind that a later one mistakes for good.

    Args:
        dataset: the videos.
        out_dir: folder for prepared data sets; this one becomes `<name>_<fingerprint>/1.0.0` in it.
        num_frames: frames of a clip, T.
        size: (height, width) of a clip.
        sampling: "uniform", "strided" or "dense", see `read_clip`.
        short: "repeat_last", "wrap" or "error" for videos with fewer frames; under "error" they are skipped.
        workers: decoding processes; None: one a core; 0: decode in this process.

    Raises:
        DatasetError: no video is readable, `out_dir` cannot be written, or the disk is too small or gets
            full.
        ValueError: an argument is out of its range.

    Example:
        >>> prepared = prepare(dataset, "prepared", num_frames=16, size=(112, 112))
        >>> train = prepared.subset(dataset.split("group")[0])
    """
    settings = ClipSettings(num_frames, tuple(size), sampling, short)
    _check(dataset, settings)
    out_dir = Path(out_dir)
    fingerprint = fingerprint_of(dataset, settings)
    home = out_dir / f"{dataset.name}_{fingerprint[:12]}"
    if (home / VERSION).exists():
        try:
            return PreparedDataset.open(home / VERSION, dataset.root)
        except DatasetError as error:
            log.warning("%s; it is prepared anew", error)
            shutil.rmtree(home)
    try:
        with whole_folder(home) as part:
            (part / VERSION).mkdir()
            _check_space(out_dir, dataset, settings)
            skipped = _write(dataset, settings, fingerprint, part / VERSION, workers)
    except OSError as error:
        raise DatasetError(_failure(error, out_dir, dataset, settings)) from error
    if skipped:
        place = home / VERSION / "skipped.csv"
        log.warning("%d of %d videos could not be read, see %s", skipped, len(dataset), place)
    return PreparedDataset.open(home / VERSION, dataset.root)


def fingerprint_of(dataset: ActionDataset, settings: ClipSettings) -> str:
    """SHA-256 over names, labels, groups, sizes and times of the videos, the class names and the settings."""
    digest = hashlib.sha256()
    about = [
        FORMAT,
        settings.num_frames,
        settings.size,
        settings.sampling,
        settings.short,
        dataset.class_names,
    ]
    digest.update(json.dumps(about).encode())
    for record in dataset.records:
        line = [relative(record.path, dataset.root), record.label, record.group, *record.stamp()]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()


def estimate_bytes(videos: int, settings: ClipSettings) -> int:
    """Bytes that this many prepared videos take on disk, with their names and the index."""
    return videos * (settings.clip_bytes + 1024)


def _check(dataset: ActionDataset, settings: ClipSettings) -> None:
    if not dataset.records:
        raise DatasetError(f"{dataset.root}: no video to prepare")
    if len(settings.size) != 2 or not all(isinstance(side, int | np.integer) and side > 0 for side in settings.size):
        raise ValueError(f"size must be (height, width) in pixels. Received: size={settings.size}")
    if settings.num_frames is None:
        raise ValueError("prepared clips have one length. Received: num_frames=None")
    frame_indices(1, settings.num_frames, settings.sampling)
    frame_indices(10**6, settings.num_frames, settings.sampling, short=settings.short)


def _check_space(out_dir: Path, dataset: ActionDataset, settings: ClipSettings) -> None:
    needed, free = estimate_bytes(len(dataset), settings), shutil.disk_usage(out_dir).free
    if needed > free:
        raise DatasetError(
            f"{out_dir}: {_megabytes(needed)} are needed for {len(dataset)} clips of {settings.num_frames} x "
            f"{settings.size[0]} x {settings.size[1]}; {_megabytes(free)} are free"
        )


def _write(dataset: ActionDataset, settings: ClipSettings, fingerprint: str, folder: Path, workers: int | None) -> int:
    """Writes the whole data set into `folder`; returns the number of videos that could not be read."""
    # Boxes and joints stay here: they can be as large as clips, and decoding does not need them.
    tasks = ((replace(r, boxes=None, object_boxes=None, joints=None), settings) for r in dataset.records)
    progress = tqdm(
        zip(dataset.records, outcomes(_decode, tasks, workers), strict=True),
        total=len(dataset),
        desc="preparing",
        unit="clip",
        disable=None,  # where nobody watches
    )
    # A shard is a fixed stretch of the records, so a bad video does not move the clips behind it.
    per_shard = max(SHARD_BYTES // settings.clip_bytes, -(-len(dataset) // MAX_SHARDS), 1)
    skipped = []
    with _Writer(folder, dataset) as writer:
        for position, (record, clip) in enumerate(progress):
            if isinstance(clip, Failed):
                skipped.append(Skipped(record.path, clip.reason))
            else:
                writer.write(clip, record, position, shard=position // per_shard)
    if len(skipped) == len(dataset):
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise DatasetError(f"{dataset.root}: none of {len(dataset)} videos can be read. First: {first}")
    with (folder / "skipped.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "reason"])
        table.writerows([relative(skip.path, dataset.root), skip.reason] for skip in skipped)
    about = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "name": dataset.name,
        "root": str(dataset.root.resolve()),
        "class_names": dataset.class_names,
        **asdict(settings),
        "shards": writer.finish(),
    }
    (folder / "prepared.json").write_text(json.dumps(about, indent=1))
    _write_metadata(folder, dataset, settings, writer.lengths)
    return len(skipped)


def _decode(task: tuple[VideoRecord, ClipSettings]) -> np.ndarray:
    record, settings = task
    # One thread: the other cores have workers of their own.
    return record.read(settings.num_frames, settings.size, settings.sampling, settings.short, threads=1)


class _Writer:
    """Writes clips into shards one after the other, and notes where each clip starts."""

    def __init__(self, folder: Path, dataset: ActionDataset):
        self._folder = folder
        self._root = dataset.root
        self._name = dataset.name
        self._file = None  # the TFRecordWriter of the last shard
        self._shard = -1  # its number among the stretches of records; one without a readable video has no file
        self._sizes: list[int] = []  # bytes of every file
        self._rows: list[tuple] = []
        self.lengths: list[int] = []  # clips of every file

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_) -> None:
        if self._file is not None:
            with _as_os_error(self._folder):
                self._file.close()

    def write(self, clip: np.ndarray, record: VideoRecord, position: int, shard: int) -> None:
        import tensorflow as tf

        path, group = relative(record.path, self._root).encode(), (record.group or "").encode()
        example, start = _serialise(clip, record.label, group, path, position)
        with _as_os_error(self._folder):
            if shard != self._shard:
                if self._file is not None:
                    self._file.close()
                self._file = tf.io.TFRecordWriter(str(self._part(len(self._sizes))))
                self._shard = shard
                self._sizes.append(0)
                self.lengths.append(0)
            self._file.write(example)
        # A TFRecord is its length (8 bytes), a checksum (4), the bytes, a checksum (4).
        offset = self._sizes[-1] + 12 + start
        self._rows.append((len(self._sizes) - 1, offset, record.label, position, group, path))
        self._sizes[-1] += 12 + len(example) + 4
        self.lengths[-1] += 1

    def finish(self) -> dict[str, int]:
        """Gives the shards their final names and writes the index; returns name and size of every shard."""
        shards = {}
        for number, size in enumerate(self._sizes):
            written = self._part(number).stat().st_size
            if written != size:
                raise OSError(errno.EIO, f"{written} bytes arrived of {size}", str(self._folder))
            name = f"{self._name}-{SPLIT}.tfrecord-{number:05d}-of-{len(self._sizes):05d}"
            self._part(number).rename(self._folder / name)
            shards[name] = size
        columns = zip(*self._rows, strict=True)
        kinds = {"shard": np.int32, "offset": np.int64, "label": np.int32, "index": np.int64}
        kinds |= {"group": np.bytes_, "path": np.bytes_}
        arrays = {key: np.array(column, kind) for (key, kind), column in zip(kinds.items(), columns, strict=True)}
        np.savez_compressed(self._folder / "index.npz", **arrays)
        return shards

    def _part(self, number: int) -> Path:
        return self._folder / f"shard-{number:05d}"


def _serialise(clip: np.ndarray, label: int, group: bytes, path: bytes, position: int) -> tuple[bytes, int]:
    """(the tf.train.Example of a clip, the place in it where the pixels start)."""
    import tensorflow as tf

    def example(**features) -> bytes:
        # Sorted keys: the same bytes on every run, and the clip comes first.
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)

    pixels = clip.tobytes()
    others = {
        "group": tf.train.Feature(bytes_list=tf.train.BytesList(value=[group])),
        "index": tf.train.Feature(int64_list=tf.train.Int64List(value=[position])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "path": tf.train.Feature(bytes_list=tf.train.BytesList(value=[path])),
    }
    whole = example(clip=tf.train.Feature(bytes_list=tf.train.BytesList(value=[pixels])), **others)
    # The entries of the others stand behind the clip.
    rest = tf.train.Features(feature=others).ByteSize()
    start = len(whole) - rest - len(pixels)
    if whole[start : start + len(pixels)] != pixels:
        raise RuntimeError("protobuf does not put the clip first; its place in the file is not known")
    return whole, start


def _write_metadata(folder: Path, dataset: ActionDataset, settings: ClipSettings, lengths: list[int]) -> None:
    import tensorflow_datasets as tfds

    clip = (settings.num_frames, *settings.size, 3)
    features = tfds.features.FeaturesDict(
        {
            "clip": tfds.features.Tensor(shape=clip, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES),
            "group": tfds.features.Text(doc="source of the video; empty: not known"),
            "index": tfds.features.Scalar(dtype=np.int64, doc="position among the records"),
            "label": tfds.features.ClassLabel(names=list(dataset.class_names)),
            "path": tfds.features.Text(doc="the video, relative to the folder of the data set"),
        }
    )
    split = tfds.core.SplitInfo(
        name=SPLIT,
        shard_lengths=lengths,
        num_bytes=sum(lengths) * settings.clip_bytes,
        filename_template=tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=dataset.name, split=SPLIT, filetype_suffix="tfrecord"
        ),
    )
    with _as_os_error(folder):
        tfds.folder_dataset.write_metadata(
            data_dir=folder,
            features=features,
            split_infos=[split],
            version=VERSION,
            check_data=False,
            supervised_keys=("clip", "label"),
            description=f"{settings.sampling} clips of {dataset.name}, prepared by har_tf",
        )


@contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """TensorFlow's file errors as the OSError that they were."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, error.message, str(path)) from error
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message, str(path)) from error


def _failure(error: OSError, out_dir: Path, dataset: ActionDataset, settings: ClipSettings) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed = _megabytes(estimate_bytes(len(dataset), settings))
        return f"{out_dir}: the disk is full; {len(dataset)} clips take {needed}. Nothing was left behind"
    return f"{out_dir}: cannot be written: {error.strerror or error}"


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
