"""What does the reader make of damaged files? It may give the right clip or raise VideoError, and nothing else.

    python -m benchmarks.fuzz_video UCF-101 --mutations 5000 --out fuzz.json

Videos of a folder, if one is given, and small ones made here are damaged in every way of `mutations.KINDS`. `probe`
and `read_clip`, with several samplings, run on each file in worker processes with limits of time and memory. An
outcome is one of

- right clip: all that was returned is right;
- VideoError: at least one call raised it, and all that was returned is right;
- silently wrong: a clip without an error holds other frames than a full decode, or `probe` counts others;
- refused: VideoError although the decoder finds nothing wrong, on a file with a video;
- crash, hang, memory, other exception.

The first two are good. What is right is told by another decode of the same damaged file, from end to end with PyAV
alone. The exit code is 1 if anything else came out, and each bad case is listed with what reproduces it:

    python -m benchmarks.fuzz_video UCF-101 --seed 0 --only 1234 --keep bad
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from tqdm import tqdm

from benchmarks.mutations import CHANGES, FILES, KINDS, Mutation, draw, make_sources
from har_tf.files.workers import Failed, outcomes
from har_tf.video import VideoError, probe, read_clip
from har_tf.video.display import Target, View
from har_tf.video.guard import Guard
from har_tf.video.sampling import frame_indices, frames_needed

GOOD = ("right clip", "VideoError")
BAD = ("silently wrong", "refused", "crash", "hang", "memory", "other exception", "not judged")
SUFFIXES = {".avi", ".mp4", ".mkv", ".mov", ".mpg", ".webm"}
UNSPECIFIED = b""  # in place of a digest
SLOW = 5  # seconds that one call may take
LIMIT = 20  # seconds for all calls on a file, and the decode to compare with
MEMORY = 600 * 10**6

# Arguments of read_clip. The size is that of the video, so that frames can be compared bit for bit: None, and where
# the reader knows another way to stretched frames, as of an AVI, once more in numbers.
REQUESTS = (
    {"num_frames": 10},
    {"num_frames": 8, "sampling": "dense", "start": 5},
    {"num_frames": 4, "sampling": "strided", "stride": 3, "start": 14},
    {"num_frames": 3, "start": 11, "stop": 24},
    {"num_frames": 45, "short": "wrap"},
    {"num_frames": None},
)


@dataclass(frozen=True)
class Case:
    """One file to read.

    Attributes:
        number: place in the run.
        mutation: how it is made.
        folder: an empty one for the file; it is left behind with it.
        reader: `read_clip`, or what a test puts in its place.
    """

    number: int
    mutation: Mutation
    folder: Path
    reader: Callable = read_clip


@dataclass(frozen=True)
class Truth:
    """What a decode of everything finds, errors or not.

    Attributes:
        digests: one of each sound frame as displayed.
        stamps: its time stamp, None where there is none.
        sound: frames before the first damage.
        damage: whether a frame, a packet or the container was damaged.
        claimed: frames that the container claims, 0 where it claims none.
        packets: whole packets.
    """

    digests: list[bytes]
    stamps: list[int | None]
    sound: int
    damage: bool
    claimed: int
    packets: int


def examine(case: Case) -> tuple[str, str, float]:
    """Makes the file, reads it, and says (outcome, what exactly, seconds of the slowest call)."""
    phase = case.folder / "phase"
    content = case.folder / "file"
    content.mkdir(exist_ok=True)  # a task whose process died is tried once more
    path = case.mutation.write(content)
    phase.write_text("reader")
    calls = [("probe", {}, probe)]
    calls += [(f"read_clip({_told(r)})", r, case.reader) for r in REQUESTS * (2 if _is_avi(path) else 1)]
    results, slowest, errors = [], 0.0, []
    with _changing(path, case.mutation.kind):
        for number, (name, arguments, call) in enumerate(calls):
            begin = time.perf_counter()
            result = None
            size = {"size": _size(results) if number > len(REQUESTS) else None} if number else {}
            try:
                result = call(path, threads=1, **size, **arguments)
            except VideoError as error:
                if "\n" in error.reason or error.path != path:
                    return "other exception", f"{name}: a VideoError of more than a line: {error!r}", slowest
                errors.append(f"{name}: {error.reason}")
            except Exception as error:
                if isinstance(error, MemoryError):
                    raise
                return "other exception", f"{name}: {type(error).__name__}: {error}", slowest
            seconds = time.perf_counter() - begin
            slowest = max(slowest, seconds)
            if seconds > SLOW:
                return "hang", f"{name} took {seconds:.1f} s", slowest
            results.append(result)
    good = "VideoError" if errors else "right clip", errors[0] if errors else "", slowest
    if case.mutation.kind in CHANGES:
        return good  # no two reads met the same file
    phase.write_text("comparison")
    # A decode to compare with would follow a list, and wait for a pipe.
    no_video = case.mutation.kind in FILES and case.mutation.kind not in ("another suffix", "an odd name", "a picture")
    fault = _fault(None if no_video else _truth(path, case.mutation), results, errors)
    return (*fault, slowest) if fault else good


def _fault(truth: Truth | None, results: list, errors: list[str]) -> tuple[str, str] | None:
    """(outcome, what exactly) where results and a decode of everything do not agree."""
    info, *clips = results
    requests = REQUESTS * (len(clips) // len(REQUESTS))
    if truth is None:
        given = [_told(r) for r, clip in zip(requests, clips, strict=True) if clip is not None]
        return ("silently wrong", f"a clip of what is no video: {given}") if given or info else None
    no_video = errors and any(known in errors[0] for known in ("of a known format", "no video stream", "no decoder"))
    if info is None and not truth.damage and truth.sound and not no_video:
        return "refused", errors[0]
    if info is not None:
        if info.frames != truth.sound:
            return "silently wrong", f"probe counts {info.frames} frames, a full decode {_counts(truth)}"
        if (info.claimed_frames or 0) < truth.claimed:
            return "silently wrong", f"probe says {info.claimed_frames} are claimed, the container {truth.claimed}"
    for request, clip in zip(requests, clips, strict=True):
        if clip is None:
            start, stop, needed = _range(request)
            if not truth.damage and info is not None and truth.sound >= (stop or start + needed):
                return "refused", next(error for error in errors if _told(request) in error)
        else:
            wrong = _wrong(request, clip, truth)
            if wrong:
                return "silently wrong", f"read_clip({_told(request)}): {wrong}"
    return None


def _is_avi(path: Path) -> bool:
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(4) == b"RIFF"
    except (OSError, ValueError):
        pass
    return False


def _size(results: list) -> tuple[int, int]:
    """The size of a video as displayed, by what was read of it; nobody's size where nothing was."""
    info, *clips = results
    if info is not None:
        return info.height, info.width
    return next((clip.shape[1:3] for clip in clips if clip is not None), (7, 7))


