"""The classification report against numbers worked out by hand."""

import json

import numpy as np
import pytest

from har_tf.evaluate import classification


def certain(labels, classes):
    """Probabilities that put 0.9 on the given labels."""
    rest = 0.1 / (classes - 1)
    return np.where(np.eye(classes)[labels] > 0, 0.9, rest)


def test_scores_of_three_classes():
    result = classification.report([0, 0, 0, 1, 1, 2], certain([0, 0, 1, 1, 2, 2], 3), ["a", "b", "c"])
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert result.clips == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.precision == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result.recall == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result.f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert result.absent == ()
    rows = [(row.name, row.support, row.predicted) for row in result.per_class]
    assert rows == [("a", 3, 2), ("b", 2, 2), ("c", 1, 2)]
    assert [row.recall for row in result.per_class] == pytest.approx([2 / 3, 1 / 2, 1])


def test_wilson_interval_of_eight_in_ten():
    # (0.8 + z2 / 20 -+ z sqrt(0.8 * 0.2 / 10 + z2 / 400)) / (1 + z2 / 10), z = 1.959964, z2 = 3.841459
    result = classification.report([0] * 5 + [1] * 5, certain([0] * 4 + [1] + [1] * 4 + [0], 2), ["a", "b"])
    assert result.accuracy == 0.8
    assert result.accuracy_interval == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_interval_stays_within_zero_and_one():
    perfect = classification.report([0, 1] * 5, certain([0, 1] * 5, 2), ["a", "b"])
    # z2 / (n + z2) of the interval lies below 1 where all of n clips are right.
    assert perfect.accuracy_interval == pytest.approx((10 / 13.841459, 1), abs=1e-6)
    wrong = classification.report([0, 1] * 5, certain([1, 0] * 5, 2), ["a", "b"])
    assert wrong.accuracy_interval == pytest.approx((0, 3.841459 / 13.841459), abs=1e-6)
    assert wrong.precision == wrong.recall == wrong.f1 == 0


def test_model_that_always_answers_the_same_class():
    # As VGG16 in the paper's Table 1: ten classes of two clips, all called class 3.
    result = classification.report(np.repeat(np.arange(10), 2), certain([3] * 20, 10), list("abcdefghij"))
    assert result.accuracy == result.recall == pytest.approx(0.1)
    assert result.precision == pytest.approx(0.1 / 10)
    assert result.f1 == pytest.approx((2 * 0.1 * 1 / 1.1) / 10)
    assert result.per_class[0].precision == 0  # never predicted, but in the test set


def test_absent_class_enters_no_average():
    result = classification.report([0, 0, 1], certain([0, 2, 1], 3), ["a", "b", "c"])
    assert result.absent == ("c",)
    assert result.precision == pytest.approx(1)
    assert result.recall == pytest.approx((1 / 2 + 1) / 2)
    assert result.f1 == pytest.approx((2 / 3 + 1) / 2)
    missing = result.per_class[2]
    assert (missing.support, missing.predicted) == (0, 1)
    assert missing.precision is missing.recall is missing.f1 is None
    assert result.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_top_five_counts_the_fifth_and_not_the_sixth():
    falling = np.array([7, 6, 5, 4, 3, 2, 1]) / 28
    result = classification.report([0, 4, 5], np.tile(falling, (3, 1)), list("abcdefg"))
    assert result.top_k == 5
    assert result.top5 == pytest.approx(2 / 3)
    assert result.accuracy == pytest.approx(1 / 3)


def test_top_five_of_few_classes_is_their_number():
    result = classification.report([0, 1], certain([1, 0], 2), ["a", "b"])
    assert (result.top_k, result.top5) == (2, 1)


def test_ties_go_to_the_first_class():
    result = classification.report([0, 4, 5, 9], np.full((4, 10), 0.1), list("abcdefghij"))
    assert result.confusion[:, 0].sum() == 4
    assert result.accuracy == 1 / 4
    assert result.top5 == 2 / 4


def test_report_goes_through_json():
    result = classification.report([0, 0, 1], certain([0, 2, 1], 3).astype("float32"), ["a", "b", "c"])
    plain = result.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert plain["class_names"] == ["a", "b", "c"]
    assert plain["accuracy_interval"] == list(result.accuracy_interval)
    assert plain["per_class"][0] == {
        "name": "a",
        "support": 2,
        "predicted": 1,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }


GOOD = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("y_true", "probabilities", "class_names", "message"),
    [
        ([], np.zeros((0, 2)), ["a", "b"], r"y_true must be one label a clip.*\(0,\)"),
        ([[1, 0], [0, 1]], GOOD, ["a", "b"], r"y_true must be one label a clip.*\(2, 2\)"),
        ([0.0, 1.0], GOOD, ["a", "b"], "y_true must be integer labels.*float64"),
        ([0, 2], GOOD, ["a", "b"], r"y_true must lie in 0 to 1.*\[2\]"),
        ([0, -1], GOOD, ["a", "b"], r"y_true must lie in 0 to 1.*\[-1\]"),
        ([0, 1, 1], GOOD, ["a", "b"], r"shape \(3, 2\).*\(2, 2\)"),
        ([0, 1], GOOD, ["a", "b", "c"], r"shape \(2, 3\).*\(2, 2\)"),
        ([0, 1], [[0.9, 0.1], [np.nan, 0.8]], ["a", "b"], "finite.*row 1"),
        ([0, 1], [[0.9, 0.1], [7.5, -3.0]], ["a", "b"], "not logits.*row 1.*minimum -3 and sum 4.5"),
        ([0, 1], [[1.2, -0.2], [0.5, 0.5]], ["a", "b"], "non-negative.*row 0"),
        ([0, 1], GOOD, ["a", "a"], r"Received twice: \['a'\]"),
        ([0, 0], [[1.0], [1.0]], ["a"], "at least two classes"),
        ([0, 1], GOOD, "ab", "sequence of names.*'ab'"),
    ],
)
def test_what_does_not_fit_is_refused(y_true, probabilities, class_names, message):
    with pytest.raises(ValueError, match=message):
        classification.report(y_true, probabilities, class_names)
