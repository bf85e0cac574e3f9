"""Several processes train as one machine does; what devices of one machine do stands in test_training.py."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import small_training

import har_tf
from har_tf.experiment import Devices

WORKER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from small_training import Killed, trained
index, killed_in = sys.argv[1:]
try:
    model, history = trained(Path("run"), "multiworker", killed_in=int(killed_in) if killed_in else None)
except Killed:
    os.kill(os.getpid(), signal.SIGKILL)
except ConnectionError as error:
    print(error)
    sys.exit(1)
np.savez(f"{index}.npz", *model.get_weights(), np.array(history.epochs["val_loss"]))
"""


def test_two_processes_of_which_one_is_killed_end_with_the_weights_of_one(tmp_path):
    """Worker 1 in its last epoch; worker 0 names it and ends, and the same commands go on from what it has written."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        hosts = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    paths = os.pathsep.join(map(str, (Path(small_training.__file__).parent, Path(har_tf.__file__).parents[1])))

    def run(killed_in: str) -> tuple[list[int], list[str]]:
        """Exit codes, and what was printed."""
        with ExitStack() as stack:
            workers = []
            for index in range(2):
                config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
                environment = os.environ | {"PYTHONPATH": paths, "TF_CONFIG": json.dumps(config)}
                command = [sys.executable, "-c", WORKER, str(index), killed_in if index == 1 else ""]
                how = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
                workers.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **how))
                stack.callback(workers[-1].kill)
            printed = [worker.communicate(timeout=240)[0] for worker in workers]
            return [worker.returncode for worker in workers], printed

    codes, printed = run(killed_in="2")
    assert codes == [1, -signal.SIGKILL]
    assert f"worker 1 ({hosts[1]}) of 2 does not answer any more; the same command, started again" in printed[0]
    history = (tmp_path / "run" / "history.csv").read_text()
    assert len(history.splitlines()) == 3, "a heading and two epochs"

    assert run(killed_in="")[0] == [0, 0]
    assert (tmp_path / "run" / "history.csv").read_text().startswith(history), "it has gone on"
    model, history = small_training.trained(tmp_path / "one")
    expected = [*model.get_weights(), np.array(history.epochs["val_loss"])]
    for index in range(2):
        with np.load(tmp_path / f"{index}.npz") as stored:
            for values, one in zip(stored.values(), expected, strict=True):
                np.testing.assert_allclose(values, one, rtol=1e-4, atol=1e-5)


def test_an_experiment_refuses_several_machines():
    with pytest.raises(ValueError, match="An experiment runs on one machine.* Received: --strategy multiworker"):
        Devices("multiworker").check()
