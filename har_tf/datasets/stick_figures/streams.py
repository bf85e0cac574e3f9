"""Long videos of the embedded figures: several actions one after the other, with the truth of every frame.

As in untrimmed video, one person in one scene does an action a few times over, then the picture cuts to the next one;
now and then a person stands still before it begins, which is of no class.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.datasets.stick_figures.drawing import ACTIONS, Figures, draw
from har_tf.files.whole import whole_folder
from har_tf.files.workers import Failed, outcomes
from har_tf.video import write_video

_TRUTH = "truth.npz"  # written last: where it is, the data set is complete


@dataclass(frozen=True)
class Streams:
    """What is drawn; two equal ones give the same bytes.

    Args:
        figures: how people and scenes are drawn; of its `clips` nothing is taken.
        videos: how many.
        actions: different ones in each video, each once.
        repeats: how often an action is done before the next.
        pause: probability that a person stands still, for as long as two actions take, before it begins.
    """

    figures: Figures = field(default_factory=Figures)
    videos: int = 20
    actions: int = 5
    repeats: int = 3
    pause: float = 0.5

    def __post_init__(self):
        if self.videos < 1 or self.repeats < 1 or not 1 <= self.actions <= len(ACTIONS) or not 0 <= self.pause <= 1:
            raise ValueError(
                f"Streams are of 1 to {len(ACTIONS)} actions, one video or more, each action done once or more, with a "
                f"pause of a probability. Received: {self}"
            )

    @property
    def name(self) -> str:
        """Of the folder."""
        figures = replace(self.figures, clips=1).fingerprint
        return f"streams-{figures}-{self.videos}-{self.actions}-{self.repeats}-{self.pause:g}"


def load(root: str | Path, settings: Streams, workers: int | None = None) -> ActionDataset:
    """The videos; drawn on the first call, read from disk on the next.

    Args:
        root: folder to keep drawn data sets in.
        settings: what to draw. A seed other than that of clips draws other people and scenes than theirs.
        workers: processes that draw; None: one a core; 0: this process.

    Returns:
        A record for every stretch of an action, its `segment` in seconds and its `group` the video; `boxes` are those
        of all frames of the video.

    Raises:
        DatasetError: the folder cannot be written.
    """
    folder = Path(root) / settings.name
    if not (folder / _TRUTH).is_file():
        _generate(folder, settings, workers)
    with np.load(folder / _TRUTH) as truth:
        rows, boxes, starts = truth["segments"], truth["boxes"], truth["starts"]
    records = []
    for video, label, begin, end in rows.tolist():
        path, fps = folder / _file(video), settings.figures.fps
        own = boxes[starts[video] : starts[video + 1]]
        records.append(VideoRecord(path, label, path.stem, boxes=own, segment=(begin / fps, end / fps)))
    return ActionDataset("streams", folder, tuple(records), ACTIONS)


def _file(video: int) -> str:
    return f"stream_{video + 1:04d}.mp4"


def _generate(folder: Path, settings: Streams, workers: int | None) -> None:
    try:
        with whole_folder(folder) as part:
            segments, boxes = [], []
            for video, outcome in enumerate(
                outcomes(_write, [(part, settings, i) for i in range(settings.videos)], workers)
            ):
                if isinstance(outcome, Failed):
                    raise OSError(outcome.reason)
                segments += [(video, *segment) for segment in outcome[0]]
                boxes.append(outcome[1])
            starts = np.cumsum([0, *map(len, boxes)])
            np.savez_compressed(part / _TRUTH, segments=np.array(segments), boxes=np.concatenate(boxes), starts=starts)
    except OSError as error:
        raise DatasetError(f"{folder}: the streams cannot be written ({error.strerror or error})") from error


def _write(task: tuple[Path, Streams, int]) -> tuple[list[tuple[int, int, int]], np.ndarray]:
    """Draws and encodes one video; returns its (label, first frame, frame after the last), and (frames, 4) boxes."""
    folder, settings, video = task
    cv2.setNumThreads(1)
    rng = np.random.default_rng([settings.figures.seed, video])
    frames, boxes, segments = [], [], []
    for place, label in enumerate(rng.permutation(len(ACTIONS))[: settings.actions].tolist()):
        drawing = draw(ACTIONS[label], video * len(ACTIONS) + place, settings.figures)
        if rng.random() < settings.pause:
            still = [0] * 2 * len(drawing.frames)
            frames.append(drawing.frames[still])
            boxes.append(drawing.boxes[still])
        begin = sum(map(len, frames))
        frames += [drawing.frames] * settings.repeats
        boxes += [drawing.boxes] * settings.repeats
        segments.append((label, begin, begin + len(drawing.frames) * settings.repeats))
    write_video(
        folder / _file(video), np.concatenate(frames), fps=settings.figures.fps, qp=16, preset="ultrafast", threads=1
    )
    return segments, np.concatenate(boxes)
