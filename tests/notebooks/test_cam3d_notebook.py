"""The Kaggle notebook of 3DCAM, executed on the embedded data."""

from checks import executed, pictures

OPTIONS = (
    "--network ResNeXt3D --clips 40 --size 32 32 --num-frames 4 --epochs 1 --cardinality 2 --validation 0.25 "
    "--overlays 1 --workers 0 --frames-per-clip 1"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    shown, texts, printed = executed("cam3d.ipynb", OPTIONS, tmp_path, monkeypatch)
    assert any("Side by side" in text and "Control: uniform" in text for text in texts)
    assert pictures(shown) == 2, "curves and strips"
    assert any("<video" in data.get("text/html", "") for data in shown)
    assert "conv3d_1a_7x7 (4, 16, 16, 16) -> (1, 4, 32, 32)" in printed
    assert len(list(tmp_path.glob("cam3d_localization/*/model.keras"))) == 1