def _wrong(request: dict, clip: np.ndarray, truth: Truth) -> str | None:
    """Why a clip is not what `read_clip` promises, None where it is."""
    start, stop, needed = _range(request)
    digests = [hashlib.blake2b(frame.tobytes(), digest_size=16).digest() for frame in clip]
    if truth.claimed >= start + needed > max(truth.sound, truth.packets):
        return f"{start + needed} frames are needed and claimed, a full decode gives {_counts(truth)}"
    # Damage behind a frame that was not needed need not be noticed: then the packets are counted.
    counts, orders = [truth.sound], []
    # A damaged picture may also be no frame at all, and nobody tells: then the packets are counted, too.
    if truth.damage or truth.sound != truth.packets:
        counts += [len(truth.digests), truth.packets]
        orders = [truth.digests]
        if None not in truth.stamps and len(set(truth.stamps)) == len(truth.stamps):
            orders.append([truth.digests[i] for i in np.argsort(truth.stamps)])
    for count in counts:
        try:
            wanted = frame_indices(
                count,
                request["num_frames"],
                request.get("sampling", "uniform"),
                start,
                stop,
                request.get("short", "repeat_last"),
                request.get("stride", 2),
            )
        except ValueError:
            continue
        if len(wanted) != len(digests):
            continue
        if max(wanted) < len(truth.digests) and all(
            truth.digests[i] in (digest, UNSPECIFIED) for i, digest in zip(wanted, digests, strict=True)
        ):
            return None
        if any(_in_order(digests, wanted.tolist(), order) for order in orders):
            return None
    return f"other frames than a full decode, which gives {_counts(truth)}"


def _in_order(digests: list[bytes], wanted: list[int], decoded: list[bytes]) -> bool:
    """Whether all frames are among those that were decoded past damage, and stand in the same order."""
    places = {}
    for place, digest in enumerate(decoded):
        places.setdefault(digest, place)
    frames = {}
    for index, digest in zip(wanted, digests, strict=True):
        if digest not in places and UNSPECIFIED in places:
            continue
        # No frame can lie behind the place that it would have if none were lost.
        if digest not in places or frames.setdefault(index, digest) != digest or places[digest] > index:
            return False
    found = [places[frames[index]] for index in sorted(frames)]
    return found == sorted(found)


