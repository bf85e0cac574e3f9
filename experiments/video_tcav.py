"""Video-TCAV: which concepts a video classifier uses for a class, layer by layer; Figures 1 and 4 to 10 of the paper.

    python -m experiments.video_tcav                                 # embedded data set, 22 min of processor time
    python -m experiments.video_tcav --model CNN-GRU.keras --taps relu_1,relu_2,relu_3,conv3d --gradcam-tap conv3d
    python -m experiments.video_tcav --dataset kinetics --data-dir K400 --target "playing tennis" \\
        --weights swin_tiny_patch244_window877_kinetics400_1k.pth --detector yolov7.onnx \\
        --labels "person,tennis racket,sports ball"                        # the paper
    python -m experiments.video_tcav --dataset kinetics --data-dir K400 --target "playing tennis" \\
        --weights swin_tiny_patch244_window877_kinetics400_1k.pth --concepts CONCEPTS
    python -m experiments.video_tcav --dataset VIDEOS --target Bowling --model model.keras --concepts CONCEPTS

CONCEPTS is what `python -m har_tf concepts mine` filled and a person reviewed, or a folder of videos for each concept.
The second command mines the concepts itself, and nobody has looked at them.

On the embedded data set nothing is needed: a small Video Swin is trained (`--network CNN-GRU` trains that, `--model`
takes any saved model), and the concepts ball, person and limb are cut along the true tracks of the thrower.

Seen on the embedded data set, class throw, seed 0: a small Video Swin that recognises 78 % of the test clips (what
ignores the order of frames cannot exceed 70 %) reads the moving ball more the deeper the layer, 0.09 at layer1 and 1.00
at layer4, as the paper found; the person and the limb it does not, and the still ball ends at 1.00 too. By the paper's
t-test alone a further random set would have been significant as well. docs/results.md has the tables.

Nothing is used twice: the model learns from the training part, and the test part is divided by source into two halves,
one for concepts and random clips, one for the clips of the class (`har_tf.concepts.concept_split`).

What the paper leaves open, and where it is told why:
    Random clips are of all classes and things, of the kind that is shown, and half of each in Figure 9 (`clip_sets`).
    Intervals, which the paper has not, draw clips by source and fit all CAVs anew (`study`).
    Figure 10 adds a permutation test to the paper's t-test; both must pass (`significance`).
    Activations are averaged over time and space (`--pool mean`): a concept clip fills the frame with what is a small
    part of a clip of the class, so where in the frame a channel is active does not carry over.
    A cropped track follows its thing (section 3.3): a ball in flight stays in the middle, and the background moves.

Section 2.2 of the paper, that clips played backwards should be explained otherwise, is run as an experiment
(`reversal`): answers, Grad-CAM maps and directions of concepts are compared with those of the clips forwards.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from har_tf import quiet
from har_tf.command import words
from har_tf.datasets.stick_figures import ACTIONS, REVERSED_PAIRS
from har_tf.experiment import (
    SMALL_CNN_GRU,
    Data,
    Embedded,
    Output,
    Training,
    announce,
    check_options,
    open_run,
    run_cli,
    strictest_protocol,
)
from har_tf.names import index_of
from har_tf.report.page import stored
from har_tf.report.run_folder import check_writable

EXPERIMENT = "video_tcav"
SETTINGS = ("pool", "classifier", "l2", "folds", "level", "num_random", "resamples")  # that tables tell


@dataclass(frozen=True)
class SmallSwin:
    """A Video Swin that two cores can train; a `har_tf.trial.Buildable`."""

    name: ClassVar = "VideoSwin"

    embed_dim: int = 32
    """Channels of the first stage of the Video Swin that is trained here."""
    depths: tuple[int, int, int, int] = (1, 1, 2, 1)
    """Blocks of each stage of the Video Swin that is trained here."""
    num_heads: tuple[int, int, int, int] = (2, 4, 8, 16)
    """Attention heads of each stage of the Video Swin that is trained here."""
    window: tuple[int, int, int] = (8, 4, 4)
    """Attention window of the Video Swin that is trained here, in patches: time, height, width."""
    patch: tuple[int, int, int] = (2, 8, 8)
    """Patches of the Video Swin that is trained here: time, height, width."""
    drop_path: float = 0.0
    """Drop path rate of the Video Swin that is trained here."""

    def build(self, shape, num_classes: int, seed: int = 0):
        import keras

        from har_tf.models import video_swin

        model = video_swin("tiny", shape, num_classes, dropout=0.0, **asdict(self))
        # The published deviation of 0.02 suits 96 channels and more. With 32, attention starts, and stays for long,
        # next to uniform; from Glorot's weights it learns sooner.
        for number, weight in enumerate(model.trainable_weights):
            if weight.name == "kernel" and len(weight.shape) == 2:
                weight.assign(keras.initializers.GlorotUniform(seed + number)(weight.shape))
        return model


@dataclass(frozen=True)
class Model:
    """What is explained: a saved model, published weights, or a network that is trained on the training part."""

    model: Path | None = None
    """A saved model (.keras) to explain."""
    weights: Path | None = None
    """Published weights of a Video Swin (.pth) to explain."""
    class_names: Path | None = None
    """Names of the classes of --weights, one a line. None: those of the data set, where there are as many."""
    network: str | None = None
    """What to train and explain: VideoSwin, or CNN-GRU and others of `har_tf.models.zoo`. None: nothing is trained."""
    augment: bool = True
    """Mirror and crop the training clips at random."""
    taps: str | None = None
    """Layers, from input to output, separated by commas. None: the stages of the model."""
    gradcam_tap: str | None = None
    """Layer of Grad-CAM. None: the last of the stages whose maps are at least 4 high and wide."""


@dataclass(frozen=True)
class Reading:
    """How clips are read and divided."""

    size: tuple[int, int] | None = None
    """Height and width of the frames. None: the model's own, and 224 224 where it takes any (section 3.4)."""
    num_frames: int | None = None
    """Frames of a clip. None: the model's own, and 32 where it takes any."""
    sampling: Literal["uniform", "strided", "dense"] | None = None
    """How frames are taken of videos. None: as the model was trained: strided (every second frame) with --weights, as
    the file says with --model, uniform where it is trained here."""
    fit: Literal["crop", "stretch"] | None = None
    """What is taken of a frame: its centre (crop) or all of it (stretch). None: as the model was trained: crop with
    --weights, as the file says with --model, stretch where it is trained here."""
    test: float = 0.2
    """Share of the videos in the test part where there is no official split; 1: all, for a model that was trained on
    others."""


