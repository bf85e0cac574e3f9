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

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .clock import Clock
from .display import Clip, Target, View
from .errors import VideoError
from .guard import Guard, text_of
from .layout import as_packet, find_layout
from .sampling import check_by, frame_indices, frames_at, frames_needed, rate_of, sliding_windows
from .stream import Scan, check_threads, demux, open_regular_avi, open_stream, scan_packets


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds, found by decoding all of it.

    Attributes:
        path: the file.
        frames: number of frames that can be decoded.
        fps: mean frames per second: by the time stamps of the frames, or what the container says where these fit; 0
            where nothing says it.
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
    guard = Guard(path)
    with open_stream(guard) as stream:
        claimed = scan_packets(guard, stream, keep=False).claimed
    with open_stream(guard, threads) as stream:
        view, clock, seconds = None, Clock.of(stream), []
        for frame in _decode(guard, stream):
            view = view or View.of(guard, frame, stream.sample_aspect_ratio, Target(None))
            seconds.append(clock.second(frame.pts))
        if view is None:
            raise VideoError(guard.path, _shortage(claimed, 0, "at least 1 needed"))
        fps = clock.rate_of(np.array(seconds))
        codec = stream.codec_context.codec.canonical_name
    return VideoInfo(
        path=guard.path,
        frames=len(seconds),
        fps=fps,
        width=view.shape[1],
        height=view.shape[0],
        duration=len(seconds) / fps if fps else 0.0,
        rotation=view.rotation,
        codec=codec,
        claimed_frames=claimed,
    )


def frame_times(path: str | PathLike, frames: int | None = None, threads: int | None = None) -> np.ndarray:
    """When each frame of a video is shown.

    Args:
        path: the file.
        frames: how many it has, as `probe` says: where as many packets have time stamps, none is decoded. None: all
            are decoded.
        threads: as in `read_clip`.

    Returns:
        float64 (N,), the seconds from the first frame to each, rising; see `clock` for stamps that are damaged.

    Raises:
        VideoError: as in `read_clip`.

    Example:
        >>> frame_times("v_PullUps_g01_c01.avi")[:3]
        array([0.  , 0.04, 0.08])
    """
    check_threads(threads)
    guard = Guard(path)
    if frames is not None:
        with open_stream(guard) as stream:
            seconds = seconds_of(stream, scan_packets(guard, stream, keep=False))
        if seconds is not None and len(seconds) == frames:
            return seconds
    with open_stream(guard, threads) as stream:
        clock = Clock.of(stream)
        return clock.seconds(frame.pts for frame in _decode(guard, stream))


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
    by: str = "frame",
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
            out the centre; "inner" scales it to 8/7 of that, and cuts out the centre: 224 of a shorter side of 256.
        by: what "uniform" and "strided" go by where frames are not evenly far apart in time: "frame" counts them;
            "time" takes those nearest to evenly spaced instants. A rate such as "25fps" samples, also "dense", as of
            the video at that rate. See `sampling.frame_indices`.

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
    request = _clip_request(num_frames, sampling, 0 if start is None else start, stop, short, stride, by)
    return _read(path, request, Target(size, fit), threads).pixels


def read_sampled(
    path: str | PathLike,
    num_frames: int | None = 10,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    fit: str = "stretch",
    by: str = "frame",
) -> tuple[np.ndarray, np.ndarray]:
    """The clip that `read_clip` reads, and which frames of the video it holds, int64 (T,); arguments as there."""
    clip = _read(path, _clip_request(num_frames, sampling, 0, None, short, 2, by), Target(size, fit), None)
    return clip.pixels, clip.indices


