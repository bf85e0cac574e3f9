"""Are stored features computed as fast as the network runs, and how much quicker is training on them?

    python -m benchmarks.features --out features.json     # 6 min on two idle cores
    python -m benchmarks.features --videos UCF-101 --weights-dir W

Prepares the videos of a folder, or of the embedded data set, and lets ways to compute the same features take turns:
`har_tf.store.features.extract`, a loop of `predict` on one frame at a time (some of the frames), `predict` on the clips
as they are read, in batches, and, for reference, the compiled network alone on frames in memory. First shows that they
agree. What is done once, building and compiling the network, is left out for all.

Then trains the GRU layers on stored features, and the same layers with their networks end to end from frames, both by
`training.fit`. The clips of one batch do not fit into memory with two networks, so end to end is measured on smaller
batches: what the networks take is proportional to the clips, and is added to what the GRU layers take.

Last computes and reads the features of synthetic clips, and of ten times as many, each in a fresh process, and prints
how far its memory grew.

Aims: at least 1.0 times as fast as `predict` in batches; an epoch from the store at least 100 times as fast as end to
end; the same memory for ten times the clips.
"""

import functools
import json
import math
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro

from har_tf import datasets, quiet
from har_tf.datasets import ActionDataset, PreparedDataset, VideoRecord
from har_tf.files.workers import available_cores


