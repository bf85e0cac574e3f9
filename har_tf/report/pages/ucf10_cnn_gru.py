"""The page of `experiments.ucf10_cnn_gru`: Tables 1 and 2 and Figures 4 to 8 of the CNN-GRU paper."""

from collections.abc import Mapping
from pathlib import Path

from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps, of_measured
from har_tf.report.page import Figure, Page, Section, both_sides, data_line, headed, restored, split_line
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    name, protocol = results["shown"]["model"], results["shown"]["protocol"]
    shown = f"{name}, {protocol} split"
    row = results["protocols"][protocol]["models"][name]
    numbered = is_numbered(results["dataset"])
    tables, literature = {"table_1": table_1(results)}, []
    if results["dataset"]["ucf101"]:
        tables["table_2"] = table_2(results)
        literature = [Section("Table 2: the literature", tables=[tables["table_2"]])]
    histories = {
        model if len(results["protocols"]) == 1 else f"{model}, {part}": row["history"]
        for part, measured in results["protocols"].items()
        for model, row in measured["models"].items()
        if row["status"] == "run"
    }
    curves = plots.curves(histories, figures / "figure_4_curves.png")
    confusion = plots.confusion_matrix(
        row["confusion"], row["class_names"], figures / "figure_5_confusion.png",
        title=f"{shown}: {row['clips']} test clips",
    )  # fmt: skip
    matrix = f"Confusion matrix of {shown}."
    return Page(
        "CNN-GRU with Grad-CAM" if numbered else f"{name} on {results['dataset']['name']}",
        {
            "data": data_line(results["dataset"]),
            "protocol": "; ".join(f"{part}: {split_line(p)}" for part, p in results["protocols"].items()),
            "accuracy": f"{row['accuracy']:.4f} ({shown})",
            "the paper": settings.fact(results["settings"]),
        },
        [
            Section(headed("Table 1", "classification", numbered), tables=[tables["table_1"]]),
            *literature,
            settings.section(results["settings"]),
            *both_sides(results["protocols"]),
            Section(headed("Figure 4", "training", numbered), figures=[Figure(curves, "Loss and accuracy by epoch.")]),
            Section(headed("Figure 5", "confusion", numbered), figures=[Figure(confusion, matrix)]),
            *tested_maps.sections(results.get("tested_maps")),
            *restored(results["pictures"]),
        ],
        tables=tables,
        printed=[tables["table_1"].markdown()],
    )


def cards(results: Mapping) -> list[Card]:
    """The card of the model that is kept."""
    name, protocol = results["shown"]["model"], results["shown"]["protocol"]
    part = results["protocols"][protocol]
    counts = ", ".join(
        f"{part[f'{key}_clips']} {key}" for key in ("training", "validation", "test") if f"{key}_clips" in part
    )
    row = part["models"][name] | of_maps(results)
    return [of_measured(name, part, row, results["dataset"], f"{protocol}: {counts} clips")]


def is_numbered(data: Mapping) -> bool:
    """Whether tables and figures have the paper's numbers: of its data, and of the embedded ones in their place."""
    return data["ucf101"] or data["name"] == "figures"


