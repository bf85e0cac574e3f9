"""What any Keras model answers to clips, as scores to explain and as probabilities: by its graph, or by calls alone."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.explain.backward import check_engine
from har_tf.models.flatten import SAME, apart, flat, own_graph, with_graph
from har_tf.models.folding import folded, without_activation
from har_tf.models.logits import check_outputs, ends_in_logits, logits_of

_TO_PROBABILITY = {"softmax": tf.nn.softmax, "log_softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
_LEAST = 1e-30  # probability whose logarithm is taken


@dataclass(frozen=True, eq=False)
class Answers:
    """How a model answers.

    Attributes:
        of: function within a graph of clips as the model takes them, (B, ...), to float32 scores and probabilities,
            both (B, classes), of a model with one output those of its absence and its presence.
        dtype: of the clips.
        shape: of one clip.
        score: "logit", "mean of logits" where the answers are means of several softmaxes, or "log-probability" where no
            logits can be found.
        single: whether the model has one output.
        strategy: the devices that the model lies on, see `har_tf.devices.of`.
        compiled: what others compile with `of`, by their own keys.
    """

    of: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    dtype: str
    shape: tuple[int, ...]
    score: str
    single: bool
    strategy: tf.distribute.Strategy | None
    compiled: dict


# model -> shape and type of its clips -> (its output tensor, its answers)
_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def answers_of(model: keras.Model, clips: np.ndarray) -> Answers:
    """How a model answers clips of this size, found out once.

    Its logits are those in front of the activation that its graph ends with. Where a subclassed model has no graph that
    gives its answers, it is called as it is: answers from 0 to 1 are probabilities, whose logarithm is the score;
    others are logits of a softmax.

    Args:
        model: of one input and one output (B, classes).
        clips: as the model takes them, at least one.

    Raises:
        ValueError: a model of several inputs or outputs, what its end makes of the logits is not understood, or Keras
            computes with another engine.
    """
    several = [x.name for x in getattr(model, "inputs", None) or ()]
    if len(several) > 1:
        raise ValueError(
            f"model {model.name!r} takes clips for {', '.join(several)}. Only those of a model of one input can be "
            "perturbed"
        )
    check_outputs(model)
    check_engine()
    clips = np.asarray(clips)
    if clips.ndim not in (4, 5) or not len(clips):
        raise ValueError(f"clips are (B, T, H, W, C), images (B, H, W, C). Received: clips of shape {clips.shape}")
    end = model.outputs[0] if getattr(model, "outputs", None) else None
    known = _known.setdefault(model, {})
    form = clips.shape[1:], clips.dtype.name
    if form not in known or known[form][0] is not end:  # a sequential model may have grown
        known[form] = end, _found(model, clips[:1])
    return known[form][1]


def _found(model: keras.Model, clip: np.ndarray) -> Answers:
    try:
        graph = with_graph(model, clip)
        given = keras.tree.pack_sequence_as((own_graph(graph) or flat(graph)).input, [clip])
        follows = flat(graph) is graph or apart(graph, flat(graph), given) <= SAME
    except (ValueError, tf.errors.InvalidArgumentError):  # it has none, or one of other sizes
        follows = False
    return _by_graph(graph, clip) if follows else _by_calls(model, clip)


def _by_graph(model: keras.Model, clip: np.ndarray) -> Answers:
    last, graph = logits_of(model), flat(model)
    to_logits = without_activation(last.tensors, graph.outputs[0], last.layers)
    single = graph.outputs[0].shape[1] == 1
    to_probability = _TO_PROBABILITY.get(last.activation, tf.sigmoid if single or last.labels else tf.nn.softmax)
    probe = folded(graph.inputs, [*last.tensors, graph.outputs[0]])

    def both(clips):
        *features, own = probe(clips)
        own, logits = tf.cast(own, tf.float32), tf.cast(to_logits(features), tf.float32)
        own = _pair(1 - own, own) if single else tf.exp(own) if last.activation == "log_softmax" else own
        logits = _pair(-logits, logits) if single else logits
        return logits, own, own if last.averaged else to_probability(logits)

    def by_logits(clips):
        logits, own, every = both(clips)
        return logits, every if last.linear else own

    def by_probability(clips):
        _, own, _ = both(clips)
        return tf.math.log(tf.maximum(own, _LEAST)), own

    dtype = graph.inputs[0].dtype
    _, own, every = (each.numpy() for each in tf.function(both, autograph=False)(tf.constant(clip.astype(dtype))))
    has_logits = ends_in_logits(model, last, own[:, 1:] if single else own)
    has_logits = has_logits or (last.activation is not None and np.abs(own - every).max() <= SAME)
    score = ("mean of logits" if last.averaged else "logit") if has_logits else "log-probability"
    return Answers(
        by_logits if has_logits else by_probability, dtype, clip.shape[1:], score, single, devices.of(model), {}
    )


def _by_calls(model: keras.Model, clip: np.ndarray) -> Answers:
    own = weakref.ref(model)  # a model that its own entry held would never be freed

    def answered(clips):
        return tf.cast(own()(clips, training=False), tf.float32)

    found = tf.function(answered, autograph=False)(tf.constant(clip)).numpy()
    if found.ndim != 2:
        raise ValueError(f"model {model.name!r}: a classifier answers (B, classes). Received: {found.shape}")
    single, probable = found.shape[1] == 1, found.min() >= 0 and found.max() <= 1

    def of(clips):
        given = answered(clips)
        if probable:
            given = _pair(1 - given, given) if single else given
            return tf.math.log(tf.maximum(given, _LEAST)), given
        given = _pair(-given, given) if single else given
        return given, (tf.sigmoid if single else tf.nn.softmax)(given)

    score = "log-probability" if probable else "logit"
    return Answers(of, str(clip.dtype), clip.shape[1:], score, single, devices.of(model), {})


def most_probable(model: keras.Model, clips: np.ndarray, top: int, batch_size: int = 32) -> np.ndarray:
    """int64 (B · top,), the `top` most probable classes of every clip, the first before the second.

    Raises:
        ValueError: as in `answers_of`, or the model does not tell so many classes apart.
    """
    answers = answers_of(model, clips)
    if "whole" not in answers.compiled:
        given = tf.TensorSpec((None, *clips.shape[1:]), answers.dtype)
        answers.compiled["whole"] = devices.shared(answers.of, [given], answers.strategy)
    found = devices.in_batches(answers.compiled["whole"], batch_size, clips.astype(answers.dtype))
    ranked = found[answers.score == "mean of logits"]  # whose order may be another than that of the probabilities
    if isinstance(top, bool) or not 1 <= top <= ranked.shape[1]:
        raise ValueError(f"top is the number of classes to explain, 1 to {ranked.shape[1]} here. Received: {top=}")
    return np.argsort(-ranked, axis=1, kind="stable")[:, :top].ravel()


def _pair(absent: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """(B, 2), the two classes of a model with one output (B, 1)."""
    return tf.concat([absent, present], axis=1)


def classes_to_explain(class_index, probabilities: np.ndarray, single: bool) -> np.ndarray:
    """The class of each clip that is explained.

    Args:
        class_index: None (the most probable class; of a model with one output what it stands for), an int, or ints
            (B,).
        probabilities: (B, classes).
        single: whether the model has one output.

    Returns:
        int64 (B,).

    Raises:
        ValueError: classes that the model does not have, or not one for each clip.
    """
    clips, classes = probabilities.shape
    if class_index is None:
        return np.full(clips, 1, "int64") if single else probabilities.argmax(axis=1)
    index = np.asarray(class_index)
    if index.ndim > 1 or not np.issubdtype(index.dtype, np.integer) or (index.ndim == 1 and len(index) != clips):
        raise ValueError(
            f"class_index is None, an int, or {clips} ints, one a clip. Received: {index.dtype} of shape {index.shape}"
        )
    if index.size and (index.min() < 0 or index.max() >= classes):
        raise ValueError(f"class_index lies from 0 to {classes - 1} in this model. Received: {index.tolist()}")
    return np.broadcast_to(index, clips).astype("int64")
