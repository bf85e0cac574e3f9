"""When the frames of a video are shown, from their time stamps.

Containers round stamps, some of them lack, and damaged ones leap. Where a stamp is missing, does not rise, or leaps by
more than an hour, the frame stands as far behind the one before as the frame rate says; stamps that differ from an even
rate by no more than the container's rounding are made even.
"""

from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

from .sampling import ROUNDING, is_even

UNKNOWN_RATE = 10  # frames a second of files that do not say
_LONGEST_GAP = 3600  # seconds between two frames: more is a damaged time stamp


class Clock:
    """Turns the stamps of a stream's frames, one after the other, into seconds.

    Args:
        rate: frames a second as the container says, None where it does not.
        time_base: seconds of one tick of the stamps.
    """

    def __init__(self, rate: Fraction | None, time_base: Fraction | None):
        self._rate, self._base = float(rate or 0), time_base
        self._step = 1 / (self._rate or UNKNOWN_RATE)
        # AVI counts in frames, and FFmpeg stamps one with B pictures by a frame too late from the second on.
        self._tick = max(1.5 * float(time_base or 0), 1e-3)
        self._count, self._first, self._second = 0, None, 0.0

    @classmethod
    def of(cls, stream: av.VideoStream) -> "Clock":
        """The clock of a stream."""
        return cls(stream.average_rate or stream.guessed_rate, stream.time_base)

    def second(self, stamp: int | None) -> float:
        """Seconds from the first frame to the next one, which has this stamp."""
        time = None if stamp is None or self._base is None else float(stamp * self._base)
        number, before = self._count, self._second
        second = number * self._step
        if number == 0:
            self._first = time
        else:
            if time is not None and self._first is not None and abs(time - self._first - second) > self._tick:
                second = time - self._first
            if not before + min(self._step, 2e-3) / 2 <= second < before + _LONGEST_GAP:
                second = before + self._step
        self._count, self._second = number + 1, second
        return second

    def seconds(self, stamps: Iterable[int | None]) -> np.ndarray:
        """float64 (N,) the seconds of all frames, from their stamps."""
        return np.array([self.second(stamp) for stamp in stamps], np.float64)

    def rate_of(self, seconds: np.ndarray) -> float:
        """Mean frames a second of frames at these seconds: what the container says where that fits, 0 if unknown."""
        if len(seconds) < 2 or not (self._rate or self._first is not None):
            return self._rate
        # Of an even stream the first stamp may be off by a frame.
        for part in (seconds, seconds[1:]) if is_even(seconds) else (seconds,):
            if self._rate and np.abs(part - part[0] - np.arange(len(part)) / self._rate).max() <= ROUNDING:
                return self._rate
        return (len(seconds) - 1) / float(seconds[-1])
