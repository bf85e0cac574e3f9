"""The names of models: CNN-GRU, Frame-CNN, MobileNet, CNN-GRU/MobileNetV2, ..., I3D, and the published networks.

Nothing here imports Keras, so that a name or a file that is not there is told before that has taken its seconds. What
builds a model of a name is `har_tf.models.zoo`, and a network on frames `har_tf.models.backbones`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from har_tf.names import closest

if TYPE_CHECKING:
    import keras

OWN = ("CNN-GRU", "Frame-CNN")


@dataclass(frozen=True)
class Backbone:
    """One ImageNet network: how it is built, what it is fed, what its published files are called.

    Args:
        name: the key in `BACKBONES`.
        build: takes `include_top`, `weights`, `input_shape` and `input_tensor` as `keras.applications` does.
        preprocessing: "tf", "caffe" or "torch"; None for a network that does it itself.
        file_pattern: regular expression for the beginning of published file names.
        min_size: the smallest height and width of a frame.
        endings: of published files.
        published: where its weights are, under a name that `find_weights` knows.
    """

    name: str
    build: Callable[..., keras.Model]
    preprocessing: str | None
    file_pattern: str
    min_size: int = 32
    endings: tuple[str, ...] = (".h5",)
    published: str = ""


def _later(module: str, name: str) -> Callable[..., keras.Model]:
    """A function that is imported when it is called."""

    def build(*arguments, **options):
        return getattr(importlib.import_module(module), name)(*arguments, **options)

    return build


def _keras(name: str, preprocessing: str, file_pattern: str, file: str, min_size: int = 32) -> Backbone:
    """A network of `keras.applications`, and its file there."""
    address = f"https://storage.googleapis.com/tensorflow/keras-applications/{file}"
    build = _later("keras.applications", name)
    return Backbone(name, build, preprocessing, file_pattern, min_size, published=address)


_NO_TOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"
GOOGLENET = _later("har_tf.models.googlenet", "googlenet")
BACKBONES = {
    backbone.name: backbone
    for backbone in (
        _keras("ResNet50", "caffe", r"resnet50_", f"resnet/resnet50_{_NO_TOP}"),
        _keras("InceptionV3", "tf", r"inception_?v3_", f"inception_v3/inception_v3_{_NO_TOP}", 75),
        _keras("MobileNet", "tf", r"mobilenet_(?!v[23])", "mobilenet/mobilenet_1_0_224_tf_no_top.h5"),
        _keras("Xception", "tf", r"xception_", f"xception/xception_{_NO_TOP}", 71),
        _keras("VGG16", "caffe", r"vgg16_", f"vgg16/vgg16_{_NO_TOP}"),
        _keras("VGG19", "caffe", r"vgg19_", f"vgg19/vgg19_{_NO_TOP}"),
        _keras("DenseNet121", "torch", r"densenet121_", f"densenet/densenet121_{_NO_TOP}"),
        _keras(
            "MobileNetV2", "tf", r"mobilenet_?v2_",
            "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ),
        Backbone(
            "GoogLeNet", GOOGLENET, None, r"(bvlc_)?googlenet", endings=(".npz", ".caffemodel", ".pth", ".h5"),
            published="http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        ),
        _keras(
            "InceptionResNetV2", "tf", r"inception_?resnet_?v2_", f"inception_resnet_v2/inception_resnet_v2_{_NO_TOP}",
            75,
        ),
    )
}  # fmt: skip
# Networks of clips, which start from Kinetics weights.
VIDEO = {
    "I3D": Backbone(
        "I3D", _later("har_tf.models.i3d", "i3d"), None, r"(i3d_?)?rgb_", endings=(".npz", ".pt", ".pth"),
        published="https://github.com/google-deepmind/kinetics-i3d",
    )
}  # fmt: skip


WEIGHTS = (".npz", ".caffemodel", ".pth", ".pt", ".index", ".h5", ".hdf5", ".keras")  # endings of files of weights


class WeightsUnavailable(Exception):
    """Published weights that are not on this machine and could not be fetched."""


def check_weights_file(path: str | Path) -> None:
    """Raises an error unless a file of published weights is there, and of a kind that is read.

    Raises:
        FileNotFoundError: there is no such file, nor a checkpoint of TensorFlow of this name.
        ValueError: it has another ending.
    """
    path = Path(path)
    if path.with_name(re.sub(r"\.data-\d+-of-\d+$", "", path.name) + ".index").is_file():
        return
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    if path.suffix.lower() not in WEIGHTS:
        raise ValueError(f"{path}: weights files end in {', '.join(WEIGHTS)}. Received: {path.suffix or 'no ending'}")


def find(name: str) -> Backbone:
    """The backbone called `name`.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in BACKBONES:
        known, hint = ", ".join(BACKBONES), closest(name, BACKBONES)
        raise ValueError(f"No backbone of that name; there are {known}.{hint} Received: {name!r}")
    return BACKBONES[name]


