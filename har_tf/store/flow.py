"""Optical flow of prepared clips, computed once and read in place of their frames.

A folder holds the flow of every clip: `flow-00000.npz`, ... with some clips each, `index.npz` (label, group, name, path
and checksum of every clip), `flow.json` (what it was made of, and checksums of the files). It is a store, see
`har_tf.store.store`: named by a fingerprint of the prepared data and the method, there when it is complete, taken up
file by file where a run was killed, and clip by clip where one is damaged.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import relative
from har_tf.files.whole import whole_file
from har_tf.files.workers import available_cores
from har_tf.progress import progress
from har_tf.store.checksums import checksum, checksum_of_file
from har_tf.store.indexed import IndexedClips
from har_tf.store.prepared import PreparedDataset
from har_tf.store.store import Store
from har_tf.video.flow import encode, optical_flow

FILE_BYTES = 2**26  # what a kill may cost


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowClips(IndexedClips):
    """Clips of flow on disk, or some of them: what `PreparedDataset` is for RGB, see `IndexedClips`.

    Args:
        method: of `optical_flow`.
    """

    what: ClassVar[str] = "a folder of flow"
    format: ClassVar[int] = 2
    about: ClassVar[str] = "flow.json"
    remedy: ClassVar[str] = "`flow_clips` with the same settings mends it: it computes again what is damaged"
    channels: ClassVar[int] = 2  # pixels to the right and pixels down

    method: str
    _clips_a_file: int = field(repr=False)

    @classmethod
    def _fields(cls, path: Path, root: Path, about: dict, clips: int) -> dict[str, Any]:
        fields = super()._fields(path, root, about, clips)
        return {**fields, "method": about["method"], "_clips_a_file": about["clips_a_file"]}

    def _file_of(self, row: int) -> Path:
        return self.path / _file_name(row // self._clips_a_file)

    def _read_into(self, clip: np.ndarray, row: int) -> None:
        clip[:] = _clip_of(self._file_of(row), row)


def flow_clips(prepared: PreparedDataset, out_dir: str | Path, method: str = "dis") -> FlowClips:
    """Computes the flow of prepared clips, or opens what was computed before.

    Flow is that between the frames of the clips: prepare them with `sampling="dense"` where it is to be that between
    neighbouring frames of the video, see `optical_flow`. A run that was killed is taken up by the next one; a second
    run of the same at the same time waits for the first. All cores are used.

    Args:
        prepared: clips of RGB; a subset is a folder of its own.
        out_dir: folder for flow; this one becomes `<data set>_flow_<method>_<fingerprint>` in it.
        method: "dis" or "tvl1", see `optical_flow`.

    Raises:
        ValueError: an unknown method, or clips of one frame or of frames that are too small.
        ImportError: "tvl1", and OpenCV has no such module.
        DatasetError: no clips, `out_dir` cannot be written, or the disk is too small or gets full.

    Example:
        >>> flow = flow_clips(prepare(dataset, "prepared", 16, (224, 224), "dense"), "flow")
        >>> flow.subset(train).read([0]).shape
        (1, 16, 224, 224, 2)
    """
    if not len(prepared):
        raise DatasetError(f"{prepared.path}: no clips to compute the flow of")
    optical_flow(np.zeros((prepared.num_frames, *prepared.size, 3), np.uint8), method)  # fails now where it would later
    digest = hashlib.sha256(f"{FlowClips.format} {method} {prepared.fingerprint}".encode())
    digest.update(json.dumps([prepared.names, prepared.labels.tolist()]).encode())
    store = Store(out_dir, f"{prepared.name}_flow_{method}", digest.hexdigest())
    return store.open_or_fill(
        lambda place, check: FlowClips.open(place, prepared.root, check), lambda: _fill(store, prepared, method)
    )


def _fill(store: Store, prepared: PreparedDataset, method: str) -> None:
    """Computes what is missing."""
    total, shape = len(prepared), (prepared.num_frames, *prepared.size)
    clip_bytes = math.prod(shape) * FlowClips.channels
    clips_a_file = max(FILE_BYTES // clip_bytes, 1)
    rows = {
        store.parts / _file_name(number): range(start, min(start + clips_a_file, total))
        for number, start in enumerate(range(0, total, clips_a_file))
    }
    checksums = {}
    for file, part in rows.items():
        checksums |= _sound(file, part, (*shape, FlowClips.channels))
    expected = {}  # of a store that is mended
    with suppress(Exception):
        expected = FlowClips._description(store.parts)["data"]
    to_do = [name for row, name in enumerate(prepared.names) if row not in checksums]
    store.begin(rows.keys(), to_do, total, clip_bytes, f"clips of flow, {' x '.join(map(str, shape))}")

    def flow_of(row: int) -> np.ndarray:
        return encode(optical_flow(prepared.read([row])[0], method))

    with (
        ThreadPoolExecutor(available_cores()) as threads,  # OpenCV lets go of Python's lock
        progress("flow", total, "clips", total - len(to_do)) as advance,
    ):
        for file, part in rows.items():
            missing = [row for row in part if row not in checksums]
            if not missing and (file.name not in expected or expected[file.name][1] == checksum_of_file(file)):
                continue
            flow = {row: _clip_of(file, row) for row in part if row in checksums}
            for row, clip in zip(missing, threads.map(flow_of, missing), strict=True):
                flow[row], checksums[row] = clip, checksum(clip)
                advance(1)
            with whole_file(file) as temporary:
                np.savez(temporary, **{str(row): flow[row] for row in part})
    of_clips = np.array([checksums[row] for row in range(total)], np.uint64)
    np.savez_compressed(store.parts / "index.npz", **prepared.columns, checksum=of_clips)
    about = {
        "name": prepared.name,
        "root": str(prepared.root),
        "class_names": prepared.class_names,
        "num_frames": prepared.num_frames,
        "size": prepared.size,
        "clip": prepared.clip,
        "method": method,
        "opencv": cv2.__version__,
        "skipped": [(relative(video.path, prepared.root), video.reason) for video in prepared.skipped],
        "clips_a_file": clips_a_file,
    }
    FlowClips.describe(store.parts, about, {file.name: checksum_of_file(file) for file in rows})


def _file_name(number: int) -> str:
    return f"flow-{number:05d}.npz"


def _clip_of(file: Path, row: int) -> np.ndarray:
    """A clip, compared with the checksum that a zip archive has of it; errors of all kinds where it is damaged."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{row}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _sound(file: Path, rows: range, shape: tuple[int, ...]) -> dict[int, int]:
    """Row -> checksum of the clips that an earlier run left in a file."""
    found = {}
    for row in rows:
        with suppress(Exception):
            clip = _clip_of(file, row)
            if (clip.shape, clip.dtype) == (shape, np.uint8):
                found[row] = checksum(clip)
    return found
