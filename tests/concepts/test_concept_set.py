"""A folder of concept clips: the manifest, verdicts, the arrays and random sets that TCAV takes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from har_tf.concepts.concept_set import (
    ConceptClip,
    ConceptError,
    ConceptSet,
    Source,
    load,
    read_manifest,
    store_verdicts,
    write_manifest,
)
from har_tf.video import write_video

BOXES = tuple((4.0 * i, 24.0, 4.0 * i + 16, 40.0) for i in range(12))
SOURCES = (
    Source("kick/a.mp4", (700, 1_700_000_000_000_000_001), 12, 1),
    Source("kick/broken.mp4", (8, 1_700_000_000_000_000_002), problem="no video"),
    Source("run/a.mp4", (701, 1_700_000_000_000_000_003), 12, 1),
    Source("run/b.mp4", (702, 1_700_000_000_000_000_004), 12, 1),
)

RUNNING = {"run/a.mp4", "run/b.mp4"}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """The bytes of a red clip of 16 x 16 pixels, and of one with some blue."""
    frames, place = np.zeros((2, 12, 16, 16, 3), np.uint8), tmp_path_factory.mktemp("squares")
    frames[..., 0], frames[1, ..., 2] = 255, 100
    return [write_video(place / f"{i}.mp4", clip, fps=10, crf=4).read_bytes() for i, clip in enumerate(frames)]


@pytest.fixture
def mined(squares, tmp_path):
    """Two tracks of persons and one of another class, both kinds of each."""
    clips = []
    for concept, stem, source, pixels in (
        ("ball", "kick__a.mp4", "kick/a.mp4", squares[0]),
        ("person", "b", "run/b.mp4", squares[0]),
        ("person", "run__a.mp4", "run/a.mp4", squares[1]),
    ):
        for kind, shown in (("spatial", 5), ("spatiotemporal", None)):
            file = f"{concept}/{kind}/{stem}_t0.mp4"
            (tmp_path / "concepts" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "concepts" / file).write_bytes(pixels)
            scores = (0.9,) * 6 + (None,) * 2 + (0.7,) * 4
            clips.append(ConceptClip(file, concept, kind, source, 0, tuple(range(12)), shown, BOXES, scores, 0.82))
    clips.sort(key=lambda clip: clip.file)
    found = ConceptSet(tmp_path / "concepts", ("person",), tuple(clips), {"detector": None, "fill": 0}, SOURCES)
    write_manifest(found)
    return found


def test_a_manifest_gives_back_what_was_written(mined):
    assert load(mined.folder) == mined
    told = replace(mined.clips[0], verdict="rejected", reason='"zwei" Bälle')
    changed = replace(mined, clips=(told, *mined.clips[1:]))
    before = (mined.folder / "concepts.json").read_text(encoding="utf-8").splitlines()
    write_manifest(changed)
    after = (mined.folder / "concepts.json").read_text(encoding="utf-8").splitlines()
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1  # a clip a line
    (mined.folder / mined.clips[1].file).unlink()
    assert read_manifest(mined.folder / "concepts.json") == changed


def test_verdicts_choose_what_is_used(mined):
    names = ["person/spatiotemporal/b_t0.mp4", "person/spatiotemporal/run__a.mp4_t0.mp4"]
    found = store_verdicts(
        mined.folder, {names[0]: {"verdict": "accepted"}, names[1]: {"verdict": "rejected", "reason": "two"}}
    )
    assert found == load(mined.folder)
    assert [clip.file for clip in found.select("person", "spatiotemporal")] == names[:1]
    assert found.select("person", "spatial", undecided=False) == []
    assert len(found.select("person", "spatial")) == 2
    assert found.counts()["person", "spatiotemporal"] == {"accepted": 1, "rejected": 1}
    before = (mined.folder / "concepts.json").read_text()
    for wrong, message in (
        ({"person/c.mp4": {"verdict": "accepted"}}, "has no clip 'person/c.mp4'"),
        ({names[0]: {"verdict": "good"}}, "verdicts are accepted, rejected or null"),
        ({names[0]: "accepted"}, "Received: another kind of JSON"),
    ):
        with pytest.raises(ConceptError, match=message):
            store_verdicts(mined.folder, wrong)
    assert (mined.folder / "concepts.json").read_text() == before


def test_clips_of_videos_of_a_class(mined):
    running = mined.of_class("RUN")
    assert {clip.source for clip in running.clips} == {source.path for source in running.sources} == RUNNING
    below = replace(mined, settings={"root": "/videos/run"}, clips=(replace(mined.clips[0], source="a.mp4"),))
    assert len(below.of_class("run").clips) == 1
    above = replace(mined, settings={"root": "/kick/videos"})
    assert above.of_class("run").clips == running.clips, "a folder above the videos is of no class"
    with pytest.raises(ConceptError, match="no clip of videos of 'videos/kick'"):
        above.of_class("videos/kick")
    with pytest.raises(ConceptError, match="no clip of videos of 'kic'. Closest: kick"):
        mined.of_class("kic")


def test_arrays_are_what_tcav_takes(mined):
    found = mined.arrays(4, (32, 48), concepts=["person", "ball"])
    assert {name: array.shape for name, array in found.items()} == {
        "person": (2, 4, 32, 48, 3),
        "ball": (1, 4, 32, 48, 3),
    }
    # The crops are square: 32 x 32 in the middle, 8 columns filled on each side.
    assert (found["person"][:, :, 4:-4, 12:-12, 0] > 200).all()
    assert (found["person"][:, :, :, :8] == 0).all()
    stretched = mined.arrays(4, (32, 48), fit="stretch", concepts=["person", "ball"])["person"]
    assert (stretched[:, :, 4:-4, 4:-4, 0] > 200).all()


def test_what_cannot_be_used_says_what_is_needed(mined, tmp_path):
    with pytest.raises(ConceptError, match="at least two are needed. Received: person"):
        mined.arrays(4, (16, 16))
    with pytest.raises(ConceptError, match="no concept 'dog'. It has ball, person"):
        mined.arrays(4, (16, 16), concepts=["person", "dog"])
    with pytest.raises(
        ConceptError, match=r"'ball' has no spatiotemporal clip that.* undecided ones do not count here"
    ):
        mined.arrays(4, (16, 16), concepts=["ball", "person"], undecided=False)
    with pytest.raises(ConceptError, match="Kinds of concepts are"):
        mined.arrays(4, (16, 16), "dynamic")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConceptError, match="empty: no concepts. Expected concepts.json"):
        load(tmp_path / "empty")
    (tmp_path / "empty" / "person").mkdir()
    with pytest.raises(ConceptError, match="person: an empty concept folder. Expected videos"):
        load(tmp_path / "empty")


def test_a_name_of_a_manifest_that_is_no_text_is_told(mined):
    path = mined.folder / "concepts.json"
    content = json.loads(path.read_text())
    content["clips"][0]["file"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ConceptError, match="not a manifest of concepts .TypeError: file of a clip is no text: 3"):
        load(mined.folder)


def test_what_is_no_manifest_says_so(mined):
    path = mined.folder / "concepts.json"
    for text, message in (
        ("{", "not a manifest of concepts (JSONDecodeError"),
        ('{"version": 1}', "not a manifest of concepts (KeyError: 'clips'"),
        (
            '{"version": 1, "clips": [], "sources": [], "concepts": []}',
            "not a manifest of concepts (KeyError: 'settings'",
        ),
        ('{"version": 2}', "of version 2. Expected 1"),
    ):
        path.write_text(text)
        with pytest.raises(ConceptError, match=re.escape(f"concepts.json: {message}")):
            load(mined.folder)


def test_clips_that_cannot_be_decoded_are_left_out_unless_all_are(mined, caplog):
    names = [clip.file for clip in mined.select("person", "spatiotemporal")]
    (mined.folder / names[0]).write_text("no video")
    assert len(mined.read(mined.select("person", "spatiotemporal"), 4, (16, 16))) == 1
    assert f"1 of 2 clips left out, the first: {mined.folder / names[0]}" in caplog.text
    (mined.folder / names[1]).write_text("no video")
    with pytest.raises(ConceptError, match=r"none of 2 clips can be decoded; the first: .*At least one clip is needed"):
        mined.read(mined.select("person", "spatiotemporal"), 4, (16, 16))
    (mined.folder / names[1]).unlink()
    with pytest.raises(ConceptError, match="names 1 clips that are not there"):
        load(mined.folder)


def test_a_manifest_cannot_reach_outside_its_folder(mined):
    path = mined.folder / "concepts.json"
    path.write_text(path.read_text().replace("person/spatial/b_t0.mp4", "../b_t0.mp4"))
    with pytest.raises(ConceptError, match="names a clip outside its folder"):
        load(mined.folder)


def test_a_manifest_names_a_clip_once(mined):
    path = mined.folder / "concepts.json"
    path.write_text(path.read_text().replace("person/spatial/run__a.mp4_t0.mp4", "person/spatial/b_t0.mp4"))
    with pytest.raises(ConceptError, match=r"two clips are person/spatial/b_t0.mp4, of run/b.mp4 and run/a.mp4. Del"):
        load(mined.folder)


def test_folders_of_videos_are_concepts_made_by_hand(squares, tmp_path):
    for name in ("ball/a.mp4", "person/spatial/a.mp4", "person/spatiotemporal/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(squares[0])
    found = load(tmp_path)
    assert found.concepts == ("ball", "person")
    assert [(clip.file, clip.kind) for clip in found.clips] == [
        ("ball/a.mp4", "spatiotemporal"), ("person/spatial/a.mp4", "spatial"),
        ("person/spatiotemporal/a.mp4", "spatiotemporal"),
    ]  # fmt: skip
    assert len(found.arrays(4, (16, 16))) == 2
    store_verdicts(tmp_path, {"ball/a.mp4": {"verdict": "rejected"}})
    assert json.loads((tmp_path / "concepts.json").read_text())["clips"][0]["verdict"] == "rejected"


def test_clips_that_join_a_folder_made_by_hand_are_seen(squares, tmp_path):
    """Also after the first verdict, which writes a manifest."""

    def put(name):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(squares[0])

    put("person/b.mp4")
    store_verdicts(tmp_path, {"person/b.mp4": {"verdict": "rejected", "reason": "two"}})
    put("person/spatial/a.mp4")
    put("ball/c.mp4")
    found = load(tmp_path)
    assert found.concepts == ("person", "ball")
    assert [(clip.file, clip.concept, clip.kind, clip.verdict) for clip in found.clips] == [
        ("ball/c.mp4", "ball", "spatiotemporal", None),
        ("person/b.mp4", "person", "spatiotemporal", "rejected"),
        ("person/spatial/a.mp4", "person", "spatial", None),
    ]
    assert found.clips[1].reason == "two"
    assert store_verdicts(tmp_path, {"ball/c.mp4": {"verdict": "accepted"}}) == load(tmp_path)
    (tmp_path / "person/b.mp4").unlink()
    with pytest.raises(ConceptError, match="1 clips that are not there, the first: person/b.mp4. Restore the files"):
        load(tmp_path)


def test_a_mined_folder_holds_what_was_mined(mined, squares):
    (mined.folder / "person" / "own.mp4").write_bytes(squares[0])
    assert load(mined.folder) == mined


def test_random_sets_are_drawn_from_the_corpus_with_a_seed(mined):
    every = {clip.file for clip in mined.select(None, "spatiotemporal")}
    sets = mined.random_sets(count=5, size=2)
    assert [len({clip.file for clip in chosen}) for chosen in sets] == [2] * 5
    assert {clip.file for chosen in sets for clip in chosen} == every  # other classes too
    assert mined.random_sets(count=5, size=2) == sets
    assert mined.random_sets(count=3, size=2) == sets[:3]  # a set does not depend on how many there are
    assert any(mined.random_sets(count=5, size=2, seed=seed) != sets for seed in (1, 2, 3))
    with pytest.raises(ConceptError, match="a random set of 30 spatiotemporal clips cannot be drawn from 3"):
        mined.random_sets()
