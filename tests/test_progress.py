"""Progress without a terminal, by a clock that is turned by hand."""

import pytest

from har_tf import progress as module
from har_tf.progress import advancing, progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_a_minute_and_one_at_the_end(clock, capsys):
    with progress("mining", 10, "videos", before=4) as advance:
        for _ in range(6):
            clock[0] += 25
            advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "mining: 7 of 10 videos, 0.04 videos/s",
        "mining: 10 of 10 videos, 0.04 videos/s",
        "mining: 10 of 10 videos, 0.04 videos/s",
    ]


def test_quick_work_says_nothing(clock, capsys):
    with progress("mining", 2, "videos") as advance:
        clock[0] += 59
        advance(2)
    assert capsys.readouterr().err == ""


def test_items_are_counted_when_they_are_done():
    counted = []
    items = advancing("ab", counted.append)
    assert next(items) == "a" and not counted
    assert list(items) == ["b"] and counted == [1, 1]
