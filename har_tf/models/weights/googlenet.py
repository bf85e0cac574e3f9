"""GoogLeNet's weights as Caffe's Model Zoo and as torchvision publish them: two different networks."""

import re
from collections.abc import Collection

import keras
import numpy as np

from har_tf.models.weights.form import Form, Slot, counter_of, of_part, outputs_first, same, torch_layer

_AUX_SIDE = 4  # of the map that an auxiliary head flattens


class _Caffe(Form):
    """`<layer>/weights` and `<layer>/biases`; in a .npz with our axes, in a .caffemodel with Caffe's."""

    title = "googlenet(variant='bvlc')"
    parts = ("loss1/", "loss2/", "loss3/")

    def builds(self, layers: Collection[str]) -> bool:
        return any(name.startswith("conv1_7x7_s2") for name in layers)

    def holds(self, names: Collection[str]) -> bool:
        return any(re.match("conv1[/_]7x7_s2", name) for name in names)

    def slots(self, model: keras.Model, ending: str | None) -> dict[str, Slot]:
        slots = {}
        for layer in model.layers:
            if not layer.weights:
                continue
            part = re.fullmatch(r"(conv\d|inception_\d[a-e]|loss\d)_(\w+)", layer.name)
            name = "loss3/classifier" if layer.name == "predictions" else f"{part[1]}/{part[2]}"
            kernel = _behind_flatten(layer) or outputs_first(layer.kernel)
            slots[f"{name}/weights"] = kernel if ending == ".caffemodel" else same(layer.kernel)
            slots[f"{name}/biases"] = same(layer.bias)
        return slots

    def leaves_out(self, name: str, slots: Collection[str]) -> bool:
        return of_part(name, self.parts, slots)


class _Torchvision(Form):
    """The state dict of torchvision.models.googlenet."""

    title = "googlenet(variant='batchnorm')"
    parts = ("aux1.", "aux2.", "fc.")

    def builds(self, layers: Collection[str]) -> bool:
        return any(name.startswith("conv1_conv") for name in layers)

    def holds(self, names: Collection[str]) -> bool:
        return any(re.match("conv1[._]conv", name) for name in names)

    def slots(self, model: keras.Model, ending: str | None) -> dict[str, Slot]:
        slots = {}
        for layer in model.layers:
            if not layer.weights:
                continue
            # inception3a_branch2_0_conv, inception3a_branch1_bn, conv1_conv, aux1_conv_bn, aux1_fc1
            name = "fc" if layer.name == "predictions" else layer.name.replace("_", ".")
            slots |= torch_layer(layer, name)
            if flattened := _behind_flatten(layer):
                slots[f"{name}.weight"] = flattened
        return slots

    def leaves_out(self, name: str, slots: Collection[str]) -> bool:
        return counter_of(name) in slots or of_part(name, self.parts, slots)


def _behind_flatten(layer: keras.Layer) -> Slot | None:
    """The kernel of a dense layer on a flattened map, which Caffe and torch flatten with the channel first."""
    if not layer.name.startswith(("loss1_fc", "loss2_fc", "aux1_fc1", "aux2_fc1")) or not layer.weights:
        return None
    rows = layer.kernel.shape[0]
    order = np.arange(rows).reshape(-1, _AUX_SIDE, _AUX_SIDE).transpose(1, 2, 0).ravel()
    return Slot(layer.kernel, (layer.kernel.shape[1], rows), lambda a: a.T[order])


CAFFE, TORCHVISION = _Caffe(), _Torchvision()
