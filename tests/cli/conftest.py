"""A model that the command line can ask, a video for it, and a folder of videos."""

import cv2
import numpy as np
import pytest

from har_tf.models import saving
from har_tf.video import write_video


@pytest.fixture(scope="module")
def model_file(tiny_run):
    return tiny_run / "model.keras"


@pytest.fixture(scope="module")
def loaded(model_file):
    """(model, class names) of `model_file`."""
    return saving.load_model(model_file)


@pytest.fixture
def opened_once(loaded, model_file, monkeypatch):
    """Commands find `model_file` loaded, so that what was compiled for it is not compiled once a command."""
    load = saving.load_model
    monkeypatch.setattr(
        saving, "load_model", lambda path, **taken: loaded if path == model_file else load(path, **taken)
    )


@pytest.fixture(scope="module")
def video(tiny_recipe, tiny_run):
    return next((tiny_recipe.output.out / "figures").rglob("v_wave_g0001_c01.mp4"))


@pytest.fixture
def videos(tmp_path):
    """UCF101's layout and lists: two classes, one video of each in training, two in test."""
    root = tmp_path / "UCF-101"
    for label, name in enumerate(("Archery", "Biking")):
        (root / name).mkdir(parents=True)
        for group in (1, 2, 8):
            frames = np.random.default_rng([label, group]).integers(0, 256, (1, 6, 8, 3), dtype=np.uint8)
            frames = np.stack([cv2.resize(frames[0], (48, 32), interpolation=cv2.INTER_CUBIC)] * 10)
            write_video(root / name / f"v_{name}_g{group:02d}_c01.mp4", frames)
    lists = tmp_path / "lists"
    lists.mkdir()
    for part, groups in (("train", (8,)), ("test", (1, 2))):
        names = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in ("Archery", "Biking") for group in groups]
        (lists / f"{part}list01.txt").write_text("\n".join(names))
    (lists / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    return root
