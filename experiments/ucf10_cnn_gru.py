"""CNN-GRU with Grad-CAM on ten actions: Table 1, Table 2 and Figures 4 to 8 of Hossain et al. 2025.

    python -m experiments.ucf10_cnn_gru                                # embedded data set
    python -m experiments.ucf10_cnn_gru --preset paper --data-dir UCF-101 --classes Archery,Billiards,Bowling,...
    python -m experiments.ucf10_cnn_gru --preset paper --data-dir UCF-101 --classes ... --protocol random,official
    python -m experiments.ucf10_cnn_gru --data-dir VIDEOS              # a folder for each class

The paper draws ten classes of UCF101 at random and names four of them; 100 clips each, split 80:20 over clips. Clips of
one source video are then on both sides, so the run prints how many test clips have a sibling in training, and
`--protocol random,official` (or `group`) puts a split without siblings beside the paper's.

What the paper leaves open: learning rate (Adam's usual 0.001), batch size, filters and pooling (see `cnn_gru`), which
weights the baselines start from (ImageNet, frozen; `--finetune` trains them), and on what the best epoch is chosen:
here on a part of the training clips, never on the test clips.

The embedded data set (`har_tf.datasets.stick_figures`) has three pairs of actions that are each other's reverse. A
model that ignores the order of frames cannot exceed 70 % there: compare the rows CNN-GRU and Frame-CNN, the same
network with an average over time in place of its GRU layers.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from har_tf import networks
from har_tf.command import whole_numbers, words
from har_tf.datasets.splits import PROTOCOLS
from har_tf.datasets.stick_figures import ACTIONS, Figures
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
    readable,
    run_cli,
)
from har_tf.names import say
from har_tf.paper import Says, Silent
from har_tf.report.page import stored
from har_tf.subject import SMALL_CNN_GRU

EXPERIMENT = "ucf10_cnn_gru"

# model: (accuracy, precision, recall, F1), Table 1 of the paper
PAPER_TABLE_1 = {
    "CNN-GRU": (0.9650, 0.9657, 0.9650, 0.9644),
    "ResNet50": (0.3250, 0.2998, 0.3250, 0.2397),
    "InceptionV3": (0.8950, 0.9052, 0.8950, 0.8939),
    "MobileNet": (0.8800, 0.9070, 0.8800, 0.8827),
    "Xception": (0.9400, 0.9498, 0.9400, 0.9402),
    "VGG16": (0.0650, 0.0051, 0.0650, 0.0094),
    "VGG19": (0.0650, 0.0042, 0.0650, 0.0079),
    "DenseNet121": (0.9200, 0.9459, 0.9200, 0.9253),
}
# model, classes it was measured on, accuracy in per cent: Table 2 of the paper, which leaves the classes out
PAPER_TABLE_2 = (
    ("CNN-GRU (the paper)", 10, 96.50),
    ("A2-Net, ResNet-50 (Chen et al. 2018)", 101, 96.40),
    ("I3D-LSTM (Wang et al. 2019)", 101, 95.10),
    ("TS-LSTM (Ma et al. 2019)", 101, 94.10),
    ("Two-stream + LSTM (Yue-Hei Ng et al. 2015)", 101, 88.60),
    ("HalluciNet, ResNet-50 (Parmar & Morris 2021)", 101, 79.83),
)
# what the paper says of every setting
PAPER = {
    "data set": Says("ucf101", "section 4.1"),
    "classes": Says(10, "section 4.1"),
    "clips a class": Says(100, "section 4.1"),
    "per_class": None,  # which the clips tell
    "protocol": Says("random", "section 4.1, 80:20"),
    "size": Says((128, 192), "section 3.1"),
    "num_frames": Says(10, "section 3.1"),
    "fit": Says("stretch", "section 4.1, resized"),
    "short": Silent("which clips shorter than ten frames need"),
    "models": Says(",".join(PAPER_TABLE_1), "Table 1", counts=False),
    "weights": Silent("the baselines' start"),
    "finetune": Silent("whether the baselines' ImageNet networks are trained"),
    "filters": Silent("see cnn_gru"),
    "pool_sizes": Silent("see cnn_gru"),
    "dropout": Silent("its rate"),
    "gru_dropout": Silent("none is named"),
    "pool_before_norm": Says(False, "section 3.1"),
    "normalize_sequence": Says(False, "section 3.1 names none"),
    "epochs": Says(20, "section 4.2"),
    "learning_rate": Silent("Adam's usual one"),
    "schedule": Silent("none is named"),
    "warmup_epochs": Silent("none is named"),
    "batch_size": Silent("what fits a free GPU"),
    "label_smoothing": Silent("none is named"),
    "weight_decay": Silent("none is named"),
    "clipnorm": Silent("none is named"),
    "validation": Silent("on what clips the curves of Figure 4 are, and the epoch is chosen"),
    "flip": Says(0.0, "section 4.5, no augmentation"),
    "crop": Says(1.0, "section 4.5, no augmentation"),
    "colour": Says(0.0, "section 4.5, no augmentation"),
    "shift_frames": Says(0, "section 4.5, no augmentation"),
    "pool": Says("spatial", "equation (1)"),
    "seed": Silent("which clips are drawn"),
    "seeds": Silent("how often it was trained"),
}


@dataclass(frozen=True)
class Model:
    """Which models, and how CNN-GRU is built (see `har_tf.models.cnn_gru`)."""

    models: str = ",".join(PAPER_TABLE_1)
    """Rows of Table 1, separated by commas: CNN-GRU, Frame-CNN, ResNet50, InceptionV3, MobileNet, Xception, VGG16,
    VGG19, DenseNet121, MobileNetV2, or CNN-GRU/MobileNet and the like for an ImageNet frame encoder. Figures 4 to 8
    show the first."""
    weights: str = "imagenet"
    """What the ImageNet networks start from: imagenet (downloaded by Keras), none, or the path of a published file."""
    weights_dir: Path | None = None
    """Folder with the published .h5 files of the ImageNet networks. None: Keras downloads them."""
    finetune: bool = False
    """Train the ImageNet networks too, not only what stands on them."""
    pool_sizes: tuple[int, int, int] = (4, 4, 2)
    """Pooling behind the three Conv2D blocks of CNN-GRU (see `har_tf.models.cnn_gru`)."""
    filters: tuple[int, int, int] = (16, 32, 64)
    """Filters of the three Conv2D blocks of CNN-GRU."""
    dropout: float = 0.2
    """Dropout after each Conv2D block or the ImageNet network."""
    gru_dropout: float = 0.0
    """Dropout on the input of the GRU layers."""
    pool_before_norm: bool = False
    """Pool before BatchNorm in CNN-GRU, which is quicker."""
    normalize_sequence: bool = False
    """Normalise what enters the GRU layers of CNN-GRU."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded()
    model: Model = Model()
    training: Training = Training()
    devices: Devices = Devices()
    augmentation: Augmentation = Augmentation()
    output: Output = Output()

    protocol: str = "random"
    """How clips are split: random (the paper's), official or group (no recording on both sides); several, separated by
    commas, are set side by side."""
    per_class: int | None = None
    """Take so many clips of every class, drawn from the seed; 100 in the paper (section 4.1). None: all."""
    size: tuple[int, int] = (128, 192)
    """Height and width of the frames (section 3.1)."""
    num_frames: int = 10
    """Frames of a clip, evenly from the first to the last (section 3.1)."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames: repeat the last one, start again, or leave the video out (error)."""
    fit: Literal["stretch", "crop", "inner"] = "stretch"
    """What is taken of a frame: all of it (stretch), its centre (crop), or the centre of its shorter side scaled to
    256 (inner), as I3D was trained."""
    pool: Literal["spatial", "spatiotemporal"] = "spatial"
    """Over what Grad-CAM averages gradients in Figures 6 to 8 and the overlay videos: over each frame by itself
    (spatial, equation (1)), or over the whole clip, which is steadier."""

    seed: int = 0
    """Seed of the splits, of what --per-class draws, and of the embedded data set."""
    seeds: str | None = None
    """Seeds of the starting weights, the order, the augmentation and the validation clips, separated by commas;
    several are averaged. None: that of --seed."""


