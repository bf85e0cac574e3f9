"""The model of a study: a saved one, published weights, or a network that is trained first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from har_tf.models.saving import CLIP, clip_settings, load_model
from har_tf.models.taps import find, find_several, stages
from har_tf.models.video_swin import video_swin
from har_tf.models.weights import import_weights

Shape = tuple[int, int, int, int]  # (T, H, W, 3) of a clip
PAPER: Shape = (32, 224, 224, 3)


@dataclass(frozen=True, eq=False)
class Subject:
    """The model of a study.

    Args:
        name: as in titles.
        start: where its weights come from.
        model: the classifier; where it is to be trained, its graph, by which taps are found.
        shape: (T, H, W, 3) of a clip.
        class_names: of its outputs.
        clip: sampling, short and fit: how its clips are taken.
        trained: what to train, a `har_tf.trial.Buildable`; None: nothing.
        options: arguments of its `build`.
    """

    name: str
    start: str
    model: keras.Model
    shape: Shape
    class_names: tuple[str, ...]
    clip: Mapping[str, str]
    trained: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def taps(self, names: Sequence[str] | None = None, gradcam: str | None = None) -> tuple[list[str], str]:
        """The layers of TCAV and the one of Grad-CAM.

        Args:
            names: of the layers; None: the stages of the model.
            gradcam: None: the last of the stages whose maps are at least 4 high and wide.

        Raises:
            ValueError: the model has no such tap; the message lists those it has.
        """
        found = stages(self.model)
        large = [tap for tap in found if min(tap.shape[1:3]) >= 4] or found
        one = large[-1] if gradcam is None else find(self.model, gradcam)
        return [tap.name for tap in (found if names is None else find_several(self.model, names))], one.name


def saved(path: Path, frames: int | None, size: tuple[int, int] | None, asked: Mapping[str, str]) -> Subject:
    """The model of a .keras file.

    Args:
        path: the file.
        frames, size: of clips; None: the model's own, or 32 and 224 x 224 where it takes any.
        asked: how clips are taken, where it is not to be as the file says.

    Raises:
        ValueError: the file holds no such model, or one of clips of another size.
    """
    model, names = load_model(path)
    own, wanted = tuple(model.input_shape[1:]), (frames, *(size or (None, None)), None)
    if len(own) != 4 or own[-1] != 3:
        raise ValueError(f"Video-TCAV takes a model of RGB clips (T, H, W, 3). Received: one that takes {own}")
    if any(None not in pair and pair[0] != pair[1] for pair in zip(own, wanted, strict=True)):
        raise ValueError(f"The model takes {' x '.join(map(str, own))}. Received: --num-frames {frames} --size {size}")
    shape = tuple(a or b or c for a, b, c in zip(own, wanted, PAPER, strict=True))
    return Subject(path.stem, path.name, model, shape, names, clip_settings(path) | asked)


def published(path: Path, shape: Shape, names: Sequence[str], where: str | Path, asked: Mapping[str, str]) -> Subject:
    """A Video Swin with published weights (.pth); its clips are taken as it was trained: strided, the frame's centre.

    Args:
        path: the file.
        shape: of clips.
        names: of its classes.
        where: the names are from.
        asked: how clips are taken, where it is to be otherwise.

    Raises:
        ValueError: the file holds no Video Swin, or one of another number of classes.
    """
    options = import_weights.video_swin_options(path)
    if len(names) != options["num_classes"]:
        raise ValueError(
            f"{path}: {options['num_classes']} classes, and {where} names {len(names)}. --class-names takes a file "
            "with the name of each output, one a line"
        )
    model = video_swin(input_shape=shape, weights=path, **options)
    clip = CLIP | {"sampling": "strided", "fit": "crop"} | asked
    return Subject("VideoSwin", path.name, model, shape, tuple(names), clip)


def untrained(
    network: Any, start: str, options: Mapping[str, Any], shape: Shape, names: Sequence[str], asked: Mapping[str, str]
) -> Subject:
    """A network that is trained first: a `har_tf.trial.Buildable` with a name, whose weights come from `start`.

    `options` are arguments of its `build`; what else there is, is as in `published`.
    """
    model = network.build(shape, len(names), **options)
    return Subject(network.name, f"{start}, trained here", model, shape, tuple(names), CLIP | asked, network, options)
