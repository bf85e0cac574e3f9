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

Nothing is used twice. The model learns from the training part. The test part is divided by source into two halves, one
of which gives the concepts and the random clips ("the concept generating split of the test set"), and the other the
clips of the class.

What the paper leaves open:
    The random concept. "From our entire corpus of concepts": from clips of all classes and things, of the kind that is
    shown, static or dynamic; in Figure 9, where both are shown, half of each. Ten sets are drawn, and the scores of
    Figures 7 to 9 are means over them.
    Intervals. The paper has none. Here concept clips, clips of the class and the random set are drawn again
    (`--resamples`), by source, and all CAVs fitted anew. Scores of ten random sets share the concept's clips, so their
    deviation is not how sure a score is.
    The tests of Figure 10: the paper's t-test and a permutation test, see `har_tf.concepts.significance`; both must
    pass. The hypotheses of a figure are all its concepts at all layers.
    Activations are averaged over time and space (`--pool mean`): a concept clip fills the frame with what is a small
    part of a clip of the class, so where in the frame a channel is active does not carry over.
    A cropped track follows its thing, so that a ball in flight stays in the middle of its clip, and what moves is the
    background. That is the paper's way to make a concept (section 3.3).

Section 2.2 of the paper, that clips played backwards should be explained otherwise, is run as an experiment: test clips
are played backwards, and the answers, the Grad-CAM maps and the directions of concepts are compared with those of the
clips forwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from har_tf.command import check_name, check_ranges, words
from har_tf.datasets.stick_figures.drawing import ACTIONS, REVERSED_PAIRS, Figures
from har_tf.names import closest
from har_tf.report.pages.tcav import DYNAMIC, FURTHER, RANDOM, STATIC

EXPERIMENT = "video_tcav"
KIND = {STATIC: "spatial", DYNAMIC: "spatiotemporal"}  # as concept folders call them


