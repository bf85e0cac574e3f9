"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and moves it into place if all went well.

    A reader of `path` sees the old file or the new one, never half of one, and a failure leaves no trace. The temporary
    name keeps the ending, by which many writers choose the format.

    Args:
        path: the file to be written; its folder is made where it is missing.

    Yields:
        The temporary path, in the same folder.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
