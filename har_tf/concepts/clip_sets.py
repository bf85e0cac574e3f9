"""Sets of clips for TCAV, as a model takes them: of concepts, of random things, and of a class.

reader = ClipReader((32, 224, 224, 3), {"sampling": "strided", "short": "repeat", "fit": "crop"})
tennis = reader.videos(records, count=30)
sets = concept_sets(found, reader, Concepts())
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from har_tf.concepts.concept_set import ConceptClip, ConceptError, ConceptSet
from har_tf.concepts.options import Concepts
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord
from har_tf.video import VideoError

STATIC, DYNAMIC = "static", "dynamic"
KIND = {STATIC: "spatial", DYNAMIC: "spatiotemporal"}  # as folders of concepts call them


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips, uint8 (N, T, H, W, 3), the video that each is from, and the recording that this was cut from.

    Random sets, which share clips, are lists of parts of one array: (T, H, W, 3) each.
    `groups` are what intervals, cross-validation and tests keep together; without them every video is its own.
    """

    clips: np.ndarray | Sequence[np.ndarray]
    sources: tuple[str, ...]
    groups: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "groups", self.groups or self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def backwards(self) -> "ClipSet":
        """The clips with their frames in reverse order."""
        return ClipSet(np.stack([clip[::-1] for clip in self.clips]), self.sources, self.groups)


@dataclass(frozen=True, eq=False)
class ClipReader:
    """Reads clips as one model takes them.

    Args:
        shape: (T, H, W, 3) of a clip.
        clip: sampling, short and fit of clips of videos, see `VideoRecord.read`.
        fit_concepts: "letterbox" or "stretch": how concept clips are brought to the model's size.
        short_concepts: "repeat_last" or "wrap": what is done with concept clips of fewer frames.
        recordings: video -> the recording that it was cut from, see `concept_split.recordings`.
        skipped: path of what could not be read -> why; grows with every call.
    """

    shape: tuple[int, int, int, int]
    clip: Mapping[str, str]
    fit_concepts: str = "letterbox"
    short_concepts: str = "repeat_last"
    recordings: Mapping[str, str] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)

    def videos(self, records: Sequence[VideoRecord], count: int, seed: int = 0) -> ClipSet | None:
        """Clips of at most `count` videos, drawn with the seed; None where none can be read."""
        how = {"num_frames": self.shape[0], "size": self.shape[1:3], **self.clip}
        drawn = (records[i] for i in np.random.default_rng([seed, 1]).permutation(len(records)).tolist())
        return self._set(((record.path, str(record.path), partial(record.read, **how)) for record in drawn), count)

    def concepts(self, found: ConceptSet, clips: Sequence[ConceptClip]) -> ClipSet | None:
        """Concept clips; those that cannot be decoded are left out. None where none is left."""

        def read(clip: ConceptClip) -> np.ndarray:
            return found.read([clip], self.shape[0], self.shape[1:3], self.fit_concepts, self.short_concepts)[0]

        return self._set((found.folder / clip.file, clip.source or clip.file, partial(read, clip)) for clip in clips)

    def _set(self, wanted: Iterable[tuple[Path, str, Callable]], count: int | None = None) -> ClipSet | None:
        """Reads clips until there are `count`, given the file, the source and the way to read each."""
        clips, sources = [], []
        for path, source, read in wanted:
            if len(clips) == count:
                break
            try:
                clips.append(read())
                sources.append(source)
            except (VideoError, ConceptError) as error:
                self.skipped[path] = getattr(error, "reason", str(error))
        groups = tuple(self.recordings.get(source, source) for source in sources)
        return ClipSet(np.stack(clips), tuple(sources), groups) if clips else None


@dataclass(frozen=True, eq=False)
class ConceptSets:
    """The clips of concepts and of random sets, each static and dynamic.

    Random clips are drawn "from our entire corpus of concepts" (section 3.4): of all classes and things.

    Attributes:
        concepts: kind -> concept -> its clips.
        randoms: kind -> random sets, one more than were asked for: the last is tested as if it were a concept.
        missing: kind -> why there is none of it.
        corpus: kind -> clips that random sets are drawn from.
        undecided: clips of concepts among `concepts` that nobody has reviewed.
    """

    concepts: Mapping[str, Mapping[str, ClipSet]]
    randoms: Mapping[str, Sequence[ClipSet]]
    missing: Mapping[str, str]
    corpus: Mapping[str, int]
    undecided: int = 0

    @property
    def names(self) -> list[str]:
        """The concepts."""
        return list(next(iter(self.concepts.values())))

    def counts(self) -> dict:
        """Clips of every concept, of a random set, and of the corpus, by kind."""
        return {
            "concepts": {
                name: {kind: len(shown[name]) for kind, shown in self.concepts.items()} for name in self.names
            },
            "random": {kind: len(sets[0]) for kind, sets in self.randoms.items()},
            "corpus": dict(self.corpus),
            "undecided": self.undecided,
        }

    def mixed(self) -> list[ClipSet]:
        """Random sets of static and dynamic clips, half of each.

        The sets of both kinds are of the same tracks, by concept: every other clip keeps the mixture of concepts, and
        takes no track twice.
        """
        return [
            ClipSet(
                [*still.clips[::2], *moving.clips[1::2]],
                (*still.sources[::2], *moving.sources[1::2]),
                (*still.groups[::2], *moving.groups[1::2]),
            )
            for still, moving in zip(self.randoms[STATIC], self.randoms[DYNAMIC], strict=True)
        ]


