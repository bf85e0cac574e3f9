import inspect
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from checks import random_clip
from keras import layers

from har_tf.models import cnn_gru, i3d
from har_tf.models.saving import load_model, save_model
from har_tf.models.versions import OLDEST, lean, newer


def test_arguments_that_older_versions_do_not_know_are_left_out_at_their_defaults():
    plain = lean(layers.serialize(layers.Dense(3)))["config"]
    assert "quantization_config" not in plain and plain["units"] == 3 and "use_bias" in plain
    assert plain["kernel_initializer"]["config"] == {"seed": None}
    norm = lean(layers.serialize(layers.BatchNormalization(renorm=True)))["config"]
    assert norm["renorm"] is True, "what is not at its default is needed"


@pytest.mark.skipif(
    "input_axes" not in inspect.signature(keras.initializers.GlorotUniform).parameters, reason="since 3.15"
)
def test_arguments_that_are_not_at_their_defaults_are_kept_at_any_depth():
    chosen = layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(input_axes=[0], output_axes=[1]))
    kept = lean(layers.serialize(chosen))["config"]["kernel_initializer"]["config"]
    assert (kept["input_axes"], kept["output_axes"]) == ([0], [1])
    assert layers.deserialize(lean(layers.serialize(chosen))).get_config() == chosen.get_config()


def test_a_newer_keras_is_named_with_both_versions_in_one_line(tmp_path):
    path = save_model(cnn_gru((4, 16, 16, 3), 2, filters=(4,), pool_sizes=(2,)), tmp_path / "model.keras", ("a", "b"))
    assert newer(path) == ""
    rewrite(path, "metadata.json", {"keras_version": "99.1.0"})
    assert newer(path) == f"Keras 99.1.0 wrote it, and this is Keras {keras.__version__}: pip install 'keras>=99.1.0'"
    assert load_model(path)[1] == ("a", "b"), "what can be read is read"
    rewrite(path, "config.json", {"module": "keras", "class_name": "Unheard", "config": {}, "registered_name": None})
    with pytest.raises(
        ValueError, match=r"model.keras: not a model that Keras can load \(Keras 99.1.0 wrote it"
    ) as failed:
        load_model(path)
    assert "\n" not in str(failed.value)
    for odd in ("\x1b[31m3", {"keras": 4}, None, "4"):
        rewrite(path, "metadata.json", {"keras_version": odd})
        assert newer(path) == ""


def rewrite(path: Path, name: str, value) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()} | {name: json.dumps(value).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """A folder with the oldest Keras that is said to read our files."""
    folder = tmp_path_factory.mktemp("keras")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, f"keras=={OLDEST}.*"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"Keras {OLDEST} cannot be installed here: {done.stderr.strip()[-200:]}")
    return folder


READ = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
assert keras.__version__.startswith(sys.argv[2]), keras.__version__
for path in sys.argv[3:]:
    given = np.load(path + ".npz")
    print(np.abs(keras.models.load_model(path).predict_on_batch(given["clips"]) - given["answers"]).max())
"""


def test_the_oldest_keras_reads_our_files(oldest, tmp_path):
    keras.utils.set_random_seed(0)
    networks = {
        "cnn_gru": cnn_gru((4, 32, 32, 3), 3, filters=(4, 8), pool_sizes=(2, 2), normalize_sequence=True, dropout=0.1),
        "i3d": i3d((8, 32, 32, 3), 3, width=0.125),
    }
    paths = []
    for name, model in networks.items():
        path = save_model(model, tmp_path / f"{name}.keras", ("a", "b", "c"))
        clips = random_clip(*model.input_shape[1:-1])[None]
        np.savez(f"{path}.npz", clips=clips, answers=model.predict_on_batch(clips))
        paths.append(str(path))
    command = [sys.executable, "-c", READ, str(oldest), OLDEST, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1000:]
    assert [float(line) < 1e-5 for line in done.stdout.split()] == [True, True]
