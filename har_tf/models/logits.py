"""Where the logits of a classifier are: in front of the activation that its graph ends with."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from har_tf.models.flatten import flat
from har_tf.models.layout import of_keras
from har_tf.models.losses import OWN, activation_behind, name_of

# Activations that turn logits into probabilities, and the layers that are nothing but an activation or a cast.
_TO_PROBABILITY = ("softmax", "log_softmax", "sigmoid")
_BY_KIND = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_ONLY_ACTIVATION = frozenset(("Activation", "Identity", "Cast", *_BY_KIND))
_HOLDING = (layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
# What may stand behind the activation: the same numbers elsewhere, or means of several answers.
# fmt: off
_MOVING = frozenset((
    "Flatten", "Reshape", "Dropout", "Squeeze", "ExpandDims", "Permute", "Transpose", "Concatenate", "Flip", "Take",
    "GetItem",
))
_AVERAGING = frozenset((
    "Average", "Add", "Mean", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
))
_SCALING = frozenset(("Multiply", "Divide", "TrueDivide"))  # by a number: of two tensors they are no mean
# What makes logits of logits, besides.
_OF_LOGITS = frozenset((
    "Subtract", "Sum", "Max", "Logsumexp", "BatchNormalization", "LayerNormalization",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
))
# fmt: on
_ANSWERS = ("sparsemax", "hard_sigmoid", "softmax over another axis")  # in [0, 1], but of no logits that are known
_UNKNOWN = "unknown"
_ROUNDING = 2e-3  # of probabilities in half precision
_OFF = 1e-2  # so far from 1 may they sum to
_TINY = float(np.finfo(np.float32).tiny)  # probability whose logarithm is taken in place of that of 0


@dataclass(frozen=True)
class Logits:
    """How a graph makes its logits.

    Attributes:
        tensors: what `layers` read; without any, the logits.
        layers: those that hold the activation, of which several may be averaged.
        activation: "softmax", "log_softmax" or "sigmoid", what is taken of the logits; None: nothing that is known.
        averaged: whether the answers are means of what the activation gives, so that they are not that of the logits.
        linear: whether the graph ends with layers without activation, or the loss that the model is compiled with takes
            what it gives for logits; so whether it gives logits.
        labels: whether several outputs are logits of a sigmoid each, as the loss says.
        own_loss: name of the loss, where it is not one of Keras, so that it does not say this.
        others: activations that it ends with and that make no probabilities, as "tanh".
    """

    tensors: tuple[keras.KerasTensor, ...]
    layers: tuple = ()
    activation: str | None = None
    averaged: bool = False
    linear: bool = False
    labels: bool = False
    own_loss: str = ""
    others: tuple[str, ...] = ()


def logits_of(model: keras.Model) -> Logits:
    """The logits of a model with one output, whose activation is a layer of its own or within a layer with weights.

    An activation by a name that Keras does not have, such as `tf.nn.softmax`, or a layer that may be one, is taken for
    a softmax (of one output for a sigmoid): who uses the logits compares what they give with the model's answers.
    Logits become probabilities by a softmax, or, where the model is compiled with a binary loss of logits, by sigmoids.
    """
    output = flat(model).outputs[0]
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
        if activation != "linear":
            found.append((tensor, operation, activation))
        elif kind in _MOVING | _AVERAGING | _ONLY_ACTIVATION or (kind in _SCALING and len(inputs) == 1):
            averaged = averaged or kind in _AVERAGING | _SCALING
            waiting += inputs
        else:
            found.clear()
            break
    kinds = {_as_known(activation, output) for *_, activation in found}
    if averaged and any(activation == _UNKNOWN for *_, activation in found):
        kinds.add(_UNKNOWN)  # means of it are not compared with the model's answers
    if len(kinds) != 1 or not kinds <= set(_TO_PROBABILITY):
        trained, several = activation_behind(model), output.shape[-1] > 1
        others = tuple(sorted(kinds - {*_TO_PROBABILITY, *_ANSWERS, _UNKNOWN}))
        linear = trained not in (None, OWN) or _is_linear(output)
        own_loss = name_of(model) if trained == OWN and several else ""
        labels = trained == "sigmoid" and several
        return Logits((output,), linear=linear, labels=labels, own_loss=own_loss, others=others)
    tensors = tuple({id(x): x for x in (input_of(tensor) for tensor, *_ in found)}.values())
    return Logits(tensors, tuple(layer for _, layer, _ in found), kinds.pop(), averaged)


def _as_known(activation: str, output: keras.KerasTensor) -> str:
    single = output.shape[-1] == 1
    return ("sigmoid" if single else "softmax") if activation == _UNKNOWN else activation


def _is_linear(output: keras.KerasTensor) -> bool:
    """Whether all that a tensor is made of are layers without activation."""
    operation = output._keras_history.operation
    kind, activation, inputs = type(operation).__name__, _activation(operation), inputs_of(output)
    if isinstance(operation, _HOLDING) or activation != "linear":
        return activation == "linear"
    if kind in _MOVING | _AVERAGING | _ONLY_ACTIVATION | _OF_LOGITS:
        return all(map(_is_linear, inputs))
    return kind in _SCALING and any(map(_is_linear, inputs))


def ends_in_logits(model: keras.Model, last: Logits, outputs: np.ndarray) -> bool:
    """Whether outputs (B, C) of a model whose graph ends so are logits, not probabilities.

    Raises:
        ValueError: the graph does not tell, and they are no probabilities, as they do not lie in [0, 1] or need not;
            or the loss does not tell what they are logits of.
    """
    if last.linear and last.own_loss:
        raise ValueError(
            f"model {model.name!r} gives logits and was trained with the loss {last.own_loss!r}, which is not one of "
            "Keras: whether they are of a softmax or of a sigmoid each has to be said by keras.Model(model.inputs, "
            "keras.layers.Activation('softmax')(model.output)), or 'sigmoid'"
        )
    if last.linear or last.activation == "log_softmax":
        return last.linear
    if last.others or outputs.min(initial=0) < -_ROUNDING or outputs.max(initial=0) > 1 + _ROUNDING:
        end = flat(model).outputs[0]._keras_history.operation.name
        raise ValueError(
            f"model {model.name!r}: what its end, {end!r}, makes of the logits is not understood. If these are logits, "
            "say so: keras.Model(model.inputs, keras.layers.Softmax()(model.output)). "
            f"Received: answers from {outputs.min():.4g} to {outputs.max():.4g}"
        )
    return False


def with_sigmoids(model: keras.Model) -> keras.Model:
    """The model with a sigmoid behind each of several logits, where it is compiled with a loss that has them."""
    if not getattr(model, "inputs", None) or len(model.outputs) > 1 or not logits_of(model).labels:
        return model
    return keras.Model(model.inputs, layers.Activation("sigmoid", name="sigmoid")(model.outputs[0]), name=model.name)


def classes_of(model: keras.Model) -> int:
    """How many classes a classifier tells apart: as many as it has outputs, and two where it has one."""
    return max(2, model.outputs[0].shape[-1])


def probabilities(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """float32 (B, classes), of what a model gives: the same, or the softmax of logits.

    Of one output, a probability or a logit, these are those of its absence and its presence.

    Args:
        model: with one output tensor.
        outputs: (B, C), its answers.

    Raises:
        ValueError: as in `ends_in_logits`.
    """
    last, outputs = logits_of(model), np.asarray(outputs, "float32")
    if last.activation == "log_softmax":
        return np.exp(outputs)
    logits = ends_in_logits(model, last, outputs)
    if logits and (last.labels or outputs.shape[1] == 1):
        outputs, logits = 1 / (1 + np.exp(-outputs)), False
    if outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    if not logits:
        return outputs
    exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def log_probabilities(model: keras.Model, outputs: np.ndarray) -> np.ndarray:
    """float64 (B, classes), the logarithms of `probabilities`: of logits exactly, else as far as float32 goes.

    Args:
        model: with one output tensor.
        outputs: (B, C), its answers.

    Raises:
        ValueError: as in `ends_in_logits`; or what it gives does not sum to 1, as where every class has a sigmoid of
            its own.
    """
    last, outputs = logits_of(model), np.asarray(outputs, "float64")
    if last.activation == "log_softmax":
        return outputs
    logits, single = ends_in_logits(model, last, outputs), outputs.shape[1] == 1
    if single and not logits:
        outputs = np.clip(outputs, _TINY, 1 - 2.0**-24)  # float32 tells no more from 1
        outputs, logits = np.log(outputs) - np.log1p(-outputs), True
    if single:
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    if logits and not last.labels:
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        return outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    if last.labels or not (np.abs(outputs.sum(axis=1) - 1) <= _OFF).all():
        raise ValueError(
            f"model {model.name!r} answers every class by itself, so that its probabilities do not sum to 1. Expected "
            "a model that answers one class a clip"
        )
    return np.log(np.maximum(outputs, _TINY))


def check_outputs(model: keras.Model) -> None:
    """Raises ValueError for a model that does not give one answer (B, C) a clip, or takes a fixed number of clips."""
    fixed = [x.shape[0] for x in getattr(model, "inputs", None) or () if x.shape[0] is not None]
    if fixed:
        raise ValueError(
            f"model {model.name!r} takes {fixed[0]} clips at once, no more and no fewer, for its batch_shape or a "
            "stateful layer. Build it with keras.Input(shape) and give it the same weights"
        )
    shapes = [tuple(x.shape) for x in getattr(model, "outputs", None) or ()]
    if shapes and (len(shapes) != 1 or len(shapes[0]) != 2):
        names = f" Its outputs are {', '.join(outputs_by_name(model))}: choose one by output=, or --model-output."
        raise ValueError(
            f"model {model.name!r}: a classifier has one output (B, classes), an answer a clip. "
            f"Received: outputs {', '.join(map(str, shapes))}.{names if len(shapes) > 1 else ''}"
        )


def outputs_by_name(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The outputs of a model by the keys that it gives them, or the names of their layers."""
    own = getattr(model, "_outputs_struct", None)
    if isinstance(own, dict):
        return own
    names = model.output_names
    twice = names.count  # a layer that gives several outputs has one name
    names = [name if twice(name) == 1 else f"{name}_{names[:i].count(name)}" for i, name in enumerate(names)]
    return dict(zip(names, model.outputs, strict=True))


