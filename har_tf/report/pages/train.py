"""The page of `har.train`: one model, one split that was audited, and where the model looked."""

from collections.abc import Mapping
from pathlib import Path

from har_tf.report import plots, trust_words
from har_tf.report.model_card import Card, of_maps, of_measured
from har_tf.report.page import Figure, Page, Section, both_sides, data_line, restored
from har_tf.report.pages import tested_maps
from har_tf.report.pages.trust import probabilities_table
from har_tf.report.tables import Table, interval


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    model, clips = results["model"], results["clips"]
    tables = {"classification": classification(results), "classes": by_class(results)}
    alike = both_sides({results["protocol"]: results})
    if alike:
        (tables["alike"],) = alike[0].tables
    probabilities = model.get("probabilities")  # which runs of before do not have
    if probabilities:
        tables["probabilities"] = probabilities_table(model["name"], probabilities)
    curves = plots.curves({model["name"]: model["history"]}, figures / "curves.png")
    confusion = plots.confusion_matrix(model["confusion"], model["class_names"], figures / "confusion.png")
    return Page(
        f"{model['name']} on {results['dataset']['name']}",
        {
            "data": data_line(results["dataset"]),
            "split": f"{results['protocol']}: {clips['training']} training, {clips['validation']} validation and "
            f"{clips['test']} test clips; {results['overlap_text']}{validation(results)}",
            "accuracy": f"{model['accuracy']:.4f} (always the most frequent class: "
            f"{results['most_frequent_class']:.4f})",
        },
        [
            Section("Classification", tables=[tables["classification"], tables["classes"]]),
            Section("Confusion", figures=[Figure(confusion, f"Test clips: {model['clips']}.")]),
            *([_probabilities(probabilities, tables["probabilities"])] if probabilities else []),
            Section("Training", figures=[Figure(curves, "Loss and accuracy by epoch.")]),
            *alike,
            *tested_maps.sections(results.get("tested_maps")),
            *restored(results["pictures"]),
        ],
        tables=tables,
        printed=[tables["classification"].markdown()],
    )


def _probabilities(found: Mapping, table: Table) -> Section:
    return Section("Probabilities", trust_words.of_probabilities(found), tables=[table])


def cards(results: Mapping) -> list[Card]:
    """The model's card."""
    model, parts = results["model"], results["clips"]
    split = f"{results['protocol']}: {', '.join(f'{count} {name}' for name, count in parts.items())} clips"
    return [of_measured(model["name"], results, model | of_maps(results), results["dataset"], split)]


def classification(results: Mapping) -> Table:
    """One row: the model on the test clips."""
    columns = {
        "Model": "name", "Accuracy": "accuracy", "95 % interval": lambda row: interval(row["accuracy_interval"]),
        "Precision": "precision", "Recall": "recall", "F1": "f1", "Parameters": "parameters",
        "Minutes": lambda row: row["seconds"] / 60,
    }  # fmt: skip
    notes = [
        f"Measured on {results['clips']['test']} test clips of the {results['protocol']} split; "
        f"{results['overlap_text']}{validation(results)}.",
        f"A model that always answers the most frequent class reaches {results['most_frequent_class']:.4f}.",
        f"Trained from: {results['model']['starts_from']}.",
    ]
    return Table.of(
        "Classification", [results["model"]], columns, notes=notes, formats={"Parameters": ",", "Minutes": ".1f"}
    )


def validation(results: Mapping) -> str:
    """On which clips the best epoch is chosen, which runs of before do not have."""
    return f"; {results['validation_text']}" if "validation_text" in results else ""


def by_class(results: Mapping) -> Table:
    """A row for each class."""
    columns = {
        "Class": "name", "Clips": "support", "Precision": "precision", "Recall": "recall", "F1": "f1"
    }  # fmt: skip
    return Table.of("By class", results["model"]["per_class"], columns)
