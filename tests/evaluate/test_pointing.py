"""Pointing game and energy in boxes on clips of 2 x 2 x 2, worked out by hand."""

import json

import numpy as np
import pytest

from har_tf.evaluate.pointing import AXES, pointing

LEFT = np.array([[0, 0, 1, 2]])  # the left column of a frame of 2 x 2
CLIP = np.array([[[4, 2], [1, 1]], [[1, 3], [0, 0]]])  # frames of sum 8 and 4


def of_clip(clip, boxes):
    found = pointing(np.asarray(clip)[None], [boxes])
    return [[float(by_axis[axis][0]) for axis in AXES] for by_axis in (found.pointing, found.energy)]


def test_on_single_frames_quantus_finds_the_same():
    # PointingGame and RelevanceMassAccuracy of Quantus 0.6.0, with neither abs nor normalise.
    maps = np.random.default_rng(0).random((3, 16, 16)) ** 3
    maps[1, 5, 2] = 2
    boxes = [{0: np.array([box])} for box in ((1, 2, 6, 7), (0, 0, 4, 8), (3, 3, 16, 5))]
    found = pointing(maps[:, None], boxes)
    for axis in ("space", "both"):
        assert found.pointing[axis].tolist() == [0, 1, 0]
        assert found.energy[axis] == pytest.approx([0.10426737544585783, 0.15011803165581705, 0.06416086702225965])
    assert np.isnan(found.energy["time"]).all()


def test_a_box_in_one_frame():
    # Frame 0: the 4 is in the box, and 5 of 8. It has the larger sum, 8 of 12. Of the clip 5 of 12 are in the box.
    assert of_clip(CLIP, {0: LEFT}) == [[1, 1, 1], pytest.approx([5 / 8, 8 / 12, 5 / 12])]
    # Frame 1: the 3 is outside; 1 of 4, 4 of 12, 1 of 12.
    assert of_clip(CLIP, {1: LEFT}) == [[0, 0, 0], pytest.approx([1 / 4, 4 / 12, 1 / 12])]


def test_boxes_in_all_frames_say_nothing_of_time():
    hits, energy = of_clip(CLIP, {0: LEFT, 1: LEFT})
    assert hits[0] == 0.5 and hits[2] == 1 and np.isnan(hits[1])
    assert energy[::2] == pytest.approx([(5 / 8 + 1 / 4) / 2, 6 / 12]) and np.isnan(energy[1])


def test_two_boxes_of_a_frame_count_once_where_they_overlap():
    assert of_clip(CLIP, {0: np.array([[0, 0, 1, 2], [0, 0, 2, 1]])})[1][0] == 7 / 8


def test_what_shares_the_largest_value_counts_by_its_share():
    # A uniform map gets the share of what is true.
    assert of_clip(np.ones((2, 2, 2)), {1: LEFT}) == [[0.5, 0.5, 0.25], [0.5, 0.5, 0.25]]


def test_a_map_of_zeros_hits_nothing_and_is_counted():
    assert of_clip(np.zeros((2, 2, 2)), {0: LEFT}) == [[0, 0, 0], [0, 0, 0]]
    found = pointing(np.zeros((2, 2, 2, 2)), [{0: LEFT}, {}])
    assert found.empty == 1, "of the clips that have a box"


def test_a_frame_without_evidence_counts_0():
    clip = CLIP.copy()
    clip[1] = 0
    assert of_clip(clip, {0: LEFT, 1: LEFT})[1][0] == (5 / 8 + 0) / 2


def test_clips_without_boxes_have_no_value():
    found = pointing(np.stack([CLIP] * 4), [{0: LEFT}, {1: LEFT}, {}, {0: np.zeros((0, 4))}], ["a", "b", "c", "c"])
    mean = found.means["pointing"]["space"]
    assert (mean.mean, mean.clips, mean.groups, mean.left_out) == (0.5, 2, 2, 2)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["pointing"]["space"]["values"] == [1.0, 0.0, None, None]
    assert plain["energy"]["both"]["mean"] == pytest.approx((5 + 1) / 24)


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (CLIP[None], [{2: LEFT}], r"positions 0 to 1 of the clip. Received: \[2\]"),
        (-CLIP[None], [{}], "not negative"),
        (CLIP[None], [], "1 maps, 0 times boxes"),
        (CLIP, [{}] * 2, r"\(2, 2, 2\)"),
        (CLIP[None], [{0: [[1, 1, 1, 2]]}], "is empty"),
    ],
)
def test_what_is_refused(maps, boxes, message):
    with pytest.raises(ValueError, match=message):
        pointing(maps, boxes)
