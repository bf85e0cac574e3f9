"""What does preparing clips bring, and does memory stay flat?

    python -m benchmarks.pipeline --videos UCF-101 --out pipeline.json     # 3 min on two cores for 260 videos
    python -m benchmarks.pipeline                                          # videos made on the spot

Prepares the videos of a folder, then lets passes over the clips take turns: from the prepared data, shuffled, with
every augmentation, and read by operations of the graph as for a TPU; by decoding the videos in the same pipeline on
all cores and in a plain loop of `read_clip`; the shards read from end to end into one small buffer, which is as fast
as bytes come from the (cached) disk; and the clips read in any order into batches that are kept as long as a pipeline
keeps them, in one thread and without checksums. Prints medians of clips a second, and of the ratios within a repeat.
Then prepares and feeds synthetic clips, and ten times as many, each in a fresh process, and prints how far its memory
grew.

Aims: at least 30 times as fast as decoding; at least 1,500 clips a second of 10x128x192x3 on two idle cores,
or half of reading the bytes into batches; the same memory for ten times the clips.
"""

import json
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
from har_tf.video import read_clip, write_video


@dataclass(frozen=True)
class Options:
    videos: Path | None = None  # folder of class folders of videos; None: 32 of 180 frames are made
    num_frames: int = 10
    size: tuple[int, int] = (128, 192)
    batch_size: int = 8
    repeats: int = 5
    fed: int = 10_000  # prepared clips in a repeat, in as many passes as that takes
    memory_clips: int = 200  # and ten times as many
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    quiet.import_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        figures = _speed(options, Path(folder))
    figures["memory"] = _memory(options)
    figures |= {
        "options": {key: str(value) for key, value in asdict(options).items()},
        "cores": available_cores(),
        "machine": platform.processor() or platform.machine(),
    }
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def _speed(options: Options, folder: Path) -> dict:
    from har_tf.pipeline import Augment, clips

    dataset = datasets.load(_made(folder / "videos") if options.videos is None else options.videos)
    start = time.perf_counter()
    prepared = datasets.prepare(dataset, folder / "prepared", options.num_frames, options.size)
    seconds = time.perf_counter() - start
    print(f"prepared {len(prepared)} clips, {len(prepared) / seconds:.1f} a second")

    dataset = dataset.subset(r for r in dataset.records if r.path in set(prepared.record_paths))
    every = Augment(0.5, 0.5, 0.1, 1, 0.2, 0.2, 0.2, 0.05)
    passes = -(-options.fed // len(prepared))
    order = {"batch_size": options.batch_size, "training": True}
    once = {"batch_size": options.batch_size, "num_frames": options.num_frames, "size": options.size}
    # Each gives the number of clips it went through.
    contestants = {
        "prepared": lambda: _count(clips(prepared, **order, epochs=range(passes))),
        "prepared, augmented": lambda: _count(clips(prepared, **order, augment=every)),
        "prepared, by the graph": lambda: _count(clips(prepared, **order, epochs=range(passes), reading="graph")),
        "bytes": lambda: sum(_read_bytes(prepared) for _ in range(passes)),
        "bytes into batches": lambda: sum(_read_batches(prepared, options.batch_size) for _ in range(passes)),
        "decoded in the pipeline": lambda: _count(clips(dataset, **once)),
        "decoded in a loop": lambda: _read_clips(dataset, options),
    }
    contestants["prepared"]()  # the files are in the cache from here on
    start = time.perf_counter()
    _ = prepared.in_graph
    checked = len(prepared) / (time.perf_counter() - start)
    print(f"checked before the graph reads: {checked:.0f} clips/s")
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            count = run()
            rates[name].append(count / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        f"prepared / {name}": statistics.median(
            ours / peer for ours, peer in zip(rates["prepared"], rates[name], strict=True)
        )
        for name in contestants
        if not name.startswith("prepared") or name.endswith("graph")
    }
    for name, rate in medians.items():
        print(f"{name:28s} {rate:8.1f} clips/s")
    for name, ratio in ratios.items():
        print(f"{name:36s} {ratio:8.2f}")
    return {"clips": len(prepared), "prepare_clips_per_s": len(prepared) / seconds} | {
        "checked_clips_per_s": checked,
        "clips_per_s": medians,
        "ratios": ratios,
    }


def _count(batches) -> int:
    return sum(len(labels) for _, labels in batches)


def _read_bytes(prepared: PreparedDataset) -> int:
    buffer = bytearray(2**22)
    for shard in sorted(prepared.path.glob("*.tfrecord*")):
        with shard.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return len(prepared)


def _read_batches(prepared: PreparedDataset, batch_size: int) -> int:
    """In any order, as batches are; three of them are kept: one is looked at, and two wait."""
    kept = [np.empty((batch_size, *prepared.shape), np.uint8) for _ in range(3)]
    order = np.random.default_rng(0).permutation(len(prepared))
    for number, start in enumerate(range(0, len(order), batch_size)):
        for clip, row in zip(kept[number % 3], order[start : start + batch_size].tolist(), strict=False):
            prepared._read_into(clip, row)
    return len(order)


def _read_clips(dataset: ActionDataset, options: Options) -> int:
    for record in dataset.records:
        read_clip(record.path, options.num_frames, options.size)
    return len(dataset)


def _made(root: Path, videos: int = 32, frames: int = 180, size: tuple[int, int] = (240, 320)) -> Path:
    """Writes videos of a textured scene that moves, of two classes."""
    height, width = size
    for number in range(videos):
        folder = root / ("left", "right")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        scene = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8 + frames, 3), np.uint8)
        scene = scene.repeat(8, axis=0).repeat(8, axis=1)
        steps = range(frames) if number % 2 else range(frames)[::-1]
        write_video(folder / f"v_{number:03d}.mp4", (scene[:, 4 * x : 4 * x + width] for x in steps), fps=25)
    return root


