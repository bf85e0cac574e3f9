"""What predict and explain do alike: open a model before TensorFlow's log lines, and tell of short videos."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def open_classifier(path: Path):
    """The `har_tf.classifier.Classifier` of a file; FileNotFoundError comes before TensorFlow is imported."""
    from har_tf import quiet

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    quiet.import_tensorflow()
    from har_tf.classifier import Classifier

    return Classifier.load(path)


def note_short(video: Path, clip: np.ndarray, how: Mapping) -> None:
    """Says so where a video has fewer frames than its clip needs, which `read_clip` filled up as `how` has it."""
    from har_tf.video import probe
    from har_tf.video.sampling import frames_needed

    if len({frame.tobytes() for frame in clip}) == len(clip):
        return  # no frame comes twice; only where one does, the frames of the video need to be counted
    frames, needed = probe(video).frames, frames_needed(how["num_frames"], how["sampling"])
    if frames < needed:
        repeated = "they are repeated in turn" if how["short"] == "wrap" else "the last is repeated"
        print(f"note: {video} has {frames} frames; {repeated} to make {needed}", file=sys.stderr)
