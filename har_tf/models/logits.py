"""Where the logits of a classifier are: in front of the activation that its graph ends with."""

from dataclasses import dataclass

import keras

# Activations that turn logits into probabilities, and the layers that are nothing but an activation or a cast.
_TO_PROBABILITY = ("softmax", "log_softmax", "sigmoid")
_ONLY_ACTIVATION = frozenset(("Activation", "Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast"))
_BY_KIND = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Logits:
    """How a graph makes its logits.

    Attributes:
        tensor: the logits, or what `dense` makes them of.
        dense: the layer that makes them and holds their activation too; None: they are `tensor`.
        activation: "softmax", "log_softmax" or "sigmoid", what is taken of them; None: nothing is.
    """

    tensor: keras.KerasTensor
    dense: keras.layers.Dense | None = None
    activation: str | None = None


def logits_of(model: keras.Model) -> Logits:
    """The logits of a model with one output, whose activation is a layer of its own or within the last Dense."""
    tensor = model.outputs[0]
    while True:
        operation = tensor._keras_history.operation
        activation, alone = _activation(operation), type(operation).__name__ in _ONLY_ACTIVATION
        dense = operation if isinstance(operation, keras.layers.Dense) else None
        if activation in _TO_PROBABILITY and (alone or dense):
            return Logits(input_of(tensor), dense, activation)
        if activation != "linear" or not alone:
            return Logits(tensor)
        tensor = input_of(tensor)  # a cast, or a linear activation that sets the dtype


def input_of(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """What the operation that made a tensor of a graph made it of; of several inputs the first."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors[0]


def _activation(operation) -> str:
    kind, function = type(operation).__name__, getattr(operation, "activation", None)
    if kind in _BY_KIND or function is None:
        return _BY_KIND.get(kind, "linear")
    return getattr(function, "__name__", type(function).__name__.lower())
