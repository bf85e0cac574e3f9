"""Attention rollout: how much of each token reaches the answer, through the attention of all layers."""

import weakref
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from har_tf import devices
from har_tf.explain.explanation import Explanation
from har_tf.explain.options import check
from har_tf.explain.perturbed import Perturbed
from har_tf.explain.upsampling import enlarge
from har_tf.models.flatten import flat, in_order, with_graph
from har_tf.models.folding import predicting
from har_tf.models.logits import inputs_of
from har_tf.models.taps import taps
from har_tf.models.window_attention import WindowAttention

# model -> (its output tensor, its compiled rollout)
_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def rollout(
    model: keras.Model,
    clips: np.ndarray,
    class_index=None,
    normalize: str | None = "clip",
    batch_size: int = 8,
    grid: Sequence[int] | None = None,
) -> Explanation:
    """Explains the answer to each clip by attention rollout.

    Source: Abnar and Zuidema 2020, equation (1), as for vision transformers. Of every layer of self-attention, the
    attention of each token to each, averaged over the heads, A, becomes (A + I) / 2, for the shortcut around the layer;
    the product of these over the layers, the last one leftmost, says how much of each first token is in each last one.
    A token's evidence is its share in the class token, where there is one in front, else its mean share in all tokens.

    It is the same for every class and never negative, and does not know what the layers do to what they pass on.

    Defined where every layer attends from all tokens to all tokens, and the tokens stay the same, in a single file of
    `keras.layers.MultiHeadAttention`. Not on windows, shifted or not, as in Video Swin: a layer has a matrix for each
    window, not one over all tokens; between stages four patches become one token, so that the matrices of two stages
    cannot be multiplied; and half of the layers move their windows. Neither where attention is divided into space and
    time.

    Cost: two forward passes.

    Args:
        model, clips, normalize, batch_size: as in `har_tf.explain.gradcam`; the model has one input.
        class_index: as there; which class is named beside the map, which is the same.
        grid: (time, height, width) of the tokens, which lie row by row; None: as of a feature map of the model that has
            as many places as there are tokens, without the class token.

    Returns:
        An `Explanation`; `signed` is (B, T, H, W), the shares enlarged to the clip.

    Raises:
        ValueError: as in `gradcam`; no attention, or one of which rollout is not defined; a grid of another size.

    Example:
        >>> explanation = rollout(vision_transformer, clips, grid=(8, 14, 14))
    """
    check(normalize=normalize)
    model = with_graph(model, clips)
    asked = Perturbed(model, clips, class_index, fill=0, batch_size=batch_size)  # of which nothing is hidden
    names, tokens = _attention(model)
    grid, classed = _grid(model, tokens, grid)
    given = asked.clips if len(model.inputs[0].shape) == 5 else asked.clips[:, 0]
    shares = devices.in_batches(_run(model), batch_size, given)  # (B, tokens, tokens)
    signed = (shares[:, 0, 1:] if classed else shares.mean(axis=1)).reshape(-1, *grid)
    settings = {"layers": names, "cells": [grid], "passes": 2}
    return asked.explanation(enlarge(signed, asked.size), "Attention rollout", normalize, settings)


def _attention(model: keras.Model) -> tuple[list[str], int]:
    """The names of the layers of attention of a model, from input to output, and how many tokens they see."""
    graph = flat(model)
    steps = [
        node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in in_order(graph._nodes_by_depth[depth])
    ]
    where = f"attention rollout is not defined for model {model.name!r}: "
    found, before = [], None
    for node in steps:
        layer = node.operation
        if isinstance(layer, WindowAttention):
            raise ValueError(
                f"{where}layer {layer.name!r} attends within windows, in every second layer shifted ones, so there is "
                "no matrix of all tokens to all; and merging patches makes other tokens. Use rise, occlusion or gradcam"
            )
        if "Attention" not in type(layer).__name__:
            continue
        query = node.input_tensors[0]
        if not isinstance(layer, layers.MultiHeadAttention):
            raise ValueError(f"{where}layer {layer.name!r} is no MultiHeadAttention. Received: {type(layer).__name__}")
        if any(x is not query for x in node.input_tensors) or len(query.shape) != 3:
            raise ValueError(
                f"{where}layer {layer.name!r} is no attention of all tokens (B, tokens, channels) to each other. "
                f"Received: {', '.join(str(tuple(x.shape)) for x in node.input_tensors)}"
            )
        if before is not None and (query.shape[1] != before.shape[1] or not _comes_from(query, before)):
            raise ValueError(f"{where}layer {layer.name!r} does not see the tokens of the layer of attention before it")
        found.append(layer.name)
        before = node.output_tensors[0]
    if not found:
        raise ValueError(f"{where}it has no layer of self-attention")
    if before.shape[1] is None:
        raise ValueError(f"{where}the number of its tokens is open")
    return found, before.shape[1]


def _comes_from(tensor: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    waiting, seen = [tensor], set()
    while waiting:
        x = waiting.pop()
        if x is other:
            return True
        if id(x) not in seen:
            seen.add(id(x))
            waiting += inputs_of(x)
    return False


def _grid(model: keras.Model, tokens: int, grid) -> tuple[tuple[int, int, int], bool]:
    """The grid (t, h, w) of the tokens, and whether a class token stands in front of it."""
    if grid is None:
        known = [tap.shape[:3] for tap in taps(model) if None not in tap.shape]
        fitting = [shape for shape in known if np.prod(shape) in (tokens, tokens - 1)]
        if not fitting:
            raise ValueError(
                f"model {model.name!r} has {tokens} tokens, and no feature map of so many places, or one fewer: say "
                "where they lie by grid=(time, height, width)"
            )
        grid = fitting[0]
    grid = tuple(grid)
    if len(grid) != 3 or min(grid) < 1 or np.prod(grid) not in (tokens, tokens - 1):
        raise ValueError(f"grid is (time, height, width) of {tokens} tokens, or of one fewer. Received: {grid=}")
    return grid, np.prod(grid) == tokens - 1


def _run(model: keras.Model):
    """Clips -> float32 (B, tokens, tokens), how much of each first token is in each last one."""
    output, run = _compiled.get(model, (None, None))
    if output is model.outputs[0]:
        return run
    graph = flat(model)

    def multiplied(clips):
        product = None

        def attending(layer):
            def call(*args, **kwargs):
                nonlocal product
                made, attention = predicting(layer)(*args, **kwargs, return_attention_scores=True)
                attention = tf.reduce_mean(tf.cast(attention, tf.float32), axis=1)  # over the heads
                attention = (attention + tf.eye(attention.shape[-1])) / 2
                product = attention if product is None else attention @ product
                return made

            return call

        graph._run_through_graph(
            [clips], lambda layer: (attending if isinstance(layer, layers.MultiHeadAttention) else predicting)(layer)
        )
        return product

    clip = graph.inputs[0]
    run = devices.shared(multiplied, [tf.TensorSpec(clip.shape, clip.dtype)], devices.of(model))
    _compiled[model] = model.outputs[0], run
    return run
