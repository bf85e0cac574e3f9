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

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from har_tf import quiet
from har_tf.command import by_name, whole_numbers, words
from har_tf.experiment import (
    Data,
    Embedded,
    Output,
    Training,
    announce,
    check_options,
    open_run,
    readable,
    run_cli,
    strictest_protocol,
)
from har_tf.report.page import stored
from har_tf.report.run_folder import check_writable

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


@dataclass(frozen=True)
class Networks:
    """Which networks, and how they are fused (see `har_tf.models.fusion_gru`)."""

    backbones: str = "GoogLeNet,InceptionResNetV2"
    """The networks, two or more, separated by commas: GoogLeNet, InceptionResNetV2, MobileNet, MobileNetV2, ResNet50,
    InceptionV3, Xception, VGG16, VGG19, DenseNet121."""
    weights: str = "imagenet"
    """What they start from: imagenet (from --weights-dir, or downloaded by Keras), none (they are first trained on
    single frames of the training clips), or for each NAME=FILE, NAME=imagenet or NAME=none, separated by commas."""
    weights_dir: Path | None = None
    """Folder with the published files of the networks. None: Keras downloads them."""
    finetune: bool = False
    """Train the networks too, from frames; nothing is stored then, and an epoch takes some hundred times longer."""
    fusion: Literal["concatenate", "sum", "score_average"] = "concatenate"
    """How the networks are fused: features side by side (the paper), added up, or scores averaged."""
    gru_units: tuple[int, ...] = (1000, 1000)
    """Units of the GRU layers (section III)."""
    bidirectional: bool = False
    """GRU layers in both directions, as the paper's conclusion says and its section III does not."""
    dropout: float = 0.0
    """Dropout before the last layer."""
    size: int | None = None
    """Side of the square that is cut out of the middle of the frames. None: the largest that a network wants, 299 or
    224."""
    frame_size: int | None = None
    """Side that the frames are resized to for every network. None: what each was trained on, 224 or 299."""
    frame_epochs: int = 8
    """Passes over the frames, where networks without weights are first trained on single frames."""


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded(clips=500)
    networks: Networks = Networks()
    training: Training = Training(epochs=30)
    output: Output = Output(overlays=2)

    protocol: Literal["official", "group", "random"] | None = None
    """How clips are split. None: by the official splits, where the data have them, else by splits that keep groups
    together, else by random ones."""
    splits: str | None = None
    """Numbers of the splits to average over, separated by commas; for group and random what they are drawn from.
    None: all, which is 1,2,3 for ucf101, hmdb51 and --lists (section IV.A), else 1."""
    seeds: str = "0"
    """Seeds of the starting weights, the order and the validation clips; several, separated by commas, are averaged,
    and paired tests compare the fusion with the better single network."""
    num_frames: int = 10
    """Frames of a clip, evenly from the first to the last."""
    short: Literal["repeat_last", "wrap", "error"] = "repeat_last"
    """What to do with videos of fewer frames; error leaves them out."""
    store: Literal["float16", "float32"] = "float16"
    """Numbers of the stored features."""
    export_end_to_end: bool = False
    """Write model.keras, from raw frames to classes, for `python -m har_tf predict` and `explain`. Where its answers
    are not those on the stored features it is not written; the report is, and the exit code is 1."""


PRESETS = {
    # Small networks on small frames, to end in minutes on two cores.
    "figures": Recipe(
        Data("figures"),
        networks=Networks("MobileNet,MobileNetV2", "none", gru_units=(64, 64), size=96, frame_size=64),
    ),
    "paper": Recipe(),
}


