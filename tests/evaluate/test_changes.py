"""Changes in time and place, worked out by hand."""

import numpy as np
import pytest

from har_tf.evaluate import changes


def test_orders_of_frames():
    assert changes.one_frame(5).tolist() == [2] * 5
    assert changes.one_frame(4).tolist() == [2] * 4
    assert changes.backwards(3).tolist() == [2, 1, 0]
    assert changes.without_middle(8).tolist() == [0, 1, 1, 1, 6, 6, 6, 7]
    assert changes.without_middle(5).tolist() == [0, 0, 0, 4, 4]
    assert changes.without_middle(2).tolist() == [0, 1]


@pytest.mark.parametrize("frames", [1, 2, 3, 10])
def test_shuffled_is_neither_forwards_nor_backwards(frames):
    forwards = np.arange(frames)
    for seed in range(20):
        order = changes.shuffled(frames, np.random.default_rng(seed))
        assert sorted(order) == forwards.tolist()
        if frames > 2:
            assert order.tolist() not in (forwards.tolist(), forwards[::-1].tolist())


def test_speeds_of_a_clip_alone():
    # The middle is 3.5. Twice as fast: 3.5 + 2 (i - 3.5), so -3.5, -1.5, 0.5, ..., 10.5; what is outside stands.
    assert changes.at_speed(np.arange(8), 8, 2).tolist() == [0, 0, 1, 3, 5, 7, 7, 7]
    # Half as fast: 1.75, 2.25, ..., 5.25.
    assert changes.at_speed(np.arange(8), 8, 0.5).tolist() == [2, 2, 3, 3, 4, 4, 5, 5]
    assert changes.at_speed(np.array([4]), 9, 2).tolist() == [4]


def test_speeds_of_a_clip_of_a_video():
    # Every fourth frame from 20 on of 100: at half the speed the ones in between, at twice the speed the ones around.
    frames = 20 + 4 * np.arange(5)
    assert changes.at_speed(frames, 100, 0.5).tolist() == [24, 26, 28, 30, 32]
    assert changes.at_speed(frames, 100, 2).tolist() == [12, 20, 28, 36, 44]
    assert changes.at_speed(frames, 40, 2).tolist() == [12, 20, 28, 36, 39]
    np.testing.assert_array_equal(changes.at_speed(frames, 100, 1), frames)


def test_a_video_is_read_at_another_speed(tmp_path, make_video, numbered, numbers):
    path = make_video(tmp_path / "n.mp4", numbered(29))
    reading = {"num_frames": 8, "size": (48, 64), "sampling": "uniform", "fit": "stretch", "by": "frame"}
    # The clip: 0, 4, ..., 28. Half the speed: places 1.75, 2.25, ... of it, so frames 7, 9, ..., 21.
    assert numbers(changes.read_at_speed(path, reading, 0.5)) == [7, 9, 11, 13, 15, 17, 19, 21]
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"none")
    for workers in (0, 1):
        with changes.from_videos([None, path, broken, path], reading, workers=workers) as at_speed:
            assert [at_speed(row, 0.5) is None for row in range(4)] == [True, False, True, False]
            assert [at_speed(row, 2) is None for row in (0, 2)] == [True, True]
            assert numbers(at_speed(1, 2)) == [0, 0, 2, 10, 18, 26, 28, 28]


def test_a_video_is_decoded_once_a_speed_within_limits(monkeypatch):
    asked = []

    def outcomes(function, tasks, workers, seconds, memory):
        asked.append((tasks, workers, seconds, memory))
        yield from map(function, tasks)

    monkeypatch.setattr(changes, "outcomes", outcomes)
    monkeypatch.setattr(changes, "read_at_speed", lambda path, reading, speed: asked.append((path, speed)) or speed)
    with changes.from_videos(["a", None, "b"], {}) as at_speed:
        assert [at_speed(row, speed) for speed in (0.5, 2) for row in range(3)] == [0.5, None, 0.5, 2, None, 2]
    assert asked == [(["a", "b"], 2, 600.0, 2**31), ("a", 0.5), ("a", 2), ("b", 0.5), ("b", 2)]


def test_places():
    clip = np.arange(2 * 4 * 8 * 3, dtype=np.uint8).reshape(2, 4, 8, 3)
    assert changes.mirrored(clip)[1, 2, 0].tolist() == clip[1, 2, 7].tolist()
    quarters = np.zeros((1, 8, 8, 3), np.uint8)
    quarters[:, 2:6, 2:6] = 9
    assert (changes.centre(quarters) == 9).all()
    assert changes.centre(clip).shape == clip.shape
