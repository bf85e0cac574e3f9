"""Either the packets of FFmpeg's demuxer, or none at all."""

import av
import numpy as np
import pytest

from har_tf.video import riff


def demuxed(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.index, [bytes(packet) for packet in container.demux(stream) if packet.size]


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
        assert riff.packets(path.read_bytes(), stream) == packets


def test_anything_out_of_the_ordinary_is_refused(video):
    data = video.read_bytes()
    index, movi = data.index(b"idx1"), data.index(b"movi")
    first = data.index(b"00dc", movi)
    size = int.from_bytes(data[first + 4 : first + 8], "little")
    assert riff.packets(data, 0) is not None
    assert riff.packets(b"", 0) is None
    assert riff.packets(data[:-1], 0) is None
    assert riff.packets(data + bytes(8), 0) is None
    assert riff.packets(data, 1) is None
    assert riff.packets(data[:index] + b"JUNK" + data[index + 4 :], 0) is None
    assert riff.packets(data[:first] + b"00pc" + data[first + 4 :], 0) is None
    assert riff.packets(data[:first] + b"LIST" + data[first + 4 :], 0) is None
    assert riff.packets(data[:first] + b"01wb" + data[first + 4 :], 0) is None
    assert riff.packets(data[: first + 4] + (size + 6).to_bytes(4, "little") + data[first + 8 :], 0) is None
    assert riff.packets(data[: first + 4] + (2**31).to_bytes(4, "little") + data[first + 8 :], 0) is None


def test_what_is_not_refused_is_what_the_demuxer_finds(video, tmp_path):
    """Every byte of the head and of the index changed, one at a time; the file says nothing or the same."""
    data = video.read_bytes()
    padding, movi, index = data.index(b"JUNK"), data.index(b"movi"), data.index(b"idx1")
    agreed = 0
    for place in [*range(padding + 16), *range(movi - 16, movi + 24), *range(index, len(data))]:
        for flip in (1, 16, 255):
            changed = bytearray(data)
            changed[place] ^= flip
            found = riff.packets(bytes(changed), 0)
            if found is None:
                continue
            path = tmp_path / "changed.avi"
            path.write_bytes(changed)
            try:
                with av.open(str(path)) as container:
                    streams = container.streams.video
                    packets = [bytes(packet) for packet in container.demux(streams[0]) if packet.size]
            except (av.FFmpegError, IndexError):
                continue  # then the reader does not get so far
            assert found == packets, (place, flip)
            agreed += 1
    assert agreed > 100


def test_real_files_are_regular(shared):
    for path in sorted((shared / "data" / "ucf10").rglob("*.avi"))[::20]:
        stream, packets = demuxed(path)
        assert riff.packets(path.read_bytes(), stream) == packets, path.name