@dataclass(frozen=True)
class Options:
    videos: Path | None = None  # folder of class folders of videos; None: the embedded data set
    clips: int = 32  # the first so many of them
    backbone: str = "GoogLeNet"  # whose features are computed
    weights_dir: Path | None = None  # folder with its published weights; None: random ones
    num_frames: int = 10
    batch_size: int = 32  # frames that the network sees at once
    single_frames: int = 48  # that are computed one at a time
    repeats: int = 3
    # Networks that are fused, joined by "+": training is measured for each.
    fused: tuple[str, ...] = ("GoogLeNet+InceptionResNetV2", "GoogLeNet+MobileNetV2")
    gru_units: tuple[int, ...] = (1000, 1000)
    training_batch: int = 16  # clips
    training_clips: int = 160  # in an epoch from the store
    end_to_end_batch: int = 2  # clips
    end_to_end_steps: int = 1  # in an epoch end to end
    epoch_clips: int = 9537  # the epoch that times are given for: the training clips of UCF101's split 1
    memory_clips: int = 100  # and ten times as many
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    quiet.import_tensorflow()
    figures = {"options": {key: str(value) for key, value in asdict(options).items()}}
    figures |= {"cores": available_cores(), "machine": platform.processor() or platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        figures["extraction"] = _extraction(options, Path(folder))
    figures["training"] = {}
    for fused in options.fused:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            figures["training"][fused] = process.submit(_training, fused.split("+"), options).result()
    figures["memory"] = _memory(options)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def _extraction(options: Options, folder: Path) -> dict:
    import keras

    from har_tf.models import backbones
    from har_tf.models.fusion_gru import frame_encoder, frame_size_of
    from har_tf.store.features import extract

    dataset = datasets.load("figures" if options.videos is None else options.videos)
    side = frame_size_of(options.backbone)
    prepared = datasets.prepare(
        dataset.subset(dataset.records[: options.clips]), folder, options.num_frames, (side, side), fit="crop"
    )
    keras.utils.set_random_seed(0)
    if options.weights_dir is None:
        network = frame_encoder(options.backbone, side)
        _let_through(network, prepared)
        weights = folder / "start.weights.h5"
        _save(network, options.backbone, side, weights)
    else:
        weights = backbones.find_weights(options.backbone, options.weights_dir)
        network = frame_encoder(options.backbone, side, weights)
    pixels = prepared.read(range(len(prepared))).reshape(-1, side, side, 3)
    few = pixels[: options.single_frames]
    runs = iter(range(10**6))

    # Each gives features, and the seconds that they took.
    def ours():
        store = extract(prepared, options.backbone, weights, folder / f"run{next(runs)}", "float32", options.batch_size)
        return store.read(range(len(store))).reshape(len(pixels), -1), store.seconds

    def predict_as_read():
        start, features = time.perf_counter(), []
        for first in range(0, len(prepared), options.batch_size):  # whole batches of frames
            clips = prepared.read(range(first, min(first + options.batch_size, len(prepared))))
            frames = clips.reshape(-1, side, side, 3)
            features.append(network.predict(frames, batch_size=options.batch_size, verbose=0))
        return np.concatenate(features), time.perf_counter() - start

    def predict_singly():
        start = time.perf_counter()
        features = [network.predict(frame[None], verbose=0) for frame in few]
        return np.concatenate(features), time.perf_counter() - start

    size = min(options.batch_size, len(pixels))
    alone = _compiled(network, size)

    def network_alone():
        batches = pixels[: len(pixels) // size * size].reshape(-1, size, side, side, 3)
        start = time.perf_counter()
        features = [alone(batch).numpy() for batch in batches]
        return np.concatenate(features), time.perf_counter() - start

    contestants = {
        "har_tf": ours,
        "predict, in batches": predict_as_read,
        "predict, frame by frame": predict_singly,
        "network alone, frames in memory": network_alone,
    }
    expected = contestants["predict, in batches"]()[0]
    for name, run in contestants.items():  # compiles, too
        features = run()[0]
        difference = float(np.abs(features - expected[: len(features)]).max() / np.abs(expected).max())
        if not difference < 1e-3:
            raise AssertionError(
                f"{name}: features differ by {difference:.2g} of the largest; times would mean nothing"
            )
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.repeats):
        for name, run in contestants.items():
            features, seconds = run()
            rates[name].append(len(features) / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        f"har_tf / {name}": statistics.median(a / b for a, b in zip(rates["har_tf"], rates[name], strict=True))
        for name in contestants
        if name != "har_tf"
    }
    print(f"features of {options.backbone}, {len(pixels)} frames of {side} x {side}")
    for name, rate in medians.items():
        print(f"  {name:34s} {rate:8.1f} frames/s")
    for name, ratio in ratios.items():
        print(f"  {name:44s} {ratio:6.2f}{' (aim: 1.0 or more)' if 'batches' in name else ''}", flush=True)
    return {"frames": len(pixels), "frames_per_s": medians, "ratios": ratios}


def _let_through(network, prepared: PreparedDataset) -> None:
    """Sets running statistics from real frames: through random weights nothing else would get to the end."""
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable, layer.momentum = True, 0.0
    frames = prepared.read(range(min(4, len(prepared))))
    network(frames.reshape(-1, *frames.shape[2:]), training=True)


def _save(network, backbone: str, side: int, path: Path) -> None:
    """Writes the weights as a file of the network that `extract` takes."""
    from har_tf.models import backbones

    plain = backbones.find(backbone).build(include_top=False, weights=None, input_shape=(side, side, 3))
    plain.set_weights(network.get_weights())
    plain.save_weights(path)


def _compiled(network, batch_size: int):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *network.input_shape[1:]), tf.uint8)])
    def run(frames):
        return network(frames, training=False)

    return run


