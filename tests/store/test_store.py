"""The resumable store by itself: parts are taken up, damage is made anew, a full disk is told."""

import errno
import shutil
import threading
from types import SimpleNamespace

import pytest

from har_tf.datasets.errors import DatasetError
from har_tf.store.store import Store

NAMES = ("a", "b", "c")


def open_at(place, check):
    """The content of a finished store, in order."""
    found = [(place / name).read_text() for name in NAMES]
    if check and "damaged" in found:
        raise DatasetError(f"{place}: damaged")
    return found


class Filling:
    """Writes the parts that are missing; `fails_at` is where it is cut off."""

    def __init__(self, store, fails_at=None, error=KeyboardInterrupt):
        self.store, self.fails_at, self.error, self.written = store, fails_at, error, []

    def __call__(self):
        files = {self.store.parts / name for name in NAMES}
        missing = [file for file in sorted(files) if not file.exists() or file.read_text() == "damaged"]
        names = [file.name for file in missing]
        self.store.begin(files, names, len(files), 10 * len(missing), "clips of 1 x 2 x 3")
        for file in missing:
            if file.name == self.fails_at:
                raise self.error
            file.write_text(f"content of {file.name}")
            self.written.append(file.name)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "out", "data", "0123456789abcdef", "1.0.0")


def test_a_run_that_was_cut_off_is_taken_up_and_strangers_go(store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        store.open_or_fill(open_at, Filling(store, "c"))
    assert not store.place.exists(), "it appears only when everything is complete"
    (store.parts / "half of c").touch()
    again = Filling(store)
    assert store.open_or_fill(open_at, again) == [f"content of {name}" for name in NAMES]
    assert again.written == ["c"]
    assert sorted(path.name for path in store.place.iterdir()) == list(NAMES)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["data_0123456789ab"], "no work folder, no lock"


def test_what_is_finished_is_opened_and_of_a_damaged_store_the_sound_parts_stay(store, caplog):
    store.open_or_fill(open_at, Filling(store))
    untouched = Filling(store)
    store.open_or_fill(open_at, untouched)
    assert untouched.written == []
    (store.place / "b").write_text("damaged")
    (store.place / "stray folder" / "deep").mkdir(parents=True)
    mending = Filling(store)
    assert store.open_or_fill(open_at, mending) == [f"content of {name}" for name in NAMES]
    assert mending.written == ["b"]
    assert "1 of 3 clips are made again, the others kept: b" in caplog.text


def test_mending_that_was_cut_off_is_taken_up(store):
    store.open_or_fill(open_at, Filling(store))
    for name in "bc":
        (store.place / name).write_text("damaged")
    with pytest.raises(KeyboardInterrupt):
        store.open_or_fill(open_at, Filling(store, "c"))
    again = Filling(store)
    assert store.open_or_fill(open_at, again) == [f"content of {name}" for name in NAMES]
    assert again.written == ["c"]


def test_a_full_disk_is_told_before_and_while_it_is_written(store, monkeypatch):
    full = Filling(store, "b", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(
        DatasetError, match=r"out: the disk is full; 3 clips of 1 x 2 x 3 take 3.2 kB. What is finished"
    ):
        store.open_or_fill(open_at, full)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(DatasetError, match="2.1 kB are needed for 2 clips of 1 x 2 x 3; 5 bytes are free"):
        store.open_or_fill(open_at, Filling(store))
    denied = Filling(store, "b", OSError(errno.EACCES, "Permission denied"))
    monkeypatch.undo()
    with pytest.raises(DatasetError, match="out: cannot be written: Permission denied"):
        store.open_or_fill(open_at, denied)


def test_a_second_run_of_the_same_waits_for_the_first(store):
    begun, go_on = threading.Event(), threading.Event()
    first, second = Filling(store), Filling(store)

    def slow():
        begun.set()
        assert go_on.wait(20)
        first()

    runs = [threading.Thread(target=store.open_or_fill, args=(open_at, fill)) for fill in (slow, second)]
    runs[0].start()
    assert begun.wait(20)
    runs[1].start()
    runs[1].join(0.3)
    assert runs[1].is_alive() and second.written == []
    go_on.set()
    for run in runs:
        run.join(20)
    assert first.written == list(NAMES) and second.written == [], "it found what the first had made"


def test_a_store_is_found_where_the_data_have_another_name_by_now(store, tmp_path):
    store.open_or_fill(open_at, Filling(store))
    renamed = Store(tmp_path / "out", "renamed", store.fingerprint, "1.0.0")
    again = Filling(renamed)
    assert renamed.open_or_fill(open_at, again) == [f"content of {name}" for name in NAMES]
    assert (again.written, renamed.place) == ([], store.place)
