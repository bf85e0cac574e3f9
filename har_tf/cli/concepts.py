"""python -m har_tf concepts: concepts for TCAV, mined from videos and reviewed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from har_tf.names import say


@dataclass(frozen=True)
class Mine:
    """Find things in videos, follow them, and cut clips of them: concepts for TCAV. Goes on where it was stopped."""

    directory: Annotated[Path, tyro.conf.Positional]
    """A folder; videos may lie at any depth."""
    detector: str
    """A YOLO exported to ONNX (.onnx), an SSD in TFLite (.tflite), detections in COCO's form (.json), or the preset of
    a detector in keras-hub, such as dfine_small_coco."""
    labels: tuple[str, ...]
    """The detector's classes that are concepts, one or more, such as: person "sports ball"."""
    out: Path
    """The folder of concepts to fill."""
    names: Path | None = None
    """Names of the detector's classes, one a line of a file. None: those in its file, or COCO's."""
    layout: str = "auto"
    """Of a YOLO: auto, v7, v7-nms, v8, v8-nms, x or x-decoded."""
    score: float = 0.5
    """Detections below this are left out."""
    nms: float = 0.45
    """Of boxes of a class that overlap by more than this IoU the best stays."""
    min_iou: float = 0.3
    """The least IoU of a detection with the last box of a track that it continues."""
    max_gap: int = 5
    """Frames of a track that the detector may miss."""
    min_length: int = 8
    """Frames in which a track must have been detected."""
    max_frames: int = 64
    """Longest clip."""
    smallest: int = 8
    """Height and width in pixels that a clip must have."""
    per_video: int | None = None
    """Most tracks of a class in one video, the best ones. None: all."""
    others: bool = True
    """Cut clips of the detector's other classes too: random concepts are drawn from all of them."""
    pad: int = 0
    """Grey value, 0 to 255, around crops that are smaller than the largest of their track."""
    fresh: bool = False
    """Mine all again, and forget the verdicts."""

    def run(self) -> None:
        if not self.labels:
            say("error: at least one of the detector's classes is needed, as in --labels person", to=sys.stderr)
            sys.exit(2)
        from har_tf.concepts import mining as concepts
        from har_tf.concepts.detectors.open import open_detector
        from har_tf.concepts.tracks import Tracking
        from har_tf.datasets.folder import check_folder

        check_folder(self.directory, "a folder of videos")  # before a network is loaded
        found = concepts.mine(
            self.directory,
            open_detector(self.detector, self.names, self.score, self.nms, self.layout),
            self.labels,
            self.out,
            Tracking(min_iou=self.min_iou, max_gap=self.max_gap, min_length=self.min_length),
            self.others,
            self.fresh,
            max_frames=self.max_frames,
            smallest=self.smallest,
            per_video=self.per_video,
            fill=self.pad,
        )
        _print_concepts(found)
        problems = [source for source in found.sources if source.problem]
        for source in problems:
            say(f"left out: {source.path}: {source.problem}")
        tracks, frames = (sum(getattr(source, name) for source in found.sources) for name in ("tracks", "frames"))
        say(f"{len(found.sources) - len(problems)} videos, {frames} frames, {tracks} tracks, {len(found.clips)} clips")
        say(self.out)
        empty = [name for name in self.labels if not found.select(name)]
        if empty:
            raise concepts.ConceptError(
                f"{self.out}: no clip of {', '.join(empty)}. Mine more videos, or lower --score or --min-length"
            )


@dataclass(frozen=True)
class Review:
    """Write a page on which a person accepts or rejects every clip of a folder of concepts, and store its verdicts."""

    directory: Annotated[Path, tyro.conf.Positional]
    """A folder that `concepts mine` filled, or with a folder of videos for each concept."""
    others: bool = False
    """Show clips of other classes too, which random concepts are drawn from."""
    videos_of: str | None = None
    """Show clips of videos in folders of this name only, such as a class of the data."""
    write: Path | None = None
    """The page to write, ending in .html. None: review.html in the folder."""
    verdicts: Path | None = None
    """Store the verdicts of this .json file, which such a page gave, in place of writing a page."""

    def run(self) -> None:
        if self.write is not None and self.verdicts is not None:
            raise ValueError("--write makes a page and --verdicts stores what it gave: one at a time")
        from har_tf.concepts import concept_set
        from har_tf.report.pages import concept_review

        if self.verdicts is not None:
            _print_concepts(concept_review.apply_verdicts(self.directory, self.verdicts))
            return
        page = self.write or self.directory / "review.html"
        found = concept_set.load(self.directory)
        say(concept_review.write_review(found.of_class(self.videos_of) if self.videos_of else found, page, self.others))


@dataclass(frozen=True)
class Concepts:
    """Mine concepts for TCAV from videos, and review them."""

    action: Mine | Review

    def run(self) -> None:
        self.action.run()


def _print_concepts(found) -> None:
    """A line for each concept and kind: how many clips there are, and of which verdict."""
    others = 0
    for (name, kind), counts in found.counts().items():
        if name not in found.concepts:
            others += counts.total()
            continue
        verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("accepted", "rejected", "undecided"))
        say(f"{name}, {kind}: {counts.total()} clips ({verdicts})")
    if others:
        say(f"other classes: {others} clips")
