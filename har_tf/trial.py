"""A trial: train one model on one split, choose its epoch on held-out clips, and measure it on the test clips."""

import functools
import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import keras
import numpy as np
import tensorflow as tf

from har_tf import __version__, devices, leader, pipeline, training
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord
from har_tf.evaluate import calibration, classification
from har_tf.evaluate.calibration import Calibration, NotFitted
from har_tf.evaluate.classification import ClassificationReport
from har_tf.models import backbones, saving
from har_tf.models.building import classifier
from har_tf.models.frozen import front_of, head_of
from har_tf.models.fusion_gru import frame_encoder, frame_size_of
from har_tf.models.logits import log_probabilities
from har_tf.models.saving import save_model, save_weights
from har_tf.names import say
from har_tf.store import features
from har_tf.store.features import FeatureStore
from har_tf.store.flow import FlowClips
from har_tf.store.prepared import PreparedDataset
from har_tf.training import History, TrainingRecipe

# (time, height, width, channels) of a clip, or backbone -> (time, channels) of its features
Shape = tuple[int, int, int, int] | dict[str, tuple[int, int]]
Clips = ActionDataset | Sequence[VideoRecord]
STORED = 2  # of what frozen layers give, so many times the bytes of the clips are stored
CHECKED = 2  # clips on which a model is compared with its head
SAME = 2e-3  # of probabilities, also where layers compute in half precision
Part = PreparedDataset | FlowClips | Sequence[FeatureStore]


class Buildable(Protocol):
    """A model that can be built anew, such as a `har_tf.models.zoo.NamedModel`.

    It may have a `widest`, another one whose front holds all that this one's does, see `Trainer.train`.
    """

    def build(self, shape: Shape, num_classes: int, **options: Any) -> keras.Model:
        """A new model for inputs of `shape`, see `Parts.shape`."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The clips of a trial, of RGB or of flow, or their stored features: a store a stream, in the same order of clips.

    `validation` is None where the last epoch is to be kept.
    """

    train: Part
    validation: Part | None
    test: Part

    @classmethod
    def of(cls, data: Part, train: Clips, validation: Clips, test: Clips) -> Self:
        """The parts of `data`; without validation clips the last epoch is kept."""

        def subset(part: Clips) -> Part:
            return [store.subset(part) for store in data] if isinstance(data, Sequence) else data.subset(part)

        return cls(*(subset(part) if len(part) else None for part in (train, validation, test)))

    @property
    def shape(self) -> Shape:
        """(time, height, width, channels) of a clip, or backbone -> (time, channels) of its features."""
        if isinstance(self.train, Sequence):
            return {store.backbone: store.shape for store in self.train}
        return (self.train.num_frames, *self.train.size, self.train.channels)

    @property
    def clip(self) -> dict[str, str] | None:
        """How the clips were taken, see `saving.save_model`; a model of features is not given clips."""
        return None if isinstance(self.train, Sequence) else self.train.clip

    def batches(
        self, part: Part, batch_size: int, augment: pipeline.Augment | None = None, **options: Any
    ) -> tf.data.Dataset:
        """See `pipeline.clips` and `features.batches`.

        Raises:
            ValueError: augmentation is asked for, which features have behind them.
        """
        if not isinstance(part, Sequence):
            return pipeline.clips(part, batch_size, augment=augment, **options)
        if augment is not None:
            raise ValueError(f"Stored features cannot be augmented. Received: augment={augment}")
        return features.batches(part, batch_size, **options)

    def fingerprint(self, part: Part) -> str:
        """Which clips, in words and as a digest, wherever they lie: their names, and the stores that they are from."""
        clips, sources = _clips(part), part if isinstance(part, Sequence) else [part]
        # A store lies in <name>_<fingerprint>, of videos, their content and settings; prepared clips in a folder of it.
        folders = [source.path.parent if isinstance(source, PreparedDataset) else source.path for source in sources]
        stores = [folder.name.rpartition("_")[2] for folder in folders]
        about = [stores, clips.names, clips.labels.tolist()]
        digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
        return f"{len(clips)} clips, {digest[:12]}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained model and what it answered on the test clips, (N, C) probabilities; `folder` has its files.

    Of a `Trainer` that calibrates, `calibration` is what its file has, and `effect` what
    `har_tf.evaluate.calibration.effect` found on the test clips.
    """

    model: keras.Model
    history: History
    report: ClassificationReport
    probabilities: np.ndarray
    test: Part
    folder: Path
    calibration: Calibration | None = None
    effect: Mapping[str, Any] | None = None

    @property
    def calibrated(self) -> np.ndarray:
        """float32 (N, C), the probabilities on the test clips as the saved model gives them."""
        if self.calibration is None:
            return self.probabilities
        return self.calibration.probabilities(np.log(np.maximum(self.probabilities, np.finfo(np.float32).tiny)))

    def as_dict(self) -> dict:
        """What was measured, as `results.json` has it."""
        return {
            "parameters": self.model.count_params(),
            "best_epoch": self.history.best_epoch + 1,
            "seconds": round(self.history.seconds, 1),
            "history": self.history.epochs,
            **self.report.as_dict(),
            **({} if self.effect is None else {"probabilities": self.effect}),
        }


def run_rows(
    rows: Sequence[Any],
    splits: Sequence[int | str],
    seeds: Sequence[int],
    trial: Callable[[Any, Any, int], dict[str, Any]],
    score: str = "accuracy",
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Trains every row of a table on every split with every seed.

    A row whose loss is no longer a number ends there; the other rows are still wanted.

    Args:
        rows: each with a `name`; one with a reason in `missing` is not run.
        splits: numbers or names of the splits, the outer loop.
        seeds: the loop within.
        trial: trains one, given (row, split, seed), and returns what is kept of it.
        score: name of the accuracy in what is kept, to be printed.

    Returns:
        (row -> its trials, each with its "split" and "seed"; row -> {"status": "run", "not run" or "diverged",
        "reason": None, or why it was not run or diverged}).
    """
    trials: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    states = {}
    for row in rows:
        missing = getattr(row, "missing", None)
        states[row.name] = {"status": "not run" if missing else "run", "reason": missing}
    for split, seed, row in itertools.product(splits, seeds, rows):
        if states[row.name]["status"] != "run":
            continue
        title = f"{row.name}, split {split}, seed {seed}"
        say("", title)
        try:
            kept = {"split": split, "seed": seed} | trial(row, split, seed)
        except FloatingPointError as error:
            states[row.name] = {"status": "diverged", "reason": f"split {split}, seed {seed}: {error}"}
            say(f"{title}: {error}")
            continue
        trials[row.name].append(kept)
        say(f"{title}: test accuracy {kept[score]:.4f}")
    return trials, states


