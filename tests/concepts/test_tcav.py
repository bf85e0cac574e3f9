"""TCAV on models whose answer is known: what their classes read is written into their weights."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import assert_survives_saving
from keras import layers, ops
from threadpoolctl import threadpool_limits

from har_tf.concepts import tcav
from har_tf.concepts.cav import CavFit, cavs
from har_tf.concepts.scores import derivatives
from har_tf.concepts.significance import Criterion
from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.taps import taps

SHAPE = (4, 6, 8, 3)


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of small products: threads that wait for each other would take longer, on a busy machine by far."""
    with threadpool_limits(1):
        yield


def noise(count, seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(60, 120, (count, *shape), dtype="uint8")


def tinted(count, channel, seed):
    clips = noise(count, seed)
    clips[..., channel] += 100
    return clips


def colour_model():
    """Class 0 reads how red a clip is, class 1 the same with its sign turned, class 2 how green; time is folded."""
    clip = keras.Input(SHAPE, dtype="uint8", name="clip")
    x = ops.reshape(layers.Rescaling(1 / 255)(clip), (-1, *SHAPE[1:]))
    x = layers.Conv2D(3, 1, use_bias=False, name="colours")(x)
    x = layers.Conv2D(3, 3, padding="same", use_bias=False, name="again")(x)
    x = ops.reshape(x, (-1, *SHAPE))
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(3, activation="softmax", name="predictions")(x), name="colour")
    model.get_layer("colours").set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    kernel = np.zeros((3, 3, 3, 3))
    kernel[1, 1] = np.eye(3)
    model.get_layer("again").set_weights([kernel])
    model.get_layer("predictions").set_weights([np.array([[1, -1, 0], [0, 0, 1], [0, 0, 0]]) * 50.0, np.zeros(3)])
    return model


def colours(random_sets=10):
    concepts = {"red": tinted(10, 0, 1), "green": tinted(10, 1, 2), "blue": tinted(10, 2, 3)}
    return concepts, [noise(10, seed) for seed in range(10, 10 + random_sets)]


def plain(found):
    """All numbers of a `Tcav`, as JSON."""
    relative = {tap: {name: each.as_dict() for name, each in of_tap.items()} for tap, of_tap in found.relative.items()}
    tests = {tap: {name: each.tests() for name, each in of_tap.items()} for tap, of_tap in found.tests.items()}
    return json.dumps([relative, tests], allow_nan=False)


def test_a_class_that_reads_one_direction(tmp_path):
    concepts, random_sets = colours()
    clips = tinted(6, 0, 50)
    model = colour_model()
    loaded = assert_survives_saving(model, clips, tmp_path)
    mean = {}
    for index in range(3):
        found = tcav.score(model, clips, index, concepts, random_sets, ["colours", "again"])
        assert found.taps == ("colours", "again")
        for tap in found.taps:
            tests = found.tests[tap]
            assert {test.hypotheses for test in tests.values()} == {3 * 2}
            mean[index, tap] = [tests[name].scores.mean for name in concepts]
            read = {0: "red", 1: "red", 2: "green"}[index]
            assert tests[read].significant
            assert not tests["blue"].significant
            assert found.relative[tap][read].mean == (0 if index == 1 else 1)
            assert found.relative[tap][read].accuracy > 0.9
        if index == 0:
            again = tcav.score(loaded, clips, index, concepts, random_sets, found.taps)
            assert plain(again) == plain(found)
    for tap in ("colours", "again"):
        assert (mean[0, tap][0], mean[1, tap][0], mean[2, tap][1]) == (1, 0, 1)


