"""The page of a run on untrimmed video: what it says of numbers, and of none."""

import pytest

from har_tf.report.pages.cam3d_untrimmed import findings, tables


def mean(value, low=None, high=None):
    return {"value": value, "interval": None if low is None else (low, high), "count": 7}


@pytest.fixture
def results():
    empty = {"inside": mean(0.0), "across": mean(0.25), "outside": None}
    about = {"method": "Sum 3DCAM", "empty": empty}
    return {
        "windows": {
            "inside": {"windows": 10, "right": mean(0.9, 0.8, 1.0), "probability": mean(0.95)},
            "across": {"windows": 4, "right": mean(0.5), "probability": mean(0.6)},
            "outside": {"windows": 0, "right": None, "probability": None},
        },
        "most_frequent": 0.2,
        "ranks": [
            about | {"rank": "first", "probability": mean(0.9), "cosine": mean(1.0), "in_box": mean(0.4, 0.3, 0.5)},
            about | {"rank": "against the first", "probability": None, "cosine": None, "in_box": None},
        ],
        "box": mean(0.22),
        "sides": [
            {"method": "Sum 3DCAM", "frames": mean(0.5), "evidence": mean(0.7), "more": mean(0.2, 0.1, 0.3)},
            {"method": "Grad-CAM", "frames": None, "evidence": None, "more": None},
        ],
        "when": [{"name": "Sum 3DCAM", **mean(0.8, 0.7, 0.9)}, {"name": "Grad-CAM"}],
        "classes": [
            {"name": "wave", "videos": 2, "answered": 3, "when": {"Sum 3DCAM": mean(0.8), "Grad-CAM": None}},
            {"name": "clap", "videos": 0, "answered": 0, "when": {"Sum 3DCAM": None, "Grad-CAM": None}},
        ],
    }  # fmt: skip


def cells(table, column):
    return [row[list(table.columns).index(column)] for row in table.rows]


def test_tables_show_the_numbers_and_leave_empty_what_was_not_measured(results):
    made = tables(results)
    assert list(made) == ["windows", "ranks", "sides", "when", "classes"]
    assert cells(made["windows"], "Right") == [0.9, 0.5, None]
    assert cells(made["ranks"], "Empty across") == [0.25, 0.25] and cells(made["ranks"], "Empty outside") == [
        None,
        None,
    ]
    assert cells(made["ranks"], "On the person") == [0.4, None]
    assert cells(made["sides"], "Windows") == [7, 0]
    assert cells(made["when"], "When") == [0.8, None]
    assert cells(made["classes"], "Class") == ["wave"]
    assert "of a uniform map it is 0.220" in " ".join(made["ranks"].notes)
    results["box"] = None
    assert "On the person" not in tables(results)["ranks"].columns


def test_what_was_found_is_said_with_its_control(results):
    said = " ".join(findings(results))
    assert "90.0% of the windows inside an action are answered right" in said
    assert "most frequent class would be right in 0.200 of the 10 windows" in said
    assert "Sum 3DCAM lies more on the right side of a cut than chance (+0.200; 0.100" in said
    assert "Where nothing is done" not in said and "Grad-CAM" not in said
    results["sides"][0]["more"] = mean(0.1)
    results["windows"]["outside"] = {"windows": 2, "right": None, "probability": mean(0.5)}
    said = " ".join(findings(results))
    assert "is not shown to lie on the right side of a cut (+0.100; one video, so no interval)" in said
    assert "the answer's probability is 0.50 on average, inside an action 0.95" in said
