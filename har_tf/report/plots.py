"""The papers' figures: curves, confusion matrices, frame strips, bars.

Figures are made without pyplot and under matplotlib's own defaults, so a caller's settings neither change
them nor are changed by them. Colours are told apart by colour-blind readers too. Each function writes its figure to
`path`, which ends in .png, .pdf or .svg, and returns the path; another ending is a ValueError.
"""

import functools
import inspect
import itertools
import math
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import seaborn
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox, TransformedBbox

from har_tf.explain import fonts
from har_tf.files.whole import whole_file
from har_tf.video.sampling import frame_indices

_DPI = 150
_MARKERS = "osD^vP"
_ANNOTATED = 20  # classes up to which the counts in a confusion matrix can be read
_ENDINGS = (".png", ".pdf", ".svg")


def written(draw: Callable[..., Figure]) -> Callable[..., Path]:
    """Makes a function that draws a figure one that writes it to its argument `path`; `__wrapped__` still draws."""
    signature = inspect.signature(draw)

    @functools.wraps(draw)
    def write(*arguments, **named) -> Path:
        given = signature.bind(*arguments, **named).arguments
        path, texts = given["path"], []
        given = {name: _drawable(value, texts) for name, value in given.items()} | {"path": path}
        # A name with a $ is no formula.
        look = {"text.parse_math": False, "font.family": fonts.families("".join(texts))}
        with style.context(["default", look]):
            return save(draw(**given), path)

    return write


def _drawable(value, texts: list[str]):
    """An argument with all texts in it as a picture can show them, which `texts` collects."""
    if isinstance(value, str):
        texts.append(fonts.drawable(value))
        return texts[-1]
    if isinstance(value, Mapping):
        return {_drawable(key, texts): _drawable(inner, texts) for key, inner in value.items()}
    return type(value)(_drawable(inner, texts) for inner in value) if type(value) in (list, tuple) else value


