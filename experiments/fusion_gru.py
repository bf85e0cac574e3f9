"""Fusion-GRU: two ImageNet networks' frame features into two wide GRU layers; Tables I to III and Figures 8 to 19.

    python -m experiments.fusion_gru                                      # embedded data set, under 5 min on two cores
    python -m experiments.fusion_gru --dataset ucf101 --data-dir UCF-101 --weights-dir W       # the paper, three splits
    python -m experiments.fusion_gru --dataset hmdb51 --data-dir HMDB51 --weights-dir W
    python -m experiments.fusion_gru --dataset VIDEOS --lists LISTS --splits 1 --seeds 0,1,2,3,4   # part of UCF101

The rows of Table II are each network alone and the fusion, with the same GRU layers. The networks are frozen, so their
features are computed once and stored; every row, split and seed trains on them. `--finetune` trains the networks too,
from frames.

The paper gives the learning rate (0.001) and 30 epochs. It leaves open, and the options take: optimiser (Adam), batch
size, frames a clip, dropout (none), and what the curves of its Figures 8 to 11 are measured on, which it calls
validation videos, and which may be its test videos. Here the epoch is chosen on a tenth of the training clips, whole
groups of them, never on test clips; the curves show these. Its times are minutes of training and extraction
together on a GPU, ours are told apart. Its conclusion speaks of a bidirectional network: `--bidirectional`.

With several `--seeds` (starting weights, order, choice of validation clips) the fusion is compared with the better
single network by paired tests, and the report says in words whether it is better.

The embedded data set needs no ImageNet weights: two small networks are first trained to name the action from single
frames, as the paper's were trained on photographs, and are then frozen. They see no order; the GRU layers do. This
shows the whole path in minutes, not the paper's result. `--weights none` does the same on other data.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from har_tf.command import check_name, check_ranges, words

EXPERIMENT = "fusion_gru"
FUSION = "Fusion-GRU"

# data set: (clips, categories), Table I of the paper
PAPER_TABLE_1 = {"ucf101": (13320, 101), "hmdb51": (6766, 51)}
# data set: network: (accuracy, minutes), Table II of the paper, whose "proposed" is the fusion
PAPER_TABLE_2 = {
    "ucf101": {"GoogLeNet": (0.9223, 115), "InceptionResNetV2": (0.9551, 135), FUSION: (0.9797, 184)},
    "hmdb51": {"GoogLeNet": (0.6453, 40), "InceptionResNetV2": (0.6709, 45), FUSION: (0.7312, 60)},
}
# method: accuracy in per cent on UCF101 and HMDB51, Table III of the paper
PAPER_TABLE_3 = (
    ("C3D (3 nets) (2015)", 85.2, None),
    ("Two-stream CNNs (2014)", 88.0, 59.4),
    ("EMV+RGB-CNN (2016)", 86.4, None),
    ("RLSTM-g3 (2016)", 86.9, 55.3),
    ("Multiple dynamic images (2016)", 89.1, 65.2),
    ("Factorized spatio-temporal CNNs (2015)", 88.1, 59.1),
    ("Temporal pyramid CNNs (2015)", 89.1, 63.1),
    ("DTMV+RGB-CNN (2018)", 87.5, 72.5),
    ("LSF-CNN (2020)", 94.8, 70.2),
    ("Fusion-GRU (the paper)", 97.97, 73.12),
)
# Probabilities; features are stored in float16.
END_TO_END_TOLERANCE = 0.02
SHOWN_CELLS = 4  # a side, of the feature maps that overlays are made at
TITLES = {"ucf101": "UCF-101", "hmdb51": "HMDB-51", "figures": "the embedded data set"}


@dataclass(frozen=True)
class Recipe:
    """Options; what is None takes the paper's value, or, on the embedded data set, a smaller one."""

    dataset: str | None = None
    """ucf101, hmdb51, figures (the embedded data set), tfds:NAME, or a folder of class folders of videos. None: the
    folder --data-dir, else figures."""
    data_dir: Path | None = None
    """Where ucf101 or hmdb51 lies."""
    lists: Path | None = None
    """Folder of official split lists, where they do not lie beside the videos."""
    classes: str | None = None
    """Names of the classes to use, separated by commas. None: all."""
    protocol: Literal["official", "group", "random"] | None = None
    """None: the official splits, where the data have them, else splits that keep groups together, else random ones."""
    splits: str | None = None
    """Numbers of the splits to average over, separated by commas; for group and random what they are drawn from.
    None: 1,2,3 for ucf101, hmdb51 and --lists (section IV.A), else 1."""
    backbones: str | None = None
    """The networks, two or more, separated by commas: GoogLeNet, InceptionResNetV2, MobileNet, MobileNetV2, ResNet50,
    InceptionV3, Xception, VGG16, VGG19, DenseNet121. None: the paper's GoogLeNet,InceptionResNetV2."""
    weights: str | None = None
    """What they start from: imagenet (from --weights-dir, or downloaded by Keras), none (they are first trained on
    single frames of the training clips), or for each NAME=FILE, NAME=imagenet or NAME=none, separated by commas.
    None: imagenet, and none on the embedded data set."""
    weights_dir: Path | None = None
    """Folder with their published files, in place of downloads."""
    finetune: bool = False
    """Train the networks too, from frames; nothing is stored then, and an epoch takes some hundred times longer."""

    fusion: Literal["concatenate", "sum", "score_average"] = "concatenate"
    """How the networks are fused: features side by side (the paper), added up, or scores averaged."""
    gru_units: tuple[int, ...] | None = None
    """Units of the GRU layers: 1000 1000 in the paper (section III)."""
    bidirectional: bool = False
    """GRU layers in both directions, as the paper's conclusion says and its section III does not."""
    dropout: float = 0.0
    """Before the last layer."""

    epochs: int = 30
    """Passes over the training clips (section IV.A)."""
    learning_rate: float = 1e-3
    """Of Adam (section IV.A)."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Of the learning rate."""
    warmup_epochs: float = 0.0
    """Epochs over which a cosine schedule rises."""
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
    seeds: str = "0"
    """Of the starting weights, the order and the validation clips; several, separated by commas, are averaged, and
    paired tests compare the fusion with the better single network."""

    num_frames: int = 10
    """Frames of a clip, evenly from the first to the last."""
    size: int | None = None
    """Side of the square that is cut out of the middle of the frames. None: the largest that a network wants, 299 or
    224."""
    frame_size: int | None = None
    """Side that the frames are resized to for every network. None: what each was trained on, 224 or 299."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames."""
    store: Literal["float16", "float32"] = "float16"
    """Numbers of the stored features."""

    frame_epochs: int = 8
    """Passes over the frames, where networks without weights are first trained on single frames."""
    clips: int = 500
    """Clips of the embedded data set."""
    export_end_to_end: bool = False
    """Write model.keras, from raw frames to classes, for `python -m har_tf predict` and `explain`. Where its answers
    are not those on the stored features it is not written; the report is, and the exit code is 1."""
    overlays: int = 2
    """Overlay videos of correct clips, one a class, and as many of misclassified ones; both networks'
    stand side by side."""
    strategy: Literal["one", "mirrored", "tpu"] = "one"
    """One device, all GPUs of this machine, or a TPU."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What layers compute in; mixed_float16 is quicker on most GPUs."""
    workers: int | None = None
    """Processes that draw and decode. None: one a core."""
    out: Path = Path("runs")
    """The run goes to OUT/fusion_gru/<run>/."""
    prepared: Path | None = None
    """Folder for prepared clips and features. None: OUT/prepared."""
    run: str | None = None
    """Name of the run's folder. None: data set, protocol, splits and a fingerprint of these options."""


