"""The page of trust: what the models use, which explanations to believe, and what their probabilities are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from har_tf.evaluate.map_similarity import Outcome
from har_tf.names import file_name
from har_tf.report import plots, trust_plots, trust_words
from har_tf.report.model_card import Card, of_measured
from har_tf.report.page import Figure, Page, Section, data_line, restored, split_line
from har_tf.report.tables import Table, interval

if TYPE_CHECKING:
    from har_tf.scrutiny import Measured

_AXES = {"space": "in space", "time": "in time", "both": "in space and time"}
_FILLS = {
    "blur": "blurred", "mean": "filled with the mean colour", "noise": "filled with noise",
    "neighbour": "replaced by neighbouring frames",
}  # fmt: skip
_CHANGES = {
    "one frame": "one frame repeated", "shuffled": "frames shuffled", "reversed": "played backwards",
    "without middle": "without their middle", "half speed": "at half speed", "double speed": "at double speed",
    "centre": "cut to the centre", "background": "without the person",
    "hole elsewhere": "as much hidden elsewhere", "other background": "the person's hole in another clip",
    "person on stripes": "the person on stripes (SCUBA)",
    "person on stripes, one frame": "the same, one frame (SCUFO)",
    "person elsewhere": "the person on another background (SCUBA)",
    "person elsewhere, one frame": "the same, one frame (SCUFO), there",
}  # fmt: skip
_CONTRASTED = {"person on stripes": "on stripes", "person elsewhere": "on another background"}
GAIN = (
    "Gain: insertion minus deletion of the probability, each an area under a curve between 1 (the untouched clip) and "
    "0 (the wholly filled one), the mean over the fills. A map that orders pixels by chance has a gain near 0."
)
_LEFT_OUT = (
    "whose probability falls by less than 0.05 from the untouched to the wholly filled clip under any of the fills"
)
_CONTROLS = ("hole elsewhere", "other background")  # changes that others are compared with: they take nothing away
_AT_RANDOM = {"ssim": "SSIM", "rank": "Rank", "top": "Top 10 %"}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    models = results["models"]
    explained = {name: found["explanations"] for name, found in models.items() if "explanations" in found}
    tables, sections = {}, []
    if explained:
        sections.append(choice(explained, figures))
    for name, found in models.items():
        stem = file_name(name)
        if "reliance" in found:
            tables[f"{stem}_reliance"] = reliance_table(name, found["reliance"])
            sections.append(_reliance_section(name, found, tables[f"{stem}_reliance"], figures))
        if "explanations" in found:
            explanations = found["explanations"]
            own = {
                f"{stem}_gains": gains_table(name, explanations),
                f"{stem}_measures": measures_table(name, explanations),
                **{f"{stem}_boxes_in_{axis}": boxes_table(name, explanations, axis) for axis in boxed(explanations)},
                f"{stem}_random_weights": random_table(name, explanations) if "randomization" in explanations else None,
            }
            own = {key: table for key, table in own.items() if table is not None}
            tables |= own | {f"{stem}_areas": areas_table(name, explanations)}
            sections.append(_explanations_section(name, found, list(own.values()), figures))
        if reasons := found.get("explanations_not_measured"):
            sections.append(Section(f"{name}: explanations", " ".join(trust_words.left_out({"not_defined": reasons}))))
        if "not_measured" in found["probabilities"]:
            sections.append(Section(f"{name}: probabilities", trust_words.of_probabilities(found["probabilities"])))
            continue
        tables[f"{stem}_probabilities"] = probabilities_table(name, found["probabilities"])
        sections.append(_probabilities_section(name, found, tables[f"{stem}_probabilities"], figures))
    return Page(
        f"What to trust: {', '.join(models)} on {results['dataset']['name']}",
        {
            "data": ". ".join([data_line(results["dataset"]), *left_out(models)]),
            "split": parts_line(results),
            "accuracy": "; ".join(
                f"{name} {trust_words.mean(found['accuracy'])} (always the most frequent class: "
                f"{found['most_frequent_class']:.2f})"
                for name, found in models.items()
            ),
        },
        [*sections, *restored(results["pictures"])],
        summary=summary(models),
        tables=tables,
        printed=[text for name, found in models.items() for text in printed(name, found)],
    )


def trained_here(results: Mapping, name: str) -> bool:
    """Whether the run trained a model; runs of before, which did not record it, name the split of what they trained."""
    return results["models"][name].get("trained_here", "name" in (results["split"] or {}))


def parts_line(results: Mapping) -> str:
    """What each model was trained on and is tested on, as far as it is known."""
    models = results["models"]
    saved = [name for name in models if not trained_here(results, name)]
    parts = [split_line(results["split"])] if len(saved) < len(models) else []
    if saved:
        of = f" of {trust_words.listed(saved)}" if len(models) > len(saved) else ""
        tested = f"{results['split']['test_clips']} of the clips" if results["split"] else "all clips"
        parts.append(f"The training clips{of} are not known; {tested} are test clips")
    seen = [name for name in saved if models[name].get("may_have_trained_on_these")]
    return ". ".join([*parts, *(_may_have_seen(name) for name in seen)])


def _may_have_seen(name: str) -> str:
    return f"{name} may have been trained on some of these clips, so on new ones expect less"


def left_out(models: Mapping[str, Mapping]) -> list[str]:
    """Clips that say nothing of a model, a sentence a model."""
    return [
        f"{found['left_out']} test clips of classes that {name} lacks are left out"
        for name, found in models.items()
        if found.get("left_out")
    ]


def cards(results: Mapping) -> list[Card]:
    """The cards of the models; of saved ones the run does not know the training clips."""
    found = []
    for name, model in results["models"].items():
        row = {**model, "accuracy": model["accuracy"]["mean"], "group_interval": model["accuracy"]["interval"]}
        notes = [f"{note}." for note in left_out({name: model})]
        data = {**results["dataset"], "notes": [*results["dataset"].get("notes", ()), *notes]}
        if trained_here(results, name):
            part = results["split"]
            split = f"{part.get('name', 'split')}: {part['training_clips']} training, {part['test_clips']} test clips"
            found.append(of_measured(name, part, row, data, split))
            continue
        split = f"Its training clips are not known; it was tested on {model['clips']} clips"
        if model.get("may_have_trained_on_these"):
            split += f". {_may_have_seen(name)}"
        part = {"most_frequent_class": model["most_frequent_class"]}
        found.append(replace(of_measured(name, part, row, data, split), trained_here=False))
    return found


def summary(models: Mapping[str, Mapping]) -> str:
    """The finding of a run: of each model what it uses, its best explanation, and its probabilities."""
    parts = []
    for name, found in models.items():
        parts.append(f"{name} has an accuracy of {trust_words.mean(found['accuracy'])}.")
        if "reliance" in found:
            parts.append(trust_words.relied_in_short(found["reliance"]))
        if "explanations" in found:
            parts.append(trust_words.explained_in_short(found["explanations"], widest(found["explanations"])))
        elif "explanations_not_measured" in found:
            parts.append("No explanation can be computed for it.")
        parts.append(trust_words.probabilities_in_short(found["probabilities"]))
    return " ".join(filter(None, parts))


def widest(explained: Mapping) -> str:
    """The axis that stands for all: space and time together, or the first that was measured."""
    return "both" if "both" in explained["axes"] else explained["axes"][0]


def printed(name: str, found: Mapping) -> list[str]:
    """What the terminal shows of a model."""
    texts = [f"{name}"]
    if "reliance" in found:
        texts.append(trust_words.relied_on(found["reliance"]))
    if "explanations" in found:
        texts.append(gains_table(name, found["explanations"]).markdown())
    texts.append(trust_words.of_probabilities(found["probabilities"]))
    return texts


def choice(explained: Mapping[str, Mapping], figures: Path) -> Section:
    """Which method to use for which model, in one figure."""
    axis = widest(next(iter(explained.values())))
    by_model = {name: by_method(found["rows"]) for name, found in explained.items()}
    kinds = {method: row["kind"] for rows in by_model.values() for method, row in rows.items()}
    methods = sorted(kinds, key=lambda method: kinds[method] == "control")  # which stand last
    values = [
        [rows[method]["gain"][axis]["mean"] if method in rows else None for method in methods]
        for rows in by_model.values()
    ]
    outcomes = {name: trust_words.outcomes_of(found) for name, found in explained.items()}
    marks = [[_mark(rows.get(method), axis, outcomes[name]) for method in methods] for name, rows in by_model.items()]
    path = trust_plots.grid(
        values, list(explained), methods, figures / "methods_by_model.png", "Gain", marks, (-1, 1), diverging=True
    )
    legend = (
        f"{GAIN} *: better than every control, clip by clip, by the 95 % interval and the sign-flip test over "
        "recordings. †: the map does not change when the network's weights are drawn anew. Controls, which no model "
        "made, stand last."
    )
    text = "\n\n".join(f"{name}. {trust_words.explained_by(found, axis)}" for name, found in explained.items())
    return Section("Which method for which model", text=text, figures=[Figure(path, legend)])


def by_method(rows: Sequence[Mapping]) -> dict[str, Mapping]:
    """A model's rows by method, without the layer that maps were taken at; by name where a method has several rows."""
    methods = [row.get("method", row["name"]) for row in rows]
    return {
        method if methods.count(method) == 1 else row["name"]: row for method, row in zip(methods, rows, strict=True)
    }


