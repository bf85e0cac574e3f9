"""What `import_weights` asks of a published form, and the axes that forms of several networks share.

A form is one way in which the weights of one network are published: Caffe's GoogLeNet, torchvision's, DeepMind's I3D.
A file in this package holds the forms of one network, as instances; `import_weights.FORMS` lists them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Slot:
    """A weight of the model, and how it stands in the file.

    Args:
        variable: the weight.
        shape: of the tensor in the file.
        convert: from that tensor to the weight's axes.
    """

    variable: Any
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]


# Where a script may have held the network when it saved the weights: torch.compile, DataParallel, Lightning.
_ATTRIBUTES = r"((_orig_mod|module|model|net|network)\.)*"


class Form(ABC):
    """One published form of one network.

    Attributes:
        title: the call that builds the model, as "googlenet(variant='bvlc')".
        network: regular expression for the beginning of a layer's name that only this network has.
        form: the same for the published name of a tensor that only this form has.
        front: regular expression for what may stand in front of the published names, beyond what scripts put there.
        parts: beginnings of the names of tensors that are left out where the model was built without that part.
    """

    title: str
    network: str
    form: str
    front: str = ""
    parts: tuple[str, ...] = ()

    def builds(self, layers: Collection[str]) -> bool:
        """Whether a model with layers of these names is the network."""
        return any(re.match(self.network, name) for name in layers)

    def holds(self, names: Collection[str]) -> bool:
        """Whether a file with tensors of these names, each as `name` gives it, is in this form."""
        return any(re.match(self.form, name) for name in names)

    @abstractmethod
    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        """The weights of a layer that has some, by the names of their tensors.

        Args:
            layer: of the model.
            ending: of the file, as ".npz"; None for a mapping. Two kinds of file may keep their axes differently.
        """

    def slots(self, model: keras.Model, ending: str | None) -> dict[str, Slot]:
        """All weights of the model by the names of their tensors; arguments as in `of_layer`."""
        return {k: v for layer in model.layers if layer.weights for k, v in self.of_layer(layer, ending).items()}

    def name(self, name: str) -> str:
        """The published name of a tensor."""
        return re.sub(f"^{_ATTRIBUTES}({self.front})", "", name)

    def refuses(self, model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Why tensors of these shapes are none for the model, where words say it better than differences; else None."""
        return None

    def leaves_out(self, name: str, slots: Collection[str]) -> bool:
        """Whether a tensor that is none of the slots is left out on purpose.

        It is where the model was built without its part, and where it counts the batches of a BatchNorm that is there,
        which torch does and Keras does not.
        """
        layer, _, last = name.rpartition(".")
        if last == "num_batches_tracked" and f"{layer}.weight" in slots:
            return True
        return any(name.startswith(part) and not any(slot.startswith(part) for slot in slots) for part in self.parts)


def blocks_of(names: Collection[str], pattern: str, stages: str) -> tuple[int, ...]:
    """How many blocks each stage has, of tensors whose names match `pattern` with (stage, number of the block)."""
    found = [part.groups() for part in map(re.compile(pattern).match, names) if part]
    return tuple(1 + max((int(block) for of, block in found if of == stage), default=-1) for stage in stages)


def same(variable) -> Slot:
    """A weight whose axes are the file's."""
    return Slot(variable, tuple(variable.shape), lambda a: a)


def outputs_first(kernel) -> Slot:
    """A kernel (..., in, out) that Caffe and torch keep as (out, in, ...): of a convolution or a dense layer."""
    shape = tuple(kernel.shape)
    spatial = range(2, len(shape))
    return Slot(kernel, (*shape[:-3:-1], *shape[:-2]), lambda a: a.transpose(*spatial, 1, 0))


def torch_layer(layer: keras.Layer, name: str) -> dict[str, Slot]:
    """The weights of a convolution, a dense layer or a BatchNormalization with scale by torch's names."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return {
            f"{name}.weight": same(layer.gamma),
            f"{name}.bias": same(layer.beta),
            f"{name}.running_mean": same(layer.moving_mean),
            f"{name}.running_var": same(layer.moving_variance),
        }
    slots = {f"{name}.weight": outputs_first(layer.kernel)}
    if layer.use_bias:
        slots[f"{name}.bias"] = same(layer.bias)
    return slots
