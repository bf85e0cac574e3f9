"""Explanations of untrimmed video: window after window, their maps joined in time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from har_tf.explain.backward import check_batch_size
from har_tf.explain.cam3d import cam3d
from har_tf.explain.explanation import Explanation, Factors
from har_tf.explain.options import check
from har_tf.explain.scaling import scaled
from har_tf.video import VideoError, probe, read_frames
from har_tf.video.reader import frame_times
from har_tf.video.sampling import check_by, frames_at, frames_needed, sliding_windows

Explain = Callable[[np.ndarray], Explanation | Mapping[str, Explanation]]


@dataclass(frozen=True, eq=False)
class VideoExplanation:
    """What the windows of a video showed.

    Attributes:
        explanations: name -> explanation of the video as one clip: `maps` (1, N, H, W), at each frame the mean over the
            windows that cover it. Its class is that of most windows, its score and probability their means over these.
        frames: int64 (N,), the video's frames that some window covers.
        windows: int64 (W, T), the frames of each window.
        class_index, score, probability: (W,), what was explained in each window, its logit and its probability.
        nearest: int64 (N,), of the windows that cover a frame the one whose middle is nearest.
        fps: mean frames a second of the video, 0 where nothing says it.
        seconds: float64 (N,), when these frames are shown, from the video's first on.
    """

    explanations: dict[str, Explanation]
    frames: np.ndarray
    windows: np.ndarray
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    nearest: np.ndarray
    fps: float
    seconds: np.ndarray


def explain_video(
    model: keras.Model,
    path: str | PathLike,
    explain: Explain | None = None,
    hop: int | None = None,
    stride: int = 1,
    start: int = 0,
    stop: int | None = None,
    short: str = "error",
    fit: str = "stretch",
    normalize: str | None = "clip",
    batch_size: int = 4,
    by: str = "frame",
) -> VideoExplanation:
    """Explains a video of any length with a model of short clips.

    Windows of the model's length slide over the video; the unscaled maps of those that cover a frame are averaged, so a
    frame that one window explains for one class and the next for another shows the mean of both. Only then are they
    scaled, by the maximum of the video.

    3DCAM and Sum Grad-CAM divide the maps of every tap by their maximum before these are summed (equation (2)). Here
    that is the maximum over all windows, as if the video were one clip; by its own, a window without evidence would
    shine like one full of it.

    Not more than `batch_size` windows are decoded and explained at once. What grows with the video, of every
    explanation: the joined maps, 4 · H · W bytes a frame for `signed` and as much for the scaled `maps` (the same array
    under `normalize=None`); and, of the two methods above and until they are joined, the taps' own maps of all windows.

    Args:
        model: of clips (B, T, H, W, 3), with T, H and W known.
        path: the video.
        explain: function of uint8 clips (B, T, H, W, 3) to their explanation, or several by name, with
            `normalize=None`; None: `cam3d` of each window's predicted class.
        hop: frames from the start of one window to that of the next; None: half a window, in whole
            strides.
        stride: distance of neighbouring frames in a window.
        start: first frame of the range to explain.
        stop: the frame after its last; None: the end of the video.
        short: for videos shorter than a window: "error", or "repeat_last" or "wrap" as in `read_clip`.
        fit: as in `read_clip`.
        normalize: "clip" scales by the maximum of the whole video, "frame" each frame by its own, None not at all.
        batch_size: windows that are in memory at once.
        by: "frame": windows are of all the frames of the video; a rate such as "25fps": of the video at that rate;
            "time": of the video at its own mean rate, made even where its speed is not. hop and stride count the frames
            of what windows are of; one that is shown long may come several times.

    Returns:
        A `VideoExplanation`.

    Raises:
        har_tf.video.VideoError: the file cannot be read, or is shorter than one window under `short="error"`.
        ValueError: a model without a fixed size, or an argument out of its range.

    Example:
        >>> found = explain_video(model, "match.mp4", lambda clips: cam3d(model, clips, class_index=3, normalize=None))
        >>> found.explanations[""].maps.shape, found.probability.shape
        ((1, 900, 112, 112), (112,))
    """
    check(normalize=normalize)
    check_batch_size(batch_size)
    check_by(by, "strided")
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 5 or None in shape[1:] or shape[-1] != 3:
        raise ValueError(f"windows need a model of clips (B, T, H, W, 3) of known size. Received: input of {shape}")
    explain = explain or (lambda clips: cam3d(model, clips, normalize=None))
    info = probe(path)
    at, seconds = np.arange(info.frames), frame_times(path, info.frames)
    if by == "frame":
        windows = _windows(Path(path), info.frames, shape[1], hop, stride, start, stop, short)
    else:
        at, there = seconds, frames_at(seconds, by, start, stop)
        windows = there[_windows(Path(path), len(there), shape[1], hop, stride, 0, None, short)]
    frames, places = np.unique(windows, return_inverse=True)
    places = places.reshape(windows.shape)
    sums: dict[str, np.ndarray] = {}
    covered = np.bincount(places.ravel()).astype("float32")
    factors: dict[str, list[tuple[Factors, np.ndarray]]] = {}
    kinds, cells, told = {}, {}, []
    for first in range(0, len(windows), batch_size):
        batch = slice(first, first + batch_size)
        found = explain(read_frames(path, windows[batch], shape[2:4], fit=fit))
        found = {"": found} if isinstance(found, Explanation) else dict(found)
        one = next(iter(found.values()))
        told.append((one.class_index, one.score, one.probability))
        for name, explanation in found.items():
            kinds[name] = replace(explanation, factors=None)
            cells.setdefault(name, {"cells": explanation.cells} if explanation.cells else {})
            if name not in sums:
                sums[name] = np.zeros((len(frames), *shape[2:4]), "float32")
            if explanation.factors is None:
                _add(explanation.maps, places[batch], sums[name])
            else:
                factors.setdefault(name, []).append((explanation.factors, places[batch]))
    for name in list(factors):
        _add_together(factors.pop(name), sums[name])
    classes, score, probability = (np.concatenate(each) for each in zip(*told, strict=True))
    chosen = _commonest(classes, probability)
    means = [each[classes == chosen].mean(keepdims=True) for each in (score, probability)]
    explanations = {}
    for name, total in sums.items():
        total /= covered[:, None, None]
        maps = scaled(total[None], normalize)
        settings = {**kinds[name].settings, "normalize": normalize, "windows": len(windows), **cells[name]}
        explanations[name] = replace(
            kinds[name], maps=maps, signed=total[None], class_index=np.array([chosen]), score=means[0],
            probability=means[1], settings=settings,
        )  # fmt: skip
    nearest = nearest_window(frames, windows, at)
    return VideoExplanation(
        explanations, frames, windows, classes, score, probability, nearest, info.fps, seconds[frames]
    )


def _add(maps: np.ndarray, places: np.ndarray, total: np.ndarray) -> None:
    for index in np.ndindex(places.shape):
        total[places[index]] += maps[index]


def _add_together(batches: list[tuple[Factors, np.ndarray]], total: np.ndarray) -> None:
    """Adds what batches of windows give with the factors of each tap divided by the largest of all windows."""
    of_taps = zip(*(factors.peaks for factors, _ in batches), strict=True)
    peaks = [np.concatenate(each).max(axis=0, keepdims=True) for each in of_taps]
    for factors, places in batches:
        _add(factors.summed(peaks), places, total)


def frames_of(
    path: str | PathLike, frames: np.ndarray, size: tuple[int, int], fit: str = "stretch", at_once: int = 64
) -> Iterator[np.ndarray]:
    """The frames of a video one by one, (H, W, 3) uint8, a few of them in memory: for `save_overlay`."""
    for first in range(0, len(frames), at_once):
        yield from read_frames(path, frames[first : first + at_once], size, fit=fit)


def _windows(path, available, num_frames, hop, stride, start, stop, short) -> np.ndarray:
    needed = frames_needed(num_frames, "strided", stride)
    end = available if stop is None else stop
    if end > available:
        raise VideoError(path, f"{available} frames, frames up to {end} asked for")
    if short == "error" and 0 <= start < end < start + needed:
        where = f"{available} frames" if end - start == available else f"{end - start} frames from {start} to {end}"
        raise VideoError(
            path,
            f"{where}, a window of the model takes {needed}"
            + (f" ({num_frames}, {stride} apart)" if stride > 1 else "")
            + "; short='repeat_last' or 'wrap' would fill it up",
        )
    hop = stride * max(1, num_frames // 2) if hop is None else hop
    return sliding_windows(available, num_frames, hop, stride, start, stop, short=short)


def _commonest(classes: np.ndarray, probability: np.ndarray) -> int:
    """The class of most windows; of two that are as common, the more probable one."""
    return int(max(set(classes.tolist()), key=lambda c: ((classes == c).sum(), probability[classes == c].sum(), -c)))


def nearest_window(frames: np.ndarray, windows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """For each frame, of the windows that hold it the one whose middle is nearest, where `at` says where frames are."""
    middles = at[windows].mean(axis=1)
    nearest, distance = np.zeros(len(frames), "int64"), np.full(len(frames), np.inf)
    for number, window in enumerate(windows):
        places = np.searchsorted(frames, window)
        away = np.abs(at[frames[places]] - middles[number])
        closer = places[away < distance[places]]
        nearest[closer], distance[closer] = number, np.abs(at[frames[closer]] - middles[number])
    return nearest
