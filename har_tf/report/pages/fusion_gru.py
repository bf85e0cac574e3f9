"""The page of `experiments.fusion_gru`: Tables I to III and Figures 8 to 19 of the Fusion-GRU paper."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps
from har_tf.report.page import Figure, Page, Section, both_sides, data_line, headed, restored, split_line
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval

# Data whose tables and figures have the paper's numbers: the paper's, and the embedded ones in their place.
NUMBERED = ("ucf101", "hmdb51", "figures")
TITLES = {"ucf101": "UCF-101", "hmdb51": "HMDB-51", "figures": "the embedded data set"}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run, on one data set or on several."""
    parts, known = parts_of(results), [name for name in _all(results) if name in results["paper"]["table_1"]]
    several, numbered = len(parts) > 1, any(name in NUMBERED for name in parts)
    tables = {"table_1": table_1(results), "table_2": table_2(results)}
    sections = [
        Section(headed("Table I", "data", numbered), tables=[tables["table_1"]]),
        Section(headed("Table II", "the networks and their fusion", numbered), tables=[tables["table_2"]]),
    ]
    if known:
        tables["table_3"] = table_3(results)
        sections.append(Section("Table III: the literature", tables=[tables["table_3"]]))
    sections.append(settings.section(results["settings"]))
    verdicts, fusion = [], []
    for name, part in parts.items():
        tables[f"classes_{name}" if several else "classes"] = classes = table_classes(part)
        of_part = [
            *both_sides(part["splits"]),
            *_curves(part, figures / name if several else figures),
            *_confusions(part, figures / name if several else figures),
            Section("Classes", tables=[classes]),
            *restored(part["pictures"]),
            *tested_maps.sections(part.get("tested_maps")),
        ]
        of = f", {_title(name)}" if several else ""
        sections += [replace(section, title=f"{section.title}{of}") for section in of_part]
        compared = part["comparison"]
        said = compared["sentences"] if compared else ["Training diverged; there is nothing to compare."]
        verdicts += [f"{_title(name)}: {sentence}" if several else sentence for sentence in said]
        fusion.append(verdicts[-len(said)])
    facts = {
        "data": "; ".join(data_line(part["dataset"]) for part in parts.values()),
        "protocol": "; ".join(
            f"{f'{_title(name)}, ' * several}{part['protocol']} split {number}: {split_line(split)}"
            for name, part in parts.items()
            for number, split in part["splits"].items()
        ),
        "accuracy": "; ".join(
            f"{part['networks'][part['shown']]['accuracy']:.4f} ({part['shown']}, {f'{_title(name)}, ' * several}"
            f"{_splits_line(part)})"
            for name, part in parts.items()
        ),
        "fusion": " ".join(fusion),
        "the paper": settings.fact(results["settings"]),
    }
    if lines := [end_to_end_line(part) for part in parts.values() if part.get("end_to_end")]:
        facts["end to end"] = "; ".join(lines)
    first = results["trained_on_frames"]
    summary = (
        f"First trained here, on single frames of the training clips in place of photographs: {', '.join(first)}. "
        "This page shows the whole path, not what networks with ImageNet weights reach."
    )
    printed = [tables["table_2"].markdown(), "\n".join(verdicts)]
    return Page("Fusion-GRU", facts, sections, summary if first else None, tables, printed)


def parts_of(results: Mapping) -> dict[str, Mapping]:
    """Data set -> what was measured of it."""
    return {results["dataset"]["name"]: results, **results.get("others", {})}


def _all(results: Mapping) -> list[str]:
    """The data sets of the tables: those that were run, and those of the paper that were not."""
    return [*parts_of(results), *results.get("missing", {})]


def _title(name: str) -> str:
    return TITLES.get(name, name)


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


