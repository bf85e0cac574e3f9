"""The contact sheet: what it shows, and where verdicts end up."""

import html
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest

from har_tf.concepts.concept_set import ConceptError, load, store_verdicts
from har_tf.report.pages.concept_review import apply_verdicts, page, write_review
from har_tf.video import write_video

CLIPS = ("ball/a b.mp4", "person/spatial/c#1.mp4", "person/spatiotemporal/d.mp4")


@pytest.fixture(scope="module")
def clip_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    write_video(path, np.full((3, 32, 32, 3), 90, np.uint8), fps=10)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path, clip_bytes):
    """Two concepts made by hand, with names that addresses must quote."""
    for name in CLIPS:
        path = tmp_path / "concepts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip_bytes)
    return tmp_path / "concepts"


def test_the_page_shows_every_clip_and_its_verdict(folder):
    store_verdicts(folder, {CLIPS[2]: {"verdict": "rejected", "reason": 'two "persons" <here>'}})
    text = page(load(folder), "clips/")
    assert re.findall(r'<video src="([^"]+)"', text) == [
        "clips/ball/a%20b.mp4", "clips/person/spatiotemporal/d.mp4", "clips/person/spatial/c%231.mp4",
    ]  # fmt: skip
    states = dict(re.findall(r'data-file="([^"]+)" data-state="(\w+)"', text))
    assert states == {CLIPS[0]: "undecided", CLIPS[1]: "undecided", CLIPS[2]: "rejected"}
    (reason,) = re.findall(r'value="([^"]+)" placeholder', text)
    assert html.unescape(reason) == 'two "persons" <here>'
    assert "<here>" not in text


def test_a_written_page_finds_its_clips_from_where_it_is(folder, tmp_path):
    out = write_review(load(folder), tmp_path / "sheets" / "review.html")
    text = out.read_text()
    for address in re.findall(r'<video src="([^"]+)"', text):
        assert (out.parent / unquote(address)).is_file()
    assert "Download verdicts" in text
    with pytest.raises(ConceptError, match=r"Pages end in .html. Received: .*review.txt"):
        write_review(load(folder), tmp_path / "review.txt")


def test_verdicts_of_a_page_are_stored(folder, tmp_path):
    file = tmp_path / "verdicts.json"
    file.write_text(json.dumps({CLIPS[0]: {"verdict": "accepted", "reason": None}}))
    found = apply_verdicts(folder, file)
    assert [clip.verdict for clip in found.clips] == ["accepted", None, None]
    assert load(folder) == found
    file.write_text("no json")
    with pytest.raises(ConceptError, match="verdicts.json: not a file of verdicts"):
        apply_verdicts(folder, file)
    file.write_text("[1, 2]")
    with pytest.raises(ConceptError, match="Received: another kind of JSON"):
        apply_verdicts(folder, file)


def test_nothing_to_review_is_an_error(folder):
    found = load(folder)
    with pytest.raises(ConceptError, match="no clip of ball, person. At least one is needed to review"):
        page(type(found)(found.folder, found.concepts, ()), "")
