import keras
import numpy as np
import pytest
from hand_networks import two_convolutions

from har_tf.explain import by_method, scorecam

# What pytorch-grad-cam 1.5.7 gives of the most probable class of the image.
OF_IMAGE = [
    [6.30965, 3.10366, 4.8788, 2.67436],
    [0.16717, 3.26262, 0.79239, 2.82834],
    [0.08783, 3.72196, 2.06395, 2.88034],
    [0.09262, 3.30069, 3.21935, 3.01606],
    [0.21799, 0.1698, 0.48437, 5.05823],
]
CLIP, WEIGHTS = np.zeros((1, 2, 1, 2, 2), "float32"), np.zeros((2, 1, 2, 2))  # right half of the frames: nothing
CLIP[0, :, 0, 0], WEIGHTS[:, 0, 0] = [[10, 0], [0, 20]], [[0.1, 0.3], [0.2, -0.05]]  # a colour a frame


def two_colours(weights):
    """The logit of class 1 is the weighted sum of what a convolution leaves as it is."""
    clip = keras.Input(weights.shape, name="clip")
    convolution = keras.layers.Conv3D if weights.ndim == 4 else keras.layers.Conv2D
    x = convolution(2, 1, use_bias=False, name="conv")(clip)
    x = keras.layers.Dense(2, "softmax", use_bias=False, name="predictions")(keras.layers.Flatten()(x))
    model = keras.Model(clip, x)
    model.get_layer("conv").set_weights([np.eye(2).reshape((1,) * (weights.ndim - 1) + (2, 2))])
    model.get_layer("predictions").set_weights([np.stack([0 * weights.ravel(), weights.ravel()], axis=1)])
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_map_worked_out_by_hand():
    # Seen through channel 1 only frame 0 is left, logit 0.1 · 10; through channel 2 frame 1, logit -0.05 · 20.
    model, expected = two_colours(WEIGHTS), np.array([10 * sigmoid(1), 20 * sigmoid(-1)])
    found = scorecam(model, CLIP, class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0, :, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.maps[0, :, 0, 0], expected, rtol=1e-5)
    assert (found.settings["passes"], found.settings["tap"], found.cells) == (3, "conv", [(2, 1, 2)])
    shares = np.exp([1, -1]) / np.exp([1, -1]).sum()
    found = scorecam(model, CLIP, class_index=1, weights="softmax", normalize=None)
    np.testing.assert_allclose(found.signed[0, :, 0, 0], shares * [10, 20], rtol=1e-5)
    # Filled with 3 in place of black: 0.1 · 10 + (0.2 - 0.05) · 3, and (0.1 + 0.3) · 3 - 0.05 · 20.
    found = scorecam(model, CLIP, class_index=1, fill=3, normalize=None)
    np.testing.assert_allclose(found.signed[0, :, 0, 0], [10 * sigmoid(1.45), 20 * sigmoid(0.2)], rtol=1e-5)
    # The channel whose values differ most, as 20 and 0 do.
    found = scorecam(model, CLIP, class_index=1, strongest=1, normalize=None)
    np.testing.assert_allclose(found.signed[0, :, 0, 0], [0, 20 * sigmoid(-1)], rtol=1e-5)


def test_an_image_and_a_channel_that_is_the_same_everywhere():
    image = np.array([[[[10.0, 5.0], [0.0, 5.0]]]], "float32")  # (1, 1, 2, 2)
    found = scorecam(two_colours(WEIGHTS[:, 0, 0].reshape(1, 2, 2)), image, class_index=1, normalize=None)
    np.testing.assert_allclose(found.signed[0, 0, 0], [10 * sigmoid(0.1 * 10 + 0.3 * 5), 0], rtol=1e-5)


def test_the_map_of_a_clip_does_not_hang_on_its_neighbours_or_the_batch():
    clips = np.concatenate([CLIP[:, ::-1], CLIP])
    found = by_method(two_colours(WEIGHTS), clips, ["scorecam"], class_index=1, normalize=None, batch_size=3)[""]
    np.testing.assert_allclose(found.signed[1, :, 0, 0], [10 * sigmoid(1), 20 * sigmoid(-1)], rtol=1e-5)


def test_equals_pytorch_grad_cam_on_an_image():
    model, image = two_convolutions(False)
    found = scorecam(model, image, tap="first", weights="softmax")
    np.testing.assert_allclose(found.signed[0, 0], OF_IMAGE, atol=2e-4)


@pytest.mark.parametrize("of_clips", [True, False])
def test_equals_tf_keras_vis(of_clips):
    """Where the feature map has the size of the clip, as tf-keras-vis enlarges from corner to corner."""
    from tf_keras_vis.scorecam import Scorecam
    from tf_keras_vis.utils.scores import CategoricalScore

    model, clip = two_convolutions(of_clips)
    clip = clip / 20  # else one class is certain whatever is seen
    theirs = Scorecam(model)(CategoricalScore([0]), clip, penultimate_layer="first", normalize_cam=False)
    ours = scorecam(model, clip, tap="first", class_index=0, normalize=None)
    np.testing.assert_allclose(ours.maps[0] if of_clips else ours.maps[0, 0], np.asarray(theirs)[0], rtol=2e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strongest": -1}, "strongest is a number of channels, or 0 for all. Received: strongest=-1"),
        ({"weights": "logit"}, "weights is one of 'probability', 'softmax'. Received: weights='logit'"),
        ({"fill": "white"}, "fill is one of "),
        ({"tap": "none"}, "tap 'none' is not in the model"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        scorecam(two_colours(WEIGHTS), CLIP, **options)
