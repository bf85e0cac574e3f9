"""How far long work is: a bar on a terminal, and lines where there is none."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from har_tf.names import say

REPORT_SECONDS = 60.0  # between lines
T = TypeVar("T")


@contextmanager
def progress(what: str, total: int, unit: str, before: int = 0) -> Iterator[Callable[[int], None]]:
    """A function that counts what is done: a bar on a terminal; where there is none, a line on stderr every minute.

    Work that takes less than a minute says nothing there.

    Args:
        what: the work, such as "mining".
        total: how much there is.
        unit: of what, in the plural.
        before: how much was done by an earlier run.
    """
    done, began, told = before, time.monotonic(), False
    reported = began

    def report() -> None:
        nonlocal reported, told
        reported, told = time.monotonic(), True
        rate = (done - before) / max(reported - began, 1e-9)
        say(f"{what}: {done} of {total} {unit}, {rate:.{1 if rate >= 1 else 2}f} {unit}/s", to=sys.stderr)

    def advance(count: int = 1) -> None:
        nonlocal done
        bar.update(count)
        done += count
        if bar.disable and time.monotonic() - reported >= REPORT_SECONDS:
            report()

    with tqdm(total=total, initial=before, desc=what, unit=f" {unit}", leave=False, delay=1, disable=None) as bar:
        yield advance
    if told and done > before:
        report()


def advancing(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """The items, each counted when the next one is asked for."""
    for item in items:
        yield item
        advance(1)
