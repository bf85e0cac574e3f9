"""The papers' figures: curves, confusion matrices, frame strips, bars.

Figures are made without pyplot and under matplotlib's own defaults, so a caller's settings neither change
them nor are changed by them. Colours are told apart by colour-blind readers too.
"""

import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import seaborn
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from har_tf.files.whole import whole_file
from har_tf.video.sampling import frame_indices

_DPI = 150
_MARKERS = "osD^vP"
_ANNOTATED = 20  # classes up to which the counts in a confusion matrix can be read
_ENDINGS = (".png", ".pdf", ".svg")


def _written(draw: Callable[..., Figure]) -> Callable[..., Path]:
    """Makes a function that draws a figure one that writes it to its argument `path`; `__wrapped__` still draws."""
    signature = inspect.signature(draw)

    @functools.wraps(draw)
    def write(*arguments, **named) -> Path:
        with style.context("default"):
            return save(draw(*arguments, **named), signature.bind(*arguments, **named).arguments["path"])

    return write


@_written
def curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    path,
    title: str | None = None,
    loss_scale: str = "linear",
) -> Figure:
    """Draws loss and accuracy by epoch, training and validation (Figure 4 of the CNN-GRU paper).

    Args:
        histories: model name -> {"loss", "val_loss", "accuracy", "val_accuracy"} -> one number an epoch, the
            first epoch first. Names that are missing are not drawn, others are ignored, NaN leaves a gap.
        path: where to write, ending in .png, .pdf or .svg.
        title: a line above both panels.
        loss_scale: "linear" or "log", for the loss axis.

    Returns:
        `path`.

    Raises:
        ValueError: there is no history, or one without any loss or accuracy, or another ending or scale.
    """
    if not histories:
        raise ValueError("histories must hold at least one model. Received: {}.")
    if loss_scale not in ("linear", "log"):
        raise ValueError(f"loss_scale must be 'linear' or 'log'. Received: {loss_scale!r}.")
    metrics = ("loss", "accuracy")
    for name, history in histories.items():
        if not any(len(history.get(prefix + metric, ())) for metric in metrics for prefix in ("", "val_")):
            raise ValueError(
                f"the history of {name!r} must hold epochs of loss, val_loss, accuracy or val_accuracy. "
                f"Received: {sorted(history)}."
            )
    figure = new_figure(10, 4.4 + 0.22 * math.ceil((len(histories) + 2) / 5))
    colours = seaborn.color_palette("colorblind", len(histories))
    longest = 1
    for axes, metric in zip(figure.subplots(1, 2), metrics, strict=True):
        for position, (name, history) in enumerate(histories.items()):
            for prefix, line in (("", "--"), ("val_", "-")):
                values = np.asarray(history.get(prefix + metric, ()), dtype=float)
                longest = max(longest, len(values))
                axes.plot(
                    np.arange(1, len(values) + 1),
                    values,
                    line,
                    color=colours[position],
                    marker=_MARKERS[position % len(_MARKERS)],
                    markersize=4 if len(values) <= 30 else 0,
                    linewidth=1.5,
                    markerfacecolor="white" if line == "--" else None,
                    label=f"{name}, {'validation' if prefix else 'training'}",
                )
        axes.set(title=metric.capitalize(), xlabel="Epoch")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes:
        _whole_epochs(axes, longest)
    loss, accuracy = figure.axes
    if loss_scale == "log":
        loss.set_yscale("log")
        loss.set_title("Loss (logarithmic)")
    else:
        low, high = loss.get_ylim()
        loss.set_ylim(min(0, low), high + 0.03 * abs(high))
    accuracy.set_ylim(-0.02, 1.02)
    handles = [
        Line2D([], [], color="0.3", linestyle=line, marker="o", markerfacecolor=face, label=label)
        for line, face, label in (("--", "white", "training"), ("-", "0.3", "validation"))
    ]
    handles += [
        Line2D([], [], color=colours[position], marker=_MARKERS[position % len(_MARKERS)], label=name)
        for position, name in enumerate(histories)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
    if title:
        figure.suptitle(_wrapped(title, figure))
    return figure


@_written
def metric_by_epoch(
    runs: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], metric: str, path, title: str | None = None
) -> Figure:
    """Draws one metric of several networks by epoch, each as the mean of its runs (Figures 8 to 11 of Fusion-GRU).

    Args:
        runs: network -> the histories of its splits and seeds, as in `curves`. Where there are several, a band shows
            the standard deviation over them; an epoch that not all of them reached is not drawn.
        metric: such as "val_accuracy" or "val_loss".
        path: where to write, ending in .png, .pdf or .svg.
        title: a line above the panel.

    Returns:
        `path`.

    Raises:
        ValueError: there is no network, or a run without this metric, or another ending.
    """
    if not runs:
        raise ValueError("runs must hold at least one network. Received: {}.")
    figure = new_figure(7.5, 4.6)
    axes = figure.subplots()
    colours = seaborn.color_palette("colorblind", len(runs))
    longest = 1
    for position, (name, histories) in enumerate(runs.items()):
        if not histories or not all(len(history.get(metric, ())) for history in histories):
            raise ValueError(f"every run of {name!r} must hold epochs of {metric}. Received: {len(histories)} runs.")
        length = min(len(history[metric]) for history in histories)
        values = np.array([history[metric][:length] for history in histories], dtype=float)  # (runs, epochs)
        longest = max(longest, length)
        epochs, mean = np.arange(1, length + 1), values.mean(axis=0)
        axes.plot(
            epochs,
            mean,
            color=colours[position],
            marker=_MARKERS[position % len(_MARKERS)],
            markersize=4 if length <= 30 else 0,
            linewidth=1.5,
            label=name,
        )
        if len(values) > 1:
            spread = values.std(axis=0, ddof=1)
            axes.fill_between(epochs, mean - spread, mean + spread, color=colours[position], alpha=0.15, linewidth=0)
    part, _, quantity = metric.rpartition("_")
    axes.set(xlabel="Epoch", ylabel=f"{'Validation' if part else 'Training'} {quantity}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    _whole_epochs(axes, longest)
    low, high = axes.get_ylim()
    # Of a flat curve far from zero the margin that matplotlib leaves is too small for a line.
    axes.set_ylim(*((-0.02, 1.02) if quantity == "accuracy" else (min(0, low), high + 0.03 * abs(high))))
    figure.legend(loc="outside lower center", ncols=min(4, len(runs)), frameon=False)
    if title:
        figure.suptitle(_wrapped(title, figure))
    return figure


def _whole_epochs(axes, longest: int) -> None:
    axes.set_xlim(1 - 0.03 * longest, longest + 0.03 * longest)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


@_written
def confusion_matrix(matrix, class_names: Sequence[str], path, title: str | None = None) -> Figure:
    """Draws a confusion matrix coloured by the share of its row (Figure 5 of the CNN-GRU paper).

    Up to twenty classes the counts other than zero are written into the cells. Beyond, the colour grows with the root
    of the share, so that single clips are seen, and the names stand on all four sides. The row of a class without clips
    is grey.

    Args:
        matrix: int (C, C) counts, rows the true class, columns the predicted one.
        class_names: the C names.
        path: where to write, ending in .png, .pdf or .svg.
        title: a line above the matrix.

    Returns:
        `path`.

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


@_written
def concept_bars(
    scores: Mapping[str, Mapping[str, tuple[float, float | None]]],
    path,
    significant: Mapping[str, Mapping[str, bool]] | None = None,
    indifferent: float | None = 0.5,
    title: str | None = None,
) -> Figure:
    """Draws TCAV scores as bars, a group a layer and a colour a concept (Figures 7 to 10 of the Video-TCAV paper).

    A bar that is not significant is pale, hatched and marked "n.s.".

    Args:
        scores: layer -> concept -> (score in [0, 1], standard deviation or None), such as
            `(found.relative[tap][name].mean, found.relative[tap][name].deviation)`. The layers stand in the order
            given; one that lacks a concept has a gap.
        path: where to write, ending in .png, .pdf or .svg.
        significant: layer -> concept -> whether the score passed its tests; what is not named counts as not tested, and
            is drawn like what passed.
        indifferent: where a dashed line says that a class is indifferent to a concept; None for no line.
        title: a line above the bars.

    Returns:
        `path`.

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
        for column, name in enumerate(concepts):
            if name not in of_layer:
                continue
            value, deviation = of_layer[name]
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
    if indifferent is not None:
        axes.axhline(indifferent, color="0.15", linestyle="--", linewidth=1, zorder=0)
        handles.append(Line2D([], [], color="0.15", linestyle="--", linewidth=1, label="indifferent"))
    deviations = any(deviation is not None for of_layer in scores.values() for _, deviation in of_layer.values())
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_xlim(-0.5, len(scores) - 0.5)
    axes.set_ylim(0, 1.1)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.spines["left"].set_bounds(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("Layer")
    axes.set_ylabel("TCAV score" + (" ± standard deviation" if deviations else ""))
    columns = max(1, int((figure.get_figwidth() - 0.4) / (0.55 + max(text_width(h.get_label(), 10) for h in handles))))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)
    if title:
        figure.suptitle(_wrapped(title, figure))
    return figure


@_written
def frame_strip(
    rows: Sequence[tuple[str, np.ndarray]], path, title: str | None = None, max_frames: int | None = 16
) -> Figure:
    """Draws clips as rows of frames, such as a clip above its overlay (Figures 6 to 8 of the CNN-GRU paper).

    Args:
        rows: (text above the row, frames uint8 (T, H, W, 3)), from top to bottom; T is the same in all rows,
            H and W may differ. An empty text takes no room, so that an overlay stands close under its clip.
        path: where to write, ending in .png, .pdf or .svg.
        title: a line above all rows.
        max_frames: of longer clips so many frames, evenly from the first to the last, are shown under their
            true numbers; None for all.

    Returns:
        `path`.

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
    shown = np.arange(lengths[0])
    if max_frames is not None and lengths[0] > max_frames:
        shown = frame_indices(lengths[0], max_frames)

    # Placed in inches from the top: a layout engine would make a column as wide as the text above it.
    frame_width, gap, margin, line = 1.3, 0.05, 0.12, 0.27
    texts = [(title, 12)] * bool(title) + [(text, 10) for text, _ in rows if text]
    widest = max((text_width(text, size) for text, size in texts), default=0)
    width = 2 * margin + max(len(shown) * (frame_width + gap) - gap, widest)
    heights = [frame_width * np.shape(frames)[1] / np.shape(frames)[2] for _, frames in rows]
    height = 2 * margin + line * len(texts) + sum(heights) + gap * len(rows) + 0.6 * line
    figure = new_figure(width, height, layout=None)
    top = margin
    if title:
        figure.text(margin / width, 1 - top / height, title, fontsize=12, fontweight="bold", va="top")
        top += line
    for (text, frames), row_height in zip(rows, heights, strict=True):
        if text:
            top += line
            figure.text(margin / width, 1 - (top - 0.06) / height, text, fontsize=10, va="bottom")
        for column, index in enumerate(shown):
            left = margin + column * (frame_width + gap)
            axes = figure.add_axes(
                (left / width, 1 - (top + row_height) / height, frame_width / width, row_height / height)
            )
            axes.imshow(frames[index], aspect="auto", interpolation="antialiased")
            axes.set_axis_off()
        top += row_height + gap
    for column, index in enumerate(shown):
        centre = margin + column * (frame_width + gap) + frame_width / 2
        figure.text(centre / width, 1 - top / height, f"t={index}", fontsize=9, ha="center", va="top")
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
