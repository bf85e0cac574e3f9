"""What holds for every architecture: it survives saving, opens without this project, and is explained as before."""

import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny_networks import make_tiny

from har_tf.explain import cam3d, gradcam, layerwise, stages
from har_tf.models import cnn_gru, frame_cnn, gated, googlenet, i3d, resnext3d, video_swin
from har_tf.models.fusion_gru import FUSIONS, fusion_gru
from har_tf.models.saving import load_model, save_model

STREAMS, SIDES = ("MobileNet", "MobileNetV2"), {"MobileNet": 64, "MobileNetV2": 48}
TINY_RESNEXT = {"blocks": (1, 1, 2, 1), "width": 32, "cardinality": 4}
TINY_SWIN = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window": (2, 3, 3)}


def fused(fusion):
    return fusion_gru(
        (2, 64, 64, 3), 3, STREAMS, None, fusion=fusion, gru_units=(3,), frame_sizes=SIDES, bidirectional=True
    )


def gated_i3d():
    """Gates start from zero, where they would change no answer."""
    model = gated(i3d((16, 40, 40, 3), 4, width=1 / 16), ["mixed_3c", "mixed_4f"])
    for layer in model.layers:
        if layer.name in ("gate_mixed_3c", "gate_mixed_4f"):
            layer.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in layer.get_weights()])
    return model


MODELS = {
    "cnn_gru": lambda: cnn_gru((3, 32, 48, 3), 4, (4, 6, 8), (2, 2, 2)),
    "frame_cnn": lambda: frame_cnn("MobileNet", (2, 64, 64, 3), 4, alpha=0.25),
    "googlenet, bvlc": lambda: googlenet((45, 64, 3), 4, "bvlc"),
    "googlenet, batchnorm": lambda: googlenet((45, 64, 3), 4, "batchnorm"),
    "i3d, rgb": lambda: i3d((9, 45, 34, 3), 4, width=1 / 16),
    "i3d, flow": lambda: i3d((9, 45, 34, 2), 4, "flow", width=1 / 16, batch_norm_scale=False),
    "resnext3d, A": lambda: resnext3d((16, 64, 64, 3), 4, shortcut="A", dropout=0.5, **TINY_RESNEXT),
    "resnext3d, B": lambda: resnext3d((16, 64, 64, 3), 4, shortcut="B", dropout=0.5, **TINY_RESNEXT),
    "gated": gated_i3d,
    "video_swin": lambda: video_swin("tiny", (6, 40, 52, 3), 4, **TINY_SWIN),
    **{f"fusion_gru, {fusion}": functools.partial(fused, fusion) for fusion in FUSIONS},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(name) -> a model, two clips, the file that it was saved to and what was loaded from it; each once.

    Real networks are fused in one way, tiny ones in the others.
    """
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def make(name):
        keras.utils.set_random_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            if name.startswith("fusion_gru") and name != f"fusion_gru, {FUSIONS[0]}":
                make_tiny(patch, None)
            model = MODELS[name]()
        clips = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
        path = save_model(model, folder / f"{name}.keras", [f"class {i}" for i in range(model.output_shape[-1])])
        return model, clips, path, load_model(path)

    return make


@pytest.mark.parametrize("name", MODELS)
def test_survives_saving(made, name):
    model, clips, _, (loaded, names) = made(name)
    np.testing.assert_allclose(loaded(clips, training=False), model(clips, training=False), rtol=1e-6)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert loaded.layers[-1].name == "predictions"
    assert len(names) == model.output_shape[-1]


def test_opens_where_har_tf_is_not_imported(made):
    """Stock layers and operations only, safe mode on; grouped convolutions run as Keras has them there."""
    names = [name for name in MODELS if name != "video_swin"]
    for name in names:
        _, clips, path, _ = made(name)
        np.save(path.with_suffix(".npy"), clips)
    script = (
        "import sys, keras, numpy as np\n"
        "for name in sys.argv[1:]:\n"
        "    model = keras.models.load_model(f'{name}.keras', safe_mode=True)\n"
        "    np.save(f'{name}, answer.npy', model(np.load(f'{name}.npy'), training=False))\n"
        "assert not any(name.startswith('har_tf') for name in sys.modules)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    folder = path.parent
    subprocess.run([sys.executable, "-c", script, *names], cwd=folder, env=environment, check=True, capture_output=True)
    for name in names:
        model, clips, *_ = made(name)
        np.testing.assert_allclose(np.load(folder / f"{name}, answer.npy"), model(clips, training=False), rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("fusion_gru, sum", "i3d, flow")])
def test_is_explained_after_loading_as_before(made, name):
    model, clips, _, (loaded, _) = made(name)
    assert stages(loaded) == stages(model)
    found = layerwise(loaded, clips[:1])
    assert len(found.taps) > 1
    if name.startswith("resnext3d"):  # Table 1 of the 3DCAM paper
        assert [tap.name for tap in found.taps] == ["conv3d_1a_7x7", "layer1", "layer2", "layer3", "layer4"]
    for explanation in (found.cam3d(), found.sum_gradcam()):
        assert explanation.maps.shape == (1, *found.size)
        assert explanation.maps.max() == pytest.approx(1)
    if name == "cnn_gru":
        np.testing.assert_allclose(cam3d(model, clips[:1]).maps, found.cam3d().maps, atol=1e-4)
        np.testing.assert_allclose(found.gradcam().maps, gradcam(model, clips[:1], found.taps[-1]).maps, atol=1e-4)
