"""Archives of data sets: zip and tar unpacked so that a bad archive cannot harm, and what to do about the others.

An archive from the network may hold anything: names that lead out of the folder, links, devices, members that
overwrite each other, more bytes than the disk has room for. None of it is needed for videos and lists, so all of it is
refused. Only folders and plain files are made, each new and below the target, with the permissions of a new file
whatever the archive says. This is stricter than the "data" filter of `tarfile`, which lets links pass and takes
permissions over. What an archive is, its first bytes say, not its name.

RAR (HMDB51 and UCF101 come in it) and 7z need a program that Python does not bring; its command line is told, not run.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import shlex
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from tqdm import tqdm

from har_tf.datasets.records import DatasetError
from har_tf.files.whole import whole_folder

SUPPORTED = "zip, tar, tar.gz, tar.bz2 and tar.xz"
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # one without members
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"Rar!\x1a\x07": "rar",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
}
# What unpacks the kinds that Python 3.11 cannot: program -> its command line.
FOREIGN = {
    "rar": {"unrar": "unrar x {archive} {folder}/", "7z": "7z x {archive} -o{folder}"},
    "7z": {"7z": "7z x {archive} -o{folder}"},
    "zstd": {"zstd": "tar --zstd -xf {archive} -C {folder}"},
}
FOREIGN["rar"]["bsdtar"] = FOREIGN["7z"]["bsdtar"] = "bsdtar -xf {archive} -C {folder}"
INSTALL = "apt install unrar, 7zip or libarchive-tools; brew install sevenzip; or 7-zip.org"

CHUNK = 1 << 20
END_RECORD = 22 + 0xFFFF  # bytes of a zip's end record with the longest comment
INSIDE = ".unpacked by har_tf"  # the folder within an empty folder that is to be filled
MAX_HEADER = 1 << 20  # bytes of a long name or a PAX header, which tarfile reads into memory


class Member(NamedTuple):
    """A folder or a plain file of an archive; `open` gives the bytes of a file."""

    name: str
    is_folder: bool
    size: int
    open: Callable[[], IO[bytes]]


def kind(path: str | Path) -> str | None:
    """ "zip", "tar", "gzip", "bzip2", "xz", "rar", "7z" or "zstd" by the file's first bytes, or None.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return None
    return "tar"  # by the checksum of its first header: the oldest kinds have no magic number


