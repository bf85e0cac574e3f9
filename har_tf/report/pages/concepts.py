"""Pictures of Video-TCAV that are made while model and clips are there: Figures 1 and 4 to 6, and clips backwards."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from har_tf.concepts.clip_sets import DYNAMIC, KIND, STATIC, ClipSet, ConceptSets
from har_tf.concepts.concept_set import ConceptSet
from har_tf.concepts.concept_split import sources_among
from har_tf.concepts.reversal import Played
from har_tf.datasets.records import VideoRecord
from har_tf.explain import Explanation, captions, overlay, save_overlay
from har_tf.names import file_name
from har_tf.report.page import Figure, Section, Video
from har_tf.report.plots import frame_strip, sheet
from har_tf.video import VideoError, read_frames

_INKS = ((255, 90, 90), (90, 200, 255), (255, 220, 80), (140, 255, 140), (230, 140, 255), (255, 255, 255))


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
        name = captions.plate(label, 12, inks[label], (0, 0, 0), drawn.shape[1])
        high, wide = name.shape[:2]
        x = min(max(0, round(float(box[0]) * zoom)), drawn.shape[1] - wide)
        y = min(max(0, round(float(box[1]) * zoom) - high), len(drawn) - high)
        drawn[y : y + high, x : x + wide] = name
    return drawn


def class_pictures(
    looked: Mapping,
    maps: Explanation,
    clips: ClipSet,
    target: str,
    class_names: Sequence[str],
    figures: Path,
    overlays: Path,
    videos: int = 4,
) -> Section:
    """Figure 1: Grad-CAM of the clips that speak most and least for the model, and of some between them.

    Args:
        looked, maps: what `concepts.saliency.class_maps` gave.
        clips, target, class_names: of the class, its name, and those of the model's outputs.
        figures, overlays: folders for the strip and for the videos, of which there are `videos` at most.
    """
    rows = looked["clips"]
    right = [i for i, row in enumerate(rows) if row["right"] and not row["empty"]]
    key = "probability" if looked["inside"] is None else "inside"
    ranked = sorted(right or range(len(rows)), key=lambda i: -rows[i][key])
    why = {
        "probability": ("The surest answer", "The least sure right answer"),
        "inside": ("Most of its Grad-CAM lies on the person and the object", "Least of its Grad-CAM lies on them"),
    }[key]
    ends = list(zip((ranked[0], ranked[-1]), why, strict=True))[: len(ranked)]
    between = [(i, "Between them") for i in ranked[1:-1][:: max(1, len(ranked) // max(1, videos))]]

    def caption(i, why):
        row = rows[i]
        inside = "" if row["inside"] is None else f", {row['inside']:.0%} inside the true boxes"
        stem = Path(clips.sources[i]).stem
        return f"{why}: answered {row['answer']}; {target} {row['probability']:.2f}{inside} ({stem})"

    painted = overlay(clips.clips, maps, alpha=0.6)
    strip = [pair for i, text in ends for pair in ((caption(i, text), clips.clips[i]), ("", painted[i]))]
    path = frame_strip(strip, figures / "figure_1_gradcam.png", max_frames=8)
    written = []
    for number, (i, text) in enumerate([*ends, *between][:videos], start=1):
        name = overlays / f"gradcam_{number}_{file_name(Path(clips.sources[i]).stem)}.mp4"
        save_overlay(name, clips.clips, maps, i, class_names=class_names, title=f"true class: {target}")
        written.append(Video(name, caption(i, text)))
    text = f"Grad-CAM for {target} at {looked['tap']}, of {len(rows)} clips of the class."
    if looked["inside"] is not None:
        text += (
            f" On average {looked['inside']:.0%} of the saliency lies in the true boxes of the person and the object."
        )
    return Section("Figure 1: Grad-CAM", text, figures=[Figure(path, "Clips above their overlays.")], videos=written)


def concept_pictures(
    found: ConceptSet, sets: ConceptSets, records: Sequence[VideoRecord], figures: Path
) -> list[Section]:
    """Figures 4 to 6: detections in videos that gave concepts, and the clips of concepts of both kinds.

    Args:
        found, sets: the folder of concepts, and the clips that are used.
        records: videos that may have given them.
        figures: folder for the pictures.
    """
    title, detected = "Figure 4: detections", _detected(found, sets.names, records)
    pictures = list(detected.values())
    if pictures:
        path = sheet([("", pictures)], figures / "figure_4_detections.png", height=1.9)
        caption = "Boxes in the middle frame of videos that gave concepts, of the concepts and of other classes: "
        caption += f"{', '.join(Path(source).stem for source in detected)}."
        sections = [Section(title, figures=[Figure(path, caption)])]
    else:
        sections = [Section(title, "Not drawn: the videos that the concepts were cut from are not known.")]
    for number, kind in ((5, STATIC), (6, DYNAMIC)):
        title, path = f"Figure {number}: {KIND[kind]} concepts", figures / f"figure_{number}_{KIND[kind]}.png"
        if kind in sets.missing:
            sections.append(Section(title, f"Not run: {sets.missing[kind]}."))
            continue
        shown = {name: each.clips for name, each in sets.concepts[kind].items()}
        if kind == STATIC:
            sheet([(name, list(clips[:10, 0])) for name, clips in shown.items()], path)
            caption = "Clips of each concept, as the model is given them; each is one picture, repeated."
        else:
            rows = [("" if k else name, clip) for name, clips in shown.items() for k, clip in enumerate(clips[:2])]
            frame_strip(rows, path, max_frames=8)
            caption = "Two clips of each concept over time, as the model is given them."
        sections.append(Section(title, figures=[Figure(path, caption)]))
    return sections


def _detected(found, names, records, count: int = 4) -> dict[str, np.ndarray]:
    """By their names, frames of videos that gave most of the concepts, with the boxes that were cut out."""
    by_source: dict[str, list] = {}
    for clip in found.clips:
        if clip.kind == KIND[DYNAMIC] and clip.frames and clip.boxes:
            by_source.setdefault(clip.source, []).append(clip)
    # Of a name that several videos have, nobody knows whose boxes they are.
    places = {name: paths[0] for name, paths in sources_among(found, records).items() if len(paths) == 1}
    ranked = sorted(
        (source for source in by_source if source in places),
        key=lambda source: (-len({clip.concept for clip in by_source[source]} & set(names)), source),
    )
    pictures = {}
    for source in ranked[:count]:
        clips = by_source[source]
        # A frame that most tracks go through.
        frames = [frame for clip in clips for frame in clip.frames]
        number = max(sorted(set(frames)), key=lambda f: (frames.count(f), -abs(f - sum(frames) / len(frames))))
        boxes = [(c.concept, c.boxes[c.frames.index(number)]) for c in clips if number in c.frames]
        try:
            pictures[source] = detections(read_frames(places[source], [number], None)[0], boxes)
        except VideoError:
            continue
    return pictures


def reversal_pictures(
    played: Played, target: str, class_names: Sequence[str], figures: Path, overlays: Path
) -> Section:
    """A clip of the class forwards and backwards, with its Grad-CAM maps, as a strip and as overlay videos."""
    best = played.best()
    clip, stem = played.clips.clips[best], Path(played.clips.sources[best]).stem
    maps = {"forwards": [played.ahead], "backwards": [played.same] + [played.other] * played.reversible}
    rows, videos = [], []
    for way, pixels, answers in (("forwards", clip, played.forwards), ("backwards", clip[::-1], played.backwards)):
        answer = class_names[answers[best]]
        rows.append((f"{stem}, {way}: answered {answer}", pixels))
        shown = [each.only(best) for each in maps[way]]
        for each in shown:
            none = " (no positive evidence)" if each.empty[0] else ""
            text = f"Grad-CAM for {class_names[each.class_index[0]]}{none}"
            rows.append((text, overlay(pixels[None], each, alpha=0.6)[0]))
        path = overlays / f"{way}_{file_name(stem)}.mp4"
        save_overlay(path, pixels[None], shown[0], class_names=class_names, title=f"{stem}, {way}")
        videos.append(Video(path, f"Played {way}: answered {answer}; Grad-CAM for {target}"))
    path = frame_strip(rows, figures / "reversal.png", max_frames=8)
    caption = "A clip of the class forwards and backwards, and its Grad-CAM maps."
    return Section("Section 2.2: clips played backwards", figures=[Figure(path, caption)], videos=videos)
