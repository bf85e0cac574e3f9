"""The machines that train together: TF_CONFIG names them, they wait for each other, and who is lost is named.

TensorFlow's own server and collective operations wait without end for a machine that is not there. Here the ports that
TF_CONFIG names are asked who answers: before the server is started, and while all compute together.
"""

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from har_tf.names import say

PATIENCE = 60  # seconds that workers wait for each other at the start
ASKED_EVERY, ANSWERS_WITHIN, MISSES = 5, 5, 3  # seconds, seconds, and how often in a row one that is lost has not
LEAVES_WITHIN = 30  # seconds that a process has to end by itself when another worker is lost


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster by their addresses, host:port, and which of them this process is."""

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def of(cls, text: str) -> Self:
        """The workers that TF_CONFIG names.

        Raises:
            ValueError: it names none, or not which of them this is.
        """
        try:
            config = json.loads(text)
            addresses, index = config["cluster"]["worker"], int(config["task"]["index"])
            named = config["task"]["type"] == "worker" and 0 <= index < len(addresses)
            if named and all(urlsplit(f"//{address}").port for address in addresses):
                return cls(tuple(addresses), index)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise ValueError(
            'TF_CONFIG names the workers and which of them this is, as in {"cluster": {"worker": ["host1:2222", '
            f'"host2:2222"]}}, "task": {{"type": "worker", "index": 0}}}}. Received: TF_CONFIG={text!r}'
        )

    def __str__(self) -> str:
        return f"worker {self.index} of {len(self.addresses)}"

    def listed(self, indices: Iterable[int]) -> str:
        """Some of the workers in words, such as "worker 1 (host2:2222)"."""
        return ", ".join(f"worker {index} ({self.addresses[index]})" for index in indices)

    def silent(self, among: Iterable[int] | None = None, seconds: float = ANSWERS_WITHIN) -> list[int]:
        """The other workers whose ports do not answer within so many seconds."""
        found = []
        for index in range(len(self.addresses)) if among is None else among:
            place = urlsplit(f"//{self.addresses[index]}")
            try:
                if index != self.index:
                    socket.create_connection((place.hostname, place.port), seconds).close()
            except OSError:
                found.append(index)
        return found

    def meet(self, patience: float = PATIENCE) -> None:
        """Returns when all other workers answer; meanwhile this one answers in place of TensorFlow's server.

        Raises:
            ConnectionError: some do not within so many seconds; the error names them.
            OSError: another process has the port of this worker.
        """
        port, until = urlsplit(f"//{self.addresses[self.index]}").port, time.monotonic() + patience
        with _listening(port):
            waiting = self.silent(seconds=1)
            if waiting:
                say(f"{self}: waits up to {patience:g} seconds for {self.listed(waiting)}")
            while waiting and time.monotonic() < until:
                time.sleep(0.2)
                waiting = self.silent(waiting, 1)
        if waiting:
            raise ConnectionError(
                f"{self.listed(waiting)} did not answer within {patience:g} seconds; start the same command on every "
                "machine of TF_CONFIG"
            )

    @contextmanager
    def watched(self, abort: Callable[[str], None], errors: type[Exception] | tuple) -> Iterator[None]:
        """Within it a worker that is lost ends this one, by an error that names it.

        Args:
            abort: ends what waits for others, with an error of this text.
            errors: what a lost worker shows as.

        Raises:
            ConnectionError: others do not answer any more. Where what waits for them cannot be ended, the process is,
                with the same line and exit code 1.
        """
        left = threading.Event()
        threading.Thread(target=self._watch, args=(abort, left), daemon=True).start()
        try:
            yield
        except errors as error:
            lost = []
            for _ in range(MISSES):  # a process that is killed may answer for some moments after it has shown
                lost = lost or self._lost(left)
                left.wait(0 if lost else ASKED_EVERY / 5)
            lost = lost or self._unhealthy(str(error))
            if not lost:
                raise
            raise ConnectionError(self._told(lost)) from error
        finally:
            left.set()

    def _watch(self, abort: Callable[[str], None], left: threading.Event) -> None:
        while not left.wait(ASKED_EVERY):
            lost = self._lost(left)
            if not lost or left.is_set():
                continue
            threading.Thread(target=abort, args=(self._told(lost),), daemon=True).start()  # it may wait itself
            if not left.wait(LEAVES_WITHIN):
                say(f"error: {self._told(lost)}", to=sys.stderr)
                os._exit(1)
            return

    def _lost(self, left: threading.Event) -> list[int]:
        """The workers that do not answer, however often they are asked."""
        lost = self.silent()
        for _ in range(MISSES - 1):
            if lost and not left.wait(ASKED_EVERY / 5):
                lost = self.silent(lost)
        return lost

    def _unhealthy(self, text: str) -> list[int]:
        """The workers that TensorFlow's error is about: one that is stopped, but not ended, answers at its port."""
        _, _, about = text.partition("unhealthy (stopped sending heartbeats)")
        found = {int(index) for index in re.findall(r"/job:worker/replica:\d+/task:(\d+)", about)}
        if "CoordinationService/Heartbeat" in text:  # which worker 0 answers
            found.add(0)
        return sorted(found & set(range(len(self.addresses))) - {self.index})

    def _told(self, lost: list[int]) -> str:
        return (
            f"{self.listed(lost)} of {len(self.addresses)} does not answer any more; the same command, started again "
            "on every machine, goes on from the last state that was written"
        )


@contextmanager
def _listening(port: int) -> Iterator[None]:
    """Whoever connects to this port is answered, by the system alone."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise OSError(f"port {port}, which TF_CONFIG gives to this worker, cannot be used: {error.strerror}") from error
    with server:
        yield
