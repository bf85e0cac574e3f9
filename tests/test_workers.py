"""Machines that wait for each other and name who is lost; that they train together stands in test_replicated.py."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest

from har_tf import devices, workers
from har_tf.workers import Workers


@pytest.fixture
def two():
    """Both workers of a cluster on ports that are free."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        addresses = tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
    return [Workers(addresses, index) for index in range(2)]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cluster": {"worker": ["a:1"]}}', '{"cluster": {"worker": ["a"]}, "task": {"index": 0}}',
     '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
)  # fmt: skip
def test_a_wrong_cluster_is_told_in_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="^TF_CONFIG names the workers and which of them this is, as in .*Received: "):
        devices.strategy("multiworker")


def test_a_worker_that_does_not_come_is_named(two, capsys):
    with pytest.raises(
        ConnectionError, match=rf"^worker 1 \({two[0].addresses[1]}\) did not answer within 0.5 seconds"
    ):
        two[0].meet(patience=0.5)
    said = f"worker 0 of 2: waits up to 0.5 seconds for worker 1 ({two[0].addresses[1]})\n"
    assert capsys.readouterr().out == said


def test_workers_wait_for_each_other(two):
    met, both = [], threading.Barrier(2)

    def start(worker):
        worker.meet(30)
        met.append(worker.index)
        with workers._listening(int(worker.addresses[worker.index].rpartition(":")[2])):  # as TensorFlow's server
            both.wait(30)

    threads = [threading.Thread(target=start, args=(worker,)) for worker in two]
    threads[0].start()
    time.sleep(0.3)
    assert not met
    threads[1].start()
    for thread in threads:
        thread.join()
    assert sorted(met) == [0, 1] and not both.broken


def test_the_port_of_another_process_is_named(two):
    port = int(two[0].addresses[0].rpartition(":")[2])
    with workers._listening(port), pytest.raises(OSError, match=f"^port {port}, which TF_CONFIG gives to this worker"):
        two[0].meet(0.5)


def test_what_waits_for_a_lost_worker_is_ended(two, monkeypatch):
    monkeypatch.setattr(workers, "ASKED_EVERY", 0.05)
    ended, texts = threading.Event(), []

    def abort(text):
        texts.append(text)
        ended.set()

    with pytest.raises(ConnectionError) as raised, two[0].watched(abort, RuntimeError):
        assert ended.wait(20)
        raise RuntimeError("as TensorFlow's operations do")
    assert texts == [str(raised.value)]
    assert texts[0].startswith(f"worker 1 ({two[0].addresses[1]}) of 2 does not answer any more; the same command")


def test_a_process_that_cannot_be_ended_by_an_error_is_ended(two, monkeypatch, capsys):
    monkeypatch.setattr(workers, "ASKED_EVERY", 0.05)
    monkeypatch.setattr(workers, "LEAVES_WITHIN", 0.05)
    codes, ended = [], threading.Event()
    monkeypatch.setattr(workers.os, "_exit", lambda code: (codes.append(code), ended.set()))
    with two[0].watched(lambda text: None, RuntimeError):
        assert ended.wait(20)
    assert codes == [1]
    assert capsys.readouterr().err.startswith(f"error: worker 1 ({two[0].addresses[1]}) of 2 does not answer")


def test_an_error_while_all_answer_stays_what_it_is(two, monkeypatch):
    monkeypatch.setattr(workers, "ASKED_EVERY", 0.05)
    port = int(two[1].addresses[1].rpartition(":")[2])
    watched = two[0].watched(lambda text: None, RuntimeError)
    with workers._listening(port), pytest.raises(RuntimeError, match="^of its own$"), watched:
        raise RuntimeError("of its own")


@pytest.mark.parametrize(
    ("here", "text"),
    [
        (0, "The following tasks are unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\nThe tasks"),
        (1, "Collective ops is aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat\nThe"),
    ],
)
def test_one_that_is_stopped_and_answers_is_named_as_tensorflow_names_it(two, monkeypatch, here, text):
    monkeypatch.setattr(workers, "ASKED_EVERY", 0.05)
    address = two[0].addresses[1 - here]
    named = pytest.raises(ConnectionError, match=rf"^worker {1 - here} \({address}\) of 2 does not")
    with workers._listening(int(address.rpartition(":")[2])), named, two[here].watched(lambda text: None, RuntimeError):
        raise RuntimeError(text)
