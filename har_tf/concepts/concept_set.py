"""A folder of concept clips: its manifest, what people said of the clips, and the sets that TCAV takes.

    found = concepts.load("concepts")
    found.arrays(32, (224, 224))                         {"person": uint8 (N, 32, 224, 224, 3), ...}
    found.random_sets(count=10, size=30)                 clips of all classes, as controls

    DIR/concepts.json                                    every clip: source, frames, boxes, scores, verdict
    DIR/<concept>/<kind>/<source>_t<track>.mp4

`concepts.mine` fills such a folder. One of videos `DIR/<concept>/*.mp4` without `concepts.json` is taken too, as
concepts that were made by hand.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from har_tf.concepts.detectors.base import letterbox
from har_tf.datasets import walk
from har_tf.datasets.folder import SUFFIXES, check_folder
from har_tf.datasets.records import relative
from har_tf.files.json_text import parse_json
from har_tf.files.whole import alone, whole_file
from har_tf.names import closest, shown
from har_tf.video import VideoError, read_clip

KINDS = ("spatiotemporal", "spatial")
VERDICTS = ("accepted", "rejected")
MANIFEST = "concepts.json"
MOST_LETTERS = 200  # of a reason
_VERSION = 1

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
        content: see `har_tf.datasets.records.content_of`; by it a video is known again that was moved.
    """

    path: str
    stamp: tuple[int, int]
    frames: int = 0
    tracks: int = 0
    problem: str = ""
    content: str = ""


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
        short: str = "repeat_last",
    ) -> np.ndarray:
        """The pixels of clips, uint8 (N, T, H, W, 3); those that cannot be decoded are left out with a warning.

        Args:
            clips: of this set.
            num_frames: frames T of each, evenly from first to last.
            size: (height, width).
            fit: "letterbox" scales evenly and leaves the rest black; "stretch" changes the ratio of the sides.
            short: of shorter clips the last frame is repeated ("repeat_last"), or they start again ("wrap").

        Raises:
            ConceptError: there is none, or none can be decoded.
            ValueError: another fit.
        """
        if fit not in ("letterbox", "stretch"):
            raise ValueError(f"fit is letterbox or stretch. Received: fit={fit!r}")
        found, failed = [], []
        for clip in clips:
            try:
                found.append(_fitted(read_clip(self.folder / clip.file, num_frames, None, short=short), size, fit))
            except VideoError as error:
                failed.append(str(error))
        if not found:
            what = f"none of {len(failed)} clips can be decoded; the first: {failed[0]}" if failed else "no clips"
            raise ConceptError(f"{self.folder}: {what}. At least one clip is needed")
        if failed:
            log.warning("%s: %d of %d clips left out, the first: %s", self.folder, len(failed), len(clips), failed[0])
        return np.stack(found)

    def of_class(self, name: str) -> ConceptSet:
        """The clips that were cut from videos in a folder of this name, in any case, such as that of a class.

        Raises:
            ConceptError: there is none.
        """
        videos = {each.source for each in self.clips} | {each.path for each in self.sources}
        root = PurePosixPath(self.settings.get("root", "")).name  # it may be the folder of the class itself
        folders = {video: PurePosixPath(root, video).parts[:-1] for video in videos}
        inside = {video for video in videos if name.casefold() in map(str.casefold, folders[video])}
        clips = tuple(clip for clip in self.clips if clip.source in inside)
        if not clips:
            known = sorted({folder for parts in folders.values() for folder in parts[-1:]})
            raise ConceptError(f"{self.folder}: no clip of videos of {name!r}.{closest(name, known)}")
        return replace(self, clips=clips, sources=tuple(each for each in self.sources if each.path in inside))

    def chosen(self, names: Sequence[str] | None = None) -> list[str]:
        """The concepts to use; None: all that were asked for when the folder was made.

        Raises:
            ConceptError: an unknown one, or fewer than two.
        """
        names = list(dict.fromkeys(self.concepts if names is None else names))
        known = sorted({clip.concept for clip in self.clips} | set(self.concepts))
        if unknown := [name for name in names if name not in known]:
            raise ConceptError(f"{self.folder}: no concept {unknown[0]!r}. It has {', '.join(known)}")
        if len(names) < 2:
            raise ConceptError(
                f"{self.folder}: relative TCAV sets concepts against each other; at least two are needed. "
                f"Received: {', '.join(names) or 'none'}"
            )
        return names

    def arrays(
        self,
        num_frames: int,
        size: tuple[int, int],
        kind: str = "spatiotemporal",
        concepts: Sequence[str] | None = None,
        undecided: bool = True,
        fit: str = "letterbox",
    ) -> dict[str, np.ndarray]:
        """The clips of every concept, {name: uint8 (N, T, H, W, 3)}, as TCAV takes them.

        Args:
            num_frames, size, fit: as in `read`.
            kind, undecided: as in `select`.
            concepts: names, two or more; None: all that were asked for.

        Raises:
            ConceptError: fewer concepts, or one without a clip, or whose clips all fail.
        """
        if kind not in KINDS:
            raise ConceptError(f"Kinds of concepts are {', '.join(KINDS)}. Received: {kind}")
        chosen = {name: self.select(name, kind, undecided) for name in self.chosen(concepts)}
        for name, clips in chosen.items():
            if not clips:
                counts = self.counts()[name, kind]
                told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
                only = "" if undecided else "; undecided ones do not count here"
                raise ConceptError(
                    f"{self.folder}: concept {name!r} has no {kind} clip that can be used, of {counts.total()} "
                    f"({told}{only}). 1 needed"
                )
        return {name: self.read(clips, num_frames, size, fit) for name, clips in chosen.items()}

    def random_sets(
        self, count: int = 10, size: int = 30, kind: str = "spatiotemporal", seed: int = 0, undecided: bool = True
    ) -> list[list[ConceptClip]]:
        """Sets of clips drawn from "our entire corpus of concepts" (section 3.4 of the paper), as controls.

        Within a set no clip is drawn twice, two sets may share some. A set depends on the seed and its own number only.

        Args:
            count: sets.
            size: clips in each.
            kind, undecided: as in `select`.
            seed: of the draws.

        Raises:
            ConceptError: the corpus has fewer clips than a set.
        """
        corpus = sorted(self.select(None, kind, undecided), key=lambda clip: clip.file)
        if len(corpus) < size:
            raise ConceptError(
                f"{self.folder}: a random set of {size} {kind} clips cannot be drawn from {len(corpus)}. Mine more "
                "videos, or ask for smaller sets"
            )
        rngs = (np.random.default_rng([seed, number]) for number in range(count))
        return [[corpus[i] for i in sorted(rng.choice(len(corpus), size, replace=False).tolist())] for rng in rngs]

    def counts(self) -> dict[tuple[str, str], Counter]:
        """{(concept, kind): how many clips of each verdict}, the concepts first and then other classes by name."""
        others = sorted({clip.concept for clip in self.clips} - set(self.concepts))
        return {
            (name, kind): Counter(c.verdict or "undecided" for c in self.clips if (c.concept, c.kind) == (name, kind))
            for name in (*self.concepts, *others)
            for kind in KINDS
        }


