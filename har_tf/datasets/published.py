"""What the loaders of published data sets share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord
from har_tf.files import safe_pickle


def by_clip(records: Iterable[VideoRecord], key: Callable[[VideoRecord], str]) -> dict[str, VideoRecord]:
    """{key: record}, where equal keys mean the same clip.

    Raises:
        DatasetError: two files are the same clip, as a.avi and a.mp4; a random split would put it on both sides.
    """
    found: dict[str, VideoRecord] = {}
    for record in records:
        other = found.setdefault(key(record), record)
        if other is not record:
            raise DatasetError(
                f"{other.path}: is the same clip as {record.path}. Expected one file of a clip; move the other away"
            )
    return found


def read_pickle(path: Path) -> Any:
    """What `safe_pickle.load` reads.

    Raises:
        DatasetError: it cannot be read, or is refused.
    """
    try:
        return safe_pickle.load(path)
    except safe_pickle.PickleFileError as error:
        raise DatasetError(str(error)) from error
