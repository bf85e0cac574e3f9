"""Overlays: saliency painted on the frames it explains, as pictures and as a video with captions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.video import write_video

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
_GAP = 4  # pixels between pictures that stand side by side


def overlay(
    clips: np.ndarray,
    explanation: Explanation,
    alpha: float = 0.4,
    colormap: str = "jet",
    blend: str = "saliency",
) -> np.ndarray:
    """Paints the saliency of each frame over the frame.

    With `blend="saliency"` a pixel takes on the colour of its saliency to the degree `alpha · saliency`:
    where there is no evidence the picture is untouched, and a clip without evidence stays as it was.
    `blend="uniform"` mixes every pixel with `alpha` of its colour, as most published figures do, so cold
    regions turn blue.

    Args:
        clips: (B, T, H, W, 3) RGB in [0, 255], uint8 or float; (B, H, W, 3) for images. Height and width may
            differ from those of the maps, which are then resized.
        explanation: of these clips, with maps in [0, 1].
        alpha: share of the colour where the saliency is 1.
        colormap: name of an OpenCV colour map, as "jet", "turbo", "viridis".
        blend: "saliency" or "uniform".

    Returns:
        uint8 (B, T, H, W, 3).

    Raises:
        ValueError: another number of clips or frames than maps, unscaled maps, `alpha` outside [0, 1], or an
            unknown colour map or blend.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies in [0, 1]. Received: {alpha=}")
    if blend not in ("saliency", "uniform"):
        raise ValueError(f"blend is 'saliency' or 'uniform'. Received: {blend=}")
    clips = np.asarray(clips)
    clips = clips[:, None] if clips.ndim == 4 else clips
    if clips.ndim != 5 or clips.shape[-1] != 3:
        raise ValueError(f"clips are (B, T, H, W, 3). Received: shape {clips.shape}")
    maps = _checked_maps(explanation)
    if clips.shape[:2] != maps.shape[:2]:
        raise ValueError(
            f"an explanation of {maps.shape[0]} clips of {maps.shape[1]} frames needs these clips. "
            f"Received: clips of shape {clips.shape}"
        )
    colours = _colours(colormap)
    painted = np.empty(clips.shape, "uint8")
    for i in np.ndindex(clips.shape[:2]):
        painted[i] = _painted(clips[i], maps[i], alpha, colours, blend)
    return painted


def _checked_maps(explanation: Explanation) -> np.ndarray:
    maps = explanation.maps
    if maps.max(initial=0) > 1:
        raise ValueError(
            "an overlay needs maps in [0, 1], from normalize='clip' or 'frame'. "
            f"Received: maps up to {maps.max():.4g}, normalize={explanation.settings.get('normalize')!r}"
        )
    return maps


def _painted(frame, saliency, alpha, colours, blend="saliency") -> np.ndarray:
    saliency = _resized(saliency, frame.shape[:2])
    weight = alpha * saliency[..., None] if blend == "saliency" else alpha
    tint = colours[np.rint(saliency * 255).astype("uint8")]
    return np.rint((1 - weight) * frame + weight * tint).astype("uint8")


