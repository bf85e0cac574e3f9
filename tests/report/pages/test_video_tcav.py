"""What the page of Video-TCAV says of numbers."""

import pytest

from har_tf.concepts.study import FURTHER
from har_tf.report.pages.video_tcav import _review_line, _table_of_tests, findings

VERDICTS = ("Significant by t-test", "By both tests")


def results_of(criterion):
    """Of a run: what passes by both tests, what by the t-test alone, and what is too small for both."""

    def tested(t_test, by_both, random=False):
        numbers = {"score": 0.9, "random_mean": 0.5, "permutation_corrected": 0.01, "accuracy": None, "hypotheses": 3}
        significant = bool(by_both) if criterion == "both" else t_test < 0.05
        verdicts = {"by_both": by_both, "significant": significant, "random": random}
        return numbers | {"t_test_corrected": t_test, "level": 0.05} | verdicts

    return {
        "target": "throw",
        "model": {"accuracy": None},
        "reversal": None,
        "missing": {},
        "changes": [],
        "settings": {"resamples": 0, "num_random": 10, "level": 0.05, "criterion": criterion},
        "taps": ["layer1"],
        "tests": {
            "dynamic": {
                "layer1": {
                    "ball": tested(0.001, True),
                    "limb": tested(0.02, False),
                    FURTHER: tested(0.01, None, random=True),
                }
            }
        },
    }


def test_findings_tell_what_the_other_criterion_would_claim():
    assert findings(results_of("both")) == [
        "Tests of dynamic concepts: 1 of 2 are significant (ball at layer1); a further random set is nowhere "
        "significant, as it should be. By the paper's t-test alone it would be 2 of 2, and the random set at 1 of 1 "
        "layers."
    ]
    assert findings(results_of("t-test")) == [
        "Tests of dynamic concepts by the t-test alone, as in the paper: 2 of 2 are significant (ball at layer1, limb "
        "at layer1); a further random set is significant at layer1. By both tests, the t-test and the permutation "
        "test, it would be 1 of 2, and the random set at 0 of 1 layers."
    ]


@pytest.mark.parametrize("criterion", ["both", "t-test"])
def test_both_verdicts_are_in_the_table_whichever_decides(criterion):
    results = results_of(criterion)
    found = _table_of_tests(results, "dynamic", results["tests"]["dynamic"], [])
    verdicts = [[str(row[found.columns.index(name)]) for name in VERDICTS] for row in found.rows]
    assert verdicts == [["yes", "yes"], ["yes", "no"], ["yes", "None"]]
    assert f"criterion is {'both tests' if criterion == 'both' else 'the t-test alone'}." in found.notes[0]
    assert "no verdict by both, the clips are too few" in found.notes[0]
    # Runs of before the option hold the verdict by both alone.
    old = results_of("both")
    del old["settings"]["criterion"]
    for row in old["tests"]["dynamic"]["layer1"].values():
        del row["by_both"]
    table = _table_of_tests(old, "dynamic", old["tests"]["dynamic"], [])
    assert [row[table.columns.index(VERDICTS[1])] for row in table.rows] == ["yes", "no", "no"]


def changed(figure, name, low, high, layers=("layer1", "layer4"), minus=None, concept=None):
    return {
        "figure": figure,
        "what": name,
        "minus": minus or name,
        "concept": concept,
        "between": list(layers),
        "value": (low + high) / 2,
        "interval": [low, high],
    }


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([(0.1, 0.4), (0.2, 0.3)], "So dynamic concepts gain importance with depth, as the paper found."),
        ([(0.1, 0.4), (-0.2, 0.3)], "appears for ball, and not for limb."),
        ([(-0.1, 0.4), (-0.3, -0.1)], "does not appear."),
    ],
)
def test_findings_claim_what_the_intervals_allow(spans, said):
    results = {
        "target": "throw",
        "model": {"accuracy": None},
        "tests": {},
        "reversal": None,
        "missing": {},
        "settings": {"resamples": 100},
        "taps": ["layer1", "layer4"],
        "changes": [
            *(changed(8, name, *span) for name, span in zip(("ball", "limb"), spans, strict=True)),
            changed(8, "random", -0.5, -0.2),
            changed(9, "ball, dynamic", 0.1, 0.9, ("layer4", "layer4"), "ball, static", "ball"),
        ],
    }
    told = findings(results)
    assert told[1].endswith(said)
    assert "random falls (-0.35; -0.50 to -0.20)" in told[0]
    assert told[2] == "Shown side by side at layer4, ball: dynamic beats static (+0.50; +0.10 to +0.90)."


@pytest.mark.parametrize(
    ("left", "said"),
    [(0, "reviewed, as concepts.html"), (3, "3 of them to be reviewed on concepts.html"), (None, "to be reviewed on")],
)
def test_a_reader_is_told_whether_somebody_has_looked_at_the_concepts(left, said):
    assert _review_line({"clips": {} if left is None else {"undecided": left}}).startswith(said)
