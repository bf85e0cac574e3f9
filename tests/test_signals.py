"""What a signal may not cut in two is finished first, and the end is the same whenever it comes."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from har_tf.command import run
from har_tf.signals import ENDS, held


@dataclass
class Options:
    """None."""


@pytest.fixture(autouse=True)
def _own_handlers():
    before = {number: signal.getsignal(number) for number in ENDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDS)
def test_what_is_held_is_finished_and_then_answered(number, capsys):
    done = []

    def main(options):
        with held():
            signal.raise_signal(number)
            done.append("first")
            with held():
                signal.raise_signal(number)
            done.append("second")
        done.append("more")

    with pytest.raises(SystemExit) as ended:
        run(main, Options, args=[])
    assert (done, ended.value.code) == (["first", "second"], ENDS[number][1])
    assert capsys.readouterr().err == f"{ENDS[number][0]}\n"


@pytest.mark.parametrize("number", ENDS)
def test_a_library_that_makes_an_error_of_a_signal_does_not_hide_it(number, capsys):
    def main(options):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:  # as pybind11 does while it imports
            raise ImportError("initialization failed") from error

    with pytest.raises(SystemExit) as ended:
        run(main, Options, args=[])
    assert (ended.value.code, capsys.readouterr().err) == (ENDS[number][1], f"{ENDS[number][0]}\n")
    with pytest.raises(SystemExit) as ended:
        run(lambda options: int("x"), Options, args=[])
    assert ended.value.code == 1, "a later command has had no signal"


def test_what_was_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        run(lambda options: signal.raise_signal(signal.SIGINT), Options, args=[])
    assert not ended.value.code


@pytest.mark.parametrize("module", ["har_tf", "experiments.fusion_gru"])
@pytest.mark.parametrize("number", ENDS)
def test_a_signal_before_a_command_has_read_its_options_ends_alike(module, number, tmp_path):
    (tmp_path / "tyro.py").write_text(f"import signal\nsignal.raise_signal({int(number)})\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}"}
    command = [sys.executable, "-m", module]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (ENDS[number][1], f"{ENDS[number][0]}\n")
