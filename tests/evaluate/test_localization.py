"""Localisation measures on maps whose overlap with the box is counted by hand, and against a plain loop."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from har_tf.evaluate.bootstrap import Bootstrap
from har_tf.evaluate.hits import Frames, accuracy
from har_tf.evaluate.localization import (
    THRESHOLDS,
    UCF24_IOUS,
    Overlaps,
    box_accuracy,
    hit_point,
    joined,
    max_box_acc,
    overlaps,
)


def rectangle(x1, y1, x2, y2, size=(10, 10), value=1.0):
    score_map = np.zeros(size, np.float32)
    score_map[y1:y2, x1:x2] = value
    return score_map


def table(rows, thresholds):
    """Overlaps as if measured."""
    return Overlaps(np.array(rows, float), np.array(thresholds, float), "all")


def test_rectangle_of_known_overlap():
    # Map of 4 x 4 and box of 4 x 4, moved by 2: 8 common pixels of 24.
    found = overlaps([rectangle(2, 2, 6, 6)], [[[4, 2, 8, 6]]])
    np.testing.assert_allclose(found.iou[0, :100], 8 / 24)
    assert found.iou[0, 100] == 0  # nothing is above the maximum
    assert found.iou.shape == (1, 101)
    assert found.best.tolist() == pytest.approx([1 / 3])


def test_empty_map_misses_at_every_threshold():
    whole = [[0, 0, 10, 10]]
    found = overlaps([np.zeros((10, 10)), np.ones((10, 10))], [whole, whole])
    assert not found.iou[0].any()
    assert found.iou[1].tolist() == [1] * 100 + [0]
    frames = Frames(["a", "b"])
    assert box_accuracy(found, 0, 0, frames).value == 0.5  # an IoU of 0 asks for a touch, which the empty map lacks
    assert hit_point([np.zeros((10, 10))] * 2, [whole] * 2).tolist() == [0, 0]
    assert hit_point([np.zeros((10, 10))], [whole], rule="intersects").tolist() == [0]


def test_uniform_map_has_the_overlap_of_the_frame():
    found = overlaps(np.full((1, 10, 10), 7, np.uint8), [[[0, 0, 5, 4]]])
    np.testing.assert_allclose(found.iou[0, :100], 0.2)


def test_best_pair_of_contours_and_boxes_counts():
    score_map = rectangle(0, 0, 2, 2) + rectangle(6, 6, 10, 10, value=0.5)
    true = [[0, 0, 2, 1], [6, 6, 10, 9], [3, 3, 4, 4]]  # 2 of 4, 12 of 16, none
    found = overlaps([score_map], [true], [0, 0.4, 0.5, 0.9])
    assert found.iou.tolist() == [[0.75, 0.75, 0.5, 0.5]]  # 0.5 is not above 0.5
    # Of 4 and 16 pixels the larger one, until it is gone.
    largest = overlaps([score_map], [[[0, 0, 2, 2]]], [0, 0.4, 0.5, 0.9], contours="largest")
    assert largest.iou.tolist() == [[0, 0, 1, 1]]
    assert overlaps([score_map], [[[0, 0, 2, 2]]], [0.4]).iou.tolist() == [[1]]


def test_map_that_touches_the_border():
    found = overlaps([rectangle(7, 8, 10, 10)], [[[7, 8, 10, 10]]], [0.5])
    assert found.iou.tolist() == [[1]]
    cut = overlaps([rectangle(7, 8, 10, 10)], [[[7, 8, 13, 12]]], [0.5], outside="clip")
    assert cut.iou.tolist() == [[1]]
    with pytest.raises(ValueError, match="b.avi#12: true box 0 reaches beyond the frame of 10 x 10"):
        overlaps([rectangle(7, 8, 10, 10)], [[[7, 8, 13, 12]]], [0.5], names=["b.avi#12"])


def test_single_pixel():
    found = overlaps([rectangle(4, 5, 5, 6)], [[[4, 5, 6, 7]]], [0])
    assert found.iou.tolist() == [[0.25]]


def test_every_map_has_its_own_maximum():
    score_map = rectangle(0, 0, 4, 4, value=0.5) + rectangle(0, 0, 2, 2, value=0.5)
    both = overlaps([score_map, 1e-6 * score_map], [[[0, 0, 2, 2]]] * 2, [0.4, 0.6])
    assert both.iou.tolist() == [[0.25, 1], [0.25, 1]]


def test_pointing_game_takes_the_maximum():
    score_map = rectangle(0, 0, 9, 9, value=0.5)
    score_map[5, 7] = 1
    boxes = [[[7, 5, 8, 6]], [[0, 0, 7, 10]], [[8, 0, 10, 10]], [[0, 0, 1, 1], [6, 4, 9, 9]]]
    assert hit_point([score_map] * 4, boxes).tolist() == [1, 0, 0, 1]
    # The pixel's centre, 7.5, is half a pixel from both boxes.
    assert hit_point([score_map] * 4, boxes, tolerance=0.5).tolist() == [1, 1, 1, 1]
    assert hit_point([score_map] * 4, boxes, tolerance=0.4).tolist() == [1, 0, 0, 1]


def test_tolerance_is_a_distance():
    score_map = rectangle(0, 0, 1, 1)  # centre (0.5, 0.5), the box 3 to the right and 4 below
    near = [hit_point([score_map], [[[3.5, 4.5, 6, 6]]], tolerance=reach)[0] for reach in (4.9, 5)]
    assert near == [0, 1]


def test_shared_maximum_is_drawn_among_its_pixels():
    # The share of the frame, and two of eight pixels.
    assert hit_point([np.ones((10, 10))], [[[0, 0, 5, 4]]]).tolist() == [0.2]
    assert hit_point([rectangle(0, 0, 4, 2)], [[[3, 0, 9, 9]]]).tolist() == [0.25]


def test_paper_hits_where_saliency_intersects():
    score_map = rectangle(0, 0, 2, 2, value=10) + rectangle(6, 6, 8, 8, value=3)
    maps, boxes = [score_map] * 2, [[[7, 7, 9, 9]], [[3, 3, 5, 5]]]
    assert hit_point(maps, boxes, rule="intersects").tolist() == [1, 0]
    assert hit_point(maps, boxes, rule="intersects", threshold=0.29).tolist() == [1, 0]
    assert hit_point(maps, boxes, rule="intersects", threshold=0.3).tolist() == [0, 0]
    assert hit_point(maps, boxes).tolist() == [0, 0]
    frames = Frames(["a", "b"], correct=np.array([False, True]))
    assert accuracy(hit_point(maps, boxes, rule="intersects"), frames).value == 0.5
    assert accuracy(hit_point(maps, boxes, rule="intersects"), frames, acc2=True).value == 0


def test_box_accuracy_at_exact_values():
    found = table([[0.5, 0.2], [0.49, 0.3], [0, 0.3]], [0.1, 0.2])
    frames = Frames(["a", "b", "c"])
    assert [box_accuracy(found, 0.1, at, frames).value for at in (0, 0.49, 0.5, 0.51)] == pytest.approx(
        [2 / 3, 2 / 3, 1 / 3, 0]
    )
    assert box_accuracy(found, 0.2, 0.3, frames).value == pytest.approx(2 / 3)
    assert overlaps([rectangle(0, 0, 1, 1)], [[[0, 0, 1, 1]]]).position(0.29) == 29
    with pytest.raises(ValueError, match=r"measured at 2 thresholds from 0.1 to 0.2. Received: threshold=0.15"):
        box_accuracy(found, 0.15, 0.5, frames)


# Five frames of three videos; at an IoU of 0.5 they hit at:        0.0  0.5  both
ROWS = [[0.6, 0.1], [0.6, 0.1], [0.6, 0.1], [0.1, 0.6], [0.3, 0.6]]
VIDEOS = ["a", "a", "a", "b", "c"]


def test_oracle_best_and_given_threshold():
    result = max_box_acc(table(ROWS, [0, 0.5]), Frames(VIDEOS), [0.3, 0.5, 0.7], threshold=0.5)
    expected = {
        # At 0.3 frame c hits at both thresholds; by video a counts as one of three.
        ("oracle", "frame"): ([1, 1, 0], [None, None, None]),
        ("oracle", "video"): ([1, 1, 0], [None, None, None]),
        ("best", "frame"): ([4 / 5, 3 / 5, 0], [0, 0, 0]),
        ("best", "video"): ([2 / 3, 2 / 3, 0], [0, 0.5, 0]),
        ("given", "frame"): ([2 / 5, 2 / 5, 0], [0.5, 0.5, 0.5]),
        ("given", "video"): ([2 / 3, 2 / 3, 0], [0.5, 0.5, 0.5]),
    }
    assert {(row.choice, row.per) for row in result.rows} == set(expected)
    for key, (shares, thresholds) in expected.items():
        row = result.row(*key)
        assert row.accuracy == pytest.approx(shares)
        assert row.average == pytest.approx(sum(shares) / 3)
        assert row.thresholds == tuple(thresholds)
    assert (result.frames, result.videos, result.groups) == (5, 3, 3)


def test_without_a_given_threshold_there_is_no_such_row():
    result = max_box_acc(table(ROWS, [0, 0.5]), Frames(VIDEOS))
    assert len(result.rows) == 4
    with pytest.raises(ValueError, match="choice='given'"):
        result.row("given", "frame")


def test_acc2_of_boxes():
    frames = Frames(VIDEOS, correct=np.array([True, False, False, True, True]))
    result = max_box_acc(table(ROWS, [0, 0.5]), frames, [0.5], acc2=True)
    assert result.row("oracle", "frame").accuracy == pytest.approx((3 / 5,))
    # Now two frames of five hit at 0.5 and one at 0.
    assert result.row("best", "frame").accuracy == pytest.approx((2 / 5,))
    assert result.row("best", "frame").thresholds == (0.5,)
    assert result.row("oracle", "video").accuracy == pytest.approx(((1 / 3 + 1 + 1) / 3,))
    assert box_accuracy(table(ROWS, [0, 0.5]), 0, 0.5, frames, "frame", acc2=True).value == pytest.approx(1 / 5)


def test_classes_share_the_threshold_of_the_whole():
    frames = Frames(VIDEOS, labels=[0, 0, 0, 1, 1], class_names=("run", "sit"))
    result = max_box_acc(table(ROWS, [0, 0.5]), frames, [0.5])
    assert [row.accuracy for row in result.row("best", "frame").per_class] == [(1,), (0,)]  # sit alone has 1 at 0.5
    assert [row.accuracy for row in result.row("oracle", "frame").per_class] == [(1,), (1,)]
    assert [(row.frames, row.videos) for row in result.row("best", "video").per_class] == [(3, 1), (2, 2)]


def test_intervals():
    random = np.random.default_rng(0)
    hits = random.permutation(np.repeat([1.0, 0.0], [120, 280]))
    result = max_box_acc(table(hits[:, None], [0]), Frames([f"v{n}" for n in range(400)]), [0.5, 0.7])
    row = result.row("best", "frame")
    # 0.3 -+ 1.96 sqrt(0.3 x 0.7 / 400)
    assert row.intervals[0] == pytest.approx((0.255, 0.345), abs=0.005)
    assert row.average_interval == row.intervals[0] == row.intervals[1]
    same = max_box_acc(table([[0.6]] * 9, [0]), Frames(list("aabbccdde")), [0.5])
    assert same.row("oracle", "video").intervals == (pytest.approx((1, 1)),)
    again = Bootstrap(seed=1)
    assert max_box_acc(table(hits[:, None], [0]), Frames(list(range(400))), bootstrap=again).rows != result.rows
    one = max_box_acc(table(ROWS, [0, 0.5]), Frames(VIDEOS, groups=["g"] * 5))
    assert one.row("best", "frame").intervals == (None,) * 3
    assert one.row("best", "frame").average_interval is None


def plain(maps, boxes, thresholds, contours="all"):
    """Best IoU of every map at every threshold, the obvious way: masks, OpenCV's contours, areas as pixels."""
    found = np.zeros((len(maps), len(thresholds)))
    for n, (score_map, true) in enumerate(zip(maps, boxes, strict=True)):
        for k, threshold in enumerate(thresholds):
            mask = (score_map / score_map.max() > np.float32(threshold)).astype(np.uint8)
            count, labels = cv2.connectedComponents(mask, connectivity=8)
            parts = [labels == label for label in range(1, count)]
            if contours == "largest" and parts:
                parts = [part for part in parts if part.sum() == max(p.sum() for p in parts)]
            for part in parts:
                y, x = np.nonzero(part)
                drawn = np.zeros(mask.shape, bool)
                drawn[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
                for x1, y1, x2, y2 in true:
                    box = np.zeros(mask.shape, bool)
                    box[y1:y2, x1:x2] = True
                    found[n, k] = max(found[n, k], (drawn & box).sum() / (drawn | box).sum())
    return found


@pytest.mark.parametrize("contours", ["all", "largest"])
def test_equals_a_plain_loop_and_the_oracle_is_never_below(contours, monkeypatch):
    random = np.random.default_rng(0)
    coarse = np.maximum(random.normal(size=(12, 5, 5)), 0).astype(np.float32)
    maps = np.stack([cv2.resize(cells, (24, 18)) for cells in coarse])
    maps[:2] = random.random((2, 18, 24))
    boxes = []
    for _ in maps:
        corners = np.sort(random.integers(0, [19, 25], (3, 2, 2)), axis=1)  # (box, two corners, y and x)
        boxes.append([[x1, y1, x2, y2] for (y1, x1), (y2, x2) in corners.tolist() if x1 < x2 and y1 < y2])
    thresholds = np.arange(20) / 20
    found = overlaps(maps, boxes, thresholds, contours=contours)
    np.testing.assert_allclose(found.iou, plain(maps, boxes, thresholds, contours), rtol=1e-12)
    monkeypatch.setattr("har_tf.evaluate.contours.FEW", 1)
    some = overlaps(maps, boxes, thresholds, contours=contours, least=min(UCF24_IOUS)).reached(UCF24_IOUS)
    np.testing.assert_array_equal(some.count, found.reached(UCF24_IOUS).count)
    assert 0.2 < found.best.mean() < 0.9

    result = max_box_acc(found, Frames([f"v{n // 3}" for n in range(12)]), UCF24_IOUS, threshold=0.2)
    for per in ("frame", "video"):
        oracle, best, given = (np.array(result.row(choice, per).accuracy) for choice in ("oracle", "best", "given"))
        assert (oracle >= best).all()
        assert (best >= given).all()
        at_given = [box_accuracy(found, 0.2, at, Frames([f"v{n // 3}" for n in range(12)]), per) for at in UCF24_IOUS]
        np.testing.assert_allclose(given, [a.value for a in at_given])
        assert result.row("given", per).intervals == tuple(pytest.approx(a.interval) for a in at_given)


def test_batches_are_joined():
    maps = np.random.default_rng(0).random((5, 6, 8))
    boxes = [[[0, 0, 4, 4]]] * 5
    parts = [overlaps(maps[:2], boxes[:2], names="ab"), overlaps(maps[2:], boxes[2:], names="cde")]
    whole = joined(parts)
    np.testing.assert_array_equal(whole.iou, overlaps(maps, boxes).iou)
    with pytest.raises(ValueError, match="same thresholds"):
        joined([parts[0], overlaps(maps, boxes, [0.5])])
    with pytest.raises(ValueError, match="of the same contours"):
        joined([parts[0], overlaps(maps, boxes, contours="largest")])
    with pytest.raises(ValueError, match="at least one part"):
        joined([])


def test_result_can_be_written_as_json():
    frames = Frames(VIDEOS, labels=[0] * 5, class_names=("run",))
    plain_result = json.loads(json.dumps(asdict(max_box_acc(table(ROWS, [0, 0.5]), frames))))
    assert plain_result["rows"][0]["per_class"][0]["name"] == "run"


def with_value(value):
    maps = np.ones((2, 4, 4))
    maps[1, 2, 3] = value
    return maps


BOX = [[[0, 0, 2, 2]]] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((with_value(np.nan), BOX), "frame 1: a map must be finite.*Received: 1 values that are not finite"),
        ((with_value(np.inf), BOX), "frame 1: a map must be finite"),
        (
            (with_value(-0.5), BOX),
            "frame 1: a map must be finite and not negative.*0 values that are not finite, 1 below 0",
        ),
        ((np.full((2, 4, 4), np.nan), BOX), "frame 0: a map must be finite.*16 values"),
        ((np.ones((4, 4)), BOX), r"maps must be numbers \(N, H, W\)"),
        ((np.ones((0, 4, 4)), []), r"maps must be numbers \(N, H, W\)"),
        ((np.ones((3, 4, 4)), BOX), "Received: 3 maps, 2 times boxes"),
        ((np.ones((2, 4, 4)), [BOX[0], []]), "frame 1: its true boxes must be one or more"),
    ],
)
def test_input_that_cannot_be_measured(arguments, message):
    for measure in (overlaps, hit_point):
        with pytest.raises(ValueError, match=message):
            measure(*arguments)


