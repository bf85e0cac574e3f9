"""What one file may cost, wherever it is read: limits that no sound file meets, and that the environment raises."""

import os

MEMORY = 2 * 2**30  # bytes for a process that decodes; a 4K video takes less than 256 MiB
TIMEOUT = 600.0  # seconds for a video; an hour of video in 640 x 480 takes one or two minutes

PIXELS = "HAR_TF_MAX_PIXELS"
BYTES = "HAR_TF_MAX_BYTES"
SECONDS = "HAR_TF_MAX_SECONDS"
_DEFAULTS = {
    PIXELS: 36_000_000.0,  # of a frame, a little more than 8K (8192 x 4320); of photographs, see `video.still`, more
    BYTES: 32.0 * 2**20,  # read without coming upon a frame; the index of ten hours of video takes 20 MB
    SECONDS: TIMEOUT,  # for what is read of a video at once
}


def limit(name: str, default: float | None = None) -> float:
    """The limit of this name: what the environment variable says, or the default; None: the one that it has here.

    Raises:
        ValueError: the variable does not hold a number above 0 (inf: no limit).
    """
    said = os.environ.get(name)
    if said is None:
        return _DEFAULTS[name] if default is None else default
    try:
        value = float(said)
    except ValueError:
        value = 0
    if not value > 0:
        raise ValueError(f"The environment variable {name} must be a number above 0. Received: {said!r}")
    return value
