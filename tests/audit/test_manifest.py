"""The manifest file: round trips, look-up of files, and what is no manifest."""

import csv
import hashlib
import os
from dataclasses import replace

import pytest

from har_tf.audit.manifest import Manifest, Row, name_of
from har_tf.datasets import DatasetError, VideoRecord

SOUND = Row(
    "b/Übung, 1.avi", "b", "train", "b/g01", 2**40, 1_700_000_000_123_456_789, "ab" * 32, "mpeg4", 320, 240, 90,
    30000 / 1001, 6.239566666666667, 187, 188, "", "1 packets without a frame", "a.mp4", "0f" * 32,
)  # fmt: skip
BROKEN = Row('a/"x"\n2.mp4', problem='not a video, or "worse"')
FORMULA = Row("=1+1.avi", "@b", "'=c")


@pytest.mark.parametrize("ending", ["csv", "parquet", "CSV"])
@pytest.mark.parametrize("rows", [(SOUND, BROKEN, FORMULA), ()], ids=["three", "none"])
def test_both_formats_give_back_what_they_got(tmp_path, ending, rows):
    path = tmp_path / "new" / f"manifest.{ending}"
    manifest = Manifest(rows)
    manifest.write(path)
    assert Manifest.read(path) == manifest
    assert [row.path for row in manifest.rows] == sorted(row.path for row in rows)
    assert list(path.parent.iterdir()) == [path]


def test_csv_is_for_other_programs_too(tmp_path):
    Manifest((SOUND,)).write(tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row)[:5] == ["path", "class", "part", "group", "bytes"]
    assert (row["class"], row["frames"], row["claimed_frames"]) == ("b", "187", "188")
    Manifest((FORMULA,)).write(tmp_path / "m.csv")
    assert "\n'=1+1.avi,'@b,''=c," in (tmp_path / "m.csv").read_text(), "nothing that a spreadsheet would compute"


def test_a_file_is_found_by_the_end_of_its_path(tmp_path):
    outer, inner = Row("c/v.avi"), Row("b/c/v.avi")
    manifest = Manifest((outer, inner, Row("w.avi")))
    assert manifest.find(tmp_path / "b" / "c" / "v.avi") is inner, "the longest ending counts"
    assert manifest.find("/elsewhere/c/v.avi") is outer
    assert manifest.find("c/v.avi") is outer
    assert manifest.find("/elsewhere/v.avi") is None
    assert manifest.find("xw.avi") is None


def test_rows_of_records_are_those_of_unchanged_files(tmp_path):
    paths = [tmp_path / name for name in ("1.avi", "2.avi", "3.avi")]
    for path in paths:
        path.write_text(path.name)
    records = [VideoRecord(path, 0) for path in paths]
    rows = [Row(path.name, bytes=5, mtime_ns=path.stat().st_mtime_ns) for path in paths]
    assert Manifest(tuple(rows)).rows_of(records[::-1]) == tuple(rows[::-1])
    with pytest.raises(DatasetError, match=r"1 of 3 videos are not in the manifest of 2 files, first .*2.avi"):
        Manifest((rows[0], rows[2])).rows_of(records)
    paths[1].write_text("longer")
    with pytest.raises(DatasetError, match=r"1 of 3 videos have another size or .* first .*2.avi"):
        Manifest(tuple(rows)).rows_of(records)
    paths[1].write_text("2.avi")
    os.utime(paths[1], ns=(1, 1))
    with pytest.raises(DatasetError, match="1 of 3 videos have another size or content"):
        Manifest(tuple(rows)).rows_of(records)
    rows[1] = replace(rows[1], sha256=hashlib.sha256(b"2.avi").hexdigest())
    assert Manifest(tuple(rows)).rows_of(records)[1] == rows[1], "a copy, with another time"
    paths[1].write_text("3.avi")
    with pytest.raises(DatasetError, match="1 of 3 videos have another size or content"):
        Manifest(tuple(rows)).rows_of(records)


def test_names_that_are_not_utf_8_have_a_row(tmp_path):
    name = os.fsdecode(b"a\xff.avi")
    assert name_of(name) == r"a\xff.avi"
    manifest = Manifest((Row(name_of(name)),))
    for ending in ("csv", "parquet"):
        manifest.write(tmp_path / f"m.{ending}")
        assert Manifest.read(tmp_path / f"m.{ending}").find(tmp_path / name) == manifest.rows[0]


def test_problems_and_duplicates_are_told_apart():
    rows = [Row(str(n), sha256=content, bytes=size) for n, (content, size) in enumerate(["x0", "y0", "x0", "z0", "y0"])]
    rows = [replace(row, bytes=9) for row in rows]
    empty = [Row(name, sha256="e3", bytes=0, problem="empty file") for name in ("5", "6")]
    manifest = Manifest((*rows, *empty, Row("7"), Row("8")))
    assert [[row.path for row in group] for group in manifest.duplicates] == [["0", "2"], ["1", "4"]]
    assert [row.path for row in manifest.problems] == ["5", "6"]