def _mark(row: Mapping | None, axis: str, outcomes: Mapping[str, str]) -> str:
    if row is None or row["kind"] == "control":
        return ""
    return "*" * row["beats_controls"][axis] + "†" * (outcomes.get(row["name"]) == Outcome.UNCHANGED)


def gains_table(name: str, found: Mapping) -> Table:
    """Methods and controls by deletion and insertion."""
    columns: dict[str, Any] = {"Map": "name"}
    for axis in found["axes"]:
        columns[f"Gain {_AXES[axis]}"] = lambda row, axis=axis: row["gain"][axis]["mean"]
        columns[f"95 %, {_AXES[axis]}"] = lambda row, axis=axis: trust_words.between(row["gain"][axis]["interval"])
        columns[f"Beats, {_AXES[axis]}"] = lambda row, axis=axis: beaten(row, axis)
    numbers = [column for column in columns if column.startswith("Gain")]
    most = max(row["gain"][axis]["left_out"] for row in found["rows"] for axis in found["axes"])
    notes = [
        f"{found['clips']} test clips of {trust_words.recordings(found['recordings'])}, explained for the class "
        f"that the model answers. Up to {most} are left out of a gain, {_LEFT_OUT}. {GAIN}",
        f"What is deleted is {', '.join(_FILLS[fill] for fill in found['fills'])}, in {found['steps']} steps. Beats: "
        "so many of the controls.",
    ]
    return Table.of(
        f"Deletion and insertion, {name}", found["rows"], columns, notes=notes, formats=dict.fromkeys(numbers, ".2f"),
        highest=numbers,
    )  # fmt: skip


