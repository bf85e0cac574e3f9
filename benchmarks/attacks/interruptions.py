"""Programs that are killed, interrupted, or run out of disk, and are then run again.

A program survives if what stands in the place of a result after the interruption can be read, no process is left
behind, and the second run ends well and leaves what an undisturbed one leaves, nothing missing and nothing over.

Moments of three kinds are hit. "event": before the nth time that Python opens, renames or removes something in the
folder; the same moment on every run. "byte": in the middle of a write, Python's or a library's, as soon as a file has
so many bytes. "second": anywhere, so that a repetition may hit another place.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.attacks import programs
from benchmarks.attacks.programs import Bench, Program

LIMIT = 180  # seconds that a run may take
MEMORY = 6 * 2**30
END = 10  # seconds in which the processes of one that was killed end, too
IMPORTS = 4.0  # seconds more that whole processes take, for what the forked ones have imported
MARK = "HAR_TF_ATTACK"  # environment variable by which the processes of a case are found
PRELOAD = ["benchmarks.attacks.interruptions"]  # imported before processes are forked
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

    @classmethod
    def of(cls, text: str) -> Self:
        kind, number = text.split()
        return cls(kind, float(number))


@dataclass(frozen=True)
class Run:
    """How a run ended: exit code (negative: of a signal), what it wrote to stderr, seconds and file events."""

    code: int
    stderr: str
    seconds: float
    events: int


@cache
def _forks():
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def run(bench: Bench, program: Program, out: Path, interrupt: Moment | None = None, how: int = signal.SIGKILL) -> Run:
    """Runs a program in a process of its own, which is interrupted at a moment."""
    log = bench.folder / "log"
    log.mkdir(exist_ok=True)
    begin = time.monotonic()
    if interrupt is not None and interrupt.kind == "second" and how != signal.SIGKILL:
        return _run_whole(bench, program, out, log, interrupt.number, how)
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


def _run_whole(bench: Bench, program: Program, out: Path, log: Path, second: float, how: int) -> Run:
    """As `run`, from the start of Python to its end, where signals do other harm; seconds from where they are heard."""
    command = [sys.executable, "-m", "benchmarks.attack", "program", program.name, bench.material, out]
    with (log / "stderr").open("wb") as stderr:
        environment = {**os.environ, MARK: str(out)}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
        try:
            while process.poll() is None and not _hears(process.pid, signal.SIGTERM):
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(second)
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LIMIT)
        finally:
            process.kill()
    return Run(process.wait(), (log / "stderr").read_text(errors="replace"), 0.0, 0)


def _hears(process: int, number: signal.Signals) -> bool:
    """Whether a process does itself what is to be done on a signal."""
    with contextlib.suppress(OSError):  # it has ended
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _child(program: Program, material: Path, out: Path, log: Path, interrupt: Moment | None, how: int) -> None:
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
        program.run(material, out)
    finally:
        counted, count = count, -(10**9)
        (log / "events").write_text(str(counted))


@cache
def undisturbed(bench: Bench, program: Program) -> tuple[Run, dict[str, str]]:
    """How a program ends that nobody disturbs, and what it leaves.

    Raises:
        RuntimeError: it fails.
    """
    out = bench.empty(str(place(bench, program).relative_to(bench.folder)))
    ended = run(bench, program, out)
    if ended.code != program.code:
        raise RuntimeError(f"{program.name} fails undisturbed, with {ended.code}: {ended.stderr[-2000:]}")
    return ended, programs.snapshot(out)


def moments(bench: Bench, program: Program, count: int, rng: np.random.Generator, kinds=KINDS) -> list[Moment]:
    """About so many moments of a program: half of them file events, all of these where there are fewer."""
    ended, _ = undisturbed(bench, program)
    files = [path.stat().st_size for path in place(bench, program).rglob("*") if path.is_file()]
    events = np.unique(np.linspace(1, ended.events, min(-(-count // 2), ended.events)).astype(int)).tolist()
    rest = -(-(count - len(events)) // (len(kinds) - 1))
    latest = ended.seconds + (IMPORTS if program.heavy and "byte" not in kinds else 0)
    numbers = {
        "event": events,
        "byte": np.unique(rng.integers(1, max(files), rest)).tolist(),
        "second": rng.uniform(0, latest, rest).round(3).tolist(),
    }
    return [Moment(kind, number) for kind in kinds for number in numbers[kind]]


def sizes(bench: Bench, program: Program, count: int) -> list[int]:
    """So many sizes of a disk, in bytes, that are all too small for what a program writes, or hardly large enough."""
    total = sum(path.stat().st_size for path in place(bench, program).rglob("*") if path.is_file())
    return [int(size) for size in np.linspace(4096, total, count)]


def place(bench: Bench, program: Program) -> Path:
    """Where the undisturbed program has written."""
    return bench.folder / "undisturbed" / program.name / "out"


def kill(bench: Bench, program: Program, moment: Moment) -> str | None:
    """Kills a program and runs it again; returns why it did not survive, None where it did."""
    return _interrupted(bench, program, moment, signal.SIGKILL, (-signal.SIGKILL, -signal.SIGXFSZ))


def stop(bench: Bench, program: Program, moment: Moment, how: signal.Signals) -> str | None:
    """As `kill`, by a signal on which a program ends by itself and says so in one line."""
    return _interrupted(bench, program, moment, how, (128 + how,))


def _interrupted(bench: Bench, program: Program, moment: Moment, how: int, codes: tuple[int, ...]) -> str | None:
    ended, _ = undisturbed(bench, program)
    out = bench.empty(f"run/{program.name}/out")
    first = run(bench, program, out, moment, how)
    if first.code != ended.code and not (first.code == -how and _all_done(bench, program, out, first)):
        if first.code not in codes:
            return f"ended with {first.code}: {_last(first.stderr)}"
        if how != signal.SIGKILL and (fault := _not_a_line(first.stderr)):
            return fault
    if left := _left_behind(out):
        return f"processes are left: {left}"
    return _taken_up(bench, program, out)


def _all_done(bench: Bench, program: Program, out: Path, ended: Run) -> bool:
    """Whether a process ended on a signal when its work was done: at its very end Python hears no more."""
    return "Traceback" not in ended.stderr and _compared(undisturbed(bench, program)[1], programs.snapshot(out)) is None


def _taken_up(bench: Bench, program: Program, out: Path) -> str | None:
    """Why what an interruption left is no good, or what the next run makes of it; None where all is well."""
    ended, whole = undisturbed(bench, program)
    if half := programs.half_written(out):
        return f"half written: {', '.join(half)}"
    second = run(bench, program, out)
    if second.code != ended.code or "Traceback" in second.stderr:
        return f"run again, ended with {second.code}: {_last(second.stderr)}"
    return _compared(whole, programs.snapshot(out))


def _compared(whole: dict[str, str], found: dict[str, str]) -> str | None:
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
    words = ("interrupted", "terminated")
    return None if _last(stderr).startswith(words) else f"no word of the interruption: {_last(stderr) or 'nothing'}"


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


def fill_disk(bench: Bench, program: Program, size: int) -> str | None:
    """Runs a program on a disk of so many bytes, and again when there is room.

    Raises:
        OSError: no disk can be made, which takes Linux and a system that lets users mount in a space of their own.
    """
    ended, whole = undisturbed(bench, program)
    out, log = bench.empty(f"run/{program.name}/out"), bench.empty("log")
    process = _forks().Process(target=_on_small_disk, args=(program, bench.material, out, log, size))
    process.start()
    process.join(2 * LIMIT)
    process.kill()
    if not (log / "result").is_file():
        raise OSError(f"no small disk can be made: {_last((log / 'stderr').read_text())}")
    result = json.loads((log / "result").read_text())
    if "system" in result:
        raise OSError(result["system"])
    first, second = (Run(*ran, 0.0, 0) for ran in result["runs"])
    if first.code != ended.code:
        told = _last(first.stderr)
        if first.code != 1 or "Traceback" in first.stderr or not told.startswith("error: "):
            return f"ended with {first.code}: {told}"
        if str(out) not in told or not any(word in told for word in ("No space left", "disk is full", "are needed")):
            return f"does not say which file finds no room: {told}"
    if result["half"]:
        return f"half written: {', '.join(result['half'])}"
    if second.code != ended.code or "Traceback" in second.stderr:
        return f"with room, ended with {second.code}: {_last(second.stderr)}"
    return _compared(whole, result["snapshot"])


def _on_small_disk(program: Program, material: Path, out: Path, log: Path, size: int) -> None:
    """Runs a program twice on a disk of its own, which is enlarged in between; leaves in `log` what came of it."""
    try:
        _own_mounts()
        _mount(out, size)
    except OSError as error:
        (log / "result").write_text(json.dumps({"system": f"no small disk can be made: {error.strerror}"}))
        return
    runs, half = [], []
    for room in (size, ROOM):
        if room == ROOM:
            half = programs.half_written(out)
            _mount(out, ROOM, _MS_REMOUNT)
        child = os.fork()
        if not child:
            _end_with(lambda: _child(program, material, out, log, None, signal.SIGKILL))
        status = os.waitpid(child, 0)[1]
        runs.append((os.waitstatus_to_exitcode(status), (log / "stderr").read_text(errors="replace")))
    (log / "result").write_text(json.dumps({"runs": runs, "half": half, "snapshot": programs.snapshot(out)}))


def _end_with(function: Callable[[], object]) -> None:
    """Ends this process as Python does after a function that may raise SystemExit."""
    code = 70
    try:
        function()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_REMOUNT, _MS_PRIVATE_ALL = 0x20, 0x44000


def _own_mounts() -> None:
    """What this process mounts from now on is there for it and its children only."""
    user, group = os.getuid(), os.getgid()
    _system("unshare", _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0))
    if user:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(line)
    _system("mount", None, b"/", None, _MS_PRIVATE_ALL, None)


def _mount(out: Path, size: int, flags: int = 0) -> None:
    _system("mount", b"tmpfs", os.fsencode(out), b"tmpfs", flags, b"size=%d" % size)


def _system(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
