"""TensorFlow or JAX, whichever Keras runs on: compiled functions and gradients, on the accelerator or on the CPU."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import keras
import numpy as np

NAME = keras.backend.backend()
if NAME == "jax":
    import jax
elif NAME == "tensorflow":
    from har_tf import quiet

    tf = quiet.import_tensorflow()
else:
    raise SystemExit(f"Keras runs on TensorFlow or JAX here. Received: KERAS_BACKEND={NAME}")


def accelerator() -> str | None:
    """What the first GPU or TPU is called; None: there is none, or this engine does not see it."""
    if NAME == "jax":
        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    for kind in ("TPU", "GPU"):
        for device in tf.config.list_physical_devices(kind):
            return tf.config.experimental.get_device_details(device).get("device_name", kind)
    return None


def versions() -> dict:
    """Versions of what computes, the machine and its devices."""
    found = {"python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__}
    if NAME == "jax":
        import jaxlib

        found |= {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
        found["devices"] = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
        found["platform"] = jax.devices()[0].client.platform_version.replace("\n", " ")
    else:
        build = tf.sysconfig.get_build_info()
        found |= {"tensorflow": tf.__version__, "cuda": build.get("cuda_version"), "cudnn": build.get("cudnn_version")}
        found["devices"] = [f"{device.device_type} {device.name}" for device in tf.config.list_physical_devices()]
    found["processor"] = f"{_processor()}, {len(os.sched_getaffinity(0))} cores"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        found["nvidia-smi"] = answer.stdout.strip()
    found["environment"] = {k: v for k, v in os.environ.items() if k in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")}
    return found


def _processor() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def compiled(function: Callable, cpu=False, xla: bool | None = None, tf32=False, deterministic=False) -> Callable:
    """The function of tensors, compiled; what it gives may not be ready yet, see `wait`.

    Args:
        function: of (nested lists of) tensors.
        cpu: on the CPU in place of the first accelerator.
        xla: whether XLA compiles it; None: as the engine does of itself, which for JAX is always.
        tf32: whether float32 products may be rounded to 10 bits, as GPUs since Ampere can.
        deterministic: whether only what gives the same bits at each call may be chosen. Of TensorFlow from then on.
    """
    if NAME == "jax":
        options = {"xla_gpu_deterministic_ops": True} if deterministic and accelerator() else None
        jitted = jax.jit(function, compiler_options=options)
        device = jax.devices("cpu")[0] if cpu else jax.devices()[0]

        def run(*arguments):
            with jax.default_matmul_precision("default" if tf32 else "highest"), jax.default_device(device):
                return jitted(*arguments)

        return run
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    graph = tf.function(function, autograph=False, jit_compile=xla)

    def run(*arguments):
        tf.config.experimental.enable_tensor_float_32_execution(tf32)
        with tf.device("/CPU:0") if cpu else contextlib.nullcontext():
            return graph(*arguments)

    return run


@contextlib.contextmanager
def on_cpu():
    """Within it TensorFlow computes on the CPU."""
    with tf.device("/CPU:0"):
        yield


def wait(outputs):
    """The outputs of a compiled function, when they are ready."""
    if NAME == "jax":
        return jax.block_until_ready(outputs)
    keras.tree.map_structure(lambda x: x.numpy(), outputs)
    return outputs


def placed(arrays, cpu=False):
    """(Nested lists of) arrays, copied to where `compiled` functions run."""
    if NAME == "jax":
        return jax.device_put(arrays, jax.devices("cpu" if cpu else None)[0])
    with tf.device("/CPU:0") if cpu else contextlib.nullcontext():
        return keras.tree.map_structure(lambda array: tf.identity(tf.convert_to_tensor(array)), arrays)


def pulled_back(function: Callable, arguments: Sequence, weights) -> list:
    """The outputs of a function of tensors, and the gradients of their sum with these weights by each argument."""
    if NAME == "jax":
        outputs, back = jax.vjp(function, *arguments)
        return [outputs, *back(weights.astype(outputs.dtype))]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = function(*arguments)
    weights = tf.cast(weights, outputs.dtype)
    gradients = tape.gradient(outputs, arguments, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [outputs, *gradients]


def loss_and_gradients(function: Callable, variables: list) -> tuple:
    """((loss, what else it gives), gradients) of a function from variables to a loss and something else."""
    if NAME == "jax":
        return jax.value_and_grad(function, has_aux=True)(variables)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        loss, rest = function(variables)
    return (loss, rest), tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)


@contextlib.contextmanager
def quick_weights():
    """Lets NumPy draw the weights of layers that are built meanwhile: JAX compiles a program for each shape."""
    if NAME != "jax":
        yield
        return
    from keras.src.backend.jax import random

    rng = np.random.default_rng(0)

    def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
        return jax.numpy.asarray(rng.normal(mean, stddev, shape), keras.backend.standardize_dtype(dtype))

    def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
        return jax.numpy.asarray(rng.uniform(minval, maxval, shape), keras.backend.standardize_dtype(dtype))

    with mock.patch.multiple(random, normal=normal, truncated_normal=normal, uniform=uniform):
        yield


@contextlib.contextmanager
def in_float64():
    """Lets layers that are built meanwhile compute in float64."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        with jax.enable_x64(True) if NAME == "jax" else contextlib.nullcontext():
            yield
    finally:
        keras.config.set_dtype_policy(before)


