"""One bit is flipped in what training reads or goes on from.

A store survives if the bit is noticed when its clips are read, by an error in one line that names the file, or if all
that is read is as it was; and if the call that made the store, made again, leaves it as it was to the last byte. In
every second case the store is open already when the bit flips. A training survives if it ends with the weights of an
undisturbed one, or says in one line which folder is damaged.
"""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attacks import programs

STORES = ("prepared", "features", "flow")
RUN = "training"
ERRORS = ("DatasetError",)


@dataclass(frozen=True)
class Flip:
    """One bit: of `kind`, one of `STORES` or `RUN`; `number` draws which; `whole` is sound, `folder` for a copy."""

    kind: str
    number: int
    material: Path
    whole: Path
    folder: Path


def make(kind: str, material: Path, folder: Path) -> None:
    """Fills a folder with a sound store, or with a training that was stopped after two of its three epochs."""
    if kind == RUN:
        _train(folder, stop_after=2)
    else:
        _made(kind, material, folder)


def attempt(flip: Flip) -> str | None:
    """Flips one bit of a copy; returns why what reads it did not survive, None where it did."""
    shutil.rmtree(flip.folder, ignore_errors=True)
    shutil.copytree(flip.whole, flip.folder)
    rng = np.random.default_rng(flip.number)
    files = sorted(
        p for p in flip.folder.rglob("*") if p.is_file() and p.stat().st_size and "tensorboard" not in p.parts
    )
    path = files[int(rng.integers(len(files)))]
    place, bit = int(rng.integers(path.stat().st_size)), int(rng.integers(8))
    opened = None
    if flip.kind != RUN and flip.number % 2:
        opened = _open(flip.kind, flip.folder)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))
    where = f"bit {bit} of byte {place} of {path.relative_to(flip.folder)}"
    fault = _train_on(flip, path) if flip.kind == RUN else _read(flip, path, opened)
    return f"{where}: {fault}" if fault else None


def _read(flip: Flip, path: Path, opened: Any) -> str | None:
    whole = _content(_open(flip.kind, flip.whole))
    try:
        if _content(opened or _open(flip.kind, flip.folder)) != whole:
            return "read without a word"
    except Exception as error:
        if fault := _fault(error, path):
            return fault
    if fault := _trained_on(flip, path, whole):
        return fault
    try:
        again = _content(_made(flip.kind, flip.material, flip.folder))
    except Exception as error:
        return f"made again: {type(error).__name__}: {str(error)[:200]}"
    if again != whole:
        return "made again, and still damaged"
    here, there = programs.snapshot(flip.folder), programs.snapshot(flip.whole)
    if other := sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)):
        return f"made again, not as before: {', '.join(other)}"
    return None


def _trained_on(flip: Flip, path: Path, whole: list) -> str | None:
    """Why the batches of a damaged store are no good; a failure within TensorFlow's graph need only name the file."""
    from har_tf import pipeline
    from har_tf.store import features

    try:
        store = _open(flip.kind, flip.folder)
    except Exception:
        return None  # seen above
    batches = features.batches if flip.kind == "features" else pipeline.clips
    read = []
    try:
        for inputs, _ in batches(store, 4):
            values = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
            read += [clip.astype(store.read([0]).dtype).tobytes() for clip in values.numpy()]
    except Exception as error:
        return None if path.name in str(error) else f"training does not name the file: {str(error)[:200]!r}"
    return None if read == whole[-1] else "trained on without a word"


def _content(store: Any) -> list:
    """All that a store gives."""
    clips = [clip.tobytes() for clip in store.read(range(len(store)))]
    return [store.class_names, store.labels.tolist(), store.groups, store.names, store.shape, clips]


def _fault(error: Exception, path: Path) -> str | None:
    text, told = str(error), f"{type(error).__name__}: {str(error)[:200]!r}"
    if type(error).__name__ not in ERRORS:
        return f"an error of another kind than {', '.join(ERRORS)}: {told}"
    if "\n" in text:
        return f"more than a line: {told}"
    return None if path.name in text or str(path.parent) in text else f"does not name the file: {told}"


def _open(kind: str, folder: Path) -> Any:
    from har_tf.store.features import FeatureStore
    from har_tf.store.flow import FlowClips
    from har_tf.store.prepared import PreparedDataset

    of = {"prepared": PreparedDataset, "features": FeatureStore, "flow": FlowClips}[kind]
    # By its name, as `prepare` finds it, whatever is damaged.
    (place,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    return of.open(place / "1.0.0" if kind == "prepared" else place)


def _made(kind: str, material: Path, folder: Path) -> Any:
    from har_tf import datasets, training
    from har_tf.store import features, flow, shards

    if kind == "prepared":
        shards.SHARD_BYTES = 3 * 4 * 32 * 32 * 3
        return datasets.prepare(datasets.load(material / "videos"), folder, 4, programs.SIZE, workers=0)
    prepared = programs.prepared(material)
    if kind == "flow":
        flow.FILE_BYTES = 3 * 4 * 32 * 32 * 2
        return flow.flow_clips(prepared, folder)
    training.seed_everything(0, deterministic=False)
    features.PART_FRAMES = 12
    return features.extract(prepared, "MobileNet", None, folder, "float32", 4, frame_size=32)


def _train(folder: Path, stop_after: int | None = None) -> list[bytes]:
    """Trains a small network for three epochs; returns its weights."""
    import keras
    import tensorflow as tf

    from har_tf import training

    training.seed_everything(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.Dense(3, activation="softmax")])
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(24, 8)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((clips, np.argmax(clips[:, :3], axis=1))).batch(8)
    ends = training._State.on_epoch_end

    def end(self, epoch, logs=None):
        ends(self, epoch, logs)
        if epoch + 1 == stop_after:
            raise KeyboardInterrupt

    training._State.on_epoch_end = end
    try:
        with suppress(KeyboardInterrupt):
            training.fit(model, data, data, training.TrainingRecipe(epochs=3, learning_rate=0.05), folder, verbose=0)
    finally:
        training._State.on_epoch_end = ends
    return [weight.tobytes() for weight in model.get_weights()]


def _train_on(flip: Flip, path: Path) -> str | None:
    try:
        trained = _train(flip.folder)
    except Exception as error:
        text = str(error)
        told = f"{type(error).__name__}: {text[:200]!r}"
        if not isinstance(error, ValueError) or "\n" in text or not (path.name in text or str(flip.folder) in text):
            return f"an error that is no ValueError of one line with the file: {told}"
        return None
    return None if trained == _undisturbed() else "ends with other weights, without a word"


@cache
def _undisturbed() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return _train(Path(folder))
