"""Video-TCAV: which concepts a video classifier uses for a class, layer by layer; Figures 1 and 4 to 10 of the paper.

    python -m experiments.video_tcav                                 # embedded data set, 22 min of processor time
    python -m experiments.video_tcav --model CNN-GRU.keras --taps relu_1,relu_2,relu_3,conv3d --gradcam-tap conv3d
    python -m experiments.video_tcav --dataset kinetics --data-dir K400 --target "playing tennis" \\
        --weights swin_tiny_patch244_window877_kinetics400_1k.pth --detector yolov7.onnx \\
        --labels "person,tennis racket,sports ball"                        # the paper; of the test list
    ... --part val --concept-part train       # a copy without the test list: all validation clips are explained
    python -m experiments.video_tcav --dataset VIDEOS --target Bowling --model model.keras --concepts CONCEPTS
    python -m experiments.video_tcav --dataset VIDEOS --target "surfing water" --videos-of Surfing --model i3d.keras \\
        --test 1 --concepts CONCEPTS --concept-names person,surfboard      # a published network on videos of your own

CONCEPTS is what `python -m har_tf concepts mine` filled and a person reviewed, or a folder of videos for each concept;
the third command mines concepts that nobody has looked at. On the embedded data set a small Video Swin is trained, and
the concepts ball, person and limb are cut along the true tracks of the thrower. Seen there, class throw, seed 0: a Swin
that recognises 78 % of the test clips (what ignores the order of frames cannot exceed 70 %) reads the moving ball more
the deeper the layer, 0.09 at layer1 and 1.00 at layer4, as the paper found; the person and the limb not; the still ball
ends at 1.00 too. By the paper's t-test alone a further random set would be significant, too (docs/results.md).
On DeepMind's I3D, 20 min of processor time a class, a moving person and horse gain on the same tracks frozen; among
each other moving concepts mostly do not (docs/results.md).

What the paper leaves open, and where it is told why:
    Nothing is used twice: of the test part one half gives concepts, the other is explained; where `--concept-part`
    names another part, all of it is explained, and no recording is in both (`concept_split`).
    Random clips are of all classes and things, of the kind that is shown, and half of each in Figure 9 (`clip_sets`).
    Intervals, which the paper has not, draw clips by source and fit all CAVs anew (`study`).
    Figure 10 has a permutation test beside the paper's t-test; `--criterion` says whether both must pass, as in every
    preset but the paper's (`significance`).
    Activations are averaged over time and space (`--pool mean`): a concept clip fills the frame with what is a small
    part of a clip of the class, so where in the frame a channel is active does not carry over.
    A cropped track follows its thing (section 3.3): a ball in flight stays in the middle, and the background moves.
    Section 2.2, that clips played backwards should be explained otherwise, is run as an experiment (`reversal`).
"""

import re
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Literal

from har_tf.command import words
from har_tf.concepts.options import Backwards, Concepts, SmallSwin
from har_tf.datasets.stick_figures import ACTIONS, REVERSED_PAIRS
from har_tf.evaluate.options import Reading
from har_tf.experiment import (
    Data,
    Devices,
    Embedded,
    Output,
    Training,
    all_trained,
    begin,
    check_options,
    open_run,
    paper_settings,
    run_cli,
    strictest_protocol,
)
from har_tf.names import index_of, say
from har_tf.paper import Says, Silent
from har_tf.report.page import stored
from har_tf.subject import Model

