"""Files are there whole or not at all."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from har_tf.files.whole import scratch_file, whole_file, whole_folder


def test_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with whole_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    target = tmp_path / ("é" * 125 + ".mp4")
    for _ in range(2):
        with whole_file(target) as temporary:
            assert temporary.suffix == ".mp4"
            temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == [target]


def test_failure_keeps_the_old_file_and_leaves_no_other(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), whole_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "folder"
    with whole_folder(target) as part:
        (part / "a.txt").write_text("a")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["folder"]
    assert (target / "a.txt").read_text() == "a"


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "folder") as part:
        (part / "a.txt").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_faster_of_two_runs_wins(tmp_path):
    with whole_folder(tmp_path / "folder") as part:
        (part / "a.txt").write_text("slow")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a.txt").write_text("fast")
    assert (tmp_path / "folder" / "a.txt").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_killed_runs_left_is_removed_and_what_running_ones_fill_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    pids = (ended.pid, os.getpid(), os.getppid())  # one that ended, one whose number is ours by now, one that runs
    killed, before, running = (tmp_path / f".{host}.{pid}.part.folder" for pid in pids)
    other = tmp_path / f".{host}.{ended.pid}.part.a.txt"
    for folder in (killed, before, running):
        folder.mkdir()
    other.touch()
    with whole_folder(tmp_path / "folder"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"folder", running.name, other.name}
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"folder", running.name, "a.txt"}
    other.touch()
    with scratch_file(tmp_path / "a.txt") as temporary:
        assert not other.exists() and temporary.suffix == ".txt"
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"folder", running.name, "a.txt"}


def test_an_error_names_the_file_that_was_wanted(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match="a.txt") as raised, whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_an_error_names_the_folder_that_was_wanted(tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(OSError, match="folder") as raised, whole_folder(tmp_path / "folder"):
        pass
    assert raised.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_foreign_folder_is_refused_where_it_may_be_another(tmp_path):
    with pytest.raises(FileExistsError) as raised, whole_folder(tmp_path / "folder", alike=False):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a.txt").touch()
    assert raised.value.filename == str(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_named_by_dots(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with whole_folder(".") as part:
        (part / "a.txt").touch()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a.txt"]


def test_a_power_cut_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda part, path: (done.append("moved"), replace(part, path)))
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert [Path(name).name for name in done] == [temporary.name, "moved", tmp_path.name]
    done.clear()
    with whole_folder(tmp_path / "folder") as part:
        (part / "inner").mkdir()
        (part / "inner" / "b.txt").write_text("b")
    names = [Path(name).name for name in done]
    assert set(names[:-1]) == {"inner", "b.txt", part.name} and names[-1] == tmp_path.name


def test_a_full_disk_is_told_with_the_file_and_what_was_written(tmp_path):
    with (
        pytest.raises(
            OSError,
            match=r"No space left on device \(at least 3.0 GB are needed, 2.0 MB of it were written, .*B are free\)",
        ) as raised,
        whole_file(tmp_path / "state.npz", needs=3 * 10**9) as temporary,
    ):
        temporary.write_bytes(bytes(2_000_000))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as NumPy and h5py do, without a name
    assert raised.value.filename == str(tmp_path / "state.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EFBIG])
def test_what_a_user_or_a_file_may_not_have_is_told_as_a_full_disk_is(tmp_path, code):
    with (
        pytest.raises(OSError, match=r"\(12 bytes of it were written, .* free\)") as raised,
        whole_file(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_bytes(bytes(12))
        raise OSError(code, os.strerror(code))
    assert (raised.value.errno, raised.value.filename) == (code, str(tmp_path / "a.txt"))
