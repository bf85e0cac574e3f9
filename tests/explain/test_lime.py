import sys
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from known_models import Counting, Squares, linear, red, red_blob

from har_tf.explain.lime import lime

WEIGHTS = np.array([[[1.0, -2], [3, 0]], [[5, -6], [7, 8]]])
CLIP = np.array([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])[None, ..., None]
DROPS = WEIGHTS * (CLIP[0, ..., 0] - 1)


def test_of_a_linear_model_it_is_what_segments_add():
    options = {"fill": 1, "ridge": 1e-6, "number": 100, "normalize": None}
    pixels = lime(linear(WEIGHTS, bias=4), CLIP, 1, cells=(2, 2, 2), **options)
    np.testing.assert_allclose(pixels.signed[0], DROPS, atol=1e-3)
    np.testing.assert_allclose(pixels.maps[0], np.maximum(DROPS, 0), atol=1e-3)
    frames = lime(linear(WEIGHTS, bias=4), CLIP, 1, cells=(2, 1, 1), **options)
    np.testing.assert_allclose(frames.signed[0], np.ones((2, 2, 2)) * DROPS.sum(axis=(1, 2), keepdims=True), atol=1e-3)
    # Segments of one's own, whatever their numbers: the diagonal, and the rest.
    own = np.array([[[7, -1], [-1, -1]], [[-1, -1], [-1, 7]]])
    found = lime(linear(WEIGHTS, bias=4), CLIP, 1, segments=own, **options)
    np.testing.assert_allclose(found.signed[0][own == 7], DROPS[own == 7].sum(), atol=1e-3)
    np.testing.assert_allclose(found.signed[0][own == -1], DROPS[own == -1].sum(), atol=1e-3)


def test_weights_and_ridge_worked_out_by_hand(monkeypatch):
    # One frame of two pixels, logit 2 a + b + 5 a b; all four masks. d = 0, 1 - sqrt(1/2) twice, 1.
    model = Pairs([[2.0, 1.0]])
    shown = np.array(list(product((1, 0), repeat=2)), "float32")
    monkeypatch.setattr(import_module("har_tf.explain.lime"), "drawn", lambda *_: shown)
    options = {"cells": (1, 1, 2), "number": 4, "fill": 0, "ridge": 0.5, "kernel_width": 0.5, "normalize": None}
    found = lime(model, np.ones((1, 1, 1, 2, 1), "float32"), 1, **options)
    weights = np.exp([0, -2 * (1 - 0.5**0.5) ** 2, -2 * (1 - 0.5**0.5) ** 2, -2])
    scores = np.array([8, 2, 1, 0])
    centred, away = shown - np.average(shown, 0, weights), scores - np.average(scores, weights=weights)
    solution = np.linalg.solve(centred.T * weights @ centred + 0.5 * np.eye(2), centred.T * weights @ away)
    np.testing.assert_allclose(found.signed.ravel(), solution, rtol=1e-5)


class Pairs(Counting):
    def call(self, x, training=False):
        both = x[:, 0, 0, 0] * x[:, 0, 0, 1]
        return super().call(x) + 5 * both * [[0.0, 1.0]]


# Of captum 0.9.0: Lime with a Ridge(alpha=0.05), the same 40 perturbed clips and weights, of x = arange(24) / 24 as
# 2 x 3 x 4 and 2 x 3 x 2 segments, baselines=0.25; one number a segment.
CAPTUM = [
    -0.09434, 0.07209, -0.02725, 0.01109, -0.06641, -0.09681, 0.36596, -0.20772, -0.48797, 0.86385, -0.1387, -0.88859,
]  # fmt: skip


def test_as_captum_computes_it():
    clip = np.arange(24, dtype="float32").reshape(1, 2, 3, 4, 1) / 24
    options = {"cells": (2, 3, 2), "number": 40, "ridge": 0.05, "fill": 0.25, "normalize": None}
    found = lime(Squares(), clip, 1, **options)
    np.testing.assert_allclose(found.signed[..., ::2].ravel(), CAPTUM, atol=2e-5)


@pytest.mark.parametrize("segments", ["grid", "slic"])
def test_the_map_is_where_the_blob_is_and_comes_out_again(segments):
    clip, place = red_blob()
    options = {"number": 200, "cells": (3, 6, 6), "segments": segments, "fill": "mean", "seed": 3}
    found = lime(red(), clip, **options)
    assert place[np.unravel_index(found.maps[0].argmax(), place.shape)]
    assert found.maps[0][place].mean() > 4 * found.maps[0][~place].mean()
    np.testing.assert_array_equal(found.maps, lime(red(), clip, **options).maps)
    assert np.abs(found.maps - lime(red(), clip, **options | {"seed": 4}).maps).max() > 1e-4


def test_superpixels_follow_what_is_seen():
    """Segments of one colour in their mean colour change nothing, so a superpixel of the blob alone has no evidence."""
    clip, _ = red_blob(frames=range(6))
    tubes = lime(red(), clip, cells=(1, 4, 4), number=100, normalize=None)
    followed = lime(red(), clip, cells=(1, 4, 4), number=100, segments="slic", compactness=1, normalize=None)
    assert np.abs(followed.signed).max() < 0.2 * np.abs(tubes.signed).max()


def test_every_perturbed_clip_is_one_pass():
    model, clips = Counting(WEIGHTS), np.concatenate([CLIP, CLIP]).astype("float32")
    options = {"class_index": 1, "number": 12, "batch_size": 6}
    lime(model, clips, **options)
    model.seen.assign(0)
    found = lime(model, clips, **options)
    assert model.seen.numpy() == 2 * found.settings["passes"] == 2 * 13


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"segments": "watershed"}, "segments are 'grid', 'slic'"),
        ({"segments": np.zeros((2, 2), int)}, r"Received: int64 of \(2, 2\)"),
        ({"segments": np.zeros((2, 2, 2))}, "Received: float64"),
        ({"ridge": 0}, "ridge are above 0"),
        ({"number": 1}, "number is at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        lime(linear(WEIGHTS), CLIP, **options)


def test_superpixels_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ValueError, match="segments='slic' needs scikit-image: pip install"):
        lime(linear(WEIGHTS), CLIP, segments="slic")
