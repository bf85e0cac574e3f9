"""What does the package lose, hide or let in when it is attacked? Nothing, if all of this survives.

    python -m benchmarks.attack                                    # half an hour on two cores
    python -m benchmarks.attack --quick                            # a smoke test
    python -m benchmarks.attack --only "kill train" --case "event 17"

Bits are flipped in prepared clips, features, flow and trainings; programs are killed, interrupted and run out of disk
at many moments; files of every kind that the package opens are damaged; names hold what others would obey. Each try
runs in a process of its own or in a worker, with limits of time and memory, so that a crash is counted. What it is to
survive is said in the module of each attack, in `benchmarks.attacks`. Exit code 1 if something did not.
"""

import argparse
import contextlib
import json
import logging
import multiprocessing
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import fuzz_video, mutations
from benchmarks.attacks import files, flips, interruptions, names, programs
from benchmarks.attacks.interruptions import Moment
from benchmarks.attacks.programs import PROGRAMS, Bench
from har_tf import quiet
from har_tf.files.workers import Failed, outcomes
from har_tf.names import shown

SECONDS = 60  # that a try in a worker may take, what it imports included
MEMORY = 1500 * 10**6  # bytes that it may take beside what it has imported
Result = tuple[str, str | None]  # (case, why it did not survive; None: it did)


@dataclass(frozen=True)
class Attack:
    """One line of the table.

    Attributes:
        count: tries of a full run.
        cases: the names of so many tries.
        attempt: makes the try of this name; returns why the package did not survive it, None where it did.
        make: what comes before, once.
        apart: whether tries run in workers, which are limited; the others start processes that are.
    """

    count: int
    cases: Callable[[Bench, int], list[str]]
    attempt: Callable[[Bench, str], str | None]
    make: Callable[[Bench], object] | None = None
    apart: bool = True


