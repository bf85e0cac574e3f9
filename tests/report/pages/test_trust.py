"""The page of trust, of results written by hand: what stands in its tables, lines and cards."""

import pytest

from har_tf.report.model_card import text_of
from har_tf.report.pages import trust

SPLIT = {
    "training_clips": 160, "test_clips": 40, "overlap_text": "0 of 40 test clips have a sibling in training",
    "validation_text": "best epoch by 10 % of the training part", "most_frequent_class": 0.1,
    "overlap": {"test_clips": 40, "with_group": 40, "with_sibling": 0, "near_identical": []},
}  # fmt: skip


def of(mean, interval=None, **more):
    return {"mean": mean, "interval": interval, "clips": 8, "groups": 8, "left_out": 0, **more}


def row(method, tap, gain, kind="method"):
    name = f"{method} {tap}" if kind == "method" else f"Control: {method}"
    boxes = {key: {"space": of(0.5, [0.4, 0.6]), "time": of(0.3, [0.2, 0.35])} for key in ("pointing", "energy")}
    found = {
        "name": name, "method": method, "kind": kind, "gain": {"both": of(gain, [gain - 0.1, gain + 0.1])},
        "drop": of(0.25, [0.2, 0.3]), "increase": of(0.5), "boxes": boxes,
    }  # fmt: skip
    verdict = {"verdict": "better" if gain > 0.5 else "not shown"}
    beside = {"beside": {"both": {"Control: noise": verdict}}, "beats_controls": {"both": gain > 0.5}, "empty": 0}
    return found | (beside if kind == "method" else {})


def explanations(tap):
    rows = [row("Grad-CAM", tap, 0.6), row("noise", tap, 0.0, "control")]
    alike = {"ssim": of(0.9), "rank": of(0.8), "top": of(0.7)}
    another = {"ssim": of(0.3), "rank": of(0.2), "top": of(0.1)}
    of_method = {
        "outcome": "partly", "repeated": alike, "cascading": [{"layers": ["dense"], **alike}],
        "random": {"similarity": alike, "another_clip": another},
    }  # fmt: skip
    curves = [
        {"name": each["name"], "axis": "both", "fill": "blur", "direction": direction, "score": score, "mean": 0.5,
         "interval": None, "clips": 8, "left_out": 1, "shares": [0.0, 1.0], "curve": [1.0, 0.0]}
        for each in rows for direction in ("deletion", "insertion") for score in ("probability", "logit")
    ]  # fmt: skip
    return {
        "clips": 8, "recordings": 8, "boxed": 8, "steps": 4, "axes": ["both"], "fills": ["blur"], "rows": rows,
        "curves": curves, "randomization": {"layers": 3, "clips": 4, "methods": {f"Grad-CAM {tap}": of_method}},
    }  # fmt: skip


def effect(lost, needs="yes"):
    return {"accuracy": of(0.9 + lost), "lost": of(lost, [lost - 0.1, 0.0]), "changed": of(0.1), "needs": needs}


RELIANCE = {
    "clips": 40, "accuracy": of(0.9), "chance": 0.1, "margin": 0.05, "from_video": 40, "background": None,
    "verdicts": {"order": "not measured", "order_blind": None, "motion": "not measured", "sides": "not measured",
                 "several_frames": "not measured", "background": "not measured", "robust": "not measured"},
    "effects": {"background": effect(-0.4), "hole elsewhere": effect(-0.2), "other background": effect(-0.8)},
    "contrasted": {"person on stripes": of(0.25, [0.1, 0.4])},
}  # fmt: skip


def results(trained=True, **more):
    model = {
        "parameters": 10, "clips": 40, "accuracy": of(0.9, [0.8, 1.0]), "most_frequent_class": 0.1,
        "probabilities": {"not_measured": "a sigmoid per class"}, "trained_here": trained, "reliance": RELIANCE, **more,
    }  # fmt: skip
    models = {"A": model | {"explanations": explanations("conv1")}, "B": model | {"explanations": explanations("top")}}
    data = {"name": "figures", "classes": ["run", "jump"], "clips": 200, "skipped": 0, "notes": []}
    return {"dataset": data, "split": SPLIT, "models": models, "pictures": []}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return trust.page(results(left_out=3), tmp_path_factory.mktemp("figures"))


