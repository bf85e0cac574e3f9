from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from har_tf.datasets import ActionDataset, DatasetError, VideoRecord, splits


def make(groups: dict[str, dict[str, int]], official=None) -> ActionDataset:
    """A data set from {class: {group: clips}}; a group of the same name in two classes is one group."""
    records = tuple(
        VideoRecord(Path(f"{name}_{group}_{clip}"), label, group or None)
        for label, (name, sizes) in enumerate(groups.items())
        for group, clips in sizes.items()
        for clip in range(clips)
    )
    return ActionDataset("made", Path("made"), records, tuple(groups), official)


UCF = make({name: {f"{name}/g{g:02d}": 4 for g in range(1, 26)} for name in "abc"})
PAIRS = make({name: {f"scene{g}": 1 for g in range(40)} for name in ("forward", "backward", "wave")})


def paths(dataset):
    return [str(record.path) for record in dataset.records]


@pytest.mark.parametrize("protocol", ["random", "group"])
@pytest.mark.parametrize("dataset", [UCF, PAIRS], ids=["ucf", "pairs"])
def test_parts_are_whole_stratified_and_follow_the_seed(protocol, dataset):
    train, test = dataset.split(protocol, seed=3)
    assert sorted(paths(train) + paths(test)) == sorted(paths(dataset))
    size = len(dataset) // 3
    for name in dataset.class_names:
        assert test.counts[name] == round(0.2 * size)
    again = dataset.split(protocol, seed=3)[1]
    assert paths(again) == paths(test)
    assert paths(dataset.split(protocol, seed=4)[1]) != paths(test)


@pytest.mark.parametrize("dataset", [UCF, PAIRS], ids=["ucf", "pairs"])
def test_group_keeps_groups_apart_and_random_does_not(dataset):
    assert dataset.overlap_report("group").with_sibling == 0
    report = dataset.overlap_report("random")
    assert report.test_clips == len(dataset) // 5
    assert report.with_sibling > report.test_clips / 2
    assert len(report.groups) > 0


def test_a_class_is_split_alike_whatever_other_classes_take_part():
    for protocol in splits.PROTOCOLS[::2]:
        whole = [path for path in paths(UCF.split(protocol)[1]) if path[0] != "b"]
        assert sorted(paths(UCF.only(["c", "a"]).split(protocol)[1])) == sorted(whole)


def test_so_many_of_every_class_are_drawn_from_the_seed():
    dataset = make({name: {f"{name}/g{g}": 4 for g in range(size)} for name, size in (("a", 3), ("b", 2), ("c", 2))})
    few = dataset.sample(3, seed=1)
    assert set(few.counts.values()) == {3} and few.official == dataset.official
    order = [dataset.records.index(record) for record in few.records]
    assert order == sorted(order), "in the order of the records"
    assert few.records == dataset.sample(3, seed=1).records != dataset.sample(3, seed=2).records
    name = dataset.class_names[-1]
    alone = dataset.only([name, dataset.class_names[0]]).sample(3, seed=1)
    label = dataset.class_names.index(name)
    assert [r.path for r in few.records if r.label == label] == [r.path for r in alone.records if r.label == 0]
    assert len(dataset.sample(8)) == 24
    with pytest.raises(DatasetError, match="too few clips of a class. Expected 9 of each. Received: 8 of b, 8 of c$"):
        dataset.sample(9)


def test_overlap_counts_by_hand():
    dataset = make({"a": {"g1": 3, "g2": 2}, "b": {"g1": 1, "": 2}})
    a1, a2, a3, a4, _, b1, b2, b3 = dataset.records
    report = splits.overlap(dataset.subset([a1, a4, b2]), dataset.subset([a2, a3, b1, b3, a4]))
    # a2, a3 and b1 share g1 with a1; a4 is in both; b3 has no group.
    assert report == splits.OverlapReport(5, 4, 4, 1, ("g1", "g2"))
    assert str(report) == (
        "4 of 5 test clips (80 %) have a sibling in training; of 1 the group is unknown; 1 are in training themselves"
    )
    assert (report.identical, report.near_identical) == (None, None), "not looked for"
    near = (("a", "x", 0.1), ("a", "y", 0.1), ("b", "x", 0.2))
    searched = replace(report, identical=(("a", "z", 0.0),), near_identical=near, near_of_other_groups=1, unread=3)
    assert str(searched) == (
        f"{report}; 1 have the same content as a training clip; 2 are near-identical to one, 1 of them to one that is "
        "no sibling; 3 videos could not be read"
    )
    nothing = replace(report, identical=(), near_identical=())
    assert str(nothing) == f"{report}; 0 have the same content as a training clip; 0 are near-identical to one"
    without = splits.overlap(dataset.subset([b2]), dataset.subset([b3]))
    assert "unknown" in str(without)


