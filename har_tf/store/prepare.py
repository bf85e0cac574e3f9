"""Records → a TFDS data set of uint8 clips: decode every video once, train from it many times.

What is written is sharded TFRecord with TFDS's metadata, so that it serves without this project too:

    tfds.builder_from_directory(prepared.path).as_dataset(split="clips")

It holds every clip once, in the order of the records; the parts of a split are views of it (`subset`). The
folder is a store, see `har_tf.store.store`: named by a fingerprint of the videos and the settings, there when
everything in it is complete, taken up by the next run where one was interrupted.
"""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from har_tf import quiet
from har_tf.audit.manifest import Manifest
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.files.json_text import parse_json
from har_tf.names import csv_cell
from har_tf.progress import progress
from har_tf.store.indexed import check_system
from har_tf.store.prepared import SAME_CONTENT, PreparedDataset, left_out
from har_tf.store.shards import (
    SPLIT,
    ClipSettings,
    Shard,
    as_os_error,
    decoded,
    gather_notes,
    index_of,
    mended,
    notes_of,
    shards_of,
    spread_notes,
    write_shard,
)
from har_tf.store.store import Store
from har_tf.video import frame_indices
from har_tf.video.display import Target
from har_tf.video.sampling import check_by

VERSION = "1.0.0"  # TFDS wants the files in <name>/<version>
NOTES = "shards.jsonl"  # what is known about the shards, for mending

log = logging.getLogger(__name__)


def prepare(
    dataset: ActionDataset,
    out_dir: str | Path,
    num_frames: int = 10,
    size: tuple[int, int] = (128, 192),
    sampling: str = "uniform",
    short: str = "repeat_last",
    fit: str = "stretch",
    workers: int | None = None,
    timeout: float | None = 600,
    manifest: Manifest | str | Path | None = None,
    drop_duplicates: bool = False,
    beam: Sequence[str] | None = None,
    by: str = "frame",
) -> PreparedDataset:
    """Decodes the clips of a data set and writes them as a TFDS data set, or opens what was written before.

    Videos that are left out are listed, with the reason, in `skipped.csv` and in `PreparedDataset.skipped`.
    A changed video (by its content, see `content_of`), list of videos, or setting is prepared anew, into a folder of
    its own; where the videos lie, and what the path to them is, does not matter. A run that was killed is taken up by
    the next one, shard by shard, and ends with the same bytes; so does one with more or fewer workers. Of what was
    written before every byte is compared with its checksum, and damaged clips are decoded again. A second run of the
    same at the same time waits for the first.

    Args:
        dataset: the videos.
        out_dir: folder for prepared data sets, outside that of the videos; this one becomes
            `<name>_<fingerprint>/1.0.0` in it.
        num_frames, size, sampling, short, fit, by: as in `read_clip`, neither of the first two None; videos that are
            short under "error" are skipped.
        workers: decoding processes; None: one a core; 0: decode in this process.
        timeout: seconds after which a video is given up and skipped; None, or workers=0: never. Long enough for an
            hour of video: what is given up depends on the machine, the rest does not.
        manifest: of these videos, as `python -m har_tf check` writes it. The videos that have a problem in it are
            skipped, with that problem as the reason, without being decoded.
        drop_duplicates: whether of videos of the same content, by the manifest, only the first is kept.
        beam: options of an Apache Beam pipeline that does the work, such as `["--runner=PortableRunner", ...]`, see
            `har_tf.store.beam`; `workers` has no meaning then. None: this machine does it, without Beam.

    Raises:
        DatasetError: no video is readable, `out_dir` cannot be written, the disk is too small or gets full, the
            manifest is not one of these videos as they are now, or Beam is not installed or fails; or `out_dir` lies
            in the folder of the videos, or the system is Windows.
        ValueError: an argument is out of its range, or Beam does not know one of its options.

    Example:
        >>> prepared = prepare(dataset, "prepared", num_frames=16, size=(112, 112))
        >>> train = prepared.subset(dataset.split("group")[0])
    """
    check_system()
    if not dataset.records:
        raise DatasetError(f"{dataset.root}: no video to prepare")
    if num_frames is None or size is None:
        raise ValueError(f"Prepared clips have one length and one size. Received: {num_frames=}, {size=}")
    Target(size, fit)
    if num_frames * math.prod(size) * 3 >= 2**31:
        raise ValueError(f"Prepared clips are smaller than 2**31 bytes. Received: {num_frames=}, {size=}")
    check_by(by, sampling)
    frame_indices(10**6, num_frames, sampling, short=short)
    settings = ClipSettings(num_frames, tuple(size), sampling, short, fit, by)
    if re.match(r"\w\w+:/", str(out_dir)):
        raise DatasetError(f"Prepared data goes to a folder of a mounted file system. Received: out_dir={out_dir}")
    if any("\ud800" <= letter <= "\udfff" for letter in str(out_dir)):  # what a name of other bytes is read as
        raise DatasetError(f"{out_dir}: TensorFlow writes to folders whose names are UTF-8. Received: another out_dir")
    if Path(os.path.realpath(out_dir)).is_relative_to(os.path.realpath(dataset.root)):
        # A folder of class folders would have one class more the next time.
        raise DatasetError(
            f"{out_dir}: lies in the folder of the videos. Expected a folder for prepared data outside {dataset.root}"
        )
    if workers is not None and workers < 0:
        raise ValueError(f"workers must be None or at least 0. Received: workers={workers}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a positive number of seconds, or None. Received: timeout={timeout}")
    if drop_duplicates and manifest is None:
        raise ValueError("Duplicates are known from a manifest. Received: drop_duplicates=True, manifest=None")
    problems = {} if manifest is None else _problems(dataset, manifest, drop_duplicates)
    if beam is None:
        write = functools.partial(_write_here, workers=workers, timeout=timeout)
    else:
        from har_tf.store.beam import through_beam

        write = through_beam(beam, timeout)
    store = Store(out_dir, dataset.name, fingerprint_of(dataset, settings, problems), VERSION)
    prepared = store.open_or_fill(
        lambda place, check: PreparedDataset.open(place, dataset.root, check),
        lambda: _fill(store, dataset, settings, problems, write),
    )
    if prepared.skipped:
        log.warning("%s: of %d videos %s", prepared.path / "skipped.csv", len(dataset), left_out(prepared.skipped))
    return prepared


