"""The page of a localisation run: box accuracy by row, curves over the threshold, and maps with their boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from har_tf.evaluate.comparison import LEVEL, probability
from har_tf.explain import captions
from har_tf.names import file_name
from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps
from har_tf.report.page import Figure, Page, Section, Video, restored
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval

TRUE, FOUND = (255, 255, 255), (255, 0, 255)


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run of `experiments.cam3d_localization`."""
    made, said = tables(results), findings(results)
    methods = results["methods"]
    curves = plots.threshold_curves(
        {name: methods[name]["curve"] for name in _drawn(results)},
        results["thresholds"],
        figures / "figure_thresholds.png",
        f"Box accuracy, mean over IoU {_ious(results)}",
        controls=[name for name, row in methods.items() if row["kind"] == "control"],
    )
    caption = "Share of test frames of which a contour's box fits a true box, where all frames have the same threshold."
    data, model, clip = (results[part] for part in ("dataset", "model", "clip"))
    return Page(
        "Localisation by 3DCAM",
        {
            "data": _data_line(results),
            "model": f"{model['name']}, {model['start']}",
            "clips": f"{' x '.join(map(str, clip['shape'][:-1]))}, {clip['sampling']}, {clip['fit']}",
            "split": data["overlap"] or "thresholds chosen on other pictures",
            "the paper": settings.fact(results["settings"]),
        },
        [
            Section("What was found", text="\n\n".join(said)),
            settings.section(results["settings"]),
            *(Section(table.title, tables=[replace(table, title="")]) for table in made.values()),
            Section("Accuracy over the threshold", figures=[Figure(curves, caption)]),
            *tested_maps.sections(results.get("tested_maps")),
            *restored(results["pictures"]),
        ],
        tables=made,
        printed=[*(table.markdown() for table in made.values()), "\n".join(said)],
    )


# Column -> where its cells stand in a row of `results.json`.
HITS = {
    "Touches": "hits.intersects.frame.value",
    "95 %": "hits.intersects.frame.interval",
    "by video": "hits.intersects.video.value",
    "Maximum inside": "hits.maximum.frame.value",
    "95 % ": "hits.maximum.frame.interval",
    "by video ": "hits.maximum.video.value",
}
SIDES = {
    "Oracle": "boxes.oracle.frame.average",
    "95 %": "boxes.oracle.frame.average_interval",
    "by video": "boxes.oracle.video.average",
    "Best": "boxes.best.frame.average",
    "Chosen": "boxes.given.frame.average",
    "95 % ": "boxes.given.frame.average_interval",
    "by video ": "boxes.given.video.average",
    "Threshold": "threshold",
    "Blur": "blur",
}
EVIDENCE = {
    "Empty": "evidence.empty",
    "held out": "evidence.empty_held_out",
    "frames": "evidence.blank",
    "layers": "evidence.layers",
    "One sign": "evidence.one_sign",
    "All layers": "evidence.all_layers",
    "Some empty": "evidence.some_empty",
    "When": "evidence.when.value",
    "95 %": "evidence.when.interval",
}


def cards(results: Mapping) -> list[Card]:
    """The card of a network that was trained for the run; how often it is right is not what the page measures."""
    model, data = results["model"], results["dataset"]
    if not model["trained_here"]:
        return []
    trust, overlap = of_maps(results), data["overlap"]
    return [Card(model["name"], data, "video", model["start"], split=overlap, overlap_text=overlap, trust=trust)]


def tables(results: Mapping) -> dict[str, Table]:
    """File name -> table: the paper's that belong to the data, and every row side by side."""
    made = {}
    for asked in results["tables"]:
        if asked["measure"] == "hits":
            made[asked["stem"]] = _hits(results, asked)
        else:
            made[f"{asked['stem']}_oracle"] = _boxes(results, asked, "oracle")
            made[f"{asked['stem']}_chosen"] = _boxes(results, asked, "given")
    made["side_by_side"] = _sides(results)
    if results["differences"]:
        made["differences"] = _differences(results)
    if results["chosen"] and "partly" in results["measured"]["test"]:  # which runs of before do not have
        made["evidence"] = _evidence(results)
    return made


