"""Pictures of the concepts of Video-TCAV: detections, and sheets of clips."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib import style

from har_tf.report.plots import new_figure, save, text_width

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
        rows: (text, pictures uint8 (H, W, 3) of any size), from top to bottom. An empty text takes no room.
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
        return save(_sheet(rows, height, title), path)


def _sheet(rows, height, title):
    gap, margin, line = 0.06, 0.12, 0.27
    texts = [(title, 12)] * bool(title) + [(text, 10) for text, _ in rows if text]
    widths = [[height * p.shape[1] / p.shape[0] for p in pictures] for _, pictures in rows]
    across = max(*(sum(row) + gap * (len(row) - 1) for row in widths), *(text_width(*text) for text in texts), 1)
    width, tall = across + 2 * margin, 2 * margin + line * len(texts) + (height + gap) * len(rows)
    figure = new_figure(width, tall, layout=None)
    top = margin
    if title:
        figure.text(margin / width, 1 - top / tall, title, fontsize=12, fontweight="bold", va="top")
        top += line
    for (text, pictures), row in zip(rows, widths, strict=True):
        if text:
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
