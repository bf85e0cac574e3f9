"""What the page of Video-TCAV says of numbers."""

import pytest

from har_tf.concepts.study import FURTHER
from har_tf.report.pages.video_tcav import _review_line, findings


def test_findings_tell_what_the_t_test_alone_would_claim():
    def tested(t_test, significant):
        return {"t_test_corrected": t_test, "level": 0.05, "significant": significant, "random": False}

    results = {
        "target": "throw",
        "model": {"accuracy": None},
        "reversal": None,
        "missing": {},
        "changes": [],
        "settings": {"resamples": 0},
        "taps": ["layer1"],
        "tests": {
            "dynamic": {
                "layer1": {
                    "ball": tested(0.001, True),
                    "limb": tested(0.02, False),
                    FURTHER: tested(0.01, False) | {"random": True},
                }
            }
        },
    }
    assert findings(results) == [
        "Tests of dynamic concepts: 1 of 2 are significant (ball at layer1); a further random set is nowhere "
        "significant, as it should be. By the paper's t-test alone it would be 2 of 2, and the random set at 1 of 1 "
        "layers."
    ]


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
