"""The part of a network that training does not change, apart from the part that it does.

    clips ─► front: frozen layers, the same for a clip in every epoch ─► numbers ─► head: what is trained

The front of a frozen network is computed once for every clip (`har_tf.store.features.outputs`), and the head is trained
on what is stored: an epoch takes seconds in place of minutes. Both parts are made of the layers of the model, not of
copies, so that the model has learnt what its head has.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops, tree

from har_tf.models.flatten import flat, in_order
from har_tf.models.logits import inputs_of


@dataclass(frozen=True, eq=False)
class Front:
    """The frozen part of a model.

    Args:
        network: clips to (B, N) float32, all that the head reads, side by side.
        model: the model.
        tensors: names of what the head reads, and where it is in the model.
        rows: of each of them, how many of its rows belong to one clip: its frames, where they are folded into the
            batch, else 1.
    """

    network: keras.Model
    model: keras.Model
    tensors: dict[str, keras.KerasTensor]
    rows: dict[str, int]

    @property
    def wiring(self) -> list:
        """How its layers and operations are joined: of each its kind, or name where that is its own, and its inputs."""
        by_depth = self.network._nodes_by_depth
        nodes = [node for depth in sorted(by_depth, reverse=True) for node in in_order(by_depth[depth])]
        place = {id(tensor): (n, k) for n, node in enumerate(nodes) for k, tensor in enumerate(node.output_tensors)}
        return [(_plain(node.operation), [place[id(tensor)] for tensor in node.input_tensors]) for node in nodes]

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """Name of a tensor -> (the first, the one behind the last) of its N numbers."""
        places, start = {}, 0
        for name, tensor in self.tensors.items():
            places[name] = start, start + _size(tensor, self.rows[name])
            start = places[name][1]
        return places


def front_of(model: keras.Model) -> Front | None:
    """The frozen part of a classifier of clips; None where nothing with weights is frozen, or all is, or axes are open.

    Frozen is what is computed of the clip alone by layers that have no weights to train, no statistics to update and
    draw no random numbers; the front ends where others begin.
    """
    graph = flat(model)
    fixed: dict[int, bool] = {}
    for operation in graph.operations:  # in the order in which they are computed
        for node in operation._inbound_nodes:
            inputs = node.input_tensors
            steady = _is_fixed(operation) and all(fixed.get(id(tensor), False) for tensor in inputs)
            for tensor in node.output_tensors:
                fixed[id(tensor)] = steady or not inputs
    ends: dict[int, keras.KerasTensor] = {}
    waiting, seen = list(graph.outputs), set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if fixed[id(tensor)]:
            ends[id(tensor)] = tensor
        else:
            waiting += inputs_of(tensor)
    order = {id(operation): place for place, operation in enumerate(graph.operations)}
    tensors = sorted(ends.values(), key=lambda tensor: order[id(tensor._keras_history.operation)])
    usable = all(None not in tensor.shape[1:] and inputs_of(tensor) for tensor in tensors)
    if len(graph.inputs) != 1 or id(graph.outputs[0]) in ends or not usable:
        return None
    named = _named(tensors)
    clip = np.zeros((1, *graph.inputs[0].shape[1:]), graph.inputs[0].dtype)
    rows = [len(values) for values in tree.flatten(keras.Model(graph.inputs[0], list(named.values()))(clip))]
    flats = [ops.reshape(x, (-1, _size(x, count))) for x, count in zip(named.values(), rows, strict=True)]
    flats = [ops.cast(x, "float32") for x in flats]
    network = keras.Model(graph.inputs[0], ops.concatenate(flats, -1) if len(flats) > 1 else flats[0])
    return Front(network, graph, named, dict(zip(named, rows, strict=True))) if network.weights else None


def head_of(front: Front, stored: Front, name: str) -> keras.Model:
    """The rest of a model, on what is stored of its front.

    Args:
        front: of the model.
        stored: the front whose (B, 1, N) numbers are stored, with the tensors of `front` among its own.
        name: of the input.

    Raises:
        ValueError: what is stored lacks a tensor.
    """
    numbers = keras.Input((1, stored.network.output_shape[-1]), name=name)
    places, begins = stored.places, []
    for key, tensor in front.tensors.items():
        start, stop = places.get(key, (0, 0))
        if stop - start != _size(tensor, front.rows[key]):
            raise ValueError(f"{front.model.name} reads {key}. Received: what is stored has {', '.join(places)}")
        part = ops.reshape(numbers[:, 0, start:stop], (-1, *tensor.shape[1:]))
        begins.append(ops.cast(part, tensor.dtype))
    rest = keras.Model(list(front.tensors.values()), front.model.outputs[0])
    # Flat, as inner models are numbered by process, and a training that goes on compares what it trains.
    head = flat(keras.Model(numbers, rest(begins if len(begins) > 1 else begins[0])))
    return keras.Model({name: head.inputs[0]}, head.outputs[0], name=f"{front.model.name}_head")


def _is_fixed(operation) -> bool:
    if not isinstance(operation, keras.Layer):
        return not hasattr(operation, "seed_generator")
    moving = operation.trainable and bool(operation.non_trainable_weights)  # such as BatchNorm's statistics
    draws = any(hasattr(layer, "seed_generator") for layer in operation._flatten_layers())
    return not (operation.trainable_weights or moving or draws)


def _size(tensor: keras.KerasTensor, rows: int) -> int:
    """Numbers of it that a clip has."""
    return rows * math.prod(tensor.shape[1:])


def _plain(operation) -> str:
    """The name of an operation, without the number that Keras counts up in a process."""
    plain = re.sub(r"_\d+$", "", operation.name)
    return plain if plain.replace("_", "") == type(operation).__name__.lower() else operation.name


def _named(tensors: Sequence[keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
    """By the names of the layers that made them."""
    named: dict[str, keras.KerasTensor] = {}
    for tensor in tensors:
        base = _plain(tensor._keras_history.operation)
        name, number = base, 1
        while name in named:
            number += 1
            name = f"{base}:{number}"
        named[name] = tensor
    return named
