"""THUMOS'14: untrimmed sports videos of 20 actions, with the seconds in which each is done (Idrees et al. 2017);
and MultiTHUMOS: the same videos, labelled densely with 65 actions (Yeung et al. 2017).

    video_validation_0000051.mp4 ...      in any folders, as unpacked from TH14_validation_set_mp4.zip
    video_test_0000004.mp4 ...            and TH14_test_set_mp4.zip
    annotation/<Class>_val.txt            TH14_Temporal_annotations_validation.zip, 20 classes and Ambiguous
    annotation/<Class>_test.txt           TH14_Temporal_Annotations_Test.zip
    multithumos/class_list.txt            multithumos.zip: '<number> <Class>'
    multithumos/annotations/<Class>.txt

Each line of an annotation is '<video> <start> <end>', in seconds. A record is one segment; the segments of a video
are siblings. The validation set is what one trains on. Published for THUMOS'14: 3,007 segments in 200 validation
videos, 3,358 in 212 test videos (a 213th, video_test_0001292, has ambiguous segments only).

What the annotations get wrong, and what is done about it, told in `notes`:

- every CliffDiving is a Diving with the same seconds as well. A record has one label, so a segment with several
  classes goes to the one with fewest segments, which is the most specific (see `one_label`); a segment that is
  listed twice for a class is one;
- the segments of video_test_0000270 and video_test_0001496 belong to other videos: most papers leave them out;
- some segments run past the end of their video: `har_tf.video.segment` says which are read nevertheless.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset, check_classes
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import numbered_lines, some
from har_tf.datasets.published import lacking
from har_tf.datasets.records import VideoRecord

# Also the order of detclasslist.txt.
CLASSES = (
    *("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot"),
    *("Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump", "PoleVault"),
    *("Shotput", "SoccerPenalty", "TennisSwing", "ThrowDiscus", "VolleyballSpiking"),
)
AMBIGUOUS = "Ambiguous"
PARTS = {"val": "validation", "test": "test"}
PUBLISHED = {"validation": (3007, 200), "test": (3358, 212)}  # segments, videos
WRONG = ("video_test_0000270", "video_test_0001496")
ANNOTATIONS = ("thumos14", "multithumos")

_VIDEO = re.compile(r"video_(validation|test)_\d{7}")


@dataclass(frozen=True)
class Segment:
    """A line of an annotation."""

    class_name: str
    video: str
    start: float
    end: float

    @property
    def part(self) -> str:
        return self.video.split("_")[1]


def load(
    root: str | Path | None,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    annotations: str = "thumos14",
    one_label: bool = True,
    drop_wrong: bool = True,
    partial: bool = False,
) -> ActionDataset:
    """Loads the segments of THUMOS'14 or MultiTHUMOS, with (validation set, test set) as the official split.

    Args:
        root: the folder that holds the videos, in any folders in it.
        classes, partial: see `har_tf.datasets.load`.
        lists: the folder of the annotations, or one around it; None: `root`.
        annotations: "thumos14" or "multithumos".
        one_label: a segment that several classes have in common is one record, of the rarest of them; False: a
            record for each, all with the same `VideoRecord.name`.
        drop_wrong: leave out the two test videos whose annotations belong to other videos.

    Raises:
        DatasetError: no annotation, or one of a class is missing or malformed; an unknown class; a video is
            missing, or there twice.
    """
    if annotations not in ANNOTATIONS:
        raise DatasetError(f"annotations must be one of {', '.join(ANNOTATIONS)}. Received: {annotations!r}")
    root = folder.check_folder(root, "the folder of the videos, video_validation_0000051.mp4 and so on")
    lists = root if lists is None else folder.check_folder(lists, "the folder of the annotations")
    read = read_thumos if annotations == "thumos14" else read_multithumos
    class_names, segments, notes = read(lists, classes)
    if drop_wrong:
        wrong = [segment.video for segment in segments if segment.video in WRONG]
        if wrong:
            names = some(sorted(set(wrong)))
            notes.append(f"{len(wrong)} segments left out, whose annotation is known to be wrong: {names}")
        segments = [segment for segment in segments if segment.video not in WRONG]
    different = list(dict.fromkeys(segments))
    if len(different) < len(segments):
        notes.append(f"{len(segments) - len(different)} segments are listed twice, and count once")
    segments = _one_label_each(different, class_names, notes) if one_label else different

    videos = _videos(root)
    annotated = {segment.video for segment in segments}
    missing = sorted(annotated - videos.keys())
    if len(missing) == len(annotated):
        raise DatasetError(f"{root}: none of the {len(annotated)} annotated videos is there")
    if missing:
        text = f"{len(missing)} of {len(annotated)} annotated videos are not there: {some(missing)}"
        notes += lacking([text], root, partial)
    label = {name: position for position, name in enumerate(class_names)}
    records = tuple(
        VideoRecord(videos[s.video], label[s.class_name], s.video, segment=(s.start, s.end))
        for s in sorted(segments, key=lambda s: (label[s.class_name], s.video, s.start, s.end))
        if s.video in videos
    )
    train, test = (frozenset(r.path for r in records if r.group.split("_")[1] == part) for part in PARTS.values())
    if not (train and test):
        notes.append(f"no official split, for there is no segment of the {'test' if train else 'validation'} videos")
    return ActionDataset(
        name=annotations,
        root=root,
        records=records,
        class_names=class_names,
        official=(train, test) if train and test else None,
        notes=tuple(notes),
    )


def read_thumos(lists: Path, classes: Sequence[str] | None = None) -> tuple[tuple[str, ...], list[Segment], list[str]]:
    """(class names, segments, notes) of the `<Class>_val.txt` and `<Class>_test.txt` in this folder.

    The annotations of one of the two parts may be absent.

    Raises:
        DatasetError: there is none, one of a class is missing or there twice, or a line is malformed.
    """
    found: dict[tuple[str, str], Path] = {}
    for file in walk.files(lists, (".txt",)):
        class_name, _, ending = file.stem.rpartition("_")
        if ending in PARTS and class_name in (*CLASSES, AMBIGUOUS):
            _only(found, (class_name, PARTS[ending]), file)
    parts = [part for part in PARTS.values() if any(key[1] == part for key in found)]
    if not parts:
        raise DatasetError(f"{lists}: no annotation. Expected files like {CLASSES[0]}_val.txt, {CLASSES[0]}_test.txt")
    class_names = tuple(check_classes(classes, CLASSES, str(lists)))
    segments, notes = [], []
    for part in parts:
        absent = [name for name in class_names if (name, part) not in found]
        if absent:
            raise DatasetError(f"{lists}: no {part} annotation of {some(absent)}, but of other classes")
        of_part = [s for name in class_names for s in _read(found[name, part], name, notes, part)]
        count = len(of_part), len({segment.video for segment in of_part})
        if classes is None and count != PUBLISHED[part]:
            expected = "{:,} in {}".format(*PUBLISHED[part])
            notes.append(f"{count[0]:,} segments in {count[1]} {part} videos. Published: {expected}")
        if (AMBIGUOUS, part) in found:
            ambiguous = _read(found[AMBIGUOUS, part], AMBIGUOUS, notes, part)
            notes.append(f"{len(ambiguous)} ambiguous {part} segments left out")
        segments += of_part
    return class_names, segments, notes


def read_multithumos(
    lists: Path, classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[Segment], list[str]]:
    """(class names, segments, notes) of `class_list.txt` and `annotations/<Class>.txt` in or below this folder.

    Raises:
        DatasetError: there is no such list, a class lacks its annotation, or a line is malformed.
    """
    indices = [file for file in walk.files(lists, (".txt",)) if file.name == "class_list.txt"]
    if len(indices) != 1:
        found = ", ".join(map(str, indices)) or "none"
        raise DatasetError(f"{lists}: expected one class_list.txt, beside the folder 'annotations'. Received: {found}")
    known = _read_class_list(indices[0])
    class_names = tuple(check_classes(classes, known, str(lists)))
    files = {file.stem: file for file in walk.files(indices[0].parent / "annotations", (".txt",))}
    absent = [name for name in class_names if name not in files]
    if absent:
        raise DatasetError(f"{indices[0].parent / 'annotations'}: no annotation of {some(absent)}")
    notes: list[str] = []
    segments = [segment for name in class_names for segment in _read(files[name], name, notes)]
    if len(known) != 65:
        notes.append(f"{len(known)} classes in class_list.txt. Published: 65")
    return class_names, segments, notes


def _read_class_list(path: Path) -> tuple[str, ...]:
    names: dict[int, str] = {}
    for number, line in numbered_lines(path):
        fields = line.split()
        if len(fields) != 2 or not fields[0].isdecimal() or int(fields[0]) in names or fields[1] in names.values():
            raise DatasetError(f"{path}, line {number}: expected '<number> <Class>', each once. Received: {line!r}")
        names[int(fields[0])] = fields[1]
    if len(names) < 2:
        raise DatasetError(f"{path}: at least two classes are needed. Received: {len(names)}")
    return tuple(names[number] for number in sorted(names))


def _read(path: Path, class_name: str, notes: list[str], part: str | None = None) -> list[Segment]:
    """The segments of a file; those that last no time are left out and told in `notes`."""
    segments, empty = [], []
    for number, line in numbered_lines(path):
        fields = line.split()
        try:
            video, start, end = fields[0], *map(float, fields[1:])
        except (ValueError, IndexError):
            video, start, end = "", math.nan, math.nan
        fits = _VIDEO.fullmatch(video)
        if fits is None or not (math.isfinite(start) and math.isfinite(end)) or start < 0:
            raise DatasetError(f"{path}, line {number}: expected '<video> <start> <end>'. Received: {line!r}")
        if part not in (None, fits[1]):
            raise DatasetError(f"{path}, line {number}: expected a {part} video. Received: {line!r}")
        if start < end:
            segments.append(Segment(class_name, video, start, end))
        else:
            empty.append(number)
    if empty:
        notes.append(f"{path.name}: {len(empty)} segments end before they start, first in line {empty[0]}: left out")
    return segments


def _one_label_each(segments: list[Segment], class_names: Sequence[str], notes: list[str]) -> list[Segment]:
    """One segment for each stretch of a video, of the rarest of its classes."""
    sizes = Counter(segment.class_name for segment in segments)
    rank = {name: (sizes[name], position) for position, name in enumerate(class_names)}
    stretches: dict[tuple[str, float, float], set[str]] = defaultdict(set)
    for segment in segments:
        stretches[segment.video, segment.start, segment.end].add(segment.class_name)
    several = Counter()
    for names in stretches.values():
        kept, *others = sorted(names, key=rank.__getitem__)
        several.update((other, kept) for other in others)
    if several:
        pairs = [f"{other} as {kept} ({count})" for (other, kept), count in several.most_common()]
        notes.append(f"{several.total()} segments are of a rarer class as well, and count as that: {some(pairs)}")
    return [Segment(min(names, key=rank.__getitem__), *stretch) for stretch, names in stretches.items()]


def _videos(root: Path) -> dict[str, Path]:
    """The videos of THUMOS'14 below a folder, by their names."""
    found: dict[str, Path] = {}
    for file in walk.files(root, folder.SUFFIXES):
        if _VIDEO.fullmatch(file.stem):
            _only(found, file.stem, file)
    return found


def _only(found: dict, key, file: Path) -> None:
    # The same file may be reached through two links.
    if key in found and (walk.identity_of(file) or file) != walk.identity_of(found[key]):
        raise DatasetError(f"{file}: is there twice, see {found[key]}")
    found[key] = file
