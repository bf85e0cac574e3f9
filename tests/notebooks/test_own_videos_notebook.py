"""The Kaggle notebook of one's own videos, executed on a few that are drawn."""

from checks import executed, pictures


def test_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_TF_NOTEBOOK_SMALL", "40,1")
    shown, texts, printed = executed("own_videos.ipynb", "", tmp_path, monkeypatch)
    assert texts and pictures(shown)
    assert any("<video" in data.get("text/html", "") for data in shown)
    assert "of always answering the most frequent class" in printed and "report.html" in printed
    assert (tmp_path / "own_videos" / "model.keras").is_file()
