"""Lines of list files as people's tools save them, and a few names of many."""

import os

import pytest

from har_tf.datasets import lists
from har_tf.datasets.errors import DatasetError


@pytest.mark.parametrize(
    "data",
    [b"one\n\nd\xc3\xa9\n", b"\xef\xbb\xbfone\n\nd\xc3\xa9", b"one\r\n\r\nd\xc3\xa9\r\n", b"one\r\rd\xc3\xa9\r"],
)
def test_byte_order_marks_and_line_ends(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    assert lists.read_lines(tmp_path / "list.txt") == ["one", "", "dé"]


def test_only_line_ends_end_lines(tmp_path):
    (tmp_path / "list.txt").write_text("a\x0bb\x85c\u2028d\n", encoding="utf-8")
    assert lists.read_lines(str(tmp_path / "list.txt")) == ["a\x0bb\x85c\u2028d"]


def test_an_empty_file_has_no_line(tmp_path):
    (tmp_path / "list.txt").touch()
    assert lists.read_lines(tmp_path / "list.txt") == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("\ufeff".encode(encoding) + "a.avi\n".encode(encoding))
    with pytest.raises(DatasetError, match=r"list\.txt: .* it is UTF-16. Expected UTF-8"):
        lists.read_lines(tmp_path / "list.txt")


def test_other_encodings_are_refused_or_kept(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"one\nd\xe9.avi\n")
    with pytest.raises(
        DatasetError, match=r"list\.txt: cannot be read as text: .* at byte 5, in line 2. Expected UTF-8"
    ):
        lists.read_lines(path)
    assert lists.read_lines(path, errors="surrogateescape")[1] == os.fsdecode(b"d\xe9.avi")


def test_no_such_list(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.txt: cannot be read: No such file"):
        lists.read_lines(tmp_path / "none.txt")
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        lists.read_lines(tmp_path)


def test_some_names():
    assert lists.some("abcde") == "a, b, c, d, e"
    assert lists.some("abcdef") == "a, b, c, d, e, ..."
    assert lists.some(iter(range(9)), count=2) == "0, 1, ..."
    assert lists.some([]) == ""
