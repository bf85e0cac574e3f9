"""The Kaggle notebook of Fusion-GRU, executed on the embedded data."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "fusion_gru.ipynb"
OPTIONS = (
    "--clips 40 --size 64 --frame-size 64 --num-frames 4 --epochs 1 --gru-units 6 5 --validation 0.25 --overlays 1 "
    "--workers 1 --weights imagenet --weights-dir"
)


def test_runs_from_top_to_bottom(small_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OPTIONS", f"{OPTIONS} {small_weights}")
    monkeypatch.setenv("HAR_TF_NOTEBOOK_OUT", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [str(output.get("data", {}).get("text/markdown", "")) for output in shown]
    assert any("Table II" in text and "Fusion-GRU" in text for text in texts)
    assert any(text.startswith("Fusion-GRU against MobileNet") for text in texts)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 6, "curves, confusion, strips"
    assert any("<video" in str(output.get("data", {}).get("text/html", "")) for output in shown)
    printed = "".join(output.get("text", "") for output in shown)
    for name, channels in (("MobileNet", 256), ("MobileNetV2", 1280)):
        assert f"{name}: 40 clips of 4 x {channels} float16; most alike clip of the same class: " in printed
    assert "(None, 4, 64, 64, 3) -> (None, 10)" in printed
    assert len(list(tmp_path.glob("fusion_gru/*/model.keras"))) == 1
