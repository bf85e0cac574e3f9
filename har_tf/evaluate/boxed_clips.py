"""Clips of annotated videos or pictures, with the true boxes as they lie in them: what maps are compared on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from har_tf.evaluate.boxes import checked_boxes, rescaled
from har_tf.evaluate.options import Clips
from har_tf.evaluate.spread import spread
from har_tf.files.workers import Failed
from har_tf.video import VideoError
from har_tf.video.display import Target
from har_tf.video.frame_counts import count_frames
from har_tf.video.reader import frame_times
from har_tf.video.sampling import frame_indices, frames_at, sliding_windows
from har_tf.video.still import probe_still


@dataclass(frozen=True, eq=False)
class BoxedClip:
    """One clip to explain, and the true boxes of the frames of it that are measured.

    Args:
        video: the record's name.
        group: what is drawn again for intervals.
        label: true class.
        frames: uint8 (T, H, W, 3), or (H, W, 3) of a picture.
        boxes: position in the clip -> (K, 4) boxes in pixels of the clip.
        shown: the same for every frame with a box, measured or not.
    """

    video: str
    group: str
    label: int
    frames: np.ndarray
    boxes: dict[int, np.ndarray]
    shown: dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class BoxedVideos:
    """The videos of a part that can be measured.

    Args:
        root: their folder, from which they are named.
        shape: (time, height, width, channels) of a clip, or (height, width, channels) where the data are pictures.
        taken: how clips are taken.
        usable: record -> (frames, (height, width)) of the readable videos with a true box.
        skipped: (path, reason) of those that cannot be read.
        notes: what a reader should know, a sentence each.
    """

    root: Path
    shape: tuple[int, ...]
    taken: Clips
    usable: dict
    skipped: list
    notes: list[str]

    def __len__(self) -> int:
        return len(self.usable)

    def clips(self, records: Iterable | None = None) -> Iterator[BoxedClip]:
        """The clips with boxes of these records, None: of all; every frame is measured once."""
        for record in self.usable if records is None else records:
            yield from self._of(record)

    def about(self, records: Iterable) -> list:
        """All that the clips of these records depend on, as `json.dumps` takes it."""
        how = [list(self.shape), {**vars(self.taken)}]
        for record in records:
            frames, size = self.usable[record]
            boxes = sha256(b"".join(np.ascontiguousarray(record.boxes_at(t)).tobytes() for t in range(frames)))
            name = record.name(self.root)
            how.append([name, record.group, record.label, frames, size, record.path.stat().st_size, boxes.hexdigest()])
        return how

    def examples(self, count: int) -> list[BoxedClip]:
        """The first clip each of `count` videos to show.

        They are drawn evenly, and one further each time: where classes take turns, they all get theirs.
        """
        records = list(self.usable)
        wanted = {i * (len(records) // count + 1) % len(records) for i in range(count)}
        firsts = (next(self.clips([records[i]]), None) for i in sorted(wanted))
        return [clip for clip in firsts if clip is not None]

    def spread(self, count: int) -> list[BoxedClip]:
        """The first clip each of `count` videos; classes and recordings take turns, see `har_tf.evaluate.spread`."""
        records = list(self.usable)
        recordings = [record.group or str(record.path) for record in records]
        places = spread([record.label for record in records], recordings, count)
        firsts = (next(self.clips([records[place]]), None) for place in places)
        return [clip for clip in firsts if clip is not None]

    def _of(self, record) -> Iterator[BoxedClip]:
        taken, still, (count, frame_size) = self.taken, len(self.shape) == 3, self.usable[record]
        size, name, by = self.shape[-3:-1], record.name(self.root), taken.by or "frame"
        seconds = None if still or by == "frame" else frame_times(record.path, count)
        if still:
            rows, frames = np.zeros((1, 1), int), record.read(1, size, fit=taken.fit)
        elif taken.sampling == "uniform":
            rows = frame_indices(count, self.shape[0], "uniform", short="repeat_last", seconds=seconds, by=by)[None]
            frames = record.read(self.shape[0], size, "uniform", "repeat_last", fit=taken.fit, by=by)
        else:
            there = np.arange(count) if seconds is None else frames_at(seconds, by)
            rows = there[sliding_windows(len(there), self.shape[0], short="repeat_last")]
            frames = record.read(None, size, fit=taken.fit)
        seen = set()
        for row in _evenly(rows, taken.clips_per_video):
            boxes = {t: in_clip(record.boxes_at(int(n)), frame_size, size, taken.fit) for t, n in enumerate(row)}
            shown = {t: found for t, found in boxes.items() if len(found)}
            fresh = []
            for t in shown:
                if row[t] not in seen:
                    seen.add(row[t])
                    fresh.append(t)
            if fresh:
                measured = {t: shown[t] for t in _evenly(fresh, taken.frames_per_clip)}
                clip = frames[0] if still else frames if taken.sampling == "uniform" else frames[row]
                group = name if record.group is None else record.group
                yield BoxedClip(name, group, record.label, clip, measured, shown)


def survey(part, shape: tuple[int, ...], taken: Clips, workers: int | None = None) -> BoxedVideos:
    """Counts frames and looks at every true box, before anything long is done.

    Args:
        part: an `ActionDataset` whose records have boxes.
        shape: of a clip or a picture, as in `BoxedVideos`.
        taken: how clips are taken.
        workers: decoding processes, as in `count_frames`.

    Raises:
        ValueError: videos shorter than a clip, boxes outside their frame, or no video with a box.
    """
    usable, skipped, short, bare = {}, [], [], []
    for record, found in zip(part.records, _sizes(part.records, len(shape) == 3, workers), strict=True):
        if isinstance(found, str):
            skipped.append((record.path, found))
            continue
        frames, size = found
        name = record.name(part.root)
        boxes = {t: record.boxes_at(t) for t in range(frames)}
        boxes = {t: of_frame for t, of_frame in boxes.items() if len(of_frame)}
        checked_boxes(list(boxes.values()), size, [f"{name}, frame {t}" for t in boxes], taken.outside)
        if not boxes:
            bare.append(name)
            continue
        usable[record] = found
        if len(shape) == 4 and frames < shape[0]:
            short.append(f"{name}: {frames} frames")
    if short and taken.short == "error":
        raise ValueError(
            f"{len(short)} of {len(part)} videos are shorter than a clip of {shape[0]} frames, first {short[0]}. "
            f"Received: --short error; --short repeat_last repeats their last frame"
        )
    if not usable:
        raise ValueError(f"{part.root}: none of {len(part)} videos has a true box and can be read")
    notes = [f"{len(bare)} videos have no true box and are not measured, first {bare[0]}"] if bare else []
    notes += [f"{len(short)} videos are shorter than a clip, first {short[0]}"] if short else []
    notes += [f"{len(skipped)} videos cannot be read, first {skipped[0][0]}: {skipped[0][1]}"] if skipped else []
    return BoxedVideos(part.root, shape, taken, usable, skipped, notes)


def in_clip(boxes, frame_size: tuple[int, int], size: tuple[int, int], fit: str) -> np.ndarray:
    """Boxes of a frame as they lie in the clip, cut at its edge; those that the crop leaves out are dropped.

    Args:
        boxes: (K, 4) in pixels of the frame.
        frame_size: (height, width) of the frame.
        size: (height, width) of the clip.
        fit: as in `read_clip`.

    Returns:
        float64 (L, 4) with L <= K.
    """
    scaled = Target(tuple(size), fit).scaled(frame_size)
    left, top = (scaled[1] - size[1]) // 2, (scaled[0] - size[0]) // 2
    moved = rescaled(boxes, frame_size, scaled) - [left, top, left, top]
    inside = np.clip(moved, 0, [size[1], size[0], size[1], size[0]])
    return inside[((inside[:, 2:] - inside[:, :2]) > 0).all(axis=1)]


def _evenly(items, count: int | None):
    """So many of the items, evenly; all of them for None."""
    if count is None or len(items) <= count:
        return items
    return [items[i] for i in frame_indices(len(items), count)]


def _sizes(records, pictures: bool, workers) -> list:
    """(frames, (height, width)) of every record, or why it cannot be read."""
    if not pictures:
        counts = count_frames([record.path for record in records], workers=workers)
        return [c.reason if isinstance(c, Failed) else (c.frames, (c.height, c.width)) for c in counts]
    found = []
    for record in records:
        try:
            info = probe_still(record.path)
            found.append((1, (info.height, info.width)))
        except VideoError as error:
            found.append(str(error))
    return found
