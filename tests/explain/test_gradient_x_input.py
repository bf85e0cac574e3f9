import numpy as np
import pytest
from hand_networks import two_convolutions, weighing

from har_tf.explain import gradient_x_input

# What Captum 0.9 gives of the most probable class, frame 1 of the clip and the image.
OF_CLIP = [
    [-5.41609, -4.5559, -0.3909, -28.8055],
    [8.98512, 2.33265, -23.8744, 25.5339],
    [10.2541, -3.14381, 2.00598, -21.0796],
    [4.6381, 12.31, 2.68811, 13.5898],
    [-7.03012, 4.8012, -0.99867, -1.03954],
]
OF_IMAGE = [
    [-4.59262, 21.8871, -4.59326, 1.93966],
    [-5.67862, -7.53171, 8.49489, 1.56489],
    [-0.53523, -10.4794, 6.86618, 5.04489],
    [9.68041, -2.90011, -9.54066, -4.35681],
    [-2.0309, 0.24316, 7.48338, 0.98918],
]

WEIGHTS = np.array([[[[1.0, 2.0], [0.5, -2.0]]], [[[-1.0, 0.0], [0.0, 0.25]]]]) / 100  # (2, 1, 2, 2)
CLIP = np.array([[[[10, 20], [40, 5]]], [[[200, 255], [7, 80]]]], "uint8")
# 10 · 1 + 20 · 2, 40 / 2 - 5 · 2, -200, 80 / 4, each by 100.
EXPECTED = np.array([[[0.5, 0.1]], [[-2.0, 0.2]]])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_worked_out_by_hand(dtype):
    found = gradient_x_input(weighing(WEIGHTS, dtype), CLIP[None], class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0], EXPECTED, atol=1e-6)
    np.testing.assert_allclose(found.maps[0], np.maximum(EXPECTED, 0), atol=1e-6)
    assert found.score[0] == pytest.approx(EXPECTED.sum(), abs=1e-5)  # of a linear network it is all of the logit
    against = gradient_x_input(weighing(WEIGHTS, dtype), CLIP[None], class_index=1, counterfactual=True)
    np.testing.assert_allclose(against.maps[0], [[[0, 0]], [[1, 0]]], atol=1e-6)


def test_an_image_is_a_clip_of_one_frame_and_the_scaling_counts():
    model = weighing(WEIGHTS[0], scale=1 / 255)
    found = gradient_x_input(model, CLIP[:1], class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0], EXPECTED[:1] / 255, atol=1e-8)
    other = gradient_x_input(model, CLIP[:1], class_index=0)
    assert other.empty[0] and other.class_index[0] == 0  # its logit is always 0


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_captum(of_clips):
    found = gradient_x_input(*two_convolutions(of_clips))
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, atol=5e-4)
