import json
import zipfile
from contextlib import nullcontext

import h5py
import pytest

from har_tf.files.keras_file import check_keras_file, check_within


def test_what_is_no_keras_file_is_told_with_what_helps(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.keras: no such model file"):
        check_keras_file(tmp_path / "none.keras")
    with pytest.raises(ValueError, match="a folder, not a .keras file. A SavedModel"):
        check_keras_file(tmp_path)
    with h5py.File(tmp_path / "old.h5", "w"):
        pass
    with pytest.raises(ValueError, match="old.h5: a file of HDF5, not a .keras file.*save"):
        check_keras_file(tmp_path / "old.h5")
    (tmp_path / "text.keras").write_text("no archive")
    with pytest.raises(ValueError, match="text.keras: not a .keras model file"):
        check_keras_file(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    check_keras_file(tmp_path / "model.keras")


def test_a_bit_in_the_name_of_a_member_does_not_make_it_missing(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.json", "{}")
        archive.writestr("class_names.json", "[]")
    content = path.read_bytes()
    name = content.rindex(b"clip.json")  # in the archive's directory; the one before stands at the member
    for place, damaged in ((name, b"d"), (name - 14, b"\x3e")):  # the name; the length of a comment that is none
        path.write_bytes(content[:place] + damaged + content[place + 1 :])
        with pytest.raises(ValueError, match=r"model.keras: not a .keras model file"):
            check_keras_file(path)


@pytest.mark.parametrize(("kind", "told"), [("Functional", True), ("Sequential", True), ("MyModel", False)])
def test_names_are_looked_for_in_what_the_file_says_of_its_layers(tmp_path, kind, told):
    """Of a subclassed model it says nothing."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": kind, "config": {"layers": [{"name": "conv1"}]}}))
    check_within(path, "tap", ["conv1", "network/conv1"])
    with (
        pytest.raises(ValueError, match="tap 'conv2' is not in the model of .* Closest: conv1")
        if told
        else nullcontext()
    ):
        check_within(path, "tap", ["conv2"])