def _numbers(bench: Bench, count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _flip(kind: str) -> Attack:
    def whole(bench: Bench) -> Path:
        return bench.folder / "whole" / kind

    def attempt(bench: Bench, case: str) -> str | None:
        copy = bench.folder / "flips" / f"{kind}-{case}"
        return flips.attempt(flips.Flip(kind, int(case), bench.material, whole(bench), copy))

    return Attack(100, _numbers, attempt, lambda bench: flips.make(kind, bench.material, whole(bench)))


def _file(kind: str) -> Attack:
    def sound(bench: Bench) -> Path:
        return bench.folder / "sound" / kind.replace(" ", "_")

    def attempt(bench: Bench, case: str) -> str | None:
        return files.attempt(kind, int(case), sound(bench), bench.folder / "files" / f"{kind}-{case}".replace(" ", "_"))

    return Attack(60, _numbers, attempt, lambda bench: files.make(kind, sound(bench)))


def _kill(program: str, count: int) -> Attack:
    def cases(bench: Bench, count: int) -> list[str]:
        return list(map(str, interruptions.moments(bench, PROGRAMS[program], count, np.random.default_rng(0))))

    def attempt(bench: Bench, case: str) -> str | None:
        return interruptions.kill(bench, PROGRAMS[program], Moment.of(case))

    return Attack(count, cases, attempt, apart=False)


def _stop(program: str, count: int, how: signal.Signals) -> Attack:
    def cases(bench: Bench, count: int) -> list[str]:
        found = interruptions.moments(bench, PROGRAMS[program], count, np.random.default_rng(1), ("event", "second"))
        return list(map(str, found))

    def attempt(bench: Bench, case: str) -> str | None:
        return interruptions.stop(bench, PROGRAMS[program], Moment.of(case), how)

    return Attack(count, cases, attempt, apart=False)


def _fill_disk(program: str, count: int) -> Attack:
    def cases(bench: Bench, count: int) -> list[str]:
        return list(map(str, interruptions.sizes(bench, PROGRAMS[program], count)))

    def attempt(bench: Bench, case: str) -> str | None:
        return interruptions.fill_disk(bench, PROGRAMS[program], int(case))

    return Attack(count, cases, attempt, apart=False)


def _names() -> Attack:
    def cases(bench: Bench, count: int) -> list[str]:
        found = [f"{command} {number}" for number in range(len(names.NAMES)) for command in names.COMMANDS]
        return found[:: max(len(found) // count, 1)]

    def attempt(bench: Bench, case: str) -> str | None:
        command, number = case.split()
        folder = bench.folder / "names" / case.replace(" ", "-")
        return names.attempt(names.NAMES[int(number)], command, folder, bench.folder / "model.keras")

    everything = len(names.NAMES) * len(names.COMMANDS)
    return Attack(everything, cases, attempt, lambda bench: names.make_model(bench.folder / "model.keras"))


def _videos() -> Attack:
    def sources(bench: Bench) -> list[Path]:
        return sorted((bench.folder / "sources").iterdir())

    def make(bench: Bench) -> None:
        (bench.folder / "sources").mkdir(exist_ok=True)
        mutations.make_sources(bench.folder / "sources")

    def attempt(bench: Bench, case: str) -> str | None:
        folder = bench.empty(f"videos/{case}")
        mutation = mutations.draw(sources(bench), int(case) + 1, 0)[-1]
        outcome, what, _ = fuzz_video.examine(fuzz_video.Case(int(case), mutation, folder))
        return None if outcome in fuzz_video.GOOD else f"{mutation.kind}, {mutation.source.name}: {outcome}: {what}"

    return Attack(300, _numbers, attempt, make)


# How often each program is interrupted: what takes seconds less often than what does not.
COUNTS = {"prepare": 24, "train": 12, "features": 16, "flow": 40, "mine": 24, "check": 12, "write_video": 30}
ATTACKS = {
    **{f"bits {kind}": _flip(kind) for kind in (*flips.STORES, flips.RUN)},
    **{f"kill {program}": _kill(program, COUNTS[program]) for program in PROGRAMS},
    **{
        f"{how.name} {program}": _stop(program, COUNTS[program] // 2, how)
        for how in (signal.SIGINT, signal.SIGTERM)
        for program in PROGRAMS
    },
    **{f"disk {program}": _fill_disk(program, 5) for program in PROGRAMS},
    **{f"file {kind}": _file(kind) for kind in files.FILES},
    "names": _names(),
    "videos": _videos(),
}  # fmt: skip
# For a smoke test, one of every kind: (attack, tries).
QUICK = {
    "bits training": 2, "kill write_video": 3, "SIGINT write_video": 2, "SIGTERM write_video": 2, "disk write_video": 2,
    "file .npz": 4, "file detections.json": 4, "names": 1, "videos": 4,
}  # fmt: skip


def attempts(name: str, bench: Bench, cases: list[str], workers: int | None = None) -> Iterator[Result]:
    """Makes these tries of an attack."""
    if ATTACKS[name].apart:
        found = outcomes(_attempt, [(name, bench, case) for case in cases], workers, SECONDS, MEMORY)
    else:
        found = (ATTACKS[name].attempt(bench, case) for case in cases)
    for case, fault in zip(cases, found, strict=True):
        yield case, fault.reason if isinstance(fault, Failed) else fault


def _attempt(task: tuple[str, Bench, str]) -> str | None:
    name, bench, case = task
    said = logging.root.manager.disable
    logging.disable(logging.WARNING)
    # Workers are daemons, which may start no processes of their own, as detectors and `predict` do.
    multiprocessing.current_process()._config.pop("daemon", None)
    if name.startswith(("bits", "file")):
        quiet.import_tensorflow()  # without what it says
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            return ATTACKS[name].attempt(bench, case)
    finally:
        logging.disable(said)


def _make(task: tuple[str, Bench]) -> None:
    name, bench = task
    ATTACKS[name].make(bench)


def make_bench(folder: Path, wanted: list[str], workers: int = 1) -> Bench:
    """Writes what the attacks need into an empty folder.

    Raises:
        RuntimeError: it fails, with nothing attacked yet.
    """
    if any(word == name for attack in wanted for word in attack.split() for name in PROGRAMS if PROGRAMS[name].heavy):
        interruptions.PRELOAD.extend(programs.IMPORTED)
    bench = Bench(folder / "material", folder)
    programs.make_material(bench.material)
    if any(word in name for name in wanted for word in ("features", "flow")):
        out = bench.empty("prepared")
        if (ended := interruptions.run(bench, PROGRAMS["prepare"], out)).code:
            raise RuntimeError(f"prepare fails undisturbed: {ended.stderr[-2000:]}")
        (out / "prepared").rename(bench.material / "prepared")
    tasks = [(name, bench) for name in wanted if ATTACKS[name].make]
    for (name, _), made in zip(tasks, outcomes(_make, tasks, workers), strict=True):
        if isinstance(made, Failed):
            raise RuntimeError(f"{name}: what is attacked cannot be made: {made.reason}")
    return bench


def table(results: dict[str, list[Result]]) -> str:
    """The table in Markdown: how many tries of each kind there were, how many survived, and what a failure was.

    Attacks of one kind that all survived share a line.
    """
    rows: dict[str, list[Result]] = {}
    for name, found in results.items():
        kind, _, rest = name.partition(" ")
        whole = all(fault is None for _, fault in found)
        before = next((row for row in rows if whole and row.partition(": ")[0] == kind), None)
        if before is None:
            rows[f"{kind}: {rest}" if whole and rest else name] = found
        else:
            rows[f"{before}, {rest}"] = rows.pop(before) + found
    lines = ["| attack | tried | survived | what a failure was |", "|:---|---:|---:|:---|"]
    for name, found in rows.items():
        faults = [f"{case}: {fault}" for case, fault in found if fault]
        first = shown(faults[0]).replace("|", "\\|")[:160] if faults else ""
        lines.append(f"| {name} | {len(found)} | {len(found) - len(faults)} | {first} |")
    every = [fault for found in results.values() for _, fault in found]
    return "\n".join([*lines, f"| all | {len(every)} | {every.count(None)} | |"])


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few tries of each kind")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(ATTACKS)}, or the first word")
    parser.add_argument("--case", action="append", help="with one attack: these tries alone")
    parser.add_argument("--workers", type=int, help="processes for what runs in workers; default: one a core")
    parser.add_argument("--keep", type=Path, help="an empty folder, for what the attacks write")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(given)

    known = QUICK if arguments.quick else ATTACKS
    wanted = [n for n in known if not arguments.only or n in arguments.only or n.split()[0] in arguments.only]
    if not wanted or (arguments.case and len(wanted) > 1):
        parser.error(f"attacks are {', '.join(ATTACKS)}; --case goes with one of them")
    results: dict[str, list[Result]] = {}
    with contextlib.nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), wanted, 1 if arguments.workers is None else min(arguments.workers, 1))
        for name in wanted:
            attack, begin = ATTACKS[name], time.perf_counter()
            cases = arguments.case or attack.cases(bench, QUICK[name] if arguments.quick else attack.count)
            results[name] = []
            try:
                for case, fault in attempts(name, bench, cases, arguments.workers):
                    results[name].append((case, fault))
                    if fault:
                        alone = shlex.join(["python", "-m", "benchmarks.attack", "--only", name, "--case", case])
                        print(f"{alone}\n    {shown(fault)}", flush=True)
            except OSError as error:  # this system makes no small disks
                print(f"{name}: not tried: {error}", file=sys.stderr)
            print(f"{name}: {len(results[name])} in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    print(table(results))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    return int(any(fault for found in results.values() for _, fault in found))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.argv[1:2] == ["program"]:  # what `interruptions` sends signals to
        programs.main(*sys.argv[2:])
    sys.exit(main())
