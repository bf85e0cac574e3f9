"""GoogLeNet: published counts, its two odd layers by hand, and what it says of photographs."""

import keras
import numpy as np
import pytest
from checks import trainable
from keras import layers
from PIL import Image

from har_tf.models.googlenet import _local_response_norm, _pool_up, googlenet
from har_tf.models.taps import taps

EGYPTIAN_CAT, TIGER_CAT, TABBY, ESPRESSO = 285, 282, 281, 967


@pytest.fixture(scope="module", params=["bvlc", "batchnorm"])
def published(request):
    """(variant, network) at the published size and number of classes."""
    return request.param, googlenet(variant=request.param)


def test_parameters_are_the_published_ones(published):
    variant, model = published
    count, statistics = {"bvlc": (6_998_552, 0), "batchnorm": (6_624_904, 14_560)}[variant]
    assert trainable(model) == count
    assert model.count_params() == count + statistics
    assert model.get_layer("predictions").count_params() == 1000 * (1024 + 1)


def test_feature_sizes_are_those_of_the_paper(published):
    """Table 1: 56 after the stem's pooling, 28, 14 and 7 in blocks 3, 4 and 5."""
    variant, model = published
    names = {
        "bvlc": ("conv1_7x7_s2", "pool1_3x3_s2", "inception_3b_output", "inception_4e_output", "inception_5b_output"),
        "batchnorm": ("conv1_conv", "maxpool1", "inception3b", "inception4e", "inception5b"),
    }[variant]
    shapes = [tuple(model.get_layer(name).output.shape[1:]) for name in names]
    assert shapes == [(112, 112, 64), (56, 56, 64), (28, 28, 480), (14, 14, 832), (7, 7, 1024)]


def test_without_top_it_ends_at_the_last_map():
    for variant, last in (("bvlc", "inception_5b_output"), ("batchnorm", "inception5b")):
        model = googlenet((64, 96, 3), variant=variant, include_top=False)
        assert model.layers[-1].name == last
        assert tuple(model.output.shape) == (None, 2, 3, 1024)


def lrn_by_hand(x):
    """x / (1 + 1e-4 / 5 · sum of squares of the channels c - 2 to c + 2) ** 0.75, channel by channel."""
    x = x.astype("float64")
    out = np.empty_like(x)
    for c in range(x.shape[-1]):
        around = x[..., max(0, c - 2) : c + 3]
        out[..., c] = x[..., c] / (1 + 1e-4 / 5 * (around**2).sum(-1)) ** 0.75
    return out


def lrn_model(shape, dtype=None):
    image = keras.Input(shape)
    x = layers.Activation("linear", dtype=dtype)(image) if dtype else image
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or with_policy)
    try:
        return keras.Model(image, _local_response_norm(x, "norm"))
    finally:
        keras.config.set_dtype_policy(with_policy)


def test_local_response_norm_also_at_the_channel_borders():
    x = np.random.default_rng(0).normal(0, 300, (2, 3, 4, 9)).astype("float32")
    np.testing.assert_allclose(lrn_model((3, 4, 9))(x), lrn_by_hand(x), rtol=2e-6)
    # One bright channel dims itself and two on each side; worked out: 1 / (1 + 2e-5 · 500²) ** 0.75 = 6 ** -0.75.
    x = np.ones((1, 1, 1, 9), "float32")
    x[..., 1] = 500
    answer = np.asarray(lrn_model((1, 1, 9))(x)).ravel()
    np.testing.assert_allclose(answer[:4], [6**-0.75, 500 * 6**-0.75, 6**-0.75, 6**-0.75], rtol=1e-4)
    np.testing.assert_allclose(answer[4:], 1, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.01), ("bfloat16", 0.04)])
def test_local_response_norm_in_half_precision_does_not_overflow(dtype, tolerance):
    """The square of 3000 is no float16."""
    x = np.array([3000.0, 0, 300, 20, 1, 0, 0, 2000], "float32")[None, None, None]
    answer = keras.ops.cast(lrn_model((1, 1, 8), f"mixed_{dtype}")(x), "float32")
    np.testing.assert_allclose(answer, lrn_by_hand(x), rtol=tolerance)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        # Of rows 0 to 6 windows start at 0, 2 and 4; a last one at 6 would lie in the picture only by one row: no.
        (7, 7, [[16, 18, 20], [30, 32, 34], [44, 46, 48]]),
        # Of columns 0 to 5 windows start at 0, 2 and 4; the last hangs over by one.
        (5, 6, [[14, 16, 17], [26, 28, 29]]),
        (6, 5, [[12, 14], [22, 24], [27, 29]]),
        (4, 4, [[10, 11], [14, 15]]),
    ],
)
def test_pooling_rounds_up_as_caffe_does(height, width, expected):
    image = keras.Input((height, width, 1))
    model = keras.Model(image, _pool_up(image, "pool"))
    numbers = np.arange(height * width, dtype="float32").reshape(1, height, width, 1)
    np.testing.assert_array_equal(model(numbers)[0, ..., 0], expected)


def test_first_layer_sees_bgr_minus_the_mean_with_three_pixels_of_padding():
    model = googlenet((32, 32, 3), 3)
    kernel = np.zeros((7, 7, 3, 64), "float32")
    kernel[0, 0, 0, 0] = 1  # upper left corner of the window, first channel: blue
    model.get_layer("conv1_7x7_s2").set_weights([kernel, np.zeros(64, "float32")])
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[..., 2] = 104 + np.arange(32)[:, None]
    first = keras.Model(model.input, model.get_layer("conv1_7x7_s2").output)(image)[0, ..., 0]
    rows = np.maximum(2 * np.arange(16) - 3, 0)  # window i starts at row 2 i - 3; above the picture are zeros
    expected = np.broadcast_to(rows[:, None], (16, 16)).copy()
    expected[:, :2] = 0
    np.testing.assert_allclose(first, expected, atol=1e-4)


def test_taps_are_the_published_layers(published):
    variant, model = published
    if variant == "bvlc":
        names = [tap.name for tap in taps(model)]
        assert names[:4] == ["conv1_7x7_s2", "pool1_3x3_s2", "pool1_norm1", "conv2_3x3_reduce"]
        assert names[-1] == "inception_5b_output"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "v1"}, "published as 'bvlc' and as 'batchnorm'. Received: variant='v1'"),
        ({"input_shape": (31, 64, 3)}, r"at least 32 x 32 pixels. Received: \(31, 64, 3\)"),
        ({"input_shape": (None, None, 3)}, r"Received: \(None, None, 3\)"),
        ({"input_shape": (64, 64, 1)}, r"Received: \(64, 64, 1\)"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        googlenet(**options)


def photograph(name):
    """The square in the middle, shrunk to 224 x 224 with Pillow's bilinear filter."""
    from skimage import data

    picture = getattr(data, name)()
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return np.asarray(Image.fromarray(square).resize((224, 224), Image.Resampling.BILINEAR))


def test_real_weights_see_the_cat_and_the_coffee(shared):
    model = googlenet(weights=shared / "weights" / "googlenet_bvlc.npz")
    cat, coffee = model.predict(np.stack([photograph("chelsea"), photograph("coffee")]), verbose=0)
    np.testing.assert_allclose(cat[[EGYPTIAN_CAT, TIGER_CAT, TABBY]], [0.49, 0.28, 0.16], atol=0.01)
    np.testing.assert_allclose(coffee[ESPRESSO], 0.93, atol=0.01)
    assert cat.argmax() == EGYPTIAN_CAT
    assert coffee.argmax() == ESPRESSO