def of_class(
    dataset: ActionDataset, records: Sequence[VideoRecord], label: int, asked: Concepts, advice: str = ""
) -> list[VideoRecord]:
    """The videos of the class among those of the data set that may be explained.

    Args:
        dataset, records, label: the videos, and which class of theirs.
        asked: how many there are at least, by the folds.
        advice: what helps where there are fewer.

    Raises:
        ValueError: there are fewer.
    """
    found = [record for record in records if record.label == label]
    if len(found) < (least := max(2, asked.folds)):
        raise ValueError(
            f"{dataset.root}: {len(found)} videos of {dataset.class_names[label]} can be explained; at least {least} "
            f"are needed, best 30. {advice}"
        )
    return found


def class_clips(records: Sequence[VideoRecord], reader: ClipReader, asked: Concepts, seed: int = 0) -> ClipSet:
    """Clips of videos of the class, at most as many as are asked for.

    Raises:
        ValueError: fewer than the folds take can be read.
    """
    found = reader.videos(records, asked.class_clips, seed)
    if found is None or len(found) < (least := max(2, asked.folds)):
        broken = next(path for record in records if (path := record.path) in reader.skipped)
        raise ValueError(
            f"{len(found or ())} of {len(records)} videos of the class can be read; at least {least} are needed. First "
            f"that cannot: {broken}: {reader.skipped[broken]}"
        )
    return found


def concept_sets(
    found: ConceptSet, reader: ClipReader, asked: Concepts, seed: int = 0, sources: Collection[str] | None = None
) -> ConceptSets:
    """Reads the clips of every concept and of the random sets.

    Args:
        found: the folder of concepts.
        reader: how clips are read.
        asked: which concepts, and how many clips and random sets; one random set more is drawn.
        seed: of the draws.
        sources: videos whose clips may stand for a concept; None: all. Random sets are of all videos.

    Raises:
        ConceptError: too few clips of a concept, or of a random set, can be used, in both kinds.
    """
    concepts, randoms, missing, undecided = {}, {}, {}, 0
    names = found.chosen(asked.names)
    for kind, folder in KIND.items():
        try:
            shown = {}
            for name in names:
                usable = found.select(name, folder, asked.undecided)
                usable = [clip for clip in usable if sources is None or clip.source in sources]
                chosen = _chosen(usable, name, asked, seed)
                shown[name] = _of_concept(found, name, folder, chosen, reader, asked)
                undecided += sum(clip.verdict is None for clip in chosen)
            size = min(asked.concept_clips, max(map(len, shown.values())))
            drawn = found.random_sets(asked.num_random + 1, size, folder, seed, asked.undecided)
            randoms[kind] = _random(found, drawn, reader, max(2, asked.folds))
            concepts[kind] = shown
        except ConceptError as error:
            missing[kind] = str(error)
    if not concepts:
        raise ConceptError("; ".join(dict.fromkeys(missing.values())))
    corpus = {kind: len(found.select(None, folder, asked.undecided)) for kind, folder in KIND.items()}
    return ConceptSets(concepts, randoms, missing, corpus, undecided)


def _chosen(usable, name, asked, seed) -> list[ConceptClip]:
    usable = sorted(usable, key=lambda clip: clip.file)
    order = np.random.default_rng([seed, *name.encode()]).permutation(len(usable))
    return [usable[i] for i in sorted(order[: asked.concept_clips].tolist())]


def _of_concept(found, name, folder, chosen, reader, asked) -> ClipSet:
    if not chosen:
        raise ConceptError(f"{found.folder}: concept {name!r} has no {folder} clip that can be used")
    read = reader.concepts(found, chosen)
    recordings = 0 if read is None else len(set(read.groups))
    if recordings < asked.folds or len(read or ()) < 2:
        failed = [clip.file for clip in chosen if found.folder / clip.file in reader.skipped]
        broken = f", {len(failed)} of {len(chosen)} cannot be decoded, the first {failed[0]}" if failed else ""
        needs = f"{asked.folds}-fold cross-validation needs at least {asked.folds}" if asked.folds else "2 are needed"
        raise ConceptError(
            f"{found.folder}: concept {name!r} has {folder} clips of {recordings} recordings that can be used"
            f"{broken}; {needs}, a test best 30"
        )
    return read


def _random(found, drawn, reader, least) -> list[ClipSet]:
    different = list({clip.file: clip for clips in drawn for clip in clips}.values())
    read = reader.concepts(found, different)
    there = (clip.file for clip in different if found.folder / clip.file not in reader.skipped)
    row = {file: i for i, file in enumerate(there)}
    sets = []
    for clips in drawn:
        rows = [row[clip.file] for clip in clips if clip.file in row]
        if len(rows) < least:
            raise ConceptError(
                f"{found.folder}: a random set has {len(rows)} clips that can be decoded. {least} are needed"
            )
        sources, groups = (tuple(names[i] for i in rows) for names in (read.sources, read.groups))
        sets.append(ClipSet([read.clips[i] for i in rows], sources, groups))
    return sets
