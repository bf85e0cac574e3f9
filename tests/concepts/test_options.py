"""Options of a study, and the network that is built of them."""

import numpy as np
import pytest

from har_tf.concepts.options import Concepts, SmallSwin
from har_tf.models.taps import stages


def test_a_small_swin_starts_from_weights_of_its_seed_and_glorots_spread():
    small = SmallSwin(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), patch=(2, 4, 4))
    first, again, other = (small.build((4, 32, 48, 3), 3, start_seed=seed) for seed in (0, 0, 1))
    assert [tap.name for tap in stages(first)] == ["layer1", "layer2", "layer3", "layer4"]
    kernels = [
        np.concatenate([w.numpy().ravel() for w in model.trainable_weights if w.name == "kernel" and w.ndim == 2])
        for model in (first, again, other)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()
    assert kernels[0].std() > 0.1, "the published deviation is 0.02"


def test_options_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="--detector and --labels, .* go together"):
        Concepts(detector="boxes.json").check(tracked=True)
    with pytest.raises(ValueError, match="--concept-clips must be at least --folds, 5. Received: 4"):
        Concepts(concept_clips=4).check(tracked=True)
    Concepts().check(tracked=True)
