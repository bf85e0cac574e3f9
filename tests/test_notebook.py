import io
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from har_tf import notebook

SMI = "GPU 0: Tesla T4 (UUID: GPU-1)\nGPU 1: Tesla T4 (UUID: GPU-2)\n"


def machine(monkeypatch, tmp_path, gpus="", tpu=None):
    """One with these GPUs, by their driver, and with a file for its TPU."""
    monkeypatch.setattr(notebook, "DEVICES", tmp_path)
    monkeypatch.setattr(notebook.shutil, "which", lambda name: "/usr/bin/nvidia-smi" if gpus else None)
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: SimpleNamespace(stdout=gpus))
    if tpu:
        (tmp_path / tpu).parent.mkdir(exist_ok=True)
        (tmp_path / tpu).touch()


def test_finds_both_gpus_one_or_none(monkeypatch, tmp_path, capsys):
    machine(monkeypatch, tmp_path, SMI)
    assert notebook.accelerators() == {"strategy": "mirrored", "precision": "mixed_float16"}
    assert capsys.readouterr().out == "computes on Tesla T4 and Tesla T4\n"
    machine(monkeypatch, tmp_path, "GPU 0: Tesla P100-PCIE-16GB (UUID: GPU-1)\n")
    assert notebook.accelerators() == {"strategy": "one", "precision": "mixed_float16"}
    machine(monkeypatch, tmp_path)
    assert notebook.accelerators() == {}


@pytest.mark.parametrize("file", ["accel0", "vfio/0"])
def test_finds_a_tpu(monkeypatch, tmp_path, file):
    machine(monkeypatch, tmp_path, tpu=file)
    assert notebook.accelerators() == {"strategy": "tpu", "precision": "mixed_bfloat16"}


def started(monkeypatch, lines, code=0):
    """What `run` starts is kept; it prints these lines and ends with this code."""
    asked = []

    def start(command, env, **options):
        asked.append((command[2:], env.get("KERAS_BACKEND")))
        return nullcontext(SimpleNamespace(stdout=[f"{line}\n" for line in lines], returncode=code))

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return asked


LOGGED = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "E0000 00:00:1795672993.315622   23035 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting",
    "2026-11-26 06:05:51.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate",
]


def test_shows_what_the_command_prints_but_no_log_and_no_table(monkeypatch, tmp_path, capsys):
    asked = started(monkeypatch, [*LOGGED, "epoch 1", "**Table 1**", "", "| a |", "run folder: runs/a", "report: b"])
    options = {"data_dir": None, "clips_per_video": 2}
    assert notebook.run("gated_recognition", tmp_path / "runs", options, ["--stream"]).as_posix() == "runs/a"
    out = str(tmp_path / "runs")
    assert asked == [(["experiments.gated_recognition", "--out", out, "--clips-per-video", "2", "--stream"], None)]
    room, command, *printed = capsys.readouterr().out.splitlines()
    assert " of disk are free in " in room
    assert command == f"python -m experiments.gated_recognition --out {out} --clips-per-video 2 --stream"
    assert printed == ["epoch 1", "run folder: runs/a", "report: b"]


def test_a_tpu_trains_with_jax_and_explains_where_tensorflow_can(monkeypatch, tmp_path):
    asked = started(monkeypatch, ["run folder: runs/a"])
    tpu = {"strategy": "tpu", "precision": "mixed_bfloat16"}
    for built_for_cpu in ("2.19.0", None):
        monkeypatch.setattr(notebook, "installed", {"tensorflow-cpu": built_for_cpu}.get)
        for experiment in ("fusion_gru", "video_tcav"):
            notebook.run(experiment, tmp_path, tpu)
    flags = ["--strategy", "tpu", "--precision", "mixed_bfloat16"]
    assert [(command[3:], backend) for command, backend in asked] == [
        (flags, "jax"), ([], None), (flags, "jax"), (flags, None)
    ]  # fmt: skip


def test_a_failed_experiment_ends_the_cell(monkeypatch, tmp_path):
    started(monkeypatch, ["error: no such folder"], code=1)
    with pytest.raises(SystemExit, match="exit code 1; the reason is above"):
        notebook.run("fusion_gru", tmp_path, {})


def test_pictures_are_small(tmp_path):
    chart = np.full((100, 900, 3), 255, np.uint8)
    chart[50] = 0
    noise = np.random.default_rng(0).integers(0, 256, (100, 900, 3), dtype=np.uint8)
    for name, pixels, kind in (("chart", chart, "PNG"), ("noise", noise, "JPEG")):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        with Image.open(io.BytesIO(notebook.small(tmp_path / f"{name}.png", 600))) as image:
            assert (image.format, image.size) == (kind, (600, 67))


def test_figure_10_comes_after_figure_9(tmp_path):
    names = ["figure_10_a.png", "figure_9_b.png", "figure_9_a.png"]
    assert sorted(map(tmp_path.joinpath, names), key=notebook._number)[0].name == "figure_9_a.png"