PRESETS = {
    # Small frames, to end in minutes on two cores.
    "figures": Recipe(
        Data("figures"),
        model=Model("CNN-GRU,Frame-CNN", **SMALL_CNN_GRU),
        training=Training(epochs=7, schedule="cosine", warmup_epochs=0.5),
        protocol="group",
        size=(64, 96),
    ),
    "paper": Recipe(per_class=100),
    # Other videos, of which there may be fewer.
    "videos": Recipe(),
}  # fmt: skip


def main(recipe: Recipe) -> None:
    check(recipe)
    listed = recipe.data.listed()
    split_up(recipe, taken(recipe, listed))
    begin(recipe, under_jax=True)

    from har_tf.report.pages.explained import ClipPredictions, sections
    from har_tf.report.pages.ucf10_cnn_gru import is_numbered
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, run_rows

    # What can be wrong is found out here, before anything is drawn, decoded or trained.
    trainer = recipe.training.trainer(recipe.augmentation.augment(), recipe.output.pipeline)
    models, protocols, seed, seeds = built(recipe), words(recipe.protocol), recipe.seed, seeds_of(recipe)
    listed = listed or recipe.embedded.draw(recipe.output, recipe.data.class_names, size=recipe.size, seed=seed)
    split_up(recipe, taken(recipe, listed))

    with open_run(EXPERIMENT, recipe, f"{listed.name}-{'+'.join(protocols)}", listed) as run:
        if listed.official is not None and "official" not in protocols:
            say("note: the data have an official split (or train and test folders); --protocol official uses it")
        prepared = prepare(
            listed, recipe.output.cache, recipe.num_frames, recipe.size, short=recipe.short,
            workers=recipe.output.workers, beam=recipe.output.pipeline, fit=recipe.fit,
        )  # fmt: skip
        run.keep(prepared.path / "skipped.csv")
        whole = readable(listed, prepared.skipped, "video")
        dataset = taken(recipe, whole)
        splits = split_up(recipe, dataset)
        found = None if recipe.data.embedded else audited(dataset, run, recipe.output.workers)
        data = described(dataset, len(prepared.skipped), recipe.num_frames) | {"left_out": len(whole) - len(dataset)}
        results = {
            "dataset": data,
            "settings": paper_settings(recipe, PAPER, protocol=protocols[0], **of_paper(data, dataset.counts)),
            "paper": {"table_1": PAPER_TABLE_1, "table_2": PAPER_TABLE_2},
            "protocols": {},
            "clips": clip_by_clip(listed, prepared.skipped, splits, seeds),
        }
        outcomes = {}

        def trial(model, protocol: str, seed: int) -> dict:
            folder = run.training / f"{protocol}_{model.name.replace('/', '_')}{f'_seed{seed}' * (len(seeds) > 1)}"
            parts = Parts.of(prepared, *split.parts(seed))
            outcome = trainer.train(model, parts, folder, seed, **model_options(recipe.model, model))
            outcomes.setdefault((model.name, protocol), outcome)
            answered = zip(outcome.test.labels.tolist(), outcome.probabilities.argmax(axis=1).tolist(), strict=True)
            return outcome.as_dict() | {"answers": dict(zip(outcome.test.names, answered, strict=True))}

        # Table 1.
        for protocol, split in splits.items():
            train, validation, _ = split.parts(seeds[0])
            counts = {"training_clips": len(train), "validation_clips": len(validation)}
            results["protocols"][protocol] = measured = split.measured(found=found) | counts
            trials, measured["models"] = run_rows(models, [protocol], seeds, trial)
            groups = {record.name(dataset.root): record.group for record in split.test.records}
            for model in models:
                row = measured["models"][model.name]
                row["starts_from"] = model.start
                if row["status"] == "run":
                    row |= {"order_blind": model.order_blind, **outcomes[model.name, protocol].as_dict()}
                    row |= over_seeds(trials[model.name], groups)
        all_trained(run)

        if not outcomes:
            raise ValueError("None of the models could be trained; the reasons are above")

        # Figures 4 to 8, of the first model.
        (name, protocol), shown = next(iter(outcomes.items()))
        results["shown"] = {"model": name, "protocol": protocol}
        run.keep(shown.folder / "model.keras")
        run.keep(shown.folder / "history.csv")
        answered = ClipPredictions(shown.model, shown.test, shown.probabilities, options={"pool": recipe.pool})
        numbered = is_numbered(results["dataset"])
        pictures = sections(answered, run.figures, run.overlays, 6, recipe.output.overlays, numbered)
        results["pictures"] = stored(pictures, run.path)
        results["tested_maps"] = answered.tested(recipe.output.trusted, recipe.seed)
        run.publish(results)


