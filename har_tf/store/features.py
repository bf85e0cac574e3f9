"""Features of frozen networks, computed once: a store on disk that training reads in place of frames.

    prepared clips ─► network, frame by frame ─► store of (T, C) a clip ─► `batches` ─► `fusion_gru_head`

A frozen network gives the same features in every epoch; computing them again for each of 30 epochs is what makes
training take days. UCF101's 13,320 clips of 10 frames take 13,320 x 10 x (1024 + 1536) x 2 bytes = 0.7 GB as the
float16 features of GoogLeNet and Inception-ResNet-V2, against 36 GB as frames of 299 x 299.

A store is one folder: `features.npy` (clips, T, C), `index.npz` (label, group, name and path of every clip),
`features.json` (what it was made of, and checksums of all three). Its name ends with a fingerprint of the prepared
data, the network, its weights and the settings, so two settings never mix. It appears only when it is complete; until
then it grows in a hidden folder beside it, part by part, and a run that was killed is taken up there by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import math
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import relative
from har_tf.files.whole import alone
from har_tf.models import backbones
from har_tf.models.folding import folded
from har_tf.models.fusion_gru import frame_encoder, frame_size_of
from har_tf.pipeline import passes, read_at
from har_tf.store.indexed import COLUMNS, Indexed, to_text
from har_tf.store.prepared import PreparedDataset
from har_tf.store.shards import sync

FORMAT = 3  # changes whenever the same clips and weights would give other features or other files
DTYPES = ("float16", "float32")
PART_FRAMES = 512  # what a kill may cost: half a minute of GoogLeNet on two cores
REPORT_SECONDS = 60.0  # between lines of progress, where there is no terminal for a bar

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FeatureStore(Indexed):
    """Features of prepared clips, or of some of them, on disk.

    Args:
        path: the folder.
        backbone: the network that made them.
        weights: what it started from, in words: a file name, "imagenet" or "random".
        root: the folder that the videos came from.
        class_names: names in the order of the labels.
        shape: (T, C) of a clip: frames and channels.
        dtype: "float16" or "float32", on disk.
        seconds: that computing all of them took.
    """

    path: Path
    backbone: str
    weights: str
    root: Path
    class_names: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    seconds: float
    _features: _Stored = field(repr=False)
    _index: dict[str, np.ndarray] = field(repr=False)
    _skipped_names: frozenset[str] = field(repr=False)
    _rows: np.ndarray = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None) -> FeatureStore:
        """Opens what `extract` wrote, and compares every byte of it with the checksums of what was written.

        Args:
            path: the folder with `features.json`.
            root: where the videos lie now; None: where they lay when they were prepared.

        Raises:
            DatasetError: not a store, or one with a missing or damaged file.
        """
        path = Path(path)
        try:
            content = (path / "features.json").read_bytes()
            about = json.loads(content)
            if not isinstance(about, dict):
                raise ValueError("features.json does not describe one")
            if about["format"] != FORMAT:
                raise DatasetError(f"{path}: a feature store of format {about['format']}. Expected format {FORMAT}")
            del about["checksum"]
            if content != _sealed(about):
                raise ValueError("features.json differs from what was written")
            index = _read_index(path / "index.npz", about["index_checksum"])
            shape = (len(index["label"]), *about["shape"])
            features = _Stored(path / "features.npy", shape, np.dtype(about["dtype"]))
            for start, stop, checksum in about["parts"]:
                if features.checksum(start, stop) != checksum:
                    raise ValueError(f"the features of clips {start} to {stop - 1} differ from what was written")
        except DatasetError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(
                f"{path}: not a feature store, or a damaged one: {error}; `extract` computes a damaged one anew"
            ) from error
        return cls(
            path=path,
            backbone=about["backbone"],
            weights=about["weights"],
            root=Path(about["root"]) if root is None else root,
            class_names=tuple(about["class_names"]),
            shape=tuple(about["shape"]),
            dtype=about["dtype"],
            seconds=about["seconds"],
            _features=features,
            _index=index,
            _skipped_names=frozenset(about["left_out"]),
            _rows=np.arange(shape[0]),
        )

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads the features of the clips at these positions of `labels` and `record_paths`.

        Args:
            positions: B positions in [0, len).

        Returns:
            (B, T, C) float32.
        """
        return self._features.read(self._rows[np.asarray(positions, dtype=np.int64)]).astype(np.float32)


