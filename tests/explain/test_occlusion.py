import keras
import numpy as np
import pytest
from keras import layers
from known_models import Counting, Squares, linear, red, red_blob

from har_tf.explain.occlusion import occlusion

WEIGHTS = np.array([[[1.0, -2], [3, 0]], [[5, -6], [7, 8]]])
CLIP = np.array([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])[None, ..., None]
PIXEL = {"window": (1, 1, 1), "stride": (1, 1, 1)}
# Of captum 0.9.0: Occlusion(f).attribute(x, (1, 1, 2, 3), (1, 1, 1, 2), baselines=0.25), of x = arange(24) / 24 as
# (1, 1, 2, 3, 4) and f(x) = sum of cos(i) x_i^2, plus 2 x_5 x_23.
CAPTUM = [
    -0.13479, -0.13479, -0.02413, 0.08654, -0.18443, -0.18443, -0.08947, 0.00549, -0.23407, -0.23407, -0.15481,
    -0.07556, 0.24926, 0.24926, 0.463, 0.67673, -0.4061, -0.4061, -0.04653, 0.31305, -1.06146, -1.06146, -0.55605,
    -0.05064,
]  # fmt: skip


def test_of_a_linear_model_it_is_weight_times_what_was_taken_away():
    found = occlusion(linear(WEIGHTS, bias=4), CLIP, 1, normalize=None, fill=1.0, **PIXEL)
    drops = WEIGHTS * (CLIP[0, ..., 0] - 1)
    np.testing.assert_allclose(found.signed[0], drops, atol=1e-5)
    np.testing.assert_allclose(found.maps[0], np.maximum(drops, 0), atol=1e-5)
    assert found.score[0] == (WEIGHTS * CLIP[0, ..., 0]).sum() + 4
    assert found.settings == {
        **PIXEL, "fill": 1.0, "cells": [(2, 2, 2)], "passes": 9, "normalize": None, "counterfactual": False
    }  # fmt: skip
    against = occlusion(linear(WEIGHTS, bias=4), CLIP, 1, counterfactual=True, normalize=None, fill=1.0, **PIXEL)
    np.testing.assert_allclose(against.maps[0], np.maximum(-drops, 0), atol=1e-5)
    scaled = occlusion(linear(WEIGHTS, bias=4), CLIP, 1, fill=1.0, **PIXEL)
    np.testing.assert_allclose(scaled.maps[0], np.maximum(drops, 0) / 56, atol=1e-6)


def test_windows_that_overlap_are_averaged_and_the_last_is_cut_off():
    # Along a row of 5 pixels windows of 3 every 2: pixels 0-2, 2-4; of 2 every 2: 0-1, 2-3, and 4 alone.
    weights = np.array([1.0, 2, 4, 8, 16]).reshape(1, 1, 5)
    model, clip = linear(weights), np.ones((1, 1, 1, 5, 1))
    found = occlusion(model, clip, 1, window=(1, 1, 3), stride=(1, 1, 2), fill=0, normalize=None)
    np.testing.assert_allclose(found.signed.ravel(), [7, 7, (7 + 28) / 2, 28, 28], atol=1e-5)
    found = occlusion(model, clip, 1, window=(1, 1, 2), stride=(1, 1, 2), fill=0, normalize=None)
    np.testing.assert_allclose(found.signed.ravel(), [3, 3, 12, 12, 16], atol=1e-5)


def test_as_captum_computes_it():
    grid = np.arange(24, dtype="float32").reshape(1, 2, 3, 4, 1) / 24
    options = {"window": (1, 2, 3), "stride": (1, 1, 2), "fill": 0.25}
    found = occlusion(Squares(), grid, 1, normalize=None, **options)
    np.testing.assert_allclose(found.signed.ravel(), CAPTUM, atol=2e-5)


def test_the_map_is_where_the_blob_is_in_space_and_time():
    clip, place = red_blob()
    found = occlusion(red(), clip, window=(1, 6, 6), stride=(1, 2, 2))
    assert found.class_index.tolist() == [1]
    assert place[np.unravel_index(found.maps[0].argmax(), place.shape)]
    assert found.maps[0][place].mean() > 10 * found.maps[0][~place].mean()
    assert found.maps[0][[0, 1, 4, 5]].max() < 0.1


def test_every_window_is_one_pass_and_a_clips_map_is_its_own():
    model, clips = Counting(WEIGHTS), np.concatenate([CLIP, 2 * CLIP]).astype("float32")
    both = occlusion(model, clips, 1, batch_size=4, **PIXEL)
    model.seen.assign(0)
    again = occlusion(model, clips, 1, batch_size=4, **PIXEL)
    assert model.seen.numpy() == 2 * again.settings["passes"] == 2 * (8 + 1)
    np.testing.assert_array_equal(both.maps, again.maps)
    alone = occlusion(model, clips[1:], 1, batch_size=3, **PIXEL)
    np.testing.assert_allclose(both.maps[1:], alone.maps, atol=1e-6)


def test_images_are_clips_of_one_frame():
    image = keras.Input((2, 2, 1))
    head = layers.Dense(2)
    model = keras.Model(image, head(layers.Flatten()(image)))
    head.set_weights([np.stack([np.zeros(4), [1, 2, 3, 4]], axis=1), np.zeros(2)])
    found = occlusion(model, np.ones((1, 2, 2, 1)), 1, fill=0, normalize=None)
    np.testing.assert_allclose(found.maps, [[[[1, 2], [3, 4]]]], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"window": (1, 1)}, "window is"),
        ({"window": (1, 3, 1)}, r"at most \(2, 2, 2\). Received: window=\(1, 3, 1\)"),
        ({"window": (1, 1, 1), "stride": (1, 1, 2)}, r"stride is .* at most window=\(1, 1, 1\)"),
        ({"score": "loss"}, "score is one of 'logit', 'probability'"),
        ({"normalize": "sum"}, "normalize is one of"),
        ({"batch_size": 0}, "batch_size is a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        occlusion(linear(WEIGHTS), CLIP, **options)
