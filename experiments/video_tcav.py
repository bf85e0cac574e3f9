"""Video-TCAV: which concepts a video classifier uses for a class, layer by layer; Figures 1 and 4 to 10 of the paper.

    python -m experiments.video_tcav                                 # embedded data set, 22 min of processor time
    python -m experiments.video_tcav --model CNN-GRU.keras --taps relu_1,relu_2,relu_3,conv3d --gradcam-tap conv3d
    python -m experiments.video_tcav --dataset kinetics --data-dir K400 --target "playing tennis" \\
        --weights swin_tiny_patch244_window877_kinetics400_1k.pth --detector yolov7.onnx \\
        --labels "person,tennis racket,sports ball"                        # the paper
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
    Nothing is used twice: of the test part one half gives concepts, the other is explained (`concept_split`).
    Random clips are of all classes and things, of the kind that is shown, and half of each in Figure 9 (`clip_sets`).
    Intervals, which the paper has not, draw clips by source and fit all CAVs anew (`study`).
    Figure 10 adds a permutation test to the paper's t-test; both must pass (`significance`).
    Activations are averaged over time and space (`--pool mean`): a concept clip fills the frame with what is a small
    part of a clip of the class, so where in the frame a channel is active does not carry over.
    A cropped track follows its thing (section 3.3): a ball in flight stays in the middle, and the background moves.
    Section 2.2, that clips played backwards should be explained otherwise, is run as an experiment (`reversal`).
"""

from dataclasses import asdict, dataclass

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
    begin,
    check_options,
    open_run,
    run_cli,
    strictest_protocol,
)
from har_tf.names import index_of, say
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
    "paper": Recipe(),
}  # fmt: skip
# Options that a preset does not set where what is explained is given. Of the embedded data set a saved model of another
# experiment knows these clips and this split.
TOLD = {
    "model": {"network": None, "clips": 3000, "test": 0.2, **asdict(Reading(None, None, None, None, None))},
    "weights": {"network": None, "clips": 3000, "test": 0.2, **asdict(Reading())},
    "network": {"sampling": "uniform", "fit": "stretch"},
}


def main(recipe: Recipe) -> None:
    check(recipe)

    from har_tf.concepts.concept_split import ConceptSource, divide, recordings
    from har_tf.datasets.dataset import called

    dataset, names = recipe.data.listed(), recipe.model.model_names
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
    begin(recipe)

    from har_tf import devices
    from har_tf.concepts import reversal
    from har_tf.concepts.cav import CavFit
    from har_tf.concepts.clip_sets import ClipReader, class_clips, concept_sets
    from har_tf.concepts.saliency import class_maps, gradcam_tap
    from har_tf.concepts.study import Study, check_sizes
    from har_tf.concepts.tcav import Bank
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

    # The model learns from one part of the videos, concepts are of another, and what is explained of a third.
    validation = recipe.training.validation if subject.network else None
    split = divide(dataset, label, strictest_protocol(dataset), seed, recipe.test, validation, source.given, asked)
    prefix = f"{dataset.name}-{target}-{subject.name}".replace("/", "_").replace(" ", "_")
    notes = [*dataset.notes, split.note]
    with open_run(EXPERIMENT, recipe, prefix, dataset, "videos", notes) as run:
        # Sections 3.3 and 3.4: concepts, random sets, and clips of the class.
        found, own = source.concepts(dataset, split, label, run.path / "concepts", seed)
        reader = ClipReader(shape, clip, asked.fit_concepts, asked.short_concepts, recordings(found, dataset))
        sets = concept_sets(found, reader, asked, seed, own)
        larger = ", or a larger --test," if dataset.official is None and recipe.test < 1 else ""
        clips = class_clips(
            dataset, split.explained, label, reader, asked, seed, f"More videos of it{larger} are needed"
        )
        run.write_skipped(reader.skipped)
        fit = CavFit(asked.classifier, asked.l2, asked.folds, seed)
        check_sizes(sets, clips, taps, fit, asked.level)

        if subject.network:
            parts = (split.train, split.validation, [*split.concept, *split.explained])
            prepared = prepare(
                dataset.subset(record for part in parts for record in part), recipe.output.cache, shape[0], shape[1:3],
                workers=recipe.output.workers, **clip,
            )  # fmt: skip
            augment = Augment(flip=0.5, crop=0.85) if recipe.model.augment else None
            warmup_epochs = min(recipe.training.warmup_epochs, recipe.training.epochs / 2)
            trainer = recipe.training.trainer(augment, warmup_epochs=warmup_epochs)
            outcome = subject.trained(trainer, Parts.of(prepared, *parts), run, seed)
            model, accuracy, history = outcome.model, outcome.report.accuracy, outcome.history.epochs
        else:
            model, accuracy, history = subject.classifier.model, None, None

        # Section 3.5, Figures 7 to 10: relative TCAV and tests.
        say("", f"scoring {', '.join(sets.names)} at {', '.join(taps)}")
        study = Study(Bank(model, taps, asked.pool, batch_size), fit, asked.level, asked.resamples)
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(dataset), "notes": notes,
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
            "clips": {"class": len(clips), "recordings": len(set(clips.groups)), **sets.counts()},
            "missing": sets.missing,
            **study.figures(sets, clips, class_index),
            "reversal": None,
        }  # fmt: skip

        # Figure 1: Grad-CAM; Figures 4 to 6: detections and concepts.
        looked, maps = class_maps(model, clips, split.explained, class_index, class_names, clip, tap, batch_size)
        results["gradcam"] = looked
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
    recipe.concepts.check(tracked=recipe.data.embedded)
    recipe.backwards.check()
    check_options(
        recipe, num_frames=(2, None), test=(0.01, 1), clips=(30, None), validation=(0.01, 0.9), folds=(2, None),
        class_clips=(2, None), concept_clips=(2, None), num_random=(2, None), random_videos=(0, None),
        level=(1e-6, 0.5), resamples=(0, None), reversal_clips=(1, None), drop_path=(0, 0.9), l2=(1e-9, None),
    )  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS, TOLD)
