"""Concepts for Video-TCAV: short clips of one thing each, cut from videos along its tracks.

    concepts.mine("Kinetics/test/playing_tennis", detector, ["person", "tennis racket", "sports ball"], "concepts")

    OUT/concepts.json                                    every clip: source, frames, boxes, scores, verdict
    OUT/<concept>/<kind>/<source>_t<track>.mp4

Two kinds are cut from every track (Saha et al. 2024, section 3.3). "spatiotemporal": the thing as it moves, on a canvas
of the track's largest height and width, smaller crops padded and in the middle. "spatial": one crop, that of the frame
of the highest score (of the largest box among equals), repeated as often. What the detector finds of other classes is
cut as well, because random concepts are drawn from all of the corpus. A folder of videos `DIR/<concept>/*.mp4` without
`concepts.json` is taken too, as concepts that were made by hand.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from har_tf.atomic import alone, whole_file
from har_tf.datasets import walk
from har_tf.datasets.folder import SUFFIXES, check_folder
from har_tf.datasets.records import VideoRecord, relative
from har_tf.explain.detectors import Detector, check_concepts, naming
from har_tf.explain.tracks import Track, Tracker, Tracking
from har_tf.video import VideoError, probe, read_clip, read_frames, write_video

KINDS = ("spatiotemporal", "spatial")
VERDICTS = ("accepted", "rejected")
MANIFEST = "concepts.json"
_VERSION = 1
_WINDOW = 16  # frames in memory at a time, of whatever size
_SECONDS = 5.0  # between two writes of the manifest, which grows with the corpus

log = logging.getLogger(__name__)


class ConceptError(ValueError):
    """Concepts that cannot be used, or made; one line that names the folder and says what is needed."""


@dataclass(frozen=True)
class ConceptClip:
    """One clip of a concept, a row of the manifest.

    Args:
        file: the video below the folder of concepts, with slashes.
        concept: the class that it shows.
        kind: of `KINDS`.
        source: the video that it was cut from, below the folder that was mined.
        track: number of the track in its source; both kinds of it have the same.
        frames: frame numbers of the source that the clip covers. A spatial clip is as long as they are many, and shows
            one of them: see `shown`.
        shown: the frame that a spatial clip repeats; None: all of them.
        boxes: the track's box (x1, y1, x2, y2) in every frame, in pixels of the source, end-exclusive.
        scores: the detector's score in every frame; None where the box is interpolated.
        score: mean of the scores.
        verdict: of `VERDICTS`, or None where nobody has looked.
        reason: why, if the reviewer said so.
    """

    file: str
    concept: str
    kind: str
    source: str = ""
    track: int = 0
    frames: tuple[int, ...] = ()
    shown: int | None = None
    boxes: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    scores: tuple[float | None, ...] = field(default=(), repr=False)
    score: float | None = None
    verdict: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Source:
    """A video that was mined.

    Args:
        path: below the folder that was mined.
        stamp: (bytes, modification time in ns).
        frames: number of its frames.
        tracks: number of tracks found in it, also those that were left out as too small or too many.
        problem: why it could not be read; empty: it was.
    """

    path: str
    stamp: tuple[int, int]
    frames: int = 0
    tracks: int = 0
    problem: str = ""


@dataclass(frozen=True)
class ConceptSet:
    """The clips of concepts in a folder.

    Args:
        folder: where `concepts.json` is.
        concepts: the concepts that were asked for, in that order.
        clips: all clips, those of other classes too, by file.
        settings: how they were mined.
        sources: the videos that were mined, and those that could not be.
    """

    folder: Path
    concepts: tuple[str, ...]
    clips: tuple[ConceptClip, ...] = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sources: tuple[Source, ...] = field(default=(), repr=False)

    def select(self, concept: str | None = None, kind: str | None = None, undecided: bool = True) -> list[ConceptClip]:
        """Clips that may be used: never one that was rejected.

        Args:
            concept: its name, also one of the other classes; None: all of them.
            kind: of `KINDS`; None: both.
            undecided: include clips that nobody has looked at.
        """
        return [
            clip
            for clip in self.clips
            if concept in (None, clip.concept)
            and kind in (None, clip.kind)
            and (clip.verdict == "accepted" or (undecided and clip.verdict is None))
        ]

    def read(
        self,
        clips: Sequence[ConceptClip],
        num_frames: int,
        size: tuple[int, int],
        fit: str = "letterbox",
        fill: int = 0,
    ) -> np.ndarray:
        """The pixels of clips, uint8 (N, T, H, W, 3); those that cannot be decoded are left out with a warning.

        Args:
            clips: of this set.
            num_frames: frames T of each, evenly from first to last; of shorter clips the last is repeated.
            size: (height, width).
            fit: "letterbox" scales evenly and fills the rest; "stretch" changes the ratio of the sides.
            fill: grey value of the rest.

        Raises:
            ConceptError: there is none, or none can be decoded.
            ValueError: another fit.
        """
        if fit not in ("letterbox", "stretch"):
            raise ValueError(f"fit is letterbox or stretch. Received: fit={fit!r}")
        found, failed = [], []
        for clip in clips:
            try:
                found.append(_fitted(read_clip(self.folder / clip.file, num_frames, None), size, fit, fill))
            except VideoError as error:
                failed.append(str(error))
        if not found:
            what = f"none of {len(failed)} clips can be decoded; the first: {failed[0]}" if failed else "no clips"
            raise ConceptError(f"{self.folder}: {what}. At least one clip is needed")
        if failed:
            log.warning("%s: %d of %d clips left out, the first: %s", self.folder, len(failed), len(clips), failed[0])
        return np.stack(found)

    def arrays(
        self,
        num_frames: int,
        size: tuple[int, int],
        kind: str = "spatiotemporal",
        concepts: Sequence[str] | None = None,
        count: int | None = None,
        undecided: bool = True,
        seed: int = 0,
        fit: str = "letterbox",
        fill: int = 0,
        least: int = 2,
    ) -> dict[str, np.ndarray]:
        """The clips of every concept, {name: uint8 (N, T, H, W, 3)}, as TCAV takes them.

        Args:
            num_frames: frames T of each clip.
            size: (height, width).
            kind: of `KINDS`.
            concepts: names; None: all that were asked for.
            count: clips of each concept, drawn with the seed; None: all.
            undecided: include clips that nobody has looked at.
            seed: of the draw.
            fit: see `read`.
            fill: see `read`.
            least: fewest concepts, two for relative TCAV, which sets them against each other.

        Raises:
            ConceptError: fewer concepts, one without a clip or with fewer than `count`, or whose clips all fail.
        """
        if kind not in KINDS:
            raise ConceptError(f"Kinds of concepts are {', '.join(KINDS)}. Received: {kind}")
        names = self.concepts if concepts is None else tuple(concepts)
        known = sorted({clip.concept for clip in self.clips} | set(self.concepts))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConceptError(f"{self.folder}: no concept {unknown[0]!r}. It has {', '.join(known)}")
        if len(names) < least:
            raise ConceptError(
                f"{self.folder}: at least {least} concepts are needed, to be told apart. "
                f"Received: {', '.join(names) or 'none'}"
            )
        chosen = {}
        for name in names:
            usable = self.select(name, kind, undecided)
            if len(usable) < (count or 1):
                raise ConceptError(f"{self.folder}: {self._shortage(name, kind, undecided, len(usable), count or 1)}")
            chosen[name] = usable if count is None else _drawn(usable, count, [seed, *name.encode()])
        return {name: self.read(clips, num_frames, size, fit, fill) for name, clips in chosen.items()}

    def random_sets(
        self,
        count: int = 10,
        size: int = 30,
        kind: str = "spatiotemporal",
        seed: int = 0,
        of: str = "all",
        undecided: bool = True,
    ) -> list[list[ConceptClip]]:
        """Sets of clips drawn from the corpus, as controls.

        Section 3.4 of the paper draws from "our entire corpus of concepts", section 3.3 from "all the other
        detections"; both are here. Within a set no clip is drawn twice, two sets may share some. A set depends on the
        seed and its own number only.

        Args:
            count: sets.
            size: clips in each.
            kind: of `KINDS`.
            seed: of the draws.
            of: "all" clips, or those of the "others", the classes that are no concept here.
            undecided: include clips that nobody has looked at.

        Raises:
            ConceptError: the corpus has fewer clips than a set.
            ValueError: another `of`.
        """
        if of not in ("all", "others"):
            raise ValueError(f"of is all or others. Received: of={of!r}")
        corpus = [c for c in self.select(None, kind, undecided) if of == "all" or c.concept not in self.concepts]
        if len(corpus) < size:
            raise ConceptError(
                f"{self.folder}: a random set of {size} {kind} clips cannot be drawn from {len(corpus)}"
                f"{' of other classes' if of == 'others' else ''}. Mine more videos, or ask for smaller sets"
            )
        return [_drawn(corpus, size, [seed, number]) for number in range(count)]

    def counts(self) -> dict[tuple[str, str], Counter]:
        """{(concept, kind): how many clips of each verdict}, the concepts first and then other classes by name."""
        others = sorted({clip.concept for clip in self.clips} - set(self.concepts))
        return {
            (name, kind): Counter(c.verdict or "undecided" for c in self.clips if (c.concept, c.kind) == (name, kind))
            for name in (*self.concepts, *others)
            for kind in KINDS
        }

    def _shortage(self, name: str, kind: str, undecided: bool, usable: int, needed: int) -> str:
        there = [clip for clip in self.clips if (clip.concept, clip.kind) == (name, kind)]
        if not there:
            return f"concept {name!r} has no {kind} clip. At least {needed} needed"
        verdicts = Counter(clip.verdict or "undecided" for clip in there)
        told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
        only = "" if undecided else "; undecided ones do not count here"
        return f"concept {name!r} has {usable} usable {kind} clips of {len(there)} ({told}{only}). {needed} needed"


def mine(
    source: str | Path | Sequence[str | Path],
    detector: Detector,
    concepts: Sequence[str],
    out: str | Path,
    tracking: Tracking | None = None,
    others: bool = True,
    max_frames: int = 64,
    smallest: int = 8,
    per_video: int | None = None,
    fill: int | str = 0,
    fresh: bool = False,
) -> ConceptSet:
    """Finds things in videos, follows them, and cuts concept clips.

    A second run with the same settings goes on where the first was stopped: sources that are done and have not changed
    are not read again, and verdicts stay. Videos that cannot be read are listed in the manifest and left out.

    Args:
        source: a folder, in which videos may lie at any depth, or paths of videos.
        detector: see `detectors.open_detector`.
        concepts: classes of the detector.
        out: the folder of concepts; is made where it is missing.
        tracking: how detections become tracks.
        others: cut clips of the detector's other classes too, for random concepts.
        max_frames: longest clip; of a longer track the stretch of the highest scores is taken.
        smallest: pixels; tracks whose canvas is lower or narrower are left out.
        per_video: most tracks of a class in one video, those of the highest scores; None: all.
        fill: grey value around smaller crops, or "mean", the mean colour of the crop.
        fresh: mine all again, and forget all verdicts.

    Raises:
        ConceptError: no video, or `out` holds concepts that were mined otherwise.
        DetectorError: a class that the detector does not know, or the detector fails.
        DatasetError: no such folder.
    """
    check_concepts(concepts, detector.names, "The detector")
    tracking = tracking or Tracking()
    wanted = None if others else set(concepts)

    def found(path: Path, name: str) -> tuple[list[Track], int]:
        return detect(path, detector, tracking, name, wanted)

    settings = {
        "detector": detector.settings,
        "tracking": asdict(tracking),
        "concepts": list(concepts),
        "others": others,
    }
    videos = _videos(source)
    return _cut_all(videos, found, concepts, out, settings, max_frames, smallest, per_video, fill, fresh)


def cut_tracks(
    tracks: Mapping[str | Path, Sequence[Track]] | Callable[[Path], Sequence[Track]],
    source: str | Path | Sequence[str | Path],
    concepts: Sequence[str],
    out: str | Path,
    max_frames: int = 64,
    smallest: int = 8,
    per_video: int | None = None,
    fill: int | str = 0,
    fresh: bool = False,
) -> ConceptSet:
    """Cuts concept clips along tracks that are known, such as `tracks.true_tracks` of the embedded data set.

    Args:
        tracks: {path of a video: its tracks}, or a function that gives them.
        source: a folder, or paths of videos.
        concepts: labels of tracks; those of others become other classes.
        out: see `mine`, like all that follows.
        max_frames: see `mine`.
        smallest: see `mine`.
        per_video: see `mine`.
        fill: see `mine`.
        fresh: see `mine`.

    Example:
        >>> records = datasets.load("figures").records
        >>> known = {record.path: true_tracks(record) for record in records}
        >>> cut_tracks(known, [*known], ["person", "object", "limb"], "concepts")
    """
    if not concepts:
        raise ConceptError("At least one concept is needed: a label of the tracks")
    known = None if callable(tracks) else {Path(path): list(given) for path, given in tracks.items()}

    def found(path: Path, name: str) -> tuple[list[Track], int]:
        given = tracks(path) if known is None else known.get(path, [])
        return list(given), max((int(track.frames[-1]) + 1 for track in given), default=0)

    settings = {"detector": None, "tracking": "given", "concepts": list(concepts), "others": True}
    videos = _videos(source)
    return _cut_all(videos, found, concepts, out, settings, max_frames, smallest, per_video, fill, fresh)


def detect(
    path: str | Path,
    detector: Detector,
    tracking: Tracking | None = None,
    name: str = "",
    labels: Collection[str] | None = None,
) -> tuple[list[Track], int]:
    """The tracks in a video, and its number of frames; a few frames are in memory at a time.

    Args:
        path: the video.
        detector: what looks for things.
        tracking: how detections become tracks.
        name: what the video is called for the detector and in errors.
        labels: the classes to follow; None: all.

    Raises:
        VideoError: it cannot be read.
        DetectorError: the detector fails on it.
    """
    path, name = Path(path), name or Path(path).name
    tracker, total = Tracker(detector.names, tracking), probe(path).frames
    for start in range(0, total, _WINDOW):
        frames = read_clip(path, None, None, start=start, stop=min(start + _WINDOW, total))
        with naming(detector, name, start, len(frames)):
            found = detector(frames, name, start)
        for number, (picture, detections) in enumerate(zip(frames, found, strict=True), start=start):
            tracker.add(number, detections, picture)
    return [track for track in tracker.tracks() if labels is None or track.label in labels], total


def cut(
    frames: np.ndarray,
    track: Track,
    kind: str = "spatiotemporal",
    fill: int | str = 0,
    canvas: tuple[int, int] | None = None,
) -> np.ndarray:
    """The clip of a track.

    Boxes are widened to whole pixels and cut off at the frame. A crop of height h lies (H - h) // 2 below the upper
    edge of its canvas, likewise from the left.

    Args:
        frames: uint8 (n, H, W, 3), the frames of the track.
        track: n frames of one instance.
        kind: "spatiotemporal", or "spatial": one crop, see `best_frame`, repeated n times.
        fill: grey value around smaller crops, or "mean", the mean colour of the crop.
        canvas: (height, width) of the result; None: the largest height and the largest width of the boxes, made even,
            as H.264 in yuv420p needs it.

    Returns:
        uint8 (n, h, w, 3).

    Raises:
        ValueError: another kind or fill, or not as many frames as boxes.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {' or '.join(KINDS)}. Received: kind={kind!r}")
    if fill != "mean" and not (isinstance(fill, int) and 0 <= fill <= 255):
        raise ValueError(f"fill is a grey value from 0 to 255 or 'mean'. Received: fill={fill!r}")
    if len(frames) != len(track.frames):
        raise ValueError(f"A track of {len(track.frames)} frames needs as many. Received: {len(frames)}")
    if kind == "spatial":
        best = best_frame(track)
        still = cut(frames[best : best + 1], track.part(best, best + 1), fill=fill, canvas=canvas)
        return np.repeat(still, len(frames), axis=0)
    boxes = whole_pixels(track.boxes, frames.shape[1:3])
    height, width = canvas or canvas_of(boxes)
    clip = np.empty((len(frames), height, width, 3), np.uint8)
    for place, frame, (x1, y1, x2, y2) in zip(clip, frames, boxes, strict=True):
        crop = frame[y1:y2, x1:x2]
        place[:] = crop.mean(axis=(0, 1)).round() if fill == "mean" else fill
        top, left = (height - crop.shape[0]) // 2, (width - crop.shape[1]) // 2
        place[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return clip


def best_frame(track: Track) -> int:
    """The place in a track of the highest score; among equal ones that of the largest box, and then the first."""
    areas = (track.boxes[:, 2:] - track.boxes[:, :2]).prod(axis=1)
    scores = np.where(np.isnan(track.scores), -1, track.scores)
    return int(np.lexsort((-areas, -scores))[0])


def whole_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """int64 (n, 4): boxes widened to whole pixels, in a frame of (height, width); each keeps at least one pixel."""
    boxes, limits = np.asarray(boxes, np.float64), np.array([size[1], size[0]])
    low = np.clip(np.floor(boxes[:, :2]), 0, limits - 1)
    high = np.clip(np.ceil(boxes[:, 2:]), low + 1, limits)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def canvas_of(boxes: np.ndarray) -> tuple[int, int]:
    """(height, width), even, that the largest of whole boxes (n, 4) fit into."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).max(axis=0).tolist()
    return height + height % 2, width + width % 2


def load(folder: str | Path) -> ConceptSet:
    """The concepts in a folder that `mine` filled, or that has a folder of videos for each concept.

    Of the latter, videos in `DIR/<concept>/spatial` are spatial, and all others spatiotemporal.

    Raises:
        ConceptError: no concept in it, a concept without a clip file, or a manifest that cannot be read.
        DatasetError: no such folder.
    """
    folder = check_folder(folder, "a folder of concepts")
    path = folder / MANIFEST
    if not path.exists():
        return _made_by_hand(folder)
    found = _read_manifest(path)
    missing = [clip.file for clip in found.clips if not (folder / clip.file).is_file()]
    if missing:
        raise ConceptError(
            f"{path}: names {len(missing)} clips that are not there, the first: {missing[0]}. "
            f"Mine again, or restore the files"
        )
    return found


def store_verdicts(folder: str | Path, verdicts: Mapping[str, Mapping[str, str | None]]) -> ConceptSet:
    """Writes verdicts into the manifest, whole; waits for a `mine` at work on the same folder.

    Args:
        folder: of concepts.
        verdicts: {clip's file: {"verdict": "accepted", "rejected" or None, "reason": text or None}}.

    Raises:
        ConceptError: a file that is no clip of the folder, or another verdict; nothing is written.
    """
    with locked(folder):
        return record_verdicts(folder, verdicts)


def locked(folder: str | Path):
    """Waits until no other process mines into the folder or reviews it."""
    return alone(Path(folder) / ".concepts.lock")


def record_verdicts(folder: str | Path, verdicts: Mapping[str, Mapping[str, str | None]]) -> ConceptSet:
    """What `store_verdicts` does, for who holds the lock already."""
    found = load(folder)
    if not isinstance(verdicts, Mapping) or not all(isinstance(given, Mapping) for given in verdicts.values()):
        raise ConceptError('Verdicts are {clip: {"verdict": ..., "reason": ...}}. Received: another kind of JSON')
    unknown = [file for file in verdicts if file not in {clip.file for clip in found.clips}]
    if unknown:
        raise ConceptError(f"{folder}: has no clip {unknown[0]!r}, one of {len(unknown)} unknown ones. Wrong folder?")
    for file, given in verdicts.items():
        if given.get("verdict") not in (None, *VERDICTS) or not isinstance(given.get("reason"), str | None):
            raise ConceptError(f"{file}: verdicts are {', '.join(VERDICTS)} or null. Received: {dict(given)}")
    clips = tuple(
        replace(clip, verdict=verdicts[clip.file].get("verdict"), reason=verdicts[clip.file].get("reason") or None)
        if clip.file in verdicts
        else clip
        for clip in found.clips
    )
    found = replace(found, clips=clips)
    _write_manifest(found)
    return found


def _videos(source: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """{path below the folder: path} of the videos."""
    if isinstance(source, str | Path):
        root = check_folder(source, "a folder of videos")
        paths = list(walk.files(root, SUFFIXES))
    else:
        paths = [Path(path) for path in source]
        root = Path(os.path.commonpath([path.absolute().parent for path in paths])) if paths else Path()
    if not paths:
        raise ConceptError(f"{source}: no video. Videos end in {', '.join(sorted(SUFFIXES))}")
    return {relative(path, root): path for path in sorted(paths)}


def _cut_all(videos, found, concepts, out, settings, max_frames, smallest, per_video, fill, fresh) -> ConceptSet:
    """Cuts the clips of all videos that are not done yet, and keeps the manifest.

    Args:
        videos: {name: path}.
        found: from path and name to tracks and number of frames; the others are those of `mine`.
    """
    if max_frames < 1 or smallest < 1 or (per_video is not None and per_video < 1):
        raise ValueError(
            f"Numbers of frames, pixels and tracks are at least 1. "
            f"Received: max_frames={max_frames}, smallest={smallest}, per_video={per_video}"
        )
    if fill != "mean" and not (isinstance(fill, int) and 0 <= fill <= 255):
        raise ValueError(f"fill is a grey value from 0 to 255 or 'mean'. Received: fill={fill!r}")
    out = Path(out)
    # A folder of concepts among the videos would be mined itself by a second run.
    videos = {name: path for name, path in videos.items() if not path.absolute().is_relative_to(out.absolute())}
    settings |= {"max_frames": max_frames, "smallest": smallest, "per_video": per_video, "fill": fill}
    settings = json.loads(json.dumps(settings))  # as it comes back from the manifest
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        state = _State(out, tuple(concepts), settings, fresh)
        stems = _stems(videos)
        try:
            for name, path in tqdm(videos.items(), "mining", unit="video", leave=False, disable=None):
                stamp = VideoRecord(path, 0).stamp()
                if state.done(name, stamp):
                    continue
                try:
                    tracks, count = found(path, name)
                    clips = _cut_video(path, name, stems[name], tracks, out, max_frames, smallest, per_video, fill)
                except VideoError as error:
                    state.add(Source(name, stamp, problem=error.reason), [])
                    continue
                state.add(Source(name, stamp, count, len(tracks)), clips)
        finally:
            state.write()
    return state.found()


class _State:
    """What has been mined so far, in memory and in the manifest."""

    def __init__(self, out: Path, concepts: tuple[str, ...], settings: dict, fresh: bool) -> None:
        self._out, self._concepts, self._settings = out, concepts, settings
        self._sources: dict[str, Source] = {}
        self._clips: dict[str, list[ConceptClip]] = {}
        self._written = time.monotonic()
        if not (out / MANIFEST).exists():
            return
        before = _read_manifest(out / MANIFEST)
        if fresh:
            for clip in before.clips:
                (out / clip.file).unlink(missing_ok=True)
            return
        changed = [key for key in settings if before.settings.get(key) != settings[key]]
        if changed:
            raise ConceptError(
                f"{out}: holds concepts that were mined otherwise: {', '.join(changed)} "
                f"{', '.join(json.dumps(before.settings.get(key)) for key in changed)}. Choose another folder, or mine "
                f"all again with fresh. Received: {', '.join(json.dumps(settings[key]) for key in changed)}"
            )
        self._sources = {source.path: source for source in before.sources}
        for clip in before.clips:
            self._clips.setdefault(clip.source, []).append(clip)

    def done(self, name: str, stamp: tuple[int, int]) -> bool:
        known = self._sources.get(name)
        there = all((self._out / clip.file).is_file() for clip in self._clips.get(name, []))
        return known is not None and not known.problem and known.stamp == stamp and there

    def add(self, source: Source, clips: list[ConceptClip]) -> None:
        new = {clip.file for clip in clips}
        for old in self._clips.get(source.path, []):
            if old.file not in new:
                (self._out / old.file).unlink(missing_ok=True)
        self._sources[source.path], self._clips[source.path] = source, clips
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        _write_manifest(self.found())
        self._written = time.monotonic()

    def found(self) -> ConceptSet:
        clips = sorted((clip for clips in self._clips.values() for clip in clips), key=lambda clip: clip.file)
        sources = tuple(self._sources[name] for name in sorted(self._sources))
        return ConceptSet(self._out, self._concepts, tuple(clips), self._settings, sources)


def _cut_video(path, name, stem, tracks, out, max_frames, smallest, per_video, fill) -> list[ConceptClip]:
    """Writes the clips of one video."""
    if not tracks:
        return []
    info, clips = probe(path), []
    size, ranks = (info.height, info.width), _ranks(tracks)
    for number, track in enumerate(tracks):
        start = _best_stretch(track, max_frames)
        track = track.part(start, start + max_frames)
        boxes = whole_pixels(track.boxes, size)
        canvas = canvas_of(boxes)
        if min(canvas) < smallest or (per_video is not None and ranks[number] >= per_video):
            continue
        if track.frames[-1] >= info.frames:
            raise VideoError(path, f"has {info.frames} frames, and a track reaches frame {track.frames[-1]}")
        best = best_frame(track)
        still = canvas_of(boxes[best : best + 1])
        common = {
            "concept": track.label,
            "source": name,
            "track": number,
            "frames": tuple(track.frames.tolist()),
            "boxes": tuple(tuple(round(side, 2) for side in box) for box in track.boxes.tolist()),
            "scores": tuple(None if np.isnan(score) else round(float(score), 4) for score in track.scores),
            "score": round(track.score, 4),
        }
        for kind in KINDS:
            file = f"{folder_name(track.label)}/{kind}/{stem}_t{number}.mp4"
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            if kind == "spatial":
                picture = read_frames(path, [int(track.frames[best])], None)
                frame = cut(picture, track.part(best, best + 1), fill=fill, canvas=still)[0]
                pixels = (frame for _ in range(len(track.frames)))
            else:
                pixels = _crops(path, track, canvas, fill)
            write_video(out / file, pixels, fps=info.fps or 10, preset="veryfast", threads=1)
            shown = int(track.frames[best]) if kind == "spatial" else None
            clips.append(ConceptClip(file=file, kind=kind, shown=shown, **common))
    return clips


def _crops(path: Path, track: Track, canvas: tuple[int, int], fill):
    """The frames of a spatiotemporal clip, one by one."""
    for start in range(0, len(track.frames), _WINDOW):
        part = track.part(start, start + _WINDOW)
        yield from cut(read_frames(path, part.frames, None), part, fill=fill, canvas=canvas)


def _best_stretch(track: Track, length: int) -> int:
    """Where the `length` consecutive frames of the highest scores begin, the first of equal ones."""
    if len(track.frames) <= length:
        return 0
    sums = np.concatenate([[0], np.cumsum(np.nan_to_num(track.scores.astype(np.float64)))])
    # Rounded, so that equal scores are equal sums.
    return int((sums[length:] - sums[:-length]).round(6).argmax())


def _ranks(tracks: Sequence[Track]) -> list[int]:
    """The place of every track among those of its class in a video, by score."""
    ranks = [0] * len(tracks)
    for label in {track.label for track in tracks}:
        same = [number for number, track in enumerate(tracks) if track.label == label]
        for rank, number in enumerate(sorted(same, key=lambda number: -tracks[number].score)):
            ranks[number] = rank
    return ranks


def _stems(videos: Mapping[str, Path]) -> dict[str, str]:
    """{name: what its clips' names begin with}: the file's stem where that is unique, else all of its path."""
    counts = Counter(path.stem.casefold() for path in videos.values())
    return {
        name: path.stem if counts[path.stem.casefold()] == 1 else re.sub(r"[/\\]+", "__", name).lstrip("._")
        for name, path in videos.items()
    }


def folder_name(label: str) -> str:
    """What the folder of a concept is called: "sports ball" -> "sports_ball"."""
    return re.sub(r"[^\w.-]+", "_", label).strip("._") or "_"


def _drawn(clips: Sequence[ConceptClip], count: int, seed: Sequence[int]) -> list[ConceptClip]:
    ordered = sorted(clips, key=lambda clip: clip.file)
    chosen = np.random.default_rng(list(seed)).choice(len(ordered), count, replace=False)
    return [ordered[i] for i in sorted(chosen.tolist())]


def _fitted(clip: np.ndarray, size: tuple[int, int], fit: str, fill: int) -> np.ndarray:
    """A clip (T, h, w, 3) at another size."""
    height, width = size
    if fit == "letterbox":
        scale = min(size[0] / clip.shape[1], size[1] / clip.shape[2])
        height, width = (
            max(1, min(limit, round(side * scale))) for side, limit in zip(clip.shape[1:3], size, strict=True)
        )
    shrinks = height <= clip.shape[1] and width <= clip.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    fitted = np.full((len(clip), *size, 3), fill, np.uint8)
    for place, frame in zip(fitted, clip, strict=True):
        place[top : top + height, left : left + width] = cv2.resize(frame, (width, height), interpolation=how)
    return fitted


def _made_by_hand(folder: Path) -> ConceptSet:
    inner = [place for place in walk.folders(folder) if not place.name.startswith("_")]
    if not inner:
        raise ConceptError(
            f"{folder}: no concepts. Expected {MANIFEST}, which `python -m har_tf concepts mine` writes, "
            f"or a folder of videos for each concept"
        )
    clips = []
    for place in inner:
        videos = list(walk.files(place, SUFFIXES))
        if not videos:
            raise ConceptError(f"{place}: an empty concept folder. Expected videos of the concept in it")
        for video in videos:
            kind = "spatial" if relative(video, place).split("/")[0] == "spatial" else "spatiotemporal"
            clips.append(ConceptClip(relative(video, folder), place.name, kind))
    clips.sort(key=lambda clip: clip.file)
    return ConceptSet(folder, tuple(place.name for place in inner), tuple(clips))


def _write_manifest(found: ConceptSet) -> None:
    """A clip a line, so that changes of verdicts are read easily in a diff."""
    clips = ",\n  ".join(json.dumps(asdict(clip), ensure_ascii=False) for clip in found.clips)
    sources = ",\n  ".join(json.dumps(asdict(source), ensure_ascii=False) for source in found.sources)
    text = (
        f'{{\n"version": {_VERSION},\n"concepts": {json.dumps(list(found.concepts), ensure_ascii=False)},\n'
        f'"settings": {json.dumps(dict(found.settings), ensure_ascii=False)},\n'
        f'"sources": [\n  {sources}\n],\n"clips": [\n  {clips}\n]\n}}\n'
    )
    with whole_file(found.folder / MANIFEST) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _read_manifest(path: Path) -> ConceptSet:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("version") != _VERSION:
            raise ConceptError(f"{path}: of version {content.get('version')}. Expected {_VERSION}")
        names = {each.name for each in fields(ConceptClip)}
        clips = []
        for row in content["clips"]:
            row = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
            row["boxes"] = tuple(tuple(box) for box in row["boxes"])
            clips.append(ConceptClip(**{key: row[key] for key in names}))
        sources = tuple(Source(**row | {"stamp": tuple(row["stamp"])}) for row in content["sources"])
        concepts = tuple(content["concepts"])
    except ConceptError:
        raise
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConceptError(f"{path}: not a manifest of concepts ({type(error).__name__}: {error})") from error
    outside = [clip.file for clip in clips if Path(clip.file).is_absolute() or ".." in Path(clip.file).parts]
    if outside:
        raise ConceptError(f"{path}: names a clip outside its folder: {outside[0]}")
    return ConceptSet(path.parent, concepts, tuple(clips), content["settings"], sources)