def measures_table(name: str, found: Mapping) -> Table:
    """Methods and controls by what else is measured."""
    outcomes = trust_words.outcomes_of(found)
    columns: dict[str, Any] = {"Map": "name", **_mean_columns("Drop", lambda row: row["drop"])}
    columns["Increase"] = lambda row: row["increase"]["mean"]
    notes = [
        "Average drop (less is better) and average increase (Chattopadhay et al. 2018): of the probability where only "
        "what a map shows is left."
    ]
    if any("sensitivity" in row for row in found["rows"]):
        columns["Sensitivity"] = lambda row: row.get("sensitivity", {}).get("mean")
        notes.append("Sensitivity: how far a map moves under slight noise, as a share of its length; less is better.")
    if outcomes:
        columns["Random weights"] = lambda row: outcomes.get(row["name"])
        notes.append("Random weights: whether a map changes when the network's weights are drawn anew, as it should.")
    columns["Empty maps"] = "empty"
    return _table_of_means(f"Further measures, {name}", found["rows"], columns, notes)


def boxed(found: Mapping) -> list[str]:
    """The axes along which maps were compared with true boxes."""
    measured = [row["boxes"]["energy"] for row in found["rows"] if found["boxed"]]
    return [axis for axis in ("space", "time") if any(energy[axis]["mean"] is not None for energy in measured)]


