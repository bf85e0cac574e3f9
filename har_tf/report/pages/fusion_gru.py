"""The page of `experiments.fusion_gru`: Tables I to III and Figures 8 to 19 of the Fusion-GRU paper."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from har_tf.report import plots
from har_tf.report.page import Figure, Page, Section, both_sides, data_line, headed, restored, split_line
from har_tf.report.tables import Table, interval

# Data whose tables and figures have the paper's numbers: the paper's, and the embedded ones in their place.
NUMBERED = ("ucf101", "hmdb51", "figures")
TITLES = {"ucf101": "UCF-101", "hmdb51": "HMDB-51", "figures": "the embedded data set"}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    data, numbered = results["dataset"], results["dataset"]["name"] in NUMBERED
    tables = {"table_1": table_1(results), "table_2": table_2(results), "classes": table_classes(results)}
    literature = []
    if data["name"] in results["paper"]["table_1"]:
        tables["table_3"] = table_3(results)
        literature = [Section("Table III: the literature", tables=[tables["table_3"]])]
    shown, compared = results["shown"], results["comparison"]
    verdict = compared["sentences"] if compared else ["Training diverged; there is nothing to compare."]
    facts = {
        "data": data_line(data),
        "protocol": "; ".join(
            f"{results['protocol']} split {number}: {split_line(split)}" for number, split in results["splits"].items()
        ),
        "accuracy": f"{results['networks'][shown]['accuracy']:.4f} ({shown}, {_splits_line(results)})",
        "fusion": verdict[0],
        **({"end to end": end_to_end_line(results)} if results.get("end_to_end") else {}),
    }
    first = results["trained_on_frames"]
    summary = (
        f"First trained here, on single frames of the training clips in place of photographs: {', '.join(first)}. "
        "This page shows the whole path, not what networks with ImageNet weights reach."
    )
    sections = [
        Section(headed("Table I", "data", numbered), tables=[tables["table_1"]]),
        Section(headed("Table II", "the networks and their fusion", numbered), tables=[tables["table_2"]]),
        *literature,
        *both_sides(results["splits"]),
        *_curves(results, figures),
        *_confusions(results, figures),
        Section("Classes", tables=[tables["classes"]]),
        *restored(results["pictures"]),
    ]
    printed = [tables["table_2"].markdown(), "\n".join(verdict)]
    return Page("Fusion-GRU", facts, sections, summary if first else None, tables, printed)


def _curves(results: Mapping, figures: Path) -> list[Section]:
    """Figures 8 and 9, on HMDB51 10 and 11."""
    histories = {name: [trial["history"] for trial in row["trials"]] for name, row in _run(results).items()}
    part, prefix = ("validation", "val_") if results["validation"] else ("training", "")
    runs = len(results["splits"]) * len(results["seeds"])
    spread = f"mean of {runs} runs and their standard deviation" if runs > 1 else "one run"
    sections = []
    for number, metric in enumerate(("accuracy", "loss"), start=10 if results["dataset"]["name"] == "hmdb51" else 8):
        path = plots.metric_by_epoch(histories, prefix + metric, figures / f"figure_{number}_{metric}.png")
        caption = f"{metric.capitalize()} on {part} clips by epoch: {spread}."
        title = headed(f"Figure {number}", metric, results["dataset"]["name"] in NUMBERED)
        sections.append(Section(title, figures=[Figure(path, caption)]))
    return sections


def _confusions(results: Mapping, figures: Path) -> list[Section]:
    """Figures 12 to 14, on HMDB51 15 to 17."""
    sections, run = [], _run(results)
    for name, number in confusion_numbers(results).items():
        if name not in run:
            continue
        matrix = run[name]["confusion"]
        title = f"{name}: {np.sum(matrix)} test clips of {_splits_line(results)}, seed {results['seeds'][0]}"
        path = figures / f"{f'figure_{number}_' if number else ''}confusion_{name}.png"
        plots.confusion_matrix(matrix, results["dataset"]["classes"], path, title=title)
        heading = headed(f"Figure {number}", f"confusion of {name}", number is not None)
        caption = f"Confusion matrix of {name}. Select it to see it at its full size."
        sections.append(Section(heading, figures=[Figure(path, caption)]))
    return sections


def confusion_numbers(results: Mapping) -> dict[str, int | None]:
    """Row -> number of the figure with its confusion matrix, in the order of the paper.

    Figure 12 is the fusion's, 13 Inception-ResNet-V2's, 14 GoogLeNet's, and on HMDB51 15 to 17. Another network takes
    the place that is left. The paper has no numbers for more than two networks and their fusion, so none is given.
    """
    places = {"InceptionResNetV2": 0, "GoogLeNet": 2}
    *single, fusion = results["networks"]
    order = [fusion, *sorted(reversed(single), key=lambda name: places.get(name, 1))]
    first = 15 if results["dataset"]["name"] == "hmdb51" else 12
    numbered = len(order) == 3 and results["dataset"]["name"] in NUMBERED
    return {name: first + place if numbered else None for place, name in enumerate(order)}


def end_to_end_line(results: Mapping) -> str:
    """How far the answers of the model from frames to classes are from those on stored features."""
    measured = results["end_to_end"]
    difference, tolerance = measured["largest_difference"], measured["tolerance"]
    if difference <= tolerance:
        return f"on {measured['clips']} clips within {difference:.1e} of the answers on stored features"
    return (
        f"{results['shown']}: from frames to classes the answers differ by {difference:.2g} from those on stored "
        f"features. Expected at most {tolerance}; so there is neither a model.keras nor an overlay video"
    )


def table_1(results: Mapping) -> Table:
    """Table I: the data sets, counted here and in the paper."""
    data = results["dataset"]
    rows = [(TITLES.get(data["name"], data["name"]), data["clips"], len(data["classes"]), "counted here")]
    if data["name"] in NUMBERED:
        rows += [(TITLES[name], *counts, "the paper") for name, counts in results["paper"]["table_1"].items()]
    notes = [
        f"{results['protocol']} split {number}: {split['training_clips']} training and {split['test_clips']} test "
        f"clips; {split_line(split)}."
        for number, split in results["splits"].items()
    ]
    notes += [f"{data['skipped']} unreadable videos are left out."] if data["skipped"] else []
    columns = ["Data set", "Clips", "Categories", "Source"]
    title = headed("Table I", "video data sets", data["name"] in NUMBERED)
    return Table(title, columns, rows, [*notes, *data["notes"]], formats={"Clips": ","})


def table_2(results: Mapping) -> Table:
    """Table II; with the paper's figures only where data and splits are the paper's."""
    several_seeds, several_splits = len(results["seeds"]) > 1, len(results["splits"]) > 1
    columns = {"Network": "name", "Accuracy": lambda row: row.get("accuracy", row["status"])}
    if several_splits:
        columns["Deviation over splits"] = "deviation_over_splits"
    else:
        columns["95 % interval"] = lambda row: interval(row.get("accuracy_interval"))
    if several_seeds:
        columns["Deviation over seeds"] = "deviation_over_seeds"
    for title, kind in (("Training (min)", "training"), ("Extraction (min)", "extraction")):
        columns[title] = lambda row, key=f"{kind}_seconds": row[key] / 60 if key in row else None
    columns["Parameters"] = "parameters"
    if results["dataset"]["as_in_paper"]:
        columns["Paper: accuracy"] = lambda row: (row["paper"] or [None])[0]
        columns["Paper: minutes"] = lambda row: (row["paper"] or [None])[-1]
    rows = [{"name": name, **row} for name, row in results["networks"].items()]
    formats = {"Training (min)": ".1f", "Extraction (min)": ".1f", "Parameters": ","}
    title = headed("Table II", "the networks and their fusion", results["dataset"]["name"] in NUMBERED)
    return Table.of(title, rows, columns, notes=_notes_2(results), formats=formats, highest=["Accuracy"])


def _notes_2(results: Mapping) -> list[str]:
    """What stands under Table II."""
    seeds, splits, networks = results["seeds"], results["splits"], results["networks"]
    of_seeds = f"seed {seeds[0]}"
    if len(seeds) > 1:
        of_seeds = f"mean of {len(seeds)} seeds, their sample standard deviation beside it"
    over = f"mean of {len(splits)} splits and their sample standard deviation"
    if len(splits) == 1:
        over = "one split, so no deviation over splits; the interval (Wilson) is that of its test clips"
    notes = [f"Measured on {data_line(results['dataset'])}, {_splits_line(results)}: {over}; {of_seeds}."]
    notes.append(
        "Training: minutes of one training on stored features. Extraction: minutes that computing the features of "
        "all clips took, once for all splits and seeds. Parameters: of what stands on the features, all trained."
        if results["features"]
        else "Trained from frames, the networks included."
    )
    if results["dataset"]["name"] in NUMBERED and not results["dataset"]["as_in_paper"]:
        notes.append("The paper's figures were measured on other data or other splits and are not set beside these.")
    notes += [f"{name}: {row['reason']}." for name, row in networks.items() if row["reason"]]
    starts = [f"{name}: {row['starts_from']}" for name, row in networks.items() if row["status"] == "run"]
    notes.append(f"Trained from: {'; '.join(starts)}.")
    return notes + (results["comparison"]["sentences"] if results["comparison"] else [])


def table_3(results: Mapping) -> Table:
    """Table III: the literature's figures as the paper quotes them, beside this run where its data are the same."""
    data = results["dataset"]
    rows = [(*row, "quoted") for row in results["paper"]["table_3"]]
    notes = ["Quoted figures are the paper's, means over the official splits, not measured here."]
    if data["as_in_paper"]:
        for name, row in _run(results).items():
            accuracy = 100 * row["accuracy"]
            here = (accuracy, None) if data["name"] == "ucf101" else (None, accuracy)
            of = f" of {' and '.join(row['backbones'])}" if len(row["backbones"]) > 1 else ""
            rows.append((f"{name}{of} (this run)", *here, f"measured, {_splits_line(results)}"))
    else:
        notes.append(
            f"This run was on {data_line(data)}, {_splits_line(results)}, not on the three official splits of all "
            "of UCF101 or HMDB51; its accuracy has no place beside these."
        )
    columns = ["Method", "UCF-101 (%)", "HMDB-51 (%)", "Source"]
    formats = {"UCF-101 (%)": ".2f", "HMDB-51 (%)": ".2f"}
    return Table("Table III. Against the literature", columns, rows, notes, formats)


