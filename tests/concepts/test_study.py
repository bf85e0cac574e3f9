"""Sets that are too small."""

import numpy as np
import pytest

from har_tf.concepts.cav import CavFit
from har_tf.concepts.clip_sets import ClipSet, ConceptSets
from har_tf.concepts.study import check_sizes


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
