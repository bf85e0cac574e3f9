"""Pictures of Video-TCAV: detections, sheets of concept clips, and scores by layer."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import seaborn
from matplotlib import style
from matplotlib.patches import Patch

from har_tf.report.plots import _figure, _save, _text_width, _wrapped

_INKS = ((255, 90, 90), (90, 200, 255), (255, 220, 80), (140, 255, 140), (230, 140, 255), (255, 255, 255))
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def detections(frame: np.ndarray, boxes: Sequence[tuple[str, Sequence[float]]], min_side: int = 320) -> np.ndarray:
    """A frame with the boxes that were found in it, each class in its own colour and with its name (Figure 4).

    Args:
        frame: uint8 (H, W, 3).
        boxes: (class, (x1, y1, x2, y2) in pixels of the frame).
        min_side: smaller frames are enlarged to it.

    Returns:
        uint8 (height, width, 3).
    """
    zoom = max(1, math.ceil(min_side / min(frame.shape[:2])))
    drawn = cv2.resize(frame, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    inks = dict(zip(dict.fromkeys(label for label, _ in boxes), _INKS * 20, strict=False))
    for label, box in boxes:
        x1, y1, x2, y2 = (round(float(side) * zoom) for side in box)
        for line, ink in ((4, (0, 0, 0)), (2, inks[label])):
            cv2.rectangle(drawn, (x1, y1), (x2 - 1, y2 - 1), ink, line)
    for label, box in boxes:  # names over all boxes
        (width, height), _ = cv2.getTextSize(label, _FONT, 0.5, 1)
        x = min(max(0, round(float(box[0]) * zoom)), drawn.shape[1] - width - 4)
        y = max(height + 6, round(float(box[1]) * zoom) - 2)
        cv2.rectangle(drawn, (x, y - height - 4), (x + width + 4, y + 3), (0, 0, 0), -1)
        cv2.putText(drawn, label, (x + 2, y), _FONT, 0.5, inks[label], 1, cv2.LINE_AA)
    return drawn


def sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path, height: float = 1.0, title: str | None = None):
    """Draws rows of pictures under their texts, such as a concept and some of its clips (Figures 4 and 5).

    Args:
        rows: (text, pictures uint8 (H, W, 3) of any size), from top to bottom.
        path: where to write, ending in .png, .pdf or .svg.
        height: of a picture, in inches.
        title: a line above all rows.

    Returns:
        `path`.

    Raises:
        ValueError: a row without a picture, or none at all.
    """
    if not rows or not all(len(pictures) for _, pictures in rows):
        raise ValueError(f"a sheet has rows of one picture or more. Received: {[len(p) for _, p in rows]}")
    with style.context("default"):
        return _save(_sheet(rows, height, title), path)


def _sheet(rows, height, title):
    gap, margin, line = 0.06, 0.12, 0.27
    texts = [(title, 12)] * bool(title) + [(text, 10) for text, _ in rows]
    widths = [[height * p.shape[1] / p.shape[0] for p in pictures] for _, pictures in rows]
    across = max(*(sum(row) + gap * (len(row) - 1) for row in widths), *(_text_width(*text) for text in texts), 1)
    width, tall = across + 2 * margin, 2 * margin + line * len(texts) + (height + gap) * len(rows)
    figure = _figure(width, tall, layout=None)
    top = margin
    if title:
        figure.text(margin / width, 1 - top / tall, title, fontsize=12, fontweight="bold", va="top")
        top += line
    for (text, pictures), row in zip(rows, widths, strict=True):
        top += line
        figure.text(margin / width, 1 - (top - 0.06) / tall, text, fontsize=10, va="bottom")
        left = margin
        for picture, wide in zip(pictures, row, strict=True):
            axes = figure.add_axes((left / width, 1 - (top + height) / tall, wide / width, height / tall))
            axes.imshow(picture, aspect="auto", interpolation="antialiased")
            axes.set_axis_off()
            left += wide + gap
        top += height + gap
    return figure


def score_bars(
    scores: Mapping[str, Mapping[str, float]],
    path,
    intervals: Mapping[str, Mapping[str, Sequence[float] | None]] | None = None,
    marks: Mapping[str, Mapping[str, str]] | None = None,
    title: str | None = None,
    label: str = "TCAV score",
    note: str | None = None,
):
    """Draws a group of bars for each layer, one bar a concept, from 0 to 1 (Figures 7 to 10 of the Video-TCAV paper).

    Args:
        scores: layer -> concept -> score in [0, 1], the same concepts at all layers, "random" in grey.
        path: where to write, ending in .png, .pdf or .svg.
        intervals: layer -> concept -> (low, high), or None.
        marks: layer -> concept -> what stands over its bar, such as "*"; hollow bars are those marked "n.s.".
        title: a line above.
        label: of the axis of scores.
        note: a line below the layers.

    Returns:
        `path`.

    Raises:
        ValueError: no layer, other concepts at one of them, or a score outside [0, 1].
    """
    names = list(next(iter(scores.values()), {}))
    if not names or any(list(found) != names for found in scores.values()):
        raise ValueError(f"scores hold the same concepts at every layer. Received: {list(map(list, scores.values()))}")
    for found in scores.values():
        if not all(0 <= value <= 1 for value in found.values()):
            raise ValueError(f"scores lie in [0, 1]. Received: {found}")
    with style.context("default"):
        return _save(_score_bars(scores, intervals or {}, marks or {}, title, label, note), path)


def _score_bars(scores, intervals, marks, title, label, note):
    names, layers = list(next(iter(scores.values()))), list(scores)
    figure = _figure(max(6.5, 0.32 * len(layers) * (len(names) + 1.5) + 1.5), 3.6)
    axes = figure.subplots()
    plain = [name for name in names if not name.startswith("random")]
    colours = dict(zip(plain, seaborn.color_palette("colorblind", max(len(plain), 1)), strict=True))
    width = 0.8 / len(names)
    for i, layer in enumerate(layers):
        for k, name in enumerate(names):
            x, value, mark = i + (k - (len(names) - 1) / 2) * width, scores[layer][name], ""
            mark = marks.get(layer, {}).get(name, "")
            colour = colours.get(name, (0.62, 0.62, 0.62))
            look = {"color": colour} if mark != "n.s." else {"facecolor": "white", "edgecolor": colour, "hatch": "///"}
            axes.bar(x, value, 0.9 * width, linewidth=1, **look)
            top = value
            if interval := intervals.get(layer, {}).get(name):
                low, high = interval
                # A percentile interval of a resampled share may lie beside the share itself.
                error = [[max(0, value - low)], [max(0, high - value)]]
                axes.errorbar(x, value, yerr=error, color="0.2", linewidth=1, capsize=2)
                top = max(value, high)
            if mark:
                axes.text(x, top + 0.02, mark, ha="center", va="bottom", fontsize=8)
    axes.axhline(0.5, color="0.4", linestyle=":", linewidth=1)
    axes.set_xticks(range(len(layers)), layers)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_ylim(0, 1.12 if marks else 1.05)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel(label)
    if note:
        axes.set_xlabel(note, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [Patch(color=colours.get(name, (0.62, 0.62, 0.62)), label=name) for name in names]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    if title:
        figure.suptitle(_wrapped(title, figure))
    return figure
