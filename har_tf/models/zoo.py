"""Models by the names that tables give them: CNN-GRU, Frame-CNN, MobileNet, CNN-GRU/MobileNetV2, ..., I3D."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras

from har_tf.models import backbones
from har_tf.models.cnn_gru import cnn_gru
from har_tf.models.frame_cnn import frame_cnn
from har_tf.models.fusion_gru import fusion_gru, fusion_gru_head
from har_tf.models.kinetics import from_kinetics
from har_tf.networks import BACKBONES, OWN, VIDEO, WeightsUnavailable, backbone_of, source_of

PUBLISHED = {name: backbone.published for name, backbone in {**BACKBONES, **VIDEO}.items()}


@dataclass(frozen=True)
class NamedModel:
    """A model that is called by a name, with the weights it starts from.

    Args:
        name: "CNN-GRU"; "Frame-CNN", the same network with an average over time; an ImageNet network of
            `har_tf.models.backbones`; "CNN-GRU/<network>", CNN-GRU with that network as its frame encoder; or "I3D",
            with a new classifier behind its Kinetics weights.
        backbone: the published network in it, if any.
        weights: None, "imagenet", or the file with the network's weights.
        finetune: whether a network that starts from weights is trained too.
        missing: why the weights are not to be had, and where they are published; such a model cannot be built.
    """

    name: str
    backbone: str | None = None
    weights: str | Path | None = None
    finetune: bool = False
    missing: str | None = None

    @property
    def order_blind(self) -> bool:
        """Whether the model averages over time, so that the order of the frames cannot matter."""
        return not self.name.startswith("CNN-GRU") and self.name not in VIDEO

    @property
    def start(self) -> str:
        """What the weights start from, in words."""
        return "random weights" if self.weights is None else _start([self.weights], self.finetune)

    def build(self, input_shape, num_classes: int, dropout: float = 0.0, **options) -> keras.Model:
        """A new model with its starting weights.

        Args:
            input_shape: (time, height, width, channels).
            num_classes: number of classes.
            dropout: of `cnn_gru`, `frame_cnn` or `i3d`.
            **options: further arguments of `cnn_gru` or `i3d`; an ImageNet network alone has none of them.

        Raises:
            ValueError: an argument that the model cannot have, or a file that does not fit it.
        """
        trainable = self.finetune or self.weights is None
        if self.name in VIDEO:
            return from_kinetics("i3d", input_shape, num_classes, self.weights, trainable, dropout=dropout, **options)
        if self.name not in OWN and self.order_blind:
            return frame_cnn(self.backbone, input_shape, num_classes, self.weights, trainable, dropout=dropout)
        return cnn_gru(
            input_shape,
            num_classes,
            dropout=dropout,
            temporal="average" if self.order_blind else "gru",
            encoder=self.backbone,
            encoder_weights=self.weights,
            encoder_trainable=trainable,
            **options,
        )


@dataclass(frozen=True)
class FusedModel:
    """ImageNet networks with GRU layers on their frame features: one alone, or several fused.

    Args:
        name: its name in a table.
        weights: backbone -> what it starts from, see `fusion_gru`.
        frame_size: side that all resize their frames to; None: what each was trained on.
        finetune: whether the networks are trained too.
        options: arguments of `fusion_gru_head`: fusion, gru_units, bidirectional, dropout.
    """

    name: str
    weights: Mapping[str, str | Path | None]
    frame_size: int | None = None
    finetune: bool = False
    options: Mapping = field(default_factory=dict)

    @property
    def start(self) -> str:
        """What the weights start from, in words."""
        return _start(self.weights.values(), self.finetune)

    @property
    def frame_sizes(self) -> dict[str, int]:
        """The argument of `fusion_gru` and `end_to_end`."""
        return {} if self.frame_size is None else dict.fromkeys(self.weights, self.frame_size)

    def build(self, shape, num_classes: int) -> keras.Model:
        """The head for stored features of shape {backbone: (T, C)}, or for clips of shape (T, H, W, 3) all of it."""
        if isinstance(shape, Mapping):
            (frames,) = {frames for frames, _ in shape.values()}
            channels = {name: size for name, (_, size) in shape.items()}
            return fusion_gru_head(frames, channels, num_classes, **self.options)
        return fusion_gru(
            shape, num_classes, tuple(self.weights), self.weights, self.finetune, frame_sizes=self.frame_sizes,
            **self.options,
        )  # fmt: skip


def _start(weights: Iterable[str | Path | None], finetune: bool) -> str:
    words = {None: "random weights", "imagenet": "ImageNet weights"}
    sources = " and ".join(words.get(source) or Path(source).name for source in weights)
    return f"{sources}, {'finetuned' if finetune else 'frozen'}"


def named(name: str, weights: str = "imagenet", folder: Path | None = None, finetune: bool = False) -> NamedModel:
    """The model of that name, with its weights found.

    Args:
        name: see `NamedModel`.
        weights: what a published network starts from: "imagenet" (I3D: its Kinetics weights), "none" or the path of a
            published file.
        folder: where published files lie, in place of downloads.
        finetune: see `NamedModel`.

    Returns:
        The model to build; with `missing` set where its weights are not to be had.

    Raises:
        ValueError: no model has this name.
        FileNotFoundError: the file or the folder does not exist.
    """
    backbone = backbone_of(name)
    if backbone is None:
        return NamedModel(name)
    model = NamedModel(name, backbone, finetune=finetune)
    try:
        source = source_of(backbone, weights, folder)
        return replace(model, weights=backbones.download(backbone) if source == "imagenet" else source)
    except WeightsUnavailable as error:
        return replace(model, missing=f"{error}. Published as {PUBLISHED[backbone]}")
