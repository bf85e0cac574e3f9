"""Predictions of many videos, as rows: by this process, or by the workers of an Apache Beam pipeline.

Both give the same rows in the order of the videos; one that cannot be read is a row with the reason. What workers have
finished is kept in a folder until all rows were taken, and a run after a kill goes on from there.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from har_tf import __version__
from har_tf.datasets.errors import DatasetError
from har_tf.files.whole import alone, resumable, whole_file
from har_tf.files.workers import Failed
from har_tf.store import beam
from har_tf.store.checksums import sealed, unsealed

if TYPE_CHECKING:
    from har_tf.classifier import Classifier

VIDEOS = 16  # of an element


@dataclass(frozen=True)
class Row:
    """What a model answered on one video.

    Args:
        probabilities: one a class; None where the video cannot be read.
        error: why it cannot.
        note: what a reader should know, such as that it has fewer frames than a clip.
    """

    probabilities: tuple[float, ...] | None
    error: str | None = None
    note: str | None = None


def rows(classifier: Classifier, videos: Sequence[Path], windows: int | None = None) -> Iterator[Row]:
    """The row of every video, in order, as soon as it is there; `windows` as in `Classifier.predict`."""
    how = classifier.reading
    for video, clip, answer in classifier.answers(videos, windows=windows):
        if isinstance(answer, Failed):
            yield Row(None, answer.reason)
        else:
            yield Row(tuple(map(float, answer)), note=short_note(video, clip, how))


def rows_on_beam(
    model: Path,
    videos: Sequence[Path],
    options: Sequence[str],
    work: Path,
    windows: int | None = None,
    **loading: Any,
) -> Iterator[Row]:
    """As `rows`, by the workers of a Beam runner, each of which loads the model once.

    Args:
        model: a `.keras` file.
        videos: which all workers see at the same paths, as they do the model.
        options: of the pipeline, see `har_tf.store.beam`.
        work: a folder that all workers see, for what is finished; it is gone when all rows were taken.
        windows: as in `Classifier.predict`.
        **loading: further arguments of `Classifier.load`.

    Raises:
        DatasetError: Beam is not installed, or fails; a worker does not see a video that this process does, or another
            model.
        ValueError: Beam does not know an option.
    """
    beam.check(options)
    paths = [beam.absolute(video) for video in videos]
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    stamps = [_stamp(path) for path in paths]
    about = [
        __version__,
        digest,
        windows,
        sorted(loading.items()),
        [*zip(map(os.fsencode, paths), stamps, strict=True)],
    ]
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:12]
    work = beam.absolute(work)
    work.mkdir(parents=True, exist_ok=True)
    folder = work / f".predictions_{name}.work"
    with alone(work / f".predictions_{name}.lock"), resumable(f"the same command goes on from what is in {folder}"):
        shards = [_Shard(folder / f"{i:06d}", paths[a:b], stamps[a:b]) for i, (a, b) in enumerate(_spans(len(paths)))]
        missing = [shard for shard in shards if shard.rows() is None]
        if missing:
            answer = _Answer(beam.absolute(model), digest, loading, windows)
            files = [shard.file for shard in missing]
            beam.run(folder, answer, missing, options, lambda: [file for file in files if not file.exists()])
        for shard in shards:
            found = shard.rows()
            if found is None:
                raise DatasetError(f"{shard.file}: was written and is damaged. Run this again")
            yield from found
        shutil.rmtree(folder)
    with suppress(OSError):
        work.rmdir()  # of another run there is something left


def _spans(count: int) -> list[tuple[int, int]]:
    """Stretches of so many videos; never of one where there are several, which would be decoded unguarded."""
    starts = list(range(0, count - 1, VIDEOS)) or [0]
    return list(zip(starts, [*starts[1:], count], strict=True))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class _Shard:
    """Videos, what the process that started the pipeline saw of them, and the file that their rows go to."""

    file: Path
    videos: list[Path] = field(repr=False)
    stamps: list[tuple[int, int] | None] = field(repr=False)

    def rows(self) -> list[Row] | None:
        """What is written, if it is whole; what is not is removed."""
        try:
            found = [Row(**unsealed(line)) for line in self.file.read_bytes().splitlines()]
        except (OSError, ValueError, TypeError):
            found = []
        if len(found) == len(self.videos):
            return found
        self.file.unlink(missing_ok=True)
        return None


@dataclass(frozen=True)
class _Answer:
    """What a worker does with a shard; called again, it has the classifier at hand."""

    model: Path
    digest: str
    loading: Mapping[str, Any]
    windows: int | None

    @functools.cached_property
    def classifier(self) -> Classifier:
        from har_tf import quiet

        with self.model.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
                raise DatasetError(f"{self.model}: on {socket.gethostname()} a Beam worker finds another file")
        quiet.import_tensorflow()
        from har_tf.classifier import Classifier

        return Classifier.load(self.model, **self.loading)

    def __call__(self, shard: _Shard) -> None:
        if shard.file.exists():
            return
        for video, stamp in zip(shard.videos, shard.stamps, strict=True):
            if stamp is not None and not video.exists():
                raise FileNotFoundError(2, "no such file", str(video))
        lines = [sealed(asdict(row)) for row in rows(self.classifier, shard.videos, self.windows)]
        with whole_file(shard.file) as part:
            part.write_bytes(b"\n".join(lines))


def short_note(video: Path, clip: np.ndarray, how: Mapping[str, Any]) -> str | None:
    """What to say of a video that has fewer frames than its clip needs, which `read_clip` filled up as `how` has it."""
    from har_tf.video import probe
    from har_tf.video.reader import frame_times
    from har_tf.video.sampling import frames_at, frames_needed, rate_of

    if clip.ndim == 3 or len({frame.tobytes() for frame in clip}) == len(clip):
        return None  # no frame comes twice, as in a picture; where one does, those of the video need to be counted
    frames, needed = probe(video).frames, frames_needed(how["num_frames"], how["sampling"])
    at = ""
    if rate_of(how["by"]):
        frames, at = len(frames_at(frame_times(video, frames), how["by"])), f" at {how['by']}"
    if frames >= needed:
        return None
    repeated = "they are repeated in turn" if how["short"] == "wrap" else "the last is repeated"
    return f"has {frames} frames{at}; {repeated} to make {needed}"
