"""Programs that are killed, interrupted, or run out of disk, and are then run again.

A program survives if what stands in the place of a result after the interruption can be read, no process is left
behind, and the second run ends well and leaves what an undisturbed one leaves, nothing missing and nothing over.

Moments of three kinds are hit. "event": before the nth time that Python opens, renames or removes something in the
folder; the same moment on every run. "byte": in the middle of a write, Python's or a library's, as soon as a file has
so many bytes. "second": anywhere, so that a repetition may hit another place.
"""

import ctypes
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.attacks import programs
from benchmarks.attacks.programs import PROGRAMS

LIMIT = 180  # seconds that a run may take
MEMORY = 6 * 2**30
END = 10  # seconds in which the processes of one that was killed end, too
MARK = "HAR_TF_ATTACK"  # environment variable by which the processes of a case are found
KINDS = ("event", "byte", "second")
ROOM = 256 * 2**20  # of a disk that is large enough
_EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}


@dataclass(frozen=True)
class Moment:
    """When a program is interrupted: `kind` is one of `KINDS`, `number` the event, byte or second."""

    kind: str
    number: float

    def __str__(self) -> str:
        return f"{self.kind} {self.number:g}"


@dataclass(frozen=True)
class Run:
    """How a run ended: exit code (negative: of a signal), what it wrote to stderr, seconds and file events."""

    code: int
    stderr: str
    seconds: float
    events: int


@dataclass(frozen=True)
class Bench:
    """Where the attacks take place.

    Attributes:
        material: see `programs.make_material`; with prepared clips.
        folder: for the runs.
    """

    material: Path
    folder: Path

    def empty(self, name: str) -> Path:
        """A new folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


@cache
def _forks():
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.attacks.imported"])
    return context


def run(bench: Bench, program: str, out: Path, interrupt: Moment | None = None, how: int = signal.SIGKILL) -> Run:
    """Runs a program in a process of its own, which is interrupted at a moment."""
    log = bench.folder / "log"
    log.mkdir(exist_ok=True)
    begin = time.monotonic()
    process = _forks().Process(target=_child, args=(program, bench.material, out, log, interrupt, how))
    process.start()
    if interrupt is not None and interrupt.kind == "second":
        process.join(interrupt.number)
        if process.is_alive():
            os.kill(process.pid, how)
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        process.join()
        return Run(-signal.SIGALRM, f"took longer than {LIMIT} s", LIMIT, 0)
    events = log / "events"
    counted = int(events.read_text()) if events.is_file() else 0
    return Run(process.exitcode, (log / "stderr").read_text(errors="replace"), time.monotonic() - begin, counted)


def _child(program: str, material: Path, out: Path, log: Path, interrupt: Moment | None, how: int) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(log / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ[MARK] = str(out)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    (log / "events").unlink(missing_ok=True)
    if interrupt is not None and interrupt.kind == "byte":
        # The kernel ends a process that lets a file grow beyond its limit, unless that is asked not to be so.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(interrupt.number),) * 2)
    count, inside = 0, os.fspath(out)

    def watch(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in _EVENTS and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(inside):
            count += 1
            if interrupt is not None and interrupt.kind == "event" and count == interrupt.number:
                os.kill(os.getpid(), how)

    sys.addaudithook(watch)
    try:
        PROGRAMS[program].run(material, out)
    finally:
        counted, count = count, -(10**9)
        (log / "events").write_text(str(counted))


@cache
def undisturbed(bench: Bench, program: str) -> tuple[Run, dict[str, str]]:
    """How a program ends that nobody disturbs, and what it leaves.

    Raises:
        RuntimeError: it fails.
    """
    out = bench.empty(f"undisturbed/{program}/out")
    ended = run(bench, program, out)
    if ended.code not in (0, 1 if program == "check" else 0):  # `check` ends with 1 where a file is damaged
        raise RuntimeError(f"{program} fails undisturbed, with {ended.code}: {ended.stderr[-2000:]}")
    return ended, programs.snapshot(out)


def moments(ended: Run, largest: int, count: int, rng: np.random.Generator) -> list[Moment]:
    """So many moments of a program, of every kind: all file events as far as `count` reaches."""
    events = np.unique(np.linspace(1, ended.events, min(max(count // 2, 1), ended.events)).astype(int))
    rest = max(count - len(events), 2)
    sizes = np.unique(rng.integers(1, largest, rest // 2))
    seconds = rng.uniform(0.05, ended.seconds, rest - rest // 2)
    numbers = zip(KINDS, (events.tolist(), sizes.tolist(), seconds.round(3).tolist()), strict=True)
    return [Moment(kind, number) for kind, of_kind in numbers for number in of_kind]


def kill(bench: Bench, program: str, moment: Moment) -> str | None:
    """Kills a program and runs it again; returns why it did not survive, None where it did."""
    return _interrupted(bench, program, moment, signal.SIGKILL, (-signal.SIGKILL, -signal.SIGXFSZ))


def stop(bench: Bench, program: str, moment: Moment, how: signal.Signals) -> str | None:
    """As `kill`, by a signal on which a program ends by itself and says so in one line."""
    return _interrupted(bench, program, moment, how, (128 + how,))


def _interrupted(bench: Bench, program: str, moment: Moment, how: int, codes: tuple[int, ...]) -> str | None:
    ended, whole = undisturbed(bench, program)
    out = bench.empty(f"run/{program}/out")
    # In the same place as the undisturbed one: what is written may hold its path.
    first = run(bench, program, out, moment, how)
    if first.code != ended.code:
        if first.code not in codes:
            return f"ended with {first.code}: {_last(first.stderr)}"
        if how != signal.SIGKILL and (fault := _not_a_line(first.stderr)):
            return fault
    if left := _left_behind(out):
        return f"processes are left: {left}"
    return _taken_up(bench, program, out)


def _taken_up(bench: Bench, program: str, out: Path) -> str | None:
    """Why what an interruption left is no good, or what the next run makes of it; None where all is well."""
    ended, whole = undisturbed(bench, program)
    if half := programs.half_written(out):
        return f"half written: {', '.join(half)}"
    second = run(bench, program, out)
    if second.code != ended.code:
        return f"run again, ended with {second.code}: {_last(second.stderr)}"
    if "Traceback" in second.stderr:
        return f"run again, printed a traceback: {_last(second.stderr)}"
    found = programs.snapshot(out)
    if over := sorted(found.keys() - whole.keys()):
        return f"left over: {', '.join(over)}"
    if lost := sorted(whole.keys() - found.keys()):
        return f"missing: {', '.join(lost)}"
    if other := sorted(name for name in whole if whole[name] != found[name]):
        return f"not as undisturbed: {', '.join(other)}"
    return None


def _not_a_line(stderr: str) -> str | None:
    if bad := [mark for mark in ("Traceback", "Fatal Python error", "Exception ignored") if mark in stderr]:
        return f"stderr has '{bad[0]}': {_last(stderr)}"
    return None if "interrupted" in _last(stderr) else f"no word of the interruption: {_last(stderr) or 'nothing'}"


def _last(text: str) -> str:
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _left_behind(out: Path) -> list[str]:
    """The command lines of processes of a case that do not end with it."""
    mark, waited = f"{MARK}={out}".encode(), time.monotonic() + END
    while True:
        left = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
            except OSError:  # it has ended, or is another user's
                continue
        if not left or time.monotonic() > waited:
            return left
        time.sleep(0.1)
