"""The contact sheet on which a person accepts or rejects every concept clip, as a file or from a small web server.

"Given that the object detector is not flawless, we manually verify all concept video crops" (Saha et al. 2024, 3.3).

    python -m har_tf concepts review DIR                       serves the page; every verdict is stored at once
    python -m har_tf concepts review DIR --write review.html   writes it; its verdicts are downloaded as JSON, and
    python -m har_tf concepts review DIR --verdicts FILE.json  stores those
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from har_tf.concepts import concept_set
from har_tf.concepts.concept_set import ConceptClip, ConceptError, ConceptSet
from har_tf.files.whole import whole_file

_MOST_BYTES = 1 << 20  # of a request
_CHUNK = 1 << 16


def write_review(found: ConceptSet, path: str | Path, others: bool = False) -> Path:
    """Writes the contact sheet as one HTML file, which plays the clips from where they are.

    Args:
        found: the clips.
        path: the page, anywhere on the same disk; it loses its clips if it is moved away from them.
        others: show clips of classes that are no concept as well.

    Raises:
        ConceptError: there is no clip to show, or the name does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ConceptError(f"Pages end in .html. Received: {path}")
    folder = Path(os.path.relpath(found.folder, path.parent)).as_posix()
    text = page(found, f"{quote(folder)}/", others)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(found: ConceptSet, prefix: str, others: bool = False, token: str | None = None) -> str:
    """The contact sheet's HTML.

    Args:
        found: the clips.
        prefix: what stands before a clip's file in its address.
        others: show clips of classes that are no concept as well.
        token: that a verdict must come with where a server takes it; None: there is no server.

    Raises:
        ConceptError: there is no clip to show.
    """
    groups = []
    for concept, kind in found.counts():
        if others or concept in found.concepts:
            clips = [clip for clip in found.clips if (clip.concept, clip.kind) == (concept, kind)]
            clips.sort(key=lambda clip: (clip.source, clip.track, clip.file))
            groups += [{"concept": concept, "kind": kind, "clips": [_card(clip, prefix) for clip in clips]}]
    groups = [group for group in groups if group["clips"]]
    if not groups:
        raise ConceptError(f"{found.folder}: no clip of {', '.join(found.concepts)}. At least one is needed to review")
    problems = sum(bool(source.problem) for source in found.sources)
    unread = f", of which {problems} could not be read" if problems else ""
    mined = f"From {len(found.sources)} videos{unread}. " if found.sources else ""
    stored = "Every verdict is stored in the manifest at once." if token else (
        "Verdicts stay in this browser; download them, and store them in the manifest with "
        "python -m har_tf concepts review DIR --verdicts verdicts.json"
    )  # fmt: skip
    source = files(__package__).joinpath("concept_review.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        title=f"Concepts in {found.folder.resolve().name}",
        intro=f"{mined}Accept a clip that shows the concept, all of the time and nothing but one of it. {stored}",
        groups=groups,
        served=token is not None,
        token=token,
        key="concepts:" + hashlib.sha256(str(found.folder.resolve()).encode()).hexdigest()[:16],
    )


def _card(clip: ConceptClip, prefix: str) -> dict:
    frames = f"frames {clip.frames[0]} to {clip.frames[-1]}" if clip.frames else ""
    return {
        "file": clip.file,
        "src": prefix + quote(clip.file),
        "name": Markup("_<wbr>").join(Path(clip.file).stem.split("_")),  # may break there
        "frames": f"frame {clip.shown}" if clip.shown is not None else frames,
        "score": "" if clip.score is None else f"{clip.score:.2f}",
        "verdict": clip.verdict,
        "reason": clip.reason or "",
    }


def apply_verdicts(folder: str | Path, file: str | Path) -> ConceptSet:
    """Stores the verdicts of a JSON file that the page gave.

    Raises:
        ConceptError: it is no such file, or one of other concepts; nothing is stored.
    """
    try:
        verdicts = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConceptError(f"{file}: not a file of verdicts ({error}). The page's button downloads one") from error
    return concept_set.store_verdicts(folder, verdicts)


