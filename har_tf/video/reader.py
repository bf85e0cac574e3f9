"""Read exact frames from video files.

A frame's index is its place among the frames that a decode of the whole file gives, in presentation order;
what the container claims is never relied on. Two passes are made: one over the packets, which is cheap and
tells how many frames there should be, and one that decodes, where `layout` may allow to leave out what no
wanted frame needs. Whenever the decoder does not return what the packets promised, everything is decoded and
counted instead.

What counts as damage:

- a packet that the decoder refuses, or a damaged frame with sound frames behind it, makes the file corrupt:
  the numbers of the frames behind it would be guesses, so `VideoError` is raised;
- a damaged end (a file cut off) ends the video at the last sound frame. "Uniform" then spans the sound
  frames. But if a clip needs more frames than there are, and the container claims that there were enough,
  they are missing, and not short: `VideoError` is raised, whatever `short` says.

Frames that need not be decoded for a clip are not looked at: `probe` decodes them all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .display import Clip, Target, View
from .errors import VideoError
from .layout import as_packet, find_layout
from .sampling import frame_indices, frames_needed
from .stream import Scan, check_threads, demux, open_regular_avi, open_stream, regular_file, scan_packets, text_of

UNKNOWN_RATE = 10  # frames a second of files that do not say
_LONGEST_GAP = 3600  # seconds between two frames: more is a damaged time stamp


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, found by decoding all of it.

    Attributes:
        path: the file.
        frames: number of frames that can be decoded.
        fps: mean frames per second, 0 where the file does not say.
        width: width as displayed, in square pixels, after rotation.
        height: height as displayed, in square pixels, after rotation.
        duration: seconds: `frames / fps`, 0 where `fps` is unknown.
        rotation: degrees clockwise, 0, 90, 180 or 270, by which the stored frames are turned for display.
        codec: FFmpeg's name of the codec.
        claimed_frames: the number of frames that the container claims, None where it claims none.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    duration: float
    rotation: int
    codec: str
    claimed_frames: int | None


def probe(path: str | PathLike, threads: int | None = None) -> VideoInfo:
    """Decode a video file from end to end and say what is in it.

    Args:
        path: the file.
        threads: decoding threads; None lets FFmpeg choose.

    Returns:
        A `VideoInfo`; its width and height are those of `read_clip(path, size=None)`.

    Raises:
        VideoError: the file cannot be read; the reasons are those of `read_clip`.

    Example:
        >>> probe("v_PullUps_g01_c01.avi").frames
        150
    """
    check_threads(threads)
    path = regular_file(path)
    with open_stream(path) as stream:
        claimed = scan_packets(path, stream, keep=False).claimed
    with open_stream(path, threads) as stream:
        view, count = None, 0
        for frame in _decode(path, stream):
            view = view or View.of(frame, stream.sample_aspect_ratio, Target(None))
            count += 1
        if view is None:
            raise VideoError(path, _shortage(claimed, 0, "at least 1 needed"))
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        codec = stream.codec_context.codec.canonical_name
    return VideoInfo(
        path=path,
        frames=count,
        fps=fps,
        width=view.shape[1],
        height=view.shape[0],
        duration=count / fps if fps else 0.0,
        rotation=view.rotation,
        codec=codec,
        claimed_frames=claimed,
    )


def read_clip(
    path: str | PathLike,
    num_frames: int | None = 10,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "uniform",
    start: int | None = None,
    stop: int | None = None,
    short: str = "repeat_last",
    stride: int = 2,
    threads: int | None = None,
    fit: str = "stretch",
) -> np.ndarray:
    """Read a clip: exactly the frames that a decode of the whole file gives at the sampled indices.

    Frames are turned and mirrored as the file's display matrix says. Pixels that are not square count as squares,
    by enlarging the side that is squeezed; a stretched frame does not depend on their shape. Scaling averages over
    areas and is done once, together with the conversion to RGB; what needs no scaling is what
    `av.VideoFrame.to_ndarray` gives. The colour matrix and range are those that the frame states, BT.601 and
    limited where it states none.

    Args:
        path: the file.
        num_frames: frames of the clip, T; None: every frame of the range.
        size: (height, width) of the result, or None for the size as displayed: that of the first frame of the clip,
            should it change on the way.
        sampling: "uniform", "strided" or "dense", see `sampling.frame_indices`.
        start: first frame of the range; None: 0.
        stop: the frame after the last of the range; None: the end of the video.
        short: "repeat_last", "wrap" or "error", for videos with fewer frames than the clip needs.
        stride: distance of neighbouring frames under "strided".
        threads: decoding threads; None lets FFmpeg choose. Processes that share a machine want 1.
        fit: "stretch" scales the whole frame to `size`; "crop" scales it evenly until it covers `size`, and cuts
            out the centre.

    Returns:
        (T, height, width, 3) uint8 RGB.

    Raises:
        VideoError: the file is missing, empty, a folder, no video, without a video stream, without a
            decodable frame, corrupt part-way, cut off before what is needed, shorter than `start` or `stop`,
            or too short under `short="error"`.
        ValueError: an argument is out of its range.

    Example:
        >>> read_clip("v_PullUps_g01_c01.avi", num_frames=16, size=(112, 112)).shape
        (16, 112, 112, 3)
    """
    request = _clip_request(num_frames, sampling, 0 if start is None else start, stop, short, stride)
    return _read(path, request, Target(size, fit), threads).pixels


def read_sampled(
    path: str | PathLike,
    num_frames: int | None = 10,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    fit: str = "stretch",
) -> tuple[np.ndarray, np.ndarray]:
    """The clip that `read_clip` reads, and which frames of the video it holds, int64 (T,); arguments as there."""
    clip = _read(path, _clip_request(num_frames, sampling, 0, None, short, 2), Target(size, fit), None)
    return clip.pixels, clip.indices


def play(
    path: str | PathLike, size: tuple[int, int] | None = None, threads: int | None = None
) -> Iterator[tuple[np.ndarray, float]]:
    """All frames of a video one by one, each with its time: of a video of any length one is in memory.

    Time stamps that a container has rounded are made even again. Where a stamp is missing, does not rise, or leaps by
    more than an hour, the frame stands as far behind the one before as the frame rate says.

    Args:
        path: the file.
        size: (height, width) to scale to; None: as displayed.
        threads: as in `read_clip`.

    Yields:
        (height, width, 3) uint8 RGB, and the seconds from the first frame to it.

    Raises:
        VideoError: as in `read_clip`.
    """
    check_threads(threads)
    path, target, reformatter = regular_file(path), Target(size), VideoReformatter()
    with open_stream(path, threads) as stream:
        view = first = None
        step = 1 / float(stream.average_rate or stream.guessed_rate or UNKNOWN_RATE)
        tick = max(float(stream.time_base or 0), 1e-3)
        second = -step
        for number, frame in enumerate(_decode(path, stream)):
            view = view or View.of(frame, stream.sample_aspect_ratio, target)
            stamp = None if frame.pts is None else float(frame.pts * stream.time_base)
            first = stamp if number == 0 else first
            before, second = second, number * step
            if number and stamp is not None and first is not None and abs(stamp - first - second) > tick:
                second = stamp - first
            if not before + min(step, 2e-3) / 2 <= second < before + _LONGEST_GAP:
                second = before + step
            yield view.show(frame, reformatter), second
        if view is None:
            raise VideoError(path, "0 decodable, at least 1 needed")


def read_frames(
    path: str | PathLike,
    indices: np.ndarray | Sequence[int],
    size: tuple[int, int] | None = (128, 192),
    threads: int | None = None,
    fit: str = "stretch",
) -> np.ndarray:
    """Read frames by their indices, in any order: exactly those that a decode of the whole file gives.

    With the (W, T) indices of `sampling.sliding_windows`, all windows of a video are read in one go; a frame
    that several windows share is decoded and scaled once.

    Args:
        path: the file.
        indices: whole numbers, counted from 0, of any shape but not empty; each may occur several times.
        size, threads, fit: as in `read_clip`.

    Returns:
        (*shape of indices, height, width, 3) uint8 RGB.

    Raises:
        VideoError: as in `read_clip`, or the video has no frame of such an index.
        ValueError: an argument is out of its range.

    Example:
        >>> windows = sliding_windows(probe("v_PullUps_g01_c01.avi").frames, num_frames=16, hop=8)
        >>> read_frames("v_PullUps_g01_c01.avi", windows).shape
        (18, 16, 128, 192, 3)
    """
    indices = np.asarray(indices)
    if not indices.size or not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0:
        raise ValueError(f"indices must be whole numbers of at least 0. Received: indices={indices!r}.")
    flat = indices.astype(np.int64).ravel()
    last = int(flat.max())
    request = _Request(lambda available: flat, start=0, needed=last + 1, strict=True, ends_early=True)
    pixels = _read(path, request, Target(size, fit), threads).pixels
    return pixels.reshape(*indices.shape, *pixels.shape[1:])


@dataclass(frozen=True)
class _Request:
    """Which frames are wanted of a video whose length is not known yet.

    Attributes:
        sample: from the number of frames of the video to the indices (T,).
        start: the first frame that may be wanted.
        needed: frames from `start` on that must exist if nothing is to be repeated or missing.
        strict: a video with fewer is an error.
        ends_early: whether a longer video would give the same clip.
    """

    sample: Callable[[int], np.ndarray]
    start: int
    needed: int
    strict: bool
    ends_early: bool

    def indices(self, available: int) -> np.ndarray | None:
        """Indices for a video of so many frames, None where it does not have all those needed."""
        return self.sample(available) if self.start + self.needed <= available else None

    def indices_of(self, path: Path, scan: Scan, available: int) -> np.ndarray:
        """Indices for a video of so many frames, by the policy for short ones where it may be used."""
        needed = f"{self.needed} needed from frame {self.start} on"
        enough = self.start + self.needed <= available
        lost = (scan.claimed or 0) >= self.start + self.needed > scan.count
        if available <= self.start or (not enough and (self.strict or lost)):
            raise VideoError(path, _shortage(scan.claimed, available, needed))
        return self.sample(available)


def _clip_request(
    num_frames: int | None, sampling: str, start: int, stop: int | None, short: str, stride: int
) -> _Request:
    """The request that the arguments of `read_clip` make; ValueError for what is wrong whatever the video is."""

    def sample(available: int, short: str = short) -> np.ndarray:
        return frame_indices(available, num_frames, sampling, start, stop, short, stride)

    if stop is None and isinstance(start, int | np.integer):
        longest = max(start, 0) + 1
    else:
        longest = stop if isinstance(stop, int | np.integer) else 1
    sample(longest, "wrap" if short == "error" else short)
    needed = frames_needed(num_frames, sampling, stride) if stop is None else stop - start
    ends_early = stop is not None or (num_frames is not None and sampling != "uniform")
    return _Request(sample, start, needed, strict=stop is not None or short == "error", ends_early=ends_early)


def _read(path: str | PathLike, request: _Request, target: Target, threads: int | None) -> Clip:
    check_threads(threads)
    path = regular_file(path)
    # Where a picture is not stretched the shape of its pixels matters, which the container tells.
    if target.stretches and (found := open_regular_avi(path, threads)):
        context, data = found
        clip = _read_needed(context, data, [None] * len(data), request, target, None)
        if clip is not None:
            return clip
    with open_stream(path, threads) as stream:
        scan = scan_packets(path, stream, keep=True)
        if scan.data:
            ratio = stream.sample_aspect_ratio
            clip = _read_needed(stream.codec_context, scan.data, scan.stamps, request, target, ratio)
            if clip is not None:
                return clip
    with open_stream(path, threads) as stream:
        clip, count = _read_in_order(path, stream, request, request.indices(scan.count), target, scan.count)
    if clip is None:
        # The packets did not tell the number of frames; now it is known.
        indices = request.indices_of(path, scan, count)
        with open_stream(path, threads) as stream:
            clip, again = _read_in_order(path, stream, request, indices, target, count)
        if clip is None:
            raise VideoError(path, f"changed while it was read: first {count} frames, then {again}")
    return clip


def _read_needed(
    context: av.VideoCodecContext,
    data: list[bytes],
    stamps: list[int | None],
    request: _Request,
    target: Target,
    pixel_ratio: Fraction | None,
) -> Clip | None:
    """Read a clip decoding only what it needs; None where that cannot be done, or does not come out right."""
    try:
        layout = find_layout(context, data, stamps)
        indices = None if layout is None else request.indices(layout.frames)
        if indices is None:
            return None
        data = layout.data or data
        positions = layout.needed(indices).tolist()
        frames = layout.frame.tolist()
        expected = sorted((frames[position], position) for position in positions if frames[position] >= 0)
        clip, received = Clip(indices, target, pixel_ratio), 0
        for position in [*positions, None]:
            packet = None
            if position is not None:
                packet = as_packet(data[position])
                packet.pts = position  # which comes back with the frame that the packet becomes
            for frame in context.decode(packet):
                if frame.is_corrupt or received == len(expected):
                    return None
                number, position = expected[received]
                if frame.pts != position:
                    return None
                if number in clip.places:
                    clip.offer(number, frame)
                received += 1
    except av.FFmpegError:
        # What is wrong, and where, is for the decode of everything to say.
        return None
    return clip if received == len(expected) and not clip.places else None


def _read_in_order(
    path: Path,
    stream: av.VideoStream,
    request: _Request,
    indices: np.ndarray | None,
    target: Target,
    expected: int,
) -> tuple[Clip | None, int]:
    """Decode frame after frame: the clip, or None if there are not `expected` frames, and their number."""
    clip, count = None if indices is None else Clip(indices, target, stream.sample_aspect_ratio), 0
    for frame in _decode(path, stream):
        count += 1
        if clip is not None and clip.offer(count - 1, frame) and request.ends_early:
            return clip, count
    return clip if count == expected else None, count


def _decode(path: Path, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All frames up to a damaged end; VideoError where something sound follows behind damage."""
    context, count, cut, damaged = stream.codec_context, 0, False, False
    for number, packet in enumerate(demux(stream)):
        if packet is not None:
            if cut:
                raise VideoError(path, f"corrupt: packet {number - 1} is not whole, and more follow")
            cut = packet.is_corrupt
            if cut:
                continue
        try:
            frames = context.decode(packet)
        except av.FFmpegError as error:
            raise VideoError(
                path, f"corrupt: packet {number} cannot be decoded, {count} frames before it ({text_of(error)})"
            ) from error
        for frame in frames:
            if damaged and not frame.is_corrupt:
                raise VideoError(path, f"corrupt: damaged behind {count} frames, and more frames follow")
            damaged = frame.is_corrupt
            if not damaged:
                count += 1
                yield frame


def _shortage(claimed: int | None, decodable: int, needed: str) -> str:
    claim = "" if claimed is None else f"{claimed} frames claimed, "
    return f"{claim}{decodable} decodable, {needed}"
