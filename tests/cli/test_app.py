"""The commands together: quick errors, one line of reason."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from checks import failed, run_command
from tiny_networks import make_tiny

from har_tf.cli.app import Check, Explain, Predict, Prepare
from har_tf.command import guarded
from har_tf.report import plots
from har_tf.report.page import Section, write_page
from har_tf.report.tables import Table
from har_tf.store import features
from har_tf.store.prepared import PreparedDataset


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
har_tf predict {video} --model {model} --model-size 0 64 -> --model-size must be at least 1. Received: 0 64
har_tf predict {video} --model {model} --model-output nope -> output 'nope' is not in the model of {model}
har_tf explain {video} --model {model} --out {new}/o.mp4 --class-name nope -> Received: --class-name nope
har_tf explain {video} --model {model} --out {new}/o.mp4 --tap conv9 -> tap 'conv9' is not in the model of
har_tf explain nothere.mp4 --model {model} --out {new}/o.mp4 -> nothere.mp4: no such file
har_tf explain {video} --model {model} --out {file}/o.mp4 -> {file}: a file stands where a folder is needed
har_tf check {new} -> {new}: no such folder
har_tf check {folder} --out {file}/m.csv -> {file}
har_tf prepare {new} --out {new}/p -> {new}: no such folder
har_tf prepare {folder} --out {file}/p -> {file}: a file stands where a folder is needed
har_tf prepare {folder} --out {new}/p --num-frames 0 -> num_frames=0
har_tf prepare {folder} --out {new}/p --num-frames 1000000000 -> Prepared clips are smaller than 2**31 bytes
har_tf prepare {folder} --out {new}/p --manifest nothere.csv -> nothere.csv: no such manifest
har_tf report {new} -> {new}/results.json: not there
har_tf concepts mine {folder} --detector nothere.onnx --labels person --out {new} -> nothere.onnx: no such detector
har_tf concepts review {new} -> {new}: no such folder
har_tf preview figures --out {new}/x.png --size 1000000 1000000 -> 32 to 4096 pixels
har_tf preview figures --out {file}/x.png -> {file}: a file stands where a folder is needed
har_tf import-weights googlenet nothere.pth --out {new}/x.keras -> nothere.pth: no such weights file
har_tf import-weights googlenet {video} --out {file}/x.keras -> {file}: a file stands where a folder is needed
har_tf import-weights i3d {video} --out {new}/x.keras -> weights files end in
har_tf import-weights i3d {video} --out {new}/x.keras --frames 0 -> --frames must be at least 1
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
experiments.fusion_gru --gru-units 100 0 -> --gru-units must be at least 1. Received: 100 0
experiments.fusion_gru --learning-rate -1 -> learning_rate=-1
experiments.fusion_gru --preset papr -> --preset is one of
experiments.gated_recognition --out {file} -> {file}: a file stands where a folder is needed
experiments.gated_recognition --weights i3d=nothere.pt -> nothere.pt: no such weights file
experiments.gated_recognition --momentum 2 -> momentum=2
experiments.gated_recognition --preset papr -> --preset is one of
experiments.video_tcav --out {file} -> {file}: a file stands where a folder is needed
experiments.video_tcav --model nothere.keras -> nothere.keras: no such file
experiments.video_tcav --weights {video} -> weights files end in
experiments.video_tcav --depths 2 2 -1 2 -> --depths must be at least 1. Received: 2 2 -1 2
experiments.video_tcav --level nan -> --level must be between 1e-06 and 0.5. Received: nan
experiments.video_tcav --l2 inf -> --l2 must be at least 1e-09, and finite. Received: inf
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


HOSTILE = os.fsdecode(b"=cmd|'x'\x1b[2J\x8c\xe2\x80\xae|<img src=x>[a](javascript:alert(1))$x$\n  1.0000  throw.mp4")


def assert_harmless(text: str) -> None:
    """No letter that a terminal obeys or that turns the text, and no line that the name has made up."""
    assert not [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs", "Cf") and letter != "\n"]
    assert not [line for line in text.splitlines() if line.startswith("  1.0000  throw")]
    assert "[2J" in text, "the name stands in it"


@pytest.mark.usefixtures("opened_once")
def test_a_hostile_name_reaches_no_terminal_table_spreadsheet_or_page(model_file, video, tmp_path, capsys):
    root = tmp_path / "videos"
    for name in ("打网球", "b"):
        (root / name).mkdir(parents=True)
        for file in (HOSTILE, f"2{HOSTILE}"):
            shutil.copy(video, root / name / file)
        (root / name / f"bad{HOSTILE}").write_bytes(b"nothing")
    clip, bad = root / "b" / HOSTILE, root / "b" / f"bad{HOSTILE}"

    def told(command) -> str:
        guarded(lambda: run_command(command))
        found = capsys.readouterr()
        assert_harmless(found.out + found.err)
        return found.out

    told(Predict((clip, bad), model_file))
    for line in told(Predict((clip, bad), model_file, json=True)).splitlines():
        assert HOSTILE in json.loads(line)["video"]
    out = tmp_path / HOSTILE
    told(Explain(clip, model_file, out, frames="model", json=True))
    assert out.is_file() and json.loads(out.with_suffix(".json").read_text())["video"] == str(clip)
    told(Check(root, tmp_path / "m.csv", audit=True, workers=0))
    told(Check(root, json=True, workers=0))
    place = tmp_path / HOSTILE.replace("\udc8c", "to")  # TensorFlow writes to folders of UTF-8 alone
    told(Prepare(str(root), place, num_frames=3, size=(64, 64), fit="crop", workers=0))
    (prepared,) = place.glob("*/*/skipped.csv")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch, None, "MobileNet")
        features.extract(PreparedDataset.open(prepared.parent), "MobileNet", None, tmp_path / "features")

    cell = HOSTILE.replace("\n", "")  # of which a table's CSV keeps the lines, in quotes
    table = Table(HOSTILE, ["name", cell], [[cell, 0.5]], notes=[HOSTILE])
    files = [tmp_path / "m.csv", prepared, *table.write(tmp_path / "tables", "hostile").values()]
    files.append(
        write_page(tmp_path / "report.html", HOSTILE, {HOSTILE: HOSTILE}, [Section(HOSTILE, HOSTILE, [table])])
    )
    plots.confusion_matrix(np.eye(2, dtype=int), [HOSTILE, "打网球"], tmp_path / "c.png", title=HOSTILE)
    marks = {".md": r"(?<!\\)<img|(?<!\\)\]\(", ".html": "<img src=x", ".csv": '(^|,)"?='}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert_harmless(text)
        assert not re.search(marks.get(file.suffix, r"(?!)"), text, re.MULTILINE), file


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
