"""python -m har_tf report."""

import pytest
from checks import failed, run_command

from har_tf.cli.app import Report


def test_tables_and_page_are_written_again(tiny_run, capsys):
    page = (tiny_run / "report.html").read_text()
    (tiny_run / "tables" / "table_1.csv").unlink()
    (tiny_run / "report.html").unlink()
    run_command(Report((tiny_run, tiny_run)))
    assert (tiny_run / "report.html").read_text() == page
    assert (tiny_run / "tables" / "table_1.csv").is_file()
    assert capsys.readouterr().out.count("| CNN-GRU") == 2


@pytest.mark.parametrize(("content", "words"), [(None, "results.json: not there"), ("{}", "an earlier version")])
def test_a_folder_without_results_of_this_version_is_named(tmp_path, capsys, content, words):
    if content:
        for name in ("results.json", "environment.json"):
            (tmp_path / name).write_text(content)
    assert words in failed(Report((tmp_path,)), capsys)
