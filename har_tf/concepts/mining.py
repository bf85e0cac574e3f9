"""Concepts for Video-TCAV: short clips of one thing each, cut from videos along its tracks.

    concepts.mine("Kinetics/test/playing_tennis", detector, ["person", "tennis racket", "sports ball"], "concepts")

    OUT/concepts.json                                    every clip: source, frames, boxes, scores, verdict
    OUT/<concept>/<kind>/<source>_t<track>.mp4

Two kinds are cut from every track (Saha et al. 2024, section 3.3). "spatiotemporal": the thing as it moves, on a canvas
of the track's largest height and width, smaller crops padded and in the middle. "spatial": one crop, that of the frame
of the highest score (of the largest box among equals), repeated as often. What the detector finds of other classes is
cut as well, because random concepts are drawn from all of the corpus. What such a folder is read with, and folders that
were made by hand, are in `concept_set`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from har_tf.concepts.concept_set import (
    KINDS,
    MANIFEST,
    ConceptClip,
    ConceptError,
    ConceptSet,
    Source,
    load,
    locked,
    read_manifest,
    store_verdicts,
    write_manifest,
)
from har_tf.concepts.detectors.base import Detector, check_concepts, naming
from har_tf.concepts.tracks import Track, Tracker, Tracking
from har_tf.datasets import walk
from har_tf.datasets.folder import SUFFIXES, check_folder
from har_tf.datasets.records import content_of, relative, stamp_of
from har_tf.files.whole import resumable
from har_tf.names import file_name
from har_tf.progress import progress
from har_tf.video import VideoError, probe, read_clip, read_frames, write_video

__all__ = ["ConceptError", "ConceptSet", "Cutting", "cut_tracks", "load", "mine", "store_verdicts"]

_WINDOW = 16  # frames in memory at a time, of whatever size
_SECONDS = 5.0  # between two writes of the manifest, which grows with the corpus


@dataclass(frozen=True)
class Cutting:
    """How clips are cut along tracks.

    Args:
        max_frames: longest clip; of a longer track the stretch of the highest scores is taken.
        smallest: pixels; tracks whose canvas is lower or narrower are left out.
        per_video: most tracks of a class in one video, those of the highest scores; None: all.
        fill: grey value around smaller crops.

    Raises:
        ValueError: a number below 1, or no grey value.
    """

    max_frames: int = 64
    smallest: int = 8
    per_video: int | None = None
    fill: int = 0

    def __post_init__(self) -> None:
        numbers = {name: value for name, value in asdict(self).items() if name != "fill" and value is not None}
        if min(numbers.values()) < 1:
            told = ", ".join(f"{name}={value}" for name, value in numbers.items())
            raise ValueError(f"Numbers of frames, pixels and tracks are at least 1. Received: {told}")
        if not 0 <= self.fill <= 255:
            raise ValueError(f"fill is a grey value from 0 to 255. Received: fill={self.fill!r}")


def mine(
    source: str | Path | Sequence[str | Path],
    detector: Detector,
    concepts: Sequence[str],
    out: str | Path,
    tracking: Tracking | None = None,
    others: bool = True,
    fresh: bool = False,
    **cutting: Any,
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
        fresh: mine all again, and forget all verdicts.
        **cutting: fields of `Cutting`, such as max_frames.

    Raises:
        ConceptError: no video, or `out` holds concepts that were mined otherwise or from a folder elsewhere.
        DetectorError: a class that the detector does not know, or the detector fails.
        DatasetError: no such folder.
    """
    check_concepts(concepts, detector.names, "The detector")
    tracking = tracking or Tracking()
    wanted = None if others else set(concepts)
    settings = {"detector": detector.settings, "tracking": asdict(tracking), "others": others}
    find = partial(detect, detector=detector, tracking=tracking, labels=wanted)
    return _cut_all(source, find, concepts, out, settings, Cutting(**cutting), fresh)


