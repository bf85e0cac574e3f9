"""python -m har_tf predict: the most probable classes of videos."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from har_tf.cli.reading import Foreign, note_short, open_classifier
from har_tf.names import shown


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
    json: bool = False
    """Print one JSON object a video, with all probabilities."""
    foreign: Foreign = field(default_factory=Foreign)

    def run(self) -> None:
        if not self.videos:
            print("error: at least one video is needed", file=sys.stderr)
            sys.exit(2)
        classifier = open_classifier(self.model, self.foreign)
        how = classifier.reading
        if self.top < 1:
            raise ValueError(f"At least one class is printed. Received: --top {self.top}")
        from har_tf.files.workers import Failed

        failed = []
        for video, clip, answer in classifier.answers(self.videos):
            if isinstance(answer, Failed):
                failed.append(f"{video}: {answer.reason}")
                if self.json:
                    print(json.dumps({"video": str(video), "error": failed[-1]}))
                continue
            note_short(video, clip, how)
            names, order = classifier.class_names, answer.argsort(kind="stable")[::-1]
            if self.json:
                ranked = {names[i]: float(answer[i]) for i in order}
                print(json.dumps({"video": str(video), "class": names[order[0]], "probabilities": ranked}))
            else:
                print(shown(video))
                for i in order[: self.top]:
                    print(f"  {answer[i]:6.4f}  {names[i]}")
        if failed:
            raise VideoErrors(failed)


class VideoErrors(ValueError):
    """Some of several videos could not be read."""

    def __init__(self, reasons):
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{reasons[0]}{more}")
