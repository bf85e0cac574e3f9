"""Several processes train as one machine does; what devices of one machine do stands in test_training.py."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import small_training

import har_tf
from har_tf import devices
from har_tf.experiment import Devices

WORKER = """
import sys
import numpy as np
from pathlib import Path
from small_training import trained
model, history = trained(Path(sys.argv[1]), "multiworker")
np.savez(f"{sys.argv[1]}.npz", *model.get_weights(), np.array(history.epochs["val_loss"]))
"""


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        hosts = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    paths = os.pathsep.join(map(str, (Path(small_training.__file__).parent, Path(har_tf.__file__).parents[1])))
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"PYTHONPATH": paths, "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, "-c", WORKER, f"worker{index}"]
        workers.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL))
    try:
        model, history = small_training.trained(tmp_path / "one")
        assert [worker.wait(120) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    expected = [*model.get_weights(), np.array(history.epochs["val_loss"])]
    for index in range(2):
        with np.load(tmp_path / f"worker{index}.npz") as stored:
            for values, one in zip(stored.values(), expected, strict=True):
                np.testing.assert_allclose(values, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {"worker": ["a"]}, "task": {"index": 0}}',
     '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
)  # fmt: skip
def test_a_wrong_cluster_is_told_in_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="^TF_CONFIG names the workers and which of them this is, as in .*Received: "):
        devices.strategy("multiworker")


def test_an_experiment_refuses_several_machines():
    with pytest.raises(ValueError, match="An experiment runs on one machine.* Received: --strategy multiworker"):
        Devices("multiworker").check()
