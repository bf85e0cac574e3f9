"""Detectors whose files native code parses: opened, tried and run in a process of their own.

A damaged TFLite or ONNX file can crash the library that reads it, now or at any later frame. Here that, a hang, and
memory over a limit are errors that name the file, and this process never opens it. The process is started once a file.
"""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from har_tf.concepts.detectors.base import Detections, Detector, DetectorError
from har_tf.files.workers import Failed, Worker

SECONDS = 60.0  # for opening a file and trying it, and for every frame
MEMORY = 4 * 2**30  # bytes for the process


class HostedDetector:
    """A detector that lives in a process of its own, which ends with this object.

    Args:
        opens: makes the detector, called in the other process with `path` and the options.
        kind: what the file should hold, for the error.
        path: the file.
        *options: further arguments of `opens`.

    Raises:
        DetectorError: the file cannot be opened, or fails on a first picture.
        FileNotFoundError: no such file.
    """

    def __init__(self, opens: Callable[..., Detector], kind: str, path: str | Path, *options) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"{path}: no such detector")
        self._opens = pickle.dumps(partial(opens, self._path, *options))
        self._worker = Worker(pickle.dumps(_answer), SECONDS, MEMORY)
        ends = weakref.finalize(self, self._worker.close)
        about = self._worker.do((self._opens, None))
        if isinstance(about, Failed | DetectorError):
            ends()
        if isinstance(about, Failed):
            raise DetectorError(f"{path}: cannot be used: {about.reason}. Expected {kind}")
        if isinstance(about, DetectorError):
            raise about
        self.names, self.settings = about

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        found = []
        for number, frame in enumerate(frames, start):
            detections = self._worker.do((self._opens, frame))
            if isinstance(detections, Failed):
                of_video = f" of {video}" if video else ""
                raise DetectorError(
                    f"{self._path}: the detector failed on frame {number}{of_video}: {detections.reason}"
                )
            if isinstance(detections, DetectorError):
                raise detections
            found.append(detections)
        return found


@lru_cache(1)
def _opened(opens: bytes) -> Detector:
    # What libraries print about a file, or when they crash, is no line of this program's.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    detector = pickle.loads(opens)()
    detector(np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3), np.uint8))
    return detector


def _answer(task: tuple[bytes, np.ndarray | None]):
    """What is in a frame; without one, names and settings of the detector; or its error."""
    opens, frame = task
    try:
        detector = _opened(opens)
        return (detector.names, detector.settings) if frame is None else detector(frame[None])[0]
    except DetectorError as error:
        return DetectorError(str(error))