def save_overlay(
    path: str | PathLike,
    clip: np.ndarray | Iterable[np.ndarray],
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
) -> Path:
    """Writes one clip and its overlay, side by side and with captions, as an H.264 video.

    Above the pictures stand `title`, the explained class and its probability; below them the frame's number
    or time, the colour scale, and how the map was made, with the size of the tap's own map (t x h x w). Several
    explanations of the clip, such as one for each stream of a model, stand side by side, each under its name. Each
    has its own scale: 1 is the largest saliency of its map.

    Args:
        path: file to write, ending in .mp4.
        clip: (T, H, W, 3) RGB in [0, 255], or the batch (B, T, H, W, 3) of which `index` is taken; or the T frames
            one by one, so that those of a long video need not be in memory.
        explanation: of the batch; or several of them, of the same classes, by the names to show.
        index: which clip of the explanation.
        fps: frames per second.
        class_names: names of the model's classes; None shows the class's number.
        title: first line, as the true class or the file; None: no such line.
        times: second of the video at which each frame stands; None shows the frame's number alone.
        min_side: frames smaller than this on their shorter side are enlarged to it, so that people can watch
            them.
        alpha, colormap: as in `overlay`; a little stronger here, as a video passes quickly.
        headings: for each frame what stands in place of the explained class and its probability.

    Returns:
        The path.

    Raises:
        ValueError: as in `overlay`, an `index` that is not in the explanation, no explanation, or several that explain
            different classes.
        har_tf.video.VideoError: the path cannot be written.
    """
    frames = captioned(clip, explanation, index, class_names, title, times, min_side, alpha, colormap, headings)
    return write_video(path, frames, fps=fps)


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
) -> Iterator[np.ndarray]:
    """The frames that `save_overlay` writes, one by one, uint8 (height, width, 3); arguments as there."""
    several = explanation if isinstance(explanation, Mapping) else {"": explanation}
    several = {name: each.only(index) for name, each in several.items()}
    if not several:
        raise ValueError("An overlay needs at least one explanation. Received: none")
    classes = {name: int(each.class_index[0]) for name, each in several.items()}
    if len(set(classes.values())) > 1:
        raise ValueError(f"Explanations that stand side by side are of one class. Received: classes {classes}")
    all_maps = [_checked_maps(each)[0] for each in several.values()]
    count = len(all_maps[0])
    if isinstance(clip, np.ndarray):
        clip = clip[index] if clip.ndim == 5 else clip
        if len(clip) != count:
            raise ValueError(f"an explanation of {count} frames needs these. Received: a clip of {len(clip)} frames")
    for name, given, what in (("times", times, "number"), ("headings", headings, "text")):
        if given is not None and len(given) != count:
            raise ValueError(f"{name} holds one {what} a frame, {count}. Received: {len(given)} {what}s")
    headings = [_heading(several, class_names)] * count if headings is None else headings
    colours = _colours(colormap)
    t = 0
    for t, frame in enumerate(clip, start=1):
        if t > count:
            break
        zoom = max(1, min_side / min(frame.shape[:2]))
        size = (round(frame.shape[0] * zoom), round(frame.shape[1] * zoom))
        scale, columns = size[0] / 256, 1 + len(several)
        across = columns * size[1] + (columns - 1) * _GAP
        plain = _resized(np.asarray(frame), size)
        painted = [_painted(plain, maps[t - 1], alpha, colours) for maps in all_maps]
        above = [_line(title, across, scale)] if title else []
        above.append(_line(headings[t - 1], across, scale))
        if any(several):
            above.append(_side_by_side([_line(name, size[1], 0.8 * scale) for name in ("", *several)]))
        moment = f"frame {t}/{count}" + (f", {times[t - 1]:.2f} s" if times is not None else "")
        below = _line(moment, across, scale, right=_legend(colours, scale))
        made = _small_print(_made(several), across, 0.8 * scale)
        yield np.concatenate([*above, _side_by_side((plain, *painted)), below, *made])
    if t != count:
        raise ValueError(f"an explanation of {count} frames needs these. Received: {'fewer' if t < count else 'more'}")


