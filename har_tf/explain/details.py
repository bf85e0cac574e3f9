"""What stands in the JSON file beside an overlay: all that its caption has no room for, as plain values."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from har_tf.explain.explanation import Explanation
from har_tf.explain.overlay import panel_of, scale_end, shown
from har_tf.explain.sampled import Sampled
from har_tf.files.whole import whole_file
from har_tf.video.reader import play


def of_maps(explanations: Mapping[str, Explanation], class_names: Sequence[str], scale: str) -> list[dict[str, Any]]:
    """Of every map of one clip: class, probability, method, settings, sizes of the taps, and what its colours mean."""
    found = []
    for name, each in explanations.items():
        each = shown(each)
        settings = {key: value for key, value in each.settings.items() if key not in ("tap", "taps", "cells")}
        names = each.settings.get("taps") or [each.settings[key] for key in ("tap",) if key in each.settings]
        cells = [dict(zip(("time", "height", "width"), map(int, size), strict=True)) for size in each.cells]
        taps = [
            {"name": str(tap), "cells": size} for tap, size in zip(names, cells or [None] * len(names), strict=False)
        ]
        ends, meaning = scale_end(each, scale)
        framewise = settings.get("normalize") == "frame"
        found.append(
            {
                "name": name or each.method,
                "method": each.method,
                "class": class_names[int(each.class_index[0])],
                "class_index": int(each.class_index[0]),
                "probability": float(each.probability[0]),
                "score": float(each.score[0]),
                "settings": {key: plain(value) for key, value in settings.items()},
                "taps": taps,
                **({"grid": cells[0]} if cells and not names else {}),
                "scale": {
                    "ends_at": scale,
                    "means": meaning,
                    "share_of_the_maximum": plain(ends[0] if framewise else ends[0, 0]),
                },
                "evidence": not bool(each.empty[0]),
            }
        )
    return found


def of_sampling(clip: Sampled, explanations: int, size: int | None) -> dict[str, Any]:
    """Of a video: its size, the sizes of the overlay's pictures, which frames the model saw and when, and where."""
    displayed, panel = panel_of(clip, explanations, size)
    place = clip.place(displayed, displayed)
    wanted, seconds = set(clip.order.tolist()), {}
    for number, (_, second) in enumerate(play(clip.path, (2, 2))):
        if number in wanted:
            seconds[number] = round(second, 4)
            if len(seconds) == len(wanted):
                break
    rows, columns = place
    whole = place == (slice(0, displayed[0]), slice(0, displayed[1]))
    return {
        "size": list(displayed),
        "overlay_size": list(panel),
        "frames": clip.frames.tolist(),
        "seconds": [seconds[frame] for frame in clip.frames.tolist()],
        "between_them": "maps are interpolated; before the first, after the last and in longer gaps there are none",
        "longest_gap": clip.reach,
        "fit": clip.fit,
        "seen": {"top": rows.start, "bottom": rows.stop, "left": columns.start, "right": columns.stop},
        "outside": None if whole else "not seen by the model: 0, and a line around what was",
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Writes details as JSON, whole; names that are no text stand there escaped."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers of NumPy and sequences as lists, anything else that it lacks as text."""
    if isinstance(value, np.ndarray | np.generic):
        return np.round(value, 6).tolist() if np.issubdtype(value.dtype, np.floating) else value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