def _truth(path: Path, mutation: Mutation) -> Truth | None:
    """Decodes everything, also past errors; None where the file cannot be opened as a video.

    What a decoder shows of a damaged picture, or of one that refers to a lost one, may be what lay in its buffers
    before (Motion JPEG, FFV1, MPEG-2, H.264), and not every decoder tells. So the frames that the undamaged videos
    do not have count by their place only.
    """
    truth = _decode_all(path)
    if truth is None:
        return None
    sound = _frames_of(mutation.source) | _frames_of(mutation.other)
    return replace(truth, digests=[digest if digest in sound else UNSPECIFIED for digest in truth.digests])


@cache
def _frames_of(source: Path) -> frozenset[bytes]:
    truth = _decode_all(source)
    return frozenset(truth.digests if truth else ())


def _decode_all(path: Path) -> Truth | None:
    digests, stamps, sound, damage, packets, corrupt = [], [], 0, False, 0, False
    reformatter, shape = VideoReformatter(), None
    try:
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError):
        return None
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams or streams[0].codec_context is None:
            return None
        stream = streams[0]
        stream.thread_type, stream.thread_count = "SLICE", 1
        demuxer = container.demux(stream)
        ended = False
        while not ended:
            try:
                packet = next(demuxer)
                if not packet.size:
                    continue
                packets += not packet.is_corrupt and not packet.is_discard
                corrupt = corrupt or packet.is_corrupt
            except IndexError:  # PyAV met a stream that begins part-way
                demuxer = container.demux(stream)
                continue
            except StopIteration:
                packet, ended = None, True
            except av.FFmpegError:
                damage, packet, ended = True, None, True
            if packet is not None and packet.is_corrupt:
                damage = True
                continue
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                damage = True
                continue
            for frame in frames:
                if frame.is_corrupt:
                    damage = True
                    continue
                sound += not damage
                shown = View.of(Guard(path), frame, stream.sample_aspect_ratio, Target(None)).show(frame, reformatter)
                shape = shape or shown.shape
                # Where the size changes on the way, a clip has that of the first frame in it.
                digest = hashlib.blake2b(shown.tobytes(), digest_size=16).digest()
                digests.append(digest if shown.shape == shape else UNSPECIFIED)
                stamps.append(frame.pts)
        # The frames that the decoder holds back when it meets a damaged end are sound.
        if damage and len(digests) > sound and not _damaged_inside(path):
            sound = len(digests)
        return Truth(digests, stamps, sound, damage, stream.frames, packets)