# What the embedded data set takes in place of the paper's values, to end in minutes on two cores.
EMBEDDED = {
    "splits": "1",
    "backbones": "MobileNet,MobileNetV2",
    "weights": "none",
    "gru_units": (64, 64),
    "size": 96,
    "frame_size": 64,
}
PAPER = {
    "backbones": "GoogLeNet,InceptionResNetV2",
    "weights": "imagenet",
    "gru_units": (1000, 1000),
}


@dataclass(frozen=True)
class Network:
    """A row of Table II: one network with its GRU layers, or several fused.

    Args:
        name: the row.
        weights: backbone -> what it starts from, see `fusion_gru`.
        frame_sizes: backbone -> side that its frames are resized to; without an entry what it was trained on.
        finetune: whether the backbones are trained too.
    """

    name: str
    weights: dict[str, str | Path | None]
    frame_sizes: dict[str, int]
    finetune: bool = False

    @property
    def start(self) -> str:
        """What the weights start from, in words."""
        sources = {None: "random weights", "imagenet": "ImageNet weights"}
        found = [sources.get(source) or Path(source).name for source in self.weights.values()]
        return f"{' and '.join(found)}, {'finetuned' if self.finetune else 'frozen'}"

    def build(self, shape, num_classes: int, **options):
        """The head for stored features of shape {backbone: (T, C)}, or for clips of shape (T, H, W, 3) all of it."""
        from har_tf.models.fusion_gru import fusion_gru, fusion_gru_head

        if isinstance(shape, dict):
            (frames,) = {frames for frames, _ in shape.values()}
            return fusion_gru_head(frames, {name: size for name, (_, size) in shape.items()}, num_classes, **options)
        return fusion_gru(
            shape, num_classes, tuple(self.weights), self.weights, self.finetune,
            frame_sizes=self.frame_sizes, **options,
        )  # fmt: skip


