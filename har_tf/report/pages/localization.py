"""Pictures of localisation: saliency with its box beside the true one, and accuracy over the threshold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import seaborn
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from har_tf.files.whole import whole_file

TRUE, FOUND = (255, 255, 255), (255, 0, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def enlarged(frames: np.ndarray, min_side: int = 224) -> np.ndarray:
    """Frames (T, H, W, 3) with a shorter side of at least `min_side`: boxes are drawn finer than their pixels."""
    height, width = frames.shape[1:3]
    zoom = max(1, -(-min_side // min(height, width)))
    return np.stack([cv2.resize(f, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR) for f in frames])


def boxed(frames: np.ndarray, boxes: Sequence, size: tuple[int, int], colour=TRUE) -> np.ndarray:
    """The frames (T, H, W, 3) with boxes drawn in; of each frame (K, 4) boxes in pixels of a frame of `size`."""
    drawn = frames.copy()
    scale = frames.shape[1] / size[0]
    for frame, found in zip(drawn, boxes, strict=True):
        for x1, y1, x2, y2 in np.rint(np.asarray(found, float).reshape(-1, 4) * scale).astype(int).tolist():
            for line, ink in ((4, (0, 0, 0)), (2, colour)):
                cv2.rectangle(frame, (x1, y1), (x2 - 1, y2 - 1), ink, line)
    return drawn


def beside(panels: Mapping[str, np.ndarray], title: str) -> np.ndarray:
    """Clips of one size side by side, uint8 (T, height, width, 3), each under its name and all under a title."""
    gap, line = 6, 26
    clips = list(panels.values())
    time, height, width, _ = clips[0].shape
    across = len(clips) * width + (len(clips) - 1) * gap
    sheet = np.full((time, (2 * line + height + 1) // 2 * 2, (across + 1) // 2 * 2, 3), 255, np.uint8)
    head = sheet[0, : 2 * line].copy()
    _write(head, title, 4, line - 8, across)
    for column, name in enumerate(panels):
        _write(head, name, column * (width + gap) + 4, 2 * line - 8, width)
    sheet[:, : 2 * line] = head
    for column, clip in enumerate(clips):
        left = column * (width + gap)
        sheet[:, 2 * line : 2 * line + height, left : left + width] = clip
    return sheet


def _write(picture, text, x, y, room):
    size = 0.55
    while size > 0.3 and cv2.getTextSize(text, _FONT, size, 1)[0][0] > room - 8:
        size -= 0.025
    cv2.putText(picture, text, (x, y), _FONT, size, (20, 20, 20), 1, cv2.LINE_AA)


def threshold_curves(curves: Mapping[str, Sequence[float]], thresholds: Sequence[float], path, label: str) -> Path:
    """Draws the box accuracy of several methods over the threshold that is the same for all frames.

    Args:
        curves: method -> accuracy at every threshold; those whose name starts with "Control" are dashed grey lines.
        thresholds: shares of each map's maximum.
        path: where to write, ending in .png.
        label: of the upright axis.

    Returns:
        `path`.

    Raises:
        ValueError: there is no curve.
    """
    if not curves:
        raise ValueError("curves must hold at least one method. Received: {}.")
    controls = [name for name in curves if name.startswith("Control")]
    others = [name for name in curves if name not in controls]
    colours = dict(zip(others, seaborn.color_palette("colorblind", len(others)), strict=True))
    with style.context("default"):
        figure = Figure((8, 5.2), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for name in others:
            axes.plot(thresholds, curves[name], color=colours[name], linewidth=1.7, label=name)
        for name, dash in zip(controls, (":", "--", "-."), strict=False):
            axes.plot(thresholds, curves[name], dash, color="0.35", linewidth=1.4, label=name)
        axes.set(xlabel="Threshold, share of the map's maximum", ylabel=label, xlim=(0, 1))
        axes.set_ylim(0, 1.05 * max(max(values) for values in curves.values()) or 1)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        with whole_file(Path(path)) as temporary:
            figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.1)
    return Path(path)
