"""The contact sheet on which a person accepts or rejects every concept clip: one HTML file.

"Given that the object detector is not flawless, we manually verify all concept video crops" (Saha et al. 2024, 3.3).

    python -m har_tf concepts review DIR                       writes DIR/review.html; its verdicts are downloaded as
    python -m har_tf concepts review DIR --verdicts FILE.json  JSON, and this stores them
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup, escape

from har_tf.concepts import concept_set
from har_tf.concepts.concept_set import ConceptClip, ConceptError, ConceptSet
from har_tf.files.json_text import parse_json
from har_tf.files.whole import whole_file
from har_tf.names import shown
from har_tf.report.page import rendered

# The page shows clips that lie beside it, also where it is opened from disk, runs its script, and does nothing else.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:; base-uri 'none'; form-action 'none'"
_MOST_BYTES = 2**26  # of a file of verdicts


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
    text = page(found, f"{quote(os.fsencode(folder))}/", others)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(found: ConceptSet, prefix: str, others: bool = False) -> str:
    """The contact sheet's HTML.

    Args:
        found: the clips.
        prefix: what stands before a clip's file in its address.
        others: show clips of classes that are no concept as well.

    Raises:
        ConceptError: there is no clip to show.
    """
    groups, place = [], found.folder.resolve()
    inside = [clip for clip in found.clips if (place / clip.file).resolve().is_relative_to(place)]
    for concept, kind in found.counts():
        if others or concept in found.concepts:
            clips = [clip for clip in inside if (clip.concept, clip.kind) == (concept, kind)]
            clips.sort(key=lambda clip: (clip.source, clip.track, clip.file))
            groups += [{"concept": concept, "kind": kind, "clips": [_card(clip, prefix) for clip in clips]}]
    groups = [group for group in groups if group["clips"]]
    links = len(found.clips) - len(inside)
    linked = f"Links out of the folder, which are not followed: {links}. " if links else ""
    if not groups:
        needed = f"no clip of {', '.join(found.concepts)}. At least one is needed to review. {linked}"
        raise ConceptError(f"{found.folder}: {needed.strip()}")
    problems = sum(bool(source.problem) for source in found.sources)
    unread = f", of which {problems} could not be read" if problems else ""
    mined = f"From {len(found.sources)} videos{unread}. " if found.sources else ""
    stored = (
        "Verdicts stay in this browser; download them, and store them in the manifest with "
        "python -m har_tf concepts review DIR --verdicts verdicts.json"
    )
    script = files(__package__).joinpath("concept_review.js").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return rendered(
        files(__package__).joinpath("concept_review.html.j2"),
        policy=f"{_POLICY}; script-src 'sha256-{digest}'",
        script=Markup(script),
        title=f"Concepts in {place.name}",
        intro=f"{mined}{linked}Accept what shows the concept all of the time, and nothing but one of it. {stored}",
        groups=groups,
        most_letters=concept_set.MOST_LETTERS,
        key="concepts:" + hashlib.sha256(os.fsencode(place)).hexdigest()[:16],
    )


def _card(clip: ConceptClip, prefix: str) -> dict:
    frames = f"frames {clip.frames[0]} to {clip.frames[-1]}" if clip.frames else ""
    return {
        "file": escape(shown(clip.file)),  # by which `apply_verdicts` knows it
        "src": prefix + quote(os.fsencode(clip.file)),
        "name": Markup("_<wbr>").join(shown(Path(clip.file).stem).split("_")),  # may break there
        "frames": f"frame {clip.shown}" if clip.shown is not None else frames,
        "score": "" if clip.score is None else f"{clip.score:.2f}",
        "verdict": clip.verdict,
        "reason": escape(shown(clip.reason or "")),
    }


def apply_verdicts(folder: str | Path, file: str | Path) -> ConceptSet:
    """Stores the verdicts of a JSON file that the page gave.

    Raises:
        ConceptError: it is no such file, or one of other concepts; nothing is stored.
    """
    try:
        if (size := Path(file).stat().st_size) > _MOST_BYTES:
            raise ValueError(f"{size} bytes")
        verdicts = parse_json(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise ConceptError(f"{file}: not a file of verdicts ({error}). The page's button downloads one") from error
    if isinstance(verdicts, dict):
        files_of = {shown(clip.file): clip.file for clip in concept_set.load(folder).clips}
        verdicts = {files_of.get(name, name): verdict for name, verdict in verdicts.items()}
    try:
        return concept_set.store_verdicts(folder, verdicts)
    except ConceptError as error:
        raise ConceptError(f"{file}: {error}") from error
