"""Published checkpoints into Keras models: every tensor is used once and every weight filled, or nothing is.

GoogLeNet's weights are published for Caffe and for torch. A file is read by what is in it, without running anything
that stands in it, and its tensors are matched by name and shape before the model is touched.
"""

import logging
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from har_tf.models import checkpoints
from har_tf.models.checkpoints import Tensor

LOG = logging.getLogger(__name__)
_SHOWN = 10


def import_weights(model: keras.Model, source: str | Path | Mapping[str, Any]) -> keras.Model:
    """Fills a model with published weights, strictly.

    Every tensor of the source is used exactly once and every weight of the model is filled, with equal shapes. There
    are three exceptions, for what a model was built without; these tensors are left out on purpose, which is logged:
    the classifier where the model has none, the auxiliary classifiers where it has none, and torch's counters
    `num_batches_tracked`, which Keras does not have.

    Args:
        model: `googlenet(variant="bvlc")` for Caffe's weights, `googlenet(variant="batchnorm")` for torchvision's, with
            or without top and auxiliary heads; for `.h5` and `.keras` any model of the same architecture.
        source: a `.npz` with `<caffe layer>/weights` as (height, width, in, out) and `<caffe layer>/biases`; a
            `.caffemodel`; a `.pth` of torchvision; a `.h5`, `.weights.h5` or `.keras` of Keras; or a mapping from the
            names in a `.npz` or a `.pth` to arrays.

    Returns:
        The model.

    Raises:
        ValueError: tensors that are missing, unexpected or of another shape, of each at most ten listed, with counts;
            a file that is damaged or of another kind; a model that no published file fits. The model is as before.
        FileNotFoundError: there is no such file.

    Example:
        >>> model = import_weights(googlenet(variant="bvlc"), "bvlc_googlenet.caffemodel")
    """
    if isinstance(source, Mapping):
        where, kind, tensors = "state dict", None, checkpoints.from_mapping(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such weights file")
        where, kind = str(path), path.suffix.lower()
        if kind in (".h5", ".hdf5", ".keras"):
            return _load_keras(model, path)
        tensors = checkpoints.read(path)
    variant = _variant(layer.name for layer in model.layers)
    if variant is None:
        raise ValueError(f"{where}: only googlenet's weights are imported. Received: a model called {model.name!r}")
    given = _variant(map(_layer_name, tensors))
    if given not in (None, variant):
        raise ValueError(f"{where}: holds googlenet(variant={given!r}). Received: a model of variant {variant!r}")
    slots = _caffe_slots(model, kind == ".caffemodel") if variant == "bvlc" else _torch_slots(model)
    values, left_out = _match(slots, tensors, variant, where)
    for slot, value in values:  # all is checked: from here on nothing fails
        slot.variable.assign(value)
    if left_out:
        LOG.info("%s: left out on purpose: %s", where, _listed(left_out))
    return model


def googlenet_variant(path: str | Path) -> str:
    """Which of `googlenet`'s variants a file holds: "bvlc" or "batchnorm".

    Raises:
        ValueError: it holds neither.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    if path.suffix.lower() in (".h5", ".hdf5"):
        names = checkpoints.keras_layers(path)
        # Keras 3 names the groups of a .weights.h5 after the classes of the layers.
        kinds = {re.sub(r"_\d+$", "", name) for name in names}
        by_class = "batchnorm" if "batch_normalization" in kinds else "bvlc" if "conv2d" in kinds else None
    else:
        names, by_class = checkpoints.read(path), None
    variant = _variant(map(_layer_name, names)) or by_class
    if variant is None:
        raise ValueError(f"{path}: not the weights of GoogLeNet; it holds {_listed(list(names))}")
    return variant


@dataclass(frozen=True)
class _Slot:
    """A weight of the model, and how it stands in the file."""

    variable: Any
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def _variant(names) -> str | None:
    for name in names:
        if name.startswith("conv1_7x7_s2"):
            return "bvlc"
        if name.startswith("conv1_conv"):
            return "batchnorm"
    return None


def _layer_name(name: str) -> str:
    return re.sub(r"[./]", "_", name)


def _caffe_slots(model: keras.Model, blobs: bool) -> dict[str, _Slot]:
    """The model's weights by the names of Caffe's layers; `blobs`: in Caffe's order of axes."""
    slots = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        part = re.fullmatch(r"(conv\d|inception_\d[a-e]|loss\d)_(\w+)", layer.name)
        name = "loss3/classifier" if layer.name == "predictions" else f"{part[1]}/{part[2]}"
        if blobs:
            slots[f"{name}/weights"] = _outputs_first(layer.kernel)
        else:
            slots[f"{name}/weights"] = _Slot(layer.kernel, tuple(layer.kernel.shape), _same)
        slots[f"{name}/biases"] = _Slot(layer.bias, tuple(layer.bias.shape), _same)
    return slots


def _torch_slots(model: keras.Model) -> dict[str, _Slot]:
    """The model's weights by torchvision's names."""
    slots = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        name = "fc" if layer.name == "predictions" else layer.name
        # inception3a_branch2_0_conv, inception3a_branch1_bn, conv1_conv, aux1_conv_bn, aux1_fc1
        name = name.replace("_", ".")
        if isinstance(layer, keras.layers.BatchNormalization):
            given = {
                "weight": layer.gamma,
                "bias": layer.beta,
                "running_mean": layer.moving_mean,
                "running_var": layer.moving_variance,
            }
            slots |= {f"{name}.{key}": _Slot(v, tuple(v.shape), _same) for key, v in given.items()}
            continue
        slots[f"{name}.weight"] = _outputs_first(layer.kernel)
        if layer.use_bias:
            slots[f"{name}.bias"] = _Slot(layer.bias, tuple(layer.bias.shape), _same)
    return slots


def _outputs_first(kernel) -> _Slot:
    """A kernel that Caffe and torch keep as (out, in, height, width), or (out, in) of a dense layer."""
    shape = tuple(kernel.shape)
    if len(shape) == 4:
        return _Slot(kernel, (shape[3], shape[2], shape[0], shape[1]), lambda a: a.transpose(2, 3, 1, 0))
    if shape[0] != 1024:  # behind a Flatten of 4 x 4 x 128, which they do with the channel first
        side = 4
        channels = shape[0] // side**2
        order = np.arange(shape[0]).reshape(channels, side, side).transpose(1, 2, 0).ravel()
        return _Slot(kernel, shape[::-1], lambda a: a.T[order])
    return _Slot(kernel, shape[::-1], np.transpose)


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _match(
    slots: dict[str, _Slot], tensors: dict[str, Tensor], variant: str, where: str
) -> tuple[list[tuple[_Slot, np.ndarray]], list[str]]:
    """(weights with their values, names left out on purpose), or a ValueError with the whole difference."""
    left_out = [name for name in tensors if name not in slots and _on_purpose(name, slots, variant)]
    missing = [name for name in slots if name not in tensors]
    unexpected = [name for name in tensors if name not in slots and name not in left_out]
    both = [name for name in slots if name in tensors]
    shapes = [
        f"{name} is {tensors[name].shape}, not {slots[name].shape}"
        for name in both
        if _squeezed(tensors[name].shape, len(slots[name].shape)) != slots[name].shape
    ]
    kinds = [f"{name} is {tensors[name].dtype}" for name in both if tensors[name].dtype.kind != "f"]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "no floating point": kinds}
    if any(found.values()):
        parts = [f"{len(names)} {what}: {_listed(names)}" for what, names in found.items() if names]
        raise ValueError(f"{where}: does not fit googlenet(variant={variant!r}). " + "; ".join(parts))
    values = []
    for name in both:
        slot = slots[name]
        value = slot.convert(tensors[name].read().reshape(slot.shape).astype("float32"))
        if not np.isfinite(value).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")
        values.append((slot, value))
    return values, left_out


