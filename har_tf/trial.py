"""A trial: train one model on one split, choose its epoch on held-out clips, and measure it on the test clips."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from har_tf import pipeline, training
from har_tf.datasets.prepared import PreparedDataset
from har_tf.evaluate import classification
from har_tf.evaluate.classification import ClassificationReport
from har_tf.models.named import NamedModel
from har_tf.models.saving import save_model
from har_tf.training import History, TrainingRecipe


@dataclass(frozen=True, eq=False)
class Parts:
    """The clips of a trial; `validation` is None where the last epoch is to be kept."""

    train: PreparedDataset
    validation: PreparedDataset | None
    test: PreparedDataset


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained model and what it answered on the test clips, (N, C) probabilities."""

    model: keras.Model
    history: History
    report: ClassificationReport
    probabilities: np.ndarray
    test: PreparedDataset


def run_trial(
    named: NamedModel,
    options: dict,
    parts: Parts,
    recipe: TrainingRecipe,
    folder: Path,
    batch_size: int,
    augment: pipeline.Augment | None = None,
    seed: int = 0,
    precision: str = "float32",
    strategy: tf.distribute.Strategy | None = None,
) -> Outcome:
    """Trains, measures and saves one model.

    Args:
        named: which model.
        options: arguments of `NamedModel.build`.
        parts: the clips.
        recipe: how to train.
        folder: receives what `training.fit` writes, and `model.keras`. A trial that finds its own unfinished state
            there goes on; the state of another is refused.
        batch_size: clips a batch.
        augment: random changes to the training clips.
        seed: of the starting weights, the order and the augmentation.
        precision: see `training.set_precision`.
        strategy: see `training.strategy`.

    Raises:
        FloatingPointError: the loss is no longer a number.
        ValueError: `folder` holds another trial.
    """
    strategy = strategy or tf.distribute.get_strategy()
    train, validation, test = parts.train, parts.validation, parts.test
    training.seed_everything(seed)
    training.set_precision(precision)
    with strategy.scope():
        model = named.build((train.num_frames, *train.size, 3), len(train.class_names), **options)
    history = training.fit(
        model,
        functools.partial(pipeline.clips, train, batch_size, training=True, seed=seed, augment=augment),
        None if validation is None else pipeline.clips(validation, batch_size),
        recipe,
        folder,
        strategy,
        inputs={
            "training clips": _fingerprint(train),
            "validation clips": None if validation is None else _fingerprint(validation),
            "classes": ", ".join(train.class_names),
            "batch size": batch_size,
            "augmentation": augment,
            "seed": seed,
            "precision": precision,
        },
    )
    probabilities = model.predict(pipeline.clips(test, batch_size), verbose=0)
    save_model(model, folder / "model.keras", train.class_names)
    report = classification.report(test.labels, probabilities, test.class_names)
    return Outcome(model, history, report, probabilities, test)


def _fingerprint(clips: PreparedDataset) -> str:
    """Which clips, in words and as a digest: the prepared data set names its videos' sizes, times and settings."""
    names = "\n".join([clips.path.parent.name, *map(str, clips.record_paths), *map(str, clips.labels)])
    return f"{len(clips)} clips, {hashlib.sha256(names.encode()).hexdigest()[:12]}"
