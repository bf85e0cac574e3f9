"""`benchmarks.attack`: what does not survive is found out, and the package survives a few tries of every kind."""

import json
import signal

import numpy as np
import pytest
import tasks

from benchmarks import attack
from benchmarks.attacks import files, flips, interruptions, names
from benchmarks.attacks.files import FileKind
from benchmarks.attacks.interruptions import Moment
from benchmarks.attacks.programs import Bench, Program


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, tmp_path)


def killed(bench, run, moment, how=signal.SIGKILL):
    program = Program("test", run, heavy=False)
    if how == signal.SIGKILL:
        return interruptions.kill(bench, program, Moment.of(moment))
    return interruptions.stop(bench, program, Moment.of(moment), how)


@pytest.mark.parametrize(
    ("run", "moment", "fault"),
    [
        (tasks.writes_whole, "event 1", None),
        (tasks.writes_whole, "event 2", None),
        (tasks.writes_whole, "byte 5", None),
        (tasks.writes_in_place, "byte 5", "half written: result.json (JSONDecodeError)"),
        (tasks.writes_beside, "event 2", "left over: .part.1"),
        (tasks.goes_on_twice, "event 2", "not as undisturbed: result.json"),
        (tasks.refuses_what_is_there, "event 2", "run again, ended with 1: error: part: there already"),
    ],
)
def test_a_program_that_a_kill_harms_is_found_out(bench, run, moment, fault):
    assert killed(bench, run, moment) == fault


def test_a_signal_that_ends_in_a_traceback_or_without_a_word_is_found_out(bench):
    assert killed(bench, tasks.writes_whole, "event 2", signal.SIGINT) is None
    assert killed(bench, tasks.prints_a_traceback, "event 1", signal.SIGINT) == "ended with 1: KeyboardInterrupt"
    assert killed(bench, tasks.says_nothing, "event 1", signal.SIGINT) == "no word of the interruption: nothing"


def test_a_full_disk_is_told_and_what_was_finished_is_taken_up(bench):
    def filled(run):
        try:
            return interruptions.fill_disk(bench, Program("test", run, heavy=False), 8192)
        except OSError as error:
            pytest.skip(str(error))

    assert filled(tasks.fills_and_says_so) is None
    assert filled(tasks.fills).startswith("does not say which file finds no room: error: [Errno 28]")


def refuse(reason):
    raise ValueError(reason)


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (lambda path: path.read_bytes(), "other value: silently other than the sound file"),
        (lambda path: 1 / 0, "an error of another kind than ValueError: ZeroDivisionError: 'division by zero'"),
        (lambda path: refuse(f"{path}\n"), "more than a line"),
        (lambda path: refuse("x"), "does not name the file"),
        (lambda path: refuse(f"{path} {'x' * 2000}"), "a line of "),
        (lambda path: refuse(str(path)), None),
        (lambda path: 1, None),
    ],
)
def test_a_reader_that_damage_harms_is_found_out(monkeypatch, tmp_path, read, fault):
    def make(path):
        path.write_text(json.dumps([1, 2]))

    def whole(path):
        return 1 if path.parent.name == "sound" and "silently" not in str(fault) else read(path)

    monkeypatch.setitem(files.FILES, "test", FileKind("a.json", make, whole, sealed=True))
    files.make("test", tmp_path / "sound")
    found = files.attempt("test", 2, tmp_path / "sound", tmp_path / "copy")
    assert found is None if fault is None else fault in found


@pytest.mark.parametrize("kind", [k for k in files.FILES if k not in (".tflite", ".onnx", "results.json")])
def test_files_of_every_kind(tmp_path, kind):
    files.make(kind, tmp_path / "sound")
    found = {n: files.attempt(kind, n, tmp_path / "sound", tmp_path / "copy") for n in range(6)}
    assert {number: fault for number, fault in found.items() if fault} == {}


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        (tasks.CarelessStore, "read without a word"),
        (tasks.StubbornStore, "made again: DatasetError: clips.raw: damaged"),
    ],
)
def test_a_store_that_a_flipped_bit_harms_is_found_out(monkeypatch, tmp_path, store, fault):
    for name, value in (
        ("_open", store),
        ("_made", lambda kind, material, folder: store(kind, folder)),
        ("_trained_on", lambda *_: None),
    ):
        monkeypatch.setattr(flips, name, value)
    (tmp_path / "whole").mkdir()
    np.arange(12, dtype=np.uint8).tofile(tmp_path / "whole" / "clips.raw")
    assert fault in flips.attempt(flips.Flip("prepared", 0, tmp_path, tmp_path / "whole", tmp_path / "copy"))


def test_a_command_that_obeys_a_name_is_found_out(monkeypatch, tmp_path):
    def forge(videos, folder, model):
        (folder / "a.csv").write_text("path\n" + "=1+1\n")

    for name, command in (("print", lambda videos, *_: print(*videos.iterdir())), ("forge", forge)):
        monkeypatch.setitem(names.COMMANDS, name, command)
    assert "stdout has '\\x1b'" in names.attempt(b"\x1b[31m", "print", tmp_path / "a", tmp_path)
    assert "a.csv: a formula: '=1+1'" in names.attempt(b"b", "forge", tmp_path / "b", tmp_path)
    assert names.attempt(b"b", "print", tmp_path / "c", tmp_path) is None


def test_the_table_counts_and_quotes():
    results = {
        "kill a": [("event 1", None)],
        "kill b": [("event 1", None), ("event 2", "a | b")],
        "kill c": [("byte 3", None)],
        "names": [("1", None)],
    }
    assert sorted(attack.table(results).splitlines()[2:]) == [
        "| all | 5 | 4 | |",
        "| kill b | 2 | 1 | event 2: a \\| b |",
        "| kill: a, c | 2 | 2 |  |",
        "| names | 1 | 1 |  |",
    ]


def test_a_quick_attack(capsys):
    assert attack.main(["--quick", "--workers", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("| all |")
