"""What an experiment explains: a saved model, published weights, or a network that is trained first."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from har_tf.classifier import Classifier
from har_tf.models.resnext3d import resnext3d
from har_tf.models.taps import find_several
from har_tf.models.video_swin import video_swin
from har_tf.models.weights import import_weights as importers
from har_tf.trial import Buildable

_KINDS = {4: "clips", 3: "pictures"}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is explained: a classifier, or a network to train, or why there is neither.

    Args:
        name: as in titles.
        start: where its weights come from.
        classifier: the one that is given.
        network: what is trained.
        options: arguments of its `build`.
        missing: why there is neither.
    """

    name: str
    start: str
    classifier: Classifier | None = None
    network: Buildable | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    missing: str | None = None

    def shape(self, asked: Sequence[int | None], data: str) -> tuple[int, ...]:
        """The shape of a clip, (time, height, width, channels), or of a picture, (height, width, channels).

        Args:
            asked: the shape that is asked for; None in it: as the classifier takes them.
            data: what has such clips or pictures, for the message.

        Raises:
            ValueError: the classifier takes clips of another size, or pictures, or leaves open what is not asked for.
        """
        if self.classifier is None:
            return tuple(asked)
        own = tuple(self.classifier.model.input_shape[1:])
        if len(own) != len(asked):
            received = f"a model that takes {_KINDS.get(len(own), own)}"
            raise ValueError(f"{data} has {_KINDS[len(asked)]}. Received: {received}")
        shape = tuple(side or other for side, other in zip(asked, own, strict=True))
        if None in shape or any(side not in (None, other) for side, other in zip(own, shape, strict=True)):
            takes, given = (" x ".join("any" if n is None else str(n) for n in sides) for sides in (own, asked))
            raise ValueError(f"The model takes {takes}. Received: --num-frames and --size for {given}")
        return shape

    def taps(self, names: Sequence[str] | None, shape: tuple[int, ...]) -> list[str]:
        """The names of the layers; None: the stages of the model. Without a model there are none.

        Raises:
            ValueError: the model has no such tap; the message lists those it has.
        """
        return [] if self.missing else [tap.name for tap in find_several(self.graph(shape), names)]

    def graph(self, shape: tuple[int, ...]) -> keras.Model:
        """The model, or a graph like that of the one that is to be trained."""
        return self.network.build(shape, 2, **self.options) if self.network else self.classifier.model


def saved(path: Path) -> Subject:
    """The model of a .keras file.

    Raises:
        ValueError: the file holds no such model.
    """
    return Subject(path.stem, path.name, Classifier.load(path))


def published(
    path: Path,
    shape: tuple[int, ...],
    class_names: Path | None,
    known: Iterable[Sequence[str]] = (),
    network: str = "ResNeXt3D",
) -> Subject:
    """A network of clips, or ResNet50 of pictures, with the weights of a published file.

    Args:
        path: the file, .pth or .h5.
        shape: of a clip or a picture, as it is to take them.
        class_names: a file with the names of its outputs, one a line, as UCF101's classInd.txt.
        known: without a file the first of these that are as many as its outputs; else "class 0", ...
        network: which of clips: ResNeXt3D or VideoSwin.

    Raises:
        ValueError: the file holds no such weights, or there are other names than outputs.
    """
    if network == "VideoSwin":
        model = video_swin(input_shape=shape, weights=path, **importers.video_swin_options(path))
    elif len(shape) == 4:
        model = resnext3d(shape, weights=path, **importers.resnext3d_options(path))
    else:
        picture = keras.Input(shape, dtype="uint8", name="picture")
        x = keras.ops.flip(picture, axis=-1)  # the network was trained on BGR
        x = keras.layers.Rescaling(1.0, [-103.939, -116.779, -123.68], name="preprocess")(x)
        model = importers.import_weights(keras.applications.ResNet50(weights=None, input_tensor=x), path)
    outputs = model.output_shape[-1]
    if class_names is None:
        names = next((names for names in known if len(names) == outputs), [f"class {i}" for i in range(outputs)])
    else:
        lines = [line.strip() for line in class_names.read_text(encoding="utf-8").splitlines() if line.strip()]
        names = [re.sub(r"^\d+\s+", "", line) for line in lines]  # "1 ApplyEyeMakeup" or the name alone
        if len(names) != outputs:
            raise ValueError(f"{class_names}: {len(names)} names. Expected {outputs}, one an output of the weights")
    return Subject(model.name, path.name, Classifier(model, names))


def untrained(network: Any, options: Mapping[str, Any]) -> Subject:
    """A network that is trained first: a `Buildable` with a name and the start of its weights; or why it cannot be."""
    if missing := getattr(network, "missing", None):
        return Subject(network.name, "none", missing=missing)
    return Subject(network.name, f"{network.start}, trained here", network=network, options=options)
