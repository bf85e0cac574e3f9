"""Which packets of a stream must be decoded for some wanted frames, and which can be left out.

A frame depends only on what lies between its key frame and itself, and nothing depends on a picture that is
marked as no reference. Leaving such packets out changes no pixel of the rest. This module reads just enough
of the bitstream to know it for sure, for the two codecs that action recognition data sets use most; for every
other codec, and at the first thing that is out of the ordinary, it answers None: decode everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# An MPEG-4 picture that says "not coded" gives no frame and ends a few bytes behind its start code.
_SMALLEST_CODED_VOP = 24


@dataclass(frozen=True, eq=False)
class Layout:
    """What the packets of a stream hold, in decoding order.

    Attributes:
        frame: (P,) int64, the frame that each packet becomes, counted in presentation order.
        start: (P,) bool, decoding can begin here and needs nothing from before.
        reference: (P,) bool, later packets may need this one.
    """

    frame: np.ndarray
    start: np.ndarray
    reference: np.ndarray

    def needed(self, wanted: np.ndarray) -> np.ndarray:
        """Positions of the packets to decode for the wanted frames, (N,) int64 in decoding order."""
        is_wanted = np.isin(self.frame, wanted)
        segment = np.cumsum(self.start) - 1
        last = np.full(segment[-1] + 1, -1)
        np.maximum.at(last, segment[is_wanted], np.flatnonzero(is_wanted))
        keep = (np.arange(len(segment)) <= last[segment]) & (self.reference | is_wanted)
        # The first packet may carry headers that say how to read all the others.
        keep[0] = True
        return np.flatnonzero(keep)


def find_layout(codec: str, extradata: bytes | None, packets: Sequence) -> Layout | None:
    """Layout of a stream, or None where it is unknown or unusual.

    Args:
        codec: FFmpeg's name of the decoder.
        extradata: the stream's global headers.
        packets: all non-empty `av.Packet` of the stream, in decoding order.
    """
    if codec == "h264":
        return _h264(extradata or b"", packets)
    if codec == "mpeg4":
        return _mpeg4(packets)
    return None


def _mpeg4(packets: Sequence) -> Layout | None:
    """MPEG-4 part 2 (XviD, DivX) with I, P and S pictures only: each depends on the one before it."""
    start = np.zeros(len(packets), bool)
    for position, packet in enumerate(packets):
        data = bytes(packet)
        vop = data.find(b"\x00\x00\x01\xb6")
        if vop < 0 or len(data) - vop < _SMALLEST_CODED_VOP or data.find(b"\x00\x00\x01\xb6", vop + 4) >= 0:
            return None
        coding_type = data[vop + 4] >> 6
        if coding_type == 2:  # a B picture: frames come out in another order than they went in
            return None
        start[position] = coding_type == 0
    if not start[0]:
        return None
    count = len(packets)
    return Layout(np.arange(count, dtype=np.int64), start, np.ones(count, bool))


def _h264(extradata: bytes, packets: Sequence) -> Layout | None:
    """H.264 whose packets are one whole picture each and whose time stamps order the frames."""
    stamps = [packet.pts for packet in packets]
    if None in stamps or len(set(stamps)) != len(stamps):
        return None
    # avcC (ISO 14496-15) begins with version 1; its fifth byte holds the size of the length that
    # stands before each unit.
    length_size = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
    start = np.zeros(len(packets), bool)
    reference = np.zeros(len(packets), bool)
    headers = np.zeros(len(packets), bool)
    bipredictive = False
    for position, packet in enumerate(packets):
        data = bytes(packet)
        units = _units_with_length(data, length_size) if length_size else _units_with_start_code(data)
        pictures = 0
        for unit in units:
            if unit < 0 or unit + 1 >= len(data):
                return None
            kind = data[unit] & 31
            if kind in (1, 5):
                start[position] |= kind == 5
                reference[position] |= data[unit] & 0x60 != 0
                # A slice begins with its first macroblock, 0 in the first slice of a picture or field, and
                # its type, both as Exp-Golomb codes: 1, then 010 (1) or 00111 (6) for B.
                pictures += data[unit + 1] >> 7
                bipredictive |= data[unit + 1] >> 4 == 0b1010 or data[unit + 1] >> 2 == 0b100111
            elif kind in (7, 8):
                headers[position] = True
            elif 2 <= kind <= 4 or kind > 12:  # data partitions, layers, views
                return None
        if pictures != 1:
            return None
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
    return Layout(frame, start, reference)


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
