"""Either the packets of FFmpeg's demuxer, or none at all."""

import av
import numpy as np
import pytest

from har_tf.video import read_clip
from har_tf.video.riff import Avi


def demuxed(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.index, [bytes(packet) for packet in container.demux(stream) if packet.size]


def packets_of(data, stream):
    avi = Avi.of(data)
    return None if avi is None else avi.packets(stream)


@pytest.fixture(scope="module")
def video(make_video, tmp_path_factory, numbered):
    return make_video(tmp_path_factory.mktemp("riff") / "clip.avi", numbered(12), "mpeg4", options={"bf": "0"})


@pytest.fixture(scope="module")
def with_sound(tmp_path_factory, numbered):
    path = tmp_path_factory.mktemp("riff") / "sound.avi"
    with av.open(str(path), "w") as file:
        sound, stream = file.add_stream("mp2", rate=16000, layout="mono"), file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number, pixels in enumerate(numbered(12)):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 640), np.int16), format="s16", layout="mono")
            tone.sample_rate, tone.pts = 16000, 640 * number
            file.mux(sound.encode(tone))
        file.mux(stream.encode())
        file.mux(sound.encode())
    return path


def test_packets_are_those_of_the_demuxer(video, with_sound):
    for path, index in ((video, 0), (with_sound, 1)):
        stream, packets = demuxed(path)
        assert stream == index
        assert len(packets) == 12
        assert packets_of(path.read_bytes(), stream) == packets


def test_anything_out_of_the_ordinary_is_refused(video):
    data = video.read_bytes()
    index, movi = data.index(b"idx1"), data.index(b"movi")
    first = data.index(b"00dc", movi)
    size = int.from_bytes(data[first + 4 : first + 8], "little")
    assert packets_of(data, 0) is not None
    assert packets_of(b"", 0) is None
    assert packets_of(data[:-1], 0) is None
    assert packets_of(data + bytes(8), 0) is None
    assert packets_of(data, 1) is None
    assert packets_of(data[:index] + b"JUNK" + data[index + 4 :], 0) is None
    assert packets_of(data[:first] + b"00pc" + data[first + 4 :], 0) is None
    assert packets_of(data[:first] + b"LIST" + data[first + 4 :], 0) is None
    assert packets_of(data[:first] + b"01wb" + data[first + 4 :], 0) is None
    assert packets_of(data[: first + 4] + (size + 6).to_bytes(4, "little") + data[first + 8 :], 0) is None
    assert packets_of(data[: first + 4] + (2**31).to_bytes(4, "little") + data[first + 8 :], 0) is None


def test_what_is_not_refused_is_what_the_demuxer_finds(video, tmp_path):
    """Every byte of the head and of the index changed, one at a time; the file says nothing or the same."""
    data = video.read_bytes()
    padding, movi, index = data.index(b"JUNK"), data.index(b"movi"), data.index(b"idx1")
    agreed = 0
    for place in [*range(padding + 16), *range(movi - 16, movi + 24), *range(index, len(data))]:
        for flip in (1, 16, 255):
            changed = bytearray(data)
            changed[place] ^= flip
            found = packets_of(bytes(changed), 0)
            if found is None:
                continue
            path = tmp_path / "changed.avi"
            path.write_bytes(changed)
            try:
                with av.open(str(path)) as container:
                    streams = container.streams.video
                    packets = [bytes(packet) for packet in container.demux(streams[0]) if packet.size]
            except (av.FFmpegError, IndexError):
                # Then it is for the way without a container to refuse it, too.
                assert decoder_of(bytes(changed)) is None, (place, flip)
                continue
            assert found == packets, (place, flip)
            agreed += 1
    assert agreed > 100


def decoder_of(data):
    """(index, codec, its tag, width, height, headers) of the decoder without a container."""
    avi = Avi.of(data)
    found = None if avi is None else avi.mpeg4()
    if found is None:
        return None
    index, context = found
    return index, context.name, context.codec_tag, context.width, context.height, context.extradata


def test_decoder_is_that_of_the_demuxer(video, with_sound):
    for path, index in ((video, 0), (with_sound, 1)):
        found = decoder_of(path.read_bytes())
        assert found[:5] == (index, "mpeg4", "FMP4", 64, 48)
        with av.open(str(path)) as container:
            assert (found[5] or b"") in container.streams.video[0].codec_context.extradata


def test_only_plain_mpeg4_gets_a_decoder(make_video, numbered, tmp_path, video):
    other = make_video(tmp_path / "jpeg.avi", numbered(3), "mjpeg", pix_fmt="yuvj420p", options={})
    assert Avi.of(other.read_bytes()).packets(0) is not None
    assert decoder_of(other.read_bytes()) is None
    data = video.read_bytes()
    assert decoder_of(data) is not None
    head, form = data.index(b"strh"), data.index(b"strf")
    assert decoder_of(data[: form + 24] + b"XXXX" + data[form + 28 :]) is None  # the codec
    assert decoder_of(data[: form + 12] + bytes(4) + data[form + 16 :]) is None  # the width
    assert decoder_of(data[: form + 8] + b"\x05\0\0\0" + data[form + 12 :]) is None  # the size of the description
    assert decoder_of(data[: head + 40] + bytes(4) + data[head + 44 :]) is None  # the number of frames
    assert decoder_of(data[:head] + b"strx" + data[head + 4 :]) is None


def test_a_changed_head_leads_to_no_other_decoder(video, tmp_path):
    """Every byte before the packets changed, one at a time; the file says nothing, or what the demuxer finds."""
    data = video.read_bytes()
    path, agreed = tmp_path / "changed.avi", 0
    for place in [*range(data.index(b"JUNK") + 16), *range(data.index(b"INFO") - 16, data.index(b"movi"))]:
        for flip in (1, 32, 255):
            changed = bytearray(data)
            changed[place] ^= flip
            found = decoder_of(bytes(changed))
            if found is None or Avi.of(bytes(changed)).packets(found[0]) is None:
                continue
            path.write_bytes(changed)
            with av.open(str(path), metadata_errors="replace") as container:
                stream = container.streams.video[0]
                context = stream.codec_context
                assert found[:3] == (stream.index, context.name, context.codec_tag), (place, flip)
                assert stream.frames > 0, (place, flip)
            agreed += 1
    assert agreed > 100


def test_lists_in_lists_without_end_are_refused(video, tmp_path):
    data = video.read_bytes()
    nested = b"LIST" + (4).to_bytes(4, "little") + b"strl"
    for _ in range(2000):
        nested = b"LIST" + (4 + len(nested)).to_bytes(4, "little") + b"strl" + nested
    size = int.from_bytes(data[16:20], "little")
    header = data[20 : 20 + size] + nested
    head = b"LIST" + len(header).to_bytes(4, "little") + header
    rest = data[20 + size :]
    path = tmp_path / "nested.avi"
    path.write_bytes(b"RIFF" + (4 + len(head) + len(rest)).to_bytes(4, "little") + b"AVI " + head + rest)
    assert Avi.of(path.read_bytes()) is None
    assert read_clip(path, 3).shape == (3, 128, 192, 3)


def test_real_files_are_regular(shared):
    for path in sorted((shared / "data" / "ucf10").rglob("*.avi"))[::20]:
        stream, packets = demuxed(path)
        assert packets_of(path.read_bytes(), stream) == packets, path.name
