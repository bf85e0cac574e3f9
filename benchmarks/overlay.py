"""Is painting an overlay quick beside decoding and encoding its video, and is memory flat?

    python -m benchmarks.overlay --out overlay.json

Draws a moving scene at 1080p and makes, by turns, the frames of its overlay: as `har_tf.explain.save_overlay` does
(caption, clip, overlay), with the arithmetic of pytorch-grad-cam's `show_cam_on_image` (NumPy, the whole map resized
and coloured for every frame; no caption) in place of ours, and plainly as two copies side by side. Decoding is in all
three; encoding, whose time hangs on the picture, is measured apart. Prints medians in frames a second, and the peak
memory of processes that write short and long videos. Aims: faster than the second, and four times the frames within a
tenth of the memory.
"""

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro


@dataclass(frozen=True)
class Options:
    frames: int = 60
    size: tuple[int, int] = (1080, 1920)
    clip: tuple[int, int, int] = (16, 224, 224)  # frames, height and width that the model sees
    repeats: int = 3
    longer: int = 4  # how many times the frames, for the measure of memory
    out: Path | None = None  # JSON file for the figures


def main(options: Options) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = scene(folder / "scene.mp4", options.frames, options.size)
        contestants = {"har_tf": ours, "show_cam_on_image": published, "two copies": plain}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(options.repeats + 1):  # the first warms up
            for name, frames_of in contestants.items():
                begin = time.perf_counter()
                for _ in frames_of(video, options.frames, options.clip):
                    pass
                if turn:
                    seconds[name].append(time.perf_counter() - begin)
        rates = {name: options.frames / statistics.median(each) for name, each in seconds.items()}
        begin = time.perf_counter()
        written(video, folder / "out.mp4", options.frames, options.clip)
        rates["har_tf, encoded and read back"] = options.frames / (time.perf_counter() - begin)
        long = scene(folder / "long.mp4", options.longer * options.frames, options.size)
        peaks = {
            count: _peak(path, folder / "out.mp4", count, options.clip)
            for path, count in ((video, options.frames), (long, options.longer * options.frames))
        }
    for name, rate in rates.items():
        print(f"{name:>30}: {rate:6.1f} frames/s at {options.size[0]}p")
    for count, peak in peaks.items():
        print(f"{count:>23} frames: at most {peak / 2**20:.0f} MiB")
    figures = {"options": asdict(options), "frames_per_second": rates, "peak_bytes": peaks}
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=2, default=str) + "\n")
    return figures


def scene(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A video of something that moves over smooth noise."""
    from har_tf.video import write_video

    noise = np.random.default_rng(0).integers(0, 256, (size[0] // 120, size[1] // 60, 3), dtype=np.uint8)
    wide = cv2.resize(noise, (2 * size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return write_video(path, (wide[:, 8 * (t % 100) :][:, : size[1]] for t in range(frames)), fps=25)


def explained(frames: int, clip: tuple[int, int, int]):
    """A map that moves, and which frames of the video it belongs to."""
    from har_tf.explain import Explanation
    from har_tf.video import frame_indices

    rows, columns = np.mgrid[: clip[1], : clip[2]] / clip[1]
    maps = np.stack([np.exp(-20 * ((rows - 0.5) ** 2 + (columns - t / clip[0]) ** 2)) for t in range(clip[0])])
    one = np.ones(1, "float32")
    settings = {"tap": "mixed_4f", "normalize": "clip"}
    maps = maps[None].astype("float32")
    found = Explanation(maps, maps[:, :, ::16, ::16], one.astype("int64"), one, one, "Grad-CAM", settings)
    return found, frame_indices(frames, clip[0])


def written(video: Path, out: Path, frames: int, clip: tuple[int, int, int]) -> None:
    from har_tf.explain import Sampled, save_overlay

    explanation, sampled = explained(frames, clip)
    save_overlay(out, Sampled(video, sampled, clip[1:]), explanation, title="scene")


def ours(video: Path, frames: int, clip: tuple[int, int, int]) -> Iterator:
    from har_tf.explain import Sampled
    from har_tf.explain.overlay import over_video

    explanation, sampled = explained(frames, clip)
    return over_video(Sampled(video, sampled, clip[1:]), explanation, title="scene")


def published(video: Path, frames: int, clip: tuple[int, int, int]) -> Iterator:
    from har_tf.video.reader import play

    explanation, sampled = explained(frames, clip)
    for number, (frame, _) in enumerate(play(video)):
        mask = cv2.resize(explanation.maps[0, np.abs(sampled - number).argmin()], frame.shape[1::-1])
        heat = np.float32(cv2.applyColorMap(np.uint8(255 * mask), cv2.COLORMAP_JET)[..., ::-1]) / 255
        both = 0.5 * heat + 0.5 * np.float32(frame) / 255
        yield np.concatenate([frame, np.uint8(255 * both / both.max())], axis=1)


def plain(video: Path, frames: int, clip: tuple[int, int, int]) -> Iterator:
    from har_tf.video.reader import play

    for frame, _ in play(video):
        yield np.concatenate([frame, frame], axis=1)


def _peak(*arguments) -> int:
    """Most memory, in bytes, of a process that writes an overlay."""
    context = multiprocessing.get_context("spawn")
    found = context.SimpleQueue()
    child = context.Process(target=_measured, args=(found, *arguments))
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"the process that was measured ended with {child.exitcode}")
    return found.get()


def _measured(found, *arguments) -> None:
    written(*arguments)
    found.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(tyro.cli(Options))
