"""The shards that prepared data is written in: each is on disk whole or not at all, whoever writes it.

A shard holds a fixed stretch of the records. It is a TFRecord file, and beside it, written last, a JSON file of notes:
what its size and checksum are, where every clip starts, the checksum of each, and what was skipped. The bytes depend on
the stretch alone, not on the process that writes it. So preparing may be interrupted at any time, may be spread over
processes and machines, and two that write the same shard do no harm. Of a damaged shard the clips that are sound are
kept, and the others decoded again.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord, relative
from har_tf.files.limits import MEMORY
from har_tf.files.whole import whole_file
from har_tf.files.workers import Failed, outcomes
from har_tf.store.checksums import checksum, checksum_of_file, sealed, unsealed
from har_tf.store.indexed import OpenFiles

SPLIT = "clips"
SHARD_BYTES = 2**26  # what a kill may cost
MAX_SHARDS = 4096  # of very large data sets the shards are larger


@dataclass(frozen=True)
class ClipSettings:
    """How a video becomes a clip; the arguments of `VideoRecord.read`."""

    num_frames: int
    size: tuple[int, int]
    sampling: str
    short: str
    fit: str = "stretch"
    by: str = "frame"

    @property
    def clip_bytes(self) -> int:
        return self.num_frames * self.size[0] * self.size[1] * 3


@dataclass(frozen=True)
class Item:
    """A record and its place in the prepared data.

    Args:
        record: without boxes and joints: they can be as large as clips, and decoding does not need them.
        position: among the records.
        name: `VideoRecord.name`.
        path: of the video, relative to the folder of the data set.
        problem: why it is left out without decoding it; None: it is not.
        kept: (offset of the pixels, checksum) of its sound clip in the damaged shard of before; None: there is none.
    """

    record: VideoRecord
    position: int
    name: str
    path: str
    problem: str | None
    kept: tuple[int, int] | None = None

    @property
    def decoded(self) -> bool:
        return self.problem is None and self.kept is None


@dataclass(frozen=True)
class Shard:
    """A stretch of the records and the files that it becomes."""

    file: Path
    notes: Path
    items: tuple[Item, ...]
    settings: ClipSettings

    @property
    def videos(self) -> int:
        """How many of the items are to be decoded."""
        return sum(item.decoded for item in self.items)

    @property
    def tasks(self) -> Iterator[tuple[VideoRecord, ClipSettings]]:
        """What `decode` takes, for every item that is to be decoded."""
        return ((item.record, self.settings) for item in self.items if item.decoded)


@dataclass(frozen=True)
class Notes:
    """What is known about a written shard.

    Args:
        size: of the TFRecord file, in bytes.
        checksum: of its bytes.
        rows: (offset of the pixels in the file, position among the records, checksum of the pixels) of every clip, in
            the order of the file.
        skipped: (position among the records, reason) of the others.
    """

    size: int
    checksum: int
    rows: list[tuple[int, int, int]]
    skipped: list[tuple[int, str]]

    @property
    def positions(self) -> list[int]:
        """Of all records of the shard, in order."""
        return sorted([*(position for _, position, _ in self.rows), *(position for position, _ in self.skipped)])


def shard_length(videos: int, clip_bytes: int) -> int:
    """How many of so many videos a shard holds."""
    return max(SHARD_BYTES // clip_bytes, -(-videos // MAX_SHARDS), 1)


def shards_of(
    dataset: ActionDataset, settings: ClipSettings, folder: Path, notes: Path, problems: dict[str, str]
) -> list[Shard]:
    """Cuts a data set into shards, with their TFRecord files in `folder` and their notes in `notes`.

    `problems` holds the names of the records that are left out without decoding them, with the reason.
    """
    # Fixed stretches of the records, also where a video cannot be read: it does not move the clips behind it.
    length = shard_length(len(dataset), settings.clip_bytes)
    starts = range(0, len(dataset), length)
    shards = []
    for number, start in enumerate(starts):
        items = []
        for position, record in enumerate(dataset.records[start : start + length], start):
            name = record.name(dataset.root)
            bare = replace(record, boxes=None, object_boxes=None, joints=None, tubes=())
            items.append(Item(bare, position, name, relative(record.path, dataset.root), problems.get(name)))
        # The name that TFDS expects.
        file = f"{dataset.name}-{SPLIT}.tfrecord-{number:05d}-of-{len(starts):05d}"
        shards.append(Shard(folder / file, notes / f"{number:05d}.json", tuple(items), settings))
    return shards


def decode(task: tuple[VideoRecord, ClipSettings]) -> np.ndarray:
    """The clip of a record, uint8 (T, H, W, 3)."""
    record, settings = task
    return record.read(**vars(settings), threads=1)  # the other cores have workers of their own


def decoded(shards: Sequence[Shard], workers: int | None, timeout: float | None) -> Iterator[np.ndarray | Failed]:
    """The clips of these shards in order, or `Failed`; `workers` and `timeout` as in `outcomes`."""
    tasks = (task for shard in shards for task in shard.tasks)
    memory = MEMORY + 4 * shards[0].settings.clip_bytes
    if type(shards[0].items[0].record) is not VideoRecord:
        memory = None  # it is read with TensorFlow, which takes what it likes
    return outcomes(decode, tasks, workers, timeout, memory)


def write_shard(shard: Shard, clips: Iterator[np.ndarray | Failed]) -> Notes:
    """Writes a shard and then its notes, both of them whole or not at all, and on the disk when this returns.

    Of `clips` as many are taken as there are `shard.tasks`. OSError where the disk is full or fails.
    """
    import tensorflow as tf

    rows, skipped, size = [], [], 0
    with whole_file(shard.file) as part:
        with as_os_error(part), tf.io.TFRecordWriter(str(part)) as file:
            for item in shard.items:
                if item.kept is not None:
                    clip = _clip_at(shard, *item.kept)
                else:
                    clip = next(clips) if item.decoded else Failed(item.problem)
                if isinstance(clip, Failed):
                    skipped.append((item.position, clip.reason))
                    continue
                example, start = _serialise(clip, item)
                file.write(example)
                # A TFRecord is its length (8 bytes), a checksum (4), the bytes, a checksum (4).
                rows.append((size + 12 + start, item.position, checksum(clip)))
                size += 12 + len(example) + 4
        written = part.stat().st_size
        if written != size:
            raise OSError(errno.EIO, f"{written} bytes arrived of {size}", str(part))
        notes = Notes(size, checksum_of_file(part), rows, skipped)
    with whole_file(shard.notes) as part:
        part.write_bytes(sealed(asdict(notes)))
    return notes


def notes_of(shard: Shard, checked: bool = True) -> Notes | None:
    """The notes of a shard that is complete; None for one that is not, or is damaged.

    Where it is not `checked`, its bytes are counted only, and not compared with the checksum.
    """
    try:
        notes = Notes(**unsealed(shard.notes.read_bytes()))
        whole = shard.file.stat().st_size == notes.size and notes.positions == [item.position for item in shard.items]
        return notes if whole and not (checked and checksum_of_file(shard.file) != notes.checksum) else None
    except (OSError, ValueError, TypeError):
        return None


def gather_notes(shards: Sequence[Shard], file: Path) -> None:
    """Moves the notes of all shards into one file, each twice, so that damage to a line costs nothing."""
    lines = [shard.notes.read_bytes() for shard in shards]
    with whole_file(file) as part:
        part.write_bytes(b"\n".join([*lines, *lines, b""]))
    shutil.rmtree(shards[0].notes.parent)


def spread_notes(shards: Sequence[Shard], file: Path) -> None:
    """The reverse of `gather_notes`, if there is such a file: the notes that are sound get files of their own."""
    of_position = {shard.items[0].position: shard for shard in shards}
    for line in file.read_bytes().splitlines() if file.exists() else ():
        with suppress(ValueError, TypeError):
            notes = Notes(**unsealed(line))
            shard = of_position.get(min(notes.positions))
            if shard is not None and not shard.notes.exists():
                with whole_file(shard.notes) as part:
                    part.write_bytes(line)


def mended(shard: Shard) -> Shard:
    """The shard as it is written again where it is damaged: clips that are sound are kept, by its notes."""
    try:
        notes = Notes(**unsealed(shard.notes.read_bytes()))
    except (OSError, ValueError, TypeError):
        return shard
    places = {position: (offset, expected) for offset, position, expected in notes.rows}
    skipped = dict(notes.skipped)

    def kept(item: Item) -> tuple[int, int] | None:
        try:
            _clip_at(shard, *places[item.position])
        except (KeyError, OSError):
            return None
        return places[item.position]

    def again(item: Item) -> Item:
        return replace(item, problem=skipped.get(item.position, item.problem), kept=kept(item))

    return replace(shard, items=tuple(map(again, shard.items)))


def _clip_at(shard: Shard, offset: int, expected: int) -> np.ndarray:
    """The pixels from an offset on, uint8 (bytes,); OSError where they are not those of this checksum."""
    clip = np.empty(shard.settings.clip_bytes, np.uint8)
    OpenFiles([shard.file]).read_into(clip, 0, offset)
    if checksum(clip) != expected:
        raise OSError(errno.EIO, f"differs from what was written, at byte {offset}", str(shard.file))
    return clip


def to_bytes(text: str) -> bytes:
    """Names as they are stored; those that are not UTF-8 on disk are kept as they are."""
    return text.encode("utf-8", "surrogateescape")


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """TensorFlow's file errors as the OSError that they were."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, error.message, str(path)) from error
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message, str(path)) from error


