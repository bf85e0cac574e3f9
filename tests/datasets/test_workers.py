import os
import time

import pytest

from har_tf.datasets.workers import Failed, outcomes
from har_tf.video import VideoError


def work(task):
    """What a task says, in a worker process."""
    if task == "crash":
        os.abort()
    if task == "raise":
        raise ValueError("first line\nsecond line")
    if task == "video":
        raise VideoError("a.mp4", "not a video")
    if task == "slow":
        time.sleep(0.3)
    return f"{task} done"


FAILURES = [Failed("ValueError: first line"), Failed("not a video")]


def test_results_come_in_order_and_failures_in_their_place():
    tasks = ["slow", "a", "raise", "video", "b"]
    expected = ["slow done", "a done", *FAILURES, "b done"]
    assert list(outcomes(work, tasks, workers=0)) == expected
    assert list(outcomes(work, tasks, workers=2)) == expected


def test_a_crash_loses_one_task():
    tasks = [*"abcd", "crash", *"efghijklmnop", "raise"]
    results = list(outcomes(work, tasks, workers=2))
    assert [result for result in results if not isinstance(result, Failed)] == [
        f"{task} done" for task in "abcdefghijklmnop"
    ]
    assert isinstance(results[4], Failed) and "died" in results[4].reason
    assert results[-1] == FAILURES[0]


def test_tasks_are_taken_as_they_are_needed():
    taken = []
    results = outcomes(work, (taken.append(n) or str(n) for n in range(1000)), workers=1)
    assert next(results) == "0 done"
    assert len(taken) < 10
    results.close()


def test_a_wrong_number_of_workers():
    with pytest.raises(ValueError, match="Received: workers=-1"):
        next(outcomes(work, ["a"], workers=-1))
