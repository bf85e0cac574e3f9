"""How well maps of a model and controls find true boxes: all is chosen on held-out clips and measured on test clips.

study = Study(model, taps, ious=(0.3, 0.5, 0.7))
choice = study.choose(held_out, blurs=(0.0,))       # thresholds, blurs, and the layers to sum
results = study.results(test, choice)               # for results.json
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Self

import keras
import numpy as np

from har_tf import devices
from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.boxed_clips import BoxedClip, BoxedVideos
from har_tf.evaluate.comparison import over_groups
from har_tf.evaluate.contours import contour_boxes
from har_tf.evaluate.controls import CONTROLS
from har_tf.evaluate.evidence import Evidence
from har_tf.evaluate.hits import UNITS, Frames, accuracy
from har_tf.evaluate.localization import ILSVRC_IOUS, THRESHOLDS, Overlaps, Reached, max_box_acc
from har_tf.evaluate.map_rows import CAM3D, GRADCAM, Batch, ModelRow, paper_rows, runs
from har_tf.evaluate.matching import RULES, Asked, Matched, Row, Task, blurred, match
from har_tf.evaluate.options import Maps
from har_tf.evaluate.part import Part, digest_of_model
from har_tf.explain import Explanation, Layerwise, layerwise
from har_tf.explain.scaling import scaled
from har_tf.files.workers import Failed, outcomes
from har_tf.names import index_of, say
from har_tf.progress import advancing, progress

CLIP = ("video", "group", "right")  # of a clip: its names, and whether the answer is right, -1 where that is not known
VIDEOS_AT_ONCE = 16  # or a batch of them: what a run that is killed loses
FORM = 1  # of the files of `Part`, to be raised where they or what stands in them changes


@dataclass(frozen=True)
class Setting:
    """How a row's boxes are made, and the box accuracy on held-out clips that chose it."""

    threshold: float
    accuracy: float
    blur: float = 0.0


@dataclass(frozen=True, eq=False)
class Choice:
    """What the held-out clips chose.

    Args:
        settings: of every row that was tried.
        best: method -> its run of layers; empty without a model.
        rows: those to measure on test clips.
        counts: what it was chosen on.
        empty: of every row that was tried the share of clips without any evidence.
    """

    settings: Mapping[Row, Setting]
    best: Mapping[str, ModelRow]
    rows: Sequence[Row]
    counts: dict
    empty: Mapping[Row, float]


@dataclass(frozen=True, eq=False)
class Measured:
    """Overlaps and hits of every row, under each of its blurs, on the frames of a part.

    Args:
        tables: (row, blur) -> `Reached`.
        hits: (row, blur) -> (rules, N), in the order of `RULES`.
        evidence: row -> `Evidence`, of the maps without blur.
        units: what belongs together.
        clip_of: int (N,), the number of each frame's clip.
    """

    tables: Mapping[tuple[Row, float], Reached]
    hits: Mapping[tuple[Row, float], np.ndarray]
    evidence: Mapping[Row, Evidence]
    units: Frames
    clip_of: np.ndarray

    @classmethod
    def of(cls, asked: Asked, parts: Sequence[Mapping[str, np.ndarray]]) -> Self:
        """Out of the arrays of all parts."""
        matched = Matched.joined([Matched(*(part[field.name] for field in fields(Matched))) for part in parts])
        clip_of = np.repeat(np.arange(len(matched.measured)), matched.measured)
        names, groups, right = (np.concatenate([part[name] for part in parts])[clip_of] for name in CLIP)
        return cls(
            {key: matched.table(k, asked) for k, key in enumerate(asked.keys)},
            {key: matched.hits[k] for k, key in enumerate(asked.keys)},
            {row: matched.evidence(r) for r, row in enumerate(asked.blurs)},
            Frames(names.tolist(), groups.tolist(), correct=None if (right < 0).any() else right.astype(bool)),
            clip_of,
        )

    @property
    def counts(self) -> dict:
        """How much was measured, and the share of frames of which the model answered the right class."""
        counts, correct = self.units.counts | {"clips": int(self.clip_of[-1]) + 1}, self.units.correct
        return counts if correct is None else counts | {"right": float(sum(correct)) / len(correct)}

    def empty(self, row: Row) -> float:
        """The share of clips without any evidence."""
        return float(1 - self.evidence[row].clips.mean())

    def partly(self) -> np.ndarray:
        """bool (C,): the clips in which 3DCAM of a layer has no evidence."""
        single = [found.clips for row, found in self.evidence.items() if isinstance(row, ModelRow) and row.single_3dcam]
        return ~np.all(single, axis=0) if single else np.zeros(int(self.clip_of[-1]) + 1, bool)


