"""Tables of trials: every row on every split with every seed."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from har_tf.models import saving
from har_tf.trial import Parts, provenance, run_rows


def test_rows_run_on_every_split_with_every_seed_and_one_that_diverges_ends_there(capsys):
    rows, asked = [SimpleNamespace(name="a"), SimpleNamespace(name="b"), SimpleNamespace(name="c", missing="lost")], []

    def trial(row, split, seed):
        asked.append((row.name, split, seed))
        if asked[-1] == ("a", 1, 3):
            raise FloatingPointError("the loss is nan")
        return {"accuracy": split / 4}

    trials, states = run_rows(rows, [1, 2], [0, 3], trial)
    assert asked == [("a", 1, 0), ("b", 1, 0), ("a", 1, 3), ("b", 1, 3), ("b", 2, 0), ("b", 2, 3)]
    assert states == {
        "a": {"status": "diverged", "reason": "split 1, seed 3: the loss is nan"},
        "b": {"status": "run", "reason": None},
        "c": {"status": "not run", "reason": "lost"},
    }
    assert trials["a"] == [{"split": 1, "seed": 0, "accuracy": 0.25}]
    assert [(t["split"], t["seed"], t["accuracy"]) for t in trials["b"]] == [
        (1, 0, 0.25), (1, 3, 0.25), (2, 0, 0.5), (2, 3, 0.5),
    ]  # fmt: skip
    assert "b, split 2, seed 3: test accuracy 0.5000" in capsys.readouterr().out


def test_a_table_without_any_row_that_was_trained_is_told_by_its_states():
    """Another table of the same run may have some."""

    def diverges(*_):
        raise FloatingPointError("the loss is nan")

    trials, states = run_rows(
        [SimpleNamespace(name="a"), SimpleNamespace(name="c", missing="lost")], [1], [0], diverges
    )
    assert trials == {"a": [], "c": []}
    assert [state["status"] for state in states.values()] == ["diverged", "not run"]


def test_other_errors_are_not_caught():
    with pytest.raises(ZeroDivisionError):
        run_rows([SimpleNamespace(name="a")], [1], [0], lambda *_: 1 / 0)


def test_a_model_says_where_it_comes_from_and_keeps_its_date(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    about = {"weights": "random weights", "seed": 0}
    file = tmp_path / "model.keras"
    saving.save_model(model, file, list("abc"), provenance=provenance(about, file))
    assert saving.provenance(file).keys() == {*about, "date"}
    date = saving.provenance(file)["date"]
    assert provenance(about, file)["date"] == date
    assert provenance({**about, "seed": 1}, file)["date"] >= date
    assert provenance(about, file.with_name("none.keras")).keys() == {*about, "date"}


class Store:
    """What a trial asks of stored clips, flow or features: of three clips in OUT/<name>_<fingerprint>."""

    def __init__(self, path, root="/data", names=("a/1.mp4", "b/1.mp4", "b/2.mp4"), labels=(0, 1, 1)):
        self.path, self.names, self.labels = Path(path), list(names), np.array(labels)
        self.record_paths = [Path(root, name) for name in names]

    def __len__(self):
        return len(self.names)


def test_clips_are_known_by_what_they_are_and_not_by_where_they_lie():
    def of(*stores):
        return Parts(None, None, None).fingerprint(stores if len(stores) > 1 else stores[0])

    here = Store("/out/data_0123456789ab")
    moved = Store("elsewhere/renamed_0123456789ab", "../mnt/videos")
    assert of(here) == of(moved) and of(here).startswith("3 clips, ")
    assert of(here, here) == of(moved, moved) != of(here)
    others = [
        Store("/out/data_ba9876543210"), Store(here.path, names=("a/1.mp4", "b/1.mp4", "b/3.mp4")),
        Store(here.path, labels=(0, 1, 0)),
    ]  # fmt: skip
    assert len({of(here), *map(of, others)}) == 4
