"""Sets that are too small, and layers whose gradient tells nothing of the clips."""

import numpy as np
import pytest

from har_tf.concepts.cav import CavFit
from har_tf.concepts.clip_sets import ClipSet, ConceptSets
from har_tf.concepts.study import Study, check_sizes


def drawn(count, seed):
    clips = np.random.default_rng(seed).integers(0, 256, (count, 2, 4, 4, 3), dtype=np.uint8)
    return ClipSet(clips, tuple(f"{seed}.{i}" for i in range(count)))


@pytest.mark.parametrize(
    ("count", "level", "message"),
    [
        (4, 0.05, "5-fold cross-validation takes at least 5"),
        (6, 1e-6, "permutation test of concept 'ball' takes more clips"),
    ],
)
def test_sets_that_are_too_small_are_named_without_a_model(count, level, message):
    concepts = {"ball": drawn(count, 1), "limb": drawn(count, 2)}
    randoms = [drawn(count, seed) for seed in (3, 4, 5)]
    sets = ConceptSets({"dynamic": concepts}, {"dynamic": randoms}, {"static": "none"}, {})
    check_sizes(sets, drawn(3, 6), ["layer1", "layer2"], CavFit(folds=2), 0.3)
    with pytest.raises(ValueError, match=message):
        check_sizes(sets, drawn(3, 6), ["layer1", "layer2"], CavFit(folds=5), level)


@pytest.mark.parametrize("folds", [2, None])
def test_the_papers_criterion_measures_sets_that_the_permutation_test_cannot(folds):
    concepts = {"ball": drawn(2, 1), "limb": drawn(2, 2)}
    sets = ConceptSets({"dynamic": concepts}, {"dynamic": [drawn(2, s) for s in (3, 4, 5)]}, {"static": "none"}, {})
    with pytest.raises(ValueError, match="permutation test of concept 'ball' takes more clips"):
        check_sizes(sets, drawn(2, 6), ["layer1"], CavFit(folds=folds), 0.05)
    check_sizes(sets, drawn(2, 6), ["layer1"], CavFit(folds=folds), 0.05, "t-test")
    tested = Study(Bank(), CavFit(folds=folds), 0.05, 0, "t-test").figures(sets, drawn(5, 6), 0)["tests"]["dynamic"]
    assert {(row["criterion"], row["by_both"]) for found in tested.values() for row in found.values()} == {
        ("t-test", None)
    }


class Bank:
    """Random activations; at the last tap every clip of the class has one gradient."""

    taps = ("early", "middle", "last")

    def activations(self, clips):
        return dict.fromkeys(self.taps, clips.reshape(len(clips), -1)[:, :4].astype(float))

    def gradients(self, clips, class_index):
        slopes = np.random.default_rng(0).normal(size=(len(clips), 4))
        return {"early": slopes, "middle": slopes, "last": np.repeat(slopes[:1], len(clips), axis=0)}


def test_changes_are_told_up_to_the_last_layer_where_clips_differ():
    concepts = {"ball": drawn(6, 1), "limb": drawn(6, 2)}
    sets = ConceptSets({"dynamic": concepts}, {"dynamic": [drawn(6, s) for s in (3, 4, 5)]}, {"static": "none"}, {})
    found = Study(Bank(), CavFit(folds=2), 0.3, resamples=0).figures(sets, drawn(5, 6), 0)
    assert found["same_gradient"] == ["last"]
    assert {tuple(change["between"]) for change in found["changes"]} == {("early", "middle")}
    assert all((2 * found["figures"]["8"]["last"][name]["score"]).is_integer() for name in ("ball", "limb"))
