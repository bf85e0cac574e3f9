"""GoogLeNet's weights as Caffe's Model Zoo and as torchvision publish them: two different networks."""

import re

import keras

from har_tf.models.weights.form import Form, Slot, outputs_first, same, torch_layer


class _Caffe(Form):
    """`<layer>/weights` and `<layer>/biases`; in a .npz with our axes, in a .caffemodel with Caffe's."""

    title = "googlenet(variant='bvlc')"
    network, form = "conv1_7x7_s2", "conv1[/_]7x7_s2"
    parts = ("loss1/", "loss2/", "loss3/")

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        part = re.fullmatch(r"(conv\d|inception_\d[a-e])_(\w+)", layer.name)
        name = "loss3/classifier" if layer.name == "predictions" else f"{part[1]}/{part[2]}"
        kernel = (outputs_first if ending == ".caffemodel" else same)(layer.kernel)
        return {f"{name}/weights": kernel, f"{name}/biases": same(layer.bias)}


class _Torchvision(Form):
    """The state dict of torchvision.models.googlenet."""

    title = "googlenet(variant='batchnorm')"
    network, form = "conv1_conv", "conv1[._]conv"
    parts = ("aux1.", "aux2.", "fc.")

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        # inception3a_branch2_0_conv, inception3a_branch1_bn, conv1_conv
        return torch_layer(layer, "fc" if layer.name == "predictions" else layer.name.replace("_", "."))


CAFFE, TORCHVISION = _Caffe(), _Torchvision()