def _damaged_inside(path: Path) -> bool:
    """Whether something sound follows behind damage: a refused packet, or a frame or packet behind a corrupt one."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        cover = av.stream.Disposition.attached_pic
        stream = next(stream for stream in container.streams.video if not stream.disposition & cover)
        stream.thread_type, stream.thread_count = "SLICE", 1
        cut = damaged = False
        packets = []
        with suppress(av.FFmpegError, IndexError):
            packets.extend(packet for packet in container.demux(stream) if packet.size)
        for packet in [*packets, None]:
            if packet is not None:
                if cut:
                    return True
                cut = packet.is_corrupt
                if cut:
                    continue
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                return True
            for frame in frames:
                if damaged and not frame.is_corrupt:
                    return True
                damaged = frame.is_corrupt
    return False


def _range(request: dict) -> tuple[int, int | None, int]:
    start, stop = request.get("start", 0), request.get("stop")
    if stop is not None:
        return start, stop, stop - start
    if request["num_frames"] is None:
        return start, stop, 1
    return (
        start,
        stop,
        frames_needed(request["num_frames"], request.get("sampling", "uniform"), request.get("stride", 2)),
    )


def _told(request: dict) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in request.items())


def _counts(truth: Truth) -> str:
    return f"{truth.sound} sound frames of {len(truth.digests)} ({truth.packets} packets, {truth.claimed} claimed)"


class _changing:
    """Changes a file again and again while it is read."""

    def __init__(self, path: Path, kind: str):
        self._path, self._kind, self._ended = path, kind, threading.Event()
        self._thread = threading.Thread(target=self._change, daemon=True)

    def __enter__(self) -> None:
        if self._kind in CHANGES:
            self._thread.start()

    def __exit__(self, *_) -> None:
        self._ended.set()
        if self._kind in CHANGES:
            self._thread.join()

    def _change(self) -> None:
        whole = self._path.read_bytes()
        part = 0
        while not self._ended.wait(0.0005):
            part = (part + 7) % 100
            if self._kind == "growing":
                self._path.write_bytes(whole[: len(whole) * (part + 1) // 100])
            elif self._kind == "shrinking":
                os.truncate(self._path, len(whole) * (100 - part) // 100)
                if part > 90:
                    self._path.write_bytes(whole)
            elif self._kind == "deleted":
                self._path.unlink()
                self._path.write_bytes(whole)
            else:
                with self._path.open("r+b") as file:
                    file.seek(len(whole) * part // 100)
                    file.write(bytes(100))


def fuzz(
    cases: list[Case], workers: int | None = None, seconds: float = LIMIT, memory: int = MEMORY
) -> Iterator[tuple[Case, str, str, float]]:
    """Yields (case, outcome, what exactly, seconds of the slowest call) for every case."""
    done = outcomes(examine, cases, workers, seconds, memory)
    for case, result in zip(cases, done, strict=True):
        if not isinstance(result, Failed):
            yield case, *result
            continue
        reason = result.reason
        phase = case.folder / "phase"
        if phase.is_file() and phase.read_text() == "comparison":
            outcome = "not judged"
        elif reason.startswith("took longer"):
            outcome = "hang"
        elif reason.startswith(("needed more", "MemoryError")):
            outcome = "memory"
        else:
            outcome = "crash" if "died" in reason else "other exception"
        yield case, outcome, reason, 0.0


def make_cases(sources: list[Path], count: int, seed: int, folder: Path, reader: Callable = read_clip) -> list[Case]:
    """Cases with a folder each."""
    cases = []
    for number, mutation in enumerate(draw(sources, count, seed)):
        (folder / str(number)).mkdir()
        cases.append(Case(number, mutation, folder / str(number), reader))
    return cases


def print_table(table: dict[str, Counter]) -> None:
    columns = [outcome for outcome in GOOD + BAD if any(counts[outcome] for counts in table.values())]
    print(f"{'':32}" + "".join(f"{column:>16}" for column in columns))
    total = sum(table.values(), Counter())
    for kind, counts in [*table.items(), ("all", total)]:
        print(f"{kind:32}" + "".join(f"{counts[column] or '':>16}" for column in columns))


def _keep(folder: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():  # no pipe, socket or link to nothing can be copied
            shutil.copy(path, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="*", help="folders of videos, searched with their subfolders")
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=30, help="of the folders, at most: evenly from the sorted list")
    parser.add_argument("--workers", type=int, help="processes; default: one a core")
    parser.add_argument("--only", type=int, nargs="+", help="repeat these cases of the run")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--keep", type=Path, help="folder for the files of bad cases")
    arguments = parser.parse_args()

    found = sorted(p for folder in arguments.folder for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if arguments.folder and not found:
        sys.exit(f"{arguments.folder[0]}: no video in it")
    picked = [found[i] for i in np.linspace(0, len(found) - 1, min(arguments.videos, len(found))).astype(int)]
    table: dict[str, Counter] = defaultdict(Counter, {kind: Counter() for kind in KINDS})
    bad, slowest, begin = [], 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sources").mkdir()
        made = make_sources(Path(folder) / "sources")
        cases = make_cases(made + picked, arguments.mutations, arguments.seed, Path(folder))
        if arguments.only:
            cases = [cases[number] for number in arguments.only]
        for case, outcome, what, seconds in tqdm(fuzz(cases, arguments.workers), total=len(cases), disable=None):
            table[case.mutation.kind][outcome] += 1
            slowest = max(slowest, seconds)
            if outcome in BAD:
                source = case.mutation.source.name
                line = {"case": case.number, "kind": case.mutation.kind, "source": source, "outcome": outcome}
                bad.append(line | {"what": what})
                tqdm.write("case {case}, {kind}, {source}: {outcome}: {what}".format(**bad[-1]))
                if arguments.keep:
                    _keep(case.folder / "file", arguments.keep / str(case.number))
            shutil.rmtree(case.folder)
    print_table(table)
    print(
        f"{len(cases)} mutations of {len(made)} made and {len(picked)} found videos in "
        f"{time.perf_counter() - begin:.0f} s; the slowest call that ended took {slowest:.2f} s"
    )
    if arguments.out:
        report = {"seed": arguments.seed, "seconds_of_slowest_call": slowest, "bad": bad}
        arguments.out.write_text(
            json.dumps(report | {"table": {k: dict(v) for k, v in table.items()}}, indent=1) + "\n"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