def main(recipe: Recipe) -> None:
    check(recipe)
    numbers, seeds = split_numbers(recipe), whole_numbers("--seeds", recipe.seeds)
    listed = {number: recipe.data.listed(number) for number in numbers}
    check_writable(recipe.output.out)

    quiet.import_tensorflow()
    import numpy as np

    from har_tf import training
    from har_tf.datasets import splits
    from har_tf.models.fusion_gru import fine_taps, frame_size_of
    from har_tf.models.saving import save_model
    from har_tf.report.pages.explained import Answered, class_strips, overlay_sections
    from har_tf.report.pages.fusion_gru import end_to_end_line
    from har_tf.store import features
    from har_tf.store.prepare import prepare
    from har_tf.trial import FeatureParts, Parts, hold_out, run_rows, run_trial, train_on_frames

    networks, validation = recipe.networks, recipe.training.validation
    if networks.size is None:
        sizes = [networks.frame_size or frame_size_of(name) for name in words(networks.backbones)]
        networks = replace(networks, size=max(sizes))
        recipe = replace(recipe, networks=networks)
    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    schedule = recipe.training.recipe()
    strategy = training.strategy(recipe.training.strategy)
    training.set_precision(recipe.training.precision)
    rows = table_rows(networks, recipe.num_frames)
    drawn = recipe.data.embedded and recipe.embedded.draw(recipe.output, recipe.data.class_names, size=(128, 128))
    loaded = {number: drawn or dataset for number, dataset in listed.items()}
    dataset = loaded[numbers[0]]
    protocol = recipe.protocol or strictest_protocol(dataset)
    parted = {number: loaded[number].split(protocol, number) for number in numbers}
    if protocol == "official" and len({loaded[number].official for number in numbers}) < len(numbers):
        raise ValueError(f"{dataset.root}: has one official split. Received: --splits {','.join(map(str, numbers))}")

    def held_out(number: int, seed: int) -> tuple:
        return hold_out(parted[number][0], protocol, seed, validation)

    for number in numbers:
        for seed in seeds:
            held_out(number, seed)

    prefix = f"{dataset.name}-{protocol}{'+'.join(map(str, numbers))}"
    with open_run(EXPERIMENT, recipe, prefix, None if recipe.data.embedded else dataset) as run:
        notes = list(dict.fromkeys(note for part in loaded.values() for note in part.notes))
        announce(dataset, notes=notes)
        prepared = prepare(
            dataset, recipe.output.cache, recipe.num_frames, (networks.size, networks.size), short=recipe.short,
            workers=recipe.output.workers, fit="crop",
        )  # fmt: skip
        run.keep(prepared.path / "skipped.csv")
        results = {
            "dataset": described(dataset, protocol, numbers, len(prepared.skipped), notes),
            "paper": {"table_1": PAPER_TABLE_1, "table_3": PAPER_TABLE_3},
            "protocol": protocol, "seeds": seeds, "epochs": recipe.training.epochs, "validation": validation,
            "trained_on_frames": untrained(networks), "features": {}, "splits": {}, "networks": {}, "pictures": [],
        }  # fmt: skip
        for number, parts in parted.items():
            named = zip(("training", "test"), parts, strict=True)
            parted[number] = train, test = tuple(
                readable(part, prepared.skipped, f"{name} clip of the {protocol} split {number}")
                for name, part in named
            )
            for seed in seeds:  # again, now that some may be left out
                held_out(number, seed)
            overlap = splits.overlap(train, test)
            print(f"{protocol} split {number}: {len(train)} training clips; {overlap}", flush=True)
            results["splits"][str(number)] = {
                "training_clips": len(train), "test_clips": len(test), "overlap": asdict(overlap),
                "overlap_text": str(overlap),
            }  # fmt: skip

        for name in untrained(networks):
            print(f"\n{name}, on single frames", flush=True)
            parts = (prepared.subset(part) if len(part) else None for part in held_out(numbers[0], seeds[0]))
            file = train_on_frames(
                name, *parts, networks.frame_epochs, run.training / f"frames_{name}", networks.frame_size
            )
            rows = [
                replace(row, weights={**row.weights, **({name: file} if name in row.weights else {})}) for row in rows
            ]
        stores = {}
        for name, weights in {} if networks.finetune else rows[-1].weights.items():
            stores[name] = store = features.extract(
                prepared, name, weights, recipe.output.cache / "features", recipe.store, frame_size=networks.frame_size
            )
            rate = len(store) * store.shape[0] / max(store.seconds, 1e-9)
            print(f"{name}: features of {len(store)} clips, computed at {rate:.0f} frames/s", flush=True)
            results["features"][name] = {
                "clips": len(store), "frames": store.shape[0], "channels": store.shape[1], "dtype": store.dtype,
                "weights": store.weights, "seconds": round(store.seconds, 1),
            }  # fmt: skip

        models, probabilities = {}, {row.name: [] for row in rows}  # of the first seed; models of the first split

        def trial(row, number: int, seed: int) -> dict:
            test = parted[number][1]
            clips = Parts.of if networks.finetune else FeatureParts.of
            source = prepared if networks.finetune else [stores[name] for name in row.weights]
            parts = clips(source, *held_out(number, seed), test)
            outcome = run_trial(
                row, {}, parts, schedule, run.training / trial_name(row.name, number, seed),
                recipe.training.batch_size, seed=seed, precision=recipe.training.precision, strategy=strategy,
            )  # fmt: skip
            if seed == seeds[0]:
                models.setdefault(row.name, outcome.model)
                probabilities[row.name].append(outcome.probabilities)
            return measured(outcome, test, len(held_out(number, seed)[1]))

        trials, diverged = run_rows(rows, numbers, seeds, trial)
        for row in rows:
            results["networks"][row.name] = as_result(row, trials[row.name], diverged.get(row.name), results)
        accuracies = {name: row["accuracy"] for name, row in results["networks"].items() if row["status"] == "run"}
        if not accuracies:
            raise ValueError("None of the networks could be trained; the reasons are above")
        results["comparison"] = comparison(accuracies, trials)
        results["shown"] = shown = FUSION if FUSION in accuracies else max(accuracies, key=accuracies.get)
        run.keep(run.training / trial_name(shown, numbers[0], seeds[0]) / "history.csv")
        if not (run.path / "results.json").is_file():  # now, whatever becomes of the model that follows
            run.write_json("results.json", {"experiment": EXPERIMENT, **results})

        # The model of the first split knows the test clips of the others, so its overlays are of the first split alone.
        test, answers = prepared.subset(parted[numbers[0]][1]), probabilities[shown][0]
        model, agrees = None, True
        if recipe.export_end_to_end or recipe.output.overlays:
            row = next(row for row in rows if row.name == shown)
            model, results["end_to_end"] = whole_model(row, models[shown], test, answers)
            agrees = model is not None
        if results.get("end_to_end"):
            print(f"\nend to end: {end_to_end_line(results)}", flush=True)
        if recipe.export_end_to_end and agrees:
            save_model(model, run.path / "model.keras", prepared.class_names, prepared.clip)
        elif recipe.export_end_to_end:
            (run.path / "model.keras").unlink(missing_ok=True)  # of a run before
        of_all = prepared.subset([record for _, part in parted.values() for record in part.records])
        pictures = class_strips(Answered(None, of_all, np.concatenate(probabilities[shown])), run.figures, 18)
        if model is not None:
            explained = Answered(model, test, answers, fine_taps(model))
            pictures += overlay_sections(explained, run.overlays, recipe.output.overlays)
        results["pictures"] = stored(pictures, run.path)
        run.publish(results)
        if recipe.export_end_to_end and not agrees:
            raise ValueError(end_to_end_line(results))


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    networks = recipe.networks
    check_options(recipe, size=(32, None), frame_size=(32, None), frame_epochs=(1, None), clips=(10, None))
    numbers, seeds = split_numbers(recipe), whole_numbers("--seeds", recipe.seeds)
    backbones = words(networks.backbones)
    if len(set(backbones)) < max(2, len(backbones)):
        raise ValueError(f"--backbones must be two or more different networks. Received: {networks.backbones!r}")
    for option, chosen, other in (("split", numbers, "test"), ("seed", seeds, "validation")):
        if untrained(networks) and len(chosen) > 1:
            raise ValueError(
                f"--weights none trains networks on training clips of one {option}, which are {other} clips of "
                f"another. Received: --{option}s {','.join(map(str, chosen))}"
            )