def _on_purpose(name: str, slots: dict[str, _Slot], variant: str) -> bool:
    """Whether the tensor belongs to a part that the model was built without."""
    if variant == "batchnorm" and name.endswith(".bn.num_batches_tracked"):
        return f"{name.removesuffix('num_batches_tracked')}weight" in slots or _on_purpose_part(name, slots, variant)
    return _on_purpose_part(name, slots, variant)


def _on_purpose_part(name: str, slots: dict[str, _Slot], variant: str) -> bool:
    optional = ("loss1/", "loss2/", "loss3/") if variant == "bvlc" else ("aux1.", "aux2.", "fc.")
    part = name[: len(optional[0])] if variant == "bvlc" else f"{name.partition('.')[0]}."
    return part in optional and not any(slot.startswith(part) for slot in slots)


def _squeezed(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Without the ones that Caffe's old files put in front of every shape: a bias of 64 is 1 x 1 x 1 x 64 there."""
    extra = len(shape) - dimensions
    return shape[extra:] if extra > 0 and all(n == 1 for n in shape[:extra]) else shape


def _load_keras(model: keras.Model, path: Path) -> keras.Model:
    # Keras itself takes what it finds and passes over the rest of the file.
    given, wanted = checkpoints.keras_shapes(path), sorted(tuple(weight.shape) for weight in model.weights)
    if given != wanted:
        raise ValueError(
            f"{path}: not the weights of {model.name}: {len(given)} tensors for {len(wanted)} weights, "
            f"{sum(map(math.prod, given)):,} values for {sum(map(math.prod, wanted)):,}"
        )
    before = model.get_weights()
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        model.set_weights(before)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: not the weights of {model.name} ({reason})") from error
    return model


def _listed(names: list[str]) -> str:
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