@dataclass(frozen=True)
class Concepts:
    """Which concepts, and how they are measured."""

    concepts: Path | None = None
    """Folder of concepts. None: mined with --detector, and on the embedded data set from the true tracks."""
    concept_names: str | None = None
    """Concepts to use, separated by commas. None: all that the folder has."""
    undecided: bool = True
    """Use concept clips that nobody has reviewed; rejected ones are never used."""
    detector: str | None = None
    """What mines concepts where there is no --concepts: a YOLO (.onnx), an SSD (.tflite), detections (.json), or a
    preset of keras-hub."""
    labels: str | None = None
    """The detector's classes that are concepts, separated by commas."""
    class_clips: int = 30
    """Clips of the class, at most (section 3.4)."""
    concept_clips: int = 30
    """Clips of each concept, at most, and of each random set (section 3.4)."""
    num_random: int = 10
    """Random sets (section 3.5)."""
    random_videos: int = 90
    """Videos of other classes that are mined for random concepts."""
    fit_concepts: Literal["letterbox", "stretch"] = "letterbox"
    """How concept clips are brought to the model's size."""
    pool: Literal["mean", "space", "full"] = "mean"
    """What activations are averaged over: time and space (mean), space, or nothing (full)."""
    classifier: Literal["ridge", "logistic", "svm"] = "ridge"
    """What CAVs are fitted by."""
    l2: float = 0.01
    """Regularisation of CAVs, see `har_tf.concepts.cav.CavFit`."""
    folds: int = 5
    """Folds of the cross-validation of CAVs; a set takes so many clips at least."""
    level: float = 0.05
    """Level of significance, after Bonferroni's correction (section 3.5)."""
    resamples: int = 100
    """Draws behind an interval; below 20 there are no intervals."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data("kinetics")
    embedded: Embedded = Embedded()
    model: Model = Model()
    swin: SmallSwin = SmallSwin()
    training: Training = Training(epochs=30, schedule="cosine", warmup_epochs=1.0, weight_decay=0.01, clipnorm=1.0)
    reading: Reading = Reading()
    concepts: Concepts = Concepts()
    output: Output = Output()

    target: str = "playing tennis"
    """The class that is explained."""
    reversals: bool = True
    """Run section 2.2: play clips backwards."""
    pairs: str | None = None
    """Classes that are each other's reverse, FORWARD:BACKWARD, separated by commas. None: those of the embedded data
    set."""
    reversal_clips: int = 30
    """Clips of each class that are played backwards."""
    seed: int = 0
    """Seed of the split, the draws, the starting weights, the order and the embedded data set."""


PRESETS = {
    # A small Video Swin, to be trained in minutes on two cores.
    "figures": Recipe(
        Data("figures"), Embedded(clips=4000), Model(network="VideoSwin"), reading=Reading((64, 96), 10, test=0.25),
        target="throw",
    ),
    "paper": Recipe(),
}  # fmt: skip
# A model that another experiment trained, on the clips and the split that it knows; it has its own frames.
SAVED = {"network": None, "clips": 3000, "test": 0.2, "size": None, "num_frames": None}


def main(recipe: Recipe) -> None:
    check(recipe)
    dataset = recipe.data.listed()
    check_writable(recipe.output.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.concepts import reversal
    from har_tf.concepts.cav import CavFit
    from har_tf.concepts.clip_sets import ClipReader, chosen_concepts, class_clips, concept_sets
    from har_tf.concepts.concept_split import ConceptSource, divide
    from har_tf.concepts.saliency import class_maps
    from har_tf.concepts.study import Study, check_sizes
    from har_tf.concepts.tcav import Bank
    from har_tf.report.pages import concepts as pictures
    from har_tf.report.pages.concept_review import write_review

    # What can be wrong is found out here, before anything is drawn, mined or trained.
    training.seed_everything(recipe.seed)
    asked, seed, batch_size = recipe.concepts, recipe.seed, recipe.training.batch_size
    subject = explained(recipe, dataset.class_names if dataset else recipe.data.class_names or ACTIONS)
    taps, gradcam_tap = subject.taps(listed(recipe.model.taps), recipe.model.gradcam_tap)
    pairs = [tuple(part.strip() for part in pair.split(":")) for pair in listed(recipe.pairs) or ()]
    given_names = [recipe.target, *(name for pair in pairs for name in pair)]
    class_index, *_ = (index_of(name, subject.class_names, "the model") for name in given_names)
    names, labels = listed(asked.concept_names), listed(asked.labels) or ()
    source = ConceptSource.open(asked.concepts, names, asked.detector, labels)
    size = tuple(side + side % 2 for side in subject.shape[1:3])
    drawn = None if dataset else recipe.embedded.draw(
        recipe.output, recipe.data.class_names, size=size, frames=2 * subject.shape[0] - 1, seed=seed
    )  # fmt: skip
    dataset = dataset or drawn
    label, *_ = (index_of(name, dataset.class_names, str(dataset.root)) for name in given_names)
    target = dataset.class_names[label]

    # The model learns from one part of the videos, concepts are of another, and what is explained of a third.
    validation = recipe.training.validation if subject.trained else None
    protocol = strictest_protocol(dataset)
    split = divide(dataset, label, protocol, seed, recipe.reading.test, validation, source.given)
    prefix = f"{dataset.name}-{target}-{subject.name}".replace("/", "_").replace(" ", "_")
    with open_run(EXPERIMENT, recipe, prefix, None if drawn else dataset) as run:
        notes = [*dataset.notes, split.note]
        announce(dataset, "videos", notes)

        # Sections 3.3 and 3.4: concepts, random sets, and clips of the class.
        found, own = source.concepts(dataset, split, label, run.path / "concepts", asked.random_videos, seed)
        reader = ClipReader(subject.shape, subject.clip, asked.fit_concepts)
        sets = concept_sets(
            found, chosen_concepts(found, source.names), reader, asked.concept_clips, asked.num_random, asked.folds,
            seed, asked.undecided, own,
        )  # fmt: skip
        larger = ", or a larger --test," if dataset.official is None and recipe.reading.test < 1 else ""
        clips = class_clips(
            dataset, split.explained, label, reader, asked.class_clips, asked.folds, seed,
            f"More videos of it{larger} are needed",
        )  # fmt: skip
        run.write_skipped(reader.skipped)
        fit = CavFit(asked.classifier, asked.l2, asked.folds, seed)
        check_sizes(sets, clips, taps, fit, asked.level)

        accuracy, history = None, None
        if subject.trained:
            subject, accuracy, history = trained(recipe, subject, dataset, split, run)
        model, class_names = subject.model, subject.class_names

        # Section 3.5, Figures 7 to 10: relative TCAV and tests.
        print(f"\nscoring {', '.join(sets.names)} at {', '.join(taps)}", flush=True)
        study = Study(Bank(model, taps, asked.pool, batch_size), fit, asked.level, asked.resamples)
        results = {
            "dataset": {
                "name": dataset.name, "classes": list(dataset.class_names), "videos": len(dataset), "notes": notes,
            },
            "model": {
                "name": subject.name, "start": subject.start, "accuracy": accuracy, "history": history,
                "parameters": model.count_params(), "trained_here": subject.trained is not None,
            },
            "target": target,
            "clip": {"shape": list(subject.shape), **subject.clip},
            "taps": taps,
            "gradcam_tap": gradcam_tap,
            "settings": {name: getattr(asked, name) for name in SETTINGS},
            "clips": {"class": len(clips), **sets.counts()},
            "missing": sets.missing,
            **study.figures(sets, clips, class_index),
            "reversal": None,
        }  # fmt: skip

        # Figure 1: Grad-CAM; Figures 4 to 6: detections and concepts.
        results["gradcam"], maps = class_maps(
            model, clips, split.explained, class_index, class_names, subject.clip, gradcam_tap, batch_size
        )
        shown = [
            pictures.class_pictures(
                results["gradcam"], maps, clips, target, class_names, run.figures, run.overlays, recipe.output.overlays
            ),
            *pictures.concept_pictures(found, sets, [*split.concept, *split.explained], run.figures),
        ]

        # Section 2.2: clips played backwards.
        if recipe.reversals:
            print("playing clips backwards", flush=True)
            videos = split.explained_of(dataset.class_names, known=class_names)
            reverse_of = reversal.reverses(pairs or (REVERSED_PAIRS if drawn else ()), videos)
            names = videos if drawn else dict.fromkeys([target, *reverse_of])
            read = ((name, reader.videos(videos[name], recipe.reversal_clips, seed)) for name in names)
            results["reversal"], played = reversal.compare(
                model, class_names, read, reverse_of, gradcam_tap, batch_size, keep=target
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


def explained(recipe: Recipe, class_names):
    """The model that is given, or the network to train, as a `har_tf.concepts.subject.Subject`."""
    from har_tf.concepts.subject import PAPER, published, saved, untrained
    from har_tf.models.zoo import named

    given, frames, size = recipe.model, recipe.reading.num_frames, recipe.reading.size
    asked = {name: value for name in ("sampling", "fit") if (value := getattr(recipe.reading, name)) is not None}
    if given.model:
        return saved(given.model, frames, size, asked)
    shape = (frames or PAPER[0], *(size or PAPER[1:3]), 3)
    if given.weights:
        names, where = class_names, "the data set"
        if given.class_names:
            where = given.class_names
            names = [name for name in where.read_text(encoding="utf-8").splitlines() if name.strip()]
        return published(given.weights, shape, names, where, asked)
    if given.network == "VideoSwin":
        return untrained(recipe.swin, "random weights", {"seed": recipe.seed}, shape, class_names, asked)
    network = named(given.network)
    if network.missing:
        raise ValueError(network.missing)
    small = SMALL_CNN_GRU if network.name == "CNN-GRU" else {}
    return untrained(network, network.start, small, shape, class_names, asked)


def trained(recipe: Recipe, subject, dataset, split, run):
    """(the subject after training, its accuracy on all test videos, what was measured by epoch)."""
    from har_tf import training
    from har_tf.pipeline import Augment
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, run_trial

    parts = (split.train, split.validation, [*split.concept, *split.explained])
    print(f"\n{subject.name}: trained on {len(split.train)} clips", flush=True)
    prepared = prepare(
        dataset.subset(record for part in parts for record in part), recipe.output.cache, subject.shape[0],
        subject.shape[1:3], workers=recipe.output.workers, **subject.clip,
    )  # fmt: skip
    options = recipe.training
    outcome = run_trial(
        subject.trained, subject.options, Parts(*(prepared.subset(dataset.subset(part)) for part in parts)),
        options.recipe(warmup_epochs=min(options.warmup_epochs, options.epochs / 2)),
        run.training / subject.name.replace("/", "_"), options.batch_size,
        Augment(flip=0.5, crop=0.85) if recipe.model.augment else None, recipe.seed, options.precision,
        training.strategy(options.strategy),
    )  # fmt: skip
    run.keep(outcome.folder / "model.keras")
    run.keep(outcome.folder / "history.csv")
    print(f"{subject.name}: accuracy {outcome.report.accuracy:.4f} on the test videos", flush=True)
    return replace(subject, model=outcome.model), outcome.report.accuracy, outcome.history.epochs


def listed(text: str | None) -> list[str] | None:
    """The names in an option; None where it is not given."""
    return None if text is None else words(text)


def check(recipe: Recipe) -> None:
    """Raises ValueError or OSError for options that are out of their range or do not go together."""
    asked, size = recipe.concepts, recipe.reading.size
    given = [name for name in ("model", "weights", "network") if getattr(recipe.model, name) is not None]
    if len(given) > 1:
        raise ValueError(f"One of --model, --weights and --network is explained. Received: {', '.join(given)}")
    if not given:
        raise ValueError(
            "There is nothing to explain: --model (a saved .keras), --weights (a Video Swin's .pth) or --network "
            "(trained on the training part) is needed"
        )
    if asked.concepts is not None and asked.detector is not None:
        raise ValueError("--detector mines concepts where there is no --concepts; give one of them")
    if not recipe.data.embedded and asked.concepts is None and asked.detector is None:
        raise ValueError(
            "Concepts are needed: --concepts DIR, as `python -m har_tf concepts mine` fills it, or --detector and "
            "--labels to mine them here"
        )
    if (asked.detector is None) != (asked.labels is None):
        raise ValueError("--detector and --labels, the classes of it that are concepts, go together")
    if asked.labels is not None and len(set(words(asked.labels))) < 2:
        raise ValueError(f"At least two concepts are needed. Received: --labels {asked.labels}")
    check_options(
        recipe, num_frames=(2, None), test=(0.01, 1), clips=(30, None), validation=(0.01, 0.9), epochs=(1, None),
        folds=(2, None), class_clips=(2, None), concept_clips=(2, None), num_random=(2, None), random_videos=(0, None),
        level=(1e-6, 0.5), resamples=(0, None), reversal_clips=(1, None), drop_path=(0, 0.9), l2=(1e-9, None),
    )  # fmt: skip
    for name in ("class_clips", "concept_clips"):
        if (count := getattr(asked, name)) < asked.folds:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} must be at least --folds, {asked.folds}. Received: {count}")
    if size is not None and min(size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {size[0]} x {size[1]}")
    for pair in listed(recipe.pairs) or ():
        if len([part for part in pair.split(":") if part.strip()]) != 2:
            raise ValueError(f"--pairs are FORWARD:BACKWARD, separated by commas. Received: {pair}")
    for option in ("model", "weights", "class_names"):
        path = getattr(recipe.model, option)
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path}: no such file for --{option.replace('_', '-')}")


if __name__ == "__main__":
    run_cli(main, PRESETS, {"model": SAVED, "weights": SAVED})
