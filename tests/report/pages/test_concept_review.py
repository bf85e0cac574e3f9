"""The contact sheet: what it shows, what its server gives out and takes, and where verdicts end up."""

import html
import http.client
import json
import re
import threading
from urllib.parse import unquote

import numpy as np
import pytest

from har_tf.concepts.concept_set import ConceptError, load, store_verdicts
from har_tf.report.pages.concept_review import apply_verdicts, page, server, write_review
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


@pytest.fixture
def served(folder):
    """ask(method, path, ...) -> (status, headers, body) of a running server."""
    running = server(folder)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()

    def ask(method, path, body=None, host=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", running.server_port, timeout=20)
        headers = {"Host": host or f"127.0.0.1:{running.server_port}", **headers}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    yield ask
    running.shutdown()
    running.server_close()
    thread.join()


def token_in(text: str) -> str:
    return re.search(r'token = "([0-9a-f]{32})"', text)[1]


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
    assert "const served = false" in text
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


def test_the_server_stores_each_verdict_at_once(served, folder):
    status, headers, body = served("GET", "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    token = token_in(body.decode())
    for verdict, reason in (("rejected", "blurred"), ("accepted", None), (None, None)):
        given = json.dumps({CLIPS[0]: {"verdict": verdict, "reason": reason}})
        assert served("POST", "/verdicts", given, **{"X-Review": token})[0] == 200
        stored = load(folder).clips[0]
        assert (stored.verdict, stored.reason) == (verdict, reason)
    assert 'data-state="undecided"' in served("GET", "/")[2].decode()


def test_the_server_plays_clips_in_ranges(served, clip_bytes):
    status, headers, body = served("GET", "/clips/person/spatial/c%231.mp4")
    assert (status, headers["Content-Type"], body) == (200, "video/mp4", clip_bytes)
    status, headers, body = served("GET", "/clips/ball/a%20b.mp4", Range="bytes=10-19")
    assert (status, body) == (206, clip_bytes[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(clip_bytes)}"
    assert served("GET", "/clips/ball/a%20b.mp4", Range="bytes=10-")[2] == clip_bytes[10:]
    assert served("GET", "/clips/ball/a%20b.mp4", Range="bytes=9999999-")[0] == 416


def test_the_server_gives_out_clips_only_and_takes_verdicts_from_its_own_page_only(served, folder):
    (folder / "secret.txt").write_text("secret")
    store_verdicts(folder, {})
    for path in ("/clips/secret.txt", "/clips/../secret.txt", "/clips/%2e%2e/concepts.json", "/concepts.json"):
        assert served("GET", path)[0] == 404
    assert served("GET", "/", host="evil.example:80")[0] == 403
    given = json.dumps({CLIPS[0]: {"verdict": "accepted"}})
    assert served("POST", "/verdicts", given)[0] == 403
    assert served("POST", "/verdicts", given, **{"X-Review": "0" * 32})[0] == 403
    token = token_in(served("GET", "/")[2].decode())
    status, _, body = served("POST", "/verdicts", '{"other.mp4": {"verdict": "accepted"}}', **{"X-Review": token})
    assert status == 400
    assert b"has no clip 'other.mp4'" in body
    assert served("POST", "/verdicts", "{", **{"X-Review": token})[0] == 400
    assert [clip.verdict for clip in load(folder).clips] == [None, None, None]


def test_a_clip_that_is_lost_while_the_page_is_served_is_told(served, folder):
    token = token_in(served("GET", "/")[2].decode())
    (folder / CLIPS[0]).unlink()
    for path in ("/", f"/clips/{CLIPS[1]}"):
        status, headers, body = served("GET", path)
        assert (status, headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
        assert b"ball: an empty concept folder" in body
    given = json.dumps({CLIPS[1]: {"verdict": "accepted"}})
    assert served("POST", "/verdicts", given, **{"X-Review": token})[0] == 400


def test_a_clip_that_shrinks_while_it_is_sent_ends_the_answer(served, folder, monkeypatch):
    """The file is half as long as it was when its length was told."""
    whole = (folder / CLIPS[0]).stat().st_size
    monkeypatch.setattr("har_tf.report.pages.concept_review._size", lambda file: 2 * whole)
    with pytest.raises(http.client.IncompleteRead) as error:
        served("GET", "/clips/ball/a%20b.mp4")
    assert len(error.value.partial) == whole


def test_headers_are_taken_as_browsers_send_them(served):
    for host, status in (("127.0.0.1", 200), ("localhost", 200), ("localhost:80", 200), ("evil", 403), (":80", 403)):
        assert served("GET", "/", host=host)[0] == status  # without a port where that is 80
    assert served("POST", "/verdicts", "{}", **{"X-Review": "\xe4" * 32})[0] == 403


def test_nothing_to_review_is_an_error(folder):
    found = load(folder)
    with pytest.raises(ConceptError, match="no clip of ball, person. At least one is needed to review"):
        page(type(found)(found.folder, found.concepts, ()), "")
