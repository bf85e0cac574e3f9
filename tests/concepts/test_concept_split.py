"""Which videos give concepts, and which are explained."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from har_tf.concepts.concept_set import ConceptClip, ConceptSet
from har_tf.concepts.concept_split import ConceptSource, divide, recordings
from har_tf.concepts.options import Concepts
from har_tf.datasets.dataset import ActionDataset
from har_tf.datasets.records import VideoRecord


def test_of_two_videos_of_one_name_neither_is_explained(tmp_path):
    """The source is called "0.mp4": which of the two was mined, nobody knows."""
    names = ("tennis/0.mp4", "tennis/1.mp4", "dining/0.mp4")
    records = tuple(VideoRecord(tmp_path / name, int(name.startswith("tennis"))) for name in names)
    dataset = ActionDataset("d", tmp_path, records, ("dining", "tennis"))
    found = SimpleNamespace(sources=(), clips=(SimpleNamespace(source="0.mp4"),))
    halves = divide(dataset, 1, "random", test=1.0, given=found)
    assert [record.path.name for record in halves.explained] == ["1.mp4"]
    assert len(halves.concept) == 2


@pytest.fixture
def surfing(tmp_path):
    """Two clips of each of eight recordings of surfing, four of rowing; concepts were mined from all of them.

    Boards were accepted in three recordings of surfing, and the person in all.
    """
    records = tuple(
        VideoRecord(tmp_path / name / f"v_g{group}_c{clip}.avi", label, group=f"{name}/g{group}")
        for label, (name, groups) in enumerate((("rowing", 4), ("surfing", 8)))
        for group in range(groups)
        for clip in range(2)
    )

    def clip(record, concept):
        board = concept == "board" and record.group not in ("surfing/g1", "surfing/g4", "surfing/g6")
        name = record.path.relative_to(tmp_path).as_posix()
        verdict = "rejected" if board else "accepted"
        return ConceptClip(f"{concept}/{name}.mp4", concept, "spatial", name, verdict=verdict)

    clips = tuple(clip(record, concept) for record in records for concept in ("board", "person"))
    return ActionDataset("d", tmp_path, records, ("rowing", "surfing")), ConceptSet(
        tmp_path, ("board", "person"), clips
    )


@pytest.mark.parametrize("seed", range(3))
def test_of_videos_that_were_all_mined_half_is_explained_and_the_rarest_concept_is_in_the_other(surfing, seed):
    dataset, given = surfing
    halves = divide(dataset, 1, "random", seed, test=1.0, given=given)
    concept, explained = ({r.group for r in part if r.label == 1} for part in (halves.concept, halves.explained))
    assert {"surfing/g1", "surfing/g4", "surfing/g6"} < concept and len(concept) == 4 == len(explained)
    assert not concept & explained
    found, own = ConceptSource(given=given).concepts(dataset, halves, 1, dataset.root)
    assert {clip.source for clip in found.clips} == {
        r.path.relative_to(dataset.root).as_posix() for r in halves.concept
    }
    assert own == {name for name in {clip.source for clip in found.clips} if name.startswith("surfing")}
    everything = ConceptSource(Concepts(concept_videos="all"), given)
    assert everything.concepts(dataset, halves, 1, dataset.root)[1] is None


def test_the_score_of_the_detector_that_mines_here_is_an_option(tmp_path):
    found = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    asked = Concepts(detector=str(tmp_path / "boxes.json"), labels="a,b", score=0.3)
    assert ConceptSource.open(asked).detector.settings["score"] == 0.3
    with pytest.raises(ValueError, match="score lies in"):
        ConceptSource.open(replace(asked, score=3))


def test_clips_of_one_recording_are_known_by_path_and_by_source(surfing):
    dataset, given = surfing
    known = recordings(given, dataset)
    first, second = (r for r in dataset if r.group == "surfing/g4")
    assert known[str(first.path)] == known["surfing/v_g4_c1.avi"] == known[str(second.path)]
    assert len(set(known.values())) == 12


@pytest.fixture
def parted(tmp_path):
    """Four recordings of tennis in every part; the first of the test part is also in the others."""
    records = tuple(
        VideoRecord(tmp_path / part / f"{i}.mp4", 1, group="shared" if i == 0 else f"{part}{i}")
        for part in ("train", "val", "test")
        for i in range(4)
    )
    paths = {part: frozenset(r.path for r in records if part in r.path.parts) for part in ("train", "val", "test")}
    official = (paths["train"] | paths["val"], paths["test"])
    return ActionDataset("d", tmp_path, records, ("dining", "tennis"), official, validation=paths["val"])


def names(records):
    return ["/".join(record.path.parts[-2:]) for record in records]


def test_concepts_of_another_part_leave_the_explained_part_whole_and_no_recording_is_in_both(parted):
    split = divide(parted, 1, "official", part="test", concept_part="val")
    assert names(split.explained) == names(split.tested) == [f"test/{i}.mp4" for i in range(4)]
    assert names(split.concept) == ["val/1.mp4", "val/2.mp4", "val/3.mp4"]
    assert (split.part, split.concept_part) == ("test", "val")
    assert split.note == (
        "3 val videos may give concepts and all 4 test videos are explained; 1 val videos show the same as these and "
        "give none"
    )
    # Of a folder that was mined from everything, clips of that part alone are used.
    clips = tuple(ConceptClip(f"ball/{name}", "ball", "spatial", name) for name in names(parted))
    given = ConceptSet(parted.root, ("ball",), clips)
    split = divide(parted, 1, "official", given=given, part="val", concept_part="train")
    assert names(split.explained) == [f"val/{i}.mp4" for i in range(4)]
    found, own = ConceptSource(given=given).concepts(parted, split, 1, parted.root)
    assert [clip.source for clip in found.clips] == ["train/1.mp4", "train/2.mp4", "train/3.mp4"] == sorted(own)
    # Within one part, too, clips of a recording that is explained are left out, of whichever part they are.
    split = divide(parted, 1, "official", given=replace(given, clips=clips[:1] + clips[-1:]), part="test")
    assert names(split.explained) == ["test/0.mp4", "test/1.mp4", "test/2.mp4"]
    found, _ = ConceptSource(given=given).concepts(parted, split, 1, parted.root)
    assert {"train/0.mp4", "val/0.mp4", "test/1.mp4"}.isdisjoint(clip.source for clip in found.clips)


@pytest.mark.parametrize("part", [None, "test", "val"])
def test_the_part_that_gives_concepts_too_is_halved_by_recording(parted, part):
    split = divide(parted, 1, "official", part=part, concept_part=part)
    assert len(split.concept) == len(split.explained) == 2 and (part or "test") == split.part == split.concept_part
    assert sorted(names([*split.concept, *split.explained])) == [f"{part or 'test'}/{i}.mp4" for i in range(4)]


def test_parts_that_the_data_lack_and_one_that_chooses_the_epoch_are_refused(parted):
    whole = replace(parted, official=None, validation=None)
    for dataset, options, message in (
        (whole, {"part": "test"}, "no video of part 'test'. Parts that it has: none"),
        (whole, {"concept_part": "train"}, "no video of part 'test'. Parts that it has: none"),
        (
            replace(parted, validation=None),
            {"part": "val"},
            r"Parts that it has: train \(8 videos\), test \(4 videos\)",
        ),
        (parted, {"part": "val", "validation": 0.2}, "the val part chooses the epoch of what is trained"),
    ):
        with pytest.raises(ValueError, match=message):
            divide(dataset, 1, "official" if dataset.official else "random", **options)
    none = replace(parted, records=tuple(replace(r, label=0) if "train" in r.path.parts else r for r in parted))
    with pytest.raises(ValueError, match="no video of tennis is left to mine concepts from"):
        ConceptSource().concepts(none, divide(none, 1, "official", concept_part="train"), 1, parted.root)
    # Where the validation part stands in for the test part, it is called so.
    stands_in = replace(parted, test_name="val", validation=None)
    assert set(stands_in.parts) == {"train", "val"} and divide(stands_in, 1, "official").part == "val"
    seen = divide(parted, 1, "official", validation=0.2, concept_part="train")
    assert "; the model was trained, or its epoch chosen, on those that give concepts; 1 train videos show" in seen.note
