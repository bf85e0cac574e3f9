"""Sentences of trust, from numbers."""

import pytest

from har_tf.report import trust_words


def of(mean, interval=None, **more):
    return {"mean": mean, "interval": interval, "left_out": 0, **more}


def row(name, gain, beats=False, kind="method"):
    found = {"name": name, "kind": kind, "gain": {"both": of(gain, gain and [gain - 0.1, gain + 0.1])}}
    return found | ({"beats_controls": {"both": beats}} if kind == "method" else {})


def random_weights(**outcomes):
    return {"methods": {name: {"outcome": outcome} for name, outcome in outcomes.items()}}


ROWS = [row("A", 0.5, True), row("B", 0.7, True), row("C", 0.9), row("Control: noise", 0.0, kind="control")]


@pytest.mark.parametrize(
    ("outcome", "best"),
    [("changes", ["B", "A"]), ("partly", ["B", "A"]), (None, ["B", "A"]),
     ("unchanged", ["A"]), ("not shown", ["A"]), ("all alike", ["A"])],
)  # fmt: skip
def test_the_best_method_beats_the_controls_and_follows_the_weights(outcome, best):
    outcomes = {"A": "changes", "C": "changes"} | ({"B": outcome} if outcome else {})
    assert trust_words.best_methods(ROWS, "both", outcomes) == best
    text = trust_words.explained_by({"rows": ROWS, "randomization": random_weights(**outcomes)}, "both")
    assert ("Better than every control, but not shown to follow the weights: B" in text) == (best == ["A"])


def test_the_sentence_says_what_random_weights_do_and_that_the_best_of_several_is_optimistic():
    found = {"rows": ROWS, "randomization": random_weights(A="partly", B="not shown")}
    assert trust_words.explained_by(found, "both") == (
        "In space and time: A marks best what the model uses, with a gain of 0.50 (0.40 to 0.60), better than every "
        "control (follows the weights: partly). Better than every control, but not shown to follow the weights: B (not "
        "shown). It was chosen among 3 methods on the same clips, so its gain is optimistic: on other clips expect "
        "less."
    )
    assert "(follows the weights: not measured)" in trust_words.explained_by({"rows": ROWS}, "both")
    assert trust_words.explained_in_short(found, "both") == (
        "A explains it best in space and time, with a gain of 0.50 (0.40 to 0.60). Follows the weights: partly."
    )


def test_where_no_method_beats_the_controls_that_is_said_with_what_came_first():
    rows = [row("A", 0.5), row("Control: noise", 0.6, kind="control")]
    assert trust_words.explained_by({"rows": rows}, "both") == (
        "In space and time: no method is shown to be better than every control. The highest gain is 0.60, of Control: "
        "noise."
    )
    assert "not measured, as the probability of every clip" in trust_words.explained_by(
        {"rows": [row("A", None)]}, "both"
    )


def test_methods_are_named_by_what_random_weights_do_to_them():
    found = {"randomization": random_weights(A="changes", Edges="unchanged", B="changes")}
    assert trust_words.unchanged(found) == (
        "When the network's weights are drawn anew, maps of Edges stay alike, and so do not show what was learned. "
        "Maps of A and B change."
    )
    assert trust_words.unchanged({}) is None


def reliance(**verdicts):
    def effect(lost, verdict="not shown"):
        return {"lost": of(lost, [lost - 0.1, lost + 0.1], verdict=verdict)}

    return {
        "clips": 50, "accuracy": of(0.9, [0.8, 1.0]),
        "verdicts": {
            "order": "yes", "order_blind": False, "motion": "yes", "several_frames": "yes", "sides": "no",
            "background": "no", "robust": "no", "worst": ["noise", "fog"],
        } | verdicts,
        "effects": {
            "shuffled": effect(-0.7), "reversed": effect(-0.5, "worse"), "one frame": effect(-0.6, "worse"),
            "mirrored": effect(-0.001),
        },
        "background": {
            "accuracy": of(0.55), "other": of(0.2), "chance": 0.1, "clips": 40, "hole_elsewhere": of(0.85),
        },
        "robustness": {"all": {"lost": of(-0.25, [-0.3, -0.2])}}, "corrupted": 20,
    }  # fmt: skip


def test_what_a_model_uses_is_one_paragraph_with_its_numbers():
    assert trust_words.relied_on(reliance()) == (
        "On 50 clips its accuracy is 0.90 (0.80 to 1.00). Needs the order of frames: yes. Its accuracy changes by "
        "-0.50 (-0.60 to -0.40) when a clip is played backwards. Needs motion: yes. Its accuracy changes by -0.60 "
        "(-0.70 to -0.50) when one frame is repeated. Needs left and right as they are: no. Its accuracy changes by "
        "0.00 (-0.10 to 0.10) when clips are mirrored. Reads the background: no. Of 40 clips its accuracy is 0.55 "
        "without the person, 0.85 with as much hidden elsewhere and 0.20 with the same hole in a clip of another "
        "class, where always answering the most frequent class reaches 0.10. Robust to corruption: no. Its accuracy "
        "changes by -0.25 (-0.30 to -0.20) on 20 clips, over all. Most is lost under noise and fog."
    )
    assert trust_words.relied_in_short(reliance(robust="not measured")) == (
        "It needs the order of frames and motion. It does not need left and right as they are or read the background."
    )


@pytest.mark.parametrize("order", ["no", "not shown"])
def test_motion_is_said_to_be_needed_only_where_order_is(order):
    found = reliance(order=order)
    assert "Needs several frames: yes" in trust_words.relied_on(found)
    assert "motion" not in trust_words.relied_on(found) + trust_words.relied_in_short(found)


def test_a_background_that_was_not_measured_has_its_reason():
    found = reliance(background="not measured") | {"background": None}
    assert "not measured, as no clip has a true box" in trust_words.relied_on(found)
    found["plan"] = {"changes": ["shuffled"]}
    assert "not measured, as the change was not asked for" in trust_words.relied_on(found)
    found = reliance(background="not measured")
    found["background"]["other"] = None
    assert "not measured, as no clip of another class and recording has such a box" in trust_words.relied_on(found)


def test_probabilities_that_could_not_be_corrected_say_why():
    before = {"accuracy": 0.9, "confidence": 0.99, "clips": 50, "ece": {"value": 0.09}}
    found = {"as_trained": before, "not_fitted": "there are no validation clips"}
    assert trust_words.of_probabilities(found) == (
        "It is right in 90 % of 50 clips and gives its answers a probability of 99 % on average. Its calibration error "
        "is 0.090 as trained, and no temperature was fitted: there are no validation clips."
    )
    assert "There are no sets of classes: too few." in trust_words.of_probabilities(found | {"no_sets": "too few."})
    assert trust_words.probabilities_in_short({"not_measured": "a sigmoid"}) == "Its probabilities were not measured."
