"""Work on files in processes of their own, so that a decoder that crashes, hangs or eats memory loses one file.

Every process has one task at a time, so it is known which task a process died of. The limits are kept by the
kernel: a timer signal ends a process even if a C function never returns, and an allocation over the limit fails.

Why not a library: pebble replaces processes that crash and ends those that take too long, but has no limit on memory,
and its `map` takes all tasks at once, so that its memory grows with their number (version 5.2).
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from har_tf.files import limits
from har_tf.files.errors import FileError

IN_FLIGHT = 4  # tasks a worker, done ones included: enough to keep it busy, few enough to keep memory flat

_NO_LIMIT = 10**9  # seconds; much longer than that, or inf, a timer cannot be set to
_OUT_OF_MEMORY = 77  # exit code of a worker that met its limit
_SECONDS_TO_END = 5  # given to a killed process
_MASKS = hasattr(signal, "pthread_sigmask")  # Windows has none
# Processes are started and waited for by one thread at a time; while it starts one, its garbage may end another.
_starting = threading.RLock()


@dataclass(frozen=True)
class Failed:
    """What a task leaves instead of its result: one line of reason."""

    reason: str


def available_cores() -> int:
    """The cores this process may use, which is fewer than the machine has in a container or a batch job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def outcomes(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    workers: int | None = None,
    seconds: float | None = None,
    memory: int | None = None,
) -> Iterator[Any | Failed]:
    """Yields `function(task)` for every task in order, or `Failed` where it raised or its process died.

    A few tasks a worker are under way at a time, so memory does not grow with their number. A process that
    dies is replaced. It may have died of what an earlier task left behind: unless the task was its first, the
    task is tried once more, in the new process.

    Args:
        function: importable by name; it and the tasks are pickled.
        tasks: anything that can be pickled.
        workers: number of processes, started afresh (`spawn`); None: one a core; 0: this process does the
            work, without limits.
        seconds: that a task may take; the process of one that takes longer is killed. None: no limit. Not
            kept on Windows.
        memory: bytes that a process may take on top of what it has before its first task. None: no limit. Kept
            on Linux only.

    Raises:
        RuntimeError: no process can be started.
        ValueError: an argument is out of its range.
    """
    workers = available_cores() if workers is None else workers
    if workers < 0:
        raise ValueError(f"workers must be None or at least 0. Received: workers={workers}")
    for name, limit in (("seconds", seconds), ("memory", memory)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{name} must be None or above 0. Received: {name}={limit}")
    if workers == 0:
        yield from (_attempt(function, task) for task in tasks)
        return
    seconds = None if seconds is not None and seconds > _NO_LIMIT else seconds
    pool = _Pool(pickle.dumps(function), seconds, memory)
    under_way: deque[Future] = deque()
    try:
        for task in tasks:
            under_way.append(pool.submit(task, workers))
            if len(under_way) == IN_FLIGHT * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.close()


class _Pool:
    """Threads that each keep one worker process and wait for it."""

    def __init__(self, function: bytes, seconds: float | None, memory: int | None):
        self._about = function, seconds, memory
        self._waiting: queue.SimpleQueue[tuple[Future, Any]] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, task: Any, most: int) -> Future:
        future: Future = Future()
        self._waiting.put((future, task))
        if len(self._workers) < most:
            self._workers.append(Worker(*self._about))
            # Daemons: a script that ends, for whatever reason, does not wait for them.
            self._threads.append(threading.Thread(target=self._serve, args=(self._workers[-1],), daemon=True))
            self._threads[-1].start()
        return future

    def _serve(self, worker: Worker) -> None:
        while True:
            future, task = self._waiting.get()
            if self._closed:
                return
            try:
                future.set_result(worker.do(task))
            except BaseException as error:  # for the caller, who waits for the future
                future.set_exception(error)

    def close(self) -> None:
        """Ends all processes, busy or not, and the threads, which would wake while Python ends."""
        self._closed = True
        for worker in self._workers:
            self._waiting.put((Future(), None))
            worker.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_SECONDS_TO_END)


