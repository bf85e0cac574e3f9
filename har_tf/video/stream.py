"""The video stream of a file, and what a pass over its packets tells."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from . import riff
from .errors import VideoError
from .guard import Guard, regular_file, text_of

# Packets of smaller files stay in memory between the two passes; of larger ones they are counted only.
_KEEP_BYTES = 256 * 2**20
_KEEP_PACKETS = 2**20

# What is known of each takes memory; at 30 frames a second these are three days.
_MOST_PACKETS = 2**23

# Frames of more pixels, those above 4K, are decoded by fewer threads, each of which holds some.
_PIXELS_AT_ONCE = 2**27


@dataclass(frozen=True, eq=False)
class Scan:
    """What a pass over the packets of a stream found.

    Attributes:
        data: the packets, None where there are too many to keep or one is not whole or not to be shown.
        stamps: the presentation time of each whole packet to be shown, in ticks of the stream.
        count: the number of whole packets to be shown; most files have one for each frame.
        claimed: frames that the container claims, None where it claims none.
    """

    data: list[bytes] | None
    stamps: list[int | None]
    count: int
    claimed: int | None


def check_threads(threads: int | None) -> None:
    if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
        raise ValueError(f"threads must be None or at least 1. Received: threads={threads!r}.")


@contextmanager
def open_stream(guard: Guard, threads: int | None = None) -> Iterator[av.VideoStream]:
    """The video stream of a file, ready to decode; the file is closed at the end."""
    path = guard.path
    with guard.open() as container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(path, f"no video stream, only {kinds}")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(path, "no decoder for its video stream")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all  # demuxers pass over them
        _prepare(guard, stream.codec_context, threads)
        yield stream


def open_regular_avi(guard: Guard, threads: int | None) -> tuple[av.VideoCodecContext, list[bytes]] | None:
    """A decoder and the packets for it, if the file is a regular AVI with MPEG-4 part 2.

    Opening the container takes as long as decoding six frames, and tells nothing more of such a file but the shape
    of its pixels.
    """
    avi = _regular_avi(guard.path)
    found = avi and avi.mpeg4()
    data = found and avi.packets(found[0])
    if not data:
        return None
    _prepare(guard, found[1], threads)
    return found[1], data


def scan_packets(guard: Guard, stream: av.VideoStream, keep: bool, stamped: bool = False) -> Scan:
    """Passes over all packets.

    Args:
        guard, stream: what is read.
        keep: whether the packets are wanted.
        stamped: whether the stamps are needed, without which some files are read faster.
    """
    keep = keep and regular_file(guard.path).stat().st_size <= _KEEP_BYTES
    is_mpeg4 = stream.codec_context.codec.canonical_name == "mpeg4"
    if keep and not stamped and is_mpeg4 and stream.container.format.name == "avi" and stream.frames:
        avi = _regular_avi(guard.path)
        data = avi and avi.packets(stream.index)
        if data:
            return Scan(data, [None] * len(data), len(data), stream.frames)
    data, stamps, latest, whole = [], [], None, True
    for packet in demux(guard, stream):
        if packet is None:
            break
        stamp = packet.pts
        if stamp is not None and (latest is None or stamp > latest):
            latest = stamp
        # A packet to discard is needed to decode others, but becomes no frame.
        if packet.is_corrupt or packet.is_discard:
            whole = False
        else:
            stamps.append(stamp)
        if keep:
            data.append(bytes(packet))
            keep = len(data) < _KEEP_PACKETS
    return Scan(data if keep and whole else None, stamps, len(stamps), _claimed(stream, len(stamps), latest))


def demux(guard: Guard, stream: av.VideoStream) -> Iterator[av.Packet | None]:
    """The packets that hold something, then None, which makes the decoder return what it holds back."""
    broken, count = True, 0
    while broken:
        broken = False
        try:
            for packet in stream.container.demux(stream):
                guard.came_upon_packet()
                if packet.size:
                    count += 1
                    if count > _MOST_PACKETS:
                        raise VideoError(
                            guard.path, f"more than {_MOST_PACKETS:,} packets of video, which is the most that are read"
                        )
                    yield packet
        except IndexError:
            # PyAV does not expect the first packet of a stream that begins part-way. It is none of ours: go on.
            broken = True
        except av.FFmpegError:
            # The container breaks off. `scan_packets` compares what came with what was claimed.
            pass
    guard.check()
    yield None


def _prepare(guard: Guard, context: av.VideoCodecContext, threads: int | None) -> None:
    guard.check_pixels(context.height, context.width)
    context.options = {"max_pixels": str(guard.max_pixels)}  # of frames that are larger than the file says
    at_once = _PIXELS_AT_ONCE // max(1, context.height * context.width)
    context.thread_type = "SLICE" if threads == 1 else "AUTO"
    context.thread_count = threads or (0 if at_once >= 16 else min(at_once, os.cpu_count() or 1))


def _regular_avi(path: Path) -> riff.Avi | None:
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _KEEP_BYTES or not riff.is_whole(os.pread(file.fileno(), riff.HEAD, 0), size):
                return None
            return riff.Avi.of(os.pread(file.fileno(), size, 0))
    except OSError as error:
        raise VideoError(path, f"cannot be read ({text_of(error)})") from error


def _claimed(stream: av.VideoStream, count: int, latest: int | None) -> int | None:
    """Frames that the container claims; a longer duration than the `count` packets have is a claim, too."""
    if stream.frames:
        return stream.frames
    clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "").strip())
    if clock is None or latest is None or not stream.average_rate:
        return None
    hours, minutes, seconds = clock.groups()
    duration = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    behind = float((duration - latest * stream.time_base) * stream.average_rate)
    # One frame lies behind the latest time stamp by right, and the clock may be rounded by one.
    return count + round(behind) - 1 if behind > 2.5 else None
