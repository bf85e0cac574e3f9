import pickle

from har_tf.files.errors import FileError, reason_of


def test_a_file_error_names_its_file_and_pickles():
    error = pickle.loads(pickle.dumps(FileError("a.bin", "is empty")))
    assert (str(error), error.path.name, error.reason) == ("a.bin: is empty", "a.bin", "is empty")


def test_a_reason_is_one_short_line():
    assert reason_of(ValueError("first\n  second")) == "first second"
    assert reason_of(KeyError("a")) == "KeyError: 'a'"
    assert reason_of(MemoryError()) == "MemoryError"
    assert len(reason_of(RuntimeError("a" * 1000))) < 330
