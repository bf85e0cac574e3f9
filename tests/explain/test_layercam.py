import numpy as np
import pytest
from hand_networks import CHANNELS, GRADIENT, X, two_convolutions, with_gradient

from har_tf.explain import layercam

# What pytorch-grad-cam 1.5.7 gives of the most probable class, frame 1 of the clip and the image.
OF_CLIP = [
    [0, 8.76035, 14.3267, 10.1533],
    [1.79883, 9.02679, 21.0535, 6.80599],
    [0, 12.3585, 20.8357, 3.10402],
    [13.4726, 5.29544, 0, 15.7364],
    [0, 3.72436, 5.69768, 2.07076],
]
OF_IMAGE = [
    [3.7885, 1.66602, 8.2167, 0],
    [0.3916, 4.05949, 1.34324, 2.8277],
    [0.66023, 5.91053, 9.31387, 0.03029],
    [4.56335, 1.90214, 8.25611, 0.50616],
    [1.68172, 4.64453, 2.08613, 3.63415],
]


def test_map_worked_out_by_hand():
    # Frame 0: X; frame 1: in the corner 4 · 3, as the other channel's gradient is negative there.
    model, clip = with_gradient(GRADIENT, CHANNELS), X[None, ..., None]
    found = layercam(model, clip, class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0], [[[1, 2], [3, 4]], [[12, 0], [0, 0]]], atol=1e-5)
    # Not the same with another sign: the positive part of the negated gradient is 1 in frame 1.
    against = layercam(model, clip, class_index=1, normalize=None, counterfactual=True)
    np.testing.assert_allclose(against.signed[0], [[[0, 0], [0, 0]], X[1]], atol=1e-5)


def test_an_image_is_a_clip_of_one_frame():
    found = layercam(with_gradient(GRADIENT[1], CHANNELS), X[1:, ..., None], class_index=1)
    np.testing.assert_allclose(found.maps[0, 0], [[1, 0], [0, 0]], atol=1e-6)


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_pytorch_grad_cam(of_clips):
    found = layercam(*two_convolutions(of_clips), tap="first")
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, atol=2e-4)
