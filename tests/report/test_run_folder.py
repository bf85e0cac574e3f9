"""The folder of a run: its date, its name, what it is asked."""

import json
from types import SimpleNamespace

import pytest

from har_tf.report import run_folder
from har_tf.report.run_folder import RunFolder, check_writable, run_name


def test_a_finished_run_is_dated_anew_only_by_other_results(tmp_path, monkeypatch):
    dates = iter("abcdef")
    monkeypatch.setattr(run_folder, "environment", lambda: {"date": next(dates)})
    monkeypatch.setattr(run_folder, "publish", lambda path: path / "report.html")

    def date():
        return json.loads((run.path / "environment.json").read_text())["date"]

    run = RunFolder(tmp_path / "r", "x")
    run.begin({"epochs": 1})
    run.publish({"accuracy": 0.5})
    first = date()
    run.begin({"epochs": 1})
    run.publish({"accuracy": 0.5})
    assert date() == first
    run.publish({"accuracy": 0.6})
    assert date() != first
    assert json.loads((run.path / "results.json").read_text()) == {"experiment": "x", "accuracy": 0.6}


def test_a_name_follows_from_settings_and_videos():
    video = SimpleNamespace(path=SimpleNamespace(name="a.avi"), group="g01", stamp=lambda: (10, 20))
    later = SimpleNamespace(path=SimpleNamespace(name="a.avi"), group="g01", stamp=lambda: (10, 21))
    names = [run_name("p", {"epochs": epochs}, videos) for epochs in (1, 2) for videos in ([], [video], [later])]
    assert len(set(names)) == 6 and all(name.startswith("p-") for name in names)
    assert run_name("p", {"epochs": 1}, [video]) == names[1]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file")