def cut_tracks(
    tracks: Mapping[str | Path, Sequence[Track]],
    source: str | Path | Sequence[str | Path],
    concepts: Sequence[str],
    out: str | Path,
    fresh: bool = False,
    **cutting: Any,
) -> ConceptSet:
    """Cuts concept clips along tracks that are known, such as `tracks.true_tracks` of the embedded data set.

    Args:
        tracks: path of a video -> its tracks.
        concepts: labels of tracks; those of others become other classes.
        source, out, fresh, **cutting: as in `mine`.

    Example:
        >>> records = datasets.load("figures").records
        >>> known = {record.path: true_tracks(record) for record in records}
        >>> cut_tracks(known, [*known], ["person", "object", "limb"], "concepts")
    """
    if not concepts:
        raise ConceptError("At least one concept is needed: a label of the tracks")
    known = {Path(path): list(of_video) for path, of_video in tracks.items()}

    def find(path: Path, name: str) -> tuple[list[Track], int]:
        of_video = known.get(path, [])
        return of_video, max((int(track.frames[-1]) + 1 for track in of_video), default=0)

    settings = {"detector": None, "tracking": "given", "others": True}
    return _cut_all(source, find, concepts, out, settings, Cutting(**cutting), fresh)


def detect(
    path: str | Path,
    name: str,
    detector: Detector,
    tracking: Tracking | None = None,
    labels: Collection[str] | None = None,
) -> tuple[list[Track], int]:
    """The tracks in a video, and its number of frames; a few frames are in memory at a time.

    Args:
        path: the video.
        name: what the video is called for the detector and in errors.
        detector: what looks for things.
        tracking: how detections become tracks.
        labels: the classes to follow; None: all.

    Raises:
        VideoError: it cannot be read.
        DetectorError: the detector fails on it.
    """
    tracker, total = Tracker(detector.names, tracking), probe(path).frames
    for start in range(0, total, _WINDOW):
        frames = read_clip(path, None, None, start=start, stop=min(start + _WINDOW, total))
        with naming(detector, name, start, len(frames)):
            found = detector(frames, name, start)
        for number, (picture, detections) in enumerate(zip(frames, found, strict=True), start=start):
            tracker.add(number, detections, picture)
    return [track for track in tracker.tracks() if labels is None or track.label in labels], total


def cut(frames: np.ndarray, track: Track, fill: int = 0, canvas: tuple[int, int] | None = None) -> np.ndarray:
    """The clip of a track.

    Boxes are widened to whole pixels and cut off at the frame. A crop of height h lies (H - h) // 2 below the upper
    edge of its canvas, likewise from the left.

    Args:
        frames: uint8 (n, H, W, 3), the frames of the track.
        track: n frames of one instance.
        fill: grey value around smaller crops.
        canvas: (height, width) of the result; None: the largest height and the largest width of the boxes, made even,
            as H.264 in yuv420p needs it.

    Returns:
        uint8 (n, h, w, 3).
    """
    boxes = whole_pixels(track.boxes, frames.shape[1:3])
    height, width = canvas or canvas_of(boxes)
    clip = np.full((len(frames), height, width, 3), fill, np.uint8)
    for place, frame, (x1, y1, x2, y2) in zip(clip, frames, boxes, strict=True):
        top, left = (height - (y2 - y1)) // 2, (width - (x2 - x1)) // 2
        place[top : top + y2 - y1, left : left + x2 - x1] = frame[y1:y2, x1:x2]
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


def _videos(source: str | Path | Sequence[str | Path]) -> tuple[Path, dict[str, Path]]:
    """The folder, of paths the one around them all, and {path below it: path} of the videos."""
    if isinstance(source, str | Path):
        root = check_folder(source, "a folder of videos")
        paths = list(walk.files(root, SUFFIXES))
    else:
        paths = [Path(path) for path in source]
        root = Path(os.path.commonpath([path.absolute().parent for path in paths])) if paths else Path()
    if not paths:
        raise ConceptError(f"{source}: no video. Videos end in {', '.join(sorted(SUFFIXES))}")
    return root, {relative(path, root): path for path in sorted(paths)}


