"""Gated heads on 3D ResNeXt-101 and I3D: clip-wise and video-wise accuracy, Tables 9 and 10 of the 3DCAM paper.

    python -m experiments.gated_recognition                               # embedded data set, 8 min of processor time
    python -m experiments.gated_recognition --dataset ucf101 --data-dir UCF-101 --weights \\
        resnext3d=resnext-101-kinetics.pth,i3d=rgb_imagenet.pt,i3d_flow=flow_imagenet.pt       # the paper, split 1
    python -m experiments.gated_recognition --dataset hmdb51 --data-dir HMDB51 --weights i3d=rgb_imagenet.pt
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --weights none --resnext-blocks 1 1 1 1

A video is cut into clips of 16 neighbouring frames that do not overlap. Clip-wise accuracy counts clips (the paper's
"frame-wise total"), video-wise accuracy takes the mean of the probabilities of a video's clips. A network starts from
Kinetics weights with a new classifier, is trained as it is, and trained again with gates on some of its layers (section
3.9). Rows whose weights are not given are "not run", and say so; `--weights none` starts them from random weights.

The ablation: with and without gates, a network starts from the same weights, and, since the gates start at zero, from
the same answers. Both see the same clips in the same order for as many steps, with the same schedule. Paired tests over
videos, and with several `--seeds` over seeds, say whether gating helps.

The paper gives SGD, learning rate 0.001, a tenth of it after every 50 epochs, clips of 16 frames and t = 2. It leaves
open, and the options take: which data and which split Tables 9 and 10 are of (UCF101, split 1; its accuracies fit no
other), epochs (100), momentum (0.9), batch size (32), augmentation (mirroring), which epoch is measured (the last;
`--validation 0.1` chooses it on a tenth of the training videos), and whether the network's own classifier is one of the
summands (it is; `--no-classifier` leaves it out, and gates then start from random weights). It gates I3D at "mixed 3d",
which its Table 2 does not have: `mixed_3c` is taken, the last of that size. The order in which it numbers I3D's layers
is not given either: 1, 2, 3 are taken from input to output. RGB and flow are fused by the mean of their probabilities;
flow is computed from the same clips.

All clips of UCF101 take about 90 GB of disk at 112 x 112 and 360 GB at 224 x 224, their flow two thirds as much again;
`--clips-per-video 3` takes three of each video, evenly spread, a quarter of the room.

The embedded data set is for two cores: figures on plain backgrounds, and networks of a few layers and filters that
start from random weights. It shows the whole path, not the paper's result. The first command took 13 min on two cores
that other work shared. Video-wise it found 0.53 for 3D ResNeXt and 0.50 for the gated one; 0.20 for I3D, and 0.13 to
0.23 gated, hardly above chance, which is 0.10, in 8 epochs; 0.62 with flow and 0.63 with both. Of 60 test videos that
shows no help or harm of gates, and that flow helps.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from har_tf import quiet
from har_tf.command import by_name, whole_numbers, words
from har_tf.experiment import (
    Augmentation,
    Data,
    Embedded,
    Output,
    Training,
    announce,
    check_options,
    open_run,
    options,
    run_cli,
    strictest_protocol,
)
from har_tf.report.page import stored
from har_tf.report.run_folder import check_writable

EXPERIMENT = "gated_recognition"
UCF101 = (13320, 101)  # videos, classes

# row: (clip-wise, video-wise) accuracy, Table 9 of the paper
PAPER_TABLE_9 = {"resnext3d": (0.875, 0.891), "resnext3d_gated": (0.895, 0.919)}
# row: accuracy, Table 10 of the paper
PAPER_TABLE_10 = {
    "i3d": [0.962], "i3d_3": [0.968], "i3d_2": [0.967], "i3d_1+2+3": [0.961], "i3d_2+3": [0.971],
    "i3d_3_rgb+flow": [0.978],
}  # fmt: skip
# what the figures of the paper may be of
PAPER_SETTING = (
    "resnext_taps", "i3d_taps", "t", "classifier", "pool_channels", "resnext_size", "i3d_size", "resnext_blocks",
    "resnext_width", "i3d_width", "dropout", "num_frames", "clips_per_video", "classes", "split", "validation",
    "learning_rate", "step_epochs",
)  # fmt: skip
GATED_I3D = ("3", "2", "1+2+3", "2+3")  # the layers of I3D that Table 10 gates
BOTH = "i3d_3_rgb+flow"  # the row of RGB and flow fused
NETWORKS = {
    "resnext3d": "resnext-101-kinetics.pth of 3D-ResNets-PyTorch",
    "i3d": "the RGB checkpoint of kinetics-i3d or rgb_imagenet.pt of pytorch-i3d",
    "i3d_flow": "the flow checkpoint of kinetics-i3d or flow_imagenet.pt of pytorch-i3d",
}


@dataclass(frozen=True)
class Networks:
    """Which rows, and how networks are built."""

    tables: str = "9,10"
    """Tables to measure, separated by commas: 9 for 3D ResNeXt, 10 for I3D."""
    flow: bool = True
    """Measure the rows of Table 10 with flow."""
    weights: str | None = None
    """What networks start from: NAME=FILE or NAME=none (random weights), separated by commas, for resnext3d, i3d and
    i3d_flow, or none for all. None: no network has any, and no row is run."""
    resnext_taps: str = "layer4,layer3,layer2,layer1,conv3d_1a_7x7"
    """Layers of 3D ResNeXt that are gated (Table 9), separated by commas."""
    i3d_taps: str = "mixed_3c,mixed_4f,mixed_5c"
    """Layers 1, 2 and 3 of I3D, of which Table 10 gates some."""
    t: int = 2
    """Frames of a feature map that a gate pools into one (section 4)."""
    classifier: bool = True
    """Add the network's own classifier to the gates."""
    pool_channels: bool = False
    """Pool channels too, as the text of section 3.9 says; gates then have next to nothing to classify by."""
    resnext_size: int = 112
    """Side of the square frames of 3D ResNeXt."""
    i3d_size: int = 224
    """Side of the square frames of I3D."""
    resnext_blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    """Residual blocks of the four stages of 3D ResNeXt; 3 4 23 3 is 101 layers."""
    resnext_width: int = 128
    """Planes of the first stage of 3D ResNeXt, a multiple of 32."""
    i3d_width: float = 1.0
    """Factor on the filters of I3D."""
    dropout: float = 0.5
    """Dropout before the classifier of I3D; gates have none."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded(clips=300, clutter=0.0)
    networks: Networks = Networks()
    training: Training = Training(epochs=100, schedule="step", batch_size=32, validation=0.0)
    augmentation: Augmentation = Augmentation(flip=0.5)
    output: Output = Output(overlays=2)

    protocol: Literal["official", "group", "random"] | None = None
    """How videos are split. None: the official split, where the data have one, else one that keeps groups together,
    else a random one."""
    split: int = 1
    """Number of the official split; for group and random what it is drawn from."""
    num_frames: int = 16
    """Frames of a clip (section 4)."""
    clips_per_video: int | None = None
    """Clips taken of a video, evenly spread over those that do not overlap. None: all."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames than a clip; error leaves them out."""
    flow_method: Literal["dis", "tvl1"] = "dis"
    """How flow is computed; tvl1 needs OpenCV's contributed modules."""
    step_epochs: int = 50
    """Epochs after which the learning rate is multiplied by 0.1 (section 4)."""
    momentum: float = 0.9
    """Momentum of SGD."""
    seeds: str = "0"
    """Seeds of the starting weights, the order and the validation videos, separated by commas; several are averaged,
    and compared in pairs."""


