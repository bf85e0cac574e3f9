"""Of several machines one runs the program; the others wait, and take part in what takes all of them.

Worker 0 goes on as if it were alone, on its first device: it lists, prepares, stores, explains, measures and writes.
What all machines do together is given to `on_all`; the others are told which function that is, and of which arguments,
and call it at the same time. So no page of an experiment has to say which worker does what, and no worker waits for a
lock whose holder waits for all.

Arguments are pickled. That lets worker 0 run any code on the others, as it could before: TensorFlow's server, which
listens at every address of TF_CONFIG, carries out whatever it is sent.
"""

import base64
import itertools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import tensorflow as tf

from har_tf import devices

ASKED_EVERY = 1000  # milliseconds that one question for the next message takes at most
_all: tf.distribute.Strategy | None = None  # the devices of all machines, while this one leads the others
_numbers = itertools.count()  # of messages, since the processes were started


def lead() -> str | None:
    """Makes worker 0 the leader of the machines that `devices.begin("multiworker")` has joined.

    Returns:
        None on worker 0, which goes on alone, and where there are no others. On the others, after all that they were
        told to do, the text of worker 0's `dismiss`.

    Raises:
        ConnectionError: on the others, another one was killed or cannot be reached; it is named.
    """
    global _all
    workers, _all = devices.worker(), None
    if workers is None:
        return None
    strategy = tf.distribute.get_strategy()
    devices.leave_others()
    if workers.index == 0:
        _all = strategy
        return None
    while True:
        lost = []
        with workers.watched(lost.append, tf.errors.OpError):
            data = _received(lost)
        message = pickle.loads(data)
        if isinstance(message, str):
            return message
        function, arguments, options = message
        with _on(strategy), suppress(FloatingPointError):  # which worker 0 has as well
            function(*arguments, **options)


def on_all(function: Callable, *arguments: Any, **options: Any) -> Any:
    """What a function gives on this machine, which all call at the same time if this one leads others.

    Within it the devices of all machines are in use.

    Args:
        function: importable by name.
        *arguments, **options: its arguments, which can be pickled; files in them lie at the same place for all.

    Raises:
        ConnectionError: another machine was killed or cannot be reached; it is named.
    """
    if _all is None:
        return function(*arguments, **options)
    with _on(_all):
        _send((function, arguments, options))
        return function(*arguments, **options)


def dismiss(text: str) -> None:
    """Ends the others, if this machine leads any; they say this text."""
    global _all
    if _all is not None:
        with _on(_all):
            _send(text)
        _all = None


@contextmanager
def _on(strategy: tf.distribute.Strategy) -> Iterator[None]:
    tf.distribute.experimental_set_strategy(strategy)
    try:
        with devices.together():
            yield
    finally:
        tf.distribute.experimental_set_strategy(None)


def _send(message: Any) -> None:
    context().set_config_key_value(f"har_tf {next(_numbers)}", base64.b64encode(pickle.dumps(message)).decode())


def _received(lost: list[str]) -> bytes:
    """The next message of worker 0; ends as well when `lost` holds the line about another that is lost."""
    key = f"har_tf {next(_numbers)}"
    while not lost:
        with suppress(tf.errors.DeadlineExceededError):
            return base64.b64decode(context().get_config_key_value(key, ASKED_EVERY))
    raise ConnectionError(lost[0])


def context():
    """TensorFlow's, whose coordination service keeps the messages: nothing public does it."""
    from tensorflow.python.eager import context

    return context.context()