def _cut_all(source, find, concepts, out, settings: dict, cutting: Cutting, fresh: bool) -> ConceptSet:
    """Cuts the clips of all videos that are not done yet, and keeps the manifest.

    Args:
        find: from path and name to tracks and number of frames.
        settings: how they are found, for the manifest.
        source, concepts, out, fresh: as in `mine`.
    """
    root, videos = _videos(source)
    out = Path(out)
    # A folder of concepts among the videos would be mined itself by a second run.
    videos = {name: path for name, path in videos.items() if not path.absolute().is_relative_to(out.absolute())}
    settings |= {"concepts": list(concepts), **asdict(cutting)}
    settings = json.loads(json.dumps(settings))  # as it comes back from the manifest
    out.mkdir(parents=True, exist_ok=True)
    with locked(out), resumable(f"the same command goes on from the videos that are listed in {out / MANIFEST}"):
        state = _State(out, tuple(concepts), settings, root, videos, fresh)
        videos = {str(state.below / name): path for name, path in videos.items()}
        stems = _stems(videos, state.stems())
        stamped = {name: Source(name, stamp_of(path), content=content_of(path)) for name, path in videos.items()}
        to_do = {name: source for name, source in stamped.items() if not state.done(source)}
        try:
            with progress("mining", len(videos), "videos", len(videos) - len(to_do)) as advance:
                for name, source in to_do.items():
                    try:
                        tracks, count = find(videos[name], name)
                        clips = _cut_video(videos[name], name, stems[name], tracks, out, cutting)
                        state.add(replace(source, frames=count, tracks=len(tracks)), clips)
                    except VideoError as error:
                        if error.path.is_relative_to(out):  # a clip that cannot be written says nothing of the video
                            raise
                        state.add(replace(source, problem=error.reason), [])
                    advance(1)
        finally:
            state.write()
    return state.found()


class _State:
    """What has been mined so far, in memory and in the manifest.

    A video is called by its path below the widest folder that was mined; this run's folder lies at `below` in it.
    """

    def __init__(
        self, out: Path, concepts: tuple[str, ...], settings: dict, root: Path, videos: Mapping[str, Path], fresh: bool
    ) -> None:
        root = Path(os.path.realpath(root))
        self._out, self._concepts = out, concepts
        self._settings, self.below = settings | {"root": root.as_posix()}, PurePosixPath()
        self._sources: dict[str, Source] = {}
        self._clips: dict[str, list[ConceptClip]] = {}
        self._written = time.monotonic()
        if not (out / MANIFEST).exists():
            return
        before = read_manifest(out / MANIFEST)
        if fresh:
            for clip in before.clips:
                (out / clip.file).unlink(missing_ok=True)
            return
        if changed := [key for key in settings if before.settings.get(key) != settings[key]]:
            there, here = (", ".join(json.dumps(of.get(key)) for key in changed) for of in (before.settings, settings))
            raise ConceptError(
                f"{out}: holds concepts that were mined otherwise: {', '.join(changed)} {there}. Choose another "
                f"folder, or mine all again with fresh. Received: {here}"
            )
        first = Path(before.settings.get("root", root))  # manifests had none at first
        above = PurePosixPath()
        if root.is_relative_to(first):
            self._settings["root"], self.below = first.as_posix(), PurePosixPath(root.relative_to(first))
        elif first.is_relative_to(root):
            above = PurePosixPath(first.relative_to(root))
        elif (below := _moved(before.sources, videos, root)) is not None:
            self._settings["root"] = Path(*root.parts[: len(root.parts) - len(below.parts)]).as_posix()
            self.below = below
        else:
            raise ConceptError(
                f"{out}: was mined from {first}, and these are other videos. Choose another folder for them, or "
                f"--fresh (fresh=True), which forgets the first and its verdicts. Received: {root}"
            )
        for source in before.sources:
            self._sources[str(above / source.path)] = replace(source, path=str(above / source.path))
        for clip in before.clips:
            name = str(above / clip.source)
            self._clips.setdefault(name, []).append(replace(clip, source=name))

    def done(self, source: Source) -> bool:
        known = self._sources.get(source.path)
        if known is None or known.problem or (known.stamp != source.stamp and not _same(known, source.content)):
            return False
        return all((self._out / clip.file).is_file() for clip in self._clips.get(source.path, []))

    def stems(self) -> dict[str, str]:
        """{what the names of clips that are there begin with, without case: their source}."""
        return {
            Path(clip.file).name.rpartition("_t")[0].casefold(): source
            for source, clips in self._clips.items()
            for clip in clips
        }

    def add(self, source: Source, clips: list[ConceptClip]) -> None:
        new = {clip.file for clip in clips}
        for old in self._clips.get(source.path, []):
            if old.file not in new:
                (self._out / old.file).unlink(missing_ok=True)
        self._sources[source.path], self._clips[source.path] = source, clips
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self) -> None:
        write_manifest(self.found())
        self._written = time.monotonic()

    def found(self) -> ConceptSet:
        clips = sorted((clip for clips in self._clips.values() for clip in clips), key=lambda clip: clip.file)
        sources = tuple(self._sources[name] for name in sorted(self._sources))
        return ConceptSet(self._out, self._concepts, tuple(clips), self._settings, sources)


