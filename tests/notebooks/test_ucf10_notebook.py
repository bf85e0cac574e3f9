"""The Kaggle notebook of CNN-GRU, executed on the embedded data."""

from functools import partial

from checks import executed, pictures

from har_tf import devices

OPTIONS = (
    "--clips 40 --size 32 48 --epochs 1 --filters 4 8 8 --pool-sizes 2 2 2 --validation 0.25 --overlays 1 --workers 0 "
    "--protocol group --strategy mirrored --precision mixed_bfloat16"
)


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    # Of the eight logical devices two: each of them has the step traced for itself.
    monkeypatch.setattr(devices, "mirrored", partial(devices.mirrored, 2))
    shown, texts, printed = executed("ucf10_cnn_gru.ipynb", OPTIONS, tmp_path, monkeypatch)
    assert any("CNN-GRU" in text for text in texts)
    assert pictures(shown) >= 4
    assert len(list(tmp_path.glob("ucf10_cnn_gru/*/model.keras"))) == 1
    assert "(None, 10, 32, 48, 3) -> (None, 10)" in printed
