"""The embedded data set: reversed pairs bit for bit, truth that fits the picture, the same bytes for the same seed."""

from collections import Counter

import numpy as np
import pytest

from har_tf import datasets
from har_tf.datasets.stick_figures import ACTIONS, JOINTS, REVERSED_PAIRS, Figures, draw
from har_tf.datasets.stick_figures import dataset as figures
from har_tf.video import read_clip

SMALL = {"clips": 20, "size": (48, 72), "seed": 3}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return datasets.load("figures", tmp_path_factory.mktemp("figures"), workers=2, **SMALL)


def named(dataset, action, group):
    return next(r for r in dataset.records if r.path.name == f"v_{action}_g{group:04d}_c01.mp4")


def test_every_class_and_group_has_its_clips(dataset):
    assert dataset.class_names == ACTIONS
    assert dataset.counts == dict.fromkeys(ACTIONS, 2)
    assert Counter(record.group for record in dataset.records) == {"g0001": 10, "g0002": 10}


@pytest.mark.parametrize(("forward", "backward"), REVERSED_PAIRS)
def test_decoded_pairs_are_each_other_s_reverse_bit_for_bit(dataset, forward, backward):
    one, other = named(dataset, forward, 2), named(dataset, backward, 2)
    whole = [read_clip(record.path, num_frames=None, size=None) for record in (one, other)]
    np.testing.assert_array_equal(whole[0], whole[1][::-1])
    # what a model is given: ten sampled and resized frames
    clips = [read_clip(record.path, 10, (32, 48)) for record in (one, other)]
    np.testing.assert_array_equal(clips[0], clips[1][::-1])
    np.testing.assert_array_equal(one.boxes, other.boxes[::-1])
    np.testing.assert_array_equal(one.joints, other.joints[::-1])
    assert one.group == other.group


def test_other_actions_are_no_reverse_of_each_other(dataset):
    one, other = (read_clip(named(dataset, a, 1).path, None, None) for a in ("wave", "clap"))
    assert (one != other[::-1]).any()


