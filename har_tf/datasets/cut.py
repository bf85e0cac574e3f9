"""Videos cut into clips of neighbouring frames, for networks that see a video as several clips."""

from dataclasses import replace

import numpy as np

from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord
from har_tf.video import VideoError, frame_indices, sliding_windows
from har_tf.video.frame_counts import FrameCount, count_frames
from har_tf.video.reader import frame_times
from har_tf.video.sampling import is_even
from har_tf.video.segment import frame_rate


def cut(
    dataset: ActionDataset, num_frames: int, clips_per_video: int | None = None, workers: int | None = None
) -> ActionDataset:
    """Every video as clips of neighbouring frames that do not overlap.

    A video with fewer frames than a clip is one clip. One that cannot be read is left as it is: `prepare` says why.

    Args:
        dataset: whole videos.
        num_frames: frames of a clip.
        clips_per_video: take so many, evenly spread; None: all.
        workers: processes that count frames; None: one a core.
    """
    records = []
    counts = count_frames([record.path for record in dataset.records], workers=workers)
    for record, count in zip(dataset.records, counts, strict=True):
        try:
            rate = frame_rate(record.path)
        except VideoError:
            rate = None
        if rate is None or not isinstance(count, FrameCount):
            records.append(record)
            continue
        windows = sliding_windows(count.frames, num_frames, tail="drop")
        if clips_per_video is not None and len(windows) > clips_per_video:
            windows = windows[frame_indices(len(windows), clips_per_video)]
        seconds = frame_times(record.path, count.frames)
        even, step = is_even(seconds), seconds[-1] / max(1, len(seconds) - 1)
        seconds = np.append(seconds, seconds[-1] + step)
        for window in windows:
            begin, end = int(window[0]), int(window.max()) + 1
            segment = (begin / rate, end / rate) if even else (seconds[begin], seconds[end])
            records.append(replace(record, segment=(float(segment[0]), float(segment[1]))))
    return dataset.subset(records)


def clips_of(clips: ActionDataset, videos: ActionDataset) -> list[VideoRecord]:
    """The clips that `cut` took of these videos, a part of those that it was given."""
    paths = {record.path for record in videos.records}
    return [clip for clip in clips.records if clip.path in paths]
