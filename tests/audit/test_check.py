"""`check`: what it finds in a folder of sound and broken files, what a second run reads, what it refuses."""

import hashlib
import json
import os
import shutil
from dataclasses import astuple, replace
from pathlib import Path

import av
import numpy as np
import pytest

from har_tf import datasets
from har_tf.audit import check as module
from har_tf.audit.check import check, duplicates, summary
from har_tf.audit.manifest import Manifest, Row
from har_tf.datasets import DatasetError
from har_tf.video import VideoError, VideoInfo, write_video


def video(path: Path, value: int, frames: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, np.full((frames, 32, 48, 3), value, np.uint8), fps=10)


def avi(path: Path, frames: int = 60) -> Path:
    """MPEG-4 in AVI with a key frame every 12 frames, of noise, so that every packet has some size."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.gop_size = 12
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (32, 48, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def collection(tmp_path) -> Path:
    """Two classes with two sound videos, and one file of every kind of trouble."""
    root = tmp_path / "videos"
    video(root / "a" / "1.mp4", 20)
    video(root / "a" / "deep" / "2.mp4", 60, frames=9)
    video(root / "b" / "3.mp4", 100)
    shutil.copy(root / "a" / "1.mp4", root / "a" / "copy.mp4")
    shutil.copy(root / "b" / "3.mp4", root / "a" / "3.mp4")
    shutil.copy(root / "a" / "deep" / "2.mp4", root / "b" / "named.avi")
    (root / "b" / "empty.mp4").touch()
    (root / "b" / "text.mkv").write_text("hello")
    (root / "b" / "lost.webm").symlink_to("nowhere.webm")
    os.mkfifo(root / "b" / "pipe.avi")
    avi(root / "b" / "whole.avi")
    data = (root / "b" / "whole.avi").read_bytes()
    (root / "b" / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    (root / "b" / "notes.txt").write_text("not a video by its name")
    video(root / "b" / ".hidden.mp4", 5)
    return root


def test_every_file_has_its_row(collection):
    found = check(collection, workers=0)
    rows = {row.path: row for row in found.rows}
    assert list(rows) == [
        "a/1.mp4", "a/3.mp4", "a/copy.mp4", "a/deep/2.mp4", "b/3.mp4", "b/cut.avi", "b/empty.mp4", "b/lost.webm",
        "b/named.avi", "b/pipe.avi", "b/text.mkv", "b/whole.avi",
    ]  # fmt: skip
    path = collection / "a" / "deep" / "2.mp4"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    status = path.stat()
    assert rows["a/deep/2.mp4"] == Row(
        "a/deep/2.mp4", "a", "", "", status.st_size, status.st_mtime_ns, digest, "h264", 48, 32, 0, 10.0, 0.9, 9, 9
    )
    problems = {row.path: row.problem for row in found.problems}
    assert set(problems) == {"b/cut.avi", "b/empty.mp4", "b/lost.webm", "b/pipe.avi", "b/text.mkv"}
    assert problems["b/empty.mp4"] == "empty file"
    assert problems["b/lost.webm"] == "a link that leads nowhere"
    assert problems["b/pipe.avi"] == "not a regular file"
    assert problems["b/text.mkv"].startswith("not a video")
    assert (rows["b/lost.webm"].bytes, rows["b/lost.webm"].sha256) == (-1, "")
    assert rows["b/text.mkv"].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert rows["b/named.avi"].note.startswith("named .avi, but of the format mov,mp4")


def test_a_video_that_was_cut_off_says_how_much_is_left(collection):
    (row,) = [row for row in check(collection, workers=0).rows if row.path == "b/cut.avi"]
    assert row.claimed_frames == 60
    assert 30 < row.frames < 50
    assert row.problem in (
        f"cut off: 60 frames claimed, {row.frames} decodable",
        f"its end is damaged: 60 frames claimed, {row.frames} decodable",
    )


def test_packets_that_are_no_frame_are_no_problem(collection, shared, tmp_path):
    """XviD repeats a picture by a packet that says so; these sound files claim 1 and 3 frames too many."""
    root = shared / "data" / "ucf10"
    for name in ("Lunges/v_Lunges_g06_c01.avi", "TrampolineJumping/v_TrampolineJumping_g06_c04.avi"):
        (tmp_path / "xvid").mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / "xvid")
    found = check(tmp_path / "xvid", workers=0)
    assert not found.problems
    assert [row.note for row in found.rows] == ["1 packets without a frame", "3 packets without a frame"]
    assert [row.claimed_frames - row.frames for row in found.rows] == [1, 3]


def test_the_odd_real_files(shared):
    found = check(shared / "data" / "clips", workers=0)
    assert [row.path for row in found.problems] == ["corrupted.mp4"]
    assert {row.path: row.rotation for row in found.rows if row.rotation} == {
        "video_90.mov": 90,
        "video_180.mov": 180,
        "video_270.mov": 270,
    }
    assert not found.duplicates


def test_duplicates_name_the_first_file_and_how_bad_it_is(collection):
    found = check(collection, workers=0)
    assert {row.path: row.duplicate_of for row in found.rows if row.duplicate_of} == {
        "a/copy.mp4": "a/1.mp4",
        "b/3.mp4": "a/3.mp4",
        "b/named.avi": "a/deep/2.mp4",
    }
    kinds = {kind: [[row.path for row in rows] for rows in sets] for kind, sets in duplicates(found).items()}
    assert kinds == {
        "in two classes": [["a/3.mp4", "b/3.mp4"], ["a/deep/2.mp4", "b/named.avi"]],
        "in one class": [["a/1.mp4", "a/copy.mp4"]],
    }
    parts = Manifest((Row("1", "a", "train", bytes=1, sha256="x"), Row("2", "a", "test", bytes=1, sha256="x")))
    assert list(duplicates(parts)) == ["in two parts of the split"]


def test_processes_find_the_same(collection):
    assert check(collection, workers=2) == check(collection, workers=0)


def test_the_summary_counts_and_names(collection):
    lines = summary(check(collection, workers=0)).splitlines()
    assert lines[0] == "files       12, 7 of them sound"
    text = "\n".join(lines)
    assert "codecs      h264 (6), mpeg4 (2)" in text
    assert "problems    5" in text
    assert "       1  empty file: b/empty.mp4" in text
    assert "duplicates  3" in text
    assert "       2  in two classes: a/3.mp4 = b/3.mp4; a/deep/2.mp4 = b/named.avi" in text
    many = Manifest(tuple(Row(f"{n}.mp4", problem=f"corrupt: packet {n}") for n in range(5)))
    assert "       5  corrupt: 0.mp4, 1.mp4, 2.mp4, and 2 more" in summary(many)


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """The names of the files that were decoded."""
    names, real = [], module.probe
    monkeypatch.setattr(module, "probe", lambda path, threads: names.append(path.name) or real(path, threads))
    return names


def test_a_second_run_reads_what_changed_and_what_had_a_problem(collection, tmp_path, probed):
    out = tmp_path / "m.parquet"
    first = check(collection, out, workers=0)
    assert Manifest.read(out) == first
    assert len(probed) == 11, "all but the link"
    probed.clear()
    assert check(collection, out, workers=0) == first
    assert sorted(probed) == ["cut.avi", "empty.mp4", "pipe.avi", "text.mkv"]
    probed.clear()
    video(collection / "a" / "1.mp4", 22)
    os.utime(collection / "b" / "3.mp4", ns=(0, 0))
    (collection / "a" / "3.mp4").unlink()
    second = check(collection, out, workers=0)
    assert {"1.mp4", "3.mp4"} == {name for name in probed if name.endswith("mp4") and name != "empty.mp4"}
    rows = {row.path: row for row in second.rows}
    assert "a/3.mp4" not in rows
    assert rows["b/3.mp4"].mtime_ns == 0
    assert {row.duplicate_of for row in second.rows} == {"", "a/deep/2.mp4"}, "the copies' originals are gone"
    probed.clear()
    assert check(collection, out, workers=0, fresh=True) == second
    assert len(probed) == 10


def test_an_interrupted_run_is_continued(collection, tmp_path, probed, monkeypatch):
    out = tmp_path / "m.csv"
    expected = check(collection, workers=0)
    probed.clear()
    real = module._sha256

    def interrupted(path):
        if len(probed) == 4:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(module, "_sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check(collection, out, workers=0)
    assert not out.exists()
    (journal,) = tmp_path.glob(".m.csv.*")
    with journal.open("a") as file:
        file.write('\n["half a li')  # as after kill -9
    monkeypatch.setattr(module, "_sha256", real)
    done, probed[:] = set(probed[:3]), []
    assert check(collection, out, workers=0) == expected
    assert done == {"1.mp4", "3.mp4", "copy.mp4"}
    assert {"1.mp4", "copy.mp4"}.isdisjoint(probed)
    assert not journal.exists()
    assert Manifest.read(out) == expected


def test_hashes_are_added_to_what_is_known(collection, tmp_path, probed):
    out = tmp_path / "m.parquet"
    check(collection, out, workers=0)
    probed.clear()
    found = check(collection, out, workers=0, hashes=True)
    assert {"1.mp4", "2.mp4", "3.mp4"}.isdisjoint(probed)
    assert all(len(row.frame_hashes) == 32 * -(-row.frames // 2.5) for row in found.rows if row.codec == "h264")
    assert not any(row.frame_hashes for row in found.problems)
    assert check(collection, out, workers=0) == found, "and are kept"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x/train/a/1", "x/test/a/2", "x/val/b/c/3"], [("a", "train"), ("a", "test"), ("b", "val")]),
        (["Training/a/1", "Testing/2"], [("a", "train"), ("", "test")]),
        (["train/1", "b/2"], [("train", ""), ("b", "")]),
        (["val/1", "test/2"], [("val", ""), ("test", "")]),
        (["a/1", "2"], [("a", ""), ("", "")]),
        (["x/1", "x/2"], [("", ""), ("", "")]),
    ],
)
def test_class_and_part_follow_from_the_folders(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.mp4").touch()
    rows = {row.path: row for row in check(tmp_path, workers=0).rows}
    assert [(rows[f"{name}.mp4"].class_name, rows[f"{name}.mp4"].part) for name in names] == expected


def test_a_data_set_gives_its_split(miniature, tmp_path):
    train = [f"{c}/v_{c}_g{g:02d}_c01" for c in ("Archery", "Biking", "Surfing") for g in (2, 3)]
    (tmp_path / "trainlist01.txt").write_text("\n".join(f"{name}.avi" for name in train))
    (tmp_path / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi\nArchery/v_Archery_g01_c02.avi")
    dataset = datasets.load(miniature, lists=tmp_path)
    found = check(miniature, workers=0, dataset=dataset)
    parts = {row.path: row.part for row in found.rows}
    assert sorted(f"{name}.mp4" for name in train) == sorted(path for path, part in parts.items() if part == "train")
    assert sum(part == "test" for part in parts.values()) == 2
    assert {row.class_name for row in found.rows} == {"Archery", "Biking", "Surfing"}
    with pytest.raises(DatasetError, match="no official split"):
        check(miniature, dataset=datasets.load(miniature))


def test_folders_are_followed_through_links_but_in_no_circle(tmp_path):
    video(tmp_path / "elsewhere" / "1.mp4", 20)
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "a" / "circle").symlink_to(tmp_path / "root")
    assert [row.path for row in check(tmp_path / "root", workers=0).rows] == ["a/link/1.mp4"]


def test_a_folder_that_cannot_be_listed_is_a_problem(tmp_path, monkeypatch):
    video(tmp_path / "a" / "1.mp4", 20)
    (tmp_path / "b").mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (row,) = check(tmp_path, workers=0).problems
    assert (row.path, row.problem) == ("b", "a folder that cannot be listed (Permission denied)")


def test_bad_arguments_are_found_before_any_work(collection, tmp_path, probed):
    for root, reason in ((tmp_path / "none", "no such folder"), (collection / "b" / "notes.txt", "is a file")):
        with pytest.raises(DatasetError, match=f"{root.name}: {reason}. Expected a folder of videos"):
            check(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: no video in it. Video files end in .3g2"):
        check(tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"end in .parquet or .csv. Received: .*m.json"):
        check(collection, tmp_path / "m.json")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"other.csv: is not a manifest"):
        check(collection, tmp_path / "other.csv")
    with pytest.raises(DatasetError, match=r"cannot be written: .*other.csv is not a folder"):
        check(collection, tmp_path / "other.csv" / "m.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DatasetError, match=r"folder.csv: is a folder"):
        check(collection, tmp_path / "folder.csv")
    for wrong in ({"timeout": -1}, {"timeout": 0}, {"workers": -1}):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"^{name} .*Received: {name}={value}"):
            check(collection, tmp_path / "m.csv", **wrong)
    assert not list(tmp_path.glob(".m.csv*"))
    assert probed == []
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def test_a_file_that_takes_too_long_is_a_problem(tmp_path):
    video(tmp_path / "1.mp4", 20)
    (row,) = check(tmp_path, workers=1, timeout=1e-3).rows
    assert row.problem == "took longer than 0.001 s"
    assert (row.stamp, row.sha256) == (
        ((tmp_path / "1.mp4").stat().st_size, (tmp_path / "1.mp4").stat().st_mtime_ns),
        "",
    )


def test_names_that_are_no_text(tmp_path):
    """Line breaks, bytes that are not UTF-8, and what FFmpeg reads as a protocol or a pattern."""
    names = ["x:y %d/a b.mp4", "line\nbreak.mp4", os.fsdecode(b"n\xff.mp4")]
    for value, name in enumerate(names):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        video(tmp_path / "plain.mp4", 20 + 50 * value).rename(tmp_path / "videos" / name)
    for out, workers in ((tmp_path / "m.csv", 1), (tmp_path / "m.parquet", 0)):
        found = check(tmp_path / "videos", out, workers=workers, hashes=True)
        assert {row.path for row in found.rows} == {"x:y %d/a b.mp4", "line\nbreak.mp4", r"n\xff.mp4"}
        assert not found.problems
        assert Manifest.read(out) == found
        assert all(found.find(tmp_path / "videos" / name) is not None for name in names)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: [],
        lambda row: row[:7],  # what a row of fewer columns would leave to the defaults: a sound file of 0 frames
        lambda row: [*row, ""],
        lambda row: [*row[:13], str(row[13]), *row[14:]],  # the number of frames
        lambda row: [*row[:13], True, *row[14:]],
        lambda row: dict(enumerate(row)),
        lambda row: 5,
    ],
)
def test_a_journal_row_that_is_none_is_read_again(collection, tmp_path, probed, monkeypatch, change):
    out, journal = tmp_path / "m.csv", tmp_path / ".m.csv.journal"
    expected = check(collection, workers=0)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Manifest, "write", lambda self, path: 1 / 0)
        check(collection, out, workers=0)
    header, *lines = [line for line in journal.read_text().splitlines() if line]
    place = next(number for number, line in enumerate(lines) if "whole.avi" in line)
    lines[place] = json.dumps(change(json.loads(lines[place])))
    journal.write_text("\n".join([header, *lines]))
    probed.clear()
    assert check(collection, out, workers=0) == expected
    assert "whole.avi" in probed
    assert "1.mp4" not in probed


@pytest.mark.parametrize("header", ["", "[1]", '{"format": 0}', "half a l"])
def test_a_journal_of_another_format_is_not_believed(collection, tmp_path, probed, header):
    out, journal = tmp_path / "m.csv", tmp_path / ".m.csv.journal"
    expected = check(collection, workers=0)
    row = next(row for row in expected.rows if row.path == "a/1.mp4")
    journal.write_text(header + "\n" + json.dumps(astuple(replace(row, frames=99))))
    assert check(collection, out, workers=0) == expected
    assert not journal.exists()


def test_the_group_is_in_the_name_or_comes_from_the_data_set(miniature):
    plain = check(miniature, workers=0)
    assert {row.group for row in plain.rows if row.class_name == "Biking"} == {f"Biking/g{n:02d}" for n in range(1, 6)}
    dataset = datasets.load(miniature)
    records = tuple(replace(record, group=f"film of {record.path.stem[:5]}") for record in dataset.records)
    paths = [record.path for record in records]
    named = replace(dataset, records=records, official=(frozenset(paths[1:]), frozenset(paths[:1])))
    assert {row.group for row in check(miniature, workers=0, dataset=named).rows} == {
        "film of v_Arc", "film of v_Bik", "film of v_Sur"
    }  # fmt: skip


def test_lists_that_name_other_files_are_not_opened(collection):
    """Every look into a file goes through the reader's list of allowed formats."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n1.mp4\n#EXT-X-ENDLIST\n"
    (collection / "a" / "list.mp4").write_text(text)
    for look in (module._frames_and_packets, lambda path: module._judged(path, VideoInfo(*[None] * 9))):
        with pytest.raises(VideoError):
            look(collection / "a" / "list.mp4")