def test_group_leaves_no_class_without_training_clips():
    # The large group would be nearest to the half that is wanted, but is all of class b.
    dataset = make({"a": {"g1": 1, "g2": 1, "g3": 1}, "b": {"g3": 10}})
    with pytest.warns(UserWarning, match="no test clip of b"):
        train, test = dataset.split("group", test_fraction=0.9)
    assert train.counts["b"] == 10
    assert test.counts["a"] in (1, 2)


def test_every_class_gets_a_test_group_even_if_that_is_more_than_wanted():
    train, test = make({"a": {"g1": 9, "g2": 1}, "b": {"h1": 5, "h2": 6}}).split("group")
    assert test.counts == {"a": 1, "b": 5}
    assert train.counts == {"a": 9, "b": 6}


def test_official_takes_its_paths_and_leaves_the_rest():
    train, test = frozenset({Path("a_g1_0"), Path("b_g1_0")}), frozenset({Path("a_g1_1")})
    dataset = make({"a": {"g1": 3}, "b": {"g1": 2}}, (train, test))
    with pytest.warns(UserWarning, match="no test clip of b"):
        parts = dataset.split("official", seed=9)
    assert [set(paths(part)) for part in parts] == [{"a_g1_0", "b_g1_0"}, {"a_g1_1"}]


def test_what_cannot_be_split():
    with pytest.raises(DatasetError, match=r"unknown protocol.*random, official, group. Received: 'groups'"):
        UCF.split("groups")
    with pytest.raises(DatasetError, match="no official split"):
        UCF.split("official")
    with pytest.raises(DatasetError, match=r"between 0 and 1. Received: 1.5"):
        UCF.split("random", test_fraction=1.5)
    with pytest.raises(DatasetError, match=r"2 of 3 videos name no group, first a__0.*_gNN_"):
        make({"a": {"": 2}, "b": {"g1": 1}}).split("group")
    official = frozenset({Path("a_x_0")}), frozenset({Path("b_y_0")})
    with pytest.raises(DatasetError, match="leaves no training clip of b"):
        make({"a": {"x": 2}, "b": {"y": 1}}, official).split("official")


def test_hold_out_follows_groups_where_there_are_some():
    rest, held = UCF.hold_out(0.2, seed=1)
    assert splits.overlap(rest, held).with_sibling == 0
    assert len(held) == 60
    assert splits.overlap(*UCF.hold_out(0.2, by_group=False)).with_sibling > 0
    ungrouped = make({"a": {"": 10}, "b": {"": 10}})
    assert [len(part) for part in ungrouped.hold_out(0.3)] == [14, 6]


def test_large_data_sets_are_split_quickly():
    large = make({f"c{c}": {f"c{c}/g{g}": 5 for g in range(25)} for c in range(101)})
    for protocol in ("random", "group"):
        train, test = large.split(protocol)
        assert np.ptp(list(test.counts.values())) == 0
        assert len(train) == 101 * 100


def test_two_segments_of_a_video_are_siblings_and_not_the_same_clip():
    def part(*segments):
        records = tuple(VideoRecord(Path("a.mp4"), 0, "a", segment=segment) for segment in segments)
        return ActionDataset("some", Path(), records, ("run", "sit"))

    report = splits.overlap(part((0.0, 1.0), (2.0, 3.0)), part((2.0, 3.0), (4.0, 5.0)))
    assert (report.with_sibling, report.same_file) == (2, 1)


def test_a_file_that_two_links_lead_to_is_one_file(tmp_path):
    for place in ("real/part", "train", "test"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("a.avi", "b.avi", "c.avi"):
        (tmp_path / "real/part" / name).touch()
    (tmp_path / "train/a.avi").symlink_to(tmp_path / "real/part/a.avi")
    (tmp_path / "train/c.avi").symlink_to("nowhere")
    (tmp_path / "test/linked").symlink_to(tmp_path / "real/part")
    train = [VideoRecord(tmp_path / "train/a.avi", 0), VideoRecord(tmp_path / "train/c.avi", 0)]
    test = [VideoRecord(tmp_path / "test/linked" / name, 0) for name in ("a.avi", "b.avi", "c.avi")]
    test.append(VideoRecord(tmp_path / "test/linked/a.avi", 0, segment=(1.0, 2.0)))
    parts = [ActionDataset("made", tmp_path, tuple(part), ("x", "y")) for part in (train, test)]
    assert splits.overlap(*parts).same_file == 1
