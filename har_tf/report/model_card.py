"""`model_card.md`: what a reader must know before using a model, in the form of Hugging Face's hub.

It is made from `results.json` alone, as the page is: a page module of a model that is trained has a function `cards`
beside `page`. What was not measured is said to be so; nothing is filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from har_tf.names import shown
from har_tf.report import trust_words
from har_tf.report.tables import Table, interval, markdown_text

NAME = "model_card.md"
_TAGS = ("keras", "tensorflow", "har_tf", "action-recognition", "video-classification")
_TRUST = ("probabilities", "reliance", "explanations")
_NOT_MEASURED = "Not measured in this run."


@dataclass(frozen=True)
class Card:
    """What is known of a model; None where the run did not measure it.

    Args:
        name: of the model.
        data: "dataset" of `results.json`, with name, classes, skipped and notes.
        unit: what is classified, "clip" or "video".
        starts_from: the weights that its training began with.
        parameters: how many it has.
        split: which split, and how many clips are in its parts.
        overlap: what both sides share, as `har_tf.datasets.splits.OverlapReport`.
        overlap_text: the same in words.
        validation_text: on what the epoch was chosen.
        tested: test clips or videos.
        accuracy: on them.
        interval: (low, high), 95 %.
        over: what the interval is over: "recordings", or "clips" as if each stood alone.
        chance: the accuracy of always answering the most frequent class.
        scores: further scores, such as the macro F1.
        seeds: how many trainings the accuracy is the mean of.
        absent: classes without a test clip.
        trust: what `har_tf.trust` found of it: "probabilities", "reliance" and "explanations", where there are any.
        trained_here: whether the run trained it; of any other the training clips are not known.
    """

    name: str
    data: Mapping[str, Any]
    unit: str = "clip"
    starts_from: str | None = None
    parameters: int | None = None
    split: str | None = None
    overlap: Mapping[str, Any] | None = None
    overlap_text: str | None = None
    validation_text: str | None = None
    tested: int | None = None
    accuracy: float | None = None
    interval: Sequence[float] | None = None
    over: str = "clips"
    chance: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 1
    absent: Sequence[str] = ()
    trust: Mapping[str, Any] = field(default_factory=dict)
    trained_here: bool = True


def of_measured(
    name: str, part: Mapping[str, Any], row: Mapping[str, Any], data: Mapping[str, Any], split: str
) -> Card:
    """The card of a model on a split.

    Args:
        name: of the model.
        part: what `har_tf.experiment.Split.measured` gave.
        row: the model's own results: accuracy, intervals, scores, parameters.
        data: "dataset" of `results.json`.
        split: as in `Card`.
    """
    over_groups = row.get("group_interval")
    scores = {"f1": "f1", "precision": "precision", "recall": "recall"}
    return Card(
        name, data, starts_from=row.get("starts_from"), parameters=row.get("parameters"), split=split,
        overlap=part.get("overlap"), overlap_text=part.get("overlap_text"), validation_text=part.get("validation_text"),
        tested=row.get("clips", part.get("test_clips")), accuracy=row.get("accuracy"),
        interval=over_groups or row.get("accuracy_interval"), over="recordings" if over_groups else "clips",
        chance=part.get("most_frequent_class"), scores={key: row[of] for key, of in scores.items() if of in row},
        seeds=len(row.get("trials", ())) or 1, absent=row.get("absent", ()),
        trust={key: row[key] for key in _TRUST if key in row},
    )  # fmt: skip


def of_maps(results: Mapping[str, Any]) -> dict[str, Any]:
    """`Card.trust` of a run that tested no more than the maps that its report shows."""
    return {"explanations": found} if (found := results.get("tested_maps")) else {}


def text_of(cards: Sequence[Card]) -> str:
    """The card in Markdown behind its metadata in YAML."""
    several = len(cards) > 1
    lines = _front_matter(cards)
    if several:
        lines += [f"# {markdown_text(', '.join(card.name for card in cards))}", ""]
    for card in cards:
        lines += [f"{'##' if several else '#'} {markdown_text(card.name)}", ""]
        for title, paragraphs in _sections(card).items():
            lines += [f"{'###' if several else '##'} {title}", ""]
            for paragraph in paragraphs:
                lines += [paragraph.rstrip("\n"), ""]
    return "\n".join(lines)


def _front_matter(cards: Sequence[Card]) -> list[str]:
    """Metadata as the hub reads them. Values are JSON, which is YAML."""
    lines = ["---", "library_name: keras", "pipeline_tag: video-classification", "tags:"]
    lines += [f"- {tag}" for tag in _TAGS]
    measured = [card for card in cards if card.accuracy is not None]
    if measured:
        lines += ["metrics:", "- accuracy", "model-index:"]
    for card in measured:
        data = _value(card.data["name"])
        lines += [
            f"- name: {_value(card.name)}", "  results:", "  - task:", "      type: video-classification",
            "    dataset:", f"      name: {data}", f"      type: {data}", "      split: test", "    metrics:",
        ]  # fmt: skip
        for kind, number in _metrics(card).items():
            lines += [f"    - type: {kind}", f"      value: {_value(number)}"]
    return [*lines, "---", ""]


def _metrics(card: Card) -> dict[str, float]:
    found = {"accuracy": card.accuracy, **card.scores}
    probabilities = card.trust.get("probabilities", {})
    if "as_trained" in probabilities:
        best = probabilities.get("corrected", probabilities["as_trained"])
        found |= {"expected_calibration_error": best["ece"]["value"], "brier_score": best["brier"]}
    return {kind: number for kind, number in found.items() if number is not None}


def _value(value: Any) -> str:
    return json.dumps(shown(value) if isinstance(value, str) else value, ensure_ascii=False)


def _sections(card: Card) -> dict[str, list[str]]:
    """Heading -> paragraphs of Markdown."""
    trust = card.trust
    return {
        "Model": _model(card),
        "Data": _data(card),
        "Split": _split(card),
        "Accuracy": _accuracy(card),
        "What it relies on": [markdown_text(trust_words.relied_on(trust["reliance"]))]
        if "reliance" in trust
        else [_NOT_MEASURED + " Whether it reads motion or the background is not known."],
        "Probabilities": _probabilities(trust["probabilities"])
        if "probabilities" in trust
        else [_NOT_MEASURED + " A probability of 0.9 need not mean that nine in ten are right."],
        "Explanations": [
            markdown_text(trust_words.explained_by(trust["explanations"], axis))
            for axis in trust["explanations"]["axes"]
        ]
        if "explanations" in trust
        else [_NOT_MEASURED + " An overlay may look right and not show what the model uses."],
        "Limits": ["\n".join(f"- {markdown_text(limit)}" for limit in _limits(card))],
        "Use": _USE,
    }


_USE = [
    "Where the run keeps `model.keras`, beside this file (`keras.models.load_model` reads it too):",
    '```python\nimport har_tf as har\n\nhar.Classifier.load("model.keras").predict("clip.mp4").top(5)\n```',
]


def _model(card: Card) -> list[str]:
    size = "" if card.parameters is None else f" of {card.parameters:,} parameters"
    start = "not recorded" if card.starts_from is None else card.starts_from
    classes = [str(name) for name in card.data["classes"]]
    return [
        markdown_text(f"A classifier of videos{size}. Its training began with: {start}."),
        markdown_text(f"Its {len(classes)} classes: {', '.join(classes)}."),
    ]


def _data(card: Card) -> list[str]:
    data = card.data
    count = next((f"{data[key]} {key} of " for key in ("clips", "videos") if key in data), "")
    skipped = f"; {data['skipped']} could not be read and are left out" if data.get("skipped") else ""
    found = [markdown_text(f"{count}{data['name']}{skipped}.")]
    if data.get("notes"):
        found.append("\n".join(f"- {markdown_text(note)}" for note in data["notes"]))
    return found


def _split(card: Card) -> list[str]:
    if card.split is None:
        return [_NOT_MEASURED]
    if not card.trained_here:
        return [markdown_text(f"{card.split}.")]
    text = dict.fromkeys([card.split, card.overlap_text or "what both sides share was not counted"])
    return [markdown_text("; ".join([*text, *([card.validation_text] if card.validation_text else [])]) + ".")]


def _accuracy(card: Card) -> list[str]:
    if card.accuracy is None:
        return [_NOT_MEASURED]
    row = {"accuracy": card.accuracy, "chance": card.chance, **card.scores}
    columns = {
        "Accuracy": "accuracy",
        "95 % interval": lambda _: interval(card.interval),
        "Most frequent class": "chance",
        **{f"{name[0].upper()}{name[1:]}, macro": name for name in card.scores},
    }
    over = {"recordings": "draws whole recordings again", "clips": f"takes each {card.unit} for one by itself"}
    notes = [] if card.tested is None else [f"On {card.tested} test {card.unit}s."]
    notes += [f"The mean of {card.seeds} seeds, of which the first is kept."] if card.seeds > 1 else []
    notes.append("No interval was measured." if card.interval is None else f"The interval {over[card.over]}.")
    return [Table.of("On the test part", [row], columns, notes=notes).markdown()]


def _probabilities(found: Mapping[str, Any]) -> list[str]:
    kept = f"The temperature was fitted on {found.get('fitted_on')} validation clips, and is kept in the model's file."
    return [markdown_text(trust_words.of_probabilities(found)), *([kept] if "corrected" in found else [])]


def _limits(card: Card) -> list[str]:
    unit, shared = card.unit, card.overlap or {}
    limits = [f"It answers one of its classes to any video, also to one that shows none of them; what else {unit}s may "
              "show was not tested."]  # fmt: skip
    if shared.get("with_sibling"):
        limits.append(
            f"Leak: {shared['with_sibling']} of {shared['test_clips']} test {unit}s were cut from a recording that is "
            "in training too, so that less is to be expected on new recordings."
        )
    elif shared.get("with_group") == 0 or card.overlap_text is None:
        limits.append(f"Whether test and training {unit}s were cut from the same recordings is not known.")
    if shared.get("near_of_other_groups"):
        limits.append(f"{shared['near_of_other_groups']} test {unit}s look the same as one in training of another "
                      "recording.")  # fmt: skip
    if shared and shared.get("near_identical") is None:
        limits.append("Whether videos of both sides look the same was not compared.")
    if card.absent:
        limits.append(f"Classes without a test {unit}, of which nothing is known: {', '.join(map(str, card.absent))}.")
    limits.append("Licence of data and weights, and consent of the people in the videos, are not recorded.")
    return limits