def cards(results: Mapping) -> list[Card]:
    """The cards of the networks that are shown, one for each data set."""
    found = []
    for part in parts_of(results).values():
        row, splits = part["networks"][part["shown"]], part["splits"]
        (number, first), *others = splits.items()
        texts = [f"split {number}: " * bool(others) + split["overlap_text"] for number, split in splits.items()]
        found.append(
            Card(
                part["shown"], part["dataset"], starts_from=row.get("starts_from"), parameters=row.get("parameters"),
                split=f"{part['protocol']} split {', '.join(map(str, splits))}, accuracy is the mean"
                if others
                else f"{part['protocol']} split {number}: {first['training_clips']} training, {first['test_clips']} "
                "test clips",
                overlap=None if others else first["overlap"], overlap_text="; ".join(texts),
                validation_text=first.get("validation_text"),
                tested=sum(split["test_clips"] for split in splits.values()), accuracy=row.get("accuracy"),
                interval=row.get("group_interval") or row.get("accuracy_interval"),
                over="recordings" if row.get("group_interval") else "clips", chance=first.get("most_frequent_class"),
                seeds=len(part["seeds"]), trust=of_maps(part),
            )
        )  # fmt: skip
    return found


def answers_alike(results: Mapping) -> bool:
    """Whether there is a model from frames to classes, whose answers are those on stored features."""
    measured = results.get("end_to_end")
    return not measured or measured["largest_difference"] <= measured["tolerance"]


def end_to_end_line(results: Mapping) -> str:
    """How far the answers of the model from frames to classes are from those on stored features."""
    measured = results["end_to_end"]
    difference, tolerance = measured["largest_difference"], measured["tolerance"]
    if answers_alike(results):
        return f"on {measured['clips']} clips within {difference:.1e} of the answers on stored features"
    return (
        f"{results['shown']}: from frames to classes the answers differ by {difference:.2g} from those on stored "
        f"features. Expected at most {tolerance}; so there is neither a model.keras nor an overlay video"
    )


def table_1(results: Mapping) -> Table:
    """Table I: the data sets, counted here and in the paper."""
    parts, rows, notes = parts_of(results), [], []
    for name, part in parts.items():
        data, of = part["dataset"], f"{_title(name)}, " if len(parts) > 1 else ""
        rows.append((_title(name), data["clips"], len(data["classes"]), "counted here"))
        notes += [
            f"{of}{part['protocol']} split {number}: {split['training_clips']} training and {split['test_clips']} test "
            f"clips; {split_line(split)}."
            for number, split in part["splits"].items()
        ]
        notes += [f"{of}{data['skipped']} unreadable videos are left out."] if data["skipped"] else []
        notes += data["notes"]
    numbered = any(name in NUMBERED for name in parts)
    if numbered:
        rows += [(TITLES[name], *counts, "the paper") for name, counts in results["paper"]["table_1"].items()]
    columns = ["Data set", "Clips", "Categories", "Source"]
    title = headed("Table I", "video data sets", numbered)
    return Table(title, columns, rows, list(dict.fromkeys(notes)), formats={"Clips": ","})


def table_2(results: Mapping) -> Table:
    """Table II: all data sets side by side; on the paper's with its figures, whose titles say so if settings differ."""
    parts, every = parts_of(results), _all(results)
    columns, highest, formats = {"Network": "name"}, [], {}
    for name in every:
        part = parts.get(name, {"networks": {}, "splits": (), "seeds": ()})
        for title, (cell, form) in _columns_2(name, part, results).items():
            full = f"{_title(name)}: {title[0].lower()}{title[1:]}" if len(every) > 1 else title
            columns[full] = cell
            formats |= {full: form} if form else {}
            highest += [full] if title == "Accuracy" else []
    title = headed("Table II", "the networks and their fusion", any(name in NUMBERED for name in parts))
    rows = [{"name": name} for name in results["networks"]]
    return Table.of(title, rows, columns, notes=_notes_2(results), formats=formats, highest=highest)


def _columns_2(name: str, part: Mapping, results: Mapping) -> dict[str, tuple]:
    """The columns of a data set: title -> (what takes a row and gives the cell, the format of numbers or None)."""

    def cell(key: str, factor: float = 1):
        return lambda row: None if (value := part["networks"].get(row["name"], {}).get(key)) is None else value * factor

    def accuracy(row):
        measured = part["networks"].get(row["name"], {"status": "not run"})
        return measured.get("accuracy", measured["status"])

    columns = {"Accuracy": (accuracy, None)}
    if len(part["splits"]) > 1:
        columns["Deviation over splits"] = cell("deviation_over_splits"), None
    elif part["splits"]:
        limits = cell("accuracy_interval")
        columns["95 % interval"] = (lambda row: interval(limits(row))), None
    if len(part["seeds"]) > 1:
        columns["Deviation over seeds"] = cell("deviation_over_seeds"), None
    if part["networks"]:
        columns["Training (min)"] = cell("training_seconds", 1 / 60), ".1f"
        columns["Extraction (min)"] = cell("extraction_seconds", 1 / 60), ".1f"
        columns["Parameters"] = cell("parameters"), ","
    quoted = results["paper"]["table_2"].get(name, {})
    for i, what in enumerate(("accuracy", "minutes") if quoted else ()):
        # The paper fuses its two networks, not others.
        columns[settings.paper_title(results["settings"], what)] = (
            lambda row, i=i: (
                quoted[row["name"]][i]
                if row["name"] in quoted and quoted.keys() >= set(results["networks"][row["name"]]["backbones"])
                else None
            ),
            None,
        )
    return columns