EXPERIMENT = "video_tcav"


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data("kinetics")
    embedded: Embedded = Embedded()
    model: Model = Model(augment=True)
    swin: SmallSwin = SmallSwin()
    training: Training = Training(epochs=30, schedule="cosine", warmup_epochs=1.0, weight_decay=0.01, clipnorm=1.0)
    devices: Devices = Devices()
    reading: Reading = Reading()
    concepts: Concepts = Concepts()
    backwards: Backwards = Backwards()
    output: Output = Output()

    target: str = "playing tennis"
    """The class that is explained."""
    videos_of: str | None = None
    """The class of the data that --target is, where the model calls it otherwise: --target "surfing water" --videos-of
    Surfing, which is short for --called "Surfing=surfing water". None: they are called alike."""
    gradcam_tap: str | None = None
    """Layer of Grad-CAM. None: the last of the stages whose maps are at least 4 high and wide."""
    part: Literal["test", "val"] | None = None
    """Part of the data that is explained: the test or the validation list of Kinetics, a folder of this name, ... None:
    the test part, of Kinetics the validation list, and of data without parts a share of them (--test)."""
    concept_part: Literal["train", "val", "test"] | None = None
    """Part that concepts come from. None: half of the part that is explained, or of another part all of it would be."""
    test: float = 0.2
    """Share of the videos in the test part where there is no official split; 1: all, for a model that was trained on
    others."""
    seed: int = 0
    """Seed of the split, the draws, the starting weights, the order and the embedded data set."""


PRESETS = {
    # A small Video Swin, to be trained in minutes on two cores.
    "figures": Recipe(
        Data("figures"), Embedded(clips=4000), Model(network="VideoSwin", augment=True),
        reading=Reading((64, 96), 10, "uniform", "stretch"), test=0.25, target="throw",
    ),
    "paper": Recipe(concepts=Concepts(criterion="t-test"), part="test"),
    # Other videos.
    "videos": Recipe(),
}  # fmt: skip
# Options that a preset does not set where what is explained is given. Of the embedded data set a saved model of another
# experiment knows these clips and this split.
TOLD = {
    "model": {"network": None, "clips": 3000, "test": 0.2, **asdict(Reading(None, None, None, None, None))},
    "weights": {"network": None, "clips": 3000, "test": 0.2, **asdict(Reading())},
    "network": {"sampling": "uniform", "fit": "stretch"},
}

# What the paper says of each option, and of facts that `facts_of` names; Figure 10 and section 3.5 are of its one run.
_OF_TRAINING = (
    *(f.name for group in (SmallSwin, Training) for f in fields(group)),
    "network",
    "finetune",
    "augment",
)
PAPER = {
    "data set": Says("kinetics", "section 3.3"),
    "part": Says("test", "section 3.3"),
    "concept_part": Says("test", "section 3.3, its concept generating split"),
    "target": Says("playing tennis", "section 3.3"),
    "model": Says("video_swin", "section 3.2"),
    "classes of the model": Says(400, "section 3.2: Kinetics-400"),
    "model trained here": Says(False, "section 3.2"),
    "layers": Says(3, "Figure 3", counts=False, why="the figure does not name its three of the four stages"),
    "things": Says("person, sports ball, tennis racket", "section 3.3"),
    "detector": Says("yolov7", "section 3.2"),
    "concept clips that nobody has reviewed": Says(0, "section 3.3"),
    "clips of the class": Says(30, "section 3.4"),
    "clips of a concept": Says("25 to 30", "section 3.4"),
    "clips of a random set": Says(30, "section 3.4"),
    "num_random": Says(10, "section 3.5"),
    "level": Says(0.05, "section 3.5"),
    "criterion": Says("t-test", "section 3.5", why="of concepts that mean nothing, the t-test alone lets a third pass"),
    "length of a spatial concept": Says(
        "3 minutes", "section 3.3", counts=False, why="the model sees one picture again and again, however often"
    ),
    "concept_videos": Says("class", "section 3.3"),
    "random_videos": Silent("enough for random sets that share few clips"),
    "score": Silent("usual for YOLO"),
    "size": Silent("as the published Video Swin was trained"),
    "num_frames": Silent("as the published Video Swin was trained"),
    "sampling": Silent("as the published Video Swin was trained"),
    "fit": Silent("as the published Video Swin was tested"),
    "by": Silent("Kinetics' clips are of even speed"),
    "fit_concepts": Silent("what is wide stays wide"),
    "short_concepts": Silent("a start in the middle would be a jump"),
    "pool": Silent("a concept clip fills the frame, so where a channel is active does not carry over"),
    "classifier": Silent("least squares have one solution and need no iteration"),
    "l2": Silent("a little, where there are more channels than clips"),
    "folds": Silent("CAVs are checked on clips that they have not seen"),
    "resamples": Silent("the paper has no intervals"),
    "gradcam_tap": Silent("the last stage is too small for a map in small frames"),
    # What facts tell, and section 2.2, which stands by itself.
    **dict.fromkeys((*_OF_TRAINING, "test", "weights", "class_names", "called", "videos_of", "taps", "seed")),
    **dict.fromkeys(("concepts", "concept_names", "undecided", "labels", "class_clips", "concept_clips")),
    **dict.fromkeys(field.name for field in fields(Backwards)),
}  # fmt: skip


