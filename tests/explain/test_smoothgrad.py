import numpy as np
import pytest
from hand_networks import two_convolutions, weighing
from keras import ops

from har_tf.explain import gradient, smoothgrad

WEIGHTS = np.array([[[[1.0, -2.0], [0.5, 0.25]]], [[[-1.0, 0.0], [0.0, 4.0]]]]) / 10  # (2, 1, 2, 2)
CLIPS = np.random.default_rng(0).integers(0, 200, (2, 2, 1, 2, 2)).astype("uint8")


def test_worked_out_by_hand():
    """The logit is the square of the sum: the mean gradient is that at the mean of the noisy copies."""
    found = smoothgrad(weighing(WEIGHTS, bent=ops.square), CLIPS, class_index=1, samples=3, noise=0.5, seed=4)
    noise = [np.random.default_rng((4, number)).standard_normal((2, 1, 2, 2), "float32") for number in range(3)]
    for clip, signed in zip(CLIPS.astype("float32"), found.signed, strict=True):
        mean = clip + 0.5 * np.ptp(clip) * np.mean(noise, axis=0)
        expected = np.abs(2 * (WEIGHTS * mean).sum() * WEIGHTS).max(axis=-1)
        np.testing.assert_allclose(signed, expected, rtol=1e-4)
    assert found.settings["seed"] == 4 and found.grain


def test_without_noise_it_is_the_gradient_and_a_seed_makes_it_the_same_again():
    model, clip = two_convolutions(True)
    still = smoothgrad(model, clip, samples=2, noise=0, colours="sum")
    np.testing.assert_allclose(still.maps, gradient(model, clip, colours="sum").maps, rtol=1e-4)
    first, again, other = (smoothgrad(model, clip, samples=2, seed=seed).maps for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_clip_is_explained_as_if_alone_and_so_is_an_image():
    model, image = two_convolutions(False)
    images = np.concatenate([image / 2, image])
    found = smoothgrad(model, images, class_index=1, samples=3, batch_size=4)
    alone = smoothgrad(model, image, class_index=1, samples=3)
    np.testing.assert_allclose(found.maps[1], alone.maps[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [{"samples": 0}, {"noise": -0.1}])
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match="samples are at least 1, and noise is not negative. Received: samples="):
        smoothgrad(weighing(WEIGHTS), CLIPS, **options)