@dataclass(frozen=True)
class Recipe:
    """Options; what is None takes the paper's value, or, on the embedded data set, a smaller one."""

    dataset: str = "figures"
    """kinetics, figures (the embedded data set), or a folder of class folders of videos."""
    data_dir: Path | None = None
    """Where kinetics lies."""
    lists: Path | None = None
    """Folder of its lists, where they do not lie with the videos."""
    target: str | None = None
    """The class that is explained. None: throw on the embedded data set, "playing tennis" on kinetics."""
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

    model: Path | None = None
    """A saved model (.keras) to explain."""
    weights: Path | None = None
    """Published weights of a Video Swin (.pth) to explain."""
    class_names: Path | None = None
    """Names of the classes of --weights, one a line. None: those of the data set, where there are as many."""
    network: str | None = None
    """What to train on the training part: VideoSwin, or CNN-GRU and others of `har_tf.models.zoo`. None: VideoSwin on
    the embedded data set, nothing on others."""
    embed_dim: int = 32
    """Channels of the first stage of the Video Swin that is trained here."""
    depths: tuple[int, int, int, int] = (1, 1, 2, 1)
    """Its blocks."""
    num_heads: tuple[int, int, int, int] = (2, 4, 8, 16)
    """Its attention heads."""
    window: tuple[int, int, int] = (8, 4, 4)
    """Its window, in patches."""
    patch: tuple[int, int, int] = (2, 8, 8)
    """Its patches: time, height, width."""
    drop_path: float = 0.0
    """Its drop path rate."""
    epochs: int = 30
    """Passes over the training clips."""
    learning_rate: float = 1e-3
    """Of AdamW: it rises over the first epoch and falls to 0 as a cosine."""
    weight_decay: float = 0.01
    """Of AdamW."""
    batch_size: int = 16
    """Clips a batch, in training and in explaining."""
    augment: bool = True
    """Mirror and crop the training clips at random."""
    validation: float = 0.1
    """Share of the training part on which the best epoch is chosen."""

    size: tuple[int, int] | None = None
    """Height and width of the frames: 224 224, and 64 96 on the embedded data set; a saved model has its own."""
    num_frames: int | None = None
    """Frames of a clip: 32, and 10 on the embedded data set; a saved model has its own."""
    sampling: Literal["uniform", "strided", "dense"] | None = None
    """How clips are taken of videos. None: strided (every second frame) with --weights, as they were trained, or what
    a saved model says, or uniform."""
    fit: Literal["crop", "stretch"] | None = None
    """crop: the centre of the frame; stretch: all of it. None: crop with --weights, or what a saved model says, or
    stretch."""
    test: float | None = None
    """Share of the videos in the test part where there is no official split; 1: all, for a model that was trained on
    others. None: 0.2, as in other experiments, and 0.25 on the embedded data set if the model is trained here."""

    taps: str | None = None
    """Layers, from input to output, separated by commas. None: the stages of the model."""
    gradcam_tap: str | None = None
    """Layer of Grad-CAM. None: the last of the stages whose maps are at least 4 high and wide."""
    pool: Literal["mean", "space", "full"] = "mean"
    """What is left of the activations: see `har_tf.concepts.tcav.activations`."""
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
    classifier: Literal["ridge", "logistic", "svm"] = "ridge"
    """What CAVs are fitted by."""
    l2: float = 0.01
    """Its regularisation, see `har_tf.concepts.cav.Linear`."""
    folds: int = 5
    """Of the cross-validation of CAVs; a set takes so many clips at least."""
    level: float = 0.05
    """Of significance, after Bonferroni's correction (section 3.5)."""
    resamples: int = 100
    """Draws behind an interval; 0: none."""

    reversals: bool = True
    """Run section 2.2: play clips backwards."""
    pairs: str | None = None
    """Classes that are each other's reverse, FORWARD:BACKWARD, separated by commas. None: those of the embedded data
    set."""
    reversal_clips: int = 30
    """Clips of each class that are played backwards."""

    clips: int | None = None
    """Clips of the embedded data set. None: 4000, and 3000, as in other experiments, for a saved model."""
    figure_height: float = Figures.figure_height
    """Height of a figure as a share of the frame's, on the embedded data set."""
    clutter: float = Figures.clutter
    """Texture and things in its background, from 0 to 1."""
    overlays: int = 4
    """Overlay videos of Grad-CAM."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    seed: int = 0
    """Of the split, the draws, the starting weights, the order and the embedded data set."""
    out: Path = Path("runs")
    """The run goes to OUT/video_tcav/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: data set, class, model and a fingerprint of these options."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The model of a run.

    Args:
        name: as in titles.
        start: where its weights come from.
        model: None until it is trained.
        class_names: of its outputs.
        trained: the model to train, a `har_tf.trial.Buildable`.
        clip: sampling, short and fit: how its clips are taken.
    """

    name: str
    start: str
    model: object
    class_names: tuple[str, ...]
    trained: object = None
    clip: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Halves:
    """The videos of a run: training, and the two halves of the test part."""

    train: Sequence
    validation: Sequence
    concept: Sequence
    explained: Sequence
    note: str


@dataclass(frozen=True, eq=False)
class Set:
    """Clips, uint8 (N, T, H, W, 3), and where each is from."""

    clips: object
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sources)

    def backwards(self) -> "Set":
        return Set(self.clips[:, ::-1], self.sources)


def main(recipe: Recipe) -> None:
    from har_tf import quiet
    from har_tf.report.run_folder import RunFolder, check_writable, environment, run_name

    recipe = resolved(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    embedded = recipe.dataset == "figures"
    dataset = None if embedded else _load(recipe, None)
    check_writable(recipe.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.concepts import mining as concepts

    training.seed_everything(recipe.seed)
    subject = _subject(recipe, ACTIONS if embedded else dataset.class_names)
    shape = _shape(recipe, subject)
    taps, gradcam_tap = _taps(recipe, subject, shape)
    class_index = _class_index(recipe.target, subject.class_names, "the model")
    for name in [] if recipe.pairs is None else _reverse_of(recipe):
        _class_index(name, subject.class_names, "the model")
    given = None if recipe.concepts is None else concepts.load(recipe.concepts)
    if given is not None:
        _names(recipe, given)
    detector = _detector(recipe)
    dataset = dataset or _load(recipe, shape)
    recipe = _spelled(recipe, dataset)
    halves = _halves(recipe, dataset, subject.trained is not None, given)
    print(f"{dataset.name}: {len(dataset)} videos of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    for note in (*dataset.notes, halves.note):
        print(f"note: {note}", flush=True)
    about = environment()
    prefix = f"{dataset.name}-{recipe.target}-{subject.name}".replace("/", "_").replace(" ", "_")
    run = RunFolder(recipe.out, EXPERIMENT, recipe.run or run_name(prefix, recipe, () if embedded else dataset.records))
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", about)

    # What concepts or clips lack is found out here, before anything is trained.
    found, own = _concepts(recipe, dataset, halves, given, detector, run)
    sets, randoms, missing, skipped = _sets(recipe, found, own, shape)
    class_clips = _class_clips(recipe, halves.explained, dataset, subject, shape, skipped)
    _write_skipped(run, skipped)
    _check_sets(recipe, sets, randoms, class_clips, len(taps))

    accuracy, history = None, None
    if subject.trained is not None:
        print(f"\n{subject.name}: trained on {len(halves.train)} clips", flush=True)
        subject, accuracy, history = _trained(recipe, subject, dataset, halves, shape, run)
        print(f"{subject.name}: accuracy {accuracy:.4f} on the test videos", flush=True)

    print(f"\nscoring {', '.join(dict.fromkeys(name for _, name in sets))} at {', '.join(taps)}", flush=True)
    bank = _Bank(subject.model, taps, recipe)
    results = {
        "dataset": {
            "name": dataset.name,
            "classes": list(dataset.class_names),
            "videos": len(dataset),
            "notes": [*dataset.notes, halves.note],
            "skipped": len(skipped),
        },
        "model": {
            "name": subject.name,
            "start": subject.start,
            "accuracy": accuracy,
            "history": history,
            "parameters": subject.model.count_params(),
            "trained_here": subject.trained is not None,
        },
        "target": recipe.target,
        "clip": {"shape": list(shape), **subject.clip},
        "taps": taps,
        "gradcam_tap": gradcam_tap,
        "settings": {
            name: getattr(recipe, name)
            for name in ("pool", "classifier", "l2", "folds", "level", "num_random", "resamples")
        },
        "clips": {
            "class": len(class_clips),
            "concepts": {f"{name}, {kind}": len(each) for (kind, name), each in sets.items()},
            "random": {kind: len(each[0]) for kind, each in randoms.items()},
            "corpus": {kind: len(found.select(None, KIND[kind], recipe.undecided)) for kind in KIND},
        },
        "missing": missing,
        **_measured(recipe, bank, sets, randoms, class_clips, class_index),
    }
    results["gradcam"], shown = _looked(recipe, subject, class_clips, class_index, gradcam_tap, halves.explained)
    results["reversal"], example = None, None
    if recipe.reversals:
        print("playing clips backwards", flush=True)
        results["reversal"], example = _reversal(
            recipe, subject, dataset, halves, shape, gradcam_tap, bank, sets, randoms, class_clips, skipped
        )
        results["dataset"]["skipped"] = len(skipped)
        _write_skipped(run, skipped)
    run.write_json("results.json", results)
    _publish(results, about, recipe, run, subject, dataset, halves, found, sets, class_clips, shown, example)


# What is explained


def _subject(recipe: Recipe, class_names: Sequence[str]) -> Subject:
    """The model that is given, or the one to train.

    Raises:
        ValueError: there is neither, or a file that holds no such model.
    """
    from har_tf.models.saving import CLIP, clip_settings, load_model
    from har_tf.models.weights import import_weights as importers
    from har_tf.models.zoo import named

    asked = {name: getattr(recipe, name) for name in ("sampling", "fit") if getattr(recipe, name) is not None}
    if recipe.model is not None:
        model, names = load_model(recipe.model)
        return Subject(recipe.model.stem, recipe.model.name, model, names, clip=clip_settings(recipe.model) | asked)
    if recipe.weights is not None:
        from har_tf.models import video_swin

        options = importers.video_swin_options(recipe.weights)
        shape = (recipe.num_frames or 32, *(recipe.size or (224, 224)), 3)
        names = _names_of_outputs(recipe, options["num_classes"], class_names)
        model = video_swin(input_shape=shape, weights=recipe.weights, **options)
        clip = CLIP | {"sampling": "strided", "fit": "crop"} | asked
        return Subject("VideoSwin", recipe.weights.name, model, names, clip=clip)
    clip = CLIP | asked
    if recipe.network == "VideoSwin":
        trained = _SmallSwin(recipe)
        return Subject("VideoSwin", "random weights, trained here", None, tuple(class_names), trained, clip)
    network = named(recipe.network)
    if network.missing:
        raise ValueError(network.missing)
    trained = _Small(network)
    return Subject(recipe.network, f"{network.start}, trained here", None, tuple(class_names), trained, clip)


@dataclass(frozen=True)
class _SmallSwin:
    """A Video Swin that two cores can train; a `har_tf.trial.Buildable`."""

    recipe: Recipe

    def build(self, shape, num_classes: int, **options):
        import keras

        from har_tf.models import video_swin

        named = {name: getattr(self.recipe, name) for name in ("embed_dim", "depths", "num_heads", "window", "patch")}
        drop_path = self.recipe.drop_path
        model = video_swin("tiny", shape, num_classes, dropout=0.0, drop_path=drop_path, **named, **options)
        # The published deviation of 0.02 suits 96 channels and more. With 32, attention starts, and stays for long,
        # next to uniform; from Glorot's weights it learns sooner.
        for seed, weight in enumerate(model.trainable_weights):
            if weight.name == "kernel" and len(weight.shape) == 2:
                weight.assign(keras.initializers.GlorotUniform(self.recipe.seed + seed)(weight.shape))
        return model


@dataclass(frozen=True)
class _Small:
    """A network by name, CNN-GRU as in `ucf10_cnn_gru` on the embedded data set; a `har_tf.trial.Buildable`."""

    network: object

    def build(self, shape, num_classes: int, **options):
        small = {"pool_sizes": (4, 2, 2), "pool_before_norm": True, "normalize_sequence": True, "dropout": 0.1}
        return self.network.build(shape, num_classes, **(small if self.network.name == "CNN-GRU" else {}), **options)


def _names_of_outputs(recipe: Recipe, outputs: int, class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names)
    if recipe.class_names is not None:
        names = tuple(n for n in recipe.class_names.read_text(encoding="utf-8").splitlines() if n.strip())
    if len(names) != outputs:
        where = recipe.class_names or "the data set"
        raise ValueError(
            f"{recipe.weights}: {outputs} classes, and {where} names {len(names)}. --class-names takes a file with the "
            f"name of each output, one a line"
        )
    return names


def _shape(recipe: Recipe, subject: Subject) -> tuple[int, ...]:
    """(time, height, width, channels) of a clip.

    Raises:
        ValueError: the model takes no clips, or clips of another size than asked for.
    """
    small = recipe.dataset == "figures"
    asked = (recipe.num_frames or (10 if small else 32), *(recipe.size or ((64, 96) if small else (224, 224))), 3)
    if subject.model is None:
        return asked
    own = tuple(subject.model.input_shape[1:])
    if len(own) != 4 or own[-1] != 3:
        raise ValueError(f"Video-TCAV takes a model of RGB clips (T, H, W, 3). Received: one that takes {own}")
    wanted = (recipe.num_frames, *(recipe.size or (None, None)), None)
    if any(None not in pair and pair[0] != pair[1] for pair in zip(own, wanted, strict=True)):
        raise ValueError(
            f"The model takes {' x '.join(map(str, own))}. "
            f"Received: --num-frames {recipe.num_frames} --size {recipe.size}"
        )
    return tuple(theirs or other for theirs, other in zip(own, asked, strict=True))


def _taps(recipe: Recipe, subject: Subject, shape) -> tuple[list[str], str]:
    """The layers of TCAV and the one of Grad-CAM.

    Raises:
        ValueError: the model has no such tap; the message lists those it has.
    """
    from har_tf.models.taps import find, find_several, stages

    model = subject.model or subject.trained.build(shape, 2)
    found = stages(model)
    large = [tap for tap in found if min(tap.shape[1:3]) >= 4] or found
    named = large[-1] if recipe.gradcam_tap is None else find(model, recipe.gradcam_tap)
    chosen = found if recipe.taps is None else find_several(model, words(recipe.taps))
    return [tap.name for tap in chosen], named.name


def _class_index(name: str, names: Sequence[str], where: str) -> int:
    """Where a class stands.

    Raises:
        ValueError: there is no such class.
    """
    keys = {each.casefold(): i for i, each in enumerate(names)}
    if name.casefold() in keys:
        return keys[name.casefold()]
    listed = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    raise ValueError(f"{where} has no class {name!r}.{closest(name, names)} Its {len(names)} classes: {listed}")


def _trained(recipe: Recipe, subject: Subject, dataset, halves: Halves, shape, run):
    """(the subject after training, its accuracy on all test videos, what was measured by epoch)."""
    from har_tf import datasets
    from har_tf.pipeline import Augment
    from har_tf.training import TrainingRecipe
    from har_tf.trial import Parts, run_trial

    parts = (halves.train, halves.validation, [*halves.concept, *halves.explained])
    used = dataset.subset(record for part in parts for record in part)
    prepared = datasets.prepare(
        used, recipe.prepared or recipe.out / "prepared", shape[0], shape[1:3], workers=recipe.workers, **subject.clip
    )
    schedule = TrainingRecipe(
        recipe.epochs, recipe.learning_rate, "cosine", min(1.0, recipe.epochs / 2), clipnorm=1.0,
        weight_decay=recipe.weight_decay,
    )  # fmt: skip
    folder = run.training / subject.name.replace("/", "_")
    clips = Parts(*(prepared.subset(dataset.subset(part)) for part in parts))
    augment = Augment(flip=0.5, crop=0.85) if recipe.augment else None
    outcome = run_trial(subject.trained, {}, clips, schedule, folder, recipe.batch_size, augment, recipe.seed)
    run.keep(folder / "model.keras")
    run.keep(folder / "history.csv")
    trained = replace(subject, model=outcome.model, class_names=dataset.class_names)
    return trained, outcome.report.accuracy, outcome.history.epochs


# Which videos


def _halves(recipe: Recipe, dataset, training: bool, given) -> Halves:
    """Divides the videos; of a source, such as a person and scene, all are on one side.

    With concepts that are given, all test videos of the class that they were not mined from are clips of the class.
    """
    import numpy as np

    from har_tf.trial import hold_out

    grouped = all(record.group is not None for record in dataset.records)
    protocol = "official" if dataset.official is not None else "group" if grouped else "random"
    train, validation, test = (), (), dataset.records
    if dataset.official is not None:
        test = [record for record in dataset.records if record.path in dataset.official[1]]
    if training or (dataset.official is None and recipe.test < 1):
        part, rest = dataset.split(protocol, recipe.seed, recipe.test)
        test = rest.records
        if training:
            train, validation = (each.records for each in hold_out(part, protocol, recipe.seed, recipe.validation))
    target = _class_index(recipe.target, dataset.class_names, str(dataset.root))
    if given is not None:
        used = {path for paths in _sources(given, test).values() for path in paths}
        groups = {record.group for record in test if record.path in used and record.group is not None}
        mined = [record for record in test if record.path in used or record.group in groups]
        explained = [record for record in test if record.path not in used and record.group not in groups]
        note = f"{len(mined)} of {len(test)} test videos gave concepts, or show the same, and are not explained"
        if shared := len(_sources(given, [*train, *validation])):
            note += f"; {shared} training videos gave concepts, too, so the model has seen them"
        return Halves(train, validation, mined, explained, note)
    # The sources of the class are halved, and so are the others.
    source = {record: record.group or str(record.path) for record in test}
    mine = sorted({source[record] for record in test if record.label == target})
    others = sorted(set(source.values()) - set(mine))
    random = np.random.default_rng(recipe.seed)
    first = {each for part in (mine, others) for each in random.permutation(part)[: (len(part) + 1) // 2].tolist()}
    halves = [[r for r in test if (source[r] in first) is side] for side in (True, False)]
    note = f"of {len(test)} test videos {len(halves[0])} give concepts and {len(halves[1])} are explained"
    return Halves(train, validation, *halves, note)


def _sources(found, records) -> dict[str, list[Path]]:
    """Name of a source of concepts -> the videos among records that may be meant: a name may end several paths."""
    known = {source.path for source in found.sources} | {clip.source for clip in found.clips}
    places: dict[str, list[Path]] = {}
    for record in records:
        parts = record.path.parts
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[-count:])
            if name in known:
                places.setdefault(name, []).append(record.path)
    return places


def _load(recipe: Recipe, shape):
    from har_tf import datasets

    if recipe.dataset == "figures":
        height, width = shape[1:3]
        return datasets.load(
            "figures", recipe.out / "figures", clips=recipe.clips, size=(height + height % 2, width + width % 2),
            frames=2 * shape[0] - 1, figure_height=recipe.figure_height, clutter=recipe.clutter, seed=recipe.seed,
            workers=recipe.workers,
        )  # fmt: skip
    if recipe.dataset == "kinetics":
        return datasets.load("kinetics", recipe.data_dir, lists=recipe.lists)
    return datasets.load(Path(recipe.dataset), lists=recipe.lists)


def _class_clips(recipe: Recipe, records, dataset, subject: Subject, shape, skipped: dict) -> Set:
    """Clips of the class.

    Raises:
        ValueError: fewer than a cross-validation has folds.
    """
    target = _class_index(recipe.target, dataset.class_names, str(dataset.root))
    found = _read([r for r in records if r.label == target], recipe.class_clips, subject, shape, recipe.seed, skipped)
    if found is None or len(found) < recipe.folds:
        raise ValueError(
            f"{dataset.root}: {len(found or ())} test videos of {recipe.target} can be explained; at least "
            f"{recipe.folds} are needed, best 30. More videos of it"
            + (", or a larger --test, are needed" if dataset.official is None and recipe.test < 1 else " are needed")
        )
    return found


def _read(records, count: int | None, subject: Subject, shape, seed: int, skipped: dict) -> Set | None:
    """The clips of at most so many records, drawn with the seed; None where there is none."""
    import numpy as np

    from har_tf.video import VideoError

    order = np.random.default_rng([seed, 1]).permutation(len(records)).tolist()
    clips, chosen = [], []
    for i in order:
        if count is not None and len(clips) == count:
            break
        try:
            clips.append(records[i].read(shape[0], shape[1:3], **subject.clip))
            chosen.append(records[i])
        except VideoError as error:
            skipped[records[i].path] = error.reason
    return Set(np.stack(clips), tuple(str(record.path) for record in chosen)) if clips else None


def _write_skipped(run, skipped: Mapping) -> None:
    import csv

    from har_tf.files.whole import whole_file

    with whole_file(run.path / "skipped.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *skipped.items()])


# Concepts


def _detector(recipe: Recipe):
    """The detector, opened before anything long is done; None where nothing is to be detected."""
    if recipe.detector is None:
        return None
    from har_tf.concepts.detectors.base import check_concepts
    from har_tf.concepts.detectors.open import open_detector

    found = open_detector(recipe.detector)
    check_concepts(words(recipe.labels), found.names, recipe.detector)
    return found


def _concepts(recipe: Recipe, dataset, halves: Halves, given, detector, run):
    """The concepts, and the sources whose clips may stand for one; None: all."""
    import numpy as np

    from har_tf.concepts import mining as concepts
    from har_tf.concepts.tracks import true_tracks

    if given is not None:
        return given, None
    target = _class_index(recipe.target, dataset.class_names, str(dataset.root))
    own = [record for record in halves.concept if record.label == target]
    if not own:
        raise ValueError(f"{dataset.root}: no test video of {recipe.target} is left to mine concepts from")
    others = [record for record in halves.concept if record.label != target]
    order = np.random.default_rng([recipe.seed, 2]).permutation(len(others))[: recipe.random_videos]
    mined = [*own, *(others[i] for i in sorted(order.tolist()))]
    print(f"mining concepts from {len(own)} videos of {recipe.target} and {len(order)} others", flush=True)
    if detector is not None:
        found = concepts.mine([r.path for r in mined], detector, words(recipe.labels), run.path / "concepts")
    else:
        names = {r.path: dataset.class_names[r.label] for r in mined}
        tracks = {
            r.path: [replace(track, label=_thing(track.label, names[r.path])) for track in true_tracks(r)]
            for r in mined
        }
        labels = {track.label for record in own for track in tracks[record.path]}
        shown = [label for label in ("ball", "box", "person", "limb") if label in labels]
        # A ball is a few pixels across in small frames.
        found = concepts.cut_tracks(tracks, list(tracks), shown, run.path / "concepts", smallest=4)
    places = {path: name for name, paths in _sources(found, own).items() for path in paths}
    return found, {places[record.path] for record in own if record.path in places}


def _thing(label: str, action: str) -> str:
    """What the embedded data set calls object is a ball where it is thrown, and a box where it is picked up."""
    return {"object": "ball" if action in ("throw", "catch") else "box"}.get(label, label)


def _names(recipe: Recipe, found) -> list[str]:
    """The concepts that are used.

    Raises:
        ConceptError: an unknown one, or fewer than two.
    """
    from har_tf.concepts.mining import ConceptError

    names = list(found.concepts) if recipe.concept_names is None else words(recipe.concept_names)
    known = sorted({clip.concept for clip in found.clips} | set(found.concepts))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConceptError(f"{found.folder}: no concept {unknown[0]!r}. It has {', '.join(known)}")
    if len(set(names)) < 2:
        raise ConceptError(
            f"{found.folder}: relative TCAV sets concepts against each other; at least two are needed. "
            f"Received: {', '.join(names) or 'none'}"
        )
    return list(dict.fromkeys(names))


def _sets(recipe: Recipe, found, own, shape):
    """Clips of every concept and of the random sets.

    Returns:
        {(kind, concept): Set}, {kind: [Set]} with one set more than asked for, {kind: why there is none}, and
        {path: why a clip was left out}.

    Raises:
        ConceptError: too few clips of a concept, or none of them can be decoded, in both kinds.
    """
    from har_tf.concepts.mining import ConceptError

    sets, randoms, missing, skipped = {}, {}, {}, {}
    for kind, folder in KIND.items():
        try:
            each = {
                (kind, name): _concept_clips(recipe, found, name, folder, own, shape, skipped)
                for name in _names(recipe, found)
            }
            size = min(recipe.concept_clips, max(len(one) for one in each.values()))
            drawn = found.random_sets(recipe.num_random + 1, size, folder, recipe.seed, undecided=recipe.undecided)
            randoms[kind] = _random_clips(recipe, found, drawn, shape, skipped)
            sets |= each
        except ConceptError as error:
            missing[kind] = str(error)
    if not sets:
        raise ConceptError("; ".join(dict.fromkeys(missing.values())))
    return sets, randoms, missing, skipped


def _concept_clips(recipe: Recipe, found, name: str, folder: str, own, shape, skipped: dict) -> Set:
    import numpy as np

    from har_tf.concepts.mining import ConceptError

    usable = [c for c in found.select(name, folder, recipe.undecided) if own is None or c.source in own]
    if not usable:
        raise ConceptError(f"{found.folder}: concept {name!r} has no {folder} clip that can be used")
    usable.sort(key=lambda clip: clip.file)
    order = np.random.default_rng([recipe.seed, *name.encode()]).permutation(len(usable))
    chosen = [usable[i] for i in sorted(order[: recipe.concept_clips].tolist())]
    clips = _decoded(recipe, found, chosen, shape, skipped)
    sources = [clip.source or clip.file for clip in chosen if clip.file in clips]
    if len(set(sources)) < recipe.folds:
        failed = [clip.file for clip in chosen if clip.file not in clips]
        broken = f", {len(failed)} of {len(chosen)} cannot be decoded, the first {failed[0]}" if failed else ""
        raise ConceptError(
            f"{found.folder}: concept {name!r} has {folder} clips of {len(set(sources))} videos that can be used"
            f"{broken}; {recipe.folds}-fold cross-validation needs at least {recipe.folds}, a test best 30"
        )
    return Set(np.stack(list(clips.values())), tuple(sources))


def _decoded(recipe: Recipe, found, clips, shape, skipped: dict) -> dict:
    """{file: (T, H, W, 3)} of those that can be decoded."""
    from har_tf.concepts.mining import ConceptError

    read = {}
    for clip in clips:
        try:
            read[clip.file] = found.read([clip], shape[0], shape[1:3], recipe.fit_concepts)[0]
        except ConceptError as error:
            skipped[found.folder / clip.file] = str(error)
    return read


def _random_clips(recipe: Recipe, found, drawn, shape, skipped: dict) -> list[Set]:
    import numpy as np

    from har_tf.concepts.mining import ConceptError

    read = _decoded(recipe, found, {clip.file: clip for each in drawn for clip in each}.values(), shape, skipped)
    sets = []
    for each in drawn:
        kept = [clip for clip in each if clip.file in read]
        if len(kept) < recipe.folds:
            raise ConceptError(
                f"{found.folder}: a random set has {len(kept)} clips that can be decoded. {recipe.folds} are needed"
            )
        sets.append(Set(np.stack([read[c.file] for c in kept]), tuple(c.source or c.file for c in kept)))
    return sets


# Scores


class _Bank:
    """Activations of sets of clips at all layers, each set once; equal clips in several sets pass the model once."""

    def __init__(self, model, taps: list[str], recipe: Recipe) -> None:
        self.model, self.taps, self.recipe = model, taps, recipe
        self._known: dict[bytes, dict] = {}

    def activations(self, each: Set) -> dict:
        """{tap: (N, D)}."""
        import hashlib

        import numpy as np

        from har_tf.concepts import tcav

        keys = [hashlib.blake2b(np.ascontiguousarray(clip)).digest() for clip in each.clips]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            found = tcav.activations(
                self.model, each.clips[list(new.values())], self.taps, self.recipe.pool, self.recipe.batch_size
            )
            for k, key in enumerate(new):
                self._known[key] = {tap: found[tap][k] for tap in self.taps}
        return {tap: np.stack([self._known[key][tap] for key in keys]) for tap in self.taps}

    def slopes(self, clips, class_index: int) -> dict:
        """{tap: (N, D)}, gradients of the class's logit."""
        from har_tf.concepts import tcav

        return tcav.gradients(self.model, clips, class_index, self.taps, self.recipe.pool, self.recipe.batch_size)