def _heading(several: Mapping[str, Explanation], class_names) -> str:
    first = next(iter(several.values()))
    class_index = int(first.class_index[0])
    name = class_names[class_index] if class_names is not None else f"class {class_index}"
    against = "against " if first.settings.get("counterfactual") else ""
    return f"{against}{name}, p = {first.probability[0]:.1%}"


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height as one, with a strip of paper between them."""
    gap = np.full((len(pictures[0]), _GAP, 3), _PAPER, "uint8")
    row = [piece for picture in pictures for piece in (gap, picture)]
    return np.concatenate(row[1:], axis=1).astype("uint8")


def _made(explanations: Mapping[str, Explanation]) -> str:
    """How the maps were made, what differs between them apart by slashes, and which of them are empty."""
    several = list(explanations.values())
    methods = " / ".join(dict.fromkeys(each.method for each in several))
    settings = [_settings(each) for each in several]
    parts = [
        f"{name} " + " / ".join(dict.fromkeys(each[name] for each in settings if name in each))
        for name in dict.fromkeys(name for each in settings for name in each)
    ]
    made = ", ".join([methods, *parts])
    empty = [name for name, each in explanations.items() if each.empty[0]]
    if not empty:
        return made
    where = f" in {', '.join(empty)}" if len(explanations) > 1 else ""
    return f"no positive evidence{where} ({made})"


def _settings(explanation: Explanation) -> dict[str, str]:
    """The settings as text, a tap with the cells of its map: a map of few cells has no finer places to show."""
    given = {name: value for name, value in explanation.settings.items() if value is not None and value is not False}
    if "counterfactual" in given:
        given["counterfactual"] = "negated gradient"
    if "tap" in given and "windows" not in given:
        given["tap"] += f" ({'x'.join(map(str, explanation.signed.shape[1:]))})"
    taps = given.get("taps", ())
    if taps:
        many = f"{taps[0]} + ... + {taps[-1]} ({len(taps)} taps)"
        given["taps"] = " + ".join(taps) if len(taps) <= 6 else many
    return {name: str(value) for name, value in given.items()}


def _small_print(text: str, across: int, scale: float, most: int = 3) -> list[np.ndarray]:
    """Strips of paper with a text in letters of one size: one line, or as many of the smallest letters as it takes."""
    room = across - 2 * _margin(scale)
    size = _size(text, room, scale)
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(lines) < most and _width(longer, size) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_line(line, across, scale, _GREY, size=size) for line in lines]


def _line(text, across, scale, ink=_INK, right=None, size=None) -> np.ndarray:
    """A strip of paper `across` wide with one line of text that fits, and a picture at its right end."""
    height, margin = _height(scale), _margin(scale)
    strip = np.full((height, across, 3), _PAPER, "uint8")
    room = across - 2 * margin
    if right is not None and right.shape[1] + margin < room // 2:
        top = (height - right.shape[0]) // 2
        strip[top : top + right.shape[0], across - margin - right.shape[1] : across - margin] = right
        room -= right.shape[1] + margin
    size = size or _size(text, room, scale)
    if _width(text, size) > room:
        while text and _width(text + "...", size) > room:
            text = text[:-1]
        text += "..."
    cv2.putText(strip, text, (margin, round(height * 0.7)), _FONT, size, ink, 1, cv2.LINE_AA)
    return strip


def _size(text: str, room: int, scale: float) -> float:
    """The size of letters at which a text fits, down to the least that can be read."""
    size = max(0.4, 0.65 * scale)
    while _width(text, size) > room and size > 0.4:
        size = max(0.4, size - 0.05)
    return size


def _height(scale: float) -> int:
    return max(18, round(30 * scale))


def _margin(scale: float) -> int:
    return max(4, _height(scale) // 4)


def _width(text: str, size: float) -> int:
    return cv2.getTextSize(text, _FONT, size, 1)[0][0]


def _legend(colours: np.ndarray, scale: float) -> np.ndarray:
    """The colour scale between its ends, "0" and "1"."""
    height, bar = max(12, round(18 * scale)), max(40, round(100 * scale))
    size, digit = max(0.4, 0.55 * scale), max(12, round(16 * scale))
    picture = np.full((height, bar + 2 * digit, 3), _PAPER, "uint8")
    picture[2:-2, digit : digit + bar] = colours[np.linspace(0, 255, bar).astype(int)]
    for text, left in (("0", digit - _width("0", size) - 3), ("1", digit + bar + 3)):
        cv2.putText(picture, text, (max(left, 0), round(height * 0.85)), _FONT, size, _INK, 1, cv2.LINE_AA)
    return picture


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] == tuple(size):
        return picture
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _colours(colormap: str) -> np.ndarray:
    """The 256 RGB colours of an OpenCV colour map."""
    known = sorted(n.removeprefix("COLORMAP_").lower() for n in dir(cv2) if n.startswith("COLORMAP_"))
    if colormap not in known:
        raise ValueError(f"colormap is one of {', '.join(known)}. Received: {colormap=}")
    steps = np.arange(256, dtype="uint8")[:, None]
    return cv2.applyColorMap(steps, getattr(cv2, f"COLORMAP_{colormap.upper()}"))[:, 0, ::-1]
