"""What deserves trust of a classifier and of its explanations: what `har_tf.evaluate` asks of both, in one run.

    found = measure(model, clips, validation, Trust(methods="gradcam,3dcam"))
    found.results["explanations"]["rows"]        # methods and controls, as `results.json` has them

Explanations are tested on some of the test clips, spread over classes and recordings, for the class that the model
answers; what the model relies on, on more of them; its probabilities on all. Temperature, sets and thresholds come from
validation clips. Where two numbers are compared, it is clip by clip, with intervals over recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from har_tf import devices, explain
from har_tf.command import words
from har_tf.evaluate import (
    abstention,
    calibration,
    conformal,
    controls,
    faithfulness,
    randomization,
    reliance,
)
from har_tf.evaluate.changes import from_videos
from har_tf.evaluate.comparison import Verdict
from har_tf.evaluate.confidence import confidence
from har_tf.evaluate.labelled_clips import LabelledClips
from har_tf.evaluate.map_similarity import compare_maps
from har_tf.evaluate.options import Trust
from har_tf.evaluate.paired import difference, mean_of
from har_tf.evaluate.pointing import pointing
from har_tf.evaluate.stability import max_sensitivity
from har_tf.explain import Explanation
from har_tf.explain.methods import METHODS, chosen, set_options
from har_tf.models.logits import log_probabilities, probabilities
from har_tf.names import say

_SHOWN = 2  # clips of which all overlays are kept for pictures
_BATCH = 16  # clips that are answered at once
_NOISES = 5  # draws of noise a clip
# Steps of deletion and insertion, and of random weights, in a report about something else.
_SHORT_STEPS, _SHORT_CASCADE = 8, 3


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found of one model.

    Args:
        results: everything as plain values, for `results.json`.
        calibration: what its probabilities should be corrected by; None: it could not be fitted.
        shown: a few of the explained clips.
        explanations: name of a method -> its explanations of `shown`.
    """

    results: dict[str, Any]
    calibration: calibration.Calibration | None = None
    shown: LabelledClips | None = None
    explanations: Mapping[str, Explanation] = field(default_factory=dict)


