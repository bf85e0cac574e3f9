import csv
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from har_tf import datasets
from har_tf.audit.manifest import Manifest, Row
from har_tf.datasets import DatasetError, PreparedDataset, VideoRecord
from har_tf.files.whole import alone
from har_tf.store import prepare as prepare_module
from har_tf.store import shards
from har_tf.store.indexed import OpenFiles

CLIP = {"num_frames": 3, "size": (16, 24)}
CLIP_BYTES = 3 * 16 * 24 * 3


def prepare(dataset, out_dir, **changes):
    return datasets.prepare(dataset, out_dir, **{**CLIP, "workers": 0, **changes})


def everything_under(folder):
    return sorted(path.name for path in folder.rglob("*"))


def never(*args, **kwargs):
    raise AssertionError("nothing was to be decoded")


def contents(folder):
    """The bytes of every file by its path."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def four_a_shard(monkeypatch):
    """30 records become shards of 4, 4, 4, 4, 4, 4, 4 and 2."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * CLIP_BYTES)


@pytest.fixture
def with_broken(miniature, tmp_path):
    """A copy of the miniature with two files that are no videos."""
    root = shutil.copytree(miniature, tmp_path / "broken" / "UCF-101")
    (root / "Biking" / "v_Biking_g01_c01.mp4").write_bytes(b"not a video at all")
    (root / "Surfing" / "v_Surfing_g05_c02.mp4").write_bytes(b"")
    return root


def test_tfds_reads_what_was_prepared(miniature, tmp_path, greys):
    import tensorflow_datasets as tfds

    dataset = datasets.load(miniature)
    prepared = prepare(dataset, tmp_path)
    builder = tfds.builder_from_directory(str(prepared.path))
    assert builder.info.features["label"].names == list(dataset.class_names)
    assert builder.info.splits["clips"].num_examples == 30
    examples = list(tfds.as_numpy(builder.as_dataset(split="clips")))
    assert len(examples) == 30
    for example in examples:
        position = example["index"]
        record = dataset.records[position]
        assert example["path"].decode() == record.path.relative_to(miniature).as_posix()
        assert (example["label"], example["group"].decode()) == (record.label, record.group)
        assert example["clip"].shape == (3, 16, 24, 3)
        assert abs(int(example["clip"].mean()) - greys[position]) <= 2
        np.testing.assert_array_equal(example["clip"], prepared.read([position])[0])


def test_clips_are_those_of_the_reader_in_any_order(miniature, tmp_path):
    dataset = datasets.load(miniature)
    prepared = prepare(dataset, tmp_path)
    assert (len(prepared), prepared.num_frames, prepared.size) == (30, 3, (16, 24))
    assert prepared.class_names == dataset.class_names
    assert prepared.record_paths == [record.path for record in dataset.records]
    assert prepared.groups == [record.group for record in dataset.records]
    np.testing.assert_array_equal(prepared.labels, dataset.labels)
    order = [29, 0, 7, 7]
    expected = [dataset.records[position].read(**CLIP) for position in order]
    np.testing.assert_array_equal(prepared.read(order), expected)


def test_several_shards_give_the_same_clips(with_broken, tmp_path, monkeypatch):
    dataset = datasets.load(with_broken)
    whole = prepare(dataset, tmp_path / "one")
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * CLIP_BYTES)
    many = prepare(dataset, tmp_path / "many")
    # 30 records in stretches of 4; the two that are broken leave their stretches shorter, not empty.
    assert len(list(many.path.glob("*.tfrecord-*-of-00008"))) == 8
    np.testing.assert_array_equal(many.read(range(28)), whole.read(range(28)))
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(str(many.path)).info.splits["clips"]
    assert splits.shard_lengths == [4, 4, 3, 4, 4, 4, 4, 1]
    assert many.skipped == whole.skipped


def test_any_number_of_processes_makes_the_same_bytes(with_broken, tmp_path, four_a_shard):
    here, apart = (prepare(datasets.load(with_broken), tmp_path / str(n), workers=n) for n in (0, 2))
    assert here.path.parent.name == apart.path.parent.name
    assert contents(here.path) == contents(apart.path)


def test_shards_are_small_unless_there_would_be_too_many():
    assert shards.shard_length(13_320, 10 * 128 * 192 * 3) == 91  # 64 MiB
    assert shards.shard_length(10, 2**30) == 1
    assert shards.shard_length(8192, 2**26) == 2  # 4096 shards


