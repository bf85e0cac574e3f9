"""Prepared clips that a graph reads: those that Python reads, in the same order, and no damage goes unnoticed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from har_tf import datasets
from har_tf.datasets import ActionDataset, DatasetError, VideoRecord
from har_tf.pipeline import Augment, clips, errors_as_raised, reads_in_graph
from har_tf.store import features, shards
from har_tf.store.flow import flow_clips
from har_tf.store.in_graph import _records

FRAMES, SIZE = 3, (16, 24)
BYTES = FRAMES * 16 * 24 * 3
A_SHARD = 3


class Noise(VideoRecord):
    """Makes its clip up."""

    def read(self, num_frames, size, *_, **__):
        return np.random.default_rng(int(self.path.stem)).integers(0, 256, (num_frames, *size, 3), np.uint8)

    def content(self):
        return ""


def noise(count, first=0, name="noise"):
    # Names of different lengths: so are the records, and the starts of their pixels
    records = tuple(Noise(Path(f"{'0' * (n % 5) * 30}{n:02d}"), n % 2) for n in range(first, first + count))
    return ActionDataset(name, Path(), records, ("even", "odd"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", A_SHARD * BYTES)
        return datasets.prepare(noise(11), tmp_path_factory.mktemp("whole"), FRAMES, SIZE, workers=0)


@pytest.fixture
def prepared(whole, tmp_path):
    """Of its own files, which a test may damage."""
    return type(whole).open(shutil.copytree(whole.path, tmp_path / "copy"))


def elements(batches):
    return list(batches.as_numpy_iterator())


def same(first, second):
    for one, other in zip(elements(first), elements(second), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("skip", [0, 4])
def test_a_graph_reads_what_the_host_reads_in_the_same_order(whole, skip):
    augment = Augment(flip=0.5, crop=0.5, shift=0.2, frames=1, brightness=0.2, hue=0.1)
    for subset in (whole, whole.subset(noise(11).records[7:2:-1])):
        how = {"batch_size": 2, "training": True, "seed": 3, "augment": augment, "epochs": range(2, 5), "skip": skip}
        graph = clips(subset, **how, reading="graph")
        assert graph.cardinality() == clips(subset, **how).cardinality()
        same(graph, clips(subset, **how))
    same(clips(whole, 4, reading="graph"), clips(whole, 4))


def test_each_clip_is_read_once_to_be_checked_whatever_subsets_there_are(prepared, monkeypatch):
    read, seen = type(prepared).read, []
    monkeypatch.setattr(type(prepared), "read", lambda self, at: seen.extend(self._rows[at]) or read(self, at))
    records = noise(11).records
    for subset in (records[2:6], records[4:9], records[2:6], records):
        clips(prepared.subset(subset), 2, reading="graph")
    assert sorted(seen) == list(range(11)) and seen[:4] == [2, 3, 4, 5]


def test_nothing_calls_python(whole):
    def operations(batches):
        return str(tf.compat.v1.GraphDef.FromString(batches._as_serialized_graph().numpy()))

    assert "PyFunc" in operations(clips(whole, 4))
    assert "PyFunc" not in operations(clips(whole, 4, reading="graph"))


def flipped(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)


def test_a_flipped_bit_anywhere_in_a_record_names_file_clip_and_remedy(prepared):
    """In the length of the record, its checksum, before the pixels, in them, behind them, and in the last checksum."""
    graph = clips(prepared, 4, reading="graph")  # from here on nothing is compared but what is read
    for row in (0, 4, 10):
        file, offset = prepared._file_of(row), int(prepared._index["offset"][row])
        records = _records(prepared._shards, int(prepared._index["shard"][row]))
        start, length = records[np.searchsorted(records[:, 0], offset) - 1]
        assert start + 12 < offset < offset + BYTES < start + 12 + length
        end = offset + BYTES
        for place in (start, start + 8, offset - 3, offset, end - 1, end + 5, start + 12 + length):
            flipped(file, place)
            name = prepared.names[row]
            expected = rf"^{file}: damaged at the clip of {name}: .*differs from .*; `prepare` with .* mends it"
            with pytest.raises(DatasetError, match=expected) as raised, errors_as_raised():
                elements(graph)
            if offset <= place < offset + BYTES:
                with pytest.raises(DatasetError) as of_host, errors_as_raised():
                    elements(clips(prepared, 4))
                assert str(raised.value) == str(of_host.value)
            flipped(file, place)
    same(graph, clips(prepared, 4))


def test_a_shard_of_other_clips_is_noticed(prepared, tmp_path, monkeypatch):
    """Every record of it is sound, and as long."""
    monkeypatch.setattr(shards, "SHARD_BYTES", A_SHARD * BYTES)
    other = datasets.prepare(noise(11, 20, "other"), tmp_path / "other", FRAMES, SIZE, workers=0)
    graph = clips(prepared, 4, reading="graph")
    shutil.copy(other._shards.paths[1], prepared._shards.paths[1])
    with pytest.raises(DatasetError, match=rf"{prepared._shards.paths[1].name}: damaged"), errors_as_raised():
        elements(graph)
    with pytest.raises(DatasetError, match=r"damaged at the clip of .*differs from what was written"):
        clips(type(prepared).open(prepared.path), 4, reading="graph")


@pytest.mark.parametrize("left", [None, 0, BYTES // 2])
def test_a_file_that_is_gone_or_ends_too_early_is_named(prepared, left):
    graph, file = clips(prepared, 4, reading="graph"), prepared._shards.paths[0]
    file.unlink() if left is None else file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DatasetError, match=rf"^{file}: damaged at the clip of {prepared.names[0]}"), errors_as_raised():
        elements(graph)


def test_features_are_taken_from_memory(whole, tmp_path, monkeypatch):
    def encoder(backbone, size, *_, **__):
        import keras

        frames = keras.Input((size, size, 3), dtype="uint8")
        pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(frames))
        return keras.Model(frames, keras.layers.Dense(5)(pooled))

    monkeypatch.setattr(features, "frame_encoder", encoder)
    square = datasets.prepare(noise(11), tmp_path / "square", FRAMES, (16, 16), workers=0)
    store = features.extract(square, "MobileNet", None, tmp_path / "features")
    for part in (store, store.subset(noise(11).records[7:2:-1])):
        how = {"batch_size": 2, "training": True, "epochs": range(3), "skip": 3}
        same(features.batches(part, **how, reading="graph"), features.batches(part, **how))
    file = store.path / "features.npy"
    flipped(file, file.stat().st_size - 3)
    features.batches(store, 2, reading="graph")  # nothing is read again
    with pytest.raises(DatasetError, match=rf"^{file}: damaged at the clip of {store.names[-1]}"):
        features.batches(type(store).open(store.path), 2, reading="graph")


def test_what_python_makes_is_not_read_by_a_graph(whole, tmp_path):
    with pytest.raises(ValueError, match=r"prepare the videos first.*Received"):
        clips(noise(3), 2, reading="graph", num_frames=FRAMES, size=SIZE)
    with pytest.raises(ValueError, match=r"prepare the videos first.*Received"):
        clips(flow_clips(whole, tmp_path), 2, reading="graph")
    with pytest.raises(ValueError, match=r"'host' or by the 'graph'. Received: reading='remote'"):
        clips(whole, 2, reading="remote")


def test_on_a_tpu_the_graph_reads(whole, monkeypatch):
    """As far as that is seen without one: who reads hangs on the strategy that is set."""
    assert not reads_in_graph(None)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: object.__new__(tf.distribute.TPUStrategy))
    assert reads_in_graph(None)
    assert not reads_in_graph("host")
    with pytest.raises(ValueError, match="a TPU is given prepared clips of RGB: prepare the videos first"):
        clips(noise(3), 2, num_frames=FRAMES, size=SIZE)
