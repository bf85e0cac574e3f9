"""Names of files, folders and things that a terminal, a spreadsheet, a page or FFmpeg would obey.

A command survives a name if it ends well or with one line of reason; prints no control character; writes no cell that a
spreadsheet takes for a formula, and no page in which a name is more than text.
"""

import contextlib
import csv
import io
import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

from benchmarks.attacks import files
from benchmarks.attacks.programs import SIZE, moving_square
from har_tf.command import guarded
from har_tf.video import write_video

NAMES = (
    b"\xff\xfe", b"caf\xe9", b"\x1b[31mred\x1b[0m", b"\x1b]0;title\x07", b"a\nerror: forged", b"a\rb", b"=cmd|'x'!A1",
    b"@SUM(A1)", b"+1", b"-rf", b"--help", b"img%03d", b"%s%n", b"<img src=x onerror=alert(1)>", b"javascript:alert(1)",
    b"[a](javascript:alert(1))", b"a|b", b"{{7*7}}", b"'\"$(x)`x`", b"\xe2\x80\xaegnp", b"\xe2\x80\x8b", b"#t=1,2",
    b"concat:a|b", b"http:x", b"a" * 200, b" a ", b"~", b"\xf0\x9f\x98\x80", b"e\xcc\x81", b"a\\b", b"$HOME", b"a:b",
)  # fmt: skip


def _videos(folder: Path, name: bytes) -> Path:
    """Two classes, one of this name, with videos of this name; one of them is damaged."""
    for label, of_class in enumerate((b"walk", name)):
        place = folder / "videos" / os.fsdecode(of_class)
        place.mkdir(parents=True)
        for number in range(2):
            write_video(folder / "v.mp4", moving_square(label, number), fps=10, threads=1)
            (folder / "v.mp4").rename(place / os.fsdecode(name[:150] + b"%d.mp4" % number))
    (place / os.fsdecode(name[:150] + b"damaged.mp4")).write_bytes(b"\0" * 1000)
    return folder / "videos"


def _check(videos: Path, folder: Path, model: Path) -> None:
    from har_tf.cli.check import Check

    Check(videos, out=folder / "manifest.csv", workers=0).run()


def _prepare(videos: Path, folder: Path, model: Path) -> None:
    from har_tf.cli.prepare import Prepare

    Prepare(str(videos), folder / "prepared", num_frames=4, size=SIZE, workers=0).run()


def _predict(videos: Path, folder: Path, model: Path) -> None:
    from har_tf.cli.predict import Predict

    Predict(tuple(sorted(videos.rglob("*.mp4"))), model).run()


def _explain(videos: Path, folder: Path, model: Path) -> None:
    from har_tf.cli.explain import Explain

    video = max(videos.rglob("*0.mp4"), key=lambda path: path.parent.name != "walk")
    Explain(video, model, folder / "overlay.mp4").run()


def _mine(videos: Path, folder: Path, model: Path) -> None:
    from har_tf.cli.concepts import Mine, Review

    name = max(path.name for path in videos.iterdir() if path.name != "walk")
    images, boxes = [], []
    for video in sorted(videos.rglob("*.mp4")):
        for frame in range(12):
            images.append({"id": len(images), "video": str(video.relative_to(videos)), "frame": frame})
            boxes.append({"image_id": images[-1]["id"], "category_id": 0, "bbox": [frame, 4, 14, 14], "score": 0.9})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 0, "name": name}]}
    (folder / "detections.json").write_text(json.dumps(content))
    Mine(videos, str(folder / "detections.json"), (name,), folder / "concepts").run()
    Review(folder / "concepts").run()


COMMANDS: dict[str, Callable[[Path, Path, Path], None]] = {
    "check": _check,
    "prepare": _prepare,
    "predict": _predict,
    "explain": _explain,
    "mine": _mine,
}


def attempt(name: bytes, command: str, folder: Path, model: Path) -> str | None:
    """Gives videos of a name to a command; returns why that did not survive, None where it did."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    videos = _videos(folder, name)
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        code = guarded(lambda: COMMANDS[command](videos, folder, model))
    out, err = (_text(stream) for stream in streams)
    for stream, text in (("stdout", out), ("stderr", err)):
        if bad := sorted({letter for letter in text if _obeyed(letter)}):
            return f"{command} {name!r}: {stream} has {', '.join(map(ascii, bad))}"
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    if "Traceback" in err or len(errors) != (code == 1) or "HAR_TF_TRACEBACK" in err:
        return f"{command} {name!r}: ended with {code}: {err.strip()[-300:]!r}"
    for path in folder.rglob("*"):
        if path.is_file() and (fault := _obeys(path)):
            return f"{command} {name!r}: {path.name}: {fault}"
    return None


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()


def _obeyed(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") and letter not in "\n\t\u200b\u200c\u200d"


def _obeys(path: Path) -> str | None:
    """What a program that opens a file would obey in it."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        formulas = [cell for cell in cells if cell[:1] in ("=", "+", "@") or cell[:2] in ("-r", "--")]
        return f"a formula: {formulas[0]!r}" if formulas else None
    if path.suffix == ".html":
        page = path.read_text(encoding="utf-8", errors="replace").lower()
        active = [mark for mark in ("<img src=x", 'href="javascript:', "href='javascript:") if mark in page]
        return f"the page has {active[0]}" if active else None
    return None


def make_model(path: Path) -> None:
    """A small model for the commands that need one."""
    files.FILES[".keras"].make(path)
