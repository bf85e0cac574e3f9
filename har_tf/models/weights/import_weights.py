"""Published checkpoints into Keras models: every tensor is used once and every weight filled, or nothing is.

A file is read by what is in it, without running anything that stands in it, and its tensors are matched by name and
shape before the model is touched. What the tensors are called and how their axes lie is said by the files
beside this one, one for each network.
"""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from har_tf.files.errors import DAMAGE, reason_of
from har_tf.models.weights import checkpoints, googlenet, i3d, resnext3d, video_swin
from har_tf.models.weights.checkpoints import Tensor
from har_tf.models.weights.form import Form, Slot

LOG = logging.getLogger(__name__)
FORMS: tuple[Form, ...] = (
    googlenet.CAFFE, googlenet.TORCHVISION, i3d.TENSORFLOW, i3d.PYTORCH, resnext3d.HARA, video_swin.MMACTION,
    video_swin.TORCHVISION,
)  # fmt: skip
_SHOWN = 10


def import_weights(model: keras.Model, source: str | Path | Mapping[str, Any]) -> keras.Model:
    """Fills a model with published weights, strictly.

    Every tensor of the source is used exactly once and every weight of the model is filled, with equal shapes. There
    are four exceptions, tensors that are left out on purpose, which is logged: the classifier where the model has none,
    GoogLeNet's auxiliary classifiers, torch's counters `num_batches_tracked`, which Keras does not have, and Video
    Swin's `relative_position_index` and `attn_mask`, which its layers compute.

    Args:
        model: `googlenet(variant="bvlc")` for Caffe's weights, `googlenet(variant="batchnorm")` for torchvision's, with
            or without top; `i3d(batch_norm_scale=False)` for DeepMind's, `i3d()` for those of
            pytorch-i3d, each of the modality of the file; `resnext3d()` for those of
            3D-ResNets-PyTorch, of the file's depth; `video_swin()` for those of Video-Swin-Transformer and of
            torchvision's `swin3d_t`, `swin3d_s` and `swin3d_b`, of the file's size and window and any size of clips;
            for `.h5` and `.keras` any model of the same architecture.
        source: a `.npz` with `<caffe layer>/weights` as (height, width, in, out) and `<caffe layer>/biases`; a
            `.caffemodel`; a `.pth` of torchvision, pytorch-i3d, 3D-ResNets-PyTorch or Video-Swin-Transformer; a
            checkpoint of TensorFlow, as `model.ckpt` or `model.ckpt.index`; a `.h5`, `.weights.h5` or `.keras` of
            Keras; or a mapping from the names in any of the first four to arrays. The tensors of a `.pth` and of a
            mapping may stand in a dict beside others, as under "state_dict" or "model_state_dict", and have "module.",
            "model." or the like in front of their names.

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
        path = checkpoints.existing(checkpoints.file_of(source))
        where, kind = str(path), path.suffix.lower()
        if kind in (".h5", ".hdf5", ".keras"):
            return _load_keras(model, path)
        tensors = checkpoints.read(path)
    form = _form(model, tensors, where)
    tensors = _renamed(form, tensors, where)
    if reason := form.refuses(model, {name: tensor.shape for name, tensor in tensors.items()}):
        raise ValueError(f"{where}: {reason}")
    slots = form.slots(model, kind)
    values, left_out = _match(form, slots, tensors, where)
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
    path = checkpoints.existing(path)
    if path.suffix.lower() in (".h5", ".hdf5"):
        names = [re.sub("^(layers|model_weights)/", "", name).split("/")[0] for name in checkpoints.keras_shapes(path)]
        names = list(dict.fromkeys(names))
        # Keras 3 names the groups of a .weights.h5 after the classes of the layers.
        kinds = {re.sub(r"_\d+$", "", name) for name in names}
        by_class = "batchnorm" if "batch_normalization" in kinds else "bvlc" if "conv2d" in kinds else None
    else:
        names, by_class = list(checkpoints.read(path)), None
    for variant, form in (("bvlc", googlenet.CAFFE), ("batchnorm", googlenet.TORCHVISION)):
        if form.holds(names):
            return variant
    if by_class is None:
        raise ValueError(f"{path}: not the weights of GoogLeNet; it holds {_listed(names)}")
    return by_class


def resnext3d_options(path: str | Path) -> dict[str, Any]:
    """The arguments of `resnext3d` for the network in a file: blocks, width, cardinality, shortcut and num_classes.

    Raises:
        ValueError: the file holds no 3D ResNeXt with its last layer.
        FileNotFoundError: there is no such file.
    """
    return _options(path, resnext3d)


def i3d_options(path: str | Path) -> dict[str, Any]:
    """The arguments of `i3d` for the network in a file, as of `resnext3d_options`.

    They are modality, width and batch_norm_scale; and num_classes, where the file has a classifier.
    """
    return _options(path, i3d)


def video_swin_options(path: str | Path) -> dict[str, Any]:
    """The arguments of `video_swin` for the network in a file, as of `resnext3d_options`.

    They are embed_dim, depths, num_heads, window, patch and num_classes; and size, where the first three are those of
    one.
    """
    return _options(path, video_swin)


def _options(path: str | Path, network: ModuleType) -> dict[str, Any]:
    """The `options` of one of the modules beside this one for a file, or a ValueError that names another's file."""
    path = checkpoints.existing(path)
    tensors = checkpoints.read(path)
    given = next((form for form in FORMS if form.holds([form.name(name) for name in tensors])), None)
    own = [form for form in FORMS if form in vars(network).values()]
    if given is not None and given not in own:
        raise ValueError(f"{path}: holds {given.title}. Expected: {own[0].title}")
    try:
        return network.options(tensors)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _form(model: keras.Model, tensors: dict[str, Tensor], where: str) -> Form:
    """The form of the tensors, or where they are of no known form the first one of the model."""
    layers = [layer.name for layer in model.layers]
    fitting = [form for form in FORMS if form.builds(layers)]
    if not fitting:
        titles = ", ".join(dict.fromkeys(form.title for form in FORMS))
        raise ValueError(
            f"{where}: published weights are imported into {titles}. Received: a model called {model.name!r}"
        )
    given = [form for form in FORMS if form.holds([form.name(name) for name in tensors])]
    both = [form for form in fitting if form in given]
    if given and not both:
        raise ValueError(f"{where}: holds {given[0].title}. Received: a model of {fitting[0].title}")
    return (both or fitting)[0]


