"""Which frames of a video make a clip: all index arithmetic of the project stands here, and only here.

Indices are whole frames in presentation order, counted from 0; ranges are [start, stop). Everything is done
in integers (times in microseconds), so that a result never hangs on the rounding of a float.
"""

import re

import numpy as np

SAMPLINGS = ("uniform", "strided", "dense")
BY = ("frame", "time")
ROUNDING = 2e-3  # seconds by which times of an even rate may be off: containers count milliseconds, mostly
SHORT_POLICIES = ("repeat_last", "wrap", "error")


def frames_needed(num_frames: int | None, sampling: str = "uniform", stride: int = 2, by: str = "frame") -> int:
    """Length of the stretch of video that a clip needs so that no frame of it is made up.

    It is `num_frames` for uniform and dense sampling, `(num_frames - 1) * stride + 1` for strided, and 1 where
    `num_frames` is None or the times of the frames decide. Arguments and errors are those of `frame_indices`.
    """
    if rate_of(by) or (by == "time" and sampling == "strided"):
        num_frames = 1
    num_frames = 1 if num_frames is None else num_frames
    _check_at_least(1, num_frames=num_frames, stride=stride)
    _check_one_of(SAMPLINGS, sampling=sampling)
    return (num_frames - 1) * stride + 1 if sampling == "strided" else num_frames


def frame_indices(
    available: int,
    num_frames: int | None,
    sampling: str = "uniform",
    start: int = 0,
    stop: int | None = None,
    short: str = "repeat_last",
    stride: int = 2,
    seconds: np.ndarray | None = None,
    by: str = "time",
) -> np.ndarray:
    """Indices of the frames that make one clip.

    Args:
        available: frames the video has.
        num_frames: frames of the clip, T; None: every frame of the range, or every `stride`-th under
            "strided".
        sampling: "uniform", T frames evenly from the first to the last of the range, halves rounded up, so
            that the clip of a reversed video is the reversed clip wherever the step is whole; "dense", the
            first T frames; "strided", T frames that lie `stride` apart, from the first on.
        start: first frame of the range.
        stop: the frame after the last of the range; None: the end of the video.
        short: what happens where the range is shorter than `frames_needed`: "repeat_last" takes the frames
            there are and repeats the last one, "wrap" starts again from the first, "error" raises.
        stride: distance of neighbouring frames under "strided"; 2 is the usual choice for 3D networks.
        seconds: (available,), rising, when each frame is shown, for videos of uneven speed: "uniform" then takes the
            frames nearest to T instants evenly from the first to the last frame of the range, "strided" those nearest
            to instants that lie `stride` times the mean distance of the video's frames apart; of two as near the later
            one. A frame that is shown long may come several times. None, or frames that are evenly far apart: by frame.
        by: what is done with `seconds`: "time" as above; a rate such as "25fps" first takes the frames nearest to
            instants that lie 1/25 s apart, from the first of the range on, and samples of these as of a video of that
            rate: "dense" the first T of them.

    Returns:
        (T,) int64, each in [start, stop).

    Raises:
        ValueError: an argument is out of its range, the range holds no frame, or is short under "error".

    Example:
        >>> frame_indices(9, 5)
        array([0, 2, 4, 6, 8])
        >>> frame_indices(3, 5, short="wrap")
        array([0, 1, 2, 0, 1])
    """
    stop = available if stop is None else stop
    _check_at_least(0, available=available, start=start, stop=stop)
    needed = frames_needed(num_frames, sampling, stride)
    _check_one_of(SHORT_POLICIES, short=short)
    if not start < stop <= available:
        raise ValueError(
            f"no such range of frames: expected 0 <= start < stop <= {available}, the frames there are. "
            f"Received: start={start}, stop={stop}."
        )
    if seconds is not None and (rate := rate_of(by)):
        ticks = _ticks(np.asarray(seconds)[start:stop])
        length = _count_at(ticks, rate)
        if short == "error" and length < (needed := frames_needed(num_frames, sampling, stride)):
            there = f"{length} frames at {by} from frame {start} on"
            raise ValueError(f"{there}, {needed} needed. Received: short='error'.")
        chosen = frame_indices(length, num_frames, sampling, short=short, stride=stride)
        return start + _nearest(ticks, np.rint(chosen * (1e6 / rate)).astype(np.int64))
    if seconds is not None and not is_even(np.asarray(seconds)):
        return start + _by_time(np.asarray(seconds), num_frames, sampling, slice(start, stop), short, stride)
    length = stop - start
    step = stride if sampling == "strided" else 1
    if num_frames is None:
        return np.arange(start, stop, step, dtype=np.int64)
    if needed > length and short == "error":
        raise ValueError(f"{length} frames from frame {start} on, {needed} needed. Received: short='error'.")
    offsets = np.arange(num_frames, dtype=np.int64) * step
    if sampling == "uniform" and 1 < num_frames <= length:
        # floor(i * (length - 1) / (num_frames - 1) + 1 / 2), without a float.
        offsets = (2 * offsets * (length - 1) + num_frames - 1) // (2 * (num_frames - 1))
    # The last frame that the steps can reach; under "wrap" the first comes again one step behind it.
    last = (length - 1) // step * step
    return start + (offsets % (last + step) if short == "wrap" else np.minimum(offsets, last))


