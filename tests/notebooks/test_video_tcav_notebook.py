"""The Kaggle notebook of Video-TCAV, executed on the embedded data."""

from checks import executed, pictures

OPTIONS = (
    "--network CNN-GRU --classes throw,catch,wave --clips 120 --test 0.7 --size 32 48 --num-frames 4 --epochs 1 "
    "--folds 2 --level 0.3 --class-clips 4 --concept-clips 4 --num-random 2 --resamples 0 --random-videos 9 "
    "--reversal-clips 2 --overlays 1 --validation 0.3 --workers 0"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    shown, texts, printed = executed("video_tcav.ipynb", OPTIONS, tmp_path, monkeypatch)
    assert any("Figure 8: relative TCAV of dynamic concepts" in text for text in texts)
    assert any("clips played backwards" in text for text in texts)
    assert pictures(shown) >= 10, "Figures 1 and 4 to 10"
    assert any("<video" in data.get("text/html", "") for data in shown)
    assert "conv2d_1 (4, " in printed
    assert len(list(tmp_path.glob("video_tcav/*/model.keras"))) == 1
