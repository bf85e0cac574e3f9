"""What every test shares: the folder of real data, where there is one, and quiet logs."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_configure(config):
    """Two logical CPU devices, before anything uses TensorFlow, so that MirroredStrategy has something to mirror."""
    try:
        import tensorflow as tf
    except ImportError:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos, weights and split lists that some machines have beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real videos and weights beside the repository")
    return folder
