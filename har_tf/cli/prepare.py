"""python -m har_tf prepare: videos decoded once, for training."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from har_tf.cli.loading import loader_options
from har_tf.command import words
from har_tf.names import say


@dataclass(frozen=True)
class Prepare:
    """Decode videos once, into a TFDS data set for training."""

    directory: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A folder of class folders, the name of a data set (with --root), or tfds:NAME."""
    out: Path
    """Folder for prepared data sets."""
    root: Path | None = None
    """Where the named data set lies."""
    lists: Path | None = None
    """Folder of its official lists or annotations, where they do not lie with the videos."""
    split: int = 1
    """Number of its official split."""
    options: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """More about how it is loaded: KEY=VALUE,... such as annotations=multithumos,partial=true; may be repeated. The
    keys are the arguments of its `load` in har_tf.datasets."""
    manifest: Path | None = None
    """What `check` wrote: videos with a problem are left out without being read."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""
    num_frames: int = 10
    """Frames of a clip."""
    size: tuple[int, int] = (128, 192)
    """Height and width."""
    sampling: Literal["uniform", "strided", "dense"] = "uniform"
    """Frames evenly from the first to the last, every second one from the first on, or the first ones."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames."""
    fit: Literal["stretch", "crop", "inner"] = "stretch"
    """Stretch the whole frame to the size, or scale it evenly and cut out the centre (crop); inner scales it to 8/7 of
    that (to 256 for 224)."""
    by: str = "frame"
    """What sampling goes by: the count of frames (frame), their times, for cameras of uneven speed (time), or a rate
    that videos are brought to first (25fps)."""
    workers: int | None = None
    """Decoding processes. None: one a core."""
    timeout: float = 600
    """Seconds after which a video is given up and left out."""
    drop_duplicates: bool = False
    """Keep only the first of videos of the same content, by the manifest."""
    beam: str | None = None
    """Options of an Apache Beam pipeline that does the work, as in --beam="--runner=DirectRunner". None: no Beam."""

    def run(self) -> None:
        from har_tf import datasets
        from har_tf.files.whole import check_writable
        from har_tf.store.prepared import left_out

        named = self.directory in ("figures", *datasets.PUBLISHED)
        if self.directory.startswith("tfds:") or (named and (self.root or not Path(self.directory).exists())):
            source = self.directory
        else:
            source = Path(self.directory)
        classes = None if self.classes is None else words(self.classes)
        if not self.timeout > 0:
            raise ValueError(f"A video is given some time, in seconds. Received: --timeout {self.timeout:g}")
        check_writable(self.out)
        loading = loader_options(source, self.options)
        dataset = datasets.load(source, self.root, self.split, classes, self.lists, **loading)
        prepared = datasets.prepare(
            dataset,
            self.out,
            self.num_frames,
            self.size,
            sampling=self.sampling,
            short=self.short,
            fit=self.fit,
            by=self.by,
            workers=self.workers,
            timeout=self.timeout,
            manifest=self.manifest,
            drop_duplicates=self.drop_duplicates,
            beam=None if self.beam is None else shlex.split(self.beam),
        )
        say(f"{len(prepared)} clips, {left_out(prepared.skipped)}", prepared.path)