def provenance(about: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Where a model comes from, with the date; that of `file` where it says the same of the model that lies there."""
    before = saving.provenance(file) if file.is_file() else {}
    same = {name: value for name, value in before.items() if name != "date"} == dict(about)
    return {**about, "date": before["date"] if same else datetime.now(UTC).isoformat(timespec="seconds")}


@dataclass(frozen=True)
class Trainer:
    """How models are trained, measured and saved on the devices in use (`har_tf.devices`): every row of a table alike.

    Args:
        recipe: how to train.
        batch_size: clips a batch.
        augment: random changes to the training clips.
        beam: options of an Apache Beam pipeline that computes what frozen layers give, see `features.outputs`.
        calibrate: whether a temperature is fitted on the validation clips and kept in the model's file. On these the
            epoch was chosen too, so that it is a little low.
    """

    recipe: TrainingRecipe
    batch_size: int
    augment: pipeline.Augment | None
    beam: Sequence[str] | None = None
    calibrate: bool = False
    _stored: dict = field(default_factory=dict, init=False, repr=False)  # widest model and clips -> front, its store

    def train(self, named: Buildable, parts: Parts, folder: Path, seed: int = 0, **options: Any) -> Outcome:
        """Trains, measures and saves one model; a leader does it with the others, see `har_tf.leader`.

        What frozen layers give is computed once for every prepared clip and stored beside the clips, where nothing
        changes the clips and that takes no more than `STORED` times their room; the rest is trained on it. Not over
        several machines, of which all compute together and one stores.

        Args:
            named: which model.
            parts: the clips, or their features.
            folder: receives what `training.fit` writes, and `model.keras`; of several machines worker 0 writes both. A
                trial that finds its own unfinished state there goes on; the state of another is refused.
            seed: of the starting weights, the order and the augmentation.
            **options: arguments of the model's `build`.

        Raises:
            FloatingPointError: the loss is no longer a number.
            ValueError: `folder` holds another trial, or this one in batches of another size, on devices among which
                `batch_size` does not divide evenly.
            ConnectionError: another machine was killed or cannot be reached.
        """
        return leader.on_all(self._train, named, parts, folder, seed, **options)

    def _train(self, named: Buildable, parts: Parts, folder: Path, seed: int, **options: Any) -> Outcome:
        """See `train`."""
        train, validation, test = parts.train, parts.validation, parts.test
        known, tested = (_clips(part) for part in (train, test))
        devices.seed_everything(seed, None)
        model = named.build(parts.shape, len(known.class_names), **options)
        learner, fed = self._on_frozen(named, model, parts, options) or (model, parts)
        full = pipeline.full_batch(len(known), self.batch_size)
        left = len(known) % full
        rest = f"; {left} of {len(known)} clips {'is' if left == 1 else 'are'} left out of each pass, another each time"
        say(f"batches of {full}{rest if left else ''}")

        def batches(part: Part, **options: Any) -> tf.data.Dataset:
            return fed.batches(part, batch_size=full, **options)

        def whole(part: Part) -> tf.data.Dataset:
            return pipeline.padded(batches(part), min(full, len(_clips(part))), len(_clips(part)))

        history = training.fit(
            learner,
            functools.partial(batches, fed.train, training=True, seed=seed, augment=self.augment),
            None if validation is None else whole(fed.validation),
            self.recipe,
            folder,
            inputs={
                "training clips": parts.fingerprint(train),
                "validation clips": None if validation is None else parts.fingerprint(validation),
                **({} if learner is model else {"frozen part": fed.fingerprint(fed.train)}),
                "classes": ", ".join(known.class_names),
                "batch size": full,
                "augmentation": self.augment,
                "seed": seed,
                "precision": devices.precision(),
            },
        )
        with pipeline.errors_as_raised():
            probabilities = devices.predict(learner, whole(fed.test))[: len(tested)]
        if learner is not model:
            few = np.arange(min(len(tested), CHECKED))
            apart = float(np.abs(devices.predict(model, tested.read(few)) - probabilities[few]).max())
            if not apart <= SAME:
                raise RuntimeError(f"{model.name} answers otherwise than its head on stored numbers, by {apart:.2g}")
        about = {
            "weights": getattr(named, "start", None),
            "training clips": parts.fingerprint(train),
            "seed": seed,
            "har_tf": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            **({"engine": "jax"} if devices.under_jax() else {}),
        }
        file = folder / "model.keras"
        origin, several = provenance(about, file), devices.worker()
        fitted = effect = None
        if self.calibrate:
            fitted, reason = _fitted(learner, whole, parts.validation, fed.validation, origin)
            scores = log_probabilities(learner, probabilities)
            effect = calibration.effect(scores, tested.labels, tested.groups, fitted, reason)
        if several is None or several.index == 0:
            told = fitted and fitted.as_dict()
            save_model(model, file, known.class_names, parts.clip, origin, told)
        if several and several.index == 0:
            with devices.by_itself():  # the others do not take part in what is done with it
                model, _ = saving.load_model(file)
        report = classification.report(tested.labels, probabilities, tested.class_names)
        return Outcome(model, history, report, probabilities, test, folder, fitted, effect)

    def _on_frozen(
        self, named: Buildable, model: keras.Model, parts: Parts, options: Mapping[str, Any]
    ) -> tuple[keras.Model, Parts] | None:
        """(the part of a model that is trained, what the frozen part in front of it gives); None where there is none.

        See `train`.
        """
        clips = parts.train
        if self.augment is not None or not isinstance(clips, PreparedDataset) or devices.worker():
            return None
        front, widest, classes = front_of(model), getattr(named, "widest", named), len(clips.class_names)
        if front is None:
            return None
        known = (widest, clips.path, tuple(options.items()))
        if widest is named or known not in self._stored:
            stored = front if widest is named else front_of(widest.build(parts.shape, classes, **options))
            if 4 * stored.network.output_shape[-1] > STORED * math.prod(clips.shape):
                return None
            start, folder = getattr(named, "start", "random weights"), clips.path.parents[1] / "features"
            what = json.dumps(stored.wiring)
            store = features.outputs(
                clips.whole(), stored.network, stored.model.name, start, folder, what=what, beam=self.beam
            )
            if widest is named:
                known = None  # the next one may have other weights
            self._stored[known] = stored, store
        stored, store = self._stored[known]

        def of(part: PreparedDataset | None) -> list[FeatureStore] | None:
            return None if part is None else [store.at(part)]

        return head_of(front, stored, f"features_{store.backbone}"), Parts(
            *map(of, (clips, parts.validation, parts.test))
        )


def _fitted(
    learner: keras.Model,
    whole: Callable[[Part], tf.data.Dataset],
    validation: Part | None,
    fed: Part | None,
    origin: Mapping[str, Any],
) -> tuple[Calibration | None, str | None]:
    """(the temperature that the validation clips give, None), or (None, why they give none); `fed` is what is learned
    from of them, in batches of `whole`."""
    if validation is None:
        return None, "there are no validation clips"
    clips = _clips(validation)
    with pipeline.errors_as_raised():
        scores = log_probabilities(learner, devices.predict(learner, whole(fed))[: len(clips)])
    about = {name: origin[name] for name in ("date", "har_tf")} | {"epoch": "chosen on the same clips"}
    try:
        return calibration.fit(scores, clips.labels, clips.groups, about=about), None
    except NotFitted as error:
        return None, str(error)


def train_on_frames(backbone: str, parts: Parts, epochs: int, folder: Path, frame_size: int | None = None) -> Path:
    """Trains a network from random weights to name the action from single frames, every third one of each clip.

    It stands in for a network that was trained on photographs, where there is none. A MobileNet is built at half its
    width, to be quick.

    Args:
        backbone: a key of `har_tf.models.backbones.BACKBONES`.
        parts: the clips, of square frames; the test clips are not touched.
        epochs: passes over the frames.
        folder: receives what `training.fit` writes, and the file; what is complete there is not trained again, and
            what comes from other clips or settings is refused.
        frame_size: side that frames are resized to; None: what the network is made for.

    Returns:
        The file with the network's weights, without classification layers.
    """
    return leader.on_all(_train_on_frames, backbone, parts, epochs, folder, frame_size)


def _train_on_frames(backbone: str, parts: Parts, epochs: int, folder: Path, frame_size: int | None) -> Path:
    """See `train_on_frames`."""
    train, validation = parts.train, parts.validation
    file = folder / f"{backbone.lower()}_trained_on_frames.weights.h5"
    side = frame_size or frame_size_of(backbone)
    devices.seed_everything(0, None)
    narrow = {"alpha": 0.5} if backbone == "MobileNet" else {}
    network = backbones.find(backbone).build(include_top=False, weights=None, input_shape=(side, side, 3), **narrow)
    with tempfile.TemporaryDirectory() as temporary:
        start = Path(temporary) / "start.weights.h5"
        save_weights(network, start)
        encoder = frame_encoder(backbone, train.size[0], start, trainable=True, frame_size=frame_size)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # there are too few steps for 0.99
    training.fit(
        keras.Model(encoder.input, classifier(encoder.output, len(train.class_names))),
        functools.partial(_stills, train, training=True),
        None if validation is None else _stills(validation),
        TrainingRecipe(epochs, 2e-3),
        folder,
        inputs={
            "backbone": backbone,
            "frame size": side,
            "training clips": parts.fingerprint(train),
            "validation clips": None if validation is None else parts.fingerprint(validation),
        },
    )
    backbones.copy_weights(encoder, network)
    several = devices.worker()
    if several is None or several.index == 0:
        save_weights(network, file)
    return file


def _stills(clips: PreparedDataset, **options: Any) -> tf.data.Dataset:
    """Batches of every third frame of eight clips, each with the label of its clip."""

    def apart(batch: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        few = batch[:, ::3]
        return tf.reshape(few, (-1, *batch.shape[2:])), tf.repeat(labels, tf.shape(few)[1])

    return pipeline.clips(clips, 8, **options).map(apart)


def _clips(part: Part) -> PreparedDataset | FlowClips | FeatureStore:
    """What knows labels and class names; of several streams the first, for all are of the same clips."""
    return part[0] if isinstance(part, Sequence) else part
