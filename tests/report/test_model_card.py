"""The model card: its metadata are YAML, its numbers those of results.json, and what was not measured is said."""

import json
import re

import pytest

from har_tf.report.model_card import Card, of_measured, text_of
from har_tf.report.publish import publish

yaml = pytest.importorskip("yaml")
DATA = {"name": "my videos", "classes": ["run", "jump"], "clips": 60, "skipped": 2, "notes": ["one class is small"]}
SHARED = {"test_clips": 20, "with_group": 20, "with_sibling": 0, "near_identical": [], "near_of_other_groups": 0}


def read(text):
    """(metadata, heading -> its text)."""
    _, front, body = text.split("---\n", 2)
    pieces = re.split(r"^#+ (.+)\n", body, flags=re.M)
    return yaml.safe_load(front), dict(zip(pieces[1::2], map(str.strip, pieces[2::2]), strict=True))


def test_the_card_of_a_run_has_its_numbers(tiny_run):
    text = (tiny_run / "model_card.md").read_text()
    results = json.loads((tiny_run / "results.json").read_text())
    part = results["protocols"][results["shown"]["protocol"]]
    row = part["models"][results["shown"]["model"]]
    front, sections = read(text)
    assert (front["library_name"], front["pipeline_tag"]) == ("keras", "video-classification")
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == results["shown"]["model"]
    assert result["task"] == {"type": "video-classification"}
    assert result["dataset"] == {"name": "figures", "type": "figures", "split": "test"}
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        kind: row[kind] for kind in ("accuracy", "f1", "precision", "recall")
    }
    assert f"{row['accuracy']:.4f}" in sections["Accuracy"] and f"{row['f1']:.4f}" in sections["Accuracy"]
    assert part["overlap_text"] in sections["Split"]
    assert f"{part['test_clips']} test" in sections["Split"]
    for heading in ("What it relies on", "Probabilities"):
        assert sections[heading].startswith("Not measured in this run.")
    assert sections["Explanations"].startswith("In space and time: ")
    before = text, (tiny_run / "model_card.md").unlink()
    publish(tiny_run)
    assert (tiny_run / "model_card.md").read_text() == before[0], "made again of results.json"


def test_what_is_known_of_probabilities_is_told():
    ece = {"value": 0.123, "interval": [0.05, 0.2], "by_chance": 0.04, "bins": []}
    raw = {"accuracy": 0.8, "clips": 20, "confidence": 0.92, "ece": ece, "brier": 0.3, "log_loss": 0.5}
    corrected = raw | {"confidence": 0.81, "ece": ece | {"value": 0.045}, "brier": 0.2625}
    found = {"as_trained": raw, "corrected": corrected, "temperature": 1.7, "fitted_on": 40}
    row = {"accuracy": 0.8, "group_interval": [0.7, 0.9], "clips": 20, "parameters": 1000, "probabilities": found}
    front, sections = read(text_of([of_measured("A", {"overlap": SHARED, "overlap_text": "none"}, row, DATA, "group")]))
    metrics = {each["type"]: each["value"] for each in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics == {"accuracy": 0.8, "expected_calibration_error": 0.045, "brier_score": 0.2625}
    assert "0.123 as trained, 0.045 with a temperature of 1.70" in sections["Probabilities"]
    assert "fitted on 40 validation clips" in sections["Probabilities"]
    assert "draws whole recordings again" in sections["Accuracy"]
    assert "0.700\N{EN DASH}0.900" in sections["Accuracy"]


def test_probabilities_that_cannot_be_measured_are_said_not_to_be():
    row = {"accuracy": 0.8, "probabilities": {"not_measured": "the model ends in a sigmoid per class"}}
    front, sections = read(text_of([of_measured("A", {}, row, DATA, "group")]))
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": "accuracy", "value": 0.8}]
    assert sections["Probabilities"] == "Not measured: the model ends in a sigmoid per class."


def test_nothing_is_made_up():
    front, sections = read(text_of([Card("A", DATA)]))
    assert "model-index" not in front and "metrics" not in front and "license" not in front
    assert sections["Accuracy"] == sections["Split"] == "Not measured in this run."
    assert "Its training began with: not recorded" in sections["Model"]
    assert "60 clips of my videos; 2 could not be read" in sections["Data"]
    assert "- one class is small" in sections["Data"]


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        ({"with_sibling": 7}, "Leak: 7 of 20 test clips were cut from a recording that is in training too"),
        ({"with_group": 0}, "cut from the same recordings is not known"),
        ({"near_identical": None}, "look the same was not compared"),
        ({"near_of_other_groups": 3}, "3 test clips look the same as one in training"),
    ],
)
def test_limits_follow_from_the_split(shared, words):
    def limits(found):
        return read(text_of([Card("A", DATA, overlap=found, overlap_text="counted")]))[1]["Limits"]

    assert words in limits(SHARED | shared) and words not in limits(SHARED)


def test_names_from_files_are_text():
    name = 'x": |\n- <script>alert(1)</script> [a](http://b) \N{GRINNING FACE} \x1b[31m'
    text = text_of([Card(name, DATA | {"name": name, "classes": [name, "b`c"], "notes": [name]}, accuracy=0.5)])
    front, _ = read(text)
    assert (
        front["model-index"][0]["name"]
        == 'x": |\\n- <script>alert(1)</script> [a](http://b) \N{GRINNING FACE} \\x1b[31m'
    )
    body = text.split("---\n", 2)[2]
    assert "\x1b" not in text and "\n- <script" not in body
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[a|b`c", body)


def test_several_models_stand_in_one_card():
    front, sections = read(text_of([Card("A", DATA, accuracy=0.5), Card("B", DATA, accuracy=0.75, seeds=3)]))
    assert [(entry["name"], entry["results"][0]["metrics"][0]["value"]) for entry in front["model-index"]] == [
        ("A", 0.5), ("B", 0.75),
    ]  # fmt: skip
    assert {"A, B", "A", "B"} <= sections.keys()
    assert "The mean of 3 seeds" in sections["Accuracy"]
