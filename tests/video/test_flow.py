"""Optical flow: which way, how far, of how many frames; storage in eight bits by hand; no TensorFlow."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from har_tf.video.flow import decode, encode, optical_flow


def texture(height, width, grain=3):
    """Smooth noise from 0 to 255."""
    noise = np.random.default_rng(0).normal(size=(height, width)).astype("float32")
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def moving(right, down, frames=4, size=96, grain=3):
    """A texture that moves by so many pixels a frame, in RGB."""
    margin = (frames - 1) * max(abs(right), abs(down))
    picture = texture(size + 2 * margin, size + 2 * margin, grain)
    cut = [
        picture[margin - t * down : margin - t * down + size, margin - t * right : margin - t * right + size]
        for t in range(frames)
    ]
    return np.repeat(np.stack(cut)[..., None], 3, axis=-1)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -2), (-4, 5)])
def test_direction_and_distance(right, down):
    found = optical_flow(moving(right, down))
    assert found.shape == (4, 96, 96, 2)
    assert found.dtype == np.float32
    inside = found[:, 24:-24, 24:-24]
    np.testing.assert_allclose(np.median(inside, axis=(1, 2)), [[right, down]] * 4, atol=0.1)


def test_each_map_leads_to_the_next_frame_and_the_last_is_repeated():
    """It moves by 2 to the right, then stands, then moves by 3 down."""
    first, second = moving(2, 0, 2, 128)
    third = np.roll(second, 3, axis=0)
    found = optical_flow(np.stack([first, second, second, third]))
    motion = np.median(found[:, 40:-40, 40:-40], axis=(1, 2))
    np.testing.assert_allclose(motion, [[2, 0], [0, 0], [0, 3], [0, 3]], atol=0.1)
    assert not found[1].any()  # equal frames: exactly nothing
    np.testing.assert_array_equal(found[3], found[2])


def test_large_motion_is_cut_off_at_20_pixels():
    found = optical_flow(moving(26, 0, 2, 256, grain=15))
    assert found.max() == 20
    assert np.median(found[..., 0]) == 20
    assert found.min() >= -20


def test_a_clip_gives_the_same_bytes_on_any_number_of_threads():
    frames = np.stack([np.roll(texture(96, 120), 2 * t, axis=1) for t in range(3)])
    frames = np.repeat(frames[..., None], 3, axis=-1)
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 2, 5):
            cv2.setNumThreads(count)
            found.append(optical_flow(frames))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_eight_bits_by_hand():
    """127 steps of 20 / 127 = 0.1575 pixels to each side of 128."""
    motion = np.array([-25, -20, -10, -0.0787, 0, 0.0788, 1, 10, 19.95, 20, 1e9])
    stored = encode(motion)
    assert stored.dtype == np.uint8
    #            -20  -20  -63.5 rounds to even  -0.4997  0  0.5004  6.35  63.5  126.7
    assert stored.tolist() == [1, 1, 64, 128, 128, 129, 134, 192, 255, 255, 255]
    np.testing.assert_allclose(decode(stored)[[1, 4, 6, 9]], [-20, 0, 6 * 20 / 127, 20], rtol=1e-6)
    assert decode(np.uint8(128)) == 0
    assert decode(stored).dtype == np.float32


def test_error_of_storage_is_at_most_half_a_step():
    motion = np.linspace(-20, 20, 100_001, dtype=np.float32)
    error = np.abs(decode(encode(motion)) - motion)
    assert error.max() <= 10 / 127 + 1e-5
    assert error.max() > 0.078
    every = np.arange(1, 256, dtype=np.uint8)
    np.testing.assert_array_equal(encode(decode(every)), every)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        encode(np.array([0, np.nan]))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 32, 32, 3), "float32"), r"Received: float32 \(4, 32, 32, 3\)"),
        (np.zeros((4, 32, 32), "uint8"), r"Received: uint8 \(4, 32, 32\)"),
        (np.zeros((1, 32, 32, 3), "uint8"), "at least 2 frames of 16 x 16 pixels. Received: 1 of 32 x 32"),
        (np.zeros((2, 12, 300, 3), "uint8"), "Received: 2 of 12 x 300"),
    ],
)
def test_wrong_frames(frames, message):
    with pytest.raises(ValueError, match=message):
        optical_flow(frames)


def test_narrow_frames_at_the_limit_are_finite():
    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 700, 3), dtype=np.uint8)
    assert np.isfinite(optical_flow(frames)).all()
    assert np.isfinite(optical_flow(frames.transpose(0, 2, 1, 3))).all()


def test_methods(monkeypatch):
    frames = moving(3, 0)
    with pytest.raises(ValueError, match="'dis' or 'tvl1'. Received: method='farneback'"):
        optical_flow(frames, "farneback")
    if hasattr(cv2, "optflow"):
        motion = np.median(optical_flow(frames, "tvl1")[:, 24:-24, 24:-24], axis=(1, 2))
        np.testing.assert_allclose(motion, [[3, 0]] * 4, atol=0.1)
    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(ImportError, match="pip install opencv-contrib-python; or use method='dis'"):
        optical_flow(frames, "tvl1")


def test_tensorflow_is_not_imported():
    script = "import sys, har_tf.video.flow\nassert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