def test_a_shard_without_a_readable_video_is_an_empty_file(with_broken, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    prepared = prepare(datasets.load(with_broken), tmp_path)
    files = sorted(prepared.path.glob("*.tfrecord-*-of-00030"))
    # Ten videos a class in the order of their names: Biking's first is the 10th, Surfing's last the 29th.
    assert [number for number, file in enumerate(files) if file.stat().st_size == 0] == [10, 29]
    assert len(prepared.read(range(28))) == 28
    import tensorflow_datasets as tfds

    examples = tfds.as_numpy(tfds.builder_from_directory(str(prepared.path)).as_dataset(split="clips"))
    assert sorted(example["index"] for example in examples) == [*range(10), *range(11, 29)]


def test_more_shards_than_stay_open_are_read_all_the_same(miniature, tmp_path, four_a_shard, monkeypatch):
    monkeypatch.setattr("har_tf.store.indexed.MAX_OPEN", 2)
    prepared = prepare(datasets.load(miniature), tmp_path)
    before = len(list(Path("/proc/self/fd").glob("*")))
    clips = prepared.read([*range(30), *range(30)])
    np.testing.assert_array_equal(clips[:30], clips[30:])
    np.testing.assert_array_equal(clips[29], datasets.load(miniature).records[29].read(**CLIP))
    if before:  # where the system says which files are open
        assert len(list(Path("/proc/self/fd").glob("*"))) == before + 2


def test_broken_videos_are_listed_and_the_rest_goes_on(with_broken, tmp_path):
    dataset = datasets.load(with_broken)
    prepared = prepare(dataset, tmp_path / "out")
    assert len(prepared) == 28
    assert [skip.path.name for skip in prepared.skipped] == ["v_Biking_g01_c01.mp4", "v_Surfing_g05_c02.mp4"]
    with (prepared.path / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["Biking/v_Biking_g01_c01.mp4", "Surfing/v_Surfing_g05_c02.mp4"]
    assert all(row["reason"] for row in rows)
    # A view leaves them out too.
    biking = prepared.subset(record for record in dataset.records if record.label == 1)
    assert len(biking) == 9
    assert prepared.path == prepare(dataset, tmp_path / "out").path


def test_nothing_readable_is_an_error_and_leaves_nothing(empty_videos, tmp_path):
    dataset = datasets.load(empty_videos("ucf", {"a": ["a.mp4"], "b": ["b.mp4"]}))
    with pytest.raises(DatasetError, match=r"none of 2 videos can be read. First: .*a.mp4: ") as caught:
        prepare(dataset, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert everything_under(tmp_path / "out") == []


def test_a_view_has_the_records_in_their_order(miniature, tmp_path):
    dataset = datasets.load(miniature)
    prepared = prepare(dataset, tmp_path)
    train, test = (prepared.subset(part) for part in dataset.split("group"))
    assert len(train) + len(test) == 30
    assert not set(train.record_paths) & set(test.record_paths)
    assert set(train.groups).isdisjoint(test.groups)
    few = prepared.subset([dataset.records[12], dataset.records[3]])
    np.testing.assert_array_equal(few.read([0, 1]), prepared.read([12, 3]))
    assert few.labels.tolist() == [1, 0]
    assert few.subset([dataset.records[3]]).record_paths == [dataset.records[3].path]
    with pytest.raises(DatasetError, match=r"other.mp4 is not among the videos"):
        prepared.subset([VideoRecord(miniature / "other.mp4", 0)])
    with pytest.raises(DatasetError, match=r"made for other classes"):
        prepared.subset(dataset.only(["Surfing", "Archery"]))


def test_a_second_run_reuses_it_and_changes_are_noticed(with_broken, tmp_path, monkeypatch):
    dataset = datasets.load(with_broken)
    first = prepare(dataset, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_write_here", never)
        assert prepare(datasets.load(with_broken), tmp_path / "out").path == first.path
    others = [
        prepare(dataset, tmp_path / "out", **change).path
        for change in (
            {"size": (16, 16)},
            {"num_frames": 2},
            {"sampling": "dense"},
            {"short": "wrap"},
            {"fit": "crop"},
            {"by": "time"},
        )
    ]
    shutil.copy(with_broken / "Biking" / "v_Biking_g02_c01.mp4", with_broken / "Archery" / "v_Archery_g01_c01.mp4")
    others.append(prepare(datasets.load(with_broken), tmp_path / "out").path)
    (with_broken / "Archery" / "v_Archery_g01_c02.mp4").unlink()
    others.append(prepare(datasets.load(with_broken), tmp_path / "out").path)
    assert len({first.path, *others}) == 9


def test_a_damaged_shard_is_noticed_and_prepared_anew(miniature, tmp_path):
    dataset = datasets.load(miniature)
    prepared = prepare(dataset, tmp_path)
    before = prepared.read([29])
    shard = next(prepared.path.glob("*.tfrecord*"))
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(DatasetError, match=r"damaged one: .* bytes. Expected"):
        PreparedDataset.open(prepared.path)
    np.testing.assert_array_equal(prepare(dataset, tmp_path).read([29]), before)
    again = PreparedDataset.open(prepared.path)
    os.truncate(shard, 100)
    with pytest.raises(DatasetError, match=r"tfrecord-.* clip of Surf.*: it ends before the clip does; `prepare` w"):
        again.read([29])
    shard.unlink()
    with pytest.raises(DatasetError, match=r"tfrecord-.* clip of Surf.*: No such file or directory; `prepare` with"):
        PreparedDataset.read(replace(again, _shards=OpenFiles([shard])), [29])


def test_moved_videos_and_clips_are_the_same_data(miniature, tmp_path):
    prepared = prepare(datasets.load(miniature), tmp_path / "a")
    shutil.copytree(miniature, tmp_path / "UCF-101")
    moved = datasets.load(tmp_path / "UCF-101")
    assert prepare(moved, tmp_path / "a").path == prepared.path
    assert prepare(moved, tmp_path / "a").record_paths[0] == moved.records[0].path
    shutil.move(prepared.path, tmp_path / "b")
    assert len(PreparedDataset.open(tmp_path / "b").read([3])) == 1


def test_a_full_disk_keeps_what_is_finished(miniature, tmp_path, four_a_shard, monkeypatch):
    decoded = []

    def full(clip, item):
        decoded.append(item.position)
        if item.position == 9 and decoded.count(9) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return serialise(clip, item)

    serialise = shards._serialise
    monkeypatch.setattr(shards, "_serialise", full)
    with pytest.raises(
        DatasetError, match=r"the disk is full; 30 clips of 3 x 16 x 24 take 134.4 kB.*stays in .*\.work"
    ) as caught:
        prepare(datasets.load(miniature), tmp_path / "out")
    assert "\n" not in str(caught.value)
    prepared = prepare(datasets.load(miniature), tmp_path / "out")
    # Two shards of four were finished; the third is begun anew.
    assert decoded == [*range(10), *range(8, 30)]
    assert everything_under(tmp_path / "out") == sorted([prepared.path.parent.name, "1.0.0", *contents_of(prepared)])


def contents_of(prepared):
    return [path.name for path in prepared.path.iterdir()]


def test_too_small_a_disk_is_told_before_the_work(miniature, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(prepare_module, "_write_here", never)
    with pytest.raises(DatasetError, match=r"134.4 kB are needed for 30 clips of 3 x 16 x 24; 1.0 kB are free"):
        prepare(datasets.load(miniature), tmp_path / "out")
    assert everything_under(tmp_path / "out") == []


def test_a_place_that_cannot_be_written(miniature, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"Received: out_dir=gs://bucket/x"):
        prepare(datasets.load(miniature), "gs://bucket/x")
    with pytest.raises(DatasetError, match=r"x.*: TensorFlow writes to folders whose names are UTF-8"):
        prepare(datasets.load(miniature), os.fsdecode(b"x\xff"))
    with pytest.raises(DatasetError, match=r"file: cannot be written"):
        prepare(datasets.load(miniature), tmp_path / "file")


def test_wrong_arguments_come_before_the_work(miniature, tmp_path):
    dataset = datasets.load(miniature)
    wrong = (
        {"num_frames": 0},
        {"num_frames": None},
        {"size": (16,)},
        {"size": (0, 16)},
        {"workers": -1},
        {"timeout": 0},
    )
    for change in wrong:
        with pytest.raises(ValueError, match=r"Received"):
            prepare(dataset, tmp_path / "out", **change)
    for change in ({"sampling": "all"}, {"short": "cut"}, {"fit": "pad"}):
        with pytest.raises(ValueError, match=next(iter(change.values()))):
            prepare(dataset, tmp_path / "out", **change)
    with pytest.raises(DatasetError, match=r"no video to prepare"):
        prepare(dataset.subset([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Imports what takes seconds once, then lives as often as it is asked to: a line of stdin is where to die, or nothing.
LIVES = """
import os, signal, sys, time
from pathlib import Path
import tensorflow
import tensorflow_datasets
from har_tf import datasets
from har_tf.store import shards

root, out, log = sys.argv[1:]
shards.SHARD_BYTES = 4 * 3 * 16 * 24 * 3
decode = shards.decode

def slow(task):
    with open(log, "a") as file:
        file.write(task[0].path.name + "\\n")
    time.sleep(0.01)
    return decode(task)

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

shards.decode = slow
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr
        match line.strip():
            case "before the move":
                Path.rename = die
            case "after the move":
                rename = Path.rename
                Path.rename = lambda path, new: (rename(path, new), die())
        datasets.prepare(datasets.load(root), out, 3, (16, 24), workers=0)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_killed_again_and_again_it_ends_with_the_same_bytes(with_broken, tmp_path, four_a_shard):
    expected = prepare(datasets.load(with_broken), tmp_path / "expected")
    out, log, chance = tmp_path / "out", tmp_path / "log", random.Random(0)
    log.touch()
    lives = subprocess.Popen(
        [sys.executable, "-c", LIVES, str(with_broken), str(out), str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def live(where=""):
        print(where, file=lives.stdin, flush=True)
        return int(lives.stdout.readline())

    def status():
        return int(lives.stdout.readline())

    def decoded():
        return len(log.read_text().splitlines())

    with lives:
        for _ in range(4):
            child, enough = live(), decoded() + chance.randint(3, 8)
            while decoded() < enough:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.02)
            os.kill(child, signal.SIGKILL)
            assert status() == signal.SIGKILL
            assert not (out / expected.path.parent.name).exists()
        live("before the move")
        assert status() == signal.SIGKILL
        # A kill costs the shard in work, four videos, and not one more.
        assert 30 < decoded() <= 30 + 4 * 4
        once = decoded()
        live("after the move")
        assert status() == signal.SIGKILL
        live()
        assert status() == 0
        assert decoded() == once
        lives.stdin.close()
    assert contents(out / expected.path.parent.name / "1.0.0") == contents(expected.path)
    assert [path.name for path in out.iterdir()] == [expected.path.parent.name]


def test_damage_to_a_finished_shard_is_mended_by_the_next_run(miniature, tmp_path, four_a_shard, monkeypatch):
    dataset = datasets.load(miniature)
    expected = contents(prepare(dataset, tmp_path / "expected").path)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(prepare_module, "_write_metadata", lambda *args: 1 / 0)
        prepare(dataset, tmp_path / "out")
    (work,) = (tmp_path / "out").glob(".*.work")
    files = sorted((work / "1.0.0").glob("*.tfrecord-*"))
    os.truncate(files[1], 100)
    with files[3].open("r+b") as file:
        file.seek(500)
        file.write(b"x")
    files[5].unlink()
    (work / "notes" / "00006.json").write_text('{"size": 1')
    again = []
    decode = shards.decode
    monkeypatch.setattr(shards, "decode", lambda task: (again.append(task[0].path), decode(task))[1])
    prepared = prepare(dataset, tmp_path / "out")
    # Of the fourth shard only the first clip is damaged; of the others nothing is left, or nothing is known.
    assert again == [dataset.records[i].path for i in (4, 5, 6, 7, 12, 20, 21, 22, 23, 24, 25, 26, 27)]
    assert contents(prepared.path) == expected


def flip(file, place, bit=7):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def places(prepared, row):
    """(file, first byte, first byte behind) of a clip's pixels."""
    with np.load(prepared.path / "index.npz") as index:
        file = sorted(prepared.path.glob("*.tfrecord-*"))[index["shard"][row]]
        return file, int(index["offset"][row]), int(index["offset"][row]) + CLIP_BYTES


def test_a_flipped_bit_is_found_when_its_clip_is_read(miniature, tmp_path, four_a_shard):
    prepared = prepare(datasets.load(miniature), tmp_path)
    before, rng = prepared.read(range(30)), random.Random(0)
    for row in (0, 6, 29):
        file, first, end = places(prepared, row)
        for place in (first, end - 1, rng.randrange(first, end)):
            flip(file, place, bit := rng.randrange(8))
            name = prepared.record_paths[row].relative_to(miniature).as_posix()
            with pytest.raises(
                DatasetError,
                match=rf"^{file}: damaged at the clip of {name}: differs .*; `prepare` with the .* mends it",
            ):
                PreparedDataset.open(prepared.path).read([row])
            with pytest.raises(DatasetError, match=name):
                prepared.read([row])
            others = [n for n in range(30) if n != row]
            np.testing.assert_array_equal(prepared.read(others), before[others])
            flip(file, place, bit)
    np.testing.assert_array_equal(prepared.read(range(30)), before)


@pytest.mark.parametrize(
    "metadata", [None, "index.npz", "prepared.json", "skipped.csv", "features.json", "shards.jsonl"]
)
def test_preparing_over_damage_decodes_the_damaged_clips_again(
    with_broken, tmp_path, four_a_shard, caplog, monkeypatch, metadata
):
    dataset = datasets.load(with_broken)
    prepared = prepare(dataset, tmp_path / "out")
    expected = contents(prepared.path.parent)
    for row in (1, 2, 26):
        file, first, _ = places(prepared, row)
        flip(file, first + 100 * row)
    flip(places(prepared, 5)[0], 3)  # of the length of a TFRecord, no part of a clip
    names = [prepared.names[row] for row in (1, 2, 26)]
    if metadata is not None:
        flip(prepared.path / metadata, 40)
    decoded, decode = [], shards.decode
    monkeypatch.setattr(shards, "decode", lambda task: (decoded.append(task[0].name(dataset.root)), decode(task))[1])
    caplog.clear()
    mended = prepare(dataset, tmp_path / "out")
    assert decoded == names
    assert f"3 of 30 clips are made again, the others kept: {', '.join(names)}" in caplog.text
    assert contents(mended.path.parent) == expected
    assert [path.name for path in (tmp_path / "out").iterdir()] == [mended.path.parent.name]


def test_prepared_data_of_before_there_were_checksums_is_refused_and_told(miniature, tmp_path, caplog):
    dataset = datasets.load(miniature)
    old = tmp_path / "ucf_101_0123456789ab" / "1.0.0"
    old.mkdir(parents=True)
    (old / "prepared.json").write_text('{\n "format": 3,\n "fingerprint": "0123456789abcdef"\n}')
    with pytest.raises(
        DatasetError, match="data set of format 3, which has no checksums of its clips.*; `prepare` with"
    ):
        PreparedDataset.open(old)
    assert len(prepare(dataset, tmp_path)) == 30
    assert f"{old.parent}: of format 3, which has no checksums: prepared anew; it may be removed" in caplog.text


def test_two_at_a_time_do_the_work_once(miniature, tmp_path, caplog):
    dataset = datasets.load(miniature)
    name = prepare(dataset, tmp_path / "a").path.parent.name
    (tmp_path / "b").mkdir()
    with ThreadPoolExecutor(1) as pool:
        with alone(tmp_path / "b" / f".{name}.lock"):
            second = pool.submit(prepare, dataset, tmp_path / "b")
            while not caplog.records:
                time.sleep(0.001)
            assert f"worked on by process {os.getpid()} on" in caplog.text
            # The first is ready.
            shutil.copytree(tmp_path / "a" / name, tmp_path / "b" / name)
            at = (tmp_path / "b" / name / "1.0.0" / "index.npz").stat().st_mtime_ns
        assert second.result().path == tmp_path / "b" / name / "1.0.0"
    assert (tmp_path / "b" / name / "1.0.0" / "index.npz").stat().st_mtime_ns == at
    assert [path.name for path in (tmp_path / "b").iterdir()] == [name]


def test_work_on_other_settings_is_left_alone(miniature, tmp_path):
    other = tmp_path / ".ucf_101_0123456789ab.work"
    other.mkdir()
    prepare(datasets.load(miniature), tmp_path)
    assert other.exists()


@pytest.fixture
def manifest(with_broken):
    """What `check` would write about `with_broken`, and of one sound video that it is broken too."""
    rows = []
    for record in datasets.load(with_broken).records:
        size, time_ns = record.stamp()
        problem = "nothing but noise" if "broken" in record.path.name or "Archery_g02_c01" in record.path.name else ""
        content = "same" if "Archery_g03" in record.path.name else record.path.name
        rows.append(
            Row(record.path.relative_to(with_broken).as_posix(), bytes=size, mtime_ns=time_ns, sha256=content)
            if not problem
            else Row(record.path.relative_to(with_broken).as_posix(), bytes=size, mtime_ns=time_ns, problem=problem)
        )
    return Manifest(tuple(rows))


def test_a_manifest_tells_what_to_leave_out(with_broken, tmp_path, manifest, monkeypatch):
    dataset, decoded, decode = datasets.load(with_broken), [], shards.decode
    monkeypatch.setattr(shards, "decode", lambda task: (decoded.append(task[0].path.name), decode(task))[1])
    manifest.write(tmp_path / "manifest.csv")
    prepared = prepare(dataset, tmp_path / "out", manifest=tmp_path / "manifest.csv")
    left_out = {skip.path.name: skip.reason for skip in prepared.skipped}
    # The broken ones are unknown to this manifest, and are found by decoding as ever.
    assert list(left_out) == ["v_Archery_g02_c01.mp4", "v_Biking_g01_c01.mp4", "v_Surfing_g05_c02.mp4"]
    assert left_out["v_Archery_g02_c01.mp4"] == "nothing but noise"
    assert len(decoded) == 29
    assert "v_Archery_g02_c01.mp4" not in decoded
    assert "v_Archery_g03_c02.mp4" in decoded
    assert prepare(dataset, tmp_path / "out").path != prepared.path
    fewer = prepare(dataset, tmp_path / "out", manifest=manifest, drop_duplicates=True)
    assert {skip.path.name: skip.reason for skip in fewer.skipped} == left_out | {
        "v_Archery_g03_c02.mp4": "the same content as Archery/v_Archery_g03_c01.mp4"
    }
    with pytest.raises(ValueError, match="drop_duplicates=True, manifest=None"):
        prepare(dataset, tmp_path / "out", drop_duplicates=True)


def test_a_manifest_without_problems_changes_nothing(miniature, tmp_path):
    dataset = datasets.load(miniature)
    rows = [
        Row(record.name(miniature), bytes=record.stamp()[0], mtime_ns=record.stamp()[1]) for record in dataset.records
    ]
    assert prepare(dataset, tmp_path, manifest=Manifest(tuple(rows))).path == prepare(dataset, tmp_path).path


def test_a_manifest_of_other_videos_is_an_error_before_the_work(with_broken, tmp_path, manifest):
    dataset = datasets.load(with_broken)
    with pytest.raises(DatasetError, match=r"1 of 30 videos are not in the manifest.*v_Archery_g01_c01.mp4"):
        prepare(dataset, tmp_path / "out", manifest=Manifest(manifest.rows[1:]))
    (with_broken / "Biking" / "v_Biking_g02_c01.mp4").write_bytes(b"another")
    with pytest.raises(DatasetError, match=r"1 of 30 videos have another.*v_Biking_g02_c01.mp4"):
        prepare(dataset, tmp_path / "out", manifest=manifest)
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_utf8_are_kept(miniature, tmp_path):
    root = shutil.copytree(miniature, tmp_path / "UCF-101")
    odd = os.fsdecode(b"v_Archery_g01_c01_\xff.mp4")
    (root / "Archery" / "v_Archery_g01_c01.mp4").rename(root / "Archery" / odd)
    dataset = datasets.load(root)
    (record,) = (record for record in dataset.records if record.path.name == odd)
    prepared = prepare(dataset, tmp_path / "out")
    assert prepared.subset([record]).record_paths == [record.path]
    np.testing.assert_array_equal(prepared.subset([record]).read([0])[0], record.read(**CLIP))


@pytest.mark.parametrize("place", ["", "prepared", "Biking/deep", "../other/../UCF-101/prepared"])
def test_output_in_the_data_folder_is_refused_before_the_work(with_broken, place):
    before = everything_under(with_broken)
    with pytest.raises(DatasetError, match=r"lies in the folder of the videos"):
        prepare(datasets.load(with_broken), with_broken / place)
    assert everything_under(with_broken) == before


def test_output_that_a_link_leads_into_the_data_folder_is_refused(with_broken, tmp_path):
    (tmp_path / "link").symlink_to(with_broken)
    with pytest.raises(DatasetError, match=r"link/out: lies in the folder of the videos"):
        prepare(datasets.load(with_broken), tmp_path / "link" / "out")


def test_the_log_counts_duplicates_apart_from_problems(with_broken, tmp_path, manifest, caplog):
    prepared = prepare(datasets.load(with_broken), tmp_path / "out", manifest=manifest, drop_duplicates=True)
    assert f"{prepared.path / 'skipped.csv'}: of 30 videos " in caplog.text
    assert "4 left out: 3 with a problem, 1 of the same content as another" in caplog.text
