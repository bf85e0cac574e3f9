"""Which videos give concepts and which are explained; nothing is used twice.

The model learns from the training part. The test part is divided by source, such as a person and scene: one half gives
concepts and random clips ("the concept generating split of the test set", Saha et al. 2024), and the other the clips of
the class. Where concepts come from another part of the data, all of the test part is explained.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from har_tf.command import words
from har_tf.concepts.concept_set import ConceptSet, load
from har_tf.concepts.detectors.base import Detector, check_concepts
from har_tf.concepts.detectors.open import open_detector
from har_tf.concepts.mining import cut_tracks, mine
from har_tf.concepts.options import Concepts
from har_tf.concepts.tracks import true_tracks
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord, relative
from har_tf.names import say


@dataclass(frozen=True, eq=False)
class ConceptSplit:
    """The videos of a study.

    Attributes:
        train, validation: of the training part; empty where nothing is trained.
        concept: the videos that concepts come from, or show the same.
        explained: those that are explained.
        part, concept_part: of which part of the data those are, and those that give concepts: train, val or test.
        note: how the videos were divided, in words.
        tested: those of the part that is explained, on which a model that is trained here is measured.
        barred: those whose clips in a folder of concepts are left out: the explained and others of their recordings,
            and, where concepts come from another part, all that are not of it.
    """

    train: Sequence[VideoRecord]
    validation: Sequence[VideoRecord]
    concept: Sequence[VideoRecord]
    explained: Sequence[VideoRecord]
    part: str
    concept_part: str
    note: str
    tested: Sequence[VideoRecord]
    barred: Sequence[VideoRecord]

    def explained_of(self, class_names: Sequence[str], known: Sequence[str]) -> dict[str, list[VideoRecord]]:
        """Class -> its videos that are explained, of the classes that the model knows, in any case."""
        keys = {name.casefold() for name in known}
        return {
            name: [record for record in self.explained if record.label == label]
            for label, name in enumerate(class_names)
            if name.casefold() in keys
        }


def divide(
    dataset: ActionDataset,
    target: int,
    protocol: str,
    seed: int = 0,
    test: float = 0.2,
    validation: float | None = None,
    given: ConceptSet | None = None,
    asked: Concepts | None = None,
    part: str | None = None,
    concept_part: str | None = None,
) -> ConceptSplit:
    """Divides the videos; of a source, all are on one side.

    Args:
        dataset: all videos.
        target: label of the class that is explained.
        protocol: of the split into training and test part, see `datasets.splits`.
        seed: of the split.
        test: share of the videos in the test part where there is no official split; 1: all of them.
        validation: share of the training part for choosing an epoch; None: nothing is trained.
        given: concepts that are there already: all test videos that they were not mined from are explained. None, or
            where nothing of the class is left: the sources of the class are halved, and so are the others; of the
            class, those that show the rarest concept come first into the half that gives concepts.
        asked: which of the given concepts are used; None: all.
        part: the official part that is explained, see `ActionDataset.part`; None: the test part.
        concept_part: the part that concepts come from, where it is another one: all of `part` is explained, and no
            recording of that gives a concept. None: that is divided as told under `given`.

    Raises:
        DatasetError: the data have no such part, or cannot be split.
        ValueError: what is explained would choose the epoch of what is trained.
    """
    train, held, rest, own, name = (), (), dataset.records, "", part or dataset.test_name
    if dataset.official is not None or part or concept_part:
        rest = dataset.part(name).records
    if validation is not None or (dataset.official is None and test < 1):
        learned, other = dataset.split(protocol, seed, test)
        rest = rest if part else other.records
        if validation is not None:
            by_group = protocol != "random"
            train, held = (each.records for each in learned.hold_out(validation, seed, by_group))
            if learned.validation is not None:
                own = f"; best epoch by the data's own validation part, {len(held)}"
            if learned.validation is not None and name == "val":
                raise ValueError(f"{dataset.root}: the val part chooses the epoch of what is trained. Explain test")
    if concept_part not in (None, name):
        shown, giving = _shown(rest), dataset.part(concept_part)
        concept = [record for record in giving if _shown([record]).isdisjoint(shown)]
        note = f"{len(concept)} {concept_part} videos may give concepts and all {len(rest)} {name} videos are explained"
        if len(concept) < len(giving):
            own = f"; {len(giving) - len(concept)} {concept_part} videos show the same as these and give none{own}"
        if {record.path for record in concept} & {record.path for record in (*train, *held)}:
            own = f"; the model was trained, or its epoch chosen, on those that give concepts{own}"
        giving = {record.path for record in concept}
        barred = [record for record in dataset if record.path not in giving]
        return ConceptSplit(train, held, concept, rest, name, concept_part, note + own, rest, barred)

    def divided(concept, explained, note):
        shown = _shown(explained)
        barred = [record for record in dataset if not _shown([record]).isdisjoint(shown)]
        return ConceptSplit(train, held, concept, explained, name, name, note + own, rest, barred)

    if given is not None:
        used = {path for paths in sources_among(given, rest).values() for path in paths}
        groups = {record.group for record in rest if record.path in used and record.group is not None}
        mined = [record for record in rest if record.path in used or record.group in groups]
        explained = [record for record in rest if record.path not in used and record.group not in groups]
        if shared := len(sources_among(given, [*train, *held])):
            own = f"; {shared} training videos gave concepts, too, so the model has seen them{own}"
        if any(record.label == target for record in explained):
            note = f"{len(mined)} of {len(rest)} {name} videos gave concepts, or show the same, and are not explained"
            return divided(mined, explained, note)
    source = {record: record.group or relative(record.path, dataset.root) for record in rest}
    mine = sorted({source[record] for record in rest if record.label == target})
    others = sorted(set(source.values()) - set(mine))
    rng = np.random.default_rng(seed)
    dealt = [rng.permutation(part).tolist() for part in (mine, others)]
    if given is not None:
        rare = _rarest(given, asked or Concepts(), {r: name for r, name in source.items() if r.label == target})
        dealt[0].sort(key=lambda name: name not in rare)
    first = {name for part in dealt for name in part[: (len(part) + 1) // 2]}
    concept, explained = ([record for record in rest if (source[record] in first) is side] for side in (True, False))
    note = f"of {len(rest)} {name} videos {len(concept)} give concepts and {len(explained)} are explained"
    return divided(concept, explained, note)


def _shown(records: Iterable[VideoRecord]) -> set:
    """What videos show: the recordings that they were cut from, and themselves where that is not known."""
    return {record.path if record.group is None else record.group for record in records}


def _rarest(given: ConceptSet, asked: Concepts, source: Mapping[VideoRecord, str]) -> set[str]:
    """Of the sources {video: source}, those that show the concept that the fewest of them show."""
    by_path = {record.path: name for record, name in source.items()}
    named = {name: by_path[paths[0]] for name, paths in sources_among(given, source).items()}
    shown = [
        {named[clip.source] for clip in given.select(name, undecided=asked.undecided) if clip.source in named}
        for name in given.chosen(asked.names)
    ]
    return min(shown, key=len)


def sources_among(found: ConceptSet, records: Iterable[VideoRecord]) -> dict[str, list[Path]]:
    """Name of a source of concepts -> the videos among records that may be meant: a name may end several paths."""
    known = {source.path for source in found.sources} | {clip.source for clip in found.clips}
    places: dict[str, list[Path]] = {}
    for record in records:
        parts = record.path.parts
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[-count:])
            if name in known:
                places.setdefault(name, []).append(record.path)
    return places


def recordings(found: ConceptSet, dataset: ActionDataset) -> dict[str, str]:
    """Path of a video, or its name as a source of concepts -> the recording that it was cut from, where it is known.

    Clips of several classes count as several recordings, as the studies of docs/results.md were made.
    """
    known = {r.path: f"{dataset.class_names[r.label]}/{r.group}" for r in dataset if r.group is not None}
    named = {name: paths[0] for name, paths in sources_among(found, dataset).items() if len(paths) == 1}
    return {str(path): group for path, group in known.items()} | {
        name: known[path] for name, path in named.items() if path in known
    }


@dataclass(frozen=True, eq=False)
class ConceptSource:
    """Where concepts come from: a folder, else a detector, else the true tracks of the embedded data set.

    Args:
        asked: which concepts.
        given: the folder's concepts.
        detector: what finds things in videos.
    """

    asked: Concepts = Concepts()
    given: ConceptSet | None = None
    detector: Detector | None = None

    @classmethod
    def open(cls, asked: Concepts) -> "ConceptSource":
        """Opens folder and detector, before anything long is done.

        Raises:
            ConceptError: no folder of concepts, or not these concepts in it.
            DetectorError: no such detector, or not these classes.
        """
        given = None if asked.concepts is None else load(asked.concepts)
        if given is not None:
            given.chosen(asked.names)
        detector = None if asked.detector is None else open_detector(asked.detector, score=asked.score)
        if detector is not None:
            check_concepts(words(asked.labels), detector.names, asked.detector)
        return cls(asked, given, detector)

    def concepts(
        self, dataset: ActionDataset, split: ConceptSplit, target: int, out: Path, seed: int = 0
    ) -> tuple[ConceptSet, set[str] | None]:
        """The concepts: those given, or cut out of the concept half: of the class, and random things of other classes.

        Of a given folder, clips of videos that are `barred` are left out.

        Args:
            dataset, split, target: the videos, their split, and the label of the class.
            out: folder for concepts that are cut.
            seed: of the choice of videos of other classes.

        Returns:
            The concepts, and the sources whose clips may stand for one, those of the class; None: all. Of a given
            folder, those of unknown videos may as well, and all where it has none of the class.

        Raises:
            ValueError: no video of the class is left.
        """
        if self.given is not None:
            unused = sources_among(self.given, split.barred)
            clips = tuple(clip for clip in self.given.clips if clip.source not in unused)
            places = {clip.source for clip in clips}
            of_class, of_others = (
                places & sources_among(self.given, (r for r in dataset if (r.label == target) is side)).keys()
                for side in (True, False)
            )
            all_stand = self.asked.concept_videos == "all" or not of_class
            return replace(self.given, clips=clips), None if all_stand else places - (of_others - of_class)
        own = [record for record in split.concept if record.label == target]
        name = dataset.class_names[target]
        if not own:
            raise ValueError(f"{dataset.root}: no video of {name} is left to mine concepts from")
        rest = [record for record in split.concept if record.label != target]
        order = np.random.default_rng([seed, 2]).permutation(len(rest))[: self.asked.random_videos]
        mined = [*own, *(rest[i] for i in sorted(order.tolist()))]
        say(f"mining concepts from {len(own)} videos of {name} and {len(order)} others")
        if self.detector is not None:
            found = mine([record.path for record in mined], self.detector, words(self.asked.labels), out)
        else:
            tracks = {record.path: _true_things(record, dataset.class_names[record.label]) for record in mined}
            labels = {track.label for record in own for track in tracks[record.path]}
            shown = [label for label in ("ball", "box", "person", "limb") if label in labels]
            # A ball is a few pixels across in small frames.
            found = cut_tracks(tracks, list(tracks), shown, out, smallest=4)
        # Of a short name and a longer one that both end a path, the longer is meant.
        names = {path: name for name, paths in sources_among(found, own).items() for path in paths}
        return found, set(names.values())


def _true_things(record: VideoRecord, action: str) -> list:
    """What the embedded data set calls object is a ball where it is thrown, and a box where it is picked up."""
    thing = {"object": "ball" if action in ("throw", "catch") else "box"}
    return [replace(track, label=thing.get(track.label, track.label)) for track in true_tracks(record)]
