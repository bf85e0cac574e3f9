"""Which packets of a stream must be decoded for some wanted frames, and which can be left out.

A frame depends only on what lies between its key frame and itself, and nothing depends on a picture that is
marked as no reference. Leaving such packets out changes no pixel of the rest. This module reads just enough
of the bitstream to know it for sure, for the two codecs that action recognition data sets use most; for every
other codec, and at the first thing that is out of the ordinary, it answers None: decode everything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

# An MPEG-4 picture that says "not coded" ends a few bytes behind its start code.
_LARGEST_NOT_CODED = 20

# What stands in a packed stream where a picture travelled with an earlier one, as FFmpeg takes it.
_LARGEST_PLACEHOLDER = 19

# The start code of an MPEG-4 picture.
_VOP = b"\x00\x00\x01\xb6"

# What an encoder writes about itself, within the first bytes, when it packs.
_PACKED = re.compile(rb"\x00\x00\x01\xb2DivX\d+(?:Build|b)\d+p")
_HEADERS = 512


@dataclass(frozen=True, eq=False)
class Layout:
    """What the packets of a stream hold, in decoding order.

    Attributes:
        frame: (P,) int64, the frame that each packet becomes, counted in presentation order; -1: none.
        start: (P,) bool, decoding can begin here and needs nothing from before.
        reference: (P,) bool, later packets may need this one.
        leading: (P,) bool, shown before the start it follows, and depends on what lies before that, too.
        data: the packets, where those of the file had to be taken apart; None: those of the file.
    """

    frame: np.ndarray
    start: np.ndarray
    reference: np.ndarray
    leading: np.ndarray
    data: list[bytes] | None = None

    @property
    def frames(self) -> int:
        """The number of frames."""
        return int(self.frame.max()) + 1

    def needed(self, wanted: np.ndarray) -> np.ndarray:
        """Positions of the packets to decode for the wanted frames, (N,) int64 in decoding order."""
        chosen = np.zeros(self.frames + 1, bool)
        chosen[wanted] = True
        is_wanted = chosen[self.frame]  # what becomes no frame, -1, looks at the last place, which nobody wants
        segment = np.cumsum(self.start) - 1
        last = np.full(segment[-1] + 1, -1)
        np.maximum.at(last, segment[is_wanted], np.flatnonzero(is_wanted))
        # All of the segment before: its last picture of reference is what a leading one refers to.
        last[segment[is_wanted & self.leading] - 1] = len(segment)
        keep = (np.arange(len(segment)) <= last[segment]) & (self.reference | is_wanted)
        # The first packet may carry headers that say how to read all the others.
        keep[0] = True
        return np.flatnonzero(keep)


def find_layout(context: av.VideoCodecContext, data: Sequence[bytes], stamps: Sequence[int | None]) -> Layout | None:
    """Layout of a stream, or None where it is unknown or unusual.

    Args:
        context: the decoder of the stream.
        data: all its packets that are not empty, in decoding order.
        stamps: the presentation time of each.
    """
    codec, headers = context.codec.canonical_name, context.extradata or b""
    if codec == "h264":
        return _h264(headers, data, stamps)
    if codec == "mpeg4":
        return _mpeg4(headers, data)
    return None


def as_packet(data: bytes) -> av.Packet:
    """A packet that holds these bytes, with room behind them: `av.Packet(data)` has none, and decoders read on."""
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def _mpeg4(headers: bytes, data: Sequence[bytes]) -> Layout | None:
    """MPEG-4 part 2 (XviD, DivX): P and S pictures depend on the one before, B pictures on the two around them."""
    unpacked = None
    if _PACKED.search(headers) or _PACKED.search(data[0][:_HEADERS]):
        # "Packed bitstream": AVI wants a picture a packet, so a B picture travels with the P picture it needs.
        if not _packed_regularly(data):
            return None  # packets are lost, and what the decoder makes of that is for it to say
        unpacking = BitStreamFilterContext("mpeg4_unpack_bframes", "mpeg4")
        packets = [*(as_packet(part) for part in data), None]
        data = unpacked = [bytes(part) for packet in packets for part in unpacking.filter(packet)]
    places = [part.find(_VOP) + len(_VOP) for part in data]
    left = np.array([len(part) for part in data]) - places  # bytes behind the start code
    if min(places) < len(_VOP) or left.min() < 1:
        return None
    kinds = np.array([part[place] >> 6 for part, place in zip(data, places, strict=True)])
    coded = np.ones(len(data), bool)
    time_bits = None
    for position in np.flatnonzero(left <= _LARGEST_NOT_CODED).tolist():
        time_bits = time_bits or _time_bits(headers) or _time_bits(data[0])
        if not time_bits:
            return None
        coded[position] = _is_coded(data[position][places[position] :], time_bits)
    bipredictive = kinds == 2
    if bipredictive.any() and not coded.all():
        return None
    start = (kinds == 0) & coded
    # A B picture comes out at once, every other one when the next of them is decoded.
    others = np.flatnonzero(coded & ~bipredictive)
    shown = np.arange(len(data), dtype=float)
    shown[others] = np.append(others[1:], len(data)) - 0.5
    frame = np.where(coded, np.argsort(np.argsort(np.where(coded, shown, np.inf))), -1)
    # Between a start and the next picture of reference, B pictures are shown before the start.
    latest = np.maximum.accumulate(np.where(bipredictive, 0, np.arange(len(data))))
    leading = bipredictive & start[latest]
    if not start[0] or (leading & (np.cumsum(start) == 1)).any():
        return None
    return Layout(frame, start, ~bipredictive, leading, unpacked)


def _packed_regularly(data: Sequence[bytes]) -> bool:
    """Whether a placeholder follows every packet of two pictures before the next; the end may lack the last one."""
    travelling = False
    for part in data:
        placeholder = len(part) <= _LARGEST_PLACEHOLDER
        if placeholder or part.find(_VOP, part.find(_VOP) + len(_VOP)) >= 0:
            if placeholder != travelling:
                return False
            travelling = not travelling
    return True


def _time_bits(headers: bytes) -> int | None:
    """Size of a picture's time in bits, from the header of the video object layer (ISO 14496-2, 6.2.3)."""
    place = headers.find(b"\x00\x00\x01")
    while place >= 0 and not (place + 3 < len(headers) and 0x20 <= headers[place + 3] <= 0x2F):
        place = headers.find(b"\x00\x00\x01", place + 3)
    if place < 0:
        return None
    bits = _Bits(headers[place + 4 : place + 36])
    bits.skip(9)  # random accessible, kind of object
    if bits.take(1):
        bits.skip(7)  # version, priority
    if bits.take(4) == 15:
        bits.skip(16)  # shape of the pixels
    if bits.take(1):
        bits.skip(3)  # chroma format, low delay
        if bits.take(1):
            bits.skip(79)  # buffer
    if bits.take(2) != 0:  # shape: not rectangular
        return None
    bits.skip(1)
    return max((bits.take(16) - 1).bit_length(), 1)


