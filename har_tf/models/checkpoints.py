"""Tensors of published checkpoint files by name, read without running anything that stands in the files."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its data is read when it is asked for, so that a claimed size costs nothing."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.npz`, `.caffemodel` or `.pth` file by name.

    Raises:
        ValueError: another ending, or a file that is damaged or not of the kind that its ending says.
    """
    path = Path(path)
    readers = {".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: weights files end in {', '.join(readers)}. Received: {path.suffix or 'no ending'}")
    return readers[path.suffix.lower()](path)


def from_mapping(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a mapping from names to arrays, NumPy's or torch's."""
    tensors = {}
    for name, value in arrays.items():
        if hasattr(value, "detach"):  # of torch
            value = value.detach().cpu()
            value = value.float() if value.is_floating_point() else value
        array = np.asarray(value)
        tensors[name] = Tensor(array.shape, array.dtype, lambda array=array: array)
    return tensors


def keras_layers(path: Path) -> list[str]:
    """Names of the layers in a `.h5` file of weights."""
    try:
        with h5py.File(path) as file:
            return list(file.get("layers", file))
    except OSError as error:
        raise ValueError(f"{path}: not an HDF5 file of weights ({error})") from error


def _read_npz(path: Path) -> dict[str, Tensor]:
    tensors = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read_header = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shape, _, dtype = read_header(file)
                tensors[member.removesuffix(".npy")] = Tensor(shape, dtype, lambda m=member: _npy(path, m))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a .npz file of arrays, or a damaged one ({error})") from error
    return tensors


def _npy(path: Path, member: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: {member} is damaged ({error})") from error