def play(
    path: str | PathLike, size: tuple[int, int] | None = None, threads: int | None = None
) -> Iterator[tuple[np.ndarray, float]]:
    """All frames of a video one by one, each with its time: of a video of any length one is in memory.

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
    guard, target, reformatter = Guard(path), Target(size), VideoReformatter()
    with open_stream(guard, threads) as stream:
        view, clock = None, Clock.of(stream)
        for frame in _decode(guard, stream):
            view = view or View.of(guard, frame, stream.sample_aspect_ratio, target)
            yield view.show(frame, reformatter), clock.second(frame.pts)
        if view is None:
            raise VideoError(guard.path, "0 decodable, at least 1 needed")


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
    request = _Request(lambda available, seconds: flat, start=0, needed=last + 1, strict=True, ends_early=True)
    pixels = _read(path, request, Target(size, fit), threads).pixels
    return pixels.reshape(*indices.shape, *pixels.shape[1:])


def read_windows(
    path: str | PathLike,
    windows: int,
    num_frames: int,
    size: tuple[int, int] | None = (128, 192),
    sampling: str = "dense",
    short: str = "repeat_last",
    fit: str = "stretch",
    by: str = "frame",
) -> np.ndarray:
    """Clips that lie side by side in a video, of which the last ends with it: what a prediction is averaged over.

    Args:
        path: the file.
        windows: the most clips; of a video that holds more so many, evenly from the first to the last.
        num_frames: frames of a clip, T.
        sampling: "dense", or "strided" for every second frame.
        size, short, fit, by: as in `read_clip`.

    Returns:
        (W, T, height, width, 3) uint8 RGB, 1 <= W <= windows.

    Raises:
        VideoError: as in `read_clip`.
        ValueError: an argument is out of its range, or sampling is "uniform", of which one clip is of the whole video.

    Example:
        >>> read_windows("v_PullUps_g01_c01.avi", 3, 64, (224, 224)).shape
        (3, 64, 224, 224, 3)
    """
    check_by(by, sampling)
    if sampling == "uniform" or windows < 1:
        raise ValueError(
            "windows are at least 1, of frames that follow each other: sampling is dense or strided. "
            f"Received: {windows=}, {sampling=}"
        )
    count = probe(path).frames
    there = np.arange(count) if by == "frame" else frames_at(frame_times(path, count), by)
    try:
        rows = sliding_windows(len(there), num_frames, stride=2 if sampling == "strided" else 1, short=short)
    except ValueError as error:  # too short
        raise VideoError(path, str(error)) from error
    rows = rows[frame_indices(len(rows), min(windows, len(rows)))]
    return read_frames(path, there[rows], size, fit=fit)


@dataclass(frozen=True)
class _Request:
    """Which frames are wanted of a video whose length is not known yet.

    Attributes:
        sample: from the number of frames of the video and their seconds (or None) to the indices (T,).
        start: the first frame that may be wanted.
        needed: frames from `start` on that must exist if nothing is to be repeated or missing.
        strict: a video with fewer is an error.
        ends_early: whether a longer video would give the same clip.
        by_time: whether the indices follow from the seconds.
        lasts: seconds that the clip takes, of one at a rate, which say how many frames must exist.
    """

    sample: Callable[[int, np.ndarray | None], np.ndarray]
    start: int
    needed: int
    strict: bool
    ends_early: bool
    by_time: bool = False
    lasts: float | None = None

    def wanted(self, seconds: np.ndarray | None) -> int:
        """`needed`, of a clip at a rate for a video whose frames are shown at these seconds."""
        if self.lasts is None or seconds is None or len(seconds) < 2:
            return self.needed
        distance = float(seconds[-1] - seconds[0]) / (len(seconds) - 1)
        return max(self.needed, math.ceil(self.lasts / distance - 1e-3) + 1)

    def indices(self, available: int, seconds: np.ndarray | None) -> np.ndarray | None:
        """Indices for a video of so many frames, None where it does not have all those needed, or no seconds."""
        if self.start + self.wanted(seconds) > available:
            return None
        if not self.by_time:
            return self.sample(available, None)
        if seconds is None or len(seconds) != available:
            return None
        try:
            return self.sample(available, seconds)
        except ValueError:  # too short in time
            return None

    def indices_of(self, path: Path, scan: Scan, seconds: np.ndarray) -> np.ndarray:
        """Indices for a video of these frames, by the policy for short ones where it may be used."""
        available, wanted = len(seconds), self.wanted(seconds)
        enough = self.start + self.needed <= available
        lost = (scan.claimed or 0) >= self.start + wanted > max(scan.count, available)
        if available <= self.start or lost or (not enough and self.strict):
            needed = f"{wanted} needed from frame {self.start} on"
            raise VideoError(path, _shortage(scan.claimed, available, needed))
        try:
            return self.sample(available, seconds if self.by_time else None)
        except ValueError as error:
            raise VideoError(path, str(error)) from error


def _clip_request(
    num_frames: int | None, sampling: str, start: int, stop: int | None, short: str, stride: int, by: str
) -> _Request:
    """The request that the arguments of `read_clip` make; ValueError for what is wrong whatever the video is."""
    check_by(by, sampling)

    def sample(available: int, seconds: np.ndarray | None, short: str = short) -> np.ndarray:
        return frame_indices(available, num_frames, sampling, start, stop, short, stride, seconds, by)

    if stop is None and isinstance(start, int | np.integer):
        longest = max(start, 0) + 1
    else:
        longest = stop if isinstance(stop, int | np.integer) else 1
    sample(longest, None, "wrap" if short == "error" else short)
    by_time = by != "frame"
    needed = frames_needed(num_frames, sampling, stride, by) if stop is None else stop - start
    strict = stop is not None or short == "error"
    ends_early = not by_time and (stop is not None or (num_frames is not None and sampling != "uniform"))
    rate, count = rate_of(by), frames_needed(num_frames, sampling, stride)
    lasts = (count - 1) / rate if rate and stop is None else None
    return _Request(sample, start, needed, strict, ends_early, by_time, lasts)


def _read(path: str | PathLike, request: _Request, target: Target, threads: int | None) -> Clip:
    check_threads(threads)
    guard = Guard(path)
    # Where a picture is not stretched the shape of its pixels matters, which the container tells, as it does the times.
    if target.stretches and not request.by_time and (found := open_regular_avi(guard, threads)):
        context, data = found
        clip = _read_needed(guard, context, data, [None] * len(data), None, request, target, None)
        if clip is not None:
            return clip
    with open_stream(guard, threads) as stream:
        scan = scan_packets(guard, stream, keep=True, stamped=request.by_time)
        seconds = seconds_of(stream, scan) if request.by_time else None
        if scan.data:
            context, ratio = stream.codec_context, stream.sample_aspect_ratio
            clip = _read_needed(guard, context, scan.data, scan.stamps, seconds, request, target, ratio)
            if clip is not None:
                return clip
    with open_stream(guard, threads) as stream:
        indices = request.indices(scan.count, seconds)
        clip, seconds = _read_in_order(guard, stream, request, indices, target, scan.count)
    if clip is None:
        # The packets did not tell the number of frames; now it is known.
        indices = request.indices_of(guard.path, scan, seconds)
        with open_stream(guard, threads) as stream:
            clip, again = _read_in_order(guard, stream, request, indices, target, len(seconds))
        if clip is None:
            reason = f"changed while it was read: first {len(seconds)} frames, then {len(again)}"
            raise VideoError(guard.path, reason)
    return clip


def seconds_of(stream: av.VideoStream, scan: Scan) -> np.ndarray | None:
    """When the frames are shown, if every packet becomes one; None where one has no stamp."""
    return None if None in scan.stamps else Clock.of(stream).seconds(sorted(scan.stamps))


def _read_needed(
    guard: Guard,
    context: av.VideoCodecContext,
    data: list[bytes],
    stamps: list[int | None],
    seconds: np.ndarray | None,
    request: _Request,
    target: Target,
    pixel_ratio: Fraction | None,
) -> Clip | None:
    """Read a clip decoding only what it needs; None where that cannot be done, or does not come out right."""
    try:
        layout = find_layout(context, data, stamps)
        indices = None if layout is None else request.indices(layout.frames, seconds)
        if indices is None:
            return None
        data = layout.data or data
        positions = layout.needed(indices).tolist()
        frames = layout.frame.tolist()
        expected = sorted((frames[position], position) for position in positions if frames[position] >= 0)
        clip, received = Clip(guard, indices, target, pixel_ratio), 0
        for position in [*positions, None]:
            guard.check()
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
    guard: Guard,
    stream: av.VideoStream,
    request: _Request,
    indices: np.ndarray | None,
    target: Target,
    expected: int,
) -> tuple[Clip | None, np.ndarray]:
    """Decode frame after frame: the clip, or None if there are not `expected` frames, and the seconds of the frames."""
    clip = None if indices is None else Clip(guard, indices, target, stream.sample_aspect_ratio)
    clock, seconds = Clock.of(stream), []
    for number, frame in enumerate(_decode(guard, stream)):
        seconds.append(clock.second(frame.pts))
        if clip is not None and clip.offer(number, frame) and request.ends_early:
            return clip, np.array(seconds)
    return clip if len(seconds) == expected else None, np.array(seconds)


def _decode(guard: Guard, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All frames up to a damaged end; VideoError where something sound follows behind damage."""
    context, count, cut, damaged = stream.codec_context, 0, False, False
    for number, packet in enumerate(demux(guard, stream)):
        if packet is not None:
            if cut:
                raise VideoError(guard.path, f"corrupt: packet {number - 1} is not whole, and more follow")
            cut = packet.is_corrupt
            if cut:
                continue
        try:
            frames = context.decode(packet)
        except av.FFmpegError as error:
            reason = text_of(error)
            if not context.width:  # as FFmpeg leaves it, which says no more
                reason = f"{reason}, or a frame has {guard.too_many_pixels}"
            found = f"corrupt: packet {number} cannot be decoded, {count} frames before it ({reason})"
            raise VideoError(guard.path, found) from error
        for frame in frames:
            if damaged and not frame.is_corrupt:
                raise VideoError(guard.path, f"corrupt: damaged behind {count} frames, and more frames follow")
            damaged = frame.is_corrupt
            if not damaged:
                count += 1
                with guard.paused():
                    yield frame


def _shortage(claimed: int | None, decodable: int, needed: str) -> str:
    claim = "" if claimed is None else f"{claimed} frames claimed, "
    return f"{claim}{decodable} decodable, {needed}"