def main(recipe: Recipe) -> None:
    from har_tf import datasets, quiet
    from har_tf.report.run_folder import check_writable

    recipe = resolved(recipe)
    # A folder is listed at once, so that what is wrong with it shows first; the embedded data set takes time to draw.
    numbers = [int(number) for number in words(recipe.splits)]
    seeds = [int(seed) for seed in words(recipe.seeds)]
    loaded = None if recipe.dataset == "figures" else _load(recipe, numbers)
    check_writable(recipe.out)

    quiet.import_tensorflow()
    import numpy as np

    from har_tf import training
    from har_tf.datasets import splits
    from har_tf.models.fusion_gru import frame_size_of
    from har_tf.report.pages.explained import Answered
    from har_tf.report.run_folder import environment
    from har_tf.training import TrainingRecipe
    from har_tf.trial import hold_out, run_trial

    if recipe.size is None:
        wanted = [recipe.frame_size or frame_size_of(name) for name in words(recipe.backbones)]
        recipe = replace(recipe, size=max(wanted))
    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    schedule = TrainingRecipe(
        recipe.epochs, recipe.learning_rate, recipe.schedule, recipe.warmup_epochs, recipe.label_smoothing,
        recipe.clipnorm, recipe.weight_decay,
    )  # fmt: skip
    strategy = training.strategy(recipe.strategy)
    training.set_precision(recipe.precision)
    options = {
        "fusion": recipe.fusion, "gru_units": recipe.gru_units, "bidirectional": recipe.bidirectional,
        "dropout": recipe.dropout,
    }  # fmt: skip
    networks = _networks(recipe, options)
    loaded = loaded or _load(recipe, numbers)
    dataset = loaded[numbers[0]]
    protocol = recipe.protocol or _protocol(dataset)
    parted = {number: loaded[number].split(protocol, number) for number in numbers}
    if protocol == "official" and len({loaded[number].official for number in numbers}) < len(numbers):
        raise ValueError(f"{dataset.root}: has one official split. Received: --splits {recipe.splits}")
    for train, _ in parted.values():
        for seed in seeds:
            hold_out(train, protocol, seed, recipe.validation)
    run = _run_folder(recipe, protocol, dataset)

    print(f"{dataset.name}: {len(dataset)} clips of {len(dataset.class_names)} classes in {dataset.root}", flush=True)
    notes = list(dict.fromkeys(note for part in loaded.values() for note in part.notes))
    for note in notes:
        print(f"note: {note}", flush=True)
    about = environment()
    run.write_json("recipe.json", asdict(recipe))
    run.write_json("environment.json", about)
    cache = recipe.prepared or recipe.out / "prepared"
    prepared = datasets.prepare(
        dataset, cache, recipe.num_frames, (recipe.size, recipe.size), short=recipe.short, workers=recipe.workers,
        fit="crop",
    )  # fmt: skip
    run.keep(prepared.path / "skipped.csv")
    parted = {
        number: _readable(parts, prepared.skipped, f"{protocol} split {number}") for number, parts in parted.items()
    }
    for train, _ in parted.values():  # again, now that some may be left out
        for seed in seeds:
            hold_out(train, protocol, seed, recipe.validation)

    if _untrained(recipe):
        parts = hold_out(parted[numbers[0]][0], protocol, seeds[0], recipe.validation)
        networks = _trained_on_frames(networks, prepared, *parts, recipe, run.training)

    results = {
        "dataset": _described(dataset, recipe, protocol, len(prepared.skipped), notes),
        "protocol": protocol,
        "seeds": seeds,
        "epochs": recipe.epochs,
        "features": {},
        "splits": {},
        "networks": {},
    }
    stores = {} if recipe.finetune else _stores(networks, prepared, cache / "features", recipe)
    for name, store in stores.items():
        results["features"][name] = {
            "clips": len(store), "frames": store.shape[0], "channels": store.shape[1], "dtype": store.dtype,
            "weights": store.weights, "seconds": round(store.seconds, 1),
        }  # fmt: skip

    trials = {row.name: [] for row in networks}
    diverged, models, answers = {}, {}, {row.name: [] for row in networks}
    for number, (train, test) in parted.items():
        overlap = splits.overlap(train, test)
        print(f"\n{protocol} split {number}: {len(train)} training clips; {overlap}", flush=True)
        results["splits"][str(number)] = {
            "training_clips": len(train), "test_clips": len(test), "overlap": asdict(overlap),
            "overlap_text": str(overlap),
        }  # fmt: skip
        for seed in seeds:
            rest, held_out = hold_out(train, protocol, seed, recipe.validation)
            for row in networks:
                if row.name in diverged:
                    continue
                parts = _parts(row, prepared, stores, rest, held_out, test)
                what = f"{row.name}, {protocol} split {number}, seed {seed}"
                print(f"\n{what}", flush=True)
                try:
                    outcome = run_trial(
                        row, options, parts, schedule, run.training / _trial_name(row.name, number, seed),
                        recipe.batch_size, seed=seed, precision=recipe.precision, strategy=strategy,
                    )  # fmt: skip
                except FloatingPointError as error:  # the other rows are still wanted
                    diverged[row.name] = f"{what}: {error}"
                    print(diverged[row.name], flush=True)
                    continue
                print(f"{what}: test accuracy {outcome.report.accuracy:.4f}", flush=True)
                trials[row.name].append(_trial(number, seed, outcome, test, len(held_out)))
                if seed == seeds[0]:
                    models.setdefault(row.name, outcome.model)
                    answers[row.name].append(outcome.probabilities)

    for row in networks:
        results["networks"][row.name] = _summary(row, trials[row.name], diverged.get(row.name), results)
    shown = _shown(results)
    results["comparison"] = _comparison(results, trials)
    row = next(row for row in networks if row.name == shown)
    test = prepared.subset(parted[numbers[0]][1])
    run.keep(run.training / _trial_name(shown, numbers[0], seeds[0]) / "history.csv")
    run.write_json("results.json", results)  # now, whatever becomes of the model that follows
    model = None
    if recipe.export_end_to_end or recipe.overlays:
        model, results["end_to_end"] = _end_to_end(row, models[shown], test, answers[shown][0])
        run.write_json("results.json", results)
    if recipe.export_end_to_end:
        from har_tf.models.saving import save_model

        if model is None:
            (run.path / "model.keras").unlink(missing_ok=True)  # of a run before
        else:
            save_model(model, run.path / "model.keras", prepared.class_names, prepared.clip)
    taps = {} if model is None else _shown_taps(model)
    # The model of the first split knows the test clips of the others, so its overlays are of the first split alone.
    explained = Answered(model, test, answers[shown][0], taps)
    of_all = prepared.subset([record for _, part in parted.values() for record in part.records])
    _publish(results, about, explained, Answered(None, of_all, np.concatenate(answers[shown])), recipe, run)
    if recipe.export_end_to_end and model is None:
        raise ValueError(results["end_to_end"]["text"])


def _shown_taps(model) -> dict[str, str]:
    """Backbone -> the feature map that its overlays are made at: the last, or of small frames the last with enough
    cells. The fewer cells, the more of the frame each of them covers, whatever the network saw."""
    from har_tf.models.fusion_gru import stream_taps
    from har_tf.models.taps import taps

    chosen = {}
    for name, last in stream_taps(model).items():
        stream = [tap for tap in taps(model) if tap.name.startswith(f"{name}_")]
        fine = [tap.name for tap in stream if min(tap.shape[1:3]) >= SHOWN_CELLS]
        if last in fine or not fine:
            fine = [tap.name for tap in stream if tap.name == last]
        if fine:
            chosen[name] = fine[-1]
    return chosen


