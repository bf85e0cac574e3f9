"""The page of a run on untrimmed video: answers window by window, and what maps say of when, where and which class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps
from har_tf.report.page import Figure, Page, Section, Video, restored
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval

KINDS = {
    "inside": "one action in all frames",
    "across": "an action in some frames",
    "outside": "no action",
}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run of `experiments.cam3d_untrimmed`."""
    data, model, clip = (results[part] for part in ("dataset", "model", "clip"))
    made, said = tables(results), findings(results)
    drawn = []
    for number, course in enumerate(results["timelines"], 1):
        path = plots.courses(course["rows"], figures / f"figure_course_{number}.png")
        drawn.append(Figure(path, f"{course['video']}: grey is when the class is done."))
    text = (
        "Evidence for a class in every frame, the mean of its map, joined over windows and divided by its largest "
        "value in the video; beside it the probability of the class in the window whose middle is nearest."
    )
    sizes = " x ".join(map(str, clip["shape"][:-1]))
    return Page(
        "3DCAM in untrimmed video",
        {
            "data": f"{data['videos']} videos of {data['name']}, {data['segments']} segments of "
            f"{len(data['classes'])} classes",
            "model": f"{model['name']}, {model['start']}",
            "windows": f"{sizes}, stride {clip['stride']}, every {clip['hop']} frames, {clip['fit']}",
            "the paper": settings.fact(results["settings"]),
        },
        [
            Section("What was found", text="\n\n".join(said)),
            *(Section(table.title, tables=[table]) for table in made.values()),
            Section("Evidence over time", text=text, figures=drawn),
            *tested_maps.sections(results.get("tested_maps")),
            *restored(results["pictures"]),
            settings.section(results["settings"]),
        ],
        tables=made,
        printed=[*(table.markdown() for table in made.values()), "\n".join(said)],
    )


def cards(results: Mapping) -> list[Card]:
    """The card of a network that was trained for the run, on other clips than are measured."""
    model = results["model"]
    if not model["start"].endswith("trained here"):
        return []
    return [Card(model["name"], results["dataset"], starts_from=model["start"], trust=of_maps(results))]


def tables(results: Mapping) -> dict[str, Table]:
    """File name -> table."""
    made = {"windows": _windows(results), "ranks": _ranks(results), "sides": _sides(results), "when": _when(results)}
    return made | {"classes": _classes(results)}


def _windows(results) -> Table:
    rows = [{"name": f"{kind}: {KINDS[kind]}", **row} for kind, row in results["windows"].items()]
    columns = {
        "Windows": "name", "Number": "windows", "Right": _value("right"), "95 %": _interval("right"),
        "Probability of the answer": _value("probability"),
    }  # fmt: skip
    notes = [
        "Right: the most probable class is done, in all frames or, across, in some. Where nothing is done no answer is "
        f"right. {_chance(results)} Intervals draw whole videos again, here and below."
    ]
    return Table.of("Answers by window", rows, columns, notes=notes, formats=dict.fromkeys(list(columns)[2:], ".3f"))


def _chance(results) -> str:
    inner, answers = results["windows"]["inside"]["windows"], results["most_frequent"]
    if answers is None:
        return "No window is inside an action."
    return f"Always answering the most frequent class would be right in {answers:.3f} of the {inner} windows inside."


def _ranks(results) -> Table:
    columns = {"Map": lambda row: f"{row['method']}, {row['rank']}", "Probability": _value("probability")}
    columns |= {f"Empty {kind}": lambda row, kind=kind: (row["empty"][kind] or {}).get("value") for kind in KINDS}
    columns["Like the first"] = _value("cosine")
    if results["box"] is not None:
        columns |= {"On the person": _value("in_box"), "95 %": _interval("in_box")}
    notes = [
        "Maps for the three most probable classes of each window, and against the first by negated gradients "
        "(equation (7)). Empty: share of windows without any positive evidence, by kind of window. Like the first: "
        "cosine with the map of the most probable class.",
    ]
    if results["box"] is not None:
        share = results["box"]["value"]
        notes.append(f"On the person: share of the map in the person's box; of a uniform map it is {share:.3f}.")
    formats = dict.fromkeys(list(columns)[1:], ".3f")
    title = "Most probable classes, and against the first (Figure 6)"
    return Table.of(title, results["ranks"], columns, notes=notes, formats=formats)