def facts_of(recipe: Recipe, dataset, split, subject, found, sets, clips) -> dict:
    """What a run takes of `PAPER` that its options alone do not tell."""
    from har_tf.concepts.concept_split import sources_among

    model = subject.classifier.model if subject.classifier else None
    counts = [len(clips) for shown in sets.concepts.values() for clips in shown.values()]
    least, most = min(counts), max(counts)
    detector = found.settings.get("detector") or {}
    name = str(detector.get("file") or detector.get("preset") or ("true tracks" if recipe.data.embedded else "by hand"))
    return {
        "data set": dataset.name,
        "part": split.part,
        "concept_part": split.concept_part if sources_among(found, split.concept) else "other videos",
        "model": model.name if model else subject.name,
        "classes of the model": len(subject.classifier.class_names) if model else len(dataset.class_names),
        "model trained here": model is None,
        "things": ", ".join(sorted(sets.names)),
        "detector": "yolov7" if re.sub(r"\W|_", "", name.lower()).startswith("yolov7") else name,
        "concept clips that nobody has reviewed": sets.undecided,
        "clips of the class": len(clips),
        "clips of a concept": "25 to 30" if 25 <= least <= most <= 30 else f"{least} to {most}",
        "clips of a random set": max(len(randoms[0]) for randoms in sets.randoms.values()),
        "length of a spatial concept": "that of the model's clip",
    }


