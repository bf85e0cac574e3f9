"""Which devices compute, and how exactly: one, all of this machine, several machines, or a TPU.

`begin` is called once, before any model is built or loaded: what comes after lies on these devices. What TensorFlow
and another engine of Keras do differently stands here, so that training and explanations need not ask.
"""

import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, get_args
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, ref

import keras
import numpy as np
import tensorflow as tf

from har_tf.engine import only_cpus
from har_tf.names import say
from har_tf.workers import Workers

Kind = Literal["one", "mirrored", "multiworker", "tpu"]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
PATIENCE = 10  # seconds until a machine that does not answer is said to be missing
_workers: Workers | None = None  # that this process has joined
_trained_on: str | None = None  # see `leave_others`


def begin(
    kind: Kind = "one", tpu: str | None = None, precision: Precision = "float32", deterministic: bool | None = None
) -> None:
    """Puts what is built, loaded and computed from now on onto these devices, and says which they are.

    Args:
        kind, tpu: see `strategy`.
        precision: see `set_precision`.
        deterministic: whether two runs agree bit for bit, by slower kernels and without XLA; None: on a CPU. Once on,
            it stays on in this process. Changes nothing on a TPU.

    Raises:
        ValueError, ConnectionError: as `strategy`.
    """
    global _trained_on
    _trained_on = None
    if under_jax():
        _begin_jax(kind, tpu, deterministic)
    else:
        tf.distribute.experimental_set_strategy(None)  # of a run before, in one process
        chosen = strategy(kind, tpu)
        if kind != "one":
            tf.distribute.experimental_set_strategy(chosen)
    # A TPU has no other kernels, and under this XLA refuses the gradient of max pooling.
    if kind != "tpu" and (only_cpus() if deterministic is None else deterministic):
        tf.config.experimental.enable_op_determinism()
    set_precision(precision)
    say(f"devices: {described()}")


def under_jax() -> bool:
    """Whether Keras computes with JAX; TensorFlow then reads clips, on the CPU, and explains, in another process."""
    return keras.backend.backend() == "jax"


class _Shared(keras.distribution.DataParallel):
    """All weights on every device, and an equal share of each batch; a batch that has none is computed on each."""

    def get_data_layout(self, data_shape):
        from jax import process_count

        if process_count() == 1 and data_shape[0] % self.device_mesh.devices.size:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)


def _begin_jax(kind: Kind, tpu: str | None, deterministic: bool | None) -> None:
    if deterministic:  # heard by JAX when it first looks for devices
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    if kind == "multiworker":
        _join_machines()
    keras.distribution.set_distribution(None)  # of a run before, in one process
    found = keras.distribution.list_devices()
    if kind == "tpu" and (tpu is not None or not found[0].startswith("tpu")):
        named = "by this name or address; JAX takes that of this machine" if tpu else "at this machine"
        kinds = f"JAX has {len(found)} {found[0].partition(':')[0].upper()}"
        raise ValueError(f"No TPU was found {named} ({kinds}). Received: --tpu {tpu or 'local'}")
    if kind != "one":
        keras.distribution.set_distribution(_Shared(devices=found))


def _join_machines() -> None:
    """Makes this process one of those that TF_CONFIG names, or Keras' or JAX's own environment (pods, SLURM)."""
    from jax import distributed

    if distributed.is_initialized():
        return
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    machines = config.get("cluster", {}).get("worker")
    if machines:
        keras.distribution.initialize(machines[0], len(machines), int(config["task"]["index"]))
    else:
        keras.distribution.initialize()


def strategy(kind: Kind = "one", tpu: str | None = None) -> tf.distribute.Strategy:
    """The devices to compute on. Build or load a model inside `strategy(...).scope()`, or call `begin`.

    Args:
        kind: "one" device (the first GPU, else the CPU), "mirrored" over all GPUs of this machine (without any, over
            the logical CPUs), "multiworker" over the machines that TF_CONFIG names, or a "tpu".
        tpu: name or address (grpc://10.0.0.2:8470) of a TPU; None: this machine is the TPU's.

    Raises:
        ValueError: unknown kind, no TPU, or one that cannot be reached; one line says which.
        ConnectionError: a worker of TF_CONFIG does not answer within a minute; it is named.
    """
    if kind == "one":
        return tf.distribute.get_strategy()
    if kind == "mirrored":
        return mirrored()
    if kind == "multiworker":
        return _joined()
    if kind == "tpu":
        return tf.distribute.TPUStrategy(_tpu(tpu or "local"))
    known = ", ".join(get_args(Kind))
    raise ValueError(f"Devices are {known}. Received: strategy={kind!r}")