def _readable(parts: tuple, skipped: tuple, split: str) -> tuple:
    """The (training, test) clips without the unreadable ones.

    Raises:
        DatasetError: a part has none left.
    """
    from har_tf.datasets import DatasetError

    unreadable = {video.path for video in skipped}
    left = tuple(
        part.subset(record for record in part.records if part.root / record.name(part.root) not in unreadable)
        for part in parts
    )
    for name, part, before in zip(("training", "test"), left, parts, strict=True):
        if not len(part):
            raise DatasetError(
                f"{part.root}: no {name} clip of the {split} can be read; all {len(before)} were left out, "
                f"first {before.records[0].path}. skipped.csv in the run folder gives the reasons"
            )
    return left


def _trained_on_frames(networks: list[Network], prepared, train, validation, recipe: Recipe, folder: Path) -> list:
    """The same rows with networks that have no weights first trained on single frames of the training clips."""
    from har_tf.trial import train_on_frames

    parts = prepared.subset(train), prepared.subset(validation) if len(validation) else None
    weights = dict(networks[-1].weights)
    for name in _untrained(recipe):
        print(f"\n{name}, on single frames", flush=True)
        weights[name] = train_on_frames(name, *parts, recipe.frame_epochs, folder / f"frames_{name}", recipe.frame_size)
    return [replace(row, weights={name: weights[name] for name in row.weights}) for row in networks]


def _stores(networks: list[Network], prepared, folder: Path, recipe: Recipe) -> dict:
    """Backbone -> its features of all clips, computed now or before."""
    from har_tf.store import features

    stores = {}
    for name, weights in networks[-1].weights.items():
        stores[name] = store = features.extract(
            prepared, name, weights, folder, recipe.store, frame_size=recipe.frame_size
        )
        rate = len(store) * store.shape[0] / max(store.seconds, 1e-9)
        print(f"{name}: features of {len(store)} clips, computed at {rate:.0f} frames/s", flush=True)
    return stores


def _parts(row: Network, prepared, stores: dict, train, validation, test):
    """The clips of a trial, or, where there are stores, the row's features of them."""
    from har_tf.trial import FeatureParts, Parts

    if row.finetune:
        return Parts(*(prepared.subset(part) if len(part) else None for part in (train, validation, test)))
    of_row = [stores[name] for name in row.weights]
    return FeatureParts(
        *([store.subset(part) for store in of_row] if len(part) else None for part in (train, validation, test))
    )


def _trial_name(name: str, split: int, seed: int) -> str:
    return f"split{split}_seed{seed}_{name}"


def _trial(split: int, seed: int, outcome, test, validation_clips: int) -> dict:
    """One trial as `results.json` has it, and what it answered under "answers"."""
    report = outcome.report
    return {
        "split": split, "seed": seed, "accuracy": report.accuracy, "precision": report.precision,
        "recall": report.recall, "f1": report.f1, "top5": report.top5, "test_clips": report.clips,
        "validation_clips": validation_clips,
        "best_epoch": outcome.history.best_epoch + 1, "seconds": round(outcome.history.seconds, 1),
        "parameters": outcome.model.count_params(), "history": outcome.history.epochs,
        "answers": {
            # A segment may be there once for each of its classes.
            f"{record.name(test.root)} {record.label}": (record.label, int(answer))
            for record, answer in zip(test.records, outcome.probabilities.argmax(axis=1), strict=True)
        },
    }  # fmt: skip


def _summary(row: Network, trials: list[dict], diverged: str | None, results: dict) -> dict:
    """A row of Table II as `results.json` has it: means over splits of means over seeds, and what they are made of."""
    import numpy as np
    from scipy import stats

    about = {"status": "run", "reason": None, "starts_from": row.start, "backbones": list(row.weights)}
    if diverged:
        return about | {"status": "diverged", "reason": diverged}
    accuracies = np.array(
        [[t["accuracy"] for t in trials if t["split"] == int(split)] for split in results["splits"]]
    )  # (splits, seeds)
    classes = len(results["dataset"]["classes"])
    confusion = np.zeros((classes, classes), int)
    for trial in trials:
        if trial["seed"] == results["seeds"][0]:
            np.add.at(confusion, tuple(np.array(list(trial["answers"].values())).T), 1)
    clips, interval = trials[0]["test_clips"], None
    if len(accuracies) == 1:
        found = stats.binomtest(round(accuracies.mean() * clips), clips).proportion_ci(method="wilson")
        interval = [float(found.low), float(found.high)]
    return about | {
        "accuracy": float(accuracies.mean()),
        "accuracy_interval": interval,
        "deviation_over_splits": _deviation(accuracies.mean(axis=1)),
        "deviation_over_seeds": _deviation(accuracies.mean(axis=0)),
        "parameters": trials[0]["parameters"],
        "training_seconds": float(np.mean([trial["seconds"] for trial in trials])),
        "extraction_seconds": sum(results["features"][name]["seconds"] for name in row.weights if not row.finetune),
        "trials": [{k: v for k, v in trial.items() if k != "answers"} for trial in trials],
        "confusion": confusion.tolist(),
    }


