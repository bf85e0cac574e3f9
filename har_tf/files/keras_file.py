"""Whether a file is a `.keras` file at all, told before Keras is imported."""

import difflib
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from har_tf.files.errors import DAMAGE, reason_of
from har_tf.files.json_text import parse_json

_MOST_BYTES = 2**26  # of a JSON member; the largest of Keras' applications have 1 MB
_MOST_PACKED = 20  # bytes for one in the archive, which Keras does not compress


def check_keras_file(path: str | Path) -> None:
    """Raises an error that says what to do where a path is no `.keras` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, such as a SavedModel, a file of HDF5, another one that is no zip archive, or an archive
            whose description of the model cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path}: a folder, not a .keras file. A SavedModel has no layers to explain: save the Keras model itself"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if zipfile.is_zipfile(path):
        _check_members(path)
        for name in ("metadata.json", "config.json", "clip.json", "calibration.json"):
            if not isinstance(json_member(path, name), dict | None):
                raise ValueError(f"{path}: not a .keras model file ({name} is no object of JSON)")
        return
    with path.open("rb") as file:
        hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    if hdf5:
        raise ValueError(
            f"{path}: a file of HDF5, not a .keras file. If it holds a whole model that you trust, "
            "keras.models.load_model(...).save('model.keras') makes one of it"
        )
    raise ValueError(f"{path}: not a .keras model file, which is a zip archive")


def _check_members(path: Path) -> None:
    """Raises ValueError for an archive that cannot be read, or unpacks to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.comment:  # its length is damaged, and it hides the members behind it
                    raise zipfile.BadZipFile(f"its directory is damaged at {member.filename}")
                archive.open(member).close()  # compares its two names: with one damaged it would seem missing
            unpacked = sum(member.file_size for member in archive.infolist())
    except DAMAGE as error:
        raise ValueError(f"{path}: not a .keras model file ({reason_of(error)})") from error
    if unpacked > _MOST_BYTES + _MOST_PACKED * path.stat().st_size:
        raise ValueError(
            f"{path}: not a .keras model file. Expected at most {_MOST_PACKED} times its {path.stat().st_size} bytes "
            f"when it is unpacked. Received: {unpacked}"
        )


def check_within(path: str | Path, what: str, names: Iterable[str]) -> None:
    """Raises ValueError where a name cannot be one of the model: it is no layer's, nor stands in what describes it.

    Of a subclassed model nothing can be told.

    Args:
        path: a `.keras` file, see `check_keras_file`.
        what: the names in the message, such as "tap".
        names: of layers, of their outputs, or as `network/layer`.
    """
    config = json_member(path, "config.json")
    if config is None or config.get("class_name") not in ("Functional", "Sequential"):
        return  # what a class of someone's own is made of does not stand there
    text = json.dumps(config, ensure_ascii=False)
    layers = list(dict.fromkeys(re.findall(r'"name": "([^"]+)"', text)))
    for name in names:
        if name not in text and not any(layer in name for layer in layers):
            close = difflib.get_close_matches(name, layers)
            listed = ", ".join(close or layers[:20]) + (" ..." if not close and len(layers) > 20 else "")
            raise ValueError(
                f"{what} {name!r} is not in the model of {path}. {'Closest' if close else 'It has'}: {listed}"
            )


def json_member(path: str | Path, name: str) -> Any:
    """A JSON member of a `.keras` file; None where it has none.

    Raises:
        ValueError: not a zip archive, or a member that is damaged, or larger than any of Keras.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if name not in archive.namelist():
                return None
            if (size := archive.getinfo(name).file_size) > _MOST_BYTES:
                raise ValueError(f"{size} bytes. Expected at most {_MOST_BYTES}")
            return parse_json(archive.read(name))
    except DAMAGE as error:
        raise ValueError(f"{path}: not a .keras model file ({name}: {reason_of(error)})") from error