def motion_model():
    """`maps` has brighter than before, darker than before, and bright; class 0 reads the change, class 1 the rest."""
    clip = keras.Input((6, 10, 10, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255)(clip)
    x = layers.Conv3D(3, (2, 1, 1), activation="relu", use_bias=False, name="maps")(x)
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(clip, layers.Dense(2, name="predictions")(x))
    kernel = np.zeros((2, 1, 1, 3, 3))
    kernel[:, 0, 0, :, 0] = [[-1 / 3], [1 / 3]]
    kernel[:, 0, 0, :, 1] = [[1 / 3], [-1 / 3]]
    kernel[1, 0, 0, :, 2] = 1 / 3
    model.get_layer("maps").set_weights([kernel])
    model.get_layer("predictions").set_weights([np.array([[1.0, 0], [1, 0], [0, 1]]), np.zeros(2)])
    return model


def blocks(count, seed, moves=True, block=True):
    """A bright block that moves or stays, on a dark ground that flickers a little."""
    random = np.random.default_rng(seed)
    clips = np.empty((count, 6, 10, 10, 3))
    for clip in clips:
        clip[:] = random.uniform(20, 60, (10, 10, 3))
        if block:
            row, column = random.integers(0, 3, 2)
            for t in range(6):
                place = column + t if moves else column
                clip[t, row : row + 5, place % 6 : place % 6 + 4] += 150
        clip += random.normal(0, 3, clip.shape)
    return clips.clip(0, 255).astype("uint8")


def test_a_class_of_motion_prefers_the_moving_concept_and_is_indifferent_to_the_still_one():
    concepts = {"moving": blocks(12, 1), "still": blocks(12, 2, moves=False)}
    random_sets = [blocks(12, seed, block=False) for seed in range(10, 20)]
    by_class = [tcav.score(motion_model(), blocks(5, 3), index, concepts, random_sets) for index in (0, 1)]
    tests = by_class[0].tests["maps"]
    assert tests["moving"].scores.mean == 1
    assert tests["moving"].significant
    assert not tests["still"].significant
    steepness = {name: np.abs(test.scores.derivatives).mean() for name, test in tests.items()}
    assert steepness["still"] < 0.05 * steepness["moving"]
    relative = by_class[0].relative["maps"]
    assert relative["moving"].mean == 1 > relative["still"].mean
    # A class that reads brightness likes both, and of the two the one whose brightness is all it has.
    tests = by_class[1].tests["maps"]
    assert tests["still"].significant
    assert tests["still"].scores.mean == tests["moving"].scores.mean == 1
    assert by_class[1].relative["maps"]["still"].mean == 1


@pytest.fixture(scope="module")
def gru_model():
    keras.utils.set_random_seed(5)
    model = cnn_gru((3, 16, 24, 3), 4, filters=(4, 6, 8), pool_sizes=(2, 2, 2), gru_units=(5, 6), conv3d_filters=5)
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1 and not weight.path.endswith("seed_generator_state"):
            weight.assign(np.abs(weight) + random.uniform(0.1, 1, weight.shape))
    return model


@pytest.fixture(scope="module")
def halves(gru_model):
    """tap -> the model up to it, and from it to what the last layer is given."""
    tensors = {tap: gru_model.get_layer(tap).output for tap in ("relu_2", "conv3d")}
    last = gru_model.get_layer("predictions").input
    return {
        tap: (keras.Function(gru_model.inputs[0], [tensor]), keras.Function(tensor, [last]))
        for tap, tensor in tensors.items()
    }


def direct(model, before, after, clips, class_index, step):
    """Derivatives of the logits of clips as the map of each moves by `step` (t, h, w, c), by a tape."""
    (feature,), head = before(clips), model.get_layer("predictions")
    size = tf.Variable(tf.zeros((len(clips), 1, 1, 1, 1)))
    with tf.GradientTape() as tape:
        moved = tf.reshape(feature, (len(clips), *step.shape)) + size * tf.cast(step, tf.float32)
        (x,) = after(tf.reshape(moved, feature.shape))
        logits = (x @ head.kernel + head.bias)[:, class_index]
    return np.ravel(tape.gradient(logits, size))


@pytest.mark.parametrize("pool", ["mean", "space", "full"])
def test_one_product_gives_the_derivatives_of_a_pass_for_each_cav(gru_model, halves, pool):
    model, names = gru_model, ["relu_2", "conv3d"]  # of a frame, with time folded into the batch, and of a clip
    shapes = {tap.name: tap.shape for tap in taps(model)}
    sets = {name: noise(6, seed, model.input_shape[1:]) for seed, name in enumerate(("a", "b", "c"))}
    clips = noise(4, 9, model.input_shape[1:])
    slopes = tcav.gradients(model, clips, 2, names, pool, batch_size=3)
    seen = {name: tcav.activations(model, each, names, pool, batch_size=4) for name, each in sets.items()}
    for tap in names:
        t, h, w, c = shapes[tap]
        width = {"mean": c, "space": t * c, "full": t * h * w * c}[pool]
        found = cavs({name: each[tap] for name, each in seen.items()})
        directions = np.array([cav.direction for cav in found.values()])
        along = derivatives(slopes[tap], directions)
        assert slopes[tap].shape == (4, width)
        assert seen["a"][tap].shape == (6, width)
        for direction, each in zip(directions, along, strict=True):
            grid = {"mean": (1, 1, 1, c), "space": (t, 1, 1, c), "full": (t, h, w, c)}[pool]
            step = np.broadcast_to(direction.reshape(grid), (t, h, w, c))
            expected = direct(model, *halves[tap], clips, 2, step)
            assert np.abs(expected).max() > 1e-4
            np.testing.assert_allclose(each, expected, atol=2e-3 * np.abs(expected).max())
        # And the activations are those of the layer: their mean does not change with what is pooled.
        (output,) = halves[tap][0](sets["a"])
        mean = np.asarray(output).reshape(6, -1, c).mean(axis=1)
        np.testing.assert_allclose(seen["a"][tap].reshape(6, -1, c).mean(axis=1), mean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "full"])