def split_numbers(recipe: Recipe) -> list[int]:
    """The numbers of the splits to average over."""
    all_of_them = "1,2,3" if recipe.data.dataset in PAPER_TABLE_1 or recipe.data.lists else "1"
    return whole_numbers("--splits", recipe.splits or all_of_them, 1)


def given_weights(networks: Networks) -> dict[str, str]:
    """Backbone -> imagenet, none or a file, as --weights says.

    Raises:
        ValueError: a network that is not named, named twice, or not among the backbones.
    """
    names = words(networks.backbones)
    given = by_name("--weights", networks.weights, names, ("imagenet", "none"))
    unnamed = [name for name in names if name not in given]
    if unnamed:
        raise ValueError(
            f"--weights names no weights for {' and '.join(unnamed)}; "
            f"{','.join(f'{name}=imagenet' for name in unnamed)} would be one choice. Received: {networks.weights!r}"
        )
    return {name: given[name] for name in names}


def untrained(networks: Networks) -> list[str]:
    """The frozen networks without weights, which are first trained on single frames."""
    return [] if networks.finetune else [name for name, source in given_weights(networks).items() if source == "none"]


def found_weights(networks: Networks) -> dict[str, str | Path | None]:
    """Backbone -> what it starts from, see `har_tf.models.fusion_gru`.

    Raises:
        WeightsUnavailable: weights are missing of one or more networks; the message names them all.
    """
    from har_tf.models.backbones import WeightsUnavailable
    from har_tf.models.zoo import named

    found, missing = {}, {}
    for name, source in given_weights(networks).items():
        if source not in ("imagenet", "none") and not Path(source).is_file():
            missing[name] = f"{name}: {source}: no such weights file"
            continue
        model = named(name, source, networks.weights_dir, networks.finetune)
        found[name] = model.weights
        if model.missing:
            missing[name] = model.missing
    if missing:
        raise WeightsUnavailable(
            f"Weights are missing of {' and '.join(missing)}. {'. '.join(missing.values())}. Put the files into a "
            "folder and give it as --weights-dir, give each as --weights NAME=FILE, or leave the network out of "
            f"--backbones. Received: --backbones {networks.backbones}"
        )
    return found


