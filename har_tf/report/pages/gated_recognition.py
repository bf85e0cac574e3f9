"""The page of `experiments.gated_recognition`: Tables 9 and 10 of the 3DCAM paper, and whether gating helps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from har_tf.evaluate.comparison import Verdict
from har_tf.report import plots, settings
from har_tf.report.model_card import Card, of_maps
from har_tf.report.page import Figure, Page, Section, both_sides, headed, restored, split_line
from har_tf.report.pages import tested_maps
from har_tf.report.tables import Table, interval

NETWORKS = {9: "3D ResNeXt", 10: "I3D"}  # by table
PLAIN = {"3D ResNeXt": "resnext3d", "I3D": "i3d"}  # the row without gates
PAPER = {9: ("frame-wise total", "video-wise"), 10: ("accuracy",)}  # columns
LABELS = {"resnext3d": "3D ResNeXt", "i3d": "I3D", "i3d_flow": "I3D of flow"}


def page(results: Mapping, figures: Path) -> Page:
    """The page of a run."""
    helps = conclusion(results)
    tables = {f"table_{n}": table_of(results, n) for n in NETWORKS if _rows(results, n)}
    texts = [*helps, *(" ".join(compared["sentences"]) for compared in results["comparisons"])]
    if sum(compared["table"] == 10 for compared in results["comparisons"]) > 1:
        texts.append("Where several choices of layers are tested at 0.05 each, one may pass by chance.")
    sections = [Section("Does gating help?", text="\n\n".join(texts) or "Nothing to compare.")]
    for number, network in NETWORKS.items():
        if _rows(results, number):
            title = headed(f"Table {number}", f"{network}, with and without gates", _numbered(results))
            sections.append(Section(title, tables=[tables[f"table_{number}"]]))
            sections.append(Section(f"{network}: curves", figures=_curves(results, number, figures)))
    sections += [settings.section(results["settings"]), *both_sides({_split_line(results): results})]
    shown = results["shown"] and results["rows"][results["shown"]]
    random = any(row.get("weights", "") is None for row in results["rows"].values())
    return Page(
        "Gated recognition",
        {
            "data": _data_line(results),
            "protocol": f"{_split_line(results)}: {split_line(results)}",
            "accuracy": f"{shown['video_accuracy']:.4f} video-wise, {shown['clip_accuracy']:.4f} clip-wise "
            f"({shown['label']})"
            if shown
            else "no row was run",
            "gating": " ".join(helps) or "Nothing to compare.",
            "the paper": settings.fact(results["settings"]),
        },
        [*sections, *tested_maps.sections(results.get("tested_maps")), *restored(results["pictures"])],
        "Networks that start from random weights: this page shows the whole path, not what the paper measured."
        if random
        else None,
        tables,
        [*(table.markdown() for table in tables.values()), "\n".join(helps)],
    )


def cards(results: Mapping) -> list[Card]:
    """The card of the network that is kept; none where no row was run."""
    if results["shown"] is None:
        return []
    row, over = results["rows"][results["shown"]], "group_interval"
    counts = f"{results['training_videos']} training, {results['test_videos']} test videos"
    return [
        Card(
            row["label"], results["dataset"], "video", row.get("weights") or "random weights", row["parameters"],
            f"{_split_line(results)}: {counts}", results["overlap"], results["overlap_text"],
            results.get("validation_text"), results["test_videos"], row["video_accuracy"],
            row.get(over) or row["video_interval"], "recordings" if row.get(over) else "clips",
            results.get("most_frequent_class"), seeds=len(results["seeds"]), trust=of_maps(results),
        )
    ]  # fmt: skip


def conclusion(results: Mapping) -> list[str]:
    """For each network, in words, whether gating helps."""
    sentences = []
    for network, plain in PLAIN.items():
        compared = [c for c in results["comparisons"] if c["rows"][1] == plain]
        if not compared:
            continue
        helps, hurts = (sum(c["verdict"] == verdict for c in compared) for verdict in (Verdict.BETTER, Verdict.WORSE))
        of = "" if len(compared) == 1 else f" ({len(compared)} choices of layers)"
        points = ", ".join(f"{100 * c['seeds']['difference']:+.1f}" for c in compared)
        if helps and hurts:
            word = f"helps in {helps} of them and harms in {hurts}"
        elif helps:
            word = "helps" if helps == len(compared) else f"helps in {helps} of them"
        elif hurts:
            word = "harms" if hurts == len(compared) else f"harms in {hurts} of them, and helps in none"
        else:
            word = "is not shown to help or to harm: the differences may be chance"
        sentences.append(f"{network}{of}: gating {word}; {points} points of video-wise accuracy.")
    return sentences


def table_of(results: Mapping, number: int) -> Table:
    """Table 9 or 10; with the paper's figures, on the data that they may be of."""
    seeds, of_paper = results["seeds"], results["dataset"]["name"] == "ucf101"
    columns = {
        "Network": "label",
        "Modality": "modality",
        "Clip-wise": lambda row: row.get("clip_accuracy", row["status"]),
        "Video-wise": lambda row: row.get("video_accuracy", row["status"]),
        "95 % interval": lambda row: interval(row.get("group_interval") or row.get("video_interval")),
        **({"Deviation over seeds": "deviation_over_seeds"} if len(seeds) > 1 else {}),
        "Parameters": "parameters",
        "Training (min)": lambda row: row["training_seconds"] / 60 if row["status"] == "run" else None,
    }
    for i, title in enumerate(PAPER[number] if of_paper else ()):
        columns[settings.paper_title(results["settings"], title)] = lambda row, i=i: row["paper"][i]
    quoted = results["paper"][str(number)]
    rows = [{"paper": quoted.get(name, [None, None]), **row} for name, row in _rows(results, number).items()]
    epoch = "epoch that was best on validation videos" if results["validation"] else "last"
    notes = []
    if any(row["status"] == "run" for row in rows):
        of = [n for n in results["dataset"]["clips"] if n.startswith("resnext3d" if number == 9 else "i3d")]
        test = ", ".join(f"{results['dataset']['clips'][n]['test']} clips of {LABELS[n]}" for n in of)
        notes += [
            f"Measured on {_data_line(results, of)}, {_split_line(results)}: {results['test_videos']} test videos, "
            f"{test}. {interval_text(rows)}",
            f"{results['epochs']} epochs, the same clips in the same order for all, measured after the {epoch}; "
            + (f"mean of {len(seeds)} seeds." if len(seeds) > 1 else f"seed {seeds[0]}."),
        ]
    if results.get("frozen"):
        notes.append("Only the classifier and the gates are trained; the networks stay as they are published.")
    starts, failed = {}, {}
    for row in rows:
        if row["status"] == "run":
            starts.setdefault(_start(row), []).append(_name(row))
        else:
            failed.setdefault(f"{row['status']}, {row['reason']}", []).append(_name(row))
    notes += [f"{'; '.join(of)}: {why}." for why, of in failed.items()]
    notes += [f"From {start}: {'; '.join(of)}." for start, of in starts.items()]
    if of_paper:
        notes.append("The paper does not say of which data and split its figures are; UCF101, split 1, is likeliest.")
        notes += settings.paper_note(results["settings"])
    elif _numbered(results):
        notes.append("The paper's figures were measured on other data and are not set beside these.")
    return Table.of(
        headed(f"Table {number}", f"{NETWORKS[number]} with and without gates", _numbered(results)),
        rows, columns, notes=notes, formats={"Parameters": ",", "Training (min)": ".1f"},
        highest=["Clip-wise", "Video-wise"],
    )  # fmt: skip


