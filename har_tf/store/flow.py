"""Optical flow of prepared clips, computed once and read in place of their frames.

A folder holds the flow of every clip: `flow-00000.npz`, ... with some clips each, `index.npz` (label, group, name and
path of every clip), `flow.json` (what it was made of). Its name ends with a fingerprint of the prepared data and the
method. It appears only when it is complete; until then it grows in a hidden folder beside it, file by file, and a run
that was killed is taken up there by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from tqdm import tqdm

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import relative
from har_tf.files.whole import alone, whole_file
from har_tf.files.workers import available_cores
from har_tf.store.indexed import COLUMNS, Indexed
from har_tf.store.prepared import PreparedDataset, Skipped
from har_tf.store.shards import sync
from har_tf.video.flow import encode, optical_flow

FORMAT = 1  # changes whenever the same clips would give other bytes or other files
FILE_BYTES = 2**26  # what a kill may cost

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FlowClips(Indexed):
    """Clips of flow on disk, or some of them: what `PreparedDataset` is for RGB.

    Args:
        path: the folder.
        name: name of the data set.
        root: the folder that the videos came from.
        class_names: names in the order of the labels.
        num_frames: frames of a clip, T.
        size: (height, width) of a clip.
        clip: sampling, short and fit, as in `PreparedDataset`.
        skipped: the videos that were left out.
        method: of `optical_flow`.
    """

    channels: ClassVar[int] = 2  # pixels to the right and pixels down
    path: Path
    name: str
    root: Path
    class_names: tuple[str, ...]
    num_frames: int
    size: tuple[int, int]
    clip: dict[str, str]
    skipped: tuple[Skipped, ...]
    method: str
    _clips_a_file: int = field(repr=False)
    _index: dict[str, np.ndarray] = field(repr=False)
    _rows: np.ndarray = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None) -> FlowClips:
        """Opens what `flow_clips` wrote.

        Args:
            path: the folder with `flow.json`.
            root: where the videos lie now; None: where they lay when they were prepared.

        Raises:
            DatasetError: not such a folder, or one with a missing or damaged file.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100 - for a process that changes its folder; links stay
        try:
            about = json.loads((path / "flow.json").read_text())
            if about["format"] != FORMAT:
                raise ValueError(f"flow of format {about['format']}. Expected format {FORMAT}")
            with np.load(path / "index.npz") as arrays:
                index = {key: arrays[key] for key in arrays.files}
            if sorted(index) != sorted(COLUMNS):  # a zip file has no checksum of its own directory
                raise ValueError(f"index.npz holds {', '.join(index)}. Expected {', '.join(COLUMNS)}")
            for name, size in about["files"].items():
                if (path / name).stat().st_size != size:
                    raise ValueError(f"{name} has {(path / name).stat().st_size} bytes. Expected {size}")
            root = Path(about["root"]) if root is None else root
            return cls(
                path=path,
                name=about["name"],
                root=root,
                class_names=tuple(about["class_names"]),
                num_frames=about["num_frames"],
                size=tuple(about["size"]),
                clip=about["clip"],
                skipped=tuple(Skipped(root / name, reason) for name, reason in about["skipped"]),
                method=about["method"],
                _clips_a_file=about["clips_a_file"],
                _index=index,
                _rows=np.arange(len(index["label"])),
            )
        except Exception as error:  # damaged files make zipfile and NumPy raise errors of all kinds
            reason = str(error) or type(error).__name__
            raise DatasetError(f"{path}: not a folder of flow, or a damaged one: {reason}") from error

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads the flow of the clips at these positions of `labels` and `record_paths`.

        Args:
            positions: B positions in [0, len).

        Returns:
            (B, T, H, W, 2) uint8, as `har_tf.video.flow.encode` stores it.

        Raises:
            DatasetError: a file is damaged.
        """
        rows = self._rows[np.asarray(positions, dtype=np.int64)]
        clips = np.empty((len(rows), self.num_frames, *self.size, self.channels), np.uint8)
        for clip, row in zip(clips, rows.tolist(), strict=True):
            file = self.path / _file_name(row // self._clips_a_file)
            try:
                with np.load(file) as arrays:
                    clip[:] = arrays[str(row)]
            except Exception as error:
                raise DatasetError(f"{file}: damaged: {str(error) or type(error).__name__}") from error
        return clips

    @cached_property
    def _skipped_names(self) -> frozenset[str]:
        return frozenset(relative(skipped.path, self.root) for skipped in self.skipped)


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
    job = _Job(prepared, method, Path(out_dir))
    flow = job.open()
    if flow is not None:
        return flow
    try:
        job.out_dir.mkdir(parents=True, exist_ok=True)
        with alone(job.lock):
            return job.open() or job.run()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"the disk is full. What is finished stays in {job.work}: make room and run this again"
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise DatasetError(f"{job.out_dir}: {reason}") from error


@dataclass(frozen=True)
class _Job:
    """One folder of flow that is being made, and its places."""

    prepared: PreparedDataset
    method: str
    out_dir: Path

    @cached_property
    def home(self) -> Path:
        digest = hashlib.sha256(f"{FORMAT} {self.method} ".encode())
        digest.update(json.loads((self.prepared.path / "prepared.json").read_text())["fingerprint"].encode())
        digest.update(json.dumps([self.prepared.names, self.prepared.labels.tolist()]).encode())
        return self.out_dir / f"{self.prepared.name}_flow_{self.method}_{digest.hexdigest()[:12]}"

    @property
    def work(self) -> Path:
        return self.home.with_name(f".{self.home.name}.work")

    @property
    def lock(self) -> Path:
        return self.home.with_name(f".{self.home.name}.lock")

    @property
    def clip_bytes(self) -> int:
        height, width = self.prepared.size
        return self.prepared.num_frames * height * width * FlowClips.channels

    @property
    def clips_a_file(self) -> int:
        return max(FILE_BYTES // self.clip_bytes, 1)

    def open(self) -> FlowClips | None:
        """What was computed before; None where there is nothing, or something damaged."""
        if not self.home.exists():
            return None
        try:
            return FlowClips.open(self.home, self.prepared.root)
        except DatasetError as error:
            log.warning("%s; it is computed anew", error)
            return None

    def run(self) -> FlowClips:
        """Computes what is missing, and moves the whole to its place."""
        shutil.rmtree(self.home, ignore_errors=True)  # damaged
        self.work.mkdir(exist_ok=True)
        starts = range(0, len(self.prepared), self.clips_a_file)
        rows = {
            self.work / _file_name(number): range(start, min(start + self.clips_a_file, len(self.prepared)))
            for number, start in enumerate(starts)
        }
        for path in self.work.iterdir():
            if path not in rows:  # half a file, or one with another number of clips
                path.unlink()
        missing = {file: part for file, part in rows.items() if not _whole(file, part)}
        to_do = sum(map(len, missing.values()))
        self._check_space(to_do)
        with (
            ThreadPoolExecutor(available_cores()) as threads,  # OpenCV lets go of Python's lock
            tqdm(total=len(self.prepared), initial=len(self.prepared) - to_do, desc="flow", unit="clip", disable=None)
            as progress,
        ):  # fmt: skip
            for file, part in missing.items():
                flow = {}
                for row, clip in zip(part, threads.map(self._of_clip, part), strict=True):
                    flow[str(row)] = clip
                    progress.update(1)
                with whole_file(file) as temporary:
                    np.savez(temporary, **flow)
                    sync(temporary)
        self._finish(list(rows))
        return FlowClips.open(self.home, self.prepared.root)

    def _of_clip(self, row: int) -> np.ndarray:
        return encode(optical_flow(self.prepared.read([row])[0], self.method))

    def _check_space(self, clips: int) -> None:
        needed, free = clips * (self.clip_bytes + 1024), shutil.disk_usage(self.out_dir).free
        if needed > free:
            raise DatasetError(
                f"{self.out_dir}: {needed / 1e6:.1f} MB are needed for the flow of {clips} clips; {free / 1e6:.1f} MB "
                "are free"
            )

    def _finish(self, files: Sequence[Path]) -> None:
        prepared = self.prepared
        columns = {key: prepared._index[key][prepared._rows] for key in COLUMNS}
        np.savez_compressed(self.work / "index.npz", **columns)
        about = {
            "format": FORMAT,
            "name": prepared.name,
            "root": str(prepared.root),
            "class_names": prepared.class_names,
            "num_frames": prepared.num_frames,
            "size": prepared.size,
            "clip": prepared.clip,
            "method": self.method,
            "opencv": cv2.__version__,
            "skipped": [(relative(video.path, prepared.root), video.reason) for video in prepared.skipped],
            "clips_a_file": self.clips_a_file,
            "files": {file.name: file.stat().st_size for file in files},
        }
        (self.work / "flow.json").write_text(json.dumps(about, indent=1))
        for path in (self.work / "index.npz", self.work / "flow.json", self.work):
            sync(path)
        self.work.rename(self.home)
        sync(self.out_dir)


def _file_name(number: int) -> str:
    return f"flow-{number:05d}.npz"


def _whole(file: Path, rows: range) -> bool:
    """Whether a file that an earlier run left holds these clips, with the checksums that zip archives have."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist() == [f"{row}.npy" for row in rows] and archive.testzip() is None
    except Exception:
        return False
