"""The commands together: quick errors, one line of reason."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from checks import failed

from har_tf.cli.app import Explain, Predict, Prepare


def test_what_needs_no_tensorflow_does_without(videos, tmp_path):
    """`check` of a cluster's data should not load what only models need."""
    code = (
        "import sys; from pathlib import Path; from har_tf.cli.app import Check\n"
        f"Check(Path({str(videos)!r}), audit=True, workers=0).run(); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_failures_are_one_line_that_names_the_thing(model_file, video, tmp_path, capsys):
    text = tmp_path / "text.keras"
    text.write_text("hello")
    out = tmp_path / "o.mp4"
    assert "none.keras: no such model file" in failed(Predict((video,), tmp_path / "none.keras"), capsys)
    assert "text.keras: not a .keras model file" in failed(Explain(video, text, out), capsys)
    assert "none.avi" in failed(Explain(tmp_path / "none.avi", model_file, out), capsys)
    assert "--out o.avi" in failed(Explain(video, model_file, Path("o.avi")), capsys)
    assert "--class-name jump" in failed(Explain(video, model_file, out, class_name="jump"), capsys)
    for wrong in ({"tap": "conv9"}, {"method": "3dcam", "taps": "conv3d,conv9"}):
        error = failed(Explain(video, model_file, out, **wrong), capsys)
        assert error.startswith("error: tap 'conv9' is not in the model") and "conv3d" in error
    assert str(tmp_path / "empty") in failed(Prepare(str(tmp_path / "empty"), tmp_path), capsys)
    assert not out.exists()


def test_a_broken_video_is_one_line_also_as_a_program(model_file, tmp_path, monkeypatch, capsys):
    """As `python -m har_tf` the module has another name, which the message must not show."""
    monkeypatch.setattr(sys, "argv", ["har_tf", "predict", str(tmp_path), "--model", str(model_file)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("har_tf", run_name="__main__")
    error = capsys.readouterr().err
    assert ended.value.code == 1
    assert error.count("\n") == 1
    assert error.startswith(f"error: {tmp_path}: ")
    assert "Error:" not in error
