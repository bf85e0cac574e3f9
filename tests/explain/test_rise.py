from importlib import import_module
from itertools import product

import numpy as np
import pytest
import tensorflow as tf
from known_models import Counting, linear, red, red_blob

from har_tf.explain.rise import cells_within, drawn, interpolated, rise

MODULE = import_module("har_tf.explain.rise")
WEIGHTS = np.array([[[1.0, -2], [3, 0]], [[5, -6], [7, 8]]])
CLIP = np.array([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])[None, ..., None]
# Of a linear model, where half of the pixels are shown: E[f | shown] - E[f] = (1 - p) w (x - fill).
EXPECTED = 0.5 * WEIGHTS * (CLIP[0, ..., 0] - 1)


def test_all_masks_give_the_expectation_exactly(monkeypatch):
    every = np.array(list(product((0, 1), repeat=8)), "float32").reshape(-1, 2, 2, 2)
    monkeypatch.setattr(MODULE, "drawn", lambda *_: [every, np.zeros((256, 3), "float32")])
    found = rise(linear(WEIGHTS, bias=100), CLIP, 1, normalize=None, cells=(2, 2, 2), fill=1)
    np.testing.assert_allclose(found.signed[0], EXPECTED, atol=1e-4)
    assert found.settings["passes"] == 257


def test_drawn_masks_converge_to_it_at_the_pace_of_their_number():
    errors = []
    for number in (400, 40000):
        found = rise(
            linear(WEIGHTS, 100),
            CLIP,
            1,
            normalize=None,
            batch_size=1000,
            number=number,
            cells=(2, 2, 2),
            shift=False,
            fill=1,
        )
        errors.append(np.abs(found.signed[0] - EXPECTED).max())
    # The standard deviation of f is 40, so that of a mean over half of 40,000 masks 0.3.
    assert errors[1] < 1 and 3 < errors[0] / errors[1] < 30


def test_masks_are_enlarged_and_moved():
    hide = interpolated((1, 1, 2), (1, 1, 3))
    grid = tf.constant([[[[0.0, 1.0, 1.0]]]] * 2)
    moved = tf.constant([[0, 0, 0], [0, 0, 0.5]])
    made = hide((1, 1, 4), (), [grid, moved]).numpy()
    # Two cells over four pixels: the middle of pixel i lies at 0.5 i - 0.25 cells, between the cells' own middles.
    np.testing.assert_allclose(made[:, 0, 0], [[0, 0.25, 0.75, 1], [0.25, 0.75, 1, 1]], atol=1e-6)


def test_what_is_drawn():
    hidden, moved = drawn(np.random.default_rng(0), (8, 28, 5), 500, (4, 7, 5), 0.2, True)
    assert hidden.shape == (500, 5, 8, 5)  # a cell more where a cell is more than one pixel
    assert set(np.unique(hidden)) == {0, 1} and hidden.mean() == pytest.approx(0.8, abs=0.01)
    np.testing.assert_allclose(np.unique(moved[:, 0]), [0, 0.5])
    np.testing.assert_allclose(np.unique(moved[:, 1]), [0, 0.25, 0.5, 0.75])
    assert not moved[:, 2].any()


def test_the_map_is_where_the_blob_is_and_comes_out_again():
    clip, place = red_blob()
    options = {"number": 300, "cells": (6, 4, 4), "score": "probability", "seed": 3}
    found = rise(red(), clip, **options)
    assert place[np.unravel_index(found.maps[0].argmax(), place.shape)]
    assert found.maps[0][place].mean() > 4 * found.maps[0][~place].mean()
    assert found.settings["score"] == "probability" and found.score == found.probability
    np.testing.assert_array_equal(found.maps, rise(red(), clip, **options).maps)
    assert np.abs(found.maps - rise(red(), clip, **options | {"seed": 4}).maps).max() > 0.01


def test_every_mask_is_one_pass():
    model, clips = Counting(WEIGHTS), np.concatenate([CLIP, CLIP]).astype("float32")
    options = {"class_index": 1, "number": 12, "batch_size": 6}
    rise(model, clips, **options)
    model.seen.assign(0)
    found = rise(model, clips, **options)
    assert model.seen.numpy() == 2 * found.settings["passes"] == 2 * 13


def test_a_pixel_that_is_never_shown_has_no_evidence(monkeypatch):
    monkeypatch.setattr(MODULE, "drawn", lambda *_: [np.ones((3, 2, 2, 2), "float32"), np.zeros((3, 3), "float32")])
    assert not rise(linear(WEIGHTS), CLIP, 1, cells=(2, 2, 2)).signed.any()


def test_cells_are_no_more_than_pixels():
    assert cells_within((1, 20, 5), (4, 7, 7)) == (1, 7, 5)
    for wrong in ((4, 7), (0, 1, 1), (1, 1, 1.5)):
        with pytest.raises(ValueError, match="cells are"):
            cells_within((8, 8, 8), wrong)


@pytest.mark.parametrize("options", [{"number": 0}, {"p": 0}, {"p": 1}])
def test_what_cannot_be_drawn_is_refused(options):
    with pytest.raises(ValueError, match="number is at least 1, and p lies between 0 and 1"):
        rise(linear(WEIGHTS), CLIP, **options)
