"""How long does preparing a data set take, and how many bytes does it make?

    python -m benchmarks.prepare --videos UCF-101 --long kinetics/a.mp4 kinetics/b.mp4     # 4 min on two cores
    python -m benchmarks.prepare                                                           # videos made on the spot

Prepares the videos in one process, and with two decoding processes, in turns, and prints clips a second as medians.
What a run takes to start is measured with a few videos and taken off. Two kinds of videos are measured: those of a
folder, to stand for UCF101's (320x240 XviD, 7 s), and copies of a few long ones, to stand for Kinetics' (H.264, 10 s,
shorter side 256).

Then three limits: how many clips a second the one process that writes takes in when decoding costs nothing, how fast
the disk takes bytes, and how long a fresh process needs before it begins. From these it prints how long UCF101 and
Kinetics-400 would take on 1, 8 and 256 cores. The assumptions: a clip takes the decoding time of the measured ones;
cores are like these, and add up, less what two processes lost against twice one; up to 8 cores are one machine, with
one process that writes; 256 are a cluster under Apache Beam, where a core takes a whole shard at a time, onto a disk
that is as fast as it must be. That speed is printed too.
"""

import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from har_tf import datasets, quiet
from har_tf.datasets import ActionDataset, VideoRecord
from har_tf.files.workers import available_cores, outcomes
from har_tf.store.shards import ClipSettings, shard_length, shards_of, write_shard
from har_tf.video import write_video

COLLECTIONS = {"UCF101": ("folder", 13_320), "Kinetics-400": ("long", 260_000)}
FEW = 4  # videos of the run that tells what starting takes
MACHINE = 8  # cores
CLUSTER = 256  # cores


@dataclass(frozen=True)
class Options:
    """What to measure."""

    videos: Path | None = None
    """Folder of class folders of videos. None: 32 of 180 frames are made."""
    long: tuple[Path, ...] = ()
    """Videos like those of Kinetics. None given: two of 340x256 and 300 frames are made."""
    copies: int = 100
    """Number of long videos; those given are taken again and again."""
    num_frames: int = 10
    size: tuple[int, int] = (128, 192)
    """Height and width of a clip."""
    repeats: int = 3
    folder: Path | None = None
    """Where to write, on the disk that is to be measured. None: the system's temporary folder."""
    out: Path | None = None
    """JSON file for the figures."""