def _training(names: list[str], options: Options) -> dict:
    """Seconds of a training epoch from the store and end to end."""
    quiet.import_tensorflow()
    from har_tf import pipeline, training
    from har_tf.models.fusion_gru import frame_size_of, fusion_gru, fusion_gru_head
    from har_tf.store import features

    classes, size = 101, max(frame_size_of(name) for name in names)
    head = {"num_classes": classes, "gru_units": options.gru_units}
    training.seed_everything(0)
    with tempfile.TemporaryDirectory() as folder:
        # Features of small frames have the same shape, and take less time to compute.
        many = _noise(options.training_clips, classes)
        small = datasets.prepare(many, folder, options.num_frames, (75, 75), workers=0)
        stores = [features.extract(small, name, None, folder, frame_size=75) for name in names]
        clips = options.end_to_end_batch * options.end_to_end_steps
        large = datasets.prepare(_noise(clips, classes), folder, options.num_frames, (size, size), workers=0)

        def step(make_model, batches, run: str) -> float:
            """Median seconds of a step in the epochs after the first, which compiles."""
            recipe = training.TrainingRecipe(epochs=3)
            history = training.fit(make_model(), batches, None, recipe, Path(folder) / run, verbose=0)
            steps = int(batches(epochs=range(1)).cardinality())
            return statistics.median(history.epochs["seconds"][1:]) / steps

        def from_store():
            sizes = {store.backbone: store.shape[1] for store in stores}
            return fusion_gru_head(options.num_frames, sizes, **head)

        def from_frames():
            shape = (options.num_frames, size, size, 3)
            return fusion_gru(shape, backbones=names, backbone_trainable=True, **head)

        def stored(batch_size, clips=None):
            part = stores if clips is None else [store.subset(many.records[:clips]) for store in stores]
            return functools.partial(features.batches, part, batch_size, training=True)

        few = options.end_to_end_batch
        stored_step = step(from_store, stored(options.training_batch), "store")
        stored_few = step(from_store, stored(few, 16 * few), "few")
        framed_few = step(from_frames, functools.partial(pipeline.clips, large, few, training=True), "frames")
    framed_step = (framed_few - stored_few) * options.training_batch / few + stored_step
    steps = math.ceil(options.epoch_clips / options.training_batch)
    ratio = framed_step / stored_step
    print(f"training on {' and '.join(names)}, GRU {options.gru_units}, {options.training_batch} clips a step")
    for name, seconds in (("from the store", stored_step), ("end to end", framed_step)):
        print(f"  {name:14s} {seconds:8.3f} s a step, {seconds * steps / 60:8.1f} min an epoch of {steps} steps")
    print(f"  (end to end, {few} clips a step take {framed_few:.3f} s, of which the GRU layers take {stored_few:.3f})")
    print(f"  from the store {ratio:.0f} times as fast (aim: 100 or more)", flush=True)
    return {
        "seconds_a_step": {"from the store": stored_step, "end to end": framed_step},
        "measured": {"clips a step": few, "from the store": stored_few, "end to end": framed_few},
        "steps": steps,
        "ratio": ratio,
    }


@dataclass(frozen=True, eq=False)
class _Noise(VideoRecord):
    """A record that makes its clip up, so that many can be measured without their videos."""

    def read(
        self, num_frames=10, size=(128, 192), sampling="uniform", short="repeat_last", threads=None, fit="stretch"
    ):
        rng = np.random.default_rng(int(self.path.name))
        return rng.integers(0, 256, (num_frames, *size, 3), np.uint8)

    def content(self):
        return ""


def _noise(clips: int, classes: int) -> ActionDataset:
    records = tuple(_Noise(Path(str(number)), number % classes) for number in range(clips))
    return ActionDataset("noise", Path(), records, tuple(map(str, range(classes))))


def _memory(options: Options) -> dict:
    """Growth of the peak memory of a process that computes and reads the features of this many clips, in MB."""
    growth = {}
    for clips in (options.memory_clips, 10 * options.memory_clips):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            growth[clips] = process.submit(_grow, clips, options).result()
        computed, read = growth[clips]["extract_mb"], growth[clips]["read_mb"]
        print(
            f"{clips:6d} clips: memory grows by {computed:.0f} MB in computing features, then {read:.0f} MB in reading",
            flush=True,
        )
    return growth


def _grow(count: int, options: Options) -> dict:
    quiet.import_tensorflow()
    from har_tf.store import features

    def stored(prepared):
        return features.extract(prepared, "MobileNetV2", None, folder, batch_size=options.batch_size, frame_size=32)

    def read(store):
        for _ in features.batches(store, options.training_batch, training=True, epochs=range(2)):
            pass

    with tempfile.TemporaryDirectory() as folder:
        dataset = _noise(count, 2)
        prepared = datasets.prepare(dataset, folder, options.num_frames, (64, 64), workers=0)
        read(stored(prepared.subset(dataset.records[:60])))  # what is needed for any number of clips
        peaks = [_peak()]
        store = stored(prepared)
        peaks.append(_peak())
        read(store)
        peaks.append(_peak())
    return {"extract_mb": peaks[1] - peaks[0], "read_mb": peaks[2] - peaks[1], "peak_mb": peaks[2]}


def _peak() -> float:
    """Peak resident memory in MB. Not `getrusage`: there a child starts with the peak of its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the peak memory of a process is read from /proc/self/status, which is not here")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(tyro.cli(Options, description=__doc__))
