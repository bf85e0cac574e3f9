"""Tables of trials: every row on every split with every seed."""

import importlib.util
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from har_tf import datasets, trial
from har_tf.classifier import Classifier
from har_tf.evaluate.calibration import Calibration
from har_tf.evaluate.reliability import measure
from har_tf.experiment import Training
from har_tf.models import saving
from har_tf.trial import Parts, provenance, run_rows
from har_tf.video import write_video


def test_rows_run_on_every_split_with_every_seed_and_one_that_diverges_ends_there(capsys):
    rows, asked = [SimpleNamespace(name="a"), SimpleNamespace(name="b"), SimpleNamespace(name="c", missing="lost")], []

    def trial(row, split, seed):
        asked.append((row.name, split, seed))
        if asked[-1] == ("a", 1, 3):
            raise FloatingPointError("the loss is nan")
        return {"accuracy": split / 4}

    trials, states = run_rows(rows, [1, 2], [0, 3], trial)
    assert asked == [("a", 1, 0), ("b", 1, 0), ("a", 1, 3), ("b", 1, 3), ("b", 2, 0), ("b", 2, 3)]
    assert states == {
        "a": {"status": "diverged", "reason": "split 1, seed 3: the loss is nan"},
        "b": {"status": "run", "reason": None},
        "c": {"status": "not run", "reason": "lost"},
    }
    assert trials["a"] == [{"split": 1, "seed": 0, "accuracy": 0.25}]
    assert [(t["split"], t["seed"], t["accuracy"]) for t in trials["b"]] == [
        (1, 0, 0.25), (1, 3, 0.25), (2, 0, 0.5), (2, 3, 0.5),
    ]  # fmt: skip
    assert "b, split 2, seed 3: test accuracy 0.5000" in capsys.readouterr().out


def test_a_table_without_any_row_that_was_trained_is_told_by_its_states():
    """Another table of the same run may have some."""

    def diverges(*_):
        raise FloatingPointError("the loss is nan")

    trials, states = run_rows(
        [SimpleNamespace(name="a"), SimpleNamespace(name="c", missing="lost")], [1], [0], diverges
    )
    assert trials == {"a": [], "c": []}
    assert [state["status"] for state in states.values()] == ["diverged", "not run"]


def test_other_errors_are_not_caught():
    with pytest.raises(ZeroDivisionError):
        run_rows([SimpleNamespace(name="a")], [1], [0], lambda *_: 1 / 0)


def test_a_model_says_where_it_comes_from_and_keeps_its_date(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    about = {"weights": "random weights", "seed": 0}
    file = tmp_path / "model.keras"
    saving.save_model(model, file, list("abc"), provenance=provenance(about, file))
    assert saving.provenance(file).keys() == {*about, "date"}
    date = saving.provenance(file)["date"]
    assert provenance(about, file)["date"] == date
    assert provenance({**about, "seed": 1}, file)["date"] >= date
    assert provenance(about, file.with_name("none.keras")).keys() == {*about, "date"}


class Store:
    """What a trial asks of stored clips, flow or features: of three clips in OUT/<name>_<fingerprint>."""

    def __init__(self, path, root="/data", names=("a/1.mp4", "b/1.mp4", "b/2.mp4"), labels=(0, 1, 1)):
        self.path, self.names, self.labels = Path(path), list(names), np.array(labels)
        self.record_paths = [Path(root, name) for name in names]

    def __len__(self):
        return len(self.names)


def test_clips_are_known_by_what_they_are_and_not_by_where_they_lie():
    def of(*stores):
        return Parts(None, None, None).fingerprint(stores if len(stores) > 1 else stores[0])

    here = Store("/out/data_0123456789ab")
    moved = Store("elsewhere/renamed_0123456789ab", "../mnt/videos")
    assert of(here) == of(moved) and of(here).startswith("3 clips, ")
    assert of(here, here) == of(moved, moved) != of(here)
    others = [
        Store("/out/data_ba9876543210"), Store(here.path, names=("a/1.mp4", "b/1.mp4", "b/3.mp4")),
        Store(here.path, labels=(0, 1, 0)),
    ]  # fmt: skip
    assert len({of(here), *map(of, others)}) == 4


@dataclass(frozen=True)
class Small:
    """A convolution, frozen or not, and a classifier."""

    name: str = "small"
    frozen: bool = True
    scale: float = 1.0

    def build(self, shape, num_classes):
        clip = keras.Input(shape, dtype="uint8", name="clip")
        x = keras.layers.Rescaling(1 / 255)(clip)
        x = keras.layers.Conv3D(4, 3, 2, activation="relu", name="conv", trainable=not self.frozen)(x)
        x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling3D()(x))
        answers = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
        model = keras.Model(clip, answers, name="small")
        kernel = model.get_layer("conv").kernel
        kernel.assign(self.scale * kernel)
        return model