def input_of(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """What the operation that made a tensor of a graph made it of; of several inputs the first."""
    return inputs_of(tensor)[0]


def inputs_of(tensor: keras.KerasTensor) -> list[keras.KerasTensor]:
    """All that the operation that made a tensor of a graph made it of."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index].input_tensors


def _activation(operation) -> str:
    """The name of the activation that an operation ends with."""
    kind = type(operation).__name__
    if of_keras(operation) and kind in _BY_KIND:
        axis, rank = getattr(operation, "axis", -1), len(operation.output.shape) if hasattr(operation, "output") else 0
        return _BY_KIND[kind] if axis in (-1, rank - 1) else "softmax over another axis"
    if isinstance(operation, layers.Lambda) or (isinstance(operation, keras.Layer) and not of_keras(operation)):
        (node, *_), known = operation._inbound_nodes, operation.weights
        shapes = [tuple(x.shape) for x in (*node.input_tensors, *node.output_tensors)]
        return _UNKNOWN if not known and len(shapes) == 2 and shapes[0] == shapes[1] else "linear"
    function = operation.activation if isinstance(operation, (*_HOLDING, layers.Activation)) else None
    if function is None:
        return "linear"
    known = getattr(function, "__module__", "").startswith("keras.")
    return getattr(function, "__name__", type(function).__name__.lower()) if known else _UNKNOWN
