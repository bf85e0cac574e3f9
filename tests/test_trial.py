"""Tables of trials: every row on every split with every seed."""

from types import SimpleNamespace

import keras
import pytest

from har_tf.models import saving
from har_tf.trial import provenance, run_rows


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
