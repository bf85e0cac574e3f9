"""ILSVRC: ImageNet's pictures of 1,000 classes, with boxes for localisation (Russakovsky et al. 2015).

Understood layouts, where PART is val or train:

    ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG       as on Kaggle, with LOC_val_solution.csv
    ILSVRC/Data/CLS-LOC/train/<wnid>/<wnid>_<n>.JPEG           and LOC_synset_mapping.txt beside ILSVRC
    ILSVRC/Annotations/CLS-LOC/PART/...xml
    ILSVRC2012_img_PART/, PART/, CLS-LOC/PART/                 as unpacked from the tar files
    PART/<wnid>/ILSVRC2012_val_00000001.JPEG                   sorted into class folders

The class of a picture is that of its class folder, of LOC_val_solution.csv or of its annotation; where several
say it, they must agree. Classes are in the order of their WordNet ids, as the outputs of ImageNet's networks are. A
class is called "n01440764 tench", or only "n01440764" without LOC_synset_mapping.txt: by their words alone two
classes are "crane", and two "maillot".

Boxes become one `Tube` of one frame for each object, on the picture as `read_still` shows it:

- the annotations count pixels from 0 (0 and width - 1 both occur) and name the last pixel inside;
- they are about the size that was shown to the annotators, which is in the XML and not always the size of the
  picture, so they are scaled; about pixels before an EXIF turn, unless only the turned picture has the XML's size;
- they are clipped to the picture; a box that lies outside, is inside out, or is of another class is left out.

Published: 50,000 pictures in val, all annotated; 1,281,167 in train, 544,546 of them annotated.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial as bound
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from tqdm.contrib.concurrent import thread_map

from har_tf.datasets import folder, walk
from har_tf.datasets.dataset import ActionDataset, check_classes
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.lists import counted, numbered_lines, read_lines, some
from har_tf.datasets.published import lacking
from har_tf.datasets.records import Tube, VideoRecord
from har_tf.files.workers import available_cores
from har_tf.names import closest
from har_tf.video import VideoError
from har_tf.video.still import StillInfo, probe_still

PUBLISHED = {"val": (50_000, 50_000), "train": (1_281_167, 544_546)}  # pictures, of them annotated
CLASSES = 1000
SUFFIXES = frozenset((".jpeg", ".jpg"))
MAX_XML_BYTES = 2**20  # an annotation has about 500
BATCH = 256

_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Annotation:
    """An XML file of boxes.

    Args:
        width: of the picture as it was shown to the annotators.
        height: of the same.
        names: (N,) what each object is called, mostly a WordNet id.
        boxes: (N, 4) as written: xmin, ymin, xmax, ymax, the last two inside the box.
    """

    width: int
    height: int
    names: tuple[str, ...]
    boxes: np.ndarray


@dataclass
class _Boxes:
    """The boxes of a picture and what was odd about them; `oddities` are keys of `_ODDITIES`."""

    wnid: str | None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    oddities: tuple[str, ...] = ()
    error: str | None = None


_ODDITIES = {
    "scaled": "annotations are about another size than their picture has, and were scaled to it",
    "turned": "pictures are turned by their EXIF orientation, and their boxes with them",
    "clipped": "annotations have boxes that reach out of the picture, which were clipped",
    "invalid": "annotations have boxes that lie outside the picture or are inside out, which were left out",
    "other": "annotations have objects of another class, which were left out",
    "unreadable": "pictures cannot be read; their boxes are about the size that the XML states",
}


def load(
    root: str | Path | None,
    classes: Sequence[str] | None = None,
    lists: str | Path | None = None,
    part: str = "val",
    partial: bool = False,
) -> ActionDataset:
    """Loads the pictures of a part with their boxes; the data set has no official split of its own.

    Args:
        root: the folder that holds the pictures in one of the layouts above.
        classes: keep these classes, labelled in this order: names, WordNet ids, or words that name one class;
            None: all of LOC_synset_mapping.txt, so that labels are those of ImageNet's networks even where
            pictures are missing, or, without that file, those that are present.
        lists: the folder of the annotations (and of LOC_*), or one around it; None: `root`.
        part: "val" or "train".
        partial: take a copy that lacks pictures or annotations, or has unusable ones; told in `notes`.

    Raises:
        DatasetError: no picture or no annotation is found; one is missing, malformed or of two classes; an unknown
            class.
    """
    if part not in PUBLISHED:
        raise DatasetError(f"part must be one of {', '.join(PUBLISHED)}. Received: {part!r}")
    root = folder.check_folder(root, "the folder of the pictures, such as the one that holds ILSVRC")
    lists = root if lists is None else folder.check_folder(lists, "the folder of the annotations")
    files = _Files.find(root, lists, part)
    chosen: tuple[str, ...] | None = None
    if classes is not None and (files.words or all(files.known.values())):
        # Before the annotations are read, where the classes are known without them.
        chosen = _choose(classes, sorted(files.words or set(files.known.values())), files.words, str(root))
    found, notes = _annotated(files, chosen, partial)

    present = sorted({boxes.wnid for boxes in found.values() if boxes.wnid is not None})
    if chosen is None and classes is None:
        chosen = tuple(sorted(files.words) or present)
    elif chosen is None:
        chosen = _choose(classes, present, files.words, str(root))
    _check_present(files, chosen, present, asked_for=classes is not None)
    if classes is None:
        counts = len(files.pictures), len(files.pictures.keys() & files.xmls.keys())
        if counts != PUBLISHED[part]:
            published = "{:,}, {:,}".format(*PUBLISHED[part])
            notes.append(f"{counts[0]:,} pictures of {part}, {counts[1]:,} annotated. Published: {published}")
        if len(chosen) != CLASSES:
            notes.append(f"{len(chosen):,} classes. Published: {CLASSES:,}")
    for kind, text in _ODDITIES.items():
        notes += counted([stem for stem, boxes in found.items() if kind in boxes.oddities], text)
    label = {wnid: position for position, wnid in enumerate(chosen)}
    rows = sorted((label[boxes.wnid], stem) for stem, boxes in found.items() if boxes.wnid in label)
    return ActionDataset(
        name=f"ilsvrc_{part}",
        root=root,
        records=tuple(
            VideoRecord(
                files.pictures[stem], number, tubes=tuple(Tube(number, 0, box[None]) for box in found[stem].boxes)
            )
            for number, stem in rows
        ),
        class_names=tuple(_class_name(wnid, files.words) for wnid in chosen),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Files:
    """What lies on disk of a part; all but `words` is by the stem of the picture."""

    root: Path  # of the pictures
    lists: Path  # of the annotations
    part: str
    pictures: dict[str, Path]
    xmls: dict[str, Path]
    listed: dict[str, str]  # WordNet ids in LOC_val_solution.csv
    mapping: Path | None  # LOC_synset_mapping.txt
    words: dict[str, str]  # of WordNet ids, in it
    known: dict[str, str | None]  # WordNet ids by folder, list and file name

    @classmethod
    def find(cls, root: Path, lists: Path, part: str) -> _Files:
        pictures = _index(root, part, "Data", SUFFIXES)
        if not pictures:
            raise DatasetError(f"{root}: no picture of {part}. Expected ILSVRC/Data/CLS-LOC/{part}, or see the layouts")
        xmls = _index(lists, part, "Annotations", frozenset((".xml",)))
        if not xmls:
            raise DatasetError(f"{lists}: no annotation of {part}. Expected ILSVRC/Annotations/CLS-LOC/{part}/*.xml")
        solution = _find("LOC_val_solution.csv", lists, root) if part == "val" else None
        listed = {} if solution is None else read_solution(solution)
        mapping = _find("LOC_synset_mapping.txt", lists, root)
        words = {} if mapping is None else read_synset_mapping(mapping)
        known = {stem: _known_class(pictures[stem], listed.get(stem)) for stem in sorted(pictures)}
        return cls(root, lists, part, pictures, xmls, listed, mapping, words, known)


def _annotated(files: _Files, chosen: tuple[str, ...] | None, partial: bool) -> tuple[dict[str, _Boxes], list[str]]:
    """({stem: its boxes} of the pictures that may be of the chosen classes, what the copy lacks)."""
    notes: list[str] = []

    def concerns(stem: str) -> bool:
        wnid = files.known.get(stem) or files.listed.get(stem) or _class_in_name(stem)
        return chosen is None or wnid is None or wnid in chosen

    def lack(stems: Iterable[str], text: str, where: Path) -> None:
        names = sorted(stem for stem in stems if concerns(stem))
        notes.extend(lacking([f"{len(names)} {text}: {some(names)}"] if names else [], where, partial))

    pictures, xmls, listed = files.pictures, files.xmls, files.listed
    lack(listed.keys() - pictures.keys(), "pictures of LOC_val_solution.csv are not there", files.root)
    lack(xmls.keys() - pictures.keys() - listed.keys(), "annotations have no picture", files.root)
    if files.part == "val":
        lack(pictures.keys() - xmls.keys(), "pictures have no annotation", files.lists)
    stems = [stem for stem in files.known if concerns(stem)]
    tasks = [(pictures[stem], xmls.get(stem), files.known[stem]) for stem in stems]
    found = dict(zip(stems, _annotate(tasks), strict=True))
    errors = [boxes.error for boxes in found.values() if boxes.error]
    if errors and not partial:
        others = f" (and {len(errors) - 1} others cannot be used)" if len(errors) > 1 else ""
        raise DatasetError(f"{errors[0]}{others}; partial=True does without its boxes")
    notes += counted(errors, "annotations cannot be used")
    lack((stem for stem, boxes in found.items() if boxes.wnid is None), "pictures have no class", files.root)
    return found, notes


def _check_present(files: _Files, chosen: Sequence[str], present: Sequence[str], asked_for: bool) -> None:
    """Raises where the classes do not fit to the pictures that are there."""
    unknown = sorted(set(present) - files.words.keys()) if files.words else []
    if unknown:
        raise DatasetError(f"{files.mapping}: lacks {len(unknown)} classes that have pictures: {some(unknown)}")
    if len(chosen) < 2:
        raise DatasetError(f"{files.root}: at least two classes are needed. Received: {some(chosen) or 'none'}")
    empty = sorted(set(chosen) - set(present)) if asked_for else []
    if empty:
        raise DatasetError(f"{files.root}: no picture of {some(_class_name(wnid, files.words) for wnid in empty)}")


def read_annotation(path: str | Path) -> Annotation:
    """Reads an XML file of boxes, as PASCAL VOC writes them.

    Raises:
        DatasetError: the file cannot be read, is no such XML, declares a document type or entities (which can make
            a small file expand to gigabytes), or lacks a number.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_XML_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_XML_BYTES:
        raise DatasetError(f"{path}: larger than {MAX_XML_BYTES} bytes, which no annotation is")
    # A zero byte means an encoding in which the other two would not be seen.
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text or b"\0" in text:
        raise DatasetError(f"{path}: declares a document type or entities, or is not UTF-8, which no annotation does")
    try:
        top = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: of its declared encoding
        raise DatasetError(f"{path}: not XML: {error}") from error
    if top.tag != "annotation":
        raise DatasetError(f"{path}: expected an <annotation>. Received: <{top.tag}>")
    objects = top.findall("object")
    boxes = [[_number(path, o, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
    width, height = (_number(path, top, f"size/{side}") for side in ("width", "height"))
    if width < 1 or height < 1:
        raise DatasetError(f"{path}: expected a size of at least 1 x 1. Received: {width:g} x {height:g}")
    return Annotation(
        width=int(width),
        height=int(height),
        names=tuple((o.findtext("name") or "").strip() for o in objects),
        boxes=np.array(boxes, float).reshape(-1, 4),
    )


def read_solution(path: str | Path) -> dict[str, str]:
    """{picture: WordNet id} of a `LOC_val_solution.csv`, whose lines are '<picture>,<wnid> <box> <wnid> <box> ...'.

    Raises:
        DatasetError: a line is malformed, or names several classes or a picture that came before.
    """
    classes: dict[str, str] = {}
    for number, row in enumerate(csv.reader(read_lines(path)), start=1):
        if not row or (number == 1 and row[0] == "ImageId"):
            continue
        fields = row[1].split() if len(row) == 2 else []
        wnids = set(fields[::5])
        if len(wnids) != 1 or len(fields) % 5 or not _WNID.fullmatch(fields[0]) or row[0] in classes:
            raise DatasetError(
                f"{path}, line {number}: expected '<picture>,<wnid> <xmin> <ymin> <xmax> <ymax> ...' of one class, "
                f"each picture once. Received: {','.join(row)[:200]!r}"
            )
        classes[row[0]] = fields[0]
    return classes


def read_synset_mapping(path: str | Path) -> dict[str, str]:
    """{WordNet id: its words, separated by commas} of a `LOC_synset_mapping.txt`.

    Raises:
        DatasetError: a line is malformed, or names a class that came before.
    """
    words: dict[str, str] = {}
    for number, line in numbered_lines(path):
        wnid, _, meaning = line.partition(" ")
        if not _WNID.fullmatch(wnid) or not meaning or wnid in words:
            raise DatasetError(f"{path}, line {number}: expected '<wnid> <words>', each once. Received: {line!r}")
        words[wnid] = meaning.strip()
    return words


def _index(top: Path, part: str, kind: str, suffixes: frozenset[str]) -> dict[str, Path]:
    """{stem: file} of the first place that holds such files, itself or in folders named by WordNet ids."""
    places = [base / kind / "CLS-LOC" / part for base in (top, top / "ILSVRC")]
    places += [top / "CLS-LOC" / part, top / part, top / f"ILSVRC2012_img_{part}", top]
    for place in places:
        found: dict[str, Path] = {}
        if not place.is_dir():
            continue
        # Of the folders in it only those of classes count; others may hold other parts, or be closed.
        for file in walk.files(place, suffixes, depth=1, refused=bound(_refuse, place)):
            if file.parent != place and not _WNID.fullmatch(file.parent.name):
                continue
            if file.stem in found:
                raise DatasetError(f"{file}: is there twice, see {found[file.stem]}")
            found[file.stem] = file
        if found:
            return found
    return {}


def _refuse(place: Path, error: OSError) -> None:
    closed = Path(error.filename)
    if closed == place or _WNID.fullmatch(closed.name):
        raise DatasetError(f"{closed}: cannot be listed: {error.strerror}") from error


def _find(name: str, *folders: Path) -> Path | None:
    """The file of this name in one of the folders, or beside a folder that is called ILSVRC."""
    places = [place for folder in folders for place in (folder, folder.resolve())]
    places = [place.parent if place.name == "ILSVRC" else place for place in places]
    return next((place / name for place in (*folders, *places) if (place / name).is_file()), None)


def _number(path: str | Path, element: ElementTree.Element, place: str) -> float:
    text = (element.findtext(place) or "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"{path}: expected a number in <{place.replace('/', '><')}>. Received: {text!r}")
    return number


def _class_in_name(stem: str) -> str | None:
    wnid = stem.partition("_")[0]
    return wnid if _WNID.fullmatch(wnid) else None


def _known_class(picture: Path, listed: str | None) -> str | None:
    """The WordNet id that folder, file name and list give, or None.

    Raises:
        DatasetError: they give different ones.
    """
    parent = picture.parent.name if _WNID.fullmatch(picture.parent.name) else None
    given = {wnid for wnid in (parent, listed, _class_in_name(picture.stem)) if wnid is not None}
    if len(given) > 1:
        raise DatasetError(f"{picture}: folder, name and LOC_val_solution.csv give different classes: {sorted(given)}")
    return next(iter(given), None)


def _class_name(wnid: str, words: dict[str, str]) -> str:
    return f"{wnid} {words[wnid].split(',')[0]}" if wnid in words else wnid


def _choose(classes: Sequence[str], known: Sequence[str], words: dict[str, str], where: str) -> tuple[str, ...]:
    """The WordNet ids of `classes`, which are ids, names of classes, or words that name one class."""
    called: dict[str, list[str]] = {}
    for wnid in known:
        names = {wnid, _class_name(wnid, words), words.get(wnid, wnid)}
        for name in names | {word.strip() for word in words.get(wnid, "").split(",")} - {""}:
            called.setdefault(name, []).append(wnid)
    wnids = []
    for name in classes:
        found = called.get(name, [])
        if len(found) > 1:
            ids = ", ".join(_class_name(wnid, words) for wnid in found)
            raise DatasetError(f"{where}: {name!r} names {len(found)} classes: {ids}")
        if not found:
            hint = closest(name, called)
            raise DatasetError(f"{where}: unknown class {name!r}.{hint} There are {len(known)}, as {known[0]}")
        wnids += found
    check_classes(wnids, known, where)
    return tuple(wnids)


def _annotate(tasks: Sequence[tuple[Path, Path | None, str | None]]) -> list[_Boxes]:
    """The boxes of each (picture, annotation, WordNet id), read by several threads: most of it is waiting for files."""
    batches = [tasks[start : start + BATCH] for start in range(0, len(tasks), BATCH)]
    found = thread_map(
        lambda batch: [_boxes(*task) for task in batch], batches, max_workers=4 * available_cores(),
        desc="annotations", unit="file", unit_scale=BATCH, disable=None, leave=False,
    )  # fmt: skip
    return list(chain.from_iterable(found))


def _boxes(picture: Path, xml: Path | None, wnid: str | None) -> _Boxes:
    if xml is None:
        return _Boxes(wnid)
    try:
        annotation = read_annotation(xml)
    except DatasetError as error:
        return _Boxes(wnid, error=str(error))
    # Some dogs are called "Scottish_deerhound" and the like; that is the picture's class in other words.
    ids = {name for name in annotation.names if _WNID.fullmatch(name)}
    if (wnid is None and len(ids) != 1) or (ids and wnid is not None and wnid not in ids):
        expected = "one class" if wnid is None else wnid
        return _Boxes(
            wnid, error=f"{xml}: expected objects of {expected}. Received: {', '.join(sorted(ids)) or 'none'}"
        )
    wnid = wnid or next(iter(ids))
    own = np.array([name == wnid or name not in ids for name in annotation.names], bool)
    boxes, oddities = _on_picture(picture, annotation, annotation.boxes[own])
    return _Boxes(wnid, boxes, oddities if own.all() else (*oddities, "other"))


def _on_picture(picture: Path, annotation: Annotation, boxes: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """((N, 4) end-exclusive float32 boxes on the picture as displayed, what was odd about them)."""
    oddities = []
    shown = annotation.width, annotation.height
    try:
        info = probe_still(picture)
    except VideoError:
        info = StillInfo(picture, *shown, orientation=1)
        oddities.append("unreadable")
    boxes = boxes + np.array([0, 0, 1, 1])
    upright = shown != info.stored and shown == (info.width, info.height)
    width, height = shown if upright else info.stored
    if shown != (width, height):
        oddities.append("scaled")
        boxes = boxes * np.tile([width / shown[0], height / shown[1]], 2)
    inside = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    valid = (inside[:, 0] < inside[:, 2]) & (inside[:, 1] < inside[:, 3])
    if not valid.all():
        oddities.append("invalid")
    # A pixel more is how some annotations name the edge.
    if np.any(np.abs(inside - boxes)[valid] > max(1, width / shown[0], height / shown[1])):
        oddities.append("clipped")
    inside = inside[valid]
    if info.orientation != 1 and not upright:
        oddities.append("turned")
        inside = info.turn(inside)
    return inside, tuple(oddities)
