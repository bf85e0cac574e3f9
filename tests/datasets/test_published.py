from pathlib import Path

import pytest

from har_tf.datasets import ActionDataset, DatasetError, VideoRecord
from har_tf.datasets.published import by_clip, in_or_below, read_pickle


def test_two_files_of_a_clip_are_refused():
    one, other, same = (VideoRecord(Path(name), 0) for name in ("a.avi", "b.avi", "A.mp4"))
    dataset = ActionDataset("clips", Path(), (one, other), ("Run", "Sit"))
    assert by_clip(dataset) == {"run/a": one, "run/b": other}
    with pytest.raises(DatasetError, match=r"a.avi: is the same clip as A.mp4. Expected one file of a clip"):
        by_clip(dataset.subset([one, other, same]))


def test_a_pickle_that_is_refused_is_an_error_of_the_data_set(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DatasetError, match=r"a.pkl, byte .*: refuses to import os.system"):
        read_pickle(tmp_path / "a.pkl")


def test_what_lies_nearer_comes_first(tmp_path):
    for name in ("b.pkl", "z/a.pkl", "c/a.pkl", "c/d/a.pkl", "c/d/e/a.pkl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [file.relative_to(tmp_path).as_posix() for file in in_or_below(tmp_path, "*.pkl")]
    assert found == ["b.pkl", "c/a.pkl", "z/a.pkl", "c/d/a.pkl"]
    assert list(in_or_below(tmp_path, "a.pkl", depth=0)) == []