def columns(table):
    return [dict(zip(table.columns, line, strict=True)) for line in table.rows]


def test_a_method_is_one_column_over_networks_with_different_taps():
    assert list(trust.by_method(explanations("conv1")["rows"])) == ["Grad-CAM", "noise"]
    twice = [row("Grad-CAM", "conv1", 0.5), row("Grad-CAM", "conv2", 0.6)]
    assert list(trust.by_method(twice)) == ["Grad-CAM conv1", "Grad-CAM conv2"]
    del twice[0]["method"]  # as in runs of before
    assert list(trust.by_method(twice[:1])) == ["Grad-CAM conv1"]


def test_controls_of_reliance_have_no_verdict(page):
    rows = columns(page.tables["A_reliance"])
    assert [line["Needs it"] for line in rows] == [None, "yes", None, None]
    assert [line["Change"] for line in rows] == [None, -0.4, -0.2, -0.8]
    assert [line["Change, 95 %"] for line in rows[:2]] == [None, "-0.50 to 0.00"]
    assert "0.25 (0.10 to 0.40) on stripes" in page.tables["A_reliance"].notes[-1]


def test_means_stand_beside_their_intervals(page):
    first, _ = columns(page.tables["A_boxes_in_time"])
    assert first["Pointing"] == 0.3 and first["Pointing, 95 %"] == "0.20\N{EN DASH}0.35"
    first, _ = columns(page.tables["A_measures"])
    assert first["Drop, 95 %"] == "0.20\N{EN DASH}0.30"
    (first,) = columns(page.tables["A_random_weights"])
    assert (first["SSIM"], first["Rank, another clip"], first["Top 10 %"]) == (0.9, 0.2, 0.7)
    assert {line["Score"] for line in columns(page.tables["A_areas"])} == {"probability", "logit"}


def test_the_figures_are_of_probability_and_logit(page):
    (section,) = [part for part in page.sections if part.title == "A: explanations"]
    names = [figure.path.name for figure in section.figures]
    assert {"A_deletion_both.png", "A_deletion_both_logit.png"} <= set(names)
    assert "whose probability falls by less than 0.05" in section.tables[0].notes[0]


def test_the_paragraph_at_the_top_has_every_finding(page):
    first, _ = page.summary.split(" B has an accuracy")
    assert first == (
        "A has an accuracy of 0.90 (0.80 to 1.00). Grad-CAM conv1 explains it best in space and time, with a gain of "
        "0.60 (0.50 to 0.70). Follows the weights: partly. Its probabilities were not measured."
    )
    assert "3 test clips of classes that A lacks are left out" in page.facts["data"]


def test_what_cannot_be_computed_is_said_with_its_reason(tmp_path):
    found = results()
    found["models"]["A"]["explanations"] |= {
        "not_defined": {"3DCAM": "no tap"},
        "randomization_not_measured": "a reason",
    }
    del found["models"]["B"]["explanations"], found["models"]["A"]["explanations"]["randomization"]
    found["models"]["B"]["explanations_not_measured"] = {"Grad-CAM": "no layer"}
    seen = trust.page(found, tmp_path)
    texts = {part.title: part.text for part in seen.sections}
    assert (
        "3DCAM is left out: no tap. Whether maps change with other weights was not measured: a reason."
        in (texts["A: explanations"])
    )
    assert texts["B: explanations"] == "Grad-CAM is left out: no layer."
    assert "No explanation can be computed for it." in seen.summary


def test_of_saved_models_the_training_clips_are_not_known():
    found = results(trained=False, may_have_trained_on_these=True)
    line, card = trust.parts_line(found), text_of(trust.cards(found))
    assert line.startswith("The training clips are not known; 40 of the clips are test clips")
    for text in (line, card):
        assert "A may have been trained on some of these clips" in text
        assert "160" not in text and "sibling" not in text and "best epoch" not in text
    assert "Its training clips are not known" in card
    assert "all clips are test clips" in trust.parts_line(found | {"split": None})
    here = results()
    assert "0 of 40 test clips" in trust.parts_line(here) and "160 training" in text_of(trust.cards(here))