def _deviation(values) -> float | None:
    """Sample standard deviation; None of a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _shown(results: dict) -> str:
    """The row that is shown in pictures: the fusion, or, where it diverged, the best of the others."""
    run = {name: row["accuracy"] for name, row in results["networks"].items() if row["status"] == "run"}
    if not run:
        raise ValueError("None of the networks could be trained; the reasons are above")
    return FUSION if FUSION in run else max(run, key=run.get)


def _comparison(results: dict, trials: dict[str, list[dict]]) -> dict | None:
    """The fusion against the better single network: over seeds, and over the test clips of the first seed.

    A clip that is a test clip of several splits counts in the first of them.
    """
    from har_tf.evaluate.comparison import Comparison, over_clips, over_seeds

    run = {name: row["accuracy"] for name, row in results["networks"].items() if row["status"] == "run"}
    if FUSION not in run or len(run) < 2:
        return None
    other = max((name for name in run if name != FUSION), key=run.get)

    def of_seeds(name):
        chosen = [[t["accuracy"] for t in trials[name] if t["seed"] == seed] for seed in results["seeds"]]
        return [sum(accuracies) / len(accuracies) for accuracies in chosen]

    def of_clips(name):
        answers = {}
        for trial in reversed([t for t in trials[name] if t["seed"] == results["seeds"][0]]):
            answers |= trial["answers"]
        return dict(sorted(answers.items())).values()

    labels, ours = zip(*of_clips(FUSION), strict=True)
    theirs = [answer for _, answer in of_clips(other)]
    compared = Comparison(
        FUSION, other, over_seeds(of_seeds(FUSION), of_seeds(other)), over_clips(labels, ours, theirs)
    )
    return compared.as_dict()


def _end_to_end(row: Network, head, test, probabilities) -> tuple:
    """The model from raw frames to classes, and how far its answers are from those on the stored features.

    None in place of a model whose answers are others, as half precision may make them: training, which took hours, was
    on the stored features, and its results stand.
    """
    import numpy as np

    from har_tf.models.fusion_gru import end_to_end

    if row.finetune:
        return head, None
    shape = (test.num_frames, *test.size, 3)
    model = end_to_end(head, shape, row.weights, frame_sizes=row.frame_sizes)
    clips = min(len(test), 8)
    answers = model.predict(test.read(range(clips)), batch_size=1, verbose=0)
    difference = float(np.abs(answers - probabilities[:clips]).max())
    agrees = difference <= END_TO_END_TOLERANCE
    text = f"on {clips} clips within {difference:.1e} of the answers on stored features"
    if not agrees:
        text = (
            f"{row.name}: from frames to classes the answers differ by {difference:.2g} from those on stored features. "
            f"Expected at most {END_TO_END_TOLERANCE}; so there is neither a model.keras nor an overlay video"
        )
    print(f"\nend to end: {text}", flush=True)
    about = {"clips": clips, "largest_difference": difference, "parameters": model.count_params(), "text": text}
    return model if agrees else None, about


def _publish(results: dict, about: dict, explained, answered, recipe: Recipe, run) -> None:
    """Writes the tables, the figures and the page, and prints Table II.

    The overlays show what `explained` answered on the first split, where it has a model, the strips and their ranks
    `answered` on all splits.
    """
    from har_tf.report import page, plots
    from har_tf.report.pages.explained import class_strips, overlay_videos
    from har_tf.report.run_folder import machine

    tables = [table_1(results), table_2(results), table_3(results), table_classes(results)]
    for name, table in zip(("table_1", "table_2", "table_3", "classes"), tables, strict=True):
        table.write(run.tables, name)
    shown = _shown(results)
    ran = {name: row for name, row in results["networks"].items() if row["status"] == "run"}
    histories = {name: [trial["history"] for trial in row["trials"]] for name, row in ran.items()}
    part, prefix = ("validation", "val_") if recipe.validation else ("training", "")
    runs = len(results["splits"]) * len(results["seeds"])
    spread = f"mean of {runs} runs and their standard deviation" if runs > 1 else "one run"
    curves = []
    for number, metric in enumerate(("accuracy", "loss"), start=10 if results["dataset"]["name"] == "hmdb51" else 8):
        path = run.figures / f"figure_{number}_{metric}.png"
        plots.metric_by_epoch(histories, prefix + metric, path)
        caption = f"{metric.capitalize()} on {part} clips by epoch: {spread}."
        curves.append(page.Section(f"Figure {number}: {metric}", figures=[page.Figure(path, caption)]))
    confusions = []
    for name, number in _confusion_numbers(results).items():
        if name in ran:
            path = run.figures / f"{f'figure_{number}_' if number else ''}confusion_{name}.png"
            clips = sum(map(sum, ran[name]["confusion"]))
            title = f"{name}: {clips} test clips of {_splits_line(results)}, seed {results['seeds'][0]}"
            plots.confusion_matrix(ran[name]["confusion"], results["dataset"]["classes"], path, title=title)
            caption = f"Confusion matrix of {name}. Select it to see it at its full size."
            heading = f"Figure {number}: confusion of {name}" if number else f"Confusion of {name}"
            confusions.append(page.Section(heading, figures=[page.Figure(path, caption)]))
    videos = []
    if recipe.overlays and explained.model is not None:
        for what, chosen in (("correct", explained.correct()), ("misclassified", explained.misclassified())):
            if chosen:
                found = overlay_videos(explained, chosen[: recipe.overlays], run.overlays, what)
                videos.append(page.Section(f"Overlay videos: {what}", videos=found))
    comparison = results["comparison"]
    verdict = comparison["sentences"] if comparison else ["Training diverged; there is nothing to compare."]
    row = ran[shown]
    facts = {
        "data": _data_line(results),
        "protocol": "; ".join(f"{_split_name(results, n)}: {s['overlap_text']}" for n, s in results["splits"].items()),
        "accuracy": f"{row['accuracy']:.4f} ({shown}, {_splits_line(results)})",
        "fusion": verdict[0],
        **({"end to end": results["end_to_end"]["text"]} if results.get("end_to_end") else {}),
        "date": about["date"],
        "machine": machine(about),
        "command": about["command"],
    }
    written = page.write_page(
        run.path / "report.html",
        "Fusion-GRU",
        facts,
        [
            page.Section("Table I: data", tables=[tables[0]]),
            page.Section("Table II: the networks and their fusion", tables=[tables[1]]),
            page.Section("Table III: the literature", tables=[tables[2]]),
            *curves,
            *confusions,
            *class_strips(answered, run.figures, first_number=18),
            page.Section("Classes", tables=[tables[3]]),
            *videos,
        ],
        summary=_summary_line(recipe),
    )
    print(f"\n{tables[1].markdown()}")
    print("\n".join(verdict))
    print(f"run folder: {run.path}\nreport:     {written}", flush=True)


def _confusion_numbers(results: dict) -> dict[str, int | None]:
    """Row -> number of the figure with its confusion matrix, in the order of the paper.

    Figure 12 is the fusion's, 13 Inception-ResNet-V2's, 14 GoogLeNet's, and on HMDB51 15 to 17. Another network takes
    the place that is left. The paper has no numbers for more than two networks and their fusion, so none is given.
    """
    places = {"InceptionResNetV2": 0, "GoogLeNet": 2}
    single = [name for name in results["networks"] if name != FUSION]
    order = [FUSION, *sorted(reversed(single), key=lambda name: places.get(name, 1))]
    first = 15 if results["dataset"]["name"] == "hmdb51" else 12
    return {name: first + place if len(order) == 3 else None for place, name in enumerate(order)}


def table_1(results: dict):
    """Table I: the data sets, counted here and in the paper."""
    from har_tf.report.tables import Table

    data = results["dataset"]
    rows = [(TITLES.get(data["name"], data["name"]), data["clips"], len(data["classes"]), "counted here")]
    rows += [(TITLES[name], *counts, "the paper") for name, counts in PAPER_TABLE_1.items()]
    notes = [
        f"{_split_name(results, number)}: {split['training_clips']} training and {split['test_clips']} test clips; "
        f"{split['overlap_text']}."
        for number, split in results["splits"].items()
    ]
    notes += [f"{data['skipped']} unreadable videos are left out."] if data["skipped"] else []
    return Table("Table I. Video data sets", ["Data set", "Clips", "Categories", "Source"], rows,
                 [*notes, *data["notes"]], formats={"Clips": ","})  # fmt: skip


def table_2(results: dict):
    """Table II from `results.json`; with the paper's figures only where data and splits are the paper's."""
    from har_tf.report.tables import Table

    paper = PAPER_TABLE_2[results["dataset"]["name"]] if results["dataset"]["as_in_paper"] else None
    several_seeds = len(results["seeds"]) > 1
    several_splits = len(results["splits"]) > 1
    columns = ["Network", "Accuracy"]
    columns += ["Deviation over splits"] if several_splits else ["95 % interval"]
    columns += ["Deviation over seeds"] if several_seeds else []
    columns += ["Training (min)", "Extraction (min)", "Parameters"]
    columns += ["Paper: accuracy", "Paper: minutes"] if paper else []
    rows = []
    for name, row in results["networks"].items():
        if row["status"] == "run":
            cells = [name, row["accuracy"]]
            if several_splits:
                cells.append(row["deviation_over_splits"])
            else:
                low, high = row["accuracy_interval"]
                cells.append(f"{low:.3f}\N{EN DASH}{high:.3f}")
            cells += [row["deviation_over_seeds"]] if several_seeds else []
            cells += [row["training_seconds"] / 60, row["extraction_seconds"] / 60, row["parameters"]]
        else:
            cells = [name, row["status"], *[None] * (4 + several_seeds)]
        same = name != FUSION or row.get("backbones") == PAPER["backbones"].split(",")
        rows.append([*cells, *((paper.get(name) if same else None) or (None, None) if paper else ())])
    seeds = f"seed {results['seeds'][0]}"
    if several_seeds:
        seeds = f"mean of {len(results['seeds'])} seeds, their sample standard deviation beside it"
    count = len(results["splits"])
    over = f"mean of {count} splits and their sample standard deviation"
    if not several_splits:
        over = "one split, so no deviation over splits; the interval (Wilson) is that of its test clips"
    notes = [
        f"Measured on {_data_line(results)}, {_splits_line(results)}: {over}; {seeds}.",
    ]
    if results["features"]:
        notes.append(
            "Training: minutes of one training on stored features. Extraction: minutes that computing the features of "
            "all clips took, once for all splits and seeds. Parameters: of what stands on the features, all trained."
        )
    else:
        notes.append("Trained from frames, the networks included.")
    if not paper:
        notes.append("The paper's figures were measured on other data or other splits and are not set beside these.")
    notes += [f"{name}: {row['reason']}." for name, row in results["networks"].items() if row["reason"]]
    starts = [f"{n}: {row['starts_from']}" for n, row in results["networks"].items() if row["status"] == "run"]
    notes.append(f"Trained from: {'; '.join(starts)}.")
    notes += results["comparison"]["sentences"] if results["comparison"] else []
    formats = {"Training (min)": ".1f", "Extraction (min)": ".1f", "Parameters": ","}
    return Table("Table II. The networks and their fusion", columns, rows, notes, formats, highest=["Accuracy"])


def table_3(results: dict):
    """Table III: the literature's figures as the paper quotes them, beside this run where its data are the same."""
    from har_tf.report.tables import Table

    data = results["dataset"]
    rows = [(*row, "quoted") for row in PAPER_TABLE_3]
    notes = ["Quoted figures are the paper's, means over the official splits, not measured here."]
    if data["as_in_paper"]:
        for name, row in results["networks"].items():
            if row["status"] == "run":
                accuracy = 100 * row["accuracy"]
                here = (accuracy, None) if data["name"] == "ucf101" else (None, accuracy)
                of = f" of {' and '.join(row['backbones'])}" if name == FUSION else ""
                rows.append((f"{name}{of} (this run)", *here, f"measured, {_splits_line(results)}"))
    else:
        notes.append(
            f"This run was on {_data_line(results)}, {_splits_line(results)}, not on the three official splits of all "
            "of UCF101 or HMDB51; its accuracy has no place beside these."
        )
    columns = ["Method", "UCF-101 (%)", "HMDB-51 (%)", "Source"]
    formats = {"UCF-101 (%)": ".2f", "HMDB-51 (%)": ".2f"}
    return Table("Table III. Against the literature", columns, rows, notes, formats)


