import numpy as np
import pytest
from hand_networks import CHANNELS, GRADIENT, X, two_convolutions, with_gradient

from har_tf.explain import gradcam, hirescam

# What pytorch-grad-cam 1.5.7 gives of the most probable class, frame 1 of the clip and the image.
OF_CLIP = [
    [0, -6.20323, 11.5625, -7.40945],
    [0.64712, 8.34501, 7.16723, -4.69876],
    [-7.90854, 1.23247, 9.18573, -11.6826],
    [10.0731, -8.98586, -7.07426, 9.44819],
    [-8.64657, 3.72436, 4.32066, -3.60025],
]
OF_IMAGE = [
    [-2.66701, 1.66602, 8.2167, -1.03649],
    [-2.64587, 2.68374, 0.45671, 1.77443],
    [-2.55215, 5.91053, 4.71979, -1.55767],
    [2.95702, -4.46244, 1.4765, -1.97303],
    [0.32498, -0.40413, 1.65548, -2.73366],
]


def test_map_worked_out_by_hand():
    # Frame 0: X; frame 1: -X, and in the corner 4 · 3 more.
    expected = [[[1, 2], [3, 4]], [[11, -1], [-2, 0]]]
    found = hirescam(with_gradient(GRADIENT, CHANNELS), X[None, ..., None], class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0], expected, atol=1e-5)
    np.testing.assert_allclose(found.maps[0], np.maximum(expected, 0), atol=1e-5)
    assert found.score[0] == pytest.approx(np.sum(expected), abs=1e-5)  # as only a linear layer follows
    assert found.settings["tap"] == "conv"


def test_an_image_is_a_clip_of_one_frame_and_the_negated_gradient_turns_the_sign():
    model, image = with_gradient(GRADIENT[1], CHANNELS), X[1:, ..., None]
    found = hirescam(model, image, class_index=1, counterfactual=True)
    np.testing.assert_allclose(found.signed[0, 0], [[-11, 1], [2, 0]], atol=1e-5)
    np.testing.assert_allclose(found.maps[0, 0], [[0, 0.5], [1, 0]], atol=1e-6)


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_pytorch_grad_cam(of_clips):
    model, clip = two_convolutions(of_clips)
    found = hirescam(model, clip, tap="first")
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, atol=2e-4)
    assert not np.allclose(found.maps, gradcam(model, clip, tap="first").maps, atol=0.1)
