"""3DCAM in untrimmed video: section 3.6 and Figures 2 to 6 of the 3DCAM paper.

    python -m experiments.cam3d_untrimmed                                    # embedded data, 20 to 30 min on two cores
    python -m experiments.cam3d_untrimmed --dataset thumos --data-dir THUMOS14 \\
        --weights resnext-101-kinetics-ucf101_split1.pth                     # the paper's, MultiTHUMOS
    python -m experiments.cam3d_untrimmed --dataset thumos --data-dir THUMOS14 --annotations thumos14 \\
        --model i3d.keras --called "JavelinThrow=javelin throw,PoleVault=pole vault"

A model of short clips is slid over long videos. In each window it is asked what is done, and its answer is explained:
for its three most probable classes, and against the first by negated gradients, equation (7). The paper shows single
windows; here every window of every video is measured against what is annotated:

    answers     inside an action, across its edge and where nothing is done, beside always answering the commonest
                class
    Figure 6    how often a map is empty, how alike the maps of the classes are, and how much of each lies on the person
                (where boxes are known), beside a uniform map
    Figure 5    in windows across a cut, how much of the evidence lies in the frames in which the answered class is
                done, beside the share of these frames
    Figure 2    whether a class has more evidence where it is done than elsewhere in the video, beside the motion and
                the plain probability of each window, which need no map

On the embedded data the videos are streams (`har_tf.datasets.stick_figures.streams`): five actions one after the other,
three times each, with a cut and at times a pause between, of people and scenes that the model was not trained on. It is
trained on single clips as in `cam3d_localization`. Of THUMOS the videos of one part are taken, whole. Reached (seed 0):
73 % of the windows inside an action are answered right; the probability of a window tells when a class is done (0.93),
the strength of the maps hardly does (0.54 and 0.55, where chance is 0.5); see docs/results.md.

What the paper leaves open:
    The windows. Section 4 has clips of 16 frames at rate 1 that do not overlap; Figure 5 needs one across a cut. Here
    they overlap by half (`--hop`). The maps of a frame are the mean over its windows, each tap divided by its maximum
    over the whole video.
    The classes. Section 3.6 is of MultiTHUMOS; the named classes are UCF101's, so the network is the one that was
    fine-tuned on UCF101. Classes of the data that the network does not know are never right.
    The baseline of Figure 6 ("pole vault as a baseline") is read as the second most probable class.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from har_tf.evaluate.options import SmallResNeXt
from har_tf.experiment import (
    Data,
    Devices,
    Embedded,
    Output,
    Split,
    Training,
    all_trained,
    begin,
    check_options,
    open_run,
    options,
    paper_settings,
    run_cli,
)
from har_tf.names import file_name, say
from har_tf.paper import Says, Silent
from har_tf.progress import advancing, progress
from har_tf.subject import RESNEXT_101, Model

EXPERIMENT = "cam3d_untrimmed"
FORM = 1  # of what is kept of a video, to be raised where that or how it is measured changes
NEEDED = "--model, --weights (resnext-101-kinetics-ucf101_split1.pth of github.com/kenshohara/3D-ResNets-PyTorch)"


@dataclass(frozen=True)
class LongVideos(Data):
    """Which untrimmed videos."""

    dataset: Literal["figures", "thumos"] = "figures"
    """Untrimmed videos: figures, streams of embedded figures, or THUMOS'14."""
    annotations: Literal["thumos14", "multithumos"] = "multithumos"
    """Of THUMOS'14: its own 20 actions, or the 65 of MultiTHUMOS."""
    part: Literal["test", "validation"] = "test"
    """Which videos of THUMOS'14."""
    partial: bool = False
    """Take a copy that lacks annotated videos; without, absent videos are an error."""


@dataclass(frozen=True)
class Drawn:
    """What the streams of embedded figures are made of."""

    streams: int = 40
    """Long videos that are drawn."""
    actions: int = 5
    """Different actions in each of them."""
    repeats: int = 3
    """How often each action is done before the next."""
    pause: float = 0.5
    """Probability that a person stands still before an action begins."""


