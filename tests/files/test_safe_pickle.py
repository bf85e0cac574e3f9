import collections
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from har_tf.files import safe_pickle
from har_tf.files.safe_pickle import PickleFileError

MARKER = "SAFE_PICKLE_MARKER"


def write(tmp_path, data: bytes):
    path = tmp_path / "annotations.pkl"
    path.write_bytes(data)
    return path


def refused(tmp_path, data: bytes) -> str:
    with pytest.raises(PickleFileError) as caught:
        safe_pickle.load(write(tmp_path, data))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "annotations.pkl"))
    assert "\n" not in message
    return message


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype.newbyteorder("=")
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    else:
        assert one == other


VALUES = {
    "boxes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every second": np.arange(10)[::2],
    "big endian": np.array([1, 2, 70000], ">i4"),
    "many of them": np.arange(0, 1e6, 1e3, dtype=">f8"),
    "empty": np.zeros((0, 4), np.float32),
    "point": np.array(1.5),
    "truth": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "text": np.array(["Skijet", "é"]),
    "bytes": np.array([b"ab", b"c"]),
    "scalars": [np.uint16(300), np.float64(0.5), np.bool_(True), np.str_("Skijet/v_Skijet_g10_c04"), np.int64(-1)],
    "dtype": [np.dtype(">f4")],
    "numbers": [0, -1, 255, 65536, -(2**31), 2**40, 2**100, 1.5, float("inf"), True, False, None, 1 - 2j],
    "strings": ["", "a'b\n", "ünï\\", b"", b"\x00\xff", bytearray(b"\x80"), "long" * 100, b"long" * 100],
    "containers": [[], (), {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1, 2}, frozenset("ab"), {(1, "a"): [2]}],
    np.str_("key"): {b"key": 1, 1.5: 2, None: 3},
}  # fmt: skip
SHORT = VALUES | {"many of them": VALUES["many of them"][:20]}  # so that damage meets instructions more than numbers


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_pickle_reads(tmp_path, protocol):
    read = safe_pickle.load(write(tmp_path, pickle.dumps(VALUES, protocol)))
    same(read, VALUES)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_ones_own_and_shared_objects_stay_shared(tmp_path, protocol):
    array = np.arange(100)
    items = [array, array]
    items.append(items)
    read = safe_pickle.load(write(tmp_path, pickle.dumps(items, protocol)))
    assert read[0] is read[1]
    assert read[2] is read
    read[0][:] = 7
    assert read[1].tolist() == [7] * 100


