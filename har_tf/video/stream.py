"""The video stream of a file, and what a pass over its packets tells."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import av
import numpy as np

from . import riff
from .errors import VideoError

# Packets of smaller files stay in memory between the two passes; of larger ones they are counted only.
_KEEP_BYTES = 256 * 2**20

# FFmpeg opens these as well, but they are pictures or text.
_NOT_VIDEO_FORMATS = frozenset(("image2", "tty", "bin", "xbin", "adf", "idf"))

# Lists that name other files, devices or addresses: FFmpeg would open those while it opens the list.
_LISTS = frozenset(
    ("concat", "hls", "dash", "webm_dash_manifest", "imf", "sdp", "rtp", "rtsp", "sap", "vobsub", "lavfi")
)
_ALLOWED = {"format_whitelist": ",".join(sorted(av.formats_available - _LISTS))}


@dataclass(frozen=True, eq=False)
class Scan:
    """What a pass over the packets of a stream found.

    Attributes:
        data: the packets, None where there are too many to keep or one is not whole or not to be shown.
        stamps: the presentation time of each of them.
        count: the number of whole packets to be shown; most files have one for each frame.
        claimed: frames that the container claims, None where it claims none.
    """

    data: list[bytes] | None
    stamps: list[int | None]
    count: int
    claimed: int | None


def regular_file(path: str | PathLike) -> Path:
    path = Path(path)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoError(path, "no such file") from error
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be opened ({text_of(error)})") from error
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(path, "a folder, expected a video file")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "not a regular file")
    if status.st_size == 0:
        raise VideoError(path, "empty file")
    return path


def check_threads(threads: int | None) -> None:
    if threads is not None and (not isinstance(threads, int | np.integer) or threads < 1):
        raise ValueError(f"threads must be None or at least 1. Received: threads={threads!r}.")


@contextmanager
def open_stream(path: Path, threads: int | None = None) -> Iterator[av.VideoStream]:
    """The video stream of a file, ready to decode; the file is closed at the end."""
    try:
        # The prefix keeps names with a colon or a percent sign from being read as something else.
        container = av.open(f"file:{path}", container_options=_ALLOWED, metadata_errors="replace")
    except OSError as error:
        raise VideoError(path, f"cannot be opened ({text_of(error)})") from error
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, f"not a video, or its beginning or index is lost ({text_of(error)})") from error
    with container:
        names = container.format.name
        if names.endswith("_pipe") or not _NOT_VIDEO_FORMATS.isdisjoint(names.split(",")):
            raise VideoError(path, f"not a video, but of the format {names!r}")
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(path, f"no video stream, only {kinds}")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(path, "no decoder for its video stream")
        _set_threads(stream.codec_context, threads)
        yield stream


def open_regular_avi(path: Path, threads: int | None) -> tuple[av.VideoCodecContext, list[bytes]] | None:
    """A decoder and the packets for it, if the file is a regular AVI with MPEG-4 part 2.

    Opening the container takes as long as decoding six frames, and tells nothing more of such a file but the shape
    of its pixels.
    """
    avi = _regular_avi(path)
    found = avi and avi.mpeg4()
    data = found and avi.packets(found[0])
    if not data:
        return None
    _set_threads(found[1], threads)
    return found[1], data


def scan_packets(path: Path, stream: av.VideoStream, keep: bool) -> Scan:
    keep = keep and regular_file(path).stat().st_size <= _KEEP_BYTES
    is_mpeg4 = stream.codec_context.codec.canonical_name == "mpeg4"
    if keep and is_mpeg4 and stream.container.format.name == "avi" and stream.frames:
        avi = _regular_avi(path)
        data = avi and avi.packets(stream.index)
        if data:
            return Scan(data, [None] * len(data), len(data), stream.frames)
    data, stamps, count, whole = [], [], 0, True
    for packet in demux(stream):
        if packet is None:
            break
        # A packet to discard is needed to decode others, but becomes no frame.
        if packet.is_corrupt or packet.is_discard:
            whole = False
        else:
            count += 1
        if keep:
            data.append(bytes(packet))
        stamps.append(packet.pts)
    latest = max((stamp for stamp in stamps if stamp is not None), default=None)
    return Scan(data if keep and whole else None, stamps, count, _claimed(stream, count, latest))


def demux(stream: av.VideoStream) -> Iterator[av.Packet | None]:
    """The packets that hold something, then None, which makes the decoder return what it holds back."""
    broken = True
    while broken:
        broken = False
        try:
            for packet in stream.container.demux(stream):
                if packet.size:
                    yield packet
        except IndexError:
            # PyAV does not expect the first packet of a stream that begins part-way. It is none of ours: go on.
            broken = True
        except av.FFmpegError:
            # The container breaks off. `scan_packets` compares what came with what was claimed.
            pass
    yield None


def _set_threads(context: av.VideoCodecContext, threads: int | None) -> None:
    context.thread_type = "SLICE" if threads == 1 else "AUTO"
    context.thread_count = threads or 0


def _regular_avi(path: Path) -> riff.Avi | None:
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _KEEP_BYTES or not riff.is_avi(os.pread(file.fileno(), riff.HEAD, 0)):
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


def text_of(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