def _serialise(clip: np.ndarray, item: Item) -> tuple[bytes, int]:
    """(the tf.train.Example of a clip, the place in it where the pixels start)."""
    import tensorflow as tf

    def example(**features) -> bytes:
        # Sorted keys: the same bytes on every run, and the clip comes first.
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def number(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    pixels = clip.tobytes()
    others = {
        "group": text(to_bytes(item.record.group or "")),
        "index": number(item.position),
        "label": number(item.record.label),
        "path": text(to_bytes(item.name)),
    }
    whole = example(clip=text(pixels), **others)
    # The entries of the others stand behind the clip.
    rest = tf.train.Features(feature=others).ByteSize()
    start = len(whole) - rest - len(pixels)
    if whole[start : start + len(pixels)] != pixels:
        raise RuntimeError("protobuf does not put the clip first; its place in the file is not known")
    return whole, start


def index_of(shards: Sequence[Shard], notes: Sequence[Notes]) -> dict[str, np.ndarray]:
    """The columns of `index.npz`: one row a clip, in the order of the records."""
    rows = []
    for number, (shard, note) in enumerate(zip(shards, notes, strict=True)):
        first = shard.items[0].position
        for offset, position, pixels in note.rows:
            item = shard.items[position - first]
            group, name, path = to_bytes(item.record.group or ""), to_bytes(item.name), to_bytes(item.path)
            rows.append((number, offset, pixels, item.record.label, position, group, name, path))
    kinds = {"shard": np.int32, "offset": np.int64, "checksum": np.uint64, "label": np.int32, "index": np.int64}
    kinds |= {"group": np.bytes_, "name": np.bytes_, "path": np.bytes_}
    columns = zip(*rows, strict=True)
    return {key: np.array(column, kind) for (key, kind), column in zip(kinds.items(), columns, strict=True)}
