"""python -m har_tf predict: the most probable classes of videos."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from har_tf.cli.reading import Foreign, note_short, open_classifier
from har_tf.names import distinct, say


@dataclass(frozen=True)
class Predict:
    """Print the most probable classes of videos."""

    videos: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="VIDEO [VIDEO ...]", help_behavior_hint="(required)"),
    ]
    """One or more video files."""
    model: Path
    """A .keras file. One of this project says how its clips are taken."""
    top: int = 5
    """Classes to print."""
    windows: int | None = None
    """Average over clips side by side, at most so many, evenly over the video. None: one clip."""
    json: bool = False
    """Print one JSON object a video, with all probabilities."""
    foreign: Foreign = field(default_factory=Foreign)

    def run(self) -> None:
        if not self.videos:
            say("error: at least one video is needed", to=sys.stderr)
            sys.exit(2)
        if self.top < 1:
            raise ValueError(f"At least one class is printed. Received: --top {self.top}")
        if self.windows is not None and self.windows < 1:
            raise ValueError(f"At least one window is averaged over. Received: --windows {self.windows}")
        from har_tf.files.workers import Failed

        _check_any(self.videos, self.json)
        classifier = open_classifier(self.model, self.foreign)
        how, failed = classifier.reading, []
        for video, clip, answer in classifier.answers(self.videos, windows=self.windows):
            if isinstance(answer, Failed):
                failed.append(_failure(video, answer.reason, self.json))
                continue
            note_short(video, clip, how)
            names, order = distinct(classifier.class_names), answer.argsort(kind="stable")[::-1]
            if self.json:
                ranked = {names[i]: float(answer[i]) for i in order}
                say(json.dumps({"video": str(video), "class": names[order[0]], "probabilities": ranked}))
            else:
                say(video, *(f"  {answer[i]:6.4f}  {names[i]}" for i in order[: self.top]))
        if failed:
            raise VideoErrors(failed)


def _check_any(videos: Sequence[Path], as_json: bool) -> None:
    """Raises VideoErrors where none of the videos is a file, before TensorFlow is imported."""
    from har_tf.video import VideoError
    from har_tf.video.guard import regular_file

    reasons = []
    for video in videos:
        try:
            regular_file(video)
            return
        except VideoError as error:
            reasons.append(error.reason)
    raise VideoErrors([_failure(*pair, as_json) for pair in zip(videos, reasons, strict=True)])


def _failure(video: Path, reason: str, as_json: bool) -> str:
    line = f"{video}: {reason}"
    if as_json:
        say(json.dumps({"video": str(video), "error": line}))
    return line


class VideoErrors(ValueError):
    """Some of several videos could not be read."""

    def __init__(self, reasons):
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{reasons[0]}{more}")
