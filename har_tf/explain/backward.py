"""One forward and one backward pass: the evidence at any number of taps, for each clip's own class.

And the forward pass alone, which ends at the last of the taps.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.explain.ties import one_of_ties
from har_tf.models.flatten import SAME, apart, flat, own_graph
from har_tf.models.folding import folded, without_activation
from har_tf.models.logits import Logits, check_outputs, classes_of, ends_in_logits, logits_of
from har_tf.models.taps import Tap, symbolic

# The gradient of a softmax is exactly 0 in float32 at a logit gap of 40, so explanations are of the logits.
_TO_PROBABILITY = {"softmax": tf.nn.softmax, "log_softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
_LEAST = 1e-30  # probability whose logarithm is taken
_PREDICTED = -1  # and -2 for the second, ...

# model -> (its output tensor, {(tap names, rule): compiled function}). A function holds the model's layers
# but not the model, so both go when the user drops the model. The output tensor tells a sequential model that
# has grown since.
_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# model -> (its output tensor, whether the logarithm of its probabilities is explained for want of logits)
_by_probability: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

Rule = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
FeatureRule = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the passes found: `signed` (B, ...), what the rule made at each tap; class, logit and probability (B,).

    Not every model has a logit: where its answers are means of several softmaxes, as over frames, `score` is the mean
    of their logits; where no logits can be found, the logarithm of the probability, whose gradient vanishes later than
    that of the probability. `score_of` says which.
    """

    signed: list[np.ndarray]
    class_index: np.ndarray
    score: np.ndarray
    probability: np.ndarray
    score_of: str = "logit"


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
        clips: (B, T, H, W, C) or (B, H, W, C), as the model takes them; of a model of several inputs a list of arrays
            in their order, or a dict by their names.
        taps: taps of this model, or `pixels` of one that takes floats.
        rule: function of float32 feature maps and gradients, both (B, t, h, w, c), to evidence (B, ...), such as maps
            (B, ..., t, h, w); always the same function object, as it is a key of the cache.
        class_index: None (the predicted class), an int, or ints (B,). Of a model with one output 1 is what it stands
            for, which None means as well, and 0 that it is not there.
        batch_size: clips that are in memory at once.
        top: in place of `class_index`: so many of the most probable classes of every clip, each a row of its own.

    Returns:
        The evidence at each tap, in the order of `taps`.

    Raises:
        ValueError: clips or classes that do not fit the model, a gradient that is not finite, or `batch_size` below 1.
    """
    check_batch_size(batch_size)
    check_outputs(model)
    clips = list(checked_clips(model, clips).values())
    number, count = classes_of(model), len(clips[0])
    if top is None and class_index is None:
        classes = np.full(count, 1 if model.outputs[0].shape[-1] == 1 else _PREDICTED, "int64")
    elif top is None:
        classes = checked_classes(class_index, count, number)
    else:
        if class_index is not None or isinstance(top, bool) or not 1 <= top <= number:
            raise ValueError(
                f"top is the number of classes to explain, 1 to {number} here, in place of class_index. "
                f"Received: {top=}, {class_index=}"
            )
        classes = np.tile(_PREDICTED - np.arange(top), count)
        clips = [np.repeat(each, top, axis=0) for each in clips]
    last = logits_of(model)
    output, by_probability = _by_probability.get(model, (None, False))
    by_probability = by_probability and output is model.outputs[0]
    if output is not model.outputs[0]:
        _check_flat(model, clips)
    run = _function(model, taps, rule, _build_by_probability if by_probability else _build)
    found = devices.in_batches(run, batch_size, *clips, classes)
    has_logits = _has_logits(model, last, *found[4:])
    if not by_probability and not has_logits:  # without logits the predicted classes may be others
        by_probability = True
        found = devices.in_batches(_function(model, taps, rule, _build_by_probability), batch_size, *clips, classes)
    _by_probability[model] = (model.outputs[0], by_probability)
    signed, classes, score, probability, *_ = found
    _check_finite(model, taps, signed, "gradient")
    score_of = "log-probability" if by_probability else "mean of logits" if last.averaged else "logit"
    return Evidence(signed, classes, score, probability, score_of)


def _check_flat(model: keras.Model, clips: Sequence[np.ndarray]) -> None:
    """Raises ValueError where the flat graph of a model gives other answers than the model itself."""
    if flat(model) is model:
        return
    first = keras.tree.pack_sequence_as((own_graph(model) or flat(model)).input, [each[:1] for each in clips])
    if apart(model, flat(model), first) > SAME:
        raise ValueError(
            f"model {model.name!r} gives other answers than its layers, one after the other: one of them hands on a "
            "mask, or gives another size than it says"
        )


def _has_logits(model: keras.Model, last: Logits, own: np.ndarray, away: np.ndarray) -> bool:
    """Whether what was taken for the logits of a model gives its own answers.

    Args:
        model: the model.
        last: what was found at its end.
        own: (B, C), its answers.
        away: (B,), how far the probabilities are from them, where the graph ends with a known activation.

    Raises:
        ValueError: they are not, and the answers are no probabilities either.
    """
    return ends_in_logits(model, last, own) or (last.activation is not None and bool(away.max() <= SAME))


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
    found = devices.in_batches(run, batch_size, *checked_clips(model, clips).values())
    _check_finite(model, taps, found, "feature")
    return found


def check_batch_size(batch_size):
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1. Received: {batch_size=}")


def _check_finite(model, taps, found, what):
    for tap, each in zip(taps, found, strict=True):
        bad = np.flatnonzero(~np.isfinite(each).all(axis=tuple(range(1, each.ndim))))
        if len(bad):
            raise ValueError(f"model {model.name!r} has no finite {what} at tap {tap.name!r} for clips {bad.tolist()}")


def check_engine():
    if (engine := keras.backend.backend()) != "tensorflow":
        raise ValueError(
            "Explanations are made by TensorFlow: without KERAS_BACKEND, from the saved model. "
            f"Received: KERAS_BACKEND={engine}"
        )


def _function(model: keras.Model, taps: Sequence[Tap], rule, build):
    check_engine()
    output, functions = _compiled.get(model, (None, {}))
    if output is not model.outputs[0]:
        functions = {}
        _compiled[model] = (model.outputs[0], functions)
    names = tuple(tap.name for tap in taps)
    # Traced here, once for each key and in eager mode too. Left to the calls, TensorFlow would take the functions of
    # several taps for one that is traced again and again, and warn.
    if (names, rule, build) not in functions:
        functions[names, rule, build] = build(model, names, rule)
    return functions[names, rule, build]


def _build_forward(model: keras.Model, names: tuple[str, ...], rule: FeatureRule):
    chosen, tensors = _chosen(model, names)
    inputs = flat(model).inputs
    probe = folded(inputs, tensors)

    def run(*clips):
        return [rule(_grid(tap, x, tf.shape(clips[0])[0])) for tap, x in zip(chosen, probe(*clips), strict=True)]

    return devices.shared(run, [tf.TensorSpec(x.shape, x.dtype) for x in inputs], devices.of(model))


def _build(model: keras.Model, names: tuple[str, ...], rule: Rule, by_probability: bool = False):
    chosen, tensors = _chosen(model, names)
    last, model = logits_of(model), flat(model)
    scored = scorer(model, last)
    probe = folded(model.inputs, [*tensors, *last.tensors, model.outputs[0]])
    clips = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]

    def run(*clips_and_classes):
        *clips, classes = clips_and_classes
        count = tf.shape(classes)[0]
        with one_of_ties():
            *maps, own = probe(*clips)
        maps, features = maps[: len(chosen)], maps[len(chosen) :]
        logits, every, own = scored(features, own, by_probability)
        away = tf.reduce_max(tf.abs(every - own), axis=1)
        every = every if last.linear else own
        ranked = tf.argsort(every if last.averaged else logits, axis=-1, direction="DESCENDING", stable=True)
        rank = tf.maximum(_PREDICTED - classes, 0)
        classes = tf.where(classes < 0, tf.cast(tf.gather(ranked, rank, batch_dims=1), tf.int64), classes)
        score = tf.gather(logits, classes, batch_dims=1)
        probability = tf.gather(every, classes, batch_dims=1)
        # In float16 the gradient of a pooled logit is too small a number; it is exact to enlarge it by a
        # power of two.
        scale = 256.0 if any(m.dtype == tf.float16 for m in (*maps, *features)) else 1.0
        # tf.gradients differentiates to tensors inside the graph and prunes all other paths; a tape would
        # have to start at the clip, which is uint8.
        gradients = tf.gradients(scale * score, maps)
        for tap, gradient in zip(chosen, gradients, strict=True):
            if gradient is None:
                raise ValueError(
                    f"model {model.name!r}: no gradient reaches tap {tap.name!r}; behind it stands what stops it, as "
                    "stop_gradient, argmax or a cast to whole numbers. Choose a tap behind that"
                )
        signed = []
        for tap, feature, gradient in zip(chosen, maps, gradients, strict=True):
            signed.append(rule(_grid(tap, feature, count), _grid(tap, gradient, count) / scale))
        return signed, classes, score, probability, own, away

    return devices.shared(run, [*clips, tf.TensorSpec(clips[0].shape[:1], tf.int64)], devices.of(model))


def scorer(graph: keras.Model, last: Logits) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """What turns that which a graph gives into scores and probabilities.

    Args:
        graph: a flat one.
        last: where its logits are.

    Returns:
        Function of what `last.tensors` hold, of the graph's answers, and of whether its logits are of no use, to three
        float32 (B, classes): the logits, in place of which the logarithms of the answers may stand; the probabilities
        that they give; and the graph's own answers as probabilities, unless it gives logits.
    """
    to_logits = without_activation(last.tensors, graph.outputs[0], last.layers)
    single = graph.outputs[0].shape[1] == 1
    to_probability = _TO_PROBABILITY.get(last.activation, tf.sigmoid if single or last.labels else tf.nn.softmax)

    def scored(features, own, by_probability=False):
        own = tf.cast(own, tf.float32)
        own = pair(1 - own, own) if single else tf.exp(own) if last.activation == "log_softmax" else own
        if by_probability:
            return log_of(own), own, own
        logits = tf.cast(to_logits(features), tf.float32)
        logits = pair(-logits, logits) if single else logits
        return logits, own if last.averaged else to_probability(logits), own

    return scored


def log_of(probability: tf.Tensor) -> tf.Tensor:
    """Its logarithm, finite also of 0."""
    return tf.math.log(tf.maximum(probability, _LEAST))


def pair(absent: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """(B, 2), the two classes of a model with one output (B, 1)."""
    return tf.concat([absent, present], axis=1)


def _build_by_probability(model: keras.Model, names: tuple[str, ...], rule: Rule):
    return _build(model, names, rule, by_probability=True)


def _chosen(model: keras.Model, names: tuple[str, ...]) -> tuple[list[Tap], list[keras.KerasTensor]]:
    """The taps of these names, and the tensors that hold them."""
    if names == (model.inputs[0].name,):
        return [pixels(model)], flat(model).inputs
    by_name = {tap.name: (tap, tensor) for tap, tensor in symbolic(model)}
    taps, tensors = zip(*(by_name[name] for name in names), strict=True)
    return list(taps), list(tensors)


def pixels(model: keras.Model) -> Tap:
    """What a model of one input is given, as a feature map: (B, T, H, W, C), of images (B, 1, H, W, C)."""
    (x,) = model.inputs
    return Tap(x.name, tuple(x.shape[1:]) if len(x.shape) == 5 else (1, *x.shape[1:]), "InputLayer")


def _grid(tap: Tap, feature, count) -> tf.Tensor:
    """float32 (B, t, h, w, c), upright, of so many clips, where sizes that the model leaves open are read off."""
    t, h, w, c = tap.shape
    feature = tf.cast(feature, tf.float32)
    if tap.axes:
        sizes = {"b": -1, "t": t, "h": h, "w": w, "c": c}
        order = [axis.removeprefix("-") for axis in tap.axes]
        if None not in sizes.values():  # else the map lies in axes of its own
            feature = tf.reshape(feature, [sizes[axis] for axis in order])
        feature = tf.reverse(feature, [i for i, axis in enumerate(tap.axes) if axis.startswith("-")])
        feature = tf.transpose(feature, [order.index(axis) for axis in sizes if axis in order])
    elif None in (t, h, w):  # such a map is (B, t, h, w, c), or (B·T, h, w, c)
        h, w = (size if size is not None else tf.shape(feature)[axis] for size, axis in ((h, -3), (w, -2)))
        t = -1 if t is None else t
    return tf.reshape(feature, tf.stack([count, t, h, w, c]))


def checked_clips(model: keras.Model, clips) -> dict[str, np.ndarray]:
    """Clips as the model takes them, by the names of its inputs.

    Args:
        model: of one input or several.
        clips: an array; for several inputs a list of arrays in their order, or a dict by their names.

    Raises:
        ValueError: they are others than the model takes; the message says what it takes.
    """
    names = [x.name for x in model.inputs]
    own = getattr(model, "_inputs_struct", None)
    if isinstance(own, Mapping) and isinstance(clips, Mapping) and clips.keys() == own.keys():
        clips = {x.name: clips[key] for key, x in own.items()}  # its own keys may be others than its inputs' names
    given = clips
    if len(names) == 1 and not isinstance(clips, Mapping):
        given = {names[0]: clips}
    elif isinstance(clips, list | tuple) and len(clips) == len(names):
        given = dict(zip(names, clips, strict=True))
    if not isinstance(given, Mapping) or set(given) != set(names):
        received = ", ".join(given) if isinstance(given, Mapping) else f"{type(given).__name__} of {len(given)}"
        raise ValueError(
            f"model {model.name!r} takes clips as a list of arrays for {', '.join(names)}, or a dict by these names. "
            f"Received: {received}"
        )
    checked = {x.name: _checked_input(model, x, np.asarray(given[x.name])) for x in model.inputs}
    counts = {len(each) for each in checked.values()}
    if len(counts) > 1:
        raise ValueError(f"every input is given as many clips. Received: {', '.join(map(str, sorted(counts)))}")
    return checked


def _checked_input(model: keras.Model, clip: keras.KerasTensor, clips: np.ndarray) -> np.ndarray:
    fits = clips.ndim == len(clip.shape) and all(
        want in (None, have) for want, have in zip(clip.shape, clips.shape, strict=True)
    )
    if not fits:
        of_several = f" as {clip.name!r}" if len(model.inputs) > 1 else ""
        raise ValueError(
            f"model {model.name!r} takes clips of shape {tuple(clip.shape)}{of_several}. "
            f"Received: clips of shape {clips.shape}"
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


def checked_classes(class_index, clips: int, classes: int) -> np.ndarray:
    """int64 (B,), the classes that are asked for.

    Args:
        class_index: an int, or ints (B,).
        clips: B.
        classes: of the model.

    Raises:
        ValueError: classes that the model does not have, or not one for each clip.
    """
    index = np.asarray(class_index)
    if index.ndim > 1 or not np.issubdtype(index.dtype, np.integer) or (index.ndim == 1 and len(index) != clips):
        raise ValueError(
            f"class_index is None, an int, or {clips} ints, one a clip. Received: {index.dtype} of shape {index.shape}"
        )
    if index.size and (index.min() < 0 or index.max() >= classes):
        raise ValueError(f"class_index lies from 0 to {classes - 1} in this model. Received: {index.tolist()}")
    return np.broadcast_to(index, clips).astype("int64")
