"""TensorFlow without a wall of log lines before the first result."""

import contextlib
import os
import sys
import tempfile

from har_tf.signals import held


def import_tensorflow():
    """Imports TensorFlow and Keras; what they log on the way is shown only if the import fails.

    A signal that comes meanwhile is answered at its end: C++ code would make an ImportError of it.

    Returns:
        The module `tensorflow`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with held(), stderr_kept():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for CUDA, and says so when there is none
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
