"""What worker processes do in tests: they import it by name, which modules of tests have not."""

import ctypes
import errno
import os
import signal
import sys
import time

import numpy as np

from har_tf.command import guarded
from har_tf.concepts.detectors.base import DetectorError
from har_tf.datasets.errors import DatasetError
from har_tf.files.whole import whole_file
from har_tf.video import VideoError, read_clip
from har_tf.video.frame_counts import FrameCount

STATE = []  # what earlier tasks of the same process left behind


def work(task):
    """What a task says."""
    match task:
        case "crash":
            os.abort()
        case "raise":
            raise ValueError("first line\nsecond line")
        case "video":
            raise VideoError("a.mp4", "not a video")
        case "slow":
            time.sleep(0.3)
        case "hang":
            time.sleep(60)
        case "hang in C":
            ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the lock of the interpreter
        case "array":
            return np.full(2**20, 7, np.uint8)
        case "memory":
            np.ones(2**30, np.uint8)
        case "memory of the decoder":
            raise VideoError("a.mp4", "corrupt") from OSError(errno.ENOMEM, "Cannot allocate memory")
        case "poison":
            STATE.append("poison")
        case "sensitive" if STATE:
            os.abort()
        case "cannot be pickled":
            return lambda: None
        case "pid":
            return os.getpid()
    return f"{task} done"


def die_or_count(path):
    """As a decoder that crashes."""
    if path.endswith("a.mp4"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return FrameCount(7, 1, 1)


def one_frame_late(path, threads, **request):
    clip = read_clip(path, threads=threads, **request)
    return np.concatenate([clip[1:], clip[-1:]])


def crashes(path, threads, **request):
    os.abort()


def hangs(path, threads, **request):
    time.sleep(60)


def takes_memory(path, threads, **request):
    return np.ones(2**32, np.uint8)


def raises(path, threads, **request):
    raise KeyError("first")


def refuses(path, threads, **request):
    raise VideoError(path, "corrupt")


def read_or_crash(path, **options):
    """`read_clip`, which puts an end to the process that reads a certain video, as a decoder may."""
    if path.stem == "crash":
        os._exit(3)
    return read_clip(path, **options)


class NativeDetector:
    """A detector of which a file says how it ends: when it is opened, or at the first bright frame."""

    def __init__(self, path, score):
        self.how, self.at = path.read_text().split()
        self.names, self.settings = ("pid",), {"score": score}
        if self.at == "open":
            self.end()

    def __call__(self, frames):
        if self.at == "bright" and (frames == 255).all():
            self.end()
        return [os.getpid()] * len(frames)

    def end(self):
        if self.how == "refuse":
            raise DetectorError("net.bin: no network")
        print("what a library says", flush=True, file=sys.stderr)
        work(self.how.replace("_", " "))


def _ended(action) -> None:
    """As a command line: SystemExit, with one line where it failed or was interrupted."""
    raise SystemExit(guarded(action))


def writes_whole(material, folder):
    def write():
        with whole_file(folder / "result.json") as part:
            part.write_text('["whole"]')

    _ended(write)


def writes_in_place(material, folder):
    _ended(lambda: (folder / "result.json").write_text('["whole"]'))


def writes_beside(material, folder):
    def write():
        part = folder / f".part.{len(list(folder.iterdir())) + 1}"
        part.write_text('["whole"]')
        part.rename(folder / "result.json")

    _ended(write)


def goes_on_twice(material, folder):
    def write():
        with (folder / "result.json").open("a") as file:
            file.write("1")
        (folder / "done").touch()

    _ended(write)


def refuses_what_is_there(material, folder):
    def write():
        if (folder / "part").exists():
            raise ValueError("part: there already")
        (folder / "part").write_text("part")
        (folder / "part").rename(folder / "result")

    _ended(write)


def prints_a_traceback(material, folder):
    (folder / "result").touch()


def says_nothing(material, folder):
    try:
        (folder / "result").touch()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def fills(material, folder):
    _ended(lambda: (folder / "result").write_bytes(bytes(2**15)))


def fills_and_says_so(material, folder):
    def write():
        with whole_file(folder / "result") as part:
            part.write_bytes(bytes(2**15))

    _ended(write)


class CarelessStore:
    """Clips of three bytes without checksums."""

    class_names, groups, names, shape, labels = (), [], [], (3,), np.arange(4)

    def __init__(self, kind, folder):
        self._clips = np.fromfile(folder / "clips.raw", np.uint8).reshape(4, 3)

    def __len__(self):
        return 4

    def read(self, positions):
        return self._clips[positions]


class StubbornStore(CarelessStore):
    """Tells damage, but is never mended."""

    def read(self, positions):
        if not np.array_equal(self._clips.ravel(), np.arange(12)):
            raise DatasetError("clips.raw: damaged")
        return super().read(positions)
