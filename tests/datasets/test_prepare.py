import csv
import errno
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, PreparedDataset, VideoRecord

# `har_tf.datasets.prepare` is the function; this is its module.
prepare_module = importlib.import_module("har_tf.datasets.prepare")
CLIP = {"num_frames": 3, "size": (16, 24)}


def prepare(dataset, out_dir, **changes):
    return datasets.prepare(dataset, out_dir, **{**CLIP, "workers": 0, **changes})


def everything_under(folder):
    return sorted(path.name for path in folder.rglob("*"))


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


def test_several_shards_and_processes_give_the_same_clips(with_broken, tmp_path, monkeypatch):
    dataset = datasets.load(with_broken)
    whole = prepare(dataset, tmp_path / "one")
    monkeypatch.setattr(prepare_module, "SHARD_BYTES", 4 * 3 * 16 * 24 * 3)
    shards = prepare(dataset, tmp_path / "many", workers=2)
    # 30 records in stretches of 4; the two that are broken leave their stretches shorter, not empty.
    assert len(list(shards.path.glob("*.tfrecord-*-of-00008"))) == 8
    np.testing.assert_array_equal(shards.read(range(28)), whole.read(range(28)))
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(str(shards.path)).info.splits["clips"]
    assert splits.shard_lengths == [4, 4, 3, 4, 4, 4, 4, 1]
    assert shards.skipped == whole.skipped


def test_a_stretch_without_a_readable_video_has_no_file(with_broken, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "SHARD_BYTES", 1)
    prepared = prepare(datasets.load(with_broken), tmp_path)
    assert len(list(prepared.path.glob("*.tfrecord-*-of-00028"))) == 28
    assert len(prepared.read(range(28))) == 28


def test_the_same_videos_make_the_same_bytes(miniature, tmp_path):
    first, second = (prepare(datasets.load(miniature), tmp_path / name) for name in "ab")
    assert first.path.parent.name == second.path.parent.name
    for file in first.path.glob("*.tfrecord*"):
        assert file.read_bytes() == (second.path / file.name).read_bytes()


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
    with pytest.raises(DatasetError, match=r"other.mp4 was not prepared"):
        prepared.subset([VideoRecord(miniature / "other.mp4", 0)])
    with pytest.raises(DatasetError, match=r"prepared for other classes"):
        prepared.subset(dataset.only(["Surfing", "Archery"]))


def test_a_second_run_reuses_it_and_changes_are_noticed(with_broken, tmp_path, monkeypatch):
    dataset = datasets.load(with_broken)
    first = prepare(dataset, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "_write", None)
        assert prepare(datasets.load(with_broken), tmp_path / "out").path == first.path
    others = [
        prepare(dataset, tmp_path / "out", **change).path
        for change in ({"size": (16, 16)}, {"num_frames": 2}, {"sampling": "dense"}, {"short": "wrap"})
    ]
    os.utime(with_broken / "Archery" / "v_Archery_g01_c01.mp4", ns=(1, 1))
    others.append(prepare(datasets.load(with_broken), tmp_path / "out").path)
    (with_broken / "Archery" / "v_Archery_g01_c02.mp4").unlink()
    others.append(prepare(datasets.load(with_broken), tmp_path / "out").path)
    assert len({first.path, *others}) == 7


def test_a_damaged_shard_is_noticed_and_prepared_anew(miniature, tmp_path):
    dataset = datasets.load(miniature)
    prepared = prepare(dataset, tmp_path)
    before = prepared.read([29])
    shard = next(prepared.path.glob("*.tfrecord*"))
    os.truncate(shard, shard.stat().st_size - 1)
    with pytest.raises(DatasetError, match=r"damaged: .* bytes. Expected"):
        PreparedDataset.open(prepared.path)
    np.testing.assert_array_equal(prepare(dataset, tmp_path).read([29]), before)
    again = PreparedDataset.open(prepared.path)
    os.truncate(shard, 100)
    with pytest.raises(DatasetError, match=r"ends within a clip"):
        again.read([29])


def test_moved_videos_and_clips_are_the_same_data(miniature, tmp_path):
    prepared = prepare(datasets.load(miniature), tmp_path / "a")
    shutil.copytree(miniature, tmp_path / "UCF-101")
    moved = datasets.load(tmp_path / "UCF-101")
    assert prepare(moved, tmp_path / "a").path == prepared.path
    assert prepare(moved, tmp_path / "a").record_paths[0] == moved.records[0].path
    shutil.move(prepared.path, tmp_path / "b")
    assert len(PreparedDataset.open(tmp_path / "b").read([3])) == 1


def test_a_full_disk_while_writing_leaves_nothing(miniature, tmp_path, monkeypatch):
    def full(self, *args, shard):
        if args[-1] == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, shard=shard)

    write = prepare_module._Writer.write
    monkeypatch.setattr(prepare_module._Writer, "write", full)
    with pytest.raises(DatasetError, match=r"the disk is full; 30 clips take 0.1 MB") as caught:
        prepare(datasets.load(miniature), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert everything_under(tmp_path / "out") == []


def test_too_small_a_disk_is_told_before_the_work(miniature, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(prepare_module, "_write", None)
    with pytest.raises(DatasetError, match=r"0.1 MB are needed for 30 clips of 3 x 16 x 24; 0.0 MB are free"):
        prepare(datasets.load(miniature), tmp_path / "out")


def test_a_place_that_cannot_be_written(miniature, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"file: cannot be written"):
        prepare(datasets.load(miniature), tmp_path / "file")


def test_wrong_arguments_come_before_the_work(miniature, tmp_path):
    dataset = datasets.load(miniature)
    for change in ({"num_frames": 0}, {"num_frames": None}, {"size": (16,)}, {"size": (0, 16)}):
        with pytest.raises(ValueError, match=r"Received"):
            prepare(dataset, tmp_path / "out", **change)
    for change in ({"sampling": "all"}, {"short": "cut"}):
        with pytest.raises(ValueError, match=next(iter(change.values()))):
            prepare(dataset, tmp_path / "out", **change)
    with pytest.raises(DatasetError, match=r"no video to prepare"):
        prepare(dataset.subset([]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_run_is_not_mistaken_for_good(miniature, tmp_path):
    script = (
        "import time, sys\n"
        "import importlib\n"
        "from har_tf import datasets\n"
        "module = importlib.import_module('har_tf.datasets.prepare')\n"
        "write = module._Writer.write\n"
        "def slow(self, *args, **kwargs):\n"
        "    write(self, *args, **kwargs)\n"
        "    print('one', flush=True)\n"
        "    time.sleep(60)\n"
        "module._Writer.write = slow\n"
        f"datasets.prepare(datasets.load({str(miniature)!r}), {str(tmp_path)!r}, 3, (16, 24), workers=0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (left,) = tmp_path.iterdir()
    assert ".part." in left.name
    prepared = prepare(datasets.load(miniature), tmp_path)
    assert len(prepared.read(range(30))) == 30
    assert [path.name for path in tmp_path.iterdir()] == [prepared.path.parent.name]


def test_the_work_of_a_run_that_goes_on_is_left_alone(miniature, tmp_path):
    dataset = datasets.load(miniature)
    name = prepare(dataset, tmp_path).path.parent.name
    shutil.rmtree(tmp_path / name)
    running = tmp_path / f".{socket.gethostname()}.{os.getppid()}.part.{name}"
    running.mkdir()
    prepare(dataset, tmp_path)
    assert running.exists()
