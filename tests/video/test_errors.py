"""A VideoError travels between processes unchanged."""

import pickle
from pathlib import Path

from har_tf.video import VideoError


def test_it_pickles_and_reads_as_one_line():
    error = pickle.loads(pickle.dumps(VideoError("clips/a.avi", "empty file")))
    assert type(error) is VideoError
    assert (error.path, error.reason) == (Path("clips/a.avi"), "empty file")
    assert str(error) == "clips/a.avi: empty file"
