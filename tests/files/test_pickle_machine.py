"""What all readers of pickles share; what each of them builds is tested where it stands."""

import io
import os
import pickle

import pytest

from har_tf.files.pickle_machine import PickleMachine, RefusedError


class Reader(PickleMachine):
    """Knows text and small numbers; of globals, calls and states it takes notes."""

    literals = frozenset(("BININT1", "BINUNICODE", "SHORT_BINUNICODE"))

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        self.notes = []

    def named(self, module, name):
        self.notes.append(("named", module, name))
        return f"{module}.{name}"

    def call(self, called, arguments):
        self.notes.append(("call", called, arguments))
        return {}

    def build(self, target, state):
        self.notes.append(("build", state))

    def pairs(self, items):
        return dict(zip(items[::2], items[1::2], strict=True))


class Harmful:
    def __reduce__(self):
        return os.system, ("false",), {"state": 1}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_are_built_and_what_occurs_twice_is_one_object(protocol):
    shared = [1, (), (2, None), (True, "é", False)]
    value = {"a": shared, "b": shared, "c": {"d": (1, 2, 3, 4)}, "e": []}
    found = Reader(pickle.dumps(value, protocol)).run()
    assert found == value
    assert found["a"] is found["b"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_global_is_a_name_and_a_call_is_the_reader_s(protocol):
    reader = Reader(pickle.dumps(Harmful(), protocol))
    assert reader.run() == {}
    module = os.system.__module__
    assert reader.notes == [
        ("named", module, "system"),
        ("call", f"{module}.system", ("false",)),
        ("build", {"state": 1}),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"K\x010.", "refuses the pickle instruction POP"),
        (pickle.dumps({1}), "refuses the pickle instruction EMPTY_SET"),
        (pickle.dumps(1.5), "refuses the pickle instruction BINFLOAT"),
        (b"K\x01Q.", "refuses the pickle instruction BINPERSID"),
    ],
)
def test_what_a_reader_does_not_know_is_refused(data, message):
    with pytest.raises(RefusedError, match=message):
        Reader(data).run()


@pytest.mark.parametrize(
    ("data", "position", "message"),
    [
        (b"K\x01", 2, "the file ends before the pickle does"),
        (b"K\x01\xff", 2, "no instruction: 'ÿ'"),
        (b"]K\x01(a.", 4, "an instruction lacks its values"),  # APPEND may not reach beyond the mark
        (b"}K\x01a.", 3, "a list is needed, not a dict"),
    ],
)
def test_damage_is_named_and_located(data, position, message):
    reader = Reader(data)
    with pytest.raises(ValueError, match=message):
        reader.run()
    assert reader.position == position