def _sides(results) -> Table:
    columns = {
        "Map": "method", "Windows": lambda row: (row["more"] or {}).get("count", 0), "Frames": _value("frames"),
        "Evidence": _value("evidence"), "More": _value("more"), "95 %": _interval("more"),
    }  # fmt: skip
    notes = [
        "Windows in which the answered class is done in some frames: the share of these frames, which a map that "
        "does not know when would have, and the share of the evidence that lies in them."
    ]
    title = "On the right side of a cut (Figure 5)"
    return Table.of(title, results["sides"], columns, notes=notes, formats=dict.fromkeys(list(columns)[2:], ".3f"))


def _when(results) -> Table:
    columns = {
        "Map": "name", "When": "value", "95 %": lambda row: interval(row.get("interval")),
        "Classes of videos": lambda row: row.get("count", 0),
    }  # fmt: skip
    notes = [
        "How often a frame in which the class is done has more evidence for it than one in which it is not (area "
        "under the ROC curve; chance: 0.5), mean over the classes of each video. The probability is that of the "
        "window whose middle is nearest, which needs no map."
    ]
    return Table.of(
        "When the class is done", results["when"], columns, notes=notes, formats={"When": ".3f"}, highest=["When"]
    )


def _classes(results) -> Table:
    rows = [row for row in results["classes"] if row["videos"] or row["answered"]]
    names = [row["name"] for row in results["when"]]
    columns = {"Class": "name", "Videos": "videos", "Windows answered so": "answered"}
    columns |= {f"When: {name}": lambda row, name=name: (row["when"][name] or {}).get("value") for name in names}
    formats = dict.fromkeys(list(columns)[3:], ".3f")
    return Table.of("By class", rows, columns, notes=["Answers of the windows inside."], formats=formats)


def _value(name: str):
    return lambda row: (row[name] or {}).get("value")


def _interval(name: str):
    return lambda row: interval((row[name] or {}).get("interval"))


def findings(results: Mapping) -> list[str]:
    """What the numbers say, in sentences."""
    inner, outer = results["windows"]["inside"], results["windows"]["outside"]
    said = []
    if inner["right"]:
        said.append(
            f"{inner['right']['value']:.1%} of the windows inside an action are answered right. {_chance(results)}"
        )
    if inner["probability"] and outer["probability"]:
        said.append(
            f"Where nothing is done the answer's probability is {outer['probability']['value']:.2f} on average, "
            f"inside an "
            f"action {inner['probability']['value']:.2f}."
        )
    for row in results["sides"]:
        if row["more"]:
            low, high = row["more"]["interval"] or (None, None)
            verdict = "is not shown to lie on the right side of a cut"
            if low is not None and (low > 0 or high < 0):
                verdict = f"lies {'more' if low > 0 else 'less'} on the right side of a cut than chance"
            span = interval(row["more"]["interval"]) or "one video, so no interval"
            said.append(f"{row['method']} {verdict} ({row['more']['value']:+.3f}; {span}).")
    when = [row for row in results["when"] if row.get("value") is not None]
    if when:
        listed = [f"{row['name']} {row['value']:.3f} ({interval(row['interval']) or 'one video'})" for row in when]
        said.append(f"When a class is done (chance: 0.5): {'; '.join(listed)}.")
    return said


def pictures(examples: Mapping, videos: Sequence[tuple[Path, str]], figures: Path) -> list[Section]:
    """Strips of frames of windows, and overlay videos.

    Args:
        examples: "classes" and "cut" -> `har_tf.evaluate.untrimmed.Example`.
        videos: (file, caption) of overlay videos that are written.
        figures: folder of the strips.
    """
    from har_tf.explain import overlay

    told = {
        "classes": (
            "Figure 6: the most probable classes, and against the first",
            "Of the windows inside an action that are answered right, the one of the most probable answer. Every "
            "clip has its "
            "own scale.",
        ),
        "cut": (
            "Figure 5: across a cut",
            "The window in which the answered class is done in most nearly half of the frames.",
        ),
    }
    sections = []
    for key, found in examples.items():
        title, caption = told[key]
        rows = [(f"{found.video}: {_course(found.done)}", found.frames)]
        rows += [(text, overlay(found.frames[None], one, alpha=0.6)[0]) for text, one in found.panels.items()]
        path = figures / f"figure_{key}.png"
        plots.frame_strip(rows, path, max_frames=8)
        sections.append(Section(title, figures=[Figure(path, caption)]))
    if videos:
        text = "Sum 3DCAM of the predicted class of each window, joined; the scale is that of the whole video."
        sections.append(Section("Overlay videos", text=text, videos=[Video(path, caption) for path, caption in videos]))
    return sections


def _course(done: Sequence[Sequence[str]]) -> str:
    """What is done in a clip, in order: "wave, then nothing"."""
    texts = [" and ".join(names) or "nothing" for names in done]
    return ", then ".join(text for i, text in enumerate(texts) if i == 0 or text != texts[i - 1])
