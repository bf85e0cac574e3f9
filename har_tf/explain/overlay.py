"""Overlays: saliency painted on the frames it explains, as pictures and as a video with captions."""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from har_tf.explain import captions
from har_tf.explain.explanation import Explanation
from har_tf.explain.fills import blurred
from har_tf.explain.options import check
from har_tf.explain.sampled import Sampled, laid
from har_tf.explain.scaling import scaled
from har_tf.video import VideoError
from har_tf.video.animation import write_any
from har_tf.video.clock import UNKNOWN_RATE
from har_tf.video.reader import play
from har_tf.video.segment import frame_rate

PERCENTILE = 99.5  # where the colour scale ends, so that a map whose mass lies in few pixels is seen
WIDEST = 4096  # pixels: players and their chips take no wider video
_NARROWEST = 320  # pixels: a narrower picture has no room for its caption
_SMOOTH = 0.02  # of the shorter side: standard deviation of the blur of maps that differ from pixel to pixel
_GAP = 4  # pixels between pictures that stand side by side
_COARSE = 8  # cells along the shorter side: what a map of fewer shows lies up to an eighth of the picture away
_PIXELS = 2**24  # whose percentile is taken; of more, evenly chosen ones


class ScaleEnd(NamedTuple):
    """Where a colour scale ends, and what lies there.

    Attributes:
        values: float32 (B, T), the saliency that is shown as 1 in each frame.
        meaning: in words, such as "strongest 0.5 % of this clip".
    """

    values: np.ndarray
    meaning: str


def overlay(
    clips: np.ndarray,
    explanation: Explanation,
    alpha: float = 0.4,
    colormap: str = "jet",
    blend: str = "saliency",
    scale: str = "percentile",
) -> np.ndarray:
    """Paints the saliency of each frame over the frame.

    With `blend="saliency"` a pixel takes on the colour of its saliency to the degree `alpha · saliency`:
    where there is no evidence the picture is untouched, and a clip without evidence stays as it was.
    `blend="uniform"` mixes every pixel with `alpha` of its colour, as most published figures do, so cold
    regions turn blue.

    Args:
        clips: (B, T, H, W, 3) or (B, T, H, W, 1), uint8, or numbers in [0, 255], in [0, 1] or in [-1, 1]; (B, H, W, 3)
            for images. Height and width may differ from those of the maps, which are then resized.
        explanation: of these clips, with maps in [0, 1].
        alpha: share of the colour where the colour scale ends.
        colormap: name of an OpenCV colour map, as "jet", "turbo", "viridis".
        blend: "saliency" or "uniform".
        scale: where the colour scale ends, see `scale_end`.

    Returns:
        uint8 (B, T, H, W, 3).

    Raises:
        ValueError: another number of clips or frames than maps, unscaled maps, `alpha` outside [0, 1], or an
            unknown colour map, blend or scale.
    """
    if blend not in ("saliency", "uniform"):
        raise ValueError(f"blend is 'saliency' or 'uniform'. Received: {blend=}")
    clips = np.asarray(clips)
    clips = clips[:, None] if clips.ndim == 4 else clips
    if clips.ndim != 5 or clips.shape[-1] not in (1, 3):
        raise ValueError(f"clips are (B, T, H, W, 3). Received: shape {clips.shape}")
    explanation = shown(explanation)
    maps = _checked(explanation, alpha)
    if clips.shape[:2] != maps.shape[:2]:
        raise ValueError(
            f"an explanation of {maps.shape[0]} clips of {maps.shape[1]} frames needs these clips. "
            f"Received: clips of shape {clips.shape}"
        )
    clips, ends, colours = pixels(clips), scale_end(explanation, scale).values, _colours(colormap)
    painted = np.empty(clips.shape, "uint8")
    for i in np.ndindex(clips.shape[:2]):
        saliency = np.minimum(_resized(maps[i], clips.shape[2:4]) / ends[i], 1)
        painted[i] = _painted(clips[i], saliency, alpha, colours, blend)
    return painted


