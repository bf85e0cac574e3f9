"""From detections in single frames to tracks, each of one instance.

"We ensured only one instance of the object was tracked across frames" (Saha et al. 2024, section 3.3) is taken
strictly: where it is not clear which detection continues a track, the track ends, and another may begin. Half of two
tracks is a good concept; one track of two persons is not. Looks are not compared: of two persons of whom the detector
finds now one and now the other, in the same place, nothing is known here, which is what the review by hand is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from har_tf.concepts.detectors.base import Detections
from har_tf.datasets.records import VideoRecord
from har_tf.evaluate.boxes import iou

_LIMB_MARGIN = 0.05  # around the joints of an arm, in heights of the person


@dataclass(frozen=True, eq=False)
class Track:
    """One instance over consecutive frames.

    Args:
        label: the class.
        frames: int64 (n,) frame numbers, each one more than the one before.
        boxes: float32 (n, 4), (x1, y1, x2, y2) in pixels, end-exclusive.
        scores: float32 (n,); NaN where the detector missed it and the box is interpolated.
    """

    label: str
    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @property
    def score(self) -> float:
        """Mean score of the frames in which it was detected."""
        return float(np.nanmean(self.scores))

    def part(self, start: int, stop: int) -> Track:
        """Places `start` to `stop` - 1 of the track."""
        return Track(self.label, self.frames[start:stop], self.boxes[start:stop], self.scores[start:stop])


@dataclass(frozen=True)
class Tracking:
    """How detections become tracks.

    Args:
        min_iou: the least IoU of a detection with the last box of a track, or with where that would be by its motion,
            for it to continue the track.
        rival: a match is not clear, and ends the track, if another detection or another track of the class comes to
            this share of its IoU.
        max_gap: frames that the detector may miss.
        min_length: frames in which a track must have been detected.
        cut: a mean difference of two frames at 32 x 32 pixels, in grey values of 255, that is a change of scene and
            ends all tracks; None: there are none.
    """

    min_iou: float = 0.3
    rival: float = 0.5
    max_gap: int = 5
    min_length: int = 8
    cut: float | None = 40.0

    def __post_init__(self):
        for name in ("min_iou", "rival"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} lies in (0, 1]. Received: {name}={getattr(self, name)}")
        if self.max_gap < 0 or self.min_length < 1:
            raise ValueError(
                f"Gaps are of 0 frames or more, tracks of 1 or more. "
                f"Received: max_gap={self.max_gap}, min_length={self.min_length}"
            )


@dataclass
class _Live:
    """A track that may go on."""

    frames: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def append(self, frame: int, box: np.ndarray, score: float) -> _Live:
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(float(score))
        return self

    def expected(self, frame: int) -> np.ndarray:
        """(2, 4): the last box, and the last box moved on as it moved over the last few frames."""
        last = self.boxes[-1]
        back = max(len(self.frames) - 4, 0)
        steps = self.frames[-1] - self.frames[back]
        if not steps:
            return np.stack([last, last])
        centres = (last[:2] + last[2:]) / 2 - (self.boxes[back][:2] + self.boxes[back][2:]) / 2
        return np.stack([last, last + np.tile(centres, 2) * (frame - self.frames[-1]) / steps])


class Tracker:
    """Takes the frames of one video in order, and gives its tracks.

    Matches are the assignment of the largest total IoU, class by class. The motion of a track counts as well as its
    last box, both when it is matched and when rivals are looked for: two persons who pass each other, and two who meet
    and turn back, look alike in boxes, and both end the tracks.

    Args:
        names: names of the detector's classes.
        how: the settings.

    Example:
        >>> tracker = Tracker(detector.names)
        >>> for number, (picture, found) in enumerate(zip(frames, detector(frames))):
        ...     tracker.add(number, found, picture)
        >>> tracker.tracks()
    """

    def __init__(self, names: Sequence[str], how: Tracking | None = None) -> None:
        self._names, self._how = tuple(names), how or Tracking()
        self._live: dict[int, list[_Live]] = {}
        self._done: list[tuple[int, _Live]] = []
        self._small: np.ndarray | None = None

    def add(self, frame: int, found: Detections, picture: np.ndarray | None = None) -> None:
        """Takes the detections of a frame.

        Args:
            frame: its number, larger than those before.
            found: what is in it.
            picture: uint8 (H, W, 3), by which changes of the scene are seen; None: they are not.
        """
        if self._is_cut(picture):
            self._end_all()
        for label in sorted({*self._live, *found.labels.tolist()}):
            chosen = found.labels == label
            self._step(label, frame, found.boxes[chosen].astype(np.float64), found.scores[chosen])

    def tracks(self) -> list[Track]:
        """All tracks that are long enough, by their first frame, class by class where that is the same."""
        self._end_all()
        long = [(label, live) for label, live in self._done if len(live.frames) >= self._how.min_length]
        ordered = sorted(long, key=lambda item: (item[1].frames[0], item[0], *item[1].boxes[0]))
        return [bridged(self._names[label], live.frames, live.boxes, live.scores) for label, live in ordered]

    def _step(self, label: int, frame: int, boxes: np.ndarray, scores: np.ndarray) -> None:
        live, over = [], []
        for track in self._live.get(label, []):
            (live if frame - track.frames[-1] <= self._how.max_gap + 1 else over).append(track)
        self._done += [(label, track) for track in over]
        overlap = np.zeros((len(live), len(boxes)))
        if len(live) and len(boxes):
            expected = np.concatenate([track.expected(frame) for track in live])  # (2 tracks, 4)
            overlap = iou(expected, boxes).reshape(len(live), 2, len(boxes)).max(axis=1)
        continued, ended = set(), set()
        for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
            best = overlap[row, column]
            if best < self._how.min_iou:
                continue
            rivals_in_row = np.delete(overlap[row], column)
            rivals = [other for other in range(len(live)) if other != row]
            close = [other for other in rivals if overlap[other, column] >= self._how.rival * best]
            if close or (rivals_in_row >= self._how.rival * best).any():
                ended |= {int(row), *close}
            else:
                continued.add((int(row), int(column)))
        # A track that is another's rival ends, though its own match was clear.
        continued = {(row, column) for row, column in continued if row not in ended}
        for row, column in continued:
            live[row].append(frame, boxes[column], scores[column])
        self._done += [(label, live[row]) for row in sorted(ended)]
        fresh = sorted(set(range(len(boxes))) - {column for _, column in continued})
        self._live[label] = [track for row, track in enumerate(live) if row not in ended]
        for column in fresh:
            self._live[label].append(_Live().append(frame, boxes[column], scores[column]))

    def _is_cut(self, picture: np.ndarray | None) -> bool:
        if picture is None or self._how.cut is None:
            return False
        small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA).astype(np.int16)
        before, self._small = self._small, small
        return before is not None and bool(np.abs(small - before).mean() > self._how.cut)

    def _end_all(self) -> None:
        self._done += [(label, track) for label, tracks in self._live.items() for track in tracks]
        self._live = {}


def bridged(label: str, frames: Sequence[int], boxes, scores) -> Track:
    """A track of (n,) increasing frames; those that are missing between them get boxes between those beside them."""
    frames, boxes = np.asarray(frames, np.int64), np.asarray(boxes, np.float64)
    every = np.arange(frames[0], frames[-1] + 1)
    between = np.stack([np.interp(every, frames, column) for column in boxes.T], axis=1).astype(np.float32)
    found = np.full(len(every), np.nan, np.float32)
    found[frames - frames[0]] = scores
    return Track(label, every, between, found)


def true_tracks(record: VideoRecord) -> list[Track]:
    """The tracks that a data set's truth tells, score 1: "person", "object", and "limb" for either arm's lower half.

    Where a box is not finite, nothing is there, and the track before it ends.

    Args:
        record: with `boxes`, `tubes`, `object_boxes` or `joints`; joints are those of `figures`.

    Raises:
        ValueError: joints of another number than those of `figures`.
    """
    from har_tf.datasets.stick_figures import JOINTS

    found = []
    if record.boxes is not None:
        found += _pieces("person", 0, record.boxes)
    for tube in record.tubes:
        found += _pieces("person", tube.start, tube.boxes)
    if record.object_boxes is not None:
        found += _pieces("object", 0, record.object_boxes)
    if record.joints is not None and record.boxes is not None:
        if record.joints.shape[1] != len(JOINTS):
            raise ValueError(
                f"{record.path}: {record.joints.shape[1]} joints a frame. Expected the {len(JOINTS)} of figures"
            )
        margin = _LIMB_MARGIN * (record.boxes[:, 3] - record.boxes[:, 1])[:, None]
        for side in ("left", "right"):
            arm = record.joints[:, [JOINTS.index(f"{side}_elbow"), JOINTS.index(f"{side}_hand")]]  # (T, 2, 2)
            found += _pieces("limb", 0, np.concatenate([arm.min(axis=1) - margin, arm.max(axis=1) + margin], axis=1))
    return found


def _pieces(label: str, start: int, boxes: np.ndarray) -> list[Track]:
    there = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    pieces = np.split(there, np.flatnonzero(np.diff(there) > 1) + 1) if len(there) else []
    return [
        Track(label, start + piece.astype(np.int64), boxes[piece].astype(np.float32), np.ones(len(piece), np.float32))
        for piece in pieces
    ]