def test_the_same_seed_gives_the_same_files_on_any_number_of_processes(dataset, tmp_path):
    again = datasets.load("figures", tmp_path, workers=0, **SMALL)
    for one, other in zip(dataset.records, again.records, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
        np.testing.assert_array_equal(one.boxes, other.boxes)
    fewer = Figures(**{**SMALL, "clips": 10})
    np.testing.assert_array_equal(draw("wave", 0, fewer).frames, draw("wave", 0, Figures(**SMALL)).frames)
    assert (draw("wave", 0, Figures(**{**SMALL, "seed": 4})).frames != draw("wave", 0, fewer).frames).any()


def test_a_second_load_draws_nothing(dataset):
    before = [record.path.stat().st_mtime_ns for record in dataset.records]
    again = datasets.load("figures", dataset.root.parent, **SMALL)
    assert [record.path.stat().st_mtime_ns for record in again.records] == before


@pytest.mark.parametrize("action", ACTIONS)
def test_the_person_is_in_its_box_and_nothing_else_is(action):
    """Without texture, noise and camera the background is one colour, so the drawn pixels are known exactly."""
    settings = Figures(size=(96, 144), clutter=0, noise=0, seed=1)
    drawing = draw(action, 0, settings)
    moving = np.abs(drawing.frames.astype(int) - np.median(drawing.frames, axis=(0, 2), keepdims=True)).max(axis=-1)
    for frame, box, joints in zip(moving > 12, drawing.boxes, drawing.joints, strict=True):
        x1, y1, x2, y2 = box
        assert 0 <= x1 < x2 <= 144
        assert 0 <= y1 < y2 <= 96
        assert (joints >= [x1, y1]).all()
        assert (joints <= [x2, y2]).all()
        assert frame[int(y1) : int(y2), int(x1) : int(x2)].sum() > 0.1 * (x2 - x1) * (y2 - y1)


def test_the_object_is_where_its_box_says():
    settings = Figures(size=(96, 144), clutter=0, noise=0, seed=1)
    drawing = draw("pick_up", 0, settings)
    first, last = drawing.object_boxes[0], drawing.object_boxes[-1]
    hand = JOINTS.index("left_hand")

    def centre(box):
        return np.array([box[0] + box[2], box[1] + box[3]]) / 2

    assert centre(last)[1] < centre(first)[1] - 10, "it ends above where it stood"
    assert np.linalg.norm(centre(last) - drawing.joints[-1, hand]) < 12
    assert np.linalg.norm(centre(first) - drawing.joints[0, hand]) > 12
    x, y = centre(first).astype(int)
    inside, outside = drawing.frames[0, y, x].astype(int), drawing.frames[0, 5, 5].astype(int)
    assert np.abs(inside - outside).max() > 20


def test_walkers_walk_the_way_they_face():
    """At the height of the head only the head is drawn, and the peak of its cap reaches further than the hair."""
    sides = set()
    for group in range(16):
        drawing = draw("walk_forward", group, Figures(size=(96, 144), clutter=0, noise=0))
        facing = []
        for frame, (x, y) in zip(drawing.frames, drawing.joints[:, JOINTS.index("head")], strict=True):
            rows = frame[int(y) - 4 : int(y)].astype(int)
            drawn = np.flatnonzero(np.abs(rows - frame[2, 2]).max(axis=(0, 2)) > 12)
            facing.append((drawn.max() - x) - (x - drawn.min()))
        moved = drawing.joints[-1, 0, 0] - drawing.joints[0, 0, 0]
        assert abs(moved) > 15
        assert np.sign(moved) == np.sign(np.median(facing))
        sides.add(np.sign(moved))
    assert sides == {-1, 1}, "facing is drawn at random"


def test_camera_and_facing_tell_nothing_of_the_direction():
    """Reversal maps the set of drawings onto itself only if no signed quantity leans to one side."""
    moves = [draw("walk_forward", g, Figures(size=(32, 48), frames=4)).joints[[0, -1], 0, 0] for g in range(60)]
    right = np.mean([stop > start for start, stop in moves])
    assert 0.3 < right < 0.7


def test_difficulty_changes_the_picture():
    def roughness(**settings):
        return np.abs(np.diff(draw("wave", 0, Figures(size=(96, 144), **settings)).frames.astype(int), axis=2)).mean()

    assert roughness(clutter=0.0, noise=0.0) < roughness(clutter=0.5, noise=0.0) < roughness(clutter=0.5, noise=0.1)
    tall, small = (draw("wave", 0, Figures(size=(96, 144), figure_height=h)).boxes[0] for h in (0.85, 0.4))
    assert (tall[3] - tall[1]) > 1.5 * (small[3] - small[1])


def test_a_shaking_camera_moves_the_scene_and_the_person_alike():
    still, shaken = (
        draw("wave", 0, Figures(size=(96, 144), frames=7, clutter=0.5, noise=0, shake=shake)) for shake in (0.0, 0.04)
    )

    def change(drawing):
        return np.abs(np.diff(drawing.frames.astype(int), axis=0)).mean()

    assert change(shaken) > 1.4 * change(still)
    moved = shaken.joints - still.joints  # the same motion, seen from elsewhere: all joints move by the camera's offset
    assert np.abs(moved - moved[:, :1]).max() < 1e-3
    assert 0.005 * 144 < moved[:, 0].std() < 0.1 * 144
    cut = np.clip(still.boxes + np.tile(moved[:, 0], 2), 0, [144, 96, 144, 96])
    assert np.abs(shaken.boxes - cut)[still.boxes[:, 3] < 95].max(initial=0) < 1e-3


def test_traffic_passes_behind_the_person_and_changes_nothing_else():
    empty, street = (
        draw("pick_up", 1, Figures(size=(96, 144), frames=7, noise=0, traffic=traffic)) for traffic in (0, 6)
    )
    for name in ("boxes", "joints", "object_boxes"):
        np.testing.assert_array_equal(getattr(street, name), getattr(empty, name))
    changed = (street.frames != empty.frames).any(axis=-1)
    assert (changed.mean(axis=(1, 2)) > 0.02).any()
    assert (changed[0] != changed[-1]).any()
    for t, (x, y) in enumerate(street.joints[:, JOINTS.index("neck")].round().astype(int)):
        assert not changed[t, y, x], "the person is in front"
    backward = draw("put_down", 1, Figures(size=(96, 144), frames=7, noise=0, traffic=6))
    np.testing.assert_array_equal(backward.frames, street.frames[::-1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": (47, 72)}, "even"),
        ({"clips": 0}, "clips=0"),
        ({"figure_height": 0.05}, "figure_height=0.05"),
        ({"clutter": 2}, "clutter=2"),
        ({"shake": -0.1}, "shake=-0.1"),
        ({"traffic": 21}, "traffic=21"),
    ],
)
def test_wrong_settings_are_named(settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        datasets.load("figures", tmp_path, **settings)


def test_nothing_half_drawn_is_left(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures.np, "savez_compressed", full)
    with pytest.raises(datasets.DatasetError, match="cannot be written .No space left on device"):
        datasets.load("figures", tmp_path / "root", workers=0, **{**SMALL, "clips": 2})
    assert list((tmp_path / "root").iterdir()) == []
