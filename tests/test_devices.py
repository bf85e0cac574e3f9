"""What computes: the devices by their kinds, the line that says which, and errors before any long work."""

import gc
import json
import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
import small_training
import tensorflow as tf
from tensorflow.python.framework import config  # nothing public turns op determinism off again

import har_tf
from experiments.cam3d_localization import PRESETS
from har_tf import devices, experiment, explain, models, quiet
from har_tf.classifier import Classifier
from har_tf.concepts import tcav
from har_tf.experiment import Devices, changed
from har_tf.explain import elsewhere, gradcam
from har_tf.explain.methods import METHODS
from har_tf.models import saving
from har_tf.store import features


@pytest.fixture(autouse=True)
def as_before():
    before = config.is_op_determinism_enabled()
    yield
    tf.distribute.experimental_set_strategy(None)
    devices.set_precision("float32")
    config.disable_op_determinism() if not before else None


def test_what_is_built_afterwards_lies_on_the_devices(capsys):
    config.disable_op_determinism()
    devices.begin("mirrored", precision="mixed_bfloat16", deterministic=False)
    count = len(tf.config.list_logical_devices("CPU"))
    assert count > 1, "see conftest.py"
    assert devices.replicas() == count
    assert capsys.readouterr().out == f"devices: {count} CPUs, mirrored; mixed_bfloat16\n"
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert len(layer.kernel.value.values) == count and layer.compute_dtype == "bfloat16"

    Devices().begin()
    assert (devices.replicas(), devices.precision()) == (1, "float32")
    assert capsys.readouterr().out == "devices: 1 CPU; float32; deterministic\n", "left open: on a CPU it is on"
    layer.kernel.assign(layer.kernel + 1)


def test_after_what_lies_on_one_device_another_strategy_can_be_entered():
    with devices.by_itself():
        keras.layers.Dense(2).build((None, 3))
    with devices.mirrored(2).scope():
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
    assert len(layer.kernel.value.values) == 2


def test_unknown_devices_and_a_missing_tpu_are_named_in_one_line():
    with pytest.raises(ValueError, match="^Devices are one, mirrored, multiworker, tpu. Received: strategy='two'$"):
        devices.strategy("two")
    gc.freeze()  # TensorFlow collects first, which takes minutes of what tests before this one have left
    try:
        with pytest.raises(
            ValueError, match=r"^No TPU was found at this machine \(.+\). Received: --tpu local$"
        ) as raised:
            devices.begin("tpu")
    finally:
        gc.unfreeze()
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="--tpu needs --strategy tpu. Received: --tpu a --strategy one"):
        Devices(tpu="a").check()


def test_a_tpu_that_does_not_answer_is_not_waited_for():
    """TensorFlow's own client tries for longer than five minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ValueError, match=rf"name or address \(.*refused.*\). Received: --tpu grpc://127.0.0.1:{port}"):
        devices.strategy("tpu", f"grpc://127.0.0.1:{port}")


def test_seeds_leave_determinism_as_it_is_unless_asked():
    config.disable_op_determinism()
    devices.seed_everything(3, None)
    first = keras.random.uniform((2,)).numpy().tolist()
    assert not config.is_op_determinism_enabled()
    devices.seed_everything(3)
    assert config.is_op_determinism_enabled() and keras.random.uniform((2,)).numpy().tolist() == first


UNDER_JAX = """
import contextlib, json
import numpy as np
from pathlib import Path
from har_tf import devices, quiet
quiet.import_tensorflow()
from har_tf.explain import gradcam
from har_tf.explain.elsewhere import by_method
from small_training import Killed, trained
start, found = Path("start.weights.h5"), {}
model, history = trained(Path("one"), start=start)
found["one"], found["history"] = model.get_weights(), history.epochs
clips = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3), dtype=np.uint8)
found["maps"] = [by_method(model, clips, ["gradcam"])[""].maps for _ in range(2)]
odd = np.resize(clips, (41, *clips.shape[1:]))
eight = trained(Path("eight"), "mirrored", start)[0]
found["eight"] = eight.get_weights()
assert devices.replicas() == 8 and devices.described().startswith("8 CPUs, mirrored, JAX; float32")
answers = devices.predict(eight, odd, 16), eight.predict_on_batch(odd)[:41]
np.testing.assert_allclose(*answers, rtol=1e-5)
found["whole"] = trained(Path("whole"), "mirrored", dropout=0.5)[0].get_weights()
with contextlib.suppress(Killed):
    trained(Path("killed"), "mirrored", dropout=0.5, killed_in=2)
    raise AssertionError("it was not killed")
model, history = trained(Path("killed"), "mirrored", dropout=0.5)
found["killed"] = model.get_weights()
assert len(history.epochs["loss"]) == 3
for name in ("one", "eight", "whole", "killed", "maps"):
    np.savez(f"{name}.npz", *found[name])
Path("history.json").write_text(json.dumps(found["history"]))
for kind, tpu in (("tpu", None), ("tpu", "grpc://10.0.0.2")):
    try:
        devices.begin(kind, tpu)
    except ValueError as error:
        print(error)
try:
    gradcam(model, clips)
except ValueError as error:
    print(error)
