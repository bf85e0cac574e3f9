import json

import keras
import numpy as np
import pytest
from keras import layers

from har_tf.evaluate.controls import centred_gaussian, uniform
from har_tf.evaluate.faithfulness import faithfulness

BLOB = slice(1, 3), slice(2, 6), slice(8, 12)  # time, height, width


def linear(shape, weights, dtype="float32", bias=0):
    """Two classes, of which class 1 has the logit sum(weights * clip) + bias and class 0 the logit 0."""
    clip = keras.Input(shape, dtype=dtype, name="clip")
    x = layers.Flatten()(layers.Rescaling(1.0)(clip))
    model = keras.Model(clip, layers.Dense(2, activation="softmax", name="predictions")(x))
    kernel = np.zeros((np.prod(shape), 2))
    kernel[:, 1] = np.broadcast_to(weights, shape).ravel()
    model.get_layer("predictions").set_weights([kernel, np.array([0, bias])])
    return model


def blob_model(sign=1):
    """Reads red in one blob of 32 of 1,024 pixels, and nothing else; of the clips below its probability is 0.98."""
    weights = np.zeros((4, 16, 16, 3))
    weights[(*BLOB, 0)] = 0.002 * sign
    return linear((4, 16, 16, 3), weights, "uint8", -9 * sign)


def blob_clips(count=2):
    clips = np.random.default_rng(0).integers(0, 40, (count, 4, 16, 16, 3), np.uint8)
    clips[(slice(None), *BLOB, 0)] = 200
    return clips


@pytest.fixture(scope="module")
def by_hand():
    """One channel, mean 2; class 1 reads the first pixel of frame 0 once and that of frame 1 twice."""
    model = linear((2, 2, 2, 1), np.array([[[1, 0], [0, 0]], [[2, 0], [0, 0]]])[..., None])
    clip = np.array([[[8, 2], [0, 0]], [[4, 2], [0, 0]]], "float32")[None, ..., None]
    maps = np.array([[[8, 1], [1, 1]], [[7, 9], [1, 1]]], "float32")[None]
    return faithfulness(model, clip, {"a": maps}, 1, fills=("mean", "neighbour"), steps=8)


@pytest.mark.parametrize(
    ("axis", "fill", "deleted", "auc"),
    [
        # Whole: 8 + 2 x 4 = 16; all pixels at the mean of 2: 6. Of all pixels the second of frame 1 leaves first, then
        # the first of frame 0 (10 is left), then that of frame 1.
        ("both", "mean", [16, 16, 10, 6, 6, 6, 6, 6, 6], (0.5 + 1 + 0.4) / 8),
        # In each frame the second pixel of frame 1 and the first of frame 0, then the first of frame 1.
        ("space", "mean", [16, 10, 6, 6, 6], (0.5 + 0.4) / 4),
        # Frame 1 leaves first: 8 + 2 x 2.
        ("time", "mean", [16, 12, 6], (0.5 + 0.6) / 2),
        # It becomes frame 0: 8 + 2 x 8; at the end all are the frame in the middle, which is frame 1: 4 + 2 x 4.
        ("time", "neighbour", [16, 24, 12], (0.5 + 3) / 2),
    ],
)
def test_worked_out_by_hand(by_hand, axis, fill, deleted, auc):
    curve = by_hand.of(axis, fill, "deletion", "logit")["a"]
    np.testing.assert_allclose(curve.values, [deleted], rtol=1e-6)
    np.testing.assert_allclose(curve.shares, np.linspace(0, 1, len(deleted)))
    assert curve.auc == pytest.approx([auc])
    assert curve.area == pytest.approx([np.mean((np.array(deleted)[1:] + deleted[:-1]) / 2)])
    probability = by_hand.of(axis, fill, "deletion", "probability")["a"]
    np.testing.assert_allclose(probability.values, [1 / (1 + np.exp(-np.array(deleted)))], rtol=1e-6)


def test_insertion_worked_out_by_hand(by_hand):
    # 6 of the filled clip; the first pixel of frame 0 brings 6 more, that of frame 1 4.
    assert by_hand.of("both", "mean", "insertion", "logit")["a"].values[0] == pytest.approx([6, 6, 12, *[16] * 6])
    assert by_hand.of("space", "mean", "insertion", "logit")["a"].values[0] == pytest.approx([6, 12, 16, 16, 16])
    # Frame 1 alone, twice: 4 + 2 x 4.
    assert by_hand.of("time", "neighbour", "insertion", "logit")["a"].values[0] == pytest.approx([12, 12, 16])
    # Three passes for the whole clip and two fills, 2 x (7 + 3 + 1 + 1) between them.
    assert by_hand.passes == 3 + 24


@pytest.mark.parametrize("fill", ["blur", "mean", "noise"])
@pytest.mark.parametrize("axis", ["both", "space", "time"])
def test_the_true_mask_beats_all_and_a_reversed_map_loses(axis, fill):
    clips = blob_clips()
    true = np.zeros(clips.shape[:4], np.float32)
    true[(slice(None), *BLOB)] = 1
    maps = {"true": true, "reversed": 1 - true, "uniform": uniform(true.shape), "centre": centred_gaussian(true.shape)}
    found = faithfulness(blob_model(), clips, maps, 1, [axis], [fill])
    for score in ("probability", "logit"):
        gone, back = (
            {name: curve.auc for name, curve in found.of(axis, fill, direction, score).items()}
            for direction in ("deletion", "insertion")
        )
        for name in ("uniform", "centre") if axis != "time" else ():
            assert (gone["true"] < gone[name]).all() and (gone[name] < gone["reversed"]).all()
            assert (back["true"] > back[name]).all() and (back[name] > back["reversed"]).all()
        assert (gone["true"] < gone["reversed"]).all() and (back["true"] > back["reversed"]).all()
        if axis == "both":  # the blob is 3 % of all pixels: gone and back with the first of 20 steps
            assert (gone["true"] < 0.05).all() and (back["true"] > 0.95).all()
            assert (gone["reversed"] > 0.9).all() and (back["reversed"] < 0.1).all()


