import numpy as np
import pytest
from hand_networks import CHANNELS, GRADIENT, X, two_convolutions, with_gradient

from har_tf.explain import gradcam_plus_plus

# What pytorch-grad-cam 1.5.7 gives of the most probable class, frame 1 of the clip and the image.
OF_CLIP = [
    [1.62011, 2.07892, 2.46618, 3.66309],
    [0.87494, 0.77352, 0.79732, 1.50154],
    [0.90596, 0.74325, 0.79549, 1.43671],
    [0.94244, 0.71766, 0.77488, 1.37725],
    [0.96615, 1.18139, 1.07997, 1.74945],
]
OF_IMAGE = [
    [2.19425, 0.60725, 0.95456, 0.52325],
    [1.62728, 1.35757, 0.81807, 0.66129],
    [1.78295, 1.43321, 1.00352, 0.61367],
    [1.82151, 1.21624, 1.34633, 0.64302],
    [3.46581, 2.89666, 1.58157, 2.0658],
]

CLIP = X[None, ..., None]


def test_map_worked_out_by_hand():
    # Channel 1 sums up to 14 and has a gradient of 1 at four cells: 4 · 1 / (2 + 14) = 1/4; channel 2, whose values are
    # three times as large, one of 4: 4 / (2 + 42 · 4) = 2/85.
    found = gradcam_plus_plus(with_gradient(GRADIENT, CHANNELS), CLIP, class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0], (1 / 4 + 3 * 2 / 85) * X, rtol=1e-5)
    # Against: -1 at four other cells of channel 1, nothing of channel 2.
    model = with_gradient(GRADIENT, CHANNELS)
    against = gradcam_plus_plus(model, CLIP, class_index=1, counterfactual=True, normalize=None)
    np.testing.assert_allclose(against.signed[0], X / 4, rtol=1e-5)


def test_each_frame_may_have_weights_of_its_own():
    # Frame 0 sums up to 10, 4 · 1 / (2 + 10); frame 1, of channel 2 to 12, 4 / (2 + 12 · 4).
    found = gradcam_plus_plus(with_gradient(GRADIENT, CHANNELS), CLIP, class_index=1, pool="spatial", normalize=None)
    np.testing.assert_allclose(found.signed[0], [X[0] / 3, 3 * 0.08 * X[1]], rtol=1e-5)
    image = gradcam_plus_plus(with_gradient(GRADIENT[1], CHANNELS), CLIP[:, 1], class_index=1, normalize=None)
    np.testing.assert_allclose(image.signed[0, 0], 3 * 0.08 * X[1], rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_tiny_and_huge_gradients(factor):
    """The paper's form, a quotient of squares and cubes, would be 0 / 0 or infinite; this is its limit."""
    found = gradcam_plus_plus(with_gradient(factor * GRADIENT, CHANNELS), CLIP, class_index=1, normalize=None)
    weights = (4 / 2 + 3 * 4 / 2) * 1e-12 if factor < 1 else 4 / 14 + 3 / 42
    np.testing.assert_allclose(found.signed[0], weights * X, rtol=1e-4)


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_pytorch_grad_cam(of_clips):
    found = gradcam_plus_plus(*two_convolutions(of_clips), tap="first")
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, rtol=1e-3)
