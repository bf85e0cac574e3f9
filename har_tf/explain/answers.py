"""What any Keras model answers to clips, as scores to explain and as probabilities: by its graph, or by calls alone."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from har_tf import devices
from har_tf.explain.backward import check_engine, checked_classes, log_of, pair, scorer
from har_tf.models.flatten import SAME, NoGraph, apart, flat, own_graph, with_graph
from har_tf.models.folding import folded
from har_tf.models.logits import check_outputs, ends_in_logits, logits_of

_OFF = 1e-2  # so far from 1 may probabilities sum to, as in half precision
_LOOKED_AT = 32  # clips whose answers have to be probabilities before they are taken for such


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


# model -> shape and type of its clips -> (its output tensor, its answers, clips that were looked at)
_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def answers_of(model: keras.Model, clips: np.ndarray) -> Answers:
    """How a model answers clips of this size.

    Its logits are those in front of the activation that its graph ends with. Where a subclassed model has no graph that
    gives its answers, it is called as it is: answers from 0 to 1, several of which sum to 1, are probabilities, whose
    logarithm is the score; others are logits of a softmax. As logits may be small numbers too, this is asked of every
    clip that is given, here and in later calls, up to 32: one that does not fit makes all of them logits.

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
        graph = _graph(model, clips[:1])
        known[form] = (
            (end, _by_calls(model, clips[:1], probable=True), 0)
            if graph is None
            else (end, _by_graph(graph, clips[:1]), _LOOKED_AT)
        )
    _, answers, looked = known[form]
    if looked < _LOOKED_AT:
        some = clips[: _LOOKED_AT - looked]
        if all(_are_probabilities(answers, clip[None]) for clip in some):
            known[form] = end, answers, looked + len(some)
        else:
            known[form] = end, _by_calls(model, clips[:1], probable=False), _LOOKED_AT
    return known[form][1]


def _graph(model: keras.Model, clip: np.ndarray) -> keras.Model | None:
    """The model, or what is made of it, if its flat graph gives its answers."""
    try:
        graph = with_graph(model, clip)
    except NoGraph:
        return None
    given = keras.tree.pack_sequence_as((own_graph(graph) or flat(graph)).input, [clip])
    return graph if flat(graph) is graph or apart(graph, flat(graph), given) <= SAME else None


def _by_graph(model: keras.Model, clip: np.ndarray) -> Answers:
    last, graph = logits_of(model), flat(model)
    scored, single = scorer(graph, last), graph.outputs[0].shape[1] == 1
    probe = folded(graph.inputs, [*last.tensors, graph.outputs[0]])

    def both(clips, by_probability=False):
        *features, own = probe(clips)
        return scored(features, own, by_probability)

    def by_logits(clips):
        logits, every, own = both(clips)
        return logits, every if last.linear else own

    def by_probability(clips):
        return both(clips, True)[:2]

    dtype = graph.inputs[0].dtype
    _, every, own = (each.numpy() for each in tf.function(both, autograph=False)(tf.constant(clip.astype(dtype))))
    has_logits = ends_in_logits(model, last, own[:, 1:] if single else own)
    has_logits = has_logits or (last.activation is not None and np.abs(own - every).max() <= SAME)
    score = ("mean of logits" if last.averaged else "logit") if has_logits else "log-probability"
    return Answers(
        by_logits if has_logits else by_probability, dtype, clip.shape[1:], score, single, devices.of(model), {}
    )


def _by_calls(model: keras.Model, clip: np.ndarray, probable: bool) -> Answers:
    """Of a model that gives probabilities, or logits."""
    own = weakref.ref(model)  # a model that its own entry held would never be freed

    def answered(clips):
        return tf.cast(own()(clips, training=False), tf.float32)

    found = tf.function(answered, autograph=False)(tf.constant(clip)).numpy()
    if found.ndim != 2:
        raise ValueError(f"model {model.name!r}: a classifier answers (B, classes). Received: {found.shape}")
    single = found.shape[1] == 1

    def of(clips):
        given = answered(clips)
        if probable:
            given = pair(1 - given, given) if single else given
            return log_of(given), given
        given = pair(-given, given) if single else given
        return given, (tf.sigmoid if single else tf.nn.softmax)(given)

    score = "log-probability" if probable else "logit"
    return Answers(of, str(clip.dtype), clip.shape[1:], score, single, devices.of(model), {})


def _are_probabilities(answers: Answers, clip: np.ndarray) -> bool:
    """Whether what is taken for the probabilities of a clip can be such."""
    run = answers.compiled.setdefault(_are_probabilities, tf.function(answers.of, autograph=False))
    found = run(tf.constant(clip))[1].numpy()
    return bool(found.min() >= 0 and found.max() <= 1 and abs(found.sum() - 1) <= _OFF)


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
    return checked_classes(class_index, clips, classes)