def check(recipe: Recipe) -> None:
    """Raises ValueError or FileNotFoundError for options that are out of their range or do not go together."""
    unknown = [protocol for protocol in words(recipe.protocol) if protocol not in PROTOCOLS]
    if unknown:
        raise ValueError(f"Protocols are {', '.join(PROTOCOLS)}. Received: {', '.join(unknown)}")
    for name in words(recipe.model.models):
        networks.check(name, recipe.model.weights, recipe.model.weights_dir)
    check_options(recipe, gru_dropout=(0, 0.9))
    each, wanted = recipe.embedded.clips // len(ACTIONS), recipe.per_class
    if recipe.data.embedded and wanted is not None and wanted > each:
        raise ValueError(f"--clips {recipe.embedded.clips} draws {each} of each class. Received: --per-class {wanted}")
    if min(recipe.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.size[0]} x {recipe.size[1]}")


def split_up(recipe: Recipe, dataset) -> dict[str, Split]:
    """Protocol -> the data set in two parts; of one that is not drawn yet none."""
    protocols = words(recipe.protocol) if dataset else ()
    return {p: Split.of(dataset, p, recipe.seed, recipe.training.validation, seeds_of(recipe)) for p in protocols}


def taken(recipe: Recipe, dataset):
    """The clips that are taken of a data set, of one that is not drawn yet None.

    Raises:
        DatasetError: a class has fewer than --per-class.
    """
    every = dataset is None or recipe.per_class is None
    return dataset if every else dataset.sample(recipe.per_class, recipe.seed)


