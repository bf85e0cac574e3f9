"""The Kaggle notebook, executed on the embedded data."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "ucf10_cnn_gru.ipynb"
OPTIONS = (
    "--clips 40 --size 32 48 --epochs 1 --filters 4 8 8 --pool-sizes 2 2 2 --validation 0.25 --overlays 1 --workers 1"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OPTIONS", OPTIONS)
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OUT", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("CNN-GRU" in str(output.get("data", {}).get("text/markdown", "")) for output in shown)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    assert len(list(tmp_path.glob("ucf10_cnn_gru/*/model.keras"))) == 1
