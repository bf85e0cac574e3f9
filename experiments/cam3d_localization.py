"""Weakly supervised localisation by 3DCAM: Tables 3 to 8 and Figures 7 and 8 of the 3DCAM paper.

    python -m experiments.cam3d_localization                             # embedded data set, 10 min on two cores
    python -m experiments.cam3d_localization --dataset jhmdb --data-dir JHMDB \\
        --weights resnext-101-kinetics-hmdb51_split1.pth                 # Tables 3, 4, 5 and 8
    python -m experiments.cam3d_localization --dataset ucf24 --data-dir UCF-101 \\
        --weights resnext-101-kinetics-ucf101_split1.pth                 # Table 6
    python -m experiments.cam3d_localization --dataset ilsvrc --data-dir ILSVRC \\
        --weights resnet50_weights_tf_dim_ordering_tf_kernels.h5         # Table 7
    python -m experiments.cam3d_localization --dataset ucf24 --data-dir UCF-101 --partial --network MobileNetV2 \\
        --weights-dir W --size 120 160 --sampling uniform --epochs 30 --learning-rate 0.003 --validation 0.25
    python -m experiments.cam3d_localization --dataset ucf24 --data-dir UCF-101 --model i3d.keras --sampling uniform \\
        --fit crop --called "BasketballDunk=dunking basketball,Surfing=surfing water" --classes BasketballDunk,Surfing

The second and third take frames of 112 x 112, with `--preset jhmdb-224` and `--preset ucf24-224` of 224 x 224.
The second to fourth take published weights (kenshohara/3D-ResNets-PyTorch, Keras); --model takes any saved model
instead, as `import-weights i3d` makes one, and --network trains one on the training part, I3D as a classifier on frozen
Kinetics weights. Without any of them the rows of a model say "not run", and the controls, which need none, are
measured. Every table has these: a centred Gaussian, a map that is the same everywhere, the energy of frame differences,
edges, and noise. They are needed: with the paper's rule for UCF24 a uniform map, whose box is the whole frame, scores
.84 .68 .43 .25 .13 .07 on UCF24's test boxes under a centre crop, as high as the best row of Table 6
(tests/experiments/test_cam3d_localization.py computes it from the annotations).

On the embedded data (seed 0; a CNN-GRU that recognises 90 % of the test clips) Sum 3DCAM of the first two layers beats
Grad-CAM, Sum Grad-CAM and the first three controls, at one threshold for all frames and under the oracle. There things
pass behind the person; where nothing else moves (--traffic 0), frame differences are better than any map of the model.
On UCF24's boxes, with the published I3D of Kinetics, Sum 3DCAM beats Grad-CAM by the paper's rule, and noise in every
pixel beats both; with one box a frame Sum 3DCAM is not shown to beat Grad-CAM at the last layer (docs/results.md).
Behind global pooling beta is one number everywhere: there 3DCAM is empty wherever that is negative, which the class
decides (table "evidence").

What the paper leaves open (the report lists all that a run takes otherwise than the paper, or has chosen):
    The size of the frames. Table 1 (8 x 112 x 112 behind the first convolution) and section 3.3 imply 224 x 224; the
    published weights of section 4 were trained at 112 x 112. Presets jhmdb and ucf24 take 112, jhmdb-224 and ucf24-224
    the other. JHMDB has clips of 15 frames: their last is shown twice and measured once.
    How maps are enlarged. By the corner points of equations (3) to (5) for 3DCAM; for Grad-CAM nothing is said, and it
    is done as everybody does, by equal cells. So both stand side by side; `--align` takes one for all rows.
    The threshold. For UCF24 it is, of each frame, the one that fits the true box best: "oracle", which needs the true
    boxes. Beside it stand one threshold for all frames that held-out training clips choose ("chosen"), and the best one
    on the test clips themselves ("best", MaxBoxAcc of Choe et al. 2020). Tables 4 and 5 name no rule.
    The layers to sum. Table 6 sums conv and layer 1, Table 7 layers 2 to 4; the text says that they depend on the data.
    "Chosen" is the run of neighbouring layers, two or more, with the best box accuracy at one threshold on held-out
    training clips; for Grad-CAM one layer may be the best. Test clips choose nothing.
    The frames: clips of 16 frames at rate 1, one after the other; the last ends with the video, and of its frames those
    count that no clip before had. Of each clip, the frames with a true box.
    The class: the predicted one, equation (1); `--explain true` takes the annotated one.
    Average-pool 3DCAM: the mean over the layers, whose boxes are those of the sum, as thresholds are shares of a map's
    maximum; what the last layer's average pool reads is 3DCAM layer 4. Table 8 repeats Table 5. The text calls the last
    row of Table 7 Sum Grad-CAM; it is Sum 2DCAM.
    The contours: of all contours of a map the one that fits best ("multi-contour"), which favours scattered maps, above
    all under the oracle; `--contours largest` takes one box a frame. A blur of the maps (`--blur`): none. The crop, for
    which the boxes are cut as well: the centre of the frame, as in the published code.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from har_tf.evaluate.localization import ILSVRC_IOUS, UCF24_IOUS
from har_tf.evaluate.map_rows import layer, paper_tables
from har_tf.evaluate.options import Clips, Maps, SmallResNeXt
from har_tf.experiment import (
    Data,
    Devices,
    Embedded,
    Output,
    Split,
    Training,
    all_trained,
    begin,
    changed,
    check_options,
    open_run,
    options,
    paper_settings,
    run_cli,
)
from har_tf.names import say
from har_tf.paper import Says, Silent
from har_tf.subject import RESNEXT_101, Model

EXPERIMENT = "cam3d_localization"

# data set: IoU of its tables
IOUS = {"jhmdb": (0.5, 0.6), "ucf24": UCF24_IOUS, "ilsvrc": ILSVRC_IOUS, "figures": ILSVRC_IOUS}
NEEDED = {
    "jhmdb": "resnext-101-kinetics-hmdb51_split1.pth of github.com/kenshohara/3D-ResNets-PyTorch as --weights",
    "ucf24": "resnext-101-kinetics-ucf101_split1.pth of github.com/kenshohara/3D-ResNets-PyTorch as --weights",
    "ilsvrc": "resnet50_weights_tf_dim_ordering_tf_kernels.h5 of keras.applications as --weights",
    "figures": "--network, --model or --weights",
}
TUNED_ON = {"jhmdb": "HMDB51", "ucf24": "UCF101", "figures": "UCF101"}


@dataclass(frozen=True)
class BoxedData(Data):
    """Which data with true boxes."""

    dataset: Literal["figures", "jhmdb", "ucf24", "ilsvrc"] = "figures"
    """Data with true boxes; figures is the embedded data set."""
    partial: bool = False
    """Take a copy that lacks annotated videos; without, absent videos are an error."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: BoxedData = BoxedData()
    embedded: Embedded = Embedded(clips=4000, traffic=4)
    model: Model = Model()
    resnext: SmallResNeXt = SmallResNeXt()
    clips: Clips = Clips()
    maps: Maps = Maps()
    training: Training = Training(schedule="cosine", warmup_epochs=0.5)
    devices: Devices = Devices()
    output: Output = Output(overlays=6)

    seed: int = 0
    """Seed of the split, the starting weights, the order and the embedded data set."""


