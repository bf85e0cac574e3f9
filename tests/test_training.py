"""fit(): what it measures, what it keeps, and that an interruption changes nothing."""

import csv
import functools
import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import config  # nothing public turns op determinism off again

from har_tf import devices, replicated, training
from har_tf.datasets.errors import DatasetError
from har_tf.files.whole import alone
from har_tf.pipeline import padded, passes, read_at
from har_tf.training import TrainingRecipe, fit

CLIPS, SHAPE, CLASSES = 21, (2, 8, 8, 3), 3
RECIPE = TrainingRecipe(epochs=4, learning_rate=1e-2, schedule="cosine", warmup_epochs=1)


@pytest.fixture(autouse=True)
def determinism():
    before = config.is_op_determinism_enabled()
    yield
    config.disable_op_determinism() if not before else None


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(CLIPS, dtype=np.int32) % CLASSES
    clips = rng.integers(0, 100, (CLIPS, *SHAPE), dtype=np.uint8)
    for clip, label in zip(clips, labels, strict=True):
        clip[..., label] += 120  # the colour is the class
    return clips, labels


def batches(data, epochs, batch_size=8, seed=0):
    """Every epoch in an order of its own, as `pipeline.clips` does."""
    clips, labels = data
    orders = [np.random.default_rng([seed, epoch]).permutation(len(labels)) for epoch in epochs]
    parts = [tf.data.Dataset.from_tensor_slices((clips[o], labels[o])).batch(batch_size) for o in orders]
    return functools.reduce(tf.data.Dataset.concatenate, parts)


