"""What the loaders of published data sets share: whether what the lists name is on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from har_tf.datasets.errors import DatasetError
from har_tf.datasets.records import VideoRecord


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