PRESETS = {
    "figures": Recipe(
        model=Model(network="CNN-GRU", augment=True),  # which learns quickest
        clips=Clips((64, 96), 10, "uniform", frames_per_clip=4),
        maps=Maps(blur=(1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8), contours="largest"),  # a frame shows one person
        training=Training(14, schedule="cosine", warmup_epochs=0.5),
    ),
    "jhmdb": Recipe(BoxedData("jhmdb"), clips=Clips(short="repeat_last")),
    "jhmdb-224": Recipe(BoxedData("jhmdb"), clips=Clips((224, 224), short="repeat_last")),
    "ucf24": Recipe(BoxedData("ucf24")),
    "ucf24-224": Recipe(BoxedData("ucf24"), clips=Clips((224, 224))),
    "ilsvrc": Recipe(BoxedData("ilsvrc"), clips=Clips((224, 224))),
}
# What the paper says. It explains published networks: how one is trained here is not its matter.
_NO_MATTER = (*options(Training()), *options(SmallResNeXt()), *options(Model()), "outside", "seed")
_OF_CLIPS = dict.fromkeys(_NO_MATTER) | {
    "taps": Says(None, "Table 1"),
    "test part": Says("whole", "section 4"),
    "size": Says(
        (224, 224),
        "Table 1 and section 3.3",
        {(112, 112): "section 4: what its published weights were trained at"},
        why="Figures of both sizes stand beside the paper's, which does not say which it took",
    ),
    "num_frames": Says(16, "section 4"),
    "sampling": Says("dense", "section 4"),
    "by": Says("frame", "section 4: rate 1"),
    "fit": Silent("as in the published code"),
    "short": Silent("JHMDB has clips of 15 frames"),
    "clips_per_video": Says(None, "section 4"),
    "frames_per_clip": Says(None, "section 4"),
    "explain": Says("predicted", "equation (1)"),
    "channels": Silent("equation (2) has one channel, and only beta's are said to be summed"),
    "align": Says(
        "methods",
        "section 3.3 of 3DCAM: corner points; of Grad-CAM nothing",
        {"corners": "section 3.3, read for all rows"},
        why="Rows of 3DCAM enlarged by corners and rows of Grad-CAM enlarged by centres stand side by side under "
        "methods: a part of their difference may be that",
    ),
    "blur": Says((0.0,), "equations (2) and (6)"),
    "contours": Says("all", "section 4"),
}
_OF_PICTURES = {
    "network": Says("ResNet50 of keras.applications", "section 4: ResNet-50 trained on ImageNet"),
    "size": Silent("what the network was trained at"),
    "pictures of the data": Says(50_000, "section 4"),
    "test part": Says(
        "50000 of 50000 pictures",
        "section 4",
        counts=False,
        why="A share of them, drawn at random, is held out to choose thresholds (--validation)",
    ),
    **dict.fromkeys(("num_frames", "sampling", "by", "short", "clips_per_video", "frames_per_clip")),
}
_NETWORKS = {data: {"network": Says(RESNEXT_101[on], "section 4")} for data, on in TUNED_ON.items()}
PAPER = {
    "jhmdb": _OF_CLIPS | _NETWORKS["jhmdb"] | {"classes of the data": Says(21, "section 4")},
    "ucf24": _OF_CLIPS | _NETWORKS["ucf24"] | {"short": None, "classes of the data": Says(24, "section 4")},
    "ilsvrc": _OF_CLIPS | _OF_PICTURES | {"classes of the data": Says(1000, "section 4")},
    "figures": _OF_CLIPS
    | _NETWORKS["figures"]
    | {"short": None, "data": Says("UCF24", "section 4", {"JHMDB": "section 4"})},
}
# Options that a preset does not set where a file is explained; None: as the file says.
TOLD = {
    "weights": {"network": None},
    "model": {"network": None, "size": None, "num_frames": None, "sampling": None, "fit": None, "by": None},
}


