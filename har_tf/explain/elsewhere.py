"""Explanations where Keras computes with another engine than TensorFlow, as a run that trains under JAX does.

Explanations are made with TensorFlow. There the model is saved, and explained from its file by a process of its own,
which stays for the next clips.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from har_tf.files.digests import digest_of
from har_tf.files.workers import Failed, Worker


def by_method(
    model, clips: np.ndarray, methods: Sequence[str], taps: Mapping[str, str] | None = None, **options: Any
) -> dict:
    """`har_tf.explain.by_method`, whichever engine computes here.

    Raises:
        RuntimeError: the explanation failed in the other process; the message says of what.
    """
    from har_tf.explain import by_method as here

    return by_tensorflow(here, model, clips, tuple(methods), taps, **options)


def by_tensorflow(function: Callable, model, *arguments: Any, **options: Any) -> Any:
    """What a function gives for a model where TensorFlow computes, whichever engine computes here.

    Args:
        function: (model, *arguments, **options) -> what can be pickled; importable by name.
        model: a Keras model.
        *arguments, **options: which can be pickled.

    Raises:
        RuntimeError: it failed in the other process; the message says of what.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        return function(model, *arguments, **options)
    # Pickled by itself: what it names is imported only where the engine is set.
    outcome = _other_process().do((str(_file_of(model)), pickle.dumps((function, arguments, options))))
    if isinstance(outcome, Failed):
        raise RuntimeError(f"model {model.name!r} could not be explained by TensorFlow: {outcome.reason}")
    return outcome


@cache
def _other_process() -> Worker:
    return Worker(pickle.dumps(_explained), None, None)


_folders: WeakKeyDictionary = WeakKeyDictionary()  # model -> where it is saved


def _file_of(model) -> Path:
    """The file of a model as it is now, named by its weights, which may have been trained since the last time."""
    from har_tf.models.saving import save_model

    if model not in _folders:
        _folders[model] = tempfile.TemporaryDirectory(prefix="har_tf_")
    file = Path(_folders[model].name) / f"{digest_of(model.get_weights())}.keras"
    if not file.exists():
        for before in file.parent.iterdir():
            before.unlink()
        save_model(model, file, None)
    return file


def _explained(task: tuple) -> Any:
    """In the other process, whose first task sets its engine."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # of the GPU it gets what the other engine left
    from har_tf import quiet

    quiet.import_tensorflow(as_engine=True)
    file, asked = task
    function, arguments, options = pickle.loads(asked)
    return function(_loaded(file), *arguments, **options)


@lru_cache(maxsize=4)
def _loaded(file: str):
    from har_tf.models.saving import load_model

    return load_model(file)[0]
