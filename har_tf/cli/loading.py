"""What `--options KEY=VALUE,...` pass to the loader of a data set."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from har_tf.command import words
from har_tf.datasets.stick_figures import Figures


def loader_options(name: str | Path, given: Sequence[str]) -> dict[str, Any]:
    """What `--options KEY=VALUE,...` pass to the loader of a data set, as the types that its arguments have.

    Raises:
        ValueError: it has no argument of this name, one is given twice, or a value is of another type.
    """
    if not given:
        return {}
    known = loader_arguments(name)
    found: dict[str, Any] = {}
    for pair in (pair for text in given for pair in words(text)):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known or not equals:
            raise ValueError(f"--options of {name} are {', '.join(f'{k}=...' for k in known) or 'none'}. Got: {pair}")
        if key in found:
            raise ValueError(f"--options: {key} is given twice. Received: {', '.join(given)}")
        try:
            found[key] = known[key](value)
        except ValueError as error:
            kind = "true or false" if known[key] is truth else f"a value of type {known[key].__name__}"
            raise ValueError(f"--options: {key} is {kind}. Received: {pair}") from error
    return found


def loader_arguments(name: str | Path) -> dict[str, Callable[[str], Any]]:
    """{argument: how text becomes its value} of the loader of a data set, without those that have an option here."""
    from har_tf import datasets

    if name == "figures":  # its loader's other arguments are the fields of its settings
        return {field.name: type(field.default) for field in fields(Figures) if not isinstance(field.default, tuple)}
    if name not in datasets.PUBLISHED:
        return {}
    load = importlib.import_module(f"har_tf.datasets.{name}").load
    arguments = inspect.signature(load).parameters.values()
    return {
        argument.name: kind_of(argument.default, argument.annotation)
        for argument in arguments
        if argument.name not in ("root", "split", "classes", "lists")
    }


def kind_of(default: Any, annotation: str) -> Callable[[str], Any]:
    """The type of the default; where that is None, the number that the annotation names, or else text."""
    kind = type(default).__name__ if default is not None else str(annotation).partition(" ")[0]
    return {"bool": truth, "int": int, "float": float}.get(kind, str)


def truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"
