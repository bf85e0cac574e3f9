"""Tensors of published checkpoint files by name, read without running anything that stands in the files."""

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from har_tf.files import protobuf
from har_tf.files.errors import DAMAGE, reason_of
from har_tf.models.weights import torch_file
from har_tf.models.weights.torch_file import Tensor

_MOST_PACKED = 20  # bytes of weights for one that is stored; compression saves a tenth of them


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.npz`, `.caffemodel`, `.pth`, `.pt` or `.index` file by name; their data is read later.

    A `.index` is that of a checkpoint of TensorFlow, whose `.data` files lie beside it.

    Raises:
        ValueError: another ending, or a file that is damaged or not of the kind that its ending says.
    """
    path = Path(path)
    readers = {
        ".npz": _read_npz,
        ".caffemodel": _read_caffe,
        ".pth": torch_file.read,
        ".pt": torch_file.read,
        ".index": _read_tensorflow,
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: weights files end in {', '.join(readers)}. Received: {path.suffix or 'no ending'}")
    return readers[path.suffix.lower()](path)


def file_of(path: str | Path) -> Path:
    """The file to read: of `model.ckpt`, as TensorFlow calls a checkpoint, and of its data it is `model.ckpt.index`."""
    path = Path(path)
    index = path.with_name(re.sub(r"\.data-\d+-of-\d+$", "", path.name) + ".index")
    return index if index.is_file() else path


def existing(path: str | Path) -> Path:
    """The path, or FileNotFoundError where there is no file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    return path


def from_mapping(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a mapping from names to arrays, NumPy's or torch's, which may be wrapped as in a file of torch."""
    tensors = {}
    for name, value in torch_file.unwrapped(arrays).items():
        if hasattr(value, "detach"):  # of torch
            value = value.detach().cpu()
            value = value.float() if value.is_floating_point() else value
        array = np.asarray(value)
        tensors[name] = Tensor(array.shape, array.dtype, lambda array=array: array)
    return tensors


def keras_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the weights in a `.h5`, `.weights.h5` or `.keras` file; without what optimisers keep.

    Raises:
        ValueError: it is damaged, links to elsewhere, or claims far more than it holds.
    """
    shapes = {}

    def visit_link(name, link):
        # What is returned ends the visit; h5py does not take exceptions here.
        return None if isinstance(link, h5py.HardLink) else f"{name} is a link to elsewhere"

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            stored = item.id.get_storage_size()
            if item.external or item.is_virtual or item.nbytes > _MOST_PACKED * stored:
                return f"{name} claims {item.nbytes} bytes, of which {stored} are there"
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and not name.startswith("optimizer"):
            shapes[name] = item.shape
        return None

    try:
        file = zipfile.Path(path, "model.weights.h5") if path.suffix.lower() == ".keras" else path
        with file.open("rb") as content, h5py.File(content) as weights:
            if problem := weights.visititems_links(visit_link) or weights.visititems(visit):
                raise ValueError(problem)
    except DAMAGE as error:
        raise ValueError(f"{path}: not an HDF5 file of weights, or a damaged one ({reason_of(error)})") from error
    return shapes


def _read_npz(path: Path) -> dict[str, Tensor]:
    tensors = {}
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked, most = sum(member.file_size for member in archive.infolist()), path.stat().st_size * _MOST_PACKED
            if unpacked > most + 2**26:  # small ones may be full of zeros
                raise ValueError(f"it unpacks to {unpacked} bytes, more than {_MOST_PACKED} times what it has")
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read_header = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shape, _, dtype = read_header(file)
                tensors[member.removesuffix(".npy")] = Tensor(shape, dtype, lambda m=member: _npy(path, m))
    except DAMAGE as error:
        raise ValueError(f"{path}: not a .npz file of arrays, or a damaged one ({reason_of(error)})") from error
    return tensors


def _npy(path: Path, member: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(f"{path}: {member} is damaged ({reason_of(error)})") from error


# Fields of caffe.proto: layers carry weights as blobs. The layers of files from before 2014 are of another message.
_LAYER, _V1_LAYER = 100, 2
_NAME_AND_BLOBS = {_LAYER: (1, 7), _V1_LAYER: (4, 6)}
_V0_LAYER = 1  # of a V1 layer
_NUM_CHANNELS_HEIGHT_WIDTH, _DATA, _SHAPE, _DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8


def _read_caffe(path: Path) -> dict[str, Tensor]:
    """Blobs 0 and 1 of a layer as `<layer>/weights` and `<layer>/biases`, with Caffe's order of axes."""
    tensors: dict[str, Tensor] = {}
    try:
        # Mapped, not read: half of a trained file may be gradients.
        net = memoryview(np.memmap(path, np.uint8, mode="r"))
        for number, layer in protobuf.fields(net):
            if number not in _NAME_AND_BLOBS or isinstance(layer, int):
                continue
            name_field, blobs_field = _NAME_AND_BLOBS[number]
            fields = list(protobuf.fields(layer))
            names = [bytes(value).decode() for field, value in fields if field == name_field]
            blobs = [value for field, value in fields if field == blobs_field]
            if number == _V1_LAYER and not names and any(field == _V0_LAYER for field, _ in fields):
                raise ValueError("its layers are of the oldest kind; Caffe's upgrade_net_proto_binary renews it")
            if blobs and not names:
                raise ValueError("a layer with weights has no name")
            for i, blob in enumerate(blobs):
                part = ("weights", "biases")[i] if i < 2 else f"blob{i}"
                if f"{names[-1]}/{part}" in tensors:
                    raise ValueError(f"two layers are called {names[-1]}")
                tensors[f"{names[-1]}/{part}"] = _blob(blob)
    except DAMAGE as error:  # memmap's word for an empty file among them
        raise ValueError(f"{path}: not a .caffemodel, or a damaged one ({reason_of(error)})") from error
    if not tensors:
        raise ValueError(f"{path}: not a .caffemodel: it has no layer with weights")
    return tensors


def _blob(message) -> Tensor:
    legacy, dims, chunks, item = {}, None, [], np.dtype("<f4")
    for number, value in protobuf.fields(message):
        if number in _NUM_CHANNELS_HEIGHT_WIDTH and isinstance(value, int):
            legacy[number] = value
        elif number == _SHAPE:
            dims = [] if dims is None else dims
            for field, sizes in protobuf.fields(value):
                if field == 1:
                    dims.extend([sizes] if isinstance(sizes, int) else protobuf.varints(sizes))
        elif number in (_DATA, _DOUBLE_DATA):
            item = np.dtype("<f4") if number == _DATA else np.dtype("<f8")
            chunks.append(value)
    shape = tuple(dims) if dims is not None else tuple(legacy.get(n, 1) for n in _NUM_CHANNELS_HEIGHT_WIDTH)
    length = sum(len(chunk) for chunk in chunks)
    if length != math.prod(shape) * item.itemsize:
        raise ValueError(f"a blob of shape {shape} has {length} bytes")
    return Tensor(shape, item, lambda: np.frombuffer(b"".join(chunks), item).reshape(shape))


def _read_tensorflow(path: Path) -> dict[str, Tensor]:
    try:
        import tensorflow as tf  # takes seconds, which the other kinds need not wait for
    except ImportError as error:
        raise ValueError(f"{path}: reading a TensorFlow checkpoint needs TensorFlow ({error})") from error

    def read_one(name: str) -> np.ndarray:
        try:
            return reader.get_tensor(name)
        except (tf.errors.OpError, *DAMAGE) as error:
            raise ValueError(f"{path}: {name} is damaged, or its .data file is missing ({reason_of(error)})") from error

    try:
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    except (tf.errors.OpError, *DAMAGE) as error:
        raise ValueError(
            f"{path}: not the index of a TensorFlow checkpoint, or a damaged one ({reason_of(error)})"
        ) from error
    return {
        name: Tensor(tuple(shape), np.dtype(dtypes[name].as_numpy_dtype), lambda name=name: read_one(name))
        for name, shape in sorted(shapes.items())
    }