def _hits(results, asked) -> Table:
    """Table 3: how often the map touches a true box, and how often its maximum lies in one."""
    columns = HITS | _paper(results, asked, {"hits": "paper"})
    notes = [
        "Touches: a pixel above 0 lies in a true box, as the paper words it; a uniform map always touches.",
        "Maximum inside: the pointing game of Zhang et al. 2016, without tolerance; a uniform map scores the share of "
        "the frame that is in boxes.",
        *_notes(results),
    ]
    title = f"{asked['title']}: hit point by layer"
    return _table(title, _rows(results, asked), columns, notes, ["Maximum inside", "by video "])


def _boxes(results, asked, choice) -> Table:
    """Tables 4 to 8: box accuracy at several IoU, by frame, under one way to set the threshold."""
    ious, measured, rows = results["ious"], f"{asked['measure']}.{choice}.frame", _rows(results, asked)
    columns = {f"IoU {iou:g}": f"{measured}.accuracy.{i}" for i, iou in enumerate(ious)}
    columns["Average"] = f"{measured}.average"
    highest = list(columns)
    columns["95 %"] = f"{measured}.average_interval"
    if choice == "given":
        columns["Threshold"] = "threshold"
    else:
        columns |= _paper(results, asked, {f"{iou:g}": f"paper.{i}" for i, iou in enumerate(ious)})
    rule = {
        "oracle": "oracle, of each frame the threshold that fits its true box best",
        "given": "one threshold for all frames, chosen on held-out training clips",
    }[choice]
    right = " and the right class" if asked["measure"] == "acc2" else ""
    notes = [f"Share of frames with a box that fits{right}; {rule}.", *_notes(results)]
    if any(row.get("method") == "Average 3DCAM" for row in rows):
        notes.append(
            "The average over the layers is their sum divided by their number; thresholds are shares of a map's "
            "maximum, so both have the same boxes."
        )
    return _table(f"{asked['title']}: {rule}", rows, columns, notes, highest)


def _paper(results, asked, columns: Mapping[str, str]) -> dict[str, str]:
    """The columns with the paper's figures, by the titles that say whether the settings are its; none of other data."""
    if not any(row["paper"] for row in asked["rows"]):
        return {}
    return {settings.paper_title(results["settings"], what): path for what, path in columns.items()}


def _sides(results) -> Table:
    """Every row under every way to set the threshold, by frame and by video."""
    chosen = results["chosen"].values()
    rows = [{"name": f"{name} *" if name in chosen else name} | row for name, row in results["methods"].items()]
    notes = [
        f"Box accuracy, mean over IoU {_ious(results)}. Oracle: of each frame the threshold that fits its true box "
        "best. Best: for each IoU the one threshold that suits the test frames best (MaxBoxAcc of Choe et al. 2020). "
        "Chosen: one threshold, chosen on held-out training clips, as are the layers of the rows with a star and, "
        "where there was a choice, the blur, in heights of the frame. By frame where nothing else is said.",
        *_notes(results),
    ]
    title = "Side by side: every method, three ways to set the threshold"
    return _table(title, rows, SIDES, notes, ["Oracle", "by video", "Best", "Chosen", "by video "])


def _differences(results) -> Table:
    """The chosen 3DCAM minus every other, by one threshold and by the oracle."""
    rows: dict[str, dict] = {}
    for row in results["differences"]:
        rows.setdefault(row["than"], {"name": row["than"]})[row["choice"]] = row | {"span": _span(row["interval"])}
    columns = {"Chosen": "given.value", "95 %": "given.span", "p": "given.p"}
    columns |= {"Oracle": "oracle.value", "95 % ": "oracle.span", "p ": "oracle.p"}
    notes = [
        "Differences of the average box accuracy by frame; the same groups are drawn for both, and p is that of a test "
        "that flips the signs of whole groups, of each comparison by itself.",
        *_notes(results),
    ]
    mine = results["chosen"]["3DCAM"]
    formats = {name: ".2g" if name.strip() == "p" else "+.3f" for name in columns}
    cells = [_flat(row) for row in rows.values()]
    return Table.of(f"{mine} minus", cells, {"Minus": "name", **columns}, notes=notes, formats=formats)


