"""fit(): train a classifier so that a killed run, started again, ends with the same weights.

After an epoch everything that the next one depends on is written to one file: weights, BatchNorm statistics, the
state of every random generator, the optimiser, and what has been measured; after every epoch, or of a large model so
rarely that it costs a tenth of the time, and when Ctrl-C ends the run. The order of the clips and their augmentation
are functions of (seed, epoch), so epochs that were cut off are simply repeated.
"""

import csv
import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices, replicated
from har_tf.files.errors import DAMAGE, reason_of
from har_tf.files.json_text import parse_json
from har_tf.files.whole import alone, sync, whole_file
from har_tf.models.saving import layers_of
from har_tf.names import say
from har_tf.pipeline import errors_as_raised, padded, weighted
from har_tf.signals import held
from har_tf.training_recipe import TrainingRecipe

# Where users know them.
seed_everything, set_precision, strategy = devices.seed_everything, devices.set_precision, devices.strategy
Train = Callable[[range], tf.data.Dataset]

LONG_SAVE = 1.0  # seconds; a state that is written faster is written after every epoch


@dataclass(frozen=True)
class History:
    """What was measured after every epoch.

    Args:
        epochs: lists of the same length: `loss`, `accuracy`, `val_loss`, `val_accuracy` (the last two only with
            validation data), `learning_rate`, `seconds`.
        best_epoch: counted from 0; the epoch whose weights the model holds after `fit`.
    """

    epochs: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0

    @property
    def seconds(self) -> float:
        """Time spent in all epochs, interrupted ones not counted."""
        return sum(self.epochs.get("seconds", []))


def fit(
    model: keras.Model,
    train: Train | tf.data.Dataset,
    validation: tf.data.Dataset | None,
    recipe: TrainingRecipe,
    run_dir: str | Path,
    strategy: tf.distribute.Strategy | None = None,
    inputs: Mapping[str, object] | None = None,
    verbose: int | str = "auto",
) -> History:
    """Trains `model` with categorical cross-entropy, and leaves in it the weights of its best epoch.

    The best epoch is the one with the highest validation accuracy (of equal ones, the lowest validation loss), or the
    last where there is no validation data. Validation clips are to be taken from the training part, never from the
    test set. `run_dir` receives `history.csv`, `tensorboard/`, `best.npz` and `state.npz`, and what these were
    before; a run that finds a state goes on from the last one that can be read, and one that is complete returns at
    once. A second process with the same `run_dir` waits for the first, and takes what that has trained.

    Of several machines (`devices.begin("multiworker")`) worker 0 alone reads and writes `run_dir`; the others have from
    it what it goes on from, and at the end the best weights and the history.

    Several devices share each batch and end, but for rounding and the random numbers of dropout, with the weights and
    the history of one, see `har_tf.replicated`.

    Args:
        model: maps what `train` gives, such as (B, T, H, W, 3) clips or the dict of stored features of
            `features.batches`, to (B, C) probabilities; built in `strategy.scope()` if there is a strategy.
        train: a function that is called as `train(epochs=range(3, 20))` and returns the batches of (inputs, labels) of
            those epochs, one epoch after the other, such as `functools.partial(pipeline.clips, prepared, 8, True)`; or
            a dataset that is the same in every epoch. Several devices fill a batch that they cannot share up with clips
            that count in BatchNorm's statistics alone.
        validation: batches of (inputs, labels), or those of `pipeline.padded` in the scope of `strategy`.
        recipe: how to train.
        run_dir: the folder to write to.
        strategy: `har_tf.devices.strategy(...)`; None: the one that is in scope.
        inputs: what else the weights come from, as plain values: which clips, batch size, augmentation. A run with
            other inputs is not continued.
        verbose: "auto" (a progress bar on a terminal, else a line an epoch), 0, 1 (bar) or 2 (lines).

    Returns:
        The history of all epochs, those before an interruption included.

    Raises:
        ValueError: `run_dir` holds the state of another recipe, model or inputs, or `train` has no known length.
        FloatingPointError: the loss is no longer a number.
        OSError: a file cannot be written; of a full disk with what was needed. The states on disk stay.
        ConnectionError: another machine was killed or cannot be reached; it is named.
        DatasetError, VideoError: a batch cannot be read, as `har_tf.pipeline.clips` and `features.batches` read it.
    """
    run_dir = Path(run_dir)
    with (strategy or tf.distribute.get_strategy()).scope(), devices.together():
        return _fit(model, train, validation, recipe, run_dir, inputs, verbose)


