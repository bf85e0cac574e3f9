"""What every command line of the project does alike: options from a dataclass, one line of reason for a failure."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tyro

FAILED = 1


def run(function: Callable[[Any], Any], options: Any, prog: str | None = None, description: str | None = None) -> None:
    """Parses the command line into `options`, calls `function` with them, and exits.

    Exit codes: 0 for done, 1 for a failure with one line of reason on stderr, 2 for wrong usage, 130 when interrupted;
    1 without a line where the reader of stdout, such as `head`, has left.
    With `HAR_TF_TRACEBACK=1` in the environment a failure shows its traceback.

    Args:
        function: takes an instance of `options`.
        options: a dataclass, or a union of dataclasses for subcommands.
        prog: the command's name in its help.
        description: what the help says first; None: the docstring of the function's module.
    """
    description = description or sys.modules[function.__module__].__doc__
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if prog is None and spec is not None:
        prog = f"python -m {spec.name}"
    try:
        try:
            parsed = tyro.cli(options, prog=prog, description=description, config=(tyro.conf.OmitSubcommandPrefixes,))
            sys.exit(guarded(lambda: function(parsed)))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written goes nowhere, or Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def guarded(action: Callable[[], Any]) -> int:
    """Calls `action`; returns the exit code, after one line on stderr where it failed.

    Raises:
        BrokenPipeError: nobody reads stdout any more.
    """
    try:
        action()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("HAR_TF_TRACEBACK"):
            raise
        print(f"error: {_reason(error)}", file=sys.stderr)
        return FAILED
    return 0


def _reason(error: Exception) -> str:
    """One line that names the thing."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{Path(os.fsdecode(error.filename))}: {error.strerror}"
    text = " ".join(str(error).split())
    known = type(error).__module__.startswith("har_tf") or isinstance(error, ValueError | OSError | FloatingPointError)
    return text if known and text else f"{type(error).__name__}: {text} (HAR_TF_TRACEBACK=1 shows where)"


def check_ranges(options: Any, ranges: Mapping[str, tuple[float, float | None]]) -> None:
    """Raises ValueError unless the options of these names lie between (lowest, highest); None is not checked."""
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is not None and (value < low or (high is not None and value > high)):
            wanted = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ValueError(f"--{name.replace('_', '-')} must be {wanted}. Received: {value}")


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
