"""The packets of a regular AVI file, taken from its bytes: several times faster than through a demuxer.

AVI is a list of chunks, each a name of four letters, a size, and that many bytes. A file whose lists close where
they say, and whose index names the chunks of its data exactly, one behind the other, leaves nothing to interpret.
Of any other file this module wants to know nothing.
"""

import struct
from collections.abc import Iterator

import numpy as np

_CHUNK = struct.Struct("<4sI")
_INDEX_ENTRY = np.dtype([("name", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])


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
    movi, index = None, None
    for name, start, end in _chunks(data, 12, len(data)):
        if name is None or (name == b"LIST" and data[start : start + 4] == b"hdrl" and not _fit(data, start, end)):
            return None
        if name == b"LIST" and data[start : start + 4] == b"movi":
            if movi is not None:
                return None
            movi = start, end
        elif name == b"idx1":
            index = np.frombuffer(data, _INDEX_ENTRY, (end - start) // _INDEX_ENTRY.itemsize, start)
    if movi is None or index is None or not len(index):
        return None
    starts = _starts(data, index, *movi)
    number = b"%02d" % stream
    ours = np.char.startswith(index["name"], number)
    # Else a change of the palette, say.
    if starts is None or not np.isin(index["name"][ours], (number + b"dc", number + b"db")).all():
        return None
    ours &= index["size"] > 0
    if not ours.any():
        return None
    places = zip(starts[ours].tolist(), index["size"][ours].tolist(), strict=True)
    return [data[start : start + size] for start, size in places]


def _starts(data: bytes, index: np.ndarray, movi: int, end: int) -> np.ndarray | None:
    """Where the bytes of the chunks in the index begin; None if they are not exactly what lies in the list."""
    # The index counts from the name of the list, or from the beginning of the file.
    places = index["offset"].astype(np.int64)
    places += movi + 4 - places[0]
    steps = 8 + index["size"].astype(np.int64)
    steps += steps & 1
    if index["offset"][0] not in (4, movi + 4) or places[-1] + steps[-1] != end:
        return None
    if (places[:-1] + steps[:-1] != places[1:]).any():
        return None
    heads = np.frombuffer(data, np.uint8)[places[:, None] + np.arange(8)]
    expected = np.zeros((len(index), 8), np.uint8)
    expected[:, :4] = np.frombuffer(index["name"].tobytes(), np.uint8).reshape(-1, 4)
    expected[:, 4:] = np.frombuffer(index["size"].tobytes(), np.uint8).reshape(-1, 4)
    return places + 8 if (heads == expected).all() else None


def _fit(data: bytes, start: int, end: int) -> bool:
    """Whether the chunks of a list, and of the lists in it, end where it ends."""
    return all(
        name is not None and (name != b"LIST" or _fit(data, first, behind))
        for name, first, behind in _chunks(data, start + 4, end)
    )


def _chunks(data: bytes, position: int, end: int) -> Iterator[tuple[bytes | None, int, int]]:
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