def shown(explanation: Explanation) -> Explanation:
    """An explanation as pictures show it: where maps differ from pixel to pixel, smoothed over 2 % of the frame.

    What a gradient says of a single pixel cannot be seen; where many of them are large can. The explanation itself, and
    what is measured of it, stays as it is. The smoothed maps, scaled anew, say so in their settings.
    """
    if not explanation.grain:
        return explanation
    maps, normalize = np.empty_like(explanation.maps), explanation.settings.get("normalize")
    sigma = _SMOOTH * min(maps.shape[2:])
    for place in np.ndindex(maps.shape[:2]):
        maps[place] = blurred(explanation.maps[place], sigma)
    settings = explanation.settings | {"picture": f"smoothed over {_SMOOTH:.0%} of the shorter side"}
    return replace(explanation, maps=scaled(maps, normalize), settings=settings, grain=False)


def pixels(clips: np.ndarray) -> np.ndarray:
    """Clips (..., 3) or (..., 1) as uint8 RGB (..., 3): of numbers in [0, 1] or [-1, 1] as in [0, 255].

    Raises:
        ValueError: other numbers.
    """
    clips = np.asarray(clips)
    if clips.dtype != np.uint8:
        low, high = float(clips.min(initial=0)), float(clips.max(initial=0))
        if -1 <= low < 0 and high <= 1:
            clips = (clips + 1.0) * 127.5
        elif low == 0 and high <= 1 and clips.dtype.kind == "f":
            clips = clips * 255.0
        elif not (low == 0 and high <= 255):
            raise ValueError(f"pixels lie in [0, 255], [0, 1] or [-1, 1]. Received: from {low:.4g} to {high:.4g}")
        clips = np.rint(clips).astype("uint8")
    return clips if clips.shape[-1] == 3 else np.repeat(clips, 3, axis=-1)


def scale_end(explanation: Explanation, scale: str = "percentile", of: str = "clip") -> ScaleEnd:
    """Where the colour scale of each clip ends, or of each frame where maps are scaled frame by frame.

    Args:
        explanation: with maps (B, T, H, W).
        scale: "percentile": at the 99.5th percentile of the saliency, or where that is 0, because less than 0.5 % of
            the pixels have any, at the largest; "max": at the largest.
        of: what it is the percentile of, in the words.

    Raises:
        ValueError: another scale.
    """
    check(scale=scale)
    maps = explanation.maps
    framewise = explanation.settings.get("normalize") == "frame"
    parts = maps.reshape(-1, 1 if framewise else maps.shape[1], *maps.shape[2:])
    largest = np.array([part.max(initial=0) for part in parts])
    ends = np.array([_percentile(part) for part in parts]) if scale == "percentile" else largest
    usual = scale == "percentile" and not ((ends == 0) & (largest > 0)).any()
    ends = np.where(ends > 0, ends, np.where(largest > 0, largest, 1)).astype("float32")
    ends = np.broadcast_to(ends.reshape(len(maps), -1), maps.shape[:2])
    what = f"strongest {100 - PERCENTILE:g} %" if usual else "strongest point"
    return ScaleEnd(ends, f"{what} of {'each frame' if framewise else f'this {of}'}")