def extract(
    prepared: PreparedDataset,
    backbone: str,
    weights: str | Path | None,
    out_dir: str | Path,
    dtype: Literal["float16", "float32"] = "float16",
    batch_size: int = 32,
    frame_size: int | None = None,
) -> FeatureStore:
    """Computes the features of every frame of prepared clips, or opens what was computed before.

    They are what the layer `features_<backbone>` of `fusion_gru` gives, rounded to `dtype`. A run that was killed is
    taken up by the next one, part by part, and ends with the same bytes; a second run of the same at the same time
    waits for the first.

    Args:
        prepared: clips with square frames; a subset is a store of its own.
        backbone: a key of `har_tf.models.backbones.BACKBONES`.
        weights: the path of its published file, "imagenet", or None for random weights.
        out_dir: folder for stores; this one becomes `<data set>_<backbone>_<fingerprint>` in it.
        dtype: of the numbers on disk. "float16" keeps 11 bits of each, and at most 65504.
        batch_size: frames that the network sees at once; the memory it takes grows with it.
        frame_size: side that frames are resized to; None: what the network was trained on. See `fusion_gru`.

    Raises:
        ValueError: an unknown backbone or `dtype`, frames that are not square, or weights of another network.
        FileNotFoundError: a weights file that is not there.
        DatasetError: no clips, `out_dir` cannot be written, or the disk is too small or gets full.
        FloatingPointError: a feature that is not finite, or too large for float16.

    Example:
        >>> store = extract(prepared, "GoogLeNet", "googlenet_bvlc.npz", "features")
        >>> store.shape
        (10, 1024)
    """
    backbones.find(backbone)
    if dtype not in DTYPES or batch_size < 1:
        raise ValueError(
            f"Features are stored as {' or '.join(DTYPES)}, computed of at least one frame at a time. "
            f"Received: {dtype=}, {batch_size=}"
        )
    if not len(prepared):
        raise DatasetError(f"{prepared.path}: no clips to compute features of")
    height, width = prepared.size
    if height != width:
        raise ValueError(
            f"{prepared.path}: the networks take square frames, such as prepare(size=(299, 299), fit='crop') cuts out "
            f"of the middle. Received: frames of {height} x {width}"
        )
    encoder = None
    if weights in (None, "imagenet"):
        encoder = frame_encoder(backbone, height, weights, frame_size=frame_size)
        weights_digest = digest_of(encoder.get_weights())
    else:
        weights_digest = _digest_of_file(Path(weights))
    about = {
        "format": FORMAT,
        "prepared": json.loads((prepared.path / "prepared.json").read_text())["fingerprint"],
        "clips": digest_of([prepared._index["name"][prepared._rows], prepared.labels]),
        "backbone": backbone,
        "weights_digest": weights_digest,
        "frame_size": frame_size or frame_size_of(backbone),
        "policy": keras.config.dtype_policy().name,
        "dtype": dtype,
    }
    job = _Job(prepared, about, Path(out_dir), batch_size)
    store = job.open()
    if store is not None:
        return store
    if encoder is None:
        encoder = frame_encoder(backbone, height, weights, frame_size=frame_size)
    described = {None: "random", "imagenet": "imagenet"}.get(weights) or Path(weights).name
    try:
        job.out_dir.mkdir(parents=True, exist_ok=True)
        with alone(job.lock):
            return job.open() or job.run(encoder, described)
    except OSError as error:
        raise DatasetError(job.failure(error)) from error


