"""3D ResNeXt's weights as kenshohara/3D-ResNets-PyTorch publishes them."""

from collections.abc import Mapping

import keras

from har_tf.models.weights.form import Form, Slot, blocks_of, torch_layer
from har_tf.models.weights.torch_file import Tensor

_STEM = {"conv3d_1a_7x7_conv": "conv1", "conv3d_1a_7x7_bn": "bn1", "predictions": "fc"}


class _Hara(Form):
    """`conv1`, `bn1`, `layer1.0.conv1`, ..., `fc`; in the release of 2018 behind `module.`.

    The code of 2020 has the same names, but twice the filters in its first convolution: another network.
    """

    title = "resnext3d()"
    network, form = "layer1_0_conv2", r"layer1\.0\.conv2\.weight"
    parts = ("fc.",)

    def of_layer(self, layer: keras.Layer, ending: str | None) -> dict[str, Slot]:
        # layer1_0_downsample_1 is layer1.0.downsample.1
        return torch_layer(layer, _STEM.get(layer.name, layer.name.replace("_", ".")))

    def refuses(self, model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        return _plain_resnet(shapes)


def _plain_resnet(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What tensors hold that are those of a ResNet without groups, which is published under the same names."""
    convs = [shapes.get(f"layer1.0.conv{number}.weight", ()) for number in (1, 2, 3)]
    if len(convs[0]) == len(convs[1]) == 5 and not any(name.endswith(".conv3.weight") for name in shapes):
        found = "basic blocks, as ResNet-18 and 34 have them"
    elif all(len(shape) == 5 for shape in convs) and convs[1][0] == convs[1][1] and convs[2][0] != 64 * convs[1][0]:
        found = "bottleneck blocks without groups, as ResNet-50 and 101 have them"
    else:
        return None
    expected = "bottleneck blocks whose second convolution has groups, such as resnext-101-kinetics.pth"
    return f"holds {found}, so no 3D ResNeXt. Expected: {expected}"


HARA = _Hara()


def options(tensors: Mapping[str, Tensor]) -> dict:
    """The arguments of `resnext3d` for the network whose tensors, by their names in a file, these are."""
    shapes = {HARA.name(name): tensor.shape for name, tensor in tensors.items()}
    if not HARA.holds(shapes) or len(shapes["layer1.0.conv2.weight"]) != 5 or len(shapes.get("fc.weight", ())) != 2:
        raise ValueError(f"no weights of a 3D ResNeXt among {', '.join(list(shapes)[:10])}")
    if reason := _plain_resnet(shapes):
        raise ValueError(reason)
    if len(shapes.get("layer1.0.conv3.weight", ())) != 5:
        raise ValueError(f"no layer1.0.conv3.weight of a 3D ResNeXt among {', '.join(list(shapes)[:10])}")
    inner, in_group = shapes["layer1.0.conv2.weight"][:2]
    return {
        "blocks": blocks_of(shapes, r"layer([1-4])\.(\d+)\.", "1234"),
        "width": shapes["layer1.0.conv3.weight"][0] // 2,
        "cardinality": inner // in_group,
        "shortcut": "B" if any(".downsample." in name for name in shapes) else "A",
        "num_classes": shapes["fc.weight"][0],
    }
