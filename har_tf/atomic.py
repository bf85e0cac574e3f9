"""Files and folders that are there whole or not at all."""

import errno
import os
import shutil
import socket
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


@contextmanager
def whole_folder(path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill, and moves it into place if all went well.

    What runs on this machine that were killed have left of the same folder is removed first. Where another run fills
    the same folder and is faster, its folder stays: both are taken to be alike.

    Args:
        path: the folder to be made; it does not exist yet.

    Yields:
        The temporary folder, empty.

    Raises:
        OSError: a folder cannot be made, filled or moved.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        part.mkdir()
        yield part
        try:
            part.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_abandoned(path: Path) -> None:
    for part in path.parent.glob(f".{path.name}.{socket.gethostname()}.*.part"):
        process = int(part.name.split(".")[-2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            shutil.rmtree(part, ignore_errors=True)
        except PermissionError:
            continue  # it runs, as another user
