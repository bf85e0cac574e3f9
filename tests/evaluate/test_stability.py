import json

import keras
import numpy as np
import pytest
from keras import layers

from har_tf.evaluate.stability import _boxed, _boxes, _sums, infidelity, max_sensitivity

SHAPE = 4, 6, 8


def weighted(weights):
    """Class 1 has the logit of the sum of weights times pixels."""
    clip = keras.Input((*SHAPE, 1), dtype="float32")
    x = layers.Flatten()(layers.Rescaling(1.0)(clip))
    model = keras.Model(clip, layers.Dense(2, "softmax", use_bias=False)(x))
    model.set_weights([np.outer(weights.ravel(), [0, 1])])
    return model


@pytest.fixture(scope="module")
def found():
    """A linear model, of whose clips each pixel's share of the logit is known."""
    rng = np.random.default_rng(0)
    weights = np.zeros(SHAPE)
    weights[1:3, 2:4, 2:5] = 0.2
    clips = rng.uniform(0, 1, (2, *SHAPE, 1)).astype("float32")
    clips[1] = 0.5
    shares = weights * (clips - clips.mean(axis=(1, 2, 3, 4), keepdims=True))[..., 0]
    maps = {
        "shares": shares,
        "ten times": 10 * shares,
        "against": -shares,
        "none": 0 * shares,
        "noise": rng.random((2, *SHAPE)),
    }
    return infidelity(weighted(weights), clips, maps, 1, fill="mean", samples=40, groups=["a", "b"])


def test_what_foretells_every_loss_leaves_nothing_unexplained_at_any_scale(found):
    assert found.unexplained["shares"][0] == pytest.approx(0, abs=1e-6)
    assert found.unexplained["ten times"][0] == pytest.approx(0, abs=1e-6)
    assert found.unexplained["against"][0] == found.unexplained["none"][0] == 1
    assert 0.3 < found.unexplained["noise"][0] <= 1
    assert found.infidelity["none"][0] == pytest.approx(found.change[0])


def test_a_clip_that_loses_nothing_is_left_out(found):
    assert all(np.isnan(values[1]) for values in found.unexplained.values())
    row = json.loads(json.dumps(found.as_dict(), allow_nan=False))["maps"]["noise"]
    assert row["unexplained"][1] is None and (row["clips"], row["left_out"]) == (1, 1)


def test_boxes_lie_within_the_clip_and_are_filled():
    boxes = _boxes(SHAPE, 200, np.random.default_rng(0))
    sides = boxes[:, 1] - boxes[:, 0]
    assert (boxes[:, 0] >= 0).all() and (boxes[:, 1] <= SHAPE).all()
    assert (boxes[:, 0].min(axis=0) == 0).all() and (boxes[:, 1].max(axis=0) == SHAPE).all()
    assert (sides.min(axis=0) == [1, 2, 2]).all() and (sides.max(axis=0) == [3, 4, 6]).all()
    assert (_boxes((1, 1, 9), 5, np.random.default_rng(0))[:, :, :2] == [[0, 0], [1, 1]]).all()
    saliency = np.random.default_rng(1).normal(size=SHAPE)
    inner = [np.s_[first[0] : end[0], first[1] : end[1], first[2] : end[2]] for first, end in boxes]
    assert _sums(saliency, boxes) == pytest.approx([saliency[place].sum() for place in inner])
    clips = _boxed(np.ones((*SHAPE, 1)), np.zeros((*SHAPE, 1)), boxes[:9]).numpy()
    for clip, place, side in zip(clips, inner, sides, strict=False):
        assert (clip[place] == 0).all() and clip.sum() == np.prod(SHAPE) - side.prod()


def test_infidelity_agrees_with_captum():
    """Captum 0.9.0, of the same boxes, normalize=True: `python -m benchmarks.faithfulness --peers`."""
    rng = np.random.default_rng(0)
    weights, clip = rng.normal(size=SHAPE), rng.random((1, *SHAPE, 1)).astype("float32")
    maps = rng.random((1, *SHAPE)) - 0.5 + weights * (clip - clip.mean())[..., 0]
    found = infidelity(weighted(weights), clip, {"a": maps}, 1, fill="mean", samples=16)
    assert found.infidelity["a"][0] == pytest.approx(2.23888719, rel=1e-4)


def test_sensitivity_is_the_largest_move_as_a_share_of_the_map():
    clips = np.full((3, 2, 3, 3, 3), 100, "uint8")
    seen = []

    def explain(noisy):
        seen.append(noisy.astype(int) - clips)
        maps = np.zeros((3, 2, 3, 3))
        maps[0] = 2  # never moves: of length 6 x sqrt(2)
        maps[1] = 1
        maps[1, 0, 0, 0] += len(seen) - 1 if len(seen) < 4 else 0
        return maps

    found = max_sensitivity(explain, clips, radius=0.02, samples=5, groups=["a", "b", "c"])
    assert found.values[:2] == pytest.approx([0, 2 / np.sqrt(18)]) and np.isnan(found.values[2])
    assert len(seen) == 6 and not seen[0].any()
    assert max(np.abs(noise).max() for noise in seen) == 5  # 0.02 x 255
    assert (seen[1] != seen[2]).any() and (seen[1][0] == seen[1][1]).all(), "by the clip and the draw"
    assert found.as_dict()["values"][2] is None and found.as_dict()["left_out"] == 1


def test_noise_of_floats_is_of_their_range():
    clips = np.linspace(0, 4, 16, dtype="float32").reshape(1, 2, 2, 2, 2)
    moves = []
    max_sensitivity(lambda noisy: moves.append(np.abs(noisy - clips).max()) or noisy[..., 0], clips, 0.1, 20)
    assert 0.3 < max(moves) <= 0.4 + 1e-6


@pytest.mark.parametrize("options", [{"radius": 0}, {"samples": 0}])
def test_noise_without_a_size_or_a_draw_is_refused(options):
    with pytest.raises(ValueError, match="radius and samples are positive"):
        max_sensitivity(lambda clips: clips, np.zeros((1, 2, 2, 2)), **options)


@pytest.mark.parametrize("options", [{"score": "odds"}, {"fill": "neighbour"}, {"samples": 1}])
def test_wrong_options_of_infidelity_are_named(options):
    clips = np.zeros((1, *SHAPE, 1), "float32")
    with pytest.raises(ValueError, match="Received: score="):
        infidelity(weighted(np.ones(SHAPE)), clips, {"a": clips[..., 0]}, **options)
