"""The packets of a regular AVI file, taken from its bytes: several times faster than through a demuxer.

AVI is a list of chunks, each a name of four letters, a size, and that many bytes. A file whose lists close where
they say, and whose index names the chunks of its data exactly, one behind the other, leaves nothing to interpret.
Of any other file this module wants to know nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

HEAD = 12  # bytes that tell whether a file is an AVI

_CHUNK = struct.Struct("<4sI")
_INDEX_ENTRY = np.dtype([("name", "<u4"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")])

# BITMAPINFOHEADER: its size, width, height, planes, bits, codec; the other 20 bytes tell nothing here.
_PICTURE = struct.Struct("<IiiHH4s20x")

# Padding and notes.
_IDLE = frozenset(((b"JUNK", b""), (b"LIST", b"INFO")))

# Chunks that a list of a header has, and an index: of the former regular files have some ten.
_FEW, _MANY = 1000, 2**20

# Lists in lists; in AVI there are streams in the header, and no more.
_DEPTH = 4

# What MPEG-4 part 2 is called in most files; other names have meanings to FFmpeg's demuxer or decoder.
_MPEG4 = frozenset((b"XVID", b"DIVX", b"DX50", b"FMP4"))


@dataclass(frozen=True, eq=False)
class Avi:
    """A regular AVI file.

    Attributes:
        data: the whole file.
        header: (start, end) of the chunks that describe the streams.
        movi: (start, end) of the chunks that hold the packets.
        index: what the file says about these.
    """

    data: bytes
    header: tuple[int, int]
    movi: tuple[int, int]
    index: np.ndarray

    @classmethod
    def of(cls, data: bytes) -> "Avi | None":
        """The file with these bytes, or None where it is not whole or out of the ordinary."""
        if not is_whole(data[:HEAD], len(data)):
            return None
        header, movi, index = None, None, None
        for name, start, end in _chunks(data, HEAD, len(data)):
            kind = (name, data[start : start + 4] if name == b"LIST" else b"")
            if kind == (b"LIST", b"hdrl") and header is None and _fit(data, start, end):
                header = start + 4, end
            elif kind == (b"LIST", b"movi") and movi is None:
                movi = start, end
            elif name == b"idx1" and index is None:
                index = np.frombuffer(data, _INDEX_ENTRY, (end - start) // _INDEX_ENTRY.itemsize, start)
            elif kind not in _IDLE:
                return None
        if header is None or movi is None or index is None or not 0 < len(index) <= _MANY:
            return None
        return cls(data, header, movi, index)

    def packets(self, stream: int) -> list[bytes] | None:
        """The packets of a stream that hold something, in the order of the file.

        Args:
            stream: index of the stream.

        Returns:
            The packets, or None where the data are out of the ordinary.
        """
        starts = self._starts()
        name, number = self.index["name"], int.from_bytes(b"%02d" % stream, "little")
        ours = (name & 0xFFFF) == number
        kinds = name[ours] >> 16
        # Else a change of the palette, say.
        if starts is None or not ((kinds == _kind(b"dc")) | (kinds == _kind(b"db"))).all():
            return None
        ours &= self.index["size"] > 0
        places = zip(starts[ours].tolist(), self.index["size"][ours].tolist(), strict=True)
        return [self.data[start : start + size] for start, size in places] or None

    def mpeg4(self) -> tuple[int, av.VideoCodecContext] | None:
        """The index of the first video stream and a decoder for it, if it is plain MPEG-4 part 2; else None."""
        streams = [
            (start + 4, end)
            for name, start, end in _chunks(self.data, *self.header)
            if name == b"LIST" and self.data[start : start + 4] == b"strl"
        ]
        for number, stream in enumerate(streams):
            heads = self._of_name(b"strh", *stream)
            forms = self._of_name(b"strf", *stream)
            if len(heads) != 1 or len(forms) != 1:
                return None
            (head,), (form,) = heads, forms
            if head[:4] == b"vids":
                context = _mpeg4_decoder(form) if any(head[32:36]) else None  # else it claims no frames
                return context and (number, context)
        return None

    def _of_name(self, wanted: bytes, start: int, end: int) -> list[bytes]:
        return [self.data[first:behind] for name, first, behind in _chunks(self.data, start, end) if name == wanted]

    def _starts(self) -> np.ndarray | None:
        """Where the bytes of the chunks in the index begin; None if they are not exactly what lies in the list."""
        index, (movi, end) = self.index, self.movi
        # The index counts from the name of the list, or from the beginning of the file.
        places = index["offset"].astype(np.int64)
        places += movi + 4 - places[0]
        steps = index["size"].astype(np.int64) + 8
        steps += steps & 1
        if index["offset"][0] not in (4, movi + 4) or places[-1] + steps[-1] != end:
            return None
        if (places[:-1] + steps[:-1] != places[1:]).any():
            return None
        heads = np.frombuffer(self.data, np.uint8)[places[:, None] + np.arange(8)].view("<u4")
        if (heads[:, 0] != index["name"]).any() or (heads[:, 1] != index["size"]).any():
            return None
        return places + 8


def is_whole(head: bytes, size: int) -> bool:
    """Whether a file of this size that begins with these `HEAD` bytes is an AVI, and says that it is so long."""
    named = len(head) == HEAD and head[:4] == b"RIFF" and head[8:] == b"AVI "
    return named and 8 + int.from_bytes(head[4:8], "little") == size


def _mpeg4_decoder(form: bytes) -> av.VideoCodecContext | None:
    """The decoder that the format of a stream (strf) asks for, if that is plain MPEG-4 part 2."""
    if len(form) < _PICTURE.size:
        return None
    size, width, height, _, _, codec = _PICTURE.unpack_from(form)
    headers = form[_PICTURE.size :]
    if codec.upper() not in _MPEG4 or min(width, height) < 1 or size not in (_PICTURE.size, len(form)):
        return None
    # Headers of the codec begin with a start code; some programs leave notes there.
    if headers and headers[:3] != b"\0\0\1":
        return None
    context = av.CodecContext.create("mpeg4", "r")
    context.codec_tag, context.width, context.height = codec.decode(), width, height
    if headers:
        context.extradata = headers
    return context


def _kind(letters: bytes) -> int:
    return int.from_bytes(letters, "little")


def _fit(data: bytes, start: int, end: int, depth: int = _DEPTH) -> bool:
    """Whether the chunks of a list, and of the lists in it, end where it ends."""
    return depth > 0 and all(
        name is not None and (name != b"LIST" or _fit(data, first, behind, depth - 1))
        for name, first, behind in _chunks(data, start + 4, end)
    )


def _chunks(data: bytes, position: int, end: int) -> Iterator[tuple[bytes | None, int, int]]:
    """(name, start, end) of the chunks between two places; (None, 0, 0) where they do not fit, or are many."""
    for _ in range(_FEW):
        if position == end:
            return
        if position + 8 > end:
            break
        name, size = _CHUNK.unpack_from(data, position)
        start = position + 8
        position = start + size + (size & 1)
        if position > end:
            break
        yield name, start, start + size
    yield None, 0, 0