def _measured(recipe: Recipe, bank: _Bank, sets, randoms, class_clips: Set, class_index: int) -> dict:
    """Figures 7 to 10, and what changes with depth."""
    slopes = bank.slopes(class_clips.clips, class_index)
    names = list(dict.fromkeys(name for _, name in sets))
    found: dict = {"figures": {}, "tests": {}, "changes": []}
    for number, kind in ((7, STATIC), (8, DYNAMIC)):
        if kind in randoms:
            shown = {name: sets[kind, name] for name in names}
            scores, changes = _relative(recipe, bank, shown, randoms[kind][:-1], slopes, class_clips)
            found["figures"][str(number)] = scores
            found["changes"] += [{"figure": number, **change} for change in changes]
            found["tests"][kind] = _tests(recipe, bank, shown, randoms[kind], slopes)
    if len(randoms) == len(KIND):
        mixed = _mixed(randoms)
        found["figures"]["9"] = {}
        for name in names:
            shown = {f"{name}, {kind}": sets[kind, name] for kind in KIND}
            pair = (f"{name}, {DYNAMIC}", f"{name}, {STATIC}")
            scores, changes = _relative(recipe, bank, shown, mixed[:-1], slopes, class_clips, pair)
            found["figures"]["9"][name] = scores
            found["changes"] += [{"figure": 9, **change} for change in changes]
    return found