@dataclass(frozen=True, eq=False)
class Example:
    """A clip to show beside its maps.

    Args:
        clip: with its true boxes.
        class_index: the explained class.
        probability: its probability.
        panels: row's name -> (explanation of this one clip, with every frame scaled by its own maximum; of every frame
            the (K, 4) box of the largest contour at the row's threshold).
    """

    clip: BoxedClip
    class_index: int
    probability: float
    panels: Mapping[str, tuple[Explanation, list[np.ndarray]]]


@dataclass(frozen=True, eq=False)
class Study:
    """What is explained, and how its maps are compared with true boxes.

    Args:
        model: None where the controls alone are measured.
        taps: names of the layers conv, layer 1, ... in it.
        outputs: of each class of the data its output of the model, -1 for none, see `outputs_of`; None: not known.
        maps: which maps, and how boxes come of them.
        ious: the IoU that a box needs.
        batch_size: clips that are explained at once.
        pictures: whether the data have no time axis.
        workers: processes that compare maps with boxes, see `har_tf.files.workers.outcomes`.
        folder: where what was found stays, for a run that goes on after it was killed; None: nowhere.
    """

    model: keras.Model | None = None
    taps: Sequence[str] = ()
    outputs: Sequence[int] | None = None
    maps: Maps = Maps()
    ious: Sequence[float] = ILSVRC_IOUS
    batch_size: int = 16
    pictures: bool = False
    workers: int | None = 0
    folder: Path | None = None

    @property
    def controls(self) -> list[Row]:
        """The controls that the data can have."""
        return [row for row in CONTROLS if not (self.pictures and row.needs_motion)]

    def choose(self, videos: BoxedVideos) -> Choice:
        """The threshold and the blur of every row, and the runs of layers, that suit these clips best.

        Of equally good ones the first.
        """
        layers = 0 if self.model is None else len(self.taps)
        own, candidates = paper_rows(layers, self.pictures), runs(layers, self.pictures)
        tried = [*dict.fromkeys([*own, *candidates]), *self.controls]
        blurs = {row: [blur or row.least_blur for blur in self.maps.blur] for row in tried}
        measured = self.measure(videos, blurs)
        settings = {
            row: max((self.best(measured.tables[row, blur], blur) for blur in own), key=lambda found: found.accuracy)
            for row, own in blurs.items()
        }
        best = {
            method: max((row for row in candidates if row.method == method), key=lambda row: settings[row].accuracy)
            for method in ((GRADCAM, CAM3D) if candidates else ())
        }
        # Beside 3DCAM's sum the sum of Grad-CAM over the same layers, as in Table 6.
        alike = [replace(row, method=GRADCAM) for row in best.values() if row.method == CAM3D]
        rows = [*dict.fromkeys([*own, *best.values(), *alike]), *self.controls]
        return Choice(settings, best, rows, measured.counts, {row: measured.empty(row) for row in tried})

    def best(self, table: Overlaps | Reached, blur: float = 0.0) -> Setting:
        """The best threshold for all frames: by frame, mean over the IoU."""
        curve = self.curve(table)
        return Setting(float(table.thresholds[curve.argmax()]), float(curve.max()), blur)

    def curve(self, table: Overlaps | Reached) -> np.ndarray:
        """(T,) box accuracy by frame at every threshold, mean over the IoU."""
        return np.mean([table.localised(iou).mean(axis=0) for iou in self.ious], axis=0)

    def measure(self, videos: BoxedVideos, blurs: Mapping[Row, Sequence[float]]) -> Measured:
        """Explains every clip once and compares the maps of all rows, each under its blurs, with the true boxes."""
        asked = Asked(
            {row: list(dict.fromkeys(own)) for row, own in blurs.items()}, tuple(self.ious), self.maps.contours
        )
        records, parts, about = list(videos.usable), [], self._about(asked)
        for start in range(0, len(records), step := max(self.batch_size, VIDEOS_AT_ONCE)):
            own = records[start : start + step]
            parts.append((own, Part(self.folder, {"asked": about, "videos": videos.about(own)})))
        found = [part.read() for _, part in parts]
        if known := sum(len(own) for (own, _), arrays in zip(parts, found, strict=True) if arrays is not None):
            say(f"{known} of {len(records)} videos are known from before")
        missing = [(i, own) for i, (own, _) in enumerate(parts) if found[i] is None]
        with progress("explaining", sum(len(own) for _, own in missing), "videos") as advance:
            for i, arrays in self._compared(videos, asked, missing, advance):
                parts[i][1].write(arrays)
                found[i] = arrays
        return Measured.of(asked, [arrays for arrays in found if arrays is not None])  # of one without clips None

    def _compared(self, videos: BoxedVideos, asked: Asked, missing, advance) -> Iterator[tuple[int, dict]]:
        """(number, arrays) of each of the parts, (number, its records), in order."""
        under_way = deque()  # (number of the part, what `CLIP` says, whether it is the part's last clip)

        def tasks():
            for number, records in missing:
                stream = videos.clips(advancing(records, advance))
                clips = list(islice(stream, self.batch_size))
                while clips:
                    further = list(islice(stream, self.batch_size))
                    batch, answers = self._batch(clips, asked)
                    for i, clip in enumerate(clips):
                        right = -1 if answers is None else int(self.outputs[clip.label] == answers[i])
                        last = not further and i == len(clips) - 1
                        under_way.append((number, (clip.video, clip.group, right), last))
                        shown = np.array([t in clip.shown for t in range(batch.shape[1])])
                        yield Task(asked, batch.only(i), clip.boxes, shown)
                    clips = further

        kept = []
        for outcome in outcomes(match, tasks(), self.workers):
            number, about, last = under_way.popleft()
            if isinstance(outcome, Failed):
                raise RuntimeError(f"{about[0]}: its maps were not compared with its boxes: {outcome.reason}")
            kept.append((about, outcome))
            if last:
                yield number, _arrays(kept)
                kept = []

    def _batch(self, clips: Sequence[BoxedClip], asked: Asked) -> tuple[Batch, np.ndarray | None]:
        """Clips with the maps of their layers, and the classes the model answers; None: not known which is right."""
        frames = np.stack([clip.frames for clip in clips])
        if self.model is None:
            return Batch(frames), None
        found, answers = self._explained(clips), None
        if self.outputs is not None:
            true = self.maps.explain == "true"
            answers = devices.predict(self.model, frames, len(frames)).argmax(axis=1) if true else found.class_index
        return Batch.of(frames, found, self.taps, asked.blurs, self.maps.align), answers

    def _about(self, asked: Asked) -> dict:
        """All that a part depends on but its videos."""
        model = self.model and digest_of_model(self.model)
        rows = [(row.name, blur) for row, blur in asked.keys]
        settings = [asdict(self.maps) | {"blur": None}, self.outputs, asked.ious, THRESHOLDS, asked.contours]
        return {"model": model, "taps": list(self.taps), "rows": rows, "settings": settings, "form": FORM}

    def results(self, videos: BoxedVideos, choice: Choice) -> dict:
        """Measures the chosen rows on test clips; everything as `json.dump` takes it."""
        measured = self.measure(videos, {row: [choice.settings[row].blur] for row in choice.rows})
        return {
            "ious": list(self.ious),
            "contours": self.maps.contours,
            "thresholds": list(THRESHOLDS),
            "measured": {"held_out": choice.counts, "test": measured.counts | {"partly": int(measured.partly().sum())}},
            "chosen": {method: row.name for method, row in choice.best.items()},
            "methods": {row.name: self._row(measured, row, choice) for row in choice.rows},
            "differences": self._differences(measured, choice),
        }

    def examples(self, videos: BoxedVideos, choice: Choice, count: int) -> list[Example]:
        """Clips to show, with the maps of Grad-CAM at the last layer and of what was chosen; none without a model."""
        clips = [] if self.model is None else videos.examples(count)
        if not clips:
            return []
        found, rows = self._explained(clips), self._shown(choice)
        explanations = {row: row.explanation(found, self.taps, self.maps.align) for row in rows}

        def panel(row, i):
            setting, one = choice.settings[row], explanations[row].only(i)
            one = replace(one, maps=scaled(blurred(one.maps[0], setting.blur)[None], "frame"))
            thresholds = np.array([setting.threshold])
            return one, [contour_boxes(frame, thresholds).largest().boxes for frame in one.maps[0]]

        shown = []
        for i, clip in enumerate(clips):
            panels = {row.name: panel(row, i) for row in rows}
            shown.append(Example(clip, int(found.class_index[i]), float(found.probability[i]), panels))
        return shown

    def explain_as_shown(
        self, choice: Choice, model: keras.Model, clips: np.ndarray, class_index=None
    ) -> dict[str, Explanation]:
        """Name -> the maps of `examples`, blurred as these are, of a model like the one of this study."""
        found = layerwise(model, clips, self.taps, class_index, channels=self.maps.channels)
        explanations = {}
        for row in self._shown(choice):
            explanation, blur = row.explanation(found, self.taps, self.maps.align), choice.settings[row].blur
            maps = np.stack([blurred(maps, blur) for maps in explanation.maps])
            explanations[row.name] = replace(explanation, maps=scaled(maps, "clip"))
        return explanations

    def classes_of(self, clips: Sequence[BoxedClip]) -> np.ndarray | None:
        """int (N,), the classes that are explained; None: those that the model answers."""
        return np.array([self.outputs[clip.label] for clip in clips]) if self.maps.explain == "true" else None

    def _shown(self, choice: Choice) -> list[ModelRow]:
        last = len(self.taps) - 1
        return list(dict.fromkeys([ModelRow(GRADCAM, last, last, self.pictures), *choice.best.values()]))

    def _explained(self, clips: Sequence[BoxedClip]) -> Layerwise:
        frames = np.stack([clip.frames for clip in clips])
        return layerwise(self.model, frames, self.taps, self.classes_of(clips), channels=self.maps.channels)

    def _row(self, measured: Measured, row: Row, choice: Choice) -> dict:
        """The numbers of one row."""
        setting = choice.settings[row]
        table, units = measured.tables[row, setting.blur], measured.units

        def boxes(acc2):
            ways = {}
            for found in max_box_acc(table, units, self.ious, setting.threshold, acc2).rows:
                numbers = asdict(found)
                numbers.pop("per_class")
                ways.setdefault(numbers.pop("choice"), {})[numbers.pop("per")] = numbers
            return ways

        hits = {}
        for rule, found in zip(RULES, measured.hits[row, setting.blur], strict=True):
            shares = {per: accuracy(found, units, per) for per in UNITS}
            hits[rule] = {per: {"value": share.value, "interval": share.interval} for per, share in shares.items()}
        return {
            **row.described,
            "threshold": setting.threshold,
            "hits": hits,
            "boxes": boxes(acc2=False),
            "acc2": None if units.correct is None else boxes(acc2=True),
            "curve": np.round(self.curve(table), 6).tolist(),
            "held_out": round(setting.accuracy, 6),
            "blur": setting.blur,
            "evidence": self._evidence(measured, row, choice),
        }

    def _evidence(self, measured: Measured, row: Row, choice: Choice) -> dict:
        """How often a row's maps are empty, what that does to its boxes, and when it sees evidence."""
        found, clips = measured.evidence[row], measured.clip_of
        single = row.singles if isinstance(row, ModelRow) and row.first < row.last else []
        partly = measured.partly()[clips]
        hits = self._hits(measured, row, choice.settings[row], "given")
        _, first = np.unique(clips, return_index=True)
        known = np.flatnonzero(~np.isnan(found.when))
        _, groups = np.unique(measured.units.clusters[first][known], return_inverse=True)
        when = None
        if len(known):
            bootstrap, values = Bootstrap(), found.when[known][:, None]
            (interval,) = bootstrap.intervals(bootstrap.means(values, np.ones(len(known)), groups), groups)
            when = {"value": float(values.mean()), "interval": interval, "clips": len(known)}
        return {
            "empty": measured.empty(row),
            "empty_held_out": choice.empty[row],
            "blank": float(1 - found.frames.mean()),
            "layers": sum(measured.empty(layer) for layer in single) if single else None,
            "one_sign": None if found.one_sign is None else float(found.one_sign.mean()),
            "all_layers": None if partly.all() else float(hits[~partly].mean()),
            "some_empty": float(hits[partly].mean()) if partly.any() else None,
            "when": when,
        }

    def _hits(self, measured: Measured, row: Row, setting: Setting, way: str) -> np.ndarray:
        """(N,) the share of the IoU at which each frame has a box that fits; way: "given" or "oracle"."""
        table = measured.tables[row, setting.blur]
        at = table.position(setting.threshold)
        reached = (table.localised(iou) for iou in self.ious)
        return np.mean([found.any(axis=1) if way == "oracle" else found[:, at] for found in reached], axis=0)

    def _differences(self, measured: Measured, choice: Choice) -> list[dict]:
        """The chosen 3DCAM minus its best layer alone, Grad-CAM and each control.

        Box accuracy by frame; the same groups are drawn for both.
        """
        if not choice.best:
            return []
        units, last, chosen = measured.units, len(self.taps) - 1, choice.best[CAM3D]
        single = max(
            (row for row in choice.rows if isinstance(row, ModelRow) and row.single_3dcam),
            key=lambda row: choice.settings[row].accuracy,
        )
        gradcams = [ModelRow(GRADCAM, last, last, self.pictures), choice.best[GRADCAM], replace(chosen, method=GRADCAM)]
        rows, bootstrap = [], Bootstrap()
        for way in ("given", "oracle"):
            mine = self._hits(measured, chosen, choice.settings[chosen], way)
            for other in dict.fromkeys([single, *gradcams, *self.controls]):
                if other == chosen:  # of a model with one layer
                    continue
                values = mine - self._hits(measured, other, choice.settings[other], way)
                means = bootstrap.means(values[:, None], np.ones(len(values)), units.clusters)
                (interval,) = bootstrap.intervals(means, units.clusters)
                p = over_groups(values, units.clusters)
                rows.append(
                    {"choice": way, "than": other.name, "value": float(values.mean()), "interval": interval, "p": p}
                )
        return rows


