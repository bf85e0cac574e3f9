"""What an experiment explains: a saved model, published weights, or a network that is trained first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from har_tf import networks
from har_tf.command import words
from har_tf.files.keras_file import check_keras_file
from har_tf.names import say

if TYPE_CHECKING:  # without TensorFlow, so that an experiment can list its options
    import keras

    from har_tf.classifier import Classifier
    from har_tf.evaluate.options import Reading
    from har_tf.trial import Buildable, Outcome, Parts, Trainer

# Arguments of `har_tf.models.cnn_gru` for the small frames of the embedded data set.
SMALL_CNN_GRU = {"pool_sizes": (4, 2, 2), "pool_before_norm": True, "normalize_sequence": True, "dropout": 0.1}
# What localisation explains of it: the first convolution, and the ReLUs, which stand behind the max pooling.
_SMALL_CNN_GRU_TAPS = "conv2d_1,relu_1,relu_2,relu_3,conv3d"
# The published networks that the 3DCAM paper explains, by the data that they were fine-tuned on.
RESNEXT_101 = {
    data: f"3D ResNeXt-101 with the weights of github.com/kenshohara/3D-ResNets-PyTorch, fine-tuned on {data}"
    for data in ("UCF101", "HMDB51")
}
_RESNEXT_101 = {"blocks": (3, 4, 23, 3), "width": 128, "cardinality": 32}
_OUTPUTS = {"UCF101": 101, "HMDB51": 51}
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
        if None in shape:
            takes = " x ".join("any" if n is None else str(n) for n in own)
            raise ValueError(
                f"The model takes {takes}, so --num-frames and --size have to say how many frames of which height and "
                "width it is given"
            )
        if any(side not in (None, other) for side, other in zip(own, shape, strict=True)):
            takes, given = (" x ".join("any" if n is None else str(n) for n in sides) for sides in (own, asked))
            raise ValueError(f"The model takes {takes}. Received: --num-frames and --size for {given}")
        return shape

    def clip(self, reading: Reading) -> dict[str, str]:
        """How clips are taken, as in `har_tf.models.saving.CLIP`; what `reading` leaves open as by the classifier."""
        from har_tf.models.saving import CLIP

        own = self.classifier.clip if self.classifier else CLIP
        return own | {
            name: value for name in ("sampling", "fit", "by") if (value := getattr(reading, name)) is not None
        }

    @property
    def localising(self) -> str | None:
        """Names of layers for `taps`, where localisation takes others than the stages: of a CNN-GRU trained here."""
        return _SMALL_CNN_GRU_TAPS if self.network and self.name == "CNN-GRU" else None

    def taps(self, names: str | None, shape: tuple[int, ...]) -> list[str]:
        """The names of the layers, of those separated by commas; None: the stages of the model. Without a model none.

        Raises:
            ValueError: the model has no such tap; the message lists those it has.
        """
        from har_tf.models.taps import find_several

        return [] if self.missing else [tap.name for tap in find_several(self.graph(shape), names and words(names))]

    def graph(self, shape: tuple[int, ...]) -> keras.Model:
        """The model, or a graph like that of the one that is to be trained."""
        return self.network.build(shape, 2, **self.options) if self.network else self.classifier.model

    def trained(self, trainer: Trainer, parts: Parts, run: Any, seed: int) -> Outcome:
        """Trains the network; model and history go to `run`, a `har_tf.report.run_folder.RunFolder`."""
        say("", f"{self.name}: trained on {len(parts.train)} clips")
        folder = run.training / self.name.replace("/", "_")
        outcome = trainer.train(self.network, parts, folder, seed, **self.options)
        run.keep(outcome.folder / "model.keras")
        run.keep(outcome.folder / "history.csv")
        say(f"{self.name}: accuracy {outcome.report.accuracy:.4f} on the test videos")
        return outcome


@dataclass(frozen=True)
class Model:
    """What is explained: one of --model, --weights and --network."""

    model: Path | None = None
    """A saved model (.keras) to explain."""
    weights: Path | None = None
    """Published weights to explain: of a 3D ResNeXt (.pth), or for ilsvrc of a ResNet50 with its top layers (.h5); in
    Video-TCAV of a Video Swin (.pth)."""
    class_names: Path | None = None
    """Names of the classes of --weights, one a line, as UCF101's classInd.txt. None: those of the data set where there
    are as many, or HMDB51's for 51 outputs and jhmdb."""
    network: str | None = None
    """What to train on the training part: ResNeXt3D (in Video-TCAV VideoSwin), CNN-GRU, or an ImageNet network over
    frames, such as MobileNetV2 or CNN-GRU/MobileNetV2. None: nothing."""
    called: str | None = None
    """Classes that the model calls otherwise than the data, separated by commas, as in "Surfing=surfing water,...".
    None: they are called alike."""
    weights_dir: Path | None = None
    """Folder with the published .h5 file of an ImageNet network. None: downloaded."""
    finetune: bool = False
    """Train the ImageNet network too, not only what stands on it."""
    augment: bool = False
    """Change the training clips at random: mirrored and cropped, in localisation relit too."""
    taps: str | None = None
    """Layers from input to output, separated by commas. None: the model's stages; in localisation, of a CNN-GRU that
    is trained here, the first convolution and the ReLUs, which stand behind the max pooling."""

    @property
    def given(self) -> list[str]:
        """Those of the three that are given."""
        return [name for name in ("model", "weights", "network") if getattr(self, name) is not None]

    @property
    def model_names(self) -> dict[str, str]:
        """Name of a class in the data -> its name in the model, where they differ.

        Raises:
            ValueError: `called` is something else, or names a class twice.
        """
        pairs = [] if self.called is None else [pair.partition("=")[::2] for pair in words(self.called)]
        names = {ours.strip(): theirs.strip() for ours, theirs in pairs}
        if len(names) < len(pairs) or not all(ours and theirs for ours, theirs in names.items()):
            raise ValueError(
                "--called takes CLASS OF THE DATA=CLASS OF THE MODEL, separated by commas, once a class. "
                f"Received: {self.called!r}"
            )
        return names

    def is_resnext_101(self, data: str) -> bool:
        """Whether --weights are those of `RESNEXT_101` for this data, as far as sizes and outputs in their file tell.

        Raises:
            ValueError, FileNotFoundError: as in `har_tf.models.weights.import_weights.resnext3d_options`.
        """
        from har_tf.models.weights import import_weights as importers

        if self.weights is None:
            return False
        expected = _RESNEXT_101 | {"num_classes": _OUTPUTS[data]}
        return expected.items() <= importers.resnext3d_options(self.weights).items()

    def check(self, small: str) -> None:
        """Checks what can be checked without Keras.

        Args:
            small: name of the network that two cores can train, see `subject`.

        Raises:
            ValueError: several are to be explained, or a network that nobody knows.
            FileNotFoundError: a file or folder that is not there.
        """
        if len(self.given) > 1:
            raise ValueError(f"One of --model, --weights and --network is explained. Received: {', '.join(self.given)}")
        if self.model_names and (self.network or not self.given):
            raise ValueError("--called names classes of --model or --weights. Received: neither")
        for option in ("model", "weights", "class_names"):
            path = getattr(self, option)
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"{path}: no such file for --{option.replace('_', '-')}")
        if self.model is not None:
            check_keras_file(self.model)
        if self.weights is not None:
            networks.check_weights_file(self.weights)
        if self.network not in (None, small):
            networks.check(self.network, folder=self.weights_dir)

    def subject(
        self,
        shape: Sequence[int | None],
        known: Iterable[Sequence[str]],
        small: Buildable,
        needed: str = "--model, --weights or --network",
        **options: Any,
    ) -> Subject:
        """What is given or is to be trained.

        Args:
            shape: of a clip or a picture, as `published` takes it.
            known: as `published` takes it.
            small: the network that two cores can train, with a `name`; published weights of clips are of such a one.
            needed: what is to be given, where nothing is.
            **options: arguments of the `build` of `small`.

        Raises:
            ValueError: a file that holds no such model, as in `published`, or a network that nobody knows.
        """
        from har_tf.classifier import Classifier
        from har_tf.models.zoo import named

        if self.model is not None:
            classifier = Classifier.load(self.model)
            classifier.check_pixels()
            return Subject(self.model.stem, self.model.name, classifier)
        if self.weights is not None:
            return published(self.weights, shape, self.class_names, known, small.name)
        if self.network is None:
            return Subject("no model", "none", missing=f"needs {needed}")
        network = small
        if self.network != small.name:
            network = named(self.network, folder=self.weights_dir, finetune=self.finetune)
            options = SMALL_CNN_GRU if network.name == "CNN-GRU" else {}
            if network.missing:
                return Subject(network.name, "none", missing=network.missing)
        return Subject(network.name, f"{network.start}, trained here", network=network, options=options)


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
    import keras

    from har_tf.classifier import Classifier
    from har_tf.models import resnext3d, video_swin
    from har_tf.models.weights import import_weights as importers

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