"""


def test_training_under_jax_over_eight_devices(tmp_path):
    """One device's weights, BatchNorm's and dropout's states included; TensorFlow's losses; a killed run goes on."""
    pytest.importorskip("jax", reason="the extra `jax` is not installed")
    keras.utils.set_random_seed(0)
    small_training.network(0.0).save_weights(tmp_path / "start.weights.h5")
    paths = [Path(small_training.__file__).parent, Path(har_tf.__file__).parents[1]]
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        # The code runs a few times: quick compilation counts.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
        "--xla_llvm_disable_expensive_passes=true",
    }
    command = [sys.executable, "-c", UNDER_JAX]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    assert "No TPU was found at this machine (JAX has 8 CPU). Received: --tpu local" in done.stdout
    assert "JAX takes that of this machine (JAX has 8 CPU). Received: --tpu grpc://10.0.0.2" in done.stdout

    assert "Explanations are made by TensorFlow: without KERAS_BACKEND, from the saved model." in done.stdout

    def weights(name):
        with np.load(tmp_path / f"{name}.npz") as stored:
            return list(stored.values())

    model, history = small_training.trained(tmp_path / "tensorflow", start=tmp_path / "start.weights.h5")
    measured = json.loads((tmp_path / "history.json").read_text())
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        np.testing.assert_allclose(measured[name], history.epochs[name], rtol=1e-4, err_msg=name)
    for one, eight, here in zip(weights("one"), weights("eight"), model.get_weights(), strict=True):
        np.testing.assert_allclose(eight, one, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(here, one, rtol=1e-3, atol=1e-4)
    explained = small_training.network(0.0)
    explained.set_weights(weights("one"))
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3), dtype=np.uint8)
    for maps in weights("maps"):
        np.testing.assert_allclose(maps, gradcam(explained, clips).maps, atol=1e-4)
    for killed, whole in zip(weights("killed"), weights("whole"), strict=True):
        np.testing.assert_array_equal(killed, whole)


def test_an_engine_that_cannot_do_it_is_named_before_anything_is_imported(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match="^Keras computes with tensorflow or jax here. Received: KERAS_BACKEND=torch$"):
        quiet.import_tensorflow()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(
        ValueError, match="^JAX only trains here, and explanations need TensorFlow: .* KERAS_BACKEND=jax"
    ):
        experiment.begin(changed(PRESETS["figures"], out=tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^jax is not installed: pip install 'har_tf\[jax\]'. Received: KERAS"):
        quiet.import_tensorflow()


@pytest.fixture(scope="module")
def on_several(tmp_path_factory):
    """A small CNN-GRU on one device, and the same weights, from its file, on two."""
    devices.seed_everything(0, None)
    one = models.cnn_gru((4, 32, 32, 3), 3, filters=(4, 4, 4), pool_sizes=(2, 2, 2))
    file = saving.save_model(one, tmp_path_factory.mktemp("model") / "model.keras", ("a", "b", "c"))
    with devices.mirrored(2).scope():
        several = Classifier.load(file)
    return Classifier(one, ("a", "b", "c")), several


CLIPS = np.random.default_rng(0).integers(0, 256, (7, 4, 32, 32, 3), np.uint8)


def test_weights_tell_the_devices_of_a_model_and_of_what_is_made_of_its_layers(on_several):
    one, several = on_several
    assert devices.of(one.model) is None
    assert devices.of(several.model).num_replicas_in_sync == 2
    part = keras.Model(several.model.inputs, several.model.layers[2].output)
    assert devices.of(part) is devices.of(several.model)


def test_predictions_are_those_of_one_device(on_several):
    one, several = on_several
    expected = one.model.predict(CLIPS, verbose=0)
    for batch_size in (5, 32):
        np.testing.assert_allclose(devices.predict(several.model, CLIPS, batch_size), expected, atol=1e-6)
    np.testing.assert_allclose(several.predict(CLIPS).probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(several.predict(CLIPS[0]).probabilities, expected[:1], atol=1e-6)


def test_no_clips_are_an_error_in_one_line(on_several):
    with pytest.raises(ValueError, match=r"^there are no clips\. Received: 0$"):
        devices.predict(on_several[1].model, CLIPS[:0])


def test_a_model_that_nobody_holds_and_its_clips_are_freed_after_predictions_over_devices(on_several):
    model, clips = keras.Model(on_several[1].model.inputs, on_several[1].model.outputs), CLIPS.copy()
    devices.predict(model, clips)
    known = weakref.ref(model), weakref.ref(clips)
    del model, clips
    gc.collect()
    assert [each() for each in known] == [None, None]


@pytest.mark.parametrize("method", ["gradcam", "3dcam", "scorecam", "gradient"])
def test_explanations_are_those_of_one_device(on_several, method):
    """Seven clips in batches of at most five, on two devices."""
    function = getattr(explain, METHODS[method].function.rpartition(".")[2])
    first, second = (function(each.model, CLIPS, batch_size=5) for each in on_several)
    np.testing.assert_array_equal(second.class_index, first.class_index)
    np.testing.assert_allclose(second.score, first.score, atol=1e-5)
    np.testing.assert_allclose(second.maps, first.maps, atol=1e-4)


def test_activations_and_gradients_are_those_of_one_device(on_several):
    for function, more in ((tcav.activations, ()), (tcav.gradients, (1,))):
        first, second = (function(each.model, CLIPS, *more, ["conv3d"], batch_size=4) for each in on_several)
        np.testing.assert_allclose(second["conv3d"], first["conv3d"], atol=1e-5)


def test_stored_features_are_those_of_one_device(on_several):
    """As `store.features` computes them, a batch of five filled up by each device."""
    one, several = (features._compiled(each.model, 5)(tf.constant(CLIPS[:5])).numpy() for each in on_several)
    np.testing.assert_allclose(several, one, atol=1e-6)


def test_another_process_explains_the_weights_of_now():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    first = elsewhere._file_of(model)
    assert elsewhere._file_of(model) == first and first.exists()
    model.layers[-1].kernel.assign(np.eye(2) * 3)
    second = elsewhere._file_of(model)
    np.testing.assert_array_equal(saving.load_model(second)[0].layers[-1].kernel, np.eye(2) * 3)
    assert list(second.parent.iterdir()) == [second]
