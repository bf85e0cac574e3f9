"""Which explanation deserves trust, and what do the models use? Four networks, or saved models, put to the test.

    python -m experiments.trust                                       # embedded data set, trains four small networks
    python -m experiments.trust --random-labels                       # also trains them on labels dealt out anew
    python -m experiments.trust --data-dir VIDEOS --model a.keras,b.keras
    python -m experiments.trust --data-dir UCF10 --protocol official --boxes pyannot.pkl \\
        --networks CNN-GRU/MobileNetV2,CNN-GRU/GoogLeNet --weights-dir W --size 128 192 --epochs 20

No paper stands behind this page: it asks of every model and every method of explanation what a reviewer would.

    Faithfulness     deletion and insertion along the map in space, in time and in both (Petsiuk et al. 2018), average
                     drop and increase (Chattopadhay et al. 2018), sensitivity to noise (Yeh et al. 2019)
    Controls         maps that no model made; a method counts as better only where the paired interval over recordings
                     leaves out 0
    Randomisation    whether a map changes when the network's weights are drawn anew (Adebayo et al. 2018)
    Localisation     pointing game and energy inside the true boxes, where there are any
    Reliance         accuracy without order, without motion, without the person, without the background, and under
                     fifteen corruptions at five strengths
    Probabilities    calibration, conformal sets, abstention

The embedded data set tells the truth about two of these: three pairs of its actions are each other's reverse, so that a
model which reads the order must lose them when clips are played backwards, and Frame-CNN, which averages over frames,
must lose nothing. All is measured on test clips. Half of the validation clips choose the best epoch; temperature, sets
and thresholds come from the other half. Of saved models it is not known on what they were trained.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from har_tf import networks
from har_tf.command import words
from har_tf.concepts.options import SmallSwin
from har_tf.datasets.stick_figures import ACTIONS
from har_tf.evaluate.options import SmallResNeXt, Trust
from har_tf.experiment import (
    Augmentation,
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
    run_cli,
    strictest_protocol,
)
from har_tf.files.keras_file import check_keras_file
from har_tf.names import say
from har_tf.subject import SMALL_CNN_GRU, Model

EXPERIMENT = "trust"


@dataclass(frozen=True)
class Recipe:
    """What the experiment takes."""

    data: Data = Data()
    embedded: Embedded = Embedded()
    trust: Trust = Trust()
    swin: SmallSwin = SmallSwin()
    resnext: SmallResNeXt = SmallResNeXt()
    training: Training = Training()
    devices: Devices = Devices()
    augmentation: Augmentation = Augmentation()
    output: Output = Output()

    model: str | None = None
    """Saved models (.keras) to measure, separated by commas, in place of training any."""
    called: str | None = None
    """Classes that saved models call otherwise than the data, separated by commas, as in "Surfing=surfing water,...".
    None: they are called alike."""
    networks: str = "CNN-GRU,Frame-CNN,ResNeXt3D,VideoSwin"
    """What to train, separated by commas: CNN-GRU; Frame-CNN, its twin that is blind to order; a small VideoSwin; a
    small ResNeXt3D; or an ImageNet network over frames, such as CNN-GRU/MobileNetV2."""
    epochs_of: str | None = None
    """Epochs of single networks, in place of --epochs, as in "VideoSwin=30,ResNeXt3D=5". None: --epochs for all."""
    weights_dir: Path | None = None
    """Folder with the published files of ImageNet networks. None: downloaded."""
    boxes: Path | None = None
    """UCF24's annotations (pyannot.pkl), for videos of UCF101 among --data-dir. None: the boxes that the data have."""
    random_labels: bool = False
    """Also train every network on labels that are dealt out anew among the training clips, and compare explanations:
    one that looks the same then tells of the clip, not of what was learned (Adebayo et al. 2018)."""
    protocol: Literal["official", "group", "random"] | None = None
    """How clips are split. None: the strictest that the data allow for; of saved models all videos are test clips,
    unless a protocol is named."""
    size: tuple[int, int] = (128, 192)
    """Height and width of the frames of what is trained."""
    num_frames: int = 10
    """Frames of a clip of what is trained."""
    seed: int = 0
    """Seed of the split, the starting weights, the order, the draws and the embedded data set."""