def table_classes(results: Mapping, count: int = 5) -> Table:
    """The classes that the shown network recognises best and worst, with what they are taken for."""
    name, classes = results["shown"], results["dataset"]["classes"]
    confusion = np.array(results["networks"][name]["confusion"])
    clips, right = confusion.sum(axis=1), confusion.diagonal()
    wrong = confusion - np.diag(right)
    known = [i for i in range(len(classes)) if clips[i]]
    order = sorted(known, key=lambda i: (-right[i] / clips[i], -clips[i], classes[i]))
    chosen = order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
    columns = {
        "Class": lambda i: classes[i],
        "Test clips": lambda i: clips[i],
        "Recognised": lambda i: right[i],
        "Share": lambda i: right[i] / clips[i],
        "Most often taken for": lambda i: (
            f"{classes[wrong[i].argmax()]} ({wrong[i].max()})" if wrong[i].any() else None
        ),
    }
    notes = [f"{name}, {_splits_line(results)}, seed {results['seeds'][0]}."]
    notes += [f"{len(order) - len(chosen)} classes in between are left out."] if len(order) > len(chosen) else []
    return Table.of("Best and worst recognised classes", chosen, columns, notes=notes, formats={"Share": ".1%"})


def _run(results: Mapping) -> dict[str, Mapping]:
    return {name: row for name, row in results["networks"].items() if row["status"] == "run"}


def _splits_line(results: Mapping) -> str:
    numbers = list(results["splits"])
    several = "splits" if len(numbers) > 1 else "split"
    return f"{results['protocol']} {several} {', '.join(numbers)}"