def interval_text(rows: Sequence[Mapping]) -> str:
    """What the interval of a table is one of."""
    if any(row.get("group_interval") for row in rows):
        return "The interval draws whole recordings again, of which several videos were cut."
    return (
        "The interval (Wilson) takes videos for independent; where several show one scene, as UCF101's do, it is too "
        "narrow."
    )


def _curves(results: Mapping, number: int, figures: Path) -> list[Figure]:
    """Accuracy and loss by epoch of the networks of a table."""
    histories = {
        _name(row): [trial["history"] for trial in row["trials"]]
        for row in _rows(results, number).values()
        if row["status"] == "run" and "fused" not in row
    }
    part, prefix = ("validation", "val_") if results["validation"] else ("training", "")
    count = len(results["seeds"])
    spread = "one seed" if count == 1 else f"mean of {count} seeds and their standard deviation"
    curves = []
    for metric in ("accuracy", "loss") if histories else ():
        path = plots.metric_by_epoch(histories, prefix + metric, figures / f"table_{number}_{metric}.png")
        curves.append(Figure(path, f"{metric.capitalize()} on {part} clips by epoch: {spread}."))
    return curves


def _numbered(results: Mapping) -> bool:
    """Whether tables have the paper's numbers: of the data its figures may be of, and of the embedded ones."""
    return results["dataset"]["name"] in ("ucf101", "figures")


def _rows(results: Mapping, number: int) -> dict[str, Mapping]:
    return {name: row for name, row in results["rows"].items() if row["table"] == number}


def _name(row: Mapping) -> str:
    return f"{row['label']}, {row['modality']}"


def _start(row: Mapping) -> str:
    """What the weights of a row that was run started from."""
    if "fused" in row:
        return "the networks above, the mean of their probabilities"
    return f"{row['weights']}, with a new classifier" if row["weights"] else "random weights"


def _data_line(results: Mapping, networks: Sequence[str] | None = None) -> str:
    """Videos and clips in words; `networks`: whose clips, None: of all."""
    data = results["dataset"]
    clips = {}  # clips in words -> the networks that take them
    for name, of in data["clips"].items():
        skipped = f" ({of['skipped']} unreadable left out)" if of["skipped"] else ""
        if networks is None or name in networks:
            clips.setdefault(f"{of['clips']} clips of {of['num_frames']} frames{skipped}", []).append(LABELS[name])
    videos = f"{data['videos']} videos of {len(data['classes'])} classes of {data['name']}"
    if len(clips) < 2:
        return "".join(f"{text} of " for text in clips) + videos
    return "; ".join([videos, *(f"{text} ({', '.join(names)})" for text, names in clips.items())])


def _split_line(results: Mapping) -> str:
    return f"{results['protocol']} split {results['split']}"
