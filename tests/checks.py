"""Checks that the tests of several modules share: `from checks import ...`."""

import contextlib
import io
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import IPython.display
import keras
import nbformat
import numpy as np
from IPython.core.formatters import DisplayFormatter

from har_tf.command import guarded

POPEN = subprocess.Popen


def assert_survives_saving(model: keras.Model, clip: np.ndarray, tmp_path: Path) -> keras.Model:
    """Saves a model, loads it with safe mode on, and demands the same outputs and layers.

    Args:
        model: the model.
        clip: a batch that it takes.
        tmp_path: folder for the file.

    Returns:
        The loaded model.
    """
    path = tmp_path / f"{model.name}.keras"
    model.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    for ours, theirs in zip(*(keras.tree.flatten(m(clip, training=False)) for m in (model, loaded)), strict=True):
        assert np.ptp(ours) > 0
        np.testing.assert_array_equal(theirs, ours)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    return loaded


def assert_preprocessing(model: keras.Model, layer: str, module) -> None:
    """Demands that a layer gives the network what `preprocess_input` of a module of `keras.applications` does."""
    clip = random_clip(1, *model.input_shape[1:4], seed=1)
    inside = keras.Model(model.input, model.get_layer(layer).output)(clip)
    np.testing.assert_allclose(inside, module.preprocess_input(clip[0].astype("float32")), atol=1e-4)


def trainable(model: keras.Model) -> int:
    """The number of a model's trainable parameters."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def random_clip(*shape: int, seed: int = 0) -> np.ndarray:
    """uint8 (*shape, 3) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def run_command(command) -> None:
    """Does what a command of `har_tf.cli` does."""
    command.run()


def failed(options, capsys) -> str:
    """The one line that a failing command writes."""
    assert guarded(lambda: run_command(options)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def executed(name: str, options: str, out: Path, monkeypatch) -> tuple[list[dict], list[str], str]:
    """Runs the cells of a notebook of `notebooks/`, with the options of its experiment, in this process.

    Returns:
        What its cells show, by type of content; the tables among it as Markdown, and what they print.
    """
    path = Path(__file__).resolve().parents[1] / "notebooks" / name
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OPTIONS", options)
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OUT", str(out))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # which the cells set
    monkeypatch.chdir(path.parent)
    shown, printed, form = [], io.StringIO(), DisplayFormatter()
    monkeypatch.setattr(IPython.display, "display", lambda content: shown.append(form.format(content)[0]))
    monkeypatch.setattr(subprocess, "Popen", without_a_process)
    notebook = nbformat.read(path, as_version=4)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = {"__name__": "notebook"}
    with contextlib.redirect_stdout(printed):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{name}, {cell.id}", "exec"), names)
    return shown, [str(data.get("text/markdown", "")) for data in shown], printed.getvalue()


def pictures(shown: list[dict]) -> int:
    """How many pictures there are among what cells show."""
    return sum(any(kind.startswith("image/") for kind in data) for data in shown)


def without_a_process(command, *arguments, **options):
    """What `subprocess.Popen` gives; `python -m experiments...` is run in this process, before it answers."""
    if command[:2] != [sys.executable, "-m"]:
        return POPEN(command, *arguments, **options)
    out, code, before = io.StringIO(), 0, sys.argv
    sys.argv = command[2:]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runpy.run_module(command[2], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    return contextlib.nullcontext(SimpleNamespace(stdout=out.getvalue().splitlines(keepends=True), returncode=code))