def measure(
    model: keras.Model,
    clips: LabelledClips,
    validation: LabelledClips | None = None,
    options: Trust | None = None,
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> Measured:
    """Puts a classifier and its explanations to the test.

    Args:
        model: any Keras model of uint8 clips that `har_tf.explain` explains.
        clips: test clips, with labels as the model's outputs count them.
        validation: clips that the model was not trained on, that chose nothing of it, and that are no test clips; None:
            probabilities are measured as they are.
        options: what is measured, and on how many clips; None: as `Trust()`.
        reading: how clips are read of their videos, so that a clip at another speed can be read; None: frames of the
            clip come again.
        seed: of all that is drawn.
        workers: processes that decode clips at another speed; None: two; 0: none beside this one.

    Raises:
        ValueError: options as `Trust.check` refuses, or fewer clips than are compared with each other.
    """
    options = options or Trust()
    options.check()
    least = 2 if options.explained else 1
    if len(clips) < least:
        raise ValueError(
            f"trust is measured on {least} clips at least. Received: {len(clips)} ({', '.join(clips.names)})"
        )
    answer = partial(_answer, model)
    outputs = devices.predict(model, clips.clips, _BATCH)
    right = probabilities(model, outputs).argmax(axis=1) == clips.labels
    results: dict[str, Any] = {
        "parameters": model.count_params(),
        "clips": len(clips),
        "recordings": len(set(clips.recordings)),
        "accuracy": mean_of(right.astype(float), clips.groups).as_dict(),
        "most_frequent_class": float(np.bincount(clips.labels).max() / len(clips)),
    }
    results["probabilities"], fitted = _probabilities(model, outputs, clips, validation, options)
    shown, explanations = None, {}
    if options.relied:
        results["reliance"] = _reliance(answer, clips.spread(options.relied), options, reading, seed, workers)
    if options.explained:
        tested = clips.spread(options.explained)
        methods, settings, undefined = _defined(model, tested.clips[:1], options)
        if not methods:
            return Measured(results | {"explanations_not_measured": undefined}, fitted)
        results["explanations"], explanations = _explanations(model, tested, methods, settings, options, seed)
        results["explanations"]["not_defined"] = undefined
        shown = tested.spread(_SHOWN)
        places = _places(shown, tested)
        explanations = {name: _only(found, places) for name, found in explanations.items()}
    return Measured(results, fitted, shown, explanations)


def beside_random_labels(model: keras.Model, other: keras.Model, clips: LabelledClips, options: Trust) -> dict:
    """Explanations of a model beside those of the same network, trained on labels that were dealt out anew.

    Args:
        model: trained on true labels.
        other: trained on the others.
        clips: test clips, of which `options.randomized` are explained, for the class that `model` answers.
        options: which methods.

    Returns:
        The accuracy of `other`, and name of a method -> what `map_similarity.compare_maps` says. Methods that are not
        defined for the model are left out.

    Raises:
        ValueError: none is defined.
    """
    few = clips.spread(max(options.randomized, 2))
    methods, settings, _ = _defined(model, few.clips[:1], options)
    explained = partial(explain.by_method, methods=methods, options=settings)
    first = _named(explained(model, few.clips))
    classes = next(iter(first.values())).class_index
    second = _named(explained(other, few.clips, class_index=classes))
    right = _answer(other, clips.clips).argmax(axis=1) == clips.labels
    compared = {name: each.as_dict() for name, each in compare_maps(first, second, few.groups).items()}
    for found in compared.values():
        del found["similarity"]["clips"]
    return {"accuracy": mean_of(right.astype(float), clips.groups).as_dict(), "clips": len(few), "methods": compared}


def short(
    model: keras.Model,
    clips: np.ndarray,
    groups: Sequence[str | None],
    explained: Callable[..., Mapping[str, Explanation]],
    class_index=None,
    seed: int = 0,
) -> dict[str, Any]:
    """The explanations that a report shows, put to a short test: beside controls, and with random weights.

    Args:
        model: any Keras model of uint8 clips that `har_tf.explain` explains.
        clips: uint8 (N, T, H, W, 3), or pictures (N, H, W, 3), two or more, such as `har_tf.evaluate.spread` chooses.
        groups: the recording of each clip; None of one that stands alone.
        explained: (model, clips, class_index=None) -> name -> explanations of the class that the model answers, or of
            `class_index`.
        class_index: int (N,) or one for all, the class that is explained; None: the one that the model answers.
        seed: of all that is drawn.

    Returns:
        Plain values. "rows" as among the "explanations" of `measure`, with gains along "both", all pixels of the clip;
        "randomization" as there, or "not_randomized", the reason.
    """
    say(f"testing the explanations on {len(clips)} clips")
    found = _named(explained(model, clips, class_index=class_index))
    classes = next(iter(found.values())).class_index
    rows, _, measured = _beside_controls(model, clips, groups, found, ("both",), ("blur",), _SHORT_STEPS, seed)
    result = {
        "clips": len(clips), "recordings": mean_of(np.ones(len(clips)), groups).groups, "steps": _SHORT_STEPS,
        "axes": ["both"], "fills": ["blur"], "passes": measured.passes, "rows": list(rows.values()),
    }  # fmt: skip
    try:
        result["randomization"] = _randomized(
            model, clips, groups, explained, class_index=classes, original=found, steps=_SHORT_CASCADE,
            independent=False, seed=seed,
        )  # fmt: skip
    except ValueError as error:  # such as a model without a graph, which can be answered but not copied
        result["not_randomized"] = str(error)
    return result


def _answer(model: keras.Model, clips: np.ndarray) -> np.ndarray:
    return probabilities(model, devices.predict(model, clips, _BATCH))


def _probabilities(
    model: keras.Model, outputs: np.ndarray, clips: LabelledClips, validation: LabelledClips | None, options: Trust
) -> tuple[dict, calibration.Calibration | None]:
    """Reliability on test clips, of which these are the outputs, and what validation clips correct of it."""
    try:
        tested = log_probabilities(model, outputs)
    except ValueError as error:
        return {"not_measured": str(error)}, None
    given = (clips.labels, clips.groups)
    if validation is None:
        return calibration.effect(tested, *given, reason="there are no validation clips"), None
    held = log_probabilities(model, devices.predict(model, validation.clips, _BATCH))
    known = validation.labels, validation.groups
    try:
        fitted = calibration.fit(held, *known)
    except calibration.NotFitted as error:
        return calibration.effect(tested, *given, reason=str(error)), None
    found = calibration.effect(tested, *given, fitted)
    corrected, answers = fitted.probabilities(held), fitted.probabilities(tested)
    try:
        fitted = replace(fitted, sets=conformal.fit(corrected, *known, options.coverage))
        found["sets"] = vars(conformal.measure(fitted.sets, answers, *given))
    except ValueError as error:
        found["no_sets"] = str(error)
    try:
        chosen = abstention.choose(corrected, known[0], options.wanted_precision, known[1])
        fitted = replace(fitted, abstention=chosen)
        found["abstention"] = vars(abstention.measure(chosen, answers, *given)) | {"threshold": chosen.threshold}
    except ValueError as error:
        found["no_abstention"] = str(error)
    return found, fitted


def _reliance(answer, clips: LabelledClips, options: Trust, reading, seed: int, workers: int | None) -> dict:
    """What the model reads, of some clips, and how it bears corruption, of fewer."""

    def study(clips: LabelledClips, at_speed=None, **plan) -> dict:
        return reliance.study(
            answer, clips.clips, clips.labels, clips.groups, clips.acting, reliance.Plan(seed=seed, **plan),
            at_speed=at_speed, batch_size=_BATCH,
        ).as_dict()  # fmt: skip

    videos = clips.paths if reading and clips.paths else (None,) * len(clips)
    with from_videos(videos, reading or {}, workers=2 if workers is None else workers) as at_speed:
        found = study(clips, at_speed, corruptions=())
    if options.corrupted:
        corrupted = study(clips.spread(options.corrupted), changes=())
        found |= {"corrupted": corrupted["clips"], "robustness": corrupted["robustness"]}
        found["verdicts"] |= {name: corrupted["verdicts"][name] for name in ("robust", "worst")}
    del found["answers"]
    return found


def _defined(model, clip: np.ndarray, options: Trust) -> tuple[list[str], dict[str, Any], dict[str, str]]:
    """The methods that can be computed for a model, what is set of them, and title -> why not, of the others."""
    settings, reasons = set_options(chosen(options.method_names), options.method_settings), {}
    for name in list(settings):
        try:
            explain.by_method(model, clip, [name], options=settings[name])
        except ValueError as error:
            reasons[METHODS[name].title] = str(error)
            say(f"{METHODS[name].title} is left out: {error}")
            del settings[name]
    return list(settings), {f"{of}.{k}": v for of, own in settings.items() for k, v in own.items()}, reasons


def _explanations(
    model, clips: LabelledClips, methods: list[str], settings: Mapping[str, Any], options: Trust, seed: int
) -> tuple[dict, dict[str, Explanation]]:
    """Every method beside the controls, on the same clips and for the classes that the model answers."""
    explained = partial(explain.by_method, methods=methods, options=settings)
    say(f"explaining {len(clips)} clips by {', '.join(METHODS[name].title for name in methods)}")
    found = _named(explained(model, clips.clips))
    classes = next(iter(found.values())).class_index
    axes, fills = words(options.axes), words(options.fills)
    rows, maps, measured = _beside_controls(model, clips.clips, clips.groups, found, axes, fills, options.steps, seed)
    masked = confidence(model, clips.clips, maps, classes, groups=clips.groups).as_dict()
    for name, of_map in masked["maps"].items():
        rows[name] |= {"drop": of_map["drop"], "increase": of_map["increase"]}
    boxed = np.flatnonzero(clips.has_boxes)
    for name in maps if len(boxed) else ():
        true = clips.only(boxed)
        rows[name]["boxes"] = _without_values(pointing(maps[name][boxed], true.boxes, true.groups).as_dict())
    result = {
        "clips": len(clips), "recordings": len(set(clips.recordings)), "boxed": len(boxed), "steps": options.steps,
        "axes": axes, "fills": fills, "passes": measured.passes, "rows": list(rows.values()),
        "curves": [_rounded(curve) for curve in measured.as_dict()["curves"]],
    }  # fmt: skip
    if options.sensitive:
        few, of_each = clips.spread(options.sensitive), set_options(chosen(methods), settings)
        of_few = classes[_places(few, clips)]
        for name, of_method in zip(found, methods, strict=True):
            again = partial(_maps, model, of_few, of_method, of_each[of_method])
            rows[name]["sensitivity"] = _sensitivity(again, few, seed)
    if options.randomized:
        few = clips.spread(options.randomized)
        places = _places(few, clips)
        try:
            result["randomization"] = _randomized(
                model, few.clips, few.groups, explained, class_index=classes[places],
                original={name: _only(each, places) for name, each in found.items()}, steps=options.randomizations,
                independent=False, draws=options.draws, seed=seed,
            )  # fmt: skip
        except ValueError as error:  # such as a model without a graph, which can be answered but not copied
            result["randomization_not_measured"] = str(error)
    return result, found


def _beside_controls(
    model, clips: np.ndarray, groups, found: Mapping[str, Explanation], axes, fills, steps: int, seed: int
) -> tuple[dict[str, dict], dict[str, np.ndarray], faithfulness.Faithfulness]:
    """Rows of explanations and controls with their gains, the maps of both, and the curves that the gains come from."""
    maps = {name: each.maps for name, each in found.items()} | _controls(clips, groups, found, seed)
    rows = {name: {"name": name, "kind": "control", "method": name.removeprefix("Control: ")} for name in maps}
    for name, each in found.items():
        rows[name] |= {"kind": "method", "method": _method(name, each), "empty": int(each.empty.sum())}
    classes = next(iter(found.values())).class_index
    measured = faithfulness.faithfulness(
        model, clips, maps, classes, axes, fills, steps=steps, groups=groups, seed=seed
    )
    for axis in axes:
        _compare(rows, axis, _gains(measured, axis, fills), groups, _repeated(maps, rows, axis))
    return rows, maps, measured


def _method(name: str, found: Explanation) -> str:
    """What a method is called, whatever the tap, by which it is named, of this model."""
    return found.method if name.startswith(found.method) else name


def _repeated(maps: Mapping[str, np.ndarray], rows: Mapping[str, Mapping], axis: str) -> set[str]:
    """The controls that say along an axis what one before them says: all is alike there, so that the order is no map's.

    Such are the frames of a centred Gaussian, as those of a uniform map.
    """
    over = {"space": (2, 3), "time": (1,), "both": (1, 2, 3)}[axis]
    alike = []
    for name, row in rows.items():
        values = maps[name].mean(axis=(2, 3)) if axis == "time" else maps[name]
        if row["kind"] == "control" and np.ptp(values, axis=over).max() <= 1e-6 * np.abs(values).max():
            alike.append(name)
    return set(alike[1:])


def _named(found: Mapping[str, Explanation]) -> dict[str, Explanation]:
    """Explanations by name; one that stands by itself by its method's."""
    return {name or each.method: each for name, each in found.items()}


def _controls(clips: np.ndarray, groups, found: Mapping[str, Explanation], seed: int) -> dict[str, np.ndarray]:
    """Maps (N, T, H, W) that no model made, and those that another clip's explanation by the first method made."""
    first, explanation = next(iter(found.items()))
    shape = explanation.maps.shape
    clips = clips if clips.ndim == 5 else clips[:, None]
    moving = {"Control: frame differences": np.stack([controls.frame_difference(clip) for clip in clips])}
    return {
        "Control: centred Gaussian": controls.centred_gaussian(shape),
        "Control: uniform": controls.uniform(shape),
        **(moving if shape[1] > 1 else {}),  # a picture does not move
        "Control: noise": np.stack([controls.noise(clip) for clip in clips]),
        f"Control: another clip's {_method(first, explanation)}": controls.of_another_clip(
            explanation.maps, groups, seed
        )[0],
    }


def _gains(measured: faithfulness.Faithfulness, axis: str, fills: Sequence[str]) -> dict[str, np.ndarray]:
    """Name -> (N,), insertion minus deletion of the probability, the mean over the fills of this axis.

    Both are areas under curves that go from 1 to 0 or from 0 to 1; where a map orders pixels by chance they are about
    equal, whatever the fill does to the clip.
    """
    of_fills = []
    for fill in (fill for fill in fills if fill != "neighbour" or axis == "time"):
        deletion, insertion = (measured.of(axis, fill, way) for way in ("deletion", "insertion"))
        of_fills.append({name: insertion[name].auc - deletion[name].auc for name in insertion})
    return {name: np.mean([gains[name] for gains in of_fills], axis=0) for name in of_fills[0]}


def _compare(rows: Mapping[str, dict], axis: str, gains: Mapping[str, np.ndarray], groups, without: set[str]) -> None:
    """Writes the gain of every row along an axis, and of methods which controls they are better than."""
    against = [name for name, row in rows.items() if row["kind"] == "control" and name not in without]
    for name, row in rows.items():
        row.setdefault("gain", {})[axis] = mean_of(gains[name], groups).as_dict()
        if row["kind"] == "method":
            beside = {control: difference(gains[name], gains[control], groups) for control in against}
            row.setdefault("beside", {})[axis] = {control: found.as_dict() for control, found in beside.items()}
            better = all(found.verdict == Verdict.BETTER for found in beside.values())
            row.setdefault("beats_controls", {})[axis] = better


def _maps(model, classes, method: str, settings, clips: np.ndarray) -> np.ndarray:
    (found,) = explain.by_method(model, clips, [method], class_index=classes, options=settings).values()
    return found.maps


def _sensitivity(again, clips: LabelledClips, seed: int) -> dict:
    found = max_sensitivity(again, clips.clips, samples=_NOISES, groups=clips.groups, seed=seed)
    return mean_of(found.values, clips.groups).as_dict()


def _randomized(model, clips: np.ndarray, groups, explained, **options) -> dict:
    """The maps of networks of random weights beside those of the trained one; options of `randomization.measure`."""

    def by_all(model, clips, class_index):
        return _named(explained(model, clips, class_index=class_index))

    found = randomization.measure(model, clips, by_all, groups=groups, **options).as_dict()
    for of_method in found["methods"].values():
        del of_method["random"]["similarity"]["clips"]
    return found | {"clips": len(clips)}


def _without_values(found: dict) -> dict:
    """What `Pointing.as_dict` gives, without the number of every clip."""
    for by_axis in (found["pointing"], found["energy"]):
        for mean in by_axis.values():
            del mean["values"]
    return found


def _rounded(curve: dict) -> dict:
    """A curve with four digits, which is what a figure shows."""
    short = {name: curve[name] and [x and round(x, 4) for x in curve[name]] for name in ("curve", "auc", "shares")}
    return {name: value for name, value in curve.items() if name != "left_out_clips"} | short


def _places(few: LabelledClips, clips: LabelledClips) -> list[int]:
    return [clips.names.index(name) for name in few.names]


def _only(found: Explanation, places: Sequence[int]) -> Explanation:
    """The explanation of some clips."""
    arrays = ("maps", "signed", "class_index", "score", "probability")
    return replace(found, factors=None, **{name: getattr(found, name)[list(places)] for name in arrays})
