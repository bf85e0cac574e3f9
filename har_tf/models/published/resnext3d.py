"""3D ResNeXt's weights as kenshohara/3D-ResNets-PyTorch publishes them."""

import re
from collections.abc import Collection, Mapping

import keras

from har_tf.models.published.form import Form, Slot, counter_of, of_part, torch_layer
from har_tf.models.torch_file import Tensor

_STEM = {"conv3d_1a_7x7_conv": "conv1", "conv3d_1a_7x7_bn": "bn1", "predictions": "fc"}


class _Hara(Form):
    """`conv1`, `bn1`, `layer1.0.conv1`, ..., `fc`; in the release of 2018 behind `module.`, which DataParallel adds.

    The code of 2020 has the same names, but twice the filters in its first convolution: another network.
    """

    title = "resnext3d()"

    def builds(self, layers: Collection[str]) -> bool:
        return "layer1_0_conv2" in layers

    def holds(self, names: Collection[str]) -> bool:
        return "conv1.weight" in names and "layer1.0.conv2.weight" in names

    def name(self, name: str) -> str:
        return name.removeprefix("module.")

    def slots(self, model: keras.Model, ending: str | None) -> dict[str, Slot]:
        slots = {}
        for layer in model.layers:
            if layer.weights:  # layer1_0_downsample_1 is layer1.0.downsample.1
                slots |= torch_layer(layer, _STEM.get(layer.name, layer.name.replace("_", ".")))
        return slots

    def leaves_out(self, name: str, slots: Collection[str]) -> bool:
        return counter_of(name) in slots or of_part(name, ("fc.",), slots)


HARA = _Hara()


def options(tensors: Mapping[str, Tensor]) -> dict:
    """The arguments of `resnext3d` for the network whose tensors these are.

    Args:
        tensors: by their names in the file.

    Returns:
        blocks, width, cardinality, shortcut and num_classes.

    Raises:
        ValueError: not the weights of a 3D ResNeXt.
    """
    shapes = {HARA.name(name): tensor.shape for name, tensor in tensors.items()}
    if not HARA.holds(shapes) or len(shapes["layer1.0.conv2.weight"]) != 5 or len(shapes.get("fc.weight", ())) != 2:
        raise ValueError(f"no weights of a 3D ResNeXt among {', '.join(list(shapes)[:10])}")
    found = [re.match(r"layer([1-4])\.(\d+)\.", name) for name in shapes]
    last = {stage: max((int(part[2]) for part in found if part and part[1] == stage), default=-1) for stage in "1234"}
    inner, in_group = shapes["layer1.0.conv2.weight"][:2]
    return {
        "blocks": tuple(last[stage] + 1 for stage in "1234"),
        "width": shapes["layer1.0.conv3.weight"][0] // 2,
        "cardinality": inner // in_group,
        "shortcut": "B" if any(".downsample." in name for name in shapes) else "A",
        "num_classes": shapes["fc.weight"][0],
    }
