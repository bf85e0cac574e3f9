"""Models by the names of Table 1."""

import pytest

from har_tf.models import backbones
from har_tf.models.zoo import PUBLISHED, named

SHAPE = (2, 32, 48, 3)


def test_names_build_what_they_say():
    small = {"filters": (4, 4, 4), "pool_sizes": (2, 2, 2)}
    gru = named("CNN-GRU").build(SHAPE, 3, **small)
    average = named("Frame-CNN").build(SHAPE, 3, **small)
    assert "gru1" in [layer.name for layer in gru.layers]
    assert "temporal_pool" in [layer.name for layer in average.layers]
    assert named("Frame-CNN").order_blind
    assert not named("CNN-GRU/MobileNet", weights="none").order_blind


def test_networks_without_weights_are_trained_whole():
    model = named("MobileNet", weights="none")
    assert model.start == "random weights"
    built = model.build(SHAPE, 3)
    assert len(built.trainable_weights) > 2


def test_weights_come_from_the_folder_and_are_frozen(shared):
    model = named("MobileNet", folder=shared / "weights")
    assert model.start == "mobilenet_v1_0.75_224.weights.h5, frozen"
    assert len(model.build(SHAPE, 3).trainable_weights) == 2
    tuned = named("MobileNet", folder=shared / "weights", finetune=True)
    assert tuned.start.endswith("finetuned")
    assert len(tuned.build(SHAPE, 3).trainable_weights) > 2


def test_missing_weights_are_no_error_but_said(tmp_path):
    said = f"VGG16: {tmp_path} holds no weights file of this network. Published as {PUBLISHED['VGG16']}"
    assert named("VGG16", folder=tmp_path).missing == said


def test_i3d_is_a_network_of_clips_whose_weights_nobody_downloads(tmp_path):
    """Random weights here; what its file gives is tested with `from_kinetics`."""
    model = named("I3D", weights="none")
    assert not model.order_blind and not model.missing
    built = model.build((8, 32, 32, 3), 3, width=1 / 16)
    assert built.output_shape == (None, 3) and built.layers[0].trainable
    weights = tmp_path / "i3d_rgb_kinetics400.npz"
    weights.touch()
    found = named("I3D", folder=tmp_path)
    assert (found.weights, found.start) == (weights, "i3d_rgb_kinetics400.npz, frozen")
    missing = named("I3D").missing
    assert (
        missing
        == f"I3D: Keras does not download its weights, which have to lie in a folder. Published as {PUBLISHED['I3D']}"
    )


def test_i3d_with_kinetics_weights_trains_its_classifier_alone(shared):
    built = named("I3D", folder=shared / "weights").build((8, 32, 32, 3), 3)
    assert [weight.path for weight in built.trainable_weights] == ["predictions/kernel", "predictions/bias"]
    tuned = named("I3D", folder=shared / "weights", finetune=True)
    assert len(tuned.build((8, 32, 32, 3), 3).trainable_weights) > 100


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_published_files_are_found_under_their_names(name, tmp_path):
    file = tmp_path / PUBLISHED[name].rpartition("/")[2]
    file.touch()
    assert backbones.find_weights(name, tmp_path) == file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ResNet51", "there are CNN-GRU, Frame-CNN, ResNet50, .* Closest: ResNet50"),
        ("cnn-gru", "Closest: CNN-GRU"),
        ("VGG16/MobileNet", "Only CNN-GRU takes a frame encoder"),
        ("CNN-GRU/Nothing", "Unknown model"),
        ("CNN-GRU/I3D", "Unknown model"),
    ],
)
def test_unknown_names(name, words):
    with pytest.raises(ValueError, match=words):
        named(name)


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match="nowhere.h5: no such weights file"):
        named("VGG16", weights="nowhere.h5")