def server(folder: str | Path, port: int = 0, others: bool = False) -> ThreadingHTTPServer:
    """A server of the contact sheet on this machine only, ready to `serve_forever()`.

    The caller holds the folder's lock (`concept_set.locked`). A verdict is taken only with the token that the page
    carries, so that no other page in the same browser can give one.

    Args:
        folder: of concepts.
        port: 0: any free one; `server_port` tells.
        others: show clips of classes that are no concept as well.

    Raises:
        ConceptError: there is no clip to show.
        OSError: the port is taken.
    """
    token = secrets.token_hex(16)
    page(concept_set.load(folder), "clips/", others, token)  # what cannot be shown is an error now

    class Review(_Review):
        pass

    Review.folder, Review.token, Review.others, Review.writing = Path(folder), token, others, threading.Lock()
    found = ThreadingHTTPServer(("127.0.0.1", port), Review)
    found.daemon_threads = True
    return found


class _Review(BaseHTTPRequestHandler):
    """GET / and /clips/<file>, POST /verdicts."""

    folder: Path
    token: str
    others: bool
    writing: threading.Lock
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not self._for_us():
            return
        try:
            if path == "/":
                text = page(concept_set.load(self.folder), "clips/", self.others, self.token)
                self._answer(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8")
            elif path.startswith("/clips/"):
                self._clip(path.removeprefix("/clips/"))
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"no such page")
        except ConnectionError:  # the browser has gone
            self.close_connection = True
        except (ValueError, OSError) as error:  # ConceptError and DatasetError among them
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._for_us():
            return
        if not length.isdecimal() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.BAD_REQUEST, b"a request of a known, small size is expected")
            return
        body = self.rfile.read(int(length))
        token = self.headers.get("X-Review", "").encode()
        if self.path != "/verdicts" or not secrets.compare_digest(token, self.token.encode()):
            self._answer(HTTPStatus.FORBIDDEN, b"verdicts are given on the page that this server shows; reload it")
            return
        try:
            with self.writing:
                concept_set.record_verdicts(self.folder, json.loads(body))
        except (ValueError, OSError) as error:  # ConceptError and broken JSON among them
            self._answer(HTTPStatus.BAD_REQUEST, str(error).encode())
        else:
            self._answer(HTTPStatus.OK, b"stored")

    def _for_us(self) -> bool:
        """Whether the request names this server: a page of another name that leads here must not read it."""
        host = self.headers.get("Host", "").partition(":")[0]
        if host in ("127.0.0.1", "localhost"):
            return True
        self.close_connection = True
        self._answer(HTTPStatus.FORBIDDEN, b"this server answers to 127.0.0.1 and localhost")
        return False

    def _clip(self, name: str) -> None:
        """A clip, or the range of it that is asked for: players seek in that way."""
        # Only what the manifest names is given out.
        known = {clip.file for clip in concept_set.load(self.folder).clips}
        if name not in known:
            self._answer(HTTPStatus.NOT_FOUND, b"no such clip")
            return
        with (self.folder / name).open("rb") as file:
            size = _size(file)
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            stop = min(int(asked[2]) + 1, size) if asked and asked[2] else size
            if start >= stop:
                about = {"Content-Range": f"bytes */{size}"}
                self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", about=about)
                return
            file.seek(start)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            self._send(file, stop - start)

    def _send(self, file: BinaryIO, left: int) -> None:
        with suppress(OSError):  # the player has seen enough, or the file cannot be read on
            while left and (data := file.read(min(_CHUNK, left))):  # it may have become shorter
                self.wfile.write(data)
                left -= len(data)
        if left:
            self.close_connection = True

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8", about=None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in (about or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args) -> None:
        """Says nothing: the page shows what went wrong."""


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