def test_a_frozen_network_is_computed_once_and_learns_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "videos" / ("dark", "bright")[number % 2] / f"v_{number:02d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(128 * (number % 2), 128 + 128 * (number % 2), (6, 16, 16, 3), "uint8"))
    dataset = datasets.load(tmp_path / "videos")
    prepared = datasets.prepare(dataset, tmp_path / "prepared", 4, (16, 16), workers=0)
    records = sorted(dataset.records, key=lambda record: record.path.name)  # the classes in turns
    parts = Parts.of(prepared, records[:6], records[6:8], records[8:])
    trainer = Training(epochs=3, learning_rate=0.05, batch_size=4).trainer()
    stored = trainer.train(Small(), parts, tmp_path / "stored", 1)
    (store,) = (tmp_path / "prepared" / "features").glob("[!.]*")
    assert store.name.startswith("videos_small_")
    with monkeypatch.context() as patch:
        patch.setattr(trial, "STORED", 0)  # too large: all of it is computed in every epoch
        whole = trainer.train(Small(), parts, tmp_path / "whole", 1)
    np.testing.assert_allclose(stored.probabilities, whole.probabilities, atol=1e-5)
    for ours, theirs in zip(stored.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.ptp(stored.probabilities[:, 0]) > 0.01
    saved = keras.models.load_model(tmp_path / "stored" / "model.keras")
    np.testing.assert_allclose(saved.predict(parts.test.read(range(4)), verbose=0), stored.probabilities, atol=1e-5)
    with pytest.raises(ValueError, match=r"other settings \(frozen part"):  # other weights are another run
        trainer.train(Small(scale=0.5), parts, tmp_path / "stored", 1)
    if importlib.util.find_spec("apache_beam"):  # workers of Beam compute the same bytes
        computed = (store / "features.npy").read_bytes()
        shutil.rmtree(store)
        options = ["--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
        trainer = Training(epochs=1, batch_size=4).trainer(beam=options)
        trainer.train(Small(), parts, tmp_path / "beam", 1)
        assert (store / "features.npy").read_bytes() == computed
    # A model that answers otherwise than what was trained is not handed on.
    monkeypatch.setattr(trial, "SAME", -1)
    with pytest.raises(RuntimeError, match="answers otherwise than its head on stored numbers"):
        trainer.train(Small(), parts, tmp_path / "apart", 1)
    assert not (tmp_path / "apart" / "model.keras").exists()


def test_a_temperature_of_the_validation_clips_is_kept_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(64):  # two classes that overlap
        path = tmp_path / "videos" / ("dark", "bright")[number % 2] / f"v_{number:02d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        light = int(np.clip(rng.normal((110, 140)[number % 2], 25), 0, 255))
        write_video(path, np.full((6, 16, 16, 3), light, "uint8"))
    dataset = datasets.load(tmp_path / "videos")
    prepared = datasets.prepare(dataset, tmp_path / "prepared", 4, (16, 16), workers=0)
    records = sorted(dataset.records, key=lambda record: record.path.name)  # the classes in turns
    parts = Parts.of(prepared, records[:16], records[16:48], records[48:])
    trainer = Training(epochs=4, learning_rate=0.1, batch_size=8).trainer()
    plain = trainer.train(Small(), parts, tmp_path / "plain", 1)
    assert "probabilities" not in plain.as_dict() and plain.calibrated is plain.probabilities
    found = replace(trainer, calibrate=True).train(Small(), parts, tmp_path / "calibrated", 1)
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-5)
    loaded = Classifier.load(tmp_path / "calibrated" / "model.keras")
    assert loaded.calibration == found.calibration and found.calibration.clips == 32
    assert found.calibration.about["date"] == loaded.provenance["date"]
    answers = loaded.predict(parts.test.read(range(16))).probabilities
    np.testing.assert_allclose(answers, found.calibrated, atol=1e-5)
    # The best of all temperatures on the validation clips.
    scores = np.log(plain.model.predict(parts.validation.read(range(32)), verbose=0).astype(float))
    losses = [measure(Calibration(found.calibration.temperature * by, 1).probabilities(scores),
                      parts.validation.labels).log_loss for by in (0.95, 1, 1.05)]  # fmt: skip
    assert min(losses) == losses[1]
    effect = found.as_dict()["probabilities"]
    assert effect["corrected"]["log_loss"] == pytest.approx(measure(answers, parts.test.labels).log_loss, rel=1e-4)
    assert effect["as_trained"]["accuracy"] == effect["corrected"]["accuracy"] == found.report.accuracy
    # Without validation clips, or with few, there is none.
    few = Parts.of(prepared, records[:16], records[16:20], records[48:])
    told = replace(trainer, calibrate=True).train(Small(), few, tmp_path / "few", 1)
    assert told.calibration is None and "at least 20 clips. Received: 4" in told.effect["not_fitted"]
    assert Classifier.load(tmp_path / "few" / "model.keras").calibration is None
