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
from tiny_networks import make_tiny

import har_tf
from experiments import cam3d_localization
from har_tf.experiment import begin, changed

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


@pytest.fixture
def hosts() -> list[str]:
    """Two addresses of this machine that are free."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def on_both(hosts: list[str], folder: Path, *commands: list[str]) -> tuple[list[int], list[str]]:
    """Exit codes of two workers' Python commands that run in a folder, and what they have printed."""
    paths = os.pathsep.join(map(str, (Path(small_training.__file__).parent, Path(har_tf.__file__).parents[1])))
    with ExitStack() as stack:
        workers = []
        for index, command in enumerate(commands):
            config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = os.environ | {"PYTHONPATH": paths, "TF_CONFIG": json.dumps(config)}
            how = {"stdout": (folder / f"printed{index}").open("w"), "stderr": subprocess.DEVNULL}
            workers.append(subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, **how))
            stack.callback(workers[-1].kill)
        codes = [worker.wait(240) for worker in workers]
    return codes, [(folder / f"printed{index}").read_text() for index in range(2)]


def test_two_processes_of_which_one_is_killed_end_with_the_weights_of_one(hosts, tmp_path):
    """Worker 1 in its last epoch; worker 0 names it and ends, and the same commands go on from what it has written."""

    def run(killed_in: str) -> tuple[list[int], list[str]]:
        return on_both(hosts, tmp_path, ["-c", WORKER, "0", ""], ["-c", WORKER, "1", killed_in])

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


FUSION = """
from pytest import MonkeyPatch
from tiny_networks import make_tiny
from experiments import fusion_gru
from har_tf.experiment import run_cli

with MonkeyPatch.context() as patch:
    make_tiny(patch, None)
    run_cli(fusion_gru.main, fusion_gru.PRESETS)
"""


def test_an_experiment_is_run_by_one_worker_and_trained_by_both(hosts, tmp_path, monkeypatch):
    """Worker 0 alone holds the lock of the feature store while it computes what both then train on."""
    options = "--clips 40 --size 64 --num-frames 4 --splits 1 --epochs 1 --gru-units 4 4 --weights imagenet --workers 0"
    options += f" --overlays 0 --weights-dir {make_tiny(monkeypatch, tmp_path)}"
    command = ["-c", FUSION, "--strategy", "multiworker", "--run", "two", "--out", "runs", *options.split()]
    codes, printed = on_both(hosts, tmp_path, command, command)
    assert codes == [0, 0], printed
    run = Path("runs", "fusion_gru", "two")
    assert printed[1].splitlines()[-1] == f"worker 1 of 2: done; results are written by worker 0 at {run}"
    assert printed[1].count("val_loss") == printed[0].count("val_loss") == 3, "both have trained the three rows"
    assert "features of 40 clips" in printed[0] and "features" not in printed[1]
    results = json.loads((tmp_path / run / "results.json").read_text())
    assert all(row["status"] == "run" for row in results["networks"].values())
    assert (tmp_path / run / "report.html").is_file()
    assert json.loads((tmp_path / run / "environment.json").read_text())["devices"].startswith("2 CPUs, mirrored")


def test_an_experiment_that_trains_nothing_refuses_several_machines():
    with pytest.raises(ValueError, match="^On several machines an experiment trains.* and nothing to train$"):
        begin(changed(cam3d_localization.PRESETS["figures"], strategy="multiworker"), trains=False)
