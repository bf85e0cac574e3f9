"""CNN-GRU: the architecture of the paper, by its numbers."""

import keras
import numpy as np
import pytest
from keras import layers

from har_tf.models import cnn_gru


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    return cnn_gru((4, 16, 24, 3), 5, filters=(4, 6, 8), pool_sizes=(2, 2, 2))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 16, 24, 3), dtype=np.uint8)


def test_parameters_of_the_paper_s_network_counted_by_hand():
    model = cnn_gru()
    conv2d = 9 * (3 * 16 + 16 * 32 + 32 * 64)  # no biases: BatchNorm has them
    batch_norm = 4 * (16 + 32 + 64)
    conv3d = 27 * 64 * 50 + 50
    sequence = 4 * 6 * 50  # 128 x 192 pooled by 32
    gru1 = 3 * 32 * (sequence + 32 + 2)
    gru2 = 3 * 50 * (32 + 50 + 2)
    dense = 50 * 100 + 100 + 100 * 10 + 10
    assert model.count_params() == conv2d + batch_norm + conv3d + gru1 + gru2 + dense
    assert model.output_shape == (None, 10)
    assert model.layers[-1].name == "predictions"


def test_equals_the_network_of_time_distributed_layers(small, clips):
    """Folding time into the batch changes how it is computed, not what."""
    clip = keras.Input((4, 16, 24, 3))
    x = layers.Rescaling(1 / 255)(clip)
    for i in (1, 2, 3):
        for kind in ("conv2d", "bn", "relu", "pool", "dropout"):
            x = layers.TimeDistributed(small.get_layer(f"{kind}_{i}"))(x)
    x = small.get_layer("conv3d")(x)
    x = layers.Reshape((4, -1))(x)
    for name in ("gru1", "gru2", "dense", "predictions"):
        x = small.get_layer(name)(x)
    # Called, not predict(): TensorFlow 2.21's graph optimiser computes the unrolled layers wrongly on the CPU.
    expected = keras.Model(clip, x)(clips.astype("float32"), training=False)
    np.testing.assert_allclose(small.predict(clips, verbose=0), expected, atol=1e-6)


def test_compiled_and_eager_outputs_agree(small, clips):
    np.testing.assert_allclose(small.predict(clips, verbose=0), small(clips, training=False), atol=1e-6)


def test_order_of_frames_matters(small, clips):
    forward, backward = small.predict(clips, verbose=0), small.predict(clips[:, ::-1], verbose=0)
    assert np.abs(forward - backward).max() > 1e-4


def test_averaging_over_time_is_blind_to_order(clips):
    model = cnn_gru((4, 16, 24, 3), 5, filters=(4, 6), pool_sizes=(2, 2), temporal="average")
    forward, backward = model.predict(clips, verbose=0), model.predict(clips[:, ::-1], verbose=0)
    np.testing.assert_allclose(forward, backward, atol=1e-6)


def test_pooling_before_normalising_is_the_same_function_at_inference(small, clips):
    other = cnn_gru((4, 16, 24, 3), 5, filters=(4, 6, 8), pool_sizes=(2, 2, 2), pool_before_norm=True)
    rng = np.random.default_rng(0)
    for layer in small.layers:
        weights = [rng.uniform(0.5, 1.5, w.shape) if layer.name.startswith("bn") else w for w in layer.get_weights()]
        if weights:
            other.get_layer(layer.name).set_weights(weights)
    same = keras.models.clone_model(small)
    for layer in same.layers:
        layer.set_weights(other.get_layer(layer.name).get_weights() if layer.weights else [])
    np.testing.assert_allclose(other.predict(clips, verbose=0), same.predict(clips, verbose=0), atol=1e-6)


def test_one_clip_does_not_change_another(small, clips):
    together = small.predict(clips, verbose=0)
    alone = np.concatenate([small.predict(clips[i : i + 1], verbose=0) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_sequence_norm_stands_before_the_first_gru():
    model = cnn_gru((4, 16, 24, 3), 5, filters=(4,), pool_sizes=(4,), normalize_sequence=True)
    names = [layer.name for layer in model.layers]
    assert names.index("sequence_norm") + 1 == names.index("gru1")


def test_imagenet_encoder_is_frozen_unless_asked(clips):
    shape = (2, 32, 32, 3)
    frozen = cnn_gru(shape, 3, encoder="MobileNet")
    trainable = {weight.path.split("/")[0] for weight in frozen.trainable_weights}
    assert trainable == {"conv3d", "gru1", "gru2", "dense", "predictions"}
    tuned = cnn_gru(shape, 3, encoder="MobileNet", encoder_trainable=True)
    assert len(tuned.trainable_weights) > len(frozen.trainable_weights)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (10, 128, 192)}, "time, height, width, channels"),
        ({"input_shape": (4, 8, 8, 3), "pool_sizes": (4, 4, 2)}, "leave 2 x 2 before block 2"),
        ({"filters": (4, 8)}, "Every block needs its pool size"),
        ({"temporal": "mean"}, "'gru' or 'average'. Received: temporal='mean'"),
        ({"encoder": "MobilNet"}, "Closest: MobileNet"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        cnn_gru(**arguments)