def _mixed(randoms: Mapping[str, Sequence[Set]]) -> list[Set]:
    """Random sets of static and dynamic clips, half of each.

    The sets of both kinds are of the same tracks, by concept: every other clip keeps the mixture of concepts, and takes
    no track twice.
    """
    import numpy as np

    mixed = []
    for still, moving in zip(randoms[STATIC], randoms[DYNAMIC], strict=True):
        clips = np.concatenate([still.clips[::2], moving.clips[1::2]])
        mixed.append(Set(clips, (*still.sources[::2], *moving.sources[1::2])))
    return mixed


def _relative(recipe: Recipe, bank: _Bank, shown: Mapping[str, Set], randoms, slopes, class_clips, pair=None):
    """Relative scores of the sets that are shown together, with intervals.

    Args:
        pair: names of two sets whose difference at the last layer is wanted.

    Returns:
        {tap: {name: scores}}, and what changes: from the first to the last layer for every name, and between the pair.
    """
    import numpy as np

    from har_tf.concepts.cav import Linear, in_span
    from har_tf.concepts.tcav import relative_tcav

    how = Linear(recipe.classifier, recipe.l2, recipe.folds, recipe.seed)
    groups = {name: each.sources for name, each in shown.items()}
    random_groups = [each.sources for each in randoms]
    activations = [bank.activations(each) for each in (*shown.values(), *randoms)]
    found, spanned = {}, {}
    for tap in bank.taps:
        each, slope = in_span([a[tap] for a in activations], slopes[tap])
        spanned[tap] = dict(zip(shown, each, strict=False)), each[len(shown) :], slope
        concept, random, slope = spanned[tap]
        scores = relative_tcav(concept, slope, random, how, groups, random_groups)
        found[tap] = {name: _plain(one) for name, one in scores.items()}
    names = [*shown, RANDOM]
    drawn = np.zeros((recipe.resamples, len(bank.taps), len(names)))
    quick, dice = replace(how, folds=None), np.random.default_rng([recipe.seed, 3])
    for b in range(recipe.resamples):
        number = int(dice.integers(len(randoms)))
        rows = {name: _redrawn(each.sources, dice) for name, each in shown.items()}
        random_rows, class_rows = (_redrawn(each.sources, dice) for each in (randoms[number], class_clips))
        for k, tap in enumerate(bank.taps):
            concept, random, slope = spanned[tap]
            again = {name: concept[name][rows[name]] for name in shown}
            scores = relative_tcav(again, slope[class_rows], [random[number][random_rows]], quick)
            drawn[b, k] = [scores[name].mean for name in names]
    for k, tap in enumerate(bank.taps):
        for j, name in enumerate(names):
            found[tap][name]["interval"] = _interval(drawn[:, k, j])
    first, last = bank.taps[0], bank.taps[-1]
    changes = [
        {
            "what": name, "between": [first, last], "value": found[last][name]["score"] - found[first][name]["score"],
            "interval": _interval(drawn[:, -1, j] - drawn[:, 0, j]),
        }
        for j, name in enumerate(names)
    ]  # fmt: skip
    if pair is not None:
        one, other = (names.index(name) for name in pair)
        value = found[last][pair[0]]["score"] - found[last][pair[1]]["score"]
        changes.append(
            {
                "what": f"{pair[0]} - {pair[1]}", "between": [last, last], "value": value,
                "interval": _interval(drawn[:, -1, one] - drawn[:, -1, other]),
            }
        )  # fmt: skip
    return found, changes


