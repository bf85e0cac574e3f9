"""The Kaggle notebook of Fusion-GRU, executed on the embedded data."""

from checks import executed, pictures
from tiny_networks import make_tiny

OPTIONS = (
    "--clips 40 --size 64 --frame-size 64 --num-frames 4 --epochs 1 --gru-units 6 5 --validation 0.25 --overlays 1 "
    "--workers 0 --weights imagenet --weights-dir"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    weights = make_tiny(monkeypatch, tmp_path / "weights")
    shown, texts, printed = executed("fusion_gru.ipynb", f"{OPTIONS} {weights}", tmp_path, monkeypatch)
    assert any("Table II" in text and "Fusion-GRU" in text for text in texts)
    assert "\nFusion-GRU against MobileNet" in printed
    assert pictures(shown) >= 6, "curves, confusion, strips"
    assert any("<video" in data.get("text/html", "") for data in shown)
    for name, channels in (("MobileNet", 16), ("MobileNetV2", 48)):
        assert f"{name}: 40 clips of 4 x {channels} float16; most alike clip of the same class: " in printed
    assert "(None, 4, 64, 64, 3) -> (None, 10)" in printed
    assert len(list(tmp_path.glob("fusion_gru/*/model.keras"))) == 1
