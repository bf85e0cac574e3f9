"""The embedded data set: articulated figures, drawn and encoded as real video files, with everything known about them.

Ten actions. The first six are three pairs, and every clip of one is a clip of the other with its frames in reverse
order: same person, same scene, same group. Facing, camera and background motion are drawn at random and say nothing
about the action. A model that ignores the order of frames gives both members of a pair the same answer, so it is right
on at most one of them: with ten classes of equal size it cannot exceed 0.4 + 0.6 / 2 = 70 %.

A group is one person (proportions, clothes) in one scene (background, light) and holds one clip of every action, so
neither the person nor the scene tells the action, and a split by groups tests on people and scenes never seen.

    python -m har_tf preview figures        # writes a sheet of what is drawn
"""

import os
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.datasets.stick_figures.drawing import ACTIONS, REVERSED_PAIRS, Drawing, Figures, draw
from har_tf.files.whole import whole_folder
from har_tf.files.workers import Failed, outcomes
from har_tf.video import write_video

_TRUTH = "truth.npz"  # written last: where it is, the data set is complete


def load(root: str | Path | None = None, workers: int | None = None, **settings) -> ActionDataset:
    """The embedded data set; drawn on the first call, read from disk on the next.

    Args:
        root: folder to keep drawn data sets in, one subfolder for each settings; None: `har_tf/figures` in the user's
            cache folder.
        workers: processes that draw; None: one a core; 0: this process. The files do not depend on it.
        **settings: fields of `Figures`.

    Returns:
        Records with person boxes, joints and object boxes for every frame; `group` is the person and scene.

    Raises:
        TypeError: an unknown setting.
        ValueError: a setting out of range.
        DatasetError: the folder cannot be written.
    """
    settings = Figures(**settings)
    folder = (Path(root) if root is not None else _cache()) / settings.fingerprint
    if not (folder / _TRUTH).is_file():
        generate(folder, settings, workers)
    with np.load(folder / _TRUTH) as truth:
        boxes, joints, objects = truth["boxes"], truth["joints"], truth["object_boxes"]
    records = []
    for i, (action, group, name) in enumerate(plan(settings)):
        has_object = not np.isnan(objects[i]).all()
        records.append(
            VideoRecord(
                path=folder / name,
                label=ACTIONS.index(action),
                group=f"g{group + 1:04d}",
                boxes=boxes[i],
                joints=joints[i],
                object_boxes=objects[i] if has_object else None,
            )
        )
    return ActionDataset("figures", folder, tuple(records), ACTIONS)


def generate(folder: Path, settings: Figures, workers: int | None = None) -> Path:
    """Draws and encodes the whole data set into `folder`, which appears when it is complete.

    Args:
        folder: does not exist yet.
        settings: what to draw.
        workers: processes that draw; None: one a core; 0: this process draws.

    Raises:
        DatasetError: the folder cannot be written; nothing is left behind.
    """
    groups = range(1 + (settings.clips - 1) // len(ACTIONS))
    rows = {}
    try:
        with whole_folder(folder) as part:
            for action in ACTIONS:
                (part / action).mkdir()
            tasks = ((part, settings, group) for group in groups)
            done = outcomes(_write, tasks, workers)
            for outcome in tqdm(done, "drawing", len(groups), unit="group", leave=False, disable=None):
                if isinstance(outcome, Failed):
                    raise OSError(outcome.reason)
                rows.update(outcome)
            names = [name for _, _, name in plan(settings)]
            truth = {key: np.stack([rows[name][i] for name in names]) for i, key in enumerate(_TRUTH_KEYS)}
            np.savez_compressed(part / _TRUTH, **truth)
    except OSError as error:
        raise DatasetError(f"{folder}: the embedded data set cannot be written ({error.strerror or error})") from error
    return folder


_TRUTH_KEYS = ("boxes", "joints", "object_boxes")


def plan(settings: Figures) -> list[tuple[str, int, str]]:
    """(action, group, path below the root) of every clip, in the order of the data set."""
    rows = []
    for i in range(settings.clips):
        action, group = ACTIONS[i % len(ACTIONS)], i // len(ACTIONS)
        rows.append((action, group, f"{action}/v_{action}_g{group + 1:04d}_c01.mp4"))
    return rows


def _write(task: tuple[Path, Figures, int]) -> dict[str, tuple]:
    """Draws and encodes one group in a worker process; returns the truth of each of its files."""
    folder, settings, group = task
    cv2.setNumThreads(1)
    forward_of = {backward: forward for forward, backward in REVERSED_PAIRS}
    drawings, rows = {}, {}
    for action, _, name in plan(settings)[group * len(ACTIONS) : (group + 1) * len(ACTIONS)]:
        forward = forward_of.get(action, action)
        if forward not in drawings:
            drawings[forward] = draw(forward, group, settings)
        drawing = drawings[forward].reversed() if action != forward else drawings[forward]
        # Every frame a key frame at one quantiser: what is decoded from one file of a pair is exactly the reverse of
        # what is decoded from the other.
        options = {"keyint": 1, "qp": 16, "preset": "ultrafast", "threads": 1}
        write_video(folder / name, drawing.frames, fps=settings.fps, **options)
        objects = drawing.object_boxes
        objects = np.full_like(drawing.boxes, np.nan) if objects is None else objects
        rows[name] = (drawing.boxes, drawing.joints, objects)
    return rows


def preview(settings: Figures, groups: int = 2, columns: int = 7) -> np.ndarray:
    """A sheet of what is drawn: a row for every action and group, `columns` frames of each clip.

    Returns:
        uint8 (rows · H, columns · W, 3), with the true boxes drawn in.
    """
    rows = []
    for action in ACTIONS:
        for group in range(groups):
            drawing = draw(action, group, settings)
            chosen = np.linspace(0, settings.frames - 1, columns).round().astype(int)
            row = np.concatenate([_annotated(drawing, i) for i in chosen], axis=1)
            place, font = (4, settings.size[0] - 6), cv2.FONT_HERSHEY_SIMPLEX
            (across, up), down = cv2.getTextSize(action, font, 0.45, 1)
            # On a plate: OpenCV 5 sets thick letters wider, so a black line around white ones would lie beside them.
            row[place[1] - up - 3 : place[1] + down + 1, : place[0] + across + 4] = 0
            cv2.putText(row, action, place, font, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
            rows.append(row)
    return np.concatenate(rows, axis=0)


def _annotated(drawing: Drawing, index: int) -> np.ndarray:
    frame = drawing.frames[index].copy()
    boxes = [(drawing.boxes, (0, 255, 0))]
    if drawing.object_boxes is not None:
        boxes.append((drawing.object_boxes, (255, 160, 0)))
    for tracks, colour in boxes:
        if not np.isnan(tracks[index]).any():
            x1, y1, x2, y2 = (int(v) for v in tracks[index])
            cv2.rectangle(frame, (x1, y1), (x2 - 1, y2 - 1), colour, 1)
    return frame


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "har_tf" / "figures"