@written
def curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path) -> Figure:
    """Draws loss and accuracy by epoch, training and validation (Figure 4 of the CNN-GRU paper).

    Args:
        histories: model name -> {"loss", "val_loss", "accuracy", "val_accuracy"} -> one number an epoch, the
            first epoch first. Names that are missing are not drawn, others are ignored, NaN leaves a gap.

    Raises:
        ValueError: there is no history, or one without any loss or accuracy.
    """
    if not histories:
        raise ValueError("histories must hold at least one model. Received: {}.")
    metrics = ("loss", "accuracy")
    for name, history in histories.items():
        if not any(len(history.get(prefix + metric, ())) for metric in metrics for prefix in ("", "val_")):
            raise ValueError(
                f"the history of {name!r} must hold epochs of loss, val_loss, accuracy or val_accuracy. "
                f"Received: {sorted(history)}."
            )
    figure = new_figure(10, 4.4 + 0.22 * math.ceil((len(histories) + 2) / 5))
    looks, longest = _looks(histories), 1
    for axes, metric in zip(figure.subplots(1, 2), metrics, strict=True):
        for name, history in histories.items():
            for part, prefix, line, face in (("training", "", "--", "white"), ("validation", "val_", "-", None)):
                values = np.asarray(history.get(prefix + metric, ()), dtype=float)
                longest, label = max(longest, len(values)), f"{name}, {part}"
                _draw_epochs(axes, values, linestyle=line, markerfacecolor=face, label=label, **looks[name])
        axes.set_title(metric.capitalize())
    for axes, metric in zip(figure.axes, metrics, strict=True):
        _finish_epochs(axes, longest, metric)
    handles = [
        Line2D([], [], color="0.3", linestyle=line, marker="o", markerfacecolor=face, label=label)
        for line, face, label in (("--", "white", "training"), ("-", "0.3", "validation"))
    ]
    handles += [Line2D([], [], label=name, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
    return figure


@written
def metric_by_epoch(runs: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], metric: str, path) -> Figure:
    """Draws one metric of several networks by epoch, each as the mean of its runs (Figures 8 to 11 of Fusion-GRU).

    Args:
        runs: network -> the histories of its splits and seeds, as in `curves`. Where there are several, a band shows
            the standard deviation over them; an epoch that not all of them reached is not drawn.
        metric: such as "val_accuracy" or "val_loss".

    Raises:
        ValueError: there is no network, or a run without this metric.
    """
    if not runs:
        raise ValueError("runs must hold at least one network. Received: {}.")
    figure = new_figure(7.5, 4.6)
    axes = figure.subplots()
    longest = 1
    for (name, histories), look in zip(runs.items(), _looks(runs).values(), strict=True):
        if not histories or not all(len(history.get(metric, ())) for history in histories):
            raise ValueError(f"every run of {name!r} must hold epochs of {metric}. Received: {len(histories)} runs.")
        length = min(len(history[metric]) for history in histories)
        values = np.array([history[metric][:length] for history in histories], dtype=float)  # (runs, epochs)
        longest, mean = max(longest, length), values.mean(axis=0)
        _draw_epochs(axes, mean, label=name, **look)
        if len(values) > 1:
            spread, epochs = values.std(axis=0, ddof=1), np.arange(1, length + 1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=look["color"], alpha=0.15, linewidth=0)
    part, _, quantity = metric.rpartition("_")
    axes.set_ylabel(f"{'Validation' if part else 'Training'} {quantity}")
    _finish_epochs(axes, longest, quantity)
    figure.legend(loc="outside lower center", ncols=min(4, len(runs)), frameon=False)
    return figure


def _looks(names: Collection[str]) -> dict[str, dict]:
    """Colour and marker of each name."""
    colours = seaborn.color_palette("colorblind", len(names))
    return {
        name: {"color": colour, "marker": marker}
        for name, colour, marker in zip(names, colours, itertools.cycle(_MARKERS), strict=False)
    }


def _draw_epochs(axes, values: np.ndarray, **look) -> None:
    markersize = 4 if len(values) <= 30 else 0
    axes.plot(np.arange(1, len(values) + 1), values, markersize=markersize, linewidth=1.5, **look)


def _finish_epochs(axes, longest: int, quantity: str) -> None:
    """Whole epochs, and a scale that holds 0 for a loss, 0 and 1 for an accuracy."""
    axes.set(xlabel="Epoch", xlim=(1 - 0.03 * longest, longest + 0.03 * longest))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    # Of a flat curve far from zero the margin that matplotlib leaves is too small for a line.
    axes.set_ylim((-0.02, 1.02) if quantity == "accuracy" else (min(0, low), high + 0.03 * abs(high)))


@written
def threshold_curves(
    curves: Mapping[str, Sequence[float]],
    thresholds: Sequence[float],
    path,
    label: str,
    controls: Collection[str] = (),
) -> Figure:
    """Draws the box accuracy of several methods over the threshold that is the same for all frames.

    Args:
        curves: method -> accuracy at every threshold.
        thresholds: shares of each map's maximum.
        label: of the upright axis.
        controls: those of the methods that are dashed grey lines.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("curves must hold at least one method. Received: {}.")
    figure = new_figure(8, 5.2)
    axes = figure.subplots()
    others = [name for name in curves if name not in controls]
    for name, colour in zip(others, seaborn.color_palette("colorblind", len(others)), strict=True):
        axes.plot(thresholds, curves[name], color=colour, linewidth=1.7, label=name)
    for name, dash in zip([name for name in curves if name in controls], (":", "--", "-."), strict=False):
        axes.plot(thresholds, curves[name], dash, color="0.35", linewidth=1.4, label=name)
    axes.set(xlabel="Threshold, share of the map's maximum", ylabel=label, xlim=(0, 1))
    axes.set_ylim(0, 1.05 * max(max(values) for values in curves.values()) or 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


@written
def courses(rows: Sequence[Mapping], path) -> Figure:
    """Draws curves over the seconds of a video, one field a row, with the spans in which something is done shaded.

    Args:
        rows: each with "class", its title; "seconds" of its points; "spans", (start, end); and "curves", name -> value
            at every point.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one course. Received: none.")
    figure = new_figure(9, 1.1 * len(rows) + 0.9)
    fields = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    names = list(rows[0]["curves"])
    for axes, row in zip(fields, rows, strict=True):
        for start, end in row["spans"]:
            axes.axvspan(start, end, color="0.85", linewidth=0)
        for name, colour in zip(names, seaborn.color_palette("colorblind", len(names)), strict=True):
            axes.plot(row["seconds"], row["curves"][name], color=colour, linewidth=1.3, label=name)
        axes.set_ylim(-0.05, 1.1)
        axes.set_title(row["class"], loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    fields[-1].set(xlabel="Seconds", xlim=(rows[0]["seconds"][0], rows[0]["seconds"][-1]))
    figure.legend(*fields[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


@written
def confusion_matrix(matrix, class_names: Sequence[str], path, title: str | None = None) -> Figure:
    """Draws a confusion matrix coloured by the share of its row (Figure 5 of the CNN-GRU paper).

    Up to twenty classes the counts other than zero are written into the cells. Beyond, the colour grows with the root
    of the share, so that single clips are seen, and the names stand on all four sides. The row of a class without clips
    is grey.

    Args:
        matrix: int (C, C) counts, rows the true class, columns the predicted one.
        class_names: the C names.
        title: a line above the matrix.

    Raises:
        ValueError: `matrix` is not a square of counts, or the names are not as many as its rows.
    """
    counts = np.asarray(matrix)
    classes = len(class_names)
    if counts.shape != (classes, classes) or not classes:
        raise ValueError(
            f"matrix must have shape ({classes}, {classes}) for {classes} classes. Received: {counts.shape}."
        )
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError(
            f"matrix must hold counts (integers, none negative). Received: {counts.dtype}, minimum {counts.min()}."
        )
    clips = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(clips, 1)
    annotated = classes <= _ANNOTATED
    cell = 0.5 if annotated else 0.17
    side = max(3.0, cell * classes)
    names = 0.09 * max(map(len, class_names))
    sides = 1 if annotated else 2
    figure = new_figure(1.08 * side + sides * names + 1.4, side + sides * names + 0.9)
    axes = figure.subplots()
    axes.set_facecolor("0.88")
    seaborn.heatmap(
        shares,
        mask=np.broadcast_to(clips == 0, counts.shape),
        annot=np.where(counts > 0, counts.astype(str), "") if annotated else False,
        fmt="",
        annot_kws={"fontsize": 10},
        norm=PowerNorm(1 if annotated else 0.5, 0, 1),
        cmap="Blues",
        square=True,
        linewidths=0.5 if annotated else 0.2,
        linecolor="0.9",
        xticklabels=list(class_names),
        yticklabels=list(class_names),
        cbar_kws={"label": "Share of the true class", "format": PercentFormatter(1), "aspect": 40}
        | {"fraction": 0.05, "pad": 0.02},
        ax=axes,
    )
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    size = 10 if annotated else 8
    both = not annotated
    axes.tick_params(axis="x", labelrotation=90, labelsize=size, top=both, labeltop=both)
    axes.tick_params(axis="y", labelrotation=0, labelsize=size, right=both, labelright=both)
    if title:
        axes.set_title(_wrapped(title, figure))
    return figure


@written
def concept_bars(
    scores: Mapping[str, Mapping[str, tuple[float, float | None]]],
    path,
    significant: Mapping[str, Mapping[str, bool]] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws TCAV scores as bars, a group a layer and a colour a concept (Figures 7 to 10 of the Video-TCAV paper).

    A bar that is not significant is pale, hatched and marked "n.s."; a dashed line at 0.5 says where a class is
    indifferent to a concept.

    Args:
        scores: layer -> concept -> (score in [0, 1], standard deviation or None), such as
            `(found.relative[tap][name].mean, found.relative[tap][name].deviation)`. The layers stand in the order
            given; one that lacks a concept has a gap.
        significant: layer -> concept -> whether the score passed its tests; what is not named counts as not tested, and
            is drawn like what passed.
        title: a line above the bars.

    Raises:
        ValueError: no score to draw, one outside [0, 1], a deviation below zero, or a test of what is not drawn.
    """
    concepts = list(dict.fromkeys(name for of_layer in scores.values() for name in of_layer))
    if not concepts:
        raise ValueError(f"scores must hold at least one concept at one layer. Received: {dict(scores)}.")
    for layer, of_layer in scores.items():
        for name, (value, deviation) in of_layer.items():
            if not 0 <= value <= 1 or (deviation is not None and not deviation >= 0):
                raise ValueError(
                    "scores must be (score in [0, 1], standard deviation or None). "
                    f"Received: {layer!r}, {name!r}: ({value}, {deviation})."
                )
    for layer, tested in (significant or {}).items():
        if unknown := set(tested) - set(scores.get(layer, ())):
            raise ValueError(f"significant must name scores. Received: {layer!r}, {sorted(unknown)[0]!r}.")
    figure = new_figure(max(5.5, 1.6 + len(scores) * (0.5 + 0.42 * len(concepts))), 4.4)
    axes = figure.subplots()
    colours = seaborn.color_palette("colorblind", len(concepts))
    width = 0.8 / len(concepts)
    failed = False
    for position, (layer, of_layer) in enumerate(scores.items()):
        for name, (value, deviation) in of_layer.items():
            column = concepts.index(name)
            passed = (significant or {}).get(layer, {}).get(name, True)
            place, colour = position + (column - (len(concepts) - 1) / 2) * width, colours[column]
            axes.bar(
                place,
                value,
                0.9 * width,
                facecolor=colour if passed else (*colour, 0.2),
                edgecolor=colour,
                hatch=None if passed else "////",
                linewidth=1.2,
                clip_on=False,
                zorder=3,  # above the axis, where a bar of height zero is a line
            )
            if deviation is not None:
                # A share that is 1 in nine sets of ten has a deviation that reaches beyond 1.
                reach = [[min(deviation, value)], [min(deviation, 1 - value)]]
                axes.errorbar(place, value, reach, color="0.15", capsize=3, linewidth=1.2, zorder=4)
            if not passed:
                failed = True
                top = value + min(deviation or 0, 1 - value)
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
                axes.text(place, top + 0.02, "n.s.", ha="center", va="bottom", fontsize=9, color="0.3", bbox=box)
    handles = [Patch(color=colour, label=name) for name, colour in zip(concepts, colours, strict=True)]
    if failed:
        handles.append(Patch(facecolor="0.9", edgecolor="0.5", hatch="////", label="n.s.: not significant"))
    axes.axhline(0.5, color="0.15", linestyle="--", linewidth=1, zorder=0)
    handles.append(Line2D([], [], color="0.15", linestyle="--", linewidth=1, label="indifferent"))
    deviations = any(deviation is not None for of_layer in scores.values() for _, deviation in of_layer.values())
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set(xlim=(-0.5, len(scores) - 0.5), ylim=(0, 1.1), yticks=np.linspace(0, 1, 6), xlabel="Layer")
    axes.set_ylabel("TCAV score" + (" ± standard deviation" if deviations else ""))
    axes.spines["left"].set_bounds(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    columns = max(1, int((figure.get_figwidth() - 0.4) / (0.55 + max(text_width(h.get_label(), 10) for h in handles))))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)
    if title:
        figure.suptitle(_wrapped(title, figure))
    return figure


@written
def frame_strip(rows: Sequence[tuple[str, np.ndarray]], path, title: str | None = None, max_frames: int = 16) -> Figure:
    """Draws clips as rows of frames, such as a clip above its overlay (Figures 6 to 8 of the CNN-GRU paper).

    Args:
        rows: (text above the row, frames uint8 (T, H, W, 3)), from top to bottom; T is the same in all rows,
            H and W may differ. An empty text takes no room, so that an overlay stands close under its clip.
        title: a line above all rows.
        max_frames: of longer clips so many frames, evenly from the first to the last, are shown under their
            true numbers.

    Raises:
        ValueError: no rows, frames of another shape or type, or rows of different length.
    """
    if not rows:
        raise ValueError("rows must hold at least one (text, frames). Received: none.")
    for number, (_, frames) in enumerate(rows):
        shape, dtype = np.shape(frames), np.asarray(frames).dtype
        if len(shape) != 4 or shape[-1] != 3 or 0 in shape or dtype != np.uint8:
            raise ValueError(f"row {number} must be uint8 (T, H, W, 3). Received: {dtype} {shape}.")
    lengths = [len(frames) for _, frames in rows]
    if len(set(lengths)) > 1:
        raise ValueError(f"rows must hold the same number of frames. Received: {lengths}.")
    shown = frame_indices(lengths[0], max_frames) if lengths[0] > max_frames else range(lengths[0])
    width = 1.3
    sizes = [[(width, width * frames.shape[1] / frames.shape[2])] * len(shown) for _, frames in rows]
    pictures = [(text, [frames[index] for index in shown]) for text, frames in rows]
    return _placed(pictures, sizes, 0.05, title, [f"t={index}" for index in shown])


@written
def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path, height: float = 1.0) -> Figure:
    """Draws rows of pictures under their texts, such as a concept and some of its clips (Figures 4 and 5).

    Args:
        rows: (text, pictures uint8 (H, W, 3) of any size), from top to bottom. An empty text takes no room.
        height: of a picture, in inches.

    Raises:
        ValueError: a row without a picture, or none at all.
    """
    if not rows or not all(len(pictures) for _, pictures in rows):
        raise ValueError(f"a sheet has rows of one picture or more. Received: {[len(p) for _, p in rows]}")
    sizes = [[(height * p.shape[1] / p.shape[0], height) for p in pictures] for _, pictures in rows]
    return _placed(rows, sizes, 0.06)


def _placed(rows, sizes, gap: float, title: str | None = None, below: Sequence[str] = ()) -> Figure:
    """Rows of pictures of these (width, height) in inches under their texts, the last row above small texts."""
    # Placed in inches from the top: a layout engine would make a column as wide as the text above it.
    margin, line = 0.12, 0.27
    texts = [(title, 12)] * bool(title) + [(text, 10) for text, _ in rows if text]
    widths = [sum(across + gap for across, _ in row) - gap for row in sizes]
    width = 2 * margin + max(*widths, *(text_width(*text) for text in texts), 1)
    height = 2 * margin + line * len(texts) + sum(row[0][1] + gap for row in sizes) + 0.6 * line * bool(below)
    figure = new_figure(width, height, layout=None)
    top = margin
    if title:
        figure.text(margin / width, 1 - top / height, title, fontsize=12, fontweight="bold", va="top")
        top += line
    for (text, pictures), row in zip(rows, sizes, strict=True):
        if text:
            top += line
            figure.text(margin / width, 1 - (top - 0.06) / height, text, fontsize=10, va="bottom")
        left, tall = margin, row[0][1]
        for picture, (across, _) in zip(pictures, row, strict=True):
            # Artists of the figure: axes take 15 ms each.
            place = Bbox.from_bounds(left / width, 1 - (top + tall) / height, across / width, tall / height)
            image = BboxImage(TransformedBbox(place, figure.transFigure), interpolation="antialiased", origin="upper")
            image.set_data(picture)
            figure.add_artist(image)
            left += across + gap
        top += tall + gap
    for column, text in enumerate(below):
        across = sizes[-1][column][0]
        centre = margin + column * (across + gap) + across / 2
        figure.text(centre / width, 1 - top / height, text, fontsize=9, ha="center", va="top")
    return figure


def text_width(text, size) -> float:
    """Width of a text in inches, in bold, which is the wider."""
    probe = new_figure(1, 1, layout=None)
    artist = probe.text(0, 0, text, fontsize=size, fontweight="bold")
    return artist.get_window_extent(probe.canvas.get_renderer()).width / probe.dpi


def new_figure(width, height, layout="constrained") -> Figure:
    figure = Figure((width, height), dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)  # seaborn asks the canvas for a renderer
    return figure


def _wrapped(title, figure) -> str:
    return textwrap.fill(title, int(figure.get_figwidth() / 0.105))  # 12 pt: about a tenth of an inch a letter


def save(figure, path) -> Path:
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(_ENDINGS)}. Received: {path}.")
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], bbox_inches="tight", pad_inches=0.1)
    return path
