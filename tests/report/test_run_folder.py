"""The folder of a run: its date, its name, what it is asked."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from har_tf.datasets import ActionDataset, VideoRecord
from har_tf.report import run_folder
from har_tf.report.run_folder import RunFolder, check_writable, run_name


def test_a_finished_run_is_dated_anew_only_by_other_results(tmp_path, monkeypatch):
    dates = iter("abcdef")
    monkeypatch.setattr(run_folder, "environment", lambda: {"date": next(dates)})
    monkeypatch.setattr(run_folder, "publish", lambda path: path / "report.html")

    def date():
        return json.loads((run.path / "environment.json").read_text())["date"]

    for accuracy, dated in ((0.5, "b"), (0.5, "b"), (0.6, "c")):
        with RunFolder(tmp_path / "r", "x").begun({"asked": accuracy}) as run:
            run.publish({"accuracy": accuracy})
        assert date() == dated
    assert json.loads((run.path / "results.json").read_text()) == {"experiment": "x", "accuracy": 0.6}


def test_what_is_refused_changes_nothing_of_a_finished_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "publish", lambda path: path / "report.html")
    with RunFolder(tmp_path / "r", "x").begun({"epochs": 1}) as run:
        run.publish({"accuracy": 0.5})
    before = {path: path.read_text() for path in run.path.glob("*.json")}
    with pytest.raises(ValueError, match="other settings"), RunFolder(tmp_path / "r", "x").begun({"epochs": 2}):
        raise ValueError("holds a run with other settings")
    assert {path: path.read_text() for path in run.path.glob("*.json")} == before
    assert not (run.path / ".lock").exists()


def test_a_second_process_waits_until_the_first_leaves_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_folder, "environment", dict)
    with RunFolder(tmp_path / "r", "x").begun({}) as run:
        second = threading.Thread(target=lambda: open_it(tmp_path / "r"))
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join(30)
    assert not second.is_alive()
    assert f"{run.path / '.lock'}: worked on by process {os.getpid()} on" in caplog.text


def open_it(path):
    with RunFolder(path, "x").begun({}):
        pass


@pytest.fixture
def videos(tmp_path):
    """A data set of two videos."""
    for name, content in (("a/1.mp4", b"one"), ("b/1.mp4", b"two")):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


def listed(root):
    records = (VideoRecord(root / "a" / "1.mp4", 0), VideoRecord(root / "b" / "1.mp4", 1))
    return ActionDataset("data", root, records, ("a", "b"))


def test_a_name_follows_from_settings_and_videos(videos, tmp_path):
    first = listed(videos)
    parts = replace(first, official=(frozenset([first.records[0].path]), frozenset([first.records[1].path])))
    several = ((), (first,), (parts,), (first.subset(first.records[:1]),), (first, parts), (parts, first))
    names = [run_name(tmp_path, "p", {"epochs": epochs}, *data) for epochs in (1, 2) for data in several]
    assert len(set(names)) == 12 and all(name.startswith("p-") for name in names)
    assert run_name(tmp_path, "p", {"epochs": 1}, listed(videos)) == names[1]
    (videos / "b" / "1.mp4").write_bytes(b"owt")
    assert run_name(tmp_path, "p", {"epochs": 1}, listed(videos)) != names[1], "the same name and size"


def test_a_name_does_not_depend_on_where_things_lie(videos, tmp_path, monkeypatch):
    weights, lists = tmp_path / "w.h5", tmp_path / "lists"
    weights.write_bytes(b"weights")
    lists.mkdir()
    (lists / "train.txt").write_text("a/1.mp4")

    def name(weights, lists, root):
        settings = {"weights": f"I3D={weights},C3D=none", "model": Path(weights), "lists": Path(lists), "seed": 0}
        return run_name(tmp_path / "runs", "p", settings, listed(Path(root)))

    first = name(weights, lists, videos)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert name("w.h5", "link/lists", "link/data") == first
    for place in ("w.h5", "lists", "data"):
        shutil.copytree(place, f"copy/{place}") if place != "w.h5" else shutil.copy(place, tmp_path / "other.h5")
    assert name("other.h5", "copy/lists", "copy/data") == first
    (tmp_path / "runs" / f"called-otherwise-{first[2:]}").mkdir(parents=True)
    assert name(weights, lists, videos) == f"called-otherwise-{first[2:]}", "its data were called otherwise"
    (lists / "train.txt").write_text("a/1.mp4 b/1.mp4")
    assert name(weights, lists, videos) not in (first, f"called-otherwise-{first[2:]}")
    (tmp_path / "other.h5").write_bytes(b"wEights")
    assert name("other.h5", "copy/lists", "copy/data") != first


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_writable(tmp_path / "file")
