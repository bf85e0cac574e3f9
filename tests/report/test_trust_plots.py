"""What the figures of trust show, read from the figures themselves."""

import pytest
from PIL import Image

from har_tf.report import trust_plots


def test_a_cell_has_its_number_and_its_mark_and_one_without_is_grey():
    figure = trust_plots.grid.__wrapped__(
        [[0.5, None], [-0.25, 1.0]], ["a", "b"], ["x", "y"], None, "share", [["*", ""], ["", "†"]], (-1, 1), True
    )
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.50*", "-0.25", "1.00†"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="at least one cell"):
        trust_plots.grid.__wrapped__([], [], [], None, "share")


def test_controls_are_grey_and_points_may_have_names():
    curves = {"Grad-CAM": [1, 0.5], "Control: noise": [1, 0.9]}
    figure = trust_plots.over.__wrapped__(
        curves, [0, 1], None, "layer", "alike", controls=["Control: noise"], names=["none", "all"]
    )
    axes = figure.axes[0]
    assert [line.get_color() == "0.35" for line in axes.lines] == [False, True]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "all"]


def test_bars_stand_from_top_to_bottom_with_their_intervals():
    figure = trust_plots.bars.__wrapped__(
        [("all", 0.9, (0.8, 1.0)), ("half", 0.5, None)], None, "right", {"chance": 0.1}
    )
    axes = figure.axes[0]
    assert [patch.get_width() for patch in axes.patches] == [0.9, 0.5]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.8, 1.0], [0.1, 0.1]]


def test_reliability_leaves_empty_bins_out(tmp_path):
    bins = [
        {"low": 0.0, "high": 0.5, "clips": 0, "confidence": None, "accuracy": None},
        {"low": 0.5, "high": 1.0, "clips": 4, "confidence": 0.9, "accuracy": 0.75},
    ]
    upper, lower = trust_plots.reliability.__wrapped__({"as trained": bins}, None).axes
    assert [patch.get_height() for patch in upper.patches] == [0.75]
    assert [patch.get_height() for patch in lower.patches] == [0, 4]
    with Image.open(trust_plots.reliability({"as trained": bins}, tmp_path / "reliability.png")) as picture:
        assert min(picture.size) > 300
