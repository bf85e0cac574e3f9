"""What every command line of the project does alike: options from a dataclass, one line of reason for a failure."""

import functools
import itertools
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import tyro

from har_tf.names import say, shown
from har_tf.signals import ENDS, Terminated, is_program

FAILED = 1
OPEN_SWITCHES = ("deterministic",)  # options that are True, False or None: left open


def run(
    function: Callable[[Any], Any],
    options: Any,
    prog: str | None = None,
    description: str | None = None,
    **parsing: Any,
) -> None:
    """Parses the command line into `options`, calls `function` with them, and exits.

    Exit codes: 0 for done, 1 for a failure with one line of reason on stderr, 2 for wrong usage, 130 when interrupted,
    143 when terminated (SIGTERM, after the same clean end); 1 without a line where the reader of stdout, such as
    `head`, has left. With `HAR_TF_TRACEBACK=1` in the environment a failure shows its traceback.

    Args:
        function: takes an instance of `options`.
        options: a dataclass, or a union of dataclasses for subcommands.
        prog: the command's name in its help.
        description: what the help says first; None: the docstring of the function's module.
        **parsing: further arguments of `tyro.cli`, such as default and args.
    """
    # Names that the terminal has no letters for are no failure, and logged lines hold names as well.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.lastResort.setFormatter(_OneLine())
    description = description or sys.modules[function.__module__].__doc__
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if prog is None and spec is not None:
        prog = f"python -m {spec.name}"
    with _answered():
        try:
            try:
                config = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
                parsing["args"] = _spelled_out(sys.argv[1:] if parsing.get("args") is None else parsing["args"])
                parsed = functools.partial(
                    tyro.cli, options, prog=prog, description=description, config=config, **parsing
                )
                code = guarded(lambda: function(parsed()))
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # What is still to be written goes nowhere, or Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
    if code and is_program():
        # Threads of TensorFlow may still be at work. Where they call a Python that is being taken apart, it crashes.
        sys.stderr.flush()
        os._exit(code)
    if is_program() and threading.current_thread() is threading.main_thread():
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)  # all is done; Python, on its way out, would end as if it were not
    sys.exit(code)


def _spelled_out(arguments: Sequence[str]) -> list[str]:
    """Arguments in which a switch of `OPEN_SWITCHES`, and its `--no-`, has the value that tyro wants of it."""
    known = {f"--{no}{name}": (f"--{name}", str(not no)) for name in OPEN_SWITCHES for no in ("", "no-")}
    spelled = []
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        has_value = following in ("True", "False", "None")
        spelled += [argument] if argument not in known or has_value else known[argument]
    return spelled


_signals: list[int] = []  # that came since `run` was called


@contextmanager
def _answered() -> Iterator[None]:
    """Signals end what runs here in order; a program that is not the command itself answers them as before."""
    _signals.clear()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.signal(n, _interrupt) for n in ENDS if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        if not is_program():
            for number, handler in before.items():
                signal.signal(number, handler)
            _signals.clear()


def _interrupt(number: int, frame: Any) -> NoReturn:
    _signals.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def guarded(action: Callable[[], Any]) -> int:
    """Calls `action`; returns the exit code, after one line on stderr where it failed.

    Raises:
        BrokenPipeError: nobody reads stdout any more.
    """
    try:
        action()
    except KeyboardInterrupt as error:
        return _interrupted(signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT, error)
    except BrokenPipeError:
        raise
    except Exception as error:
        if _signals:  # a library made an error of its own of it
            return _interrupted(_signals[-1], error)
        if os.environ.get("HAR_TF_TRACEBACK"):
            raise
        say(f"error: {_reason(error)}", to=sys.stderr)
        return FAILED
    return 0


def _interrupted(number: int, error: BaseException) -> int:
    word, code = ENDS[number]
    say("; ".join([word, *getattr(error, "__notes__", [])[:1]]), to=sys.stderr)
    return code


def _reason(error: Exception) -> str:
    """One line that names the thing."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{Path(os.fsdecode(error.filename))}: {error.strerror}"
    text = " ".join(str(error).split())
    known = type(error).__module__.startswith("har_tf") or isinstance(error, ValueError | OSError | FloatingPointError)
    return text if known and text else f"{type(error).__name__}: {text} (HAR_TF_TRACEBACK=1 shows where)"


def check_ranges(options: Any, ranges: Mapping[str, tuple[float, float | None]]) -> None:
    """Raises ValueError unless the options of these names lie between (lowest, highest); None is not checked.

    A highest of None stands for any finite number; of several numbers each is checked.
    """
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(low <= number <= (sys.float_info.max if high is None else high) for number in numbers):
            finite = "" if all(map(math.isfinite, numbers)) else ", and finite"
            wanted = f"at least {low}{finite}" if high is None else f"between {low} and {high}"
            raise ValueError(f"--{name.replace('_', '-')} must be {wanted}. Received: {' '.join(map(str, numbers))}")


def check_name(option: str, value: str | None) -> None:
    """Raises ValueError unless `value`, if there is one, can name a folder."""
    if value is not None and (value in ("", "..") or Path(value).name != value):
        raise ValueError(f"{option} must be the name of a folder, not a path. Received: {value!r}")


def words(text: str) -> list[str]:
    """The names in a comma-separated option.

    Raises:
        ValueError: there is none.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise ValueError(f"A name, or several separated by commas. Received: {text!r}")
    return found


def whole_numbers(option: str, text: str, low: int = 0) -> list[int]:
    """The numbers in a comma-separated option, all different.

    Raises:
        ValueError: there is none, one that is no whole number from `low` on, or one twice.
    """
    numbers = words(text)
    if not all(number.isdecimal() and low <= int(number) < 2**32 for number in numbers):
        raise ValueError(f"{option} must be whole numbers from {low} on. Received: {text!r}")
    if len({int(number) for number in numbers}) < len(numbers):
        raise ValueError(f"{option} must be different from each other. Received: {text!r}")
    return [int(number) for number in numbers]


def by_name(option: str, text: str, names: Sequence[str], for_all: Sequence[str]) -> dict[str, str]:
    """Name -> value of an option that is one word for all names, or NAME=VALUE for some of them.

    Args:
        option: the flag, for the message.
        text: what was given.
        names: what may be named.
        for_all: the words that are for all names; a name alone may have them too.

    Raises:
        ValueError: a name that is not known or comes twice, or no value.
    """
    if text in for_all:
        return dict.fromkeys(names, text)
    pairs = [pair.partition("=") for pair in words(text)]
    values = {name: value for name, _, value in pairs}
    if len(values) < len(pairs) or not all(name in names and value for name, value in values.items()):
        forms = " or ".join(["NAME=FILE", *(f"NAME={word}" for word in for_all)])
        raise ValueError(
            f"{option} must be {' or '.join(for_all)}, or {forms}, separated by commas, once for each of "
            f"{', '.join(names)} that has any. Received: {text!r}"
        )
    return values
