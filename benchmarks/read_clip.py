"""Is `read_clip` at least as fast as the fastest other way to sample a video?

    python -m benchmarks.read_clip UCF-101 --out read_clip.json

Ten uniform frames at 128x192 RGB are taken from every video of a folder by several readers, with one thread
and with each reader's default number of threads: OpenCV that seeks to each frame, OpenCV that grabs them
all and retrieves the wanted ones, PyAV that decodes all and converts the wanted ones, decord (package
decord2), torchcodec (as it comes, which scans the file first, and in its approximate mode, which trusts the
file's header; left out where it cannot be imported) and `read_clip`. The same is done on H.264 copies of some
of the videos, with a key frame every 250 frames, made here by x264 in two ways: with three B pictures between
P pictures, a pattern that about fits the videos of Kinetics, and with the few that x264's defaults find worth
it in these videos. Pictures that others refer to must be decoded by every reader, so the second kind leaves
little to save.

The readers take turns at every video, so that whatever else the machine does hits them alike; speeds are
medians over the repeats, and so is the ratio to the fastest peer, which is taken within a repeat. With one
thread the clock is the processor's time of this process, which other programs do not lengthen; otherwise it
is the wall's. Clips that a reader could not fill are counted.

Before the clock runs, every clip of `read_clip` at the stored size, given or not, is compared with a full decode:
the same frames, bit for bit.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import numpy as np

from har_tf.video import frame_indices, read_clip

try:
    import torch
    import torchcodec
    from torchcodec.transforms import Resize
except (ImportError, OSError, RuntimeError) as error:  # its wheels want certain versions of PyTorch and FFmpeg
    torchcodec = None
    print(f"torchcodec is left out: {str(error).strip().partition(chr(10))[0]}", file=sys.stderr)

FRAMES = 10
SIZE = (128, 192)
SUFFIXES = {".avi", ".mp4", ".mkv", ".mov", ".mpg", ".webm"}
PATTERNS = {"three B pictures in a row": "b-adapt=0", "x264's choice of B pictures": "b-adapt=1"}


def opencv_seek(path: Path, threads: int | None) -> np.ndarray:
    capture = _capture(path, threads)
    clip = []
    for index in frame_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), FRAMES):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(index))
        found, frame = capture.read()
        if found:
            clip.append(_resized(frame))
    capture.release()
    return np.stack(clip)


def opencv_grab(path: Path, threads: int | None) -> np.ndarray:
    capture = _capture(path, threads)
    wanted = set(frame_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), FRAMES).tolist())
    clip, index = [], 0
    while capture.grab():
        if index in wanted:
            clip.append(_resized(capture.retrieve()[1]))
        index += 1
    capture.release()
    return np.stack(clip)


def pyav(path: Path, threads: int | None) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE" if threads == 1 else "AUTO"
        stream.thread_count = threads or 0
        frames = list(container.decode(stream))
    height, width = SIZE
    return np.stack(
        [
            frames[index].to_ndarray(width=width, height=height, format="rgb24")
            for index in frame_indices(len(frames), FRAMES)
        ]
    )


def decord2(path: Path, threads: int | None) -> np.ndarray:
    reader = decord.VideoReader(str(path), width=SIZE[1], height=SIZE[0], num_threads=threads or 0)
    return reader.get_batch(frame_indices(len(reader), FRAMES)).asnumpy()


def torchcodec_exact(path: Path, threads: int | None) -> np.ndarray:
    return _torchcodec(path, threads, "exact")


def torchcodec_approximate(path: Path, threads: int | None) -> np.ndarray:
    return _torchcodec(path, threads, "approximate")


def _torchcodec(path: Path, threads: int | None, mode: str) -> np.ndarray:
    decoder = torchcodec.decoders.VideoDecoder(
        str(path),
        num_ffmpeg_threads=threads or 0,
        seek_mode=mode,
        dimension_order="NHWC",
        transforms=[Resize(SIZE)],
    )
    return decoder.get_frames_at(frame_indices(len(decoder), FRAMES).tolist()).data.numpy()


def ours(path: Path, threads: int | None) -> np.ndarray:
    return read_clip(path, FRAMES, SIZE, threads=threads)


READERS: dict[str, Callable[[Path, int | None], np.ndarray]] = {
    "OpenCV, seek per frame": opencv_seek,
    "OpenCV, grab and retrieve": opencv_grab,
    "PyAV": pyav,
    "decord2": decord2,
    **({"torchcodec": torchcodec_exact, "torchcodec, approximate": torchcodec_approximate} if torchcodec else {}),
    "read_clip": ours,
}


def copy_h264(path: Path, out: Path, parameters: str) -> Path:
    """A copy as H.264 (x264, medium, crf 20, as Kinetics' copies are), with a key frame every 250 frames."""
    options = {"preset": "medium", "crf": "20", "g": "250", "x264-params": parameters}
    rate = Fraction(25)
    with av.open(str(path)) as source, av.open(str(out), "w") as file:
        frames = source.decode(source.streams.video[0])
        stream = None
        for number, frame in enumerate(frames):
            if stream is None:
                stream = file.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "yuv420p"
            picture = frame.reformat(format="yuv420p")
            picture.pts, picture.time_base, picture.pict_type = number, 1 / rate, 0
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return out


def _capture(path: Path, threads: int | None) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads] if threads else [])


