"""The device check sees a kernel that computes something else, and says what it did not run."""

import json

import keras
import numpy as np
import pytest

from benchmarks import device_check
from benchmarks.device_check import Operation, Table, Truth, apart, norm_apart
from har_tf.models import grouped_conv


@pytest.fixture(scope="module")
def found():
    return {operation.name: operation for operation in device_check.operations()}


def verdict(operation: Operation, precision="float32"):
    table = Table(None, 60.0)
    table.row(operation.name, precision, lambda: Truth(operation).check(precision))
    (row,) = table.content["rows"]
    return row["verdict"]


def test_a_planted_kernel_fails(found, monkeypatch):
    right = grouped_conv.convolve
    name = "grouped Conv3D, ours"
    assert verdict(found[name]) == verdict(found[name], "mixed_bfloat16") == "ok"
    # One group sees its neighbour's channels.
    monkeypatch.setattr(grouped_conv, "convolve", lambda x, k, *a: right(keras.ops.roll(x, 8, -1), k, *a))
    assert verdict(found[name]) == verdict(found[name], "mixed_bfloat16") == "FAILED"
    # A gradient alone is wrong: nothing comes back to the kernel of the first frame.
    monkeypatch.setattr(grouped_conv, "convolve", lambda x, k, *a: right(x, _held(k), *a))
    assert verdict(found[name]) == "FAILED"


def _held(kernel):
    return keras.ops.concatenate([keras.ops.stop_gradient(kernel[:1]), kernel[1:]])


def test_a_gradient_to_all_ties_fails(found):
    """That of TensorFlow's MaxPool3D without oneDNN, written down: each of equal values has a share."""
    ops, name = keras.ops, "max pooling with ties"

    def shared(x):
        y = ops.stop_gradient(device_check.first_of_ties(x))
        padded = ops.pad(x, [(0, 0), (0, 1), (1, 1), (1, 1), (0, 0)], constant_values=-1.0)
        places = [
            padded[:, t : t + 5 : 2, i : i + 9 : 2, j : j + 9 : 2]
            for t in (0, 1, 2)
            for i in (0, 1, 2)
            for j in (0, 1, 2)
        ]
        stacked = ops.stack(places, axis=-1)
        own = ops.cast(stacked == y[..., None], stacked.dtype)
        return ops.sum(stacked * own, axis=-1) / ops.sum(own, axis=-1)

    assert verdict(found[name]) == "ok"
    wrong = Operation(name, found[name].arrays, lambda: shared, found[name].stock)
    assert verdict(wrong) == "FAILED"


def test_differences_of_what_is_no_number_are_infinite():
    assert apart(np.array([1.0, 2.0]), np.array([1.0, 4.0])) == 0.5
    assert apart(np.array([1.0, np.nan]), np.array([1.0, 4.0])) == float("inf")
    assert norm_apart([np.array([3.0]), np.array([0.0])], [np.array([0.0]), np.array([4.0])]) == pytest.approx(1.25)
    assert norm_apart([np.array([np.inf])], [np.array([1.0])]) == float("inf")


def test_what_is_not_run_says_so(tmp_path):
    out = tmp_path / "check.json"
    table = Table(out, 0.0, only="conv")
    table.row("conv", "float32", lambda: 1 / 0)
    table.row("pooling", "float32", lambda: 1 / 0)
    table.seconds("conv net", "training step", "float32", lambda: 1 / 0)
    table.budget = 60.0
    table.row("conv 2", "float32", lambda: 1 / 0)
    content = json.loads(out.read_text())
    assert [row["verdict"] for row in content["rows"]] == [
        "not run: out of time", "FAILED: ZeroDivisionError: division by zero",
    ]  # fmt: skip
    assert content["seconds"][0]["verdict"] == "not run: out of time"


def test_the_command_ends_with_one_where_a_row_failed(tmp_path, monkeypatch, capsys):
    arguments = ["--only", "^BatchNorm, training, float32", "--out", str(tmp_path / "check.json")]
    assert device_check.main(arguments) == 0
    assert "1 rows, 0 FAILED" in capsys.readouterr().out
    monkeypatch.setitem(device_check.ALLOWED, "float32", (1e-12, 1e-12, 1e-12))
    assert device_check.main(arguments) == 1
    row = json.loads((tmp_path / "check.json").read_text())["rows"][0]
    assert row["verdict"] == "FAILED"
    assert row["difference"] > 1e-12
