"""What predict and explain do alike: open a model, also one made elsewhere, and tell of short videos."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from har_tf.command import check_ranges
from har_tf.files.keras_file import check_keras_file, check_within
from har_tf.names import names_of_model, say


@dataclass(frozen=True)
class Foreign:
    """For a model made elsewhere, where its file does not say how it takes clips."""

    scaling: Literal["0..255", "0..1", "-1..1", "torch", "caffe"] | None = None
    """How the model wants pixels scaled: the range that it was trained on, or what keras.applications calls torch and
    caffe. None: the model scales pixels from 0 to 255 itself."""
    model_frames: int | None = None
    """Frames of a clip, for a model that takes any number."""
    model_size: tuple[int, int] | None = None
    """Height and width, for a model that takes any."""
    model_output: str | None = None
    """Name of the output to use, of a model that has several."""

    @property
    def clip(self) -> dict[str, Any]:
        """The argument of `Classifier.load`."""
        given = {"scaling": self.scaling, "num_frames": self.model_frames, "size": self.model_size}
        return {name: value for name, value in given.items() if value is not None}


def check_file(path: Path, foreign: Foreign) -> tuple[str, ...] | None:
    """The names of the classes of a model's file, None where it has none; raises what is wrong, without TensorFlow."""
    check_ranges(foreign, {"model_frames": (1, None), "model_size": (1, None)})
    check_keras_file(path)
    check_within(path, "output", [] if foreign.model_output is None else [foreign.model_output])
    return names_of_model(path)


def open_classifier(
    path: Path, foreign: Foreign, class_name: str | None = None, taps: Sequence[str] = (), calibrated: bool = True
):
    """The `har_tf.classifier.Classifier` of a file, with its calibration unless it is not wanted.

    That it is none, or has no such class, tap or output, is told before TensorFlow is imported where the file tells it.
    """
    from har_tf import quiet

    names = check_file(path, foreign)
    if (
        class_name is not None and names is not None and len(names) > 1 and class_name not in names
    ):  # one: and its absence
        raise ValueError(f"The model's classes are {', '.join(names)}. Received: --class-name {class_name}")
    check_within(path, "tap", taps)
    quiet.import_tensorflow(as_engine=True)
    from har_tf.classifier import Classifier

    return Classifier.load(path, foreign.clip, foreign.model_output, calibrated)


def note_short(video: Path, clip: np.ndarray, how: Mapping) -> None:
    """Says so where a video has fewer frames than its clip needs, which `read_clip` filled up as `how` has it."""
    from har_tf.bulk import short_note

    if note := short_note(video, clip, how):
        say(f"note: {video} {note}", to=sys.stderr)
