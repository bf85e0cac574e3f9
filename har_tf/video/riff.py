"""The packets of a regular AVI file, taken from its bytes: several times faster than through a demuxer.

AVI is a list of chunks, each a name of four letters, a size, and that many bytes. A file whose lists close where
they say, and whose index names as many packets as there are, leaves nothing to interpret. Of any other file this
module wants to know nothing.
"""

import struct

import numpy as np

_CHUNK = struct.Struct("<4sI")
_INDEX_ENTRY = np.dtype([("stream", "S2"), ("kind", "S2"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


def packets(data: bytes, stream: int) -> list[bytes] | None:
    """The packets of a stream that hold something, in the order of the file.

    Args:
        data: the whole file.
        stream: index of the stream.

    Returns:
        The packets, or None where the file is not whole or out of the ordinary.
    """
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"AVI ":
        return None
    if 8 + int.from_bytes(data[4:8], "little") != len(data):
        return None
    found, named = None, None
    for name, start, end in _chunks(data, 12, len(data)):
        if name is None:
            return None
        if name == b"LIST" and data[start : start + 4] == b"movi":
            if found is not None:
                return None
            found = _movi(data, start + 4, end, stream)
            if found is None:
                return None
        elif name == b"idx1":
            named = _named(data[start:end], stream)
    return found if found and named == len(found) else None


def _movi(data: bytes, start: int, end: int, stream: int) -> list[bytes] | None:
    number = b"%02d" % stream
    found = []
    for name, first, behind in _chunks(data, start, end):
        if name is None:
            return None
        if name[:2] == number:
            if name[2:] not in (b"dc", b"db"):  # a change of the palette
                return None
            if behind > first:
                found.append(data[first:behind])
        elif not name[:2].isdigit() and name != b"JUNK":
            return None
    return found


def _named(index: bytes, stream: int) -> int:
    """How many packets that hold something the index names."""
    entries = np.frombuffer(index, _INDEX_ENTRY, count=len(index) // _INDEX_ENTRY.itemsize)
    return int(((entries["stream"] == b"%02d" % stream) & (entries["size"] > 0)).sum())


def _chunks(data: bytes, position: int, end: int):
    """(name, start, end) of the chunks between two places; (None, 0, 0) where they do not fit."""
    while position < end:
        if position + 8 > end:
            yield None, 0, 0
            return
        name, size = _CHUNK.unpack_from(data, position)
        start = position + 8
        position = start + size + (size & 1)
        if position > end:
            yield None, 0, 0
            return
        yield name, start, start + size
