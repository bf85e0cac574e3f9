"""One machine leads the others; that processes of their own train so stands in test_replicated.py."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from har_tf import devices, leader
from har_tf.concepts.options import SmallSwin
from har_tf.evaluate import gated_rows
from har_tf.evaluate.options import SmallResNeXt
from har_tf.experiment import Augmentation, Training
from har_tf.models import zoo
from har_tf.workers import Workers

WORKERS = Workers(("127.0.0.1:1", "127.0.0.1:2"), 0)


class Service:
    """TensorFlow's coordination service, of which this process is the only client."""

    def __init__(self):
        self.kept = {}

    def set_config_key_value(self, key, value):
        assert key not in self.kept
        self.kept[key] = value

    def get_config_key_value(self, key, milliseconds):
        if key not in self.kept:
            raise tf.errors.DeadlineExceededError(None, None, "not there yet")
        return self.kept[key]


@pytest.fixture
def as_worker(monkeypatch):
    """Makes this process the worker of a number, with the messages that those before it have sent."""
    service, strategy = Service(), tf.distribute.MirroredStrategy(["CPU:0"])

    def start(index: int):
        workers = Workers(WORKERS.addresses, index)
        tf.distribute.experimental_set_strategy(strategy)
        monkeypatch.setattr(leader, "_numbers", iter(range(100)))
        monkeypatch.setattr(leader, "context", lambda: service)
        monkeypatch.setattr(devices, "worker", lambda: workers if tf.distribute.has_strategy() else None)
        monkeypatch.setattr(Workers, "silent", lambda self, among=None, seconds=0: [])

    yield start
    leader._all = devices._trained_on = None
    tf.distribute.experimental_set_strategy(None)


called = []


def scaled(array: np.ndarray, by: int) -> np.ndarray:
    called.append((devices.replicas(), tf.distribute.has_strategy(), float(array.sum()) * by))
    return array * by


def diverging() -> None:
    raise FloatingPointError("the loss is nan")


def test_the_others_call_what_the_first_calls_until_they_are_dismissed(as_worker):
    called.clear()
    as_worker(0)
    assert leader.lead() is None and devices.worker() is None, "it goes on alone"
    assert not tf.distribute.has_strategy()
    np.testing.assert_array_equal(leader.on_all(scaled, np.arange(3.0), by=2), [0, 2, 4])
    with pytest.raises(FloatingPointError, match="nan"):
        leader.on_all(diverging)
    assert not tf.distribute.has_strategy(), "also after an error"
    leader.on_all(scaled, np.ones(2), by=5)
    leader.dismiss("all is done")
    leader.dismiss("once")
    leader.on_all(scaled, np.ones(1), by=1)
    first, called[:] = called[:], []

    as_worker(1)
    assert leader.lead() == "all is done"
    assert called == first[:2] == [(1, True, 6.0), (1, True, 10.0)]
    assert first[2] == (1, False, 1.0), "alone again"


def test_one_that_waits_ends_when_another_is_lost(as_worker, monkeypatch):
    as_worker(1)
    monkeypatch.setattr("har_tf.workers.ASKED_EVERY", 0.01)
    monkeypatch.setattr(Workers, "silent", lambda self, among=None, seconds=0: [0])
    with pytest.raises(ConnectionError, match=r"^worker 0 \(127.0.0.1:1\) of 2 does not answer any more"):
        leader.lead()


def test_without_others_a_function_is_called_here():
    assert leader.lead() is None
    assert leader.on_all(divmod, 7, 2) == (3, 1)
    leader.dismiss("nobody")


@pytest.mark.parametrize(
    "row",
    [
        zoo.named("CNN-GRU"),
        zoo.FusedModel("Fusion-GRU", {"MobileNet": None}, options={"gru_units": (4, 4)}),
        gated_rows.Networks(weights="none").rows()[0],
        SmallResNeXt(),
        SmallSwin(),
    ],
    ids=lambda row: type(row).__name__,
)
def test_what_is_trained_can_be_sent(row):
    """With the trainer, as `Trainer.train` gives both to `on_all`."""
    trainer = Training(epochs=3).trainer(Augmentation(flip=0.5).augment())
    function, found = pickle.loads(pickle.dumps((trainer._train, row)))
    assert function.__self__ == trainer and found == row