def _fit(model, train, validation, recipe, run_dir, inputs, verbose) -> History:
    """`fit`, on the devices in use."""
    make = train if callable(train) else lambda epochs: train.repeat(len(epochs))
    classes, events = model.output_shape[-1], run_dir / "tensorboard"
    replicas = 1 if devices.under_jax() else devices.replicas()  # JAX deals batches out by itself
    steps = int(make(epochs=range(1)).cardinality())
    if steps < 1:
        raise ValueError(
            f"The batches of an epoch must have a known number of at least 1. Received: cardinality {steps}"
        )
    if validation is not None and devices.replicas() > 1 and len(validation.element_spec) == 2:
        # Model.fit takes means over batches.
        clips = sum(len(labels) for _, labels in validation) if devices.under_jax() else None
        validation = padded(validation, clips=clips)
    model.compile(
        optimizer=_optimizer(recipe, steps, replicas),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        weighted_metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    several = devices.worker()
    writes = several is None or several.index == 0
    if writes:
        run_dir.mkdir(parents=True, exist_ok=True)
    with alone(run_dir / ".lock") if writes else nullcontext():
        state = _State(model, run_dir, _identity(model, recipe, inputs or {}), writes)
        if writes:
            state.restore()
        if several:
            state.share()
        todo = range(state.next_epoch, recipe.epochs)
        if verbose == "auto":
            verbose = 1 if sys.stdout.isatty() else 2
        if verbose and todo.start:
            after = f"after epoch {todo.start} of {recipe.epochs}"
            say(f"continues {after}" if todo else f"{run_dir}: already trained, reused")
        if todo:
            callbacks = [state, *[keras.callbacks.TensorBoard(events, write_graph=False)] * writes]
            measured = None if validation is None else _one_hot(validation, classes)
            try:
                with errors_as_raised():
                    if replicas > 1:
                        batches = _one_hot(weighted(make(epochs=todo)), classes)
                        replicated.fit(model, recipe, batches, measured, todo, steps, callbacks, verbose)
                    else:
                        model.fit(
                            _one_hot(make(epochs=todo), classes),
                            validation_data=measured,
                            epochs=recipe.epochs,
                            initial_epoch=todo.start,
                            steps_per_epoch=steps,
                            shuffle=False,  # `train` has its order
                            callbacks=callbacks,
                            verbose=verbose,
                        )
            except KeyboardInterrupt as error:
                state.write()
                done = len(state.history.epochs.get("loss", ()))
                where = f"after epoch {done} of {recipe.epochs}" if done else "from the first epoch"
                error.add_note(f"the same command goes on {where}")
                raise
            except tf.errors.OpError as error:
                if str(events) not in error.message:
                    raise
                code = errno.ENOSPC if isinstance(error, tf.errors.ResourceExhaustedError) else errno.EIO
                raise OSError(code, os.strerror(code), str(events)) from error
        if writes:
            state.restore_best()
        if several:
            state.share()
    return state.history


def _one_hot(dataset: tf.data.Dataset, classes: int) -> tf.data.Dataset:
    def one_hot(inputs, labels, *weights):
        return inputs, tf.one_hot(labels, classes), *weights

    return dataset.map(one_hot, num_parallel_calls=1)


def _optimizer(recipe: TrainingRecipe, steps: int, replicas: int = 1) -> keras.optimizers.Optimizer:
    rate = recipe.learning_rate
    warmup = round(recipe.warmup_epochs * steps)
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(recipe.epochs * steps - warmup, 1),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if recipe.schedule == "step":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, recipe.step_epochs * steps, 0.1, staircase=True)
    # Each replica clips its share of the whole gradient, see `replicated`.
    clipnorm = None if recipe.clipnorm is None else recipe.clipnorm / replicas
    options = {"clipnorm": clipnorm, "weight_decay": recipe.weight_decay or None}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, recipe.momentum, **options)
    return keras.optimizers.Adam(rate, **options)  # with weight decay this is AdamW


