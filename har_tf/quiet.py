"""TensorFlow without a wall of log lines before the first result."""

import contextlib
import importlib.util
import os
import sys
import tempfile

from har_tf.signals import held

ENGINES = ("tensorflow", "jax")  # Keras' backends that models are trained with


def import_tensorflow(as_engine: bool = False):
    """Imports TensorFlow and Keras; what they log on the way is shown only if the import fails.

    A signal that comes meanwhile is answered at its end: C++ code would make an ImportError of it.

    Args:
        as_engine: whether Keras has to compute with TensorFlow in what follows, as for explanations. Otherwise it may
            also be JAX (KERAS_BACKEND=jax); TensorFlow then reads the clips, and leaves the GPUs to JAX.

    Returns:
        The module `tensorflow`.

    Raises:
        ValueError: KERAS_BACKEND names another engine, or one that is not installed.
    """
    engine = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if engine not in ENGINES:
        raise ValueError(f"Keras computes with {' or '.join(ENGINES)} here. Received: KERAS_BACKEND={engine}")
    if importlib.util.find_spec(engine) is None:
        raise ValueError(f"{engine} is not installed: pip install 'har_tf[jax]'. Received: KERAS_BACKEND={engine}")
    if as_engine and engine != "tensorflow":
        raise ValueError(
            "JAX only trains here, and explanations need TensorFlow: the same command without KERAS_BACKEND takes the "
            f"models that JAX has trained. Received: KERAS_BACKEND={engine}"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with held(), stderr_kept():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for CUDA, and says so when there is none
        if engine != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
    tf.get_logger().setLevel("ERROR")
    return tf


@contextlib.contextmanager
def stderr_kept():
    """Keeps what C++ code writes to file descriptor 2, and prints it only after an error."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(saved, kept.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