def _plain(scores) -> dict:
    """What `results.json` keeps of `Scores`."""
    return {
        "score": scores.mean, "deviation": scores.deviation, "accuracy": scores.accuracy,
        "magnitude": float(scores.magnitudes.mean()), "derivative": float(scores.derivatives.mean()),
        "clips": scores.clips,
    }  # fmt: skip


def _redrawn(sources: Sequence[str], dice) -> list[int]:
    """Rows of as many sources, drawn with replacement."""
    rows: dict[str, list[int]] = {}
    for i, source in enumerate(sources):
        rows.setdefault(source, []).append(i)
    names = list(rows)
    return [i for k in dice.integers(len(names), size=len(names)) for i in rows[names[k]]]


def _interval(values) -> list[float] | None:
    import numpy as np

    return None if len(values) < 20 else [float(v) for v in np.quantile(values, [0.025, 0.975])]


def _tests(recipe: Recipe, bank, shown: Mapping[str, Set], randoms, slopes, hypotheses: int | None = None) -> dict:
    """{tap: {concept: significance}}; the last random set is tested as if it were a concept.

    Args:
        hypotheses: None: every concept at every layer is one.
    """
    import math

    from har_tf.concepts.cav import Linear
    from har_tf.concepts.tcav import Criterion, significance

    concepts = {**shown, FURTHER: randoms[-1]}
    hypotheses = hypotheses or len(concepts) * len(bank.taps)
    permutations = max(1999, 2 * math.ceil(hypotheses / recipe.level))
    criterion = Criterion(recipe.level, hypotheses, permutations=permutations, seed=recipe.seed)
    how = Linear(recipe.classifier, recipe.l2, recipe.folds, recipe.seed)
    activations = {name: bank.activations(each) for name, each in concepts.items()}
    drawn = [bank.activations(each) for each in randoms[:-1]]
    found = {}
    for tap in bank.taps:
        tested = significance(
            {name: each[tap] for name, each in activations.items()}, slopes[tap], [each[tap] for each in drawn], how,
            criterion, {name: each.sources for name, each in concepts.items()}, [each.sources for each in randoms[:-1]],
        )  # fmt: skip
        found[tap] = {}
        for name, each in tested.items():
            about = each.as_dict()
            kept = ("random_mean", "random_deviation", "random_accuracy", "t_test", "t_test_corrected", "permutation")
            kept += ("permutation_corrected", "hypotheses", "level", "significant")
            found[tap][name] = _plain(each.scores) | {key: about[key] for key in kept}
    return found


class _NoModel:
    """In place of a `_Bank` before there is a model: numbers that mean nothing, for sets of the right sizes."""

    taps = ("layer",)

    def activations(self, each: Set) -> dict:
        import numpy as np

        keys = [int(clip.astype(np.uint64).sum()) for clip in each.clips]
        return {"layer": np.array([np.random.default_rng(key).normal(size=2) for key in keys])}


def _check_sets(recipe: Recipe, sets, randoms, class_clips: Set, count: int) -> None:
    """Raises ValueError where a test or a cross-validation will take more clips, before anything is trained.

    Args:
        count: layers.
    """
    import numpy as np

    slopes = {"layer": np.random.default_rng(0).normal(size=(len(class_clips), 2))}
    for kind in randoms:
        shown = {name: each for (own, name), each in sets.items() if own == kind}
        _tests(recipe, _NoModel(), shown, randoms[kind], slopes, (len(shown) + 1) * count)
        _relative(replace(recipe, resamples=0), _NoModel(), shown, randoms[kind][:-1], slopes, class_clips)
    if len(randoms) == len(KIND):
        mixed = _mixed(randoms)[:-1]
        for name in dict.fromkeys(name for _, name in sets):
            shown = {f"{name}, {kind}": sets[kind, name] for kind in KIND}
            _relative(replace(recipe, resamples=0), _NoModel(), shown, mixed, slopes, class_clips)


# Figure 1