@pytest.mark.parametrize("thresholds", [[], [0.5, 0.2], [0.2, 0.2], [-0.1, 0.5], [0.5, 1.1], 0.5, [np.nan]])
def test_thresholds_that_do_not_rise(thresholds):
    with pytest.raises(ValueError, match="thresholds must rise within"):
        overlaps(with_value(1), BOX, thresholds)


def test_choices_that_do_not_exist():
    maps = with_value(1)
    with pytest.raises(ValueError, match="contours='some'"):
        overlaps(maps, BOX, contours="some")
    with pytest.raises(ValueError, match="rule='mean'"):
        hit_point(maps, BOX, rule="mean")
    for wrong in (np.nan, -1, np.inf):
        with pytest.raises(ValueError, match=f"tolerance is 0 or more and finite.* Received: tolerance={wrong}"):
            hit_point(maps, BOX, tolerance=wrong)
    for wrong in (1.5, -1, np.nan):
        with pytest.raises(ValueError, match=rf"min_iou must lie in \[0, 1\]. Received: min_iou={wrong}"):
            box_accuracy(overlaps(maps, BOX), 0.5, wrong, Frames(["a", "b"]))
    with pytest.raises(ValueError, match="threshold is not used by rule='maximum'"):
        hit_point(maps, BOX, threshold=0.2)
    with pytest.raises(ValueError, match="tolerance is not used by rule='intersects'"):
        hit_point(maps, BOX, rule="intersects", tolerance=3)
    with pytest.raises(ValueError, match="threshold in"):
        hit_point(maps, BOX, rule="intersects", threshold=1)
    with pytest.raises(ValueError, match="overlaps are those of 2 frames. Received: 1"):
        max_box_acc(overlaps(maps, BOX), Frames(["a"]))
    with pytest.raises(ValueError, match="ious must lie"):
        max_box_acc(overlaps(maps, BOX), Frames(["a", "b"]), [30, 50])


def test_thresholds_of_the_paper():
    assert len(THRESHOLDS) == 101
    assert (THRESHOLDS[0], THRESHOLDS[29], THRESHOLDS[100]) == (0, 0.29, 1)