def main(recipe: Recipe) -> None:
    check(recipe)

    from har_tf.concepts.clip_sets import ClipReader, class_clips, concept_sets, of_class
    from har_tf.concepts.concept_split import ConceptSource, divide, recordings
    from har_tf.datasets.dataset import called

    parts = {recipe.part, recipe.concept_part} - {None}
    of_kinetics = {"test": "test"} if recipe.data.dataset == "kinetics" and "test" in parts else {}
    dataset, names = recipe.data.listed(**of_kinetics), recipe.model.model_names
    if recipe.videos_of is not None:
        names[recipe.videos_of] = recipe.target
    where = str(dataset.root) if dataset else "figures"
    class_names = called(dataset.class_names if dataset else recipe.data.class_names or ACTIONS, names, where)
    pairs = recipe.backwards.both_ways
    given_names = [recipe.target, *(name for pair in pairs for name in pair)]
    try:
        label, *_ = (index_of(name, class_names, where) for name in given_names)
    except ValueError as error:
        hint = "" if names or not recipe.model.given else ". --videos-of is for a --target that only the model calls so"
        raise ValueError(f"{error}{hint}") from None
    target, asked = class_names[label], recipe.concepts
    source = ConceptSource.open(asked)
    validation = recipe.training.validation if recipe.model.network else None

    # The model learns from one part of the videos, concepts are of another, and what is explained of a third.
    def divided(dataset):
        protocol, named = strictest_protocol(dataset), (recipe.part, recipe.concept_part)
        split = divide(dataset, label, protocol, recipe.seed, recipe.test, validation, source.given, asked, *named)
        larger = ", or a larger --test," if dataset.official is None and recipe.test < 1 else ""
        advice = f"More videos of it{larger} are needed"
        return split, of_class(dataset, split.explained, label, asked, advice)

    split, explained = divided(dataset) if dataset else (None, None)
    begin(recipe, trains=recipe.model.network is not None)

    from har_tf import devices, scrutiny
    from har_tf.concepts import reversal
    from har_tf.concepts.cav import CavFit
    from har_tf.concepts.saliency import class_maps, gradcam_tap
    from har_tf.concepts.study import Study, check_sizes
    from har_tf.concepts.tcav import Bank
    from har_tf.evaluate.spread import spread
    from har_tf.explain import by_method
    from har_tf.models.taps import find_several
    from har_tf.pipeline import Augment
    from har_tf.report.pages import concepts as pictures
    from har_tf.report.pages.concept_review import write_review
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts

    # What can be wrong is found out here, before anything is drawn, mined or trained.
    devices.seed_everything(recipe.seed, None)
    seed, batch_size = recipe.seed, recipe.training.batch_size
    subject = recipe.model.subject(recipe.reading.shape, [class_names], recipe.swin, start_seed=seed)
    if subject.missing:
        raise ValueError(subject.missing)
    if subject.classifier:
        given, outputs = recipe.model, subject.classifier.class_names
        if given.weights and not given.class_names and len(outputs) != len(class_names):
            raise ValueError(
                f"{given.weights}: {len(outputs)} classes, and the data set names {len(class_names)}. --class-names "
                "takes a file with the name of each output, one a line"
            )
        class_names = outputs
    shape = subject.shape(recipe.reading.shape, dataset.name if dataset else "figures")
    clip = subject.clip(recipe.reading)
    graph = subject.graph(shape)
    taps = [tap.name for tap in find_several(graph, recipe.model.taps and words(recipe.model.taps))]
    tap = gradcam_tap(graph, recipe.gradcam_tap)
    class_index, *_ = (index_of(name, class_names, "the model") for name in given_names)
    dataset = dataset or recipe.embedded.draw(
        recipe.output, recipe.data.class_names, size=tuple(side + side % 2 for side in shape[1:3]),
        frames=2 * shape[0] - 1, seed=seed,
    )  # fmt: skip
    dataset = dataset.called(names)
    split, explained = (split, explained) if split else divided(dataset)
    prefix = f"{dataset.name}-{target}-{subject.name}".replace("/", "_").replace(" ", "_")
    notes = [*dataset.notes, split.note]
    with open_run(EXPERIMENT, recipe, prefix, dataset, "videos", notes) as run:
        # Sections 3.3 and 3.4: concepts, random sets, and clips of the class.
        found, own = source.concepts(dataset, split, label, run.path / "concepts", seed)
        reader = ClipReader(shape, clip, asked.fit_concepts, asked.short_concepts, recordings(found, dataset))
        sets = concept_sets(found, reader, asked, seed, own)
        clips = class_clips(explained, reader, asked, seed)
        run.write_skipped(reader.skipped)
        fit = CavFit(asked.classifier, asked.l2, asked.folds or None, seed)
        check_sizes(sets, clips, taps, fit, asked.level, asked.criterion)

        if subject.network:
            parts = (split.train, split.validation, split.tested)
            prepared = prepare(
                dataset.subset(record for part in parts for record in part), recipe.output.cache, shape[0], shape[1:3],
                workers=recipe.output.workers, beam=recipe.output.pipeline, **clip,
            )  # fmt: skip
            augment = Augment(flip=0.5, crop=0.85) if recipe.model.augment else None
            warmup_epochs = min(recipe.training.warmup_epochs, recipe.training.epochs / 2)
            trainer = recipe.training.trainer(augment, recipe.output.pipeline, warmup_epochs=warmup_epochs)
            outcome = subject.trained(trainer, Parts.of(prepared, *parts), run, seed)
            all_trained(run)
            model, accuracy, history = outcome.model, outcome.report.accuracy, outcome.history.epochs
        else:
            model, accuracy, history = subject.classifier.model, None, None

        # Section 3.5, Figures 7 to 10: relative TCAV and tests.
        say("", f"scoring {', '.join(sets.names)} at {', '.join(taps)}")
        study = Study(Bank(model, taps, asked.pool, batch_size), fit, asked.level, asked.resamples, asked.criterion)
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(dataset), "notes": notes,
                "part": split.part,
            },
            "model": {
                "name": subject.name, "start": subject.start, "accuracy": accuracy, "history": history,
                "parameters": model.count_params(), "trained_here": subject.network is not None,
            },
            "target": target,
            "clip": {"shape": list(shape), **clip},
            "taps": taps,
            "gradcam_tap": tap,
            "settings": asked.settings,
            "paper": paper_settings(
                recipe, PAPER, **facts_of(recipe, dataset, split, subject, found, sets, clips), layers=len(taps)
            ),
            "clips": {"class": len(clips), "recordings": len(set(clips.groups)), **sets.counts()},
            "missing": sets.missing,
            **study.figures(sets, clips, class_index),
            "reversal": None,
        }  # fmt: skip

        # Figure 1: Grad-CAM; Figures 4 to 6: detections and concepts.
        looked, maps = class_maps(model, clips, split.explained, class_index, class_names, clip, tap, batch_size)
        results["gradcam"] = looked
        places = spread([0] * len(clips), clips.groups, recipe.output.trusted)
        if len(places) > 1:
            groups = [clips.groups[place] for place in places]
            explained = partial(by_method, methods=("gradcam",), tap={"": tap}, batch_size=batch_size)
            results["tested_maps"] = scrutiny.short(model, clips.clips[places], groups, explained, class_index, seed)
        shown = [
            pictures.class_pictures(
                looked, maps, clips, target, class_names, run.figures, run.overlays, recipe.output.overlays
            ),
            *pictures.concept_pictures(found, sets, [*split.concept, *split.explained], run.figures),
        ]

        # Section 2.2: clips played backwards.
        if recipe.backwards.reversals:
            say("playing clips backwards")
            videos = split.explained_of(dataset.class_names, known=class_names)
            reverse_of = reversal.reverses(pairs or (REVERSED_PAIRS if recipe.data.embedded else ()), videos)
            names = videos if recipe.data.embedded else dict.fromkeys([target, *reverse_of])
            read = ((name, reader.videos(videos[name], recipe.backwards.reversal_clips, seed)) for name in names)
            results["reversal"], played = reversal.compare(
                model, class_names, read, reverse_of, tap, batch_size, keep=target
            )
            followed = {target: clips}
            if reverse := reverse_of.get(target):
                followed[reverse] = reader.videos(videos[reverse], asked.class_clips, seed)
            results["reversal"]["concepts"] = reversal.directions(study, sets, followed, class_names)
            shown.append(pictures.reversal_pictures(played, target, class_names, run.figures, run.overlays))
            run.write_skipped(reader.skipped)
        results["dataset"]["skipped"] = len(reader.skipped)
        results["pictures"] = stored(shown, run.path)
        write_review(found, run.path / "concepts.html")
        run.publish(results)


def check(recipe: Recipe) -> None:
    """Raises ValueError or OSError for options that are out of their range or do not go together."""
    recipe.model.check(recipe.swin.name)
    if not recipe.model.given:
        raise ValueError(
            "There is nothing to explain: --model (a saved .keras), --weights (a Video Swin's .pth) or --network "
            "(trained on the training part) is needed"
        )
    if recipe.videos_of is not None and recipe.model.network is not None:
        raise ValueError("--videos-of names a class of --model or --weights. Received: --network")
    recipe.reading.check(recipe.model.model is not None)
    if recipe.data.embedded and (recipe.part or recipe.concept_part):
        raise ValueError("--part and --concept-part name parts that data came in, and the embedded data have none")
    recipe.concepts.check(tracked=recipe.data.embedded)
    recipe.backwards.check()
    check_options(
        recipe, num_frames=(2, None), test=(0.01, 1), clips=(30, None), validation=(0.01, 0.9), folds=(0, None),
        class_clips=(2, None), concept_clips=(2, None), num_random=(2, None), random_videos=(0, None),
        level=(1e-6, 0.5), resamples=(0, None), reversal_clips=(1, None), drop_path=(0, 0.9), l2=(1e-9, None),
    )  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS, TOLD)