def _evidence(results) -> Table:
    """How often each map is empty, what that does to the boxes, and whether it sees the action's frames."""
    test = results["measured"]["test"]
    notes = [
        "Empty: share of test clips whose map has no positive value; held out: of the held-out training clips; frames: "
        "of the measured test frames; layers: how many of the layers of a sum are empty, on average.",
        "One sign: share of test clips in which 3DCAM's beta has the same sign everywhere, so that it selects no place "
        "and the map is the activation, or empty.",
        f"All layers, some empty: box accuracy at the chosen threshold, in the clips where 3DCAM has evidence at all "
        f"layers, and in the {test['partly']} of {test['clips']} where a layer is empty.",
        "When: how often a frame with a true box has more evidence than one of the same clip without (area under the "
        "ROC curve; 0.5 is chance), mean over the clips that have both.",
        *_notes(results),
    ]
    rows = [{"name": name} | row for name, row in results["methods"].items()]
    return _table("Evidence: how often there is none, and when there is", rows, EVIDENCE, notes, ["When"])


def _rows(results, asked) -> list[dict]:
    """The rows of a table: those asked for, what was chosen, and the controls."""
    methods = results["methods"]
    rows = {row["name"]: row | methods.get(row["name"], {}) for row in asked["rows"]}
    controls = (name for name, row in methods.items() if row["kind"] == "control")
    for name in (*results["chosen"].values(), *controls):
        rows.setdefault(name, {"name": name} | methods[name])
    return list(rows.values())


def _table(title, rows, columns, notes, highest) -> Table:
    """A table of rows as `results.json` has them; where a row has no numbers its first cell says why."""
    first = next(iter(columns.values()))
    cells = []
    for row in map(_flat, rows):
        if first not in row:
            row[first] = "class unknown" if row.pop("threshold", None) is not None else "not run"
        cells.append(row)
    formats = {name: ".2f" if name == "Threshold" else ".3f" for name in columns}
    return Table.of(title, cells, {"Method": "name", **columns}, notes=notes, formats=formats, highest=highest)


def _flat(row: Mapping) -> dict:
    """What stands in a row under its path, "hits.maximum.frame.value"; intervals as text."""
    cells = {}
    for key, value in row.items():
        if key.endswith("interval"):
            cells[key] = interval(value)
        elif isinstance(value, Mapping | list | tuple):
            inner = value if isinstance(value, Mapping) else dict(enumerate(value))
            cells |= {f"{key}.{path}": cell for path, cell in _flat({str(k): v for k, v in inner.items()}).items()}
        else:
            cells[key] = value
    return cells


def findings(results: Mapping) -> list[str]:
    """What the numbers say, in sentences."""
    chosen = results["chosen"]
    if not chosen:
        return [f"No model was explained: {results['model']['missing']}. The controls, which need none, were measured."]
    best = [f"{name} at {results['methods'][name]['threshold']:.2f}" for name in chosen.values()]
    right = results["measured"]["test"].get("right")
    sentences = [] if right is None else [f"The model answers the right class on {right:.1%} of the test frames."]
    sentences += [f"Layers and thresholds chosen on held-out training clips: {' and '.join(best)}."]
    for choice, words in (("given", "At one threshold for all frames"), ("oracle", "With the oracle threshold")):
        parts = []
        for row in results["differences"]:
            if row["choice"] == choice:
                low, high = row["interval"] or (None, None)
                span = _span(row["interval"]) or "one group, so no interval"
                verdict = "does not differ clearly from"
                # By both, where both are known: the interval and the test.
                if low is not None and (low > 0 or high < 0) and row.get("p", 0) < LEVEL:
                    verdict = "beats" if low > 0 else "is worse than"
                p = f"; p = {probability(row['p'])}".replace("= below", "<") if "p" in row else ""
                parts.append(f"{verdict} {row['than']} ({row['value']:+.3f}; {span}{p})")
        sentences.append(f"{words}, {chosen['3DCAM']} {'; '.join(parts)}.")
    sentences.append(
        "Differences of the average box accuracy by frame, with 95 % intervals that draw whole groups; p of each "
        "comparison by itself, of a test that flips the signs of whole groups."
    )
    return [*sentences, *_absence(results)]


