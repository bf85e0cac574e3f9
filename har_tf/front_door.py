"""The front door: `har.load` and `har.train`, from videos to a classifier and its report in two calls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from har_tf import datasets, experiment
from har_tf.classifier import Classifier
from har_tf.datasets import ActionDataset
from har_tf.experiment import Augmentation, Devices, Split, Training
from har_tf.models.zoo import named
from har_tf.report.page import stored
from har_tf.report.pages.explained import ClipPredictions, sections
from har_tf.report.run_folder import RunFolder, check_writable
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
        }  # fmt: skip
        run.publish(results)
    return Trained(classifier, results, split[2], run.path)
