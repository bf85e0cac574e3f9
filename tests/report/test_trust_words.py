"""Sentences of trust, from numbers."""

from har_tf.report import trust_words


def of(mean, interval=None):
    return {"mean": mean, "interval": interval, "left_out": 0}


def row(name, gain, beats=False, kind="method"):
    found = {"name": name, "kind": kind, "gain": {"both": of(gain, [gain - 0.1, gain + 0.1])}}
    return found | ({"beats_controls": {"both": beats}} if kind == "method" else {})


def test_the_best_method_beats_the_controls_and_follows_the_weights():
    rows = [row("A", 0.5, True), row("B", 0.7, True), row("C", 0.9), row("Control: noise", 0.0, kind="control")]
    random = {"methods": {"A": {"outcome": "changes"}, "B": {"outcome": "unchanged"}, "C": {"outcome": "changes"}}}
    assert trust_words.best_methods(rows, "both", {}) == ["B", "A"]
    text = trust_words.explained_by({"rows": rows, "randomization": random}, "both")
    assert text == "In space and time: A, gain 0.50 (0.40 to 0.60)"


def test_where_no_method_beats_the_controls_that_is_said_with_what_came_first():
    rows = [row("A", 0.5), row("Control: noise", 0.6, kind="control")]
    assert trust_words.explained_by({"rows": rows}, "both") == (
        "In space and time: no method is shown to be better than every control; the highest gain is 0.60, of Control: "
        "noise"
    )


def test_methods_are_named_by_what_random_weights_do_to_them():
    found = {"randomization": {"methods": {"A": {"outcome": "changes"}, "Edges": {"outcome": "unchanged"}}}}
    assert trust_words.unchanged(found) == "Edges stay alike, and so do not show what was learned; A change"
    assert trust_words.unchanged({}) is None


def test_what_a_model_uses_is_one_paragraph_with_its_numbers():
    effect = {"accuracy": of(0.3), "needs": "yes"}
    reliance = {
        "clips": 50, "accuracy": of(0.9, [0.8, 1.0]),
        "verdicts": {
            "order": "yes", "order_blind": False, "motion": "yes", "sides": "no", "background": "yes",
            "worst": ["noise", "fog"],
        },
        "effects": {"shuffled": effect, "one frame": effect, "mirrored": {"accuracy": of(0.89), "needs": "no"}},
        "background": {"left": 0.61, "chance": 0.1, "clips": 40, "hole_elsewhere": of(0.85)},
    }  # fmt: skip
    assert trust_words.relied_on(reliance) == (
        "On 50 clips it is right in 0.90 (0.80 to 1.00); needs the order of frames: yes, 30 % right with frames in "
        "another order; needs motion: yes, 30 % right with one frame repeated; needs left and right as they are: no, "
        "89 % right when mirrored; reads the background: yes; 61 % of its accuracy is left without the person (chance "
        "is 10 %; with as much hidden elsewhere it is right in 85 %); corruptions cost most accuracy: noise, fog."
    )


def test_probabilities_that_could_not_be_corrected_say_why():
    before = {"accuracy": 0.9, "confidence": 0.99, "ece": {"value": 0.09}}
    text = trust_words.of_probabilities({"as_trained": before, "not_fitted": "there are no validation clips"})
    assert text == (
        "It is right in 90 % and says 99 % on average; calibration error 0.090 as trained; no temperature was fitted: "
        "there are no validation clips."
    )
