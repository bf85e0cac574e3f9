"""Ctrl-C and SIGTERM: what they would cut in two is finished first, and a command says how it ended from its start."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OURS = ("har_tf", "experiments", "benchmarks")
ENDS = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}  # what is said, exit code


class Terminated(KeyboardInterrupt):
    """SIGTERM came, as from a batch system whose time is up; it ends what runs as Ctrl-C does."""


@contextmanager
def held() -> Iterator[None]:
    """SIGINT and SIGTERM that come inside are answered when it is left; other threads than the main one hear none."""
    before = {number: signal.getsignal(number) for number in ENDS}
    if threading.current_thread() is not threading.main_thread() or None in before.values():
        yield
        return
    came: list[int] = []
    try:
        for number in ENDS:
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # another one must not come between the two
        for number in ENDS:
            signal.signal(number, before[number])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        if came:
            signal.raise_signal(came[-1])


def is_program() -> bool:
    """Whether this process was started for a command of the project, and is no one's else, such as a test's."""
    started = sys.orig_argv
    module = started[started.index("-m") + 1] if "-m" in started[:-1] else ""
    script = Path(next((word for word in started[1:] if not word.startswith("-")), ""))
    return module.partition(".")[0] in _OURS or script.parent.name in _OURS or script.name == "har-tf"


def answer_while_imports_run() -> None:
    """Ends a command of the project on a signal that comes before `har_tf.command.run` sees to it."""

    def end(number: int, frame: Any) -> None:
        word, code = ENDS[number]
        os.write(2, f"{word}\n".encode())
        os._exit(code)

    if is_program():
        for number in ENDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)
