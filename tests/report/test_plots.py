"""Plots are checked through what is drawn: data of lines, cells, bars and pictures, and written pixels."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from har_tf.report import plots

HISTORY = {
    "loss": [2.0, 1.0, 0.5],
    "val_loss": [2.2, 1.4, float("nan")],
    "accuracy": [0.2, 0.6, 0.8],
    "val_accuracy": [0.1, 0.5, 0.7],
    "learning_rate": [1e-3, 1e-3, 1e-4],
}
LONG_NAMES = ["TrampolineJumping", "HandstandPushups", "BasketballDunk", "walk_forward"]


def figure_of(draw, *arguments, **named):
    """The figure that a function of `plots` draws, before it is written."""
    return draw.__wrapped__(*arguments, path=None, **named)


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def whole_ticks(figure):
    figure.canvas.draw()
    low, high = figure.axes[0].get_xlim()
    return [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]


def all_within(figure):
    """Whether everything that is drawn, text above all, lies inside the figure (in inches)."""
    figure.canvas.draw()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_curves_draw_every_epoch_of_both_parts():
    loss, accuracy = figure_of(plots.curves, {"CNN-GRU": HISTORY}).axes
    assert (loss.get_title(), accuracy.get_title()) == ("Loss", "Accuracy")
    assert lines(loss)["CNN-GRU, training"] == [[1, 2.0], [2, 1.0], [3, 0.5]]
    assert lines(loss)["CNN-GRU, validation"][:2] == [[1, 2.2], [2, 1.4]]
    assert lines(accuracy) == {
        "CNN-GRU, training": [[1, 0.2], [2, 0.6], [3, 0.8]],
        "CNN-GRU, validation": [[1, 0.1], [2, 0.5], [3, 0.7]],
    }
    assert loss.get_ylim()[0] == 0
    assert accuracy.get_ylim()[1] > 1


def test_curves_of_several_models_differ_in_colour_and_marker_and_are_named():
    figure = figure_of(plots.curves, {"one": HISTORY, "two": {"loss": [3.0, 2.0, 1.0, 0.5]}})
    first, _, second, _ = figure.axes[0].lines
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert second.get_xdata().tolist() == [1, 2, 3, 4]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["training", "validation", "one", "two"]
    assert all_within(figure)


@pytest.mark.parametrize("epochs", [1, 2, 20, 137])
def test_epochs_are_whole_numbers(epochs):
    figure = figure_of(plots.curves, {"m": {"loss": np.linspace(2, 1, epochs)}})
    ticks = whole_ticks(figure)
    assert ticks
    assert all(tick == int(tick) and 0 <= tick <= epochs + 4 for tick in ticks)
    assert max(ticks) > epochs / 2


def test_single_epoch_is_visible():
    figure = figure_of(plots.curves, {"m": {key: values[:1] for key, values in HISTORY.items()}})
    assert whole_ticks(figure) == [1]
    for axes in figure.axes:
        for line in axes.lines:
            assert line.get_marker() != "None"
            assert line.get_markersize() > 0
            value = line.get_ydata()[0]
            low, high = axes.get_ylim()
            assert low < value < high


def test_a_metric_of_several_networks_is_the_mean_over_their_runs():
    runs = {
        "GoogLeNet": [{"val_accuracy": [0.2, 0.5, 0.6]}, {"val_accuracy": [0.4, 0.5]}],
        "Fusion-GRU": [{"val_accuracy": [0.1, 0.9]}],
    }
    figure = figure_of(plots.metric_by_epoch, runs, "val_accuracy")
    (axes,) = figure.axes
    assert lines(axes) == {
        "GoogLeNet": [[1, pytest.approx(0.3)], [2, 0.5]],  # the third epoch only one run reached
        "Fusion-GRU": [[1, 0.1], [2, 0.9]],
    }
    (band,) = axes.collections  # of the network with two runs: sample deviation of 0.2 and 0.4 is 0.1414
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    assert (low, high) == pytest.approx((0.3 - 0.02**0.5, 0.5))
    assert axes.get_ylabel() == "Validation accuracy"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)
    assert whole_ticks(figure) == [1, 2]
    assert all_within(figure)


def test_a_run_without_the_metric_is_refused(tmp_path):
    for runs in ({}, {"m": []}, {"m": [{"loss": [1.0]}, {"val_loss": [1.0]}]}):
        with pytest.raises(ValueError, match="Received"):
            plots.metric_by_epoch(runs, "val_loss", tmp_path / "m.png")
    assert figure_of(plots.metric_by_epoch, {"m": [{"loss": [1.0]}]}, "loss").axes[0].get_ylabel() == "Training loss"
    assert not list(tmp_path.iterdir())


def test_a_flat_loss_stands_below_the_upper_edge():
    (axes,) = figure_of(plots.metric_by_epoch, {"m": [{"loss": [2.303, 2.302, 2.303]}]}, "loss").axes
    low, high = axes.get_ylim()
    assert low == 0
    assert high > 1.02 * 2.303


def test_threshold_curves_have_a_scale_of_their_own_and_dashed_controls():
    curves = {"3DCAM layer 1": [0.0, 0.2, 0.4], "Control: uniform": [0.0, 0.0, 0.0]}
    figure = figure_of(plots.threshold_curves, curves, [0, 0.5, 1], label="Box accuracy", controls=["Control: uniform"])
    (axes,) = figure.axes
    assert lines(axes)["3DCAM layer 1"] == [[0, 0], [0.5, 0.2], [1, 0.4]]
    assert [line.get_linestyle() for line in axes.lines] == ["-", ":"]
    assert (axes.get_ylim(), axes.get_ylabel()) == ((0, pytest.approx(0.42)), "Box accuracy")
    assert all_within(figure)


def test_courses_are_drawn_over_the_spans_of_their_class():
    row = {"class": "wave", "seconds": [0, 1, 2], "spans": [[0.5, 1.5]], "curves": {"map": [0, 1, 0.5]}}
    figure = figure_of(plots.courses, [row, row | {"class": "clap", "spans": []}])
    first, second = figure.axes
    assert lines(first)["map"] == [[0, 0], [1, 1], [2, 0.5]]
    assert [patch.get_x() for patch in first.patches] == [0.5] and not second.patches
    assert (first.get_title("left"), second.get_title("left")) == ("wave", "clap")
    assert all_within(figure)


def test_confusion_matrix_is_coloured_by_row_and_annotated_with_counts():
    axes, bar = figure_of(
        plots.confusion_matrix, [[3, 1, 0], [0, 2, 0], [0, 0, 0]], ["a", "b", "c"], title="Figure 5"
    ).axes
    shares = axes.collections[0].get_array().reshape(3, 3)
    assert shares[:2].tolist() == [[0.75, 0.25, 0], [0, 1, 0]]
    assert shares.mask[2].all()  # no clips of this class: grey, not "0 %"
    counts = {text.get_position(): text.get_text() for text in axes.texts if text.get_text()}
    assert counts == {(0.5, 0.5): "3", (1.5, 0.5): "1", (1.5, 1.5): "2"}
    assert axes.get_ylim() == (3, 0)  # the first class at the top
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
        "Predicted class",
        "True class",
        "Figure 5",
    )
    assert axes.collections[0].get_clim() == (0, 1)
    assert "Share" in bar.get_ylabel()


def test_confusion_matrix_of_101_classes_names_all_and_annotates_none():
    names = [f"{LONG_NAMES[i % 4]}{i}" for i in range(101)]
    figure = figure_of(plots.confusion_matrix, 2 * np.eye(101, dtype=int), names, title="UCF101")
    axes = figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        ticks = axis.get_major_ticks()
        assert [tick.label1.get_text() for tick in ticks] == [tick.label2.get_text() for tick in ticks] == names
        assert all(tick.label1.get_visible() and tick.label2.get_visible() for tick in ticks), "on both sides"
    assert not axes.texts
    assert all_within(figure)
    boxes = [tick.label1.get_window_extent() for tick in axes.yaxis.get_major_ticks()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))
    assert axes.yaxis.get_major_ticks()[0].label1.get_fontsize() >= 8


def test_one_clip_in_forty_is_seen_among_101_classes():
    """The colour of a share of 2.5 % lies well away from that of nothing."""
    counts = 40 * np.eye(101, dtype=int)
    counts[0, :2] = (39, 1)
    colours = figure_of(plots.confusion_matrix, counts, [f"c{i}" for i in range(101)]).axes[0].collections[0]
    scale = colours.get_cmap()(colours.norm([0, 1 / 40, 1]))
    assert np.abs(scale[1] - scale[0])[:3].max() > 0.1
    assert np.abs(scale[2] - scale[0])[:3].max() > 0.8


def test_counts_are_annotated_up_to_twenty_classes():
    for classes, annotated in ((20, True), (21, False)):
        axes = figure_of(plots.confusion_matrix, np.eye(classes, dtype=int), [str(i) for i in range(classes)]).axes[0]
        assert bool(axes.texts) == annotated


@pytest.mark.parametrize("title", ["Short", "A title that is far too long for a matrix of so few classes, " * 3])
def test_confusion_matrix_is_written_without_cutting_text(tmp_path, title):
    path = plots.confusion_matrix(np.eye(4, dtype=int), LONG_NAMES, tmp_path / "cm.png", title)
    pixels = np.asarray(Image.open(path).convert("L"))
    # Nothing is drawn within the white margin of a tenth of an inch at 150 dpi.
    border = np.concatenate(
        [pixels[:12].ravel(), pixels[-12:].ravel(), pixels[:, :12].ravel(), pixels[:, -12:].ravel()]
    )
    assert border.min() == 255
    assert pixels.min() < 60


CONCEPTS = {
    "stage 1": {"ball": (0.6, 0.1), "limb": (0.45, 0.3), "random": (0.5, 0.05)},
    "stage 4": {"ball": (1.0, 0.0), "limb": (0.0, 0.2), "random": (0.9, 0.3)},
}


def test_concept_bars_show_scores_by_layer_and_mark_what_is_not_significant():
    tested = {"stage 1": {"ball": False, "limb": False}, "stage 4": {"ball": True, "limb": False}}
    figure = figure_of(plots.concept_bars, CONCEPTS, significant=tested, title="Figure 8")
    axes = figure.axes[0]
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches]
    third = 0.8 / 3
    assert [place for place, _ in bars] == pytest.approx([-third, 0, third, 1 - third, 1, 1 + third])
    assert [height for _, height in bars] == [0.6, 0.45, 0.5, 1, 0, 0.9]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [True, True, False, False, True, False]
    assert [round(text.get_position()[0], 3) for text in axes.texts] == [-0.267, 0, 1]
    assert {text.get_text() for text in axes.texts} == {"n.s."}
    assert [bar.get_edgecolor() for bar in axes.patches[:3]] == [bar.get_edgecolor() for bar in axes.patches[3:]]
    ends = [line.get_segments()[0][:, 1].tolist() for line in axes.collections]
    assert ends[1] == pytest.approx([0.15, 0.75])
    assert ends[4:] == [pytest.approx([0, 0.2]), pytest.approx([0.6, 1])]  # no further than a score can go
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["stage 1", "stage 4"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["ball", "limb", "random", "n.s.: not significant", "indifferent"]
    assert all_within(figure)


def test_concept_bars_of_what_was_not_tested_and_has_no_spread():
    many = {f"a concept of a long name {i}": (0.1 * i, None) for i in range(7)}
    figure = figure_of(plots.concept_bars, {"layer1": many, "layer2": {"a concept of a long name 3": (1.0, None)}})
    axes = figure.axes[0]
    assert len(axes.patches) == 8 and not axes.texts and not axes.collections
    assert axes.get_ylabel() == "TCAV score"
    assert len(figure.legends[0].get_texts()) == 8
    assert all_within(figure)


def clip(value, frames=3, height=8, width=12):
    """Frames of one colour each: `value`, `value` + 10, ..."""
    levels = value + 10 * np.arange(frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (frames, height, width, 3))


def colours(figure):
    """Of the first pixel of each picture."""
    return [image.get_array()[0, 0, 0] for image in figure.artists]


def test_frame_strip_shows_each_row_under_its_text():
    figure = figure_of(
        plots.frame_strip,
        [("Bowling -> CricketBowling 0.61", clip(0)), ("", clip(100)), ("Billiards", clip(200, height=4))],
        title="Figure 8",
    )
    assert colours(figure) == [0, 10, 20, 100, 110, 120, 200, 210, 220]
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["Figure 8", "Bowling -> CricketBowling 0.61", "Billiards", "t=0", "t=1", "t=2"]
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    places = [image.get_window_extent().transformed(figure.transFigure.inverted()) for image in figure.artists]
    tops, bottoms = [place.y1 for place in places], [place.y0 for place in places]
    assert heights["Figure 8"] > heights["Bowling -> CricketBowling 0.61"] > tops[0]
    assert bottoms[3] > heights["Billiards"] > tops[6]
    assert bottoms[8] > heights["t=2"] > 0
    ratios = [image.get_window_extent().width / image.get_window_extent().height for image in figure.artists]
    assert ratios == pytest.approx([12 / 8] * 6 + [12 / 4] * 3, rel=0.01)
    assert all_within(figure)


def test_text_over_a_single_frame_makes_the_strip_wider():
    text = "TrampolineJumping -> HandstandPushups 0.61, much wider than the only frame below"
    figure = figure_of(plots.frame_strip, [(text, clip(0, frames=1))], title=text)
    assert all_within(figure)
    assert figure.artists[0].get_window_extent().width == pytest.approx(1.3 * 150, rel=0.01)


def test_long_clips_are_thinned_under_their_true_numbers():
    frames = clip(0, frames=21)
    figure = figure_of(plots.frame_strip, [("a", frames)], max_frames=5)
    assert [text.get_text() for text in figure.texts[1:]] == ["t=0", "t=5", "t=10", "t=15", "t=20"]
    assert colours(figure) == [0, 50, 100, 150, 200]
    assert len(figure_of(plots.frame_strip, [("a", frames)], max_frames=21).artists) == 21


def test_written_strip_holds_the_colours_of_the_frames(tmp_path):
    red, green = np.zeros((2, 1, 8, 12, 3), np.uint8)
    red[..., 0] = green[..., 1] = 255
    path = plots.frame_strip(
        [("", np.concatenate([red, green])), ("", np.concatenate([green, red]))], tmp_path / "s.png"
    )
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    # Two frames of 1.3 inches, a gap of 0.05 between and 0.1 around them, at 150 dots an inch.
    assert width == pytest.approx((2 * 1.3 + 0.05 + 0.2) * 150, abs=3)
    assert pixels[60, width // 4].tolist() == [255, 0, 0]
    assert pixels[60, 3 * width // 4].tolist() == [0, 255, 0]
    assert pixels[220, width // 4].tolist() == [0, 255, 0]
    assert pixels[220, 3 * width // 4].tolist() == [255, 0, 0]
    assert height > 2 * 130


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_plots_are_written_in_the_format_of_their_name(tmp_path, ending):
    path = plots.curves({"m": HISTORY}, tmp_path / "figures" / f"curves.{ending}")
    assert list(path.parent.iterdir()) == [path]
    content = path.read_bytes()
    assert {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<svg"}[ending] in content[:1000]
    if ending == "png":
        with Image.open(path) as picture:
            assert picture.size[0] == pytest.approx(10.2 * 150, rel=0.03)
            assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_a_callers_settings_are_neither_used_nor_changed(tmp_path):
    plain = plots.curves({"m": HISTORY}, tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.dpi": 20}):
        before = dict(matplotlib.rcParams)
        assert plots.curves({"m": HISTORY}, tmp_path / "dark.png").read_bytes() == plain
        plots.confusion_matrix([[1, 0], [0, 1]], ["a", "b"], tmp_path / "cm.png")
        plots.curves({"m": HISTORY}, tmp_path / "bars.png")
        plots.concept_bars(CONCEPTS, tmp_path / "concepts.png")
        plots.frame_strip([("a", clip(0))], tmp_path / "strip.png")
        assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: plots.curves({}, path), "at least one model"),
        (lambda path: plots.curves({"m": {"lr": [1]}}, path), r"history of 'm'.*\['lr'\]"),
        (lambda path: plots.curves({"m": {"loss": []}}, path), "must hold epochs"),
        (lambda path: plots.curves({"m": HISTORY}, path.with_suffix(".bmp")), r"end in one of .png.*\.bmp"),
        (lambda path: plots.threshold_curves({}, [0, 1], path, "Box accuracy"), "at least one method"),
        (lambda path: plots.courses([], path), "at least one course"),
        (lambda path: plots.confusion_matrix([[1, 2]], ["a", "b"], path), r"shape \(2, 2\).*\(1, 2\)"),
        (lambda path: plots.confusion_matrix([[0.5, 0], [0, 1]], ["a", "b"], path), "counts.*float64"),
        (lambda path: plots.confusion_matrix([[-1, 0], [0, 1]], ["a", "b"], path), "counts.*minimum -1"),
        (lambda path: plots.concept_bars({}, path), "at least one concept at one layer"),
        (lambda path: plots.concept_bars({"l": {}}, path), "at least one concept"),
        (lambda path: plots.concept_bars({"l": {"c": (1.2, None)}}, path), r"'l', 'c': \(1.2, None\)"),
        (lambda path: plots.concept_bars({"l": {"c": (0.5, -1)}}, path), r"\(0.5, -1\)"),
        (lambda path: plots.concept_bars(CONCEPTS, path, {"stage 1": {"bat": True}}), "'stage 1', 'bat'"),
        (lambda path: plots.concept_bars(CONCEPTS, path, {"stage 2": {"ball": True}}), "'stage 2', 'ball'"),
        (lambda path: plots.sheet([("a", [])], path), "rows of one picture or more"),
        (lambda path: plots.frame_strip([], path), "at least one"),
        (lambda path: plots.frame_strip([("a", clip(0)), ("b", clip(0, 2))], path), r"\[3, 2\]"),
        (
            lambda path: plots.frame_strip([("a", clip(0).astype(float))], path),
            "row 0 must be uint8.*float64",
        ),
        (lambda path: plots.frame_strip([("a", clip(0)[0])], path), r"row 0 must be uint8.*\(8, 12, 3\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_written(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_names_with_a_dollar_are_no_formulas(tmp_path):
    names = ["$\\frac$", "<b> $x"]
    assert plots.confusion_matrix([[1, 2], [3, 4]], names, tmp_path / "matrix.png").is_file()
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    assert plots.frame_strip([("$\\bad$", frames)], tmp_path / "strip.png", "$\\title$").is_file()
