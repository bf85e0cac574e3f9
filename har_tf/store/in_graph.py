"""Prepared clips read by TensorFlow's operations alone, for devices that no Python of this process can feed.

`PreparedDataset.read`, in Python, takes a quarter of the time; but a graph on the host of a TPU cannot call it.
Here a clip is a TFRecord that is read where it starts. TensorFlow has no operation for the checksums of the index
(XXH3), so every clip is read once by Python, compared with the index, and its FarmHash64 kept in memory: that is what
the operations compare it with whenever they read it. TFRecord's own CRC32C is compared as well.
"""

import numpy as np
import tensorflow as tf

from har_tf.progress import progress
from har_tf.store.indexed import IndexedClips, OpenFiles

_FRAME = 12  # bytes of a TFRecord before what it holds: its length and a checksum of that
_TOGETHER = 8  # clips in memory while their fingerprints are computed


class ClipsInGraph:
    """The clips of a `PreparedDataset` as operations of a graph.

    Making one reads those of the clips that none was made of before, by this process, of any subset.

    Args:
        prepared: clips of RGB, or some of them.

    Raises:
        DatasetError: a clip is not what was written.
    """

    def __init__(self, prepared: IndexedClips):
        rows, index, files = prepared._rows, prepared._index, prepared._shards
        self.shape = prepared.shape
        self._bytes = int(np.prod(self.shape))
        shards, offsets = index["shard"][rows], index["offset"][rows]
        starts, lengths = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.int64)  # -1: no record is so long
        for shard in np.unique(shards).tolist():
            records = _records(files, shard)
            here = np.flatnonzero(shards == shard)
            which = np.searchsorted(records[:, 0], offsets[here], "right") - 1
            starts[here], lengths[here] = records[which].T
        self._files = tf.constant([str(files.paths[shard]) for shard in shards.tolist()])
        self._starts, self._lengths = tf.constant(starts), tf.constant(lengths, tf.int32)
        self._pixels = tf.constant(offsets - starts - _FRAME)
        self._fingerprints = tf.constant(_fingerprints(prepared))

    def records(self, order: tf.Tensor) -> tf.data.Dataset:
        """One element: the records of (B,) positions, as (B,) strings; empty ones where they cannot be read."""
        places = tf.gather(self._files, order), tf.gather(self._starts, order)
        records = tf.data.Dataset.from_tensor_slices(places).flat_map(_record).batch(tf.size(order, tf.int64))
        return records.map(lambda record, _: record)

    def clips(self, records: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(uint8 (B, T, H, W, 3) clips, (B,) whether they are what was written) of (B,) records at (B,) positions."""
        whole = tf.equal(tf.strings.length(records), tf.gather(self._lengths, order))
        start = tf.where(whole, tf.gather(self._pixels, order), 0)
        pixels = tf.strings.substr(records, start, tf.where(whole, tf.constant(self._bytes, tf.int64), 0))
        flat = tf.io.decode_raw(pixels, tf.uint8, fixed_length=self._bytes)
        same = tf.reduce_all(tf.equal(tf.fingerprint(flat), tf.gather(self._fingerprints, order)), axis=1)
        return tf.reshape(flat, (-1, *self.shape)), whole & same


def _record(file: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
    """(record that starts at a place in a file, 0); an empty string where there is none or its CRC32C differs."""
    records = tf.raw_ops.TFRecordDatasetV2(filenames=[file], compression_type="", buffer_size=0, byte_offsets=[start])
    records = tf.data.experimental.from_variant(records, tf.TensorSpec((), tf.string))
    # The range is what ends: a file that is not there would be tried again and again.
    record = tf.data.Dataset.zip((records, tf.data.Dataset.range(1))).ignore_errors()
    return record.concatenate(tf.data.Dataset.from_tensors(("", tf.constant(0, tf.int64)))).take(1)


def _records(files: OpenFiles, number: int) -> np.ndarray:
    """int64 (records, 2): where each record of a TFRecord file starts, and how many bytes it holds.

    In a damaged file they end where the damage is: no clip behind it will be found to be what was written.
    """
    found, start, size = [], 0, files.paths[number].stat().st_size
    length = np.zeros(1, np.uint64)
    while start + _FRAME < size:
        files.read_into(length, number, start)
        found.append((start, min(int(length[0]), size)))
        start += _FRAME + found[-1][1] + 4
    return np.array(found, np.int64).reshape(-1, 2)


def _fingerprints(prepared: IndexedClips) -> np.ndarray:
    """uint8 (clips, 8): FarmHash64 of each clip, which is compared with the checksum of the index."""
    rows, known = prepared._rows.tolist(), prepared._fingerprints
    new = [position for position, row in enumerate(rows) if row not in known]
    with progress("checking", len(new), "clips") as advance:
        for start in range(0, len(new), _TOGETHER):
            positions = new[start : start + _TOGETHER]
            clips = prepared.read(positions)
            found = tf.fingerprint(clips.reshape(len(clips), -1)).numpy()
            known.update(zip((rows[position] for position in positions), found, strict=True))
            advance(len(clips))
    return np.array([known[row] for row in rows], np.uint8).reshape(-1, 8)
