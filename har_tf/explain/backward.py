"""One forward and one backward pass: the evidence at any number of taps, for each clip's own class.

And the forward pass alone, which ends at the last of the taps.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf.models.folding import folded, variant
from har_tf.models.logits import logits_of
from har_tf.models.taps import Tap, symbolic

# The gradient of a softmax is exactly 0 in float32 at a logit gap of 40, so explanations are of the logits.
_TO_PROBABILITY = {None: tf.nn.softmax, "softmax": tf.nn.softmax, "log_softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
_PREDICTED = -1  # and -2 for the second, ...

# model -> (its output tensor, {(tap names, rule): compiled function}). A function holds the model's layers
# but not the model, so both go when the user drops the model. The output tensor tells a sequential model that
# has grown since.
_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

Rule = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
FeatureRule = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the passes found: `signed` (B, ...), what the rule made at each tap; class, logit and probability (B,)."""

    signed: list[np.ndarray]
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray


def evidence(
    model: keras.Model,
    clips,
    taps: Sequence[Tap],
    rule: Rule,
    class_index=None,
    batch_size: int = 32,
    top: int | None = None,
) -> Evidence:
    """Runs the model forward and backward once a batch and joins maps and gradients at every tap.

    The function is compiled once for a model, its taps and the rule, whatever the number of clips, and reads
    the model's present weights. Dropout and BatchNorm work as in prediction.

    Args:
        model: as in `har_tf.models.taps`; its output is (B, classes).
        clips: (B, T, H, W, C) or (B, H, W, C), as the model takes them.
        taps: taps of this model.
        rule: function of float32 feature maps and gradients, both (B, t, h, w, c), to evidence (B, ...), such as maps
            (B, ..., t, h, w); always the same function object, as it is a key of the cache.
        class_index: None (the predicted class), an int, or ints (B,).
        batch_size: clips that are in memory at once.
        top: in place of `class_index`: so many of the most probable classes of every clip, each a row of its own.

    Returns:
        The evidence at each tap, in the order of `taps`.

    Raises:
        ValueError: clips or classes that do not fit the model, a gradient that is not finite, or `batch_size` below 1.
    """
    check_batch_size(batch_size)
    run = _function(model, taps, rule, _build)
    clips = checked_clips(model, clips)
    number = model.outputs[0].shape[-1]
    if top is None:
        classes = _checked_classes(class_index, len(clips), number)
    else:
        if class_index is not None or isinstance(top, bool) or not 1 <= top <= number:
            raise ValueError(
                f"top is the number of classes to explain, 1 to {number} here, in place of class_index. "
                f"Received: {top=}, {class_index=}"
            )
        classes = np.tile(_PREDICTED - np.arange(top), len(clips))
        clips = np.repeat(clips, top, axis=0)
    signed, classes, score, probability = _in_batches(run, batch_size, clips, classes)
    _check_finite(model, taps, signed, "gradient")
    return Evidence(signed, classes, score, probability)


def features(
    model: keras.Model, clips, taps: Sequence[Tap], rule: FeatureRule, batch_size: int = 32
) -> list[np.ndarray]:
    """Runs the model forward as far as the taps, and gives what a rule makes of the feature maps there.

    Args:
        rule: function of float32 feature maps (B, t, h, w, c) to (B, ...); always the same function object, and not one
            that `evidence` is given.
        model, clips, taps, batch_size: as in `evidence`.

    Returns:
        An array (B, ...) for each tap, in the order of `taps`.

    Raises:
        ValueError: clips that do not fit the model, a feature that is not finite, or `batch_size` below 1.
    """
    check_batch_size(batch_size)
    run = _function(model, taps, rule, _build_forward)
    clips = checked_clips(model, clips)
    found = _in_batches(run, batch_size, clips)
    _check_finite(model, taps, found, "feature")
    return found


def _in_batches(run, batch_size: int, *arrays: np.ndarray):
    """What a function gives for arrays (B, ...), a few of their rows at a time, joined again."""
    parts = []
    for i in range(0, len(arrays[0]), batch_size):
        made = run(*(tf.constant(array[i : i + batch_size]) for array in arrays))
        parts.append(tf.nest.map_structure(lambda x: x.numpy(), made))
    return tf.nest.map_structure(lambda *each: np.concatenate(each), *parts)


def check_batch_size(batch_size):
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1. Received: {batch_size=}")


def _check_finite(model, taps, found, what):
    for tap, each in zip(taps, found, strict=True):
        bad = np.flatnonzero(~np.isfinite(each).all(axis=tuple(range(1, each.ndim))))
        if len(bad):
            raise ValueError(f"model {model.name!r} has no finite {what} at tap {tap.name!r} for clips {bad.tolist()}")


def _function(model: keras.Model, taps: Sequence[Tap], rule, build):
    output, functions = _compiled.get(model, (None, {}))
    if output is not model.outputs[0]:
        functions = {}
        _compiled[model] = (model.outputs[0], functions)
    names = tuple(tap.name for tap in taps)
    if (names, rule) not in functions:
        functions[names, rule] = build(model, names, rule)
    return functions[names, rule]


