"""Frame CNNs: preprocessing inside, blind to order, weights from published files."""

import keras
import numpy as np
import pytest
from checks import assert_preprocessing
from keras import applications

from har_tf.models import frame_cnn
from har_tf.models.taps import find, taps

# Network -> its module; parameters without top, as Keras publishes them; what is explained of it by default.
NETWORKS = {
    "ResNet50": (applications.resnet50, 23_587_712, ("conv5_block3_out", (2, 3, 4, 2048))),
    "InceptionV3": (applications.inception_v3, 21_802_784, ("mixed10", (2, 1, 2, 2048))),
    "MobileNet": (applications.mobilenet, 3_228_864, ("conv_pw_13_relu", (2, 3, 4, 1024))),
    "Xception": (applications.xception, 20_861_480, ("block14_sepconv2_act", (2, 3, 4, 2048))),
    "VGG16": (applications.vgg16, 14_714_688, ("block5_conv3", (2, 6, 8, 512))),
    "VGG19": (applications.vgg19, 20_024_384, ("block5_conv4", (2, 6, 8, 512))),
    "DenseNet121": (applications.densenet, 7_037_504, ("relu", (2, 3, 4, 1024))),
    "MobileNetV2": (applications.mobilenet_v2, 2_257_984, ("out_relu", (2, 3, 4, 1280))),
}


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 32, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_the_published_ones(name):
    """By their parameters, their preprocessing and their last map; each is built once here."""
    module, parameters, last = NETWORKS[name]
    model = frame_cnn(name, (2, 96, 128, 3), 3)
    assert model.count_params() - model.get_layer("predictions").count_params() == parameters
    assert_preprocessing(model, "preprocess", module)
    tap = find(model)
    assert (tap.name, tap.shape) == last
    convolutions = {layer.name for layer in model.layers if "Conv" in type(layer).__name__}
    assert convolutions <= {tap.name for tap in taps(model)}


def test_order_of_frames_cannot_matter(clips):
    model = frame_cnn("MobileNet", clips.shape[1:], 4, alpha=0.25)
    forward, backward = model(clips), model(clips[:, ::-1])
    np.testing.assert_allclose(forward, backward, atol=1e-6)


@pytest.mark.parametrize("include_top", [False, True])
@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_loads_published_files_with_and_without_top(tmp_path, clips, include_top, ending):
    """Both formats that Keras has published, at a width that only the file knows."""
    keras.utils.set_random_seed(1)
    size = {} if include_top else {"input_shape": (32, 48, 3)}
    source = applications.MobileNet(include_top=include_top, weights=None, alpha=0.25, **size)
    path = tmp_path / f"mobilenet{ending}"
    source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    model = frame_cnn("MobileNet", clips.shape[1:], 3, weights=path, backbone_trainable=False)

    features = keras.Model(model.input, model.get_layer("frame_pool").output)(clips, training=False)
    headless = applications.MobileNet(
        include_top=False, weights=None, alpha=0.25, input_shape=(32, 48, 3), pooling="avg"
    )
    given = [layer for layer in source.layers if layer.weights]
    for layer, of_source in zip([layer for layer in headless.layers if layer.weights], given, strict=False):
        layer.set_weights(of_source.get_weights())
    frames = applications.mobilenet.preprocess_input(clips.reshape(-1, 32, 48, 3).astype("float32"))
    np.testing.assert_allclose(features, headless(frames, training=False), atol=1e-5)
    assert [weight.path.split("/")[0] for weight in model.trainable_weights] == ["predictions"] * 2


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "vgg16.weights.h5"
    applications.MobileNet(include_top=False, weights=None, alpha=0.25, input_shape=(32, 32, 3)).save_weights(path)
    with pytest.raises(ValueError, match=r"vgg16\.weights\.h5: not the weights of VGG16"):
        frame_cnn("VGG16", (1, 32, 32, 3), 2, weights=path)


def test_a_file_that_is_no_weights_file_is_named(tmp_path):
    path = tmp_path / "mobilenet_1_0_224_tf.h5"
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match=r"mobilenet_1_0_224_tf\.h5: not an HDF5 file"):
        frame_cnn("MobileNet", (1, 32, 32, 3), 2, weights=path)


def test_frames_too_small_for_a_network_are_refused():
    with pytest.raises(ValueError, match=r"InceptionV3 needs frames of at least 75 x 75 pixels. Received: 32 x 48"):
        frame_cnn("InceptionV3", (1, 32, 48, 3), 2)


def test_real_mobilenet_sees_the_cat(shared):
    """The encoder with its real weights, its preprocessing and the flat graph, against the known answer."""
    from skimage import data

    path = shared / "weights" / "mobilenet_v1_0.75_224.weights.h5"
    photograph = data.chelsea()[:, 75:375]
    clip = keras.ops.convert_to_numpy(keras.ops.image.resize(photograph, (224, 224), antialias=True))
    model = frame_cnn("MobileNet", (1, 224, 224, 3), 2, weights=path, backbone_trainable=False)
    features = keras.Model(model.input, model.get_layer("temporal_pool").output)(
        clip[None, None], training=False
    ).numpy()
    top = applications.MobileNet(weights=None, alpha=0.75)
    top.load_weights(path)
    kernel, bias = top.get_layer("conv_preds").get_weights()
    logits = features[0] @ kernel[0, 0] + bias
    assert logits.argmax() in (281, 282, 285)  # tabby, tiger cat, Egyptian cat
