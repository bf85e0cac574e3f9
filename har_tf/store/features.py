"""Features of frozen networks, computed once: a store on disk that training reads in place of frames.

    prepared clips ─► network, frame by frame ─► store of (T, C) a clip ─► `batches` ─► `fusion_gru_head`

A frozen network gives the same features in every epoch; computing them again for each of 30 epochs is what makes
training take days. UCF101's 13,320 clips of 10 frames take 13,320 x 10 x (1024 + 1536) x 2 bytes = 0.7 GB as the
float16 features of GoogLeNet and Inception-ResNet-V2, against 36 GB as frames of 299 x 299.

A store is one folder: `features.npy` (clips, T, C), `index.npz` (label, group, name, path and checksum of every clip),
`parts.jsonl` (the parts it was computed in), `features.json` (what it was made of, and checksums of all of them). It is
named by a fingerprint of the prepared data, the network, its weights and the settings, is there when it is complete,
and is taken up part by part where a run was killed or a part is damaged, see `har_tf.store.store`.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import itertools
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.ahead import ahead
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import relative
from har_tf.files.digests import digest_of
from har_tf.files.whole import sync, whole_file
from har_tf.models import backbones
from har_tf.models.folding import folded
from har_tf.models.fusion_gru import frame_encoder, frame_size_of
from har_tf.models.saving import as_here, layers_of, save_model
from har_tf.pipeline import passes, read_at, reads_in_graph
from har_tf.progress import progress
from har_tf.store import beam as pipelines
from har_tf.store.checksums import checksum, checksum_of_file, sealed, unsealed
from har_tf.store.indexed import Indexed, OpenFiles
from har_tf.store.prepared import PreparedDataset
from har_tf.store.store import Store

DTYPES = ("float16", "float32")
PART_FRAMES = 512  # what a kill may cost: half a minute of GoogLeNet on two cores


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureStore(Indexed):
    """Features of prepared clips, or of some of them, on disk; beside what `Indexed` has:

    Args:
        backbone: the network that made them.
        weights: what it started from, in words: a file name, "imagenet" or "random".
        shape: (T, C) of a clip: frames and channels.
        dtype: "float16" or "float32", on disk.
        seconds: that computing all of them took.
    """

    what: ClassVar[str] = "a feature store"
    format: ClassVar[int] = 4
    about: ClassVar[str] = "features.json"
    remedy: ClassVar[str] = "`extract` with the same settings mends it: it computes again what is damaged"

    backbone: str
    weights: str
    shape: tuple[int, int]
    dtype: str
    seconds: float
    _array: _Array = field(repr=False)
    _files: OpenFiles = field(repr=False)
    _held: list[tf.Tensor] = field(default_factory=list, repr=False)  # `held`; all subsets share it

    @classmethod
    def _fields(cls, path: Path, root: Path, about: dict, clips: int) -> dict[str, Any]:
        array = _Array(path / "features.npy", (clips, *about["shape"]), about["dtype"])
        files = OpenFiles([array.path])
        files.open(0)  # a training goes on with it where the store is made again
        return {
            **{name: about[name] for name in ("backbone", "weights", "dtype", "seconds")},
            "shape": tuple(about["shape"]),
            "_array": array,
            "_files": files,
            "_skipped_names": frozenset(about["left_out"]),
        }

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """See `Indexed.read`."""
        return self.read_stored(positions).astype(np.float32)

    def read_stored(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """The same as the numbers on disk, of `dtype`."""
        return super().read(positions)

    @property
    def held(self) -> tf.Tensor:
        """(all clips of the files, T, C), the numbers on disk; they are read once and stay in memory."""
        if not self._held:
            self._held.append(tf.constant(self.whole().read_stored(range(self._array.shape[0]))))
        return self._held[0]

    def _file_of(self, row: int) -> Path:
        return self._array.path

    def _read_into(self, clip: np.ndarray, row: int) -> None:
        self._files.read_into(clip, 0, self._array.place(row))


def extract(
    prepared: PreparedDataset,
    backbone: str,
    weights: str | Path | None,
    out_dir: str | Path,
    dtype: Literal["float16", "float32"] = "float16",
    batch_size: int = 32,
    frame_size: int | None = None,
    beam: Sequence[str] | None = None,
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
        beam: options of an Apache Beam pipeline whose workers compute the parts, see `har_tf.store.beam`; they end with
            the same bytes. None: this process does.

    Raises:
        ValueError: an unknown backbone or `dtype`, frames that are not square, weights of another network, or an
            option that Beam does not know.
        FileNotFoundError: a weights file that is not there.
        DatasetError: no clips, `out_dir` cannot be written, the disk is too small or gets full, or Beam is not
            installed or fails.
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

    @functools.cache
    def encoder() -> keras.Model:
        return frame_encoder(backbone, height, weights, frame_size=frame_size)

    of_file = weights not in (None, "imagenet")
    weights_digest = _digest_of_file(Path(weights)) if of_file else digest_of(encoder().get_weights())
    about = {
        "format": FeatureStore.format,
        "prepared": prepared.fingerprint,
        "clips": digest_of([prepared.columns["name"], prepared.labels]),
        "backbone": backbone,
        "weights_digest": weights_digest,
        "frame_size": frame_size or frame_size_of(backbone),
        "policy": keras.config.dtype_policy().name,
        "dtype": dtype,
    }
    described = Path(weights).name if of_file else weights or "random"
    return _stored(prepared, encoder, batch_size, about, described, out_dir, beam)


def outputs(
    prepared: PreparedDataset,
    network: keras.Model,
    name: str,
    weights: str,
    out_dir: str | Path,
    batch_size: int = 4,
    what: str = "",
    beam: Sequence[str] | None = None,
) -> FeatureStore:
    """Computes what a network gives for every prepared clip, or opens what was computed before.

    As with `extract`, a run that was killed is taken up by the next one.

    Args:
        prepared: clips, of the size that the network takes.
        network: (B, T, H, W, 3) clips to (B, N) numbers, such as that of `har_tf.models.frozen.front_of`.
        name: of the network; becomes `backbone` of the store.
        weights: what it started from, in words.
        out_dir: folder for stores; this one becomes `<data set>_<name>_<fingerprint>` in it.
        batch_size: clips that the network sees at once.
        what: which of the network's maps these are and how they are joined, beyond its layers and their weights.
        beam: as in `extract`.

    Returns:
        A store of shape (1, N) in float32.

    Raises:
        DatasetError: `out_dir` cannot be written, or the disk is too small or gets full.
        FloatingPointError: a number that is not finite.
    """
    about = {
        "format": FeatureStore.format,
        "prepared": prepared.fingerprint,
        "clips": digest_of([prepared.columns["name"], prepared.labels]),
        "backbone": name,
        "weights_digest": digest_of(network.get_weights()),
        "layers": hashlib.sha256(layers_of(network).encode()).hexdigest(),
        "what": what,
        "policy": keras.config.dtype_policy().name,
        "dtype": "float32",
    }
    return _stored(prepared, lambda: network, batch_size, about, weights, out_dir, beam)


def _stored(
    prepared: PreparedDataset,
    encoder: Callable[[], keras.Model],
    batch_size: int,
    about: dict,
    described: str,
    out_dir: str | Path,
    beam: Sequence[str] | None,
) -> FeatureStore:
    """The store of what a network gives; `about` is all that it hangs on, and `described` the weights in words."""
    if beam is not None:
        pipelines.check(beam)
    fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    store = Store(out_dir, f"{prepared.name}_{about['backbone']}".replace("/", "_"), fingerprint)

    def fill() -> None:
        _fill(
            store,
            prepared,
            as_here(encoder()),
            batch_size,
            {**about, "name": prepared.name, "weights": described},
            beam,
        )

    return store.open_or_fill(lambda place, check: FeatureStore.open(place, prepared.root, check), fill)


def batches(
    stores: FeatureStore | Sequence[FeatureStore],
    batch_size: int,
    training: bool = False,
    seed: int = 0,
    epochs: Sequence[int] | None = None,
    skip: int = 0,
    reading: Literal["host", "graph"] | None = None,
) -> tf.data.Dataset:
    """Batches of features and labels; nothing is decoded.

    The order of a pass is the one in which `har_tf.pipeline.clips` gives the clips of the same seed and pass.

    Args:
        stores: of the same clips, one a backbone.
        batch_size: clips a batch, B; as in `har_tf.pipeline.clips`.
        training: shuffle, anew in every pass. Off: the order of the stores.
        seed: what the order is drawn from, together with the number of the pass.
        epochs: numbers of the passes to go through, such as `range(3, 20)`; None: the one pass 0.
        skip: batches at the start that were seen before; they are not read.
        reading: "host": this process reads a batch when it is due; "graph": all of a store are read the first time, and
            TensorFlow's operations take them from memory; None: the graph on a TPU.

    Returns:
        A finite `tf.data.Dataset` of known cardinality of (features, int32 (B,) labels), where features are a dict of
        float32 (B, T, C), one a backbone under `features_<backbone>`, as `fusion_gru_head` takes them.

    Raises:
        ValueError: stores of different clips or of the same backbone, no clips, or an argument out of its range.
        DatasetError: the graph is given features that are not what was written; the host raises it when it reads.

    Example:
        >>> train = functools.partial(batches, [googlenet, inception], 32, training=True)
        >>> training.fit(head, train, batches(validation, 32), recipe, "run")
    """
    stores = [stores] if isinstance(stores, FeatureStore) else list(stores)
    _check_stores(stores)
    if not len(stores[0]):
        raise ValueError("there are no features. Received: an empty store")
    labels = tf.constant(stores[0].labels, tf.int32)

    held = [(store.held, tf.constant(store._rows)) for store in stores] if reads_in_graph(reading) else []

    def read(order: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        if held:
            features = [tf.cast(tf.gather(array, tf.gather(rows, order)), tf.float32) for array, rows in held]
        else:
            features = [read_at(store.read, order, tf.float32, store.shape) for store in stores]
        names = (f"features_{store.backbone}" for store in stores)
        return dict(zip(names, features, strict=True)), tf.gather(labels, order)

    return passes(len(stores[0]), read, batch_size, training, seed, epochs, skip)


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


def _digest_of_file(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(
    store: Store,
    prepared: PreparedDataset,
    encoder: keras.Model,
    batch_size: int,
    about: dict,
    beam: Sequence[str] | None,
) -> None:
    """Computes what is missing; `about` is what `features.json` tells beside what comes of the computation."""
    total, frames, dtype = len(prepared), prepared.num_frames, about["dtype"]
    rows = math.prod(prepared.shape) // math.prod(_seen(encoder, prepared))
    array = _Array(store.parts / "features.npy", (total, rows, encoder.output_shape[-1]), dtype)
    # So many clips that their frames fill whole batches: then no run depends on where the one before it ended.
    whole = batch_size // math.gcd(batch_size, rows)
    length = whole * max(1, PART_FRAMES // (whole * frames))
    spans = [(start, min(start + length, total)) for start in range(0, total, length)]
    notes = store.parts / "parts.jsonl"
    listed = _listed(notes, spans)
    parts = {span: part for span, part in listed.items() if part[0] == array.checksums(*span)}
    carried = store.parts / "parts"  # what workers of Beam have written of a run that was killed
    for span in [span for span in spans if span not in parts]:
        if found := _carried(carried, span, array):
            parts[span] = array.write(span[0], found[0]), found[1]
    if carried.exists():
        _list(notes, parts)
    missing = [span for span in spans if span not in parts]
    to_do = [name for start, stop in missing for name in prepared.names[start:stop]]
    what = f"clips of {rows} x {array.shape[2]} {dtype} features"
    store.begin({array.path, notes}, to_do, total, array.clip_bytes, what)
    if missing:
        what, before = f"features of {about['backbone']}", (total - len(to_do)) * frames
        compute = functools.partial(_computed, batch_size=batch_size, dtype=dtype, backbone=about["backbone"])
        if beam is not None:
            compute = functools.partial(_through_beam, compute=compute, folder=carried, array=array, options=beam)
        with progress(what, total * frames, "frames", before) as advance:
            for (start, stop), rounded, seconds in compute(prepared, encoder, missing, advance=advance):
                # A part that is mended took what it took at first: the store is as it was.
                parts[start, stop] = array.write(start, rounded), listed.get((start, stop), (None, seconds))[1]
                _list(notes, parts)
        shutil.rmtree(carried, ignore_errors=True)
    _list(notes, {span: parts[span] for span in spans})
    checksums = list(itertools.chain.from_iterable(parts[span][0] for span in spans))
    np.savez_compressed(store.parts / "index.npz", **prepared.columns, checksum=np.array(checksums, np.uint64))
    about |= {
        "root": str(prepared.root.resolve()),
        "class_names": prepared.class_names,
        "shape": array.shape[1:],
        "seconds": round(sum(seconds for _, seconds in parts.values()), 3),
        "left_out": sorted(relative(skipped.path, prepared.root) for skipped in prepared.skipped),
    }
    array.mend()
    FeatureStore.describe(store.parts, about, {array.path.name: checksum_of_file(array.path)})


def _seen(encoder: keras.Model, prepared: PreparedDataset) -> tuple[int, ...]:
    """The shape of what a network is given: single frames, or clips."""
    return prepared.shape[1:] if len(encoder.input_shape) == 4 else prepared.shape


def _computed(
    prepared: PreparedDataset,
    encoder: keras.Model,
    spans: Sequence[tuple[int, int]],
    batch_size: int,
    dtype: str,
    backbone: str,
    advance: Callable[[int], object],
) -> Iterator[tuple[tuple[int, int], np.ndarray, float]]:
    """Yields for every span of clips (span, their features (clips, T, C) as `dtype`, seconds that it took)."""
    shape = _seen(encoder, prepared)
    rows = math.prod(prepared.shape) // math.prod(shape)
    encode = _compiled(encoder, batch_size)
    with closing(ahead(batch for span in spans for batch in _batches_of(prepared, *span, shape, batch_size))) as coming:
        for start, stop in spans:
            began = time.perf_counter()
            found = []
            for pixels, count in itertools.islice(coming, -(-(stop - start) * rows // batch_size)):
                found.append(np.asarray(encode(pixels), np.float32)[:count])
                advance(count * prepared.num_frames // rows)
            features = np.concatenate(found).reshape(stop - start, rows, -1)
            rounded = _rounded(features, dtype, backbone, prepared.names[start:stop])
            yield (start, stop), rounded, round(time.perf_counter() - began, 3)


def _through_beam(
    prepared: PreparedDataset,
    encoder: keras.Model,
    spans: Sequence[tuple[int, int]],
    advance: Callable[[int], object],
    compute: Callable,
    folder: Path,
    array: _Array,
    options: Sequence[str],
) -> Iterator[tuple[tuple[int, int], np.ndarray, float]]:
    """As `_computed`, by workers of Beam, each of which writes the parts of the store that it computes to `folder`."""
    folder = pipelines.absolute(folder)
    network = save_model(encoder, folder / "network.keras", None)
    part = _Part(folder, network, prepared.path, prepared.root, prepared._rows, compute)
    pipelines.run(folder, part, spans, options, lambda: [file for s in spans if not (file := part.file(s)).exists()])
    for start, stop in spans:
        found = _carried(folder, (start, stop), array)
        if found is None:
            raise OSError(errno.EIO, f"{part.file((start, stop)).name} was written and is damaged", str(folder))
        yield (start, stop), *found
        advance((stop - start) * prepared.num_frames)


@dataclass(frozen=True)
class _Part:
    """What a worker of Beam does with a span of clips; called again, it has network and clips at hand.

    Args:
        folder: where the features go.
        network: file of the network.
        clips, root, rows: which prepared clips.
        compute: `_computed` with its settings.
    """

    folder: Path
    network: Path
    clips: Path
    root: Path
    rows: np.ndarray
    compute: Callable

    @functools.cached_property
    def encoder(self) -> keras.Model:
        return as_here(keras.models.load_model(self.network, compile=False))

    @functools.cached_property
    def prepared(self) -> PreparedDataset:
        if not self.clips.exists():
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(self.clips))
        return replace(PreparedDataset.open(self.clips, self.root), _rows=self.rows)

    def file(self, span: tuple[int, int]) -> Path:
        return self.folder / f"{span[0]}-{span[1]}"

    def __call__(self, span: tuple[int, int]) -> None:
        if self.file(span).exists():
            return
        for _, features, seconds in self.compute(self.prepared, self.encoder, [span], advance=lambda frames: None):
            about = {"checksums": list(map(checksum, features)), "seconds": seconds}
            with whole_file(self.file(span)) as part:
                part.write_bytes(sealed(about) + b"\n" + features.tobytes())


def _carried(folder: Path, span: tuple[int, int], array: _Array) -> tuple[np.ndarray, float] | None:
    """(features, seconds) of a part that a worker of Beam has written; None where there is none, or a damaged one."""
    with suppress(OSError, ValueError, KeyError):
        about, content = (folder / f"{span[0]}-{span[1]}").read_bytes().split(b"\n", 1)
        about = unsealed(about)
        features = np.frombuffer(content, array.dtype).reshape(span[1] - span[0], *array.shape[1:])
        if list(map(checksum, features)) == about["checksums"]:
            return features, about["seconds"]
    return None


def _rounded(features: np.ndarray, dtype: str, backbone: str, names: Sequence[str]) -> np.ndarray:
    """(clips, T, C) as `dtype`, if that holds them."""
    with np.errstate(over="ignore"):
        rounded = features.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(rounded).all(axis=(1, 2)))
    if len(bad):
        clip, name = features[bad[0]], names[bad[0]]
        if np.isfinite(clip).all():
            raise FloatingPointError(
                f"{name}: a feature of {backbone} is {np.abs(clip).max():.6g}, and float16 ends at 65504; use "
                "dtype='float32'"
            )
        raise FloatingPointError(f"{name}: a feature of {backbone} is not a finite number")
    return rounded


class _Array:
    """Where things lie in `features.npy`.

    Args:
        path: the file.
        shape: (clips, T, C).
        dtype: of the numbers.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.clip_bytes = shape[1] * shape[2] * self.dtype.itemsize
        header = io.BytesIO()
        about = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, about)
        self.header = header.getvalue()

    def place(self, clip: int) -> int:
        """Where the numbers of a clip begin."""
        return len(self.header) + clip * self.clip_bytes

    def checksums(self, start: int, stop: int) -> list[int]:
        """Of each of the clips from `start` on, up to `stop`; none where they cannot be read."""
        content = np.empty((stop - start, self.clip_bytes), np.uint8)
        try:
            OpenFiles([self.path]).read_into(content, 0, self.place(start))
        except OSError:
            return []
        return list(map(checksum, content))

    def write(self, start: int, features: np.ndarray) -> list[int]:
        """Writes the features of the clips from `start` on, and returns their checksums once they are on the disk."""
        content = features.tobytes()
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.write(self.header)
            file.seek(self.place(start))
            file.write(content)
        sync(self.path)
        return list(map(checksum, features))

    def mend(self) -> None:
        """Writes what is no clip again: the header, and where the file ends."""
        with self.path.open("r+b") as file:
            file.write(self.header)
            file.truncate(self.place(self.shape[0]))
        sync(self.path)


