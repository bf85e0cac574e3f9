"""The front door: `har.load`, `har.train` and `har.trust`: from videos to a classifier, its report and its test."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from har_tf import __version__, datasets, experiment, scrutiny
from har_tf.classifier import Classifier
from har_tf.datasets import ActionDataset
from har_tf.evaluate import labelled_clips
from har_tf.evaluate.options import Trust
from har_tf.evaluate.part import digest_of_model
from har_tf.experiment import Augmentation, Devices, Split, Training
from har_tf.files.whole import whole_file
from har_tf.models.zoo import named
from har_tf.names import file_name, say
from har_tf.report.page import stored
from har_tf.report.pages.explained import ClipPredictions, sections
from har_tf.report.run_folder import RunFolder, check_writable, fingerprint
from har_tf.store.checksums import sealed, unsealed
from har_tf.store.prepare import prepare
from har_tf.trial import Parts


@dataclass(frozen=True, eq=False)
class Trained:
    """What `train` leaves.

    Args:
        classifier: the trained model, which knows its classes and how its clips are taken.
        results: what `results.json` holds.
        test: the clips that were not trained on.
        path: the folder of the run: report.html, model.keras, results.json, tables, figures, overlays.
    """

    classifier: Classifier
    results: dict
    test: ActionDataset
    path: Path


def load(name_or_dir: str | Path, *arguments, **options) -> ActionDataset:
    """Loads a data set and prints what a reader should know about it; see `har_tf.datasets.load`."""
    dataset = datasets.load(name_or_dir, *arguments, **options)
    experiment.announce(dataset)
    return dataset


def train(
    model: str,
    data: ActionDataset | str | Path,
    out: str | Path = "runs/train",
    *,
    protocol: str | None = None,
    num_frames: int = 10,
    size: tuple[int, int] = (128, 192),
    short: str = "repeat_last",
    fit: str = "stretch",
    options: Mapping | None = None,
    weights: str = "imagenet",
    weights_dir: str | Path | None = None,
    finetune: bool = False,
    recipe: Training | None = None,
    devices: Devices | None = None,
    augmentation: Augmentation | None = None,
    overlays: int = 2,
    trusted: int = 8,
    workers: int | None = None,
    seed: int = 0,
) -> Trained:
    """Splits the videos so that clips of one recording stay together, trains a model, and writes a report.

    The split is audited: clips that were cut from the same recording, files of the same content and clips that look the
    same on both sides are counted in the report. A call that was interrupted goes on when it is made again.

    Args:
        model: a name of `har_tf.models.zoo`, such as "CNN-GRU", "Frame-CNN", "MobileNetV2", "CNN-GRU/MobileNetV2" or
            "I3D"; the published network of the last three stays as it is and is computed once a clip, unless
            `finetune` or `augmentation` asks for more.
        data: a data set of `har.load`, or what it takes.
        out: the folder of the run; prepared clips go to `prepared` beside it.
        protocol: "official", "group" or "random"; None: the first of these that the data allow for.
        num_frames, size, short, fit: how clips are taken, as in `read_clip`.
        options: of the model's builder, such as {"dropout": 0.3}.
        weights: what a published network starts from: "imagenet" (downloaded by Keras), "none", or a published file.
        weights_dir: folder of published files, in place of downloads.
        finetune: train the published network too.
        recipe: how to train; None: as `Training()`.
        devices: what computes, also after this call; None: as `Devices()`.
        augmentation: random changes to the training clips; None: none.
        overlays: overlay videos of correct clips, and as many of misclassified ones.
        trusted: test clips on which the maps that the report shows are tested, at least 2; 0: none.
        workers: processes that decode; None: one a core.
        seed: of the split, the starting weights, the order and the augmentation.

    Returns:
        A `Trained`; its `classifier` predicts and explains.

    Raises:
        DatasetError: the data cannot be split so, or no video can be read.
        ValueError: an unknown model or protocol, an argument out of its range, or `out` holds another run.
        FileNotFoundError: weights that are not there.
        FloatingPointError: the loss is no longer a number.

    Example:
        >>> result = har.train("CNN-GRU/MobileNetV2", "my_videos", out="runs/a")
        >>> result.classifier.predict("clip.mp4").top(1)
    """
    recipe, out, options = recipe or Training(), Path(out), dict(options or {})
    devices, augment = devices or Devices(), (augmentation or Augmentation()).augment()
    devices.begin()
    trainer = replace(recipe.trainer(augment), calibrate=True)
    check_writable(out)
    dataset = data if isinstance(data, ActionDataset) else datasets.load(data)
    protocol = protocol or experiment.strictest_protocol(dataset)
    Split.of(dataset, protocol, seed, recipe.validation, [seed])
    chosen = named(model, weights, None if weights_dir is None else Path(weights_dir), finetune)
    if chosen.missing:
        raise FileNotFoundError(chosen.missing)
    chosen.build((num_frames, *size, 3), len(dataset.class_names), **options)  # what does not fit shows now

    asked = {"model": model, "data": str(dataset.root), "protocol": protocol, "seed": seed, "num_frames": num_frames,
             "size": size, "short": short, "fit": fit, "options": options, "weights": weights, "finetune": finetune,
             **asdict(recipe), **asdict(devices), "augmentation": augment and asdict(augment)}  # fmt: skip
    with RunFolder(out, "train").begun(asked) as run:
        experiment.announce(dataset)
        prepared = prepare(dataset, out.parent / "prepared", num_frames, size, short=short, fit=fit, workers=workers)
        run.keep(prepared.path / "skipped.csv")
        dataset = experiment.readable(dataset, prepared.skipped, "video")
        split = Split.of(dataset, protocol, seed, recipe.validation, [seed])
        measured = split.measured(found=experiment.audited(dataset, run, workers))
        split = split.parts(seed)
        parts = Parts.of(prepared, *split)
        outcome = trainer.train(chosen, parts, run.training, seed, **options)
        classifier = Classifier.load(run.keep(run.training / "model.keras"))
        run.keep(run.training / "history.csv")
        answered = ClipPredictions(outcome.model, outcome.test, outcome.calibrated)
        results = {
            "dataset": {"name": dataset.name, "classes": list(dataset.class_names), "clips": len(dataset),
                        "skipped": len(prepared.skipped), "notes": list(dataset.notes)},
            "protocol": protocol,
            "clips": dict(zip(("training", "validation", "test"), map(len, split), strict=True)),
            **{name: measured[name] for name in ("overlap", "overlap_text", "validation_text", "most_frequent_class")},
            "model": {"name": model, "starts_from": chosen.start, **outcome.as_dict()},
            "pictures": stored(sections(answered, run.figures, run.overlays, 1, overlays), run.path),
            "tested_maps": answered.tested(trusted, seed),
        }  # fmt: skip
        run.publish(results)
    return Trained(classifier, results, split[2], run.path)


@dataclass(frozen=True, eq=False)
class Trusted:
    """What `trust` leaves.

    Args:
        results: what `results.json` holds; "models" has what was found of each.
        path: the folder of the run: report.html, results.json, tables, figures, and models with their calibration.
    """

    results: dict
    path: Path


def trust(
    models: Classifier | str | Path | Mapping[str, Classifier],
    data: ActionDataset | str | Path,
    out: str | Path = "runs/trust",
    *,
    protocol: str | None = None,
    options: Trust | None = None,
    called: Mapping[str, str] | None = None,
    validation: float = 0.2,
    workers: int | None = None,
    seed: int = 0,
) -> Trusted:
    """Tests whether classifiers and their explanations deserve trust, and writes a report.

    What is finished of a model is kept: a call that was interrupted goes on when it is made again.

    Args:
        models: a classifier, a file of one, or several by name.
        data: videos with labels: a data set of `har.load`, or what it takes.
        out: the folder of the run.
        protocol: "official", "group" or "random": the test part of this split is measured, and probabilities are
            calibrated on validation clips out of its training part; models with their temperature are kept in `out`.
            Whether a classifier was trained on clips of either part cannot be told of it: name the split that it was
            trained with, or clips that it never saw. None: all videos are test clips, and nothing is calibrated.
        options: what is measured, and on how many clips; None: as `Trust()`.
        called: class of the data -> what the model calls it, where the names differ.
        validation: share of the training part that is held out, where the data came without a validation part.
        workers: processes that decode; None: one a core.
        seed: of the split and of all that is drawn.

    Raises:
        DatasetError: the data cannot be split so, or no video can be read.
        ValueError: no class of the data is one of a model, a model of images, an unknown method, or an argument out of
            its range.
        FileNotFoundError: there is no such file.

    Example:
        >>> har.trust("runs/a/model.keras", "my_videos", protocol="group").results["models"]["model"]["accuracy"]
    """
    options, out = options or Trust(), Path(out)
    options.check()
    check_writable(out)
    if not isinstance(models, Mapping):
        name = "model" if isinstance(models, Classifier) else Path(models).stem
        models = {name: models if isinstance(models, Classifier) else Classifier.load(models)}
    dataset = data if isinstance(data, ActionDataset) else datasets.load(data)
    split = None if protocol is None else Split.of(dataset, protocol, seed, validation, [seed])
    held, test = (dataset.subset([]), dataset) if split is None else split.parts(seed)[1:]
    outputs_in(models, test, called)
    asked = {"models": list(models), "data": str(dataset.root), "protocol": protocol, "seed": seed, **asdict(options)}
    with RunFolder(out, "trust").begun(asked) as run:
        experiment.announce(dataset)
        shared = split and split.measured(validation=calibrated_by(split))
        found, skipped = measured(run, models, held, test, options, called, workers, seed)
        found = {"dataset": described(dataset, skipped), "split": shared, **found}
        run.publish(found)
    return Trusted(found, run.path)


def measured(
    run: RunFolder,
    models: Mapping[str, Classifier],
    validation: ActionDataset,
    test: ActionDataset,
    options: Trust,
    called: Mapping[str, str] | None = None,
    workers: int | None = None,
    seed: int = 0,
    random_labels: Mapping[str, Classifier] | None = None,
    trained_here: bool = False,
    skipped: Mapping[Path, str] | None = None,
) -> tuple[dict, dict[Path, str]]:
    """What `har_tf.scrutiny` finds of several classifiers.

    Args:
        run: receives figures, models with their calibration, and skipped.csv.
        models: name -> classifier.
        validation: clips that no model was trained on, and that are no test clips; may be empty.
        test: the test clips.
        options, called, workers, seed: as in `trust`.
        random_labels: name -> the same network, trained on labels dealt out anew, to compare explanations with.
        trained_here: whether this run trained them, so that it is known on what.
        skipped: video -> why it could not be read, of those that were left out before.

    Returns:
        "models" and "pictures" of `results.json`, and the videos that could not be read, with those of before.

    Raises:
        ValueError: as in `trust`, before any of them is measured.
    """
    found, shown, skipped = {}, [], dict(skipped or {})
    left_out = {
        name: sum(outputs[record.label] < 0 for record in test.records)
        for name, outputs in outputs_in(models, test, called).items()
    }
    (run.path / "models").mkdir(exist_ok=True)
    parts = [
        [[r.name(part.root), r.label, r.group, r.content(), r.boxes is not None, bool(r.tubes)] for r in part.records]
        for part in (test, validation)
    ]
    for name, classifier in models.items():
        say("", f"{name}: measuring on {len(test) - left_out[name]} test clips")
        other, file = (random_labels or {}).get(name), run.training / f"trust_{file_name(name)}.json"
        asked = [
            __version__, digest_of_model(classifier.model), other and digest_of_model(other.model), parts, called, seed,
            classifier.class_names, classifier.reading, asdict(options),
        ]  # fmt: skip
        asked = fingerprint(asked)
        one = _finished(run.path, file, asked)
        if one is None:
            one = _measured(run, name, classifier, (test, validation), options, called, workers, seed, other)
            with whole_file(file) as temporary:
                temporary.write_bytes(sealed({**one, "asked": asked}))
        else:
            say(f"{name}: already measured, reused")
        found[name] = one["results"] | {"trained_here": trained_here, "left_out": left_out[name]}
        if not trained_here:
            found[name]["may_have_trained_on_these"] = True
        shown += one["pictures"]
        skipped |= {Path(video): reason for video, reason in one["skipped"].items()}
    run.write_skipped(skipped)
    return {"models": found, "pictures": shown}, skipped


def _measured(run: RunFolder, name: str, classifier: Classifier, parts, options, called, workers, seed, other) -> dict:
    """What a run keeps of one model: its results, its pictures, its model where it is calibrated, unreadable videos."""
    from har_tf.report.pages.trust import pictures

    reading = classifier.reading
    clips, held = (labelled_clips.read_known(part, classifier.class_names, reading, workers, called) for part in parts)
    skipped = {**clips.skipped, **(held.skipped if held else {})}
    seen = scrutiny.measure(classifier.model, clips, held, options, reading, seed, workers)
    results, kept = seen.results | {"clip": reading}, None
    if seen.calibration is not None:
        about = (classifier.model, classifier.class_names, classifier.clip, classifier.provenance)
        kept = Classifier(*about, calibration=seen.calibration).save(run.path / "models" / f"{file_name(name)}.keras")
    if other is not None and "explanations" in results:
        results["random_labels"] = scrutiny.beside_random_labels(classifier.model, other.model, clips, options)
    return {
        "results": results, "pictures": stored(pictures(name, seen, classifier.class_names, run.figures), run.path),
        "skipped": {str(video): reason for video, reason in skipped.items()},
        "model": kept and kept.relative_to(run.path).as_posix(),
    }  # fmt: skip


def _finished(run: Path, file: Path, asked: str) -> dict | None:
    """What a run that was stopped has kept of a model, if it is whole and was asked for in the same way."""
    with suppress(OSError, ValueError):
        kept = unsealed(file.read_bytes())
        files = [kept["model"], *(figure["path"] for section in kept["pictures"] for figure in section["figures"])]
        if kept["asked"] == asked and all((run / path).is_file() for path in files if path):
            return kept
    return None


def outputs_in(
    models: Mapping[str, Classifier], test: ActionDataset, called: Mapping[str, str] | None
) -> dict[str, Sequence[int]]:
    """Name -> of each class of the data its output of that model, -1 for none: what can be wrong shows now.

    Raises:
        ValueError: as in `Classifier.outputs_in`; the message says of which model.
    """
    found = {}
    for name, classifier in models.items():
        try:
            found[name] = classifier.outputs_in(test, called)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def calibrated_by(split: Split) -> str:
    """What validation clips are for where nothing is trained, in words."""
    return f"probabilities calibrated on {split.held_out}" if split.validation else "probabilities not calibrated"


def described(dataset: ActionDataset, skipped: Mapping[Path, str]) -> dict:
    """The data as `results.json` of a test of trust has them."""
    return {
        "name": dataset.name, "classes": list(dataset.class_names), "clips": len(dataset), "skipped": len(skipped),
        "notes": list(dataset.notes),
    }  # fmt: skip
