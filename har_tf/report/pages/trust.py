"""The page of trust: what the models use, which explanations to believe, and what their probabilities are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
GAIN = (
    "Gain: insertion minus deletion of the probability, each an area under a curve between 1 (the untouched clip) and "
    "0 (the wholly filled one), the mean over the fills. A map that orders pixels by chance has a gain near 0. *: "
    "better than every control, clip by clip, by the 95 % interval and the sign-flip test over recordings."
)


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
            own = {
                f"{stem}_gains": gains_table(name, found["explanations"]),
                f"{stem}_measures": measures_table(name, found["explanations"]),
            }
            tables |= own
            sections.append(_explanations_section(name, found, list(own.values()), figures))
        if "not_measured" in found["probabilities"]:
            sections.append(Section(f"{name}: probabilities", trust_words.of_probabilities(found["probabilities"])))
            continue
        tables[f"{stem}_probabilities"] = probabilities_table(name, found["probabilities"])
        sections.append(_probabilities_section(name, found, tables[f"{stem}_probabilities"], figures))
    return Page(
        f"What to trust: {', '.join(models)} on {results['dataset']['name']}",
        {
            "data": data_line(results["dataset"]),
            "split": split_line(results["split"]) if results["split"] else "all clips are test clips",
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


def cards(results: Mapping) -> list[Card]:
    """The cards of models that were trained for the run; of saved ones the run does not know the training part."""
    if not results["split"]:
        return []
    data, part = results["dataset"], results["split"]
    split = f"{part.get('name', 'split')}: {part['training_clips']} training, {part['test_clips']} test clips"
    rows = {
        name: {**found, "accuracy": found["accuracy"]["mean"], "group_interval": found["accuracy"]["interval"]}
        for name, found in results["models"].items()
    }
    return [of_measured(name, part, row, data, split) for name, row in rows.items()]


def summary(models: Mapping[str, Mapping]) -> str:
    """The finding of a run in a few sentences."""
    parts = []
    for name, found in models.items():
        if "explanations" in found:
            explained = found["explanations"]
            parts.append(f"{name}: {trust_words.explained_by(explained, widest(explained))}")
    return ". ".join(parts) + "." if parts else ""


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
    names = list(dict.fromkeys(row["name"] for found in explained.values() for row in found["rows"]))
    controls = [row["name"] for found in explained.values() for row in found["rows"] if row["kind"] == "control"]
    names = [name for name in names if name not in controls] + list(dict.fromkeys(controls))
    values, marks = [], []
    for found in explained.values():
        rows = {row["name"]: row for row in found["rows"]}
        outcomes = found.get("randomization", {}).get("methods", {})
        values.append([rows[name]["gain"][axis]["mean"] if name in rows else None for name in names])
        marks.append([_mark(rows.get(name), axis, outcomes) for name in names])
    short = [name.removeprefix("Control: ") for name in names]
    path = trust_plots.grid(
        values, list(explained), short, figures / "methods_by_model.png", "Gain", marks, (-1, 1), diverging=True
    )
    legend = (
        f"{GAIN} †: the map does not change when the network's weights are drawn anew. The last "
        f"{len(dict.fromkeys(controls))} columns are controls, which no model made."
    )
    text = "\n\n".join(f"{name}. {trust_words.explained_by(found, axis)}." for name, found in explained.items())
    return Section("Which method for which model", text=text, figures=[Figure(path, legend)])


def _mark(row: Mapping | None, axis: str, outcomes: Mapping) -> str:
    if row is None or row["kind"] == "control":
        return ""
    fixed = outcomes.get(row["name"], {}).get("outcome") == "unchanged"
    return "*" * row["beats_controls"][axis] + "†" * fixed


def gains_table(name: str, found: Mapping) -> Table:
    """Methods and controls by deletion and insertion."""
    columns: dict[str, Any] = {"Map": "name"}
    for axis in found["axes"]:
        columns[f"Gain {_AXES[axis]}"] = lambda row, axis=axis: row["gain"][axis]["mean"]
        columns[f"95 %, {_AXES[axis]}"] = lambda row, axis=axis: interval(row["gain"][axis]["interval"], 2)
        columns[f"Beats, {_AXES[axis]}"] = lambda row, axis=axis: beaten(row, axis)
    numbers = [column for column in columns if column.startswith("Gain")]
    left_out = max(row["gain"][axis]["left_out"] for row in found["rows"] for axis in found["axes"])
    notes = [
        f"{found['clips']} test clips of {found['recordings']} recordings, explained for the class that the model "
        f"answers; up to {left_out} are left out, which filling in does not make less probable. {GAIN}",
        f"What is deleted is {', '.join(_FILLS[fill] for fill in found['fills'])}, in {found['steps']} steps. Beats: "
        "so many of the controls.",
    ]
    return Table.of(
        f"Deletion and insertion, {name}", found["rows"], columns, notes=notes, formats=dict.fromkeys(numbers, ".2f"),
        highest=numbers,
    )  # fmt: skip


def measures_table(name: str, found: Mapping) -> Table:
    """Methods and controls by what else is measured."""
    outcomes = {key: each["outcome"] for key, each in found.get("randomization", {}).get("methods", {}).items()}
    columns: dict[str, Any] = {
        "Map": "name",
        "Average drop": lambda row: row["drop"]["mean"],
        "Average increase": lambda row: row["increase"]["mean"],
    }
    if found["boxed"]:
        columns |= {
            "Pointing game": lambda row: row["boxes"]["pointing"]["space"]["mean"],
            "Energy in boxes": lambda row: row["boxes"]["energy"]["space"]["mean"],
        }
        if any(row["boxes"]["energy"]["time"]["mean"] is not None for row in found["rows"]):
            columns["Energy in time"] = lambda row: row["boxes"]["energy"]["time"]["mean"]
    if any("sensitivity" in row for row in found["rows"]):
        columns["Sensitivity"] = lambda row: row.get("sensitivity", {}).get("mean")
    if outcomes:
        columns["Random weights"] = lambda row: outcomes.get(row["name"])
    columns["Empty maps"] = lambda row: row.get("empty")
    numbers = [column for column in columns if column not in ("Map", "Random weights", "Empty maps")]
    notes = [
        "Average drop (less is better) and increase (Chattopadhay et al. 2018): of the probability where only what a "
        "map shows is left.",
        *([f"Pointing game and energy: in the true boxes of {found['boxed']} clips."] if found["boxed"] else []),
        *(
            ["Sensitivity: how far a map moves under slight noise, as a share of its own length; less is better."]
            if "Sensitivity" in columns
            else []
        ),
        *(
            ["Random weights: whether a map changes when the network's weights are drawn anew, as it should."]
            if outcomes
            else []
        ),
    ]
    return Table.of(
        f"Further measures, {name}", found["rows"], columns, notes=notes, formats=dict.fromkeys(numbers, ".2f"),
        highest=[column for column in numbers if column.startswith(("Pointing", "Energy"))],
    )  # fmt: skip


def beaten(row: Mapping, axis: str) -> str | None:
    """How many of the controls a method is better than, as "3 of 5"; None of a control."""
    if row["kind"] == "control":
        return None
    verdicts = [found["verdict"] for found in row["beside"][axis].values()]
    return f"{verdicts.count('better')} of {len(verdicts)}"


def _explanations_section(name: str, found: Mapping, tables: Sequence[Table], figures: Path) -> Section:
    explained, stem = found["explanations"], file_name(name)
    controls = [row["name"] for row in explained["rows"] if row["kind"] == "control"]
    shown, drawn = [], set()
    for curve in explained["curves"]:
        key = (curve["axis"], curve["fill"], curve["direction"])
        wanted = curve["score"] == "probability" and curve["fill"] == explained["fills"][0]
        if key in drawn or not wanted:
            continue
        drawn.add(key)
        same = [
            c
            for c in explained["curves"]
            if (c["axis"], c["fill"], c["direction"], c["score"]) == (*key, "probability")
        ]
        curves = {c["name"]: c["curve"] for c in same if c["curve"]}
        if not curves:
            continue
        axis, fill, direction = key
        path = trust_plots.over(
            curves, curve["shares"], figures / f"{stem}_{direction}_{axis}.png",
            f"Share that is {'deleted' if direction == 'deletion' else 'inserted'} ({_AXES[axis]})",
            "Probability, 1: untouched clip", controls,
        )  # fmt: skip
        better = "falls" if direction == "deletion" else "rises"
        shown.append(
            Figure(
                path, f"{name}: {direction} {_AXES[axis]}, {_FILLS[fill]}. The earlier a curve {better}, the better."
            )
        )
    text = [". ".join(trust_words.explained_by(explained, axis) for axis in explained["axes"]) + "."]
    if "randomization" in explained:
        shown.append(_randomization(name, explained["randomization"], figures / f"{stem}_random_weights.png"))
        text.append(f"When its weights are drawn anew: {trust_words.unchanged(explained)}.")
    if "random_labels" in found:
        text.append(trust_words.random_labels(found["random_labels"]))
    return Section(f"{name}: explanations", "\n\n".join(text), tables=tables, figures=shown)


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
    rows += [{"name": _CHANGES.get(change, change), **effect} for change, effect in found["effects"].items()]
    columns = {
        "Clips": "name",
        "Accuracy": lambda row: row["accuracy"]["mean"],
        "95 %": lambda row: interval(row["accuracy"]["interval"], 2),
        "Lost": lambda row: row["lost"]["mean"] if "lost" in row else None,
        "Lost, 95 %": lambda row: interval(row["lost"]["interval"], 2) if "lost" in row else None,
        "Other answers": lambda row: row["changed"]["mean"] if "changed" in row else None,
        "Needs it": lambda row: row.get("needs"),
    }
    notes = [
        f"{found['clips']} test clips. For other speeds {found['from_video']} were read again from their videos; the "
        f"others show frames of the clip again. Always answering the most frequent class: {found['chance']:.2f}.",
        f"Needs it: yes where a loss is shown, no where one of more than {found['margin']:g} is ruled out.",
    ]
    return Table.of(
        f"What {name} relies on", rows, columns, notes=notes,
        formats=dict.fromkeys(("Accuracy", "Lost", "Other answers"), ".2f"),
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
        f"{found['as_trained']['clips']} test clips of {found['as_trained']['recordings']} recordings. By chance "
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
        path, f"{name}: of the answers of a probability, the share that is right; dots on the line are honest."
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
