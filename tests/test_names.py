"""Names that are close to one that is not known."""

from pathlib import Path

import pytest

from har_tf.command import guarded
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.names import (
    check_names,
    closest,
    csv_cell,
    distinct,
    file_name,
    from_csv_cell,
    index_of,
    no_formula,
    read_names,
    say,
    shown,
)
from har_tf.report.tables import Table


@pytest.mark.parametrize("name", ["Übung", "打网球", "حركة", "a = b", "-1", "$x$", "<b>", "wave 👋🏽", "क्षण\u200d"])
def test_names_of_any_language_are_kept(name):
    assert check_names([name, "b"], "names.json") == (name, "b")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a\nb",
        "a\x1b[31mb",
        "a\u202eb",
        "a\u2028b",
        "a\ud800",
        "a\x00",
        "a\x9b2Jb",
        "\u2067a",
        "a\rb",
        "a\u200bb",
        "\ufeffa",
    ],
)
def test_names_that_a_terminal_obeys_or_nothing_can_show_are_refused_with_the_file(name, tmp_path):
    with pytest.raises(ValueError, match="^names.json: class names ") as refused:
        check_names(["a", name], "names.json")
    assert str(refused.value).isprintable()
    with pytest.raises(DatasetError, match=f"^{tmp_path}: class names"):
        ActionDataset("own", tmp_path, (), ("a", name))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "walk\r\njump high\r\nécrire\r\n"),
        ("names.txt", "\ufeffwalk\njump high\nécrire"),
        ("classInd.txt", "1 walk\n2 jump high\n3 écrire\n"),
        ("labels.csv", "1,jump high\n0,walk\n2,écrire\n"),
        ("names.json", '["walk", "jump high", "écrire"]'),
        ("names.json", '{"jump high": 1, "walk": 0, "écrire": 2}'),
        ("names.json", '{"0": "walk", "2": "écrire", "1": "jump high"}'),
    ],
)
def test_files_of_class_names_are_put_in_the_order_of_the_outputs(tmp_path, file, content):
    (path := tmp_path / file).write_text(content, encoding="utf-8", newline="")
    assert read_names(path) == ("walk", "jump high", "écrire")


def test_numbers_that_are_no_order_belong_to_the_names(tmp_path):
    (path := tmp_path / "names.txt").write_text("1 person\n2 people\n4 people\n")
    assert read_names(path) == ("1 person", "2 people", "4 people")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("names.txt", b"a\n\nb\n", "none of them empty"),
        ("names.txt", b"", "none of them empty"),
        ("names.txt", b"a\n\xff\n", "not a text file of class names"),
        ("names.txt", b"a\x1b[31m\nb", "no control characters"),
        ("names.json", b'["a", 3]', "list of strings"),
        ("names.json", b"null", "list of strings"),
        ("names.json", b"[" * 100_000, "not a JSON file"),
        ("names.json", b'{"a": 1, "b": 2}', "from 0 on, each once"),
        ("names.json", b'{"a": 0, "b": "%s"}' % (b"9" * 5000), "from 0 on, each once|list of strings"),
        ("names.json", b'{"\\u001b[2J": 5}', "from 0 on, each once"),
    ],
)
def test_other_files_of_class_names_are_refused_by_name(tmp_path, file, content, message):
    (path := tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_names(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert str(refused.value).isprintable()


def test_what_a_terminal_would_obey_is_shown_as_an_escape(capsys):
    assert shown(Path("a\x1b[31m\udcff/Übung 打网球.avi")) == "a\\x1b[31m\\udcff/Übung 打网球.avi"
    assert shown("a\u202egpj.avi\nb\t") == "a\\u202egpj.avi\\nb\\t"

    def fail():
        raise ValueError("clips/\x1b]0;title\x07\udcff.avi: no video")

    assert guarded(fail) == 1
    assert capsys.readouterr().err == "error: clips/\\x1b]0;title\\x07\\udcff.avi: no video\n"


def test_a_name_is_no_formula_in_a_spreadsheet():
    names = ("=1+1", "+a", "-a", "@a", " =1", "\uff1d1", "a=1", "throw", " a")
    assert [csv_cell(name) for name in names] == [*(f"'{name}" for name in names[:6]), *names[6:]]
    assert [no_formula(name) for name in ("\ta", "\ra", "\na")] == ["'\ta", "'\ra", "'\na"]
    assert [csv_cell(value) for value in (-1.5, None, -2)] == [-1.5, None, -2], "numbers stay numbers"
    for name in (*names, "'=1", "''-", "'tis", "'"):
        assert from_csv_cell(csv_cell(name)) == name


def test_a_cell_is_one_line_without_hidden_letters_and_gives_back_its_text():
    assert csv_cell("a\x1b\n\udcff.avi") == r"a\x1b\n\udcff.avi"
    for text in (
        "a\x1b[2J\u202e\n=b\udc8c",
        r"C:\new\x1b.avi",
        r"C:\videos",
        "\\\x1b\\",
        r"\U00110000",
        "\U000e0041",
        "\t",
    ):
        assert from_csv_cell(csv_cell(text)) == text
        assert csv_cell(text).isprintable()


def test_a_table_s_numbers_are_no_text():
    table = Table("t", ("class", "change"), [("=cmd|' /C calc'!A0", -0.25)])
    assert table.csv().splitlines()[1] == "'=cmd|' /C calc'!A0,-0.25"


def test_lines_that_are_printed_stay_lines_whatever_names_stand_in_them(capsys):
    say("a.mp4\n  1.0000  throw", "b\x1b[1A\udcff")
    assert capsys.readouterr().out == "a.mp4\\n  1.0000  throw\nb\\x1b[1A\\udcff\n"


def test_files_are_called_like_names_and_stay_in_their_folder():
    assert [file_name(text) for text in ("sports ball", "../../a/b", "\udcff", "", "打网球", ".a", "a" * 300)] == [
        "sports_ball", "a_b", "_", "_", "打网球", "a", "a" * 100,
    ]  # fmt: skip


def test_classes_of_one_name_are_told_by_their_numbers():
    assert distinct(("crane", "ox", "crane")) == ["crane (class 0)", "ox", "crane (class 2)"]


def test_the_closest_names_keep_their_spelling():
    assert closest("resnet51", ["ResNet50", "GoogLeNet"]) == " Closest: ResNet50."
    assert closest("CAFÉ", ["café", "bar"]) == " Closest: café."
    assert closest("tap", ["tap1", "tap2", "tap3", "tap4"]).count("tap") == 3


def test_what_looks_like_none_gets_no_hint():
    assert closest("zzz", ["ResNet50", "GoogLeNet"]) == ""
    assert closest("zzz", []) == ""


def test_a_class_is_found_in_any_case_or_the_classes_are_listed():
    assert index_of("dining", ["playing tennis", "Dining"], "the model") == 1
    with pytest.raises(ValueError, match="the model has no class 'dinning'. Closest: dining. Its 1 classes: dining"):
        index_of("dinning", ["dining"], "the model")
    with pytest.raises(ValueError, match="Its 30 classes: 0, .*, 19 [.]{3}$"):
        index_of("x", list(map(str, range(30))), "the model")
