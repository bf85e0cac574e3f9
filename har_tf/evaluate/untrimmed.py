"""What a model of short clips answers in a long video, window by window, and whether its maps say when, where and for
which class (section 3.6 and Figures 2 to 6 of the 3DCAM paper)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.boxed_clips import in_clip
from har_tf.evaluate.localization import inside
from har_tf.evaluate.spread import spread
from har_tf.explain import Explanation, Layerwise, explain_video, layerwise, save_overlay
from har_tf.explain.windows import frames_of, nearest_window
from har_tf.video import probe, read_frames
from har_tf.video.reader import frame_times
from har_tf.video.sampling import sliding_windows

CAM3D, GRADCAM, MOTION, ANSWER = "Sum 3DCAM", "Grad-CAM", "Control: frame differences", "Control: probability"
AGAINST = "against the first"  # equation (7): the negated gradient of the most probable class
RANKS = ("first", "second", "third", AGAINST)
PAINTED, LEAD = 1800, 2.0  # the most frames of an overlay video, and the seconds before the first segment
INSIDE, ACROSS, OUTSIDE = KINDS = ("inside", "across", "outside")


@dataclass(frozen=True)
class Windows:
    """How windows are taken of a video, and explained.

    Args:
        size: (height, width) of the frames.
        num_frames: of a window.
        stride: distance of its neighbouring frames.
        hop: frames from the start of one to the start of the next.
        fit: as in `read_clip`.
        batch_size: explained at once.
        align: how the maps of 3DCAM are enlarged, see `har_tf.explain.cam3d`.
    """

    size: tuple[int, int]
    num_frames: int
    stride: int
    hop: int
    fit: str = "crop"
    batch_size: int = 4
    align: str = "corners"


@dataclass(frozen=True, eq=False)
class Stream:
    """A long video, and when what is done in it.

    Args:
        path: the file.
        segments: (class, start, end), in seconds.
        boxes: (frames, 4), the person of every frame; None: not known.
    """

    path: Path
    segments: Sequence[tuple[int, float, float]]
    boxes: np.ndarray | None = None

    def truth(self, seconds: np.ndarray, classes: int) -> np.ndarray:
        """bool (frames, classes): what is done while each frame is shown."""
        found = np.zeros((len(seconds), classes), bool)
        for label, start, end in self.segments:
            found[(seconds >= start) & (seconds < end), label] = True
        return found


def streams_of(dataset) -> list[Stream]:
    """The videos of a data set of segments, in the order of their names."""
    by_path: dict[Path, list] = {}
    for record in dataset.records:
        by_path.setdefault(record.path, []).append(record)
    return [
        Stream(path, sorted((r.label, *r.segment) for r in records), records[0].boxes)
        for path, records in sorted(by_path.items())
    ]


@dataclass(frozen=True, eq=False)
class Answered:
    """One window of a video.

    Args:
        video: number of the video.
        frames: its frames.
        kind: INSIDE where one class at least is done in all frames, OUTSIDE where none is done in any, else ACROSS.
        right: whether the most probable class is done, in all frames of a window inside, in some of one across; None
            outside.
        probability: of the most probable classes.
        answer: the class of the data that the most probable output is, -1: of none.
        done: the classes that are done in all frames.
        maps: (method, rank) -> "empty", "cosine" with the map of the first, "in_box" the share of it in the person's
            box, each None where it has no meaning.
        in_box: the share of the frames that is in the person's box; None: not known.
        sides: method -> (share of the window's frames in which the answered class is done, share of the map in these);
            where it is done in some of the frames.
    """

    video: int
    frames: np.ndarray
    kind: str
    right: bool | None
    probability: tuple[float, ...]
    answer: int
    done: tuple[int, ...]
    maps: Mapping[tuple[str, str], Mapping[str, float | None]]
    in_box: float | None
    sides: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Course:
    """The evidence for one class over a video.

    Args:
        video: number of the video.
        label: the class.
        seconds: (N,) of the frames that a window covers.
        done: bool (N,), whether the class is done.
        strength: method or control -> (N,).
    """

    video: int
    label: int
    seconds: np.ndarray
    done: np.ndarray
    strength: Mapping[str, np.ndarray]

    def when(self, name: str) -> float:
        """Of all pairs of a frame of the class and another the share in which the first has more, ties half: the area
        under the ROC curve."""
        return float(roc_auc_score(self.done, self.strength[name]))


def measure(
    model: keras.Model, taps: Sequence[str], stream: Stream, number: int, outputs: Sequence[int], how: Windows
) -> tuple[list[Answered], list[Course]]:
    """What a model answers in a video, and when its evidence shows; each batch of windows is decoded once, and each
    class of a window explained once.

    Args:
        model: of clips.
        taps: what 3DCAM sums; the last is that of Grad-CAM.
        stream: the video.
        number: what `Answered.video` and `Course.video` become.
        outputs: of each class of the data its output, -1 for none.
        how: windows.

    Returns:
        All windows, each explained for its most probable classes and against the first of them; and the evidence for
        every class that is done in a part of the video, and that the model knows.
    """
    info = probe(stream.path)
    times = frame_times(stream.path, info.frames)
    truth = stream.truth(times, len(outputs))
    windows = sliding_windows(info.frames, how.num_frames, how.hop, how.stride)
    frames, places = np.unique(windows, return_inverse=True)
    own = truth[frames]
    labels = [label for label, done in enumerate(own.T) if outputs[label] >= 0 and 0 < done.sum() < len(done)]
    top, found, seen, motion = min(3, model.output_shape[-1]), [], {label: [] for label in labels}, _Motion(frames)
    for first in range(0, len(windows), how.batch_size):
        rows = windows[first : first + how.batch_size]
        clips = read_frames(stream.path, rows, how.size, fit=how.fit)
        passed = layerwise(model, clips, taps, top=top, batch_size=how.batch_size)
        found += _answered(passed, top, taps, stream, number, rows, truth, outputs, (info.height, info.width), how)
        if not labels:
            continue
        motion.add(rows, clips, *windows[first + how.batch_size : first + how.batch_size + 1, 0])
        for label, each in _seen(model, clips, passed.class_index.reshape(-1, top), passed, taps, labels, outputs, how):
            seen[label].append(each)
    nearest = nearest_window(frames, windows, np.arange(info.frames))
    courses = []
    for label in labels:
        whole = _Seen.joined(seen[label])
        strength = {
            name: _joined(each, places.reshape(windows.shape), len(frames)) for name, each in whole.strength().items()
        }
        strength |= {ANSWER: whole.probability[nearest].astype(float), MOTION: motion.found()}
        courses.append(Course(number, label, times[frames], own[:, label], strength))
    return found, courses


def _answered(passed, top, taps, stream, number, windows, truth, outputs, frame_size, how) -> list[Answered]:
    """The windows of a batch, of which `passed` has so many of the most probable classes."""
    label_of = {output: label for label, output in enumerate(outputs) if output >= 0}
    maps = explained(passed, taps, how.align, counterfactual=False)
    against = explained(_only(passed, slice(None, None, top)), taps, how.align, counterfactual=True)
    found = []
    for i, frames in enumerate(windows):
        own = slice(i * top, (i + 1) * top)
        ranked = {(method, rank): each[own][r] for method, each in maps.items() for r, rank in enumerate(RANKS[:top])}
        ranked |= {(method, AGAINST): each[i] for method, each in against.items()}
        label = label_of.get(int(passed.class_index[own][0]), -1)
        person = _person(stream, frames, frame_size, how)
        probability = tuple(passed.probability[own].tolist())
        found.append(_window(number, frames, truth[frames], label, probability, ranked, person))
    return found


def _seen(model, clips, ranked, passed, taps, labels, outputs, how) -> Iterator[tuple[int, "_Seen"]]:
    """(label, what a batch of windows shows of it); what is not among the `ranked` classes of a window is explained.

    Args:
        ranked: (W, ranks), the outputs that `passed` has of each window.
        model, clips, passed, taps, labels, outputs, how: as in `measure`.
    """
    known, missing, parts = [], [], []
    for label in labels:
        for w, classes in enumerate(ranked.tolist()):
            if outputs[label] in classes:
                known.append(((label, w), w * len(classes) + classes.index(outputs[label])))
            else:
                missing.append(((label, w), outputs[label]))
    if known:
        parts.append(_Seen.of(_only(passed, [row for _, row in known]), taps, how.align))
    if missing:
        own = clips[[w for (_, w), _ in missing]]
        further = layerwise(model, own, taps, np.array([output for _, output in missing]), batch_size=how.batch_size)
        parts.append(_Seen.of(further, taps, how.align))
    place = {pair: n for n, (pair, _) in enumerate(known + missing)}
    for label in labels:
        yield label, _Seen.joined(parts).only([place[label, w] for w in range(len(clips))])


def explained(found: Layerwise, taps: Sequence[str], align: str, counterfactual: bool) -> dict[str, np.ndarray]:
    """Method -> its maps (B, T, H, W), each scaled by its own maximum."""
    return {
        CAM3D: found.cam3d(taps, counterfactual, align=align).maps,
        GRADCAM: found.gradcam(taps[-1], counterfactual).maps,
    }


def _only(found: Layerwise, rows: Sequence[int] | slice) -> Layerwise:
    """What was found for some clips, or classes of clips."""
    maps = {need: {tap: each[rows] for tap, each in by_tap.items()} for need, by_tap in found.maps.items()}
    arrays = {name: getattr(found, name)[rows] for name in ("class_index", "score", "probability")}
    return replace(found, maps=maps, **arrays)


def _person(stream: Stream, frames, frame_size, how: Windows) -> np.ndarray | None:
    """bool (T, H, W), the pixels of the person's box."""
    if stream.boxes is None:
        return None
    there = (in_clip(stream.boxes[n][None], frame_size, how.size, how.fit) for n in frames)
    return np.stack([inside(boxes, how.size) for boxes in there])


def _window(number, frames, truth, label, probability, ranked, person) -> Answered:
    whole, some = truth.all(axis=0), truth.any(axis=0)
    kind = INSIDE if whole.any() else ACROSS if some.any() else OUTSIDE
    right = None if kind == OUTSIDE else bool(label >= 0 and (whole if kind == INSIDE else some)[label])
    about = {}
    for (method, rank), maps in ranked.items():
        first, mass = ranked[method, RANKS[0]], float(maps.sum(dtype=np.float64))
        both = np.linalg.norm(maps) * np.linalg.norm(first)
        about[method, rank] = {
            "empty": float(not maps.any()),
            "cosine": float((maps * first).sum(dtype=np.float64) / both) if both else None,
            "in_box": float(maps[person].sum(dtype=np.float64) / mass) if mass and person is not None else None,
        }
    sides = {}
    if label >= 0 and truth[:, label].any() and not truth[:, label].all():
        done = truth[:, label]
        for method in (CAM3D, GRADCAM):
            of_frame = ranked[method, RANKS[0]].sum(axis=(1, 2), dtype=np.float64)
            if of_frame.any():
                sides[method] = float(done.mean()), float(of_frame[done].sum() / of_frame.sum())
    in_box = None if person is None else float(person.mean())
    return Answered(
        number, frames, kind, right, probability, label, tuple(np.flatnonzero(whole).tolist()), about, in_box, sides
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What W windows show of a class, small enough to be kept of a video of any length.

    Args:
        products: (W, taps, T), the mean over each frame of 3DCAM's product at each tap, divided by the window's peaks.
        peaks: (W, taps, factors), what it was divided by.
        gradcam: (W, T), the mean of Grad-CAM's map.
        probability: (W,), of the class.
    """

    products: np.ndarray
    peaks: np.ndarray
    gradcam: np.ndarray
    probability: np.ndarray

    @classmethod
    def of(cls, passed: Layerwise, taps: Sequence[str], align: str) -> "_Seen":
        each = [passed.cam3d([tap], normalize=None, align=align) for tap in taps]
        products = np.stack([_by_frame(one.maps) for one in each], axis=1)
        peaks = np.stack([one.factors.peaks[0].reshape(len(products), -1) for one in each], axis=1)
        return cls(products, peaks, _by_frame(passed.gradcam(taps[-1], normalize=None).maps), passed.probability)

    @classmethod
    def joined(cls, parts: Sequence["_Seen"]) -> "_Seen":
        """That of several, one after the other."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*map(astuple, parts), strict=True)))

    def only(self, rows: Sequence[int]) -> "_Seen":
        """These windows alone."""
        return _Seen(*(array[rows] for array in astuple(self)))

    def strength(self) -> dict[str, np.ndarray]:
        """Method -> (W, T). As in `explain_video`, 3DCAM's maps are divided by the largest of all windows, as if the
        video were one clip: by its own, a window without evidence would shine like one full of it."""
        largest = self.peaks.max(axis=0, keepdims=True)
        share = np.divide(self.peaks, largest, out=np.zeros_like(self.peaks), where=largest > 0).prod(axis=-1)
        return {CAM3D: (self.products * share[:, :, None]).sum(axis=1), GRADCAM: self.gradcam}


def _by_frame(maps: np.ndarray) -> np.ndarray:
    return maps.mean(axis=(2, 3), dtype=np.float64)


def _joined(values: np.ndarray, places: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) the mean over the windows that hold each frame of `values` (W, T), which stand at `places`."""
    total = np.bincount(places.ravel(), values.ravel(), frames)
    return total / np.bincount(places.ravel(), minlength=frames)


class _Motion:
    """The mean squared difference of each of some frames to the one before, as they are decoded, window by window.

    Args:
        frames: (N,) their numbers, rising.
    """

    def __init__(self, frames: np.ndarray):
        self.frames, self._shown, self._motion = frames, {}, []

    def add(self, windows: np.ndarray, clips: np.ndarray, next_window: int | None = None) -> None:
        """Takes the frames (W, T, H, W, 3) of windows (W, T); later ones begin with `next_window`, None: none."""
        self._shown |= zip(windows.ravel().tolist(), clips.reshape(-1, *clips.shape[2:]), strict=True)
        known = len(self.frames) if next_window is None else int(np.searchsorted(self.frames, next_window))
        for n in range(len(self._motion), known):
            one, before = (self._shown[int(self.frames[m])].astype(np.float32) for m in (n, max(n - 1, 0)))
            self._motion.append(np.square(one - before).mean())
        last = self.frames[max(known - 1, 0)]
        self._shown = {frame: pixels for frame, pixels in self._shown.items() if frame >= last}

    def found(self) -> np.ndarray:
        """(N,), of the first frame as of the second."""
        return np.array([*self._motion[1:2], *self._motion[1:]] or [0.0])


def as_plain(windows: Sequence[Answered], found: Sequence[Course]) -> dict:
    """What was found in a video, as `json.dump` takes it; `from_plain` gives it back."""
    rows = [
        vars(window)
        | {"frames": window.frames.tolist(), "maps": [[*key, dict(about)] for key, about in window.maps.items()]}
        for window in windows
    ]
    courses = [
        vars(course)
        | {"seconds": course.seconds.tolist(), "done": course.done.tolist()}
        | {"strength": {name: values.tolist() for name, values in course.strength.items()}}
        for course in found
    ]
    return {"windows": rows, "courses": courses}


def from_plain(plain: Mapping) -> tuple[list[Answered], list[Course]]:
    """What `as_plain` was given."""
    windows = [
        Answered(
            **row
            | {
                "frames": np.array(row["frames"]),
                "maps": {(method, rank): about for method, rank, about in row["maps"]},
            }
            | {"probability": tuple(row["probability"]), "done": tuple(row["done"])}
            | {"sides": {method: tuple(pair) for method, pair in row["sides"].items()}}
        )
        for row in plain["windows"]
    ]
    found = [
        Course(
            **row
            | {"seconds": np.array(row["seconds"]), "done": np.array(row["done"], bool)}
            | {"strength": {name: np.array(values) for name, values in row["strength"].items()}}
        )
        for row in plain["courses"]
    ]
    return windows, found


def summary(windows: Sequence[Answered], found: Sequence[Course], class_names: Sequence[str]) -> dict:
    """Everything in numbers, as `json.dump` takes it; intervals draw whole videos again."""
    kinds = {}
    for kind in KINDS:
        own = [window for window in windows if window.kind == kind]
        right = [(window.right, window.video) for window in own if window.right is not None]
        kinds[kind] = {
            "windows": len(own),
            "right": _mean(right),
            "probability": _mean([(window.probability[0], window.video) for window in own]),
        }
    known = windows[0].maps if windows else ()
    ranks = [
        _rank(windows, method, place)
        for method in (CAM3D, GRADCAM)
        for place, rank in enumerate(RANKS)
        if (method, rank) in known
    ]
    sides = []
    for method in (CAM3D, GRADCAM):
        pairs = [(window.sides[method], window.video) for window in windows if method in window.sides]
        sides.append(
            {
                "method": method,
                "frames": _mean([(frames, video) for (frames, _), video in pairs]),
                "evidence": _mean([(evidence, video) for (_, evidence), video in pairs]),
                "more": _mean([(evidence - frames, video) for (frames, evidence), video in pairs]),
            }
        )
    names = (CAM3D, GRADCAM, ANSWER, MOTION)
    whole = [window for window in windows if window.kind == INSIDE]
    classes = []
    for label, name in enumerate(class_names):
        own = [course for course in found if course.label == label]
        when = {each: _mean([(course.when(each), course.video) for course in own]) for each in names}
        answers = Counter(window.answer for window in whole if window.answer >= 0)
        classes.append({"name": name, "videos": len(own), "answered": answers[label], "when": when})
    whole_of = Counter(label for window in whole for label in window.done)
    return {
        "windows": kinds,
        "most_frequent": max(whole_of.values()) / len(whole) if whole else None,
        "ranks": ranks,
        "box": _mean(_of(windows, lambda w: w.in_box)),
        "sides": sides,
        "when": [{"name": each, **(_mean([(c.when(each), c.video) for c in found]) or {})} for each in names],
        "classes": classes,
    }


def _rank(windows: Sequence[Answered], method: str, place: int) -> dict:
    """The maps of a method for the class of a rank, or against the first."""
    rank = RANKS[place]

    def mean(name, kind=None):
        return _mean(_of(windows, lambda window: window.maps[method, rank][name], kind))

    probability = None if rank == AGAINST else _mean(_of(windows, lambda window: window.probability[place]))
    empty = {kind: mean("empty", kind) for kind in KINDS}
    about = {"method": method, "rank": rank, "probability": probability, "empty": empty}
    return about | {"cosine": mean("cosine"), "in_box": mean("in_box")}


def _of(windows: Sequence[Answered], value, kind: str | None = None) -> list:
    """(value, video) of the windows that have one, of a kind or of all."""
    pairs = [(value(window), window.video) for window in windows if kind in (None, window.kind)]
    return [(number, video) for number, video in pairs if number is not None]


def _mean(pairs: Sequence[tuple[float, int]]) -> dict | None:
    """The mean of (value, video) with its interval; None of nothing."""
    if not pairs:
        return None
    values, videos = (np.array(each) for each in zip(*pairs, strict=True))
    _, clusters = np.unique(videos, return_inverse=True)
    values, bootstrap = values.astype(float)[:, None], Bootstrap()
    (interval,) = bootstrap.intervals(bootstrap.means(values, np.ones(len(values)), clusters), clusters)
    return {"value": float(values.mean()), "interval": interval, "count": len(values)}


def timeline(stream: Stream, found: Sequence[Course], class_names: Sequence[str], name: str, points: int = 400) -> dict:
    """The course of the evidence in a video, for `results.json`: of long ones so many frames, evenly."""
    rows = []
    for course in found:
        kept = np.unique(np.linspace(0, len(course.seconds) - 1, points).round().astype(int))
        spans = [[start, end] for label, start, end in stream.segments if label == course.label]
        curves = {}
        for each in (CAM3D, GRADCAM, ANSWER):
            values = course.strength[each] / ((each != ANSWER and course.strength[each].max()) or 1)
            curves[each] = np.round(values[kept], 4).tolist()
        seconds = np.round(course.seconds[kept], 3).tolist()
        rows.append({"class": class_names[course.label], "seconds": seconds, "spans": spans, "curves": curves})
    return {"video": name, "rows": rows}


@dataclass(frozen=True, eq=False)
class Example:
    """A window to show.

    Args:
        video: name of its video.
        frames: uint8 (T, H, W, 3).
        done: of each frame what is done.
        panels: text -> explanation of this one clip.
    """

    video: str
    frames: np.ndarray
    done: Sequence[Sequence[str]]
    panels: Mapping[str, Explanation]


def example(
    model: keras.Model,
    taps: Sequence[str],
    stream: Stream,
    window: Answered,
    names: tuple[Sequence[str], Sequence[str]],
    how: Windows,
) -> Example:
    """A window with its maps for the most probable classes and against the first, as in Figure 6.

    Args:
        model, taps, stream, how: as in `measure`.
        window: one of those it found.
        names: of the data's classes, and of the model's outputs.
    """
    clips = read_frames(stream.path, window.frames[None], how.size, fit=how.fit)
    passed = layerwise(model, clips, taps, top=min(3, model.output_shape[-1]))
    maps, panels = passed.cam3d(taps, align=how.align), {}
    for place, (index, probability) in enumerate(zip(passed.class_index, passed.probability, strict=True)):
        panels[f"{CAM3D}, {RANKS[place]} class: {names[1][index]} {probability:.2f}"] = maps.only(place)
    panels[f"{CAM3D}, {AGAINST}"] = passed.cam3d(taps, True, align=how.align).only(0)
    panels[f"{GRADCAM}, first class"] = passed.gradcam(taps[-1]).only(0)
    truth = stream.truth(frame_times(stream.path, probe(stream.path).frames), len(names[0]))[window.frames]
    done = [[names[0][label] for label in np.flatnonzero(frame)] for frame in truth]
    return Example(stream.path.stem, clips[0], done, panels)


def paint(
    model: keras.Model, taps: Sequence[str], stream: Stream, path: Path, answers: Sequence[str], how: Windows
) -> None:
    """Writes a video with 3DCAM of the predicted class of each window painted over it, joined; of a long one a minute
    or so, from shortly before its first segment on.

    Args:
        model, taps, stream, how: as in `measure`.
        path: the .mp4 to write.
        answers: names of the model's outputs.
    """

    def explain(clips):
        return layerwise(model, clips, taps, batch_size=how.batch_size).cam3d(taps, normalize=None, align=how.align)

    info = probe(stream.path)
    seconds = frame_times(stream.path, info.frames)
    begin = max(0, int(np.searchsorted(seconds, min(start for _, start, _ in stream.segments) - LEAD)))
    begin = min(begin, max(0, info.frames - how.num_frames * how.stride))
    end = min(info.frames, begin + max(PAINTED, how.num_frames * how.stride))
    found = explain_video(
        model, stream.path, explain, how.hop, how.stride, begin, end, short="repeat_last", fit=how.fit,
        batch_size=how.batch_size,
    )  # fmt: skip
    own = (found.class_index[found.nearest], found.probability[found.nearest])
    headings = [f"{answers[index]} {probability:.2f}" for index, probability in zip(*own, strict=True)]
    fps = found.fps * len(found.frames) / (found.frames[-1] - found.frames[0] + 1)
    frames = frames_of(stream.path, found.frames, how.size, how.fit)
    save_overlay(
        path, frames, found.explanations[""], fps=fps, class_names=answers, times=found.seconds, headings=headings
    )


def windows_to_test(
    videos: Sequence[Stream], windows: Sequence[Answered], count: int, how: Windows
) -> tuple[np.ndarray, list[str]]:
    """Windows of one action; classes and videos take turns, see `har_tf.evaluate.spread`.

    Args:
        videos: as they are numbered in `Answered.video`.
        windows: what `answered` found.
        count: how many.
        how: windows.

    Returns:
        uint8 (N, T, H, W, 3), and the path of the video of each; N is 0 where none is of an action.
    """
    inner = [window for window in windows if window.kind == INSIDE]
    paths = [str(videos[window.video].path) for window in inner]
    places = spread([window.done[0] for window in inner], paths, count)
    clips = [read_frames(Path(paths[i]), inner[i].frames[None], how.size, fit=how.fit)[0] for i in places]
    return np.array(clips), [paths[i] for i in places]


def explain_as_shown(
    taps: Sequence[str], how: Windows, model: keras.Model, clips: np.ndarray, class_index=None
) -> dict[str, Explanation]:
    """Method -> its maps, those of `example` and `paint`; arguments as of `answered`."""
    found = layerwise(model, clips, taps, class_index, batch_size=how.batch_size)
    return {CAM3D: found.cam3d(taps, align=how.align), GRADCAM: found.gradcam(taps[-1])}


def shown(windows: Sequence[Answered]) -> dict[str, Answered]:
    """Which windows are shown: of those inside that are answered right, the one of the most probable answer (Figure 6);
    and the one across in which the answered class is done in most nearly half of the frames (Figure 5)."""
    inner = [window for window in windows if window.kind == INSIDE and window.right]
    cut = [window for window in windows if window.kind == ACROSS and CAM3D in window.sides]
    found = {}
    if inner:
        found["classes"] = max(inner, key=lambda window: window.probability[0])
    if cut:
        found["cut"] = min(cut, key=lambda window: abs(window.sides[CAM3D][0] - 0.5))
    return found
