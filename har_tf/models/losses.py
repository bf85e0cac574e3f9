"""What the loss that a model was compiled with takes its answers for: probabilities, or logits of which activation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras

OWN = "own"  # a loss that is not one of Keras: what it does with the answers is not known


@dataclass(frozen=True)
class Unread:
    """A loss in a saved model that is someone's own, so that its code is not at hand."""

    name: str


def activation_behind(model: keras.Model) -> Literal["softmax", "sigmoid", "own"] | None:
    """The activation that the loss puts behind a model's one output; None: none, as it takes probabilities."""
    loss = loss_of(model)
    if loss is None or isinstance(loss, str):
        return None  # by their names Keras' losses take probabilities
    if isinstance(loss, keras.losses.Loss):
        of_keras = [kind.__name__ for kind in type(loss).__mro__ if kind.__module__.startswith("keras.")]
        if hasattr(loss, "from_logits"):
            return _of_logits(of_keras[0]) if loss.from_logits else None
        named = type(loss).__module__.startswith("keras.") and type(loss).__name__ in dir(keras.losses)
        return None if named else OWN
    return _of_function(loss, {})


def loss_of(model: keras.Model, output: str | None = None, place: int = 0) -> Any:
    """The loss of one of a model's outputs, None where it has none.

    Args:
        model: compiled or not.
        output: the key that the model gives it, where it has one.
        place: of it among `model.outputs`.
    """
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        names = (output, *list(getattr(model, "output_names", ()))[place : place + 1])
        alone = next(iter(loss.values())) if len(loss) == 1 and output is None else None
        return next((loss[name] for name in names if name in loss), alone)
    if isinstance(loss, list | tuple):
        return loss[place] if place < len(loss) else None
    return loss


def name_of(model: keras.Model) -> str:
    """What the loss is called."""
    loss = loss_of(model)
    return getattr(loss, "name", None) or getattr(loss, "__name__", None) or type(loss).__name__


def from_config(config: Any) -> Any:
    """The loss, or the losses, of a saved model; `Unread` for those that are not of Keras."""
    if isinstance(config, list):
        return [from_config(each) for each in config]
    if not isinstance(config, dict):
        return config if isinstance(config, str) else None
    if "class_name" not in config:
        return {name: from_config(each) for name, each in config.items()}
    if config.get("module") == "keras.losses":
        return keras.losses.deserialize(config)
    name, function = config["class_name"], config["class_name"] == "function"
    name = str(config["config"] if function else name)
    return name if function and hasattr(keras.losses, name) else Unread(name)


def _of_function(function: Any, given: Mapping[str, Any]) -> str | None:
    if isinstance(function, partial):
        return _of_function(function.func, {**function.keywords, **given})
    if not getattr(function, "__module__", "").startswith("keras."):
        return OWN
    return _of_logits(function.__name__) if given.get("from_logits") else None


def _of_logits(name: str) -> str:
    return "sigmoid" if name.lower().startswith("binary") else "softmax"
