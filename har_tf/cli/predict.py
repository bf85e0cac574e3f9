"""python -m har_tf predict: the most probable classes of videos."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from har_tf.cli.reading import Foreign, open_classifier
from har_tf.evaluate.calibration import Calibration
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
    calibration: bool = True
    """Calibrate probabilities where the model's file says how; --no-calibration leaves them as the model gives them."""
    beam: str | None = None
    """Options of an Apache Beam pipeline whose workers read and predict, as in --beam="--runner=DirectRunner". They see
    model, videos and --work at the same paths. None: no Beam."""
    work: Path = Path("predictions.work")
    """Folder for what Beam's workers have finished, from which the same command goes on after a kill; gone at its
    end."""
    foreign: Foreign = field(default_factory=Foreign)

    def run(self) -> None:
        if not self.videos:
            say("error: at least one video is needed", to=sys.stderr)
            sys.exit(2)
        if self.top < 1:
            raise ValueError(f"At least one class is printed. Received: --top {self.top}")
        if self.windows is not None and self.windows < 1:
            raise ValueError(f"At least one window is averaged over. Received: --windows {self.windows}")
        _check_any(self.videos, self.json)
        if self.beam is not None:
            from har_tf.files.whole import check_writable
            from har_tf.store import beam

            beam.check(options := shlex.split(self.beam))
            check_writable(self.work)
        classifier = open_classifier(self.model, self.foreign, calibrated=self.calibration)
        calibration = classifier.calibration_of(self.windows)
        if calibration is not None:
            say(f"note: {calibration}", to=sys.stderr)
        from har_tf import bulk

        if self.beam is None:
            found = bulk.rows(classifier, self.videos, self.windows)
        else:
            list(bulk.rows(classifier, (), self.windows))  # raises what every worker would
            loading = {
                "clip": self.foreign.clip, "output": self.foreign.model_output, "calibrated": self.calibration
            }  # fmt: skip
            found = bulk.rows_on_beam(self.model, self.videos, options, self.work, self.windows, **loading)
        names, failed = distinct(classifier.class_names), []
        for video, row in zip(self.videos, found, strict=True):
            if row.error is not None:
                failed.append(_failure(video, row.error, self.json))
                continue
            if row.note:
                say(f"note: {video} {row.note}", to=sys.stderr)
            answer = np.array(row.probabilities)
            order = answer.argsort(kind="stable")[::-1]
            if self.json:
                ranked = {names[i]: float(answer[i]) for i in order}
                told = {"video": str(video), "class": names[order[0]], "probabilities": ranked}
                say(json.dumps(told | _promises(calibration, answer, names)))
            else:
                rows = [f"  {answer[i]:6.4f}  {names[i]}" for i in order[: self.top]]
                say(video, *rows, *_promised(calibration, answer, names))
        if failed:
            raise VideoErrors(failed)


def _promises(calibration: Calibration | None, answer: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What may be said of an answer, for JSON: its temperature, whether it is none of these, the set of classes."""
    if calibration is None:
        return {}
    told: dict[str, Any] = {"temperature": calibration.temperature}
    if calibration.abstention is not None:
        told["none_of_these"] = not calibration.abstention.answers(answer[None])[0]
    if calibration.sets is not None:
        told["set"] = [names[i] for i in np.flatnonzero(calibration.sets.of(answer[None])[0])]
    return told


def _promised(calibration: Calibration | None, answer: np.ndarray, names: Sequence[str]) -> list[str]:
    """The same as lines; an answer that counts needs none."""
    told, lines = _promises(calibration, answer, names), []
    if told.get("none_of_these"):
        found = calibration.abstention
        lines.append(
            f"  none of these: {answer.max():.4f} is below {found.threshold:.4f}, which a precision of "
            f"{found.precision:g} needs"
        )
    if "set" in told:
        lines.append(f"  one of these, with a coverage of {calibration.sets.coverage:g}: {', '.join(told['set'])}")
    return lines


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