def _looked(recipe: Recipe, subject: Subject, class_clips: Set, class_index: int, tap: str, records):
    """Grad-CAM of the clips of the class, and which of them are shown.

    Returns:
        What `results.json` keeps, and [(why, row)].
    """
    from har_tf.explain import gradcam

    found = gradcam(subject.model, class_clips.clips, tap, class_index, batch_size=recipe.batch_size)
    answers = subject.model.predict(class_clips.clips, batch_size=recipe.batch_size, verbose=0).argmax(axis=1)
    inside = _inside(found.maps, class_clips, subject, records)
    rows = [
        {
            "video": Path(source).stem, "probability": float(found.probability[i]),
            "answer": subject.class_names[answers[i]], "inside": None if inside is None else inside[i],
            "empty": bool(found.empty[i]),
        }
        for i, source in enumerate(class_clips.sources)
    ]  # fmt: skip
    right = [i for i in range(len(rows)) if answers[i] == class_index and not rows[i]["empty"]]
    usable = right or list(range(len(rows)))
    if inside is None:
        ranked = sorted(usable, key=lambda i: -rows[i]["probability"])
        why = ("the surest answer", "the least sure right answer")
    else:
        ranked = sorted(usable, key=lambda i: -rows[i]["inside"])
        why = ("most of its Grad-CAM lies on the person and the object", "least of its Grad-CAM lies on them")
    shown = list(dict(reversed(list(zip((ranked[0], ranked[-1]), why, strict=True)))).items())[::-1]
    between = [(i, "between them") for i in ranked[1:-1][:: max(1, len(ranked) // max(1, recipe.overlays))]]
    return {
        "tap": tap, "right": len([i for i in range(len(rows)) if answers[i] == class_index]), "clips": rows,
        "inside": None if inside is None else sum(inside) / len(inside),
    }, {"explanation": found, "figure": [(i, text) for i, text in shown], "videos": [*shown, *between]}  # fmt: skip


def _inside(maps, class_clips: Set, subject: Subject, records) -> list[float] | None:
    """The share of each clip's saliency that lies in the true boxes of person and object; None without boxes."""
    import numpy as np

    from har_tf.video.sampling import frame_indices

    of = {str(record.path): record for record in records}
    chosen = [of[source] for source in class_clips.sources]
    if any(record.boxes is None for record in chosen):
        return None
    shares = []
    for one, record in zip(maps, chosen, strict=True):
        numbers = frame_indices(len(record.boxes), len(one), subject.clip["sampling"], short=subject.clip["short"])
        tracks = [record.boxes] + ([] if record.object_boxes is None else [record.object_boxes])
        mask = np.zeros(one.shape, bool)
        for t, number in enumerate(numbers.tolist()):
            for box in (track[number] for track in tracks):
                if np.isfinite(box).all():
                    # The embedded videos have the model's size, but for a last row or column.
                    x1, y1, x2, y2 = np.rint(box).astype(int)
                    mask[t, y1:y2, x1:x2] = True
        total = float(one.sum())
        shares.append(float(one[mask].sum()) / total if total else 0.0)
    return shares


# Section 2.2


def _reverse_of(recipe: Recipe) -> dict[str, str]:
    """Class -> what it is called played backwards."""
    pairs = REVERSED_PAIRS if recipe.dataset == "figures" else ()
    if recipe.pairs is not None:
        pairs = [tuple(part.strip() for part in pair.split(":")) for pair in words(recipe.pairs)]
    return {one: other for pair in pairs for one, other in (pair, pair[::-1])}


def _spelled(recipe: Recipe, dataset) -> Recipe:
    """The recipe with the classes spelled as the data set spells them.

    Raises:
        ValueError: it has no such class.
    """

    def spelled(name: str) -> str:
        return dataset.class_names[_class_index(name, dataset.class_names, str(dataset.root))]

    pairs = recipe.pairs
    if pairs is not None:
        pairs = ",".join(":".join(spelled(part.strip()) for part in pair.split(":")) for pair in words(pairs))
    return replace(recipe, target=spelled(recipe.target), pairs=pairs)


def _reversal(
    recipe: Recipe,
    subject: Subject,
    dataset,
    halves,
    shape,
    tap,
    bank: _Bank,
    sets,
    randoms,
    class_clips,
    skipped: dict,
):
    """Clips of the second half of the test part, forwards and backwards: answers, Grad-CAM, and concepts.

    Returns:
        What `results.json` keeps, and an example for the page.
    """
    import numpy as np

    from har_tf.explain import gradcam

    known = {name.casefold() for name in subject.class_names} & {name.casefold() for name in dataset.class_names}
    reverse_of = {
        one: other for one, other in _reverse_of(recipe).items() if {one.casefold(), other.casefold()} <= known
    }
    names = dataset.class_names if recipe.dataset == "figures" else dict.fromkeys([recipe.target, *reverse_of])
    names = [name for name in names if name.casefold() in known]
    model, size = subject.model, recipe.batch_size
    answers, maps, example = {}, {}, None
    for name in names:
        label = _class_index(name, dataset.class_names, str(dataset.root))
        index = _class_index(name, subject.class_names, "the model")
        back = _class_index(reverse_of.get(name, name), subject.class_names, "the model")
        videos = [record for record in halves.explained if record.label == label]
        each = _read(videos, recipe.reversal_clips, subject, shape, recipe.seed, skipped)
        if each is None:
            continue
        mirrored = np.ascontiguousarray(each.clips[:, ::-1])
        forwards, backwards = (
            model.predict(x, batch_size=size, verbose=0).argmax(axis=1) for x in (each.clips, mirrored)
        )
        right = forwards == index
        answers[name] = {
            "clips": len(each), "reverse": reverse_of.get(name), "forwards_right": float(right.mean()),
            "backwards_same_class": float((backwards == index).mean()),
            "backwards_reverse_class": float((backwards == back).mean()) if back != index else None,
            "of_right": int(right.sum()),
            "of_right_as_expected": float((backwards[right] == back).mean()) if right.any() else None,
            "answer_changed": float((forwards != backwards).mean()),
        }  # fmt: skip
        ahead = gradcam(model, each.clips, tap, index, batch_size=size)
        same = gradcam(model, mirrored, tap, index, batch_size=size)
        other = same if back == index else gradcam(model, mirrored, tap, back, batch_size=size)
        maps[name] = {
            "mirrored, same class": _alike(ahead.maps, same.maps[:, ::-1]),
            "mirrored, reverse class": None if back == index else _alike(ahead.maps, other.maps[:, ::-1]),
            "not mirrored, same class": _alike(ahead.maps, same.maps),
            "another clip": _alike(ahead.maps, np.roll(ahead.maps, 1, axis=0)) if len(each) > 1 else None,
        }
        if name == recipe.target:
            best = int(np.argmax(np.where(right & ~ahead.empty & ~same.empty, ahead.probability, -1)))
            example = {
                "clip": each.clips[best], "name": Path(each.sources[best]).stem, "ahead": ahead.only(best),
                "same": same.only(best), "other": None if back == index else other.only(best),
                "answers": [subject.class_names[found[best]] for found in (forwards, backwards)],
            }  # fmt: skip
    directions = _directions(
        recipe, subject, dataset, halves, shape, bank, sets, randoms, class_clips, reverse_of, skipped
    )
    return {"answers": answers, "gradcam": maps, "concepts": directions}, example


def _alike(one, other) -> dict:
    """Correlation of maps (N, T, H, W), clip by clip; maps that are the same everywhere do not count."""
    import numpy as np

    found = []
    for a, b in zip(one.reshape(len(one), -1), other.reshape(len(other), -1), strict=True):
        if a.std() > 1e-6 and b.std() > 1e-6:
            found.append(float(np.corrcoef(a, b)[0, 1]))
    return {"mean": float(np.mean(found)) if found else None, "clips": len(found)}


def _directions(
    recipe: Recipe, subject, dataset, halves, shape, bank: _Bank, sets, randoms, class_clips, reverse_of, skipped: dict
):
    """Does a CAV tell a moving concept from the same clips played backwards, and does the class follow it?

    Returns:
        {class: {concept: {tap: {forwards, backwards, random: scores}}}}; None without dynamic concepts.
    """
    if DYNAMIC not in randoms:
        return None
    classes = {recipe.target: class_clips}
    if recipe.target in reverse_of:
        reverse = reverse_of[recipe.target]
        label = _class_index(reverse, dataset.class_names, str(dataset.root))
        known = [record for record in halves.explained if record.label == label]
        each = _read(known, recipe.class_clips, subject, shape, recipe.seed, skipped)
        if each is not None:
            classes[reverse] = each
    found = {}
    for name, clips in classes.items():
        slopes = bank.slopes(clips.clips, _class_index(name, subject.class_names, "the model"))
        found[name] = {}
        for kind, concept in sets:
            if kind == DYNAMIC:
                each = sets[kind, concept]
                shown = {"forwards": each, "backwards": each.backwards()}
                found[name][concept], _ = _relative(
                    recipe, bank, shown, randoms[kind][:-1], slopes, clips, ("forwards", "backwards")
                )
    return found


# What comes out


def _publish(results, about, recipe, run, subject, dataset, halves, found, sets, class_clips, shown, example) -> None:
    """Writes the tables, the figures, the overlays and the page, and prints the tables."""
    from har_tf.report import page, plots
    from har_tf.report.pages import tcav as tcav_results
    from har_tf.report.pages.concept_review import write_review
    from har_tf.report.run_folder import machine

    made = tcav_results.tables(results)
    for stem, table in made.items():
        table.write(run.tables, stem)
    sections = [page.Section("What was found", text="\n\n".join(tcav_results.findings(results)))]
    if results["model"]["history"]:
        curves = plots.curves({subject.name: results["model"]["history"]}, run.figures / "curves.png")
        caption = "Loss and accuracy by epoch, on training and validation clips."
        sections.append(page.Section("Training", figures=[page.Figure(curves, caption)]))
    sections.append(_figure_1(results, recipe, run, subject, class_clips, shown))
    sections += _concept_sections(results, run, dataset, halves, found, sets)
    sections += _score_sections(results, run, made)
    if results["reversal"]:
        sections.append(_reversal_section(results, run, subject, example, made))
    write_review(found, run.path / "concepts.html")
    written = page.write_page(
        run.path / "report.html",
        "Video-TCAV",
        {
            "class": results["target"],
            "data": tcav_results.data_line(results),
            "model": tcav_results.model_line(results),
            "split": results["dataset"]["notes"][-1],
            "concepts": f"{tcav_results.concept_line(results)}; to be reviewed on concepts.html, beside this page",
            "date": about["date"],
            "machine": machine(about),
            "command": about["command"],
        },
        sections,
    )
    for table in made.values():
        print(f"\n{table.markdown()}")
    for sentence in tcav_results.findings(results):
        print(sentence)
    print(f"run folder: {run.path}\nreport:     {written}", flush=True)


def _figure_1(results, recipe: Recipe, run, subject: Subject, class_clips: Set, shown):
    from har_tf.explain import overlay, save_overlay
    from har_tf.report import page, plots

    explanation, rows = shown["explanation"], []
    painted = overlay(class_clips.clips, explanation, alpha=0.6)
    for i, why in shown["figure"]:
        rows += [(f"{_upper(why)}: {_answer(results, i)}", class_clips.clips[i]), ("", painted[i])]
    path = plots.frame_strip(rows, run.figures / "figure_1_gradcam.png", max_frames=8)
    videos = []
    for i, why in shown["videos"][: recipe.overlays]:
        name = run.overlays / f"gradcam_{len(videos) + 1}_{Path(class_clips.sources[i]).stem}.mp4"
        title = f"true class: {results['target']}"
        save_overlay(name, class_clips.clips, explanation, i, class_names=subject.class_names, title=title)
        videos.append(page.Video(name, f"{_upper(why)}: {_answer(results, i)}"))
    looked = results["gradcam"]
    text = f"Grad-CAM for {results['target']} at {looked['tap']}, of {len(looked['clips'])} clips of the class."
    if looked["inside"] is not None:
        text += (
            f" On average {looked['inside']:.0%} of the saliency lies in the true boxes of the person and the object."
        )
    return page.Section("Figure 1: Grad-CAM", text, figures=[page.Figure(path, "Clips above their overlays.")],
                        videos=videos)  # fmt: skip


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _answer(results, i: int) -> str:
    row = results["gradcam"]["clips"][i]
    inside = "" if row["inside"] is None else f", {row['inside']:.0%} inside the true boxes"
    return f"answered {row['answer']}; {results['target']} {row['probability']:.2f}{inside}"


def _concept_sections(results, run, dataset, halves: Halves, found, sets) -> list:
    """Figures 4 to 6."""
    import numpy as np

    from har_tf.report import page, plots
    from har_tf.report.pages import concepts as concepts_page

    names = list(dict.fromkeys(name for _, name in sets))
    sections = []
    pictures = _detected(found, halves, names)
    if pictures:
        path = concepts_page.sheet([("", pictures)], run.figures / "figure_4_detections.png", height=1.9)
        caption = "Boxes in the middle frame of videos that gave concepts, of the concepts and of other classes."
        sections.append(page.Section("Figure 4: detections", figures=[page.Figure(path, caption)]))
    else:
        sections.append(
            page.Section("Figure 4: detections", "Not drawn: the videos that the concepts were cut from are not known.")
        )
    for number, kind in ((5, STATIC), (6, DYNAMIC)):
        title = f"Figure {number}: {KIND[kind]} concepts"
        if (kind, names[0]) not in sets:
            sections.append(page.Section(title, f"Not run: {results['missing'][kind]}."))
            continue
        path = run.figures / f"figure_{number}_{KIND[kind]}.png"
        if kind == STATIC:
            rows = [(name, list(sets[kind, name].clips[:10, 0])) for name in names]
            concepts_page.sheet(rows, path)
            caption = "Clips of each concept, as the model is given them; each is one picture, repeated."
        else:
            rows = [
                (name if k == 0 else "", clip) for name in names for k, clip in enumerate(sets[kind, name].clips[:2])
            ]
            plots.frame_strip([(text, np.ascontiguousarray(clip)) for text, clip in rows], path, max_frames=8)
            caption = "Two clips of each concept over time, as the model is given them."
        sections.append(page.Section(title, figures=[page.Figure(path, caption)]))
    return sections


def _detected(found, halves: Halves, names, count: int = 4) -> list:
    """Frames of videos that gave most of the concepts, with the boxes that were cut out."""
    from har_tf.report.pages import concepts as concepts_page
    from har_tf.video import VideoError, read_frames

    by_source: dict[str, list] = {}
    for clip in found.clips:
        if clip.kind == KIND[DYNAMIC] and clip.frames and clip.boxes:
            by_source.setdefault(clip.source, []).append(clip)
    # Of a name that several videos have, nobody knows whose boxes they are.
    several = _sources(found, [*halves.concept, *halves.explained])
    places = {name: paths[0] for name, paths in several.items() if len(paths) == 1}
    ranked = sorted(
        (source for source in by_source if source in places),
        key=lambda source: (-len({c.concept for c in by_source[source]} & set(names)), source),
    )
    pictures = []
    for source in ranked[:count]:
        clips = by_source[source]
        # A frame that most tracks go through.
        frames = [frame for clip in clips for frame in clip.frames]
        number = max(sorted(set(frames)), key=lambda f: (frames.count(f), -abs(f - sum(frames) / len(frames))))
        boxes = [(c.concept, c.boxes[c.frames.index(number)]) for c in clips if number in c.frames]
        try:
            frame = read_frames(places[source], [number], None)[0]
        except VideoError:
            continue
        pictures.append(concepts_page.detections(frame, boxes))
    return pictures


def _score_sections(results, run, made) -> list:
    """Figures 7 to 10."""
    from har_tf.report import page

    sections = []
    target = results["target"]
    chance = (
        "Error bars: the deviation over random sets; how sure a score is, the intervals of the table tell. A direction "
        "that has nothing to do with the class scores 0.5 on average, but a single one may well score 0 or 1."
    )
    for number, kind in ((7, STATIC), (8, DYNAMIC)):
        title = f"Figure {number}: relative TCAV of {kind} concepts"
        if str(number) not in results["figures"]:
            sections.append(page.Section(title, f"Not run: {results['missing'][kind]}."))
            continue
        path = run.figures / f"figure_{number}_{kind}.png"
        _bars(results["figures"][str(number)], path, f"{kind.capitalize()} concepts of {target}")
        caption = f"Relative TCAV of {kind} concepts and of the random one, by layer. {chance}"
        table = made[f"figure_{number}"]
        sections.append(page.Section(title, tables=[replace(table, title="")], figures=[page.Figure(path, caption)]))
    title = f"Figure 9: {STATIC} against {DYNAMIC} concepts"
    if "9" in results["figures"]:
        figures = []
        for name, scores in results["figures"]["9"].items():
            path = run.figures / f"figure_9_{_stem(name)}.png"
            _bars(scores, path, f"{name.capitalize()}, {STATIC} against {DYNAMIC}, for {target}")
            caption = f"{name.capitalize()}, {STATIC} and {DYNAMIC}, and random clips of both kinds."
            figures.append(page.Figure(path, caption))
        sections.append(page.Section(title, tables=[replace(made["figure_9"], title="")], figures=figures))
    else:
        sections.append(page.Section(title, f"Not run: {'; '.join(results['missing'].values())}."))
    sections.append(page.Section("Does importance grow with depth?", tables=[made["changes"]]))
    figures = []
    for kind, by_tap in results["tests"].items():
        path = run.figures / f"figure_10_{kind}.png"
        _bars(by_tap, path, f"{kind.capitalize()} concepts of {results['target']}, each against random sets")
        caption = (
            f"{kind.capitalize()} concepts, each by itself against {results['settings']['num_random']} random sets. "
            "A bar that is pale is not significant by both tests."
        )
        figures.append(page.Figure(path, caption))
    tested = [made[f"figure_10_{kind}"] for kind in results["tests"]]
    sections.append(page.Section("Figure 10: tests", tables=tested, figures=figures[::-1]))
    return sections


def _bars(by_tap, path, title) -> None:
    from har_tf.report import plots

    scores = {
        tap: {n: (each["score"], each["deviation"]) for n, each in found.items()} for tap, found in by_tap.items()
    }
    significant = {
        tap: {_short(n): each["significant"] for n, each in found.items() if "significant" in each}
        for tap, found in by_tap.items()
    }
    scores = {tap: {_short(n): pair for n, pair in found.items()} for tap, found in scores.items()}
    plots.concept_bars(scores, path, significant, title=title)


def _short(name: str) -> str:
    return RANDOM if name == FURTHER else name


def _stem(name: str) -> str:
    from har_tf.concepts.mining import folder_name

    return folder_name(name)


def _reversal_section(results, run, subject: Subject, example, made):
    from har_tf.explain import overlay, save_overlay
    from har_tf.report import page, plots

    figures, videos = [], []
    if example is not None:
        names = subject.class_names
        back = example["clip"][::-1]
        rows, shown = [], {"forwards": (example["clip"], example["ahead"]), "backwards": (back, example["same"])}
        for way, answer in zip(shown, example["answers"], strict=True):
            clip, explanation = shown[way]
            rows.append((f"{example['name']}, {way}: answered {answer}", clip))
            of = [explanation] + ([example["other"]] if way == "backwards" and example["other"] is not None else [])
            for each in of:
                name = names[each.class_index[0]]
                said = " (no positive evidence)" if each.empty[0] else ""
                rows.append((f"Grad-CAM for {name}{said}", overlay(clip[None], each, alpha=0.6)[0]))
            path = run.overlays / f"{way}_{example['name']}.mp4"
            save_overlay(path, clip[None], explanation, class_names=names, title=f"{example['name']}, {way}")
            videos.append(page.Video(path, f"Played {way}: answered {answer}; Grad-CAM for {results['target']}"))
        path = plots.frame_strip(rows, run.figures / "reversal.png", max_frames=8)
        figures = [page.Figure(path, "A clip of the class forwards and backwards, and its Grad-CAM maps.")]
    stems = [stem for stem in ("reversal_answers", "reversal_gradcam", "reversal_concepts") if stem in made]
    text = (
        "The paper expects an explanation to tell a clip from the same clip played backwards. Where a map of the "
        "backward clip, turned round again, is that of the forward clip, it has not noticed anything."
    )
    return page.Section("Section 2.2: clips played backwards", text, [made[s] for s in stems], figures, videos)


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given; checked.

    Raises:
        ValueError: a value out of its range, or options that do not go together.
    """
    embedded, kinetics = recipe.dataset == "figures", recipe.dataset == "kinetics"
    given = [name for name in ("model", "weights", "network") if getattr(recipe, name) is not None]
    if len(given) > 1:
        raise ValueError(f"One of --model, --weights and --network is explained. Received: {', '.join(given)}")
    if kinetics == (recipe.data_dir is None):
        needs = "--data-dir, the folder where kinetics lies, is needed" if kinetics else "--data-dir is for kinetics"
        raise ValueError(f"{needs}. Received: --dataset {recipe.dataset} --data-dir {recipe.data_dir}")
    if recipe.target is None:
        target = "throw" if embedded else "playing tennis" if kinetics else None
        if target is None:
            raise ValueError("--target, the class to explain, is needed")
        recipe = replace(recipe, target=target)
    if not given:
        if not embedded:
            raise ValueError(
                "There is nothing to explain: --model (a saved .keras), --weights (a Video Swin's .pth) or --network "
                "(trained on the training part) is needed"
            )
        recipe = replace(recipe, network="VideoSwin")
    here = embedded and recipe.network is not None
    for name, value in {"test": 0.25 if here else 0.2, "clips": 4000 if here else 3000}.items():
        if getattr(recipe, name) is None:
            recipe = replace(recipe, **{name: value})
    if recipe.concepts is not None and recipe.detector is not None:
        raise ValueError("--detector mines concepts where there is no --concepts; give one of them")
    if not embedded and recipe.concepts is None and recipe.detector is None:
        raise ValueError(
            "Concepts are needed: --concepts DIR, as `python -m har_tf concepts mine` fills it, or --detector and "
            "--labels to mine them here"
        )
    if (recipe.detector is None) != (recipe.labels is None):
        raise ValueError("--detector and --labels, the classes of it that are concepts, go together")
    if recipe.labels is not None and len(set(words(recipe.labels))) < 2:
        raise ValueError(f"At least two concepts are needed. Received: --labels {recipe.labels}")
    ranges = {
        "batch_size": (1, None), "num_frames": (2, None), "overlays": (0, None), "workers": (0, None),
        "test": (0.01, 1),
        "clips": (30, None), "validation": (0.01, 0.9), "seed": (0, 2**32 - 1), "epochs": (1, None), "folds": (2, None),
        "class_clips": (2, None), "concept_clips": (2, None), "num_random": (2, None), "random_videos": (0, None),
        "level": (1e-6, 0.5), "resamples": (0, None), "reversal_clips": (1, None), "drop_path": (0, 0.9), 
        "l2": (1e-9, None),
    }  # fmt: skip
    check_ranges(recipe, ranges)
    for name in ("class_clips", "concept_clips"):
        if (count := getattr(recipe, name)) < recipe.folds:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} must be at least --folds, {recipe.folds}. Received: {count}")
    check_name("--run", recipe.run)
    if recipe.size is not None and min(recipe.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.size[0]} x {recipe.size[1]}")
    for pair in [] if recipe.pairs is None else words(recipe.pairs):
        if len([part for part in pair.split(":") if part.strip()]) != 2:
            raise ValueError(f"--pairs are FORWARD:BACKWARD, separated by commas. Received: {pair}")
    for option in ("model", "weights", "class_names"):
        path = getattr(recipe, option)
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"{path}: no such file for --{option.replace('_', '-')}")
    return recipe


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