PRESETS = {
    "figures": Recipe(
        Data("figures"),
        # Fewer steps and masks than the defaults, for two cores; it was not run to its end there yet.
        trust=Trust(method_options="rise.number=300,lime.number=500", explained=30, steps=10),
        # Half of the validation clips choose the epoch, the others calibrate.
        training=Training(12, validation=0.2, schedule="cosine", warmup_epochs=0.5, weight_decay=0.01, clipnorm=1.0),
        epochs_of="VideoSwin=30,ResNeXt3D=5",  # which learn slowly, and quickly
        augmentation=Augmentation(flip=0.5, crop=0.85),
        size=(64, 96),
    ),
    "videos": Recipe(networks="CNN-GRU,Frame-CNN"),
}  # fmt: skip


def main(recipe: Recipe) -> None:
    check(recipe)
    listed = annotated(recipe, recipe.data.listed())
    split_up(recipe, listed)
    begin(recipe, trains=recipe.model is None)

    from har_tf import devices
    from har_tf.front_door import calibrated_by, described, measured, outputs_in

    # What can be wrong is found out here, before anything is drawn, decoded or trained.
    devices.seed_everything(recipe.seed, None)
    rows = saved(recipe) if recipe.model else built(recipe)
    listed = listed or recipe.embedded.draw(recipe.output, recipe.data.class_names, size=recipe.size, seed=recipe.seed)
    split, called = split_up(recipe, listed), Model(called=recipe.called).model_names
    if recipe.model:
        held, test = (listed.subset([]), listed) if split is None else split.parts(recipe.seed)[1:]
        outputs_in(rows, test, called)

    with open_run(EXPERIMENT, recipe, listed.name, listed) as run:
        others, skipped = {}, {}
        if recipe.model:
            shared, classifiers = split and split.measured(validation=calibrated_by(split)), rows
        else:
            classifiers, (held, test), shared, skipped = trained(recipe, listed, split, rows, run)
        if recipe.random_labels:
            dealt = with_random_labels(split, recipe.seed)
            others, *_ = trained(recipe, listed, dealt, rows, run, "random_labels_")
        found, skipped = measured(
            run, classifiers, held, test, recipe.trust, called, recipe.output.workers, recipe.seed, others,
            recipe.model is None, skipped,
        )  # fmt: skip
        run.publish({"dataset": described(listed, skipped), "split": shared, **found})


def check(recipe: Recipe) -> None:
    """Raises ValueError or OSError for options that are out of their range or do not go together."""
    for path in map(Path, files_of(recipe)):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file for --model")
        check_keras_file(path)
    if recipe.model and recipe.random_labels:
        raise ValueError("--random-labels is for what is trained here. Received: --model")
    if recipe.called and not recipe.model:
        raise ValueError("--called names classes of --model. Received: no --model")
    if recipe.boxes is not None and recipe.data.embedded:
        raise ValueError("--boxes is for videos of UCF101; the embedded data have theirs")
    small = (recipe.swin.name, recipe.resnext.name)
    for name in words(recipe.networks):
        if name not in small:
            networks.check(name, folder=recipe.weights_dir)
    if unknown := epochs_of(recipe).keys() - set(words(recipe.networks)):
        raise ValueError(f"--epochs-of is of --networks {recipe.networks}. Received: {', '.join(sorted(unknown))}")
    Model(called=recipe.called).model_names  # noqa: B018 - raises
    recipe.trust.check()
    check_options(recipe, **recipe.trust.COUNTS, clips=(len(ACTIONS), None))
    if min(recipe.size) < 16:
        raise ValueError(f"--size must be at least 16 x 16 pixels. Received: {recipe.size[0]} x {recipe.size[1]}")


def epochs_of(recipe: Recipe) -> dict[str, int]:
    """Name of a network -> its epochs, of those that have their own.

    Raises:
        ValueError: `--epochs-of` is something else.
    """
    found = {}
    for pair in [] if recipe.epochs_of is None else words(recipe.epochs_of):
        name, _, epochs = pair.partition("=")
        if not epochs.isdecimal() or not int(epochs) or name in found:
            raise ValueError(f"--epochs-of takes NETWORK=EPOCHS, separated by commas. Received: {recipe.epochs_of}")
        found[name] = int(epochs)
    return found


def files_of(recipe: Recipe) -> list[str]:
    """Those of `--model`."""
    return [] if recipe.model is None else words(recipe.model)


def annotated(recipe: Recipe, dataset):
    """The data with the tubes of `--boxes`."""
    if dataset is None or recipe.boxes is None:
        return dataset
    from har_tf.datasets import ucf24

    return ucf24.with_tubes(dataset, recipe.boxes)