def fingerprint_of(dataset: ActionDataset, settings: ClipSettings, problems: dict[str, str]) -> str:
    """SHA-256 over names, labels, groups and contents of the videos, the class names and the settings."""
    digest = hashlib.sha256()
    # What is by frame keeps the fingerprint that it had before there was `by`.
    how = [value for name, value in asdict(settings).items() if (name, value) != ("by", "frame")]
    about = [PreparedDataset.format, *how, dataset.class_names, sorted(problems.items())]
    digest.update(json.dumps(about).encode())
    for record in dataset.records:
        line = [record.name(dataset.root), record.label, record.group, record.content()]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()


def _problems(dataset: ActionDataset, manifest: Manifest | str | Path, drop_duplicates: bool) -> dict[str, str]:
    """Names of the records to leave out without decoding them, and why."""
    if not isinstance(manifest, Manifest):
        manifest = Manifest.read(manifest)
    problems, first = {}, {}
    for record, row in zip(dataset.records, manifest.rows_of(dataset.records), strict=True):
        name = record.name(dataset.root)
        if row.problem:
            problems[name] = row.problem
        elif drop_duplicates and row.sha256:
            # Segments of one video are not duplicates of each other.
            same = first.setdefault((row.sha256, record.segment), name)
            if same != name:
                problems[name] = f"{SAME_CONTENT}{same}"
    return problems


def _write_here(
    shards: Sequence[Shard], advance: Callable[[int], None], workers: int | None, timeout: float | None
) -> None:
    """Writes shards one after the other, while processes of this machine decode what comes next."""

    def counted(clips: Iterator) -> Iterator:
        for clip in clips:
            yield clip
            advance(1)

    with closing(decoded(shards, workers, timeout)) as clips:
        clips = counted(clips)
        for shard in shards:
            write_shard(shard, clips)


