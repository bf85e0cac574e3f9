"""The commands together: quick errors, one line of reason."""

import json
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


WRONG = """
har_tf predict nothere.mp4 --model {model} -> nothere.mp4: no such file
har_tf predict {video} --model nothere.keras -> nothere.keras: no such model file
har_tf predict {video} --model {model} --top 0 -> --top 0
har_tf explain nothere.mp4 --model {model} --out {new}/o.mp4 -> nothere.mp4: no such file
har_tf explain {video} --model {model} --out {file}/o.mp4 -> {file}: a file stands where a folder is needed
har_tf check {new} -> {new}: no such folder
har_tf check {folder} --out {file}/m.csv -> {file}
har_tf prepare {new} --out {new}/p -> {new}: no such folder
har_tf prepare {folder} --out {file}/p -> {file}: a file stands where a folder is needed
har_tf prepare {folder} --out {new}/p --num-frames 0 -> num_frames=0
har_tf prepare {folder} --out {new}/p --manifest nothere.csv -> nothere.csv: no such manifest
har_tf report {new} -> {new}/results.json: not there
har_tf concepts mine {folder} --detector nothere.onnx --labels person --out {new} -> nothere.onnx: no such detector
har_tf concepts review {new} -> {new}: no such folder
har_tf preview figures --out {file}/x.png -> {file}: a file stands where a folder is needed
har_tf import-weights googlenet nothere.pth --out {new}/x.keras -> nothere.pth: no such weights file
har_tf import-weights googlenet {video} --out {file}/x.keras -> {file}: a file stands where a folder is needed
experiments.ucf10_cnn_gru --out {file} -> {file}: a file stands where a folder is needed
experiments.ucf10_cnn_gru --prepared {file} --out {new} -> {file}: a file stands where a folder is needed
experiments.ucf10_cnn_gru --models MobilNet -> Unknown model
experiments.ucf10_cnn_gru --models VGG16 --weights nothere.h5 -> nothere.h5: no such weights file
experiments.ucf10_cnn_gru --models VGG16 --weights-dir {new} -> {new}: no such folder of weights
experiments.ucf10_cnn_gru --protocol grup -> Received: grup
experiments.ucf10_cnn_gru --epochs 0 -> epochs=0
experiments.ucf10_cnn_gru --flip 7 -> --flip
experiments.ucf10_cnn_gru --clutter 9 -> clutter=9
experiments.ucf10_cnn_gru --classes wav -> unknown class 'wav'. Closest: wave
experiments.ucf10_cnn_gru --preset papr -> --preset is one of
experiments.fusion_gru --out {file} -> {file}: a file stands where a folder is needed
experiments.fusion_gru --backbones MobileNet,VGG17 -> VGG17
experiments.fusion_gru --weights MobileNet=nothere.h5,MobileNetV2=none -> nothere.h5: no such weights file
experiments.fusion_gru --weights imagenet --weights-dir {new} -> {new}: no such folder of weights
experiments.fusion_gru --weights imagenet --weights-dir {folder} -> Weights are missing of MobileNet and MobileNetV2
experiments.fusion_gru --learning-rate -1 -> learning_rate=-1
experiments.fusion_gru --preset papr -> --preset is one of
experiments.gated_recognition --out {file} -> {file}: a file stands where a folder is needed
experiments.gated_recognition --weights i3d=nothere.pt -> nothere.pt: no such weights file
experiments.gated_recognition --momentum 2 -> momentum=2
experiments.gated_recognition --preset papr -> --preset is one of
experiments.video_tcav --out {file} -> {file}: a file stands where a folder is needed
experiments.video_tcav --model nothere.keras -> nothere.keras: no such file
experiments.video_tcav --network MobilNet -> Unknown model
experiments.video_tcav --target thro -> figures has no class 'thro'. Closest: throw
experiments.video_tcav --concepts {new} -> {new}: no such folder
experiments.video_tcav --learning-rate -1 -> learning_rate=-1
experiments.video_tcav --preset papr -> --preset is one of
experiments.cam3d_localization --out {file} -> {file}: a file stands where a folder is needed
experiments.cam3d_localization --weights nothere.pth -> nothere.pth: no such file
experiments.cam3d_localization --network MobilNet -> Unknown model
experiments.cam3d_localization --network VGG16 --weights-dir {new} -> {new}: no such folder of weights
experiments.cam3d_localization --preset papr -> --preset is one of
"""
ONE_BY_ONE = """
import contextlib, io, json, runpy, sys

for arguments in json.load(sys.stdin):
    sys.argv, told, code = arguments, io.StringIO(), 0
    sys.modules.pop(arguments[0], None)
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code
    loaded = [name for name in ("tensorflow", "keras") if name in sys.modules]
    print(json.dumps([code, told.getvalue(), loaded]))
"""


def test_wrong_arguments_are_told_before_tensorflow_is_imported(model_file, video, videos, tmp_path):
    (tmp_path / "file").touch()
    places = {"new": "new", "file": "file", "folder": videos.name}
    places = {name: tmp_path / place for name, place in places.items()} | {"model": model_file, "video": video}
    calls = [line.format(**places).split(" -> ") for line in WRONG.strip().splitlines()]
    process = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE], input=json.dumps([call.split() for call, _ in calls]), text=True,
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    for (call, line), found in zip(calls, process.stdout.splitlines(), strict=True):
        code, told, loaded = json.loads(found)
        assert code in (1, 2) and line in told and not loaded, f"{call}: {code} {told} {loaded}"
    assert not (tmp_path / "new").exists()


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
