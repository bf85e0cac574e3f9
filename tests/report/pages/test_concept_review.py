"""The contact sheet: what it shows, and where verdicts end up."""

import base64
import hashlib
import html
import json
import os
import re
from urllib.parse import unquote, unquote_to_bytes

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
    with pytest.raises(ConceptError, match=r"\.json: .*Received: another kind of JSON"):
        apply_verdicts(folder, file)


def test_clips_of_any_name_are_shown_and_their_verdicts_find_them(folder, clip_bytes, tmp_path):
    names = ["ball/x\x1b[2Jy\nz.mp4", "ball/a\udc8cb  c.mp4", 'ball/<img src=x onerror="alert(1)">.mp4']
    for name in names:
        (folder / name).write_bytes(clip_bytes)
    text = write_review(load(folder), folder / "review.html").read_text()
    assert "\x1b" not in text and "<img" not in text
    for address in re.findall(r'<video src="([^"]+)"', text):
        assert os.path.isfile(os.fsencode(folder) + b"/" + unquote_to_bytes(address))  # noqa: PTH113
    told = [html.unescape(name) for name in re.findall(r'data-file="([^"]+)"', text)]
    (tmp_path / "verdicts.json").write_text(json.dumps({name: {"verdict": "accepted"} for name in told}))
    apply_verdicts(folder, tmp_path / "verdicts.json")
    assert {clip.file: clip.verdict for clip in load(folder).clips} == dict.fromkeys([*CLIPS, *names], "accepted")


def test_links_out_of_the_folder_are_not_followed_and_that_is_said(folder, clip_bytes, tmp_path):
    (tmp_path / "outside.mp4").write_bytes(clip_bytes)
    (folder / "ball" / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    (folder / "ball" / "inner.mp4").symlink_to(folder / CLIPS[1])
    text = page(load(folder), "")
    assert "ball/inner.mp4" in text and "link.mp4" not in text
    assert "Links out of the folder, which are not followed: 1. " in text


def test_the_page_runs_its_own_script_alone_and_loads_nothing_from_elsewhere(folder):
    text = page(load(folder), "")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in html.unescape(policy).split("; "))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
    assert rules["media-src"] == "'self' file:"


def test_reasons_have_bounds_and_stay_one_line(folder, tmp_path):
    store_verdicts(folder, {CLIPS[0]: {"verdict": "rejected", "reason": "a\x1b\ud800\n" + "b" * 190}})
    assert load(folder).clips[0].reason == "a\\x1b\\ud800\\n" + "b" * 190
    with pytest.raises(ConceptError, match=f"{CLIPS[0]}: a reason has at most 200 letters. Received: 201"):
        store_verdicts(folder, {CLIPS[0]: {"verdict": "rejected", "reason": "b" * 201}})
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ConceptError, match="deep.json: not a file of verdicts"):
        apply_verdicts(folder, tmp_path / "deep.json")


def test_nothing_to_review_is_an_error(folder):
    found = load(folder)
    with pytest.raises(ConceptError, match="no clip of ball, person. At least one is needed to review"):
        page(type(found)(found.folder, found.concepts, ()), "")
