"""Detections that were made elsewhere, in a JSON file as COCO's."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from har_tf.concepts.detectors.base import SCORE, Detections, DetectorError, kept
from har_tf.files.json_text import parse_json


class CocoDetections:
    """Detections that were made elsewhere, in a JSON file as COCO's: `images`, `annotations` and `categories`.

    An image is a frame. Its `file_name` is the video's path below the folder that is mined, a slash, and the number of
    the frame from 0 on, such as "Archery/v_Archery_g01_c01.avi/000012.jpg"; or it has the fields `video` (that path)
    and `frame`. Of an annotation `image_id`, `category_id`, `bbox` (x, y, width, height in pixels) and, if it is there,
    `score` are read. Frames that the file does not name hold nothing.

    Args:
        path: the file.
        score: the least score of a detection.

    Raises:
        DetectorError: the file is not of this form.
    """

    def __init__(self, path: str | Path, score: float = SCORE) -> None:
        self._path = Path(path)
        try:
            content = parse_json(self._path.read_bytes())
            images, annotations, categories = (content[key] for key in ("images", "annotations", "categories"))
            self.names = tuple(str(category["name"]) for category in categories)
            label = {category["id"]: place for place, category in enumerate(categories)}
            places = {image["id"]: _video_and_frame(image) for image in images}
            found: dict[str, dict[int, list]] = {video: {} for video, _ in places.values()}
            for row in annotations:
                video, frame = places[row["image_id"]]
                x, y, width, height = (float(value) for value in row["bbox"])
                box = (x, y, x + width, y + height)
                found[video].setdefault(frame, []).append(
                    (box, float(row.get("score", 1.0)), label[row["category_id"]])
                )
        except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DetectorError(
                f"{path}: not detections in COCO's form ({type(error).__name__}: {error}). Expected images with "
                f"file_name VIDEO/FRAME.jpg or video and frame, annotations and categories"
            ) from error
        self._found, self._score = found, score
        self.settings = {"file": self._path.name, "bytes": self._path.stat().st_size, "score": score}

    def __call__(self, frames: np.ndarray, video: str = "", start: int = 0) -> list[Detections]:
        if video not in self._found:
            raise DetectorError(f"{self._path}: has no image of {video}. It has {len(self._found)} other videos")
        of_video, result = self._found[video], []
        for number in range(start, start + len(frames)):
            rows = of_video.get(number, [])
            boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
            # What was written down was already suppressed, or not, as its maker wanted.
            result.append(kept(boxes, scores, labels, frames.shape[1:3], self._score, nms=1.0, inside=1.0))
        return result


def _video_and_frame(image: dict) -> tuple[str, int]:
    if "video" in image:
        return str(image["video"]), int(image["frame"])
    path = PurePosixPath(image["file_name"])
    number = re.search(r"(\d+)$", path.stem)
    if number is None or len(path.parts) < 2:
        raise ValueError(f"file_name {image['file_name']!r} does not end in VIDEO/FRAME.jpg")
    return path.parent.as_posix(), int(number[1])
