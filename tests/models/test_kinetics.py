"""Networks with Kinetics weights and a new classifier."""

import keras
import numpy as np
import pytest

from har_tf.models import kinetics, resnext3d

SHAPE = (8, 48, 48, 3)
SMALL = {"blocks": (1, 1, 1, 1), "width": 32}


def test_published_weights_fill_all_but_the_classifier(tmp_path):
    keras.utils.set_random_seed(1)
    published = resnext3d(SHAPE, include_top=False, **SMALL)
    published.save_weights(tmp_path / "kinetics.weights.h5")
    model = kinetics.from_kinetics("resnext3d", SHAPE, 7, tmp_path / "kinetics.weights.h5", **SMALL)
    for weight in published.weights:
        layer, name = weight.path.split("/")
        (ours,) = (w for w in model.get_layer(layer).weights if w.name == name)
        np.testing.assert_array_equal(ours, weight)
    assert model.output_shape == (None, 7)


@pytest.mark.parametrize(
    ("names", "scale"),
    [
        (["RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w", "RGB/inception_i3d/Conv3d_1a_7x7/batch_norm/beta"], False),
        (["Conv3d_1a_7x7.conv3d.weight", "Conv3d_1a_7x7.bn.weight", "Conv3d_1a_7x7.bn.bias"], True),
    ],
)
@pytest.mark.parametrize(("network", "modality"), [("i3d", "rgb"), ("i3d_flow", "flow")])
def test_batch_norm_of_i3d_is_built_as_the_file_has_it(tmp_path, monkeypatch, network, modality, names, scale):
    np.savez(tmp_path / "i3d.npz", **{name: np.zeros(3, "f4") for name in names})
    built = []

    def i3d(shape, num_classes, modality, batch_norm_scale, **options):
        built.append((modality, batch_norm_scale))
        return keras.Sequential([keras.Input((3,)), keras.layers.Identity(name="mixed_5c")])

    monkeypatch.setattr(kinetics, "i3d", i3d)
    monkeypatch.setattr(kinetics, "import_weights", lambda model, file: model)
    kinetics.from_kinetics(network, SHAPE, 7, tmp_path / "i3d.npz")
    assert built == [(modality, scale)]
