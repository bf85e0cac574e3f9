"""Any classifier as one of RGB pixels from 0 to 255: scaled, grey, of open sizes, and with the output that is meant.

A model that was trained on pixels from 0 to 1 answers on pixels from 0 to 255 as well, and wrongly. So a model either
shows by its own first layers that it scales pixels, or someone says how they are scaled.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import keras
import numpy as np
from keras import layers, ops

from har_tf.models.flatten import SAME, apart, flat, flatten, own_graph, some_pixels, traced
from har_tf.models.logits import check_outputs, outputs_by_name, with_sigmoids
from har_tf.models.losses import loss_of

# What the model was trained on: the range of its pixels, or what `keras.applications` calls "torch" (from 0 to 1, minus
# the mean of ImageNet, divided by its deviation) and "caffe" (BGR from 0 to 255, minus the mean).
Scaling = Literal["0..255", "0..1", "-1..1", "torch", "caffe"]

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_GREY = [0.299, 0.587, 0.114]  # ITU-R BT.601, as in OpenCV and TensorFlow
_BGR_MEAN = [103.939, 116.779, 123.68]
_SPREAD = 20  # what scaled pixels span at most; those that are not scaled span 255
_NORMALIZING = (layers.Normalization, layers.BatchNormalization, layers.Rescaling)


def of_pixels(
    model: keras.Model,
    scaling: Scaling | None = None,
    output: str | None = None,
    num_frames: int | None = None,
    size: Sequence[int] | None = None,
) -> keras.Model:
    """A classifier of RGB pixels, uint8 from 0 to 255, on the weights of another model.

    Args:
        model: of clips (B, T, H, W, C) or images (B, H, W, C) with 3 channels, or 1 for grey ones.
        scaling: how its pixels are scaled; None: the model takes them from 0 to 255, and scales them itself.
        output: name of the output that is meant, of a model of several.
        num_frames: of a model that takes any number, how many it is given.
        size: of a model that takes any, (height, width).

    Returns:
        The model itself where nothing is to be changed.

    Raises:
        ValueError: an unknown scaling or output, a size that the model does not take, or one of pixels from 0 to 255
            that are to be scaled.
    """
    if getattr(model, "inputs", None) and own_graph(model) is None:
        model = traced(model)
    model = _of_size(model, num_frames, size)
    structured = isinstance(getattr(model, "_outputs_struct", None), dict | list | tuple)
    if output is not None or structured:
        model = _of_output(model, output)
    model = with_sigmoids(model)
    check_outputs(model)
    flat(model)  # before anything is compiled: it mends what TensorFlow computes otherwise than the layers say
    clip = model.inputs[0]
    channels = clip.shape[-1]
    if scaling is not None and scaling not in get_args(Scaling):
        raise ValueError(f"scaling is one of {', '.join(get_args(Scaling))}. Received: {scaling!r}")
    if clip.dtype.startswith(("uint", "int")) and scaling not in (None, "0..255"):
        raise ValueError(
            f"model {model.name!r} takes {clip.dtype} pixels and scales them itself. Received: scaling={scaling!r}"
        )
    if scaling not in (None, "0..255") and len(model.inputs) == 1 and scales_pixels(model):
        raise ValueError(
            f"model {model.name!r} shows by its first layers that it scales pixels from 0 to 255 itself. "
            f"Received: scaling={scaling!r}"
        )
    if (
        len(model.inputs) > 1
        or len(clip.shape) not in (4, 5)
        or channels not in (1, 3)
        or (channels == 3 and (scaling is None or clip.dtype == "uint8"))
    ):
        return model
    if channels == 1 and scaling in ("torch", "caffe"):
        raise ValueError(f"{scaling!r} scales three colours; the model takes {channels}. Received: scaling={scaling!r}")
    pixels = keras.Input(batch_shape=(None, *clip.shape[1:-1], 3), dtype="uint8", name="pixels")
    x = ops.cast(pixels, "float32")
    if channels == 1:
        # Not `ops.image.rgb_to_grayscale`, which takes no clips.
        x = ops.sum(layers.Rescaling(_GREY, name="grey")(x), axis=-1, keepdims=True)
    if scaling is None and channels == 1 and not scales_pixels(model):
        raise ValueError(unsaid(model))
    x = _scaled(x, scaling)
    return _on(model, pixels, ops.cast(x, clip.dtype) if x.dtype != clip.dtype else x)


def of_floats(model: keras.Model) -> keras.Model:
    """The same network from float32 pixels from 0 to 255 on, so that a gradient reaches them.

    Args:
        model: functional or sequential, of one input.

    Raises:
        ValueError: the model does something else with floats, as `tf.image.convert_image_dtype`.
    """
    if len(model.inputs) > 1:
        raise ValueError(f"model {model.name!r} has {len(model.inputs)} inputs. Expected one, of pixels")
    clip = model.inputs[0]
    given = keras.Input(batch_shape=clip.shape, dtype="float32", name=clip.name)
    # A layer would cast the floats by itself, but an operation such as that of grey pixels need not.
    of_own = (own_graph(model) or flat(model)).input  # one input may stand in a list, which Keras wants again
    made = _on(model, keras.tree.pack_sequence_as(of_own, [given]), given)
    some = keras.tree.pack_sequence_as(of_own, [some_pixels(model)])
    if clip.dtype != "float32" and apart(model, made, some) > SAME:
        raise ValueError(
            f"model {model.name!r} answers otherwise where its pixels are float32 in place of {clip.dtype}, as "
            "tf.image.convert_image_dtype scales the one and not the other: scale by a Rescaling layer"
        )
    return made


def scales_pixels(model: keras.Model) -> bool:
    """Whether a model shows that it takes pixels from 0 to 255.

    It does where these are whole numbers, or where what stands before its first layer with weights makes small numbers
    of them in proportion, as a `Rescaling` or a trained `Normalization`, or subtracts a mean.
    """
    clip = model.inputs[0]
    if "float" not in clip.dtype:
        return True
    graph = flat(model)
    clip = graph.inputs[0]
    before = _before_weights(graph)
    if before is None or before is clip:
        return False
    probe = keras.Function(clip, before)
    shape = [size or 32 for size in clip.shape[1:]]
    dark, third, half, light = (
        np.asarray(ops.convert_to_numpy(probe(ops.full((1, *shape), level, clip.dtype))), "float64")
        for level in (0, 85, 127.5, 255)
    )
    spread = np.abs(light - dark).max(initial=0)
    bent = max(np.abs(third - (2 * dark + light) / 3).max(initial=0), np.abs(half - (dark + light) / 2).max(initial=0))
    if bent > 0.02 * spread:  # a function that keeps numbers small, as tanh or a limit, is no scaling
        return False
    return bool(0 < spread <= _SPREAD or dark.min(initial=0) < -_SPREAD)


def unsaid(model: keras.Model) -> str:
    """What is missing where nobody says how pixels are scaled."""
    return (
        f"model {model.name!r} takes {model.inputs[0].dtype} and does not show how it wants pixels scaled. Say it as "
        f"scaling, one of {', '.join(get_args(Scaling))}: --scaling of predict and explain, or "
        "Classifier(model, names, clip={'scaling': ...}), whose save() keeps it"
    )


def _before_weights(graph: keras.Model) -> keras.KerasTensor | None:
    """What the first layer with weights reads that does more than normalise; None where there is none."""
    function = keras.Function(graph.inputs, graph.outputs)
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            layer = node.operation
            if not node.is_input and getattr(layer, "weights", None) and not isinstance(layer, _NORMALIZING):
                return node.input_tensors[0]
    return None


def _scaled(x: keras.KerasTensor, scaling: Scaling | None) -> keras.KerasTensor:
    if scaling == "0..1":
        return layers.Rescaling(1 / 255, name="pixels_scaled")(x)
    if scaling == "-1..1":
        return layers.Rescaling(1 / 127.5, -1.0, name="pixels_scaled")(x)
    if scaling == "torch":
        scale, offset = (1 / 255 / _DEVIATION).tolist(), (-_MEAN / _DEVIATION).tolist()
        return layers.Rescaling(scale, offset, name="pixels_scaled")(x)
    if scaling == "caffe":
        return layers.Rescaling(1.0, [-mean for mean in _BGR_MEAN], name="pixels_scaled")(ops.flip(x, axis=-1))
    return x


def _on(model: keras.Model, given: keras.KerasTensor, x: keras.KerasTensor) -> keras.Model:
    """The model with its layers, called on something else than its input."""
    graph = own_graph(model) or flat(model)
    outputs = graph._run_through_graph([x], lambda operation: operation)
    made = keras.Model(given, outputs, name=model.name)
    made.loss = model.loss
    return made


def _of_output(model: keras.Model, name: str | None) -> keras.Model:
    """The model with the output of this name alone; None: with its only one, where it has one."""
    outputs = outputs_by_name(model)
    if name is None and len(outputs) > 1:
        return model
    name = next(iter(outputs)) if name is None else name
    if name not in outputs:
        raise ValueError(f"model {model.name!r} has the outputs {', '.join(outputs)}. Received: output={name!r}")
    made = keras.Model(model.inputs, outputs[name], name=model.name)
    made.loss = loss_of(model, name, next(i for i, x in enumerate(model.outputs) if x is outputs[name]))
    return made


def _of_size(model: keras.Model, num_frames: int | None, size: Sequence[int] | None) -> keras.Model:
    """The model on clips of these sizes, where it leaves them open; a model of none is traced on them."""
    given = (num_frames, *(size or (None, None)), 3)
    if not getattr(model, "inputs", None):
        shape = given if num_frames else given[1:]
        if None in shape:
            raise ValueError(
                f"{type(model).__name__} {model.name!r} has no graph of its own, so the size of its clips is needed: "
                "num_frames and size"
            )
        return traced(model, [(None, *shape)])
    if len(model.inputs) > 1 or len(model.inputs[0].shape) not in (4, 5):
        return model
    own = tuple(model.inputs[0].shape[1:-1])
    wanted = given[:3] if len(own) == 3 else given[1:3]
    shape = tuple(want if have is None else have for have, want in zip(own, wanted, strict=True))
    if any(want not in (None, have) for have, want in zip(shape, wanted, strict=True)) or (num_frames and len(own) < 3):
        takes = " x ".join(map(str, own))
        raise ValueError(f"model {model.name!r} takes {takes}. Received: {num_frames=}, {size=}")
    if shape == own:
        return model
    return flatten(model, [(None, *shape, model.inputs[0].shape[-1])])
