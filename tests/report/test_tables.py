"""Tables are written, read back with a parser of each format, and compared with what went in."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from har_tf.report.tables import Table

TABLE1 = Table(
    "Table 1. Measured & quoted",
    ["Model", "Accuracy", "F1", "Epochs"],
    [
        ["CNN-GRU", 0.965, 0.96444, 20],
        ["VGG16", "not run", None, None],
        ["MobileNet", 0.88, 0.97, 3],
    ],
    notes=["52 test clips."],
    highest=["Accuracy", "F1"],
)
AWKWARD = r"50% of a_b & #1 {x} $5 ~ ^ \ <b> | *"


def markdown_cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def unescape_latex(text):
    names = {
        "textbackslash": "\\",
        "textasciitilde": "~",
        "textasciicircum": "^",
        "textless": "<",
        "textgreater": ">",
        "textbar": "|",
    }
    return re.sub(r"\\(?:([a-z]+)\{\}|(.))", lambda m: names[m[1]] if m[1] else m[2], text)


class Cells(HTMLParser):
    """Collects (tag, class, text, is bold) of the cells of a table, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append([tag, dict(attrs).get("class"), "", False])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            cell = self.rows[-1][-1]
            cell[2] += data
            cell[3] |= "strong" in self.open


def test_markdown_is_aligned_in_a_terminal():
    assert TABLE1.markdown() == (
        "**Table 1. Measured & quoted**\n"
        "\n"
        "| Model     |   Accuracy |         F1 | Epochs |\n"
        "|:----------|-----------:|-----------:|-------:|\n"
        "| CNN-GRU   | **0.9650** |   0.9644   |     20 |\n"
        "| VGG16     |  not run   |        –   |      – |\n"  # noqa: RUF001
        "| MobileNet |   0.8800   | **0.9700** |      3 |\n"
        "\n"
        "- 52 test clips.\n"
    )


def test_markdown_pads_wide_and_combining_characters():
    lines = Table("t", ["Name"], [["投げる"], ["cafe\u0301"], ["throw"]]).markdown().splitlines()[2:]
    assert lines[2:] == ["| 投げる |", "| cafe\u0301   |", "| throw  |"]


def test_markdown_escapes_what_would_end_a_cell_or_start_markup():
    line = Table("t", ["a", "b"], [[r"x|y \| *z* `c` <b> 1 < 2", 1]]).markdown().splitlines()[4]
    assert line.startswith(r"| x\|y \\\| \*z\* \`c\` \<b> 1 < 2 |")


def test_csv_holds_numbers_in_full():
    rows = list(csv.reader(io.StringIO(TABLE1.csv())))
    assert rows == [
        ["Model", "Accuracy", "F1", "Epochs"],
        ["CNN-GRU", "0.965", "0.96444", "20"],
        ["VGG16", "not run", "", ""],
        ["MobileNet", "0.88", "0.97", "3"],
    ]
    third = Table("t", ["x", "y"], [[np.float64(1) / 3, 'a "b", c\nd']]).csv()
    read = list(csv.reader(io.StringIO(third)))[1]
    assert float(read[0]) == 1 / 3
    assert read[1] == 'a "b", c\nd'


def test_latex_is_a_booktabs_table():
    assert TABLE1.latex(label="tab:one").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Table 1. Measured \& quoted}",
        r"\label{tab:one}",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Model & Accuracy & F1 & Epochs \\",
        r"\midrule",
        r"CNN-GRU & \textbf{0.9650} & 0.9644 & 20 \\",
        r"VGG16 & not run & -- & -- \\",
        r"MobileNet & 0.8800 & \textbf{0.9700} & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip{\footnotesize 52 test clips.\par}",
        r"\end{table}",
    ]
    assert r"\label" not in TABLE1.latex()


def test_latex_escapes_every_special_character():
    row = Table("t", ["a"], [[AWKWARD]]).latex().splitlines()[7]
    assert not re.search(r"(?<!\\)[%_&#$^~|<>]", row.removesuffix(r" \\"))
    assert unescape_latex(row.removesuffix(r" \\")) == AWKWARD


