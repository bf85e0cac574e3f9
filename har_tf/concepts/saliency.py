"""Grad-CAM beside concepts: of the clips of the class (Figure 1 of the Video-TCAV paper), and how alike maps are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from har_tf import devices
from har_tf.concepts.clip_sets import ClipSet
from har_tf.datasets.records import VideoRecord
from har_tf.explain import Explanation, gradcam
from har_tf.models.taps import find, stages
from har_tf.video.reader import frame_times
from har_tf.video.sampling import frame_indices


def gradcam_tap(model: keras.Model, name: str | None = None) -> str:
    """The layer of Grad-CAM; None: the last of the stages whose maps are at least 4 high and wide.

    Raises:
        ValueError: the model has no such tap; the message lists those it has.
    """
    if name is not None:
        return find(model, name).name
    found = stages(model)
    return ([tap for tap in found if min(tap.shape[1:3]) >= 4] or found)[-1].name


def class_maps(
    model: keras.Model,
    clips: ClipSet,
    records: Sequence[VideoRecord],
    class_index: int,
    class_names: Sequence[str],
    clip: Mapping[str, str],
    tap: str,
    batch_size: int = 32,
) -> tuple[dict, Explanation]:
    """Grad-CAM of clips of the class, and what the model answers.

    Args:
        model, class_index, class_names, tap, batch_size: what is explained, and where.
        clips: of the class, from videos that are among the `records`.
        clip: sampling and short: how the clips were taken.

    Returns:
        What `results.json` keeps: "tap", "right" (clips that are answered right), "clips" ("video", "probability",
        "answer", "right", "inside", "empty" of each) and "inside", the mean share of the saliency that lies in the true
        boxes of person and object, None without boxes; and the maps.
    """
    found = gradcam(model, clips.clips, tap, class_index, batch_size=batch_size)
    answers = devices.predict(model, clips.clips, batch_size).argmax(axis=1)
    places = {str(record.path): record for record in records}
    inside = inside_boxes(found.maps, [places[source] for source in clips.sources], clip)
    rows = [
        {
            "video": Path(source).stem,
            "probability": float(found.probability[i]),
            "answer": class_names[answers[i]],
            "right": bool(answers[i] == class_index),
            "inside": None if inside is None else inside[i],
            "empty": bool(found.empty[i]),
        }
        for i, source in enumerate(clips.sources)
    ]
    mean = None if inside is None else sum(inside) / len(inside)
    return {"tap": tap, "right": sum(row["right"] for row in rows), "clips": rows, "inside": mean}, found


def inside_boxes(maps: np.ndarray, records: Sequence[VideoRecord], clip: Mapping[str, str]) -> list[float] | None:
    """The share of each map's saliency that lies in the true boxes of person and object; None without boxes.

    Args:
        maps: (N, T, H, W), of the size of the videos.
        records: N videos, with boxes in every frame.
        clip: sampling, short and by: how frames were taken.
    """
    if any(record.boxes is None for record in records):
        return None
    shares = []
    for one, record in zip(maps, records, strict=True):
        count = len(record.boxes)
        by = clip.get("by", "frame")
        seconds = None if by == "frame" else frame_times(record.path, count)
        numbers = frame_indices(count, len(one), clip["sampling"], short=clip["short"], seconds=seconds, by=by)
        mask = np.zeros(one.shape, bool)
        for boxes in (record.boxes, record.object_boxes):
            if boxes is not None:
                for t in np.flatnonzero(np.isfinite(boxes[numbers]).all(axis=1)):
                    # The embedded videos have the model's size, but for a last row or column.
                    x1, y1, x2, y2 = np.rint(boxes[numbers[t]]).astype(int)
                    mask[t, y1:y2, x1:x2] = True
        total = float(one.sum())
        shares.append(float(one[mask].sum()) / total if total else 0.0)
    return shares


def alike(one: np.ndarray, other: np.ndarray) -> dict:
    """Correlation of maps (N, T, H, W), clip by clip: {"mean": None of no clip, "clips": how many count}.

    Maps that are the same everywhere do not count.
    """
    flat = zip(one.reshape(len(one), -1), other.reshape(len(other), -1), strict=True)
    found = [float(np.corrcoef(a, b)[0, 1]) for a, b in flat if a.std() > 1e-6 and b.std() > 1e-6]
    return {"mean": float(np.mean(found)) if found else None, "clips": len(found)}
