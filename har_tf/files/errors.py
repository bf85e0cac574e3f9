"""What an error about one file says."""

from os import PathLike
from pathlib import Path


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