def _fill(
    store: Store,
    dataset: ActionDataset,
    settings: ClipSettings,
    problems: dict[str, str],
    write: Callable[[Sequence[Shard], Callable[[int], None]], None],
) -> None:
    """Writes what is missing.

    `write` is given shards, and a function that it now and then tells the number of videos that were decoded.
    """
    quiet.import_tensorflow()  # late: what is wrong is told before
    for folder, version in _older(store.place.parents[1]):
        log.warning("%s: of format %s, which has no checksums: prepared anew; it may be removed", folder, version)
    dataset = replace(dataset, name=store.name)  # files that are kept hold it
    shards = shards_of(dataset, settings, store.parts, store.work / "notes", problems)
    spread_notes(shards, store.parts / NOTES)
    missing = [mended(shard) for shard in shards if notes_of(shard) is None]
    total = sum(shard.videos for shard in shards)
    to_do = [item.name for shard in missing for item in shard.items if item.decoded]
    files = {path for shard in shards for path in (shard.file, shard.notes)}
    size = " x ".join(map(str, (settings.num_frames, *settings.size)))
    store.begin(files, to_do, total, settings.clip_bytes, f"clips of {size}")
    if missing:
        with progress("preparing", total, "clips", total - len(to_do)) as advance:
            write(missing, advance)
    notes = []
    for shard in shards:
        notes.append(notes_of(shard, checked=False))  # its bytes were checked when it was written, or found
        if notes[-1] is None:
            raise OSError(errno.EIO, f"{shard.file.name} was written and is not there", str(shard.file))
    names = {item.position: item.name for shard in shards for item in shard.items}
    skipped = [(names[position], reason) for note in notes for position, reason in note.skipped]
    if len(skipped) == len(dataset):
        shutil.rmtree(store.work, ignore_errors=True)
        first = f"{dataset.root / skipped[0][0]}: {skipped[0][1]}"
        raise DatasetError(f"{dataset.root}: none of {len(dataset)} videos can be read. First: {first}")
    np.savez_compressed(store.parts / "index.npz", **index_of(shards, notes))
    with (store.parts / "skipped.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(["path", "reason"])
        table.writerows(map(csv_cell, row) for row in skipped)
    about = {
        "fingerprint": store.fingerprint,
        "name": dataset.name,
        "root": os.path.abspath(dataset.root),  # noqa: PTH100 - the records are named below the links
        "class_names": dataset.class_names,
        **asdict(settings),
    }
    _write_metadata(store.parts, dataset, settings, [len(note.rows) for note in notes])
    gather_notes(shards, store.parts / NOTES)
    checksums = {shard.file.name: note.checksum for shard, note in zip(shards, notes, strict=True)}
    PreparedDataset.describe(store.parts, about, checksums)


def _older(out_dir: Path) -> Iterator[tuple[Path, int]]:
    """(folder, format) of prepared data that an older version wrote, which nothing reads any more."""
    for path in sorted(out_dir.glob(f"[!.]*/{VERSION}/prepared.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):
            version = parse_json(path.read_bytes())["format"]
            if version < PreparedDataset.format:
                yield path.parents[1], version


def _write_metadata(folder: Path, dataset: ActionDataset, settings: ClipSettings, lengths: list[int]) -> None:
    import tensorflow_datasets as tfds

    clip = (settings.num_frames, *settings.size, 3)
    features = tfds.features.FeaturesDict(
        {
            "clip": tfds.features.Tensor(shape=clip, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES),
            "group": tfds.features.Text(doc="source of the video; empty: not known"),
            "index": tfds.features.Scalar(dtype=np.int64, doc="position among the records"),
            "label": tfds.features.ClassLabel(names=list(dataset.class_names)),
            "path": tfds.features.Text(
                doc="the video, relative to the folder of the data set; a segment ends in #t=<start>,<end>"
            ),
        }
    )
    split = tfds.core.SplitInfo(
        name=SPLIT,
        shard_lengths=lengths,
        num_bytes=sum(lengths) * settings.clip_bytes,
        filename_template=tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=dataset.name, split=SPLIT, filetype_suffix="tfrecord"
        ),
    )
    with as_os_error(folder):
        tfds.folder_dataset.write_metadata(
            data_dir=folder,
            features=features,
            split_infos=[split],
            version=VERSION,
            check_data=False,
            supervised_keys=("clip", "label"),
            description=f"{settings.sampling} clips of {dataset.name}, prepared by har_tf",
        )
