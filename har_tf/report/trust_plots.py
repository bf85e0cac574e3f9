"""The figures of trust: grids of numbers, curves over a share, bars with intervals, reliability."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from har_tf.report.plots import new_figure, written

_DASHES = (":", "--", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


@written
def grid(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    path,
    label: str,
    marks: Sequence[Sequence[str]] | None = None,
    limits: tuple[float, float] = (0, 1),
    diverging: bool = False,
) -> Figure:
    """Draws a table of numbers as coloured cells, each with its number.

    Args:
        values: one a cell; None is a grey cell.
        rows, columns: their names.
        label: what the colour says.
        marks: what stands behind the number of each cell, such as "*".
        limits: where the colour scale ends.
        diverging: whether the middle of the scale is white, for numbers of both signs.

    Raises:
        ValueError: there is no cell.
    """
    numbers = np.array([[np.nan if cell is None else cell for cell in row] for row in values], float)
    if not numbers.size:
        raise ValueError("values must hold at least one cell. Received: none.")
    texts = [
        [
            "\N{EN DASH}" if np.isnan(number) else f"{number:.2f}{marks[i][j] if marks else ''}"
            for j, number in enumerate(row)
        ]
        for i, row in enumerate(numbers)
    ]
    across, down = max(0.62, 0.1 + 0.085 * max(len(text) for row in texts for text in row)), 0.36
    names, heads = 0.085 * max(map(len, rows)), 0.085 * max(map(len, columns))
    figure = new_figure(across * len(columns) + names + 1.6, down * len(rows) + heads + 0.7)
    axes = figure.subplots()
    axes.set_facecolor("0.88")
    seaborn.heatmap(
        numbers, mask=np.isnan(numbers), annot=np.array(texts), fmt="", annot_kws={"fontsize": 9}, vmin=limits[0],
        vmax=limits[1], cmap="PuOr_r" if diverging else "Blues", linewidths=0.5, linecolor="0.9", ax=axes,
        xticklabels=list(columns), yticklabels=list(rows), cbar_kws={"label": label, "aspect": 30, "pad": 0.02},
    )  # fmt: skip
    axes.tick_params(axis="x", labelrotation=90 if heads > across else 0, length=0)
    axes.tick_params(axis="y", labelrotation=0, length=0)
    return figure


@written
def over(
    curves: Mapping[str, Sequence[float]],
    points: Sequence[float],
    path,
    across: str,
    upright: str,
    controls: Collection[str] = (),
    names: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draws curves over what is the same for all of them, such as the share of the clip that is deleted.

    Args:
        curves: name -> a number at every point.
        points: where they stand.
        across, upright: labels of the axes.
        controls: those of the names that are dashed grey lines.
        names: of the points, in place of their numbers.
        limits: of the upright axis; None: what the curves need.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("curves must hold at least one method. Received: {}.")
    figure = new_figure(8, 4.6 + 0.2 * ((len(curves) + 2) // 3))
    axes = figure.subplots()
    others = [name for name in curves if name not in controls]
    for name, colour in zip(others, seaborn.color_palette("colorblind", len(others)), strict=True):
        axes.plot(points, curves[name], color=colour, linewidth=1.7, label=name)
    for i, name in enumerate(name for name in curves if name in controls):
        axes.plot(points, curves[name], linestyle=_DASHES[i % len(_DASHES)], color="0.35", linewidth=1.3, label=name)
    axes.set(xlabel=across, ylabel=upright, xlim=(points[0], points[-1]))
    if limits:
        axes.set_ylim(limits)
    if names is None:
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    else:
        turned = max(map(len, names)) * len(names) > 60
        axes.set_xticks(points, names, rotation=60 if turned else 0, ha="right" if turned else "center")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


@written
def bars(
    rows: Sequence[tuple[str, float, tuple[float, float] | None]],
    path,
    label: str,
    lines: Mapping[str, float] | None = None,
) -> Figure:
    """Draws a bar a row, from top to bottom, with its interval.

    Args:
        rows: (name, share, (low, high) or None).
        label: of the axis of shares, from 0 to 1.
        lines: name -> share at which an upright line stands, such as chance.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one bar. Received: none.")
    figure = new_figure(7.5, 0.32 * len(rows) + 1.3)
    axes = figure.subplots()
    for place, (_, share, interval) in enumerate(rows):
        axes.barh(place, share, color="#4c8fbd", height=0.7)
        if interval is not None:
            axes.plot(interval, (place, place), color="0.15", linewidth=1.2, marker="|", markersize=7)
    for (name, share), dash in zip((lines or {}).items(), _DASHES, strict=False):
        axes.axvline(share, color="0.35", linestyle=dash, linewidth=1.3, label=name)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set(xlabel=label, xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


@written
def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]], path) -> Figure:
    """Draws how often answers are right over how sure they are, and how many there are, a field a name.

    Args:
        bins: such as "as trained" and "with temperature" -> bins with "low", "high", "clips", and, where there are any,
            the means "confidence" and "accuracy".

    Raises:
        ValueError: there is no field.
    """
    if not bins:
        raise ValueError("bins must hold at least one model. Received: {}.")
    figure = new_figure(4.1 * len(bins), 4.6)
    fields = figure.subplots(2, len(bins), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (upper, lower), (name, found) in zip(fields.T, bins.items(), strict=True):
        upper.plot((0, 1), (0, 1), "--", color="0.5", linewidth=1.2)
        for each in found:
            middle, width = (each["low"] + each["high"]) / 2, each["high"] - each["low"]
            lower.bar(middle, each["clips"], width * 0.92, color="0.7")
            if each["clips"]:
                upper.bar(middle, each["accuracy"], width * 0.92, color="#4c8fbd")
                upper.plot(each["confidence"], each["accuracy"], "o", color="0.15", markersize=4)
        upper.set(title=name, ylim=(0, 1), ylabel="Share that is right")
        lower.set(xlabel="Probability of the answer", ylabel="Clips", xlim=(0, 1))
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    return figure