PRESETS = {
    # Networks of a few layers and filters on small frames, to end in minutes on two cores.
    "figures": Recipe(
        Data("figures"),
        networks=Networks(
            weights="none", resnext_size=48, i3d_size=48, resnext_blocks=(1, 1, 1, 1), resnext_width=32,
            i3d_width=0.125, dropout=0.0,
        ),
        training=Training(epochs=8, learning_rate=0.005, schedule="step", batch_size=8, validation=0.0),
        step_epochs=6,
    ),
    "paper": Recipe(),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a table: a network without or with gates.

    Args:
        name: its name in `results.json`.
        label: its name in the tables.
        network: of `NETWORKS`.
        taps: the layers that are gated.
        weights: file with its Kinetics weights; None: random ones.
        options: of the network's builder.
        gate: of `gated`.
        missing: why it cannot be run; None: it can.
    """

    name: str
    label: str
    network: str
    taps: tuple[str, ...] = ()
    weights: Path | None = None
    options: Mapping = field(default_factory=dict)
    gate: Mapping = field(default_factory=dict)
    missing: str | None = None

    @property
    def about(self) -> dict:
        """The row as `results.json` has it, before it is run."""
        table, modality = 9 if self.network == "resnext3d" else 10, "flow" if self.network == "i3d_flow" else "rgb"
        return {"label": self.label, "table": table, "modality": modality, "taps": self.taps}

    def build(self, shape, num_classes: int):
        """The network for clips of shape (T, H, W, C).

        Raises:
            ValueError: weights of another network, an unknown tap, or a shape that the network cannot have.
        """
        from har_tf.models.gated import gated
        from har_tf.models.kinetics import from_kinetics

        model = from_kinetics(self.network, shape, num_classes, self.weights, **self.options)
        return gated(model, self.taps, **self.gate) if self.taps else model


def main(recipe: Recipe) -> None:
    check(recipe)
    listed = recipe.data.listed(recipe.split)
    check_writable(recipe.output.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.datasets import DatasetError, splits
    from har_tf.datasets.cut import clips_of, cut
    from har_tf.evaluate.videos import VideoPredictions
    from har_tf.models.saving import load_model
    from har_tf.report.pages.explained import Answered, overlay_sections
    from har_tf.store.flow import flow_clips
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, hold_out, run_rows, run_trial

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    schedule = recipe.training.recipe(optimizer="sgd", momentum=recipe.momentum, step_epochs=recipe.step_epochs)
    augment, validation = recipe.augmentation.augment(), recipe.training.validation
    strategy = training.strategy(recipe.training.strategy)
    training.set_precision(recipe.training.precision)
    rows = table_rows(recipe.networks)
    check_rows(rows, recipe)
    dataset = listed or recipe.embedded.draw(
        recipe.output, recipe.data.class_names, size=(64, 64), frames=2 * recipe.num_frames
    )
    protocol = recipe.protocol or strictest_protocol(dataset)
    train, test = dataset.split(protocol, recipe.split)
    seeds = whole_numbers("--seeds", recipe.seeds)
    for seed in seeds:
        hold_out(train, protocol, seed, validation)

    with open_run(EXPERIMENT, recipe, f"{dataset.name}-{protocol}{recipe.split}", listed) as run:
        announce(dataset, "videos")
        overlap = splits.overlap(train, test)
        text = overlap.sentence("video")
        print(f"{protocol} split {recipe.split}: {len(train)} training videos; {text}", flush=True)
        # Only videos of the split: of HMDB51 others are in none.
        cut_clips = cut(
            dataset.subset([*train.records, *test.records]), recipe.num_frames, recipe.clips_per_video,
            recipe.output.workers,
        )  # fmt: skip
        todo = [row for row in rows if not row.missing]
        data = {}  # network -> its clips
        for network in dict.fromkeys(row.network for row in todo):
            data[network] = one = prepare(
                cut_clips, recipe.output.cache, recipe.num_frames, size_of(network, recipe), "dense", recipe.short,
                "crop", recipe.output.workers,
            )  # fmt: skip
            if network == "i3d_flow":
                data[network] = flow_clips(one, recipe.output.cache / "flow", recipe.flow_method)
        run.keep(one.path / "skipped.csv")
        readable = set(one.record_paths)
        train, test = (part.subset(r for r in part.records if r.path in readable) for part in (train, test))
        if not len(train) or not len(test):
            raise DatasetError(f"{dataset.root}: no video of one part of the {protocol} split can be read")

        answered, tested = {}, {}  # row, seed -> what it answered; row -> the test clips

        def trial(row: Row, split: int, seed: int) -> dict:
            rest, held_out = hold_out(train, protocol, seed, validation)
            parts = Parts.of(data[row.network], *(clips_of(cut_clips, part) for part in (rest, held_out, test)))
            outcome = run_trial(
                row, {}, parts, schedule, run.training / f"seed{seed}_{row.name}", recipe.training.batch_size, augment,
                seed, recipe.training.precision, strategy,
            )  # fmt: skip
            answered[row.name, seed] = VideoPredictions.of(
                parts.test.record_paths, parts.test.labels, outcome.probabilities
            )
            tested[row.name], training_run = parts.test, outcome.as_dict()
            return scores(answered[row.name, seed]) | {
                **{name: training_run[name] for name in ("best_epoch", "history", "seconds", "parameters")},
                "training_clips": len(parts.train), "validation_clips": len(parts.validation or ()),
            }  # fmt: skip

        trials, diverged = run_rows(todo, [recipe.split], seeds, trial, "video_accuracy")
        if len(diverged) == len(todo):
            raise ValueError("None of the networks could be trained; the reasons are above")
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(train) + len(test),
                "clips": len(one), "skipped_clips": len(one.skipped), "num_frames": recipe.num_frames,
                "notes": list(dataset.notes), "as_in_paper": as_in_paper(recipe, dataset, protocol),
            },
            "paper": {"9": PAPER_TABLE_9, "10": PAPER_TABLE_10},
            "protocol": protocol, "split": recipe.split, "seeds": seeds, "epochs": recipe.training.epochs,
            "validation": validation, "training_videos": len(train), "test_videos": len(test),
            "test_clips": len(next(iter(tested.values()))), "overlap": asdict(overlap), "overlap_text": text,
            "augmented": None if augment is None else asdict(augment),
            "rows": {row.name: as_result(row, trials, diverged, len(test)) for row in rows},
        }  # fmt: skip
        fuse(results, trials, answered)
        results["comparisons"] = comparisons(results["rows"], trials)
        results["shown"] = shown = shown_row(results["rows"])
        folder = run.training / f"seed{seeds[0]}_{shown}"
        run.keep(folder / "model.keras")
        run.keep(folder / "history.csv")
        pictures, row = [], results["rows"][shown]
        if row["modality"] == "rgb":
            model, _ = load_model(folder / "model.keras")
            predictions = Answered(model, tested[shown], answered[shown, seeds[0]].clips, methods=("gradcam", "3dcam"))
            pictures = overlay_sections(predictions, run.overlays, recipe.output.overlays, f"{row['label']}, overlays")
        results["pictures"] = stored(pictures, run.path)
        run.publish(results)


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    networks = recipe.networks
    check_options(
        recipe, t=(1, None), num_frames=(8, None), clips_per_video=(1, None), resnext_size=(32, None),
        i3d_size=(32, None), i3d_width=(0.01, None), clips=(10, None),
    )  # fmt: skip
    tables = words(networks.tables)
    if not set(tables) <= {"9", "10"} or len(set(tables)) < len(tables):
        raise ValueError(f"--tables must be 9, 10 or both, separated by a comma. Received: {networks.tables!r}")
    whole_numbers("--seeds", recipe.seeds)
    if len(words(networks.i3d_taps)) != 3:
        raise ValueError(f"--i3d-taps must be the three layers that Table 10 numbers. Received: {networks.i3d_taps!r}")
    given_weights(networks)


def given_weights(networks: Networks) -> dict[str, Path | None]:
    """Network -> file, or None for random weights; a network that is not in it has none.

    Raises:
        ValueError: a network that is unknown or named twice, or no such file.
    """
    if networks.weights is None:
        return {}
    sources = by_name("--weights", networks.weights, list(NETWORKS), ("none",))
    files = {name: None if source == "none" else Path(source).expanduser() for name, source in sources.items()}
    for name, file in files.items():
        # A checkpoint of TensorFlow is named by what its files begin with.
        if file is not None and not file.is_file() and not file.with_name(f"{file.name}.index").is_file():
            raise ValueError(f"{file}: no such weights file. Received: --weights {name}={file}")
    return files


def table_rows(networks: Networks) -> list[Row]:
    """The rows of the tables that are trained; the fusion of RGB and flow is made of two of them."""
    given = given_weights(networks)
    gate = {"t": networks.t, "classifier": networks.classifier, "pool_channels": networks.pool_channels}

    def row(name, label, network, taps=()):
        missing = f"needs weights: --weights {network}=FILE, {NETWORKS[network]}, or {network}=none for random ones"
        built = {"blocks": networks.resnext_blocks, "width": networks.resnext_width}
        if network != "resnext3d":
            built = {"width": networks.i3d_width, "dropout": networks.dropout}
        return Row(
            name, label, network, tuple(taps), given.get(network), built, gate, None if network in given else missing
        )

    rows = []
    if "9" in words(networks.tables):
        label = "3D ResNeXt-101" if networks.resnext_blocks == (3, 4, 23, 3) else "3D ResNeXt"
        taps = words(networks.resnext_taps)
        numbers = "+".join("conv" if tap == "conv3d_1a_7x7" else tap.removeprefix("layer") for tap in taps)
        rows.append(row("resnext3d", label, "resnext3d"))
        rows.append(row("resnext3d_gated", f"{label} (layer {numbers})", "resnext3d", taps))
    if "10" in words(networks.tables):
        layers = dict(zip("123", words(networks.i3d_taps), strict=True))
        rows.append(row("i3d", "I3D", "i3d"))
        for numbers in GATED_I3D:
            taps = [layers[number] for number in numbers.split("+")]
            rows.append(row(f"i3d_{numbers}", f"I3D (layer {numbers})", "i3d", taps))
        if networks.flow:
            rows.append(row("i3d_3_flow", "I3D (layer 3)", "i3d_flow", [layers["3"]]))
    return rows


def size_of(network: str, recipe: Recipe) -> tuple[int, int]:
    """Height and width of the frames that a network takes."""
    return (recipe.networks.resnext_size if network == "resnext3d" else recipe.networks.i3d_size,) * 2


def check_rows(rows: list[Row], recipe: Recipe) -> None:
    """Builds every network once, with its weights, so that what does not fit shows before any work.

    Raises:
        ValueError: see `Row.build`; or no row can be run.
    """
    if all(row.missing for row in rows):
        raise ValueError(f"No row can be run: {'; '.join(dict.fromkeys(row.missing for row in rows))}")
    imported = set()
    for row in rows:
        shape = (recipe.num_frames, *size_of(row.network, recipe), 2 if row.about["modality"] == "flow" else 3)
        (row if row.network not in imported else replace(row, weights=None)).build(shape, 2)
        imported.add(row.network)


def as_in_paper(recipe: Recipe, dataset, protocol: str) -> bool:
    """Whether the figures of the paper may be of these data and these networks."""
    chosen, paper = options(recipe), options(PRESETS["paper"])
    return (
        dataset.name == "ucf101"
        and (len(dataset), len(dataset.class_names)) == UCF101
        and protocol == "official"
        and all(chosen[name] == paper[name] for name in PAPER_SETTING)
        and all(file is not None for file in given_weights(recipe.networks).values())
    )


def scores(predictions) -> dict:
    """What a trial keeps of `VideoPredictions`."""
    return predictions.accuracies() | {"answers": predictions.answers()}


def as_result(row: Row, trials: Mapping, diverged: Mapping, videos: int) -> dict:
    """A row as `results.json` has it: means over seeds, and what they are made of."""
    if row.missing:
        return row.about | {"status": "not run", "reason": row.missing}
    if row.name in diverged:
        return row.about | {"status": "diverged", "reason": diverged[row.name]}
    of_row = trials[row.name]
    return row.about | {
        "status": "run", "reason": None, "weights": row.weights and row.weights.name,
        "parameters": of_row[0]["parameters"],
        "training_seconds": sum(trial["seconds"] for trial in of_row) / len(of_row), **means(of_row, videos),
    }  # fmt: skip


def means(trials: list[dict], videos: int) -> dict:
    """Clip-wise and video-wise accuracy of the trials of a row, as `results.json` has them."""
    from har_tf.evaluate.repeats import spread

    clip, video = (spread(trials, f"{unit}_accuracy", videos) for unit in ("clip", "video"))
    return {
        "clip_accuracy": clip.mean, "video_accuracy": video.mean, "video_interval": video.interval,
        "deviation_over_seeds": video.over_seeds,
        "trials": [{name: value for name, value in trial.items() if name != "answers"} for trial in trials],
    }  # fmt: skip


def fuse(results: dict, trials: dict, answered: Mapping) -> None:
    """Adds the row of RGB and flow, and its trials."""
    rows, parts = results["rows"], ("i3d_3", "i3d_3_flow")
    if "i3d_3_flow" not in rows:
        return
    fused = {"label": "I3D (layer 3)", "table": 10, "modality": "rgb + flow", "taps": rows["i3d_3"]["taps"]}
    rows[BOTH] = fused
    for part in parts:
        if rows[part]["status"] != "run":
            fused |= {"status": "not run", "reason": rows[part]["reason"]}
            return
    trials[BOTH] = [
        {"split": results["split"], "seed": seed} | scores(answered[parts[0], seed].fused(answered[parts[1], seed]))
        for seed in results["seeds"]
    ]
    fused |= {"status": "run", "reason": None, "fused": parts} | means(trials[BOTH], results["test_videos"])
    fused |= {name: sum(rows[part][name] for part in parts) for name in ("parameters", "training_seconds")}


def comparisons(rows: Mapping, trials: Mapping) -> list[dict]:
    """Each gated network against the same without gates, and RGB with flow against RGB alone.

    Clips of one video are not independent, so the test over answers is one over videos.
    """
    from har_tf.evaluate.repeats import compare

    pairs = [("resnext3d_gated", "resnext3d"), *((f"i3d_{numbers}", "i3d") for numbers in GATED_I3D), (BOTH, "i3d_3")]
    compared = []
    for pair in pairs:
        if all(name in rows and rows[name]["status"] == "run" for name in pair):
            names = (f"{rows[name]['label']}, {rows[name]['modality']}" for name in pair)
            comparison = compare(*names, *(trials[name] for name in pair), "video_accuracy", "video")
            compared.append({"rows": pair, "table": rows[pair[0]]["table"], **comparison.as_dict()})
    return compared


def shown_row(rows: Mapping) -> str:
    """The network that is shown in pictures and saved: the gated 3D ResNeXt, else the best gated I3D."""
    run = {name: row["video_accuracy"] for name, row in rows.items() if row["status"] == "run" and name != BOTH}
    gated = [name for name in run if rows[name]["taps"] and rows[name]["modality"] == "rgb"]
    return "resnext3d_gated" if "resnext3d_gated" in run else max(gated or run, key=run.get)


if __name__ == "__main__":
    run_cli(main, PRESETS)
