"""ImageNet networks as frame encoders: `keras.applications` and GoogLeNet, with their preprocessing and weights.

Every backbone is built on a tensor of the caller's graph (`input_tensor=`), so the video model stays flat and
each of its layers can be tapped.
"""

import re
import warnings
from pathlib import Path

import keras
from keras import layers

from har_tf.files.errors import DAMAGE, reason_of
from har_tf.models.weights.checkpoints import existing, keras_shapes
from har_tf.models.weights.import_weights import googlenet_variant, import_weights
from har_tf.networks import BACKBONES, GOOGLENET, Backbone, WeightsUnavailable, find, find_weights

__all__ = [
    "BACKBONES", "Backbone", "WeightsUnavailable", "copy_weights", "download", "encode", "find", "find_weights",
]  # fmt: skip

# What `keras.applications.imagenet_utils.preprocess_input` does, as arguments of a Rescaling layer, so that a saved
# model takes raw uint8 frames. "caffe" networks see BGR.
_TORCH_STD = (0.229, 0.224, 0.225)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_PREPROCESSING = {
    "tf": {"scale": 1 / 127.5, "offset": -1.0},
    "caffe": {"scale": 1.0, "offset": [-103.939, -116.779, -123.68]},
    "torch": {
        "scale": [1 / (255 * s) for s in _TORCH_STD],
        "offset": [-m / s for m, s in zip(_TORCH_MEAN, _TORCH_STD, strict=True)],
    },
}


def download(name: str) -> str:
    """Has Keras fetch the ImageNet weights of backbone `name`, or find them in its cache.

    Returns:
        "imagenet", for `encode`.

    Raises:
        WeightsUnavailable: they are neither in the cache nor to be had.
    """
    _load(find(name), "imagenet", (224, 224, 3), {})
    return "imagenet"


def encode(
    frames,
    name: str,
    weights: str | Path | None = None,
    trainable: bool = True,
    alpha: float | None = None,
    prefix: str | None = None,
):
    """Applies an ImageNet network to frames, with its own preprocessing in front.

    Args:
        frames: symbolic tensor (B·T, H, W, 3), RGB in [0, 255].
        name: a key of `BACKBONES`.
        weights: None (random), "imagenet" (downloaded by Keras), or the path of a published `.h5` file, with or without
            the classification layers; for GoogLeNet of a `.npz`, `.caffemodel` or `.pth`, which also says which of its
            two variants is built (without weights: "bvlc").
        trainable: False freezes the network; its BatchNorm layers then use their stored statistics.
        alpha: width of a MobileNet; None: the width of the weights file, or 1.
        prefix: put before the name of every layer, so that several networks fit into one graph; layers that have no
            published name are then numbered from the network's first, so that the names are the same in every process.

    Returns:
        The last feature map, (B·T, h, w, C).

    Raises:
        ValueError: unknown name, frames too small, or a file that does not fit the network.
        WeightsUnavailable: "imagenet" could not be downloaded.
    """
    backbone = find(name)
    height, width = frames.shape[1:3]
    if min(height, width) < backbone.min_size:
        raise ValueError(
            f"{name} needs frames of at least {backbone.min_size} x {backbone.min_size} pixels. "
            f"Received: {height} x {width}"
        )
    options = {}
    from_file = weights not in (None, "imagenet")
    if name == "MobileNet":
        options["alpha"] = alpha or (_mobilenet_width(Path(weights)) if from_file else 1.0)
    if name == "GoogLeNet" and from_file:
        options["variant"] = googlenet_variant(weights)

    inputs = keras.utils.get_source_inputs(frames)  # of a branched graph it would go every way through it
    before = keras.Function(inputs, frames).operations
    if backbone.preprocessing == "caffe":
        frames = keras.ops.flip(frames, axis=-1)
    if backbone.preprocessing is not None:
        frames = layers.Rescaling(name="preprocess", **_PREPROCESSING[backbone.preprocessing])(frames)
    network = backbone.build(include_top=False, weights=None, input_tensor=frames, **options)
    if weights is not None:
        source = _load(backbone, weights, (height, width, 3), options)
        copy_weights(source, network)
    for layer in network.layers:
        layer.trainable = trainable
    features = network.output
    if prefix is not None:
        known = {id(operation) for operation in before}
        operations = keras.Function(inputs, features).operations
        _rename([operation for operation in operations if id(operation) not in known], prefix)
    return features


def _rename(operations, prefix: str) -> None:
    """Puts `prefix` before every name, and numbers anew those that Keras made up from the class of the layer.

    A graph refers to its operations themselves, not to their names, so these can still change.
    """
    counts: dict[str, int] = {}
    for operation in operations:
        name = operation.name
        stem = re.sub(r"_\d+$", "", name)
        if stem.replace("_", "") == type(operation).__name__.lower():
            number = counts[stem] = counts.get(stem, -1) + 1
            name = f"{stem}_{number}" if number else stem
        operation.name = prefix + name


def _load(backbone: Backbone, weights, input_shape, options) -> keras.Model:
    """The standalone network without top, holding `weights`."""
    build = backbone.build
    if weights == "imagenet" and build is GOOGLENET:
        raise WeightsUnavailable(
            "GoogLeNet: Keras has no ImageNet weights of this network to download; fetch bvlc_googlenet.caffemodel "
            "(github.com/BVLC/caffe, models/bvlc_googlenet) or torchvision's googlenet-1378be20.pth "
            "(download.pytorch.org/models) and give its folder as --weights-dir (in Python, weights_dir=)"
        )
    if weights == "imagenet":
        try:
            with warnings.catch_warnings():  # that frames are not 224 x 224, which convolutions do not mind
                warnings.simplefilter("ignore", UserWarning)
                return build(include_top=False, weights="imagenet", input_shape=input_shape, **options)
        except Exception as error:  # Keras raises bare Exception for a failed download
            if "fetch" not in str(error) and not isinstance(error, OSError):
                raise
            raise WeightsUnavailable(
                f"{backbone.name}: ImageNet weights could not be downloaded; "
                "--weights-dir (in Python, weights_dir=) takes a folder with their .h5 file"
            ) from error
    path = existing(weights)
    if build is GOOGLENET and path.suffix != ".h5":
        return import_weights(build(input_shape, include_top=False, **options), path)
    reasons = []
    # The layers with weights do not depend on the input's size, but a top has to be built for the published one.
    for form in ({"include_top": False, "input_shape": input_shape}, {"include_top": True}):
        source = build(weights=None, **form, **options)
        try:
            source.load_weights(path)
            return source
        except DAMAGE as error:
            reasons.append(reason_of(error))
    raise ValueError(f"{path}: not the weights of {backbone.name} ({reasons[0]})")


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies layer by layer in graph order; `source` may have further layers (its top) at the end."""
    with_weights = [layer for layer in target.layers if layer.weights]
    given = [layer for layer in source.layers if layer.weights][: len(with_weights)]
    for layer, source_layer in zip(with_weights, given, strict=True):
        layer.set_weights(source_layer.get_weights())


def _mobilenet_width(path: Path) -> float:
    """The width multiplier of a MobileNet file: its first convolution has 32·alpha filters on 3 channels."""
    shapes = keras_shapes(existing(path)).values()
    filters = [shape[3] for shape in shapes if len(shape) == 4 and shape[:3] == (3, 3, 3)]
    if not filters:
        raise ValueError(f"{path}: not the weights of MobileNet (no first convolution of 3 x 3 x 3)")
    return max(filters) / 32