def boxes_table(name: str, found: Mapping, axis: str) -> Table:
    """Methods and controls by how much of them lies in the true boxes along an axis, "space" or "time"."""
    columns: dict[str, Any] = {"Map": "name"}
    columns |= _mean_columns("Pointing", lambda row: row["boxes"]["pointing"][axis])
    columns |= _mean_columns("Energy", lambda row: row["boxes"]["energy"][axis])
    where = {"space": "in a box", "time": "in a frame that has a box, of clips where others have none"}[axis]
    notes = [
        f"Of {found['boxed']} clips with true boxes. Pointing (the pointing game): how often the brightest place lies "
        f"{where}. Energy: the share of the map that does."
    ]
    return _table_of_means(
        f"Maps and true boxes {_AXES[axis]}, {name}", found["rows"], columns, notes, ["Pointing", "Energy"]
    )


def _mean_columns(title: str, of: Callable[[Mapping], Mapping]) -> dict[str, Callable]:
    """A column of means and one of their intervals."""
    return {
        title: lambda row: of(row)["mean"],
        f"{title}, 95 %": lambda row: interval(of(row)["interval"], 2),
    }


def _table_of_means(title: str, rows, columns: Mapping[str, Any], notes, highest=()) -> Table:
    return Table.of(
        title,
        rows,
        columns,
        notes=notes,
        highest=highest,
        formats=dict.fromkeys([column for column in columns if column not in ("Map", "Empty maps")], ".2f"),
    )


def random_table(name: str, found: Mapping) -> Table:
    """How alike maps are after all layers are random, beside how alike those of two clips are."""
    rows = [{"name": method, **each} for method, each in found["randomization"]["methods"].items()]
    columns: dict[str, Any] = {"Map": "name"}
    for measure, title in _AT_RANDOM.items():
        columns[title] = lambda row, measure=measure: row["random"]["similarity"][measure]["mean"]
        columns[f"{title}, another clip"] = lambda row, measure=measure: row["random"]["another_clip"][measure]["mean"]
    columns["Random weights"] = "outcome"
    another = [each["random"]["another_clip"] for each in found["randomization"]["methods"].values()]
    only = "" if all(each.get("other_recording", True) for each in another) else ", of the one recording that there is"
    notes = [
        f"Likeness of the maps of the trained network and of one whose layers are all random, on "
        f"{found['randomization']['clips']} clips: structural similarity, rank correlation, and the share that both "
        "have of their brightest tenth. Another clip: likeness of the trained network's maps of two different "
        f"clips{only}: a map that is no more alike has lost what it showed of its clip."
    ]
    return _table_of_means(f"Random weights, {name}", rows, columns, notes)


def areas_table(name: str, found: Mapping) -> Table:
    """The areas under all curves, on the probability and the logit."""
    columns = {
        "Map": "name", "Axis": "axis", "Fill": "fill", "Direction": "direction", "Score": "score", "Area": "mean",
        "95 %": lambda row: interval(row["interval"]), "Clips": "clips", "Left out": "left_out",
    }  # fmt: skip
    return Table.of(f"Areas under the curves of deletion and insertion, {name}", found["curves"], columns)


def beaten(row: Mapping, axis: str) -> str | None:
    """How many of the controls a method is better than, as "3 of 5"; None of a control, or without any gain."""
    if row["kind"] == "control" or row["gain"][axis]["mean"] is None:
        return None
    verdicts = [found["verdict"] for found in row["beside"][axis].values()]
    return f"{verdicts.count('better')} of {len(verdicts)}"


def _explanations_section(name: str, found: Mapping, tables: Sequence[Table], figures: Path) -> Section:
    explained, stem = found["explanations"], file_name(name)
    shown = [
        figure
        for axis in explained["axes"]
        # On the logit once, as it seldom says otherwise; the table of areas has all.
        for score in (("probability", "logit") if axis == widest(explained) else ("probability",))
        for direction in ("deletion", "insertion")
        for figure in _curves(name, explained, axis, direction, score, figures)
    ]
    text = [" ".join(trust_words.explained_by(explained, axis) for axis in explained["axes"])]
    if "randomization" in explained:
        shown.append(_randomization(name, explained["randomization"], figures / f"{stem}_random_weights.png"))
        text.append(trust_words.unchanged(explained))
    if "random_labels" in found:
        text.append(trust_words.random_labels(found["random_labels"]))
    if missing := trust_words.left_out(explained):
        text.append(" ".join(missing))
    return Section(f"{name}: explanations", "\n\n".join(text), tables=tables, figures=shown)