def is_even(seconds: np.ndarray) -> bool:
    """Whether frames at these seconds (N,), which rise from 0, are as far apart, to what containers round.

    FFmpeg stamps the first frame of some streams up to a frame too early or too late, which does not count.
    """

    def on_a_line(part: np.ndarray) -> bool:
        return bool(np.abs(part - np.linspace(part[0], part[-1], len(part))).max() <= ROUNDING)

    if len(seconds) < 3 or on_a_line(seconds):
        return True
    step = (seconds[-1] - seconds[1]) / (len(seconds) - 2)
    return bool(len(seconds) >= 8 and abs(seconds[1] - step) <= 1.1 * step and on_a_line(seconds[1:]))


def rate_of(by: str) -> float | None:
    """The frames a second that `by` asks for, as "25fps" or "29.97fps" does; None where it is no rate."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)fps", by) if isinstance(by, str) else None
    return float(found[1]) or None if found else None


def frames_at(seconds: np.ndarray, by: str, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Indices of the frames, shown at these seconds (N,), that make the video, or the range, even, (M,) int64.

    `by` is the rate that it gets, such as "25fps"; "time" is the mean rate of its frames.
    """
    return frame_indices(len(seconds), None, "strided", start, stop, stride=1, seconds=seconds, by=by)


def check_by(by: str, sampling: str) -> None:
    """ValueError unless clips of this sampling can go by this."""
    if by not in BY and rate_of(by) is None:
        raise ValueError(f"by must be one of {', '.join(BY)}, or a rate such as 25fps. Received: by={by!r}.")
    if by == "time" and sampling == "dense":
        raise ValueError('by="time" goes with sampling "uniform" or "strided". Received: sampling=\'dense\'.')


def _ticks(seconds: np.ndarray) -> np.ndarray:
    """Microseconds from the first frame to each, int64 (N,)."""
    return np.rint((seconds - seconds[0]) * 1e6).astype(np.int64)


def _count_at(ticks: np.ndarray, rate: float) -> int:
    """Frames of this rate while frames at these microseconds are shown, the last as long as the others in the mean."""
    span = int(ticks[-1])
    return max(1, int((span + span / max(1, len(ticks) - 1)) * rate / 1e6 + 0.5))


def _by_time(
    seconds: np.ndarray, num_frames: int | None, sampling: str, part: slice, short: str, stride: int
) -> np.ndarray:
    """Indices in a part of the video of the frames nearest to evenly spaced instants, (T,) int64."""
    check_by("time", sampling)
    ticks = np.rint(seconds * 1e6).astype(np.int64)
    distance = max(1, round(int(ticks[-1] - ticks[0]) / max(1, len(ticks) - 1)))
    ticks = ticks[part] - ticks[part.start]
    span = int(ticks[-1])
    if sampling == "uniform":
        if num_frames is None or num_frames == 1 or num_frames > len(ticks):
            return frame_indices(len(ticks), num_frames, short=short)
        # Both sides times T - 1, so that instants are whole numbers.
        return _nearest(ticks * (num_frames - 1), np.arange(num_frames) * span)
    step = stride * distance
    last = (span + distance // 2) // step * step  # the last instant that is not beyond the last frame, or hardly
    if num_frames is None:
        return _nearest(ticks, np.arange(0, last + 1, step))
    instants = np.arange(num_frames, dtype=np.int64) * step
    if short == "error" and instants[-1] > last:
        found = f"{span / 1e6:g} s from the first frame to the last, {instants[-1] / 1e6:g} s needed"
        raise ValueError(f"{found}. Received: short='error'.")
    return _nearest(ticks, instants % (last + step) if short == "wrap" else np.minimum(instants, last))


def _nearest(ticks: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """For each instant the place of the nearest tick, of two as near the later one."""
    right = np.searchsorted(ticks, instants).clip(0, len(ticks) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(instants - ticks[left] < ticks[right] - instants, left, right).astype(np.int64)


def sliding_windows(
    available: int,
    num_frames: int,
    hop: int | None = None,
    stride: int = 1,
    start: int = 0,
    stop: int | None = None,
    tail: str = "align",
    short: str = "repeat_last",
) -> np.ndarray:
    """Indices of the windows that slide over a video, each the clip of one prediction.

    Args:
        available, start, stop, short: as in `frame_indices`; short for a range that is shorter than one window.
        num_frames: frames of a window, T.
        hop: frames from the start of one window to the start of the next; None: windows that do not overlap.
        stride: distance of neighbouring frames inside a window.
        tail: what happens to frames behind the last whole window: "align" adds a window that ends with the
            last frame, "drop" leaves them out.

    Returns:
        (W, T) int64, W at least 1.

    Raises:
        ValueError: an argument is out of its range, the range holds no frame, or is short under "error".

    Example:
        >>> sliding_windows(10, 4, hop=4)
        array([[0, 1, 2, 3],
               [4, 5, 6, 7],
               [6, 7, 8, 9]])
    """
    _check_one_of(("align", "drop"), tail=tail)
    stop = available if stop is None else stop
    window = frame_indices(available, num_frames, "strided", start, stop, short, stride)
    needed = frames_needed(num_frames, "strided", stride)
    hop = needed if hop is None else hop
    _check_at_least(1, hop=hop)
    room = stop - start - needed
    if room <= 0:
        return window[None]
    shifts = np.arange(0, room + 1, hop, dtype=np.int64)
    if tail == "align" and shifts[-1] != room:
        shifts = np.append(shifts, room)
    return window + shifts[:, None]


def _check_at_least(least: int, **arguments: int) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}. Received: {name}={value!r}.")


def _check_one_of(choices: tuple[str, ...], **arguments: str) -> None:
    for name, value in arguments.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {name}={value!r}.")
