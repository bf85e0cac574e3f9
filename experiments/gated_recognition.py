"""Gated heads on 3D ResNeXt-101 and I3D: clip-wise and video-wise accuracy, Tables 9 and 10 of the 3DCAM paper.

    python -m experiments.gated_recognition                               # embedded data set, 8 min of processor time
    python -m experiments.gated_recognition --dataset ucf101 --data-dir UCF-101 --weights \\
        resnext3d=resnext-101-kinetics.pth,i3d=rgb_imagenet.pt,i3d_flow=flow_imagenet.pt       # the paper, split 1
    python -m experiments.gated_recognition --dataset hmdb51 --data-dir HMDB51 --weights i3d=rgb_imagenet.pt
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --weights none --resnext-blocks 1 1 1 1
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --tables 10 --weights i3d=FILE --no-flow \\
        --frozen --flip 0 --learning-rate 0.01         # classifier and gates alone, minutes

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

from dataclasses import asdict, dataclass, replace
from typing import Literal

from har_tf.command import whole_numbers
from har_tf.evaluate.gated_rows import Networks
from har_tf.experiment import (
    Augmentation,
    Data,
    Devices,
    Embedded,
    Output,
    Split,
    Training,
    audited,
    begin,
    check_options,
    open_run,
    options,
    run_cli,
    strictest_protocol,
)
from har_tf.report.page import stored

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
    "resnext_width", "i3d_width", "frozen", "dropout", "num_frames", "clips_per_video", "classes", "split",
    "validation", "learning_rate", "step_epochs",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded(clips=300, clutter=0.0)
    networks: Networks = Networks()
    training: Training = Training(epochs=100, schedule="step", batch_size=32, validation=0.0)
    devices: Devices = Devices()
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


def main(recipe: Recipe) -> None:
    check(recipe)
    listed = recipe.data.listed(recipe.split)
    split = split_up(recipe, listed) if listed else None
    begin(recipe, under_jax=True)

    from har_tf.datasets import DatasetError
    from har_tf.datasets.cut import clips_of, cut
    from har_tf.evaluate import gated_rows
    from har_tf.evaluate.videos import VideoPredictions
    from har_tf.models.saving import load_model
    from har_tf.report.pages.explained import ClipPredictions, overlay_sections
    from har_tf.store.flow import flow_clips
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, run_rows

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    augment, networks, seeds = recipe.augmentation.augment(), recipe.networks, whole_numbers("--seeds", recipe.seeds)
    trainer = recipe.training.trainer(augment, recipe.output.pipeline, **sgd(recipe))
    rows = networks.rows()
    gated_rows.check_rows(rows, recipe.num_frames)
    dataset = listed or recipe.embedded.draw(
        recipe.output, recipe.data.class_names, size=(64, 64), frames=2 * recipe.num_frames
    )
    split = split or split_up(recipe, dataset)
    protocol = split.protocol

    with open_run(EXPERIMENT, recipe, f"{dataset.name}-{protocol}{recipe.split}", dataset, "videos") as run:
        # Only videos of the split: of HMDB51 others are in none.
        of_split = dataset.subset([*split.train.records, *split.test.records])
        cut_clips = cut(of_split, recipe.num_frames, recipe.clips_per_video, recipe.output.workers)
        data = {}  # network -> its clips
        for network in dict.fromkeys(row.network for row in rows if not row.missing):
            data[network] = prepared = prepare(
                cut_clips, recipe.output.cache, recipe.num_frames, networks.size_of(network), "dense", recipe.short,
                "crop", recipe.output.workers, beam=recipe.output.pipeline,
            )  # fmt: skip
            if network == "i3d_flow":
                data[network] = flow_clips(prepared, recipe.output.cache / "flow", recipe.flow_method)
        run.keep(prepared.path / "skipped.csv")
        paths = set(prepared.record_paths)
        train, test = (part.subset(r for r in part.records if r.path in paths) for part in (split.train, split.test))
        if not len(train) or not len(test):
            raise DatasetError(f"{dataset.root}: no video of one part of the {protocol} split can be read")
        split = replace(split, train=train, test=test)
        of_both = dataset.subset(train.records + test.records)
        found = None if recipe.data.embedded else audited(of_both, run, recipe.output.workers)
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names),
                "videos": len(split.train) + len(split.test), "clips": len(prepared),
                "skipped_clips": len(prepared.skipped), "num_frames": recipe.num_frames, "notes": list(dataset.notes),
                "as_in_paper": as_in_paper(recipe, dataset, protocol),
            },
            "paper": {"9": PAPER_TABLE_9, "10": PAPER_TABLE_10},
            "protocol": protocol, "split": recipe.split, "seeds": seeds, "epochs": recipe.training.epochs,
            "frozen": networks.frozen,
            "validation": split.validation, "augmented": None if augment is None else asdict(augment),
            **split.measured("video", found),
        }  # fmt: skip

        # Tables 9 and 10.
        answered, tested = {}, {}  # (row, seed) -> what it answered; row -> the test clips

        def trial(row, number: int, seed: int) -> dict:
            parts = Parts.of(data[row.network], *(clips_of(cut_clips, part) for part in split.parts(seed)))
            outcome = trainer.train(row, parts, run.training / f"seed{seed}_{row.name}", seed)
            predictions = VideoPredictions.of(parts.test.record_paths, parts.test.labels, outcome.probabilities)
            answered[row.name, seed], tested[row.name], found = predictions, parts.test, outcome.as_dict()
            return gated_rows.scores(predictions) | {
                **{name: found[name] for name in ("best_epoch", "history", "seconds", "parameters")},
                "training_clips": len(parts.train), "validation_clips": len(parts.validation or ()),
            }  # fmt: skip

        trials, states = run_rows(rows, [recipe.split], seeds, trial, "video_accuracy")
        if all(state["status"] != "run" for state in states.values()):
            raise ValueError("None of the networks could be trained; the reasons are above")
        results["test_clips"] = len(next(iter(tested.values())))
        groups = {str(record.path): record.group for record in split.test.records}
        results["rows"] = gated_rows.as_results(rows, states, trials, answered, groups)
        results["comparisons"] = gated_rows.comparisons(results["rows"], trials)

        # The network that is shown.
        results["shown"] = shown = gated_rows.shown_row(results["rows"])
        folder, pictures, row = run.training / f"seed{seeds[0]}_{shown}", [], results["rows"][shown]
        run.keep(folder / "model.keras")
        run.keep(folder / "history.csv")
        if row["modality"] == "rgb":
            model, _ = load_model(folder / "model.keras")
            predictions = ClipPredictions(
                model, tested[shown], answered[shown, seeds[0]].clips, methods=("gradcam", "3dcam")
            )
            pictures = overlay_sections(predictions, run.overlays, recipe.output.overlays, f"{row['label']}, overlays")
        results["pictures"] = stored(pictures, run.path)
        run.publish(results)


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    check_options(
        recipe, t=(1, None), num_frames=(8, None), clips_per_video=(1, None), resnext_size=(32, 4096),
        i3d_size=(32, 4096), i3d_width=(0.01, None), clips=(10, None),
    )  # fmt: skip
    whole_numbers("--seeds", recipe.seeds)
    recipe.networks.check()
    recipe.training.recipe(**sgd(recipe))


def sgd(recipe: Recipe) -> dict:
    """What the paper adds to how a model is trained (section 4)."""
    return {"optimizer": "sgd", "momentum": recipe.momentum, "step_epochs": recipe.step_epochs}


def split_up(recipe: Recipe, dataset) -> Split:
    """The data set in two parts."""
    protocol, seeds = recipe.protocol or strictest_protocol(dataset), whole_numbers("--seeds", recipe.seeds)
    return Split.of(dataset, protocol, recipe.split, recipe.training.validation, seeds)


def as_in_paper(recipe: Recipe, dataset, protocol: str) -> bool:
    """Whether the figures of the paper may be of these data and these networks."""
    chosen, paper = options(recipe), options(PRESETS["paper"])
    return (
        dataset.name == "ucf101"
        and (len(dataset), len(dataset.class_names)) == UCF101
        and protocol == "official"
        and all(chosen[name] == paper[name] for name in PAPER_SETTING)
        and all(file is not None for file in recipe.networks.sources.values())
    )


if __name__ == "__main__":
    run_cli(main, PRESETS)
