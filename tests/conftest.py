"""What every test shares: the folder of real data, where there is one, and quiet logs."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_configure(config):
    """Two logical CPU devices, before anything uses TensorFlow, so that MirroredStrategy has something to mirror."""
    from har_tf import quiet

    tf = quiet.import_tensorflow()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos, weights and split lists that some machines have beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real videos and weights beside the repository")
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """The first experiment on 60 small embedded clips for two epochs: everything it does, in seconds."""
    from experiments.ucf10_cnn_gru import Recipe

    return Recipe(
        clips=60, size=(32, 48), epochs=2, filters=(4, 8, 8), pool_sizes=(2, 2, 2), validation=0.25, overlays=1,
        workers=1, out=tmp_path_factory.mktemp("runs"), run="tiny", protocol="group,random",
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe) -> Path:
    """The run folder of `tiny_recipe`."""
    from experiments import ucf10_cnn_gru

    ucf10_cnn_gru.main(tiny_recipe)
    return tiny_recipe.out / "ucf10_cnn_gru" / "tiny"
