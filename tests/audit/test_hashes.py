"""Perceptual hashes: bits worked out by hand, what a copy may differ in, and what is no copy."""

import time
import tracemalloc

import av
import cv2
import numpy as np
import pytest
from scenes import FPS, scene

from har_tf.audit import hashes as module
from har_tf.audit.hashes import (
    _FREQUENCIES,
    BITS,
    STEP,
    Match,
    _align,
    _count_ones,
    frame_hashes,
    hashes_of,
    near_identical,
)
from har_tf.video import probe, write_video


def hashes(frames: np.ndarray, step: int = 2) -> str:
    grey = np.stack(
        [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA) for f in frames]
    )
    return frame_hashes(grey[::step]).tobytes().hex()


def test_ones_are_counted_with_every_numpy(monkeypatch):
    words = np.array([[[0, 1], [3, 2**64 - 1]]], np.uint64)
    for absent in (False, True):
        if absent:
            monkeypatch.delattr(np, "bitwise_count", raising=False)  # as before NumPy 2
        assert _count_ones(words).tolist() == [[1, 66]]


def test_a_bit_is_the_sign_of_a_frequency():
    """A cosine along the width is the frequency (0, k) and nothing else."""
    x = (np.arange(32) + 0.5) / 32
    for k, sign in ((1, 1), (3, -1)):
        wave = 128 + sign * 100 * np.cos(np.pi * k * x)
        bits = np.unpackbits(frame_hashes(np.tile(wave, (32, 1))[None])[0])
        place = _FREQUENCIES.tolist().index([0, k])
        assert bits[place] == (sign > 0)
    assert _FREQUENCIES[:3].tolist() == [[0, 1], [1, 0], [1, 1]]
    assert len(_FREQUENCIES) == BITS == 128


def test_the_hash_of_a_mirrored_frame_follows_from_that_of_the_frame():
    grey = np.random.default_rng(0).integers(0, 256, (5, 32, 32)).astype(np.uint8)
    bits, mirrored = (np.unpackbits(frame_hashes(frames), axis=1) for frames in (grey, grey[:, :, ::-1]))
    odd = _FREQUENCIES[:, 1] % 2 == 1
    assert (bits[:, odd] != mirrored[:, odd]).all()
    assert (bits[:, ~odd] == mirrored[:, ~odd]).all()


def test_frames_without_content_have_no_hash():
    noise = np.random.default_rng(0).integers(0, 4, (2, 32, 32)).astype(np.uint8)
    assert not frame_hashes(np.zeros((1, 32, 32))).any()
    assert not frame_hashes(np.full((1, 32, 32), 200)).any()
    assert not frame_hashes(noise).any()
    assert frame_hashes(np.tile(np.arange(32) * 4, (1, 32, 1))).any()


def test_a_frame_every_quarter_of_a_second_is_hashed(tmp_path):
    """At any frame rate: frame round(k / 4 * fps)."""
    frames = scene(0, 20)
    for fps, expected in (
        (10, [0, 2, 5, 8, 10, 12, 15, 18]),
        # A frame that is shown for longer comes again.
        (3, [0, 1, 2, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 10, 11, 12, 13, 14, 14, 15, 16, 16, 17, 18, 19]),
    ):
        path = write_video(tmp_path / f"{fps}.mp4", frames, fps=fps)
        assert hashes_of(path, 20, fps) == hashes_of_frames(path, expected)
    assert STEP == 0.25
    assert len(hashes_of(path, 20, 0)) == 32 * 4, "taken as 25 frames a second: 0, 6, 12, 19"


def test_quarters_of_a_second_are_those_of_the_time_stamps(tmp_path):
    seconds = [0, 0.1, 0.2, 0.3, 1.3, 1.4, 3.0]
    path = write_video(tmp_path / "v.mp4", zip(scene(0, 7), seconds, strict=True), fps=10)
    # At 0, 0.25, 0.5, ...: what is shown then; the last frame is shown as long as the others in the mean.
    expected = [0, 2, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 6, 6, 6]
    info = probe(path)
    assert hashes_of(path, info.frames, info.fps) == hashes_of_frames(path, expected)


def hashes_of_frames(path, indices) -> str:
    from har_tf.video import read_clip

    clip = read_clip(path, None, (32, 32))[indices]
    return frame_hashes(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip])).tobytes().hex()