def test_names_of_the_modules_of_numpy_1(tmp_path):
    data = pickle.dumps([np.arange(3), np.float64(2)], 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core" in data
    same(safe_pickle.load(write(tmp_path, data)), [np.arange(3), np.float64(2)])


def test_python_2_with_text_and_array_data_as_its_strings(tmp_path):
    # pickle.dumps({'boxes': np.array([200, 10], np.uint8), 'name': 'caf\xe9'}) and protocol 2 of the same.
    zero = (
        b"(dp0\nS'boxes'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\n"
        b"tp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\n"
        b"I0\ntp14\nbI00\nS'\\xc8\\n'\np15\ntp16\nbsS'name'\np17\nS'caf\\xe9'\np18\ns."
    )
    two = (
        b"\x80\x02}q\x00(U\x05boxesq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
        b"q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c"
        b"(K\x03U\x01|q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x02\xc8\nq\x0ftq\x10bU\x04nameq\x11"
        b"U\x04caf\xe9q\x12u."
    )
    for data in (zero, two):
        same(pickle.loads(data, encoding="latin1"), {"boxes": np.array([200, 10], np.uint8), "name": "café"})
        same(safe_pickle.load(write(tmp_path, data)), {"boxes": np.array([200, 10], np.uint8), "name": "café"})


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Own:
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_named_and_not_run(tmp_path, protocol):
    target = tmp_path / "made"
    bad = Calls(open, str(target), "w")
    message = refused(tmp_path, pickle.dumps({"labels": ["a"], "evil": bad}, protocol))
    assert "refuses to import" in message
    assert ".open" in message
    assert not target.exists()


def test_the_textbook_pickle_is_refused(tmp_path):
    assert "byte 0: refuses to import os.system" in refused(tmp_path, b"cos\nsystem\n(S'echo hacked'\ntR.")
    assert "refuses to import posix.system" in refused(tmp_path, b"\x80\x04\x8c\x05posix\x8c\x06system\x93.")


@pytest.mark.parametrize(
    ("value", "protocol", "named"),
    [
        (Own(), 0, "copyreg._reconstructor|copy_reg._reconstructor"),
        (Own(), 2, "Own"),
        (Own(), 4, "Own"),
        (collections.OrderedDict(a=1), 2, "collections.OrderedDict"),
        (np.array([1, "a", None], object), 2, "refuses the dtype O8;"),
        (np.array([1, "a", None], object), 5, "refuses the dtype O8;"),
        (np.zeros(2, [("a", "i4"), ("b", "f8")]), 2, "refuses the dtype V12;"),
        (np.zeros(2, "M8[s]"), 2, "refuses the dtype M8;"),
        (np.ma.masked_array([1, 2]), 2, "refuses to import numpy.ma"),
        (np.random.default_rng(0), 2, "refuses to import numpy.random"),
        (Calls(eval, "1"), 2, "eval"),
        (range(3), 2, "range|xrange"),
    ],
)
def test_anything_but_arrays_of_numbers_is_refused(tmp_path, value, protocol, named):
    message = refused(tmp_path, pickle.dumps([value], protocol))
    assert any(name in message for name in named.split("|")), message


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n("
ARRAY = RECONSTRUCT + b"I0\ntS'b'\ntR"
DEEP = b")" + b"\x85" * 300_000
UINT8 = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
SMUGGLED = {
    "a big array from _reconstruct": RECONSTRUCT + b"I1000000000000\ntS'b'\ntR.",
    "another dtype in _reconstruct": RECONSTRUCT + b"I0\ntS'O'\ntR.",
    "a subclass in _reconstruct": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
    "text as the class": b"cnumpy.core.multiarray\n_reconstruct\n(S'ndarray'\n(I0\ntS'b'\ntR.",
    "a big array in the state": ARRAY + b"(I1\n(I1000000000000\nt" + UINT8 + b"I00\nS''\ntb.",
    "a product that wraps to 0": ARRAY + b"(I1\n(I4294967296\nI4294967296\nt" + UINT8 + b"I00\nS''\ntb.",
    "a negative shape": ARRAY + b"(I1\n(I-1\nI-1\nt" + UINT8 + b"I00\nS'a'\ntb.",
    "a list for the data": ARRAY + b"(I1\n(I1\nt" + UINT8 + b"I00\n(I1\nltb.",
    "the state of nothing": ARRAY + b"Nb.",
    "a wide item": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'V1000000000'\ntRtR.",
    "a scalar without data": b"cnumpy.core.multiarray\nscalar\n(" + UINT8 + b"tR.",
    "a wide text": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'S999999999'\ntRS'a'\ntR.",
    "a dtype of many items": b"cnumpy\ndtype\n(S'(1000000000,)f8'\ntR.",
    "a dtype with fields in its state": b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\n(S'u1'\n(I2\nttN(dI-1\nI-1\nI0\ntb.",
    "a dtype with flags of objects": b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\nNNNI8\nI8\nI63\ntb.",
    "numpy.ndarray itself": b"cnumpy\nndarray\n((I1000000000000\nttR.",
    "numpy.ndarray as a value": b"(cnumpy\nndarray\nl.",
    "numpy.ndarray in a tuple": b"((cnumpy\nndarray\nttl.",
    "numpy.ndarray as a key": b"(cnumpy\nndarray\nI1\nd.",
    "the state of a function": b"cnumpy.core.multiarray\nscalar\n(S'__defaults__'\nI1\ndb.",
    "the state of a list": b"(l(S'append'\nI1\ndb.",
    "a call of a list": b"(l(tR.",
    "a call of text": b"S'set'\n(tR.",
    "big bytes": b"c__builtin__\nbytes\n(I1000000000000\ntR.",
    "a big bytearray": b"c__builtin__\nbytearray\n(I1000000000000\ntR.",
    "another codec": b"c_codecs\nencode\n(S'a'\nS'zip'\ntR.",
    "an object of protocol 1": b"(c__builtin__\nset\no.",
    "an instance of protocol 0": b"(i__builtin__\nset\n.",
    "an object of protocol 2": b"\x80\x02c__builtin__\nset\n)\x81.",
    "a persistent name": b"Pos.system\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a buffer from outside": b"\x80\x05\x97.",
    "a memo of 32 GB": b"I1\nr\xff\xff\xff\xff" + b"j\x00\x00\x00\x00.",
    "a frame of 1 EB": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x10N",
    "a bytearray of 1 EB": b"\x80\x05\x96\x00\x00\x00\x00\x00\x00\x00\x10.",
    "bytes of 1 EB": b"\x80\x04\x8e\x00\x00\x00\x00\x00\x00\x00\x10.",
    "text of 1 EB": b"\x80\x04\x8d\x00\x00\x00\x00\x00\x00\x00\x10.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a long number": b"I" + b"9" * 100_000 + b"\n.",
    "a list as a key": b"((lI1\nd.",
    "a deep tuple as a key": b"(" + DEEP + b"I1\nd.",
    "a deep tuple in a set": b"\x80\x04\x8f(" + DEEP + b"\x90.",
    "a deep tuple as a dtype": b"cnumpy\ndtype\n(" + DEEP + b"tR.",
    "a deep tuple as an item's size": b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\nNNN" + DEEP + b"I-1\nI0\ntb.",
    "a deep tuple as a shape": RECONSTRUCT + b"t" + DEEP + b"\x86S'b'\ntR.",
    "a deep tuple as an array's shape": ARRAY + b"(I1\n" + DEEP + UINT8 + b"I00\nS''\ntb.",
    "a deep tuple as a codec": b"c_codecs\nencode\n(S'a'\n" + DEEP + b"tR.",
    "a deep tuple as a module": b"\x80\x04" + DEEP + b"\x8c\x06system\x93.",
    "a deep tuple as arguments": b"cnumpy\ndtype\n" + DEEP + b"R.",
    "APPEND to a tuple": b"(tI1\na.",
    "SETITEM of an array": ARRAY + b"I0\nI1\ns.",
    "a key without a value": b"(I1\nd.",
    "a mark that is not there": b"t.",
    "a value that is not there": b"0.",
    "a value from before the mark": b"I1\n(a.",
    "a memo that is not there": b"g7\n.",
    "bytes shared a thousand times": b"S'" + b"a" * 1000 + b"'\np0\n0"
    + (b"c__builtin__\nbytearray\n(g0\ntR0" * 1000) + b"N.",
    "text shared ten thousand times": b"S'" + b"a" * 100_000 + b"'\np0\n0c_codecs\nencode\np1\n0]"
    + b"h\x01h\x00S'latin1'\n\x86Ra" * 10_000 + b".",
    "a list shared ten thousand times": b"(" + b"K\x01" * 100_000 + b"lp0\n0c__builtin__\nset\np1\n0]"
    + b"h\x01h\x00\x85Ra" * 10_000 + b".",
    "wide items and none of them": b"]" + (ARRAY + b"(I1\n(I0\nt" + b"cnumpy\ndtype\n(S'S999999999'\ntR"
    + b"I00\nS''\ntba") * 100 + b".",
}  # fmt: skip


def test_nothing_is_smuggled_in_and_a_small_file_takes_no_memory(tmp_path):
    """In a process that may have no more than 200 MB on top of what it has."""
    for name, data in SMUGGLED.items():
        (tmp_path / f"{name}.pkl").write_bytes(data)
    code = (
        "import pathlib, resource, sys\n"
        "from har_tf.files.safe_pickle import PickleFileError\n"
        "from har_tf.files import safe_pickle\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 200 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*.pkl'):\n"
        "    try:\n"
        "        safe_pickle.load(path)\n"
        "    except PickleFileError as error:\n"
        "        assert str(error).startswith(str(path)) and '\\n' not in str(error)\n"
        "        print(path.stem)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.splitlines()) == SMUGGLED.keys()


def test_deep_nesting_is_read(tmp_path):
    read = safe_pickle.load(write(tmp_path, b"]" * 100_000 + b"a" * 99_999 + b"."))
    depth = 1
    while read:
        (read,) = read
        depth += 1
    assert depth == 100_000


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_file_is_an_error_wherever_it_ends(tmp_path, protocol):
    data = pickle.dumps(SHORT, protocol)
    for end in range(0, len(data), 13):
        refused(tmp_path, data[:end])


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_flipped_bytes_never_do_more_than_fail(tmp_path):
    """1,000 damaged pickles: an answer or a PickleFileError, nothing else."""
    rng = np.random.default_rng(0)
    originals = [pickle.dumps(SHORT, protocol) for protocol in range(6)]
    failed = 0
    for _ in range(1000):
        data = bytearray(originals[rng.integers(6)])
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            safe_pickle.load(write(tmp_path, bytes(data)))
        except PickleFileError:
            failed += 1
    assert 400 < failed < 1000


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"label,box\n1,2\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"{}"])
def test_not_a_pickle(tmp_path, data):
    assert "not a pickle, or a damaged one" in refused(tmp_path, data)


def test_no_file(tmp_path):
    with pytest.raises(PickleFileError, match=r"none.pkl: cannot be read: No such file"):
        safe_pickle.load(tmp_path / "none.pkl")
    with pytest.raises(PickleFileError, match="is not a file"):
        safe_pickle.load(tmp_path)


def test_the_real_annotations_are_the_same_as_numpy_builds(shared):
    path = shared / "data" / "ucf24" / "pyannot.pkl"

    class Numpy(pickle.Unpickler):
        def find_class(self, module, name):
            assert (module, name) in safe_pickle.GLOBALS
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)

    same(safe_pickle.load(path), Numpy(io.BytesIO(path.read_bytes())).load())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", [dict.fromkeys, set, frozenset])
def test_integers_that_all_have_the_same_hash_are_no_keys(tmp_path, kind, sign):
    """Filling a dict of 40,000 such keys would take ten seconds, of ten times as many a quarter of an hour."""
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(kind([sign * n * (2**61 - 1) for n in range(1, 50)])))
    with pytest.raises(PickleFileError, match="refuses an integer of more than 61 bits as a key"):
        safe_pickle.load(path)
    path.write_bytes(pickle.dumps(kind([(1, sign * (2**61 - 1))])))
    with pytest.raises(PickleFileError, match="refuses an integer of more than 61 bits as a key"):
        safe_pickle.load(path)
    path.write_bytes(pickle.dumps(kind([sign * (2**61 - 2)])))
    assert set(safe_pickle.load(path)) == {sign * (2**61 - 2)}


@pytest.mark.parametrize("key", [lambda n: (n, 1), lambda n: complex(n, 1)])
def test_tuples_and_complex_numbers_are_keys_in_small_numbers(tmp_path, monkeypatch, key):
    path = tmp_path / "a.pkl"
    keys = [key(n) for n in range(6)]
    path.write_bytes(pickle.dumps([dict.fromkeys(keys[:3]), set(keys[3:5]), {"a", "b"}, keys]))
    monkeypatch.setattr(safe_pickle, "MOST_COMPOUND_KEYS", 5)
    assert set(safe_pickle.load(path)[0]) == set(keys[:3])
    monkeypatch.setattr(safe_pickle, "MOST_COMPOUND_KEYS", 4)
    with pytest.raises(PickleFileError, match="refuses more than 4 tuples and complex numbers as keys"):
        safe_pickle.load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_in_a_closed_folder(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        with pytest.raises(PickleFileError, match=r"a.pkl: cannot be read: Permission denied"):
            safe_pickle.load(closed / "a.pkl")
    finally:
        closed.chmod(0o755)
