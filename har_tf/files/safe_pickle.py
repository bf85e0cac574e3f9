"""Reads a pickle of NumPy arrays, numbers, text and containers without running anything that stands in it.

Annotations are published as pickles, and a pickle is a program: `pickle.load` imports what it names and calls it.
A `pickle.Unpickler` with a white list in `find_class` is not enough: its BUILD instruction sets attributes of
what was let through, its memo and its buffers are allocated at the size that the file claims, and hashing a deep
tuple overflows the C stack. So the instructions are carried out by `PickleMachine`. There is none that imports or
calls: a global is only a name, and REDUCE knows the ten names that the pickles of protocols 0 to 5 of NumPy 1, NumPy 2
and Python 2 use. Memory stays in proportion to the file, and so does time: keys that are made to have the same hash are
refused.
"""

from __future__ import annotations

import codecs
import io
import math
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from har_tf.files.pickle_machine import PickleMachine, RefusedError

WANTED = "Expected a pickle of NumPy arrays, numbers, text, lists, tuples, sets and dicts"
GLOBALS = {
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    **{("numpy", name): name for name in ("dtype", "ndarray")},
    **{(module, name): name for module in ("builtins", "__builtin__")
       for name in ("bytearray", "bytes", "complex", "frozenset", "set")},
    ("_codecs", "encode"): "encode",
}  # fmt: skip
# Numbers, truth values, bytes and text of a fixed length: no objects, no records of fields, no dates.
DTYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}")
LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
KEYS = (str, bytes, int, float, complex, type(None), np.generic)
# Python takes integers modulo this as their hash, so a dict of its multiples takes quadratic time to fill.
HASHED = 2**61 - 1
# Values of equal hash are easily made of tuples and complex numbers as well; so many of them, once each, do no harm.
MOST_COMPOUND_KEYS = 10_000


class PickleFileError(ValueError):
    """A pickle that cannot be read, or is refused; one line that names the file."""


