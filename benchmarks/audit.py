"""Does the audit find copies, and only copies, and how long does it take for all of UCF101?

    python -m benchmarks.audit UCF-101 --clips 40     # two minutes on two cores, for 260 videos

Copies of some videos of a folder of class folders are made: encoded anew, scaled, brighter, mirrored, cut at the
beginning or the end, at 30 frames a second, cropped. Every copy is then searched among the originals: how many are
found, at which distance, and how many pairs are reported of clips that have nothing to do with each other (of other
classes, or of other groups of one class, by the names). A pair that is reported among the originals themselves is
named, for somebody to look at: it may be a copy that the names hide, and is not counted against the copies. So is the
nearest pair that is not reported.

The second part compares as many clips as UCF101 has, of 29 random hashes each: all different, and in groups of five or
six that look alike, which have to be compared frame by frame.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from har_tf import datasets
from har_tf.audit.hashes import BITS, THRESHOLD, hashes_of, near_identical
from har_tf.video import probe, read_clip, write_video

UCF101 = 13_320
CUT = 0.2  # share of the frames


def copies(frames: np.ndarray, fps: float) -> Iterator[tuple[str, np.ndarray, float, int]]:
    """(what was done, frames, fps, crf) of every copy of a video, (T, H, W, 3)."""
    count, height, width = frames.shape[:3]
    cut = round(CUT * count)
    yield "H.264, crf 35", frames, fps, 35
    yield "half the size", _resized(frames, (width // 2, height // 2)), fps, 23
    yield "brighter (1.2 x + 15)", np.clip(frames * 1.2 + 15, 0, 255).astype(np.uint8), fps, 23
    yield "mirrored", frames[:, :, ::-1], fps, 23
    yield "without the first 20 %", frames[cut:], fps, 23
    yield "without the last 20 %", frames[: count - cut], fps, 23
    yield "without the first 20 %, crf 35", frames[cut:], fps, 35
    yield "without the first 20 %, mirrored", frames[cut:, :, ::-1], fps, 30
    at_30 = np.round(np.arange(0, count / fps, 1 / 30) * fps).astype(int).clip(0, count - 1)
    yield "30 frames a second", frames[at_30], 30, 23
    inner = frames[:, height // 20 : -height // 20, width // 20 : -width // 20]
    yield "cropped by 5 % on each side", _resized(inner, (width, height)), fps, 23


def _resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def detection(folder: Path, clips: int) -> None:
    records = datasets.load(folder).records
    infos = [probe(record.path) for record in records]
    hashes = [hashes_of(info.path, info.frames, info.fps) for info in infos]
    print(f"{len(records)} videos, threshold {THRESHOLD}")
    within = set()
    for match in near_identical(hashes, threshold=1):  # all whose descriptors are similar
        one, two = records[match.first], records[match.second]
        stranger = one.group is None or one.group != two.group
        if match.distance <= THRESHOLD:
            within.add((match.first, match.second))
        if stranger:
            print(f"  in the collection itself: {one.path.name} ~ {two.path.name}, distance {match.distance:.3f}")
        if stranger and match.distance > THRESHOLD:
            break
    chosen = np.linspace(0, len(records) - 1, min(clips, len(records))).round().astype(int)
    distances: dict[str, list[float]] = {}
    wrong = compared = 0
    with tempfile.TemporaryDirectory() as temporary:
        for index in chosen.tolist():
            frames = read_clip(infos[index].path, None, None)
            for kind, pixels, fps, crf in copies(frames, infos[index].fps or 25):
                path = write_video(Path(temporary) / "copy.mp4", pixels, fps=fps, crf=crf, preset="ultrafast")
                text = hashes_of(path, len(pixels), fps)
                found = {match.second: match.distance for match in near_identical([text], hashes, threshold=1)}
                distances.setdefault(kind, []).append(found.get(index, 1.0))
                for other, distance in found.items():
                    same = records[other].group is not None and records[other].group == records[index].group
                    known = (min(index, other), max(index, other)) in within
                    wrong += distance <= THRESHOLD and not (same or known or other == index)
                compared += len(records) - 1
    print(f"\n| copy | found of {len(chosen)} | median distance | largest |\n|---|---|---|---|")
    for kind, values in distances.items():
        print(
            f"| {kind} | {sum(value <= THRESHOLD for value in values)} | {statistics.median(values):.3f} | "
            f"{max(values):.3f} |"
        )
    print(f"\n{wrong} pairs of unrelated clips of {compared} pairs with the copies")


def speed() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(UCF101) % (101 * 25)
    scenes = rng.integers(0, 256, (101 * 25, 1, BITS // 8), np.uint8)
    alike = [scenes[group] ^ np.packbits(rng.random((29, BITS)) < 0.1, axis=1) for group in groups]
    different = [rng.integers(0, 256, (29, BITS // 8), np.uint8) for _ in groups]
    for title, clips in (("all different", different), ("in groups of five or six that look alike", alike)):
        began = time.perf_counter()
        found = near_identical([clip.tobytes().hex() for clip in clips])
        print(f"{UCF101} clips, {title}: {len(found)} pairs in {time.perf_counter() - began:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="class folders of videos")
    parser.add_argument("--clips", type=int, default=40, help="videos that are copied")
    arguments = parser.parse_args()
    detection(arguments.folder, arguments.clips)
    speed()


if __name__ == "__main__":
    main()
