"""Tracks, worked out by hand: a track is never of two instances, also where persons cross, meet, or are missed."""

import numpy as np
import pytest

from har_tf.concepts.detectors.base import Detections
from har_tf.concepts.tracks import Tracker, Tracking, bridged, true_tracks
from har_tf.datasets.records import Tube, VideoRecord

NAMES = ("person", "ball")


def found(*boxes, labels=None, scores=None) -> Detections:
    """The detections of a frame; by default persons of score 0.9."""
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32) if scores is None else np.array(scores, np.float32),
        np.zeros(count, np.int64) if labels is None else np.array(labels),
    )


def person(x, y=10, width=20, height=40):
    return (x, y, x + width, y + height)


def associate(frames, names, how=None):
    """The tracks in the detections of the frames of a video, from the first on."""
    tracker = Tracker(names, how)
    for number, detections in enumerate(frames):
        tracker.add(number, detections)
    return tracker.tracks()


def identities(track, paths) -> set[str]:
    """Whose boxes a track goes through: {name: {frame: box}}; a box that two share counts for both or neither."""
    sets = [
        {name for name, path in paths.items() if frame in path and np.allclose(path[frame], box)}
        for frame, box in zip(track.frames.tolist(), track.boxes, strict=True)
    ]
    certain = [names for names in sets if len(names) == 1]
    return set().union(*certain) if certain else set()


def test_one_instance_is_one_track():
    (track,) = associate([found(person(3 * i)) for i in range(10)], NAMES)
    assert track.label == "person"
    assert track.frames.tolist() == list(range(10))
    np.testing.assert_array_equal(track.boxes[:, 0], 3 * np.arange(10))
    assert track.score == pytest.approx(0.9)


def test_a_gap_is_bridged_by_boxes_between_those_beside_it():
    frames = [found(person(2 * i)) if i not in (4, 5) else found() for i in range(10)]
    (track,) = associate(frames, NAMES, Tracking(max_gap=2))
    np.testing.assert_allclose(track.boxes[:, 0], 2 * np.arange(10))
    assert np.isnan(track.scores).nonzero()[0].tolist() == [4, 5]
    assert track.score == pytest.approx(0.9)  # of what was detected
    first, second = associate(frames, NAMES, Tracking(max_gap=1, min_length=4))
    assert (first.frames.tolist(), second.frames.tolist()) == ([0, 1, 2, 3], [6, 7, 8, 9])


def test_tracks_shorter_than_asked_are_left_out():
    frames = [found(person(0)) for _ in range(7)]
    assert associate(frames, NAMES, Tracking(min_length=8)) == []
    assert len(associate(frames, NAMES, Tracking(min_length=7))) == 1