def _renamed(form: Form, tensors: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors by their published names."""
    renamed = {}
    for name, tensor in tensors.items():
        if form.name(name) in renamed:
            raise ValueError(f"{where}: {form.name(name)} stands in it twice, once as {name}")
        renamed[form.name(name)] = tensor
    return renamed


def _match(
    form: Form, slots: dict[str, Slot], tensors: dict[str, Tensor], where: str
) -> tuple[list[tuple[Slot, np.ndarray]], list[str]]:
    """(weights with their values, names left out on purpose), or a ValueError with the whole difference."""
    left_out = [name for name in tensors if name not in slots and form.leaves_out(name, slots)]
    missing = [name for name in slots if name not in tensors]
    unexpected = [name for name in tensors if name not in slots and name not in left_out]
    both = [(name, tensors[name], slot) for name, slot in slots.items() if name in tensors]
    shapes = [
        f"{name} is {tensor.shape}, not {slot.shape}"
        for name, tensor, slot in both
        if _squeezed(tensor.shape, len(slot.shape)) != slot.shape
    ]
    kinds = [f"{name} is {tensor.dtype}" for name, tensor, _ in both if tensor.dtype.kind != "f"]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "no floating point": kinds}
    if any(found.values()):
        parts = [f"{len(names)} {what}: {_listed(names)}" for what, names in found.items() if names]
        raise ValueError(f"{where}: does not fit {form.title}. " + "; ".join(parts))
    values = []
    for name, tensor, slot in both:
        value = slot.convert(tensor.read().reshape(slot.shape).astype("float32"))
        if not np.isfinite(value).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")
        values.append((slot, value))
    return values, left_out


def _squeezed(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Without the ones in front that Caffe's old files and Sonnet's have: a bias of 64 is 1 x 1 x 1 x 64 there."""
    extra = len(shape) - dimensions
    return shape[extra:] if extra > 0 and all(n == 1 for n in shape[:extra]) else shape


def _load_keras(model: keras.Model, path: Path) -> keras.Model:
    # Keras itself takes what it finds and passes over the rest of the file.
    given = sorted(checkpoints.keras_shapes(path).values())
    wanted = sorted(tuple(weight.shape) for weight in model.weights)
    if given != wanted:
        raise ValueError(
            f"{path}: not the weights of {model.name}: {len(given)} tensors for {len(wanted)} weights, "
            f"{sum(map(math.prod, given)):,} values for {sum(map(math.prod, wanted)):,}"
        )
    before = model.get_weights()
    try:
        model.load_weights(path)
    except DAMAGE as error:
        model.set_weights(before)
        raise ValueError(f"{path}: not the weights of {model.name} ({reason_of(error)})") from error
    return model


def _listed(names: list[str]) -> str:
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
