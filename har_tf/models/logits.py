"""Where the logits of a classifier are: in front of the activation that its graph ends with."""

from dataclasses import dataclass

import keras
import numpy as np

from har_tf.models.flatten import flat

# Activations that turn logits into probabilities, and the layers that are nothing but an activation or a cast.
_TO_PROBABILITY = ("softmax", "log_softmax", "sigmoid")
_BY_KIND = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_ONLY_ACTIVATION = frozenset(("Activation", "Identity", "Cast", *_BY_KIND))
# What may stand behind the activation: the same numbers in another shape, or means of several answers.
_MOVING = frozenset(("Flatten", "Reshape", "Dropout", "Squeeze", "ExpandDims", "Permute", "Transpose"))
_AVERAGING = frozenset(("Average", "Add", "Mean", "GlobalAveragePooling1D"))
_SCALING = frozenset(("Multiply", "Divide", "TrueDivide"))  # by a number: of two tensors they are no mean


@dataclass(frozen=True)
class Logits:
    """How a graph makes its logits.

    Attributes:
        tensors: what `layers` read; without any, the logits.
        layers: those that hold the activation, of which several may be averaged.
        activation: "softmax", "log_softmax" or "sigmoid", what is taken of the logits; None: nothing that is known.
        averaged: whether the answers are means of what the activation gives, so that they are not that of the logits.
        linear: whether the graph ends with a Dense layer without activation, so with logits.
    """

    tensors: tuple[keras.KerasTensor, ...]
    layers: tuple = ()
    activation: str | None = None
    averaged: bool = False
    linear: bool = False


def logits_of(model: keras.Model) -> Logits:
    """The logits of a flat model with one output, whose activation is a layer of its own or within a Dense.

    An activation by another name, such as `tf.nn.softmax`, is taken for a softmax (of one output for a sigmoid): who
    uses the logits compares what they give with the model's answers.
    """
    output = model.outputs[0]
    found: list[tuple[keras.KerasTensor, object, str]] = []
    averaged, waiting, seen = False, [output], set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation = tensor._keras_history.operation
        kind, activation = type(operation).__name__, _activation(operation)
        inputs = inputs_of(tensor)
        holds = isinstance(operation, keras.layers.Dense) or kind in _ONLY_ACTIVATION
        if holds and activation != "linear":
            unknown = "sigmoid" if output.shape[-1] == 1 else "softmax"
            found.append((tensor, operation, activation if activation in _TO_PROBABILITY else unknown))
        elif kind in _MOVING | _AVERAGING | _ONLY_ACTIVATION or (kind in _SCALING and len(inputs) == 1):
            averaged = averaged or kind in _AVERAGING | _SCALING
            waiting += inputs
        else:
            found.clear()
            break
    if not found or len({activation for *_, activation in found}) > 1:
        last = output
        while type(last._keras_history.operation).__name__ in ("Identity", "Cast", "Activation"):
            last = input_of(last)
        return Logits((output,), linear=isinstance(last._keras_history.operation, keras.layers.Dense))
    tensors = tuple({id(x): x for x in (input_of(tensor) for tensor, *_ in found)}.values())
    return Logits(tensors, tuple(layer for _, layer, _ in found), found[0][2], averaged)


def ends_in_logits(last: Logits, outputs: np.ndarray) -> bool:
    """Whether outputs (B, C) of a model whose graph ends so are logits, not probabilities.

    Where the graph does not tell, outputs that lie in [0, 1] and, of several classes, sum to 1 are probabilities.
    """
    if last.activation is not None or last.linear:
        return last.activation is None
    inside = (outputs >= 0).all() and (outputs <= 1).all()
    return not (inside and (outputs.shape[1] == 1 or np.allclose(outputs.sum(axis=1), 1, atol=1e-3)))


def classes_of(model: keras.Model) -> int:
    """How many classes a classifier tells apart: as many as it has outputs, and two where it has one."""
    return max(2, model.outputs[0].shape[-1])


def probabilities(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """float32 (B, classes), of what a model gives: the same, or the softmax of logits.

    Of one output, a probability or a logit, these are those of its absence and its presence.

    Args:
        model: with one output tensor.
        outputs: (B, C), its answers.
    """
    last, outputs = logits_of(flat(model)), np.asarray(outputs, "float32")
    if last.activation == "log_softmax":
        return np.exp(outputs)
    if outputs.shape[1] == 1:
        outputs = 1 / (1 + np.exp(-outputs)) if ends_in_logits(last, outputs) else outputs
        return np.concatenate([1 - outputs, outputs], axis=1)
    if not ends_in_logits(last, outputs):
        return outputs
    exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def check_outputs(model: keras.Model) -> None:
    """Raises ValueError for a model that does not give one answer (B, C) a clip."""
    shapes = [tuple(x.shape) for x in getattr(model, "outputs", None) or ()]
    if shapes and (len(shapes) != 1 or len(shapes[0]) != 2):
        names = f" Its outputs are {', '.join(outputs_by_name(model))}: choose one by its name as `output`."
        raise ValueError(
            f"model {model.name!r}: a classifier has one output (B, classes), an answer a clip. "
            f"Received: outputs {', '.join(map(str, shapes))}.{names if len(shapes) > 1 else ''}"
        )


def outputs_by_name(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The outputs of a model by the keys that it gives them, or the names of their layers."""
    if isinstance(model.output, dict):
        return model.output
    return dict(zip(model.output_names, model.outputs, strict=True))


def input_of(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """What the operation that made a tensor of a graph made it of; of several inputs the first."""
    return inputs_of(tensor)[0]


def inputs_of(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """All that the operation that made a tensor of a graph made it of."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors


def _activation(operation) -> str:
    kind, function = type(operation).__name__, getattr(operation, "activation", None)
    if kind in _BY_KIND or function is None:
        return _BY_KIND.get(kind, "linear")
    return getattr(function, "__name__", type(function).__name__.lower())
