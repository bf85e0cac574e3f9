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

The embedded data set (`har_tf.datasets.stick_figures`) has three pairs of actions that are each other's reverse. A
model that ignores the order of frames cannot exceed 70 % there: compare the rows CNN-GRU and Frame-CNN, the same
network with an average over time in place of its GRU layers.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from har_tf.command import check_name, check_ranges, words
from har_tf.datasets.stick_figures.drawing import Figures

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
    """random (the paper's), official or group (the embedded data set's); several, separated by commas, are set side by
    side."""
    models: str | None = None
    """Rows of Table 1, separated by commas: CNN-GRU, Frame-CNN, ResNet50, InceptionV3, MobileNet, Xception, VGG16,
    VGG19, DenseNet121, MobileNetV2, or CNN-GRU/MobileNet and the like for an ImageNet frame encoder. Figures 4 to 8
    show the first. None: the paper's eight; CNN-GRU and Frame-CNN on the embedded data set."""
    weights: str = "imagenet"
    """What the ImageNet networks start from: imagenet (downloaded by Keras), none, or the path of a published file."""
    weights_dir: Path | None = None
    """Folder with their published .h5 files, in place of downloads."""
    finetune: bool = False
    """Train the ImageNet networks too, not only what stands on them."""

    epochs: int | None = None
    """Passes over the training clips: 20 in the paper (section 4.2), 7 on the embedded data set."""
    learning_rate: float | None = None
    """Of Adam; None: 0.001."""
    schedule: Literal["constant", "cosine"] | None = None
    """Of the learning rate; None: constant, and cosine on the embedded data set."""
    warmup_epochs: float | None = None
    """Epochs over which a cosine schedule rises; None: 0, and 0.5 on the embedded data set."""
    batch_size: int = 16
    """Clips a batch."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    weight_decay: float = 0.0
    """Decoupled, as in AdamW."""
    clipnorm: float | None = None
    """Largest norm of any weight's gradient. None: not clipped."""
    validation: float = 0.1
    """Share of the training clips on which the best epoch is chosen; 0: none, and the last epoch is kept."""

    size: tuple[int, int] | None = None
    """Height and width of the frames: 128 192 in the paper (section 3.1), 64 96 on the embedded data set."""
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
    """Of CNN-GRU, as what follows (see `har_tf.models.cnn_gru`); None: 4 4 2, and 4 2 2 on the embedded data set."""
    filters: tuple[int, int, int] = (16, 32, 64)
    """Filters of the three Conv2D blocks."""
    dropout: float | None = None
    """After each Conv2D block or the ImageNet network; None: 0.2, and 0.1 on the embedded data set."""
    gru_dropout: float = 0.0
    """On the input of the GRU layers."""
    pool_before_norm: bool | None = None
    """Pool before BatchNorm, which is quicker; None: False, and True on the embedded data set."""
    normalize_sequence: bool | None = None
    """Normalise what enters the GRU layers; None: False, and True on the embedded data set."""

    clips: int = 3000
    """Clips of the embedded data set."""
    figure_height: float = Figures.figure_height
    """Height of a figure as a share of the frame's, on the embedded data set."""
    clutter: float = Figures.clutter
    """Texture and things in its background, from 0 to 1."""
    shake: float = Figures.shake
    """How the camera moves in the hand, in widths of the frame."""
    noise: float = Figures.noise
    """Its camera noise, as a share of full scale."""

    overlays: int = 4
    """Overlay videos of correct clips, one a class, and as many of misclassified ones."""
    strategy: Literal["one", "mirrored", "tpu"] = "one"
    """One device, all GPUs of this machine, or a TPU."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What layers compute in; mixed_float16 is quicker on most GPUs."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    seed: int = 0
    """Of the splits, the starting weights, the order, the augmentation and the embedded data set."""
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
    from har_tf.report.run_folder import check_writable

    recipe = resolved(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    dataset = None if recipe.data_dir is None else _load(recipe)
    check_writable(recipe.out)

    quiet.import_tensorflow()
    from har_tf import training
    from har_tf.datasets import splits
    from har_tf.pipeline import Augment
    from har_tf.report.run_folder import environment
    from har_tf.training import TrainingRecipe
    from har_tf.trial import Parts, run_trial, split_parts

    # What can be wrong is found out here, before anything is drawn, decoded or trained.
    schedule = TrainingRecipe(
        recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.warmup_epochs, recipe.label_smoothing,
        recipe.clipnorm, recipe.weight_decay,
    )  # fmt: skip
    augment = Augment(
        recipe.flip, recipe.crop, frames=recipe.shift_frames, brightness=recipe.colour / 2, contrast=recipe.colour,
        saturation=recipe.colour,
    )  # fmt: skip
    strategy = training.strategy(recipe.strategy)
    models = _models(recipe)
    embedded = dataset is None
    if embedded:
        dataset = _load(recipe)
    protocols = words(recipe.protocol)
    for protocol in protocols:
        split_parts(dataset, protocol, recipe.seed, recipe.validation)
    run = _run_folder(recipe, None if embedded else dataset)

    print(f"{dataset.name}: {len(dataset)} clips of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    for note in dataset.notes:
        print(f"note: {note}", flush=True)
    if dataset.official is not None and "official" not in protocols:
        print(
            "note: the data have an official split (or train and test folders); --protocol official uses it", flush=True
        )
    about = environment()
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", about)
    prepared = datasets.prepare(
        dataset, recipe.prepared or recipe.out / "prepared", recipe.num_frames, recipe.size,
        short=recipe.short, workers=recipe.workers,
    )  # fmt: skip
    run.keep(prepared.path / "skipped.csv")
    unreadable = {skipped.path for skipped in prepared.skipped}
    dataset = dataset.subset(record for record in dataset.records if record.path not in unreadable)

    results = {"dataset": _described(dataset, len(unreadable), recipe), "protocols": {}}
    shown = None
    for protocol in protocols:
        train, validation, test = split_parts(dataset, protocol, recipe.seed, recipe.validation)
        overlap = splits.overlap(dataset.subset([*train.records, *validation.records]), test)
        print(
            f"\n{protocol} split: {len(train)} training and {len(validation)} validation clips; {overlap}", flush=True
        )
        parts = Parts(
            prepared.subset(train), prepared.subset(validation) if len(validation) else None, prepared.subset(test)
        )
        rows = {}
        for model in models:
            rows[model.name] = row = {"status": "not run", "reason": model.missing, "starts_from": model.start}
            if model.missing:
                continue
            print(f"\n{model.name} under {protocol}", flush=True)
            folder = run.training / f"{protocol}_{model.name.replace('/', '_')}"
            try:
                outcome = run_trial(
                    model, _options(recipe, model), parts, schedule, folder, recipe.batch_size,
                    None if augment == Augment() else augment, recipe.seed, recipe.precision, strategy,
                )  # fmt: skip
            except FloatingPointError as error:  # the other rows are still wanted
                print(f"{model.name} under {protocol}: {error}", flush=True)
                row |= {"status": "diverged", "reason": str(error)}
                continue
            print(f"{model.name} under {protocol}: test accuracy {outcome.report.accuracy:.4f}", flush=True)
            row |= {
                "status": "run",
                "parameters": outcome.model.count_params(),
                "order_blind": model.order_blind,
                "best_epoch": outcome.history.best_epoch + 1,
                "seconds": round(outcome.history.seconds, 1),
                "history": outcome.history.epochs,
                **outcome.report.as_dict(),
            }
            shown = shown or (model.name, protocol, outcome)
        results["protocols"][protocol] = {
            "training_clips": len(train),
            "validation_clips": len(validation),
            "test_clips": len(test),
            "overlap": asdict(overlap),
            "overlap_text": str(overlap),
            "models": rows,
        }
    if shown is None:
        raise ValueError("None of the models could be trained; the reasons are above")
    run.write_json("results.json", results)
    _publish(results, about, *shown, recipe, run)


def _publish(results: dict, about: dict, name: str, protocol: str, outcome, recipe: Recipe, run) -> None:
    """Writes the tables, the figures, the model and the page, and prints Table 1; the figures show one outcome."""
    from har_tf.report import page, plots
    from har_tf.report.pages.explained import Answered, sections
    from har_tf.report.run_folder import machine

    trained = run.training / f"{protocol}_{name.replace('/', '_')}"
    run.keep(trained / "model.keras")
    run.keep(trained / "history.csv")
    tables = [table_1(results), table_2(results, name, protocol)]
    for number, table in enumerate(tables, start=1):
        table.write(run.tables, f"table_{number}")
    histories = {
        model if len(results["protocols"]) == 1 else f"{model}, {part}": row["history"]
        for part, measured in results["protocols"].items()
        for model, row in measured["models"].items()
        if row["status"] == "run"
    }
    shown = f"{name}, {protocol} split"
    report = outcome.report
    curves = plots.curves(histories, run.figures / "figure_4_curves.png")
    confusion = plots.confusion_matrix(
        report.confusion, report.class_names, run.figures / "figure_5_confusion.png",
        title=f"{shown}: {report.clips} test clips",
    )  # fmt: skip
    answered = Answered(outcome.model, outcome.test, outcome.probabilities)
    written = page.write_page(
        run.path / "report.html",
        "CNN-GRU with Grad-CAM",
        {
            "data": _data_line(results),
            "protocol": "; ".join(f"{p}: {part['overlap_text']}" for p, part in results["protocols"].items()),
            "accuracy": f"{report.accuracy:.4f} ({shown})",
            "date": about["date"],
            "machine": machine(about),
            "command": about["command"],
        },
        [
            page.Section("Table 1: classification", tables=[tables[0]]),
            page.Section("Table 2: the literature", tables=[tables[1]]),
            page.Section("Figure 4: training", figures=[page.Figure(curves, "Loss and accuracy by epoch.")]),
            page.Section("Figure 5: confusion", figures=[page.Figure(confusion, f"Confusion matrix of {shown}.")]),
            *sections(answered, run.figures, run.overlays, first_number=6, videos=recipe.overlays),
        ],
    )
    print(f"\n{tables[0].markdown()}")
    print(f"run folder: {run.path}\nreport:     {written}", flush=True)


def table_1(results: dict):
    """Table 1 from `results.json`; with the paper's figures only where the data are the paper's."""
    from har_tf.report.tables import Table

    (first, part), *others = results["protocols"].items()
    with_paper = results["dataset"]["as_in_paper"] and first == "random"
    columns = ["Model", "Accuracy", "95 % interval", "Precision", "Recall", "F1", "Parameters", "Minutes"]
    columns += [f"Accuracy, {other} split" for other, _ in others]
    columns += ["Paper: accuracy", "Paper: precision", "Paper: recall", "Paper: F1"] if with_paper else []
    names = list(part["models"])
    names += [name for name in PAPER_TABLE_1 if name not in names and results["dataset"]["ucf101"]]
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
    if results["dataset"]["order_blind_ceiling"] and "group" in results["protocols"]:
        notes.append(
            "Three pairs of actions are each other's reverse: under the group split, Frame-CNN and the ImageNet "
            f"networks, which average over time, cannot exceed {results['dataset']['order_blind_ceiling']:.2f}."
        )
    if not with_paper:
        notes.append("The paper's figures were measured on other data or another split and are not set beside these.")
    for protocol, measured in results["protocols"].items():
        notes += [f"{name}, {protocol}: {row['reason']}" for name, row in measured["models"].items() if row["reason"]]
        absent = {name for row in measured["models"].values() for name in row.get("absent", [])}
        notes += [f"No test clip under {protocol} of: {', '.join(sorted(absent))}."] if absent else []
    starts = {name: row["starts_from"] for name, row in part["models"].items() if row["status"] == "run"}
    notes.append(f"Trained from: {'; '.join(f'{name}: {start}' for name, start in starts.items())}.")
    if any(name not in part["models"] for name in names):
        notes.append("Other rows without figures were not asked for (--models).")
    return Table(
        "Table 1. Classification performance",
        columns,
        rows,
        notes,
        formats={"Parameters": ",", "Minutes": ".1f"},
        highest=[c for c in columns if c in ("Accuracy", "Precision", "Recall", "F1") or c.startswith("Accuracy,")],
    )


def table_2(results: dict, name: str, protocol: str):
    """Table 2: the literature's figures as the paper quotes them, with the classes that each was measured on."""
    from har_tf.report.tables import Table

    rows = [(model, classes, accuracy, "quoted") for model, classes, accuracy in PAPER_TABLE_2]
    notes = ["Quoted figures are the paper's, not measured here. Those on 101 classes do not compare with ten."]
    data = results["dataset"]
    if data["ucf101"]:
        accuracy = results["protocols"][protocol]["models"][name]["accuracy"]
        source = f"measured on {data['clips']} clips, {protocol} split"
        rows.append((f"{name} (this run)", len(data["classes"]), 100 * accuracy, source))
    else:
        notes.append(f"This run was not on UCF101 but on {data['name']}; its accuracy has no place beside these.")
    columns = ["Model", "Classes", "Accuracy (%)", "Source"]
    title = "Table 2. Against the literature on UCF101"
    return Table(title, columns, rows, notes, formats={"Accuracy (%)": ".2f"})


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given; checked.

    Raises:
        ValueError: a value out of its range.
    """
    from har_tf.datasets.splits import PROTOCOLS

    defaults = PAPER if recipe.data_dir is not None else EMBEDDED
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    unknown = [protocol for protocol in words(recipe.protocol) if protocol not in PROTOCOLS]
    if unknown:
        raise ValueError(f"Protocols are {', '.join(PROTOCOLS)}. Received: {', '.join(unknown)}")
    ranges = {
        "batch_size": (1, None), "num_frames": (1, None), "overlays": (0, None), "workers": (0, None),
        "validation": (0, 0.9), "dropout": (0, 0.9), "gru_dropout": (0, 0.9), "seed": (0, 2**32 - 1),
    }  # fmt: skip
    check_ranges(recipe, ranges)
    check_name("--run", recipe.run)
    if min(recipe.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.size[0]} x {recipe.size[1]}")
    return recipe


def _models(recipe: Recipe) -> list:
    """The rows of Table 1, each built once, so that a file or a size that does not fit shows before any training."""
    from har_tf.models.zoo import named

    models = []
    for name in words(recipe.models):
        model = named(name, recipe.weights, recipe.weights_dir, recipe.finetune)
        if model.missing:
            print(f"not run: {model.missing}", flush=True)
        else:
            model.build((recipe.num_frames, *recipe.size, 3), 2, **_options(recipe, model))
        models.append(model)
    return models


def _options(recipe: Recipe, model) -> dict:
    """Arguments of `NamedModel.build`."""
    options = {"dropout": recipe.dropout}
    if model.name in ("CNN-GRU", "Frame-CNN") or not model.order_blind:
        names = ("filters", "pool_sizes", "pool_before_norm", "gru_dropout", "normalize_sequence")
        options |= {name: getattr(recipe, name) for name in names}
    return options


def _run_folder(recipe: Recipe, dataset):
    """The folder that this recipe on these videos goes to, so that the same command on the same data finds it again."""
    from har_tf.report.run_folder import RunFolder, run_name

    data, records = ("figures", ()) if dataset is None else (dataset.name, dataset.records)
    name = recipe.run or run_name(f"{data}-{'+'.join(words(recipe.protocol))}", recipe, records)
    return RunFolder(recipe.out, EXPERIMENT, name)


def _load(recipe: Recipe):
    from har_tf import datasets

    classes = None if recipe.classes is None else words(recipe.classes)
    if recipe.data_dir is None:
        return datasets.load(
            "figures", recipe.out / "figures", classes=classes, clips=recipe.clips, size=recipe.size,
            figure_height=recipe.figure_height, clutter=recipe.clutter, shake=recipe.shake, noise=recipe.noise,
            seed=recipe.seed, workers=recipe.workers,
        )  # fmt: skip
    source = recipe.data_dir if recipe.data_dir.startswith("tfds:") else Path(recipe.data_dir)
    return datasets.load(source, classes=classes, lists=recipe.lists)


def _described(dataset, skipped: int, recipe: Recipe) -> dict:
    """The data as `results.json` has them."""
    embedded = dataset.name == "figures"
    of_ucf101 = not embedded and all(r.path.name.startswith("v_") and r.group for r in dataset.records)
    ten = len(dataset.class_names) == 10
    # Sampled frames of a pair are each other's reverse where the step between them is whole.
    whole_steps = recipe.num_frames > 1 and (Figures.frames - 1) % (recipe.num_frames - 1) == 0
    return {
        "name": dataset.name,
        "classes": list(dataset.class_names),
        "clips": len(dataset),
        "skipped": skipped,
        "ucf101": of_ucf101,
        # ten classes of UCF101 with some hundred clips each
        "as_in_paper": of_ucf101 and ten and min(dataset.counts.values()) >= 100,
        "order_blind_ceiling": 0.7 if embedded and ten and whole_steps else None,
        "notes": list(dataset.notes),
    }


def _data_line(results: dict) -> str:
    data = results["dataset"]
    skipped = f" ({data['skipped']} unreadable left out)" if data["skipped"] else ""
    return f"{data['clips']} clips of {len(data['classes'])} classes of {data['name']}{skipped}"


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