def _build_forward(model: keras.Model, names: tuple[str, ...], rule: FeatureRule):
    chosen, tensors = _chosen(model, names)
    clip = model.inputs[0]
    probe = folded(clip, tensors)

    @tf.function(input_signature=[tf.TensorSpec(clip.shape, clip.dtype)])
    def run(clips):
        return [rule(_grid(tap, x)) for tap, x in zip(chosen, probe(clips), strict=True)]

    return run


def _build(model: keras.Model, names: tuple[str, ...], rule: Rule):
    chosen, tensors = _chosen(model, names)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(x.shape) for x in model.outputs]
        raise ValueError(f"explanations need a model with one output (B, classes). Received: outputs {shapes}")
    last = logits_of(model)
    layer = tf.identity if last.dense is None else _without_activation(last.dense)
    to_probability = _TO_PROBABILITY[last.activation]
    clip = model.inputs[0]
    probe = folded(clip, [*tensors, last.tensor])

    @tf.function(input_signature=[tf.TensorSpec(clip.shape, clip.dtype), tf.TensorSpec(clip.shape[:1], tf.int64)])
    def run(clips, classes):
        *maps, features = probe(clips)
        logits = tf.cast(layer(features), tf.float32)
        ranked = tf.argsort(logits, axis=-1, direction="DESCENDING", stable=True)
        rank = tf.maximum(_PREDICTED - classes, 0)
        classes = tf.where(classes < 0, tf.cast(tf.gather(ranked, rank, batch_dims=1), tf.int64), classes)
        score = tf.gather(logits, classes, batch_dims=1)
        probability = tf.gather(to_probability(logits), classes, batch_dims=1)
        # In float16 the gradient of a pooled logit is too small a number; it is exact to enlarge it by a
        # power of two.
        scale = 256.0 if any(m.dtype == tf.float16 for m in maps) else 1.0
        # tf.gradients differentiates to tensors inside the graph and prunes all other paths; a tape would
        # have to start at the clip, which is uint8.
        gradients = tf.gradients(scale * score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        signed = []
        for tap, feature, gradient in zip(chosen, maps, gradients, strict=True):
            signed.append(rule(_grid(tap, feature), _grid(tap, gradient) / scale))
        return signed, classes, score, probability

    return run


def _chosen(model: keras.Model, names: tuple[str, ...]) -> tuple[list[Tap], list[keras.KerasTensor]]:
    """The taps of these names, and the tensors that hold them."""
    by_name = {tap.name: (tap, tensor) for tap, tensor in symbolic(model)}
    taps, tensors = zip(*(by_name[name] for name in names), strict=True)
    return list(taps), list(tensors)


def _grid(tap: Tap, feature) -> tf.Tensor:
    """float32 (B, t, h, w, c), where sizes that the model leaves open are read off the tensor."""
    t, h, w, c = tap.shape
    if None in (t, h, w):  # such a map is (B, t, h, w, c), or (B·T, h, w, c) with T known
        actual = tf.shape(feature)
        t = actual[1] if t is None else t
        h = actual[-3] if h is None else h
        w = actual[-2] if w is None else w
    return tf.reshape(tf.cast(feature, tf.float32), tf.stack([-1, t, h, w, c]))


def _without_activation(layer: keras.Layer):
    """The layer as a function without its activation, on the layer's own weights."""

    def call(x):
        return variant(layer, tf.cast(x, layer.variable_dtype), activation=keras.activations.linear)

    return call


def checked_clips(model: keras.Model, clips) -> np.ndarray:
    """Clips as the model takes them, or a ValueError that says what it takes."""
    clips = np.asarray(clips)
    clip = model.inputs[0]
    fits = clips.ndim == len(clip.shape) and all(
        want in (None, have) for want, have in zip(clip.shape, clips.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"model {model.name!r} takes clips of shape {tuple(clip.shape)}. Received: clips of shape {clips.shape}"
        )
    if not len(clips):
        raise ValueError(f"there is no clip to explain. Received: clips of shape {clips.shape}")
    if clip.dtype == "uint8" and clips.dtype != np.uint8:
        low, high = clips.min(), clips.max()
        if not (low >= 0 and high <= 255) or (0 < high <= 1):
            raise ValueError(
                f"model {model.name!r} takes pixels from 0 to 255 and scales them itself. "
                f"Received: {clips.dtype} clips from {low} to {high}"
            )
        clips = np.rint(clips)
    return clips.astype(clip.dtype, copy=False)


def _checked_classes(class_index, clips: int, classes: int) -> np.ndarray:
    if class_index is None:
        return np.full(clips, _PREDICTED, "int64")
    index = np.asarray(class_index)
    if index.ndim > 1 or not np.issubdtype(index.dtype, np.integer) or (index.ndim == 1 and len(index) != clips):
        raise ValueError(
            f"class_index is None, an int, or {clips} ints, one a clip. Received: {index.dtype} of shape {index.shape}"
        )
    if index.size and (index.min() < 0 or index.max() >= classes):
        raise ValueError(f"class_index lies from 0 to {classes - 1} in this model. Received: {index.tolist()}")
    return np.broadcast_to(index, clips).astype("int64")