def table_rows(networks: Networks, num_frames: int) -> list:
    """The rows of Table II, each single network and the fusion of all; `har_tf.models.zoo.FusedModel`s.

    Every backbone is built once, so that a file that does not fit shows before any work; so is what stands on them.

    Raises:
        ValueError: an unknown network, weights of another network, or arguments that no model can have.
        WeightsUnavailable: see `found_weights`.
    """
    from har_tf.models import backbones
    from har_tf.models.fusion_gru import frame_encoder
    from har_tf.models.zoo import FusedModel

    for name in words(networks.backbones):
        backbones.find(name)
    found = found_weights(networks)
    for name, weights in found.items():
        frame_encoder(name, networks.size, weights, frame_size=networks.frame_size)
    head = {name: getattr(networks, name) for name in ("fusion", "gru_units", "bidirectional", "dropout")}
    channels = {name: (num_frames, backbones.feature_size(name, weights)) for name, weights in found.items()}
    rows = []
    for row, names in [*((name, [name]) for name in found), (FUSION, list(found))]:
        weights = {name: found[name] for name in names}
        rows.append(FusedModel(row, weights, networks.frame_size, networks.finetune, head))
        rows[-1].build({name: channels[name] for name in names}, 2)
    return rows


def trial_name(row: str, split: int, seed: int) -> str:
    """Name of the folder of a trial."""
    return f"split{split}_seed{seed}_{row}"


