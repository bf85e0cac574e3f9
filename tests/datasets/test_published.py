from pathlib import Path

import pytest

from har_tf.datasets import DatasetError, VideoRecord
from har_tf.datasets.published import by_clip, read_pickle


def test_two_files_of_a_clip_are_refused():
    one, other, same = (VideoRecord(Path(name), 0) for name in ("a.avi", "b.avi", "a.mp4"))
    assert by_clip([one, other], lambda record: record.path.stem) == {"a": one, "b": other}
    with pytest.raises(DatasetError, match=r"a.avi: is the same clip as a.mp4. Expected one file of a clip"):
        by_clip([one, other, same], lambda record: record.path.stem)


def test_a_pickle_that_is_refused_is_an_error_of_the_data_set(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DatasetError, match=r"a.pkl, byte .*: refuses to import os.system"):
        read_pickle(tmp_path / "a.pkl")
