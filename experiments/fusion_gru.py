"""Fusion-GRU: two ImageNet networks' frame features into two wide GRU layers; Tables I to III and Figures 8 to 19.

    python -m experiments.fusion_gru                                      # embedded data set
    python -m experiments.fusion_gru --dataset ucf101,hmdb51 --data-dir UCF-101,HMDB51 --weights-dir W     # the paper
    python -m experiments.fusion_gru --dataset hmdb51 --data-dir HMDB51 --weights-dir W
    python -m experiments.fusion_gru --dataset VIDEOS --lists LISTS --splits 1 --seeds 0,1,2,3,4   # part of UCF101

Several data sets, published ones or folders, are measured one after the other, with splits, features and networks of
their own, and stand side by side in Tables II and III; of one of the paper's that is not there, or was not asked for,
the columns say "not run".

The rows of Table II are each network alone and the fusion, with the same GRU layers. The networks are frozen, so their
features are computed once and stored; every row, split and seed trains on them. `--finetune` trains the networks too,
from frames.

`PAPER` has what the paper says of every setting, and what it leaves open; the report lists what a run takes otherwise.
The paper says neither which optimiser it took (Adam here), nor which clips the curves of its Figures 8 to 11
are of, which it calls validation videos, and which may be its test videos. Here the epoch is chosen on a tenth of the
training clips, whole groups of them, never on test clips; the curves show these. Its times are minutes of training and
extraction together on a GPU, ours are told apart. Its conclusion speaks of a bidirectional network: `--bidirectional`.

With several `--seeds` (starting weights, order, choice of validation clips) the fusion is compared with the better
single network by paired tests, and the report says in words whether it is better.

The embedded data set needs no ImageNet weights: two small networks are first trained to name the action from single
frames, as the paper's were trained on photographs, and are then frozen. They see no order; the GRU layers do. This
shows the whole path in minutes, not the paper's result. `--weights none` does the same on other data.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from har_tf.command import whole_numbers, words
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
    paper_settings,
    readable,
    run_cli,
    strictest_protocol,
)
from har_tf.files.json_text import parse_json
from har_tf.names import say
from har_tf.paper import Says, Silent
from har_tf.report.page import stored
from har_tf.report.run_folder import RunFolder

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


# what the paper says of every setting; `paper_of` adds what it says of a data set
PAPER = {
    "protocol": Says("official", "section IV.A"),
    "splits": Says("1,2,3", "section IV.A"),
    "backbones": Says("GoogLeNet,InceptionResNetV2", "section III"),
    "weights": Says("ImageNet", "section III.B, trained on photographs"),
    "finetune": Says(False, "section III, activations"),
    "fusion": Says("concatenate", "section III, both into one GRU network", {"sum": "likewise"}),
    "gru_units": Says((1000, 1000), "section III.C"),
    "bidirectional": Says(False, "section III", {True: "section V"}),
    "size": Says(299, "section III, the centre"),
    "frame_size": Says(None, "section III, 299 and 224"),
    "frame_epochs": None,  # of networks without weights
    "epochs": Says(30, "section IV.A"),
    "learning_rate": Says(0.001, "section IV.A"),
    "num_frames": Silent("frames of a clip"),
    "short": Silent("what shorter clips need"),
    "batch_size": Silent("what fits a free GPU"),
    "validation": Silent("whether its validation videos are test videos"),
    "schedule": Silent("none is named"),
    "warmup_epochs": Silent("none is named"),
    "label_smoothing": Silent("none is named"),
    "weight_decay": Silent("none is named"),
    "clipnorm": Silent("none is named"),
    "dropout": Silent("none is named"),
    "store": Silent("numbers of stored features"),
    "seeds": Silent("how often it was trained"),
    "export_end_to_end": None,
}
NOT_ASKED = "not asked for (--dataset ucf101,hmdb51 --data-dir UCF-101,HMDB51)"
NOT_YET = "not measured yet"


@dataclass(frozen=True)
class SeveralData(Data):
    """Which videos, of one data set or of several, separated by commas."""

    dataset: str | None = None
    """The data set: figures (the embedded one), the name of a published one, tfds:NAME (TensorFlow Datasets), or a
    folder of class folders of videos; or several, such as ucf101,hmdb51. None: the folders --data-dir."""
    data_dir: str | None = None
    """Folder where a published data set lies, or a folder of class folders of videos, or tfds:NAME. Of several data
    sets one for each published one, in their order."""
    lists: Path | None = None
    """Folder of official split lists and annotations, where they do not lie beside the videos; one for all data sets,
    or one for each."""

    @property
    def each(self) -> list[Data]:
        """The data sets, one by one.

        Raises:
            ValueError: other numbers of names, folders and lists, or what only a single data set may be or have.
        """
        from har_tf.datasets import PUBLISHED

        names, roots, lists = (_several(text) for text in (self.dataset, self.data_dir, self.lists))
        names = names or [None] * len(roots)
        if len(names) < 2:
            return [self]
        if "figures" in names or self.classes is not None:
            raise ValueError(
                "Several data sets are published ones or folders, with all their classes. "
                f"Received: --dataset {self.dataset}, --classes {self.classes}"
            )
        lying = [name for name in names if name is None or name in PUBLISHED]
        if len(lying) != len(roots) or len(lists) not in (0, 1, len(names)):
            raise ValueError(
                "--data-dir is one folder for each published data set, --lists one for all data sets or one for each. "
                f"Received: --dataset {self.dataset}, --data-dir {self.data_dir}, --lists {self.lists}"
            )
        of_name, lists = iter(roots), lists * len(names) if len(lists) == 1 else lists or [None] * len(names)
        return [
            replace(self, dataset=name, data_dir=next(of_name) if name in (None, *PUBLISHED) else None,
                    lists=given and Path(given))
            for name, given in zip(names, lists, strict=True)
        ]  # fmt: skip


def _several(given: str | Path | None) -> list[str]:
    """The parts of an option that are separated by commas; a folder may have one in its name."""
    if given is None:
        return []
    return [str(given)] if Path(given).expanduser().exists() else words(str(given))


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: SeveralData = SeveralData()
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
        SeveralData("figures"),
        networks=Networks("MobileNet,MobileNetV2", "none", gru_units=(64, 64), size=96, frame_size=64),
    ),
    "paper": Recipe(),
}


def main(recipe: Recipe) -> None:
    check(recipe)
    seeds = whole_numbers("--seeds", recipe.seeds)
    recipes, missing = present(recipe)
    listed = [{number: one.data.listed(number) for number in split_numbers(one)} for one in recipes]
    splits = [] if recipe.data.embedded else [split_up(recipe, loaded, seeds) for loaded in listed]
    begin(recipe, under_jax=True)

    # What can be wrong is found out here, before anything is drawn, decoded, computed or trained.
    recipe = replace(recipe, networks=recipe.networks.sized())
    trainer, found = recipe.training.trainer(), recipe.networks.found()
    recipe.networks.rows(found, recipe.num_frames)
    if recipe.data.embedded:
        drawn = recipe.embedded.draw(recipe.output, recipe.data.class_names, size=(128, 128))
        listed = [dict.fromkeys(listed[0], drawn)]
        splits = [split_up(recipe, listed[0], seeds)]
    names = [next(iter(loaded.values())).name for loaded in listed]
    if len(set(names)) < len(names):
        raise ValueError(f"Several data sets have names of their own. Received: {', '.join(names)}")
    if set(names) <= PAPER_TABLE_1.keys():
        missing = {name: NOT_ASKED for name in PAPER_TABLE_1 if name not in names} | missing
    for name, reason in missing.items():
        say(f"not run: {name}: {reason}")

    prefix = f"{'+'.join(names)}-{next(iter(splits[0].values())).protocol}{'+'.join(map(str, splits[0]))}"
    first, *others = (next(iter(loaded.values())) for loaded in listed)
    with open_run(EXPERIMENT, recipe, prefix, first, notes=notes_of(listed[0]), others=others) as run:
        finished, parts = is_finished(run.path / "results.json"), {}

        def keep(name: str, part: dict) -> dict:
            """What is known by now; on the disk, where there is nothing yet, whatever becomes of what follows."""
            parts[name] = part
            first, *others = parts
            waiting = {other: NOT_YET for other in names if other not in parts}
            results = {
                **parts[first], "others": {other: parts[other] for other in others}, "missing": waiting | missing,
                "paper": {"table_1": PAPER_TABLE_1, "table_2": PAPER_TABLE_2, "table_3": PAPER_TABLE_3},
                "settings": paper_settings(recipe, PAPER | paper_of(parts), **facts_of(recipe, parts)),
            }  # fmt: skip
            if not finished:
                run.write_json("results.json", {"experiment": EXPERIMENT, **results})
            return results

        for name, loaded, split in zip(names, listed, splits, strict=True):
            place = run
            if len(names) > 1:  # each has a folder of its own
                say("", f"data set {name}")
                place = RunFolder(run.path / f"of_{name}", EXPERIMENT)
            results = keep(name, measured(recipe, trainer, dict(found), loaded, split, run, place, keep))
        run.publish(results)
        if recipe.export_end_to_end and (failed := [line for part in parts.values() if (line := not_exported(part))]):
            raise ValueError("; ".join(failed))


def measured(recipe: Recipe, trainer, found: dict, loaded: dict, splits: dict, run, place, keep: Callable) -> dict:
    """What is measured of one data set, as `results.json` has it.

    Args:
        recipe: of the run.
        trainer: of all rows.
        found: backbone -> what it starts from.
        loaded: number of a split -> the data set.
        splits: number -> the `Split`.
        run: the folder of the run.
        place: where what belongs to this data set lies, the same or a folder in it.
        keep: takes name and results, when all is measured and only pictures are lacking.
    """
    import numpy as np

    from har_tf.evaluate import fusion_rows
    from har_tf.models.fusion_gru import fine_taps
    from har_tf.models.saving import save_model
    from har_tf.report.pages.explained import ClipPredictions, class_strips, overlay_sections
    from har_tf.report.pages.fusion_gru import NUMBERED, end_to_end_line
    from har_tf.store import features
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts, run_rows, train_on_frames

    networks, seeds, numbers = recipe.networks, whole_numbers("--seeds", recipe.seeds), list(splits)
    dataset, protocol = loaded[numbers[0]], splits[numbers[0]].protocol
    prepared = prepare(
        dataset, recipe.output.cache, recipe.num_frames, (networks.size, networks.size), short=recipe.short,
        workers=recipe.output.workers, beam=recipe.output.pipeline, fit="crop",
    )  # fmt: skip
    place.keep(prepared.path / "skipped.csv")
    splits = {number: split.readable(prepared.skipped) for number, split in splits.items()}
    left = readable(dataset, prepared.skipped, "video")
    manifest = None if recipe.data.embedded else audited(left, place, recipe.output.workers)
    results = {
        "dataset": described(dataset, protocol, numbers, len(prepared.skipped), notes_of(loaded)),
        "protocol": protocol, "seeds": seeds, "epochs": recipe.training.epochs,
        "validation": splits[numbers[0]].validation, "trained_on_frames": networks.untrained, "features": {},
        "splits": {str(number): split.measured(found=manifest) for number, split in splits.items()}, "pictures": [],
    }  # fmt: skip

    # Section III: the networks are frozen, so each frame's features are computed once.
    for name in networks.untrained:
        say("", f"{name}, on single frames")
        parts = Parts.of(prepared, *splits[numbers[0]].parts(seeds[0]))
        folder = place.training / f"frames_{name}"
        found[name] = train_on_frames(name, parts, networks.frame_epochs, folder, networks.frame_size)
    rows, stores = networks.rows(found, recipe.num_frames), {}
    for name, weights in {} if networks.finetune else found.items():
        stores[name] = store = features.extract(
            prepared,
            name,
            weights,
            recipe.output.cache / "features",
            recipe.store,
            frame_size=networks.frame_size,
            beam=recipe.output.pipeline,
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
        outcome = trainer.train(row, parts, place.training / f"split{number}_seed{seed}_{row.name}", seed)
        if seed == seeds[0]:
            first.setdefault(row.name, outcome)
            probabilities[row.name].append(outcome.probabilities)
        return fusion_rows.trial_of(outcome, test, len(validation))

    trials, states = run_rows(rows, numbers, seeds, trial)
    results["networks"] = {
        row.name: fusion_rows.as_result(
            row, states[row.name], trials[row.name], results["features"], len(dataset.class_names)
        )
        for row in rows
    }
    accuracies = {name: row["accuracy"] for name, row in results["networks"].items() if row["status"] == "run"}
    if not accuracies:
        raise ValueError("None of the networks could be trained; the reasons are above")
    results["comparison"] = fusion_rows.comparison(accuracies, trials)
    results["shown"] = shown = FUSION if FUSION in accuracies else max(accuracies, key=accuracies.get)
    place.keep(first[shown].folder / "history.csv")
    keep(dataset.name, results)

    # From frames to classes, and Figures 18 and 19.
    model, test = None, prepared.subset(splits[numbers[0]].test)
    if recipe.export_end_to_end or recipe.output.overlays:
        row = next(row for row in rows if row.name == shown)
        answers = probabilities[shown][0]
        model, results["end_to_end"] = fusion_rows.whole_model(row, first[shown].model, test, answers)
    if results.get("end_to_end"):
        say("", f"end to end: {end_to_end_line(results)}")
    if recipe.export_end_to_end and model is not None:
        save_model(model, place.path / "model.keras", prepared.class_names, prepared.clip)
    elif recipe.export_end_to_end:
        (place.path / "model.keras").unlink(missing_ok=True)  # of a run before
    of_all = prepared.subset([record for split in splits.values() for record in split.test.records])
    answered = ClipPredictions(None, of_all, np.concatenate(probabilities[shown]))
    pictures = class_strips(answered, place.figures, 18, numbered=dataset.name in NUMBERED)
    if model is not None:  # it knows the test clips of other splits, so the overlays are of the first alone
        explained = ClipPredictions(model, test, probabilities[shown][0], fine_taps(model))
        pictures += overlay_sections(explained, place.overlays, recipe.output.overlays)
    if model is not None and recipe.output.overlays:
        results["tested_maps"] = explained.tested(recipe.output.trusted)
    return results | {"pictures": stored(pictures, run.path)}


def check(recipe: Recipe) -> None:
    """Raises ValueError for options that are out of their range or do not go together."""
    check_options(recipe, size=(32, 4096), frame_size=(32, 4096), frame_epochs=(1, None), clips=(10, None))
    numbers = max((split_numbers(replace(recipe, data=data)) for data in recipe.data.each), key=len)
    recipe.networks.check({"split": numbers, "seed": whole_numbers("--seeds", recipe.seeds)})


def present(recipe: Recipe) -> tuple[list[Recipe], dict[str, str]]:
    """The recipe for each data set that is there, and name -> why another one is not run; a single one has to be."""
    recipes, missing = [], {}
    for data in (each := recipe.data.each):
        root = data.data_dir or data.dataset
        if len(each) > 1 and not root.startswith("tfds:") and not Path(root).expanduser().is_dir():
            missing[data.dataset if data.data_dir else Path(root).name] = f"{root}: no such folder"
        else:
            recipes.append(replace(recipe, data=data))
    if not recipes:
        raise ValueError(f"None of the data sets is there: {', '.join(missing.values())}")
    return recipes, missing


def is_finished(path: Path) -> bool:
    """Whether `results.json` is there and has all data sets."""
    return path.is_file() and NOT_YET not in parse_json(path.read_bytes()).get("missing", {}).values()


def split_up(recipe: Recipe, loaded: dict, seeds: list[int]) -> dict[int, Split]:
    """Number -> the data set in the two parts of that split."""
    dataset = next(iter(loaded.values()))
    protocol = recipe.protocol or strictest_protocol(dataset)
    if protocol == "official" and len({part.official for part in loaded.values()}) < len(loaded):
        raise ValueError(f"{dataset.root}: has one official split. Received: --splits {','.join(map(str, loaded))}")
    return {n: Split.of(part, protocol, n, recipe.training.validation, seeds) for n, part in loaded.items()}


def split_numbers(recipe: Recipe) -> list[int]:
    """The numbers of the splits to average over, of a recipe for one data set."""
    all_of_them = "1,2,3" if recipe.data.dataset in PAPER_TABLE_1 or recipe.data.lists else "1"
    return whole_numbers("--splits", recipe.splits or all_of_them, 1)


def notes_of(loaded: dict) -> list[str]:
    """What a reader should know of the data, of all their splits; each note once."""
    return list(dict.fromkeys(note for part in loaded.values() for note in part.notes))


def described(dataset, protocol: str, numbers: list[int], skipped: int, notes: list[str]) -> dict:
    """The data as `results.json` has them."""
    complete = (len(dataset) - skipped, len(dataset.class_names)) == PAPER_TABLE_1.get(dataset.name)
    return {
        "name": dataset.name, "classes": list(dataset.class_names), "clips": len(dataset) - skipped,
        "skipped": skipped, "whole": complete and protocol == "official" and sorted(numbers) == [1, 2, 3],
        "notes": notes,
    }  # fmt: skip


def paper_of(parts: dict[str, dict]) -> dict:
    """What the paper says of the data sets that are measured, beside `PAPER`."""
    known = [name for name in parts if name in PAPER_TABLE_1]
    said = {"data sets": Says("ucf101,hmdb51", "section IV.A", counts=len(known) < len(parts))}
    for name in known:
        clips, classes = PAPER_TABLE_1[name]
        said |= {f"clips of {name}": Says(clips, "Table I"), f"classes of {name}": Says(classes, "Table I")}
    return said


def facts_of(recipe: Recipe, parts: dict[str, dict]) -> dict:
    """What the run takes of what the paper says, where the options alone do not tell."""
    facts = {
        "data sets": ",".join(parts),
        "protocol": ",".join(dict.fromkeys(part["protocol"] for part in parts.values())),
        "splits": ",".join(sorted({number for part in parts.values() for number in part["splits"]})),
        "weights": recipe.networks.weights if "none" in recipe.networks.sources.values() else "ImageNet",
    }
    for name, part in parts.items():
        facts |= {f"clips of {name}": part["dataset"]["clips"], f"classes of {name}": len(part["dataset"]["classes"])}
    return facts


def not_exported(part: dict) -> str | None:
    """Why there is no model.keras, where it was asked for; None: there is one."""
    from har_tf.report.pages.fusion_gru import answers_alike, end_to_end_line

    return None if answers_alike(part) else end_to_end_line(part)


if __name__ == "__main__":
    run_cli(main, PRESETS)