def load(folder: str | Path) -> ConceptSet:
    """The concepts in a folder that `mine` filled, or that has a folder of videos for each concept.

    Of the latter, videos in `DIR/<concept>/spatial` are spatial, and all others spatiotemporal. What lies there counts,
    also if it came after the first verdict, which writes a manifest.

    Raises:
        ConceptError: no concept in it, a concept without a clip file, or a manifest that cannot be read.
        DatasetError: no such folder.
    """
    folder = check_folder(folder, "a folder of concepts")
    path = folder / MANIFEST
    if not path.exists():
        return _made_by_hand(folder)
    found = read_manifest(path)
    missing = [clip.file for clip in found.clips if not (folder / clip.file).is_file()]
    if missing:
        advice = "Mine again, or restore the files" if found.settings else "Restore the files, or take out their lines"
        raise ConceptError(f"{path}: names {len(missing)} clips that are not there, the first: {missing[0]}. {advice}")
    return found if found.settings else _joined(found, _made_by_hand(folder))


def store_verdicts(folder: str | Path, verdicts: Mapping[str, Mapping[str, str | None]]) -> ConceptSet:
    """Writes verdicts into the manifest, whole; waits for a `mine` at work on the same folder.

    Args:
        folder: of concepts.
        verdicts: {clip's file: {"verdict": "accepted", "rejected" or None, "reason": text or None}}.

    Raises:
        ConceptError: a file that is no clip of the folder, or another verdict; nothing is written.
    """
    with locked(folder):
        found = load(folder)
        if not isinstance(verdicts, Mapping) or not all(isinstance(given, Mapping) for given in verdicts.values()):
            raise ConceptError('Verdicts are {clip: {"verdict": ..., "reason": ...}}. Received: another kind of JSON')
        unknown = [file for file in verdicts if file not in {clip.file for clip in found.clips}]
        if unknown:
            raise ConceptError(
                f"{folder}: has no clip {unknown[0]!r}, one of {len(unknown)} unknown ones. Wrong folder?"
            )
        for file, given in verdicts.items():
            if given.get("verdict") not in (None, *VERDICTS) or not isinstance(given.get("reason"), str | None):
                raise ConceptError(f"{file}: verdicts are {', '.join(VERDICTS)} or null. Received: {dict(given)}"[:500])
            letters = len(given.get("reason") or "")
            if letters > MOST_LETTERS:
                raise ConceptError(f"{file}: a reason has at most {MOST_LETTERS} letters. Received: {letters}")
        clips = tuple(
            replace(clip, verdict=given.get("verdict"), reason=shown(given.get("reason") or "") or None)
            if (given := verdicts.get(clip.file)) is not None
            else clip
            for clip in found.clips
        )
        found = replace(found, clips=clips)
        write_manifest(found)
        return found


