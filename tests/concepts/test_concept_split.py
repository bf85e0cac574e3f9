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
