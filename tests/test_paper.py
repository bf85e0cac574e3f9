"""What a run takes, beside what a paper says: each of the four ways in which they may stand to each other."""

import pytest

from har_tf.paper import Says, Silent, as_in_paper, compare

PAPER = {
    "epochs": Says(20, "section 4.2"),
    "size": Says((128, 192), "section 3.1"),
    "frames": Says(64, "Table 2", {16: "section 4"}),
    "rows": Says("a,b", "Table 1", counts=False, why="others are not asked for"),
    "batch_size": Silent("what fits"),
    "export": None,
}
SAME = {"epochs": 20, "size": [128, 192], "frames": 64, "rows": "a,b", "batch_size": 8, "export": True, "seed": 3}


def test_only_what_the_paper_says_differently_differs():
    found = compare(PAPER, SAME)
    assert found["differs"] == [] and as_in_paper(found)
    assert found["open"] == [{"setting": "batch_size", "run": 8, "why": "what fits"}]
    both = [{"value": 64, "where": "Table 2"}, {"value": 16, "where": "section 4"}]
    assert found["readings"] == [{"setting": "frames", "paper": both, "run": 64, "counts": True, "why": None}]

    other = compare(PAPER, SAME | {"epochs": 2, "frames": 16, "size": (64, 96)})
    assert [(entry["setting"], entry["run"]) for entry in other["differs"]] == [("epochs", 2), ("size", (64, 96))]
    assert other["differs"][0]["paper"] == [{"value": 20, "where": "section 4.2"}]
    assert other["readings"][0]["run"] == 16 and not as_in_paper(other)
    assert [entry["setting"] for entry in compare(PAPER, SAME | {"frames": 8})["differs"]] == ["frames"], "neither"


def test_what_does_not_count_is_listed_and_the_run_is_as_in_the_paper():
    found = compare(PAPER, SAME | {"rows": "a"})
    assert [entry["setting"] for entry in found["differs"]] == ["rows"] and as_in_paper(found)


def test_a_setting_of_which_the_run_says_nothing_is_an_error():
    with pytest.raises(KeyError, match="epochs"):
        compare(PAPER, {name: value for name, value in SAME.items() if name != "epochs"})