def table_classes(results: dict, count: int = 5):
    """The classes that the shown network recognises best and worst, with what they are taken for."""
    import numpy as np

    from har_tf.report.tables import Table

    name = _shown(results)
    confusion, classes = np.array(results["networks"][name]["confusion"]), results["dataset"]["classes"]
    clips, right = confusion.sum(axis=1), confusion.diagonal()
    wrong = confusion - np.diag(right)
    known = [i for i in range(len(classes)) if clips[i]]
    order = sorted(known, key=lambda i: (-right[i] / clips[i], -clips[i], classes[i]))
    chosen = order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
    rows = [
        [
            classes[i], clips[i], right[i], right[i] / clips[i],
            f"{classes[wrong[i].argmax()]} ({wrong[i].max()})" if wrong[i].any() else None,
        ]
        for i in chosen
    ]  # fmt: skip
    columns = ["Class", "Test clips", "Recognised", "Share", "Most often taken for"]
    notes = [f"{name}, {_splits_line(results)}, seed {results['seeds'][0]}."]
    notes += [f"{len(order) - len(chosen)} classes in between are left out."] if len(order) > len(chosen) else []
    return Table("Best and worst recognised classes", columns, rows, notes, formats={"Share": ".1%"})


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with the paper's values, or the embedded data set's, where none was given; checked.

    Raises:
        ValueError: a value out of its range, or options that do not go together.
    """
    if recipe.dataset is None:
        recipe = replace(recipe, dataset="figures" if recipe.data_dir is None else str(recipe.data_dir), data_dir=None)
    named = recipe.dataset in PAPER_TABLE_1
    if named and recipe.data_dir is None:
        raise ValueError(f"--data-dir, the folder where {recipe.dataset} lies, is needed")
    if not named and recipe.data_dir is not None:
        raise ValueError(f"--data-dir is where ucf101 or hmdb51 lies. Received: --dataset {recipe.dataset}")
    defaults = EMBEDDED if recipe.dataset == "figures" else PAPER
    defaults = {"splits": "1,2,3" if named or recipe.lists else "1"} | defaults
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    ranges = {
        "batch_size": (1, None), "num_frames": (1, None), "overlays": (0, None), "workers": (0, None),
        "validation": (0, 0.9), "dropout": (0, 0.9), "size": (32, None), "frame_size": (32, None), "clips": (10, None),
        "frame_epochs": (1, None),
    }  # fmt: skip
    check_ranges(recipe, ranges)
    check_name("--run", recipe.run)
    for option, text, low in (("splits", recipe.splits, 1), ("seeds", recipe.seeds, 0)):
        numbers = words(text)
        if not all(number.isdecimal() and low <= int(number) < 2**32 for number in numbers):
            raise ValueError(f"--{option} must be whole numbers from {low} on. Received: {text!r}")
        if len({int(number) for number in numbers}) < len(numbers):
            raise ValueError(f"--{option} must be different from each other. Received: {text!r}")
    backbones = words(recipe.backbones)
    if len(set(backbones)) < max(2, len(backbones)):
        raise ValueError(f"--backbones must be two or more different networks. Received: {recipe.backbones!r}")
    untrained = _untrained(recipe)
    if untrained and len(words(recipe.splits)) > 1:
        raise ValueError(
            "--weights none trains networks on training clips of one split, which are test clips of another. "
            f"Received: --splits {recipe.splits}"
        )
    if untrained and len(words(recipe.seeds)) > 1:
        raise ValueError(
            "--weights none trains networks on training clips of one seed, which are validation clips of another. "
            f"Received: --seeds {recipe.seeds}"
        )
    return recipe


def _networks(recipe: Recipe, options: dict) -> list[Network]:
    """The rows of Table II, each single network and the fusion of all.

    Every backbone is built once, so that a file that does not fit shows before any work; so is what stands on them.

    Raises:
        ValueError: an unknown network, weights of another network, or arguments that no model can have.
        WeightsUnavailable: weights of one or more networks are missing; the message names them all.
    """
    from har_tf.models import backbones
    from har_tf.models.fusion_gru import frame_encoder

    for name in words(recipe.backbones):
        backbones.find(name)
    found = _found_weights(recipe)
    for name, weights in found.items():
        frame_encoder(name, recipe.size, weights, frame_size=recipe.frame_size)
    rows = []
    for row, names in [*((name, [name]) for name in found), (FUSION, list(found))]:
        weights = {name: found[name] for name in names}
        sizes = {} if recipe.frame_size is None else dict.fromkeys(names, recipe.frame_size)
        rows.append(Network(row, weights, sizes, recipe.finetune))
        channels = {name: (recipe.num_frames, backbones.feature_size(name, weights[name])) for name in names}
        replace(rows[-1], finetune=False).build(channels, 2, **options)
    return rows


def _found_weights(recipe: Recipe) -> dict[str, str | Path | None]:
    """Backbone -> what it starts from, see `fusion_gru`.

    Raises:
        WeightsUnavailable: weights are missing of one or more networks; the message names them all.
    """
    from har_tf.models.backbones import WeightsUnavailable
    from har_tf.models.zoo import named

    found, missing = {}, {}
    for name, source in _given_weights(recipe).items():
        if source not in ("imagenet", "none") and not Path(source).is_file():
            missing[name] = f"{name}: {source}: no such weights file"
            continue
        model = named(name, source, recipe.weights_dir, recipe.finetune)
        found[name] = model.weights
        if model.missing:
            missing[name] = model.missing
    if missing:
        raise WeightsUnavailable(
            f"Weights are missing of {' and '.join(missing)}. {'. '.join(missing.values())}. Put the files into a "
            "folder and give it as --weights-dir, give each as --weights NAME=FILE, or leave the network out of "
            f"--backbones. Received: --backbones {recipe.backbones}"
        )
    return found


def _given_weights(recipe: Recipe) -> dict[str, str]:
    """Backbone -> imagenet, none or a file, as --weights says.

    Raises:
        ValueError: a network that is not named, named twice, or not among the backbones.
    """
    names = words(recipe.backbones)
    if recipe.weights in ("imagenet", "none"):
        return dict.fromkeys(names, recipe.weights)
    pairs = [pair.partition("=") for pair in words(recipe.weights)]
    given = {name: source for name, _, source in pairs}
    if len(given) < len(pairs) or not all(name in names and source for name, source in given.items()):
        raise ValueError(
            "--weights must be imagenet, none, or NAME=FILE, NAME=imagenet or NAME=none once for each of "
            f"{', '.join(names)}, separated by commas. Received: {recipe.weights!r}"
        )
    unnamed = [name for name in names if name not in given]
    if unnamed:
        raise ValueError(
            f"--weights names no weights for {' and '.join(unnamed)}; "
            f"{','.join(f'{name}=imagenet' for name in unnamed)} would be one choice. Received: {recipe.weights!r}"
        )
    return {name: given[name] for name in names}


def _untrained(recipe: Recipe) -> list[str]:
    """The frozen networks without weights, which are first trained on single frames."""
    return [] if recipe.finetune else [name for name, source in _given_weights(recipe).items() if source == "none"]


def _load(recipe: Recipe, numbers: list[int]) -> dict:
    """The data set with each of these splits, by its number.

    Raises:
        DatasetError: see `datasets.load`; the advice is in options of this experiment.
    """
    from har_tf import datasets

    classes = None if recipe.classes is None else words(recipe.classes)
    if recipe.dataset == "figures":
        dataset = datasets.load(
            "figures",
            recipe.out / "figures",
            classes=classes,
            clips=recipe.clips,
            size=(128, 128),
            workers=recipe.workers,
        )
        return dict.fromkeys(numbers, dataset)
    named = recipe.dataset in PAPER_TABLE_1 or recipe.dataset.startswith("tfds:")
    source = recipe.dataset if named else Path(recipe.dataset)
    try:
        return {
            number: datasets.load(source, recipe.data_dir, split=number, classes=classes, lists=recipe.lists)
            for number in numbers
        }
    except datasets.DatasetError as error:
        advice = {
            "ucf101": f"--dataset {recipe.data_dir} --lists {recipe.lists or 'LISTS'} takes what is there of it",
            "hmdb51": f"--classes takes those that are whole, --dataset {recipe.data_dir} what is there, without the "
            "official splits",
        }.get(recipe.dataset, "")
        raise datasets.DatasetError(str(error).replace("partial=True does without", advice)) from error


def _protocol(dataset) -> str:
    """The strictest split that the data allow for, the official one first."""
    if dataset.official is not None:
        return "official"
    return "group" if all(record.group is not None for record in dataset.records) else "random"


def _run_folder(recipe: Recipe, protocol: str, dataset):
    """The folder that this recipe on these videos goes to, so that the same command on the same data finds it again."""
    from har_tf.report.run_folder import RunFolder, run_name

    records = () if recipe.dataset == "figures" else dataset.records
    prefix = f"{dataset.name}-{protocol}{'+'.join(words(recipe.splits))}"
    return RunFolder(recipe.out, EXPERIMENT, recipe.run or run_name(prefix, recipe, records))


def _described(dataset, recipe: Recipe, protocol: str, skipped: int, notes: list[str]) -> dict:
    """The data as `results.json` has them."""
    clips, classes = PAPER_TABLE_1.get(dataset.name, (0, 0))
    complete = (len(dataset) - skipped, len(dataset.class_names)) == (clips, classes)
    return {
        "name": dataset.name,
        "classes": list(dataset.class_names),
        "clips": len(dataset) - skipped,
        "skipped": skipped,
        "as_in_paper": complete and protocol == "official" and sorted(words(recipe.splits)) == ["1", "2", "3"],
        "notes": notes,
    }


def _summary_line(recipe: Recipe) -> str | None:
    untrained = _untrained(recipe)
    if not untrained:
        return None
    return (
        f"First trained here, on single frames of the training clips in place of photographs: {', '.join(untrained)}. "
        "This page shows the whole path, not what networks with ImageNet weights reach."
    )


def _splits_line(results: dict) -> str:
    numbers = list(results["splits"])
    several = "splits" if len(numbers) > 1 else "split"
    return f"{results['protocol']} {several} {', '.join(numbers)}"


def _split_name(results: dict, number: str) -> str:
    return f"{results['protocol']} split {number}"


def _data_line(results: dict) -> str:
    data = results["dataset"]
    skipped = f" ({data['skipped']} unreadable left out)" if data["skipped"] else ""
    return f"{data['clips']} clips of {len(data['classes'])} classes of {data['name']}{skipped}"


if __name__ == "__main__":
    from har_tf.command import run as run_command

    run_command(main, Recipe)