def clip_by_clip(listed, skipped, splits: dict[str, Split], seeds: list[int]) -> dict[str, dict[str, str]]:
    """Clip -> protocol -> training, validation, test, unreadable or left out; with several seeds, protocol and seed."""
    unreadable = {video.path for video in skipped}
    names = [record.name(listed.root) for record in listed.records]
    found = {name: {} for name in names}
    for (protocol, split), seed in itertools.product(splits.items(), seeds):
        parts = zip(("training", "validation", "test"), split.parts(seed), strict=True)
        part_of = {record.name(listed.root): part for part, of in parts for record in of.records}
        for name in names:
            other = "unreadable" if listed.root / name in unreadable else "left out"
            found[name][protocol if len(seeds) == 1 else f"{protocol}, seed {seed}"] = part_of.get(name, other)
    return found


def seeds_of(recipe: Recipe) -> list[int]:
    """What every row is trained with."""
    return [recipe.seed] if recipe.seeds is None else whole_numbers("--seeds", recipe.seeds)


def over_seeds(trials: list[dict], groups: dict) -> dict:
    """What a row has of all its seeds; `groups` is test clip -> the recording that it was cut from."""
    from har_tf.evaluate import repeats

    found = repeats.spread(trials, "accuracy", len(groups))
    kept = [{name: trial[name] for name in ("seed", "accuracy", "best_epoch", "seconds")} for trial in trials]
    return {
        "accuracy": found.mean, "accuracy_interval": found.interval, "deviation_over_seeds": found.over_seeds,
        "group_interval": repeats.interval_over_groups(trials, groups), "trials": kept,
    }  # fmt: skip


def built(recipe: Recipe) -> list:
    """The rows of Table 1, each built once, so that a file or a size that does not fit shows before any training."""
    from har_tf.models.zoo import named

    models = []
    for name in words(recipe.model.models):
        model = named(name, recipe.model.weights, recipe.model.weights_dir, recipe.model.finetune)
        if model.missing:
            say(f"not run: {model.missing}")
        else:
            model.build((recipe.num_frames, *recipe.size, 3), 2, **model_options(recipe.model, model))
        models.append(model)
    return models


def model_options(settings: Model, model) -> dict:
    """Arguments of `NamedModel.build`."""
    options = {"dropout": settings.dropout}
    if model.name.startswith(("CNN-GRU", "Frame-CNN")):
        names = ("filters", "pool_sizes", "pool_before_norm", "gru_dropout", "normalize_sequence")
        options |= {name: getattr(settings, name) for name in names}
    return options


def described(dataset, skipped: int, num_frames: int) -> dict:
    """The data as `results.json` has them."""
    embedded = dataset.name == "figures"
    of_ucf101 = not embedded and all(
        re.fullmatch(rf"v_{re.escape(r.path.parent.name)}_g\d\d_c\d\d", r.path.stem, re.IGNORECASE)
        for r in dataset.records
    )
    ten = len(dataset.class_names) == 10
    # Sampled frames of a pair are each other's reverse where the step between them is whole.
    whole_steps = num_frames > 1 and (Figures.frames - 1) % (num_frames - 1) == 0
    return {
        "name": dataset.name, "classes": list(dataset.class_names), "clips": len(dataset), "skipped": skipped,
        "ucf101": of_ucf101,
        "order_blind_ceiling": 0.7 if embedded and ten and whole_steps else None,
        "notes": list(dataset.notes),
    }  # fmt: skip


def of_paper(data: dict, counts: dict[str, int]) -> dict:
    """What the run takes of the settings that are no options; `counts` is class -> its clips."""
    least, most = min(counts.values()), max(counts.values())
    return {
        "data set": "ucf101" if data["ucf101"] else data["name"], "classes": len(counts),
        "clips a class": most if least == most else f"{least} to {most}",
    }  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS)