def build(dropout=0.3):
    training.seed_everything(0)
    clip = keras.Input(SHAPE, dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(4, (1, 3, 3), name="conv")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.Flatten()(layers.Dropout(dropout)(x))
    return keras.Model(clip, layers.Dense(CLASSES, activation="softmax", name="predictions")(x))


def train(data, run_dir, model=None, recipe=RECIPE, validation=True):
    model = model or build()
    held_out = batches(data, range(1)) if validation else None
    return model, fit(model, functools.partial(batches, data), held_out, recipe, run_dir, verbose=0)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """(model, history, folder) of a run of `RECIPE` that nothing interrupted."""
    before = config.is_op_determinism_enabled()
    folder = tmp_path_factory.mktemp("whole")
    model, history = train(data, folder)
    config.disable_op_determinism() if not before else None
    return model, history, folder


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


class KillingBatches:
    """Batches that end the process, so to speak, after some."""

    def __init__(self, data, after):
        self.data, self.after, self.seen = data, after, 0

    def __call__(self, epochs):
        def count(clips, labels):
            self.seen += 1
            if self.seen > self.after:
                raise Killed
            return clips, labels

        dataset = batches(self.data, epochs)

        def counted(clips, labels):
            clips, labels = tf.numpy_function(count, [clips, labels], [tf.uint8, tf.int32])
            return tf.ensure_shape(clips, (None, *SHAPE)), tf.ensure_shape(labels, (None,))

        return dataset.map(counted, num_parallel_calls=1).apply(tf.data.experimental.assert_cardinality(len(dataset)))


def test_learns_and_writes_what_it_measured(whole):
    _, history, folder = whole
    assert history.epochs["accuracy"][-1] > 0.8
    assert {name: len(values) for name, values in history.epochs.items()} == dict.fromkeys(
        ("accuracy", "loss", "val_accuracy", "val_loss", "learning_rate", "seconds"), 4
    )
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["loss"]) for row in rows] == history.epochs["loss"]
    assert list((folder / "tensorboard").rglob("events*"))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def assert_same_run(whole, model, history):
    """The same weights, best epoch and measurements as of the run that nothing interrupted."""
    expected, measured, _ = whole
    for first, second in zip(expected.weights, model.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert history.best_epoch == measured.best_epoch
    for name in measured.epochs.keys() - {"seconds"}:
        assert history.epochs[name] == measured.epochs[name]


@pytest.mark.parametrize("batches_before", [2, 5])
def test_killed_and_started_again_ends_with_the_same_weights(data, whole, tmp_path, batches_before):
    """Killed in the first epoch, before there is a state, and in the second; three batches an epoch."""
    state = dict(np.load(whole[2] / "state.npz"))

    with pytest.raises((Killed, tf.errors.OpError)):
        killing = KillingBatches(data, batches_before)
        fit(build(), killing, batches(data, range(1)), RECIPE, tmp_path / "cut", verbose=0)
    continued = build()
    if (tmp_path / "cut" / "state.npz").exists():  # then what the new process starts from must not matter
        for weight in continued.trainable_weights:
            weight.assign(weight + 1)
    continued, again = train(data, tmp_path / "cut", continued)

    assert_same_run(whole, continued, again)
    resumed = dict(np.load(tmp_path / "cut" / "state.npz"))
    for name in state.keys() - {"about"}:  # the last epoch's weights, optimiser and random generators
        np.testing.assert_array_equal(state[name], resumed[name])


def test_a_state_that_takes_long_is_written_rarely_and_continues_all_the_same(data, whole, tmp_path, monkeypatch):
    # Of any length, and due when ten times as long has passed: written after the first epoch and the last.
    monkeypatch.setattr(training, "LONG_SAVE", -1.0)
    clock = iter(np.arange(0.0, 1e6))
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    with pytest.raises((Killed, tf.errors.OpError)):
        fit(build(), KillingBatches(data, 11), batches(data, range(1)), RECIPE, tmp_path / "cut", verbose=0)
    about = json.loads(str(np.load(tmp_path / "cut" / "state.npz")["about"]))
    assert about["next_epoch"] == 1
    continued, again = train(data, tmp_path / "cut")
    assert_same_run(whole, continued, again)
    assert len(list(csv.DictReader((tmp_path / "cut" / "history.csv").open()))) == 4


def with_callback(model, **functions):
    """The model, whose `fit` calls these functions before the callbacks that it is given."""
    original, callback = model.fit, keras.callbacks.LambdaCallback(**functions)
    model.fit = lambda *args, callbacks, **options: original(*args, callbacks=[callback, *callbacks], **options)
    return model


def test_killed_between_its_two_files_the_best_weights_stay_those_of_the_best_epoch(data, tmp_path, monkeypatch):
    """Also where the epoch that is repeated turns out worse, as without deterministic kernels it may."""
    seen, states, real = [], [], np.savez

    def better_every_time(epoch, logs):
        logs["val_accuracy"] = 0.1 * epoch
        seen.append([weight.numpy() for weight in model.weights])

    def savez(path, **arrays):
        if "about" in arrays:
            states.append(json.loads(arrays["about"])["best_epoch"])
            if len(states) == 3:
                raise Killed
        real(path, **arrays)

    model = with_callback(build(), on_epoch_end=better_every_time)
    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(Killed):
        train(data, tmp_path, model)
    assert states == [0, 1, 2]
    monkeypatch.undo()
    continued = with_callback(build(), on_epoch_end=lambda epoch, logs: logs.update(val_accuracy=0.0))
    _, history = train(data, tmp_path, continued)
    assert history.best_epoch == 1
    for weight, expected in zip(continued.weights, seen[1], strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert not (tmp_path / "next_best.npz").exists()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def of_unknown_compression(content: bytes) -> bytes:
    """The archive, whose directory says of a member that it is packed in a way that there is not."""
    place = content.index(b"PK\x01\x02") + 10
    return content[:place] + b"\x63" + content[place + 1 :]


def rising(epoch, logs):
    """The last epoch is the best one, and the one before was so before."""
    logs["val_accuracy"] = 0.1 * epoch


@pytest.fixture(scope="module")
def risen(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("risen")
    return *train(data, folder, with_callback(build(), on_epoch_end=rising)), folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("state", flipped),
        ("state", lambda content: content[: len(content) // 2]),
        ("best", lambda content: b""),
        ("best", of_unknown_compression),
    ],
)
def test_a_damaged_file_is_named_and_the_state_before_it_is_taken(data, risen, tmp_path, capsys, name, damage):
    expected, history, original = risen
    folder = shutil.copytree(original, tmp_path / "run")
    broken = folder / f"{name}.npz"
    broken.write_bytes(damage(broken.read_bytes()))
    model, again = train(data, folder, with_callback(build(), on_epoch_end=rising))
    assert f"{folder / 'state.npz'}: cannot be read" in capsys.readouterr().err
    assert again.best_epoch == history.best_epoch == 3
    for first, second in zip(expected.weights, model.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert train(data, folder)[1] == again and not capsys.readouterr().err, "what was written then is whole"


def test_where_no_state_can_be_read_both_are_named(data, whole, tmp_path):
    folder = shutil.copytree(whole[2], tmp_path / "run")
    for name in ("state", "state_before"):
        (folder / f"{name}.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"state.npz: cannot be read .*state_before.npz: cannot be read .*train anew"):
        train(data, folder)


def test_a_signal_while_a_state_is_written_leaves_the_state_before_it(data, whole, tmp_path, monkeypatch):
    replace, seen = Path.replace, []

    def replaced(path, target):
        moved = replace(path, target)
        seen.append(moved.name)
        if seen.count("state.npz") == 2 and seen[-1] == "state.npz":  # the second epoch is on disk, more is to come
            signal.raise_signal(signal.SIGINT)
        return moved

    monkeypatch.setattr(Path, "replace", replaced)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path)
    stored = [np.load(tmp_path / f"{name}.npz")["about"] for name in ("state_before", "state")]
    assert [json.loads(str(about))["next_epoch"] for about in stored] == [1, 2]


def test_an_interrupted_run_keeps_the_epochs_that_were_not_written_yet(data, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LONG_SAVE", -1.0)  # written after the first epoch and the last
    clock = iter(np.arange(0.0, 1e6))
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    steps = iter(range(100))

    def interrupt(batch, logs):
        if next(steps) == 10:  # in the fourth epoch
            raise KeyboardInterrupt

    model = with_callback(build(), on_train_batch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "cut", model)
    assert json.loads(str(np.load(tmp_path / "cut" / "state.npz")["about"]))["next_epoch"] == 3
    assert_same_run(whole, *train(data, tmp_path / "cut"))


def test_a_complete_run_is_not_trained_again(data, whole, capsys):
    _, history, folder = whole
    before = (folder / "state.npz").stat().st_mtime_ns
    model = build()
    again = fit(model, functools.partial(batches, data), batches(data, range(1)), RECIPE, folder)
    assert again == history and capsys.readouterr().out == f"{folder}: already trained, reused\n"
    assert (folder / "state.npz").stat().st_mtime_ns == before
    assert_same_run(whole, model, again)


def test_a_second_training_in_a_folder_waits_and_takes_what_the_first_has_trained(whole, data, tmp_path, caplog):
    _, history, folder = whole
    shutil.copytree(folder, tmp_path / "run")
    with ThreadPoolExecutor(1) as thread:
        with alone(tmp_path / "run" / ".lock"):
            second = thread.submit(train, data, tmp_path / "run")
            while f"{tmp_path / 'run' / '.lock'}: worked on by process" not in caplog.text:
                assert not second.done()
                time.sleep(0.01)
        assert second.result()[1] == history


def test_a_run_of_other_settings_is_refused(data, whole):
    folder = whole[2]
    with pytest.raises(ValueError, match=r"holds a run with other settings \(epochs: 4 there, 5 now\)"):
        train(data, folder, recipe=TrainingRecipe(5, 1e-2, "cosine", 1))
    other = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    with pytest.raises(ValueError, match="model: .* parameters"):
        train(data, folder, other)


def test_a_run_on_other_clips_or_with_other_frozen_weights_is_refused(data, tmp_path):
    def run(model, inputs):
        train = functools.partial(batches, data)
        fit(model, train, None, TrainingRecipe(epochs=1), tmp_path, inputs=inputs, verbose=0)

    run(build(), {"clips": "a", "batch size": 16})
    with pytest.raises(ValueError, match="clips: a there, b now"):
        run(build(), {"clips": "b", "batch size": 16})
    with pytest.raises(ValueError, match="batch size: 16 there, 15 now; a batch is shared evenly, by 1 device now"):
        run(build(), {"clips": "a", "batch size": 15})
    with pytest.raises(ValueError, match="model: .* there"):
        run(build(dropout=0.2), {"clips": "a", "batch size": 16})
    other = build()
    other.layers[3].moving_mean.assign(other.layers[3].moving_mean + 1)
    with pytest.raises(ValueError, match="weights that are not trained"):
        run(other, {"clips": "a", "batch size": 16})


def test_batches_of_unknown_number_are_refused(data, tmp_path):
    endless = batches(data, range(1)).repeat()
    with pytest.raises(ValueError, match="known number of at least 1"):
        fit(build(), endless, None, RECIPE, tmp_path, verbose=0)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_batches_that_cannot_be_read_raise_what_reading_them_raises(data, tmp_path, part):
    def damaged(positions):
        raise DatasetError("shard-00000: damaged at the clip of a.mp4")

    def read(positions):
        return read_at(damaged, positions, tf.uint8, SHAPE), tf.gather(data[1], positions)

    broken = functools.partial(passes, CLIPS, read, 8, True, 0, skip=0)
    train = functools.partial(batches, data) if part == "validation" else broken
    with pytest.raises(DatasetError, match=r"^shard-00000: damaged at the clip of a\.mp4$"):
        fit(build(), train, broken(epochs=[0]), RECIPE, tmp_path, verbose=0)


def test_the_model_ends_with_the_weights_of_its_best_epoch(data, tmp_path):
    """A learning rate that ruins the model: later epochs are worse than an early one."""
    seen = []
    model = with_callback(build(), on_epoch_end=lambda *_: seen.append([weight.numpy() for weight in model.weights]))
    _, history = train(data, tmp_path, model, TrainingRecipe(epochs=5, learning_rate=0.3))
    ranks = list(zip(history.epochs["val_accuracy"], [-v for v in history.epochs["val_loss"]], strict=True))
    assert ranks[history.best_epoch] == max(ranks)
    for weight, expected in zip(model.weights, seen[history.best_epoch], strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_cosine_rate_by_hand(whole):
    """Three steps of warm-up, then half a cosine over nine; read after each epoch of three steps."""
    _, history, _ = whole
    expected = [1e-2 * 0.5 * (1 + np.cos(np.pi * done / 9)) for done in (0, 3, 6, 9)]
    np.testing.assert_allclose(history.epochs["learning_rate"], expected, rtol=1e-5, atol=1e-9)


def test_step_divides_the_rate_by_ten(data, tmp_path):
    recipe = TrainingRecipe(epochs=5, learning_rate=1e-2, schedule="step", step_epochs=2, optimizer="sgd")
    model, history = train(data, tmp_path, recipe=recipe, validation=False)
    # The rate that the next step would take, after each epoch.
    np.testing.assert_allclose(history.epochs["learning_rate"], [1e-2, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-5)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    # Without validation clips the last epoch is kept.
    assert history.best_epoch == 4
    assert "val_loss" not in history.epochs


def test_sgd_takes_the_step_of_its_equation(data, tmp_path):
    """v <- 0.5 v - rate * gradient, w <- w + v: two steps with the whole of the data as a batch."""

    def whole(epochs):
        return batches(data, [0] * len(epochs), batch_size=CLIPS)

    def plain():
        training.seed_everything(0)
        clip = keras.Input(SHAPE, dtype="uint8", name="clip")
        x = layers.GlobalAveragePooling3D()(layers.Rescaling(1 / 255)(clip))
        return keras.Model(clip, layers.Dense(CLASSES, activation="softmax", name="predictions")(x))

    model, by_hand = plain(), plain()
    fit(model, whole, None, TrainingRecipe(2, 0.1, optimizer="sgd", momentum=0.5), tmp_path, verbose=0)
    velocity = [0.0, 0.0]
    (inputs, labels), *_ = whole(range(1))
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, by_hand(inputs)))
        for i, gradient in enumerate(tape.gradient(loss, [v.value for v in by_hand.trainable_variables])):
            velocity[i] = 0.5 * velocity[i] - 0.1 * gradient
            by_hand.trainable_variables[i].assign_add(velocity[i])
    for ours, expected in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    model = build()
    model.get_layer("predictions").bias.assign([np.nan] * CLASSES)
    with pytest.raises(FloatingPointError, match="The loss is nan after epoch 1"):
        train(data, tmp_path, model)
    assert not (tmp_path / "state.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": 0}, "At least one epoch. Received: epochs=0"),
        ({"learning_rate": 0}, "positive. Received: learning_rate=0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1"),
        ({"weight_decay": -3}, "weight_decay=-3"),
        ({"clipnorm": 0.0}, "clipnorm=0.0"),
        ({"schedule": "linear"}, "'constant', 'cosine' and 'step'. Received: schedule='linear'"),
        ({"optimizer": "lars"}, "'adam' and 'sgd'. Received: optimizer='lars'"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"step_epochs": 0}, "step_epochs=0"),
    ],
)
def test_wrong_recipes_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        TrainingRecipe(**arguments)


def normalized():
    """A network whose every answer depends on the other clips of its batch, through BatchNorm; no dropout.

    A bias in front of BatchNorm has no gradient but rounding, which Adam makes steps of: there is none.
    """
    training.seed_everything(0)
    clip = keras.Input(SHAPE, dtype="uint8")
    x = layers.Conv3D(4, (1, 3, 3), use_bias=False)(layers.Rescaling(1 / 255)(clip))
    x = layers.BatchNormalization(momentum=0.5)(x)
    x = layers.GlobalAveragePooling3D()(layers.ReLU()(x))
    return keras.Model(clip, layers.Dense(CLASSES, activation="softmax", kernel_regularizer="l2")(x))


def odd(data, training, epochs=(0,), clips=33, batch_size=16):
    """33 clips, as `pipeline.clips` gives them."""
    rows = np.arange(clips) % CLIPS
    pixels, labels = tf.constant(data[0][rows]), tf.constant(data[1][rows])
    return passes(
        clips, lambda at: (tf.gather(pixels, at), tf.gather(labels, at)), batch_size, training, 0, epochs, skip=0
    )


@pytest.fixture(scope="module")
def trained_on(data, tmp_path_factory):
    """trained_on(devices) -> (history, weights, answers): 33 clips in batches of 16, 21 for validation."""
    known = {}

    def run(count):
        if count not in known:
            strategy = devices.mirrored(count) if count > 1 else tf.distribute.get_strategy()
            recipe = TrainingRecipe(3, 3e-2, "cosine", 1, label_smoothing=0.1, clipnorm=0.05, weight_decay=0.01)
            with strategy.scope():
                model = normalized()
                held_out = padded(odd(data, False, clips=21), 16, 21)
                folder = tmp_path_factory.mktemp("devices")
                history = fit(model, functools.partial(odd, data, True), held_out, recipe, folder, verbose=0)
            answers = devices.predict(model, padded(odd(data, False), 16, 33))[:33]
            arrays = devices.predict(model, data[0], batch_size=5)
            np.testing.assert_allclose(arrays, answers[:CLIPS], atol=1e-6)
            assert not any(getattr(layer, "synchronized", False) for layer in model.layers), "as it was built"
            known[count] = history, model.get_weights(), answers, folder
        return known[count]

    return run


@pytest.mark.parametrize("count", [2, 4, 8])
def test_several_devices_end_with_what_one_does(trained_on, count):
    history, weights, answers, _ = trained_on(1)
    measured, shared, answered, _ = trained_on(count)
    for name in history.epochs.keys() - {"seconds"}:
        np.testing.assert_allclose(measured.epochs[name], history.epochs[name], rtol=2e-4, err_msg=name)
    for one, several in zip(weights, shared, strict=True):
        np.testing.assert_allclose(several, one, atol=2e-4)
    np.testing.assert_allclose(answered, answers, atol=2e-4)
    assert answers.shape == (33, CLASSES)


def test_steps_that_are_taken_in_one_call_are_the_same(data, tmp_path, monkeypatch):
    """As a TPU takes them: of the four of an epoch here three and one."""
    found, recipe = [], TrainingRecipe(2, 3e-2, clipnorm=0.05)
    for together in (1, 3):
        monkeypatch.setattr(replicated, "_together", lambda _, together=together: together)
        with devices.mirrored(2).scope():
            model = normalized()
            train = functools.partial(odd, data, True, batch_size=8)
            history = fit(model, train, None, recipe, tmp_path / str(together), verbose=0)
        found.append((history.epochs["loss"], history.epochs["accuracy"], *model.get_weights()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_padded_validation_counts_every_clip_once(trained_on, data):
    """The best weights, on the 21 validation clips one by one."""
    history, weights, _, _ = trained_on(1)
    model = normalized()
    model.set_weights(weights)
    answers, labels = model.predict(data[0], verbose=0), keras.utils.to_categorical(data[1], CLASSES)
    losses = keras.losses.CategoricalCrossentropy(label_smoothing=0.1, reduction=None)(labels, answers)
    of_weights = float(sum(model.losses))
    best = history.best_epoch
    assert history.epochs["val_loss"][best] == pytest.approx(float(np.mean(losses)) + of_weights, rel=1e-5)
    assert history.epochs["val_accuracy"][best] == pytest.approx((answers.argmax(1) == data[1]).mean())


def test_a_run_of_several_devices_goes_on_on_one(data, trained_on, tmp_path):
    history, weights, _, folder = trained_on(4)
    shutil.copytree(folder, tmp_path / "run")
    recipe = TrainingRecipe(3, 3e-2, "cosine", 1, label_smoothing=0.1, clipnorm=0.05, weight_decay=0.01)
    model = normalized()
    assert fit(model, functools.partial(odd, data, True), None, recipe, tmp_path / "run", verbose=0) == history
    for one, several in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, several)


def test_a_smaller_last_batch_of_ones_own_is_shared_as_well(data, tmp_path):
    """33 clips in a dataset that is the same in every epoch, its last batch of one clip, without BatchNorm."""

    def plain():
        training.seed_everything(0)
        return keras.Sequential(
            [keras.Input(SHAPE, dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten(),
             layers.Dense(CLASSES, activation="softmax", name="predictions")]
        )  # fmt: skip

    found = []
    for strategy in (tf.distribute.get_strategy(), devices.mirrored(4)):
        with strategy.scope():
            model = plain()
        own = odd(data, False)
        history = fit(model, own, own, TrainingRecipe(2), tmp_path / str(len(found)), strategy, verbose=0)
        found.append((history, model.get_weights()))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(found[1][0].epochs[name], found[0][0].epochs[name], rtol=1e-4, err_msg=name)
    for one, several in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(several, one, atol=1e-5)


def test_mixed_precision_computes_in_half_and_answers_in_float32(data, tmp_path):
    training.set_precision("mixed_bfloat16")
    try:
        model = build()
    finally:
        training.set_precision("float32")
    assert model.get_layer("conv").compute_dtype == "bfloat16"
    assert model.get_layer("conv").kernel.dtype == "float32"
    fit(model, functools.partial(batches, data), None, TrainingRecipe(epochs=1), tmp_path, verbose=0)