def find_weights(name: str, folder: Path) -> Path:
    """The file with the published weights of backbone `name` in `folder`.

    Files keep the names they are published under (`resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5`,
    `mobilenet_1_0_224_tf.h5`, `bvlc_googlenet.caffemodel`, `googlenet-1378be20.pth`, ...); one without the top layers
    is preferred.

    Raises:
        WeightsUnavailable: no file of that network is in the folder.
        FileNotFoundError: the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of weights")
    backbone = VIDEO.get(name) or find(name)
    pattern = re.compile(backbone.file_pattern, re.IGNORECASE)
    files = [f for f in folder.iterdir() if f.suffix in backbone.endings and pattern.match(f.name)]
    if not files:
        raise WeightsUnavailable(f"{name}: {folder} holds no weights file of this network")
    return min(files, key=lambda file: (not re.search(r"no_?top", file.name), file))


def backbone_of(name: str) -> str | None:
    """The published network in the model of this name; None: it has none.

    Raises:
        ValueError: no model has this name.
    """
    head, _, encoder = name.partition("/")
    if name in OWN:
        return None
    if encoder and head != "CNN-GRU":
        raise ValueError(f"Only CNN-GRU takes a frame encoder, as in CNN-GRU/MobileNet. Received: {name!r}")
    backbone = encoder or name
    if backbone not in BACKBONES and name not in VIDEO:
        known = [*OWN, *BACKBONES, *VIDEO]
        raise ValueError(f"Unknown model; there are {', '.join(known)}.{closest(backbone, known)} Received: {name!r}")
    return backbone


def source_of(backbone: str, weights: str = "imagenet", folder: Path | None = None) -> str | Path | None:
    """What a network starts from: a file, "imagenet" where Keras is to download it, None: random weights.

    Args:
        backbone: a key of `BACKBONES` or `VIDEO`.
        weights: "imagenet" (of a network of clips its Kinetics weights), "none" or the path of a published file.
        folder: where published files lie, in place of downloads.

    Raises:
        FileNotFoundError: the file or the folder does not exist.
        WeightsUnavailable: no file of this network is in the folder, or Keras does not have it.
    """
    if weights == "imagenet" and folder is None and backbone in VIDEO:
        raise WeightsUnavailable(f"{backbone}: Keras does not download its weights, which have to lie in a folder")
    if weights == "imagenet":
        return weights if folder is None else find_weights(backbone, folder)
    if weights == "none":
        return None
    try:
        check_weights_file(weights)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; imagenet and none are other choices") from error
    return Path(weights)


def check(name: str, weights: str = "imagenet", folder: Path | None = None) -> None:
    """Raises what `backbone_of` and `source_of` do, but for weights that are not in the folder."""
    backbone = backbone_of(name)
    if backbone is not None:
        with suppress(WeightsUnavailable):
            source_of(backbone, weights, folder)
