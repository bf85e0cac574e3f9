import numpy as np
import pytest
from hand_networks import two_convolutions, weighing

from har_tf.explain import by_method, gradient

# What Captum 0.9 gives of the most probable class, the larger of both channels, frame 1 of the clip and the image.
OF_CLIP = [
    [5.53763, 2.03334, 0.72452, 4.67016],
    [1.85139, 4.41153, 4.99526, 2.36049],
    [2.45636, 6.32857, 6.01713, 5.19076],
    [4.18342, 3.75206, 3.00877, 2.71924],
    [1.67495, 2.17137, 0.83779, 0.75402],
]
OF_IMAGE = [
    [1.95936, 3.94646, 3.42026, 2.53539],
    [0.59111, 2.20583, 1.53468, 2.73205],
    [2.32939, 1.7026, 2.98955, 2.8554],
    [3.15036, 1.98546, 0.95516, 0.74175],
    [3.45351, 1.30434, 1.75236, 1.94839],
]

WEIGHTS = np.array([[[[1.0, -2.0], [0.5, 0.25]]], [[[-1.0, 0.0], [0.0, 4.0]]]])  # (2, 1, 2, 2)
CLIP = np.full((1, 2, 1, 2, 2), 7, "uint8")


def test_worked_out_by_hand():
    found = gradient(weighing(WEIGHTS), CLIP, class_index=1)
    np.testing.assert_allclose(found.signed[0], [[[2, 0.5]], [[1, 4]]])
    np.testing.assert_allclose(found.maps[0], [[[0.5, 0.125]], [[0.25, 1]]])
    both = gradient(weighing(WEIGHTS), CLIP, class_index=1, colours="sum", normalize="frame")
    np.testing.assert_allclose(both.maps[0], [[[1, 0.25]], [[0.25, 1]]])
    image = gradient(weighing(WEIGHTS[1]), CLIP[:, 1], class_index=1)
    np.testing.assert_allclose(image.signed[0], [[[1, 4]]])
    assert found.grain


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_captum_and_tf_keras_vis(of_clips):
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.scores import CategoricalScore

    model, clip = two_convolutions(of_clips)
    found = gradient(model, clip)
    np.testing.assert_allclose(found.signed[0, int(of_clips)], OF_CLIP if of_clips else OF_IMAGE, atol=2e-4)
    score = CategoricalScore(found.class_index.tolist())
    theirs = np.asarray(Saliency(model)(score, clip, normalize_map=False))[0]
    np.testing.assert_allclose(found.signed[0] if of_clips else found.signed[0, 0], theirs, rtol=1e-4)


def test_what_has_no_sign_speaks_not_against_a_class():
    with pytest.raises(ValueError, match="against a class is not defined for gradient, smoothgrad. Received: counter"):
        by_method(weighing(WEIGHTS), CLIP, ["gradient", "gradcam", "smoothgrad"], counterfactual=True)
    with pytest.raises(ValueError, match="colours is one of 'max', 'sum'. Received: colours='mean'"):
        gradient(weighing(WEIGHTS), CLIP, colours="mean")