def test_boxes_of_another_class_never_continue_a_track():
    frames = [found(person(0), labels=[i % 2]) for i in range(16)]
    tracks = associate(frames, NAMES, Tracking(min_length=2))
    assert {track.label for track in tracks} == {"person", "ball"}
    for track in tracks:
        parity = 0 if track.label == "person" else 1
        assert set((track.frames[~np.isnan(track.scores)] % 2).tolist()) == {parity}


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6, 7, 8, 10, 12, 14])
@pytest.mark.parametrize("hidden", ["neither", "behind", "merged"])
def test_persons_who_cross_are_never_mixed(step, hidden):
    """Two persons pass each other at all speeds, both found all the time, or one hidden, or both as one box."""
    for offset in range(0, 20, 4):
        paths = {"right": {}, "left": {}}
        frames = []
        for i in range(160 // step + 1):
            right, left = person(step * i), person(160 + offset - step * i)
            overlap = max(0, 20 - abs(right[0] - left[0])) / 20
            shown = {"right": right, "left": left}
            if overlap > 0.5 and hidden == "behind":
                shown = {"right": right}
            if overlap > 0.5 and hidden == "merged":
                shown = {"both": (min(right[0], left[0]), 10, max(right[2], left[2]), 50)}
            for name in set(shown) & set(paths):
                paths[name][i] = shown[name]
            frames.append(found(*shown.values()))
        tracks = associate(frames, NAMES, Tracking(min_length=3))
        assert tracks or step > 10  # a box that moves by more than half its width is no track yet
        for track in tracks:
            assert len(identities(track, paths)) <= 1, (offset, track.frames, track.boxes)


@pytest.mark.parametrize("step", [2, 4, 8])
def test_persons_who_meet_and_turn_back_are_never_mixed(step):
    """To a tracker of boxes this looks like crossing, so neither track goes through the meeting."""
    places = [step * i for i in range(80 // step)]
    places += places[::-1]
    paths = {
        "a": {i: person(x) for i, x in enumerate(places)},
        "b": {i: person(158 - x) for i, x in enumerate(places)},
    }
    frames = [found(paths["a"][i], paths["b"][i]) for i in range(len(places))]
    tracks = associate(frames, NAMES, Tracking(min_length=3))
    assert len(tracks) >= 4
    assert all(len(identities(track, paths)) == 1 for track in tracks)


def test_a_jump_to_the_place_of_another_is_not_followed():
    """A and B change places between two frames: the nearest box is the other's."""
    frames = [found(person(2 * i), person(24 - 2 * i)) for i in range(5)]  # at frame 4: 8 and 16
    frames += [found(person(20 + 2 * i), person(4 - 2 * i)) for i in range(5)]
    paths = {
        "a": {i: person(2 * i) if i < 5 else person(20 + 2 * (i - 5)) for i in range(10)},
        "b": {i: person(24 - 2 * i) if i < 5 else person(4 - 2 * (i - 5)) for i in range(10)},
    }
    for track in associate(frames, NAMES, Tracking(min_length=2)):
        assert len(identities(track, paths)) <= 1


def test_persons_side_by_side_keep_their_tracks():
    tracks = associate([found(person(3 * i), person(3 * i + 14)) for i in range(12)], NAMES)
    assert sorted(track.boxes[0, 0] for track in tracks) == [0, 14]
    assert all(len(track.frames) == 12 and np.ptp(track.boxes[:, 0]) == 33 for track in tracks)


def test_a_change_of_scene_ends_all_tracks():
    tracker = Tracker(NAMES, Tracking(min_length=2))
    for i in range(10):
        picture = np.full((48, 64, 3), 30 if i < 5 else 130, np.uint8)
        tracker.add(i, found(person(5)), picture)
    assert [track.frames.tolist() for track in tracker.tracks()] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    unbroken = Tracker(NAMES, Tracking(min_length=2, cut=None))
    for i in range(10):
        unbroken.add(i, found(person(5)), np.full((48, 64, 3), 30 if i < 5 else 130, np.uint8))
    assert len(unbroken.tracks()) == 1


def test_a_thing_that_moves_does_not_look_like_a_change_of_scene():
    tracker = Tracker(NAMES, Tracking(min_length=2))
    for i in range(10):
        picture = np.full((48, 64, 3), 100, np.uint8)
        picture[10:40, 3 * i : 3 * i + 15] = 255
        tracker.add(i, found(person(3 * i)), picture)
    assert len(tracker.tracks()) == 1


def test_bridged_interpolates_every_side():
    track = bridged("ball", [2, 5], [(0, 0, 10, 10), (3, 6, 16, 22)], [0.5, 0.7])
    assert track.frames.tolist() == [2, 3, 4, 5]
    assert track.boxes.tolist() == [[0, 0, 10, 10], [1, 2, 12, 14], [2, 4, 14, 18], [3, 6, 16, 22]]
    np.testing.assert_allclose(track.scores, [0.5, np.nan, np.nan, 0.7])


def test_true_tracks_end_where_the_thing_is_gone(tmp_path):
    boxes = np.tile(np.array([10, 10, 30, 50], np.float32), (6, 1))
    objects = boxes.copy()
    objects[3] = np.nan
    joints = np.zeros((6, 14, 2), np.float32)
    joints[:, 3], joints[:, 4] = (20, 20), (28, 14)  # left elbow and hand
    record = VideoRecord(tmp_path / "a.mp4", 0, boxes=boxes, object_boxes=objects, joints=joints)
    tracks = true_tracks(record)
    assert [(t.label, t.frames.tolist()) for t in tracks[:3]] == [
        ("person", [0, 1, 2, 3, 4, 5]),
        ("object", [0, 1, 2]),
        ("object", [4, 5]),
    ]
    # The person is 40 high: 2 pixels around the two joints.
    assert tracks[3].boxes[0].tolist() == [18, 12, 30, 22]
    assert [track.label for track in tracks[3:]] == ["limb", "limb"]
    with_tube = VideoRecord(tmp_path / "b.mp4", 0, tubes=(Tube(0, 7, boxes),))
    (track,) = true_tracks(with_tube)
    assert track.frames.tolist() == [7, 8, 9, 10, 11, 12]
    with pytest.raises(ValueError, match="3 joints a frame. Expected the 14 of figures"):
        true_tracks(VideoRecord(tmp_path / "c.mp4", 0, boxes=boxes, joints=joints[:, :3]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"min_iou": 0.0}, "min_iou=0.0"), ({"rival": 1.5}, "rival=1.5"), ({"max_gap": -1}, "max_gap=-1")],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Tracking(**settings)
