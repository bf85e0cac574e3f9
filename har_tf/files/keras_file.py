"""Whether a file is a `.keras` file at all, told before Keras is imported."""

import zipfile
from pathlib import Path


def check_keras_file(path: str | Path) -> None:
    """Raises an error that says what to do where a path is no `.keras` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, such as a SavedModel, a file of HDF5, or another one that is no zip archive.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path}: a folder, not a .keras file. A SavedModel has no layers to explain: save the Keras model itself"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    if zipfile.is_zipfile(path):
        return
    with path.open("rb") as file:
        hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    if hdf5:
        raise ValueError(
            f"{path}: a file of HDF5, not a .keras file. If it holds a whole model that you trust, "
            "keras.models.load_model(...).save('model.keras') makes one of it"
        )
    raise ValueError(f"{path}: not a .keras model file, which is a zip archive")
