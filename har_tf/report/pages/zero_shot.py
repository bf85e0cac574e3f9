"""The page of the zero-shot experiment: a row for each sampling, and for each class."""

from collections.abc import Mapping
from pathlib import Path

from har_tf.report.page import Page, Section, data_line
from har_tf.report.tables import Table, interval

SAMPLINGS = {
    "uniform": "one clip, from the first frame to the last",
    "dense": "one clip, the first frames",
    "windows": "mean over clips side by side, at most {windows}",
}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    model, data = results["model"], results["dataset"]
    tables = {"sampling": by_sampling(results), "classes": by_class(results)}
    return Page(
        f"{model['name']} on {data['name']}, without training",
        {"data": data_line(data), "model": f"{model['name']}, {model['classes']} classes; clips: {clip(model)}"},
        [Section("Which frames it is given", tables=list(tables.values()))],
        tables=tables,
        printed=[table.markdown() for table in tables.values()],
    )


def clip(model: Mapping) -> str:
    """How the model's clips are taken, in words."""
    how = model["clip"]
    height, width = how["size"]
    sizes = f"{how['num_frames']} frames of {height} x {width}"
    return f"{sizes}, by {how['by']}, fit {how['fit']}, short videos {how['short']}"


def by_sampling(results: Mapping) -> Table:
    """A row for each sampling."""
    columns = {
        "Sampling": "sampling", "Frames": lambda row: SAMPLINGS[row["sampling"]].format(**results["model"]),
        "Top-1": "top1", "Top-1, 95 %": lambda row: interval(row["top1_interval"]),
        "Top-5": "top5", "Top-5, 95 %": lambda row: interval(row["top5_interval"]), "Seconds a video": "seconds",
    }  # fmt: skip
    counted = results["rows"][0]["videos"]
    notes = [
        f"{counted} of {results['dataset']['clips']} videos, of the classes that a class of the model stands for. "
        "Intervals draw whole recordings again."
    ]
    formats = {"Top-1": ".3f", "Top-5": ".3f", "Seconds a video": ".1f"}
    return Table.of(
        "Answers by sampling", results["rows"], columns, notes=notes, formats=formats, highest=["Top-1", "Top-5"]
    )


def by_class(results: Mapping) -> Table:
    """A row for each class of the data, and a column for each sampling's top-1."""
    names, rows = results["dataset"]["classes"], {row["sampling"]: row["classes"] for row in results["rows"]}
    *_, last = rows
    columns = {
        "Class": lambda row: names[row["label"]],
        "Stands for it": lambda row: results["model"]["stands_for"].get(str(row["label"]), "none"),
        "Videos": "videos",
        **{f"Top-1, {way}": (lambda row, way=way: row[way]) for way in rows},
        f"Answers most often, {last}": lambda row: ", ".join(f"{name} ({count})" for name, count in row["answers"]),
    }
    of_class = [
        {**entry, **{way: found[place]["top1"] for way, found in rows.items()}}
        for place, entry in enumerate(rows[last])
    ]
    formats = {f"Top-1, {way}": ".2f" for way in rows}
    return Table.of("By class", of_class, columns, formats=formats)
