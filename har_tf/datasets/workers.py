"""Work on files in processes of their own, so that a decoder that crashes loses one file, not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from har_tf.video import VideoError

IN_FLIGHT = 4  # tasks a worker: enough to keep it busy, few enough to keep memory flat


@dataclass(frozen=True)
class Failed:
    """What a task leaves instead of its result: one line of reason."""

    reason: str


def available_cores() -> int:
    """The cores this process may use, which is fewer than the machine has in a container or a batch job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def outcomes(
    function: Callable[[Any], Any], tasks: Iterable[Any], workers: int | None = None
) -> Iterator[Any | Failed]:
    """Yields `function(task)` for every task in order, or `Failed` where it raised or its process died.

    A few tasks a worker are under way at a time, so memory does not grow with their number. When a process
    dies, the tasks under way are repeated one at a time, and the one that dies alone is given up.

    Args:
        function: importable by name; it and the tasks are pickled.
        tasks: anything that can be pickled.
        workers: number of processes, started afresh (`spawn`); None: one a core; 0: this process does the
            work.

    Raises:
        RuntimeError: no process can be started.
    """
    workers = available_cores() if workers is None else workers
    if workers < 0:
        raise ValueError(f"workers must be None or at least 0. Received: workers={workers}")
    if workers == 0:
        yield from (_attempt(function, task) for task in tasks)
        return
    tasks = iter(tasks)
    pool = _start(workers)
    under_way: deque[tuple[Any, Future]] = deque()
    try:
        while True:
            broken = False
            try:
                while len(under_way) < IN_FLIGHT * workers:
                    task = next(tasks)
                    under_way.append((task, Future()))
                    under_way[-1] = task, pool.submit(_attempt, function, task)
            except StopIteration:
                if not under_way:
                    pool.shutdown()
                    return
            except BrokenProcessPool:
                broken = True
            if not broken:
                try:
                    result = under_way[0][1].result()
                except BrokenProcessPool:
                    broken = True
            if broken:
                pool.shutdown(wait=False, cancel_futures=True)
                yield from _one_at_a_time(function, under_way)
                under_way.clear()
                pool = _start(workers)
            else:
                under_way.popleft()
                yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _one_at_a_time(function: Callable, under_way: Iterable[tuple[Any, Future]]) -> Iterator[Any | Failed]:
    pool = None
    try:
        for task, future in under_way:
            if future.done() and not future.cancelled() and future.exception() is None:
                yield future.result()
                continue
            pool = pool or _start(1)
            try:
                yield pool.submit(_attempt, function, task).result()
            except BrokenProcessPool:
                pool = None
                yield Failed("the process that decoded it died (a crash of the decoder, or out of memory)")
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def _start(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "worker processes cannot be started: does the script guard its code with "
            "`if __name__ == '__main__':`? workers=0 does without processes"
        ) from error
    return pool


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends this process with it, also when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _attempt(function: Callable, task: Any) -> Any | Failed:
    try:
        return function(task)
    except VideoError as error:
        return Failed(error.reason)
    except Exception as error:  # whatever one file does, the others go on; the reason is listed
        first_line = str(error).partition("\n")[0]
        return Failed(f"{type(error).__name__}: {first_line}")