def main(recipe: Recipe) -> None:
    check(recipe)
    still = recipe.data.dataset == "ilsvrc"
    loading = {} if still else {"workers": recipe.output.workers}
    dataset = recipe.data.listed(partial=recipe.data.partial, **loading)
    begin(recipe, trains=recipe.model.network is not None)

    from har_tf import devices, scrutiny
    from har_tf.datasets import hmdb51, splits, ucf101
    from har_tf.datasets.stick_figures import ACTIONS
    from har_tf.evaluate.boxed_clips import survey
    from har_tf.evaluate.localization_study import Study, outputs_of
    from har_tf.pipeline import Augment
    from har_tf.report.page import stored
    from har_tf.report.pages.cam3d_localization import pictures
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts

    # What can be wrong is found out here, before anything is drawn, decoded or trained.
    devices.seed_everything(recipe.seed, None)
    known = [dataset.class_names if dataset else recipe.data.class_names or ACTIONS]
    trained_on = {"jhmdb": hmdb51, "ucf24": ucf101}.get(recipe.data.dataset)
    known += [trained_on.CLASS_NAMES] if trained_on else []
    asked = recipe.clips.shape[still:]
    subject = recipe.model.subject(asked, known, recipe.resnext, NEEDED[recipe.data.dataset])
    shape, clip = subject.shape(asked, recipe.data.dataset), subject.clip(recipe.clips)
    if clip["sampling"] == "strided":
        raise ValueError(f"{recipe.model.model}: made for strided clips; choose --sampling dense or uniform")
    recipe = changed(recipe, sampling=clip["sampling"], fit=clip["fit"], by=clip["by"])
    taps = subject.taps(recipe.model.taps or subject.localising, shape)
    dataset = dataset or recipe.embedded.draw(
        recipe.output, recipe.data.class_names, size=tuple(side + side % 2 for side in shape[-3:-1]), seed=recipe.seed
    )  # fmt: skip
    answers = subject.classifier.class_names if subject.classifier else dataset.class_names
    needed = recipe.maps.explain == "true" and not subject.missing
    outputs = outputs_of(dataset.class_names, answers, needed, recipe.model.model_names)
    if still:  # a share of the pictures stands in for a training part
        held_out, test = dataset.split("random", recipe.seed, 1 - recipe.training.validation)
        train = dataset.subset([])
    else:
        protocol = "group" if dataset.official is None else "official"
        split = Split.of(dataset, protocol, recipe.seed, recipe.training.validation, [recipe.seed])
        train, held_out, test = split.parts(recipe.seed)
    chosen_on, measured_on = (survey(part, shape, recipe.clips, recipe.output.workers) for part in (held_out, test))
    notes = [*dataset.notes, *chosen_on.notes, *measured_on.notes]
    skipped = dict(chosen_on.skipped + measured_on.skipped)

    prefix = f"{dataset.name}-{subject.name.replace('/', '_').replace(' ', '_')}"
    with open_run(EXPERIMENT, recipe, prefix, dataset, "videos", notes) as run:
        run.write_skipped(skipped)
        model = subject.classifier and subject.classifier.model
        if subject.network is not None:
            prepared = prepare(
                dataset,
                recipe.output.cache,
                shape[0],
                shape[1:3],
                workers=recipe.output.workers,
                beam=recipe.output.pipeline,
                **clip,
            )
            run.write_skipped(skipped | {video.path: video.reason for video in prepared.skipped})
            augment = Augment(flip=0.5, crop=0.85, brightness=0.1, contrast=0.1) if recipe.model.augment else None
            parts = Parts.of(prepared, train, held_out, test)
            trainer = recipe.training.trainer(augment, recipe.output.pipeline)
            model = subject.trained(trainer, parts, run, recipe.seed).model
            all_trained(run)
        study = Study(
            model,
            taps,
            outputs,
            recipe.maps,
            IOUS[recipe.data.dataset],
            recipe.training.batch_size,
            still,
            recipe.output.workers,
            run.training / "boxes",
        )
        say("", f"explaining {len(held_out)} held-out training videos, to choose thresholds and layers")
        choice = study.choose(chosen_on)
        say(f"explaining {len(test)} test videos")
        measured = study.results(measured_on, choice)
        overlap = splits.overlap(dataset.subset([*train.records, *held_out.records]), test)
        examples = study.examples(measured_on, choice, max(recipe.output.overlays, 3))
        shown = pictures(examples, dataset.class_names, answers, run.figures, run.overlays, recipe.output.overlays)
        results = {
            "dataset": {
                "name": recipe.data.dataset, "classes": list(dataset.class_names), "videos": len(dataset),
                "notes": notes, "skipped": len(skipped),
                "overlap": f"{overlap}; held out: {split.held_out}" if len(train) else None,
            },
            "model": {
                "name": subject.name, "start": subject.start, "missing": subject.missing,
                "taps": {layer(i): tap for i, tap in enumerate(taps)}, "trained_here": subject.network is not None,
                "explained_class": recipe.maps.explain, "channels": recipe.maps.channels,
                "align": recipe.maps.align,
            },
            "clip": {"shape": shape, **{key: getattr(recipe.clips, key) for key in ("sampling", "fit", "by", "short")}},
            "tables": paper_tables(recipe.data.dataset, len(taps), still),
            "settings": paper_settings(
                recipe, PAPER[recipe.data.dataset], **taken(recipe, shape, dataset, measured_on.usable, subject)
            ),
        }  # fmt: skip
        if shown and len(tested := measured_on.spread(recipe.output.trusted)) > 1:
            results["tested_maps"] = scrutiny.short(
                model, np.stack([clip.frames for clip in tested]), [clip.group for clip in tested],
                partial(study.explain_as_shown, choice), study.classes_of(tested), recipe.seed,
            )  # fmt: skip
        run.publish(results | measured | {"pictures": stored(shown, run.path)})


