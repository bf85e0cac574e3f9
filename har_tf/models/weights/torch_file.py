"""Tensors of a file that `torch.save` wrote, without torch and without running the pickle in it.

A `.pth` file is a pickle, which is a program, and the bytes of the tensors. `PickleMachine` carries it out: none of its
instructions imports or calls anything, and all they build are tensors and containers. What else a training script put
into the file, such as its arguments or a score of NumPy's, is passed over if it is no part of the weights. Both
layouts are read: the zip archive that torch 1.6 and later write, and the one before.
"""

import io
import math
import mmap
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from har_tf.files.errors import DAMAGE, reason_of
from har_tf.files.pickle_machine import PickleMachine, RefusedError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what a file of the older layout begins with
_DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4",
    "Short": "<i2", "Char": "<i1", "Byte": "<u1", "Bool": "?",
}  # fmt: skip
_STORAGES = {("torch", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()}
_CALLED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor"),  # before torch 0.4
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}
_LITERALS = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING",
    "SHORT_BINSTRING",
))  # fmt: skip
# Keys under which training scripts keep the weights, the likeliest first.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its data is read when it is asked for, so that a claimed size costs nothing."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class _Global:
    module: str
    name: str

    @property
    def maker(self) -> str:
        return f"{self.module}.{self.name}"[:80]


@dataclass(frozen=True)
class _Unbuilt:
    """What a pickle would make by calling something that is not known here."""

    maker: str


