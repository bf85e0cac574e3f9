"""Tables of a run in documents, between marks."""

import pytest

from har_tf.report.quote import QuoteError, quote
from har_tf.report.tables import Table

DOCUMENT = """# Results

<!-- table ucf10/figures-*/table_1 -->
old
<!-- end of table -->

| by hand | 1 |

<!-- table other/figures-*/table_1 -->
stays
<!-- end of table -->
"""


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "ucf10" / "figures-group-1a2b"
    Table("Table 1", ["Model", "Accuracy"], [["CNN-GRU", 0.5]], notes=["A note."]).write(folder / "tables", "table_1")
    return folder


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(DOCUMENT)
    return path


def test_the_table_stands_between_its_marks_and_all_else_stays(run, document):
    assert quote(run, [document]) == [document]
    table = "\n| Model   | Accuracy |\n|:--------|---------:|\n| CNN-GRU |   0.5000 |\n\n"
    assert document.read_text() == DOCUMENT.replace("old\n", table)


def test_what_stands_there_already_is_not_written_again(run, document):
    quote(run, [document])
    assert quote(run, [document]) == []


def test_documents_without_a_place_are_named(run, document, tmp_path):
    empty = tmp_path / "empty.md"
    empty.write_text("# Nothing\n")
    with pytest.raises(QuoteError, match=r"empty.md: no place for the tables of ucf10/figures-group-1a2b"):
        quote(run, [empty])
    assert quote(run, [empty, document]) == [document]
    assert empty.read_text() == "# Nothing\n"


def test_a_mark_for_a_table_that_the_run_lacks_is_named(run, document):
    document.write_text(DOCUMENT.replace("table_1", "table_9"))
    with pytest.raises(QuoteError, match=r"README.md: <!-- table ucf10/figures-\*/table_9 --> .* It has: table_1"):
        quote(run, [document])