def locked(folder: str | Path):
    """Waits until no other process mines into the folder or stores verdicts."""
    return alone(Path(folder) / ".concepts.lock")


def read_manifest(path: Path) -> ConceptSet:
    """The concepts that a manifest names, whether their clips are there or not.

    Raises:
        ConceptError: it cannot be read, is of another version, or names a clip outside its folder or twice.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if content.get("version") != _VERSION:
            raise ConceptError(f"{path}: of version {content.get('version')}. Expected {_VERSION}")
        names = {each.name for each in fields(ConceptClip)}
        clips = []
        for row in content["clips"]:
            row = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
            row["boxes"] = tuple(tuple(box) for box in row["boxes"])
            clips.append(ConceptClip(**{key: row[key] for key in names}))
            for name in ("file", "concept", "kind", "source"):
                if not isinstance(row[name], str):
                    raise TypeError(f"{name} of a clip is no text: {str(row[name])[:50]}")
        sources = tuple(Source(**row | {"stamp": tuple(row["stamp"])}) for row in content["sources"])
        concepts, settings = tuple(content["concepts"]), dict(content["settings"])
    except ConceptError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConceptError(f"{path}: not a manifest of concepts ({type(error).__name__}: {error})") from error
    outside = [clip.file for clip in clips if Path(clip.file).is_absolute() or ".." in Path(clip.file).parts]
    if outside:
        raise ConceptError(f"{path}: names a clip outside its folder: {outside[0]}")
    owners: dict[str, str] = {}
    for clip in clips:
        if clip.file in owners:
            both = f"{owners[clip.file] or 'no source'} and {clip.source or 'no source'}"
            raise ConceptError(f"{path}: two clips are {clip.file}, of {both}. Delete {path.name} and mine again")
        owners[clip.file] = clip.source
    return ConceptSet(path.parent, concepts, tuple(clips), settings, sources)


def write_manifest(found: ConceptSet) -> None:
    """Writes the manifest into its folder, a clip a line, so that changes of verdicts are read easily in a diff."""
    clips = ",\n  ".join(json.dumps(asdict(clip), ensure_ascii=False) for clip in found.clips)
    sources = ",\n  ".join(json.dumps(asdict(source), ensure_ascii=False) for source in found.sources)
    text = (
        f'{{\n"version": {_VERSION},\n"concepts": {json.dumps(list(found.concepts), ensure_ascii=False)},\n'
        f'"settings": {json.dumps(dict(found.settings), ensure_ascii=False)},\n'
        f'"sources": [\n  {sources}\n],\n"clips": [\n  {clips}\n]\n}}\n'
    )
    with whole_file(found.folder / MANIFEST) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


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


def _joined(known: ConceptSet, there: ConceptSet) -> ConceptSet:
    """A set that was made by hand, with the clips that have come since its manifest was written."""
    files = {clip.file for clip in known.clips}
    clips = [*known.clips, *(clip for clip in there.clips if clip.file not in files)]
    concepts = dict.fromkeys([*known.concepts, *there.concepts])
    return replace(known, concepts=tuple(concepts), clips=tuple(sorted(clips, key=lambda clip: clip.file)))


def _fitted(clip: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """A clip (T, h, w, 3) at another size."""
    if fit == "letterbox":
        return np.stack([letterbox(frame, size, 0, smaller=cv2.INTER_AREA)[0] for frame in clip])
    shrinks = size[0] <= clip.shape[1] and size[1] <= clip.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, size[::-1], interpolation=how) for frame in clip])
