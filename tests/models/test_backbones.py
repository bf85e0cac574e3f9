"""Finding published weights by the names they are published under."""

import pytest

from har_tf.models import backbones


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

    monkeypatch.setitem(backbones.BACKBONES, "VGG16", backbones.Backbone("VGG16", fail, "caffe", "vgg16_", 512))
    with pytest.raises(backbones.WeightsUnavailable, match="VGG16: ImageNet weights could not be downloaded"):
        backbones.download("VGG16")
