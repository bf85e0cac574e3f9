"""Runs the notebooks on the embedded data with few clips, and stores what they show, for those who only read them.

python notebooks/store.py               # all of them, 10 min on two cores
python notebooks/store.py cam3d
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
OPTIONS = {
    "cam3d": "--clips 500 --epochs 6 --overlays 1",
    "fusion_gru": "--clips 300 --frame-epochs 8 --epochs 20 --overlays 1",
    "gated_recognition": "--tables 9 --clips 60 --epochs 2 --overlays 1",
    "own_videos": "",
    "ucf10_cnn_gru": "--clips 800 --epochs 10 --overlays 1",
    "video_tcav": (
        "--network CNN-GRU --classes throw,catch,wave --clips 200 --test 0.7 --size 48 64 --num-frames 8 --epochs 4 "
        "--folds 2 --level 0.3 --class-clips 8 --concept-clips 6 --num-random 3 --resamples 0 --random-videos 12 "
        "--reversal-clips 2 --overlays 1 --validation 0.3"
    ),
}


def store(name: str) -> None:
    os.environ |= {"HAR_TF_NOTEBOOK_OPTIONS": OPTIONS[name], "HAR_TF_NOTEBOOK_OUT": "runs"}
    path = HERE / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": HERE}}).execute()
    notebook.metadata.language_info = {"name": "python"}  # without the version that ran it
    for cell in notebook.cells:
        cell.metadata.clear()  # without the times
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or OPTIONS:
        store(name)