def _arrays(clips: Sequence[tuple[tuple, Matched]]) -> dict[str, np.ndarray]:
    """What `Part` writes of some clips."""
    about, found = zip(*clips, strict=True)
    own = dict(zip(CLIP, map(np.array, zip(*about, strict=True)), strict=True))
    return vars(Matched.joined(found)) | own


def outputs_of(
    class_names: Sequence[str],
    outputs: Sequence[str] | None,
    needed: bool = False,
    called: Mapping[str, str] | None = None,
) -> list[int] | None:
    """Of each class of the data its output of the model, -1 for none.

    Names are compared without case; of ImageNet's, "n01440764 tench", the WordNet id is.

    Args:
        class_names: of the data.
        outputs: names of the model's outputs; None: not known.
        needed: whether every class needs one, as its true class is to be explained.
        called: class of the data -> what the model calls it, where the names differ.

    Returns:
        None where the names are not known, or none of the classes has an output.

    Raises:
        ValueError: an output is needed and missing, or `called` has a class that the data or the model have not.
    """
    known = {} if outputs is None else {_class_key(name): i for i, name in enumerate(outputs)}
    theirs = {}
    for ours, name in (called or {}).items():
        theirs[index_of(ours, class_names, "the data")] = index_of(name, outputs or (), "the model")
    found = [theirs.get(i, known.get(_class_key(name), -1)) for i, name in enumerate(class_names)]
    absent = [name for name, i in zip(class_names, found, strict=True) if i < 0]
    if needed and absent:
        raise ValueError(
            f"--explain true needs an output for every class; the model has none for {', '.join(absent[:5])}"
            f"{' ...' if len(absent) > 5 else ''}. --class-names says what its outputs are"
        )
    return None if max(found) < 0 else found


def _class_key(name: str) -> str:
    return name.split()[0] if re.match(r"n\d{8}\b", name) else name.casefold()
