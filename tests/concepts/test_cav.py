import numpy as np
import pytest
from sklearn.linear_model import Ridge

from har_tf.concepts.cav import KINDS, CavFit, cavs, in_span


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def two_sides(first, second):
    return np.concatenate([first, second]), np.arange(len(first) + len(second)) < len(first)


def test_plane_worked_out_by_hand():
    # Sides of means (1, 0) and (-1, 0), both spread by (0.5, 1) and (-0.5, -1) about them. The covariance of all is
    # [[1 + 1/4, 1/2], [1/2, 1]], so without a penalty the plane's normal is its inverse times (1, 0): (1, -1/2).
    x, inside = two_sides([[1.5, 1], [0.5, -1]], [[-0.5, 1], [-1.5, -1]])
    direction, threshold = CavFit(l2=1e-9).plane(x, inside)
    np.testing.assert_allclose(direction, np.array([1, -0.5]) / np.hypot(1, 0.5), atol=1e-6)
    assert threshold == pytest.approx(0, abs=1e-9)
    # With a large one it is the difference of the means.
    np.testing.assert_allclose(CavFit(l2=1e6).plane(x, inside)[0], [1, 0], atol=1e-5)


@pytest.mark.parametrize("width", [5, 90])
def test_ridge_is_scikit_learns(width):
    x, inside = two_sides(normal(20, width) + 0.5, 3 * normal(50, width, seed=1))
    direction, threshold = CavFit(l2=0.03).plane(x, inside)
    weights = np.where(inside, 0.5 / 20, 0.5 / 50)
    scale = np.sqrt(weights @ ((x - weights @ x) ** 2).sum(axis=1))
    reference = Ridge(alpha=0.03).fit(x / scale, np.where(inside, 1, -1), sample_weight=weights)
    length = np.linalg.norm(reference.coef_)
    np.testing.assert_allclose(direction, reference.coef_ / length, atol=1e-9)
    assert threshold == pytest.approx(-reference.intercept_ / length * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_points_to_the_concept_and_parts_the_sides(kind):
    towards = np.array([3.0, 0, 0, -4]) / 5
    x, inside = two_sides(normal(40, 4) + 8 * towards + 100, normal(10, 4, seed=1) + 100)
    classifier = CavFit(kind)
    direction, threshold = classifier.plane(x, inside)
    assert np.linalg.norm(direction) == pytest.approx(1)
    assert direction @ towards > 0.9
    assert ((x @ direction > threshold) == inside).all()
    assert classifier.accuracy(x, inside) == 1
    opposite, _ = classifier.plane(x, ~inside)
    np.testing.assert_allclose(opposite, -direction, atol=1e-3)
    np.testing.assert_array_equal(classifier.plane(x, inside)[0], direction)
    # What is alike but a million times smaller has the same plane.
    np.testing.assert_allclose(classifier.plane(1e-6 * x, inside)[0], direction, atol=1e-3)


def test_accuracy_is_at_chance_where_there_is_nothing_to_tell_whatever_the_sizes():
    found = [CavFit(seed=i).accuracy(*two_sides(normal(60, 8, seed=i), normal(20, 8, seed=i + 50))) for i in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_clips_of_one_video_are_not_on_both_sides_of_a_division():
    # Four nearly equal clips of each of 16 videos, in a space so wide that every video is told from all others.
    videos = np.repeat(normal(16, 40), 4, axis=0) + 0.01 * normal(64, 40, seed=1)
    groups, inside = np.repeat(np.arange(16), 4), np.repeat(np.arange(16) % 2 == 0, 4)
    classifier = CavFit(folds=4)
    assert classifier.accuracy(videos, inside) == 1
    assert classifier.accuracy(videos, inside, groups) < 0.75
    sets = {"a": videos[inside], "b": videos[~inside]}
    of_clips = {"a": groups[inside], "b": groups[~inside]}
    assert cavs(sets, classifier, of_clips)["a"].accuracy == cavs(sets, classifier, of_clips)["b"].accuracy < 0.75


def test_one_against_the_rest():
    sets = {name: normal(20, 6, seed=i) + 9 * np.eye(6)[i] for i, name in enumerate("abc")}
    found = cavs(sets)
    assert list(found) == ["a", "b", "c"]
    for i, name in enumerate("abc"):
        cav = found[name]
        assert cav.direction[i] > 0.7
        assert cav.accuracy == 1
        along = [(each @ cav.direction > cav.threshold).mean() for each in sets.values()]
        assert along == [float(other == name) for other in "abc"]
    pair = cavs({"a": sets["a"], "b": sets["b"]}, CavFit(folds=None))
    np.testing.assert_allclose(pair["a"].direction, -pair["b"].direction, atol=1e-12)
    assert pair["a"].accuracy is None


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_tell_is_no_direction(kind):
    same = normal(10, 4)
    for sets in ({"a": same, "b": same}, {"a": np.ones((10, 4)), "b": np.ones((12, 4))}):
        found = cavs(sets, CavFit(kind if sets["b"] is not same else "ridge"))["a"]
        assert not found.direction.any()
        assert found.accuracy <= 0.5


def test_planes_and_derivatives_are_the_same_in_the_span():
    sets = [normal(7, 500).astype("float32") + 30, normal(9, 500, seed=1).astype("float32") + 30]
    gradients = normal(4, 500, seed=2).astype("float32")
    narrow, along = in_span(sets, gradients)
    assert narrow[0].shape[1] == along.shape[1] <= 16
    direction, _ = CavFit().plane(*two_sides(*sets))
    in_few, _ = CavFit().plane(*two_sides(*narrow))
    np.testing.assert_allclose(gradients @ direction, along @ in_few, atol=1e-6)
    # Enough clips: as they are.
    assert in_span([normal(9, 8)], normal(2, 8))[0][0].shape == (9, 8)


def test_the_span_is_gone_through_in_parts(monkeypatch):
    sets, gradients = [normal(5, 300)], normal(2, 300, seed=1)
    whole = in_span(sets, gradients)
    monkeypatch.setattr("har_tf.concepts.cav._COLUMNS", 128)
    parts = in_span(sets, gradients)
    np.testing.assert_allclose(np.abs(parts[0][0]), np.abs(whole[0][0]), atol=1e-9)
    np.testing.assert_allclose(np.abs(parts[1]), np.abs(whole[1]), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cavs({"a": normal(9, 3)}), "at least two sets are needed.*Received: a"),
        (lambda: cavs({}), "Received: none"),
        (lambda: cavs({"a": normal(9, 3), "b": normal(0, 3)}), r"set 'b' must hold activations.*\(0, 3\)"),
        (lambda: cavs({"a": normal(9, 3), "b": normal(9, 3, 3)}), r"set 'b' must hold.*\(9, 3, 3\)"),
        (lambda: cavs({"a": normal(9, 3), "b": normal(9, 4)}), "one width. Received: {'a': 3, 'b': 4}"),
        (lambda: cavs({"a": normal(9, 3), "b": np.full((9, 3), np.nan)}), "set 'b' holds.*not finite"),
        (lambda: cavs({"a": normal(4, 3), "b": normal(9, 3)}), "concept 'a'.*5-fold.*at least 5 clips.*Received: 4"),
        (
            lambda: cavs({"a": normal(9, 3), "b": normal(9, 3)}, groups={"b": [1, 1, 1, 2, 2, 2, 3, 3, 3]}),
            "at least 5 sources of clips.*Received: 3",
        ),
        (lambda: cavs({"a": normal(9, 3), "b": normal(9, 3)}, groups={"a": [1]}), "as many groups. Received: 1"),
        (lambda: cavs({"a": normal(9, 3), "b": normal(9, 3)}, groups={"c": [1]}), "Received: groups of c"),
        (lambda: CavFit("tree"), "kind is one of 'ridge', 'logistic', 'svm'. Received: 'tree'"),
        (lambda: CavFit(l2=0), "l2 is a positive number"),
        (lambda: CavFit(folds=1), "folds is None, or 2 or more"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
