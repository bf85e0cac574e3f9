import keras
import numpy as np
import pytest
from checks import random_clip

from har_tf.models.building import averaged, check_input_shape, classifier, normalized_clip, with_weights


@pytest.mark.parametrize("shape", [(10, 128, 192), (10, 128, None, 3), (0, 128, 192, 3), (10, 128.0, 192, 3)])
def test_a_clip_has_four_sizes(shape):
    assert check_input_shape([10, 128, 192, 3]) == (10, 128, 192, 3)
    with pytest.raises(ValueError, match=r"has the shape \(time, height, width, channels\). Received: input_shape="):
        check_input_shape(shape)


def test_a_network_of_nothing_but_what_builders_share():
    """Normalised, averaged over all places, and a softmax of a dense layer."""
    keras.utils.set_random_seed(0)
    mean, std = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
    clip, x = normalized_clip((2, 4, 5, 3), mean, std)
    model = with_weights(keras.Model(clip, classifier(averaged(x, dropout=0.5), 4)), None)
    assert [layer.name for layer in model.layers] == ["clip", "preprocess", "avgpool", "dropout", "predictions"]
    given = random_clip(3, 2, 4, 5)
    logits = ((given - np.array(mean)) / std).mean(axis=(1, 2, 3)) @ model.layers[-1].kernel + model.layers[-1].bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(given, training=False), expected, atol=1e-5)