class Steps:
    """Training steps of a model, by SGD with momentum, one after the other without waiting.

    Args:
        model: from clips to probabilities, of any dtype policy.
        xla: as of `compiled`.
        training: False: forward passes in place of training steps.
    """

    def __init__(self, model: keras.Model, xla: bool | None = None, training=True):
        self.model, self.optimizer = model, keras.optimizers.SGD(1e-4, momentum=0.9)
        self.optimizer.build(model.trainable_variables)
        # Small gradients would vanish in float16.
        self.scale = 1024.0 if "float16" in keras.config.dtype_policy().name.replace("bfloat16", "") else 1.0
        self.last = None
        if NAME == "jax":
            variables = (model.trainable_variables, model.non_trainable_variables, self.optimizer.variables)
            self.state = [[variable.value for variable in part] for part in variables]
            self.step = jax.jit(self._jax_step, donate_argnums=0) if training else jax.jit(self._jax_forward)
        else:
            step = self._tf_step if training else partial(model, training=False)
            self.step = tf.function(step, autograph=False, jit_compile=xla)
        self.training = training

    def __call__(self, clips, labels) -> None:
        """Starts a step."""
        arguments = (clips, labels) if self.training else (clips,)
        if NAME == "tensorflow":
            self.last = self.step(*arguments)
        elif self.training:
            self.state, self.last = self.step(self.state, *arguments)
        else:
            self.last = self.step(self.state, *arguments)

    def wait(self) -> np.ndarray:
        """What the last step gave, the loss or the probabilities, as soon as it is done."""
        return np.asarray(keras.ops.convert_to_numpy(self.last), "float32")

    def _jax_forward(self, state, clips):
        return self.model.stateless_call(*state[:2], clips, training=False)[0]

    def _jax_step(self, state, clips, labels):
        trainable, rest, momenta = state

        def loss(trainable):
            probabilities, new = self.model.stateless_call(trainable, rest, clips, training=True)
            return self.scale * cross_entropy(labels, probabilities), new

        (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
        gradients = [gradient / self.scale for gradient in gradients]
        trainable, momenta = self.optimizer.stateless_apply(momenta, gradients, trainable)
        return [trainable, rest, momenta], value / self.scale

    def _tf_step(self, clips, labels):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            value = self.scale * cross_entropy(labels, self.model(clips, training=True))
        gradients = tape.gradient(value, [variable.value for variable in variables])
        self.optimizer.apply([gradient / self.scale for gradient in gradients], variables)
        return value / self.scale


def cross_entropy(labels, probabilities):
    """The mean loss of a batch."""
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
