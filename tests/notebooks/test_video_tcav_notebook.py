"""The Kaggle notebook of Video-TCAV, executed on the embedded data."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "video_tcav.ipynb"
OPTIONS = (
    "--network CNN-GRU --classes throw,catch,wave --clips 120 --test 0.7 --size 32 48 --num-frames 4 --epochs 1 "
    "--folds 2 --level 0.3 --class-clips 4 --concept-clips 4 --num-random 2 --resamples 0 --random-videos 9 "
    "--reversal-clips 2 --overlays 1 --validation 0.3 --workers 0"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OPTIONS", OPTIONS)
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OUT", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [str(output.get("data", {}).get("text/markdown", "")) for output in shown]
    assert any("Figure 8: relative TCAV of dynamic concepts" in text for text in texts)
    assert any("clips played backwards" in text for text in texts)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 10, "Figures 1 and 4 to 10"
    assert any("<video" in str(output.get("data", {}).get("text/html", "")) for output in shown)
    printed = "".join(output.get("text", "") for output in shown)
    assert "conv2d_1 (4, " in printed
    assert len(list(tmp_path.glob("video_tcav/*/model.keras"))) == 1
