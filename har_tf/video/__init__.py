"""Read, sample and write video files; nothing here knows TensorFlow."""

from .errors import VideoError
from .flow import optical_flow
from .reader import VideoInfo, probe, read_clip, read_frames
from .sampling import frame_indices, sliding_windows
from .still import read_still
from .writer import write_video

__all__ = [
    "VideoError",
    "VideoInfo",
    "frame_indices",
    "optical_flow",
    "probe",
    "read_clip",
    "read_frames",
    "read_still",
    "sliding_windows",
    "write_video",
]