class Worker:
    """A process that does one task after the other, and another in its place when it dies.

    Args:
        function: what it does, pickled.
        seconds, memory: as in `outcomes`.
    """

    def __init__(self, function: bytes, seconds: float | None, memory: int | None):
        self._function, self._seconds, self._memory = function, seconds, memory
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._tasks_done = 0
        self._closed = False

    def do(self, task: Any) -> Any | Failed:
        """The outcome of one task, as `outcomes` yields it; one thread at a time.

        Raises:
            RuntimeError: no process can be started, or it was closed.
        """
        while True:
            self._start()
            try:
                self._connection.send(task)
                outcome = self._connection.recv()
            except (EOFError, OSError):
                first = self._tasks_done == 0
                code = self._stop()
                late = hasattr(signal, "SIGALRM") and code == -signal.SIGALRM
                if first or late or self._closed:
                    return Failed(self._reason(code, late))
            else:
                self._tasks_done += 1
                return outcome

    def close(self) -> None:
        """Ends the process, busy or not."""
        self._closed = True
        with _starting:
            process = self._process
            if process is not None:
                process.kill()
                process.join(_SECONDS_TO_END)

    def _start(self) -> None:
        if self._process is not None:
            return
        context = multiprocessing.get_context("spawn")
        with _starting:
            if self._closed:
                raise RuntimeError("the work was given up")
            self._connection, other = context.Pipe()
            arguments = other, self._function, self._seconds, self._memory
            process = context.Process(target=_work, args=arguments, daemon=True)
            # Ctrl-C, which a terminal sends to all processes, is for the parent, from the child's first moment on.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if _MASKS else None
            try:
                with _without_script() if b"__main__" not in self._function else nullcontext():
                    process.start()
            except AssertionError as error:  # of a process that may have none, such as one of multiprocessing.Pool
                raise RuntimeError(
                    f"worker processes cannot be started: {error}; workers=0 does without processes"
                ) from error
            finally:
                if blocked is not None:
                    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
                other.close()
            self._process = process
        self._tasks_done = 0
        try:
            problem = self._connection.recv()
        except (EOFError, OSError):
            self._stop()
            problem = "does the script that defines the function guard its code with `if __name__ == '__main__':`?"
        if problem is not None:
            raise RuntimeError(f"worker processes cannot be started: {problem} workers=0 does without processes")

    def _stop(self) -> int | None:
        """Ends the process; returns its exit code."""
        process, self._process = self._process, None
        self._connection.close()
        with _starting:
            # One that already ends keeps its exit code.
            process.kill()
            process.join()
        return process.exitcode

    def _reason(self, code: int | None, late: bool) -> str:
        if late:
            return f"took longer than {self._seconds:g} s"
        if code == _OUT_OF_MEMORY and self._memory:
            return f"needed more than {self._memory / 1e6:.0f} MB of memory"
        cause = "died"
        if code is not None and code < 0:
            with suppress(ValueError):
                cause = f"died of {signal.Signals(-code).name}"
        return f"the process at work on it {cause} (a crash, or out of memory)"


@contextmanager
def _without_script() -> Iterator[None]:
    """A process that is started here does not run the user's script first, which then needs no guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _work(connection: Connection, function: bytes, seconds: float | None, memory: int | None) -> None:
    """A worker process: answers every task that comes through the connection with its outcome."""
    _follow_parent()
    try:
        function = pickle.loads(function)
    except Exception as error:  # whatever a module raises when it is imported; the parent says so
        with suppress(OSError):
            connection.send(f"{type(error).__name__}: {error};")
        return
    timed = seconds is not None and hasattr(signal, "setitimer")
    if timed:
        # The default action ends the process without asking Python, which may wait for a C function.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    limited = memory is not None and _limit_memory(memory)
    if timed or seconds is None:
        os.environ[limits.SECONDS] = "inf"  # here the kernel keeps the time
    with suppress(EOFError, OSError):  # the parent has gone
        connection.send(None)
        while True:
            data = connection.recv_bytes()
            if timed:
                signal.setitimer(signal.ITIMER_REAL, seconds)
            outcome = _attempt(lambda pickled: function(pickle.loads(pickled)), data, limited)
            if timed:
                signal.setitimer(signal.ITIMER_REAL, 0)
            try:
                connection.send(outcome)
            except OSError:
                raise
            except Exception as error:  # what cannot be pickled; nothing of it was sent
                connection.send(_failure(error, limited))


def _limit_memory(more: int) -> bool:
    """Makes allocations fail once this process has so many bytes more than now; False where that cannot be done."""
    try:
        import resource

        lines = Path("/proc/self/status").read_text().splitlines()
    except (ImportError, OSError):
        return False
    # Data, not address space: what a library only reserves, or maps from a file, costs nothing.
    now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return True


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends this process with it, also when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _attempt(function: Callable, task: Any, limited: bool = False) -> Any | Failed:
    try:
        return function(task)
    except Exception as error:  # whatever one file does, the others go on; the reason is listed
        return _failure(error, limited)


def _failure(error: Exception, limited: bool) -> Failed:
    if limited and _lacks_memory(error):
        # What the process holds by now may be what the next task lacks.
        os._exit(_OUT_OF_MEMORY)
    if isinstance(error, FileError):
        return Failed(error.reason)
    first_line = str(error).partition("\n")[0]
    return Failed(f"{type(error).__name__}: {first_line}")


def _lacks_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False
