"""Leaving packets out must change nothing; what may be left out is worked out by hand."""

from dataclasses import replace

import av
import numpy as np
import pytest

from har_tf.video import read_clip, reader
from har_tf.video.layout import Layout, find_layout


def find(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return find_layout(
            stream.codec_context, [bytes(packet) for packet in packets], [packet.pts for packet in packets]
        )


def whole(path):
    """Every frame of the file, by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def rewrite(source, path, change):
    """Writes the packets of `source` again, as what `change(list of bytes)` makes of them, one time step each."""
    with av.open(str(source)) as container, av.open(str(path), "w") as file:
        stream = container.streams.video[0]
        copy = file.add_stream_from_template(stream)
        data = change([bytes(packet) for packet in container.demux(stream) if packet.size])
        for number, part in enumerate(data):
            packet = av.Packet(part)
            packet.stream, packet.dts, packet.pts = copy, number, number
            packet.time_base, packet.is_keyframe = 1 / stream.average_rate, number == 0
            file.mux(packet)
    return path


def assert_read_without_a_full_decode(path, monkeypatch):
    monkeypatch.setattr(reader, "_read_in_order", lambda *_: pytest.fail("everything was decoded"))
    truth = whole(path)
    for start in range(len(truth)):
        clip = read_clip(path, None, None, "dense", start=start, stop=start + 1)
        assert np.array_equal(clip, truth[start : start + 1])
    for count in (2, 5, 9):
        steps = np.floor(np.linspace(0, len(truth) - 1, count) + 0.5).astype(int)
        assert np.array_equal(read_clip(path, count, None), truth[steps])


@pytest.fixture(scope="module")
def drifting(numbered):
    """(26, 64, 96, 3) numbered frames over a drifting pattern, so that no picture is the one before it."""
    drift = np.random.default_rng(0).integers(0, 90, (64, 400, 3), np.uint8)
    drift = drift.repeat(4, 0).repeat(4, 1)[:64]
    return np.stack([frame // 2 + drift[:, 3 * n : 3 * n + 96] for n, frame in enumerate(numbered(26, 64, 96))])


# What XviD puts where AVI wants a packet for a picture that travelled with an earlier one.
NOT_CODED = b"\x00\x00\x01\xb6\x50\x5f"


def test_needed_starts_at_the_key_frame_and_leaves_out_what_nothing_refers_to():
    # Decoding order I0 P3 B1 b2 | I4 P6 b5 | I7, small letters being no reference.
    layout = Layout(
        frame=np.array([0, 3, 1, 2, 4, 6, 5, 7]),
        start=np.array([1, 0, 0, 0, 1, 0, 0, 1], bool),
        reference=np.array([1, 1, 1, 0, 1, 1, 0, 1], bool),
        leading=np.zeros(8, bool),
    )
    assert layout.needed(np.array([0])).tolist() == [0]
    assert layout.needed(np.array([1])).tolist() == [0, 1, 2]
    assert layout.needed(np.array([2])).tolist() == [0, 1, 2, 3]
    # The very first packet is always there, for the headers it may hold.
    assert layout.needed(np.array([5])).tolist() == [0, 4, 5, 6]
    assert layout.needed(np.array([6, 7, 7])).tolist() == [0, 4, 5, 7]


def test_a_leading_picture_needs_the_group_before_it():
    # Decoding order I0 P2 b1 | I4 b3 P6 b5 | I8 b7: b3 and b7 are shown before the I they follow.
    layout = Layout(
        frame=np.array([0, 2, 1, 4, 3, 6, 5, 8, 7]),
        start=np.array([1, 0, 0, 1, 0, 0, 0, 1, 0], bool),
        reference=np.array([1, 1, 0, 1, 0, 1, 0, 1, 0], bool),
        leading=np.array([0, 0, 0, 0, 1, 0, 0, 0, 1], bool),
    )
    assert layout.frames == 9
    assert layout.needed(np.array([3])).tolist() == [0, 1, 3, 4]
    assert layout.needed(np.array([7])).tolist() == [0, 3, 5, 7, 8]
    assert layout.needed(np.array([5])).tolist() == [0, 3, 5, 6]
    assert layout.needed(np.array([8])).tolist() == [0, 7]


def test_h264_orders_frames_by_time_and_knows_its_references(tmp_path, make_video, numbered):
    options = {"g": "12", "bf": "2", "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"}
    layout = find(make_video(tmp_path / "clip.mp4", numbered(24), options=options))
    # I0 P3 b1 b2 P6 b4 b5 P9 b7 b8 P11 b10, twice: the P before an I cannot be a B.
    group = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10]
    assert layout.frame.tolist() == group + [frame + 12 for frame in group]
    assert np.flatnonzero(layout.start).tolist() == [0, 12]
    assert layout.frame[layout.reference].tolist() == [0, 3, 6, 9, 11, 12, 15, 18, 21, 23]


def test_mpeg4_without_b_frames(tmp_path, make_video, numbered):
    options = {"g": "4", "bf": "0", "sc_threshold": "1000000000"}
    noisy = numbered(10, 64, 96) // 2 + np.random.default_rng(0).integers(0, 99, (10, 64, 96, 3), np.uint8)
    layout = find(make_video(tmp_path / "clip.avi", noisy, "mpeg4", options=options))
    assert layout.frame.tolist() == list(range(10))
    assert np.flatnonzero(layout.start).tolist() == [0, 4, 8]
    assert layout.reference.all()


def test_mpeg4_with_b_frames(tmp_path, make_video, drifting, monkeypatch):
    options = {"g": "6", "bf": "2", "sc_threshold": "1000000000"}
    path = make_video(tmp_path / "clip.avi", drifting[:13], "mpeg4", options=options)
    layout = find(path)
    # I0 P3 b1 b2 | I6 b4 b5 P9 b7 b8 | I12 b10 b11
    assert layout.frame.tolist() == [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11]
    assert np.flatnonzero(layout.start).tolist() == [0, 4, 10]
    assert layout.frame[layout.reference].tolist() == [0, 3, 6, 9, 12]
    assert layout.frame[layout.leading].tolist() == [4, 5, 10, 11]
    assert_read_without_a_full_decode(path, monkeypatch)


@pytest.mark.parametrize("b_frames", [1, 2])
def test_packed_b_frames_are_taken_apart(tmp_path, make_video, drifting, monkeypatch, b_frames):
    options = {"g": "100", "bf": str(b_frames), "b_strategy": "0", "sc_threshold": "1000000000"}
    plain = make_video(tmp_path / "plain.avi", drifting[:25], "mpeg4", options=options)

    def pack(pictures):
        assert len(pictures) == 25
        kinds = [part[part.index(b"\x00\x00\x01\xb6") + 4] >> 6 for part in pictures]
        assert kinds[:3] == [0, 1, 2]
        # The B pictures move one packet ahead; a placeholder stands where the last of them was.
        packed, place = [], 0
        pictures[0] = pictures[0].replace(b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb2DivX503b1393p\x00\x00\x01\xb6")
        while place < len(pictures):
            following = place + 1
            while following < len(pictures) and kinds[following] == 2:
                following += 1
            ahead = pictures[place + 1 : following]
            if ahead:
                packed += [pictures[place] + ahead[0], *ahead[1:], NOT_CODED]
            else:
                packed.append(pictures[place])
            place = following
        return packed

    path = rewrite(plain, tmp_path / "packed.avi", pack)
    assert find(path).data is not None
    # Where packets are lost, the decoder makes something else of the rest.
    lost = rewrite(path, tmp_path / "lost.avi", lambda parts: [p for i, p in enumerate(parts) if i not in (3, 7, 12)])
    assert find(lost) is None
    assert np.array_equal(read_clip(lost, None, None), whole(lost))
    assert np.array_equal(whole(path), whole(plain))
    assert_read_without_a_full_decode(path, monkeypatch)


def test_pictures_that_are_not_coded_are_no_frames(tmp_path, make_video, drifting, monkeypatch):
    options = {"g": "5", "bf": "0", "sc_threshold": "1000000000"}
    plain = make_video(tmp_path / "plain.avi", drifting[:20], "mpeg4", options=options)
    path = rewrite(
        plain, tmp_path / "gaps.avi", lambda parts: [*parts[:3], NOT_CODED, *parts[3:12], NOT_CODED, *parts[12:]]
    )
    layout = find(path)
    assert layout.frames == 20
    assert np.flatnonzero(layout.frame < 0).tolist() == [3, 13]
    assert np.array_equal(whole(path), whole(plain))
    assert_read_without_a_full_decode(path, monkeypatch)


def test_small_pictures_are_coded_all_the_same(tmp_path, make_video):
    still = np.full((12, 32, 32, 3), 90, np.uint8)
    layout = find(make_video(tmp_path / "tiny.avi", still, "mpeg4", options={"g": "100", "bf": "0"}))
    assert layout.frame.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.avi", "libx264", {"bf": "2"}),  # time stamps in decoding order
        ("clip.mpg", "mpeg1video", {}),
    ],
)
def test_unsure_means_unknown(tmp_path, make_video, codec, options, name):
    still = np.full((12, 32, 32, 3), 90, np.uint8)
    assert find(make_video(tmp_path / name, still, codec, options=options)) is None


STREAMS = {
    "default.mp4": ("libx264", {}),
    "gop250.mp4": ("libx264", {"g": "250", "preset": "slow", "bf": "5"}),
    "intra.mp4": ("libx264", {"g": "1"}),
    "open_gop.mkv": ("libx264", {"g": "8", "x264-params": "open-gop=1:scenecut=0"}),
    "short_gop.ts": ("libx264", {"g": "7"}),
    "refresh.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}),
    "interlaced.mp4": ("libx264", {"x264-params": "interlaced=1"}),
    "h264.avi": ("libx264", {"g": "9"}),
    "raw.h264": ("libx264", {"g": "9"}),
    "sliced.mp4": ("libx264", {"x264-params": "slices=4:keyint=12"}),
    "xvid.avi": ("mpeg4", {"g": "6", "bf": "0"}),
    "divx.avi": ("mpeg4", {"g": "6", "bf": "2"}),
    "qpel.mp4": ("mpeg4", {"g": "10", "flags": "+qpel+mv4"}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "clip.mpg": ("mpeg2video", {"bf": "2"}),
    "motion.avi": ("mjpeg", {}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_clip_is_what_a_full_decode_gives(tmp_path, make_video, numbered, name):
    codec, options = STREAMS[name]
    drift = np.random.default_rng(0).integers(0, 40, (50, 120, 3), np.uint8)
    frames = np.stack([frame // 2 + np.roll(drift, number, 1)[:48, :64] for number, frame in enumerate(numbered(40))])
    if codec not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg has no {codec}")
    path = make_video(tmp_path / name, frames, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", options)
    with av.open(str(path)) as container:
        truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    truth = np.stack(truth)
    assert abs(len(truth) - 40) <= 1
    rng = np.random.default_rng(1)
    for threads in (1, 2):
        assert np.array_equal(read_clip(path, None, None, threads=threads), truth)
        for num_frames in (1, 2, 10, 23):
            start = int(rng.integers(0, 10))
            clip = read_clip(path, num_frames, None, start=start, threads=threads)
            steps = np.floor(np.linspace(start, len(truth) - 1, num_frames) + 0.5).astype(int)
            assert np.array_equal(clip, truth[steps])
            dense = read_clip(path, num_frames, None, "dense", start=start, threads=threads)
            assert np.array_equal(dense, truth[start : start + num_frames])


def test_little_is_decoded_of_intra_video(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "intra.mp4", numbered(40), options={"g": "1"})
    fed = []
    needed = Layout.needed
    monkeypatch.setattr(Layout, "needed", lambda *arguments: fed.append(needed(*arguments)) or fed[-1])
    monkeypatch.setattr(reader, "_read_in_order", lambda *_: pytest.fail("everything was decoded"))
    read_clip(path, 4, None)
    assert fed[0].tolist() == [0, 13, 26, 39]


def test_a_wrong_promise_leads_to_a_full_decode(tmp_path, make_video, numbered, numbers, monkeypatch):
    path = make_video(tmp_path / "clip.mp4", numbered(30), options={"g": "250"})

    def backwards(context, data, stamps):
        layout = find_layout(context, data, stamps)
        return replace(layout, frame=layout.frame[::-1])

    monkeypatch.setattr(reader, "find_layout", backwards)
    assert numbers(read_clip(path, 4, None, start=5)) == [5, 13, 21, 29]


def test_real_videos_are_read_as_a_full_decode_gives_them(shared):
    paths = sorted((shared / "data" / "ucf10").rglob("*.avi"))
    # Among them: two with packets that hold no picture, one with packed B pictures.
    odd = ("TrampolineJumping_g06_c03", "TrampolineJumping_g06_c04", "Archery_g03_c01")
    for path in [*paths[::40], *(path for path in paths if path.stem[2:] in odd)]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        steps = np.floor(np.linspace(0, len(frames) - 1, 10) + 0.5).astype(int)
        truth = np.stack([frames[step].to_ndarray(format="rgb24") for step in steps])
        assert np.array_equal(read_clip(path, 10, None), truth), path.name
        # In the stored size, which takes the way without a container.
        assert np.array_equal(read_clip(path, 10, truth.shape[1:3]), truth), path.name