def main(options: Options) -> dict:
    quiet.import_tensorflow()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        videos = options.videos or _made(folder / "made", 32, (240, 320), 180)
        chosen = options.long or sorted(_made(folder / "long_made", 2, (256, 340), 300).glob("*/*"))
        kinds = {"folder": datasets.load(videos), "long": _copies(folder / "long", chosen, options.copies)}
        figures = {kind: _speed(dataset, folder / "out", options) for kind, dataset in kinds.items()}
        clip_bytes = ClipSettings(options.num_frames, tuple(options.size), "uniform", "repeat_last").clip_bytes
        limits = {
            "writer_clips_per_second": _writer(kinds["long"], folder / "writer", options),
            "disk_bytes_per_second": _disk(folder / "disk"),
            "import_seconds": _import(),
        }
    print(f"one process writes    {limits['writer_clips_per_second']:7.0f} clips/s when decoding costs nothing")
    print(f"the disk takes        {limits['disk_bytes_per_second'] / 1e6:7.0f} MB/s")
    print(f"a process begins after {limits['import_seconds']:6.1f} s")
    estimates = _estimates(figures, limits, clip_bytes)
    found = {"kinds": figures, "limits": limits, "estimates": estimates, "clip_bytes": clip_bytes}
    found |= {"cores": available_cores(), "machine": platform.processor() or platform.machine()}
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _made(folder: Path, count: int, size: tuple[int, int], frames: int) -> Path:
    """A folder of two classes of videos: a picture that moves, with a little noise, as cameras have it."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / "ab"[number % 2] / f"{number:03d}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = np.kron(rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8), np.ones((8, 9, 1), np.uint8))
        picture = np.pad(picture, ((0, size[0]), (0, size[1]), (0, 0)), mode="wrap")[: size[0], : size[1]]
        noise = rng.integers(0, 8, (frames, *size, 1), np.uint8)
        write_video(place, (np.roll(picture, t, axis=1) // 2 + noise[t] for t in range(frames)), fps=30, keyint=250)
    return folder


def _copies(folder: Path, videos: tuple[Path, ...] | list[Path], count: int) -> ActionDataset:
    """A data set of links to the videos, so many that there is something to measure."""
    folder.mkdir()
    records = []
    for number in range(count):
        video = videos[number % len(videos)]
        link = folder / f"{number:04d}{video.suffix}"
        link.symlink_to(video.resolve())
        records.append(VideoRecord(link, number % 2))
    return ActionDataset("long", folder, tuple(records), ("a", "b"))


def _speed(dataset: ActionDataset, out: Path, options: Options) -> dict:
    few = dataset.subset(dataset.records[:: max(1, len(dataset) // FEW)][:FEW])
    _prepared(few, out, 0, options)  # what is only read once, such as TensorFlow Datasets
    rates: dict[int, list[float]] = {1: [], 2: []}
    starts = []
    for _ in tqdm(range(options.repeats), desc="measuring", disable=None):
        for processes, measured in rates.items():
            workers = 0 if processes == 1 else processes
            start, _ = _prepared(few, out, workers, options)
            whole, size = _prepared(dataset, out, workers, options)
            measured.append((len(dataset) - len(few)) / (whole - start))
        starts.append(start)
    one, two = (statistics.median(rates[processes]) for processes in (1, 2))
    efficiency = statistics.median(b / (2 * a) for a, b in zip(rates[1], rates[2], strict=True))
    print(f"{len(dataset)} {dataset.name} videos: {size / len(dataset):,.0f} bytes a clip")
    for processes, measured in rates.items():
        each = ", ".join(f"{rate:.1f}" for rate in measured)
        print(f"  {processes} process(es)   {statistics.median(measured):7.1f} clips/s   ({each})")
    print(f"  efficiency of two   {efficiency:6.2f}")
    return {
        "videos": len(dataset),
        "bytes_per_clip": size / len(dataset),
        "clips_per_second": {"1": one, "2": two},
        "all": {str(processes): measured for processes, measured in rates.items()},
        "efficiency": efficiency,
        "start_seconds": max(0.0, statistics.median(starts) - len(few) / two),
    }


def _prepared(dataset: ActionDataset, out: Path, workers: int, options: Options) -> tuple[float, int]:
    """(seconds, bytes) of preparing."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    prepared = datasets.prepare(dataset, out, options.num_frames, options.size, workers=workers)
    seconds = time.perf_counter() - start
    if prepared.skipped:
        raise ValueError(
            f"{prepared.skipped[0].path}: cannot be read, so nothing is measured: {prepared.skipped[0].reason}"
        )
    return seconds, sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def _writer(dataset: ActionDataset, folder: Path, options: Options) -> float:
    """Clips a second through the processes and onto the disk, if decoding were free."""
    settings = ClipSettings(options.num_frames, tuple(options.size), "uniform", "repeat_last")
    many = dataset.subset(dataset.records * -(-1000 // len(dataset)))
    folder.mkdir()
    shards = shards_of(many, settings, folder, folder, {})
    shape = (settings.num_frames, *settings.size, 3)
    with closing(outcomes(_blank, (shape for _ in many.records), 2)) as clips:
        first = next(clips)  # the processes have started
        start = time.perf_counter()
        clips_again = itertools.chain([first], clips)
        for shard in shards:
            write_shard(shard, clips_again)
        return (len(many) - 1) / (time.perf_counter() - start)


def _blank(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def _disk(path: Path, size: int = 2**30) -> float:
    """Bytes a second that arrive on the disk."""
    piece = np.random.default_rng(0).bytes(2**24)
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return size / (time.perf_counter() - start)


def _import() -> float:
    """Seconds until a fresh process has imported what it writes with."""
    start = time.perf_counter()
    code = "import tensorflow, tensorflow_datasets, har_tf.datasets"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def _estimates(figures: dict, limits: dict, clip_bytes: int) -> list[dict]:
    """The table of the documentation."""
    print("\n| data set | clips | bytes | 1 core | 8 cores, one machine | 256 cores, Beam | written then |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name, (kind, clips) in COLLECTIONS.items():
        measured = figures[kind]
        one, efficiency = measured["clips_per_second"]["1"], min(1.0, measured["efficiency"])
        ceiling = min(limits["writer_clips_per_second"], limits["disk_bytes_per_second"] / measured["bytes_per_clip"])
        seconds = {
            cores: limits["import_seconds"] + clips / min(one * cores * (1 if cores == 1 else efficiency), ceiling)
            for cores in (1, MACHINE)
        }
        length = shard_length(clips, clip_bytes)
        shards = -(-clips // length)
        # A decoding process is started for every shard.
        shard_seconds = measured["start_seconds"] + length / (one * efficiency)
        seconds[CLUSTER] = limits["import_seconds"] + -(-shards // CLUSTER) * shard_seconds
        row = {
            "name": name,
            "clips": clips,
            "shards": shards,
            "bytes": clips * measured["bytes_per_clip"],
            "seconds": {str(cores): value for cores, value in seconds.items()},
            "bytes_per_second": min(CLUSTER, shards) * length * clip_bytes / shard_seconds,
        }
        rows.append(row)
        times = " | ".join(_duration(value) for value in seconds.values())
        written = f"{row['bytes_per_second'] / 1e9:.1f} GB/s"
        print(f"| {name} | {clips:,} | {row['bytes'] / 1e9:.1f} GB | {times} | {written} |")
    return rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