def _curves(name: str, explained: Mapping, axis: str, direction: str, score: str, figures: Path) -> list[Figure]:
    """The curves of all maps under the first fill; none where no clip has one."""
    fill = explained["fills"][0]
    wanted = (axis, fill, direction, score)
    found = [
        curve
        for curve in explained["curves"]
        if tuple(curve[key] for key in ("axis", "fill", "direction", "score")) == wanted and curve["curve"]
    ]
    if not found:
        return []
    controls = [row["name"] for row in explained["rows"] if row["kind"] == "control"]
    path = trust_plots.over(
        {curve["name"]: curve["curve"] for curve in found}, found[0]["shares"],
        figures / f"{file_name(name)}_{direction}_{axis}{'_logit' * (score == 'logit')}.png",
        f"Share that is {'deleted' if direction == 'deletion' else 'inserted'} ({_AXES[axis]})",
        f"{score[0].upper()}{score[1:]}, 1: untouched clip", controls,
    )  # fmt: skip
    better = "falls" if direction == "deletion" else "rises"
    caption = (
        f"{name}: {direction} {_AXES[axis]}, {_FILLS[fill]}, by the {score}. The earlier a curve {better}, the better."
    )
    return [Figure(path, caption)]


def _randomization(name: str, found: Mapping, path: Path) -> Figure:
    curves, names = {}, ["as trained"]
    for method, each in found["methods"].items():
        points = each["cascading"]
        names = ["as trained", *(_layers(point["layers"]) for point in points)]
        curves[method] = [each["repeated"]["rank"]["mean"], *(point["rank"]["mean"] for point in points)]
        curves[method] = [np.nan if value is None else value for value in curves[method]]
    trust_plots.over(
        curves, list(range(len(names))), path, "Random from the output to", "Rank correlation with the trained map",
        names=names,
    )  # fmt: skip
    return Figure(
        path,
        f"{name}: how alike maps stay while layers become random from the output on ({found['clips']} clips, "
        f"{found['layers']} layers with weights). A map that stays alike does not show what was learned.",
    )


def _layers(names: Sequence[str]) -> str:
    return names[-1][:18]


def reliance_table(name: str, found: Mapping) -> Table:
    """Every change of the clips with what is left of the accuracy."""
    rows = [{"name": "untouched", "accuracy": found["accuracy"]}]
    for change, effect in found["effects"].items():
        verdict = None if change in _CONTROLS else effect["needs"]
        rows.append({"name": _CHANGES.get(change, change), **effect, "verdict": verdict})
    columns = {
        "Clips": "name",
        "Accuracy": lambda row: row["accuracy"]["mean"],
        "95 %": lambda row: interval(row["accuracy"]["interval"], 2),
        "Change": lambda row: row["lost"]["mean"] if "lost" in row else None,
        "Change, 95 %": lambda row: trust_words.between(row["lost"]["interval"]) if "lost" in row else None,
        "Other answers": lambda row: row["changed"]["mean"] if "changed" in row else None,
        "Needs it": "verdict",
    }
    notes = [
        f"{found['clips']} test clips. For other speeds {found['from_video']} were read again from their videos; the "
        f"others show frames of the clip again. Always answering the most frequent class: {found['chance']:.2f}.",
        f"Change: of the accuracy of the same clips. Needs it: yes where a loss is shown, no where one of more than "
        f"{found['margin']:g} is ruled out; controls have no verdict.",
    ]
    if contrasted := found.get("contrasted"):
        shares = [f"{trust_words.mean(share)} {_CONTRASTED[change]}" for change, share in contrasted.items()]
        notes.append(
            "Right with the moving person (SCUBA) and wrong with one frame of it (SCUFO): "
            f"{trust_words.listed(shares)}. Only these answers need motion."
        )
    return Table.of(
        f"What {name} relies on", rows, columns, notes=notes,
        formats=dict.fromkeys(("Accuracy", "Change", "Other answers"), ".2f"),
    )  # fmt: skip


