r"""Long work as an Apache Beam pipeline, from two processes of a laptop to a cluster.

    python -m har_tf prepare UCF-101 --out prepared \
        --beam="--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"
    python -m har_tf prepare /data/kinetics --out /data/prepared \
        --beam="--runner=PortableRunner --job_endpoint=HOST:8099 --environment_type=EXTERNAL
                --environment_config=localhost:50000"
    python -m har_tf predict *.mp4 --model i3d.keras --json --beam="--runner=DirectRunner ..."

`prepare` is done here, features in `har_tf.store.features`, predictions in `har_tf.bulk`. An element is a stretch of
the work, such as a shard of the records, that one worker does and writes, with the code and to the bytes of a run
without Beam. What comes before and after is done by this process: it lists the videos, and when all is there it moves
the whole into place. So it can be killed, and started again, as without Beam.

Videos, models and output lie on a file system that every worker has mounted at the same path (NFS, Lustre, CephFS, or
the disk of the one machine). Object stores such as gs:// are not written to; mount them, or copy the result there.
Workers need Python with this package and its extra `beam`; they need no network beside the one to their runner. What a
network gives is the same to the last bit on processors of one kind.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import os
import pickle
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from har_tf.datasets.errors import DatasetError
from har_tf.files.errors import reason_of
from har_tf.files.whole import whole_file
from har_tf.names import closest
from har_tf.store.shards import Shard, decoded, notes_of, write_shard

LATE = 120.0  # seconds until a network file system shows what another machine has written (NFS: up to 60)


def through_beam(options: Sequence[str], timeout: float | None) -> Callable:
    """`write_shards` for a pipeline with these options; raises what `check` does."""
    check(options)
    return functools.partial(write_shards, options=options, timeout=timeout)


def check(options: Sequence[str]) -> None:
    """Checks the options of a pipeline, before any work.

    Raises:
        DatasetError: Beam is not installed.
        ValueError: Beam does not know an option, or cannot read its value.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise DatasetError("Apache Beam is not installed. Install the extra: pip install 'har_tf[beam]'")
    if isinstance(options, str):
        raise TypeError(f"Beam's options are a list of texts. Received: {options!r}")
    # Beam itself ignores the options that it does not know, and the pipeline runs without them.
    from apache_beam import Pipeline
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

    parsers = []

    def keep(parser: argparse.ArgumentParser) -> None:
        parser.error = refuse  # rather than end the process
        parsers.append(parser)

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"Apache Beam: {message}. Received: {shlex.join(options)}")

    parsed = PipelineOptions(list(options))
    known = parsed.get_all_options(add_extra_args_fn=keep)
    unknown = parsers[0].parse_known_args(list(options))[1]
    try:
        Pipeline(options=parsed)
    except (ValueError, ImportError, AttributeError) as error:  # of an unknown runner
        raise ValueError(f"Apache Beam: {reason_of(error)}. Received: {shlex.join(options)}") from error
    # What a remote runner can do only the server of its jobs knows; Beam asks it when the pipeline is started.
    if unknown and not parsed.view_as(PortableOptions).job_endpoint:
        hint = closest(unknown[0].partition("=")[0], [f"--{name}" for name in known])
        raise ValueError(f"Apache Beam knows no options {shlex.join(unknown)}.{hint} Received: {shlex.join(options)}")


def write_shards(
    shards: Sequence[Shard], advance: Callable[[int], None], options: Sequence[str], timeout: float | None
) -> None:
    """Writes shards on the workers of a Beam runner; returns when they are all there, or raises DatasetError."""
    written = {absolute(shard.file): shard for shard in shards}
    run(
        shards[0].notes.parent.parent,
        functools.partial(_write, timeout=timeout),
        [_absolute(shard) for shard in shards],
        options,
        lambda: [file for file, shard in written.items() if notes_of(shard, checked=False) is None],
    )
    advance(sum(shard.videos for shard in shards))


