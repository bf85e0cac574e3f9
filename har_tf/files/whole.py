"""Files and folders that are there whole or not at all, and work that one process does at a time."""

import errno
import glob
import hashlib
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, of what a user may have of it, and of one file

log = logging.getLogger(__name__)


def check_writable(folder: str | Path, target: str | Path | None = None, option: str = "") -> None:
    """Raises OSError unless files can be written to `folder`, or it can be made; nothing is left there.

    Args:
        folder: may be missing.
        target: what is to be written, in the message; None: the folder.
        option: of the command line that it is the value of, in the message.
    """
    home = next(place for place in (Path(folder), *Path(folder).parents) if place.exists())
    target = target or folder
    if not home.is_dir():
        received = f"{option} {target}".strip()
        raise NotADirectoryError(f"{home}: a file stands where a folder is needed. Received: {received}")
    probe = home / f".{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"{target}: cannot be written: {home}: {error.strerror}") from error


def check_target(option: str, path: str | Path) -> None:
    """Raises OSError unless a file can be written to `path`, whose folder may be missing; nothing is made."""
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: a folder stands where the file would be written")
    check_writable(Path(path).parent, path, option)


@contextmanager
def whole_file(path, needs: int | None = None) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and moves it into place if all went well.

    A reader of `path` sees the old file or the new one, never half of one, and a failure leaves no trace. When this
    returns, the file and its name are on the disk, where a power cut leaves them. The temporary name keeps the ending,
    by which many writers choose the format.

    Args:
        path: the file to be written; its folder is made where it is missing.
        needs: bytes that it takes at least, which the error about a full disk tells; None: not known.

    Yields:
        The temporary path, in the same folder.

    Raises:
        OSError: the folder cannot be made or written to; where the disk is full, with what was written and what is
            free.
    """
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_file(path) as part, _told_if_full(path, needs):
            yield part
            sync(part)
            part.replace(path)
            sync(path.parent)


@contextmanager
def scratch_file(path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, whose file is gone afterwards; what a killed run left there goes first."""
    path = Path(path)
    _remove_abandoned(path)
    part = _part(path)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path, alike: bool = True) -> Iterator[Path]:
    """Gives a temporary folder beside `path` to fill, and moves it into place if all went well.

    Args:
        path: the folder to be made; it does not exist yet, or is empty and is replaced.
        alike: where another run fills the same folder and is faster, its folder stays, and is taken to be like this
            one; False: it stays, and that is an error.

    Yields:
        The temporary folder, empty.

    Raises:
        FileExistsError: not `alike`, and there is a folder that is not empty.
        OSError: a folder cannot be made, filled or moved.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - "." and ".." have no name to put another beside
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        part = _part(path)
        try:
            part.mkdir()
            with _told_if_full(path):
                yield part
                for inner in (*part.rglob("*"), part):
                    sync(inner)
            try:
                part.rename(path)
                sync(path.parent)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not alike:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Notes on an interruption how to go on, which the command line shows."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(how)
        raise


def sync(path: Path) -> None:
    """Returns when a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot do this for folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other process is in here with the same path.

    The lock is the kernel's, so it ends with the process that holds it, however that ends. On a network file system it
    holds between machines where the file system was mounted with locks, which is the rule.
    """
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("%s: worked on by %s at this moment; waiting for it", path, _holder(path))
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
        # Two runs would still end with the same bytes; they would only do the work twice.
        log.warning("%s: the file system knows no locks; do not do the same work twice at a time", path)
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        path.unlink(missing_ok=True)  # by which one that waits knows that it needs a new file
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(errors="replace") or "another process"
    except OSError:
        return "another process"


def _part(path: Path) -> Path:
    return path.with_name(f".{socket.gethostname()}.{os.getpid()}.part.{_short(path.name)}")


def _short(name: str) -> str:
    """A name with room before it: file systems allow 255 bytes."""
    data = os.fsencode(name)
    return name if len(data) <= 128 else hashlib.sha256(data).hexdigest()[:32] + Path(name).suffix[:8]


def _remove_abandoned(path: Path) -> None:
    """Removes what killed runs on this machine have left of the same file or folder."""
    name = _short(path.name)
    for part in path.parent.glob(f".{glob.escape(socket.gethostname())}.*.part.{glob.escape(name)}"):
        process = int(part.name.removesuffix(f".part.{name}").rpartition(".")[2])
        if process != os.getpid() and _runs(process):
            continue
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An OSError about the temporary file as one about the file that was wanted."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and Path(os.fsdecode(error.filename)) == _part(path):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def _told_if_full(path: Path, needs: int | None = None) -> Iterator[None]:
    """The error of a full disk, which may name no file, as one with the file, what was written and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        part, free = _part(path), shutil.disk_usage(path.parent).free
        written = sum(each.stat().st_size for each in (part, *part.rglob("*")) if each.is_file())
        room = f"{size_text(written)} of it were written, {size_text(free)} are free"
        if needs is not None:
            room = f"at least {size_text(needs)} are needed, {room}"
        raise OSError(error.errno, f"{os.strerror(error.errno)} ({room})", str(path)) from error


def size_text(count: int) -> str:
    """So many bytes, as a reader takes them in."""
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} bytes"
