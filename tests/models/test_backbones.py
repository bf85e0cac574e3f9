"""Backbones: published weights by the names they are published under, several networks in one graph."""

import keras
import numpy as np
import pytest
from checks import assert_preprocessing, assert_survives_saving, random_clip

from har_tf.models import backbones
from har_tf.models.googlenet import googlenet
from har_tf.models.zoo import named


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ResNet50", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("InceptionV3", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("MobileNet", "mobilenet_1_0_224_tf_no_top.h5"),
        ("Xception", "xception_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("VGG16", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("VGG19", "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("DenseNet121", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("MobileNetV2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
    ],
)
def test_finds_the_files_that_keras_publishes(tmp_path, name, file):
    for other in ("readme.txt", "mobilenet_v3_small.h5", "resnet101_notop.h5", file):
        (tmp_path / other).touch()
    assert backbones.find_weights(name, tmp_path).name == file


def test_prefers_the_file_without_top(tmp_path):
    for name in ("vgg16_weights_tf.h5", "vgg16_weights_tf_notop.h5"):
        (tmp_path / name).touch()
    assert backbones.find_weights("VGG16", tmp_path).name == "vgg16_weights_tf_notop.h5"


def test_says_which_network_has_no_file(tmp_path):
    with pytest.raises(backbones.WeightsUnavailable, match="Xception: .* holds no weights file"):
        backbones.find_weights("Xception", tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder of weights"):
        backbones.find_weights("Xception", tmp_path / "none")


def test_a_failed_download_is_weights_unavailable(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://weights.invalid: None -- no route")

    monkeypatch.setitem(backbones.BACKBONES, "VGG16", backbones.Backbone("VGG16", fail, "caffe", "vgg16_"))
    with pytest.raises(backbones.WeightsUnavailable, match="VGG16: ImageNet weights could not be downloaded"):
        backbones.download("VGG16")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("GoogLeNet", "bvlc_googlenet.caffemodel"),
        ("GoogLeNet", "googlenet_bvlc.npz"),
        ("GoogLeNet", "googlenet-1378be20.pth"),
        ("InceptionResNetV2", "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    ],
)
def test_finds_the_files_of_the_fusion(tmp_path, name, file):
    for other in ("googlenet.txt", "inception_v3_notop.h5", "resnet50_notop.h5", "resnet50.pth", file):
        (tmp_path / other).touch()
    assert backbones.find_weights(name, tmp_path).name == file


def test_googlenet_is_not_downloaded_and_says_where_it_is():
    with pytest.raises(backbones.WeightsUnavailable, match="fetch bvlc_googlenet.caffemodel"):
        backbones.download("GoogLeNet")


def two_networks(first, second):
    """A flat model of two encoders on one input."""
    clip = keras.Input((2, 75, 80, 3), dtype="uint8", name="clip")
    frames = keras.ops.reshape(clip, (-1, 75, 80, 3))
    maps = [
        backbones.encode(frames, name, trainable=False, prefix=f"{prefix}_")
        for name, prefix in ((first, "first"), (second, "second"))
    ]
    return keras.Model(clip, maps)


def assert_flat(model, tmp_path):
    """Names with their prefixes and no weight to train, also after saving; returns the names."""
    names = [operation.name for operation in model.operations]
    assert {name.partition("_")[0] for name in names[2:]} == {"first", "second"}
    assert not model.trainable_weights
    loaded = assert_survives_saving(model, random_clip(1, 2, 75, 80), tmp_path)
    assert [operation.name for operation in loaded.operations] == names
    return names


def test_a_network_twice_in_one_flat_graph(tmp_path):
    names = assert_flat(two_networks("GoogLeNet", "GoogLeNet"), tmp_path)
    # The same names in the second model of the process: a file of weights or a list of taps fits both.
    assert [operation.name for operation in two_networks("GoogLeNet", "GoogLeNet").operations][2:] == names[2:]


def test_inception_resnet_v2_beside_another_network(tmp_path):
    """Its layers have no published names; here it is built once for all there is to be said of it."""
    keras.layers.Conv2D(1, 1)  # a number that Keras gives away
    model = two_networks("MobileNet", "InceptionResNetV2")
    names = assert_flat(model, tmp_path)
    assert [name for name in names if name.startswith("second_conv2d")][:2] == ["second_conv2d", "second_conv2d_1"]
    parameters = sum(layer.count_params() for layer in model.layers if layer.name.startswith("second_"))
    assert parameters == 54_336_736  # without top, what is not trained included, as published
    assert model.outputs[1].shape[-1] == 1536
    assert_preprocessing(model, "second_preprocess", keras.applications.inception_resnet_v2)


def test_prefix_changes_names_only(shared):
    path = shared / "weights" / "googlenet_bvlc.npz"
    frames = keras.Input((64, 64, 3), dtype="uint8")
    plain, named = (backbones.encode(frames, "GoogLeNet", path, False, prefix=p) for p in (None, "googlenet_"))
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    ours, theirs = keras.Model(frames, [plain, named])(picture)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("variant", "conv"), [("bvlc", "conv1_7x7_s2"), ("batchnorm", "conv1_conv")])
def test_the_file_says_which_googlenet(tmp_path, variant, conv):
    source = googlenet((64, 64, 3), variant=variant, include_top=False)
    source.save_weights(path := tmp_path / "googlenet.weights.h5")
    frames = keras.Input((64, 64, 3), dtype="uint8")
    model = keras.Model(frames, backbones.encode(frames, "GoogLeNet", path))
    np.testing.assert_array_equal(model.get_layer(conv).kernel, source.get_layer(conv).kernel)


def test_weights_of_another_network_are_no_googlenet(tmp_path):
    np.savez(path := tmp_path / "googlenet.npz", conv1_1=np.zeros((3, 3, 3, 64), "float32"))
    with pytest.raises(ValueError, match=r"googlenet\.npz: not the weights of GoogLeNet; it holds conv1_1"):
        backbones.encode(keras.Input((64, 64, 3)), "GoogLeNet", path)


def test_googlenet_in_the_models_by_name(shared):
    """Real weights found in the folder, as frame encoder and alone."""
    for name, frozen in (("CNN-GRU/GoogLeNet", "conv3d"), ("GoogLeNet", "predictions")):
        found = named(name, folder=shared / "weights")
        assert found.start == "googlenet_bvlc.npz, frozen"
        model = found.build((2, 64, 80, 3), 3)
        assert model(np.zeros((1, 2, 64, 80, 3), np.uint8)).shape == (1, 3)
        assert model.trainable_weights[0].path.startswith(frozen)
    assert "fetch bvlc_googlenet.caffemodel" in named("GoogLeNet").missing