def table_1(results: Mapping) -> Table:
    """Table 1; on UCF101 with the paper's figures, whose titles say so where other settings differ."""
    (_, part), *others = results["protocols"].items()
    paper = results["paper"]["table_1"] if results["dataset"]["ucf101"] else {}
    names = list(part["models"])
    names += [name for name in results["paper"]["table_1"] if name not in names and results["dataset"]["ucf101"]]
    rows = [{"name": name, "status": "not run"} | part["models"].get(name, {}) for name in names]
    columns = {
        "Model": "name",
        "Accuracy": lambda row: row.get("accuracy", row["status"]),
        "95 % interval": lambda row: interval(row.get("group_interval") or row.get("accuracy_interval")),
        **({"Deviation over seeds": "deviation_over_seeds"} if _seeds(part) > 1 else {}),
        "Precision": "precision",
        "Recall": "recall",
        "F1": "f1",
        "Parameters": "parameters",
        "Minutes": lambda row: row["seconds"] / 60 if "seconds" in row else None,
    }
    for other, measured in others:
        models = measured["models"]
        columns[f"Accuracy, {other} split"] = lambda row, models=models: models.get(row["name"], {}).get("accuracy")
        if _seeds(measured) > 1:
            columns[f"95 % interval, {other}"] = lambda row, models=models: interval(
                models.get(row["name"], {}).get("group_interval")
            )
    highest = [name for name in columns if name in ("Accuracy", "Precision", "Recall", "F1") or "split" in name]
    for i, metric in enumerate(("accuracy", "precision", "recall", "F1") if paper else ()):
        columns[settings.paper_title(results["settings"], metric)] = lambda row, i=i: paper.get(
            row["name"], [None] * 4
        )[i]
    title = headed("Table 1", "classification performance", is_numbered(results["dataset"]))
    return Table.of(
        title, rows, columns, notes=_notes(results, names), highest=highest,
        formats={"Parameters": ",", "Minutes": ".1f"},
    )  # fmt: skip


def _seeds(measured: Mapping) -> int:
    """How often every row of a split was trained."""
    return max((len(row.get("trials", ())) for row in measured["models"].values()), default=1)


def _notes(results: Mapping, names: list[str]) -> list[str]:
    """What stands under Table 1."""
    data, protocols = results["dataset"], results["protocols"]
    part = next(iter(protocols.values()))
    notes = [f"Measured on {data_line(data)}."]
    if data["left_out"]:
        notes.append(f"{data['left_out']} more are left out, so that every class has as many; drawn from the seed.")
    notes += [f"{name} split: {p['test_clips']} test clips; {split_line(p)}." for name, p in protocols.items()]
    if any(row.get("group_interval") for row in part["models"].values()):
        notes.append("The interval draws whole recordings again, of which several clips were cut.")
    if (seeds := _seeds(part)) > 1:
        notes.append(f"Accuracy: mean of {seeds} seeds; the other columns and the figures: the first seed.")
    if data["order_blind_ceiling"] and "group" in protocols:
        notes.append(
            "Three pairs of actions are each other's reverse: under the group split, Frame-CNN and the ImageNet "
            f"networks, which average over time, cannot exceed {data['order_blind_ceiling']:.2f}."
        )
    if data["ucf101"]:
        notes += settings.paper_note(results["settings"])
    elif is_numbered(data):
        notes.append("The paper's figures were measured on other data and are not set beside these.")
    for protocol, measured in protocols.items():
        notes += [f"{name}, {protocol}: {row['reason']}" for name, row in measured["models"].items() if row["reason"]]
        absent = {name for row in measured["models"].values() for name in row.get("absent", [])}
        notes += [f"No test clip under {protocol} of: {', '.join(sorted(absent))}."] if absent else []
    starts = [f"{name}: {row['starts_from']}" for name, row in part["models"].items() if row["status"] == "run"]
    notes.append(f"Trained from: {'; '.join(starts)}.")
    if any(name not in part["models"] for name in names):
        notes.append("Other rows without figures were not asked for (--models).")
    return notes


def table_2(results: Mapping) -> Table:
    """Table 2, of runs on UCF101: the literature's figures as the paper quotes them, with their number of classes."""
    rows = [(model, classes, accuracy, "quoted") for model, classes, accuracy in results["paper"]["table_2"]]
    notes = ["Quoted figures are the paper's, not measured here. Those on 101 classes do not compare with ten."]
    notes += settings.paper_note(results["settings"])
    data, name, protocol = results["dataset"], results["shown"]["model"], results["shown"]["protocol"]
    accuracy = results["protocols"][protocol]["models"][name]["accuracy"]
    source = f"measured on {data['clips']} clips, {protocol} split"
    rows.append((f"{name} (this run)", len(data["classes"]), 100 * accuracy, source))
    columns = ["Model", "Classes", "Accuracy (%)", "Source"]
    title = "Table 2. Against the literature on UCF101"
    return Table(title, columns, rows, notes, formats={"Accuracy (%)": ".2f"})
