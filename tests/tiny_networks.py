"""Networks of three layers in place of those whose graphs take seconds: `from tiny_networks import make_tiny`."""

from dataclasses import replace
from pathlib import Path

import keras
from keras import layers

from har_tf.models import backbones

CHANNELS = {"MobileNet": 64, "MobileNetV2": 48, "GoogLeNet": 40}
ALPHA = {"MobileNet": 0.25}


def tiny(channels: int):
    """A builder of a network's like; of 64 pixels its last map is 2 x 2."""

    def build(input_shape=(224, 224, 3), include_top=True, weights=None, input_tensor=None, alpha=1.0, variant=None):
        image = keras.Input(input_shape) if input_tensor is None else input_tensor
        x = image
        for number, (filters, stride) in enumerate(((32, 4), (32, 4), (channels, 2)), start=1):
            x = layers.Conv2D(round(alpha * filters), 3, stride, "same", use_bias=False, name=f"conv_{number}")(x)
            x = layers.BatchNormalization(name=f"conv_{number}_bn")(x)
            x = layers.ReLU(6.0, name=f"conv_{number}_relu")(x)
        return keras.Model(keras.utils.get_source_inputs(image), x)

    return build


def make_tiny(patch, folder: Path | None, *names: str) -> Path | None:
    """Gives backbones of these names, or both MobileNets, tiny networks; writes their weights to a folder."""
    for name in names or ("MobileNet", "MobileNetV2"):
        network = replace(backbones.find(name), build=tiny(CHANNELS[name]), preprocessing="tf")
        patch.setitem(backbones.BACKBONES, name, network)
        if folder is not None:
            keras.utils.set_random_seed(0)
            model = network.build((64, 64, 3), include_top=False, alpha=ALPHA.get(name, 1.0))
            model.save_weights(folder / f"{name.lower()}_notop.weights.h5")
    return folder
