"""What tells arrays apart, such as the weights that something was made with."""

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_of(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