def split_up(recipe: Recipe, dataset) -> Split | None:
    """The data in two parts; None where they are not drawn yet, or where all are test clips of saved models."""
    if dataset is None or (recipe.model and recipe.protocol is None):
        return None
    protocol = recipe.protocol or strictest_protocol(dataset)
    return Split.of(dataset, protocol, recipe.seed, recipe.training.validation, [recipe.seed])


def saved(recipe: Recipe) -> dict:
    """Name -> the classifier of every file, loaded."""
    from har_tf.classifier import Classifier

    found = {}
    for path in map(Path, files_of(recipe)):
        name = path.stem if path.stem not in found else str(path)
        found[name] = Classifier.load(path)
    return found


def built(recipe: Recipe) -> dict:
    """Name -> (what builds the network, its arguments), each built once, so that what does not fit shows now."""
    from har_tf.models.zoo import named

    found = {}
    for name in words(recipe.networks):
        small = next((each for each in (recipe.swin, recipe.resnext) if each.name == name), None)
        network = small or named(name, folder=recipe.weights_dir)
        if getattr(network, "missing", None):
            raise FileNotFoundError(network.missing)
        arguments = SMALL_CNN_GRU if name in ("CNN-GRU", "Frame-CNN") and max(recipe.size) <= 112 else {}
        arguments = arguments | ({"start_seed": recipe.seed} if network is recipe.swin else {})
        network.build((recipe.num_frames, *recipe.size, 3), 2, **arguments)
        found[name] = network, arguments
    return found


def trained(recipe: Recipe, dataset, split: Split, rows: dict, run, prefix: str = "") -> tuple[dict, tuple, dict, dict]:
    """(Name -> classifier, (clips that calibrate, test clips), what the split is like, video -> why it cannot be read)
    of networks that are trained here.
    """
    from har_tf.classifier import Classifier
    from har_tf.store.prepare import prepare
    from har_tf.trial import Parts

    dataset = dataset.subset([*split.train.records, *split.test.records])
    prepared = prepare(
        dataset, recipe.output.cache, recipe.num_frames, recipe.size,
        workers=recipe.output.workers, beam=recipe.output.pipeline,
    )  # fmt: skip
    split = split.readable(prepared.skipped)
    found = None if recipe.data.embedded else audited(dataset, run, recipe.output.workers)
    train, validation, test = split.parts(recipe.seed)
    choosing, calibrating = halves(validation)
    purpose = f"{len(choosing)} choose it, {len(calibrating)} of other recordings calibrate"
    purpose = f"{split.validation_text}: {purpose}" if len(validation) else None
    measured = split.measured(found=found, validation=purpose) | {"name": split.name}
    parts = Parts.of(prepared, train, choosing, test)
    augment, epochs = recipe.augmentation.augment(), epochs_of(recipe)
    classifiers = {}
    for name, (network, arguments) in rows.items():
        say("", f"{name}: training on {len(train)} clips")
        training = replace(recipe.training, epochs=epochs.get(name, recipe.training.epochs))
        outcome = training.trainer(augment, recipe.output.pipeline).train(
            network, parts, run.training / f"{prefix}{name.replace('/', '_')}", recipe.seed, **arguments
        )
        say(f"{name}: accuracy {outcome.report.accuracy:.4f} on the test clips")
        classifiers[name] = Classifier.load(outcome.folder / "model.keras")
    return classifiers, (calibrating, test), measured, {video.path: video.reason for video in prepared.skipped}


def halves(validation) -> tuple:
    """Validation clips in two: those that choose the best epoch, and those that calibrate, which must choose nothing.

    Recordings take turns, so that none is in both.
    """
    recordings = {record.group or record.path: None for record in validation.records}
    place = {recording: number % 2 for number, recording in enumerate(recordings)}
    parts = ([record for record in validation.records if place[record.group or record.path] == k] for k in (0, 1))
    return tuple(map(validation.subset, parts))


def with_random_labels(split: Split, seed: int) -> Split:
    """The split with the labels of its training part dealt out anew among its clips."""
    records = split.train.records
    dealt = np.random.default_rng(seed).permutation([record.label for record in records]).tolist()
    relabelled = tuple(replace(record, label=label) for record, label in zip(records, dealt, strict=True))
    return replace(split, train=replace(split.train, records=relabelled))


if __name__ == "__main__":
    run_cli(main, PRESETS)
