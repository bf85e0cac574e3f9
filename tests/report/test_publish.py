"""A report from the folder of a run, without a model."""

import json
import shutil

import pytest

from har_tf.report.publish import ReportError, publish


@pytest.fixture
def folder(tiny_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("training", "model.keras"))


def test_tables_figures_and_page_are_made_again_from_results_alone(folder, capsys):
    before = {path: path.read_bytes() for name in ("tables", "figures") for path in (folder / name).iterdir()}
    page = (folder / "report.html").read_text()
    for path in (*(folder / "tables").iterdir(), folder / "figures" / "figure_4_curves.png", folder / "report.html"):
        path.unlink()
    assert publish(folder) == folder / "report.html"
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / "report.html").read_text() == page
    assert "| CNN-GRU" in capsys.readouterr().out


def test_tables_follow_the_results(folder):
    results = json.loads((folder / "results.json").read_text())
    results["protocols"]["group"]["models"]["CNN-GRU"]["accuracy"] = 0.125
    (folder / "results.json").write_text(json.dumps(results))
    publish(folder)
    assert "CNN-GRU,0.125," in (folder / "tables" / "table_1.csv").read_text()
    assert "0.1250 (CNN-GRU, group split)" in (folder / "report.html").read_text()


def test_what_no_report_can_be_made_of_is_named(folder):
    results = json.loads((folder / "results.json").read_text())

    def refused(words):
        with pytest.raises(ReportError, match=words):
            publish(folder)

    (folder / "results.json").write_text(json.dumps({k: v for k, v in results.items() if k != "experiment"}))
    refused("results.json: written by an earlier version")
    for name in ("../x", "unheard_of", 3):
        (folder / "results.json").write_text(json.dumps(results | {"experiment": name}))
        refused("no page is known for this experiment")
    for text in ("{", "[" * 100_000):
        (folder / "results.json").write_text(text)
        refused("results.json: not a JSON file")
    (folder / "results.json").write_text("[]")
    refused("results.json: expected an object of JSON. Received: a list")
    for other in ({"protocols": []}, {"protocols": None}, {"dataset": {"name": 3}}):
        (folder / "results.json").write_text(json.dumps(results | other))
        refused("results.json: holds other values than the page of ucf10_cnn_gru shows")
    (folder / "results.json").unlink()
    refused("results.json: not there")


def test_a_picture_that_cannot_be_written_is_no_fault_of_the_results(folder):
    figure = folder / "figures" / "figure_4_curves.png"
    figure.unlink()
    figure.mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        publish(folder)
    assert raised.value.filename == str(figure)


def test_a_missing_picture_is_named_and_the_page_stays(folder):
    shutil.rmtree(folder / "overlays")
    page = (folder / "report.html").read_text()
    with pytest.raises(FileNotFoundError, match="overlays"):
        publish(folder)
    assert (folder / "report.html").read_text() == page
