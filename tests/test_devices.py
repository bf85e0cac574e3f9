"""What computes: the devices by their kinds, the line that says which, and errors before any long work."""

import socket

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import config  # nothing public turns op determinism off again

from har_tf import devices
from har_tf.experiment import Devices


@pytest.fixture(autouse=True)
def as_before():
    before = config.is_op_determinism_enabled()
    yield
    tf.distribute.experimental_set_strategy(None)
    devices.set_precision("float32")
    config.disable_op_determinism() if not before else None


def test_what_is_built_afterwards_lies_on_the_devices(capsys):
    config.disable_op_determinism()
    devices.begin("mirrored", precision="mixed_bfloat16", deterministic=False)
    count = len(tf.config.list_logical_devices("CPU"))
    assert count > 1, "see conftest.py"
    assert devices.replicas() == count
    assert capsys.readouterr().out == f"devices: {count} CPUs, mirrored; mixed_bfloat16\n"
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert len(layer.kernel.value.values) == count and layer.compute_dtype == "bfloat16"

    Devices().begin()
    assert (devices.replicas(), devices.precision()) == (1, "float32")
    assert capsys.readouterr().out == "devices: 1 CPU; float32; deterministic\n", "left open: on a CPU it is on"
    layer.kernel.assign(layer.kernel + 1)


def test_unknown_devices_and_a_missing_tpu_are_named_in_one_line():
    with pytest.raises(ValueError, match="^Devices are one, mirrored, multiworker, tpu. Received: strategy='two'$"):
        devices.strategy("two")
    with pytest.raises(ValueError, match=r"^No TPU was found at this machine \(.+\). Received: --tpu local$") as raised:
        devices.begin("tpu")
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="--tpu needs --strategy tpu. Received: --tpu a --strategy one"):
        Devices(tpu="a").check()


def test_a_tpu_that_does_not_answer_is_not_waited_for():
    """TensorFlow's own client tries for longer than five minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ValueError, match=rf"name or address \(.*refused.*\). Received: --tpu grpc://127.0.0.1:{port}"):
        devices.strategy("tpu", f"grpc://127.0.0.1:{port}")


def test_seeds_leave_determinism_as_it_is_unless_asked():
    config.disable_op_determinism()
    devices.seed_everything(3, None)
    first = keras.random.uniform((2,)).numpy().tolist()
    assert not config.is_op_determinism_enabled()
    devices.seed_everything(3)
    assert config.is_op_determinism_enabled() and keras.random.uniform((2,)).numpy().tolist() == first
