"""The one exception that the video package raises about a file."""

from har_tf.files.errors import FileError


class VideoError(FileError):
    """A video file cannot be read or written; `path` is the file, `reason` what was found and what was needed."""
