"""The one way in which videos are opened: within limits of time, pixels and bytes, and no file but the one named.

FFmpeg is never given a name. It reads through the methods of `Guard`, may open nothing by itself, and knows only
formats that hold a video in one file. So no name, and no content of a file, makes it open neighbours, devices or
addresses.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import av

from har_tf.files import limits

from .errors import VideoError

# By FFmpeg's names. Not among them: pictures and sequences of pictures, text, lists that name other files, devices.
_FORMATS = (
    *("amv", "asf", "asf_o", "av1", "avi", "avs2", "avs3", "cavsvideo", "dhav", "dirac", "dv", "evc", "flv", "gif"),
    *("gxf", "h261", "h263", "h264", "hevc", "ifv", "ivf", "kux", "live_flv", "lxf", "m4v", "matroska", "mjpeg"),
    *("mov", "mpeg", "mpegts", "mpegvideo", "mtv", "mxf", "nsv", "nut", "nuv", "obu", "ogg", "pva", "rm", "swf"),
    *("ty", "vc1", "vc1test", "vvc", "wtv", "yuv4mpegpipe"),
)


class Guard:
    """Reads a file for FFmpeg, and keeps the limits of `har_tf.files.limits` from when it is made on.

    Args:
        path: the file.

    Attributes:
        path: the file, a `pathlib.Path`.

    Raises:
        VideoError: there is no such file, it is empty, or not a regular one.
    """

    def __init__(self, path: str | PathLike):
        self.path = regular_file(path)
        self._pixels, self._bytes, self._seconds = map(limits.limit, (limits.PIXELS, limits.BYTES, limits.SECONDS))
        self._end = time.monotonic() + self._seconds
        self._file = self._error = None
        self._unused = 0

    @contextmanager
    def open(self) -> Iterator[av.container.InputContainer]:
        """The container of the file, which is closed at the end; VideoError where it holds no video that is known."""
        try:
            self._file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise VideoError(self.path, f"cannot be read ({text_of(error)})") from error
        with self._file:
            self._unused = 0
            settings = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "-"}
            try:
                container = av.open(
                    self,
                    container_options=settings,
                    options={"max_pixels": str(self.max_pixels)},
                    metadata_errors="replace",
                )
            except (av.FFmpegError, ValueError) as error:
                self.check()
                reason = "not a video, or its beginning or index is lost"
                if isinstance(error, av.ArgumentError):
                    reason = "not a video of a known format"
                raise VideoError(self.path, f"{reason} ({text_of(error)})") from error
            with container:
                self.check()
                yield container

    @property
    def max_pixels(self) -> int:
        """What FFmpeg's option of this name is set to, for frames larger than the file says; decoders add a border."""
        return int(min(self._pixels + 2**20, 2**31 - 1))

    @property
    def too_many_pixels(self) -> str:
        """What is wrong with a frame that FFmpeg refuses for its size, without saying it."""
        return f"more than {self._pixels:,.0f} pixels, which the environment variable {limits.PIXELS} would allow"

    def read(self, size: int) -> bytes:
        """For FFmpeg: the next bytes; once a limit is met none, as at the end, and `check` tells which limit."""
        if self._error is not None:
            return b""
        try:
            data = self._file.read(size)
        except OSError as error:
            self._error = VideoError(self.path, f"cannot be read ({text_of(error)})")
            return b""
        self._unused += len(data)
        if self._unused > self._bytes:
            found = f"{self._unused / 2**20:.0f} MiB without a frame of video, at most {self._bytes / 2**20:g} expected"
            self._error = self._exceeded(found, limits.BYTES)
        elif time.monotonic() > self._end:
            self._error = self._late()
        return data if self._error is None else b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """For FFmpeg: goes to another place."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -errno.EINVAL

    def tell(self) -> int:
        """For FFmpeg: the place in the file."""
        return self._file.tell()

    def came_upon_packet(self) -> None:
        """What was read had a use; VideoError where a limit was met."""
        self._unused = 0
        self.check()

    def check(self) -> None:
        """VideoError where a limit was met, or the file could not be read."""
        if self._error is None and time.monotonic() > self._end:
            self._error = self._late()
        if self._error is not None:
            raise self._error

    def check_pixels(self, height: int, width: int) -> None:
        """VideoError where a picture of this size has too many pixels."""
        if height * width > self._pixels:
            found = f"frames of {width} x {height} pixels, at most {self._pixels:,.0f} pixels expected"
            raise self._exceeded(found, limits.PIXELS)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here does not count."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - begin

    def _late(self) -> VideoError:
        return self._exceeded(f"reading it took longer than {self._seconds:g} s", limits.SECONDS)

    def _exceeded(self, found: str, name: str) -> VideoError:
        return VideoError(self.path, f"{found}; the environment variable {name} raises this limit")


def regular_file(path: str | PathLike) -> Path:
    """The path; VideoError unless it is a regular file that is not empty."""
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


def text_of(error: Exception) -> str:
    """What an error of the system or of FFmpeg says, without its number."""
    return getattr(error, "strerror", None) or str(error)