Parts = dict[tuple[int, int], tuple[list[int], float]]  # (first clip, first of the next) -> (checksums, seconds)


def _listed(notes: Path, spans: Collection[tuple[int, int]]) -> Parts:
    """Of these parts those that an earlier run has listed, see `_list`."""
    parts = {}
    for line in notes.read_bytes().splitlines() if notes.exists() else ():
        with suppress(ValueError, TypeError, KeyError):  # the line is damaged
            part = unsealed(line)
            if tuple(part["span"]) in spans:
                parts[tuple(part["span"])] = part["checksums"], part["seconds"]
    return parts


def _list(notes: Path, parts: Parts) -> None:
    """Lists the parts that are complete, each twice, so that damage to a line costs nothing."""
    lines = [sealed({"span": s, "checksums": sums, "seconds": seconds}) for s, (sums, seconds) in parts.items()]
    with whole_file(notes) as temporary:
        temporary.write_bytes(b"\n".join([*lines, *lines, b""]))


def _batches_of(
    prepared: PreparedDataset, start: int, stop: int, shape: tuple[int, ...], size: int
) -> Iterator[tuple[np.ndarray, int]]:
    """(uint8 (size, *shape), how many of them are frames or clips): the last batch is filled up with black ones."""
    pictures = (picture for row in range(start, stop) for picture in prepared.read([row])[0].reshape(-1, *shape))
    for left in range((stop - start) * math.prod(prepared.shape) // math.prod(shape), 0, -size):
        pixels = np.zeros((size, *shape), np.uint8)
        for place, picture in zip(pixels, itertools.islice(pictures, size), strict=False):
            place[:] = picture
        yield pixels, min(size, left)


def _compiled(encoder: keras.Model, batch_size: int):
    """The network as one compiled function of batches of one size."""
    if keras.backend.backend() != "tensorflow":
        return encoder.predict_on_batch
    run = folded(encoder.inputs[0], encoder.outputs)
    frames = encoder.inputs[0]

    def encode(pixels):
        return tf.cast(run(pixels)[0], tf.float32)

    # On one device it is traced now, so that this is no part of the rate.
    signature = [tf.TensorSpec((batch_size, *frames.shape[1:]), frames.dtype)]
    compiled = devices.shared(encode, signature, devices.of(encoder))
    return lambda pixels: compiled(tf.constant(pixels))