def _percentile(part: np.ndarray) -> float:
    step = -(-part.size // _PIXELS)
    while step > 1 and math.gcd(step, part.shape[-1]) > 1:  # not the same columns of every row
        step += 1
    return float(np.percentile(part.reshape(-1)[::step], PERCENTILE))


def save_overlay(
    path: str | PathLike,
    clip: np.ndarray | Iterable[np.ndarray] | Sampled,
    explanation: Explanation | Mapping[str, Explanation],
    index: int = 0,
    fps: float = 5,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    times: Sequence[float] | None = None,
    min_side: int = 256,
    alpha: float = 0.5,
    colormap: str = "jet",
    headings: Sequence[str] | None = None,
    scale: str = "percentile",
    size: int | None = None,
) -> Path:
    """Writes one clip and its overlay, side by side and with captions, as a video or an animation.

    Above the pictures stand the explained class, its probability and the method, and `title`; below them the time, the
    colour scale and what its end is, and what keeps a map from being read as it looks: no evidence, or a coarse grid.
    Several explanations of the clip, such as one for each stream of a model, stand side by side, each under its name
    and with its own scale.

    Of a clip that was sampled from a video (`Sampled`) all frames of the video are shown, at their size, shape and
    times. Maps are interpolated between the frames that were sampled, and lie where the model's picture lay; frames
    before the first and after the last have none.

    Args:
        path: file to write, ending in .mp4 (H.264), .gif or .webp.
        clip: (T, H, W, 3) with pixels as in `overlay`, or the batch (B, T, H, W, 3) of which `index` is taken; or the T
            frames one by one, uint8, so that those of a long video need not be in memory; or a `Sampled`.
        explanation: of the batch; or several of them, of the same classes, by the names to show.
        index: which clip of the explanation.
        fps: frames per second; a video has its own.
        class_names: names of the model's classes; None shows the class's number.
        title: second line, as the true class or the file; None: no such line.
        times: second of the video at which each frame stands; None shows the frame's number alone.
        min_side: frames smaller than this on their shorter side are enlarged to it, so that people can watch
            them; those of a video are not.
        alpha, colormap: as in `overlay`; a little stronger here, as a video passes quickly.
        headings: for each frame what stands in place of the explained class and its probability.
        scale: where colour scales end, see `scale_end`.
        size: of a video the shorter side of its pictures in pixels. None: its own; enlarged by a whole number where
            captions would have no room, made smaller where all pictures side by side would be wider than 4096 pixels.

    Returns:
        The path.

    Raises:
        ValueError: as in `overlay`, an `index` that is not in the explanation, no explanation, or several that explain
            different classes.
        har_tf.video.VideoError: the path cannot be written, or the video cannot be read.
    """
    shown = (explanation, index, class_names, title)
    how = {"alpha": alpha, "colormap": colormap, "headings": headings, "scale": scale}
    if isinstance(clip, Sampled):
        return write_any(path, over_video(clip, *shown, size=size, **how), fps=_rate(clip.path))
    return write_any(path, captioned(clip, *shown, times, min_side, **how), fps=fps)


def captioned(
    clip,
    explanation,
    index=0,
    class_names=None,
    title=None,
    times=None,
    min_side=256,
    alpha=0.5,
    colormap="jet",
    headings=None,
    scale="percentile",
) -> Iterator[np.ndarray]:
    """The frames that `save_overlay` writes of a clip, one by one, uint8 (height, width, 3); arguments as there."""
    several = _one_of_each(explanation, index)
    all_maps = [_checked(each, alpha)[0] for each in several.values()]
    count = len(all_maps[0])
    if isinstance(clip, np.ndarray):
        clip = clip[index] if clip.ndim == 5 else clip
        if len(clip) != count:
            raise ValueError(f"an explanation of {count} frames needs these. Received: a clip of {len(clip)} frames")
        clip = pixels(clip)
    for name, given, what in (("times", times, "number"), ("headings", headings, "text")):
        if given is not None and len(given) != count:
            raise ValueError(f"{name} holds one {what} a frame, {count}. Received: {len(given)} {what}s")
    sheet, t = None, 0
    for t, frame in enumerate(clip, start=1):
        if t > count:
            break
        if sheet is None:
            zoom = max(1, min_side / min(frame.shape[:2]))
            panel = (round(frame.shape[0] * zoom), round(frame.shape[1] * zoom))
            sheet = _Sheet(panel, several, class_names, title, colormap, scale, alpha)
        moment = f"frame {t}/{count}" + (f", {times[t - 1]:.2f} s" if times is not None else "")
        maps = [_resized(each[t - 1], panel) / end[t - 1] for each, end in zip(all_maps, sheet.ends, strict=True)]
        yield sheet.with_frame(_resized(frame, panel), maps, headings and headings[t - 1], moment)
    if t != count:
        raise ValueError(f"an explanation of {count} frames needs these. Received: {'fewer' if t < count else 'more'}")


def over_video(
    clip: Sampled,
    explanation,
    index=0,
    class_names=None,
    title=None,
    size=None,
    alpha=0.5,
    colormap="jet",
    headings=None,
    scale="percentile",
) -> Iterator[tuple[np.ndarray, float]]:
    """The frames and seconds that `save_overlay` writes of a video, one by one; arguments as there."""
    several = _one_of_each(explanation, index)
    all_maps = [_checked(each, alpha)[0] for each in several.values()]
    if len(all_maps[0]) != len(clip.frames):
        raise ValueError(f"maps of {len(clip.frames)} sampled frames are needed. Received: {len(all_maps[0])}")
    displayed, panel = panel_of(clip, len(several), size)
    place = clip.place(displayed, panel)
    cropped = place != (slice(0, panel[0]), slice(0, panel[1]))
    sheet = _Sheet(panel, several, class_names, title, colormap, scale, alpha, "video", place if cropped else None)
    ends = [clip.in_order(end[:, None, None]) for end in sheet.ends]
    all_maps = [clip.in_order(each) for each in all_maps]
    headings = headings and [headings[i] for i in _firsts(clip)]
    for number, (frame, second) in enumerate(play(clip.path, panel)):
        around, heading, moment = clip.between(number), None, f"{second:.2f} s"
        if around is None:
            moment += ", not seen by the model"
            maps = [None] * len(several)
        else:
            left, right, share = around
            heading = headings and headings[left if share < 0.5 else right]
            maps = [
                laid((1 - share) * each[left] / end[left] + share * each[right] / end[right], place, panel)
                for each, end in zip(all_maps, ends, strict=True)
            ]
        yield sheet.with_frame(frame, maps, heading, moment), second


def panel_of(clip: Sampled, explanations: int, size: int | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) at which a video is displayed, and those of its pictures beside so many explanations."""
    with closing(play(clip.path)) as frames:
        displayed = next(frames)[0].shape[:2]
    columns = 1 + explanations
    if size is not None:
        zoom = size / min(displayed)
    else:
        room = (WIDEST - (columns - 1) * _GAP) / columns
        zoom = min(room / displayed[1], -(-_NARROWEST // (columns * displayed[1])))
    # Even sides, which H.264 needs.
    return displayed, tuple(max(2, 2 * round(side * zoom / 2)) for side in displayed)


def _rate(path: str | PathLike) -> float:
    try:
        return min(float(frame_rate(path)), 1000)
    except VideoError:
        return UNKNOWN_RATE


def _firsts(clip: Sampled) -> np.ndarray:
    """Where each of the clip's frames in order stands in it first."""
    return np.unique(clip.frames, return_index=True)[1]


def _one_of_each(explanation, index: int) -> dict[str, Explanation]:
    several = explanation if isinstance(explanation, Mapping) else {"": explanation}
    several = {name: shown(each.only(index)) for name, each in several.items()}
    if not several:
        raise ValueError("An overlay needs at least one explanation. Received: none")
    classes = {name: int(each.class_index[0]) for name, each in several.items()}
    if len(set(classes.values())) > 1:
        raise ValueError(f"Explanations that stand side by side are of one class. Received: classes {classes}")
    return several


def _checked(explanation: Explanation, alpha: float) -> np.ndarray:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies in [0, 1]. Received: {alpha=}")
    maps = explanation.maps
    if maps.max(initial=0) > 1:
        raise ValueError(
            "an overlay needs maps in [0, 1], from normalize='clip' or 'frame'. "
            f"Received: maps up to {maps.max():.4g}, normalize={explanation.settings.get('normalize')!r}"
        )
    return maps


class _Sheet:
    """The pictures of one moment side by side with what stands above and below them; made once, filled by frame."""

    def __init__(self, panel, several, class_names, title, colormap, scale, alpha, of="clip", seen=None):
        self.panel, self.alpha, self.seen, self.colours = panel, alpha, seen, _colours(colormap)
        found = [scale_end(each, scale, of) for each in several.values()]
        self.ends = [each.values[0] for each in found]
        self.columns = 1 + len(several)
        self.across = self.columns * panel[1] + (self.columns - 1) * _GAP
        self.letters = min(max(round(min(panel) / 24), 12), 36)
        self.small = max(round(0.85 * self.letters), captions.SMALLEST)
        self.heading = _heading(several, class_names)
        self.method = ", " + next(iter(several.values())).method if len(several) == 1 else ""
        small = functools.partial(captions.line, across=self.across, letters=self.small, ink=captions.GREY)
        self.above = [small(title)] if title else []
        if any(several):
            names = [captions.line(name, panel[1], self.small, bold=True) for name in ("clip", *several)]
            self.above.append(captions.beside(names, _GAP))
        meanings = [each.meaning for each in found]
        meaning = meanings[0] if len(set(meanings)) == 1 else "strongest part of each map"
        if len(several) > 1:
            meaning = meaning.replace(f"of this {of}", "of each map")
        self.legend = captions.legend(self.colours, f"1: {meaning}", self.across - 2 * self.small, self.small)
        longest = captions.width_of("00000.00 s, not seen by the model", self.small)  # all frames have one size
        self.narrow = self.legend.shape[1] + longest + 3 * self.small > self.across
        warning = _warning(several, seen is not None)
        self.below = captions.lines(warning, self.across, self.small) if warning else []
        self.line = functools.lru_cache(maxsize=64)(captions.line)

    def with_frame(self, plain, maps, heading, moment) -> np.ndarray:
        name, comma, rest = (heading or self.heading).rpartition(", p = ")
        head = self.line(name, self.across, self.letters, bold=True, tail=comma + rest + self.method)
        foot = [captions.line(moment, self.across, self.small, right=None if self.narrow else self.legend)]
        if self.narrow:
            foot.append(captions.line("", self.across, self.small, right=self.legend))
        strips = [head, *self.above], [*foot, *self.below]
        top = sum(map(len, strips[0]))
        sheet = np.empty((top + self.panel[0] + sum(map(len, strips[1])), self.across, 3), "uint8")
        sheet[:top] = np.concatenate(strips[0])
        sheet[top + self.panel[0] :] = np.concatenate(strips[1])
        body = sheet[top : top + self.panel[0]]
        body[:, : self.panel[1]] = plain
        for column, saliency in enumerate(maps, start=1):
            left = column * (self.panel[1] + _GAP)
            body[:, left - _GAP : left] = captions.PAPER
            place = body[:, left : left + self.panel[1]]
            if saliency is None:
                place[:] = plain
            else:
                place[:] = _painted(plain, np.minimum(saliency, 1), self.alpha, self.colours)
            if self.seen is not None:
                _outline(place, self.seen)
        return sheet


def _outline(picture: np.ndarray, part: tuple[slice, slice]) -> None:
    """A thin line, white in black, around a part of a picture."""
    rows, columns = part
    corners = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
    thin = max(1, min(picture.shape[:2]) // 360)
    for ink, width in (((0, 0, 0), 3 * thin), ((255, 255, 255), thin)):
        drawn = np.ascontiguousarray(picture)
        picture[:] = cv2.rectangle(drawn, *corners, ink, width)


def _heading(several: Mapping[str, Explanation], class_names) -> str:
    first = next(iter(several.values()))
    class_index = int(first.class_index[0])
    name = class_names[class_index] if class_names is not None else f"class {class_index}"
    against = "against " if first.settings.get("counterfactual") else ""
    return f"{against}{name}, p = {first.probability[0]:.1%}"


def _warning(several: Mapping[str, Explanation], cropped: bool) -> str:
    """What keeps maps from being read as they look."""
    parts = []
    empty = [name for name, each in several.items() if each.empty[0]]
    if empty:
        where = f" in {', '.join(empty)}" if len(several) > 1 else ""
        parts.append(f"No positive evidence was found{where}: nothing is painted.")
    coarse = {}
    for name, each in several.items():
        finest = max(each.cells, key=lambda size: size[1] * size[2], default=None)
        if finest and min(finest[1:]) <= _COARSE and name not in empty:
            coarse[name] = f"{finest[1]} x {finest[2]}"
    if coarse:
        sizes = " and ".join(dict.fromkeys(coarse.values()))
        where = f" ({', '.join(coarse)})" if len(several) > 1 else ""
        parts.append(f"A grid of {sizes} cells{where}: colour may lie beside what it means.")
    smoothed = [name for name, each in several.items() if "picture" in each.settings and name not in empty]
    if smoothed:
        where = f" ({', '.join(smoothed)})" if len(several) > 1 else ""
        parts.append(f"A map of single pixels{where}, smoothed for the picture.")
    if cropped:
        parts.append("The model sees what is inside the line.")
    return " ".join(parts)


def _painted(frame, saliency, alpha, colours, blend="saliency") -> np.ndarray:
    """A frame (H, W, 3) in the colours of its saliency (H, W) in [0, 1]."""
    tint = cv2.applyColorMap(cv2.convertScaleAbs(saliency, alpha=255), colours)
    if blend == "uniform":
        return cv2.addWeighted(frame, 1 - alpha, tint, alpha, 0)
    weight = np.float32(alpha) * saliency
    return cv2.blendLinear(frame, tint, 1 - weight, weight)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] == tuple(size):
        return picture
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _colours(colormap: str) -> np.ndarray:
    """The 256 RGB colours of an OpenCV colour map, (256, 1, 3)."""
    known = sorted(n.removeprefix("COLORMAP_").lower() for n in dir(cv2) if n.startswith("COLORMAP_"))
    if colormap not in known:
        raise ValueError(f"colormap is one of {', '.join(known)}. Received: {colormap=}")
    steps = np.arange(256, dtype="uint8")[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(steps, getattr(cv2, f"COLORMAP_{colormap.upper()}"))[..., ::-1])