def test_a_long_video_is_read_once_and_its_beginning_hashed(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", scene(1, 4100, (16, 16)), fps=FPS)
    opened, real = [], av.open
    with monkeypatch.context() as patch:
        patch.setattr(av, "open", lambda *args, **kwargs: opened.append(args) or real(*args, **kwargs))
        whole = hashes_of(path, 4100, FPS)
    assert len(opened) == 2, "for its times, and for its frames"
    assert len(whole) == 32 * 2050
    monkeypatch.setattr(module, "MAX_SECONDS", 2)
    assert hashes_of(path, 4100, FPS) == whole[: 8 * 32]


def test_many_clips_are_compared_in_little_memory():
    """6,000 clips have 6,000 x 12,000 pairs of descriptors, of which 1,024 x 12,000 would be 49 MB."""
    clips = list(np.random.default_rng(0).integers(0, 256, (6000, 1, 16), np.uint8))
    clips[5999] = clips[1] ^ module._MIRROR
    clips[3000] = clips[4000]
    tracemalloc.start()
    assert list(module._candidates(clips, None)) == [(1, 5999), (3000, 4000)]
    assert list(module._candidates(clips[:10], clips[2999:])) == [(1, 3000)]
    assert tracemalloc.get_traced_memory()[1] < 35e6
    tracemalloc.stop()


def test_copies_are_found_and_say_how_they_differ(tmp_path):
    frames = scene(0)
    copies = {
        "encoded": (frames, {"crf": 40}),
        "smaller": (np.stack([cv2.resize(f, (48, 36), interpolation=cv2.INTER_AREA) for f in frames]), {}),
        "brighter": (np.clip(frames * 1.1 + 10, 0, 255).astype(np.uint8), {}),
        "mirrored": (frames[:, :, ::-1], {"crf": 30}),
        "cut": (frames[8:], {}),
        "longer": (np.concatenate([scene(9, 8), frames]), {}),
        "faster": (np.repeat(frames, 2, axis=0), {"fps": 2 * FPS}),
    }
    texts = []
    for name, (pixels, options) in copies.items():
        path = write_video(tmp_path / f"{name}.mp4", pixels, **{"fps": FPS, **options})
        texts.append(hashes_of(path, len(pixels), probe(path).fps))
    original = [hashes(scene(5)), hashes(frames)]
    found = {list(copies)[match.second]: match for match in near_identical(original, texts)}
    assert set(found) == set(copies)
    assert all(match.first == 1 for match in found.values())
    assert {name for name, match in found.items() if match.mirrored} == {"mirrored"}
    offsets = {name: match.offset for name, match in found.items()}
    assert offsets == dict.fromkeys(copies, 0.0) | {"cut": 1.0, "longer": -1.0}
    assert found["encoded"].distance < 0.1


def test_other_clips_and_clips_without_content_are_no_copies():
    rng = np.random.default_rng(0)
    black = [np.clip(rng.normal(3, 2, (32, 72, 96, 3)), 0, 255).astype(np.uint8) for _ in range(3)]
    clips = [scene(seed) for seed in range(20)] + black
    assert near_identical([hashes(clip) for clip in clips]) == []
    faded = [np.concatenate([clip[:20], scene(seed, 12)]) for seed, clip in zip((50, 51), black, strict=False)]
    assert near_identical([hashes(clip) for clip in faded]) == [], "what they share is black"
    same = [np.concatenate([clip[:20], scene(50, 12)]) for clip in black[:2]]
    assert [match.distance for match in near_identical([hashes(clip) for clip in same])] == [0.0]


def test_half_of_the_shorter_clip_has_to_agree():
    one, two = scene(1, 32), scene(2, 32)
    mostly = np.concatenate([one[:24], two[:8]])
    hardly = np.concatenate([one[:8], two[8:]])
    texts = [hashes(one), hashes(mostly), hashes(hardly)]
    assert [(match.first, match.second) for match in near_identical(texts)] == [(0, 1)]


def test_the_distance_by_hand():
    """Four frames against three: the offset with the smallest median counts, of overlaps of at least two frames."""
    rng = np.random.default_rng(0)
    one, two = rng.integers(1, 256, (4, 16), np.uint8), rng.integers(1, 256, (3, 16), np.uint8)
    two[0] = one[3]  # equal, but the only frames that overlap at this offset
    two[1], two[2] = one[1], one[2] ^ 1  # 16 of 128 bits differ; two[0] lies on one[0], which is another
    distance, offset = _align(one, two)
    assert (distance, offset) == (16 / 128, 0)
    assert _align(one, np.zeros_like(two)) == (1.0, 0), "nothing to compare"


def test_a_clip_is_found_in_a_longer_video():
    """Half a minute, in which the clip begins at 17.5 s."""
    long = np.concatenate([scene(seed, 40) for seed in range(10, 16)])
    clip = long[140:180]
    assert near_identical([hashes(long)], [hashes(clip)]) == [Match(0, 0, 0.0, 17.5, False)]
    assert near_identical([hashes(clip)], [hashes(long)]) == [Match(0, 0, 0.0, -17.5, False)]


def test_pairs_within_one_list_come_once_nearest_first():
    texts = [hashes(scene(1)), hashes(scene(2)), hashes(scene(1)[2:]), hashes(scene(1)), ""]
    found = near_identical(texts)
    assert [(match.first, match.second) for match in found] == [(0, 2), (0, 3), (2, 3)]
    assert near_identical([]) == near_identical([""]) == near_identical([], texts) == []


def test_a_text_of_other_length_is_refused():
    with pytest.raises(ValueError, match="32 hexadecimal digits a frame were expected. Received: 30 digits"):
        near_identical(["0" * 30])


def test_a_thousand_clips_are_compared_in_seconds():
    """1,000 clips in groups of five that look alike: 2,000 pairs are compared frame by frame."""
    rng = np.random.default_rng(0)
    base = np.repeat(rng.integers(0, 256, (200, 1, 16), np.uint8), 5, axis=0)
    noise = np.packbits(rng.random((1000, 24, 128)) < 0.05, axis=2)
    began = time.perf_counter()
    found = near_identical([(base[i] ^ noise[i]).tobytes().hex() for i in range(1000)])
    assert len(found) == 2000
    assert {match.first // 5 == match.second // 5 for match in found} == {True}
    assert time.perf_counter() - began < 20