def test_latex_cell_cannot_become_an_argument_of_the_line_break():
    lines = Table("t", ["a", "b"], [["[This work]", 1], ["*", 2]]).latex().splitlines()
    assert lines[7:9] == [r"{[}This work] & 1 \\", r"{*} & 2 \\"]


def test_html_parses_back():
    rows = Cells(TABLE1.html()).rows
    assert [cell[2] for cell in rows[0]] == ["Model", "Accuracy", "F1", "Epochs"]
    assert rows[1][:3] == [
        ["td", None, "CNN-GRU", False],
        ["td", "num", "0.9650", True],
        ["td", "num", "0.9644", False],
    ]
    assert [cell[2] for cell in rows[2]] == ["VGG16", "not run", "\N{EN DASH}", "\N{EN DASH}"]
    assert Cells(Table("t", ["a"], [[AWKWARD]]).html()).rows[1][0][2] == AWKWARD
    assert "<b>" not in Table("<b>", ["<b>"], [["<b>"]], notes=["<b>"]).html()


def test_format_of_a_column_holds_for_all_its_numbers():
    table = Table("t", ["a", "n"], [[0.5, 12345], [1, 7]], formats={"a": ".1%", "n": ","})
    assert [markdown_cells(line) for line in table.markdown().splitlines()[4:]] == [
        ["50.0%", "12,345"],
        ["100.0%", "7"],
    ]
    assert r"50.0\% & 12,345 \\" in table.latex()


def test_best_is_bold_wherever_it_prints_alike():
    table = Table(
        "t",
        ["up", "down", "single"],
        [[0.90001, 3, 1.0], [0.90002, 1, "not run"], [0.8, 2, None], [float("nan"), None, None]],
        highest=["up", "single"],
        lowest=["down"],
    )
    rows = [markdown_cells(line) for line in table.markdown().splitlines()[4:]]
    assert rows[0] == ["**0.9000**", "3", "1.0000"]
    assert rows[1] == ["**0.9000**", "**1**", "not run"]
    assert rows[3][0] == "nan"


def test_numpy_numbers_and_truth_are_plain():
    table = Table("t", ["a", "b", "c"], [[np.int64(3), np.float32(0.5), np.bool_(True)]])
    assert markdown_cells(table.markdown().splitlines()[4]) == ["3", "0.5000", "yes"]


def test_table_without_rows_is_a_header():
    assert Table("t", ["a", "b"], [], highest=["a"]).markdown() == "**t**\n\n| a   | b   |\n|:----|:----|\n"


def test_write_makes_three_files(tmp_path):
    paths = TABLE1.write(tmp_path / "tables", "table1")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [
        "table1.csv",
        "table1.md",
        "table1.tex",
    ]
    assert paths["md"].read_text(encoding="utf-8") == TABLE1.markdown()
    assert paths["csv"].read_bytes() == TABLE1.csv().encode()
    assert r"\label{tab:table1}" in paths["tex"].read_text(encoding="utf-8")


@pytest.mark.parametrize("stem", ["", "..", "a/b", "a\\b"])
def test_write_refuses_a_stem_that_is_no_file_name(tmp_path, stem):
    with pytest.raises(ValueError, match="stem must be a file name"):
        TABLE1.write(tmp_path, stem)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [[1, 2, 3]]}, "row 0 of table 't' must have 2 cells. Received: 3"),
        ({"rows": [[1, [2]]]}, r"text, numbers or None. Received: \[2\] \(list\)"),
        ({"columns": ["a", "a"]}, "all different"),
        ({"columns": "ab"}, "columns must be a sequence"),
        ({"highest": ["c"]}, r"highest must be among \['a', 'b'\]. Received: \['c'\]"),
        ({"formats": {"c": ".1f"}}, "formats must be among"),
        ({"formats": {"a": "{:.1f}"}}, r"Received: 'a': '\{:.1f\}'"),
    ],
)
def test_what_is_no_table_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Table(**{"title": "t", "columns": ["a", "b"], "rows": [[1, 2]]} | arguments)