def _resized(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def check_frames(paths: list[Path]) -> None:
    """Stop the benchmark unless `read_clip` returns the frames that a full decode gives at those indices."""
    for path in paths:
        with av.open(str(path)) as container:
            frames = list(container.decode(container.streams.video[0]))
        truth = [frames[index].to_ndarray(format="rgb24") for index in frame_indices(len(frames), FRAMES)]
        # The size in numbers, too: stretched frames of an AVI are read in another way.
        for size in (None, truth[0].shape[:2]):
            if not np.array_equal(np.stack(truth), read_clip(path, FRAMES, size)):
                sys.exit(f"{path}: read_clip and a full decode differ")


def measure(paths: list[Path], threads: int | None, repeats: int) -> dict:
    """Clips per second of every reader, and the ratio to the fastest peer, medians over the repeats."""
    cv2.setNumThreads(threads or os.cpu_count())
    if torchcodec:
        torch.set_num_threads(threads or os.cpu_count())
    clock = time.process_time if threads == 1 else time.perf_counter
    names = list(READERS)
    speeds: dict[str, list[float]] = {name: [] for name in names}
    unfilled: dict[str, int] = {}
    ratios = []
    for repeat in range(repeats):
        seconds = dict.fromkeys(names, 0.0)
        unfilled = dict.fromkeys(names, 0)
        for number, path in enumerate(paths):
            turn = (repeat + number) % len(names)
            for name in names[turn:] + names[:turn]:
                begin = clock()
                clip = READERS[name](path, threads)
                seconds[name] += clock() - begin
                unfilled[name] += clip.shape != (FRAMES, *SIZE, 3)
        for name in names:
            speeds[name].append(len(paths) / seconds[name])
        peers = [speeds[name][-1] for name in names if name != "read_clip"]
        ratios.append(speeds["read_clip"][-1] / max(peers))
    return {
        "clips_per_second": {name: round(statistics.median(values), 2) for name, values in speeds.items()},
        "clips_not_filled": unfilled,
        "ratio_to_fastest_peer": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def print_table(title: str, results: dict[str, dict]) -> None:
    print(f"\n{title}, clips/s")
    print(f"{'':28}" + "".join(f"{column:>18}" for column in results))
    for name in READERS:
        row = "".join(f"{result['clips_per_second'][name]:18.1f}" for result in results.values())
        lost = max(result["clips_not_filled"][name] for result in results.values())
        print(f"{name:28}{row}" + (f"   {lost} clips not filled" if lost else ""))
    row = "".join(f"{result['ratio_to_fastest_peer']:18.2f}" for result in results.values())
    print(f"{'read_clip / fastest peer':28}{row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of videos, searched with its subfolders")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take every n-th video only")
    parser.add_argument("--h264", type=int, default=20, help="videos to copy to H.264 with GOP 250; 0: none")
    arguments = parser.parse_args()
    found = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    paths = found[:: arguments.every]
    if not paths:
        sys.exit(f"{arguments.folder}: no video in it")

    report = {"frames": FRAMES, "size": SIZE, "cpus": os.cpu_count(), "machine": platform.machine()}
    with tempfile.TemporaryDirectory() as folder:
        groups = {f"{len(paths)} videos of the folder": paths}
        if arguments.h264:
            step = max(1, len(found) // arguments.h264)
            chosen = found[::step][: arguments.h264]
            for kind, (title, parameters) in enumerate(PATTERNS.items()):
                groups[f"{len(chosen)} H.264 copies, GOP 250, {title}"] = [
                    copy_h264(path, Path(folder) / f"{kind}_{number:03}.mp4", parameters)
                    for number, path in enumerate(chosen)
                ]
        for title, group in groups.items():
            check_frames(group)
            print(f"{title}: read_clip takes the frames of a full decode, bit for bit")
            results = {
                "one thread": measure(group, 1, arguments.repeats),
                "default threads": measure(group, None, arguments.repeats),
            }
            print_table(title, results)
            report[title] = results
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