def load(path: str | Path) -> Any:
    """Reads a pickle that holds only NumPy arrays, dtypes and scalars, numbers, text, bytes and containers.

    Strings of Python 2 are read as Latin-1, arrays in the byte order of this machine. Keys of dicts and members of
    sets are scalars, integers of at most 61 bits among them, or tuples of scalars.

    Raises:
        PickleFileError: no such file, not a pickle, a truncated one, or one that names any other global, such as
            os.system, or holds arrays of objects, or claims more data than the file has.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise PickleFileError(f"{path}: is not a file. {WANTED}")
        data = path.read_bytes()
    except OSError as error:
        raise PickleFileError(f"{path}: cannot be read: {error.strerror}. {WANTED}") from error
    machine = _Machine(data)
    try:
        return machine.run()
    except RefusedError as error:
        raise PickleFileError(f"{path}, byte {machine.position}: {error}. {WANTED}") from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        # What `pickletools` says of bytes that are no instruction, and NumPy of values that do not fit.
        reason = " ".join(str(error).split())[:150]
        raise PickleFileError(
            f"{path}, byte {machine.position}: not a pickle, or a damaged one ({type(error).__name__}: {reason}). "
            f"{WANTED}"
        ) from error


class _Global(str):
    """A global by name, such as "scalar"; it is never looked up anywhere."""

    __slots__ = ()


class _Arguments(tuple):
    """A tuple with a global in it: good as the arguments of REDUCE, not as a value."""

    __slots__ = ()


class _Machine(PickleMachine):
    """Builds arrays, numbers, text and containers."""

    literals = LITERALS

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        # What may still be copied: the data of an array stands in the file once, and up to protocol 2 as text, which is
        # made to bytes first. One long string, referred to a thousand times, ends here.
        self.left = 2 * len(data)
        self.compound_keys = 0

    def further(self, name: str, arg: Any) -> None:
        if name == "PUT":
            self.memo[arg] = self.stack[-1]
        elif name == "GET":
            self.stack.append(self.memo[arg])
        elif name == "EMPTY_SET":
            self.stack.append(set())
        elif name == "LIST":
            self.stack.append(self.values(self.pop_marked()))
        elif name == "DICT":
            self.stack.append(self.pairs(self.pop_marked()))
        elif name == "FROZENSET":
            self.stack.append(frozenset(self.keys(self.pop_marked())))
        elif name == "ADDITEMS":
            items = self.pop_marked()
            self.top(set).update(self.keys(items))
        elif name == "POP":
            self.pop(1)
        elif name == "POP_MARK":
            self.pop_marked()
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            super().further(name, arg)

    def argument(self, operation: pickletools.OpcodeInfo) -> Any:
        # `pickletools` cannot read the strings of Python 2's protocol 0 that hold bytes over 127.
        return _python2_string(self.file.readline()) if operation.name == "STRING" else super().argument(operation)

    def named(self, module: Any, name: Any) -> _Global:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in GLOBALS:
            raise RefusedError(f"refuses to import {_shown(module)}.{_shown(name)}")
        return _Global(GLOBALS[module, name])

    def values(self, items: list[Any]) -> list[Any]:
        for item in items:
            if isinstance(item, _Global | _Arguments):
                raise RefusedError("refuses a global as a value")
        return items

    def tuple_of(self, items: list[Any]) -> tuple:
        if any(isinstance(item, _Global) for item in items):
            return _Arguments(items)
        return super().tuple_of(items)

    def call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, _Global) or not isinstance(arguments, tuple):
            raise RefusedError(f"refuses to call a {type(called).__name__}")
        if called == "ndarray":
            raise RefusedError("refuses to call numpy.ndarray")
        try:
            return getattr(self, f"make_{called.lstrip('_')}")(*arguments)
        except TypeError as error:
            raise ValueError(f"{called} with other arguments than NumPy writes: {error}") from error

    def make_reconstruct(self, kind: Any, shape: Any, code: Any) -> np.ndarray:
        # NumPy always writes an empty array, which BUILD fills. The memo keeps the object, so it is filled in place.
        if kind != "ndarray" or not isinstance(kind, _Global) or shape != (0,) or code not in (b"b", "b"):
            raise RefusedError("refuses _reconstruct of anything but an empty numpy.ndarray")
        return np.ndarray((0,), "b")

    def make_frombuffer(self, raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return self.fill(np.ndarray((0,), "b"), shape, dtype, order == "F", raw)

    def make_scalar(self, dtype: Any, raw: Any) -> np.generic:
        return self.fill(np.ndarray((0,), "b"), (), dtype, False, raw)[()]

    def make_dtype(self, text: Any, align: Any = False, copy: Any = False) -> np.dtype:
        if not isinstance(text, str) or not DTYPE.fullmatch(text):
            raise RefusedError(f"refuses the dtype {_shown(text)}; only numbers and text of a fixed length are read")
        return np.dtype(text, copy=True)

    def make_encode(self, text: str, encoding: str) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RefusedError(f"refuses to encode in {_shown(encoding)}")
        return self.take(text)

    def make_bytes(self) -> bytes:
        return b""

    def make_bytearray(self, raw: Any = b"", encoding: str = "latin1") -> bytearray:
        return bytearray(self.take(raw))

    def make_complex(self, real: float, imaginary: float) -> complex:
        return complex(real, imaginary)

    def make_set(self, items: Any = ()) -> set:
        return set(self.members(items))

    def make_frozenset(self, items: Any = ()) -> frozenset:
        return frozenset(self.members(items))

    def build(self, target: Any, state: Any) -> None:
        if type(target) is np.ndarray and isinstance(state, tuple) and len(state) == 5:
            self.fill(target, *state[1:])
        elif isinstance(target, np.dtype) and isinstance(state, tuple) and len(state) == 8:
            _set_byte_order(target, *state)
        else:
            raise RefusedError(f"refuses to set the state of a {type(target).__name__}")

    def fill(self, array: np.ndarray, shape: Any, dtype: Any, fortran: Any, raw: Any) -> np.ndarray:
        if not isinstance(dtype, np.dtype):
            raise ValueError("an array without a dtype")
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**62 for n in shape) or len(shape) > 32:
            raise ValueError("an array without a shape")
        wanted = math.prod(shape) * dtype.itemsize
        if not isinstance(raw, str | bytes | bytearray) or len(raw) != wanted:
            raise ValueError(f"an array of shape {shape} and {wanted} bytes, of which {_length(raw)} are there")
        # The values are checked, so this is NumPy's own way of filling an array in place, and copies nothing odd.
        array.__setstate__((1, shape, dtype, bool(fortran), self.take(raw)))
        return array

    def take(self, raw: Any) -> bytes:
        """A copy of these bytes, counted."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(raw, bytes | bytearray):
            raise ValueError(f"bytes are needed, not a {type(raw).__name__}")
        self.count(len(raw))
        return bytes(bytearray(raw))

    def members(self, items: Any) -> list[Any]:
        if isinstance(items, list | tuple | set | frozenset):
            self.count(len(items))
        return self.keys(items)

    def pairs(self, items: list[Any]) -> dict:
        if len(items) % 2:
            raise ValueError("a key without a value")
        return dict(zip(self.keys(items[::2]), self.values(items[1::2]), strict=True))

    def keys(self, items: Any) -> list[Any]:
        """The items, if hashing them is neither deep nor impossible, and few can have the same hash."""
        if not isinstance(items, list | tuple | set | frozenset):
            raise ValueError(f"members are needed, not a {type(items).__name__}")
        for item in items:
            for part in item if type(item) is tuple else (item,):
                if not isinstance(part, KEYS) or isinstance(part, _Global):
                    raise ValueError(f"a {type(part).__name__} as a key")
                if isinstance(part, int) and abs(part) >= HASHED:
                    raise RefusedError("refuses an integer of more than 61 bits as a key")
            self.compound_keys += isinstance(item, tuple | complex | np.complexfloating)
        if self.compound_keys > MOST_COMPOUND_KEYS:
            raise RefusedError(f"refuses more than {MOST_COMPOUND_KEYS} tuples and complex numbers as keys")
        return list(items)

    def count(self, length: int) -> None:
        self.left -= length
        if self.left < 0:
            raise ValueError("more data than there is in the file")


def _python2_string(line: bytes) -> str:
    text = line.rstrip(b"\r\n")
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] not in (b"'", b'"') or text[:1] != text[-1:]:
        raise ValueError("a string without its quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin1")


def _set_byte_order(
    dtype: np.dtype, version: Any, order: Any, base: Any, names: Any, fields: Any, size: Any, alignment: Any, flags: Any
) -> None:
    if version != 3 or order not in ("<", ">", "|", "=") or (base, names, fields) != (None, None, None):
        raise RefusedError("refuses a dtype with fields, a base or metadata")
    if size not in (-1, dtype.itemsize):
        raise ValueError(f"a wrong size for an item of {dtype}")
    dtype.__setstate__(
        (3, order, None, None, None, *((-1, -1) if size == -1 else (size, dtype.alignment)), dtype.flags)
    )


def _shown(value: Any) -> str:
    # Not `str(value)`: that of a deep tuple overflows the stack.
    return value[:80] if isinstance(value, str) else f"<{type(value).__name__}>"


def _length(raw: Any) -> int | str:
    return len(raw) if isinstance(raw, str | bytes | bytearray) else "none"
