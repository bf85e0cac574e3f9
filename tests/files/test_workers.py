import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tasks import work

from har_tf.files.workers import Failed, outcomes

FAILURES = [Failed("ValueError: first line"), Failed("not a video")]
LATE = Failed("took longer than 1 s")
TOO_LARGE = Failed("needed more than 100 MB of memory")


def test_results_come_in_order_and_failures_in_their_place():
    tasks = ["slow", "a", "raise", "video", "b"]
    expected = ["slow done", "a done", *FAILURES, "b done"]
    assert list(outcomes(work, tasks, workers=0)) == expected
    assert list(outcomes(work, tasks, workers=2)) == expected
    assert list(outcomes(work, [], workers=2)) == []


def test_a_crash_loses_one_task():
    tasks = [*"abcd", "crash", *"efghijklmnop", "raise"]
    results = list(outcomes(work, tasks, workers=2))
    assert [result for result in results if not isinstance(result, Failed)] == [
        f"{task} done" for task in "abcdefghijklmnop"
    ]
    assert isinstance(results[4], Failed) and "died of SIGABRT" in results[4].reason
    assert results[-1] == FAILURES[0]


def test_crashes_one_after_the_other():
    results = list(outcomes(work, ["crash", "crash", "a", "crash"], workers=1))
    assert [isinstance(result, Failed) for result in results] == [True, True, False, True]


def test_a_task_does_not_answer_for_those_before_it():
    assert list(outcomes(work, ["poison", "sensitive", "a"], workers=1)) == ["poison done", "sensitive done", "a done"]


@pytest.mark.parametrize("task", ["hang", "hang in C"])
def test_a_hang_loses_one_task(task):
    begin = time.monotonic()
    results = list(outcomes(work, ["a", task, "slow", task, "b"], workers=2, seconds=1))
    assert results == ["a done", LATE, "slow done", LATE, "b done"]
    assert time.monotonic() - begin < 20


def test_the_time_that_the_consumer_takes_does_not_count():
    results = outcomes(work, ["array"] * 3, workers=1, seconds=0.5)
    next(results)
    time.sleep(1)
    assert [len(result) for result in results] == [2**20] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_too_much_memory_loses_one_task():
    tasks = ["a", "memory", "array", "memory of the decoder", "b"]
    results = list(outcomes(work, tasks, workers=1, memory=100_000_000))
    assert results[:2] == ["a done", TOO_LARGE] and results[3:] == [TOO_LARGE, "b done"]
    assert (results[2] == 7).all()
    # Without a limit it is one error like another.
    assert list(outcomes(work, ["memory of the decoder"], workers=1)) == [Failed("corrupt")]


def test_a_result_that_cannot_be_sent():
    result, other = outcomes(work, ["cannot be pickled", "a"], workers=1)
    assert "pickle" in result.reason and other == "a done"


def test_tasks_are_taken_as_they_are_needed():
    taken = []
    results = outcomes(work, (taken.append(n) or str(n) for n in range(1000)), workers=1)
    assert next(results) == "0 done"
    assert len(taken) < 10
    results.close()


def gone(pid: int) -> bool:
    """Whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_no_process_is_left():
    pids = list(outcomes(work, ["pid", "slow", "pid"], workers=2))[::2]
    results = outcomes(work, ["pid", "hang", "hang"], workers=2)
    pids.append(next(results))
    begin = time.monotonic()
    results.close()
    assert time.monotonic() - begin < 5
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("task", [0, 60])
@pytest.mark.parametrize("how", ["kill", "Ctrl-C"])
def test_workers_follow_a_parent_that_ends_in_silence(tmp_path, how, task):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys, time
            from har_tf.files.workers import outcomes
            def work(task):
                time.sleep(task)
                return os.getpid()
            if __name__ == "__main__":
                for result in outcomes(work, [0, int(sys.argv[1])], workers=1):
                    print(result, flush=True)
                    time.sleep(0 if int(sys.argv[1]) else 60)
            """
        )
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, str(script), str(task)], **pipes, env=environment, start_new_session=True
    ) as parent:
        pid = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGINT) if how == "Ctrl-C" else parent.send_signal(signal.SIGKILL)
        parent.wait()
        told = parent.stderr.read()
    # Of Ctrl-C the parent alone tells.
    assert told.count("Traceback") == (how == "Ctrl-C") and "spawn_main" not in told
    for _ in range(100):
        # Who adopts it may be slow to collect it: a zombie is as good as gone here.
        status = Path(f"/proc/{pid}/stat")
        if gone(pid) or (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"):
            return
        time.sleep(0.1)
    pytest.fail(f"worker {pid} outlived its parent")


def test_a_script_needs_a_guard_only_for_functions_of_its_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from har_tf.files.workers import outcomes\nprint(list(outcomes(abs, [-1], workers=1)), flush=True)\n"
        "def own(task): return task\nlist(outcomes(own, [-1], workers=1))\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.splitlines()[0] == "[1]"
    assert done.returncode and "RuntimeError: worker processes cannot be started: does the script that" in done.stderr


def test_wrong_arguments():
    for name, wrong in (("workers", -1), ("seconds", 0), ("memory", -5)):
        with pytest.raises(ValueError, match=f"Received: {name}={wrong}"):
            next(outcomes(work, ["a"], **{name: wrong}))


def test_a_process_that_may_start_none_says_so(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(RuntimeError, match="cannot be started: daemonic processes .*; workers=0 does without"):
        list(outcomes(work, ["a"], workers=1))
