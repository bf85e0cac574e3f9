import gc
import weakref

import keras
import numpy as np
import pytest
from hand_networks import weighing
from keras import layers, ops

from har_tf.explain import by_method
from har_tf.explain.pixel_gradients import pixel_gradients

WEIGHTS = np.array([[[[1.0, 2.0, 0.0]]], [[[-1.0, 0.5, 0.0]]]])  # (2, 1, 1, 3)
CLIPS = np.array([[[[[1, 2, 9]]], [[[3, 4, 9]]]], [[[[2, 0, 9]]], [[[0, 2, 9]]]]], "uint8")  # sums 4 and 3


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_worked_out_by_hand(dtype):
    """The logit of class 1 is (sum / 10)^2, its gradient 2 sum / 10 times weight / 10."""
    found = pixel_gradients(weighing(WEIGHTS, dtype, ops.square, 0.1), CLIPS, [1, 0], batch_size=2)
    np.testing.assert_allclose(found.score, [0.4**2, 0], atol=1e-6)
    np.testing.assert_allclose(found.probability, [1 / (1 + np.exp(-0.16)), 1 / (1 + np.exp(0.09))], atol=1e-6)
    assert (found.score_of, found.class_index.tolist()) == ("logit", [1, 0])
    np.testing.assert_allclose(found.gradient[0], 2 * 0.4 * 0.1 * WEIGHTS, atol=1e-6)
    assert not found.gradient[1].any()  # of class 0
    points = np.stack([CLIPS[0] * 2, CLIPS[1], CLIPS[1]]) + np.float32(0.5)  # between whole numbers
    gradients, score = found.at(points, np.array([0, 1, 1]))
    total = 0.8 + 0.1 * 0.5 * WEIGHTS.sum()
    np.testing.assert_allclose(score, [total**2, 0, 0], atol=1e-5)
    np.testing.assert_allclose(gradients[0], 2 * total * 0.1 * WEIGHTS, atol=1e-5)
    assert not gradients[1:].any()


def test_images_are_clips_of_one_frame():
    found = pixel_gradients(weighing(WEIGHTS[0]), CLIPS[:, 0], 1)
    assert found.clips.shape == (2, 1, 1, 1, 3)
    np.testing.assert_allclose(found.gradient, np.broadcast_to(WEIGHTS[:1], (2, 1, 1, 1, 3)))
    np.testing.assert_allclose(found.score, [5, 2])


def pooling(dtype):
    keras.utils.set_random_seed(0)
    clip = keras.Input((4, 8, 8, 3), dtype="uint8", name="clip")
    x = layers.Rescaling(1 / 255, dtype=dtype)(clip)
    x = layers.Conv3D(4, 3, padding="same", activation="tanh", dtype=dtype)(x)
    x = layers.Flatten()(layers.MaxPool3D(2, dtype="float32")(x))
    return keras.Model(clip, layers.Dense(3, "softmax", dtype="float32")(x))


def test_it_is_the_slope_of_the_logit_also_through_pooling_and_half_precision():
    clips, row = np.random.default_rng(0).integers(0, 256, (1, 4, 8, 8, 3), dtype="uint8"), np.array([0])
    found = pixel_gradients(pooling("float32"), clips, 2)
    steps = 0.25 * np.sign(found.gradient)
    more, less = (found.at(clips + step, row)[1] for step in (steps, -steps))
    assert (more - less)[0] == pytest.approx(0.5 * np.abs(found.gradient).sum(), rel=0.01)
    rounded = pixel_gradients(pooling("mixed_float16"), clips, 2).gradient
    np.testing.assert_allclose(rounded, found.gradient, atol=0.02 * np.abs(found.gradient).max())


def test_a_model_that_is_dropped_is_freed():
    model = weighing(WEIGHTS)
    pixel_gradients(model, CLIPS, 1)
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None


def test_a_model_of_several_inputs_is_refused_by_the_name_of_the_method():
    clip, flow = keras.Input((2, 1, 1, 3), name="clip"), keras.Input((2, 1, 1, 2), name="flow")
    x = layers.concatenate([layers.Flatten()(clip), layers.Flatten()(flow)])
    model = keras.Model([clip, flow], layers.Dense(2)(x), name="two")
    given = [CLIPS.astype("float32"), CLIPS[..., :2].astype("float32")]
    with pytest.raises(
        ValueError, match="^gradient-x-input explains models of one input. Received: 'two', which takes "
    ):
        by_method(model, given, ["gradient-x-input"])
    with pytest.raises(ValueError, match="are of models of one input. Received: 'two', which takes clip, flow"):
        pixel_gradients(model, given)