def _moved(known: Sequence[Source], videos: Mapping[str, Path], root: Path) -> PurePosixPath | None:
    """Where the folder `root` of videos {name: path} lies in the one that was mined, which was elsewhere then.

    Names and contents tell it: the videos are among the known ones or all of these are among them, and none differs.
    None: these are other videos.
    """
    sources = {source.path: source for source in known}
    for depth in range(len(root.parts)):
        below = PurePosixPath(*root.parts[len(root.parts) - depth :])
        names = {str(below / name): path for name, path in videos.items()}
        there = {name for name in sources if PurePosixPath(name).is_relative_to(below)}
        shared = there & names.keys()
        if shared and shared in (there, names.keys()) and all(_same(sources[n], content_of(names[n])) for n in shared):
            return below
    return None


def _same(known: Source, content: str) -> bool:
    return known.content != "" and known.content == content  # older manifests have none


def _cut_video(path, name, stem, tracks, out, how: Cutting) -> list[ConceptClip]:
    """Writes the clips of one video."""
    if not tracks:
        return []
    info, clips = probe(path), []
    size, ranks = (info.height, info.width), _ranks(tracks)
    for number, track in enumerate(tracks):
        start = _best_stretch(track, how.max_frames)
        track = track.part(start, start + how.max_frames)
        canvas = canvas_of(whole_pixels(track.boxes, size))
        if min(canvas) < how.smallest or (how.per_video is not None and ranks[number] >= how.per_video):
            continue
        if track.frames[-1] >= info.frames:
            raise VideoError(path, f"has {info.frames} frames, and a track reaches frame {track.frames[-1]}")
        best = best_frame(track)
        still = track.part(best, best + 1)
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
            file = f"{file_name(track.label)}/{kind}/{stem}_t{number}.mp4"
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            if kind == "spatial":
                shown = int(still.frames[0])
                pixels = itertools.repeat(next(_crops(path, still, None, how.fill)), len(track.frames))
            else:
                shown, pixels = None, _crops(path, track, canvas, how.fill)
            # Every frame by itself: where x264 looks ahead, frames of some sizes came out otherwise from run to run,
            # and with them every score.
            write_video(out / file, pixels, fps=info.fps or 10, qp=16, keyint=1, threads=1)
            clips.append(ConceptClip(file=file, kind=kind, shown=shown, **common))
    return clips


def _crops(path: Path, track: Track, canvas: tuple[int, int] | None, fill: int) -> Iterator[np.ndarray]:
    """The frames of the clip of a track, one by one."""
    for start in range(0, len(track.frames), _WINDOW):
        part = track.part(start, start + _WINDOW)
        yield from cut(read_frames(path, part.frames, None), part, fill, canvas)


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


def _stems(names: Collection[str], taken: Mapping[str, str]) -> dict[str, str]:
    """{source: what its clips' names begin with}: the file's stem where that is unique, else all of its path.

    Args:
        names: of sources.
        taken: {such a beginning, in lower case: the source whose clips have it already}; no other source gets it.
    """
    counts = Counter(Path(name).stem.casefold() for name in {*names, *taken.values()})
    owners, stems = dict(taken), {}
    for name in names:
        plain, whole = Path(name).stem, re.sub(r"[/\\]+", "__", name).lstrip("._")
        choices = itertools.chain([whole], (f"{whole}_{number}" for number in itertools.count(2)))
        if counts[plain.casefold()] == 1:
            choices = itertools.chain([plain], choices)
        stems[name] = next(each for each in choices if owners.get(each.casefold(), name) == name)
        owners[stems[name].casefold()] = name
    return stems
