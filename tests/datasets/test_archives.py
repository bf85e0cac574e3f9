import bz2
import gzip
import io
import lzma
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from har_tf import datasets
from har_tf.datasets import DatasetError, archives

FILES = {"UCF/Archery/a.avi": b"first" * 1000, "UCF/Archery/50%_#1;(x)!.avi": b"", "lists/train.txt": b"a 1\n"}


def make_zip(path, members=FILES, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def tar_bytes(members=FILES):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size, info.mode = len(data), 0o6755
            file.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return buffer.getvalue()


def make_tar(path, members=FILES):
    path.write_bytes(tar_bytes(members))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def contents(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(archive, out, match):
    """`unpack` fails with this message, in one line, and leaves nothing: neither the folder nor a part of it."""
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(DatasetError, match=match) as caught:
        archives.unpack(archive, out)
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in out.parent.iterdir()) == before


COMPRESS = {"zip": None, "tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}


@pytest.mark.parametrize("ending", COMPRESS)
def test_every_supported_kind_gives_the_same_files(tmp_path, ending):
    # The content says what it is: the names are wrong.
    archive = tmp_path / ("a.rar" if ending == "zip" else "a.zip")
    if ending == "zip":
        make_zip(archive)
    else:
        archive.write_bytes(COMPRESS[ending](tar_bytes()))
    assert archives.unpack(archive, tmp_path / "new" / "out") == tmp_path / "new" / "out"
    assert contents(tmp_path / "new" / "out") == FILES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_zip_methods(tmp_path, method):
    assert contents(archives.unpack(make_zip(tmp_path / "a.zip", method=method), tmp_path / "out")) == FILES


def test_permissions_are_those_of_new_files(tmp_path):
    out = archives.unpack(make_tar(tmp_path / "a.tar"), tmp_path / "out")
    (tmp_path / "new").touch()
    for file in out.rglob("*.avi"):
        assert file.stat().st_mode == (tmp_path / "new").stat().st_mode  # not 0o6755


def test_an_empty_folder_is_filled_and_a_full_one_is_kept(tmp_path):
    archive, out = make_zip(tmp_path / "a.zip"), tmp_path / "out"
    out.mkdir()
    archives.unpack(archive, out)
    assert contents(out) == FILES
    refused(archive, out, "out: is there already. Expected a new or an empty folder")
    refused(archive, archive, "is there already")


def test_an_empty_folder_stays_the_same_folder(tmp_path, monkeypatch):
    """A shell may stand in it, a link lead to it, a disk be mounted there."""
    archive, out = make_zip(tmp_path / "a.zip"), tmp_path / "out"
    out.mkdir()
    number = out.stat().st_ino
    monkeypatch.chdir(out)
    assert archives.unpack(archive, ".") == Path()
    assert (contents(out), out.stat().st_ino) == (FILES, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]
    refused(archive, out, "is there already")


def test_links_to_an_empty_folder_and_to_none(tmp_path):
    archive = make_zip(tmp_path / "a.zip")
    (tmp_path / "real").mkdir()
    for name, target in (("link", "real"), ("dangling", "new")):
        (tmp_path / name).symlink_to(target)
        assert archives.unpack(archive, tmp_path / name) == tmp_path / name
        assert contents(tmp_path / target) == FILES
        assert (tmp_path / name).is_symlink()


def test_a_file_where_the_folder_around_it_should_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file'$") as caught:
        archives.unpack(make_zip(tmp_path / "a.zip"), tmp_path / "file" / "out")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_failure_leaves_an_empty_folder_empty(tmp_path):
    (tmp_path / "out").mkdir()
    damaged = make_zip(tmp_path / "a.zip")
    damaged.write_bytes(damaged.read_bytes()[:-40])
    refused(damaged, tmp_path / "out", "truncated or damaged")
    assert list((tmp_path / "out").iterdir()) == []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = tmp_path / "out" / f".{socket.gethostname()}.{ended.pid}.part.{archives.INSIDE}"
    killed.mkdir()
    assert contents(archives.unpack(make_zip(tmp_path / "a.zip"), tmp_path / "out")) == FILES
    assert not killed.exists()


@pytest.mark.parametrize("exists", [False, True])
def test_what_another_made_there_meanwhile_is_not_taken_for_ours(tmp_path, monkeypatch, exists):
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    unzip = archives._unzip

    def slow(archive, part):
        unzip(archive, part)
        out.mkdir(exist_ok=True)
        (out / "other.txt").touch()

    monkeypatch.setattr(archives, "_unzip", slow)
    with pytest.raises(DatasetError, match=r"out: is there already|out: was filled by another meanwhile"):
        archives.unpack(make_zip(tmp_path / "a.zip"), out)
    assert [path.name for path in out.iterdir()] == ["other.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_folders_and_resource_forks(tmp_path):
    members = {"a/": b"", "a/b/": b"", "a/b/c.avi": b"1", "__MACOSX/a/b/._c.avi": b"2"}
    out = archives.unpack(make_zip(tmp_path / "a.zip", members), tmp_path / "out")
    assert contents(out) == {"a/b/c.avi": b"1"}
    empty = special("only/folders", tarfile.DIRTYPE)
    assert (archives.unpack(make_tar(tmp_path / "a.tar", {"": empty}), tmp_path / "t") / "only" / "folders").is_dir()


OUTSIDE = [
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "//host/evil",
    "C:/evil",
    "c:evil",
    "..\\evil",
    "a\\b.avi",
    "..",
    "a/..",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_no_name_leads_out(tmp_path, make, name):
    archive = make(tmp_path / "a", {"good.avi": b"1", name: b"evil"})
    refused(archive, tmp_path / "out", "member .* leads out of the folder")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.FIFOTYPE, "a device or another special file"),
        (tarfile.CHRTYPE, "a device or another special file"),
        (tarfile.BLKTYPE, "a device or another special file"),
        (b"V", "a device or another special file"),
    ],
)
def test_no_links_and_no_devices_in_a_tar(tmp_path, kind, what):
    refused(make_tar(tmp_path / "a.tar", {"": special("x", kind, "/etc/passwd")}), tmp_path / "out", f"'x' is {what}")


@pytest.mark.parametrize(("mode", "what"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a device")])
def test_no_links_and_no_devices_in_a_zip(tmp_path, mode, what):
    info = zipfile.ZipInfo("x")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc/passwd")
    refused(archive, tmp_path / "out", f"'x' is {what}")


def test_a_name_given_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("a.avi", b"1")
        file.writestr("a.avi", b"2")
    refused(tmp_path / "a.zip", tmp_path / "out", "member 'a.avi' is in it twice")
    archive = make_tar(tmp_path / "a.tar", {"a.avi": b"1", "./a.avi": b"2"})
    refused(archive, tmp_path / "out", "member './a.avi' is in it twice")
    refused(
        make_tar(tmp_path / "b.tar", {"a": b"1", "a/b": b"2"}),
        tmp_path / "out",
        "'a/b' is in it twice, or as a file and a folder",
    )


@pytest.fixture
def little_room(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10_000, 9_000, 1_000))


@pytest.mark.usefixtures("little_room")
def test_more_than_the_disk_has_room_for(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"0" * 600, "b": b"0" * 600})
    refused(archive, tmp_path / "out", "a.zip: its content has 1,200 bytes, more than the 1,000 that are free")
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar_bytes({"a": b"0" * 1001})))
    refused(tmp_path / "a.tgz", tmp_path / "out", "member 'a' has 1,001 bytes, more than the 1,000")
    assert contents(archives.unpack(make_zip(tmp_path / "b.zip", {"a": b"0" * 999}), tmp_path / "out"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_the_disk_fills_up_while_writing(tmp_path, monkeypatch):
    real_open = archives.Path.open

    def full(path, mode="r", **options):
        return open("/dev/full", "wb", buffering=0) if mode == "xb" else real_open(path, mode, **options)  # noqa: PTH123

    monkeypatch.setattr(archives.Path, "open", full)
    refused(make_zip(tmp_path / "a.zip"), tmp_path / "out", "a.zip: the disk of .*out is full. Nothing was kept")


def test_a_zip_with_a_longer_member_than_it_tells(tmp_path):
    data = make_zip(tmp_path / "a.zip", {"bomb": b"0" * 100_000}).read_bytes()
    # 100,000 becomes 10 in the two headers: what a bomb would do to pass the check of its size.
    (tmp_path / "a.zip").write_bytes(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(tmp_path / "a.zip", tmp_path / "out", "member 'bomb' is truncated or damaged")


def test_an_encrypted_zip(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", {"secret.avi": b"1"}).read_bytes())
    data[6] |= 1  # the flags in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path / "out", "member 'secret.avi' is encrypted")


def test_a_zip_method_that_python_lacks(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", {"a.avi": b"1"}).read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 9  # Deflate64
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path / "out", "compressed by method 9")


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_truncated_archive_leaves_nothing(tmp_path, ending):
    members = {f"{n}.avi": os.urandom(3000) for n in range(4)}
    whole = (
        make_zip(tmp_path / "whole", members).read_bytes() if ending == "zip" else COMPRESS[ending](tar_bytes(members))
    )
    end = 4 * (512 + 3072) if ending == "tar" else len(whole)  # what follows in a plain tar are zeros
    archive = tmp_path / "a"
    for length in [600, 1024, *range(1500, end, 1333), 512 + 3072, end - 1, end]:
        archive.write_bytes(whole[:length])
        if length == len(whole):
            assert contents(archives.unpack(archive, tmp_path / "out")) == members
        else:
            refused(archive, tmp_path / "out", "truncated or damaged")


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_damaged_archive_leaves_nothing(tmp_path, ending):
    members = {f"{n}.avi": os.urandom(3000) for n in range(4)}
    data = make_zip(tmp_path / "a", members).read_bytes() if ending == "zip" else COMPRESS[ending](tar_bytes(members))
    # In a plain tar the third header, because there the data have no checksum.
    position = 2 * (512 + 3072) + 10 if ending == "tar" else len(data) // 2
    (tmp_path / "a").write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
    refused(tmp_path / "a", tmp_path / "out", "truncated or damaged")


def test_a_zip_with_fewer_members_than_it_tells(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip").read_bytes())
    end = data.index(b"PK\x05\x06")
    data[end + 12 : end + 16] = bytes(4)  # the length of the directory
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path / "out", "a.zip: is empty or damaged: 0 members of 3")
    refused(make_zip(tmp_path / "a.zip", {}), tmp_path / "out", "a.zip: is empty or damaged: 0 members of 0")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.comment = b"c" * 0xFFFF
        file.writestr("a.avi", b"1")
    assert contents(archives.unpack(tmp_path / "b.zip", tmp_path / "out")) == {"a.avi": b"1"}


def test_the_checksum_at_the_end_of_a_gzip_is_read(tmp_path):
    data = bytearray(gzip.compress(tar_bytes()))
    data[-8] ^= 1
    (tmp_path / "a.tgz").write_bytes(data)
    refused(tmp_path / "a.tgz", tmp_path / "out", "CRC")


def test_a_header_that_would_fill_the_memory(tmp_path):
    info = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 33
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    refused(tmp_path / "a.tar", tmp_path / "out", "a header of 8589934592 bytes")


def test_other_files_are_named_by_what_they_begin_with(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"RIFF1234AVI ")
    refused(
        tmp_path / "a.zip", tmp_path / "out", r"is no archive: it begins with b'RIFF1234'. Expected zip, tar, tar.gz"
    )
    (tmp_path / "a.zip").write_bytes(b"")
    refused(tmp_path / "a.zip", tmp_path / "out", r"is no archive: it begins with b''")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"label,youtube_id\n"))
    refused(tmp_path / "a.gz", tmp_path / "out", "a.gz: holds no tar, or is truncated or damaged")
    refused(tmp_path / "none.zip", tmp_path / "out", "none.zip: no such file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", tmp_path / "out", "folder: is a folder. Expected an archive")


def test_what_to_do_about_a_rar(tmp_path, monkeypatch):
    archive = tmp_path / "hmdb51 org.rar"
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    refused(archive, tmp_path / "out", r"a rar archive.*`unrar x '.*org.rar' .*/out/` or `7z x .* -o.*` or `bsdtar -xf")
    refused(archive, tmp_path / "out", "none of them is installed: apt install")
    monkeypatch.setattr(shutil, "which", lambda program: "/usr/bin/7z" if program == "7z" else None)
    assert archives.how_to_unpack(archive, tmp_path / "out") == f"`7z x '{archive}' -o{tmp_path / 'out'}`"
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    refused(tmp_path / "a.7z", tmp_path / "out", "a 7z archive, which Python cannot unpack")


def test_an_archive_in_place_of_a_folder_is_answered_with_the_command(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "UCF 101.avi")
    for load in (lambda: datasets.load(archive), lambda: datasets.load("ucf101", archive)):
        with pytest.raises(DatasetError, match=r"is an archive. .*Unpack it: python -m har_tf unpack '.*' --out DIR"):
            load()
    monkeypatch.chdir(tmp_path)
    archive.rename("-a.zip")
    assert archives.how_to_unpack("-a.zip") == "python -m har_tf unpack ./-a.zip --out DIR"
    (tmp_path / "a.avi").write_bytes(b"RIFF")
    with pytest.raises(DatasetError, match="a.avi: is a file. Expected a folder"):
        datasets.load(tmp_path / "a.avi")
