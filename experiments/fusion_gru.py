"""Fusion-GRU: two ImageNet networks' frame features into two wide GRU layers; Tables I to III and Figures 8 to 19.

    python -m experiments.fusion_gru                                      # embedded data set
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

from dataclasses import dataclass, replace
from typing import Literal

from har_tf.command import whole_numbers
from har_tf.evaluate.fusion_rows import FUSION, Networks
from har_tf.experiment import (
    Data,
    Devices,
    Embedded,
    Output,
    Split,
    Training,
    audited,
    begin,
    check_options,
    open_run,
    readable,
    run_cli,
    strictest_protocol,
)
from har_tf.names import say
from har_tf.report.page import stored

EXPERIMENT = "fusion_gru"

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


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded(clips=500)
    networks: Networks = Networks()
    training: Training = Training(epochs=30)
    devices: Devices = Devices()
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
    loaded = {number: recipe.data.listed(number) for number in numbers}
    splits = {} if recipe.data.embedded else split_up(recipe, loaded, seeds)
    begin(recipe, under_jax=True)

    import numpy as np

    from har_tf.evaluate import fusion_rows
    from har_tf.models.fusion_gru import fine_taps
    from har_tf.models.saving import save_model
    from har_tf.report.pages.explained import ClipPredictions, class_strips, overlay_sections
    from har_tf.report.pages.fusion_gru import NUMBERED, end_to_end_line
    from har_tf.store import features
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, run_rows, train_on_frames

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    networks = recipe.networks.sized()
    recipe = replace(recipe, networks=networks)
    trainer, found = recipe.training.trainer(), networks.found()
    networks.rows(found, recipe.num_frames)
    if recipe.data.embedded:
        drawn = recipe.embedded.draw(recipe.output, recipe.data.class_names, size=(128, 128))
        loaded = dict.fromkeys(numbers, drawn)
        splits = split_up(recipe, loaded, seeds)
    dataset, protocol = loaded[numbers[0]], splits[numbers[0]].protocol

    prefix = f"{dataset.name}-{protocol}{'+'.join(map(str, numbers))}"
    notes = list(dict.fromkeys(note for part in loaded.values() for note in part.notes))
    with open_run(EXPERIMENT, recipe, prefix, dataset, notes=notes) as run:
        prepared = prepare(
            dataset, recipe.output.cache, recipe.num_frames, (networks.size, networks.size), short=recipe.short,
            workers=recipe.output.workers, fit="crop",
        )  # fmt: skip
        run.keep(prepared.path / "skipped.csv")
        splits = {number: split.readable(prepared.skipped) for number, split in splits.items()}
        left = readable(dataset, prepared.skipped, "video")
        manifest = None if recipe.data.embedded else audited(left, run, recipe.output.workers)
        results = {
            "dataset": described(dataset, protocol, numbers, len(prepared.skipped), notes),
            "paper": {"table_1": PAPER_TABLE_1, "table_3": PAPER_TABLE_3},
            "protocol": protocol, "seeds": seeds, "epochs": recipe.training.epochs,
            "validation": splits[numbers[0]].validation, "trained_on_frames": networks.untrained, "features": {},
            "splits": {str(number): split.measured(found=manifest) for number, split in splits.items()}, "pictures": [],
        }  # fmt: skip

        # Section III: the networks are frozen, so each frame's features are computed once.
        for name in networks.untrained:
            say("", f"{name}, on single frames")
            parts = Parts.of(prepared, *splits[numbers[0]].parts(seeds[0]))
            folder = run.training / f"frames_{name}"
            found[name] = train_on_frames(name, parts, networks.frame_epochs, folder, networks.frame_size)
        rows, stores = networks.rows(found, recipe.num_frames), {}
        for name, weights in {} if networks.finetune else found.items():
            stores[name] = store = features.extract(
                prepared, name, weights, recipe.output.cache / "features", recipe.store, frame_size=networks.frame_size
            )
            results["features"][name] = {
                "clips": len(store), "frames": store.shape[0], "channels": store.shape[1], "dtype": store.dtype,
                "weights": store.weights, "seconds": round(store.seconds, 1),
            }  # fmt: skip
            rate = len(store) * store.shape[0] / max(store.seconds, 1e-9)
            say(f"{name}: features of {len(store)} clips, computed at {rate:.0f} frames/s")

        # Table II.
        first, probabilities = {}, {row.name: [] for row in rows}  # trials of the first split and seed; of that seed

        def trial(row, number: int, seed: int) -> dict:
            train, validation, test = splits[number].parts(seed)
            source = prepared if networks.finetune else [stores[name] for name in row.weights]
            parts = Parts.of(source, train, validation, test)
            outcome = trainer.train(row, parts, run.training / f"split{number}_seed{seed}_{row.name}", seed)
            if seed == seeds[0]:
                first.setdefault(row.name, outcome)
                probabilities[row.name].append(outcome.probabilities)
            return fusion_rows.trial_of(outcome, test, len(validation))

        trials, states = run_rows(rows, numbers, seeds, trial)
        paper = PAPER_TABLE_2[dataset.name] if results["dataset"]["as_in_paper"] else {}
        results["networks"] = {
            row.name: fusion_rows.as_result(
                row, states[row.name], trials[row.name], paper, results["features"], len(dataset.class_names)
            )
            for row in rows
        }
        accuracies = {name: row["accuracy"] for name, row in results["networks"].items() if row["status"] == "run"}
        if not accuracies:
            raise ValueError("None of the networks could be trained; the reasons are above")
        results["comparison"] = fusion_rows.comparison(accuracies, trials)
        results["shown"] = shown = FUSION if FUSION in accuracies else max(accuracies, key=accuracies.get)
        run.keep(first[shown].folder / "history.csv")
        if not (run.path / "results.json").is_file():  # now, whatever becomes of the model that follows
            run.write_json("results.json", {"experiment": EXPERIMENT, **results})

        # From frames to classes, and Figures 18 and 19.
        model, test = None, prepared.subset(splits[numbers[0]].test)
        if recipe.export_end_to_end or recipe.output.overlays:
            row = next(row for row in rows if row.name == shown)
            answers = probabilities[shown][0]
            model, results["end_to_end"] = fusion_rows.whole_model(row, first[shown].model, test, answers)
        if results.get("end_to_end"):
            say("", f"end to end: {end_to_end_line(results)}")
        if recipe.export_end_to_end and model is not None:
            save_model(model, run.path / "model.keras", prepared.class_names, prepared.clip)
        elif recipe.export_end_to_end:
            (run.path / "model.keras").unlink(missing_ok=True)  # of a run before
        of_all = prepared.subset([record for split in splits.values() for record in split.test.records])
        answered = ClipPredictions(None, of_all, np.concatenate(probabilities[shown]))
        pictures = class_strips(answered, run.figures, 18, numbered=dataset.name in NUMBERED)
        if model is not None:  # it knows the test clips of other splits, so the overlays are of the first alone
            explained = ClipPredictions(model, test, probabilities[shown][0], fine_taps(model))
            pictures += overlay_sections(explained, run.overlays, recipe.output.overlays)
        results["pictures"] = stored(pictures, run.path)
        run.publish(results)
        if recipe.export_end_to_end and model is None:
            raise ValueError(end_to_end_line(results))


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    check_options(recipe, size=(32, 4096), frame_size=(32, 4096), frame_epochs=(1, None), clips=(10, None))
    recipe.networks.check({"split": split_numbers(recipe), "seed": whole_numbers("--seeds", recipe.seeds)})


def split_up(recipe: Recipe, loaded: dict, seeds: list[int]) -> dict[int, Split]:
    """Number -> the data set in the two parts of that split."""
    dataset = next(iter(loaded.values()))
    protocol = recipe.protocol or strictest_protocol(dataset)
    if protocol == "official" and len({part.official for part in loaded.values()}) < len(loaded):
        raise ValueError(f"{dataset.root}: has one official split. Received: --splits {','.join(map(str, loaded))}")
    return {n: Split.of(part, protocol, n, recipe.training.validation, seeds) for n, part in loaded.items()}


def split_numbers(recipe: Recipe) -> list[int]:
    """The numbers of the splits to average over."""
    all_of_them = "1,2,3" if recipe.data.dataset in PAPER_TABLE_1 or recipe.data.lists else "1"
    return whole_numbers("--splits", recipe.splits or all_of_them, 1)


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