def _joined() -> tf.distribute.Strategy:
    """This process with those on the other machines that TF_CONFIG names."""
    global _workers
    found = Workers.of(os.environ.get("TF_CONFIG", ""))
    if found != _workers:  # else TensorFlow's server, which is started once, has the port
        found.meet()
        _workers = found
    with together():
        return tf.distribute.MultiWorkerMirroredStrategy()


def together() -> AbstractContextManager[None]:
    """Within it a worker on another machine that is killed, or cannot be reached, ends this one in a minute or two.

    Raises:
        ConnectionError: it names the worker.
    """
    if _workers is None:
        return nullcontext()

    def abort(text: str) -> None:
        from tensorflow.python.eager import context  # nothing public does it

        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, text)

    return _workers.watched(abort, (tf.errors.OpError, RuntimeError))


def worker() -> Workers | None:
    """The machines that train together under TensorFlow, and which of them this is; None: one does."""
    several = isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
    return _workers if several else None


def leave_others() -> None:
    """What is built, loaded and computed from now on lies on this machine's first device; see `described`."""
    global _trained_on
    _trained_on = described()
    tf.distribute.experimental_set_strategy(None)


@contextmanager
def by_itself() -> Iterator[None]:
    """What is built or loaded within lies on the first device of this process; outside of any strategy's scope."""
    # The one of no scope must not be set: it would be entered for good, and no other could be.
    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    tf.distribute.experimental_set_strategy(None)
    try:
        yield
    finally:
        tf.distribute.experimental_set_strategy(strategy)


