"""The Kaggle notebook of gated heads, executed on the embedded data."""

from checks import executed, pictures

OPTIONS = "--tables 9 --clips 20 --epochs 1 --resnext-width 32 --resnext-frames 8 --overlays 1 --workers 0"


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    shown, texts, printed = executed("gated_recognition.ipynb", OPTIONS, tmp_path, monkeypatch)
    assert any("3D ResNeXt with and without gates" in text for text in texts)
    assert pictures(shown)
    assert any("<video" in data.get("text/html", "") for data in shown)
    assert "(None, 8, 48, 48, 3) -> (None, 10)" in printed
    assert len(list(tmp_path.glob("gated_recognition/*/model.keras"))) == 1
