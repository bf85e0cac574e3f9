"""CNN-GRU with Grad-CAM on ten actions: Table 1, Table 2 and Figures 4 to 8 of Hossain et al. 2025.

    python -m experiments.ucf10_cnn_gru                                # embedded data set, under 5 min on two cores
    python -m experiments.ucf10_cnn_gru --data-dir UCF-101 --classes Archery,Billiards,Bowling,...
    python -m experiments.ucf10_cnn_gru --data-dir UCF-101 --classes ... --protocol random,official

The paper draws ten classes of UCF101 at random and names four of them; 100 clips each, split 80:20 over clips. Clips of
one source video are then on both sides, so the run prints how many test clips have a sibling in training, and
`--protocol random,official` (or `group`) puts a split without siblings beside the paper's.

What the paper leaves open: learning rate (Adam's usual 0.001), batch size, filters and pooling (see `cnn_gru`), which
weights the baselines start from (ImageNet, frozen; `--finetune` trains them), and on what the best epoch is chosen:
here on a part of the training clips, never on the test clips.

The embedded data set (`har_tf.datasets.figures`) has three pairs of actions that are each other's reverse. A model that
ignores the order of frames cannot exceed 70 % there: compare the rows CNN-GRU and Frame-CNN, the same network with an
average over time in place of its GRU layers.
"""

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Recipe:
    """Options; what is None takes the paper's value, or, without --data-dir, the embedded data set's."""

    data_dir: str | None = None
    """Folder of class folders of videos, or tfds:NAME. None: the embedded data set."""
    lists: Path | None = None
    """Folder of official split lists (trainlist01.txt, ...), where they do not lie beside the videos."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""
    protocol: str | None = None
    """random (the paper's), official or group; several, separated by commas, are set side by side."""
    models: str | None = None
    """Rows of Table 1, separated by commas: CNN-GRU, Frame-CNN, ResNet50, InceptionV3, MobileNet, Xception, VGG16,
    VGG19, DenseNet121, MobileNetV2, or CNN-GRU/MobileNet and the like for an ImageNet frame encoder. Figures 4 to 8
    show the first."""
    weights: str = "imagenet"
    """What the ImageNet networks start from: imagenet (downloaded by Keras), none, or the path of a published file."""
    weights_dir: Path | None = None
    """Folder with their published .h5 files, in place of downloads."""
    finetune: bool = False
    """Train the ImageNet networks too, not only what stands on them."""

    epochs: int | None = None
    """Passes over the training clips; the paper has 20 (section 4.2)."""
    learning_rate: float | None = None
    schedule: Literal["constant", "cosine"] | None = None
    warmup_epochs: float | None = None
    batch_size: int = 16
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    clipnorm: float | None = None
    validation: float = 0.1
    """Share of the training clips on which the best epoch is chosen."""

    size: tuple[int, int] | None = None
    """Height and width of the frames; the paper has 128 192 (section 3.1)."""
    num_frames: int = 10
    """Frames of a clip, evenly from the first to the last (section 3.1)."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames."""
    flip: float = 0.0
    """Augmentation: probability of mirroring a training clip."""
    crop: float = 1.0
    """Augmentation: smallest share of the frame that a random crop keeps."""
    colour: float = 0.0
    """Augmentation: strength of random brightness, contrast and saturation."""
    shift_frames: int = 0
    """Augmentation: largest shift in time, in frames of the clip."""

    pool_sizes: tuple[int, int, int] | None = None
    """Of CNN-GRU, and what follows; see `har_tf.models.cnn_gru`."""
    filters: tuple[int, int, int] = (16, 32, 64)
    dropout: float | None = None
    gru_dropout: float = 0.0
    pool_before_norm: bool | None = None
    normalize_sequence: bool | None = None

    clips: int = 3000
    """Clips of the embedded data set, and what follows: how it is drawn."""
    figure_height: float = 0.85
    clutter: float = 0.2
    noise: float = 0.02

    overlays: int = 4
    """Overlay videos of correct clips, and as many of misclassified ones."""
    strategy: Literal["one", "mirrored", "tpu"] = "one"
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    seed: int = 0
    out: Path = Path("runs")
    """The run goes to OUT/ucf10_cnn_gru/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: data set, protocol and a fingerprint of these options."""


# What the embedded data set takes in place of the paper's values: small frames, to end in minutes on two cores.
EMBEDDED = {
    "protocol": "group",
    "models": "CNN-GRU,Frame-CNN",
    "epochs": 7,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "dropout": 0.1,
    "size": (64, 96),
    "pool_sizes": (4, 2, 2),
    "pool_before_norm": True,
    "normalize_sequence": True,
}
PAPER = {
    "protocol": "random",
    "models": ",".join(PAPER_TABLE_1),
    "epochs": 20,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "dropout": 0.2,
    "size": (128, 192),
    "pool_sizes": (4, 4, 2),
    "pool_before_norm": False,
    "normalize_sequence": False,
}


def main(recipe: Recipe) -> None:
    from har_tf import datasets, quiet
    from har_tf.datasets import splits as audit

    recipe = resolved(recipe)
    run = _run_folder(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    dataset = None if recipe.data_dir is None else _load(recipe)

    tf = quiet.import_tensorflow()
    from har_tf import training
    from har_tf.report.run_folder import environment

    specs = [ModelSpec.parse(name, recipe) for name in _words(recipe.models)]
    _training_recipe(recipe), _augment(recipe)  # wrong values raise here
    training.seed_everything(recipe.seed)
    training.set_precision(recipe.precision)
    strategy = training.strategy(recipe.strategy)
    specs = [spec.available() for spec in specs]
    for spec in specs:
        if spec.missing:
            print(f"not run: {spec.missing}", flush=True)
    if dataset is None:
        dataset = _load(recipe)
    _splits(dataset, recipe)  # wrong lists raise here, before any video is decoded
    print(f"{dataset.name}: {len(dataset)} clips of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    for note in dataset.notes:
        print(f"note: {note}", flush=True)
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", environment())
    prepared = datasets.prepare(
        dataset, recipe.prepared or recipe.out / "prepared", recipe.num_frames, recipe.size,
        short=recipe.short, workers=recipe.workers,
    )  # fmt: skip
    _copy_skipped(prepared, run)
    unreadable = {skipped.path for skipped in prepared.skipped}
    dataset = dataset.subset(record for record in dataset.records if record.path not in unreadable)
    splits = _splits(dataset, recipe)
    overlaps = {protocol: audit.overlap(*parts) for protocol, parts in splits.items()}
    for protocol, overlap in overlaps.items():
        print(f"{protocol} split: {len(splits[protocol][0])} training clips, {overlap}", flush=True)

    results = {
        "dataset": {
            "name": dataset.name,
            "classes": list(dataset.class_names),
            "clips": len(prepared),
            "skipped": len(prepared.skipped),
            "as_in_paper": _is_the_papers(dataset),
            "notes": list(dataset.notes),
        },
        "protocols": {},
    }
    shown = None
    for protocol, (train, test) in splits.items():
        rows = {}
        for spec in specs:
            if spec.missing:
                rows[spec.name] = {"status": "not run", "reason": spec.missing}
                continue
            try:
                outcome = _train_and_score(spec, recipe, protocol, train, test, prepared, run, strategy)
            except FloatingPointError as error:  # the other rows are still wanted
                print(f"{spec.name} under {protocol}: {error}", flush=True)
                rows[spec.name] = {"status": "diverged", "reason": str(error)}
                continue
            rows[spec.name] = outcome.row
            shown = shown or outcome
        results["protocols"][protocol] = {
            "train_clips": len(train),
            "test_clips": len(test),
            "overlap": asdict(overlaps[protocol]),
            "overlap_text": str(overlaps[protocol]),
            "models": rows,
        }
        tf.keras.backend.clear_session()
    if shown is None:
        raise ValueError("None of the models could be run; the reasons are above")
    run.write_json("results.json", results)
    _publish(results, shown, recipe, prepared, run)


@dataclass(frozen=True)
class ModelSpec:
    """One row of Table 1: how the model is built, and why it cannot be where its weights are not to be had."""

    name: str
    recipe: Recipe
    backbone: str | None = None  # an ImageNet network
    weights: str | Path | None = None
    missing: str | None = None

    @classmethod
    def parse(cls, name: str, recipe: Recipe) -> "ModelSpec":
        """Raises ValueError for a name that is no row."""
        head, _, encoder = name.partition("/")
        if name in ("CNN-GRU", "Frame-CNN"):
            return cls(name, recipe)
        if encoder and head != "CNN-GRU":
            raise ValueError(f"Only CNN-GRU takes a frame encoder, as in CNN-GRU/MobileNet. Received: {name!r}")
        from har_tf.models import backbones

        try:
            return cls(name, recipe, backbone=backbones.find(encoder or name).name)
        except ValueError as error:
            raise ValueError(f"Unknown model; besides CNN-GRU and Frame-CNN: {error}") from None

    @property
    def order_blind(self) -> bool:
        """Whether the model averages over time, so that the order of the frames cannot matter."""
        return not self.name.startswith("CNN-GRU")

    def available(self) -> "ModelSpec":
        """The same with its weights found, or with the reason why it is not run."""
        from har_tf.models import backbones

        weights, folder = self.recipe.weights, self.recipe.weights_dir
        if self.backbone is None or (weights == "none" and folder is None):
            return self
        try:
            if folder is not None:
                return replace(self, weights=backbones.find_weights(self.backbone, folder))
            if weights != "imagenet":
                if not Path(weights).is_file():
                    raise FileNotFoundError(f"{weights}: no such weights file; imagenet and none are other choices")
                return replace(self, weights=Path(weights))
            return replace(self, weights=backbones.download(self.backbone))
        except backbones.WeightsUnavailable as error:
            return replace(self, missing=str(error))

    def build(self, num_classes: int):
        """A new model with its starting weights."""
        from har_tf import models

        r = self.recipe
        shape = (r.num_frames, *r.size, 3)
        trainable = r.finetune or self.weights is None
        if not self.name.startswith("CNN-GRU") and self.name != "Frame-CNN":
            return models.frame_cnn(self.backbone, shape, num_classes, self.weights, trainable, dropout=r.dropout)
        return models.cnn_gru(
            shape, num_classes, filters=r.filters, pool_sizes=r.pool_sizes, pool_before_norm=r.pool_before_norm,
            dropout=r.dropout, gru_dropout=r.gru_dropout, normalize_sequence=r.normalize_sequence,
            temporal="average" if self.name == "Frame-CNN" else "gru", encoder=self.backbone,
            encoder_weights=self.weights, encoder_trainable=trainable,
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """A trained model with what was measured on the test clips."""

    name: str
    protocol: str
    row: dict
    model: object
    report: object
    probabilities: object
    test: object


def _train_and_score(spec, recipe, protocol, train, test, prepared, run, strategy) -> Outcome:
    """Trains one row of Table 1 on a part of `train`, chooses the epoch on the rest, and measures on `test`."""
    from har_tf import pipeline, training
    from har_tf.datasets import splits
    from har_tf.evaluate import classification
    from har_tf.models.saving import save_model

    fitted, held_out = splits.hold_out(train, recipe.validation, recipe.seed, by_group=protocol != "random")
    fitted, held_out, test = (prepared.subset(part) for part in (fitted, held_out, test))
    training.seed_everything(recipe.seed)
    with strategy.scope():
        model = spec.build(len(prepared.class_names))
    folder = run.training / f"{protocol}_{spec.name.replace('/', '_')}"
    print(f"\n{spec.name} under {protocol}: {model.count_params():,} parameters, {len(fitted)} clips", flush=True)
    batches = functools.partial(
        pipeline.clips, fitted, recipe.batch_size, training=True, seed=recipe.seed, augment=_augment(recipe)
    )
    history = training.fit(
        model, batches, pipeline.clips(held_out, recipe.batch_size),
        _training_recipe(recipe), folder, strategy,
    )  # fmt: skip
    probabilities = model.predict(pipeline.clips(test, recipe.batch_size), verbose=0)
    report = classification.report(test.labels, probabilities, prepared.class_names)
    print(f"{spec.name} under {protocol}: test accuracy {report.accuracy:.4f}", flush=True)
    save_model(model, folder / "model.keras", prepared.class_names)
    row = {
        "status": "run",
        "parameters": model.count_params(),
        "order_blind": spec.order_blind,
        "training_clips": len(fitted),
        "validation_clips": len(held_out),
        "best_epoch": history.best_epoch + 1,
        "seconds": round(history.seconds, 1),
        "history": history.epochs,
        **report.as_dict(),
    }
    return Outcome(spec.name, protocol, row, model, report, probabilities, test)


def _publish(results: dict, outcome: Outcome, recipe: Recipe, prepared, run) -> None:
    """Writes the tables, figures, overlays, the model and the page, and prints Table 1; the figures show `outcome`."""
    from har_tf.models.saving import save_model
    from har_tf.report import page, plots
    from har_tf.report.run_folder import environment, machine

    save_model(outcome.model, run.path / "model.keras", prepared.class_names)
    histories = {}
    for part, models in results["protocols"].items():
        for model, row in models["models"].items():
            if row["status"] == "run":
                label = model if len(results["protocols"]) == 1 else f"{model}, {part}"
                histories[label] = row["history"]
    tables = [table_1(results), table_2(results)]
    for number, table in enumerate(tables, start=1):
        table.write(run.tables, f"table_{number}")
    plots.curves(histories, run.figures / "figure_4_curves.png")
    plots.confusion_matrix(
        outcome.report.confusion, prepared.class_names, run.figures / "figure_5_confusion.png",
        title=f"{outcome.name}, {outcome.protocol} split: {outcome.report.clips} test clips",
    )  # fmt: skip
    about = environment()
    results_page = page.write_page(
        run.path / "report.html",
        "CNN-GRU with Grad-CAM on ten actions" if len(prepared.class_names) == 10 else "CNN-GRU with Grad-CAM",
        {
            "data": _data_line(results),
            "protocol": "; ".join(f"{p}: {part['overlap_text']}" for p, part in results["protocols"].items()),
            "accuracy": f"{outcome.row['accuracy']:.4f} ({outcome.name}, {outcome.protocol} split)",
            "date": about["date"],
            "machine": machine(about),
            "command": about["command"],
        },
        [
            page.Section("Table 1: classification", tables=[tables[0]]),
            page.Section("Table 2: the literature", tables=[tables[1]]),
            page.Section(
                "Figure 4: training",
                figures=[page.Figure("figures/figure_4_curves.png", "Loss and accuracy by epoch.")],
            ),
            page.Section(
                "Figure 5: confusion",
                figures=[page.Figure("figures/figure_5_confusion.png", f"Confusion matrix of {outcome.name}.")],
            ),
            *_explained(outcome, recipe, run),
        ],
    )
    print(f"\n{tables[0].markdown()}")
    print(f"run folder: {run.path}\nreport:     {results_page}", flush=True)


def table_1(results: dict):
    """Table 1 from `results.json`; with the paper's figures only where the data are the paper's."""
    from har_tf.report.tables import Table

    (first, part), *others = results["protocols"].items()
    with_paper = results["dataset"]["as_in_paper"] and first == "random"
    columns = ["Model", "Accuracy", "95 % interval", "Precision", "Recall", "F1", "Parameters", "Minutes"]
    columns += [f"Accuracy, {other} split" for other, _ in others]
    columns += ["Paper: accuracy", "Paper: precision", "Paper: recall", "Paper: F1"] if with_paper else []
    names = list(part["models"])
    names += [name for name in PAPER_TABLE_1 if name not in names]
    rows = []
    for name in names:
        row = part["models"].get(name, {"status": "not run"})
        if row["status"] == "run":
            low, high = row["accuracy_interval"]
            cells = [name, row["accuracy"], f"{low:.3f}\N{EN DASH}{high:.3f}"]
            cells += [row["precision"], row["recall"], row["f1"], row["parameters"], row["seconds"] / 60]
        else:
            cells = [name, row["status"], *[None] * 6]
        cells += [other["models"].get(name, {}).get("accuracy") for _, other in others]
        if with_paper:
            cells += PAPER_TABLE_1.get(name, [None] * 4)
        rows.append(cells)
    notes = [f"Measured on {_data_line(results)}."]
    notes += [f"{protocol} split: {p['test_clips']} test clips; {p['overlap_text']}." for protocol, p in
              results["protocols"].items()]  # fmt: skip
    if results["dataset"]["name"] == "figures":
        notes.append(
            "Three pairs of actions are each other's reverse: Frame-CNN and the ImageNet networks average over time "
            "and cannot exceed 0.70."
        )
    if not with_paper:
        notes.append("The paper's figures were measured on other data or another split and are not set beside these.")
    not_run = [(name, row["reason"]) for name, row in part["models"].items() if row["status"] != "run"]
    notes += [f"{name}: {reason}" for name, reason in not_run]
    if any(name not in part["models"] for name in PAPER_TABLE_1):
        notes.append("Other rows without figures were not asked for (--models).")
    return Table(
        "Table 1. Classification performance",
        columns,
        rows,
        notes,
        formats={"Parameters": ",", "Minutes": ".1f"},
        highest=[c for c in columns if c in ("Accuracy", "Precision", "Recall", "F1") or c.startswith("Accuracy,")],
    )


def table_2(results: dict):
    """Table 2: the literature's figures as the paper quotes them, with the classes that each was measured on."""
    from har_tf.report.tables import Table

    rows = [(name, classes, accuracy, "quoted") for name, classes, accuracy in PAPER_TABLE_2]
    notes = ["Quoted figures are the paper's, not measured here. Those on 101 classes do not compare with ten."]
    protocol, part = next(iter(results["protocols"].items()))
    name, row = next((name, row) for name, row in part["models"].items() if row["status"] == "run")
    data = results["dataset"]
    if data["name"] == "figures":
        notes.append("This run was on the embedded data set; its accuracy has no place beside these.")
    else:
        source = f"measured, {data['name']}, {protocol} split"
        rows.append((f"{name} (this run)", len(data["classes"]), 100 * row["accuracy"], source))
    columns = ["Model", "Classes", "Accuracy (%)", "Source"]
    title = "Table 2. Against the literature on UCF101"
    return Table(title, columns, rows, notes, formats={"Accuracy (%)": ".2f"})


def _explained(outcome: Outcome, recipe: Recipe, run) -> list:
    """Figures 6 to 8 and the overlay videos, as sections of the page."""
    from har_tf.report import explained, page

    answered = explained.Answered(outcome.model, outcome.test, outcome.probabilities)
    right, wrong = answered.correct(), answered.misclassified()
    sections = []
    for number, stem, heading, chosen in (
        (6, "classes", "across classes", right[:6]),
        (7, "correct", "a correctly classified clip", right[:1]),
        (8, "misclassified", "misclassified clips", wrong[:3]),
    ):
        if chosen:
            figure = explained.frame_strip(answered, chosen, run.figures / f"figure_{number}_{stem}.png")
            sections.append(page.Section(f"Figure {number}: Grad-CAM, {heading}", figures=[figure]))
    for stem, chosen in (("correct", right[: recipe.overlays]), ("misclassified", wrong[: recipe.overlays])):
        if chosen:
            videos = explained.overlay_videos(answered, chosen, run.overlays, stem)
            sections.append(page.Section(f"Overlay videos: {stem}", videos=videos))
    return sections


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given."""
    from har_tf.datasets.splits import PROTOCOLS

    defaults = PAPER if recipe.data_dir is not None else EMBEDDED
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    unknown = [protocol for protocol in _words(recipe.protocol) if protocol not in PROTOCOLS]
    if unknown:
        raise ValueError(f"Protocols are {', '.join(PROTOCOLS)}. Received: {', '.join(unknown)}")
    if recipe.overlays < 0 or recipe.batch_size < 1 or recipe.num_frames < 1:
        raise ValueError(
            "A batch and a clip have at least one element, overlays at least none. Received: "
            f"batch_size={recipe.batch_size}, num_frames={recipe.num_frames}, overlays={recipe.overlays}"
        )
    return recipe


def _run_folder(recipe: Recipe):
    from har_tf.report.run_folder import RunFolder, fingerprint

    data = "figures" if recipe.data_dir is None else Path(recipe.data_dir.removeprefix("tfds:")).name
    # Where and on how many cores it runs does not change what comes out, so the same run is found again.
    settings = asdict(replace(recipe, out=Path(), prepared=None, workers=None, run=None))
    name = recipe.run or f"{data}-{recipe.protocol.replace(',', '+')}-{fingerprint(settings)}"
    return RunFolder(recipe.out, EXPERIMENT, name)


def _load(recipe: Recipe):
    from har_tf import datasets

    classes = None if recipe.classes is None else _words(recipe.classes)
    if recipe.data_dir is None:
        return datasets.load(
            "figures", recipe.out / "figures", classes=classes, clips=recipe.clips, size=recipe.size,
            figure_height=recipe.figure_height, clutter=recipe.clutter, noise=recipe.noise, seed=recipe.seed,
            workers=recipe.workers,
        )  # fmt: skip
    source = recipe.data_dir if recipe.data_dir.startswith("tfds:") else Path(recipe.data_dir)
    return datasets.load(source, classes=classes, lists=recipe.lists)


def _training_recipe(recipe: Recipe):
    from har_tf.training import TrainingRecipe

    return TrainingRecipe(
        recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.warmup_epochs,
        label_smoothing=recipe.label_smoothing, clipnorm=recipe.clipnorm, weight_decay=recipe.weight_decay,
    )  # fmt: skip


def _augment(recipe: Recipe):
    from har_tf.pipeline import Augment

    augment = Augment(flip=recipe.flip, crop=recipe.crop, frames=recipe.shift_frames, brightness=recipe.colour / 2,
                      contrast=recipe.colour, saturation=recipe.colour)  # fmt: skip
    return None if augment == Augment() else augment


def _splits(dataset, recipe: Recipe) -> dict:
    """(training part, test part) under every protocol."""
    return {protocol: dataset.split(protocol, recipe.seed) for protocol in _words(recipe.protocol)}


def _copy_skipped(prepared, run) -> None:
    from har_tf.atomic import whole_file

    with whole_file(run.path / "skipped.csv") as temporary:
        temporary.write_bytes((prepared.path / "skipped.csv").read_bytes())


def _is_the_papers(dataset) -> bool:
    """Whether the data are of the paper's kind: ten UCF101 classes with some hundred clips each."""
    of_ucf101 = all(record.path.name.startswith("v_") and record.group for record in dataset.records)
    return (
        dataset.name != "figures"
        and of_ucf101
        and len(dataset.class_names) == 10
        and min(dataset.counts.values()) >= 100
    )


def _data_line(results: dict) -> str:
    data = results["dataset"]
    skipped = f", {data['skipped']} unreadable ones left out" if data["skipped"] else ""
    return f"{data['clips']} clips of {len(data['classes'])} classes of {data['name']}{skipped}"


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ValueError(f"A name, or several separated by commas. Received: {text!r}")
    return words


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