def check(recipe: Recipe) -> None:
    """Raises ValueError or FileNotFoundError for options that are out of their range or do not go together."""
    recipe.model.check(recipe.resnext.name)
    recipe.clips.check(recipe.model.model is not None)
    if recipe.data.dataset == "ilsvrc" and recipe.model.network is not None:
        raise ValueError(f"ilsvrc is explained with --weights or --model. Received: --network {recipe.model.network}")
    if recipe.data.partial and recipe.data.embedded:
        raise ValueError("--partial is for data sets on disk. Received: --dataset figures")
    check_options(
        recipe, clips=(30, None), validation=(0.01, 0.9), clips_per_video=(1, None), frames_per_clip=(1, None),
        cardinality=(1, None),
    )  # fmt: skip
    blurs = recipe.maps.blur
    if not blurs or not all(0 <= blur <= 0.5 for blur in blurs):
        raise ValueError(f"--blur must be between 0 and 0.5. Received: {' '.join(map(str, blurs))}")


def taken(recipe: Recipe, shape, dataset, test, subject) -> dict:
    """What a run takes of that which no option says alone, as `PAPER` has it; `test` are the videos it measures."""
    from har_tf.datasets import ucf24

    kind, network, pictures = recipe.data.dataset, f"{subject.name}, {subject.start}", None
    if kind == "ilsvrc":
        part, pictures = f"{len(test)} of {len(dataset)} pictures", len(dataset)
        papers = recipe.model.weights is not None
    else:
        whole = {"ucf24": ucf24.TEST_VIDEOS, "jhmdb": dataset.test_videos, "figures": 0}[kind]
        part = "whole" if len(test) >= whole else f"{len(test)} videos"
        papers = recipe.model.is_resnext_101(TUNED_ON[kind])
    return {
        "network": PAPER[kind]["network"].value if papers else network,
        "data": "embedded" if recipe.data.embedded else dataset.name, "size": tuple(shape[-3:-1]),
        "num_frames": shape[0], "test part": part, "pictures of the data": pictures,
        "classes of the data": len(dataset.class_names),
    }  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS, TOLD)