@dataclass(frozen=True, eq=False)
class _Noise(VideoRecord):
    """A record that makes its clip up, so that the memory of many can be measured without their videos."""

    def read(self, num_frames=10, size=(128, 192), **_):
        rng = np.random.default_rng(int(self.path.name))
        return rng.integers(0, 256, (num_frames, *size, 3), np.uint8)

    def content(self):
        return ""


def _memory(options: Options) -> dict:
    """Growth of the peak memory of a process that prepares and feeds this many clips, in MB."""
    growth = {}
    for clips in (options.memory_clips, 10 * options.memory_clips):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            growth[clips] = process.submit(_grow, clips, options).result()
        prepare, feed = growth[clips]["prepare_mb"], growth[clips]["feed_mb"]
        print(f"{clips:6d} clips: memory grows by {prepare:.0f} MB in preparing, then {feed:.0f} MB in feeding")
    return growth


def _grow(count: int, options: Options) -> dict:
    quiet.import_tensorflow()
    from har_tf.pipeline import clips

    records = tuple(_Noise(Path(str(number)), number % 2) for number in range(count))
    dataset = ActionDataset("noise", Path(), records, ("even", "odd"))
    with tempfile.TemporaryDirectory() as folder:
        few = datasets.prepare(dataset.subset(records[:16]), folder, options.num_frames, options.size, workers=0)
        _count(clips(few, options.batch_size, training=True))  # what is needed for any number of clips
        peaks = [_peak()]
        prepared = datasets.prepare(dataset, folder, options.num_frames, options.size, workers=0)
        peaks.append(_peak())
        _count(clips(prepared, options.batch_size, training=True, epochs=range(2)))
        peaks.append(_peak())
    return {"prepare_mb": peaks[1] - peaks[0], "feed_mb": peaks[2] - peaks[1], "peak_mb": peaks[2]}


def _peak() -> float:
    """Peak resident memory in MB. Not `getrusage`: there a child starts with the peak of its parent."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the peak memory of a process is read from /proc/self/status, which is not here")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(tyro.cli(Options, description=__doc__))
