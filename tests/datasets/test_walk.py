"""The one lister of files: links, circles, what is no plain file, folders that are closed."""

import os
from pathlib import Path

import pytest

from har_tf.datasets import walk
from har_tf.datasets.errors import DatasetError

SUFFIXES = frozenset({".avi", ".mp4"})


def listed(top, **options) -> list[str]:
    return [path.relative_to(top).as_posix() for path in walk.files(top, SUFFIXES, **options)]


@pytest.fixture
def top(tmp_path) -> Path:
    for name in ("b.avi", "A/z.MP4", "A/a.avi", "A/deep/er/x.avi", "A/notes.txt", "a.mp4", ".h.avi", ".hidden/x.avi"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    return tmp_path / "top"


def test_files_of_a_folder_come_before_those_of_its_folders(top):
    assert listed(top) == ["a.mp4", "b.avi", "A/a.avi", "A/z.MP4", "A/deep/er/x.avi"]
    assert list(walk.files(str(top), {".txt"})) == [top / "A/notes.txt"]


def test_depth(top):
    assert listed(top, depth=0) == ["a.mp4", "b.avi"]
    assert listed(top, depth=2) == ["a.mp4", "b.avi", "A/a.avi", "A/z.MP4"]
    assert listed(top, depth=3)[-1] == "A/deep/er/x.avi"


def test_links_to_folders_are_followed(top, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else/e.avi").touch()
    (top / "B").symlink_to(tmp_path / "else")
    (top / "C").symlink_to("B")
    assert listed(top)[-2:] == ["B/e.avi", "C/e.avi"]


@pytest.mark.parametrize(
    "link, target", [("A/up", ".."), ("A/self", "."), ("A/deep/er/up", "../.."), ("A/far", "../..")]
)
def test_link_circles_end(top, link, target):
    before = listed(top), listed(top / "A")
    (top / link).symlink_to(target)
    assert (listed(top), listed(top / "A")) == before


def test_a_circle_ends_where_the_folder_itself_is_reached_by_a_link(top, tmp_path):
    (top / "A/up").symlink_to("..")
    (tmp_path / "linked").symlink_to(top / "A")
    assert listed(tmp_path / "linked") == ["a.avi", "z.MP4", "deep/er/x.avi"]


def test_two_folders_that_link_to_each_other(tmp_path):
    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.avi").touch()
        (tmp_path / name / "other").symlink_to(tmp_path / other)
    assert listed(tmp_path / "one") == ["one.avi", "other/two.avi"]
    assert listed(tmp_path) == ["one/one.avi", "one/other/two.avi", "two/two.avi", "two/other/one.avi"]


def test_what_is_named_like_a_video_and_is_no_folder_is_given(tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "dangling.avi").symlink_to("nowhere")
    (tmp_path / "round.avi").symlink_to("round.avi")
    (tmp_path / "folder.avi").mkdir()
    (tmp_path / "folder.avi/x.avi").touch()
    assert listed(tmp_path) == ["dangling.avi", "pipe.avi", "round.avi", "folder.avi/x.avi"]


def test_names_that_are_no_utf_8(tmp_path):
    name = os.fsdecode(b"n\xff.avi")
    (tmp_path / name).touch()
    assert listed(tmp_path) == [name]


def test_a_folder_that_cannot_be_listed(top, monkeypatch):
    real = os.scandir

    def scandir(place):
        if str(place).endswith("deep"):  # not by permissions: the tests may run as root
            raise PermissionError(13, "Permission denied", place)
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"A/deep: cannot be listed: Permission denied"):
        listed(top)
    errors = []
    assert listed(top, refused=errors.append) == ["a.mp4", "b.avi", "A/a.avi", "A/z.MP4"]
    assert [error.filename for error in errors] == [str(top / "A/deep")]


def test_no_such_folder(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: cannot be listed: No such file"):
        listed(tmp_path / "nowhere")


def test_identity(top):
    assert walk.identity_of(top / "A") == walk.identity_of(top / "A/deep/..") != walk.identity_of(top)
    assert walk.identity_of(top / "none") is walk.identity_of("a\0") is None