def test_what_is_no_manifest(tmp_path):
    with pytest.raises(DatasetError, match=r"no such manifest"):
        Manifest.read(tmp_path / "m.csv")
    with pytest.raises(DatasetError, match=r"end in .parquet or .csv. Received: .*m.txt"):
        Manifest.read(tmp_path / "m.txt")
    with pytest.raises(DatasetError, match=r"end in .parquet or .csv. Received: .*m.txt"):
        Manifest(()).write(tmp_path / "m.txt")
    assert not list(tmp_path.iterdir())

    (tmp_path / "other.csv").write_text("path,size\na.avi,3\n")
    with pytest.raises(DatasetError, match=r"other.csv: is not a manifest, it lacks the columns class, part, bytes"):
        Manifest.read(tmp_path / "other.csv")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(DatasetError, match=r"text.parquet: cannot be read as Parquet"):
        Manifest.read(tmp_path / "text.parquet")

    path = tmp_path / "m.csv"
    Manifest((SOUND,)).write(path)
    whole = path.read_text()
    path.write_text(whole.replace(",320,", ",wide,"))
    with pytest.raises(DatasetError, match=r"m.csv, line 2: column width holds no int. Received: 'wide'"):
        Manifest.read(path)
    path.write_text(whole[: whole.rindex(",")] + "\n")
    with pytest.raises(DatasetError, match=r"m.csv, line 2: has too few columns"):
        Manifest.read(path)
    path.write_text(whole + whole.splitlines()[1] + "\n")
    with pytest.raises(DatasetError, match=r"names a file twice"):
        Manifest.read(path)


def test_a_parquet_column_of_another_kind_is_refused(tmp_path):
    import pyarrow
    import pyarrow.parquet

    Manifest((SOUND,)).write(tmp_path / "m.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "m.parquet")
    table = table.set_column(table.schema.get_field_index("bytes"), "bytes", pyarrow.array(["many"]))
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match=r"column bytes holds no int. Received: 'many'"):
        Manifest.read(tmp_path / "m.parquet")


def test_a_parquet_column_whose_name_is_damaged_is_told(tmp_path):
    Manifest((SOUND,)).write(tmp_path / "m.parquet")
    content = (tmp_path / "m.parquet").read_bytes()
    (tmp_path / "m.parquet").write_bytes(content.replace(b"sha256", b"\xd0ha256"))
    with pytest.raises(DatasetError, match=r"m.parquet: cannot be read as Parquet"):
        Manifest.read(tmp_path / "m.parquet")


def test_csv_that_a_spreadsheet_saved_is_read(tmp_path):
    """Excel writes a byte order mark and other line breaks."""
    path = tmp_path / "m.csv"
    Manifest((SOUND,)).write(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert Manifest.read(path) == Manifest((SOUND,))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_of_before_there_were_groups_is_read(tmp_path, ending):
    import pandas

    path = tmp_path / f"m.{ending}"
    Manifest((SOUND,)).write(path)
    if ending == "csv":
        table = pandas.read_csv(path, dtype=str).drop(columns="group")
        table.to_csv(path, index=False)
    else:
        table = pandas.read_parquet(path).drop(columns="group")
        table.to_parquet(path, index=False)
    assert Manifest.read(path) == Manifest((replace(SOUND, group=""),))


def test_a_parquet_text_that_is_damaged_is_told(tmp_path):
    import pyarrow
    import pyarrow.parquet

    Manifest((SOUND,)).write(tmp_path / "m.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "m.parquet")
    place = table.schema.get_field_index("path")
    damaged = pyarrow.array([b"\xd0"], pyarrow.binary()).cast(pyarrow.string(), safe=False)
    pyarrow.parquet.write_table(table.set_column(place, "path", damaged), tmp_path / "m.parquet")
    with pytest.raises(DatasetError, match=r"m.parquet: cannot be read as Parquet"):
        Manifest.read(tmp_path / "m.parquet")


def test_what_cannot_be_read_is_told_of_each_video(tmp_path):
    records = [VideoRecord(tmp_path / name, 0) for name in ("a.avi", "b.avi", "a.avi")]
    rows = []
    for record, problem in zip(records[:2], ("", "not a video"), strict=True):
        record.path.write_bytes(b"a")
        size, time = record.stamp()
        rows.append(Row(record.path.name, bytes=size, mtime_ns=time, problem=problem))
    assert Manifest(rows).problems_of(records) == {tmp_path / "b.avi": "not a video"}
