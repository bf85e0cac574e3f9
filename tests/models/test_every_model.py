"""What holds for every architecture: it survives saving, opens without this project, and is explained as before."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import small_models
from small_models import MODELS, small_model

import har_tf
from har_tf.explain import cam3d, gradcam, layerwise, stages
from har_tf.models.saving import load_model, save_model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made(name) -> a model, two clips, the file that it was saved to and what was loaded from it; each once."""
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def make(name):
        keras.utils.set_random_seed(0)
        model = small_model(name)
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


UNDER_JAX = """
import sys
class NoTensorFlow:
    def find_spec(name, path, target=None):
        if name == "tensorflow":
            raise ImportError(name)
sys.meta_path.insert(0, NoTensorFlow)
import keras, numpy as np
from keras import initializers as drawn
# Random weights would take half a minute to compile, and are replaced by those of the file.
for kind in (drawn.VarianceScaling, drawn.TruncatedNormal, drawn.Orthogonal):
    kind.__call__ = lambda self, shape, dtype=None: np.zeros(shape, "float32")
from small_models import small_model
from har_tf.models.saving import load_model
for name in sys.argv[1:]:
    built, (loaded, _) = small_model(name), load_model(f"{name}, bold.keras")
    built.set_weights(loaded.get_weights())
    model = built if "GRU" in name or name.startswith("googlenet") else loaded
    np.save(f"{name}, jax.npy", model.predict(np.load(f"{name}.npy"), verbose=0))
"""


def test_answers_alike_under_jax(made):
    """Built, loaded and computed there, by a process that has no TensorFlow."""
    pytest.importorskip("jax", reason="the extra `jax` is not installed")
    names = [name for name in MODELS if name not in ("googlenet, batchnorm", "i3d, rgb", "i3d, flow", "resnext3d, A")]
    names = [name for name in names if not name.startswith("fusion_gru") or name == "fusion_gru, sum"]
    answers = {}
    for name in names:
        _, clips, path, (model, classes) = made(name)
        head = model.layers[-1]
        before = head.get_weights()
        if isinstance(head, keras.layers.Dense):  # random networks answer everything alike
            logits = keras.Model(model.inputs, head.input)(clips, training=False) @ head.kernel
            head.kernel.assign(head.kernel / np.std(logits, axis=1).min())
        save_model(model, path.with_name(f"{name}, bold.keras"), classes)
        np.save(path.with_suffix(".npy"), clips)
        answers[name] = model(clips, training=False)
        head.set_weights(before)
        assert 0.01 < np.ptp(answers[name], axis=1).max() < 0.99, name
    folder, tests = path.parent, Path(small_models.__file__).parent
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join([str(tests), str(Path(har_tf.__file__).parents[1])]),
        # The code runs once.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    }
    subprocess.run([sys.executable, "-c", UNDER_JAX, *names], cwd=folder, env=environment, check=True)
    for name in names:
        found = np.load(folder / f"{name}, jax.npy")
        np.testing.assert_allclose(found, answers[name], atol=1e-5, err_msg=name)


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
