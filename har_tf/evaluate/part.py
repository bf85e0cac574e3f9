"""What was found in some videos, kept so that a run that was stopped goes on from there."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np

from har_tf import devices
from har_tf.files.digests import digest_of
from har_tf.files.whole import whole_file
from har_tf.models.saving import layers_of


def digest_of_model(model: keras.Model) -> str:
    """Of all that a model's answers and maps depend on: its layers, their weights, and the precision in use."""
    about = f"{layers_of(model)} {devices.precision()}".encode()
    return digest_of([np.frombuffer(about, np.uint8), *model.get_weights()])


@dataclass(frozen=True, eq=False)
class Part:
    """What was found in some videos, in a file that another run of the same takes up.

    Args:
        folder: where the file lies; None: nowhere.
        about: all that it depends on, as `json.dumps` takes it.
    """

    folder: Path | None
    about: Mapping

    @property
    def key(self) -> str:
        """A digest of `about`."""
        return sha256(json.dumps(self.about, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def file(self) -> Path | None:
        """Where it lies."""
        return self.folder and self.folder / f"{self.key[:16]}.npz"

    def read(self) -> dict[str, np.ndarray] | None:
        """The arrays that were written; None: none of the same, or not whole."""
        if self.folder is None:
            return None
        try:
            with np.load(self.file) as archive:
                found = dict(archive.items())
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return found if str(found.pop("key", "")) == self.key else None

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the arrays, whole or not at all."""
        if self.folder is not None:
            with whole_file(self.file) as temporary:
                np.savez_compressed(temporary, key=np.array(self.key), **arrays)