def _span(limits: Sequence[float] | None) -> str | None:
    """The interval of a difference, as text; None with one group."""
    return limits and "{:+.3f} to {:+.3f}".format(*limits)


def _absence(results: Mapping) -> list[str]:
    """What the empty maps say, and the frames of the action."""
    test, methods = results["measured"]["test"], results["methods"]
    if "partly" not in test:
        return []
    clips, layers, sentences = test["clips"], results["model"]["taps"], []
    single = {name: row for name, row in methods.items() if row["kind"] == "model" and len({*row["layers"]}) == 1}
    empty = [
        f"{name} in {round(found['empty'] * clips)}"
        for name, row in single.items()
        if (found := row["evidence"])["empty"]
    ]
    counted = f"Of {clips} test clips the map has no positive evidence: {', '.join(empty)}." if empty else ""
    sentences.append(counted or "No map of a layer is empty in any test clip.")
    for name, row in single.items():
        found = row["evidence"]
        if found["one_sign"] == 1:
            place = list(layers.values())[row["layers"][0]]
            sentences.append(
                f"{name} ({place}): beta has one sign everywhere in every clip, as it must where only global average "
                "pooling and a classifier follow: there it is a sum of the class's weights, whatever the clip shows. "
                "The map is the summed activation, which is the same for every class, or it is empty; Grad-CAM weighs "
                "every channel by itself."
            )
    if test["partly"]:
        sentences.append(
            f"In {test['partly']} of {clips} clips a layer adds nothing to the sums: there they are the sums of the "
            "other layers."
        )
    when = {name: row["evidence"]["when"] for name, row in methods.items() if row["evidence"]["when"]}
    if when:
        parts = [
            f"{name} {found['value']:.2f} ({interval(found['interval'])})"
            for name, found in when.items()
            if name in results["chosen"].values() or methods[name]["kind"] == "control"
        ]
        sentences.append(
            f"How often a frame with a true box has more evidence than one of the same clip without (chance: 0.5; "
            f"{next(iter(when.values()))['clips']} clips have both): {', '.join(parts)}."
        )
    return sentences


def _drawn(results) -> list[str]:
    """The rows of the threshold curves: what was chosen, the controls, and what the paper compares: sums of 3DCAM over
    layers and Grad-CAM at the last."""
    layers, methods = len(results["model"]["taps"]), results["methods"]
    names = list(results["chosen"].values())
    for name, row in methods.items():
        if row["kind"] == "control" or (row["method"] == "3DCAM" and row["layers"][0] < row["layers"][1]):
            names.append(name)
    last = {"kind": "model", "method": "Grad-CAM", "layers": [layers - 1] * 2}
    names += [name for name, row in methods.items() if last.items() <= row.items()]
    return list(dict.fromkeys(names))


def _notes(results) -> list[str]:
    """What every table says of the data and the model."""
    model, test = results["model"], results["measured"]["test"]
    taps = ", ".join(f"{layer}: {tap}" for layer, tap in model["taps"].items())
    notes = [
        f"Measured on {_data_line(results)}: {test['frames']} frames of {test['clips']} clips of {test['videos']} test "
        f"videos from {test['groups']} groups; intervals draw whole groups.",
        "Of several contours the best counts, as in the paper."
        if results["contours"] == "all"
        else "The box of the largest contour counts.",
        f"{model['name']}, {model['start']}; layers: {taps}." if taps else f"Not run: {model['missing']}.",
    ]
    if results["chosen"]:
        held_out = results["measured"]["held_out"]
        notes.append(
            f"Chosen on {held_out['frames']} frames of {held_out['videos']} held-out training videos: "
            f"{' and '.join(results['chosen'].values())}."
        )
    if taps and model["align"] == "methods":
        notes.append(
            "3DCAM is enlarged by corner points and Grad-CAM by equal cells; --align takes one of them for all rows."
        )
    elif taps:
        notes.append(f"All maps are enlarged by {model['align']}.")
    return notes + (settings.paper_note(results["settings"]) if results["dataset"]["name"] != "figures" else [])


