r"""The work of `prepare` as an Apache Beam pipeline, from two processes of a laptop to a cluster.

    python -m har_tf prepare UCF-101 --out prepared \
        --beam="--runner=DirectRunner --direct_num_workers=2 --direct_running_mode=multi_processing"
    python -m har_tf prepare /data/kinetics --out /data/prepared \
        --beam="--runner=PortableRunner --job_endpoint=HOST:8099 --environment_type=EXTERNAL
                --environment_config=localhost:50000"

An element is a shard: a stretch of the records, decoded and written by one worker, with the code and to the bytes of
`prepare`. What comes before and after is done by this process: it lists the videos, and when all shards are there it
writes the metadata and moves the whole into place. So it can be killed, and started again, as `prepare` can.

The videos and the output lie on a file system that every worker has mounted at the same path (NFS, Lustre, CephFS, or
the disk of the one machine). Object stores such as gs:// are not written to; mount them, or copy the result there.
Workers need Python with this package and its extra `beam`; they need no network beside the one to their runner.
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
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from har_tf.datasets.errors import DatasetError
from har_tf.files.errors import reason_of
from har_tf.files.whole import whole_file
from har_tf.names import closest
from har_tf.store.shards import Shard, decoded, notes_of, write_shard

LATE = 120.0  # seconds until a network file system shows what another machine has written (NFS: up to 60)


def through_beam(options: Sequence[str], timeout: float | None) -> Callable:
    """`write_shards` for a pipeline with these options.

    Raises:
        DatasetError: Beam is not installed.
        ValueError: Beam does not know an option, or cannot read its value.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise DatasetError("Apache Beam is not installed. Install the extra: pip install 'har_tf[beam]'")
    if isinstance(options, str):
        raise TypeError(f"Beam's options are a list of texts. Received: {options!r}")
    _check_options(options)
    return functools.partial(write_shards, options=options, timeout=timeout)


def _check_options(options: Sequence[str]) -> None:
    """Beam itself ignores the options that it does not know, and the pipeline runs without them."""
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
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    work = Path(os.path.abspath(shards[0].notes.parent.parent))  # noqa: PTH100
    # A file rather than elements: runners limit the size of a pipeline, and the records of a large data set exceed it.
    plan = work / "plan"
    content = pickle.dumps([_absolute(shard) for shard in shards])
    with whole_file(plan) as part:
        part.write_bytes(content)
    write = functools.partial(_write, plan=str(plan), digest=hashlib.sha256(content).hexdigest(), timeout=timeout)
    try:
        pipeline = apache_beam.Pipeline(options=PipelineOptions(list(options)))
        numbers = pipeline | "shards" >> apache_beam.Create(range(len(shards)), reshuffle=False)
        # Without the shuffle a runner may give all of them to one worker.
        _ = numbers | "to the workers" >> apache_beam.Reshuffle() | "decode and write" >> apache_beam.Map(write)
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # whatever a runner or a worker raises, the answer is the same
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise DatasetError(
            f"{work}: the Beam pipeline failed: {lines[-1].strip()}. The finished shards stay; run this again"
        ) from error
    if state not in (None, "DONE"):
        raise DatasetError(f"{work}: the Beam pipeline ended as {state}. The finished shards stay; run this again")
    _wait_for(shards)
    plan.unlink()
    advance(sum(shard.videos for shard in shards))


def _absolute(shard: Shard) -> Shard:
    """The same shard for a process in another folder."""

    def absolute(path: Path) -> Path:
        return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are called

    items = tuple(replace(item, record=replace(item.record, path=absolute(item.record.path))) for item in shard.items)
    return replace(shard, file=absolute(shard.file), notes=absolute(shard.notes), items=items)


def _write(number: int, plan: str, digest: str, timeout: float | None) -> int:
    """What a worker does with an element; to do it twice, or in two places at a time, does no harm."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shard = _plan(plan, digest)[number]
    if notes_of(shard) is None:
        # A process of its own: a crash of the native decoder is one lost video, not a lost worker.
        with closing(decoded([shard], workers=1, timeout=timeout)) as clips:
            write_shard(shard, clips)
    return number


@functools.lru_cache(maxsize=1)
def _plan(path: str, digest: str) -> list[Shard]:
    content = Path(path).read_bytes()
    # The digest came with the pipeline: what is loaded is what the pipeline's author wrote.
    if hashlib.sha256(content).hexdigest() != digest:
        raise DatasetError(f"{path}: is not the plan of this pipeline; another run has been started since")
    return pickle.loads(content)


def _wait_for(shards: Sequence[Shard]) -> None:
    """Waits until this machine sees the shards that others have written."""
    deadline = time.monotonic() + LATE
    while missing := [shard for shard in shards if notes_of(shard, checked=False) is None]:
        if time.monotonic() > deadline:
            raise DatasetError(
                f"{missing[0].file}: the Beam pipeline has ended, and {len(missing)} of {len(shards)} shards are not "
                "there. Do all workers have this folder mounted at this path?"
            )
        time.sleep(1)
        list(missing[0].notes.parent.iterdir())  # makes NFS look again