def batches(
    stores: FeatureStore | Sequence[FeatureStore],
    batch_size: int,
    training: bool = False,
    seed: int = 0,
    epochs: Sequence[int] | None = None,
    skip: int = 0,
) -> tf.data.Dataset:
    """Batches of features and labels; nothing is decoded.

    The order of a pass is the one in which `har_tf.pipeline.clips` gives the clips of the same seed and pass.

    Args:
        stores: of the same clips, one a backbone.
        batch_size: clips a batch, B; the last batch of a pass may be smaller.
        training: shuffle, anew in every pass. Off: the order of the stores.
        seed: what the order is drawn from, together with the number of the pass.
        epochs: numbers of the passes to go through, such as `range(3, 20)`; None: the one pass 0.
        skip: batches at the start that were seen before; they are not read.

    Returns:
        A finite `tf.data.Dataset` of known cardinality of (features, int32 (B,) labels), where features are a dict of
        float32 (B, T, C), one a backbone under `features_<backbone>`, as `fusion_gru_head` takes them.

    Raises:
        ValueError: stores of different clips or of the same backbone, no clips, or an argument out of its range.

    Example:
        >>> train = functools.partial(batches, [googlenet, inception], 32, training=True)
        >>> training.fit(head, train, batches(validation, 32), recipe, "run")
    """
    stores = [stores] if isinstance(stores, FeatureStore) else list(stores)
    _check_stores(stores)
    if not len(stores[0]):
        raise ValueError("there are no features. Received: an empty store")
    labels = tf.constant(stores[0].labels, tf.int32)

    def read(order: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = {
            f"features_{store.backbone}": read_at(store.read, order, tf.float32, (None, *store.shape))
            for store in stores
        }
        return features, tf.gather(labels, order)

    return passes(len(stores[0]), read, batch_size, training, seed, epochs, skip)


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def estimate_bytes(clips: int, num_frames: int, channels: int, dtype: str = "float16") -> int:
    """Bytes that the features of so many clips take on disk, with their names and the index."""
    return clips * (num_frames * channels * np.dtype(dtype).itemsize + 512)


def _check_stores(stores: Sequence[FeatureStore]) -> None:
    if not stores:
        raise ValueError("At least one store of features is needed. Received: none")
    names = [store.backbone for store in stores]
    if len(set(names)) < len(names):
        raise ValueError(f"Each store is of another backbone. Received: {', '.join(names)}")
    first = stores[0]
    for store in stores[1:]:
        if store.names != first.names or not np.array_equal(store.labels, first.labels):
            raise ValueError(
                f"The stores hold features of different clips, or of the same in another order. Received: "
                f"{first.path} with {len(first)} clips, {store.path} with {len(store)}"
            )
        if store.shape[0] != first.shape[0]:
            raise ValueError(
                f"The stores hold clips of different lengths. Received: {first.path} with {first.shape[0]} frames, "
                f"{store.path} with {store.shape[0]}"
            )


def _sealed(about: dict) -> bytes:
    """The bytes of `features.json`: plain values, and a checksum of them."""
    checksum = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    return json.dumps({**about, "checksum": checksum}, indent=1).encode()


def _read_index(path: Path, checksum: int) -> dict[str, np.ndarray]:
    """The columns of `index.npz`.

    Its bytes are compared before they are read: a zip file has no checksum of its own directory.
    """
    content = path.read_bytes()
    if zlib.crc32(content) != checksum:
        raise ValueError(f"{path.name} differs from what was written")
    with np.load(io.BytesIO(content)) as arrays:
        if sorted(arrays.files) != sorted(COLUMNS):
            raise ValueError(f"{path.name} holds {', '.join(arrays.files)}. Expected {', '.join(COLUMNS)}")
        return {key: arrays[key] for key in COLUMNS}


def _header_of(shape: tuple[int, int, int], dtype: np.dtype) -> bytes:
    """What `features.npy` begins with."""
    header = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _digest_of_file(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class _Job:
    """One store that is being made, and its places.

    Args:
        prepared: the clips.
        about: all that the features depend on, as plain values.
        out_dir: folder for stores.
        batch_size: frames that the network sees at once.
    """

    prepared: PreparedDataset
    about: dict
    out_dir: Path
    batch_size: int

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    @property
    def home(self) -> Path:
        return self.out_dir / f"{self.prepared.name}_{self.about['backbone']}_{self.fingerprint[:12]}"

    @property
    def work(self) -> Path:
        return self.home.with_name(f".{self.home.name}.work")

    @property
    def lock(self) -> Path:
        return self.home.with_name(f".{self.home.name}.lock")

    def open(self) -> FeatureStore | None:
        """What was computed before; None where there is nothing, or something damaged."""
        if not self.home.exists():
            return None
        try:
            return FeatureStore.open(self.home, self.prepared.root)
        except DatasetError as error:
            log.warning("%s", error)
            return None

    def run(self, encoder: keras.Model, weights: str) -> FeatureStore:
        """Computes what is missing."""
        shutil.rmtree(self.home, ignore_errors=True)  # damaged
        self.work.mkdir(exist_ok=True)
        shape = (len(self.prepared), self.prepared.num_frames, encoder.output_shape[-1])
        file = _Parts(self.work, shape, self.about["dtype"], self._clips_a_part())
        file.take_up()
        self._check_space(shape, file)
        self._compute(encoder, file)
        self._finish(file, weights)
        return FeatureStore.open(self.home, self.prepared.root)

    def failure(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"{self.out_dir}: the disk is full. What is finished stays in {self.work}: make room and run this "
                "again, or remove it"
            )
        return f"{self.out_dir}: cannot be written: {error.strerror or error}"

    def _clips_a_part(self) -> int:
        """So many that their frames fill whole batches: then no run depends on where the one before it ended."""
        frames = self.prepared.num_frames
        whole = self.batch_size // math.gcd(self.batch_size, frames)
        return whole * max(1, PART_FRAMES // (whole * frames))

    def _check_space(self, shape, file: _Parts) -> None:
        missing = sum(stop - start for start, stop in file.missing())
        needed, free = estimate_bytes(missing, *shape[1:], self.about["dtype"]), shutil.disk_usage(self.out_dir).free
        if needed > free:
            raise DatasetError(
                f"{self.out_dir}: {needed / 1e6:.1f} MB are needed for the features of {missing} clips of {shape[1]} x "
                f"{shape[2]} {self.about['dtype']}; {free / 1e6:.1f} MB are free"
            )

    def _compute(self, encoder: keras.Model, file: _Parts) -> None:
        frames_a_clip, batch = self.prepared.num_frames, self.batch_size
        missing = file.missing()
        done = len(self.prepared) - sum(stop - start for start, stop in missing)
        if done:
            log.info("%s: features of %d of %d clips were computed before", self.work, done, len(self.prepared))
        if not missing:
            return
        encode = _compiled(encoder, batch)
        with (
            _Progress(
                f"features of {self.about['backbone']}", len(self.prepared) * frames_a_clip, done * frames_a_clip
            ) as progress,
            _Frames(self.prepared, missing, batch) as frames,
        ):
            for start, stop in missing:
                began = time.perf_counter()
                rows = []
                for pixels, count in frames.of_part():
                    rows.append(encode(pixels).numpy()[:count])
                    progress.update(count)
                features = np.concatenate(rows).reshape(stop - start, frames_a_clip, -1)
                file.write(start, self._rounded(features, start), time.perf_counter() - began)

    def _rounded(self, features: np.ndarray, start: int) -> np.ndarray:
        dtype = self.about["dtype"]
        with np.errstate(over="ignore"):
            rounded = features.astype(dtype)
        bad = np.flatnonzero(~np.isfinite(rounded).all(axis=(1, 2)))
        if len(bad):
            clip, name = features[bad[0]], to_text(self._names[start + bad[0]])
            if np.isfinite(clip).all():
                raise FloatingPointError(
                    f"{name}: a feature of {self.about['backbone']} is {np.abs(clip).max():.6g}, and float16 ends at "
                    "65504; use dtype='float32'"
                )
            raise FloatingPointError(f"{name}: a feature of {self.about['backbone']} is not a finite number")
        return rounded

    @property
    def _names(self) -> np.ndarray:
        return self.prepared._index["name"][self.prepared._rows]

    def _finish(self, file: _Parts, weights: str) -> None:
        """Writes what is of all parts together, and moves the whole to its place."""
        prepared = self.prepared
        index = self.work / "index.npz"
        np.savez_compressed(index, **{key: prepared._index[key][prepared._rows] for key in COLUMNS})
        about = {
            **self.about,
            "name": prepared.name,
            "weights": weights,
            "root": str(prepared.root.resolve()),
            "class_names": prepared.class_names,
            "shape": file.shape[1:],
            "seconds": round(file.seconds, 3),
            "left_out": sorted(relative(skipped.path, prepared.root) for skipped in prepared.skipped),
            "index_checksum": zlib.crc32(index.read_bytes()),
            "parts": file.checksums(),
        }
        (self.work / "features.json").write_bytes(_sealed(about))
        file.notes.unlink()
        for path in self.work.iterdir():
            sync(path)
        sync(self.work)
        self.work.rename(self.home)
        sync(self.out_dir)


class _Parts:
    """`features.npy` while it is written: parts in any state, and a list of those that are complete.

    Args:
        folder: where it lies.
        shape: (clips, T, C).
        dtype: of the numbers.
        clips: that a part holds.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], dtype: str, clips: int):
        self.path, self.notes = folder / "features.npy", folder / "parts.jsonl"
        self.shape, self.dtype, self.clips = shape, np.dtype(dtype), clips
        self.seconds = 0.0
        self._complete: dict[int, int] = {}  # first clip -> checksum
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            self._offset = file.write(_header_of(shape, self.dtype))

    def take_up(self) -> None:
        """Takes as complete the parts that are listed and have the bytes that are listed."""
        lines = self.notes.read_bytes().splitlines() if self.notes.exists() else []
        parts = set(self.missing())  # of this batch size
        kept = []
        for line in lines:
            try:
                start, stop, checksum, seconds = json.loads(line)
                whole = (start, stop) in parts and checksum == self._checksum(start)
                seconds = float(seconds)
            except (ValueError, TypeError):  # the run was killed while it wrote this line, or the line is damaged
                continue
            if whole and start not in self._complete:
                self._complete[start] = checksum
                self.seconds += seconds
                kept.append(line)
        self.notes.write_bytes(b"".join(line + b"\n" for line in kept))

    def missing(self) -> list[tuple[int, int]]:
        """(first clip, first clip of the next) of every part that is to be computed."""
        starts = range(0, self.shape[0], self.clips)
        return [(start, self._stop(start)) for start in starts if start not in self._complete]

    def write(self, start: int, features: np.ndarray, seconds: float) -> None:
        """Writes a part, and lists it once it is on the disk."""
        content = features.tobytes()
        checksum = zlib.crc32(content)
        with self.path.open("r+b") as file:
            file.seek(self._place(start))
            file.write(content)
        sync(self.path)
        with self.notes.open("a") as file:
            file.write(json.dumps([start, self._stop(start), checksum, round(seconds, 3)]) + "\n")
        sync(self.notes)
        self._complete[start] = checksum
        self.seconds += seconds

    def checksums(self) -> list[tuple[int, int, int]]:
        """(first clip, first clip of the next, checksum) of every part."""
        return [(start, self._stop(start), checksum) for start, checksum in sorted(self._complete.items())]

    def _stop(self, start: int) -> int:
        return min(start + self.clips, self.shape[0])

    def _place(self, start: int) -> int:
        return self._offset + start * self._clip_bytes

    @property
    def _clip_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def _checksum(self, start: int) -> int:
        with self.path.open("rb") as file:
            file.seek(self._place(start))
            return zlib.crc32(file.read((self._stop(start) - start) * self._clip_bytes))


class _Stored:
    """`features.npy`, read clip by clip. It is not mapped into memory, where all that was read would stay.

    Args:
        path: the file.
        shape: (clips, T, C) that it should have.
        dtype: that it should have.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: np.dtype):
        self._path, self._shape, self._dtype = path, shape, dtype
        self._clip_bytes = shape[1] * shape[2] * dtype.itemsize
        header = _header_of(shape, dtype)
        self._offset = len(header)
        with path.open("rb") as file:
            if file.read(self._offset) != header:  # not parsed: damaged ones raise errors of many kinds
                raise ValueError(f"{path.name} does not hold {dtype} {shape}")
            size, expected = os.fstat(file.fileno()).st_size, self._offset + shape[0] * self._clip_bytes
            if size != expected:
                raise ValueError(f"{path.name} has {size} bytes. Expected {expected}")
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self, close=os.close):  # bound here: at exit the module may be gone first
        if hasattr(self, "_file"):
            close(self._file)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(B, T, C) of these clips."""
        clips = np.empty((len(rows), *self._shape[1:]), self._dtype)
        for clip, row in zip(clips, rows.tolist(), strict=True):
            self._read_into(clip, row)
        return clips

    def checksum(self, start: int, stop: int) -> int:
        """Of the clips from `start` on, up to `stop`."""
        clips = np.empty((stop - start, *self._shape[1:]), self._dtype)
        self._read_into(clips, start)
        return zlib.crc32(clips)

    def _read_into(self, clips: np.ndarray, row: int) -> None:
        missing, offset = memoryview(clips).cast("B"), self._offset + row * self._clip_bytes
        while missing:
            count = os.preadv(self._file, [missing], offset)
            if count == 0:
                raise DatasetError(f"{self._path}: ends within the features of clip {row}")
            missing, offset = missing[count:], offset + count


class _Progress:
    """A bar on a terminal; where there is none, a line on stderr every minute and at the end.

    Args:
        what: is computed.
        total: frames.
        before: frames that earlier runs have computed.
    """

    def __init__(self, what: str, total: int, before: int):
        self._what, self._total, self._before = what, total, before

    def __enter__(self) -> _Progress:
        self._bar = tqdm(total=self._total, initial=self._before, desc=self._what, unit="frame", disable=None)
        self._done, self._began = self._before, time.monotonic()
        self._reported = self._began
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()
        if self._bar.disable:
            self._report()

    def update(self, frames: int) -> None:
        """Counts frames that have been computed."""
        self._bar.update(frames)
        self._done += frames
        if self._bar.disable and time.monotonic() - self._reported >= REPORT_SECONDS:
            self._report()

    def _report(self) -> None:
        self._reported = time.monotonic()
        rate = (self._done - self._before) / max(self._reported - self._began, 1e-9)
        print(
            f"{self._what}: {self._done} of {self._total} frames, {rate:.1f} frames/s",
            file=sys.stderr,
            flush=True,
        )


class _Frames:
    """Batches of frames of some stretches of clips; the next one is read while the network is at work.

    Args:
        prepared: the clips.
        parts: (first clip, first clip of the next) of every stretch.
        batch_size: frames a batch; the last one of a stretch is filled up with black ones.
    """

    def __init__(self, prepared: PreparedDataset, parts: Sequence[tuple[int, int]], batch_size: int):
        self._prepared, self._batch_size = prepared, batch_size
        self._all = (batch for start, stop in parts for batch in self._batches(start, stop))
        self._reader = ThreadPoolExecutor(1)

    def __enter__(self) -> _Frames:
        self._next = self._reader.submit(next, self._all, None)
        return self

    def __exit__(self, *error) -> None:
        self._reader.shutdown(cancel_futures=True)

    def of_part(self) -> Iterator[tuple[np.ndarray, int]]:
        """(uint8 (batch_size, H, W, 3), how many of them are frames of clips) for the next stretch."""
        last = False
        while not last:
            pixels, count, last = self._next.result()
            self._next = self._reader.submit(next, self._all, None)
            yield pixels, count

    def _batches(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, int, bool]]:
        frames = self._prepared.num_frames
        total = (stop - start) * frames
        clip, at = None, None
        for first in range(0, total, self._batch_size):
            pixels = np.zeros((self._batch_size, *self._prepared.size, 3), np.uint8)
            count = min(self._batch_size, total - first)
            for i in range(count):
                position, frame = divmod(first + i, frames)
                if position != at:
                    clip, at = self._prepared.read([start + position])[0], position
                pixels[i] = clip[frame]
            yield pixels, count, first + count == total


def _compiled(encoder: keras.Model, batch_size: int):
    """The network as one compiled function of batches of one size."""
    run = folded(encoder.inputs[0], encoder.outputs)
    frames = encoder.inputs[0]

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *frames.shape[1:]), frames.dtype)])
    def encode(pixels):
        return tf.cast(run(pixels)[0], tf.float32)

    encode.get_concrete_function()  # traced now, so that this is no part of the rate
    return encode