def _identity(model: keras.Model, recipe: TrainingRecipe, inputs: Mapping[str, object]) -> dict[str, str]:
    """What has to be equal for a run to be continued.

    Layer names are not in it, for Keras numbers them by process, and trainable weights are not, for the state has them;
    weights that are not trained are: they may come from another file.
    """
    graph = _digest(layers_of(model).encode())
    frozen = _digest(b"".join(weight.tobytes() for weight in _copied(model.non_trainable_weights)))
    described = {"model": f"{model.count_params()} parameters, {graph}", "weights that are not trained": frozen}
    if devices.under_jax():
        described["engine"] = "jax"
    return described | {name: str(value) for name, value in {**asdict(recipe), **inputs}.items()}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class _State(keras.callbacks.Callback):
    """The file that a run continues from."""

    def __init__(self, model: keras.Model, run_dir: Path, identity: dict[str, str], writes: bool = True):
        super().__init__()
        self.set_model(model)
        self.writes = writes
        self.run_dir = run_dir
        self.path, self.best_path, self.next_best_path = (
            run_dir / f"{name}.npz" for name in ("state", "best", "next_best")
        )
        self.identity = identity
        self.history = History()
        self.next_epoch = 0
        self._best_weights: list[np.ndarray] | None = None  # of the best epoch, where they are not on disk yet
        self._unwritten: tuple | None = None  # the last complete epoch, where it is not on disk yet
        self._saved, self._seconds = 0.0, 0.0  # when the state was written, and how long that took

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]

    def restore(self) -> None:
        """Puts the model where the last epoch on disk left it; does nothing where there is none.

        Where the last state cannot be read, the one before it is taken, and that is said.

        Raises:
            ValueError: the run has other settings, or neither state can be read.
        """
        known = [path for path in (self.path, _before(self.path)) if path.is_file()]
        if not known:
            self.next_best_path.unlink(missing_ok=True)
            return
        reasons = []
        for path in known:
            try:
                about, variables = self._read(path, "v", self._variables())
                about = parse_json(str(about))
                best = self._best_of(about)
                break
            except DAMAGE as error:
                reasons.append(f"{path}: cannot be read ({reason_of(error)})")
        else:
            raise ValueError(f"{'; '.join(reasons)}; remove the folder to train anew")
        if about["identity"] != self.identity:
            raise ValueError(
                f"{self.run_dir}: holds a run with other settings "
                f"({_difference(about['identity'], self.identity)}); choose another folder or remove this one"
            )
        if reasons:
            say(f"{reasons[0]}; continues from the state before it", to=sys.stderr)
        if best != self.best_path:
            best.replace(self.best_path)
        if path != self.path:
            path.replace(self.path)
        for variable, value in zip(self._variables(), variables, strict=True):
            variable.assign(value)
        self.history = History(about["history"], about["best_epoch"])
        self.next_epoch = about["next_epoch"]
        self.next_best_path.unlink(missing_ok=True)

    def _best_of(self, about: dict) -> Path:
        """The file with the weights of a state's best epoch.

        Raises:
            ValueError: there is none that can be read.
        """
        for path in (self.next_best_path, self.best_path, _before(self.best_path)):
            if path.is_file():
                try:
                    epoch, _ = self._read(path, "w", self.model.weights)
                except DAMAGE:
                    continue
                if int(epoch) == about["best_epoch"]:
                    return path
        raise ValueError(f"the weights of its best epoch, {about['best_epoch'] + 1}, are not in {self.best_path.name}")

    @staticmethod
    def _read(path: Path, letter: str, variables: Sequence) -> tuple[np.ndarray, list[np.ndarray]]:
        """What a file says of itself, and the values of variables."""
        with np.load(path) as stored:
            about = stored["about" if letter == "v" else "epoch"]
            values = [stored[f"{letter}{i}"] for i in range(sum(name.startswith(letter) for name in stored.files))]
        return about, values

    def restore_best(self) -> None:
        """Puts the weights of the best epoch into the model."""
        _, values = self._read(self.best_path, "w", self.model.weights)
        for weight, value in zip(self.model.weights, values, strict=True):
            weight.assign(value)

    def share(self) -> None:
        """Puts this worker where worker 0 is; each calls it."""
        about = {"history": self.history.epochs, "best_epoch": self.history.best_epoch, "next_epoch": self.next_epoch}
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        (length,) = devices.of_first([np.array(len(text))])
        (text,) = devices.of_first([np.resize(text, length)])
        about = parse_json(text.tobytes())
        self.history, self.next_epoch = History(about["history"], about["best_epoch"]), about["next_epoch"]
        variables = self._variables()
        for variable, value in zip(variables, devices.of_first(_copied(variables)), strict=True):
            variable.assign(value)

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes the history, and what the run continues from.

        A large state is not written after every epoch but so rarely that training takes a tenth longer at most; what
        a run that is killed loses are the epochs since.
        """
        measured = {name: float(value) for name, value in logs.items()}
        if not np.isfinite(measured["loss"]):
            raise FloatingPointError(
                f"The loss is {measured['loss']} after epoch {epoch + 1}; a smaller learning rate or clipnorm may help."
            )
        measured["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        measured["seconds"] = time.perf_counter() - self._started
        epochs = {name: [*self.history.epochs.get(name, []), value] for name, value in measured.items()}
        rank = list(range(epoch + 1))
        if "val_accuracy" in epochs:
            rank = list(zip(epochs["val_accuracy"], (-loss for loss in epochs["val_loss"]), strict=True))
        best = rank.index(max(rank))
        if best == epoch and self.writes:
            self._best_weights = _copied(self.model.weights)
        self.history = History(epochs, best)
        if not self.writes:
            return
        with whole_file(self.run_dir / "history.csv") as temporary, temporary.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["epoch", *epochs])
            rows.writerows([i, *values] for i, values in enumerate(zip(*epochs.values(), strict=True), start=1))
        about = {"identity": self.identity, "history": epochs, "best_epoch": best, "next_epoch": epoch + 1}
        self._unwritten = about, _copied(self._variables()), self._best_weights
        waited = time.perf_counter() - self._saved
        last = epoch + 1 == self.params["epochs"]
        if last or self._seconds <= LONG_SAVE or waited >= 10 * self._seconds:
            self.write()

    def write(self) -> None:
        """Writes the last complete epoch, if it is not on disk yet.

        The best weights lie beside the old ones until there is a state that speaks of them: a run that is killed in
        between may find another best epoch. The state before, and the best weights that it speaks of, are kept.
        """
        if self._unwritten is not None:
            with held():  # written once more, it would be the state before itself
                self._write()

    def _write(self) -> None:
        begin = time.perf_counter()
        about, variables, best_weights = self._unwritten
        if best_weights is not None:
            with whole_file(self.next_best_path, _bytes_of(best_weights)) as temporary:
                np.savez(temporary, epoch=about["best_epoch"], **_numbered("w", best_weights))
        if self.path.is_file():
            self.path.replace(_before(self.path))
        with whole_file(self.path, _bytes_of(variables)) as temporary:
            np.savez(temporary, about=json.dumps(about), **_numbered("v", variables))
        if best_weights is not None:
            if self.best_path.is_file():
                self.best_path.replace(_before(self.best_path))
            self.next_best_path.replace(self.best_path)
            sync(self.run_dir)
        self._unwritten = self._best_weights = None
        self._saved = time.perf_counter()
        self._seconds = self._saved - begin


def _before(path: Path) -> Path:
    """Where the state, or the best weights, before those of `path` are kept: a disk may lose what it has written."""
    return path.with_name(f"{path.stem}_before.npz")


def _copied(variables) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _bytes_of(arrays: list[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)


def _numbered(letter: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{letter}{i}": array for i, array in enumerate(arrays)}


def _difference(stored: dict[str, str], wanted: dict[str, str]) -> str:
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    changed = [f"{name}: {stored.get(name)} there, {wanted.get(name)} now" for name in names[:3]]
    if "batch size" in names:  # see `pipeline.full_batch`
        count = devices.replicas()
        changed.append(f"a batch is shared evenly, by {count} device{'s' * (count > 1)} now")
    return "; ".join(changed) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