def measured(outcome, test, validation_clips: int) -> dict:
    """One trial as `results.json` has it, and what it answered under "answers"."""
    found = outcome.as_dict()
    names = ("accuracy", "precision", "recall", "f1", "top5", "best_epoch", "seconds", "parameters", "history")
    return {name: found[name] for name in names} | {
        "test_clips": outcome.report.clips,
        "validation_clips": validation_clips,
        # A segment may be there once for each of its classes.
        "answers": {
            f"{record.name(test.root)} {record.label}": (record.label, int(answer))
            for record, answer in zip(test.records, outcome.probabilities.argmax(axis=1), strict=True)
        },
    }


def as_result(row, trials: list[dict], diverged: str | None, results: Mapping) -> dict:
    """A row of Table II as `results.json` has it: means over splits of means over seeds, and what they are made of."""
    from har_tf.evaluate.repeats import confusion, spread

    about = {"status": "run", "reason": None, "starts_from": row.start, "backbones": list(row.weights), "paper": None}
    if diverged:
        return about | {"status": "diverged", "reason": diverged}
    if results["dataset"]["as_in_paper"]:
        paper = PAPER_TABLE_2[results["dataset"]["name"]]
        # The paper fuses its two networks, not others.
        about["paper"] = paper.get(row.name) if paper.keys() >= row.weights.keys() else None
    accuracy = spread(trials, "accuracy", trials[0]["test_clips"])
    return about | {
        "accuracy": accuracy.mean,
        "accuracy_interval": accuracy.interval,
        "deviation_over_splits": accuracy.over_splits,
        "deviation_over_seeds": accuracy.over_seeds,
        "parameters": trials[0]["parameters"],
        "training_seconds": sum(trial["seconds"] for trial in trials) / len(trials),
        "extraction_seconds": sum(results["features"][name]["seconds"] for name in row.weights if not row.finetune),
        "trials": [{k: v for k, v in trial.items() if k != "answers"} for trial in trials],
        "confusion": confusion(trials, len(results["dataset"]["classes"])),
    }


def comparison(accuracies: Mapping[str, float], trials: Mapping) -> dict | None:
    """The fusion against the better single network."""
    from har_tf.evaluate.repeats import compare

    single = [name for name in accuracies if name != FUSION]
    if FUSION not in accuracies or not single:
        return None
    other = max(single, key=accuracies.get)
    return compare(FUSION, other, trials[FUSION], trials[other], "accuracy").as_dict()


def whole_model(row, head, test, probabilities) -> tuple:
    """The model from raw frames to classes, and how far its answers are from those on the stored features.

    None in place of a model whose answers are others, as half precision may make them: training, which took hours, was
    on the stored features, and its results stand.
    """
    import numpy as np

    from har_tf.models.fusion_gru import end_to_end

    if row.finetune:
        return head, None
    model = end_to_end(head, (test.num_frames, *test.size, 3), row.weights, frame_sizes=row.frame_sizes)
    clips = min(len(test), 8)
    answers = model.predict(test.read(range(clips)), batch_size=1, verbose=0)
    difference = float(np.abs(answers - probabilities[:clips]).max())
    about = {
        "clips": clips, "largest_difference": difference, "tolerance": END_TO_END_TOLERANCE,
        "parameters": model.count_params(),
    }  # fmt: skip
    return model if difference <= END_TO_END_TOLERANCE else None, about


def described(dataset, protocol: str, numbers: list[int], skipped: int, notes: list[str]) -> dict:
    """The data as `results.json` has them."""
    complete = (len(dataset) - skipped, len(dataset.class_names)) == PAPER_TABLE_1.get(dataset.name)
    return {
        "name": dataset.name, "classes": list(dataset.class_names), "clips": len(dataset) - skipped,
        "skipped": skipped, "as_in_paper": complete and protocol == "official" and sorted(numbers) == [1, 2, 3],
        "notes": notes,
    }  # fmt: skip


if __name__ == "__main__":
    run_cli(main, PRESETS)