def run(
    work: Path,
    do: Callable[[Any], object],
    elements: Sequence,
    options: Sequence[str],
    missing: Callable[[], Iterable[Path]],
) -> None:
    """Calls a function with every element on the workers of a Beam runner; returns when all files of theirs are here.

    Args:
        work: a folder that every worker sees; the file `plan` lies there meanwhile.
        do: what writes files of an element, whole; it is pickled, so all paths in it are absolute. What it keeps in
            itself, such as a model, a worker process loads once. To be called twice, or at two places at a time, does
            no harm.
        elements: what it is called with, pickled as well.
        options: of the pipeline, as `check` takes them.
        missing: the files that this machine does not see yet.

    Raises:
        DatasetError: the pipeline fails, or files do not show.
    """
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    work = absolute(work)
    # A file rather than elements: runners limit the size of a pipeline, and the records of a large data set exceed it.
    plan = work / "plan"
    content = pickle.dumps((do, list(elements)))
    with whole_file(plan) as part:
        part.write_bytes(content)
    one = functools.partial(_do, plan=str(plan), digest=hashlib.sha256(content).hexdigest())
    try:
        pipeline = apache_beam.Pipeline(options=PipelineOptions(list(options)))
        numbers = pipeline | "elements" >> apache_beam.Create(range(len(elements)), reshuffle=False)
        # Without the shuffle a runner may give all of them to one worker.
        _ = numbers | "to the workers" >> apache_beam.Reshuffle() | "do and write" >> apache_beam.Map(one)
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # whatever a runner or a worker raises, the answer is the same
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise DatasetError(
            f"{work}: the Beam pipeline failed: {lines[-1].strip()}. What is finished stays; run this again"
        ) from error
    if state not in (None, "DONE"):
        raise DatasetError(f"{work}: the Beam pipeline ended as {state}. What is finished stays; run this again")
    _wait_for(missing, len(elements))
    plan.unlink()


def absolute(path: str | os.PathLike) -> Path:
    """A path for a process in another folder; links stay as they are called."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def _absolute(shard: Shard) -> Shard:
    items = tuple(replace(item, record=replace(item.record, path=absolute(item.record.path))) for item in shard.items)
    return replace(shard, file=absolute(shard.file), notes=absolute(shard.notes), items=items)


def _write(shard: Shard, timeout: float | None) -> None:
    """Writes a shard, unless it is there."""
    if notes_of(shard) is None:
        # A process of its own: a crash of the native decoder is one lost video, not a lost worker.
        with closing(decoded([shard], workers=1, timeout=timeout)) as clips:
            write_shard(shard, clips)


def _do(number: int, plan: str, digest: str) -> int:
    """What a worker does with the number of an element."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        do, elements = _plan(plan, digest)
        do(elements[number])
    except FileNotFoundError as error:
        raise DatasetError(f"{error.filename or error}: a Beam worker does not see this file. {_MOUNTED}") from error
    return number


_MOUNTED = "Do all workers have its folder mounted at this path?"


@functools.lru_cache(maxsize=1)
def _plan(path: str, digest: str) -> tuple[Callable, list]:
    content = Path(path).read_bytes()
    # The digest came with the pipeline: what is loaded is what the pipeline's author wrote.
    if hashlib.sha256(content).hexdigest() != digest:
        raise DatasetError(f"{path}: is not the plan of this pipeline; another run has been started since")
    return pickle.loads(content)


def _wait_for(missing: Callable[[], Iterable[Path]], count: int) -> None:
    """Waits until this machine sees what others have written."""
    deadline = time.monotonic() + LATE
    while files := list(missing()):
        if time.monotonic() > deadline:
            raise DatasetError(
                f"{files[0]}: the Beam pipeline has ended, and {len(files)} of {count} files are not there. {_MOUNTED}"
            )
        time.sleep(1)
        list(files[0].parent.iterdir())  # makes NFS look again