def how_to_unpack(archive: str | Path, folder: str | Path = "DIR") -> str:
    """The command that unpacks this archive, as part of a sentence; of several, the ones that are installed.

    Raises:
        OSError: the file cannot be read.
    """
    programs = FOREIGN.get(kind(archive) or "")
    names = {"archive": _quoted(archive), "folder": _quoted(folder)}
    if programs is None:
        return f"python -m har_tf unpack {names['archive']} --out {names['folder']}"
    installed = [line for program, line in programs.items() if shutil.which(program)]
    lines = " or ".join(f"`{line.format(**names)}`" for line in installed or programs.values())
    return lines if installed else f"{lines} (none of them is installed: {INSTALL})"


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpacks a zip or a (compressed) tar into a new folder, which is there whole or not at all.

    An empty folder is filled and stays the same one, because a shell may stand in it (`--out .`), a link lead to it or
    a disk be mounted there: the files are moved into it when all are unpacked.

    Args:
        archive: the file; its content says what it is, not its name.
        folder: the folder to make; it may exist if it is empty.

    Returns:
        `folder`.

    Raises:
        DatasetError: no such file, another kind of archive, an archive that is truncated, damaged or encrypted, holds
            a link, a device, a name that leads out of the folder or a name twice, or does not fit on the disk; or
            `folder` holds something already, or when all is unpacked.
        OSError: `folder` cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        found = "is a folder" if archive.is_dir() else "no such file"
        raise DatasetError(f"{archive}: {found}. Expected an archive: {SUPPORTED}")
    found = kind(archive)
    if found is None:
        with archive.open("rb") as file:
            head = file.read(8)
        raise DatasetError(f"{archive}: is no archive: it begins with {head!r}. Expected {SUPPORTED}")
    if found in FOREIGN:
        raise DatasetError(
            f"{archive}: a {found} archive, which Python cannot unpack. Expected {SUPPORTED}. "
            f"Make the folder and unpack it with {how_to_unpack(archive, folder)}"
        )
    target = Path(os.path.realpath(folder))
    if target.exists() and not _is_empty(target):
        raise DatasetError(f"{folder}: is there already. Expected a new or an empty folder to unpack {archive} into")
    try:
        with _filled(target) if target.exists() else whole_folder(target, alike=False) as part:
            if found == "zip":
                _unzip(archive, part)
            else:
                _untar(archive, part, found)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(f"{archive}: the disk of {folder} is full. Nothing was kept") from error
        if isinstance(error, FileExistsError) and error.filename == str(target):
            raise DatasetError(f"{folder}: was filled by another meanwhile. {archive} was not unpacked") from error
        raise
    return folder


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what killed runs of `_filled` left."""
    left = f".part.{INSIDE}"
    return folder.is_dir() and all(name.startswith(".") and name.endswith(left) for name in os.listdir(folder))  # noqa: PTH208


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """A temporary folder within this empty folder; what it holds is moved up if all went well."""
    whole = folder / INSIDE
    with whole_folder(whole, alike=False) as part:
        yield part
        if [name for name in os.listdir(folder) if name != part.name]:  # noqa: PTH208
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    for entry in sorted(whole.iterdir()):
        entry.rename(folder / entry.name)
    whole.rmdir()


def _unzip(archive: Path, part: Path) -> None:
    with _reading(archive):
        file = zipfile.ZipFile(archive)
    with file:
        _check_count(archive, len(file.infolist()))
        infos = [info for info in file.infolist() if not info.filename.startswith("__MACOSX/")]  # resource forks
        for info in infos:
            _check_zip_member(archive, info)
        total = sum(info.file_size for info in infos)
        _check_room(archive, "its content", total, part)
        members = (
            Member(info.filename, info.is_dir(), info.file_size, lambda info=info: file.open(info)) for info in infos
        )
        with _progress(archive, total) as bar:
            _write(archive, members, part, bar.update)


def _check_count(archive: Path, members: int) -> None:
    """`zipfile` reads the directory up to a length in its end record and does not compare the number of members."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, END_RECORD), os.SEEK_END)
        tail = file.read()
    (told,) = struct.unpack_from("<H", tail, tail.rfind(b"PK\x05\x06") + 10)
    if not members or told not in (members & 0xFFFF, 0xFFFF):  # the latter in a zip of more than 4 GB
        raise DatasetError(f"{archive}: is empty or damaged: {members} members of {told}. Nothing was unpacked")


def _check_zip_member(archive: Path, info: zipfile.ZipInfo) -> None:
    _check_name(archive, info.filename)
    if info.flag_bits & 0x1:
        raise DatasetError(
            f"{archive}: member {info.filename!r} is encrypted. Expected an archive without a password; "
            f"unpack it with 7z x, which asks for it"
        )
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        raise DatasetError(
            f"{archive}: member {info.filename!r} is compressed by method {info.compress_type}. "
            f"Expected stored, deflate, bzip2 or LZMA; unpack it with 7z x"
        )
    mode = stat.S_IFMT(info.external_attr >> 16)  # 0 where the zip was not made on Unix
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DatasetError(f"{archive}: member {info.filename!r} is {_type(mode)}. Expected files and folders only")


