"""Gated heads on 3D ResNeXt-101 and I3D: clip-wise and video-wise accuracy, Tables 9 and 10 of the 3DCAM paper.

    python -m experiments.gated_recognition                               # embedded data set, 8 min of processor time
    python -m experiments.gated_recognition --dataset ucf101 --data-dir UCF-101 --weights \\
        resnext3d=resnext-101-kinetics.pth,i3d=rgb_imagenet.pt,i3d_flow=flow_imagenet.pt       # the paper, split 1
    python -m experiments.gated_recognition --dataset hmdb51 --data-dir HMDB51 --weights i3d=rgb_imagenet.pt
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --weights none --resnext-blocks 1 1 1 1
    python -m experiments.gated_recognition --dataset VIDEOS --lists LISTS --tables 10 --weights i3d=FILE --no-flow \\
        --frozen --flip 0 --learning-rate 0.01         # classifier and gates alone, minutes

A video is cut into clips of neighbouring frames that do not overlap: 16 by section 4, and for I3D 64 by Table 2, which
`--i3d-frames 64` takes. Clip-wise accuracy counts clips (the paper's
"frame-wise total"), video-wise accuracy takes the mean of the probabilities of a video's clips. A network starts from
Kinetics weights with a new classifier, is trained as it is, and trained again with gates on some of its layers (section
3.9). Rows whose weights are not given are "not run", and name the file; `--weights none` starts them from random ones.

The ablation: with and without gates, a network starts from the same weights, and, since the gates start at zero, from
the same answers. Both see the same clips in the same order for as many steps, with the same schedule. Paired tests over
videos, and with several `--seeds` over seeds, say whether gating helps.

`PAPER` has what the paper says of every setting, and what it leaves open; the report lists what a run takes otherwise.
It does not say which data and which split Tables 9 and 10 are of (UCF101, split 1: its accuracies fit no other), nor
whether the network's own classifier is one of the summands (it is; `--no-classifier` leaves it out, and gates then
start from random weights). It gates I3D at "mixed 3d", which its Table 2 does not have: `mixed_3c` is taken, the last
of that size. The order in which it numbers I3D's layers is not given either: 1, 2, 3 are taken from input to output.
The last epoch is measured; `--validation 0.1` chooses it on a tenth of the training videos. RGB and flow are fused by
the mean of their probabilities; flow is computed from the same clips.

All clips of UCF101 take about 90 GB of disk at 112 x 112 and 360 GB at 224 x 224, their flow two thirds as much again;
`--clips-per-video 3` takes three of each video, evenly spread, a quarter of the room. What all networks take is said,
and refused where it does not fit, before the first clip is prepared. `--stream` takes none: it decodes the videos in
every pass, which costs processor time, after a check that finds those that cannot be read.

The embedded data set is for two cores: figures on plain backgrounds, and networks of a few layers and filters that
start from random weights. It shows the whole path, not the paper's result. The first command took 13 min on two cores
that other work shared. Video-wise it found 0.53 for 3D ResNeXt and 0.50 for the gated one; 0.20 for I3D, and 0.13 to
0.23 gated, hardly above chance, which is 0.10, in 8 epochs; 0.62 with flow and 0.63 with both. Of 60 test videos that
shows no help or harm of gates, and that flow helps.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

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
    all_trained,
    audited,
    begin,
    check_options,
    open_run,
    paper_settings,
    run_cli,
    strictest_protocol,
)
from har_tf.names import say
from har_tf.paper import Says, Silent
from har_tf.report.page import stored

EXPERIMENT = "gated_recognition"
REMEDY = "Less is taken by --clips-per-video, --resnext-size, --i3d-size and --no-flow, nothing by --stream --no-flow"

# row: (clip-wise, video-wise) accuracy, Table 9 of the paper
PAPER_TABLE_9 = {"resnext3d": (0.875, 0.891), "resnext3d_gated": (0.895, 0.919)}
# row: accuracy, Table 10 of the paper
PAPER_TABLE_10 = {
    "i3d": [0.962], "i3d_3": [0.968], "i3d_2": [0.967], "i3d_1+2+3": [0.961], "i3d_2+3": [0.971],
    "i3d_3_rgb+flow": [0.978],
}  # fmt: skip
LIKELY = "not said; the accuracies of Tables 9 and 10 fit no other"
# what the paper says of every setting
PAPER = {
    "data set": Says("ucf101", LIKELY),
    "videos": Says(13320, "section 4, UCF101"),
    "classes": Says(101, "section 4, UCF101"),
    "protocol": Says("official", LIKELY),
    "split": Says(1, LIKELY),
    "tables": Says("9,10", "section 5.4", counts=False),
    "flow": Says(True, "Table 10", counts=False),
    "weights": Says("Kinetics", "section 4"),
    "frozen": Says(False, "section 4, fine-tuned"),
    "resnext_taps": Says("layer4,layer3,layer2,layer1,conv3d_1a_7x7", "section 4"),
    "i3d_taps": Says("mixed_3c,mixed_4f,mixed_5c", 'section 4, whose "mixed 3d" Table 2 does not have'),
    "t": Says(2, "section 4"),
    "classifier": Silent("whether the network's own is a summand"),
    "pool_channels": Says(
        True, "section 3.9", counts=False, why="one number of a frame tells no hundred classes apart: not pooled"
    ),
    "resnext_size": Says(224, "Table 1", {112: "section 4, as its weights were trained"}),
    "i3d_size": Says(224, "Table 2"),
    "resnext_frames": Says(16, "section 4"),
    "i3d_frames": Says(64, "Table 2", {16: "section 4"}),
    "clips_per_video": Says(None, "section 4"),
    "resnext_blocks": Says((3, 4, 23, 3), "Table 9, 101 layers"),
    "resnext_width": Says(128, "section 4, the published network"),
    "i3d_width": Says(1.0, "Table 2"),
    "learning_rate": Says(0.001, "section 4"),
    "schedule": Says("step", "section 4"),
    "step_epochs": Says(50, "section 4"),
    "momentum": Silent("SGD's usual one"),
    "epochs": Silent("twice the step"),
    "batch_size": Silent("what fits a GPU"),
    "warmup_epochs": Silent("none is named"),
    "label_smoothing": Silent("none is named"),
    "weight_decay": Silent("none is named"),
    "clipnorm": Silent("none is named"),
    "dropout": Silent("I3D's own"),
    "validation": Silent("which epoch is measured: the last"),
    "flip": Silent("mirroring"),
    "crop": Silent("none is named"),
    "colour": Silent("none is named"),
    "shift_frames": Silent("none is named"),
    "short": Silent("what shorter videos need"),
    "flow_method": Silent("how flow is computed"),
    "seeds": Silent("how often it was trained"),
    "stream": None,
}


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
    stream: bool = False
    """Decode the clips from the videos in every pass, in place of preparing them: no disk, but more processor time."""
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
    from har_tf.store.shards import ClipSettings
    from har_tf.store.store import check_room
    from har_tf.store.streamed import StreamedClips
    from har_tf.trial import Parts, run_rows

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    augment, networks, seeds = recipe.augmentation.augment(), recipe.networks, whole_numbers("--seeds", recipe.seeds)
    trainer = recipe.training.trainer(augment, recipe.output.pipeline, **sgd(recipe))
    rows = networks.rows()
    gated_rows.check_rows(rows)
    for reason in dict.fromkeys(row.missing for row in rows if row.missing):
        say(f"not run: {reason}")
    longest = max(networks.resnext_frames, networks.i3d_frames)
    dataset = listed or recipe.embedded.draw(recipe.output, recipe.data.class_names, size=(64, 64), frames=2 * longest)
    split = split or split_up(recipe, dataset)
    protocol = split.protocol

    with open_run(EXPERIMENT, recipe, f"{dataset.name}-{protocol}{recipe.split}", dataset, "videos") as run:
        # Only videos of the split: of HMDB51 others are in none.
        of_split = dataset.subset([*split.train.records, *split.test.records])
        cut_clips, data, counts, skipped = {}, {}, {}, {}  # by frames of a clip; by network, twice; by path
        taken = {  # network -> how its clips are taken
            network: ClipSettings(networks.frames_of(network), networks.size_of(network), "dense", recipe.short, "crop")
            for network in dict.fromkeys(row.network for row in rows if not row.missing)
        }
        for frames in {settings.num_frames for settings in taken.values()}:
            cut_clips[frames] = cut(of_split, frames, recipe.clips_per_video, recipe.output.workers)
        unreadable = {}
        if not recipe.stream:
            check_room(recipe.output.cache, room(taken, cut_clips), REMEDY)
        elif not recipe.data.embedded:
            unreadable = audited(of_split, run, recipe.output.workers).problems_of(of_split.records)
        for network, settings in taken.items():
            frames = settings.num_frames
            if recipe.stream:
                prepared = StreamedClips.of(cut_clips[frames], settings, unreadable)
            else:
                prepared = prepare(
                    cut_clips[frames], recipe.output.cache, **asdict(settings), workers=recipe.output.workers,
                    beam=recipe.output.pipeline,
                )  # fmt: skip
            data[network] = prepared
            skipped |= {video.path: video.reason for video in prepared.skipped}
            counts[network] = {"num_frames": frames, "clips": len(prepared), "skipped": len(prepared.skipped)}
            if network == "i3d_flow":
                data[network] = flow_clips(prepared, recipe.output.cache / "flow", recipe.flow_method)
        run.write_skipped(skipped)
        # All networks are measured on the same videos.
        seen = [set(part.record_paths) for part in data.values()]
        train, test = (
            part.subset(record for record in part.records if all(record.path in paths for paths in seen))
            for part in (split.train, split.test)
        )
        if not len(train) or not len(test):
            raise DatasetError(f"{dataset.root}: no video of one part of the {protocol} split can be read")
        split = replace(split, train=train, test=test)
        of_both = dataset.subset(train.records + test.records)
        found = audited(of_both, run, recipe.output.workers) if data and not recipe.data.embedded else None
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(of_both), "clips": counts,
                "notes": list(dataset.notes),
            },
            "settings": paper_settings(
                recipe, PAPER, **{"data set": dataset.name}, videos=len(dataset), classes=len(dataset.class_names),
                protocol=protocol, weights=networks.pretraining,
            ),
            "paper": {"9": PAPER_TABLE_9, "10": PAPER_TABLE_10},
            "protocol": protocol, "split": recipe.split, "seeds": seeds, "epochs": recipe.training.epochs,
            "frozen": networks.frozen,
            "validation": split.validation, "augmented": None if augment is None else asdict(augment),
            **split.measured("video", found),
        }  # fmt: skip

        # Tables 9 and 10.
        answered, tested = {}, {}  # (row, seed) -> what it answered; row -> the test clips

        def trial(row, number: int, seed: int) -> dict:
            clips = cut_clips[networks.frames_of(row.network)]
            parts = Parts.of(data[row.network], *(clips_of(clips, part) for part in split.parts(seed)))
            outcome = trainer.train(row, parts, run.training / f"seed{seed}_{row.name}", seed)
            predictions = VideoPredictions.of(parts.test.record_paths, parts.test.labels, outcome.probabilities)
            answered[row.name, seed], tested[row.name], found = predictions, parts.test, outcome.as_dict()
            counts[row.network]["test"] = len(parts.test)
            return gated_rows.scores(predictions) | {
                **{name: found[name] for name in ("best_epoch", "history", "seconds", "parameters")},
                "training_clips": len(parts.train), "validation_clips": len(parts.validation or ()),
            }  # fmt: skip

        trials, states = run_rows(rows, [recipe.split], seeds, trial, "video_accuracy")
        all_trained(run)
        if data and not tested:
            raise ValueError("None of the networks could be trained; the reasons are above")
        groups = {str(record.path): record.group for record in split.test.records}
        results["rows"] = gated_rows.as_results(rows, states, trials, answered, groups)
        results["comparisons"] = gated_rows.comparisons(results["rows"], trials)

        # The network that is shown.
        results["shown"], pictures = (shown := gated_rows.shown_row(results["rows"])), []
        if shown is not None:
            folder, row = run.training / f"seed{seeds[0]}_{shown}", results["rows"][shown]
            run.keep(folder / "model.keras")
            run.keep(folder / "history.csv")
        if shown is not None and row["modality"] == "rgb":
            model, _ = load_model(folder / "model.keras")
            predictions = ClipPredictions(
                model, tested[shown], answered[shown, seeds[0]].clips, methods=("gradcam", "3dcam")
            )
            pictures = overlay_sections(predictions, run.overlays, recipe.output.overlays, f"{row['label']}, overlays")
            results["tested_maps"] = predictions.tested(recipe.output.trusted) if pictures else None
        results["pictures"] = stored(pictures, run.path)
        run.publish(results)


def room(taken: Mapping[str, Any], cut_clips: Mapping[int, Any]) -> dict[str, int]:
    """The bytes that the clips of each network take, prepared; flow lies beside the clips that it is computed of.

    Args:
        taken: network -> its `ClipSettings`.
        cut_clips: frames of a clip -> the clips.
    """
    needs = {}
    for network, settings in taken.items():
        count = len(cut_clips[settings.num_frames]) * settings.clip_bytes
        if network == "i3d_flow":
            needs["flow"] = count * 2 // 3
        # Networks whose clips are of one size share them.
        needs[f"clips of {settings.num_frames} x {settings.size[0]} x {settings.size[1]}"] = count
    return needs


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    if recipe.stream and (recipe.networks.flow or recipe.short == "error"):
        raise ValueError(
            "--stream reads RGB, of short videos too: flow is computed of prepared clips. Expected --no-flow, and not "
            f"--short error. Received: --stream, flow {recipe.networks.flow}, --short {recipe.short}"
        )
    check_options(
        recipe, t=(1, None), resnext_frames=(8, None), i3d_frames=(8, None), clips_per_video=(1, None),
        resnext_size=(32, 4096), i3d_size=(32, 4096), i3d_width=(0.01, None), clips=(10, None),
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


if __name__ == "__main__":
    run_cli(main, PRESETS)
