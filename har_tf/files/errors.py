"""What an error about one file says, and what readers of files raise."""

import struct
import tokenize
import zipfile
import zlib
from os import PathLike
from pathlib import Path

# What readers of zip archives, pickles, arrays, HDF5 and Keras' files raise when the bytes are none: of a damaged file
# any step may fail. Who catches it raises a ValueError that names the file, with `reason_of` it.
DAMAGE = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, OSError, EOFError,
    RuntimeError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip


def reason_of(error: BaseException) -> str:
    """What an exception says, as one line of at most 300 characters; its type where that alone tells little."""
    text = " ".join(str(error).split())[:300]
    return text if text and isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}".rstrip(": ")


class FileError(Exception):
    """A file cannot be read or written; says which one and why.

    It pickles, so that worker processes can hand it on.

    Attributes:
        path: the file, a `pathlib.Path`.
        reason: what was found, and what was needed, as one line.
    """

    def __init__(self, path: str | PathLike, reason: str):
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