def _reliance_section(name: str, found: Mapping, table: Table, figures: Path) -> Section:
    reliance, stem = found["reliance"], file_name(name)
    rows = [("untouched", reliance["accuracy"]["mean"], reliance["accuracy"]["interval"])]
    effects = reliance["effects"].items()
    rows += [(_CHANGES.get(key, key), each["accuracy"]["mean"], each["accuracy"]["interval"]) for key, each in effects]
    path = trust_plots.bars(
        rows, figures / f"{stem}_reliance.png", "Accuracy", {"always the most frequent class": reliance["chance"]}
    )
    shown = [Figure(path, f"{name}: accuracy on changed clips, with 95 % intervals over recordings.")]
    corruptions = {key: each for key, each in reliance.get("robustness", {}).items() if key != "all"}
    if corruptions:
        path = trust_plots.grid(
            [each["by_strength"] for each in corruptions.values()], list(corruptions), list("12345"),
            figures / f"{stem}_corruptions.png", "Accuracy",
        )  # fmt: skip
        shown.append(
            Figure(path, f"{name}: accuracy under corruption at strengths 1 to 5, on {reliance['corrupted']} clips.")
        )
    return Section(f"{name}: what it uses", trust_words.relied_on(reliance), tables=[table], figures=shown)


def probabilities_table(name: str, found: Mapping) -> Table:
    """Calibration before and after."""
    rows = [{"name": "as trained", **found["as_trained"]}]
    if "corrected" in found:
        rows.append({"name": f"temperature {found['temperature']:.2f}", **found["corrected"]})
    columns = {
        "Probabilities": "name",
        "ECE": lambda row: row["ece"]["value"],
        "ECE, 95 %": lambda row: interval(row["ece"]["interval"]),
        "By chance alone": lambda row: row["ece"]["by_chance"],
        "ECE, equal mass": lambda row: row["ece_equal_mass"]["value"],
        "Brier": "brier",
        "Log loss": "log_loss",
        "Mean confidence": "confidence",
        "Accuracy": "accuracy",
    }
    notes = [
        f"{found['as_trained']['clips']} test clips of "
        f"{trust_words.recordings(found['as_trained']['recordings'])}. By chance "
        "alone: the calibration error of as many clips whose probabilities are right."
    ]
    if "fitted_on" in found:
        notes.append(f"The temperature was fitted on {found['fitted_on']} validation clips.")
    formats = dict.fromkeys([column for column in columns if column != "Probabilities"], ".3f")
    return Table.of(f"Probabilities of {name}", rows, columns, notes=notes, formats=formats)


def _probabilities_section(name: str, found: Mapping, table: Table, figures: Path) -> Section:
    probabilities = found["probabilities"]
    bins = {"as trained": probabilities["as_trained"]["ece"]["bins"]}
    if "corrected" in probabilities:
        bins[f"temperature {probabilities['temperature']:.2f}"] = probabilities["corrected"]["ece"]["bins"]
    path = trust_plots.reliability(bins, figures / f"{file_name(name)}_reliability.png")
    figure = Figure(
        path,
        f"{name}: the share of answers that are right, by their probability. On the dashed line a probability of 0.8 "
        "means that 8 of 10 answers are right; dots below it: the model is too sure.",
    )
    return Section(
        f"{name}: probabilities", trust_words.of_probabilities(probabilities), tables=[table], figures=[figure]
    )


def pictures(name: str, found: Measured, class_names: Sequence[str], figures: Path) -> list[Section]:
    """Clips with the overlays of every method, one above the other."""
    from har_tf.explain import overlay

    if found.shown is None or not found.explanations:
        return []
    rows = []
    for k, clip in enumerate(found.shown.clips):
        label = class_names[found.shown.labels[k]]
        rows.append((f"{label} ({Path(found.shown.names[k]).stem})", clip))
        for method, explanation in found.explanations.items():
            nothing = " (no positive evidence: the plain clip)" if explanation.empty[k] else ""
            rows.append((f"{method}{nothing}", overlay(found.shown.clips[k : k + 1], explanation.only(k))[0]))
    path = figures / f"{file_name(name)}_overlays.png"
    plots.frame_strip(rows, path, max_frames=8)
    figure = Figure(path, f"{name}: clips above the overlays of every method, each on a scale of its own.")
    return [Section(f"{name}: overlays", figures=[figure])]