def of_first(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What worker 0 has, on every worker, which all call this with numbers of the same shapes and types."""
    strategy = tf.distribute.get_strategy()

    def dealt(array):
        wide = array if array.dtype.kind == "f" else array.astype(np.int64)  # the others cannot be summed everywhere

        def part(context):
            return tf.constant(wide if context.replica_id_in_sync_group == 0 else np.zeros_like(wide))

        return strategy.experimental_distribute_values_from_function(part)

    @tf.function(autograph=False)
    def summed(*values):
        return [strategy.reduce("SUM", value, axis=None) for value in values]

    found = summed(*map(dealt, arrays))
    return [value.numpy().astype(array.dtype) for value, array in zip(found, arrays, strict=True)]


def mirrored(count: int | None = None) -> tf.distribute.MirroredStrategy:
    """The first devices of this machine; None: all."""
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    # Between CPUs the collective operations that are TensorFlow's choice wait for each other without end where
    # there are few threads, or another set of devices was in use before.
    how = {} if gpus else {"cross_device_ops": tf.distribute.ReductionToOneDevice()}
    return tf.distribute.MirroredStrategy([device.name for device in (gpus or cpus)[:count]], **how)


def _tpu(name: str) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """The TPU of this name or at this address, ready to compute."""
    try:
        if "." in name or ":" in name:  # an address, for which TensorFlow would wait without end
            place = urlsplit(name if "//" in name else f"//{name}")
            socket.create_connection((place.hostname, place.port or 8470), PATIENCE).close()
        return tf.distribute.cluster_resolver.TPUClusterResolver.connect(name)
    except (ValueError, OSError, ImportError, RuntimeError, tf.errors.OpError) as error:
        what = "at this machine" if name == "local" else "by this name or address"
        reason = " ".join(str(getattr(error, "message", error)).split("\n")[0].split())
        raise ValueError(f"No TPU was found {what} ({reason}). Received: --tpu {name}") from error


def replicas() -> int:
    """How many devices share a batch."""
    if under_jax():
        shared = keras.distribution.distribution()
        return 1 if shared is None else shared.device_mesh.devices.size
    return tf.distribute.get_strategy().num_replicas_in_sync


def of(model: keras.Model) -> tf.distribute.Strategy | None:
    """The devices that the weights of a model lie on, also of one that was made of another's layers; None: one."""
    found = (getattr(weight.value, "distribute_strategy", None) for weight in model.weights)
    strategy = next(found, None)
    return strategy if strategy is not None and strategy.num_replicas_in_sync > 1 else None


def shared(
    function: Callable, signature: Sequence[tf.TensorSpec], strategy: tf.distribute.Strategy | None, whole: int = 0
) -> Callable:
    """A function of tensors (B, ...) to tensors (B, ...), compiled, each device computing its share of the rows.

    Args:
        function: what to compile; row i of what it gives depends on row i of what it is given alone.
        signature: of its arguments.
        strategy: of `of(model)`; None: one device.
        whole: so many of the first arguments have no rows: every device is given all of each.

    Returns:
        A function of the same; on several devices the rows are filled up with repeated ones, which are cut off again.
    """
    if strategy is None:
        return tf.function(function, input_signature=signature, autograph=False).get_concrete_function()
    replicas = strategy.num_replicas_in_sync

    @tf.function(autograph=False)  # anew for every size of a batch: XLA compiles a GRU's gradient for known sizes only
    def run(*values):
        found = strategy.run(function, args=values)
        if len(strategy.extended.worker_devices) < replicas:  # others are of other machines
            return tf.nest.map_structure(lambda each: strategy.gather(each, axis=0), found)
        return tf.nest.map_structure(lambda each: tf.concat(strategy.experimental_local_results(each), 0), found)

    def over_replicas(*arrays):
        arrays = [np.asarray(array) for array in arrays]
        count = len(arrays[whole])
        share = -(-count // replicas)

        def dealt(number, array):
            def part(context):
                first = context.replica_id_in_sync_group * share
                return tf.constant(array if number < whole else array[np.arange(first, first + share) % count])

            return strategy.experimental_distribute_values_from_function(part)

        return tf.nest.map_structure(lambda each: each[:count], run(*itertools.starmap(dealt, enumerate(arrays))))

    return over_replicas


def in_batches(run: Callable, batch_size: int, *arrays: np.ndarray):
    """What a function of `shared` gives for arrays (N, ...), at most so many rows at a time, joined; of NumPy.

    All batches have one size, the smallest that needs no more of them; the last is filled up with rows of the one
    before, which are cut off again.

    Raises:
        ValueError: N is 0.
    """
    count = len(arrays[0])
    if not count:
        raise ValueError("there are no clips. Received: 0")
    size = -(-count // -(-count // batch_size))
    parts = []
    for first in range(0, count, size):
        begin = max(min(first, count - size), 0)
        made = run(*(tf.constant(array[begin : begin + size]) for array in arrays))
        parts.append(tf.nest.map_structure(lambda x, cut=first - begin: x.numpy()[cut:], made))
    return tf.nest.map_structure(lambda *each: np.concatenate(each), *parts)


_predictors: WeakKeyDictionary = WeakKeyDictionary()  # model -> its compiled `predict_step`, over several devices


def predict(model: keras.Model, clips, batch_size: int = 32) -> np.ndarray:
    """`model.predict`, on all devices that the model lies on.

    Args:
        model: of one output.
        clips: arrays (N, ...) as the model takes them, or a dataset of batches of (inputs, ...).
        batch_size: clips that are in memory at once, of arrays.

    Returns:
        (N, C), of a dataset with the rows that fill up its batches.
    """
    strategy, of_batches = of(model), isinstance(clips, tf.data.Dataset)
    if under_jax() and replicas() > 1 and not of_batches:  # whose `predict` wants the last batch as large as the first

        def answered(*flat):
            inputs = keras.tree.pack_sequence_as(clips, [np.asarray(each) for each in flat])
            return tf.constant(model.predict_on_batch(inputs))

        return in_batches(answered, batch_size, *map(np.asarray, keras.tree.flatten(clips)))
    if strategy is None:
        return model.predict(clips, None if of_batches else batch_size, verbose=0)
    if model not in _predictors:
        structure = keras.tree.map_structure(lambda _: None, clips.element_spec[0] if of_batches else clips)
        own = ref(model)  # a model that its own entry held would never be freed, nor would the clips
        _predictors[model] = shared(
            lambda *flat: own().predict_step((keras.tree.pack_sequence_as(structure, flat),)), (), strategy
        )
    run = _predictors[model]
    if of_batches:
        return np.concatenate([run(*keras.tree.flatten(inputs)).numpy() for inputs, *_ in clips])
    return in_batches(run, batch_size, *map(np.asarray, keras.tree.flatten(clips)))


def described() -> str:
    """The devices in use, in words, such as "2 GPUs, mirrored; mixed_float16; deterministic".

    Once worker 0 has left the other machines, those that it has trained on with them.
    """
    if _trained_on is not None:
        return _trained_on
    count, kind = replicas(), keras.distribution.list_devices()[0].partition(":")[0].upper()
    words = f"{count} {kind}{'s' * (count > 1)}"
    if kind == "TPU":
        words = f"{count} TPU core{'s' * (count > 1)}"
    elif tf.distribute.has_strategy() or count > 1:
        words += ", mirrored"
    if under_jax():
        words += ", JAX"
    return "; ".join([words, precision(), *["deterministic"] * _is_deterministic()])


def _is_deterministic() -> bool:
    from tensorflow.python.framework import config  # nothing public tells

    return config.is_op_determinism_enabled()


def set_precision(name: Precision) -> None:
    """Sets the precision that layers compute in; weights stay float32. Call it before the model is built."""
    keras.config.set_dtype_policy(name)


def precision() -> Precision:
    """What `set_precision` has set."""
    return keras.config.dtype_policy().name


def seed_everything(seed: int, deterministic: bool | None = True) -> None:
    """Seeds Python, NumPy and TensorFlow; call it before the model is built.

    Args:
        seed: the seed.
        deterministic: also has TensorFlow use deterministic kernels, so that two runs agree bit for bit; None: as
            `begin` has left it.
    """
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
