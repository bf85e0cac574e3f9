"""Networks that start from published Kinetics weights, with a new classifier for other classes."""

from pathlib import Path

import keras

from har_tf.models import i3d, resnext3d
from har_tf.models.weights import checkpoints
from har_tf.models.weights.import_weights import import_weights


def from_kinetics(
    network: str, input_shape, num_classes: int, weights: str | Path | None = None, trainable: bool = True, **options
):
    """A network whose classifier is new, and whose other weights are the published ones.

    Args:
        network: resnext3d, i3d or i3d_flow.
        input_shape: (time, height, width, channels) of a clip.
        num_classes: size of the new classifier.
        weights: file with its Kinetics weights, which fill everything in front of the classifier, strictly; None:
            random ones.
        trainable: False freezes all but the classifier.
        **options: further arguments of `resnext3d` or `i3d`.

    Raises:
        ValueError: weights of another network, or a shape that the network cannot have.
        FileNotFoundError: there is no such file.

    Example:
        >>> model = from_kinetics("resnext3d", (16, 112, 112, 3), 101, "resnext-101-kinetics.pth")
    """
    if network == "resnext3d":
        model, last = resnext3d(input_shape, num_classes, **options), "layer4"
    else:
        modality = "flow" if network == "i3d_flow" else "rgb"
        scale = weights is None or _has_scale(weights)
        model, last = i3d(input_shape, num_classes, modality, batch_norm_scale=scale, **options), "mixed_5c"
    if weights is not None:
        # The same layers, not copies.
        import_weights(keras.Model(model.inputs, model.get_layer(last).output, name=model.name), weights)
    for layer in model.layers[:-1]:
        layer.trainable = trainable
    return model


def _has_scale(weights: str | Path) -> bool:
    """Whether BatchNorm has a scale in a file of I3D: it has in the port's and in Keras' files, not in DeepMind's."""
    path = checkpoints.file_of(weights)
    if path.suffix.lower() in (".h5", ".hdf5", ".keras"):
        return True
    return any(name.endswith(("batch_norm/gamma", "bn.weight")) for name in checkpoints.read(path))
