"""`.keras` files that older versions of Keras read too, and the reason where a newer one wrote what is at hand."""

import importlib
import inspect
import re
from os import PathLike
from typing import Any

import keras

from har_tf.files.keras_file import json_member

OLDEST = "3.12"  # that reads the files of this project, without it; making them takes what setup.cfg asks for

# Arguments that Keras took on since: an older one refuses a file that names them, also at their defaults.
_LATER = frozenset(
    ("input_axes", "output_axes", "quantization_config", "renorm", "renorm_clipping", "renorm_momentum", "use_gate",
     "sliding_window", "salt", "oov_method", "reduction")
)  # fmt: skip


def lean(config: Any) -> Any:
    """What a `.keras` file says of a model, without the arguments that older versions of Keras do not know.

    Only those that are at their defaults are left out, so that a model which needs one is still written as it is.

    Args:
        config: as `keras.Model.get_config` gives it, or a part of it.
    """
    if isinstance(config, list | tuple):
        return type(config)(map(lean, config))
    if not isinstance(config, dict):
        return config
    config = {key: lean(value) for key, value in config.items()}
    if isinstance(config.get("config"), dict) and str(config.get("module")).startswith("keras."):
        defaults = _defaults(config["module"], config["class_name"])
        config["config"] = {
            key: value
            for key, value in config["config"].items()
            if key not in _LATER or key not in defaults or value != defaults[key]
        }
    return config


def _defaults(module: str, class_name: str) -> dict[str, Any]:
    """The arguments of one of Keras' classes that have a default."""
    found = getattr(importlib.import_module(module), class_name, None)
    parameters = inspect.signature(found.__init__).parameters if inspect.isclass(found) else {}
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


def newer(path: str | PathLike) -> str:
    """A sentence on the versions where a newer Keras than the one at hand wrote a `.keras` file; "" where none did."""
    try:
        version = str((json_member(path, "metadata.json") or {})["keras_version"])
    except (ValueError, KeyError, TypeError):
        return ""
    version = re.match(r"\d{1,4}(\.\d{1,4}){1,2}", version)  # whatever else a file may say there
    if version is None or _parts(version[0]) <= _parts(keras.__version__):
        return ""
    return f"Keras {version[0]} wrote it, and this is Keras {keras.__version__}: pip install 'keras>={version[0]}'"


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