@dataclass(frozen=True)
class Sliding:
    """How windows are taken of a video."""

    sampling: ClassVar = "uniform"  # of the clips that a network is trained on here
    by: ClassVar = "frame"

    size: tuple[int, int] | None = (112, 112)
    """Height and width of the frames: 112 112, at which the published weights were trained, or 224 224, which the
    paper's Table 1 and section 3.3 imply. None: as the model of a file takes them."""
    num_frames: int | None = 16
    """Frames of a window, 16 in section 4 of the paper. None: as the model of a file takes them."""
    fit: Literal["crop", "inner", "stretch"] | None = "crop"
    """What is taken of a frame: its centre (crop), seven eighths of that (inner) or all of it (stretch). None: as a
    saved model says."""
    stride: int = 1
    """Distance of neighbouring frames in a window."""
    hop: int | None = None
    """Frames from the start of one window to the start of the next. None: half a window."""
    align: Literal["corners", "centres"] = "corners"
    """How the maps of 3DCAM are enlarged: by corner points, equations (3) to (5), or by equal cells."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: LongVideos = LongVideos("thumos")
    embedded: Embedded = Embedded(clips=4000)
    drawn: Drawn = Drawn()
    model: Model = Model()
    resnext: SmallResNeXt = SmallResNeXt()
    windows: Sliding = Sliding()
    training: Training = Training(schedule="cosine", warmup_epochs=0.5, batch_size=4)
    devices: Devices = Devices()
    output: Output = Output(overlays=2)

    seed: int = 0
    """Seed of the split, the starting weights, the order and the embedded data; streams have the next one."""


PRESETS = {
    "figures": Recipe(
        LongVideos("figures"),
        model=Model(network="CNN-GRU", augment=True),  # which learns quickest
        windows=Sliding((64, 96), 10, stride=2, hop=5),
        training=Training(14, schedule="cosine", warmup_epochs=0.5),
    ),
    "paper": Recipe(),
}
TOLD = {"weights": {"network": None}, "model": {"network": None, "size": None, "num_frames": None, "fit": None}}
# It explains a published network: how one is trained here is not its matter.
_NO_MATTER = (*options(Training()), *options(SmallResNeXt()), *options(Model()), *options(Drawn()), "seed")
PAPER = dict.fromkeys(_NO_MATTER) | {
    "data": Says("MultiTHUMOS", "section 3.6"),
    "network": Says(RESNEXT_101["UCF101"], "section 4 and the classes of Figure 6"),
    "taps": Says(None, "Table 1"),
    "size": Says((224, 224), "Table 1 and section 3.3", {(112, 112): "section 4: the published weights' own size"}),
    "num_frames": Says(16, "section 4"),
    "fit": Silent("as in the published code"),
    "stride": Says(1, "section 4: rate 1"),
    "hop": Silent("Figure 5 shows a window across a cut, so they overlap"),
    "align": Says("corners", "section 3.3"),
}


def main(recipe: Recipe) -> None:
    check(recipe)
    loading = {"annotations": recipe.data.annotations, "one_label": False, "partial": recipe.data.partial}
    dataset = recipe.data.listed(**({} if recipe.data.embedded else loading))
    if dataset is not None:
        dataset = dataset.subset([r for r in dataset.records if r.group.split("_")[1] == recipe.data.part])
        if not len(dataset):
            raise ValueError(f"{dataset.root}: no annotated {recipe.data.part} video. --part names the other part")
    begin(recipe, trains=recipe.model.network is not None)

    from har_tf import devices, scrutiny
    from har_tf.datasets import hmdb51, ucf101
    from har_tf.datasets.stick_figures import ACTIONS, Figures, streams
    from har_tf.evaluate import untrimmed
    from har_tf.evaluate.localization_study import outputs_of
    from har_tf.evaluate.part import digest_of_model
    from har_tf.report.page import stored
    from har_tf.report.pages.cam3d_untrimmed import pictures
    from har_tf.video import VideoError

    devices.seed_everything(recipe.seed, None)
    windows = recipe.windows
    asked = (windows.num_frames, *(windows.size or (None, None)), 3)
    known = [dataset.class_names if dataset else ACTIONS, ucf101.CLASS_NAMES, hmdb51.CLASS_NAMES]
    subject = recipe.model.subject(asked, known, recipe.resnext, NEEDED)
    if subject.missing:
        raise ValueError(f"nothing to explain: {subject.missing}")
    shape, clip = subject.shape(asked, recipe.data.dataset), subject.clip(windows)
    taps = subject.taps(recipe.model.taps or subject.localising, shape)
    trained_on = None
    if dataset is None:
        size = tuple(side + side % 2 for side in shape[1:3])
        if subject.network:
            trained_on = recipe.embedded.draw(recipe.output, size=size, seed=recipe.seed)
        look = {name: value for name, value in vars(recipe.embedded).items() if name != "clips"}
        figures = Figures(size=size, seed=recipe.seed + 1, **look)
        drawn = recipe.drawn
        dataset = streams.load(
            recipe.output.out / "figures",
            streams.Streams(figures, drawn.streams, drawn.actions, drawn.repeats, drawn.pause),
            recipe.output.workers,
        )
    answers = subject.classifier.class_names if subject.classifier else ACTIONS
    outputs = outputs_of(dataset.class_names, answers, called=recipe.model.model_names)
    if outputs is None:
        raise ValueError(
            f"none of {len(answers)} outputs, {answers[0]} and so on, is called as a class of the data, "
            f"{dataset.class_names[0]} and so on; --called says which stand for which"
        )
    how = untrimmed.Windows(
        shape[1:3], shape[0], windows.stride, windows.hop or windows.stride * max(1, shape[0] // 2), clip["fit"],
        recipe.training.batch_size, windows.align,
    )  # fmt: skip

    prefix = f"{dataset.name}-{subject.name.replace('/', '_').replace(' ', '_')}"
    with open_run(EXPERIMENT, recipe, prefix, dataset, "segments") as run:
        model = trained(recipe, subject, trained_on, shape, clip, run) if subject.network else subject.classifier.model
        all_trained(run)
        videos = untrimmed.streams_of(dataset)
        say("", f"sliding over {len(videos)} videos")
        known_by = digest_of_model(model)
        answered, courses, timelines, skipped, examples, painted = [], [], [], {}, {}, []
        with progress("explaining", len(videos), "videos") as advance:
            for number, video in enumerate(advancing(videos, advance)):
                try:
                    own, found = measured(model, taps, video, number, outputs, how, known_by, run.training / "videos")
                except VideoError as error:
                    skipped[video.path] = str(error)
                    continue
                answered += own
                courses += found
                shown = untrimmed.shown(own) if len(examples) < 2 else {}
                names = (dataset.class_names, answers)
                for key in shown.keys() - examples.keys():
                    examples[key] = untrimmed.example(model, taps, video, shown[key], names, how)
                if len(painted) < recipe.output.overlays:
                    path = run.overlays / f"overlay_{number + 1}_{file_name(video.path.stem)}.mp4"
                    untrimmed.paint(model, taps, video, path, answers, how)
                    painted.append((path, video.path.stem))
                    if found:
                        timelines.append(untrimmed.timeline(video, found, dataset.class_names, video.path.stem))
        run.write_skipped(skipped)
        if not answered:
            raise ValueError(f"{dataset.root}: no video can be read, first: {next(iter(skipped.values()))}")
        papers = recipe.model.is_resnext_101("UCF101")
        network = RESNEXT_101["UCF101"] if papers else f"{subject.name}, {subject.start}"
        facts = {"data": {"streams": "embedded", "multithumos": "MultiTHUMOS"}.get(dataset.name, dataset.name)}
        facts |= {"network": network, "size": tuple(shape[1:3]), "num_frames": shape[0], "hop": how.hop}
        order = ("classes", "cut")
        shown = {key: examples[key] for key in order if key in examples}
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(videos) - len(skipped),
                "segments": len(dataset), "notes": list(dataset.notes), "skipped": len(skipped),
                "known": sum(output >= 0 for output in outputs),
            },
            "model": {"name": subject.name, "start": subject.start, "taps": list(taps)},
            "clip": {"shape": shape, "stride": how.stride, "hop": how.hop, "fit": how.fit, "align": how.align},
            "settings": paper_settings(recipe, PAPER, **facts),
            "timelines": timelines,
            "pictures": stored(pictures(shown, painted, run.figures), run.path),
        }  # fmt: skip
        clips, sources = untrimmed.windows_to_test(videos, answered, recipe.output.trusted, how)
        if len(clips) > 1 and (shown or painted):
            explained = partial(untrimmed.explain_as_shown, taps, how)
            results["tested_maps"] = scrutiny.short(model, clips, sources, explained, seed=recipe.seed)
        run.publish(results | untrimmed.summary(answered, courses, dataset.class_names))


def measured(model, taps, video, number: int, outputs, how, known_by: str, folder: Path) -> tuple[list, list]:
    """The windows and courses of a video; those that a run which was stopped has found are in a file of `folder`.

    It is taken only if it is of the same model, of which `known_by` is the digest, video and windows.
    """
    from har_tf.evaluate import untrimmed
    from har_tf.evaluate.part import Part
    from har_tf.files.digests import digest_of

    boxes = None if video.boxes is None else digest_of([video.boxes])
    about = {
        "model": known_by, "taps": list(taps), "outputs": list(outputs), "how": asdict(how), "number": number,
        "segments": video.segments, "boxes": boxes, "video": [video.path.name, video.path.stat().st_size],
    }  # fmt: skip
    part = Part(folder, about | {"form": FORM})
    if (known := part.read()) is not None:
        return untrimmed.from_plain(json.loads(str(known["found"])))
    found = untrimmed.measure(model, taps, video, number, outputs, how)
    part.write({"found": np.array(json.dumps(untrimmed.as_plain(*found)))})
    return found


def trained(recipe: Recipe, subject, dataset, shape: Sequence[int], clip: dict, run):
    """The network, trained on the embedded clips, of which a part by groups is never seen."""
    from har_tf.pipeline import Augment
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts

    split = Split.of(dataset, "group", recipe.seed, recipe.training.validation, [recipe.seed])
    output = recipe.output
    prepared = prepare(
        dataset, output.cache, shape[0], shape[1:3], workers=output.workers, beam=output.pipeline, **clip
    )
    augment = Augment(flip=0.5, crop=0.85, brightness=0.1, contrast=0.1) if recipe.model.augment else None
    parts = Parts.of(prepared, *split.parts(recipe.seed))
    return subject.trained(recipe.training.trainer(augment, output.pipeline), parts, run, recipe.seed).model


def check(recipe: Recipe) -> None:
    """Raises ValueError or FileNotFoundError for options that are out of their range or do not go together."""
    recipe.model.check(recipe.resnext.name)
    if recipe.model.network is not None and not recipe.data.embedded:
        raise ValueError(
            "Untrimmed videos are explained with --weights or --model; networks are trained on the embedded clips. "
            f"Received: --network {recipe.model.network} --dataset {recipe.data.dataset}"
        )
    if recipe.data.embedded and recipe.data.classes is not None:
        raise ValueError(f"Streams are of all actions. Received: --classes {recipe.data.classes}")
    if recipe.windows.size is not None and min(recipe.windows.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.windows.size}")
    of_file = [name for name in ("size", "num_frames", "fit") if getattr(recipe.windows, name) is None]
    if of_file and recipe.model.model is None:
        raise ValueError(f"--{of_file[0].replace('_', '-')} None is as --model says. Received: no --model")
    check_options(
        recipe, clips=(30, None), validation=(0.01, 0.9), cardinality=(1, None), actions=(1, 10), pause=(0, 1),
        hop=(1, None), num_frames=(2, None),
    )  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS, TOLD)