def _notes_2(results: Mapping) -> list[str]:
    """What stands under Table II."""
    parts, notes = parts_of(results), []
    for name, part in parts.items():
        seeds, splits, networks = part["seeds"], part["splits"], part["networks"]
        of_seeds = f"seed {seeds[0]}"
        if len(seeds) > 1:
            of_seeds = f"mean of {len(seeds)} seeds, their sample standard deviation beside it"
        over = f"mean of {len(splits)} splits and their sample standard deviation"
        if len(splits) == 1:
            over = "one split, so no deviation over splits; the interval (Wilson) is that of its test clips"
        notes.append(f"Measured on {data_line(part['dataset'])}, {_splits_line(part)}: {over}; {of_seeds}.")
        of = f"{_title(name)}, " if len(parts) > 1 else ""
        notes += [f"{of}{row}: {measured['reason']}." for row, measured in networks.items() if measured["reason"]]
        starts = [f"{row}: {of_row['starts_from']}" for row, of_row in networks.items() if of_row["status"] == "run"]
        notes.append(f"Trained from: {'; '.join(starts)}.")
        notes += [f"{of}{said}" for said in (part["comparison"] or {"sentences": []})["sentences"]]
    notes.append(
        "Training: minutes of one training on stored features. Extraction: minutes that computing the features of "
        "all clips took, once for all splits and seeds. Parameters: of what stands on the features, all trained."
        if results["features"]
        else "Trained from frames, the networks included."
    )
    notes += [f"{_title(name)}: {reason}." for name, reason in results.get("missing", {}).items()]
    if any(name in results["paper"]["table_2"] for name in parts):
        notes += settings.paper_note(results["settings"])
    elif any(name in NUMBERED for name in parts):
        notes.append("The paper's figures were measured on other data and are not set beside these.")
    return list(dict.fromkeys(notes))


def table_3(results: Mapping) -> Table:
    """Table III: the literature's figures as the paper quotes them, beside this run where its data are the same."""
    parts, quoted = parts_of(results), list(results["paper"]["table_1"])
    rows = [(*row, "quoted") for row in results["paper"]["table_3"]]
    notes = ["Quoted figures are the paper's, means over the official splits, not measured here."]
    whole = {name: part for name, part in parts.items() if part["dataset"]["whole"]}
    for name, first in results["networks"].items() if whole else ():
        accuracies = [_percent(parts.get(data), name, data in whole) for data in quoted]
        of = f" of {' and '.join(first['backbones'])}" if len(first["backbones"]) > 1 else ""
        rows.append((f"{name}{of} (this run)", *accuracies, f"measured, {_splits_line(next(iter(whole.values())))}"))
    for name, part in parts.items():
        if name not in whole:
            notes.append(
                f"This run was on {data_line(part['dataset'])}, {_splits_line(part)}, not on the three official splits "
                "of all of UCF101 or HMDB51; its accuracy has no place beside these."
            )
    if whole:
        notes += settings.paper_note(results["settings"])
    columns = ["Method", "UCF-101 (%)", "HMDB-51 (%)", "Source"]
    formats = {"UCF-101 (%)": ".2f", "HMDB-51 (%)": ".2f"}
    return Table("Table III. Against the literature", columns, rows, notes, formats)


def _percent(part: Mapping | None, network: str, whole: bool) -> float | str | None:
    """The accuracy of a network on a data set in per cent, or "not run"; None where only a part of it was run."""
    if part is None:
        return "not run"
    measured = part["networks"][network]
    return None if not whole else 100 * measured["accuracy"] if measured["status"] == "run" else measured["status"]


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
