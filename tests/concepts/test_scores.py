import json

import numpy as np
import pytest

from har_tf.concepts.cav import CavFit
from har_tf.concepts.scores import derivatives, magnitude, relative_tcav, sign_count


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_scores_worked_out_by_hand():
    gradients = np.array([[1.0, 0], [2, 0], [-1, 5], [0, 3]])
    along = derivatives(gradients, [[1, 0], [-1, 0], [0, 1]])
    np.testing.assert_array_equal(along, [[1, 2, -1, 0], [-1, -2, 1, 0], [0, 0, 5, 3]])
    # The derivative of zero is half a vote: (2 + 1/2) / 4.
    np.testing.assert_array_equal(sign_count(along), [0.625, 0.375, 0.75])
    np.testing.assert_array_equal(magnitude(along), [3 / 4, 1 / 4, 1])
    assert sign_count(np.zeros(3)) == magnitude(np.zeros(3)) == 0.5


def test_concepts_that_share_something_are_told_apart_by_what_they_do_not_share():
    axes = 6 * np.eye(8)
    concepts = {"moving": normal(20, 8) + axes[0] + axes[1], "frozen": normal(20, 8, seed=1) + axes[0]}
    random_sets = [normal(20, 8, seed=i) for i in (2, 3, 4)]
    reads_motion = np.tile(axes[1], (5, 1)) + 0.1 * normal(5, 8, seed=9)
    found = relative_tcav(concepts, reads_motion, random_sets)
    assert list(found) == ["moving", "frozen", "random"]
    assert found["moving"].sign_counts.tolist() == [1, 1, 1]
    assert found["frozen"].sign_counts.tolist() == [0, 0, 0]
    assert (found["moving"].mean, found["moving"].deviation) == (1, 0)
    assert found["moving"].accuracy > 0.98
    assert (found["moving"].clips, found["moving"].class_clips) == (20, 5)
    assert found["moving"].derivatives.min() > 3
    json.dumps({name: each.as_dict() for name, each in found.items()}, allow_nan=False)
    alone = relative_tcav(concepts, reads_motion, classifier=CavFit(folds=None))
    assert list(alone) == ["moving", "frozen"]
    assert (alone["frozen"].mean, alone["frozen"].deviation, alone["frozen"].accuracy) == (0, None, None)


def test_groups_of_concepts_and_random_sets_reach_the_cross_validation():
    videos = np.repeat(normal(24, 60), 4, axis=0) + 0.01 * normal(96, 60, seed=1)
    concepts, random = {"a": videos[:32], "b": videos[32:64]}, videos[64:]
    sources = np.repeat(np.arange(8), 4)
    gradients = normal(3, 60)
    naive = relative_tcav(concepts, gradients, [random])
    grouped = relative_tcav(concepts, gradients, [random], None, dict.fromkeys("ab", sources), [sources])
    assert naive["a"].accuracy > 0.95
    assert grouped["a"].accuracy < 0.75
    np.testing.assert_array_equal(naive["a"].sign_counts, grouped["a"].sign_counts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concepts": {"a": normal(9, 3)}}, r"at least two are needed.*significance\(\). Received: a"),
        ({"concepts": {}}, "Received: none"),
        ({"concepts": {"a": normal(9, 3), "random": normal(9, 3)}}, "a concept called 'random'"),
        ({"concepts": {"a": normal(9, 3), "random 1": normal(9, 3)}}, "a concept called 'random 1'"),
        ({"concepts": {"a": normal(9, 3), "b": normal(0, 3)}}, "set 'b' must hold"),
        ({"random_sets": [normal(9, 4)]}, "'random 1': 4"),
        ({"random_groups": [[1], [2]]}, "one sequence a random set, 1. Received: 2"),
        ({"gradients": normal(4, 2)}, r"gradients are \(M, 3\).*\(4, 2\)"),
        ({"gradients": normal(0, 3)}, r"one clip of the class or more.*\(0, 3\)"),
        ({"gradients": np.full((4, 3), np.inf)}, "finite"),
    ],
)
def test_wrong_arguments(arguments, message):
    given = {
        "concepts": {"a": normal(9, 3), "b": normal(9, 3)},
        "gradients": normal(4, 3),
        "random_sets": [normal(9, 3)],
    }
    with pytest.raises(ValueError, match=message):
        relative_tcav(**{**given, **arguments})