def _is_coded(picture: bytes, time_bits: int) -> bool:
    """The bit vop_coded of a picture, which begins behind its start code (ISO 14496-2, 6.2.5)."""
    bits = _Bits(picture)
    bits.skip(2)
    while bits.take(1):  # whole seconds
        pass
    bits.skip(1 + time_bits + 1)
    return bool(bits.take(1))


class _Bits:
    """Reads bits from the most significant one on; behind the end there are zeros."""

    def __init__(self, data: bytes):
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def skip(self, count: int) -> None:
        self._left -= count

    def take(self, count: int) -> int:
        self._left -= count
        value = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return value & ((1 << count) - 1)


def _h264(extradata: bytes, packets: Sequence[bytes], stamps: Sequence[int | None]) -> Layout | None:
    """H.264 whose packets are one whole picture each and whose time stamps order the frames."""
    if None in stamps or len(set(stamps)) != len(stamps):
        return None
    # avcC (ISO 14496-15) begins with version 1; its fifth byte holds the size of the length that
    # stands before each unit.
    length_size = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
    starts, references, with_headers = [], [], []
    bipredictive = False
    for data in packets:
        units = _units_with_length(data, length_size) if length_size else _units_with_start_code(data)
        pictures, is_start, is_reference, has_headers = 0, False, False, False
        for unit in units:
            if unit < 0 or unit + 1 >= len(data):
                return None
            kind = data[unit] & 31
            if kind in (1, 5):
                is_start |= kind == 5
                is_reference |= data[unit] & 0x60 != 0
                # A slice begins with its first macroblock, 0 in the first slice of a picture or field, and
                # its type, both as Exp-Golomb codes: 1, then 010 (1) or 00111 (6) for B.
                pictures += data[unit + 1] >> 7
                bipredictive |= data[unit + 1] >> 4 == 0b1010 or data[unit + 1] >> 2 == 0b100111
            elif kind in (7, 8):
                has_headers = True
            elif 2 <= kind <= 4 or kind > 12:  # data partitions, layers, views
                return None
        if pictures != 1:
            return None
        starts.append(is_start)
        references.append(is_reference)
        with_headers.append(has_headers)
    start, reference, headers = np.array(starts), np.array(references), np.array(with_headers)
    frame = np.empty(len(packets), np.int64)
    frame[np.argsort(stamps)] = np.arange(len(packets))
    # AVI stamps packets in decoding order, whatever their pictures are.
    if bipredictive and (np.diff(frame) == 1).all():
        return None
    segment = np.cumsum(start) - 1
    if not start[0] or (np.diff(segment[np.argsort(frame)]) < 0).any():
        return None
    # In-band parameter sets must come with every start, or stand before the first only.
    if headers[~start].any() or (headers[start][1:].any() and not headers[start].all()):
        return None
    return Layout(frame, start, reference, np.zeros(len(packets), bool))


def _units_with_length(data: bytes, length_size: int):
    """Positions of the NAL units of a packet in which each follows its length; -1 where they do not fit."""
    position = 0
    while position < len(data):
        unit = position + length_size
        position = unit + int.from_bytes(data[position:unit], "big")
        yield unit if unit < position <= len(data) else -1


def _units_with_start_code(data: bytes):
    """Positions of the NAL units of a packet in which each follows 00 00 01."""
    position = data.find(b"\x00\x00\x01")
    while position >= 0:
        yield position + 3
        position = data.find(b"\x00\x00\x01", position + 3)