def test_a_clip_that_loses_nothing_is_named_and_left_out_of_means():
    clips = blob_clips(3)
    clips[1] = 90  # its mean, its blur and itself are one
    true = np.zeros(clips.shape[:4], np.float32)
    true[(slice(None), *BLOB)] = 1
    found = faithfulness(blob_model(), clips, {"true": true}, 1, ["both"], ["mean"], groups=["a", "b", "c"])
    curve = found.of("both", "mean", "deletion", "logit")["true"]
    assert np.isnan(curve.auc).tolist() == [False, True, False] and np.isfinite(curve.area).all()
    assert curve.mean == pytest.approx(curve.normalized[[0, 2]].mean(axis=0))
    rows = json.loads(json.dumps(found.as_dict(), allow_nan=False))["curves"]
    (row,) = (row for row in rows if row["direction"] == "deletion" and row["score"] == "logit")
    assert row["left_out_clips"] == [1] and row["auc"][1] is None and (row["clips"], row["left_out"]) == (2, 1)
    assert row["mean"] == pytest.approx(np.nanmean(curve.auc)) and row["groups"] == 2 and row["interval"]
    assert row["curve"] == pytest.approx(curve.mean.tolist()) and row["shares"] == curve.shares.tolist()


def test_where_the_filled_clip_scores_higher_there_is_no_auc():
    """Divided by a negative number, deletion would be insertion."""
    clips = blob_clips(1)
    curves = faithfulness(blob_model(-1), clips, {"a": uniform(clips.shape[:4])}, 1, ["both"], ["mean"]).curves
    assert all(np.isnan(curve.auc).all() and curve.mean is None for curve in curves)


def test_a_clip_has_the_same_numbers_whatever_lies_beside_it():
    model, clips = blob_model(), blob_clips(3)
    maps = np.random.default_rng(1).integers(0, 3, clips.shape[:4]).astype(np.float32)
    axes, fills = ["space", "both"], ["noise"]
    together = faithfulness(model, clips, {"a": maps, "b": uniform(maps.shape)}, 1, axes, fills, batch_size=7)
    alone = faithfulness(model, clips[2:], {"a": maps[2:]}, 1, axes, fills, batch_size=64)
    for axis in axes:
        several, single = (each.of(axis, "noise", "deletion", "logit")["a"].values for each in (together, alone))
        np.testing.assert_allclose(several[2:], single, rtol=1e-5)


def test_images_agree_with_quantus_and_xplique():
    """Values of Quantus 0.6.0 (PixelFlipping) and Xplique 2.0.2 (Deletion, Insertion), which print with

    python -m benchmarks.faithfulness --peers
    """
    rng = np.random.default_rng(0)
    half = rng.integers(-127, 128, (2, 32, 1))
    images = (128 + np.concatenate([half, -half], axis=1)).reshape(2, 8, 8, 1)  # 128 is the mean of each
    saliency = rng.permuted(np.arange(128).reshape(2, 64), axis=1).reshape(2, 8, 8)
    image = keras.Input((8, 8, 1), dtype="uint8")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(6, "tanh", use_bias=False)(x)
    model = keras.Model(image, layers.Dense(3, "softmax", use_bias=False)(x))
    model.set_weights([rng.normal(size=(64, 6)) / 8, rng.normal(size=(6, 3))])
    found = faithfulness(model, images, {"a": saliency}, None, ["space"], ["mean"], steps=8)
    assert found.class_index.tolist() == [0, 0]
    quantus = [
        [
            0.6496695876,
            0.6705607176,
            0.6667500734,
            0.7078589797,
            0.6103246808,
            0.5758264064,
            0.5922046304,
            0.6214216948,
        ],
        [
            0.7409760952,
            0.7127318978,
            0.6990563273,
            0.7162635326,
            0.6627569795,
            0.6058332920,
            0.5993444324,
            0.6214216948,
        ],
    ]
    deletion, insertion = (found.of("space", "mean", direction)["a"] for direction in ("deletion", "insertion"))
    np.testing.assert_allclose(deletion.values[:, 1:], quantus, rtol=1e-5)
    assert deletion.area == pytest.approx([0.6379168, 0.6765236], rel=1e-5)  # of Xplique
    assert insertion.area == pytest.approx([0.615203, 0.67363787], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": ["depth"]}, r"axes are some of space, time, both, each once\. Received: axes=\['depth'\]"),
        ({"fills": "blur"}, "fills are some of blur, mean, noise, neighbour"),
        ({"directions": []}, "directions are some of"),
        ({"axes": ["both"], "fills": ["neighbour"]}, 'the fill "neighbour" is for whole frames'),
        ({"steps": 0}, r"steps is a whole number from 1 to 255\. Received: steps=0"),
        ({"groups": ["a"]}, "every clip has a group. Received: 2 clips, 1 groups"),
        ({"class_index": 2}, "class_index lies from 0 to 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    clips = blob_clips()
    with pytest.raises(ValueError, match=message):
        faithfulness(blob_model(), clips, {"a": uniform(clips.shape[:4])}, **options)


def test_what_was_not_measured_is_named(by_hand):
    with pytest.raises(ValueError, match="measured were space mean deletion probability, .*Received: both blur"):
        by_hand.of()