def _untar(archive: Path, part: Path, found: str) -> None:
    decompress = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}.get(found)
    with archive.open("rb") as raw, _progress(archive, archive.stat().st_size) as bar:
        stream = raw if decompress is None else decompress(raw)

        def moved(_bytes: int = 0) -> None:
            bar.update(raw.tell() - bar.n)

        with _reading(archive, damage="holds no tar, or is truncated or damaged"):
            file = tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header)  # noqa: SIM115
        with file:
            _write(archive, _tar_members(archive, file), part, moved)
        # The checksum of the compressed stream stands at its end, behind what tarfile has read.
        for _ in _chunks(archive, stream):
            moved()
        moved()


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[Member]:
    while True:
        with _reading(archive):
            info = file.next()
        if info is None:
            return
        if not (info.isreg() or info.isdir()):
            what = "a link" if info.issym() or info.islnk() else "a device or another special file"
            raise DatasetError(f"{archive}: member {info.name!r} is {what}. Expected files and folders only")
        yield Member(info.name, info.isdir(), info.size, lambda info=info: file.extractfile(info))
        file.members.clear()  # tarfile keeps them all, and an archive may hold millions


class _Header(tarfile.TarInfo):
    """A header that makes `tarfile` report damage: it takes a broken header behind the first for the end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # the block of zeros that ends a whole archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, where a member or the end mark should be") from error
        extends = header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        extends |= header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if header.size < 0 or (extends and header.size > MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _write(archive: Path, members: Iterator[Member], part: Path, moved: Callable[[int], object]) -> None:
    for member in members:
        _check_name(archive, member.name)
        place = part / member.name
        try:
            (place if member.is_folder else place.parent).mkdir(parents=True, exist_ok=True)
            if member.is_folder:
                continue
            _check_room(archive, f"member {member.name!r}", member.size, part)
            with place.open("xb") as file:  # "x": never through or over what an earlier member made
                _copy(archive, member, file, moved)
        except (FileExistsError, NotADirectoryError) as error:
            raise DatasetError(
                f"{archive}: member {member.name!r} is in it twice, or as a file and a folder"
            ) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise DatasetError(f"{archive}: the name of member {member.name!r} is too long here") from error
            raise


def _copy(archive: Path, member: Member, file: IO[bytes], moved: Callable[[int], object]) -> None:
    with _reading(archive, member.name):
        source = member.open()
    written = 0
    with source:
        for chunk in _chunks(archive, source, member.name):
            written += len(chunk)
            if written > member.size:
                break
            file.write(chunk)
            moved(len(chunk))
    if written != member.size:
        raise DatasetError(
            f"{archive}: member {member.name!r} does not have the length that the archive tells. "
            f"Expected {member.size} bytes. Received: {written} or more"
        )


def _chunks(archive: Path, source: IO[bytes], member: str | None = None) -> Iterator[bytes]:
    while True:
        with _reading(archive, member):
            chunk = source.read(CHUNK)
        if not chunk:
            return
        yield chunk


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name)
    if not name or outside or "\\" in name or "\0" in name:
        raise DatasetError(
            f"{archive}: member {name!r} leads out of the folder, or would on some systems. Nothing was unpacked"
        )


def _check_room(archive: Path, what: str, size: int, part: Path) -> None:
    if size < 0:
        raise DatasetError(f"{archive}: {what} has a negative length: {size}")
    free = shutil.disk_usage(part).free
    if size > free:
        raise DatasetError(
            f"{archive}: {what} has {size:,} bytes, more than the {free:,} that are free beside {part.parent}"
        )


@contextmanager
def _reading(archive: Path, member: str | None = None, damage: str = "is truncated or damaged") -> Iterator[None]:
    """What the libraries raise on a bad archive, as one error that names it."""
    try:
        yield
    except (
        *(EOFError, OSError, OverflowError, RuntimeError, ValueError, struct.error, zlib.error),
        *(lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
    ) as error:
        what = "" if member is None else f"member {member!r} "
        reason = str(error) or type(error).__name__
        raise DatasetError(f"{archive}: {what}{damage} ({reason}). Nothing was unpacked") from error


def _progress(archive: Path, total: int) -> tqdm:
    return tqdm(desc=f"unpacking {archive.name}", total=total, unit="B", unit_scale=True, leave=False, disable=None)


def _quoted(path: str | Path) -> str:
    text = str(path)  # a name that begins like an option is not to be taken for one
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _type(mode: int) -> str:
    return "a link" if mode == stat.S_IFLNK else "a device or another special file"