def _ious(results) -> str:
    return ", ".join(f"{iou:g}" for iou in results["ious"])


def _data_line(results) -> str:
    data = results["dataset"]
    return f"{len(data['classes'])} classes of {data['name']}"


def pictures(
    examples: Sequence,
    class_names: Sequence[str],
    answers: Sequence[str] | None,
    figures: Path,
    overlays: Path,
    videos: int,
) -> list[Section]:
    """Draws Grad-CAM beside 3DCAM with the true box and the found one: strips as in Figures 7 and 8, overlay videos.

    Args:
        examples: `har_tf.evaluate.localization_study.Example`s; of clips, or all of pictures.
        class_names: of the data.
        answers: names of the model's outputs; None: not known.
        figures: folder of the strips.
        overlays: folder of the videos.
        videos: so many of the clips are written as videos.

    Returns:
        The sections that show them; without examples none.
    """
    from har_tf.explain import overlay
    from har_tf.video import write_video

    strips, written = [], []
    still = bool(examples) and examples[0].clip.frames.ndim == 3
    for i, example in enumerate(examples):
        clip = example.clip
        size = clip.frames.shape[-3:-1]
        plain = enlarged(clip.frames[None] if still else clip.frames)
        true = [clip.shown.get(t, ()) for t in range(len(plain))]
        drawn = {"clip, true box": boxed(plain, true, size)}
        for name, (explanation, boxes) in example.panels.items():
            painted = overlay(plain[None], explanation, alpha=0.6)[0]
            drawn[name] = boxed(boxed(painted, true, size), boxes, size, FOUND)
        answer = answers[example.class_index] if answers else f"class {example.class_index}"
        video = Path(clip.video).stem.partition("#")[0]
        title = f"{class_names[clip.label]}; explained {answer}, {example.probability:.2f} ({video})"
        strips.append((title, drawn))
        if not still and i < videos:
            path = overlays / f"overlay_{i + 1}_{file_name(video)}.mp4"
            write_video(path, beside(drawn, title), fps=5)
            written.append(Video(path, title))
    if not strips:
        return []
    number, named = 8 if still else 7, ""
    path = figures / f"figure_{number}_saliency.png"
    if still:
        strips = strips[:: -(-len(strips) // 8)]
        plots.sheet([(name, [drawn[name][0] for _, drawn in strips]) for name in strips[0][1]], path, height=1.3)
        named = f" From left to right: {' · '.join(title for title, _ in strips)}."
    else:
        rows = [
            (f"{title}: {name}" if k == 0 else name, frames)
            for title, drawn in strips[:: -(-len(strips) // 3)]
            for k, (name, frames) in enumerate(drawn.items())
        ]
        plots.frame_strip(rows, path, max_frames=8)
    caption = (
        "White: the true box. Magenta: the box of the largest contour at the threshold that was chosen on held-out "
        "training clips. Every frame has its own scale, as every frame has its own maximum in the tables. The videos "
        "are drawn evenly from the test part, whatever the model answered."
    )
    sections = [Section(f"Figure {number}: saliency and boxes", figures=[Figure(path, caption + named)])]
    return sections + ([Section("Overlay videos", text=caption, videos=written)] if written else [])


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
    gap, letters = 6, 16
    clips = list(panels.values())
    time, height, width, _ = clips[0].shape
    across, line = len(clips) * width + (len(clips) - 1) * gap, captions.height_of(letters)
    sheet = np.full((time, (2 * line + height + 1) // 2 * 2, (across + 1) // 2 * 2, 3), 255, np.uint8)
    names = captions.beside([captions.line(name, width, letters) for name in panels], gap)
    sheet[:, : 2 * line, :across] = np.concatenate([captions.line(title, across, letters), names])
    for column, clip in enumerate(clips):
        left = column * (width + gap)
        sheet[:, 2 * line : 2 * line + height, left : left + width] = clip
    return sheet
