"""The command line's habits: one line of reason, exit codes, names separated by commas."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from har_tf import command
from har_tf.command import Terminated, by_name, check_name, check_ranges, guarded, run, whole_numbers, words
from har_tf.files.whole import resumable
from har_tf.signals import ENDS
from har_tf.video import VideoError


def fail(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("epochs=0"), "error: epochs=0"),
        (VideoError("a.avi", "empty"), "error: a.avi: empty"),
        (PermissionError(13, "Permission denied", "/x/y"), "error: /x/y: Permission denied"),
        (ValueError("two\nlines"), "error: two lines"),
        (KeyError("weights"), "error: KeyError: 'weights' (HAR_TF_TRACEBACK=1 shows where)"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(error, line, capsys):
    assert guarded(fail(error)) == 1
    assert capsys.readouterr().err == line + "\n"


def test_success_interruption_and_traceback(monkeypatch, capsys):
    assert guarded(lambda: None) == 0
    assert guarded(fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert guarded(fail(Terminated())) == 143
    assert capsys.readouterr().err == "terminated\n"

    def resumed():
        with resumable("all of it"), resumable("the same command goes on after epoch 2"):
            raise KeyboardInterrupt

    assert guarded(resumed) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on after epoch 2\n"
    monkeypatch.setenv("HAR_TF_TRACEBACK", "1")
    with pytest.raises(ValueError, match="seen"):
        guarded(fail(ValueError("seen")))


@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGINT, (130, "interrupted")), (signal.SIGTERM, (143, "terminated"))]
)
def test_a_signal_ends_a_command_in_order_with_a_line(number, end, tmp_path):
    """While a thread, such as one of TensorFlow that reads ahead, goes on calling Python."""
    (tmp_path / "experiments").mkdir()
    script = tmp_path / "experiments" / "slow.py"
    script.write_text(
        "import sys, threading, time\n"
        "from dataclasses import dataclass\n"
        "from har_tf.command import run\n"
        "from har_tf.files.whole import resumable, whole_file\n"
        "@dataclass\n"
        "class Options:\n"
        "    file: str\n"
        "def main(options):\n"
        "    threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(int, 1)]).start()\n"
        "    with resumable('it goes on'), whole_file(options.file) as part:\n"
        "        part.touch()\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(60)\n"
        "run(main, Options)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(script), "--file", str(tmp_path / "whole")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        code, told = process.wait(20), process.stderr.read()
    assert (code, told) == (end[0], f"{end[1]}; it goes on\n")
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"], "nothing half"


@dataclass
class Options:
    """An option."""

    count: int = 1


def print_many(options):
    for _ in range(options.count):
        print("a line")


@pytest.mark.parametrize("arguments", [["--help"], ["--count", "1"], ["--count", "10000"]])
def test_a_reader_that_has_seen_enough_is_no_failure_to_tell(arguments, monkeypatch, capsys):
    """As `head` leaves while the command writes, or before what it wrote is passed on at the end."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        patched.setattr(sys, "argv", ["command", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(print_many, Options)
        stdout.flush()  # as Python does at its end
    assert ended.value.code == 1
    assert capsys.readouterr().err == ""


def test_a_run_without_failure_exits_with_0(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "--count", "2"])
    with pytest.raises(SystemExit) as ended:
        run(print_many, Options)
    assert not ended.value.code
    assert capsys.readouterr().out == "a line\na line\n"


def test_a_signal_that_comes_when_all_is_done_changes_nothing(monkeypatch, capsys):
    before = {number: signal.getsignal(number) for number in command.ENDS}
    monkeypatch.setattr(command, "is_program", lambda: True)
    try:
        with pytest.raises(SystemExit) as exit:
            run(lambda options: print("done"), Options, args=[])
        assert exit.value.code == 0 and capsys.readouterr().out == "done\n"
        assert {signal.getsignal(number) for number in command.ENDS} == {signal.SIG_IGN}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_switch_that_may_be_left_open_is_a_switch_all_the_same(monkeypatch):
    @dataclass
    class Options:
        deterministic: bool | None = None
        width: int = 3

    forms = (["--deterministic"], ["--no-deterministic", "--width", "4"], ["--deterministic", "None"], [])
    seen = []
    for arguments in (*forms, ["--deterministic", "False"]):
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(lambda options: seen.append(options), Options)
        assert ended.value.code == 0
    assert [options.deterministic for options in seen] == [True, False, None, None, False]
    assert seen[1].width == 4


def test_words():
    assert words("a, b,,c ") == ["a", "b", "c"]
    with pytest.raises(ValueError, match="Received: ' , '"):
        words(" , ")


def test_ranges_name_the_option_as_it_is_typed():
    options = SimpleNamespace(batch_size=0, dropout=0.5, workers=None)
    check_ranges(options, {"dropout": (0, 0.9), "workers": (0, None)})
    with pytest.raises(ValueError, match="--batch-size must be at least 1. Received: 0"):
        check_ranges(options, {"batch_size": (1, None)})
    with pytest.raises(ValueError, match="--dropout must be between 0 and 0.4. Received: 0.5"):
        check_ranges(options, {"dropout": (0, 0.4)})
    for value, told in (((2, 0), "1. Received: 2 0"), (math.nan, "1, and finite. Received: nan"), (math.inf, "inf")):
        with pytest.raises(ValueError, match=f"--units must be at least .*{told}"):
            check_ranges(SimpleNamespace(units=value), {"units": (1, None)})


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", ""])
def test_a_run_is_named_without_a_path(name):
    check_name("--run", None)
    check_name("--run", "first")
    with pytest.raises(ValueError, match="--run must be the name of a folder"):
        check_name("--run", name)


def test_whole_numbers():
    assert whole_numbers("--seeds", "3, 0,1") == [3, 0, 1]
    for text, words_ in (("a", "from 1 on"), ("0", "from 1 on"), ("-1", "from 1 on"), (str(2**32), "from 1 on")):
        with pytest.raises(ValueError, match=f"--splits must be whole numbers {words_}. Received: '{text}'"):
            whole_numbers("--splits", text, 1)
    with pytest.raises(ValueError, match="--seeds must be different from each other. Received: '1,01'"):
        whole_numbers("--seeds", "1,01")


def test_values_by_name():
    assert by_name("--weights", "none", ["a", "b"], ("none",)) == {"a": "none", "b": "none"}
    assert by_name("--weights", "b=x=1.pt, a=none", ["a", "b", "c"], ("none",)) == {"b": "x=1.pt", "a": "none"}
    for text in ("d=x", "a=x,a=y", "a=", "a", "nowhere.pt"):
        with pytest.raises(ValueError, match=f"--weights must be none, or NAME=FILE or NAME=none, .*a, b.*'{text}'"):
            by_name("--weights", text, ["a", "b"], ("none",))


def test_a_program_that_calls_a_command_answers_signals_as_before_and_is_not_interrupted_by_an_old_one():
    @dataclass(frozen=True)
    class Nothing:
        pass

    before = [signal.getsignal(number) for number in ENDS]
    for arguments in ([], ["--help"], ["--nope"]):
        with pytest.raises(SystemExit):
            run(lambda options: signal.raise_signal(signal.SIGINT), Nothing, args=arguments)
    assert [signal.getsignal(number) for number in ENDS] == before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert guarded(lambda: [][0]) == command.FAILED
