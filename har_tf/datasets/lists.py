"""The text files that data sets list their videos in, and how errors and notes tell a few names of many."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from har_tf.datasets.errors import DatasetError

# Little-endian UTF-32 begins alike and is told as UTF-16: hardly anybody saves lists so, and the cure is the same.
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: str | Path, errors: str = "strict") -> list[str]:
    """The lines of a UTF-8 text file, with or without byte order mark, whatever its line ends, without them.

    Empty lines are kept, so that the position of a line tells its number; the last line end makes no line.

    Args:
        path: the file.
        errors: what to do with bytes that are no UTF-8, see `open`. "surrogateescape" where the lines are names as the
            disk has them.

    Raises:
        DatasetError: no such file, one that cannot be read, or no UTF-8; UTF-16, which Windows tools write, is named.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    if data.startswith(_UTF_16):
        raise DatasetError(f"{path}: cannot be read as text: it is UTF-16. Expected UTF-8; save it as that")
    try:
        text = data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}: cannot be read as text: {error.reason} at byte {error.start}, in line {line}. Expected UTF-8"
        ) from error
    # Not `splitlines`, which also ends lines at characters that may stand in a name.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def numbered_lines(path: str | Path, errors: str = "strict") -> Iterator[tuple[int, str]]:
    """(number from 1, text without blanks around it) of the lines of `read_lines` that are not blank."""
    for number, line in enumerate(read_lines(path, errors), start=1):
        if line.strip():
            yield number, line.strip()


def counted(names: Sequence[object], text: str) -> list[str]:
    """A note on some names; none where there are none.

    Example:
        >>> counted(["a.avi", "b.avi"], "videos are in no list")
        ['2 videos are in no list, first a.avi']
    """
    return [f"{len(names)} {text}, first {names[0]}"] if names else []


def some(names: Iterable[object], count: int = 5) -> str:
    """The first names with commas between them, and dots where there are more.

    Example:
        >>> some(["a", "b", "c"], count=2)
        'a, b, ...'
    """
    first = [str(name) for name in islice(names, count + 1)]
    return ", ".join(first[:count]) + (", ..." if len(first) > count else "")