def test_score_is_made_of_its_parts(gru_model, pool):
    model, names = gru_model, ["relu_2", "conv3d"]
    shape = model.input_shape[1:]
    concepts = {name: noise(7, seed, shape) // np.uint8(1 + seed % 2) for seed, name in enumerate("abc")}
    random_sets = [noise(6, seed, shape) for seed in (20, 21, 22)]
    clips = noise(9, 30, shape)
    classifier, criterion = CavFit(folds=3), Criterion(permutations=499, level=0.4)
    found = tcav.score(model, clips, 1, concepts, random_sets, names, pool, classifier, criterion)
    slopes = tcav.gradients(model, clips, 1, names, pool)
    seen = {name: tcav.activations(model, each, names, pool) for name, each in concepts.items()}
    randoms = [tcav.activations(model, each, names, pool) for each in random_sets]
    for tap in names:
        sets = {name: each[tap] for name, each in seen.items()}
        others = [each[tap] for each in randoms]
        relative = tcav.relative_tcav(sets, slopes[tap], others, classifier)
        hypotheses = Criterion(0.4, 6, permutations=499)
        tests = tcav.significance(sets, slopes[tap], others, classifier, hypotheses)
        for name in relative:
            scores = found.relative[tap][name]
            np.testing.assert_allclose(scores.derivatives, relative[name].derivatives, rtol=1e-3, atol=1e-7)
            np.testing.assert_array_equal(scores.sign_counts, relative[name].sign_counts)
        for name in tests:
            assert found.tests[tap][name].permutation == pytest.approx(tests[name].permutation, abs=0.005)
            assert found.tests[tap][name].t_test == pytest.approx(tests[name].t_test)
            np.testing.assert_array_equal(found.tests[tap][name].scores.sign_counts, tests[name].scores.sign_counts)


def test_every_clip_passes_once(monkeypatch):
    seen = {"forward": 0, "backward": 0}
    for kind, name in (("forward", "features"), ("backward", "evidence")):
        run = getattr(tcav, name)

        def counted(model, clips, *arguments, kind=kind, run=run):
            seen[kind] += len(clips)
            return run(model, clips, *arguments)

        monkeypatch.setattr(tcav, name, counted)
    concepts, random_sets = colours()
    mixed = np.concatenate([random_sets[0][:5], random_sets[1][3:], concepts["red"][:2], random_sets[0][:1]])
    once = tcav.score(colour_model(), tinted(6, 0, 50), 0, concepts, [*random_sets, mixed], ["colours", "again"])
    assert seen == {"forward": 3 * 10 + 10 * 10, "backward": 6}
    assert once.tests["again"]["red"].significant


def test_groups_reach_the_tests():
    concepts, random_sets = colours()
    groups = {name: [i // 2 for i in range(10)] for name in concepts}
    arguments = (colour_model(), tinted(6, 0, 50), 0, concepts, random_sets, ["colours"])
    alone = tcav.score(*arguments, criterion=Criterion(level=0.2))
    grouped = tcav.score(*arguments, criterion=Criterion(level=0.2), groups=groups)
    tests = [found.tests["colours"]["green"] for found in (alone, grouped)]
    assert tests[0].permutation != tests[1].permutation
    assert tests[0].t_test == tests[1].t_test


def test_stages_are_the_default():
    concepts, random_sets = colours(random_sets=2)
    assert tcav.score(colour_model(), tinted(2, 0, 50), 0, concepts, random_sets).taps == ("again",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concepts": {"red": tinted(9, 0, 1)}}, "two or more concepts.*Received: 1 concepts, 2 random sets"),
        ({"random_sets": [noise(9, 0)]}, r"two or more random sets \(the paper has ten\). Received: 2 concepts, 1"),
        (
            {"concepts": {"red": tinted(9, 0, 1), "none": noise(0, 1)}},
            r"set 'none': there is no clip.*\(0, 4, 6, 8, 3\)",
        ),
        ({"concepts": {"red": tinted(9, 0, 1), "few": noise(3, 1)}}, "set 'few': 5-fold.*takes 5 clips.*Received: 3"),
        (
            {"concepts": {"red": tinted(9, 0, 1), "one": noise(1, 1)}, "classifier": CavFit(folds=None)},
            "set 'one': a test takes 2 clips.*Received: 1",
        ),
        (
            {"concepts": {"red": tinted(9, 0, 1), "small": noise(9, 1, (4, 6, 7, 3))}},
            "set 'small': .* takes clips of shape",
        ),
        ({"concepts": {"red": tinted(9, 0, 1), "random 1": noise(9, 1)}}, "a concept called 'random 1'"),
        ({"concepts": {"red": tinted(9, 0, 1), "random": noise(9, 1)}}, "kept for random sets.*'random'"),
        ({"random_sets": [noise(9, 0), noise(4, 0)]}, "set 'random 2': 5-fold.*Received: 4"),
        ({"class_index": 3}, "one class of the model, 0 to 2. Received: 3"),
        ({"class_index": -1}, "0 to 2. Received: -1"),
        ({"class_index": None}, "0 to 2. Received: None"),
        ({"class_index": "tennis"}, "0 to 2. Received: 'tennis'"),
        ({"clips": noise(0, 1)}, "there is no clip to explain"),
        ({"taps": ["colour"]}, r"tap 'colour' is not in the model\. Taps.*: colours, again"),
        ({"pool": "max"}, "pool is one of 'mean', 'space', 'full'. Received: pool='max'"),
        (
            {"pool": "full", "max_gib": 1e-5},
            r"of 38 clips.*tap 'colours' has 576 numbers a clip; pool='mean' keeps.*Received: pool='full'",
        ),
        ({"criterion": Criterion(permutations=9)}, "for 4 hypotheses.*at least 80 permutations"),
    ],
)
def test_wrong_arguments_are_told_before_any_pass(arguments, message, monkeypatch):
    def passed(*_):
        raise AssertionError("a clip passed the model")

    if "clips" not in arguments:
        monkeypatch.setattr(tcav, "features", passed)
        monkeypatch.setattr(tcav, "evidence", passed)
    given = {
        "model": colour_model(),
        "clips": tinted(2, 0, 1),
        "class_index": 0,
        "concepts": {"red": tinted(9, 0, 1), "green": tinted(9, 1, 1)},
        "random_sets": [noise(9, 2), noise(9, 3)],
        "taps": ["colours", "again"],
    }
    with pytest.raises(ValueError, match=message):
        tcav.score(**{**given, **arguments})