@dataclass(frozen=True)
class _Storage:
    """The bytes that tensors lie in."""

    dtype: str
    key: str
    items: int


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name.

    Args:
        path: a file made by `torch.save(model.state_dict(), path)`, or of a dict that `unwrapped` opens.

    Returns:
        Tensors in the order of the file; bfloat16 is read as float32.

    Raises:
        ValueError: no such file, a damaged one, a whole module in place of its state dict, or one that names
            anything else than tensors and containers.
    """
    try:
        found = unwrapped(_read_zip(path) if zipfile.is_zipfile(path) else _read_old(path))
        for value in found.values() if isinstance(found, dict) else [found]:
            if isinstance(value, _Global | _Unbuilt):
                hint = "; save model.state_dict()" if re.match(r"torch(vision)?\.|__main__", value.maker) else ""
                raise RefusedError(f"refuses to import {value.maker}{hint}")
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            raise ValueError("it holds no dict of tensors; save model.state_dict()")
    except DAMAGE as error:
        raise ValueError(f"{path}: not a state dict that torch saved, or a damaged one ({reason_of(error)})") from error
    return found


def unwrapped(found: Any) -> Any:
    """The state dict in what a training script saved, as {"epoch": 3, "model_state_dict": ...}; else what was given.

    It stands under one of the usual keys, or is the only dict of tensors among the others.

    Raises:
        ValueError: there are several, and none under a usual key.
    """
    for _ in range(9):  # and not for ever, as a dict in a file may hold itself
        if not isinstance(found, Mapping):
            break
        inner = {key: value for key, value in found.items() if isinstance(value, Mapping)}
        usual = [key for key in _WRAPPERS if inner.get(key)]
        others = [
            key for key, value in inner.items() if value and all(hasattr(each, "shape") for each in value.values())
        ]
        if not usual and len(others) > 1:
            raise ValueError(f"it holds several state dicts, {', '.join(map(str, others))}; save the one that is meant")
        if not usual and not others:
            break
        found = inner[(usual or others)[0]]
    return found


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive without data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        members = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("compressed, which torch does not do")
        pickle = io.BytesIO(archive.read(pickles[0]))

    def size(storage: _Storage) -> int:
        return members[f"{root}data/{storage.key}"].file_size

    def data(storage: _Storage, start: int, length: int) -> bytes:
        with zipfile.ZipFile(path) as archive, archive.open(f"{root}data/{storage.key}") as file:
            if start:
                file.seek(start)
            return file.read(length)

    return _Machine(pickle, path, size, data).run()


def _read_old(path: Path) -> Any:
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    places: dict[str, tuple[int, int]] = {}  # of a storage: its first byte and its number of items

    def size(storage: _Storage) -> int:
        return storage.items * _item_size(storage.dtype)  # checked below, where the places are known

    def data(storage: _Storage, start: int, length: int) -> bytes:
        place, _ = places[storage.key]
        return content[place + start : place + start + length]

    header = [_Machine(content, path, size, data).run() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
        raise ValueError("neither a zip archive nor the layout before it")
    if not isinstance(header[2], dict) or header[2].get("little_endian") is not True:
        raise ValueError("written on a big-endian machine")
    machine = _Machine(content, path, size, data)
    found = machine.run()
    keys = _Machine(content, path, size, data).run()
    position = content.tell()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("no list of storages")
    sizes = {storage.key: _item_size(storage.dtype) for storage in reversed(machine.storages)}  # of an item
    for key in keys:
        items = int.from_bytes(content[position : position + 8], "little")
        length = items * sizes[key]
        if position + 8 + length > len(content):
            raise ValueError(f"storage {key} of {length} bytes does not lie in the file whole")
        places[key] = (position + 8, items)
        position += 8 + length
    for storage in machine.storages:
        if places[storage.key][1] != storage.items:
            raise ValueError(f"storage {storage.key} has {places[storage.key][1]} items, not {storage.items}")
    return found


class _Machine(PickleMachine):
    """Builds tensors and containers."""

    literals = _LITERALS

    def __init__(self, file, path: Path, size: Callable, data: Callable):
        super().__init__(file)
        self.path, self.size, self.data = path, size, data
        self.storages: list[_Storage] = []

    def further(self, name: str, arg: Any) -> None:
        if name == "BINPERSID":
            (reference,) = self.pop(1)
            self.stack.append(self.storage(reference))
        elif name in ("NEWOBJ", "NEWOBJ_EX"):
            called, *_ = self.pop(2 if name == "NEWOBJ" else 3)
            self.stack.append(_unbuilt(called))
        else:
            super().further(name, arg)

    def named(self, module: Any, name: Any) -> _Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("refuses to import what is no name")
        return _Global(module, name)

    def build(self, target: Any, state: Any) -> None:
        self.top(dict)  # attributes of a state dict, such as the versions of the modules, are left out

    def top(self, kind: type) -> Any:
        # What is given to a thing that is not built is lost with it.
        return kind() if isinstance(self.stack[-1], _Unbuilt) else super().top(kind)

    def pairs(self, items: list[Any]) -> dict:
        if not all(isinstance(key, str | int) for key in items[::2]):
            raise ValueError("a key that is no text")
        return dict(zip(items[::2], items[1::2], strict=True))

    def storage(self, reference: Any) -> _Storage:
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise ValueError("refers to something else than tensors; save model.state_dict()")
        kind, key, _, items = reference[1:5]
        dtype = _STORAGES.get((kind.module, kind.name)) if isinstance(kind, _Global) else None
        if isinstance(kind, _Global) and dtype is None:
            raise RefusedError(f"refuses to import {kind.maker}")
        if dtype is None or not isinstance(key, str) or not _natural(items):
            raise ValueError("a storage of no known type")
        if len(reference) == 6 and reference[5] is not None:
            raise ValueError("a storage that is part of another")
        storage = _Storage(dtype, key, items)
        if self.size(storage) != items * _item_size(dtype):
            raise ValueError(f"storage {key} has {self.size(storage)} bytes, not {items * _item_size(dtype)}")
        self.storages.append(storage)
        return storage

    def call(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, _Global) or (called.module, called.name) not in _CALLED:
            return _unbuilt(called)
        name = called.name
        if name == "OrderedDict" and arguments == ():
            return {}
        if name == "_rebuild_parameter" and isinstance(arguments, tuple) and isinstance(arguments[0], Tensor):
            return arguments[0]
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2") and isinstance(arguments, tuple) and len(arguments) >= 4:
            return self.tensor(*arguments[:4])
        raise RefusedError(f"refuses to call {name}")

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
        sizes = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 32
        if not isinstance(storage, _Storage) or not sizes or not all(map(_natural, (offset, *shape, *strides))):
            raise ValueError("a tensor without a shape")
        last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if math.prod(shape) else -1
        if offset + last >= storage.items:
            raise ValueError(f"a tensor of shape {shape} does not lie in its storage of {storage.items} items")
        item = _item_size(storage.dtype)

        def data() -> np.ndarray:
            length = (last + 1) * item
            raw = self.data(storage, offset * item, length)
            if len(raw) != length:
                raise ValueError(f"{self.path}: storage {storage.key} ends early")
            flat = np.frombuffer(raw, "<u2" if storage.dtype == "bfloat16" else storage.dtype)
            array = np.lib.stride_tricks.as_strided(flat, shape, [stride * item for stride in strides])
            if storage.dtype == "bfloat16":  # the upper half of a float32
                return (array.astype("<u4") << 16).view("<f4")
            return array

        def reading() -> np.ndarray:
            try:
                return data()
            except DAMAGE as error:
                raise ValueError(f"{self.path}: storage {storage.key} is damaged ({reason_of(error)})") from error

        return Tensor(shape, np.dtype("<f4" if storage.dtype == "bfloat16" else storage.dtype), reading)


def _unbuilt(called: Any) -> _Unbuilt:
    return _Unbuilt(called.maker if isinstance(called, _Global | _Unbuilt) else type(called).__name__)


def _item_size(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
