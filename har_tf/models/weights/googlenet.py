"""GoogLeNet's weights as Caffe's Model Zoo and as torchvision publish them: two different networks."""

import re
from collections.abc import Collection

import keras
import numpy as np

from har_tf.models.weights.form import Form, Slot, outputs_first, same, torch_layer

_AUX_SIDE = 4  # of the map that an auxiliary head flattens


class _Caffe(Form):
    """`<layer>/weights` and `<layer>/biases`; in a .npz with our axes, in a .caffemodel with Caffe's."""

    title = "googlenet(variant='bvlc')"
    parts = ("loss1/", "loss2/", "loss3/")

    def builds(self, layers: Collection[str]) -> bool:
        return any(name.startswith("conv1_7x7_s2") for name in layers)

    def holds(self, names: Collection[str]) -> bool:
        return any(re.match("conv1[/_]7x7_s2", name) for name in names)

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        part = re.fullmatch(r"(conv\d|inception_\d[a-e]|loss\d)_(\w+)", layer.name)
        name = "loss3/classifier" if layer.name == "predictions" else f"{part[1]}/{part[2]}"
        kernel = _behind_flatten(layer) or outputs_first(layer.kernel)
        kernel = kernel if ending == ".caffemodel" else same(layer.kernel)
        return {f"{name}/weights": kernel, f"{name}/biases": same(layer.bias)}


class _Torchvision(Form):
    """The state dict of torchvision.models.googlenet."""

    title = "googlenet(variant='batchnorm')"
    parts = ("aux1.", "aux2.", "fc.")

    def builds(self, layers: Collection[str]) -> bool:
        return any(name.startswith("conv1_conv") for name in layers)

    def holds(self, names: Collection[str]) -> bool:
        return any(re.match("conv1[._]conv", name) for name in names)

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        # inception3a_branch2_0_conv, inception3a_branch1_bn, conv1_conv, aux1_conv_bn, aux1_fc1
        name = "fc" if layer.name == "predictions" else layer.name.replace("_", ".")
        flattened = _behind_flatten(layer)
        return torch_layer(layer, name) | ({f"{name}.weight": flattened} if flattened else {})


def _behind_flatten(layer: keras.Layer) -> Slot | None:
    """The kernel of a dense layer on a flattened map, which Caffe and torch flatten with the channel first."""
    if not layer.name.startswith(("loss1_fc", "loss2_fc", "aux1_fc1", "aux2_fc1")):
        return None
    rows = layer.kernel.shape[0]
    order = np.arange(rows).reshape(-1, _AUX_SIDE, _AUX_SIDE).transpose(1, 2, 0).ravel()
    return Slot(layer.kernel, (layer.kernel.shape[1], rows), lambda a: a.T[order])


CAFFE, TORCHVISION = _Caffe(), _Torchvision()
