import numpy as np
import pytest
from hand_networks import two_convolutions, weighing
from keras import ops

from har_tf.explain import integrated_gradients
from har_tf.explain.fills import filled

# What Captum 0.9 gives with 16 steps (riemann_middle) of the most probable class, frame 1 of the clip and the image.
OF_CLIP = [
    [-4.54835, -5.95878, 2.45127, -29.4313],
    [1.32014, 1.77416, -22.6702, 21.9141],
    [21.9056, -2.96209, 3.33955, -21.6205],
    [-10.7282, 16.8043, 4.82301, 12.9582],
    [0.25058, -1.7001, 2.04177, 0.68613],
]
OF_IMAGE = [
    [1.78449, 18.2701, -3.69562, 1.86335],
    [-4.64074, -5.47496, 5.03523, 0.75672],
    [-1.15546, -3.54651, 3.71452, 2.26073],
    [6.09865, -5.65361, -0.38586, -2.45017],
    [-1.39331, 0.52645, 0.24462, 0.91684],
]

WEIGHTS = np.array([[[[1.0], [2.0]]], [[[-1.0], [0.5]]]]) / 10  # (2, 1, 2, 1)
CLIPS = np.array([[[[10, 20]], [[0, 40]]], [[[30, 0]], [[20, 20]]]], "uint8")[..., None]  # sums 7 and 2


@pytest.mark.parametrize("steps", [1, 5])
def test_worked_out_by_hand(steps):
    """The logit is the square of the sum, whose mean gradient on the way from 0 is the sum times the weight."""
    model = weighing(WEIGHTS, bent=ops.square)
    found = integrated_gradients(model, CLIPS, class_index=1, normalize=None, steps=steps, batch_size=3)
    np.testing.assert_allclose(found.signed[0, :, 0], [[1 * 7, 4 * 7], [0, 2 * 7]], rtol=1e-5)
    np.testing.assert_allclose(found.signed[1, :, 0], [[3 * 2, 0], [-2 * 2, 1 * 2]], rtol=1e-5)
    np.testing.assert_allclose(found.maps[1, :, 0], [[6, 0], [0, 2]], rtol=1e-5)
    against = integrated_gradients(model, CLIPS, class_index=1, steps=steps, counterfactual=True)
    np.testing.assert_allclose(against.maps[1, :, 0], [[0, 0], [1, 0]], rtol=1e-5)
    # From the mean colour, 17.5 in both clips: of it the sum is 17.5 · 0.25.
    mean = integrated_gradients(model, CLIPS, class_index=1, steps=steps, fill="mean")
    np.testing.assert_allclose(mean.signed[0, 1, 0, 0], (0 - 17.5) * -0.1 * (7 + 17.5 * 0.25), rtol=1e-5)
    image = integrated_gradients(weighing(WEIGHTS[0], bent=ops.square), CLIPS[:1, 0], class_index=1, steps=steps)
    np.testing.assert_allclose(image.signed[0, 0], [[1 * 5, 4 * 5]], rtol=1e-5)


def test_the_middles_of_steps_come_nearer_the_more_there_are():
    """Of a cube the mean of a^2 at n middles is 1/3 - 1 / (12 n^2)."""
    model = weighing(WEIGHTS, bent=lambda x: x**3)
    for steps in (1, 2, 10):
        found = integrated_gradients(model, CLIPS, class_index=1, steps=steps)
        np.testing.assert_allclose(found.signed.sum(axis=(1, 2, 3)), found.score * (1 - 1 / (4 * steps**2)), rtol=1e-4)


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
@pytest.mark.parametrize("of_clips", [True, False])
def test_all_pixels_sum_up_to_the_change_of_the_logit(of_clips, fill):
    model, clip = two_convolutions(of_clips)
    found = integrated_gradients(model, clip, class_index=2, steps=200, fill=fill)
    baseline = filled(clip if of_clips else clip[:, None], fill)
    changes = (model(clip) - model(baseline if of_clips else baseline[:, 0])).numpy()[:, 2]
    assert abs(changes[0]) > 0.3
    np.testing.assert_allclose(found.signed.sum(axis=(1, 2, 3)), changes, rtol=0.01)


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_captum(of_clips):
    found = integrated_gradients(*two_convolutions(of_clips), steps=16)
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, atol=1e-3)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="steps are at least 1. Received: steps=0"):
        integrated_gradients(weighing(WEIGHTS), CLIPS, steps=0)
